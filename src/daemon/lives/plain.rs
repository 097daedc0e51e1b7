//! What a daemon holds, as the contract has it and as plainly as it can be said: no rows, no indexes, no keys.

use std::collections::BTreeSet;

use crate::{records::token::State, rules::Reason, token::Kind};

pub(super) const DAY: u64 = 86_400;
pub(super) const PURGE_AFTER: u64 = 2 * DAY;
const IDLE: u64 = 3_600;
const COOKIE: u64 = 30 * DAY;
const REPLY: u64 = 600;

/// Groups that users are put in.
pub(super) const GROUPS: [&[&str]; 4] = [&[], &["operator"], &["admin"], &["admin", "operator", "staff"]];
/// Scopes, and how far they reach.
pub(super) const SCOPES: [(&str, Power); 5] = [
    ("general", Power::None),
    ("bootstrap-analyst x", Power::None),
    ("introspect", Power::Introspect),
    ("a operator", Power::Operate),
    ("admin", Power::Administrate),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Power {
    None,
    Introspect,
    Operate,
    Administrate,
}

/// What a route asks of its caller: the lines of the contract's table that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Itself,
    OwnTokens,
    OwnPats,
    ForAnother,
    Everything,
    Operating,
    HostCredentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    User(usize),
    Host(usize),
    Client(usize),
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) groups: Vec<String>,
    pub(super) active: bool,
    pub(super) password: Option<u8>,
    pub(super) epoch: u64,
    pub(super) service: bool,
}

impl User {
    pub(super) fn power(&self) -> Power {
        let is_in = |name: &str| self.groups.iter().any(|group| group == name);
        match (is_in("admin"), is_in("operator")) {
            (true, _) => Power::Administrate,
            (false, true) => Power::Operate,
            (false, false) => Power::None,
        }
    }

    pub(super) fn end_sessions(&mut self, now: u64) {
        self.epoch = now.max(self.epoch + 1);
    }

    pub(super) fn administrates(&self) -> bool {
        self.active && !self.service && self.power() == Power::Administrate
    }
}

/// Sealed credentials: the key they are under, and what they say.
pub(super) type Sealed = Option<(String, u64)>;

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "plain beats clever here")]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// Empty where nobody was ever told.
    pub(super) text: String,
    pub(super) owner: Owner,
    pub(super) created: u64,
    pub(super) end: Option<u64>,
    pub(super) revoked: Option<u64>,
    pub(super) consumed: Option<u64>,
    /// Last use in memory, and on the disk.
    pub(super) noted: Option<u64>,
    pub(super) stored: Option<u64>,
    pub(super) gone: bool,
    // A PAT's.
    pub(super) on: bool,
    pub(super) scope: usize,
    pub(super) span: Option<u64>,
    pub(super) uses_max: Option<u64>,
    pub(super) uses: u64,
    pub(super) inside_only: bool,
    pub(super) jwt: Option<String>,
    // A session's.
    pub(super) epoch: u64,
    // An enrolment's.
    pub(super) pinned: Option<u8>,
    pub(super) sealed: Sealed,
    /// Who redeemed it with which attempt, and the agent token that came of it.
    pub(super) redeemed: Option<Redeemed>,
    // A link's.
    pub(super) single: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Redeemed {
    pub(super) hostname: u8,
    pub(super) attempt: Option<u8>,
    pub(super) agent: usize,
    /// Whether the reply is kept, to be told again.
    pub(super) kept: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) id: String,
    pub(super) name: u8,
    pub(super) there: bool,
    pub(super) sealed: Sealed,
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) active: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Cookie {
    pub(super) text: String,
    pub(super) link: usize,
    pub(super) issued: u64,
    pub(super) key: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Project {
    pub(super) client: usize,
    pub(super) preview_client: Option<usize>,
    pub(super) preview_link: Option<usize>,
}

/// What the configuration says of the one service, and its user.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) configured: bool,
    pub(super) groups: usize,
    pub(super) secrets: BTreeSet<u8>,
    pub(super) user: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    pub(super) completed: bool,
    pub(super) reopened: bool,
    pub(super) token: Option<usize>,
}

impl Setup {
    pub(super) fn pending(&self) -> bool {
        !self.completed || self.reopened
    }
}

/// Why whoever wants to enrol may, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Live,
    Again,
    Refused(Reason),
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) users: Vec<User>,
    pub(super) tokens: Vec<Token>,
    pub(super) hosts: Vec<Host>,
    pub(super) clients: Vec<Client>,
    pub(super) cookies: Vec<Cookie>,
    pub(super) projects: [Option<Project>; 2],
    /// The current key is the last.
    pub(super) keys: Vec<String>,
    pub(super) service: Service,
    pub(super) setup: Setup,
    /// Until when the purge stands still, and when it last looked at the clock.
    pub(super) hold: Option<(u64, u64)>,
    /// Refusals that wait to be written: action, why, and which token.
    pub(super) refusals: BTreeSet<(&'static str, &'static str, Option<usize>)>,
    pub(super) log: Vec<&'static str>,
}

impl Model {
    pub(super) fn key(&self) -> String {
        self.keys.last().unwrap().clone()
    }

    /// A token with nothing but what every token has.
    pub(super) fn blank(&self, kind: Kind, text: &str, owner: Owner, span: Option<u64>) -> Token {
        let id = if text.contains('.') { "" } else { text.get(8..34).unwrap_or_default() };
        Token {
            kind,
            id: format!("token_{id}"),
            text: text.to_owned(),
            owner,
            created: self.now,
            end: span.map(|span| self.now + span),
            revoked: None,
            consumed: None,
            noted: None,
            stored: None,
            gone: false,
            on: true,
            scope: 0,
            span,
            uses_max: None,
            uses: 0,
            inside_only: false,
            jwt: None,
            epoch: 0,
            pinned: None,
            sealed: None,
            redeemed: None,
            single: false,
        }
    }

    pub(super) fn keep(&mut self, token: Token) -> usize {
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    /// The state that its own row gives a token.
    fn own_state(&self, token: &Token) -> State {
        let rules = [
            (token.revoked.is_some(), State::Revoked),
            (token.consumed.is_some(), State::Consumed),
            (token.end.is_some_and(|end| self.now >= end), State::Expired),
            (token.uses_max == Some(token.uses), State::Exhausted),
            (!token.on, State::Disabled),
        ];
        rules.into_iter().find(|(holds, _)| *holds).map_or(State::Active, |(_, state)| state)
    }

    /// When it was revoked: by itself, or with all sessions that its user had.
    pub(super) fn revoked_at(&self, token: &Token) -> Option<u64> {
        let Owner::User(user) = token.owner else { return token.revoked };
        let epoch = self.users[user].epoch;
        let ended = token.kind == Kind::Session && token.epoch != epoch;
        token.revoked.or(ended.then_some(epoch.max(token.created)))
    }

    fn last_use(token: &Token) -> u64 {
        [token.noted, token.stored].into_iter().flatten().fold(token.created, u64::max)
    }

    fn session_over(&self, token: &Token) -> Option<Reason> {
        let Owner::User(user) = token.owner else { return None };
        let (is_one, epoch) = (token.kind == Kind::Session, self.users[user].epoch);
        if is_one && token.epoch != epoch {
            return Some(Reason::SessionEnded);
        }
        (is_one && self.now - Self::last_use(token) >= IDLE).then_some(Reason::Idle)
    }

    /// The state that lists show.
    pub(super) fn state(&self, token: &Token) -> State {
        let state = self.own_state(token);
        let user = match token.owner {
            Owner::User(user) => user,
            Owner::Client(client) if state == State::Active && !self.clients[client].active => {
                return State::Disabled;
            }
            Owner::Client(_) | Owner::Host(_) | Owner::Nobody => return state,
        };
        match (state, self.session_over(token)) {
            (State::Active, Some(Reason::Idle)) => State::Expired,
            (State::Active, Some(_)) => State::Revoked,
            (State::Active, None) if !self.users[user].active => State::Disabled,
            (state, _) => state,
        }
    }

    /// What a token is worth as a bearer.
    pub(super) fn verdict(&self, token: &Token, inside: bool) -> Result<(), Reason> {
        let is_bearer = matches!(token.kind, Kind::Session | Kind::Pat | Kind::Agent);
        let uncounted = Token { uses_max: None, ..token.clone() };
        let state = self.own_state(&uncounted);
        let owner = match token.owner {
            Owner::User(user) if !self.users[user].active => Some(Reason::OwnerInactive),
            Owner::Host(host) if !self.hosts[host].there => Some(Reason::OwnerGone),
            Owner::User(_) | Owner::Host(_) | Owner::Client(_) | Owner::Nobody => None,
        };
        let rules = [
            token.jwt.as_ref().filter(|key| !self.keys.contains(key)).map(|_| Reason::Unknown),
            token.gone.then_some(Reason::Unknown),
            (!is_bearer).then_some(Reason::Kind),
            Reason::of_state(state),
            owner,
            self.session_over(token),
            (token.inside_only && !inside).then_some(Reason::Address),
            Reason::of_state(self.own_state(token)),
        ];
        rules.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    /// How far the rights of a good bearer reach.
    pub(super) fn power(&self, token: &Token) -> Power {
        match (token.kind, token.owner) {
            (Kind::Session, Owner::User(user)) => self.users[user].power(),
            (Kind::Pat, Owner::User(user)) => self.users[user].power().min(SCOPES[token.scope].1),
            _ => Power::None,
        }
    }

    /// Whether a good bearer may, by the contract's table.
    pub(super) fn may(&self, token: &Token, line: Line) -> bool {
        let (session, pat) = (token.kind == Kind::Session, token.kind == Kind::Pat);
        match line {
            Line::Itself => true,
            Line::OwnTokens => session || pat,
            Line::OwnPats => session,
            Line::ForAnother => session && self.power(token) == Power::Administrate,
            Line::Everything => self.power(token) == Power::Administrate,
            Line::Operating => self.power(token) >= Power::Operate,
            Line::HostCredentials => token.kind == Kind::Agent,
        }
    }

    /// Whether a link admits.
    pub(super) fn door(&self, link: &Token) -> Result<(), Reason> {
        let Owner::Client(client) = link.owner else { return Err(Reason::Kind) };
        if link.gone {
            return Err(Reason::Unknown);
        }
        Reason::of_state(self.own_state(link)).map_or(Ok(()), Err)?;
        if self.clients[client].active { Ok(()) } else { Err(Reason::OwnerInactive) }
    }

    /// What a portal cookie is worth.
    pub(super) fn cookie(&self, cookie: &Cookie) -> Result<(), Reason> {
        let link = &self.tokens[cookie.link];
        let Owner::Client(client) = link.owner else { unreachable!("a link's owner is a client") };
        let rules = [
            (!self.keys.contains(&cookie.key), Reason::Signature),
            (self.now >= cookie.issued + COOKIE, Reason::Expired),
            (link.gone, Reason::Unknown),
            (link.revoked.is_some(), Reason::Revoked),
            (link.end.is_some_and(|end| self.now >= end), Reason::Expired),
            (!self.clients[client].active, Reason::OwnerInactive),
        ];
        rules.into_iter().find(|(refuses, _)| *refuses).map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// What an enrolment token is worth to a host of that name with that attempt.
    pub(super) fn standing(&self, token: &Token, hostname: u8, attempt: Option<u8>) -> Standing {
        if token.gone {
            return Standing::Refused(Reason::Unknown);
        }
        if token.kind != Kind::Enrollment {
            return Standing::Refused(Reason::Kind);
        }
        match (self.own_state(token), token.redeemed) {
            (State::Consumed, Some(redeemed)) => {
                let same = redeemed.kept && redeemed.attempt == attempt && redeemed.hostname == hostname;
                let agent = &self.tokens[redeemed.agent];
                let Owner::Host(host) = agent.owner else { unreachable!("an agent token's owner is a host") };
                let unused = agent.noted.is_none() && agent.stored.is_none();
                let alive = !agent.gone && self.own_state(agent) == State::Active && self.hosts[host].there;
                let in_time = token.consumed.is_some_and(|at| self.now < at + REPLY);
                match (same, unused && alive && in_time) {
                    (false, _) => Standing::Refused(Reason::Replayed),
                    (true, false) => Standing::Refused(Reason::Consumed),
                    (true, true) => Standing::Again,
                }
            }
            (State::Active, _) if token.pinned.is_some_and(|only| only != hostname) => {
                Standing::Refused(Reason::Hostname)
            }
            (State::Active, _) => Standing::Live,
            (state, _) => Standing::Refused(Reason::of_state(state).unwrap()),
        }
    }

    /// Ends an enrolment, or the reply of one that was consumed. Whether anything changed.
    pub(super) fn end_enrollment(&mut self, at: usize) -> bool {
        let token = &mut self.tokens[at];
        match &mut token.redeemed {
            Some(redeemed) if token.revoked.is_none() => core::mem::take(&mut redeemed.kept),
            _ => self.revoke(at),
        }
    }

    /// Ends a token now; one that was ended already, by itself or with others, stays as it is. Whether anything
    /// changed.
    pub(super) fn revoke(&mut self, at: usize) -> bool {
        let (now, ended) = (self.now, self.revoked_at(&self.tokens[at]).is_some());
        let token = &mut self.tokens[at];
        if token.gone || ended {
            return false;
        }
        token.revoked = Some(now);
        token.sealed = None;
        true
    }

    /// Lets a token live for the overlap only.
    pub(super) fn retire(&mut self, at: usize, overlap: u64) {
        let end = self.now + overlap;
        let token = &mut self.tokens[at];
        if overlap == 0 {
            token.revoked = Some(self.now);
        } else {
            token.end = Some(token.end.map_or(end, |own| own.min(end)));
        }
    }

    /// The agent tokens of a host that nobody ended yet.
    pub(super) fn agents(&self, host: usize) -> Vec<usize> {
        let is_one = |token: &Token| token.kind == Kind::Agent && token.owner == Owner::Host(host);
        let left = |at: &usize| {
            let token = &self.tokens[*at];
            is_one(token) && !token.gone && token.revoked.is_none()
        };
        (0..self.tokens.len()).filter(left).collect()
    }

    /// Whether a token is past its end.
    pub(super) fn is_over(&self, at: usize) -> bool {
        self.own_state(&self.tokens[at]) == State::Expired
    }

    /// Whether something needs a key other than cookies.
    pub(super) fn needs(&self, key: &str) -> bool {
        let under = |sealed: &Sealed| sealed.as_ref().is_some_and(|(own, _)| own == key);
        let alive = |token: &Token| {
            token.revoked.is_none() && token.end.is_none_or(|end| end > self.now) && !token.gone
        };
        self.hosts.iter().any(|host| under(&host.sealed))
            || self.tokens.iter().any(|token| under(&token.sealed) && !token.gone)
            || self.tokens.iter().any(|token| token.jwt.as_deref() == Some(key) && alive(token))
    }

    /// The timers' question whether the purge may run; notices that the clock has jumped.
    fn may_purge(&mut self) -> bool {
        let now = self.now;
        let Some((until, seen)) = self.hold else {
            self.hold = Some((now, now));
            return true;
        };
        let jumped = now - seen > DAY;
        let until_now = if jumped { now + DAY } else { until };
        if jumped || now - seen >= 3_600 {
            self.hold = Some((until_now, now));
        }
        until_now <= now
    }

    /// One step of the purge; how many rows go.
    pub(super) fn purge(&mut self) -> u64 {
        if !self.may_purge() {
            return 0;
        }
        let long_dead: Vec<usize> = (0..self.tokens.len()).filter(|at| self.is_long_dead(*at)).collect();
        for at in &long_dead {
            self.tokens[*at].gone = true;
            self.tokens[*at].sealed = None;
        }
        if !long_dead.is_empty() {
            self.log.push("token.purge");
        }
        long_dead.len() as u64
    }

    fn is_long_dead(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        if token.gone || self.setup.token == Some(at) {
            return false;
        }
        // Only what has reached the disk counts as a use here.
        let exhausted =
            (self.own_state(token) == State::Exhausted).then(|| token.stored.unwrap_or(0).max(token.created));
        let consumed = token.consumed.map(|at| if token.kind == Kind::Link { at + COOKIE } else { at });
        let died = [token.revoked, token.end, consumed, exhausted].into_iter().flatten().min();
        died.is_some_and(|died| died <= self.now && died + PURGE_AFTER <= self.now)
    }

    /// What a clean stop brings to the disk.
    pub(super) fn flush(&mut self) {
        for token in self.tokens.iter_mut().filter(|token| !token.gone) {
            token.stored = token.noted.take().or(token.stored);
        }
        let refused = std::mem::take(&mut self.refusals);
        self.log.extend(refused.into_iter().map(|(action, _, _)| action));
    }

    /// What a kill leaves of it.
    pub(super) fn crash(&mut self) {
        self.tokens.iter_mut().for_each(|token| token.noted = None);
        self.refusals.clear();
    }
}
