//! `/v1/me`: who am I, and my own password.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    http::{
        body::{Field, Kind, Shape},
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    records::{Actor, user::ADMIN},
    rules::{
        Denied, Reason, Refusal,
        access::{Identity, Right, Subject, Who},
        limits::PASSWORD_BYTES_MAX,
    },
    token::Secret,
};

/// The routes about oneself.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/me",
        right: Right::SeeSelf,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Me", means: "whom the credential speaks for" }],
        summary: "Who am I",
        run: |ask| Box::pin(show(ask)),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/me",
        right: Right::ChangeOwn,
        query: Some(&[]),
        reads: Reads::Json(&PASSWORD),
        errors: Errors::Problem,
        answers: &[Answer {
            status: 204,
            schema: "",
            means: "it is changed, and all one's sessions are over",
        }],
        summary: "Change one's own password",
        run: |ask| Box::pin(change_password(ask)),
    },
];

const PASSWORD: Shape = Shape(&[
    Field::required(
        "password",
        Kind::Secret { bytes_max: PASSWORD_BYTES_MAX },
        "the new password, 12 to 1024 bytes",
    ),
    Field::required("current_password", Kind::Secret { bytes_max: PASSWORD_BYTES_MAX }, "the one until now"),
]);

#[derive(Serialize)]
struct MeShown {
    subject: SubjectShown,
    groups: Vec<String>,
    credential: CredentialShown,
}

#[derive(Serialize)]
struct SubjectShown {
    r#type: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct CredentialShown {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    scope: String,
    expires_at: Option<String>,
}

impl MeShown {
    fn of(identity: &Identity) -> Self {
        let (email, name) = match &identity.subject {
            Subject::User(user) => (Some(user.email.clone()), user.name.clone()),
            Subject::Host(host) => (None, Some(host.hostname.clone())),
            Subject::Client(client) => (None, Some(client.name.clone())),
        };
        Self {
            subject: SubjectShown {
                r#type: identity.subject.type_name(),
                id: identity.subject.id(),
                email,
                name,
            },
            groups: identity.groups().to_vec(),
            credential: CredentialShown {
                kind: identity.kind.name(),
                token_id: identity.token.map(|id| id.to_string()),
                scope: identity.scope_now().into_owned(),
                expires_at: identity.expires_at.map(rfc3339),
            },
        }
    }

    /// Somebody at the admin socket: an admin, without an account or a token.
    fn local(uid: u32) -> Self {
        Self {
            subject: SubjectShown {
                r#type: "local",
                id: Actor::Local(uid).to_string(),
                email: None,
                name: None,
            },
            groups: vec![ADMIN.to_owned()],
            credential: CredentialShown {
                kind: "local",
                token_id: None,
                scope: String::new(),
                expires_at: None,
            },
        }
    }
}

async fn show(ask: Ask) -> Result<Reply, Problem> {
    let shown = match &ask.who.caller().who {
        Who::Known(identity) => MeShown::of(identity),
        Who::Local(uid) => MeShown::local(*uid),
        Who::Nobody => return Err(Refusal::from(Denied::of(Reason::Absent)).into()),
    };
    Ok(Reply::json(StatusCode::OK, &shown))
}

async fn change_password(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let new: Secret = body.need("password")?;
    let current: Secret = body.need("current_password")?;
    ask.app.change_own_password(&ask.who, ask.who.caller().ip, current, new).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
