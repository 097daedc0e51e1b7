//! Verification for others: introspection, alone and in batches, what proxies ask about a request, and
//! revocation by presenting.

use core::net::IpAddr;
use std::sync::Arc;

use super::{
    App, Failure, Snapshot,
    callers::{BEARER_KINDS, Wanted, kind_of},
};
use crate::{
    metrics::{Means, PresentedKind},
    rules::{
        Denied, Forbidden, Reason, Refusal,
        access::{Authorized, Identity},
        explain::{self, Circumstances, Explanation},
        policy, revocation,
        verify::{self, Asking, Good, Presented},
    },
    token::Secret,
};

/// What another program asks about a token.
#[derive(Debug)]
pub struct Introspection {
    /// The token.
    pub token: Secret,
    /// Where the end client uses it, as the caller says.
    pub client_ip: Option<IpAddr>,
}

/// The credential of a request that a proxy asks about.
#[derive(Clone, Copy)]
pub enum ShownBy<'a> {
    /// The text of a bearer.
    Bearer(&'a str),
    /// The text of a portal cookie.
    Cookie(&'a str),
    /// It has none.
    Nothing,
}

/// What an operator asks to have explained.
#[derive(Debug)]
pub struct Explain {
    /// The credential.
    pub token: Secret,
    /// From where it would be used.
    pub client_ip: Option<IpAddr>,
    /// The policy that it would have to meet.
    pub policy: Option<String>,
}

/// What introspection says of a token that is active.
#[derive(Debug)]
pub struct Active {
    /// The credential.
    pub good: Good,
    under: Arc<Snapshot>,
}

impl Active {
    /// Who vouches for it.
    pub fn issuer(&self) -> &str {
        self.under.settings.server.public_url.as_str()
    }
}

impl App {
    /// What a token is to `who`: none for anything that is not active, whatever the reason. An address is
    /// believed only from those who stand in front of end clients: services and the admin socket.
    pub async fn introspect(
        &self,
        snapshot: &Arc<Snapshot>,
        who: &Authorized,
        asked: Introspection,
    ) -> Result<Option<Active>, Failure> {
        let from = asked.client_ip.filter(|_| who.caller().may_name_clients());
        let Ok(presented) = self.bearer(asked.token.expose(), snapshot, from) else { return Ok(None) };
        match self.verify(&presented, from, BEARER_KINDS, None).await {
            Ok(good) => Ok(Some(Active { good, under: Arc::clone(snapshot) })),
            Err(Failure::Refused(Refusal::Denied(_))) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The same for many, in their order. Those whose uses are counted go through the writer together, in
    /// one transaction; where nothing can be written, only they are inactive.
    pub async fn introspect_batch(
        &self,
        snapshot: &Arc<Snapshot>,
        tokens: &[Secret],
    ) -> Result<Vec<Option<Active>>, Failure> {
        let mut answers = Vec::with_capacity(tokens.len());
        let mut counted: Vec<Counted> = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            let Ok(presented) = self.bearer(token.expose(), snapshot, None) else {
                answers.push(None);
                continue;
            };
            let asking = self.asking(&presented, None, BEARER_KINDS);
            self.note_slot(&presented, asking.now);
            let outcome = self.store().ask(|view| verify::verify(view, &presented, &asking));
            if outcome.as_ref().is_ok_and(Good::is_counted) {
                answers.push(None);
                counted.push(Counted { place, presented: Presented::clone(&presented), asking });
            } else {
                answers.push(settled(self.conclude(&presented, asking.now, outcome, None))?);
            }
        }
        for (Counted { place, presented, asking }, outcome) in self.count_all(counted).await? {
            let good = settled(self.conclude(&presented, asking.now, outcome, None))?;
            if let Some(answer) = answers.get_mut(place) {
                *answer = good;
            }
        }
        let active = |good: Good| Active { good, under: Arc::clone(snapshot) };
        Ok(answers.into_iter().map(|good| good.map(active)).collect())
    }

    /// Whose the credential of somebody else's request is, if it meets the policy of that name. Refused is
    /// also a credential whose use cannot be counted now: a proxy must hear yes or no, not to come back.
    pub async fn authorize_request(
        &self,
        snapshot: &Arc<Snapshot>,
        shown: ShownBy<'_>,
        policy: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, Failure> {
        let (means, presented) = match shown {
            ShownBy::Bearer(text) => (Means::Bearer, self.bearer(text, snapshot, from)),
            ShownBy::Cookie(text) => (Means::Cookie, self.cookie(text, snapshot, from)),
            ShownBy::Nothing => return Err(Denied::of(Reason::Absent).into()),
        };
        let wanted = Wanted::Policy(policy, snapshot);
        let outcome = match presented {
            Ok(presented) => self.verify(&presented, from, policy::KNOWN_KINDS, Some(wanted)).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(good) => Ok(good.identity),
            Err(Failure::Store(error)) => {
                tracing::info!(%error, "a counted token is refused: its use cannot be written");
                Err(Refusal::Forbidden(Forbidden::Uncounted).into())
            }
            Err(failure) => Err(self.count_failed(means, failure)),
        }
    }

    /// Every check that a credential goes through, with its outcome; uses nothing up.
    pub fn explain(&self, asked: &Explain) -> Result<Explanation, Failure> {
        let snapshot = self.snapshot();
        let policy = asked.policy.as_deref().map(|name| (name, snapshot.settings.policy(name)));
        self.look(|view, now| {
            let asking = Asking { now, from: asked.client_ip, kinds: policy::KNOWN_KINDS, noted: None };
            let mut circumstances = Circumstances {
                keyring: &snapshot.keyring,
                services: &snapshot.services.secrets,
                store_id: self.store().id(),
                asking,
                policy,
            };
            let presented = explain::read(asked.token.expose(), &circumstances).ok();
            let id = presented.and_then(|presented| presented.token());
            circumstances.asking.noted = id.and_then(|id| self.noted_use(id));
            explain::explain(view, asked.token.expose(), &circumstances)
        })
    }

    /// A portal cookie that could not even be read.
    pub fn refuse_cookie(&self, denied: Denied, from: Option<IpAddr>) -> Failure {
        self.judged(PresentedKind::Portal, Some(denied.reason));
        self.count_failed(Means::Cookie, self.refused(denied, from))
    }

    /// Ends the token that is presented, whatever it is; says nothing about whether it was one.
    pub async fn revoke_presented(&self, who: &Authorized, token: &Secret) -> Result<(), Failure> {
        let snapshot = self.snapshot();
        let presented = Presented::bearer(token.expose(), &snapshot.keyring, &snapshot.services.secrets);
        let Ok(presented) = presented else { return Ok(()) };
        // Only what would change something waits for the writer: guesses cost no commit.
        if self.look(|view, _| Ok(revocation::would_change(view, &presented)?))? {
            let by = who.by();
            self.change_own(move |txn, _| revocation::by_presenting(txn, &presented, by)).await?;
        }
        Ok(())
    }

    /// Verifies and counts in one transaction. None at all where it could not be written: the others of the
    /// batch are answered all the same.
    async fn count_all(&self, counted: Vec<Counted>) -> Result<Vec<Judged>, Failure> {
        if counted.is_empty() {
            return Ok(Vec::new());
        }
        let kinds: Vec<PresentedKind> = counted.iter().map(|entry| kind_of(&entry.presented)).collect();
        let written = self
            .store()
            .write(move |txn| {
                let judge = |entry: Counted| {
                    let outcome = verify::count_use(txn, &entry.presented, &entry.asking, &|_| Ok(()));
                    (entry, outcome)
                };
                Ok::<_, Refusal>(counted.into_iter().map(judge).collect::<Vec<_>>())
            })
            .await;
        match written {
            Ok(judged) => Ok(judged?),
            Err(error) => {
                tracing::info!(%error, "counted tokens of a batch are refused: their uses cannot be written");
                for kind in kinds {
                    self.judged(kind, Some(Reason::Uncounted));
                }
                Ok(Vec::new())
            }
        }
    }
}

/// What a batch says of one entry: nothing of a credential that does not count.
fn settled(outcome: Result<Good, Failure>) -> Result<Option<Good>, Failure> {
    match outcome {
        Ok(good) => Ok(Some(good)),
        Err(Failure::Refused(Refusal::Denied(_))) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// An entry of a batch whose use is counted.
struct Counted {
    place: usize,
    presented: Presented,
    asking: Asking<'static>,
}

type Judged = (Counted, Result<Good, Refusal>);
