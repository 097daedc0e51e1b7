//! Which client a project of the product belongs to, and previews: an operator sees a portal as its client
//! does.
//!
//! Everything a preview needs is looked up or made in one transaction at the writer's turn, and what it
//! made is written into the project's row, so that any number of previews at once come to the same client
//! and the same link. A client that is linked is never replaced; one that is not active is passed over for
//! as long as that lasts, in favour of a client that is the preview's own.

use super::{
    Refusal, Terms,
    clients::{self, Slug},
    limits,
    links::{self, NewLink},
    portal,
    tokens::Fresh,
};
use crate::{
    records::{
        Action, By, Fault, Params, Time, Txn, View,
        client::{Client, Project},
        token::{Owner, State, Token},
    },
    token::{ClientId, Kind, Secret},
};

/// The longest name of a project, in bytes. Names are keys, and keys are short.
pub const PROJECT_BYTES_MAX: usize = 200;

/// How many characters of a project's name go into the slug of its preview's client.
const PROJECT_CHARS_IN_SLUG: usize = 8;
/// How many slugs with a number are tried before one with random letters.
const NUMBERED_SLUGS_MAX: u32 = 9;
/// The label of links that previews go by.
const PREVIEW_LABEL: &str = "Preview";

/// A project's name as the product has it: 1 to [`PROJECT_BYTES_MAX`] bytes, no control characters, no
/// white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectName(String);

impl ProjectName {
    /// The name of that text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let well_formed = (1..=PROJECT_BYTES_MAX).contains(&text.len())
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal::invalid(
            "project",
            format!(
                "must be 1 to {PROJECT_BYTES_MAX} bytes without control characters or white space around"
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives a project a client, in place of the one it had. Says which client that is now.
pub fn assign(txn: &mut Txn<'_>, by: &By, name: &ProjectName, client: ClientId) -> Result<Client, Refusal> {
    let client = clients::one(txn, client)?;
    let before = Project::by_name(txn, name.as_str())?;
    if before.as_ref().is_some_and(|project| project.client == client.id) {
        return Ok(client);
    }
    let params = Params::none().with("client", client.id.to_string());
    txn.entry(by, Action::ProjectAssign, name.as_str(), params)?;
    let (preview_client, preview_link) =
        before.map_or((None, None), |project| (project.preview_client, project.preview_link));
    let name = name.as_str().to_owned();
    txn.put(Project { name, client: client.id, preview_client, preview_link, entry: 0 })?;
    Ok(client)
}

/// What a preview may need to make, within its bounds.
#[derive(Clone, Debug)]
pub struct Wanted {
    client_name: Option<String>,
}

impl Wanted {
    /// Judges what was asked for: what the project is called, and what a client that is made for it is
    /// called, for people.
    pub fn judge(name: Option<&str>, client_name: Option<&str>) -> Result<Self, Refusal> {
        let name = name.map(|name| limits::name("name", name)).transpose()?;
        let client_name = client_name.map(|name| limits::name("client_name", name)).transpose()?;
        Ok(Self { client_name: client_name.or(name) })
    }
}

/// A portal, ready to be looked at as its client does.
#[derive(Debug)]
pub struct Preview {
    /// The client.
    pub client: Client,
    /// The link that the cookie goes by.
    pub link: Token,
    /// The cookie.
    pub cookie: Secret,
    /// Whether the client was made for it just now.
    pub created: bool,
}

impl Preview {
    /// Where to go with the cookie: a path of the public origin.
    pub fn redirect(&self) -> Result<&str, Fault> {
        Ok(&self.link.link()?.redirect)
    }
}

/// A preview of a project: with the client and the link of the one before where they still count, else
/// with new ones.
pub fn preview(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    name: &ProjectName,
    wanted: &Wanted,
    random: [u8; 10],
    fresh: &Fresh,
) -> Result<Preview, Refusal> {
    let before = Project::by_name(txn, name.as_str())?;
    let known = match &before {
        Some(project) => usable_client(txn, project)?,
        None => None,
    };
    let created = known.is_none();
    let client = match known {
        Some(client) => client,
        None => make_client(txn, by, name, wanted, random)?,
    };
    let known = match before.as_ref().and_then(|project| project.preview_link) {
        Some(link) => Token::by_id(txn, link)?.filter(|link| leads_to(link, &client, txn.now())),
        None => None,
    };
    let link = match known {
        Some(link) => link,
        None => links::mint(txn, terms, by, client.id, NewLink::lasting(PREVIEW_LABEL), fresh)?.token,
    };
    let params = Params::none().with("client", client.id.to_string()).with("link", link.id.to_string());
    txn.entry(by, Action::ProjectPreview, name.as_str(), params)?;
    let project = Project {
        name: name.as_str().to_owned(),
        client: before.as_ref().map_or(client.id, |project| project.client),
        preview_client: if created {
            Some(client.id)
        } else {
            before.as_ref().and_then(|project| project.preview_client)
        },
        preview_link: Some(link.id),
        entry: before.as_ref().map_or(0, |project| project.entry),
    };
    if before.as_ref() != Some(&project) {
        txn.put(project)?;
    }
    let cookie = portal::sign(txn, terms, &link, txn.now())?;
    Ok(Preview { client, link, cookie, created })
}

/// The project's client if it is active, else the one that was made for its previews if that is.
fn usable_client(view: &dyn View, project: &Project) -> Result<Option<Client>, Fault> {
    for id in [Some(project.client), project.preview_client].into_iter().flatten() {
        if let Some(client) = Client::by_id(view, id)?.filter(|client| client.active) {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

/// Whether `link` still admits to the portal of `client`.
fn leads_to(link: &Token, client: &Client, now: Time) -> bool {
    link.kind == Kind::Link && link.owner == Owner::Client(client.id) && link.state(now, 0) == State::Active
}

fn make_client(
    txn: &mut Txn<'_>,
    by: &By,
    project: &ProjectName,
    wanted: &Wanted,
    random: [u8; 10],
) -> Result<Client, Refusal> {
    let slug = free_slug(txn, project, random)?;
    let name = wanted.client_name.clone().unwrap_or_else(|| {
        format!("Preview of {}", project.as_str()).chars().take(limits::NAME_CHARS_MAX).collect()
    });
    let id = ClientId::from_parts(txn.now_ms(), txn.in_turn(random));
    let params = Params::none().with("slug", slug.as_str()).with("project", project.as_str());
    txn.entry(by, Action::ClientCreate, id, params)?;
    clients::insert(txn, id, slug, name)
}

/// `preview-` and the beginning of the project's name, with a number where that is taken, and with random
/// letters where many are.
fn free_slug(view: &dyn View, project: &ProjectName, random: [u8; 10]) -> Result<Slug, Refusal> {
    let base = slug_of(project);
    let numbered = (2..=NUMBERED_SLUGS_MAX).map(|number| format!("{base}-{number}"));
    let letters = random.first_chunk().copied().map_or(0, u32::from_be_bytes);
    let tries = core::iter::once(base.clone()).chain(numbered).chain([format!("{base}-{letters:08x}")]);
    for slug in tries {
        if Client::by_slug(view, &slug)?.is_none() {
            return Slug::parse("slug", &slug);
        }
    }
    Err(Refusal::Conflict(super::Conflict::SlugExists))
}

fn slug_of(project: &ProjectName) -> String {
    let beginning: String = project
        .as_str()
        .chars()
        .take(PROJECT_CHARS_IN_SLUG)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    match beginning.trim_matches('-') {
        "" => "preview".to_owned(),
        beginning => format!("preview-{beginning}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TableId;

    #[track_caller]
    fn name(text: &str, good: bool) {
        assert_eq!(ProjectName::parse(text).is_ok(), good, "{text:?}");
    }

    #[test]
    fn a_projects_name_is_1_to_200_bytes() {
        name("a", true);
        name("0f8fad5b-d9cb-469f-a165-70867728950e", true);
        name("Über uns / 2026", true);
        name(&"a".repeat(200), true);
        name(&"a".repeat(201), false);
        for bad in ["", " ", " a", "a ", "a\n", "a\u{0}b", "\u{a0}a"] {
            name(bad, false);
        }
    }

    #[track_caller]
    fn slug(project: &str, expected: &str) {
        let slug = slug_of(&ProjectName::parse(project).unwrap());
        assert_eq!(slug, expected);
        assert!(Slug::parse("slug", &slug).is_ok());
    }

    #[test]
    fn a_previews_slug_holds_the_first_8_characters_of_the_project() {
        slug("0f8fad5b-d9cb-469f", "preview-0f8fad5b");
        slug("a", "preview-a");
        slug("Project-X", "preview-project");
        slug("a/b c", "preview-a-b-c");
        slug("ÄÖÜ", "preview");
        slug("-----------", "preview");
    }

    #[test]
    fn a_preview_leads_where_its_link_does() {
        let mut town = crate::rules::town::Town::new();
        town.shelf.tamper(TableId::Meta, crate::records::meta::raw::STORE_ID, Some(vec![7; 16]));
        let fresh = town.fresh();
        let name = ProjectName::parse("Acme").unwrap();
        let wanted = Wanted::judge(Some("Acme"), None).unwrap();
        let preview = town
            .change(|txn, terms| preview(txn, terms, &By::local(0), &name, &wanted, [1; 10], &fresh))
            .unwrap();
        assert_eq!(preview.redirect(), Ok("/"));
    }
}
