//! How the writer shares a processor with those who answer requests.
//!
//! A batch of many operations is a millisecond of work and more. Where the machine has no processor left for the
//! writer alone, the system lets it work on for as long as its share allows, while verifications wait. So it
//! offers the processor after every few pieces. Where nobody waits that costs next to nothing, and a batch
//! of a single operation never comes to it: a change on a busy machine does not queue behind other programs.
//! This never decides what is done, nor in which order.

use std::thread;

/// Counts pieces of one kind of work, and gives way after every so many of them.
#[derive(Debug)]
pub(crate) struct Pace {
    pieces: u32,
    done: u32,
}

impl Pace {
    /// Gives way after every `pieces`.
    pub(crate) const fn new(pieces: u32) -> Self {
        Self { pieces, done: 0 }
    }

    /// To be called after each piece. Whether it gave way.
    pub(crate) fn step(&mut self) -> bool {
        self.done += 1;
        let due = self.done >= self.pieces;
        if due {
            self.done = 0;
            thread::yield_now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_after_every_so_many_pieces_and_never_before() {
        let mut pace = Pace::new(3);
        let gave_way: Vec<bool> = (0..7).map(|_| pace.step()).collect();
        assert_eq!(gave_way, [false, false, true, false, false, true, false]);
    }
}
