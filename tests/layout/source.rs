//! Rust as far as the tests of the layout have to understand it: code without comments, texts and tests; its words;
//! its imports; what a type derives and implements.

use std::{collections::BTreeSet, iter};

/// The code of a file: without comments and tests, texts emptied, line for line.
pub(crate) fn code(text: &str) -> String {
    without_tests(&without_texts(text))
}

/// Empties comments, strings and character literals.
fn without_texts(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let starts = |index: usize, what: &str| what.chars().enumerate().all(|(more, c)| at(index + more) == c);
    let lines = |from: usize, to: usize| (from..to).filter(|index| at(*index) == '\n').map(|_| '\n');
    let mut code = String::new();
    let mut here = 0;
    while here < chars.len() {
        let is_in_a_word = here > 0 && is_word(at(here - 1));
        let hashes = (here + 1..=chars.len()).take_while(|index| at(*index) == '#').count();
        let from = here;
        if starts(here, "//") {
            here = (here..=chars.len()).find(|index| matches!(at(*index), '\n' | '\0')).unwrap();
        } else if starts(here, "/*") {
            let mut depth = 0;
            loop {
                let (opens, closes) = (starts(here, "/*"), starts(here, "*/"));
                depth += i32::from(opens) - i32::from(closes);
                here += if opens || closes { 2 } else { 1 };
                if depth == 0 || here >= chars.len() {
                    break;
                }
            }
            code.extend(lines(from, here));
        } else if at(here) == 'r' && !is_in_a_word && at(here + 1 + hashes) == '"' {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = here + hashes + 2;
            here = (inside..chars.len()).find(|index| starts(*index, &end)).unwrap() + end.len();
            code.push_str("\"\"");
            code.extend(lines(from, here));
        } else if at(here) == '"' {
            here += 1;
            while at(here) != '"' {
                here += if at(here) == '\\' { 2 } else { 1 };
            }
            here += 1;
            code.push_str("\"\"");
            code.extend(lines(from, here));
        } else if at(here) == '\'' && (at(here + 1) == '\\' || at(here + 2) == '\'') {
            here += if at(here + 1) == '\\' { 3 } else { 2 };
            here = (here..=chars.len()).find(|index| at(*index) == '\'').unwrap() + 1;
            code.push_str("' '");
        } else {
            code.push(at(here));
            here += 1;
        }
    }
    code
}

/// Takes out every item that is there for tests alone, and nothing else.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut left = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once(MARK) {
        left.push_str(before);
        let item = &item[attributes(item)..];
        let first = words(item).into_iter().next().unwrap_or_default();
        assert!(
            ["mod", "use", "fn", "pub", "impl", "const", "static", "struct", "enum"]
                .contains(&first.as_str()),
            "what is it that is there for tests alone: {first}?"
        );
        rest = &item[end_of_item(item)..];
    }
    left + rest
}

/// How long the attributes and white space are that it begins with.
fn attributes(item: &str) -> usize {
    let start = item.len() - item.trim_start().len();
    if !item[start..].starts_with("#[") {
        return start;
    }
    let end = start + item[start..].find(']').unwrap() + 1;
    end + attributes(&item[end..])
}

/// Where an item ends: after its body in braces, or a semicolon that is in no brackets.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return at + 1;
        }
    }
    item.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words and signs of code; `::` is one.
fn words(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for c in code.chars() {
        let continues = match words.last() {
            Some(last) => {
                is_open
                    && (is_word(c) || (c == ':' && last == ":"))
                    && is_word(c) == is_word(last.chars().next().unwrap())
            }
            None => false,
        };
        if c.is_whitespace() {
            is_open = false;
        } else if continues {
            words.last_mut().unwrap().push(c);
        } else {
            words.push(c.to_string());
            is_open = true;
        }
        // Of three colons in a row only two belong together.
        is_open &= words.last().is_none_or(|last| last != "::");
    }
    words
}

/// Every path that the code of the module at `module` imports or spells out from the crate's top, from its first
/// segment: `crate::…`, with `self` and `super` followed to where they lead, or the name of another crate.
pub(crate) fn paths(code: &str, module: &[&str]) -> BTreeSet<Vec<String>> {
    let words = words(code);
    let mut found = BTreeSet::new();
    let mut rest = words.as_slice();
    while let [first, after @ ..] = rest {
        rest = after;
        // `use<'_>` names what a type captures.
        if first == "use" && after.first().is_some_and(|next| next != "<") {
            let mut tree = Tree { words: after, found: Vec::new() };
            tree.read(&[]);
            rest = tree.words;
            found.extend(tree.found.into_iter().map(|path| rooted(path, module)));
        } else if after.first().is_some_and(|next| next == "::") && is_word(first.chars().next().unwrap()) {
            let mut path = vec![first.clone()];
            while let [colons, segment, more @ ..] = rest
                && colons == "::"
                && is_word(segment.chars().next().unwrap())
            {
                path.push(segment.clone());
                rest = more;
            }
            found.insert(rooted(path, module));
        }
    }
    found
}

/// A tree of imports that is being read.
struct Tree<'w> {
    words: &'w [String],
    found: Vec<Vec<String>>,
}

impl Tree<'_> {
    fn read(&mut self, above: &[String]) {
        let mut path = above.to_vec();
        while let [word, rest @ ..] = self.words {
            match word.as_str() {
                "::" => self.words = rest,
                "{" => {
                    self.words = rest;
                    while self.words.first().is_some_and(|word| word != "}") {
                        assert_ne!(self.words[0], ";", "that is no tree of imports");
                        self.read(&path);
                        if self.words.first().is_some_and(|word| word == ",") {
                            self.words = &self.words[1..];
                        }
                    }
                    self.words = &self.words[1..];
                    return;
                }
                "as" => self.words = &rest[1..],
                "," | ";" | "}" => break,
                segment => {
                    path.push(segment.to_owned());
                    self.words = rest;
                }
            }
        }
        self.found.push(path);
    }
}

/// A path from the crate's top.
fn rooted(path: Vec<String>, module: &[&str]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    let is_own = ups > 0 || path.first().is_some_and(|segment| segment == "self");
    if !is_own {
        return path;
    }
    let home = &module[..module.len().saturating_sub(ups)];
    let top = iter::once("crate").chain(home.iter().copied()).map(str::to_owned);
    top.chain(path.into_iter().skip(ups.max(1))).collect()
}

/// The traits that the declaration of this type derives; none where the code declares no such type.
pub(crate) fn derived(code: &str, name: &str) -> Option<BTreeSet<String>> {
    let words = words(code);
    let at = words.windows(2).position(|pair| pair[0] == "struct" && pair[1] == name)?;
    // Whatever stands between the end of the last item and this one belongs to this one.
    let before = words[..at].iter().rposition(|word| word == ";" || word == "}").map_or(0, |end| end + 1);
    Some(words[before..at].iter().cloned().collect())
}

/// The traits that the code implements for this type.
pub(crate) fn implemented(code: &str, name: &str) -> BTreeSet<String> {
    let words = words(code);
    let mut found = BTreeSet::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| *word == "for") {
        let target =
            words[at + 1..].iter().take_while(|word| *word == "::" || is_word(word.chars().next().unwrap()));
        let begin = words[..at].iter().rposition(|word| ["impl", ";", "{", "}"].contains(&word.as_str()));
        if target.last().is_some_and(|last| last == name)
            && let Some(begin) = begin.filter(|begin| words[*begin] == "impl")
        {
            found.extend(words[begin..at].iter().cloned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_its_code_is_left_and_only_that() {
        let text = "use a; // b\n#[cfg(test)]\nmod tests;\nfn c() { \"d // e\"; '\"'; 'f: 'g' }\n/* h\n/* i */ */ r#\"j\"#;\n#[cfg(test)]\n#[path = \"k\"]\npub(crate) fn l(m: [u8; 3]) { n; }\nfn o() {}\n";
        let code = code(text);
        let left = words(&code).into_iter().filter(|word| is_word(word.chars().next().unwrap()));
        assert_eq!(left.collect::<Vec<_>>(), ["use", "a", "fn", "c", "f", "fn", "o"]);
    }

    #[test]
    fn every_path_is_found_however_it_is_spelled() {
        let code = "use crate::{http::{self, x::Y}, records as r,}; pub(crate) use ::other::*; use super::super::app; \
                    use self::own::Z; fn f() -> crate::cli::T { super::g::<u8>(h::i) } use crate::daemon;";
        let found: Vec<String> = paths(code, &["rules", "keys"]).iter().map(|path| path.join("::")).collect();
        let expected = [
            "crate::app",
            "crate::cli::T",
            "crate::daemon",
            "crate::http::self",
            "crate::http::x::Y",
            "crate::records",
            "crate::rules::g",
            "crate::rules::keys::own::Z",
            "h::i",
            "other::*",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_type_derives_and_implements_is_found() {
        let code = "struct A; #[derive(Debug, serde::Clone)]\n#[must_use] pub(crate) struct Key([u8; 2]); impl<'a> core::fmt::Display for crate::Key { } impl Key { } impl Other for KeyId { }";
        let derives = derived(code, "Key").unwrap();
        assert!(
            derives.contains("Debug") && derives.contains("Clone") && !derives.contains("A"),
            "{derives:?}"
        );
        assert_eq!(derived(code, "KeyId"), None);
        let implements = implemented(code, "Key");
        assert!(implements.contains("Display") && !implements.contains("Other"), "{implements:?}");
    }
}
