//! Enrolment: a host trades a one-time token for a bearer of its own and the credentials sealed for it.
//!
//! Everything that a redemption does is one transaction: the token is looked at and consumed, the host is
//! made, its agent token is minted, credentials are opened and sealed again for the host, the reply is kept,
//! the entry is written. Whatever stands in the way leaves the token unspent.
//!
//! The order in which a redemption is judged is fixed, and nothing is told to whoever has no good token:
//!
//! 1. the token, by [`judge`]: spelling, row, hash, kind, state, the name it is pinned to. Every failure is
//!    one [`Denied`], after the same reads and one attempt at opening a kept reply;
//! 2. the bounds of the other fields, by [`Joining::new`];
//! 3. whether the name is free, in the transaction itself, where the token is judged once more.

use core::net::IpAddr;

use serde_json::{Map, Value};

use super::{
    Conflict, Denied, Reason, Refusal, Terms,
    credentials::{self, Nonce, Place},
    limits,
    tokens::{self, Fresh, Minted, Noted, Row},
};
use crate::{
    records::{
        Action, Actor, By, Fault, Listed, Page, Params, Record, TableId, Time, Txn, View,
        audit::Entry,
        host::{Host, Replay, fold_hostname},
        token::{Detail, Enrollment, LastUsed, Owner, State, Token},
    },
    token::{HostId, Kind, Malformed, Secret, TokenHash, TokenId, TokenText, text},
};

mod reply;
#[cfg(test)]
pub(crate) mod tests;

/// How long an enrolment token lives where nothing is said, in seconds.
pub const TTL_SECONDS_DEFAULT: u64 = 60 * 60;
/// The longest life of an enrolment token, in seconds.
pub const TTL_SECONDS_MAX: u64 = 24 * 60 * 60;
/// How long a lost reply can be asked for again, in seconds.
pub const REPLY_SECONDS_MAX: u64 = 10 * 60;
/// The shortest attempt, in characters: 128 bits in base64.
pub const ATTEMPT_CHARS_MIN: usize = 22;
/// The longest attempt, in characters: 512 bits in base64.
pub const ATTEMPT_CHARS_MAX: usize = 86;
/// The longest name of an operating system, an architecture or an agent's version, in characters.
pub const WORD_CHARS_MAX: usize = 64;

/// What an operator asks of a new enrolment, as it was sent. Not to be printed: credentials are in it.
#[derive(Default)]
pub struct Wish {
    /// The name that is expected.
    pub hostname: Option<String>,
    /// Whether it is the only one that the token enrols.
    pub pin_hostname: bool,
    /// Tags of the host to be.
    pub tags: Vec<String>,
    /// How long the token lives.
    pub ttl_seconds: Option<u64>,
    /// What the host will be able to fetch.
    pub credentials: Option<Map<String, Value>>,
    /// Facts of the host to be.
    pub facts: Option<Map<String, Value>>,
}

/// A new enrolment within its bounds.
#[derive(Debug)]
pub struct Wanted {
    detail: Enrollment,
    ttl_seconds: u64,
    credentials: Option<Secret>,
}

impl Wanted {
    /// Judges the fields.
    pub fn new(wish: &Wish) -> Result<Self, Refusal> {
        let ttl_seconds = wish.ttl_seconds.unwrap_or(TTL_SECONDS_DEFAULT);
        if !(1..=TTL_SECONDS_MAX).contains(&ttl_seconds) {
            return Err(Refusal::invalid("ttl_seconds", format!("must be 1 to {TTL_SECONDS_MAX}")));
        }
        let hostname = wish.hostname.as_deref().map(|name| limits::hostname("hostname", name)).transpose()?;
        if wish.pin_hostname && hostname.is_none() {
            return Err(Refusal::Missing("hostname"));
        }
        let detail = Enrollment {
            hostname,
            pin_hostname: wish.pin_hostname,
            tags: limits::tags("tags", &wish.tags)?,
            facts: wish.facts.as_ref().map(facts_text).transpose()?,
            host: None,
        };
        let credentials =
            wish.credentials.as_ref().map(|given| credentials::text("credentials", given)).transpose()?;
        Ok(Self { detail, ttl_seconds, credentials })
    }
}

/// Mints an enrolment token, with its credentials sealed.
pub fn mint(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    wanted: Wanted,
    fresh: &Fresh,
    nonce: Nonce,
) -> Result<Minted, Refusal> {
    let prefix = &terms.settings.tokens.prefix;
    let mut minted =
        tokens::blank(txn, prefix, Kind::Enrollment, Owner::Nobody, Some(wanted.ttl_seconds), fresh);
    let params = Params::none()
        .with("hostname", wanted.detail.hostname.clone())
        .with("pin_hostname", wanted.detail.pin_hostname)
        .with("tags", wanted.detail.tags.clone())
        .with("ttl_seconds", wanted.ttl_seconds)
        .with("credentials", wanted.credentials.is_some());
    minted.token.detail = Detail::Enrollment(Box::new(wanted.detail));
    txn.entry(by, Action::EnrollmentCreate, minted.token.id, params)?;
    if let Some(plain) = wanted.credentials {
        credentials::put(txn, terms, &Place::of_enrollment(&minted.token), plain.expose().as_bytes(), nonce)?;
    }
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// One page of the enrolments, newest first.
pub fn list(view: &dyn View, now: Time, page: &Page) -> Result<Listed<Row>, Refusal> {
    let prefix = Kind::Enrollment.tag().as_bytes();
    let listed = tokens::by_index(view, TableId::TokensByKind, prefix, page, &mut |token| {
        // Nobody presents an enrolment token as a bearer, so that none has a last use.
        if detail(&token).is_some() { tokens::row(view, token, now, &|_| None).map(Some) } else { Ok(None) }
    })?;
    Ok(listed)
}

/// What an enrolment token carries over.
pub fn detail(token: &Token) -> Option<&Enrollment> {
    match &token.detail {
        Detail::Enrollment(detail) => Some(detail),
        Detail::Plain | Detail::Session { .. } | Detail::Link(_) => None,
    }
}

/// Ends an enrolment and removes its credentials. One that was consumed stays so, and its host stays; but what is left
/// of it ends: its reply is told no more. One that is revoked stays as it is.
pub fn revoke(txn: &mut Txn<'_>, by: &By, id: TokenId) -> Result<(), Refusal> {
    let token = Token::by_id(txn, id)?.filter(|token| detail(token).is_some()).ok_or(Refusal::NotFound)?;
    let reply = match token.state(txn.now(), 0) {
        State::Revoked => return Ok(()),
        State::Consumed => match Replay::at(txn, id.as_bytes())? {
            None => return Ok(()),
            reply => reply,
        },
        State::Active | State::Disabled | State::Expired | State::Exhausted => None,
    };
    txn.entry(by, Action::EnrollmentRevoke, id, Params::none())?;
    match reply {
        Some(reply) => txn.remove(&reply)?,
        None => drop(tokens::revoke(txn, token)?),
    }
    Ok(())
}

/// What whoever wants to enrol has to show.
#[derive(Debug)]
pub struct Proof {
    text: Secret,
    token: Result<TokenText, Malformed>,
    attempt: Option<Secret>,
    hostname: String,
}

impl Proof {
    /// A token's text; the attempt, if one is said; the name that is asked for. Nothing of it is judged yet.
    pub fn new(text: Secret, attempt: Option<Secret>, hostname: &str) -> Self {
        Self { token: text::parse(text.expose()), text, attempt, hostname: fold_hostname(hostname) }
    }

    /// The kind that the token says it is; none where it is none of ours.
    pub fn kind(&self) -> Option<Kind> {
        self.token.as_ref().ok().map(|token| token.kind)
    }
}

/// What a good proof is good for.
#[derive(Debug)]
pub enum Standing {
    /// For enrolling a host with this token.
    Live(Box<Token>),
    /// For being told once more what the first call was told.
    Again(Enrolled),
}

/// What a host is told once: who it is, and its bearer.
#[derive(Debug)]
pub struct Enrolled {
    /// Who it is.
    pub host: HostId,
    /// Its agent token.
    pub agent_token: Secret,
}

/// Whether `proof` is good at `now`. The same reads and the same opening are done for every proof, and
/// only then is anything decided. A consumed token whose kept reply the proof does not open is
/// [`Reason::Replayed`]: somebody else has it.
pub fn judge(view: &dyn View, proof: &Proof, now: Time, noted: Noted<'_>) -> Result<Standing, Refusal> {
    let id = proof.token.as_ref().map_or(reply::NO_ROW, |token| token.id);
    let row = Token::by_id(view, id)?;
    let kept = Replay::at(view, id.as_bytes())?;
    let reply = reply::open(proof, kept.as_ref());

    let presented = proof.token.as_ref().map_err(|malformed| {
        Denied::of(match malformed {
            Malformed::Shape => Reason::Malformed,
            Malformed::Checksum => Reason::Checksum,
        })
    })?;
    let denied = |reason| Denied { reason, token: Some(id) };
    let token = row.ok_or_else(|| denied(Reason::Unknown))?;
    if !token.has_hash(&presented.hash) {
        return Err(denied(Reason::Hash).into());
    }
    let detail = detail(&token).ok_or_else(|| denied(Reason::Kind))?;
    match Reason::of_state(token.state(now, 0)) {
        None => {}
        Some(Reason::Consumed) => {
            let (Some(kept), Some(reply)) = (kept, reply) else {
                return Err(denied(Reason::Replayed).into());
            };
            if !may_be_told_again(view, &kept, &reply, now, noted)? {
                return Err(denied(Reason::Consumed).into());
            }
            return Ok(Standing::Again(Enrolled { host: kept.host, agent_token: reply }));
        }
        Some(reason) => return Err(denied(reason).into()),
    }
    let expected = detail.hostname.as_deref().map(fold_hostname);
    if detail.pin_hostname && expected.as_deref() != Some(proof.hostname.as_str()) {
        return Err(denied(Reason::Hostname).into());
    }
    Ok(Standing::Live(Box::new(token)))
}

/// Whether a reply that was opened is still to be had: in time, its host and its token alive, the token
/// never used.
fn may_be_told_again(
    view: &dyn View,
    kept: &Replay,
    reply: &Secret,
    now: Time,
    noted: Noted<'_>,
) -> Result<bool, Refusal> {
    let host = Host::by_id(view, kept.host)?;
    let agent = Token::by_id(view, kept.agent_token)?;
    let used = noted(kept.agent_token).is_some() || LastUsed::of(view, kept.agent_token)?.is_some();
    let alive = agent.is_some_and(|agent| {
        agent.has_hash(&TokenHash::of(reply.expose())) && agent.state(now, 0) == State::Active
    });
    Ok(now < kept.expires_at && host.is_some() && alive && !used)
}

/// From where an enrolment token was redeemed; for the entry about one that was presented again.
pub fn redeemed_from(view: &dyn View, token: TokenId) -> Result<Option<IpAddr>, Fault> {
    let Some(token) = Token::by_id(view, token)?.filter(|token| token.consumed_at.is_some()) else {
        return Ok(None);
    };
    // Retention may have cut the entry that consumed it.
    let entry = Entry::at(view, &token.entry.to_be_bytes())?;
    Ok(entry.filter(|entry| entry.action == Action::HostEnroll.name()).and_then(|entry| entry.ip))
}

/// What a host says of itself, as it was sent.
#[derive(Debug, Default)]
pub struct Statement {
    /// Its name.
    pub hostname: String,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub arch: String,
    /// The version of its agent.
    pub agent_version: Option<String>,
    /// Facts about it.
    pub facts: Option<Map<String, Value>>,
}

/// A host about to be enrolled, within its bounds.
#[derive(Debug)]
pub struct Joining {
    hostname: String,
    os: String,
    arch: String,
    agent_version: Option<String>,
    facts: Option<Map<String, Value>>,
}

impl Joining {
    /// Judges the fields, those of the proof that are no secret matter among them.
    pub fn new(statement: Statement, proof: &Proof) -> Result<Self, Refusal> {
        let word = |field, text: &str| limits::line(field, text, 1, WORD_CHARS_MAX);
        let hostname = limits::hostname("hostname", &statement.hostname)?;
        let os = word("os", &statement.os)?;
        let arch = word("arch", &statement.arch)?;
        let agent_version =
            statement.agent_version.as_deref().map(|text| word("agent_version", text)).transpose()?;
        if let Some(facts) = &statement.facts {
            facts_text(facts)?;
        }
        let attempt = proof.attempt.as_ref().map_or("", Secret::expose);
        let in_bounds = (ATTEMPT_CHARS_MIN..=ATTEMPT_CHARS_MAX).contains(&attempt.len())
            && attempt.bytes().all(|byte| byte.is_ascii_graphic());
        if proof.attempt.is_some() && !in_bounds {
            return Err(Refusal::invalid(
                "attempt",
                format!("must be {ATTEMPT_CHARS_MIN} to {ATTEMPT_CHARS_MAX} visible ASCII characters"),
            ));
        }
        Ok(Self { hostname, os, arch, agent_version, facts: statement.facts })
    }
}

/// Random bytes for one redemption.
pub struct FreshHost {
    /// For the host's id.
    pub host: [u8; 10],
    /// For its agent token.
    pub agent: Fresh,
    /// For sealing its credentials.
    pub credentials: Nonce,
    /// For sealing the reply.
    pub reply: Nonce,
}

impl core::fmt::Debug for FreshHost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FreshHost(..)")
    }
}

/// Enrols a host, or gives the kept reply once more. All of it happens, or nothing.
pub fn redeem(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    ip: Option<IpAddr>,
    proof: &Proof,
    joining: Joining,
    noted: Noted<'_>,
    fresh: &FreshHost,
) -> Result<Enrolled, Refusal> {
    let token = match judge(txn, proof, txn.now(), noted)? {
        Standing::Again(enrolled) => return Ok(enrolled),
        Standing::Live(token) => *token,
    };
    if Host::by_name(txn, &joining.hostname)?.is_some() {
        return Err(Refusal::Conflict(Conflict::HostExists));
    }
    let id = HostId::from_parts(txn.now_ms(), txn.in_turn(fresh.host));
    let prefix = &terms.settings.tokens.prefix;
    let agent = tokens::blank(txn, prefix, Kind::Agent, Owner::Host(id), None, &fresh.agent);
    let host = host_of(txn, id, joining, &token)?;
    let by = By { actor: Actor::Host(id), label: host.hostname.clone(), ip };
    let params = Params::none()
        .with("hostname", host.hostname.clone())
        .with("enrollment", token.id.to_string())
        .with("agent_token", agent.token.id.to_string());
    txn.entry(&by, Action::HostEnroll, id, params)?;
    hand_over(txn, terms, &token, id, fresh.credentials)?;
    if let Some(envelope) = reply::seal(proof, fresh.reply, &agent.secret) {
        txn.put(Replay {
            enrollment: token.id,
            host: id,
            agent_token: agent.token.id,
            envelope,
            expires_at: txn.now().plus(REPLY_SECONDS_MAX),
            ip,
            entry: 0,
        })?;
    }
    txn.index(host.hints());
    txn.put(host)?;
    tokens::insert(txn, agent.token)?;
    consume(txn, token, id)?;
    Ok(Enrolled { host: id, agent_token: agent.secret })
}

/// The new host's record: what it says of itself, and what its enrolment says of it.
fn host_of(txn: &Txn<'_>, id: HostId, joining: Joining, token: &Token) -> Result<Host, Refusal> {
    if Host::by_id(txn, id)?.is_some() {
        // Ten random bytes met twice in one millisecond: a broken source. Nothing may be written over.
        return Err(Fault::Damaged(TableId::Hosts).into());
    }
    let carried = detail(token).cloned().ok_or(Fault::Damaged(TableId::Tokens))?;
    Ok(Host {
        id,
        hostname: joining.hostname,
        os: joining.os,
        arch: joining.arch,
        agent_version: joining.agent_version,
        tags: carried.tags,
        facts: merged(carried.facts.as_deref(), joining.facts)?,
        enrollment: Some(token.id),
        created_at: txn.now(),
        updated_at: txn.now(),
        entry: 0,
    })
}

/// The facts of a new host: its own and those of its enrolment, whose word goes first, as an operator's.
fn merged(carried: Option<&str>, own: Option<Map<String, Value>>) -> Result<Option<String>, Refusal> {
    let Some(carried) = carried else { return own.as_ref().map(facts_text).transpose() };
    let carried: Map<String, Value> =
        serde_json::from_str(carried).map_err(|_| Fault::Damaged(TableId::Tokens))?;
    let mut all = own.unwrap_or_default();
    all.extend(carried);
    facts_text(&all).map(Some)
}

/// Seals the credentials of an enrolment again, for its host.
fn hand_over(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    token: &Token,
    host: HostId,
    nonce: Nonce,
) -> Result<(), Refusal> {
    let waiting = Place::of_enrollment(token);
    let Some(plain) = credentials::open(txn, terms, &waiting)? else { return Ok(()) };
    credentials::put(txn, terms, &Place::of_host(host), &plain, nonce)?;
    credentials::remove(txn, &waiting)?;
    Ok(())
}

fn consume(txn: &mut Txn<'_>, token: Token, host: HostId) -> Result<(), Fault> {
    let detail = match token.detail {
        Detail::Enrollment(detail) => {
            Detail::Enrollment(Box::new(Enrollment { host: Some(host), ..*detail }))
        }
        other @ (Detail::Plain | Detail::Session { .. } | Detail::Link(_)) => other,
    };
    txn.put(Token { consumed_at: Some(txn.now()), detail, ..token })
}

/// Facts as they are stored.
pub(super) fn facts_text(facts: &Map<String, Value>) -> Result<String, Refusal> {
    limits::object("facts", facts, limits::FACTS_BYTES_MAX)
}
