//! Random lives of a whole daemon, against a model that is too plain to be wrong.
//!
//! A life is a sequence of requests by anybody to anything: setup, users, sessions, PATs, service secrets,
//! enrolments, hosts, clients, links, cookies, previews; of time passing, reloads, rotated and dropped keys,
//! purges, restarts and kills. The daemon is started as it is started, on files of its own, and asked through its
//! router. Every answer is what the model says; and after every step so is what every token, cookie and secret
//! that was ever handed out is worth, what lists show of each, and the audit log.
//!
//! `BEARERD_LIVES` says how many lives; without it there are few.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{prelude::ProptestConfig, test_runner::TestRunner};

mod check;
mod fleet;
mod house;
mod late;
mod operate;
mod people;
mod plain;
mod set_back;
mod step;

use house::{Body, House, Shows, Told};
use plain::{GROUPS, Line, Model, Power, Service, Setup, User};
use step::{SECRETS, SPANS, Step, Who, Wish, childhood, life};

/// When lives begin, in seconds.
const NOW: u64 = 1_800_000_000;
/// Lives where `BEARERD_LIVES` does not say otherwise.
const LIVES: u32 = 32;
const PASSWORDS: [&str; 2] = ["correct horse battery staple", "troubadour and three more words"];

/// A daemon and what is expected of it.
struct World {
    house: House,
    model: Model,
    /// The number of the newest entry that was looked at.
    seen: u64,
    /// The names of keys that were made so far.
    keys_made: u32,
}

/// Somebody who asks.
#[derive(Clone, Debug)]
enum Caller {
    Socket,
    Nobody,
    Token(usize, String),
    Secret(u8, String),
}

impl Caller {
    fn shows(&self) -> Shows<'_> {
        match self {
            Self::Socket => Shows::Socket,
            Self::Nobody => Shows::Nothing,
            Self::Token(_, text) | Self::Secret(_, text) => Shows::Bearer(text),
        }
    }
}

impl World {
    /// A daemon after its first start: one service, an install token, nobody else.
    fn new() -> Self {
        let mut house = House::new(NOW);
        let service = Service { configured: true, groups: 1, secrets: [0].into(), user: 0 };
        write_configuration(&house, &service);
        let text = house.start().expect("an install token at the first start");
        let mut model = Model {
            now: NOW,
            users: Vec::new(),
            tokens: Vec::new(),
            hosts: Vec::new(),
            clients: Vec::new(),
            cookies: Vec::new(),
            projects: [None; 2],
            keys: house.app().snapshot().keyring.ids().map(ToString::to_string).collect(),
            service,
            setup: Setup::default(),
            hold: None,
            refusals: std::collections::BTreeSet::new(),
            log: vec!["service.update", "install.mint"],
        };
        let listed = house.ask(Shows::Socket, "GET", "/v1/users?limit=5", Body::None);
        let shown = &listed.json["items"][0];
        model.users.push(User {
            id: text_of(shown, "id"),
            email: text_of(shown, "email"),
            groups: GROUPS[1].iter().map(ToString::to_string).collect(),
            active: true,
            password: None,
            epoch: 0,
            service: true,
        });
        let token = model.blank(crate::token::Kind::Install, &text, plain::Owner::Nobody, None);
        model.setup.token = Some(model.keep(token));
        Self { house, model, seen: 0, keys_made: 0 }
    }

    fn take(&mut self, step: Step) {
        self.take_of_people(step);
        self.take_of_fleet(step);
        self.take_of_operators(step);
    }

    /// Who that is at this moment.
    fn caller(&self, who: Who) -> Caller {
        let sessions = |token: &plain::Token| token.kind == crate::token::Kind::Session;
        let found = match who {
            Who::Socket => return Caller::Socket,
            Who::Secret(number) => return Caller::Secret(number, secret(number)),
            Who::Session(back) => self.pick_token(back, sessions),
            Who::Token(back) => self.pick_token(back, |_| true),
        };
        found.map_or(Caller::Nobody, |at| Caller::Token(at, self.model.tokens[at].text.clone()))
    }

    /// One of the tokens of which that holds, counted from the newest; one of which somebody was told the text.
    fn pick_token(&self, back: usize, is_one: impl Fn(&plain::Token) -> bool) -> Option<usize> {
        let tokens = &self.model.tokens;
        let fit: Vec<usize> = (0..tokens.len())
            .rev()
            .filter(|at| !tokens[*at].text.is_empty() && is_one(&tokens[*at]))
            .collect();
        (!fit.is_empty()).then(|| fit[back % fit.len()])
    }

    /// Presents a token as a bearer for something that it `may` do: what comes of it, and what that does to the
    /// token. What it may not do is no use of it where uses are counted.
    fn present(&mut self, at: usize, inside: bool, may: bool) -> bool {
        let good = self.model.verdict(&self.model.tokens[at], inside).is_ok();
        let now = self.model.now;
        let token = &mut self.model.tokens[at];
        if good && (may || token.uses_max.is_none()) {
            token.noted = Some(now);
            token.uses += u64::from(token.uses_max.is_some());
        }
        good
    }

    /// The status with which a caller is turned away from a route on that line of the table, if it is.
    fn turned_away(&mut self, caller: &Caller, line: Line) -> Option<u16> {
        let may = match caller {
            Caller::Nobody => return Some(401),
            Caller::Socket => line != Line::HostCredentials,
            Caller::Token(at, _) => {
                let may = self.model.may(&self.model.tokens[*at], line);
                if !self.present(*at, false, may) {
                    return Some(401);
                }
                may
            }
            Caller::Secret(number, _) => {
                let service = &self.model.service;
                if !service.configured || !service.secrets.contains(number) {
                    return Some(401);
                }
                let power = self.model.users[service.user].power().max(Power::Introspect);
                match line {
                    Line::Itself | Line::OwnTokens => true,
                    Line::OwnPats | Line::HostCredentials => false,
                    Line::ForAnother | Line::Everything => power == Power::Administrate,
                    Line::Operating => power >= Power::Operate,
                }
            }
        };
        (!may).then_some(403)
    }

    /// The user a caller is, with good credentials.
    fn user_of(&self, caller: &Caller) -> Option<usize> {
        match caller {
            Caller::Socket | Caller::Nobody => None,
            Caller::Token(at, _) => match self.model.tokens[*at].owner {
                plain::Owner::User(user) => Some(user),
                plain::Owner::Host(_) | plain::Owner::Client(_) | plain::Owner::Nobody => None,
            },
            Caller::Secret(..) => Some(self.model.service.user),
        }
    }

    /// Whether a caller who was let through sees the tokens of everybody.
    fn sees_all(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Socket => true,
            Caller::Nobody => false,
            Caller::Token(at, _) => self.model.power(&self.model.tokens[*at]) == Power::Administrate,
            Caller::Secret(..) => self.model.users[self.model.service.user].power() == Power::Administrate,
        }
    }

    /// Asks, and expects that status.
    #[track_caller]
    fn expect(&self, status: u16, caller: &Caller, method: &str, path: &str, body: Body) -> Told {
        let told = self.house.ask(caller.shows(), method, path, body);
        assert_eq!(told.status, status, "{method} {path} by {caller:?}: {}", told.json);
        told
    }
}

fn text_of(value: &serde_json::Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

fn secret(number: u8) -> String {
    format!("secret-number-{number}-of-the-one-service-there-is")
}

fn write_configuration(house: &House, service: &Service) {
    let mut text = "[tokens]\npurge_after = \"2d\"\n[limits]\nfailed_logins_per_minute = 0\n".to_owned();
    if service.configured {
        let groups = serde_json::json!(GROUPS[service.groups]);
        text = format!("{text}[services.cron]\nsecret_file = \"cron.secret\"\ngroups = {groups}\n");
    }
    house.write("bearerd.toml", &text);
    let secrets: Vec<String> = service.secrets.iter().map(|number| secret(*number)).collect();
    house.write("cron.secret", &(secrets.join("\n") + "\n"));
}

fn lives() -> u32 {
    std::env::var("BEARERD_LIVES").ok().map_or(LIVES, |lives| lives.parse().unwrap())
}

#[test]
fn whatever_anybody_does_the_daemon_and_the_model_agree() {
    let config = ProptestConfig { cases: lives(), max_shrink_iters: 4_000, ..ProptestConfig::default() };
    let actions = RefCell::new(BTreeMap::<&str, u64>::new());
    let outcome = TestRunner::new(config).run(&life(), |(settled, life)| {
        let mut world = World::new();
        for step in childhood(settled) {
            world.take(step);
        }
        world.check();
        for step in life {
            world.take(step);
            world.check();
        }
        for action in world.conclude() {
            *actions.borrow_mut().entry(action).or_default() += 1;
        }
        Ok(())
    });
    println!("{:?}", actions.borrow());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
