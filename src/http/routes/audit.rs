//! `/v1/audit`: the audit log.

use serde::Serialize;
use serde_json::Value;

use crate::{
    http::{
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Parameter, Reads, Route, Verb},
        time::rfc3339,
    },
    records::audit::Entry,
    rules::{access::Right, audit::Filter},
    token::TokenHash,
};

/// The routes of the audit log.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/audit",
    right: Right::Administrate,
    query: Some(&[
        Parameter { name: "actor", doc: "only what this actor did" },
        Parameter { name: "action", doc: "only this action" },
        Parameter { name: "resource", doc: "only what was done to this" },
        Parameter { name: "since", doc: "only from this time on" },
        Parameter { name: "until", doc: "only before this time" },
        list::LIMIT,
        list::CURSOR,
    ]),
    reads: Reads::Nothing,
    errors: Errors::Problem,
    answers: &[Answer { status: 200, schema: "AuditList", means: "a page of entries" }],
    summary: "Read the audit log",
    run: |ask| Box::pin(all(ask)),
}];

/// An entry as the API shows it.
#[derive(Debug, Serialize)]
pub struct EntryShown {
    seq: u64,
    at: String,
    actor: String,
    actor_label: String,
    action: String,
    resource: String,
    params: Value,
    ip: Option<String>,
    hash: String,
}

impl EntryShown {
    /// Shows `entry`.
    pub fn of(entry: &Entry) -> Self {
        Self {
            seq: entry.seq,
            at: rfc3339(entry.at),
            actor: entry.actor.to_string(),
            actor_label: entry.actor_label.clone(),
            action: entry.action.clone(),
            resource: entry.resource.clone(),
            params: serde_json::from_str(&entry.params).unwrap_or_default(),
            ip: entry.ip.map(|ip| ip.to_string()),
            hash: TokenHash::from_bytes(entry.hash).to_hex(),
        }
    }
}

async fn all(ask: Ask) -> Result<Reply, Problem> {
    let text = |name| ask.query.text(name).map(str::to_owned);
    let filter = Filter {
        actor: text("actor"),
        action: text("action"),
        resource: text("resource"),
        since: ask.query.time("since")?,
        until: ask.query.end("until")?,
    };
    let listed = ask.app.audit_entries(&filter, &list::page(&ask.query)?)?;
    Ok(list::reply(listed, |entry| EntryShown::of(&entry)))
}
