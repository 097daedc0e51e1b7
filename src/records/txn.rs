//! What an operation sees: a view of the store with the operation's own writes laid over it.
//!
//! A `Txn` knows what was read and what is written, and never who commits it. It is also the door that
//! keeps the promise of the audit log: a record that decides about access can be written only while an
//! audit entry is open, is stamped with that entry's number, and is named in it. Dropping a `Txn` is
//! refusing: nothing of it has happened.

use core::{cell::RefCell, cmp::Ordering, fmt::Display, ops::ControlFlow};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    audit::{Action, By, Entry, Touched},
    codec,
    held::Held,
    keys::StoreKeys,
    meta::AuditHead,
    tables::{Deciding, Hint, Record},
    time::Time,
    view::{Direction, Fault, KeyRange, TableId, View, Visit, is_empty},
};

/// Rows of one table that are put (`Some`) and removed (`None`).
pub type TableRows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows that a transaction puts and removes, by table.
pub type Rows = BTreeMap<TableId, TableRows>;

/// What a finished operation asks the store to write, all of it or nothing.
#[derive(Debug, Default)]
pub struct WriteSet {
    /// The rows.
    pub rows: Rows,
    /// The keys that the outcome depends on, for an engine that commits by compare-and-set.
    pub reads: BTreeSet<(TableId, Vec<u8>)>,
}

/// What an audit entry says beside who, what and when. Secrets have no business here.
#[derive(Debug, Default)]
pub struct Params(Map<String, Value>);

impl Params {
    /// Nothing more to say.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a value that serialises to JSON; one that cannot is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }
}

/// A view with the operation's own writes over it.
pub struct Txn<'v> {
    base: &'v dyn View,
    now_ms: u64,
    turn: u16,
    rows: Rows,
    reads: RefCell<BTreeSet<(TableId, Vec<u8>)>>,
    open: Option<Entry>,
    head: Option<AuditHead>,
}

impl<'v> Txn<'v> {
    /// A transaction over `base` at `now_ms` milliseconds since the epoch.
    pub fn new(base: &'v dyn View, now_ms: u64) -> Self {
        Self { base, now_ms, turn: 0, rows: Rows::new(), reads: RefCell::default(), open: None, head: None }
    }

    /// The same, `turn` being the operation's place within its millisecond.
    #[must_use]
    pub const fn at_turn(mut self, turn: u16) -> Self {
        self.turn = turn;
        self
    }

    /// Random bytes for an id, led by the operation's place within its millisecond, so that ids sort by time of
    /// creation also where several are made in one (RFC 9562, section 6.2, method 1).
    pub const fn in_turn(&self, mut random: [u8; 10]) -> [u8; 10] {
        const TURN_MAX: u16 = 0x0fff;
        let turn = if self.turn < TURN_MAX { self.turn } else { TURN_MAX };
        [random[0], random[1]] = turn.to_be_bytes();
        random
    }

    /// The second of the operation's turn.
    pub const fn now(&self) -> Time {
        Time::from_unix_millis(self.now_ms)
    }

    /// The same in milliseconds, for making ids.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Opens an audit entry, closing the one before. Records put from here on belong to it.
    pub fn entry(
        &mut self,
        by: &By,
        action: Action,
        resource: impl Display,
        params: Params,
    ) -> Result<(), Fault> {
        self.close_entry()?;
        let head = match self.head.take() {
            Some(head) => head,
            None => AuditHead::of(self)?,
        };
        let seq = head.seq.checked_add(1).ok_or(Fault::Damaged(TableId::Meta))?;
        self.head = Some(head);
        self.open = Some(Entry {
            seq,
            at: self.now(),
            actor: by.actor,
            actor_label: by.label.clone(),
            action: action.name().to_owned(),
            resource: resource.to_string(),
            params: Value::Object(params.0).to_string(),
            ip: by.ip,
            touched: Vec::new(),
            hash: [0; 32],
        });
        Ok(())
    }

    /// Writes a record that decides about access, as part of the open entry. Without one nothing is
    /// written and the operation fails: there is no change without its entry.
    pub fn put<R: Deciding>(&mut self, mut record: R) -> Result<(), Fault> {
        let key = record.key();
        let seq = self.touch(R::TABLE, &key)?;
        record.stamp(seq);
        self.write(R::TABLE, R::VERSION, key, &record)
    }

    /// Removes a record that decides about access, as part of the open entry.
    pub fn remove<R: Deciding>(&mut self, record: &R) -> Result<(), Fault> {
        self.remove_at::<R>(record.key())
    }

    /// The same by its key, whatever is there.
    pub fn remove_at<R: Deciding>(&mut self, key: Vec<u8>) -> Result<(), Fault> {
        self.touch(R::TABLE, &key)?;
        self.set(R::TABLE, key, None);
        Ok(())
    }

    /// Writes a record that decides nothing by itself: last use, counts, the audit head.
    pub fn note<R: Record>(&mut self, record: &R) -> Result<(), Fault> {
        self.write(R::TABLE, R::VERSION, record.key(), record)
    }

    /// Whether there is anything at `key`.
    pub fn holds(&self, table: TableId, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.held(table, key).is_some() || self.bytes(table, key)?.is_some())
    }

    /// Removes a record that decides nothing by itself.
    pub fn forget(&mut self, table: TableId, key: &[u8]) {
        self.set(table, key.to_vec(), None);
    }

    /// Writes a hint of an index, or a raw row of [`TableId::Meta`].
    pub fn hint(&mut self, table: TableId, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value));
    }

    /// Writes the hints that lead to a row.
    pub fn index(&mut self, hints: Vec<Hint>) {
        for (table, key, value) in hints {
            self.hint(table, key, value);
        }
    }

    /// Removes the hints that led to a row.
    pub fn unindex(&mut self, hints: &[Hint]) {
        for (table, key, _) in hints {
            self.forget(*table, key);
        }
    }

    /// Closes the open entry and hands over what is to be written.
    pub fn finish(mut self) -> Result<WriteSet, Fault> {
        self.close_entry()?;
        if let Some(head) = self.head.take() {
            self.note(&head)?;
        }
        Ok(WriteSet { rows: self.rows, reads: self.reads.into_inner() })
    }

    fn touch(&mut self, table: TableId, key: &[u8]) -> Result<u64, Fault> {
        let open = self.open.as_mut().ok_or(Fault::Damaged(TableId::Audit))?;
        let touched = Touched { table: table.number(), key: key.to_vec() };
        if !open.touched.contains(&touched) {
            open.touched.push(touched);
        }
        Ok(open.seq)
    }

    fn close_entry(&mut self) -> Result<(), Fault> {
        let (Some(mut entry), Some(mut head)) = (self.open.take(), self.head.take()) else {
            return Ok(());
        };
        entry.hash = entry.chained(&self.keys().audit, &head.hash)?;
        head.seq = entry.seq;
        head.hash = entry.hash;
        self.head = Some(head);
        self.note(&entry)
    }

    fn write<R: serde::Serialize>(
        &mut self,
        table: TableId,
        version: u8,
        key: Vec<u8>,
        record: &R,
    ) -> Result<(), Fault> {
        let stored = codec::encode(&self.keys().records, table, &key, version, record)
            .map_err(|_| Fault::Damaged(table))?;
        self.set(table, key, Some(stored));
        Ok(())
    }

    fn set(&mut self, table: TableId, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.rows.entry(table).or_default().insert(key, value);
    }
}

impl View for Txn<'_> {
    fn keys(&self) -> &StoreKeys {
        self.base.keys()
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(own) = self.rows.get(&table).and_then(|rows| rows.get(key)) {
            return Ok(own.clone());
        }
        self.reads.borrow_mut().insert((table, key.to_vec()));
        self.base.bytes(table, key)
    }

    fn held(&self, table: TableId, key: &[u8]) -> Option<Held> {
        if self.rows.get(&table).is_some_and(|rows| rows.contains_key(key)) {
            return None;
        }
        let held = self.base.held(table, key)?;
        self.reads.borrow_mut().insert((table, key.to_vec()));
        Some(held)
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let base =
            |visit: &mut Visit<'_>| -> Result<(), Fault> { self.base.scan(table, range, direction, visit) };
        scan_over(self.rows.get(&table), range, direction, base, &mut |layer, key, value| {
            if layer == Layer::Below {
                self.reads.borrow_mut().insert((table, key.to_vec()));
            }
            visit(key, value)
        })
    }
}

/// Where a row of a scan over two layers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// From the rows that lie over the others.
    Over,
    /// From what lies below.
    Below,
}

/// What a scan over two layers calls for each row: where it comes from, key, value.
pub(crate) type VisitLayer<'a> = dyn FnMut(Layer, &[u8], &[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

/// Scans what `base` scans, with the rows `own` of the same table laid over it. `own` is looked at for `range` and
/// in `direction`; `base` must scan the same.
pub(crate) fn scan_over(
    own: Option<&TableRows>,
    range: KeyRange<'_>,
    direction: Direction,
    base: impl FnOnce(&mut Visit<'_>) -> Result<(), Fault>,
    visit: &mut VisitLayer<'_>,
) -> Result<(), Fault> {
    let own = own.map(|rows| own_rows(rows, range, direction)).unwrap_or_default();
    let mut own = own.into_iter().peekable();
    let mut stopped = false;
    base(&mut |key, value| {
        // Own rows that come before this one go first; one at this very key takes its place.
        while let Some((own_key, own_value)) = own.peek() {
            let order = match direction {
                Direction::Forwards => own_key.cmp(&key),
                Direction::Backwards => key.cmp(own_key),
            };
            if order == Ordering::Greater {
                break;
            }
            if let Some(own_value) = own_value
                && visit(Layer::Over, own_key, own_value)?.is_break()
            {
                stopped = true;
                return Ok(ControlFlow::Break(()));
            }
            own.next();
            if order == Ordering::Equal {
                return Ok(ControlFlow::Continue(()));
            }
        }
        let flow = visit(Layer::Below, key, value)?;
        stopped = flow.is_break();
        Ok(flow)
    })?;
    if !stopped {
        for (own_key, own_value) in own {
            if let Some(own_value) = own_value
                && visit(Layer::Over, own_key, own_value)?.is_break()
            {
                break;
            }
        }
    }
    Ok(())
}

/// The rows of one table in `range`, in the order of the scan.
fn own_rows<'a>(
    rows: &'a TableRows,
    range: KeyRange<'_>,
    direction: Direction,
) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    if is_empty(range) {
        return Vec::new();
    }
    let mut own: Vec<_> =
        rows.range::<[u8], _>(range).map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
    if direction == Direction::Backwards {
        own.reverse();
    }
    own
}

#[cfg(test)]
mod tests {
    use core::ops::Bound;

    use proptest::prelude::*;

    use super::*;
    use crate::{records::shelf::Shelf, token::TokenId};

    #[test]
    fn ids_of_one_millisecond_sort_by_the_turns_of_their_operations() {
        let shelf = Shelf::new();
        let id = |turn: u16, random: [u8; 10]| {
            let txn = Txn::new(&shelf, 7).at_turn(turn);
            TokenId::from_parts(txn.now_ms(), txn.in_turn(random))
        };
        assert!(id(0, [255; 10]) < id(1, [0; 10]));
        assert!(id(255, [255; 10]) < id(256, [0; 10]));
        assert!(id(4094, [255; 10]) < id(4095, [0; 10]));
        assert!(id(4095, [0; 10]) < id(5000, [255; 10]), "beyond it, chance decides");
        assert_ne!(id(3, [1; 10]), id(3, [2; 10]));
    }

    #[test]
    fn what_a_scan_read_below_is_known_and_what_it_wrote_itself_is_not_among_it() {
        let mut shelf = Shelf::new();
        for key in [b"a", b"b"] {
            shelf.tamper(TableId::Projects, key, Some(vec![1]));
        }
        let mut txn = Txn::new(&shelf, 7);
        txn.hint(TableId::Projects, b"b".to_vec(), vec![2]);
        txn.hint(TableId::Projects, b"c".to_vec(), vec![3]);
        let all = (Bound::Unbounded, Bound::Unbounded);
        txn.scan(TableId::Projects, all, Direction::Forwards, &mut |_, _| Ok(ControlFlow::Continue(())))
            .unwrap();
        let reads = txn.finish().unwrap().reads;
        assert_eq!(reads.into_iter().collect::<Vec<_>>(), [(TableId::Projects, b"a".to_vec())]);
    }

    /// Keys of so few letters that own rows, rows below and the ends of a range meet often.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..3u8, 0..3)
    }

    fn end() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
    }

    fn within(key: &[u8], low: &Bound<Vec<u8>>, high: &Bound<Vec<u8>>) -> bool {
        let ends: KeyRange<'_> = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        <KeyRange<'_> as core::ops::RangeBounds<[u8]>>::contains(&ends, key)
    }

    proptest! {
        #[test]
        fn a_scan_sees_its_own_writes_among_those_below_in_their_order(
            below in prop::collection::btree_map(key(), 0..9u8, 0..8),
            own in prop::collection::btree_map(key(), prop::option::of(10..19u8), 0..8),
            low in end(), high in end(), backwards: bool, most in 1..9usize,
        ) {
            let mut shelf = Shelf::new();
            for (key, value) in &below {
                shelf.tamper(TableId::Projects, key, Some(vec![*value]));
            }
            let mut txn = Txn::new(&shelf, 7);
            for (key, value) in &own {
                match value {
                    Some(value) => txn.hint(TableId::Projects, key.clone(), vec![*value]),
                    None => txn.forget(TableId::Projects, key),
                }
            }
            // The same by a plain map.
            let mut together = below.clone();
            for (key, value) in &own {
                match value {
                    Some(value) => together.insert(key.clone(), *value),
                    None => together.remove(key),
                };
            }
            let mut expected: Vec<(Vec<u8>, u8)> =
                together.clone().into_iter().filter(|(key, _)| within(key, &low, &high)).collect();
            let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
            if backwards {
                expected.reverse();
            }
            expected.truncate(most);
            let mut seen = Vec::new();
            let range = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
            txn.scan(TableId::Projects, range, direction, &mut |key, value| {
                seen.push((key.to_vec(), value[0]));
                Ok(if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
            prop_assert_eq!(seen, expected);
            for key in below.keys().chain(own.keys()) {
                let there = together.get(key).map(|value| vec![*value]);
                prop_assert_eq!(txn.holds(TableId::Projects, key).unwrap(), there.is_some());
                prop_assert_eq!(txn.bytes(TableId::Projects, key).unwrap(), there);
            }
        }
    }
}
