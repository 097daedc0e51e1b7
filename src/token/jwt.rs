//! The JWT form of a personal access token (RFC 7519, signed as RFC 7515 has it): HS256 under a root
//! key's JWT key, and nothing else.
//!
//! Header `{"alg":"HS256","kid":KEY,"typ":"JWT"}`; claims `iss`, `sub`, `email` (where there is one),
//! `jti` (the token's id), `typ` = `pat`, `scope`, `iat`, and `exp` unless it never expires.
//!
//! The claims are for those who read tokens without asking. This daemon believes none of them: they
//! are looked at only once the MAC holds, and say only which row to look up; whether that row is
//! alive, whose it is and whether this text is the one it was made with are not known here.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::id::{TokenId, UserId};
use super::keyring::{KeyId, Keyring, RootKey};
use super::secret::{Secret, TokenHash};
use super::text::PRESENTED_BYTES_MAX;

/// The longest header segment: ours has 90 characters at most.
const HEADER_CHARS_MAX: usize = 256;
/// 32 bytes in base64url without padding.
const MAC_CHARS: usize = 43;
const MAC_BYTES: usize = 32;
const ALGORITHM: &str = "HS256";
const HEADER_TYPE: &str = "JWT";
const CLAIM_TYPE: &str = "pat";

/// What a personal access token says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The issuer: this daemon's public URL.
    pub iss: String,
    /// The owner.
    pub sub: UserId,
    /// The owner's address, as it was when the token was minted.
    pub email: Option<String>,
    /// The token's own id.
    pub jti: TokenId,
    /// Its scope, words separated by one space.
    pub scope: String,
    /// When it was minted, in seconds since the epoch.
    pub iat: u64,
    /// When it expires, in seconds since the epoch; none if it never does.
    pub exp: Option<u64>,
}

/// The token would be longer than anything that can be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JWT would be longer than 4096 bytes")]
pub struct TooLong;

/// Why a text is not a JWT of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtFault {
    /// Not three segments of base64url in their one spelling, or too long.
    #[error("not the shape of a JWT")]
    Shape,
    /// The header is not a JSON object with `alg`, `kid` and perhaps `typ`, each once.
    #[error("its header is not one of ours")]
    Header,
    /// An algorithm other than HS256.
    #[error("its algorithm is not HS256")]
    Algorithm,
    /// No key, or one that this keyring does not have.
    #[error("it is signed with an unknown key")]
    UnknownKey,
    /// The MAC does not hold: changed, or signed by somebody else.
    #[error("its signature is wrong")]
    Mac,
    /// Signed by us, and yet not the claims of a personal access token.
    #[error("its claims are not those of a personal access token")]
    Claims,
}

/// What is known of a JWT whose MAC holds.
#[derive(Debug, Clone)]
pub struct JwtText {
    /// The row it says it belongs to.
    pub id: TokenId,
    /// What the row must carry for it to be the one that was minted.
    pub hash: TokenHash,
    /// The key that signed it.
    pub key_id: KeyId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<T> {
    alg: T,
    #[serde(default)]
    kid: Option<T>,
    #[serde(default)]
    typ: Option<T>,
}

/// The claims in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<T> {
    iss: T,
    sub: UserId,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    email: Option<T>,
    jti: TokenId,
    typ: T,
    scope: T,
    iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

/// Writes and signs a personal access token.
pub fn mint(key: &RootKey, claims: &Claims) -> Result<Secret, TooLong> {
    let header = Header { alg: ALGORITHM, kid: Some(key.id().as_str()), typ: Some(HEADER_TYPE) };
    let body = Body {
        iss: claims.iss.as_str(),
        sub: claims.sub,
        email: claims.email.as_deref(),
        jti: claims.jti,
        typ: CLAIM_TYPE,
        scope: claims.scope.as_str(),
        iat: claims.iat,
        exp: claims.exp,
    };
    let signed = [segment(&header)?, segment(&body)?].join(".");
    // The rest of a token anybody could write.
    let mac = Zeroizing::new(key.jwt().mac(&[signed.as_bytes()]));
    let mac = Zeroizing::new(Base64UrlUnpadded::encode_string(&*mac));
    let token = Secret::new([signed.as_str(), ".", &mac].concat());
    if token.expose().len() > PRESENTED_BYTES_MAX { Err(TooLong) } else { Ok(token) }
}

fn segment(value: &impl Serialize) -> Result<String, TooLong> {
    // Structs of texts and numbers always serialise.
    let json = serde_json::to_vec(value).map_err(|_| TooLong)?;
    Ok(Base64UrlUnpadded::encode_string(&json))
}

/// Checks a JWT, in this order: shape, header, algorithm, key, MAC, and only then the claims.
pub fn verify(keyring: &Keyring, text: &str) -> Result<JwtText, JwtFault> {
    if text.len() > PRESENTED_BYTES_MAX {
        return Err(JwtFault::Shape);
    }
    let (signed, mac) = text.rsplit_once('.').ok_or(JwtFault::Shape)?;
    let (header, body) = signed.split_once('.').ok_or(JwtFault::Shape)?;
    if header.len() > HEADER_CHARS_MAX || mac.len() != MAC_CHARS {
        return Err(JwtFault::Shape);
    }
    let mut mac_bytes = [0; MAC_BYTES];
    let mac = Base64UrlUnpadded::decode(mac, &mut mac_bytes).map_err(|_| JwtFault::Shape)?;
    // A fourth segment would leave a dot in the body, which is not in the alphabet.
    let (header, body) = (decode(header)?, decode(body)?);

    let header: Header<String> = object(&header).ok_or(JwtFault::Header)?;
    if header.alg != ALGORITHM {
        return Err(JwtFault::Algorithm);
    }
    if header.typ.is_some_and(|typ| typ != HEADER_TYPE) {
        return Err(JwtFault::Header);
    }
    let key = header.kid.and_then(|kid| keyring.find(&kid)).ok_or(JwtFault::UnknownKey)?;
    if !key.jwt().confirms(&[signed.as_bytes()], mac) {
        return Err(JwtFault::Mac);
    }

    let body: Body<String> = object(&body).ok_or(JwtFault::Claims)?;
    if body.typ != CLAIM_TYPE {
        return Err(JwtFault::Claims);
    }
    Ok(JwtText { id: body.jti, hash: TokenHash::of(text), key_id: key.id().clone() })
}

/// The bytes of a segment. The decoder refuses padding, other alphabets, and last characters with bits
/// that no byte has, so that a segment has one spelling.
fn decode(segment: &str) -> Result<Vec<u8>, JwtFault> {
    Base64UrlUnpadded::decode_vec(segment).map_err(|_| JwtFault::Shape)
}

/// A JSON object with the members of `T`, each at most once, and no others. The brace is asked for
/// because the derived reader would take an array of the values as well.
fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    json.starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Spelling;
    use proptest::prelude::*;

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            iss: "http://127.0.0.1:8420".to_owned(),
            sub: UserId::parse("user_01h455vb4pex5vsknk084sn02q").unwrap(),
            email: Some("ada@example.org".to_owned()),
            jti: TokenId::parse("token_01h455vb4pex5vsknk084sn02q").unwrap(),
            scope: "general".to_owned(),
            iat: 1_763_790_114,
            exp: Some(1_771_566_114),
        }
    }

    /// Made with Python: `json.dumps` without spaces, `base64.urlsafe_b64encode` without padding, `hmac`.
    const KNOWN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjg0MjAiLCJzdWIiOiJ1c2VyXzAxaDQ1NXZiNHBleDV2c2tuazA4NHNuMDJxIiwiZW1haWwiOiJhZGFAZXhhbXBsZS5vcmciLCJqdGkiOiJ0b2tlbl8wMWg0NTV2YjRwZXg1dnNrbmswODRzbjAycSIsInR5cCI6InBhdCIsInNjb3BlIjoiZ2VuZXJhbCIsImlhdCI6MTc2Mzc5MDExNCwiZXhwIjoxNzcxNTY2MTE0fQ.wBjiWOrHffRyMsvVE4FXGSGa1YT-f2UBO2tEziZMRCs";

    #[test]
    fn a_jwt_is_what_another_implementation_makes_it() {
        let minted = mint(Keyring::supposed().find("k").unwrap(), &claims()).unwrap();
        assert_eq!(minted.expose(), KNOWN);
        let read = verify(&Keyring::supposed(), KNOWN).unwrap();
        assert_eq!((read.id, read.key_id), (claims().jti, key_id("k")));
        assert!(read.hash.matches(&TokenHash::of(KNOWN)));
        assert!(matches!(crate::token::text::spelling(KNOWN), Spelling::Jwt));
    }

    #[test]
    fn what_is_absent_is_not_written() {
        let never = Claims { email: None, exp: None, ..claims() };
        let minted = mint(Keyring::supposed().current(), &never).unwrap();
        assert!(verify(&Keyring::supposed(), minted.expose()).is_ok());
        let body = minted.expose().split('.').nth(1).unwrap();
        let json = String::from_utf8(Base64UrlUnpadded::decode_vec(body).unwrap()).unwrap();
        assert_eq!(
            json,
            "{\"iss\":\"http://127.0.0.1:8420\",\"sub\":\"user_01h455vb4pex5vsknk084sn02q\",\
             \"jti\":\"token_01h455vb4pex5vsknk084sn02q\",\"typ\":\"pat\",\"scope\":\"general\",\"iat\":1763790114}"
        );
    }

    /// A JWT with any header and claims, signed with the right key all the same.
    fn forged(header: &str, body: &str) -> String {
        let signed = [header, body].map(|json| Base64UrlUnpadded::encode_string(json.as_bytes())).join(".");
        let mac = Keyring::supposed().find("k").unwrap().jwt().mac(&[signed.as_bytes()]);
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&mac))
    }

    const HEADER: &str = r#"{"alg":"HS256","kid":"k","typ":"JWT"}"#;
    const BODY: &str = r#"{"iss":"i","sub":"user_01h455vb4pex5vsknk084sn02q","jti":"token_01h455vb4pex5vsknk084sn02q","typ":"pat","scope":"s","iat":1}"#;

    #[track_caller]
    fn header(header: &str, expected: Option<JwtFault>) {
        assert_eq!(verify(&Keyring::supposed(), &forged(header, BODY)).err(), expected, "{header}");
    }

    #[test]
    fn a_header_says_hs256_a_known_key_and_perhaps_jwt() {
        header(HEADER, None);
        header(r#"{"typ":"JWT", "kid":"k", "alg":"HS256"}"#, None);
        header(r#"{"alg":"HS256","kid":"k"}"#, None);
        for alg in ["none", "None", "hs256", "HS512", "RS256", "HS256 ", ""] {
            header(&format!(r#"{{"alg":"{alg}","kid":"k","typ":"JWT"}}"#), Some(JwtFault::Algorithm));
        }
        header(r#"{"alg":"none"}"#, Some(JwtFault::Algorithm));
        header(r#"{"alg":"HS256"}"#, Some(JwtFault::UnknownKey));
        header(r#"{"alg":"HS256","kid":""}"#, Some(JwtFault::UnknownKey));
        header(r#"{"alg":"HS256","kid":"K"}"#, Some(JwtFault::UnknownKey));
        header(r#"{"alg":"HS256","kid":"next"}"#, Some(JwtFault::Mac));
        for other in [
            r#"{"kid":"k","typ":"JWT"}"#,
            r#"{"alg":"HS256","kid":"k","typ":"jwt"}"#,
            r#"{"alg":"HS256","kid":"k","typ":"at+jwt"}"#,
            r#"{"alg":"HS256","alg":"HS256","kid":"k"}"#,
            r#"{"alg":"none","kid":"k","alg":"HS256"}"#,
            r#"{"alg":"HS256","kid":"k","kid":"k"}"#,
            r#"{"alg":"HS256","kid":"k","crit":[]}"#,
            r#"{"alg":"HS256","kid":"k","jwk":{}}"#,
            r#"{"alg":"HS256","kid":["k"]}"#,
            r#"{"alg":["HS256"],"kid":"k"}"#,
            r#"{"alg":"HS256","kid":"k"} {}"#,
            r#" {"alg":"HS256","kid":"k"}"#,
            r#"["HS256","k","JWT"]"#,
            r#""HS256""#,
            "null",
            "{}",
            "{",
            "",
        ] {
            header(other, Some(JwtFault::Header));
        }
    }

    #[track_caller]
    fn body(body: &str, expected: Option<JwtFault>) {
        assert_eq!(verify(&Keyring::supposed(), &forged(HEADER, body)).err(), expected, "{body}");
    }

    #[test]
    fn claims_are_those_of_a_personal_access_token() {
        body(BODY, None);
        body(&BODY.replace('}', r#","exp":2,"email":"a@b"}"#), None);
        for (from, to) in [
            (r#""pat""#, r#""session""#),
            (r#""typ":"pat","#, ""),
            ("token_01", "user_01"),
            ("token_01", "token_81"),
            (r#""jti":"token"#, r#""jti":["token"#),
            ("}", r#","admin":true}"#),
            ("}", r#","jti":"token_01h455vb4pex5vsknk084sn02r"}"#),
            ("}", r#","exp":-1}"#),
            ("}", r#","exp":1.5}"#),
            (r#""iat":1"#, r#""iat":"1""#),
            ("{", "["),
            ("{", " {"),
        ] {
            body(&BODY.replace(from, to), Some(JwtFault::Claims));
        }
        body(
            r#"["i","user_01h455vb4pex5vsknk084sn02q",null,"token_01h455vb4pex5vsknk084sn02q","pat","s",1,null]"#,
            Some(JwtFault::Claims),
        );
    }

    #[test]
    fn without_the_mac_no_claim_is_looked_at() {
        let (signed, _) = KNOWN.rsplit_once('.').unwrap();
        let (head, _) = signed.split_once('.').unwrap();
        let mac = "A".repeat(43);
        let nonsense = Base64UrlUnpadded::encode_string(b"no claims at all");
        assert_eq!(
            verify(&Keyring::supposed(), &format!("{head}.{nonsense}.{mac}")).unwrap_err(),
            JwtFault::Mac
        );
        assert_eq!(verify(&Keyring::supposed(), &format!("{signed}.{mac}")).unwrap_err(), JwtFault::Mac);
    }

    #[track_caller]
    fn shape(text: &str) {
        assert_eq!(verify(&Keyring::supposed(), text).unwrap_err(), JwtFault::Shape, "{text}");
    }

    #[test]
    fn there_are_three_segments_in_their_one_spelling() {
        let (signed, mac) = KNOWN.rsplit_once('.').unwrap();
        let (head, body) = signed.split_once('.').unwrap();
        shape("");
        shape("..");
        shape(signed);
        shape(&format!("{KNOWN}."));
        shape(&format!(".{KNOWN}"));
        shape(&format!("{KNOWN}="));
        shape(&format!("{signed}."));
        shape(&format!("{signed}.{}", &mac[1..]));
        shape(&format!("{signed}.{mac}A"));
        shape(&format!("{signed}.{}", mac.replace(['-', '_'], "+")));
        shape(&format!("{head}.{body}=.{mac}"));
        shape(&format!("{head}={}", &KNOWN[head.len()..]));
        shape(&format!("{head}.{body}.{body}.{mac}"));
        shape(&format!("{head}..{mac}.{mac}"));
        shape(&format!(" {KNOWN}"));
        shape(&KNOWN.replace("eyJ", "eyJé"));
    }

    #[test]
    fn the_last_character_of_each_segment_has_no_spare_bits() {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for (end, _) in KNOWN.match_indices('.').chain([(KNOWN.len(), "")]) {
            let accepted = DIGITS.chars().filter(|digit| {
                let text = format!("{}{digit}{}", &KNOWN[..end - 1], &KNOWN[end..]);
                verify(&Keyring::supposed(), &text).is_ok()
            });
            assert_eq!(accepted.count(), 1);
        }
    }

    #[test]
    fn headers_and_tokens_have_a_longest_length() {
        let wide = |spaces: usize| forged(&HEADER.replace('{', &format!("{{{}", " ".repeat(spaces))), BODY);
        // 192 bytes are 256 characters.
        assert!(verify(&Keyring::supposed(), &wide(192 - HEADER.len())).is_ok());
        shape(&wide(193 - HEADER.len()));

        let long = |characters: usize| Claims { scope: "x".repeat(characters), ..claims() };
        // Base64 comes in steps of two and three quarters; some length of a key's id makes up the difference.
        let longest = ["k", "kk", "kkk", "kkkk"].map(|id| {
            let keyring = Keyring::generate(key_id(id), b"0123456789abcdef0123456789abcdef").unwrap();
            let (mut most, mut too_many) = (0, 4096);
            while most + 1 < too_many {
                let middle = usize::midpoint(most, too_many);
                if mint(keyring.current(), &long(middle)).is_ok() { most = middle } else { too_many = middle }
            }
            assert_eq!(mint(keyring.current(), &long(most + 1)).unwrap_err(), TooLong);
            let token = mint(keyring.current(), &long(most)).unwrap();
            assert!(verify(&keyring, token.expose()).is_ok());
            token.expose().len()
        });
        assert_eq!(longest.into_iter().max(), Some(4096));
        shape(&forged(HEADER, &BODY.replace("\"s\"", &format!("\"{}\"", "x".repeat(4096)))));
    }

    #[test]
    fn a_key_that_is_gone_or_another_s_verifies_nothing() {
        let gone = Keyring::supposed().without(&key_id("k")).unwrap();
        assert_eq!(verify(&gone, KNOWN).unwrap_err(), JwtFault::UnknownKey);
        let other = Keyring::generate(key_id("k"), b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(verify(&other, KNOWN).unwrap_err(), JwtFault::Mac);
    }

    proptest! {
        #[test]
        fn what_is_minted_verifies(iss in "\\PC{0,40}", email in prop::option::of("\\PC{0,40}"), scope in "\\PC{0,40}", id: [u8; 16], iat: u64, exp: Option<u64>) {
            let claims = Claims { iss, email, scope, sub: UserId::from_bytes(id), jti: TokenId::from_bytes(id), iat, exp };
            let token = mint(Keyring::supposed().current(), &claims).unwrap();
            prop_assert_eq!(verify(&Keyring::supposed(), token.expose()).unwrap().id, claims.jti);
        }

        #[test]
        fn one_changed_character_is_refused(place: prop::sample::Index, other in proptest::char::range(' ', '~')) {
            let mut bad: Vec<char> = KNOWN.chars().collect();
            let place = place.index(bad.len());
            prop_assume!(bad[place] != other);
            bad[place] = other;
            prop_assert!(verify(&Keyring::supposed(), &String::from_iter(bad)).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", header in "\\PC*", body in "\\PC*") {
            let _ = (verify(&Keyring::supposed(), &text), verify(&Keyring::supposed(), &forged(&header, HEADER)), verify(&Keyring::supposed(), &forged(HEADER, &body)));
        }
    }
}
