//! What more than one system shows: users, tokens, and those just minted.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    http::{reply::Reply, time::rfc3339},
    records::{
        token::{Format, Owner, State, Token},
        user::User,
    },
    rules::{
        inventory::Owned,
        tokens::{Minted, Row},
    },
};

/// A user as the API shows it. Never the password, in any form.
#[derive(Debug, Serialize)]
pub struct UserShown {
    id: String,
    email: String,
    name: Option<String>,
    groups: Vec<String>,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    created_at: String,
    updated_at: String,
}

impl UserShown {
    /// Shows `user`.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.clone(),
            name: user.name.clone(),
            groups: user.groups.clone(),
            active: user.active,
            service: user.service.clone(),
            created_at: rfc3339(user.created_at),
            updated_at: rfc3339(user.updated_at),
        }
    }
}

/// A session that was just opened, with its token, which is shown this once.
#[derive(Debug, Serialize)]
pub struct SessionShown {
    id: String,
    token: Shown,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserShown>,
}

impl SessionShown {
    /// Shows a session, and whose it is where that is asked for.
    pub fn of(minted: &Minted, user: Option<&User>) -> Self {
        Self {
            id: minted.token.id.to_string(),
            token: Shown(minted.secret.duplicate()),
            expires_at: minted.token.expires_at.map(rfc3339),
            user: user.map(UserShown::of),
        }
    }

    /// The answer to whoever opened a session.
    pub fn reply(minted: &Minted, user: &User) -> Reply {
        Reply::json(StatusCode::CREATED, &Self::of(minted, Some(user))).no_store()
    }
}

/// A token as lists show it: enough to recognise it, nothing to attack it with.
#[derive(Debug, Serialize)]
pub struct TokenShown {
    id: String,
    name: String,
    prefix: String,
    kind: &'static str,
    scope: String,
    format: &'static str,
    state: State,
    enabled: bool,
    allowed_ips: Vec<String>,
    max_uses: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
    metadata: Option<serde_json::Value>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl TokenShown {
    /// Shows `row`.
    pub fn of(row: &Row) -> Self {
        let token = &row.token;
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            prefix: prefix(token),
            kind: token.kind.name(),
            scope: token.scope.clone(),
            format: match token.format {
                Format::Opaque => "opaque",
                Format::Jwt(_) => "jwt",
                Format::Imported => "imported",
            },
            state: row.state,
            enabled: token.enabled,
            allowed_ips: token.allowed_ips.iter().map(ToString::to_string).collect(),
            max_uses: token.max_uses,
            uses: row.uses,
            metadata: token.metadata.as_deref().and_then(|object| serde_json::from_str(object).ok()),
            created_at: rfc3339(token.created_at),
            expires_at: token.expires_at.map(rfc3339),
            last_used_at: row.last_used.map(|last| rfc3339(last.at)),
            revoked_at: row.revoked_at.map(rfc3339),
        }
    }
}

/// A token as admins see it: also whose it is, and from where it was last used.
#[derive(Debug, Serialize)]
pub struct AnyTokenShown {
    #[serde(flatten)]
    token: TokenShown,
    user_id: Option<String>,
    user_email: Option<String>,
    host_id: Option<String>,
    client_id: Option<String>,
    last_used_ip: Option<String>,
}

impl AnyTokenShown {
    /// Shows `owned`.
    pub fn of(owned: &Owned) -> Self {
        let (user_id, host_id, client_id) = match owned.row.token.owner {
            Owner::Nobody => (None, None, None),
            Owner::User(id) => (Some(id.to_string()), None, None),
            Owner::Host(id) => (None, Some(id.to_string()), None),
            Owner::Client(id) => (None, None, Some(id.to_string())),
        };
        Self {
            token: TokenShown::of(&owned.row),
            user_id,
            user_email: owned.email.clone(),
            host_id,
            client_id,
            last_used_ip: owned.row.last_used.and_then(|last| last.ip).map(|ip| ip.to_string()),
        }
    }
}

/// A token that was just minted, with its text, which is shown this once.
#[derive(Debug, Serialize)]
pub struct MintedShown {
    #[serde(flatten)]
    row: TokenShown,
    token: Shown,
}

impl MintedShown {
    /// The answer to whoever minted it.
    pub fn reply(minted: Minted) -> Reply {
        let uses = minted.token.max_uses.map(|_| 0);
        let row = Row { token: minted.token, state: State::Active, revoked_at: None, uses, last_used: None };
        let shown = Self { row: TokenShown::of(&row), token: Shown(minted.secret) };
        Reply::json(StatusCode::CREATED, &shown).no_store()
    }
}

/// What lists show of a token: its tag, and the first random characters of its id.
pub fn prefix(token: &Token) -> String {
    format!("{}_{}", token.kind.tag(), token.id.shown())
}

/// A secret on its way out, to be shown once. Serialises to its text; shows nothing otherwise.
#[derive(Debug)]
pub struct Shown(pub crate::token::Secret);

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}
