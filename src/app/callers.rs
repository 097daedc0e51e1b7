//! From a presented credential to the caller that it says is calling.

use core::net::IpAddr;
use std::sync::Arc;

use super::{App, Failure, Snapshot};
use crate::{
    records::Time,
    rules::{
        Denied, Reason, Refusal,
        access::{Caller, Who},
        verify::{self, Asking, Good, Presented},
    },
    settings::CredentialKind,
    token::TokenId,
};

/// The kinds of credential that the API takes as a bearer.
pub const BEARER_KINDS: &[CredentialKind] =
    &[CredentialKind::Session, CredentialKind::Pat, CredentialKind::Service, CredentialKind::Agent];

impl App {
    /// Who presents `bearer` from `ip`. A good use is noted, and counted where uses are counted.
    pub async fn identify(&self, bearer: &str, ip: Option<IpAddr>) -> Result<Caller, Failure> {
        let snapshot = self.snapshot();
        let presented = Presented::bearer(bearer, &snapshot.keyring, &snapshot.services.secrets)
            .map_err(|denied| self.refused(denied, ip))?;
        let good = self.verify(&snapshot, presented, ip, BEARER_KINDS).await?;
        Ok(Caller { who: Who::Known(Box::new(good.identity)), ip })
    }

    /// Verifies a presented credential: inline over the read view; only where uses are counted does it go
    /// through the writer and wait for the commit. Every outcome is counted, every good use noted.
    pub async fn verify(
        &self,
        _snapshot: &Arc<Snapshot>,
        presented: Presented,
        from: Option<IpAddr>,
        kinds: &'static [CredentialKind],
    ) -> Result<Good, Failure> {
        let noted = presented.token().and_then(|id| self.noted_use(id));
        let asking = Asking { now: self.now(), from, kinds, noted };
        let first = verify::verify(&*self.view(), &presented, &asking);
        let outcome = match first {
            Ok(good) if good.is_counted() => {
                self.store().write(move |txn| verify::count_use(txn, &presented, &asking)).await?
            }
            other => other,
        };
        match outcome {
            Ok(good) => {
                self.note_use(&good, from);
                Ok(good)
            }
            Err(Refusal::Denied(denied)) => Err(self.refused(denied, from)),
            Err(other) => Err(other.into()),
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

    /// Tells the log and the metrics what the answer will not: why a credential did not count.
    pub(crate) fn refused(&self, denied: Denied, from: Option<IpAddr>) -> Failure {
        tracing::info!(
            reason = denied.reason.name(),
            token = denied.token.map(tracing::field::display),
            ip = from.map(tracing::field::display),
            "credential refused"
        );
        if denied.reason == Reason::Expired {
            // Whoever was told so must not find it alive again, whatever becomes of the clock.
            self.store.keep_time(self.now());
        }
        denied.into()
    }
}
