//! What the tests of enrolment live in: a store on a shelf, keys, a clock, random bytes.

use core::cell::Cell;
use std::collections::BTreeSet;

use super::super::*;
use crate::{
    records::shelf::Shelf,
    settings::Settings,
    token::{KeyId, Keyring},
};

/// When the tests begin.
pub(crate) const NOW: u64 = 1_800_000_000;
/// An attempt of the shortest length.
pub(crate) const ATTEMPT: &str = "0123456789abcdefghijkl";

/// A store, its settings and keys, a clock, and random bytes that never come twice.
pub(crate) struct House {
    pub(crate) shelf: Shelf,
    pub(crate) settings: Settings,
    pub(crate) keyring: Keyring,
    pub(crate) seconds: u64,
    drawn: Cell<u64>,
    pub(crate) used: BTreeSet<TokenId>,
}

pub(crate) fn key_id(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

pub(crate) fn nobody() -> By {
    By::local(0)
}

pub(crate) fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl House {
    pub(crate) fn new() -> Self {
        let fresh: [u8; 32] = core::array::from_fn(|at| u8::try_from(at).unwrap());
        Self {
            shelf: Shelf::new(),
            settings: Settings::default(),
            keyring: Keyring::generate(key_id("k1"), &fresh).unwrap(),
            seconds: NOW,
            drawn: Cell::new(0),
            used: BTreeSet::new(),
        }
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        self.drawn.set(self.drawn.get() + 1);
        let counter = self.drawn.get().to_be_bytes();
        core::array::from_fn(|at| counter[at % counter.len()])
    }

    pub(crate) fn fresh(&self) -> Fresh {
        Fresh { id: self.bytes(), secret: self.bytes().into() }
    }

    pub(crate) fn fresh_host(&self) -> FreshHost {
        FreshHost { host: self.bytes(), agent: self.fresh(), credentials: self.bytes(), reply: self.bytes() }
    }

    pub(crate) fn change<T>(
        &mut self,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        self.shelf.change(self.seconds * 1000, |txn| rule(txn, terms))
    }

    pub(crate) fn mint(&mut self, wish: &Wish) -> Minted {
        let (fresh, nonce) = (self.fresh(), self.bytes());
        let wanted = Wanted::new(wish).unwrap();
        self.change(|txn, terms| mint(txn, terms, &nobody(), wanted, &fresh, nonce)).unwrap()
    }

    pub(crate) fn revoke(&mut self, id: TokenId) -> Result<(), Refusal> {
        self.change(|txn, _| revoke(txn, &nobody(), id))
    }

    /// One call of a host, as the application makes it.
    pub(crate) fn enroll(
        &mut self,
        token: &str,
        attempt: Option<&str>,
        hostname: &str,
    ) -> Result<Enrolled, Refusal> {
        self.enroll_as(token, attempt, statement(hostname))
    }

    pub(crate) fn enroll_as(
        &mut self,
        token: &str,
        attempt: Option<&str>,
        statement: Statement,
    ) -> Result<Enrolled, Refusal> {
        let secret = |text: &str| Secret::new(text.to_owned());
        let proof = Proof::new(secret(token), attempt.map(secret), &statement.hostname);
        let fresh = self.fresh_host();
        let used = self.used.clone();
        let noted = move |id: TokenId| {
            used.contains(&id).then_some(LastUsed { token: id, at: Time::from_unix(NOW), ip: None })
        };
        let standing = judge(&self.shelf, &proof, Time::from_unix(self.seconds), &noted)?;
        let joining = Joining::new(statement, &proof)?;
        match standing {
            Standing::Again(enrolled) => Ok(enrolled),
            Standing::Live(_) => {
                let ip = Some([192, 0, 2, 1].into());
                self.change(|txn, terms| redeem(txn, terms, ip, &proof, joining, &noted, &fresh))
            }
        }
    }

    #[track_caller]
    pub(crate) fn refuses(&mut self, token: &str, attempt: Option<&str>, hostname: &str, reason: Reason) {
        let before = self.shelf.rows().clone();
        let denied = match self.enroll(token, attempt, hostname) {
            Err(Refusal::Denied(denied)) => denied,
            other => panic!("{other:?}"),
        };
        assert_eq!(denied.reason, reason);
        assert_eq!(*self.shelf.rows(), before, "nothing was written");
    }

    pub(crate) fn row(&self, minted: &Minted) -> Token {
        Token::by_id(&self.shelf, minted.token.id).unwrap().unwrap()
    }

    pub(crate) fn agent_of(&self, enrolled: &Enrolled) -> Token {
        let text = text::parse(enrolled.agent_token.expose()).unwrap();
        Token::by_id(&self.shelf, text.id).unwrap().unwrap()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.shelf.audit().into_iter().map(|entry| entry.action).collect()
    }
}

pub(crate) fn statement(hostname: &str) -> Statement {
    Statement {
        hostname: hostname.to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        ..Statement::default()
    }
}

/// What two calls of one host were told is the same.
#[track_caller]
pub(crate) fn same(one: &Enrolled, other: &Enrolled) {
    assert_eq!(one.host, other.host);
    assert_eq!(one.agent_token.expose(), other.agent_token.expose());
}
