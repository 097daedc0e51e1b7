//! Users: making, changing and deactivating them, and the guard that somebody is left to administrate.
//!
//! Whoever writes a user does it through [`put`], which keeps the indexes: by e-mail, and of those who
//! administrate, so that the guard need not look at all users.

use core::ops::ControlFlow;
use std::sync::Arc;

use super::{Conflict, Refusal, access::Authorized};
use crate::{
    records::{
        Action, Fault, Listed, Page, Params, Record, TableId, Txn, View, tables,
        user::{PasswordHash, SYSTEM_DOMAIN, User, fold_email},
    },
    token::UserId,
};

/// What a new user is made from. Bounds were checked by `limits`, the password was hashed.
#[derive(Debug)]
pub struct NewUser {
    /// The e-mail, trimmed.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// Groups, sorted, each once.
    pub groups: Vec<String>,
    /// The argon2id hash of a password.
    pub password: Option<PasswordHash>,
    /// The configured service that it is the user of.
    pub service: Option<String>,
}

/// What is to be different about a user; what is absent stays. Bounds were checked, the password was
/// hashed.
#[derive(Debug, Default)]
pub struct Change {
    /// A name for people, or none from now on.
    pub name: Option<Option<String>>,
    /// Groups, sorted, each once.
    pub groups: Option<Vec<String>>,
    /// Whether its credentials count.
    pub active: Option<bool>,
    /// The argon2id hash of a new password.
    pub password: Option<PasswordHash>,
}

/// Makes a user.
pub fn create(txn: &mut Txn<'_>, who: &Authorized, id: UserId, new: NewUser) -> Result<User, Refusal> {
    refuse_taken(txn, &new)?;
    let params = Params::none().with("email", new.email.clone()).with("groups", new.groups.clone());
    txn.entry(&who.by(), Action::UserCreate, id, params)?;
    insert(txn, id, new)
}

/// Writes a new user; its e-mail must be free, and outside the daemon's own domain unless it is a
/// service's. The entry must be open.
pub fn insert(txn: &mut Txn<'_>, id: UserId, new: NewUser) -> Result<User, Refusal> {
    refuse_taken(txn, &new)?;
    if User::by_id(txn, id)?.is_some() {
        // Ten random bytes met twice in one millisecond: a broken source. Nothing may be written over.
        return Err(Fault::Damaged(TableId::Users).into());
    }
    let user = User {
        id,
        email: new.email,
        name: new.name,
        groups: new.groups,
        active: true,
        password: new.password,
        session_epoch: 0,
        service: new.service,
        created_at: txn.now(),
        updated_at: txn.now(),
        entry: 0,
    };
    Ok(put(txn, None, user)?)
}

/// Whether a new user may have the address that it asks for; for asking before its password is hashed.
pub fn refuse_taken(view: &dyn View, new: &NewUser) -> Result<(), Refusal> {
    if new.service.is_none() {
        refuse_reserved("email", &new.email)?;
    }
    if User::by_email(view, &new.email)?.is_some() {
        return Err(Refusal::Conflict(Conflict::EmailExists));
    }
    Ok(())
}

/// Nobody but the daemon's own users has an address under its own domain. `field` is where it was asked for.
pub fn refuse_reserved(field: &'static str, email: &str) -> Result<(), Refusal> {
    if is_reserved(email) {
        return Err(Refusal::invalid(field, format!("must not be under {SYSTEM_DOMAIN}")));
    }
    Ok(())
}

/// Writes a user, with the hints that lead to it, in the place of what it was before. The entry must be
/// open.
pub fn put(txn: &mut Txn<'_>, before: Option<&User>, user: User) -> Result<User, Fault> {
    let hints = user.hints();
    for (table, key, _) in before.map(User::hints).unwrap_or_default() {
        if !hints.iter().any(|(new_table, new_key, _)| (*new_table, new_key) == (table, &key)) {
            txn.forget(table, &key);
        }
    }
    txn.index(hints);
    txn.put(user.clone())?;
    Ok(user)
}

/// Changes a person. A new password, and being deactivated, end the sessions; the last active admin who
/// is a person stays one. What changes nothing is no change, and has no entry.
pub fn update(txn: &mut Txn<'_>, who: &Authorized, id: UserId, change: Change) -> Result<User, Refusal> {
    let before = person(txn, id)?;
    let changed = changed_fields(&before, &change);
    let after = changed_user(txn, &before, change);
    if changed.is_empty() {
        return Ok(Arc::unwrap_or_clone(before));
    }
    if before.administrates() && !after.administrates() && !another_administrates(txn, id)? {
        return Err(Refusal::Conflict(Conflict::LastAdmin));
    }
    let action = match (before.active, after.active) {
        (true, false) => Action::UserDeactivate,
        (false, true) => Action::UserReactivate,
        (true, true) | (false, false) if changed == ["password"] => Action::UserPassword,
        (true, true) | (false, false) => Action::UserUpdate,
    };
    let mut params = Params::none().with("changed", changed);
    if before.groups != after.groups {
        params = params.with("groups", after.groups.clone());
    }
    txn.entry(&who.by(), action, id, params)?;
    Ok(put(txn, Some(&before), after)?)
}

/// The user of that id, if it may be changed over the API.
pub fn person(view: &dyn View, id: UserId) -> Result<Arc<User>, Refusal> {
    let user = User::shared(view, id)?.ok_or(Refusal::NotFound)?;
    if user.service.is_some() {
        return Err(Refusal::Conflict(Conflict::ServiceUser));
    }
    Ok(user)
}

/// The user of that id, if tokens can be minted for it.
pub fn active_person(view: &dyn View, id: UserId) -> Result<Arc<User>, Refusal> {
    let user = person(view, id)?;
    if user.active { Ok(user) } else { Err(Refusal::Conflict(Conflict::UserInactive)) }
}

/// One page of all users, newest first; of that e-mail alone, where one is given.
pub fn list(view: &dyn View, email: Option<&str>, page: &Page) -> Result<Listed<User>, Refusal> {
    if let Some(email) = email {
        let items = User::by_email(view, email)?.into_iter().collect();
        return Ok(Listed { items, next: None });
    }
    let listed = tables::page(view, TableId::Users, &[], page, &mut |key, stored| {
        User::believe(view, key, stored).map(Some)
    })?;
    Ok(listed)
}

fn changed_fields(before: &User, change: &Change) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if change.name.as_ref().is_some_and(|name| *name != before.name) {
        changed.push("name");
    }
    if change.groups.as_ref().is_some_and(|groups| *groups != before.groups) {
        changed.push("groups");
    }
    if change.active.is_some_and(|active| active != before.active) {
        changed.push("active");
    }
    if change.password.is_some() {
        changed.push("password");
    }
    changed
}

fn changed_user(txn: &Txn<'_>, before: &User, change: Change) -> User {
    let active = change.active.unwrap_or(before.active);
    let ends_sessions = change.password.is_some() || (before.active && !active);
    User {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        groups: change.groups.unwrap_or_else(|| before.groups.clone()),
        active,
        password: change.password.or_else(|| before.password.clone()),
        session_epoch: if ends_sessions { before.next_epoch(txn.now()) } else { before.session_epoch },
        updated_at: txn.now(),
        ..before.clone()
    }
}

/// Whether somebody else than `id` administrates. The index only says where to look.
fn another_administrates(view: &dyn View, id: UserId) -> Result<bool, Fault> {
    let mut found = false;
    tables::each(view, TableId::Admins, &[], &mut |key, _| {
        found = key != id.as_bytes() && User::at(view, key)?.is_some_and(|user| user.administrates());
        Ok(if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Whether an e-mail lies under the daemon's own domain or a part of it.
pub fn is_reserved(email: &str) -> bool {
    let folded = fold_email(email);
    let domain = folded.rsplit('@').next().unwrap_or_default().trim_end_matches('.');
    domain == SYSTEM_DOMAIN || domain.strip_suffix(SYSTEM_DOMAIN).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
