//! The token string: what parses is spelled the one way that minting spells it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::token_text(input));
