//! Portal clients: making, changing and listing them. A client that is not active has no links and no
//! cookies that count, for as long as that lasts; its rows stay as they are.

use super::{Conflict, Refusal, limits};
use crate::{
    records::{Action, By, Listed, Page, Params, Record, TableId, Txn, View, client::Client, tables},
    token::ClientId,
};

/// The longest slug, in characters: what a host name's label can hold.
pub const SLUG_CHARS_MAX: usize = 63;

/// A short name for a client: `[a-z0-9]` with inner `-`, 1 to [`SLUG_CHARS_MAX`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

impl Slug {
    /// The slug of that text, which has one spelling.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Refusal> {
        let well_formed = (1..=SLUG_CHARS_MAX).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal::invalid(
            field,
            format!("must be 1 to {SLUG_CHARS_MAX} of a-z and 0-9, with - only between them"),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client is made from, within its bounds.
#[derive(Clone, Debug)]
pub struct NewClient {
    slug: Slug,
    name: String,
}

impl NewClient {
    /// Judges what was asked for.
    pub fn judge(slug: &str, name: &str) -> Result<Self, Refusal> {
        Ok(Self { slug: Slug::parse("slug", slug)?, name: limits::name("name", name)? })
    }
}

/// What is to be another; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    name: Option<String>,
    active: Option<bool>,
}

impl Change {
    /// Judges what was asked for.
    pub fn judge(name: Option<&str>, active: Option<bool>) -> Result<Self, Refusal> {
        Ok(Self { name: name.map(|name| limits::name("name", name)).transpose()?, active })
    }
}

/// Makes a client.
pub fn create(txn: &mut Txn<'_>, by: &By, random: [u8; 10], new: NewClient) -> Result<Client, Refusal> {
    if Client::by_slug(txn, new.slug.as_str())?.is_some() {
        return Err(Refusal::Conflict(Conflict::SlugExists));
    }
    let id = ClientId::from_parts(txn.now_ms(), txn.in_turn(random));
    txn.entry(by, Action::ClientCreate, id, Params::none().with("slug", new.slug.as_str()))?;
    insert(txn, id, new.slug, new.name)
}

/// Writes a new client, whose slug was seen to be free. The entry must be open.
pub(super) fn insert(txn: &mut Txn<'_>, id: ClientId, slug: Slug, name: String) -> Result<Client, Refusal> {
    let client = Client { id, slug: slug.0, name, active: true, created_at: txn.now(), entry: 0 };
    txn.index(client.hints());
    txn.put(client.clone())?;
    Ok(client)
}

/// Changes a client. What is so already is not changed again, and leaves no entry.
pub fn update(txn: &mut Txn<'_>, by: &By, id: ClientId, change: Change) -> Result<Client, Refusal> {
    let client = one(txn, id)?;
    let changed = Client {
        name: change.name.unwrap_or_else(|| client.name.clone()),
        active: change.active.unwrap_or(client.active),
        ..client.clone()
    };
    if changed == client {
        return Ok(client);
    }
    let action = match (client.active, changed.active) {
        (true, false) => Action::ClientDeactivate,
        (false, true) => Action::ClientReactivate,
        (true, true) | (false, false) => Action::ClientUpdate,
    };
    let mut params = Params::none().with("slug", client.slug.as_str());
    if changed.name != client.name {
        params = params.with("name", changed.name.as_str());
    }
    txn.entry(by, action, id, params)?;
    txn.put(changed.clone())?;
    Ok(changed)
}

/// The client of that id.
pub fn one(view: &dyn View, id: ClientId) -> Result<Client, Refusal> {
    Client::by_id(view, id)?.ok_or(Refusal::NotFound)
}

/// One page of clients, newest first.
pub fn list(view: &dyn View, page: &Page) -> Result<Listed<Client>, Refusal> {
    let listed = tables::page(view, TableId::Clients, &[], page, &mut |key, stored| {
        Client::believe(view, key, stored).map(Some)
    })?;
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn slug(text: &str, good: bool) {
        assert_eq!(Slug::parse("slug", text).is_ok(), good, "{text:?}");
    }

    #[test]
    fn a_slug_is_1_to_63_letters_and_digits_with_dashes_inside() {
        slug("a", true);
        slug("0", true);
        slug("a-b--c9", true);
        slug(&"a".repeat(63), true);
        slug(&"a".repeat(64), false);
        for bad in ["", "-", "-a", "a-", "A", "a_b", "a.b", "a b", " a", "ä", "a\n", "a/b"] {
            slug(bad, false);
        }
    }

    #[test]
    fn a_change_changes_what_it_names_and_its_entry_says_so() {
        let mut shelf = crate::records::shelf::Shelf::new();
        let by = By::system();
        let new = NewClient::judge("acme", "Acme").unwrap();
        let client = shelf.change(1, |txn| create(txn, &by, [1; 10], new)).unwrap();
        for (name, active, expected, action) in [
            (Some("Zeta"), None, ("Zeta", true), "client.update"),
            (None, Some(false), ("Zeta", false), "client.deactivate"),
            (Some("Acme"), Some(true), ("Acme", true), "client.reactivate"),
        ] {
            let change = Change::judge(name, active).unwrap();
            shelf.change(2, |txn| update(txn, &by, client.id, change)).unwrap();
            let now = Client::by_id(&shelf, client.id).unwrap().unwrap();
            assert_eq!((now.name.as_str(), now.active), expected);
            let entry = shelf.audit().pop().unwrap();
            assert_eq!(entry.action, action);
            assert_eq!(entry.params.contains(r#""name""#), name.is_some(), "{}", entry.params);
        }
    }
}
