//! Credentials at rest: sealed for whoever redeems an enrolment token, then for one host.
//!
//! The associated data says where an envelope belongs, so that a row moved to another token or host does
//! not open there. What cannot be opened is damage, never an answer: a key that is missing, a flipped bit
//! and a moved row look alike.

use zeroize::Zeroizing;

use super::{Refusal, Terms, limits};
use crate::{
    records::{
        Fault, Record, TableId, Txn, View,
        host::{Sealed, SealedFor},
        token::Token,
    },
    token::{HostId, Secret, TokenHash, seal},
};

/// Random bytes for one sealing.
pub type Nonce = [u8; seal::NONCE_BYTES];

/// Where credentials are kept: the row, and the associated data that ties the envelope to it.
#[derive(Clone, Debug)]
pub struct Place {
    holder: SealedFor,
    associated: String,
}

impl Place {
    /// Of whoever redeems that enrolment token.
    pub fn of_enrollment(token: &Token) -> Self {
        Self {
            holder: SealedFor::Enrollment(token.id),
            associated: seal::token_credentials(&TokenHash::from_bytes(token.hash)),
        }
    }

    /// Of that host.
    pub fn of_host(host: HostId) -> Self {
        Self { holder: SealedFor::Host(host), associated: seal::host_credentials(host) }
    }

    /// Of a row that was found: what has to be known to seal it again under another key.
    pub fn of_row(view: &dyn View, sealed: &Sealed) -> Result<Self, Fault> {
        match sealed.holder {
            SealedFor::Enrollment(id) => Ok(Self::of_enrollment(&Token::must_be_at(view, id.as_bytes())?)),
            SealedFor::Host(id) => Ok(Self::of_host(id)),
        }
    }

    /// Whether anything is there, good or damaged.
    pub fn is_taken(&self, view: &dyn View) -> Result<bool, Fault> {
        Ok(view.bytes(Sealed::TABLE, &self.holder.key())?.is_some())
    }

    /// What is kept here.
    pub fn row(&self, view: &dyn View) -> Result<Option<Sealed>, Fault> {
        Sealed::at(view, &self.holder.key())
    }
}

/// A JSON object within its bound, as the bytes that are sealed and given back.
pub fn text(
    field: &'static str,
    object: &serde_json::Map<String, serde_json::Value>,
) -> Result<Secret, Refusal> {
    limits::object(field, object, limits::CREDENTIALS_BYTES_MAX).map(Secret::new)
}

/// Seals `plain` at `place` under the current root key, over whatever was there. The entry must be open.
pub fn put(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    place: &Place,
    plain: &[u8],
    nonce: Nonce,
) -> Result<(), Refusal> {
    let envelope = seal::seal(terms.keyring.current(), nonce, &place.associated, plain)
        .map_err(|too_long| Refusal::invalid("credentials", format!("are {too_long}")))?;
    txn.put(Sealed { holder: place.holder, envelope, entry: 0 })?;
    Ok(())
}

/// What is kept at `place`, opened.
pub fn open(view: &dyn View, terms: Terms<'_>, place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    let Some(sealed) = place.row(view)? else { return Ok(None) };
    let plain = seal::open(terms.keyring, &place.associated, &sealed.envelope)
        .map_err(|_| Fault::Damaged(TableId::Sealed))?;
    Ok(Some(plain))
}

/// Removes what is kept at `place`, also where it is damaged: nobody asks what it said. The entry must be open. Says
/// whether there was anything.
pub fn remove(txn: &mut Txn<'_>, place: &Place) -> Result<bool, Fault> {
    let there = place.is_taken(txn)?;
    if there {
        txn.remove_at::<Sealed>(place.holder.key())?;
    }
    Ok(there)
}
