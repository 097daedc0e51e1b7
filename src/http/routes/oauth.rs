//! `/v1/introspect` (RFC 7662), `/v1/revoke` (RFC 7009), and the metadata that leads there (RFC 8414).

use core::net::IpAddr;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    app::verification::{Active, Introspection},
    http::{
        body::{Field, Kind, Shape},
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
        query: None,
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

/// A token that is active, in the members of RFC 7662 section 2.2 and a few of our own.
#[derive(Serialize)]
struct ActiveShown<'a> {
    active: bool,
    sub: String,
    sub_type: &'static str,
    token_type: &'static str,
    kind: &'static str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
}

/// Anything else: nothing tells one reason from another.
#[derive(Serialize)]
struct InactiveShown {
    active: bool,
}

const INACTIVE: InactiveShown = InactiveShown { active: false };

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Active(Box<ActiveShown<'a>>),
    Inactive(InactiveShown),
}

#[derive(Serialize)]
struct BatchShown<'a> {
    results: Vec<Shown<'a>>,
}

async fn introspect(mut ask: Ask) -> Result<Reply, Problem> {
    let mut form = ask.form();
    let client_ip = form.text("client_ip").map(address).transpose();
    let token = form.secret("token").ok_or_else(|| Problem::missing("token"))?;
    // Only those who may name a client are told that they named it wrongly; to others it is a parameter
    // that nobody asked for, which OAuth ignores.
    let client_ip = match client_ip {
        Ok(ip) => ip,
        Err(problem) if ask.app.may_name_clients(&ask.who) => return Err(problem),
        Err(_) => None,
    };
    let active = ask.app.introspect(&ask.snapshot, &ask.who, Introspection { token, client_ip }).await?;
    let reply = match &active {
        Some(active) => {
            with_scope(active, |scope| Reply::json(StatusCode::OK, &ActiveShown::of(active, scope)))
        }
        None => Reply::json(StatusCode::OK, &INACTIVE),
    };
    Ok(reply.no_store_oauth())
}

fn address(text: &str) -> Result<IpAddr, Problem> {
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| ip.to_canonical()).map_err(|_| Problem::field("client_ip", "must be an IP address"))
}

async fn batch(mut ask: Ask) -> Result<Reply, Problem> {
    let tokens: Vec<Secret> = ask.json().need("tokens")?;
    let answers = ask.app.introspect_batch(&ask.snapshot, &tokens).await?;
    let scopes: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().map(|active| active.good.identity.scope_now())).collect();
    let results = answers
        .iter()
        .zip(&scopes)
        .map(|(answer, scope)| match (answer, scope) {
            (Some(active), Some(scope)) => Shown::Active(Box::new(ActiveShown::of(active, scope))),
            _ => Shown::Inactive(INACTIVE),
        })
        .collect();
    Ok(Reply::json(StatusCode::OK, &BatchShown { results }).no_store())
}

fn with_scope<T>(active: &Active, shown: impl FnOnce(&str) -> T) -> T {
    shown(&active.good.identity.scope_now())
}

impl<'a> ActiveShown<'a> {
    fn of(active: &'a Active, scope: &'a str) -> Self {
        let identity = &active.good.identity;
        let token = active.good.token.as_ref();
        let email = identity.subject.email();
        let is_service = identity.kind == CredentialKind::Service;
        Self {
            active: true,
            sub: identity.subject.id(),
            sub_type: identity.subject.type_name(),
            token_type: "Bearer",
            kind: identity.kind.name(),
            scope,
            jti: identity.token.map(|id| id.to_string()),
            iat: token.map(|token| token.created_at.unix()),
            exp: identity.expires_at.map(crate::records::Time::unix),
            username: Some(identity.subject.label()),
            email,
            groups: email.map(|_| identity.groups()),
            // An OAuth client here is a service, and its name is the part before the `@`.
            client_id: email.filter(|_| is_service).and_then(|email| email.split('@').next()),
            iss: active.issuer(),
            metadata: token.and_then(|token| serde_json::from_str(token.metadata.as_deref()?).ok()),
        }
    }
}

async fn revoke(mut ask: Ask) -> Result<Reply, Problem> {
    let token = ask.form().secret("token").ok_or_else(|| Problem::missing("token"))?;
    ask.app.revoke_presented(&ask.who, &token).await?;
    Ok(Reply::empty(StatusCode::OK).no_store_oauth())
}

/// RFC 8414. There is nothing to log in to here: no authorization endpoint, no token endpoint.
#[derive(Serialize)]
struct MetadataShown<'a> {
    issuer: &'a str,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    response_types_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 0],
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
        grant_types_supported: [],
        scopes_supported: ["general", "introspect", "operator", "admin"],
    };
    Reply::json(StatusCode::OK, &shown)
}
