//! Who is calling: from the door and the head of a request to a [`Caller`].
//!
//! Whoever came in by the admin socket is an admin of this machine, whatever they present. Everybody else
//! is who their bearer says. Cookies and queries say nothing here; the portal reads its own.

use core::net::IpAddr;
use std::sync::Arc;

use hyper::{
    header::{AUTHORIZATION, HeaderName, HeaderValue},
    http::request::Parts,
};

use super::{
    forwarded,
    server::{Door, Facts, Peer},
};
use crate::{
    app::{App, Failure, Snapshot},
    rules::access::{Caller, Right},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: the peer's own, or as far back as proxies that are trusted vouch for it; none
/// over a Unix socket.
pub fn address(snapshot: &Snapshot, head: &Parts, facts: &Facts) -> Option<IpAddr> {
    match &facts.peer {
        Peer::Tcp(peer) => {
            let (peer, proxies) = (peer.ip().to_canonical(), &snapshot.settings.server.trusted_proxies);
            if !proxies.contain(peer) {
                return Some(peer);
            }
            let lines = head.headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
            Some(forwarded::client_address(peer, proxies, lines))
        }
        Peer::Unix { .. } => None,
    }
}

/// The bearer that a request presents (RFC 6750, section 2.1); none where it presents none, or a
/// credential of another scheme. The front has seen to it that there is one `Authorization` at most.
pub fn bearer(head: &Parts) -> Option<&[u8]> {
    let value = head.headers.get(AUTHORIZATION)?.as_bytes();
    // The scheme alone, after whose space there was nothing, presents the empty word.
    let (_, rest) = value.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"))?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if rest.is_empty() || spaces > 0 { rest.get(spaces..) } else { None }
}

/// Who is calling a route that is open to anybody: whoever is at the admin socket, or nobody.
pub fn of_open(snapshot: &Snapshot, head: &Parts, facts: &Facts) -> Caller {
    match (facts.door, &facts.peer) {
        (Door::Admin, Peer::Unix { uid, .. }) => Caller::local(*uid),
        _ => Caller::nobody(address(snapshot, head, facts)),
    }
}

/// Who is calling, to make use of `right`.
pub async fn of(
    app: &App,
    snapshot: &Arc<Snapshot>,
    right: Right,
    head: &Parts,
    facts: &Facts,
) -> Result<Caller, Failure> {
    if let (Door::Admin, Peer::Unix { uid, .. }) = (facts.door, &facts.peer) {
        return Ok(Caller::local(*uid));
    }
    let ip = address(snapshot, head, facts);
    match bearer(head) {
        None => Ok(Caller::nobody(ip)),
        // What is not even text is no credential of ours; the empty word is refused like any other.
        Some(bytes) => {
            let text = core::str::from_utf8(bytes).unwrap_or_default();
            app.identify(snapshot, text, right, ip).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        let mut request = hyper::Request::new(());
        request.headers_mut().insert(AUTHORIZATION, header.parse().unwrap());
        let (head, ()) = request.into_parts();
        assert_eq!(bearer(&head), expected.map(str::as_bytes), "{header:?}");
    }

    #[test]
    fn a_bearer_stands_behind_its_scheme_and_at_least_one_space() {
        check("Bearer x", Some("x"));
        check("bEARER   x", Some("x"));
        check("Bearer x y", Some("x y"));
        check("Bearer", Some(""));
        check("Bearer \tx", Some("\tx"));
        check("Bearer\tx", None);
        check("Bearerx", None);
        check("Basic x", None);
        check("Bear", None);
    }
}
