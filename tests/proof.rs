//! `docs/proof.md` says which test holds what. It must not rot: every test that it names is there, and every case of
//! the catalogue, every goal, requirement and incident has its row. What the other pages name is there as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The groups of the catalogue of attacks and faults, and the numbers in each.
const CASES: &[(&str, &[u32])] = &[
    ("A", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]),
    ("B", &[1, 2, 3, 5, 6, 7, 8]),
    ("C", &[1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13]),
    ("D", &[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]),
    ("E", &[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16]),
    ("F", &[1, 2, 3, 4, 5, 6, 7, 9]),
    ("G", &[1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
    ("H", &[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14]),
    ("I-", &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 14]),
    ("J", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26]),
    ("K", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("L", &[1, 2, 4, 5, 6, 7, 8]),
    ("M", &[1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15]),
    ("N", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22]),
    ("O", &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
    ("P", &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]),
    ("Q", &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("R", &[1, 2, 5, 6, 7, 8]),
];

const GOALS: u32 = 24;
const REQUIREMENTS: u32 = 40;
const INCIDENTS: u32 = 42;

/// What the name of a file of ours ends in.
const FILES: &[&str] = &[".rs", ".py", ".sh", ".mjs", ".md", ".toml", ".conf", ".service"];

/// Where the things lie that the page names; what else stands in backquotes is no name of ours.
const PLACES: &[&str] = &["tests/", "src/", "fuzz/", "benches/", "docs/", ".ci/"];

fn page() -> String {
    fs::read_to_string(top().join("docs/proof.md")).unwrap()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first cells of the rows of all tables.
fn first_cells(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).map(str::trim).collect()
}

#[test]
fn every_test_and_file_that_the_page_names_is_there() {
    let page = page();
    let mut tests = 0;
    let mut missing = Vec::new();
    for name in quoted(&page).filter(|name| PLACES.iter().any(|place| name.starts_with(place))) {
        // A command line begins with the file that it runs.
        let (file, test) = name
            .split(' ')
            .next()
            .unwrap()
            .split_once("::")
            .map_or_else(|| (name.split(' ').next().unwrap(), None), |(file, test)| (file, Some(test)));
        match (fs::read_to_string(top().join(file)), test) {
            (Err(_), _) if !top().join(file).exists() => missing.push(name),
            (Ok(source), Some(test)) => {
                tests += 1;
                if !source.contains(&format!("fn {test}(")) {
                    missing.push(name);
                }
            }
            _ => {}
        }
    }
    assert!(missing.is_empty(), "not there: {missing:#?}");
    assert!(tests > 300, "{tests}: this test looks for the wrong thing");
}

/// The pages that name files and lead to others.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(top().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    pages.extend(["README.md", "ARCHITECTURE.md"].map(|name| top().join(name)));
    pages
}

#[test]
fn every_file_that_a_page_names_or_links_to_is_there() {
    let mut looked_at = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let file = |name: &str| name.contains('/') && FILES.iter().any(|ending| name.ends_with(ending));
        let words = quoted(&text).filter_map(|quoted| quoted.split([' ', ':']).next());
        for name in words.filter(|name| file(name)) {
            let is_there = top().join(name).exists() || top().join("src").join(name).exists();
            assert!(is_there, "{} names {name}", page.display());
            looked_at += 1;
        }
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains(':')) {
            assert!(page.with_file_name(link).exists(), "{} leads to {link}", page.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "{looked_at}: this test looks for the wrong thing");
}

#[test]
fn every_part_of_the_thorough_run_that_a_command_names_is_there() {
    let page = page();
    let mut count = 0;
    for command in page.split("tests/thorough/run ").skip(1) {
        let line = command.lines().next().unwrap();
        let names = line.split(['`', '#', '|']).next().unwrap();
        for name in names.split_whitespace().filter(|name| !name.starts_with('-')) {
            let part = |ending| top().join(format!("tests/thorough/parts/{name}.{ending}")).exists();
            assert!(part("py") || part("sh"), "there is no part {name}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn every_case_goal_requirement_and_incident_has_its_row() {
    let page = page();
    let rows = first_cells(&page);
    let cases = CASES.iter().flat_map(|(group, numbers)| numbers.iter().map(move |n| format!("{group}{n}")));
    let goals = (1..=GOALS).map(|number| format!("T{number}"));
    let requirements = (1..=REQUIREMENTS).map(|number| number.to_string());
    let incidents = (1..=INCIDENTS).map(|number| format!("I{number}"));
    for id in cases.chain(goals).chain(requirements).chain(incidents) {
        assert!(rows.contains(id.as_str()), "{id} has no row");
    }
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let held = line.trim_end_matches('|').rsplit(" | ").next().unwrap().trim();
        let is_goal =
            line.strip_prefix("| T").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        assert!(!held.is_empty() || is_goal, "by nothing: {line}");
    }
}

/// A row that refers to others refers to rows that there are.
#[test]
fn what_a_row_refers_to_is_a_row() {
    let page = page();
    let rows = first_cells(&page);
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        for (_, rest) in line.match_indices("see ").map(|(at, _)| line.split_at(at + 4)) {
            let list = rest.split(['`', '|', ';']).next().unwrap();
            for id in list
                .split(", ")
                .map(|id| id.trim().trim_start_matches("see "))
                .filter(|id| id.ends_with(|c: char| c.is_ascii_digit()))
            {
                assert!(rows.contains(id), "{id} in {line}");
            }
        }
    }
}
