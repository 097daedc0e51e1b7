//! Hosts, and their sealed credentials.

use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{App, Failure, fresh, noted, random};
use crate::{
    records::{Listed, Page},
    rules::{
        access::Authorized,
        credentials,
        hosts::{self, Change, Seen},
        limits,
        tokens::Minted,
    },
    token::HostId,
};

impl App {
    /// One page of the hosts.
    pub fn hosts(&self, page: &Page) -> Result<Listed<Seen>, Failure> {
        self.look(|view, _| hosts::list(view, page, &|token| self.noted(token)))
    }

    /// One host that the caller may see.
    pub fn host(&self, who: &Authorized, id: HostId) -> Result<Seen, Failure> {
        self.look(|view, _| hosts::one(view, who.caller(), id, &|token| self.noted(token)))
    }

    /// Changes a host's record.
    pub async fn update_host(&self, who: &Authorized, id: HostId, change: Change) -> Result<Seen, Failure> {
        let last_used = Arc::clone(&self.last_used);
        self.change(who, move |txn, _, who| {
            let host = hosts::update(txn, &who.by(), id, &change)?;
            Ok(hosts::seen(txn, host, &|token| noted(&last_used, token))?)
        })
        .await
    }

    /// Deletes a host.
    pub async fn delete_host(&self, who: &Authorized, id: HostId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| hosts::delete(txn, &who.by(), id)).await
    }

    /// Gives a host a new agent token.
    pub async fn rotate_agent(
        &self,
        who: &Authorized,
        id: HostId,
        overlap_seconds: Option<u64>,
    ) -> Result<Minted, Failure> {
        let overlap = limits::overlap(overlap_seconds)?;
        let fresh = fresh()?;
        self.change(who, move |txn, terms, who| hosts::rotate(txn, terms, &who.by(), id, overlap, &fresh))
            .await
    }

    /// Seals credentials for a host.
    pub async fn put_credentials(
        &self,
        who: &Authorized,
        id: HostId,
        given: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let plain = credentials::text("credentials", given)?;
        let nonce = random()?;
        self.change(who, move |txn, terms, who| {
            hosts::put_credentials(txn, terms, &who.by(), id, plain.expose().as_bytes(), nonce)
        })
        .await
    }

    /// The credentials of the calling agent's own host.
    pub async fn read_credentials(
        &self,
        who: &Authorized,
        id: HostId,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.change(who, move |txn, terms, who| hosts::read_credentials(txn, terms, who.caller(), id)).await
    }
}
