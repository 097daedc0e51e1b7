//! A table of bounded size that nobody waits for: the memory behind what is remembered.
//!
//! It is cut into small sets, each under a lock of its own. A reader who finds a set being written passes
//! it by and is told that there is nothing; one who would insert there does not. Each set knows the
//! generation of the last write that took something out of it, and takes in nothing that was read before:
//! so whoever read a row just before it was changed cannot put it back just after.
//!
//! A set that is full takes in what is asked for twice within a few questions to it: what is asked for once in a
//! long while pushes nothing out.

use std::sync::{Arc, PoisonError, RwLock};

/// Rows in one set; a newcomer takes the place of the one that has been there the longest.
const WAYS: usize = 4;
/// Places that a full set knows of rows that it did not take in. Where the n-th of 900,000 rows is asked for with a
/// frequency of 1/n, and there are 8,192 sets, they raise the share of what is found from 64 to 69 percent (76 would be
/// the best choice of rows); twice as many raise it no further.
const PASSED_BY: usize = 4;

/// The table.
#[derive(Debug)]
pub struct Sets<T> {
    sets: Box<[RwLock<Set<T>>]>,
}

#[derive(Debug)]
struct Set<T> {
    /// What was read under an older generation than this does not come in.
    since: u64,
    rows: [Option<Kept<T>>; WAYS],
    /// Places of the last ones that found it full.
    passed_by: [u64; PASSED_BY],
}

/// A row with its place: the others of its set are passed by without a look at where they lie in memory. A place is a
/// word that its row's key or hash is spread by, and is compared in one step, which tells nothing of how much of it
/// is the same.
#[derive(Debug)]
struct Kept<T> {
    place: u64,
    row: Arc<T>,
}

impl<T> Kept<T> {
    fn is(&self, place: u64, is_it: impl Fn(&T) -> bool) -> bool {
        self.place == place && is_it(&self.row)
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { since: 0, rows: [const { None }; WAYS], passed_by: [0; PASSED_BY] }
    }
}

impl<T> Sets<T> {
    /// Room for at least `rows_max` rows: as many sets as the next power of two.
    pub fn new(rows_max: usize) -> Self {
        let sets = rows_max.div_ceil(WAYS).next_power_of_two();
        Self { sets: (0..sets).map(|_| RwLock::default()).collect() }
    }

    /// The row of that `place` that is the one looked for. Places are spread evenly over all that 64 bits can hold.
    pub fn find(&self, place: u64, is_it: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let set = self.set(place)?.try_read().ok()?;
        set.rows.iter().flatten().find(|kept| kept.is(place, &is_it)).map(|kept| Arc::clone(&kept.row))
    }

    /// Takes in a row that was read under `generation`, unless its set has changed since; if its set is full, only the
    /// next time. A row that `is_it` is replaced.
    pub fn insert(&self, place: u64, generation: u64, row: Arc<T>, is_it: impl Fn(&T) -> bool) {
        let Some(Ok(mut set)) = self.set(place).map(RwLock::try_write) else { return };
        if generation >= set.since {
            set.take_in(Kept { place, row }, is_it);
        }
    }

    /// The same without a look at the generation: the mistake that the tests plant.
    #[cfg(test)]
    pub(super) fn insert_whenever(&self, place: u64, row: Arc<T>, is_it: impl Fn(&T) -> bool) {
        if let Some(Ok(mut set)) = self.set(place).map(RwLock::try_write) {
            set.take_in(Kept { place, row }, is_it);
        }
    }

    /// Drops the row of that `place` that `is_it`; from then on its set takes in nothing that was read before
    /// `generation`.
    pub fn forget(&self, place: u64, generation: u64, is_it: impl Fn(&T) -> bool) {
        if let Some(set) = self.set(place) {
            let mut set = set.write().unwrap_or_else(PoisonError::into_inner);
            set.forget(generation, |kept| kept.is(place, &is_it));
        }
    }

    /// Drops everything in the same way.
    pub fn forget_all(&self, generation: u64) {
        for set in &self.sets {
            set.write().unwrap_or_else(PoisonError::into_inner).forget(generation, |_| true);
        }
    }

    fn set(&self, place: u64) -> Option<&RwLock<Set<T>>> {
        // Their number is a power of two, so the remainder is what the lowest bits say.
        let last = u64::try_from(self.sets.len()).ok()?.checked_sub(1)?;
        self.sets.get(usize::try_from(place & last).ok()?)
    }
}

impl<T> Set<T> {
    fn take_in(&mut self, new: Kept<T>, is_it: impl Fn(&T) -> bool) {
        let is_same = |own: &Option<Kept<T>>| own.as_ref().is_some_and(|own| own.is(new.place, &is_it));
        let same = self.rows.iter().position(is_same);
        let free = self.rows.iter().position(Option::is_none);
        let last = || self.passed_by.contains(&new.place).then_some(WAYS - 1);
        let Some(end) = same.or(free).or_else(last) else {
            self.passed_by.rotate_right(1);
            self.passed_by[0] = new.place;
            return;
        };
        if let Some(older) = self.rows.get_mut(..=end) {
            older.rotate_right(1);
            if let Some(first) = older.first_mut() {
                *first = Some(new);
            }
        }
    }

    fn forget(&mut self, generation: u64, is_it: impl Fn(&Kept<T>) -> bool) {
        self.since = generation;
        for own in &mut self.rows {
            if own.as_ref().is_some_and(&is_it) {
                *own = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(sets: &Sets<u64>) -> Vec<u64> {
        (0..20).filter(|row| sets.find(*row, |own| own == row).is_some()).collect()
    }

    fn insert(sets: &Sets<u64>, generation: u64, row: u64) {
        sets.insert(row, generation, Arc::new(row), |own| *own == row);
    }

    #[test]
    fn a_set_holds_four_rows_and_each_once() {
        let sets = Sets::new(WAYS);
        for row in [1, 2, 3, 3, 4, 1] {
            insert(&sets, 1, row);
        }
        assert_eq!(there(&sets), [1, 2, 3, 4]);
    }

    #[test]
    fn a_full_set_takes_in_what_is_asked_for_twice_for_what_has_been_there_the_longest() {
        let sets = Sets::new(WAYS);
        for row in [1, 2, 3, 4, 1] {
            insert(&sets, 1, row);
        }
        (5..20).for_each(|row| insert(&sets, 1, row));
        assert_eq!(there(&sets), [1, 2, 3, 4], "each of the others was asked for once");
        insert(&sets, 1, 19);
        assert_eq!(there(&sets), [1, 3, 4, 19], "the one that came in first and not again has left");
        for row in [18, 17, 5] {
            insert(&sets, 1, row);
        }
        assert_eq!(there(&sets), [1, 17, 18, 19], "the last ones that were passed by are known");
        insert(&sets, 1, 16);
        insert(&sets, 1, 15);
        assert_eq!(there(&sets), [1, 17, 18, 19], "those before them are not");
    }

    #[test]
    fn what_was_read_before_a_set_was_written_does_not_come_in_and_what_was_read_since_does() {
        let sets = Sets::new(WAYS);
        insert(&sets, 1, 1);
        sets.forget(1, 5, |own| *own == 1);
        assert_eq!(there(&sets), [0; 0]);
        insert(&sets, 4, 1);
        assert_eq!(there(&sets), [0; 0]);
        insert(&sets, 5, 1);
        assert_eq!(there(&sets), [1]);
        sets.forget_all(6);
        insert(&sets, 5, 2);
        assert_eq!(there(&sets), [0; 0]);
    }

    #[test]
    fn a_set_that_is_being_written_is_passed_by() {
        let sets = Sets::new(WAYS);
        insert(&sets, 1, 1);
        let writing = sets.sets[0].write().unwrap();
        assert!(sets.find(1, |_| true).is_none());
        insert(&sets, 1, 2);
        drop(writing);
        assert_eq!(there(&sets), [1]);
    }
}
