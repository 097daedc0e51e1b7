//! A store in which everything that can be changed is there, as two images; and the application over a copy.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::json;

use super::changes::Change;
use crate::{
    app::{
        App, Failure, Snapshot,
        enrollment::EnrollRequest,
        reload::Origin,
        setup::SetupRequest,
        users::{UserChange, UserRequest},
    },
    config::{load::Sources, services::Services},
    records::{
        By, Fault, TableId, View,
        token::{Token, Uses},
        view::Direction,
    },
    rules::{
        access::{Authorized, Caller, Right},
        audit,
        check::Walk,
        clients::{Change as ClientChange, NewClient},
        enrollment::{Statement, Wish as EnrollmentWish},
        links::NewLink,
        pats::Wish,
        purge,
        tokens::Minted,
    },
    settings::{Retention, Settings},
    store::{
        OpenError, Options, Store, TimeSource,
        tests::{
            faults::{made_with, opened_with},
            keyring,
            media::Disk,
        },
    },
    token::{ClientId, HostId, Key, KeyId, Keyring, Secret, ServiceSecrets, UserId},
};

/// When it all begins, in milliseconds since the epoch.
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// Hours after which what is dead is removed, and one more.
const PURGED_AFTER_HOURS: u64 = 30 * 24 + 1;
const DAY_SECONDS: u64 = 86_400;
const PASSWORD: &str = "correct horse battery staple";

/// Which of the two stores a change begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// Setup is complete.
    Complete,
    /// Setup was opened once more.
    Reopened,
}

/// What there is in the store.
pub(super) struct Ground {
    complete: Vec<u8>,
    reopened: Vec<u8>,
    now_ms: u64,
    folder: tempfile::TempDir,
    pub(super) anna: UserId,
    pub(super) bert: UserId,
    pub(super) session: Minted,
    pub(super) pat: Minted,
    pub(super) counted: Minted,
    pub(super) enrollment: Minted,
    pub(super) host: HostId,
    pub(super) agent: Secret,
    pub(super) client: ClientId,
    pub(super) inactive_client: ClientId,
    pub(super) link: Minted,
    pub(super) single_use: Minted,
    pub(super) install: Secret,
}

/// The application over a medium, and what lies on it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) ground: Arc<Ground>,
    pub(super) disk: Disk,
    clock: Arc<AtomicU64>,
}

/// What a store holds, told so that two runs of one change with other random bytes tell the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    rows: Vec<(&'static str, usize)>,
    actions: Vec<String>,
    /// How often the counted token was used.
    uses: u64,
}

impl Signature {
    fn of(view: &dyn View, ground: &Ground) -> Result<Self, Fault> {
        let mut rows = Vec::new();
        for table in TableId::ALL.into_iter().filter(|table| *table != TableId::Audit) {
            let mut count = 0;
            let all = (core::ops::Bound::Unbounded, core::ops::Bound::Unbounded);
            view.scan(table, all, Direction::Forwards, &mut |_, _| {
                count += 1;
                Ok(core::ops::ControlFlow::Continue(()))
            })?;
            rows.push((table.name(), count));
        }
        let mut actions = Vec::new();
        for entry in audit::after(view, 0, usize::MAX)? {
            // That a reload failed is on file, too; what it would have changed is what counts here.
            if !entry.params.contains("\"refused\"") || entry.action != "config.reload" {
                actions.push(entry.action);
            }
        }
        // Which of several entries of one operation comes first is nobody's business.
        actions.sort_unstable();
        let uses = Uses::of(view, &ground.counted.token)?;
        Ok(Self { rows, actions, uses })
    }

    /// The actions that are here and were not before.
    pub(super) fn actions_since(&self, before: &Self) -> Vec<String> {
        let count =
            |signature: &Self, name: &str| signature.actions.iter().filter(|one| *one == name).count();
        let more = |action: &&String| count(self, action) > count(before, action);
        self.actions.iter().filter(more).cloned().collect()
    }
}

fn first_ring() -> Keyring {
    keyring("k1")
}

fn second_ring() -> Keyring {
    first_ring().rotated(KeyId::new("k2").unwrap(), b"the second key, 32 bytes of it..").unwrap()
}

fn options(clock: &Arc<AtomicU64>) -> Options {
    // Nothing is kept in memory, so that every read is one of the medium.
    Options { cache_bytes: 0, time: TimeSource::Fixed(Arc::clone(clock)), ..Options::default() }
}

fn application(store: Store, keyring: Keyring, folder: &std::path::Path) -> Arc<App> {
    let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
    let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
    let mut settings = Settings::default();
    settings.audit.retention = Retention::Seconds(20 * DAY_SECONDS);
    let sources = Sources {
        config: Some(folder.join("bearerd.toml")),
        data: Some(folder.join("data")),
        ..Sources::default()
    };
    let located = sources.locate().unwrap();
    let origin = Origin { sources, located };
    Arc::new(App::new(store, Snapshot::new(1, settings, keyring, services), origin))
}

fn write_private(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Configuration, keyring and a service's secret, as the next reload finds them.
fn write_configuration(folder: &std::path::Path, service: &str, keyring: &Keyring) {
    let config = format!(
        "[audit]\nretention = \"20d\"\n[services.{service}]\nsecret_file = \"secret\"\ngroups = [\"operator\"]\n"
    );
    write_private(&folder.join("bearerd.toml"), &config);
    write_private(
        &folder.join("secret"),
        &format!("the secret of the service {service}, long enough").replace(' ', "-"),
    );
    write_private(&folder.join("data/keyring"), keyring.to_text().expose());
}

impl Ground {
    pub(super) fn new() -> Arc<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Arc::new(runtime.block_on(Self::laid()))
    }

    async fn laid() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::set_permissions(folder.path().join("data"), fs::Permissions::from_mode(0o700)).unwrap();
        write_configuration(folder.path(), "gone", &first_ring());
        let clock = Arc::new(AtomicU64::new(NOW_MS));
        let disk = Disk::default();
        let app = application(made_with(&disk, &options(&clock)), first_ring(), folder.path());
        let app = &app;
        let root = |right| app.authorize(right, Caller::local(0)).unwrap();

        // What is long dead, and what retention does not keep.
        let user = |email: &str, password: Option<&str>| {
            let request = UserRequest {
                email: email.to_owned(),
                name: None,
                password: password.map(|password| Secret::new(password.to_owned())),
                groups: Vec::new(),
            };
            let who = root(Right::Administrate);
            async move { app.create_user(&who, request).await.unwrap().id }
        };
        let anna = user("anna@example.org", Some(PASSWORD)).await;
        let pat = |max_uses| {
            let wish = Wish { name: "n".to_owned(), max_uses, ..Wish::default() };
            let who = root(Right::MintForOthers);
            async move { app.mint_pat_for(&who, anna, wish).await.unwrap() }
        };
        for _ in 0..3 {
            let dead = pat(None).await;
            app.revoke_any(&root(Right::Administrate), dead.token.id).await.unwrap();
        }
        for _ in 0..PURGED_AFTER_HOURS {
            clock.fetch_add(HOUR_MS, Ordering::AcqRel);
            app.change_own(|txn, _| purge::may_run(txn)).await.unwrap();
        }

        let bert = user("bert@example.org", None).await;
        let off = UserChange { name: None, groups: None, active: Some(false), password: None };
        app.update_user(&root(Right::Administrate), bert, off).await.unwrap();
        app.reload(By::system(), "test").await.unwrap();
        let (_, session) = app.open_session(&root(Right::MintForOthers), anna, None).await.unwrap();
        let (pat, counted) = (pat(None).await, pat(Some(3)).await);
        let credentials = json!({"password": "of the host"}).as_object().cloned();
        let wish = EnrollmentWish { credentials, ..EnrollmentWish::default() };
        let spent = app.mint_enrollment(&root(Right::Operate), &wish).await.unwrap();
        let enrolled = app.enroll(None, joining(spent.secret, "web-1")).await.unwrap();
        let enrollment = app.mint_enrollment(&root(Right::Operate), &wish).await.unwrap();
        let client = |slug: &str| {
            let (who, new) = (root(Right::Operate), NewClient::judge(slug, slug).unwrap());
            async move { app.create_client(&who, new).await.unwrap().id }
        };
        let (client, inactive_client) = (client("acme").await, client("idle").await);
        let off = ClientChange::judge(None, Some(false)).unwrap();
        app.update_client(&root(Right::Operate), inactive_client, off).await.unwrap();
        let link = |single_use| {
            let (who, new) = (root(Right::Operate), NewLink::judge(None, None, None, single_use).unwrap());
            async move { app.mint_link(&who, client, new).await.unwrap().minted }
        };
        let (link, single_use) = (link(false).await, link(true).await);
        let install = app.mint_install_token(By::local(0), false).await.unwrap();
        app.set_up(None, first_admin(install.secret)).await.unwrap();
        app.store().close().unwrap();
        let complete = disk.bytes();

        let disk = Disk::holding(complete.clone());
        let store = opened_with(&disk, &first_ring(), &options(&clock)).unwrap();
        let app = application(store, first_ring(), folder.path());
        let install = app.mint_install_token(By::local(0), true).await.unwrap().secret;
        app.store().close().unwrap();
        write_configuration(folder.path(), "new", &second_ring());
        Self {
            complete,
            reopened: disk.bytes(),
            now_ms: clock.load(Ordering::Acquire),
            folder,
            anna,
            bert,
            session,
            pat,
            counted,
            enrollment,
            host: enrolled.host,
            agent: enrolled.agent_token,
            client,
            inactive_client,
            link,
            single_use,
            install,
        }
    }

    pub(super) fn image(&self, which: Image) -> &[u8] {
        match which {
            Image::Complete => &self.complete,
            Image::Reopened => &self.reopened,
        }
    }
}

/// Who becomes the first admin.
pub(super) fn first_admin(install_token: Secret) -> SetupRequest {
    let password = Secret::new(PASSWORD.to_owned());
    SetupRequest { install_token, email: "first@example.org".to_owned(), password, name: None }
}

/// The password of whoever has one.
pub(super) fn password() -> Secret {
    Secret::new(PASSWORD.to_owned())
}

/// What a host sends.
pub(super) fn joining(token: Secret, hostname: &str) -> EnrollRequest {
    EnrollRequest {
        token,
        attempt: Some(Secret::new("0123456789abcdefghijkl".to_owned())),
        statement: Statement {
            hostname: hostname.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ..Statement::default()
        },
    }
}

impl World {
    pub(super) fn over(ground: &Arc<Ground>, image: Image) -> Self {
        Self::on(ground, &Disk::holding(ground.image(image).to_vec())).unwrap()
    }

    /// Over whatever lies on a medium, if that is a store that opens.
    pub(super) fn on(ground: &Arc<Ground>, disk: &Disk) -> Result<Self, OpenError> {
        let clock = Arc::new(AtomicU64::new(ground.now_ms));
        let store = opened_with(disk, &second_ring(), &options(&clock))?;
        let app = application(store, second_ring(), ground.folder.path());
        Ok(Self { app, ground: Arc::clone(ground), disk: disk.clone(), clock })
    }

    pub(super) fn root(&self, right: Right) -> Result<Authorized, Failure> {
        self.app.authorize(right, Caller::local(0))
    }

    /// Whoever presents that token.
    pub(super) async fn by(&self, token: &Secret, right: Right) -> Result<Authorized, Failure> {
        let caller = self.app.identify(&self.app.snapshot(), token.expose(), right, None).await?;
        self.app.authorize(right, caller)
    }

    /// Sets the clock back by an hour.
    pub(super) fn set_back(&self) {
        self.clock.fetch_sub(HOUR_MS, Ordering::AcqRel);
    }

    pub(super) fn run(&self, change: &Change) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on((change.act)(self.clone()))
    }

    /// What the store holds, as soon as it can be read.
    #[track_caller]
    pub(super) fn signature(&self) -> Signature {
        let end = std::time::Instant::now() + super::faults::PATIENCE;
        loop {
            crate::store::tests::forget_unread(self.app.store());
            match Signature::of(&*self.app.view(), &self.ground) {
                Ok(signature) => return signature,
                Err(fault) => assert!(std::time::Instant::now() < end, "{fault}"),
            }
            std::thread::yield_now();
        }
    }

    /// Walks through the whole store: every record, index, count and the chain of the log.
    #[track_caller]
    pub(super) fn is_in_order(&self, what: &str) {
        let mut walk = Walk::new(true);
        let report = loop {
            if let Some(report) = walk.step(&*self.app.view(), &second_ring()).unwrap() {
                break report;
            }
        };
        assert!(report.findings.is_empty(), "{what}: {:?}", report.findings);
        let agent = Token::by_id(&*self.app.view(), self.ground.pat.token.id).unwrap();
        assert!(agent.is_some(), "{what}: the store has lost its ground");
    }

    /// Closes the store, as a stop does.
    pub(super) fn close(&self) {
        let _ = self.app.store().close();
    }
}
