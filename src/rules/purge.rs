//! The purge: rows of tokens that are long dead are removed, in small batches.
//!
//! What still guards against a replay stays: the hash of an imported token (as a tombstone), a consumed
//! link while cookies that it gave may live, a consumed enrolment while its reply may be asked for again,
//! the install token on file. After the clock jumped by more than a day nothing is removed for a day, so
//! that there is time to find out which of the two clocks was wrong.

use super::{Refusal, Terms, tokens, verify};
use crate::{
    records::{
        Action, By, Fault, Listed, Page, Params, Record, TableId, Time, Txn, View,
        host::Replay,
        meta::{PurgeHold, Setup},
        tables,
        token::{Format, State, Token, Tombstone},
        view::believed,
    },
    settings::Settings,
    token::{Kind, TokenId},
};

/// Rows that are looked at in one step.
pub const STEP_ROWS_MAX: usize = 2_000;
/// Tokens that are removed in one operation of the writer.
pub const BATCH_ROWS_MAX: usize = 500;
/// Between two steps lies less than this, unless the clock jumped or the daemon stood still.
const JUMP_SECONDS: u64 = 24 * 60 * 60;
/// How long the purge stands still after a jump.
const HOLD_SECONDS: u64 = 24 * 60 * 60;
/// How far the time may go on before it is written down again that it did.
const SEEN_SECONDS: u64 = 60 * 60;

/// Whether anything may be removed now. Notices that the clock has jumped since the last time that this
/// was asked, whether the daemon ran meanwhile or not.
pub fn may_run(txn: &mut Txn<'_>) -> Result<bool, Refusal> {
    let now = txn.now();
    let Some(hold) = PurgeHold::of(txn)? else {
        txn.note(&PurgeHold { until: now, seen: now })?;
        return Ok(true);
    };
    let jumped = now.since(hold.seen).max(hold.seen.since(now)) > JUMP_SECONDS;
    let until = if jumped { now.plus(HOLD_SECONDS) } else { hold.until.min(now.plus(HOLD_SECONDS)) };
    if jumped || until != hold.until || now.since(hold.seen) >= SEEN_SECONDS {
        txn.note(&PurgeHold { until, seen: now })?;
    }
    Ok(until <= now)
}

/// The next tokens that can go, oldest id last. A cursor is the key of the last row that was looked at.
pub fn candidates(
    view: &dyn View,
    settings: &Settings,
    now: Time,
    after: Option<Vec<u8>>,
) -> Result<Listed<TokenId>, Refusal> {
    let page = Page { after, limit: BATCH_ROWS_MAX };
    let setup = Setup::of(view)?;
    let listed =
        tables::page_within(view, TableId::Tokens, &[], &page, STEP_ROWS_MAX, &mut |key, stored| {
            let found = Token::believe(view, key, stored).map(Some);
            Ok(going(view, settings, &setup, found, now)?.map(|token| token.id))
        })?;
    Ok(listed)
}

/// Removes those of `ids` that can still go, under one entry. How many they were.
pub fn remove(txn: &mut Txn<'_>, terms: Terms<'_>, ids: &[TokenId]) -> Result<u64, Refusal> {
    if !may_run(txn)? {
        return Ok(0);
    }
    let setup = Setup::of(txn)?;
    let mut gone = Vec::with_capacity(ids.len());
    for id in ids.iter().take(BATCH_ROWS_MAX) {
        gone.extend(going(txn, terms.settings, &setup, Token::by_id(txn, *id), txn.now())?);
    }
    let count = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    if gone.is_empty() {
        return Ok(0);
    }
    txn.entry(&By::system(), Action::TokenPurge, "tokens", Params::none().with("removed", count))?;
    for token in gone {
        tokens::erase(txn, &token)?;
        if token.format == Format::Imported {
            txn.put(Tombstone { hash: token.hash, entry: 0 })?;
        }
    }
    Ok(count)
}

/// The token that was found, if it can go with all that belongs to it. A damaged record is for others to find; it
/// stays, and must not keep the rest from going.
fn going(
    view: &dyn View,
    settings: &Settings,
    setup: &Setup,
    found: Result<Option<Token>, Fault>,
    now: Time,
) -> Result<Option<Token>, Fault> {
    let judged = found.and_then(|found| {
        let Some(token) = found else { return Ok(None) };
        if !can_go(view, settings, setup, &token, now)? {
            return Ok(None);
        }
        tokens::erasable(view, &token)?;
        Ok(Some(token))
    });
    believed(judged)
}

/// Whether a row has been dead for so long that it can go.
fn can_go(
    view: &dyn View,
    settings: &Settings,
    setup: &Setup,
    token: &Token,
    now: Time,
) -> Result<bool, Fault> {
    let Some(died_at) = died_at(view, token, now)? else { return Ok(false) };
    if died_at.plus(settings.tokens.purge_after) > now || setup.install_token == Some(token.id) {
        return Ok(false);
    }
    let reply = match token.kind {
        Kind::Enrollment => Replay::at(view, token.id.as_bytes())?,
        Kind::Install | Kind::Session | Kind::Pat | Kind::Agent | Kind::Link => None,
    };
    Ok(reply.is_none_or(|reply| reply.expires_at <= now))
}

/// When a token died for good; none while it is alive, or may become so again.
fn died_at(view: &dyn View, token: &Token, now: Time) -> Result<Option<Time>, Fault> {
    // Cookies live on a consumed link for as long as a cookie lives.
    let consumed = token.consumed_at.map(|at| match token.kind {
        Kind::Link => at.plus(verify::COOKIE_SECONDS_MAX),
        Kind::Install | Kind::Session | Kind::Pat | Kind::Enrollment | Kind::Agent => at,
    });
    let uses = crate::records::token::Uses::of(view, token)?;
    let exhausted = match token.state(now, uses) {
        State::Exhausted => Some(verify::last_use(view, token, None)?),
        State::Active | State::Disabled | State::Expired | State::Revoked | State::Consumed => None,
    };
    let died = [token.revoked_at, token.expires_at, consumed, exhausted].into_iter().flatten().min();
    Ok(died.filter(|at| *at <= now))
}

#[cfg(test)]
mod tests;
