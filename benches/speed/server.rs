//! A server under test: a child process on one processor, and what the kernel says of it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The processor that servers run on; the load runs on the others.
const PROCESSOR: &str = "0";

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// The daemon over the store in `folder`.
    pub fn daemon(folder: &Path) -> Self {
        let binary = env!("CARGO_BIN_EXE_bearerd");
        let mut command = pinned(binary);
        command.arg("serve").arg("--config").arg(super::config(folder));
        command.arg("--data").arg(folder.join("data")).args(["--listen", "127.0.0.1:0"]);
        command.env("BEARERD_LOG", "error");
        Self::start(command)
    }

    /// The bare server.
    pub fn limit() -> Self {
        let own = env::current_exe().unwrap();
        let mut command = pinned(own.to_str().unwrap());
        command.arg(super::limit::ARGUMENT);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned))
            .expect("the server ended before it listened");
        Self { child, address: address.parse().unwrap() }
    }

    /// Processor time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / 100.0
    }

    /// Memory that it holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command on the servers' processor.
fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", PROCESSOR, program]);
    command
}
