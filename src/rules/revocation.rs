//! Revocation by whoever presents the token (RFC 7009): to hold a token is enough to end it.
//!
//! Every stored token can be ended so, whatever it is for and from wherever it is presented: somebody who
//! found one does best to end it. A service's secret is no stored token, and nothing happens to it.

use std::sync::Arc;

use super::{
    Refusal, tokens,
    verify::{self, Presented},
};
use crate::{
    records::{
        Action, Actor, By, Fault, Params, Txn, View,
        client::Client,
        host::Host,
        token::{Owner, Token},
        user::User,
        view::believed,
    },
    token::{TokenText, jwt::JwtText},
};

/// The stored token that was presented, if its text is right; what state it is in does not matter.
pub fn find(view: &dyn View, presented: &Presented) -> Result<Option<Token>, Fault> {
    let found = match presented {
        Presented::Token(TokenText { id, hash, .. }) | Presented::Jwt(JwtText { id, hash, .. }) => {
            verify::row(view, Some(*id), hash)?
        }
        Presented::Imported(hash) => verify::row(view, None, hash)?,
        Presented::Service { .. } | Presented::Cookie(_) => return Ok(None),
    };
    Ok(found.ok().map(Arc::unwrap_or_clone))
}

/// Whether there is anything left to end: what is over already needs no change and no entry.
pub fn would_change(view: &dyn View, presented: &Presented) -> Result<bool, Fault> {
    match find(view, presented)? {
        Some(token) => Ok(!tokens::is_revoked(view, &token)?),
        None => Ok(false),
    }
}

/// Ends the token that was presented, if it is one. The entry names `by`, or the token's own holder where
/// nobody said who they are: who presents a token speaks for whom it speaks for.
pub fn by_presenting(txn: &mut Txn<'_>, presented: &Presented, by: By) -> Result<bool, Refusal> {
    let Some(token) = find(txn, presented)? else { return Ok(false) };
    if tokens::is_revoked(txn, &token)? {
        return Ok(false);
    }
    let by = match by.actor {
        Actor::System => holder(txn, &token, by)?,
        Actor::Local(_) | Actor::User(_) | Actor::Host(_) | Actor::Client(_) => by,
    };
    let params = Params::none().with("kind", token.kind.name()).with("presented", true);
    txn.entry(&by, Action::TokenRevoke, token.id, params)?;
    Ok(tokens::revoke(txn, token)?)
}

/// Whom `token` speaks for, at the address of `by`. What people call an owner who cannot be believed is not said: that
/// is no reason to let the token live.
fn holder(view: &dyn View, token: &Token, by: By) -> Result<By, Fault> {
    let ip = by.ip;
    Ok(match token.owner {
        Owner::Nobody => by,
        Owner::User(id) => {
            let label = believed(User::by_id(view, id))?.map(|user| user.email).unwrap_or_default();
            By { actor: Actor::User(id), label, ip }
        }
        Owner::Host(id) => {
            let label = believed(Host::by_id(view, id))?.map(|host| host.hostname).unwrap_or_default();
            By { actor: Actor::Host(id), label, ip }
        }
        Owner::Client(id) => {
            let label = believed(Client::by_id(view, id))?.map(|client| client.slug).unwrap_or_default();
            By { actor: Actor::Client(id), label, ip }
        }
    })
}
