//! What a credential *is*: strings, hashes, ids, keys and envelopes.
//!
//! The ground floor, and the first that an attacker's bytes reach. Everything here is a function of
//! its arguments: no clock, no randomness, no file, no store. Parser and writer of each format share
//! a file, each value has one spelling, and what does not parse says why without quoting itself.
//!
//! - [`secret`]: the types that cannot be printed, and the one comparison.
//! - [`id`]: TypeIDs, safe to show and to log.
//! - [`text`]: the opaque token, and what a presented string looks like.
//! - [`keyring`]: root keys, and what is derived from them.
//! - [`jwt`]: the JWT form of a personal access token.
//! - [`cookie`]: the portal cookie.
//! - [`seal`]: sealed credentials.
//! - [`service_secrets`]: the configured secrets, and which service a presented one is.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cookie;
mod digits;
mod dotenv;
pub mod id;
pub mod jwt;
pub mod keyring;
pub mod seal;
pub mod secret;
pub mod service_secrets;
#[cfg(test)]
mod supposed;
pub mod text;

pub use id::{ClientId, HostId, IdError, TokenId, UserId};
pub use keyring::{KeyId, Keyring, RootKey};
pub use secret::{Key, MacKey, Secret, TokenHash};
pub use service_secrets::{ServiceName, ServiceSecrets};
pub use text::{Kind, Malformed, Prefix, Spelling, TokenText};
