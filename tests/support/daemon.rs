//! The daemon as a child process: started on files of its own, watched, signalled, killed by its own
//! handle and no other way.

use super::http::{Caller, Target};
use super::text::token_in;
use super::{PATIENCE, eventually, within};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Variables that would move the daemon's files; no test inherits them.
const FOREIGN_VARIABLES: [&str; 10] = [
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "BEARERD_SOCKET",
    "BEARERD_LOG",
];

/// The binary under test: cargo's, or another build of it.
pub fn binary() -> PathBuf {
    std::env::var_os("BEARERD_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_bearerd")), PathBuf::from)
}

/// A command of the binary under test, free of the surroundings' variables.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(directory);
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// What a daemon that should not start left behind.
#[derive(Debug)]
pub struct NotStarted {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Files for a daemon, before it starts.
pub struct Setup {
    directory: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    listen: bool,
}

impl Setup {
    /// An empty configuration in a new directory.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("bearerd-").tempdir().expect("a directory");
        let setup = Self { directory, variables: Vec::new(), arguments: Vec::new(), listen: true };
        setup.config("")
    }

    /// Replaces the configuration.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.file("bearerd.toml", text)
    }

    /// Lets a kept connection be silent, and an answer take, for as long as a busy machine and its disk need.
    #[must_use]
    pub fn with_long_silences(self) -> Self {
        let before = fs::read_to_string(self.path().join("bearerd.toml")).unwrap();
        self.config(&format!("{before}\n[limits]\nheader_seconds = 300\nrequest_seconds = 120\n"))
    }

    /// Writes a file of mode 0600 beside the configuration.
    #[must_use]
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        write_private(&self.directory.path().join(name), text);
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after `serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Leaves the listeners to the configuration.
    #[must_use]
    pub fn listening_as_configured(mut self) -> Self {
        self.listen = false;
        self
    }

    /// The directory of the configuration.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the daemon and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Daemon {
        match self.try_start() {
            Ok(daemon) => daemon,
            Err(failed) => panic!("the daemon did not start: {failed:?}"),
        }
    }

    /// Starts the daemon, or says how it failed.
    pub fn try_start(self) -> Result<Daemon, NotStarted> {
        let address = Arc::new(Mutex::new(String::new()));
        let mut daemon = Daemon { address, running: None, setup: self, install_token: None };
        daemon.launch().map(|()| daemon)
    }

    /// Expects that the daemon does not start, and gives what it said.
    #[track_caller]
    pub fn does_not_start(self) -> NotStarted {
        match self.try_start() {
            Ok(_) => panic!("the daemon started"),
            Err(failed) => failed,
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a file that only its owner reads.
pub fn write_private(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).expect("writing a file");
    set_mode(path, 0o600);
}

/// Sets a file's permission bits.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("setting a mode");
}

struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// A running daemon (or, between `stop` and `start_again`, its files).
pub struct Daemon {
    address: Arc<Mutex<String>>,
    running: Option<Running>,
    setup: Setup,
    install_token: Option<String>,
}

impl Daemon {
    /// A daemon with safe defaults and an empty configuration.
    #[track_caller]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// A daemon with this configuration.
    #[track_caller]
    pub fn configured(config: &str) -> Self {
        Setup::new().config(config).start()
    }

    /// The directory of the configuration.
    pub fn directory(&self) -> &Path {
        self.setup.path()
    }

    /// A file beside the configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.setup.path().join(name)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// The file of data.
    pub fn store(&self) -> PathBuf {
        self.data().join("bearerd.redb")
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("admin.sock")
    }

    /// Replaces a file beside the configuration, keeping mode 0600.
    pub fn rewrite(&self, name: &str, text: impl AsRef<[u8]>) {
        write_private(&self.file(name), text);
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    /// Where its TCP listener is, across restarts.
    pub fn target(&self) -> Target {
        Target::Tcp(Arc::clone(&self.address))
    }

    /// What the daemon has printed to standard output since its last start.
    pub fn stdout(&self) -> String {
        self.running.as_ref().map(|running| running.stdout.lock().unwrap().clone()).unwrap_or_default()
    }

    /// What it has logged since its first start.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("stderr.log")).unwrap_or_default()).into_owned()
    }

    /// The process id.
    #[track_caller]
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("a running daemon").child.id()
    }

    /// The install token of the banner, as printed at the first start.
    #[track_caller]
    pub fn install_token(&self) -> String {
        eventually("an install token on standard output", || {
            self.install_token.clone().or_else(|| token_in(&self.stdout(), "ist"))
        })
    }

    /// Somebody without a credential.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.target())
    }

    /// Whoever the file system lets open the admin socket.
    pub fn root(&self) -> Caller {
        Caller::new(Target::Unix(self.socket()))
    }

    /// Whoever presents this bearer.
    pub fn bearer(&self, token: &str) -> Caller {
        self.nobody().bearer(token)
    }

    /// Whether a token is active at this moment, asked over the admin socket.
    #[track_caller]
    pub fn is_active(&self, token: &str) -> bool {
        let answer = self.root().introspect(token);
        let active = answer["active"].as_bool().expect("introspection says active or not");
        assert!(
            active || answer.as_object().unwrap().len() == 1,
            "an inactive token has no other member: {answer}"
        );
        active
    }

    /// Waits until a token is no longer active.
    #[track_caller]
    pub fn wait_until_dead(&self, token: &str) {
        eventually("the token dies", || (!self.is_active(token)).then_some(()));
    }

    /// Sends a signal to the daemon.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).expect("signalling the daemon");
    }

    /// SIGTERM; waits for the end and gives its status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGKILL, as a power cut for processes.
    #[track_caller]
    pub fn kill(&mut self) {
        let running = self.running.as_mut().expect("a running daemon");
        running.child.kill().expect("killing the daemon");
        self.wait();
    }

    /// Waits until the daemon has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.remember_install_token();
        let mut running = self.running.take().expect("a running daemon");
        let status = within(PATIENCE, "the daemon ends", || running.child.try_wait().expect("waiting"));
        if let Some(reader) = running.reader.take() {
            reader.join().expect("the reader of standard output");
        }
        status
    }

    /// Starts the daemon again on the same files.
    #[track_caller]
    pub fn start_again(&mut self) {
        if let Err(failed) = self.launch() {
            panic!("the daemon did not start again: {failed:?}");
        }
    }

    /// Expects that the daemon does not start on its files now, and gives what it said.
    #[track_caller]
    pub fn does_not_start_again(&mut self) -> NotStarted {
        match self.launch() {
            Ok(()) => panic!("the daemon started"),
            Err(failed) => failed,
        }
    }

    /// Stops and starts; the callers of before go on working.
    #[track_caller]
    pub fn restart(&mut self) {
        let status = self.stop();
        assert_eq!(status.code(), Some(0), "a stop ends with 0: {}", self.stderr());
        self.start_again();
    }

    /// Starts the daemon again on the same files, or says how that failed.
    pub fn try_start_again(&mut self) -> Result<(), NotStarted> {
        self.launch()
    }

    fn remember_install_token(&mut self) {
        if self.install_token.is_none() {
            self.install_token = token_in(&self.stdout(), "ist");
        }
    }

    fn launch(&mut self) -> Result<(), NotStarted> {
        let directory = self.directory().to_owned();
        let log =
            fs::OpenOptions::new().create(true).append(true).open(directory.join("stderr.log")).unwrap();
        let before = log.metadata().unwrap().len();
        let mut command = command(&directory);
        command.arg("serve").arg("--config").arg(directory.join("bearerd.toml"));
        command.arg("--data").arg(directory.join("data"));
        if self.setup.listen {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.setup.arguments);
        command.envs(self.setup.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("starting the binary");
        let stdout = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sink = Arc::clone(&stdout);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut text = sink.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        self.running = Some(Running { child, stdout, reader: Some(reader) });
        self.wait_until_it_listens(before)
    }

    fn wait_until_it_listens(&mut self, log_start: u64) -> Result<(), NotStarted> {
        let ended = within(PATIENCE, "the daemon listens or ends", || {
            let running = self.running.as_mut().unwrap();
            let text = running.stdout.lock().unwrap().clone();
            let mut listeners =
                text.lines().filter_map(|line| line.split_once("listening on ")).map(|(_, at)| at);
            if let Some(address) = listeners.find_map(|at| at.strip_prefix("http://")) {
                address.trim().clone_into(&mut self.address.lock().unwrap());
                return Some(None);
            }
            if !self.setup.listen && text.contains("listening on ") {
                return Some(None);
            }
            running.child.try_wait().expect("waiting").map(Some)
        });
        let Some(status) = ended else { return Ok(()) };
        let mut running = self.running.take().unwrap();
        if let Some(reader) = running.reader.take() {
            reader.join().expect("the reader of standard output");
        }
        let stdout = running.stdout.lock().unwrap().clone();
        let log = fs::read(self.file("stderr.log")).unwrap_or_default();
        let fresh = log.get(usize::try_from(log_start).unwrap()..).unwrap_or_default();
        let stderr = String::from_utf8_lossy(fresh).into_owned();
        Err(NotStarted { code: status.code(), stdout, stderr })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.stderr());
        }
    }
}
