//! `/v1/projects/{project}/…`: which client a project belongs to, and previews of its portal.

use hyper::StatusCode;
use serde::Serialize;

use super::{clients::ClientShown, shown::Shown};
use crate::{
    http::{
        body::{Field, Kind, Shape},
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
    },
    rules::{
        access::Right,
        limits::LINE_BYTES_MAX,
        projects::{ProjectName, Wanted},
    },
    token::ClientId,
};

/// The routes of projects.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Put,
        path: "/v1/projects/{project}/client",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&ASSIGN),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "ProjectClient", means: "whose project it is now" }],
        summary: "Give a project a client",
        run: |ask| Box::pin(assign(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/projects/{project}/preview",
        right: Right::Operate,
        query: Some(&[]),
        reads: Reads::Json(&PREVIEW),
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Preview", means: "a cookie, and where to go with it" }],
        summary: "See a project's portal as its client does",
        run: |ask| Box::pin(preview(ask)),
    },
];

const ASSIGN: Shape = Shape(&[Field::required(
    "client_id",
    Kind::Text { bytes_max: LINE_BYTES_MAX },
    "the client that the project belongs to",
)]);

const PREVIEW: Shape = Shape(&[
    Field::nullable(
        "name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "the project's name for people; what a client that has to be made is called without client_name",
    ),
    Field::nullable(
        "client_name",
        Kind::Text { bytes_max: LINE_BYTES_MAX },
        "what a client that has to be made is called",
    ),
]);

#[derive(Serialize)]
struct ProjectClientShown<'p> {
    project: &'p str,
    client: ClientShown,
}

#[derive(Serialize)]
struct PreviewShown {
    client: ClientShown,
    link_id: String,
    cookie: Shown,
    url: String,
    created: bool,
}

/// The project that a path names, percent-decoded.
fn project(ask: &Ask) -> Result<ProjectName, Problem> {
    let decoded = decoded(ask.segment()).ok_or_else(|| {
        Problem::field("project", "must be UTF-8, percent-encoded where a path does not hold it")
    })?;
    Ok(ProjectName::parse(&decoded)?)
}

/// A segment of a path without its percent-encoding (RFC 3986 section 2.1).
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

async fn assign(mut ask: Ask) -> Result<Reply, Problem> {
    let project = project(&ask)?;
    let client: String = ask.json().need("client_id")?;
    let client =
        ClientId::parse(&client).map_err(|_| Problem::field("client_id", "must be the id of a client"))?;
    let client = ask.app.assign_project(&ask.who, project.clone(), client).await?;
    let shown = ProjectClientShown { project: project.as_str(), client: ClientShown::of(client) };
    Ok(Reply::json(StatusCode::OK, &shown))
}

async fn preview(mut ask: Ask) -> Result<Reply, Problem> {
    let project = project(&ask)?;
    let mut body = ask.json();
    let (name, client_name): (Option<String>, Option<String>) = (body.take("name"), body.take("client_name"));
    let wanted = Wanted::judge(name.as_deref(), client_name.as_deref())?;
    let prepared = ask.app.preview(&ask.who, project, wanted).await?;
    let shown = PreviewShown {
        client: ClientShown::of(prepared.preview.client),
        link_id: prepared.preview.link.id.to_string(),
        cookie: Shown(prepared.preview.cookie),
        url: prepared.url,
        created: prepared.preview.created,
    };
    Ok(Reply::json(StatusCode::OK, &shown).no_store())
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_segment_is_decoded_once_and_strictly() {
        for (segment, text) in [
            ("a-b.c_d~e", Some("a-b.c_d~e")),
            ("a%20b", Some("a b")),
            ("%C3%BC", Some("ü")),
            ("%c3%bc", Some("ü")),
            ("a%2Fb", Some("a/b")),
            ("%2525", Some("%25")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(segment).as_deref(), text, "{segment}");
        }
    }
}
