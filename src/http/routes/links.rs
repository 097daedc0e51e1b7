//! `/v1/clients/{id}/links` and `/v1/links/{id}`: magic links, as an operator looks after them.

use std::future::ready;

use hyper::StatusCode;
use serde::Serialize;

use super::{
    clients,
    shown::{Shown, prefix},
    tokens,
};
use crate::{
    http::{
        body::{Field, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    records::{Fault, Listed, token::State},
    rules::{
        Refusal,
        access::Right,
        limits::LINE_BYTES_MAX,
        links::{LINK_DAYS_MAX, NewLink},
        tokens::Row,
    },
};

/// The routes of links.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/clients/{id}/links",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&NEW),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "NewLink", means: "the link, shown this once" }],
        summary: "Mint a magic link",
        run: |ask| Box::pin(mint(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/clients/{id}/links",
        right: Right::Operate,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Links", means: "the client's links, newest first" }],
        summary: "List a client's links",
        run: |ask| Box::pin(ready(list(&ask))),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/links/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "revoked, and its cookies with it" }],
        summary: "Revoke a link",
        run: |ask| Box::pin(revoke(ask)),
    },
];

const _: () = assert!(LINK_DAYS_MAX == 3650, "the shape below says the same");

const NEW: Shape = Shape(&[
    Field::nullable(
        "label",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a label for people, 1 to 200 characters",
    ),
    Field::nullable(
        "expires_in_days",
        Kind::Integer { min: 1, max: 3650 },
        "days until it expires; without, it never does",
    ),
    Field::nullable(
        "redirect",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "where it leads: a path of the public origin, begun with one /; without, /",
    ),
    Field::nullable("single_use", Kind::Flag, "whether it admits once, by a button"),
]);

#[derive(Serialize)]
struct NewLinkShown {
    id: String,
    token: Shown,
    url: Shown,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct LinkShown {
    id: String,
    label: Option<String>,
    prefix: String,
    redirect: String,
    single_use: bool,
    state: State,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl LinkShown {
    fn of(row: &Row) -> Result<Self, Fault> {
        let link = row.token.link()?;
        Ok(Self {
            id: row.token.id.to_string(),
            label: link.label.clone(),
            prefix: prefix(&row.token),
            redirect: link.redirect.clone(),
            single_use: link.single_use,
            state: row.state,
            created_at: rfc3339(row.token.created_at),
            expires_at: row.token.expires_at.map(rfc3339),
            last_used_at: row.last_used.map(|last| rfc3339(last.at)),
            revoked_at: row.token.revoked_at.map(rfc3339),
        })
    }
}

async fn mint(mut ask: Ask) -> Result<Reply, Problem> {
    let client = clients::id(&ask)?;
    let mut body = ask.json();
    let (label, redirect): (Option<String>, Option<String>) = (body.take("label"), body.take("redirect"));
    let days: Option<u32> = body.take("expires_in_days");
    let single_use = body.take("single_use").unwrap_or(false);
    let new = NewLink::judge(label.as_deref(), days, redirect.as_deref(), single_use)?;
    let door = ask.app.mint_link(&ask.who, client, new).await?;
    let shown = NewLinkShown {
        id: door.minted.token.id.to_string(),
        expires_at: door.minted.token.expires_at.map(rfc3339),
        token: Shown(door.minted.secret),
        url: Shown(door.url),
    };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}

fn list(ask: &Ask) -> Result<Reply, Problem> {
    let listed = ask.app.links(clients::id(ask)?, &list::page(&ask.query)?)?;
    let items = listed.items.iter().map(LinkShown::of).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(Refusal::Fault)?;
    Ok(list::reply(Listed { items, next: listed.next }, |row| row))
}

async fn revoke(ask: Ask) -> Result<Reply, Problem> {
    ask.app.revoke_link(&ask.who, tokens::id(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
