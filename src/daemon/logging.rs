//! The log: one line an event, to standard error. For people on a terminal; with the journal's priorities
//! where standard error is the journal; one JSON object a line anywhere else.
//!
//! Lines go through a bounded queue to a thread of its own: whoever reads the log and stops reading stalls
//! that thread, never a request. What did not fit is counted and said. No line holds a secret; control
//! characters of what came from outside are escaped, so that an event is one line whatever it says.

use std::{
    fmt::{self, Write as _},
    io::{IsTerminal, Write as _},
    os::unix::fs::MetadataExt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context, prelude::*};

/// Lines that may wait for the reader.
const LINES_MAX: usize = 4096;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    People,
    Journal,
    Json,
}

/// The last second that RFC 3339 can write, since the epoch.
const LAST_MOMENT: Duration = Duration::from_secs(253_402_300_799);

/// How long a reader that has stalled may keep the process from ending.
const FAREWELL: Duration = Duration::from_secs(1);

type Queue = Arc<Mutex<Option<SyncSender<String>>>>;

/// Keeps the log's thread; dropping it writes what is still queued.
#[derive(Debug)]
pub struct Logging {
    lines: Queue,
    ended: Receiver<()>,
}

impl Logging {
    /// Starts the log with the filter of `$BEARERD_LOG`, or `info` where that is empty or unset. A filter that is none is an error that
    /// says so.
    pub fn start(filter: Option<&str>) -> Result<Self, String> {
        let filter = targets(filter)?;
        let (sender, receiver) = sync_channel(LINES_MAX);
        let (end, ended) = sync_channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines: Queue = Arc::new(Mutex::new(Some(sender)));
        let style = style();
        let layer = Lines { style, queue: Arc::clone(&lines), dropped: Arc::clone(&dropped) };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                write_all(&receiver, &dropped, style);
                drop(end);
            })
            .map_err(|error| format!("the log's thread could not be started: {error}"))?;
        tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init()
            .map_err(|error| error.to_string())?;
        Ok(Self { lines, ended })
    }
}

/// What is logged. A filter that says nothing, or nothing of us, is none: it would silence the errors, too, and `off`
/// says that. A level that is misspelled reads as the name of somebody else's module.
fn targets(filter: Option<&str>) -> Result<Targets, String> {
    const OURS: &str = env!("CARGO_CRATE_NAME");
    let filter = filter.filter(|text| !text.trim().is_empty()).unwrap_or("info");
    let targets: Targets =
        filter.parse().map_err(|error| format!("BEARERD_LOG is not a log filter: {error}"))?;
    // A target stands for everything whose name begins with it.
    let is_ours = |target: &str| OURS.starts_with(target) || target.split("::").next() == Some(OURS);
    if targets.default_level().is_some() || targets.iter().any(|(target, _)| is_ours(target)) {
        Ok(targets)
    } else {
        Err(format!(
            "BEARERD_LOG is `{filter}`, which names neither a level (error, warn, info, debug, trace, off) nor a module of bearerd"
        ))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Nothing is ever sent: the thread's end of the channel goes when it has written everything.
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

fn write_all(lines: &Receiver<String>, dropped: &AtomicU64, style: Style) {
    let mut stderr = std::io::stderr();
    while let Ok(line) = lines.recv() {
        let _ = stderr.write_all(line.as_bytes());
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = stderr.write_all(loss(style, lost).as_bytes());
        }
    }
}

/// The line that stands for lines that nobody will read.
fn loss(style: Style, lost: u64) -> String {
    let message = format!("{lost} lines of the log were dropped: nobody read them in time");
    let fields =
        Map::from_iter([("message".to_owned(), message.into()), ("dropped".to_owned(), lost.into())]);
    line(style, Level::WARN, module_path!(), fields)
}

/// Whether `descriptor`, given by device and inode, is the stream that `$JOURNAL_STREAM` names.
pub fn is_journal(descriptor: &impl std::os::fd::AsFd) -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(own) = descriptor.as_fd().try_clone_to_owned() else { return false };
    let Ok(facts) = std::fs::File::from(own).metadata() else { return false };
    named.to_str() == Some(&format!("{}:{}", facts.dev(), facts.ino()))
}

fn style() -> Style {
    let stderr = std::io::stderr();
    if is_journal(&stderr) {
        Style::Journal
    } else if stderr.is_terminal() {
        Style::People
    } else {
        Style::Json
    }
}

struct Lines {
    style: Style,
    queue: Queue,
    dropped: Arc<AtomicU64>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let line = line(self.style, *event.metadata().level(), event.metadata().target(), fields.0);
        let lines = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = &*lines
            && let Err(TrySendError::Full(_)) = lines.try_send(line)
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn line(style: Style, level: Level, target: &str, mut fields: Map<String, Value>) -> String {
    let message = fields.remove("message").and_then(|text| text.as_str().map(str::to_owned));
    let message = message.unwrap_or_default();
    if style == Style::Json {
        let mut line = Map::new();
        line.insert("time".to_owned(), now().into());
        line.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), target.into());
        line.insert("message".to_owned(), message.into());
        line.extend(fields);
        return format!("{}\n", escaped(&Value::Object(line)));
    }
    let mut rest = String::new();
    for (name, value) in &fields {
        let _ = write!(rest, " {name}={}", escaped(value));
    }
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match style {
        Style::Journal => format!("<{}>{message}{rest}\n", priority(level)),
        Style::People | Style::Json => format!("{} {level:>5} {message}{rest}\n", now()),
    }
}

/// JSON without control characters, which keeps whatever came from outside on one line and away from the terminal.
/// JSON itself lets DEL and those beyond ASCII through; they can only stand in texts, where this is how they are spelled.
fn escaped(json: &Value) -> String {
    let mut text = String::new();
    for c in json.to_string().chars() {
        // Writing to a String cannot fail.
        let _ = if c.is_control() { write!(text, "\\u{:04x}", u32::from(c)) } else { text.write_char(c) };
    }
    text
}

fn now() -> String {
    written(SystemTime::now())
}

/// A moment as a line has it. Wherever a clock stands, there is a log: what RFC 3339 cannot write is the nearest
/// that it can.
fn written(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST_MOMENT);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// The priority of RFC 5424 that the journal reads from a line's beginning.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("message".to_owned(), "a\u{1b}[31m\nb\u{9b}".into());
        fields.insert("path".to_owned(), "x\ny\u{7}\u{7f}\u{9b}31m".into());
        fields
    }

    #[test]
    fn an_event_is_one_line_without_control_characters_whatever_it_says() {
        for style in [Style::People, Style::Journal, Style::Json] {
            let line = line(style, Level::WARN, "t", fields());
            let (text, end) = line.split_at(line.len() - 1);
            assert_eq!(end, "\n");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_json_line_gives_back_what_was_logged() {
        let line = line(Style::Json, Level::INFO, "t", fields());
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["message"], "a\u{1b}[31m\nb\u{9b}");
        assert_eq!(back["path"], "x\ny\u{7}\u{7f}\u{9b}31m");
        assert_eq!(back["level"], "info");
    }

    #[test]
    fn lines_that_were_dropped_are_told_by_a_line_like_any_other() {
        let told: Value = serde_json::from_str(&loss(Style::Json, 7)).unwrap();
        assert_eq!((&told["level"], &told["dropped"]), (&"warn".into(), &7.into()));
        assert!(loss(Style::Journal, 7).starts_with("<4>7 lines of the log were dropped"));
    }

    #[test]
    fn a_line_has_a_time_wherever_the_clock_stands() {
        assert_eq!(written(UNIX_EPOCH + Duration::from_millis(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(written(UNIX_EPOCH - Duration::from_secs(10)), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(UNIX_EPOCH + LAST_MOMENT), "9999-12-31T23:59:59.000Z");
        assert_eq!(written(UNIX_EPOCH + LAST_MOMENT * 2), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_filter_that_is_empty_is_none() {
        let logged = |filter: Option<&str>| {
            let targets = targets(filter).unwrap();
            [Level::ERROR, Level::INFO, Level::DEBUG].map(|level| targets.would_enable("bearerd", &level))
        };
        for none in [None, Some(""), Some(" ")] {
            assert_eq!(logged(none), [true, true, false], "{none:?}");
        }
        assert_eq!(logged(Some("debug")), [true; 3]);
        assert_eq!(logged(Some("off")), [false; 3]);
        assert!(targets(Some("bearerd=loud")).is_err());
    }

    #[test]
    fn a_filter_that_would_log_nothing_of_ours_is_refused_unless_it_says_off() {
        for strange in ["verbose", "infos", "hyper=debug", "bearerdd::http=debug"] {
            assert!(targets(Some(strange)).is_err_and(|error| error.contains(strange)), "{strange}");
        }
        for ours in ["bearerd", "bearer=debug", "bearerd::http=debug", "hyper=debug,warn", "INFO", "off"] {
            assert!(targets(Some(ours)).is_ok(), "{ours}");
        }
    }

    #[test]
    fn the_journal_gets_a_priority() {
        assert!(line(Style::Journal, Level::ERROR, "t", fields()).starts_with("<3>"));
    }
}
