//! `bearerd token`: tokens of every kind and owner.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    Stop,
    ask::{Common, encoded, secret},
    output::{self, Column},
    user,
};
use crate::{http::time::rfc3339, records::time::Time};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("prefix", "/prefix"),
    ("name", "/name"),
    ("owner", "/user_email"),
    ("state", "/state"),
    ("expires", "/expires_at"),
    ("last used", "/last_used_at"),
];

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
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Show one token
    #[command(visible_alias = "get")]
    Show {
        /// Its id
        id: String,
    },
    /// Mint a personal access token for a user; the token alone goes to standard output
    #[command(visible_aliases = ["mint", "new"], alias = "add")]
    Create(Create),
    /// Change a token
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
    },
    /// Revoke one token
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Its id
        id: String,
    },
    /// Revoke all tokens that a filter names
    RevokeAll(RevokeAll),
    /// Find the row of a token that somebody found, without using it; the token is read from standard input
    Lookup {
        /// `-` for standard input, or a file
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
    /// Seconds until it expires; wins over --expires
    #[arg(long, value_name = "SECONDS")]
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
}

#[derive(Debug, Args)]
#[group(id = "filter", required = true, multiple = true, args = ["user", "host", "client", "kind", "created_before"])]
pub(super) struct RevokeAll {
    /// Those of this user, by id or e-mail
    #[arg(long)]
    user: Option<String>,
    /// Those of this host
    #[arg(long)]
    host: Option<String>,
    /// Those of this client
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
            Self::Show { id } => common.show(&common.get(&format!("/v1/tokens/{}", encoded(&id)))?),
            Self::Create(create) => create.run(common),
            Self::Update { id, name, enabled } => {
                let mut change = Map::new();
                change.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
                change.extend(enabled.map(|enabled| ("enabled".to_owned(), Value::from(enabled))));
                if change.is_empty() {
                    return Err(Stop::usage("say what to change: --name or --enabled"));
                }
                let target = format!("/v1/tokens/{}", encoded(&id));
                let token = common.ask(Method::PATCH, &target, Some(&Value::Object(change)))?;
                common.done(&token, "changed")
            }
            Self::Revoke { id } => {
                common.ask(Method::DELETE, &format!("/v1/admin/tokens/{}", encoded(&id)), None)?;
                common.done(&json!({"id": id, "revoked": true}), "revoked")
            }
            Self::RevokeAll(filter) => filter.run(common),
            Self::Lookup { from } => {
                let token = secret(from.as_deref(), "Token: ")?;
                let body = json!({"token": token.as_str()});
                common.show(&common.ask(Method::POST, "/v1/admin/tokens/lookup", Some(&body))?)
            }
        }
    }
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
            ("host", self.host),
            ("client", self.client),
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
        let count = |answer: &Value, what| answer.get(what).and_then(Value::as_u64).unwrap_or_default();
        if self.dry_run {
            let answer = ask(true)?;
            return common.done(&answer, &format!("{} tokens would be revoked", count(&answer, "matches")));
        }
        if !common.yes {
            common.confirm(&format!("{} tokens will be revoked", count(&ask(true)?, "matches")))?;
        }
        let answer = ask(false)?;
        common.done(&answer, &format!("{} tokens revoked", count(&answer, "revoked")))
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
pub(super) fn verify(common: &Common, from: Option<&std::path::Path>) -> Result<bool, Stop> {
    let token = secret(from, "Token: ")?;
    let answer = super::ask::good(common.client()?.form("/v1/introspect", &[("token", token.as_str())])?)?;
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
