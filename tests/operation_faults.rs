//! What can go wrong around the daemon while it starts, serves, stops and is looked after, a row each.
//!
//! The rows carry the numbers of the catalogue of attacks and faults, group P. Of that group, stand elsewhere:
//! P4 and P9 (a socket that is held across restarts and from before the store is open) and P11 (the watchdog) in
//! `slice_reload.rs`; P5 (stores of older and newer versions) in `src/store/tests/migrations.rs`; P6 (backups under
//! load) in `src/store/tests/copies.rs` and `tests/thorough/parts/backups.sh`; P10 (a process that stands still) in `running.rs`; P15
//! (a secret's source that is missing) in `secret_faults.rs`, a keyring's in `systemd.rs`. P13 does not apply: the
//! only agent is `docs/enroll.sh`, which asks one request that is described at `/openapi.json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, FileExt, symlink},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use sha2::{Digest as _, Sha256};
use support::{
    daemon::{set_mode, write_private},
    people::service_secret,
    *,
};

/// Connections with a request on its way at once.
const IN_FLIGHT: usize = 100;

#[test]
fn a_hundred_requests_in_flight_are_finished_and_last_uses_reach_the_disk() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let used = anna.mint_pat(json!({"name": "used"}));
    daemon.bearer(&text_of(&used, "token")).get("/v1/me").expect(200);
    let raw = anna.request("POST", "/v1/tokens").json(json!({"name": "in flight"})).bytes();
    let (first, last) = raw.split_at(raw.len() - 3);
    let mut connections: Vec<Connection> = (0..IN_FLIGHT).map(|_| anna.connect()).collect();
    for connection in &mut connections {
        connection.send(first);
    }
    let idle = daemon.nobody().connect();
    // Whoever came later was answered: what was sent before is there.
    daemon.nobody().get("/healthz").expect(200);
    daemon.signal(Signal::TERM);
    eventually("P1: no new connection is taken", || {
        anna.request("GET", "/healthz").try_send().is_err().then_some(())
    });
    let made: Vec<Value> = connections
        .iter_mut()
        .map(|connection| {
            connection.send(last);
            connection.answer().expect(201)
        })
        .collect();
    assert_eq!(daemon.wait().code(), Some(0), "P1: {}", daemon.stderr());
    drop(idle);
    daemon.start_again();
    assert!(
        made.iter().all(|token| daemon.is_active(&text_of(token, "token"))),
        "P1: an acknowledged token is lost"
    );
    let row = anna.get(&format!("/v1/tokens/{}", text_of(&used, "id"))).expect(200);
    assert!(row["last_used_at"].is_string(), "P1: a last use is lost: {row}");
}

/// What the daemon is at when the signals come.
#[derive(Clone, Copy, Debug)]
enum At {
    /// It has taken its signals over and has not said that it serves.
    Start,
    /// The same, after a kill: the store has to be recovered.
    Recovery,
    /// It serves.
    Rest,
    /// A reload is under way.
    Reload,
}

#[test]
fn signals_at_any_moment_end_it_with_0_and_leave_everything_consistent() {
    use Signal as S;
    let rows: &[(&str, At, &[Signal])] = &[
        ("P2", At::Rest, &[S::TERM]),
        ("P2", At::Rest, &[S::TERM, S::TERM]),
        ("P2", At::Rest, &[S::INT]),
        ("P2", At::Rest, &[S::INT, S::TERM, S::INT]),
        ("P2", At::Start, &[S::TERM]),
        ("P2", At::Start, &[S::INT, S::TERM]),
        ("P2", At::Recovery, &[S::TERM]),
        ("P2", At::Recovery, &[S::HUP, S::TERM, S::TERM]),
        ("P2", At::Reload, &[S::TERM]),
        ("P2", At::Reload, &[S::TERM, S::HUP]),
        ("P3", At::Rest, &[S::HUP; 500]),
        ("P3", At::Start, &[S::HUP; 100]),
    ];
    let mut daemon = Setup::new()
        .config("[services.one]\nsecret_file = \"one\"\n")
        .file("one", service_secret("one"))
        .start();
    let anna = daemon.user("anna@example.org", &[]);
    let mut tokens = vec![anna.any_pat()];
    for (number, at, signals) in rows {
        match at {
            At::Rest => {}
            At::Reload => daemon.signal(S::HUP),
            At::Start | At::Recovery => {
                if matches!(at, At::Recovery) {
                    tokens.push(anna.any_pat());
                    daemon.kill();
                } else {
                    assert_eq!(daemon.stop().code(), Some(0));
                }
                let mut child = starting(&daemon);
                for signal in [*signals, &[S::TERM]].concat() {
                    let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal);
                }
                let code = within(PATIENCE, "the end", || child.try_wait().unwrap()).code();
                assert_eq!(code, Some(0), "{number} {at:?} {signals:?}");
            }
        }
        if matches!(at, At::Rest | At::Reload) {
            for signal in *signals {
                daemon.signal(*signal);
            }
            daemon.signal(S::TERM);
            assert_eq!(daemon.wait().code(), Some(0), "{number} {at:?} {signals:?}: {}", daemon.stderr());
        }
        daemon.start_again();
        tokens.push(anna.any_pat());
        assert!(tokens.iter().all(|token| daemon.is_active(token)), "{number} {at:?} {signals:?}");
        daemon.bearer(&service_secret("one")).get("/v1/me").expect(200);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.cli(&["check"]).expect(0);
}

/// The daemon's files under a process that has taken its signals over, and may not serve yet.
fn starting(daemon: &Daemon) -> std::process::Child {
    let mut command = support::daemon::command(daemon.directory());
    command.args(["serve", "--config", "bearerd.toml", "--data", "data", "--listen", "127.0.0.1:0"]);
    let log = fs::OpenOptions::new().append(true).open(daemon.file("stderr.log")).unwrap();
    let child = command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
    // Of the signals that are caught, SIGHUP and SIGTERM are the 1st and the 15th.
    let taken = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(line.trim(), 16).is_ok_and(|mask| mask & 1 == 1 && mask >> 14 & 1 == 1)
    };
    eventually("the signals are taken over", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        taken(&status).then_some(())
    });
    child
}

/// What is put in place before a start that must not come to anything.
type Fault = fn(Setup) -> Setup;

/// Its number, what it is, the fault, and a word of the line that tells it.
const STARTS: &[(&str, &str, Fault, &str)] = &[
    (
        "P8",
        "no configuration",
        |setup| {
            fs::remove_file(setup.path().join("bearerd.toml")).unwrap();
            setup
        },
        "bearerd.toml",
    ),
    (
        "P8",
        "a folder as configuration",
        |setup| {
            fs::remove_file(setup.path().join("bearerd.toml")).unwrap();
            fs::create_dir(setup.path().join("bearerd.toml")).unwrap();
            setup
        },
        "bearerd.toml",
    ),
    ("P8", "an unknown key", |setup| setup.config("surprise = 1\n"), "surprise"),
    ("P8", "no TOML", |setup| setup.config("[[[\n"), "bearerd.toml"),
    (
        "P8",
        "an address that is not here",
        |setup| setup.config("[server]\nlisten = [\"127.0.0.1:99999\"]\n"),
        "99999",
    ),
    (
        "P8",
        "an address of another machine",
        |setup| {
            setup
                .config("[server]\nlisten = [\"192.0.2.1:0\"]\nallow_remote = true\n")
                .listening_as_configured()
        },
        "192.0.2.1",
    ),
    (
        "P8",
        "an address that is open to others",
        |setup| setup.config("[server]\nlisten = [\"0.0.0.0:0\"]\n").listening_as_configured(),
        "allow_remote",
    ),
    ("P8", "a log filter that is none", |setup| setup.variable("BEARERD_LOG", "loud=very"), "BEARERD_LOG"),
    (
        "P14",
        "a data directory that everybody can write",
        |setup| {
            fs::create_dir(setup.path().join("data")).unwrap();
            set_mode(&setup.path().join("data"), 0o777);
            setup
        },
        "everybody",
    ),
    (
        "P14",
        "the same, where only owners delete",
        |setup| {
            fs::create_dir(setup.path().join("data")).unwrap();
            set_mode(&setup.path().join("data"), 0o1777);
            setup
        },
        "everybody",
    ),
    ("P14", "a file as data directory", |setup| setup.file("data", ""), "data"),
    (
        "P14",
        "a link to nothing as data directory",
        |setup| {
            symlink("nowhere/at/all", setup.path().join("data")).unwrap();
            setup
        },
        "data",
    ),
    (
        "P14",
        "a keyring that others can read",
        |setup| {
            fs::DirBuilder::new().mode(0o700).create(setup.path().join("data")).unwrap();
            write_private(&setup.path().join("data/keyring"), "");
            set_mode(&setup.path().join("data/keyring"), 0o644);
            setup
        },
        "keyring",
    ),
    (
        "P15",
        "a credential that is not there",
        |setup| {
            setup
                .config("[keys]\nfile = \"credential:ring\"\n")
                .variable("CREDENTIALS_DIRECTORY", "/nonexistent")
        },
        "ring",
    ),
];

#[test]
fn a_start_that_cannot_be_is_one_line_and_nothing_is_served() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port_in_use = busy.local_addr().unwrap().to_string();
    let judge = |number: &str, what: &str, setup: Setup, word: &str| {
        let failed = setup.does_not_start();
        assert_eq!(failed.code, Some(1), "{number} {what}: {failed:?}");
        // Beside it, warnings may be in the log.
        let mut said = failed.stderr.lines().filter(|line| !line.starts_with('{'));
        let line = said.next().unwrap_or_default();
        assert!(line.starts_with("bearerd: ") && line.contains(word), "{number} {what}: {failed:?}");
        assert_eq!(said.next(), None, "{number} {what}: {failed:?}");
        assert_eq!(failed.stdout, "", "{number} {what}");
    };
    for (number, what, fault, word) in STARTS {
        judge(number, what, fault(Setup::new()), word);
    }
    judge("P8", "a port in use", Setup::new().argument("--listen").argument(&port_in_use), &port_in_use);
    let usage = cli::alone(Setup::new().path(), &["serve", "--surprise"]);
    assert_eq!(usage.code, 2, "P8: {usage:?}");
}

#[test]
fn a_data_directory_that_was_opened_to_everybody_is_refused_at_the_next_start_too() {
    let key = cli::alone(Setup::new().path(), &["keys", "new"]).expect(0).to_owned();
    let mut daemon = Setup::new().config("[keys]\nfile = \"keyring\"\n").file("keyring", key).start();
    assert_eq!(daemon.stop().code(), Some(0));
    set_mode(&daemon.data(), 0o777);
    let failed = daemon.does_not_start_again();
    assert!(failed.stderr.contains("can be written by others"), "P14: {failed:?}");
    set_mode(&daemon.data(), 0o700);
    daemon.start_again();
}

/// The lines of the log at `level` that hold `words`.
fn logged(daemon: &Daemon, level: &str, words: &str) -> Vec<Value> {
    let log = daemon.stderr();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let meant = |line: &Value| line["level"] == level && text_of(line, "message").contains(words);
    lines.filter(meant).collect()
}

/// Sets how large the files of the running daemon may be: what a full disk is, without a disk.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// Flips a bit wherever one of these stands in the store, beneath the running daemon, which knows better until it opens
/// its store again.
#[track_caller]
fn damage(daemon: &Daemon, parts: &[&[u8]]) {
    let file = fs::OpenOptions::new().read(true).write(true).open(daemon.store()).unwrap();
    let bytes = fs::read(daemon.store()).unwrap();
    for part in parts {
        let found = || bytes.windows(part.len()).enumerate().filter(|(_, found)| found == part);
        assert!(found().count() > 0, "it is not in the store");
        for (at, _) in found() {
            file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        }
    }
}

/// Lets the store fall ill and heal, for which it is opened again.
#[track_caller]
fn fall_ill_and_heal(daemon: &Daemon) {
    // Below what the probe writes, so that nothing heals before its time.
    limit_files(daemon, Some(16 * 1024));
    eventually("a change is refused", || {
        let made = daemon.root().post("/v1/clients", json!({"slug": "never", "name": "n"}));
        (made.status != 201).then_some(())
    });
    limit_files(daemon, None);
    eventually("it is well again", || logged(daemon, "info", "the store is well again").pop());
}

#[test]
fn a_damaged_token_keeps_no_other_alive_in_an_incident() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let [older, damaged, newer] = [(); 3].map(|()| anna.any_pat());
    let host = daemon.host("web-1");
    let rotate = format!("/v1/hosts/{}/rotate", host.id);
    let second =
        text_of(&daemon.root().post(&rotate, json!({"overlap_seconds": 60})).expect(201), "agent_token");
    let hashes = [&damaged, &host.agent_token].map(Sha256::digest);
    damage(&daemon, &[&hashes[0], &hashes[1]]);
    fall_ill_and_heal(&daemon);
    let revoke = |body: Value| daemon.root().post("/v1/admin/tokens/revoke", body).expect(200);
    assert_eq!(
        revoke(json!({"user": anna.id, "kind": "pat", "dry_run": true})),
        json!({"matches": 2, "revoked": 0, "damaged": 1})
    );
    let told = daemon.cli(&["token", "revoke-all", "--user", "anna@example.org", "--kind", "pat", "--yes"]);
    told.expect(0);
    assert!(told.stderr.contains("2 tokens revoked"), "{told:?}");
    assert!(told.stderr.contains("1 damaged token passed over"), "{told:?}");
    let passed = logged(&daemon, "error", "passed over damaged tokens");
    assert!(passed.iter().all(|line| line["damaged"] == 1) && passed.len() == 2, "{passed:?}");
    assert!(!daemon.is_active(&older) && !daemon.is_active(&newer));
    assert_eq!(revoke(json!({"user": anna.id, "kind": "session"})), json!({"matches": 1, "revoked": 1}));
    assert!(by_id(&daemon.root().get("/v1/hosts").expect(200), &host.id).is_some());
    let third = text_of(&daemon.root().post(&rotate, json!({})).expect(201), "agent_token");
    assert!(!daemon.is_active(&second) && daemon.is_active(&third));
    daemon.root().delete(&format!("/v1/hosts/{}", host.id)).expect(204);
    assert!(!daemon.is_active(&third));
}

#[test]
fn a_store_that_falls_ill_and_heals_and_a_damaged_record_are_lines_of_the_log() {
    let daemon = Daemon::start();
    let (anna, bert) = (daemon.user("anna@example.org", &[]), daemon.user("bert@example.org", &[]));
    assert_eq!(logged(&daemon, "error", ""), Vec::<Value>::new());
    damage(&daemon, &[b"anna@example.org"]);
    fall_ill_and_heal(&daemon);
    let fell = logged(&daemon, "error", "the store has");
    assert!(fell.len() == 1 && text_of(&fell[0], "error").contains("File too large"), "{fell:?}");
    assert_eq!(logged(&daemon, "info", "the store is well again").len(), 1);
    for _ in 0..50 {
        anna.get("/v1/me").expect(503);
    }
    bert.get("/v1/me").expect(200);
    let damaged = eventually("the damage is told", || logged(&daemon, "error", "damaged").pop());
    assert_eq!(damaged["table"], "users", "{damaged}");
    daemon.nobody().get("/healthz").expect(200);
    assert_eq!(logged(&daemon, "error", "damaged").len(), 1, "fifty requests are one line");
    assert!(!daemon.stderr().contains("anna@example.org"));
}

#[test]
fn compaction_and_purge_go_on_beside_requests() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let token = anna.any_pat();
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(daemon.is_active(&token), "P12");
                    let made = anna.mint_pat(json!({"name": "beside", "ttl_seconds": 1}));
                    anna.delete(&format!("/v1/tokens/{}", text_of(&made, "id"))).expect(204);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            daemon.cli(&["compact"]).expect(0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 0, "P12: nobody was served");
}
