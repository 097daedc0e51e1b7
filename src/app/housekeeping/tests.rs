//! What the daemon does by itself, over a store whose time stands where a test puts it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::{
    app::{Snapshot, reload, users::UserRequest},
    config::services::Services,
    records::{Action, TableId, meta::HighestTime, user::User},
    rules::{
        Refusal,
        access::{Authorized, Caller, Right},
        pats::Wish,
        refusals::Refused,
        tokens::Minted,
    },
    settings::{Retention, Settings},
    store::{
        Founding, FreshStore, Options, Store, TimeSource,
        tests::{faults::made_with, forget_unread, keyring, media::Disk, settle},
    },
    token::{Key, ServiceSecrets, TokenId},
};

const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

struct House {
    app: App,
    clock: Arc<AtomicU64>,
}

impl House {
    fn new(settings: Settings) -> Self {
        Self::with(settings, Options::default().verify_bytes_max)
    }

    fn with(settings: Settings, verify_bytes_max: u64) -> Self {
        let fresh = FreshStore { id: [3; 16], key: Key::new([5; 32]), nonce: [9; 24] };
        let founding = Founding::new(keyring("k1").current(), fresh, NOW_MS).unwrap();
        let options = Options { verify_bytes_max, ..Options::default() };
        Self::over(settings, &options, |options| Store::in_memory(&founding, options).unwrap())
    }

    /// Over a store whose every read goes to a medium.
    fn on(disk: &Disk) -> Self {
        let options = Options { verify_bytes_max: 0, cache_bytes: 0, ..Options::default() };
        Self::over(Settings::default(), &options, |options| made_with(disk, options))
    }

    fn over(settings: Settings, options: &Options, make: impl FnOnce(&Options) -> Store) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW_MS));
        let store = make(&Options { time: TimeSource::Fixed(Arc::clone(&clock)), ..options.clone() });
        let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
        let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
        let snapshot = Snapshot::new(1, settings, keyring("k1"), services);
        Self { app: App::new(store, snapshot, reload::Origin::of_defaults()), clock }
    }

    fn root(&self, right: Right) -> Authorized {
        self.app.authorize(right, Caller::local(0)).unwrap()
    }

    async fn user(&self) -> User {
        let request = UserRequest {
            email: "anna@example.org".to_owned(),
            name: None,
            password: None,
            groups: Vec::new(),
        };
        self.app.create_user(&self.root(Right::Administrate), request).await.unwrap()
    }

    async fn pat(&self, user: &User) -> Minted {
        let wish = Wish { name: "n".to_owned(), ..Wish::default() };
        self.app.mint_pat_for(&self.root(Right::MintForOthers), user.id, wish).await.unwrap()
    }

    fn last_use(&self, id: TokenId) -> Option<LastUsed> {
        self.app.look(|view, _| Ok(LastUsed::of(view, id)?)).unwrap()
    }

    /// Lets hours pass as the timers see them, whatever the purge's rest would be on a real clock.
    async fn pass_hours(&self, hours: u64) -> u64 {
        let mut removed = 0;
        for _ in 0..hours {
            self.clock.fetch_add(HOUR_MS, Ordering::AcqRel);
            self.app.wake_purge();
            removed += self.app.purge_step().await.unwrap();
        }
        removed
    }
}

#[tokio::test]
async fn a_use_is_seen_at_once_and_on_the_disk_after_a_flush() {
    let house = House::new(Settings::default());
    let pat = house.pat(&house.user().await).await;
    house
        .app
        .identify(&house.app.snapshot(), pat.secret.expose(), Right::Open, Some([192, 0, 2, 1].into()))
        .await
        .unwrap();
    let row = house.app.pat(&house.root(Right::OwnTokens), pat.token.id).unwrap();
    assert_eq!(row.last_used.map(|last| last.at), Some(house.app.now()));
    assert_eq!(house.last_use(pat.token.id), None, "verification did not wait for the disk");
    house.app.flush().await.unwrap();
    let stored = house.last_use(pat.token.id).unwrap();
    assert_eq!((stored.at, stored.ip), (house.app.now(), Some([192, 0, 2, 1].into())));
    assert_eq!(house.app.last_used.backlog(), 0);
}

#[tokio::test]
async fn a_flush_of_thousands_of_uses_takes_several_operations_and_loses_none() {
    let house = House::new(Settings::default());
    let user = house.user().await;
    let mut ids = Vec::new();
    for _ in 0..2_100 {
        let id = house.pat(&user).await.token.id;
        house.app.last_used.note(id, house.app.now(), None);
        ids.push(id);
    }
    // One that is gone meanwhile is dropped and holds up nobody.
    house.app.last_used.note(TokenId::from_parts(1, [1; 10]), house.app.now(), None);
    house.app.flush().await.unwrap();
    assert!(ids.into_iter().all(|id| house.last_use(id).is_some()));
    assert_eq!(house.app.last_used.backlog(), 0);
}

#[tokio::test]
async fn a_flush_writes_the_highest_time_though_nothing_else_was_written() {
    let house = House::new(Settings::default());
    house.clock.fetch_add(HOUR_MS, Ordering::AcqRel);
    house.app.flush().await.unwrap();
    // The writer takes things in their turn: what is asked now is answered after it.
    house.app.change_own(|_, _| Ok(())).await.unwrap();
    let highest = house.app.look(|view, _| Ok(HighestTime::of(view)?)).unwrap();
    assert_eq!(highest.millis, NOW_MS + HOUR_MS);
}

#[tokio::test]
async fn refusals_are_written_once_and_kept_while_they_cannot_be() {
    let house = House::new(Settings::default());
    let refused = || Refused::new(Action::LoginRefused, None, "wrong_password");
    (0..7).for_each(|_| house.app.note_refusal(refused()));
    house.app.flush_refusals().await.unwrap();
    house.app.flush_refusals().await.unwrap();
    let page = crate::records::Page { after: None, limit: 50 };
    let entries = house.app.audit_entries(&crate::rules::audit::Filter::default(), &page).unwrap().items;
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(entry.params.contains("\"count\":7"), "{}", entry.params);
    house.app.note_refusal(refused());
    house.app.store().close().unwrap();
    house.app.flush_refusals().await.unwrap_err();
    assert!(!house.app.refusals.is_empty());
}

#[tokio::test]
async fn the_purge_walks_by_itself_and_rests() {
    let house = House::new(Settings::default());
    let user = house.user().await;
    let (dead, alive) = (house.pat(&user).await, house.pat(&user).await);
    house.app.revoke_pat(&house.root(Right::OwnTokens), dead.token.id).await.unwrap();
    assert_eq!(house.pass_hours(30 * 24 - 1).await, 0);
    assert_eq!(house.pass_hours(1).await, 1);
    let gone = house.app.pat(&house.root(Right::OwnTokens), dead.token.id).unwrap_err();
    assert!(matches!(gone, Failure::Refused(Refusal::NotFound)), "{gone}");
    assert!(house.app.pat(&house.root(Right::OwnTokens), alive.token.id).is_ok());
    assert!(house.app.purge.begin_step().is_none(), "it rests between two walks");
}

#[tokio::test]
async fn retention_is_kept_without_anybody_asking() {
    let mut settings = Settings::default();
    settings.audit.retention = Retention::Seconds(3_600);
    let house = House::new(settings);
    house.pat(&house.user().await).await;
    house.pass_hours(3).await;
    let page = crate::records::Page { after: None, limit: 50 };
    let entries = house.app.audit_entries(&crate::rules::audit::Filter::default(), &page).unwrap().items;
    assert!(entries.iter().all(|entry| entry.action == "audit.cut"), "{entries:?}");
    let chain = house.app.look(|view, _| Ok(audit::verify(view, &mut |_| Ok(()))?)).unwrap();
    assert!(chain.is_ok(), "{chain:?}");
}

#[tokio::test]
async fn a_damaged_entry_of_the_log_stops_retention_and_not_the_purge_of_tokens() {
    let mut settings = Settings::default();
    settings.audit.retention = Retention::Seconds(3_600);
    let house = House::new(settings);
    let dead = house.pat(&house.user().await).await;
    house.app.revoke_pat(&house.root(Right::OwnTokens), dead.token.id).await.unwrap();
    let oldest = 1u64.to_be_bytes().to_vec();
    let damaged = (TableId::Audit, oldest.clone(), vec![1, 2, 3]);
    let damage = move |txn: &mut crate::records::Txn<'_>, _: crate::rules::Terms<'_>| {
        txn.index(vec![damaged]);
        Ok(())
    };
    house.app.change_own(damage).await.unwrap();
    assert_eq!(house.pass_hours(30 * 24).await, 1);
    let found = house.app.look(|view, _| Ok(view.bytes(TableId::Audit, &oldest)?)).unwrap();
    assert_eq!(found, Some(vec![1, 2, 3]), "it is left for others to find");
    let goes_on = || house.app.purge.with(|walk| walk.audit.is_over());
    house.app.wake_purge();
    for _ in 0..2 {
        assert!(goes_on());
        house.app.purge_step().await.unwrap();
    }
    assert!(!goes_on(), "what has failed twice is tried again in an hour");
}

/// On the one thread of this runtime nobody else would be answered meanwhile.
#[test]
fn the_purge_does_not_look_at_rows_on_the_threads_that_answer() {
    use std::sync::mpsc;

    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let house = House::new(Settings::default());
        house.pat(&house.user().await).await;
        // In the middle of a walk, where a step has nothing to write.
        house.app.purge.end_step(Some(vec![255; 16]));
        let (release, held) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let step = house.app.purge_step();
        tokio::pin!(step);
        let early = std::future::poll_fn(|context| std::task::Poll::Ready(step.as_mut().poll(context))).await;
        assert!(early.is_pending(), "the only thread for long work is busy");
        release.send(()).unwrap();
        assert_eq!(step.await.unwrap(), 0);
        busy.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn a_walk_goes_on_while_others_write_and_says_how_it_ended() {
    let house = House::new(Settings::default());
    let user = house.user().await;
    house.app.walk_step().await.unwrap();
    assert_eq!(house.app.last_walk(), None, "a small store is verified when it is opened");
    let mut steps = 0;
    while house.app.last_walk().is_none() {
        house.app.walk_on().await.unwrap();
        house.pat(&user).await;
        steps += 1;
    }
    let walked = house.app.last_walk().unwrap();
    assert!(steps > 1 && walked.rows > 0);
    assert_eq!(walked.findings, 0);
    house.clock.fetch_add(HOUR_MS, Ordering::AcqRel);
    house.app.walk_on().await.unwrap();
    assert_eq!(house.app.last_walk(), Some(walked), "it rests");
}

#[tokio::test]
async fn a_store_that_was_not_verified_when_it_was_opened_is_walked_through_whatever_its_size() {
    let house = House::with(Settings::default(), 0);
    house.user().await;
    // Each step looks at one table at the least.
    for _ in TableId::ALL {
        house.app.walk_step().await.unwrap();
    }
    assert!(house.app.last_walk().is_some_and(|walked| walked.rows > 0));
}

/// A page of the table of tokens cannot be read for good, and there are others before and behind it.
async fn with_a_bad_page() -> (House, Disk) {
    let disk = Disk::default();
    let house = House::on(&disk);
    let user = house.user().await;
    let mut ids = Vec::new();
    for _ in 0..90 {
        ids.push(house.pat(&user).await.token.id);
    }
    let found = house.app.look(|view, _| Ok(view.bytes(TableId::Tokens, ids[45].as_bytes())?)).unwrap();
    assert!(found.is_some());
    disk.lose_what_was_read_last();
    (house, disk)
}

#[tokio::test]
async fn a_walk_that_cannot_read_on_says_so_and_ends() {
    let (house, disk) = with_a_bad_page().await;
    let mut steps = 0;
    while house.app.last_walk().is_none() {
        let _ = house.app.walk_step().await;
        settle(house.app.store());
        forget_unread(house.app.store());
        steps += 1;
        assert!(steps < 100, "it tries the same place for ever");
    }
    let walked = house.app.last_walk().unwrap();
    assert!(walked.findings > 0);
    let opened = house.app.store().stats().reopened;
    assert!(opened >= 2, "what was found was tried again: {opened}");
    house.app.walk_step().await.unwrap();
    assert_eq!(house.app.store().stats().reopened, opened, "it rests");
    disk.mend();
}

#[tokio::test]
async fn a_purge_that_cannot_go_on_rests_and_begins_anew() {
    let (house, disk) = with_a_bad_page().await;
    let opened = || house.app.store().stats().reopened;
    house.app.purge.end_step(Some(vec![255; 16]));
    for _ in 0..2 {
        house.app.purge_step().await.unwrap_err();
        settle(house.app.store());
    }
    let before = opened();
    assert!(before >= 2, "it was tried again: {before}");
    for _ in 0..5 {
        assert_eq!(house.app.purge_step().await.unwrap(), 0);
        settle(house.app.store());
    }
    assert_eq!(opened(), before, "it rests");
    disk.mend();
    house.app.wake_purge();
    assert_eq!(house.app.purge.begin_step(), Some(None), "it begins anew");
    house.app.purge_step().await.unwrap();
    assert!(house.app.purge.begin_step().is_none(), "it went through all tokens");
}

/// Others may have failed while it was under way, and it is as well again as they are.
#[tokio::test]
async fn a_purge_that_failed_once_goes_on_where_it_was() {
    let (house, disk) = with_a_bad_page().await;
    house.app.purge.end_step(Some(vec![255; 16]));
    house.app.purge_step().await.unwrap_err();
    settle(house.app.store());
    disk.mend();
    forget_unread(house.app.store());
    assert_eq!(house.app.purge.begin_step(), Some(Some(vec![255; 16])));
    house.app.purge_step().await.unwrap();
}

#[tokio::test]
async fn a_purge_of_a_store_that_takes_no_changes_waits_where_it_is() {
    let house = House::new(Settings::default());
    house.app.purge.end_step(Some(vec![1; 16]));
    house.app.store().close().unwrap();
    for _ in 0..3 {
        assert_eq!(house.app.purge_step().await.unwrap(), 0);
    }
    assert_eq!(house.app.purge.begin_step(), Some(Some(vec![1; 16])));
}

#[test]
fn a_purge_that_finds_the_writer_busy_does_not_rest_for_that() {
    let (mut rest, busy) = (Rest::default(), Failure::Store(WriteError::Busy));
    assert!(!rest.failed(&busy) && !rest.failed(&busy));
    let failure = Failure::Store(WriteError::Unavailable);
    assert!(!rest.failed(&failure) && rest.failed(&failure));
}
