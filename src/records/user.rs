//! A user: a person, or the user that a service acts as.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{
    held::Holdable,
    tables::{Deciding, Hint, Record},
    time::Time,
    view::{Fault, TableId, View},
};
use crate::token::UserId;

/// The group whose members may do everything.
pub const ADMIN: &str = "admin";
/// The group whose members may look after enrolments, hosts, clients and links.
pub const OPERATOR: &str = "operator";
/// The domain of the daemon's own users, which nobody else can be given an address under.
pub const SYSTEM_DOMAIN: &str = "system.local";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is.
    pub id: UserId,
    /// The e-mail as it was given, trimmed.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// Groups, sorted, each once.
    pub groups: Vec<String>,
    /// Whether any of its credentials count.
    pub active: bool,
    /// What its password is held against; none where it cannot log in by password.
    pub password: Option<PasswordHash>,
    /// Sessions opened under an earlier epoch are over. One that ended others is named by the second in which it
    /// began; see [`Self::next_epoch`]. A password that takes another's place begins one: by that a restore knows the
    /// newer of two.
    pub session_epoch: u64,
    /// The name of the configured service that this is the user of.
    pub service: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// See [`Deciding`].
    pub entry: u64,
}

/// The argon2id hash of a password, as a PHC string (RFC 9106): nothing to print, and wiped when it goes.
#[derive(Clone, Serialize, Deserialize)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes over a PHC string.
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl From<&str> for PasswordHash {
    fn from(phc: &str) -> Self {
        Self::new(phc.to_owned())
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for PasswordHash {}

impl Drop for PasswordHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl User {
    /// The user of that id.
    pub fn by_id(view: &dyn View, id: UserId) -> Result<Option<Self>, Fault> {
        Self::at(view, id.as_bytes())
    }

    /// The user of that e-mail, whatever its case.
    pub fn by_email(view: &dyn View, email: &str) -> Result<Option<Self>, Fault> {
        let folded = fold_email(email);
        let Some(id) = view.bytes(TableId::UsersByEmail, folded.as_bytes())? else { return Ok(None) };
        let found = Self::at(view, &id)?;
        Ok(found.filter(|user| fold_email(&user.email) == folded))
    }

    /// The user of that id, shared with others who read it.
    pub fn shared(view: &dyn View, id: UserId) -> Result<Option<Arc<Self>>, Fault> {
        Self::shared_at(view, id.as_bytes())
    }

    /// The user that the service of that name acts as.
    pub fn of_service(view: &dyn View, service: &str) -> Result<Option<Arc<Self>>, Fault> {
        let Some(id) = view.bytes(TableId::ServiceUsers, service.as_bytes())? else { return Ok(None) };
        let found = Self::shared_at(view, &id)?;
        Ok(found.filter(|user| user.service.as_deref() == Some(service)))
    }

    /// The epoch after this one, beginning `now`: it ends the sessions there are.
    pub fn next_epoch(&self, now: Time) -> u64 {
        self.session_epoch.saturating_add(1).max(now.unix())
    }

    /// When the sessions of earlier epochs ended.
    pub const fn sessions_ended_at(&self) -> Time {
        Time::from_unix(self.session_epoch)
    }

    /// Whether it is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Whether it is a person who may do everything at this moment: of these one has to be left.
    pub fn administrates(&self) -> bool {
        self.active && self.service.is_none() && self.is_in(ADMIN)
    }

    /// The keys of the hints that lead to it, with what they hold.
    pub fn hints(&self) -> Vec<Hint> {
        let id = self.id.as_bytes().to_vec();
        let mut hints = vec![(TableId::UsersByEmail, fold_email(&self.email).into_bytes(), id.clone())];
        if let Some(service) = &self.service {
            hints.push((TableId::ServiceUsers, service.clone().into_bytes(), id.clone()));
        }
        if self.administrates() {
            hints.push((TableId::Admins, id, Vec::new()));
        }
        hints
    }
}

impl Record for User {
    const TABLE: TableId = TableId::Users;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}

impl Deciding for User {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// The one spelling under which an e-mail is compared and indexed: trimmed, lower case.
pub fn fold_email(email: &str) -> String {
    email.trim().to_lowercase()
}
