//! Reload, service manager, sockets that are passed, and hardening, seen from outside (contract 4.6, 6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use rustix::process::Signal;
use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use support::{people::service_secret, *};

const CONFIG: &str = "[services.one]\nsecret_file = \"one.secret\"\ngroups = [\"admin\"]\n";

fn with_secret(secret: &str) -> Setup {
    Setup::new().config(CONFIG).file("one.secret", secret)
}

fn reload(daemon: &Daemon) -> Answer {
    daemon.root().post("/v1/admin/reload", json!({}))
}

fn status(daemon: &Daemon) -> Value {
    daemon.root().get("/v1/admin/status").expect(200)
}

/// The service manager's end of `$NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next datagram, as its lines; those of the watchdog are passed over.
    fn heard(&self) -> Vec<String> {
        loop {
            let lines = self.anything();
            if lines != ["WATCHDOG=1"] {
                return lines;
            }
        }
    }

    fn anything(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn notifying(variables: &[(&str, &str)]) -> (Manager, Daemon) {
    let mut setup = with_secret(&service_secret("one"));
    let path = setup.path().join("notify");
    let manager = Manager::at(&path);
    setup = setup.variable("NOTIFY_SOCKET", path.to_str().unwrap());
    for (name, value) in variables {
        setup = setup.variable(name, value);
    }
    (manager, setup.start())
}

#[test]
fn the_service_manager_is_told_of_start_reload_refusal_and_stop_each_in_one_datagram() {
    let (manager, mut daemon) = notifying(&[]);
    let ready = manager.heard();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].starts_with("STATUS=serving; configuration 1; services 1 of 1 on"), "{ready:?}");

    let reloaded = |word: &str| {
        let begun = manager.heard();
        assert_eq!(begun[0], "RELOADING=1", "{begun:?}");
        let micros: u64 = begun[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(micros > 0);
        assert_eq!(begun[2], "STATUS=reloading");
        let ended = manager.heard();
        assert_eq!(ended[0], "READY=1", "{ended:?}");
        assert!(ended[1].contains(word), "{ended:?}");
    };
    reload(&daemon).expect(200);
    reloaded("configuration 2");
    daemon.signal(Signal::HUP);
    reloaded("configuration 3");
    daemon.rewrite("one.secret", "short");
    reload(&daemon).expect(422);
    reloaded("LAST RELOAD REFUSED: services.one");
    assert_eq!(daemon.stop().code(), Some(0));
    let told = manager.heard();
    // As long as requests in flight are waited for by default, and half a minute for the rest.
    assert_eq!(told[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=40000000"], "{told:?}");
}

#[test]
fn the_watchdog_is_told_also_while_the_store_takes_no_writes() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let (manager, daemon) = notifying(&[("WATCHDOG_USEC", "400000")]);
    manager.heard();
    for _ in 0..3 {
        assert_eq!(manager.anything(), ["WATCHDOG=1"]);
    }
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    let most = Rlimit { current: Some(4096), maximum: None };
    prlimit(Some(pid), Resource::Fsize, most).unwrap();
    eventually("the store takes no writes", || {
        let user = json!({"email": format!("{}@example.org", now())});
        (daemon.root().post("/v1/users", user).status >= 500).then_some(())
    });
    for _ in 0..5 {
        assert_eq!(manager.anything(), ["WATCHDOG=1"]);
    }
    daemon.bearer(&service_secret("one")).get("/v1/me").expect(200);
}

#[test]
fn five_hundred_reloads_lose_no_request_and_let_no_removed_secret_in() {
    let (keep, one, two) = (service_secret("keep"), service_secret("swap-1"), service_secret("swap-2"));
    let config = "[services.keep]\nsecret_file = \"keep\"\n[services.swap]\nsecret_file = \"swap\"\n";
    let daemon = Setup::new().config(config).file("keep", &keep).file("swap", &one).start();
    let stop = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = daemon.nobody().connect();
                let keeper = daemon.bearer(&keep);
                while !stop.load(Ordering::Relaxed) {
                    let form = [("token", keep.as_str())];
                    let seen = keeper.request("POST", "/v1/introspect").form(&form).send_on(&mut connection);
                    assert_eq!(seen.expect(200)["active"], true);
                    keeper.request("GET", "/v1/me").send_on(&mut connection).expect(200);
                    served.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        // The one that was removed is asked about on a connection that was open all the time.
        let mut connection = daemon.nobody().connect();
        for round in 0..500 {
            let (new, old) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
            daemon.rewrite("swap", new);
            reload(&daemon).expect(200);
            let ask = |connection: &mut Connection, secret: &str| {
                daemon.bearer(secret).request("GET", "/v1/me").send_on(connection).status
            };
            assert_eq!(ask(&mut connection, old), 401, "round {round}: a removed secret was let in");
            assert_eq!(ask(&mut connection, new), 200, "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(status(&daemon)["reload"]["generation"], 501);
    assert!(served.load(Ordering::Relaxed) > 1_000, "{served:?}");
}

fn resident_pages(daemon: &Daemon) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", daemon.id())).unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_signals_are_a_few_reloads_and_no_memory() {
    let daemon = with_secret(&service_secret("one")).start();
    let burst = |count: u32| {
        for _ in 0..count {
            daemon.signal(Signal::HUP);
        }
        // An answered reload comes after all that the signals asked for.
        reload(&daemon).expect(200);
    };
    burst(1_000);
    let before = resident_pages(&daemon);
    burst(10_000);
    let after = resident_pages(&daemon);
    assert!(after < before + 8 * 256, "{before} pages before, {after} after: more than 8 MiB");
    daemon.bearer(&service_secret("one")).get("/v1/me").expect(200);
    let generation = status(&daemon)["reload"]["generation"].as_u64().unwrap();
    assert!(generation < 11_000, "{generation}");
}

#[test]
fn who_sent_the_signal_is_in_the_log_and_in_the_audit_log() {
    let daemon = Daemon::start();
    daemon.signal(Signal::HUP);
    let entry = eventually("the entry", || {
        let list = daemon.root().get("/v1/audit?action=config.reload").expect(200);
        items(&list).first().cloned()
    });
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(entry["actor"], format!("local:{uid}"));
    let pid = std::process::id().to_string();
    assert!(text_of(&entry, "actor_label").contains(&pid), "{entry}");
    eventually("the log", || daemon.stderr().contains(&format!("\"pid\":{pid}")).then_some(()));
}

#[test]
fn a_reload_names_the_settings_that_wait_for_a_restart() {
    let daemon = Daemon::start();
    daemon.rewrite("bearerd.toml", "[sessions]\nidle = \"5m\"\n[limits]\nconnections = 77\n");
    let answer = reload(&daemon).expect(200);
    assert_eq!(answer["needs_restart"], json!(["limits.connections"]));
    assert_eq!(status(&daemon)["reload"]["needs_restart"], json!(["limits.connections"]));
    assert!(daemon.nobody().get("/metrics").text().contains("bearerd_config_needs_restart 1"));
}

#[test]
fn every_fault_of_a_refused_reload_is_listed() {
    let config = format!("{CONFIG}[services.two]\nsecret_file = \"two.secret\"\n");
    let daemon = Setup::new()
        .config(&config)
        .file("one.secret", service_secret("one"))
        .file("two.secret", service_secret("two"))
        .start();
    daemon.rewrite("one.secret", "short");
    fs::remove_file(daemon.file("two.secret")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        daemon.file("two.secret"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let problem = reload(&daemon).expect(422);
    assert_eq!(problem["code"], "reload_refused");
    let faults = problem["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{problem}");
    assert!(text_of(&problem, "detail").contains("services.two"));
    assert!(daemon.nobody().get("/metrics").text().contains("bearerd_config_last_reload_successful 0"));
    for name in ["one", "two"] {
        daemon.bearer(&service_secret(name)).get("/v1/me").expect(200);
    }
}

#[test]
fn uses_go_with_the_secret_when_its_line_moves() {
    let (old, new) = (service_secret("old"), service_secret("new"));
    let daemon = with_secret(&format!("{old}\n")).start();
    for _ in 0..3 {
        daemon.bearer(&old).get("/v1/me").expect(200);
    }
    daemon.rewrite("one.secret", format!("{new}\n{old}\n"));
    reload(&daemon).expect(200);
    daemon.bearer(&new).get("/v1/me").expect(200);
    let status = status(&daemon);
    let uses: Vec<u64> = status["services"][0]["slots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| slot["uses"].as_u64().unwrap())
        .collect();
    assert_eq!(uses, [1, 3]);
}

/// Starts the daemon with `public` as descriptor 3 and `admin` as descriptor 4, the way systemd does.
fn passed(setup: &Setup, public: OwnedFd, admin: OwnedFd, names: &str) -> std::process::Child {
    let script = format!(
        "exec 3<&0 4<&1 </dev/null >/dev/null; \
         export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names}; exec \"$0\" \"$@\""
    );
    let mut command = std::process::Command::new("sh");
    let plain = support::daemon::command(setup.path());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(setup.path()).arg("-c").arg(script).arg(support::daemon::binary());
    command.args(["serve", "--config", "bearerd.toml", "--data", "data"]);
    command.stdin(Stdio::from(public)).stdout(Stdio::from(admin));
    command.stderr(fs::File::create(setup.path().join("stderr.log")).unwrap()).spawn().unwrap()
}

#[test]
fn sockets_that_are_passed_are_served_by_their_names_and_nothing_is_opened_beside_them() {
    let setup = with_secret(&service_secret("one"));
    let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = public.local_addr().unwrap().to_string();
    let admin_path = setup.path().join("passed.sock");
    let admin = std::os::unix::net::UnixListener::bind(&admin_path).unwrap();
    let mut child = passed(&setup, public.into(), admin.into(), "public:admin");
    let address = std::sync::Arc::new(std::sync::Mutex::new(address));
    let nobody = Caller::new(http::Target::Tcp(address));
    let root = Caller::new(http::Target::Unix(admin_path));
    nobody.get("/readyz").expect(200);
    nobody.bearer(&service_secret("one")).get("/v1/me").expect(200);
    root.get("/v1/admin/status").expect(200);
    nobody.get("/v1/admin/status").refused(401, "unauthenticated");
    assert!(!setup.path().join("data/admin.sock").exists(), "a second admin socket");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn who_asks_before_the_store_is_open_waits_and_gets_the_right_answer() {
    let setup = with_secret(&service_secret("one"));
    let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = std::sync::Arc::new(std::sync::Mutex::new(public.local_addr().unwrap().to_string()));
    let admin = std::os::unix::net::UnixListener::bind(setup.path().join("passed.sock")).unwrap();
    let caller = Caller::new(http::Target::Tcp(address)).bearer(&service_secret("one"));
    // Connected and asked while nothing serves: a 401 now would make a client drop a good credential.
    let mut early: Vec<Connection> = (0..8).map(|_| caller.connect()).collect();
    for connection in &mut early {
        connection.send(caller.request("GET", "/v1/me").bytes());
    }
    let mut child = passed(&setup, public.into(), admin.into(), "public:admin");
    for connection in &mut early {
        connection.answer().expect(200);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_socket_that_is_held_across_restarts_refuses_nobody() {
    let setup = with_secret(&service_secret("one"));
    let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = std::sync::Arc::new(std::sync::Mutex::new(public.local_addr().unwrap().to_string()));
    let admin_path = setup.path().join("passed.sock");
    let admin = std::os::unix::net::UnixListener::bind(&admin_path).unwrap();
    let start = || {
        passed(&setup, public.try_clone().unwrap().into(), admin.try_clone().unwrap().into(), "public:admin")
    };
    let caller = Caller::new(http::Target::Tcp(address)).bearer(&service_secret("one"));
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut child = start();
    caller.get("/v1/me").expect(200);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Each on a connection of its own: none is refused, and none goes unanswered.
                    caller.get("/v1/me").expect(200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..5 {
            let before = served.load(Ordering::Relaxed);
            eventually("some are served", || (served.load(Ordering::Relaxed) > before + 20).then_some(()));
            let id = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(id, Signal::TERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "round {round}");
            child = start();
        }
        stop.store(true, Ordering::Relaxed);
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_refused() {
    let setup = with_secret(&service_secret("one"));
    let file = fs::File::open("/dev/null").unwrap();
    let admin = std::os::unix::net::UnixListener::bind(setup.path().join("passed.sock")).unwrap();
    let mut child = passed(&setup, file.into(), admin.into(), "public:admin");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(setup.path().join("stderr.log")).unwrap();
    assert!(said.contains("\"public\"") && said.contains("no listening stream socket"), "{said}");
}

#[test]
fn no_core_image_of_the_process_is_ever_written() {
    let daemon = Daemon::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    // Of a process that cannot be dumped, the kernel keeps others out: its files belong to root.
    let files = fs::metadata(format!("/proc/{}/mem", daemon.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&files), 0);
}

#[test]
fn a_signal_during_the_start_kills_nothing() {
    for delay in [0, 2, 5, 10, 20, 40] {
        let setup = with_secret(&service_secret("one"));
        let mut command = support::daemon::command(setup.path());
        command.args(["serve", "--config", "bearerd.toml", "--data", "data", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        // Before it has taken its signals over, the process is not ours to test: the mask says when.
        let taken = |status: &str| {
            let line = status.lines().find(|line| line.starts_with("SigCgt:")).unwrap_or_default();
            let mask = line.trim_start_matches("SigCgt:").trim();
            u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 == 1)
        };
        eventually("the signals are taken over", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            taken(&status).then_some(())
        });
        std::thread::sleep(Duration::from_millis(delay));
        rustix::process::kill_process(id, Signal::HUP).unwrap();
        let root = Caller::new(http::Target::Unix(setup.path().join("data/admin.sock")));
        eventually("it serves", || {
            root.request("GET", "/readyz").try_send().ok().filter(|answer| answer.status == 200)
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
