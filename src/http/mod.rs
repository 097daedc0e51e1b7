//! How the daemon is asked: listeners, routes, problems.

pub mod body;
pub mod forwarded;
pub mod front;
pub mod problem;
pub mod reply;
pub mod server;
pub mod time;
