//! A secret file: its lines, and nothing of it in an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::secret_file(input));
