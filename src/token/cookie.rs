//! The portal cookie: signed, so that a browser can carry it and change nothing; short, so that all it
//! says is which link it came from and when. Whether that link lives, and how old a cookie may be, is
//! decided by who asks.
//!
//! `v1.KID.PAYLOAD.MAC`, four segments:
//!
//! - `v1`, the version;
//! - `KID`, the id of the root key, `[A-Za-z0-9-]{1,32}`;
//! - `PAYLOAD`, 32 characters: base64url without padding of 24 bytes, the link's token id (16, a UUID)
//!   and when the cookie was issued (8, big-endian, seconds since the epoch);
//! - `MAC`, 43 characters: base64url without padding of HMAC-SHA256 under the root key's cookie key (see
//!   [`super::keyring`]) over five fields, each with its length before it as 4 bytes, big-endian:
//!
//! | field | bytes |
//! |---|---|
//! | 1 | `bearerd/1/cookie` |
//! | 2 | the version as it stands in the cookie, `v1` |
//! | 3 | `KID` as it stands in the cookie |
//! | 4 | the store's own id, 16 bytes, so that another bearerd with the same key refuses it |
//! | 5 | `PAYLOAD` as it stands in the cookie |
//!
//! An example. Root key `000102…1f` with the id `k`, so that the cookie key is
//! `a37ca69784f5ac5bfc0ea52c8f983baa35278bca6e1f8ded76fca471b794447b`; store id
//! `a0a1a2a3a4a5a6a7a8a9aaabacadaeaf`; link `token_01h455vb4pex5vsknk084sn02q`, whose bytes are
//! `01890a5dac96774bbcceb302099a8057`; issued at 1763790114. The MAC is over
//!
//! ```text
//! 00000010 626561726572642f312f636f6f6b6965
//! 00000002 7631
//! 00000001 6b
//! 00000010 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
//! 00000020 41596b4b58617957643075387a724d43435a7141567741414141427049553069
//! ```
//!
//! and the cookie is
//!
//! ```text
//! v1.k.AYkKXayWd0u8zrMCCZqAVwAAAABpIU0i.hImI5VGS_SKi8Jb6BzUcbVdyhVxbzVQTTm1QV3qHcVI
//! ```

use base64ct::{Base64UrlUnpadded, Encoding as _};
use zeroize::Zeroizing;

use super::id::{ID_BYTES, TokenId};
use super::keyring::{Keyring, RootKey, is_key_id};
use super::secret::Secret;

/// Bytes in a store's own id.
pub const STORE_ID_BYTES: usize = 16;

const PURPOSE: &str = "bearerd/1/cookie";
const VERSION: &str = "v1";
const PAYLOAD_BYTES: usize = ID_BYTES + 8;
const PAYLOAD_CHARS: usize = 32;
const MAC_BYTES: usize = 32;
const MAC_CHARS: usize = 43;

/// What a genuine cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieText {
    /// The link that it was given for.
    pub link: TokenId,
    /// When it was issued, in seconds since the epoch.
    pub issued: u64,
}

/// Why a text is not a cookie of this store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieFault {
    /// Not the four segments in their one spelling.
    #[error("not the shape of a portal cookie")]
    Shape,
    /// Signed with a key that this keyring does not have.
    #[error("it is signed with an unknown key")]
    UnknownKey,
    /// The MAC does not hold: changed, or another store's.
    #[error("its signature is wrong")]
    Mac,
}

/// Writes and signs a cookie.
pub fn mint(key: &RootKey, store_id: &[u8; STORE_ID_BYTES], link: TokenId, issued: u64) -> Secret {
    let payload: Vec<u8> = [&link.as_bytes()[..], &issued.to_be_bytes()].concat();
    let payload = Base64UrlUnpadded::encode_string(&payload);
    let fields = Fields { key_id: key.id().as_str(), store_id, payload: &payload };
    // The rest of a cookie anybody could write.
    let mac = Zeroizing::new(fields.over(|parts| key.cookie().mac(parts)));
    let mac = Zeroizing::new(Base64UrlUnpadded::encode_string(&*mac));
    Secret::new([VERSION, fields.key_id, &payload, &mac].join("."))
}

/// Checks a cookie's shape, key and MAC, and only then reads its payload.
///
/// ```
/// use bearerd::token::{KeyId, Keyring, TokenId, cookie};
///
/// let keyring = Keyring::generate(KeyId::new("k").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
/// let link = TokenId::from_parts(1_763_790_114_000, [7; 10]);
/// let text = cookie::mint(keyring.current(), &[1; 16], link, 1_763_790_114);
/// assert_eq!(cookie::verify(&keyring, &[1; 16], text.expose()).unwrap().link, link);
/// assert!(cookie::verify(&keyring, &[2; 16], text.expose()).is_err());
/// ```
pub fn verify(
    keyring: &Keyring,
    store_id: &[u8; STORE_ID_BYTES],
    text: &str,
) -> Result<CookieText, CookieFault> {
    let mut segments = text.split('.');
    let (Some(VERSION), Some(key_id), Some(payload), Some(mac), None) =
        (segments.next(), segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(CookieFault::Shape);
    };
    if !is_key_id(key_id) || payload.len() != PAYLOAD_CHARS || mac.len() != MAC_CHARS {
        return Err(CookieFault::Shape);
    }
    let mut mac_bytes = [0; MAC_BYTES];
    let mac = Base64UrlUnpadded::decode(mac, &mut mac_bytes).map_err(|_| CookieFault::Shape)?;
    let key = keyring.find(key_id).ok_or(CookieFault::UnknownKey)?;
    let fields = Fields { key_id, store_id, payload };
    if !fields.over(|parts| key.cookie().confirms(parts, mac)) {
        return Err(CookieFault::Mac);
    }

    let mut bytes = [0; PAYLOAD_BYTES];
    Base64UrlUnpadded::decode(payload, &mut bytes).map_err(|_| CookieFault::Shape)?;
    let (link, rest) = bytes.split_first_chunk().ok_or(CookieFault::Shape)?;
    let issued = rest.first_chunk().ok_or(CookieFault::Shape)?;
    Ok(CookieText { link: TokenId::from_bytes(*link), issued: u64::from_be_bytes(*issued) })
}

/// What the MAC is over, and the only order in which it is.
struct Fields<'a> {
    key_id: &'a str,
    store_id: &'a [u8; STORE_ID_BYTES],
    payload: &'a str,
}

impl Fields<'_> {
    /// Hands over the fields, each with its length before it, so that no two lists of fields run
    /// together into the same bytes.
    fn over<T>(&self, mac: impl FnOnce(&[&[u8]]) -> T) -> T {
        let [purpose, version, key_id, store_id, payload] = [
            PURPOSE.as_bytes(),
            VERSION.as_bytes(),
            self.key_id.as_bytes(),
            self.store_id,
            self.payload.as_bytes(),
        ]
        .map(|field| (length(field), field));
        mac(&[
            &purpose.0,
            purpose.1,
            &version.0,
            version.1,
            &key_id.0,
            key_id.1,
            &store_id.0,
            store_id.1,
            &payload.0,
            payload.1,
        ])
    }
}

/// The length of a field; each has at most 32 bytes.
fn length(field: &[u8]) -> [u8; 4] {
    u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::KeyId;
    use proptest::prelude::*;

    const STORE: [u8; 16] = *b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf";
    const ISSUED: u64 = 1_763_790_114;
    const KNOWN: &str = "v1.k.AYkKXayWd0u8zrMCCZqAVwAAAABpIU0i.hImI5VGS_SKi8Jb6BzUcbVdyhVxbzVQTTm1QV3qHcVI";

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    fn link() -> TokenId {
        TokenId::parse("token_01h455vb4pex5vsknk084sn02q").unwrap()
    }

    /// The example of the module's text, which a few lines of Python make from that text alone.
    #[test]
    fn the_documented_example_is_minted_and_verified() {
        let minted = mint(Keyring::supposed().find("k").unwrap(), &STORE, link(), ISSUED);
        assert_eq!(minted.expose(), KNOWN);
        assert_eq!(
            verify(&Keyring::supposed(), &STORE, KNOWN),
            Ok(CookieText { link: link(), issued: ISSUED })
        );
        assert!(
            include_str!("cookie.rs").contains(&format!("//! {KNOWN}\n")),
            "the module's text has it too"
        );
    }

    #[track_caller]
    fn refused(text: &str, why: CookieFault) {
        assert_eq!(verify(&Keyring::supposed(), &STORE, text), Err(why), "{text}");
    }

    #[test]
    fn there_are_four_segments_in_their_one_spelling() {
        refused("", CookieFault::Shape);
        refused("v1.k..", CookieFault::Shape);
        refused(&format!("{KNOWN}."), CookieFault::Shape);
        refused(&format!("{KNOWN}="), CookieFault::Shape);
        refused(&format!("\"{KNOWN}\""), CookieFault::Shape);
        refused(&format!(" {KNOWN}"), CookieFault::Shape);
        refused(&KNOWN[1..], CookieFault::Shape);
        refused(&KNOWN[..KNOWN.len() - 1], CookieFault::Shape);
        refused(&KNOWN.replace("v1.", "v2."), CookieFault::Shape);
        refused(&KNOWN.replace("v1.", "V1."), CookieFault::Shape);
        refused(&KNOWN.replace(".k.", ".."), CookieFault::Shape);
        refused(&KNOWN.replace(".k.", ".k_."), CookieFault::Shape);
        refused(&KNOWN.replace(".k.", &format!(".{}.", "k".repeat(33))), CookieFault::Shape);
        refused(&KNOWN.replace(".k.", ".k.A"), CookieFault::Shape);
        refused(&KNOWN.replace(".k.", &format!(".{}.", "k".repeat(32))), CookieFault::UnknownKey);
        refused(&KNOWN.replace(".k.", ".K."), CookieFault::UnknownKey);
        refused(&KNOWN.replace(".k.", ".next."), CookieFault::Mac);
    }

    #[test]
    fn another_store_another_key_and_a_key_that_is_gone_refuse_it() {
        let mut other = STORE;
        other[15] ^= 1;
        assert_eq!(verify(&Keyring::supposed(), &other, KNOWN), Err(CookieFault::Mac));
        let impostor = Keyring::generate(key_id("k"), b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(verify(&impostor, &STORE, KNOWN), Err(CookieFault::Mac));
        let gone = Keyring::supposed().without(&key_id("k")).unwrap();
        assert_eq!(verify(&gone, &STORE, KNOWN), Err(CookieFault::UnknownKey));
    }

    #[test]
    fn other_keys_of_the_same_root_sign_no_cookie() {
        let keyring = Keyring::supposed();
        let key = keyring.find("k").unwrap();
        let payload = KNOWN.split('.').nth(2).unwrap();
        let fields = Fields { key_id: "k", store_id: &STORE, payload };
        let with = |key: &crate::token::Key| {
            let mac = Base64UrlUnpadded::encode_string(&fields.over(|parts| key.mac(parts)));
            verify(&keyring, &STORE, &format!("v1.k.{payload}.{mac}"))
        };
        assert!(with(key.cookie()).is_ok());
        assert_eq!(with(key.jwt()), Err(CookieFault::Mac));
        assert_eq!(with(key.seal()), Err(CookieFault::Mac));
        assert_eq!(with(&crate::token::Key::new([0; 32])), Err(CookieFault::Mac));
    }

    /// Signed by us, yet no payload that minting writes: the alphabet is checked after the MAC too.
    #[test]
    fn a_signed_payload_of_another_alphabet_is_refused() {
        let keyring = Keyring::supposed();
        let payload = "+".repeat(PAYLOAD_CHARS);
        let fields = Fields { key_id: "k", store_id: &STORE, payload: &payload };
        let mac = fields.over(|parts| keyring.find("k").unwrap().cookie().mac(parts));
        let text = format!("v1.k.{payload}.{}", Base64UrlUnpadded::encode_string(&mac));
        assert_eq!(verify(&keyring, &STORE, &text), Err(CookieFault::Shape));
    }

    #[test]
    fn every_changed_character_and_every_cut_is_refused() {
        for place in 0..KNOWN.len() {
            for other in ' '..='~' {
                let bad: String =
                    KNOWN.chars().enumerate().map(|(at, c)| if at == place { other } else { c }).collect();
                assert_eq!(verify(&Keyring::supposed(), &STORE, &bad).is_ok(), bad == KNOWN, "{bad}");
            }
            assert!(verify(&Keyring::supposed(), &STORE, &KNOWN[..place]).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_minted_verifies(store: [u8; 16], id: [u8; 16], issued: u64) {
            let text = mint(Keyring::supposed().current(), &store, TokenId::from_bytes(id), issued);
            prop_assert_eq!(text.expose().len(), "v1.next..".len() + PAYLOAD_CHARS + MAC_CHARS);
            let read = verify(&Keyring::supposed(), &store, text.expose()).unwrap();
            prop_assert_eq!(read, CookieText { link: TokenId::from_bytes(id), issued });
            let again = mint(Keyring::supposed().current(), &store, read.link, read.issued);
            prop_assert_eq!(again.expose(), text.expose());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", payload in "\\PC{32}", mac in "[A-Za-z0-9_-]{43}") {
            let _ = (verify(&Keyring::supposed(), &STORE, &text), verify(&Keyring::supposed(), &STORE, &format!("v1.k.{payload}.{mac}")));
        }
    }
}
