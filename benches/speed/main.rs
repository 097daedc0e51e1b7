//! How fast the daemon is, beside the fastest that it could be, in one run.
//!
//! Starts the release binary of bearerd and a bare HTTP server that is sent the same requests and answers as
//! many bytes, each pinned to one processor, with the load on another, and asks them in turn, round by round,
//! over stores of several sizes. Prints for each question the throughput, its ratio to the bare server's, the
//! processor time of the server process for each request as the kernel accounts for it, and the median and
//! 99th percentile of the answer time; then durable changes, starts, memory, lists and upkeep. Absolute
//! figures belong to the machine; the ratios carry over.
//!
//!     cargo bench --bench speed                                       # 1,000 and 1,000,000 tokens
//!     cargo bench --bench speed -- --sizes 1000,1000000,10000000 --stores DIR
//!
//! A store is made once and used again by the next run; `--stores` says where. `benches/run` makes the
//! document from the figures. Nothing here asserts a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::missing_docs_in_private_items,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking and speaks on standard output"
)]

mod changes;
mod compare;
mod known;
mod limit;
mod load;
mod report;
mod scale;
mod server;
mod stock;
mod verification;

use std::{env, fs, path::PathBuf, time::Duration};

use report::{Machine, Report, Size};
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use server::{PROCESSOR, Server};
use stock::Stock;
use verification::Access;

/// A store of fewer tokens than this is made anew for each run: changes would make it another size.
const SMALL: u64 = 100_000;

struct Options {
    sizes: Vec<u64>,
    stores: PathBuf,
    rounds: usize,
    span: Duration,
    figures: Option<PathBuf>,
    oidc: Option<PathBuf>,
    only_make: bool,
}

impl Options {
    fn of_arguments() -> Self {
        let value = |name: &str| env::args().skip_while(|argument| argument != name).nth(1);
        let sizes = value("--sizes").unwrap_or_else(|| "1000,1000000".to_owned());
        let number = |name: &str, otherwise: u64| {
            value(name).map_or(otherwise, |value| value.parse().expect("a whole number"))
        };
        Self {
            sizes: sizes.split(',').map(|size| size.parse().expect("sizes as N,N")).collect(),
            stores: value("--stores").map_or_else(|| env::temp_dir().join("bearerd-bench"), PathBuf::from),
            rounds: number("--rounds", 3) as usize,
            span: Duration::from_millis(number("--millis", 1_000)),
            figures: value("--figures").map(PathBuf::from),
            oidc: value("--oidc").map(PathBuf::from),
            only_make: env::args().any(|argument| argument == "--only-make"),
        }
    }
}

const HELP: &str = "\
cargo bench --bench speed -- [OPTIONS]
    --sizes N,N      tokens of the stores; 1000,1000000
    --stores DIR     where they are kept for the next run; bearerd-bench in the temporary directory
    --rounds N       rounds of each question; 3
    --millis N       length of a round; 1000
    --figures FILE   write all figures as JSON
    --oidc SCRIPT    compare with oidc-provider, SQLite and PostgreSQL
    --only-make      make the stores, and measure nothing";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == limit::ARGUMENT) {
        return limit::serve(arguments[at + 1].parse().unwrap(), arguments[at + 2].parse().unwrap());
    }
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{HELP}");
        return;
    }
    let options = Options::of_arguments();
    let mut report = Report { machine: Machine::look(), sizes: Vec::new() };
    leave_to_servers(PROCESSOR);
    for size in &options.sizes {
        if *size < SMALL {
            let _ = fs::remove_dir_all(options.stores.join(size.to_string()));
        }
        let stock = Stock::of(&options.stores, *size);
        println!(
            "\n{size} tokens{}; file {:.0} MB, {:.0} bytes a token",
            stock.took.map(|took| format!(", made in {:.1} s", took.as_secs_f64())).unwrap_or_default(),
            stock.bytes.1 as f64 / 1e6,
            stock.bytes.1 as f64 / stock.known.tokens as f64
        );
        if !options.only_make {
            report.sizes.push(measured(&options, &stock));
        }
    }
    if let Some(file) = options.figures {
        fs::write(file, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    }
}

/// Keeps the load off the processor that servers run on.
fn leave_to_servers(processor: &str) {
    let mut processors = sched_getaffinity(None).unwrap();
    processors.unset(processor.parse().unwrap());
    assert!(processors.count() > 0, "servers and load need a processor each");
    sched_setaffinity(None, &processors).unwrap();
}

/// All that is measured over one store.
fn measured(options: &Options, stock: &Stock) -> Size {
    let (rounds, span) = (options.rounds, options.span);
    let (bytes, disk_bytes) = stock.bytes;
    let session = stock.session();
    stock.warm();
    let (daemon, _) = Server::daemon(stock);
    let verification = verification::all(&daemon, &stock.known, rounds, span);
    let batches = [Access::Uniform, Access::Skewed]
        .map(|access| verification::batches(&daemon, &stock.known, access, rounds, span));
    batches.iter().for_each(say);
    let last_use = scale::last_use(&daemon, &stock.known, span);
    last_use.iter().for_each(say);
    let memory_after_reading = daemon.memory();
    daemon.settle();
    let changes = changes::all(&daemon, &session, span);
    let flood = changes::flood(&daemon, &stock.known, &session, rounds, span);
    say(&flood);
    let backup = scale::backup(stock);
    say(&backup);
    let memory = daemon.memory();
    println!("memory in bytes after reading and at the most: {} {}", memory_after_reading.0, memory.1);
    let stop = daemon.stop().as_secs_f64() * 1e3;
    let starts = scale::starts(stock, &session);
    say(&starts);
    let upkeep = scale::upkeep(stock);
    say(&upkeep);
    stock.warm();
    let caches = scale::caches(stock);
    caches.iter().for_each(say);
    let compared = compared(options, stock);
    Size {
        tokens: stock.known.tokens,
        bytes,
        disk_bytes,
        made_seconds: stock.took.map(|took| took.as_secs_f64()),
        verification,
        batches,
        last_use,
        changes,
        flood,
        backup,
        memory_after_reading: memory_after_reading.0,
        memory_most: memory.1,
        stop,
        starts,
        upkeep,
        caches,
        compared,
    }
}

/// What others come to beside the daemon, where that is asked for.
fn compared(options: &Options, stock: &Stock) -> Option<compare::Compared> {
    let oidc = options.oidc.as_deref()?;
    let session = stock.session();
    let (daemon, _) = Server::daemon(stock);
    let compared = compare::all(&daemon, &stock.known, &session, oidc, options.rounds, options.span);
    say(&compared);
    Some(compared)
}

/// Says on one line what was measured, while the run goes on.
fn say(figures: &impl serde::Serialize) {
    println!("{}", serde_json::to_string(figures).unwrap());
}
