//! `bearerd import`: JSON lines of another system's tokens, portion by portion.
//!
//! A file is read through before anything is sent, so that a broken line in its middle takes nothing in. What can be
//! read but once, standard input or a pipe, is judged portion by portion; each is taken in whole or not at all.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Seek},
    path::Path,
};

use serde_json::{Value, json};

use super::{Common, Stop, ask::good, client::Client, output};
use crate::{
    http::{body::json_object, time::parse_rfc3339},
    rules::import::{IMPORT_LINES_MAX, Line},
};

/// Lines that are named as known already, for people; the rest are only counted.
const KNOWN_LINES_TOLD: usize = 20;

/// Takes in what `file` holds. It is opened once: a pipe gives what it holds to its first reader alone.
pub(super) fn run(common: &Common, file: &Path, dry_run: bool) -> Result<(), Stop> {
    let unreadable = |error: io::Error| Stop::of_file(file, &error);
    let mut import = Import::new(common.client()?, dry_run);
    let outcome = if file == Path::new("-") {
        import.all(io::stdin().lock())
    } else {
        let mut lines = BufReader::new(File::open(file).map_err(unreadable)?);
        let kind = lines.get_ref().metadata().map_err(unreadable)?.file_type();
        if kind.is_dir() {
            let says = format!("{} is a folder; name the file with the lines", file.display());
            return Err(Stop::failed(says));
        }
        if kind.is_file() {
            import.judge(&mut lines)?;
            lines.rewind().map_err(unreadable)?;
        }
        import.all(lines)
    };
    import.progress.end();
    outcome?;
    import.tell(common)
}

struct Import {
    client: Client,
    dry_run: bool,
    progress: output::Progress,
    /// How many lines there are; none where that cannot be known.
    lines: Option<u64>,
    lines_before: usize,
    tokens: u64,
    owners: u64,
    duplicates: Vec<usize>,
    /// Of a dry run, what the portions before would have taken in: the beginnings of the hashes, and the owners.
    seen: HashSet<[u8; 16]>,
    made: HashSet<String>,
}

impl Import {
    fn new(client: Client, dry_run: bool) -> Self {
        Self {
            client,
            dry_run,
            progress: output::Progress::default(),
            lines: None,
            lines_before: 0,
            tokens: 0,
            owners: 0,
            duplicates: Vec::new(),
            seen: HashSet::new(),
            made: HashSet::new(),
        }
    }

    /// Reads every line; stops at the first that is not one.
    fn judge(&mut self, lines: impl BufRead) -> Result<(), Stop> {
        let mut count: u64 = 0;
        for line in lines.split(b'\n') {
            count += 1;
            let line = line.map_err(|error| Stop::failed(format!("line {count}: {error}")))?;
            read(&line)
                .map_err(|what| Stop::failed(format!("line {count}: {what}; nothing was taken in")))?;
            self.progress.count("lines read", count, None);
        }
        self.progress.end();
        self.lines = Some(count);
        Ok(())
    }

    fn all(&mut self, lines: impl BufRead) -> Result<(), Stop> {
        let mut portion = Vec::new();
        let mut count = 0;
        for line in lines.split(b'\n') {
            let line = line.map_err(|error| Stop::failed(error.to_string()))?;
            portion.extend_from_slice(&line);
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
        let seen = if self.dry_run { beginnings(&lines) } else { Vec::new() };
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
        let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
        let known: Vec<usize> = list("duplicates")
            .filter_map(Value::as_u64)
            .filter_map(|line| usize::try_from(line).ok())
            .collect();
        self.duplicates.extend(known.iter().map(|line| line + self.lines_before));
        self.tokens += number("tokens");
        if self.dry_run {
            // Each portion is judged against the store, which no portion of a dry run has changed.
            let owners = list("new_owners").filter_map(Value::as_str).map(str::to_lowercase);
            self.made.extend(owners);
            self.owners = u64::try_from(self.made.len()).unwrap_or(u64::MAX);
            for (line, beginning) in seen {
                if !known.contains(&line) && !self.seen.insert(beginning) {
                    self.duplicates.push(line + self.lines_before);
                    self.tokens = self.tokens.saturating_sub(1);
                }
            }
        } else {
            self.owners += number("owners");
        }
        self.lines_before += count;
        let what = if self.dry_run { "lines judged" } else { "lines taken in" };
        self.progress.count(what, u64::try_from(self.lines_before).unwrap_or(u64::MAX), self.lines);
        Ok(())
    }

    fn tell(&self, common: &Common) -> Result<(), Stop> {
        let Self { tokens, owners, duplicates, dry_run, .. } = self;
        let shown = json!({"tokens": tokens, "owners": owners, "duplicates": duplicates, "dry_run": dry_run});
        let would = if *dry_run { "would be " } else { "" };
        if !common.json {
            for line in duplicates.iter().take(KNOWN_LINES_TOLD) {
                output::tell(&format!("line {line}: is known already"));
            }
            if let Some(more @ 1..) = duplicates.len().checked_sub(KNOWN_LINES_TOLD) {
                output::tell(&format!("and {more} more lines; `--json` names them all"));
            }
        }
        let said = format!(
            "{} {would}taken in, {} {would}made, {} known already",
            output::counted(*tokens, "token"),
            output::counted(*owners, "owner"),
            duplicates.len()
        );
        common.done(&shown, &said)
    }
}

/// One line, or what is wrong with it; none where there is nothing on it.
fn read(line: &[u8]) -> Result<Option<Line>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let members = json_object(line).map_err(|_| "is not a JSON object".to_owned())?;
    Line::read(members, parse_rfc3339).map(Some).map_err(|refusal| refusal.to_string())
}

/// The lines of a portion, counted from 1, each with the beginning of its hash.
fn beginnings(portion: &[u8]) -> Vec<(usize, [u8; 16])> {
    let lines = portion.split(|byte| *byte == b'\n').enumerate();
    let read = |(at, line): (usize, &[u8])| {
        let line = read(line).ok()??;
        Some((at + 1, *line.hash().as_bytes().first_chunk()?))
    };
    lines.filter_map(read).collect()
}
