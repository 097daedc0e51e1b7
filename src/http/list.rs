//! Lists as the API shows them: `?limit=` and `?cursor=` in, `{"items":[…],"next_cursor":…}` out.
//!
//! A cursor is where the next page begins and the CRC-32 of that, in base64url: opaque to clients, and no more
//! than a hint. One that was mangled is refused; one that was made up leads to another place of a list that
//! its maker may read anyway.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hyper::StatusCode;
use serde::Serialize;

use super::{body::Query, problem::Problem, reply::Reply, router::Parameter};
use crate::records::{Listed, Page};

/// Rows of a page where nobody says otherwise.
pub const LIMIT_DEFAULT: u64 = 50;
/// Rows of a page at the most.
pub const LIMIT_MAX: u64 = 500;
/// The longest cursor, in characters.
const CURSOR_CHARS_MAX: usize = 512;

/// The parameter that says how many rows a page has.
pub const LIMIT: Parameter = Parameter { name: "limit", doc: "rows of a page, 1 to 500; 50 without" };
/// The parameter that says where a page begins.
pub const CURSOR: Parameter = Parameter { name: "cursor", doc: "`next_cursor` of the page before" };
/// The parameters of a list without filters.
pub const PAGE: &[Parameter] = &[LIMIT, CURSOR];

/// Which page a query asks for.
pub fn page(query: &Query) -> Result<Page, Problem> {
    let limit = query.integer(LIMIT.name, 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    Ok(Page { after: begin(query)?, limit: usize::try_from(limit).unwrap_or(1) })
}

/// Behind which key a query asks to go on; none from the beginning.
pub fn begin(query: &Query) -> Result<Option<Vec<u8>>, Problem> {
    query.text(CURSOR.name).map(after).transpose()
}

fn after(cursor: &str) -> Result<Vec<u8>, Problem> {
    let given = (1..=CURSOR_CHARS_MAX).contains(&cursor.len()).then_some(cursor);
    given
        .and_then(|cursor| Base64UrlUnpadded::decode_vec(cursor).ok())
        .and_then(|bytes| {
            let (key, check) = bytes.split_last_chunk()?;
            (crc32fast::hash(key).to_be_bytes() == *check).then(|| key.to_vec())
        })
        .ok_or_else(|| Problem::field(CURSOR.name, "must be the next_cursor of an answer of this route"))
}

/// The cursor that leads behind a key.
pub fn cursor(key: &[u8]) -> String {
    let check = crc32fast::hash(key).to_be_bytes();
    Base64UrlUnpadded::encode_string(&[key, &check].concat())
}

#[derive(Serialize)]
struct ListShown<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// The answer that a page of a list is, each row as `show` has it.
pub fn reply<T, S: Serialize>(listed: Listed<T>, show: impl FnMut(T) -> S) -> Reply {
    let shown = ListShown {
        items: listed.items.into_iter().map(show).collect(),
        next_cursor: listed.next.as_deref().map(cursor),
    };
    Reply::json(StatusCode::OK, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["limit", "cursor"];

    #[track_caller]
    fn check(query: &str, expected: Option<(Option<&[u8]>, usize)>) {
        let asked = page(&Query::parse(Some(query), NAMES).unwrap());
        let shown = asked.ok().map(|page| (page.after, page.limit));
        assert_eq!(shown, expected.map(|(after, limit)| (after.map(<[u8]>::to_vec), limit)), "{query}");
    }

    #[test]
    fn a_page_has_1_to_500_rows_and_50_without() {
        check("", Some((None, 50)));
        check("limit=1", Some((None, 1)));
        check("limit=500", Some((None, 500)));
        for bad in ["limit=0", "limit=501", "limit=", "limit=-1", "limit=1.0", "limit=x"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_cursor_is_what_was_handed_out() {
        let key = [7u8; 20];
        let reply = reply(Listed { items: vec![1, 2], next: Some(key.to_vec()) }, |item| item);
        let shown: serde_json::Value = serde_json::from_slice(reply.bytes().unwrap()).unwrap();
        assert_eq!(shown["items"], serde_json::json!([1, 2]));
        let cursor = shown["next_cursor"].as_str().unwrap();
        check(&format!("cursor={cursor}"), Some((Some(&key), 50)));
        for bad in ["cursor=", "cursor=!", "cursor=a", "cursor=AAAA", "cursor=nonsense", "cursor=AA%3D%3D"] {
            check(bad, None);
        }
        check(&format!("cursor={}", "A".repeat(513)), None);
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let reply = reply(Listed { items: Vec::<u8>::new(), next: None }, |item| item);
        assert_eq!(reply.bytes().unwrap().as_ref(), br#"{"items":[],"next_cursor":null}"#);
    }
}
