//! All tokens, as an admin sees them: the list with filters, ending one or many, and looking up one that
//! somebody found.

use std::sync::Arc;

use super::{
    Refusal,
    access::Authorized,
    pats,
    tokens::{self, Noted, Row},
    verify,
};
use crate::{
    records::{
        Action, By, Fault, Listed, Page, Params, TableId, Time, Txn, View, tables,
        token::{Owner, State, Token},
        user::User,
        view::believed_or_counted,
    },
    token::{Kind, TokenHash, TokenId, UserId},
};

/// Revokes a token of whatever kind, as an admin.
pub fn revoke_any(txn: &mut Txn<'_>, who: &Authorized, id: TokenId) -> Result<(), Refusal> {
    let token = Token::by_id(txn, id)?.ok_or(Refusal::NotFound)?;
    pats::end(txn, who, Action::TokenAdminRevoke, token)
}

/// A token of whatever kind, as an admin sees it.
pub fn show_any(view: &dyn View, id: TokenId, now: Time, noted: Noted<'_>) -> Result<Owned, Refusal> {
    let token = Token::by_id(view, id)?.ok_or(Refusal::NotFound)?;
    Ok(Owned::of(view, tokens::row(view, token, now, noted)?)?)
}

/// What the admin's list is filtered by; what is absent filters nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<UserId>,
    /// Of which kind.
    pub kind: Option<Kind>,
    /// In which state.
    pub state: Option<State>,
}

/// A token as admins see it.
#[derive(Clone, Debug)]
pub struct Owned {
    /// Its row.
    pub row: Row,
    /// The e-mail of its owner, where that is a user.
    pub email: Option<String>,
}

impl Owned {
    fn of(view: &dyn View, row: Row) -> Result<Self, Fault> {
        let email = match row.token.owner {
            Owner::User(id) => User::by_id(view, id)?.map(|user| user.email),
            Owner::Nobody | Owner::Host(_) | Owner::Client(_) => None,
        };
        Ok(Self { row, email })
    }
}

/// One page of all tokens, newest first: from the index of their owner, of their kind, or of all.
pub fn list_all(
    view: &dyn View,
    filter: &Filter,
    now: Time,
    noted: Noted<'_>,
    page: &Page,
) -> Result<Listed<Owned>, Refusal> {
    let mut choose = |token: Token| -> Result<Option<Row>, Fault> {
        let is_it = filter.user.is_none_or(|user| token.owner == Owner::User(user))
            && filter.kind.is_none_or(|kind| token.kind == kind);
        if !is_it {
            return Ok(None);
        }
        let row = tokens::row(view, token, now, noted)?;
        Ok(filter.state.is_none_or(|state| row.state == state).then_some(row))
    };
    let listed = match (filter.user, filter.kind) {
        (Some(user), Some(kind)) => {
            let prefix = [&Owner::User(user).prefix(), kind.tag().as_bytes()].concat();
            tokens::by_index(view, TableId::TokensByOwner, &prefix, page, &mut choose)?
        }
        (Some(user), None) => {
            let mut lists = Vec::new();
            for kind in [Kind::Session, Kind::Pat] {
                let prefix = [&Owner::User(user).prefix(), kind.tag().as_bytes()].concat();
                lists.push(tokens::by_index(view, TableId::TokensByOwner, &prefix, page, &mut choose)?);
            }
            merged(lists, page.limit)
        }
        (None, Some(kind)) => {
            tokens::by_index(view, TableId::TokensByKind, kind.tag().as_bytes(), page, &mut choose)?
        }
        (None, None) => tokens::by_index(view, TableId::Tokens, &[], page, &mut choose)?,
    };
    let items = listed.items.into_iter().map(|row| Owned::of(view, row)).collect::<Result<_, _>>()?;
    Ok(Listed { items, next: listed.next })
}

/// One page out of several lists, newest first. Where one of them stopped early, nothing older than that
/// is shown yet, so that no row is passed over.
fn merged(lists: Vec<Listed<Row>>, limit: usize) -> Listed<Row> {
    let stopped = lists.iter().filter_map(|list| list.next.clone()).max();
    let mut items: Vec<Row> = lists.into_iter().flat_map(|list| list.items).collect();
    items.sort_by_key(|item| core::cmp::Reverse(item.token.id));
    items.retain(|row| {
        stopped.as_ref().is_none_or(|stopped| row.token.id.as_bytes().as_slice() >= stopped.as_slice())
    });
    let cut = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map(|row| row.token.id.as_bytes().to_vec());
    Listed { next: if cut { last } else { stopped }, items }
}

/// The row of a token that somebody found, whatever its kind and state. Using nothing.
pub fn lookup(view: &dyn View, found: &Found, now: Time, noted: Noted<'_>) -> Result<Owned, Refusal> {
    let token = verify::row(view, found.id, &found.hash)?.map_err(|_| Refusal::NotFound)?;
    Ok(Owned::of(view, tokens::row(view, Arc::unwrap_or_clone(token), now, noted)?)?)
}

/// What can be told from the text of a token that somebody found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The id that it names, where its spelling is ours.
    pub id: Option<TokenId>,
    /// SHA-256 of the whole.
    pub hash: TokenHash,
}

/// Tokens looked at in one go of a bulk revocation, and ended in one operation of the writer.
pub const BULK_ROWS_MAX: usize = 1_000;

/// Which tokens an incident is about. All that is named has to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whose.
    pub owner: Option<Owner>,
    /// Of which kind.
    pub kind: Option<Kind>,
    /// Made before this moment.
    pub created_before: Option<Time>,
}

impl Condition {
    /// Whether it names nothing, and so would take in everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `token` is to be ended: it is meant, and nobody ended it yet. One that expired or was used
    /// up is ended as well: a cookie may live on it, or a wrong clock be put right.
    fn takes(&self, view: &dyn View, token: &Token) -> Result<bool, Fault> {
        let meant = self.owner.is_none_or(|owner| token.owner == owner)
            && self.kind.is_none_or(|kind| token.kind == kind)
            && self.created_before.is_none_or(|before| token.created_at < before);
        Ok(meant && !tokens::is_revoked(view, token)?)
    }

    /// The index that leads to them, and what its keys begin with.
    fn index(&self) -> (TableId, Vec<u8>) {
        let kind = self.kind.map(|kind| kind.tag().as_bytes());
        match (self.owner, kind) {
            (Some(owner), kind) => {
                (TableId::TokensByOwner, [&owner.prefix(), kind.unwrap_or_default()].concat())
            }
            (None, Some(kind)) => (TableId::TokensByKind, kind.to_vec()),
            (None, None) => (TableId::Tokens, Vec::new()),
        }
    }

    fn params(&self) -> Params {
        let mut params = Params::none();
        if let Some(kind) = self.kind {
            params = params.with("kind", kind.name());
        }
        if let Some(before) = self.created_before {
            params = params.with("created_before_unix", before.unix());
        }
        params
    }

    fn resource(&self) -> String {
        match self.owner {
            Some(Owner::User(id)) => id.to_string(),
            Some(Owner::Host(id)) => id.to_string(),
            Some(Owner::Client(id)) => id.to_string(),
            Some(Owner::Nobody) | None => "tokens".to_owned(),
        }
    }
}

/// Some of the tokens that a condition takes in.
#[derive(Clone, Debug)]
pub struct Matching {
    /// Which.
    pub ids: Vec<TokenId>,
    /// Where to go on; none at the end.
    pub next: Option<Vec<u8>>,
    /// Rows among them that are damaged, so that nobody can tell whether they are meant. Whoever presents one is
    /// refused, so that there is nothing to end; they must not keep the others alive.
    pub damaged: u64,
}

/// The next tokens that a condition takes in, at most [`BULK_ROWS_MAX`], going on after `after`.
pub fn matching(view: &dyn View, condition: &Condition, after: Option<Vec<u8>>) -> Result<Matching, Refusal> {
    let (index, prefix) = condition.index();
    let page = Page { after, limit: BULK_ROWS_MAX };
    let mut damaged = 0u64;
    let listed = tables::page(view, index, &prefix, &page, &mut |key, _| {
        let Some(id) = key.last_chunk().copied().map(TokenId::from_bytes) else { return Ok(None) };
        let found = believed_or_counted(Token::by_id(view, id), &mut damaged)?;
        let Some(token) = found else { return Ok(None) };
        Ok(condition.takes(view, &token)?.then_some(id))
    })?;
    Ok(Matching { ids: listed.items, next: listed.next, damaged })
}

/// What ending some tokens came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tokens that were ended.
    pub revoked: u64,
    /// Tokens that were found before, and are damaged.
    pub damaged: u64,
}

/// Ends those of `ids` that the condition still takes in, under one entry.
pub fn revoke_many(
    txn: &mut Txn<'_>,
    by: &By,
    condition: &Condition,
    ids: &[TokenId],
) -> Result<Ended, Refusal> {
    let mut ended = Ended::default();
    let mut taken = Vec::with_capacity(ids.len());
    for id in ids.iter().take(BULK_ROWS_MAX) {
        if let Some(token) = believed_or_counted(Token::by_id(txn, *id), &mut ended.damaged)?
            && condition.takes(txn, &token)?
        {
            taken.push(token);
        }
    }
    ended.revoked = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    if taken.is_empty() {
        return Ok(ended);
    }
    let params = condition.params().with("revoked", ended.revoked);
    txn.entry(by, Action::TokenAdminRevoke, condition.resource(), params)?;
    for token in taken {
        tokens::revoke(txn, token)?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests;
