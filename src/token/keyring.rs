//! The keyring: named 256-bit root keys, one of them current, and what is derived from each.
//!
//! A line each, in any order:
//!
//! ```text
//! # what follows a # is a comment
//! current 2026-11 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8
//! old     2025-11 ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-P0A
//! ```
//!
//! A role, an id of `[A-Za-z0-9-]{1,32}`, and 32 bytes as 43 characters of base64url, with ASCII white
//! space between and around (the carriage return of a Windows line end is such). Empty lines are fine.
//! Anything else is a mistake, told by its line and never by its text, which may be a key.
//!
//! Each key signs and seals through keys derived from it with HKDF-SHA256 (RFC 5869, no salt, 32
//! bytes), one purpose each: info `bearerd/1/cookie`, `bearerd/1/jwt` and `bearerd/1/seal`. The root
//! key itself does nothing else. There is no default key, and no file is known here.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret::{Key, Secret};

/// Characters in the id of a key.
pub const KEY_ID_CHARS_MAX: usize = 32;
/// Keys in a keyring, the current one among them.
pub const KEYS_MAX: usize = 64;

const KEY_BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const KEY_CHARS: usize = 43;
const CURRENT: &str = "current";
const OLD: &str = "old";

/// The name of a root key: no secret, and part of whatever the key signed or sealed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// A name for a new key: `day`, such as `2026-11-22`, or with a number behind it where `others` has that.
    pub fn of_day(day: &str, others: Option<&Keyring>) -> Result<Self, NotAKeyId> {
        let is_free = |id: &Self| others.is_none_or(|others| others.find(id.as_str()).is_none());
        let first = Self::new(day)?;
        if is_free(&first) {
            return Ok(first);
        }
        let numbered = (2..=KEYS_MAX.saturating_add(1)).map(|number| Self::new(&format!("{day}-{number}")));
        numbered.flatten().find(is_free).ok_or(NotAKeyId)
    }
}

/// The text cannot be the name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 characters of A-Z, a-z, 0-9 and -")]
pub struct NotAKeyId;

impl KeyId {
    /// Takes a name of `[A-Za-z0-9-]{1,32}`.
    pub fn new(id: &str) -> Result<Self, NotAKeyId> {
        if is_key_id(id) { Ok(Self(id.to_owned())) } else { Err(NotAKeyId) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn is_key_id(id: &str) -> bool {
    (1..=KEY_ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = NotAKeyId;

    fn try_from(id: String) -> Result<Self, NotAKeyId> {
        Self::new(&id)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

/// One root key and what is derived from it.
#[derive(Debug)]
pub struct RootKey {
    id: KeyId,
    root: Key,
    cookie: Key,
    jwt: Key,
    seal: Key,
}

impl RootKey {
    fn new(id: KeyId, root: &[u8; KEY_BYTES]) -> Result<Self, KeyFault> {
        // Somebody typed this; a random source never will.
        if root.iter().all(|byte| root.first() == Some(byte)) {
            return Err(KeyFault::Weak);
        }
        let root = Key::new(*root);
        let [cookie, jwt, seal] =
            ["bearerd/1/cookie", "bearerd/1/jwt", "bearerd/1/seal"].map(|purpose| root.derive(purpose));
        Ok(Self { id, root, cookie, jwt, seal })
    }

    /// The name that goes into what this key signs or seals.
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// Signs portal cookies.
    pub const fn cookie(&self) -> &Key {
        &self.cookie
    }

    /// Signs JWTs.
    pub const fn jwt(&self) -> &Key {
        &self.jwt
    }

    /// Seals credentials.
    pub const fn seal(&self) -> &Key {
        &self.seal
    }
}

/// What is wrong with a keyring, or with what was asked of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A line that is not three words.
    #[error("a line must be `current ID KEY` or `old ID KEY`")]
    Words,
    /// A first word that is no role.
    #[error("a line must begin with `current` or `old`")]
    Role,
    /// A second word that is no id.
    #[error("the id must be 1 to 32 characters of A-Z, a-z, 0-9 and -")]
    Id,
    /// A third word that is not 32 bytes in the one spelling they have.
    #[error("the key must be 43 characters of base64url, as `bearerd keys new` prints them")]
    Text,
    /// A key of one byte again and again.
    #[error("the key is not random")]
    Weak,
    /// An id that another key has.
    #[error("another key has this id")]
    SameId,
    /// A key under two ids.
    #[error("this key is there twice, under two ids")]
    SameKey,
    /// A second `current`.
    #[error("only one key can be `current`")]
    TwoCurrent,
    /// No `current`.
    #[error("one key must be `current`")]
    NoCurrent,
    /// More than [`KEYS_MAX`].
    #[error("more than 64 keys")]
    TooMany,
    /// The current key cannot be taken out; rotate first.
    #[error("the current key cannot be removed")]
    Current,
    /// No key has that id.
    #[error("no key has this id")]
    Unknown,
}

/// What is wrong with the text of a keyring, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyringFault {
    /// The line, from 1; none where the whole file lacks something.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub what: KeyFault,
}

impl fmt::Display for KeyringFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => write!(f, "{}", self.what),
        }
    }
}

impl std::error::Error for KeyringFault {}

/// The root keys: one that signs and seals, and old ones that still verify and open.
#[derive(Debug)]
pub struct Keyring {
    current: RootKey,
    old: Vec<RootKey>,
}

impl Keyring {
    /// Reads the text of a keyring file.
    ///
    /// ```
    /// use bearerd::token::{KeyId, Keyring};
    ///
    /// let first = Keyring::generate(KeyId::new("2025").unwrap(), &[*b"0123456789abcdef"; 2].concat().try_into().unwrap()).unwrap();
    /// let both = first.rotated(KeyId::new("2026").unwrap(), b"fedcba9876543210fedcba9876543210").unwrap();
    /// let read = Keyring::parse(both.to_text().expose()).unwrap();
    /// assert_eq!(read.current().id().as_str(), "2026");
    /// assert!(read.find("2025").is_some());
    ///
    /// let fault = Keyring::parse("# empty\nold 2025").unwrap_err();
    /// assert_eq!(fault.to_string(), "line 2: a line must be `current ID KEY` or `old ID KEY`");
    /// ```
    pub fn parse(text: &str) -> Result<Self, KeyringFault> {
        let mut current = None;
        let mut old: Vec<RootKey> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let at = |what| KeyringFault { line: Some(line), what };
            let Some((role, key)) = parse_line(text).map_err(at)? else { continue };
            let before = || current.iter().chain(&old);
            if before().count() == KEYS_MAX {
                return Err(at(KeyFault::TooMany));
            }
            fits(before(), &key).map_err(at)?;
            match role {
                Role::Current if current.is_some() => return Err(at(KeyFault::TwoCurrent)),
                Role::Current => current = Some(key),
                Role::Old => old.push(key),
            }
        }
        let current = current.ok_or(KeyringFault { line: None, what: KeyFault::NoCurrent })?;
        Ok(Self { current, old })
    }

    /// The canonical text: the current key, then the old ones, one space between words.
    pub fn to_text(&self) -> Secret {
        const LINE_CHARS_MAX: usize = CURRENT.len() + KEY_ID_CHARS_MAX + KEY_CHARS + 3;
        // The room is there from the start: growing would leave keys in freed memory.
        let mut text = String::with_capacity(LINE_CHARS_MAX.saturating_mul(KEYS_MAX));
        for key in self.keys() {
            let role = if key.id == self.current.id { CURRENT } else { OLD };
            let spelled = Zeroizing::new(Base64UrlUnpadded::encode_string(key.root.expose()));
            for part in [role, " ", key.id.as_str(), " ", &spelled, "\n"] {
                text.push_str(part);
            }
        }
        Secret::new(text)
    }

    /// The first keyring of a new store. `fresh` are random bytes, used for nothing else.
    pub fn generate(id: KeyId, fresh: &[u8; KEY_BYTES]) -> Result<Self, KeyFault> {
        Ok(Self { current: RootKey::new(id, fresh)?, old: Vec::new() })
    }

    /// This keyring with a new current key; what was current is the first of the old.
    pub fn rotated(&self, id: KeyId, fresh: &[u8; KEY_BYTES]) -> Result<Self, KeyFault> {
        let current = RootKey::new(id, fresh)?;
        fits(self.keys(), &current)?;
        if self.keys().count() == KEYS_MAX {
            return Err(KeyFault::TooMany);
        }
        Ok(Self { current, old: copies(self.keys())? })
    }

    /// This keyring without one of its old keys.
    pub fn without(&self, id: &KeyId) -> Result<Self, KeyFault> {
        if self.current.id == *id {
            return Err(KeyFault::Current);
        }
        if self.find(id.as_str()).is_none() {
            return Err(KeyFault::Unknown);
        }
        let current = RootKey::new(self.current.id.clone(), self.current.root.expose())?;
        Ok(Self { current, old: copies(self.old.iter().filter(|key| key.id != *id))? })
    }

    /// The key that signs and seals.
    pub const fn current(&self) -> &RootKey {
        &self.current
    }

    /// The key with this name, current or old.
    pub fn find(&self, id: &str) -> Option<&RootKey> {
        self.keys().find(|key| key.id.as_str() == id)
    }

    /// Whether it holds this very key under this name, current or old.
    pub fn holds(&self, key: &RootKey) -> bool {
        self.find(key.id.as_str())
            .is_some_and(|own| super::secret::same(own.root.expose(), key.root.expose()))
    }

    /// The keys that `other` does not hold: gone, or another key under their name.
    pub fn dropped_by<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a RootKey> {
        self.keys().filter(|key| !other.holds(key))
    }

    /// The names of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys().map(RootKey::id)
    }

    fn keys(&self) -> impl Iterator<Item = &RootKey> {
        std::iter::once(&self.current).chain(&self.old)
    }
}

enum Role {
    Current,
    Old,
}

/// What a line says; nothing where it is empty or a comment.
fn parse_line(line: &str) -> Result<Option<(Role, RootKey)>, KeyFault> {
    let said = line.split_once('#').map_or(line, |(said, _)| said);
    let mut words = said.split_ascii_whitespace();
    let (role, id, key) = match (words.next(), words.next(), words.next(), words.next()) {
        (None, ..) => return Ok(None),
        (Some(role), Some(id), Some(key), None) => (role, id, key),
        _ => return Err(KeyFault::Words),
    };
    let role = match role {
        CURRENT => Role::Current,
        OLD => Role::Old,
        _ => return Err(KeyFault::Role),
    };
    let id = KeyId::new(id).map_err(|NotAKeyId| KeyFault::Id)?;
    let mut root = Zeroizing::new([0; KEY_BYTES]);
    // The decoder refuses padding, other alphabets, and last characters with bits that no byte has.
    match Base64UrlUnpadded::decode(key, &mut *root) {
        Ok(bytes) if bytes.len() == KEY_BYTES => {}
        _ => return Err(KeyFault::Text),
    }
    Ok(Some((role, RootKey::new(id, &root)?)))
}

/// Whether a key may stand beside the others.
fn fits<'a>(mut others: impl Iterator<Item = &'a RootKey>, key: &RootKey) -> Result<(), KeyFault> {
    others.try_for_each(|other| {
        if other.id == key.id {
            Err(KeyFault::SameId)
        } else if super::secret::same(other.root.expose(), key.root.expose()) {
            Err(KeyFault::SameKey)
        } else {
            Ok(())
        }
    })
}

fn copies<'a>(keys: impl Iterator<Item = &'a RootKey>) -> Result<Vec<RootKey>, KeyFault> {
    keys.map(|key| RootKey::new(key.id.clone(), key.root.expose())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_named_by_its_day_and_never_like_another() {
        assert_eq!(KeyId::of_day("2026-11-22", None).unwrap().as_str(), "2026-11-22");
        let mut keyring =
            Keyring::generate(KeyId::new("2026-11-22").unwrap(), b"0123456789abcdef0123456789abcdef")
                .unwrap();
        for (number, byte) in [("2026-11-22-2", 1), ("2026-11-22-3", 2)] {
            let id = KeyId::of_day("2026-11-22", Some(&keyring)).unwrap();
            assert_eq!(id.as_str(), number);
            let mut fresh = [7; KEY_BYTES];
            fresh[0] = byte;
            keyring = keyring.rotated(id, &fresh).unwrap();
        }
        assert!(KeyId::of_day("22.11.2026", None).is_err());
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
    use proptest::prelude::*;
    use std::fmt::Write as _;

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
        assert_eq!(
            full.rotated(id("new"), b"0123456789abcdef0123456789abcdef").unwrap_err(),
            KeyFault::TooMany
        );
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
}
