//! The policies of `/v1/authorize`, as they are configured. What they decide is `rules::policy`'s business.

use std::collections::BTreeSet;
use std::fmt;

/// The policy that is asked when none is named, and that is there without being set.
pub const DEFAULT_POLICY: &str = "default";

/// What a request can carry to `/v1/authorize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A user's session token.
    Session,
    /// A personal access token.
    Pat,
    /// A service's configured secret.
    Service,
    /// A host's agent token.
    Agent,
    /// The portal's cookie.
    Portal,
}

impl CredentialKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Session, Self::Pat, Self::Service, Self::Agent, Self::Portal];

    /// The kind's word in the configuration and in `X-Auth-Kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Pat => "pat",
            Self::Service => "service",
            Self::Agent => "agent",
            Self::Portal => "portal",
        }
    }

    /// The kind of this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `[authorize.NAME]`: who is let through. All that is listed must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The credentials that are accepted; never empty.
    pub kinds: BTreeSet<CredentialKind>,
    /// Scope words that the credential must all have.
    pub scopes: Vec<String>,
    /// Groups in which its subject must be, in all of them.
    pub groups: Vec<String>,
}

impl Policy {
    /// The kinds of a policy that does not name any.
    pub const DEFAULT_KINDS: [CredentialKind; 3] =
        [CredentialKind::Session, CredentialKind::Pat, CredentialKind::Service];
}

impl Default for Policy {
    fn default() -> Self {
        Self { kinds: BTreeSet::from(Self::DEFAULT_KINDS), scopes: Vec::new(), groups: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_word() {
        for kind in CredentialKind::ALL {
            assert_eq!(CredentialKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(CredentialKind::from_name("install"), None);
        assert_eq!(CredentialKind::from_name("Pat"), None);
    }

    #[test]
    fn a_policy_that_names_no_kind_takes_neither_agents_nor_cookies() {
        let kinds = Policy::default().kinds;
        assert!(!kinds.contains(&CredentialKind::Agent) && !kinds.contains(&CredentialKind::Portal));
        assert_eq!(kinds.len(), 3);
    }
}
