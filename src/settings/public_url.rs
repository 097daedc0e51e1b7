//! The URL under which the outside world reaches the daemon, in its one spelling.
//!
//! It is the issuer of every token, compared character by character by whoever verifies, so that two
//! spellings of one URL would be two issuers: what is not spelled as RFC 3986 section 6.2 normalises it
//! is refused, and the refusal shows the right spelling.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

/// The longest public URL, in bytes.
const URL_BYTES_MAX: usize = 512;
/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// The longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

const DEFAULT_URL: &str = "http://127.0.0.1:8420";
const DEFAULT_AUTHORITY: &str = "127.0.0.1:8420";

/// The two schemes of a public URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, which a reverse proxy speaks.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme and authority, and nothing after them.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    host: Host,
    authority: String,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Why a text is no public URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlFault {
    /// Not http, not https.
    #[error("begins with neither \"http://\" nor \"https://\"")]
    Scheme,
    /// A user name in front of the host.
    #[error("has a user name or password")]
    UserInfo,
    /// Something after the authority.
    #[error("has a path, query or fragment; a public URL ends after the host and port")]
    Path,
    /// No host, or none that can be one.
    #[error("has no valid host name or address")]
    Host,
    /// Not a port.
    #[error("has no valid port")]
    Port,
    /// Longer than anything sensible.
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    Long,
    /// Right, but not in its one spelling.
    #[error("is spelled unusually; write \"{0}\"")]
    Spelling(String),
}

impl PublicUrl {
    /// Reads a URL; one `/` after the authority is left out.
    ///
    /// ```
    /// use bearerd::settings::PublicUrl;
    ///
    /// assert_eq!(PublicUrl::parse("https://auth.example.com/").unwrap().as_str(), "https://auth.example.com");
    /// assert!(PublicUrl::parse("https://auth.example.com/path").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, PublicUrlFault> {
        if text.len() > URL_BYTES_MAX {
            return Err(PublicUrlFault::Long);
        }
        let (scheme, rest) = split_scheme(text)?;
        let written = rest.strip_suffix('/').unwrap_or(rest);
        if written.contains(['/', '?', '#', '\\']) {
            return Err(PublicUrlFault::Path);
        }
        if written.contains('@') {
            return Err(PublicUrlFault::UserInfo);
        }
        let (host, port) = split_port(written)?;
        let host = Host::parse(host)?;
        let authority = match port.filter(|port| *port != scheme.default_port()) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let canonical = format!("{}://{authority}", scheme.name());
        if text.strip_suffix('/').unwrap_or(text) != canonical {
            return Err(PublicUrlFault::Spelling(canonical));
        }
        Ok(Self { scheme, host, authority, text: canonical })
    }

    /// The URL without a slash at its end: the issuer.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host, and port where it is not the scheme's own: what a browser sends as `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is plain http on this very machine, where there is nobody to listen in.
    pub fn is_loopback_http(&self) -> bool {
        let loopback = match &self.host {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.to_canonical().is_loopback(),
        };
        loopback && self.scheme == Scheme::Http
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), PublicUrlFault> {
    let (name, rest) = text.split_once("://").ok_or(PublicUrlFault::Scheme)?;
    let scheme =
        [Scheme::Http, Scheme::Https].into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name));
    Ok((scheme.ok_or(PublicUrlFault::Scheme)?, rest))
}

/// Host and port; an IPv6 address keeps its brackets, and its colons are not the port's.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), PublicUrlFault> {
    let bracket = authority.rfind(']');
    match authority.rsplit_once(':') {
        Some((host, port)) if bracket.is_none_or(|end| end < host.len()) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port: &u16| digits && *port != 0);
            Ok((host, Some(port.ok_or(PublicUrlFault::Port)?)))
        }
        _ => Ok((authority, None)),
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, PublicUrlFault> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse().map(Self::V6).map_err(|_| PublicUrlFault::Host);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        let numeric_end =
            text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() > HOST_BYTES_MAX || numeric_end || !text.split('.').all(is_label) {
            return Err(PublicUrlFault::Host);
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl Default for PublicUrl {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            host: Host::V4(Ipv4Addr::LOCALHOST),
            authority: DEFAULT_AUTHORITY.to_owned(),
            text: DEFAULT_URL.to_owned(),
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepted(text: &str, expected: &str) {
        let url = PublicUrl::parse(text).unwrap();
        assert_eq!(url.as_str(), expected, "{text}");
        assert_eq!(PublicUrl::parse(expected), Ok(url), "{text}: one spelling");
    }

    #[track_caller]
    fn refused(text: &str, expected: &PublicUrlFault) {
        assert_eq!(PublicUrl::parse(text).as_ref(), Err(expected), "{text}");
    }

    #[test]
    fn a_public_url_is_scheme_and_authority() {
        accepted("http://127.0.0.1:8420", "http://127.0.0.1:8420");
        accepted("https://auth.example.com", "https://auth.example.com");
        accepted("https://auth.example.com/", "https://auth.example.com");
        accepted("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443");
        accepted("http://a_b.internal:8080", "http://a_b.internal:8080");
        refused("auth.example.com", &PublicUrlFault::Scheme);
        refused("ftp://auth.example.com", &PublicUrlFault::Scheme);
        refused("", &PublicUrlFault::Scheme);
        refused("https://auth.example.com/path", &PublicUrlFault::Path);
        refused("https://auth.example.com//", &PublicUrlFault::Path);
        refused("https://auth.example.com?q", &PublicUrlFault::Path);
        refused("https://auth.example.com#f", &PublicUrlFault::Path);
        refused("https://auth.example.com\\@evil", &PublicUrlFault::Path);
        refused("https://me@auth.example.com", &PublicUrlFault::UserInfo);
    }

    #[test]
    fn hosts_and_ports_are_judged() {
        for host in [
            "",
            "-a",
            "a-",
            "a..b",
            "a.",
            ".a",
            "a b",
            "ä.de",
            "[::1",
            "::1",
            "1.2.3",
            "256.0.0.1",
            "[1.2.3.4]",
        ] {
            refused(&format!("https://{host}/"), &PublicUrlFault::Host);
        }
        for port in ["", "0", "65536", "+1", "x", "-1"] {
            refused(&format!("https://a:{port}"), &PublicUrlFault::Port);
        }
        accepted("https://a:65535", "https://a:65535");
        accepted("https://a:1", "https://a:1");
    }

    #[test]
    fn lengths_end_where_names_do() {
        let label = "a".repeat(LABEL_BYTES_MAX);
        assert!(PublicUrl::parse(&format!("https://{label}")).is_ok());
        refused(&format!("https://{label}a"), &PublicUrlFault::Host);
        let long = [label.as_str(); 4].join(".");
        assert!(PublicUrl::parse(&format!("https://{}", &long[..HOST_BYTES_MAX])).is_ok());
        refused(&format!("https://{}", &long[..=HOST_BYTES_MAX]), &PublicUrlFault::Host);
        refused(&format!("https://{}", "a".repeat(URL_BYTES_MAX)), &PublicUrlFault::Long);
    }

    #[test]
    fn another_spelling_is_refused_with_the_right_one() {
        refused("HTTPS://auth.example.com", &PublicUrlFault::Spelling("https://auth.example.com".to_owned()));
        refused(
            "https://Auth.Example.com/",
            &PublicUrlFault::Spelling("https://auth.example.com".to_owned()),
        );
        refused(
            "https://auth.example.com:443",
            &PublicUrlFault::Spelling("https://auth.example.com".to_owned()),
        );
        refused(
            "http://auth.example.com:80/",
            &PublicUrlFault::Spelling("http://auth.example.com".to_owned()),
        );
        refused("https://a:08443", &PublicUrlFault::Spelling("https://a:8443".to_owned()));
        refused("https://[2001:DB8:0::1]", &PublicUrlFault::Spelling("https://[2001:db8::1]".to_owned()));
    }

    #[test]
    fn the_default_is_what_its_text_parses_to() {
        assert_eq!(PublicUrl::parse(DEFAULT_URL), Ok(PublicUrl::default()));
    }

    #[test]
    fn loopback_is_only_this_machine_without_tls() {
        for local in ["http://127.0.0.1:1", "http://[::1]", "http://localhost:8420", "http://a.localhost"] {
            assert!(PublicUrl::parse(local).unwrap().is_loopback_http(), "{local}");
        }
        for other in
            ["https://localhost", "http://10.0.0.1", "http://localhost.example.com", "http://notlocalhost"]
        {
            assert!(!PublicUrl::parse(other).unwrap().is_loopback_http(), "{other}");
        }
    }
}
