//! Sessions: opened by password, by setup, or on behalf of a user; ended one by one or all at once.

use std::sync::Arc;

use super::{
    Denied, Forbidden, Reason, Refusal, Terms,
    access::Authorized,
    tokens::{self, Fresh, Minted},
    users,
};
use crate::{
    records::{
        Action, Actor, By, Params, Txn,
        token::{Detail, Owner, Token},
        user::{PasswordHash, User},
    },
    token::{Kind, TokenId, UserId},
};

/// The longest session that can be asked for, in seconds: ten years, as for PATs.
pub const TTL_SECONDS_MAX: u64 = 315_360_000;

/// A session that is to be opened, and for whom.
#[derive(Debug)]
pub struct Login {
    /// The user whose password was right.
    pub user: UserId,
    /// The hash that it was held against; another one by now is another password.
    pub password: PasswordHash,
    /// From where.
    pub ip: Option<core::net::IpAddr>,
    /// Random bytes for the token.
    pub fresh: Fresh,
}

/// Opens a session for whoever knew the password; that, and that the user is active, is looked at again.
pub fn log_in(txn: &mut Txn<'_>, terms: Terms<'_>, login: &Login) -> Result<(User, Minted), Refusal> {
    let user = User::by_id(txn, login.user)?.ok_or(Denied::of(Reason::OwnerGone))?;
    if !user.active {
        return Err(Denied::of(Reason::OwnerInactive).into());
    }
    if user.service.is_some() || user.password.as_ref() != Some(&login.password) {
        return Err(Denied::of(Reason::Hash).into());
    }
    let by = By { actor: Actor::User(user.id), label: user.email.clone(), ip: login.ip };
    let minted = open(txn, terms, &by, &user, None, &login.fresh)?;
    Ok((user, minted))
}

/// Opens a session of somebody, for a product with a login of its own.
pub fn open_for(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    who: &Authorized,
    user: UserId,
    ttl_seconds: Option<u64>,
    fresh: &Fresh,
) -> Result<(User, Minted), Refusal> {
    if ttl_seconds.is_some_and(|ttl| !(1..=TTL_SECONDS_MAX).contains(&ttl)) {
        return Err(Refusal::invalid("ttl_seconds", format!("must be 1 to {TTL_SECONDS_MAX}")));
    }
    let user = users::active_person(txn, user)?;
    let minted = open(txn, terms, &who.by(), &user, ttl_seconds, fresh)?;
    Ok((Arc::unwrap_or_clone(user), minted))
}

/// Opens a session with an entry of its own.
fn open(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    user: &User,
    ttl_seconds: Option<u64>,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let minted = blank(txn, terms, user, ttl_seconds, fresh);
    let params = Params::none().with("user", user.id.to_string());
    txn.entry(by, Action::SessionCreate, minted.token.id, params)?;
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// Opens a session as part of the entry that is open: setup's.
pub fn open_within(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    user: &User,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let minted = blank(txn, terms, user, None, fresh);
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

fn blank(txn: &Txn<'_>, terms: Terms<'_>, user: &User, ttl_seconds: Option<u64>, fresh: &Fresh) -> Minted {
    let sessions = &terms.settings.sessions;
    let span = ttl_seconds.unwrap_or(sessions.ttl);
    let prefix = &terms.settings.tokens.prefix;
    let mut minted = tokens::blank(txn, prefix, Kind::Session, Owner::User(user.id), Some(span), fresh);
    minted.token.detail = Detail::Session { epoch: user.session_epoch, idle_seconds: sessions.idle };
    minted
}

/// Ends the session that the caller presented, and nothing else.
pub fn end_current(txn: &mut Txn<'_>, who: &Authorized) -> Result<(), Refusal> {
    let current = who.caller().identity().and_then(|identity| identity.token);
    end(txn, who, current.ok_or(Refusal::Forbidden(Forbidden::Kind))?).map_err(|refusal| match refusal {
        // What was presented is a credential, though no session.
        Refusal::NotFound => Refusal::Forbidden(Forbidden::Kind),
        other => other,
    })
}

/// Ends a session: one's own, or as an admin anybody's. Ending it again changes nothing, however it ended first.
pub fn end(txn: &mut Txn<'_>, who: &Authorized, id: TokenId) -> Result<(), Refusal> {
    let token =
        Token::by_id(txn, id)?.filter(|token| token.kind == Kind::Session).ok_or(Refusal::NotFound)?;
    let Owner::User(owner) = token.owner else { return Err(Refusal::NotFound) };
    if !who.caller().may_see_tokens_of(owner) {
        return Err(Refusal::NotFound);
    }
    if tokens::is_revoked(txn, &token)? {
        return Ok(());
    }
    txn.entry(&who.by(), Action::SessionRevoke, id, Params::none().with("user", owner.to_string()))?;
    tokens::revoke(txn, token)?;
    Ok(())
}

#[cfg(test)]
mod tests;
