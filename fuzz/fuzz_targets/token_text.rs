//! The token string: what parses is spelled the one way that minting spells it.
#![no_main]

#[path = "../../tests/support/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|input: &[u8]| oracles::token_text(input));
