//! `bearerd check`, told through the binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use support::{Daemon, Setup, cli, json};

#[test]
fn a_sound_store_is_checked_whole_when_stopped_and_in_part_while_it_runs() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &["admin"]);
    anna.any_pat();
    daemon.host_with("web-1", json!({"credentials": {"a": 1}}));
    let client = daemon.client("acme");
    daemon.link(&client, json!({}));
    let running = daemon.cli(&["check", "--json"]).json();
    assert_eq!((&running["ok"], &running["running"]), (&json!(true), &json!(true)), "{running}");
    assert!(running["left_out"][0].as_str().unwrap().contains("store's file"), "{running}");
    assert!(running["entries"].as_u64().unwrap() > 0, "{running}");
    let people = daemon.cli(&["check"]);
    people.expect(0);
    assert!(people.stderr.contains("left out: the store's file"), "{people:?}");
    daemon.stop();
    let stopped = daemon.cli(&["check", "--json"]).json();
    assert_eq!((&stopped["ok"], &stopped["running"]), (&json!(true), &json!(false)), "{stopped}");
    assert_eq!(stopped["left_out"], json!([]));
    assert!(stopped["rows"].as_u64().unwrap() > stopped["entries"].as_u64().unwrap(), "{stopped}");
    daemon.start_again();
}

#[test]
fn a_flipped_bit_in_the_file_is_found_and_nothing_is_written() {
    let mut daemon = Daemon::start();
    daemon.user("anna@example.org", &[]);
    daemon.stop();
    let mut bytes = fs::read(daemon.store()).unwrap();
    let at = bytes.windows(16).position(|window| window == b"anna@example.org").unwrap();
    bytes[at] ^= 1;
    fs::write(daemon.store(), &bytes).unwrap();
    let found = daemon.cli(&["check"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.stderr.contains("damaged") && found.stderr.contains("bearerd restore"), "{found:?}");
    let told: support::Value = serde_json::from_str(&daemon.cli(&["check", "--json"]).stdout).unwrap();
    assert_eq!(told["ok"], false);
    assert_eq!(told["findings"][0]["where"], "store", "{told}");
    assert_eq!(fs::read(daemon.store()).unwrap(), bytes);
}

#[test]
fn an_empty_file_in_the_place_of_a_store_is_damage_to_the_daemon_and_to_check() {
    for with_keyring in [true, false] {
        let mut daemon = Daemon::start();
        daemon.stop();
        fs::remove_file(daemon.data().join("bearerd.redb.initialised")).unwrap();
        fs::write(daemon.store(), b"").unwrap();
        if !with_keyring {
            fs::remove_file(daemon.data().join("keyring")).unwrap();
        }
        let found = daemon.cli(&["check"]);
        assert!(found.code == 1 && found.stderr.contains("is damaged: the file is empty"), "{found:?}");
        let failed = daemon.does_not_start_again();
        assert!(failed.stderr.contains("is damaged: the file is empty"), "{failed:?}");
        assert_eq!(fs::read(daemon.store()).unwrap(), b"");
    }
}

#[test]
fn a_store_that_others_can_write_or_whose_keyring_is_gone_is_told() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let mode = |mode| fs::set_permissions(daemon.store(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o666);
    let found = daemon.cli(&["check"]);
    assert!(found.code == 1 && found.stderr.contains("chmod 600"), "{found:?}");
    mode(0o600);
    fs::rename(daemon.data().join("keyring"), daemon.file("elsewhere")).unwrap();
    let found = daemon.cli(&["check"]);
    assert!(found.code == 1 && found.stderr.contains("no keyring"), "{found:?}");
    let text = fs::read_to_string(daemon.file("elsewhere")).unwrap();
    let needed = format!("needs key {}", text.split_whitespace().nth(1).unwrap());
    assert!(found.stderr.contains(&needed), "{found:?}");
    fs::rename(daemon.file("elsewhere"), daemon.data().join("keyring")).unwrap();
    fs::rename(daemon.store(), daemon.file("lost")).unwrap();
    let found = daemon.cli(&["check"]);
    assert!(found.code == 1 && found.stderr.contains("gone missing"), "{found:?}");
}

#[test]
fn a_configuration_is_judged_before_anything_was_started() {
    let setup = Setup::new();
    let path = setup.path().join("bearerd.toml");
    let check = |text: &str| {
        support::daemon::write_private(&path, text);
        let mut command = support::daemon::command(setup.path());
        command.args(["check", "--json", "--config"]).arg(&path);
        let outcome = cli::run(command, "");
        let told: support::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(told["ok"] == true, outcome.code == 0, "{outcome:?}");
        (outcome.code, told)
    };
    let (code, told) = check("[server]\nlisten = [\"127.0.0.1:8420\"]\n");
    assert_eq!((code, &told["findings"]), (0, &json!([])), "{told}");
    let (code, told) = check("[server]\nlistn = []\n[sessions]\nttl = \"soon\"\n");
    assert_eq!(code, 1);
    let found = told["findings"].as_array().unwrap();
    assert_eq!(found.len(), 2, "every fault: {told}");
    for (finding, (line, key)) in found.iter().zip([(2, "listn"), (4, "sessions.ttl")]) {
        assert!(finding["where"].as_str().unwrap().ends_with(&format!("bearerd.toml:{line}")), "{told}");
        assert!(finding["what"].as_str().unwrap().contains(key), "{told}");
    }
    support::daemon::write_private(&setup.path().join("short"), "too short");
    let (code, told) = check("[services.one]\nsecret_file = \"short\"\n[keys]\nfile = \"nowhere\"\n");
    assert_eq!(code, 1);
    assert_eq!(told["findings"].as_array().unwrap().len(), 2, "keyring and service: {told}");
    assert!(!setup.path().join("bearerd-data").exists());
}

#[test]
fn a_data_directory_that_is_open_to_everybody_is_named_itself() {
    let mut daemon = Daemon::start();
    daemon.stop();
    support::daemon::set_mode(&daemon.data(), 0o777);
    let found = daemon.cli(&["check"]);
    assert_eq!(found.expect(1), "");
    let folder = format!("the folder {}", daemon.data().display());
    assert!(found.stderr.contains(&folder) && found.stderr.contains("chmod o-w"), "{found:?}");
    assert!(!found.stderr.contains("chmod 0600"), "{found:?}");
    let failed = daemon.does_not_start_again();
    assert!(failed.stderr.contains("chmod"), "{}", failed.stderr);
}

/// The entries that a running daemon's log was found to have.
#[track_caller]
fn asked(outcome: &cli::Outcome) -> u64 {
    let told = outcome.json();
    assert_eq!((&told["ok"], &told["running"], &told["findings"]), (&json!(true), &json!(true), &json!([])));
    assert!(told["left_out"].to_string().contains("store's file"), "{told}");
    told["entries"].as_u64().unwrap()
}

#[test]
fn a_daemon_whose_store_is_not_to_be_found_is_asked_about_its_log() {
    let mut daemon = Daemon::start();
    daemon.user("anna@example.org", &["admin"]);
    let away = tempfile::tempdir().unwrap();
    let socket = daemon.socket();
    let check = |more: &[&str], variable: Option<&std::path::Path>| {
        let mut command = support::daemon::command(away.path());
        command.args(["check", "--json"]).args(more).envs(variable.map(|value| ("BEARERD_SOCKET", value)));
        cli::run(command, "")
    };
    let entries = asked(&check(&["--socket", socket.to_str().unwrap()], None));
    assert!(entries > 0);
    assert_eq!(asked(&check(&[], Some(&socket))), entries);
    // Its socket is at a usual place, and its store is not.
    fs::create_dir(away.path().join("bearerd-data")).unwrap();
    std::os::unix::fs::symlink(&socket, away.path().join("bearerd-data/admin.sock")).unwrap();
    support::daemon::write_private(&away.path().join("own.toml"), "[tokens]\nprefix = \"acme\"\n");
    assert_eq!(asked(&check(&[], None)), entries);
    // A configuration that says of no daemon where it is is judged by itself.
    let own = check(&["--config", "own.toml"], None).json();
    assert_eq!(
        (&own["ok"], &own["running"], &own["entries"]),
        (&json!(true), &json!(false), &json!(0)),
        "{own}"
    );
    // A store in this folder is not that of the daemon behind the socket that was named.
    daemon.stop();
    fs::remove_dir_all(away.path().join("bearerd-data")).unwrap();
    std::os::unix::fs::symlink(daemon.data(), away.path().join("bearerd-data")).unwrap();
    let outcome = check(&["--socket", socket.to_str().unwrap()], None);
    assert_eq!(outcome.code, 5, "{outcome:?}");
}

#[test]
fn where_nothing_was_looked_at_nothing_is_called_well() {
    let place = tempfile::tempdir().unwrap();
    support::daemon::write_private(&place.path().join("own.toml"), "");
    let check = |more: &[&str]| {
        let run = |words: &[&str]| {
            let mut command = support::daemon::command(place.path());
            // A directory without a configuration, whatever the machine has.
            command.args(words).args(more).env("CONFIGURATION_DIRECTORY", place.path());
            cli::run(command, "")
        };
        let (people, programs) = (run(&["check"]), run(&["check", "--json"]));
        assert_eq!(people.code, programs.code, "{people:?} {programs:?}");
        let told: support::Value = serde_json::from_str(&programs.stdout).unwrap();
        assert_eq!((&told["ok"], &told["findings"]), (&json!(people.code == 0), &json!([])), "{told}");
        assert_eq!((&told["running"], &told["entries"]), (&json!(false), &json!(0)), "{told}");
        assert!(told["left_out"].to_string().contains("--data"), "{told}");
        people
    };
    for (arguments, code) in [(&["--data", "nowhere"][..], 3), (&["--socket", "nowhere.sock"], 5)] {
        let outcome = check(arguments);
        assert_eq!(outcome.expect(code), "");
        assert!(outcome.stderr.contains("nothing was looked at"), "{outcome:?}");
        assert!(!outcome.stderr.contains("nothing is wrong"), "{outcome:?}");
    }
    // A configuration was judged, and is all that there is yet.
    let outcome = check(&["--config", "own.toml", "--data", "nowhere"]);
    assert_eq!(outcome.expect(0), "");
    let said = "nothing is wrong with own.toml; the store was not looked at";
    assert!(outcome.stderr.contains(said), "{outcome:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_not_found() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("copy"), "").unwrap();
    for words in [&["check"][..], &["check", "--json"], &["restore", "copy"]] {
        let outcome = cli::alone(place.path(), &[words, &["--config", "none.toml"]].concat());
        assert_eq!(outcome.expect(3), "", "{words:?}");
        assert!(outcome.stderr.contains("none.toml is not there"), "{outcome:?}");
    }
}

#[test]
fn a_keyring_that_only_systemd_hands_out_is_left_out() {
    use base64ct::Encoding;
    let setup = Setup::new().config("[keys]\nfile = \"credential:ring\"\n");
    let key = base64ct::Base64UrlUnpadded::encode_string(&(1..=32).collect::<Vec<u8>>());
    let credentials = setup.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    support::daemon::write_private(&credentials.join("ring"), format!("current k1 {key}\n"));
    let left_out = |told: &support::Value| {
        assert_eq!((&told["ok"], &told["findings"]), (&json!(true), &json!([])), "{told}");
        let left_out = told["left_out"].to_string();
        for words in ["the keyring", "CREDENTIALS_DIRECTORY=DIR", "systemd-run"] {
            assert!(left_out.contains(words), "{words}: {told}");
        }
    };
    let before = cli::alone(setup.path(), &["check", "--json", "--config", "bearerd.toml", "--data", "data"]);
    left_out(&before.json());
    let mut daemon = setup.variable("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()).start();
    let running = daemon.cli(&["check", "--json"]).json();
    left_out(&running);
    assert!(running["running"] == true && running["entries"].as_u64().unwrap() > 0, "{running}");
    daemon.stop();
    let stopped = daemon.cli(&["check", "--json"]).json();
    left_out(&stopped);
    assert!(stopped["left_out"].to_string().contains("without its keyring"), "{stopped}");
    daemon.cli(&["check"]).expect(0);
    // That it has gone missing takes no key to see.
    fs::rename(daemon.store(), daemon.file("lost")).unwrap();
    let missing = daemon.cli(&["check"]);
    assert!(missing.code == 1 && missing.stderr.contains("gone missing"), "{missing:?}");
    fs::rename(daemon.file("lost"), daemon.store()).unwrap();
    // Who needs it is told how to come by it, and can.
    fs::write(daemon.file("copy"), "").unwrap();
    let rows = [&["compact"][..], &["audit", "verify"], &["install-token", "--force"], &["keys", "rotate"]];
    for words in rows.into_iter().chain([&["restore", "copy"][..]]) {
        let outcome = daemon.cli(words);
        assert_eq!(outcome.expect(1), "", "{words:?}");
        assert!(outcome.stderr.contains("CREDENTIALS_DIRECTORY=DIR"), "{words:?}: {outcome:?}");
        assert!(outcome.stderr.contains("-p LoadCredential=ring:FILE"), "{words:?}: {outcome:?}");
    }
    let mut command = support::daemon::command(daemon.directory());
    command.args(["check", "--json", "--config", "bearerd.toml", "--data", "data"]);
    let whole = cli::run(
        {
            command.env("CREDENTIALS_DIRECTORY", &credentials);
            command
        },
        "",
    )
    .json();
    assert!(whole["left_out"] == json!([]) && whole["rows"].as_u64().unwrap() > 0, "{whole}");
}

#[test]
fn a_store_that_somebody_has_and_about_which_nobody_answers_is_left_out_and_not_called_well() {
    let daemon = Daemon::start();
    fs::rename(daemon.socket(), daemon.file("elsewhere.sock")).unwrap();
    let check = |more: &[&str]| {
        let mut command = support::daemon::command(daemon.directory());
        command.args(["check", "--data", "data"]).args(more);
        // A directory without a configuration, whatever the machine has.
        command.env("CONFIGURATION_DIRECTORY", daemon.data());
        cli::run(command, "")
    };
    let outcome = check(&[]);
    assert_eq!(outcome.expect(0), "");
    for said in [
        "left out: the store's file",
        "left out: the audit log",
        "the daemon runs, and nothing was looked at",
    ] {
        assert!(outcome.stderr.contains(said), "{said}: {outcome:?}");
    }
    assert!(!outcome.stderr.contains("nothing is wrong"), "{outcome:?}");
    let configured = check(&["--config", "bearerd.toml"]);
    assert_eq!(configured.expect(0), "");
    assert!(configured.stderr.contains("bearerd.toml; the store was not looked at"), "{configured:?}");
    let asked = check(&["--socket", "elsewhere.sock"]);
    assert_eq!(asked.expect(0), "");
    assert!(asked.stderr.contains("entries of the audit log"), "{asked:?}");
}
