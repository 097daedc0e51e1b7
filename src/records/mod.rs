//! What is stored, and the door to it: record types, their encoding, typed tables, and the transaction
//! that an operation sees.
//!
//! Nothing here knows the engine, a clock or a file. What comes back from disk is parsed as if an attacker
//! had written it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod audit;
pub mod client;
pub mod codec;
#[cfg(test)]
mod frozen;
pub mod held;
pub mod host;
pub mod keys;
pub mod meta;
#[cfg(test)]
pub(crate) mod shelf;
#[cfg(test)]
mod supposed;
pub mod tables;
pub mod time;
pub mod token;
pub mod txn;
pub mod user;
pub mod view;

pub use audit::{Action, Actor, By};
pub use held::{Held, Holdable};
pub use keys::StoreKeys;
pub use tables::{Deciding, Hint, Listed, Page, Record};
pub use time::Time;
pub use txn::{Params, Txn, WriteSet};
pub use view::{Fault, TableId, View};
