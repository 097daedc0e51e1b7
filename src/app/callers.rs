//! From a presented credential to the caller that it says is calling.

use core::net::IpAddr;
use std::sync::Arc;

use super::{App, Failure, Snapshot};
use crate::{
    metrics::{Means, PresentedKind},
    records::{Time, token::Token},
    rules::{
        Denied, Forbidden, Reason, Refusal,
        access::{Caller, Who},
        verify::{self, Asking, Good, Presented},
    },
    settings::CredentialKind,
    token::TokenId,
};

/// The kinds of credential that the API takes as a bearer.
pub const BEARER_KINDS: &[CredentialKind] =
    &[CredentialKind::Session, CredentialKind::Pat, CredentialKind::Service, CredentialKind::Agent];

/// What else must hold of a good credential before it is used; runs again at the writer's turn.
pub type Condition = Arc<dyn Fn(&Good) -> Result<(), Refusal> + Send + Sync>;

impl App {
    /// Who presents `bearer` from `ip`. A good use is noted, and counted where uses are counted.
    pub async fn identify(&self, bearer: &str, ip: Option<IpAddr>) -> Result<Caller, Failure> {
        let snapshot = self.snapshot();
        let good = match self.bearer(bearer, &snapshot, ip) {
            Ok(presented) => self.verify(presented, ip, BEARER_KINDS, None).await,
            Err(failure) => Err(failure),
        };
        match good {
            Ok(good) => Ok(Caller { who: Who::Known(Box::new(good.identity)), ip }),
            Err(failure) => Err(self.count_failed(Means::Bearer, failure)),
        }
    }

    /// Who an OAuth client is that sent its name and its secret (RFC 6749, section 2.3.1): a service. The
    /// secret alone would say which one it is, but a name that is not its own is a refusal.
    pub async fn identify_client(
        &self,
        name: &str,
        secrets: &[&str],
        ip: Option<IpAddr>,
    ) -> Result<Caller, Failure> {
        let snapshot = self.snapshot();
        let found = secrets.iter().find_map(|secret| snapshot.services.secrets.find(secret));
        let good = if let Some(found) = found.filter(|found| found.service.as_str() == name) {
            let (name, slot) = (found.service.clone(), found.slot.to_owned());
            self.verify(Presented::Service { name, slot }, ip, &[CredentialKind::Service], None).await
        } else {
            let denied = Denied::of(Reason::Unknown);
            self.judged(PresentedKind::Service, Some(denied.reason));
            Err(self.refused(denied, ip))
        };
        match good {
            Ok(good) => Ok(Caller { who: Who::Known(Box::new(good.identity)), ip }),
            Err(failure) => Err(self.count_failed(Means::Client, failure)),
        }
    }

    /// What a bearer's text is. A text that is nothing of ours is logged and counted here.
    pub(super) fn bearer(
        &self,
        text: &str,
        snapshot: &Snapshot,
        from: Option<IpAddr>,
    ) -> Result<Presented, Failure> {
        Presented::bearer(text, &snapshot.keyring, &snapshot.services.secrets).map_err(|denied| {
            self.judged(PresentedKind::Other, Some(denied.reason));
            self.refused(denied, from)
        })
    }

    /// What a portal cookie's text is, in the same way.
    pub(super) fn cookie(
        &self,
        text: &str,
        snapshot: &Snapshot,
        from: Option<IpAddr>,
    ) -> Result<Presented, Failure> {
        Presented::cookie(text, &snapshot.keyring, self.store().id()).map_err(|denied| {
            self.judged(PresentedKind::Portal, Some(denied.reason));
            self.refused(denied, from)
        })
    }

    /// Verifies a presented credential: inline over the read view; only where uses are counted does it go
    /// through the writer and wait for the commit. Every outcome is counted, every good use noted.
    pub async fn verify(
        &self,
        presented: Presented,
        from: Option<IpAddr>,
        kinds: &'static [CredentialKind],
        condition: Option<Condition>,
    ) -> Result<Good, Failure> {
        let kind = kind_of(&presented);
        let own_end = presented.own_end();
        self.note_slot(&presented);
        let noted = presented.token().and_then(|id| self.noted_use(id));
        let asking = Asking { now: self.now(), from, kinds, noted };
        let view = self.view();
        let first = verify::verify(&*view, &presented, &asking).and_then(|good| match &condition {
            Some(condition) => condition(&good).map(|()| good),
            None => Ok(good),
        });
        let named = presented.token();
        let outcome = match first {
            Ok(good) if good.is_counted() => {
                self.store()
                    .write(move |txn| {
                        let also =
                            |good: &Good| condition.as_ref().map_or(Ok(()), |condition| condition(good));
                        verify::count_use(txn, &presented, &asking, &also)
                    })
                    .await?
            }
            other => other,
        };
        if let (Err(Refusal::Denied(Denied { reason: Reason::Expired, .. })), Some(end)) = (&outcome, own_end)
        {
            self.keep(end);
        }
        self.conclude(kind, named, outcome, from)
    }

    /// Notes a use that was good; logs and counts one that was not.
    pub(super) fn conclude(
        &self,
        kind: PresentedKind,
        named: Option<TokenId>,
        outcome: Result<Good, Refusal>,
        from: Option<IpAddr>,
    ) -> Result<Good, Failure> {
        match outcome {
            Ok(good) => {
                self.judged(kind, None);
                self.note_use(&good, from);
                Ok(good)
            }
            Err(Refusal::Denied(denied)) => {
                self.judged(kind, Some(denied.reason));
                Err(self.refused(denied, from))
            }
            Err(Refusal::Forbidden(why)) => {
                let reason = if why == Forbidden::Kind { Reason::Kind } else { Reason::Scope };
                self.judged(kind, Some(reason));
                tracing::info!(
                    reason = %why,
                    token = named.map(tracing::field::display),
                    ip = from.map(tracing::field::display),
                    "credential not sufficient"
                );
                Err(Refusal::Forbidden(why).into())
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Notes which of a service's secrets was presented: also where the service itself does not count any
    /// more, since what is asked is whether somebody still has the secret.
    pub(super) fn note_slot(&self, presented: &Presented) {
        if let Presented::Service { name, slot } = presented {
            self.slots.note(name, slot, self.now());
        }
    }

    /// Counts a verification by kind and outcome.
    pub(super) fn judged(&self, kind: PresentedKind, refused: Option<Reason>) {
        self.metrics().verified(kind, refused);
    }

    /// Whoever was told that a token is expired must not find it alive again, whatever becomes of the clock.
    fn keep_end_of(&self, token: Option<TokenId>) {
        let row = token.and_then(|id| Token::by_id(&*self.view(), id).ok().flatten());
        if let Some(end) = row.and_then(|row| row.expires_at) {
            self.keep(end);
        }
    }

    /// Has an end that is past kept; one that lies ahead is not what the credential ended by.
    fn keep(&self, end: Time) {
        if end <= self.now() {
            self.store().keep_time(end);
        }
    }

    /// The last use of a token that is noted in memory.
    pub fn noted_use(&self, token: TokenId) -> Option<Time> {
        self.last_used.of(token).map(|noted| noted.at)
    }

    fn note_use(&self, good: &Good, from: Option<IpAddr>) {
        if let Some(token) = good.identity.token {
            self.last_used.note(token, self.now(), super::noted_address(from));
        }
    }

    /// Counts a failed attempt to prove who one is; a failure of ours is none.
    pub(crate) fn count_failed(&self, means: Means, failure: Failure) -> Failure {
        if matches!(failure, Failure::Refused(Refusal::Denied(_))) {
            self.metrics().failed(means);
        }
        failure
    }

    /// Tells the log what the answer will not: why a credential did not count.
    pub(crate) fn refused(&self, denied: Denied, from: Option<IpAddr>) -> Failure {
        tracing::info!(
            reason = denied.reason.name(),
            token = denied.token.map(tracing::field::display),
            ip = from.map(tracing::field::display),
            "credential refused"
        );
        if denied.reason == Reason::Expired {
            self.keep_end_of(denied.token);
        }
        denied.into()
    }
}

/// The kind that a presented credential says it is.
pub(super) const fn kind_of(presented: &Presented) -> PresentedKind {
    match presented {
        Presented::Token(token) => PresentedKind::of(token.kind),
        Presented::Jwt(_) => PresentedKind::Pat,
        Presented::Imported(_) => PresentedKind::Other,
        Presented::Service { .. } => PresentedKind::Service,
        Presented::Cookie(_) => PresentedKind::Portal,
    }
}
