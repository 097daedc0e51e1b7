//! A list's query: an accepted cursor has one spelling.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::cursors(input));
