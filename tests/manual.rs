//! The manual is the program's: what is checked in under docs/man is what the binary writes, and the page of the
//! configuration file knows every setting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use support::cli::alone;

/// The page that nobody generates.
const BY_HAND: &str = "bearerd.toml.5";

fn top(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The generated pages of a folder, by name.
fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap()))
        .filter(|(name, _)| name != BY_HAND)
        .collect()
}

#[test]
fn the_pages_are_what_the_commands_say() {
    let directory = tempfile::tempdir().unwrap();
    alone(directory.path(), &["man", "."]).expect(0);
    let (made, kept) = (pages(directory.path()), pages(&top("docs/man")));
    let names: (Vec<_>, Vec<_>) = (made.keys().collect(), kept.keys().collect());
    let advice = "`rm docs/man/*.1; cargo run -- man docs/man` writes the pages anew";
    assert_eq!(names.0, names.1, "{advice}");
    for (name, page) in &made {
        assert!(page == &kept[name], "{name} is not what the commands say: {advice}");
    }
}

/// The settings that a configuration names, commented or not, each below its table; names that an operator
/// chooses are `NAME`.
fn settings(text: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut found = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start_matches('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = match name.split_once('.') {
                Some((table, _)) => format!("{table}.NAME"),
                None => name.to_owned(),
            };
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.is_empty()
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            found.insert(format!("{table}.{key}"));
        }
    }
    found
}

/// The settings that the page has a paragraph of, each below its section.
fn described(page: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix(".SH ") {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        } else if line == ".TP"
            && let Some(name) = lines.next().and_then(|line| line.strip_prefix(".BR "))
        {
            found.insert(format!("{section}.{}", name.split_whitespace().next().unwrap()));
        }
    }
    found
}

#[test]
fn every_setting_has_its_paragraph_and_every_paragraph_its_setting() {
    let example = settings(&fs::read_to_string(top("systemd/bearerd.toml")).unwrap());
    let page = described(&fs::read_to_string(top("docs/man").join(BY_HAND)).unwrap());
    assert!(example.len() > 25, "the example was read: {example:?}");
    let missing: Vec<_> = example.difference(&page).collect();
    assert!(missing.is_empty(), "settings without a paragraph: {missing:?}");
    let gone: Vec<_> = page.difference(&example).collect();
    assert!(gone.is_empty(), "paragraphs without a setting: {gone:?}");
}
