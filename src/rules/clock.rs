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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{meta::PurgeHold, shelf::Shelf, token::Owner};
    use crate::token::{Kind, TokenId};

    const CLOCK: u64 = 1_000_000;
    const HIGHEST: u64 = 9_000_000;

    fn place(shelf: &mut Shelf, number: u8, created: u64, end: Option<u64>, revoked: Option<u64>) {
        let id = TokenId::from_parts(created * 1000, [number; 10]);
        shelf.place(&Token {
            expires_at: end.map(Time::from_unix),
            revoked_at: revoked.map(Time::from_unix),
            ..Token::plain(id, Kind::Agent, [number; 32], Owner::Nobody, Time::from_unix(created))
        });
    }

    #[test]
    fn only_what_the_wrong_time_ended_is_counted() {
        let mut shelf = Shelf::new();
        place(&mut shelf, 1, 1, Some(CLOCK), None); // at its end by the clock, too
        place(&mut shelf, 2, 1, Some(CLOCK + 1), None);
        place(&mut shelf, 3, 1, Some(HIGHEST), None);
        place(&mut shelf, 4, 1, Some(HIGHEST + 1), None); // not ended yet
        place(&mut shelf, 5, 1, Some(CLOCK + 1), Some(2)); // ended by somebody
        place(&mut shelf, 6, 1, None, None);
        place(&mut shelf, 7, CLOCK + 5, Some(HIGHEST + 9), None); // minted in the future
        place(&mut shelf, 8, CLOCK + 6, None, None); // this one, too
        place(&mut shelf, 9, CLOCK, Some(HIGHEST - 1), None); // minted this second
        let mut counted = Counted::default();
        let clock = Time::from_unix(CLOCK);
        let next = count(&shelf, None, clock, Time::from_unix(HIGHEST), &mut counted).unwrap();
        assert_eq!((counted, next), (Counted { revived: 3, ahead: 2 }, None));
    }

    #[test]
    fn setting_the_clock_back_is_an_entry_and_holds_the_purge_for_a_day() {
        let mut shelf = Shelf::new();
        let highest = Time::from_unix(HIGHEST);
        shelf.change(HIGHEST * 1000, |txn| purge::may_run(txn).map(|_| ())).unwrap();
        let counted = Counted { revived: 3, ahead: 0 };
        shelf.change(CLOCK * 1000, |txn| reset(txn, &By::local(0), highest, counted)).unwrap();
        let entries = shelf.audit();
        assert_eq!(entries.last().unwrap().action, "clock.reset");
        assert!(entries.last().unwrap().params.contains("\"revived\":3"));
        let hold = PurgeHold::of(&shelf).unwrap().unwrap();
        assert_eq!(hold.until, Time::from_unix(CLOCK + 24 * 60 * 60));
    }
}
