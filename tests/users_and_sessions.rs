//! People and their sessions (contract 4.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::people::PASSWORD;
use support::*;

fn login(daemon: &Daemon, email: &str, password: &str) -> Answer {
    daemon.nobody().post("/v1/sessions", json!({"email": email, "password": password}))
}

/// A user who can log in.
fn with_password(daemon: &Daemon, email: &str) -> Value {
    daemon.root().post("/v1/users", json!({"email": email, "password": PASSWORD})).expect(201)
}

fn user_path(id: &str) -> String {
    format!("/v1/users/{id}")
}

#[test]
fn a_user_is_made_found_and_changed() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let made = root
        .post(
            "/v1/users",
            json!({"email": "Anna@Example.org", "name": "Anna", "groups": ["operator", "reports"]}),
        )
        .expect(201);
    let id = text_of(&made, "id");
    assert!(id.starts_with("user_") && id.len() == 31, "{id}");
    assert_eq!(made["name"], "Anna");
    assert_eq!(made["active"], true);
    let mut groups: Vec<&str> =
        made["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap()).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["operator", "reports"]);
    assert!((seconds(&made["created_at"]) - now()).abs() < 60, "{made}");
    assert!(!made.to_string().contains("argon2"), "no hash in an answer: {made}");

    assert_eq!(root.get(&user_path(&id)).expect(200), made);
    let found = root.get("/v1/users?email=aNNA%40example.ORG").expect(200);
    assert_eq!(items(&found).len(), 1, "{found}");
    assert_eq!(items(&found)[0]["id"], id);
    assert_eq!(items(&root.get("/v1/users?email=nobody%40example.org").expect(200)).len(), 0);
    assert!(by_id(&root.get("/v1/users").expect(200), &id).is_some());

    let changed = root.patch(&user_path(&id), json!({"name": "Anna B.", "groups": []})).expect(200);
    assert_eq!(changed["name"], "Anna B.");
    assert_eq!(changed["groups"], json!([]));
    root.get("/v1/users/user_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
    root.get("/v1/users/nonsense").expect(404);
}

#[test]
fn an_email_is_trimmed_unique_without_case_and_bounded() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let post = |email: &str| root.post("/v1/users", json!({"email": email}));
    assert_eq!(text_of(&post("  anna@example.org\t").expect(201), "email"), "anna@example.org");
    post("ANNA@EXAMPLE.ORG").refused(409, "email_exists");
    post(" anna@example.org ").refused(409, "email_exists");
    let at_limit = format!("{}@example.org", "a".repeat(254 - 12));
    assert_eq!(at_limit.len(), 254);
    post(&at_limit).expect(201);
    post(&format!("a{at_limit}")).names_field("email");
    for bad in [
        "",
        " ",
        "plain",
        "@",
        "a@",
        "@b",
        "a b@example.org",
        "a@b\u{0}.org",
        "a@example.org\r\nx: y",
        "a@b@c",
    ] {
        post(bad).names_field("email");
    }
    for own in ["x@system.local", "x@SYSTEM.LOCAL", " x@system.local "] {
        post(own).names_field("email");
    }
}

#[test]
fn a_password_has_12_to_1024_bytes() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let cases = [(11, 400), (12, 201), (1024, 201), (1025, 400)];
    for (bytes, status) in cases {
        let email = format!("p{bytes}@example.org");
        let answer = root.post("/v1/users", json!({"email": email, "password": "p".repeat(bytes)}));
        assert_eq!(answer.status, status, "{bytes} bytes: {}", answer.text());
        if status == 201 {
            login(&daemon, &email, &"p".repeat(bytes)).expect(201);
        } else {
            answer.names_field("password");
        }
    }
    // Bytes, not characters: six of two bytes each are twelve.
    root.post("/v1/users", json!({"email": "u@example.org", "password": "éééééé"})).expect(201);
}

#[test]
fn a_login_opens_a_session_of_12_hours() {
    let daemon = Daemon::start();
    let made = with_password(&daemon, "anna@example.org");
    let answer = login(&daemon, " ANNA@example.org", PASSWORD);
    answer.is_never_stored();
    let session = answer.expect(201);
    assert_eq!(session["user"]["id"], made["id"]);
    assert!((seconds(&session["expires_at"]) - now() - 12 * 3600).abs() < 60);
    let anna = daemon.bearer(&text_of(&session, "token"));
    let me = anna.get("/v1/me").expect(200);
    assert_eq!(me["credential"]["token_id"], session["id"]);
    let own = anna.get("/v1/sessions").expect(200);
    let row = by_id(&own, &text_of(&session, "id")).expect("one's own session");
    assert_eq!(row["expires_at"], session["expires_at"]);
    assert!(row.get("token").is_none(), "a list shows no token: {row}");
}

#[test]
fn wrong_password_and_unknown_address_are_one_answer() {
    let daemon = Daemon::start();
    let root = daemon.root();
    with_password(&daemon, "anna@example.org");
    root.post("/v1/users", json!({"email": "bare@example.org"})).expect(201);
    let off = with_password(&daemon, "off@example.org");
    root.patch(&user_path(&text_of(&off, "id")), json!({"active": false})).expect(200);
    let first = login(&daemon, "anna@example.org", "not the password").expect(401);
    for (email, password) in [
        ("nobody@example.org", PASSWORD),
        ("bare@example.org", PASSWORD),
        ("off@example.org", PASSWORD),
        ("anna@example.org", ""),
        ("", ""),
        ("nonsense", "x"),
    ] {
        assert_eq!(login(&daemon, email, password).expect(401), first, "{email} {password}");
    }
}

#[test]
fn failed_logins_are_limited_for_each_address_and_email() {
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 3\n");
    for email in ["anna@example.org", "bert@example.org"] {
        with_password(&daemon, email);
    }
    for _ in 0..3 {
        login(&daemon, "anna@example.org", "wrong password").expect(401);
    }
    login(&daemon, "anna@example.org", "wrong password").refused(429, "rate_limited");
    login(&daemon, " ANNA@EXAMPLE.ORG ", PASSWORD).refused(429, "rate_limited");
    login(&daemon, "bert@example.org", PASSWORD).expect(201);
}

#[test]
fn successes_do_not_count_as_failures_and_0_turns_the_limit_off() {
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 2\n");
    with_password(&daemon, "anna@example.org");
    for _ in 0..4 {
        login(&daemon, "anna@example.org", PASSWORD).expect(201);
    }
    let daemon = Daemon::configured("[limits]\nfailed_logins_per_minute = 0\n");
    for _ in 0..15 {
        login(&daemon, "anna@example.org", "wrong password").expect(401);
    }
}

#[test]
fn a_session_ends_at_logout_and_ends_nothing_else() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let user = daemon.root().get(&user_path(&anna.id)).expect(200);
    let second = daemon.session_of(&user);
    let pat = anna.any_pat();
    anna.delete("/v1/sessions/current").expect(204);
    anna.get("/v1/me").expect(401);
    anna.delete("/v1/sessions/current").expect(401);
    second.get("/v1/me").expect(200);
    assert!(daemon.is_active(&pat));
    let third = daemon.session_of(&user);
    second.delete(&format!("/v1/sessions/{}", third.session_id)).expect(204);
    third.get("/v1/me").expect(401);
    second.get("/v1/me").expect(200);
    second.delete(&format!("/v1/sessions/{}", third.session_id)).expect(204);
}

#[test]
fn nobody_sees_or_ends_the_sessions_of_others() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let bert = daemon.user("bert@example.org", &["operator"]);
    assert!(by_id(&bert.get("/v1/sessions").expect(200), &anna.session_id).is_none());
    bert.delete(&format!("/v1/sessions/{}", anna.session_id)).refused(404, "not_found");
    bert.delete("/v1/sessions/token_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
    anna.get("/v1/me").expect(200);
    let pat = text_of(&bert.mint_pat(json!({"name": "pat"})), "id");
    bert.delete(&format!("/v1/sessions/{pat}")).expect(404);
}

#[test]
fn deactivation_ends_sessions_for_good_and_pats_for_as_long_as_it_lasts() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.any_pat();
    let path = user_path(&anna.id);
    assert_eq!(daemon.root().patch(&path, json!({"active": false})).expect(200)["active"], false);
    anna.get("/v1/me").expect(401);
    assert!(!daemon.is_active(&pat));
    daemon.bearer(&pat).get("/v1/me").expect(401);
    for (place, body) in [("tokens", json!({"name": "no"})), ("sessions", json!({}))] {
        daemon.root().post(&format!("{path}/{place}"), body).refused(409, "conflict");
    }
    daemon.root().patch(&path, json!({"active": true})).expect(200);
    anna.get("/v1/me").expect(401);
    assert!(daemon.is_active(&pat));
}

#[test]
fn a_changed_password_ends_sessions_and_leaves_pats() {
    let daemon = Daemon::start();
    let made = with_password(&daemon, "anna@example.org");
    let anna = daemon.session_of(&made);
    let pat = anna.any_pat();
    daemon.root().patch(&user_path(&anna.id), json!({"password": "a password of today"})).expect(200);
    anna.get("/v1/me").expect(401);
    assert!(daemon.is_active(&pat));
    login(&daemon, "anna@example.org", PASSWORD).expect(401);
    login(&daemon, "anna@example.org", "a password of today").expect(201);
}

#[test]
fn ones_own_password_changes_with_the_current_one() {
    let daemon = Daemon::start();
    let made = with_password(&daemon, "anna@example.org");
    let anna = daemon.session_of(&made);
    anna.patch("/v1/me", json!({"password": "a password of today", "current_password": "not this one"}))
        .names_field("current_password");
    anna.patch("/v1/me", json!({"password": "a password of today"})).names_field("current_password");
    anna.patch("/v1/me", json!({"password": "too short", "current_password": PASSWORD}))
        .names_field("password");
    login(&daemon, "anna@example.org", PASSWORD).expect(201);
    anna.patch("/v1/me", json!({"password": "a password of today", "current_password": PASSWORD}))
        .expect(204);
    login(&daemon, "anna@example.org", PASSWORD).expect(401);
    login(&daemon, "anna@example.org", "a password of today").expect(201);
    anna.get("/v1/me").expect(401);
}

#[test]
fn nobody_promotes_themselves() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    anna.patch(&user_path(&anna.id), json!({"groups": ["admin"]})).refused(403, "forbidden");
    anna.patch("/v1/me", json!({"groups": ["admin"]})).names_field("groups");
    anna.post("/v1/users", json!({"email": "x@example.org", "groups": ["admin"]})).refused(403, "forbidden");
}

#[test]
fn the_last_active_admin_who_is_a_person_stays() {
    let setup = Setup::new().service("scheduler", &["admin"]);
    let daemon = setup.start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let path = user_path(&admin.id);
    let root = daemon.root();
    root.patch(&path, json!({"groups": []})).refused(409, "last_admin");
    root.patch(&path, json!({"groups": ["operator"]})).refused(409, "last_admin");
    admin.patch(&path, json!({"active": false})).refused(409, "last_admin");
    admin.get("/v1/users").expect(200);
    let second = daemon.user("second@example.org", &["admin"]);
    root.patch(&path, json!({"groups": ["operator"]})).expect(200);
    admin.get("/v1/users").expect(403);
    second.patch(&user_path(&second.id), json!({"active": false})).refused(409, "last_admin");
}

#[test]
fn of_two_admins_who_demote_each_other_at_once_one_stays() {
    let daemon = Daemon::start();
    for round in 0..8 {
        let one = daemon.user(&format!("one{round}@example.org"), &["admin"]);
        let two = daemon.user(&format!("two{round}@example.org"), &["admin"]);
        for user in daemon.root().all("/v1/users") {
            let id = text_of(&user, "id");
            if id != one.id && id != two.id {
                daemon.root().patch(&user_path(&id), json!({"groups": []})).expect(200);
            }
        }
        let answers = at_once(2, |number| {
            let id = if number == 0 { &one.id } else { &two.id };
            daemon.root().patch(&user_path(id), json!({"groups": []})).status
        });
        let mut sorted = answers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [200, 409], "round {round}");
    }
}

#[test]
fn a_demotion_counts_from_the_next_request_on() {
    let daemon = Daemon::start();
    daemon.user("stays@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &["admin"]);
    let pat = daemon.bearer(&text_of(&anna.mint_pat(json!({"name": "n", "scope": "admin"})), "token"));
    anna.get("/v1/users").expect(200);
    pat.get("/v1/users").expect(200);
    daemon.root().patch(&user_path(&anna.id), json!({"groups": []})).expect(200);
    anna.get("/v1/users").expect(403);
    pat.get("/v1/users").expect(403);
    pat.get("/v1/me").expect(200);
    assert_eq!(anna.get("/v1/me").expect(200)["groups"], json!([]));
}

#[test]
fn an_admin_opens_a_session_for_another_user() {
    let daemon = Setup::new().service("login", &["admin"]).service("plain", &[]).start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let path = format!("/v1/users/{}/sessions", anna.id);
    for caller in [&*admin, &*daemon.service("login"), &daemon.root()] {
        let answer = caller.post(&path, json!({"ttl_seconds": 600}));
        answer.is_never_stored();
        let session = answer.expect(201);
        assert!((seconds(&session["expires_at"]) - now() - 600).abs() < 30, "{session}");
        let me = daemon.bearer(&text_of(&session, "token")).get("/v1/me").expect(200);
        assert_eq!(me["subject"]["id"], anna.id);
        assert_eq!(me["credential"]["kind"], "session");
    }
    let pat = daemon.bearer(&text_of(&admin.mint_pat(json!({"name": "n", "scope": "admin"})), "token"));
    for caller in [&*anna, &*daemon.service("plain"), &pat] {
        caller.post(&path, json!({})).refused(403, "forbidden");
    }
    for bad in [json!(0), json!(-1), json!(1.5), json!("600"), json!(u64::MAX)] {
        admin.post(&path, json!({"ttl_seconds": bad})).names_field("ttl_seconds");
    }
    admin.post("/v1/users/user_01jd8w3m5ze8vr3pa0n2q9k6ms/sessions", json!({})).refused(404, "not_found");
}

#[test]
fn a_session_dies_at_its_end_and_when_it_was_idle() {
    let daemon = Daemon::configured("[sessions]\nttl = \"5s\"\nidle = \"1h\"\n");
    let anna = daemon.user("anna@example.org", &[]);
    anna.get("/v1/me").expect(200);
    // Use does not prolong it: the end is absolute.
    eventually("the session ends", || (anna.get("/v1/me").status == 401).then_some(()));

    let daemon = Daemon::configured("[sessions]\nttl = \"1h\"\nidle = \"3s\"\n");
    let anna = daemon.user("anna@example.org", &[]);
    anna.get("/v1/me").expect(200);
    // Nothing but the passing of time ends an idle session, and any look at it would count as use: so wait
    // for the time itself.
    std::thread::sleep(std::time::Duration::from_millis(4_100));
    anna.get("/v1/me").expect(401);
}

#[test]
fn use_keeps_a_session_awake() {
    let daemon = Daemon::configured("[sessions]\nttl = \"1h\"\nidle = \"6s\"\n");
    let anna = daemon.user("anna@example.org", &[]);
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(9) {
        anna.get("/v1/me").expect(200);
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

#[test]
fn sessions_and_users_outlive_a_restart() {
    let mut daemon = Daemon::start();
    let admin = daemon.first_admin();
    let anna = daemon.user("anna@example.org", &["reports"]);
    daemon.restart();
    assert_eq!(anna.get("/v1/me").expect(200)["groups"], json!(["reports"]));
    assert_eq!(admin.all("/v1/users").len(), 2);
    login(&daemon, "first@example.org", PASSWORD).expect(201);
}

#[test]
fn a_group_has_a_bounded_sensible_name() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let post = |groups: Value| root.post("/v1/users", json!({"email": "g@example.org", "groups": groups}));
    for bad in [
        json!([""]),
        json!(["a,b"]),
        json!(["a\nb"]),
        json!(["\u{0}"]),
        json!([7]),
        json!("admin"),
        json!(["g".repeat(5000)]),
    ] {
        post(bad.clone()).names_field("groups");
    }
    // A group that only looks like admin is not admin.
    for (number, twin) in ["Admin", "ADMIN", "admin ", "аdmin", "admin\u{200b}"].iter().enumerate() {
        let email = format!("twin{number}@example.org");
        let answer = root.post("/v1/users", json!({"email": email, "groups": [twin]}));
        if answer.status == 201 {
            daemon.session_of(&answer.json()).get("/v1/users").expect(403);
        } else {
            answer.names_field("groups");
        }
    }
}

#[test]
fn of_16_users_with_one_address_at_once_one_is_made() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let answers = at_once(16, |_| root.post("/v1/users", json!({"email": "same@example.org"})).status);
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 409).count(), 15, "{answers:?}");
}
