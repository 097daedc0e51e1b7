//! JSON bodies of every route: one reading, unknown members refused, no value repeated.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::json_body(input));
