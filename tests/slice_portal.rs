//! The portal under attack: forged cookies, foreign pages, mail scanners, and the moment in which a door
//! closes. What the portal does for those who mean well stands in `portal.rs`.
//!
//! `BEARERD_TEST_ROUNDS` raises the rounds of the races and of the revocations (10,000 in the thorough run).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

/// How often a story with a race in it is told.
fn rounds(usual: usize) -> usize {
    std::env::var("BEARERD_TEST_ROUNDS").ok().map_or(usual, |rounds| rounds.parse().expect("a number"))
}

/// A client and a link of it: ids, and the link's token.
struct Door {
    client: String,
    link: String,
    token: String,
}

fn door(daemon: &Daemon, slug: &str, wishes: Value) -> Door {
    let client = daemon.client(slug);
    let link = daemon.link(&client, wishes);
    Door { link: text_of(&link, "id"), token: text_of(&link, "token"), client }
}

/// What a session's request is answered, on a connection that stays open.
fn session_on(connection: &mut Connection, cookie: &[u8]) -> u16 {
    let mut request = b"GET /portal/session HTTP/1.1\r\nHost: x\r\nCookie: ".to_vec();
    request.extend_from_slice(cookie);
    request.extend_from_slice(b"\r\n\r\n");
    connection.send(request);
    connection.answer().status
}

#[test]
fn no_flipped_bit_no_prefix_and_no_addition_is_a_cookie() {
    let daemon = Daemon::start();
    let cookie = daemon.portal_cookie(&door(&daemon, "acme", json!({})).token);
    let (name, value) = cookie.split_once('=').unwrap();
    let mut twins: Vec<Vec<u8>> = Vec::new();
    for at in 0..value.len() {
        twins.push(value.as_bytes()[..at].to_vec());
        for bit in 0..8 {
            let mut twin = value.as_bytes().to_vec();
            twin[at] ^= 1 << bit;
            // What no header may carry is the front's to refuse.
            if (0x20..0x7f).contains(&twin[at]) {
                twins.push(twin);
            }
        }
    }
    for end in [".", "=", "==", "A", "%00", ".A", ",x"] {
        twins.push([value.as_bytes(), end.as_bytes()].concat());
        twins.push([end.as_bytes(), value.as_bytes()].concat());
    }
    let caller = daemon.nobody();
    let mut connection = caller.connect();
    for twin in twins {
        let line = [name.as_bytes(), b"=", &twin].concat();
        assert_eq!(session_on(&mut connection, &line), 401, "{}", String::from_utf8_lossy(&twin));
    }
    assert_eq!(session_on(&mut connection, cookie.as_bytes()), 200);
    // Another application's cookie, in whatever encoding, locks nobody out.
    let beside = [b"a=\xfc\xff; ", cookie.as_bytes()].concat();
    assert_eq!(session_on(&mut connection, &beside), 200);
}

#[test]
fn no_other_encoding_of_the_same_bytes_is_a_cookie() {
    let daemon = Daemon::start();
    let cookie = daemon.portal_cookie(&door(&daemon, "acme", json!({})).token);
    let (name, value) = cookie.split_once('=').unwrap();
    let parts: Vec<&str> = value.split('.').collect();
    let [version, key, payload, mac] = parts[..] else { panic!("{value}") };
    let standard = |text: &str| text.replace('-', "+").replace('_', "/");
    for twin in [
        format!("{version}.{key}.{payload}=.{mac}"),
        format!("{version}.{key}.{payload}.{mac}="),
        format!("{version}.{key}.{}.{}", standard(payload), standard(mac)),
        format!("{version}.{}.{payload}.{mac}", key.to_uppercase() + "x"),
        format!("{}.{key}.{payload}.{mac}", version.to_uppercase()),
        format!("{version}%2E{key}.{payload}.{mac}"),
        format!("\"{value}\""),
        format!("{version}.{key}.{payload}"),
        format!("{key}.{payload}.{mac}"),
        format!("{version}.{key}.{payload}.{mac}.{mac}"),
        format!("{version}..{payload}.{mac}"),
        format!("{version}.{key}..{mac}"),
        format!("{version}.{key}.{payload}."),
        "...".to_owned(),
        String::new(),
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJjbGllbnQifQ.".to_owned(),
    ] {
        if twin == value {
            continue;
        }
        assert_eq!(daemon.browser(&format!("{name}={twin}")).get("/portal/session").status, 401, "{twin}");
    }
}

#[test]
fn no_credential_of_another_kind_is_a_cookie() {
    let daemon = Daemon::start();
    let door = door(&daemon, "acme", json!({}));
    let anna = daemon.user("anna@example.org", &["admin"]);
    let jwt = text_of(&anna.mint_pat(json!({"name": "j", "format": "jwt"})), "token");
    for other in [&door.token, &door.link, &door.client, &anna.any_pat(), &jwt, anna.token()] {
        let answer = daemon.browser(&format!("portal_session={other}")).get("/portal/session");
        assert_eq!(answer.status, 401, "{other}");
    }
}

#[test]
fn a_cookie_lives_while_its_key_is_in_the_ring_and_no_longer() {
    let daemon = Daemon::start();
    let token = door(&daemon, "acme", json!({})).token;
    let old = daemon.portal_cookie(&token);
    let keyring = daemon.data().join("keyring");
    let before = std::fs::read_to_string(&keyring).unwrap();
    let next = "current next AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
    let rotated = before.replace("current ", "old ") + next;
    std::fs::write(&keyring, &rotated).unwrap();
    daemon.cli(&["reload"]).expect(0);
    assert_eq!(daemon.browser(&old).get("/portal/session").status, 200, "within its grace");
    let new = daemon.portal_cookie(&token);
    assert!(new.contains("=v1.next."), "only the current key signs: {new}");

    std::fs::write(&keyring, next).unwrap();
    daemon.cli(&["reload"]).expect(0);
    assert_eq!(daemon.browser(&old).get("/portal/session").status, 401, "its key is gone");
    assert_eq!(daemon.browser(&new).get("/portal/session").status, 200);
}

#[test]
fn the_link_survives_every_scanner_and_is_there_for_its_owner() {
    let daemon = Daemon::start();
    let token = door(&daemon, "acme", json!({"single_use": true})).token;
    let path = format!("/portal/enter?token={token}");
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
        ("user-agent", "Mozilla/5.0 (compatible; scanner/1.0; +https://scanner.example)"),
        ("user-agent", ""),
        ("range", "bytes=0-0"),
        ("if-none-match", "*"),
        ("accept", "*/*"),
        ("accept", "image/*"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = daemon.nobody().with(name, value).request(method, &path).send();
            assert_eq!(answer.status, 200, "{method} {name}: {value}");
            assert_eq!(answer.header("set-cookie"), None, "{method} {name}: {value}");
        }
    }
    let pressed = daemon.nobody().form("/portal/enter", &[("token", &token)]);
    assert_eq!(pressed.status, 303, "{}", pressed.text());
}

#[test]
fn other_methods_are_refused_and_change_nothing() {
    let daemon = Daemon::start();
    let token = door(&daemon, "acme", json!({"single_use": true})).token;
    let path = format!("/portal/enter?token={token}");
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = daemon
            .nobody()
            .with("origin", "https://evil.example")
            .with("access-control-request-method", "POST")
            .request(method, &path)
            .send();
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert_eq!(daemon.nobody().request(method, "/portal/logout").send().status, 405, "{method}");
    }
    assert_eq!(daemon.nobody().form("/portal/enter", &[("token", &token)]).status, 303);
}

#[test]
fn a_foreign_page_neither_logs_in_nor_out_and_spends_nothing() {
    let daemon = Daemon::configured("[server]\npublic_url = \"https://portal.example.org\"\n");
    let token = door(&daemon, "acme", json!({"single_use": true})).token;
    let foreign: [&[(&str, &str)]; 9] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://portal.example.org")],
        &[("origin", "https://portal.example.org.evil.example")],
        &[("origin", "https://portal.example.org:8443")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://portal.example.org"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
    ];
    for headers in foreign {
        for accept in ["text/html", "*/*"] {
            let mut caller = daemon.nobody().with("accept", accept);
            for (name, value) in headers {
                caller = caller.with(name, value);
            }
            for (path, fields) in
                [("/portal/enter", vec![("token", token.as_str())]), ("/portal/logout", vec![])]
            {
                let answer = caller.form(path, &fields);
                assert_eq!(answer.status, 403, "{path} {headers:?}");
                assert_eq!(answer.header("set-cookie"), None, "{path} {headers:?}");
                let page = answer.header("content-type").unwrap().starts_with("text/html");
                assert_eq!(page, accept == "text/html");
            }
        }
    }
    let own = daemon.nobody().with("origin", "https://portal.example.org");
    assert_eq!(own.form("/portal/logout", &[]).status, 204);
    // What a browser sends from a page that tells nobody where it is.
    let own = daemon.nobody().with("origin", "null").with("sec-fetch-site", "same-origin");
    assert_eq!(own.form("/portal/enter", &[("token", &token)]).status, 303);
}

#[test]
fn a_cookie_that_was_planted_before_is_replaced() {
    let daemon = Daemon::start();
    let (acme, evil) = (door(&daemon, "acme", json!({})), door(&daemon, "evil", json!({})));
    let planted = daemon.portal_cookie(&evil.token);
    let entered = daemon.browser(&planted).get(&format!("/portal/enter?token={}", acme.token));
    assert_eq!(entered.status, 303);
    let own = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_ne!(own, planted);
    assert_eq!(own.split_once('=').unwrap().0, planted.split_once('=').unwrap().0, "the same name");
    let told = daemon.browser(&own).get("/portal/session").expect(200);
    assert_eq!(told["client"]["id"], acme.client);
}

#[test]
fn what_a_request_says_of_its_host_moves_no_link() {
    let daemon = Daemon::configured("[server]\npublic_url = \"https://portal.example.org\"\n");
    let client = daemon.client("acme");
    let operator = daemon.user("olga@example.org", &["operator"]);
    let mut caller = daemon.bearer(operator.token());
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8443"),
        ("x-host", "evil.example"),
        ("x-original-url", "/evil"),
        ("x-rewrite-url", "/evil"),
        ("forwarded", "host=evil.example;proto=http"),
        ("referer", "https://evil.example/"),
    ] {
        caller = caller.with(name, value);
    }
    let link = caller.post(&format!("/v1/clients/{client}/links"), json!({})).expect(201);
    let url = text_of(&link, "url");
    assert_eq!(url, format!("https://portal.example.org/portal/enter?token={}", text_of(&link, "token")));
    let preview = caller.post("/v1/projects/p/preview", json!({})).expect(200);
    assert_eq!(preview["url"], "https://portal.example.org/");

    // A Host of its own choosing.
    let mut connection = daemon.nobody().connect();
    connection.send(format!(
        "GET /portal/enter?token={} HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        text_of(&link, "token")
    ));
    let answer = connection.answer();
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
}

#[test]
fn a_name_is_text_wherever_it_is_shown() {
    let daemon = Daemon::start();
    let name = "<script>alert(1)</script>\"'&</h1><img src=x onerror=alert(1)>";
    let made = daemon.root().post("/v1/clients", json!({"slug": "acme", "name": name})).expect(201);
    let link = daemon.link(&text_of(&made, "id"), json!({"single_use": true, "label": name}));
    let page = daemon.nobody().get(&format!("/portal/enter?token={}", text_of(&link, "token"))).text();
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    // A token that is markup comes back in no answer at all.
    for accept in ["text/html", "*/*"] {
        let answer = daemon
            .nobody()
            .with("accept", accept)
            .get("/portal/enter?token=%3Cscript%3Ealert(1)%3C%2Fscript%3E");
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains("alert"), "{}", answer.text());
    }
}

#[test]
fn neither_link_nor_cookie_reaches_the_log() {
    let daemon = Setup::new().variable("BEARERD_LOG", "trace").start();
    let many = door(&daemon, "acme", json!({}));
    let once = door(&daemon, "other", json!({"single_use": true}));
    let cookie = daemon.portal_cookie(&many.token);
    let (_, value) = cookie.split_once('=').unwrap();
    daemon.browser(&cookie).get("/portal/session").expect(200);
    daemon.nobody().get(&format!("/portal/enter?token={}", once.token));
    daemon.nobody().form("/portal/enter", &[("token", &once.token)]);
    daemon.nobody().form("/portal/enter", &[("token", &once.token)]).expect(401);
    daemon.root().delete(&format!("/v1/links/{}", many.link)).expect(204);
    daemon.browser(&cookie).get("/portal/session").expect(401);
    let preview = daemon.root().post("/v1/projects/p/preview", json!({})).expect(200);
    eventually("the refusal is logged", || daemon.stderr().contains("revoked").then_some(()));
    let log = daemon.stderr() + &daemon.stdout();
    for secret in [many.token.as_str(), &once.token, value, &text_of(&preview, "cookie")] {
        assert!(!log.contains(secret), "a secret in the log");
    }
    let entries = daemon.root().all("/v1/audit");
    let entries = Value::Array(entries).to_string();
    for secret in [many.token.as_str(), &once.token, value, &text_of(&preview, "cookie")] {
        assert!(!entries.contains(secret), "a secret in the audit log");
    }
}

#[test]
fn a_door_that_was_closed_is_closed_for_the_next_request_on_any_connection() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let operator = daemon.root();
    let mut admin = operator.connect();
    let (one, other) = (daemon.nobody(), daemon.nobody());
    let (mut one, mut other) = (one.connect(), other.connect());
    for round in 0..rounds(200) {
        let link = operator
            .request("POST", &format!("/v1/clients/{client}/links"))
            .json(json!({}))
            .send_on(&mut admin)
            .expect(201);
        one.send(format!("GET /portal/enter?token={} HTTP/1.1\r\nHost: x\r\n\r\n", text_of(&link, "token")));
        let entered = one.answer();
        let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().as_bytes().to_vec();
        assert_eq!((session_on(&mut one, &cookie), session_on(&mut other, &cookie)), (200, 200));
        if round % 2 == 0 {
            let place = format!("/v1/links/{}", text_of(&link, "id"));
            assert_eq!(operator.request("DELETE", &place).send_on(&mut admin).status, 204);
        } else {
            set_active(&operator, &mut admin, &client, false);
        }
        assert_eq!((session_on(&mut other, &cookie), session_on(&mut one, &cookie)), (401, 401), "{round}");
        if round % 2 != 0 {
            set_active(&operator, &mut admin, &client, true);
            assert_eq!(session_on(&mut one, &cookie), 200, "for as long as it lasts");
        }
    }
}

fn set_active(operator: &Caller, admin: &mut Connection, client: &str, active: bool) {
    operator
        .request("PATCH", &format!("/v1/clients/{client}"))
        .json(json!({"active": active}))
        .send_on(admin)
        .expect(200);
}

/// Two POSTs of one token: everything but the last byte of both is there before either can finish, so that
/// they meet. Their statuses, the smaller first.
fn press_together(caller: &Caller, token: &str) -> Vec<u16> {
    let bytes = caller.request("POST", "/portal/enter").form(&[("token", token)]).bytes();
    let (last, most) = bytes.split_last().unwrap();
    let mut connections: Vec<Connection> = (0..2).map(|_| caller.connect()).collect();
    for connection in &mut connections {
        connection.send(most);
    }
    for connection in &mut connections {
        connection.send([*last]);
    }
    let mut statuses: Vec<u16> =
        connections.iter_mut().map(|connection| connection.answer().status).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn of_two_who_press_the_button_at_once_one_is_admitted() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    for _ in 0..rounds(60) {
        let token = text_of(&daemon.link(&client, json!({"single_use": true})), "token");
        assert_eq!(press_together(&daemon.nobody(), &token), [303, 401]);
    }
    let consumed = daemon.root().all("/v1/audit?action=link.consume").len();
    assert_eq!(consumed, rounds(60), "one entry for each that was admitted");
}

/// The race above tells the truth: it catches a door that looks first and shuts itself afterwards.
#[test]
fn a_door_that_looks_before_it_shuts_is_caught_by_the_race() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let spent = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let spent = std::sync::Arc::clone(&spent);
            std::thread::spawn(move || look_then_shut(stream.unwrap(), &spent));
        }
    });
    let caller = Caller::new(support::http::Target::Tcp(std::sync::Arc::new(std::sync::Mutex::new(address))));
    let caught = (0..500).any(|round| press_together(&caller, &format!("token{round}")) == [303, 303]);
    assert!(caught, "500 rounds, and nobody got in twice");
}

/// Answers one POST: whether the token was spent is asked in one step, spending it is another.
fn look_then_shut(stream: std::net::TcpStream, spent: &std::sync::Mutex<std::collections::BTreeSet<String>>) {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let token = String::from_utf8(body).unwrap();
    let free = !spent.lock().unwrap().contains(&token);
    std::thread::yield_now();
    spent.lock().unwrap().insert(token);
    let status = if free { "303 See Other" } else { "401 Unauthorized" };
    write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
}

#[test]
fn of_a_press_and_a_revocation_at_once_nobody_is_left_inside() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    for _ in 0..rounds(30) {
        let link = daemon.link(&client, json!({"single_use": true}));
        let (id, token) = (text_of(&link, "id"), text_of(&link, "token"));
        let answers = at_once(2, |which| match which {
            0 => daemon.nobody().form("/portal/enter", &[("token", &token)]),
            _ => daemon.root().delete(&format!("/v1/links/{id}")),
        });
        assert_eq!(answers[1].status, 204);
        if let Some(line) = answers[0].header("set-cookie") {
            let cookie = line.split(';').next().unwrap();
            assert_eq!(daemon.browser(cookie).get("/portal/session").status, 401);
        }
    }
}

#[test]
fn of_32_previews_at_once_all_come_to_one_client_and_one_link() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let linked = daemon.client("linked");
    root.put("/v1/projects/known/client", json!({"client_id": linked})).expect(200);
    for project in ["known", "0f8fad5b-d9cb-469f", "a%2Fb%20c"] {
        let path = format!("/v1/projects/{project}/preview");
        let answers = at_once(32, |_| root.post(&path, json!({})).expect(200));
        for answer in &answers {
            assert_eq!(answer["client"]["id"], answers[0]["client"]["id"]);
            assert_eq!(answer["link_id"], answers[0]["link_id"]);
        }
        let made = answers.iter().filter(|answer| answer["created"] == true).count();
        assert_eq!(made, usize::from(project != "known"));
        let links = root.all(&format!("/v1/clients/{}/links", text_of(&answers[0]["client"], "id")));
        assert_eq!(links.len(), 1, "{project}");
    }
    let clients = root.all("/v1/clients");
    assert_eq!(clients.len(), 3);
}

#[test]
fn names_of_projects_end_at_their_bounds() {
    let daemon = Daemon::start();
    let preview = |project: &str| daemon.root().post(&format!("/v1/projects/{project}/preview"), json!({}));
    for good in ["a", &"p".repeat(200), "%C3%BC", "a%20b", "a+b", "~"] {
        preview(good).expect(200);
    }
    for bad in [&"p".repeat(201), "%", "%zz", "%FF", "%00", "a%0Ab", "%20a", "a%20"] {
        preview(bad).names_field("project");
    }
    preview("").refused(404, "not_found");
    let plus = preview("a+b").expect(200);
    assert_ne!(plus["client"]["id"], preview("a%20b").expect(200)["client"]["id"]);
}

#[test]
fn a_link_is_used_by_its_cookies() {
    let daemon = Daemon::start();
    let door = door(&daemon, "acme", json!({"label": "Board"}));
    let place = format!("/v1/clients/{}/links", door.client);
    let row = |daemon: &Daemon| by_id(&daemon.root().get(&place).expect(200), &door.link).unwrap().clone();
    let fresh = row(&daemon);
    let mut members: Vec<&String> = fresh.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "created_at",
            "expires_at",
            "id",
            "label",
            "last_used_at",
            "prefix",
            "redirect",
            "revoked_at",
            "single_use",
            "state"
        ]
    );
    assert_eq!((&fresh["last_used_at"], &fresh["state"]), (&Value::Null, &json!("active")));
    let entries = daemon.root().all("/v1/audit").len();
    let cookie = daemon.portal_cookie(&door.token);
    daemon.browser(&cookie).get("/portal/session").expect(200);
    assert!((seconds(&row(&daemon)["last_used_at"]) - now()).abs() < 60);
    assert_eq!(daemon.root().all("/v1/audit").len(), entries, "nothing is written for a use");
    daemon.root().delete(&format!("/v1/links/{}", door.link)).expect(204);
    assert_eq!(row(&daemon)["state"], "revoked");
    assert!((seconds(&row(&daemon)["revoked_at"]) - now()).abs() < 60);
}
