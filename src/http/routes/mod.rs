//! The routes, one file a system: request values in, one app method, answer values out.
//!
//! A handler parses, calls one method of [`App`](crate::app::App), and encodes. It checks no right, reads
//! no clock and chooses no status but that of success.

use super::router::Route;

pub mod admin_tokens;
pub mod audit;
pub mod authorize;
pub mod clients;
pub mod enrollments;
pub mod explain;
pub mod health;
pub mod hosts;
pub mod import;
pub mod links;
pub mod me;
pub mod oauth;
pub mod operate;
pub mod portal;
pub mod projects;
pub mod sessions;
pub mod setup;
pub mod shown;
pub mod tokens;
pub mod upkeep;
pub mod users;

#[cfg(test)]
mod matrix;

/// The longest text that is taken for the token of a body that is a credential itself, in bytes: whatever
/// fits a body, so that no token is answered by anything but the one 401.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Every route of the daemon.
pub const ALL: &[&[Route]] = &[
    health::ROUTES,
    oauth::ROUTES,
    authorize::ROUTES,
    explain::ROUTES,
    setup::ROUTES,
    me::ROUTES,
    users::ROUTES,
    sessions::ROUTES,
    tokens::ROUTES,
    admin_tokens::ROUTES,
    audit::ROUTES,
    enrollments::ROUTES,
    hosts::ROUTES,
    clients::ROUTES,
    links::ROUTES,
    projects::ROUTES,
    portal::ROUTES,
    operate::ROUTES,
    upkeep::ROUTES,
    import::ROUTES,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::router::{Reads, Verb};

    /// A change is another matter: there, `null` may say that something is to go.
    #[test]
    fn what_may_be_left_out_of_a_post_may_be_null_but_where_a_slip_would_cost() {
        let mut strict = Vec::new();
        for route in ALL.iter().copied().flatten().filter(|route| route.verb == Verb::Post) {
            if let Reads::Json(shape) | Reads::Batch(shape) | Reads::Late(shape) = route.reads {
                let fields = shape.0.iter().filter(|field| !field.required && !field.nullable);
                strict.extend(fields.map(|field| (route.path, field.name)));
            }
        }
        let expected = [
            // Whether it means no scope or the usual one, nobody can tell.
            ("/v1/tokens", "scope"),
            ("/v1/users/{id}/tokens", "scope"),
            // Tokens would be ended, or setup be opened.
            ("/v1/admin/tokens/revoke", "dry_run"),
            ("/v1/admin/install-token", "force"),
        ];
        strict.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(strict, expected);
    }
}
