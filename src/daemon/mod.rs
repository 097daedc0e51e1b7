//! How the daemon runs: signals, systemd, logging, start and stop.
//!
//! The only part of the program that touches the process itself. It puts the others together and decides
//! nothing that a rule could decide.

use std::path::PathBuf;

mod banner;
mod clock_watch;
mod harden;
#[cfg(test)]
mod lives;
pub mod logging;
mod memory;
mod run;
mod signals;
mod sockets;
mod start;
mod systemd;
mod timers;

pub use run::serve;
pub use start::StartError;

/// What `serve` was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`, each as it was written.
    pub listen: Vec<String>,
}
