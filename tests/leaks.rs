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

/// Where a secret can end up that was typed, pasted or sent into the wrong place: each with `{c}` where it stands.
/// `{b}` is a good bearer; what stands before the first space of a row's second word says how it is sent.
const WRONG_PLACES: &[(&str, &str)] = &[
    ("a bearer", "GET /v1/me\nauthorization: Bearer {c}"),
    ("a bearer of our shape", "GET /v1/me\nauthorization: Bearer bdr_pat_{c}"),
    ("a bearer like a JWT", "GET /v1/me\nauthorization: Bearer eyJhbGciOiJIUzI1NiJ9.{c}.{c}"),
    ("another scheme", "GET /v1/me\nauthorization: Digest {c}"),
    ("no scheme", "GET /v1/me\nauthorization: {c}"),
    ("a second bearer", "GET /v1/me\nauthorization: Bearer {b}\nauthorization: Bearer {c}"),
    ("behind a bearer", "GET /v1/me\nauthorization: Bearer {b} {c}"),
    ("a key's header", "GET /v1/me\nx-api-key: {c}"),
    ("another cookie", "GET /portal/session\ncookie: session={c}"),
    ("the portal's cookie", "GET /portal/session\ncookie: portal_session={c}"),
    ("a cookie of our shape", "GET /portal/session\ncookie: portal_session=v1.k.{c}.{c}"),
    ("two cookies", "GET /portal/session\ncookie: portal_session={c}; portal_session=x"),
    ("a forwarded address", "GET /v1/me\nx-forwarded-for: {c}"),
    ("a forwarding header", "GET /v1/me\nforwarded: for={c}"),
    ("a twin of a header", "GET /v1/me\nx_forwarded_for: {c}"),
    ("the user agent", "GET /v1/me\nuser-agent: {c}"),
    ("the referer", "GET /v1/me\nreferer: https://x/{c}"),
    ("the origin", "POST /portal/logout\norigin: https://{c}"),
    ("the accepted types", "GET /v1/me\naccept: {c}"),
    ("the body's type", "POST /v1/tokens\nauthorization: Bearer {b}\ncontent-type: {c}\n\nx"),
    ("the body's coding", "POST /v1/tokens\nauthorization: Bearer {b}\ncontent-encoding: {c}\n\nx"),
    ("an expectation", "GET /v1/me\nexpect: {c}"),
    ("the transfer's coding", "POST /v1/tokens\ntransfer-encoding: {c}"),
    ("the connection's options", "GET /v1/me\nconnection: {c}"),
    ("an upgrade", "GET /v1/me\nupgrade: {c}"),
    ("the host", "GET /v1/me\nhost: {c}@x"),
    ("a header's name", "GET /v1/me\nx{c}: y"),
    ("a broken header", "GET /v1/me\n{c}"),
    ("a folded header", "GET /v1/me\nx: y\n {c}"),
    ("a method", "{c} /v1/me"),
    ("a version", "GET /v1/me HTTP/{c}"),
    ("a path", "GET /{c}"),
    ("an id of a token", "GET /v1/tokens/{c}\nauthorization: Bearer {b}"),
    ("an id of a user", "GET /v1/users/{c}\nauthorization: Bearer {b}"),
    ("an id of a host", "DELETE /v1/hosts/{c}\nauthorization: Bearer {b}"),
    ("a policy", "GET /v1/authorize/@{c}"),
    ("behind a policy", "GET /v1/authorize/@default/{c}?{c}"),
    ("a query", "GET /v1/me?access_token={c}"),
    ("a query's name", "GET /v1/tokens?{c}=1\nauthorization: Bearer {b}"),
    ("a cursor", "GET /v1/tokens?cursor={c}\nauthorization: Bearer {b}"),
    ("a limit", "GET /v1/tokens?limit={c}\nauthorization: Bearer {b}"),
    ("a filter", "GET /v1/admin/tokens?user={c}\nauthorization: Bearer {b}"),
    ("a moment", "GET /v1/audit?since={c}\nauthorization: Bearer {b}"),
    ("an absolute target", "GET http://{c}/v1/me"),
    ("a link", "GET /portal/enter?token={c}\naccept: text/html"),
    ("a pressed link", "FORM /portal/enter\n\ntoken={c}"),
    ("half a link", "GET /portal/enter?token=bdr_lnk_{c}"),
    ("JSON that does not end", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": \"{c}"),
    ("no JSON", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{c}"),
    ("a bare word", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": {c}}"),
    ("a list", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n[\"{c}\"]"),
    ("an unknown member", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"{c}\": 1, \"name\": \"n\"}"),
    (
        "a wrong format",
        "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": \"n\", \"format\": \"{c}\"}",
    ),
    (
        "a wrong type",
        "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": \"n\", \"ttl_seconds\": \"{c}\"}",
    ),
    (
        "a wrong address",
        "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": \"n\", \"allowed_ips\": [\"{c}\"]}",
    ),
    ("members twice", "JSON /v1/tokens\nauthorization: Bearer {b}\n\n{\"name\": \"{c}\", \"name\": \"{c}\"}"),
    (
        "an install token",
        "JSON /v1/setup\n\n{\"install_token\": \"{c}\", \"email\": \"a@example.org\", \"password\": \"{c}\"}",
    ),
    ("a password", "JSON /v1/sessions\n\n{\"email\": \"a@example.org\", \"password\": \"{c}\"}"),
    ("a password as an e-mail", "JSON /v1/sessions\n\n{\"email\": \"{c}\", \"password\": \"{c}\"}"),
    (
        "a current password",
        "PATCH /v1/me\nauthorization: Bearer {b}\n\n{\"password\": \"{c}\", \"current_password\": \"{c}\"}",
    ),
    (
        "a user's password",
        "JSON /v1/users\nauthorization: Bearer {b}\n\n{\"email\": \"{n}@example.org\", \"password\": \"{c}\"}",
    ),
    (
        "an enrolment token",
        "JSON /v1/enroll\n\n{\"token\": \"{c}\", \"hostname\": \"h\", \"os\": \"o\", \"arch\": \"a\", \"attempt\": \"{c}\"}",
    ),
    (
        "sealed credentials",
        "JSON /v1/enrollments\nauthorization: Bearer {b}\n\n{\"credentials\": {\"{c}\": \"{c}\"}}",
    ),
    (
        "credentials of no kind",
        "JSON /v1/enrollments\nauthorization: Bearer {b}\n\n{\"credentials\": \"{c}\"}",
    ),
    (
        "a token that was found",
        "JSON /v1/admin/tokens/lookup\nauthorization: Bearer {b}\n\n{\"token\": \"{c}\"}",
    ),
    ("an introspected token", "FORM /v1/introspect\nauthorization: Bearer {b}\n\ntoken={c}"),
    ("a client's secret", "FORM /v1/introspect\n\ntoken=x&client_id=gateway&client_secret={c}"),
    ("a client's name", "FORM /v1/introspect\n\ntoken=x&client_id={c}&client_secret=x"),
    ("an address that is a token", "FORM /v1/introspect\nauthorization: Bearer {b}\n\ntoken=x&client_ip={c}"),
    ("a revoked token", "FORM /v1/revoke\n\ntoken={c}"),
    ("two tokens", "FORM /v1/revoke\n\ntoken={c}&token={c}"),
    ("a broken form", "FORM /v1/revoke\n\ntoken={c}%z"),
    ("a batch", "JSON /v1/introspect/batch\nauthorization: Bearer {b}\n\n{\"tokens\": [\"{c}\", 1]}"),
    ("an imported line", "JSON /v1/admin/import\nauthorization: Bearer {b}\n\n{\"lines\": [\"{c}\"]}"),
    ("a body that is too long", "LONG /v1/setup\n\n{c}"),
    ("a broken chunk", "CHUNK /v1/setup\n\n{c}"),
    ("noise", "RAW {c}"),
];

/// One row as the bytes of a request.
fn sent(row: &str, canary: &str, number: usize, bearer: &str) -> Vec<u8> {
    let row = row.replace("{c}", canary).replace("{b}", bearer).replace("{n}", &number.to_string());
    let (head, body) = row.split_once("\n\n").unwrap_or((&row, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let (word, target) = line.split_once(' ').unwrap();
    let mut lines: Vec<String> = headers.lines().map(str::to_owned).collect();
    let mut body = body.to_owned();
    let method = match word {
        "RAW" => return format!("{target}\r\n\r\n").into_bytes(),
        "JSON" | "LONG" | "CHUNK" | "FORM" => "POST",
        other => other,
    };
    match word {
        "FORM" => lines.push("content-type: application/x-www-form-urlencoded".to_owned()),
        "JSON" | "LONG" | "CHUNK" | "PATCH" => lines.push("content-type: application/json".to_owned()),
        _ => {}
    }
    if word == "LONG" {
        body = body.repeat(70_000 / body.len());
    }
    if word == "CHUNK" {
        lines.push("transfer-encoding: chunked".to_owned());
    } else if !body.is_empty() {
        lines.push(format!("content-length: {}", body.len()));
    }
    if !lines.iter().any(|line| line.starts_with("host:")) {
        lines.push("host: x".to_owned());
    }
    let target = if target.contains(" HTTP/") { target.to_owned() } else { format!("{target} HTTP/1.1") };
    format!("{method} {target}\r\n{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

/// Each with a canary of its own; whatever came of it, the canary is in no answer, log line, entry, metric or file, nor
/// is its hash in any that people read.
#[test]
fn sixty_ways_to_misplace_a_secret_and_it_shows_nowhere() {
    let mut daemon = Setup::new().service("gateway", &["admin"]).variable("BEARERD_LOG", "trace").start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    assert!(WRONG_PLACES.len() >= 60, "{}", WRONG_PLACES.len());
    let mut canaries = Vec::new();
    for (number, (what, row)) in WRONG_PLACES.iter().enumerate() {
        let canary = format!("canary~{number:02}~{}", &sha256_hex(what)[..24]);
        let mut connection = daemon.nobody().connect();
        connection.send(sent(row, &canary, number, admin.token()));
        connection.half_close();
        let answer = connection.rest();
        assert!(!contains(&answer, canary.as_bytes()), "{what}: {}", String::from_utf8_lossy(&answer));
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{what}: {}", String::from_utf8_lossy(&answer));
        canaries.push((*what, canary));
    }
    for (what, arguments) in [
        ("explained", &["explain"][..]),
        ("verified", &["verify", "-"]),
        ("looked up", &["token", "lookup", "-"]),
    ] {
        let canary = format!("canary~{what}~{}", &sha256_hex(what)[..24]).replace(' ', "-");
        let outcome = daemon.cli_with(arguments, &canary);
        assert!(!(outcome.stdout + &outcome.stderr).contains(&canary), "{what}");
        canaries.push((what, canary));
    }
    let secret = daemon.service("gateway").secret.clone();
    daemon.bearer(&secret).get("/v1/me").expect(200);
    daemon.rewrite("gateway.secret", "canary~of-a-secret-short");
    daemon.cli(&["reload"]).expect(1);
    canaries.push(("a service's secret", secret));
    canaries.push(("a secret that is too short", "canary~of-a-secret-short".to_owned()));

    let audit = daemon.cli(&["audit", "export"]).expect(0).to_owned();
    let shown = [
        ("the audit log", audit.into_bytes()),
        ("the metrics", daemon.nobody().get("/metrics").body),
        ("the health", daemon.nobody().get("/healthz").body),
        ("the readiness", daemon.nobody().get("/readyz").body),
        ("the status", daemon.cli(&["status", "--json"]).stdout.into_bytes()),
        ("the arguments", std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap()),
        ("the environment", std::fs::read(format!("/proc/{}/environ", daemon.id())).unwrap()),
        ("standard output", daemon.stdout().into_bytes()),
    ];
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    assert_eq!(daemon.stop().code(), Some(0));
    let log = daemon.stderr().into_bytes();
    assert!(log.len() > 10_000, "the log is at its loudest");
    let files: Vec<_> = files_below(&daemon.data()).into_iter().chain([daemon.file("copy.redb")]).collect();
    let files: Vec<_> =
        files.into_iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect();
    let hashes: BTreeMap<String, &str> =
        canaries.iter().map(|(what, canary)| (sha256_hex(canary), *what)).collect();
    for (place, bytes) in shown.iter().chain([&("the log", log)]) {
        let text = String::from_utf8_lossy(bytes);
        for word in text.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|word| word.len() == 64) {
            assert_eq!(hashes.get(&word.to_ascii_lowercase()), None, "a hash is in {place}");
        }
    }
    let places = shown.iter().map(|(place, bytes)| ((*place).to_owned(), bytes.clone()));
    for (place, bytes) in places.chain([("the log".to_owned(), daemon.stderr().into_bytes())]).chain(files) {
        // All of them begin alike, but for the service's secret.
        if contains(&bytes, b"canary~") || contains(&bytes, canaries[canaries.len() - 2].1.as_bytes()) {
            let found: Vec<_> =
                canaries.iter().filter(|(_, canary)| contains(&bytes, canary.as_bytes())).collect();
            panic!("in {place}: {found:?}");
        }
    }
}
