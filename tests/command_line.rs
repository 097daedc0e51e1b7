//! The command line (contract 5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

#[test]
fn bearerd_alone_prints_help() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--help"][..], &["help"][..]] {
        let outcome = cli::alone(directory.path(), arguments);
        let said = outcome.stdout.clone() + &outcome.stderr;
        assert!([0, 2].contains(&outcome.code), "{outcome:?}");
        for noun in [
            "serve",
            "install-token",
            "user",
            "token",
            "enroll",
            "host",
            "client",
            "link",
            "audit",
            "keys",
            "reload",
            "status",
            "backup",
            "restore",
            "check",
            "import",
            "verify",
            "explain",
            "clock",
            "compact",
            "completions",
            "man",
        ] {
            assert!(said.contains(noun), "{noun} is not in the help");
        }
    }
    assert_eq!(cli::alone(directory.path(), &["--help"]).code, 0);
    assert!(cli::alone(directory.path(), &["--version"]).expect(0).contains("bearerd"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "help makes no files");
}

#[test]
fn wrong_usage_is_2_and_an_absent_daemon_5() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in
        [&["nonsense"][..], &["token", "nonsense"], &["token", "revoke"], &["--nonsense"], &["backup"]]
    {
        assert_eq!(cli::alone(directory.path(), arguments).code, 2, "{arguments:?}");
    }
    for arguments in [
        &["token", "list"][..],
        &["user", "list"],
        &["reload"],
        &["status"],
        &["status", "--json"],
        &["host", "list"],
    ] {
        let mut command = support::daemon::command(directory.path());
        command.args(arguments).env("BEARERD_SOCKET", directory.path().join("nowhere.sock"));
        let outcome = cli::run(command, "");
        assert_eq!(outcome.code, 5, "{arguments:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty());
    }
}

#[test]
fn the_socket_is_found_by_option_variable_or_configuration() {
    let daemon = Setup::new().config("[server]\nadmin_socket = \"elsewhere.sock\"\n").start();
    let socket = daemon.file("elsewhere.sock");
    assert!(socket.exists(), "a relative path counts from the configuration's folder");
    let away = tempfile::tempdir().unwrap();
    let socket_text = socket.to_str().unwrap();
    cli::alone(away.path(), &["user", "list", "--json", "--socket", socket_text]).expect(0);
    let mut command = support::daemon::command(away.path());
    command.args(["user", "list", "--json"]).env("BEARERD_SOCKET", &socket);
    cli::run(command, "").expect(0);
    let config = daemon.file("bearerd.toml");
    cli::alone(away.path(), &["user", "list", "--json", "--config", config.to_str().unwrap()]).expect(0);
    let other = Daemon::start();
    let data = other.data();
    cli::alone(away.path(), &["user", "list", "--json", "--data", data.to_str().unwrap()]).expect(0);
}

#[test]
fn a_configuration_that_is_named_and_cannot_be_used_leads_to_no_other_daemon() {
    let other = Daemon::start();
    let away = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(other.data(), away.path().join("bearerd-data")).unwrap();
    let list = ["user", "list", "--json"];
    let ask = |more: &[&str]| cli::alone(away.path(), &[&list[..], more].concat());
    ask(&[]).expect(0);
    for (name, text, code) in [
        ("none.toml", None, 3),
        ("half.toml", Some("[store]\ndir = \"own\"\n[server"), 1),
        ("odd.toml", Some("[store]\ndir = 7\n"), 1),
        ("binary.toml", Some("\u{0}"), 1),
    ] {
        if let Some(text) = text {
            support::daemon::write_private(&away.path().join(name), text);
        }
        let stopped = ask(&["--config", name]);
        assert_eq!(stopped.expect(code), "", "{name}");
        assert!(stopped.stderr.contains(name) && stopped.stderr.contains("--socket"), "{stopped:?}");
        // Whoever says otherwise where the daemon is needs no configuration.
        ask(&["--config", name, "--data", other.data().to_str().unwrap()]).expect(0);
        ask(&["--config", name, "--socket", other.socket().to_str().unwrap()]).expect(0);
        let mut command = support::daemon::command(away.path());
        command.args(list).args(["--config", name]).env("BEARERD_SOCKET", other.socket());
        cli::run(command, "").expect(0);
    }
    // One with a mistake still says where its own daemon is, which does not run.
    support::daemon::write_private(&away.path().join("own.toml"), "unknown = 1\n[store]\ndir = \"own\"\n");
    ask(&["--config", "own.toml"]).expect(5);
}

#[test]
fn tokens_are_listed_and_revoked() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "deploy"}));
    let id = text_of(&made, "id");
    let list = daemon.cli(&["token", "list", "--json"]).json();
    assert!(list.to_string().contains(&id), "{list}");
    let table = daemon.cli(&["token", "list"]);
    assert!(table.expect(0).contains("deploy"), "{table:?}");
    assert!(!table.stdout.contains(&text_of(&made, "token")));
    daemon.cli(&["token", "revoke", &id]).expect(0);
    assert!(!daemon.is_active(&text_of(&made, "token")));
    daemon.cli(&["token", "revoke", "token_01jd8w3m5ze8vr3pa0n2q9k6ms"]).expect(3);
}

#[test]
fn users_hosts_clients_and_links_are_listed() {
    let daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    daemon.host("web-1");
    let client = daemon.client("acme");
    daemon.link(&client, json!({"label": "for Ms Li"}));
    for (noun, what) in [("user", "anna@example.org"), ("host", "web-1"), ("client", "acme")] {
        assert!(daemon.cli(&[noun, "list"]).expect(0).contains(what), "{noun}");
        assert!(daemon.cli(&[noun, "list", "--json"]).json().to_string().contains(what), "{noun}");
    }
    assert!(daemon.cli(&["audit", "list", "--json"]).json().to_string().contains("host.enroll"));
}

#[test]
fn verify_tells_by_its_exit_code() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.any_pat();
    daemon.cli_with(&["verify", "-"], &pat).expect(0);
    daemon.cli_with(&["verify", "-"], &format!("{pat}\n")).expect(0);
    daemon.cli_with(&["verify", "-"], &text::never_minted("pat")).expect(10);
    daemon.cli_with(&["verify", "-"], "nonsense\n").expect(10);
    daemon.cli_with(&["verify", "-"], "").expect(2);
    anna.get("/v1/me").expect(200);
}

#[test]
fn no_secret_is_taken_from_an_argument() {
    let daemon = Daemon::start();
    let pat = daemon.user("anna@example.org", &[]).any_pat();
    for noun in ["verify", "explain"] {
        let code = daemon.cli(&[noun, &pat]).code;
        assert!(code != 0 && code != 10, "{noun}: an argument was taken for a token: {code}");
    }
}

#[test]
fn explain_prints_every_check() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let made = anna.mint_pat(json!({"name": "n", "max_uses": 1}));
    let token = text_of(&made, "token");
    // The line of a check: its name, how it came out, and what was seen.
    let line = |said: &str, check: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(check));
        found
            .unwrap_or_else(|| panic!("no {check} in: {said}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let explained = daemon.cli_with(&["explain"], &token);
    let said = explained.expect(0);
    assert!(!said.contains(&token) && !explained.stderr.contains(&token), "the token is not printed");
    for (check, seen) in [
        ("hash", "passed the token's own text"),
        ("kind", "passed pat"),
        ("not revoked", "passed never"),
        ("owner", "passed anna@example.org"),
        ("uses", "passed 0 of 1"),
    ] {
        assert_eq!(line(said, check), seen, "{check}");
    }
    anna.delete(&format!("/v1/tokens/{}", text_of(&made, "id"))).expect(204);
    let explained = daemon.cli_with(&["explain"], &token);
    let revoked = line(explained.expect(0), "not revoked");
    let at = revoked.strip_prefix("failed at ").unwrap_or_else(|| panic!("{}", explained.stdout));
    assert!(text::parse_time(at).is_some(), "a time as people and programs write it: {at}");
    let unknown = daemon.cli_with(&["explain"], "nonsense");
    assert_eq!(line(unknown.expect(0), "row"), "failed there is no such token");
}

#[test]
fn status_has_the_reload_and_the_services() {
    let daemon = Setup::new().service("scheduler", &[]).start();
    let status = daemon.cli(&["status", "--json"]).json();
    assert!(status["reload"]["generation"].is_i64(), "{status}");
    assert!(status["reload"].get("at").is_some() && status["reload"].get("outcome").is_some(), "{status}");
    let service = &status["services"][0];
    assert_eq!((&service["name"], &service["enabled"]), (&json!("scheduler"), &json!(true)));
    let slot = &service["slots"][0];
    assert!(
        slot.get("slot").is_some() && slot.get("last_used_at").is_some() && slot.get("uses").is_some(),
        "{status}"
    );
    daemon.cli(&["status"]).expect(0);
}

#[test]
fn completions_and_a_manual_page_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli::alone(directory.path(), &["completions", shell]).expect(0).contains("bearerd"));
    }
    assert!(cli::alone(directory.path(), &["man"]).expect(0).contains(".TH"));
    assert_eq!(cli::alone(directory.path(), &["completions", "nonsense"]).code, 2);
}

#[test]
fn check_judges_a_configuration_without_starting() {
    let setup = Setup::new();
    let path = setup.path().join("bearerd.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut command = support::daemon::command(setup.path());
        command.args(["check", "--config"]).arg(&path);
        cli::run(command, "")
    };
    let bad = check("[server]\n\nlistn = []\n");
    assert_eq!(bad.code, 1, "{bad:?}");
    let said = bad.stdout + &bad.stderr;
    for part in ["bearerd.toml", "3", "listn"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!setup.path().join("data").exists() && !setup.path().join("bearerd-data").exists());
}

#[test]
fn check_is_content_while_the_daemon_runs_and_when_it_stopped() {
    let mut daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    let running = daemon.cli(&["check"]);
    running.expect(0);
    daemon.stop();
    daemon.cli(&["check"]).expect(0);
    daemon.start_again();
}

#[test]
fn a_backup_is_taken_online_and_restored() {
    let mut daemon = Daemon::start();
    let admin = daemon.first_admin();
    let anna = daemon.user("anna@example.org", &[]);
    let kept = anna.any_pat();
    let revoked_later = anna.mint_pat(json!({"name": "n"}));
    let unspent = text_of(&daemon.enrollment(json!({})), "token");
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    assert!(daemon.file("copy.redb").exists(), "the command writes the file, where it runs");
    anna.delete(&format!("/v1/tokens/{}", text_of(&revoked_later, "id"))).expect(204);
    daemon.nobody().post("/v1/enroll", people::enrolling(&unspent, "web-1")).expect(201);
    let after = anna.any_pat();
    let bert = daemon.user("bert@example.org", &[]);
    // Not while the daemon runs.
    daemon.cli(&["restore", "copy.redb"]).expect(6);
    daemon.stop();
    daemon.cli(&["restore", "copy.redb"]).expect(0);
    let beside: Vec<String> = std::fs::read_dir(daemon.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("redb") && name != "bearerd.redb")
        .collect();
    assert!(!beside.is_empty(), "the replaced file is kept beside");
    daemon.start_again();
    assert!(daemon.is_active(&kept), "active in both");
    assert!(!daemon.is_active(&text_of(&revoked_later, "token")), "a restore brings nothing dead back");
    assert!(!daemon.is_active(&after), "made after the backup");
    bert.get("/v1/me").expect(401);
    admin.get("/v1/me").expect(200);
    daemon.nobody().post("/v1/enroll", people::enrolling(&unspent, "web-2")).expect(401);
    assert_eq!(daemon.nobody().get("/v1/setup").expect(200)["state"], "complete");
    assert_eq!(daemon.root().all("/v1/audit?action=store.restore").len(), 1);
    daemon.cli(&["audit", "verify"]).expect(0);
}

#[test]
fn a_restore_carries_deactivations_demotions_and_new_passwords_over() {
    let mut daemon = Daemon::start();
    daemon.user("stays@example.org", &["admin"]);
    let make = |email: &str, groups: &[&str]| {
        let body = json!({"email": email, "groups": groups, "password": people::PASSWORD});
        text_of(&daemon.root().post("/v1/users", body).expect(201), "id")
    };
    let (off, demoted, changed) = (
        make("off@example.org", &[]),
        make("demoted@example.org", &["admin", "x"]),
        make("changed@example.org", &[]),
    );
    let host = daemon.host("web-1");
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    let patch =
        |id: &str, body: Value| drop(daemon.root().patch(&format!("/v1/users/{id}"), body).expect(200));
    patch(&off, json!({"active": false}));
    patch(&demoted, json!({"groups": ["x"]}));
    patch(&changed, json!({"password": "a password of today"}));
    daemon.root().delete(&format!("/v1/hosts/{}", host.id)).expect(204);
    daemon.stop();
    daemon.cli(&["restore", "copy.redb"]).expect(0);
    daemon.start_again();
    let user = |id: &str| daemon.root().get(&format!("/v1/users/{id}")).expect(200);
    assert_eq!(user(&off)["active"], false);
    assert_eq!(user(&demoted)["groups"], json!(["x"]));
    let login = |password: &str| {
        daemon
            .nobody()
            .post("/v1/sessions", json!({"email": "changed@example.org", "password": password}))
            .status
    };
    assert_eq!((login(people::PASSWORD), login("a password of today")), (401, 201));
    host.get("/v1/me").expect(401);
    assert!(!daemon.is_active(&host.agent_token));
}

#[test]
fn a_restore_over_nothing_needs_a_word_and_voids_sessions() {
    let mut daemon = Daemon::start();
    let admin = daemon.first_admin();
    let pat = admin.any_pat();
    let unspent = text_of(&daemon.enrollment(json!({})), "token");
    daemon.cli(&["backup", "copy.redb"]).expect(0);
    daemon.stop();
    let store = daemon.store();
    std::fs::rename(&store, daemon.file("lost.redb")).unwrap();
    daemon.cli(&["restore", "copy.redb"]).expect(1);
    assert!(!store.exists());
    daemon.cli(&["restore", "copy.redb", "--accept-revived"]).expect(0);
    daemon.start_again();
    assert!(daemon.is_active(&pat));
    admin.get("/v1/me").expect(401);
    daemon.nobody().post("/v1/enroll", people::enrolling(&unspent, "h")).expect(401);
    assert_eq!(daemon.nobody().get("/v1/setup").expect(200)["state"], "complete");
}

#[test]
fn tokens_of_another_system_go_on_working_after_an_import() {
    let daemon = Daemon::start();
    let line = |token: &str, kind: &str, owner: &str, more: Value| {
        let mut line = json!({"sha256": sha256_hex(token), "kind": kind, "owner": owner, "name": "imported"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line.to_string()
    };
    let lines = [
        line(
            "old-pat-1",
            "pat",
            "anna@example.org",
            json!({"scope": "a b", "created_at": "2024-01-01T00:00:00Z"}),
        ),
        line("old-agent-1", "agent", "web-7", json!({})),
        line("old-link-1", "link", "acme", json!({})),
        line("old-pat-2", "pat", "anna@example.org", json!({"expires_at": "2024-01-01T00:00:00Z"})),
        line("old-pat-3", "pat", "anna@example.org", json!({"revoked_at": "2024-01-01T00:00:00Z"})),
    ];
    let text = lines.join("\n") + "\n";
    daemon.rewrite("import.jsonl", &text);
    let first = daemon.cli(&["import", "import.jsonl"]);
    first.expect(0);
    assert!(daemon.is_active("old-pat-1") && daemon.is_active("old-agent-1"));
    assert!(!daemon.is_active("old-pat-2") && !daemon.is_active("old-pat-3"));
    let seen = daemon.root().introspect("old-pat-1");
    assert_eq!(
        (&seen["scope"], &seen["email"], &seen["groups"]),
        (&json!("a b"), &json!("anna@example.org"), &json!([]))
    );
    daemon.bearer("old-pat-1").get("/v1/me").expect(200);
    daemon.bearer("old-agent-1").get("/v1/me").expect(200);
    daemon.portal_cookie("old-link-1");
    daemon.nobody().form("/v1/revoke", &[("token", "old-pat-1")]).expect(200);
    daemon.cli(&["import", "import.jsonl"]);
    assert!(!daemon.is_active("old-pat-1"), "a second import revives nothing");
    assert_eq!(daemon.root().all("/v1/admin/tokens?kind=agent").len(), 1);
    let imports = daemon.root().all("/v1/audit?action=token.import");
    assert_eq!(imports.len(), 1, "the second has changed nothing: {imports:?}");
    assert_eq!(imports[0]["params"], json!({"tokens": 5, "owners": 3, "duplicates": 0}));
    for (owners, action) in
        [("/v1/users", "user.create"), ("/v1/hosts", "host.create"), ("/v1/clients", "client.create")]
    {
        let made = text_of(&daemon.root().all(owners)[0], "id");
        let entries = daemon.root().all(&format!("/v1/audit?resource={made}"));
        assert_eq!(entries.iter().map(|entry| text_of(entry, "action")).collect::<Vec<_>>(), [action]);
        assert_eq!(entries[0]["actor"], imports[0]["actor"]);
    }
}

#[test]
fn a_bad_import_line_is_named() {
    let daemon = Daemon::start();
    for bad in [
        "nonsense",
        r#"{"sha256":"00","kind":"pat","owner":"a@example.org","name":"n"}"#,
        r#"{"sha256":"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ","kind":"pat","owner":"a@example.org","name":"n"}"#,
        r#"{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","kind":"session","owner":"a@example.org","name":"n"}"#,
        r#"{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","kind":"pat","owner":"x@system.local","name":"n"}"#,
        r#"{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","kind":"pat","owner":"a@example.org","name":"n","surprise":1}"#,
    ] {
        daemon.rewrite("import.jsonl", format!("{bad}\n"));
        let outcome = daemon.cli(&["import", "import.jsonl"]);
        outcome.expect(1);
        assert!(outcome.stderr.contains("line 1"), "the line is named: {outcome:?}");
    }
    assert_eq!(daemon.root().all("/v1/admin/tokens?kind=pat").len(), 0);
}

#[test]
fn the_clock_is_reset_and_the_store_compacted_on_demand() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    daemon.cli(&["clock", "reset"]).expect(0);
    anna.get("/v1/me").expect(200);
    let compact = daemon.cli(&["compact"]);
    if compact.code != 0 {
        daemon.stop();
        daemon.cli(&["compact"]).expect(0);
        daemon.start_again();
    }
    anna.get("/v1/me").expect(200);
}

#[test]
fn a_new_secret_is_the_only_thing_on_standard_output() {
    let daemon = Daemon::start();
    let new = |arguments: &[&str], input: &str| {
        let outcome = daemon.cli_with(arguments, input);
        outcome.expect(0).trim_end_matches('\n').to_owned()
    };
    daemon
        .cli_with(&["user", "create", "anna@example.org", "--password-file", "-"], people::PASSWORD)
        .expect(0);
    let login = json!({"email": "anna@example.org", "password": people::PASSWORD});
    daemon.nobody().post("/v1/sessions", login).expect(201);
    let pat = new(&["token", "create", "--user", "anna@example.org", "deploy"], "");
    assert!(daemon.is_active(&pat), "{pat:?}");
    let twin = new(&["tokens", "mint", "--user", "anna@example.org", "deploy", "--jwt"], "");
    assert!(daemon.is_active(&twin), "{twin:?}");
    let enrollment = new(&["enroll", "create", "--hostname", "web-1", "--credentials", "-"], "{\"k\":1}");
    let made = daemon.nobody().post("/v1/enroll", people::enrolling(&enrollment, "web-1")).expect(201);
    let agent = new(&["host", "rotate", &text_of(&made, "host_id")], "");
    let credentials = format!("/v1/hosts/{}/credentials", text_of(&made, "host_id"));
    assert_eq!(daemon.bearer(&agent).get(&credentials).expect(200), json!({"k": 1}));
    let client = daemon.client("acme");
    let url = new(&["link", "create", &client, "--redirect", "/in"], "");
    let token = url.split("token=").nth(1).expect("a URL with a token").to_owned();
    daemon.portal_cookie(&token);
    let as_json = daemon.cli(&["token", "create", "--user", "anna@example.org", "n", "--json"]).json();
    assert!(daemon.is_active(&text_of(&as_json, "token")));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let daemon = Daemon::start();
    daemon.cli(&["user", "create", "anna@example.org"]).expect(0);
    daemon.cli(&["user", "create", "ANNA@example.org"]).expect(6);
    daemon.cli(&["user", "create", "nonsense"]).expect(1);
    daemon.cli(&["user", "show", "nobody@example.org"]).expect(3);
    daemon.cli(&["host", "show", "host_01jd8w3m5ze8vr3pa0n2q9k6ms"]).expect(3);
    daemon.cli(&["token", "create", "--user", "nobody@example.org", "n"]).expect(3);
    daemon.cli(&["client", "create", "acme", "Acme"]).expect(0);
    daemon.cli(&["client", "create", "acme", "Acme"]).expect(6);
    daemon.user("only@example.org", &["admin"]);
    daemon.cli(&["user", "deactivate", "only@example.org", "--yes"]).expect(6);
    daemon.cli(&["user", "deactivate", "anna@example.org", "--yes"]).expect(0);
}

#[test]
fn who_names_a_socket_alone_reaches_no_store_that_lies_about() {
    let mut daemon = Daemon::start();
    let token = daemon.install_token();
    assert_eq!(daemon.stop().code(), Some(0));
    let away = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(daemon.data(), away.path().join("bearerd-data")).unwrap();
    let before = std::fs::read(daemon.store()).unwrap();
    let keyring = std::fs::read(daemon.data().join("keyring")).unwrap();
    for arguments in [&["install-token"][..], &["compact"], &["audit", "verify"], &["keys", "rotate"]] {
        let named = cli::alone(away.path(), &[arguments, &["--socket", "/nope"][..]].concat());
        let mut command = support::daemon::command(away.path());
        command.args(arguments).env("BEARERD_SOCKET", "/nope");
        for outcome in [named, cli::run(command, "")] {
            assert_eq!(outcome.expect(5), "", "{arguments:?}");
            assert!(outcome.stderr.contains("/nope") && outcome.stderr.contains("--data"), "{outcome:?}");
        }
    }
    assert!(std::fs::read(daemon.store()).unwrap() == before, "the store was touched");
    assert!(std::fs::read(daemon.data().join("keyring")).unwrap() == keyring, "the keyring was touched");
    // Who says which store is meant gets it, whatever the socket.
    let data = daemon.data();
    cli::alone(away.path(), &["audit", "verify", "--socket", "/nope", "--data", data.to_str().unwrap()])
        .expect(0);
    cli::alone(away.path(), &["audit", "verify"]).expect(0);
    daemon.start_again();
    daemon
        .nobody()
        .post(
            "/v1/setup",
            json!({"install_token": token, "email": "first@example.org", "password": people::PASSWORD}),
        )
        .expect(201);
}

#[test]
fn a_password_is_what_stands_before_the_line_end_and_nothing_is_taken_from_it() {
    let daemon = Daemon::start();
    let logs_in = |email: &str, password: &str| {
        daemon.nobody().post("/v1/sessions", json!({"email": email, "password": password})).status == 201
    };
    let rows = [
        ("one@example.org", "  with spaces  \n", "  with spaces  "),
        ("two@example.org", "\ta carriage return\r\n", "\ta carriage return"),
        ("three@example.org", "an empty line after\n\n", "an empty line after\n"),
        ("four@example.org", "no line end at all ", "no line end at all "),
    ];
    for (email, input, password) in rows {
        daemon.cli_with(&["user", "create", email, "--password-file", "-"], input).expect(0);
        assert!(logs_in(email, password), "{password:?}");
        assert!(!logs_in(email, password.trim()), "{password:?}");
        daemon.cli_with(&["user", "password", email], &format!(" {input}")).expect(0);
        assert!(logs_in(email, &format!(" {password}")), "{password:?}");
    }
    daemon.cli_with(&["user", "create", "five@example.org", "--password-file", "-"], "\n").expect(2);
}

#[test]
fn a_list_of_no_rows_is_wrong_usage_and_a_tail_of_none_shows_nothing() {
    let daemon = Daemon::start();
    daemon.client("acme");
    for list in [
        &["user", "list"][..],
        &["token", "list"],
        &["host", "list"],
        &["client", "list"],
        &["enroll", "list"],
        &["link", "list", "acme"],
        &["audit", "list"],
    ] {
        let refused = daemon.cli(&[list, &["--limit", "0"][..]].concat());
        assert_eq!(refused.expect(2), "", "{list:?}");
        daemon.cli(&[list, &["--limit", "1"][..]].concat()).expect(0);
    }
    assert_eq!(daemon.cli(&["audit", "tail", "-n", "0"]).expect(0), "");
    assert_eq!(daemon.cli(&["audit", "tail", "-n", "1"]).expect(0).lines().count(), 1);
}

#[test]
fn a_tail_of_none_that_follows_shows_what_comes_and_nothing_that_was() {
    use std::io::BufRead;
    let daemon = Daemon::start();
    daemon.client("before");
    let mut command = support::daemon::command(daemon.directory());
    command.args(["audit", "tail", "-n", "0", "-f", "--json", "--action", "client.create", "--socket"]);
    command.arg(daemon.socket()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (lines, shown) = std::sync::mpsc::channel();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || out.lines().for_each(|line| drop(lines.send(line.unwrap()))));
    // Nobody can see from outside when it has begun to follow, so that one after the other is made until one is shown.
    let mut made = Vec::new();
    let first = eventually("an entry is shown", || {
        made.push(daemon.client(&format!("after-{}", made.len())));
        shown.try_recv().ok()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let entry: Value = serde_json::from_str(&first).unwrap();
    assert!(made.iter().any(|id| entry["resource"] == json!(id)), "{entry}");
}

#[test]
fn a_token_given_as_an_argument_is_not_repeated() {
    let daemon = Daemon::start();
    let pat = daemon.user("anna@example.org", &[]).any_pat();
    let long = format!("eyJhbGciOiJIUzI1NiJ9.{}.x", "e".repeat(400));
    for token in [&pat, &long] {
        for command in [&["verify"][..], &["explain"], &["token", "lookup"]] {
            let outcome = daemon.cli(&[command, &[token.as_str()][..]].concat());
            assert_eq!(outcome.expect(3), "", "{command:?}");
            assert!(!outcome.stderr.contains(token.as_str()), "{outcome:?}");
            assert!(outcome.stderr.contains("standard input or a file"), "{outcome:?}");
        }
    }
    // A file that is there is named, whatever is wrong with it.
    let folder = daemon.cli(&["verify", "data"]);
    assert!(folder.code == 1 && folder.stderr.contains("data: "), "{folder:?}");
}

#[test]
fn a_backup_to_standard_output_is_wrong_usage_and_makes_no_file() {
    let daemon = Daemon::start();
    let outcome = daemon.cli(&["backup", "-"]);
    assert_eq!(outcome.expect(2), "");
    assert!(outcome.stderr.contains("name a file"), "{outcome:?}");
    assert!(!daemon.file("-").exists());
    daemon.cli(&["backup", "./-"]).expect(0);
    assert!(daemon.file("-").exists());
}

#[test]
fn a_switch_may_be_given_twice() {
    let daemon = Daemon::start();
    assert!(daemon.cli(&["--json", "user", "list", "--json", "--json", "-y", "--yes"]).json().is_array());
    daemon.cli(&["token", "list", "--kind", "pat", "--kind", "link"]).expect(2);
}

#[test]
fn a_token_of_another_kind_is_not_said_to_be_absent() {
    let daemon = Setup::new().service("scheduler", &[]).start();
    let anna = daemon.user("anna@example.org", &[]);
    daemon.host("web-1");
    let tokens = daemon.cli(&["token", "list", "--json"]).json();
    let of_kind = |kind: &str| {
        let found = tokens.as_array().unwrap().iter().find(|token| token["kind"] == kind);
        text_of(found.unwrap_or_else(|| panic!("no {kind} in {tokens}")), "id")
    };
    for id in [of_kind("session"), of_kind("agent")] {
        for verb in [&["disable"][..], &["enable"], &["rotate"], &["update", "--name", "n"]] {
            let outcome = daemon.cli(&[&["token"], verb, &[&id]].concat());
            assert_eq!(outcome.expect(3), "", "{verb:?}");
            let said = format!("there is no personal access token {id}; tokens of other kinds");
            assert!(outcome.stderr.contains(&said), "{outcome:?}");
        }
        daemon.cli(&["token", "show", &id]).expect(0);
    }
    anna.get("/v1/me").expect(200);
    // A service's secret is good, and in no store.
    let secret = people::service_secret("scheduler");
    daemon.cli_with(&["verify", "-"], &secret).expect(0);
    for verb in ["lookup", "revoke"] {
        let outcome = daemon.cli_with(&["token", verb, "-"], &secret);
        assert_eq!(outcome.expect(3), "");
        assert!(outcome.stderr.contains("the secret of a service") && !outcome.stderr.contains(&secret));
    }
}

#[test]
fn what_cannot_be_an_id_is_not_found_and_nobody_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let user = "user_01jd8w3m5ze8vr3pa0n2q9k6ms";
    let pat = text::never_minted("pat");
    let commands: &[&[&str]] = &[
        &["token", "show"],
        &["token", "disable"],
        &["token", "enable"],
        &["token", "rotate"],
        &["token", "update", "--name", "n"],
        &["token", "revoke"],
        &["enroll", "revoke"],
        &["link", "revoke"],
    ];
    let people: &[&[&str]] = &[
        &["user", "show"],
        &["user", "update", "--name", "n"],
        &["user", "deactivate"],
        &["token", "list", "--user"],
        &["token", "create", "name", "--user"],
        &["token", "revoke-all", "--user"],
    ];
    let wrong = |command: &[&str], id: &str| {
        let outcome = cli::alone(place.path(), &[command, &[id, "--socket", "nowhere.sock"]].concat());
        assert_eq!(outcome.expect(3), "", "{command:?} {id}");
        assert!(outcome.stderr.contains("26 characters"), "{outcome:?}");
        assert!(!outcome.stderr.contains(&pat), "{outcome:?}");
    };
    for command in commands {
        for id in ["revoke", "a/b", user, &pat] {
            wrong(command, id);
        }
    }
    for command in people {
        for id in ["nobody", "a/b", "token_01jd8w3m5ze8vr3pa0n2q9k6ms", &pat] {
            wrong(command, id);
        }
    }
}

#[test]
fn of_several_tokens_that_are_not_there_each_is_told_in_its_turn() {
    let daemon = Daemon::start();
    let ids = ["1", "2", "3"].map(|last| format!("token_01jd8w3m5ze8vr3pa0n2q9k6m{last}"));
    let [one, two, three] = ids.each_ref().map(String::as_str);
    let outcome = daemon.cli(&["token", "revoke", one, two, three]);
    assert_eq!(outcome.expect(3), "");
    let told: Vec<&str> = outcome.stderr.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(told, [one, two, three], "{outcome:?}");
}

#[test]
fn who_did_something_is_named_by_id_or_e_mail() {
    let daemon = Daemon::start();
    let admin = daemon.first_admin();
    admin.post("/v1/clients", json!({"slug": "acme", "name": "Acme"})).expect(201);
    let listed = |actor: &str| daemon.cli(&["audit", "list", "--actor", actor, "--json"]).json();
    let by_id = listed(&admin.id);
    assert!(by_id.to_string().contains("client.create"), "{by_id}");
    assert_eq!(listed("first@example.org"), by_id);
    let tail = daemon.cli(&["audit", "tail", "--actor", "FIRST@example.org"]);
    assert!(tail.expect(0).contains("client.create"), "{tail:?}");
    assert!(listed("system").to_string().contains("install.mint"));
    let nobody = daemon.cli(&["audit", "list", "--actor", "nobody@example.org"]);
    assert_eq!(nobody.expect(3), "");
    assert!(nobody.stderr.contains("there is no user nobody@example.org"), "{nobody:?}");
}
