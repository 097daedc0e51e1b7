//! Recorded histories: sixteen clients work on the same few tokens of a daemon that is killed and stopped and
//! started again under them. Every operation is written down with when it was asked, when it was answered and
//! what was told, "nothing" included; afterwards each token's history must be one that a single token could have
//! gone through, one operation after the other.
//!
//! `BEARERD_HISTORIES` says how many histories, of 2,000 operations each; without it there are few and short ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod checker;
mod recorder;
#[path = "../support/mod.rs"]
mod support;

use checker::{Ask, Operation, Told, judge};
use recorder::{Figures, Town, Wanted};

/// Histories that one daemon lives through before another takes over with an empty store.
const HISTORIES_EACH: u64 = 20;

fn run(histories: u64, wanted: Wanted) -> Figures {
    let mut figures = Figures::default();
    let mut town = Town::new();
    for number in 0..histories {
        if number > 0 && number % HISTORIES_EACH == 0 {
            town = Town::new();
            eprintln!("{number} histories: {figures:?}");
        }
        let history = town.record(number + 1, wanted);
        figures.add(&history);
        for held in &history.tokens {
            if let Err(stuck) = judge(held.uses_max, &held.operations) {
                panic!("history {number}, token {} of {:?} uses: {stuck:#?}", held.id, held.uses_max);
            }
        }
    }
    figures
}

#[test]
fn what_concurrent_clients_see_of_a_token_across_kills_could_have_happened_in_one_order() {
    let asked = std::env::var("BEARERD_HISTORIES").ok();
    let figures = match asked.map(|asked| asked.parse().expect("a number of histories")) {
        Some(histories) => run(histories, Wanted { operations: 2_000, interruptions: 3 }),
        None => run(3, Wanted { operations: 500, interruptions: 2 }),
    };
    eprintln!("{figures:?}");
    assert!(figures.good > 0 && figures.bad > 0 && figures.interruptions > 0, "{figures:?}");
}

/// What the recorder wrote down is turned into what a daemon would have told that looked at an old row.
#[test]
fn a_recorded_history_with_one_stale_answer_is_rejected() {
    let history = Town::new().record(7, Wanted { operations: 400, interruptions: 1 });
    let mut turned = 0;
    for held in &history.tokens {
        let over = |operation: &&Operation| {
            operation.ask == Ask::Revoke && operation.told == Told::Yes && operation.returned < u64::MAX
        };
        let Some(end) = held.operations.iter().filter(over).map(|operation| operation.returned).min() else {
            continue;
        };
        for at in 0..held.operations.len() {
            let mut operations = held.operations.clone();
            let late = &mut operations[at];
            if late.ask == Ask::Use && late.told == Told::No && late.called > end {
                late.told = Told::Yes;
                assert!(judge(held.uses_max, &operations).is_err(), "{:?}", held.operations);
                turned += 1;
            }
        }
    }
    assert!(turned > 0, "nobody used a token after its revocation");
}
