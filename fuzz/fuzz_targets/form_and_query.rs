//! Forms and queries: each name once, decoded as another decoder does.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::form_and_query(input));
