//! The invariants of the house, read off its sources: the pure floors name nothing that is not a value, and
//! an import never goes up a floor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The floors from the ground up; each may import those before it.
const FLOORS: &[&str] =
    &["token", "settings", "records", "rules", "metrics", "store", "config", "app", "http", "cli", "daemon"];

/// The floors that are functions of values.
const PURE: &[&str] = &["token", "settings", "records", "rules"];

/// What a function of values cannot name.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "std::time",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "rand::",
    "SysRng",
    "getrandom",
    "redb",
    "hyper",
    "tokio",
    "async ",
    ".await",
    "rustix",
    "tracing",
];

/// The code of every file of a floor: without comments, and without its tests, which may use what they like.
fn code_of(floor: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source.join(floor), &mut files);
    let single = source.join(format!("{floor}.rs"));
    if single.exists() {
        files.push(single);
    }
    assert!(!files.is_empty(), "there is no floor {floor}");
    files.into_iter().map(|file| (file.clone(), code(&fs::read_to_string(file).unwrap()))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap();
    before_tests.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_pure_floors_name_no_clock_randomness_io_engine_or_async() {
    for floor in PURE {
        for (file, code) in code_of(floor) {
            for name in IMPURE {
                assert!(!code.contains(name), "{} names {name}", file.display());
            }
        }
    }
}

#[test]
fn an_import_never_goes_up_a_floor() {
    for (height, floor) in FLOORS.iter().enumerate() {
        for (file, code) in code_of(floor) {
            for above in FLOORS.iter().skip(height + 1) {
                // The command line and the daemon stand side by side; `serve` is a command.
                if (*floor, *above) == ("cli", "daemon") {
                    continue;
                }
                let named =
                    code.contains(&format!("crate::{above}::")) || code.contains(&format!("    {above}::"));
                assert!(!named, "{} imports {above}", file.display());
            }
        }
    }
}

#[test]
fn only_one_file_names_the_engine_and_one_the_codec() {
    // `redb` is also the name of our module about it; the crate is spelled with the leading colons.
    for (name, home) in [("use ::redb", "src/store/redb"), ("bincode::", "src/records/codec.rs")] {
        let mut at_home = 0;
        for floor in FLOORS {
            for (file, code) in code_of(floor) {
                if code.contains(name) {
                    assert!(file.to_str().unwrap().contains(home), "{} names {name}", file.display());
                    at_home += 1;
                }
            }
        }
        assert!(at_home > 0, "nobody names {name}: this test looks for the wrong thing");
    }
}

/// What is secret cannot be compared with `==`, printed, copied or serialised by accident: the types have no such
/// implementation, so that a slip does not compile.
#[test]
fn what_is_secret_has_no_equality_no_display_and_no_derived_debug() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/token");
    let mut found = 0;
    let mut files = Vec::new();
    collect(&source, &mut files);
    for file in files {
        let code = code(&fs::read_to_string(&file).unwrap());
        for name in ["Secret", "TokenHash", "Key", "RootKey", "Keyring", "ServiceSecrets"] {
            let is_whole = |at: &usize| {
                let rest = &code[at + "pub struct ".len() + name.len()..];
                !rest.starts_with(char::is_alphanumeric)
            };
            let declaration = format!("pub struct {name}");
            let mut declared = code.match_indices(&declaration).map(|(at, _)| at);
            let Some(at) = declared.find(is_whole) else { continue };
            found += 1;
            let before: Vec<&str> =
                code[..at].trim_end().rsplit('\n').take_while(|line| line.starts_with("#[")).collect();
            // A type made of others shows of them what they show of themselves: nothing.
            let bare = ["Secret", "TokenHash", "Key"].contains(&name);
            for derived in
                ["PartialEq", "Eq", "Hash", "Display", "Ord"].into_iter().chain(bare.then_some("Debug"))
            {
                let derives =
                    before.iter().any(|line| line.split(['(', ',', ' ', ')']).any(|word| word == derived));
                assert!(!derives, "{} derives {derived} for {name}", file.display());
            }
            for implemented in ["PartialEq", "fmt::Display", "Display", "Serialize", "Deref"] {
                let wrong = code.contains(&format!("impl {implemented} for {name} "));
                assert!(!wrong, "{}: impl {implemented} for {name}", file.display());
            }
        }
    }
    assert_eq!(found, 6, "a type is not where it was: this test looks for the wrong thing");
}

/// Whoever compares a secret, its hash or a MAC goes through `token::same`, whose time tells nothing. The hashes of
/// the audit chain are none: everybody who may read the log reads them.
#[test]
fn no_secret_hash_or_mac_is_compared_with_an_operator() {
    let is_secret = |operand: &str| {
        let operand = operand.trim_matches(|c: char| !c.is_alphanumeric() && c != '(' && c != ')');
        let ends = ["expose()", "expose().as_bytes()", "hash.as_bytes()", ".hash", "_hash", "mac", "mac()"];
        ends.iter().any(|end| operand.ends_with(end)) || operand.contains("expose()")
    };
    let mut looked_at = 0;
    for (file, code) in FLOORS.iter().flat_map(|floor| code_of(floor)) {
        let is_the_chain = ["rules/audit.rs", "rules/check.rs"].iter().any(|name| file.ends_with(name));
        for line in code.lines() {
            for operator in [" == ", " != "] {
                for (at, _) in line.match_indices(operator) {
                    looked_at += 1;
                    let left = line[..at].rsplit(' ').next().unwrap_or_default();
                    let right = line[at + operator.len()..].split(' ').next().unwrap_or_default();
                    let wrong = is_secret(left) || is_secret(right);
                    assert!(!wrong || is_the_chain, "{}: {}", file.display(), line.trim());
                }
            }
        }
    }
    assert!(looked_at > 300, "{looked_at}: this test looks for the wrong thing");
    let secret = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/token/secret.rs");
    let same = code(&fs::read_to_string(secret).unwrap());
    let body = same.split("pub fn same(").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    assert!(body.contains("ours.ct_eq(theirs).into()") && !body.contains("=="), "{body}");
}
