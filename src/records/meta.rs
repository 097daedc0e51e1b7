//! The singletons, and the counts. All of them but the counts exist from the store's creation; their absence is damage.

use serde::{Deserialize, Serialize};

use super::{
    tables::{Deciding, Record},
    time::Time,
    view::{Fault, TableId, View},
};
use crate::token::{Kind, TokenId};

/// Raw rows of [`TableId::Meta`], read before any record can be believed: they carry no MAC.
pub mod raw {
    /// The version of the schema, 4 bytes big-endian.
    pub const SCHEMA: &[u8] = b"schema";
    /// The store's id, 16 random bytes.
    pub const STORE_ID: &[u8] = b"store_id";
    /// The store's own key, sealed under the current root key.
    pub const STORE_KEY: &[u8] = b"store_key";
}

/// Whether the first admin was ever made, and which install token may make one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// When setup was first completed. Never cleared: it is what keeps a second start from printing a token.
    pub completed_at: Option<Time>,
    /// Opened by an operator's force, once more or for the first time: an e-mail that exists names its user.
    pub reopened: bool,
    /// The install token on file.
    pub install_token: Option<TokenId>,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Setup {
    const KEY: &'static [u8] = b"setup";

    /// The setup state of this store.
    pub fn of(view: &dyn View) -> Result<Self, Fault> {
        Self::must_be_at(view, Self::KEY)
    }

    /// Whether `POST /v1/setup` can still succeed.
    pub fn pending(&self) -> bool {
        self.completed_at.is_none() || self.reopened
    }
}

impl Record for Setup {
    const TABLE: TableId = TableId::Meta;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

impl Deciding for Setup {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// The highest time that this store has seen. Written by the writer with every commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighestTime {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
}

impl HighestTime {
    const KEY: &'static [u8] = b"highest_time";

    /// The highest time of this store.
    pub fn of(view: &dyn View) -> Result<Self, Fault> {
        Self::must_be_at(view, Self::KEY)
    }
}

impl Record for HighestTime {
    const TABLE: TableId = TableId::Meta;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// How far the audit log reaches, and where retention has cut it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The number of the newest entry; 0 before the first.
    pub seq: u64,
    /// The newest entry's hash; zeros before the first.
    pub hash: [u8; 32],
    /// The number of the newest entry that retention has removed; 0 where none was.
    pub cut_seq: u64,
    /// The hash of that entry: what the oldest one left is chained to.
    pub cut_hash: [u8; 32],
}

impl AuditHead {
    const KEY: &'static [u8] = b"audit_head";

    /// The head of a log with no entry.
    pub const EMPTY: Self = Self { seq: 0, hash: [0; 32], cut_seq: 0, cut_hash: [0; 32] };

    /// The head of this store's log.
    pub fn of(view: &dyn View) -> Result<Self, Fault> {
        Self::must_be_at(view, Self::KEY)
    }
}

impl Record for AuditHead {
    const TABLE: TableId = TableId::Meta;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// Until when the purge stands still, because the clock jumped by more than a day; and when it last ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeHold {
    /// The purge removes nothing before this time.
    pub until: Time,
    /// When the purge last looked at the clock, to the hour.
    pub seen: Time,
}

impl PurgeHold {
    const KEY: &'static [u8] = b"purge_hold";

    /// The hold, if one was ever set.
    pub fn of(view: &dyn View) -> Result<Option<Self>, Fault> {
        Self::at(view, Self::KEY)
    }
}

impl Record for PurgeHold {
    const TABLE: TableId = TableId::Meta;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// How many tokens of a kind are stored, dead ones included until they are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted.
    pub kind: Kind,
    /// How many there are.
    pub stored: u64,
}

impl Count {
    /// The count of `kind`.
    pub fn of(view: &dyn View, kind: Kind) -> Result<Self, Fault> {
        let none = Self { kind, stored: 0 };
        Ok(Self::at(view, &none.key())?.unwrap_or(none))
    }
}

impl Record for Count {
    const TABLE: TableId = TableId::Counts;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.kind.tag().as_bytes().to_vec()
    }
}
