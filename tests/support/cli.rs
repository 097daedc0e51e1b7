//! Running the binary as an operator does.

use super::daemon::{Daemon, command};
use super::{PATIENCE, Value, within};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Fails unless the exit code is this one; gives standard output.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        &self.stdout
    }

    /// Fails unless the command was done and printed JSON; gives it.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.expect(0);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

impl Daemon {
    /// Runs a command on this daemon's configuration and data.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Outcome {
        self.cli_with(arguments, "")
    }

    /// Like [`Daemon::cli`], with something on standard input.
    #[track_caller]
    pub fn cli_with(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = command(self.directory());
        command.args(arguments);
        command.arg("--config").arg(self.file("bearerd.toml")).arg("--data").arg(self.data());
        run(command, input)
    }
}

/// Runs a command without any daemon, in this directory.
#[track_caller]
pub fn alone(directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = command(directory);
    command.args(arguments);
    run(command, "")
}

/// Runs a command to its end.
#[track_caller]
pub fn run(mut command: Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the binary");
    let mut stdin = child.stdin.take().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let input = input.to_owned();
    // A command that reads nothing may be gone before its input is written.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let stdout = std::thread::spawn(move || read_all(&mut out));
    let stderr = std::thread::spawn(move || read_all(&mut err));
    let status = within(PATIENCE, "the command ends", || child.try_wait().expect("waiting"));
    writer.join().unwrap();
    Outcome {
        code: status.code().unwrap_or(-1),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
