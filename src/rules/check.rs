//! Whether a store is what its keys and its log say: every record's MAC and encoding, every index against its
//! rows and back, the counts, the audit chain, and each deciding record against the entries that touched it.
//!
//! A walk goes on in portions. Over one view, with the daemon stopped, it also holds the counts against the
//! rows; over newer and newer views of a running store it cannot, and leaves that out. It changes nothing,
//! and a damaged row is a finding, not the end of the walk.

use core::ops::{Bound, ControlFlow};
use std::collections::BTreeMap;

use crate::{
    records::{
        Deciding, Fault, Hint, Record, TableId, View,
        audit::Entry,
        client::{Client, Project},
        host::{Host, Replay, Sealed},
        meta::{AuditHead, Count, HighestTime, PurgeHold, Setup, raw},
        token::{LastUsed, Owner, Token, Tombstone, Uses},
        user::User,
        view::{Direction, believed},
    },
    token::{Keyring, Kind, seal},
};

mod finding;

pub use finding::{Finding, Wrong};

/// Rows that are looked at in one portion.
pub const STEP_ROWS_MAX: usize = 1_000;
/// Findings that are kept; what is beyond is counted.
pub const FINDINGS_MAX: usize = 1_000;

/// A walk through a store.
#[derive(Debug)]
pub struct Walk {
    /// Position in [`TableId::ALL`].
    table: usize,
    after: Option<Vec<u8>>,
    /// Whether all of it is over one view.
    still: bool,
    counted: BTreeMap<Kind, u64>,
    /// The last entry of the audit log that was looked at.
    chain: Option<(u64, [u8; 32])>,
    /// Table and row behind which the last step could not read on.
    failed_at: Option<(usize, Option<Vec<u8>>)>,
    report: Report,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows that were looked at.
    pub rows: u64,
    /// Entries of the audit log among them.
    pub entries: u64,
    /// What is wrong, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings there were altogether.
    pub found: u64,
}

impl Walk {
    /// A walk that is to begin. `still`: all of it is over one view.
    pub const fn new(still: bool) -> Self {
        Self {
            table: 0,
            after: None,
            still,
            counted: BTreeMap::new(),
            chain: None,
            failed_at: None,
            report: Report { rows: 0, entries: 0, findings: Vec::new(), found: 0 },
        }
    }

    /// Looks at the next rows. The report at the end of the walk; a fault only where the store cannot be read,
    /// and then the same step can be taken again over a newer view. If that one cannot read on from there either,
    /// it is a finding, and the walk goes on with the next table. Over one view it does not: an engine that has
    /// failed to read one thing reads no other.
    pub fn step(&mut self, view: &dyn View, keyring: &Keyring) -> Result<Option<Report>, Fault> {
        let Some(table) = TableId::ALL.get(self.table).copied() else {
            return Ok(Some(core::mem::take(&mut self.report)));
        };
        match self.look_on(view, keyring, table) {
            Ok(()) => {}
            Err(fault) if self.still || !self.fails_again() => return Err(fault),
            Err(_) => {
                let behind = self.after.take().unwrap_or_default();
                self.find(table, &behind, Wrong::Unreadable);
                self.table = self.table.saturating_add(1);
            }
        }
        Ok(None)
    }

    /// Whether the step before failed where this one did.
    fn fails_again(&mut self) -> bool {
        let here = Some((self.table, self.after.clone()));
        core::mem::replace(&mut self.failed_at, here.clone()) == here
    }

    fn look_on(&mut self, view: &dyn View, keyring: &Keyring, table: TableId) -> Result<(), Fault> {
        let look = Look { view, keyring, head: believed(AuditHead::of(view).map(Some))? };
        if self.after.is_none() {
            self.begin_table(&look, table)?;
        } else if table == TableId::Audit {
            self.skip_what_was_cut(&look);
        }
        let rows = self.portion(view, table)?;
        let more = rows.len() == STEP_ROWS_MAX;
        for (key, stored) in rows {
            self.row(&look, table, &key, &stored)?;
            self.after = Some(key);
        }
        if !more {
            self.end_table(&look, table)?;
            self.table = self.table.saturating_add(1);
            self.after = None;
        }
        Ok(())
    }

    fn portion(&self, view: &dyn View, table: TableId) -> Result<Vec<Row>, Fault> {
        let low = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows: Vec<Row> = Vec::new();
        view.scan(table, (low, Bound::Unbounded), Direction::Forwards, &mut |key, stored| {
            rows.push((key.to_vec(), stored.to_vec()));
            Ok(if rows.len() == STEP_ROWS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(rows)
    }

    fn find(&mut self, table: TableId, key: &[u8], wrong: Wrong) {
        self.report.found = self.report.found.saturating_add(1);
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { table, key: hex(key), wrong });
        }
    }

    fn begin_table(&mut self, look: &Look<'_>, table: TableId) -> Result<(), Fault> {
        if table == TableId::Meta {
            let there = [
                believed(Setup::of(look.view).map(Some))?.is_some(),
                believed(HighestTime::of(look.view).map(Some))?.is_some(),
                look.head.is_some(),
            ];
            if there.contains(&false) {
                self.find(table, &[], Wrong::Missing);
            }
        } else if table == TableId::Audit {
            self.skip_what_was_cut(look);
        }
        Ok(())
    }

    /// Retention may have cut the log up to behind where this walk is.
    fn skip_what_was_cut(&mut self, look: &Look<'_>) {
        if let Some(head) = &look.head
            && self.chain.is_none_or(|(seq, _)| seq < head.cut_seq)
        {
            self.chain = Some((head.cut_seq, head.cut_hash));
        }
    }

    fn end_table(&mut self, look: &Look<'_>, table: TableId) -> Result<(), Fault> {
        if table == TableId::Audit
            && let (Some(head), Some((seq, hash))) = (&look.head, self.chain)
            && (seq, hash) != (head.seq, head.hash)
        {
            self.find(table, &[], Wrong::ChainEnd { found: seq, expected: head.seq });
        }
        if table == TableId::Counts && self.still {
            for kind in Kind::ALL {
                let found = self.counted.get(&kind).copied().unwrap_or_default();
                if let Some(Count { stored, .. }) = believed(Count::of(look.view, kind).map(Some))?
                    && stored != found
                {
                    self.find(table, kind.tag().as_bytes(), Wrong::Count { stored, found });
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, look: &Look<'_>, table: TableId, key: &[u8], stored: &[u8]) -> Result<(), Fault> {
        self.report.rows = self.report.rows.saturating_add(1);
        match table {
            TableId::Meta => self.meta(look, key, stored),
            TableId::Users => {
                let user = self.deciding::<User>(look, key, stored);
                self.indexed(look, table, key, user.map(|user| user.hints()))?;
            }
            TableId::Tokens => self.token(look, key, stored)?,
            TableId::LastUsed => drop(self.record::<LastUsed>(look, key, stored)),
            TableId::Uses => {
                if self.record::<Uses>(look, key, stored).is_some() && !look.holds(TableId::Tokens, key)? {
                    self.find(table, key, Wrong::Orphan);
                }
            }
            TableId::Hosts => {
                let host = self.deciding::<Host>(look, key, stored);
                self.indexed(look, table, key, host.map(|host| host.hints()))?;
            }
            TableId::Clients => {
                let client = self.deciding::<Client>(look, key, stored);
                self.indexed(look, table, key, client.map(|client| client.hints()))?;
            }
            TableId::Sealed => self.sealed(look, key, stored),
            TableId::Replays => drop(self.deciding::<Replay>(look, key, stored)),
            TableId::Projects => {
                if let Some(project) = self.deciding::<Project>(look, key, stored)
                    && !look.holds(TableId::Clients, project.client.as_bytes())?
                {
                    self.find(table, key, Wrong::Orphan);
                }
            }
            TableId::Tombstones => drop(self.deciding::<Tombstone>(look, key, stored)),
            TableId::Counts => drop(self.record::<Count>(look, key, stored)),
            TableId::Audit => self.entry(look, key, stored)?,
            TableId::TokensByHash
            | TableId::TokensByOwner
            | TableId::TokensByKind
            | TableId::TokensByRootKey
            | TableId::UsersByEmail
            | TableId::Admins
            | TableId::ServiceUsers
            | TableId::HostsByName
            | TableId::ClientsBySlug => {
                if !look.leads_somewhere(table, key, stored)? {
                    self.find(table, key, Wrong::Stray);
                }
            }
        }
        Ok(())
    }

    fn record<R: Record>(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) -> Option<R> {
        let record = R::believe(look.view, key, stored).ok();
        if record.is_none() {
            self.find(R::TABLE, key, Wrong::Damaged);
        }
        record
    }

    /// A record that decides, and that no newer log than this one knows.
    fn deciding<R: Deciding>(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) -> Option<R> {
        let record = self.record::<R>(look, key, stored)?;
        let stamped = record.stamped();
        if look.head.as_ref().is_some_and(|head| stamped > head.seq) {
            self.find(R::TABLE, key, Wrong::AheadOfLog(stamped));
        }
        Some(record)
    }

    /// A row that its indexes must lead to.
    fn indexed(
        &mut self,
        look: &Look<'_>,
        table: TableId,
        key: &[u8],
        hints: Option<Vec<Hint>>,
    ) -> Result<(), Fault> {
        for (index, hint, leads_to) in hints.unwrap_or_default() {
            if look.view.bytes(index, &hint)? != Some(leads_to) {
                self.find(table, key, Wrong::NotIndexed(index));
            }
        }
        Ok(())
    }

    fn meta(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) {
        match key {
            raw::SCHEMA | raw::STORE_ID | raw::STORE_KEY => {}
            b"setup" => drop(self.deciding::<Setup>(look, key, stored)),
            b"highest_time" => drop(self.record::<HighestTime>(look, key, stored)),
            b"audit_head" => drop(self.record::<AuditHead>(look, key, stored)),
            b"purge_hold" => drop(self.record::<PurgeHold>(look, key, stored)),
            _ => self.find(TableId::Meta, key, Wrong::Unknown),
        }
    }

    fn token(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) -> Result<(), Fault> {
        let Some(token) = self.deciding::<Token>(look, key, stored) else { return Ok(()) };
        let counted = self.counted.entry(token.kind).or_default();
        *counted = counted.saturating_add(1);
        self.indexed(look, TableId::Tokens, key, Some(token.hints()))?;
        if token.max_uses.is_some() && !look.holds(TableId::Uses, key)? {
            self.find(TableId::Uses, key, Wrong::Missing);
        }
        let has_owner = match token.owner {
            // A host that was deleted leaves its dead agent tokens until the purge.
            Owner::Nobody | Owner::Host(_) => true,
            Owner::User(id) => look.holds(TableId::Users, id.as_bytes())?,
            Owner::Client(id) => look.holds(TableId::Clients, id.as_bytes())?,
        };
        if !has_owner {
            self.find(TableId::Tokens, key, Wrong::Orphan);
        }
        Ok(())
    }

    fn sealed(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) {
        let Some(sealed) = self.deciding::<Sealed>(look, key, stored) else { return };
        match seal::key_id(&sealed.envelope).ok().flatten() {
            Some(id) if look.keyring.find(id).is_some() => {}
            Some(id) => self.find(TableId::Sealed, key, Wrong::NoKey(id.to_owned())),
            None => self.find(TableId::Sealed, key, Wrong::Damaged),
        }
    }

    /// An entry: its place in the chain, and that nothing it touched is older than it.
    fn entry(&mut self, look: &Look<'_>, key: &[u8], stored: &[u8]) -> Result<(), Fault> {
        self.report.entries = self.report.entries.saturating_add(1);
        let Some(entry) = self.record::<Entry>(look, key, stored) else { return Ok(()) };
        let (before, hash) = self.chain.unwrap_or_default();
        let holds = before.checked_add(1) == Some(entry.seq)
            && entry.chained(&look.view.keys().audit, &hash).is_ok_and(|hash| hash == entry.hash);
        if !holds {
            self.find(TableId::Audit, key, Wrong::Chain);
        }
        self.chain = Some((entry.seq, entry.hash));
        for touched in &entry.touched {
            let Some(table) = TableId::from_number(touched.table) else { continue };
            if let Some(stamped) = look.stamped(table, &touched.key)?
                && stamped < entry.seq
            {
                self.find(table, &touched.key, Wrong::PutBack { touched: entry.seq, stamped });
            }
        }
        Ok(())
    }
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

/// What a portion is looked at with.
struct Look<'a> {
    view: &'a dyn View,
    keyring: &'a Keyring,
    head: Option<AuditHead>,
}

impl Look<'_> {
    fn holds(&self, table: TableId, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.view.bytes(table, key)?.is_some())
    }

    fn at<R: Record>(&self, key: &[u8]) -> Result<Option<R>, Fault> {
        believed(R::at(self.view, key))
    }

    /// Whether a row of an index leads to a row that carries it.
    fn leads_somewhere(&self, index: TableId, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        let id_at_end = key.split_last_chunk::<16>().map(|(_, id)| id.as_slice()).unwrap_or_default();
        let hints = match index {
            TableId::TokensByHash => self.at::<Token>(value)?.map(|token| token.hints()),
            TableId::TokensByOwner | TableId::TokensByKind | TableId::TokensByRootKey => {
                self.at::<Token>(id_at_end)?.map(|token| token.hints())
            }
            TableId::UsersByEmail | TableId::ServiceUsers => self.at::<User>(value)?.map(|user| user.hints()),
            TableId::Admins => self.at::<User>(key)?.map(|user| user.hints()),
            TableId::HostsByName => self.at::<Host>(value)?.map(|host| host.hints()),
            TableId::ClientsBySlug => self.at::<Client>(value)?.map(|client| client.hints()),
            TableId::Meta
            | TableId::Users
            | TableId::Tokens
            | TableId::LastUsed
            | TableId::Uses
            | TableId::Hosts
            | TableId::Clients
            | TableId::Sealed
            | TableId::Replays
            | TableId::Projects
            | TableId::Tombstones
            | TableId::Audit
            | TableId::Counts => None,
        };
        let carries = |(of, hint, leads_to): &Hint| *of == index && hint == key && leads_to == value;
        Ok(hints.is_some_and(|hints| hints.iter().any(carries)))
    }

    /// The number of the last entry that the record at `key` names; none where it was removed since.
    fn stamped(&self, table: TableId, key: &[u8]) -> Result<Option<u64>, Fault> {
        fn of<R: Deciding>(look: &Look<'_>, key: &[u8]) -> Result<Option<u64>, Fault> {
            Ok(look.at::<R>(key)?.map(|record| record.stamped()))
        }
        match table {
            TableId::Meta => of::<Setup>(self, key),
            TableId::Users => of::<User>(self, key),
            TableId::Tokens => of::<Token>(self, key),
            TableId::Hosts => of::<Host>(self, key),
            TableId::Clients => of::<Client>(self, key),
            TableId::Sealed => of::<Sealed>(self, key),
            TableId::Replays => of::<Replay>(self, key),
            TableId::Projects => of::<Project>(self, key),
            TableId::Tombstones => of::<Tombstone>(self, key),
            TableId::UsersByEmail
            | TableId::TokensByHash
            | TableId::TokensByOwner
            | TableId::TokensByKind
            | TableId::TokensByRootKey
            | TableId::LastUsed
            | TableId::Uses
            | TableId::HostsByName
            | TableId::ClientsBySlug
            | TableId::Audit
            | TableId::Counts
            | TableId::Admins
            | TableId::ServiceUsers => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
