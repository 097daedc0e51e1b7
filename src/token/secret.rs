//! The types that must not leak, and the one comparison of secret bytes.
//!
//! None of them can be displayed, compared with `==` or serialised as they stand; `Debug` shows that
//! something is there and nothing else; what is secret is wiped when dropped. Where the bytes come
//! from and what they open is not known here.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Bytes in a SHA-256 digest, in an HMAC made with it, and in a key.
const DIGEST_BYTES: usize = 32;
/// Bytes in a block of SHA-256, to which HMAC pads its key with zeros (RFC 2104).
const BLOCK_BYTES: usize = 64;

/// Whether two byte strings are the same, in a time that tells nothing but their lengths.
///
/// Every comparison with a secret, a hash of one or a MAC goes through here.
#[must_use]
pub fn same(ours: &[u8], theirs: &[u8]) -> bool {
    ours.ct_eq(theirs).into()
}

/// A text that whoever reads it can use: a token, a password, a configured secret.
pub struct Secret(String);

impl Secret {
    /// Takes the text over; it is wiped when this is dropped.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Each call is a place to look at in review.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A second one with the same text; not `Clone`, so that no copy is made by accident.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// SHA-256 of a token's whole text: what is stored, indexed and compared in its stead.
///
/// It admits nobody, so it may be copied and stored; but it is not printed, and compared only by
/// [`TokenHash::matches`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct TokenHash([u8; DIGEST_BYTES]);

/// The text was not exactly 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in 64 hexadecimal digits")]
pub struct NotAHash;

impl TokenHash {
    /// The hash of a presented or minted text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// A hash that was stored.
    pub const fn from_bytes(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a store's key or value.
    pub const fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        let mut hex = String::with_capacity(DIGEST_BYTES.saturating_mul(2));
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Reads 64 hexadecimal digits of either case, as other systems export them.
    pub fn from_hex(hex: &str) -> Result<Self, NotAHash> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != DIGEST_BYTES || !rest.is_empty() {
            return Err(NotAHash);
        }
        let mut bytes = [0; DIGEST_BYTES];
        for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(high)? << 4 | nibble(low)?;
        }
        Ok(Self(bytes))
    }

    /// Whether both are hashes of one text; constant-time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

fn nibble(digit: u8) -> Result<u8, NotAHash> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(NotAHash)
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A 256-bit key with one purpose. There is no shorter, empty or default one.
pub struct Key([u8; DIGEST_BYTES]);

impl Key {
    /// Takes the bytes over; this copy is wiped when dropped, the caller's is the caller's to wipe.
    pub const fn new(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for the primitive that needs them.
    pub const fn expose(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }

    /// This key, ready to make MACs with.
    pub fn for_macs(&self) -> MacKey {
        // HMAC pads a key of less than a block with zeros, so padding it here changes nothing, and
        // the constructor that takes a whole block cannot fail.
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        for (place, byte) in block.iter_mut().zip(self.0) {
            *place = byte;
        }
        MacKey(Hmac::new((&*block).into()))
    }

    /// [`MacKey::mac`], for a key that makes few of them.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
        self.for_macs().mac(parts)
    }

    /// Another key with a purpose of its own: HKDF-SHA256 (RFC 5869) without a salt, `info` naming the
    /// purpose.
    #[must_use]
    pub fn derive(&self, info: &str) -> Self {
        let mut derived = Self::new([0; DIGEST_BYTES]);
        match Hkdf::<Sha256>::new(None, &self.0).expand(info.as_bytes(), &mut derived.0) {
            Ok(()) => derived,
            // What is asked for is one block of output; HKDF refuses only more than 255 of them.
            Err(_) => unreachable!("{DIGEST_BYTES} bytes are within HKDF's limit"),
        }
    }

    /// Whether `mac` is the whole of [`Key::mac`] over the parts; constant-time.
    #[must_use]
    pub fn confirms(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        same(&self.mac(parts), mac)
    }
}

/// A [`Key`] that makes MACs again and again: the two blocks of SHA-256 that each of them begins with are worked out
/// once. It is wiped when dropped, by the crates that it is made of.
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// HMAC-SHA256 (RFC 2104) under this key over the parts, one straight after the other.
    ///
    /// Nothing marks where a part ends: where two lists of parts could run into the same bytes, the
    /// caller puts lengths between them.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn debug_shows_that_something_is_there_and_nothing_else() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            format!(
                "{:?} {:#?}",
                secret,
                (Key::new([7; 32]), Key::new([7; 32]).for_macs(), TokenHash::of("x"))
            ),
            "Secret(..) (\n    Key(..),\n    MacKey(..),\n    TokenHash(..),\n)"
        );
        assert_eq!(secret.duplicate().expose(), "hunter2");
    }

    #[test]
    fn a_token_hash_is_sha_256_of_the_whole_text() {
        assert_eq!(TokenHash::of("abc").to_hex(), ABC);
        assert!(TokenHash::of("abc").matches(&TokenHash::from_hex(&ABC.to_uppercase()).unwrap()));
        assert!(!TokenHash::of("abc").matches(&TokenHash::of("abd")));
    }

    #[track_caller]
    fn no_hash(hex: &str) {
        assert_eq!(TokenHash::from_hex(hex).unwrap_err(), NotAHash, "{hex:?}");
    }

    #[test]
    fn a_hash_in_hexadecimal_is_64_digits_and_nothing_else() {
        no_hash("");
        no_hash(&ABC[1..]);
        no_hash(&ABC[2..]);
        no_hash(&format!("{ABC}0"));
        no_hash(&format!("{ABC}00"));
        no_hash(&format!(" {}", &ABC[1..]));
        no_hash(&format!("+{}", &ABC[1..]));
        no_hash(&format!("0x{}", &ABC[2..]));
        no_hash(&format!("{}g", &ABC[1..]));
        no_hash(&format!("{}é", &ABC[2..]));
    }

    #[test]
    fn one_flipped_bit_anywhere_is_another_hash() {
        let hash = TokenHash::of("abc");
        for bit in 0..256 {
            let mut bytes = *hash.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!hash.matches(&TokenHash::from_bytes(bytes)), "bit {bit}");
        }
        assert!(!same(b"abc", b"abcd") && !same(b"abc", b"") && same(b"", b""));
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_the_parts_run_together() {
        // Made with Python: hmac.new(bytes(range(32)), b"what do ya want for nothing?", "sha256").
        let key = Key::new(std::array::from_fn(|place| u8::try_from(place).unwrap()));
        let mac = key.mac(&[b"what do ya want ", b"", b"for nothing?"]);
        assert_eq!(TokenHash::from_bytes(mac).to_hex(), MAC);
        assert!(key.confirms(&[b"what do ya want for nothing?"], &mac));
        assert!(!key.confirms(&[b"what do ya want for nothing?"], &mac[..31]));
        assert!(!key.confirms(&[b"what do ya want for nothing?"], b""));
        assert!(!key.confirms(&[b"what do ya want for nothing!"], &mac));
        assert!(!Key::new([0; 32]).confirms(&[b"what do ya want for nothing?"], &mac));
    }

    const MAC: &str = "099805f4ac310786968565c098db515cc50862b420ae31e20238312344bed36a";

    proptest! {
        /// HKDF as RFC 5869 spells it, for one block of output and no salt: two MACs.
        #[test]
        fn derived_keys_are_those_of_hkdf(key: [u8; 32], info in ".{0,100}") {
            let extracted = Key::new(Key::new([0; 32]).mac(&[&key]));
            let expected = extracted.mac(&[info.as_bytes(), &[1]]);
            prop_assert_eq!(*Key::new(key).derive(&info).expose(), expected);
        }

        #[test]
        fn hexadecimal_reads_back(bytes: [u8; 32]) {
            let hash = TokenHash::from_bytes(bytes);
            prop_assert_eq!(*TokenHash::from_hex(&hash.to_hex()).unwrap().as_bytes(), bytes);
        }
    }
}
