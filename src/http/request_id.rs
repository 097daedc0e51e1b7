//! The id under which a request is known in the log and to whoever asked: its own, or a new one.
//!
//! A new one costs no system call: requests are numbered, and the number is shown through a keyed hash, so
//! that ids tell nobody how many requests there were.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use hyper::{
    header::{HeaderName, HeaderValue},
    http::request::Parts,
};

/// The header that carries it, both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of somebody else's making that is repeated.
const CHARS_MAX: usize = 64;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where new ids come from.
#[derive(Debug, Default)]
pub(super) struct RequestIds {
    keys: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    /// The id that the request came with, if it is fit to be repeated, or a new one.
    pub(super) fn of(&self, head: &Parts) -> HeaderValue {
        match head.headers.get(REQUEST_ID).filter(|id| is_fit(id.as_bytes())) {
            Some(given) => given.clone(),
            None => self.fresh(),
        }
    }

    fn fresh(&self) -> HeaderValue {
        let mut rest = self.keys.hash_one(self.count.fetch_add(1, Ordering::Relaxed));
        let mut digits = [b'0'; 16];
        for digit in digits.iter_mut().rev() {
            *digit =
                usize::try_from(rest & 15).ok().and_then(|value| HEX.get(value)).map_or(b'0', |hex| *hex);
            rest >>= 4;
        }
        HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("0"))
    }
}

fn is_fit(id: &[u8]) -> bool {
    (1..=CHARS_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[track_caller]
    fn check(given: &str, repeated: bool) {
        let mut request = hyper::Request::new(());
        request.headers_mut().insert(REQUEST_ID, given.parse().unwrap());
        let id = RequestIds::default().of(&request.into_parts().0);
        assert_eq!(id == given, repeated, "{given}");
    }

    #[test]
    fn an_id_that_is_fit_is_repeated_and_any_other_replaced() {
        check("a", true);
        check("Trace-1_2.3", true);
        check(&"x".repeat(CHARS_MAX), true);
        check(&"x".repeat(CHARS_MAX + 1), false);
        for odd in ["", "a b", "a,b", "<a>", "a;b"] {
            check(odd, false);
        }
    }

    #[test]
    fn new_ids_are_16_hexadecimal_digits_and_do_not_come_twice() {
        let (ids, head) = (RequestIds::default(), hyper::Request::new(()).into_parts().0);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let id = ids.of(&head);
            let id = id.to_str().unwrap();
            assert!(id.len() == 16 && id.bytes().all(|digit| HEX.contains(&digit)), "{id}");
            assert!(seen.insert(id.to_owned()), "{id} came twice");
        }
    }
}
