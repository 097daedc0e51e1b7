//! Copies the rows of a snapshot into a new store: sorted, so that its pages come out full.

use core::ops::Bound;

use redb::WriteTransaction;

use super::{EngineError, Snapshot, definition};
use crate::records::TableId;

/// Copies every table, and answers how many rows each has.
pub(super) fn rows(from: &Snapshot, to: &WriteTransaction) -> Result<Vec<u64>, EngineError> {
    TableId::ALL.iter().map(|table| table_rows(*table, from, to)).collect()
}

fn table_rows(id: TableId, from: &Snapshot, to: &WriteTransaction) -> Result<u64, EngineError> {
    let mut table = to.open_table(definition(id))?;
    let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
    let mut copied = 0;
    for row in from.table(id)?.range::<&[u8]>(..)? {
        let (key, value) = row?;
        end.insert_before(key.value(), value.value())?;
        copied += 1;
    }
    end.close()?;
    Ok(copied)
}
