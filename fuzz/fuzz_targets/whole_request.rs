//! A whole request: the route that is authorised is the one that the raw path names.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::whole_request(input));
