//! From a presented credential to the caller that it says is calling.

use core::net::IpAddr;
use std::sync::Arc;

use super::{App, Failure, Snapshot, remembered::Seen};
use crate::{
    metrics::{Means, PresentedKind},
    records::{
        Fault, Time,
        token::{Detail, Token},
    },
    rules::{
        Denied, Reason, Refusal,
        access::{self, Caller, Right, Who},
        policy,
        verify::{self, Asking, Good, Presented},
    },
    settings::CredentialKind,
    store::WriteError,
    token::{Spelling, TokenHash, TokenId, text},
};

/// The kinds of credential that the API takes as a bearer.
pub const BEARER_KINDS: &[CredentialKind] =
    &[CredentialKind::Session, CredentialKind::Pat, CredentialKind::Service, CredentialKind::Agent];

/// What a credential has to meet beside being good, before a use of it is counted.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// A policy, by the settings that the request began under.
    Policy(&'a str, &'a Arc<Snapshot>),
    /// A right. Where no uses are counted, that is left to [`App::authorize`].
    Right(Right),
}

/// Whether the credential has something more. It lasts until a use has its turn in the writer.
type Also = Box<dyn Fn(&Good) -> Result<(), Refusal> + Send>;

fn meets(policy: &str, under: &Snapshot, good: &Good) -> Result<(), Refusal> {
    policy::meets(under.settings.policy(policy), &good.identity)
}

impl App {
    /// Who presents `bearer` from `ip`, to make use of `right`. A good use is noted. Where uses are counted, one is
    /// that has the right, and one that has not is refused here.
    pub async fn identify(
        &self,
        snapshot: &Arc<Snapshot>,
        bearer: &str,
        right: Right,
        ip: Option<IpAddr>,
    ) -> Result<Caller, Failure> {
        let wanted = Some(Wanted::Right(right));
        let good = match self.bearer(bearer, snapshot, ip) {
            Ok(presented) => self.verify(&presented, ip, BEARER_KINDS, wanted).await,
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
        snapshot: &Arc<Snapshot>,
        name: &str,
        secrets: &[&str],
        ip: Option<IpAddr>,
    ) -> Result<Caller, Failure> {
        let found = secrets.iter().find_map(|secret| of_service(secret, snapshot));
        let is_named =
            |found: &Seen| matches!(&**found, Presented::Service { name: own, .. } if own.as_str() == name);
        let good = if let Some(found) = found.filter(is_named) {
            self.verify(&found, ip, &[CredentialKind::Service], None).await
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
    ) -> Result<Seen, Failure> {
        bearer(text, snapshot).map_err(|denied| {
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
    ) -> Result<Seen, Failure> {
        let hash = TokenHash::of(text);
        let is_cookie = |known: &Presented| matches!(known, Presented::Cookie(_));
        if let Some(known) = snapshot.remembered.find(&hash, is_cookie) {
            return Ok(known);
        }
        match Presented::cookie(text, &snapshot.keyring, self.store().id()) {
            Ok(presented) => Ok(snapshot.remembered.remember(hash, presented)),
            Err(denied) => {
                self.judged(PresentedKind::Portal, Some(denied.reason));
                Err(self.refused(denied, from))
            }
        }
    }

    /// Verifies a presented credential: inline over the newest rows; only where uses are counted does it go
    /// through the writer and wait for the commit. Every outcome is counted, every good use noted.
    pub(super) async fn verify(
        &self,
        presented: &Presented,
        from: Option<IpAddr>,
        kinds: &'static [CredentialKind],
        wanted: Option<Wanted<'_>>,
    ) -> Result<Good, Failure> {
        let asking = self.asking(presented, from, kinds);
        self.note_slot(presented, asking.now);
        let first = self.store().ask(|view| {
            let good = verify::verify(view, presented, &asking)?;
            if let Some(Wanted::Policy(policy, under)) = wanted {
                meets(policy, under, &good)?;
            }
            Ok(good)
        });
        let outcome = match first {
            Ok(good) if good.is_counted() => {
                let counted = Box::pin(self.count_use(presented, asking, wanted)).await;
                counted.inspect_err(|_| self.judged(kind_of(presented), Some(Reason::Uncounted)))?
            }
            other => other,
        };
        if let Err(Refusal::Denied(Denied { reason: Reason::Expired, .. })) = &outcome
            && let Some(end) = presented.own_end()
        {
            self.keep(end);
        }
        self.conclude(presented, asking.now, outcome, from)
    }

    /// Under what circumstances `presented` is looked at now.
    pub(super) fn asking(
        &self,
        presented: &Presented,
        from: Option<IpAddr>,
        kinds: &'static [CredentialKind],
    ) -> Asking<'static> {
        let idle = presented.token().filter(|_| presented.can_idle());
        Asking { now: self.now(), from, kinds, noted: idle.and_then(|id| self.noted_use(id)) }
    }

    async fn count_use(
        &self,
        presented: &Presented,
        asking: Asking<'static>,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Result<Good, Refusal>, WriteError> {
        let presented = presented.clone();
        let also: Also = match wanted {
            None => Box::new(|_| Ok(())),
            Some(Wanted::Policy(policy, under)) => {
                let (policy, under) = (policy.to_owned(), Arc::clone(under));
                Box::new(move |good| meets(&policy, &under, good))
            }
            Some(Wanted::Right(right)) => Box::new(move |good| {
                let who = Who::Known(Box::new(good.identity.clone()));
                access::decide(right, Caller { who, ip: asking.from }).map(drop)
            }),
        };
        self.store().write(move |txn| verify::count_use(txn, &presented, &asking, &*also)).await
    }

    /// Notes a use that was good; logs and counts one that was not.
    pub(super) fn conclude(
        &self,
        presented: &Presented,
        now: Time,
        outcome: Result<Good, Refusal>,
        from: Option<IpAddr>,
    ) -> Result<Good, Failure> {
        let kind = kind_of(presented);
        match outcome {
            Ok(good) => {
                self.judged(kind, None);
                self.note_use(&good, now, from);
                Ok(good)
            }
            Err(Refusal::Denied(denied)) => {
                self.judged(kind, Some(denied.reason));
                Err(self.refused(denied, from))
            }
            Err(Refusal::Forbidden(why)) => {
                self.judged(kind, Some(why.into()));
                tracing::info!(
                    reason = %why,
                    token = presented.token().map(tracing::field::display),
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
    pub(super) fn note_slot(&self, presented: &Presented, now: Time) {
        if let Presented::Service { name, slot } = presented {
            self.slots.note(name, slot, now);
        }
    }

    /// Counts a verification by kind and outcome.
    pub(super) fn judged(&self, kind: PresentedKind, refused: Option<Reason>) {
        self.metrics().verified(kind, refused);
    }

    /// Whoever was told that a token is expired must not find it alive again, whatever becomes of the clock.
    fn keep_end_of(&self, denied: Denied) {
        let Some(id) = denied.token else { return };
        let end = self.store().look(|view| {
            let Some(row) = Token::by_id(view, id)? else { return Ok(None) };
            if let Detail::Session { idle_seconds, .. } = &row.detail
                && denied.reason == Reason::Idle
            {
                let last = verify::last_use(view, &row, self.noted_use(row.id))?;
                return Ok(Some(last.plus(*idle_seconds)));
            }
            Ok::<_, Fault>(row.expires_at)
        });
        if let Ok(Some(end)) = end {
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

    fn note_use(&self, good: &Good, now: Time, from: Option<IpAddr>) {
        if let Some(token) = good.identity.token {
            self.last_used.note(token, now, from);
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
        if matches!(denied.reason, Reason::Expired | Reason::Idle) {
            self.keep_end_of(denied);
        }
        denied.into()
    }
}

/// What a bearer's text is: a token of ours says it itself, everything else is asked of keys and secrets,
/// unless it is remembered.
fn bearer(text: &str, snapshot: &Snapshot) -> Result<Seen, Denied> {
    let spelling = text::spelling(text);
    let hash = match spelling {
        Spelling::Ours(token) => return Ok(Seen::Fresh(Presented::Token(token))),
        Spelling::Foreign(hash) => Some(hash),
        Spelling::Jwt => Some(TokenHash::of(text)),
        Spelling::OursBroken(_) | Spelling::Unusable => None,
    };
    let is_bearer = |known: &Presented| !matches!(known, Presented::Cookie(_));
    if let Some(known) = hash.and_then(|hash| snapshot.remembered.find(&hash, is_bearer)) {
        return Ok(known);
    }
    let presented = Presented::spelled(spelling, text, &snapshot.keyring, &snapshot.services.secrets)?;
    let is_worth_it = match presented {
        Presented::Service { .. } | Presented::Jwt(_) => true,
        Presented::Token(_) | Presented::Imported(_) | Presented::Cookie(_) => false,
    };
    Ok(match hash.filter(|_| is_worth_it) {
        Some(hash) => snapshot.remembered.remember(hash, presented),
        None => Seen::Fresh(presented),
    })
}

/// Whose secret a text is, whatever it is spelled like.
fn of_service(secret: &str, snapshot: &Snapshot) -> Option<Seen> {
    let hash = TokenHash::of(secret);
    let is_service = |known: &Presented| matches!(known, Presented::Service { .. });
    if let Some(known) = snapshot.remembered.find(&hash, is_service) {
        return Some(known);
    }
    let found = snapshot.services.secrets.find(secret)?;
    let presented = Presented::Service { name: found.service.clone(), slot: found.slot.to_owned() };
    Some(snapshot.remembered.remember(hash, presented))
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
