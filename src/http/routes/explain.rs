//! `/v1/admin/explain`: why a credential counts or does not, over the admin socket alone.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    app::verification::Explain,
    http::{
        body::{Field, Kind, Shape},
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        time::rfc3339,
    },
    rules::{access::Right, explain::Explanation},
    token::text::PRESENTED_BYTES_MAX,
};

/// The longest text of an address, or of a policy's name.
const WORD_BYTES_MAX: usize = 64;

const EXPLAIN: Shape = Shape(&[
    Field::required(
        "token",
        Kind::Secret { bytes_max: PRESENTED_BYTES_MAX },
        "the credential, or a portal cookie",
    ),
    Field::nullable("client_ip", Kind::Text { bytes_max: WORD_BYTES_MAX }, "from where it would be used"),
    Field::nullable(
        "policy",
        Kind::Text { bytes_max: WORD_BYTES_MAX },
        "the policy that it would have to meet",
    ),
]);

/// The route for operators who ask why.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/v1/admin/explain",
    right: Right::Local,
    query: Some(&[]),
    reads: Reads::Json(&EXPLAIN),
    errors: Errors::Problem,
    answers: &[Answer { status: 200, schema: "Explanation", means: "every check and its outcome" }],
    summary: "Why a credential counts or does not",
    run: |ask| Box::pin(async move { explain(ask) }),
}];

#[derive(Serialize)]
struct CheckShown {
    check: &'static str,
    outcome: &'static str,
    seen: String,
}

#[derive(Serialize)]
struct ExplanationShown {
    active: bool,
    reason: Option<&'static str>,
    token_id: Option<String>,
    kind: Option<&'static str>,
    subject: Option<String>,
    checks: Vec<CheckShown>,
}

fn explain(mut ask: Ask) -> Result<Reply, Problem> {
    let mut body = ask.json();
    let client_ip: Option<String> = body.take("client_ip");
    let client_ip = client_ip
        .map(|text| text.parse().map_err(|_| Problem::field("client_ip", "must be an IP address")))
        .transpose()?;
    let asked = Explain { token: body.need("token")?, client_ip, policy: body.take("policy") };
    let explanation = ask.app.explain(&asked)?;
    Ok(Reply::json(StatusCode::OK, &shown(&explanation)).no_store())
}

fn shown(explanation: &Explanation) -> ExplanationShown {
    let checks = explanation.checks.iter();
    ExplanationShown {
        active: explanation.verdict.is_ok(),
        reason: explanation.reason(),
        token_id: explanation.token.as_ref().map(|token| token.id.to_string()),
        kind: explanation.token.as_ref().map(|token| token.kind.name()),
        subject: explanation.verdict.as_ref().ok().map(|identity| identity.subject.id()),
        checks: checks
            .map(|check| CheckShown {
                check: check.name,
                outcome: check.outcome.name(),
                seen: check.seen.in_words(rfc3339),
            })
            .collect(),
    }
}
