//! `/v1/authorize`: what reverse proxies ask about somebody else's request, before they let it through.
//!
//! The request that arrives here is the other's own, or a copy of it: any method, any query, whatever path
//! the proxy appends, credentials and all. Only its credential and the address of its client count, and of
//! the path only the first segment, which names the policy. Nothing of it is believed otherwise.

use hyper::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};

use crate::{
    app::verification::ShownBy,
    http::{
        caller, cookies,
        problem::Problem,
        reply::Reply,
        router::{Answer, Ask, Errors, Reads, Route, Verb},
    },
    rules::{
        Reason,
        access::{Identity, Right},
    },
    settings::DEFAULT_POLICY,
};

const ANSWERS: &[Answer] =
    &[Answer { status: 200, schema: "", means: "let it through; the X-Auth headers say whose it is" }];

/// The routes for proxies.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Any,
        path: "/v1/authorize",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: ANSWERS,
        summary: "Whether a request may pass, by the policy `default`",
        run: |ask| Box::pin(async move { judge(&ask, DEFAULT_POLICY).await }),
    },
    Route {
        verb: Verb::Any,
        path: "/v1/authorize/{policy...}",
        right: Right::Open,
        query: None,
        reads: Reads::Nothing,
        errors: Errors::Problem,
        answers: ANSWERS,
        summary: "Whether a request may pass, by the policy named as `@POLICY`, whatever follows it",
        run: |ask| {
            Box::pin(async move {
                let policy = named(ask.segment()).ok_or(Problem::NotFound)?;
                judge(&ask, policy).await
            })
        },
    },
];

/// The policy that the first segment names, as it was sent: no other spelling of a name is that name.
fn named(rest: &str) -> Option<&str> {
    rest.strip_prefix('@').map(|rest| rest.split_once('/').map_or(rest, |(name, _)| name))
}

async fn judge(ask: &Ask, policy: &str) -> Result<Reply, Problem> {
    let secure = ask.snapshot.settings.portal_secure();
    let from = caller::address(&ask.snapshot, &ask.head, &ask.facts);
    // A bearer that is no good is not forgiven for a cookie that is; a credential of another scheme is
    // none of ours, and hides nothing.
    let shown = match caller::bearer(&ask.head) {
        Some(bearer) => ShownBy::Bearer(core::str::from_utf8(bearer).unwrap_or_default()),
        None => match cookies::session(&ask.head.headers, secure) {
            Ok(cookie) => ShownBy::Cookie(cookie),
            Err(denied) if denied.reason == Reason::Absent => ShownBy::Nothing,
            Err(denied) => return Err(ask.app.refuse_cookie(denied, from).into()),
        },
    };
    let identity = ask.app.authorize_request(&ask.snapshot, shown, policy, from).await?;
    Ok(let_through(&identity))
}

const SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
const SUBJECT_TYPE: HeaderName = HeaderName::from_static("x-auth-subject-type");
const KIND: HeaderName = HeaderName::from_static("x-auth-kind");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-auth-token-id");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const GROUPS: HeaderName = HeaderName::from_static("x-auth-groups");
const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");
/// Those, what may keep the answer, its length and the request's id.
const HEADERS: usize = 10;

/// Every header is always there, so that a proxy overwrites whatever a client forged.
fn let_through(identity: &Identity) -> Reply {
    let token = identity.token.map(|id| id.to_string()).unwrap_or_default();
    let email = identity.subject.email().unwrap_or_default();
    Reply::empty(StatusCode::OK)
        .with_room(HEADERS)
        .saying(SUBJECT, identity.subject.id())
        .header(SUBJECT_TYPE, HeaderValue::from_static(identity.subject.type_name()))
        .header(KIND, HeaderValue::from_static(identity.kind.name()))
        .saying(TOKEN_ID, token)
        .saying(EMAIL, header_text(email))
        .saying(GROUPS, header_text(&identity.groups().join(",")))
        .saying(SCOPE, identity.scope_now().into_owned())
        .no_store()
}

/// A text as a header can carry it everywhere: visible ASCII as it is, but for `%`, and every other byte of
/// its UTF-8 percent-encoded (RFC 3986, section 2.1), so that it decodes to what it was.
fn header_text(text: &str) -> String {
    use core::fmt::Write;
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            written.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_segment_names_the_policy() {
        for (rest, name) in [
            ("@reports", Some("reports")),
            ("@reports/", Some("reports")),
            ("@reports/../@default/x", Some("reports")),
            ("@reports//@default", Some("reports")),
            ("@reports%2F@default", Some("reports%2F@default")),
            ("@", Some("")),
            ("@/reports", Some("")),
            ("@@reports", Some("@reports")),
            ("reports", None),
            ("", None),
            ("x/@reports", None),
            ("%40reports", None),
        ] {
            assert_eq!(named(rest), name, "{rest}");
        }
    }

    #[test]
    fn a_header_carries_any_text_and_gives_it_back() {
        for (text, written) in [
            ("ada@example.com", "ada@example.com"),
            ("a,b", "a,b"),
            ("jürgen@example.com", "j%C3%BCrgen@example.com"),
            ("100%@x", "100%25@x"),
            ("a b\r\n", "a%20b%0D%0A"),
            ("", ""),
        ] {
            assert_eq!(header_text(text), written);
        }
    }
}
