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
    (1..=PRESENTED_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn has_jwt_outline(text: &str) -> bool {
    let is_base64url = |segment: &str| {
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.bytes().filter(|byte| *byte == b'.').count() == 2
        && text.split('.').all(|segment| !segment.is_empty() && is_base64url(segment))
}

/// The CRC-32 of what stands before it, in its 6 digits.
fn checksum(signed: &str) -> [char; CHECKSUM_CHARS] {
    *base62(&crc32fast::hash(signed.as_bytes()).to_be_bytes())
}

/// A big-endian number in a fixed count of digits, most significant first. The callers' counts hold
/// whatever their bytes may be: 62^43 > 2^256, and 62^6 > 2^32.
fn base62<const BYTES: usize, const DIGITS: usize>(number: &[u8; BYTES]) -> Zeroizing<[char; DIGITS]> {
    const BASE: u16 = 62;
    let mut quotient = Zeroizing::new(*number);
    let mut digits = Zeroizing::new(['0'; DIGITS]);
    for digit in digits.iter_mut().rev() {
        // Long division by hand: the remainder so far, then the next byte. As the remainder is below
        // 62, each step's quotient fits the byte that it replaces.
        let mut remainder: u8 = 0;
        for byte in quotient.iter_mut() {
            let dividend = u16::from_be_bytes([remainder, *byte]);
            [_, *byte] = (dividend / BASE).to_be_bytes();
            [_, remainder] = (dividend % BASE).to_be_bytes();
        }
        *digit = BASE62.digit(remainder);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> TokenId {
        TokenId::from_suffix("01h455vb4pex5vsknk084sn02q").unwrap()
    }

    fn minted(kind: Kind, fresh: [u8; 32]) -> String {
        mint(&Prefix::default(), kind, id(), &fresh).expose().to_owned()
    }

    /// Text and hash as a few lines of Python make them with `zlib.crc32` and `hashlib`.
    #[track_caller]
    fn known(fresh: [u8; 32], text: &str, hash: &str) {
        assert_eq!(minted(Kind::Pat, fresh), text);
        assert_eq!(parse(text).unwrap().hash.to_hex(), hash);
    }

    #[test]
    fn tokens_are_what_another_implementation_makes_them() {
        known(
            [0; 32],
            "bdr_pat_01h455vb4pex5vsknk084sn02q00000000000000000000000000000000000000000000Xr4l1",
            "f785e8b8034a50515684dc717b1c5bc053f63c5939f8c33ffef2f888000eb26f",
        );
        known(
            std::array::from_fn(|place| u8::try_from(place).unwrap()),
            "bdr_pat_01h455vb4pex5vsknk084sn02q003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf0tTJV5",
            "1a3b936a6743fbbf5e90a4faecd52c4a3b80a9bb58c889079d2faae46c657ce8",
        );
        known(
            [0xff; 32],
            "bdr_pat_01h455vb4pex5vsknk084sn02qyhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13L3x9v",
            "1ed350b53875f489d14a12d1712f6890dd8d1a0b219137c9108ce44b5aa9d5f4",
        );
    }

    /// The text with its last six characters replaced by the checksum of the others.
    fn resummed(text: &str) -> String {
        let signed = &text[..text.len() - CHECKSUM_CHARS];
        format!("{signed}{}", String::from_iter(checksum(signed)))
    }

    #[test]
    fn a_secret_of_2_to_the_256_is_no_secret() {
        let most = minted(Kind::Pat, [0xff; 32]);
        assert_eq!(&most.as_bytes()[34..77], SECRET_MAX);
        let over = resummed(&most.replace("8Xp1", "8Xp2"));
        assert_eq!(parse(&over).unwrap_err(), Malformed::Shape);
        assert_eq!(parse(&resummed(&most.replace("qyhjs", "qz000"))).unwrap_err(), Malformed::Shape);
    }

    #[track_caller]
    fn refused(text: &str, why: Malformed) {
        assert_eq!(parse(text).unwrap_err(), why, "{text}");
    }

    #[test]
    fn each_part_has_one_length_and_one_alphabet() {
        let good = minted(Kind::Session, [9; 32]);
        refused("", Malformed::Shape);
        refused("__", Malformed::Shape);
        refused(&good[..82], Malformed::Shape);
        refused(&format!("{good}0"), Malformed::Shape);
        refused(&format!(" {good}"), Malformed::Shape);
        refused(&format!("{good}\n"), Malformed::Shape);
        refused(&good.replace("bdr", ""), Malformed::Shape);
        refused(&good.replace("_ses_", "_SES_"), Malformed::Shape);
        refused(&good.replace("_ses_", "_xyz_"), Malformed::Shape);
        refused(&good.replace("_ses_", "_session_"), Malformed::Shape);
        refused(&good.replace("_ses_", "__ses_"), Malformed::Shape);
        refused(&good.replace("_ses_", "-ses-"), Malformed::Shape);
        refused(&resummed(&good.replace("_01h4", "_81h4")), Malformed::Shape);
        refused(&resummed(&good.replace("_01h4", "_01H4")), Malformed::Shape);
        refused(&resummed(&format!("{}-{}", &good[..40], &good[41..])), Malformed::Shape);
        refused(&resummed(&format!("{}é{}", &good[..40], &good[42..])), Malformed::Shape);
        refused(&good.replace("_ses_", "_pat_"), Malformed::Checksum);
        refused(&good.replace("bdr", "bde"), Malformed::Checksum);
    }

    #[test]
    fn any_prefix_of_2_to_12_characters_mints_and_parses() {
        for prefix in ["bd", "b2", "abcdefghijkl", "a00000000000"] {
            let token = mint(&Prefix::new(prefix).unwrap(), Kind::Link, id(), &[1; 32]);
            assert_eq!(token.expose().len(), prefix.len() + 80);
            assert!(token.expose().len() <= TOKEN_CHARS_MAX);
            assert_eq!(parse(token.expose()).unwrap().kind, Kind::Link);
        }
        for prefix in ["", "b", "abcdefghijklm", "Bdr", "2dr", "b_r", "b-r", "bdr ", "bdré"] {
            assert_eq!(Prefix::new(prefix), Err(NotAPrefix), "{prefix:?}");
            let good = minted(Kind::Pat, [1; 32]);
            refused(&resummed(&good.replacen("bdr", prefix, 1)), Malformed::Shape);
        }
    }

    #[test]
    fn kinds_have_tags_and_names_of_their_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_tag(kind.tag()), Some(kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(parse(&minted(kind, [2; 32])).unwrap().kind, kind);
        }
        assert_eq!(Kind::from_tag("pat ").or(Kind::from_tag("PAT")).or(Kind::from_name("service")), None);
    }

    #[track_caller]
    fn spelled(text: &str, expected: &str) {
        let seen = match spelling(text) {
            Spelling::Ours(_) => "ours",
            Spelling::OursBroken(Malformed::Shape) => "broken shape",
            Spelling::OursBroken(Malformed::Checksum) => "broken checksum",
            Spelling::Jwt => "jwt",
            Spelling::Foreign(hash) => {
                assert!(hash.matches(&TokenHash::of(text)));
                "foreign"
            }
            Spelling::Unusable => "unusable",
        };
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn a_presented_text_is_what_its_shape_says() {
        let good = minted(Kind::Pat, [3; 32]);
        spelled(&good, "ours");
        spelled(&good.replace("bdr", "bdx"), "broken checksum");
        spelled(&good.replace("_01h4", "_01H4"), "broken shape");
        spelled(&good.replacen("sn02q", "sn02-", 1), "broken shape");
        spelled(&good[1..], "broken checksum");
        spelled(&good[..82], "foreign");
        spelled(&format!("{good}A"), "foreign");
        spelled(&format!("github_pat_{}", "A".repeat(82)), "foreign");
        spelled("a.b.c", "jwt");
        spelled("eyJ_.e-J9.AA", "jwt");
        spelled("a.b", "foreign");
        spelled("a.b.c.d", "foreign");
        spelled("a..c", "foreign");
        spelled("a.b.", "foreign");
        spelled("a.b.c=", "foreign");
        spelled("x", "foreign");
        spelled(&"x".repeat(4096), "foreign");
        spelled(&"x".repeat(4097), "unusable");
        spelled("", "unusable");
        spelled(" x", "unusable");
        spelled("x\n", "unusable");
        spelled("x\0", "unusable");
        spelled("x\x7f", "unusable");
        spelled("xé", "unusable");
        spelled(&good.replacen("sn02q", "sn0é", 1), "unusable");
    }

    fn any_token() -> impl Strategy<Value = (Prefix, Kind, TokenId, [u8; 32])> {
        let prefix = "[a-z][a-z0-9]{1,11}".prop_map(|prefix| Prefix::new(&prefix).unwrap());
        let id = any::<[u8; 16]>().prop_map(TokenId::from_bytes);
        (prefix, prop::sample::select(&Kind::ALL), id, any::<[u8; 32]>())
    }

    proptest! {
        #[test]
        fn what_is_minted_parses((prefix, kind, id, fresh) in any_token()) {
            let token = mint(&prefix, kind, id, &fresh);
            let read = parse(token.expose()).unwrap();
            prop_assert_eq!((read.kind, read.id), (kind, id));
            prop_assert!(read.hash.matches(&TokenHash::of(token.expose())));
        }

        #[test]
        fn one_changed_character_is_never_ours(
            (prefix, kind, id, fresh) in any_token(),
            place: prop::sample::Index,
            other in proptest::char::range(' ', '~'),
        ) {
            let good = mint(&prefix, kind, id, &fresh).expose().to_owned();
            let mut bad: Vec<char> = good.chars().collect();
            let place = place.index(bad.len());
            prop_assume!(bad[place] != other);
            bad[place] = other;
            prop_assert!(parse(&String::from_iter(bad)).is_err());
        }

        #[test]
        fn what_parses_is_what_minting_writes((prefix, kind, id, _) in any_token(), secret in "[0-9A-Za-z]{43}") {
            let text = resummed(&format!("{}_{}_{}{secret}......", prefix.as_str(), kind.tag(), id.suffix()));
            match parse(&text) {
                Ok(read) => {
                    let again = mint(&prefix, read.kind, read.id, &number(&secret));
                    prop_assert_eq!(again.expose(), text);
                }
                Err(fault) => {
                    prop_assert_eq!(fault, Malformed::Shape);
                    prop_assert!(secret.as_bytes() > SECRET_MAX);
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", tail in ".{0,90}") {
            let _ = (spelling(&text), spelling(&format!("bdr_pat_{tail}")));
        }
    }

    /// The number that 43 digits spell, by schoolbook multiplication.
    fn number(digits: &str) -> [u8; 32] {
        let mut number = [0_u8; 32];
        for digit in digits.bytes() {
            let mut carry = u16::from(BASE62.value(digit).unwrap());
            for byte in number.iter_mut().rev() {
                let sum = u16::from(*byte) * 62 + carry;
                [_, *byte] = sum.to_be_bytes();
                carry = sum >> 8;
            }
            assert!(carry == 0 || digits.as_bytes() > SECRET_MAX);
        }
        number
    }
}
