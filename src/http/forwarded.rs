//! Whose request it is when proxies stand between: the client's address. Pure.
//!
//! Each proxy appends to `X-Forwarded-For` the address of whoever connected to it, so the header is
//! read from its end, and only for as long as the one who vouches is trusted. What a client wrote
//! itself stands further left and is never reached. `Forwarded`, `X-Real-IP` and the rest are ignored.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::str;

use crate::settings::TrustedProxies;

/// The client's address: the first one from the right that is no trusted proxy.
///
/// `lines` are the header's lines in the order in which they came. A peer that is not trusted is the
/// client itself, whatever it sent. An entry that is no address ends the walk at the proxy that wrote
/// it. IPv4 addresses in IPv6 form come back as IPv4.
pub fn client_address<'a>(
    peer: IpAddr,
    trusted: &TrustedProxies,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut entries = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    while trusted.contain(client) {
        match entries.next().map(address) {
            Some(Some(next)) => client = next,
            Some(None) | None => break,
        }
    }
    client
}

/// An entry: an address, IPv6 with or without brackets, and an optional port. One with a zone, the zone 0 included,
/// means nothing on another machine.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse::<IpAddr>()
        .ok()
        .or_else(bracketed)
        .or_else(|| {
            text.parse::<SocketAddr>().ok().filter(|_| !text.contains('%')).map(|address| address.ip())
        })
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::proxies::range;

    /// Trusted here: 10.0.0.0/8 and `::1`.
    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted = TrustedProxies::new(vec![range("10.0.0.0/8").unwrap(), range("::1").unwrap()]);
        let lines = lines.iter().map(|line| line.as_bytes());
        let client = client_address(peer.parse().unwrap(), &trusted, lines);
        assert_eq!(client.to_string(), expected);
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says() {
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("192.0.2.1", &["10.0.0.1, 127.0.0.1"], "192.0.2.1");
        check("127.0.0.1", &["203.0.113.9"], "127.0.0.1");
        check("::ffff:192.0.2.1", &["203.0.113.9"], "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_whoever_connected_to_it() {
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::1", &["2001:db8::7"], "2001:db8::7");
        check("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn what_the_client_wrote_itself_is_never_reached() {
        check("10.0.0.1", &["1.2.3.4, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["10.0.0.66, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["1.2.3.4", "203.0.113.9, 10.0.0.3", "10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9");
    }

    #[test]
    fn where_everybody_is_trusted_the_leftmost_is_the_client() {
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk_at_who_wrote_it() {
        for junk in [
            "unknown",
            "_hidden",
            "",
            " ",
            "203.0.113.9x",
            "203.0.113.999",
            "example.com",
            "1.2.3",
            "\"[::1]\"",
        ] {
            check("10.0.0.1", &[junk], "10.0.0.1");
            check("10.0.0.1", &[&format!("1.2.3.4, {junk}, 10.0.0.2")], "10.0.0.2");
        }
        for junk in [
            "fe80::1%eth0",
            "[fe80::1%2]:80",
            "[fe80::1%0]:80",
            "[::2",
            "::2]",
            "[::2]:",
            "[::2]x",
            "203.0.113.9:",
            "203.0.113.9:65536",
        ] {
            check("10.0.0.1", &[junk], "10.0.0.1");
        }
        check("10.0.0.1", &["203.0.113.9,"], "10.0.0.1");
    }

    #[test]
    fn brackets_ports_and_mapped_addresses_are_read() {
        check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9 ,\t::ffff:10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["[::ffff:203.0.113.9]:80"], "203.0.113.9");
    }

    #[test]
    fn a_line_that_is_not_utf_8_ends_the_walk() {
        let trusted = TrustedProxies::new(vec![range("10.0.0.0/8").unwrap()]);
        let client = client_address("10.0.0.1".parse().unwrap(), &trusted, [&b"\xff"[..]].into_iter());
        assert_eq!(client.to_string(), "10.0.0.1");
    }
}
