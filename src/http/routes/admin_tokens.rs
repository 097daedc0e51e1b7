//! `/v1/admin/tokens`: all tokens, for admins.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    app::pats::Revoked,
    http::{
        body::{Body, Field, Kind, Query, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Parameter, Reads, Route, Verb},
        routes::{shown::AnyTokenShown, tokens::id},
    },
    records::token::{Owner, State},
    rules::{
        access::Right,
        inventory::{Condition, Filter},
        limits::LINE_BYTES_MAX,
    },
    token::{self, ClientId, HostId, Secret, UserId, text::PRESENTED_BYTES_MAX},
};

/// The routes of all tokens.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/admin/tokens",
        right: Right::Administrate,
        query: Some(&[
            Parameter { name: "user", doc: "only those of this user, by id" },
            Parameter { name: "kind", doc: "only those of this kind" },
            Parameter { name: "state", doc: "only those in this state" },
            list::LIMIT,
            list::CURSOR,
        ]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "AnyTokenList", means: "a page of them" }],
        summary: "List all tokens",
        run: |ask| Box::pin(all(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/tokens/revoke",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Json(&REVOKE),
        errors: Errors::Problem,
        answers: &[Answer {
            status: 200,
            schema: "Revoked",
            means: "how many were meant, and ended; and how many are damaged, where there are any: they admit \
                    nobody, and were passed over",
        }],
        summary: "Revoke many tokens",
        run: |ask| Box::pin(revoke_many(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/tokens/lookup",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Json(&LOOKUP),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "AnyToken", means: "the row of the token" }],
        summary: "Find the row of a token that somebody found",
        run: |ask| Box::pin(look_up(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/admin/tokens/{id}",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "AnyToken", means: "the token's row" }],
        summary: "Show a token of whatever kind and owner",
        run: |ask| Box::pin(show(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/admin/tokens/{id}",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it is revoked" }],
        summary: "Revoke a token",
        run: |ask| Box::pin(revoke(ask)),
    },
];

const KINDS: &[&str] = &["install", "session", "pat", "enrollment", "agent", "link"];

const REVOKE: Shape = Shape(&[
    Field::nullable("user", Kind::Text { bytes_max: LINE_BYTES_MAX }, "only those of this user"),
    Field::nullable("host", Kind::Text { bytes_max: LINE_BYTES_MAX }, "only those of this host"),
    Field::nullable("client", Kind::Text { bytes_max: LINE_BYTES_MAX }, "only those of this client"),
    Field::nullable("kind", Kind::Word(KINDS), "only those of this kind"),
    Field::nullable("created_before", Kind::End, "only those that were made before this time"),
    Field::optional("dry_run", Kind::Flag, "whether to count them only"),
]);

const LOOKUP: Shape =
    Shape(&[Field::required("token", Kind::Secret { bytes_max: PRESENTED_BYTES_MAX }, "the token's text")]);

#[derive(Serialize)]
struct RevokedShown {
    matches: u64,
    revoked: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}

async fn all(ask: Ask) -> Result<Reply, Problem> {
    let listed = ask.app.all_tokens(&filter(&ask.query)?, &list::page(&ask.query)?)?;
    Ok(list::reply(listed, |owned| AnyTokenShown::of(&owned)))
}

fn filter(query: &Query) -> Result<Filter, Problem> {
    let user = query.text("user").map(|user| parsed("user", user, UserId::parse)).transpose()?;
    let kind = query.text("kind").map(|name| {
        let expected = || Problem::field("kind", format!("must be one of {}", KINDS.join(", ")));
        token::Kind::from_name(name).ok_or_else(expected)
    });
    let state = query.text("state").map(|name| {
        let names = State::ALL.map(State::name).join(", ");
        State::from_name(name).ok_or_else(|| Problem::field("state", format!("must be one of {names}")))
    });
    Ok(Filter { user, kind: kind.transpose()?, state: state.transpose()? })
}

fn parsed<T, E>(field: &'static str, text: &str, parse: fn(&str) -> Result<T, E>) -> Result<T, Problem> {
    parse(text).map_err(|_| Problem::field(field, format!("must be an id such as {field}_…")))
}

async fn revoke_many(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let condition = Condition {
        owner: owner(&mut body)?,
        kind: body.take::<&str>("kind").and_then(token::Kind::from_name),
        created_before: body.take("created_before"),
    };
    let dry_run = body.take("dry_run").unwrap_or(false);
    let Revoked { matches, revoked, damaged } = ask.app.revoke_many(&ask.who, condition, dry_run).await?;
    let damaged = Some(damaged).filter(|damaged| *damaged > 0);
    Ok(Reply::json(StatusCode::OK, &RevokedShown { matches, revoked, damaged }))
}

/// Whose tokens are meant: of one subject at the most, since no token has two.
fn owner(body: &mut Body) -> Result<Option<Owner>, Problem> {
    let named = [
        named(body, "user", UserId::parse, Owner::User)?,
        named(body, "host", HostId::parse, Owner::Host)?,
        named(body, "client", ClientId::parse, Owner::Client)?,
    ];
    let mut owner = None;
    for (field, found) in named.into_iter().flatten() {
        if owner.replace(found).is_some() {
            return Err(Problem::field(field, "cannot be named together with another owner"));
        }
    }
    Ok(owner)
}

/// The owner that a field names, with that field.
fn named<Id, E>(
    body: &mut Body,
    field: &'static str,
    parse: fn(&str) -> Result<Id, E>,
    owner: fn(Id) -> Owner,
) -> Result<Option<(&'static str, Owner)>, Problem> {
    let Some(text) = body.take::<String>(field) else { return Ok(None) };
    Ok(Some((field, owner(parsed(field, &text, parse)?))))
}

async fn look_up(mut ask: Ask) -> Result<Reply, Problem> {
    let found: Secret = ask.json().need("token")?;
    let owned = ask.app.look_up(&found)?;
    Ok(Reply::json(StatusCode::OK, &AnyTokenShown::of(&owned)))
}

async fn show(ask: Ask) -> Result<Reply, Problem> {
    let owned = ask.app.any_token(id(&ask)?)?;
    Ok(Reply::json(StatusCode::OK, &AnyTokenShown::of(&owned)))
}

async fn revoke(ask: Ask) -> Result<Reply, Problem> {
    ask.app.revoke_any(&ask.who, id(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
