//! What tokens of every kind have in common: making a row, ending one, showing one. Each kind's own
//! conditions stand in its own file.

use zeroize::Zeroizing;

use super::{
    Refusal,
    access::Authorized,
    credentials::{self, Place},
    verify,
};
use crate::{
    records::{
        Fault, Listed, Page, Record, TableId, Time, Txn, View,
        host::{Replay, Sealed, SealedFor},
        meta::Count,
        tables,
        token::{Detail, LastUsed, Owner, State, Token, Uses},
        user::User,
        view::believed,
    },
    token::{self, Kind, Prefix, Secret, TokenHash, TokenId},
};

/// Fresh random bytes for one token: for its id, and for its secret. Together they are the token.
pub struct Fresh {
    /// For the id.
    pub id: [u8; 10],
    /// For the secret.
    pub secret: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Fresh(..)")
    }
}

/// A new token: its row, and its text, which exists nowhere else.
#[derive(Debug)]
pub struct Minted {
    /// The row.
    pub token: Token,
    /// The text, to be handed out once.
    pub secret: Secret,
}

/// An opaque token of `kind` with nothing but what every token has; the caller completes the row and hands
/// it to [`insert`].
pub fn blank(
    txn: &Txn<'_>,
    prefix: &Prefix,
    kind: Kind,
    owner: Owner,
    span_seconds: Option<u64>,
    fresh: &Fresh,
) -> Minted {
    let id = TokenId::from_parts(txn.now_ms(), txn.in_turn(fresh.id));
    let secret = token::text::mint(prefix, kind, id, &fresh.secret);
    let hash = *TokenHash::of(secret.expose()).as_bytes();
    let token = Token {
        span_seconds,
        expires_at: span_seconds.map(|span| txn.now().plus(span)),
        ..Token::plain(id, kind, hash, owner, txn.now())
    };
    Minted { token, secret }
}

/// Writes a new row with its hints, its count and, where uses are counted, its counter.
pub fn insert(txn: &mut Txn<'_>, token: Token) -> Result<(), Refusal> {
    if Token::by_id(txn, token.id)?.is_some() {
        // Ten random bytes met twice in one millisecond: a broken source. Nothing may be written over.
        return Err(Fault::Damaged(crate::records::TableId::Tokens).into());
    }
    txn.index(token.hints());
    if token.max_uses.is_some() {
        txn.note(&Uses { token: token.id, count: 0 })?;
    }
    count(txn, token.kind, 1)?;
    txn.put(token)?;
    Ok(())
}

/// Removes a row with all that belongs to it. The entry must be open.
pub fn erase(txn: &mut Txn<'_>, token: &Token) -> Result<(), Fault> {
    txn.unindex(&token.hints());
    txn.forget(TableId::LastUsed, token.id.as_bytes());
    txn.forget(TableId::Uses, token.id.as_bytes());
    remove_credentials(txn, token)?;
    if let Some(replay) = kept_reply(txn, token)? {
        txn.remove(&replay)?;
    }
    count(txn, token.kind, -1)?;
    txn.remove(token)
}

/// A fault where something that [`erase`] has to read cannot be believed: such a token cannot be erased.
pub fn erasable(view: &dyn View, token: &Token) -> Result<(), Fault> {
    waiting_credentials(view, token)?;
    kept_reply(view, token)?;
    Count::of(view, token.kind).map(drop)
}

/// Removes the credentials that wait for an enrolment.
fn remove_credentials(txn: &mut Txn<'_>, token: &Token) -> Result<(), Fault> {
    if token.kind == Kind::Enrollment {
        credentials::remove(txn, &Place::of_enrollment(token))?;
    }
    Ok(())
}

/// The credentials that wait for an enrolment; other kinds have none.
fn waiting_credentials(view: &dyn View, token: &Token) -> Result<Option<Sealed>, Fault> {
    if token.kind == Kind::Enrollment {
        Sealed::at(view, &SealedFor::Enrollment(token.id).key())
    } else {
        Ok(None)
    }
}

/// The reply that is kept of an enrolment; other kinds have none.
fn kept_reply(view: &dyn View, token: &Token) -> Result<Option<Replay>, Fault> {
    if token.kind == Kind::Enrollment { Replay::at(view, token.id.as_bytes()) } else { Ok(None) }
}

/// Ends a token now, and with an enrolment its credentials; one that is over already stays as it ended.
/// Says whether anything changed. The entry must be open.
pub fn revoke(txn: &mut Txn<'_>, token: Token) -> Result<bool, Fault> {
    if token.is_revoked() {
        return Ok(false);
    }
    remove_credentials(txn, &token)?;
    txn.put(Token { revoked_at: Some(txn.now()), ..token })?;
    Ok(true)
}

/// Lets a token that was rotated live for `overlap_seconds` more, never beyond its own end; with none it is
/// revoked at once. The entry must be open.
pub fn retire(txn: &mut Txn<'_>, token: Token, overlap_seconds: u64) -> Result<(), Fault> {
    let now = txn.now();
    if overlap_seconds == 0 {
        return txn.put(Token { revoked_at: Some(now), ..token });
    }
    let end = now.plus(overlap_seconds);
    let expires_at = Some(token.expires_at.map_or(end, |own: Time| own.min(end)));
    txn.put(Token { expires_at, ..token })
}

/// What is noted of a token's last use in memory and may not have reached the store yet.
pub type Noted<'a> = &'a dyn Fn(TokenId) -> Option<LastUsed>;

/// A token as lists show it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its row.
    pub token: Token,
    /// What it is at this moment.
    pub state: State,
    /// When it was revoked; see [`revoked_at`].
    pub revoked_at: Option<Time>,
    /// How often it was used; none where uses are not counted.
    pub uses: Option<u64>,
    /// When and from where it was last used, what is still in memory included.
    pub last_used: Option<LastUsed>,
}

/// A token as lists show it.
pub fn row(view: &dyn View, token: Token, now: Time, noted: Noted<'_>) -> Result<Row, Fault> {
    let stored = LastUsed::of(view, token.id)?;
    let last_used = [stored, noted(token.id)].into_iter().flatten().max_by_key(|last| last.at);
    Ok(Row {
        state: verify::state_of(view, &token, now, last_used.map(|last| last.at))?,
        revoked_at: revoked_at(view, &token)?,
        uses: token.max_uses.map(|_| Uses::of(view, &token)).transpose()?,
        last_used,
        token,
    })
}

/// When `token` was revoked: by itself, or with all sessions that its user had.
pub fn revoked_at(view: &dyn View, token: &Token) -> Result<Option<Time>, Fault> {
    let (None, Owner::User(id), Detail::Session { epoch, .. }) =
        (token.revoked_at, token.owner, &token.detail)
    else {
        return Ok(token.revoked_at);
    };
    let ended_by = User::by_id(view, id)?.filter(|user| user.session_epoch != *epoch);
    Ok(ended_by.map(|user| user.sessions_ended_at().max(token.created_at)))
}

/// Whether `token` was revoked; see [`revoked_at`]. Where its user cannot be believed, nobody knows, and it counts as
/// not: revoking it needs no row but its own.
pub fn is_revoked(view: &dyn View, token: &Token) -> Result<bool, Fault> {
    Ok(believed(revoked_at(view, token))?.is_some())
}

/// One page of what `owner` has of one kind, newest first, from the index. A cursor is the id's bytes.
pub fn of_owner(
    view: &dyn View,
    owner: Owner,
    kind: Kind,
    now: Time,
    noted: Noted<'_>,
    page: &Page,
) -> Result<Listed<Row>, Fault> {
    let prefix = [&owner.prefix(), kind.tag().as_bytes()].concat();
    by_index(view, TableId::TokensByOwner, &prefix, page, &mut |token| {
        let is_it = token.owner == owner && token.kind == kind;
        if is_it { row(view, token, now, noted).map(Some) } else { Ok(None) }
    })
}

/// One page of what the caller has of one kind; nothing where the caller is no user.
pub fn own(
    view: &dyn View,
    who: &Authorized,
    kind: Kind,
    now: Time,
    noted: Noted<'_>,
    page: &Page,
) -> Result<Listed<Row>, Fault> {
    match who.caller().user() {
        Some(user) => of_owner(view, Owner::User(user), kind, now, noted, page),
        None => Ok(Listed { items: Vec::new(), next: None }),
    }
}

/// One page of the tokens that an index leads to under `prefix`, newest first. The index is a hint: it is
/// `choose` who sees whether the row is what was looked up. A cursor is the id's bytes.
pub fn by_index(
    view: &dyn View,
    index: TableId,
    prefix: &[u8],
    page: &Page,
    choose: &mut dyn FnMut(Token) -> Result<Option<Row>, Fault>,
) -> Result<Listed<Row>, Fault> {
    let after = page.after.as_ref().map(|id| [prefix, id.as_slice()].concat());
    let indexed = Page { after, limit: page.limit };
    let listed = tables::page(view, index, prefix, &indexed, &mut |key, _| {
        let id = key.strip_prefix(prefix).and_then(|id| id.try_into().ok()).map(TokenId::from_bytes);
        match id.map(|id| Token::by_id(view, id)).transpose()?.flatten() {
            Some(token) => choose(token),
            None => Ok(None),
        }
    })?;
    let next = listed.next.and_then(|key| key.strip_prefix(prefix).map(<[u8]>::to_vec));
    Ok(Listed { items: listed.items, next })
}

/// How many tokens of each kind are stored.
pub fn counts(view: &dyn View) -> Result<Vec<(Kind, u64)>, Fault> {
    Kind::ALL.into_iter().map(|kind| Ok((kind, Count::of(view, kind)?.stored))).collect()
}

fn count(txn: &mut Txn<'_>, kind: Kind, by: i64) -> Result<(), Fault> {
    let stored = Count::of(txn, kind)?.stored.saturating_add_signed(by);
    txn.note(&Count { kind, stored })
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Compiles for what is wiped.
    fn is_wiped(_: &impl ZeroizeOnDrop) {}

    #[test]
    fn what_a_token_is_made_of_is_wiped_and_does_not_show() {
        let fresh = Fresh { id: [1; 10], secret: [2; 32].into() };
        is_wiped(&fresh.secret);
        assert_eq!(format!("{fresh:?}"), "Fresh(..)");
    }
}
