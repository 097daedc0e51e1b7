//! What the daemon does by itself: bringing notes to the disk, and removing what is long dead.
//!
//! Each of these is a method that the daemon's timers call; none of them holds anybody up.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{App, Failure};
use crate::{
    records::token::LastUsed,
    rules::{audit, last_use, purge},
    store::{Health, WriteError},
};

/// How long the purge rests after it went through all tokens, and where it cannot go on.
const PURGE_REST: Duration = Duration::from_hours(1);

/// Where the purge is on its way through all tokens.
#[derive(Debug, Default)]
pub struct Purge(Mutex<Walk>);

#[derive(Debug, Default)]
struct Walk {
    /// The key of the last row that was looked at; none at the beginning of a walk.
    after: Option<Vec<u8>>,
    tokens: Rest,
    /// Of cutting the audit log.
    audit: Rest,
}

/// When to rest. A step may fail once because the store is being opened again, for whatever reason. One that fails
/// twice would go on to; and where that is because it cannot read on, each time the store would be opened again for it,
/// and everybody wait.
#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    has_failed: bool,
}

impl Rest {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    /// One that begins now.
    fn begun() -> Self {
        Self { until: Instant::now().checked_add(PURGE_REST), has_failed: false }
    }

    /// A step has failed; true if a rest begins.
    fn failed(&mut self, failure: &Failure) -> bool {
        // That others ask for much says nothing about what this step would find.
        if matches!(failure, Failure::Store(WriteError::Busy)) {
            return false;
        }
        let rests = self.has_failed;
        *self = if rests { Self::begun() } else { Self { until: None, has_failed: true } };
        rests
    }
}

impl App {
    /// Brings to the disk what is only in memory: last uses, refusals, the highest time. Called at
    /// intervals of less than a minute, and at a clean stop.
    pub async fn flush(&self) -> Result<(), Failure> {
        let refusals = self.flush_refusals().await;
        let uses = self.flush_last_use().await;
        self.store.keep_time(self.now());
        refusals.and(uses)
    }

    /// Resolves when so many last uses wait that they should be brought to the disk before their time.
    pub async fn last_use_crowded(&self) {
        self.last_used.crowded().await;
    }

    /// Brings last uses to the disk. What could not be written stays noted.
    pub async fn flush_last_use(&self) -> Result<(), Failure> {
        for tokens in self.last_used.waiting().chunks(last_use::BATCH_ROWS_MAX) {
            let portion = self.last_used.portion(tokens);
            let uses: Vec<LastUsed> = portion
                .iter()
                .map(|(token, noted)| LastUsed { token: *token, at: noted.at, ip: noted.ip })
                .collect();
            self.change_own(move |txn, _| last_use::write(txn, &uses)).await?;
            self.last_used.written(&portion);
        }
        Ok(())
    }

    /// One step of the purge: cuts some of the audit log that retention does not keep, looks at some rows
    /// of tokens and removes those that are long dead. To be called every few seconds; it rests between two
    /// walks through all tokens, and after a step that has failed twice. How many it removed.
    pub async fn purge_step(&self) -> Result<u64, Failure> {
        // A store that takes no changes says so itself, and nothing can be removed from it.
        if self.store.health() != Health::Well {
            return Ok(0);
        }
        // Where the log is damaged, retention stands still until somebody has seen to it; tokens go all the same.
        if self.purge.with(|walk| walk.audit.is_over()) {
            match self.cut_audit().await {
                Ok(()) => self.purge.with(|walk| walk.audit = Rest::default()),
                Err(failure) => {
                    if self.purge.with(|walk| walk.audit.failed(&failure)) {
                        tracing::warn!(%failure, "retention could not cut the audit log; it will be tried in an hour");
                    }
                }
            }
        }
        let Some(after) = self.purge.begin_step() else { return Ok(0) };
        match self.purge_from(after).await {
            Ok((removed, next)) => {
                self.purge.end_step(next);
                Ok(removed)
            }
            Err(failure) => {
                if self.purge.fail_step(&failure) {
                    tracing::warn!(%failure, "the purge could not go on; it begins anew in an hour");
                }
                Err(failure)
            }
        }
    }

    /// A step of the purge behind a row: how many it removed, and behind which row the next one goes on.
    async fn purge_from(&self, after: Option<Vec<u8>>) -> Result<(u64, Option<Vec<u8>>), Failure> {
        if after.is_none() {
            self.change_own(|txn, _| purge::may_run(txn)).await?;
        }
        let snapshot = self.snapshot();
        let look =
            self.look_long(move |view, now| purge::candidates(view, &snapshot.settings, now, after.clone()));
        let listed = look.await?;
        let ids = listed.items;
        let removed = if ids.is_empty() {
            0
        } else {
            self.change_own(move |txn, terms| purge::remove(txn, terms, &ids)).await?
        };
        Ok((removed, listed.next))
    }

    /// Cuts some of the audit log, where there is anything that retention does not keep.
    async fn cut_audit(&self) -> Result<(), Failure> {
        let snapshot = self.snapshot();
        if self.look(|view, now| audit::is_cut_due(view, &snapshot.settings, now))? {
            self.change_own(audit::cut).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl App {
    /// Lets the purge go on, whatever its rest would be on a real clock.
    pub(crate) fn wake_purge(&self) {
        self.purge.with(|walk| (walk.tokens.until, walk.audit.until) = (None, None));
    }
}

impl Purge {
    fn with<T>(&self, act: impl FnOnce(&mut Walk) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the next step goes on; none while the purge rests.
    #[expect(clippy::option_option, reason = "resting, at the beginning, or after a row")]
    fn begin_step(&self) -> Option<Option<Vec<u8>>> {
        self.with(|walk| walk.tokens.is_over().then(|| walk.after.clone()))
    }

    /// The step is done, and the next goes on after `next`, or a rest begins.
    fn end_step(&self, next: Option<Vec<u8>>) {
        self.with(|walk| {
            walk.tokens = if next.is_none() { Rest::begun() } else { Rest::default() };
            walk.after = next;
        });
    }

    /// The step has failed; true if a rest begins. The next walk goes through all tokens again: of those before
    /// this place, more may be dead by then.
    fn fail_step(&self, failure: &Failure) -> bool {
        self.with(|walk| {
            let rests = walk.tokens.failed(failure);
            if rests {
                walk.after = None;
            }
            rests
        })
    }
}

#[cfg(test)]
mod tests;
