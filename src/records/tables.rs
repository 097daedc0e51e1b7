//! The typed tables: which record lives where, under which key.
//!
//! | `table` | key | value |
//! |---|---|---|
//! | `meta` | a name | one record: [`Setup`](super::meta::Setup), [`HighestTime`](super::meta::HighestTime), … |
//! | `users` | user id | [`User`](super::user::User) |
//! | `users_by_email` | folded e-mail | user id (hint) |
//! | `tokens` | token id | [`Token`](super::token::Token) |
//! | `tokens_by_hash` | SHA-256 | token id (hint) |
//! | `tokens_by_owner` | owner tag, owner id, kind, token id | nothing (hint) |
//! | `tokens_by_kind` | kind, token id | nothing (hint) |
//! | `tokens_by_root_key` | key id, 0, token id | nothing (hint) |
//! | `last_used` | token id | [`LastUsed`](super::token::LastUsed) |
//! | `uses` | token id | [`Uses`](super::token::Uses) |
//! | `hosts` | host id | [`Host`](super::host::Host) |
//! | `hosts_by_name` | folded host name | host id (hint) |
//! | `clients` | client id | [`Client`](super::client::Client) |
//! | `clients_by_slug` | slug | client id (hint) |
//! | `sealed` | tag, token or host id | [`Sealed`](super::host::Sealed) |
//! | `replays` | token id | [`Replay`](super::host::Replay) |
//! | `projects` | project | [`Project`](super::client::Project) |
//! | `tombstones` | SHA-256 | [`Tombstone`](super::token::Tombstone) |
//! | `audit` | sequence number | [`Entry`](super::audit::Entry) |
//! | `counts` | kind | [`Count`](super::meta::Count) |
//! | `admins` | user id | nothing (hint) |
//! | `service_users` | name of a service | user id (hint) |
//!
//! A hint carries no MAC: the row that it leads to must itself carry the key that was looked up.

use core::ops::{Bound, ControlFlow};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    codec,
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

/// What leads to a row: an index, a key in it, and what is there.
pub type Hint = (TableId, Vec<u8>, Vec<u8>);

/// What is stored in a table of its own type under a key of its own type.
pub trait Record: Serialize + DeserializeOwned {
    /// The table.
    const TABLE: TableId;
    /// The version of the encoding; a change of the type's fields is a new one, with a migration.
    const VERSION: u8;

    /// The key under which this record is stored.
    fn key(&self) -> Vec<u8>;

    /// The record at `key`, checked: its MAC holds and it says itself that it belongs there.
    fn at(view: &dyn View, key: &[u8]) -> Result<Option<Self>, Fault> {
        match view.bytes(Self::TABLE, key)? {
            Some(stored) => Self::believe(view, key, &stored).map(Some),
            None => Ok(None),
        }
    }

    /// The record at `key`, whose absence is damage.
    fn must_be_at(view: &dyn View, key: &[u8]) -> Result<Self, Fault> {
        Self::at(view, key)?.ok_or(Fault::Damaged(Self::TABLE))
    }

    /// The record that `stored`, found at `key`, is.
    fn believe(view: &dyn View, key: &[u8], stored: &[u8]) -> Result<Self, Fault> {
        let damaged = Fault::Damaged(Self::TABLE);
        let record: Self = codec::decode(&view.keys().records, Self::TABLE, key, Self::VERSION, stored)
            .map_err(|_| damaged)?;
        if record.key() == key { Ok(record) } else { Err(damaged) }
    }
}

/// A record that decides about access. It carries the number of the audit entry that last changed it, so
/// that putting back an older genuine one is found by holding it against the log.
pub trait Deciding: Record {
    /// Sets the number of the entry that this change is part of.
    fn stamp(&mut self, entry: u64);
    /// The number of the entry that last changed it.
    fn stamped(&self) -> u64;
}

/// Where a page of a list begins, how long it is, and how far it may look.
#[derive(Clone, Debug)]
pub struct Page {
    /// The key of the last row that the caller has seen; none for the first page.
    pub after: Option<Vec<u8>>,
    /// Rows wanted.
    pub limit: usize,
}

/// Rows read for one page at the most, where a filter that no index serves passes most of them over.
pub const ROWS_READ_MAX: usize = 5_000;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The key to go on after; none where the list ends here.
    pub next: Option<Vec<u8>>,
}

/// What makes an item of a row, or passes it over.
pub type Choose<'a, T> = dyn FnMut(&[u8], &[u8]) -> Result<Option<T>, Fault> + 'a;

/// Reads one page backwards (newest first) through the keys of `table` that begin with `prefix`. `choose`
/// turns a row into an item or passes it over. At most [`ROWS_READ_MAX`] rows are read.
pub fn page<T>(
    view: &dyn View,
    table: TableId,
    prefix: &[u8],
    page: &Page,
    choose: &mut Choose<'_, T>,
) -> Result<Listed<T>, Fault> {
    page_within(view, table, prefix, page, ROWS_READ_MAX, choose)
}

/// The same, reading at most `rows_max` rows.
pub fn page_within<T>(
    view: &dyn View,
    table: TableId,
    prefix: &[u8],
    page: &Page,
    rows_max: usize,
    choose: &mut Choose<'_, T>,
) -> Result<Listed<T>, Fault> {
    let (low, mut high) = prefix_range(prefix);
    if let Some(after) = &page.after {
        if !after.starts_with(prefix) {
            return Ok(Listed { items: Vec::new(), next: None });
        }
        high = Bound::Excluded(after.clone());
    }
    let mut items = Vec::new();
    let mut last = None;
    let mut read = 0usize;
    let mut more = false;
    let range: KeyRange<'_> = (as_slice(&low), as_slice(&high));
    view.scan(table, range, Direction::Backwards, &mut |key, value| {
        if items.len() == page.limit || read == rows_max {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        read = read.saturating_add(1);
        items.extend(choose(key, value)?);
        last = Some(key.to_vec());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Listed { items, next: if more { last } else { None } })
}

/// Calls `visit` for every key of `table` that begins with `prefix`, smallest first.
pub fn each(view: &dyn View, table: TableId, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
    let (low, high) = prefix_range(prefix);
    view.scan(table, (as_slice(&low), as_slice(&high)), Direction::Forwards, visit)
}

/// The keys that begin with `prefix`.
fn prefix_range(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(prefix_range(b"a").1, Bound::Excluded(b"b".to_vec()));
        assert_eq!(prefix_range(&[1, 255]).1, Bound::Excluded(vec![2]));
        assert_eq!(prefix_range(&[255, 255]).1, Bound::Unbounded);
        assert_eq!(prefix_range(b"").1, Bound::Unbounded);
    }
}
