//! Personal access tokens (contract 2, 4.4).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

const DAY: i64 = 86_400;

#[track_caller]
fn about(expected: i64, got: i64) {
    assert!((expected - got).abs() <= 30, "expected about {expected}, got {got}");
}

fn path(id: &Value) -> String {
    format!("/v1/tokens/{}", id.as_str().expect("an id"))
}

#[test]
fn a_minted_pat_is_told_once_in_full() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let answer = anna.post("/v1/tokens", json!({"name": "  deploy key "}));
    answer.is_never_stored();
    let made = answer.expect(201);
    assert_eq!(made["name"], "deploy key", "the name is trimmed");
    assert_eq!(made["kind"], "pat");
    assert_eq!(made["scope"], "general");
    about(now(), seconds(&made["created_at"]));
    about(now() + 90 * DAY, seconds(&made["expires_at"]));
    let token = text_of(&made, "token");
    let id = text_of(&made, "id");
    for place in ["/v1/tokens".to_owned(), path(&made["id"])] {
        assert!(!anna.get(&place).text().contains(&token), "{place} shows the token");
    }
    let row = anna.get(&path(&made["id"])).expect(200);
    assert_eq!(row["id"], id);
    assert_eq!(row["state"], "active");
    assert_eq!(row["last_used_at"], Value::Null);
    assert_eq!(row["revoked_at"], Value::Null);
    assert_eq!(row["expires_at"], made["expires_at"]);
    assert!(by_id(&anna.get("/v1/tokens").expect(200), &id).is_some());
}

#[test]
fn a_token_string_is_built_as_the_contract_says() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let token = text_of(&made, "token");
    assert_eq!(token.len(), "bdr_pat_".len() + 26 + 43 + 6);
    let (body, check) = token.split_at(token.len() - 6);
    assert_eq!(text::checksum(body), check);
    let suffix = &token[8..34];
    assert_eq!(text_of(&made, "id"), format!("token_{suffix}"));
    let shown = text_of(&made, "prefix");
    assert!(shown.contains(&suffix[10..18]) && shown.contains("pat"), "{shown} of {suffix}");
    assert!(!shown.contains(&token[34..38]), "no part of the secret is shown");
    assert!(token[34..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

#[test]
fn the_prefix_is_a_setting_and_old_tokens_outlive_a_change() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let old = anna.any_pat();
    daemon.rewrite("bearerd.toml", "[tokens]\nprefix = \"acme2\"\n");
    daemon.restart();
    let new = anna.any_pat();
    assert!(new.starts_with("acme2_pat_"), "{new}");
    assert!(daemon.is_active(&old) && daemon.is_active(&new));
    let (body, _) = new.split_at(new.len() - 6);
    let renamed = body.replacen("acme2_", "bdr_", 1);
    assert!(!daemon.is_active(&(renamed.clone() + &text::checksum(&renamed))), "the whole string is hashed");
    for bad in ["a", "Acme", "1ab", "ab_c", "abcdefghijklm", ""] {
        let setup = Setup::new().config(&format!("[tokens]\nprefix = \"{bad}\"\n"));
        let failed = setup.does_not_start();
        assert!(failed.stderr.contains("prefix"), "{bad}: {}", failed.stderr);
    }
}

#[test]
fn no_other_spelling_of_a_token_works() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let token = anna.any_pat();
    let mut twins: Vec<String> = vec![
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}A"),
        format!("\u{200b}{token}"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.replacen("pat", "ses", 1),
        token.replacen("bdr", "bdx", 1),
        token.replace('_', "-"),
        token[..token.len() - 1].to_owned(),
        token[1..].to_owned(),
        text::never_minted("pat"),
        "x".repeat(15_000),
    ];
    for position in 0..token.len() {
        let mut twin = token.clone().into_bytes();
        twin[position] = if twin[position] == b'a' { b'b' } else { b'a' };
        twins.push(String::from_utf8(twin).unwrap());
    }
    // The same with a checksum that fits: now the secret or the id is wrong.
    for position in 8..token.len() - 6 {
        let mut twin = token[..token.len() - 6].to_owned().into_bytes();
        twin[position] = if twin[position] == b'7' { b'6' } else { b'7' };
        let twin = String::from_utf8(twin).unwrap();
        twins.push(twin.clone() + &text::checksum(&twin));
    }
    for twin in twins.iter().filter(|twin| **twin != token) {
        assert!(!daemon.is_active(twin), "active: {twin:?}");
    }
    assert!(daemon.is_active(&token));
}

#[test]
fn a_name_has_1_to_200_characters_and_no_control_characters() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |name: Value| anna.post("/v1/tokens", json!({"name": name}));
    for good in [
        "x".to_owned(),
        "x".repeat(200),
        "é".repeat(200),
        format!("  {}  ", "x".repeat(200)),
        "名前".to_owned(),
    ] {
        assert_eq!(text_of(&mint(json!(good)).expect(201), "name"), good.trim());
    }
    for bad in [
        json!(""),
        json!("   "),
        json!("x".repeat(201)),
        json!("é".repeat(201)),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("a\u{7f}"),
        json!("a\u{85}b"),
        json!(7),
        json!(null),
        json!(["x"]),
    ] {
        mint(bad).names_field("name");
    }
    anna.post("/v1/tokens", json!({})).names_field("name");
}

#[test]
fn a_life_span_is_within_its_bounds() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |wishes: Value| {
        let mut body = json!({"name": "n"});
        body.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
        anna.post("/v1/tokens", body)
    };
    let lives =
        |wishes: Value, span: i64| about(now() + span, seconds(&mint(wishes).expect(201)["expires_at"]));
    lives(json!({}), 90 * DAY);
    lives(json!({"expires_in_days": 1}), DAY);
    lives(json!({"expires_in_days": 3650}), 3650 * DAY);
    lives(json!({"ttl_seconds": 315_360_000}), 315_360_000);
    lives(json!({"ttl_seconds": 60, "expires_in_days": 5}), 60);
    lives(json!({"ttl_seconds": 60, "expires_in_days": null}), 60);
    lives(json!({"ttl_seconds": null}), 90 * DAY);
    lives(json!({"ttl_seconds": null, "expires_in_days": 2}), 2 * DAY);
    assert_eq!(mint(json!({"ttl_seconds": 1})).expect(201)["kind"], "pat");
    assert_eq!(mint(json!({"expires_in_days": null})).expect(201)["expires_at"], Value::Null);
    assert_eq!(
        mint(json!({"expires_in_days": null, "ttl_seconds": null})).expect(201)["expires_at"],
        Value::Null
    );
    for (bad, bound) in [(json!(0), "1"), (json!(3651), "3650"), (json!(-1), "1"), (json!(i64::MAX), "3650")]
    {
        let problem = mint(json!({"expires_in_days": bad})).names_field("expires_in_days");
        assert!(text_of(&problem, "detail").contains(bound), "the bound is named: {problem}");
    }
    for (bad, bound) in
        [(json!(0), "1"), (json!(315_360_001), "315360000"), (json!(-5), "1"), (json!(u64::MAX), "315360000")]
    {
        let problem = mint(json!({"ttl_seconds": bad})).names_field("ttl_seconds");
        assert!(text_of(&problem, "detail").replace([',', '_'], "").contains(bound), "{problem}");
    }
    for bad in [json!("1"), json!(1.5), json!([]), json!(true)] {
        mint(json!({"expires_in_days": bad})).names_field("expires_in_days");
        mint(json!({"ttl_seconds": bad})).names_field("ttl_seconds");
    }
}

#[test]
fn a_scope_is_words_separated_by_one_space() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |scope: Value| anna.post("/v1/tokens", json!({"name": "n", "scope": scope}));
    for good in ["general", "a", "reports:read reports:write", "!#[]^~", &"s".repeat(1024)] {
        assert_eq!(mint(json!(good)).expect(201)["scope"], good);
    }
    for bad in [
        json!(""),
        json!(" "),
        json!(" a"),
        json!("a "),
        json!("a  b"),
        json!("a\tb"),
        json!("a\"b"),
        json!("a\\b"),
        json!("é"),
        json!("a\nb"),
        json!("s".repeat(1025)),
        json!(["a"]),
        json!(7),
        json!("a\u{7f}"),
    ] {
        mint(bad).names_field("scope");
    }
}

#[test]
fn reserved_scopes_are_for_those_in_the_group() {
    let daemon = Daemon::start();
    let plain = daemon.user("plain@example.org", &["reports"]);
    let operator = daemon.user("operator@example.org", &["operator"]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    let cases: [(&str, &Person, u16); 12] = [
        ("admin", &plain, 403),
        ("operator", &plain, 403),
        ("introspect", &plain, 403),
        ("general admin", &plain, 403),
        ("admin", &operator, 403),
        ("operator", &operator, 201),
        ("introspect", &operator, 201),
        ("general admin", &operator, 403),
        ("admin", &admin, 201),
        ("operator", &admin, 201),
        ("introspect", &admin, 201),
        ("x admin", &admin, 201),
    ];
    for (scope, who, status) in cases {
        let answer = who.post("/v1/tokens", json!({"name": "n", "scope": scope}));
        assert_eq!(answer.status, status, "{scope} by {}: {}", who.email, answer.text());
    }
    // A word that only begins like a reserved one is the product's own.
    plain.mint_pat(json!({"name": "n", "scope": "administrator operator2 Admin"}));
}

#[test]
fn a_scope_with_a_longest_life_clamps_whatever_was_asked() {
    let daemon = Daemon::configured("[scopes.short]\nmax_ttl = \"2m\"\n");
    let anna = daemon.user("anna@example.org", &[]);
    for (scope, limit) in [
        ("bootstrap-analyst", 3600),
        ("short", 120),
        ("general short x", 120),
        ("short bootstrap-analyst", 120),
    ] {
        for wish in [
            json!({}),
            json!({"expires_in_days": null}),
            json!({"ttl_seconds": 3601}),
            json!({"expires_in_days": 3650}),
        ] {
            let mut body = json!({"name": "n", "scope": scope});
            body.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
            let made = anna.mint_pat(body);
            let span = seconds(&made["expires_at"]) - seconds(&made["created_at"]);
            assert!(span <= limit && span >= limit - 1, "{scope} {wish}: {span}");
        }
    }
    let made = anna.mint_pat(json!({"name": "n", "scope": "short", "ttl_seconds": 5}));
    assert!(seconds(&made["expires_at"]) - seconds(&made["created_at"]) <= 5);
    // Rotation gives no more either.
    let made = anna.mint_pat(json!({"name": "n", "scope": "short"}));
    let rotated = anna.post(&(path(&made["id"]) + "/rotate"), json!({})).expect(201);
    assert!(seconds(&rotated["expires_at"]) - seconds(&rotated["created_at"]) <= 120);
}

#[test]
fn metadata_is_an_object_of_at_most_4_kib_that_introspection_returns() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |metadata: Value| anna.post("/v1/tokens", json!({"name": "n", "metadata": metadata}));
    let made = mint(json!({"team": "red", "depth": {"n": [1, 2.5, null]}})).expect(201);
    let seen = daemon.root().introspect(&text_of(&made, "token"));
    assert_eq!(seen["metadata"], json!({"team": "red", "depth": {"n": [1, 2.5, null]}}));
    let at_limit = json!({"k": "v".repeat(4096 - 8)});
    assert_eq!(at_limit.to_string().len(), 4096);
    mint(at_limit).expect(201);
    mint(json!({"k": "v".repeat(4096 - 7)})).names_field("metadata");
    for bad in [json!([]), json!("x"), json!(7), json!(true)] {
        mint(bad).names_field("metadata");
    }
}

#[test]
fn a_token_bound_to_addresses_is_refused_from_elsewhere() {
    let daemon = Setup::new().service("gateway", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |ranges: Value| anna.post("/v1/tokens", json!({"name": "n", "allowed_ips": ranges}));
    let here = daemon.bearer(&text_of(&mint(json!(["127.0.0.0/8", "::1/128"])).expect(201), "token"));
    let there = daemon.bearer(&text_of(&mint(json!(["192.0.2.0/24"])).expect(201), "token"));
    here.get("/v1/me").expect(200);
    there.get("/v1/me").expect(401);
    for bad in [
        json!(["nonsense"]),
        json!(["10.0.0.0/33"]),
        json!([7]),
        json!("10.0.0.0/8"),
        json!(["10.0.0.0/8", ""]),
    ] {
        mint(bad).names_field("allowed_ips");
    }
    // Introspection: the end client is whom the caller names, and nobody without a name.
    let gateway = daemon.service("gateway");
    let token = there.token().to_owned();
    assert_eq!(gateway.introspect(&token), json!({"active": false}));
    let ask = |caller: &Caller, ip: &str| {
        caller.form("/v1/introspect", &[("token", &token), ("client_ip", ip)]).expect(200)
    };
    for caller in [&*gateway, &daemon.root()] {
        assert_eq!(ask(caller, "192.0.2.7")["active"], true);
        assert_eq!(ask(caller, "::ffff:192.0.2.7")["active"], true, "an IPv4 address in IPv6 dress");
        assert_eq!(ask(caller, "198.51.100.7"), json!({"active": false}));
    }
}

#[test]
fn a_counted_token_is_exhausted_after_exactly_its_uses() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "max_uses": 3}));
    let token = text_of(&made, "token");
    assert!(daemon.is_active(&token));
    let batch = daemon.root().post("/v1/introspect/batch", json!({"tokens": [token]})).expect(200);
    assert_eq!(batch["results"][0]["active"], true);
    daemon.restart();
    daemon.bearer(&token).get("/v1/authorize").expect(200);
    assert!(!daemon.is_active(&token));
    daemon.bearer(&token).get("/v1/authorize").expect(401);
    assert_eq!(anna.get(&path(&made["id"])).expect(200)["state"], "exhausted");
    for bad in [json!(0), json!(-1), json!(1.5), json!("3")] {
        anna.post("/v1/tokens", json!({"name": "n", "max_uses": bad})).names_field("max_uses");
    }
    assert!(daemon.is_active(&text_of(&anna.mint_pat(json!({"name": "n", "max_uses": null})), "token")));
}

#[test]
fn max_uses_is_exact_when_64_ask_at_once() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    for uses in [1, 7] {
        let made = anna.mint_pat(json!({"name": "n", "max_uses": uses}));
        let token = text_of(&made, "token");
        let root = daemon.root();
        let active = at_once(64, |_| root.introspect(&token)["active"] == true);
        assert_eq!(active.iter().filter(|active| **active).count(), uses, "of {uses}");
    }
    // The same token many times in one batch is that many uses.
    let token = text_of(&anna.mint_pat(json!({"name": "n", "max_uses": 5})), "token");
    let batch = daemon.root().post("/v1/introspect/batch", json!({"tokens": vec![token; 20]})).expect(200);
    let active =
        batch["results"].as_array().unwrap().iter().filter(|result| result["active"] == true).count();
    assert_eq!(active, 5);
}

#[test]
fn a_use_is_counted_only_when_all_else_holds() {
    let daemon =
        Setup::new().config("[authorize.strict]\nscopes = [\"other\"]\n").service("gateway", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    let made =
        anna.mint_pat(json!({"name": "n", "max_uses": 1, "allowed_ips": ["192.0.2.0/24", "127.0.0.1/32"]}));
    let token = text_of(&made, "token");
    daemon.bearer(&token).get("/v1/authorize/@strict").expect(403);
    daemon.bearer(&token).get("/v1/authorize/@nowhere").expect(403);
    daemon.bearer(&token).get("/v1/users").expect(403);
    daemon.bearer(&token).form("/v1/introspect", &[("token", &token)]).expect(403);
    let gateway = daemon.service("gateway");
    gateway.form("/v1/introspect", &[("token", &token), ("client_ip", "198.51.100.1")]).expect(200);
    anna.patch(&path(&made["id"]), json!({"enabled": false})).expect(200);
    assert!(!daemon.is_active(&token));
    anna.patch(&path(&made["id"]), json!({"enabled": true})).expect(200);
    daemon.root().post("/v1/admin/tokens/lookup", json!({"token": token})).expect(200);
    let last = gateway.form("/v1/introspect", &[("token", &token), ("client_ip", "192.0.2.1")]).expect(200);
    assert_eq!(last["active"], true, "the one use was still there");
}

#[test]
fn a_pat_dies_at_its_expiry() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "ttl_seconds": 3}));
    let token = text_of(&made, "token");
    assert!(daemon.is_active(&token));
    daemon.wait_until_dead(&token);
    assert!(now() >= seconds(&made["expires_at"]), "dead before its time");
    daemon.bearer(&token).get("/v1/me").expect(401);
    assert_eq!(anna.get(&path(&made["id"])).expect(200)["state"], "expired");
    anna.post(&(path(&made["id"]) + "/rotate"), json!({})).expect(409);
}

#[test]
fn a_revocation_stands_and_is_repeated_without_harm() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let token = text_of(&made, "token");
    anna.delete(&path(&made["id"])).expect(204);
    assert!(!daemon.is_active(&token));
    let row = anna.get(&path(&made["id"])).expect(200);
    assert_eq!(row["state"], "revoked");
    about(now(), seconds(&row["revoked_at"]));
    eventually("the next second", || (now() > seconds(&row["revoked_at"])).then_some(()));
    anna.delete(&path(&made["id"])).expect(204);
    assert_eq!(
        anna.get(&path(&made["id"])).expect(200)["revoked_at"],
        row["revoked_at"],
        "the first time stands"
    );
    anna.patch(&path(&made["id"]), json!({"enabled": true}));
    assert!(!daemon.is_active(&token), "enabling does not revive");
    anna.post(&(path(&made["id"]) + "/rotate"), json!({})).expect(409);
    daemon.restart();
    assert!(!daemon.is_active(&token));
    anna.delete("/v1/tokens/token_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
    anna.delete("/v1/tokens/nonsense").expect(404);
}

#[test]
fn a_disabled_token_comes_back_when_enabled() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "metadata": {"a": 1}}));
    let token = text_of(&made, "token");
    let changed = anna.patch(&path(&made["id"]), json!({"enabled": false})).expect(200);
    assert_eq!(changed["state"], "disabled");
    assert!(!daemon.is_active(&token));
    daemon.bearer(&token).get("/v1/me").expect(401);
    anna.post(&(path(&made["id"]) + "/rotate"), json!({})).expect(409);
    let changed = anna
        .patch(&path(&made["id"]), json!({"enabled": true, "name": "m", "metadata": {"b": 2}}))
        .expect(200);
    assert_eq!((&changed["state"], &changed["name"]), (&json!("active"), &json!("m")));
    assert_eq!(daemon.root().introspect(&token)["metadata"], json!({"b": 2}));
    for (bad, field) in [
        (json!({"name": ""}), "name"),
        (json!({"metadata": []}), "metadata"),
        (json!({"enabled": "yes"}), "enabled"),
        (json!({"scope": "admin"}), "scope"),
        (json!({"expires_at": null}), "expires_at"),
        (json!({"state": "active"}), "state"),
        (json!({"user_id": "x"}), "user_id"),
    ] {
        anna.patch(&path(&made["id"]), bad).names_field(field);
    }
}

#[test]
fn rotation_gives_the_same_token_anew_and_ends_the_old_one() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "scope": "a b", "ttl_seconds": 7200}));
    let answer = anna.post(&(path(&made["id"]) + "/rotate"), json!({}));
    answer.is_never_stored();
    let new = answer.expect(201);
    assert_ne!(new["token"], made["token"]);
    assert_ne!(new["id"], made["id"]);
    assert_eq!((&new["name"], &new["scope"]), (&made["name"], &made["scope"]));
    about(now() + 7200, seconds(&new["expires_at"]));
    assert!(!daemon.is_active(&text_of(&made, "token")));
    assert!(daemon.is_active(&text_of(&new, "token")));
    anna.post(&(path(&made["id"]) + "/rotate"), json!({})).expect(409);
}

#[test]
fn the_overlap_is_at_most_30_days_and_never_beyond_the_old_ones_own_end() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let rotate = |wishes: Value, overlap: Value| {
        let made = anna.mint_pat(wishes);
        (anna.post(&(path(&made["id"]) + "/rotate"), json!({"overlap_seconds": overlap})), made)
    };
    let (answer, old) = rotate(json!({"name": "n"}), json!(2_592_000));
    answer.expect(201);
    assert!(daemon.is_active(&text_of(&old, "token")));
    about(now() + 30 * DAY, seconds(&anna.get(&path(&old["id"])).expect(200)["expires_at"]));
    for bad in [json!(2_592_001), json!(-1), json!("1"), json!(0.5)] {
        let (answer, old) = rotate(json!({"name": "n"}), bad);
        answer.names_field("overlap_seconds");
        assert!(daemon.is_active(&text_of(&old, "token")), "a refused rotation changes nothing");
    }
    let (answer, old) = rotate(json!({"name": "n", "ttl_seconds": 600}), json!(2_592_000));
    answer.expect(201);
    let end = seconds(&anna.get(&path(&old["id"])).expect(200)["expires_at"]);
    assert_eq!(end, seconds(&old["expires_at"]), "an overlap prolongs nothing");
    let (answer, old) = rotate(json!({"name": "n"}), json!(3));
    answer.expect(201);
    assert!(daemon.is_active(&text_of(&old, "token")));
    daemon.wait_until_dead(&text_of(&old, "token"));
}

#[test]
fn of_many_rotations_at_once_one_wins() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let place = path(&made["id"]) + "/rotate";
    let answers = at_once(16, |_| anna.post(&place, json!({})).status);
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [201, 409].contains(status)), "{answers:?}");
}

#[test]
fn another_users_token_is_404_to_everyone_but_an_admin() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let place = path(&made["id"]);
    let others = [daemon.user("bert@example.org", &[]), daemon.user("olga@example.org", &["operator"])];
    for other in &others {
        other.get(&place).refused(404, "not_found");
        other.patch(&place, json!({"name": "mine"})).refused(404, "not_found");
        other.post(&format!("{place}/rotate"), json!({})).refused(404, "not_found");
        other.delete(&place).refused(404, "not_found");
        assert!(by_id(&other.get("/v1/tokens").expect(200), made["id"].as_str().unwrap()).is_none());
    }
    let general = daemon.bearer(&admin.any_pat());
    general.get(&place).refused(404, "not_found");
    assert!(daemon.is_active(&text_of(&made, "token")));
    admin.get(&place).expect(200);
    admin.post(&format!("{place}/rotate"), json!({})).expect(201);
    assert!(!daemon.is_active(&text_of(&made, "token")));
}

#[test]
fn a_pat_mints_and_rotates_nothing() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    for scope in ["general", "admin", "operator admin introspect"] {
        let made = admin.mint_pat(json!({"name": "n", "scope": scope}));
        let pat = daemon.bearer(&text_of(&made, "token"));
        pat.post("/v1/tokens", json!({"name": "child"})).refused(403, "forbidden");
        pat.post(&(path(&made["id"]) + "/rotate"), json!({})).refused(403, "forbidden");
        pat.post(&format!("/v1/users/{}/tokens", admin.id), json!({"name": "child"}))
            .refused(403, "forbidden");
        pat.post(&format!("/v1/users/{}/sessions", admin.id), json!({})).refused(403, "forbidden");
        pat.get("/v1/me").expect(200);
        assert!(by_id(&pat.get("/v1/tokens").expect(200), made["id"].as_str().unwrap()).is_some());
        pat.delete(&path(&made["id"])).expect(204);
        pat.get("/v1/me").expect(401);
    }
}

#[test]
fn tokens_are_minted_for_another_user_by_those_who_may() {
    let daemon = Setup::new().service("scheduler", &["admin"]).service("plain", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    let place = format!("/v1/users/{}/tokens", anna.id);
    for caller in [&*admin, &daemon.root(), &*daemon.service("scheduler")] {
        let made = caller.post(&place, json!({"name": "for anna", "ttl_seconds": 60})).expect(201);
        let seen = daemon.root().introspect(&text_of(&made, "token"));
        assert_eq!(seen["sub"], anna.id);
        assert!(by_id(&anna.get("/v1/tokens").expect(200), made["id"].as_str().unwrap()).is_some());
    }
    for caller in [&*anna, &*daemon.service("plain"), &*daemon.user("olga@example.org", &["operator"])] {
        caller.post(&place, json!({"name": "n"})).refused(403, "forbidden");
    }
    daemon.root().post(&place, json!({"name": "n", "ttl_seconds": 0})).names_field("ttl_seconds");
    daemon
        .root()
        .post("/v1/users/user_01jd8w3m5ze8vr3pa0n2q9k6ms/tokens", json!({"name": "n"}))
        .refused(404, "not_found");
}

#[test]
fn admins_see_and_revoke_the_tokens_of_all() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    let id = text_of(&made, "id");
    daemon.bearer(&text_of(&made, "token")).get("/v1/me").expect(200);
    let list = admin.get(&format!("/v1/admin/tokens?user={}&kind=pat&state=active", anna.id)).expect(200);
    assert_eq!(items(&list).len(), 1, "{list}");
    let row = &items(&list)[0];
    assert_eq!((&row["user_id"], &row["user_email"]), (&json!(anna.id), &json!("anna@example.org")));
    assert_eq!(row["last_used_ip"], "127.0.0.1");
    about(now(), seconds(&row["last_used_at"]));
    let none = |query: &str| {
        assert!(
            by_id(&admin.get(&format!("/v1/admin/tokens?{query}")).expect(200), &id).is_none(),
            "{query}"
        );
    };
    none("kind=agent");
    none("state=revoked");
    none(&format!("user={}", admin.id));
    assert!(by_id(&admin.get("/v1/admin/tokens").expect(200), &id).is_some());
    admin.get("/v1/admin/tokens?kind=nonsense").expect(400);
    admin.get("/v1/admin/tokens?state=nonsense").expect(400);
    anna.get("/v1/admin/tokens").refused(403, "forbidden");
    anna.delete(&format!("/v1/admin/tokens/{id}")).refused(403, "forbidden");
    admin.delete(&format!("/v1/admin/tokens/{id}")).expect(204);
    admin.delete(&format!("/v1/admin/tokens/{id}")).expect(204);
    assert!(!daemon.is_active(&text_of(&made, "token")));
    none("state=active");
    let list = admin.get("/v1/admin/tokens?state=revoked").expect(200);
    assert_eq!(by_id(&list, &id).expect("a revoked row")["state"], "revoked");
    assert_eq!(admin.all("/v1/audit?action=token.admin_revoke").len(), 1);
    admin.delete("/v1/admin/tokens/token_01jd8w3m5ze8vr3pa0n2q9k6ms").refused(404, "not_found");
}

#[test]
fn every_state_can_be_filtered_for() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mint = |wishes: Value| {
        let made = anna.mint_pat(wishes);
        (text_of(&made, "id"), text_of(&made, "token"))
    };
    let (active, _) = mint(json!({"name": "n"}));
    let (disabled, _) = mint(json!({"name": "n"}));
    anna.patch(&format!("/v1/tokens/{disabled}"), json!({"enabled": false})).expect(200);
    let (revoked, _) = mint(json!({"name": "n"}));
    anna.delete(&format!("/v1/tokens/{revoked}")).expect(204);
    let (exhausted, token) = mint(json!({"name": "n", "max_uses": 1}));
    assert!(daemon.is_active(&token));
    let (expired, token) = mint(json!({"name": "n", "ttl_seconds": 1}));
    daemon.wait_until_dead(&token);
    let enrollment = text_of(&daemon.enrollment(json!({})), "token");
    daemon.nobody().post("/v1/enroll", people::enrolling(&enrollment, "host")).expect(201);
    for (state, id) in [
        ("active", &active),
        ("disabled", &disabled),
        ("revoked", &revoked),
        ("exhausted", &exhausted),
        ("expired", &expired),
    ] {
        let list = daemon.root().get(&format!("/v1/admin/tokens?state={state}")).expect(200);
        assert!(items(&list).iter().all(|row| row["state"] == state), "{list}");
        assert!(by_id(&list, id).is_some(), "{state}: {list}");
    }
    let list = daemon.root().get("/v1/admin/tokens?state=consumed").expect(200);
    assert_eq!(items(&list).len(), 1, "{list}");
    assert_eq!(items(&list)[0]["kind"], "enrollment");
}

#[test]
fn in_an_incident_many_are_revoked_by_a_filter() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let bert = daemon.user("bert@example.org", &[]);
    let of_anna: Vec<String> = (0..5).map(|_| anna.any_pat()).collect();
    let of_bert = bert.any_pat();
    let revoke = |body: Value| admin.post("/v1/admin/tokens/revoke", body);
    revoke(json!({})).expect(400);
    revoke(json!({"dry_run": true})).expect(400);
    revoke(json!({"user": null, "kind": null})).expect(400);
    revoke(json!({"kind": "nonsense"})).names_field("kind");
    revoke(json!({"user": anna.id, "everything": true})).names_field("everything");
    let dry = revoke(json!({"user": anna.id, "kind": "pat", "dry_run": true})).expect(200);
    assert_eq!((&dry["matches"], &dry["revoked"]), (&json!(5), &json!(0)), "{dry}");
    assert!(of_anna.iter().all(|token| daemon.is_active(token)));
    let done = revoke(json!({"user": anna.id, "kind": "pat"})).expect(200);
    assert_eq!((&done["matches"], &done["revoked"]), (&json!(5), &json!(5)), "{done}");
    assert!(of_anna.iter().all(|token| !daemon.is_active(token)));
    assert!(daemon.is_active(&of_bert));
    anna.get("/v1/me").expect(200);
    let again = revoke(json!({"user": anna.id, "kind": "pat"})).expect(200);
    assert_eq!(again["revoked"], 0, "{again}");
    let early = revoke(json!({"user": bert.id, "created_before": "2020-01-01T00:00:00Z"})).expect(200);
    assert_eq!(early["matches"], 0, "{early}");
    revoke(json!({"created_before": "yesterday"})).names_field("created_before");
    let late = revoke(json!({"user": bert.id, "created_before": "2100-01-01T00:00:00Z"})).expect(200);
    assert_eq!(late["revoked"], 2, "the token and the session: {late}");
    bert.get("/v1/me").expect(401);
    bert.post("/v1/admin/tokens/revoke", json!({"user": anna.id})).expect(401);
    anna.post("/v1/admin/tokens/revoke", json!({"user": bert.id})).refused(403, "forbidden");
}

#[test]
fn an_incident_revokes_by_host_and_by_client() {
    let daemon = Daemon::start();
    let (one, two) = (daemon.host("one"), daemon.host("two"));
    let revoke = |body: Value| daemon.root().post("/v1/admin/tokens/revoke", body).expect(200);
    assert_eq!(revoke(json!({"host": one.id}))["revoked"], 1);
    assert!(!daemon.is_active(&one.agent_token) && daemon.is_active(&two.agent_token));
    let client = daemon.client("acme");
    let cookie = daemon.portal_cookie(&text_of(&daemon.link(&client, json!({})), "token"));
    daemon.browser(&cookie).get("/portal/session").expect(200);
    assert_eq!(revoke(json!({"client": client}))["revoked"], 1);
    daemon.browser(&cookie).get("/portal/session").expect(401);
}

#[test]
fn a_found_token_is_looked_up_without_being_used() {
    let daemon = Daemon::start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "lost", "max_uses": 1}));
    let token = text_of(&made, "token");
    let look = |token: &str| admin.post("/v1/admin/tokens/lookup", json!({"token": token}));
    for _ in 0..3 {
        let row = look(&token).expect(200);
        assert_eq!(
            (&row["id"], &row["name"], &row["state"]),
            (&made["id"], &json!("lost"), &json!("active"))
        );
        assert_eq!(row["last_used_at"], Value::Null);
        assert!(!row.to_string().contains(&token));
    }
    anna.post("/v1/admin/tokens/lookup", json!({"token": token})).refused(403, "forbidden");
    anna.delete(&path(&made["id"])).expect(204);
    assert_eq!(look(&token).expect(200)["state"], "revoked", "dead ones are found too");
    look(&text::never_minted("pat")).refused(404, "not_found");
    look("nonsense").refused(404, "not_found");
    look(admin.token()).expect(200);
}

#[test]
fn last_use_is_seen_at_once_and_survives_a_clean_stop() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n"}));
    daemon.bearer(&text_of(&made, "token")).get("/v1/me").expect(200);
    let used = anna.get(&path(&made["id"])).expect(200)["last_used_at"].clone();
    about(now(), seconds(&used));
    daemon.restart();
    assert_eq!(anna.get(&path(&made["id"])).expect(200)["last_used_at"], used);
}

#[test]
fn nothing_that_belongs_to_the_daemon_can_be_set_by_a_caller() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    for field in [
        "user_id",
        "owner",
        "is_admin",
        "kind",
        "expires_at",
        "created_at",
        "id",
        "token",
        "prefix",
        "state",
        "groups",
    ] {
        let problem = anna.post("/v1/tokens", json!({"name": "n", field: "x"})).names_field(field);
        assert_eq!(problem["code"], "invalid_field");
    }
    assert_eq!(
        items(&anna.get("/v1/tokens").expect(200)).iter().filter(|row| row["kind"] == "pat").count(),
        0
    );
}

#[test]
fn a_jwt_has_the_claims_and_verifies_like_any_pat() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "format": "jwt", "scope": "a b", "ttl_seconds": 600}));
    let token = text_of(&made, "token");
    let part = |number: usize| -> Value {
        use base64ct::Encoding;
        let text = token.split('.').nth(number).unwrap();
        serde_json::from_slice(&base64ct::Base64UrlUnpadded::decode_vec(text).unwrap()).unwrap()
    };
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(part(0)["alg"], "HS256");
    assert!(part(0)["kid"].is_string());
    let claims = part(1);
    assert_eq!(claims["iss"], "http://127.0.0.1:8420");
    assert_eq!(claims["sub"], anna.id);
    assert_eq!(claims["email"], "anna@example.org");
    assert_eq!(claims["jti"], made["id"]);
    assert_eq!(claims["typ"], "pat");
    assert_eq!(claims["scope"], "a b");
    assert_eq!(claims["iat"], seconds(&made["created_at"]));
    assert_eq!(claims["exp"], seconds(&made["expires_at"]));
    let seen = daemon.root().introspect(&token);
    assert_eq!((&seen["active"], &seen["jti"], &seen["kind"]), (&json!(true), &made["id"], &json!("pat")));
    daemon.bearer(&token).get("/v1/me").expect(200);
    let forever =
        text_of(&anna.mint_pat(json!({"name": "n", "format": "jwt", "expires_in_days": null})), "token");
    assert!(!forever.split('.').nth(1).unwrap().is_empty());
    assert!(daemon.is_active(&forever));
    assert_eq!(daemon.root().introspect(&forever).get("exp"), None);
    anna.delete(&path(&made["id"])).expect(204);
    assert!(!daemon.is_active(&token));
    for bad in [json!("JWT"), json!("paseto"), json!(1), json!("")] {
        anna.post("/v1/tokens", json!({"name": "n", "format": bad})).names_field("format");
    }
}

#[test]
fn a_forged_jwt_is_refused() {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let token = text_of(&anna.mint_pat(json!({"name": "n", "format": "jwt"})), "token");
    let parts: Vec<&str> = token.split('.').collect();
    let header: Value = serde_json::from_slice(&Base64UrlUnpadded::decode_vec(parts[0]).unwrap()).unwrap();
    let encode = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let mut twins = vec![
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}="),
        format!("{token}."),
        format!(".{}.{}", parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
    ];
    for algorithm in ["none", "None", "HS512", "RS256", "hs256"] {
        let mut forged = header.clone();
        forged["alg"] = json!(algorithm);
        twins.push(format!("{}.{}.{}", encode(&forged), parts[1], parts[2]));
        twins.push(format!("{}.{}.", encode(&forged), parts[1]));
    }
    for kid in [json!("nobody"), json!(""), json!(null), json!(7), json!("../../etc/passwd")] {
        let mut forged = header.clone();
        forged["kid"] = kid;
        twins.push(format!("{}.{}.{}", encode(&forged), parts[1], parts[2]));
    }
    for position in (0..token.len()).filter(|position| token.as_bytes()[*position] != b'.') {
        let mut twin = token.clone().into_bytes();
        twin[position] = if twin[position] == b'A' { b'B' } else { b'A' };
        twins.push(String::from_utf8(twin).unwrap());
    }
    for twin in &twins {
        assert!(!daemon.is_active(twin), "active: {twin}");
    }
    assert!(daemon.is_active(&token));
}

#[test]
fn the_same_request_twice_is_two_tokens_with_nothing_in_common() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let body = json!({"name": "n", "ttl_seconds": 60, "metadata": {"request": "one and the same"}});
    let answers = at_once(16, |_| anna.mint_pat(body.clone()));
    let distinct = |member: &str| {
        let of: std::collections::BTreeSet<String> =
            answers.iter().map(|made| text_of(made, member)).collect();
        of.len()
    };
    assert_eq!((distinct("id"), distinct("token"), distinct("prefix")), (16, 16, 16));
    let secrets: std::collections::BTreeSet<String> =
        answers.iter().map(|made| text_of(made, "token")[34..77].to_owned()).collect();
    assert_eq!(secrets.len(), 16);
    assert_eq!(daemon.root().all("/v1/audit?action=token.create").len(), 16, "each has its entry");
}
