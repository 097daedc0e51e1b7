//! How an operator asks: one file a command group, and the client of the admin socket.
//!
//! What a person or a script sees of the daemon from a shell: arguments in, text out, one exit code. It
//! decides nothing: every command but `serve` asks the running daemon, or, where SPEC says so, runs the same
//! rules on the file of a stopped one. A new secret is the only thing on standard output.

use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::daemon;

pub mod client;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It failed.
    Failed,
    /// It was called wrongly.
    Usage,
    /// What was asked for is not there.
    NotFound,
    /// The caller may not.
    Denied,
    /// The daemon cannot be reached.
    Unreachable,
    /// What was asked contradicts what is there.
    Conflict,
    /// `verify`: the token is not active.
    NotActive,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Denied => 4,
            Exit::Unreachable => 5,
            Exit::Conflict => 6,
            Exit::NotActive => 10,
        })
    }
}

/// The token daemon: mints, verifies, revokes and accounts for every token of a self-hosted product.
#[derive(Debug, Parser)]
#[command(name = "bearerd", version, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen, in place of the configured listeners: ADDRESS:PORT or unix:PATH.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
}

/// Runs the command that `arguments` name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match line.command {
        None => {
            let _ = Line::command().print_help();
            Exit::Done
        }
        Some(Command::Serve(serve)) => {
            let asked = daemon::Asked { config: serve.config, data: serve.data, listen: serve.listen };
            done_or_said(daemon::serve(&asked))
        }
    }
}

/// Done, or what went wrong, in one line on standard error.
fn done_or_said<E: std::fmt::Display>(outcome: Result<(), E>) -> Exit {
    match outcome {
        Ok(()) => Exit::Done,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bearerd: {error}");
            Exit::Failed
        }
    }
}
