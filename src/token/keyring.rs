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
mod tests;
