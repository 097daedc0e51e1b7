//! How a keyring is spelled and judged, how it is rotated, and what its keys are.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const B: &str = "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-P0A";

fn id(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

fn ids(keyring: &Keyring) -> Vec<&str> {
    keyring.ids().map(KeyId::as_str).collect()
}

#[test]
fn each_purpose_has_a_key_of_its_own() {
    // Made with Python: hmac.new(hmac.new(bytes(32), root, "sha256").digest(), info + b"\x01", "sha256").
    let keyring = Keyring::parse(&format!("current a {A}")).unwrap();
    let key = keyring.current();
    let hex = |key: &Key| crate::token::TokenHash::from_bytes(*key.expose()).to_hex();
    assert_eq!(hex(key.cookie()), COOKIE);
    assert_eq!(hex(key.jwt()), JWT);
    assert_eq!(hex(key.seal()), SEAL);
    assert_eq!(format!("{:?}", key.cookie()), "Key(..)");
}

const COOKIE: &str = "a37ca69784f5ac5bfc0ea52c8f983baa35278bca6e1f8ded76fca471b794447b";
const JWT: &str = "6fbf8e8920f8386ce2225b6d3cacaf8121bf352e1891d3ea8ee5fe3ab33a97a3";
const SEAL: &str = "1a155370773025ad6199f66887b3aec2ebc112166ce5eb29b55093fc6a63a9f7";

#[track_caller]
fn reads(text: &str, expected: &[&str]) {
    let keyring = Keyring::parse(text).unwrap();
    assert_eq!(ids(&keyring), expected);
    let canonical = keyring.to_text();
    assert_eq!(Keyring::parse(canonical.expose()).unwrap().to_text().expose(), canonical.expose());
}

#[test]
fn lines_are_read_in_any_order_and_with_any_white_space() {
    reads(&format!("current a {A}"), &["a"]);
    reads(&format!("old b {B}\ncurrent a {A}\n"), &["a", "b"]);
    reads(&format!("\r\n\tcurrent  a\t{A} \r\n\r\n old b {B}\r\n"), &["a", "b"]);
    reads(&format!("# head\ncurrent a {A}# tail\n#old b {B}\n   # more\n"), &["a"]);
    reads(&format!("current {} {A}", "x".repeat(32)), &[&"x".repeat(32)]);
}

#[track_caller]
fn fault(text: &str, line: impl Into<Option<usize>>, what: KeyFault) {
    let (fault, line) = (Keyring::parse(text).unwrap_err(), line.into());
    let said = line.map_or(what.to_string(), |line| format!("line {line}: {what}"));
    assert_eq!(fault.to_string(), said, "{text:?}");
    assert_eq!(fault, KeyringFault { line, what }, "{text:?}");
    assert!(!fault.to_string().contains("AAEC"), "a message never quotes a key");
}

#[test]
fn every_mistake_names_its_line() {
    fault("", None, KeyFault::NoCurrent);
    fault("# nothing\n\n", None, KeyFault::NoCurrent);
    fault(&format!("old a {A}"), None, KeyFault::NoCurrent);
    fault("\ncurrent a", 2, KeyFault::Words);
    fault(A, 1, KeyFault::Words);
    fault(&format!("current a {A} b"), 1, KeyFault::Words);
    fault(&format!("current a# {A}"), 1, KeyFault::Words);
    fault(&format!("current\u{a0}a {A}"), 1, KeyFault::Words);
    fault(&format!("Current a {A}"), 1, KeyFault::Role);
    fault(&format!("\u{feff}current a {A}"), 1, KeyFault::Role);
    fault(&format!("current a_b {A}"), 1, KeyFault::Id);
    fault(&format!("current {A} a"), 1, KeyFault::Id);
    fault(&format!("current {} {A}", "x".repeat(33)), 1, KeyFault::Id);
    fault(&format!("current a {A}\nold a {B}"), 2, KeyFault::SameId);
    fault(&format!("old a {A}\n\n\ncurrent b {A}"), 4, KeyFault::SameKey);
    fault(&format!("current a {A}\ncurrent b {B}"), 2, KeyFault::TwoCurrent);
}

#[test]
fn a_key_has_one_length_one_alphabet_and_one_spelling() {
    let bad = |key: &str| fault(&format!("current a {key}"), 1, KeyFault::Text);
    bad(&A[1..]);
    bad(&A[3..]);
    bad(&format!("{A}A"));
    bad(&format!("{A}="));
    bad(&format!("{A}AAA"));
    bad(&B.replace('-', "+"));
    bad(&B.replace('-', "/"));
    // The last character carries four bits of the last byte and two that must be zero.
    for last in ["9", "-", "_"] {
        bad(&format!("{}{last}", &A[..42]));
    }
    fault(&format!("current a {}", "A".repeat(43)), 1, KeyFault::Weak);
    fault(&format!("current a {}8", "_".repeat(42)), 1, KeyFault::Weak);
    reads(&format!("current a B{}", "A".repeat(42)), &["a"]);
}

#[test]
fn there_are_at_most_64_keys() {
    let lines = |count: u8| {
        let mut text = format!("current current {A}\n");
        for number in 1..count {
            let mut key = [0; 32];
            key[0] = number;
            writeln!(text, "old k{number} {}", Base64UrlUnpadded::encode_string(&key)).unwrap();
        }
        text
    };
    assert_eq!(Keyring::parse(&lines(64)).unwrap().ids().count(), KEYS_MAX);
    fault(&lines(65), 65, KeyFault::TooMany);
    let full = Keyring::parse(&lines(64)).unwrap();
    assert_eq!(full.rotated(id("new"), b"0123456789abcdef0123456789abcdef").unwrap_err(), KeyFault::TooMany);
}

#[test]
fn a_rotation_keeps_what_was_current_among_the_old() {
    let mut fresh: [u8; 32] = std::array::from_fn(|place| u8::try_from(place).unwrap());
    let first = Keyring::generate(id("1"), &fresh).unwrap();
    assert_eq!(first.to_text().expose(), format!("current 1 {A}\n"));
    assert_eq!(first.rotated(id("1"), &[0; 32]).unwrap_err(), KeyFault::Weak);
    assert_eq!(first.rotated(id("2"), &fresh).unwrap_err(), KeyFault::SameKey);
    fresh[0] = 9;
    assert_eq!(first.rotated(id("1"), &fresh).unwrap_err(), KeyFault::SameId);
    let second = first.rotated(id("2"), &fresh).unwrap();
    fresh[0] = 8;
    let third = second.rotated(id("3"), &fresh).unwrap();
    assert_eq!(ids(&third), ["3", "2", "1"]);
    assert_eq!(third.find("1").unwrap().jwt().expose(), first.current().jwt().expose());
    assert!(third.find("4").is_none() && third.find("").is_none());

    assert_eq!(ids(&third.without(&id("2")).unwrap()), ["3", "1"]);
    assert_eq!(third.without(&id("3")).unwrap_err(), KeyFault::Current);
    assert_eq!(third.without(&id("4")).unwrap_err(), KeyFault::Unknown);
}

#[test]
fn a_key_is_dropped_when_its_name_is_gone_or_is_another_keys() {
    let one = Keyring::generate(KeyId::new("a").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
    let both = one.rotated(KeyId::new("b").unwrap(), b"fedcba9876543210fedcba9876543210").unwrap();
    let other = Keyring::generate(KeyId::new("a").unwrap(), b"0123456789abcdef0123456789abcdeX").unwrap();
    let dropped = |from: &Keyring, by: &Keyring| {
        from.dropped_by(by).map(|key| key.id().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(dropped(&one, &both), [""; 0]);
    assert_eq!(dropped(&both, &one), ["b"]);
    assert_eq!(dropped(&one, &other), ["a"]);
}

#[test]
fn no_debug_output_shows_a_key() {
    let shown = format!("{:?}", Keyring::parse(&format!("current a {A}")).unwrap());
    assert_eq!(shown.matches("Key(..)").count(), 4);
    assert!(!shown.contains(&A[..8]) && !shown.contains("0, 1, 2"));
}

#[test]
fn stored_key_ids_are_checked_when_read() {
    assert_eq!(serde_json::from_str::<KeyId>("\"a-1\"").unwrap(), id("a-1"));
    assert!(serde_json::from_str::<KeyId>("\"a 1\"").is_err());
    assert_eq!(serde_json::to_string(&id("a-1")).unwrap(), "\"a-1\"");
}

proptest! {
    #[test]
    fn what_is_written_reads_back(keys in prop::collection::btree_map("[A-Za-z0-9-]{1,32}", any::<[u8; 32]>(), 1..5)) {
        let mut keyring: Option<Keyring> = None;
        for (name, key) in &keys {
            let next = match &keyring {
                None => Keyring::generate(id(name), key),
                Some(before) => before.rotated(id(name), key),
            };
            prop_assume!(next.is_ok());
            keyring = next.ok();
        }
        let keyring = keyring.unwrap();
        let read = Keyring::parse(keyring.to_text().expose()).unwrap();
        prop_assert_eq!(ids(&read), ids(&keyring));
        for name in keys.keys() {
            let (ours, theirs) = (keyring.find(name).unwrap(), read.find(name).unwrap());
            prop_assert_eq!(ours.seal().expose(), theirs.seal().expose());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", key in "[A-Za-z0-9_-]{41,45}") {
        let _ = (Keyring::parse(&text), Keyring::parse(&format!("current a {key}")));
    }
}
