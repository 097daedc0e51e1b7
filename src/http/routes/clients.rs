//! `/v1/clients`: portal clients.

use std::future::ready;

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    http::{
        body::{Field, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    records::client::Client,
    rules::{
        access::Right,
        clients::{Change, NewClient},
        limits::LINE_BYTES_MAX,
    },
    token::ClientId,
};

/// The routes of clients.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/clients",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&NEW),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "Client", means: "the client" }],
        summary: "Make a client",
        run: |ask| Box::pin(create(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/clients",
        right: Right::Operate,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Clients", means: "clients, newest first" }],
        summary: "List clients",
        run: |ask| Box::pin(ready(list(&ask))),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/clients/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Client", means: "the client" }],
        summary: "Show a client",
        run: |ask| Box::pin(ready(show(&ask))),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/clients/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&CHANGE),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Client", means: "the client as it is now" }],
        summary: "Change, deactivate or reactivate a client",
        run: |ask| Box::pin(update(ask)),
    },
];

const NEW: Shape = Shape(&[
    Field::required(
        "slug",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a short name: a-z, 0-9 and inner -, 1 to 63 characters, unique",
    ),
    Field::required(
        "name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a name for people, 1 to 200 characters",
    ),
]);

const CHANGE: Shape = Shape(&[
    Field::optional(
        "name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a name for people, 1 to 200 characters",
    ),
    Field::optional("active", Kind::Flag, "whether its links and cookies count"),
]);

/// A client as the API shows it.
#[derive(Debug, Serialize)]
pub struct ClientShown {
    id: String,
    slug: String,
    name: String,
    active: bool,
    created_at: String,
}

impl ClientShown {
    /// Shows `client`.
    pub fn of(client: Client) -> Self {
        Self {
            id: client.id.to_string(),
            slug: client.slug,
            name: client.name,
            active: client.active,
            created_at: rfc3339(client.created_at),
        }
    }
}

/// The client that a path names; one that is spelled otherwise is not there.
pub(super) fn id(ask: &Ask) -> Result<ClientId, Problem> {
    ClientId::parse(ask.segment()).map_err(|_| Problem::NotFound)
}

async fn create(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let (slug, name): (String, String) = (body.need("slug")?, body.need("name")?);
    let client = ask.app.create_client(&ask.who, NewClient::judge(&slug, &name)?).await?;
    Ok(Reply::json(StatusCode::CREATED, &ClientShown::of(client)))
}

fn list(ask: &Ask) -> Result<Reply, Problem> {
    Ok(list::reply(ask.app.clients(&list::page(&ask.query)?)?, ClientShown::of))
}

fn show(ask: &Ask) -> Result<Reply, Problem> {
    Ok(Reply::json(StatusCode::OK, &ClientShown::of(ask.app.client(id(ask)?)?)))
}

async fn update(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let mut body = ask.json();
    let name: Option<String> = body.take("name");
    let change = Change::judge(name.as_deref(), body.take("active"))?;
    let client = ask.app.update_client(&ask.who, id, change).await?;
    Ok(Reply::json(StatusCode::OK, &ClientShown::of(client)))
}
