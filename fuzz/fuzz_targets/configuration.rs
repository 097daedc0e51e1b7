//! The configuration file: accepted, it keeps every bound; refused, each fault has its line.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::configuration(input));
