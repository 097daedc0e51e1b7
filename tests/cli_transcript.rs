//! Every command against a real daemon, as an operator and as a script see it: exit codes, standard output,
//! standard error, and the shape of `--json` (contract 5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use support::cli::{alone, run};
use support::daemon::command;
use support::people::PASSWORD;
use support::shapes::same_shape;
use support::*;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNREACHABLE: i32 = 5;
const CONFLICT: i32 = 6;
const NOT_ACTIVE: i32 = 10;

/// The id of nothing, of each type.
const NO_TOKEN: &str = "token_01jd8w3m5ze8vr3pa0n2q9k6ms";
const NO_USER: &str = "user_01jd8w3m5ze8vr3pa0n2q9k6ms";
const NO_HOST: &str = "host_01jd8w3m5ze8vr3pa0n2q9k6ms";
const NO_CLIENT: &str = "client_01jd8w3m5ze8vr3pa0n2q9k6ms";

/// Runs a command with `--json`, holds its shape against the checked-in one, and gives what it said.
#[track_caller]
fn json_of(daemon: &Daemon, shape: &str, arguments: &[&str], input: &str) -> Value {
    let said = daemon.cli_with(&[arguments, &["--json"]].concat(), input).json();
    same_shape(shape, &said);
    said
}

/// Runs a command for people: it is done, and standard output holds these words.
#[track_caller]
fn shows(daemon: &Daemon, arguments: &[&str], words: &[&str]) -> Outcome {
    let outcome = daemon.cli(arguments);
    let text = outcome.expect(DONE);
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    outcome
}

/// Runs a command for people: it is done, says this on standard error, and nothing on standard output.
#[track_caller]
fn tells(daemon: &Daemon, arguments: &[&str], said: &str) {
    let outcome = daemon.cli(arguments);
    assert_eq!(outcome.expect(DONE), "", "nothing goes to standard output");
    assert!(outcome.stderr.contains(said), "{said} is not in: {}", outcome.stderr);
}

/// Runs a command that ends with this code: nothing on standard output, and why on standard error.
#[track_caller]
fn ends(daemon: &Daemon, code: i32, arguments: &[&str], input: &str) -> String {
    let outcome = daemon.cli_with(arguments, input);
    assert_eq!(outcome.expect(code), "", "nothing goes to standard output");
    assert!(!outcome.stderr.trim().is_empty(), "{arguments:?} says nothing about why");
    outcome.stderr
}

/// A command that makes a secret: that alone is on standard output, one line, and nowhere on standard error.
#[track_caller]
fn secret_of(daemon: &Daemon, arguments: &[&str], tag: &str) -> String {
    let outcome = daemon.cli(arguments);
    let line = outcome.expect(DONE);
    let secret = token_in(line, tag).unwrap_or_else(|| panic!("no token of {tag} in: {line}"));
    assert_eq!(line.lines().count(), 1, "the secret is alone on standard output: {line}");
    assert_eq!(line.split_whitespace().count(), 1, "the secret is alone on standard output: {line}");
    assert!(!outcome.stderr.contains(&secret), "standard error holds the secret");
    secret
}

#[test]
fn users_from_the_command_line() {
    let daemon = Daemon::start();
    let ada = json_of(
        &daemon,
        "user",
        &["user", "create", "ada@example.org", "--name", "Ada", "--group", "editor"],
        "",
    );
    let id = text_of(&ada, "id");
    same_shape("user", &daemon.cli(&["user", "show", "ada@example.org", "--json"]).json());
    same_shape("user", &daemon.cli(&["user", "get", &id, "--json"]).json());
    json_of(&daemon, "user-list", &["user", "list"], "");
    same_shape("user", &daemon.cli(&["user", "update", &id, "--name", "A.", "--json"]).json());
    same_shape("user", &daemon.cli(&["user", "update", &id, "--group", "operator", "--json"]).json());
    assert_eq!(daemon.cli(&["user", "update", &id, "--no-groups", "--json"]).json()["groups"], json!([]));

    shows(&daemon, &["user", "create", "bob@example.org"], &["bob@example.org", "created_at", "ago)"]);
    shows(&daemon, &["user", "ls"], &["E-MAIL", "ada@example.org", "bob@example.org", "s ago)"]);
    let listed = daemon.cli(&["user", "list", "--limit", "1", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(daemon.cli_with(&["user", "password", &id, "--file", "-"], PASSWORD).expect(DONE).is_empty());
    assert!(!daemon.cli_with(&["user", "passwd", &id], PASSWORD).stderr.contains(PASSWORD));
    tells(&daemon, &["user", "deactivate", &id, "--yes"], "deactivated");
    tells(&daemon, &["user", "reactivate", "ada@example.org"], "active again");
    same_shape("user", &daemon.cli(&["user", "disable", &id, "-y", "--json"]).json());

    ends(&daemon, NOT_FOUND, &["user", "show", NO_USER], "");
    ends(&daemon, NOT_FOUND, &["user", "show", "nobody@example.org"], "");
    ends(&daemon, NOT_FOUND, &["user", "reactivate", NO_USER], "");
    ends(&daemon, CONFLICT, &["user", "create", "ADA@example.org"], "");
    ends(&daemon, FAILED, &["user", "create", "no-address"], "");
    ends(&daemon, USAGE, &["user", "update", &id], "");
    ends(&daemon, USAGE, &["user", "update", &id, "--group", "a", "--no-groups"], "");
    ends(&daemon, FAILED, &["user", "password", &id], "short");
    ends(&daemon, USAGE, &["user", "password", &id], "");
    ends(&daemon, NOT_FOUND, &["user", "password", &id, "--file", "not-there"], "");
}

#[test]
fn tokens_from_the_command_line() {
    let daemon = Daemon::start();
    daemon.cli(&["user", "create", "ada@example.org"]).expect(DONE);
    let made = json_of(
        &daemon,
        "token-created",
        &["token", "create", "laptop", "--user", "ada@example.org", "--expires", "7"],
        "",
    );
    let (id, token) = (text_of(&made, "id"), text_of(&made, "token"));
    json_of(&daemon, "token-shown", &["token", "show", &id], "");
    json_of(&daemon, "token-list", &["token", "list", "--kind", "pat"], "");
    same_shape("token", &daemon.cli(&["token", "update", &id, "--name", "desk", "--json"]).json());
    json_of(&daemon, "token-lookup", &["token", "lookup", "-"], &token);
    json_of(&daemon, "verify", &["verify", "-"], &token);
    json_of(&daemon, "explain", &["explain", "-"], &token);

    let scoped = &[
        "token",
        "new",
        "ci",
        "--user",
        "ada@example.org",
        "--ttl",
        "600",
        "--scope",
        "reports:read",
        "--max-uses",
        "3",
        "--allow-ip",
        "10.0.0.0/8",
    ];
    let second = secret_of(&daemon, scoped, "pat");
    let jwt = daemon.cli(&["token", "create", "jwt", "--user", "ada@example.org", "--jwt"]);
    assert_eq!(jwt.expect(DONE).trim().split('.').count(), 3);
    shows(&daemon, &["token", "list", "--user", "ada@example.org"], &["ID", "desk", "active", "in 6 d)"]);
    shows(&daemon, &["token", "show", &id], &["name", "desk", "expires_at"]);

    let seen = daemon.cli_with(&["verify"], &token);
    assert!(seen.expect(DONE).contains("ago)"), "times are told as times: {}", seen.stdout);
    assert!(!seen.stdout.contains(&token) && !seen.stderr.contains(&token));
    let explained = daemon.cli_with(&["explain", "-", "--from-ip", "192.0.2.7"], &second);
    assert!(explained.expect(DONE).contains("CHECK"), "{}", explained.stdout);
    let unknown = text::never_minted("pat");
    same_shape(
        "verify-not-active",
        &json_said(&daemon.cli_with(&["verify", "-", "--json"], &unknown), NOT_ACTIVE),
    );
    ends(&daemon, NOT_ACTIVE, &["verify", "-"], &unknown);
    ends(&daemon, NOT_ACTIVE, &["verify"], "nonsense");
    same_shape("explain-unknown", &daemon.cli_with(&["explain", "-", "--json"], &unknown).json());

    tells(&daemon, &["token", "update", &id, "--enabled", "false"], "changed");
    ends(&daemon, NOT_ACTIVE, &["verify"], &token);
    tells(&daemon, &["token", "enable", &id], "enabled");
    daemon.cli_with(&["verify"], &token).expect(DONE);
    json_of(&daemon, "token-used", &["token", "disable", &id], "");
    ends(&daemon, NOT_ACTIVE, &["verify"], &token);
    ends(&daemon, CONFLICT, &["token", "rotate", &id], "");
    daemon.cli(&["token", "enable", &id]).expect(DONE);
    let update = ["token", "update", &id, "--json"];
    let metadata = daemon.cli_with(&[&update[..], &["--metadata", "-"]].concat(), r#"{"team": "a"}"#).json();
    assert_eq!(metadata["metadata"], json!({"team": "a"}));
    assert_eq!(daemon.cli(&[&update[..], &["--no-metadata"]].concat()).json()["metadata"], Value::Null);
    ends(&daemon, USAGE, &["token", "update", &id, "--metadata", "-"], "[]");

    let successor = secret_of(&daemon, &["token", "rotate", &id, "--overlap", "1h"], "pat");
    assert!(daemon.is_active(&token) && daemon.is_active(&successor), "both live for the overlap");
    let rotated = json_of(&daemon, "token-rotated", &["token", "rotate", &id], "");
    assert!(!daemon.is_active(&token), "without an overlap the old one dies at once");
    ends(&daemon, NOT_FOUND, &["token", "rotate", NO_TOKEN], "");
    ends(&daemon, USAGE, &["token", "rotate", &id, "--overlap", "soon"], "");
    ends(&daemon, FAILED, &["token", "rotate", &text_of(&rotated, "id"), "--overlap", "31d"], "");
    assert_eq!(daemon.cli_with(&["token", "revoke", "-"], &successor).expect(DONE), "");
    assert!(!daemon.is_active(&successor));
    // Whoever gives a token where an id is wanted does not find it in a log of errors.
    let pasted = ends(&daemon, NOT_FOUND, &["token", "revoke", &token], "");
    assert!(pasted.contains("standard input") && !pasted.contains(&token), "{pasted}");
    let several = daemon.cli(&["token", "revoke", "no-id", NO_TOKEN, &text_of(&rotated, "id")]);
    several.expect(NOT_FOUND);
    assert!(several.stderr.contains(NO_TOKEN), "{}", several.stderr);
    assert!(!daemon.is_active(&text_of(&rotated, "token")), "one that is not there keeps no other alive");
    json_of(&daemon, "token-revoked", &["token", "revoke", &id], "");
    tells(&daemon, &["token", "rm", &id], "revoked");
    let filter = ["token", "revoke-all", "--user", "ada@example.org"];
    json_of(&daemon, "token-revoke-all", &[&filter[..], &["--dry-run"]].concat(), "");
    assert!(daemon.is_active(jwt.stdout.trim()), "a dry run does nothing");
    same_shape("token-revoke-all", &daemon.cli(&[&filter[..], &["--yes", "--json"]].concat()).json());
    assert!(!daemon.is_active(jwt.stdout.trim()));

    ends(&daemon, NOT_FOUND, &["token", "show", NO_TOKEN], "");
    ends(&daemon, NOT_FOUND, &["token", "revoke", NO_TOKEN], "");
    ends(&daemon, NOT_FOUND, &["token", "lookup"], &unknown);
    ends(&daemon, NOT_FOUND, &["token", "create", "x", "--user", "nobody@example.org"], "");
    ends(&daemon, USAGE, &["token", "revoke-all", "--yes"], "");
    ends(&daemon, USAGE, &["token", "revoke-all", "--dry-run"], "");
    ends(&daemon, USAGE, &["token", "update", &id], "");
    ends(&daemon, USAGE, &["token", "create", "x", "--user", "ada@example.org", "--expires", "soon"], "");
    ends(&daemon, USAGE, &["token", "create"], "");
    ends(&daemon, USAGE, &["verify", "-"], "");
    ends(&daemon, FAILED, &["token", "create", "x", "--user", "ada@example.org", "--expires", "4000"], "");
}

/// What a command said as JSON while it ended with this code.
#[track_caller]
fn json_said(outcome: &Outcome, code: i32) -> Value {
    serde_json::from_str(outcome.expect(code)).expect("JSON on standard output")
}

#[test]
fn hosts_from_the_command_line() {
    let daemon = Daemon::start();
    let made =
        json_of(&daemon, "enroll-created", &["enroll", "create", "--hostname", "web-1", "--tag", "eu"], "");
    json_of(&daemon, "enroll-list", &["enroll", "list"], "");
    let sealed =
        daemon.cli_with(&["enroll", "new", "--credentials", "-", "--ttl", "60"], r#"{"key": "marmalade"}"#);
    assert!(token_in(sealed.expect(DONE), "enr").is_some());
    assert!(!sealed.stderr.contains("marmalade"));
    secret_of(&daemon, &["enroll", "create", "--hostname", "web-2", "--pin"], "enr");
    shows(&daemon, &["enroll", "ls"], &["HOSTNAME", "web-1", "eu", "active"]);
    json_of(&daemon, "ended", &["enroll", "revoke", &text_of(&made, "id")], "");
    ends(&daemon, NOT_FOUND, &["enroll", "revoke", NO_TOKEN], "");
    ends(&daemon, USAGE, &["enroll", "create", "--pin"], "");
    let bad = ends(&daemon, USAGE, &["enroll", "create", "--credentials", "-"], "[\"marmalade\"]");
    assert!(!bad.contains("marmalade"), "what was wrong with a secret is told without it: {bad}");

    let host = daemon.host("web-9");
    json_of(&daemon, "host", &["host", "show", &host.id], "");
    json_of(&daemon, "host-list", &["host", "list"], "");
    same_shape("host", &daemon.cli(&["host", "update", &host.id, "--tag", "eu", "--json"]).json());
    json_of(&daemon, "host-credentials", &["host", "credentials", &host.id, "-"], r#"{"key": "marmalade"}"#);
    let by_name = daemon.cli_with(&["host", "credentials", "web-9", "-", "--json"], "{}").json();
    assert_eq!(text_of(&by_name, "id"), host.id);
    json_of(&daemon, "host-rotated", &["host", "rotate", &host.id, "--overlap", "60"], "");
    secret_of(&daemon, &["host", "rotate", &host.id], "agt");
    shows(&daemon, &["host", "ls"], &["HOSTNAME", "web-9", "eu", "linux"]);
    shows(&daemon, &["host", "get", &host.id], &["web-9", "created_at"]);
    shows(&daemon, &["host", "show", "WEB-9"], &[&host.id]);
    let facts =
        daemon.cli_with(&["host", "update", "web-9", "--facts", "-", "--json"], r#"{"rack": 7}"#).json();
    assert_eq!(facts["facts"], json!({"rack": 7}));
    assert_eq!(daemon.cli(&["host", "update", "web-9", "--no-tags", "--json"]).json()["tags"], json!([]));
    let agents = daemon.cli(&["token", "list", "--kind", "agent", "--json"]).json();
    assert_eq!(agents[0]["host_id"], json!(host.id));
    let agent = text_of(&agents[0], "id");
    json_of(&daemon, "token-shown-agent", &["token", "show", &agent], "");
    shows(&daemon, &["token", "list", "--kind", "agent"], &[&host.id]);
    let meant = daemon.cli(&["token", "revoke-all", "--host", "web-9", "--dry-run", "--json"]).json();
    assert!(meant["matches"].as_u64() > Some(0), "{meant}");
    ends(&daemon, NOT_FOUND, &["token", "revoke-all", "--host", "web-0", "--dry-run"], "");
    ends(&daemon, NOT_FOUND, &["host", "show", "web-0"], "");
    tells(&daemon, &["host", "rm", &host.id, "--yes"], "deleted");
    for verb in [&["show"][..], &["update", "--tag", "x"], &["delete", "--yes"], &["rotate"]] {
        ends(&daemon, NOT_FOUND, &[&["host"], verb, &[NO_HOST]].concat(), "");
    }
    ends(&daemon, NOT_FOUND, &["host", "credentials", NO_HOST, "-"], "{}");
    ends(&daemon, USAGE, &["host", "credentials", NO_HOST], "");
    ends(&daemon, USAGE, &["host", "update", &host.id], "");
}

#[test]
fn clients_and_links_from_the_command_line() {
    let daemon = Daemon::start();
    let client = json_of(&daemon, "client", &["client", "create", "acme", "Acme Ltd"], "");
    let id = text_of(&client, "id");
    json_of(&daemon, "client-list", &["client", "list"], "");
    same_shape("client", &daemon.cli(&["client", "show", &id, "--json"]).json());
    shows(&daemon, &["clients", "ls"], &["SLUG", "acme", "Acme Ltd"]);
    let made =
        json_of(&daemon, "link-created", &["link", "create", &id, "--label", "Jo", "--expires", "3"], "");
    json_of(&daemon, "link-list", &["link", "list", &id], "");
    let url = daemon.cli(&["link", "new", &id, "--redirect", "/files", "--single-use"]);
    let line = url.expect(DONE).trim();
    assert!(line.starts_with("http") && !line.contains(char::is_whitespace), "the URL is alone: {line}");
    assert!(!url.stderr.contains(&token_in(line, "lnk").unwrap()), "standard error holds the secret");
    shows(&daemon, &["link", "ls", &id], &["LABEL", "Jo", "/files", "in 2 d)"]);
    same_shape("ended", &daemon.cli(&["link", "revoke", &text_of(&made, "id"), "--json"]).json());
    shows(&daemon, &["client", "show", "acme"], &[&id]);
    assert_eq!(daemon.cli(&["client", "update", "acme", "--name", "A", "--json"]).json()["name"], "A");
    shows(&daemon, &["link", "list", "ACME"], &["/files"]);
    ends(&daemon, NOT_FOUND, &["link", "create", "nobody"], "");
    tells(&daemon, &["client", "disable", "acme", "-y"], "deactivated");
    tells(&daemon, &["client", "enable", &id], "active again");

    ends(&daemon, CONFLICT, &["client", "create", "acme", "Again"], "");
    ends(&daemon, FAILED, &["client", "create", "No Slug", "x"], "");
    ends(&daemon, FAILED, &["link", "create", &id, "--redirect", "//elsewhere"], "");
    ends(&daemon, NOT_FOUND, &["client", "show", NO_CLIENT], "");
    ends(&daemon, NOT_FOUND, &["client", "reactivate", NO_CLIENT], "");
    ends(&daemon, NOT_FOUND, &["link", "create", NO_CLIENT], "");
    ends(&daemon, NOT_FOUND, &["link", "list", NO_CLIENT], "");
    ends(&daemon, NOT_FOUND, &["link", "revoke", NO_TOKEN], "");
    ends(&daemon, USAGE, &["link", "list"], "");
}

#[test]
fn the_daemon_itself_from_the_command_line() {
    let mut daemon = Setup::new().service("robot", &["admin"]).start();
    json_of(&daemon, "status", &["status"], "");
    let address = format!("http://{}", daemon.address());
    let words =
        ["well", "version", "ago)", "pending", "1 install", "(current)", "(admins)", "robot", &address];
    let told = shows(&daemon, &["status"], &words);
    assert!(!told.stdout.contains('{'), "nothing is left as JSON: {}", told.stdout);
    let status = daemon.cli(&["status", "--json"]).json();
    let admin = format!("unix:{}", daemon.socket().display());
    let listeners = json!([{"door": "public", "address": address}, {"door": "admin", "address": admin}]);
    assert_eq!(status["listeners"], listeners);
    assert_eq!(status["degraded"], json!(false));
    let counts = json!({"install": 1, "session": 0, "pat": 0, "enrollment": 0, "agent": 0, "link": 0});
    assert_eq!(status["tokens"], counts);
    json_of(&daemon, "reload", &["reload"], "");
    tells(&daemon, &["reload"], "reloaded");
    daemon.rewrite("bearerd.toml", "[server]\nnot_known = 1\n");
    assert!(ends(&daemon, FAILED, &["reload"], "").contains("not_known"));
    daemon.rewrite("bearerd.toml", "");
    tells(&daemon, &["reload", "-y"], "reloaded");

    secret_of(&daemon, &["install-token"], "ist");
    json_of(&daemon, "install-token", &["install-token"], "");
    let token = daemon.cli(&["install-token"]).stdout;
    let body = json!({"install_token": token.trim(), "email": "first@example.org", "password": PASSWORD});
    daemon.nobody().post("/v1/setup", body).expect(201);
    assert!(ends(&daemon, CONFLICT, &["install-token"], "").contains("--force"));
    secret_of(&daemon, &["install-token", "--force"], "ist");

    json_of(&daemon, "compact", &["compact"], "");
    tells(&daemon, &["compact"], "bytes before");
    json_of(&daemon, "clock-reset", &["clock", "reset", "--yes"], "");
    tells(&daemon, &["clock", "reset"], "the highest time is now");

    assert_eq!(daemon.stop().code(), Some(0));
    json_of(&daemon, "compact", &["compact"], "");
    same_shape("install-token-stopped", &daemon.cli(&["install-token", "--force", "--json"]).json());
    secret_of(&daemon, &["install-token", "--force"], "ist");
    json_of(&daemon, "audit-verify", &["audit", "verify"], "");
    daemon.start_again();
    same_shape("audit-verify", &daemon.cli(&["audit", "verify", "--json"]).json());
}

#[test]
fn keys_from_the_command_line() {
    let mut daemon = Daemon::start();
    json_of(&daemon, "keys-list", &["keys", "list"], "");
    shows(&daemon, &["keys", "ls"], &["ID", "CURRENT", "yes"]);
    let before = daemon.cli(&["keys", "list", "--json"]).json();
    let new = daemon.cli(&["keys", "new"]);
    assert!(new.expect(DONE).starts_with("current ") && new.stderr.is_empty());
    json_of(&daemon, "keys-new", &["keys", "new"], "");
    json_of(&daemon, "keys-reseal", &["keys", "reseal"], "");
    json_of(&daemon, "keys-rotate", &["keys", "rotate"], "");
    let after = daemon.cli(&["keys", "list", "--json"]).json();
    assert_eq!(after["keys"].as_array().unwrap().len(), before["keys"].as_array().unwrap().len() + 1);
    tells(&daemon, &["keys", "rotate"], "is the current key");
    tells(&daemon, &["keys", "reseal"], "sealed again");
    assert_eq!(daemon.stop().code(), Some(0));
    tells(&daemon, &["keys", "rotate"], "no daemon runs");
    daemon.start_again();
    assert_eq!(daemon.cli(&["keys", "list", "--json"]).json()["keys"].as_array().unwrap().len(), 4);
}

#[test]
fn the_audit_log_from_the_command_line() {
    let daemon = Daemon::start();
    daemon.client("acme");
    json_of(&daemon, "audit-list", &["audit", "list", "--action", "client.create"], "");
    same_shape(
        "audit-list",
        &daemon.cli(&["audit", "list", "--action", "client.create", "--limit", "1", "--json"]).json(),
    );
    shows(&daemon, &["audit", "ls"], &["SEQ", "client.create", "local:", "ago)"]);
    let tail = shows(&daemon, &["audit", "tail", "-n", "1"], &["client.create"]);
    assert_eq!(tail.stdout.lines().count(), 1);
    let export = daemon.cli(&["audit", "export"]);
    let entries: Vec<Value> =
        export.expect(DONE).lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    same_shape("audit-export-entry", entries.last().unwrap());
    let tailed = daemon.cli(&["audit", "tail", "--action", "client.create", "--json"]);
    assert_eq!(tailed.expect(DONE).lines().count(), 1, "one entry a line: {}", tailed.stdout);
    tells(&daemon, &["audit", "verify"], "holds");
    ends(&daemon, FAILED, &["audit", "list", "--since", "yesterday"], "");
    ends(&daemon, USAGE, &["audit", "list", "--limit", "many"], "");
}

#[test]
fn a_backup_takes_the_place_of_nothing() {
    let daemon = Daemon::start();
    let at = |name: &str| daemon.file(name).to_str().unwrap().to_owned();
    json_of(&daemon, "backup", &["backup", &at("first.redb")], "");
    tells(&daemon, &["backup", &at("second.redb")], "the root key");
    let kept = fs::read(at("first.redb")).unwrap();
    assert!(ends(&daemon, CONFLICT, &["backup", &at("first.redb")], "").contains("is there already"));
    assert_eq!(fs::read(at("first.redb")).unwrap(), kept, "what is there is left as it is");
    symlink(at("elsewhere"), at("link")).unwrap();
    ends(&daemon, CONFLICT, &["backup", &at("link")], "");
    assert!(!daemon.file("elsewhere").exists(), "a symlink is not followed");
    ends(&daemon, CONFLICT, &["backup", daemon.directory().to_str().unwrap()], "");
    ends(&daemon, NOT_FOUND, &["backup", &at("no-folder/file")], "");
    ends(&daemon, USAGE, &["backup"], "");
}

#[test]
fn check_and_restore_from_the_command_line() {
    let mut daemon = Daemon::start();
    let backup = daemon.file("backup.redb").to_str().unwrap().to_owned();
    daemon.cli(&["backup", &backup]).expect(DONE);
    json_of(&daemon, "check", &["check"], "");
    tells(&daemon, &["check"], "left out");
    assert!(ends(&daemon, CONFLICT, &["restore", &backup, "--yes"], "").contains("stop it first"));
    assert_eq!(daemon.stop().code(), Some(0));
    json_of(&daemon, "check-stopped", &["check"], "");
    tells(&daemon, &["check"], "nothing is wrong");
    fs::write(daemon.file("foreign"), "no backup").unwrap();
    ends(&daemon, FAILED, &["restore", daemon.file("foreign").to_str().unwrap(), "--yes"], "");
    symlink(&backup, daemon.file("link")).unwrap();
    ends(&daemon, FAILED, &["restore", daemon.file("link").to_str().unwrap(), "--yes"], "");
    json_of(&daemon, "restore", &["restore", &backup, "--yes"], "");
    daemon.start_again();
    tells(&daemon, &["audit", "verify"], "holds");
}

#[test]
fn an_import_with_a_broken_line_takes_nothing_in() {
    let daemon = Daemon::start();
    let line = |name: &str| {
        let hash = sha256_hex(name);
        json!({"sha256": hash, "kind": "pat", "owner": "ada@example.org", "name": name}).to_string() + "\n"
    };
    let file = |name: &str, text: String| {
        fs::write(daemon.file(name), text).unwrap();
        daemon.file(name).to_str().unwrap().to_owned()
    };
    let good = file("good.jsonl", line("first") + &line("second"));
    let broken = file("broken.jsonl", line("first") + "{\"sha256\": \n" + &line("second"));
    assert!(ends(&daemon, FAILED, &["import", &broken], "").contains("line 2"));
    ends(&daemon, FAILED, &["import", "-"], &fs::read_to_string(&broken).unwrap());
    ends(&daemon, NOT_FOUND, &["user", "show", "ada@example.org"], "");
    json_of(&daemon, "import", &["import", &good, "--dry-run"], "");
    ends(&daemon, NOT_FOUND, &["user", "show", "ada@example.org"], "");
    same_shape("import", &daemon.cli(&["import", &good, "--json"]).json());
    assert!(daemon.is_active("first") && daemon.is_active("second"));
    let again = json_of(&daemon, "import-again", &["import", "-"], &fs::read_to_string(&good).unwrap());
    assert_eq!(again["duplicates"], json!([1, 2]));
    let told = daemon.cli(&["import", &good]);
    assert_eq!(told.expect(DONE), "");
    assert!(told.stderr.contains("line 2: is known already"), "{}", told.stderr);
    ends(&daemon, NOT_FOUND, &["import", "not-there"], "");
}

#[test]
fn without_a_daemon_every_command_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    let commands: &[&[&str]] = &[
        &["status"],
        &["reload"],
        &["user", "list"],
        &["token", "list"],
        &["token", "show", NO_TOKEN],
        &["enroll", "list"],
        &["host", "list"],
        &["client", "list"],
        &["link", "list", NO_CLIENT],
        &["audit", "list"],
        &["audit", "export"],
        &["audit", "tail"],
        &["keys", "list"],
        &["keys", "reseal"],
        &["backup", "file"],
        &["clock", "reset", "--yes"],
    ];
    for arguments in commands {
        let outcome = alone(directory.path(), &[arguments, &["--socket", "nowhere.sock"][..]].concat());
        assert_eq!(outcome.expect(UNREACHABLE), "", "{arguments:?}");
        assert!(outcome.stderr.contains("nowhere.sock"), "{arguments:?}: {}", outcome.stderr);
    }
    fs::write(directory.path().join("lines"), "").unwrap();
    alone(directory.path(), &["import", "lines"]).expect(UNREACHABLE);
    for arguments in [&["install-token"][..], &["compact"], &["audit", "verify"]] {
        let outcome = alone(directory.path(), &[arguments, &["--data", "none"][..]].concat());
        assert_eq!(outcome.expect(NOT_FOUND), "", "{arguments:?}");
        let begin = "no store in none. `bearerd serve --data none` makes one";
        assert!(outcome.stderr.contains(begin), "{arguments:?}: {}", outcome.stderr);
        fs::create_dir_all(directory.path().join("empty")).unwrap();
        alone(directory.path(), &[arguments, &["--data", "empty"][..]].concat()).expect(NOT_FOUND);
        fs::remove_dir(directory.path().join("empty")).expect("still empty");
    }
    alone(directory.path(), &["keys", "rotate", "--data", "none"]).expect(NOT_FOUND);
    assert!(!directory.path().join("none").exists(), "no command but `serve` makes a store");
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lines"]);
}

#[test]
fn what_needs_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let alone = |arguments: &[&str]| alone(directory.path(), arguments);
    assert!(alone(&[]).expect(DONE).contains("Usage: bearerd"));
    assert!(alone(&["--version"]).expect(DONE).starts_with("bearerd "));
    assert!(alone(&["help", "token"]).expect(DONE).contains("revoke-all"));
    assert!(alone(&["man"]).expect(DONE).contains(".TH"));
    alone(&["man", "pages"]).expect(DONE);
    assert!(directory.path().join("pages/bearerd.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(alone(&["completions", shell]).expect(DONE).contains("install-token"), "{shell}");
    }
    for arguments in [&["nonsense"][..], &["token"], &["completions", "nonsense"], &["--nonsense"]] {
        assert_eq!(alone(arguments).expect(USAGE), "", "{arguments:?}");
    }
}

#[test]
fn nothing_is_coloured_where_it_is_not_read_on_a_terminal_or_not_wanted() {
    let daemon = Daemon::start();
    daemon.client("acme");
    let escape = '\u{1b}';
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "xterm-256color")] {
        for arguments in [&["client", "list"][..], &["status"], &["nonsense"], &["--help"]] {
            let mut command = command(daemon.directory());
            command.args(arguments).arg("--data").arg(daemon.data()).env(name, value);
            let outcome = run(command, "");
            assert!(!outcome.stdout.contains(escape) && !outcome.stderr.contains(escape), "{outcome:?}");
        }
    }
    // What somebody put into a name is not obeyed by a terminal.
    let name = "x\u{9b}2J";
    let _ = daemon.root().post("/v1/clients", json!({"slug": "evil", "name": name}));
    assert!(!daemon.cli(&["client", "list"]).expect(DONE).contains('\u{9b}'));
}
