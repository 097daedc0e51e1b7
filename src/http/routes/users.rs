//! `/v1/users`: people, and what is minted for them.

use hyper::StatusCode;

use crate::{
    app::users::{UserChange, UserRequest},
    http::{
        body::{Field, Given, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Parameter, Reads, Route, Verb},
        routes::{
            shown::{MintedShown, SessionShown, UserShown},
            tokens,
        },
    },
    rules::{
        access::Right,
        limits::{GROUP_CHARS_MAX, GROUPS_MAX, LINE_BYTES_MAX, PASSWORD_BYTES_MAX},
        sessions::TTL_SECONDS_MAX,
    },
    token::UserId,
};

/// The routes of users.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/users",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Json(&CREATE),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "User", means: "the user" }],
        summary: "Make a user",
        run: |ask| Box::pin(create(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/users",
        right: Right::Administrate,
        query: Some(&[
            Parameter { name: "email", doc: "only the user of this e-mail, whatever its case" },
            list::LIMIT,
            list::CURSOR,
        ]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "UserList", means: "a page of them" }],
        summary: "List users",
        run: |ask| Box::pin(all(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/users/{id}",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "User", means: "the user" }],
        summary: "Show a user",
        run: |ask| Box::pin(show(ask)),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/users/{id}",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Json(&CHANGE),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "User", means: "the user as it is now" }],
        summary: "Change a user",
        run: |ask| Box::pin(change(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/users/{id}/sessions",
        right: Right::MintForOthers,
        query: Some(&[]),
        reads: Reads::Json(&SESSION),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "Session", means: "the session, its token told this once" }],
        summary: "Open a session for another user",
        run: |ask| Box::pin(open_session(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/users/{id}/tokens",
        right: Right::MintForOthers,
        query: Some(&[]),
        reads: Reads::Json(&tokens::MINT),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "MintedToken", means: "the token, told this once" }],
        summary: "Mint a personal access token for another user",
        run: |ask| Box::pin(mint(ask)),
    },
];

const GROUPS: Kind = Kind::Texts { items_max: GROUPS_MAX, bytes_max: GROUP_CHARS_MAX };

const CREATE: Shape = Shape(&[
    Field::required(
        "email",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "an e-mail of at most 254 bytes that no other user has",
    ),
    Field::nullable("name", Kind::Text { bytes_max: LINE_BYTES_MAX }, "a name for people"),
    Field::nullable(
        "password",
        Kind::Secret { bytes_max: PASSWORD_BYTES_MAX },
        "a password to log in with, 12 to 1024 bytes",
    ),
    Field::nullable("groups", GROUPS, "its groups; `admin` and `operator` mean something here"),
]);

const CHANGE: Shape = Shape(&[
    Field::nullable(
        "name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a name for people; none from now on if null",
    ),
    Field::optional("groups", GROUPS, "its groups, in place of those it has"),
    Field::optional("active", Kind::Flag, "whether its credentials count; false ends its sessions"),
    Field::optional(
        "password",
        Kind::Secret { bytes_max: PASSWORD_BYTES_MAX },
        "a new password, 12 to 1024 bytes; ends its sessions",
    ),
]);

const SESSION: Shape = Shape(&[Field::nullable(
    "ttl_seconds",
    Kind::Integer { min: 1, max: TTL_SECONDS_MAX.cast_signed() },
    "how long it lasts; as configured if absent",
)]);

/// The user that a path names. What is no id names nothing.
fn id(ask: &Ask) -> Result<UserId, Problem> {
    UserId::parse(ask.segment()).map_err(|_| Problem::NotFound)
}

async fn create(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let request = UserRequest {
        email: body.need("email")?,
        name: body.take("name"),
        password: body.take("password"),
        groups: body.take("groups").unwrap_or_default(),
    };
    let user = ask.app.create_user(&ask.who, request).await?;
    Ok(Reply::json(StatusCode::CREATED, &UserShown::of(&user)))
}

async fn all(ask: Ask) -> Result<Reply, Problem> {
    let listed = ask.app.users(ask.query.text("email"), &list::page(&ask.query)?)?;
    Ok(list::reply(listed, |user| UserShown::of(&user)))
}

async fn show(ask: Ask) -> Result<Reply, Problem> {
    let user = ask.app.user(id(&ask)?)?;
    Ok(Reply::json(StatusCode::OK, &UserShown::of(&user)))
}

async fn change(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let mut body = ask.json();
    let request = UserChange {
        name: match body.given("name") {
            Given::Absent => None,
            Given::Null => Some(None),
            Given::Value(name) => Some(Some(name)),
        },
        groups: body.take("groups"),
        active: body.take("active"),
        password: body.take("password"),
    };
    let user = ask.app.update_user(&ask.who, id, request).await?;
    Ok(Reply::json(StatusCode::OK, &UserShown::of(&user)))
}

async fn open_session(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let ttl = ask.json().take("ttl_seconds");
    let (user, minted) = ask.app.open_session(&ask.who, id, ttl).await?;
    Ok(SessionShown::reply(&minted, &user))
}

async fn mint(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let wish = tokens::wish(ask.json())?;
    let minted = ask.app.mint_pat_for(&ask.who, id, wish).await?;
    Ok(MintedShown::reply(minted))
}
