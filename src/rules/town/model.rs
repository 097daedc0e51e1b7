//! Random lives of people and their tokens, against a model that is too simple to be wrong.
//!
//! After every step each token's verification and its state in lists, and the audit log, are what the
//! model says.

use proptest::prelude::*;

use super::*;
use crate::{
    records::{token::State, view::View},
    rules::{Conflict, Forbidden, audit, pats::Life, purge},
};

const PURGE_AFTER: u64 = 2 * 86_400;
const GROUPS: [&[&str]; 3] = [&[], &["operator"], &["admin"]];
/// Scope, what power it needs of its owner (an index of `GROUPS`), what it is clamped to.
const SCOPES: [(&str, usize, Option<u64>); 5] = [
    ("general", 0, None),
    ("bootstrap-analyst x", 0, Some(3_600)),
    ("introspect", 1, None),
    ("a operator", 1, None),
    ("admin", 2, None),
];
const SPANS: [Option<u64>; 4] = [Some(60), Some(3_600), Some(3 * 86_400), None];

#[derive(Clone, Debug)]
enum Step {
    Mint { user: usize, span: usize, scope: usize, uses: Option<u64>, jwt: bool },
    LogIn { user: usize },
    Use { token: usize },
    Rotate { token: usize, overlap: u64 },
    Revoke { token: usize },
    Switch { token: usize, on: bool },
    Regroup { user: usize, groups: usize },
    Activate { user: usize, active: bool },
    Password { user: usize },
    Pass { seconds: u64 },
    Purge,
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::*;
    let user = 0..3usize;
    let token = 0..24usize;
    let step = prop_oneof![
        4 => (user.clone(), 0..SPANS.len(), 0..SCOPES.len(), prop::option::weighted(0.3, 1..3u64), any::<bool>())
            .prop_map(|(user, span, scope, uses, jwt)| Mint { user, span, scope, uses, jwt }),
        2 => user.clone().prop_map(|user| LogIn { user }),
        4 => token.clone().prop_map(|token| Use { token }),
        2 => (token.clone(), prop_oneof![Just(0u64), Just(50), Just(86_400)])
            .prop_map(|(token, overlap)| Rotate { token, overlap }),
        1 => token.clone().prop_map(|token| Revoke { token }),
        2 => (token, any::<bool>()).prop_map(|(token, on)| Switch { token, on }),
        2 => (user.clone(), 0..3usize).prop_map(|(user, groups)| Regroup { user, groups }),
        2 => (user.clone(), any::<bool>()).prop_map(|(user, active)| Activate { user, active }),
        1 => user.prop_map(|user| Password { user }),
        3 => prop_oneof![1..100u64, Just(60), 3_000..4_000u64, Just(3_600), 70_000..80_000u64, Just(43_200)].prop_map(|seconds| Pass { seconds }),
        1 => Just(Purge),
        1 => Just(Restart),
        1 => Just(Crash),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Debug)]
struct ModelUser {
    id: UserId,
    groups: usize,
    active: bool,
    epoch: u64,
}

#[derive(Debug)]
struct ModelToken {
    minted: Minted,
    user: usize,
    /// The epoch of its user, for a session.
    session: Option<u64>,
    scope: usize,
    span: Option<u64>,
    created: u64,
    end: Option<u64>,
    revoked: Option<u64>,
    on: bool,
    max_uses: Option<u64>,
    used: u64,
    last_noted: Option<u64>,
    last_stored: Option<u64>,
    gone: bool,
}

#[derive(Debug, Default)]
struct Model {
    users: Vec<ModelUser>,
    tokens: Vec<ModelToken>,
    log: Vec<&'static str>,
}

impl Model {
    fn admins(&self) -> usize {
        self.users.iter().filter(|user| user.active && user.groups == 2).count()
    }

    fn last_use(token: &ModelToken) -> u64 {
        token.created.max(token.last_noted.unwrap_or(0)).max(token.last_stored.unwrap_or(0))
    }

    /// What verification says of a token.
    fn verdict(&self, token: &ModelToken, now: u64) -> Result<(), Reason> {
        let user = &self.users[token.user];
        let idle = token.session.is_some() && now - Self::last_use(token) >= 3_600;
        let rules = [
            (token.gone, Reason::Unknown),
            (token.revoked.is_some(), Reason::Revoked),
            (token.end.is_some_and(|end| now >= end), Reason::Expired),
            (!token.on, Reason::Disabled),
            (!user.active, Reason::OwnerInactive),
            (token.session.is_some_and(|epoch| epoch != user.epoch), Reason::SessionEnded),
            (idle, Reason::Idle),
            (token.max_uses == Some(token.used), Reason::Exhausted),
        ];
        rules.into_iter().find(|(refuses, _)| *refuses).map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// What lists say of a token.
    fn state(&self, token: &ModelToken, now: u64) -> State {
        match self.verdict(token, now) {
            Ok(()) => State::Active,
            Err(Reason::Revoked) => State::Revoked,
            Err(Reason::Expired) => State::Expired,
            // Lasting ends are shown before what may still change.
            Err(_) if token.max_uses == Some(token.used) => State::Exhausted,
            Err(Reason::OwnerInactive) if token.session.is_some() => State::Revoked,
            Err(Reason::Disabled | Reason::OwnerInactive) => State::Disabled,
            Err(Reason::SessionEnded) => State::Revoked,
            Err(Reason::Idle) => State::Expired,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn is_long_dead(token: &ModelToken, now: u64) -> bool {
        let exhausted = (token.max_uses == Some(token.used)).then(|| Self::last_use(token));
        let died = [token.revoked, token.end, exhausted].into_iter().flatten().min();
        died.is_some_and(|died| died + PURGE_AFTER <= now)
    }
}

struct World {
    town: Town,
    model: Model,
}

impl World {
    fn new() -> Self {
        let mut town = Town::new();
        town.settings.tokens.purge_after = PURGE_AFTER;
        let mut model = Model::default();
        for (number, groups) in [2, 1, 0].into_iter().enumerate() {
            let user = town.user(&format!("{number}@example.org"), GROUPS[groups]);
            model.users.push(ModelUser { id: user.id, groups, active: true, epoch: 0 });
            model.log.push("user.create");
        }
        Self { town, model }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Mint { user, span, scope, uses, jwt } => self.mint(user, span, scope, uses, jwt),
            Step::LogIn { user } => self.log_in(user),
            Step::Use { token } => self.use_token(token),
            Step::Rotate { token, overlap } => self.rotate(token, overlap),
            Step::Revoke { token } => self.revoke(token),
            Step::Switch { token, on } => self.switch(token, on),
            Step::Regroup { user, groups } => self.regroup(user, groups),
            Step::Activate { user, active } => self.activate(user, active),
            Step::Password { user } => self.password(user),
            Step::Pass { seconds } => {
                self.town.pass(seconds);
                // The daemon asks at least once an hour.
                self.town.change(|txn, _| purge::may_run(txn)).unwrap();
            }
            Step::Purge => self.purge(),
            Step::Restart => {
                self.town.flush();
                for token in &mut self.model.tokens {
                    token.last_stored = token.last_noted.take().or(token.last_stored);
                }
            }
            Step::Crash => {
                self.town.noted.clear();
                self.model.tokens.iter_mut().for_each(|token| token.last_noted = None);
            }
        }
    }

    fn keep(&mut self, minted: Minted, user: usize, like: (usize, Option<u64>, Option<u64>), session: bool) {
        let (scope, span, max_uses) = like;
        let now = self.town.now;
        let session = session.then(|| self.model.users[user].epoch);
        self.model.tokens.push(ModelToken {
            minted,
            user,
            session,
            scope,
            span,
            created: now,
            end: span.map(|span| now + span),
            revoked: None,
            on: true,
            max_uses,
            used: 0,
            last_noted: None,
            last_stored: None,
            gone: false,
        });
    }

    fn mint(&mut self, user: usize, span: usize, scope: usize, max_uses: Option<u64>, jwt: bool) {
        let (words, needs, clamp) = SCOPES[scope];
        let wish = Wish {
            life: if SPANS[span].is_none() { Life::Unlimited } else { Life::Unsaid },
            ttl_seconds: SPANS[span],
            scope: Some(words.to_owned()),
            max_uses,
            spelled: if jwt { pats::Spelled::Jwt } else { pats::Spelled::Opaque },
            ..Wish::default()
        };
        let owner = &self.model.users[user];
        let minted = self.town.pat(owner.id, wish);
        if !owner.active {
            assert_eq!(minted.unwrap_err(), Refusal::Conflict(Conflict::UserInactive));
        } else if owner.groups < needs {
            assert_eq!(minted.unwrap_err(), Refusal::Forbidden(Forbidden::Escalation));
        } else {
            let span = [SPANS[span], clamp].into_iter().flatten().min();
            self.keep(minted.unwrap(), user, (scope, span, max_uses), false);
            self.model.log.push("token.create");
        }
    }

    fn log_in(&mut self, user: usize) {
        let minted = self.town.session(self.model.users[user].id);
        if self.model.users[user].active {
            self.keep(minted.unwrap(), user, (0, Some(43_200), None), true);
            self.model.log.push("session.create");
        } else {
            assert_eq!(minted.unwrap_err(), Refusal::Conflict(Conflict::UserInactive));
        }
    }

    fn use_token(&mut self, token: usize) {
        let now = self.town.now;
        let Some(token) = self.model.tokens.get(token) else { return };
        let expected = self.model.verdict(token, now);
        let good = self.town.use_up(token.minted.secret.expose());
        let id = token.minted.token.id;
        if let Err(expected) = expected {
            assert_eq!(reason(good), expected);
            return;
        }
        assert_eq!(good.unwrap().identity.token, Some(id));
        for token in self.model.tokens.iter_mut().filter(|token| token.minted.token.id == id) {
            token.used += u64::from(token.max_uses.is_some());
            token.last_noted = Some(now);
        }
    }

    fn rotate(&mut self, token: usize, overlap: u64) {
        let now = self.town.now;
        let Some(old) = self.model.tokens.get(token) else { return };
        let (id, user, is_session) = (old.minted.token.id, old.user, old.session.is_some());
        let like = (old.scope, old.span, old.max_uses);
        let active = self.model.verdict(old, now).is_ok();
        let (gone, needs) = (old.gone, SCOPES[old.scope].1);
        let rotated = self.town.rotate(id, overlap);
        if gone || is_session {
            assert_eq!(rotated.unwrap_err(), Refusal::NotFound);
        } else if !active {
            assert_eq!(rotated.unwrap_err(), Refusal::Conflict(Conflict::NotActive));
        } else if self.model.users[user].groups < needs {
            assert_eq!(rotated.unwrap_err(), Refusal::Forbidden(Forbidden::Escalation));
        } else {
            let old = &mut self.model.tokens[token];
            if overlap == 0 {
                old.revoked = Some(now);
            } else {
                old.end = Some(old.end.unwrap_or(u64::MAX).min(now + overlap));
            }
            self.keep(rotated.unwrap(), user, like, false);
            self.model.log.push("token.rotate");
        }
    }

    fn revoke(&mut self, token: usize) {
        let now = self.town.now;
        let Some(token) = self.model.tokens.get_mut(token) else { return };
        let revoked = self.town.revoke(token.minted.token.id);
        if token.gone || token.session.is_some() {
            assert_eq!(revoked.unwrap_err(), Refusal::NotFound);
        } else {
            revoked.unwrap();
            if token.revoked.is_none() {
                self.model.log.push("token.admin_revoke");
            }
            token.revoked = token.revoked.or(Some(now));
        }
    }

    fn switch(&mut self, token: usize, on: bool) {
        let Some(token) = self.model.tokens.get_mut(token) else { return };
        let id = token.minted.token.id;
        let change = pats::Change { enabled: Some(on), ..pats::Change::default() };
        let root = Town::root(Right::ChangeOwn);
        let changed = self.town.change(|txn, _| pats::update(txn, &root, id, change));
        if token.gone || token.session.is_some() {
            assert_eq!(changed.unwrap_err(), Refusal::NotFound);
        } else {
            changed.unwrap();
            if token.on != on {
                self.model.log.push("token.update");
            }
            token.on = on;
        }
    }

    /// Whether this is refused because nobody would be left to administrate.
    fn is_last_admin(&self, user: usize) -> bool {
        let user = &self.model.users[user];
        user.active && user.groups == 2 && self.model.admins() == 1
    }

    fn regroup(&mut self, user: usize, groups: usize) {
        let refused = groups != 2 && self.is_last_admin(user);
        let wanted = GROUPS[groups].iter().map(|group| (*group).to_owned()).collect();
        let change = users::Change { groups: Some(wanted), ..users::Change::default() };
        let changed = self.town.update(self.model.users[user].id, change);
        if refused {
            assert_eq!(changed.unwrap_err(), Refusal::Conflict(Conflict::LastAdmin));
            return;
        }
        changed.unwrap();
        if self.model.users[user].groups != groups {
            self.model.log.push("user.update");
        }
        self.model.users[user].groups = groups;
    }

    fn activate(&mut self, user: usize, active: bool) {
        let refused = !active && self.is_last_admin(user);
        let change = users::Change { active: Some(active), ..users::Change::default() };
        let changed = self.town.update(self.model.users[user].id, change);
        if refused {
            assert_eq!(changed.unwrap_err(), Refusal::Conflict(Conflict::LastAdmin));
            return;
        }
        changed.unwrap();
        let user = &mut self.model.users[user];
        if user.active != active {
            self.model.log.push(if active { "user.reactivate" } else { "user.deactivate" });
            user.epoch += u64::from(!active);
        }
        user.active = active;
    }

    fn password(&mut self, user: usize) {
        let change = users::Change { password: Some("$hash".into()), ..users::Change::default() };
        self.town.update(self.model.users[user].id, change).unwrap();
        self.model.users[user].epoch += 1;
        self.model.log.push("user.password");
    }

    fn purge(&mut self) {
        // What is still in memory would be missed by the purge for a minute at the most.
        self.take(&Step::Restart);
        let now = self.town.now;
        let found =
            purge::candidates(&self.town.shelf, &self.town.settings, self.town.time(), None).unwrap().items;
        let removed = self.town.change(|txn, terms| purge::remove(txn, terms, &found)).unwrap();
        let mut expected = 0;
        for token in self.model.tokens.iter_mut().filter(|token| !token.gone) {
            token.gone = Model::is_long_dead(token, now);
            expected += u64::from(token.gone);
        }
        assert_eq!(removed, expected);
        if expected > 0 {
            self.model.log.push("token.purge");
        }
    }

    /// Holds everything against the model.
    fn check(&self) {
        let now = self.town.now;
        for token in &self.model.tokens {
            let verdict = self.town.verify(token.minted.secret.expose(), None);
            match self.model.verdict(token, now) {
                Ok(()) => assert_eq!(verdict.unwrap().identity.token, Some(token.minted.token.id)),
                Err(expected) => assert_eq!(reason(verdict), expected),
            }
            match self.town.row(token.minted.token.id) {
                Err(refusal) => assert!(token.gone && refusal == Refusal::NotFound),
                Ok(row) => {
                    assert!(!token.gone);
                    assert_eq!(row.state, self.model.state(token, now), "{token:?}");
                    assert_eq!(row.uses, token.max_uses.map(|_| token.used));
                    let used = token.last_noted.max(token.last_stored);
                    assert_eq!(row.last_used.map(|last| last.at.unix()), used);
                }
            }
        }
        assert_eq!(self.town.actions(), self.model.log);
        let stored = self.model.tokens.iter().filter(|token| !token.gone).count();
        let counted: u64 =
            super::super::tokens::counts(&self.town.shelf).unwrap().iter().map(|(_, n)| n).sum();
        assert_eq!(counted, stored as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_people_do_the_rules_and_the_model_agree(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        let entries = world.model.log.len() as u64;
        prop_assert_eq!(audit::verify(&world.town.shelf as &dyn View, &mut |_| Ok(())).unwrap(), Ok(entries));
    }
}
