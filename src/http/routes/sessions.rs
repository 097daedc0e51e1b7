//! `/v1/sessions`: logging in and out.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    http::{
        body::{Field, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        routes::{
            shown::{SessionShown, TokenShown},
            tokens::id,
        },
    },
    rules::{
        access::{Identity, Right},
        limits::{LINE_BYTES_MAX, PASSWORD_BYTES_MAX},
    },
    token::Secret,
};

/// The routes of sessions.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/sessions",
        right: Right::Open,
        query: Some(&[]),
        reads: Reads::Json(&LOGIN),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "Session", means: "the session, its token told this once" }],
        summary: "Log in",
        run: |ask| Box::pin(log_in(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/sessions",
        right: Right::OwnTokens,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "OwnSessionList", means: "a page of one's own" }],
        summary: "List one's own sessions",
        run: |ask| Box::pin(own(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/sessions/current",
        right: Right::OwnTokens,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it is over" }],
        summary: "Log out",
        run: |ask| Box::pin(end_current(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/sessions/{id}",
        right: Right::OwnTokens,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it is over" }],
        summary: "End a session",
        run: |ask| Box::pin(end(ask)),
    },
];

const LOGIN: Shape = Shape(&[
    Field::required("email", Kind::Text { bytes_max: LINE_BYTES_MAX }, "whose session it will be"),
    Field::required("password", Kind::Secret { bytes_max: PASSWORD_BYTES_MAX }, "that user's password"),
]);

#[derive(Serialize)]
struct OwnSessionShown {
    #[serde(flatten)]
    session: TokenShown,
    current: bool,
}

async fn log_in(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let email: String = body.need("email")?;
    let password: Secret = body.need("password")?;
    let (user, minted) = ask.app.log_in(ask.who.caller().ip, &email, password).await?;
    Ok(SessionShown::reply(&minted, &user))
}

async fn own(ask: Ask) -> Result<Reply, Problem> {
    let listed = ask.app.own_sessions(&ask.who, &list::page(&ask.query)?)?;
    let current = ask.who.caller().identity().and_then(|identity: &Identity| identity.token);
    Ok(list::reply(listed, |row| OwnSessionShown {
        session: TokenShown::of(&row),
        current: current == Some(row.token.id),
    }))
}

async fn end_current(ask: Ask) -> Result<Reply, Problem> {
    ask.app.end_current_session(&ask.who).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn end(ask: Ask) -> Result<Reply, Problem> {
    ask.app.end_session(&ask.who, id(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
