//! Sequences of operations: a token counts exactly when a model says so that is too simple to be wrong.

use bearerd::records::Time;
use bearerd::rules::access::Right;
use bearerd::rules::pats::{self, Spelled, Wish};
use bearerd::rules::tokens::Minted;
use bearerd::rules::users::{self, NewUser};
use bearerd::rules::verify::{self, Asking, Presented};
use bearerd::rules::{Refusal, Terms};
use bearerd::settings::{CredentialKind, Settings};
use bearerd::token::{Keyring, ServiceSecrets, TokenId, UserId};

use super::ground::{Draws, keyring, no_services, root};
use super::stored::Rows;

const BEGIN: u64 = 1_800_000_000;
const STEPS_MAX: usize = 48;

/// What the model knows of a token.
struct Known {
    id: TokenId,
    text: String,
    user: usize,
    span: u64,
    end: u64,
    revoked: bool,
    on: bool,
    uses_left: Option<u64>,
    uses: Option<u64>,
    spelled: Spelled,
}

struct Town {
    rows: Rows,
    settings: Settings,
    keyring: Keyring,
    services: ServiceSecrets,
    now: u64,
    draws: Draws,
    users: Vec<(UserId, bool)>,
    tokens: Vec<Known>,
}

/// A sequence of three bytes a step: what, to whom, how much.
pub fn operations(input: &[u8]) {
    let mut town = Town::new();
    for step in input.chunks_exact(3).take(STEPS_MAX) {
        town.take(step[0], usize::from(step[1]), u64::from(step[2]));
        town.judge();
    }
}

impl Town {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.server.public_url = bearerd::settings::PublicUrl::parse("https://auth.example.org").unwrap();
        let mut town = Self {
            rows: Rows::new(),
            settings,
            keyring: keyring(),
            services: no_services(),
            now: BEGIN,
            draws: Draws::default(),
            users: Vec::new(),
            tokens: Vec::new(),
        };
        for (name, groups) in [("root", &["admin"][..]), ("a", &[]), ("b", &[])] {
            let new = NewUser {
                email: format!("{name}@example.org"),
                name: None,
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                password: None,
                service: None,
            };
            let id = UserId::from_parts(BEGIN * 1000, town.draws.fresh().id);
            let made =
                town.rows.change(BEGIN * 1000, |txn| users::create(txn, &root(Right::Administrate), id, new));
            made.unwrap();
            town.users.push((id, true));
        }
        town
    }

    fn take(&mut self, what: u8, whom: usize, much: u64) {
        match what % 8 {
            0 => self.mint(whom % 3, much),
            1 => self.use_up(whom),
            2 => self.rotate(whom, much),
            3 => self.revoke(whom),
            4 => self.switch(whom, much.is_multiple_of(2)),
            5 => self.activate(1 + whom % 2, much.is_multiple_of(2)),
            6 => self.now += much,
            _ => self.now += much * 60,
        }
    }

    fn mint(&mut self, user: usize, much: u64) {
        let span = 1 + much * 7;
        let uses = (much.is_multiple_of(3)).then_some(1 + much % 2);
        let spelled = if much.is_multiple_of(5) { Spelled::Jwt } else { Spelled::Opaque };
        let wish = Wish {
            name: "n".to_owned(),
            ttl_seconds: Some(span),
            max_uses: uses,
            spelled,
            ..Wish::default()
        };
        let plan = pats::plan(wish).unwrap();
        let fresh = self.draws.fresh();
        let (id, active) = self.users[user];
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        let minted = self.rows.change(self.now * 1000, |txn| {
            pats::mint_for(txn, terms, &root(Right::MintForOthers), id, plan, &fresh)
        });
        assert_eq!(minted.is_ok(), active);
        if let Ok(minted) = minted {
            self.keep(&minted, user, span, uses, spelled);
        }
    }

    fn keep(&mut self, minted: &Minted, user: usize, span: u64, uses: Option<u64>, spelled: Spelled) {
        self.tokens.push(Known {
            id: minted.token.id,
            text: minted.secret.expose().to_owned(),
            user,
            span,
            end: self.now + span,
            revoked: false,
            on: true,
            uses_left: uses,
            uses,
            spelled,
        });
    }

    /// Whether a token counts, by the model.
    fn counts(&self, token: &Known) -> bool {
        self.users[token.user].1
            && !token.revoked
            && token.on
            && self.now < token.end
            && token.uses_left != Some(0)
    }

    fn picked(&self, whom: usize) -> Option<usize> {
        (!self.tokens.is_empty()).then(|| whom % self.tokens.len())
    }

    fn asking(&self) -> Asking<'static> {
        Asking { now: Time::from_unix(self.now), from: None, kinds: &CredentialKind::ALL, noted: None }
    }

    fn use_up(&mut self, whom: usize) {
        let Some(at) = self.picked(whom) else { return };
        let presented = Presented::bearer(&self.tokens[at].text, &self.keyring, &self.services).unwrap();
        let asking = self.asking();
        let used =
            self.rows.change(self.now * 1000, |txn| verify::count_use(txn, &presented, &asking, &|_| Ok(())));
        assert_eq!(used.is_ok(), self.counts(&self.tokens[at]));
        if used.is_ok() {
            let left = &mut self.tokens[at].uses_left;
            *left = left.map(|left| left - 1);
        }
    }

    fn rotate(&mut self, whom: usize, overlap: u64) {
        let Some(at) = self.picked(whom) else { return };
        let fresh = self.draws.fresh();
        let id = self.tokens[at].id;
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        let rotated = self.rows.change(self.now * 1000, |txn| {
            pats::rotate(txn, terms, &root(Right::ChangeOwn), id, Some(overlap), &fresh)
        });
        assert_eq!(rotated.is_ok(), self.counts(&self.tokens[at]), "{rotated:?}");
        let Ok(minted) = rotated else { return };
        let old = &mut self.tokens[at];
        if overlap == 0 {
            old.revoked = true;
        } else {
            old.end = old.end.min(self.now + overlap);
        }
        let (user, span, uses, spelled) = (old.user, old.span, old.uses, old.spelled);
        self.keep(&minted, user, span, uses, spelled);
    }

    fn revoke(&mut self, whom: usize) {
        let Some(at) = self.picked(whom) else { return };
        let id = self.tokens[at].id;
        let revoked = self.rows.change(self.now * 1000, |txn| pats::revoke(txn, &root(Right::OwnTokens), id));
        revoked.unwrap();
        self.tokens[at].revoked = true;
    }

    fn switch(&mut self, whom: usize, on: bool) {
        let Some(at) = self.picked(whom) else { return };
        let id = self.tokens[at].id;
        let change = pats::Change { enabled: Some(on), ..pats::Change::default() };
        let switched =
            self.rows.change(self.now * 1000, |txn| pats::update(txn, &root(Right::ChangeOwn), id, change));
        if switched.is_ok() {
            self.tokens[at].on = on;
        }
    }

    fn activate(&mut self, user: usize, active: bool) {
        let id = self.users[user].0;
        let change = users::Change { active: Some(active), ..users::Change::default() };
        let changed: Result<_, Refusal> = self
            .rows
            .change(self.now * 1000, |txn| users::update(txn, &root(Right::Administrate), id, change));
        changed.unwrap();
        self.users[user].1 = active;
    }

    /// Every token counts exactly when the model says so, and for nobody but its owner.
    fn judge(&self) {
        for token in &self.tokens {
            let presented = Presented::bearer(&token.text, &self.keyring, &self.services).unwrap();
            let good = verify::verify(&self.rows, &presented, &self.asking());
            assert_eq!(good.is_ok(), self.counts(token), "{:?}", good.err());
            if let Ok(good) = good {
                assert_eq!(good.identity.user(), Some(self.users[token.user].0));
                assert_eq!(good.identity.token, Some(token.id));
            }
        }
    }
}
