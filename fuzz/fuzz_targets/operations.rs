//! Sequences of operations: a token counts exactly when a plain model says so.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::operations(input));
