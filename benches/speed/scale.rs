//! What must not cost more because more is stored: starts, lists, the purge, the flush of last uses, backups.

use std::{
    fs::{self, File},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bearerd::{
    app::fresh,
    records::{
        Action, By, Page, Params, Time,
        token::{LastUsed, Owner, State, Token},
    },
    rules::{
        Terms,
        inventory::{self, Filter},
        last_use, purge, tokens,
    },
    settings::Settings,
    store::{Options, Store},
    token::{Kind, Prefix, TokenId},
};
use rustix::fs::{Advice, fadvise};
use serde::Serialize;

use super::{
    changes,
    known::{Known, Sort},
    load,
    server::Server,
    stock::{Stock, write},
    verification::{Access, about_pats},
};

/// Rows of a page.
const PAGE: usize = 50;
const REPEATS: usize = 200;
/// Operations of the writer that are timed.
const PORTIONS: usize = 20;
/// How long changes flood the daemon before it is killed.
const FLOOD: Duration = Duration::from_millis(700);

/// How long it takes from the start of the process to its first good answer at `/readyz`, in milliseconds.
#[derive(Serialize)]
pub struct Starts {
    pub clean: f64,
    /// With nothing of the file in the system's memory.
    pub cold: f64,
    /// After kill -9 under a flood of mints.
    pub killed: f64,
    /// The same with nothing of the file in the system's memory.
    pub killed_cold: f64,
}

/// Starts the daemon in every way. The store ends cleanly stopped.
pub fn starts(stock: &Stock, session: &str) -> Starts {
    let stopped = |cold: bool| {
        if cold {
            forget(stock);
        }
        let (daemon, took) = Server::daemon(stock);
        daemon.stop();
        took.as_secs_f64() * 1e3
    };
    let killed = |cold: bool| {
        let (daemon, _) = Server::daemon(stock);
        let mint = [load::json("/v1/tokens", session, "{\"name\":\"bench\"}")];
        let load = load::Load::of(&daemon, 64, &mint, 201, b"{");
        load::run(&load, load::Until::Elapsed(FLOOD));
        daemon.kill();
        stopped(cold)
    };
    Starts { clean: stopped(false), cold: stopped(true), killed: killed(false), killed_cold: killed(true) }
}

/// Has the system forget what it keeps of the file in memory.
fn forget(stock: &Stock) {
    let file = File::open(stock.file()).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

/// What looking up a token's row costs with so much memory for pages, in microseconds of processor time.
#[derive(Serialize)]
pub struct Cache {
    pub mebibytes: usize,
    pub uniform: f64,
    pub skewed: f64,
}

/// Looks rows up with caches of several sizes, in this process.
pub fn caches(stock: &Stock) -> Vec<Cache> {
    const LOOK_UPS: u64 = 100_000;
    let known = &stock.known;
    let ids = |access: Access| access.tokens(known, Sort::Opaque, LOOK_UPS).map(|n| known.id(n)).collect();
    let (uniform, skewed): (Vec<TokenId>, Vec<TokenId>) = (ids(Access::Uniform), ids(Access::Skewed));
    let with = |mebibytes: usize| {
        let store = stock.open(&Options { cache_bytes: mebibytes << 20, ..Options::default() });
        let view = store.view();
        let micros = |ids: &[TokenId]| {
            let mut began = 0.0;
            for round in 0..2 {
                // The first round fills the cache.
                if round == 1 {
                    began = cpu_micros();
                }
                for id in ids {
                    assert!(Token::by_id(&*view, *id).unwrap().is_some(), "a token that is not there");
                }
            }
            (cpu_micros() - began) / ids.len() as f64
        };
        let cache = Cache { mebibytes, uniform: micros(&uniform), skewed: micros(&skewed) };
        drop(view);
        store.close().unwrap();
        cache
    };
    [8, 16, 32, 64, 128, 256, 1024].into_iter().map(with).collect()
}

/// Processor time of this thread in microseconds.
fn cpu_micros() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3
}

/// What the daemon's own upkeep costs. Times in milliseconds.
#[derive(Serialize)]
pub struct Upkeep {
    /// A page of the newest of all tokens.
    pub page_of_all: f64,
    /// A page from the middle of all.
    pub page_from_the_middle: f64,
    /// A page of one owner's PATs.
    pub page_of_an_owner: f64,
    /// A page of one kind.
    pub page_of_a_kind: f64,
    /// A page that no index serves, and that nothing is on: as far as one request looks.
    pub page_of_nothing: f64,
    /// Writing down the last uses of a thousand tokens from all over the store.
    pub flush: f64,
    /// Finding and removing as many dead tokens as one step of the purge does.
    pub purge: f64,
    /// How many those are.
    pub purged: usize,
}

/// Measures upkeep in this process, over the library.
pub fn upkeep(stock: &Stock) -> Upkeep {
    let store = stock.open(&Options::default());
    let known = &stock.known;
    let first = Page { after: None, limit: PAGE };
    let middle = Page { after: Some(known.id(known.tokens / 2).as_bytes().to_vec()), limit: PAGE };
    let all = Filter::default();
    let kind = Filter { kind: Some(Kind::Link), ..all };
    let owner = |n: u64| Filter { user: Some(known.owner(n)), kind: Some(Kind::Pat), ..all };
    let nothing = Filter { kind: Some(Kind::Pat), state: Some(State::Exhausted), ..all };
    let list = |filter: &Filter, page: &Page, full: bool| {
        let listed = inventory::list_all(&*store.view(), filter, store.now(), &|_| None, page).unwrap();
        assert!(!full || listed.items.len() == PAGE, "a page that is not full");
    };
    let (mut owners, mut uses) = (0, Access::Uniform.tokens(known, Sort::Opaque, 1_000 * PORTIONS as u64));
    Upkeep {
        page_of_all: each(REPEATS, || list(&all, &first, true)),
        page_from_the_middle: each(REPEATS, || list(&all, &middle, known.tokens > 1_000)),
        page_of_an_owner: each(REPEATS, || {
            owners = (owners + 1) % known.owners();
            list(&owner(owners), &first, true);
        }),
        page_of_a_kind: each(REPEATS, || list(&kind, &first, true)),
        page_of_nothing: each(REPEATS / 10, || list(&nothing, &first, false)),
        flush: each(PORTIONS, || {
            let portion: Vec<LastUsed> = uses
                .by_ref()
                .take(1_000)
                .map(|n| LastUsed { token: known.id(n), at: store.now(), ip: None })
                .collect();
            write(&store, move |txn| last_use::write(txn, &portion));
        }),
        purge: {
            let times = (0..PORTIONS / 4).map(|_| purged(&store, known)).collect();
            load::median(times)
        },
        purged: purge::BATCH_ROWS_MAX,
    }
}

/// Makes as many dead tokens as one step of the purge removes, and times that step.
fn purged(store: &Store, known: &Arc<Known>) -> f64 {
    let owner = Owner::User(known.owner(1));
    write(store, move |txn| {
        txn.entry(&By::system(), Action::TokenCreate, "tokens", Params::none())?;
        for _ in 0..purge::BATCH_ROWS_MAX {
            let fresh = fresh().unwrap();
            let mut dead = tokens::blank(txn, &Prefix::default(), Kind::Pat, owner, Some(1), &fresh);
            dead.token.expires_at = Some(Time::from_unix(1));
            tokens::insert(txn, dead.token)?;
        }
        Ok(())
    });
    let settings = Settings::default();
    let began = Instant::now();
    let found = purge::candidates(&*store.view(), &settings, store.now(), None).unwrap().items;
    assert_eq!(found.len(), purge::BATCH_ROWS_MAX);
    let ids: Vec<TokenId> = found;
    let known = Arc::clone(known);
    let removed = write(store, move |txn| {
        purge::remove(txn, Terms { settings: &Settings::default(), keyring: &known.keyring }, &ids)
    });
    let took = began.elapsed();
    assert_eq!(removed, purge::BATCH_ROWS_MAX as u64);
    took.as_secs_f64() * 1e3
}

/// The median time of what is done, in milliseconds.
fn each(times: usize, mut act: impl FnMut()) -> f64 {
    let time = |_| {
        let began = Instant::now();
        act();
        began.elapsed().as_secs_f64() * 1e3
    };
    load::median((0..times).map(time).collect())
}

/// Last uses under load: how fast they reach the disk, and what verification notices of it.
#[derive(Serialize)]
pub struct LastUse {
    pub callers: usize,
    pub figures: load::Figures,
    /// Uses that waited for the disk when the load ended.
    pub backlog: f64,
    /// Uses that reached the disk in each commit while it ran.
    pub batch: f64,
}

/// Asks about tokens from all over the store, each once, from 1, 16 and 64 callers.
pub fn last_use(daemon: &Server, known: &Known, span: Duration) -> Vec<LastUse> {
    let requests = about_pats(known, Access::Uniform, 100_000 * changes::CALLERS.len() as u64);
    changes::CALLERS
        .into_iter()
        .zip(requests.chunks(100_000))
        .map(|(callers, requests)| {
            let before = daemon.commits();
            let load = load::Load::of(daemon, callers, requests, 200, b"{\"active\":true");
            let figures = load::run(&load, load::Until::Elapsed(span));
            let after = daemon.commits();
            LastUse {
                callers,
                figures,
                backlog: daemon.metric("bearerd_last_use_backlog"),
                batch: (after.0 - before.0) / (after.1 - before.1).max(1.0),
            }
        })
        .collect()
}

/// A backup of the running daemon.
#[derive(Serialize)]
pub struct Backup {
    pub seconds: f64,
    pub bytes: u64,
}

/// Has the running daemon make a backup.
pub fn backup(stock: &Stock) -> Backup {
    let file = stock.data().with_file_name("backup");
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bearerd"));
    command
        .arg("backup")
        .arg(&file)
        .arg("--config")
        .arg(stock.configuration())
        .arg("--data")
        .arg(stock.data());
    assert!(command.stdout(std::process::Stdio::null()).status().unwrap().success(), "no backup was made");
    let seconds = began.elapsed().as_secs_f64();
    let bytes = fs::metadata(&file).unwrap().len();
    fs::remove_file(file).unwrap();
    Backup { seconds, bytes }
}
