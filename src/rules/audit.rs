//! The audit log: pages with filters, whether its chain holds, and what retention cuts.

use core::ops::{Bound, ControlFlow};

use super::{Refusal, Terms, purge};
use crate::{
    records::{
        Action, By, Fault, Listed, Page, Params, Record, TableId, Time, Txn, View, audit::Entry,
        meta::AuditHead, tables, view::Direction,
    },
    settings::{Retention, Settings},
};

/// Which entries are wanted; what is absent filters nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The actor as the log prints it.
    pub actor: Option<String>,
    /// The action's name.
    pub action: Option<String>,
    /// The resource.
    pub resource: Option<String>,
    /// Not before.
    pub since: Option<Time>,
    /// Before.
    pub until: Option<Time>,
}

impl Filter {
    /// Whether it lets `entry` through.
    pub fn takes(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
        is(&self.actor, &entry.actor.to_string())
            && is(&self.action, &entry.action)
            && is(&self.resource, &entry.resource)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

/// One page of the log, newest first.
pub fn list(view: &dyn View, filter: &Filter, page: &Page) -> Result<Listed<Entry>, Refusal> {
    let listed = tables::page(view, TableId::Audit, &[], page, &mut |key, stored| {
        let entry = Entry::believe(view, key, stored)?;
        Ok(filter.takes(&entry).then_some(entry))
    })?;
    Ok(listed)
}

/// Entries that retention removes in one operation of the writer.
pub const CUT_ROWS_MAX: usize = 1_000;

/// Whether there is anything to [`cut`].
pub fn is_cut_due(view: &dyn View, settings: &Settings, now: Time) -> Result<bool, Refusal> {
    Ok(!too_old(view, settings, now, 1)?.is_empty())
}

/// Removes the oldest entries that are older than retention keeps them, and puts a checkpoint in their
/// place, to which the oldest one left is chained. How many they were. Holds with the purge.
pub fn cut(txn: &mut Txn<'_>, terms: Terms<'_>) -> Result<u64, Refusal> {
    if !purge::may_run(txn)? {
        return Ok(0);
    }
    let old = too_old(txn, terms.settings, txn.now(), CUT_ROWS_MAX)?;
    let Some((cut_seq, cut_hash)) = old.last().copied() else { return Ok(0) };
    let head = AuditHead::of(txn)?;
    txn.note(&AuditHead { cut_seq, cut_hash, ..head })?;
    for (seq, _) in &old {
        txn.forget(TableId::Audit, &seq.to_be_bytes());
    }
    let count = u64::try_from(old.len()).unwrap_or(u64::MAX);
    let params = Params::none().with("removed", count).with("through", cut_seq);
    txn.entry(&By::system(), Action::AuditCut, "audit", params)?;
    Ok(count)
}

/// Number and hash of the oldest entries that retention does not keep, at most `most` of them. One that says a time
/// which is yet to come, since the clock had run ahead, is as old as what follows those like it.
fn too_old(
    view: &dyn View,
    settings: &Settings,
    now: Time,
    most: usize,
) -> Result<Vec<(u64, [u8; 32])>, Fault> {
    let Retention::Seconds(kept) = settings.audit.retention else { return Ok(Vec::new()) };
    let limit = now.minus(kept);
    let mut ahead: Option<Ahead> = None;
    let mut old = Vec::new();
    tables::each(view, TableId::Audit, &[], &mut |key, stored| {
        let entry = Entry::believe(view, key, stored)?;
        let at = if entry.at <= now {
            entry.at
        } else {
            let known = ahead.filter(|known| entry.seq <= known.last);
            let stretch = known.map_or_else(|| Ahead::from(view, entry.seq, now), Ok)?;
            ahead = Some(stretch);
            stretch.before
        };
        if at >= limit || old.len() == most {
            return Ok(ControlFlow::Break(()));
        }
        old.push((entry.seq, entry.hash));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(old)
}

/// Entries one after the other that say a time which is yet to come.
#[derive(Clone, Copy)]
struct Ahead {
    /// The number of the last one.
    last: u64,
    /// They were made before this.
    before: Time,
}

impl Ahead {
    /// Those from number `first` on. There may be many, and their end is found by halving: should there be several
    /// ends, any of them will do, since what stands behind one was made after all that stands before it.
    fn from(view: &dyn View, first: u64, now: Time) -> Result<Self, Fault> {
        let mut stretch = Self { last: first, before: now };
        let mut beyond = AuditHead::of(view)?.seq.saturating_add(1);
        while stretch.last.saturating_add(1) < beyond {
            let middle = stretch.last.midpoint(beyond);
            let entry = Entry::must_be_at(view, &middle.to_be_bytes())?;
            if entry.at > now {
                stretch.last = middle;
            } else {
                (beyond, stretch.before) = (middle, entry.at);
            }
        }
        Ok(stretch)
    }
}

/// The oldest `most` entries after number `seq`, oldest first.
pub fn after(view: &dyn View, seq: u64, most: usize) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    let after = seq.to_be_bytes();
    let range = (Bound::Excluded(after.as_slice()), Bound::Unbounded);
    view.scan(TableId::Audit, range, Direction::Forwards, &mut |key, stored| {
        entries.push(Entry::believe(view, key, stored)?);
        Ok(if entries.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(entries)
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry was changed, removed or put in there.
    #[error("the chain breaks at entry {0}")]
    At(u64),
    /// The log does not end where its head says.
    #[error("the log ends at entry {found}, its head says {expected}")]
    End {
        /// The last entry that is there.
        found: u64,
        /// The last entry that should be.
        expected: u64,
    },
}

/// Walks the whole chain, from where retention cut it to its head. Calls `each` with every entry that
/// holds. The number of entries, or what is wrong; a fault only where the store cannot be read.
pub fn verify(
    view: &dyn View,
    each: &mut dyn FnMut(&Entry) -> Result<(), Fault>,
) -> Result<Result<u64, Broken>, Fault> {
    let head = AuditHead::of(view)?;
    let mut before = head.cut_hash;
    let mut seq = head.cut_seq;
    let mut broken = None;
    tables::each(view, TableId::Audit, &[], &mut |key, stored| {
        let expected = seq.saturating_add(1);
        let good = Entry::believe(view, key, stored).ok().filter(|entry| {
            entry.seq == expected
                && entry.chained(&view.keys().audit, &before).is_ok_and(|hash| hash == entry.hash)
        });
        let Some(entry) = good else {
            broken = Some(Broken::At(expected));
            return Ok(ControlFlow::Break(()));
        };
        each(&entry)?;
        seq = entry.seq;
        before = entry.hash;
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(broken) = broken {
        return Ok(Err(broken));
    }
    if seq != head.seq || before != head.hash {
        return Ok(Err(Broken::End { found: seq, expected: head.seq }));
    }
    Ok(Ok(seq.saturating_sub(head.cut_seq)))
}

#[cfg(test)]
mod tests;
