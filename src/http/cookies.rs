//! The portal's session cookie as browsers carry it: found in a request, set, and taken away again.
//!
//! A browser sends all that it holds for a name, in an order that whoever planted one of them may choose.
//! So order decides nothing here: one value, however often it stands there, is the cookie; two that differ
//! are none (RFC 6265 section 5.4 leaves the order to the browser). What a value says is `token::cookie`'s
//! business, and whether it counts `rules::verify`'s.

use hyper::{HeaderMap, header::COOKIE};

use crate::{
    rules::{Denied, Reason},
    token::Secret,
};

/// The cookie's name where it is `Secure`: the prefix makes browsers refuse one that was set by another
/// host, for another path, or without TLS (RFC 6265bis section 4.1.3.2).
const NAME_SECURE: &str = "__Host-portal_session";
/// Its name on plain http.
const NAME_PLAIN: &str = "portal_session";

/// The name of the session cookie.
pub const fn name(secure: bool) -> &'static str {
    if secure { NAME_SECURE } else { NAME_PLAIN }
}

/// The session cookie of a request; none where it carries none, or two that differ.
pub fn session(headers: &HeaderMap, secure: bool) -> Result<&str, Denied> {
    let name = name(secure).as_bytes();
    let mut found: Option<&[u8]> = None;
    for line in headers.get_all(COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = trimmed(pair);
            let Some(value) = pair.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) else {
                continue;
            };
            match found {
                Some(known) if known != value => return Err(Denied::of(Reason::Ambiguous)),
                Some(_) | None => found = Some(value),
            }
        }
    }
    let value = found.ok_or(Denied::of(Reason::Absent))?;
    core::str::from_utf8(value).map_err(|_| Denied::of(Reason::Malformed))
}

/// The line that gives a browser the cookie, for `seconds`.
pub fn set(secure: bool, value: &Secret, seconds: u64) -> Secret {
    Secret::new(format!("{}={}; Max-Age={seconds}; {}", name(secure), value.expose(), attributes(secure)))
}

/// The line that takes it away.
pub fn clear(secure: bool) -> String {
    format!("{}=; Max-Age=0; {}", name(secure), attributes(secure))
}

const fn attributes(secure: bool) -> &'static str {
    if secure { "Path=/; HttpOnly; SameSite=Lax; Secure" } else { "Path=/; HttpOnly; SameSite=Lax" }
}

/// Without the white space around it (RFC 9110, OWS).
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(lines: &[&[u8]], secure: bool, expected: Result<&str, Reason>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let found = session(&headers, secure).map_err(|denied| denied.reason);
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn the_session_cookie_is_found_wherever_it_stands() {
        check(&[b"portal_session=v"], false, Ok("v"));
        check(&[b"a=b; portal_session=v; c=d"], false, Ok("v"));
        check(&[b"a=b;portal_session=v"], false, Ok("v"));
        check(&[b" portal_session=v\t"], false, Ok("v"));
        check(&[b"a=b", b"portal_session=v"], false, Ok("v"));
        check(&[b"__Host-portal_session=v; portal_session=other"], true, Ok("v"));
        check(&[b"__Host-portal_session=other; portal_session=v"], false, Ok("v"));
        check(&[b"portal_session=a=b"], false, Ok("a=b"));
    }

    #[test]
    fn two_that_differ_are_none_whatever_their_order() {
        check(&[b"portal_session=v; portal_session=v"], false, Ok("v"));
        check(&[b"portal_session=v", b"portal_session=v"], false, Ok("v"));
        for (one, other) in [("v", "w"), ("w", "v"), ("v", ""), ("", "v"), ("v", "V"), ("v", "\"v\"")] {
            let (one, other) = (format!("portal_session={one}"), format!("portal_session={other}"));
            check(&[one.as_bytes(), other.as_bytes()], false, Err(Reason::Ambiguous));
            let both = format!("{one}; a=b; {other}");
            check(&[both.as_bytes()], false, Err(Reason::Ambiguous));
        }
    }

    #[test]
    fn what_is_called_otherwise_is_another_cookie() {
        check(&[], false, Err(Reason::Absent));
        check(&[b""], false, Err(Reason::Absent));
        check(&[b"portal_session"], false, Err(Reason::Absent));
        check(&[b"Portal_Session=v"], false, Err(Reason::Absent));
        check(&[b"portal_session =v"], false, Err(Reason::Absent));
        check(&[b"xportal_session=v"], false, Err(Reason::Absent));
        check(&[b"=portal_session=v"], false, Err(Reason::Absent));
        check(&[b"a=b, portal_session=v"], false, Err(Reason::Absent));
        check(&[b"portal_session=v"], true, Err(Reason::Absent));
        check(&[b"__host-portal_session=v"], true, Err(Reason::Absent));
        check(&[b"__Host-portal_session=v"], false, Err(Reason::Absent));
        check(&[b"portal_session=\xff"], false, Err(Reason::Malformed));
        check(&[b"portal_session="], false, Ok(""));
    }

    #[test]
    fn the_lines_have_every_attribute() {
        let value = Secret::new("v1.k.p.m".to_owned());
        assert_eq!(
            set(true, &value, 9).expose(),
            "__Host-portal_session=v1.k.p.m; Max-Age=9; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            set(false, &value, 9).expose(),
            "portal_session=v1.k.p.m; Max-Age=9; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(clear(true), "__Host-portal_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(clear(false), "portal_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    }
}
