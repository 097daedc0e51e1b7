//! Where it is kept: the storage engine, the single writer, the published read view.
//!
//! A [`Store`] is a handle: clone it freely. Reading takes the newest [`ReadView`] and asks it; writing hands
//! an operation to the writer and waits for the answer, which comes after the change is on the disk and in
//! the view. Nothing above this floor knows the engine, and nothing here knows what a rule decides.
//!
//! - `redb`: the only module that names the engine; `redb/guard.rs` keeps reading alive when writing fails.
//! - `place`, `site`: the directory with its few names, and what the engine is opened on.
//! - `founding`, `own_key`: what a new store begins with, and its own key, sealed under the keyring.
//! - `judge`: whether a file is a whole store of ours, decided before a byte of it is written.
//! - `order`, `queue`, `writer`, `pace`: the operations that wait, the thread that runs and commits them, and how it
//!   gives way.
//! - `view`: what is read.
//! - `hot`, `sets`: rows that are held in memory, and how they stay true.
//! - `heal`, `error`: degraded, probing, open again; why a store could not be opened, or a change was not made.
//! - `unread`: rows that could not be read a moment ago.
//! - `clock`: the time, never behind the highest seen.
//! - `last_used`: uses that have not reached the disk.
//! - `migrate`: bringing an older store up to date.
//! - `backup`, `stopped`, `replace`: copies, looking at a store that nobody runs, and putting a restored one in its place.
//! - `stats`: what the store counts about itself.

mod backup;
mod clock;
mod error;
mod founding;
mod heal;
mod hot;
mod judge;
mod last_used;
mod migrate;
mod order;
mod own_key;
mod pace;
mod place;
mod queue;
mod redb;
mod replace;
mod sets;
mod site;
mod stats;
mod stopped;
mod unread;
mod view;
mod writer;

use std::{
    fmt,
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

pub(crate) use self::own_key::open_own_key;
pub use self::{
    backup::{Backup, BackupReader},
    clock::TimeSource,
    error::{OpenError, WriteError},
    founding::{Founding, FreshStore},
    heal::Health,
    last_used::{LastUsed, Noted},
    order::{Compacted, Written},
    own_key::{OWN_KEY_ROW, own_key_sealed_under, seal_own_key},
    place::{MARKER_FILE, Presence, STORE_FILE, presence},
    replace::Replacement,
    sets::Sets,
    stats::{BUCKETS, COMMIT_TIME_UNIT_MICROS, Distribution, Stats},
    stopped::Stopped,
    view::{EmptyView, ReadView},
};
use self::{
    clock::Clock,
    heal::Condition,
    hot::HotRows,
    order::{Order, Wish},
    place::Place,
    queue::{NotTaken, Queue},
    redb::{EngineError, Medium},
    site::Site,
    stats::Counters,
    view::Published,
    writer::Writer,
};
use crate::{
    records::{StoreKeys, TableId, Time, Txn, View, meta::HighestTime},
    token::Keyring,
};

/// The version of the schema that this bearerd writes.
pub const SCHEMA_VERSION: u32 = 1;

/// How to run a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most memory that the engine keeps pages in, in bytes.
    pub cache_bytes: usize,
    /// Files up to this size are verified page by page when they are opened, in bytes.
    pub verify_bytes_max: u64,
    /// The most operations that wait for the writer; one more is [`WriteError::Busy`].
    pub queue_operations_max: usize,
    /// Where the time comes from.
    pub time: TimeSource,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            verify_bytes_max: 256 * 1024 * 1024,
            queue_operations_max: 4096,
            time: TimeSource::System,
        }
    }
}

/// What the handles, the views and the writer share.
pub(crate) struct Shared {
    id: [u8; 16],
    keys: Arc<StoreKeys>,
    site: Site,
    clock: Clock,
    queue: Arc<Queue<Order>>,
    condition: Arc<Condition>,
    published: Published,
    hot: Arc<HotRows>,
    counters: Counters,
    waits_for_disk: AtomicBool,
    asked_to_keep: AtomicU64,
    verify_bytes_max: u64,
}

impl Shared {
    /// See [`Store::look`].
    fn look<T, E>(&self, question: impl Fn(&dyn View) -> Result<T, E>) -> Result<T, E> {
        let view = self.published.newest();
        let answer = question(&*view);
        if answer.is_err() && self.condition.is_given_up(view.generation()) {
            return question(&*self.published.newest());
        }
        answer
    }
}

/// A handle on the open store.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), EngineError>>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.shared.site.path()).finish()
    }
}

impl Store {
    /// Makes a new store in `dir`, and the directory if need be; refuses where there is or was one.
    pub fn create(dir: &Path, founding: &Founding, options: &Options) -> Result<Self, OpenError> {
        let place = Place::take(dir, true)?;
        let site = Site::new_in(&place, options, founding)?;
        Self::start(site, options, founding.id, founding.keys())
    }

    /// Opens the store in `dir`. Whatever is wrong with it, it is not changed by being refused.
    pub fn open(dir: &Path, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        let site = Site::existing_in(Place::take(dir, false)?, options)?;
        Self::open_on(site, keyring, options)
    }

    /// The id of the root key that the store in `dir` needs, for whoever has no keyring to open it with; nothing
    /// where the store cannot be read either. Nothing is written.
    pub fn needed_key(dir: &Path) -> Option<String> {
        let site = Site::existing_in(Place::take(dir, false).ok()?, &Options::default()).ok()?;
        let engine = site.open_dry(0).ok()?;
        let envelope = engine.raw(TableId::Meta, OWN_KEY_ROW).ok().flatten()?;
        own_key_sealed_under(&envelope).map(str::to_owned)
    }

    /// Judges what lies on `site`, brings its schema up to date and opens it.
    pub(crate) fn open_on(site: Site, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        Self::open_with(site, keyring, options, &migrate::CURRENT)
    }

    fn open_with(
        site: Site,
        keyring: &Keyring,
        options: &Options,
        schema: &migrate::Schema,
    ) -> Result<Self, OpenError> {
        let judge::Judged { id, keys, version, engine } = judge::judge(&site, options, keyring, schema)?;
        drop(engine); // a dry run: nothing of it has reached the file
        site.settle()?;
        migrate::migrate(&site, &keys, version, schema)?;
        Self::start(site, options, id, keys)
    }

    /// Makes a store in memory, gone with its last handle.
    pub fn in_memory(founding: &Founding, options: &Options) -> Result<Self, OpenError> {
        let site = Site::new_on(Medium::memory(), options, founding)?;
        Self::start(site, options, founding.id, founding.keys())
    }

    /// Starts the writer on what was judged to be a store that these keys belong to.
    fn start(site: Site, options: &Options, id: [u8; 16], keys: StoreKeys) -> Result<Self, OpenError> {
        let engine = site.open_engine().map_err(|error| site.fault(error))?;
        let snapshot = engine.snapshot().map_err(|error| site.fault(error))?;
        let keys = Arc::new(keys);
        let queue = Arc::new(Queue::new(options.queue_operations_max));
        let poked = Arc::clone(&queue);
        let condition = Arc::new(Condition::new(move || poked.poke()));
        let view = ReadView::new(snapshot, Arc::clone(&keys), Arc::clone(&condition), 1);
        let highest = HighestTime::of(&view).map_err(|fault| site.damaged(&fault.to_string()))?;
        let shared = Arc::new(Shared {
            id,
            keys,
            clock: Clock::new(options.time.clone(), highest.millis),
            queue,
            condition,
            published: Published::new(view),
            hot: Arc::default(),
            counters: Counters::default(),
            waits_for_disk: AtomicBool::new(false),
            asked_to_keep: AtomicU64::new(highest.millis),
            verify_bytes_max: options.verify_bytes_max,
            site,
        });
        let writer = Writer::new(engine, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::system("start a thread for", shared.site.path(), error))?;
        Ok(Self(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) })))
    }

    /// The newest view.
    pub fn view(&self) -> Arc<ReadView> {
        self.0.shared.published.newest()
    }

    /// Asks a question of the newest view. Where the engine beneath it is given up meanwhile, after a fault or for
    /// a compacted copy, it is asked once more, of the view that took its place.
    pub fn look<T, E>(&self, question: impl Fn(&dyn View) -> Result<T, E>) -> Result<T, E> {
        self.0.shared.look(question)
    }

    /// Asks a question of the store as of the last commit, going by rows that are held in memory where they
    /// are. It may be asked a second time, of one view, where a commit came in between.
    pub fn ask<T, E>(&self, question: impl Fn(&dyn View) -> Result<T, E>) -> Result<T, E> {
        hot::ask(&self.0.shared, question)
    }

    /// The store's own id, which no other store has.
    pub fn id(&self) -> &[u8; 16] {
        &self.0.shared.id
    }

    /// The time, in milliseconds since the epoch: never behind the highest that this store has seen.
    pub fn now_ms(&self) -> u64 {
        self.0.shared.clock.now_ms()
    }

    /// The same in whole seconds.
    pub fn now(&self) -> Time {
        Time::from_unix_millis(self.now_ms())
    }

    /// Runs an operation in its turn, and answers when what it wrote is on the disk and in the view. It is
    /// handed over at once, not when the future is first polled, and runs even if the future is dropped.
    ///
    /// The outer error means that the store could not, the inner one that the operation would not.
    pub fn write<T, E>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<Result<T, E>, WriteError>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let answer = self.hand_over(Wish::Plain, operation);
        async { answer.await.unwrap_or(Err(WriteError::Internal)) }
    }

    /// The same, for an operation that more than the store depends on: `settle` is called in the writer's
    /// thread as soon as the outcome is known, with whether everything was accepted and is on the disk, and
    /// before any later operation has its turn. It must be quick and must not call the store. Where the
    /// operation breaks off it is dropped uncalled.
    pub fn write_and_settle<T, E>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        settle: impl FnOnce(bool) + Send + 'static,
    ) -> impl Future<Output = Result<Result<T, E>, WriteError>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = order::job(Wish::Plain, operation, move |outcome| {
            settle(matches!(outcome, Ok(Ok(_))));
            drop(answer.send(outcome));
        });
        self.queue_up(Order::Run(job));
        async { answered.await.unwrap_or(Err(WriteError::Internal)) }
    }

    /// The same for a thread that may block; never to be called from async code.
    pub fn write_blocking<T, E>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, WriteError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.hand_over(Wish::Plain, operation).blocking_recv().unwrap_or(Err(WriteError::Internal))
    }

    /// Runs an operation at the time that the system's clock says, even if that lies behind the highest time
    /// seen; if it accepts, that is the highest time from then on. For `clock reset` alone.
    pub fn write_turning_clock_back<T, E>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<Result<T, E>, WriteError>> + Send
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let answer = self.hand_over(Wish::TurnClockBack, operation);
        async { answer.await.unwrap_or(Err(WriteError::Internal)) }
    }

    /// To be called when a credential was refused because it expired at `expired_at`: unless the store holds
    /// that time already, it is written soon, so that a clock that jumps back revives nothing even after a
    /// restart. Never waits.
    pub fn keep_time(&self, expired_at: Time) {
        let millis = expired_at.unix().saturating_mul(1000);
        let shared = &self.0.shared;
        if millis <= shared.clock.persisted_ms()
            || shared.asked_to_keep.fetch_max(millis, Ordering::AcqRel) >= millis
        {
            return;
        }
        let asked = Arc::clone(shared);
        let job = order::job(
            Wish::KeepTime,
            |_| Ok::<(), ()>(()),
            // However it went, and also if the clock was set right since: what the store holds is what was kept.
            move |_| asked.asked_to_keep.store(asked.clock.persisted_ms(), Ordering::Release),
        );
        self.queue_up(Order::Run(job));
    }

    /// Gives the space of removed rows back to the file system, by copying what is left: there must be space
    /// for the copy. Reading goes on, and what is asked through [`Store::look`] or [`Store::ask`] notices nothing;
    /// changes wait. A view that is held across it can be read no longer, and a backup that is under way fails.
    pub fn compact(&self) -> impl Future<Output = Result<Compacted, WriteError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        self.queue_up(Order::Compact(Box::new(move |outcome| {
            // A caller that has gone away is told nothing.
            let _ = answer.send(outcome);
        })));
        async { answered.await.unwrap_or(Err(WriteError::Internal)) }
    }

    fn hand_over<T, E>(
        &self,
        wish: Wish,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> oneshot::Receiver<Result<Result<T, E>, WriteError>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // A caller that has gone away is told nothing.
        let job = order::job(wish, operation, move |outcome| drop(answer.send(outcome)));
        self.queue_up(Order::Run(job));
        answered
    }

    fn queue_up(&self, order: Order) {
        let shared = &self.0.shared;
        if let Some(refusal) = shared.condition.refusal() {
            order.refuse(refusal);
        } else if let Err((order, why)) = shared.queue.push(order) {
            order.refuse(match why {
                NotTaken::Full => {
                    shared.counters.refused_busy.fetch_add(1, Ordering::Relaxed);
                    WriteError::Busy
                }
                NotTaken::Closing => WriteError::Unavailable,
            });
        }
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        self.0.shared.condition.health()
    }

    /// Whether the writer is with the engine, and so perhaps with a slow disk, rather than with an operation.
    pub fn waits_for_disk(&self) -> bool {
        self.0.shared.waits_for_disk.load(Ordering::Acquire)
    }

    /// Waits until the store is well; false if it is not within `most`. Blocks.
    pub fn wait_until_well(&self, most: Duration) -> bool {
        self.0.shared.condition.wait_until_well(most)
    }

    /// Whether a store of this size is verified page by page when it is opened.
    pub fn is_verified_when_opened(&self) -> bool {
        let shared = &self.0.shared;
        shared.counters.file_bytes.load(Ordering::Relaxed) <= shared.verify_bytes_max
    }

    /// What the store has counted.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let (commit_time, commit_time_sum) = shared.counters.commit_time();
        Stats {
            commits: shared.counters.commits(),
            batch_operations: shared.counters.batch_operations(),
            commit_time,
            commit_time_sum,
            queue_depth: shared.queue.depth(),
            refused_busy: shared.counters.refused_busy.load(Ordering::Relaxed),
            file_bytes: shared.counters.file_bytes.load(Ordering::Relaxed),
            reopened: shared.condition.reopen_count(),
            health: shared.condition.health(),
            generation: self.view().generation(),
            clock_behind_ms: shared.clock.behind_ms(),
        }
    }

    /// Runs what waits, closes the file and gives it free. What is asked afterwards is refused. Blocks.
    pub fn close(&self) -> Result<(), OpenError> {
        match self.0.close() {
            Some(Err(error)) => Err(OpenError::engine(self.0.shared.site.path(), error)),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Handle {
    fn close(&self) -> Option<Result<(), EngineError>> {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if thread.thread().id() == thread::current().id() {
            return None; // the last handle went with an operation: the writer ends by itself
        }
        thread.join().ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

#[cfg(test)]
pub(crate) mod tests;
