//! The portal cookie: exactly what we signed for this store verifies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::cookie(input));
