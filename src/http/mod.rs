//! How the daemon is asked: listeners, routes, problems.

pub mod problem;
pub mod reply;
