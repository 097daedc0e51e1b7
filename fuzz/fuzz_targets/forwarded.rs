//! `X-Forwarded-For`: what somebody who is not trusted wrote changes nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::forwarded(input));
