//! `/portal/…`: what the holder of a link meets. A browser reads pages here, a program problems.
//!
//! This is the one place that reads a credential out of a query, and only `/portal/enter` does. No answer
//! shows it again but the form of the button; the log never sees it.

use hyper::{Method, StatusCode};
use serde::Serialize;

use crate::{
    app::portal::{Entrance, PortalSession, Visit},
    http::{
        body::lone_secret,
        cookies, pages,
        problem::{Presented, Problem},
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        same_origin,
        time::rfc3339,
    },
    rules::access::Right,
    token::Secret,
};

/// The routes of the portal.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/portal/enter",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[
            Answer { status: 200, schema: "", means: "a page with a button: the link is for one use" },
            Answer { status: 303, schema: "", means: "in; the session cookie is set" },
        ],
        summary: "Follow a magic link",
        run: |ask| Box::pin(paged(ask, Step::Open)),
    },
    Route {
        verb: Verb::Post,
        path: "/portal/enter",
        right: Right::Open,
        query: None,
        reads: Reads::Form,
        errors: Errors::Problem,
        answers: &[Answer { status: 303, schema: "", means: "in; the session cookie is set" }],
        summary: "Press the button of a single-use link",
        run: |ask| Box::pin(paged(ask, Step::Press)),
    },
    Route {
        verb: Verb::Get,
        path: "/portal/session",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "PortalSession", means: "whose portal this is" }],
        summary: "What the session cookie stands for",
        run: |ask| Box::pin(paged(ask, Step::Session)),
    },
    Route {
        verb: Verb::Post,
        path: "/portal/logout",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[
            Answer { status: 200, schema: "", means: "the same, told by a page to who prefers one" },
            Answer { status: 204, schema: "", means: "the session cookie is cleared" },
        ],
        summary: "Leave the portal on this device",
        run: |ask| Box::pin(paged(ask, Step::Logout)),
    },
];

/// What is asked of the portal.
#[derive(Clone, Copy)]
enum Step {
    Open,
    Press,
    Session,
    Logout,
}

/// Takes a step; what is refused is told as the caller can read it.
async fn paged(mut ask: Ask, step: Step) -> Result<Reply, Problem> {
    let taken = match step {
        Step::Open => open(&mut ask).await,
        Step::Press => press(&mut ask).await,
        Step::Session => session(&mut ask).await,
        Step::Logout => logout(&ask),
    };
    Ok(taken.unwrap_or_else(|problem| pages::refusal(&ask.head.headers, problem)))
}

async fn open(ask: &mut Ask) -> Result<Reply, Problem> {
    // Whatever else stands in the query was added by mail programs, and is nothing to us.
    let token = given(lone_secret(ask.head.uri.query().unwrap_or_default(), "token"))?;
    let visit = if ask.head.method == Method::HEAD { Visit::Look } else { Visit::Open };
    follow(ask, token, visit).await
}

async fn press(ask: &mut Ask) -> Result<Reply, Problem> {
    same_origin::check(&ask.head.headers, &ask.snapshot.settings.server.public_url)?;
    let token = given(ask.form().secret("token"))?;
    follow(ask, token, Visit::Press).await
}

fn given(token: Option<Secret>) -> Result<Secret, Problem> {
    token.ok_or(Problem::Unauthenticated(Presented::Nothing))
}

async fn follow(ask: &mut Ask, token: Secret, visit: Visit) -> Result<Reply, Problem> {
    let ip = ask.who.caller().ip;
    Ok(match ask.app.follow_link(&token, visit, ip).await? {
        Entrance::Button { client } => pages::button(&client, &token),
        Entrance::Leads { redirect } => pages::guarded(Reply::redirect_303(&redirect)),
        Entrance::Admitted { redirect, cookie, seconds } => {
            let secure = ask.snapshot.settings.portal_secure();
            let line = cookies::set(secure, &cookie, seconds);
            pages::guarded(Reply::redirect_303(&redirect).cookie(line.expose()))
        }
    })
}

#[derive(Serialize)]
struct PortalSessionShown {
    client: PortalClientShown,
    link_id: String,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct PortalClientShown {
    id: String,
    slug: String,
    name: String,
}

impl PortalSessionShown {
    fn of(session: PortalSession) -> Self {
        Self {
            client: PortalClientShown {
                id: session.client.to_string(),
                slug: session.slug,
                name: session.name,
            },
            link_id: session.link.to_string(),
            expires_at: session.expires_at.map(rfc3339),
        }
    }
}

async fn session(ask: &mut Ask) -> Result<Reply, Problem> {
    let secure = ask.snapshot.settings.portal_secure();
    let ip = ask.who.caller().ip;
    let cookie = cookies::session(&ask.head.headers, secure);
    let session = ask.app.portal_session(cookie, ip).await?;
    Ok(pages::guarded(Reply::json(StatusCode::OK, &PortalSessionShown::of(session))))
}

fn logout(ask: &Ask) -> Result<Reply, Problem> {
    let headers = &ask.head.headers;
    let snapshot = &ask.snapshot;
    same_origin::check(headers, &snapshot.settings.server.public_url)?;
    let reply = if pages::wants_page(headers) {
        pages::goodbye()
    } else {
        pages::guarded(Reply::empty(StatusCode::NO_CONTENT))
    };
    Ok(reply.cookie(&cookies::clear(snapshot.settings.portal_secure())))
}
