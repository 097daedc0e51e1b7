//! Personal access tokens, and all tokens as an admin sees them.

use std::sync::Arc;

use super::{App, Failure, fresh, noted};
use crate::{
    records::{Listed, Page, TableId},
    rules::{
        Refusal,
        access::Authorized,
        inventory::{self, Condition, Filter, Found, Matching, Owned},
        pats::{self, Change, Wish},
        tokens::{self, Minted, Row},
    },
    token::{Kind, Secret, TokenHash, TokenId, UserId, text},
};

/// What came of a bulk revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Tokens that were meant.
    pub matches: u64,
    /// Tokens that were ended.
    pub revoked: u64,
    /// Tokens that are damaged, and were passed over.
    pub damaged: u64,
}

impl App {
    /// Mints a PAT of the caller's own.
    pub async fn mint_pat(&self, who: &Authorized, wish: Wish) -> Result<Minted, Failure> {
        let plan = pats::plan(wish)?;
        let fresh = fresh()?;
        self.change(who, move |txn, terms, who| pats::mint_own(txn, terms, who, plan, &fresh)).await
    }

    /// Mints a PAT for somebody.
    pub async fn mint_pat_for(&self, who: &Authorized, owner: UserId, wish: Wish) -> Result<Minted, Failure> {
        let plan = pats::plan(wish)?;
        let fresh = fresh()?;
        self.change(who, move |txn, terms, who| pats::mint_for(txn, terms, who, owner, plan, &fresh)).await
    }

    /// One page of the caller's own PATs.
    pub fn own_pats(&self, who: &Authorized, page: &Page) -> Result<Listed<Row>, Failure> {
        self.look(|view, now| Ok(tokens::own(view, who, Kind::Pat, now, &|id| self.noted(id), page)?))
    }

    /// One PAT that the caller may know of.
    pub fn pat(&self, who: &Authorized, id: TokenId) -> Result<Row, Failure> {
        self.look(|view, now| pats::show(view, who, id, now, &|id| self.noted(id)))
    }

    /// Changes a PAT.
    pub async fn update_pat(&self, who: &Authorized, id: TokenId, change: Change) -> Result<Row, Failure> {
        let last_used = Arc::clone(&self.last_used);
        self.change(who, move |txn, _, who| {
            let token = pats::update(txn, who, id, change)?;
            Ok(tokens::row(txn, token, txn.now(), &|id| noted(&last_used, id))?)
        })
        .await
    }

    /// Gives a PAT anew.
    pub async fn rotate_pat(
        &self,
        who: &Authorized,
        id: TokenId,
        overlap_seconds: Option<u64>,
    ) -> Result<Minted, Failure> {
        let fresh = fresh()?;
        self.change(who, move |txn, terms, who| pats::rotate(txn, terms, who, id, overlap_seconds, &fresh))
            .await
    }

    /// Revokes a PAT.
    pub async fn revoke_pat(&self, who: &Authorized, id: TokenId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| pats::revoke(txn, who, id)).await
    }

    /// One page of all tokens.
    pub fn all_tokens(&self, filter: &Filter, page: &Page) -> Result<Listed<Owned>, Failure> {
        self.look(|view, now| inventory::list_all(view, filter, now, &|id| self.noted(id), page))
    }

    /// One token of whatever kind.
    pub fn any_token(&self, id: TokenId) -> Result<Owned, Failure> {
        self.look(|view, now| inventory::show_any(view, id, now, &|id| self.noted(id)))
    }

    /// Revokes a token of whatever kind.
    pub async fn revoke_any(&self, who: &Authorized, id: TokenId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| inventory::revoke_any(txn, who, id)).await
    }

    /// The row of a token that somebody found. What is no token of any spelling is not found either.
    pub fn look_up(&self, found: &Secret) -> Result<Owned, Failure> {
        let snapshot = self.snapshot();
        let id = text::parse(found.expose())
            .ok()
            .map(|token| token.id)
            .or_else(|| crate::token::jwt::verify(&snapshot.keyring, found.expose()).ok().map(|jwt| jwt.id));
        let found = Found { id, hash: TokenHash::of(found.expose()) };
        self.look(|view, now| inventory::lookup(view, &found, now, &|id| self.noted(id)))
    }

    /// Ends all tokens that a condition takes in; with `dry_run` counts them only. Goes on to its end even
    /// if whoever asked does not wait for it: half an incident's revocation would be worse than none.
    pub async fn revoke_many(
        self: &Arc<Self>,
        who: &Authorized,
        condition: Condition,
        dry_run: bool,
    ) -> Result<Revoked, Failure> {
        if condition.is_empty() {
            let why = "or host, client, kind or created_before has to be named: all tokens are never meant";
            return Err(Refusal::invalid("user", why).into());
        }
        let (app, who) = (Arc::clone(self), who.clone());
        tokio::spawn(async move { app.revoke_all_of(&who, condition, dry_run).await })
            .await
            .map_err(|_| Failure::Internal)?
    }

    async fn revoke_all_of(
        &self,
        who: &Authorized,
        condition: Condition,
        dry_run: bool,
    ) -> Result<Revoked, Failure> {
        let mut outcome = Revoked::default();
        let mut after = None;
        let mut began = false;
        loop {
            let from = after.take();
            let look = self.look_long(move |view, _| inventory::matching(view, &condition, from.clone()));
            let Matching { ids, next, damaged } = look.await?;
            outcome.damaged = outcome.damaged.saturating_add(damaged);
            outcome.matches = outcome.matches.saturating_add(u64::try_from(ids.len()).unwrap_or(u64::MAX));
            if !dry_run && !ids.is_empty() {
                let by = who.by();
                let ended = if began {
                    // Allowed once is allowed to the end: what asks may be among what is ended.
                    self.change_own(move |txn, _| inventory::revoke_many(txn, &by, &condition, &ids)).await?
                } else {
                    self.change(who, move |txn, _, who| {
                        inventory::revoke_many(txn, &who.by(), &condition, &ids)
                    })
                    .await?
                };
                began = true;
                outcome.revoked = outcome.revoked.saturating_add(ended.revoked);
                outcome.damaged = outcome.damaged.saturating_add(ended.damaged);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        if outcome.damaged > 0 {
            tracing::error!(
                table = TableId::Tokens.name(),
                damaged = outcome.damaged,
                "a revocation of many passed over damaged tokens, which admit nobody: stop the daemon and run `bearerd \
                 check`"
            );
        }
        Ok(outcome)
    }
}
