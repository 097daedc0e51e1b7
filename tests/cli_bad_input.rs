//! What an operator gets wrong, or the machine: each is told clearly, with its exit code, and nothing half done is
//! left (contract 5 and 7).
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::cli::run;
use support::daemon::{binary, command};
use support::*;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const DENIED: i32 = 4;
const UNREACHABLE: i32 = 5;
const CONFLICT: i32 = 6;
const NOT_ACTIVE: i32 = 10;

/// A user of the system that owns nothing.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn skip(what: &str) {
    eprintln!("skipped: {what}");
}

/// Every file below a directory but sockets, with its content; links are not followed.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path(), fs::read(entry.path()).unwrap()));
        } else if kind.is_symlink() {
            found.push((entry.path(), Vec::new()));
        }
    }
    found.sort();
    found
}

/// Fails unless a command ends with this code, says these words on standard error and nothing on standard output.
#[track_caller]
fn says(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.expect(code), "", "nothing goes to standard output");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not in: {}", outcome.stderr);
    }
}

#[test]
fn what_is_wrong_with_a_restore_is_said_and_changes_nothing() {
    let mut daemon = Daemon::start();
    let directory = daemon.directory().to_owned();
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    daemon.cli(&["user", "create", "ada@example.org"]).expect(0);
    daemon.cli(&["backup", &at("good")]).expect(0);
    let good = fs::read(at("good")).unwrap();
    fs::write(at("foreign"), "nothing that bearerd wrote").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("cut-short"), &good[..good.len() / 2]).unwrap();
    let mut flipped = good.clone();
    let stored = b"ada@example.org";
    let row = flipped.windows(stored.len()).position(|window| window == stored).unwrap();
    flipped[row] ^= 1;
    fs::write(at("flipped"), flipped).unwrap();
    symlink(at("good"), at("link")).unwrap();
    let other = Daemon::start();
    let theirs = at("of-another");
    other.cli(&["backup", &theirs]).expect(0);
    let rows: &[(&str, i32, &[&str])] = &[
        ("foreign", FAILED, &["foreign", "is no backup of bearerd"]),
        ("empty", FAILED, &["empty", "is no backup of bearerd"]),
        ("cut-short", FAILED, &["cut-short", "is no backup of bearerd, or is damaged"]),
        ("flipped", FAILED, &["flipped", "damaged"]),
        ("link", FAILED, &["symbolic link", "name the backup itself"]),
        ("of-another", FAILED, &["of-another", "key"]),
        ("not-there", NOT_FOUND, &["there is no file", "not-there"]),
        ("data", FAILED, &["is not a regular file"]),
    ];
    says(&daemon.cli(&["restore", &at("good"), "--yes"]), CONFLICT, &["in use", "stop it first"]);
    assert_eq!(daemon.stop().code(), Some(0));
    let before = files(&daemon.data());
    for (name, code, words) in rows {
        says(&daemon.cli(&["restore", &at(name), "--yes"]), *code, words);
        assert!(files(&daemon.data()) == before, "{name}: something of the store was changed");
    }
    daemon.start_again();
}

#[test]
fn what_is_wrong_with_the_target_of_a_backup_is_said_and_left_alone() {
    let daemon = Daemon::start();
    let at = |name: &str| daemon.file(name).to_str().unwrap().to_owned();
    fs::write(at("there"), "precious").unwrap();
    symlink(at("elsewhere"), at("dangling")).unwrap();
    symlink(at("there"), at("link")).unwrap();
    let before = files(daemon.directory()).into_iter().filter(|(path, _)| !path.starts_with(daemon.data()));
    let before: Vec<_> = before.filter(|(path, _)| !path.ends_with("stderr.log")).collect();
    let rows: &[(&str, i32, &[&str])] = &[
        ("there", CONFLICT, &["is there already", "name another file"]),
        ("dangling", CONFLICT, &["is there already"]),
        ("link", CONFLICT, &["is there already"]),
        ("data", CONFLICT, &["is there already"]),
        ("no-folder/copy", NOT_FOUND, &["there is no folder", "no-folder"]),
        ("there/copy", FAILED, &["there/copy"]),
    ];
    for (name, code, words) in rows {
        says(&daemon.cli(&["backup", &at(name)]), *code, words);
    }
    let after = files(daemon.directory()).into_iter().filter(|(path, _)| !path.starts_with(daemon.data()));
    let after: Vec<_> = after.filter(|(path, _)| !path.ends_with("stderr.log")).collect();
    assert!(after == before, "what was in the way is as it was, and nothing was left beside it");
}

#[test]
fn a_backup_that_runs_into_a_limit_in_its_middle_leaves_nothing() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    // In units of 512 or of 1024 bytes, as the shell has it: more than nothing, less than a backup.
    let script = r#"trap "" XFSZ; ulimit -f 100; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).arg("backup").arg(&copy).arg("--socket").arg(daemon.socket());
    says(&run(command, ""), FAILED, &[copy.to_str().unwrap(), "nothing was kept"]);
    assert_eq!(files(folder.path()), []);
    daemon.cli(&["backup", copy.to_str().unwrap()]).expect(0);
}

/// A small disk, gone with this.
struct Disk(PathBuf);

impl Disk {
    /// None where this user, or this machine, can have none.
    fn of(directory: &Path, kibibytes: u32) -> Option<Self> {
        fs::create_dir_all(directory).unwrap();
        let options = format!("size={kibibytes}k,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "bearerd-test"])
            .arg(directory)
            .output();
        match mounted {
            Ok(output) if is_root() && output.status.success() => Some(Self(directory.to_owned())),
            _ => None,
        }
    }

    /// Fills it up but for so many bytes, with a file that can be removed.
    fn fill_but_for(&self, bytes: u64) -> PathBuf {
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let ballast = self.0.join("ballast");
        let length = (free.f_bavail * free.f_frsize).saturating_sub(bytes);
        fs::write(&ballast, vec![7; usize::try_from(length).unwrap()]).unwrap();
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_backup_onto_a_disk_that_fills_up_leaves_nothing() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::of(&folder.path().join("disk"), 256) else {
        return skip("no disk can be mounted");
    };
    let copy = disk.0.join("copy");
    says(&daemon.cli(&["backup", copy.to_str().unwrap()]), FAILED, &["No space left", "nothing was kept"]);
    assert_eq!(files(&disk.0), []);
}

#[test]
fn a_backup_for_which_the_daemon_has_no_space_is_refused_and_the_daemon_goes_on() {
    let setup = Setup::new();
    let Some(disk) = Disk::of(&setup.path().join("data"), 8 * 1024) else {
        return skip("no disk can be mounted");
    };
    let daemon = setup.start();
    let ada = daemon.user("ada@example.org", &[]);
    // Room for what a change writes, and not for a copy of the store.
    let ballast = disk.fill_but_for(64 * 1024);
    let copy = daemon.file("copy");
    let refused = daemon.cli(&["backup", copy.to_str().unwrap()]);
    says(&refused, FAILED, &["could not make a copy of its store", "disk is full"]);
    assert!(!copy.exists());
    let status = daemon.cli(&["status", "--json"]).json();
    assert_eq!(status["degraded"], json!(false), "the store itself is well: {status}");
    assert!(daemon.is_active(ada.token()));
    fs::remove_file(ballast).unwrap();
    daemon.cli(&["backup", copy.to_str().unwrap()]).expect(0);
    drop(daemon);
}

#[test]
fn a_daemon_whose_disk_is_full_says_so_in_its_status() {
    let setup = Setup::new();
    let Some(disk) = Disk::of(&setup.path().join("data"), 8 * 1024) else {
        return skip("no disk can be mounted");
    };
    let daemon = setup.start();
    let ada = daemon.user("ada@example.org", &[]);
    let ballast = disk.fill_but_for(0);
    let mint = || {
        let path = format!("/v1/users/{}/tokens", ada.id);
        let body = json!({"name": "large", "metadata": {"filler": "x".repeat(4_000)}});
        daemon.root().post(&path, body).status
    };
    let refused = (0..4_000).map(|_| mint()).find(|status| *status != 201);
    assert_eq!(refused, Some(507), "a change is refused for want of space");
    let status = daemon.cli(&["status", "--json"]).json();
    assert_eq!((&status["degraded"], &status["store"]["health"]), (&json!(true), &json!("full")), "{status}");
    let told = daemon.cli(&["status"]);
    assert!(told.expect(0).contains("DEGRADED: the disk is full"), "{}", told.stdout);
    fs::remove_file(ballast).unwrap();
    eventually("changes are taken again", || (mint() == 201).then_some(()));
    assert!(daemon.cli(&["status"]).expect(0).contains("well"));
    drop(daemon);
}

/// A command run by a user to whom nothing here belongs.
fn as_nobody(directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = command(directory);
    command.args(arguments).uid(NOBODY).gid(NOBODY);
    run(command, "")
}

/// Where a binary lies that anybody may run.
fn anybody_may_run(path: &Path) -> bool {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    path.ancestors().all(open)
}

/// A daemon to be, whose folder anybody may look into, and the folder for its admin socket, likewise.
fn with_a_socket_apart() -> (Setup, tempfile::TempDir) {
    let setup = Setup::new();
    let sockets = tempfile::tempdir().unwrap();
    for directory in [setup.path(), sockets.path()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let socket = sockets.path().join("admin.sock");
    let config = format!("[server]\nadmin_socket = \"{}\"\n", socket.display());
    (setup.config(&config), sockets)
}

#[test]
fn another_users_daemon_lets_nobody_in() {
    if !is_root() || !anybody_may_run(&binary()) {
        return skip("needs root, and a binary that everybody may run");
    }
    let (setup, sockets) = with_a_socket_apart();
    let socket = sockets.path().join("admin.sock");
    let mut daemon = setup.start();
    let socket = socket.to_str().unwrap();
    let data = daemon.data().to_str().unwrap().to_owned();
    let theirs = tempfile::tempdir().unwrap();
    chown(theirs.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let token = "token_01jd8w3m5ze8vr3pa0n2q9k6ms";
    let rows: &[&[&str]] = &[
        &["status"],
        &["reload"],
        &["user", "list"],
        &["token", "revoke", token],
        &["audit", "tail"],
        &["audit", "export"],
        &["audit", "verify"],
        &["backup", "copy"],
        &["compact"],
        &["clock", "reset"],
        &["install-token"],
        &["keys", "list"],
        &["keys", "rotate"],
    ];
    for arguments in rows {
        let outcome = as_nobody(theirs.path(), &[arguments, &["--socket", socket][..]].concat());
        says(&outcome, DENIED, &[socket, "run this as the daemon's user or as root"]);
    }
    // Not even where the socket is can be seen by who may not look into the folder.
    let hidden = as_nobody(theirs.path(), &["status", "--data", &data]);
    says(&hidden, DENIED, &["run this as the daemon's user or as root"]);
    // Nor what a configuration says that somebody else keeps: no other place is tried then.
    let config = daemon.file("bearerd.toml");
    let kept = as_nobody(theirs.path(), &["status", "--config", config.to_str().unwrap()]);
    says(&kept, DENIED, &[config.to_str().unwrap(), "--socket"]);
    assert_eq!(daemon.stop().code(), Some(0));
    let before = files(&daemon.data());
    // Where the socket would be can be seen, so that it is the files themselves that let nobody in.
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let places = ["--data", &data, "--config", config.to_str().unwrap()];
    for arguments in [&["install-token"][..], &["compact"], &["audit", "verify"]] {
        let outcome = as_nobody(theirs.path(), &[arguments, &places[..]].concat());
        says(&outcome, DENIED, &[&data, "run this as the daemon's user or as root"]);
        let outcome = as_nobody(theirs.path(), &[arguments, &["--data", &data][..]].concat());
        says(&outcome, DENIED, &[&data, "run this as the daemon's user or as root"]);
    }
    fs::write(theirs.path().join("copy"), "").unwrap();
    let restore = as_nobody(theirs.path(), &["restore", "copy", "--data", &data]);
    says(&restore, DENIED, &[&data, "run this as the daemon's user or as root"]);
    fs::remove_file(theirs.path().join("copy")).unwrap();
    assert!(files(&daemon.data()) == before);
    assert_eq!(files(theirs.path()), [], "nothing half done is left");
}

#[test]
fn a_file_or_folder_of_somebody_else_is_denied_wherever_it_is_named() {
    if !is_root() || !anybody_may_run(&binary()) {
        return skip("needs root, and a binary that everybody may run");
    }
    let closed = tempfile::tempdir().unwrap();
    let theirs = tempfile::tempdir().unwrap();
    chown(theirs.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let named = closed.path().join("named");
    fs::write(&named, "").unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let named = named.to_str().unwrap();
    let rows: &[&[&str]] = &[
        &["man", named],
        &["restore", named],
        &["check", "--config", named],
        &["status", "--config", named],
        &["compact", "--config", named],
        &["keys", "rotate", "--config", named],
        &["restore", "copy", "--config", named],
    ];
    fs::write(theirs.path().join("copy"), "").unwrap();
    for arguments in rows {
        says(&as_nobody(theirs.path(), arguments), DENIED, &[named]);
    }
}

#[test]
fn who_may_open_the_socket_and_nothing_else_has_the_log_checked() {
    if !is_root() || !anybody_may_run(&binary()) {
        return skip("needs root, and a binary that everybody may run");
    }
    let (setup, sockets) = with_a_socket_apart();
    let socket = sockets.path().join("admin.sock");
    let mut daemon = setup.service("one", &[]).start();
    chown(&socket, Some(NOBODY), None).unwrap();
    let config = daemon.file("bearerd.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let (data, socket) = (daemon.data(), socket.to_str().unwrap());
    let places = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let theirs = tempfile::tempdir().unwrap();
    chown(theirs.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let check = |more: &[&str]| as_nobody(theirs.path(), &[&["check", "--json"], more].concat());
    for more in [&places[..], &["--socket", socket]] {
        let told = check(more).json();
        assert_eq!((&told["ok"], &told["running"]), (&json!(true), &json!(true)), "{told}");
        assert!(told["entries"].as_u64().unwrap() > 0, "{told}");
    }
    // A configuration of the system's that they may not read does not keep them from it.
    let mut command = command(theirs.path());
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    command.args(["check", "--json", "--socket", socket]).env("CONFIGURATION_DIRECTORY", daemon.directory());
    command.uid(NOBODY).gid(NOBODY);
    let told = run(command, "").json();
    assert!(told["running"] == true && told["entries"].as_u64().unwrap() > 0, "{told}");
    assert!(told["left_out"].to_string().contains("the configuration"), "{told}");
    // One that they name is one that they mean.
    let kept = as_nobody(theirs.path(), &[&["check"], &places[..]].concat());
    says(&kept, DENIED, &["bearerd.toml cannot be read"]);
    fs::write(theirs.path().join("copy"), "").unwrap();
    let kept = as_nobody(theirs.path(), &[&["restore", "copy"], &places[..]].concat());
    says(&kept, DENIED, &["bearerd.toml cannot be read"]);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(daemon.stop().code(), Some(0));
    let stopped = as_nobody(theirs.path(), &[&["check"], &places[..]].concat());
    says(&stopped, DENIED, &[data.to_str().unwrap(), "run this as the daemon's user or as root"]);
}

/// A line of an import.
fn line(number: usize) -> String {
    let hash = sha256_hex(&format!("old-{number}"));
    json!({"sha256": hash, "kind": "pat", "owner": format!("user{}@example.org", number % 7), "name": "old"})
        .to_string()
}

#[test]
fn a_broken_line_in_the_middle_of_a_file_takes_nothing_in() {
    let daemon = Daemon::start();
    let good: Vec<String> = (0..2_500).map(line).collect();
    let rows: &[(&str, &str)] = &[
        ("{\"sha256\": ", "is not a JSON object"),
        ("[]", "is not a JSON object"),
        ("\u{0}", "is not a JSON object"),
        (r#"{"kind": "pat", "owner": "a@example.org", "name": "n"}"#, "sha256"),
        (r#"{"sha256": "ab", "kind": "pat", "owner": "a@example.org", "name": "n"}"#, "sha256"),
    ];
    for (broken, why) in rows {
        let mut lines = good.clone();
        lines[1_700] = (*broken).to_owned();
        fs::write(daemon.file("lines"), lines.join("\n")).unwrap();
        let outcome = daemon.cli(&["import", "lines"]);
        says(&outcome, FAILED, &["line 1701", why, "nothing was taken in"]);
        says(&daemon.cli(&["import", "lines", "--dry-run"]), FAILED, &["line 1701", why]);
    }
    fs::write(daemon.file("lines"), [line(0).as_bytes(), b"\n\xff\xfe\n"].concat()).unwrap();
    says(&daemon.cli(&["import", "lines"]), FAILED, &["line 2"]);
    assert_eq!(
        daemon.cli(&["token", "list", "--json"]).json().as_array().unwrap().len(),
        1,
        "the install token"
    );
    assert_eq!(daemon.cli(&["user", "list", "--json"]).json(), json!([]));

    // What comes by standard input cannot be read twice: it says how far it got, and goes on from there.
    let mut lines = good.clone();
    lines[1_700] = "{".to_owned();
    let outcome = daemon.cli_with(&["import", "-"], &lines.join("\n"));
    says(&outcome, FAILED, &["line 701", "counted from 1001", "1000 tokens were taken in before"]);
    assert!(
        daemon.is_active("old-999") && !daemon.is_active("old-1000"),
        "a portion is taken in whole or not at all"
    );
    let again = daemon.cli_with(&["import", "-", "--json"], &good.join("\n")).json();
    assert_eq!((&again["tokens"], again["duplicates"].as_array().unwrap().len()), (&json!(1_500), 1_000));
    assert!(daemon.is_active("old-2499"));
}

#[test]
fn a_dry_run_says_what_the_whole_file_comes_to() {
    let daemon = Daemon::start();
    let mut lines: Vec<String> = (0..2_500).map(line).collect();
    lines.push(lines[3].clone());
    let agent = |number: u32, host: &str| {
        let hash = sha256_hex(&format!("agent-{number}"));
        json!({"sha256": hash, "kind": "agent", "owner": host, "name": "agent"}).to_string()
    };
    lines.splice(0..0, [agent(1, "web1"), agent(2, "WEB1")]);
    lines.push(agent(3, "Web1"));
    fs::write(daemon.file("lines"), lines.join("\n")).unwrap();
    let dry = daemon.cli(&["import", "lines", "--dry-run", "--json"]).json();
    assert_eq!(dry, json!({"tokens": 2_503, "owners": 8, "duplicates": [2_503], "dry_run": true}));
    let done = daemon.cli(&["import", "lines", "--json"]).json();
    assert_eq!(done, json!({"tokens": 2_503, "owners": 8, "duplicates": [2_503], "dry_run": false}));
    let told = daemon.cli(&["import", "lines"]);
    assert!(told.stderr.contains("and 2484 more lines"), "{}", told.stderr);
}

#[test]
fn what_comes_through_a_pipe_that_has_a_name_is_taken_in() {
    let daemon = Daemon::start();
    let lines = |numbers: std::ops::Range<usize>| numbers.map(line).collect::<Vec<_>>().join("\n");
    let taken = daemon.cli_with(&["import", "/dev/stdin", "--json"], &lines(0..3)).json();
    assert_eq!(taken["tokens"], 3, "{taken}");
    let pipe = daemon.file("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let text = lines(0..1_500);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, text).unwrap()
    });
    let taken = daemon.cli(&["import", "pipe", "--json"]).json();
    writer.join().unwrap();
    let known = taken["duplicates"].as_array().unwrap().len();
    assert_eq!((&taken["tokens"], known), (&json!(1_497), 3), "{taken}");
    assert!(daemon.is_active("old-0") && daemon.is_active("old-1499"));
    // It is read but once, as standard input is: it says how far it got.
    let broken = lines(1_500..2_600) + "\n{";
    let outcome = daemon.cli_with(&["import", "/dev/stdin"], &broken);
    says(&outcome, FAILED, &["counted from 1001", "1000 tokens were taken in before"]);
}

#[test]
fn a_folder_is_no_file_to_import() {
    let daemon = Daemon::start();
    let outcome = daemon.cli(&["import", "data"]);
    says(&outcome, FAILED, &["data is a folder"]);
    assert!(!outcome.stderr.contains("line 1"), "{outcome:?}");
}

#[test]
fn a_json_object_is_read_as_strictly_as_over_http() {
    let daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    let host = daemon.host("web-1");
    let pat = text_of(&daemon.root().all("/v1/users").remove(0), "id");
    let rows: &[&[&str]] = &[
        &["enroll", "create", "--credentials", "-"],
        &["token", "create", "name", "--user", &pat, "--metadata", "-"],
        &["host", "credentials", &host.id, "-"],
        &["host", "update", &host.id, "--facts", "-"],
    ];
    let before = daemon.root().all("/v1/audit").len();
    let long = json!({"filler": "x".repeat(64 * 1024)}).to_string();
    for arguments in rows {
        for twice in ["{\"p\":1,\"p\":2}", "{\"a\":{\"p\":1,\"\\u0070\":1}}"] {
            let outcome = daemon.cli_with(arguments, twice);
            says(&outcome, USAGE, &["standard input is not a JSON object with each member once"]);
        }
        says(&daemon.cli_with(arguments, &long), USAGE, &["standard input is longer than 64 KiB"]);
        // What a reader of numbers would round is refused by whoever reads it first.
        let rounded = daemon.cli_with(arguments, "{\"n\":12345678901234567890123}");
        assert!(rounded.code != 0 && rounded.stderr.contains("exactly"), "{arguments:?}: {rounded:?}");
    }
    assert_eq!(daemon.root().all("/v1/audit").len(), before, "nothing was made");
    fs::write(daemon.file("long"), &long).unwrap();
    let outcome = daemon.cli(&["enroll", "create", "--credentials", "long"]);
    says(&outcome, USAGE, &["long is longer than 64 KiB"]);
    fs::write(daemon.file("binary"), b"\xff").unwrap();
    let outcome = daemon.cli(&["enroll", "create", "--credentials", "binary"]);
    says(&outcome, USAGE, &["binary is not UTF-8 text"]);
    daemon.cli_with(&["enroll", "create", "--credentials", "-"], "{\"p\":1}\n").expect(0);
}

#[test]
fn what_can_be_no_token_is_not_active() {
    let daemon = Daemon::start();
    for text in ["%".repeat(4_096), "%".repeat(60_000), "a".repeat(65_536), "a".repeat(100_000)] {
        let outcome = daemon.cli_with(&["verify", "-"], &text);
        assert_eq!(outcome.expect(NOT_ACTIVE), "", "{outcome:?}");
        assert_eq!(
            daemon.cli_with(&["verify", "-", "--json"], &text).expect(NOT_ACTIVE),
            "{\"active\":false}\n"
        );
    }
    fs::write(daemon.file("binary"), b"bdr_pat_\xff\n").unwrap();
    daemon.cli(&["verify", "binary"]).expect(NOT_ACTIVE);
    let mut piped = Command::new("sh");
    piped.args(["-c", r#"exec "$0" "$@" <binary"#]).arg(binary()).args(["verify", "-"]);
    piped.arg("--socket").arg(daemon.socket()).current_dir(daemon.directory());
    run(piped, "").expect(NOT_ACTIVE);
    // Who asks why it is so is told.
    says(&daemon.cli_with(&["explain"], &"a".repeat(100_000)), USAGE, &["longer than 64 KiB"]);
    // Without a daemon nobody can tell anything.
    let mut nobody = command(daemon.directory());
    nobody.args(["verify", "binary", "--socket", "nowhere.sock"]);
    says(&run(nobody, ""), UNREACHABLE, &["nowhere.sock"]);
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named_with_what_is_wrong() {
    let setup = Setup::new();
    let data = setup.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let said = format!("the data directory {}: everybody can put files in it", data.display());
    let failed = setup.does_not_start();
    assert!(failed.stderr.contains(&said), "{}", failed.stderr);
}
