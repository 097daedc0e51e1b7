//! The JWT: exactly what we signed verifies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::jwt(input));
