//! The keyring: written down again it is the same, and no error quotes a key.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::keyring_file(input));
