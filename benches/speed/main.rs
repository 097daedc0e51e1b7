//! How fast the daemon is, beside the fastest that it could be, in one run.
//!
//! Starts the release binary of bearerd and a bare HTTP server that answers the same number of bytes to
//! everything, each pinned to one processor, with the load on the other, and asks them in turn, round by round.
//! Prints for each question the throughput, its ratio to the bare server's, the processor time of the server
//! process for each request as the kernel accounts for it, and the median and 99th percentile of the answer
//! time. Absolute figures belong to the machine; the ratios carry over.
//!
//!     cargo bench --bench speed                          # 100,000 tokens
//!     cargo bench --bench speed -- --tokens 1000000 --rounds 5
//!
//! Nothing here asserts a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    unreachable_pub,
    reason = "a benchmark fails by panicking and speaks on standard output"
)]

mod fill;
mod limit;
mod load;
mod server;

use std::{env, path::Path, time::Instant};

use load::Figures;
use server::Server;

/// Connections at once.
const CONNECTIONS: usize = 16;
/// Requests of one round.
const REQUESTS: usize = 30_000;
/// Durable changes of one round.
const CHANGES: usize = 4_000;

struct Options {
    tokens: usize,
    rounds: usize,
}

fn main() {
    if env::args().any(|argument| argument == limit::ARGUMENT) {
        return limit::serve();
    }
    let options = Options { tokens: number("--tokens", 100_000), rounds: number("--rounds", 5) };
    let folder = tempfile::tempdir().unwrap();
    let filled = fill::store(folder.path(), options.tokens);
    println!(
        "{} tokens made in {:.1} s; store {:.1} MB, {:.0} bytes a token",
        options.tokens,
        filled.took.as_secs_f64(),
        filled.bytes as f64 / 1e6,
        filled.bytes as f64 / options.tokens as f64
    );
    let began = Instant::now();
    let daemon = Server::daemon(folder.path());
    println!("open to first listening line: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let limit = Server::limit();
    questions(&options, &daemon, &limit, &filled);
    changes(&daemon, &filled);
    println!("\nmemory of the daemon: {:.0} MB", daemon.resident_bytes() as f64 / 1e6);
    let began = Instant::now();
    daemon.kill();
    let again = Server::daemon(folder.path());
    println!("open after kill -9: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    drop(again);
}

/// Verification in all its forms, each against the bare server.
fn questions(options: &Options, daemon: &Server, limit: &Server, filled: &fill::Filled) {
    println!(
        "\n{:<34} {:>9} {:>7} {:>9} {:>8} {:>8}",
        "question", "per s", "ratio", "µs CPU", "p50 µs", "p99 µs"
    );
    let plain = load::get("/", None);
    for (name, requests) in filled.questions() {
        let mut ours = Vec::new();
        let mut bare = Vec::new();
        for _ in 0..options.rounds {
            bare.push(load::run(limit, std::slice::from_ref(&plain), CONNECTIONS, REQUESTS));
            ours.push(load::run(daemon, &requests, CONNECTIONS, REQUESTS));
        }
        let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours.per_second / bare.per_second);
        let ratio = load::median(ratios.collect());
        row(name, &Figures::medians(&ours), Some(ratio));
        row("  bare server, same rounds", &Figures::medians(&bare), None);
    }
}

/// Durable mints at 1, 16 and 64 callers.
fn changes(daemon: &Server, filled: &fill::Filled) {
    println!(
        "\n{:<34} {:>9} {:>7} {:>9} {:>8} {:>8}",
        "durable change", "per s", "", "µs CPU", "p50 µs", "p99 µs"
    );
    for callers in [1, 16, 64] {
        let changes = if callers == 1 { CHANGES / 8 } else { CHANGES };
        let figures = load::run(daemon, &[filled.mint()], callers, changes);
        row(&format!("mint, {callers} callers"), &figures, None);
    }
}

fn row(name: &str, figures: &Figures, ratio: Option<f64>) {
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!(
        "{name:<34} {:>9.0} {ratio:>7} {:>9.1} {:>8.0} {:>8.0}",
        figures.per_second, figures.cpu_micros, figures.median_micros, figures.p99_micros
    );
}

fn number(name: &str, otherwise: usize) -> usize {
    let mut arguments = env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(otherwise, |value| value.parse().expect("a whole number"))
}

/// The folder in which the daemon under test has its configuration.
fn config(folder: &Path) -> std::path::PathBuf {
    folder.join("bearerd.toml")
}
