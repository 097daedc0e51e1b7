//! A host, its sealed credentials, and the reply of its enrolment.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    tables::{Deciding, Hint, Record},
    time::Time,
    view::{Fault, TableId, View},
};
use crate::token::{HostId, TokenId};

/// An enrolled host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Who it is.
    pub id: HostId,
    /// Its name as it gave it, trimmed; unique without case.
    pub hostname: String,
    /// Its operating system, in its own words.
    pub os: String,
    /// Its architecture, in its own words.
    pub arch: String,
    /// The version of its agent.
    pub agent_version: Option<String>,
    /// Tags that operators gave it.
    pub tags: Vec<String>,
    /// Facts about it, a JSON object.
    pub facts: Option<String>,
    /// The enrolment that made it; none for one that was imported.
    pub enrollment: Option<TokenId>,
    /// When it was enrolled.
    pub created_at: Time,
    /// When its record was last changed.
    pub updated_at: Time,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Host {
    /// The host of that id.
    pub fn by_id(view: &dyn View, id: HostId) -> Result<Option<Self>, Fault> {
        Self::at(view, id.as_bytes())
    }

    /// The host of that name, whatever its case.
    pub fn by_name(view: &dyn View, name: &str) -> Result<Option<Self>, Fault> {
        let folded = fold_hostname(name);
        let Some(id) = view.bytes(TableId::HostsByName, folded.as_bytes())? else { return Ok(None) };
        let found = Self::at(view, &id)?;
        Ok(found.filter(|host| fold_hostname(&host.hostname) == folded))
    }

    /// The key of the hint that leads to it, with what it holds.
    pub fn hints(&self) -> Vec<Hint> {
        let name = fold_hostname(&self.hostname).into_bytes();
        vec![(TableId::HostsByName, name, self.id.as_bytes().to_vec())]
    }
}

/// The one spelling under which host names are compared and indexed: lower case.
pub fn fold_hostname(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Record for Host {
    const TABLE: TableId = TableId::Hosts;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}

impl Deciding for Host {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// For whom credentials are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedFor {
    /// Whoever redeems that enrolment token.
    Enrollment(TokenId),
    /// That host.
    Host(HostId),
}

impl SealedFor {
    /// The key of the row.
    pub fn key(self) -> Vec<u8> {
        match self {
            Self::Enrollment(id) => [&[1], id.as_bytes().as_slice()].concat(),
            Self::Host(id) => [&[2], id.as_bytes().as_slice()].concat(),
        }
    }
}

/// Credentials at rest: an envelope of `token::seal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// For whom.
    pub holder: SealedFor,
    /// The envelope. Names the root key it is sealed under.
    pub envelope: Vec<u8>,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Record for Sealed {
    const TABLE: TableId = TableId::Sealed;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.holder.key()
    }
}

impl Deciding for Sealed {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// The reply of an enrolment, kept for the host whose connection broke before it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The enrolment token that was consumed.
    pub enrollment: TokenId,
    /// The host that it made.
    pub host: HostId,
    /// The agent token that it minted; once it was used, the reply is not given again.
    pub agent_token: TokenId,
    /// The reply, sealed under a key that only the enrolment token and the attempt together give.
    pub envelope: Vec<u8>,
    /// From when on it is not given again.
    pub expires_at: Time,
    /// Where the first redemption came from.
    pub ip: Option<IpAddr>,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Record for Replay {
    const TABLE: TableId = TableId::Replays;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.enrollment.as_bytes().to_vec()
    }
}

impl Deciding for Replay {
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

    #[track_caller]
    fn is_stamped(mut record: impl Deciding) {
        record.stamp(7);
        assert_eq!(record.stamped(), 7);
        record.stamp(9);
        assert_eq!(record.stamped(), 9);
    }

    #[test]
    fn sealed_credentials_and_kept_replies_name_their_entry() {
        let (host, token) = (HostId::from_parts(1, [1; 10]), TokenId::from_parts(1, [2; 10]));
        is_stamped(Sealed { holder: SealedFor::Host(host), envelope: vec![1], entry: 0 });
        is_stamped(Replay {
            enrollment: token,
            host,
            agent_token: token,
            envelope: vec![1],
            expires_at: Time::from_unix(1),
            ip: None,
            entry: 0,
        });
    }
}
