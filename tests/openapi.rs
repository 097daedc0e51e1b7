//! The description of the API and the API are one: every answer of every test goes through the validator
//! of `support::openapi`; here the routes are walked that have no story of their own, and the validator
//! is shown to find fault.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

mod support;

use support::openapi::fits;
use support::*;

#[test]
fn a_session_through_every_system_gives_no_answer_that_is_not_described() {
    let daemon = Setup::new().service("scheduler", &["admin"]).start();
    let admin = daemon.first_admin();
    let root = daemon.root();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/.well-known/oauth-authorization-server",
        "/v1/setup",
    ] {
        daemon.nobody().get(path).expect(200);
        daemon.nobody().head(path);
        assert_eq!(daemon.nobody().post(path, json!({})).status / 100, 4);
    }
    daemon.nobody().get("/v1/me").expect(401);
    admin.get("/v1/me").expect(200);
    let user = daemon.user("ada@example.org", &[]);
    root.get("/v1/users?limit=1").expect(200);
    root.get(&format!("/v1/users/{}", user.id)).expect(200);
    root.get("/v1/users/user_0").expect(404);
    root.post("/v1/users", json!({"email": "ada@example.org"})).refused(409, "email_exists");
    let pat = admin.mint_pat(json!({"name": "x", "max_uses": 5, "metadata": {"a": 1}}));
    let jwt = admin.mint_pat(json!({"name": "y", "format": "jwt", "allowed_ips": ["10.0.0.0/8"]}));
    let id = text_of(&pat, "id");
    admin.get("/v1/tokens").expect(200);
    admin.get(&format!("/v1/tokens/{id}")).expect(200);
    admin.patch(&format!("/v1/tokens/{id}"), json!({"name": "z"})).expect(200);
    admin.post(&format!("/v1/tokens/{id}/rotate"), json!({"overlap_seconds": 60})).expect(201);
    root.get("/v1/admin/tokens?kind=pat").expect(200);
    let filter = json!({"kind": "pat", "dry_run": true});
    root.post("/v1/admin/tokens/revoke", filter).expect(200);
    root.post("/v1/admin/tokens/lookup", json!({"token": pat["token"]})).expect(200);
    admin.get("/v1/sessions").expect(200);
    for token in [&pat["token"], &jwt["token"], &json!("nonsense"), &json!(admin.token())] {
        let token = token.as_str().unwrap();
        root.form("/v1/introspect", &[("token", token), ("client_ip", "10.0.0.1")]).expect(200);
        daemon.nobody().form("/v1/introspect", &[("token", token)]).expect(401);
        daemon.bearer(token).get("/v1/authorize");
        daemon.bearer(token).request("PURGE", "/v1/authorize/@nope/x").send();
        root.post("/v1/admin/explain", json!({"token": token, "policy": "default"})).expect(200);
    }
    let tokens = json!([pat["token"], "x", user.token()]);
    admin.post("/v1/introspect/batch", json!({"tokens": tokens})).expect(200);
    admin.post("/v1/introspect/batch", json!({"tokens": 1})).names_field("tokens");
    daemon.nobody().form("/v1/revoke", &[("token", jwt["token"].as_str().unwrap())]).expect(200);
    daemon.nobody().form("/v1/revoke", &[]).expect(400);
    let host =
        daemon.host_with("web", json!({"credentials": {"key": "v"}, "facts": {"a": [1]}, "tags": ["t"]}));
    daemon.enrollment(json!({"hostname": "x"}));
    root.get("/v1/enrollments").expect(200);
    root.get("/v1/hosts").expect(200);
    host.get(&format!("/v1/hosts/{}", host.id)).expect(200);
    host.get(&format!("/v1/hosts/{}/credentials", host.id)).expect(200);
    host.get("/v1/me").expect(200);
    root.post(&format!("/v1/hosts/{}/rotate", host.id), json!({})).expect(201);
    let client = daemon.client("acme");
    let link = daemon.link(&client, json!({"label": "for Ada"}));
    root.get("/v1/clients").expect(200);
    root.get(&format!("/v1/clients/{client}/links")).expect(200);
    let cookie = daemon.portal_cookie(link["token"].as_str().unwrap());
    daemon.browser(&cookie).get("/portal/session").expect(200);
    daemon.browser(&cookie).get("/v1/authorize").expect(403);
    root.put("/v1/projects/p1/client", json!({"client_id": client})).expect(200);
    root.post("/v1/projects/p1/preview", json!({})).expect(200);
    root.get("/v1/audit").expect(200);
    admin.delete("/v1/sessions/current").expect(204);
}

#[track_caller]
fn check(schema: Value, value: Value, is_fine: bool) {
    let document = json!({"components": {"schemas": {"S": {"type": "string"}}}});
    assert_eq!(fits(&document, &schema, &value, "").is_ok(), is_fine, "{schema} {value}");
}

#[test]
fn the_validator_finds_fault() {
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": false});
    check(object.clone(), json!({"a": "x"}), true);
    check(object.clone(), json!({}), false);
    check(object.clone(), json!({"a": 1}), false);
    check(object.clone(), json!({"a": "x", "b": 1}), false);
    check(object, json!([]), false);
    check(json!({"type": "integer", "minimum": 0}), json!(0), true);
    check(json!({"type": "integer", "minimum": 0}), json!(-1), false);
    check(json!({"type": "integer"}), json!(0.5), false);
    check(json!({"type": "string", "format": "date-time"}), json!("2026-01-31T12:00:00Z"), true);
    check(json!({"type": "string", "format": "date-time"}), json!("2026-01-31T12:00:00.5Z"), false);
    check(json!({"type": "array", "items": {"$ref": "#/components/schemas/S"}}), json!(["x"]), true);
    check(json!({"type": "array", "items": {"$ref": "#/components/schemas/S"}}), json!([1]), false);
    check(json!({"oneOf": [{"type": "string"}, {"type": "null"}]}), json!(null), true);
    check(json!({"oneOf": [{"type": "string"}, {"type": "string"}]}), json!("x"), false);
    check(json!({"enum": ["x"]}), json!("y"), false);
    check(json!({"const": false}), json!(true), false);
    check(json!({"type": ["string", "null"], "maxLength": 2}), json!("äö"), true);
    check(json!({"type": ["string", "null"]}), json!(null), true);
    check(json!({"type": ["string", "null"]}), json!(1), false);
    check(json!({"maxLength": 2}), json!("abc"), false);
    check(json!({"maxItems": 1}), json!([1, 2]), false);
    check(json!({"maximum": 1}), json!(1), true);
    for beyond in [json!(2), json!(1.5), json!(u64::MAX)] {
        check(json!({"maximum": 1}), beyond, false);
    }
    check(json!({"pattern": "x"}), json!("x"), false);
}

#[test]
fn a_null_that_is_granted_is_described_as_such() {
    let daemon = Daemon::start();
    let admin = daemon.first_admin();
    admin.mint_pat(json!({"name": "x", "format": null}));
    daemon
        .root()
        .post("/v1/admin/tokens/revoke", json!({"kind": null, "user": admin.id, "dry_run": true}))
        .expect(200);
}

#[test]
fn the_query_of_a_link_is_described_though_others_are_passed_over() {
    let daemon = Daemon::start();
    let document = daemon.nobody().get("/openapi.json").expect(200);
    let parameters = |method: &str| document["paths"]["/portal/enter"][method]["parameters"].clone();
    assert_eq!(
        (&parameters("get")[0]["name"], &parameters("get")[0]["required"]),
        (&json!("token"), &json!(true))
    );
    assert_eq!(parameters("post"), json!([]), "a button that is pressed sends a form");
}

#[test]
fn leaving_the_portal_is_described_for_programs_and_for_people() {
    let daemon = Daemon::start();
    let link = daemon.link(&daemon.client("acme"), json!({}));
    let cookie = daemon.portal_cookie(link["token"].as_str().unwrap());
    let browser = daemon.browser(&cookie);
    browser.form("/portal/logout", &[]).expect(204);
    let page = browser.request("POST", "/portal/logout").with("accept", "text/html").form(&[]).send();
    assert_eq!(page.status, 200, "{}", page.text());
}

/// Nobody who asks over HTTP names a file, a folder, a program or a place for logs: no request has such a field.
#[test]
fn no_field_of_a_request_names_a_file_or_a_destination() {
    let daemon = Daemon::start();
    let document = daemon.nobody().get("/openapi.json").expect(200);
    let mut fields = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let content = &operation["requestBody"]["content"];
            for body in content.as_object().into_iter().flat_map(serde_json::Map::values) {
                names_of(&document, &body["schema"], &mut |name| fields.push(format!("{path}: {name}")));
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                fields.push(format!("{path}: {}", text_of(parameter, "name")));
            }
        }
    }
    assert!(fields.len() > 60, "{fields:?}");
    for field in &fields {
        let name = field.split(": ").nth(1).unwrap();
        for word in
            ["file", "path", "dir", "folder", "log", "socket", "command", "exec", "listen", "destination"]
        {
            assert!(!name.split('_').any(|part| part == word), "{field}");
        }
    }
}

/// Every name of a member in a schema, wherever it stands.
fn names_of(document: &Value, schema: &Value, each: &mut dyn FnMut(&str)) {
    if let Some(place) = schema["$ref"].as_str() {
        let name = place.rsplit('/').next().unwrap();
        return names_of(document, &document["components"]["schemas"][name], each);
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        each(name);
        names_of(document, member, each);
    }
    if schema["items"].is_object() {
        names_of(document, &schema["items"], each);
    }
}
