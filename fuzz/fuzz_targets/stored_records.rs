//! Stored records of every type: believed only whole, in their place and with their MAC.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::stored_records(input));
