//! Lines of an import: what is taken in is what was said, once, and no error repeats it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bearerd_fuzz::oracles::import_lines(input));
