//! When and from where tokens were last used, as far as it has not reached the disk.
//!
//! Verification notes a use here and goes on; it never waits for the disk. A flush writes the notes in
//! portions, and each stays here until it is on the disk: a session that is in use must not look idle for
//! the moment of a flush, and a flush that fails loses nothing. Whoever asks for a token's last use asks
//! here first and the store second.

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

/// The most tokens that one operation of a flush writes.
pub const FLUSH_IDS_MAX: usize = 1_000;

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

    /// All that waits, in portions that one operation each can write. It stays here until
    /// [`LastUsed::written`].
    pub fn waiting(&self) -> Vec<Vec<(TokenId, Noted)>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(token, noted)| (*token, *noted)));
        }
        // Neighbours in the store are written together.
        all.sort_unstable_by_key(|(token, _)| *token);
        all.chunks(FLUSH_IDS_MAX).map(<[_]>::to_vec).collect()
    }

    /// These have reached the disk. What was noted in the meantime goes on waiting.
    pub fn written(&self, portion: &[(TokenId, Noted)]) {
        for (token, written) in portion {
            let mut shard = self.shard(*token);
            if shard.get(token) == Some(written) {
                shard.remove(token);
            }
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

    fn token(n: u16) -> TokenId {
        let mut random = [0; 10];
        random[8..].copy_from_slice(&n.to_be_bytes());
        TokenId::from_parts(1, random)
    }

    fn at(seconds: u64) -> Time {
        Time::from_unix(seconds)
    }

    #[test]
    fn a_note_is_found_until_it_is_written_and_no_longer() {
        let notes = LastUsed::default();
        assert_eq!(notes.of(token(1)), None);
        notes.note(token(1), at(5), None);
        let portions = notes.waiting();
        assert_eq!(notes.of(token(1)).unwrap().at, at(5), "while it is being written");
        notes.written(&portions[0]);
        assert_eq!((notes.of(token(1)), notes.backlog()), (None, 0));
    }

    #[test]
    fn what_was_noted_during_a_flush_waits_for_the_next() {
        let notes = LastUsed::default();
        notes.note(token(1), at(5), None);
        let portions = notes.waiting();
        notes.note(token(1), at(9), None);
        notes.written(&portions[0]);
        assert_eq!(notes.of(token(1)).unwrap().at, at(9));
    }

    #[test]
    fn no_note_moves_back_in_time() {
        let notes = LastUsed::default();
        notes.note(token(1), at(5), None);
        notes.note(token(1), at(4), None);
        assert_eq!(notes.of(token(1)).unwrap().at, at(5));
    }

    #[test]
    fn a_portion_holds_as_many_as_may_and_not_one_more() {
        let notes = LastUsed::default();
        (0..1_000).for_each(|n| notes.note(token(n), at(1), None));
        assert_eq!(notes.waiting().iter().map(Vec::len).collect::<Vec<_>>(), [1_000]);
        notes.note(token(1_000), at(1), None);
        assert_eq!(notes.waiting().iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1]);
    }
}
