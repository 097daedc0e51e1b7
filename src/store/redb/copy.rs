//! Copies the rows of a snapshot into a new store: sorted, so that its pages come out full, and a portion at a time,
//! so that a copy of any size takes the same memory.

use core::ops::Bound;

use redb::WriteTransaction;

use super::{Engine, EngineError, Snapshot, definition};
use crate::records::TableId;

/// Rows of one transaction.
const PORTION_ROWS: u64 = 8_192;
/// Rows between two looks at whether the copy can be written at all.
const LOOK_ROWS: u64 = 1_024;

/// Copies every table to an empty store, and answers how many rows each has. Between its portions the copy is no
/// store that anybody may open: it has no name yet.
pub(super) fn rows(from: &Snapshot, to: &Engine) -> Result<Vec<u64>, EngineError> {
    let failed = || to.failure().is_some();
    TableId::ALL.iter().map(|table| table_rows(*table, from, to, &failed)).collect()
}

fn table_rows(
    id: TableId,
    from: &Snapshot,
    to: &Engine,
    failed: &dyn Fn() -> bool,
) -> Result<u64, EngineError> {
    let mut copied = 0;
    let mut last: Option<Vec<u8>> = None;
    loop {
        let after = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let portion = to.committed(|transaction| portion(id, from, after, transaction, failed))?;
        copied += portion.rows;
        match portion.last {
            Some(key) => last = Some(key),
            None => return Ok(copied),
        }
    }
}

/// What one transaction copied.
struct Portion {
    rows: u64,
    /// The last key, if there may be more.
    last: Option<Vec<u8>>,
}

/// Copies the rows that follow. Stops early where `failed` says that nothing reaches the medium any more: what is
/// written after that is kept in memory.
fn portion(
    id: TableId,
    from: &Snapshot,
    after: Bound<&[u8]>,
    to: &WriteTransaction,
    failed: &dyn Fn() -> bool,
) -> Result<Portion, EngineError> {
    let mut table = to.open_table(definition(id))?;
    let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
    let mut rows = 0;
    let mut last = None;
    for row in from.table(id)?.range::<&[u8]>((after, Bound::Unbounded))? {
        let (key, value) = row?;
        end.insert_before(key.value(), value.value())?;
        rows += 1;
        if rows % LOOK_ROWS == 0 && failed() {
            return Err(EngineError::Read("the copy was given up".to_owned()));
        }
        if rows == PORTION_ROWS {
            last = Some(key.value().to_vec());
            break;
        }
    }
    end.close()?;
    Ok(Portion { rows, last })
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::{
        super::{Engine, Medium},
        *,
    };

    fn empty() -> Engine {
        Engine::create(&Medium::memory(), 1 << 20).unwrap()
    }

    fn with_rows(count: u64) -> Engine {
        let engine = empty();
        engine
            .committed(|transaction| {
                for table in TableId::ALL {
                    transaction.open_table(definition(table))?;
                }
                let mut table = transaction.open_table(definition(TableId::Meta))?;
                for number in 0..count {
                    table.insert(number.to_be_bytes().as_slice(), number.to_le_bytes().as_slice())?;
                }
                Ok(())
            })
            .unwrap();
        engine
    }

    #[test]
    fn a_copy_of_several_portions_has_every_row_once() {
        for count in [0, 1, PORTION_ROWS - 1, PORTION_ROWS, PORTION_ROWS + 1, 2 * PORTION_ROWS] {
            let (source, target) = (with_rows(count), empty());
            assert_eq!(rows(&source.snapshot().unwrap(), &target).unwrap().iter().sum::<u64>(), count);
            let copy = target.snapshot().unwrap();
            let mut numbers = 0..count;
            for row in copy.table(TableId::Meta).unwrap().range::<&[u8]>(..).unwrap() {
                let (key, value) = row.unwrap();
                let number = numbers.next().unwrap();
                assert_eq!(
                    (key.value(), value.value()),
                    (&number.to_be_bytes()[..], &number.to_le_bytes()[..])
                );
            }
            assert_eq!(numbers.next(), None, "of {count}");
        }
    }

    #[test]
    fn a_copy_that_reaches_nothing_any_more_is_given_up_soon() {
        let (source, target) = (with_rows(5_000), empty());
        let asked = Cell::new(0);
        let copy = |failed: bool| {
            asked.set(0);
            let failed = || {
                asked.set(asked.get() + 1);
                failed
            };
            table_rows(TableId::Meta, &source.snapshot().unwrap(), &target, &failed)
        };
        assert!(copy(true).is_err());
        assert_eq!(asked.get(), 1);
        assert_eq!(copy(false).unwrap(), 5_000);
        assert_eq!(asked.get(), 4);
    }
}
