//! `bearerd user`: people.

use std::path::PathBuf;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    Stop,
    ask::{Common, encoded, no_id, password, rows},
    output::Column,
};
use crate::token::UserId;

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("e-mail", "/email"),
    ("name", "/name"),
    ("groups", "/groups"),
    ("active", "/active"),
    ("created", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// List users, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only so many
        #[arg(long, value_parser = rows)]
        limit: Option<usize>,
    },
    /// Show one user
    #[command(visible_alias = "get")]
    Show {
        /// Its id or e-mail
        user: String,
    },
    /// Make a user
    #[command(visible_alias = "new", alias = "add")]
    Create {
        /// The e-mail
        email: String,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
        /// A group; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Read a password from this file, `-` for standard input; without, the user has none
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Change a user
    #[command(visible_alias = "edit")]
    Update {
        /// Its id or e-mail
        user: String,
        /// A new name for people
        #[arg(long)]
        name: Option<String>,
        /// The groups that it has from now on, in place of those it had
        #[arg(long = "group", value_name = "GROUP")]
        groups: Option<Vec<String>>,
        /// Take it out of every group
        #[arg(long, conflicts_with = "groups")]
        no_groups: bool,
    },
    /// Set a user's password, which ends its sessions
    #[command(visible_alias = "passwd")]
    Password {
        /// Its id or e-mail
        user: String,
        /// Read the password from this file, `-` for standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Deactivate a user: its sessions end, its tokens do not work until it is reactivated
    #[command(visible_alias = "disable")]
    Deactivate {
        /// Its id or e-mail
        user: String,
    },
    /// Activate a user again
    #[command(visible_alias = "enable")]
    Reactivate {
        /// Its id or e-mail
        user: String,
    },
}

impl User {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::List { limit } => common.list("/v1/users", COLUMNS, limit),
            Self::Show { user } => common.show(&find(common, &user)?),
            Self::Create { email, name, groups, password_file } => {
                let mut body = json!({"email": email, "name": name, "groups": groups});
                if let (Some(file), Some(body)) = (password_file, body.as_object_mut()) {
                    let password = password(Some(&file), "")?;
                    body.insert("password".to_owned(), password.as_str().into());
                }
                let user = common.ask(Method::POST, "/v1/users", Some(&body))?;
                common.show(&user)
            }
            Self::Update { user, name, groups, no_groups } => {
                let mut change = Map::new();
                change.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
                let groups = if no_groups { Some(Vec::new()) } else { groups };
                change.extend(groups.map(|groups| ("groups".to_owned(), Value::from(groups))));
                if change.is_empty() {
                    return Err(Stop::usage("say what to change: --name, --group or --no-groups"));
                }
                patch(common, &user, &Value::Object(change), "changed")
            }
            Self::Password { user, file } => {
                let password = password(file.as_deref(), "New password: ")?;
                let change = json!({"password": password.as_str()});
                patch(common, &user, &change, "the password is set, and the user's sessions have ended")
            }
            Self::Deactivate { user } => {
                common.confirm(&format!("{user} will be deactivated"))?;
                patch(common, &user, &json!({"active": false}), "deactivated")
            }
            Self::Reactivate { user } => patch(common, &user, &json!({"active": true}), "active again"),
        }
    }
}

fn patch(common: &Common, user: &str, change: &Value, said: &str) -> Result<(), Stop> {
    let id = id(common, user)?;
    let user = common.ask(Method::PATCH, &format!("/v1/users/{id}"), Some(change))?;
    common.done(&user, said)
}

/// The user of an id or an e-mail.
pub(super) fn find(common: &Common, user: &str) -> Result<Value, Stop> {
    if !user.contains('@') {
        return common.get(&format!("/v1/users/{}", user_id(user)?));
    }
    let found = common.get(&format!("/v1/users?email={}", encoded(user)))?;
    let first = found.pointer("/items/0").cloned();
    first.ok_or_else(|| Stop::not_found(format!("there is no user {user}")))
}

/// The id of the user of an id or an e-mail.
pub(super) fn id(common: &Common, user: &str) -> Result<String, Stop> {
    if !user.contains('@') {
        return user_id(user).map(|id| id.to_string());
    }
    let found = find(common, user)?;
    Ok(found.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn user_id(text: &str) -> Result<UserId, Stop> {
    let why = "is neither an e-mail nor the id of a user, which is user_ and 26 characters";
    UserId::parse(text).map_err(|_| no_id(text, why))
}
