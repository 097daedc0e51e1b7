//! Status, body and headers of each problem.

use serde_json::{Value, json};

use super::*;

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(reply.bytes().unwrap()).unwrap()
}

#[track_caller]
fn check(problem: Problem, status: u16, code: &str) {
    assert_eq!(problem.code(), code);
    let reply = problem.into_reply();
    assert_eq!(reply.status(), status);
    assert_eq!(reply.headers()["content-type"], "application/problem+json");
    assert_eq!(reply.headers()["cache-control"], "no-store");
    let body = body(&reply);
    assert_eq!(body["type"], format!("urn:bearerd:problem:{code}"));
    assert_eq!(body["status"], status);
    assert_eq!(body["code"], code);
    assert!(!body["title"].as_str().unwrap().is_empty());
    assert!(!body["detail"].as_str().unwrap().is_empty());
}

#[test]
fn every_problem_has_its_status_and_code() {
    check(Problem::BadRequest("No.".into()), 400, "bad_request");
    check(Problem::InvalidJson, 400, "invalid_json");
    check(Problem::field("name", "too long"), 400, "invalid_field");
    check(Problem::missing("name"), 400, "missing_field");
    check(Problem::InvalidToken, 400, "invalid_token");
    check(Problem::Unauthenticated(Presented::Nothing), 401, "unauthenticated");
    check(Problem::Forbidden { scope: None }, 403, "forbidden");
    check(Problem::NotFound, 404, "not_found");
    check(Problem::MethodNotAllowed { allow: "GET".into() }, 405, "method_not_allowed");
    check(Problem::RequestTimeout, 408, "request_timeout");
    check(Problem::Conflict("No.".into()), 409, "conflict");
    check(Problem::HostExists, 409, "host_exists");
    check(Problem::EmailExists, 409, "email_exists");
    check(Problem::SlugExists, 409, "slug_exists");
    check(Problem::SetupComplete, 409, "setup_complete");
    check(Problem::LastAdmin, 409, "last_admin");
    check(Problem::TooLarge, 413, "too_large");
    check(Problem::TargetTooLong, 414, "too_large");
    check(Problem::UnsupportedMediaType, 415, "unsupported_media_type");
    check(Problem::ExpectationFailed, 417, "expectation_failed");
    check(Problem::ReloadRefused(vec!["one".into(), "two".into()]), 422, "reload_refused");
    check(Problem::RateLimited { retry_after_seconds: 7 }, 429, "rate_limited");
    check(Problem::HeadTooLarge, 431, "too_large");
    check(Problem::Internal, 500, "internal");
    check(Problem::Unavailable, 503, "unavailable");
    check(Problem::StorageFull, 507, "storage_full");
}

#[test]
fn a_problem_with_a_field_names_it_and_no_other_does() {
    let invalid = body(&Problem::field("name", "must be 1 to 200 characters").into_reply());
    assert_eq!(invalid["field"], "name");
    assert_eq!(invalid["detail"], "name: must be 1 to 200 characters");
    assert_eq!(body(&Problem::missing("name").into_reply())["field"], "name");
    assert_eq!(body(&Problem::NotFound.into_reply()).get("field"), None);
}

#[test]
fn every_401_has_the_same_bytes_and_its_own_challenge() {
    let [nothing, bearer, client] = [Presented::Nothing, Presented::Bearer, Presented::Client]
        .map(|presented| Problem::Unauthenticated(presented).into_reply());
    assert_eq!(nothing.bytes(), bearer.bytes());
    assert_eq!(nothing.bytes(), client.bytes());
    assert_eq!(nothing.headers()["www-authenticate"], "Bearer realm=\"bearerd\"");
    assert_eq!(bearer.headers()["www-authenticate"], "Bearer realm=\"bearerd\", error=\"invalid_token\"");
    let both: Vec<_> = client.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(both, ["Bearer realm=\"bearerd\"", "Basic realm=\"bearerd\""]);
}

#[test]
fn a_403_challenges_only_where_a_scope_is_missing() {
    let scoped = Problem::Forbidden { scope: Some("introspect") }.into_reply();
    assert_eq!(
        scoped.headers()["www-authenticate"],
        "Bearer realm=\"bearerd\", error=\"insufficient_scope\", scope=\"introspect\""
    );
    assert!(!Problem::Forbidden { scope: None }.into_reply().headers().contains_key("www-authenticate"));
}

#[test]
fn headers_that_a_status_calls_for_are_there() {
    assert_eq!(Problem::RateLimited { retry_after_seconds: 7 }.into_reply().headers()["retry-after"], "7");
    assert_eq!(Problem::Unavailable.into_reply().headers()["retry-after"], "1");
    let allow = "GET, HEAD";
    assert_eq!(Problem::MethodNotAllowed { allow: allow.into() }.into_reply().headers()["allow"], allow);
    assert_eq!(Problem::RequestTimeout.into_reply().headers()["connection"], "close");
}

#[track_caller]
fn check_oauth(error: impl Into<OAuthError>, status: u16, word: &str) {
    let reply = error.into().into_reply();
    assert_eq!(reply.status(), status);
    assert_eq!(reply.headers()["cache-control"], "no-store");
    assert_eq!(reply.headers()["pragma"], "no-cache");
    let body = body(&reply);
    assert_eq!(body["error"], word);
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

#[test]
fn the_oauth_shape_keeps_status_and_headers() {
    check_oauth(Problem::missing("token"), 400, "invalid_request");
    check_oauth(Problem::TooLarge, 413, "invalid_request");
    check_oauth(Problem::UnsupportedMediaType, 415, "invalid_request");
    check_oauth(Problem::Unauthenticated(Presented::Client), 401, "invalid_client");
    check_oauth(Problem::Forbidden { scope: Some("introspect") }, 403, "insufficient_scope");
    check_oauth(Problem::Unavailable, 503, "temporarily_unavailable");
    check_oauth(Problem::Internal, 500, "server_error");
    check_oauth(OAuthError::unsupported_token_type(), 400, "unsupported_token_type");
    let reply = OAuthError::from(Problem::Unavailable).into_reply();
    assert_eq!(reply.headers()["retry-after"], "1");
}

#[test]
fn an_oauth_description_has_no_quotes() {
    let reply = OAuthError::from(Problem::BadRequest("a \"b\\c\" é".into())).into_reply();
    assert_eq!(body(&reply), json!({"error": "invalid_request", "error_description": "a bc "}));
}

#[test]
fn without_randomness_nothing_is_minted_and_it_is_a_503() {
    let problem = Problem::from(Failure::NoRandomness);
    assert_eq!((problem.status(), problem.code()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
}
