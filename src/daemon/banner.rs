//! What the daemon says on standard output: where it listens, and what to do next.
//!
//! The install token goes there once, and nowhere else; where standard output is the journal, which keeps
//! it, it is not minted at all.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    config::locate::SYSTEM_ADMIN_SOCKET, daemon::logging, http::server::Address, rules::tokens::Minted,
};

/// Whether what is said on standard output would be kept by the journal.
pub(super) fn is_kept() -> bool {
    logging::is_journal(&io::stdout())
}

/// Shows a freshly minted install token, how to use it at `address`, and how to get another over the socket `admin`.
pub(super) fn install_token(minted: &Minted, address: &Address, admin: Option<&Address>) {
    let setup = match address {
        Address::Tcp(_) => format!("{address}/v1/setup"),
        Address::Unix(path) => format!("--unix-socket '{}' http://localhost/v1/setup", path.display()),
    };
    say(&format!(
        "\n  Welcome to bearerd. There is no admin yet. Make the first one with this install token:\n\n      \
         {token}\n\n  \
         It is shown only now. To use it:\n\n      \
         curl {setup} --json '{{\"install_token\": \"…\", \"email\": \"you@example.com\", \
         \"password\": \"…\"}}'\n\n  \
         Lost it? `{another}` mints another, and this one dies.\n",
        token = minted.secret.expose(),
        another = mints(admin),
    ));
}

/// Says that setup is pending and how to get a token that nobody has seen.
pub(super) fn setup_pending(admin: Option<&Address>) {
    say(&format!(
        "setup is pending: `{}` mints the token that makes the first admin, or lets one back in",
        mints(admin)
    ));
}

/// The command that mints an install token of the daemon with the socket `admin`, and of no other, wherever it is run.
fn mints(admin: Option<&Address>) -> String {
    match admin {
        Some(Address::Unix(path)) if path != Path::new(SYSTEM_ADMIN_SOCKET) => {
            format!("bearerd install-token --socket '{}'", path.display())
        }
        _ => "bearerd install-token".to_owned(),
    }
}

/// Says where it listens.
pub(super) fn listening(address: &Address) {
    say(&format!("listening on {address}"));
}

/// Standard output may be closed; the daemon runs on without it.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
