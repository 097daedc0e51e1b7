//! The seam between the rules and the engine: ordered tables of bytes that can be read.
//!
//! Nothing above this line knows which engine keeps the tables. A `View` is the published read view, by itself or
//! with the rows that are held in memory, the batch that the writer has open, or a [`Txn`](super::txn::Txn) laid over
//! one of them.

use core::ops::{Bound, ControlFlow};

use thiserror::Error;

use super::{held::Held, keys::StoreKeys};

/// The tables of the store. What each holds, key by key, is written down in `tables.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableId {
    /// Singletons: setup state, highest time, audit head, …
    Meta,
    /// People and services.
    Users,
    /// Index: folded e-mail → user.
    UsersByEmail,
    /// Every token of every kind.
    Tokens,
    /// Index: SHA-256 of an imported token → token.
    TokensByHash,
    /// Index: owner, kind, token.
    TokensByOwner,
    /// Index: kind, token.
    TokensByKind,
    /// Index: key id, token that a root key signed.
    TokensByRootKey,
    /// When and from where a token was last used.
    LastUsed,
    /// How often a counted token was used.
    Uses,
    /// Enrolled hosts.
    Hosts,
    /// Index: folded host name → host.
    HostsByName,
    /// Portal clients.
    Clients,
    /// Index: slug → client.
    ClientsBySlug,
    /// Sealed credentials of enrolments and hosts.
    Sealed,
    /// Replies of enrolments that may be asked for again.
    Replays,
    /// Which client a project belongs to.
    Projects,
    /// Hashes of purged imported tokens, which a second import must not revive.
    Tombstones,
    /// The audit log.
    Audit,
    /// How many tokens of each kind are stored.
    Counts,
    /// Index: the people who administrate.
    Admins,
    /// Index: service → the user that it acts as.
    ServiceUsers,
}

impl TableId {
    /// Every table, in the order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Meta,
        Self::Users,
        Self::UsersByEmail,
        Self::Tokens,
        Self::TokensByHash,
        Self::TokensByOwner,
        Self::TokensByKind,
        Self::TokensByRootKey,
        Self::LastUsed,
        Self::Uses,
        Self::Hosts,
        Self::HostsByName,
        Self::Clients,
        Self::ClientsBySlug,
        Self::Sealed,
        Self::Replays,
        Self::Projects,
        Self::Tombstones,
        Self::Audit,
        Self::Counts,
        Self::Admins,
        Self::ServiceUsers,
    ];

    /// The name under which the engine keeps the table. Part of every record's MAC: NEVER change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Users => "users",
            Self::UsersByEmail => "users_by_email",
            Self::Tokens => "tokens",
            Self::TokensByHash => "tokens_by_hash",
            Self::TokensByOwner => "tokens_by_owner",
            Self::TokensByKind => "tokens_by_kind",
            Self::TokensByRootKey => "tokens_by_root_key",
            Self::LastUsed => "last_used",
            Self::Uses => "uses",
            Self::Hosts => "hosts",
            Self::HostsByName => "hosts_by_name",
            Self::Clients => "clients",
            Self::ClientsBySlug => "clients_by_slug",
            Self::Sealed => "sealed",
            Self::Replays => "replays",
            Self::Projects => "projects",
            Self::Tombstones => "tombstones",
            Self::Audit => "audit",
            Self::Counts => "counts",
            Self::Admins => "admins",
            Self::ServiceUsers => "service_users",
        }
    }

    /// Its place in [`TableId::ALL`], for engines that keep handles in an array, and in stored audit
    /// entries. NEVER change one: append.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The table of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Why stored data could not be had. Neither case is ever an answer about a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The engine could not read.
    #[error("the store cannot be read")]
    Unreadable,
    /// A record's MAC or encoding is wrong, or one that must exist is absent.
    #[error("a record in table {} is damaged", .0.name())]
    Damaged(TableId),
}

/// What can be believed of what was found: a damaged record counts as one that is not there.
pub(crate) fn believed<T>(found: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Err(Fault::Damaged(_)) => Ok(None),
        found @ (Ok(_) | Err(Fault::Unreadable)) => found,
    }
}

/// The same, counting a damaged record.
pub(crate) fn believed_or_counted<T>(
    found: Result<Option<T>, Fault>,
    damaged: &mut u64,
) -> Result<Option<T>, Fault> {
    if let Err(Fault::Damaged(_)) = found {
        *damaged = damaged.saturating_add(1);
    }
    believed(found)
}

/// A range of keys.
pub type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Whether no key can lie in `range`; asking a map for such a range would panic.
pub(crate) fn is_empty((low, high): KeyRange<'_>) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
    }
}

/// What a scan calls for each row: key, value; may stop, may fail.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

/// In which direction a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key.
    Forwards,
    /// From the largest key: newest first, as keys sort by time of creation.
    Backwards,
}

/// Ordered tables of bytes, as of one moment.
pub trait View {
    /// The keys that records of this store are checked with.
    fn keys(&self) -> &StoreKeys;

    /// The value at `key`.
    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Walks the rows of `range` in order until `visit` stops it.
    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault>;

    /// The row at `key` as it was believed before, where this view holds it; by itself a view holds none.
    fn held(&self, _: TableId, _: &[u8]) -> Option<Held> {
        None
    }

    /// A row was read of this view and believed, and can be held.
    fn hold(&self, _: Held) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_own_number_and_name() {
        for (index, table) in TableId::ALL.iter().enumerate() {
            assert_eq!(usize::from(table.number()), index);
            assert_eq!(TableId::from_number(table.number()), Some(*table));
            assert_eq!(TableId::ALL.iter().filter(|other| other.name() == table.name()).count(), 1);
        }
        assert_eq!(TableId::from_number(22), None);
    }

    #[test]
    fn a_range_is_empty_where_no_key_lies_between_its_ends() {
        use Bound::{Excluded, Included, Unbounded};
        let (a, b): (&[u8], &[u8]) = (b"a", b"b");
        let empty = [
            (Included(b), Included(a)),
            (Included(b), Excluded(a)),
            (Included(a), Excluded(a)),
            (Excluded(a), Included(a)),
        ];
        let others = [
            (Included(a), Included(a)),
            (Included(a), Excluded(b)),
            (Excluded(b), Unbounded),
            (Unbounded, Excluded(a)),
        ];
        assert!(empty.into_iter().all(is_empty) && !others.into_iter().any(is_empty));
    }
}
