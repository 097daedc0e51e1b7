//! People and their tokens, where it takes the whole daemon: races of logins, revocations of more than one
//! operation, and refusals on their way to the audit log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::people::PASSWORD;
use support::*;

fn login(daemon: &Daemon, email: &str, password: &str) -> Answer {
    daemon.nobody().post("/v1/sessions", json!({"email": email, "password": password}))
}

#[test]
fn many_failed_logins_at_once_get_no_further_than_one_after_the_other() {
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 5\npassword_queue = 100\n");
    daemon.root().post("/v1/users", json!({"email": "anna@example.org", "password": PASSWORD})).expect(201);
    let statuses = at_once(32, |_| login(&daemon, "anna@example.org", "not the password").status);
    let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(401), count(429)), (5, 27), "{statuses:?}");
    let full = login(&daemon, "Anna@Example.org", PASSWORD);
    full.refused(429, "rate_limited");
    let after: u64 = full.header("retry-after").expect("when to come back").parse().expect("seconds");
    assert!((1..=12).contains(&after), "{after}");
    // Whoever has a token is not held up by any of this.
    let made = daemon.root().get("/v1/users?email=anna%40example.org").expect(200);
    daemon.session_of(&items(&made)[0]).get("/v1/me").expect(200);
}

#[test]
fn refused_logins_are_one_entry_for_each_reason_and_tell_no_address_or_password() {
    let daemon = Daemon::start();
    daemon.root().post("/v1/users", json!({"email": "anna@example.org", "password": PASSWORD})).expect(201);
    for _ in 0..3 {
        login(&daemon, "anna@example.org", "canary-of-a-password").expect(401);
        login(&daemon, "canary@example.org", "canary-of-a-password").expect(401);
    }
    let count = |entries: &[Value], reason: &str| {
        let of_it = entries.iter().filter(|entry| entry["params"]["reason"] == reason);
        of_it.map(|entry| entry["params"]["count"].as_u64().unwrap()).sum::<u64>()
    };
    let entries = eventually("all refusals to be written", || {
        let entries = daemon.root().all("/v1/audit?action=login.refused");
        (count(&entries, "wrong_password") + count(&entries, "unknown_email") == 6).then_some(entries)
    });
    assert_eq!((count(&entries, "wrong_password"), count(&entries, "unknown_email")), (3, 3));
    assert!(entries.len() <= 4, "{entries:?}");
    assert!(entries.iter().all(|entry| !entry.to_string().contains("canary")), "{entries:?}");
    assert!(entries.iter().all(|entry| entry["ip"] == "127.0.0.1" && entry["actor"] == "system"));
}

#[test]
fn a_revocation_of_more_than_one_operation_ends_the_session_that_asked_for_it_and_goes_on() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let path = format!("/v1/users/{}/sessions", anna.id);
    at_once(16, |_| {
        for _ in 0..70 {
            daemon.root().post(&path, json!({})).expect(201);
        }
    });
    let sessions = 16 * 70 + 2;
    let dry = admin.post("/v1/admin/tokens/revoke", json!({"kind": "session", "dry_run": true})).expect(200);
    assert_eq!(dry, json!({"matches": sessions, "revoked": 0}));
    let done = admin.post("/v1/admin/tokens/revoke", json!({"kind": "session"})).expect(200);
    assert_eq!(done, json!({"matches": sessions, "revoked": sessions}));
    admin.get("/v1/me").expect(401);
    anna.get("/v1/me").expect(401);
    let entries = daemon.root().all("/v1/audit?action=token.admin_revoke");
    let counts: Vec<u64> = entries.iter().map(|entry| entry["params"]["revoked"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), sessions);
    assert!(counts.len() >= 2 && counts.iter().all(|count| *count <= 1_000), "{counts:?}");
    assert!(entries.iter().all(|entry| entry["actor"] == admin.id), "{entries:?}");
}

#[test]
fn good_logins_at_once_are_all_let_in_however_few_may_fail() {
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 1\n");
    daemon.root().post("/v1/users", json!({"email": "anna@example.org", "password": PASSWORD})).expect(201);
    let statuses = at_once(12, |_| login(&daemon, "anna@example.org", PASSWORD).status);
    assert_eq!(statuses, [201; 12]);
}

#[test]
fn an_email_that_two_ask_for_at_once_is_given_once() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let spellings = ["anna@example.org", "Anna@example.org", " ANNA@EXAMPLE.ORG "];
    let statuses = at_once(12, |number| {
        let email = spellings[number % spellings.len()];
        root.post("/v1/users", json!({"email": email})).status
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 11, "{statuses:?}");
    assert_eq!(daemon.root().all("/v1/users").len(), 1);
}

#[test]
fn null_and_absent_are_two_things_where_they_are_and_null_is_refused_where_it_means_nothing() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let user = format!("/v1/users/{}", anna.id);
    daemon.root().patch(&user, json!({"name": "Anna"})).expect(200);
    assert_eq!(daemon.root().patch(&user, json!({})).expect(200)["name"], "Anna");
    assert_eq!(daemon.root().patch(&user, json!({"name": null})).expect(200)["name"], Value::Null);
    for field in ["groups", "active", "password"] {
        daemon.root().patch(&user, json!({field: null})).names_field(field);
    }
    let pat =
        anna.mint_pat(json!({"name": "n", "metadata": {"a": 1}, "allowed_ips": null, "max_uses": null}));
    assert_eq!((&pat["allowed_ips"], &pat["max_uses"]), (&json!([]), &Value::Null));
    let token = format!("/v1/tokens/{}", text_of(&pat, "id"));
    assert_eq!(anna.patch(&token, json!({})).expect(200)["metadata"], json!({"a": 1}));
    assert_eq!(anna.patch(&token, json!({"metadata": null})).expect(200)["metadata"], Value::Null);
    for field in ["name", "enabled"] {
        anna.patch(&token, json!({field: null})).names_field(field);
    }
    anna.post("/v1/tokens", json!({"name": "n", "scope": null})).names_field("scope");
}
