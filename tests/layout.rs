//! The invariants of the house, read off its sources: the pure floors name nothing that is not a value, and
//! an import never goes up a floor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "layout/source.rs"]
mod source;

use source::{code, derived, implemented, paths};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The floors from the ground up; each may import those before it.
const FLOORS: &[&str] =
    &["token", "settings", "records", "rules", "metrics", "store", "config", "app", "http", "daemon", "cli"];

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

/// The paths that a file of ours names, from the crate's top.
fn paths_of(file: &Path, code: &str) -> BTreeSet<Vec<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = file.strip_prefix(source).unwrap().with_extension("");
    let module: Vec<&str> =
        module.iter().map(|name| name.to_str().unwrap()).filter(|name| *name != "mod").collect();
    paths(code, &module)
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
    let mut down = 0;
    for (height, floor) in FLOORS.iter().enumerate() {
        for (file, code) in code_of(floor) {
            for path in paths_of(&file, &code).iter().filter(|path| path[0] == "crate") {
                let named = path.get(1).map_or("*", String::as_str);
                assert!(named != "*" && named != "self", "{} imports the whole house", file.display());
                let is_up = FLOORS.iter().skip(height + 1).any(|above| *above == named);
                assert!(!is_up, "{} names {}", file.display(), path.join("::"));
                down += usize::from(FLOORS.iter().take(height).any(|below| *below == named));
            }
        }
    }
    assert!(down > 500, "{down}: this test looks for the wrong thing");
}

#[test]
fn only_the_store_s_engine_files_name_the_engine_and_one_file_the_codec() {
    // `redb` is also the name of our module about it, which is named by where it is.
    for (name, home) in [("redb", "src/store/redb"), ("bincode", "src/records/codec.rs")] {
        let mut at_home = 0;
        for floor in FLOORS {
            for (file, code) in code_of(floor) {
                if paths_of(&file, &code).iter().any(|path| path[0] == name) {
                    assert!(file.to_str().unwrap().contains(home), "{} names {name}", file.display());
                    at_home += 1;
                }
            }
        }
        assert!(at_home > 0, "nobody names {name}: this test looks for the wrong thing");
    }
}

/// What a secret could be given away by, without anybody meaning it.
const LEAKS: &[&str] = &[
    "PartialEq",
    "Eq",
    "PartialOrd",
    "Ord",
    "Hash",
    "Display",
    "Clone",
    "Copy",
    "Serialize",
    "Deserialize",
    "Deref",
];

/// The types that hold secrets, and which of [`LEAKS`] they have all the same. The hash of a token admits nobody: it is
/// copied, and stored in records.
const SECRETS: &[(&str, &[&str])] = &[
    ("Secret", &[]),
    ("TokenHash", &["Clone", "Copy", "Serialize", "Deserialize"]),
    ("Key", &[]),
    ("MacKey", &[]),
    ("RootKey", &[]),
    ("Keyring", &[]),
    ("ServiceSecrets", &[]),
    ("Fresh", &[]),
    ("FreshHost", &[]),
];

/// Types that are made of others show of them in `Debug` what these show of themselves: nothing.
const MADE_OF_OTHERS: &[&str] = &["RootKey", "Keyring", "ServiceSecrets"];

/// What is secret cannot be compared with `==`, ordered, hashed, displayed, copied, stored or taken for a text by
/// accident: its types neither derive nor implement that, in no file of the house, so that a slip does not compile.
/// `Debug` they have, written by hand where there is something to hide.
#[test]
fn what_is_secret_has_no_equality_no_display_no_copies_and_no_derived_debug() {
    let files: Vec<(PathBuf, String)> = FLOORS.iter().flat_map(|floor| code_of(floor)).collect();
    for (name, allowed) in SECRETS {
        let mut declared = 0;
        for (file, code) in &files {
            let derives = derived(code, name).inspect(|_| declared += 1).unwrap_or_default();
            let implements = implemented(code, name);
            for leak in LEAKS.iter().filter(|leak| !allowed.contains(leak)) {
                assert!(!derives.contains(*leak), "{} derives {leak} for {name}", file.display());
                assert!(!implements.contains(*leak), "{}: impl {leak} for {name}", file.display());
            }
            let is_bare = !MADE_OF_OTHERS.contains(name);
            assert!(!is_bare || !derives.contains("Debug"), "{} derives Debug for {name}", file.display());
        }
        assert_eq!(declared, 1, "{name} is not where it was: this test looks for the wrong thing");
    }
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
