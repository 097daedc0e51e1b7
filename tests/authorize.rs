//! The endpoint that proxies ask (contract 4.5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

const POLICIES: &str = r#"
[authorize.reports]
kinds = ["pat", "service"]
scopes = ["reports:read"]
[authorize.staff]
groups = ["staff", "berlin"]
[authorize.agents]
kinds = ["agent"]
[authorize.portal]
kinds = ["portal", "session"]
"#;

const HEADERS: [&str; 7] = [
    "x-auth-subject",
    "x-auth-subject-type",
    "x-auth-kind",
    "x-auth-token-id",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-scope",
];

#[track_caller]
fn told(answer: &Answer) -> Vec<String> {
    answer.expect(200);
    HEADERS
        .iter()
        .map(|name| {
            let values = answer.all(name);
            assert_eq!(values.len(), 1, "{name} is sent once, even empty: {:?}", answer.headers);
            values[0].to_owned()
        })
        .collect()
}

#[test]
fn what_a_policy_misses_is_counted_under_its_own_word() {
    let daemon = Daemon::configured(POLICIES);
    let anna = daemon.user("anna@example.org", &["berlin"]);
    let pat = daemon.bearer(&anna.any_pat());
    for policy in ["@reports", "@staff", "@agents", "@nothing"] {
        pat.get(&format!("/v1/authorize/{policy}")).expect(403);
    }
    let metrics = daemon.nobody().get("/metrics").text();
    for word in ["scope", "group", "kind", "policy"] {
        let line = format!(r#"bearerd_verifications_total{{kind="pat",result="{word}"}} 1"#);
        assert!(metrics.lines().any(|own| own == line), "{line} in\n{metrics}");
    }
}

#[test]
fn the_default_policy_admits_sessions_pats_and_services() {
    let daemon = Setup::new().service("gateway", &["x"]).start();
    let anna = daemon.user("anna@example.org", &["berlin"]);
    let made = anna.mint_pat(json!({"name": "n", "scope": "a b"}));
    let pat = daemon.bearer(&text_of(&made, "token"));
    let host = daemon.host("h");
    for place in ["/v1/authorize", "/v1/authorize/@default", "/v1/authorize/@default/any/path?x=y"] {
        let got = told(&pat.get(place));
        assert_eq!(
            got,
            [&anna.id, "user", "pat", &text_of(&made, "id"), "anna@example.org", "berlin", "a b"]
        );
        let got = told(&anna.get(place));
        assert_eq!(&got[..4], [&anna.id, "user", "session", &anna.session_id]);
        let got = told(&daemon.service("gateway").get(place));
        assert_eq!(&got[1..5], ["user", "service", "", "gateway@system.local"]);
        host.get(place).expect(403);
        daemon.nobody().get(place).expect(401);
        daemon.bearer("nonsense").get(place).expect(401);
    }
}

#[test]
fn empty_values_are_sent_as_empty_headers() {
    let daemon = Daemon::configured(POLICIES);
    let host = daemon.host("web-1");
    let got = told(&host.get("/v1/authorize/@agents"));
    assert_eq!(&got[..3], [host.id.as_str(), "host", "agent"]);
    assert_eq!(&got[4..6], ["", ""]);
    let anna = daemon.user("anna@example.org", &[]);
    assert_eq!(told(&anna.get("/v1/authorize"))[5], "");
}

#[test]
fn several_groups_are_told_in_one_header() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["staff", "berlin"]);
    let groups = told(&anna.get("/v1/authorize"))[5].clone();
    let mut words: Vec<&str> = groups.split(',').map(str::trim).collect();
    words.sort_unstable();
    assert_eq!(words, ["berlin", "staff"], "{groups}");
}

#[test]
fn all_that_a_policy_lists_must_hold() {
    let daemon = Setup::new().config(POLICIES).service("gateway", &[]).start();
    let staff = daemon.user("staff@example.org", &["staff", "berlin", "x"]);
    let half = daemon.user("half@example.org", &["staff"]);
    let mint =
        |scope: &str| daemon.bearer(&text_of(&staff.mint_pat(json!({"name": "n", "scope": scope})), "token"));
    let cases: [(&str, Caller, u16); 10] = [
        ("@reports", mint("reports:read"), 200),
        ("@reports", mint("x reports:read y"), 200),
        ("@reports", mint("reports:write"), 403),
        ("@reports", mint("reports:reader"), 403),
        ("@reports", (*staff).clone(), 403),
        ("@staff", (*staff).clone(), 200),
        ("@staff", mint("general"), 200),
        ("@staff", (*half).clone(), 403),
        ("@agents", (*staff).clone(), 403),
        ("@nowhere", (*staff).clone(), 403),
    ];
    for (number, (policy, caller, status)) in cases.iter().enumerate() {
        let answer = caller.get(&format!("/v1/authorize/{policy}"));
        assert_eq!(answer.status, *status, "case {number}: {policy}");
    }
    daemon.nobody().get("/v1/authorize/@nowhere").expect(401);
}

#[test]
fn any_method_and_any_path_behind_the_policy_is_answered() {
    let daemon = Daemon::configured(POLICIES);
    let anna = daemon.user("anna@example.org", &["staff", "berlin"]);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND"] {
        for place in ["/v1/authorize", "/v1/authorize/@staff", "/v1/authorize/@staff/a/b%2Fc/../d?token=x"] {
            let answer = anna.request(method, place).send();
            assert_eq!(answer.status, 200, "{method} {place}");
            assert_eq!(answer.header("x-auth-subject"), Some(anna.id.as_str()));
            assert_eq!(daemon.nobody().request(method, place).send().status, 401, "{method} {place}");
        }
    }
}

#[test]
fn the_path_that_a_proxy_appends_talks_nobody_into_another_policy() {
    let daemon = Daemon::configured(POLICIES);
    let anna = daemon.user("anna@example.org", &[]);
    for place in [
        "/@default",
        "/../@default",
        "/../../authorize",
        "/..%2f@default",
        "/%2e%2e/@default",
        "?policy=default",
        "/?x=@default",
    ] {
        let answer = anna.get(&format!("/v1/authorize/@staff{place}"));
        assert_eq!(answer.status, 403, "{place}");
    }
}

#[test]
fn any_other_path_under_authorize_is_a_404() {
    let daemon = Daemon::configured(POLICIES);
    let anna = daemon.user("anna@example.org", &["staff", "berlin"]);
    for place in ["/v1/authorize/", "/v1/authorize/staff", "/v1/authorize/x/@staff", "/v1/authorize//@staff"]
    {
        assert_eq!(anna.get(place).status, 404, "{place}");
    }
    anna.get("/v1/authorize/@").expect(403);
}

#[test]
fn a_portal_cookie_counts_where_the_policy_says_so() {
    let daemon = Daemon::configured(POLICIES);
    let client = daemon.client("acme");
    let link = daemon.link(&client, json!({}));
    let cookie = daemon.portal_cookie(&text_of(&link, "token"));
    let browser = daemon.browser(&cookie);
    let got = told(&browser.get("/v1/authorize/@portal/some/page"));
    assert_eq!(&got[..4], [client.as_str(), "client", "portal", &text_of(&link, "id")]);
    browser.get("/v1/authorize").expect(403);
    browser.get("/v1/authorize/@reports").expect(403);
    // A header of another scheme does not hide the cookie.
    browser.clone().with("authorization", "Basic dTpw").get("/v1/authorize/@portal").expect(200);
    daemon.browser("portal_session=v1.x.y.z").get("/v1/authorize/@portal").expect(401);
    daemon.root().patch(&format!("/v1/clients/{client}"), json!({"active": false})).expect(200);
    browser.get("/v1/authorize/@portal").expect(401);
}

#[test]
fn nothing_but_200_401_403_comes_back_for_odd_credentials() {
    let daemon = Daemon::configured(POLICIES);
    let odd = [
        "Bearer",
        "Bearer ",
        "Bearer  x",
        "bearer",
        "Basic",
        "Negotiate x",
        "Bearer a, Basic b",
        "x",
        "Bearer \u{fc}",
    ];
    for value in odd {
        let answer = daemon.nobody().with("authorization", value).get("/v1/authorize");
        assert_eq!(answer.status, 401, "{value}");
    }
    for cookie in [
        "portal_session",
        "portal_session=",
        "=",
        ";;;",
        "portal_session=v1...",
        "portal_session=\"v1.a.b.c\"",
    ] {
        let answer = daemon.browser(cookie).get("/v1/authorize/@portal");
        assert_eq!(answer.status, 401, "{cookie}");
    }
    let mixed = daemon.nobody().with("content-type", "application/json").with("expect", "x");
    assert!([401, 417].contains(&mixed.get("/v1/authorize").status));
}

#[test]
fn a_scheme_is_read_without_case_and_the_query_is_never_a_credential() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let caller = daemon.nobody().with("authorization", &format!("{scheme} {}", anna.token()));
        caller.get("/v1/authorize").expect(200);
        caller.get("/v1/me").expect(200);
    }
    for query in ["token", "access_token", "authorization"] {
        daemon.nobody().get(&format!("/v1/authorize?{query}={}", anna.token())).expect(401);
        daemon.nobody().get(&format!("/v1/me?{query}={}", anna.token())).expect(401);
    }
    daemon
        .browser(&format!("token={0}; session={0}; portal_session={0}", anna.token()))
        .get("/v1/me")
        .expect(401);
    daemon.nobody().with("x-api-key", anna.token()).get("/v1/me").expect(401);
}

#[test]
fn headers_that_a_client_forged_are_not_echoed() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let forged =
        daemon.bearer(anna.token()).with("x-auth-groups", "admin").with("x-auth-email", "root@example.org");
    let got = told(&forged.get("/v1/authorize"));
    assert_eq!((&*got[4], &*got[5]), ("anna@example.org", ""));
}

#[test]
fn policies_are_reloadable_and_the_default_can_be_replaced() {
    let daemon = Daemon::configured(POLICIES);
    let anna = daemon.user("anna@example.org", &["staff"]);
    anna.get("/v1/authorize/@staff").expect(403);
    anna.get("/v1/authorize").expect(200);
    let stricter = "[authorize.staff]\ngroups = [\"staff\"]\n[authorize.default]\nkinds = [\"pat\"]\n";
    daemon.rewrite("bearerd.toml", stricter);
    daemon.cli(&["reload"]).expect(0);
    anna.get("/v1/authorize/@staff").expect(200);
    anna.get("/v1/authorize").expect(403);
    daemon.bearer(&anna.any_pat()).get("/v1/authorize").expect(200);
}

#[test]
fn an_email_that_is_not_ascii_does_not_break_the_answer() {
    let daemon = Daemon::start();
    let made = daemon.root().post("/v1/users", json!({"email": "jürgen@example.org"})).expect(201);
    let got = told(&daemon.session_of(&made).get("/v1/authorize"));
    assert_eq!(got[4], "j%C3%BCrgen@example.org");
}
