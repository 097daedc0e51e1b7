//! What `/v1/authorize` asks: whether a known caller meets a policy of the configuration.
//!
//! Closed by default: a policy that does not exist is met by nobody, and all that a policy lists must hold.
//! A session, a service or a cookie carries no scope, so that none of them meets a policy that lists one.

use super::{Forbidden, Refusal, access::Identity};
use crate::settings::{CredentialKind, Policy};

/// The kinds by which somebody is known at all; which of them are let through is the policy's business.
pub const KNOWN_KINDS: &[CredentialKind] = &CredentialKind::ALL;

/// Whether `identity` meets `policy`; none where there is no policy of the name that was asked for.
pub fn meets(policy: Option<&Policy>, identity: &Identity) -> Result<(), Refusal> {
    let Some(policy) = policy else { return Err(Refusal::Forbidden(Forbidden::Policy)) };
    if !policy.kinds.contains(&identity.kind) {
        return Err(Refusal::Forbidden(Forbidden::Kind));
    }
    if !policy.groups.iter().all(|group| identity.groups().contains(group)) {
        return Err(Refusal::Forbidden(Forbidden::Group));
    }
    if !policy.scopes.iter().all(|word| identity.has_scope(word)) {
        return Err(Refusal::Forbidden(Forbidden::Scope));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{records::user::User, rules::access::Subject};

    fn identity(kind: CredentialKind, groups: &[&str], scope: &str) -> Identity {
        Identity::supposed(Subject::User(Arc::new(User::supposed("a@example.com"))), kind, groups, scope)
    }

    fn policy(kinds: &[CredentialKind], scopes: &[&str], groups: &[&str]) -> Policy {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Policy { kinds: kinds.iter().copied().collect(), scopes: owned(scopes), groups: owned(groups) }
    }

    #[track_caller]
    fn check(policy: &Policy, identity: &Identity, refused: Option<Forbidden>) {
        let expected = refused.map_or(Ok(()), |why| Err(Refusal::Forbidden(why)));
        assert_eq!(meets(Some(policy), identity), expected);
    }

    #[test]
    fn a_policy_that_does_not_exist_is_met_by_nobody() {
        let admin = identity(CredentialKind::Session, &["admin"], "");
        assert_eq!(meets(None, &admin), Err(Refusal::Forbidden(Forbidden::Policy)));
    }

    #[test]
    fn without_more_a_policy_takes_users_and_services_only() {
        for (kind, refused) in [
            (CredentialKind::Session, None),
            (CredentialKind::Pat, None),
            (CredentialKind::Service, None),
            (CredentialKind::Agent, Some(Forbidden::Kind)),
            (CredentialKind::Portal, Some(Forbidden::Kind)),
        ] {
            check(&Policy::default(), &identity(kind, &[], ""), refused);
        }
    }

    #[test]
    fn every_scope_and_every_group_must_hold() {
        let both = policy(&[CredentialKind::Pat], &["reports:read", "general"], &["staff", "eu"]);
        let pat = |groups: &[&str], scope| identity(CredentialKind::Pat, groups, scope);
        check(&both, &pat(&["eu", "staff"], "general reports:read"), None);
        check(&both, &pat(&["eu"], "general reports:read"), Some(Forbidden::Group));
        check(&both, &pat(&["eu", "staff"], "general"), Some(Forbidden::Scope));
        check(&both, &pat(&["eu", "staff"], "general reports:reader"), Some(Forbidden::Scope));
        check(&both, &pat(&["eu", "staff"], ""), Some(Forbidden::Scope));
        check(&both, &identity(CredentialKind::Session, &["eu", "staff"], ""), Some(Forbidden::Kind));
    }

    #[test]
    fn a_reserved_scope_counts_only_while_its_owner_has_the_right() {
        let admins = policy(&[CredentialKind::Pat], &["admin"], &[]);
        let operators = policy(&[CredentialKind::Pat], &["operator"], &[]);
        let pat = |groups: &[&str], scope| identity(CredentialKind::Pat, groups, scope);
        check(&admins, &pat(&["admin"], "general admin"), None);
        check(&admins, &pat(&["operator"], "general admin"), Some(Forbidden::Scope));
        check(&admins, &pat(&[], "general admin"), Some(Forbidden::Scope));
        check(&admins, &pat(&["admin"], "operator"), Some(Forbidden::Scope));
        check(&operators, &pat(&["admin"], "admin"), None);
        check(&operators, &pat(&["operator"], "admin"), None);
    }

    #[test]
    fn the_scope_that_others_see_leaves_out_what_the_owner_lost() {
        let shown =
            |groups: &[&str], scope| identity(CredentialKind::Pat, groups, scope).scope_now().into_owned();
        assert_eq!(shown(&["admin"], "general admin"), "general admin");
        assert_eq!(shown(&["operator"], "general admin operator"), "general operator");
        assert_eq!(shown(&["operator"], "general admin"), "general operator", "what is left of `admin`");
        assert_eq!(shown(&[], "general introspect x:y"), "general x:y");
        assert_eq!(shown(&[], "admin"), "");
    }
}
