//! People and their tokens over a store on a shelf, for the tests of the rules.

use core::net::IpAddr;
use std::collections::HashMap;

use super::{
    Reason, Refusal, Terms,
    access::{Authorized, Caller, Right, Who, decide},
    last_use,
    pats::{self, Wish},
    sessions,
    tokens::{Fresh, Minted, Row},
    users::{self, NewUser},
    verify::{self, Asking, Good, Presented},
};
use crate::{
    records::{Time, Txn, shelf::Shelf, token::LastUsed, user::User},
    settings::{CredentialKind, Settings},
    token::{Key, KeyId, Keyring, ServiceSecrets, TokenId, UserId},
};

mod model;

/// When the tests begin, in seconds.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A store with people in it, what the rules look at beside it, and the time.
pub(crate) struct Town {
    pub(crate) shelf: Shelf,
    pub(crate) settings: Settings,
    pub(crate) keyring: Keyring,
    pub(crate) services: ServiceSecrets,
    pub(crate) now: u64,
    /// Last uses in memory.
    pub(crate) noted: HashMap<TokenId, LastUsed>,
    drawn: u64,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self {
            shelf: Shelf::new(),
            settings: Settings::default(),
            keyring: Keyring::generate(
                KeyId::new("k1").unwrap(),
                &core::array::from_fn(|at| u8::try_from(at).unwrap()),
            )
            .unwrap(),
            services: ServiceSecrets::new(&[], Key::new([3; 32])).unwrap(),
            now: NOW,
            noted: HashMap::new(),
            drawn: 0,
        }
    }

    /// Random bytes that were never drawn before.
    pub(crate) fn fresh(&mut self) -> Fresh {
        self.drawn += 1;
        let mut id = [0; 10];
        id[2..].copy_from_slice(&self.drawn.to_be_bytes());
        let mut secret = [7; 32];
        secret[24..].copy_from_slice(&self.drawn.to_be_bytes());
        Fresh { id, secret: secret.into() }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += seconds;
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_unix(self.now)
    }

    /// Runs a rule at this time.
    pub(crate) fn change<T>(
        &mut self,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        self.shelf.change(self.now * 1000, |txn| rule(txn, terms))
    }

    /// Somebody at the admin socket with that right.
    pub(crate) fn root(right: Right) -> Authorized {
        decide(right, Caller::local(0)).unwrap()
    }

    /// Whoever presents that token, if it has the right.
    pub(crate) fn who(&self, right: Right, token: &Minted) -> Result<Authorized, Refusal> {
        let good = self.verify(token.secret.expose(), None)?;
        decide(right, Caller { who: Who::Known(Box::new(good.identity)), ip: None })
    }

    pub(crate) fn user(&mut self, email: &str, groups: &[&str]) -> User {
        let new = NewUser {
            email: email.to_owned(),
            name: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            password: None,
            service: None,
        };
        let id = UserId::from_parts(self.now * 1000, self.fresh().id);
        self.change(|txn, _| users::create(txn, &Self::root(Right::Administrate), id, new)).unwrap()
    }

    pub(crate) fn update(&mut self, id: UserId, change: users::Change) -> Result<User, Refusal> {
        self.change(|txn, _| users::update(txn, &Self::root(Right::Administrate), id, change))
    }

    pub(crate) fn session(&mut self, user: UserId) -> Result<Minted, Refusal> {
        let fresh = self.fresh();
        let root = Self::root(Right::MintForOthers);
        self.change(|txn, terms| sessions::open_for(txn, terms, &root, user, None, &fresh))
            .map(|(_, minted)| minted)
    }

    pub(crate) fn pat(&mut self, user: UserId, wish: Wish) -> Result<Minted, Refusal> {
        let fresh = self.fresh();
        let root = Self::root(Right::MintForOthers);
        let plan = pats::plan(Wish { name: "n".to_owned(), ..wish })?;
        self.change(|txn, terms| pats::mint_for(txn, terms, &root, user, plan, &fresh))
    }

    pub(crate) fn rotate(&mut self, id: TokenId, overlap: u64) -> Result<Minted, Refusal> {
        let fresh = self.fresh();
        let root = Self::root(Right::ChangeOwn);
        self.change(|txn, terms| pats::rotate(txn, terms, &root, id, Some(overlap), &fresh))
    }

    pub(crate) fn revoke(&mut self, id: TokenId) -> Result<(), Refusal> {
        self.change(|txn, _| pats::revoke(txn, &Self::root(Right::OwnTokens), id))
    }

    /// Verifies without counting.
    pub(crate) fn verify(&self, token: &str, from: Option<IpAddr>) -> Result<Good, Refusal> {
        let presented = Presented::bearer(token, &self.keyring, &self.services)?;
        verify::verify(&self.shelf, &presented, &self.asking(&presented, from))
    }

    /// Verifies as the daemon does: counted where uses are counted, and noted in memory.
    pub(crate) fn use_up(&mut self, token: &str) -> Result<Good, Refusal> {
        let presented = Presented::bearer(token, &self.keyring, &self.services)?;
        let asking = self.asking(&presented, None);
        let mut good = verify::verify(&self.shelf, &presented, &asking)?;
        if good.is_counted() {
            good = self.change(|txn, _| verify::count_use(txn, &presented, &asking, &|_| Ok(())))?;
        }
        if let Some(token) = good.identity.token {
            self.noted.insert(token, LastUsed { token, at: self.time(), ip: None });
        }
        Ok(good)
    }

    fn asking(&self, presented: &Presented, from: Option<IpAddr>) -> Asking<'static> {
        let noted = presented.token().and_then(|id| self.noted.get(&id)).map(|last| last.at);
        Asking { now: self.time(), from, kinds: &CredentialKind::ALL, noted }
    }

    /// Brings last uses to the shelf.
    pub(crate) fn flush(&mut self) {
        let uses: Vec<LastUsed> = self.noted.drain().map(|(_, last)| last).collect();
        self.change(|txn, _| last_use::write(txn, &uses)).unwrap();
    }

    /// The row as lists show it.
    pub(crate) fn row(&self, id: TokenId) -> Result<Row, Refusal> {
        let noted = |id| self.noted.get(&id).copied();
        pats_or_sessions(self, id, &noted)
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.shelf.audit().into_iter().map(|entry| entry.action).collect()
    }
}

fn pats_or_sessions(town: &Town, id: TokenId, noted: super::tokens::Noted<'_>) -> Result<Row, Refusal> {
    let token = crate::records::token::Token::by_id(&town.shelf, id)?.ok_or(Refusal::NotFound)?;
    Ok(super::tokens::row(&town.shelf, token, town.time(), noted)?)
}

/// Why a verification refused.
#[track_caller]
pub(crate) fn reason<T: core::fmt::Debug>(outcome: Result<T, Refusal>) -> Reason {
    match outcome {
        Err(Refusal::Denied(denied)) => denied.reason,
        other => panic!("{other:?}"),
    }
}
