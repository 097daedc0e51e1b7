//! `bearerd token`: tokens of every kind and owner.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    Exit, Stop,
    ask::{self, Common, encoded, rows, span, token_id},
    fleet::{self, object},
    output::{self, Column},
    user,
};
use crate::{http::time::rfc3339, records::time::Time, token::TokenId};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("prefix", "/prefix"),
    ("name", "/name"),
    ("owner", "/user_email|/host_id|/client_id"),
    ("state", "/state"),
    ("expires", "/expires_at"),
    ("last used", "/last_used_at"),
];

/// What can name the tokens of `revoke-all`; one of these there has to be.
const FILTERS: [&str; 5] = ["user", "host", "client", "kind", "created_before"];

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// List tokens, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this user, by id or e-mail
        #[arg(long)]
        user: Option<String>,
        /// Only those of this kind: install, session, pat, enrollment, agent, link
        #[arg(long)]
        kind: Option<String>,
        /// Only those in this state: active, disabled, expired, revoked, consumed, exhausted
        #[arg(long)]
        state: Option<String>,
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Show one token, of whatever kind
    #[command(visible_alias = "get")]
    Show {
        /// Its id
        id: String,
    },
    /// Mint a personal access token for a user; the token alone goes to standard output
    #[command(visible_aliases = ["mint", "new"], alias = "add")]
    Create(Create),
    /// Change a personal access token
    #[command(visible_alias = "edit")]
    Update {
        /// Its id
        id: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Switch it on or off
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
        /// The JSON object in this file is its metadata from now on; `-` for standard input
        #[arg(long, value_name = "FILE")]
        metadata: Option<PathBuf>,
        /// It has no metadata from now on
        #[arg(long, conflicts_with = "metadata")]
        no_metadata: bool,
    },
    /// Switch a personal access token off until it is enabled again
    Disable {
        /// Its id
        id: String,
    },
    /// Switch a personal access token on again
    Enable {
        /// Its id
        id: String,
    },
    /// Replace a personal access token by one of the same name, scope and span, which goes alone to standard output
    Rotate {
        /// Its id
        id: String,
        /// How long the old one lives on, such as 3600 or 1h; not at all if absent
        #[arg(long, value_name = "SPAN", value_parser = span)]
        overlap: Option<u64>,
    },
    /// Revoke tokens by id, or one whose text is read from standard input
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Their ids; `-` for a token's text on standard input
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Revoke all tokens that fit a filter
    #[command(visible_alias = "revoke-many")]
    RevokeAll(RevokeAll),
    /// Show the row of a token that somebody found, without using it
    Lookup {
        /// A file with the token; without, or with `-`, it is read from standard input
        from: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A name for people
    name: String,
    /// Whose it is, by id or e-mail
    #[arg(long)]
    user: String,
    /// Days until it expires, or `never`; 90 if absent
    #[arg(long, value_name = "DAYS|never")]
    expires: Option<String>,
    /// How long it lives, such as 3600, 12h or 30d; wins over --expires
    #[arg(long, value_name = "SPAN", value_parser = span)]
    ttl: Option<u64>,
    /// Scope words separated by one space
    #[arg(long)]
    scope: Option<String>,
    /// Spell it as a JWT
    #[arg(long)]
    jwt: bool,
    /// An address range from which it may be used; may be given several times
    #[arg(long = "allow-ip", value_name = "CIDR")]
    allowed_ips: Vec<String>,
    /// How often it may be used
    #[arg(long, value_name = "N")]
    max_uses: Option<u64>,
    /// Let introspection return the JSON object in this file; `-` for standard input
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
}

// Not the group of all its options, which would take `--dry-run` for a filter.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("filter").required(true).multiple(true).args(FILTERS))]
pub(super) struct RevokeAll {
    /// Those of this user, by id or e-mail
    #[arg(long)]
    user: Option<String>,
    /// Those of this host, by id or name
    #[arg(long)]
    host: Option<String>,
    /// Those of this client, by id or slug
    #[arg(long)]
    client: Option<String>,
    /// Those of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Those made before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    created_before: Option<String>,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
}

impl Token {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::List { user, kind, state, limit } => {
                let user = user.map(|user| user::id(common, &user)).transpose()?;
                let filters = [("user", user), ("kind", kind), ("state", state)];
                common.list(&filtered("/v1/admin/tokens", &filters), COLUMNS, limit)
            }
            Self::Show { id } => {
                let id = token_id(&id)?;
                common.show(&common.get(&format!("/v1/admin/tokens/{id}"))?)
            }
            Self::Create(create) => create.run(common),
            Self::Update { id, name, enabled, metadata, no_metadata } => {
                let id = token_id(&id)?;
                let mut change = Map::new();
                change.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
                change.extend(enabled.map(|enabled| ("enabled".to_owned(), Value::from(enabled))));
                change.extend(no_metadata.then(|| ("metadata".to_owned(), Value::Null)));
                if let Some(file) = metadata {
                    change.insert("metadata".to_owned(), object(&file)?);
                }
                if change.is_empty() {
                    let says = "say what to change: --name, --enabled, --metadata or --no-metadata";
                    return Err(Stop::usage(says));
                }
                patch(common, id, change, "changed")
            }
            Self::Disable { id } => patch(common, token_id(&id)?, switched(false), "disabled"),
            Self::Enable { id } => patch(common, token_id(&id)?, switched(true), "enabled"),
            Self::Rotate { id, overlap } => {
                let target = format!("/v1/tokens/{}/rotate", token_id(&id)?);
                let minted = common.ask(Method::POST, &target, Some(&json!({"overlap_seconds": overlap})))?;
                common.minted(&minted, "token")
            }
            Self::Revoke { ids } => revoke(common, &ids),
            Self::RevokeAll(filter) => filter.run(common),
            Self::Lookup { from } => common.show(&looked_up(common, from.as_deref())?),
        }
    }
}

/// The row of the token whose text is read from a file or standard input.
fn looked_up(common: &Common, from: Option<&Path>) -> Result<Value, Stop> {
    let token = ask::token(from)?;
    let body = json!({"token": token.as_str()});
    common.ask(Method::POST, "/v1/admin/tokens/lookup", Some(&body))
}

fn switched(on: bool) -> Map<String, Value> {
    Map::from_iter([("enabled".to_owned(), on.into())])
}

fn patch(common: &Common, id: TokenId, change: Map<String, Value>, said: &str) -> Result<(), Stop> {
    let target = format!("/v1/tokens/{id}");
    let token = common.ask(Method::PATCH, &target, Some(&Value::Object(change)))?;
    common.done(&token, said)
}

/// Ends them one after the other; of several, one that is not there does not keep the others alive.
fn revoke(common: &Common, ids: &[String]) -> Result<(), Stop> {
    let end = |id: &str| -> Result<(), Stop> {
        let id = if id == "-" {
            let found = looked_up(common, Some(Path::new(id)))?;
            found.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
        } else {
            token_id(id)?.to_string()
        };
        common.ask(Method::DELETE, &format!("/v1/admin/tokens/{id}"), None)?;
        let said = if ids.len() == 1 { "revoked".to_owned() } else { format!("{id} revoked") };
        common.done(&json!({"id": id, "revoked": true}), &said)
    };
    let mut first: Option<Exit> = None;
    for id in ids {
        if let Err(stop) = end(id) {
            // Told in the order in which they were named; the first says how it ends.
            stop.tell();
            first.get_or_insert(stop.exit);
        }
    }
    first.map_or(Ok(()), |exit| Err(Stop { exit, says: String::new() }))
}

impl Create {
    fn run(self, common: &Common) -> Result<(), Stop> {
        let mut body = Map::new();
        body.insert("name".to_owned(), self.name.into());
        match self.expires.as_deref() {
            None => {}
            Some("never") => drop(body.insert("expires_in_days".to_owned(), Value::Null)),
            Some(days) => {
                let days: u64 =
                    days.parse().map_err(|_| Stop::usage("--expires takes a number of days, or `never`"))?;
                body.insert("expires_in_days".to_owned(), days.into());
            }
        }
        body.extend(self.ttl.map(|ttl| ("ttl_seconds".to_owned(), ttl.into())));
        body.extend(self.scope.map(|scope| ("scope".to_owned(), scope.into())));
        body.extend(self.jwt.then(|| ("format".to_owned(), "jwt".into())));
        body.extend(self.max_uses.map(|uses| ("max_uses".to_owned(), uses.into())));
        if !self.allowed_ips.is_empty() {
            body.insert("allowed_ips".to_owned(), self.allowed_ips.into());
        }
        if let Some(file) = self.metadata {
            body.insert("metadata".to_owned(), object(&file)?);
        }
        let user = user::id(common, &self.user)?;
        let target = format!("/v1/users/{user}/tokens");
        common.minted(&common.ask(Method::POST, &target, Some(&Value::Object(body)))?, "token")
    }
}

impl RevokeAll {
    fn run(self, common: &Common) -> Result<(), Stop> {
        let user = self.user.map(|user| user::id(common, &user)).transpose()?;
        let fields = [
            ("user", user),
            ("host", self.host.map(|host| fleet::host(common, &host)).transpose()?),
            ("client", self.client.map(|client| fleet::client(common, &client)).transpose()?),
            ("kind", self.kind),
            ("created_before", self.created_before),
        ];
        let mut body = Map::new();
        body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        let ask = |dry_run: bool| {
            let mut body = body.clone();
            body.insert("dry_run".to_owned(), dry_run.into());
            common.ask(Method::POST, "/v1/admin/tokens/revoke", Some(&Value::Object(body)))
        };
        let tokens = |answer: &Value, what| {
            output::counted(answer.get(what).and_then(Value::as_u64).unwrap_or_default(), "token")
        };
        if self.dry_run {
            let answer = ask(true)?;
            tell_damaged(&answer);
            return common.done(&answer, &format!("{} would be revoked", tokens(&answer, "matches")));
        }
        if !common.yes {
            common.confirm(&format!("{} will be revoked", tokens(&ask(true)?, "matches")))?;
        }
        let answer = ask(false)?;
        tell_damaged(&answer);
        common.done(&answer, &format!("{} revoked", tokens(&answer, "revoked")))
    }
}

/// Tells of rows that nobody can read.
fn tell_damaged(answer: &Value) {
    let damaged = answer.get("damaged").and_then(Value::as_u64).unwrap_or_default();
    if damaged > 0 {
        let tokens = output::counted(damaged, "damaged token");
        output::tell(&format!(
            "{tokens} passed over, good for nobody; stop the daemon and run `bearerd check`"
        ));
    }
}

/// A target with those filters in its query that are there.
pub(super) fn filtered(target: &str, filters: &[(&str, Option<String>)]) -> String {
    let set: Vec<String> = filters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))))
        .collect();
    if set.is_empty() { target.to_owned() } else { format!("{target}?{}", set.join("&")) }
}

/// `bearerd verify`: whether a token is active.
pub(super) fn verify(common: &Common, from: Option<&Path>) -> Result<bool, Stop> {
    let token = ask::token_if_any(from)?;
    let client = common.client()?;
    let answer = match token {
        Some(token) => ask::good(client.form("/v1/introspect", &[("token", token.as_str())])?)?,
        None => json!({"active": false}),
    };
    let active = answer.get("active").and_then(Value::as_bool).unwrap_or_default();
    if common.json {
        output::json(&answer)?;
    } else if active {
        output::facts(&with_times(answer))?;
    } else {
        output::tell("not active; `bearerd explain -` says why");
    }
    Ok(active)
}

/// An introspection's times, which are seconds for programs, as times for people.
fn with_times(mut answer: Value) -> Value {
    for name in ["iat", "exp"] {
        if let Some(value) = answer.get_mut(name)
            && let Some(seconds) = value.as_u64()
        {
            *value = Value::from(rfc3339(Time::from_unix(seconds)));
        }
    }
    answer
}
