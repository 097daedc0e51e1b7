//! Clients, magic links and the portal's cookie (contract 4.9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

fn enter(daemon: &Daemon, token: &str) -> Answer {
    daemon.nobody().get(&format!("/portal/enter?token={token}"))
}

fn link_token(daemon: &Daemon, wishes: Value) -> String {
    let slug =
        format!("c{}", text::checksum(&format!("{wishes}{:?}", std::time::Instant::now())).to_lowercase());
    text_of(&daemon.link(&daemon.client(&slug), wishes), "token")
}

fn session(daemon: &Daemon, cookie: &str) -> u16 {
    daemon.browser(cookie).get("/portal/session").status
}

#[track_caller]
fn is_guarded_page(answer: &Answer) {
    answer.is_never_stored();
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let policy = answer.header("content-security-policy").expect("a CSP");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn a_client_is_made_read_and_changed() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let made = operator.post("/v1/clients", json!({"slug": "acme-2", "name": "Acme & Söhne"})).expect(201);
    assert!(text_of(&made, "id").starts_with("client_"));
    let mut members: Vec<&String> = made.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["active", "created_at", "id", "name", "slug"]);
    assert_eq!(
        (&made["slug"], &made["name"], &made["active"]),
        (&json!("acme-2"), &json!("Acme & Söhne"), &json!(true))
    );
    let place = format!("/v1/clients/{}", text_of(&made, "id"));
    assert_eq!(operator.get(&place).expect(200), made);
    let changed = operator.patch(&place, json!({"name": "Acme", "active": false})).expect(200);
    assert_eq!(
        (&changed["name"], &changed["active"], &changed["slug"]),
        (&json!("Acme"), &json!(false), &json!("acme-2"))
    );
    assert_eq!(by_id(&operator.get("/v1/clients").expect(200), &text_of(&made, "id")), Some(&changed));
    operator.patch(&place, json!({"slug": "x"})).names_field("slug");
    operator.get("/v1/clients/client_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
}

#[test]
fn a_slug_is_1_to_63_and_unique() {
    let daemon = Daemon::start();
    let post = |slug: &str| daemon.root().post("/v1/clients", json!({"slug": slug, "name": "n"}));
    for good in ["a", "7", "a-b", "a--b", &"s".repeat(63)] {
        post(good).expect(201);
    }
    post("a").refused(409, "slug_exists");
    for bad in ["", "-a", "a-", "-", "A", "a_b", "a b", "ä", "a.b", &"s".repeat(64)] {
        post(bad).names_field("slug");
    }
    daemon.root().post("/v1/clients", json!({"slug": "x"})).names_field("name");
}

#[test]
fn a_link_admits_as_often_as_it_is_used() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let operator = daemon.user("olga@example.org", &["operator"]);
    let answer = operator
        .post(&format!("/v1/clients/{client}/links"), json!({"label": "for Ms Li", "expires_in_days": 7}));
    answer.is_never_stored();
    let made = answer.expect(201);
    let token = text_of(&made, "token");
    assert!(token.starts_with("bdr_lnk_"));
    assert!((seconds(&made["expires_at"]) - now() - 7 * 86_400).abs() < 60);
    assert_eq!(text_of(&made, "url"), format!("http://127.0.0.1:8420/portal/enter?token={token}"));
    for _ in 0..3 {
        let answer = enter(&daemon, &token);
        answer.expect(303);
        assert_eq!(answer.header("location"), Some("/"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        answer.is_never_stored();
        let set = answer.all("set-cookie");
        assert_eq!(set.len(), 1);
        assert!(!set[0].contains(&token), "the cookie is not the link");
    }
    let list = operator.get(&format!("/v1/clients/{client}/links")).expect(200);
    let row = by_id(&list, &text_of(&made, "id")).expect("in the list");
    assert_eq!(row["label"], "for Ms Li");
    assert!(!list.to_string().contains(&token));
}

#[test]
fn without_a_wish_a_link_never_expires() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    assert_eq!(daemon.link(&client, json!({}))["expires_at"], Value::Null);
    let place = format!("/v1/clients/{client}/links");
    for bad in [json!(0), json!(3651), json!(-1), json!("7")] {
        daemon.root().post(&place, json!({"expires_in_days": bad})).names_field("expires_in_days");
    }
    daemon.root().post(&place, json!({"expires_in_days": 3650})).expect(201);
    daemon.root().post(&place, json!({"single_use": "yes"})).names_field("single_use");
    daemon
        .root()
        .post("/v1/clients/client_01jd8w3m5ze8vr3pa0n2q9k6ms/links", json!({}))
        .refused(404, "not_found");
}

#[test]
fn what_mail_programs_add_to_a_links_address_keeps_nobody_out() {
    let daemon = Daemon::start();
    let token = link_token(&daemon, json!({}));
    let ask = |query: &str| daemon.nobody().get(&format!("/portal/enter?{query}")).status;
    let many = (0..65).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
    for added in ["utm=1&utm=2", "a=%", "a=%zz", "a=%ff", "%ff=1", "=&&", &many] {
        assert_eq!(ask(&format!("token={token}&{added}")), 303, "{added}");
        assert_eq!(ask(&format!("{added}&token={token}")), 303, "{added}");
    }
    assert_eq!(ask(&format!("token={token}&token={token}")), 401);
    assert_eq!(ask(&format!("token={token}&%74oken=x")), 401);
    assert_eq!(ask(&format!("token={token}%zz")), 401);
    // The form of the button is ours alone, and stays strict.
    let pressed = daemon.nobody().form("/portal/enter", &[("token", &token), ("utm", "1"), ("utm", "2")]);
    assert_eq!(pressed.status, 400);
}

#[test]
fn the_cookie_is_locked_down() {
    let attributes = |daemon: &Daemon| {
        let answer = enter(daemon, &link_token(daemon, json!({})));
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        let parts: Vec<String> = set.split(';').map(|part| part.trim().to_owned()).collect();
        let lower: Vec<String> = parts[1..].iter().map(|part| part.to_ascii_lowercase()).collect();
        (parts[0].clone(), lower)
    };
    let (pair, rest) = attributes(&Daemon::start());
    assert!(pair.starts_with("portal_session=v1."), "{pair}");
    for wanted in ["httponly", "samesite=lax", "path=/"] {
        assert!(rest.contains(&wanted.to_owned()), "{wanted} in {rest:?}");
    }
    assert!(!rest.iter().any(|part| part.starts_with("domain")));
    for config in [
        "[portal]\nsecure = true\n",
        "[server]\npublic_url = \"https://id.example.org\"\n",
        "[server]\npublic_url = \"http://id.example.org\"\n",
    ] {
        let (pair, rest) = attributes(&Daemon::configured(config));
        assert!(pair.starts_with("__Host-portal_session=v1."), "{config}: {pair}");
        assert!(
            rest.contains(&"secure".to_owned()) && rest.contains(&"path=/".to_owned()),
            "{config}: {rest:?}"
        );
    }
    let (pair, rest) = attributes(&Daemon::configured(
        "[server]\npublic_url = \"https://id.example.org\"\n[portal]\nsecure = false\n",
    ));
    assert!(pair.starts_with("portal_session=v1.") && !rest.contains(&"secure".to_owned()));
}

#[test]
fn the_cookie_tells_whose_it_is_for_30_days() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let link = daemon.link(&client, json!({}));
    let cookie = daemon.portal_cookie(&text_of(&link, "token"));
    let answer = daemon.browser(&cookie).get("/portal/session");
    answer.is_never_stored();
    let told = answer.expect(200);
    assert_eq!(told["link_id"], link["id"]);
    assert_eq!(told["client"]["id"], client);
    assert_eq!(told["client"]["slug"], "acme");
    assert!((seconds(&told["expires_at"]) - now() - 30 * 86_400).abs() < 60);
    daemon.nobody().get("/portal/session").expect(401);
}

#[test]
fn the_link_goes_where_it_was_told_and_never_off_the_origin() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let place = format!("/v1/clients/{client}/links");
    for good in ["/", "/reports", "/reports/2026?a=b&c=d#part", "/a//b", "/%2F%2Fevil.example"] {
        let token = text_of(&daemon.root().post(&place, json!({"redirect": good})).expect(201), "token");
        assert_eq!(enter(&daemon, &token).header("location"), Some(good));
    }
    for bad in [
        "",
        "reports",
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "javascript:alert(1)",
        "/a\r\nset-cookie: x=y",
        "/a\u{0}",
        "/\tx",
        "/\u{7f}",
        " /a",
        "///x",
        "/\n/evil.example",
    ] {
        daemon.root().post(&place, json!({"redirect": bad})).names_field("redirect");
    }
    // Neither a Host header nor a query moves it.
    let token = text_of(&daemon.link(&client, json!({"redirect": "/in"})), "token");
    let caller = daemon.nobody().with("x-forwarded-host", "evil.example").with("x-forwarded-proto", "https");
    let answer = caller.get(&format!("/portal/enter?token={token}&redirect=//evil.example&next=/x"));
    assert_eq!(answer.expect(303), Value::Null);
    assert_eq!(answer.header("location"), Some("/in"));
}

#[test]
fn a_bad_link_is_a_401_page_for_a_browser_and_a_problem_for_the_rest() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let revoked = daemon.link(&client, json!({}));
    daemon.root().delete(&format!("/v1/links/{}", text_of(&revoked, "id"))).expect(204);
    let anna = daemon.user("anna@example.org", &[]);
    let tokens = [
        text_of(&revoked, "token"),
        text::never_minted("lnk"),
        "nonsense".to_owned(),
        String::new(),
        anna.any_pat(),
    ];
    let mut bodies = Vec::new();
    for token in &tokens {
        let answer = enter(&daemon, token);
        assert_eq!(answer.expect(401)["status"], 401);
        assert!(answer.header("content-type").unwrap().starts_with("application/problem+json"));
        assert!(answer.header("set-cookie").is_none());
        bodies.push(answer.body.clone());
        let page = daemon
            .nobody()
            .with("accept", "text/html,application/xhtml+xml;q=0.9")
            .get(&format!("/portal/enter?token={token}"));
        page.expect(401);
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{:?}", page.headers);
        is_guarded_page(&page);
        assert!(token.is_empty() || token == "nonsense" || !page.text().contains(token.as_str()));
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    enter(&daemon, &tokens[0]).expect(401);
    daemon.nobody().get("/portal/enter").expect(401);
    let token = link_token(&daemon, json!({}));
    daemon.nobody().get(&format!("/portal/enter?token={token}&token=x")).expect(401);
}

#[test]
fn a_revoked_link_or_a_deactivated_client_ends_the_cookie_at_the_next_request() {
    let mut daemon = Daemon::start();
    let client = daemon.client("acme");
    let (one, two) = (daemon.link(&client, json!({})), daemon.link(&client, json!({})));
    let (first, second) =
        (daemon.portal_cookie(&text_of(&one, "token")), daemon.portal_cookie(&text_of(&two, "token")));
    assert_eq!((session(&daemon, &first), session(&daemon, &second)), (200, 200));
    let operator = daemon.user("olga@example.org", &["operator"]);
    operator.delete(&format!("/v1/links/{}", text_of(&one, "id"))).expect(204);
    assert_eq!((session(&daemon, &first), session(&daemon, &second)), (401, 200));
    operator.delete(&format!("/v1/links/{}", text_of(&one, "id"))).expect(204);
    operator.patch(&format!("/v1/clients/{client}"), json!({"active": false})).expect(200);
    assert_eq!((session(&daemon, &first), session(&daemon, &second)), (401, 401));
    enter(&daemon, &text_of(&two, "token")).expect(401);
    // Newest first.
    let links = format!("/v1/clients/{client}/links");
    let state = || operator.get(&links).expect(200)["items"][0]["state"].clone();
    assert_eq!(state(), "disabled");
    operator.patch(&format!("/v1/clients/{client}"), json!({"active": true})).expect(200);
    assert_eq!(state(), "active");
    assert_eq!((session(&daemon, &first), session(&daemon, &second)), (401, 200));
    daemon.restart();
    assert_eq!((session(&daemon, &first), session(&daemon, &second)), (401, 200));
    operator.delete("/v1/links/token_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
}

#[test]
fn a_single_use_link_is_not_burnt_by_a_mail_scanner() {
    let daemon = Daemon::start();
    let token = link_token(&daemon, json!({"single_use": true, "redirect": "/in"}));
    for _ in 0..3 {
        let page = daemon.nobody().with("accept", "text/html").get(&format!("/portal/enter?token={token}"));
        page.expect(200);
        assert!(page.header("set-cookie").is_none());
        is_guarded_page(&page);
        let html = page.text();
        let buttons = html.matches("<button").count() + html.matches("<input type=\"submit\"").count();
        assert_eq!(buttons, 1, "{html}");
        assert!(html.contains("method=\"post\"") || html.contains("method=\"POST\""), "{html}");
        let head = daemon.nobody().head(&format!("/portal/enter?token={token}"));
        assert_eq!(head.status, 200);
        assert!(head.header("set-cookie").is_none());
    }
    let redeemed = redeem(&daemon, &token);
    redeemed.expect(303);
    assert_eq!(redeemed.header("location"), Some("/in"));
    let cookie = redeemed.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(session(&daemon, &cookie), 200);
    redeem(&daemon, &token).expect(401);
    enter(&daemon, &token).expect(401);
    assert_eq!(session(&daemon, &cookie), 200, "a consumed link admits nobody new and ends nothing");
}

/// Programs that ask what lies behind a link, of chats and mail, are not let in by it.
#[test]
fn a_head_of_a_link_for_many_uses_tells_where_it_leads_and_lets_nobody_in() {
    let daemon = Daemon::start();
    let token = link_token(&daemon, json!({"redirect": "/in"}));
    let head = daemon.nobody().head(&format!("/portal/enter?token={token}"));
    assert_eq!((head.status, head.header("location")), (303, Some("/in")));
    assert!(head.header("set-cookie").is_none());
    assert!(enter(&daemon, &token).header("set-cookie").is_some(), "a browser is");
}

/// Presses the one button of the page, wherever the form keeps the token.
fn redeem(daemon: &Daemon, token: &str) -> Answer {
    daemon.nobody().request("POST", &format!("/portal/enter?token={token}")).form(&[("token", token)]).send()
}

#[test]
fn the_revocation_of_a_consumed_link_ends_its_cookie() {
    let daemon = Daemon::start();
    let link = daemon.link(&daemon.client("acme"), json!({"single_use": true}));
    let redeemed = redeem(&daemon, &text_of(&link, "token"));
    let cookie = redeemed.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(session(&daemon, &cookie), 200);
    daemon.root().delete(&format!("/v1/links/{}", text_of(&link, "id"))).expect(204);
    assert_eq!(session(&daemon, &cookie), 401);
}

#[test]
fn of_64_who_press_the_button_at_once_one_is_admitted() {
    let daemon = Daemon::start();
    for _ in 0..3 {
        let token = link_token(&daemon, json!({"single_use": true}));
        let answers = at_once(64, |_| redeem(&daemon, &token));
        let winners = answers.iter().filter(|answer| answer.status == 303).count();
        assert_eq!(winners, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        assert!(answers.iter().filter(|answer| answer.status != 303).all(|answer| answer.status == 401));
    }
}

#[test]
fn no_other_spelling_of_a_cookie_works() {
    let daemon = Daemon::start();
    let cookie = daemon.portal_cookie(&link_token(&daemon, json!({})));
    let (name, value) = cookie.split_once('=').unwrap();
    let parts: Vec<&str> = value.split('.').collect();
    assert_eq!((parts.len(), parts[0]), (4, "v1"));
    let mut twins = vec![
        format!("{value}."),
        format!("{value}="),
        format!("{value}A"),
        value[..value.len() - 1].to_owned(),
        format!("v1.{}.{}.", parts[1], parts[2]),
        format!("v1..{}.{}", parts[2], parts[3]),
        format!("v2.{}.{}.{}", parts[1], parts[2], parts[3]),
        format!("v1.{}.{}.{}", parts[1], parts[3], parts[2]),
        format!("\"{value}\""),
    ];
    for position in 0..value.len() {
        let mut twin = value.to_owned().into_bytes();
        twin[position] = if twin[position] == b'A' { b'B' } else { b'A' };
        twins.push(String::from_utf8(twin).unwrap());
    }
    for twin in &twins {
        assert_eq!(session(&daemon, &format!("{name}={twin}")), 401, "{twin}");
    }
    assert_eq!(session(&daemon, &cookie), 200);
    assert_eq!(session(&daemon, &format!("a=b; {cookie}; c=d")), 200);
}

#[test]
fn two_session_cookies_that_differ_are_a_401() {
    let daemon = Daemon::start();
    let one = daemon.portal_cookie(&link_token(&daemon, json!({})));
    let two = daemon.portal_cookie(&link_token(&daemon, json!({"label": "two"})));
    assert_eq!(session(&daemon, &format!("{one}; {two}")), 401);
    assert_eq!(session(&daemon, &format!("{two}; {one}")), 401);
    assert_eq!(session(&daemon, &format!("{one}; portal_session=x")), 401);
    let apart = daemon.nobody().with("cookie", &one).with("cookie", &two);
    assert_eq!(apart.get("/portal/session").status, 401);
    assert_eq!(session(&daemon, &format!("{one}; {one}")), 200);
}

#[test]
fn another_bearerd_with_the_same_key_refuses_the_cookie() {
    let one = Daemon::start();
    let keyring = std::fs::read_to_string(one.data().join("keyring")).unwrap();
    let two = Setup::new().config("[keys]\nfile = \"keys\"\n").file("keys", keyring).start();
    let cookie = one.portal_cookie(&link_token(&one, json!({})));
    assert_eq!((session(&one, &cookie), session(&two, &cookie)), (200, 401));
}

#[test]
fn logout_clears_the_cookie() {
    let daemon = Daemon::start();
    let cookie = daemon.portal_cookie(&link_token(&daemon, json!({})));
    daemon.browser(&cookie).get("/portal/logout").expect(405);
    let answer = daemon.browser(&cookie).form("/portal/logout", &[]);
    answer.expect(204);
    let set = answer.header("set-cookie").expect("a cookie that clears");
    assert!(set.starts_with("portal_session=;"), "{set}");
    assert!(set.contains("Max-Age=0") || set.contains("1970"), "{set}");
}

#[test]
fn a_post_from_another_site_is_refused() {
    let daemon = Daemon::start();
    let cookie = daemon.portal_cookie(&link_token(&daemon, json!({})));
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = daemon.browser(&cookie).with(name, value).form("/portal/logout", &[]);
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
        assert!(answer.header("set-cookie").is_none());
    }
}

#[test]
fn a_portal_cookie_is_no_credential_for_the_api() {
    let daemon = Daemon::start();
    let link = link_token(&daemon, json!({}));
    let cookie = daemon.portal_cookie(&link);
    for path in ["/v1/me", "/v1/tokens", "/v1/users", "/v1/clients", "/v1/hosts", "/v1/audit"] {
        daemon.browser(&cookie).get(path).expect(401);
    }
    let value = cookie.split_once('=').unwrap().1;
    for token in [&link, value] {
        daemon.bearer(token).get("/v1/me").expect(401);
        daemon.bearer(token).get("/portal/session").expect(401);
    }
    let agent = daemon.host("h").agent_token;
    assert_eq!(session(&daemon, &format!("portal_session={agent}")), 401);
}

#[test]
fn an_operator_previews_a_projects_portal() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let preview =
        |project: &str, body: Value| operator.post(&format!("/v1/projects/{project}/preview"), body);
    let answer = preview("project-77", json!({"client_name": "Acme"}));
    answer.is_never_stored();
    let first = answer.expect(200);
    assert_eq!(first["created"], true);
    let slug = text_of(&first["client"], "slug");
    assert!(slug.starts_with("preview-project"), "preview- and the first 8 of the project: {slug}");
    let cookie = text_of(&first, "cookie");
    assert!(!text_of(&first, "url").contains("token") && !text_of(&first, "url").contains("v1."), "{first}");
    let name_and_value =
        if cookie.contains('=') { cookie.clone() } else { format!("portal_session={cookie}") };
    let told = daemon.browser(name_and_value.split(';').next().unwrap()).get("/portal/session").expect(200);
    assert_eq!((&told["client"]["id"], &told["link_id"]), (&first["client"]["id"], &first["link_id"]));
    let again = preview("project-77", json!({})).expect(200);
    assert_eq!(
        (&again["client"]["id"], &again["link_id"], &again["created"]),
        (&first["client"]["id"], &first["link_id"], &json!(false))
    );
    let other = preview("project-78", json!({})).expect(200);
    assert_ne!(other["client"]["id"], first["client"]["id"]);
    assert_ne!(other["client"]["slug"], first["client"]["slug"], "made unique");
}

#[test]
fn a_preview_reuses_the_projects_client() {
    let daemon = Daemon::start();
    let operator = daemon.user("olga@example.org", &["operator"]);
    let client = daemon.client("acme");
    operator.put("/v1/projects/p1/client", json!({"client_id": client})).expect(200);
    let seen = operator.post("/v1/projects/p1/preview", json!({})).expect(200);
    assert_eq!(seen["client"]["id"], client);
    operator.put("/v1/projects/p1/client", json!({"client_id": "client_01jd8w3m5ze8vr3pa0n2q9k6ms"}));
    let seen = operator.post("/v1/projects/p1/preview", json!({})).expect(200);
    assert_eq!(seen["client"]["id"], client);
    operator.patch(&format!("/v1/clients/{client}"), json!({"active": false})).expect(200);
    let instead = operator.post("/v1/projects/p1/preview", json!({})).expect(200);
    assert_ne!(instead["client"]["id"], client, "only an active client is reused");
    operator.patch(&format!("/v1/clients/{client}"), json!({"active": true})).expect(200);
    let back = operator.post("/v1/projects/p1/preview", json!({})).expect(200);
    assert_eq!(back["client"]["id"], client, "a preview links its client only where nothing was linked");
}

#[test]
fn two_previews_at_once_make_one_client() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let answers = at_once(16, |_| root.post("/v1/projects/race/preview", json!({})).expect(200));
    assert!(answers.iter().all(|answer| answer["client"]["id"] == answers[0]["client"]["id"]));
    assert!(answers.iter().all(|answer| answer["link_id"] == answers[0]["link_id"]));
    assert_eq!(answers.iter().filter(|answer| answer["created"] == true).count(), 1);
}

#[test]
fn links_and_clients_are_for_operators() {
    let daemon = Daemon::start();
    let client = daemon.client("acme");
    let link = text_of(&daemon.link(&client, json!({})), "id");
    let anna = daemon.user("anna@example.org", &[]);
    anna.get("/v1/clients").refused(403, "forbidden");
    anna.post("/v1/clients", json!({"slug": "x", "name": "x"})).refused(403, "forbidden");
    anna.post(&format!("/v1/clients/{client}/links"), json!({})).refused(403, "forbidden");
    anna.delete(&format!("/v1/links/{link}")).refused(403, "forbidden");
    anna.post("/v1/projects/p/preview", json!({})).refused(403, "forbidden");
    anna.put("/v1/projects/p/client", json!({"client_id": client})).refused(403, "forbidden");
}
