//! Rows that nobody stored, for tests that only need somebody to speak of.

use super::{
    client::Client,
    host::Host,
    time::Time,
    token::{Owner, Token},
    user::User,
};
use crate::token::{ClientId, HostId, Kind, TokenId, UserId};

const THEN: Time = Time::from_unix(1);
const RANDOM: [u8; 10] = [1; 10];

impl User {
    /// Somebody of that e-mail, in no group.
    pub(crate) fn supposed(email: &str) -> Self {
        Self {
            id: UserId::from_parts(1, RANDOM),
            email: email.to_owned(),
            name: None,
            groups: Vec::new(),
            active: true,
            password: None,
            session_epoch: 0,
            service: None,
            created_at: THEN,
            updated_at: THEN,
            entry: 0,
        }
    }
}

impl Host {
    /// A host of that name.
    pub(crate) fn supposed(hostname: &str) -> Self {
        Self {
            id: HostId::from_parts(1, RANDOM),
            hostname: hostname.to_owned(),
            os: String::new(),
            arch: String::new(),
            agent_version: None,
            tags: Vec::new(),
            facts: None,
            enrollment: None,
            created_at: THEN,
            updated_at: THEN,
            entry: 0,
        }
    }
}

impl Client {
    /// A client of that slug.
    pub(crate) fn supposed(slug: &str) -> Self {
        Self {
            id: ClientId::from_parts(1, RANDOM),
            slug: slug.to_owned(),
            name: slug.to_owned(),
            active: true,
            created_at: THEN,
            entry: 0,
        }
    }
}

impl Token {
    /// A token with those scope words, nobody's.
    pub(crate) fn supposed(scope: &str) -> Self {
        let id = TokenId::from_parts(1, RANDOM);
        Self { scope: scope.to_owned(), ..Self::plain(id, Kind::Pat, [0; 32], Owner::Nobody, THEN) }
    }
}
