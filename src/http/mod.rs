//! How the daemon is asked: listeners, routes, problems.

pub mod body;
pub mod problem;
pub mod reply;
pub mod time;
