//! Enrolment tokens, hosts and their agents (contract 4.8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::people::enrolling;
use support::*;

fn enrollment_token(daemon: &Daemon) -> String {
    text_of(&daemon.enrollment(json!({})), "token")
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_token_is_swapped_for_an_agents_bearer_once() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let answer = operator.post("/v1/enrollments", json!({"hostname": "web-1", "tags": ["web", "berlin"]}));
    answer.is_never_stored();
    let made = answer.expect(201);
    let token = text_of(&made, "token");
    assert!(token.starts_with("bdr_enr_"));
    assert!((seconds(&made["expires_at"]) - now() - 3600).abs() < 30);
    let answer = daemon.nobody().post("/v1/enroll", enrolling(&token, "web-1"));
    answer.is_never_stored();
    let enrolled = answer.expect(201);
    let host = text_of(&enrolled, "host_id");
    assert!(host.starts_with("host_"));
    assert!(text_of(&enrolled, "agent_token").starts_with("bdr_agt_"));
    let agent = daemon.bearer(&text_of(&enrolled, "agent_token"));
    let me = agent.get("/v1/me").expect(200);
    assert_eq!((&me["subject"]["type"], &me["subject"]["id"]), (&json!("host"), &json!(host)));
    assert_eq!(me["credential"]["kind"], "agent");
    let row = agent.get(&format!("/v1/hosts/{host}")).expect(200);
    assert_eq!(
        (&row["hostname"], &row["os"], &row["arch"]),
        (&json!("web-1"), &json!("linux"), &json!("x86_64"))
    );
    assert_eq!(row["tags"], json!(["web", "berlin"]));
    daemon.nobody().post("/v1/enroll", enrolling(&token, "web-2")).expect(401);
    assert_eq!(items(&operator.get("/v1/hosts").expect(200)).len(), 1);
    assert_eq!(daemon.root().all("/v1/audit?action=host.enroll").len(), 1);
}

#[test]
fn of_64_hosts_with_one_token_exactly_one_enrols() {
    let daemon = Daemon::start();
    let nobody = daemon.nobody();
    for round in 0..5 {
        let token = enrollment_token(&daemon);
        let answers =
            at_once(64, |number| nobody.post("/v1/enroll", enrolling(&token, &format!("h{round}-{number}"))));
        let winners = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(winners, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        for loser in answers.iter().filter(|answer| answer.status != 201) {
            loser.expect(401);
        }
        assert_eq!(daemon.root().all("/v1/hosts").len(), round + 1);
    }
}

#[test]
fn of_16_tokens_for_one_name_exactly_one_enrols_and_the_others_stay_unspent() {
    let daemon = Daemon::start();
    let tokens: Vec<String> = (0..16).map(|_| enrollment_token(&daemon)).collect();
    let nobody = daemon.nobody();
    let answers = at_once(16, |number| nobody.post("/v1/enroll", enrolling(&tokens[number], "same")).status);
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    for (number, status) in answers.iter().enumerate().filter(|(_, status)| **status != 201) {
        assert_eq!(*status, 409);
        nobody.post("/v1/enroll", enrolling(&tokens[number], &format!("other{number}"))).expect(201);
    }
}

#[test]
fn a_failure_leaves_the_token_unspent() {
    let daemon = Daemon::start();
    daemon.host("taken");
    let token = enrollment_token(&daemon);
    let nobody = daemon.nobody();
    nobody.post("/v1/enroll", enrolling(&token, "taken")).refused(409, "host_exists");
    for (change, field) in [
        (json!({"hostname": ""}), "hostname"),
        (json!({"hostname": "h".repeat(254)}), "hostname"),
        (json!({"hostname": 7}), "hostname"),
        (json!({"os": ""}), "os"),
        (json!({"os": "o".repeat(65)}), "os"),
        (json!({"arch": ""}), "arch"),
        (json!({"arch": "a".repeat(65)}), "arch"),
        (json!({"facts": []}), "facts"),
        (json!({"facts": {"k": "v".repeat(16 * 1024 - 7)}}), "facts"),
        (json!({"attempt": "a".repeat(21)}), "attempt"),
        (json!({"attempt": "a".repeat(87)}), "attempt"),
        (json!({"host_id": "host_01jd8w3m5ze8vr3pa0n2q9k6ms"}), "host_id"),
        (json!({"tags": ["x"]}), "tags"),
    ] {
        nobody.post("/v1/enroll", with(enrolling(&token, "fine"), &change)).names_field(field);
    }
    nobody.post("/v1/enroll", json!({"token": token, "hostname": "x", "os": "linux"})).names_field("arch");
    nobody.post("/v1/enroll", enrolling(&token, "fine")).expect(201);
}

#[test]
fn a_hostname_cannot_smuggle_anything() {
    let daemon = Daemon::start();
    let token = enrollment_token(&daemon);
    for bad in ["a\nb", "a\u{0}", "a\u{7f}b", "\r"] {
        let answer = daemon.nobody().post("/v1/enroll", enrolling(&token, bad));
        answer.names_field("hostname");
    }
}

#[test]
fn fields_at_their_limits_are_accepted() {
    let daemon = Daemon::start();
    let facts = json!({"k": "v".repeat(16 * 1024 - 8)});
    assert_eq!(facts.to_string().len(), 16 * 1024);
    let long_name = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
    assert_eq!(long_name.len(), 253);
    let wishes = json!({"os": "o".repeat(64), "arch": "a".repeat(64), "facts": facts, "attempt": "a".repeat(86), "agent_version": "1.2.3"});
    let body = with(enrolling(&enrollment_token(&daemon), &long_name), &wishes);
    let made = daemon.nobody().post("/v1/enroll", body).expect(201);
    let row = daemon.root().get(&format!("/v1/hosts/{}", text_of(&made, "host_id"))).expect(200);
    assert_eq!((&row["hostname"], &row["facts"]), (&json!(long_name), &facts));
    let body = with(
        enrolling(&enrollment_token(&daemon), "a"),
        &json!({"os": "o", "arch": "a", "attempt": "a".repeat(22)}),
    );
    daemon.nobody().post("/v1/enroll", body).expect(201);
}

#[test]
fn an_enrolment_is_made_within_its_bounds() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let post = |body: Value| root.post("/v1/enrollments", body);
    let lives = |body: Value, span: i64| {
        let end = seconds(&post(body).expect(201)["expires_at"]);
        assert!((end - now() - span).abs() <= 30);
    };
    lives(json!({"ttl_seconds": 86_400}), 86_400);
    lives(json!({"ttl_seconds": 60}), 60);
    lives(json!({"ttl_seconds": null}), 3600);
    post(json!({"ttl_seconds": 1})).expect(201);
    let credentials = json!({"k": "v".repeat(16 * 1024 - 8)});
    post(json!({"credentials": credentials, "tags": vec!["t".repeat(64); 1], "facts": {}})).expect(201);
    let tags: Vec<String> = (0..32).map(|number| format!("tag{number}")).collect();
    post(json!({"tags": tags})).expect(201);
    let too_many: Vec<String> = (0..33).map(|number| format!("tag{number}")).collect();
    for (body, field) in [
        (json!({"ttl_seconds": 0}), "ttl_seconds"),
        (json!({"ttl_seconds": 86_401}), "ttl_seconds"),
        (json!({"ttl_seconds": -1}), "ttl_seconds"),
        (json!({"ttl_seconds": "60"}), "ttl_seconds"),
        (json!({"ttl_seconds": 1.5}), "ttl_seconds"),
        (json!({"credentials": {"k": "v".repeat(16 * 1024 - 7)}}), "credentials"),
        (json!({"credentials": "x"}), "credentials"),
        (json!({"credentials": []}), "credentials"),
        (json!({"tags": too_many}), "tags"),
        (json!({"tags": [""]}), "tags"),
        (json!({"tags": ["t".repeat(65)]}), "tags"),
        (json!({"tags": "x"}), "tags"),
        (json!({"tags": [1]}), "tags"),
        (json!({"hostname": ""}), "hostname"),
        (json!({"hostname": "h".repeat(254)}), "hostname"),
        (json!({"pin_hostname": "yes"}), "pin_hostname"),
        (json!({"facts": [1]}), "facts"),
        (json!({"facts": {"k": "v".repeat(16 * 1024 - 7)}}), "facts"),
        (json!({"reusable": true}), "reusable"),
    ] {
        post(body).names_field(field);
    }
    post(json!({"pin_hostname": true})).expect(400);
}

#[test]
fn every_token_failure_is_one_401() {
    let daemon = Daemon::start();
    let spent = daemon.host("a").enrollment_token;
    let expired = text_of(&daemon.enrollment(json!({"ttl_seconds": 1})), "token");
    let born = now();
    let revoked = daemon.enrollment(json!({}));
    daemon.root().delete(&format!("/v1/enrollments/{}", text_of(&revoked, "id"))).expect(204);
    let pinned = text_of(&daemon.enrollment(json!({"hostname": "only-me", "pin_hostname": true})), "token");
    let pat = daemon.user("anna@example.org", &["admin"]).any_pat();
    eventually("its second to pass", || (now() > born + 2).then_some(()));
    let tokens = [
        &spent,
        &expired,
        &text_of(&revoked, "token"),
        &pinned,
        &pat,
        "nonsense",
        "",
        &text::never_minted("enr"),
    ];
    let answers: Vec<Answer> =
        tokens.iter().map(|token| daemon.nobody().post("/v1/enroll", enrolling(token, "new"))).collect();
    for (token, answer) in tokens.iter().zip(&answers) {
        answer.expect(401);
        assert_eq!(answer.body, answers[0].body, "{token}");
        let names = |answer: &Answer| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(answer), names(&answers[0]), "{token}");
    }
    // The bearer of somebody else in the header does not help.
    daemon.bearer(&pat).post("/v1/enroll", enrolling(&spent, "new")).expect(401);
    daemon.nobody().post("/v1/enroll", enrolling(&pinned, "only-me")).expect(201);
}

#[test]
fn a_taken_name_is_told_only_to_who_holds_a_good_token() {
    let daemon = Daemon::start();
    daemon.host("taken");
    daemon.nobody().post("/v1/enroll", enrolling(&text::never_minted("enr"), "taken")).expect(401);
}

#[test]
fn an_enrolment_dies_at_its_end_and_when_deleted() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let made = operator.post("/v1/enrollments", json!({"hostname": "web-1"})).expect(201);
    let id = text_of(&made, "id");
    let list = operator.get("/v1/enrollments").expect(200);
    let row = by_id(&list, &id).expect("in the list");
    assert_eq!((&row["hostname"], &row["state"]), (&json!("web-1"), &json!("active")));
    assert!(!list.to_string().contains(&text_of(&made, "token")));
    operator.delete(&format!("/v1/enrollments/{id}")).expect(204);
    operator.delete(&format!("/v1/enrollments/{id}")).expect(204);
    assert_eq!(by_id(&operator.get("/v1/enrollments").expect(200), &id).unwrap()["state"], "revoked");
    daemon.nobody().post("/v1/enroll", enrolling(&text_of(&made, "token"), "web-1")).expect(401);
    operator.delete("/v1/enrollments/token_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
    let pat = text_of(&operator.mint_pat(json!({"name": "n"})), "id");
    operator.delete(&format!("/v1/enrollments/{pat}")).refused(404, "not_found");
}

#[test]
fn credentials_reach_the_hosts_agent_and_nobody_else() {
    let daemon = Daemon::start();
    let secret = json!({"user": "db", "password": "canary-of-the-credentials"});
    let made = daemon.enrollment(json!({"credentials": secret}));
    let listed = daemon.root().get("/v1/enrollments").expect(200).to_string();
    assert!(!listed.contains("canary-of-the-credentials"));
    let enrolled =
        daemon.nobody().post("/v1/enroll", enrolling(&text_of(&made, "token"), "web-1")).expect(201);
    let place = format!("/v1/hosts/{}/credentials", text_of(&enrolled, "host_id"));
    let agent = daemon.bearer(&text_of(&enrolled, "agent_token"));
    let answer = agent.get(&place);
    answer.is_never_stored();
    assert_eq!(answer.expect(200), secret);
    let admin = daemon.user("admin@example.org", &["admin"]);
    admin.get(&place).refused(403, "forbidden");
    daemon.root().get(&place).expect(403);
    let other = daemon.host("web-2");
    assert!([403, 404].contains(&other.get(&place).status));
    daemon.nobody().get(&place).expect(401);
    let row = admin.get(&format!("/v1/hosts/{}", text_of(&enrolled, "host_id"))).text();
    assert!(!row.contains("canary-of-the-credentials"));
    let read: Vec<Value> = daemon
        .root()
        .all("/v1/audit")
        .into_iter()
        .filter(|entry| text_of(entry, "action").contains("credentials"))
        .collect();
    assert!(!read.is_empty(), "reading them is audited");
    let bytes = std::fs::read(daemon.store()).unwrap();
    assert!(!contains(&bytes, b"canary-of-the-credentials"));
}

#[test]
fn credentials_are_replaced_by_an_operator() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let host = daemon.host("web-1");
    let place = format!("/v1/hosts/{}/credentials", host.id);
    assert_eq!(host.get(&place).status, 404, "none yet");
    operator.put(&place, json!({"any": ["object"]})).expect(204);
    assert_eq!(host.get(&place).expect(200), json!({"any": ["object"]}));
    let at_limit = json!({"k": "v".repeat(16 * 1024 - 8)});
    assert!(operator.put(&place, at_limit.clone()).status < 300);
    assert_eq!(host.get(&place).expect(200), at_limit);
    let inexact = json!({"k": [{"n": 1.5e300}]});
    for bad in [json!({"k": "v".repeat(16 * 1024 - 7)}), json!([]), json!("x"), json!(null), inexact] {
        let status = operator.put(&place, bad).status;
        assert!([400, 413].contains(&status), "{status}");
    }
    assert_eq!(host.get(&place).expect(200), at_limit);
    assert!([403, 404].contains(&host.put(&place, json!({"k": "v"})).status));
    daemon.user("anna@example.org", &[]).put(&place, json!({})).refused(403, "forbidden");
}

#[test]
fn a_lost_reply_is_told_again_to_the_same_attempt() {
    let daemon = Daemon::start();
    let token = enrollment_token(&daemon);
    let attempt = "0123456789abcdefghijkl";
    let body = with(enrolling(&token, "web-1"), &json!({"attempt": attempt}));
    let enroll = |body: &Value| daemon.nobody().post("/v1/enroll", body.clone());
    let first = enroll(&body).expect(201);
    for _ in 0..3 {
        let again = enroll(&body);
        again.is_never_stored();
        assert_eq!(again.expect(201), first);
    }
    enroll(&with(body.clone(), &json!({"attempt": "another0123456789abcdef"}))).expect(401);
    enroll(&with(body.clone(), &json!({"hostname": "web-2"}))).expect(401);
    enroll(&enrolling(&token, "web-1")).expect(401);
    assert_eq!(enroll(&body).expect(201), first);
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
    // Once the agent token was used, the reply has arrived.
    daemon.bearer(&text_of(&first, "agent_token")).get("/v1/me").expect(200);
    enroll(&body).expect(401);
    let replays = eventually("an entry of the replays", || {
        let found = daemon.root().all("/v1/audit?action=enrollment.replayed");
        (!found.is_empty()).then_some(found)
    });
    assert!(replays[0].to_string().contains("127.0.0.1"), "{replays:?}");
}

#[test]
fn a_reply_is_told_again_after_a_restart_and_not_when_the_host_is_gone() {
    let mut daemon = Daemon::start();
    let body =
        |token: &str, name: &str| with(enrolling(token, name), &json!({"attempt": "0123456789abcdefghijkl"}));
    let (one, two) = (enrollment_token(&daemon), enrollment_token(&daemon));
    let first = daemon.nobody().post("/v1/enroll", body(&one, "one")).expect(201);
    let second = daemon.nobody().post("/v1/enroll", body(&two, "two")).expect(201);
    daemon.restart();
    assert_eq!(daemon.nobody().post("/v1/enroll", body(&one, "one")).expect(201), first);
    daemon.root().delete(&format!("/v1/hosts/{}", text_of(&second, "host_id"))).expect(204);
    daemon.nobody().post("/v1/enroll", body(&two, "two")).expect(401);
}

#[test]
fn an_attempt_keeps_no_second_host_from_losing() {
    let daemon = Daemon::start();
    let token = enrollment_token(&daemon);
    let nobody = daemon.nobody();
    // The same attempt sent twice at once (a client that retried early) is one host and one token.
    let body = with(enrolling(&token, "web-1"), &json!({"attempt": "0123456789abcdefghijkl"}));
    let answers = at_once(16, |_| nobody.post("/v1/enroll", body.clone()).expect(201));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
}

#[test]
fn a_host_is_changed_and_deleted_by_operators() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let host = daemon.host("web-1");
    let place = format!("/v1/hosts/{}", host.id);
    let row = operator.patch(&place, json!({"tags": ["a"], "facts": {"cpu": 2}})).expect(200);
    assert_eq!((&row["tags"], &row["facts"]), (&json!(["a"]), &json!({"cpu": 2})));
    assert_eq!(operator.get(&place).expect(200)["tags"], json!(["a"]));
    operator.patch(&place, json!({"hostname": "other"})).names_field("hostname");
    operator.patch(&place, json!({"tags": [""]})).names_field("tags");
    assert!(by_id(&operator.get("/v1/hosts").expect(200), &host.id).is_some());
    operator.delete(&place).expect(204);
    host.get("/v1/me").expect(401);
    assert!(!daemon.is_active(&host.agent_token));
    operator.get(&place).refused(404, "not_found");
    assert!(by_id(&operator.get("/v1/hosts").expect(200), &host.id).is_none());
    let again = daemon.host("web-1");
    assert_ne!(again.id, host.id, "the name is free again");
    host.get("/v1/me").expect(401);
    operator.get("/v1/hosts/host_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
}

#[test]
fn an_agents_token_rotates_with_an_overlap() {
    let daemon = Daemon::start();
    let host = daemon.host("web-1");
    let place = format!("/v1/hosts/{}/rotate", host.id);
    let answer = daemon.root().post(&place, json!({}));
    answer.is_never_stored();
    let fresh = daemon.bearer(&text_of(&answer.expect(201), "agent_token"));
    host.get("/v1/me").expect(401);
    assert_eq!(fresh.get("/v1/me").expect(200)["subject"]["id"], host.id);
    let next = daemon.bearer(&text_of(
        &daemon.root().post(&place, json!({"overlap_seconds": 4})).expect(201),
        "agent_token",
    ));
    next.get("/v1/me").expect(200);
    fresh.get("/v1/me").expect(200);
    daemon.wait_until_dead(fresh.token());
    next.get("/v1/me").expect(200);
    for bad in [json!(-1), json!(2_592_001), json!("1")] {
        daemon.root().post(&place, json!({"overlap_seconds": bad})).names_field("overlap_seconds");
    }
    next.get("/v1/me").expect(200);
    daemon.root().delete(&format!("/v1/hosts/{}", host.id)).expect(204);
    next.get("/v1/me").expect(401);
}

#[test]
fn hosts_and_agents_outlive_a_restart() {
    let mut daemon = Daemon::start();
    let host = daemon.host_with("web-1", json!({"credentials": {"k": "v"}}));
    let pending = enrollment_token(&daemon);
    daemon.restart();
    host.get("/v1/me").expect(200);
    assert_eq!(host.get(&format!("/v1/hosts/{}/credentials", host.id)).expect(200), json!({"k": "v"}));
    daemon.nobody().post("/v1/enroll", enrolling(&host.enrollment_token, "web-2")).expect(401);
    daemon.nobody().post("/v1/enroll", enrolling(&pending, "web-2")).expect(201);
}

#[test]
fn refused_enrolments_are_counted_and_not_one_entry_each() {
    let daemon = Daemon::start();
    let before = daemon.root().all("/v1/audit").len();
    for _ in 0..100 {
        daemon.nobody().post("/v1/enroll", enrolling(&text::never_minted("enr"), "x")).expect(401);
    }
    let entries = eventually("an entry of the refusals", || {
        let entries = daemon.root().all("/v1/audit");
        (entries.len() > before).then_some(entries)
    });
    assert!(entries.len() - before <= 3, "{entries:?}");
}

/// A spent secret that is written a little otherwise is still spent: one spelling, one token. A thousand
/// spellings of each kind that is for one use.
#[test]
fn no_other_spelling_of_a_spent_token_is_good_again() {
    let daemon = Daemon::start();
    let spent = daemon.host("web-1").enrollment_token;
    let once = text_of(&daemon.link(&daemon.client("acme"), json!({"single_use": true})), "token");
    daemon.nobody().form("/portal/enter", &[("token", &once)]).expect(303);
    let install = daemon.install_token();
    daemon.first_admin();
    daemon.cli(&["install-token", "--force"]).expect(0);
    for (number, twin) in spellings(&spent).into_iter().enumerate() {
        let answer = daemon.nobody().post("/v1/enroll", enrolling(&twin, &format!("h{number}")));
        answer.expect(401);
    }
    for twin in spellings(&once) {
        daemon.nobody().form("/portal/enter", &[("token", &twin)]).expect(401);
    }
    for twin in spellings(&install) {
        let body = json!({"install_token": twin, "email": "x@example.org", "password": people::PASSWORD});
        daemon.nobody().post("/v1/setup", body).expect(401);
    }
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
    assert_eq!(daemon.root().all("/v1/users").len(), 1);
}

/// A thousand ways to write a token: each piece of dirt at each place, and other cases.
fn spellings(token: &str) -> Vec<String> {
    const DIRT: [&str; 13] =
        [" ", "\t", "\n", "\r\n", "\0", "%00", "\u{200b}", "\u{feff}", "_", "=", "\u{ff41}", "+", "\u{301}"];
    let mut twins =
        vec![token.to_owned(), token.to_uppercase(), token.to_lowercase(), format!("Bearer {token}")];
    for place in 0..=token.len() {
        for dirt in DIRT {
            twins.push(format!("{}{dirt}{}", &token[..place], &token[place..]));
        }
    }
    assert!(twins.len() > 1_000, "{}", twins.len());
    twins
}
