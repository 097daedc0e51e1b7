//! The proxies whose word about a client's address counts.
//!
//! Who is trusted here can make up any address, so that a range which takes in half the internet is a
//! mistake and no setting: it is refused, and nothing allows it.

use core::net::IpAddr;

use ipnet::IpNet;

use super::cidr;

/// The shortest prefix of an IPv4 range: `10.0.0.0/8` is the largest private network there is.
const V4_BITS_MIN: u8 = 8;
/// The shortest prefix of an IPv6 range: `fc00::/7` is the largest private network there is.
const V6_BITS_MIN: u8 = 7;

/// The ranges of trusted proxies; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Why a text is no range of proxies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// Not an address, not a range.
    #[error("is neither an address nor a range such as \"10.1.0.0/16\"")]
    Shape,
    /// Everybody, or close to it.
    #[error("trusts far too many: whoever is in it can claim any address; name the proxies themselves")]
    CatchAll,
    /// Address bits after the prefix.
    #[error("has address bits after its prefix; the range is \"{0}\", the address alone \"{1}\"")]
    HostBits(IpNet, IpAddr),
}

impl TrustedProxies {
    /// These ranges, as [`range`] read them.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// Whether this peer is one of them. An IPv4 address in its IPv6 form counts as IPv4.
    pub fn contain(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|range| range.contains(&peer))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn ranges(&self) -> &[IpNet] {
        &self.0
    }
}

/// Reads one range, or one address as the range that holds only itself.
///
/// ```
/// use bearerd::settings::proxies::range;
///
/// assert_eq!(range("10.0.0.7").unwrap().to_string(), "10.0.0.7/32");
/// assert!(range("0.0.0.0/0").is_err());
/// ```
pub fn range(text: &str) -> Result<IpNet, ProxyFault> {
    let range = cidr::parse(text).ok_or(ProxyFault::Shape)?;
    let bits_min = match range {
        IpNet::V4(_) => V4_BITS_MIN,
        IpNet::V6(_) => V6_BITS_MIN,
    };
    if range.prefix_len() < bits_min {
        return Err(ProxyFault::CatchAll);
    }
    if range.trunc() != range {
        return Err(ProxyFault::HostBits(range.trunc(), range.addr()));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let read = range(text).map(|range| range.to_string());
        let read = match read {
            Ok(range) => range,
            Err(ProxyFault::Shape) => "shape".to_owned(),
            Err(ProxyFault::CatchAll) => "catch-all".to_owned(),
            Err(ProxyFault::HostBits(range, address)) => format!("{range} or {address}"),
        };
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn ranges_are_read_and_catch_alls_refused() {
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.0.0.0/7", "catch-all");
        check("0.0.0.0/0", "catch-all");
        check("0.0.0.0/1", "catch-all");
        check("::/0", "catch-all");
        check("2000::/3", "catch-all");
        check("fc00::/7", "fc00::/7");
        check("fc00::/6", "catch-all");
        check("::ffff:0.0.0.0/96", "catch-all");
        check("::ffff:10.0.0.0/104", "10.0.0.0/8");
        check("192.168.1.7", "192.168.1.7/32");
        check("::1", "::1/128");
        check("::ffff:192.168.1.7", "192.168.1.7/32");
        check("10.0.0.7/8", "10.0.0.0/8 or 10.0.0.7");
        check("10.0.0.0/33", "shape");
        check("10.0.0.0/", "shape");
        check("proxy.example.com", "shape");
        check("", "shape");
    }

    #[test]
    fn a_proxy_is_known_in_either_form_of_its_address() {
        let proxies = TrustedProxies::new(vec![range("10.1.0.0/16").unwrap(), range("fd00::1").unwrap()]);
        for trusted in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fd00::1"] {
            assert!(proxies.contain(trusted.parse().unwrap()), "{trusted}");
        }
        for stranger in ["10.2.0.0", "127.0.0.1", "fd00::2", "::1"] {
            assert!(!proxies.contain(stranger.parse().unwrap()), "{stranger}");
        }
        assert!(!TrustedProxies::default().contain("127.0.0.1".parse().unwrap()));
    }
}
