//! What the store counts about itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::heal::Health;

/// Buckets of a [`Distribution`]; the upper bound of each is twice that of the one before.
pub const BUCKETS: usize = 16;

/// Values in buckets whose bounds double: bucket `i` counts those up to `2^i`, the last one all the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// How many in each bucket; not cumulative.
    pub buckets: [u64; BUCKETS],
}

/// A moment's figures.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Commits since the store was opened.
    pub commits: u64,
    /// Operations in each commit.
    pub batch_operations: Distribution,
    /// Time for each commit, in units of 128 microseconds.
    pub commit_time: Distribution,
    /// Time spent on commits altogether.
    pub commit_time_sum: Duration,
    /// Operations that wait now.
    pub queue_depth: usize,
    /// Operations that were refused because too many waited.
    pub refused_busy: u64,
    /// The size of the file in bytes; 0 where it could not be asked.
    pub file_bytes: u64,
    /// How often the engine was opened again after a fault.
    pub reopened: u64,
    /// How the store is.
    pub health: Health,
    /// The generation of the published view.
    pub generation: u64,
    /// By how many milliseconds the system's clock is behind the highest time seen.
    pub clock_behind_ms: u64,
}

/// The unit of [`Stats::commit_time`].
pub const COMMIT_TIME_UNIT_MICROS: u64 = 128;

#[derive(Debug, Default)]
pub(crate) struct Counted {
    count: AtomicU64,
    sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Counted {
    fn add(&self, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        let bucket = (0..BUCKETS - 1).find(|bucket| value <= 1 << bucket).unwrap_or(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Distribution {
        Distribution {
            count: self.count.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
            buckets: core::array::from_fn(|bucket| {
                self.buckets.get(bucket).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    batch_operations: Counted,
    commit_time: Counted,
    commit_micros: AtomicU64,
    pub(crate) refused_busy: AtomicU64,
    pub(crate) file_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, operations: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.batch_operations.add(operations as u64);
        self.commit_time.add(micros / COMMIT_TIME_UNIT_MICROS);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.batch_operations.count.load(Ordering::Relaxed)
    }

    pub(crate) fn batch_operations(&self) -> Distribution {
        self.batch_operations.read()
    }

    pub(crate) fn commit_time(&self) -> (Distribution, Duration) {
        (self.commit_time.read(), Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_its_operations_and_its_time_in_units_and_in_whole() {
        let counters = Counters::default();
        let took = Duration::from_micros(2 * COMMIT_TIME_UNIT_MICROS + 5);
        counters.committed(3, took);
        let (units, whole) = counters.commit_time();
        assert_eq!((units.count, units.sum, whole), (1, 2, took));
        assert_eq!((counters.commits(), counters.batch_operations().sum), (1, 3));
    }

    #[test]
    fn whatever_is_beyond_the_buckets_is_in_the_last() {
        let counted = Counted::default();
        for value in [1 << 14, (1 << 14) + 1, 1 << 15, (1 << 15) + 1, 1 << 16, u64::MAX >> 8] {
            counted.add(value);
        }
        assert_eq!(counted.read().buckets[BUCKETS - 2..], [1, 5]);
    }

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_holds_it() {
        let counted = Counted::default();
        for value in [0, 1, 2, 3, 4, 512, u64::from(u32::MAX)] {
            counted.add(value);
        }
        let read = counted.read();
        assert_eq!(read.buckets, [2, 1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read.count, 7);
    }
}
