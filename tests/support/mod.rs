//! What the black-box tests share: the daemon as a child process, a small HTTP/1.1 client, and the
//! people, services and tokens of a test, in words that read like sentences.
//!
//! Nothing here links the crate under test. Every expectation comes from the contract.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::needless_pass_by_value,
    reason = "test support: it fails by panicking, and no single test file uses all of it"
)]

pub mod cli;
pub mod daemon;
pub mod http;
pub mod openapi;
pub mod people;
pub mod race;
pub mod shapes;
pub mod text;

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use self::{
    cli::Outcome,
    daemon::{Daemon, NotStarted, Setup},
    http::{Answer, Caller, Connection, Request},
    people::{Person, Service},
    text::{contains, hex, sha256_hex, token_in, tokens_in},
};
#[allow(unused_imports, reason = "each test file uses its own part")]
pub use serde_json::{Value, json};

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; fails with `what` when patience ends.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// Like [`eventually`], with a limit of its own.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs one closure on each of `count` threads, released together, and collects what they return.
pub fn at_once<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let gate = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (gate, act) = (&gate, &act);
                scope.spawn(move || {
                    gate.wait();
                    act(number)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a racing thread failed")).collect()
    })
}

/// The member of a JSON object as text; fails with the whole value where it is missing.
#[track_caller]
pub fn text_of(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no text member {member} in {value}")).to_owned()
}

/// The `items` of a list answer.
#[track_caller]
pub fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().unwrap_or_else(|| panic!("not a list: {list}"))
}

/// The entry of a list whose `id` is this one, if any.
pub fn by_id<'a>(list: &'a Value, id: &str) -> Option<&'a Value> {
    items(list).iter().find(|item| item["id"] == id)
}

/// A time of the wire as seconds since the epoch; fails unless it is RFC 3339 in UTC, ending in `Z`.
#[track_caller]
pub fn seconds(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("not a time: {value}"));
    text::parse_time(text).unwrap_or_else(|| panic!("not RFC 3339 in UTC: {text}"))
}

/// The wall clock in seconds since the epoch.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
