//! What more than one system shows: users, and sessions just opened.

use serde::Serialize;

use crate::{http::time::rfc3339, records::{token::Token, user::User}, rules::tokens::Minted};

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
