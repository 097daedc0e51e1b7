//! Hosts: what operators do with them, and what a host's own agent may see.
//!
//! An agent sees its own record and its own credentials, and no sign of anything else: another host's id is
//! as unknown to it as one that was never given.

use core::{cmp::Reverse, ops::ControlFlow};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    Refusal, Terms,
    access::{Caller, Identity},
    credentials::{self, Nonce, Place},
    enrollment, limits,
    tokens::{self, Fresh, Minted, Noted},
};
use crate::{
    records::{
        Action, By, Fault, Listed, Page, Params, Record, TableId, Time, Txn, View,
        host::Host,
        tables,
        token::{LastUsed, Owner, State, Token},
        view::{believed, believed_or_counted},
    },
    token::{HostId, Kind},
};

#[cfg(test)]
mod tests;

/// Agent tokens of a host that are looked at for its last use, the newest. An agent uses the newest that has reached
/// it, which is seldom more than one or two behind; the dead ones before stay until the purge, and of a host that is
/// rotated every hour those are hundreds, for each host of a list.
const AGENTS_SEEN_MAX: usize = 8;

/// Tokens past their end that a rotation or a deletion of their host ends for good: those with the latest ends, since
/// what only a wrong clock has expired ends after whatever the right one has. The others, of a host that was rotated
/// every few minutes, are left to the next time or the purge.
const AGENTS_OVER_MAX: usize = 1_000;

/// A host, and what is shown beside its record.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The record.
    pub host: Host,
    /// Whether there are credentials for it.
    pub has_credentials: bool,
    /// When one of its newest agent tokens was last used.
    pub last_used_at: Option<Time>,
}

/// One page of the hosts, newest first.
pub fn list(view: &dyn View, page: &Page, noted: Noted<'_>) -> Result<Listed<Seen>, Refusal> {
    let listed = tables::page(view, TableId::Hosts, &[], page, &mut |key, stored| {
        seen(view, Host::believe(view, key, stored)?, noted).map(Some)
    })?;
    Ok(listed)
}

/// One host: any for an operator, for an agent its own.
pub fn one(view: &dyn View, caller: &Caller, id: HostId, noted: Noted<'_>) -> Result<Seen, Refusal> {
    if agent_of_another(caller, id) {
        return Err(Refusal::NotFound);
    }
    Ok(seen(view, existing(view, id)?, noted)?)
}

/// What is to be changed of a host; what is absent stays.
#[derive(Debug, Default)]
pub struct Change {
    /// New tags, in place of the old.
    pub tags: Option<Vec<String>>,
    /// New facts in place of the old; `Some(None)` removes them.
    pub facts: Option<Option<Map<String, Value>>>,
}

/// Changes a host's record.
pub fn update(txn: &mut Txn<'_>, by: &By, id: HostId, change: &Change) -> Result<Host, Refusal> {
    let before = existing(txn, id)?;
    let mut host = before.clone();
    let mut params = Params::none();
    if let Some(tags) = &change.tags {
        host.tags = limits::tags("tags", tags)?;
        params = params.with("tags", host.tags.clone());
    }
    if let Some(facts) = &change.facts {
        host.facts = facts.as_ref().map(enrollment::facts_text).transpose()?;
        params = params.with("facts", host.facts.is_some());
    }
    if host != before {
        host.updated_at = txn.now();
        txn.entry(by, Action::HostUpdate, id, params.with("hostname", host.hostname.clone()))?;
        txn.put(host.clone())?;
    }
    Ok(host)
}

/// Deletes a host: its agent tokens and its credentials go with it, and its name is free.
pub fn delete(txn: &mut Txn<'_>, by: &By, id: HostId) -> Result<(), Refusal> {
    let host = existing(txn, id)?;
    let (agents, damaged) = not_ended(txn, id)?;
    let params = told(Params::none().with("hostname", host.hostname.clone()), damaged);
    txn.entry(by, Action::HostDelete, id, params)?;
    for token in agents {
        tokens::revoke(txn, token)?;
    }
    credentials::remove(txn, &Place::of_host(id))?;
    txn.unindex(&host.hints());
    txn.remove(&host)?;
    Ok(())
}

/// Gives a host a new agent token. Every one it had lives on for `overlap_seconds` at the most.
pub fn rotate(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    id: HostId,
    overlap_seconds: u64,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let host = existing(txn, id)?;
    let (agents, damaged) = not_ended(txn, id)?;
    let prefix = &terms.settings.tokens.prefix;
    let minted = tokens::blank(txn, prefix, Kind::Agent, Owner::Host(id), None, fresh);
    let params = Params::none()
        .with("hostname", host.hostname)
        .with("agent_token", minted.token.id.to_string())
        .with("retired", agents.iter().map(|token| token.id.to_string()).collect::<Vec<_>>())
        .with("overlap_seconds", overlap_seconds);
    txn.entry(by, Action::HostRotate, id, told(params, damaged))?;
    for token in agents {
        // One past its end is so by a clock that may be put back by more than the overlap.
        let overlap = if is_good(txn, &token) { overlap_seconds } else { 0 };
        tokens::retire(txn, token, overlap)?;
    }
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// Seals credentials for a host, in place of those it had.
pub fn put_credentials(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    id: HostId,
    plain: &[u8],
    nonce: Nonce,
) -> Result<(), Refusal> {
    let host = existing(txn, id)?;
    txn.entry(by, Action::HostCredentialsPut, id, Params::none().with("hostname", host.hostname))?;
    credentials::put(txn, terms, &Place::of_host(id), plain, nonce)
}

/// The credentials of a host, for its own agent. That they were read is on file before they are told.
pub fn read_credentials(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    caller: &Caller,
    id: HostId,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    if caller.identity().and_then(Identity::host) != Some(id) {
        return Err(Refusal::NotFound);
    }
    let plain = credentials::open(txn, terms, &Place::of_host(id))?.ok_or(Refusal::NotFound)?;
    txn.entry(&caller.by(), Action::HostCredentialsRead, id, Params::none())?;
    Ok(plain)
}

/// Whether `caller` is the agent of a host other than that.
fn agent_of_another(caller: &Caller, id: HostId) -> bool {
    caller.identity().and_then(Identity::host).is_some_and(|own| own != id)
}

fn existing(view: &dyn View, id: HostId) -> Result<Host, Refusal> {
    Host::by_id(view, id)?.ok_or(Refusal::NotFound)
}

/// A host with what is shown beside its record.
pub fn seen(view: &dyn View, host: Host, noted: Noted<'_>) -> Result<Seen, Fault> {
    let prefix = agents_prefix(host.id);
    let newest = Page { after: None, limit: AGENTS_SEEN_MAX };
    let agents = tables::page_within(
        view,
        TableId::TokensByOwner,
        &prefix,
        &newest,
        AGENTS_SEEN_MAX,
        // One that is damaged is used by nobody, and whoever looks for another host must find it.
        &mut |key, _| believed(agent(view, host.id, &prefix, key)),
    )?;
    let mut last_used_at = None;
    for token in agents.items {
        let used = [noted(token.id), LastUsed::of(view, token.id)?];
        last_used_at = used.into_iter().flatten().map(|last| last.at).chain(last_used_at).max();
    }
    let has_credentials = Place::of_host(host.id).is_taken(view)?;
    Ok(Seen { host, has_credentials, last_used_at })
}

/// The agent tokens of a host that nobody ended yet, at most [`AGENTS_OVER_MAX`] of those past their end among them;
/// and how many are damaged. Those admit nobody, so that there is nothing to end.
fn not_ended(txn: &Txn<'_>, host: HostId) -> Result<(Vec<Token>, u64), Fault> {
    let (mut tokens, damaged) = agents(txn, host)?;
    tokens.retain(|token| !token.is_revoked());
    let (mut tokens, mut over): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| is_good(txn, token));
    over.sort_by_key(|token| Reverse(token.expires_at));
    over.truncate(AGENTS_OVER_MAX);
    tokens.append(&mut over);
    Ok((tokens, damaged))
}

/// What an entry says, with the number of agent tokens that are damaged where there are any.
fn told(params: Params, damaged: u64) -> Params {
    if damaged > 0 { params.with("damaged", damaged) } else { params }
}

/// Whether an agent token is good at this turn.
fn is_good(txn: &Txn<'_>, token: &Token) -> bool {
    token.state(txn.now(), 0) == State::Active
}

/// The agent tokens of a host, the dead ones included until they are purged; and how many are damaged.
fn agents(view: &dyn View, host: HostId) -> Result<(Vec<Token>, u64), Fault> {
    let prefix = agents_prefix(host);
    let (mut found, mut damaged) = (Vec::new(), 0);
    tables::each(view, TableId::TokensByOwner, &prefix, &mut |key, _| {
        found.extend(believed_or_counted(agent(view, host, &prefix, key), &mut damaged)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, damaged))
}

/// What the index has before the ids of a host's agent tokens.
fn agents_prefix(host: HostId) -> Vec<u8> {
    [&Owner::Host(host).prefix(), Kind::Agent.tag().as_bytes()].concat()
}

/// The agent token of a host that the hint `key` leads to; none where it is not what the hint says.
fn agent(view: &dyn View, host: HostId, prefix: &[u8], key: &[u8]) -> Result<Option<Token>, Fault> {
    let token = Token::at(view, key.strip_prefix(prefix).unwrap_or(key))?;
    Ok(token.filter(|token| token.owner == Owner::Host(host) && token.kind == Kind::Agent))
}
