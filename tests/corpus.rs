//! The fuzz targets' corpora, replayed on the stable toolchain: each file through its target's oracle.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "support/oracles.rs"]
mod oracles;

use std::{fs, panic, path::Path};

use oracles::TARGETS;

#[test]
fn every_seed_of_every_corpus_holds() {
    let mut broken = Vec::new();
    for (target, oracle) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut seeds = 0;
        for seed in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = seed.unwrap().path();
            let input = fs::read(&path).unwrap();
            if panic::catch_unwind(|| oracle(&input)).is_err() {
                broken.push(path);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{target} has no seeds");
    }
    assert!(broken.is_empty(), "these do not hold: {broken:?}");
}

#[test]
fn every_fuzz_target_has_its_corpus_replayed_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for file in fs::read_dir(folder).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is not replayed");
    }
}
