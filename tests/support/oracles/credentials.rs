//! Credentials: nothing verifies that was not minted here.

use std::sync::LazyLock;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bearerd::rules::verify::Presented;
use bearerd::token::service_secrets::{Service, Slot};
use bearerd::token::{
    HostId, Key, KeyId, Keyring, Kind, Prefix, Secret, ServiceName, ServiceSecrets, TokenHash, TokenId,
    UserId, cookie as portal_cookie, jwt as pat_jwt, seal, text,
};

use super::ground::keyring;
use super::mangled;

const STORE_ID: [u8; 16] = [0xa5; 16];
const NOW: u64 = 1_800_000_000;
const SERVICE_SECRET: &str = "0123456789abcdef0123456789abcdef";

struct House {
    keyring: Keyring,
    services: ServiceSecrets,
    opaque: String,
    jwts: Vec<String>,
    cookies: Vec<String>,
    sealed: Vec<(String, Vec<u8>)>,
}

/// Keys, and everything that they ever made.
static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let first = keyring();
    let keyring =
        first.rotated(KeyId::new("k2").unwrap(), &std::array::from_fn(|at| at as u8 ^ 0x80)).unwrap();
    let slots = vec![Slot { name: "line 1".to_owned(), secret: Secret::new(SERVICE_SECRET.to_owned()) }];
    let service = Service { name: ServiceName::new("worker").unwrap(), slots };
    let id = TokenId::from_parts(NOW * 1000, [7; 10]);
    let claims = pat_jwt::Claims {
        iss: "https://auth.example.org".to_owned(),
        sub: UserId::from_parts(NOW * 1000, [8; 10]),
        email: Some("a@example.org".to_owned()),
        jti: id,
        scope: "general".to_owned(),
        iat: NOW,
        exp: Some(NOW + 60),
    };
    let keys = [first.current(), keyring.current()];
    let jwts = keys.map(|key| pat_jwt::mint(key, &claims).unwrap().expose().to_owned()).into();
    let cookies = keys.map(|key| portal_cookie::mint(key, &STORE_ID, id, NOW).expose().to_owned()).into();
    let host = seal::host_credentials(HostId::from_parts(NOW * 1000, [9; 10]));
    let token = seal::token_credentials(&TokenHash::of("x"));
    let sealed = [host, token]
        .map(|place| (place.clone(), seal::seal(keyring.current(), [1; 24], &place, b"{\"a\":1}").unwrap()))
        .into();
    House {
        services: ServiceSecrets::new(&[service], Key::new([3; 32])).unwrap(),
        opaque: text::mint(&Prefix::new("bdr").unwrap(), Kind::Pat, id, &[5; 32]).expose().to_owned(),
        keyring,
        jwts,
        cookies,
        sealed,
    }
});

/// Whatever parses as a token of ours is made of the parts it says, and has one spelling: no other text
/// with the same kind and id and the same secret parses.
pub fn token_text(input: &[u8]) {
    let Ok(given) = core::str::from_utf8(input) else { return };
    let Ok(token) = text::parse(given) else { return };
    assert!(token.hash.matches(&TokenHash::of(given)), "the hash is that of the whole text");
    let (prefix, rest) = given.split_once('_').expect("a prefix");
    let (tag, body) = rest.split_once('_').expect("a tag");
    text::Prefix::new(prefix).expect("a prefix that tokens may begin with");
    assert_eq!(tag, token.kind.tag());
    assert_eq!(body.get(..26), Some(token.id.suffix().as_str()));
    assert_eq!(body.len(), 26 + 43 + 6);
    // One spelling: another case, another byte anywhere, is another token or none.
    for at in 0..given.len() {
        let mut other = given.as_bytes().to_vec();
        if let Some(byte) = other.get_mut(at) {
            *byte ^= 0x20;
        }
        if let Ok(other) = core::str::from_utf8(&other) {
            assert!(text::parse(other).is_err(), "a changed character passed the checksum");
        }
    }
}

/// A bearer is taken for what it is: a secret of a service only if it is that secret, a JWT only if we signed
/// it, a token of ours only in its one spelling; and everything else is known by the hash of all of it.
pub fn bearer(input: &[u8]) {
    if let Ok(given) = core::str::from_utf8(input) {
        judge_bearer(given);
    }
    for genuine in HOUSE.jwts.iter().map(String::as_str).chain([HOUSE.opaque.as_str(), SERVICE_SECRET]) {
        if let Some(Ok(given)) = mangled(genuine.as_bytes(), input).map(String::from_utf8) {
            judge_bearer(&given);
        }
    }
}

fn judge_bearer(given: &str) {
    let house = &*HOUSE;
    match Presented::bearer(given, &house.keyring, &house.services) {
        Ok(Presented::Token(token)) => {
            assert!(token.hash.matches(&TokenHash::of(given)));
            let parsed = text::parse(given).expect("its one spelling");
            assert_eq!((token.kind, token.id), (parsed.kind, parsed.id));
        }
        Ok(Presented::Jwt(jwt)) => {
            assert!(house.jwts.iter().any(|minted| minted == given), "a JWT that nobody signed");
            assert!(jwt.hash.matches(&TokenHash::of(given)));
        }
        Ok(Presented::Service { name, slot }) => {
            assert_eq!((given, name.as_str(), slot.as_str()), (SERVICE_SECRET, "worker", "line 1"));
        }
        Ok(Presented::Imported(hash)) => {
            assert!(hash.matches(&TokenHash::of(given)));
            assert!(given.bytes().all(|byte| byte.is_ascii_graphic()) && (1..=4096).contains(&given.len()));
            assert!(text::parse(given).is_err() && given != SERVICE_SECRET);
        }
        Ok(Presented::Cookie(_)) => panic!("a cookie is no bearer"),
        Err(_) => {
            assert!(given != SERVICE_SECRET && given != house.opaque);
            assert!(!house.jwts.iter().any(|minted| minted == given));
        }
    }
}

/// A JWT verifies only if we signed it; and even claims that we signed count only as an object with the claims
/// of a personal access token, each once, and no other.
pub fn jwt(input: &[u8]) {
    let house = &*HOUSE;
    if let Ok(given) = core::str::from_utf8(input) {
        judge_jwt(given);
    }
    for genuine in &house.jwts {
        if let Some(Ok(given)) = mangled(genuine.as_bytes(), input).map(String::from_utf8) {
            judge_jwt(&given);
        }
    }
    // Signed by us: header and claims as the fuzzer likes.
    let cut = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, claims) = input.split_at(cut);
    let claims = claims.get(1..).unwrap_or_default();
    let plain: &[u8] = br#"{"alg":"HS256","kid":"k2","typ":"JWT"}"#;
    let header = if header.is_empty() { plain } else { header };
    let signed = [header, claims].map(Base64UrlUnpadded::encode_string).join(".");
    let key = house.keyring.current();
    let mac = Base64UrlUnpadded::encode_string(&key.jwt().mac(&[signed.as_bytes()]));
    let token = format!("{signed}.{mac}");
    let Ok(found) = pat_jwt::verify(&house.keyring, &token) else { return };
    assert_eq!(found.key_id.as_str(), "k2");
    assert!(found.hash.matches(&TokenHash::of(&token)));
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).expect("an object");
    assert_eq!(header.get("alg").and_then(|alg| alg.as_str()), Some("HS256"));
    assert_eq!(header.get("kid").and_then(|kid| kid.as_str()), Some("k2"));
    assert!(header.keys().all(|name| ["alg", "kid", "typ"].contains(&name.as_str())));
    let claims: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(claims).expect("an object");
    assert_eq!(claims.get("typ").and_then(|typ| typ.as_str()), Some("pat"));
    assert_eq!(claims.get("jti").and_then(|jti| jti.as_str()), Some(found.id.to_string().as_str()));
    let known = ["iss", "sub", "email", "jti", "typ", "scope", "iat", "exp"];
    assert!(claims.keys().all(|name| known.contains(&name.as_str())));
}

fn judge_jwt(given: &str) {
    let minted = HOUSE.jwts.iter().any(|minted| minted == given);
    assert_eq!(pat_jwt::verify(&HOUSE.keyring, given).is_ok(), minted, "exactly what we signed verifies");
}

/// A portal cookie verifies only if we signed it for this store.
pub fn cookie(input: &[u8]) {
    let house = &*HOUSE;
    let judge = |given: &str| {
        let minted = house.cookies.iter().any(|minted| minted == given);
        assert_eq!(portal_cookie::verify(&house.keyring, &STORE_ID, given).is_ok(), minted);
        assert!(portal_cookie::verify(&house.keyring, &[0; 16], given).is_err(), "another store's");
    };
    if let Ok(given) = core::str::from_utf8(input) {
        judge(given);
    }
    for genuine in &house.cookies {
        judge(genuine);
        if let Some(Ok(given)) = mangled(genuine.as_bytes(), input).map(String::from_utf8) {
            judge(&given);
        }
    }
    // What we mint for any link and second says just that.
    if let Some((link, rest)) = input.split_first_chunk::<16>()
        && let Some(issued) = rest.first_chunk::<8>()
    {
        let (link, issued) = (TokenId::from_bytes(*link), u64::from_be_bytes(*issued));
        let text = portal_cookie::mint(house.keyring.current(), &STORE_ID, link, issued);
        let read = portal_cookie::verify(&house.keyring, &STORE_ID, text.expose()).unwrap();
        assert_eq!((read.link, read.issued), (link, issued));
    }
}

/// An envelope opens only as it was sealed, and only for the place it was sealed for.
pub fn envelope(input: &[u8]) {
    let house = &*HOUSE;
    for (place, genuine) in &house.sealed {
        assert!(seal::open(&house.keyring, place, input).is_err() || input == genuine.as_slice());
        if let Some(other) = mangled(genuine, input) {
            assert!(seal::open(&house.keyring, place, &other).is_err(), "a changed envelope opens");
        }
        for (elsewhere, _) in house.sealed.iter().filter(|(other, _)| other != place) {
            assert!(seal::open(&house.keyring, elsewhere, genuine).is_err());
        }
    }
    let nonce = std::array::from_fn(|at| input.get(at).copied().unwrap_or(0));
    let sealed = seal::seal(house.keyring.current(), nonce, "here", input).unwrap();
    assert_eq!(seal::key_id(&sealed), Ok(Some("k2")));
    assert_eq!(seal::open(&house.keyring, "here", &sealed).unwrap().as_slice(), input);
    assert!(seal::open(&house.keyring, "there", &sealed).is_err());
    assert!(seal::open_unnamed(house.keyring.current().seal(), "here", &sealed).is_err());
    let without = house.keyring.without(&KeyId::new("k1").unwrap()).unwrap();
    assert!(seal::open(&without, "here", &sealed).is_ok());
}
