//! What tokens of every kind have in common: making a row, ending one, showing one. Each kind's own
//! conditions stand in its own file.

use super::Refusal;
use crate::{
    records::{
        Fault, Time, Txn, View,
        meta::Count,
        token::{Detail, Format, Owner, Token, Uses},
    },
    token::{self, Kind, Prefix, Secret, TokenHash, TokenId},
};

/// Fresh random bytes for one token: for its id, and for its secret.
#[derive(Clone)]
pub struct Fresh {
    /// For the id.
    pub id: [u8; 10],
    /// For the secret.
    pub secret: [u8; 32],
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
    let id = TokenId::from_parts(txn.now_ms(), fresh.id);
    let secret = token::text::mint(prefix, kind, id, &fresh.secret);
    let token = Token {
        id,
        kind,
        hash: *TokenHash::of(secret.expose()).as_bytes(),
        owner,
        name: String::new(),
        scope: String::new(),
        format: Format::Opaque,
        created_at: txn.now(),
        span_seconds,
        expires_at: span_seconds.map(|span| txn.now().plus(span)),
        revoked_at: None,
        consumed_at: None,
        enabled: true,
        allowed_ips: Vec::new(),
        max_uses: None,
        metadata: None,
        detail: Detail::Plain,
        entry: 0,
    };
    Minted { token, secret }
}

/// Writes a new row with its hints, its count and, where uses are counted, its counter.
pub fn insert(txn: &mut Txn<'_>, token: Token) -> Result<(), Refusal> {
    if Token::by_id(txn, token.id)?.is_some() {
        // Ten random bytes met twice in one millisecond: a broken source. Nothing may be written over.
        return Err(Fault::Damaged(crate::records::TableId::Tokens).into());
    }
    for (table, key, value) in token.hints() {
        txn.hint(table, key, value);
    }
    if token.max_uses.is_some() {
        txn.note(&Uses { token: token.id, count: 0 })?;
    }
    count(txn, token.kind, 1)?;
    txn.put(token)?;
    Ok(())
}

/// Removes a row with all that belongs to it.
pub fn erase(txn: &mut Txn<'_>, token: &Token) -> Result<(), Fault> {
    use crate::records::TableId::{LastUsed, Uses};
    for (table, key, _) in token.hints() {
        txn.forget(table, &key);
    }
    txn.forget(LastUsed, token.id.as_bytes());
    txn.forget(Uses, token.id.as_bytes());
    count(txn, token.kind, -1)?;
    txn.remove(token)
}

/// Ends a token now; one that is over already stays as it ended. Says whether anything changed. The entry
/// must be open.
pub fn revoke(txn: &mut Txn<'_>, token: Token) -> Result<bool, Fault> {
    let now = txn.now();
    if token.revoked_at.is_some_and(|at| at <= now) {
        return Ok(false);
    }
    txn.put(Token { revoked_at: Some(now), ..token })?;
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

/// How many tokens of each kind are stored.
pub fn counts(view: &dyn View) -> Result<Vec<(Kind, u64)>, Fault> {
    Kind::ALL.into_iter().map(|kind| Ok((kind, Count::of(view, kind)?.stored))).collect()
}

fn count(txn: &mut Txn<'_>, kind: Kind, by: i64) -> Result<(), Fault> {
    let stored = Count::of(txn, kind)?.stored.saturating_add_signed(by);
    txn.note(&Count { kind, stored })
}
