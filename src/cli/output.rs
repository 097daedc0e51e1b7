//! What a command shows: tables and facts for people, JSON for programs, secrets alone on standard output.
//!
//! Nothing here asks the daemon for anything. Colour only on a terminal, and never with `NO_COLOR`.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::Stop;

/// The widest a cell of a table gets, in characters.
const CELL_CHARS_MAX: usize = 48;

/// A column of a table: its heading, and where in an item its value is.
pub type Column = (&'static str, &'static str);

/// Prints a line to standard output. One that nobody reads any more is a reason to stop, quietly.
pub fn line(text: &str) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::quietly()),
        Err(error) => Err(Stop::failed(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a line to standard error, for people.
pub fn tell(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints JSON, indented for a terminal, on one line for a program.
pub fn json(value: &Value) -> Result<(), Stop> {
    if io::stdout().is_terminal() {
        line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
    } else {
        line(&value.to_string())
    }
}

/// Prints items as a table, as wide as it has to be and no wider.
pub fn table(columns: &[Column], items: &[Value]) -> Result<(), Stop> {
    if items.is_empty() {
        tell("nothing there");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| columns.iter().map(|(_, path)| cut(&cell(item.pointer(path)))).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (heading, _))| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([heading.len()]).max().unwrap_or_default()
        })
        .collect();
    let headings: Vec<String> = columns.iter().map(|(heading, _)| heading.to_uppercase()).collect();
    line(&emphasised(&spread(&headings, &widths)))?;
    rows.iter().try_for_each(|row| line(&spread(row, &widths)))
}

/// Prints one thing as a list of facts, fact by fact; what lies within another is named by its path.
pub fn facts(item: &Value) -> Result<(), Stop> {
    if !item.is_object() {
        return line(&cell(Some(item)));
    }
    let mut facts = Vec::new();
    flatten("", item, &mut facts);
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    facts.iter().try_for_each(|(name, value)| line(&format!("{name:width$}  {value}")))
}

/// The facts within a value, each with its path: `reload.outcome`. Of a list of things each goes by its name,
/// or else by its place, counted from 1. What is not there is no fact.
fn flatten(path: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { shown(name) } else { format!("{path}.{}", shown(name)) };
    match value {
        Value::Null => {}
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| flatten(&below(name), value, facts));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                let name = ["name", "slot", "address"].iter().find_map(|name| item.get(name)?.as_str());
                let place = (at + 1).to_string();
                flatten(&below(name.unwrap_or(&place)), item, facts);
            }
        }
        other => facts.push((path.to_owned(), cell(Some(other)))),
    }
}

fn spread(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

fn emphasised(text: &str) -> String {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A value as people read it; a time both as it is and as long ago as it is. Control characters that somebody
/// put into a name do not reach the terminal.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => match relative(text) {
            Some(ago) => format!("{text} ({ago})"),
            None => text.clone(),
        },
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if words.is_empty() { "-".to_owned() } else { words.join(",") }
        }
        Some(other) => other.to_string(),
    };
    shown(&text)
}

/// Text that somebody else chose, without what a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(CELL_CHARS_MAX.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// How long ago, or from now, an RFC 3339 time is; none for any other text.
fn relative(text: &str) -> Option<String> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let now = SystemTime::now();
    Some(match now.duration_since(time) {
        Ok(ago) => format!("{} ago", rough(ago)),
        Err(ahead) => format!("in {}", rough(ahead.duration())),
    })
}

/// A span in its largest unit.
fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    match units.into_iter().find(|(unit, _)| seconds >= *unit) {
        Some((unit, name)) => format!("{} {name}", seconds.checked_div(unit).unwrap_or_default()),
        None => format!("{seconds} s"),
    }
}

/// Seconds since the epoch, for what a command measures by itself.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_any_kind_fits_a_cell() {
        assert_eq!(cell(None), "-");
        assert_eq!(cell(Some(&json!(null))), "-");
        assert_eq!(cell(Some(&json!(["a", "b"]))), "a,b");
        assert_eq!(cell(Some(&json!([]))), "-");
        assert_eq!(cell(Some(&json!(true))), "true");
        assert_eq!(cell(Some(&json!("a\u{1b}[2J"))), "a\u{fffd}[2J");
        assert_eq!(cut(&"x".repeat(100)).chars().count(), CELL_CHARS_MAX);
    }

    #[test]
    fn what_lies_within_is_named_by_its_path() {
        let mut facts = Vec::new();
        let slots = json!([{"slot": 1, "uses": 2}]);
        let item = json!({"reload": {"outcome": "ok", "error": null}, "groups": ["a", "b"], "none": [],
            "services": [{"name": "s", "slots": slots}], "\u{1b}[2J": 1});
        flatten("", &item, &mut facts);
        let mut told: Vec<String> = facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        told.sort();
        let expected = [
            "groups=a,b",
            "none=-",
            "reload.outcome=ok",
            "services.s.name=s",
            "services.s.slots.1.slot=1",
            "services.s.slots.1.uses=2",
            "\u{fffd}[2J=1",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        for (seconds, told) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_200, "2 h"), (200_000, "2 d")] {
            assert_eq!(rough(Duration::from_secs(seconds)), told);
        }
    }
}
