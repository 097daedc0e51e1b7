//! The properties that the fuzz targets assert and that `cargo test` replays over their corpora.
//!
//! Each is a function of bytes that panics when a property does not hold. What a property compares with is
//! written here a second time, as plainly as can be, and shares no code with what it checks.

use serde_json::Value;

#[path = "oracles/credentials.rs"]
mod credentials;
#[path = "oracles/files.rs"]
mod files;
#[path = "oracles/ground.rs"]
mod ground;
#[path = "oracles/heads.rs"]
mod heads;
#[path = "oracles/imports.rs"]
mod imports;
#[path = "oracles/lives.rs"]
mod lives;
#[path = "oracles/names.rs"]
mod names;
#[path = "oracles/operations.rs"]
mod operations;
#[path = "oracles/requests.rs"]
mod requests;
#[path = "oracles/served.rs"]
mod served;
#[path = "oracles/stored.rs"]
mod stored;
#[path = "oracles/values.rs"]
mod values;

pub use credentials::{bearer, cookie, envelope, jwt, token_text};
pub use files::{configuration, env_file, keyring_file, secret_file};
pub use heads::sender;
pub use imports::import_lines;
pub use lives::lives;
pub use names::names;
pub use operations::operations;
pub use requests::{form_and_query, json_body, request_head, whole_request};
pub use served::served_request;
pub use stored::{expiry, stored_records};
pub use values::{cursors, forwarded, redirect, rfc3339_times};

/// What a target asserts of its input.
pub type Oracle = fn(&[u8]);

/// Each fuzz target by name, with the property that it asserts.
pub const TARGETS: &[(&str, Oracle)] = &[
    ("bearer", bearer),
    ("configuration", configuration),
    ("cookie", cookie),
    ("cursors", cursors),
    ("env_file", env_file),
    ("envelope", envelope),
    ("expiry", expiry),
    ("form_and_query", form_and_query),
    ("forwarded", forwarded),
    ("import_lines", import_lines),
    ("json_body", json_body),
    ("jwt", jwt),
    ("keyring_file", keyring_file),
    ("lives", lives),
    ("names", names),
    ("operations", operations),
    ("redirect", redirect),
    ("request_head", request_head),
    ("rfc3339_times", rfc3339_times),
    ("secret_file", secret_file),
    ("sender", sender),
    ("served_request", served_request),
    ("stored_records", stored_records),
    ("token_text", token_text),
    ("whole_request", whole_request),
];

/// Panics unless `text`, an error or a log line, holds no word of a file or request that looks like a secret:
/// one of eight characters with a `+` or `~`, which no message of ours has.
fn assert_quotes_no_secret(message: &str, input: &[u8]) {
    for word in input.split(|byte| !byte.is_ascii_graphic()).filter(|word| word.len() >= 8) {
        if let Ok(word) = core::str::from_utf8(word)
            && word.contains(['+', '~'])
        {
            assert!(!message.contains(word), "a message quotes the input");
        }
    }
}

/// With a mark in every text, by which it is known if it is repeated.
fn marked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(format!("CANARY{text}")),
        Value::Array(items) => items.into_iter().map(marked).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, marked(value))).collect())
        }
        other => other,
    }
}

/// `genuine` with bytes exchanged: each pair of `edits` is a place and what to change there. None if nothing
/// is different then.
fn mangled(genuine: &[u8], edits: &[u8]) -> Option<Vec<u8>> {
    let mut other = genuine.to_vec();
    for edit in edits.chunks_exact(2) {
        let at = usize::from(edit[0]) % other.len().max(1);
        if let Some(byte) = other.get_mut(at) {
            *byte ^= edit[1];
        }
    }
    if edits.len() % 2 == 1 {
        other.truncate(usize::from(edits[edits.len() - 1]));
    }
    (other != genuine).then_some(other)
}
