//! The sealed envelope: opens as it was sealed and where it was sealed for, or not at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::envelope(input));
