//! Magic links: minting, listing and revoking them. What happens when one is followed stands in `portal`.

use super::{
    Conflict, Refusal, Terms, clients, limits,
    redirect::Redirect,
    tokens::{self, Fresh, Minted, Noted, Row},
};
use crate::{
    records::{
        Action, By, Listed, Page, Params, Time, Txn, View,
        token::{Detail, Link, Owner, Token},
    },
    token::{ClientId, Kind, TokenId},
};

/// The longest span of a link, in days.
pub const LINK_DAYS_MAX: u32 = 3650;

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
        expires_in_days: Option<u32>,
        redirect: Option<&str>,
        single_use: bool,
    ) -> Result<Self, Refusal> {
        let days = |days: u32| match days {
            1..=LINK_DAYS_MAX => Ok(u64::from(days).saturating_mul(DAY_SECONDS)),
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
    if link.is_revoked() {
        return Ok(());
    }
    txn.entry(by, Action::LinkRevoke, id, Params::none())?;
    tokens::revoke(txn, link)?;
    Ok(())
}

/// One page of a client's links, newest first. `noted` tells the last use that may not have reached the
/// store: a link's own, or that of a cookie it gave.
pub fn list(
    view: &dyn View,
    client: ClientId,
    now: Time,
    noted: Noted<'_>,
    page: &Page,
) -> Result<Listed<Row>, Refusal> {
    let client = clients::one(view, client)?;
    Ok(tokens::of_owner(view, Owner::Client(client.id), Kind::Link, now, noted, page)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judged(label: Option<&str>, days: Option<u32>, redirect: Option<&str>, good: bool) {
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

    #[test]
    fn the_link_of_a_preview_is_for_many_uses_and_has_its_label_and_no_end() {
        let NewLink { label, span_seconds, redirect, single_use } = NewLink::lasting("Preview");
        assert_eq!((label.as_deref(), span_seconds, single_use), (Some("Preview"), None, false));
        assert_eq!(redirect.into_text(), "/");
    }
}
