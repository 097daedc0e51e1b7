//! What waits for the writer: operations up to a limit, and two things that never wait in line: the word
//! that something needs looking after, and the word that it is over.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A bounded queue with one taker.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    woken: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    poked: bool,
    closing: bool,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// As many wait as may.
    Full,
    /// It is over.
    Closing,
}

/// What [`Queue::next`] found.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    /// In the order in which they came; none where the wait was over before any came.
    pub(crate) items: Vec<T>,
    /// [`Queue::close`] was called, and nothing will follow once there are no more items.
    pub(crate) closing: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let waiting = Waiting { items: VecDeque::new(), poked: false, closing: false };
        Self { waiting: Mutex::new(waiting), woken: Condvar::new(), limit }
    }

    /// Adds an item; never waits.
    pub(crate) fn push(&self, item: T) -> Result<(), (T, NotTaken)> {
        let mut waiting = self.lock();
        if waiting.closing {
            return Err((item, NotTaken::Closing));
        }
        if waiting.items.len() >= self.limit {
            return Err((item, NotTaken::Full));
        }
        waiting.items.push_back(item);
        drop(waiting);
        self.woken.notify_one();
        Ok(())
    }

    /// Wakes the taker although nothing was added.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.woken.notify_one();
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.woken.notify_one();
    }

    /// How many wait.
    pub(crate) fn depth(&self) -> usize {
        self.lock().items.len()
    }

    /// Waits, at most until `until`, and takes up to `most` items.
    pub(crate) fn next(&self, until: Option<Instant>, most: usize) -> Taken<T> {
        let mut waiting = self.lock();
        while waiting.items.is_empty() && !waiting.poked && !waiting.closing {
            waiting = match until {
                None => self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        break;
                    }
                    self.woken.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        waiting.poked = false;
        let count = waiting.items.len().min(most);
        Taken {
            items: waiting.items.drain(..count).collect(),
            closing: waiting.closing && waiting.items.is_empty(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_past_the_limit_is_not_taken_and_the_others_come_out_in_order() {
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err((3, NotTaken::Full))));
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.next(None, 1).items, [1]);
        assert_eq!(queue.push(4), Ok(()));
        assert_eq!(queue.next(None, 9).items, [2, 4]);
    }

    #[test]
    fn closing_hands_out_what_waits_first_and_takes_nothing_more() {
        let queue = Queue::new(9);
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        queue.close();
        assert_eq!(queue.push(3), Err((3, NotTaken::Closing)));
        let first = queue.next(None, 1);
        assert_eq!((first.items, first.closing), (vec![1], false));
        let second = queue.next(None, 1);
        assert_eq!((second.items, second.closing), (vec![2], true));
        assert!(queue.next(None, 1).closing);
    }

    #[test]
    fn a_poke_needs_no_room_and_wakes_the_taker() {
        let queue = Queue::<u8>::new(0);
        queue.poke();
        assert!(queue.next(None, 1).items.is_empty());
    }

    #[test]
    fn whatever_is_added_is_taken_however_adding_and_taking_meet() {
        const EACH: usize = 2_000;
        let queue = Queue::new(usize::MAX);
        let taken = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = 0;
                while taken < 3 * EACH {
                    taken += queue.next(None, 5).items.len();
                }
                taken
            });
            for _ in 0..3 {
                scope.spawn(|| (0..EACH).for_each(|item| queue.push(item).unwrap()));
            }
            taker.join().unwrap()
        });
        assert_eq!((taken, queue.depth()), (3 * EACH, 0));
    }
}
