//! An entry of the audit log, and the chain that ties each to the one before.
//!
//! `hash = HMAC-SHA256(audit key, hash of the entry before ‖ the entry's other fields)`, the first one
//! chained to 32 zero bytes, the fields in the encoding of `codec`. Whoever can write to the file but has no
//! key can neither change, remove nor insert an entry without breaking the chain; cutting entries off its
//! end is found by the head, which carries a MAC. No entry holds a secret.

use core::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    codec,
    tables::Record,
    time::Time,
    view::{Fault, TableId},
};
use crate::token::{ClientId, HostId, MacKey, UserId};

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The daemon itself.
    System,
    /// Whoever the file system let open the admin socket: a user id of the machine.
    Local(u32),
    /// A person or a service.
    User(UserId),
    /// A host's agent.
    Host(HostId),
    /// A portal client.
    Client(ClientId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::User(id) => id.fmt(f),
            Self::Host(id) => id.fmt(f),
            Self::Client(id) => id.fmt(f),
        }
    }
}

/// Who acts, as the log names them: the actor, a label for people, the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// What people call them: an e-mail, a host name, a slug; empty where there is nothing better.
    pub label: String,
    /// From where.
    pub ip: Option<IpAddr>,
}

impl By {
    /// The daemon itself.
    pub const fn system() -> Self {
        Self { actor: Actor::System, label: String::new(), ip: None }
    }

    /// The daemon itself, for what somebody unknown at that address brought about.
    pub const fn unknown(ip: Option<IpAddr>) -> Self {
        Self { actor: Actor::System, label: String::new(), ip }
    }

    /// A user of this machine at the admin socket, or at the file while the daemon is stopped.
    pub const fn local(uid: u32) -> Self {
        Self { actor: Actor::Local(uid), label: String::new(), ip: None }
    }
}

macro_rules! actions {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// What was done. The names are stable: programs filter by them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $(#[doc = $meaning] $variant,)* }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

actions! {
    InstallMint "install.mint" "An install token was minted.",
    SetupComplete "setup.complete" "The first admin was made, or one came back after `--force`.",
    SetupReopen "setup.reopen" "An operator opened setup once more.",
    SetupRefused "setup.refused" "Setups were refused.",
    UserCreate "user.create" "A user was made.",
    UserUpdate "user.update" "A user was changed.",
    UserDeactivate "user.deactivate" "A user was deactivated.",
    UserReactivate "user.reactivate" "A user was activated again.",
    UserPassword "user.password" "A password was set or changed.",
    SessionCreate "session.create" "A session was opened.",
    SessionRevoke "session.revoke" "A session was ended.",
    LoginRefused "login.refused" "Logins were refused.",
    TokenCreate "token.create" "A PAT was minted.",
    TokenRotate "token.rotate" "A PAT was rotated.",
    TokenUpdate "token.update" "A PAT was changed.",
    TokenRevoke "token.revoke" "A token was revoked by its owner or whoever presented it.",
    TokenAdminRevoke "token.admin_revoke" "A token was revoked by an admin.",
    TokenPurge "token.purge" "Long-dead tokens were removed.",
    TokenImport "token.import" "Tokens of another system were taken in.",
    ServiceUpdate "service.update" "A service's user was made or brought up to date.",
    ServiceDeactivate "service.deactivate" "A service left the configuration.",
    KeysRewrap "keys.rewrap" "The store's own key was sealed under another root key.",
    KeysReseal "keys.reseal" "Credentials were sealed again under the current root key.",
    ConfigReload "config.reload" "Configuration, keys and secrets were read again.",
    EnrollmentCreate "enrollment.create" "An enrolment was minted.",
    EnrollmentRevoke "enrollment.revoke" "An enrolment was revoked.",
    EnrollmentRefused "enrollment.refused" "Enrolments were refused.",
    EnrollmentReplayed "enrollment.replayed" "A consumed enrolment token was presented again with another attempt.",
    HostEnroll "host.enroll" "A host was enrolled.",
    HostCreate "host.create" "A host was made, for a token of another system.",
    HostUpdate "host.update" "A host's record was changed.",
    HostDelete "host.delete" "A host was deleted.",
    HostRotate "host.rotate" "A host's agent token was rotated.",
    HostCredentialsPut "host.credentials_put" "A host's credentials were replaced.",
    HostCredentialsRead "host.credentials_read" "A host's agent read its credentials.",
    ClientCreate "client.create" "A client was made.",
    ClientUpdate "client.update" "A client was changed.",
    ClientDeactivate "client.deactivate" "A client was deactivated.",
    ClientReactivate "client.reactivate" "A client was activated again.",
    LinkCreate "link.create" "A link was minted.",
    LinkRevoke "link.revoke" "A link was revoked.",
    LinkConsume "link.consume" "A single-use link was redeemed.",
    ProjectAssign "project.assign" "A project was given a client.",
    ProjectPreview "project.preview" "An operator looked at a portal as the client.",
    AuditCut "audit.cut" "Retention removed entries.",
    ClockReset "clock.reset" "The highest time was set back to now.",
    StoreRestore "store.restore" "A backup took the store's place.",
    StoreCarryOver "store.carry_over" "What ended since a backup was taken was ended in it, too.",
    StoreBackup "store.backup" "A backup was taken.",
}

/// A record that an entry's change wrote or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// [`TableId::number`].
    pub table: u8,
    /// The record's key.
    pub key: Vec<u8>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number: 1 for the first, no gaps.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub actor: Actor,
    /// What people call them.
    pub actor_label: String,
    /// [`Action::name`].
    pub action: String,
    /// What it was done to: an id or a name.
    pub resource: String,
    /// More, as a JSON object.
    pub params: String,
    /// From where.
    pub ip: Option<IpAddr>,
    /// The deciding records that the change wrote or removed.
    pub touched: Vec<Touched>,
    /// See the module.
    pub hash: [u8; 32],
}

impl Entry {
    /// What its hash must be after an entry with the hash `before`.
    pub fn chained(&self, audit_key: &MacKey, before: &[u8; 32]) -> Result<[u8; 32], Fault> {
        let fields = codec::encode_body(&(
            self.seq,
            self.at,
            self.actor,
            &self.actor_label,
            &self.action,
            &self.resource,
            &self.params,
            self.ip,
            &self.touched,
        ))
        .map_err(|_| Fault::Damaged(TableId::Audit))?;
        Ok(audit_key.mac(&[before, &fields]))
    }
}

impl Record for Entry {
    const TABLE: TableId = TableId::Audit;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.seq.to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::Action;

    #[test]
    fn action_names_are_words_with_one_dot_and_each_its_own() {
        for action in Action::ALL {
            let name = action.name();
            assert_eq!(name.matches('.').count(), 1, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'), "{name}");
            assert_eq!(Action::ALL.iter().filter(|other| other.name() == name).count(), 1, "{name}");
        }
    }
}
