//! What the store promises, tested on memory, on files, and on media that fail.

pub(super) mod basics;
mod clocks;
mod copies;
pub(crate) mod faults;
mod files;
pub(crate) mod media;
mod migrations;
mod power;

use core::ops::{Bound, ControlFlow};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::*;
use crate::{
    records::{Fault, TableId, View, view::Direction},
    token::{Key, keyring::KeyId},
};

/// How many of something a test looks at: what the variable says, or `usual`.
pub(super) fn wanted(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// A time source that stands at `millis`.
pub(super) fn fixed(millis: u64) -> (TimeSource, Arc<AtomicU64>) {
    let shared = Arc::new(AtomicU64::new(millis));
    (TimeSource::Fixed(Arc::clone(&shared)), shared)
}

pub(crate) fn keyring(id: &str) -> Keyring {
    // Not all bytes equal: such keys are refused.
    let mut key = [7; 32];
    key[..id.len()].copy_from_slice(id.as_bytes());
    Keyring::generate(KeyId::new(id).unwrap(), &key).unwrap()
}

pub(super) fn founding() -> Founding {
    let fresh = FreshStore { id: [3; 16], key: Key::new([5; 32]), nonce: [9; 24] };
    Founding::new(keyring("k1").current(), fresh, 1_000).unwrap()
}

pub(crate) fn in_memory() -> Store {
    Store::in_memory(&founding(), &Options::default()).unwrap()
}

pub(super) fn create(dir: &Path) -> Store {
    Store::create(dir, &founding(), &Options::default()).unwrap()
}

pub(super) fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, &keyring("k1"), &Options::default())
}

/// However long the rest of a test takes.
const LONG: Duration = Duration::from_hours(1);

/// What could not be read is remembered for as long as the test runs.
pub(super) fn remember_unread(store: &Store, key: &str) {
    let unread = store.0.shared.condition.unread();
    unread.note_at(TableId::Projects, key.as_bytes(), Instant::now() + LONG);
}

/// Lets the time pass for which it is remembered what could not be read.
pub(crate) fn forget_unread(store: &Store) {
    store.0.shared.condition.unread().holds_at(TableId::Projects, b"", Instant::now() + 2 * LONG);
}

/// Waits until the writer has seen to whatever could not be read before.
pub(crate) fn settle(store: &Store) {
    // In a thread of its own, where it may wait whoever calls this. What is refused has had its turn as well.
    std::thread::scope(|scope| {
        scope.spawn(|| store.write_blocking(|_| Ok::<(), ()>(())));
    });
    assert!(store.wait_until_well(faults::PATIENCE), "{:?}", store.health());
}

/// Puts a row that no rule knows.
pub(super) fn put(store: &Store, key: &str, value: &str) -> Result<(), WriteError> {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let done = store.write_blocking(move |txn| {
        txn.hint(TableId::Projects, key, value);
        Ok::<(), ()>(())
    })?;
    assert_eq!(done, Ok(()));
    Ok(())
}

pub(super) fn get(view: &dyn View, key: &str) -> Result<Option<String>, Fault> {
    let value = view.bytes(TableId::Projects, key.as_bytes())?;
    Ok(value.map(|value| String::from_utf8(value).unwrap()))
}

#[track_caller]
pub(super) fn expect(store: &Store, key: &str, value: Option<&str>) {
    assert_eq!(get(&*store.view(), key).unwrap().as_deref(), value, "{key}");
}

pub(super) fn advance(time: &AtomicU64, millis: u64) {
    time.store(millis, Ordering::Release);
}

/// Every row of every table.
pub(super) type Dump = Vec<(TableId, Vec<u8>, Vec<u8>)>;

pub(super) fn dump(view: &dyn View) -> Dump {
    let mut rows = Vec::new();
    for table in TableId::ALL {
        let all = (Bound::Unbounded, Bound::Unbounded);
        view.scan(table, all, Direction::Forwards, &mut |key, value| {
            rows.push((table, key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    }
    rows
}
