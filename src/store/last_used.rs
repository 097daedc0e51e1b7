//! When and from where tokens were last used, as far as it has not reached the disk.
//!
//! Verification notes a use here and goes on; it never waits for the disk. A flush writes the notes in
//! portions, and each stays here until it is on the disk: a session that is in use must not look idle for
//! the moment of a flush, and a flush that fails loses nothing. Whoever asks for a token's last use asks
//! here first and the store second. When many wait, whoever flushes is told so before its time.

use core::net::{IpAddr, Ipv6Addr};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{records::Time, token::TokenId};

/// Notes are spread over so many locks, so that readers on several threads seldom meet.
const SHARDS: usize = 64;
/// Notes that one lock holds at the most; beyond it a use of yet another token is not noted until the next
/// flush. A map of that many is just full: 11 MB in all.
const NOTES_MAX: usize = 3_584;
/// When one lock holds so many, the next flush is due at once. Ids are spread evenly, so the others hold as many.
const NOTES_CROWDED: usize = NOTES_MAX / 2;

/// A use that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at: Time,
    /// From where, where that is known.
    pub ip: Option<IpAddr>,
}

/// A use as it is held: in little space, since there may be hundreds of thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    at: Time,
    /// An IPv4 address in its IPv6 form. Nobody comes from the address that means none.
    ip: Ipv6Addr,
}

impl Note {
    fn of(Noted { at, ip }: Noted) -> Self {
        let ip = match ip {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
            Some(IpAddr::V6(ip)) => ip,
            None => Ipv6Addr::UNSPECIFIED,
        };
        Self { at, ip }
    }

    fn shown(self) -> Noted {
        let ip = (!self.ip.is_unspecified()).then(|| self.ip.to_canonical());
        Noted { at: self.at, ip }
    }
}

/// The notes.
#[derive(Debug)]
pub struct LastUsed {
    shards: Vec<Mutex<HashMap<TokenId, Note>>>,
    crowded: Notify,
}

impl Default for LastUsed {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), crowded: Notify::new() }
    }
}

impl LastUsed {
    /// Notes that `token` was used. Never moves a note back in time. An IPv4 address in IPv6 form is noted as the
    /// IPv4 address that it is.
    pub fn note(&self, token: TokenId, at: Time, ip: Option<IpAddr>) {
        let note = Note::of(Noted { at, ip });
        let mut shard = self.shard(token);
        let room = shard.len() < NOTES_MAX;
        match shard.entry(token) {
            Entry::Occupied(mut noted) if noted.get().at <= at => {
                noted.insert(note);
            }
            Entry::Vacant(place) if room => {
                place.insert(note);
                if shard.len() == NOTES_CROWDED {
                    drop(shard);
                    self.crowded.notify_one();
                }
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
    }

    /// Resolves when so many wait that they should be written before there is no room for more.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// The last use of `token` that is noted here.
    pub fn of(&self, token: TokenId) -> Option<Noted> {
        self.shard(token).get(&token).copied().map(Note::shown)
    }

    /// The tokens of which a use waits. Sorted: neighbours in the store are written together.
    pub fn waiting(&self) -> Vec<TokenId> {
        let mut all = Vec::with_capacity(self.backlog());
        for shard in &self.shards {
            all.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).keys().copied());
        }
        all.sort_unstable();
        all
    }

    /// What waits of `tokens`. It stays here until [`LastUsed::written`].
    pub fn portion(&self, tokens: &[TokenId]) -> Vec<(TokenId, Noted)> {
        tokens.iter().filter_map(|token| self.of(*token).map(|noted| (*token, noted))).collect()
    }

    /// These have reached the disk. What was noted in the meantime goes on waiting.
    pub fn written(&self, portion: &[(TokenId, Noted)]) {
        for (token, written) in portion {
            let mut shard = self.shard(*token);
            if shard.get(token) == Some(&Note::of(*written)) {
                shard.remove(token);
            }
        }
    }

    /// How many notes wait to be written.
    pub fn backlog(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// The lock that `token` lies under, by the end of its id, which is random.
    fn shard(&self, token: TokenId) -> MutexGuard<'_, HashMap<TokenId, Note>> {
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
        let portion = notes.portion(&notes.waiting());
        assert_eq!(notes.of(token(1)).unwrap().at, at(5), "while it is being written");
        notes.written(&portion);
        assert_eq!((notes.of(token(1)), notes.backlog()), (None, 0));
    }

    #[test]
    fn what_was_noted_during_a_flush_waits_for_the_next() {
        let notes = LastUsed::default();
        notes.note(token(1), at(5), None);
        let portion = notes.portion(&notes.waiting());
        notes.note(token(1), at(9), None);
        notes.written(&portion);
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
    fn what_waits_is_sorted_and_a_portion_is_what_was_asked_for() {
        let notes = LastUsed::default();
        (0..500).rev().for_each(|n| notes.note(token(n), at(1), None));
        let waiting = notes.waiting();
        assert!(waiting.is_sorted() && waiting.len() == 500);
        let portion = notes.portion(&waiting[100..200]);
        assert!(portion.iter().map(|(token, _)| token).eq(&waiting[100..200]));
        assert_eq!(notes.portion(&[token(500)]), [], "a token that was not used");
    }

    #[test]
    fn an_address_is_found_as_it_was_noted_and_none_where_none_was() {
        let notes = LastUsed::default();
        for ip in [None, Some("192.0.2.1"), Some("2001:db8::1"), Some("0.0.0.0"), Some("::1")] {
            let ip = ip.map(|ip| ip.parse().unwrap());
            notes.note(token(1), at(1), ip);
            assert_eq!(notes.of(token(1)), Some(Noted { at: at(1), ip }));
            let portion = notes.portion(&[token(1)]);
            assert_eq!(portion, [(token(1), Noted { at: at(1), ip })]);
            notes.written(&portion);
            assert_eq!(notes.backlog(), 0);
        }
        notes.note(token(1), at(1), Some("::ffff:192.0.2.1".parse().unwrap()));
        assert_eq!(notes.of(token(1)).unwrap().ip, Some("192.0.2.1".parse().unwrap()));
    }

    /// Tokens that all lie under one lock.
    fn crowd(count: usize) -> impl Iterator<Item = TokenId> {
        (0..u16::MAX)
            .step_by(SHARDS)
            .flat_map(|low| {
                (0..8).map(move |high| {
                    let mut random = [0; 10];
                    random[7] = high;
                    random[8..].copy_from_slice(&low.to_be_bytes());
                    TokenId::from_parts(1, random)
                })
            })
            .take(count)
    }

    #[test]
    fn beyond_its_room_another_token_is_not_noted_and_a_noted_one_still_is() {
        let notes = LastUsed::default();
        let all: Vec<TokenId> = crowd(NOTES_MAX + 1).collect();
        for token in &all {
            notes.note(*token, at(1), None);
        }
        assert_eq!((notes.backlog(), notes.of(all[NOTES_MAX])), (NOTES_MAX, None));
        notes.note(all[0], at(2), None);
        assert_eq!(notes.of(all[0]).unwrap().at, at(2));
    }

    #[tokio::test]
    async fn a_crowd_of_notes_is_told_at_its_limit_and_not_before() {
        use core::pin::pin;
        use core::task::{Context, Poll, Waker};
        let notes = LastUsed::default();
        let mut told = pin!(notes.crowded());
        let mut poll = || told.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let all: Vec<TokenId> = crowd(NOTES_CROWDED).collect();
        for token in &all[1..] {
            notes.note(*token, at(1), None);
        }
        assert_eq!(poll(), Poll::Pending);
        notes.note(all[0], at(1), None);
        assert_eq!(poll(), Poll::Ready(()));
        notes.note(all[0], at(2), None);
        let mut again = pin!(notes.crowded());
        let again = again.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(again, Poll::Pending, "one that was noted before makes no crowd");
    }
}
