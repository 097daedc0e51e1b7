//! RFC 7662 introspection, one token or many (contract 4.5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

fn dead() -> Value {
    json!({"active": false})
}

#[test]
fn an_active_pat_is_described_in_full() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["reports"]);
    let made = anna.mint_pat(json!({"name": "n", "scope": "a b", "metadata": {"k": 1}}));
    let answer = daemon
        .root()
        .form("/v1/introspect", &[("token", &text_of(&made, "token")), ("token_type_hint", "access_token")]);
    answer.is_never_stored();
    let seen = answer.expect(200);
    assert_eq!(seen["active"], true);
    assert_eq!(seen["sub"], anna.id);
    assert_eq!(seen["sub_type"], "user");
    assert_eq!(seen["token_type"], "Bearer");
    assert_eq!(seen["kind"], "pat");
    assert_eq!(seen["scope"], "a b");
    assert_eq!(seen["jti"], made["id"]);
    assert_eq!(seen["iat"], seconds(&made["created_at"]));
    assert_eq!(seen["exp"], seconds(&made["expires_at"]));
    assert_eq!(seen["email"], "anna@example.org");
    assert_eq!(seen["groups"], json!(["reports"]));
    assert_eq!(seen["iss"], "http://127.0.0.1:8420");
    assert_eq!(seen["metadata"], json!({"k": 1}));
}

#[test]
fn sessions_and_agents_are_active_too() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let seen = daemon.root().introspect(anna.token());
    assert_eq!(
        (&seen["kind"], &seen["sub"], &seen["sub_type"]),
        (&json!("session"), &json!(anna.id), &json!("user"))
    );
    assert!(seen["exp"].is_i64());
    let host = daemon.host("web-1");
    let seen = daemon.root().introspect(&host.agent_token);
    assert_eq!(
        (&seen["kind"], &seen["sub"], &seen["sub_type"]),
        (&json!("agent"), &json!(host.id), &json!("host"))
    );
}

#[test]
fn a_service_secret_is_active_without_id_and_end() {
    let daemon = Setup::new().service("scheduler", &["admin", "x"]).start();
    let service = daemon.service("scheduler");
    let seen = daemon.root().introspect(&service.secret);
    assert_eq!(seen["active"], true);
    assert_eq!(seen["kind"], "service");
    assert!(text_of(&seen, "sub").starts_with("user_"));
    assert_eq!(seen["email"], "scheduler@system.local");
    let mut groups: Vec<String> =
        seen["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned()).collect();
    groups.sort();
    assert_eq!(groups, ["admin", "x"]);
    assert!(seen.get("jti").is_none() && seen.get("exp").is_none(), "{seen}");
    let user = service.get("/v1/me").expect(200);
    assert_eq!(user["subject"]["id"], seen["sub"]);
    assert_eq!(user["credential"]["kind"], "service");
}

#[test]
fn single_use_tokens_links_and_cookies_are_never_active_here() {
    let daemon = Daemon::start();
    let install = daemon.install_token();
    let enrollment = text_of(&daemon.enrollment(json!({})), "token");
    let link = text_of(&daemon.link(&daemon.client("acme"), json!({})), "token");
    let cookie = daemon.portal_cookie(&link);
    let cookie = cookie.split_once('=').unwrap().1;
    for token in [&install, &enrollment, &link, cookie] {
        assert_eq!(daemon.root().introspect(token), dead(), "{token}");
        daemon.bearer(token).get("/v1/me").expect(401);
    }
    daemon.nobody().post("/v1/enroll", people::enrolling(&enrollment, "h")).expect(201);
}

#[test]
fn every_dead_token_gets_the_same_bytes() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let revoked = anna.mint_pat(json!({"name": "n"}));
    anna.delete(&format!("/v1/tokens/{}", text_of(&revoked, "id"))).expect(204);
    let expired = text_of(&anna.mint_pat(json!({"name": "n", "ttl_seconds": 1})), "token");
    daemon.wait_until_dead(&expired);
    let used = text_of(&anna.mint_pat(json!({"name": "n", "max_uses": 1})), "token");
    assert!(daemon.is_active(&used));
    for token in
        [&text_of(&revoked, "token"), &expired, &used, &text::never_minted("pat"), "nonsense", "", "a.b.c"]
    {
        let answer = daemon.root().form("/v1/introspect", &[("token", token)]);
        if token.is_empty() && answer.status == 400 {
            continue;
        }
        assert_eq!(answer.expect(200), dead(), "{token}");
        assert_eq!(answer.text(), "{\"active\":false}", "exactly this");
        answer.is_never_stored();
    }
}

#[test]
fn the_caller_must_show_who_it_is() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    let token = anna.any_pat();
    let form = [("token", token.as_str())];
    let ask = |caller: &Caller| caller.form("/v1/introspect", &form);
    let unauthenticated = ask(&daemon.nobody());
    assert!(unauthenticated.expect(401)["error"].is_string(), "errors are as RFC 6749 has them");
    unauthenticated.is_never_stored();
    ask(&daemon.bearer("nonsense")).expect(401);
    ask(&daemon.bearer(&text::never_minted("pat"))).expect(401);
    assert!(ask(&anna).expect(403)["error"].is_string());
    ask(&daemon.bearer(&token)).expect(403);
    let operator = daemon.user("olga@example.org", &["operator"]);
    assert_eq!(ask(&operator).expect(200)["active"], true);
    let reader =
        daemon.bearer(&text_of(&operator.mint_pat(json!({"name": "n", "scope": "introspect"})), "token"));
    assert_eq!(ask(&reader).expect(200)["active"], true);
    ask(&daemon.bearer(&operator.any_pat())).expect(403);
    assert_eq!(ask(&daemon.service("gateway")).expect(200)["active"], true);
    ask(&daemon.bearer(&daemon.host("h").agent_token)).expect(403);
    // `introspect` on a PAT counts only while its owner is in the group.
    daemon.root().patch(&format!("/v1/users/{}", operator.id), json!({"groups": []})).expect(200);
    ask(&reader).expect(403);
}

#[test]
fn a_service_may_speak_as_oauth_clients_do() {
    use base64ct::{Base64, Encoding};
    let daemon = Setup::new().service("gateway", &[]).service("other", &[]).start();
    let token = daemon.user("anna@example.org", &[]).any_pat();
    let secret = people::service_secret("gateway");
    let basic = |name: &str, secret: &str| {
        let value = format!("Basic {}", Base64::encode_string(format!("{name}:{secret}").as_bytes()));
        daemon.nobody().with("authorization", &value).form("/v1/introspect", &[("token", &token)])
    };
    assert_eq!(basic("gateway", &secret).expect(200)["active"], true);
    let in_form = |name: &str, secret: &str| {
        let fields = [("token", token.as_str()), ("client_id", name), ("client_secret", secret)];
        daemon.nobody().form("/v1/introspect", &fields)
    };
    assert_eq!(in_form("gateway", &secret).expect(200)["active"], true);
    for (name, shown) in [
        ("other", secret.as_str()),
        ("gateway", "wrong"),
        ("", &secret),
        ("nobody", &secret),
        ("gateway", ""),
    ] {
        let answer = basic(name, shown);
        assert_eq!(answer.expect(401)["error"], "invalid_client", "{name}");
        answer.is_never_stored();
        assert_eq!(in_form(name, shown).expect(401)["error"], "invalid_client", "{name}");
    }
    // Basic is for OAuth's endpoints and the batch beside them; elsewhere it is no credential.
    let value = format!("Basic {}", Base64::encode_string(format!("gateway:{secret}").as_bytes()));
    let gateway = daemon.nobody().with("authorization", &value);
    let batch = gateway.post("/v1/introspect/batch", json!({"tokens": [token]})).expect(200);
    assert_eq!(batch["results"][0]["active"], true);
    let wrong = daemon.nobody().with("authorization", "Basic Z2F0ZXdheTp3cm9uZw==");
    wrong.post("/v1/introspect/batch", json!({"tokens": [token]})).expect(401);
    daemon.nobody().with("authorization", &value).get("/v1/me").expect(401);
}

/// Whoever is at the admin socket may without one; who sends one all the same means to be somebody.
#[test]
fn a_wrong_client_credential_is_refused_over_the_admin_socket_as_well() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let token = daemon.user("anna@example.org", &[]).any_pat();
    let secret = daemon.service("gateway").token().to_owned();
    let root = daemon.root();
    let wrong_head = root.clone().with("authorization", "Basic Z2F0ZXdheTp3cm9uZw==");
    for path in ["/v1/introspect", "/v1/revoke"] {
        wrong_head.form(path, &[("token", &token)]).expect(401);
        let wrong = [("token", token.as_str()), ("client_id", "gateway"), ("client_secret", "wrong")];
        root.form(path, &wrong).expect(401);
    }
    wrong_head.post("/v1/introspect/batch", json!({"tokens": [token]})).expect(401);
    assert!(daemon.is_active(&token));
    let good = [("token", token.as_str()), ("client_id", "gateway"), ("client_secret", &secret)];
    assert_eq!(root.form("/v1/introspect", &good).expect(200)["active"], true);
    assert_eq!(root.form("/v1/revoke", &good).status, 200);
    assert!(!daemon.is_active(&token));
}

#[test]
fn a_request_without_a_token_or_with_two_is_an_oauth_error() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let wrong = |answer: Answer| {
        let problem = answer.expect(400);
        assert_eq!(problem["error"], "invalid_request", "{problem}");
        assert!(problem["error_description"].is_string());
        answer.is_never_stored();
    };
    wrong(root.form("/v1/introspect", &[]));
    wrong(root.form("/v1/introspect", &[("toke", "x")]));
    wrong(root.form("/v1/introspect", &[("token", "x"), ("token", "y")]));
    // A form is asked for.
    root.post("/v1/introspect", json!({"token": "x"})).expect(415);
    root.get("/v1/introspect").expect(405);
    root.get("/v1/introspect?token=x").expect(405);
}

#[test]
fn the_token_is_read_from_the_form_alone() {
    let daemon = Daemon::start();
    let token = daemon.user("anna@example.org", &[]).any_pat();
    let answer = daemon.root().form(&format!("/v1/introspect?token={token}"), &[("x", "y")]);
    answer.expect(400);
    assert!(!answer.text().contains(&token));
}

#[test]
fn client_ip_is_for_services_and_the_admin_socket() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let made = admin.mint_pat(json!({"name": "n"}));
    let token = text_of(&made, "token");
    let ask =
        |caller: &Caller, ip: &str| caller.form("/v1/introspect", &[("token", &token), ("client_ip", ip)]);
    let last_ip = || {
        admin.get(&format!("/v1/admin/tokens?user={}&kind=pat", admin.id)).expect(200)["items"][0]["last_used_ip"].clone()
    };
    daemon.root().introspect(&token);
    assert_eq!(last_ip(), Value::Null, "without client_ip no address is noted");
    assert_eq!(ask(&daemon.service("gateway"), "192.0.2.9").expect(200)["active"], true);
    assert_eq!(last_ip(), "192.0.2.9");
    for bad in ["nonsense", "192.0.2.0/24", "300.1.1.1"] {
        assert_eq!(ask(&daemon.root(), bad).expect(400)["error"], "invalid_request", "{bad}");
    }
    let from_a_person = ask(&admin, "203.0.113.5");
    assert_ne!(last_ip(), "203.0.113.5", "not from a person: {}", from_a_person.text());
}

#[test]
fn a_batch_answers_in_order() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    let made: Vec<Value> = (0..5).map(|_| anna.mint_pat(json!({"name": "n"}))).collect();
    let mut tokens: Vec<String> = made.iter().map(|pat| text_of(pat, "token")).collect();
    tokens.insert(2, "nonsense".to_owned());
    tokens.insert(4, text::never_minted("pat"));
    tokens.push(people::service_secret("gateway"));
    let answer = daemon.service("gateway").post("/v1/introspect/batch", json!({"tokens": tokens}));
    answer.is_never_stored();
    let results = answer.expect(200)["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), tokens.len());
    assert_eq!((&results[2], &results[4]), (&dead(), &dead()));
    assert_eq!(results[7]["kind"], "service");
    let order: Vec<&Value> = [0, 1, 3, 5, 6].iter().map(|number| &results[*number]["jti"]).collect();
    assert_eq!(order, made.iter().map(|pat| &pat["id"]).collect::<Vec<_>>());
}

#[test]
fn a_batch_has_at_most_1000_tokens() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let batch = |tokens: Value| root.post("/v1/introspect/batch", json!({"tokens": tokens}));
    let token = text::never_minted("pat");
    let results = batch(json!(vec![token.clone(); 1000])).expect(200);
    assert_eq!(results["results"].as_array().unwrap().len(), 1000);
    batch(json!(vec![token; 1001])).names_field("tokens");
    assert_eq!(batch(json!([])).expect(200), json!({"results": []}));
    for bad in [json!("x"), json!([1]), json!(null), json!([null])] {
        batch(bad).names_field("tokens");
    }
    daemon.nobody().post("/v1/introspect/batch", json!({"tokens": []})).expect(401);
    daemon
        .user("anna@example.org", &[])
        .post("/v1/introspect/batch", json!({"tokens": []}))
        .refused(403, "forbidden");
}

#[test]
fn the_owner_of_today_is_told() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["a"]);
    let token = anna.any_pat();
    daemon.root().patch(&format!("/v1/users/{}", anna.id), json!({"groups": ["b"]})).expect(200);
    assert_eq!(daemon.root().introspect(&token)["groups"], json!(["b"]));
}

#[test]
fn verification_over_a_unix_socket_for_applications_needs_a_credential() {
    let setup = Setup::new()
        .config("[server]\nlisten = [\"unix:api.sock\", \"127.0.0.1:0\"]\n")
        .listening_as_configured();
    let daemon = setup.start();
    let target = http::Target::Unix(daemon.file("api.sock"));
    let caller = Caller::new(target);
    caller.get("/healthz").expect(200);
    caller.form("/v1/introspect", &[("token", "x")]).expect(401);
    caller.get("/v1/users").expect(401);
    let anna = daemon.user("anna@example.org", &[]);
    caller.bearer(anna.token()).get("/v1/me").expect(200);
}
