//! Times: read as they are written, by a calendar of our own.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::rfc3339_times(input));
