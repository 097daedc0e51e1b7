//! `bearerd restore`, told through the binary: what ended since the backup stays ended, and nothing is half done.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use std::{fs, os::unix::fs::symlink, path::Path};

use support::{Daemon, Outcome, Setup, Value, by_id, cli, json, people::enrolling, text_of};

/// A daemon that was backed up to `copy.redb`, with what `change` did to it afterwards, and stopped.
fn backed_up(daemon: &mut Daemon, change: impl FnOnce(&Daemon)) {
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    change(daemon);
    daemon.stop();
}

/// Fails unless the restore is refused for that reason, and the data directory is as it was.
#[track_caller]
fn refused(daemon: &Daemon, arguments: &[&str], code: i32, why: &str) -> Outcome {
    let before = files(&daemon.data());
    let outcome = daemon.cli(arguments);
    assert_eq!(outcome.code, code, "{outcome:?}");
    assert!(outcome.stderr.contains(why), "{why}: {outcome:?}");
    assert!(files(&daemon.data()) == before, "nothing half done: {outcome:?}");
    outcome
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn entries(daemon: &Daemon, action: &str) -> Vec<Value> {
    daemon.root().all(&format!("/v1/audit?action={action}"))
}

#[test]
fn hosts_clients_and_links_that_ended_since_stay_ended() {
    let mut daemon = Daemon::start();
    let (kept, deleted) = (daemon.host("web-1"), daemon.host("web-2"));
    let (client, off) = (daemon.client("acme"), daemon.client("gone"));
    let link = daemon.link(&client, json!({}));
    let revoked = daemon.link(&client, json!({}));
    let once = daemon.link(&client, json!({"single_use": true}));
    let of_off = daemon.link(&off, json!({}));
    let unspent = text_of(&daemon.enrollment(json!({"credentials": {"a": 1}})), "token");
    backed_up(&mut daemon, |daemon| {
        let root = daemon.root();
        root.delete(&format!("/v1/hosts/{}", deleted.id)).expect(204);
        root.delete(&format!("/v1/links/{}", text_of(&revoked, "id"))).expect(204);
        root.delete(&format!("/v1/links/{}", text_of(&once, "id"))).expect(204);
        root.patch(&format!("/v1/clients/{off}"), json!({"active": false})).expect(200);
        daemon.nobody().post("/v1/enroll", enrolling(&unspent, "web-3")).expect(201);
    });
    let said = daemon.cli(&["restore", "copy.redb", "--json"]).json();
    assert_eq!(said["carried_over"]["hosts"], 1, "{said}");
    assert_eq!(said["carried_over"]["clients"], 1, "{said}");
    assert_eq!(said["may_have_come_back"], json!([]), "{said}");
    assert!(Path::new(said["replaced"].as_str().unwrap()).exists(), "{said}");
    daemon.cli(&["check"]).expect(0);
    daemon.start_again();
    assert!(daemon.is_active(&kept.agent_token) && !daemon.is_active(&deleted.agent_token));
    assert!(by_id(&daemon.root().get("/v1/hosts").expect(200), &deleted.id).is_none());
    daemon.portal_cookie(&text_of(&link, "token"));
    for dead in [&revoked, &once, &of_off] {
        let path = format!("/portal/enter?token={}", text_of(dead, "token"));
        daemon.nobody().get(&path).expect(401);
    }
    daemon.nobody().post("/v1/enroll", enrolling(&unspent, "web-4")).expect(401);
    let restored = entries(&daemon, "store.restore");
    assert_eq!(restored.len(), 1);
    let params = &restored[0]["params"];
    let heads = [&params["backup_head"], &params["replaced_head"]].map(|head| head["seq"].as_u64().unwrap());
    assert!(heads[0] < heads[1], "{params}");
    daemon.cli(&["audit", "verify"]).expect(0);
}

#[test]
fn purged_and_older_stores_revive_nothing() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let old = anna.any_pat();
    daemon.cli(&["backup", "first.redb"]).expect(0);
    let young = anna.any_pat();
    let bert = daemon.user("bert@example.org", &[]);
    daemon.cli(&["backup", "second.redb"]).expect(0);
    daemon.stop();
    daemon.cli(&["restore", "first.redb"]).expect(0);
    // The second backup holds what the store does not: whether it was deleted meanwhile, nobody knows.
    daemon.cli(&["restore", "second.redb"]).expect(0);
    daemon.cli(&["check"]).expect(0);
    daemon.start_again();
    assert!(daemon.is_active(&old) && !daemon.is_active(&young));
    bert.get("/v1/me").expect(401);
    let kept = files(&daemon.data()).into_iter().filter(|(name, _)| name.contains("replaced")).count();
    assert_eq!(kept, 2);
}

#[test]
fn a_password_that_was_replaced_does_not_come_back_with_a_store_in_which_something_else_changed_since() {
    let (old, new) = ("the first of two passwords", "the second of two passwords");
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let path = format!("/v1/users/{}", anna.id);
    let change = |daemon: &Daemon, body: Value| drop(daemon.root().patch(&path, body).expect(200));
    change(&daemon, json!({"password": old}));
    daemon.cli(&["backup", "older.redb"]).expect(0);
    change(&daemon, json!({"password": new}));
    daemon.cli(&["backup", "newer.redb"]).expect(0);
    daemon.stop();
    fs::remove_file(daemon.store()).unwrap();
    daemon.cli(&["restore", "older.redb", "--accept-revived"]).expect(0);
    daemon.start_again();
    change(&daemon, json!({"name": "Anna"}));
    daemon.stop();
    daemon.cli(&["restore", "newer.redb"]).expect(0);
    daemon.start_again();
    let log_in = |password: &str| {
        daemon.nobody().post("/v1/sessions", json!({"email": "anna@example.org", "password": password}))
    };
    log_in(old).expect(401);
    log_in(new).expect(201);
}

#[test]
fn an_unreadable_store_is_named_and_what_may_have_come_back_is_listed() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["admin"]);
    let pat = anna.mint_pat(json!({"name": "of anna"}));
    let client = daemon.client("acme");
    let once = daemon.link(&client, json!({"single_use": true}));
    backed_up(&mut daemon, |_| {});
    let good = fs::read(daemon.store()).unwrap();
    let mut bad = good.clone();
    bad.truncate(good.len() / 2);
    fs::write(daemon.store(), &bad).unwrap();
    let told = refused(&daemon, &["restore", "copy.redb"], 1, "--accept-revived");
    assert!(told.stderr.contains("cannot be known"), "{told:?}");
    let said = daemon.cli(&["restore", "copy.redb", "--accept-revived", "--json"]).json();
    assert_eq!(said["replaced_readable"], false, "{said}");
    let named: Vec<&str> = said["may_have_come_back"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert!(named.contains(&text_of(&pat, "id").as_str()), "{said}");
    assert!(named.contains(&anna.id.as_str()) && named.contains(&client.as_str()), "{said}");
    assert!(!named.contains(&text_of(&once, "id").as_str()), "void: {said}");
    daemon.start_again();
    assert!(daemon.is_active(&text_of(&pat, "token")));
    anna.get("/v1/me").expect(401);
    assert_eq!(entries(&daemon, "store.restore")[0]["params"]["replaced_head"], Value::Null);
}

#[test]
fn a_backup_of_another_store_needs_the_word_too() {
    let keys = "current one AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
    let start = || Setup::new().config("[keys]\nfile = \"keys\"\n").file("keys", keys).start();
    let (mut one, mut other) = (start(), start());
    let pat = one.user("anna@example.org", &[]).any_pat();
    one.cli(&["backup", "copy.redb"]).expect(0);
    let foreign = one.file("copy.redb");
    let foreign = foreign.to_str().unwrap();
    other.stop();
    refused(&other, &["restore", foreign], 1, "another id");
    let said = other.cli(&["restore", foreign, "--accept-revived"]);
    said.expect(0);
    assert!(said.stderr.contains("lives again") && said.stderr.contains("anna@example.org"), "{said:?}");
    other.start_again();
    assert!(other.is_active(&pat));
    one.stop();
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_is_half_done() {
    let mut daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    refused_while_running(&daemon);
    daemon.stop();
    let copy = fs::read(daemon.file("copy.redb")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(daemon.file(name), bytes).unwrap();
    write("text", b"not a store at all");
    write("empty", b"");
    write("short", &copy[..copy.len() / 2]);
    symlink(daemon.file("copy.redb"), daemon.file("link")).unwrap();
    fs::create_dir(daemon.file("folder")).unwrap();
    refused(&daemon, &["restore", "nowhere"], 3, "there is no file");
    refused(&daemon, &["restore", "text"], 1, "text");
    refused(&daemon, &["restore", "empty"], 1, "empty");
    refused(&daemon, &["restore", "short"], 1, "damaged");
    refused(&daemon, &["restore", "link"], 1, "symbolic link");
    refused(&daemon, &["restore", "folder"], 1, "not a regular file");
    assert_eq!(daemon.cli(&["restore"]).code, 2);
    let keyring = daemon.data().join("keyring");
    let own = fs::read_to_string(&keyring).unwrap();
    let other = "current other AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
    fs::write(&keyring, other).unwrap();
    let id = own.lines().find_map(|line| line.strip_prefix("current ")?.split(' ').next()).unwrap();
    refused(&daemon, &["restore", "copy.redb"], 1, id);
    fs::write(&keyring, own).unwrap();
    daemon.cli(&["restore", "copy.redb", "--yes"]).expect(0);
}

#[track_caller]
fn refused_while_running(daemon: &Daemon) {
    let outcome = daemon.cli(&["restore", "copy.redb"]);
    assert!(outcome.code == 6 && outcome.stderr.contains("in use"), "{outcome:?}");
    daemon.root().get("/v1/users").expect(200);
}

#[test]
fn a_backup_names_every_key_that_it_needs_first_the_one_without_which_it_does_not_open() {
    let daemon = Daemon::start();
    let key = || {
        let keys = daemon.root().get("/v1/admin/keys").expect(200);
        keys["keys"][0]["id"].as_str().unwrap().to_owned()
    };
    let host = daemon.host("web-1");
    let credentials = format!("/v1/hosts/{}/credentials", host.id);
    let sealing = key();
    daemon.root().put(&credentials, json!({"a": 1})).expect(204);
    daemon.cli(&["keys", "rotate"]).expect(0);
    daemon.cli(&["keys", "rotate"]).expect(0);
    let named = |file: &str| daemon.cli(&["--json", "backup", file]).json()["needs_keys"].clone();
    assert_eq!(named("first.redb"), json!([key(), sealing]), "not the one between, which nothing needs");
    daemon.cli(&["keys", "reseal"]).expect(0);
    assert_eq!(named("second.redb"), json!([key()]));
}

#[test]
fn a_backup_that_needs_more_keys_names_them() {
    let mut daemon = Daemon::start();
    let host = daemon.host("web-1");
    daemon.root().put(&format!("/v1/hosts/{}/credentials", host.id), json!({"a": 1})).expect(204);
    daemon.cli(&["keys", "rotate"]).expect(0);
    let keyring = daemon.data().join("keyring");
    let all = fs::read_to_string(&keyring).unwrap();
    let old = all.lines().find_map(|line| line.strip_prefix("old ")?.split(' ').next()).unwrap().to_owned();
    backed_up(&mut daemon, |_| {});
    let current = all.lines().find(|line| line.starts_with("current ")).unwrap();
    fs::write(&keyring, current).unwrap();
    refused(&daemon, &["restore", "copy.redb"], 1, &old);
    fs::write(&keyring, all).unwrap();
    daemon.cli(&["restore", "copy.redb"]).expect(0);
    daemon.start_again();
    assert_eq!(host.get(&format!("/v1/hosts/{}/credentials", host.id)).expect(200), json!({"a": 1}));
}

#[test]
fn who_looks_in_the_wrong_place_is_told_which_and_why() {
    let mut daemon = Daemon::start();
    daemon.cli(&["backup", "copy"]).expect(0);
    daemon.stop();
    let copy = daemon.file("copy");
    let away = tempfile::tempdir().unwrap();
    support::daemon::write_private(&away.path().join("own.toml"), "[store]\ndir = \"own\"\n");
    let told = |more: &[&str], variable: Option<&str>, words: &[&str]| {
        let mut command = support::daemon::command(away.path());
        command.args(["restore", copy.to_str().unwrap()]).args(more);
        // A directory without a configuration, whatever the machine has.
        command.env("CONFIGURATION_DIRECTORY", away.path());
        command.envs(variable.map(|value| ("STATE_DIRECTORY", value)));
        let outcome = cli::run(command, "");
        assert_eq!(outcome.expect(1), "");
        for word in words {
            assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        }
        assert!(outcome.stderr.contains("or name the data directory"), "{outcome:?}");
    };
    told(&[], None, &["./bearerd-data/keyring", "neither `--data`", "/var/lib/bearerd"]);
    told(&[], Some("/nowhere"), &["/nowhere/keyring", "because $STATE_DIRECTORY names it"]);
    told(&["--data", "d"], None, &["d/keyring", "because `--data` names it"]);
    told(&["--config", "own.toml"], None, &["own/keyring", "because `store.dir` names it"]);
}
