//! `/v1/enrollments` for operators, and `/v1/enroll` for the host that comes with a token.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    TOKEN_BYTES_MAX,
    shown::{Shown, prefix},
    tokens,
};
use crate::{
    app::enrollment::EnrollRequest,
    http::{
        body::{Body, Field, Kind, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    rules::{
        access::Right,
        enrollment::{self, Enrolled, Statement, TTL_SECONDS_MAX, Wish},
        limits::{CREDENTIALS_BYTES_MAX, FACTS_BYTES_MAX, LINE_BYTES_MAX, TAGS_MAX},
        tokens::{Minted, Row},
    },
};

const LINE: Kind = Kind::Text { bytes_max: LINE_BYTES_MAX };
const FACTS: Kind = Kind::Object { bytes_max: FACTS_BYTES_MAX };

/// Tags as requests carry them; how long one may be is counted in characters, by the rules.
pub(super) const TAGS: Kind = Kind::Texts { items_max: TAGS_MAX, bytes_max: LINE_BYTES_MAX };

/// The routes of enrolment.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/enrollments",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&WISH),
        errors: Errors::Problem,
        answers: &[Answer {
            status: 201,
            schema: "EnrollmentMinted",
            means: "the token, which is shown this once",
        }],
        summary: "Mint an enrolment token",
        run: |ask| Box::pin(mint(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/enrollments",
        right: Right::Operate,
        query: Some(list::PAGE),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "EnrollmentList", means: "one page, newest first" }],
        summary: "List the enrolments",
        run: |ask| Box::pin(all(ask)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/enrollments/{id}",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 204, schema: "", means: "it enrols nobody any more" }],
        summary: "Revoke an enrolment, and remove its credentials",
        run: |ask| Box::pin(revoke(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/enroll",
        right: Right::Open,
        query: Some(&[]),
        reads: Reads::Json(&HOST),
        errors: Errors::Problem,
        answers: &[Answer {
            status: 201,
            schema: "Enrolled",
            means: "the host, and its agent token, which is shown this once",
        }],
        summary: "Trade an enrolment token for an agent token",
        run: |ask| Box::pin(enroll(ask)),
    },
];

const WISH: Shape = Shape(&[
    Field::nullable("hostname", LINE, "the name that is expected, 1 to 253 characters"),
    Field::nullable("pin_hostname", Kind::Flag, "whether `hostname` is the only name that the token enrols"),
    Field::nullable("tags", TAGS, "tags of the host, at most 32 of 1 to 64 characters"),
    Field::nullable(
        "ttl_seconds",
        Kind::Integer { min: 1, max: TTL_SECONDS_MAX.cast_signed() },
        "how long the token lives; an hour without",
    ),
    Field::nullable(
        "credentials",
        Kind::Object { bytes_max: CREDENTIALS_BYTES_MAX },
        "what the host can fetch once it is enrolled; kept sealed",
    ),
    Field::nullable("facts", FACTS, "facts about the host; they go before what it says of itself"),
]);

const HOST: Shape = Shape(&[
    Field::required("token", Kind::Secret { bytes_max: TOKEN_BYTES_MAX }, "the enrolment token"),
    Field::required("hostname", LINE, "the host's name, 1 to 253 characters; unique without case"),
    Field::required("os", LINE, "its operating system, 1 to 64 characters"),
    Field::required("arch", LINE, "its architecture, 1 to 64 characters"),
    Field::nullable("agent_version", LINE, "the version of its agent, 1 to 64 characters"),
    Field::nullable("facts", FACTS, "facts about it"),
    Field::nullable(
        "attempt",
        Kind::Secret { bytes_max: LINE_BYTES_MAX },
        "22 to 86 characters of its own randomness; with it, a lost reply can be asked for again",
    ),
]);

#[derive(Serialize)]
struct MintedShown {
    id: String,
    token: Shown,
    expires_at: Option<String>,
}

/// An enrolment as lists show it. Never its credentials, in any form.
#[derive(Serialize)]
struct EnrollmentShown {
    id: String,
    prefix: String,
    state: &'static str,
    hostname: Option<String>,
    pin_hostname: bool,
    tags: Vec<String>,
    facts: Option<Map<String, Value>>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    consumed_at: Option<String>,
    host_id: Option<String>,
}

impl EnrollmentShown {
    fn of(row: &Row) -> Self {
        let token = &row.token;
        let detail = enrollment::detail(token);
        Self {
            id: token.id.to_string(),
            prefix: prefix(token),
            state: row.state.name(),
            hostname: detail.and_then(|detail| detail.hostname.clone()),
            pin_hostname: detail.is_some_and(|detail| detail.pin_hostname),
            tags: detail.map(|detail| detail.tags.clone()).unwrap_or_default(),
            facts: detail.and_then(|detail| facts(detail.facts.as_deref())),
            created_at: rfc3339(token.created_at),
            expires_at: token.expires_at.map(rfc3339),
            revoked_at: token.revoked_at.map(rfc3339),
            consumed_at: token.consumed_at.map(rfc3339),
            host_id: detail.and_then(|detail| detail.host).map(|host| host.to_string()),
        }
    }
}

/// Stored facts as they are answered.
pub(super) fn facts(stored: Option<&str>) -> Option<Map<String, Value>> {
    stored.and_then(|text| serde_json::from_str(text).ok())
}

#[derive(Serialize)]
struct EnrolledShown {
    host_id: String,
    agent_token: Shown,
}

async fn mint(mut ask: Ask) -> Result<Reply, Problem> {
    let wish = wish(&mut ask.json());
    let Minted { token, secret } = ask.app.mint_enrollment(&ask.who, &wish).await?;
    let shown = MintedShown {
        id: token.id.to_string(),
        token: Shown(secret),
        expires_at: token.expires_at.map(rfc3339),
    };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}

fn wish(body: &mut Body) -> Wish {
    Wish {
        hostname: body.take("hostname"),
        pin_hostname: body.take("pin_hostname").unwrap_or_default(),
        tags: body.take("tags").unwrap_or_default(),
        ttl_seconds: body.take("ttl_seconds"),
        credentials: body.take("credentials"),
        facts: body.take("facts"),
    }
}

async fn all(ask: Ask) -> Result<Reply, Problem> {
    let page = list::page(&ask.query)?;
    Ok(list::reply(ask.app.enrollments(&page)?, |row| EnrollmentShown::of(&row)))
}

async fn revoke(ask: Ask) -> Result<Reply, Problem> {
    ask.app.revoke_enrollment(&ask.who, tokens::id(&ask)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn enroll(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let request = EnrollRequest {
        token: body.need("token")?,
        attempt: body.take("attempt"),
        statement: Statement {
            hostname: body.need("hostname")?,
            os: body.need("os")?,
            arch: body.need("arch")?,
            agent_version: body.take("agent_version"),
            facts: body.take("facts"),
        },
    };
    let Enrolled { host, agent_token } = ask.app.enroll(ask.who.caller().ip, request).await?;
    let shown = EnrolledShown { host_id: host.to_string(), agent_token: Shown(agent_token) };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}
