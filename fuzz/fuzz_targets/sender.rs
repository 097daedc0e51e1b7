//! What a head says of its sender: bearer, Basic, cookies, origin.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::sender(input));
