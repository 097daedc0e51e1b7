//! How the daemon is asked: listeners, routes, problems.
