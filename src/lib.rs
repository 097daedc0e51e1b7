//! bearerd, the token daemon.
//!
//! A pure core decides; a thin shell asks and applies. The modules, in the order to read them, each
//! importing only from those above it:
//!
//! - [`token`]: what a credential *is*. Strings, hashes, ids, keys, envelopes. Pure.
//! - [`records`]: what is *stored*, and the door to it. Pure.
//! - [`settings`]: the settings as plain values. Pure.
//! - [`rules`]: what *may happen*. Every operation of the daemon as a function of values. Pure.
//! - [`metrics`]: the counters.
//! - [`store`]: where it is *kept*. The only place that knows the storage engine.
//! - [`config`]: files in, complete and judged settings, keys and service secrets out.
//! - [`app`]: one method an operation: draws randomness, runs the rule, hands over.
//! - [`http`]: how it is *asked*.
//! - [`daemon`]: how it *runs*: signals, systemd, logging.
//! - [`cli`]: how an operator asks; `serve` is the command that starts the daemon.
//!
//! Pure means: no clock, no randomness, no file, no socket, no engine, no async. A test reads the
//! sources and holds them to it.

pub mod app;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod http;
pub mod metrics;
pub mod records;
pub mod rules;
pub mod settings;
pub mod store;
pub mod token;
