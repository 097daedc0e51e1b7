//! `bearerd import`: JSON lines of another system's tokens, portion by portion.
//!
//! A file is read through before anything is sent, so that a broken line in its middle takes nothing in. What
//! comes by standard input is judged portion by portion; each is taken in whole or not at all.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::Path,
};

use serde_json::{Value, json};

use super::{Common, Stop, ask::good, client::Client, output};
use crate::{
    http::{body::json_object, time::parse_rfc3339},
    rules::import::{IMPORT_LINES_MAX, Line},
};

/// Takes in what `file` holds.
pub(super) fn run(common: &Common, file: &Path, dry_run: bool) -> Result<(), Stop> {
    let unreadable = |error: io::Error| Stop::failed(format!("{}: {error}", file.display()));
    let client = common.client()?;
    let mut import =
        Import { client, dry_run, lines_before: 0, tokens: 0, owners: 0, duplicates: Vec::new() };
    if file == Path::new("-") {
        import.all(io::stdin().lock())?;
    } else {
        judge(BufReader::new(File::open(file).map_err(unreadable)?))?;
        import.all(BufReader::new(File::open(file).map_err(unreadable)?))?;
    }
    let Import { tokens, owners, duplicates, .. } = import;
    let shown = json!({"tokens": tokens, "owners": owners, "duplicates": duplicates, "dry_run": dry_run});
    let would = if dry_run { "would be " } else { "" };
    if !common.json {
        for line in &duplicates {
            output::tell(&format!("line {line}: is known already"));
        }
    }
    let said = format!(
        "{tokens} tokens {would}taken in, {owners} owners {would}made, {} known already",
        duplicates.len()
    );
    common.done(&shown, &said)
}

/// Reads every line; stops at the first that is not one.
fn judge(lines: impl BufRead) -> Result<(), Stop> {
    for (at, line) in lines.lines().enumerate() {
        let line = line.map_err(|error| Stop::failed(format!("line {}: {error}", at + 1)))?;
        if line.trim().is_empty() {
            continue;
        }
        let read = match json_object(line.as_bytes()) {
            Ok(members) => Line::read(members, parse_rfc3339).map_err(|refusal| refusal.to_string()),
            Err(_) => Err("is not a JSON object".to_owned()),
        };
        read.map_err(|what| Stop::failed(format!("line {}: {what}; nothing was taken in", at + 1)))?;
    }
    Ok(())
}

struct Import {
    client: Client,
    dry_run: bool,
    lines_before: usize,
    tokens: u64,
    owners: u64,
    duplicates: Vec<usize>,
}

impl Import {
    fn all(&mut self, lines: impl BufRead) -> Result<(), Stop> {
        let mut portion = Vec::new();
        let mut count = 0;
        for line in lines.lines() {
            let line = line.map_err(|error| Stop::failed(error.to_string()))?;
            portion.extend_from_slice(line.as_bytes());
            portion.push(b'\n');
            count += 1;
            if count == IMPORT_LINES_MAX {
                self.portion(std::mem::take(&mut portion), count)?;
                count = 0;
            }
        }
        if count > 0 { self.portion(portion, count) } else { Ok(()) }
    }

    fn portion(&mut self, lines: Vec<u8>, count: usize) -> Result<(), Stop> {
        let target = if self.dry_run { "/v1/admin/import?dry_run=true" } else { "/v1/admin/import" };
        let answer = self.client.post(target, "application/jsonl", lines)?;
        let answer = good(answer).map_err(|stop| Stop {
            says: format!(
                "{} (lines are counted from {}; {} tokens were taken in before)",
                stop.says,
                self.lines_before + 1,
                self.tokens
            ),
            ..stop
        })?;
        let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        self.tokens += number("tokens");
        self.owners += number("owners");
        let known = answer.get("duplicates").and_then(Value::as_array).into_iter().flatten();
        let known = known.filter_map(Value::as_u64).filter_map(|line| usize::try_from(line).ok());
        self.duplicates.extend(known.map(|line| line + self.lines_before));
        self.lines_before += count;
        if io::stderr().is_terminal() {
            output::tell(&format!("{} lines", self.lines_before));
        }
        Ok(())
    }
}
