//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`: what monitors and tools ask. Open to whoever reaches the listener; nothing of a
//! token, a user or a secret is in any of them.

use hyper::{StatusCode, header::ACCEPT};
use serde::Serialize;

use crate::{
    http::{
        openapi,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
    },
    metrics::exposition::{self, OPEN_METRICS, PROMETHEUS},
    rules::access::Right,
};

/// The routes for monitors.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/healthz",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Health", means: "the process serves" }],
        summary: "Whether the process serves",
        run: |_| Box::pin(async { Ok(health()) }),
    },
    Route {
        verb: Verb::Get,
        path: "/readyz",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Health", means: "requests are welcome" }],
        summary: "Whether requests are welcome",
        run: |ask| Box::pin(async move { ready(&ask) }),
    },
    Route {
        verb: Verb::Get,
        path: "/metrics",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Metrics", means: "the Prometheus text format" }],
        summary: "What is counted",
        run: |ask| Box::pin(async move { metrics(&ask) }),
    },
    Route {
        verb: Verb::Get,
        path: "/openapi.json",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "OpenApi", means: "OpenAPI 3.1" }],
        summary: "All of this, described",
        run: |_| Box::pin(async { Ok(openapi::document()) }),
    },
];

#[derive(Serialize)]
struct HealthShown {
    status: &'static str,
}

fn health() -> Reply {
    Reply::json(StatusCode::OK, &HealthShown { status: "ok" }).no_store()
}

fn ready(ask: &Ask) -> Result<Reply, Problem> {
    if !ask.app.is_ready() {
        return Err(Problem::Unavailable);
    }
    Ok(Reply::json(StatusCode::OK, &HealthShown { status: "ready" }).no_store())
}

fn metrics(ask: &Ask) -> Result<Reply, Problem> {
    let families = ask.app.scrape();
    let accept = ask.head.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (media_type, text) = if accept.contains("application/openmetrics-text") {
        (OPEN_METRICS, exposition::open_metrics(families))
    } else {
        (PROMETHEUS, exposition::prometheus(families))
    };
    let text = text.map_err(|_| Problem::Internal)?;
    Ok(Reply::text(StatusCode::OK, media_type, text).no_store())
}
