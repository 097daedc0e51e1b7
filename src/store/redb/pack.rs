//! How rows reach a table, and why its pages come out full.
//!
//! Ids and numbers grow, so most rows come at the end of their table. The engine splits a full page in two halves,
//! and if only the second half ever grows, the first stays half empty for good: the file would be twice as large as
//! what is in it. Rows that are put in together, sorted, at the end are packed by the engine into full pages. So what
//! comes in small portions is taken out again when enough of it has come together, and put back in one piece.

use core::{
    ops::Bound,
    sync::atomic::{AtomicUsize, Ordering},
};

use redb::ReadableTable as _;

use super::{EngineError, batch::OpenTable};
use crate::records::{TableId, txn::TableRows};

/// So much may come in small portions before it is packed.
const LOOSE_BYTES_MAX: usize = 16 * 1024;
/// So much of what was packed before is packed again with it: its last two pages may have been left half empty.
const OVERLAP_BYTES: usize = 8 * 1024;

/// How many bytes at the end of each table came in small portions since it was packed. It is forgotten with the
/// engine's handle: what was loose then stays so.
#[derive(Debug, Default)]
pub(super) struct Loose([AtomicUsize; TableId::ALL.len()]);

impl Loose {
    /// Those of one table.
    pub(super) fn of(&self, table: TableId) -> &AtomicUsize {
        let [first, ..] = &self.0;
        self.0.get(usize::from(table.number())).unwrap_or(first)
    }
}

/// Puts rows into a table, and removes rows from it.
pub(super) fn put(
    table: &mut OpenTable<'_>,
    rows: &TableRows,
    loose: &AtomicUsize,
) -> Result<(), EngineError> {
    let end = table.last()?.map(|(key, _)| key.value().to_vec());
    let mut appended: Vec<(&[u8], &[u8])> = Vec::new();
    for (key, value) in rows {
        match value {
            Some(value) if end.as_ref().is_none_or(|end| end < key) => appended.push((key, value)),
            Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
            None => drop(table.remove(key.as_slice())?),
        }
    }
    if appended.is_empty() {
        return Ok(());
    }
    let before = loose.load(Ordering::Relaxed);
    let bytes: usize = appended.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
    let is_enough = before.saturating_add(bytes) >= LOOSE_BYTES_MAX;
    let again = if is_enough { take_back(table, before.saturating_add(OVERLAP_BYTES))? } else { Vec::new() };
    loose.store(if is_enough { 0 } else { before.saturating_add(bytes) }, Ordering::Relaxed);
    let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
    for (key, value) in again.iter().rev() {
        end.insert_before(key.as_slice(), value.as_slice())?;
    }
    for (key, value) in appended {
        end.insert_before(key, value)?;
    }
    Ok(end.close()?)
}

type Row = (Vec<u8>, Vec<u8>);

/// Takes rows of so many bytes from the end of a table, last first.
fn take_back(table: &mut OpenTable<'_>, bytes: usize) -> Result<Vec<Row>, EngineError> {
    let mut taken = Vec::new();
    let mut sum = 0usize;
    for row in table.iter()?.rev() {
        let (key, value) = row?;
        sum = sum.saturating_add(key.value().len()).saturating_add(value.value().len());
        taken.push((key.value().to_vec(), value.value().to_vec()));
        if sum >= bytes {
            break;
        }
    }
    if let Some((first, _)) = taken.last() {
        table.retain_in::<&[u8], _>((Bound::Included(first.as_slice()), Bound::Unbounded), |_, _| false)?;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

    use super::{
        super::{Engine, Medium, definition},
        *,
    };
    use crate::{
        records::{
            StoreKeys,
            txn::Rows,
            view::{Direction, KeyRange},
        },
        token::Key,
    };

    const TABLE: TableId = TableId::Audit;

    fn engine() -> (Engine, StoreKeys) {
        let engine = Engine::create(&Medium::memory(), 1 << 20).unwrap();
        let keys = StoreKeys::derive(&Key::new([5; 32]));
        engine
            .transact(&keys, |batch| {
                batch.make_tables();
                true
            })
            .unwrap();
        (engine, keys)
    }

    fn of_one_table(rows: TableRows) -> Rows {
        Rows::from([(TABLE, rows)])
    }

    /// How full the pages of a table are that grew at its end, `at_once` rows a commit.
    #[track_caller]
    fn fills(at_once: u64, least_percent: u64) {
        let (engine, keys) = engine();
        let rows = |from: u64| (from..from + at_once).map(|n| (n.to_be_bytes().to_vec(), Some(vec![7; 280])));
        for from in (0..3_000 / at_once).map(|n| n * at_once) {
            let rows = of_one_table(rows(from).collect());
            engine
                .transact(&keys, |batch| {
                    batch.apply(&rows);
                    true
                })
                .unwrap();
        }
        let table = engine.database.begin_read().unwrap().open_table(definition(TABLE)).unwrap();
        assert_eq!(table.len().unwrap(), 3_000 / at_once * at_once);
        let stats = table.stats().unwrap();
        let percent = stats.stored_bytes() * 100 / (stats.leaf_pages() * 4096);
        assert!(percent >= least_percent, "{at_once} rows a commit fill {percent} % of the pages");
    }

    #[test]
    fn rows_that_come_at_the_end_fill_their_pages_however_few_come_at_once() {
        for at_once in [1, 2, 5, 16, 64, 500] {
            fills(at_once, 85);
        }
    }

    /// A commit: whether it comes about, and what its operations put and remove.
    type Deed = (bool, Vec<Vec<(u8, Option<u8>)>>);

    fn commits() -> impl Strategy<Value = Vec<Deed>> {
        let row = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
        let operations = prop::collection::vec(prop::collection::vec(row, 0..6), 0..5);
        prop::collection::vec((prop::bool::weighted(0.9), operations), 1..12)
    }

    /// Values long enough that few rows fill a page, and a few commits are packed.
    fn stored(value: u8) -> Vec<u8> {
        vec![value; 900 + usize::from(value)]
    }

    fn walked(
        view: &dyn crate::records::View,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Vec<(u8, Vec<u8>)> {
        let mut rows = Vec::new();
        view.scan(TABLE, range, direction, &mut |key, value| {
            rows.push((key[0], value.to_vec()));
            Ok(core::ops::ControlFlow::Continue(()))
        })
        .unwrap();
        rows
    }

    #[track_caller]
    fn agree(view: &dyn crate::records::View, model: &BTreeMap<u8, Vec<u8>>, low: u8, high: u8) {
        let (from, to) = ([low], [high]);
        let range: KeyRange<'_> = (Bound::Included(&from), Bound::Excluded(&to));
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| (low..high).contains(*key))
            .map(|(k, v)| (*k, v.clone()))
            .collect();
        assert_eq!(walked(view, range, Direction::Forwards), expected);
        expected.reverse();
        assert_eq!(walked(view, range, Direction::Backwards), expected);
        for key in 0..=u8::MAX {
            assert_eq!(view.bytes(TABLE, &[key]).unwrap().as_ref(), model.get(&key));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_batch_reads_what_was_written_before_and_the_tables_hold_it_afterwards(
            commits in commits(), low: u8, high: u8,
        ) {
            let (engine, keys) = engine();
            let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
            for (comes_about, operations) in commits {
                let mut next = model.clone();
                engine.transact(&keys, |batch| {
                    for operation in operations {
                        let rows: TableRows = operation
                            .into_iter()
                            .map(|(key, value)| (vec![key], value.map(stored)))
                            .collect();
                        for (key, value) in &rows {
                            match value {
                                Some(value) => drop(next.insert(key[0], value.clone())),
                                None => drop(next.remove(&key[0])),
                            }
                        }
                        batch.apply(&of_one_table(rows));
                        agree(batch, &next, low, high);
                    }
                    comes_about
                }).unwrap();
                if comes_about {
                    model = next;
                }
                // What is in the tables, with nothing laid over them.
                engine.transact(&keys, |batch| { agree(batch, &model, low, high); false }).unwrap();
            }
        }
    }
}
