//! Ids, names, ranges, spans and addresses: each has one spelling.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::names(input));
