//! Sequences of operations on sessions, enrolments, hosts and links: a credential counts exactly when a plain
//! model says so.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::lives(input));
