//! The audit log: every change, chained, without secrets (contract 4.10).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::people::PASSWORD;
use support::*;

/// Everything that happens in a day, one of each; returns the people.
fn a_busy_day(daemon: &Daemon) -> (Person, Person) {
    let admin = daemon.first_admin();
    let anna = daemon.user("anna@example.org", &["operator"]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let place = format!("/v1/tokens/{}", text_of(&made, "id"));
    anna.patch(&place, json!({"name": "m"})).expect(200);
    let rotated = anna.post(&format!("{place}/rotate"), json!({})).expect(201);
    anna.delete(&format!("/v1/tokens/{}", text_of(&rotated, "id"))).expect(204);
    let other = text_of(&anna.mint_pat(json!({"name": "n"})), "id");
    admin.delete(&format!("/v1/admin/tokens/{other}")).expect(204);
    let host = daemon.host("web-1");
    anna.delete(&format!("/v1/hosts/{}", host.id)).expect(204);
    let client = daemon.client("acme");
    let link = daemon.link(&client, json!({}));
    anna.delete(&format!("/v1/links/{}", text_of(&link, "id"))).expect(204);
    (admin, anna)
}

#[test]
fn every_change_is_one_entry_with_all_its_members() {
    let daemon = Daemon::start();
    let (admin, anna) = a_busy_day(&daemon);
    let entries = admin.all("/v1/audit");
    let mut next = None;
    for entry in &entries {
        for member in ["seq", "at", "actor", "actor_label", "action", "resource", "params", "ip", "hash"] {
            assert!(entry.get(member).is_some(), "no {member} in {entry}");
        }
        let seq = entry["seq"].as_i64().unwrap();
        assert!(next.is_none_or(|next| seq == next), "without a gap, newest first: {seq}");
        next = Some(seq - 1);
        assert!((seconds(&entry["at"]) - now()).abs() < 120);
    }
    let actions: Vec<String> = entries.iter().map(|entry| text_of(entry, "action")).collect();
    for action in [
        "install.mint",
        "setup.complete",
        "token.create",
        "token.revoke",
        "token.admin_revoke",
        "host.enroll",
    ] {
        assert!(actions.iter().any(|known| known == action), "no {action} in {actions:?}");
    }
    let of = |action: &str| entries.iter().find(|entry| entry["action"] == action).unwrap();
    assert_eq!(of("token.admin_revoke")["actor"], admin.id);
    assert_eq!(of("token.revoke")["actor"], anna.id);
    assert_eq!(of("token.revoke")["ip"], "127.0.0.1");
    assert_eq!(of("token.revoke")["actor_label"], "anna@example.org");
    assert_eq!(of("install.mint")["actor"], "system");
    let uid = rustix::process::geteuid().as_raw();
    assert!(
        entries.iter().any(|entry| entry["actor"] == format!("local:{uid}")),
        "who used the admin socket"
    );
}

#[test]
fn one_change_is_one_entry_and_a_refusal_none() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let count = || daemon.root().all("/v1/audit").len();
    let before = count();
    let made = anna.mint_pat(json!({"name": "n"}));
    assert_eq!(count(), before + 1);
    anna.post("/v1/tokens", json!({"name": ""})).expect(400);
    anna.get("/v1/users").expect(403);
    daemon.root().post("/v1/users", json!({"email": "anna@example.org"})).expect(409);
    anna.delete("/v1/tokens/token_01jd8w3m5ze8vr3pa0n2q9k6ms").expect(404);
    daemon.bearer(&text_of(&made, "token")).get("/v1/me").expect(200);
    daemon.is_active(&text_of(&made, "token"));
    admin.get("/v1/users").expect(200);
    assert_eq!(count(), before + 1, "{:?}", daemon.root().all("/v1/audit"));
    for _ in 0..3 {
        anna.delete(&format!("/v1/tokens/{}", text_of(&made, "id"))).expect(204);
    }
    assert_eq!(daemon.root().all("/v1/audit?action=token.revoke").len(), 1, "the first time stands");
}

#[test]
fn the_log_is_filtered() {
    let daemon = Daemon::start();
    let (admin, anna) = a_busy_day(&daemon);
    let all = admin.all("/v1/audit");
    let of_anna = admin.all(&format!("/v1/audit?actor={}", anna.id));
    assert!(!of_anna.is_empty() && of_anna.iter().all(|entry| entry["actor"] == anna.id));
    assert_eq!(of_anna.len(), all.iter().filter(|entry| entry["actor"] == anna.id).count());
    let created = admin.all("/v1/audit?action=token.create");
    assert!(created.iter().all(|entry| entry["action"] == "token.create"));
    let resource = text_of(&created[0], "resource");
    let about = admin.all(&format!("/v1/audit?resource={resource}"));
    assert!(about.iter().all(|entry| entry["resource"] == resource) && !about.is_empty());
    assert_eq!(admin.all("/v1/audit?since=2100-01-01T00:00:00Z").len(), 0);
    assert_eq!(admin.all("/v1/audit?until=2020-01-01T00:00:00Z").len(), 0);
    assert_eq!(admin.all("/v1/audit?since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z").len(), all.len());
    let both = admin.all(&format!("/v1/audit?actor={}&action=token.create", anna.id));
    assert_eq!(both.len(), 2);
    admin.get("/v1/audit?since=yesterday").expect(400);
    let pages = admin.pages("/v1/audit?action=token.create", 1);
    assert_eq!(pages.into_iter().flatten().count(), created.len());
    anna.get("/v1/audit").refused(403, "forbidden");
    daemon.nobody().get("/v1/audit").expect(401);
}

#[test]
fn the_chain_verifies_and_is_exported_as_lines() {
    let mut daemon = Daemon::start();
    a_busy_day(&daemon);
    daemon.cli(&["audit", "verify"]).expect(0);
    let export = daemon.cli(&["audit", "export"]);
    let mut entries = daemon.root().all("/v1/audit");
    entries.reverse();
    let lines: Vec<Value> =
        export.expect(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, entries, "every entry, oldest first");
    let hashes: std::collections::HashSet<String> = lines.iter().map(|line| text_of(line, "hash")).collect();
    assert_eq!(hashes.len(), lines.len(), "each hash is its own");
    daemon.restart();
    daemon.cli(&["audit", "verify"]).expect(0);
    daemon.user("more@example.org", &[]);
    daemon.cli(&["audit", "verify"]).expect(0);
}

#[test]
fn no_entry_holds_a_secret() {
    let daemon = Setup::new().service("scheduler", &["admin"]).start();
    let (admin, anna) = a_busy_day(&daemon);
    daemon
        .nobody()
        .post("/v1/sessions", json!({"email": "canary-mail@example.org", "password": "canary-password"}))
        .expect(401);
    daemon
        .nobody()
        .post("/v1/sessions", json!({"email": "first@example.org", "password": PASSWORD}))
        .expect(201);
    let exported = daemon.cli(&["audit", "export"]).expect(0).to_owned();
    let listed = admin.get("/v1/audit?limit=500").text();
    for text in [exported, listed] {
        assert!(tokens_in(&text).is_empty(), "{:?}", tokens_in(&text));
        for secret in
            [PASSWORD, "canary-password", &people::service_secret("scheduler"), anna.token(), admin.token()]
        {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}

#[test]
fn failed_logins_are_counted_by_address_and_reason() {
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 0\n");
    let before = daemon.root().all("/v1/audit").len();
    for number in 0..20 {
        let body = json!({"email": format!("nobody{number}@example.org"), "password": "wrong password"});
        daemon.nobody().post("/v1/sessions", body).expect(401);
    }
    let entries = eventually("an entry of the refusals", || {
        let entries = daemon.root().all("/v1/audit");
        (entries.len() > before).then_some(entries)
    });
    assert!(entries.len() - before <= 3, "{entries:?}");
    assert_eq!(entries[0]["ip"], "127.0.0.1");
}

#[test]
fn entries_survive_kill_9_with_their_changes() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let ids: Vec<String> = (0..20).map(|_| text_of(&anna.mint_pat(json!({"name": "n"})), "id")).collect();
    daemon.kill();
    daemon.start_again();
    let created = daemon.root().all("/v1/audit?action=token.create");
    for id in &ids {
        let entries = created.iter().filter(|entry| entry.to_string().contains(id.as_str())).count();
        assert_eq!(entries, 1, "{id}");
    }
    daemon.cli(&["audit", "verify"]).expect(0);
}

/// A timer brings them there, and nobody has to ask or to stop the daemon for it.
#[test]
fn a_refusal_is_in_the_log_within_ten_seconds_by_itself() {
    let daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    let login = json!({"email": "anna@example.org", "password": "not anybody's password"});
    daemon.nobody().post("/v1/sessions", login).expect(401);
    within(std::time::Duration::from_secs(10), "the entry of a refused login", || {
        let entries = daemon.root().all("/v1/audit?action=login.refused");
        (!entries.is_empty()).then_some(())
    });
}
