//! Ids of users, tokens, hosts and clients: TypeIDs (specification 0.3), a type, `_` and a UUIDv7 in
//! 26 characters. Ids are no secrets: they may be shown and logged, and they admit nobody.
//!
//! Which rows exist, and when an id was made, is not known here: time and random bytes come in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::digits::BASE32;

/// Bytes in every id: a UUID.
pub const ID_BYTES: usize = 16;
/// Characters that spell a UUID after its type.
pub const SUFFIX_CHARS: usize = 26;
/// Characters in a type prefix, by the specification; ours are all much shorter.
const TYPE_CHARS_MAX: usize = 63;
/// Bits in a digit of the suffix.
const DIGIT_BITS: u32 = 5;
/// How many characters of a suffix spell the time, and how many after them lists show.
const TIME_CHARS: usize = 10;
const SHOWN_CHARS: usize = 8;

/// Why a text is not an id of the type that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It does not begin with the type's own prefix and `_`.
    #[error("not an id of this type")]
    Type,
    /// What follows the prefix is not 26 characters of lower-case Crockford base 32 below 2^128.
    #[error("not the 26 characters of an id")]
    Suffix,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $type:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Sorts by time of creation. Serialises as its text where a person may read it (JSON), and
        /// as 16 bytes elsewhere (the store).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// The type prefix, without its `_`.
            pub const TYPE: &str = $type;

            /// A new UUIDv7 from milliseconds since the epoch (the low 48 bits count, which last
            /// until the year 10889) and random bytes, of which 74 bits are kept.
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().into_bytes())
            }

            /// The id with these bytes, as they were stored.
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// The bytes, as a store's key; big-endian, so that keys sort as ids do.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }

            /// The time it was made, in milliseconds since the epoch.
            pub fn millis(&self) -> u64 {
                u64::try_from(u128::from_be_bytes(self.0) >> 80).unwrap_or(u64::MAX)
            }

            /// Appends its text: the type, `_`, and the 26 characters.
            pub fn push_onto(&self, text: &mut String) {
                text.push_str(Self::TYPE);
                text.push('_');
                text.push_str(as_text(&spell(&self.0)));
            }

            /// Reads the one spelling of an id of this type.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match decode(text)? {
                    (Self::TYPE, bytes) => Ok(Self(bytes)),
                    _ => Err(IdError::Type),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&encode(Self::TYPE, &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
                } else {
                    Deserialize::deserialize(from).map(Self)
                }
            }
        }
    )*};
}

ids! {
    /// A person, or a service's own user.
    UserId = "user";
    /// A token of any kind; it stands in the token's own text, without its type.
    TokenId = "token";
    /// An enrolled host.
    HostId = "host";
    /// A client of the portal.
    ClientId = "client";
}

impl TokenId {
    /// The 26 characters without the type, as a token's text carries them.
    pub fn suffix(&self) -> String {
        as_text(&spell(&self.0)).to_owned()
    }

    /// Reads the 26 characters as they stand in a token's text.
    pub fn from_suffix(suffix: &str) -> Result<Self, IdError> {
        unspell(suffix).map(Self)
    }

    /// The first 8 random characters (the 10 before them are time): enough for a person to recognise
    /// a token in a list, nothing to attack it with.
    pub fn shown(&self) -> String {
        self.suffix().chars().skip(TIME_CHARS).take(SHOWN_CHARS).collect()
    }
}

/// A TypeID: the type, `_` unless there is no type, and the suffix.
fn encode(r#type: &str, bytes: &[u8; ID_BYTES]) -> String {
    let suffix = spell(bytes);
    let suffix = as_text(&suffix);
    if r#type.is_empty() { suffix.to_owned() } else { [r#type, "_", suffix].concat() }
}

/// The type and the bytes of any TypeID.
fn decode(text: &str) -> Result<(&str, [u8; ID_BYTES]), IdError> {
    let (r#type, suffix) = match text.rsplit_once('_') {
        Some((r#type, suffix)) if is_type(r#type) => (r#type, suffix),
        Some(_) => return Err(IdError::Type),
        None => ("", text),
    };
    Ok((r#type, unspell(suffix)?))
}

/// Whether a prefix is allowed before a `_`: `[a-z]`, with `_` between but not at the ends.
fn is_type(r#type: &str) -> bool {
    (1..=TYPE_CHARS_MAX).contains(&r#type.len())
        && r#type.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        && !r#type.starts_with('_')
        && !r#type.ends_with('_')
}

/// 128 bits in 26 digits of 5, most significant first; the two bits too many are zero.
fn spell(bytes: &[u8; ID_BYTES]) -> [u8; SUFFIX_CHARS] {
    let mut rest = u128::from_be_bytes(*bytes);
    let mut digits = [b'0'; SUFFIX_CHARS];
    for digit in digits.iter_mut().rev() {
        let [low, ..] = rest.to_le_bytes();
        *digit = BASE32.character(low & 0x1f);
        rest >>= DIGIT_BITS;
    }
    digits
}

/// Digits as a text, which they always are.
fn as_text(digits: &[u8; SUFFIX_CHARS]) -> &str {
    str::from_utf8(digits).unwrap_or_default()
}

fn unspell(suffix: &str) -> Result<[u8; ID_BYTES], IdError> {
    // 26 digits hold 130 bits: a first digit above 7 would be cut off, and give an id a second spelling.
    if suffix.len() != SUFFIX_CHARS || !suffix.starts_with(|first: char| first <= '7') {
        return Err(IdError::Suffix);
    }
    let mut value: u128 = 0;
    for character in suffix.bytes() {
        let digit = BASE32.value(character).ok_or(IdError::Suffix)?;
        value = value << DIGIT_BITS | u128::from(digit);
    }
    Ok(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification's own vectors of what is valid, both ways.
    #[track_caller]
    fn valid(text: &str, r#type: &str, uuid: u128) {
        assert_eq!(decode(text).unwrap(), (r#type, uuid.to_be_bytes()));
        assert_eq!(encode(r#type, &uuid.to_be_bytes()), text);
    }

    #[test]
    fn the_specification_s_valid_ids_decode_and_encode() {
        valid("00000000000000000000000000", "", 0);
        valid("00000000000000000000000001", "", 1);
        valid("0000000000000000000000000a", "", 0xa);
        valid("0000000000000000000000000g", "", 0x10);
        valid("00000000000000000000000010", "", 0x20);
        valid("7zzzzzzzzzzzzzzzzzzzzzzzzz", "", u128::MAX);
        valid("prefix_0123456789abcdefghjkmnpqrs", "prefix", 0x0110_c853_1d09_52d8_d73e_1194_e95b_5f19);
        valid("prefix_01h455vb4pex5vsknk084sn02q", "prefix", 0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        valid("pre_fix_00000000000000000000000000", "pre_fix", 0);
    }

    #[track_caller]
    fn invalid(text: &str, error: IdError) {
        assert_eq!(decode(text).unwrap_err(), error, "{text:?}");
    }

    #[test]
    fn the_specification_s_invalid_ids_are_refused() {
        invalid("PREFIX_00000000000000000000000000", IdError::Type);
        invalid("12345_00000000000000000000000000", IdError::Type);
        invalid("pre.fix_00000000000000000000000000", IdError::Type);
        invalid("préfix_00000000000000000000000000", IdError::Type);
        invalid("  prefix_00000000000000000000000000", IdError::Type);
        invalid("_00000000000000000000000000", IdError::Type);
        invalid("_", IdError::Type);
        invalid("_prefix_00000000000000000000000000", IdError::Type);
        invalid("prefix__00000000000000000000000000", IdError::Type);
        invalid("prefix_1234567890123456789012345", IdError::Suffix);
        invalid("prefix_123456789012345678901234567", IdError::Suffix);
        invalid("prefix_1234567890123456789012345 ", IdError::Suffix);
        invalid("prefix_0123456789ABCDEFGHJKMNPQRS", IdError::Suffix);
        invalid("prefix_123456789-123456789-123456", IdError::Suffix);
        invalid("prefix_ooooooiiiiiiuuuuuuulllllll", IdError::Suffix);
        invalid("prefix_i23456789ol23456789oi23456", IdError::Suffix);
        invalid("prefix_123456789-0123456789-0123456", IdError::Suffix);
        invalid("prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz", IdError::Suffix);
        invalid("prefix_", IdError::Suffix);
        invalid("", IdError::Suffix);
    }

    #[test]
    fn a_type_has_at_most_63_characters() {
        let nil = "00000000000000000000000000";
        assert!(decode(&format!("{}_{nil}", "a".repeat(63))).is_ok());
        invalid(&format!("{}_{nil}", "a".repeat(64)), IdError::Type);
    }

    #[test]
    fn an_id_of_one_type_is_not_an_id_of_another() {
        let user = UserId::from_parts(1_763_790_114_000, [7; 10]);
        assert_eq!(user.to_string().parse(), Ok(user));
        assert_eq!(TokenId::parse(&user.to_string()), Err(IdError::Type));
        assert_eq!(UserId::parse(&encode("", user.as_bytes())), Err(IdError::Type));
        assert_eq!(UserId::parse(&encode("user_user", user.as_bytes())), Err(IdError::Type));
        assert_eq!(UserId::parse(&format!("{user} ")), Err(IdError::Suffix));
    }

    #[test]
    fn ids_are_uuids_of_version_7_that_sort_by_time() {
        let early = TokenId::from_parts(1_763_790_114_000, [0xff; 10]);
        let late = TokenId::from_parts(1_763_790_114_001, [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!((early.millis(), late.millis()), (1_763_790_114_000, 1_763_790_114_001));
        let uuid = uuid::Uuid::from_bytes(*early.as_bytes());
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    }

    #[test]
    fn a_list_shows_eight_random_characters_and_none_of_the_time() {
        let token = TokenId::parse("token_01h455vb4pex5vsknk084sn02q").unwrap();
        assert_eq!(token.suffix(), "01h455vb4pex5vsknk084sn02q");
        assert_eq!(token.shown(), "ex5vsknk");
        assert_eq!(TokenId::from_suffix(&token.suffix()), Ok(token));
        assert_eq!(format!("{token:?} {token:>34}|"), format!("{token}   {token}|"));
    }

    #[test]
    fn json_has_the_text() {
        let host = HostId::from_parts(1, [1; 10]);
        let json = serde_json::to_string(&host).unwrap();
        assert_eq!(json, format!("\"{host}\""));
        assert_eq!(serde_json::from_str::<HostId>(&json).unwrap(), host);
        assert!(serde_json::from_str::<UserId>(&json).is_err());
    }

    proptest! {
        #[test]
        fn every_id_reads_back_and_texts_sort_as_bytes_do(one: [u8; 16], other: [u8; 16]) {
            let (one, other) = (ClientId::from_bytes(one), ClientId::from_bytes(other));
            prop_assert_eq!(ClientId::parse(&one.to_string()), Ok(one));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_text(text in "([a-z_]{1,5}_)?[0-9a-z]{26}") {
            if let Ok((r#type, bytes)) = decode(&text) {
                prop_assert_eq!(encode(r#type, &bytes), text);
            }
        }

        #[test]
        fn the_time_that_went_in_comes_out(unix_ms in 0_u64..1 << 48, random: [u8; 10]) {
            prop_assert_eq!(UserId::from_parts(unix_ms, random).millis(), unix_ms);
        }
    }
}
