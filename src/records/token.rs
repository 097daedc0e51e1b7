//! A token of any kind, as it is stored, and what is noted beside it.

use core::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    held::Holdable,
    tables::{Deciding, Hint, Record},
    time::Time,
    view::{Fault, TableId, View},
};
use crate::token::{ClientId, HostId, KeyId, Kind, TokenHash, TokenId, UserId};

/// Whom a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody: an install token; an enrolment before there is a host.
    Nobody,
    /// A user: sessions and PATs.
    User(UserId),
    /// A host: its agent token.
    Host(HostId),
    /// A client: its links.
    Client(ClientId),
}

impl Owner {
    /// What the index by owner begins with.
    pub fn prefix(self) -> Vec<u8> {
        let (tag, id): (u8, &[u8]) = match &self {
            Self::Nobody => (0, &[]),
            Self::User(id) => (1, id.as_bytes()),
            Self::Host(id) => (2, id.as_bytes()),
            Self::Client(id) => (3, id.as_bytes()),
        };
        let mut prefix = vec![tag];
        prefix.extend_from_slice(id);
        prefix
    }
}

/// How a token's text is spelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Our own opaque text.
    Opaque,
    /// A JWT signed under that root key.
    Jwt(KeyId),
    /// Issued by another system and known by its hash alone.
    Imported,
}

/// What only tokens of one kind have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// Nothing more: install, PAT, agent.
    Plain,
    /// A session.
    Session {
        /// The user's epoch when it was opened; over when the user's is another.
        epoch: u64,
        /// Seconds without use after which it is over.
        idle_seconds: u64,
    },
    /// An enrolment.
    Enrollment(Box<Enrollment>),
    /// A magic link.
    Link(Box<Link>),
}

/// What an enrolment token carries over to its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The name that is expected, shown in lists.
    pub hostname: Option<String>,
    /// Whether that name is the only one the token enrols.
    pub pin_hostname: bool,
    /// Tags of the host to be.
    pub tags: Vec<String>,
    /// Facts of the host to be, a JSON object.
    pub facts: Option<String>,
    /// The host that was enrolled with it.
    pub host: Option<HostId>,
}

/// What a magic link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// A label for people.
    pub label: Option<String>,
    /// The path on the public origin that it leads to.
    pub redirect: String,
    /// Whether it admits once only.
    pub single_use: bool,
}

/// A stored token. Only its SHA-256 is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id: safe to log, no authority in itself.
    pub id: TokenId,
    /// What it is for.
    pub kind: Kind,
    /// SHA-256 of its whole text.
    pub hash: [u8; 32],
    /// Whose it is.
    pub owner: Owner,
    /// A name for people; empty where the kind has none.
    pub name: String,
    /// Scope words separated by one space; empty where the kind has none.
    pub scope: String,
    /// How its text is spelled.
    pub format: Format,
    /// When it was minted.
    pub created_at: Time,
    /// The span that it was minted with, in seconds, for rotation; none: never expires.
    pub span_seconds: Option<u64>,
    /// When it dies by itself.
    pub expires_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// When it was used up, being for one use.
    pub consumed_at: Option<Time>,
    /// Whether its owner has switched it on.
    pub enabled: bool,
    /// From where it may be used; empty: from everywhere.
    pub allowed_ips: Vec<IpNet>,
    /// How often it may be used.
    pub max_uses: Option<u64>,
    /// A JSON object for the product, returned by introspection.
    pub metadata: Option<String>,
    /// What only its kind has.
    pub detail: Detail,
    /// See [`Deciding`].
    pub entry: u64,
}

/// What a token is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Good.
    Active,
    /// Switched off by its owner.
    Disabled,
    /// Past its end.
    Expired,
    /// Ended by somebody.
    Revoked,
    /// Used, being for one use.
    Consumed,
    /// Used as often as it may be.
    Exhausted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Disabled, Self::Expired, Self::Revoked, Self::Consumed, Self::Exhausted];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Consumed => "consumed",
            Self::Exhausted => "exhausted",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Token {
    /// An opaque token that is good from `created_at` on and for ever, with nothing but what every token has.
    pub fn plain(id: TokenId, kind: Kind, hash: [u8; 32], owner: Owner, created_at: Time) -> Self {
        Self {
            id,
            kind,
            hash,
            owner,
            name: String::new(),
            scope: String::new(),
            format: Format::Opaque,
            created_at,
            span_seconds: None,
            expires_at: None,
            revoked_at: None,
            consumed_at: None,
            enabled: true,
            allowed_ips: Vec::new(),
            max_uses: None,
            metadata: None,
            detail: Detail::Plain,
            entry: 0,
        }
    }

    /// The token of that id.
    pub fn by_id(view: &dyn View, id: TokenId) -> Result<Option<Self>, Fault> {
        Self::at(view, id.as_bytes())
    }

    /// The same, shared with others who read it.
    pub fn shared(view: &dyn View, id: TokenId) -> Result<Option<Arc<Self>>, Fault> {
        Self::shared_at(view, id.as_bytes())
    }

    /// The imported token of that hash.
    pub fn by_hash(view: &dyn View, hash: &TokenHash) -> Result<Option<Self>, Fault> {
        Ok(Self::shared_by_hash(view, hash)?.map(Arc::unwrap_or_clone))
    }

    /// The same, shared with others who read it.
    pub fn shared_by_hash(view: &dyn View, hash: &TokenHash) -> Result<Option<Arc<Self>>, Fault> {
        let Some(id) = view.bytes(TableId::TokensByHash, hash.as_bytes())? else { return Ok(None) };
        let found = Self::shared_at(view, &id)?;
        Ok(found.filter(|token| token.has_hash(hash)))
    }

    /// Whether `hash` is this token's, in constant time.
    pub fn has_hash(&self, hash: &TokenHash) -> bool {
        TokenHash::from_bytes(self.hash).matches(hash)
    }

    /// Whether somebody ended it, whenever that was: by a clock that ran ahead and was put right since, it would
    /// lie in the future.
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }

    /// Its state at `now`, after `uses` uses, going by its own row. What ended lastingly goes before what
    /// might still change.
    pub fn state(&self, now: Time, uses: u64) -> State {
        if self.is_revoked() {
            State::Revoked
        } else if self.consumed_at.is_some() {
            State::Consumed
        } else if self.expires_at.is_some_and(|at| at <= now) {
            State::Expired
        } else if self.max_uses.is_some_and(|most| most <= uses) {
            State::Exhausted
        } else if !self.enabled {
            State::Disabled
        } else {
            State::Active
        }
    }

    /// What it says as a link. One that says nothing as a link is damage.
    pub fn link(&self) -> Result<&Link, Fault> {
        match &self.detail {
            Detail::Link(link) => Ok(link),
            Detail::Plain | Detail::Session { .. } | Detail::Enrollment(_) => {
                Err(Fault::Damaged(TableId::Tokens))
            }
        }
    }

    /// The keys of the hints that lead to it, with what they hold.
    pub fn hints(&self) -> Vec<Hint> {
        let id = self.id.as_bytes();
        let kind = self.kind.tag().as_bytes();
        let mut hints = vec![
            (TableId::TokensByKind, [kind, id].concat(), Vec::new()),
            (TableId::TokensByOwner, [&self.owner.prefix(), kind, id.as_slice()].concat(), Vec::new()),
        ];
        match &self.format {
            Format::Opaque => {}
            Format::Jwt(key) => {
                hints.push((
                    TableId::TokensByRootKey,
                    [key.as_str().as_bytes(), &[0], id].concat(),
                    Vec::new(),
                ));
            }
            Format::Imported => hints.push((TableId::TokensByHash, self.hash.to_vec(), id.to_vec())),
        }
        hints
    }
}

impl Record for Token {
    const TABLE: TableId = TableId::Tokens;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}

impl Deciding for Token {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// When and from where a token was last used. Kept apart from the token, so that a late flush can never
/// write back an old row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUsed {
    /// Which token.
    pub token: TokenId,
    /// When.
    pub at: Time,
    /// From where, where that is known.
    pub ip: Option<IpAddr>,
}

impl LastUsed {
    /// The last use of `token` that has reached the disk.
    pub fn of(view: &dyn View, token: TokenId) -> Result<Option<Self>, Fault> {
        Self::at(view, token.as_bytes())
    }
}

impl Record for LastUsed {
    const TABLE: TableId = TableId::LastUsed;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.token.as_bytes().to_vec()
    }
}

/// How often a token with `max_uses` was used. Exists as long as the token does; its absence is damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Which token.
    pub token: TokenId,
    /// How often.
    pub count: u64,
}

impl Uses {
    /// The uses of a token: 0 for one that is not counted.
    pub fn of(view: &dyn View, token: &Token) -> Result<u64, Fault> {
        if token.max_uses.is_none() {
            return Ok(0);
        }
        Self::must_be_at(view, token.id.as_bytes()).map(|uses| uses.count)
    }
}

impl Record for Uses {
    const TABLE: TableId = TableId::Uses;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.token.as_bytes().to_vec()
    }
}

/// The hash of an imported token that was purged: importing it again revives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// See [`Deciding`].
    pub entry: u64,
}

impl Record for Tombstone {
    const TABLE: TableId = TableId::Tombstones;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.hash.to_vec()
    }
}

impl Deciding for Tombstone {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_its_name_alone() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("Active"), None);
        assert_eq!(State::from_name(""), None);
    }

    #[test]
    fn no_owner_lies_among_another_s_in_the_index() {
        let id = [7; 16];
        let of = |tag: u8| [&[tag], &id[..]].concat();
        assert_eq!(Owner::Nobody.prefix(), [0]);
        assert_eq!(Owner::User(UserId::from_bytes(id)).prefix(), of(1));
        assert_eq!(Owner::Host(HostId::from_bytes(id)).prefix(), of(2));
        assert_eq!(Owner::Client(ClientId::from_bytes(id)).prefix(), of(3));
    }
}
