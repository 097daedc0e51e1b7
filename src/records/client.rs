//! A portal client, and the projects that belong to one.

use serde::{Deserialize, Serialize};

use super::{
    tables::{Deciding, Hint, Record},
    time::Time,
    view::{Fault, TableId, View},
};
use crate::token::{ClientId, TokenId};

/// A portal client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Who it is.
    pub id: ClientId,
    /// Its short name, unique.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Whether its links and cookies count.
    pub active: bool,
    /// When it was made.
    pub created_at: Time,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Client {
    /// The client of that id.
    pub fn by_id(view: &dyn View, id: ClientId) -> Result<Option<Self>, Fault> {
        Self::at(view, id.as_bytes())
    }

    /// The client of that slug.
    pub fn by_slug(view: &dyn View, slug: &str) -> Result<Option<Self>, Fault> {
        let Some(id) = view.bytes(TableId::ClientsBySlug, slug.as_bytes())? else { return Ok(None) };
        let found = Self::at(view, &id)?;
        Ok(found.filter(|client| client.slug == slug))
    }

    /// The key of the hint that leads to it, with what it holds.
    pub fn hints(&self) -> Vec<Hint> {
        let slug = self.slug.clone().into_bytes();
        vec![(TableId::ClientsBySlug, slug, self.id.as_bytes().to_vec())]
    }
}

impl Record for Client {
    const TABLE: TableId = TableId::Clients;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}

impl Deciding for Client {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}

/// Which client a project of the product belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The project's name, as the product has it.
    pub name: String,
    /// Its client.
    pub client: ClientId,
    /// The client that was made for its previews, whether or not it is also the project's own.
    pub preview_client: Option<ClientId>,
    /// The link that previews of it go by.
    pub preview_link: Option<TokenId>,
    /// See [`Deciding`].
    pub entry: u64,
}

impl Project {
    /// The project of that name.
    pub fn by_name(view: &dyn View, name: &str) -> Result<Option<Self>, Fault> {
        Self::at(view, name.as_bytes())
    }
}

impl Record for Project {
    const TABLE: TableId = TableId::Projects;
    const VERSION: u8 = 1;
    fn key(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }
}

impl Deciding for Project {
    fn stamp(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn stamped(&self) -> u64 {
        self.entry
    }
}
