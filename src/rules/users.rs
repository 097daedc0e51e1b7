//! Users: making, changing and deactivating them, and the guard that somebody is left to administrate.

use super::{Conflict, Refusal};
use crate::{
    records::{
        TableId, Txn,
        user::{SYSTEM_DOMAIN, User, fold_email},
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
    pub password: Option<String>,
    /// The configured service that it is the user of.
    pub service: Option<String>,
}

/// Writes a new user; its e-mail must be free, and outside the daemon's own domain unless it is a
/// service's. The entry must be open.
pub fn insert(txn: &mut Txn<'_>, id: UserId, new: NewUser) -> Result<User, Refusal> {
    if new.service.is_none() && is_reserved(&new.email) {
        return Err(Refusal::invalid("email", format!("must not be under {SYSTEM_DOMAIN}")));
    }
    if User::by_email(txn, &new.email)?.is_some() {
        return Err(Refusal::Conflict(Conflict::EmailExists));
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
    txn.hint(TableId::UsersByEmail, fold_email(&user.email).into_bytes(), id.as_bytes().to_vec());
    txn.put(user.clone())?;
    Ok(user)
}

/// Whether an e-mail lies under the daemon's own domain or a part of it.
pub fn is_reserved(email: &str) -> bool {
    let folded = fold_email(email);
    let domain = folded.rsplit('@').next().unwrap_or_default().trim_end_matches('.');
    domain == SYSTEM_DOMAIN || domain.strip_suffix(SYSTEM_DOMAIN).is_some_and(|rest| rest.ends_with('.'))
}
