//! How an operator asks: one file a command group, and the client of the admin socket.
//!
//! What a person or a script sees of the daemon from a shell: arguments in, text out, one exit code. It
//! decides nothing: every command but `serve` asks the running daemon, or, where it has to work without one,
//! runs the same rules on the file of a stopped one. A new secret is the only thing on standard output.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::daemon;

pub mod ask;
mod backup;
mod check;
pub mod client;
mod fleet;
mod import;
mod keys;
mod offline;
mod operate;
pub mod output;
mod restore;
mod status;
mod token;
mod user;

pub use ask::{Common, Stop};

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

/// What stands below the options of `bearerd --help` and in its manual page.
const AFTER: &str = "\
Exit codes: 0 done; 1 failed; 2 called wrongly; 3 not there; 4 not allowed; 5 the daemon cannot be reached; \
6 in conflict with what is there; 10 not active (`verify`).

Environment: BEARERD_SOCKET names the admin socket as `--socket` does; BEARERD_LOG sets what `serve` logs, such as \
`debug` or `bearerd::http=debug`.";

/// The token daemon: mints, verifies, revokes and accounts for every token of a self-hosted product.
#[derive(Debug, Parser)]
#[command(name = "bearerd", version, propagate_version = true, max_term_width = 100, after_help = AFTER)]
struct Line {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(Serve),
    /// Show how the daemon is
    Status,
    /// Mint a new install token, alone on standard output; the one before dies
    InstallToken {
        /// Open setup though it was completed, and let an e-mail that exists name its user: how an operator who is
        /// locked out comes back
        #[arg(long)]
        force: bool,
    },
    /// Have the daemon read its configuration, keys and secrets again
    Reload,
    /// Users
    #[command(subcommand, visible_alias = "users")]
    User(user::User),
    /// Tokens of every kind and owner
    #[command(subcommand, visible_alias = "tokens")]
    Token(token::Token),
    /// One-time tokens that hosts enrol with
    #[command(subcommand, visible_alias = "enrollment", alias = "enrollments")]
    Enroll(fleet::Enroll),
    /// Hosts
    #[command(subcommand, visible_alias = "hosts")]
    Host(fleet::Host),
    /// Portal clients
    #[command(subcommand, visible_alias = "clients")]
    Client(fleet::Client),
    /// Magic links
    #[command(subcommand, visible_alias = "links")]
    Link(fleet::Link),
    /// The audit log
    #[command(subcommand)]
    Audit(operate::Audit),
    /// The keyring
    #[command(subcommand, visible_alias = "key")]
    Keys(keys::Keys),
    /// Back up the running daemon's store into a new file
    Backup {
        /// The file; it must not be there yet
        file: PathBuf,
    },
    /// Take in tokens that another system issued: JSON lines with their SHA-256
    Import {
        /// The file, `-` for standard input
        file: PathBuf,
        /// Change nothing, and say what would come of it
        #[arg(long)]
        dry_run: bool,
    },
    /// Replace the store of a stopped daemon by a backup; what ended since stays ended
    Restore(restore::Restore),
    /// Check the configuration and, while the daemon is stopped, everything that its store holds; of one that runs, its
    /// audit log
    Check,
    /// The time that the store has seen
    #[command(subcommand)]
    Clock(Clock),
    /// Give unused space of the store's file back to the file system
    Compact,
    /// Print a completion script
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a folder
    Man {
        /// The folder; without one, the page of `bearerd` itself goes to standard output
        folder: Option<PathBuf>,
    },
    /// Say whether a token is active; the exit code is 0 if it is, 10 if not
    ///
    /// Of a token whose uses are counted it is one use, as every verification is. `explain` asks without using it.
    Verify {
        /// A file with the token; without, or with `-`, it is read from standard input
        from: Option<PathBuf>,
    },
    /// Show every check of a token's verification and how it came out
    Explain(operate::Explain),
}

#[derive(Debug, Subcommand)]
enum Clock {
    /// Set the highest time seen to now, after the clock ran ahead
    Reset,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where to listen, in place of the configured listeners: ADDRESS:PORT or unix:PATH
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
    let Some(command) = line.command else {
        let _ = Line::command().print_help();
        return Exit::Done;
    };
    match command.run(line.common) {
        Ok(exit) => exit,
        Err(stop) => {
            stop.tell();
            stop.exit
        }
    }
}

impl Command {
    fn run(self, common: Common) -> Result<Exit, Stop> {
        match self {
            Self::Serve(serve) => {
                let asked = daemon::Asked { config: common.config, data: common.data, listen: serve.listen };
                daemon::serve(&asked).map_err(|error| Stop::failed(error.to_string()))
            }
            Self::Status => status::run(&common),
            Self::InstallToken { force } => operate::install_token(&common, force),
            Self::Keys(keys) => keys.run(&common),
            Self::Backup { file } => backup::run(&common, &file),
            Self::Import { file, dry_run } => import::run(&common, &file, dry_run),
            Self::Restore(restore) => restore.run(&common),
            Self::Check => return check::run(&common),
            Self::Clock(Clock::Reset) => operate::reset_clock(&common),
            Self::Compact => operate::compact(&common),
            Self::Completions { shell } => {
                // Written as a whole: the generator cannot bear a reader who goes away.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Line::command(), "bearerd", &mut script);
                output::line(String::from_utf8_lossy(&script).trim_end())
            }
            Self::Man { folder } => manual(folder.as_deref()),
            Self::Reload => operate::reload(&common),
            Self::User(user) => user.run(&common),
            Self::Token(token) => token.run(&common),
            Self::Enroll(enroll) => enroll.run(&common),
            Self::Host(host) => host.run(&common),
            Self::Client(client) => client.run(&common),
            Self::Link(link) => link.run(&common),
            Self::Audit(audit) => audit.run(&common),
            Self::Verify { from } => {
                let active = token::verify(&common, from.as_deref())?;
                return Ok(if active { Exit::Done } else { Exit::NotActive });
            }
            Self::Explain(explain) => operate::explain(&common, &explain),
        }?;
        Ok(Exit::Done)
    }
}

/// Prints the manual page of the program, or writes that of every command into `folder`, which is made where it
/// is not there.
fn manual(folder: Option<&Path>) -> Result<(), Stop> {
    let Some(folder) = folder else {
        // Written as a whole, so that a reader who goes away is no failure.
        let mut page = Vec::new();
        clap_mangen::Man::new(Line::command())
            .render(&mut page)
            .map_err(|error| Stop::failed(error.to_string()))?;
        return output::line(String::from_utf8_lossy(&page).trim_end());
    };
    let failed = |error: std::io::Error| Stop::of_file(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Line::command(), folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_in_itself() {
        Line::command().debug_assert();
    }
}
