//! One spelling for each token: vectors, limits, and what is a character away.

use proptest::prelude::*;

use super::*;

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
