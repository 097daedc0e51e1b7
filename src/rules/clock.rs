//! The day a clock ran ahead: what only the wrong time had expired, and setting the highest time back.

use core::ops::{Bound, ControlFlow};

use super::{Refusal, purge};
use crate::records::{
    Action, By, Fault, Params, Record, TableId, Time, Txn, View, token::Token, view::Direction,
};

/// Rows that are looked at over one view.
pub const COUNT_ROWS_MAX: usize = 5_000;

/// What a wrong time did to tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tokens that are past their end by the highest time, and not by the clock.
    pub revived: u64,
    /// Tokens that were minted in what is the future now; their end lies as far off.
    pub ahead: u64,
}

/// Counts over the next rows of tokens, from behind `after`; where to go on, none at the end.
pub fn count(
    view: &dyn View,
    after: Option<&[u8]>,
    clock: Time,
    highest: Time,
    counted: &mut Counted,
) -> Result<Option<Vec<u8>>, Fault> {
    let low = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut read = 0usize;
    let mut last = None;
    let mut more = false;
    view.scan(TableId::Tokens, (low, Bound::Unbounded), Direction::Forwards, &mut |key, stored| {
        if read == COUNT_ROWS_MAX {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        read = read.saturating_add(1);
        last = Some(key.to_vec());
        // One damaged row says nothing about the others, and an operator with a wrong clock has enough to do.
        if let Ok(token) = Token::believe(view, key, stored) {
            let lives_otherwise = token.revoked_at.is_none() && token.consumed_at.is_none();
            if lives_otherwise && token.expires_at.is_some_and(|end| clock < end && end <= highest) {
                counted.revived = counted.revived.saturating_add(1);
            }
            if token.created_at > clock {
                counted.ahead = counted.ahead.saturating_add(1);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(if more { last } else { None })
}

/// Writes the entry of a clock that is set back; the store does the rest. Where it is set back by more than
/// a day, nothing is purged for a day.
pub fn reset(txn: &mut Txn<'_>, by: &By, from: Time, counted: Counted) -> Result<(), Refusal> {
    let params = Params::none()
        .with("from", from.unix())
        .with("to", txn.now().unix())
        .with("revived", counted.revived)
        .with("minted_ahead", counted.ahead);
    txn.entry(by, Action::ClockReset, "clock", params)?;
    purge::may_run(txn)?;
    Ok(())
}
