//! Sequences of operations on sessions, enrolments, hosts and portal links: each credential counts exactly when a
//! model says so, what is refused leaves no entry, and what is changed leaves one.

use bearerd::records::meta::AuditHead;
use bearerd::records::token::LastUsed;
use bearerd::records::user::PasswordHash;
use bearerd::records::{Time, Txn};
use bearerd::rules::access::{Caller, Right, Who};
use bearerd::rules::clients::{self, NewClient};
use bearerd::rules::enrollment::{self, FreshHost, Joining, Proof, Statement, Wanted, Wish};
use bearerd::rules::links::{self, NewLink};
use bearerd::rules::portal::{self, Followed};
use bearerd::rules::tokens::Minted;
use bearerd::rules::users::{self, NewUser};
use bearerd::rules::verify::{self, Asking, Good, Presented};
use bearerd::rules::{Refusal, Terms, hosts, sessions};
use bearerd::settings::{CredentialKind, Settings};
use bearerd::token::{ClientId, HostId, KeyId, Keyring, Secret, ServiceSecrets, TokenId, UserId};
use serde_json::{Map, Value};

use super::ground::{Draws, keyring, no_services, operator, root};
use super::stored::{Rows, STORE_ID};

const BEGIN: u64 = 1_800_000_000;
const STEPS_MAX: usize = 48;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// The first and the third are one name.
const HOSTNAMES: [&str; 4] = ["web1", "web2", "WEB1", "db"];
const ATTEMPTS: [Option<&str>; 3] =
    [None, Some("attempt-of-22-characters"), Some("another-attempt,which-is-longer")];
const KEYS_MAX: usize = 4;

struct Person {
    id: UserId,
    active: bool,
    epoch: u64,
}

struct Session {
    id: TokenId,
    text: String,
    person: usize,
    epoch: u64,
    end: u64,
    ended: bool,
    last: u64,
}

struct Enrolment {
    id: TokenId,
    text: String,
    pinned: Option<usize>,
    carries: Option<String>,
    end: u64,
    revoked: bool,
    redeemed: Option<Redeemed>,
}

#[derive(Clone, Copy)]
struct Redeemed {
    at: u64,
    name: usize,
    attempt: usize,
    host: usize,
    agent: usize,
}

struct Host {
    id: HostId,
    name: usize,
    there: bool,
    credentials: Option<String>,
}

struct Agent {
    id: TokenId,
    text: String,
    host: usize,
    end: Option<u64>,
    used: bool,
}

struct Client {
    id: ClientId,
    active: bool,
}

struct Link {
    id: TokenId,
    text: String,
    client: usize,
    single: bool,
    end: Option<u64>,
    revoked: bool,
    consumed: bool,
}

struct Cookie {
    text: String,
    link: usize,
    issued: u64,
}

struct World {
    rows: Rows,
    settings: Settings,
    keyring: Keyring,
    keys: usize,
    services: ServiceSecrets,
    now: u64,
    draws: Draws,
    entries: u64,
    people: Vec<Person>,
    sessions: Vec<Session>,
    enrolments: Vec<Enrolment>,
    hosts: Vec<Host>,
    agents: Vec<Agent>,
    clients: Vec<Client>,
    links: Vec<Link>,
    cookies: Vec<Cookie>,
}

/// A sequence of three bytes a step: what, on which, how much.
pub fn lives(input: &[u8]) {
    let mut world = World::new();
    for step in input.chunks_exact(3).take(STEPS_MAX) {
        world.take(step[0], usize::from(step[1]), u64::from(step[2]));
        world.judge();
    }
}

fn same_name(one: usize, other: usize) -> bool {
    HOSTNAMES[one].eq_ignore_ascii_case(HOSTNAMES[other])
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).unwrap()
}

impl World {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.sessions.ttl = 12 * HOUR;
        settings.sessions.idle = HOUR;
        let mut world = Self {
            rows: Rows::new(),
            settings,
            keyring: keyring(),
            keys: 1,
            services: no_services(),
            now: BEGIN,
            draws: Draws::default(),
            entries: 0,
            people: Vec::new(),
            sessions: Vec::new(),
            enrolments: Vec::new(),
            hosts: Vec::new(),
            agents: Vec::new(),
            clients: Vec::new(),
            links: Vec::new(),
            cookies: Vec::new(),
        };
        for name in ["a", "b"] {
            let email = format!("{name}@example.org");
            let new = NewUser { email, name: None, groups: Vec::new(), password: None, service: None };
            let id = UserId::from_parts(BEGIN * 1000, world.draws.fresh().id);
            world.change(1, |txn, _| users::create(txn, &root(Right::Administrate), id, new)).unwrap();
            world.people.push(Person { id, active: true, epoch: 0 });
        }
        for slug in ["acme", "zeta"] {
            let (random, new) = (world.draws.fresh().id, NewClient::judge(slug, slug).unwrap());
            let made = world.change(1, |txn, _| clients::create(txn, &operator(), random, new)).unwrap();
            world.clients.push(Client { id: made.id, active: true });
        }
        world
    }

    /// Runs a rule, which must leave `entries` entries if it does something.
    fn change<T>(
        &mut self,
        entries: u64,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let terms = Terms { settings: &self.settings, keyring: &self.keyring };
        let done = self.rows.change(self.now * 1000, |txn| rule(txn, terms));
        self.entries += if done.is_ok() { entries } else { 0 };
        assert_eq!(AuditHead::of(&self.rows).unwrap().seq, self.entries, "an entry for each change");
        done
    }

    fn take(&mut self, what: u8, which: usize, much: u64) {
        match what % 18 {
            0 => self.log_in(which % 2, much),
            1 => self.use_session(which),
            2 => self.end_session(which),
            3 => self.change_person(which % 2, much),
            4 => self.mint_enrolment(which, much),
            5 | 6 => self.redeem(which, much as usize),
            7 => self.revoke_enrolment(which),
            8 => self.use_agent(which),
            9 => self.delete_host(which),
            10 => self.rotate_host(which, much),
            11 => self.read_credentials(which, much as usize),
            12 => self.mint_link(which % 2, much),
            13 => self.follow(which),
            14 => self.revoke_link(which),
            15 => self.change_client(which % 2, much),
            16 => self.pass(which as u64, much),
            _ => self.rotate_key(),
        }
    }

    /// Seconds, minutes, hours or days.
    fn pass(&mut self, which: u64, much: u64) {
        self.now += much * [1, 10, 60, HOUR, DAY][which as usize % 5];
    }

    fn rotate_key(&mut self) {
        if self.keys < KEYS_MAX {
            self.keys += 1;
            let id = KeyId::new(&format!("k{}", self.keys)).unwrap();
            let key = std::array::from_fn(|at| (at * self.keys) as u8);
            self.keyring = self.keyring.rotated(id, &key).unwrap();
        }
    }

    fn log_in(&mut self, person: usize, much: u64) {
        let (id, span) = (self.people[person].id, (!much.is_multiple_of(4)).then_some(much * 60));
        let fresh = self.draws.fresh();
        let opened = self.change(1, |txn, terms| {
            sessions::open_for(txn, terms, &root(Right::MintForOthers), id, span, &fresh)
        });
        assert_eq!(opened.is_ok(), self.people[person].active);
        let Ok((_, minted)) = opened else { return };
        self.sessions.push(Session {
            id: minted.token.id,
            text: minted.secret.expose().to_owned(),
            person,
            epoch: self.people[person].epoch,
            end: self.now + span.unwrap_or(12 * HOUR),
            ended: false,
            last: self.now,
        });
    }

    fn session_counts(&self, session: &Session) -> bool {
        let person = &self.people[session.person];
        let idle = self.now - session.last >= HOUR;
        person.active && person.epoch == session.epoch && !session.ended && self.now < session.end && !idle
    }

    fn use_session(&mut self, which: usize) {
        if self.sessions.is_empty() {
            return;
        }
        let at = which % self.sessions.len();
        if self.session_counts(&self.sessions[at]) {
            self.sessions[at].last = self.now;
        }
    }

    fn end_session(&mut self, which: usize) {
        if self.sessions.is_empty() {
            return;
        }
        let at = which % self.sessions.len();
        let session = &self.sessions[at];
        let over = session.ended || session.epoch != self.people[session.person].epoch;
        let (id, entries) = (session.id, u64::from(!over));
        self.change(entries, |txn, _| sessions::end(txn, &root(Right::OwnTokens), id)).unwrap();
        self.sessions[at].ended = true;
    }

    fn change_person(&mut self, person: usize, much: u64) {
        let before = &self.people[person];
        let (id, was) = (before.id, before.active);
        let change = match much % 3 {
            0 => users::Change { active: Some(false), ..users::Change::default() },
            1 => users::Change { active: Some(true), ..users::Change::default() },
            _ => users::Change {
                password: Some(PasswordHash::new(format!("hash {much}"))),
                ..users::Change::default()
            },
        };
        let active = change.active.unwrap_or(was);
        let ends = change.password.is_some() || (was && !active);
        let entries = u64::from(change.password.is_some() || active != was);
        self.change(entries, |txn, _| users::update(txn, &root(Right::Administrate), id, change)).unwrap();
        self.people[person].active = active;
        self.people[person].epoch += u64::from(ends);
    }

    fn mint_enrolment(&mut self, which: usize, much: u64) {
        let pinned = which.is_multiple_of(2).then_some(which / 2 % HOSTNAMES.len());
        let carries = much.is_multiple_of(3).then(|| format!("{{\"db\":\"secret {}\"}}", self.draws.count()));
        let wish = Wish {
            hostname: pinned.map(|name| HOSTNAMES[name].to_owned()),
            pin_hostname: pinned.is_some(),
            ttl_seconds: Some(1 + much * 60),
            credentials: carries.as_deref().and_then(object),
            ..Wish::default()
        };
        let (wanted, fresh) = (Wanted::new(&wish).unwrap(), self.draws.fresh());
        let nonce = self.nonce();
        let minted = self
            .change(1, |txn, terms| enrollment::mint(txn, terms, &operator(), wanted, &fresh, nonce))
            .unwrap();
        self.enrolments.push(Enrolment {
            id: minted.token.id,
            text: minted.secret.expose().to_owned(),
            pinned,
            carries,
            end: self.now + 1 + much * 60,
            revoked: false,
            redeemed: None,
        });
    }

    fn nonce(&mut self) -> [u8; 24] {
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&self.draws.fresh().secret[8..]);
        nonce
    }

    fn redeem(&mut self, which: usize, much: usize) {
        if self.enrolments.is_empty() {
            return;
        }
        let at = which % self.enrolments.len();
        let (name, attempt) = (much % HOSTNAMES.len(), much / HOSTNAMES.len() % ATTEMPTS.len());
        let expected = self.expected(at, name, attempt);
        let statement = Statement {
            hostname: HOSTNAMES[name].to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ..Statement::default()
        };
        let attempt_text = ATTEMPTS[attempt].map(|text| Secret::new(text.to_owned()));
        let text = Secret::new(self.enrolments[at].text.clone());
        let proof = Proof::new(text, attempt_text, HOSTNAMES[name]);
        let joining = Joining::new(statement, &proof).unwrap();
        let agent = self.draws.fresh();
        let fresh =
            FreshHost { host: self.draws.fresh().id, agent, credentials: self.nonce(), reply: self.nonce() };
        let used: Vec<TokenId> =
            self.agents.iter().filter(|agent| agent.used).map(|agent| agent.id).collect();
        let now = self.now;
        let noted =
            |token| used.contains(&token).then_some(LastUsed { token, at: Time::from_unix(now), ip: None });
        let entries = u64::from(matches!(expected, Expected::Host));
        let done = self.change(entries, |txn, terms| {
            enrollment::redeem(txn, terms, None, &proof, joining, &noted, &fresh)
        });
        match (expected, done) {
            (Expected::Host, Ok(enrolled)) => {
                let presented =
                    Presented::bearer(enrolled.agent_token.expose(), &self.keyring, &self.services);
                let id = presented.unwrap().token().unwrap();
                let redeemed =
                    Redeemed { at: now, name, attempt, host: self.hosts.len(), agent: self.agents.len() };
                let credentials = self.enrolments[at].carries.clone();
                self.hosts.push(Host { id: enrolled.host, name, there: true, credentials });
                self.keep_agent(id, enrolled.agent_token.expose(), redeemed.host);
                self.enrolments[at].redeemed = Some(redeemed);
            }
            (Expected::Again(first), Ok(enrolled)) => {
                assert_eq!(enrolled.host, self.hosts[first.host].id);
                assert_eq!(enrolled.agent_token.expose(), self.agents[first.agent].text);
            }
            (Expected::Denied, Err(Refusal::Denied(_))) | (Expected::Taken, Err(Refusal::Conflict(_))) => {}
            (expected, done) => panic!("{expected:?}, and it was {done:?}"),
        }
    }

    /// What comes of redeeming an enrolment.
    fn expected(&self, at: usize, name: usize, attempt: usize) -> Expected {
        let enrolment = &self.enrolments[at];
        if let Some(first) = enrolment.redeemed {
            let again = !enrolment.revoked
                && attempt != 0
                && attempt == first.attempt
                && same_name(name, first.name)
                && self.now < first.at + 600
                && self.agent_counts(&self.agents[first.agent])
                && !self.agents[first.agent].used;
            return if again { Expected::Again(first) } else { Expected::Denied };
        }
        let pinned_elsewhere = enrolment.pinned.is_some_and(|pinned| !same_name(pinned, name));
        if enrolment.revoked || self.now >= enrolment.end || pinned_elsewhere {
            Expected::Denied
        } else if self.hosts.iter().any(|host| host.there && same_name(host.name, name)) {
            Expected::Taken
        } else {
            Expected::Host
        }
    }

    fn keep_agent(&mut self, id: TokenId, text: &str, host: usize) {
        self.agents.push(Agent { id, text: text.to_owned(), host, end: None, used: false });
    }

    fn agent_counts(&self, agent: &Agent) -> bool {
        self.hosts[agent.host].there && agent.end.is_none_or(|end| self.now < end)
    }

    fn revoke_enrolment(&mut self, which: usize) {
        if self.enrolments.is_empty() {
            return;
        }
        let at = which % self.enrolments.len();
        let enrolment = &mut self.enrolments[at];
        let ends = match &mut enrolment.redeemed {
            // What is left of it is the reply, which is kept for an attempt.
            Some(first) if !enrolment.revoked => core::mem::take(&mut first.attempt) != 0,
            _ => !core::mem::replace(&mut enrolment.revoked, true),
        };
        let id = enrolment.id;
        self.change(u64::from(ends), |txn, _| enrollment::revoke(txn, &operator(), id)).unwrap();
    }

    fn use_agent(&mut self, which: usize) {
        if self.agents.is_empty() {
            return;
        }
        let at = which % self.agents.len();
        self.agents[at].used |= self.agent_counts(&self.agents[at]);
    }

    fn delete_host(&mut self, which: usize) {
        if self.hosts.is_empty() {
            return;
        }
        let at = which % self.hosts.len();
        let id = self.hosts[at].id;
        let deleted = self.change(1, |txn, _| hosts::delete(txn, &operator(), id));
        assert_eq!(deleted.is_ok(), self.hosts[at].there);
        self.hosts[at].there = false;
    }

    fn rotate_host(&mut self, which: usize, overlap: u64) {
        if self.hosts.is_empty() {
            return;
        }
        let at = which % self.hosts.len();
        let (id, fresh) = (self.hosts[at].id, self.draws.fresh());
        let rotated =
            self.change(1, |txn, terms| hosts::rotate(txn, terms, &operator(), id, overlap, &fresh));
        assert_eq!(rotated.is_ok(), self.hosts[at].there);
        let Ok(Minted { token, secret }) = rotated else { return };
        let end = self.now + overlap;
        for agent in self.agents.iter_mut().filter(|agent| agent.host == at) {
            agent.end = Some(agent.end.map_or(end, |own| own.min(end)));
        }
        self.keep_agent(token.id, secret.expose(), at);
    }

    /// An agent asks for the credentials of its own host, or of another.
    fn read_credentials(&mut self, which: usize, whose: usize) {
        if self.agents.is_empty() {
            return;
        }
        let agent = &self.agents[which % self.agents.len()];
        let Ok(good) = self.verified(&agent.text) else { return };
        let (own, host) = (agent.host, whose % self.hosts.len());
        let caller = Caller { who: Who::Known(Box::new(good.identity)), ip: None };
        let id = self.hosts[host].id;
        let expected = self.hosts[host].credentials.clone().filter(|_| own == host);
        let read = self.change(1, |txn, terms| hosts::read_credentials(txn, terms, &caller, id));
        let read = read.ok().map(|plain| String::from_utf8(plain.to_vec()).unwrap());
        assert_eq!(read, expected);
    }

    fn mint_link(&mut self, client: usize, much: u64) {
        let (single, days) =
            (much.is_multiple_of(2), (!much.is_multiple_of(3)).then_some(1 + much as u32 % 40));
        let new = NewLink::judge(None, days, Some("/board"), single).unwrap();
        let (id, fresh) = (self.clients[client].id, self.draws.fresh());
        let minted = self.change(1, |txn, terms| links::mint(txn, terms, &operator(), id, new, &fresh));
        assert_eq!(minted.is_ok(), self.clients[client].active);
        let Ok(Minted { token, secret }) = minted else { return };
        self.links.push(Link {
            id: token.id,
            text: secret.expose().to_owned(),
            client,
            single,
            end: days.map(|days| self.now + u64::from(days) * DAY),
            revoked: false,
            consumed: false,
        });
    }

    /// Whether a link counts, apart from whether it was consumed.
    fn link_counts(&self, link: &Link) -> bool {
        !link.revoked && link.end.is_none_or(|end| self.now < end) && self.clients[link.client].active
    }

    fn follow(&mut self, which: usize) {
        if self.links.is_empty() {
            return;
        }
        let at = which % self.links.len();
        let link = &self.links[at];
        let followed = Followed::parse(&link.text).unwrap();
        let admits = self.link_counts(link) && !link.consumed;
        let single = link.single;
        let found = portal::find(&self.rows, &followed, Time::from_unix(self.now));
        assert_eq!(found.is_ok(), admits, "what a page shows");
        let door = self.change(u64::from(single), |txn, terms| portal::redeem(txn, terms, &followed, None));
        assert_eq!(door.is_ok(), admits);
        let Ok((door, cookie)) = door else { return };
        assert_eq!((door.redirect.as_str(), door.link.id), ("/board", self.links[at].id));
        self.links[at].consumed |= single;
        self.cookies.push(Cookie { text: cookie.expose().to_owned(), link: at, issued: self.now });
    }

    fn revoke_link(&mut self, which: usize) {
        if self.links.is_empty() {
            return;
        }
        let at = which % self.links.len();
        let (id, entries) = (self.links[at].id, u64::from(!self.links[at].revoked));
        self.change(entries, |txn, _| links::revoke(txn, &operator(), id)).unwrap();
        self.links[at].revoked = true;
    }

    fn change_client(&mut self, client: usize, much: u64) {
        let (id, was, active) =
            (self.clients[client].id, self.clients[client].active, much.is_multiple_of(2));
        let change = clients::Change::judge(None, Some(active)).unwrap();
        self.change(u64::from(was != active), |txn, _| clients::update(txn, &operator(), id, change))
            .unwrap();
        self.clients[client].active = active;
    }

    fn asking(&self, noted: Option<u64>) -> Asking<'static> {
        let (now, noted) = (Time::from_unix(self.now), noted.map(Time::from_unix));
        Asking { now, from: None, kinds: &CredentialKind::ALL, noted }
    }

    fn verified(&self, text: &str) -> Result<Good, Refusal> {
        let presented = Presented::bearer(text, &self.keyring, &self.services)?;
        verify::verify(&self.rows, &presented, &self.asking(None))
    }

    /// Every credential counts exactly when the model says so, for the one it was made for, and where it was
    /// made for.
    fn judge(&self) {
        for session in &self.sessions {
            let presented = Presented::bearer(&session.text, &self.keyring, &self.services).unwrap();
            let good = verify::verify(&self.rows, &presented, &self.asking(Some(session.last)));
            assert_eq!(good.is_ok(), self.session_counts(session), "{:?}", good.err());
            if let Ok(good) = good {
                assert_eq!(good.identity.user(), Some(self.people[session.person].id));
                assert_eq!(good.identity.kind, CredentialKind::Session);
            }
        }
        for agent in &self.agents {
            let good = self.verified(&agent.text);
            assert_eq!(good.is_ok(), self.agent_counts(agent), "{:?}", good.err());
            if let Ok(good) = good {
                assert_eq!(good.identity.host(), Some(self.hosts[agent.host].id));
            }
        }
        let store_id = portal::store_id(&self.rows).unwrap();
        assert_eq!(store_id, STORE_ID);
        for cookie in &self.cookies {
            let presented = Presented::cookie(&cookie.text, &self.keyring, &store_id).unwrap();
            let good = verify::verify(&self.rows, &presented, &self.asking(None));
            let link = &self.links[cookie.link];
            let counts = self.now < cookie.issued + 30 * DAY && self.link_counts(link);
            assert_eq!(good.is_ok(), counts, "{:?}", good.err());
            assert!(self.verified(&cookie.text).is_err(), "a cookie is no bearer");
        }
        let no_bearers = self.enrolments.iter().map(|one| &one.text);
        for text in no_bearers.chain(self.links.iter().map(|link| &link.text)) {
            assert!(self.verified(text).is_err(), "neither an enrolment nor a link is a bearer");
        }
    }
}

/// What comes of redeeming an enrolment.
#[derive(Clone, Copy)]
enum Expected {
    Host,
    Again(Redeemed),
    Taken,
    Denied,
}

impl core::fmt::Debug for Expected {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Host => "a new host",
            Self::Again(_) => "the same again",
            Self::Taken => "the name is taken",
            Self::Denied => "denied",
        })
    }
}
