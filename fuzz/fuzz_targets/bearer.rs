//! A bearer: nothing is taken for a credential of ours that we did not make.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::bearer(input));
