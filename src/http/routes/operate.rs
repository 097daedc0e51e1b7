//! What an operator does to a running daemon: reload, look at its state, its keys, its clock, and open setup.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    app::{
        clock::Reset,
        keys::{KeyUse, Keys, Resealed},
        reload::{NotReloaded, Reloaded},
        status::{Listener, ServiceState, SlotState, Status},
    },
    http::{
        body::{self, Field, Shape},
        list,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Parameter, Reads, Route, Verb},
        routes::shown::Shown,
        time::rfc3339,
    },
    rules::{access::Right, keys::Need},
    store::Health,
    token::{KeyId, Kind},
};

/// The routes for operators.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/admin/reload",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer {
            status: 200,
            schema: "Reloaded",
            means: "it is in force; 422 `reload_refused` lists every fault, and what was in force goes on",
        }],
        summary: "Read configuration, keys and secrets again",
        run: |ask| Box::pin(reload(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/admin/status",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Status", means: "how the daemon is" }],
        summary: "How the daemon is",
        run: |ask| Box::pin(async move { Ok(Reply::json(StatusCode::OK, &shown(ask.app.status()))) }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/admin/keys",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Keys", means: "every root key and what needs it" }],
        summary: "List the root keys",
        run: |ask| {
            Box::pin(async move { Ok(Reply::json(StatusCode::OK, &keys_shown(ask.app.keys().await?))) })
        },
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/keys/reseal",
        right: Right::Administrate,
        query: Some(&[Parameter { name: list::CURSOR.name, doc: "`next_cursor` of the answer before" }]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer {
            status: 200,
            schema: "Resealed",
            means: "how many rows are under the current key now; `unfinished` asks to be called again, with \
                    `next_cursor`, which is there only then",
        }],
        summary: "Seal again under the current key what older ones sealed",
        run: |ask| Box::pin(reseal(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/clock/reset",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer {
            status: 200,
            schema: "ClockReset",
            means: "the highest time is the clock's now",
        }],
        summary: "Set the highest time seen back to now",
        run: |ask| Box::pin(reset_clock(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/install-token",
        right: Right::Local,
        query: Some(&[]),
        reads: Reads::Json(&INSTALL_TOKEN),
        errors: Errors::Problem,
        answers: &[Answer { status: 201, schema: "InstallToken", means: "the token, shown this once" }],
        summary: "Mint a new install token",
        run: |ask| Box::pin(mint_install_token(ask)),
    },
];

const INSTALL_TOKEN: Shape = Shape(&[Field::optional(
    "force",
    body::Kind::Flag,
    "open setup though it was completed, and let an e-mail that exists name its user",
)]);

#[derive(Serialize)]
struct ReloadedShown {
    generation: u64,
    needs_restart: Vec<&'static str>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct StatusShown {
    version: &'static str,
    pid: u32,
    started_at: String,
    uptime_seconds: u64,
    degraded: bool,
    setup: &'static str,
    listeners: Vec<ListenerShown>,
    reload: ReloadShown,
    services: Vec<ServiceShown>,
    keys: Vec<String>,
    store: StoreShown,
    tokens: Option<TokensShown>,
    clock_behind_seconds: u64,
}

#[derive(Serialize)]
struct ListenerShown {
    door: &'static str,
    address: String,
}

/// How many tokens there are of each kind.
#[derive(Default, Serialize)]
struct TokensShown {
    install: u64,
    session: u64,
    pat: u64,
    enrollment: u64,
    agent: u64,
    link: u64,
}

#[derive(Serialize)]
struct ReloadShown {
    generation: u64,
    at: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    needs_restart: Vec<&'static str>,
}

#[derive(Serialize)]
struct ServiceShown {
    name: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    slots: Vec<SlotShown>,
}

#[derive(Serialize)]
struct SlotShown {
    slot: String,
    last_used_at: Option<String>,
    uses: u64,
}

#[derive(Serialize)]
struct StoreShown {
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    file_bytes: u64,
    queue_operations: usize,
    reopened: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    walk: Option<WalkShown>,
}

#[derive(Serialize)]
struct WalkShown {
    at: String,
    rows: u64,
    findings: u64,
}

#[derive(Serialize)]
struct KeysShown {
    file: String,
    credential: bool,
    keys: Vec<KeyShown>,
    lacking: Vec<LackingKeyShown>,
    damaged: u64,
}

#[derive(Serialize)]
struct LackingKeyShown {
    id: String,
    sealed: u64,
    tokens: u64,
}

#[derive(Serialize)]
struct KeyShown {
    id: String,
    current: bool,
    sealed: u64,
    tokens: u64,
    store_key: bool,
}

#[derive(Serialize)]
struct ResealedShown {
    resealed: u64,
    damaged: u64,
    unfinished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl ResealedShown {
    fn of(resealed: &Resealed) -> Self {
        let Resealed { rows, damaged, next } = resealed;
        let (unfinished, next_cursor) = (next.is_some(), next.as_deref().map(list::cursor));
        Self { resealed: *rows, damaged: *damaged, unfinished, next_cursor }
    }
}

#[derive(Serialize)]
struct ResetShown {
    from: String,
    to: String,
    revived: u64,
    minted_ahead: u64,
}

#[derive(Serialize)]
struct InstallTokenShown {
    id: String,
    token: Shown,
}

async fn reload(ask: Ask) -> Result<Reply, Problem> {
    match ask.app.reload(ask.who.by(), "api").await {
        Ok(Reloaded { generation, needs_restart, warnings }) => {
            Ok(Reply::json(StatusCode::OK, &ReloadedShown { generation, needs_restart, warnings }))
        }
        Err(NotReloaded::Faults(faults)) => Err(Problem::ReloadRefused(faults)),
        Err(NotReloaded::Failure(failure)) => Err(failure.into()),
    }
}

fn shown(status: Status) -> StatusShown {
    let Status { started_at, uptime_seconds, listeners, setup_pending, degraded, tokens, .. } = status;
    let Status { generation, reload, services, keys, store, walk, .. } = status;
    let refused = !reload.faults.is_empty();
    let (health, error) = match store.health {
        Health::Well => ("well", None),
        Health::Full(why) => ("full", Some(why)),
        Health::Unavailable(why) => ("unavailable", Some(why)),
        Health::Closed => ("closed", None),
    };
    StatusShown {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: rfc3339(started_at),
        uptime_seconds,
        degraded,
        setup: match setup_pending {
            Some(true) => "pending",
            Some(false) => "complete",
            None => "unknown",
        },
        listeners: listeners.into_iter().map(listener_shown).collect(),
        reload: ReloadShown {
            generation,
            at: rfc3339(reload.at),
            outcome: if refused { "refused" } else { "ok" },
            error: refused.then(|| reload.faults.join("\n")),
            needs_restart: reload.needs_restart,
        },
        services: services.into_iter().map(service_shown).collect(),
        keys,
        store: StoreShown {
            health,
            error,
            file_bytes: store.file_bytes,
            queue_operations: store.queue_depth,
            reopened: store.reopened,
            walk: walk.map(|walk| WalkShown {
                at: rfc3339(walk.at),
                rows: walk.rows,
                findings: walk.findings,
            }),
        },
        tokens: tokens.map(tokens_shown),
        clock_behind_seconds: store.clock_behind_ms / 1_000,
    }
}

fn listener_shown(listener: Listener) -> ListenerShown {
    let Listener { admin, address } = listener;
    ListenerShown { door: if admin { "admin" } else { "public" }, address }
}

fn tokens_shown(counts: Vec<(Kind, u64)>) -> TokensShown {
    let mut shown = TokensShown::default();
    for (kind, stored) in counts {
        *match kind {
            Kind::Install => &mut shown.install,
            Kind::Session => &mut shown.session,
            Kind::Pat => &mut shown.pat,
            Kind::Enrollment => &mut shown.enrollment,
            Kind::Agent => &mut shown.agent,
            Kind::Link => &mut shown.link,
        } = stored;
    }
    shown
}

fn service_shown(service: ServiceState) -> ServiceShown {
    let ServiceState { name, enabled, why, slots } = service;
    let slots = slots.into_iter().map(|SlotState { slot, uses }| SlotShown {
        slot,
        last_used_at: uses.last.map(rfc3339),
        uses: uses.uses,
    });
    ServiceShown { name, enabled, why, slots: slots.collect() }
}

fn keys_shown(keys: Keys) -> KeysShown {
    let key = |KeyUse { id, current, need, store_key }: KeyUse| KeyShown {
        id: id.to_string(),
        current,
        sealed: need.sealed,
        tokens: need.tokens,
        store_key,
    };
    let lacking = |(id, need): (KeyId, Need)| LackingKeyShown {
        id: id.to_string(),
        sealed: need.sealed,
        tokens: need.tokens,
    };
    KeysShown {
        file: keys.file.display().to_string(),
        credential: keys.is_credential,
        damaged: keys.damaged,
        keys: keys.keys.into_iter().map(key).collect(),
        lacking: keys.lacking.into_iter().map(lacking).collect(),
    }
}

async fn reseal(ask: Ask) -> Result<Reply, Problem> {
    let resealed = ask.app.reseal(&ask.who, list::begin(&ask.query)?).await?;
    Ok(Reply::json(StatusCode::OK, &ResealedShown::of(&resealed)))
}

async fn reset_clock(ask: Ask) -> Result<Reply, Problem> {
    let Reset { from, to, counted } = ask.app.reset_clock(&ask.who).await?;
    let (revived, minted_ahead) = (counted.revived, counted.ahead);
    Ok(Reply::json(
        StatusCode::OK,
        &ResetShown { from: rfc3339(from), to: rfc3339(to), revived, minted_ahead },
    ))
}

async fn mint_install_token(mut ask: Ask) -> Result<Reply, Problem> {
    let force = ask.json().take("force").unwrap_or(false);
    let minted = ask.app.mint_install_token(ask.who.by(), force).await?;
    let shown = InstallTokenShown { id: minted.token.id.to_string(), token: Shown(minted.secret) };
    Ok(Reply::json(StatusCode::CREATED, &shown).no_store())
}
