//! Faults of the store, told to the log where the answer hides them.
//!
//! What needs a damaged record is answered 503, as often as it is asked for: the log names its table, once a
//! minute, and how often it was hidden since. That the store cannot be read at all is told by the store itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::records::{Fault, TableId};

/// How long a table that was told of is not told of again.
const PAUSE: Duration = Duration::from_mins(1);

/// The tables that were told of: when, and how many faults were kept back since.
type Told = BTreeMap<TableId, (Instant, u64)>;

/// As wide as the log itself: one for the process.
static TOLD: Mutex<Told> = Mutex::new(Told::new());

/// Tells the log of a fault that becomes an answer.
pub(super) fn tell(fault: Fault) {
    let Fault::Damaged(table) = fault else { return };
    let due = due(&mut TOLD.lock().unwrap_or_else(PoisonError::into_inner), table, Instant::now());
    if let Some(kept_back) = due {
        tracing::error!(
            table = table.name(),
            kept_back,
            "a record is damaged, and what needs it is refused: stop the daemon and run `bearerd check`"
        );
    }
}

/// Whether a fault in `table` is to be told now, and then how many before it were not.
fn due(told: &mut Told, table: TableId, now: Instant) -> Option<u64> {
    if let Some((at, kept_back)) = told.get_mut(&table)
        && now.saturating_duration_since(*at) < PAUSE
    {
        *kept_back = kept_back.saturating_add(1);
        return None;
    }
    let before = told.insert(table, (now, 0));
    Some(before.map_or(0, |(_, kept_back)| kept_back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_of_once_a_minute_with_how_many_were_kept_back() {
        let (mut told, begin) = (Told::new(), Instant::now());
        let mut at = |table, after: Duration| due(&mut told, table, begin + after);
        let moment = Duration::from_nanos(1);
        let just_before = PAUSE.saturating_sub(moment);
        assert_eq!(at(TableId::Users, Duration::ZERO), Some(0));
        assert_eq!(at(TableId::Users, Duration::ZERO), None);
        assert_eq!(at(TableId::Tokens, moment), Some(0), "another table");
        assert_eq!(at(TableId::Users, just_before), None);
        assert_eq!(at(TableId::Users, PAUSE), Some(2));
        assert_eq!(at(TableId::Users, PAUSE + moment), None);
        assert_eq!(at(TableId::Users, PAUSE * 2), Some(1));
    }
}
