//! The install token, and the first admin that it makes.

use super::{
    Conflict, Denied, Reason, Refusal, Terms, sessions,
    tokens::{self, Fresh, Minted},
    users::{self, NewUser},
};
use crate::{
    records::{
        Action, Actor, By, Fault, Params, TableId, Txn, View,
        meta::Setup,
        token::{Owner, Token},
        user::{ADMIN, PasswordHash, User},
    },
    token::{Kind, TokenText, UserId},
};

/// Whether an install token should be minted at start: setup is pending and none is on file.
pub fn wants_token(view: &dyn View) -> Result<bool, Refusal> {
    let setup = Setup::of(view)?;
    Ok(setup.pending() && setup.install_token.is_none())
}

/// Mints an install token; the one before dies. Once setup is complete this refuses, unless `force` opens
/// it once more; whether it was complete or not, `force` lets an e-mail that exists name its user.
pub fn mint(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    force: bool,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let mut setup = Setup::of(txn)?;
    let reopens = !setup.pending();
    if reopens && !force {
        return Err(Refusal::Conflict(Conflict::SetupComplete));
    }
    let minted = tokens::blank(txn, &terms.settings.tokens.prefix, Kind::Install, Owner::Nobody, None, fresh);
    let action = if reopens { Action::SetupReopen } else { Action::InstallMint };
    let params = if force { Params::none().with("force", true) } else { Params::none() };
    txn.entry(by, action, minted.token.id, params)?;
    if let Some(before) = on_file(txn, &setup)? {
        tokens::revoke(txn, before)?;
    }
    setup.install_token = Some(minted.token.id);
    setup.reopened |= force;
    txn.put(setup)?;
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// What makes the first admin. Bounds were checked, the password was hashed.
#[derive(Debug)]
pub struct FirstAdmin {
    /// The install token that was presented.
    pub presented: TokenText,
    /// The e-mail, trimmed.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// The argon2id hash of the password.
    pub password: PasswordHash,
    /// Random bytes for the user's id.
    pub fresh_user: [u8; 10],
    /// Random bytes for the session.
    pub fresh_session: Fresh,
}

/// Refuses where there is no first admin to make any more; for asking before the request is read.
pub fn refuse_complete(view: &dyn View) -> Result<(), Refusal> {
    if Setup::of(view)?.pending() { Ok(()) } else { Err(Refusal::Conflict(Conflict::SetupComplete)) }
}

/// Whether `presented` would be accepted now; for asking before the password is hashed.
pub fn accepts(view: &dyn View, presented: Option<&TokenText>) -> Result<(), Refusal> {
    refuse_complete(view)?;
    let setup = Setup::of(view)?;
    let presented = presented.ok_or(Denied::of(Reason::Malformed))?;
    let denied = |reason| Denied { reason, token: Some(presented.id) };
    let token = on_file(view, &setup)?.ok_or_else(|| denied(Reason::Unknown))?;
    if token.id != presented.id {
        return Err(denied(Reason::Unknown).into());
    }
    if !token.has_hash(&presented.hash) {
        return Err(denied(Reason::Hash).into());
    }
    if token.kind != Kind::Install || presented.kind != Kind::Install {
        return Err(denied(Reason::Kind).into());
    }
    Ok(())
}

/// Makes the first admin and opens its session: token checked and consumed, user, session and entry in one
/// transaction. Where setup was opened by force, an e-mail that exists names that user, who comes back as
/// an active admin with the new password and without its old sessions.
pub fn complete(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    ip: Option<core::net::IpAddr>,
    admin: FirstAdmin,
) -> Result<(User, Minted), Refusal> {
    accepts(txn, Some(&admin.presented))?;
    let mut setup = Setup::of(txn)?;
    let back = if setup.reopened { User::by_email(txn, &admin.email)? } else { None };
    if back.as_ref().is_some_and(|user| user.service.is_some()) {
        return Err(Refusal::Conflict(Conflict::ServiceUser));
    }
    let id = back
        .as_ref()
        .map_or_else(|| UserId::from_parts(txn.now_ms(), txn.in_turn(admin.fresh_user)), |user| user.id);
    let by = By { actor: Actor::User(id), label: admin.email.clone(), ip };
    txn.entry(&by, Action::SetupComplete, id, Params::none().with("returned", back.is_some()))?;
    let user = match back {
        None => {
            let new = NewUser {
                email: admin.email,
                name: admin.name,
                groups: vec![ADMIN.to_owned()],
                password: Some(admin.password),
                service: None,
            };
            users::insert(txn, id, new)?
        }
        Some(user) => come_back(txn, &user, admin.name, admin.password)?,
    };
    let token = Token::by_id(txn, admin.presented.id)?.ok_or(Denied::of(Reason::Unknown))?;
    txn.put(Token { consumed_at: Some(txn.now()), ..token })?;
    setup.completed_at = setup.completed_at.or(Some(txn.now()));
    setup.reopened = false;
    setup.install_token = None;
    txn.put(setup)?;
    let session = sessions::open_within(txn, terms, &user, &admin.fresh_session)?;
    Ok((user, session))
}

fn come_back(
    txn: &mut Txn<'_>,
    before: &User,
    name: Option<String>,
    password: PasswordHash,
) -> Result<User, Refusal> {
    let mut groups = before.groups.clone();
    groups.push(ADMIN.to_owned());
    groups.sort();
    groups.dedup();
    let user = User {
        name: name.or_else(|| before.name.clone()),
        groups,
        active: true,
        password: Some(password),
        session_epoch: before.next_epoch(txn.now()),
        updated_at: txn.now(),
        ..before.clone()
    };
    Ok(users::put(txn, Some(before), user)?)
}

/// The install token on file, if it is alive.
fn on_file(view: &dyn View, setup: &Setup) -> Result<Option<Token>, Refusal> {
    let Some(id) = setup.install_token else { return Ok(None) };
    let token = Token::by_id(view, id)?.ok_or(Fault::Damaged(TableId::Tokens))?;
    let alive = token.revoked_at.is_none() && token.consumed_at.is_none();
    Ok(alive.then_some(token))
}

#[cfg(test)]
mod tests;
