//! The opaque token: minted and parsed side by side, so that each token has one spelling.
//!
//! ```text
//! bdr_pat_01jd8w3m5ze8vr3pa0n2q9k6ms<43 characters of secret><6 characters of checksum>
//! ```
//!
//! - the product's prefix, [`Prefix`];
//! - the kind's tag, [`Kind::tag`];
//! - the token's id in 26 characters, [`TokenId::suffix`];
//! - 256 random bits as one big-endian number in 43 digits of base 62 (`0-9A-Za-z`, most significant
//!   first, padded with `0`);
//! - the CRC-32 (ISO-HDLC) of all that stands before it, in 6 such digits. It makes nothing secret:
//!   it tells a typo from a token without a look at the store.
//!
//! Whether a token is on file, alive or allowed is not known here. Nothing here keeps, logs or
//! returns the text itself, but for [`mint`].

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::digits::BASE62;
use super::id::{SUFFIX_CHARS, TokenId};
use super::secret::{Secret, TokenHash};

/// A presented credential of any spelling that is longer is nobody's.
pub const PRESENTED_BYTES_MAX: usize = 4096;
/// The shortest and the longest product prefix.
pub const PREFIX_CHARS_MIN: usize = 2;
/// See [`PREFIX_CHARS_MIN`].
pub const PREFIX_CHARS_MAX: usize = 12;
/// Random bytes in a token.
pub const FRESH_BYTES: usize = 32;

const TAG_CHARS: usize = 3;
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
/// What stands after the tag.
const BODY_CHARS: usize = SUFFIX_CHARS + SECRET_CHARS + CHECKSUM_CHARS;
/// The longest token of ours: prefix, tag, both `_`, body.
pub const TOKEN_CHARS_MAX: usize = PREFIX_CHARS_MAX + 5 + BODY_CHARS;
/// 2^256 - 1 in base 62. 43 digits could spell a little more, which no minting ever writes.
const SECRET_MAX: &[u8] = b"yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

/// What a token is for. One kind is never accepted where another is asked for.
///
/// Stored by its place in this list: new kinds go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One shot: makes the first admin.
    Install,
    /// A person who logged in.
    Session,
    /// A personal access token.
    Pat,
    /// One shot: makes a host.
    Enrollment,
    /// A host's own bearer.
    Agent,
    /// A magic link into the portal.
    Link,
}

impl Kind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 6] =
        [Self::Install, Self::Session, Self::Pat, Self::Enrollment, Self::Agent, Self::Link];

    /// The three letters in a token's text.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Install => "ist",
            Self::Session => "ses",
            Self::Pat => "pat",
            Self::Enrollment => "enr",
            Self::Agent => "agt",
            Self::Link => "lnk",
        }
    }

    /// The word that the API, the command line and the log have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Session => "session",
            Self::Pat => "pat",
            Self::Enrollment => "enrollment",
            Self::Agent => "agent",
            Self::Link => "link",
        }
    }

    /// The kind with this tag.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The product's own word before each token it mints: `[a-z][a-z0-9]{1,11}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// The text cannot be the prefix of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 12 characters of a-z and 0-9, the first a letter")]
pub struct NotAPrefix;

impl Prefix {
    /// Takes a word that tokens may begin with.
    pub fn new(prefix: &str) -> Result<Self, NotAPrefix> {
        if is_prefix(prefix) { Ok(Self(prefix.to_owned())) } else { Err(NotAPrefix) }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    /// `bdr`.
    fn default() -> Self {
        Self("bdr".to_owned())
    }
}

fn is_prefix(prefix: &str) -> bool {
    (PREFIX_CHARS_MIN..=PREFIX_CHARS_MAX).contains(&prefix.len())
        && prefix.starts_with(|first: char| first.is_ascii_lowercase())
        && prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Writes a new token. `fresh` are bytes from the operating system's random source, used for nothing else.
pub fn mint(prefix: &Prefix, kind: Kind, id: TokenId, fresh: &[u8; FRESH_BYTES]) -> Secret {
    // The room is there from the start: growing would leave pieces of the secret in freed memory.
    let mut text = String::with_capacity(TOKEN_CHARS_MAX);
    for part in [prefix.as_str(), "_", kind.tag(), "_", &id.suffix()] {
        text.push_str(part);
    }
    let secret: Zeroizing<[char; SECRET_CHARS]> = base62(fresh);
    text.extend(secret.iter());
    text.extend(checksum(&text));
    Secret::new(text)
}

/// What an opaque token of ours says about itself.
#[derive(Debug, Clone, Copy)]
pub struct TokenText {
    /// What it says it is for; the row decides.
    pub kind: Kind,
    /// The row it says it belongs to.
    pub id: TokenId,
    /// What the row must carry for it to be genuine.
    pub hash: TokenHash,
}

/// Why a text is no token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A part is missing, of another length, or has characters that are never minted.
    #[error("not the shape of a token")]
    Shape,
    /// The checksum is not that of what stands before it: a typo, or made up.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Reads a token of ours, with any prefix: a prefix that was changed leaves old tokens working.
///
/// It accepts exactly what [`mint`] writes, and allocates nothing.
///
/// ```
/// use bearerd::token::{Kind, Malformed, Prefix, TokenId, text};
///
/// let id = TokenId::from_parts(1_763_790_114_000, [7; 10]);
/// let token = text::mint(&Prefix::default(), Kind::Pat, id, &[42; 32]);
/// let read = text::parse(token.expose()).unwrap();
/// assert_eq!((read.kind, read.id), (Kind::Pat, id));
///
/// let typo = token.expose().replace("bdr_pat", "bdr_agt");
/// assert_eq!(text::parse(&typo).unwrap_err(), Malformed::Checksum);
/// ```
pub fn parse(text: &str) -> Result<TokenText, Malformed> {
    read(text, Parts::of(text).ok_or(Malformed::Shape)?)
}

/// The same of a text whose parts are known.
fn read(text: &str, Parts { kind, body }: Parts<'_>) -> Result<TokenText, Malformed> {
    let (suffix, rest) = body.split_at_checked(SUFFIX_CHARS).ok_or(Malformed::Shape)?;
    let (secret, _) = rest.split_at_checked(SECRET_CHARS).ok_or(Malformed::Shape)?;
    let (signed, sum) = text
        .len()
        .checked_sub(CHECKSUM_CHARS)
        .and_then(|end| text.split_at_checked(end))
        .ok_or(Malformed::Shape)?;
    let id = TokenId::from_suffix(suffix).map_err(|_| Malformed::Shape)?;
    // Digits ascend in ASCII, so that the larger number is the larger text.
    if !BASE62.spells(rest.as_bytes()) || secret.as_bytes() > SECRET_MAX {
        return Err(Malformed::Shape);
    }
    if !sum.chars().eq(checksum(signed)) {
        return Err(Malformed::Checksum);
    }
    Ok(TokenText { kind, id, hash: TokenHash::of(text) })
}

/// A text that has the outline of a token of ours: prefix, tag, and as much after it as we write.
struct Parts<'a> {
    kind: Kind,
    body: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        // Most of what is not ours ends here, after the few characters that a prefix may have.
        let end = text.bytes().take(PREFIX_CHARS_MAX.saturating_add(1)).position(|byte| byte == b'_')?;
        let (prefix, rest) = text.split_at_checked(end)?;
        let (tag, body) = rest.strip_prefix('_')?.split_at_checked(TAG_CHARS)?;
        let (kind, body) = (Kind::from_tag(tag)?, body.strip_prefix('_')?);
        (is_prefix(prefix) && body.len() == BODY_CHARS).then_some(Self { kind, body })
    }
}

/// How a presented credential is spelled, which decides how it is looked up.
#[derive(Debug, Clone, Copy)]
pub enum Spelling {
    /// A token of ours: looked up by id, then compared by hash.
    Ours(TokenText),
    /// The outline of ours, but never minted: refused, and never looked up.
    OursBroken(Malformed),
    /// Three segments of base64url: a JWT, ours or another system's.
    Jwt,
    /// 1 to 4096 visible ASCII characters of no shape we know: perhaps imported, looked up by hash.
    Foreign(TokenHash),
    /// Empty, too long, or with bytes that no credential has: refused, and not even hashed.
    Unusable,
}

/// Tells what a presented text is, without asking anybody.
pub fn spelling(text: &str) -> Spelling {
    match Parts::of(text).map(|parts| read(text, parts)) {
        Some(Ok(token)) => Spelling::Ours(token),
        _ if !is_presentable(text) => Spelling::Unusable,
        Some(Err(fault)) => Spelling::OursBroken(fault),
        None if has_jwt_outline(text) => Spelling::Jwt,
        None => Spelling::Foreign(TokenHash::of(text)),
    }
}

fn is_presentable(text: &str) -> bool {
    (1..=PRESENTED_BYTES_MAX).contains(&text.len()) && all(text, |byte| byte.is_ascii_graphic())
}

fn has_jwt_outline(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let mut segments = text.split('.');
    let are_three = segments.by_ref().take(3).filter(|segment| !segment.is_empty()).count() == 3;
    are_three && segments.next().is_none() && all(text, |byte| is_base64url(byte) || byte == b'.')
}

/// Whether every byte `is_it`. A processor looks at sixteen at once where none of them ends the looking.
fn all(text: &str, is_it: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is_it(byte))
}

/// The CRC-32 of what stands before it, in its 6 digits.
fn checksum(signed: &str) -> [char; CHECKSUM_CHARS] {
    *base62(&crc32fast::hash(signed.as_bytes()).to_be_bytes())
}

/// A big-endian number of whole words in a fixed count of digits, most significant first. The callers' counts
/// hold whatever their bytes may be: 62^43 > 2^256, and 62^6 > 2^32.
fn base62<const BYTES: usize, const DIGITS: usize>(number: &[u8; BYTES]) -> Zeroizing<[char; DIGITS]> {
    const BASE: u32 = 62;
    /// Digits that one division yields, and what it divides by.
    const AT_ONCE: usize = 5;
    const DIVISOR: u64 = 62u64.pow(5);
    let mut quotient = Zeroizing::new(*number);
    let mut digits = Zeroizing::new(['0'; DIGITS]);
    for digits in digits.rchunks_mut(AT_ONCE) {
        // Long division by hand: the remainder so far, then the next word of 32 bits. As the remainder is below
        // the divisor, each step's quotient fits the word that it replaces.
        let mut remainder: u32 = 0;
        let (words, _) = quotient.as_chunks_mut::<4>();
        for word in words {
            let dividend = u64::from(remainder) << 32 | u64::from(u32::from_be_bytes(*word));
            let [_, _, _, _, quotient @ ..] = (dividend / DIVISOR).to_be_bytes();
            *word = quotient;
            let [_, _, _, _, rest @ ..] = (dividend % DIVISOR).to_be_bytes();
            remainder = u32::from_be_bytes(rest);
        }
        for digit in digits.iter_mut().rev() {
            let [.., value] = (remainder % BASE).to_be_bytes();
            *digit = BASE62.digit(value);
            remainder /= BASE;
        }
    }
    digits
}

#[cfg(test)]
mod tests;
