//! The routes, one file a system: request values in, one app method, answer values out.
//!
//! A handler parses, calls one method of [`App`](crate::app::App), and encodes. It checks no right, reads
//! no clock and chooses no status but that of success.

use super::router::Route;

pub mod enrollments;
pub mod hosts;
pub mod setup;
pub mod shown;

/// Every route of the daemon.
pub const ALL: &[&[Route]] = &[setup::ROUTES, enrollments::ROUTES, hosts::ROUTES];
