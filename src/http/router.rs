//! The table of routes, and the one way a request walks: found, authorised, read, run, answered.
//!
//! A [`Route`] says everything about itself: method, path, the right it needs, what it reads, what it
//! answers. The router does the rest, in one order for all of them, so that no handler can forget a step;
//! `/openapi.json` is made from the same table. Paths are matched as they were sent: a percent-encoded
//! spelling of a route is not that route.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use hyper::http::request::Parts;

use super::{
    body::{Body, Form, Query, RequestBody, Shape},
    problem::Problem,
    reply::Reply,
    server::Facts,
};
use crate::{
    app::{App, Snapshot},
    rules::access::{Authorized, Right},
};

/// The methods that routes answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Also answers HEAD, without the body.
    Get,
    /// Makes something.
    Post,
    /// Puts something in its place.
    Put,
    /// Changes something.
    Patch,
    /// Ends something.
    Delete,
    /// Every method: the proxies' question, which keeps the method that is being asked about.
    Any,
}

impl Verb {
    /// As it stands in `Allow`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Any => "*",
        }
    }

    fn takes(self, method: &str) -> bool {
        self == Self::Any || self.name() == method || (self == Self::Get && method == "HEAD")
    }
}

/// What a route reads beside its path.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    /// No body; one that is sent is not looked at.
    Nothing,
    /// A JSON object of this shape.
    Json(&'static Shape),
    /// A JSON object of this shape, within the larger limit of batches; from OAuth clients by HTTP Basic too.
    Batch(&'static Shape),
    /// The same, read by the handler once it has found that there is any use in it: an answer that hangs on
    /// the state of things alone is not to hang on the shape of the body.
    Late(&'static Shape),
    /// A JSON object of the caller's own making.
    Object,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// The same for OAuth clients, which may send a name and a secret of their own in it, or by HTTP Basic:
    /// they count as the caller's credential here, and one that is wrong is refused even where none is needed.
    ClientForm,
    /// The raw stream, within a limit of the handler's own: only over the admin socket.
    Stream,
}

/// One kind of answer of a route, for the API's description.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The name of the schema of its body, or "" for none.
    pub schema: &'static str,
    /// When it is given.
    pub means: &'static str,
}

/// How a route words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// RFC 9457.
    Problem,
    /// RFC 6749, for OAuth clients.
    OAuth,
}

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    /// The method.
    pub verb: Verb,
    /// The path; `{name}` takes one segment, `{name...}` at the end whatever follows.
    pub path: &'static str,
    /// What its caller needs.
    pub right: Right,
    /// The parameters of its query; a list's `limit` and `cursor` among them. `None`: whatever is sent is
    /// ignored.
    pub query: Option<&'static [Parameter]>,
    /// What else it reads.
    pub reads: Reads,
    /// How it words its errors.
    pub errors: Errors,
    /// Its good answers.
    pub answers: &'static [Answer],
    /// One line about it.
    pub summary: &'static str,
    /// What it does.
    pub run: Handler,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A handler: takes the request, promises a reply.
pub type Handler = fn(Ask) -> Answering;

/// What a handler promises.
pub type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// What was read of the body.
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// Fields of a shape.
    Json(Body),
    /// An object of the caller's own making.
    Object(serde_json::Map<String, serde_json::Value>),
    /// A form.
    Form(Form),
    /// Not read yet.
    Stream(RequestBody),
}

/// A request that was found to be allowed, as its handler sees it.
pub struct Ask {
    /// The daemon.
    pub app: Arc<App>,
    /// Settings, keys and secrets as they were when the request came.
    pub snapshot: Arc<Snapshot>,
    /// Who asks, found to have the route's right.
    pub who: Authorized,
    /// The segments that the path's placeholders took, in order.
    pub path: Vec<String>,
    /// The parameters of the query that the route takes.
    pub query: Query,
    /// The body.
    pub content: Content,
    /// The head.
    pub head: Box<Parts>,
    /// About the connection.
    pub facts: Facts,
}

impl Ask {
    /// The segment that the path's only or first placeholder took.
    pub fn segment(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The fields of the body, taken out; none where the route reads another kind of body.
    pub fn json(&mut self) -> Body {
        match std::mem::replace(&mut self.content, Content::Nothing) {
            Content::Json(body) => body,
            Content::Nothing | Content::Object(_) | Content::Form(_) | Content::Stream(_) => Body::empty(),
        }
    }

    /// The fields of a body that is still under way, where the route leaves the reading to its handler.
    pub async fn late_json(&mut self, shape: &Shape) -> Result<Body, Problem> {
        match std::mem::replace(&mut self.content, Content::Nothing) {
            Content::Stream(body) => {
                shape.read(&self.head.headers, body, self.snapshot.settings.limits.body_bytes).await
            }
            Content::Nothing | Content::Json(_) | Content::Object(_) | Content::Form(_) => Ok(Body::empty()),
        }
    }

    /// The form, taken out; an empty one where the route reads another kind of body.
    pub fn form(&mut self) -> Form {
        match std::mem::replace(&mut self.content, Content::Nothing) {
            Content::Form(form) => form,
            Content::Nothing | Content::Json(_) | Content::Object(_) | Content::Stream(_) => Form::empty(),
        }
    }

    /// The object of the caller's own making.
    pub fn object(&mut self) -> serde_json::Map<String, serde_json::Value> {
        match std::mem::replace(&mut self.content, Content::Nothing) {
            Content::Object(object) => object,
            Content::Nothing | Content::Json(_) | Content::Form(_) | Content::Stream(_) => {
                serde_json::Map::new()
            }
        }
    }
}

/// Which route a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    Route {
        /// Its place in the table.
        place: usize,
        /// What the path's placeholders took, in order.
        captured: Vec<String>,
    },
    /// None of that method; others are answered there.
    OtherMethods,
    /// None of that path.
    Nothing,
}

/// All routes.
pub struct Router {
    routes: Vec<&'static Route>,
    /// The places of the routes of each path that has no placeholder: most requests are found here at once.
    named: HashMap<&'static str, Vec<usize>>,
    /// The places of the others.
    patterns: Vec<usize>,
}

impl Router {
    /// Over the table of `routes`.
    pub fn new(tables: &[&'static [Route]]) -> Self {
        let routes: Vec<&'static Route> = tables.iter().copied().flatten().collect();
        let mut named: HashMap<&'static str, Vec<usize>> = HashMap::new();
        let mut patterns = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            if route.path.contains('{') {
                patterns.push(place);
            } else {
                named.entry(route.path).or_default().push(place);
            }
        }
        Self { routes, named, patterns }
    }

    /// Every route, in the order of the table.
    pub fn routes(&self) -> &[&'static Route] {
        &self.routes
    }

    /// The route at a place of the table.
    pub fn at(&self, place: usize) -> Option<&'static Route> {
        self.routes.get(place).copied()
    }

    /// The route of `method` and `path`. A path that stands in the table as it is goes before one with
    /// placeholders, whatever the method.
    pub fn find(&self, method: &str, path: &str) -> Found {
        let takes = |place: &usize| self.at(*place).is_some_and(|route| route.verb.takes(method));
        if let Some(places) = self.named.get(path) {
            return match places.iter().copied().find(takes) {
                Some(place) => Found::Route { place, captured: Vec::new() },
                None => Found::OtherMethods,
            };
        }
        let mut found = Found::Nothing;
        for (place, captured) in self.fitting(path) {
            if takes(&place) {
                let captured = captured.into_iter().map(str::to_owned).collect();
                return Found::Route { place, captured };
            }
            found = Found::OtherMethods;
        }
        found
    }

    /// What `Allow` says of `path`.
    pub fn allowed(&self, path: &str) -> String {
        let places = match self.named.get(path) {
            Some(places) => places.clone(),
            None => self.fitting(path).map(|(place, _)| place).collect(),
        };
        let mut names: Vec<&str> = Vec::new();
        for route in places.into_iter().filter_map(|place| self.at(place)) {
            names.push(route.verb.name());
            if route.verb == Verb::Get {
                names.push("HEAD");
            }
        }
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// The routes with placeholders that fit `path`, with what those take of it.
    fn fitting<'p>(&self, path: &'p str) -> impl Iterator<Item = (usize, Vec<&'p str>)> {
        self.patterns.iter().filter_map(move |place| Some((*place, matched(self.at(*place)?.path, path)?)))
    }
}

/// What the placeholders of `pattern` take of `path`; none where it is another path.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut captured = Vec::new();
    let mut wanted = pattern.split('/');
    let mut given = path;
    loop {
        let (segment, rest) = match given.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (given, None),
        };
        let want = wanted.next()?;
        if want.starts_with('{') {
            if want.ends_with("...}") {
                captured.push(given);
                return Some(captured);
            }
            if segment.is_empty() {
                return None;
            }
            captured.push(segment);
        } else if want != segment {
            return None;
        }
        match rest {
            Some(rest) => given = rest,
            None => return wanted.next().is_none().then_some(captured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Router, Verb, matched};

    #[track_caller]
    fn check(pattern: &str, path: &str, captured: Option<&[&str]>) {
        assert_eq!(matched(pattern, path).as_deref(), captured, "{pattern} {path}");
    }

    #[test]
    fn a_placeholder_takes_one_segment_and_never_an_empty_one() {
        check("/v1/tokens", "/v1/tokens", Some(&[]));
        check("/v1/tokens", "/v1/tokens/", None);
        check("/v1/tokens", "/v1/Tokens", None);
        check("/v1/tokens", "//v1/tokens", None);
        check("/v1/tokens/{id}", "/v1/tokens/x", Some(&["x"]));
        check("/v1/tokens/{id}", "/v1/tokens/", None);
        check("/v1/tokens/{id}", "/v1/tokens", None);
        check("/v1/tokens/{id}/rotate", "/v1/tokens/x/rotate", Some(&["x"]));
        check("/v1/tokens/{id}/rotate", "/v1/tokens/x/rotate/y", None);
    }

    #[test]
    fn a_path_that_is_named_is_not_one_of_a_placeholder() {
        let router = Router::new(crate::http::routes::ALL);
        let path = "/v1/admin/tokens/revoke";
        assert!(matches!(router.find("POST", path), Found::Route { .. }));
        assert_eq!(router.find("DELETE", path), Found::OtherMethods);
        assert_eq!(router.allowed(path), "POST");
        assert!(matches!(router.find("DELETE", "/v1/admin/tokens/x"), Found::Route { .. }));
    }

    #[test]
    fn every_route_is_found_by_its_own_method_and_path_and_no_other_is() {
        let router = Router::new(crate::http::routes::ALL);
        for (place, route) in router.routes().iter().enumerate() {
            let method = if route.verb == Verb::Any { "PROPFIND" } else { route.verb.name() };
            let segments = route.path.split('/');
            let path: Vec<&str> =
                segments.map(|word| if word.starts_with('{') { "x" } else { word }).collect();
            let taken = path.iter().filter(|word| **word == "x").map(|word| (*word).to_owned()).collect();
            let path = path.join("/");
            assert_eq!(
                router.find(method, &path),
                Found::Route { place, captured: taken },
                "{method} {path}"
            );
            assert_eq!(router.find(method, &format!("/x{path}")), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn a_trailing_placeholder_takes_whatever_follows() {
        check("/a/{p}/{rest...}", "/a/x/b/../c//", Some(&["x", "b/../c//"]));
        check("/a/{p}/{rest...}", "/a/x/", Some(&["x", ""]));
        check("/a/{p}/{rest...}", "/a/x", None);
    }
}
