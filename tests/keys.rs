//! The keyring: made, required, rotated, guarded (contract 4.7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use support::*;

const CONFIGURED: &str = "[keys]\nfile = \"keys\"\n";

/// A keyring of one fresh key, made without the binary under test.
fn new_key() -> String {
    use base64ct::Encoding;
    use std::io::Read;
    let mut bytes = [0; 34];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    let key = base64ct::Base64UrlUnpadded::encode_string(&bytes[..32]);
    format!("current k{} {key}\n", hex(&bytes[32..]))
}

#[track_caller]
fn parsed(text: &str) -> Vec<(String, String, String)> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words.len(), 3, "{line}");
            (words[0].to_owned(), words[1].to_owned(), words[2].to_owned())
        })
        .collect()
}

#[test]
fn a_keyring_is_made_at_first_start_where_none_is_configured() {
    let mut daemon = Daemon::start();
    let file = daemon.data().join("keyring");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let keys = parsed(&text);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].0, "current");
    assert!(
        keys[0].1.len() <= 32 && keys[0].1.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    );
    assert_eq!(keys[0].2.len(), 43);
    daemon.restart();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_ne!(
        parsed(&std::fs::read_to_string(Daemon::start().data().join("keyring")).unwrap())[0].2,
        keys[0].2
    );
}

#[test]
fn a_configured_keyring_that_is_missing_is_an_error_also_at_first_start() {
    let failed = Setup::new().config(CONFIGURED).does_not_start();
    assert!(failed.stderr.contains("keys"), "{}", failed.stderr);
    let setup = Setup::new().config(CONFIGURED).file("keys", new_key());
    let daemon = setup.start();
    assert!(!daemon.data().join("keyring").exists());
    daemon.first_admin();
}

#[test]
fn keys_new_prints_a_key_that_works_and_never_the_same_twice() {
    let directory = tempfile::tempdir().unwrap();
    let print = || cli::alone(directory.path(), &["keys", "new"]).expect(0).to_owned();
    let (one, two) = (print(), print());
    assert_eq!(parsed(&one)[0].0, "current");
    assert_ne!(parsed(&one)[0].2, parsed(&two)[0].2);
    Setup::new().config(CONFIGURED).file("keys", one).start();
    let object = cli::alone(directory.path(), &["keys", "new", "--json"]).json();
    let three = text_of(&object, "keyring");
    assert_eq!(
        (&parsed(&three)[0].0, &parsed(&three)[0].1),
        (&"current".to_owned(), &text_of(&object, "current"))
    );
    Setup::new().config(CONFIGURED).file("keys", three).start();
}

#[test]
fn a_bad_keyring_is_refused_with_the_file_and_the_line() {
    let good = parsed(&new_key());
    let (id, key) = (&good[0].1, &good[0].2);
    let other = parsed(&new_key())[0].2.clone();
    let cases = [
        ("empty", String::new()),
        ("no current", format!("old {id} {key}\n")),
        ("two current", format!("current a {key}\ncurrent b {other}\n")),
        ("the same id twice", format!("current a {key}\nold a {other}\n")),
        ("the same key twice", format!("current a {key}\nold b {key}\n")),
        ("another word", format!("primary a {key}\n")),
        ("no id", format!("current {key}\n")),
        ("a bad id", format!("current a_b {key}\n")),
        ("an id of 33", format!("current {} {key}\n", "a".repeat(33))),
        ("a short key", format!("current a {}\n", &key[..42])),
        ("a long key", format!("current a {key}A\n")),
        ("not base64url", format!("current a {}+\n", &key[..42])),
        ("zeros", format!("current a {}\n", "A".repeat(43))),
        ("not text", "\u{0}\u{1}\u{2}".to_owned()),
    ];
    for (what, text) in cases {
        let failed = Setup::new().config(CONFIGURED).file("keys", &text).does_not_start();
        assert!(failed.stderr.contains("keys"), "{what}: {}", failed.stderr);
        assert!(!failed.stderr.contains(key.as_str()), "{what}: a key in the log");
        assert_eq!(failed.code, Some(1), "{what}");
    }
    let longest = format!("# a comment\n\n  \ncurrent {} {key}\nold x-1 {other}\n", "a".repeat(32));
    Setup::new().config(CONFIGURED).file("keys", longest).start();
}

#[test]
fn a_keyring_that_others_may_read_is_refused() {
    for mode in [0o604, 0o640, 0o602, 0o620] {
        let setup = Setup::new().config(CONFIGURED).file("keys", new_key());
        support::daemon::set_mode(&setup.path().join("keys"), mode);
        let outcome = setup.try_start();
        assert!(outcome.is_err(), "mode {mode:o} was accepted");
    }
}

#[test]
fn a_store_does_not_open_without_its_own_keyring_and_says_which_key_it_needs() {
    let mine = new_key();
    let mut daemon = Setup::new().config(CONFIGURED).file("keys", &mine).start();
    let anna = daemon.user("anna@example.org", &[]);
    assert_eq!(daemon.stop().code(), Some(0));
    let before = std::fs::read(daemon.store()).unwrap();
    daemon.rewrite("keys", new_key());
    let failed = daemon.does_not_start_again();
    assert!(failed.stderr.contains(&parsed(&mine)[0].1), "{}", failed.stderr);
    std::fs::remove_file(daemon.file("keys")).unwrap();
    let failed = daemon.does_not_start_again();
    assert!(failed.stderr.contains(&parsed(&mine)[0].1), "{}", failed.stderr);
    assert!(std::fs::read(daemon.store()).unwrap() == before, "the store was touched");
    // The right id with another key is another's too.
    let imposter = mine.replace(&parsed(&mine)[0].2, &parsed(&new_key())[0].2);
    daemon.rewrite("keys", imposter);
    daemon.does_not_start_again();
    daemon.rewrite("keys", &mine);
    daemon.start_again();
    anna.get("/v1/me").expect(200);
}

#[test]
fn a_made_keyring_that_went_missing_is_not_made_anew() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let file = daemon.data().join("keyring");
    let moved = daemon.file("elsewhere");
    let id = parsed(&std::fs::read_to_string(&file).unwrap())[0].1.clone();
    std::fs::rename(&file, &moved).unwrap();
    let failed = daemon.does_not_start_again();
    assert!(failed.stderr.contains(&format!("needs key {id}")), "{}", failed.stderr);
    assert!(!file.exists(), "a new keyring was made for an old store");
    std::fs::rename(&moved, &file).unwrap();
    daemon.start_again();
}

#[test]
fn after_a_rotation_old_cookies_jwts_and_credentials_still_work() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let jwt = text_of(&anna.mint_pat(json!({"name": "n", "format": "jwt"})), "token");
    let cookie = daemon.portal_cookie(&text_of(&daemon.link(&daemon.client("acme"), json!({})), "token"));
    let host = daemon.host_with("web-1", json!({"credentials": {"user": "u"}}));
    let enrollment = text_of(&daemon.enrollment(json!({"credentials": {"user": "late"}})), "token");
    let file = daemon.data().join("keyring");
    let before = parsed(&std::fs::read_to_string(&file).unwrap());
    daemon.cli(&["keys", "rotate"]).expect(0);
    let after = parsed(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(after.len(), 2);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let state = |id: &str| after.iter().find(|key| key.1 == id).unwrap().0.clone();
    assert_eq!(state(&before[0].1), "old");
    let current = after.iter().find(|key| key.0 == "current").unwrap().1.clone();

    let all_hold = |daemon: &Daemon| {
        assert!(daemon.is_active(&jwt));
        daemon.browser(&cookie).get("/portal/session").expect(200);
        assert_eq!(host.get(&format!("/v1/hosts/{}/credentials", host.id)).expect(200), json!({"user": "u"}));
    };
    all_hold(&daemon);
    let late = daemon.nobody().post("/v1/enroll", people::enrolling(&enrollment, "late")).expect(201);
    let agent = daemon.bearer(&text_of(&late, "agent_token"));
    let place = format!("/v1/hosts/{}/credentials", text_of(&late, "host_id"));
    assert_eq!(agent.get(&place).expect(200), json!({"user": "late"}));
    // Only the current one signs.
    let fresh = text_of(&anna.mint_pat(json!({"name": "n", "format": "jwt"})), "token");
    let header = {
        use base64ct::Encoding;
        base64ct::Base64UrlUnpadded::decode_vec(fresh.split('.').next().unwrap()).unwrap()
    };
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["kid"], current);
    let new_cookie =
        daemon.portal_cookie(&text_of(&daemon.link(&daemon.client("second"), json!({})), "token"));
    assert!(new_cookie.contains(&format!("v1.{current}.")), "{new_cookie}");
    daemon.restart();
    all_hold(&daemon);
}

#[test]
fn a_reload_that_would_drop_a_key_in_use_is_refused_with_the_counts() {
    let daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    let jwt = anna.mint_pat(json!({"name": "n", "format": "jwt"}));
    daemon.host_with("web-1", json!({"credentials": {"user": "u"}}));
    daemon.cli(&["keys", "rotate"]).expect(0);
    let file = daemon.data().join("keyring");
    let with_old = std::fs::read_to_string(&file).unwrap();
    let without_old: String =
        with_old.lines().filter(|line| !line.starts_with("old")).flat_map(|line| [line, "\n"]).collect();
    let drop_old = || {
        support::daemon::write_private(&file, &without_old);
        let outcome = daemon.cli(&["reload"]);
        if outcome.code != 0 {
            support::daemon::write_private(&file, &with_old);
        }
        outcome
    };
    let refused = drop_old();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("(credentials sealed under it: 1, live tokens signed with it: 1)"),
        "{refused:?}"
    );
    daemon.cli(&["keys", "reseal"]).expect(0);
    assert_eq!(drop_old().code, 1, "a live JWT is still signed under it");
    assert!(daemon.is_active(&text_of(&jwt, "token")));
    anna.delete(&format!("/v1/tokens/{}", text_of(&jwt, "id"))).expect(204);
    let dropped = drop_old();
    assert_eq!(dropped.code, 0, "{dropped:?}");
    daemon.root().get("/v1/hosts").expect(200);
}

#[test]
fn keys_are_rotated_from_whatever_directory() {
    let (here, elsewhere) = (Setup::new(), Setup::new());
    let out = std::fs::File::create(here.path().join("stdout")).unwrap();
    let mut serve = support::daemon::command(here.path());
    serve.args(["serve", "--data", "data", "--config", "bearerd.toml", "--listen", "127.0.0.1:0"]);
    let mut child = serve.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().unwrap();
    let said = || std::fs::read_to_string(here.path().join("stdout")).unwrap();
    eventually("the daemon listens", || said().contains("listening on unix:").then_some(()));
    let mut rotate = support::daemon::command(elsewhere.path());
    rotate.args(["keys", "rotate", "--socket"]).arg(here.path().join("data/admin.sock"));
    let outcome = rotate.output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    let keyring = std::fs::read_to_string(here.path().join("data/keyring")).unwrap();
    assert_eq!(parsed(&keyring).len(), 2, "{keyring}");
}

#[test]
fn a_start_without_a_key_that_is_still_needed_says_which_and_for_what() {
    let mut daemon = Daemon::start();
    let anna = daemon.user("anna@example.org", &[]);
    anna.mint_pat(json!({"name": "n", "format": "jwt"}));
    daemon.host_with("web-1", json!({"credentials": {"user": "u"}}));
    let file = daemon.data().join("keyring");
    let old = parsed(&std::fs::read_to_string(&file).unwrap())[0].1.clone();
    daemon.cli(&["keys", "rotate"]).expect(0);
    let with_old = std::fs::read_to_string(&file).unwrap();
    let without_old: String =
        with_old.lines().filter(|line| !line.starts_with("old")).flat_map(|line| [line, "\n"]).collect();
    daemon.stop();
    support::daemon::write_private(&file, &without_old);
    daemon.start_again();
    let told = format!(
        "the keyring lacks the key {old} (credentials sealed under it: 1, live tokens signed with it: 1)"
    );
    eventually("the log says so", || daemon.stderr().contains(&told).then_some(()));
    let lacking = &daemon.root().get("/v1/admin/keys").expect(200)["lacking"];
    assert_eq!(*lacking, json!([{"id": old, "sealed": 1, "tokens": 1}]));
    let listed = daemon.cli(&["keys", "list"]);
    assert!(listed.stderr.contains(&format!("the keyring lacks {old}, ")), "{listed:?}");
    support::daemon::write_private(&file, &with_old);
    daemon.cli(&["reload"]).expect(0);
    assert_eq!(daemon.root().get("/v1/admin/keys").expect(200)["lacking"], json!([]));
}

#[test]
fn after_reseal_the_store_opens_with_the_new_key_alone() {
    let mut daemon = Daemon::start();
    let host = daemon.host_with("web-1", json!({"credentials": {"user": "u"}}));
    daemon.cli(&["keys", "rotate"]).expect(0);
    daemon.cli(&["keys", "reseal"]).expect(0);
    let file = daemon.data().join("keyring");
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: String =
        text.lines().filter(|line| !line.starts_with("old")).flat_map(|line| [line, "\n"]).collect();
    support::daemon::write_private(&file, kept);
    daemon.restart();
    assert_eq!(host.get(&format!("/v1/hosts/{}/credentials", host.id)).expect(200), json!({"user": "u"}));
}

/// The cursor that leads behind a key of the table of what is sealed: the key and its CRC-32.
fn cursor_behind(key: &[u8]) -> String {
    use base64ct::Encoding;
    let check = crc32fast::hash(key).to_be_bytes();
    base64ct::Base64UrlUnpadded::encode_string(&[key, &check].concat())
}

#[test]
fn sealing_again_goes_on_behind_a_cursor_and_without_one_begins_anew() {
    let daemon = Daemon::start();
    daemon.host_with("web-1", json!({"credentials": {"user": "u"}}));
    daemon.cli(&["keys", "rotate"]).expect(0);
    let path = "/v1/admin/keys/reseal";
    let done = |rows: u64| json!({"resealed": rows, "damaged": 0, "unfinished": false});
    let asked = |cursor: &str| daemon.root().post(&format!("{path}?cursor={cursor}"), json!({}));
    // It goes from the last key to the first: behind this one there is nothing.
    assert_eq!(asked(&cursor_behind(&[0])).expect(200), done(0));
    assert_eq!(asked(&cursor_behind(&[255])).expect(200), done(1));
    asked("nonsense").names_field("cursor");
    assert_eq!(daemon.root().post(path, json!({})).expect(200), done(0));
}

#[test]
fn reseal_sends_back_where_to_go_on_and_tells_damaged_rows_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("sock");
    let mut asked = Vec::new();
    let (tell, told) = std::sync::mpsc::channel();
    let daemon = pretending(&socket, move |first| {
        asked.push(first.split(' ').nth(1).unwrap_or_default().to_owned());
        tell.send(asked.clone()).unwrap();
        match asked.len() {
            1 => Some(json!({"resealed": 2, "damaged": 1, "unfinished": true, "next_cursor": "a_-b"})),
            2 => Some(json!({"resealed": 0, "damaged": 0, "unfinished": true, "next_cursor": "cd"})),
            3 => Some(json!({"resealed": 1, "damaged": 2, "unfinished": false})),
            _ => None,
        }
    });
    let outcome = cli::alone(folder.path(), &["keys", "reseal", "--socket", socket.to_str().unwrap()]);
    assert_eq!(outcome.expect(0), "");
    let path = "/v1/admin/keys/reseal";
    let expected = [path.to_owned(), format!("{path}?cursor=a_-b"), format!("{path}?cursor=cd")];
    assert_eq!(told.try_iter().last().unwrap(), expected);
    assert_eq!(outcome.stderr, "not opened, and left as they are: 3 rows\n3 rows sealed again\n");
    drop(daemon);
}

#[test]
fn where_the_keyring_cannot_be_written_rotate_prints_what_to_put_there() {
    // A name of the longest there is leaves no room for one beside it, whoever runs this.
    let name = "k".repeat(255);
    let before = new_key();
    let daemon = Setup::new().config(&format!("[keys]\nfile = \"{name}\"\n")).file(&name, &before).start();
    let outcome = daemon.cli(&["keys", "rotate"]);
    let printed = parsed(outcome.expect(0));
    let roles: Vec<_> = printed.iter().map(|key| key.0.as_str()).collect();
    assert_eq!((roles, &printed[1].2), (vec!["current", "old"], &parsed(&before)[0].2));
    assert!(outcome.stderr.contains("Put this in its place"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(daemon.file(&name)).unwrap(), before);
    let object = daemon.cli(&["keys", "rotate", "--json"]).json();
    assert_eq!(parsed(&text_of(&object, "keyring"))[0].1, text_of(&object, "current"));
    std::fs::write(daemon.file(&name), &outcome.stdout).unwrap();
    daemon.cli(&["reload"]).expect(0);
    let keys = daemon.cli(&["keys", "list", "--json"]).json();
    assert_eq!((&keys["keys"][0]["id"], &keys["keys"][0]["current"]), (&json!(printed[0].1), &json!(true)));
}

#[test]
fn a_credential_is_never_written_and_rotate_prints_what_to_put_in_its_place() {
    let credentials = tempfile::tempdir().unwrap();
    let file = credentials.path().join("kr");
    let before = new_key();
    support::daemon::write_private(&file, &before);
    let credentials = credentials.path().to_str().unwrap();
    let mut daemon = Setup::new()
        .config("[keys]\nfile = \"credential:kr\"\n")
        .variable("CREDENTIALS_DIRECTORY", credentials)
        .start();
    let check = |outcome: &Outcome| {
        let printed = parsed(outcome.expect(0));
        let roles: Vec<_> = printed.iter().map(|key| key.0.as_str()).collect();
        assert_eq!((roles, &printed[1].2), (vec!["current", "old"], &parsed(&before)[0].2));
        assert!(outcome.stderr.contains("credential"), "{outcome:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
        assert_eq!(std::fs::read_dir(credentials).unwrap().count(), 1, "nothing lies beside it");
    };
    check(&daemon.cli(&["keys", "rotate"]));
    let needed = daemon.cli(&["keys", "list", "--json"]).json();
    assert_eq!(needed["keys"].as_array().unwrap().len(), 1, "the daemon has what it had");
    assert_eq!(daemon.stop().code(), Some(0));
    let mut command = support::daemon::command(daemon.directory());
    command.args(["keys", "rotate", "--config"]).arg(daemon.file("bearerd.toml"));
    command.arg("--data").arg(daemon.data()).env("CREDENTIALS_DIRECTORY", credentials);
    check(&cli::run(command, ""));
    daemon.start_again();
}

#[test]
fn a_rotation_whose_reload_is_refused_leaves_the_keyring_as_it_was() {
    let config = format!("{CONFIGURED}[services.one]\nsecret_file = \"secret\"\n");
    let before = format!("# ours\n\n{}", new_key());
    let daemon = Setup::new().config(&config).file("keys", &before).file("secret", "s".repeat(32)).start();
    daemon.rewrite("secret", "short");
    for _ in 0..2 {
        let refused = daemon.cli(&["keys", "rotate"]);
        assert_eq!(refused.expect(1), "");
        assert!(refused.stderr.contains("services.one"), "{refused:?}");
        assert!(refused.stderr.contains("the keyring is as it was"), "{refused:?}");
        assert_eq!(std::fs::read_to_string(daemon.file("keys")).unwrap(), before, "comments and all");
    }
    daemon.rewrite("secret", "s".repeat(32));
    daemon.cli(&["keys", "rotate"]).expect(0);
    assert_eq!(parsed(&std::fs::read_to_string(daemon.file("keys")).unwrap()).len(), 2);
}

#[test]
fn a_keyring_that_others_can_get_at_is_not_rotated() {
    let before = new_key();
    let mut daemon = Setup::new().config(CONFIGURED).file("keys", &before).start();
    let refused = |daemon: &Daemon| {
        let outcome = daemon.cli(&["keys", "rotate"]);
        assert_eq!(outcome.expect(1), "");
        assert!(outcome.stderr.contains("chmod 0600"), "{outcome:?}");
        assert_eq!(std::fs::read_to_string(daemon.file("keys")).unwrap(), before);
    };
    support::daemon::set_mode(&daemon.file("keys"), 0o644);
    refused(&daemon);
    daemon.stop();
    refused(&daemon);
}

/// Something that answers like a daemon: what `answer` says to the first line of a request, until it says nothing.
fn pretending(
    socket: &std::path::Path,
    mut answer: impl FnMut(&str) -> Option<Value> + Send + 'static,
) -> std::thread::JoinHandle<()> {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) =
                lines.next().filter(|line| !matches!(line, Ok(line) if line.is_empty()))
            {
                head.push(line);
            }
            // Without a line it is only a look at whether anybody is there.
            let Some(first) = head.first() else { continue };
            let Some(body) = answer(first).map(|body| body.to_string()) else { return };
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    })
}

/// A daemon that says where its keyring is and goes away when it is asked to reload.
fn going_away(socket: &std::path::Path, keyring: &std::path::Path) -> std::thread::JoinHandle<()> {
    let told = json!({"file": keyring, "credential": false});
    pretending(socket, move |first| (!first.starts_with("POST /v1/admin/reload ")).then(|| told.clone()))
}

#[test]
fn where_nobody_knows_whether_the_new_key_was_taken_rotate_says_what_it_left_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, keyring) = (folder.path().join("sock"), folder.path().join("keyring"));
    let before = new_key();
    support::daemon::write_private(&keyring, &before);
    let daemon = going_away(&socket, &keyring);
    let outcome = cli::alone(folder.path(), &["keys", "rotate", "--socket", socket.to_str().unwrap()]);
    daemon.join().unwrap();
    assert_eq!(outcome.expect(1), "");
    let after = parsed(&std::fs::read_to_string(&keyring).unwrap());
    assert_eq!((after.len(), &after[1].2), (2, &parsed(&before)[0].2));
    for word in ["went away", keyring.to_str().unwrap(), &after[0].1, "bearerd reload"] {
        assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
    }
}
