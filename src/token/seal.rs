//! Sealed credentials: what a host will be given, encrypted so that the file of data alone gives it to
//! nobody. XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under a root key's sealing key.
//!
//! The envelope, byte by byte:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, `01` |
//! | 1 | length of the key's id, 0 to 32 |
//! | that many | the key's id, ASCII; none where the key is in no keyring and whoever opens it has it |
//! | 24 | nonce, random and never used twice |
//! | 0 to 65,536 | ciphertext, as long as the plain text |
//! | 16 | Poly1305 tag |
//!
//! The associated data is not in the envelope: it says where the envelope belongs, so that one moved
//! elsewhere does not open. For an enrolment token's credentials it is `bearerd/1/token/` and the
//! token's hash in lower-case hexadecimal, for a host's `bearerd/1/host/` and the host's id. Version
//! and key id need no protection of their own: with another one, another key or no key is tried.
//!
//! An example. Sealing key `000102…1f`, key id `k`, nonce `404142…57`, the host `host_01h455vb4pex5vsknk084sn02q`,
//! plain text `{"a":1}`:
//!
//! ```text
//! 01 01 6b 404142434445464748494a4b4c4d4e4f5051525354555657
//! af1b6452ead10481c3fefd9fe1697ebba478ee6af32a46
//! ```
//!
//! Opening fails in one way, whatever was wrong, and leaves no plain text behind.

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::id::HostId;
use super::keyring::{Keyring, RootKey, is_key_id};
use super::secret::{Key, TokenHash};

/// The longest plain text that is sealed.
pub const PLAIN_BYTES_MAX: usize = 65_536;
/// Random bytes for each sealing.
pub const NONCE_BYTES: usize = 24;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const OVERHEAD_BYTES_MAX: usize = 2 + super::keyring::KEY_ID_CHARS_MAX + NONCE_BYTES + TAG_BYTES;
/// The id of a key that is in no keyring.
const UNNAMED: &str = "";

/// The plain text is longer than [`PLAIN_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("longer than the 65,536 bytes that can be sealed")]
pub struct TooLong;

/// The envelope does not open: damaged, sealed for elsewhere, or under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed data cannot be opened")]
pub struct Unsealable;

/// The associated data of credentials that wait for an enrolment token.
pub fn token_credentials(token: &TokenHash) -> String {
    format!("bearerd/1/token/{}", token.to_hex())
}

/// The associated data of credentials that a host may fetch.
pub fn host_credentials(host: HostId) -> String {
    format!("bearerd/1/host/{host}")
}

/// Seals under a root key, the current one.
pub fn seal(
    key: &RootKey,
    nonce: [u8; NONCE_BYTES],
    associated: &str,
    plain: &[u8],
) -> Result<Vec<u8>, TooLong> {
    envelope(key.id().as_str(), key.seal(), nonce, associated, plain)
}

/// Seals under a key that is in no keyring: only who has it opens the envelope.
pub fn seal_unnamed(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    associated: &str,
    plain: &[u8],
) -> Result<Vec<u8>, TooLong> {
    envelope(UNNAMED, key, nonce, associated, plain)
}

/// Opens what was sealed under a key of this keyring, current or old.
pub fn open(keyring: &Keyring, associated: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
    let parts = Parts::of(envelope)?;
    let key = keyring.find(parts.key_id).ok_or(Unsealable)?;
    parts.open(key.seal(), associated)
}

/// Opens what was sealed with [`seal_unnamed`].
pub fn open_unnamed(key: &Key, associated: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
    let parts = Parts::of(envelope)?;
    if parts.key_id != UNNAMED {
        return Err(Unsealable);
    }
    parts.open(key, associated)
}

/// The name of the root key that an envelope asks for; none if it was sealed under an unnamed key.
pub fn key_id(envelope: &[u8]) -> Result<Option<&str>, Unsealable> {
    let Parts { key_id, .. } = Parts::of(envelope)?;
    Ok((key_id != UNNAMED).then_some(key_id))
}

fn envelope(
    key_id: &str,
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    associated: &str,
    plain: &[u8],
) -> Result<Vec<u8>, TooLong> {
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(TooLong);
    }
    // Encrypted where it is copied to, with room for all from the start, so that no copy of the plain
    // text is left anywhere; if it failed, the copy would be wiped.
    let mut text = Zeroizing::new(plain.to_vec());
    let tag = XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&nonce.into(), associated.as_bytes(), text.as_mut_slice().into())
        .map_err(|_| TooLong)?;
    let length = u8::try_from(key_id.len()).map_err(|_| TooLong)?;
    let mut envelope = Vec::with_capacity(plain.len().saturating_add(OVERHEAD_BYTES_MAX));
    for part in [&[VERSION, length], key_id.as_bytes(), &nonce, &text, &tag] {
        envelope.extend_from_slice(part);
    }
    Ok(envelope)
}

/// An envelope taken apart; nothing of it is trusted yet.
struct Parts<'a> {
    key_id: &'a str,
    nonce: &'a [u8; NONCE_BYTES],
    text: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn of(envelope: &'a [u8]) -> Result<Self, Unsealable> {
        Self::split(envelope).ok_or(Unsealable)
    }

    fn split(envelope: &'a [u8]) -> Option<Self> {
        let (&[VERSION, length], rest) = envelope.split_first_chunk()? else { return None };
        let (key_id, rest) = rest.split_at_checked(length.into())?;
        let key_id = str::from_utf8(key_id).ok().filter(|id| *id == UNNAMED || is_key_id(id))?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (text, tag) = rest.split_last_chunk()?;
        (text.len() <= PLAIN_BYTES_MAX).then_some(Self { key_id, nonce, text, tag })
    }

    fn open(&self, key: &Key, associated: &str) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        // The tag is checked over the ciphertext before a byte is decrypted.
        let mut text = Zeroizing::new(self.text.to_vec());
        XChaCha20Poly1305::new(key.expose().into())
            .decrypt_inout_detached(
                self.nonce.into(),
                associated.as_bytes(),
                text.as_mut_slice().into(),
                self.tag.into(),
            )
            .map_err(|_| Unsealable)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::KeyId;
    use proptest::prelude::*;

    const NONCE: [u8; 24] = *b"@ABCDEFGHIJKLMNOPQRSTUVW";

    fn counting(first: u8) -> [u8; 32] {
        std::array::from_fn(|place| first + u8::try_from(place).unwrap())
    }

    fn keyring() -> Keyring {
        let first = Keyring::generate(KeyId::new("old-1").unwrap(), &counting(100)).unwrap();
        first.rotated(KeyId::new("k").unwrap(), &counting(0)).unwrap()
    }

    /// Made with Python: `HChaCha20` written out, then `ChaCha20Poly1305` of the package `cryptography`.
    #[test]
    fn the_documented_example_is_what_another_implementation_makes() {
        let host = HostId::parse("host_01h455vb4pex5vsknk084sn02q").unwrap();
        let made =
            envelope("k", &Key::new(counting(0)), NONCE, &host_credentials(host), b"{\"a\":1}").unwrap();
        let (envelope, sealed) = made.split_at(27);
        assert_eq!(envelope, [b"\x01\x01k", &NONCE[..]].concat());
        assert_eq!(format!("{sealed:02x?}").replace(['[', ']', ',', ' '], ""), EXAMPLE);
        assert!(include_str!("seal.rs").contains(&format!("//! {EXAMPLE}")), "the module's text has it too");
    }

    const EXAMPLE: &str = "af1b6452ead10481c3fefd9fe1697ebba478ee6af32a46";

    /// The published vector of draft-irtf-cfrg-xchacha-03, A.3.1, whose associated data are no text.
    #[test]
    fn the_cipher_is_the_published_one() {
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
                      future, sunscreen would be it.";
        let mut text = plain.to_vec();
        let tag = XChaCha20Poly1305::new((&counting(0x80)).into())
            .encrypt_inout_detached(
                &NONCE.into(),
                &[0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
                text.as_mut_slice().into(),
            )
            .unwrap();
        assert_eq!(text[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
        assert_eq!(
            tag[..],
            [0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf, 0x49]
        );
    }

    #[test]
    fn old_keys_open_what_they_sealed_and_other_keys_do_not() {
        let before = Keyring::generate(KeyId::new("old-1").unwrap(), &counting(100)).unwrap();
        let sealed = seal(before.current(), NONCE, "here", b"plain").unwrap();
        assert_eq!(key_id(&sealed), Ok(Some("old-1")));
        assert_eq!(**open(&keyring(), "here", &sealed).unwrap(), *b"plain");

        let impostor = Keyring::generate(KeyId::new("old-1").unwrap(), &counting(101)).unwrap();
        assert_eq!(open(&impostor, "here", &sealed).unwrap_err(), Unsealable);
        let stranger = Keyring::generate(KeyId::new("new").unwrap(), &counting(100)).unwrap();
        assert_eq!(open(&stranger, "here", &sealed).unwrap_err(), Unsealable);
    }

    #[test]
    fn an_unnamed_key_and_a_keyring_do_not_open_each_other_s() {
        let keyring = keyring();
        let unnamed = seal_unnamed(&Key::new(counting(0)), NONCE, "here", b"plain").unwrap();
        assert_eq!(key_id(&unnamed), Ok(None));
        assert_eq!(**open_unnamed(&Key::new(counting(0)), "here", &unnamed).unwrap(), *b"plain");
        assert_eq!(open_unnamed(&Key::new(counting(1)), "here", &unnamed).unwrap_err(), Unsealable);
        assert_eq!(open(&keyring, "here", &unnamed).unwrap_err(), Unsealable);
        let named = seal(keyring.current(), NONCE, "here", b"plain").unwrap();
        assert_eq!(open_unnamed(keyring.current().seal(), "here", &named).unwrap_err(), Unsealable);
    }

    #[test]
    fn what_was_sealed_for_one_place_does_not_open_at_another() {
        let token = TokenHash::of("x");
        let host = HostId::from_bytes([7; 16]);
        let sealed = seal(keyring().current(), NONCE, &token_credentials(&token), b"plain").unwrap();
        assert!(open(&keyring(), &token_credentials(&token), &sealed).is_ok());
        for elsewhere in [token_credentials(&TokenHash::of("y")), host_credentials(host), String::new()] {
            assert_eq!(open(&keyring(), &elsewhere, &sealed).unwrap_err(), Unsealable, "{elsewhere}");
        }
        assert_eq!(token_credentials(&token), format!("bearerd/1/token/{}", token.to_hex()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let sealed = seal(keyring().current(), NONCE, "here", b"plain").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&keyring(), "here", &bad).unwrap_err(), Unsealable, "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert_eq!(open(&keyring(), "here", &sealed[..end]).unwrap_err(), Unsealable, "cut at {end}");
        }
        assert_eq!(open(&keyring(), "here", &[&sealed[..], &[0]].concat()).unwrap_err(), Unsealable);
    }

    #[test]
    fn the_plain_text_has_0_to_65_536_bytes() {
        let most = vec![7; PLAIN_BYTES_MAX];
        let sealed = seal(keyring().current(), NONCE, "", &most).unwrap();
        assert_eq!(**open(&keyring(), "", &sealed).unwrap(), most);
        let none = seal(keyring().current(), NONCE, "", b"").unwrap();
        assert!(open(&keyring(), "", &none).unwrap().is_empty());

        assert_eq!(seal(keyring().current(), NONCE, "", &vec![7; PLAIN_BYTES_MAX + 1]), Err(TooLong));
        let mut over = sealed.clone();
        over.push(0);
        assert_eq!(key_id(&sealed), Ok(Some("k")));
        assert_eq!(key_id(&over), Err(Unsealable));
    }

    #[test]
    fn a_key_id_in_an_envelope_is_one_that_a_keyring_could_hold() {
        let with = |id: &[u8]| [&[1, u8::try_from(id.len()).unwrap()], id, &[0; 40]].concat();
        assert_eq!(key_id(&with(&[b'x'; 32])), Ok(Some("x".repeat(32).as_str())));
        for bad in [&[b'x'; 33][..], b"a_b", b"a\n", b"\xff", "é".as_bytes()] {
            assert_eq!(key_id(&with(bad)), Err(Unsealable), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(nonce: [u8; 24], associated in ".{0,40}", plain: Vec<u8>) {
            let sealed = seal(keyring().current(), nonce, &associated, &plain).unwrap();
            prop_assert_eq!(&**open(&keyring(), &associated, &sealed).unwrap(), &plain);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, id in 0_u8..40, rest in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (key_id(&bytes), open(&keyring(), "", &[&[1, id][..], &rest].concat()));
        }
    }
}
