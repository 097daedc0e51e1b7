//! Bringing to the disk when and from where tokens were last used.

use super::Refusal;
use crate::records::{
    Record, Txn,
    token::{LastUsed, Token},
};

/// Uses written in one operation at the most.
pub const BATCH_ROWS_MAX: usize = 1_000;

/// Writes down last uses. One that is older than what is stored, or of a token that is gone, is dropped.
/// Nothing is decided by them, so they have no entry.
pub fn write(txn: &mut Txn<'_>, uses: &[LastUsed]) -> Result<(), Refusal> {
    for last in uses.iter().take(BATCH_ROWS_MAX) {
        let stored = LastUsed::of(txn, last.token)?;
        let is_news = stored.is_none_or(|stored| stored.at <= last.at && stored != *last);
        if is_news && txn.holds(Token::TABLE, last.token.as_bytes())? {
            txn.note(last)?;
        }
    }
    Ok(())
}
