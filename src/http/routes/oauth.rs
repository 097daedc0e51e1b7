//! `/v1/introspect` (RFC 7662), `/v1/revoke` (RFC 7009), and the metadata that leads there (RFC 8414).

use core::net::IpAddr;

use hyper::{StatusCode, body::Bytes};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    app::verification::{Active, Introspection},
    http::{
        body::{Field, Kind, Shape},
        members::Members,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
    },
    rules::access::Right,
    settings::CredentialKind,
    token::Secret,
};

/// Tokens in one batch.
const BATCH_TOKENS_MAX: usize = 1_000;
/// The longest text in a batch: whatever fits is answered, if only as inactive.
const BATCH_TEXT_BYTES_MAX: usize = 262_144;

const BATCH: Shape = Shape(&[Field::required(
    "tokens",
    Kind::Secrets { items_max: BATCH_TOKENS_MAX, bytes_max: BATCH_TEXT_BYTES_MAX },
    "what is to be looked at; each counts as one use",
)]);

/// The routes for OAuth clients.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/introspect",
        right: Right::Introspect,
        query: None,
        reads: Reads::ClientForm,
        errors: Errors::OAuth,
        answers: &[Answer { status: 200, schema: "Introspection", means: "what the token is" }],
        summary: "What a token is (RFC 7662)",
        run: |ask| Box::pin(introspect(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/introspect/batch",
        right: Right::Introspect,
        query: Some(&[]),
        reads: Reads::Batch(&BATCH),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Introspections", means: "what each token is, in order" }],
        summary: "What up to 1000 tokens are",
        run: |ask| Box::pin(batch(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/revoke",
        right: Right::Open,
        query: None,
        reads: Reads::ClientForm,
        errors: Errors::OAuth,
        answers: &[Answer { status: 200, schema: "", means: "the token, if it was one, counts no more" }],
        summary: "End the token that is presented (RFC 7009)",
        run: |ask| Box::pin(revoke(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/.well-known/oauth-authorization-server",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "AuthorizationServer", means: "where and how to ask" }],
        summary: "Where and how to ask (RFC 8414)",
        run: |ask| Box::pin(async move { Ok(metadata(&ask)) }),
    },
];

/// Anything that is not active: nothing tells one reason from another.
const INACTIVE: &str = "{\"active\":false}";

/// What a whole answer takes, but for groups and metadata of unusual length.
const ANSWER_BYTES: usize = 448;

async fn introspect(mut ask: Ask) -> Result<Reply, Problem> {
    let mut form = ask.form();
    let client_ip = form.text("client_ip").map(address).transpose();
    let token = form.secret("token").ok_or_else(|| Problem::missing("token"))?;
    // Only those who may name a client are told that they named it wrongly; to others it is a parameter
    // that nobody asked for, which OAuth ignores.
    let client_ip = match client_ip {
        Ok(ip) => ip,
        Err(problem) if ask.who.caller().may_name_clients() => return Err(problem),
        Err(_) => None,
    };
    let active = ask.app.introspect(&ask.snapshot, &ask.who, Introspection { token, client_ip }).await?;
    let text = match &active {
        Some(active) => shown(active, String::with_capacity(ANSWER_BYTES)).into(),
        None => Bytes::from_static(INACTIVE.as_bytes()),
    };
    Ok(Reply::json_text(StatusCode::OK, text).no_store_oauth())
}

fn address(text: &str) -> Result<IpAddr, Problem> {
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| ip.to_canonical()).map_err(|_| Problem::field("client_ip", "must be an IP address"))
}

async fn batch(mut ask: Ask) -> Result<Reply, Problem> {
    let tokens: Vec<Secret> = ask.json().need("tokens")?;
    let answers = ask.app.introspect_batch(&ask.snapshot, &tokens).await?;
    let mut text = String::with_capacity(ANSWER_BYTES.saturating_mul(answers.len()));
    text.push_str("{\"results\":[");
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match answer {
            Some(active) => text = shown(active, text),
            None => text.push_str(INACTIVE),
        }
    }
    text.push_str("]}");
    Ok(Reply::json_text(StatusCode::OK, text.into()).no_store())
}

/// A token that is active, in the members of RFC 7662 section 2.2 and a few of our own, behind `text`.
fn shown(active: &Active, text: String) -> String {
    let identity = &active.good.identity;
    let token = active.good.token.as_ref();
    let mut members = Members::behind(text);
    members.flag("active", true);
    members.plain("sub", |text| identity.subject.push_id_onto(text));
    members.plain("sub_type", |text| text.push_str(identity.subject.type_name()));
    members.plain("token_type", |text| text.push_str("Bearer"));
    members.plain("kind", |text| text.push_str(identity.kind.name()));
    members.text("scope", &identity.scope_now());
    if let Some(id) = identity.token {
        members.plain("jti", |text| id.push_onto(text));
    }
    if let Some(token) = token {
        members.number("iat", token.created_at.unix());
    }
    if let Some(end) = identity.expires_at {
        members.number("exp", end.unix());
    }
    members.text("username", identity.subject.label());
    if let Some(email) = identity.subject.email() {
        members.text("email", email);
        members.texts("groups", identity.groups());
        // An OAuth client here is a service, and its name is the part before the `@`.
        if identity.kind == CredentialKind::Service
            && let Some(name) = email.split('@').next()
        {
            members.text("client_id", name);
        }
    }
    members.text("iss", active.issuer());
    if let Some(metadata) = token.and_then(|token| object(token.metadata.as_deref()?)) {
        members.any("metadata", &metadata);
    }
    members.close()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

async fn revoke(mut ask: Ask) -> Result<Reply, Problem> {
    let token = ask.form().secret("token").ok_or_else(|| Problem::missing("token"))?;
    ask.app.revoke_presented(&ask.who, &token).await?;
    Ok(Reply::empty(StatusCode::OK).no_store_oauth())
}

/// RFC 8414. There is nothing to log in to here: no authorization endpoint, no token endpoint, and so no grant types,
/// whose empty list has to be left out (section 3.2).
#[derive(Serialize)]
struct MetadataShown<'a> {
    issuer: &'a str,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    response_types_supported: [&'static str; 1],
    scopes_supported: [&'static str; 4],
}

fn metadata(ask: &Ask) -> Reply {
    let issuer = ask.snapshot.settings.server.public_url.as_str();
    let shown = MetadataShown {
        issuer,
        introspection_endpoint: format!("{issuer}/v1/introspect"),
        introspection_endpoint_auth_methods_supported: [
            "client_secret_basic",
            "client_secret_post",
            "Bearer",
        ],
        revocation_endpoint: format!("{issuer}/v1/revoke"),
        revocation_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
        // Required to be there; this one says that nothing is answered.
        response_types_supported: ["none"],
        scopes_supported: ["general", "introspect", "operator", "admin"],
    };
    Reply::json(StatusCode::OK, &shown)
}
