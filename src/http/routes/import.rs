//! `/v1/admin/import`: tokens of another system, as JSON lines.

use hyper::StatusCode;
use serde::Serialize;

use crate::{
    http::{
        body::json_object,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Content, Errors, Parameter, Reads, Route, Verb},
        time::parse_rfc3339,
    },
    rules::{
        access::Right,
        import::{IMPORT_LINES_MAX, Line},
    },
};

/// The largest portion, in bytes.
const PORTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The route.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/v1/admin/import",
    right: Right::Administrate,
    query: Some(&[Parameter {
        name: "dry_run",
        doc: "`true` to change nothing and say what would come of it",
    }]),
    reads: Reads::Stream,
    errors: Errors::Problem,
    answers: &[Answer { status: 200, schema: "Imported", means: "what came of the portion" }],
    summary: "Take in tokens that another system issued, as JSON lines",
    run: |ask| Box::pin(import(ask)),
}];

#[derive(Serialize)]
struct ImportedShown {
    tokens: u64,
    owners: u64,
    duplicates: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_owners: Option<Vec<String>>,
}

async fn import(mut ask: Ask) -> Result<Reply, Problem> {
    let dry = match ask.query.text("dry_run") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::field("dry_run", "must be true or false")),
    };
    let Content::Stream(body) = std::mem::replace(&mut ask.content, Content::Nothing) else {
        return Err(Problem::InvalidJson);
    };
    let text = body.read(PORTION_BYTES_MAX).await?;
    let mut lines = Vec::new();
    for (at, line) in
        text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty())
    {
        lines.push(read(line).map_err(|what| Problem::field(format!("line {}", at + 1), what))?);
        if lines.len() > IMPORT_LINES_MAX {
            return Err(Problem::TooLarge);
        }
    }
    let imported = ask.app.import(&ask.who, lines, dry).await?;
    let shown = ImportedShown {
        tokens: imported.tokens,
        owners: imported.owners,
        duplicates: imported.duplicates.into_iter().map(|at| at + 1).collect(),
        new_owners: dry.then_some(imported.new_owners),
    };
    Ok(Reply::json(StatusCode::OK, &shown))
}

/// One line, or what is wrong with it.
fn read(line: &[u8]) -> Result<Line, String> {
    let members = json_object(line).map_err(|_| "is not a JSON object".to_owned())?;
    Line::read(members, parse_rfc3339).map_err(|refusal| refusal.to_string())
}
