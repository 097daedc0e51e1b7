//! Failed logins, counted for each pair of address and e-mail, by a clock that cannot be set.
//!
//! An attempt is counted before it is judged and taken back if it was good, so that many at once get no
//! further than as many one after the other. Memory is bounded: when it is full, the pair that is nearest
//! to being forgotten anyway makes room.

use core::net::{IpAddr, Ipv6Addr};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    records::user::fold_email,
    rules::logins::{Bucket, Full},
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
}

/// An attempt that counts as failed until it is taken back.
#[derive(Debug)]
#[must_use = "an attempt that was good has to be taken back"]
pub struct Attempt {
    pair: Pair,
    per_minute: u32,
}

impl Default for Logins {
    fn default() -> Self {
        Self { began: Instant::now(), buckets: Mutex::default() }
    }
}

impl Logins {
    /// Counts an attempt, if the pair may make one among `per_minute`; 0 is no limit.
    pub fn begin(&self, per_minute: u32, ip: Option<IpAddr>, email: &str) -> Result<Attempt, Full> {
        let pair = Pair { ip: ip.map(customer), email: fold_email(email) };
        if per_minute == 0 {
            return Ok(Attempt { pair, per_minute });
        }
        let now = self.now_micros();
        let mut buckets = self.lock();
        if buckets.len() >= PAIRS_MAX && !buckets.contains_key(&pair) {
            make_room(&mut buckets, now);
        }
        let bucket = buckets.entry(pair.clone()).or_default();
        bucket.add(per_minute, now)?;
        Ok(Attempt { pair, per_minute })
    }

    /// Takes back an attempt that did not fail, or that could not be judged.
    pub fn take_back(&self, attempt: &Attempt) {
        let now = self.now_micros();
        let mut buckets = self.lock();
        if let Some(bucket) = buckets.get_mut(&attempt.pair) {
            bucket.take_back(attempt.per_minute);
            if bucket.is_empty(now) {
                buckets.remove(&attempt.pair);
            }
        }
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

    #[test]
    fn a_pair_is_an_address_and_a_folded_email() {
        let logins = Logins::default();
        drop(logins.begin(1, Some(ip("192.0.2.1")), "anna@example.org").unwrap());
        assert!(logins.begin(1, Some(ip("192.0.2.1")), " ANNA@example.org ").is_err());
        assert!(logins.begin(1, Some(ip("::ffff:192.0.2.1")), "anna@example.org").is_err());
        assert!(logins.begin(1, Some(ip("192.0.2.2")), "anna@example.org").is_ok());
        assert!(logins.begin(1, Some(ip("192.0.2.1")), "bert@example.org").is_ok());
        assert!(logins.begin(1, None, "anna@example.org").is_ok());
        assert!(logins.begin(1, Some(ip("2001:db8::1")), "anna@example.org").is_ok());
        assert!(logins.begin(1, Some(ip("2001:db8::ffff:2")), "anna@example.org").is_err());
        assert!(logins.begin(1, Some(ip("2001:db8:0:1::1")), "anna@example.org").is_ok());
    }

    #[test]
    fn what_was_taken_back_is_not_remembered_and_0_remembers_nothing() {
        let logins = Logins::default();
        for _ in 0..50 {
            let attempt = logins.begin(1, None, "anna@example.org").unwrap();
            logins.take_back(&attempt);
        }
        drop(logins.begin(0, None, "anna@example.org").unwrap());
        assert!(logins.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let logins = Logins::default();
        for _ in 0..3 {
            drop(logins.begin(3, None, "worst@example.org").unwrap());
        }
        for number in 0..PAIRS_MAX + 100 {
            drop(logins.begin(3, None, &format!("{number}@example.org")).unwrap());
        }
        assert_eq!(logins.lock().len(), PAIRS_MAX);
        assert!(logins.begin(3, None, "worst@example.org").is_err());
    }
}
