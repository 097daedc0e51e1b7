//! When and from where tokens were last used, as far as it has not reached the disk.
//!
//! Verification notes a use here and goes on; it never waits for the disk. A flush takes the notes out in
//! portions, and puts back those that could not be written. Whoever asks for a token's last use asks here
//! first and the store second.

use core::net::IpAddr;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{records::Time, token::TokenId};

/// Notes are spread over so many locks, so that readers on several threads seldom meet.
const SHARDS: usize = 64;
/// Notes that one lock holds at the most; beyond it a use of yet another token is not noted until the next
/// flush. About 200 MB in all, which only millions of tokens used within half a minute reach.
const NOTES_MAX: usize = 50_000;

/// A use that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at: Time,
    /// From where, where that is known.
    pub ip: Option<IpAddr>,
}

/// The notes.
#[derive(Debug)]
pub struct LastUsed {
    shards: Vec<Mutex<HashMap<TokenId, Noted>>>,
}

impl Default for LastUsed {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl LastUsed {
    /// Notes that `token` was used. Never moves a note back in time.
    pub fn note(&self, token: TokenId, at: Time, ip: Option<IpAddr>) {
        let mut shard = self.shard(token);
        let room = shard.len() < NOTES_MAX;
        match shard.entry(token) {
            Entry::Occupied(mut noted) if noted.get().at <= at => {
                noted.insert(Noted { at, ip });
            }
            Entry::Vacant(place) if room => {
                place.insert(Noted { at, ip });
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
    }

    /// The last use of `token` that is noted here.
    pub fn of(&self, token: TokenId) -> Option<Noted> {
        self.shard(token).get(&token).copied()
    }

    /// Takes out at most `most` notes, to be written.
    pub fn take(&self, most: usize) -> Vec<(TokenId, Noted)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let left = most.saturating_sub(taken.len());
            let chosen: Vec<TokenId> = shard.keys().take(left).copied().collect();
            for token in chosen {
                taken.extend(shard.remove_entry(&token));
            }
        }
        taken
    }

    /// Puts back notes that could not be written, under whatever was noted since.
    pub fn put_back(&self, notes: impl IntoIterator<Item = (TokenId, Noted)>) {
        for (token, noted) in notes {
            self.shard(token).entry(token).or_insert(noted);
        }
    }

    /// How many notes wait to be written.
    pub fn backlog(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// The lock that `token` lies under, by the end of its id, which is random.
    fn shard(&self, token: TokenId) -> MutexGuard<'_, HashMap<TokenId, Noted>> {
        let [.., last] = *token.as_bytes();
        let index = usize::from(last) % SHARDS;
        let shard =
            self.shards.get(index).unwrap_or_else(|| unreachable!("an index below the number of shards"));
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u8) -> TokenId {
        TokenId::from_parts(1, [n; 10])
    }

    #[test]
    fn a_note_is_found_until_it_is_taken_and_again_when_it_was_put_back() {
        let notes = LastUsed::default();
        notes.note(token(1), Time::from_unix(5), None);
        assert_eq!(notes.of(token(1)).unwrap().at, Time::from_unix(5));
        let taken = notes.take(10);
        assert_eq!(taken.len(), 1);
        assert_eq!(notes.of(token(1)), None);
        notes.note(token(1), Time::from_unix(9), None);
        notes.put_back(taken);
        assert_eq!(notes.of(token(1)).unwrap().at, Time::from_unix(9), "what was noted since stays");
    }

    #[test]
    fn no_note_moves_back_in_time() {
        let notes = LastUsed::default();
        notes.note(token(1), Time::from_unix(5), None);
        notes.note(token(1), Time::from_unix(4), None);
        assert_eq!(notes.of(token(1)).unwrap().at, Time::from_unix(5));
    }

    #[test]
    fn notes_are_taken_in_portions() {
        let notes = LastUsed::default();
        (0..10).for_each(|n| notes.note(token(n), Time::from_unix(1), None));
        assert_eq!(notes.take(4).len(), 4);
        assert_eq!(notes.backlog(), 6);
        assert_eq!(notes.take(100).len(), 6);
    }
}
