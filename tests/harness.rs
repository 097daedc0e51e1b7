//! That the tests' own tools tell the truth: a wrong ruler measures nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::text::{checksum, never_minted, parse_time};
use support::*;

#[test]
fn times_are_read_as_rfc_3339_has_them() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2000-02-29T12:00:00Z", Some(951_825_600)),
        ("2026-11-22T05:41:54Z", Some(1_795_326_114)),
        ("2026-11-22T05:41:54.5Z", Some(1_795_326_114)),
        ("2026-11-22T05:41:54+00:00", None),
        ("2026-11-22 05:41:54Z", None),
        ("now", None),
    ] {
        assert_eq!(parse_time(text), expected, "{text}");
    }
}

#[test]
fn a_checksum_is_crc_32_in_six_digits_of_base_62() {
    // The check value of CRC-32/ISO-HDLC is 0xCBF43926 for "123456789": 3421780262 in base 62 is 3JZWzC.
    let mut value: u64 = 0;
    for digit in checksum("123456789").bytes() {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            _ => digit - b'a' + 36,
        };
        value = value * 62 + u64::from(digit);
    }
    assert_eq!(value, 0xCBF4_3926);
    assert_eq!(checksum("123456789").len(), 6);
}

#[test]
fn tokens_are_found_wherever_they_stand() {
    let token = never_minted("pat");
    let text = format!("x {token}, bdr_pat_short \"{token}\" bdr_xyz_{}", &token[8..]);
    assert_eq!(tokens_in(&text), [token.clone(), token.clone()]);
    assert_eq!(token_in(&text, "ses"), None);
    assert_eq!(token_in(&text, "pat"), Some(token));
}

#[test]
fn a_race_is_one_where_all_run_at_once() {
    // A planted check-then-act bug: if this harness never caught it, its green would mean nothing.
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let caught = (0..200).any(|_| {
        let (spent, winners) = (AtomicBool::new(false), AtomicUsize::new(0));
        at_once(8, |_| {
            if !spent.load(Ordering::SeqCst) {
                std::thread::yield_now();
                spent.store(true, Ordering::SeqCst);
                winners.fetch_add(1, Ordering::SeqCst);
            }
        });
        winners.into_inner() > 1
    });
    assert!(caught);
}
