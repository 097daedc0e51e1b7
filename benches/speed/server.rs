//! A server under test: a child process on one processor, and what the kernel and its metrics say of it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{load, stock::Stock};

/// The processor that servers run on; the load runs on another.
pub const PROCESSOR: &str = "0";

pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// The daemon over a store; ready when this returns, with how long that took.
    pub fn daemon(stock: &Stock) -> (Self, Duration) {
        let mut command = pinned(env!("CARGO_BIN_EXE_bearerd"));
        command.arg("serve").arg("--config").arg(stock.configuration());
        command.arg("--data").arg(stock.data()).args(["--listen", "127.0.0.1:0"]);
        command.env("BEARERD_LOG", "error");
        // As the unit has it.
        command.env("MALLOC_ARENA_MAX", "1");
        let began = Instant::now();
        let server = Self::start(command);
        while !server.get("/readyz").starts_with("HTTP/1.1 200") {}
        (server, began.elapsed())
    }

    /// The bare server, with answers of that many bytes.
    pub fn limit(bytes: usize, status: u16) -> Self {
        let own = env::current_exe().unwrap();
        let mut command = pinned(own.to_str().unwrap());
        command.args([super::limit::ARGUMENT, &bytes.to_string(), &status.to_string()]);
        Self::start(command)
    }

    /// Another server, which prints `listening on http://ADDRESS` when it does.
    pub fn other(program: &str, arguments: &[&str]) -> Self {
        let mut command = pinned(program);
        command.args(arguments);
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

    /// The answer to a GET, head and all.
    pub fn get(&self, path: &str) -> String {
        self.ask(&load::get(path, "Connection: close"))
    }

    /// The body of the answer to a GET.
    pub fn get_body(&self, path: &str) -> String {
        self.get(path).split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    /// The answer to a request, head and all. The request must ask for the connection to be closed.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// How many bytes the answer to `request` has, its head counted.
    pub fn answer_length(&self, request: &[u8]) -> usize {
        let at = request.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
        let closing = [&request[..at], b"Connection: close\r\n", &request[at..]].concat();
        self.ask(&closing).len() - "connection: close\r\n".len()
    }

    /// The sum of all metrics of that name.
    pub fn metric(&self, name: &str) -> f64 {
        let all = self.get("/metrics");
        let lines = all.lines().filter_map(|line| line.rsplit_once(' '));
        lines
            .filter(|(of, _)| of.split('{').next() == Some(name))
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum()
    }

    /// Waits until the last uses that questions left are on the disk: what follows is measured by itself.
    pub fn settle(&self) {
        while self.metric("bearerd_last_use_backlog") > 0.0 {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Operations and commits since the start.
    pub fn commits(&self) -> (f64, f64) {
        let of = |what: &str| self.metric(&format!("bearerd_store_commit_operations_{what}"));
        (of("sum"), of("count"))
    }

    /// Processor time that its threads have used, in seconds: what the scheduler accounts to each, in nanoseconds.
    pub fn cpu_seconds(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = threads.filter_map(|thread| {
            // One that ends at this moment has no file any more.
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        nanos.sum::<u64>() as f64 / 1e9
    }

    /// Memory that it holds, and the most that it has held, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
        };
        (line("VmRSS:"), line("VmHWM:"))
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as its supervisor would; how long that took.
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "the daemon did not stop cleanly");
        began.elapsed()
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
