//! Backups while changes are written: each is the state after one of them, held against a ledger that is kept
//! outside (contract 5 and 7).
//!
//! `BEARERD_BACKUPS` says how many, `BEARERD_BACKUP_WRITES` how many changes a second are aimed at, by all writers
//! together.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::cli::alone;
use support::*;

const BACKUPS: usize = 4;
/// A little above the 200 that are the goal: what a busy moment holds up is made up for.
const WRITES_A_SECOND: u32 = 220;
const WRITERS: u32 = 8;

fn wanted<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Mints tokens at a steady pace, its share of the stream, and notes each that was answered, until it is stopped.
/// Whoever fell behind the pace goes on without a pause until it is made up for.
fn write_steadily(daemon: &Daemon, user: &str, ledger: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let pause = Duration::from_secs(1) * WRITERS / wanted("BEARERD_BACKUP_WRITES", WRITES_A_SECOND);
    let (root, path) = (daemon.root(), format!("/v1/users/{user}/tokens"));
    let mut connection = root.connect();
    let mut next = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let minted =
            root.request("POST", &path).json(json!({"name": "noted"})).send_on(&mut connection).expect(201);
        ledger.lock().unwrap().push(text_of(&minted, "id"));
        // The pace of the stream is the load; nothing waits for it.
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The ids of all PATs in a backup, opened as the store of a daemon of its own.
fn opened(backup: &Path, keyring: &Path) -> Vec<String> {
    let setup = Setup::new();
    let data = setup.path().join("data");
    fs::create_dir(&data).unwrap();
    support::daemon::set_mode(&data, 0o700);
    fs::copy(keyring, data.join("keyring")).unwrap();
    support::daemon::set_mode(&data.join("keyring"), 0o600);
    let data = data.to_str().unwrap().to_owned();
    let restore = ["restore", backup.to_str().unwrap(), "--accept-revived", "--yes", "--data", &data];
    alone(setup.path(), &restore).expect(0);
    alone(setup.path(), &["check", "--data", &data]).expect(0);
    let daemon = setup.start();
    daemon.root().all("/v1/admin/tokens?kind=pat").iter().map(|token| text_of(token, "id")).collect()
}

#[test]
fn each_backup_under_a_stream_of_writes_is_an_exact_prefix_of_what_was_acknowledged() {
    let daemon = Daemon::start();
    let user = text_of(&daemon.cli(&["user", "create", "ada@example.org", "--json"]).json(), "id");
    let ledger = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let noted = || ledger.lock().unwrap().len();
    let mut backups = Vec::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| write_steadily(&daemon, &user, &ledger, &stop));
        }
        for number in 0..wanted("BEARERD_BACKUPS", BACKUPS) {
            eventually("something was written since", || {
                (noted() > backups.last().map_or(0, |(_, _, after)| *after)).then_some(())
            });
            let file = daemon.file(&format!("copy{number}"));
            let before = noted();
            let outcome = daemon.cli(&["backup", file.to_str().unwrap(), "--json"]);
            let said = outcome.code;
            backups.push((file, before, noted()));
            if said != 0 {
                stop.store(true, Ordering::Release);
            }
            assert_eq!(outcome.json()["checked"], json!(true));
        }
        stop.store(true, Ordering::Release);
    });
    let took = began.elapsed().as_secs_f64();
    let mut ledger = ledger.lock().unwrap().clone();
    // Ids have the order in which the writer took the changes, which that of the answers need not be.
    ledger.sort();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = ledger.len() as f64 / took;
    println!("{} backups, {} writes in {took:.1} s, {rate:.0} a second", backups.len(), ledger.len());
    let keyring = daemon.data().join("keyring");
    for (file, before, after) in &backups {
        let mut held = opened(file, &keyring);
        held.reverse();
        let count = held.len();
        // One write more of each writer may be in it than was answered before the backup came to its end.
        let most = after + usize::try_from(WRITERS).unwrap();
        assert!((*before..=most).contains(&count), "{count} is not from {before} to {most}");
        assert_eq!(held, ledger[..count.min(ledger.len())], "{} is no prefix", file.display());
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_backup_that_is_made_from_elsewhere_is_opened_with_the_keyring_that_the_daemon_has() {
    let daemon = Daemon::start();
    let away = tempfile::tempdir().unwrap();
    let socket = daemon.socket();
    let backup = |name: &str| {
        cli::alone(away.path(), &["backup", name, "--json", "--socket", socket.to_str().unwrap()]).json()
    };
    assert_eq!(backup("one")["checked"], true);
    std::fs::rename(daemon.data().join("keyring"), daemon.file("elsewhere")).unwrap();
    assert_eq!(backup("two")["checked"], false);
}
