//! Reading settings out of parsed TOML: each is asked for by name and type, what is wrong is noted with its
//! place, and what was never asked for is unknown.
//!
//! Knows no setting by name; that is the file above.

use core::ops::Range;
use std::fmt::Display;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::suggest;
use crate::config::{Fault, span};
use crate::settings::Bounds;

/// The most elements in one list, and the most tables under one name.
pub(super) const ENTRIES_MAX: usize = 256;
/// The most faults that are told: who made more has another problem.
pub(super) const FAULTS_MAX: usize = 100;
/// The most of an operator's text that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// What was found wrong so far, in one text.
pub(super) struct Faults<'t> {
    text: &'t str,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes that something is wrong at this place.
    pub(super) fn add(&mut self, at: &Range<usize>, key: impl Into<String>, what: impl Display) {
        if self.found.len() >= FAULTS_MAX {
            return;
        }
        let before = self.text.as_bytes().iter().take(at.start);
        let line = before.filter(|byte| **byte == b'\n').count().saturating_add(1);
        self.found.push(Fault { line, key: key.into(), what: what.to_string() });
    }

    /// The value, if nothing was wrong.
    pub(super) fn settle<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        self.found.sort_by_key(|fault| fault.line);
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }
}

/// A table whose keys are settings.
pub(super) struct Section<'t> {
    /// Its own key, with a dot at its end; empty for the whole file.
    path: String,
    at: Range<usize>,
    entries: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn whole(table: &'t Spanned<DeTable<'t>>) -> Self {
        Self { path: String::new(), at: 0..0, entries: table.get_ref(), known: Vec::new() }
    }

    /// Notes that something is wrong with the section itself.
    pub(super) fn refuse(&self, what: impl Display, faults: &mut Faults<'_>) {
        faults.add(&self.at, self.path.trim_end_matches('.'), what);
    }

    /// The setting of this name, if it is there.
    pub(super) fn field(&mut self, name: &'static str) -> Option<Field<'t>> {
        self.known.push(name);
        let value = self.entries.get(name)?;
        Some(Field { key: self.key(name), at: value.span(), value: value.get_ref() })
    }

    /// The table of this name, if it is there.
    pub(super) fn section(&mut self, name: &'static str, faults: &mut Faults<'_>) -> Option<Self> {
        self.known.push(name);
        let (key, value) = self.entries.get_key_value(name)?;
        self.below(key, value, faults)
    }

    /// The tables under this name, each with its own.
    pub(super) fn named(&mut self, name: &'static str, faults: &mut Faults<'_>) -> Vec<(&'t str, Self)> {
        let Some(parent) = self.section(name, faults) else { return Vec::new() };
        if parent.entries.len() > ENTRIES_MAX {
            parent.refuse(format_args!("has more than {ENTRIES_MAX} tables"), faults);
            return Vec::new();
        }
        let entries = parent.entries.iter();
        entries
            .filter_map(|(key, value)| Some((key.get_ref().as_ref(), parent.below(key, value, faults)?)))
            .collect()
    }

    /// Notes that a name which is no setting, though one might think so, is there.
    pub(super) fn misplaced(&mut self, name: &'static str, what: &str, faults: &mut Faults<'_>) {
        if let Some((key, _)) = self.entries.get_key_value(name) {
            faults.add(&key.span(), self.key(name), what);
            self.known.push(name);
        }
    }

    /// Notes the settings that nobody asked for.
    pub(super) fn close(self, faults: &mut Faults<'_>) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            match suggest::nearest(name, self.known.iter().copied()) {
                Some(meant) => {
                    let what = format_args!("is not a setting; did you mean `{}`?", self.key(meant));
                    faults.add(&key.span(), self.key(name), what);
                }
                None => faults.add(&key.span(), self.key(name), "is not a setting"),
            }
        }
    }

    fn below(
        &self,
        key: &Spanned<std::borrow::Cow<'t, str>>,
        value: &'t Spanned<DeValue<'t>>,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let path = self.key(key.get_ref());
        let at = key.span();
        let Some(entries) = value.get_ref().as_table() else {
            faults.add(&at, path, format_args!("must be a table, not {}", described(value.get_ref())));
            return None;
        };
        Some(Self { path: format!("{path}."), at, entries, known: Vec::new() })
    }

    fn key(&self, name: &str) -> String {
        let bare = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if bare { format!("{}{name}", self.path) } else { format!("{}{}", self.path, quoted(name)) }
    }
}

/// One value, and where it stands.
pub(super) struct Field<'t> {
    key: String,
    at: Range<usize>,
    value: &'t DeValue<'t>,
}

impl<'t> Field<'t> {
    /// Notes that something is wrong with it.
    pub(super) fn refuse(&self, what: impl Display, faults: &mut Faults<'_>) {
        faults.add(&self.at, self.key.as_str(), what);
    }

    /// Notes that something is wrong with what it says, and repeats that.
    pub(super) fn refuse_text(&self, text: &str, what: impl Display, faults: &mut Faults<'_>) {
        self.refuse(format_args!("{} {what}", quoted(text)), faults);
    }

    pub(super) fn text(&self, faults: &mut Faults<'_>) -> Option<&'t str> {
        self.typed(self.value.as_str(), "a string", faults)
    }

    pub(super) fn flag(&self, faults: &mut Faults<'_>) -> Option<bool> {
        self.typed(self.value.as_bool(), "true or false", faults)
    }

    /// A whole number within its bounds.
    pub(super) fn number<T: TryFrom<u64>>(&self, bounds: Bounds, faults: &mut Faults<'_>) -> Option<T> {
        let written = self.typed(self.value.as_integer(), "a whole number", faults)?;
        let number =
            u64::from_str_radix(written.as_str(), written.radix()).ok().filter(|number| bounds.hold(*number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.refuse(format_args!("must be from {} to {}", bounds.min, bounds.max), faults);
        }
        number
    }

    /// A span of time within its bounds, in seconds.
    pub(super) fn span(&self, bounds: Bounds, faults: &mut Faults<'_>) -> Option<u64> {
        let text =
            self.typed(self.value.as_str(), "a span of time with its unit, such as \"12h\"", faults)?;
        match span::parse(text, bounds) {
            Ok(seconds) => Some(seconds),
            Err(fault) => {
                self.refuse_text(text, fault, faults);
                None
            }
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self, faults: &mut Faults<'_>) -> Option<Vec<Self>> {
        let elements = self.typed(self.value.as_array(), "a list", faults)?;
        if elements.len() > ENTRIES_MAX {
            self.refuse(format_args!("has more than {ENTRIES_MAX} elements"), faults);
            return None;
        }
        let element = |value: &'t Spanned<DeValue<'t>>| Field {
            key: self.key.clone(),
            at: value.span(),
            value: value.get_ref(),
        };
        Some(elements.iter().map(element).collect())
    }

    /// Whether it is a list; otherwise it may be a single value.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    fn typed<T>(&self, value: Option<T>, wanted: &str, faults: &mut Faults<'_>) -> Option<T> {
        if value.is_none() {
            self.refuse(format_args!("must be {wanted}, not {}", described(self.value)), faults);
        }
        value
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// An operator's text between quotes: on one line, and not without end.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
