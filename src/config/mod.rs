//! Files in, judged and complete settings, keys and service secrets out.
//!
//! Everything is read and judged before any of it counts: a start or a reload gets either the whole or the
//! list of what is wrong. What the words of a file mean is decided by functions over text; what
//! a file is, and who may read and write it, by [`secret_file`], [`keyring`] and [`data_directory`].

pub mod data_directory;
pub mod fault;
pub mod keyring;
pub mod load;
pub mod locate;
pub mod secret_file;
pub mod services;
pub mod span;
pub mod toml;
pub mod warning;

pub use fault::{ConfigFaults, Fault};
pub use load::{ConfigError, Loaded, Located, Sources};
