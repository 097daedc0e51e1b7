//! Refused setups, logins and enrolments, counted in memory until they are written to the audit log.
//!
//! However many there are, and from however many addresses, only so many entries come of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{App, Failure};
use crate::{
    records::Time,
    rules::refusals::{self, Counted, Refused},
};

/// Different refusals that are counted apart until they are written; those beyond are counted together. So many of
/// those that name a token, and of the others: it takes a token to be among the first, and whoever stole one
/// must not be able to hide among a crowd of made-up ones.
const REFUSALS_MAX: usize = 64;
/// The reason that stands for those that are counted together.
const OTHERS: &str = "others";

/// The refusals that wait to be written.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Refused, Counted>>);

impl Refusals {
    /// Counts one.
    pub fn note(&self, refused: Refused, now: Time) {
        Self::add(&mut self.lock(), refused, Counted { count: 1, since: now });
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn take(&self) -> Vec<(Refused, Counted)> {
        let mut taken: Vec<_> = self.lock().drain().collect();
        taken.sort_by_key(|(_, counted)| counted.since);
        taken
    }

    fn put_back(&self, refusals: Vec<(Refused, Counted)>) {
        let mut waiting = self.lock();
        for (refused, counted) in refusals {
            Self::add(&mut waiting, refused, counted);
        }
    }

    fn add(waiting: &mut HashMap<Refused, Counted>, refused: Refused, more: Counted) {
        let alike = waiting.keys().filter(|other| other.token.is_some() == refused.token.is_some()).count();
        let refused = if alike < REFUSALS_MAX || waiting.contains_key(&refused) {
            refused
        } else {
            Refused::new(refused.action, None, OTHERS)
        };
        let counted = waiting.entry(refused).or_insert(Counted { count: 0, since: more.since });
        counted.count = counted.count.saturating_add(more.count);
        counted.since = counted.since.min(more.since);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Refused, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Counts a refusal for the audit log.
    pub(crate) fn note_refusal(&self, refused: Refused) {
        self.refusals.note(refused, self.now());
    }

    /// Writes the refusals that wait, one entry for each address and reason. To be called every few
    /// seconds and at a stop; what cannot be written goes on waiting.
    pub async fn flush_refusals(&self) -> Result<(), Failure> {
        let waiting = self.refusals.take();
        if waiting.is_empty() {
            return Ok(());
        }
        let copy = waiting.clone();
        let outcome = self.change_own(move |txn, _| refusals::write(txn, &copy)).await;
        if outcome.is_err() {
            self.refusals.put_back(waiting);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{records::Action, token::TokenId};

    fn from(number: u32, reason: &'static str) -> Refused {
        Refused::new(Action::LoginRefused, Some(IpAddr::V4(Ipv4Addr::from_bits(number))), reason)
    }

    #[test]
    fn the_same_is_counted_together_and_the_first_time_stands() {
        let refusals = Refusals::default();
        for at in [5, 6, 7] {
            refusals.note(from(1, "hash"), Time::from_unix(at));
        }
        refusals.note(from(1, "unknown"), Time::from_unix(8));
        refusals.note(from(2, "hash"), Time::from_unix(9));
        let taken = refusals.take();
        assert_eq!(taken.len(), 3);
        assert_eq!(taken[0], (from(1, "hash"), Counted { count: 3, since: Time::from_unix(5) }));
        assert!(refusals.is_empty());
    }

    #[test]
    fn a_refusal_that_names_a_token_is_not_lost_in_a_crowd_of_others() {
        let refusals = Refusals::default();
        for number in 0..1_000 {
            refusals.note(from(number, "hash"), Time::from_unix(1));
        }
        let named = |number: u8| Refused {
            token: Some(TokenId::from_bytes([number; 16])),
            ..Refused::new(Action::EnrollmentReplayed, None, "replayed")
        };
        for number in 0..100 {
            refusals.note(named(number), Time::from_unix(2));
        }
        let taken = refusals.take();
        assert!((0..64).all(|number| taken.iter().any(|(refused, _)| *refused == named(number))));
        assert!(taken.len() <= 2 * REFUSALS_MAX + 2, "they are bounded as well");
    }

    #[test]
    fn a_flood_from_everywhere_is_a_bounded_number_of_entries_and_none_is_lost() {
        let refusals = Refusals::default();
        for number in 0..100_000 {
            refusals.note(from(number, "hash"), Time::from_unix(1));
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), REFUSALS_MAX + 1);
        assert_eq!(taken.iter().map(|(_, counted)| counted.count).sum::<u64>(), 100_000);
        refusals.put_back(taken.clone());
        refusals.put_back(taken);
        assert_eq!(refusals.take().iter().map(|(_, counted)| counted.count).sum::<u64>(), 200_000);
    }
}
