//! The single writer: one thread that takes whatever operations wait, runs them one after the other over
//! one write transaction, commits once, durably, publishes the new view, and only then answers.
//!
//! Each operation is given the time at its turn and sees what those before it wrote. One that refuses or
//! breaks off leaves nothing. It knows no rule and no record but the highest time, which it writes along.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    Shared, WriteError, backup,
    heal::{BackOff, Health},
    order::{Compacted, Deliver, Job, Order, Turn, Wish, Written},
    pace::Pace,
    redb::{Batch, Engine, EngineError, Snapshot},
    view::ReadView,
};
use crate::records::{
    meta::HighestTime,
    txn::{Rows, Txn},
};

/// The most operations that one commit carries.
pub(crate) const BATCH_OPERATIONS_MAX: usize = 512;
/// Operations after which it gives way: some thirty microseconds.
const OPERATIONS_A_STRETCH: u32 = 2;
/// Answers after which it gives way, so that those who wait for other answers do not wait for all of these to be sent.
const ANSWERS_A_STRETCH: u32 = 4;

/// What a batch has come to so far.
#[derive(Default)]
struct Outcome {
    answers: Vec<Deliver>,
    has_written: bool,
    keep_time: bool,
    highest_ms: u64,
}

/// While it lives, the writer is with the engine; for the watchdog, which must not take a slow disk for a
/// writer that hangs.
struct AtDisk<'a>(&'a AtomicBool);

impl<'a> AtDisk<'a> {
    fn enter(shared: &'a Shared) -> Self {
        shared.waits_for_disk.store(true, Ordering::Release);
        Self(&shared.waits_for_disk)
    }
}

impl Drop for AtDisk<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The writer's thread.
pub(crate) struct Writer {
    engine: Engine,
    shared: Arc<Shared>,
    generation: u64,
    ill: Option<BackOff>,
    reopened_at: Option<Instant>,
}

impl Writer {
    /// A writer on an engine that has just been opened.
    pub(crate) fn new(engine: Engine, shared: Arc<Shared>) -> Self {
        Self { engine, shared, generation: 1, ill: None, reopened_at: None }
    }

    /// Works until the queue is closed, then closes the store. Should it break off, nothing could ever be
    /// written again and nothing remembered be trusted: then the process ends, and its supervisor begins anew.
    pub(crate) fn run(self) -> Result<(), EngineError> {
        catch_unwind(AssertUnwindSafe(|| self.work_until_closed())).unwrap_or_else(|_| std::process::abort())
    }

    fn work_until_closed(mut self) -> Result<(), EngineError> {
        self.begin();
        loop {
            let until = self.ill.as_ref().map(BackOff::next);
            let taken = self.shared.queue.next(until, BATCH_OPERATIONS_MAX);
            if let Some(error) = self.shared.condition.take_reading_failed()
                && self.ill.is_none()
            {
                self.fall_ill(&error);
            }
            if self.ill.is_some() {
                for order in taken.items {
                    order.refuse(self.refusal());
                }
                self.try_to_heal();
            } else {
                self.work(taken.items);
            }
            if taken.closing {
                return self.close();
            }
        }
    }

    /// Makes what was found durable before anything is built on it: after a crash it may have been in the
    /// system's memory alone. A disk that takes no writes is no reason not to serve readers.
    fn begin(&mut self) {
        let shared = Arc::clone(&self.shared);
        let _at_disk = AtDisk::enter(&shared);
        if let Err(error) = self.engine.confirm(&self.shared.keys) {
            self.fall_ill(&error);
        }
        self.note_size();
    }

    /// Carries orders out as they came; an operation that turns the clock back has a batch of its own.
    fn work(&mut self, orders: Vec<Order>) {
        let mut batch = Vec::with_capacity(orders.len());
        for order in orders {
            match order {
                Order::Run(job) if job.wish == Wish::TurnClockBack => {
                    self.commit(core::mem::take(&mut batch));
                    self.commit(vec![job]);
                }
                Order::Run(job) => batch.push(job),
                Order::Compact(answer) => {
                    self.commit(core::mem::take(&mut batch));
                    answer(self.compact());
                }
            }
        }
        self.commit(batch);
    }

    /// Why nothing is carried out now.
    fn refusal(&self) -> WriteError {
        self.shared.condition.refusal().unwrap_or(WriteError::Unavailable)
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        if self.ill.is_some() {
            for job in jobs {
                job.refuse(self.refusal());
            }
            return;
        }
        let begun = Instant::now();
        let turning_back = jobs.iter().any(|job| job.wish == Wish::TurnClockBack);
        let mut outcome = Outcome::default();
        let mut jobs = jobs.into_iter();
        let shared = Arc::clone(&self.shared);
        let at_disk = AtDisk::enter(&shared);
        let mut pace = Pace::new(OPERATIONS_A_STRETCH);
        let committed = self.engine.transact(&self.shared.keys, |batch| {
            batch.heed(Arc::clone(shared.condition.unread()));
            batch.go_by(Arc::clone(&shared.hot));
            while !batch.is_spent()
                && let Some(job) = jobs.next()
            {
                outcome.take_turn(job, batch, &self.shared);
                pace.step();
            }
            outcome.finish(batch, turning_back)
        });
        let published = committed.and_then(|written| {
            if !outcome.is_worth_a_commit() {
                return Ok(());
            }
            self.publish(&written, &outcome, turning_back, begun)
        });
        drop(at_disk);
        let result = published.map_err(|error| {
            self.fall_ill(&error);
            Health::after(&error).refusal().unwrap_or(WriteError::Unavailable)
        });
        let mut pace = Pace::new(ANSWERS_A_STRETCH);
        for deliver in outcome.answers {
            deliver(result);
            pace.step();
        }
        if let Err(refusal) = result {
            // Those whose turn never came.
            for job in jobs {
                job.refuse(refusal);
            }
        }
    }

    /// Makes what was committed visible: remembered rows dropped first, then the view swapped.
    fn publish(
        &mut self,
        written: &Rows,
        outcome: &Outcome,
        turning_back: bool,
        begun: Instant,
    ) -> Result<(), EngineError> {
        let snapshot = self.engine.snapshot()?;
        if turning_back {
            self.shared.clock.reset(outcome.highest_ms);
            self.shared.asked_to_keep.store(outcome.highest_ms, Ordering::Release);
        } else {
            self.shared.clock.persisted(outcome.highest_ms);
        }
        self.generation += 1;
        self.show(Written::Rows(written), snapshot);
        self.shared.counters.committed(outcome.answers.len(), begun.elapsed());
        self.note_size();
        Ok(())
    }

    /// Has what is remembered of the rows that were written dropped, and then lets readers see `snapshot`.
    fn show(&self, written: Written<'_>, snapshot: Snapshot) {
        let shared = &self.shared;
        let (keys, condition) = (Arc::clone(&shared.keys), Arc::clone(&shared.condition));
        let view = ReadView::new(snapshot, keys, condition, self.generation);
        shared.hot.turn(self.generation, written, || shared.published.swap(view));
    }

    fn note_size(&self) {
        if let Ok(bytes) = self.engine.size() {
            self.shared.counters.file_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    fn fall_ill(&mut self, error: &EngineError) {
        self.shared.condition.set(Health::after(error));
        self.ill = Some(BackOff::begin(error, self.reopened_at));
    }

    fn try_to_heal(&mut self) {
        let Some(back_off) = &mut self.ill else { return };
        if !back_off.is_due() {
            return;
        }
        back_off.failed();
        let shared = Arc::clone(&self.shared);
        let _at_disk = AtDisk::enter(&shared);
        match self.reopen() {
            Ok(()) => {
                self.ill = None;
                self.shared.condition.set(Health::Well);
            }
            Err(health) => self.shared.condition.set(health),
        }
    }

    /// Opens the store once more, beside the handle that failed, and moves the readers over.
    fn reopen(&mut self) -> Result<(), Health> {
        let ill = |error: EngineError| Health::after(&error);
        self.shared.site.probe().map_err(|error| Health::after(&EngineError::of_write(&error)))?;
        self.engine.abandon().map_err(ill)?;
        let engine = self.shared.site.open_engine().map_err(ill)?;
        let snapshot = engine.snapshot().map_err(ill)?;
        if let Some(failure) = engine.failure() {
            return Err(ill(EngineError::Write(failure.clone())));
        }
        self.reopened_at = Some(Instant::now());
        self.shared.condition.reopened();
        self.move_over(engine, snapshot);
        self.engine.confirm(&self.shared.keys).map_err(ill)
    }

    /// Moves readers over to another engine, and closes the one before, with which the views over it end. Only
    /// then may pages be written that readers of the old one could still look at.
    fn move_over(&mut self, engine: Engine, snapshot: Snapshot) {
        self.generation += 1;
        self.shared.condition.moved_over(self.generation);
        self.show(Written::Everything, snapshot);
        core::mem::replace(&mut self.engine, engine).discard();
    }

    /// Copies the store, which leaves out the space of removed rows, and moves over to the copy. Readers
    /// that ask again notice nothing; changes wait.
    fn compact(&mut self) -> Result<Compacted, WriteError> {
        if self.ill.is_some() {
            return Err(self.refusal());
        }
        let refused = |error: &EngineError| Health::after(error).refusal().unwrap_or(WriteError::Unavailable);
        let shared = Arc::clone(&self.shared);
        let _at_disk = AtDisk::enter(&shared);
        let bytes_before = self.engine.size().map_err(|error| refused(&error))?;
        let Some((engine, snapshot, bytes_after)) = self.smaller_copy(bytes_before).map_err(|error| {
            self.shared.site.sweep();
            refused(&error)
        })?
        else {
            self.shared.site.sweep();
            return Ok(Compacted { bytes_before, bytes_after: bytes_before });
        };
        // What the old handle would still write is of no use to anybody.
        let abandoned = self.engine.abandon();
        self.move_over(engine, snapshot);
        self.note_size();
        // Until the name is durable, a power cut could bring the file before back: nothing may be answered.
        match abandoned.and_then(|()| self.shared.site.sync().map_err(EngineError::of)) {
            Ok(()) => Ok(Compacted { bytes_before, bytes_after }),
            Err(error) => {
                let refusal = refused(&error);
                self.fall_ill(&error);
                Err(refusal)
            }
        }
    }

    /// A copy of the store that has taken its name; none where it is no smaller. Where it fails, the store has its
    /// name, and what was begun beside it is left to be swept.
    fn smaller_copy(&self, bytes_before: u64) -> Result<Option<(Engine, Snapshot, u64)>, EngineError> {
        let shared = &self.shared;
        let beside = shared.site.beside().map_err(EngineError::of)?;
        backup::copy(&self.engine.snapshot()?, &beside.medium)?;
        let engine = shared.site.open_on(&beside.medium)?;
        engine.confirm(&shared.keys)?;
        let snapshot = engine.snapshot()?;
        let bytes_after = engine.size()?;
        if bytes_after >= bytes_before {
            engine.discard();
            return Ok(None);
        }
        shared.site.move_to(beside).map_err(EngineError::of)?;
        Ok(Some((engine, snapshot, bytes_after)))
    }

    fn close(self) -> Result<(), EngineError> {
        self.shared.condition.set(Health::Closed);
        let Self { engine, shared, .. } = self;
        let result = match engine.failure() {
            Some(failure) => Err(EngineError::Write(failure.clone())),
            None => engine.close(),
        };
        shared.site.release();
        result
    }
}

impl Outcome {
    /// Runs one operation over the batch.
    fn take_turn(&mut self, job: Job, batch: &mut Batch<'_>, shared: &Shared) {
        let Job { run, wish } = job;
        let now_ms = match wish {
            Wish::Plain | Wish::KeepTime => shared.clock.now_ms(),
            Wish::TurnClockBack => shared.clock.system_ms(),
        };
        self.highest_ms = self.highest_ms.max(now_ms);
        let turn = shared.clock.turn_within(now_ms);
        // An operation that panics drops its caller's line, which the caller is told as an internal error.
        shared.waits_for_disk.store(false, Ordering::Release);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut txn = Txn::new(&*batch, now_ms).at_turn(turn);
            let verdict = run(Turn::Yours(&mut txn))?;
            Some(if verdict.accepted {
                (verdict.deliver, txn.finish().map(Some))
            } else {
                (verdict.deliver, Ok(None))
            })
        }));
        shared.waits_for_disk.store(true, Ordering::Release);
        let left_out = batch.take_left_out();
        let Ok(Some((deliver, finished))) = ran else { return };
        if left_out {
            // Whatever it made of a row that it could not have: nothing of it counts.
            return deliver(Err(WriteError::Unavailable));
        }
        match finished {
            Ok(Some(writes)) => {
                self.keep_time |= wish != Wish::Plain;
                if !writes.rows.is_empty() {
                    batch.apply(writes.rows);
                    self.has_written = true;
                }
            }
            Ok(None) => {}
            Err(_) => return deliver(Err(WriteError::Unavailable)),
        }
        self.answers.push(deliver);
    }

    fn is_worth_a_commit(&self) -> bool {
        self.keep_time || self.has_written
    }

    /// Adds the highest time; true if there is something to commit.
    fn finish(&mut self, batch: &mut Batch<'_>, turning_back: bool) -> bool {
        if !self.is_worth_a_commit() {
            return false;
        }
        // A restore writes the higher time of two stores; what is lower is never believed.
        if !turning_back && let Ok(HighestTime { millis }) = HighestTime::of(&*batch) {
            self.highest_ms = self.highest_ms.max(millis);
        }
        let mut txn = Txn::new(&*batch, self.highest_ms);
        let noted = txn.note(&HighestTime { millis: self.highest_ms });
        let writes = noted.and_then(|()| txn.finish()).ok().filter(|_| !batch.take_left_out());
        let Some(writes) = writes else {
            batch.spoil("the highest time cannot be written");
            return false;
        };
        batch.apply(writes.rows);
        true
    }
}
