//! The oracles of the fuzz targets, compiled once for all of them.
#![allow(missing_docs, reason = "shared with the tests, which say what they are")]

#[path = "../../tests/support/oracles.rs"]
pub mod oracles;
