//! Magic links: minting, listing and revoking them. What happens when one is followed stands in `portal`.

use super::{
    Conflict, Refusal, Terms, clients, limits,
    redirect::Redirect,
    tokens::{self, Fresh, Minted},
    verify,
};
use crate::{
    records::{
        Action, By, Fault, Listed, Page, Params, TableId, Time, Txn, View, tables,
        token::{Detail, LastUsed, Link, Owner, State, Token},
    },
    token::{ClientId, Kind, TokenId},
};

/// The longest span of a link, in days.
pub const LINK_DAYS_MAX: u64 = 3650;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a link is made from, within its bounds.
#[derive(Clone, Debug, Default)]
pub struct NewLink {
    label: Option<String>,
    span_seconds: Option<u64>,
    redirect: Redirect,
    single_use: bool,
}

impl NewLink {
    /// Judges what was asked for: without days it never expires, without a redirect it leads to `/`.
    pub fn judge(
        label: Option<&str>,
        expires_in_days: Option<u64>,
        redirect: Option<&str>,
        single_use: bool,
    ) -> Result<Self, Refusal> {
        let days = |days: u64| match days {
            1..=LINK_DAYS_MAX => Ok(days.saturating_mul(DAY_SECONDS)),
            _ => Err(Refusal::invalid("expires_in_days", format!("must be 1 to {LINK_DAYS_MAX}"))),
        };
        Ok(Self {
            label: label.map(|label| limits::name("label", label)).transpose()?,
            span_seconds: expires_in_days.map(days).transpose()?,
            redirect: redirect.map(|text| Redirect::parse("redirect", text)).transpose()?.unwrap_or_default(),
            single_use,
        })
    }

    /// A link for many uses to `/` that does not expire, under that label.
    pub(super) fn lasting(label: &str) -> Self {
        Self { label: Some(label.to_owned()), ..Self::default() }
    }
}

/// Mints a link of a client, which must be active.
pub fn mint(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    client: ClientId,
    new: NewLink,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let client = clients::one(txn, client)?;
    if !client.active {
        return Err(Refusal::Conflict(Conflict::ClientInactive));
    }
    let prefix = &terms.settings.tokens.prefix;
    let mut minted =
        tokens::blank(txn, prefix, Kind::Link, Owner::Client(client.id), new.span_seconds, fresh);
    let params = Params::none().with("client", client.id.to_string()).with("single_use", new.single_use);
    txn.entry(by, Action::LinkCreate, minted.token.id, params)?;
    minted.token.detail = Detail::Link(Box::new(Link {
        label: new.label,
        redirect: new.redirect.into_text(),
        single_use: new.single_use,
    }));
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// Revokes a link, and with it the cookies that it gave. One that is revoked stays as it is.
pub fn revoke(txn: &mut Txn<'_>, by: &By, id: TokenId) -> Result<(), Refusal> {
    let link = Token::by_id(txn, id)?.filter(|token| token.kind == Kind::Link).ok_or(Refusal::NotFound)?;
    if link.revoked_at.is_some() {
        return Ok(());
    }
    txn.entry(by, Action::LinkRevoke, id, Params::none())?;
    tokens::revoke(txn, link)?;
    Ok(())
}

/// A link as lists show it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The token.
    pub token: Token,
    /// Its state at the time of the question.
    pub state: State,
    /// When it, or a cookie that it gave, was last used.
    pub last_used_at: Option<Time>,
}

/// One page of a client's links, newest first. `noted` tells the last use that may not have reached the
/// store.
pub fn list(
    view: &dyn View,
    now: Time,
    client: ClientId,
    noted: &dyn Fn(TokenId) -> Option<Time>,
    page: &Page,
) -> Result<Listed<Row>, Refusal> {
    let client = clients::one(view, client)?;
    let owner = Owner::Client(client.id);
    let prefix = [owner.prefix(), Kind::Link.tag().as_bytes().to_vec()].concat();
    let listed = tables::page(view, TableId::TokensByOwner, &prefix, page, &mut |key, _| {
        let id = key.last_chunk().copied().map(TokenId::from_bytes);
        let id = id.ok_or(Fault::Damaged(TableId::TokensByOwner))?;
        // The index is a hint: the row itself must say that it belongs here.
        let token = Token::by_id(view, id)?.filter(|token| token.kind == Kind::Link && token.owner == owner);
        token.map(|token| row(view, now, noted, token)).transpose()
    })?;
    Ok(listed)
}

fn row(
    view: &dyn View,
    now: Time,
    noted: &dyn Fn(TokenId) -> Option<Time>,
    token: Token,
) -> Result<Row, Fault> {
    let noted = noted(token.id);
    let stored = LastUsed::of(view, token.id)?.map(|last| last.at);
    let state = verify::state_of(view, &token, now, noted)?;
    Ok(Row { state, last_used_at: noted.max(stored), token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judged(label: Option<&str>, days: Option<u64>, redirect: Option<&str>, good: bool) {
        let outcome = NewLink::judge(label, days, redirect, false);
        assert_eq!(outcome.is_ok(), good, "{outcome:?}");
    }

    #[test]
    fn a_link_is_made_within_its_bounds() {
        judged(None, None, None, true);
        judged(Some("Board"), Some(1), Some("/a?b#c"), true);
        judged(None, Some(3650), None, true);
        judged(None, Some(3651), None, false);
        judged(None, Some(0), None, false);
        judged(Some(""), None, None, false);
        judged(Some(&"a".repeat(201)), None, None, false);
        judged(None, None, Some("//evil.example"), false);
    }
}
