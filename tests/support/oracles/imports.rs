//! Tokens of another system, line by line: what is taken in is what was said, once, and no error repeats it.

use std::collections::BTreeMap;

use bearerd::http::body::json_object;
use bearerd::http::time::parse_rfc3339;
use bearerd::records::meta::AuditHead;
use bearerd::records::{By, Time};
use bearerd::rules::access::Right;
use bearerd::rules::import::{FreshIds, Line, take_in};
use bearerd::rules::portal::{self, Followed};
use bearerd::rules::verify::{self, Asking, Presented};
use bearerd::settings::CredentialKind;
use bearerd::token::TokenHash;
use serde_json::{Map, Value};

use super::ground::root;
use super::marked;
use super::stored::Rows;

const NOW: u64 = 1_800_000_000;
const LINES_MAX: usize = 24;
const MEMBERS: [&str; 9] =
    ["sha256", "kind", "owner", "name", "scope", "created_at", "expires_at", "last_used_at", "revoked_at"];

/// Lines that are read say what they say in plain words; taken in, each hash counts once and only as long as it
/// says; taken in again, nothing changes.
pub fn import_lines(input: &[u8]) {
    let mut taken: Vec<(Map<String, Value>, Line)> = Vec::new();
    for line in input.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let Ok(members) = json_object(line) else { continue };
        match Line::read(members.clone(), parse_rfc3339) {
            Ok(read) => {
                judge_line(&members);
                taken.push((members, read));
            }
            Err(_) => {
                let canary = line.windows(6).any(|part| part == b"CANARY");
                let Value::Object(marked) = marked(Value::Object(members)) else { unreachable!() };
                if let (Err(refusal), false) = (Line::read(marked, parse_rfc3339), canary) {
                    assert!(!format!("{refusal} {refusal:?}").contains("CANARY"), "an error quotes a value");
                }
            }
        }
    }
    judge_portion(&taken);
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str)
}

fn moment(members: &Map<String, Value>, name: &str) -> Option<u64> {
    text(members, name).map(|text| parse_rfc3339(text).expect("a time").unix())
}

fn judge_line(members: &Map<String, Value>) {
    for (name, value) in members {
        assert!(MEMBERS.contains(&name.as_str()), "an unknown member is passed over");
        assert!(value.is_string() || value.is_null(), "{name} is no text");
    }
    let need = |name| text(members, name).expect("a member that must be there");
    let hash = need("sha256");
    assert!(hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let kind = need("kind");
    assert!(["pat", "agent", "link"].contains(&kind));
    assert!(kind == "pat" || text(members, "scope").is_none(), "a scope that nothing carries");
    assert!((1..=200).contains(&need("name").trim().chars().count()));
    let owner = need("owner").trim().to_lowercase();
    match kind {
        "pat" => {
            assert!(owner.len() <= 254 && owner.contains('@'));
            assert!(!owner.ends_with("@system.local") && !owner.ends_with(".system.local"));
        }
        "link" => {
            let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(need("owner").bytes().all(word) && (1..=63).contains(&need("owner").len()));
        }
        _ => assert!((1..=253).contains(&need("owner").trim().chars().count())),
    }
    for name in ["created_at", "expires_at", "last_used_at", "revoked_at"] {
        moment(members, name);
    }
}

fn fresh(count: usize, round: u8) -> Vec<FreshIds> {
    let id = |number: usize, what: u8| {
        let mut id = [what; 10];
        id[8..].copy_from_slice(&(number as u16).to_be_bytes());
        id
    };
    (0..count).map(|number| FreshIds { token: id(number, round), owner: id(number, round + 1) }).collect()
}

fn judge_portion(taken: &[(Map<String, Value>, Line)]) {
    let by: By = root(Right::Administrate).by();
    let lines: Vec<Line> = taken.iter().map(|(_, line)| line.clone()).collect();
    let mut rows = Rows::new();
    let imported =
        rows.change(NOW * 1000, |txn| take_in(txn, &by, &lines, &fresh(lines.len(), 1))).expect("taken in");
    // The first line of a hash is the one that counts.
    let mut first: BTreeMap<String, &Map<String, Value>> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    let mut twice = Vec::new();
    for (at, (members, _)) in taken.iter().enumerate() {
        let hash = text(members, "sha256").unwrap().to_ascii_lowercase();
        if first.contains_key(&hash) {
            twice.push(at);
            continue;
        }
        first.insert(hash, members);
        owners.insert((text(members, "kind"), text(members, "owner").unwrap().trim()), ());
    }
    assert_eq!(imported.duplicates, twice);
    assert_eq!(imported.tokens as usize, first.len());
    assert!(imported.owners as usize <= owners.len());
    for (hash, members) in &first {
        judge_token(&rows, hash, members);
    }
    // Each owner has an entry, and what was taken in has one.
    let entries = |rows: &Rows| AuditHead::of(rows).unwrap().seq;
    assert_eq!(entries(&rows), imported.owners + u64::from(imported.tokens > 0));
    let again = rows
        .change(NOW * 1000, |txn| take_in(txn, &by, &lines, &fresh(lines.len(), 3)))
        .expect("taken in again");
    assert_eq!((again.tokens, again.owners, again.duplicates.len()), (0, 0, lines.len()), "revived");
    assert_eq!(entries(&rows), imported.owners + u64::from(imported.tokens > 0), "nothing has changed");
}

fn judge_token(rows: &Rows, hash: &str, members: &Map<String, Value>) {
    let expired = moment(members, "expires_at").is_some_and(|at| at <= NOW);
    let alive = !expired && moment(members, "revoked_at").is_none();
    let hash = TokenHash::from_hex(hash).unwrap();
    let now = Time::from_unix(NOW);
    let presented = Presented::Imported(hash);
    let asking = Asking { now, from: None, kinds: &CredentialKind::ALL, noted: None };
    let good = verify::verify(rows, &presented, &asking);
    let kind = text(members, "kind").unwrap();
    assert_eq!(good.is_ok(), alive && kind != "link", "{:?}", good.err());
    let door = portal::find(rows, &Followed::Imported(hash), now);
    assert_eq!(door.is_ok(), alive && kind == "link", "{:?}", door.err());
    let Ok(good) = good else { return };
    assert!(good.identity.groups().is_empty(), "an owner that was made is in no group");
    let scope = if kind == "pat" { text(members, "scope").unwrap_or("general") } else { "" };
    assert_eq!(good.identity.scope(), scope);
    assert_eq!(good.identity.expires_at.map(Time::unix), moment(members, "expires_at"));
}
