//! What systemd gives and expects: directories, credentials, sockets, notifications (contract 6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use support::daemon::{command, write_private};
use support::*;

/// A child that is killed with the test.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_directories_of_the_unit_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["state", "run", "conf"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    write_private(
        &at("conf/bearerd.toml"),
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[tokens]\nprefix = \"acme\"\n",
    );
    let mut serve = command(directory.path());
    serve.arg("serve").env("STATE_DIRECTORY", at("state")).env("RUNTIME_DIRECTORY", at("run"));
    serve.env("CONFIGURATION_DIRECTORY", at("conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(serve.spawn().unwrap());
    let root = Caller::new(http::Target::Unix(at("run/admin.sock")));
    eventually("the admin socket is in the runtime directory", || {
        root.request("GET", "/readyz").try_send().ok().filter(|answer| answer.status == 200)
    });
    assert!(at("state/bearerd.redb").exists() && at("state/keyring").exists());
    assert!(!at("bearerd-data").exists());
    let user = root.post("/v1/users", json!({"email": "a@example.org"})).expect(201);
    let session = root.post(&format!("/v1/users/{}/sessions", text_of(&user, "id")), json!({})).expect(201);
    assert!(text_of(&session, "token").starts_with("acme_ses_"), "the configuration of its directory");
}

#[test]
fn the_keyring_may_be_a_credential() {
    use base64ct::Encoding;
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("credentials")).unwrap();
    let key = base64ct::Base64UrlUnpadded::encode_string(&(1..=32).collect::<Vec<u8>>());
    write_private(&directory.path().join("credentials/ring"), format!("current k1 {key}\n"));
    let credentials = directory.path().join("credentials");
    let config = "[keys]\nfile = \"credential:ring\"\n";
    let daemon =
        Setup::new().config(config).variable("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()).start();
    assert!(!daemon.data().join("keyring").exists());
    let anna = daemon.user("anna@example.org", &[]);
    anna.mint_pat(json!({"name": "n", "format": "jwt"}));
    let failed = Setup::new().config(config).does_not_start();
    assert!(failed.stderr.contains("ring"), "{}", failed.stderr);
    let failed = Setup::new()
        .config("[keys]\nfile = \"credential:../ring\"\n")
        .variable("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())
        .does_not_start();
    assert!(failed.stderr.contains("credential"), "{}", failed.stderr);
}

#[test]
fn a_socket_that_was_passed_is_served() {
    let setup = Setup::new().config("[server]\nlisten = []\n");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The shell gives the daemon its own number and the socket the place where systemd puts it.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
    shell.arg(support::daemon::binary()).args(["serve", "--config", "bearerd.toml", "--data", "data"]);
    shell.current_dir(setup.path()).stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    let _running = Running(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let target = http::Target::Tcp(std::sync::Arc::new(std::sync::Mutex::new(address.to_string())));
    Caller::new(target).get("/readyz").expect(200);
}

#[test]
fn the_service_manager_is_told_what_goes_on() {
    let setup = Setup::new().service("scheduler", &[]);
    let path = setup.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = |word: &str| {
        let mut seen = String::new();
        loop {
            let mut buffer = [0; 4096];
            let length =
                socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {word} ({error}) after: {seen}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            seen.push_str(&message);
            seen.push('\n');
            if message.lines().any(|line| line.starts_with(word)) {
                return message;
            }
        }
    };
    let mut serve = command(setup.path());
    serve.args(["serve", "--config", "bearerd.toml", "--data", "data", "--listen", "127.0.0.1:0"]);
    serve.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(serve.spawn().unwrap());
    told("READY=1");
    let root = Caller::new(http::Target::Unix(setup.path().join("data/admin.sock")));
    root.get("/readyz").expect(200);
    running.signal(Signal::HUP);
    let reloading = told("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "as notify-reload wants it: {reloading}");
    told("READY=1");
    // A reload that is refused is over too, and says so.
    write_private(&setup.path().join("scheduler.secret"), "canary-too-brief");
    running.signal(Signal::HUP);
    told("RELOADING=1");
    let message = told("READY=1");
    let status = if message.contains("STATUS=") { message } else { told("STATUS=") };
    assert!(!status.contains("canary"), "{status}");
    running.signal(Signal::TERM);
    told("STOPPING=1");
    let status = within(PATIENCE, "the end", || running.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_watchdog_is_fed() {
    let setup = Setup::new();
    let path = setup.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "WATCHDOG_PID=$$ WATCHDOG_USEC=400000 exec \"$0\" \"$@\""]);
    shell.arg(support::daemon::binary()).args([
        "serve",
        "--config",
        "bearerd.toml",
        "--data",
        "data",
        "--listen",
        "127.0.0.1:0",
    ]);
    shell.current_dir(setup.path()).env("NOTIFY_SOCKET", &path);
    let _running =
        Running(shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut fed = 0;
    while fed < 3 {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a message");
        fed += usize::from(contains(&buffer[..length], b"WATCHDOG=1"));
    }
}
