//! How the daemon is asked: listeners, routes, problems.

pub mod body;
pub mod caller;
pub mod client;
pub mod cookies;
pub mod dispatch;
pub mod forwarded;
pub mod front;
pub mod list;
mod members;
pub mod openapi;
pub mod pages;
pub mod problem;
pub mod reply;
mod request_id;
pub mod router;
pub mod routes;
pub mod same_origin;
pub mod server;
pub mod time;
