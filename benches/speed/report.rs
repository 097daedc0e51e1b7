//! The figures of a run, and what they were taken on.

use std::{fs, process::Command, time::SystemTime};

use serde::Serialize;

use super::{
    changes::{Changed, Flood},
    compare::Compared,
    scale::{Backup, Cache, LastUse, Starts, Upkeep},
    verification::{Answered, Batches},
};

/// What a run found.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub sizes: Vec<Size>,
}

/// Where and when it ran.
#[derive(Serialize)]
pub struct Machine {
    pub date: String,
    pub commit: String,
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub memory_bytes: u64,
}

/// What was found over one store.
#[derive(Serialize)]
pub struct Size {
    pub tokens: u64,
    pub bytes: u64,
    pub disk_bytes: u64,
    pub made_seconds: Option<f64>,
    pub verification: Vec<Answered>,
    pub batches: [Batches; 2],
    pub last_use: Vec<LastUse>,
    pub changes: Vec<Changed>,
    pub flood: Flood,
    pub backup: Backup,
    pub memory_after_reading: u64,
    pub memory_most: u64,
    pub stop: f64,
    pub starts: Starts,
    pub upkeep: Upkeep,
    pub caches: Vec<Cache>,
    pub compared: Option<Compared>,
}

impl Machine {
    /// This machine, now.
    pub fn look() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let kibibytes = line("/proc/meminfo", "MemTotal");
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: commit(),
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().unwrap().get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned(),
            memory_bytes: kibibytes.split(' ').next().unwrap().parse::<u64>().unwrap() * 1024,
        }
    }
}

/// The commit that was built, with a mark where files were changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--", "src", "benches", "Cargo.lock"]).unwrap_or_default();
    if changed.is_empty() { head } else { format!("{head}, with changes") }
}
