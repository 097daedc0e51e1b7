//! How a record becomes bytes and is believed again.
//!
//! A stored value is
//!
//! ```text
//! version (1 byte) ‖ body (bincode 2, standard configuration) ‖ MAC (16 bytes)
//! ```
//!
//! The MAC is HMAC-SHA256 under the store's record key, cut to 128 bits, over the length-prefixed table
//! name, the length-prefixed key, and version and body. So a record that was flipped, invented, moved to
//! another key or to another table is not a record. Bytes are hostile until the MAC has held; decoding is
//! bounded even then. This is the only file that names bincode (pinned: it is finished and unmaintained,
//! and small enough to be replaced byte for byte).

use serde::{Serialize, de::DeserializeOwned};

use super::view::TableId;
use crate::token::{MacKey, secret::same};

/// The largest body that is decoded or written.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

/// What the decoder may take a body for. It counts a number by its width and not by the bytes that it is written
/// in, at most 16 for one, so that this bounds what is allocated and never what can be read again.
const CLAIMED_BYTES_MAX: usize = 16 * RECORD_BYTES_MAX;

const MAC_BYTES: usize = 16;
/// Room that most records fit into, so that memory for one is asked for once.
const STORED_BYTES: usize = 320;

/// A value that cannot be written, or is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<CLAIMED_BYTES_MAX>()
}

/// The bytes under which `value` is stored at `key` of `table`.
pub fn encode<T: Serialize>(
    record_key: &MacKey,
    table: TableId,
    key: &[u8],
    version: u8,
    value: &T,
) -> Result<Vec<u8>, Broken> {
    let mut stored = Vec::with_capacity(STORED_BYTES);
    stored.push(version);
    let body_bytes =
        bincode::serde::encode_into_std_write(value, &mut stored, configuration()).map_err(|_| Broken)?;
    if body_bytes > RECORD_BYTES_MAX {
        return Err(Broken);
    }
    let tag = mac(record_key, table, key, &stored)?;
    stored.extend_from_slice(&tag);
    Ok(stored)
}

/// The value stored at `key` of `table`: its MAC holds, its version is `version`, and nothing follows it.
pub fn decode<T: DeserializeOwned>(
    record_key: &MacKey,
    table: TableId,
    key: &[u8],
    version: u8,
    stored: &[u8],
) -> Result<T, Broken> {
    let (signed, tag) = stored.split_last_chunk::<MAC_BYTES>().ok_or(Broken)?;
    if !same(&mac(record_key, table, key, signed)?, tag) {
        return Err(Broken);
    }
    let (found, body) = signed.split_first().ok_or(Broken)?;
    if *found != version {
        return Err(Broken);
    }
    decode_body(body)
}

/// Decodes a body alone; what the fuzz target reaches without knowing a key.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Broken> {
    if body.len() > RECORD_BYTES_MAX {
        return Err(Broken);
    }
    let (value, read) = bincode::serde::decode_from_slice(body, configuration()).map_err(|_| Broken)?;
    if read == body.len() { Ok(value) } else { Err(Broken) }
}

/// The plain encoding, for what is hashed or sealed rather than stored as a record.
pub fn encode_body<T: Serialize>(value: &T) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::with_capacity(STORED_BYTES);
    bincode::serde::encode_into_std_write(value, &mut body, configuration()).map_err(|_| Broken)?;
    Ok(body)
}

fn mac(record_key: &MacKey, table: TableId, key: &[u8], signed: &[u8]) -> Result<[u8; MAC_BYTES], Broken> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).map_err(|_| Broken);
    let name = table.name().as_bytes();
    let whole = record_key.mac(&[&[length(name)?], name, &[length(key)?], key, signed]);
    whole.first_chunk().copied().ok_or(Broken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::Key;

    fn key() -> MacKey {
        Key::new([7; 32]).for_macs()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let stored = encode(&key(), TableId::Meta, b"k", 1, &("ab", 5u64, Some(300u16))).unwrap();
        // version, length-prefixed text, varint, option tag, varint of two bytes (marker 251).
        assert_eq!(stored[..8], [1, 2, b'a', b'b', 5, 1, 251, 44]);
        assert_eq!(stored.len(), 9 + MAC_BYTES);
    }

    #[test]
    fn a_value_moved_to_another_key_table_version_or_store_is_refused() {
        let stored = encode(&key(), TableId::Users, b"k", 1, &9u64).unwrap();
        assert_eq!(decode::<u64>(&key(), TableId::Users, b"k", 1, &stored), Ok(9));
        assert_eq!(decode::<u64>(&key(), TableId::Users, b"l", 1, &stored), Err(Broken));
        assert_eq!(decode::<u64>(&key(), TableId::Tokens, b"k", 1, &stored), Err(Broken));
        assert_eq!(decode::<u64>(&key(), TableId::Users, b"k", 2, &stored), Err(Broken));
        assert_eq!(
            decode::<u64>(&Key::new([8; 32]).for_macs(), TableId::Users, b"k", 1, &stored),
            Err(Broken)
        );
    }

    #[test]
    fn a_record_has_a_largest_size() {
        // A text's length takes five bytes from 65,536 on.
        let encoded = |bytes: usize| encode(&key(), TableId::Users, b"k", 1, &"x".repeat(bytes));
        let most = encoded(RECORD_BYTES_MAX - 5).unwrap();
        assert_eq!(most.len(), 1 + RECORD_BYTES_MAX + MAC_BYTES);
        assert!(decode::<String>(&key(), TableId::Users, b"k", 1, &most).is_ok());
        assert_eq!(encoded(RECORD_BYTES_MAX - 4), Err(Broken));
        let body = encode_body(&"x".repeat(RECORD_BYTES_MAX - 4)).unwrap();
        assert_eq!(decode_body::<String>(&body), Err(Broken));
    }

    #[test]
    fn many_small_numbers_are_read_as_they_were_written() {
        let numbers = vec![1u64; RECORD_BYTES_MAX / 2];
        let stored = encode(&key(), TableId::Users, b"k", 1, &numbers).unwrap();
        assert_eq!(decode::<Vec<u64>>(&key(), TableId::Users, b"k", 1, &stored), Ok(numbers));
    }

    #[test]
    fn a_body_alone_is_what_a_record_holds() {
        let body = encode_body(&("ab", 5u64)).unwrap();
        assert_eq!(body, [2, b'a', b'b', 5]);
        assert_eq!(decode_body::<(String, u64)>(&body), Ok(("ab".to_owned(), 5)));
        assert_eq!(decode_body::<(String, u64)>(&[&body[..], &[0]].concat()), Err(Broken));
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself_and_no_flipped_bit_does(
            text in ".{0,40}", number: u64, flip in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let value = (text, number);
            let mut stored = encode(&key(), TableId::Tokens, b"key", 3, &value).unwrap();
            prop_assert_eq!(decode::<(String, u64)>(&key(), TableId::Tokens, b"key", 3, &stored), Ok(value));
            let at = flip.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert_eq!(decode::<(String, u64)>(&key(), TableId::Tokens, b"key", 3, &stored), Err(Broken));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_decode(bytes: Vec<u8>) {
            prop_assert_eq!(decode::<(String, u64)>(&key(), TableId::Tokens, b"key", 3, &bytes), Err(Broken));
        }
    }
}
