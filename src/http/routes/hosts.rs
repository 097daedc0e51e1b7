//! `/v1/hosts`: hosts, their agent tokens and their credentials.

use hyper::{StatusCode, body::Bytes};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    enrollments::{TAGS, facts},
    shown::Shown,
};
use crate::{
    http::{
        body::{Field, Given, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    rules::{
        access::Right,
        hosts::{Change, Seen},
        limits::{FACTS_BYTES_MAX, OVERLAP_SECONDS_MAX},
    },
    token::HostId,
};

/// The routes of hosts.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/hosts",
        right: Right::Operate,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "HostList", means: "one page, newest first" }],
        summary: "List the hosts",
        run: |ask| Box::pin(all(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/hosts/{id}",
        right: Right::SeeHost,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Host", means: "the host" }],
        summary: "Show a host; an agent sees its own",
        run: |ask| Box::pin(one(ask)),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/hosts/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&CHANGE),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Host", means: "the host as it is now" }],
        summary: "Change a host's tags or facts",
        run: |ask| Box::pin(change(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/hosts/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it is gone, and so are its tokens" }],
        summary: "Delete a host, its agent tokens and its credentials",
        run: |ask| Box::pin(delete(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/hosts/{id}/rotate",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&ROTATE),
        errors: Errors::Problem,
        answers: &[Answer {
            status: 201,
            schema: "AgentToken",
            means: "the new agent token, which is shown this once",
        }],
        summary: "Give a host a new agent token",
        run: |ask| Box::pin(rotate(ask)),
    },
    Route {
        verb: Verb::Put,
        path: "/v1/hosts/{id}/credentials",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Object,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "they are sealed for the host" }],
        summary: "Put a host's credentials, the JSON object itself",
        run: |ask| Box::pin(put_credentials(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/hosts/{id}/credentials",
        right: Right::OwnHost,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Credentials", means: "the JSON object that was put" }],
        summary: "Read one's own credentials, as the host's agent",
        run: |ask| Box::pin(read_credentials(ask)),
    },
];

const CHANGE: Shape = Shape(&[
    Field::optional("tags", TAGS, "new tags in place of the old, at most 32 of 1 to 64 characters"),
    Field::nullable(
        "facts",
        Kind::Object { bytes_max: FACTS_BYTES_MAX },
        "new facts in place of the old; `null` removes them",
    ),
]);

const ROTATE: Shape = Shape(&[Field::nullable(
    "overlap_seconds",
    Kind::Integer { min: 0, max: OVERLAP_SECONDS_MAX.cast_signed() },
    "how long the old token lives on; 0 without",
)]);

/// A host as the API shows it.
#[derive(Serialize)]
struct HostShown {
    id: String,
    hostname: String,
    os: String,
    arch: String,
    agent_version: Option<String>,
    tags: Vec<String>,
    facts: Option<Map<String, Value>>,
    enrollment_id: Option<String>,
    has_credentials: bool,
    created_at: String,
    updated_at: String,
    last_used_at: Option<String>,
}

impl HostShown {
    fn of(seen: Seen) -> Self {
        let Seen { host, has_credentials, last_used_at } = seen;
        Self {
            id: host.id.to_string(),
            hostname: host.hostname,
            os: host.os,
            arch: host.arch,
            agent_version: host.agent_version,
            tags: host.tags,
            facts: facts(host.facts.as_deref()),
            enrollment_id: host.enrollment.map(|id| id.to_string()),
            has_credentials,
            created_at: rfc3339(host.created_at),
            updated_at: rfc3339(host.updated_at),
            last_used_at: last_used_at.map(rfc3339),
        }
    }
}

#[derive(Serialize)]
struct AgentShown {
    agent_token: Shown,
}

/// The host that a path names; what is no id of a host names none.
fn named(ask: &Ask) -> Result<HostId, Problem> {
    HostId::parse(ask.segment()).map_err(|_| Problem::NotFound)
}

async fn all(ask: Ask) -> Result<Reply, Problem> {
    let page = list::page(&ask.query)?;
    Ok(list::reply(ask.app.hosts(&page)?, HostShown::of))
}

async fn one(ask: Ask) -> Result<Reply, Problem> {
    let seen = ask.app.host(&ask.who, named(&ask)?)?;
    Ok(Reply::json(StatusCode::OK, &HostShown::of(seen)))
}

async fn change(mut ask: Ask) -> Result<Reply, Problem> {
    let id = named(&ask)?;
    let mut body = ask.json();
    let change = Change {
        tags: body.take("tags"),
        facts: match body.given("facts") {
            Given::Absent => None,
            Given::Null => Some(None),
            Given::Value(facts) => Some(Some(facts)),
        },
    };
    let seen = ask.app.update_host(&ask.who, id, change).await?;
    Ok(Reply::json(StatusCode::OK, &HostShown::of(seen)))
}

async fn delete(ask: Ask) -> Result<Reply, Problem> {
    ask.app.delete_host(&ask.who, named(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn rotate(mut ask: Ask) -> Result<Reply, Problem> {
    let id = named(&ask)?;
    let overlap = ask.json().take("overlap_seconds");
    let minted = ask.app.rotate_agent(&ask.who, id, overlap).await?;
    let shown = AgentShown { agent_token: Shown(minted.secret) };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}

async fn put_credentials(mut ask: Ask) -> Result<Reply, Problem> {
    let id = named(&ask)?;
    let given = ask.object();
    ask.app.put_credentials(&ask.who, id, &given).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn read_credentials(ask: Ask) -> Result<Reply, Problem> {
    let plain = ask.app.read_credentials(&ask.who, named(&ask)?).await?;
    Ok(Reply::json_text(StatusCode::OK, Bytes::copy_from_slice(&plain)).no_store())
}
