//! The `.env` files that Docker Compose reads, for the one or two keys that somebody asks for.
//!
//! Other containers read the same file, so this reads what Compose reads: comments, `export`, `KEY=value`
//! and `KEY: value`, quotes that may span lines, escapes in double quotes, the last assignment of a key.
//! It has no environment to look in: where Compose would put in another variable, this says so instead
//! of guessing. It knows nothing of secrets but to wipe what it wrote and to quote nothing.

use zeroize::Zeroizing;

/// What is wrong with a file, or with the value that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvFault {
    /// A name with a character that Compose refuses, or with a space inside.
    #[error("line {line}: not a variable name")]
    Name {
        /// The line, from 1.
        line: usize,
    },
    /// A quote that never closes.
    #[error("line {line}: the quote that begins here is never closed")]
    Unclosed {
        /// The line, from 1.
        line: usize,
    },
    /// A name without a value, for which Compose looks in its own environment.
    #[error("line {line}: a name alone takes its value from Compose's environment, which is not read here")]
    Inherited {
        /// The line, from 1.
        line: usize,
    },
    /// A `$` where Compose puts in another variable.
    #[error(
        "line {line}: Compose would put in a variable at the `$`; write `$$` for a dollar sign, or use single quotes"
    )]
    Interpolated {
        /// The line, from 1.
        line: usize,
    },
    /// `\0` in double quotes, which Compose takes for the beginning of an octal number.
    #[error("line {line}: octal escapes (`\\0`) are not read here")]
    Octal {
        /// The line, from 1.
        line: usize,
    },
}

/// One assignment, its value as it stands in the file.
pub(super) struct Assignment<'a> {
    pub(super) key: &'a str,
    raw: Raw<'a>,
    line: usize,
}

enum Raw<'a> {
    Inherited,
    Plain(&'a str),
    Single(&'a str),
    Double(&'a str),
}

/// Every assignment of a file, in order. A fault ends it, as it ends Compose's reading.
pub(super) fn assignments(text: &str) -> impl Iterator<Item = Result<Assignment<'_>, EnvFault>> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    std::iter::from_fn(move || {
        let next = reader.assignment().transpose();
        if matches!(next, Some(Err(_))) {
            reader.rest = "";
        }
        next
    })
}

impl Assignment<'_> {
    /// The value as a container would see it.
    pub(super) fn value(&self) -> Result<Zeroizing<String>, EnvFault> {
        match self.raw {
            Raw::Inherited => Err(EnvFault::Inherited { line: self.line }),
            Raw::Single(raw) => Ok(Zeroizing::new(raw.replace("\\'", "'"))),
            Raw::Plain(raw) => self.dollars(raw),
            Raw::Double(raw) => self.dollars(&self.escapes(raw)?),
        }
    }

    /// Double quotes: `\n` and its like. `\$` becomes `$$`, which is a dollar sign to the next step.
    fn escapes(&self, raw: &str) -> Result<Zeroizing<String>, EnvFault> {
        let mut text = Zeroizing::new(String::with_capacity(raw.len()));
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            if character != '\\' {
                text.push(character);
                continue;
            }
            match characters.next() {
                Some('"') => text.push('"'),
                Some('\\') => text.push('\\'),
                Some('$') => text.push_str("$$"),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('a') => text.push('\x07'),
                Some('b') => text.push('\x08'),
                Some('f') => text.push('\x0c'),
                Some('v') => text.push('\x0b'),
                Some('0') => return Err(EnvFault::Octal { line: self.line }),
                // An escape that Compose does not know stays as it is.
                other => text.extend(std::iter::once('\\').chain(other)),
            }
        }
        Ok(text)
    }

    /// No quotes, or double ones: `$$` is a dollar sign, `$name` and `${` put in a variable, any other
    /// `$` stands for itself.
    fn dollars(&self, text: &str) -> Result<Zeroizing<String>, EnvFault> {
        let mut value = Zeroizing::new(String::with_capacity(text.len()));
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '$' {
                match characters.peek() {
                    Some('$') => _ = characters.next(),
                    Some('{' | '_' | 'a'..='z' | 'A'..='Z') => {
                        return Err(EnvFault::Interpolated { line: self.line });
                    }
                    Some(_) | None => {}
                }
            }
            value.push(character);
        }
        Ok(value)
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// The line that `rest` begins in.
    line: usize,
}

impl<'a> Reader<'a> {
    fn assignment(&mut self) -> Result<Option<Assignment<'a>>, EnvFault> {
        self.skip_to_statement();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        self.skip_export();
        let (key, has_value) = self.key()?;
        let raw = if has_value { self.value()? } else { Raw::Inherited };
        Ok(Some(Assignment { key, raw, line }))
    }

    /// Goes on behind the first `bytes` of the rest, and returns them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line = self.line.saturating_add(taken.matches('\n').count());
        taken
    }

    /// Goes on behind the next line end.
    fn take_line(&mut self) -> &'a str {
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end.saturating_add(1));
        self.take(end)
    }

    fn skip_while(&mut self, skipped: impl Fn(char) -> bool) {
        let length = self.rest.find(|character| !skipped(character)).unwrap_or(self.rest.len());
        self.take(length);
    }

    fn skip_to_statement(&mut self) {
        self.skip_while(char::is_whitespace);
        while self.rest.starts_with('#') {
            self.take_line();
            self.skip_while(char::is_whitespace);
        }
    }

    fn skip_export(&mut self) {
        let behind = self.rest.strip_prefix("export");
        if behind.is_some_and(|behind| behind.starts_with(|next: char| next.is_ascii_whitespace())) {
            self.take("export".len());
            self.skip_while(is_blank);
        }
    }

    /// The name, and whether a value follows it.
    fn key(&mut self) -> Result<(&'a str, bool), EnvFault> {
        let fault = EnvFault::Name { line: self.line };
        let is_name = |character: char| {
            character.is_alphanumeric() || is_blank(character) || "_.-[]".contains(character)
        };
        let end = self.rest.find(|character| !is_name(character)).unwrap_or(self.rest.len());
        let key = self.take(end).trim_end();
        if key.contains(' ') {
            return Err(fault);
        }
        match self.take(1) {
            "=" | ":" => Ok((key, true)),
            "\n" | "" => Ok((key, false)),
            _ => Err(fault),
        }
    }

    fn value(&mut self) -> Result<Raw<'a>, EnvFault> {
        self.skip_while(is_blank);
        if self.rest.starts_with('\'') {
            return Ok(Raw::Single(self.quoted('\'')?));
        }
        if self.rest.starts_with('"') {
            return Ok(Raw::Double(self.quoted('"')?));
        }
        let line = self.take_line();
        let value = line.split_once(" #").map_or(line, |(value, _)| value);
        Ok(Raw::Plain(value.trim_end()))
    }

    /// What stands between a quote and the next one that no backslash precedes.
    fn quoted(&mut self, quote: char) -> Result<&'a str, EnvFault> {
        let fault = EnvFault::Unclosed { line: self.line };
        self.take(quote.len_utf8());
        let mut escaped = false;
        let closes = |character: char| {
            let closes = character == quote && !escaped;
            escaped = character == '\\' && !escaped;
            closes
        };
        let end = self.rest.find(closes).ok_or(fault)?;
        let raw = self.take(end);
        self.take(quote.len_utf8());
        Ok(raw)
    }
}

/// White space that does not end a line.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\x0b' | '\x0c' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(text: &str, key: &str) -> Result<Option<String>, EnvFault> {
        let all: Vec<_> = assignments(text).collect::<Result<_, _>>()?;
        let asked = all.iter().rev().find(|assignment| assignment.key == key);
        asked.map(|assignment| Ok(assignment.value()?.to_string())).transpose()
    }

    #[track_caller]
    fn reads(text: &str, key: &str, expected: &str) {
        assert_eq!(last(text, key), Ok(Some(expected.to_owned())), "{text:?}");
    }

    #[test]
    fn plain_values_are_trimmed_and_end_at_a_comment() {
        reads("FOO=bar", "FOO", "bar");
        reads("\u{feff}FOO=bar", "FOO", "bar");
        reads("FOO=bar\r\nBAR=x\r\n", "FOO", "bar");
        reads(" \t FOO \t= \tbar \t\n", "FOO", "bar");
        reads("FOO: bar", "FOO", "bar");
        reads("FOO=1:2=3", "FOO", "1:2=3");
        reads("FOO=bar # comment", "FOO", "bar");
        reads("FOO=bar #", "FOO", "bar");
        reads("FOO=bar#none", "FOO", "bar#none");
        reads("FOO=bar\t#none", "FOO", "bar\t#none");
        reads("FOO= #none", "FOO", "#none");
        reads("FOO=", "FOO", "");
        reads("FOO=\nBAR=x", "FOO", "");
        reads("FOO=b'a\"r", "FOO", "b'a\"r");
        reads("FOO=a\\tb\\", "FOO", "a\\tb\\");
        reads("FOO=a$$b$1c$-$", "FOO", "a$b$1c$-$");
    }

    #[test]
    fn single_quotes_are_taken_as_they_stand() {
        reads("FOO='bar'", "FOO", "bar");
        reads("FOO=' a$b \\n #c\"'", "FOO", " a$b \\n #c\"");
        reads("FOO='it\\'s' # comment", "FOO", "it's");
        reads("FOO='a\\\\'", "FOO", "a\\\\");
        reads("FOO='a\nFOO=b\n'\n", "FOO", "a\nFOO=b\n");
    }

    #[test]
    fn double_quotes_have_escapes_and_dollars() {
        reads("FOO=\"bar\"#", "FOO", "bar");
        reads("FOO=\"a\\nb\\tc\\rd\\\\e\\\"f\\$g$$h\"", "FOO", "a\nb\tc\rd\\e\"f$g$h");
        reads("FOO=\"\\a\\b\\f\\v\"", "FOO", "\x07\x08\x0c\x0b");
        reads("FOO=\"\\q\\x07\\c\"", "FOO", "\\q\\x07\\c");
        reads("FOO=\"\\$\\$$\"", "FOO", "$$$");
        reads("FOO=\"it's\" # comment", "FOO", "it's");
        reads("FOO=\"a\nFOO=b\"", "FOO", "a\nFOO=b");
        reads("FOO=\"a\" BAR=b", "BAR", "b");
    }

    #[test]
    fn the_last_assignment_counts_and_other_lines_do_not() {
        reads("FOO=one\nFOO=two\n", "FOO", "two");
        reads("FOO=$x\nFOO=two\nBAR=$y\nBAZ\n", "FOO", "two");
        reads("#FOO=one\n  # FOO=two\n\nexport FOO=three", "FOO", "three");
        reads("export\tFOO=bar", "FOO", "bar");
        reads("exportFOO=bar", "exportFOO", "bar");
        reads("a.b-c[1]=bar", "a.b-c[1]", "bar");
        reads("export=bar", "export", "bar");
        for text in ["", "# FOO=x", "FOOD=x", "foo=x", "BAR='\nFOO=x'"] {
            assert_eq!(last(text, "FOO"), Ok(None), "{text:?}");
        }
    }

    #[track_caller]
    fn fault(text: &str, expected: EnvFault) {
        assert_eq!(last(text, "FOO"), Err(expected), "{text:?}");
    }

    #[test]
    fn what_compose_would_fill_in_or_refuse_is_a_fault_on_its_line() {
        fault("\nFOO=a$b", EnvFault::Interpolated { line: 2 });
        fault("FOO=a${b}", EnvFault::Interpolated { line: 1 });
        fault("FOO=\"a$_\"", EnvFault::Interpolated { line: 1 });
        fault("FOO=$$$b", EnvFault::Interpolated { line: 1 });
        fault("FOO=\"$\\$b\"", EnvFault::Interpolated { line: 1 });
        fault("FOO=\"\\\\$b\"", EnvFault::Interpolated { line: 1 });
        fault("A='\n\n'\nFOO\nB=x", EnvFault::Inherited { line: 4 });
        fault("FOO", EnvFault::Inherited { line: 1 });
        fault("FOO=\"\\0123\"", EnvFault::Octal { line: 1 });
        fault("FOO=\"\\0\"", EnvFault::Octal { line: 1 });
        fault("A=1\nFOO='bar\nB=2", EnvFault::Unclosed { line: 2 });
        fault("FOO=\"bar\\\"", EnvFault::Unclosed { line: 1 });
        fault("FOO=bar\nA B=c", EnvFault::Name { line: 2 });
        fault("FOO=bar\n\nA%=c", EnvFault::Name { line: 3 });
        fault("FOO=bar\nA\u{2014}=c", EnvFault::Name { line: 2 });
        fault("FOO=\"a\"b c", EnvFault::Name { line: 1 });
    }

    proptest! {
        #[test]
        fn a_single_quoted_value_reads_back(value in "[^'\\\\]*") {
            prop_assert_eq!(last(&format!("A=1\nFOO='{value}'\nB=2"), "FOO"), Ok(Some(value)));
        }

        #[test]
        fn a_double_quoted_value_reads_back(value in ".*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
            prop_assert_eq!(last(&format!("A=1\nFOO=\"{quoted}\"\nB=2"), "FOO"), Ok(Some(value)));
        }

        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(text in "([ -~\n\u{a0}é]|\\PC)*") {
            for assignment in assignments(&text).filter_map(Result::ok) {
                let _ = assignment.value();
            }
        }
    }
}
