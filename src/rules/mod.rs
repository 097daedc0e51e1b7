//! What may happen: every operation of the daemon, one file a system, as pure functions over a
//! [`Txn`](crate::records::Txn) or a read view.
//!
//! A rule takes what the store holds, the settings and keys, the time of its turn, fresh random bytes, who
//! is calling and what is asked, and returns an answer; its writes lie in the transaction, with their audit
//! entry. If it refuses, nothing has happened. It reads no clock, draws no randomness, opens nothing, and
//! knows neither HTTP nor the engine.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use thiserror::Error;

use crate::{
    records::Fault,
    settings::Settings,
    token::{Keyring, TokenId},
};

pub mod access;
pub mod audit;
pub mod check;
pub mod clients;
pub mod clock;
pub mod credentials;
pub mod enrollment;
pub mod explain;
pub mod hosts;
pub mod import;
pub mod install;
pub mod inventory;
pub mod keys;
pub mod last_use;
pub mod limits;
pub mod links;
pub mod logins;
pub mod pats;
pub mod policy;
pub mod portal;
pub mod projects;
pub mod purge;
pub mod redirect;
pub mod refusals;
pub mod restore;
pub mod revocation;
pub mod services;
pub mod sessions;
pub mod tokens;
#[cfg(test)]
pub(crate) mod town;
pub mod users;
pub mod verify;

/// What every operation may look at beside the store: one snapshot, the same from its first line to its last.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The root keys.
    pub keyring: &'a Keyring,
}

/// Why an operation did not happen. One enum for all of them, since they share their outcomes and each
/// becomes a status in one place; every variant is a fact, and none says what another caller owns.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A field's value is out of its bounds; `why` names the bound, never the value.
    #[error("{field} {why}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// "must be 1 to 200 characters".
        why: String,
    },
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// No credential, or one that does not count.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The caller is known and may not.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// There is no such thing, or none that the caller may know of.
    #[error("not found")]
    NotFound,
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(Conflict),
    /// Too much of it at once.
    #[error("too many attempts; try again in {after_seconds} s")]
    RateLimited {
        /// When it may be tried again.
        after_seconds: u64,
    },
    /// The store could not be read, or what it holds is damaged. Never an answer.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Refusal {
    /// A field out of bounds.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }
}

/// Why a known caller may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// This kind of credential never may.
    #[error("this kind of credential may not do this")]
    Kind,
    /// The caller's groups do not allow it.
    #[error("this needs a group that the caller is not in")]
    Group,
    /// The credential's scope does not take it in.
    #[error("this needs a scope that the credential does not carry")]
    Scope,
    /// There is no policy of the name that was asked for.
    #[error("there is no such policy")]
    Policy,
    /// Its use cannot be counted now, and it is good only if it is.
    #[error("the credential's uses are counted, which is not possible now")]
    Uncounted,
    /// More was asked for than the caller has itself.
    #[error("a token cannot be given more than its owner has")]
    Escalation,
}

/// What a request contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Conflict {
    /// A host of that name is there.
    #[error("a host of this name is enrolled already")]
    HostExists,
    /// A user of that e-mail is there.
    #[error("a user with this e-mail exists already")]
    EmailExists,
    /// A client of that slug is there.
    #[error("a client with this slug exists already")]
    SlugExists,
    /// The first admin was made already.
    #[error("setup is complete")]
    SetupComplete,
    /// Nobody would be left to administrate.
    #[error("the last active admin who is a person cannot be removed")]
    LastAdmin,
    /// Only an active token can be rotated.
    #[error("only an active token can be rotated")]
    NotActive,
    /// The daemon's own users are changed by the configuration alone.
    #[error("a service's user is governed by the configuration")]
    ServiceUser,
    /// The user is not active.
    #[error("the user is not active")]
    UserInactive,
    /// The client is not active.
    #[error("the client is not active")]
    ClientInactive,
}

/// A credential that does not count, and why: for the log and the metrics alone. Outside, every one of
/// these looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("refused: {}", .reason.name())]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// Which token it was, where that much is known.
    pub token: Option<TokenId>,
}

impl Denied {
    /// A refusal that names no token.
    pub const fn of(reason: Reason) -> Self {
        Self { reason, token: None }
    }
}

macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// Why a credential does not count, in the order in which it is looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $meaning] $variant,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for log and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its place in [`Reason::ALL`].
            pub const fn number(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    Absent "absent" "No credential was sent.",
    Ambiguous "ambiguous" "Two were sent that differ.",
    Malformed "malformed" "It is not spelled like any credential.",
    Checksum "checksum" "It is spelled like a token of ours with a typo.",
    Signature "signature" "A JWT or cookie that no key of ours signed.",
    Unknown "unknown" "There is no such token.",
    Hash "hash" "The token of that id has another secret.",
    Kind "kind" "A token of another kind than is asked for here.",
    Revoked "revoked" "It was revoked.",
    Consumed "consumed" "It was used, being for one use.",
    Expired "expired" "It is past its end.",
    Disabled "disabled" "Its owner switched it off.",
    SessionEnded "session_ended" "The user's sessions were ended.",
    Idle "idle" "The session was not used for too long.",
    OwnerGone "owner_gone" "Its owner does not exist any more.",
    OwnerInactive "owner_inactive" "Its owner is deactivated.",
    Address "address" "It may not be used from there.",
    Scope "scope" "It does not carry a scope that is asked for.",
    Group "group" "Its owner is in no group that is asked for.",
    Policy "policy" "There is no policy of the name that was asked for.",
    Escalation "escalation" "More was asked for than it may give.",
    Exhausted "exhausted" "Its uses have run out.",
    Uncounted "uncounted" "Its uses are counted, and this one could not be written.",
    Hostname "hostname" "It enrols a host of another name.",
    Replayed "replayed" "It was used, being for one use, and is presented by somebody else.",
}

impl From<Forbidden> for Reason {
    fn from(why: Forbidden) -> Self {
        match why {
            Forbidden::Kind => Self::Kind,
            Forbidden::Group => Self::Group,
            Forbidden::Scope => Self::Scope,
            Forbidden::Policy => Self::Policy,
            Forbidden::Uncounted => Self::Uncounted,
            Forbidden::Escalation => Self::Escalation,
        }
    }
}

impl Reason {
    /// The reason that a token in `state` is refused for; none where it is active.
    pub const fn of_state(state: crate::records::token::State) -> Option<Self> {
        use crate::records::token::State;
        match state {
            State::Active => None,
            State::Disabled => Some(Self::Disabled),
            State::Expired => Some(Self::Expired),
            State::Revoked => Some(Self::Revoked),
            State::Consumed => Some(Self::Consumed),
            State::Exhausted => Some(Self::Exhausted),
        }
    }
}
