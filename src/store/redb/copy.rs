//! Copies the rows of a snapshot into a new store: sorted, so that its pages come out full.

use core::ops::Bound;

use redb::WriteTransaction;

use super::{EngineError, Snapshot, definition};
use crate::records::TableId;

/// Rows between two looks at whether the copy can be written at all.
const LOOK_ROWS: u64 = 1_024;

/// Copies every table, and answers how many rows each has. Stops early where `failed` says that nothing reaches
/// the medium any more: what is written after that is kept in memory, and a large copy would fill that too.
pub(super) fn rows(
    from: &Snapshot,
    to: &WriteTransaction,
    failed: &dyn Fn() -> bool,
) -> Result<Vec<u64>, EngineError> {
    TableId::ALL.iter().map(|table| table_rows(*table, from, to, failed)).collect()
}

fn table_rows(
    id: TableId,
    from: &Snapshot,
    to: &WriteTransaction,
    failed: &dyn Fn() -> bool,
) -> Result<u64, EngineError> {
    let mut table = to.open_table(definition(id))?;
    let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
    let mut copied = 0u64;
    for row in from.table(id)?.range::<&[u8]>(..)? {
        let (key, value) = row?;
        end.insert_before(key.value(), value.value())?;
        copied += 1;
        if copied.is_multiple_of(LOOK_ROWS) && failed() {
            return Err(EngineError::Read("the copy was given up".to_owned()));
        }
    }
    end.close()?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::{
        super::{Engine, Medium},
        *,
    };

    #[test]
    fn a_copy_that_reaches_nothing_any_more_is_given_up_soon() {
        let engine = || Engine::create(&Medium::memory(), 1 << 20).unwrap();
        let (source, target) = (engine(), engine());
        source
            .committed(|transaction| {
                for table in TableId::ALL {
                    transaction.open_table(definition(table))?;
                }
                let mut table = transaction.open_table(definition(TableId::Meta))?;
                for number in 0u32..5_000 {
                    table.insert(number.to_be_bytes().as_slice(), [].as_slice())?;
                }
                Ok(())
            })
            .unwrap();
        let asked = Cell::new(0);
        let copy = |failed: bool| {
            asked.set(0);
            let failed = || {
                asked.set(asked.get() + 1);
                failed
            };
            target.committed(|transaction| rows(&source.snapshot().unwrap(), transaction, &failed))
        };
        assert!(copy(true).is_err());
        assert_eq!(asked.get(), 1);
        assert_eq!(copy(false).unwrap().iter().sum::<u64>(), 5_000);
        assert_eq!(asked.get(), 4);
    }
}
