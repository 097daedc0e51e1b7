//! Magic links followed: what was presented, whether it admits, and the cookie it is exchanged for.
//!
//! A link for many uses changes nothing when it is followed: its cookie is signed, not stored. A single-use
//! link is consumed in the transaction that admits, so that of any number of callers one gets in. What a
//! cookie is worth afterwards is asked of its link and client each time, by [`verify`].

use core::net::IpAddr;
use std::sync::Arc;

use super::{Denied, Reason, Refusal, Terms, verify};
use crate::{
    records::{
        Action, Actor, By, Fault, Params, TableId, Time, Txn, View,
        client::Client,
        meta::raw,
        token::{Owner, State, Token},
    },
    token::{Kind, Secret, Spelling, TokenHash, TokenText, cookie, text},
};

/// A link as it was presented: spelled like one, and no more than that.
#[derive(Clone, Debug)]
pub enum Followed {
    /// A token of ours.
    Ours(TokenText),
    /// Something of another spelling: perhaps a link that was imported.
    Imported(TokenHash),
}

impl Followed {
    /// What a presented text is. Looks at no store; a typo in a token of ours ends here.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        match text::spelling(text) {
            Spelling::Ours(token) => Ok(Self::Ours(token)),
            Spelling::OursBroken(_) => Err(Denied::of(Reason::Checksum)),
            Spelling::Jwt => Ok(Self::Imported(TokenHash::of(text))),
            Spelling::Foreign(hash) => Ok(Self::Imported(hash)),
            Spelling::Unusable => Err(Denied::of(Reason::Malformed)),
        }
    }

    /// The row that it is the text of.
    fn row(&self, view: &dyn View) -> Result<Token, Refusal> {
        let token = match self {
            Self::Ours(text) => verify::row(view, Some(text.id), &text.hash)??,
            Self::Imported(hash) => verify::row(view, None, hash)??,
        };
        Ok(Arc::unwrap_or_clone(token))
    }
}

/// A link that admits whoever holds it.
#[derive(Clone, Debug)]
pub struct Door {
    /// The link.
    pub link: Token,
    /// The client that it belongs to.
    pub client: Client,
    /// Where it leads.
    pub redirect: String,
    /// Whether it admits once only.
    pub single_use: bool,
}

/// Whether what was presented admits at `now`. Changes nothing.
pub fn find(view: &dyn View, followed: &Followed, now: Time) -> Result<Door, Refusal> {
    let token = followed.row(view)?;
    let denied = |reason| Denied { reason, token: Some(token.id) };
    let (Kind::Link, Owner::Client(owner)) = (token.kind, token.owner) else {
        return Err(denied(Reason::Kind).into());
    };
    let state = token.state(now, 0);
    if state != State::Active {
        return Err(denied(Reason::of_state(state).unwrap_or(Reason::Unknown)).into());
    }
    let client = Client::by_id(view, owner)?.ok_or_else(|| denied(Reason::OwnerGone))?;
    if !client.active {
        return Err(denied(Reason::OwnerInactive).into());
    }
    let link = token.link()?.clone();
    Ok(Door { client, redirect: link.redirect, single_use: link.single_use, link: token })
}

/// Admits: looks again at this turn, and consumes a single-use link. The door, and the cookie that opens
/// it from now on.
pub fn redeem(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    followed: &Followed,
    ip: Option<IpAddr>,
) -> Result<(Door, Secret), Refusal> {
    let door = find(txn, followed, txn.now())?;
    if door.single_use {
        let by = By { actor: Actor::Client(door.client.id), label: door.client.slug.clone(), ip };
        let params = Params::none().with("client", door.client.id.to_string());
        txn.entry(&by, Action::LinkConsume, door.link.id, params)?;
        txn.put(Token { consumed_at: Some(txn.now()), ..door.link.clone() })?;
    }
    let cookie = sign(txn, terms, &door.link, txn.now())?;
    Ok((door, cookie))
}

/// A cookie for `link`, issued at `now` under the current key, good in this store alone.
pub fn sign(view: &dyn View, terms: Terms<'_>, link: &Token, now: Time) -> Result<Secret, Fault> {
    Ok(cookie::mint(terms.keyring.current(), &store_id(view)?, link.id, now.unix()))
}

/// This store's own id, which its cookies are bound to.
pub fn store_id(view: &dyn View) -> Result<[u8; cookie::STORE_ID_BYTES], Fault> {
    let damaged = Fault::Damaged(TableId::Meta);
    let stored = view.bytes(TableId::Meta, raw::STORE_ID)?.ok_or(damaged)?;
    stored.try_into().map_err(|_| damaged)
}

#[cfg(test)]
mod tests;
