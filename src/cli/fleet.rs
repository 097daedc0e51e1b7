//! `bearerd enroll`, `host`, `client`, `link`: hosts and how they come in, clients and how they get in.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    Stop,
    ask::{Common, encoded, nobody, rows, secret, source, span, token_id},
    output::Column,
};
use crate::{
    http::body::json_object,
    token::{ClientId, HostId},
};

const ENROLLMENTS: &[Column] = &[
    ("id", "/id"),
    ("hostname", "/hostname"),
    ("tags", "/tags"),
    ("state", "/state"),
    ("expires", "/expires_at"),
];
const HOSTS: &[Column] = &[
    ("id", "/id"),
    ("hostname", "/hostname"),
    ("os", "/os"),
    ("arch", "/arch"),
    ("tags", "/tags"),
    ("enrolled", "/created_at"),
    ("last used", "/last_used_at"),
];
const CLIENTS: &[Column] =
    &[("id", "/id"), ("slug", "/slug"), ("name", "/name"), ("active", "/active"), ("created", "/created_at")];
const LINKS: &[Column] = &[
    ("id", "/id"),
    ("label", "/label"),
    ("redirect", "/redirect"),
    ("state", "/state"),
    ("expires", "/expires_at"),
    ("last used", "/last_used_at"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Enroll {
    /// Mint a one-time token that a host swaps for its own; the token alone goes to standard output
    #[command(visible_aliases = ["new", "mint"], alias = "add")]
    Create {
        /// The name that the host is expected to have
        #[arg(long)]
        hostname: Option<String>,
        /// Let no other name in
        #[arg(long, requires = "hostname")]
        pin: bool,
        /// A tag of the host; may be given several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// How long it can be used, such as 3600 or 12h, at most a day; an hour if absent
        #[arg(long, value_name = "SPAN", value_parser = span)]
        ttl: Option<u64>,
        /// Seal the JSON object in this file for the host; `-` for standard input
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
    },
    /// List enrolments, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Revoke an enrolment
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Its id
        id: String,
    },
}

impl Enroll {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::Create { hostname, pin, tags, ttl, credentials } => {
                let mut body = Map::new();
                body.extend(hostname.map(|name| ("hostname".to_owned(), name.into())));
                body.extend(pin.then(|| ("pin_hostname".to_owned(), true.into())));
                body.extend((!tags.is_empty()).then(|| ("tags".to_owned(), tags.into())));
                body.extend(ttl.map(|ttl| ("ttl_seconds".to_owned(), ttl.into())));
                if let Some(file) = credentials {
                    body.insert("credentials".to_owned(), object(&file)?);
                }
                let minted = common.ask(Method::POST, "/v1/enrollments", Some(&Value::Object(body)))?;
                common.minted(&minted, "token")
            }
            Self::List { limit } => common.list("/v1/enrollments", ENROLLMENTS, limit),
            Self::Revoke { id } => end(common, &format!("/v1/enrollments/{}", token_id(&id)?), "revoked"),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Host {
    /// List hosts, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Show one host
    #[command(visible_alias = "get")]
    Show {
        /// Its id or name
        host: String,
    },
    /// Change a host's tags or facts, in place of those it had
    #[command(visible_alias = "edit")]
    Update {
        /// Its id or name
        host: String,
        /// A tag; may be given several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Option<Vec<String>>,
        /// Take all tags away
        #[arg(long, conflicts_with = "tags")]
        no_tags: bool,
        /// The JSON object in this file are its facts from now on; `-` for standard input
        #[arg(long, value_name = "FILE")]
        facts: Option<PathBuf>,
    },
    /// Delete a host; its agent's token dies
    #[command(visible_alias = "rm")]
    Delete {
        /// Its id or name
        host: String,
    },
    /// Give a host a new agent token, alone on standard output
    Rotate {
        /// Its id or name
        host: String,
        /// How long the old one lives on, such as 3600 or 1h; not at all if absent
        #[arg(long, value_name = "SPAN", value_parser = span)]
        overlap: Option<u64>,
    },
    /// Seal new credentials for a host
    Credentials {
        /// Its id or name
        host: String,
        /// A file with the JSON object; without, or with `-`, it is read from standard input
        file: Option<PathBuf>,
    },
}

impl Host {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        let at = |named: &str| Ok::<_, Stop>(format!("/v1/hosts/{}", encoded(&host(common, named)?)));
        match self {
            Self::List { limit } => common.list("/v1/hosts", HOSTS, limit),
            Self::Show { host } => common.show(&common.get(&at(&host)?)?),
            Self::Update { host, tags, no_tags, facts } => {
                let mut change = Map::new();
                let tags = if no_tags { Some(Vec::new()) } else { tags };
                change.extend(tags.map(|tags| ("tags".to_owned(), tags.into())));
                if let Some(file) = facts {
                    change.insert("facts".to_owned(), object(&file)?);
                }
                if change.is_empty() {
                    return Err(Stop::usage("say what to change: --tag, --no-tags or --facts"));
                }
                let host = common.ask(Method::PATCH, &at(&host)?, Some(&Value::Object(change)))?;
                common.done(&host, "changed")
            }
            Self::Delete { host } => {
                let target = at(&host)?;
                common.confirm(&format!("{host} will be deleted, and its agent locked out"))?;
                end(common, &target, "deleted")
            }
            Self::Rotate { host, overlap } => {
                let body = json!({"overlap_seconds": overlap});
                let minted = common.ask(Method::POST, &format!("{}/rotate", at(&host)?), Some(&body))?;
                common.minted(&minted, "agent_token")
            }
            Self::Credentials { host, file } => {
                let credentials = object(&file.unwrap_or_else(|| PathBuf::from("-")))?;
                let id = self::host(common, &host)?;
                let target = format!("/v1/hosts/{}/credentials", encoded(&id));
                common.ask(Method::PUT, &target, Some(&credentials))?;
                common.done(&json!({"id": id, "sealed": true}), "sealed")
            }
        }
    }
}

/// The id of the host of an id or a name.
pub(super) fn host(common: &Common, named: &str) -> Result<String, Stop> {
    if HostId::parse(named).is_ok() {
        return Ok(named.to_owned());
    }
    let found = common.id_by_name("/v1/hosts", "hostname", named)?;
    found.ok_or_else(|| nobody("host", named))
}

/// The id of the client of an id or a slug.
pub(super) fn client(common: &Common, named: &str) -> Result<String, Stop> {
    if ClientId::parse(named).is_ok() {
        return Ok(named.to_owned());
    }
    let found = common.id_by_name("/v1/clients", "slug", named)?;
    found.ok_or_else(|| nobody("client", named))
}

#[derive(Debug, Subcommand)]
pub(super) enum Client {
    /// List clients, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Show one client
    #[command(visible_alias = "get")]
    Show {
        /// Its id or slug
        client: String,
    },
    /// Make a client
    #[command(visible_alias = "new", alias = "add")]
    Create {
        /// Its short name
        slug: String,
        /// Its name for people
        name: String,
    },
    /// Give a client another name for people
    #[command(visible_alias = "edit")]
    Update {
        /// Its id or slug
        client: String,
        /// The new name
        #[arg(long)]
        name: String,
    },
    /// Deactivate a client: its links and cookies stop at once
    #[command(visible_alias = "disable")]
    Deactivate {
        /// Its id or slug
        client: String,
    },
    /// Activate a client again
    #[command(visible_alias = "enable")]
    Reactivate {
        /// Its id or slug
        client: String,
    },
}

impl Client {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        let at = |named: &str| Ok::<_, Stop>(format!("/v1/clients/{}", encoded(&client(common, named)?)));
        let change = |named: &str, change: Value, said: &str| {
            let client = common.ask(Method::PATCH, &at(named)?, Some(&change))?;
            common.done(&client, said)
        };
        match self {
            Self::List { limit } => common.list("/v1/clients", CLIENTS, limit),
            Self::Show { client } => common.show(&common.get(&at(&client)?)?),
            Self::Create { slug, name } => {
                let body = json!({"slug": slug, "name": name});
                common.show(&common.ask(Method::POST, "/v1/clients", Some(&body))?)
            }
            Self::Update { client, name } => change(&client, json!({"name": name}), "changed"),
            Self::Deactivate { client } => {
                common.confirm(&format!(
                    "{client} will be deactivated, and every link and cookie of it stops"
                ))?;
                change(&client, json!({"active": false}), "deactivated")
            }
            Self::Reactivate { client } => change(&client, json!({"active": true}), "active again"),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Link {
    /// List a client's links, newest first
    #[command(visible_alias = "ls")]
    List {
        /// The client's id or slug
        client: String,
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Make a magic link for a client; its URL alone goes to standard output
    #[command(visible_alias = "new", alias = "add")]
    Create {
        /// The client's id or slug
        client: String,
        /// A label for people
        #[arg(long)]
        label: Option<String>,
        /// Days until it expires; never if absent
        #[arg(long, value_name = "DAYS")]
        expires: Option<u64>,
        /// The path that it leads to
        #[arg(long, value_name = "PATH")]
        redirect: Option<String>,
        /// Let it in once only, behind a button
        #[arg(long)]
        single_use: bool,
    },
    /// Revoke a link; the cookies that it gave stop at once
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Its id
        id: String,
    },
}

impl Link {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::List { client: named, limit } => {
                let id = client(common, &named)?;
                common.list(&format!("/v1/clients/{}/links", encoded(&id)), LINKS, limit)
            }
            Self::Create { client: named, label, expires, redirect, single_use } => {
                let mut body = Map::new();
                body.extend(label.map(|label| ("label".to_owned(), label.into())));
                body.extend(expires.map(|days| ("expires_in_days".to_owned(), days.into())));
                body.extend(redirect.map(|path| ("redirect".to_owned(), path.into())));
                body.extend(single_use.then(|| ("single_use".to_owned(), true.into())));
                let target = format!("/v1/clients/{}/links", encoded(&client(common, &named)?));
                let mut minted = common.ask(Method::POST, &target, Some(&Value::Object(body)))?;
                if !common.json
                    && let Some(members) = minted.as_object_mut()
                {
                    // The URL holds the token; one secret on standard output is enough.
                    members.remove("token");
                }
                common.minted(&minted, "url")
            }
            Self::Revoke { id } => end(common, &format!("/v1/links/{}", token_id(&id)?), "revoked"),
        }
    }
}

fn end(common: &Common, target: &str, said: &str) -> Result<(), Stop> {
    common.ask(Method::DELETE, target, None)?;
    common.done(&json!({"ended": true}), said)
}

/// A JSON object from a file or standard input, read as strictly as the API reads it; its content is never repeated.
pub(super) fn object(file: &Path) -> Result<Value, Stop> {
    let text = secret(Some(file), "")?;
    json_object(text.as_bytes()).map(Value::Object).map_err(|_| {
        let source = source(Some(file));
        Stop::usage(format!("{source} is not a JSON object with each member once"))
    })
}
