//! How the daemon is asked: listeners, routes, problems.

pub mod body;
pub mod caller;
pub mod dispatch;
pub mod forwarded;
pub mod front;
pub mod problem;
pub mod reply;
pub mod router;
pub mod routes;
pub mod server;
pub mod time;
