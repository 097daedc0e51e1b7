//! The properties that the fuzz targets assert and that `cargo test` replays over their corpora.
//!
//! Each is a function of bytes that panics when a property does not hold.
#![allow(dead_code, reason = "each fuzz target calls one of them")]

use bearerd::token::{TokenHash, text};

/// Whatever parses as a token of ours is made of the parts it says, and has one spelling: no other text
/// with the same kind and id and the same secret parses.
pub fn token_text(input: &[u8]) {
    let Ok(given) = core::str::from_utf8(input) else { return };
    let Ok(token) = text::parse(given) else { return };
    assert!(token.hash.matches(&TokenHash::of(given)), "the hash is that of the whole text");
    let (prefix, rest) = given.split_once('_').expect("a prefix");
    let (tag, body) = rest.split_once('_').expect("a tag");
    text::Prefix::new(prefix).expect("a prefix that tokens may begin with");
    assert_eq!(tag, token.kind.tag());
    assert_eq!(body.get(..26), Some(token.id.suffix().as_str()));
    assert_eq!(body.len(), 26 + 43 + 6);
    // One spelling: another case, another byte anywhere, is another token or none.
    for at in 0..given.len() {
        let mut other = given.as_bytes().to_vec();
        if let Some(byte) = other.get_mut(at) {
            *byte ^= 0x20;
        }
        if let Ok(other) = core::str::from_utf8(&other) {
            assert!(text::parse(other).is_err(), "a changed character passed the checksum");
        }
    }
}
