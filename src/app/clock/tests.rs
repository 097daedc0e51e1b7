//! Clocks that jump about and are put right, stops and kills in between: what was once dead stays dead, but for
//! what only a wrong time had ended.
//!
//! `BEARERD_SCHEDULES` says how many schedules; without it there are few.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::{
    app::{App, Failure, Snapshot, enrollment::EnrollRequest, portal::Visit, reload, users::UserRequest},
    config::services::Services,
    rules::{
        Refusal,
        access::{Authorized, Caller, Right},
        audit,
        clients::NewClient,
        enrollment::{Statement, Wish as Enrollment},
        links::NewLink,
        pats::{Life, Wish},
        tokens::Minted,
    },
    settings::Settings,
    store::{
        Options, TimeSource,
        tests::{
            faults::{made_with, opened_with},
            keyring,
            media::Disk,
        },
    },
    token::{ClientId, Key, Secret, ServiceSecrets, TokenId, UserId},
};

const NOW: u64 = 1_800_000_000;
const DAY: i64 = 86_400;
const COOKIE: u64 = 30 * 86_400;
/// Schedules where `BEARERD_SCHEDULES` does not say otherwise.
const SCHEDULES: u32 = 64;
/// A host of this name is there: a good enrolment token is told so, and not spent.
const TAKEN: &str = "taken";

#[derive(Clone, Copy, Debug)]
enum Step {
    Pat {
        span: u64,
        uses: Option<u64>,
    },
    Session {
        span: u64,
    },
    Enrollment {
        span: u64,
    },
    Link {
        days: u32,
        single: bool,
    },
    /// Looks at everything, as those do who hold it.
    Look,
    Press {
        which: usize,
    },
    Enroll {
        which: usize,
    },
    Revoke {
        which: usize,
    },
    Jump {
        seconds: i64,
    },
    /// `clock reset`.
    PutRight,
    Flush,
    Purge,
    Restart {
        kill: bool,
    },
}

fn schedule() -> impl Strategy<Value = Vec<Step>> {
    use Step::*;
    let spans = || prop_oneof![Just(1u64), Just(600), Just(3_600), Just(86_400)];
    let jump = prop_oneof![
        4 => -100..100i64,
        2 => -10_000..10_000i64,
        2 => (-40 * DAY)..(40 * DAY),
        1 => -10_000_000_000..10_000_000_000i64,
    ];
    let step = prop_oneof![
        2 => (spans(), prop::option::weighted(0.3, 1..3u64)).prop_map(|(span, uses)| Pat { span, uses }),
        1 => spans().prop_map(|span| Session { span }),
        1 => spans().prop_map(|span| Enrollment { span }),
        2 => (1..40u32, any::<bool>()).prop_map(|(days, single)| Link { days, single }),
        3 => Just(Look),
        2 => (0..8usize).prop_map(|which| Press { which }),
        1 => (0..8usize).prop_map(|which| Enroll { which }),
        1 => (0..8usize).prop_map(|which| Revoke { which }),
        7 => jump.prop_map(|seconds| Jump { seconds }),
        1 => Just(PutRight),
        1 => Just(Flush),
        1 => Just(Purge),
        3 => any::<bool>().prop_map(|kill| Restart { kill }),
    ];
    prop::collection::vec(step, 1..24)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Bearer,
    Enrollment,
    Link,
    Cookie { issued: u64 },
}

/// Something that was handed out.
struct Held {
    what: What,
    id: Option<TokenId>,
    text: Secret,
    /// The second from which on it is dead whatever happens.
    end: u64,
    dead: bool,
    /// Somebody ended it or spent it, so that no time brings it back.
    ended: bool,
}

struct Shop {
    runtime: Runtime,
    disk: Disk,
    clock: Arc<AtomicU64>,
    app: Arc<App>,
    user: UserId,
    client: ClientId,
    held: Vec<Held>,
    hosts: usize,
}

fn options(clock: &Arc<AtomicU64>) -> Options {
    Options { time: TimeSource::Fixed(Arc::clone(clock)), ..Options::default() }
}

fn app(store: crate::store::Store) -> Arc<App> {
    let mut settings = Settings::default();
    settings.tokens.purge_after = 3_600;
    let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
    let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
    let snapshot = Snapshot::new(1, settings, keyring("k1"), services);
    Arc::new(App::new(store, snapshot, reload::Origin::of_defaults()))
}

impl Shop {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (disk, clock) = (Disk::default(), Arc::new(AtomicU64::new(NOW * 1000)));
        let app = app(made_with(&disk, &options(&clock)));
        let (user, client) = runtime.block_on(async {
            let administrate = app.authorize(Right::Administrate, Caller::local(0)).unwrap();
            let operate = app.authorize(Right::Operate, Caller::local(0)).unwrap();
            let request = UserRequest {
                email: "anna@example.org".to_owned(),
                name: None,
                password: None,
                groups: Vec::new(),
            };
            let user = app.create_user(&administrate, request).await.unwrap();
            let new = NewClient::judge("acme", "Acme").unwrap();
            let client = app.create_client(&operate, new).await.unwrap();
            let token = app.mint_enrollment(&operate, &Enrollment::default()).await.unwrap();
            app.enroll(None, enrolling(&token.secret, TAKEN)).await.unwrap();
            (user.id, client.id)
        });
        Self { runtime, disk, clock, app, user, client, held: Vec::new(), hosts: 0 }
    }

    fn root(&self, right: Right) -> Authorized {
        self.app.authorize(right, Caller::local(0)).unwrap()
    }

    fn now(&self) -> u64 {
        self.app.now().unix()
    }

    fn keep(&mut self, what: What, minted: Minted, span: u64) {
        let end = self.now().saturating_add(span);
        assert_eq!(minted.token.expires_at.map(crate::records::Time::unix), Some(end));
        self.held.push(Held {
            what,
            id: Some(minted.token.id),
            text: minted.secret,
            end,
            dead: false,
            ended: false,
        });
    }

    fn pick(&self, which: usize, is_one: impl Fn(&Held) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.held.len()).filter(|at| is_one(&self.held[*at])).collect();
        (!fit.is_empty()).then(|| fit[which % fit.len()])
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Pat { span, uses } => {
                let wish = Wish {
                    name: "n".to_owned(),
                    ttl_seconds: Some(span),
                    life: Life::Unlimited,
                    max_uses: uses,
                    ..Wish::default()
                };
                let root = self.root(Right::MintForOthers);
                let minted = self.runtime.block_on(self.app.mint_pat_for(&root, self.user, wish));
                self.keep(What::Bearer, minted.unwrap(), span);
            }
            Step::Session { span } => {
                let root = self.root(Right::MintForOthers);
                let opened = self.runtime.block_on(self.app.open_session(&root, self.user, Some(span)));
                self.keep(What::Bearer, opened.unwrap().1, span);
            }
            Step::Enrollment { span } => {
                let wish = Enrollment { ttl_seconds: Some(span), ..Enrollment::default() };
                let root = self.root(Right::Operate);
                let minted = self.runtime.block_on(self.app.mint_enrollment(&root, &wish));
                self.keep(What::Enrollment, minted.unwrap(), span);
            }
            Step::Link { days, single } => {
                let new = NewLink::judge(None, Some(days), None, single).unwrap();
                let root = self.root(Right::Operate);
                let made = self.runtime.block_on(self.app.mint_link(&root, self.client, new));
                self.keep(What::Link, made.unwrap().minted, u64::from(days) * 86_400);
            }
            Step::Look => self.look(),
            Step::Press { which } => self.press(which),
            Step::Enroll { which } => self.enroll(which),
            Step::Revoke { which } => self.revoke(which),
            Step::Jump { seconds } => {
                let millis = self.clock.load(Ordering::Acquire).saturating_add_signed(seconds * 1000);
                self.clock.store(millis, Ordering::Release);
            }
            Step::PutRight => self.put_right(),
            Step::Flush => self.runtime.block_on(self.app.flush()).unwrap(),
            Step::Purge => {
                self.app.wake_purge();
                self.runtime.block_on(self.app.purge_step()).unwrap();
            }
            Step::Restart { kill } => self.restart(kill),
        }
    }

    /// Everybody tries what they hold. Whatever is good was never dead; whatever is not is dead for good.
    fn look(&mut self) {
        for at in 0..self.held.len() {
            let good = self.is_good(&self.held[at]);
            let now = self.now();
            let held = &mut self.held[at];
            assert!(!(good && held.dead), "{:?} came back to life at {now}", held.what);
            assert!(!good || now < held.end, "{:?} outlives its end {} at {now}", held.what, held.end);
            // One that was given by a clock that ran ahead, before a kill, does not count yet.
            let not_yet = matches!(held.what, What::Cookie { issued } if issued > now);
            held.dead |= !good && !not_yet;
        }
    }

    /// Afterwards only what somebody ended is known to be dead.
    fn put_right(&mut self) {
        let root = self.root(Right::Operate);
        let reset = self.runtime.block_on(self.app.reset_clock(&root)).unwrap();
        assert_eq!(reset.to.unix(), self.clock.load(Ordering::Acquire) / 1000);
        for held in &mut self.held {
            held.dead = held.ended;
        }
    }

    fn is_good(&self, held: &Held) -> bool {
        let outcome = self.runtime.block_on(async {
            match held.what {
                What::Bearer => {
                    let snapshot = self.app.snapshot();
                    self.app.identify(&snapshot, held.text.expose(), Right::Open, None).await.map(drop)
                }
                What::Link => self.app.follow_link(&held.text, Visit::Look, None).await.map(drop),
                What::Cookie { .. } => self.app.portal_session(Ok(held.text.expose()), None).await.map(drop),
                What::Enrollment => self.app.enroll(None, enrolling(&held.text, TAKEN)).await.map(drop),
            }
        });
        match outcome {
            Ok(()) | Err(Failure::Refused(Refusal::Conflict(_))) => true,
            Err(Failure::Refused(Refusal::Denied(_))) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn press(&mut self, which: usize) {
        let Some(at) = self.pick(which, |held| held.what == What::Link) else { return };
        let (app, text) = (Arc::clone(&self.app), self.held[at].text.duplicate());
        let pressed = self.runtime.block_on(app.follow_link(&text, Visit::Press, None));
        let (now, link_end) = (self.now(), self.held[at].end);
        match pressed {
            Ok(crate::app::portal::Entrance::Admitted { cookie, .. }) => {
                assert!(!self.held[at].dead && now < link_end);
                let what = What::Cookie { issued: now };
                let end = link_end.min(now.saturating_add(COOKIE));
                self.held.push(Held { what, id: None, text: cookie, end, dead: false, ended: false });
            }
            Err(Failure::Refused(Refusal::Denied(_))) => self.held[at].dead = true,
            other => panic!("{other:?}"),
        }
    }

    fn enroll(&mut self, which: usize) {
        let Some(at) = self.pick(which, |held| held.what == What::Enrollment) else { return };
        self.hosts += 1;
        let request = enrolling(&self.held[at].text, &format!("host-{}", self.hosts));
        let enrolled = self.runtime.block_on(self.app.enroll(None, request));
        let now = self.now();
        let held = &mut self.held[at];
        match enrolled {
            Ok(_) => {
                assert!(!held.dead && now < held.end);
                held.ended = true;
            }
            Err(Failure::Refused(Refusal::Denied(_))) => {}
            Err(other) => panic!("{other:?}"),
        }
        // Spent, or refused.
        held.dead = true;
    }

    fn revoke(&mut self, which: usize) {
        let Some(at) = self.pick(which, |held| held.id.is_some()) else { return };
        let root = self.root(Right::Administrate);
        match self.runtime.block_on(self.app.revoke_any(&root, self.held[at].id.unwrap())) {
            Ok(()) => (self.held[at].dead, self.held[at].ended) = (true, true),
            Err(Failure::Refused(Refusal::NotFound)) => self.held[at].dead = true,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Stops, or is killed as soon as what was asked of the writer is on the disk: what was only in memory is
    /// lost then, the time among it.
    fn restart(&mut self, kill: bool) {
        let image = self.runtime.block_on(async {
            self.app.change_own(|_, _| Ok(())).await.unwrap();
            if kill {
                return Some(self.disk.bytes());
            }
            self.app.flush().await.unwrap();
            None
        });
        self.app.store().close().unwrap();
        if let Some(image) = image {
            self.disk = Disk::holding(image);
        }
        self.app = app(opened_with(&self.disk, &keyring("k1"), &options(&self.clock)).unwrap());
    }
}

fn enrolling(token: &Secret, hostname: &str) -> EnrollRequest {
    EnrollRequest {
        token: token.duplicate(),
        attempt: None,
        statement: Statement {
            hostname: hostname.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ..Statement::default()
        },
    }
}

fn schedules() -> u32 {
    std::env::var("BEARERD_SCHEDULES").ok().map_or(SCHEDULES, |said| said.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: schedules(), ..ProptestConfig::default() })]

    #[test]
    fn however_the_clock_jumps_nothing_that_was_dead_comes_back_to_life(schedule in schedule()) {
        let mut shop = Shop::new();
        for step in schedule {
            shop.take(step);
        }
        shop.look();
        shop.restart(true);
        shop.look();
        let view = shop.app.view();
        prop_assert!(audit::verify(&*view, &mut |_| Ok(())).unwrap().is_ok());
    }
}
