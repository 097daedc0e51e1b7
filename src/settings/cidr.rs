//! Ranges of addresses as requests and the configuration spell them.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// What stands before the IPv4 address in an IPv4-mapped IPv6 address, in bits.
const MAPPED_BITS: u8 = 96;

/// One range, `ADDRESS/BITS`, or an address alone as the range that holds only itself; none for anything
/// else. IPv4 in IPv6 form is IPv4; bits after the prefix are left standing.
///
/// The address is read by the standard library, which takes no leading zeros, since others read those as
/// octal: `010.0.0.0/8` would be two ranges.
pub fn parse(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits = bits.parse().ok().filter(|_| plain)?;
    IpNet::new(address.parse().ok()?, bits).ok().map(canonical)
}

/// An IPv4 range in its IPv6 form as the IPv4 range that it is.
fn canonical(range: IpNet) -> IpNet {
    let bits = range.prefix_len().checked_sub(MAPPED_BITS);
    match (range.addr().to_canonical(), bits) {
        (IpAddr::V4(address), Some(bits)) if range.addr().is_ipv6() => {
            Ipv4Net::new(address, bits).map_or(range, IpNet::V4)
        }
        _ => range,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(|range| range.to_string()).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_range_is_an_address_and_bits_or_an_address_alone() {
        check("10.0.0.0/8", Some("10.0.0.0/8"));
        check("10.1.2.3/8", Some("10.1.2.3/8"));
        check("192.0.2.1", Some("192.0.2.1/32"));
        check("::1", Some("::1/128"));
        check("2001:db8::/32", Some("2001:db8::/32"));
        check("0.0.0.0/0", Some("0.0.0.0/0"));
        check("::ffff:192.0.2.0/120", Some("192.0.2.0/24"));
        check("::ffff:192.0.2.7", Some("192.0.2.7/32"));
    }

    #[test]
    fn anything_that_two_readers_could_read_differently_is_nothing() {
        for text in [
            "",
            "/",
            "x",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10/8",
            "010.0.0.0/8",
            "0x0a.0.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "10.0.0.0/255.0.0.0",
            "fe80::1%eth0",
        ] {
            check(text, None);
        }
    }
}
