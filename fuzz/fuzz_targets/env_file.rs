//! A `.env` file: only the asked keys, and nothing of it in an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::env_file(input));
