//! What is no TOML, told by the setting that it is about.
//!
//! The parser gives a place and no key, so that the key is read off the text: the last header above the place, and
//! what stands before the `=` on its line, or on the line at which a list that goes on there begins. That is a guess
//! about a text that has no one reading; it only has to lead a person to the mistake.

use core::ops::Range;

/// The longest key that is told, in bytes; what is longer is no setting.
const KEY_BYTES_MAX: usize = 120;

/// The key of what is wrong at a place, empty where there is none, and what is wrong, fit to follow it.
pub(super) fn told(text: &str, at: &Range<usize>, message: &str) -> (String, String) {
    let place = Place::of(text, at.start);
    let what = match message {
        "duplicate key" => "is there twice".to_owned(),
        message if place.name.is_some() && message.starts_with("key with no value") => {
            "has no value".to_owned()
        }
        _ if place.value.is_some_and(str::is_empty) => "has no value".to_owned(),
        message if message.starts_with("string values must be quoted") => {
            "has a value that is neither text in quotes, nor a number, nor true or false".to_owned()
        }
        message => format!("is not TOML: {message}"),
    };
    let parts = [place.table, place.name];
    (parts.into_iter().flatten().collect::<Vec<_>>().join("."), what)
}

/// Where in a configuration a place is.
#[derive(Default)]
struct Place<'t> {
    /// The header above it.
    table: Option<&'t str>,
    /// The setting.
    name: Option<&'t str>,
    /// What follows the `=` on its own line.
    value: Option<&'t str>,
}

impl<'t> Place<'t> {
    fn of(text: &'t str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let lines_before = before.matches('\n').count();
        let mut place = Self::default();
        // How many lists are open where a line begins.
        let mut open = 0usize;
        for (number, line) in text.lines().enumerate().take(lines_before.saturating_add(1)) {
            let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let is_own = number == lines_before;
            if open == 0 || (is_own && matches!(setting(line), Some((_, Some(_))))) {
                if let Some(header) = line.strip_prefix('[') {
                    place = Self { table: key(header.trim_start_matches('[')), ..Self::default() };
                    continue;
                }
                (place.name, place.value) = setting(line)
                    .map_or((None, None), |(name, value)| (Some(name), value.filter(|_| is_own)));
            }
            let count = |bracket| line.matches(bracket).count();
            open = open.saturating_add(count('[')).saturating_sub(count(']'));
        }
        place
    }
}

/// A line's key, and its value where an `=` announces one.
fn setting(line: &str) -> Option<(&str, Option<&str>)> {
    let line = line.split_once('#').map_or(line, |(line, _)| line);
    match line.split_once('=') {
        Some((name, value)) => Some((key(name)?, Some(value.trim()))),
        None => Some((key(line)?, None)),
    }
}

/// A text that may be a key, without what follows in a header.
fn key(text: &str) -> Option<&str> {
    let text = text.split(']').next().unwrap_or_default().trim();
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.:\"' ".contains(c);
    let is_whole = |quote| text.matches(quote).count().is_multiple_of(2);
    let is_key = !text.is_empty()
        && text.len() <= KEY_BYTES_MAX
        && text.chars().all(is_good)
        && is_whole('"')
        && is_whole('\'');
    is_key.then_some(text)
}
