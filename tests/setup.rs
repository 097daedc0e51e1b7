//! The install token and the first admin (contract 4.2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::people::PASSWORD;
use support::*;

fn body(token: &str, email: &str) -> Value {
    json!({"install_token": token, "email": email, "password": PASSWORD})
}

#[test]
fn the_first_start_prints_an_install_token_once_and_to_standard_output_alone() {
    let mut daemon = Daemon::start();
    let token = daemon.install_token();
    assert_eq!(daemon.stdout().matches(&token).count(), 1, "{}", daemon.stdout());
    assert!(!daemon.stderr().contains(&token), "the token is in the log");
    daemon.restart();
    daemon.restart();
    assert_eq!(token_in(&daemon.stdout(), "ist"), None, "printed again: {}", daemon.stdout());
    assert!(!daemon.stderr().contains(&token), "the token is in the log");
    let said = daemon.stdout() + &daemon.stderr();
    assert!(said.contains("install-token"), "a later start says how to get a new token: {said}");
    for entry in std::fs::read_dir(daemon.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!contains(&bytes, token.as_bytes()), "the token is in {}", path.display());
        }
    }
    daemon.nobody().post("/v1/setup", body(&token, "a@example.org")).expect(201);
}

#[test]
fn the_command_shown_with_the_install_token_reaches_this_daemon() {
    let at_a_port = Daemon::start();
    let url = format!("curl http://{}/v1/setup --json", at_a_port.address());
    assert!(at_a_port.stdout().contains(&url), "{}", at_a_port.stdout());
    let alone = Setup::new().config("[server]\nlisten = []\n").listening_as_configured().start();
    let socket =
        format!("curl --unix-socket '{}' http://localhost/v1/setup --json", alone.socket().display());
    assert!(alone.stdout().contains(&socket), "{}", alone.stdout());
    for daemon in [&at_a_port, &alone] {
        let another = format!("`bearerd install-token --socket '{}'`", daemon.socket().display());
        assert!(daemon.stdout().contains(&another), "{}", daemon.stdout());
    }
}

#[test]
fn nothing_is_minted_where_standard_output_is_the_journal() {
    use std::os::linux::fs::MetadataExt;
    // Standard output goes to a file here, and the variable names that very file, as the journal's does.
    let setup = Setup::new();
    let out = std::fs::File::create(setup.path().join("stdout")).unwrap();
    let meta = out.metadata().unwrap();
    let mut command = support::daemon::command(setup.path());
    command.args(["serve", "--data", "data", "--config", "bearerd.toml", "--listen", "127.0.0.1:0"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", meta.st_dev(), meta.st_ino()));
    let log = std::fs::File::create(setup.path().join("stderr")).unwrap();
    let mut child = command.stdin(std::process::Stdio::null()).stdout(out).stderr(log).spawn().unwrap();
    let read = |name: &str| std::fs::read_to_string(setup.path().join(name)).unwrap();
    eventually("the daemon listens", || read("stdout").contains("listening on").then_some(()));
    let said = read("stdout") + &read("stderr");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(token_in(&said, "ist"), None, "a token went to the journal");
    assert!(said.contains("install-token"), "the command that mints one is printed: {said}");
}

#[test]
fn setup_is_pending_then_complete_for_good() {
    let mut daemon = Daemon::start();
    let nobody = daemon.nobody();
    assert_eq!(nobody.get("/v1/setup").expect(200), json!({"state": "pending"}));
    let token = daemon.install_token();
    daemon.first_admin();
    for _ in 0..2 {
        assert_eq!(nobody.get("/v1/setup").expect(200), json!({"state": "complete"}));
        nobody.post("/v1/setup", body(&token, "again@example.org")).refused(409, "setup_complete");
        let wrong = body(&text::never_minted("ist"), "again@example.org");
        nobody.post("/v1/setup", wrong).refused(409, "setup_complete");
        daemon.restart();
    }
}

#[test]
fn once_setup_is_complete_every_body_is_answered_so() {
    let daemon = Daemon::start();
    let token = daemon.install_token();
    let nobody = daemon.nobody();
    let post = |kind: &str, text: &str| nobody.request("POST", "/v1/setup").body(kind, text).send();
    post("application/json", "{}").names_field("install_token");
    nobody.request("POST", "/v1/setup").send().refused(415, "unsupported_media_type");
    daemon.first_admin();
    nobody.request("POST", "/v1/setup").send().refused(409, "setup_complete");
    for text in ["{}", "{", "", &body(&token, "a@example.org").to_string(), &"x".repeat(65 * 1024)] {
        for kind in ["application/json", "text/plain"] {
            post(kind, text).refused(409, "setup_complete");
        }
    }
    let entries = eventually("what was refused is counted", || {
        let entries = daemon.root().all("/v1/audit?action=setup.refused");
        let count = |entry: &Value| entry["params"]["count"].as_i64().unwrap_or(1);
        (entries.iter().map(count).sum::<i64>() == 11).then_some(entries)
    });
    assert!(entries.iter().all(|entry| entry["params"]["reason"] == "setup_complete"), "{entries:?}");
}

#[test]
fn what_was_wrong_with_an_install_or_enrolment_token_is_in_log_and_metrics_and_not_in_the_answer() {
    let daemon = Daemon::start();
    let install = daemon.install_token();
    let nobody = daemon.nobody();
    nobody.post("/v1/setup", body("zzz", "a@example.org")).expect(401);
    nobody.post("/v1/setup", body(&install, "a@example.org")).expect(201);
    let enrol = |token: &str| {
        let host = json!({"token": token, "hostname": "web-1", "os": "linux", "arch": "x86_64"});
        nobody.post("/v1/enroll", host)
    };
    let enrolment = text_of(&daemon.enrollment(json!({})), "token");
    enrol(&install).expect(401);
    enrol(&enrolment).expect(201);
    let reasons = ["malformed", "kind"];
    eventually("the log says why", || {
        let log = daemon.stderr();
        let told = |reason| log.contains(&format!("\"reason\":\"{reason}\""));
        reasons.into_iter().all(told).then_some(())
    });
    let metrics = daemon.root().get("/metrics").text();
    for counted in [
        "kind=\"other\",result=\"malformed\"} 1",
        "kind=\"install\",result=\"ok\"} 1",
        "kind=\"install\",result=\"kind\"} 1",
        "kind=\"enrollment\",result=\"ok\"} 1",
    ] {
        assert!(metrics.contains(&format!("bearerd_verifications_total{{{counted}")), "{counted}: {metrics}");
    }
}

#[test]
fn setup_gives_an_admin_with_a_session() {
    let daemon = Daemon::start();
    let request = json!({"install_token": daemon.install_token(), "email": " First@Example.org ",
        "password": PASSWORD, "name": "First"});
    let answer = daemon.nobody().post("/v1/setup", request);
    answer.is_never_stored();
    let made = answer.expect(201);
    let user = &made["user"];
    assert!(text_of(user, "id").starts_with("user_"), "{made}");
    assert_eq!(text_of(user, "email").to_lowercase(), "first@example.org");
    assert_eq!(user["name"], "First");
    assert_eq!(user["groups"], json!(["admin"]));
    assert!(text_of(&made["session"], "token").starts_with("bdr_ses_"));
    assert!(text_of(&made["session"], "id").starts_with("token_"));
    assert!((seconds(&made["session"]["expires_at"]) - now() - 12 * 3600).abs() < 60);
    let admin = daemon.bearer(&text_of(&made["session"], "token"));
    let me = admin.get("/v1/me").expect(200);
    assert_eq!(me["subject"]["type"], "user");
    assert_eq!(me["subject"]["id"], user["id"]);
    assert_eq!(me["groups"], json!(["admin"]));
    assert_eq!(me["credential"]["kind"], "session");
    admin.get("/v1/users").expect(200);
    let entries = admin.all("/v1/audit?action=setup.complete");
    assert_eq!(entries.len(), 1, "{entries:?}");
}

#[test]
fn of_64_callers_at_once_exactly_one_becomes_the_first_admin() {
    let daemon = Daemon::start();
    let token = daemon.install_token();
    let caller = daemon.nobody();
    let answers = at_once(64, |number| {
        let request = body(&token, &format!("racer{number}@example.org"));
        // A full queue of hashes is a 429 that changes nothing: come back.
        loop {
            let answer = caller.post("/v1/setup", request.clone());
            if answer.status != 429 {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    });
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(winners.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for loser in answers.iter().filter(|answer| answer.status != 201) {
        assert!(loser.status == 409 || loser.status == 401, "{}", loser.text());
    }
    let admin = daemon.bearer(&text_of(&winners[0].json()["session"], "token"));
    assert_eq!(admin.all("/v1/users").len(), 1);
}

#[test]
fn a_request_that_is_wrong_in_anything_else_does_not_spend_the_token() {
    let daemon = Daemon::start();
    let token = daemon.install_token();
    let nobody = daemon.nobody();
    let post = |request: Value| nobody.post("/v1/setup", request);
    post(json!({"install_token": token, "email": "a@example.org", "password": "11 bytes pw"}))
        .names_field("password");
    post(json!({"install_token": token, "email": "a@example.org", "password": "x".repeat(1025)}))
        .names_field("password");
    post(json!({"install_token": token, "email": "no-at-sign", "password": PASSWORD})).names_field("email");
    post(json!({"install_token": token, "email": "a@system.local", "password": PASSWORD}))
        .names_field("email");
    post(json!({"install_token": token, "email": format!("{}@example.org", "a".repeat(250)), "password": PASSWORD}))
        .names_field("email");
    post(json!({"install_token": token, "password": PASSWORD})).names_field("email");
    post(json!({"install_token": token, "email": "a@example.org"})).names_field("password");
    post(
        json!({"install_token": token, "email": "a@example.org", "password": PASSWORD, "groups": ["admin"]}),
    )
    .names_field("groups");
    post(json!({"install_token": token, "email": "a@example.org", "password": PASSWORD, "name": 7}))
        .names_field("name");
    nobody.request("POST", "/v1/setup").body("application/json", "{").send().refused(400, "invalid_json");
    assert_eq!(nobody.get("/v1/setup").expect(200)["state"], "pending");
    post(body(&token, "a@example.org")).expect(201);
}

#[test]
fn wrong_tokens_are_one_401_and_lock_nothing() {
    let daemon = Daemon::start();
    let token = daemon.install_token();
    let nobody = daemon.nobody();
    let admin_link = text::never_minted("lnk");
    let spaced = format!("{token} ");
    let shortened = &token[..token.len() - 1];
    let flipped = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    let unknown = text::never_minted("ist");
    let long = [4096, 4097, 60_000].map(|length| "x".repeat(length));
    let wrong = ["", "x", &unknown, &admin_link, &spaced, shortened, &flipped, &token.to_uppercase()];
    let wrong = wrong.into_iter().chain(long.iter().map(String::as_str));
    let bodies: Vec<Value> = wrong
        .map(|token| nobody.post("/v1/setup", body(token, "a@example.org")))
        .map(|answer| answer.expect(401))
        .collect();
    assert!(bodies.iter().all(|problem| *problem == bodies[0]), "one body for all: {bodies:?}");
    // 10,000 in the thorough run.
    let tries = std::env::var("BEARERD_TEST_ROUNDS").map_or(500, |rounds| rounds.parse().unwrap());
    let mut connection = nobody.connect();
    for _ in 0..tries {
        let answer = nobody.request("POST", "/v1/setup").json(body(&unknown, "a@example.org"));
        answer.send_on(&mut connection).expect(401);
    }
    nobody.post("/v1/setup", body(&token, "a@example.org")).expect(201);
}

#[test]
fn the_install_token_opens_nothing_else() {
    let daemon = Daemon::start();
    let token = daemon.install_token();
    daemon.bearer(&token).get("/v1/me").expect(401);
    daemon.bearer(&token).get("/v1/users").expect(401);
    daemon.nobody().post("/v1/enroll", people::enrolling(&token, "h")).expect(401);
    assert!(!daemon.is_active(&token));
    daemon.nobody().get(&format!("/portal/enter?token={token}")).expect(401);
    daemon.nobody().post("/v1/setup", body(&token, "a@example.org")).expect(201);
    daemon.nobody().post("/v1/setup", body(&token, "a@example.org")).expect(409);
}

#[test]
fn a_new_install_token_kills_the_old_one_while_the_daemon_runs() {
    let daemon = Daemon::start();
    let old = daemon.install_token();
    let printed = daemon.cli(&["install-token"]);
    let new = token_in(printed.expect(0), "ist").expect("a token");
    assert_eq!(printed.stdout.trim(), new, "the secret is the only thing on standard output");
    assert_ne!(old, new);
    daemon.nobody().post("/v1/setup", body(&old, "a@example.org")).expect(401);
    daemon.nobody().post("/v1/setup", body(&new, "a@example.org")).expect(201);
}

#[test]
fn a_new_install_token_can_be_had_from_a_stopped_daemon() {
    let mut daemon = Daemon::start();
    let old = daemon.install_token();
    daemon.stop();
    let new = token_in(daemon.cli(&["install-token"]).expect(0), "ist").expect("a token");
    daemon.start_again();
    daemon.nobody().post("/v1/setup", body(&old, "a@example.org")).expect(401);
    daemon.nobody().post("/v1/setup", body(&new, "a@example.org")).expect(201);
    let actions = daemon.root().all("/v1/audit?action=install.mint");
    assert_eq!(actions.len(), 2, "{actions:?}");
}

#[test]
fn no_install_token_is_to_be_had_without_a_store() {
    let setup = Setup::new();
    let outcome = cli::alone(setup.path(), &["install-token", "--data", "nowhere"]);
    assert_eq!(outcome.expect(3), "");
    assert!(!setup.path().join("nowhere/bearerd.redb").exists(), "only serve and restore create a store");
}

#[test]
fn once_setup_is_complete_only_force_opens_it_once_more() {
    let daemon = Daemon::start();
    let admin = daemon.first_admin();
    let other = daemon.user("other@example.org", &[]);
    let refused = daemon.cli(&["install-token"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert_eq!(token_in(&refused.stdout, "ist"), None);
    assert_eq!(daemon.nobody().get("/v1/setup").expect(200)["state"], "complete");
    let forced = token_in(daemon.cli(&["install-token", "--force"]).expect(0), "ist").expect("a token");
    assert_eq!(daemon.nobody().get("/v1/setup").expect(200)["state"], "pending");
    admin.get("/v1/me").expect(200);

    let made = daemon.nobody().post("/v1/setup", body(&forced, "OTHER@example.org")).expect(201);
    assert_eq!(made["user"]["id"], other.id, "an e-mail that exists names that user");
    assert_eq!(made["user"]["groups"], json!(["admin"]));
    other.get("/v1/me").expect(401);
    daemon.bearer(&text_of(&made["session"], "token")).get("/v1/users").expect(200);
    let login = json!({"email": "other@example.org", "password": PASSWORD});
    daemon.nobody().post("/v1/sessions", login).expect(201);
    daemon.nobody().post("/v1/setup", body(&forced, "third@example.org")).refused(409, "setup_complete");
    daemon.cli(&["install-token"]).expect(6);
}

#[test]
fn force_brings_back_a_user_who_was_deactivated() {
    let daemon = Daemon::start();
    daemon.first_admin();
    let other = daemon.user("other@example.org", &["reader"]);
    daemon.root().patch(&format!("/v1/users/{}", other.id), json!({"active": false})).expect(200);
    let forced = token_in(daemon.cli(&["install-token", "--force"]).expect(0), "ist").expect("a token");
    let made = daemon.nobody().post("/v1/setup", body(&forced, "other@example.org")).expect(201);
    assert_eq!(made["user"]["active"], true);
    assert!(made["user"]["groups"].as_array().unwrap().contains(&json!("admin")), "{made}");
    other.get("/v1/me").expect(401);
}

/// An import that came first has made the operator a user, who cannot log in.
#[test]
fn force_makes_a_user_whom_an_import_made_the_first_admin() {
    let daemon = Daemon::start();
    let line =
        json!({"sha256": sha256_hex("old-pat"), "kind": "pat", "owner": "anna@example.org", "name": "old"});
    daemon.rewrite("import.jsonl", format!("{line}\n"));
    daemon.cli(&["import", "import.jsonl"]).expect(0);
    let setup = |token: &str| daemon.nobody().post("/v1/setup", body(token, "anna@example.org"));
    setup(&daemon.install_token()).refused(409, "email_exists");
    let install_token =
        |arguments: &[&str]| token_in(daemon.cli(arguments).expect(0), "ist").expect("a token");
    setup(&install_token(&["install-token"])).refused(409, "email_exists");
    let made = setup(&install_token(&["install-token", "--force"])).expect(201);
    let users = daemon.root().all("/v1/users");
    assert_eq!((users.len(), &users[0]["id"]), (1, &made["user"]["id"]), "the e-mail names that user");
    assert_eq!(made["user"]["groups"], json!(["admin"]));
    daemon.bearer(&text_of(&made["session"], "token")).get("/v1/users").expect(200);
    assert!(daemon.is_active("old-pat"));
    daemon.cli(&["install-token"]).expect(6);
}

#[test]
fn refused_setups_are_one_audit_entry_and_not_one_each() {
    let daemon = Daemon::start();
    for _ in 0..50 {
        daemon.nobody().post("/v1/setup", body(&text::never_minted("ist"), "a@example.org")).expect(401);
    }
    let entries = eventually("entries that count all of them", || {
        let entries = daemon.root().all("/v1/audit");
        let found: Vec<Value> =
            entries.into_iter().filter(|entry| text_of(entry, "action").starts_with("setup.")).collect();
        let count = |entry: &Value| entry["params"]["count"].as_i64().unwrap_or(1);
        (found.iter().map(count).sum::<i64>() == 50).then_some(found)
    });
    assert!(entries.len() <= 3, "{entries:?}");
    assert_eq!(entries[0]["ip"], "127.0.0.1");
}
