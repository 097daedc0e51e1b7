//! RFC 7009 revocation, and that a revocation counts from its answer on (contract 4.5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

fn revoke(caller: &Caller, token: &str) -> Answer {
    caller.form("/v1/revoke", &[("token", token), ("token_type_hint", "access_token")])
}

#[test]
fn who_presents_a_token_may_revoke_it() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.any_pat();
    revoke(&daemon.nobody(), &pat).expect(200);
    assert!(!daemon.is_active(&pat));
    revoke(&daemon.nobody(), &pat).expect(200);
    let host = daemon.host("web-1");
    revoke(&daemon.nobody(), &host.agent_token).expect(200);
    host.get("/v1/me").expect(401);
    revoke(&daemon.nobody(), anna.token()).expect(200);
    anna.get("/v1/me").expect(401);
    let jwt = {
        let bert = daemon.user("bert@example.org", &[]);
        text_of(&bert.mint_pat(json!({"name": "n", "format": "jwt"})), "token")
    };
    revoke(&daemon.nobody(), &jwt).expect(200);
    assert!(!daemon.is_active(&jwt));
}

#[test]
fn whatever_it_was_the_answer_is_200() {
    let daemon = Daemon::start();
    for token in ["nonsense", &text::never_minted("pat"), "a.b.c", &"x".repeat(5000)] {
        revoke(&daemon.nobody(), token).expect(200);
    }
    let none = daemon.nobody().form("/v1/revoke", &[]);
    assert_eq!(none.expect(400)["error"], "invalid_request");
    none.is_never_stored();
}

#[test]
fn a_wrong_client_credential_is_a_401_and_revokes_nothing() {
    use base64ct::{Base64, Encoding};
    let daemon = Setup::new().service("gateway", &[]).start();
    let pat = daemon.user("anna@example.org", &[]).any_pat();
    let wrong = format!("Basic {}", Base64::encode_string(b"gateway:wrong"));
    let answer = revoke(&daemon.nobody().with("authorization", &wrong), &pat);
    assert_eq!(answer.expect(401)["error"], "invalid_client");
    let fields = [("token", pat.as_str()), ("client_id", "gateway"), ("client_secret", "wrong")];
    assert_eq!(daemon.nobody().form("/v1/revoke", &fields).expect(401)["error"], "invalid_client");
    assert!(daemon.is_active(&pat));
    let secret = people::service_secret("gateway");
    let fields = [("token", pat.as_str()), ("client_id", "gateway"), ("client_secret", &secret)];
    daemon.nobody().form("/v1/revoke", &fields).expect(200);
    assert!(!daemon.is_active(&pat));
}

#[test]
fn a_service_secret_cannot_be_revoked_by_presenting_it() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let gateway = daemon.service("gateway");
    revoke(&daemon.nobody(), &gateway.secret).expect(200);
    gateway.get("/v1/me").expect(200);
}

#[test]
fn a_revoked_enrolment_enrols_nobody_and_a_revoked_link_admits_nobody() {
    let daemon = Daemon::start();
    let enrollment = text_of(&daemon.enrollment(json!({})), "token");
    revoke(&daemon.nobody(), &enrollment).expect(200);
    daemon.nobody().post("/v1/enroll", people::enrolling(&enrollment, "h")).expect(401);
    let link = text_of(&daemon.link(&daemon.client("acme"), json!({})), "token");
    let cookie = daemon.portal_cookie(&link);
    revoke(&daemon.nobody(), &link).expect(200);
    daemon.browser(&cookie).get("/portal/session").expect(401);
    daemon.nobody().get(&format!("/portal/enter?token={link}")).expect(401);
}

#[test]
fn once_answered_the_next_verification_on_any_open_connection_refuses() {
    let daemon = Setup::new().with_long_silences().start();
    let anna = daemon.user("anna@example.org", &[]);
    let root = daemon.root();
    let nobody = daemon.nobody();
    let mut connections: Vec<Connection> = (0..8).map(|_| nobody.connect()).collect();
    for round in 0..60 {
        let made = anna.mint_pat(json!({"name": "n"}));
        let pat = daemon.bearer(&text_of(&made, "token"));
        for connection in &mut connections {
            pat.request("GET", "/v1/me").send_on(connection).expect(200);
        }
        match round % 3 {
            0 => drop(anna.delete(&format!("/v1/tokens/{}", text_of(&made, "id"))).expect(204)),
            1 => drop(revoke(&nobody, pat.token()).expect(200)),
            _ => drop(root.delete(&format!("/v1/admin/tokens/{}", text_of(&made, "id"))).expect(204)),
        }
        for connection in &mut connections {
            pat.request("GET", "/v1/authorize").send_on(connection).expect(401);
        }
    }
}

#[test]
fn a_demotion_deactivation_or_logout_counts_at_once_on_open_connections() {
    let daemon = Setup::new().with_long_silences().start();
    let nobody = daemon.nobody();
    let mut connections: Vec<Connection> = (0..8).map(|_| nobody.connect()).collect();
    for round in 0..10 {
        let anna = daemon.user(&format!("anna{round}@example.org"), &["operator"]);
        let user = format!("/v1/users/{}", anna.id);
        let mut all = |path: &str, status: u16| {
            for connection in &mut connections {
                anna.request("GET", path).send_on(connection).expect(status);
            }
        };
        all("/v1/hosts", 200);
        daemon.root().patch(&user, json!({"groups": []})).expect(200);
        all("/v1/hosts", 403);
        all("/v1/me", 200);
        if round % 2 == 0 {
            daemon.root().patch(&user, json!({"active": false})).expect(200);
        } else {
            anna.delete("/v1/sessions/current").expect(204);
        }
        all("/v1/me", 401);
    }
}

#[test]
fn of_a_consumption_and_a_revocation_at_once_one_comes_first_and_the_other_does_nothing() {
    let daemon = Daemon::start();
    let mut hosts = 0;
    for round in 0..30 {
        let made = daemon.enrollment(json!({}));
        let (token, id) = (text_of(&made, "token"), text_of(&made, "id"));
        let (nobody, root) = (daemon.nobody(), daemon.root());
        let answers = at_once(2, |number| {
            if number == 0 {
                nobody.post("/v1/enroll", people::enrolling(&token, &format!("host{round}")))
            } else {
                root.delete(&format!("/v1/enrollments/{id}"))
            }
        });
        answers[1].expect(204);
        let enrolled = answers[0].status == 201;
        assert!(enrolled || answers[0].status == 401, "{}", answers[0].text());
        if enrolled {
            let agent = text_of(&answers[0].json(), "agent_token");
            assert!(daemon.is_active(&agent), "round {round}: it was enrolled, and is no agent");
            hosts += 1;
        }
        let enrolments = root.get("/v1/enrollments").expect(200);
        let state = &by_id(&enrolments, &id).unwrap()["state"];
        assert_eq!(state, if enrolled { "consumed" } else { "revoked" }, "round {round}");
        nobody.post("/v1/enroll", people::enrolling(&token, &format!("again{round}"))).expect(401);
    }
    assert_eq!(daemon.root().all("/v1/hosts").len(), hosts, "whoever was refused is no host");
}

#[test]
fn a_wrong_bearer_beside_a_revocation_is_a_401_and_revokes_nothing() {
    let daemon = Daemon::start();
    let pat = daemon.user("anna@example.org", &[]).any_pat();
    let stranger = daemon.bearer(&text::never_minted("pat"));
    stranger.form("/v1/revoke", &[("token", &pat)]).expect(401);
    assert!(daemon.is_active(&pat));
}

/// The head and most of the body are on their way when the credential ends; the last byte comes afterwards.
#[test]
fn a_request_that_began_before_its_credential_ended_changes_nothing_afterwards() {
    let daemon = Daemon::start();
    daemon.user("stays@example.org", &["admin"]);
    for (number, ending) in ["session", "demotion", "deactivation"].into_iter().enumerate() {
        let email = format!("anna{number}@example.org");
        let anna = daemon.user(&email, &["admin"]);
        let body = json!({"email": format!("made{number}@example.org")});
        let request = anna.request("POST", "/v1/users").json(body).bytes();
        let (last, most) = request.split_last().unwrap();
        let mut connection = anna.connect();
        connection.send(most);
        // Whoever is answered now came later than what was sent before.
        daemon.nobody().get("/healthz").expect(200);
        let user = format!("/v1/users/{}", anna.id);
        match ending {
            "session" => drop(anna.delete("/v1/sessions/current").expect(204)),
            "demotion" => drop(daemon.root().patch(&user, json!({"groups": []})).expect(200)),
            _ => drop(daemon.root().patch(&user, json!({"active": false})).expect(200)),
        }
        connection.send([*last]);
        let answer = connection.answer();
        let expected = if ending == "demotion" { 403 } else { 401 };
        assert_eq!(answer.status, expected, "{ending}: {}", answer.text());
        let made = daemon.root().get(&format!("/v1/users?email=made{number}%40example.org")).expect(200);
        assert!(items(&made).is_empty(), "{ending}: {made}");
    }
}
