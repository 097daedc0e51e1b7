//! `bearerd status`, `reload`, `explain`, `audit`: how the daemon is, and what happened.

use std::{path::Path, thread, time::Duration};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Stop,
    ask::{Common, secret},
    output::{self, Column},
    token::filtered,
};

/// How often `audit tail` looks for more.
const TAIL_PAUSE: Duration = Duration::from_millis(500);

const ENTRIES: &[Column] = &[
    ("seq", "/seq"),
    ("at", "/at"),
    ("actor", "/actor"),
    ("", "/actor_label"),
    ("action", "/action"),
    ("resource", "/resource"),
    ("ip", "/ip"),
];

/// `bearerd status`.
pub(super) fn status(common: &Common) -> Result<(), Stop> {
    common.show(&common.get("/v1/admin/status")?)
}

/// `bearerd reload`: done only if what was read is in force.
pub(super) fn reload(common: &Common) -> Result<(), Stop> {
    let answer = common.ask(Method::POST, "/v1/admin/reload", Some(&json!({})))?;
    common.done(&answer, "reloaded")?;
    if !common.json {
        for setting in answer.get("needs_restart").and_then(Value::as_array).into_iter().flatten() {
            output::tell(&format!(
                "{} was changed, and takes a restart",
                setting.as_str().unwrap_or_default()
            ));
        }
    }
    Ok(())
}

/// `bearerd explain`: every check of a token's verification, and how it came out.
pub(super) fn explain(common: &Common, asked: &Explain) -> Result<(), Stop> {
    let token = secret(asked.from.as_deref().map(Path::new), "Token: ")?;
    let mut body = json!({"token": token.as_str()});
    if let Some(members) = body.as_object_mut() {
        members.extend(asked.from_ip.as_ref().map(|ip| ("client_ip".to_owned(), ip.as_str().into())));
        members.extend(asked.policy.as_ref().map(|name| ("policy".to_owned(), name.as_str().into())));
    }
    let answer = common.ask(Method::POST, "/v1/admin/explain", Some(&body))?;
    if common.json {
        return output::json(&answer);
    }
    let checks = answer.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
    output::table(&[("check", "/check"), ("outcome", "/outcome"), ("", "/detail")], &checks)
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// `-` for standard input, or a file
    from: Option<String>,
    /// The address that it is used from
    #[arg(long, value_name = "ADDRESS")]
    from_ip: Option<String>,
    /// A policy of /v1/authorize to hold it against
    #[arg(long)]
    policy: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List entries, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show the newest entries, oldest first
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// How many
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: usize,
        /// Go on as more come
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only what this actor did
    #[arg(long)]
    actor: Option<String>,
    /// Only this action
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this
    #[arg(long)]
    resource: Option<String>,
    /// Only from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    fn target(self) -> String {
        let filters = [
            ("actor", self.actor),
            ("action", self.action),
            ("resource", self.resource),
            ("since", self.since),
            ("until", self.until),
        ];
        filtered("/v1/audit", &filters)
    }
}

impl Audit {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::List { filter, limit } => common.list(&filter.target(), ENTRIES, Some(limit)),
            Self::Tail { filter, lines, follow } => tail(common, &filter.target(), lines, follow),
        }
    }
}

fn tail(common: &Common, target: &str, lines: usize, follow: bool) -> Result<(), Stop> {
    let seq = |entry: &Value| entry.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let mut wanted = lines;
    let mut last = 0;
    loop {
        let mut entries = common.items(target, Some(wanted))?;
        entries.retain(|entry| seq(entry) > last);
        entries.reverse();
        last = entries.last().map_or(last, seq);
        for entry in &entries {
            output::line(&if common.json { entry.to_string() } else { told(entry) })?;
        }
        if !follow {
            return Ok(());
        }
        thread::sleep(TAIL_PAUSE);
        // Enough for whatever comes in between at any rate that a person could follow.
        wanted = 500;
    }
}

/// An entry on one line.
fn told(entry: &Value) -> String {
    let text = |name: &str| {
        entry.get(name).map_or_else(String::new, |value| match value {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        })
    };
    let line = format!(
        "{} {} {} {} {} {} {}",
        text("seq"),
        text("at"),
        text("actor"),
        text("actor_label"),
        text("action"),
        text("resource"),
        text("params")
    );
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
