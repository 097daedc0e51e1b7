//! How one request walks, whatever its route: found, authorised, read, run, answered.
//!
//! The order is the same for all of them and stands here alone. Credentials are looked at before a body is
//! read, so that nobody without one makes the daemon read. Of what a caller sent, the log gets the method, the
//! route's pattern, and the id that the caller gave its request, if it is fit to be repeated.

use std::{sync::Arc, time::Instant};

use hyper::{Method, StatusCode, header::HeaderValue, http::request::Parts};

use super::{
    body::{Form, Query, RequestBody, read_object},
    caller,
    client::{self, InHead},
    problem::{OAuthError, Presented, Problem},
    reply::Reply,
    request_id::{REQUEST_ID, RequestIds},
    router::{Ask, Content, Errors, Found, Reads, Route, Router},
    routes,
    server::{Facts, Late, Request},
};
use crate::{
    app::{App, Snapshot},
    metrics::RouteName,
    rules::access::{Authorized, Right},
};

/// The HTTP surface of a daemon.
pub struct Surface {
    app: Arc<App>,
    router: Router,
    ids: RequestIds,
}

impl Surface {
    /// The surface of `app`.
    pub fn new(app: Arc<App>) -> Self {
        let router = Router::new(routes::ALL);
        let names = router.routes().iter();
        app.metrics().name_routes(names.map(|route| RouteName { path: route.path, verb: route.verb.name() }));
        Self { app, router, ids: RequestIds::default() }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Reply {
        let Request { parts, body, from: facts, late } = request;
        // It is handed on from step to step: as a pointer, since it is large.
        let head = Box::new(parts);
        let began = Instant::now();
        let id = self.ids.of(&head);
        let method = head.method.clone();
        let found = self.router.find(method.as_str(), head.uri.path());
        let place = match &found {
            Found::Route { place, .. } => Some(*place),
            Found::OtherMethods | Found::Nothing => None,
        };
        let underway = Underway { surface: self, place, method, id, began, late };
        let reply = match found {
            Found::Route { place, captured } => self.route(place, captured, head, body, facts).await,
            Found::OtherMethods => {
                let allow = self.router.allowed(head.uri.path()).into();
                Problem::MethodNotAllowed { allow }.into()
            }
            Found::Nothing => Problem::NotFound.into(),
        };
        underway.answered(reply.status());
        reply.header(REQUEST_ID, underway.id.clone())
    }

    async fn route(
        &self,
        place: usize,
        captured: Vec<String>,
        head: Box<Parts>,
        body: RequestBody,
        facts: Facts,
    ) -> Reply {
        let Some(route) = self.router.at(place) else { return Problem::NotFound.into() };
        match self.run(route, captured, head, body, facts).await {
            Ok(reply) => reply,
            Err(problem) => match route.errors {
                Errors::Problem => problem.into(),
                Errors::OAuth => OAuthError::from(problem).into(),
            },
        }
    }

    async fn run(
        &self,
        route: &'static Route,
        path: Vec<String>,
        head: Box<Parts>,
        body: RequestBody,
        facts: Facts,
    ) -> Result<Reply, Problem> {
        if matches!(route.reads, Reads::ClientForm) {
            return self.run_for_client(route, path, head, body, facts).await;
        }
        let snapshot = self.app.snapshot();
        let who = self.authorized(route, &snapshot, &head, &facts).await?;
        let query = match route.query {
            Some(known) => {
                let names: Vec<&str> = known.iter().map(|known| known.name).collect();
                Query::parse(head.uri.query(), &names)?
            }
            None => Query::empty(),
        };
        let content = read(route, &snapshot, &head, body).await?;
        let asked = Asked { path, query, content, head, facts };
        (route.run)(self.ask(who, asked)).await
    }

    /// The same for a route that OAuth clients ask: their name and secret may stand in the head or in the
    /// form, which therefore has to be read before it is known who is calling.
    async fn run_for_client(
        &self,
        route: &'static Route,
        path: Vec<String>,
        head: Box<Parts>,
        body: RequestBody,
        facts: Facts,
    ) -> Result<Reply, Problem> {
        let app = &self.app;
        let snapshot = app.snapshot();
        let in_head = client::of_head(app, &snapshot, route.right, &head, &facts).await?;
        let form = Form::read(&head.headers, body, snapshot.settings.limits.body_bytes).await;
        let (caller, form) = match (in_head, form) {
            // Without a form there is no client in it: whoever needs to be somebody is nobody.
            (InHead::Nobody(_), Err(Problem::UnsupportedMediaType)) if route.right != Right::Open => {
                return Err(Problem::Unauthenticated(Presented::Nothing));
            }
            (_, Err(problem)) => return Err(problem),
            (InHead::Somebody(caller), Ok(form)) => {
                client::judge_single(&form)?;
                (caller, form)
            }
            (InHead::Local(caller), Ok(mut form)) => {
                client::of_form(app, &app.snapshot(), &mut form, None).await?;
                (caller, form)
            }
            (InHead::Nobody(ip), Ok(mut form)) => {
                (client::of_form(app, &app.snapshot(), &mut form, ip).await?, form)
            }
        };
        let who = app.authorize(route.right, caller)?;
        let asked = Asked { path, query: Query::empty(), content: Content::Form(form), head, facts };
        (route.run)(self.ask(who, asked)).await
    }

    /// What a handler gets. Its snapshot is taken now: reading the body may have taken long, and what is
    /// presented in it is judged by the keys and secrets of today.
    fn ask(&self, who: Authorized, asked: Asked) -> Ask {
        let Asked { path, query, content, head, facts } = asked;
        let (app, snapshot) = (Arc::clone(&self.app), self.app.snapshot());
        Ask { app, snapshot, who, path, query, content, head, facts }
    }

    /// The caller, found to have the route's right. A route that is open looks at no credential: what it
    /// needs it reads itself.
    async fn authorized(
        &self,
        route: &Route,
        snapshot: &Arc<Snapshot>,
        head: &Parts,
        facts: &Facts,
    ) -> Result<Authorized, Problem> {
        let caller = match (route.right, route.reads) {
            (Right::Open, _) => caller::of_open(snapshot, head, facts),
            (right, Reads::Batch(_)) => {
                client::of_head(&self.app, snapshot, right, head, facts).await?.into_caller()
            }
            (right, _) => caller::of(&self.app, snapshot, right, head, facts).await?,
        };
        Ok(self.app.authorize(route.right, caller)?)
    }
}

/// A request that has no answer yet. If it is dropped, since it takes too long, its answer is told all the same.
struct Underway<'s> {
    surface: &'s Surface,
    place: Option<usize>,
    method: Method,
    id: HeaderValue,
    began: Instant,
    late: Late,
}

impl Underway<'_> {
    /// Counts the answer and tells the log.
    fn answered(&self, status: StatusCode) {
        let Self { surface, place, method, id, began, .. } = self;
        let took = began.elapsed();
        surface.app.metrics().answered(*place, method.as_str(), status.as_u16(), took);
        tracing::debug!(
            request = id.to_str().ok(),
            method = method.as_str(),
            route = place.and_then(|place| surface.router.at(place)).map_or("", |route| route.path),
            status = status.as_u16(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(status) = self.late.get() {
            self.answered(*status);
        }
    }
}

/// What was read of a request.
struct Asked {
    path: Vec<String>,
    query: Query,
    content: Content,
    head: Box<Parts>,
    facts: Facts,
}

/// Reads what the route reads of a body, within its limit.
async fn read(
    route: &Route,
    snapshot: &Snapshot,
    head: &Parts,
    body: RequestBody,
) -> Result<Content, Problem> {
    let limits = &snapshot.settings.limits;
    Ok(match route.reads {
        Reads::Nothing => Content::Nothing,
        Reads::Json(shape) => Content::Json(shape.read(&head.headers, body, limits.body_bytes).await?),
        Reads::Batch(shape) => Content::Json(shape.read(&head.headers, body, limits.batch_body_bytes).await?),
        Reads::Object => Content::Object(read_object(&head.headers, body, limits.body_bytes).await?),
        Reads::Form | Reads::ClientForm => {
            Content::Form(Form::read(&head.headers, body, limits.body_bytes).await?)
        }
        Reads::Late(_) | Reads::Stream => Content::Stream(body),
    })
}
