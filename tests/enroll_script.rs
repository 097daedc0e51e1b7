//! The installer that the documentation gives as an example, `docs/enroll.sh`, run as it stands: with a
//! good token, with a reply that gets lost, killed halfway, and turned away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::*;

/// What a run of the script left behind.
struct Run {
    code: Option<i32>,
    said: String,
}

/// A host: a directory of its own, and a `curl` that writes down its arguments before it runs.
struct Host {
    home: tempfile::TempDir,
    name: &'static str,
}

impl Host {
    fn new(name: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let curl = home.path().join("curl");
        let log = home.path().join("arguments");
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}'\nPATH={} exec curl \"$@\"\n",
            log.display(),
            std::env::var("PATH").unwrap()
        );
        fs::write(&curl, text).unwrap();
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o700)).unwrap();
        Self { home, name }
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.directory().join(name)).ok().map(|text| text.trim_end().to_owned())
    }

    fn run(&self, url: &str, token: &str, tries: usize) -> Run {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/enroll.sh");
        let path = format!("{}:{}", self.home.path().display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("sh")
            .arg(script)
            .args([url, self.directory().to_str().unwrap(), self.name])
            .env("PATH", path)
            .env("ENROLL_TRIES", tries.to_string())
            .env("ENROLL_PAUSE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A script that refuses its arguments reads no token.
        let _ = child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.is_empty());
        Run { code: output.status.code(), said: String::from_utf8(output.stderr).unwrap() }
    }

    /// Nothing secret was an argument of a command or was said; every file is the owner's alone, and
    /// nothing is left that is of no more use.
    #[track_caller]
    fn kept_its_secrets(&self, run: &Run, token: &str) {
        let arguments = fs::read_to_string(self.home.path().join("arguments")).unwrap_or_default();
        let secrets = [Some(token.to_owned()), self.file("agent_token"), self.file("attempt")];
        for secret in secrets.into_iter().flatten() {
            assert!(!arguments.contains(&secret), "{arguments}");
            assert!(!run.said.contains(&secret), "{}", run.said);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&self.directory()), 0o700);
        for entry in fs::read_dir(self.directory()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
            let name = entry.file_name().into_string().unwrap();
            assert!(
                ["agent_token", "attempt", "credentials.json", "host_id"].contains(&name.as_str()),
                "{name}"
            );
        }
    }
}

/// A way to the daemon that forwards everything, but loses the replies of the first `lost` connections.
struct Road {
    address: String,
    travelled: Arc<AtomicUsize>,
}

impl Road {
    fn to(daemon: &Daemon, lost: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let travelled = Arc::new(AtomicUsize::new(0));
        let (target, count) = (daemon.address(), Arc::clone(&travelled));
        let target = target.trim_start_matches("http://").to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                forward(client.unwrap(), TcpStream::connect(&target).unwrap(), number < lost);
            }
        });
        Self { address, travelled }
    }
}

fn forward(client: TcpStream, server: TcpStream, lose: bool) {
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    if lose {
        // The first byte of the reply says that the request was carried out.
        let _ = from.read(&mut [0]);
        let _ = to.shutdown(Shutdown::Both);
        return;
    }
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn token_with(daemon: &Daemon, credentials: &Value) -> String {
    text_of(&daemon.enrollment(json!({ "credentials": credentials })), "token")
}

#[test]
fn a_good_token_makes_a_host_with_its_bearer_and_its_credentials() {
    let daemon = Daemon::start();
    let credentials = json!({"user": "db", "password": "of the host"});
    let token = token_with(&daemon, &credentials);
    let host = Host::new("web-1");
    let run = host.run(&daemon.address(), &token, 1);
    assert_eq!(run.code, Some(0), "{}", run.said);
    host.kept_its_secrets(&run, &token);
    let row = daemon.bearer(&host.file("agent_token").unwrap());
    let row = row.get(&format!("/v1/hosts/{}", host.file("host_id").unwrap())).expect(200);
    assert_eq!((&row["hostname"], &row["os"]), (&json!("web-1"), &json!("linux")));
    let kept: Value = serde_json::from_str(&host.file("credentials.json").unwrap()).unwrap();
    assert_eq!(kept, credentials);
    assert_eq!(host.file("attempt"), None);
    // Run again, it asks for no second host; what the operator has put meanwhile is fetched.
    let place = format!("/v1/hosts/{}/credentials", host.file("host_id").unwrap());
    daemon.root().put(&place, json!({"password": "another"}));
    let run = host.run(&daemon.address(), "", 1);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert_eq!(host.file("credentials.json").unwrap(), r#"{"password":"another"}"#);
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
}

#[test]
fn a_host_without_credentials_is_enrolled_all_the_same() {
    let daemon = Daemon::start();
    let token = text_of(&daemon.enrollment(json!({})), "token");
    let host = Host::new("web-1");
    let run = host.run(&daemon.address(), &token, 1);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert_eq!(host.file("credentials.json"), None);
}

#[test]
fn a_reply_that_is_lost_is_asked_for_again() {
    let daemon = Daemon::start();
    let token = token_with(&daemon, &json!({"k": "v"}));
    let road = Road::to(&daemon, 2);
    let host = Host::new("web-1");
    let run = host.run(&road.address, &token, 5);
    assert_eq!(run.code, Some(0), "{}", run.said);
    host.kept_its_secrets(&run, &token);
    assert_eq!(road.travelled.load(Ordering::SeqCst), 4, "two lost, one heard, one for the credentials");
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
    assert!(daemon.is_active(&host.file("agent_token").unwrap()));
}

#[test]
fn a_run_that_gave_up_costs_nothing_and_the_next_one_gets_the_same_reply() {
    let mut daemon = Daemon::start();
    let token = token_with(&daemon, &json!({"k": "v"}));
    let host = Host::new("web-1");
    let run = host.run(&Road::to(&daemon, 9).address, &token, 3);
    assert_eq!(run.code, Some(1), "{}", run.said);
    host.kept_its_secrets(&run, &token);
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1, "it is enrolled, and knows nothing of it");
    daemon.kill();
    daemon.start_again();
    let run = host.run(&daemon.address(), &token, 1);
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert_eq!(daemon.root().all("/v1/hosts").len(), 1);
    assert!(daemon.is_active(&host.file("agent_token").unwrap()));
}

#[test]
fn who_is_turned_away_is_told_why_and_what_to_do() {
    let mut daemon = Daemon::start();
    daemon.host("taken");
    let token = token_with(&daemon, &json!({}));
    let expect = |daemon: &Daemon, name, token: &str, code| {
        let host = Host::new(name);
        let run = host.run(&daemon.address(), token, 2);
        assert_eq!(run.code, Some(code), "{}", run.said);
        assert_eq!(host.file("agent_token"), None);
    };
    expect(&daemon, "taken", &token, 6);
    expect(&daemon, "free", "nonsense", 4);
    expect(&daemon, "free", "a \"quoted\" word", 4);
    expect(&daemon, "free", "", 4);
    expect(&daemon, "a b", &token, 2);
    expect(&daemon, "free\",\"x\":\"", &token, 2);
    expect(&daemon, "a/b", &token, 2);
    let address = daemon.address();
    daemon.stop();
    let host = Host::new("free");
    assert_eq!(host.run(&address, &token, 2).code, Some(1));
    daemon.start_again();
    let run = host.run(&daemon.address(), &token, 1);
    assert_eq!(run.code, Some(0), "{}", run.said);
}
