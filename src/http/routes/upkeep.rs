//! Backup, export and check of the audit log, import, compacting: what is done to the store as a whole.
//!
//! The streams have a limit on standing still instead of one on the whole.

use std::sync::Arc;

use hyper::{StatusCode, body::Bytes, header::HeaderName};
use serde::Serialize;

use crate::{
    app::{
        App,
        upkeep::{self, BackedUp},
    },
    http::{
        problem::Problem,
        reply::{Outflow, Reply},
        router::{Answer, Ask, Errors, Reads, Route, Verb},
        routes::audit::EntryShown,
    },
    rules::access::Right,
    token::KeyId,
};

/// Says which root keys a backup needs, separated by commas: first the one that its own key is sealed under.
const NEEDS_KEYS: HeaderName = HeaderName::from_static("x-backup-needs-keys");
/// Says how many bytes a backup has.
const BACKUP_BYTES: HeaderName = HeaderName::from_static("x-backup-bytes");

/// The routes.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/admin/backup",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Octets", means: "the backup, as a stream" }],
        summary: "Back up the store as of now",
        run: |ask| Box::pin(backup(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/admin/audit/export",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer {
            status: 200,
            schema: "Lines",
            means: "one entry a line, oldest first, as a stream",
        }],
        summary: "Export the audit log as JSON lines",
        run: |ask| Box::pin(export(ask)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/admin/audit/verify",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "AuditChain", means: "whether the chain holds" }],
        summary: "Check the audit log's chain",
        run: |ask| Box::pin(chain(ask)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/admin/compact",
        right: Right::Administrate,
        query: Some(&[]),
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: &[Answer { status: 200, schema: "Compacted", means: "the file's size before and after" }],
        summary: "Give unused space back to the file system",
        run: |ask| Box::pin(compact(ask)),
    },
];

#[derive(Serialize)]
struct ChainShown {
    holds: bool,
    entries: u64,
    head: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct CompactedShown {
    bytes_before: u64,
    bytes_after: u64,
}

async fn backup(ask: Ask) -> Result<Reply, Problem> {
    let BackedUp { reader, needs_keys } = ask.app.backup(&ask.who).await?;
    let bytes = reader.backup().bytes;
    let (reply, out) = Reply::stream("application/octet-stream");
    tokio::task::spawn_blocking(move || {
        if upkeep::pieces(reader, &mut |piece| out.send_blocking(piece).is_ok()) {
            out.finish();
        }
    });
    let names: Vec<&str> = needs_keys.iter().map(KeyId::as_str).collect();
    Ok(reply.header(BACKUP_BYTES, bytes.into()).said(NEEDS_KEYS, &names.join(",")).no_store())
}

async fn export(ask: Ask) -> Result<Reply, Problem> {
    let (reply, out) = Reply::stream("application/jsonl");
    let app = Arc::clone(&ask.app);
    tokio::task::spawn_blocking(move || export_all(&app, out));
    Ok(reply.no_store())
}

/// Hands on the whole log; a reader who goes away, or a store that cannot be read, leaves the stream cut
/// short, which its reader sees.
fn export_all(app: &App, out: Outflow) {
    let mut seq = 0;
    loop {
        let entries = match app.audit_after(seq) {
            Ok(entries) => entries,
            Err(failure) => {
                tracing::error!(%failure, "the audit log could not be exported");
                return;
            }
        };
        let Some(last) = entries.last() else { break };
        seq = last.seq;
        let mut lines = Vec::new();
        for entry in &entries {
            if serde_json::to_writer(&mut lines, &EntryShown::of(entry)).is_err() {
                return;
            }
            lines.push(b'\n');
        }
        if out.send_blocking(Bytes::from(lines)).is_err() {
            return;
        }
    }
    out.finish();
}

async fn chain(ask: Ask) -> Result<Reply, Problem> {
    let chain = ask.app.check_audit().await?;
    let (holds, entries, error) = match chain.outcome {
        Ok(entries) => (true, entries, None),
        Err(broken) => (false, 0, Some(broken.to_string())),
    };
    Ok(Reply::json(StatusCode::OK, &ChainShown { holds, entries, head: chain.head, error }))
}

async fn compact(ask: Ask) -> Result<Reply, Problem> {
    let compacted = ask.app.compact(ask.who.by()).await?;
    let shown = CompactedShown { bytes_before: compacted.bytes_before, bytes_after: compacted.bytes_after };
    Ok(Reply::json(StatusCode::OK, &shown))
}
