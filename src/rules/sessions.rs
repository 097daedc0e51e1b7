//! Sessions: opened by password, by setup, or on behalf of a user; ended one by one or all at once.

use super::{
    Refusal, Terms,
    tokens::{self, Fresh, Minted},
};
use crate::{
    records::{
        Txn,
        token::{Detail, Owner},
        user::User,
    },
    token::Kind,
};

/// Opens a session of `user`, for `ttl_seconds` or as the settings say. The entry must be open, and the
/// user known to be good.
pub fn open(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    user: &User,
    ttl_seconds: Option<u64>,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let sessions = &terms.settings.sessions;
    let span = ttl_seconds.unwrap_or(sessions.ttl);
    let prefix = &terms.settings.tokens.prefix;
    let mut minted = tokens::blank(txn, prefix, Kind::Session, Owner::User(user.id), Some(span), fresh);
    minted.token.detail = Detail::Session { epoch: user.session_epoch, idle_seconds: sessions.idle };
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}
