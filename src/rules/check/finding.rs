//! What a walk can find: where it lies, what is wrong with it, and what to do about it.

use crate::records::TableId;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: TableId,
    /// The row's key, in hexadecimal; empty for a table as a whole.
    pub key: String,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A record's MAC or encoding.
    #[error("the record is damaged or was forged: its MAC does not hold, or it is not where it belongs")]
    Damaged,
    /// Something that every store has.
    #[error("what every store must have is missing")]
    Missing,
    /// A place of the file.
    #[error("what comes next cannot be read: the rest of the table was left out")]
    Unreadable,
    /// A row that nobody knows.
    #[error("nobody knows what this row is")]
    Unknown,
    /// A row that its index does not lead to.
    #[error("the index {} does not lead to it", .0.name())]
    NotIndexed(TableId),
    /// An index that leads to no row, or to one that does not carry its key.
    #[error("the index leads to nothing that carries this key")]
    Stray,
    /// A record whose owner is not there.
    #[error("what it belongs to is not there")]
    Orphan,
    /// An older genuine record.
    #[error("an older record was put back: entry {touched} of the audit log touched it, it says {stamped}")]
    PutBack {
        /// The entry.
        touched: u64,
        /// The entry that the record names.
        stamped: u64,
    },
    /// A record from ahead of the log.
    #[error("it names entry {0} of the audit log, which does not reach that far: the log was put back")]
    AheadOfLog(u64),
    /// A number that does not agree with the rows.
    #[error("{stored} are on file and {found} are there")]
    Count {
        /// What is on file.
        stored: u64,
        /// What there is.
        found: u64,
    },
    /// The audit chain.
    #[error("the audit chain breaks here: an entry was changed, removed or put in")]
    Chain,
    /// The end of the audit chain.
    #[error("the audit log ends at entry {found}, its head says {expected}")]
    ChainEnd {
        /// The last entry.
        found: u64,
        /// What the head says.
        expected: u64,
    },
    /// A root key that the keyring does not have.
    #[error("it is sealed under the root key {0}, which the keyring does not have")]
    NoKey(String),
}

impl Finding {
    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self.wrong {
            Wrong::Stray | Wrong::Count { .. } => {
                "no access depends on it alone; if nothing else is wrong, `bearerd backup` and `bearerd restore` \
                 tell whether the rows are whole. If somebody else could write to the file, restore a backup"
            }
            Wrong::NotIndexed(_) => {
                "what goes by this index takes the row for not there: a token may outlive `bearerd token revoke-all` \
                 and its host's rotation or deletion, and only `bearerd token revoke` ends it (`bearerd token list` \
                 shows its id); a name may be given twice. Find out who could write to the file, and restore a backup \
                 with `bearerd restore`"
            }
            Wrong::NoKey(_) => "put the key back into the keyring as `old`, and run `bearerd keys reseal`",
            Wrong::Orphan => orphan_advice(self.table),
            Wrong::Unreadable => {
                "the disk fails, as the system's own log should say: what needs these rows is refused, and no backup \
                 can be made. Restore the newest backup with `bearerd restore`, on another disk"
            }
            Wrong::Damaged
            | Wrong::Missing
            | Wrong::Unknown
            | Wrong::PutBack { .. }
            | Wrong::AheadOfLog(_)
            | Wrong::Chain
            | Wrong::ChainEnd { .. } => {
                "stop bearerd, keep a copy of the file, find out who could write to it, and restore a backup with \
                 `bearerd restore`"
            }
        }
    }
}

/// What to do about a row of `table` whose owner is not there. Nothing that bearerd does leaves one behind.
const fn orphan_advice(table: TableId) -> &'static str {
    match table {
        TableId::Tokens => {
            "it gives no access; end it with `bearerd token revoke` (`bearerd token list` shows its id). If somebody \
             else could write to the file, restore a backup"
        }
        TableId::Projects => {
            "it gives no access; `PUT /v1/projects/{project}/client` gives the project a client that is there. If \
             somebody else could write to the file, restore a backup"
        }
        _ => {
            "no access depends on it, and it can stay. If somebody else could write to the file, restore a backup"
        }
    }
}
