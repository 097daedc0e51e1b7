//! Failed logins, counted for each pair of address and e-mail, by a clock that cannot be set.
//!
//! Many attempts at once get no further than as many one after the other: those that could be one too many wait
//! until the ones before them are judged. Memory is bounded: when it is full, the pair that is nearest to being
//! forgotten anyway makes room.

use core::net::{IpAddr, Ipv6Addr};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    records::user::fold_email,
    rules::logins::{Bucket, NoRoom, Outcome},
};

/// Pairs that are remembered at the most. Each failure costs a password's hash, so that far fewer come
/// together in a minute.
const PAIRS_MAX: usize = 10_000;
/// An IPv6 customer has this much of an address to itself.
const V6_BITS_KEPT: u32 = 64;

/// Who tries to log in as whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pair {
    ip: Option<IpAddr>,
    email: String,
}

/// The failed logins of the last minute.
#[derive(Debug)]
pub struct Logins {
    began: Instant,
    buckets: Mutex<HashMap<Pair, Bucket>>,
    judged: Notify,
}

/// An attempt that is being judged. Dropped, it failed: whoever goes away before the answer gets no guess for
/// nothing.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as failed"]
pub struct Attempt<'a> {
    logins: &'a Logins,
    pair: Pair,
    per_minute: u32,
    outcome: Outcome,
}

impl Attempt<'_> {
    /// It did not fail, or could not be judged.
    pub fn no_failure(mut self) {
        self.outcome = Outcome::NoFailure;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.logins.end(self);
    }
}

/// The pair has failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// When it may try again, in seconds.
    pub after_seconds: u64,
}

impl Default for Logins {
    fn default() -> Self {
        Self { began: Instant::now(), buckets: Mutex::default(), judged: Notify::new() }
    }
}

impl Logins {
    /// Has an attempt judged, if the pair may make one among `per_minute`; 0 is no limit. Waits for those
    /// before it where it depends on them.
    pub async fn begin(
        &self,
        per_minute: u32,
        ip: Option<IpAddr>,
        email: &str,
    ) -> Result<Attempt<'_>, TooMany> {
        let pair = Pair { ip: ip.map(customer), email: fold_email(email) };
        loop {
            let judged = self.judged.notified();
            match self.try_begin(per_minute, &pair) {
                Ok(()) => return Ok(Attempt { logins: self, pair, per_minute, outcome: Outcome::Failed }),
                Err(NoRoom::Full { after_seconds }) => return Err(TooMany { after_seconds }),
                Err(NoRoom::Undecided) => judged.await,
            }
        }
    }

    fn try_begin(&self, per_minute: u32, pair: &Pair) -> Result<(), NoRoom> {
        if per_minute == 0 {
            return Ok(());
        }
        let now = self.now_micros();
        let mut buckets = self.lock();
        if buckets.len() >= PAIRS_MAX && !buckets.contains_key(pair) {
            make_room(&mut buckets, now);
        }
        buckets.entry(pair.clone()).or_default().begin(per_minute, now)
    }

    fn end(&self, attempt: &Attempt<'_>) {
        if attempt.per_minute == 0 {
            return;
        }
        let now = self.now_micros();
        let mut buckets = self.lock();
        // One that had to make room is begun anew.
        let bucket = buckets.entry(attempt.pair.clone()).or_default();
        bucket.end(attempt.per_minute, now, attempt.outcome);
        if bucket.is_empty(now) {
            buckets.remove(&attempt.pair);
        }
        drop(buckets);
        self.judged.notify_waiters();
    }

    fn now_micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pair, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the pairs that have nothing against them any more, or else the one with the least.
fn make_room(buckets: &mut HashMap<Pair, Bucket>, now_micros: u64) {
    buckets.retain(|_, bucket| !bucket.is_empty(now_micros));
    if buckets.len() >= PAIRS_MAX {
        let least = buckets.iter().min_by_key(|(_, bucket)| **bucket).map(|(pair, _)| pair.clone());
        if let Some(least) = least {
            buckets.remove(&least);
        }
    }
}

/// The address as far as it tells one customer from another.
fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (Ipv6Addr::BITS - V6_BITS_KEPT))))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn fails(logins: &Logins, per_minute: u32, from: Option<IpAddr>, email: &str) -> bool {
        logins.begin(per_minute, from, email).await.is_ok()
    }

    #[tokio::test]
    async fn a_pair_is_an_address_and_a_folded_email() {
        let logins = Logins::default();
        for (address, email, may) in [
            (Some("192.0.2.1"), "anna@example.org", true),
            (Some("192.0.2.1"), " ANNA@example.org ", false),
            (Some("::ffff:192.0.2.1"), "anna@example.org", false),
            (Some("192.0.2.2"), "anna@example.org", true),
            (Some("192.0.2.1"), "bert@example.org", true),
            (None, "anna@example.org", true),
            (Some("2001:db8::1"), "anna@example.org", true),
            (Some("2001:db8::ffff:2"), "anna@example.org", false),
            (Some("2001:db8:0:1::1"), "anna@example.org", true),
        ] {
            assert_eq!(fails(&logins, 1, address.map(ip), email).await, may, "{address:?} {email}");
        }
    }

    #[tokio::test]
    async fn what_did_not_fail_is_not_remembered_and_0_remembers_nothing() {
        let logins = Logins::default();
        for _ in 0..50 {
            logins.begin(1, None, "anna@example.org").await.unwrap().no_failure();
        }
        assert!(fails(&logins, 0, None, "anna@example.org").await);
        assert!(logins.lock().is_empty());
    }

    #[tokio::test]
    async fn good_ones_at_once_wait_for_each_other_and_none_is_refused() {
        let logins = Logins::default();
        let first = logins.begin(1, None, "anna@example.org").await.unwrap();
        let mut second = Box::pin(logins.begin(1, None, "anna@example.org"));
        assert!(so_far(&mut second).await.is_none(), "undecided while the first is judged");
        first.no_failure();
        second.await.unwrap().no_failure();
    }

    #[tokio::test]
    async fn one_that_waited_is_refused_when_those_before_it_failed() {
        let logins = Logins::default();
        let first = logins.begin(1, None, "anna@example.org").await.unwrap();
        let mut second = Box::pin(logins.begin(1, None, "anna@example.org"));
        assert!(so_far(&mut second).await.is_none(), "undecided while the first is judged");
        drop(first);
        assert_eq!(second.await.map(drop), Err(TooMany { after_seconds: 60 }));
    }

    /// What `promise` has come to by now.
    async fn so_far<T>(promise: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        tokio::select! {
            biased;
            outcome = promise => Some(outcome),
            () = core::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_worst_are_remembered() {
        let logins = Logins::default();
        for _ in 0..3 {
            assert!(fails(&logins, 3, None, "worst@example.org").await);
        }
        for number in 0..PAIRS_MAX + 100 {
            assert!(fails(&logins, 3, None, &format!("{number}@example.org")).await);
        }
        assert_eq!(logins.lock().len(), PAIRS_MAX);
        assert!(!fails(&logins, 3, None, "worst@example.org").await);
    }
}
