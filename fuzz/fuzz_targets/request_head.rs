//! The head of a request: accepted, it has one reading.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::request_head(input));
