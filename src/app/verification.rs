//! Verification for others: introspection, alone and in batches, what proxies ask about a request, and
//! revocation by presenting.

use core::net::IpAddr;
use std::sync::Arc;

use super::{
    App, Failure,
    callers::{BEARER_KINDS, Condition, kind_of},
};
use crate::{
    metrics::{Means, PresentedKind},
    rules::{
        Denied, Forbidden, Reason, Refusal,
        access::{Authorized, Identity, Who},
        explain::{self, Circumstances, Explanation},
        policy, revocation,
        verify::{self, Asking, Good, Presented},
    },
    settings::CredentialKind,
    token::{Secret, TokenId},
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
    /// Who vouches for it.
    pub issuer: String,
}

impl App {
    /// What a token is to `who`: none for anything that is not active, whatever the reason. An address is
    /// believed only from those who stand in front of end clients: services and the admin socket.
    pub async fn introspect(
        &self,
        who: &Authorized,
        asked: Introspection,
    ) -> Result<Option<Active>, Failure> {
        let snapshot = self.snapshot();
        let from = asked.client_ip.filter(|_| self.may_name_clients(who));
        let Ok(presented) = self.bearer(asked.token.expose(), &snapshot, from) else { return Ok(None) };
        match self.verify(presented, from, BEARER_KINDS, None).await {
            Ok(good) => Ok(Some(self.active(good))),
            Err(Failure::Refused(Refusal::Denied(_))) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether `who` stands in front of end clients, so that it can say where they are: a service, or
    /// whoever is at the admin socket.
    pub fn may_name_clients(&self, who: &Authorized) -> bool {
        match &who.caller().who {
            Who::Local(_) => true,
            Who::Known(identity) => identity.kind == CredentialKind::Service,
            Who::Nobody => false,
        }
    }

    /// The same for many, in their order. Those whose uses are counted go through the writer together, in
    /// one transaction; where nothing can be written, only they are inactive.
    pub async fn introspect_batch(&self, tokens: &[Secret]) -> Result<Vec<Option<Active>>, Failure> {
        let snapshot = self.snapshot();
        let view = self.view();
        let now = self.now();
        let mut answers = Vec::with_capacity(tokens.len());
        let mut counted: Vec<Counted> = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            answers.push(None);
            let Ok(presented) = self.bearer(token.expose(), &snapshot, None) else { continue };
            self.note_slot(&presented);
            let asking = self.asking_of(&presented, now);
            match verify::verify(&*view, &presented, &asking) {
                Ok(good) if good.is_counted() => {
                    counted.push(Counted { place, kind: kind_of(&presented), presented, asking });
                }
                outcome => {
                    let answer = self.conclude(kind_of(&presented), presented.token(), outcome, None);
                    self.settle(&mut answers, place, answer)?;
                }
            }
        }
        for (place, kind, outcome) in self.count_all(counted).await? {
            let answer = self.conclude(kind, None, outcome, None);
            self.settle(&mut answers, place, answer)?;
        }
        Ok(answers)
    }

    /// Whose the credential of somebody else's request is, if it meets the policy of that name. Refused is
    /// also a credential whose use cannot be counted now: a proxy must hear yes or no, not to come back.
    pub async fn authorize_request(
        &self,
        shown: ShownBy<'_>,
        policy: &str,
        from: Option<IpAddr>,
    ) -> Result<Identity, Failure> {
        let snapshot = self.snapshot();
        let (means, presented) = match shown {
            ShownBy::Bearer(text) => (Means::Bearer, self.bearer(text, &snapshot, from)),
            ShownBy::Cookie(text) => (Means::Cookie, self.cookie(text, &snapshot, from)),
            ShownBy::Nothing => return Err(Denied::of(Reason::Absent).into()),
        };
        let name = policy.to_owned();
        let condition: Condition =
            Arc::new(move |good| policy::meets(snapshot.settings.policy(&name), &good.identity));
        let outcome = match presented {
            Ok(presented) => self.verify(presented, from, policy::KNOWN_KINDS, Some(condition)).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(good) => Ok(good.identity),
            Err(Failure::Store(error)) => {
                tracing::warn!(%error, "a counted token is refused: its use cannot be written");
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
        if self.look(|view, now| Ok(revocation::would_change(view, &presented, now)?))? {
            let by = who.by();
            self.change_own(move |txn, _| revocation::by_presenting(txn, &presented, by)).await?;
        }
        Ok(())
    }

    fn asking_of(&self, presented: &Presented, now: crate::records::Time) -> Asking<'static> {
        let noted = presented.token().and_then(|id: TokenId| self.noted_use(id));
        Asking { now, from: None, kinds: BEARER_KINDS, noted }
    }

    fn active(&self, good: Good) -> Active {
        Active { good, issuer: self.snapshot().settings.server.public_url.as_str().to_owned() }
    }

    /// Puts one answer of a batch into its place.
    fn settle(
        &self,
        answers: &mut [Option<Active>],
        place: usize,
        outcome: Result<Good, Failure>,
    ) -> Result<(), Failure> {
        match outcome {
            Ok(good) => {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Some(self.active(good));
                }
                Ok(())
            }
            Err(Failure::Refused(Refusal::Denied(_))) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Verifies and counts in one transaction. None at all where it could not be written: the others of the
    /// batch are answered all the same.
    async fn count_all(&self, counted: Vec<Counted>) -> Result<Vec<Judged>, Failure> {
        if counted.is_empty() {
            return Ok(Vec::new());
        }
        let written = self
            .store()
            .write(move |txn| {
                let judge = |entry: Counted| {
                    let outcome = verify::count_use(txn, &entry.presented, &entry.asking, &|_| Ok(()));
                    (entry.place, entry.kind, outcome)
                };
                Ok::<_, Refusal>(counted.into_iter().map(judge).collect::<Vec<_>>())
            })
            .await;
        match written {
            Ok(judged) => Ok(judged?),
            Err(error) => {
                tracing::warn!(%error, "counted tokens of a batch are refused: their uses cannot be written");
                Ok(Vec::new())
            }
        }
    }
}

/// An entry of a batch whose use is counted.
struct Counted {
    place: usize,
    kind: PresentedKind,
    presented: Presented,
    asking: Asking<'static>,
}

type Judged = (usize, PresentedKind, Result<Good, Refusal>);
