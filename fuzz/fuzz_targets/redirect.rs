//! A link's redirect: accepted, it stays on the public origin.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::redirect(input));
