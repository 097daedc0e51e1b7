//! `/v1/tokens`: personal access tokens; minting them for another user stands with users.

use hyper::StatusCode;

use crate::{
    http::{
        body::{Body, Field, Given, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        routes::shown::{MintedShown, TokenShown},
    },
    rules::{
        access::Right,
        limits::{ALLOWED_IPS_MAX, LINE_BYTES_MAX, METADATA_BYTES_MAX, OVERLAP_SECONDS_MAX, SCOPE_BYTES_MAX},
        pats::{Change, DAYS_MAX, Life, Spelled, TTL_SECONDS_MAX, USES_MAX, Wish},
    },
    token::TokenId,
};

/// The routes of personal access tokens.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/tokens",
        right: Right::ChangeOwn,
        query: Some(&[]),
        reads: Reads::Json(&MINT),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "MintedToken", means: "the token, told this once" }],
        summary: "Mint a personal access token",
        run: |ask| Box::pin(mint(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tokens",
        right: Right::OwnTokens,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "TokenList", means: "a page of one's own" }],
        summary: "List one's own personal access tokens",
        run: |ask| Box::pin(own(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tokens/{id}",
        right: Right::OwnTokens,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Token", means: "the token's row" }],
        summary: "Show a personal access token",
        run: |ask| Box::pin(show(ask)),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/tokens/{id}",
        right: Right::ChangeOwn,
        query: Some(&[]),
        reads: Reads::Json(&CHANGE),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Token", means: "the row as it is now" }],
        summary: "Change a personal access token",
        run: |ask| Box::pin(change(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/tokens/{id}",
        right: Right::OwnTokens,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it is revoked" }],
        summary: "Revoke a personal access token",
        run: |ask| Box::pin(revoke(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tokens/{id}/rotate",
        right: Right::ChangeOwn,
        query: Some(&[]),
        reads: Reads::Json(&ROTATE),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "MintedToken", means: "its successor, told this once" }],
        summary: "Give a personal access token anew",
        run: |ask| Box::pin(rotate(ask)),
    },
];

/// What minting a PAT reads.
pub const MINT: Shape = Shape(&[
    Field::required(
        "name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "a name for people, 1 to 200 characters after trimming",
    ),
    Field::nullable(
        "expires_in_days",
        Kind::Integer { min: 1, max: DAYS_MAX.cast_signed() },
        "how long it lives, in days: 90 if absent, for ever if null",
    ),
    Field::nullable(
        "ttl_seconds",
        Kind::Integer { min: 1, max: TTL_SECONDS_MAX.cast_signed() },
        "how long it lives, in seconds; wins over expires_in_days",
    ),
    Field::optional(
        "scope",
        Kind::Text { bytes_max: SCOPE_BYTES_MAX },
        "scope words (RFC 6749) separated by one space; `general` if absent",
    ),
    Field::nullable("format", Kind::Word(&["opaque", "jwt"]), "how it is spelled; `opaque` if absent"),
    Field::nullable(
        "allowed_ips",
        Kind::Texts { items_max: ALLOWED_IPS_MAX, bytes_max: RANGE_BYTES_MAX },
        "CIDR ranges that it may be used from; from everywhere if absent",
    ),
    Field::nullable(
        "max_uses",
        Kind::Integer { min: 1, max: USES_MAX.cast_signed() },
        "how often it may be used; without end if absent",
    ),
    Field::nullable(
        "metadata",
        Kind::Object { bytes_max: METADATA_BYTES_MAX },
        "a JSON object that introspection returns",
    ),
]);

/// The longest spelling of an address range, in bytes: an IPv6 address with an IPv4 tail, and a length.
const RANGE_BYTES_MAX: usize = 64;

const CHANGE: Shape = Shape(&[
    Field::optional("name", Kind::Text { bytes_max: LINE_BYTES_MAX }, "a name for people"),
    Field::nullable(
        "metadata",
        Kind::Object { bytes_max: METADATA_BYTES_MAX },
        "a JSON object that introspection returns; none from now on if null",
    ),
    Field::optional("enabled", Kind::Flag, "whether it is switched on"),
]);

const ROTATE: Shape = Shape(&[Field::nullable(
    "overlap_seconds",
    Kind::Integer { min: 0, max: OVERLAP_SECONDS_MAX.cast_signed() },
    "how long the old one lives on; not at all if absent",
)]);

/// The wish that a body of [`MINT`] is.
pub fn wish(mut body: Body) -> Result<Wish, Problem> {
    Ok(Wish {
        name: body.need("name")?,
        life: match body.given("expires_in_days") {
            Given::Absent => Life::Unsaid,
            Given::Null => Life::Unlimited,
            Given::Value(days) => Life::Days(days),
        },
        ttl_seconds: body.take("ttl_seconds"),
        scope: body.take("scope"),
        spelled: if body.take("format") == Some("jwt") { Spelled::Jwt } else { Spelled::Opaque },
        allowed_ips: body.take("allowed_ips").unwrap_or_default(),
        max_uses: body.take("max_uses"),
        metadata: body.take("metadata"),
    })
}

/// The token that a path names. What is no id names nothing.
pub fn id(ask: &Ask) -> Result<TokenId, Problem> {
    TokenId::parse(ask.segment()).map_err(|_| Problem::NotFound)
}

async fn mint(mut ask: Ask) -> Result<Reply, Problem> {
    let wish = wish(ask.json())?;
    let minted = ask.app.mint_pat(&ask.who, wish).await?;
    Ok(MintedShown::reply(minted))
}

async fn own(ask: Ask) -> Result<Reply, Problem> {
    let listed = ask.app.own_pats(&ask.who, &list::page(&ask.query)?)?;
    Ok(list::reply(listed, |row| TokenShown::of(&row)))
}

async fn show(ask: Ask) -> Result<Reply, Problem> {
    let row = ask.app.pat(&ask.who, id(&ask)?)?;
    Ok(Reply::json(StatusCode::OK, &TokenShown::of(&row)))
}

async fn change(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let mut body = ask.json();
    let change = Change {
        name: body.take("name"),
        metadata: match body.given("metadata") {
            Given::Absent => None,
            Given::Null => Some(None),
            Given::Value(object) => Some(Some(object)),
        },
        enabled: body.take("enabled"),
    };
    let row = ask.app.update_pat(&ask.who, id, change).await?;
    Ok(Reply::json(StatusCode::OK, &TokenShown::of(&row)))
}

async fn revoke(ask: Ask) -> Result<Reply, Problem> {
    ask.app.revoke_pat(&ask.who, id(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn rotate(mut ask: Ask) -> Result<Reply, Problem> {
    let id = id(&ask)?;
    let overlap = ask.json().take("overlap_seconds");
    let minted = ask.app.rotate_pat(&ask.who, id, overlap).await?;
    Ok(MintedShown::reply(minted))
}
