//! Whole requests, answered by the application: only who may is let in, and no fault is ours.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::served_request(input));
