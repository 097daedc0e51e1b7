//! No secret is found anywhere it should not be: not in the store, the log, the audit log, the
//! metrics, an error, after a whole day of use at the loudest log level.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use support::people::{PASSWORD, enrolling, service_secret};
use support::*;

#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn note(&mut self, what: &str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 12, "{what} is too short to be searched for: {secret}");
        self.0.insert(secret.clone(), what.to_owned());
        secret
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, bytes: &[u8]) {
        for (secret, what) in &self.0 {
            assert!(!contains(bytes, secret.as_bytes()), "{what} is in {place}");
            // Nor its random part alone, as a dump of fields would show it.
            if secret.starts_with("bdr_") {
                assert!(
                    !contains(bytes, &secret.as_bytes()[34..77]),
                    "the secret part of {what} is in {place}"
                );
            }
        }
    }
}

fn a_day(daemon: &Daemon, secrets: &mut Secrets) {
    let install = secrets.note("an install token", daemon.install_token());
    secrets.note("a password", PASSWORD);
    let admin = daemon.first_admin();
    secrets.note("a session", admin.token());
    daemon
        .nobody()
        .post("/v1/setup", json!({"install_token": install, "email": "x@example.org", "password": PASSWORD}))
        .expect(409);
    for wrong in ["canary-wrong-password-1", "canary-wrong-password-2"] {
        secrets.note("a wrong password", wrong);
        daemon
            .nobody()
            .post("/v1/sessions", json!({"email": "first@example.org", "password": wrong}))
            .expect(401);
    }
    let email = secrets.note("a password typed as an e-mail", "canary-password-in-email");
    daemon.nobody().post("/v1/sessions", json!({"email": email, "password": "x"})).expect(401);
    let next = secrets.note("a new password", "canary-new-password-1");
    admin.patch("/v1/me", json!({"password": next, "current_password": PASSWORD}));
    let again = daemon
        .nobody()
        .post("/v1/sessions", json!({"email": "first@example.org", "password": next}))
        .expect(201);
    let admin = daemon.bearer(&secrets.note("a session", text_of(&again, "token")));

    for format in ["opaque", "jwt"] {
        let body = if format == "jwt" { json!({"name": "n", "format": "jwt"}) } else { json!({"name": "n"}) };
        let made = admin.mint_pat(body);
        let token = secrets.note("a PAT", text_of(&made, "token"));
        daemon.bearer(&token).get("/v1/me").expect(200);
        daemon.bearer(&token).get("/v1/authorize").expect(200);
        daemon.bearer(&token).post("/v1/tokens", json!({"name": "no"})).expect(403);
        daemon.is_active(&token);
        daemon.root().post("/v1/introspect/batch", json!({"tokens": [token]})).expect(200);
        admin.post("/v1/admin/tokens/lookup", json!({"token": token})).expect(200);
        daemon.cli_with(&["explain"], &token);
        daemon.cli_with(&["verify", "-"], &token).expect(0);
        let rotated =
            admin.post(&format!("/v1/tokens/{}/rotate", text_of(&made, "id")), json!({})).expect(201);
        let rotated = secrets.note("a rotated PAT", text_of(&rotated, "token"));
        daemon.bearer(&token).get("/v1/me").expect(401);
        daemon.nobody().form("/v1/revoke", &[("token", &rotated)]).expect(200);
        daemon.bearer(&rotated).get("/v1/me").expect(401);
        // In every wrong place.
        daemon.nobody().get(&format!("/v1/me?access_token={rotated}"));
        daemon.nobody().get(&format!("/{rotated}"));
        daemon.nobody().with("x-api-key", &rotated).get("/v1/me");
        daemon.nobody().with("cookie", &format!("portal_session={rotated}")).get("/portal/session");
        daemon.nobody().with("authorization", &format!("Basic {rotated}")).get("/v1/me");
        daemon.nobody().post("/v1/tokens", json!({"token": rotated, rotated.clone(): 1}));
        admin.request("POST", "/v1/tokens").body("application/json", format!("{{\"name\": {rotated}")).send();
        admin.get(&format!("/v1/tokens/{rotated}"));
        admin.get(&format!("/v1/tokens?cursor={rotated}"));
        admin.post("/v1/tokens", json!({"name": "n", "format": rotated}));
        let mut connection = daemon.nobody().connect();
        connection.send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rotated}\r\nauthorization: Bearer {rotated}\r\n\r\n"));
        connection.rest();
    }

    let credentials = secrets.note("a credential", "canary-sealed-credential");
    let made = daemon.enrollment(json!({"credentials": {"password": credentials}}));
    let enrollment = secrets.note("an enrolment token", text_of(&made, "token"));
    let attempt = secrets.note("an attempt", "canary-attempt-0123456789");
    let mut body = enrolling(&enrollment, "web-1");
    body["attempt"] = json!(attempt);
    let enrolled = daemon.nobody().post("/v1/enroll", body.clone()).expect(201);
    daemon.nobody().post("/v1/enroll", body).expect(201);
    daemon.nobody().post("/v1/enroll", enrolling(&enrollment, "web-2")).expect(401);
    let agent = daemon.bearer(&secrets.note("an agent token", text_of(&enrolled, "agent_token")));
    let host = format!("/v1/hosts/{}", text_of(&enrolled, "host_id"));
    agent.get(&format!("{host}/credentials")).expect(200);
    let put = secrets.note("a put credential", "canary-put-credential");
    daemon.root().put(&format!("{host}/credentials"), json!({"k": put}));
    let rotated = daemon.root().post(&format!("{host}/rotate"), json!({})).expect(201);
    secrets.note("a rotated agent token", text_of(&rotated, "agent_token"));

    let link = daemon.link(&daemon.client("acme"), json!({}));
    let link_token = secrets.note("a link", text_of(&link, "token"));
    let cookie = daemon.portal_cookie(&link_token);
    let cookie_value = secrets.note("a portal cookie", cookie.split_once('=').unwrap().1);
    daemon.browser(&cookie).get("/portal/session").expect(200);
    daemon.nobody().get(&format!("/portal/enter?token={link_token}x")).expect(401);
    daemon.bearer(&cookie_value).get("/v1/me").expect(401);
    let preview = daemon.root().post("/v1/projects/p/preview", json!({})).expect(200);
    let shown = text_of(&preview, "cookie");
    secrets.note(
        "a preview's cookie",
        shown.split_once('=').map_or(shown.as_str(), |(_, value)| value).split(';').next().unwrap(),
    );

    let service = daemon.service("scheduler");
    secrets.note("a service secret", service.secret.clone());
    service.get("/v1/me").expect(200);
    daemon.is_active(&service.secret);
    let new = secrets.note("the next service secret", service_secret("next"));
    daemon.rewrite("scheduler.secret", format!("{}\n{new}\n", service.secret));
    daemon.cli(&["reload"]).expect(0);
    let short = secrets.note("a secret that is too short", "canary-too-short-secret");
    daemon.rewrite("scheduler.secret", &short);
    daemon.cli(&["reload"]).expect(1);
}

#[test]
fn no_secret_reaches_the_disk_the_log_the_audit_log_or_the_metrics() {
    let mut daemon = Setup::new().service("scheduler", &["admin"]).variable("BEARERD_LOG", "trace").start();
    let mut secrets = Secrets::default();
    a_day(&daemon, &mut secrets);
    let keyring = std::fs::read_to_string(daemon.data().join("keyring")).unwrap();
    let key =
        keyring.lines().find_map(|line| line.strip_prefix("current ")).unwrap().split(' ').nth(1).unwrap();
    let key = key.trim().to_owned();

    let audit = daemon.cli(&["audit", "export"]).expect(0).to_owned();
    secrets.are_not_in("the exported audit log", audit.as_bytes());
    secrets.are_not_in("the metrics", &daemon.nobody().get("/metrics").body);
    secrets.are_not_in("the status", daemon.cli(&["status", "--json"]).stdout.as_bytes());
    let lists = [
        "/v1/admin/tokens?limit=500",
        "/v1/users",
        "/v1/hosts",
        "/v1/enrollments",
        "/v1/clients",
        "/v1/audit?limit=500",
    ];
    for list in lists {
        secrets.are_not_in(list, &daemon.root().get(list).body);
    }
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    let live = std::fs::read(daemon.store()).unwrap();
    secrets.are_not_in("the live store", &live);
    assert_eq!(daemon.stop().code(), Some(0));
    secrets.note("a root key", key);
    for path in files_below(&daemon.data()).into_iter().chain([daemon.file("copy.redb")]) {
        if path.file_name().is_some_and(|name| name == "keyring") {
            continue;
        }
        secrets.are_not_in(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    secrets.are_not_in("the log", daemon.stderr().as_bytes());
}

fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_log_tells_the_reason_that_the_answer_hides() {
    let daemon = Setup::new().variable("BEARERD_LOG", "info").start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let id = text_of(&made, "id");
    anna.delete(&format!("/v1/tokens/{id}")).expect(204);
    daemon.bearer(&text_of(&made, "token")).get("/v1/me").expect(401);
    eventually("the reason in the log", || {
        daemon.stderr().lines().any(|line| line.contains(&id) && line.contains("revoked")).then_some(())
    });
    let metrics = daemon.nobody().get("/metrics").text();
    assert!(metrics.lines().any(|line| line.contains("revoked") && line.ends_with(" 1")), "{metrics}");
    assert!(!metrics.contains(&id) && !metrics.contains("anna@example.org"), "counts only");
}

#[test]
fn errors_show_nothing_of_what_was_sent() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let canary = "canary-of-a-request-body";
    for body in [
        format!("{{\"name\": \"{canary}"),
        format!("{{\"name\": {canary}}}"),
        format!("{{\"expires_in_days\": \"{canary}\", \"name\": \"n\"}}"),
        format!("[\"{canary}\"]"),
        format!("\"{canary}\""),
    ] {
        let answer = anna.request("POST", "/v1/tokens").body("application/json", &body).send();
        answer.expect(400);
        assert!(!answer.text().contains(canary), "{body}: {}", answer.text());
    }
    for path in [
        format!("/{canary}"),
        format!("/v1/tokens/{canary}"),
        format!("/v1/tokens?cursor={canary}"),
        format!("/v1/tokens?limit={canary}"),
    ] {
        let answer = anna.get(&path);
        assert!(answer.status >= 400);
        assert!(!answer.text().contains(canary), "{path}: {}", answer.text());
    }
}
