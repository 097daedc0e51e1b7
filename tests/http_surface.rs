//! What binds every route: health, errors, strict requests, limits, lists (contract 4, 4.1, 6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::*;

#[test]
fn health_readiness_and_facts_are_told_to_anybody() {
    let daemon = Daemon::configured("[server]\npublic_url = \"https://id.example.org\"\n");
    let nobody = daemon.nobody();
    nobody.get("/healthz").expect(200);
    nobody.get("/readyz").expect(200);
    let metrics = nobody.get("/metrics");
    metrics.expect(200);
    assert!(
        metrics.header("content-type").unwrap().starts_with("text/plain")
            || metrics.text().contains("# TYPE")
    );
    assert!(metrics.text().contains("# TYPE "), "{}", metrics.text());
    let open_api = nobody.get("/openapi.json").expect(200);
    assert!(text_of(&open_api, "openapi").starts_with("3.1"));
    let facts = nobody.get("/.well-known/oauth-authorization-server").expect(200);
    let is_empty = |fact: &Value| fact.as_array().is_some_and(Vec::is_empty);
    assert!(!facts.as_object().unwrap().values().any(is_empty), "RFC 8414 leaves out empty lists: {facts}");
    assert_eq!(facts["issuer"], "https://id.example.org");
    assert_eq!(facts["introspection_endpoint"], "https://id.example.org/v1/introspect");
    assert_eq!(facts["revocation_endpoint"], "https://id.example.org/v1/revoke");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let head = nobody.head(path);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[test]
fn openapi_tells_every_route_of_the_contract() {
    let daemon = Daemon::start();
    let paths = daemon.nobody().get("/openapi.json").expect(200)["paths"].as_object().unwrap().clone();
    let normal = |path: &str| {
        let mut out = String::new();
        let mut inside = false;
        for letter in path.chars() {
            match letter {
                '{' => {
                    inside = true;
                    out.push_str("{}");
                }
                '}' => inside = false,
                _ if !inside => out.push(letter),
                _ => {}
            }
        }
        out
    };
    let told: Vec<(String, &Value)> = paths.iter().map(|(path, item)| (normal(path), item)).collect();
    let wanted = [
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
        ("get", "/.well-known/oauth-authorization-server"),
        ("get", "/v1/me"),
        ("patch", "/v1/me"),
        ("get", "/v1/setup"),
        ("post", "/v1/setup"),
        ("post", "/v1/users"),
        ("get", "/v1/users"),
        ("get", "/v1/users/{}"),
        ("patch", "/v1/users/{}"),
        ("post", "/v1/sessions"),
        ("get", "/v1/sessions"),
        ("delete", "/v1/sessions/current"),
        ("delete", "/v1/sessions/{}"),
        ("post", "/v1/users/{}/sessions"),
        ("post", "/v1/users/{}/tokens"),
        ("post", "/v1/tokens"),
        ("get", "/v1/tokens"),
        ("get", "/v1/tokens/{}"),
        ("delete", "/v1/tokens/{}"),
        ("patch", "/v1/tokens/{}"),
        ("post", "/v1/tokens/{}/rotate"),
        ("get", "/v1/admin/tokens"),
        ("get", "/v1/admin/tokens/{}"),
        ("delete", "/v1/admin/tokens/{}"),
        ("post", "/v1/admin/tokens/revoke"),
        ("post", "/v1/admin/tokens/lookup"),
        ("post", "/v1/introspect"),
        ("post", "/v1/introspect/batch"),
        ("post", "/v1/revoke"),
        ("get", "/v1/authorize"),
        ("post", "/v1/enrollments"),
        ("get", "/v1/enrollments"),
        ("delete", "/v1/enrollments/{}"),
        ("post", "/v1/enroll"),
        ("get", "/v1/hosts"),
        ("get", "/v1/hosts/{}"),
        ("patch", "/v1/hosts/{}"),
        ("delete", "/v1/hosts/{}"),
        ("post", "/v1/hosts/{}/rotate"),
        ("put", "/v1/hosts/{}/credentials"),
        ("get", "/v1/hosts/{}/credentials"),
        ("post", "/v1/clients"),
        ("get", "/v1/clients"),
        ("get", "/v1/clients/{}"),
        ("patch", "/v1/clients/{}"),
        ("post", "/v1/clients/{}/links"),
        ("get", "/v1/clients/{}/links"),
        ("delete", "/v1/links/{}"),
        ("get", "/portal/enter"),
        ("post", "/portal/enter"),
        ("get", "/portal/session"),
        ("post", "/portal/logout"),
        ("put", "/v1/projects/{}/client"),
        ("post", "/v1/projects/{}/preview"),
        ("get", "/v1/audit"),
    ];
    for (method, path) in wanted {
        let item = told.iter().find(|(known, item)| known == path && item.get(method).is_some());
        assert!(item.is_some(), "{method} {path} is not told");
    }
}

#[test]
fn an_error_is_a_problem_with_a_code() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let nobody = daemon.nobody();
    anna.get("/v1/nowhere").refused(404, "not_found");
    nobody.get("/").refused(404, "not_found");
    nobody.get("/v1").refused(404, "not_found");
    nobody.get("/v1/me").refused(401, "unauthenticated");
    nobody.bearer("nonsense").get("/v1/me").expect(401);
    let wrong = anna.request("PUT", "/v1/tokens").send();
    wrong.refused(405, "method_not_allowed");
    let mut allowed: Vec<&str> = wrong.header("allow").unwrap().split(',').map(str::trim).collect();
    allowed.retain(|method| ["GET", "POST"].contains(method));
    assert_eq!(allowed.len(), 2, "{:?}", wrong.header("allow"));
    anna.request("POST", "/v1/tokens").body("application/json", "{").send().refused(400, "invalid_json");
    anna.request("POST", "/v1/tokens").body("application/json", "").send().refused(400, "invalid_json");
    anna.request("POST", "/v1/tokens")
        .body("application/json", b"{\"name\":\"\xff\"}")
        .send()
        .refused(400, "invalid_json");
    anna.request("POST", "/v1/tokens").body("application/json", "[]").send().expect(400);
    anna.request("POST", "/v1/tokens")
        .body("application/json", "{\"name\":\"a\",\"name\":\"b\"}")
        .send()
        .expect(400);
    anna.request("POST", "/v1/tokens")
        .body("application/json", "{\"name\":\"a\"} x")
        .send()
        .refused(400, "invalid_json");
    anna.post("/v1/tokens", json!({"name": "n", "surprise": 1})).names_field("surprise");
    let several = "{\"x-2\":1,\"name\":\"n\",\"a.b\":1,\"zeal\":1}";
    let told = anna.request("POST", "/v1/tokens").body("application/json", several).send();
    assert_eq!(
        told.names_field("x-2")["detail"],
        "x-2: is not a field of this request; neither are: a.b, zeal"
    );
    assert_eq!(anna.post("/v1/tokens", json!({})).expect(400)["code"], "missing_field");
}

#[test]
fn an_unknown_parameter_of_the_query_is_refused_by_name_and_nothing_is_done() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let token = text_of(&anna.mint_pat(json!({"name": "n"})), "token");
    let all = json!({"kind": "pat"});
    daemon.root().post("/v1/admin/tokens/revoke?dry_run=true", all).names_field("dry_run");
    assert!(daemon.is_active(&token));
    anna.post("/v1/tokens?x=1", json!({"name": "n"})).names_field("x");
    anna.get("/v1/me?x").names_field("x");
}

#[test]
fn a_challenge_is_as_rfc_6750_has_it() {
    let daemon = Daemon::start();
    let bare = daemon.nobody().get("/v1/me");
    assert!(
        !bare.header("www-authenticate").unwrap().contains("error"),
        "no error word without a credential"
    );
    let bad = daemon.bearer("nonsense").get("/v1/me");
    assert!(bad.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{:?}", bad.headers);
}

#[test]
fn every_bad_credential_gets_the_same_401() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let revoked = anna.mint_pat(json!({"name": "n"}));
    anna.delete(&format!("/v1/tokens/{}", text_of(&revoked, "id"))).expect(204);
    let expired = text_of(&anna.mint_pat(json!({"name": "n", "ttl_seconds": 1})), "token");
    daemon.wait_until_dead(&expired);
    let enrollment = text_of(&daemon.enrollment(json!({})), "token");
    let first = daemon.bearer("nonsense").get("/v1/me");
    for token in [
        &text_of(&revoked, "token"),
        &expired,
        &enrollment,
        &text::never_minted("pat"),
        &text::never_minted("xyz"),
        "a.b.c",
    ] {
        let answer = daemon.bearer(token).get("/v1/me");
        answer.expect(401);
        assert_eq!(answer.body, first.body, "{token}");
        assert_eq!(answer.header("www-authenticate"), first.header("www-authenticate"));
    }
}

#[test]
fn a_body_must_be_what_it_says() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let body = json!({"name": "n"}).to_string();
    let post = |kind: &str| anna.request("POST", "/v1/tokens").body(kind, &body).send();
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=\"UTF-8\"",
    ] {
        post(good).expect(201);
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/json, text/plain",
        "application/jsonx",
        "application/json; charset=utf-7",
    ] {
        post(bad).refused(415, "unsupported_media_type");
    }
    let mut connection = anna.connect();
    let raw = format!(
        "POST /v1/tokens HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        anna.token(),
        body.len()
    );
    connection.send(raw);
    assert_eq!(connection.answer().status, 415, "no type at all");
    let zipped = anna
        .request("POST", "/v1/tokens")
        .with("content-encoding", "gzip")
        .body("application/json", &body)
        .send();
    zipped.refused(415, "unsupported_media_type");
}

#[test]
fn deep_and_wide_json_is_refused_quickly() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let deep = format!("{{\"name\":\"n\",\"metadata\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let begun = Instant::now();
    for body in [deep, "[".repeat(60_000), "{\"a\":".repeat(12_000)] {
        let answer = anna.request("POST", "/v1/tokens").body("application/json", body).send();
        answer.expect(400);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_body_has_64_kib_and_a_batch_256_kib() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let padded = |bytes: usize| {
        let body = "{\"email\":\"x\"}";
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    let post = |path: &str, body: String| root.request("POST", path).body("application/json", body).send();
    post("/v1/users", padded(64 * 1024)).names_field("email");
    post("/v1/users", padded(64 * 1024 + 1)).refused(413, "too_large");
    let batch = |bytes: usize| format!("{{\"tokens\":[]}}{}", " ".repeat(bytes - 13));
    post("/v1/introspect/batch", batch(256 * 1024)).expect(200);
    post("/v1/introspect/batch", batch(256 * 1024 + 1)).refused(413, "too_large");
    // A length that is declared and too long is refused without the body.
    let mut connection = daemon.nobody().connect();
    connection.send("POST /v1/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4294967296\r\n\r\n");
    assert_eq!(connection.answer().status, 413);
    // And so is one that is sent in chunks without an end.
    let mut connection = daemon.nobody().connect();
    connection.send("POST /v1/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..9 {
        connection.send(format!("2000\r\n{}\r\n", " ".repeat(0x2000)));
    }
    assert_eq!(connection.answer().status, 413);
}

#[test]
fn a_head_has_16_kib() {
    let daemon = Daemon::start();
    let send = |raw: String| {
        let mut connection = daemon.nobody().connect();
        connection.send(raw);
        let answer = connection.try_answer(false).ok().flatten();
        (answer.map(|answer| answer.status), connection.is_closed())
    };
    let mut connection = daemon.nobody().connect();
    connection.send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(15 * 1024)));
    assert_eq!(connection.answer().status, 200);
    for raw in [
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(17 * 1024)),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20 * 1024)),
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(3_000)),
    ] {
        let (status, closed) = send(raw);
        assert!([Some(431), Some(414), Some(400)].contains(&status), "{status:?}");
        assert!(closed);
    }
}

#[test]
fn requests_that_two_readers_could_read_differently_are_refused_and_the_connection_closed() {
    let daemon = Daemon::start();
    let token = daemon.user("anna@example.org", &[]).any_pat();
    let with = |extra: &str| {
        format!("GET /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{extra}\r\n")
    };
    let post = |extra: &str, body: &str| {
        format!(
            "POST /v1/introspect HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n{extra}\r\n{body}"
        )
    };
    let cases: Vec<(&str, String)> = vec![
        ("no host", format!("GET /v1/me HTTP/1.1\r\nauthorization: Bearer {token}\r\n\r\n")),
        ("two hosts", with("host: y\r\n")),
        ("the same host twice", with("host: x\r\n")),
        ("an empty host", "GET /healthz HTTP/1.1\r\nhost: \r\n\r\n".to_owned()),
        ("a host with a user", "GET /healthz HTTP/1.1\r\nhost: a@b\r\n\r\n".to_owned()),
        ("two authorizations", with("authorization: Bearer x\r\n")),
        ("the same authorization twice", with(&format!("authorization: Bearer {token}\r\n"))),
        (
            "another authority",
            format!(
                "GET http://evil.example/v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
            ),
        ),
        ("length and coding", post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        ("a foreign coding", post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("identity", post("transfer-encoding: identity\r\n", "")),
        ("chunked twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunked, chunked", post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("xchunked", post("transfer-encoding: xchunked\r\n", "0\r\n\r\n")),
        ("two lengths", post("content-length: 5\r\ncontent-length: 6\r\n", "token=")),
        ("one length twice", post("content-length: 7\r\ncontent-length: 7\r\n", "token=x")),
        ("a list of lengths", post("content-length: 7, 7\r\n", "token=x")),
        ("a signed length", post("content-length: +7\r\n", "token=x")),
        ("a hexadecimal length", post("content-length: 0x7\r\n", "token=x")),
        ("a negative length", post("content-length: -1\r\n", "token=x")),
        ("an endless length", post("content-length: 18446744073709551616\r\n", "token=x")),
        (
            "an underscore twin of authorization",
            with("authorization_: x\r\n").replace("authorization_", "x_forwarded_for"),
        ),
        ("an underscore twin of the length", post("content_length: 5\r\ncontent-length: 7\r\n", "token=x")),
        (
            "an underscore twin of the coding",
            post("transfer_encoding: chunked\r\ncontent-length: 7\r\n", "token=x"),
        ),
        ("an underscore twin of the answer's headers", with("x_forwarded_proto: https\r\n")),
        ("a folded header", with("a: b\r\n c\r\n")),
        ("space before the colon", with("a : b\r\n")),
        ("NUL in a value", with("a: b\u{0}c\r\n")),
        ("a bare CR in a value", with("a: b\rc\r\n")),
        ("bare line feeds", format!("GET /v1/me HTTP/1.1\nhost: x\nauthorization: Bearer {token}\n\n")),
        ("no version", "GET /healthz\r\n\r\n".to_owned()),
        ("HTTP/2.0", "GET /healthz HTTP/2.0\r\nhost: x\r\n\r\n".to_owned()),
        ("HTTP/1.2", "GET /healthz HTTP/1.2\r\nhost: x\r\n\r\n".to_owned()),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n\r\n".to_owned()),
        (
            "a PROXY preamble",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        ),
        ("a chunk size out of range", post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n")),
        ("a chunk size with 0x", post("transfer-encoding: chunked\r\n", "0x5\r\ntoken\r\n0\r\n\r\n")),
        ("a wrong end of a chunk", post("transfer-encoding: chunked\r\n", "5\r\ntokenX\r\n0\r\n\r\n")),
    ];
    for (what, raw) in cases {
        let mut connection = daemon.nobody().connect();
        // A second request rides behind; nothing may ever answer it.
        connection.send(format!("{raw}GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"));
        let answer = connection.try_answer(false).unwrap_or(None);
        if let Some(answer) = &answer {
            assert!(
                [400, 505, 501, 431].contains(&answer.status),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            assert!(!answer.text().contains("anna@example.org"), "{what}");
        }
        let rest = connection.rest();
        assert!(!contains(&rest, b"# TYPE"), "{what}: the request behind was answered");
    }
    daemon.nobody().get("/healthz").expect(200);
}

#[test]
fn every_underscore_twin_of_a_deciding_header_is_refused() {
    let daemon = Daemon::start();
    let twins =
        ["Content_Length", "Transfer_Encoding", "X_Forwarded_For", "x_forwarded_for", "X-Forwarded_For"];
    for name in twins {
        let mut connection = daemon.nobody().connect();
        connection.send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{name}: 1\r\n\r\n"));
        assert_eq!(connection.answer().status, 400, "{name}");
        assert!(connection.is_closed(), "{name}");
    }
}

#[test]
fn connect_and_trace_are_405() {
    let daemon = Daemon::start();
    for raw in [
        "TRACE /healthz HTTP/1.1\r\nhost: x\r\ncanary: echo\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n",
    ] {
        let mut connection = daemon.nobody().connect();
        connection.send(raw);
        let answer = connection.answer();
        assert_eq!(answer.status, 405, "{raw}");
        assert!(answer.header("allow").is_some());
        assert!(!answer.text().contains("echo"));
    }
    daemon.nobody().request("OPTIONS", "/v1/me").send().expect(405);
    daemon.nobody().request("BREW", "/v1/me").send().expect(405);
    let answer = daemon.nobody().request("OPTIONS", "/v1/me").with("origin", "https://evil.example").send();
    assert!(answer.header("access-control-allow-origin").is_none());
}

#[test]
fn an_absolute_target_of_the_same_authority_is_fine() {
    let daemon = Daemon::start();
    let mut connection = daemon.nobody().connect();
    connection.send("GET http://x/healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
}

#[test]
fn one_connection_answers_one_request_after_the_other_and_remembers_nobody() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let bert = daemon.user("bert@example.org", &[]);
    let mut connection = daemon.nobody().connect();
    let mut pipelined = Vec::new();
    for caller in [&*anna, &daemon.nobody(), &*bert, &*anna] {
        pipelined.extend_from_slice(&caller.request("GET", "/v1/me").bytes());
    }
    connection.send(pipelined);
    let who: Vec<Value> = (0..4).map(|_| connection.answer().json()["subject"]["id"].clone()).collect();
    assert_eq!(who, [json!(anna.id), Value::Null, json!(bert.id), json!(anna.id)]);
    // A body that comes in pieces.
    let raw = anna.request("POST", "/v1/tokens").json(json!({"name": "in pieces"})).bytes();
    for piece in raw.chunks(7) {
        connection.send(piece);
    }
    assert_eq!(connection.answer().status, 201);
    connection.send("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
    assert!(connection.is_closed());
}

#[test]
fn the_head_is_read_within_5_seconds_and_the_whole_within_15() {
    let daemon = Daemon::start();
    let closed_within = |raw: &str, seconds: u64| {
        let mut connection = daemon.nobody().connect();
        connection.send(raw);
        let begun = Instant::now();
        let rest = connection.rest();
        assert!(begun.elapsed() < Duration::from_secs(seconds + 10), "{raw:?}: {:?}", begun.elapsed());
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 408") || rest.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&rest)
        );
    };
    std::thread::scope(|scope| {
        scope.spawn(|| closed_within("", 5));
        scope.spawn(|| closed_within("GET /healthz HTTP/1.1\r\nhost: x\r\n", 5));
        scope.spawn(|| closed_within("POST /v1/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{", 15));
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_changes_nothing() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let raw = anna.request("POST", "/v1/tokens").json(json!({"name": "half"})).bytes();
    for cut in [raw.len() - 1, raw.len() - 5] {
        let mut connection = anna.connect();
        connection.send(&raw[..cut]);
        connection.half_close();
        let answer = connection.try_answer(false).ok().flatten();
        assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)));
    }
    let rows = anna.get("/v1/tokens").expect(200);
    assert!(items(&rows).iter().all(|row| row["name"] != "half"), "{rows}");
    // A whole request is answered though the client has closed its half.
    let mut connection = anna.connect();
    connection.send(raw);
    connection.half_close();
    assert_eq!(connection.answer().status, 201);
}

#[test]
fn expect_100_does_not_invite_a_body_that_nobody_may_send() {
    let daemon = Daemon::start();
    let mut connection = daemon.nobody().connect();
    connection.send("POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 12\r\n\r\n");
    let rest = connection.try_answer(false).unwrap().expect("an answer");
    assert_eq!(rest.status, 401);
}

#[test]
fn lists_have_pages_newest_first_and_stay_stable_while_rows_are_added() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let ids: Vec<String> = (0..12).map(|_| text_of(&anna.mint_pat(json!({"name": "n"})), "id")).collect();
    let pages = anna.pages("/v1/tokens", 5);
    assert!(pages.iter().all(|page| page.len() <= 5));
    let listed: Vec<String> =
        pages.into_iter().flatten().map(|row| text_of(&row, "id")).filter(|id| ids.contains(id)).collect();
    let mut newest_first = ids.clone();
    newest_first.reverse();
    assert_eq!(listed, newest_first);

    let page = anna.get("/v1/tokens?limit=4").expect(200);
    let cursor = text_of(&page, "next_cursor");
    for _ in 0..3 {
        anna.any_pat();
    }
    let next = anna.get(&format!("/v1/tokens?limit=4&cursor={cursor}")).expect(200);
    let seen: Vec<String> = items(&page).iter().chain(items(&next)).map(|row| text_of(row, "id")).collect();
    assert_eq!(seen, newest_first[..8], "no row twice and none left out");
}

#[test]
fn a_limit_is_1_to_500_and_50_without_a_wish() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let anna = daemon.user("anna@example.org", &[]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    for _ in 0..55 {
        anna.any_pat();
    }
    for path in [
        "/v1/tokens",
        "/v1/admin/tokens",
        "/v1/audit",
        "/v1/users",
        "/v1/hosts",
        "/v1/clients",
        "/v1/enrollments",
        "/v1/sessions",
    ] {
        for good in ["1", "500"] {
            let page = admin.get(&format!("{path}?limit={good}")).expect(200);
            assert!(page["items"].is_array() && page.get("next_cursor").is_some(), "{path}: {page}");
        }
        for bad in ["0", "501", "-1", "x", "1.5", "", "99999999999999999999"] {
            admin.get(&format!("{path}?limit={bad}")).expect(400);
        }
        admin.get(&format!("{path}?cursor=nonsense")).expect(400);
        admin.get(&format!("{path}?surprise=1")).expect(400);
    }
    assert_eq!(items(&root.get("/v1/admin/tokens").expect(200)).len(), 50);
    assert_eq!(items(&anna.get("/v1/tokens").expect(200)).len(), 50);
}

#[test]
fn forwarded_addresses_count_from_trusted_proxies_alone() {
    let last_ip = |daemon: &Daemon, forwarded: &str| {
        let anna = daemon.user(&format!("u{}@example.org", text::checksum(forwarded)), &[]);
        let made = anna.mint_pat(json!({"name": "n"}));
        daemon.bearer(&text_of(&made, "token")).with("x-forwarded-for", forwarded).get("/v1/me").expect(200);
        let list = daemon.root().get(&format!("/v1/admin/tokens?user={}&kind=pat", anna.id)).expect(200);
        items(&list)[0]["last_used_ip"].clone()
    };
    let daemon = Daemon::start();
    assert_eq!(last_ip(&daemon, "203.0.113.9"), "127.0.0.1", "nobody is trusted by default");
    let daemon = Daemon::configured("[server]\ntrusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]\n");
    for (forwarded, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.66, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.66, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("203.0.113.9,10.1.2.3 , 10.9.9.9", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
    ] {
        assert_eq!(last_ip(&daemon, forwarded), expected, "{forwarded}");
    }
    let forged = last_ip(&daemon, "203.0.113.9, nonsense");
    assert_ne!(forged, "203.0.113.9", "what stands left of something unreadable is not believed");
}

#[test]
fn nothing_about_the_answer_tells_the_software_behind_or_an_inner_error() {
    let daemon = Daemon::start();
    for path in [
        "/v1/users/%00",
        "/v1/users/%ff",
        "/v1/users/..%2f..",
        "/v1/tokens/'; drop table",
        "/v1/hosts/%F0%9F%98%80",
    ] {
        let answer = daemon.root().request("GET", &path.replace(' ', "%20")).send();
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
        for word in ["redb", "panicked", "serde", "src/"] {
            assert!(!answer.text().contains(word), "{path}: {}", answer.text());
        }
    }
}

#[test]
fn the_metrics_that_the_readme_names_are_told() {
    let daemon = Setup::new().service("scheduler", &[]).start();
    let told = daemon.nobody().get("/metrics").text();
    let words = include_str!("../README.md").split('`').skip(1).step_by(2);
    let named: Vec<&str> = words.filter(|word| word.starts_with("bearerd_")).collect();
    assert!(named.len() >= 5, "{named:?}: this test looks for the wrong thing");
    for name in named {
        assert!(told.lines().any(|line| line.starts_with(name)), "{name} is not told");
    }
}

#[test]
fn a_request_that_takes_too_long_or_is_refused_unread_is_counted() {
    let daemon = Daemon::configured("[limits]\nrequest_seconds = 1\n");
    let mut slow = daemon.nobody().connect();
    slow.send(
        "POST /v1/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{",
    );
    slow.answer().refused(408, "request_timeout");
    let mut odd = daemon.nobody().connect();
    odd.send("GET / HTTP/1.1\n\n");
    odd.answer().refused(400, "bad_request");
    let told = daemon.nobody().get("/metrics").text();
    for line in [
        r#"bearerd_http_requests_total{route="/v1/setup",method="POST",status="408"} 1"#,
        r#"bearerd_http_connection_troubles_total{trouble="timed_out"} 1"#,
        r#"bearerd_http_connection_troubles_total{trouble="refused_unread"} 1"#,
        r#"bearerd_http_connection_troubles_total{trouble="turned_away"} 0"#,
    ] {
        assert!(told.lines().any(|own| own == line), "{line} in\n{told}");
    }
}

/// Bytes that are no text, where a credential stands and where nothing goes by them.
#[test]
fn a_credential_that_is_no_text_is_refused_and_panics_nowhere() {
    let daemon = Daemon::start();
    let token = daemon.user("anna@example.org", &[]).any_pat();
    for (what, before, bytes, after, right) in [
        ("a bearer that is no text", "authorization: Bearer ", &b"\xff\xfe\xfd"[..], "", [400, 401]),
        ("a byte behind a good token", &format!("authorization: Bearer {token}"), b"\xa0", "", [400, 401]),
        ("half a character", "authorization: Bearer ", b"\xe2\x82", "", [400, 401]),
        ("a scheme that is no text", "authorization: ", b"\xc3\x28 x", "", [400, 401]),
        ("a cookie that is no text", "cookie: portal_session=", b"\xff", "", [400, 401]),
        ("a host that is no text", "host: ", b"\xff", "", [400, 400]),
    ] {
        let path = if before.starts_with("cookie") { "/portal/session" } else { "/v1/me" };
        let host = if before.starts_with("host") { "" } else { "host: x\r\n" };
        let head = format!("GET {path} HTTP/1.1\r\n{host}{before}");
        let request = [head.as_bytes(), bytes, after.as_bytes(), b"\r\n\r\n"].concat();
        let mut connection = daemon.nobody().connect();
        connection.send(request);
        let status = connection.answer().status;
        assert!(right.contains(&status), "{what}: {status}");
    }
    let mut connection = daemon.nobody().connect();
    let mut request =
        format!("GET /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx: ").into_bytes();
    request.extend_from_slice(b"\xff\xfe\r\n\r\n");
    connection.send(request);
    assert_eq!(connection.answer().status, 200, "another header may hold what it likes");
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
}
