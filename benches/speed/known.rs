//! What is in a store of the benchmark, without looking: everything follows from a seed. Which token is the
//! `n`th, whose it is and what its text says is computed, so that a store of ten million tokens can be made
//! once and asked about again and again without a list of them.

use std::time::{SystemTime, UNIX_EPOCH};

use bearerd::{
    records::Time,
    token::{ClientId, Keyring, Kind, Prefix, Secret, TokenId, UserId, cookie, jwt, text},
};
use sha2::{Digest, Sha256};

/// The tokens of a store are minted over so many milliseconds.
pub const SPAN_MILLIS: u64 = 20 * 60 * 60 * 1000;
/// How long its PATs live.
pub const LIFE_SECONDS: u64 = 90 * 24 * 60 * 60;
/// The scope of its PATs.
pub const SCOPE: &str = "reports:read";
/// Who issued its JWTs; also `server.public_url`.
const ISSUER: &str = "http://127.0.0.1:8420/";

/// What a token of the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An opaque PAT: eighteen of twenty.
    Opaque,
    /// A PAT spelled as a JWT: one of twenty.
    Jwt,
    /// A magic link, which cookies came from: one of twenty.
    Link,
}

impl Sort {
    /// What the `n`th token is.
    pub const fn of(n: u64) -> Self {
        match n % 20 {
            7 => Self::Jwt,
            13 => Self::Link,
            _ => Self::Opaque,
        }
    }

    /// A token near the `n`th that is of this sort.
    pub const fn near(self, n: u64) -> u64 {
        match (self, n % 20) {
            (Self::Jwt, place) => n - place + 7,
            (Self::Link, place) => n - place + 13,
            (Self::Opaque, 7 | 13) => n + 1,
            (Self::Opaque, _) => n,
        }
    }
}

/// What follows from a store's seed.
pub struct Known {
    /// How many tokens it was made with: a multiple of 20.
    pub tokens: u64,
    /// What all else follows from.
    pub seed: [u8; 32],
    /// When the first of them was minted.
    pub began_ms: u64,
    /// The store's id.
    pub store_id: [u8; 16],
    /// Its root key.
    pub keyring: Keyring,
}

impl Known {
    /// How many owners the tokens are spread over.
    pub fn owners(&self) -> u64 {
        (self.tokens / 1_000).clamp(10, 10_000)
    }

    /// How many clients its links are spread over.
    pub fn clients(&self) -> u64 {
        self.owners() / 10
    }

    /// The `n`th owner; the first is the admin.
    pub fn owner(&self, n: u64) -> UserId {
        UserId::from_parts(self.began_ms, self.id_bytes("owner", n))
    }

    /// The address of the `n`th owner.
    pub fn email(n: u64) -> String {
        format!("somebody{n}@example.com")
    }

    /// The `n`th client.
    pub fn client(&self, n: u64) -> ClientId {
        ClientId::from_parts(self.began_ms, self.id_bytes("client", n))
    }

    /// Which owner the `n`th token is of; for a link, which client.
    pub fn owner_of(&self, n: u64) -> u64 {
        let spread = if Sort::of(n) == Sort::Link { self.clients() } else { self.owners() };
        let bytes = self.bytes("owner of", n);
        u64::from_be_bytes(bytes[..8].try_into().unwrap()) % spread
    }

    /// The id of the `n`th token.
    pub fn id(&self, n: u64) -> TokenId {
        TokenId::from_parts(self.minted_ms(n), self.id_bytes("token", n))
    }

    /// When the `n`th token was minted, in milliseconds.
    pub fn minted_ms(&self, n: u64) -> u64 {
        self.began_ms + n * SPAN_MILLIS / self.tokens
    }

    /// The same in seconds.
    pub fn minted(&self, n: u64) -> Time {
        Time::from_unix_millis(self.minted_ms(n))
    }

    /// The text of the `n`th token.
    pub fn text(&self, n: u64) -> Secret {
        let opaque = |kind| text::mint(&Prefix::default(), kind, self.id(n), &self.bytes("secret", n));
        match Sort::of(n) {
            Sort::Opaque => opaque(Kind::Pat),
            Sort::Link => opaque(Kind::Link),
            Sort::Jwt => {
                let iat = self.minted(n).unix();
                let claims = jwt::Claims {
                    iss: ISSUER.to_owned(),
                    sub: self.owner(self.owner_of(n)),
                    email: Some(Self::email(self.owner_of(n))),
                    jti: self.id(n),
                    scope: SCOPE.to_owned(),
                    iat,
                    exp: Some(iat + LIFE_SECONDS),
                };
                jwt::mint(self.keyring.current(), &claims).unwrap()
            }
        }
    }

    /// A token that is spelled as the `n`th might be, and that nobody minted.
    pub fn unknown(&self, n: u64) -> Secret {
        let id = TokenId::from_parts(self.minted_ms(n), self.id_bytes("nobody's", n));
        text::mint(&Prefix::default(), Kind::Pat, id, &self.bytes("secret", n))
    }

    /// A cookie that the `n`th token, a link, gave just now.
    pub fn cookie(&self, n: u64) -> Secret {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        cookie::mint(self.keyring.current(), &self.store_id, self.id(n), now)
    }

    /// Random bytes of an id. They begin with its turn within its millisecond, which was the first.
    fn id_bytes(&self, what: &str, n: u64) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.bytes(what, n)[..8]);
        bytes
    }

    fn bytes(&self, what: &str, n: u64) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(what)
            .chain_update(n.to_be_bytes())
            .finalize()
            .into()
    }
}
