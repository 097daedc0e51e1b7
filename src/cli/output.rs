//! What a command shows: tables and facts for people, JSON for programs, secrets alone on standard output.
//!
//! Nothing here asks the daemon for anything. Colour only on a terminal, and never with `NO_COLOR`.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::Stop;

/// The widest a cell of a table gets, in characters.
const CELL_CHARS_MAX: usize = 48;
/// The narrowest that a cell is cut to, in characters.
const CELL_CHARS_MIN: usize = 8;
/// The least time between two signs of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);
/// The facts that people look for first, in this order.
const FIRST: [&str; 9] = ["id", "kind", "state", "email", "hostname", "slug", "name", "prefix", "scope"];
/// What stands between two columns.
const GAP: &str = "  ";

/// A column of a table: its heading, and where in an item its value is, or several places parted by `|`, of which
/// the first that says something counts.
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

/// How far something long has come, on one line of a terminal; where standard error is none, nothing.
#[derive(Debug, Default)]
pub struct Progress {
    shown: Option<Instant>,
    width: usize,
}

impl Progress {
    /// So many bytes, of so many if that is known.
    pub fn bytes(&mut self, done: u64, all: Option<u64>) {
        self.show(|| match all {
            Some(all) => format!("{} of {}{}", size(done), size(all), share(done, all)),
            None => size(done),
        });
    }

    /// So many of so many things.
    pub fn count(&mut self, what: &str, done: u64, all: Option<u64>) {
        self.show(|| match all {
            Some(all) => format!("{what}: {done} of {all}{}", share(done, all)),
            None => format!("{what}: {done}"),
        });
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        let recently = self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS_PAUSE);
        if recently || !io::stderr().is_terminal() {
            return;
        }
        let text = text();
        let width = self.width;
        // Where standard error is gone there is nobody to tell.
        let _ = write!(io::stderr(), "\r{text:width$}");
        (self.shown, self.width) = (Some(Instant::now()), text.chars().count());
    }

    /// It has ended: the line is wiped.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
        }
    }
}

fn share(done: u64, all: u64) -> String {
    let percent = done.saturating_mul(100).checked_div(all);
    percent.map_or_else(String::new, |percent| format!(" ({percent} %)"))
}

/// Prints JSON, indented for a terminal, on one line for a program.
pub fn json(value: &Value) -> Result<(), Stop> {
    if io::stdout().is_terminal() {
        line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
    } else {
        line(&value.to_string())
    }
}

/// Prints items as a table, as wide as it has to be, and on a terminal no wider than that.
pub fn table(columns: &[Column], items: &[Value]) -> Result<(), Stop> {
    if items.is_empty() {
        tell("nothing there");
        return Ok(());
    }
    let mut lines = laid_out(columns, items, terminal_columns()).into_iter();
    line(&emphasised(&lines.next().unwrap_or_default()))?;
    lines.try_for_each(|row| line(&row))
}

/// The lines of a table, its headings first. Where it is wider than `most` characters, times are told only as
/// long ago as they are, then the widest cells are cut; what is in the first column is never cut, since it is what
/// one copies.
fn laid_out(columns: &[Column], items: &[Value], most: Option<usize>) -> Vec<String> {
    let headings: Vec<String> = columns.iter().map(|(heading, _)| heading.to_uppercase()).collect();
    let rows = |text: fn(Option<&Value>) -> String| -> Vec<Vec<String>> {
        let told = |item: &Value, (heading, paths): &Column| match first_of(item, paths) {
            // A column without a heading is a remark, of which there need not be any.
            None if heading.is_empty() => String::new(),
            value => text(value),
        };
        let row = |item: &Value| columns.iter().map(|column| told(item, column)).collect();
        core::iter::once(headings.clone()).chain(items.iter().map(row)).collect()
    };
    let mut table = rows(cell);
    let mut widths = natural(&table);
    if let Some(most) = most
        && total(&widths) > most
    {
        table = rows(short_cell);
        widths = natural(&table);
        while total(&widths) > most {
            let widest = widths.iter_mut().skip(1).max_by_key(|width| **width);
            let Some(width) = widest.filter(|width| **width > CELL_CHARS_MIN) else { break };
            *width = width.saturating_sub(1);
        }
    }
    table.iter().map(|row| spread(row, &widths)).collect()
}

fn first_of<'v>(item: &'v Value, paths: &str) -> Option<&'v Value> {
    paths.split('|').filter_map(|path| item.pointer(path)).find(|value| !value.is_null())
}

/// How wide each column is by itself.
fn natural(table: &[Vec<String>]) -> Vec<usize> {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let width = |at: usize| {
        let cells = table.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().min(CELL_CHARS_MAX)
    };
    (0..columns).map(width).collect()
}

/// How wide a table with such columns is.
fn total(widths: &[usize]) -> usize {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP.len());
    widths.iter().fold(gaps, |all, width| all.saturating_add(*width))
}

/// How many characters a line of the terminal holds; none where standard output is none.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Prints facts under names that somebody chose; a name of nothing goes on with the fact before.
pub fn named(facts: &[(&str, String)]) -> Result<(), Stop> {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    facts.iter().try_for_each(|(name, value)| line(format!("{name:width$}{GAP}{value}").trim_end()))
}

/// A number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} bytes");
    };
    let whole = bytes.checked_div(unit).unwrap_or_default();
    let tenths =
        bytes.checked_rem(unit).unwrap_or_default().saturating_mul(10).checked_div(unit).unwrap_or_default();
    format!("{whole}.{tenths} {name}")
}

/// So many of what `one` is the word for, such as `1 token` and `2 tokens`.
pub fn counted(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Prints one thing as a list of facts, fact by fact; what lies within another is named by its path.
pub fn facts(item: &Value) -> Result<(), Stop> {
    if !item.is_object() {
        return line(&cell(Some(item)));
    }
    let facts = arranged(item);
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    facts.iter().try_for_each(|(name, value)| line(&format!("{name:width$}{GAP}{value}")))
}

/// The facts within a value, those first that people look for.
fn arranged(item: &Value) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    flatten("", item, &mut facts);
    facts.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    facts
}

/// Tells what belongs to a new secret, but not the secret itself.
pub fn tell_facts(item: &Value, secret: &str) {
    let mut item = item.clone();
    if let Some(members) = item.as_object_mut() {
        members.remove(secret);
        members.retain(|_, value| !value.is_object() && !value.as_array().is_some_and(Vec::is_empty));
    }
    for (name, value) in arranged(&item) {
        tell(&format!("{name}: {value}"));
    }
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
        cells.iter().zip(widths).map(|(text, width)| format!("{:width$}", cut(text, *width))).collect();
    padded.join(GAP).trim_end().to_owned()
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
pub fn cell(value: Option<&Value>) -> String {
    told(value, |text| relative(text).map(|ago| format!("{text} ({ago})")))
}

/// The same where there is less room: of a time only how long ago it is.
fn short_cell(value: Option<&Value>) -> String {
    told(value, relative)
}

fn told(value: Option<&Value>, time: impl Fn(&str) -> Option<String>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => time(text).unwrap_or_else(|| text.clone()),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if words.is_empty() { "-".to_owned() } else { words.join(",") }
        }
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => other.to_string(),
    };
    shown(&text)
}

/// Text that somebody else chose, without what a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
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
        assert_eq!(cell(Some(&json!(true))), "yes");
        assert_eq!(cell(Some(&json!("a\u{1b}[2J"))), "a\u{fffd}[2J");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal_unless_it_could_not_be_read_then() {
        let ago = humantime::format_rfc3339_seconds(SystemTime::now() - Duration::from_hours(2)).to_string();
        let item = json!({"id": "i".repeat(20), "name": "n".repeat(60), "at": ago});
        let columns = [("id", "/id"), ("name", "/name"), ("at", "/at")];
        let lines = |most| laid_out(&columns, core::slice::from_ref(&item), most);
        let row = |most| lines(most).pop().unwrap();
        assert!(row(None).ends_with(&format!("{}…  {ago} (2 h ago)", "n".repeat(CELL_CHARS_MAX - 1))));
        assert_eq!(row(Some(200)), row(None), "where there is room nothing is left out");
        assert_eq!(
            row(Some(90)),
            format!("{}  {}…  2 h ago", "i".repeat(20), "n".repeat(CELL_CHARS_MAX - 1))
        );
        assert_eq!(row(Some(50)), format!("{}  {}…  2 h ago", "i".repeat(20), "n".repeat(18)));
        assert!(lines(Some(50)).iter().all(|line| line.chars().count() <= 50));
        let narrow = row(Some(10));
        assert!(narrow.starts_with(&"i".repeat(20)), "an id is never cut: {narrow}");
        assert!(narrow.contains("nnnnnnn…  2 h ago"), "{narrow}");
    }

    #[test]
    fn one_is_not_many() {
        let told = [0, 1, 2].map(|number| counted(number, "token"));
        assert_eq!(told, ["0 tokens", "1 token", "2 tokens"]);
    }

    #[test]
    fn bytes_are_told_in_their_largest_unit() {
        let told = [(0, "0 bytes"), (1_023, "1023 bytes"), (1_024, "1.0 KiB"), (1_572_864, "1.5 MiB")];
        for (bytes, said) in told {
            assert_eq!(size(bytes), said);
        }
        assert_eq!(size(5 << 30), "5.0 GiB");
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
