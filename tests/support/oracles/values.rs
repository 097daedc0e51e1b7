//! Single values that come from outside: addresses, paths, cursors, times.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bearerd::http::{body::Query, forwarded::client_address, list, time};
use bearerd::records::{Listed, Time};
use bearerd::rules::redirect::Redirect;
use bearerd::settings::{TrustedProxies, proxies};

/// A peer that is not trusted is the client. Otherwise the client is a peer or an entry, and never one that
/// stands left of somebody who is not trusted: what such a one wrote changes nothing.
pub fn forwarded(input: &[u8]) {
    let trusted = TrustedProxies::new(
        ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"].map(|text| proxies::range(text).unwrap()).into(),
    );
    let Some((peer, header)) = input.split_first() else { return };
    let peer = match peer % 4 {
        0 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        1 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, *peer)),
        2 => IpAddr::V6(Ipv4Addr::new(10, 0, 0, *peer).to_ipv6_mapped()),
        _ => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    };
    let lines: Vec<&[u8]> = header.split(|byte| *byte == b'\n').collect();
    let client = client_address(peer, &trusted, lines.iter().copied());
    assert_eq!(client, client.to_canonical(), "one spelling of an address");
    let is_trusted = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST || ip.octets()[0] == 10,
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    };
    if !is_trusted(peer.to_canonical()) {
        assert_eq!(client, peer);
    }
    assert_eq!(client, walk(peer.to_canonical(), &lines, is_trusted));
    if !is_trusted(client) {
        let mut forged: Vec<&[u8]> = vec![b"203.0.113.9, 10.1.1.1"];
        forged.extend(&lines);
        assert_eq!(
            client_address(peer, &trusted, forged.into_iter()),
            client,
            "what the client wrote counts"
        );
    }
}

/// The same, written down once more: from the right, for as long as the one who vouches is trusted.
fn walk(peer: IpAddr, lines: &[&[u8]], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let whole = lines.join(&b","[..]);
    let mut client = peer;
    for entry in whole.split(|byte| *byte == b',').rev() {
        if !is_trusted(client) {
            break;
        }
        let Some(next) =
            core::str::from_utf8(entry).ok().and_then(|entry| entry_address(entry.trim_matches([' ', '\t'])))
        else {
            break;
        };
        client = next.to_canonical();
    }
    client
}

fn entry_address(entry: &str) -> Option<IpAddr> {
    let is_port = |port: &str| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    if let Some(rest) = entry.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if port_is_fine { address.parse::<Ipv6Addr>().ok().map(IpAddr::V6) } else { None };
    }
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    let (address, port) = entry.split_once(':')?;
    if is_port(port) { address.parse::<Ipv4Addr>().ok().map(IpAddr::V4) } else { None }
}

/// A redirect that is accepted stays on the public origin in a browser's reading.
pub fn redirect(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let Ok(accepted) = Redirect::parse("redirect", text) else { return };
    let location = accepted.into_text();
    assert_eq!(location, text);
    assert_eq!(left_origin(&location), None, "{location:?}");
    assert!(!location.chars().any(char::is_control), "a header line would end");
}

/// Where a browser goes that resolves `location` against an https page, if not to the page's own origin: the
/// WHATWG URL parser's states up to the path, for a special scheme.
fn left_origin(location: &str) -> Option<String> {
    let trimmed = location.trim_matches(|c: char| c <= ' ');
    let text: String = trimmed.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    if let Some((scheme, _)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
        return Some(scheme.to_owned());
    }
    let slashed = text.replace('\\', "/");
    slashed.strip_prefix("//").map(ToOwned::to_owned)
}

/// A cursor that is accepted is one that a list gave: it has one spelling.
pub fn cursors(input: &[u8]) {
    let Ok(query) = core::str::from_utf8(input) else { return };
    let Ok(query) = Query::parse(Some(query), &["limit", "cursor"]) else { return };
    let Ok(page) = list::page(&query) else { return };
    assert!((1..=500).contains(&page.limit));
    match query.text("limit") {
        Some(limit) => assert_eq!(limit.trim_start_matches('0'), page.limit.to_string()),
        None => assert_eq!(page.limit, 50),
    }
    assert_eq!(page.after.is_some(), query.text("cursor").is_some());
    let reply = list::reply(Listed { items: vec![1], next: page.after }, |item| item);
    let shown: serde_json::Value = serde_json::from_slice(reply.bytes().expect("a body")).unwrap();
    assert_eq!(shown["next_cursor"].as_str(), query.text("cursor"), "one spelling of a cursor");
}

/// A time that is read is the one that is written, by a calendar of our own; and none lies before the epoch.
pub fn rfc3339_times(input: &[u8]) {
    if let Some(seconds) = input.first_chunk::<8>() {
        let seconds = u64::from_be_bytes(*seconds) % 253_402_300_800;
        let text = time::rfc3339(Time::from_unix(seconds));
        assert_eq!(text, written(seconds));
        assert_eq!(time::parse_rfc3339(&text), Some(Time::from_unix(seconds)));
    }
    let Ok(text) = core::str::from_utf8(input) else { return };
    let Some(read) = time::parse_rfc3339(text) else { return };
    let again = time::rfc3339(read);
    assert_eq!(again, written(read.unix()));
    assert!(text.ends_with('Z'), "only UTC");
    // A leap second is the second before it; a fraction is cut off.
    let same = text.get(..19).is_some_and(|text| text == &again[..19] || text.ends_with(":60"));
    assert!(same, "{text:?} read as {again}");
    let fraction = text.split_once('.').map(|(_, rest)| rest.trim_end_matches('Z'));
    let is_one = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    assert!(fraction.is_none_or(is_one), "a fraction that is none: {text:?}");
    let is_within = fraction.is_some_and(|digits| !digits.trim_matches('0').is_empty());
    let end = time::parse_rfc3339_end(text).expect("the same text");
    assert_eq!(end.unix(), read.unix() + u64::from(is_within), "the end of a span at {text:?}");
}

/// Counting days one year and one month at a time.
fn written(seconds: u64) -> String {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}
