//! Service secrets and the reload of configuration and secrets (contract 4.6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use rustix::process::Signal;
use support::daemon::{set_mode, write_private};
use support::people::service_secret;
use support::*;

const FILE_SERVICE: &str = "[services.scheduler]\nsecret_file = \"scheduler.secret\"\ngroups = [\"admin\"]\n";

fn status(daemon: &Daemon) -> Value {
    let socket = daemon.socket();
    cli::alone(daemon.directory(), &["status", "--json", "--socket", socket.to_str().unwrap()]).json()
}

fn slots(daemon: &Daemon, name: &str) -> (bool, Vec<Value>) {
    let status = status(daemon);
    let services = status["services"].as_array().unwrap_or_else(|| panic!("no services in {status}"));
    let service =
        services.iter().find(|service| service["name"] == name).unwrap_or_else(|| panic!("{status}"));
    (service["enabled"].as_bool().unwrap(), service["slots"].as_array().unwrap().clone())
}

fn works(daemon: &Daemon, secret: &str) -> bool {
    match daemon.bearer(secret).get("/v1/me").status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

fn with_secret_file(text: &str) -> Setup {
    Setup::new().config(FILE_SERVICE).file("scheduler.secret", text)
}

#[test]
fn a_service_is_a_user_of_the_system() {
    let daemon = Setup::new().service("scheduler", &["admin"]).start();
    let me = daemon.service("scheduler").get("/v1/me").expect(200);
    assert_eq!(me["subject"]["type"], "user");
    assert_eq!(me["subject"]["email"], "scheduler@system.local");
    assert_eq!(me["groups"], json!(["admin"]));
    assert_eq!(me["credential"]["kind"], "service");
    let id = text_of(&me["subject"], "id");
    let found = daemon.root().get("/v1/users?email=scheduler%40system.local").expect(200);
    assert_eq!(items(&found)[0]["id"], id);
    // It cannot be changed or given tokens over the API.
    let root = daemon.root();
    for change in [
        json!({"name": "x"}),
        json!({"groups": []}),
        json!({"active": false}),
        json!({"password": people::PASSWORD}),
    ] {
        root.patch(&format!("/v1/users/{id}"), change).expect(409);
    }
    root.post(&format!("/v1/users/{id}/tokens"), json!({"name": "n"})).expect(409);
    root.post(&format!("/v1/users/{id}/sessions"), json!({})).expect(409);
    daemon
        .nobody()
        .post("/v1/sessions", json!({"email": "scheduler@system.local", "password": people::PASSWORD}))
        .expect(401);
}

#[test]
fn a_service_may_what_its_groups_say() {
    let daemon = Setup::new()
        .service("admin", &["admin"])
        .service("operator", &["operator"])
        .service("plain", &[])
        .start();
    for (name, users, hosts) in [("admin", 200, 200), ("operator", 403, 200), ("plain", 403, 403)] {
        let service = daemon.service(name);
        assert_eq!(service.get("/v1/users").status, users, "{name}");
        assert_eq!(service.get("/v1/hosts").status, hosts, "{name}");
        service.post("/v1/tokens", json!({"name": "n"})).refused(403, "forbidden");
    }
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.mint_pat(json!({"name": "n"}));
    let rotate = format!("/v1/tokens/{}/rotate", text_of(&pat, "id"));
    daemon.service("admin").post(&rotate, json!({})).refused(403, "forbidden");
}

#[test]
fn a_secret_is_at_least_32_bytes_without_the_white_space_around_it() {
    let exactly = "s".repeat(32);
    let crlf = format!("{exactly}\r\n");
    let cases: [(&str, &str, bool); 9] = [
        ("32 bytes", &exactly, true),
        ("with a newline", &format!("{exactly}\n"), true),
        ("with CRLF", &crlf, true),
        ("with white space", &format!(" \t{exactly} \n\n"), true),
        ("31 bytes", &"s".repeat(31), false),
        ("31 bytes and a newline", &format!("{}\n", "s".repeat(31)), false),
        ("4096 bytes", &"s".repeat(4096), true),
        ("nothing", "", false),
        ("white space", " \n\t\n", false),
    ];
    for (what, text, on) in cases {
        let daemon = with_secret_file(text).start();
        assert_eq!(works(&daemon, text.trim()), on && !text.trim().is_empty(), "{what}");
        assert_eq!(slots(&daemon, "scheduler").0, on, "{what}");
        if !on {
            assert!(daemon.stderr().contains("scheduler"), "{what}: it says so: {}", daemon.stderr());
        }
    }
}

#[test]
fn several_secrets_at_once_are_all_accepted_and_counted_apart() {
    let (old, new) = (service_secret("old"), service_secret("new"));
    let daemon = with_secret_file(&format!("{old}\n{new}\n")).start();
    assert!(works(&daemon, &old) && works(&daemon, &new) && works(&daemon, &new));
    assert!(!works(&daemon, &format!("{old}{new}")));
    assert!(!works(&daemon, &old[..old.len() - 1]));
    assert!(!works(&daemon, &(old.clone() + "x")));
    let (_, slots) = slots(&daemon, "scheduler");
    assert_eq!(slots.len(), 2, "{slots:?}");
    let uses: Vec<i64> = slots.iter().map(|slot| slot["uses"].as_i64().unwrap()).collect();
    assert_eq!(uses, [1, 2]);
    assert!(seconds(&slots[0]["last_used_at"]) <= now());
    let metrics = daemon.nobody().get("/metrics").text();
    assert!(metrics.contains("scheduler"), "the metrics tell it too");
    assert!(!metrics.contains(&old) && !metrics.contains(&new));
}

#[test]
fn an_env_file_is_read_as_compose_reads_it() {
    let secret = service_secret("env");
    let config = |key: &str| format!("[services.scheduler]\nenv_file = \"product.env\"\nenv_key = {key}\n");
    let cases: [(&str, String); 6] = [
        ("bare", format!("OTHER=x\nTOKEN={secret}\n")),
        ("double quotes", format!("TOKEN=\"{secret}\"\n")),
        ("single quotes", format!("TOKEN='{secret}'\n")),
        ("export and comment", format!("# TOKEN=no\nexport TOKEN={secret} # a comment\n")),
        ("CRLF", format!("TOKEN={secret}\r\nX=1\r\n")),
        ("no newline at the end", format!("TOKEN={secret}")),
    ];
    for (what, text) in cases {
        let daemon = Setup::new().config(&config("\"TOKEN\"")).file("product.env", text).start();
        assert!(works(&daemon, &secret), "{what}: {}", daemon.stderr());
    }
    let second = service_secret("second");
    let text = format!("A={secret}\nB={second}\nAB={}\n", service_secret("third"));
    let daemon = Setup::new().config(&config("[\"A\", \"B\"]")).file("product.env", text).start();
    assert!(works(&daemon, &secret) && works(&daemon, &second) && !works(&daemon, &service_secret("third")));
}

#[test]
fn a_rotation_overlaps_and_ends_by_reload() {
    let (old, new) = (service_secret("old"), service_secret("new"));
    let daemon = with_secret_file(&format!("{old}\n")).with_long_silences().start();
    let mut connection = daemon.nobody().connect();
    let caller = daemon.bearer(&old);
    let mut status_on_open_connection = || caller.request("GET", "/v1/me").send_on(&mut connection).status;
    assert_eq!(status_on_open_connection(), 200);
    daemon.rewrite("scheduler.secret", format!("{old}\n{new}\n"));
    daemon.cli(&["reload"]).expect(0);
    assert!(works(&daemon, &old) && works(&daemon, &new));
    daemon.rewrite("scheduler.secret", format!("{new}\n"));
    daemon.cli(&["reload"]).expect(0);
    assert_eq!(status_on_open_connection(), 401);
    assert!(!works(&daemon, &old) && works(&daemon, &new));
}

#[test]
fn removing_a_secret_turns_the_service_off() {
    let secret = service_secret("scheduler");
    for empty in [false, true] {
        let daemon = with_secret_file(&secret).start();
        assert!(works(&daemon, &secret));
        if empty {
            daemon.rewrite("scheduler.secret", "\n");
        } else {
            std::fs::remove_file(daemon.file("scheduler.secret")).unwrap();
        }
        daemon.cli(&["reload"]).expect(0);
        assert!(!works(&daemon, &secret));
        assert!(!slots(&daemon, "scheduler").0);
        daemon.rewrite("scheduler.secret", &secret);
        daemon.cli(&["reload"]).expect(0);
        assert!(works(&daemon, &secret));
    }
}

#[test]
fn a_bad_secret_at_a_reload_keeps_the_old_one() {
    let secret = service_secret("scheduler");
    let daemon = with_secret_file(&secret).start();
    let before = status(&daemon)["reload"]["generation"].clone();
    let file = daemon.file("scheduler.secret");
    let refused = |what: &str| {
        let outcome = daemon.cli(&["reload"]);
        assert_eq!(outcome.code, 1, "{what}: {outcome:?}");
        assert!(!outcome.stderr.is_empty(), "{what}");
        assert!(works(&daemon, &secret), "{what}");
        let status = status(&daemon);
        assert_eq!(status["reload"]["generation"], before, "{what}: {status}");
        assert!(status["reload"]["error"].is_string(), "{what}: {status}");
        assert!(seconds(&status["reload"]["at"]) <= now());
    };
    daemon.rewrite("scheduler.secret", "x".repeat(31));
    refused("short");
    daemon.rewrite("scheduler.secret", format!("{}\nshort\n", service_secret("new")));
    refused("one short of two");
    assert!(!works(&daemon, &service_secret("new")), "half a reload");
    daemon.rewrite("scheduler.secret", service_secret("new"));
    set_mode(&file, 0o602);
    refused("others can write it");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused("a directory");
    std::fs::remove_dir(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    refused("a FIFO that nobody writes to");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("scheduler.secret", &file).unwrap();
    refused("a link to itself");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    std::fs::remove_dir(&file).unwrap();
    write_private(&file, service_secret("new"));
    daemon.cli(&["reload"]).expect(0);
    assert!(works(&daemon, &service_secret("new")) && !works(&daemon, &secret));
    let status = status(&daemon);
    assert_ne!(status["reload"]["generation"], before);
    assert!(status["reload"].get("error").is_none_or(Value::is_null), "{status}");
}

#[test]
fn at_start_a_bad_secret_turns_its_service_off_loudly() {
    for (what, text, mode) in
        [("short", "x".repeat(31), 0o600), ("others can write it", service_secret("scheduler"), 0o622)]
    {
        let setup = with_secret_file(&text);
        set_mode(&setup.path().join("scheduler.secret"), mode);
        let daemon = setup.start();
        assert!(!works(&daemon, text.trim()), "{what}");
        assert!(!slots(&daemon, "scheduler").0);
        assert!(daemon.stderr().contains("scheduler"), "{what}: {}", daemon.stderr());
    }
    // A file that others can read gets a warning and works.
    let setup = with_secret_file(&service_secret("scheduler"));
    set_mode(&setup.path().join("scheduler.secret"), 0o644);
    let daemon = setup.start();
    assert!(works(&daemon, &service_secret("scheduler")));
    assert!(daemon.stderr().contains("scheduler.secret"), "{}", daemon.stderr());
}

/// As a bearer it would be taken for a token that nobody knows: accepted by HTTP Basic alone, it would be half a secret.
#[test]
fn a_secret_that_is_spelled_like_a_token_of_ours_is_a_mistake_and_works_nowhere() {
    let token = text::never_minted("pat");
    let works_anywhere = |daemon: &Daemon, secret: &str| {
        let client = [("client_id", "scheduler"), ("client_secret", secret), ("token", "x")];
        works(daemon, secret) || daemon.nobody().form("/v1/introspect", &client).status == 200
    };
    let daemon = with_secret_file(&token).start();
    assert!(!works_anywhere(&daemon, &token));
    assert!(!slots(&daemon, "scheduler").0);
    let said = |text: &str| text.contains("line 1: the secret is spelled like a token of bearerd");
    assert!(said(&daemon.stderr()) && !daemon.stderr().contains(&token), "{}", daemon.stderr());
    let secret = service_secret("scheduler");
    daemon.rewrite("scheduler.secret", &secret);
    daemon.cli(&["reload"]).expect(0);
    daemon.rewrite("scheduler.secret", format!("{token}\n{secret}\n"));
    let refused = daemon.cli(&["reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(said(&refused.stderr) && !refused.stderr.contains(&token), "{refused:?}");
    assert!(works_anywhere(&daemon, &secret) && !works_anywhere(&daemon, &token));
}

#[test]
fn two_services_with_one_secret_are_both_off() {
    let config = "[services.one]\nsecret_file = \"a\"\n[services.two]\nsecret_file = \"b\"\n[services.three]\nsecret_file = \"c\"\n";
    let (shared, own) = (service_secret("shared"), service_secret("own"));
    let third = service_secret("third");
    let daemon = Setup::new()
        .config(config)
        .file("a", &shared)
        .file("b", format!("{own}\n{shared}\n"))
        .file("c", &third)
        .start();
    assert!(!works(&daemon, &shared) && !works(&daemon, &own) && works(&daemon, &third));
    assert!(!slots(&daemon, "one").0 && !slots(&daemon, "two").0 && slots(&daemon, "three").0);
    daemon.rewrite("b", &own);
    daemon.cli(&["reload"]).expect(0);
    assert!(works(&daemon, &shared) && works(&daemon, &own));
    daemon.rewrite("b", &third);
    daemon.cli(&["reload"]).expect(1);
    assert!(works(&daemon, &shared) && works(&daemon, &own) && works(&daemon, &third));
}

#[test]
fn leaving_the_configuration_deactivates_the_service_user() {
    let daemon = Setup::new().service("scheduler", &["admin"]).start();
    let service = daemon.service("scheduler");
    let id = text_of(&service.get("/v1/me").expect(200)["subject"], "id");
    daemon.rewrite("bearerd.toml", "");
    daemon.cli(&["reload"]).expect(0);
    service.get("/v1/me").expect(401);
    assert_eq!(daemon.root().get(&format!("/v1/users/{id}")).expect(200)["active"], false);
    daemon.rewrite("bearerd.toml", FILE_SERVICE.replace("admin", "operator"));
    daemon.cli(&["reload"]).expect(0);
    let me = service.get("/v1/me").expect(200);
    assert_eq!((&me["subject"]["id"], &me["groups"]), (&json!(id), &json!(["operator"])));
}

#[test]
fn sighup_reloads_and_keeps_the_old_where_anything_is_wrong() {
    let daemon = with_secret_file(&service_secret("old")).start();
    daemon.rewrite("scheduler.secret", service_secret("new"));
    daemon.signal(Signal::HUP);
    eventually("the reload", || works(&daemon, &service_secret("new")).then_some(()));
    assert!(!works(&daemon, &service_secret("old")));
    daemon.rewrite("bearerd.toml", format!("{FILE_SERVICE}\nunknown_key = 1\n"));
    daemon.signal(Signal::HUP);
    let error =
        eventually("the failure is told", || status(&daemon)["reload"]["error"].as_str().map(str::to_owned));
    assert!(error.contains("unknown_key"), "{error}");
    assert!(works(&daemon, &service_secret("new")));
    for _ in 0..2_000 {
        daemon.signal(Signal::HUP);
    }
    assert!(works(&daemon, &service_secret("new")));
}

#[test]
fn a_reload_tells_the_operator_what_it_warns_of() {
    let daemon = with_secret_file(&service_secret("scheduler")).start();
    let reload = || daemon.cli(&["reload"]);
    assert!(!reload().stderr.contains("warning"));
    let secret = daemon.file("scheduler.secret");
    support::daemon::set_mode(&secret, 0o644);
    let told = reload();
    assert_eq!(told.expect(0), "");
    let warning = format!("warning: {} can be read by everybody", secret.display());
    assert!(told.stderr.lines().any(|line| line.starts_with(&warning)), "{told:?}");
}

#[test]
fn every_reload_is_an_audit_entry() {
    let daemon = with_secret_file(&service_secret("old")).start();
    daemon.cli(&["reload"]).expect(0);
    daemon.rewrite("scheduler.secret", "short");
    daemon.cli(&["reload"]).expect(1);
    let entries: Vec<Value> = daemon
        .root()
        .all("/v1/audit")
        .into_iter()
        .filter(|entry| text_of(entry, "action").contains("reload"))
        .collect();
    assert_eq!(entries.len(), 2, "{entries:?}");
}

#[test]
fn no_request_fails_or_sees_half_during_reloads() {
    let (one, two) = (service_secret("one"), service_secret("two"));
    let keep = service_secret("keep");
    let config =
        "[services.keep]\nsecret_file = \"keep.secret\"\n[services.swap]\nsecret_file = \"swap.secret\"\n";
    let daemon = Setup::new().config(config).file("keep.secret", &keep).file("swap.secret", &one).start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut connection = daemon.nobody().connect();
            let (keeper, first, second) = (daemon.bearer(&keep), daemon.bearer(&one), daemon.bearer(&two));
            let mut rounds = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                keeper.request("GET", "/v1/me").send_on(&mut connection).expect(200);
                for swapped in [&first, &second] {
                    let status = swapped.request("GET", "/v1/me").send_on(&mut connection).status;
                    assert!([200, 401].contains(&status), "{status}");
                }
                rounds += 1;
            }
            rounds
        });
        for round in 0..30 {
            let secret = if round % 2 == 0 { &two } else { &one };
            daemon.rewrite("swap.secret", secret);
            daemon.root().get("/healthz").expect(200);
            let outcome = daemon.cli(&["reload"]);
            assert_eq!(outcome.code, 0, "{outcome:?}");
            assert!(works(&daemon, secret), "round {round}");
            assert_eq!(works(&daemon, &one), round % 2 == 1, "round {round}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.join().unwrap() > 10);
    });
}

#[test]
fn status_and_reload_reach_the_daemon_though_the_configuration_is_broken() {
    let daemon = Daemon::start();
    for broken in ["unknown_key = 1\n", "[server\n"] {
        daemon.rewrite("bearerd.toml", broken);
        daemon.cli(&["reload"]).expect(1);
        let status = daemon.cli(&["status", "--json"]).json();
        assert!(status["reload"]["error"].is_string(), "{status}");
    }
}
