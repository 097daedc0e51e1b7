//! `/v1/setup`: the first admin.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    app::setup::SetupRequest,
    http::{
        body::{Field, Kind, Shape},
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        routes::{
            TOKEN_BYTES_MAX,
            shown::{SessionShown, UserShown},
        },
    },
    rules::{
        access::Right,
        limits::{LINE_BYTES_MAX, PASSWORD_BYTES_MAX},
    },
};

/// The routes of setup.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/setup",
        right: Right::Open,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "SetupState", means: "whether setup is pending" }],
        summary: "Whether the first admin was made",
        run: |ask| Box::pin(state(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/setup",
        right: Right::Open,
        query: Some(&[]),
        reads: Reads::Late(&SETUP),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "FirstAdmin", means: "the first admin and its session" }],
        summary: "Make the first admin",
        run: |ask| Box::pin(complete(ask)),
    },
];

const SETUP: Shape = Shape(&[
    Field::required("install_token", Kind::Secret { bytes_max: TOKEN_BYTES_MAX }, "the install token"),
    Field::required("email", Kind::Text { bytes_max: LINE_BYTES_MAX }, "the admin's e-mail"),
    Field::required(
        "password",
        Kind::Secret { bytes_max: PASSWORD_BYTES_MAX },
        "the admin's password, 12 to 1024 bytes",
    ),
    Field::nullable("name", Kind::Text { bytes_max: LINE_BYTES_MAX }, "the admin's name for people"),
]);

#[derive(Serialize)]
struct StateShown {
    state: &'static str,
}

#[derive(Serialize)]
struct FirstAdminShown {
    user: UserShown,
    session: SessionShown,
}

async fn state(ask: Ask) -> Result<Reply, Problem> {
    let pending = ask.app.setup_pending()?;
    Ok(Reply::json(StatusCode::OK, &StateShown { state: if pending { "pending" } else { "complete" } }))
}

async fn complete(mut ask: Ask) -> Result<Reply, Problem> {
    let ip = ask.who.caller().ip;
    // Once setup is complete, whatever is sent is answered so.
    ask.app.refuse_complete_setup(ip)?;
    let mut body = ask.late_json(&SETUP).await?;
    let request = SetupRequest {
        install_token: body.need("install_token")?,
        email: body.need("email")?,
        password: body.need("password")?,
        name: body.take("name"),
    };
    let (user, session) = ask.app.set_up(ip, request).await?;
    let shown = FirstAdminShown { user: UserShown::of(&user), session: SessionShown::of(&session, None) };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}
