//! Times and spans: as large numbers have them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::expiry(input));
