//! Running, stopping and surviving (contract 6 and 7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::*;

#[test]
fn it_runs_without_a_configuration_with_safe_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = support::daemon::command(directory.path());
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let out = fs::File::create(directory.path().join("out")).unwrap();
    let mut child = command.stdout(out).stderr(std::process::Stdio::null()).spawn().unwrap();
    let read = || fs::read_to_string(directory.path().join("out")).unwrap();
    eventually("the daemon listens", || read().contains("listening on http://127.0.0.1:").then_some(()));
    let data = directory.path().join("bearerd-data");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in ["bearerd.redb", "keyring", "admin.sock"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_listener_is_told_with_its_real_port() {
    let daemon = Setup::new()
        .config("[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"unix:api.sock\"]\n")
        .listening_as_configured()
        .start();
    let lines = || -> Vec<String> {
        let told = daemon.stdout();
        told.lines().filter_map(|line| line.strip_prefix("listening on ")).map(str::to_owned).collect()
    };
    let told = eventually("a line for each", || Some(lines()).filter(|told| told.len() >= 4));
    let unix = |path: &std::path::Path| format!("unix:{}", path.display());
    assert!(
        told[..2].iter().all(|at| at.starts_with("http://127.0.0.1:") && !at.ends_with(":0")),
        "{told:?}"
    );
    assert_eq!(told[2..], [unix(&daemon.file("api.sock")), unix(&daemon.socket())]);
    daemon.nobody().get("/healthz").expect(200);
}

#[test]
fn no_listener_at_all_leaves_the_admin_socket() {
    let setup = Setup::new().config("[server]\nlisten = []\n");
    let mut command = support::daemon::command(setup.path());
    command.args(["serve", "--config", "bearerd.toml", "--data", "data"]);
    let out = fs::File::create(setup.path().join("out")).unwrap();
    let mut child = command.stdout(out).stderr(std::process::Stdio::null()).spawn().unwrap();
    let root = Caller::new(http::Target::Unix(setup.path().join("data/admin.sock")));
    eventually("the admin socket answers", || {
        root.request("GET", "/healthz").try_send().ok().filter(|answer| answer.status == 200)
    });
    let told = || fs::read_to_string(setup.path().join("out")).unwrap();
    eventually("the admin socket is told", || {
        told().contains("listening on unix:data/admin.sock\n").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_bad_configuration_names_file_line_and_key_and_does_not_start() {
    let cases = [
        ("[server]\nlistn = []\n", "listn"),
        ("[server]\nlisten = \"127.0.0.1:0\"\n", "listen"),
        ("\n\n[tokns]\n", "tokns"),
        ("[server]\ndrain_seconds = \"ten\"\n", "drain_seconds"),
        ("[sessions]\nttl = \"12 parsecs\"\n", "ttl"),
        ("[sessions]\nttl = \"0s\"\n", "ttl"),
        ("[scopes.x]\nmax_ttl = 5\n", "max_ttl"),
        ("[authorize.x]\nkinds = [\"pats\"]\n", "kinds"),
        ("[services.x]\n", "x"),
        ("[services.X_y]\nsecret_file = \"a\"\n", "X_y"),
        ("[services.x]\nsecret_file = \"a\"\nenv_file = \"b\"\nenv_key = \"C\"\n", "x"),
        ("[services.x]\nenv_file = \"b\"\n", "env_key"),
        ("[server]\npublic_url = \"nonsense\"\n", "public_url"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/99\"]\n", "trusted_proxies"),
        ("[limits]\nfailed_logins_per_minute = -1\n", "failed_logins_per_minute"),
        ("[audit]\nretention = \"always\"\n", "retention"),
        ("[server\n", "bearerd.toml"),
        ("x = \n", "bearerd.toml"),
    ];
    for (text, word) in cases {
        let failed = Setup::new().config(text).does_not_start();
        assert!(failed.stderr.contains(word), "{text:?}: {}", failed.stderr);
        assert!(failed.stderr.contains("bearerd.toml"), "{text:?}: {}", failed.stderr);
        assert_eq!(failed.code, Some(1), "{text:?}");
        assert_eq!(token_in(&failed.stdout, "ist"), None);
    }
    let failed = Setup::new().config("[server]\n\nlistn = []\n").does_not_start();
    assert!(failed.stderr.contains('3'), "the line: {}", failed.stderr);
    let setup = Setup::new();
    fs::remove_file(setup.path().join("bearerd.toml")).unwrap();
    assert!(
        setup.does_not_start().stderr.contains("bearerd.toml"),
        "a configuration that was named must be there"
    );
}

#[test]
fn a_listener_that_is_not_loopback_needs_a_word() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let config = format!("[server]\nlisten = [\"{address}\"]\n");
        let failed = Setup::new().config(&config).listening_as_configured().does_not_start();
        assert!(failed.stderr.contains("allow_remote"), "{}", failed.stderr);
    }
    let config = "[server]\nlisten = [\"0.0.0.0:0\"]\nallow_remote = true\n";
    let daemon = Setup::new().config(config).listening_as_configured().start();
    assert!(daemon.address().starts_with("0.0.0.0:"));
    let failed = Setup::new().argument("--listen").argument("0.0.0.0:0").does_not_start();
    assert!(failed.stderr.contains("allow_remote"), "{}", failed.stderr);
}

#[test]
fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = Setup::new().argument("--listen").argument(&address).does_not_start();
    assert!(failed.stderr.contains(&address), "{}", failed.stderr);
}

#[test]
fn a_second_instance_on_the_same_store_is_turned_away() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mut command = support::daemon::command(daemon.directory());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config", "bearerd.toml", "--data"])
        .arg(daemon.data());
    let outcome = cli::run(command, "");
    outcome.expect(1);
    assert!(outcome.stderr.contains("in use by another process"), "{}", outcome.stderr);
    assert!(!outcome.stdout.contains("listening"));
    anna.get("/v1/me").expect(200);
    anna.any_pat();
    // What the first one has in memory could hide that its file was touched.
    daemon.restart();
    anna.get("/v1/me").expect(200);
}

#[test]
fn sigterm_and_sigint_end_with_0_and_lose_nothing() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let mut tokens = Vec::new();
    for signal in [Signal::TERM, Signal::INT, Signal::TERM] {
        let idle = daemon.nobody().connect();
        tokens.push(anna.any_pat());
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
        drop(idle);
        assert!(
            !daemon.socket().exists() || std::os::unix::net::UnixStream::connect(daemon.socket()).is_err()
        );
        daemon.start_again();
        assert!(tokens.iter().all(|token| daemon.is_active(token)));
    }
}

#[test]
fn what_is_in_flight_is_finished_and_nothing_new_is_taken() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let raw = anna.request("POST", "/v1/tokens").json(json!({"name": "in flight"})).bytes();
    let mut connection = anna.connect();
    connection.send(&raw[..raw.len() - 3]);
    // The daemon has surely read the first part once it has answered somebody who came later.
    daemon.nobody().get("/healthz").expect(200);
    daemon.signal(Signal::TERM);
    eventually("no new connection is taken", || {
        anna.request("GET", "/healthz").try_send().is_err().then_some(())
    });
    connection.send(&raw[raw.len() - 3..]);
    let made = connection.answer().expect(201);
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.start_again();
    assert!(daemon.is_active(&text_of(&made, "token")));
}

#[test]
fn a_request_that_never_ends_does_not_hold_the_stop_beyond_its_time() {
    let mut daemon = Daemon::configured("[server]\ndrain_seconds = 1\n");
    let mut connection = daemon.nobody().connect();
    connection.send("POST /v1/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{");
    daemon.nobody().get("/healthz").expect(200);
    let begun = std::time::Instant::now();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let (mut alive, mut dead, mut spent) = (Vec::<String>::new(), Vec::<String>::new(), Vec::<String>::new());
    let cycles = std::env::var("BEARERD_KILL_CYCLES").map_or(30, |count| count.parse().unwrap());
    for cycle in 0..cycles {
        // Writers go on until the daemon is gone; what they were told is the ledger.
        let (nobody, root) = (daemon.nobody(), daemon.root());
        let ledger = std::thread::scope(|scope| {
            let minting = scope.spawn(|| {
                let mut told = Vec::new();
                while let Ok(answer) =
                    anna.request("POST", "/v1/tokens").json(json!({"name": "n"})).try_send()
                {
                    if answer.status == 201 {
                        told.push(answer.json());
                    }
                }
                told
            });
            let revoking = scope.spawn(|| {
                let mut told = Vec::new();
                while let Ok(made) = anna.request("POST", "/v1/tokens").json(json!({"name": "n"})).try_send()
                {
                    let token = text_of(&made.expect(201), "token");
                    match nobody.request("POST", "/v1/revoke").form(&[("token", &token)]).try_send() {
                        Ok(answer) if answer.status == 200 => told.push(token),
                        _ => break,
                    }
                }
                told
            });
            let enrolling = scope.spawn(|| {
                let mut told = Vec::new();
                for number in 0.. {
                    let Ok(made) = root.request("POST", "/v1/enrollments").json(json!({})).try_send() else {
                        break;
                    };
                    let token = text_of(&made.expect(201), "token");
                    let body = people::enrolling(&token, &format!("h{cycle}-{number}"));
                    match nobody.request("POST", "/v1/enroll").json(body).try_send() {
                        Ok(answer) if answer.status == 201 => {
                            told.push((token, text_of(&answer.json(), "agent_token")));
                        }
                        _ => break,
                    }
                }
                told
            });
            std::thread::sleep(std::time::Duration::from_millis(u64::from(cycle * 37 % 90_u32)));
            daemon.kill();
            (minting.join().unwrap(), revoking.join().unwrap(), enrolling.join().unwrap())
        });
        daemon.start_again();
        alive.extend(ledger.0.iter().map(|made| text_of(made, "token")));
        dead.extend(ledger.1);
        for (token, agent) in ledger.2 {
            spent.push(token);
            alive.push(agent);
        }
        let fresh = |all: &Vec<String>| all.iter().rev().take(60).cloned().collect::<Vec<_>>();
        let results = |tokens: Vec<String>| {
            daemon.root().post("/v1/introspect/batch", json!({"tokens": tokens})).expect(200)
        };
        for result in results(fresh(&alive))["results"].as_array().unwrap() {
            assert_eq!(result["active"], true, "cycle {cycle}: an acknowledged token is gone");
        }
        for result in results(fresh(&dead))["results"].as_array().unwrap() {
            assert_eq!(result["active"], false, "cycle {cycle}: a revoked token is back");
        }
        for token in fresh(&spent).iter().take(3) {
            daemon.nobody().post("/v1/enroll", people::enrolling(token, "again")).expect(401);
        }
    }
    for chunk in alive.chunks(500) {
        let results = daemon.root().post("/v1/introspect/batch", json!({"tokens": chunk})).expect(200);
        assert!(results["results"].as_array().unwrap().iter().all(|result| result["active"] == true));
    }
    for chunk in dead.chunks(500) {
        let results = daemon.root().post("/v1/introspect/batch", json!({"tokens": chunk})).expect(200);
        assert!(results["results"].as_array().unwrap().iter().all(|result| result["active"] == false));
    }
    assert!(alive.len() + dead.len() > 50, "the writers did write");
    // And each has its one entry in the log.
    let created = daemon.root().all("/v1/audit?action=token.create");
    let mut entries = std::collections::HashMap::<String, u32>::new();
    for entry in &created {
        *entries.entry(text_of(entry, "resource")).or_default() += 1;
    }
    for token in alive.iter().chain(&dead).filter(|token| token.starts_with("bdr_pat_")) {
        let id = format!("token_{}", &token[8..34]);
        assert_eq!(entries.get(&id), Some(&1), "{id}");
    }
    daemon.cli(&["audit", "verify"]).expect(0);
}

#[test]
fn a_kill_during_the_first_start_leaves_a_first_start() {
    for delay in [0, 5, 10, 20, 40, 80] {
        let setup = Setup::new();
        let start = || {
            let mut command = support::daemon::command(setup.path());
            command.args(["serve", "--config", "bearerd.toml", "--data", "data", "--listen", "127.0.0.1:0"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        let mut child = start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let daemon = setup.start();
        daemon.nobody().get("/readyz").expect(200);
        assert_eq!(daemon.nobody().get("/v1/setup").expect(200)["state"], "pending");
        let new = token_in(daemon.cli(&["install-token"]).expect(0), "ist").unwrap();
        daemon
            .nobody()
            .post(
                "/v1/setup",
                json!({"install_token": new, "email": "a@example.org", "password": people::PASSWORD}),
            )
            .expect(201);
    }
}

/// A stopped daemon that has been used, and the bytes of its store.
fn used_and_stopped() -> (Daemon, Vec<u8>) {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["admin"]);
    for _ in 0..20 {
        let made = anna.mint_pat(json!({"name": "n"}));
        anna.delete(&format!("/v1/tokens/{}", text_of(&made, "id"))).expect(204);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    let bytes = fs::read(daemon.store()).unwrap();
    (daemon, bytes)
}

#[test]
fn a_store_that_was_cut_short_or_emptied_is_told_and_not_written_over() {
    let (mut daemon, bytes) = used_and_stopped();
    for length in [0, 1, 512, 4096, bytes.len() / 2, bytes.len() - 1] {
        fs::write(daemon.store(), &bytes[..length]).unwrap();
        let failed = daemon.does_not_start_again();
        assert_eq!(failed.code, Some(1), "{length}");
        assert!(!failed.stderr.contains("panicked"), "{length}: {}", failed.stderr);
        assert_eq!(token_in(&failed.stdout, "ist"), None, "{length}: it took itself for new");
        assert!(fs::read(daemon.store()).unwrap() == bytes[..length], "{length}: the file was written to");
    }
    fs::write(daemon.store(), b"this is not a store at all").unwrap();
    daemon.does_not_start_again();
    fs::write(daemon.store(), &bytes).unwrap();
    daemon.start_again();
}

#[test]
fn a_store_that_went_missing_is_an_error_and_never_a_first_start() {
    let (mut daemon, bytes) = used_and_stopped();
    fs::remove_file(daemon.store()).unwrap();
    for _ in 0..2 {
        let failed = daemon.does_not_start_again();
        assert_eq!(token_in(&failed.stdout, "ist"), None);
        assert!(!daemon.store().exists(), "a new store was made");
    }
    fs::write(daemon.store(), &bytes).unwrap();
    daemon.start_again();
}

#[test]
fn a_keyring_alone_is_still_a_first_start() {
    let other = Daemon::start();
    let keyring = fs::read(other.data().join("keyring")).unwrap();
    let setup = Setup::new();
    fs::create_dir(setup.path().join("data")).unwrap();
    support::daemon::set_mode(&setup.path().join("data"), 0o700);
    let daemon = setup.file("data/keyring", &keyring).start();
    assert_eq!(fs::read(daemon.data().join("keyring")).unwrap(), keyring);
    daemon.first_admin();
}

#[test]
fn a_flipped_bit_gives_no_wrong_answer() {
    let (mut daemon, _) = used_and_stopped();
    let anna_tokens = {
        daemon.start_again();
        let rows = daemon.root().all("/v1/admin/tokens?kind=pat");
        daemon.stop();
        rows
    };
    let clean = fs::read(daemon.store()).unwrap();
    assert!(anna_tokens.iter().all(|row| row["state"] == "revoked"));
    let step = clean.len() / 24;
    for number in 0..24 {
        let mut damaged = clean.clone();
        let position = number * step + (number * 131) % step.max(1);
        damaged[position] ^= 1 << (number % 8);
        fs::write(daemon.store(), &damaged).unwrap();
        match daemon.try_start_again() {
            Ok(()) => {
                let list = daemon.root().get("/v1/admin/tokens?kind=pat&limit=500");
                if list.status == 200 {
                    let list = list.json();
                    assert!(
                        items(&list).iter().all(|row| row["state"] == "revoked"),
                        "byte {position}: un-revoked"
                    );
                    assert_eq!(items(&list).len(), anna_tokens.len(), "byte {position}: a row is missing");
                } else {
                    assert_eq!(list.status, 503, "byte {position}");
                }
                daemon.kill();
            }
            Err(failed) => {
                assert!(!failed.stderr.contains("panicked"), "byte {position}: {}", failed.stderr);
                assert!(fs::read(daemon.store()).unwrap() == damaged, "byte {position}: written over");
            }
        }
    }
}

#[test]
fn an_unwritable_data_directory_is_told() {
    let setup = Setup::new();
    fs::write(setup.path().join("data"), "a file where a directory should be").unwrap();
    let failed = setup.does_not_start();
    assert!(failed.stderr.contains("data"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("panicked"));
}

#[test]
fn signals_in_a_storm_do_no_harm() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    for _ in 0..3_000 {
        daemon.signal(Signal::HUP);
    }
    anna.any_pat();
    for _ in 0..200 {
        daemon.signal(Signal::HUP);
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.start_again();
    anna.get("/v1/me").expect(200);
}

#[test]
fn a_stale_socket_file_is_no_obstacle() {
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.socket().exists());
    daemon.start_again();
    daemon.root().get("/healthz").expect(200);
}

#[test]
fn the_log_is_one_line_an_event() {
    let daemon = Setup::new().variable("BEARERD_LOG", "debug").start();
    daemon.bearer("nonsense").get("/v1/me").expect(401);
    daemon.nobody().get("/a%0Ab").expect(404);
    daemon.nobody().post("/v1/sessions", json!({"email": "a\nb{\"x\":1}", "password": "x"})).expect(401);
    let log = daemon.stderr();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event.is_object());
    }
    assert!(log.contains("credential refused"), "{log}");
}

#[test]
fn arguments_and_environment_hold_no_secret() {
    let daemon = Setup::new().service("scheduler", &[]).start();
    let token = daemon.install_token();
    for name in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{}/{name}", daemon.id())).unwrap();
        assert!(!contains(&bytes, token.as_bytes()));
        assert!(!contains(&bytes, people::service_secret("scheduler").as_bytes()));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    assert!(core.split_whitespace().nth(4) == Some("0"), "no core file: {core}");
}

#[test]
fn a_stop_and_continue_does_no_harm() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    daemon.signal(Signal::STOP);
    let mut connection = anna.connect();
    connection.send(anna.request("POST", "/v1/tokens").json(json!({"name": "n"})).bytes());
    daemon.signal(Signal::CONT);
    assert_eq!(connection.answer().status, 201);
}

/// Sets a limit of the running daemon; gives the one before.
fn limit(daemon: &Daemon, resource: Resource, to: Option<u64>) -> Option<u64> {
    let id = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    let before = getrlimit(resource);
    let after = Rlimit { current: to, maximum: before.maximum };
    prlimit(id, resource, after).expect("setting a limit of the daemon").current
}

#[test]
fn while_the_store_cannot_be_written_verification_goes_on_and_service_comes_back_by_itself() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.any_pat();
    let counted = text_of(&anna.mint_pat(json!({"name": "n", "max_uses": 5})), "token");
    // A file that may not be written beyond its first pages: what a full disk is, without a disk.
    limit(&daemon, Resource::Fsize, Some(64 * 1024));
    let mut refused = 0;
    for _ in 0..5 {
        let answer = anna.post("/v1/tokens", json!({"name": "n"}));
        if answer.status != 201 {
            assert!([503, 507].contains(&answer.status), "{}", answer.text());
            refused += 1;
        }
        // Under a second, in which the store is opened again, even reading may be a 503.
        eventually("verification goes on", || {
            let status = daemon.bearer(&pat).get("/v1/me").status;
            assert!([200, 503].contains(&status), "{status}");
            (status == 200).then_some(())
        });
    }
    assert!(refused > 0, "nothing was refused");
    daemon.nobody().get("/healthz").expect(200);
    daemon.root().get("/v1/admin/backup").refused(507, "storage_full");
    let status = daemon.bearer(&counted).get("/v1/authorize").status;
    assert!([401, 403, 503, 507].contains(&status), "a use that cannot be counted is not granted: {status}");
    if status == 403 {
        let metrics = daemon.nobody().get("/metrics").text();
        let line = r#"bearerd_verifications_total{kind="pat",result="uncounted"} 1"#;
        assert!(metrics.lines().any(|own| own == line), "{line} in\n{metrics}");
    }
    limit(&daemon, Resource::Fsize, None);
    let made = within(std::time::Duration::from_secs(10), "changes are accepted again", || {
        let answer = anna.post("/v1/tokens", json!({"name": "back"}));
        (answer.status == 201).then(|| answer.json())
    });
    assert!(daemon.is_active(&text_of(&made, "token")));
    daemon.cli(&["audit", "verify"]).expect(0);
}

/// A stop brings last uses to the disk. Where it is full they are lost, which the log says; nothing that was
/// acknowledged is, and the stop is one.
#[test]
fn a_stop_on_a_full_disk_ends_with_0_warns_of_what_was_not_written_and_loses_nothing() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let pat = anna.any_pat();
    limit(&daemon, Resource::Fsize, Some(64 * 1024));
    daemon.bearer(&pat).get("/v1/me").expect(200);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
    let told = daemon.stderr();
    assert!(told.lines().any(|line| line.contains("\"warn\"") && line.contains("last uses")), "{told}");
    let errors: Vec<&str> = told.lines().filter(|line| line.contains("\"error\",")).collect();
    assert!(errors.iter().all(|line| line.contains("the store has no space")), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    daemon.start_again();
    assert!(daemon.is_active(&pat));
    daemon.stop();
    daemon.cli(&["check"]).expect(0);
}

#[test]
fn more_clients_than_descriptors_do_not_end_the_listener() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    limit(&daemon, Resource::Nofile, Some(u64::try_from(open).unwrap() + 10));
    let crowd: Vec<_> = (0..60).map(|_| daemon.nobody().connect()).collect();
    drop(crowd);
    eventually("service is back", || {
        anna.request("GET", "/v1/me").try_send().ok().filter(|answer| answer.status == 200)
    });
    limit(&daemon, Resource::Nofile, Some(1024));
    anna.any_pat();
}

/// Whatever zone or language the surroundings have, times are UTC and spans are what they are.
#[test]
fn neither_time_zone_nor_language_changes_a_time_or_a_span() {
    for (zone, language) in [
        ("UTC-14", "C"),
        ("Pacific/Kiritimati", "tr_TR.UTF-8"),
        ("Etc/GMT+12", "fa_IR.UTF-8"),
        ("Asia/Kathmandu", "de_DE.UTF-8"),
        (":/nowhere", "\u{ff}"),
        ("ZZZ-167:59:59", "ja_JP.eucJP"),
        ("", ""),
    ] {
        let daemon = Setup::new()
            .variable("TZ", zone)
            .variable("LC_ALL", language)
            .variable("LANG", language)
            .variable("LC_TIME", language)
            .start();
        let anna = daemon.user("anna@example.org", &[]);
        let made = anna.mint_pat(json!({"name": "n", "ttl_seconds": 3600}));
        assert!((seconds(&made["created_at"]) - now()).abs() < 30, "{zone}: {made}");
        assert_eq!(seconds(&made["expires_at"]) - seconds(&made["created_at"]), 3600, "{zone}");
        let seen = daemon.root().introspect(&text_of(&made, "token"));
        assert_eq!(seen["exp"], seconds(&made["expires_at"]), "{zone}");
        let entry = daemon.root().all("/v1/audit")[0].clone();
        assert!((seconds(&entry["at"]) - now()).abs() < 30, "{zone}: {entry}");
        let shown = daemon.cli(&["token", "list", "--json"]).json();
        let row = shown.as_array().unwrap().iter().find(|row| row["id"] == made["id"]).unwrap();
        assert_eq!(row["expires_at"], made["expires_at"], "{zone}");
    }
}
