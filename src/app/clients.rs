//! Clients, their links, and the projects that belong to them, as an operator looks after them.

use super::{App, Failure, fresh, random};
use crate::{
    records::{Listed, Page, client::Client},
    rules::{
        access::Authorized,
        clients::{self, Change, NewClient},
        links::{self, NewLink},
        projects::{self, Preview, ProjectName, Wanted},
        tokens::{Minted, Row},
    },
    token::{ClientId, Secret, TokenId},
};

/// A link that was just minted.
#[derive(Debug)]
pub struct NewDoor {
    /// The link.
    pub minted: Minted,
    /// Where it is followed: the whole URL, which is as secret as the token in it.
    pub url: Secret,
}

/// A preview that is ready to be looked at.
#[derive(Debug)]
pub struct Prepared {
    /// The client, the link and the cookie.
    pub preview: Preview,
    /// Where to go with the cookie. Holds no secret.
    pub url: String,
}

impl App {
    /// Makes a client.
    pub async fn create_client(&self, who: &Authorized, new: NewClient) -> Result<Client, Failure> {
        let random = random()?;
        self.change(who, move |txn, _, who| clients::create(txn, &who.by(), random, new)).await
    }

    /// Changes a client. One that is deactivated has no links and no cookies from the answer on.
    pub async fn update_client(
        &self,
        who: &Authorized,
        id: ClientId,
        change: Change,
    ) -> Result<Client, Failure> {
        self.change(who, move |txn, _, who| clients::update(txn, &who.by(), id, change)).await
    }

    /// One client.
    pub fn client(&self, id: ClientId) -> Result<Client, Failure> {
        self.look(|view, _| clients::one(view, id))
    }

    /// One page of clients.
    pub fn clients(&self, page: &Page) -> Result<Listed<Client>, Failure> {
        self.look(|view, _| clients::list(view, page))
    }

    /// Mints a link of a client.
    pub async fn mint_link(
        &self,
        who: &Authorized,
        client: ClientId,
        new: NewLink,
    ) -> Result<NewDoor, Failure> {
        let fresh = fresh()?;
        let minted = self
            .change(who, move |txn, terms, who| links::mint(txn, terms, &who.by(), client, new, &fresh))
            .await?;
        let base = &self.snapshot().settings.server.public_url;
        let url = Secret::new(format!("{base}/portal/enter?token={}", minted.secret.expose()));
        Ok(NewDoor { minted, url })
    }

    /// One page of a client's links.
    pub fn links(&self, client: ClientId, page: &Page) -> Result<Listed<Row>, Failure> {
        self.look(|view, now| links::list(view, client, now, &|id| self.noted(id), page))
    }

    /// Revokes a link, and with it every cookie that it gave.
    pub async fn revoke_link(&self, who: &Authorized, id: TokenId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| links::revoke(txn, &who.by(), id)).await
    }

    /// Gives a project a client.
    pub async fn assign_project(
        &self,
        who: &Authorized,
        project: ProjectName,
        client: ClientId,
    ) -> Result<Client, Failure> {
        self.change(who, move |txn, _, who| projects::assign(txn, &who.by(), &project, client)).await
    }

    /// A preview of a project's portal.
    pub async fn preview(
        &self,
        who: &Authorized,
        project: ProjectName,
        wanted: Wanted,
    ) -> Result<Prepared, Failure> {
        let (random, fresh) = (random()?, fresh()?);
        let preview = self
            .change(who, move |txn, terms, who| {
                projects::preview(txn, terms, &who.by(), &project, &wanted, random, &fresh)
            })
            .await?;
        let url = format!("{}{}", self.snapshot().settings.server.public_url, preview.redirect()?);
        Ok(Prepared { preview, url })
    }
}
