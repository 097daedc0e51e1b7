//! Where the daemon listens: `ADDRESS:PORT` or `unix:PATH`, parser and writer.

use core::net::SocketAddr;
use std::fmt;

/// The longest path of a Unix socket, in bytes: what the kernel's address holds with its closing zero byte.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), DEFAULT_PORT);
const DEFAULT_PORT: u16 = 8420;
const UNIX_MARK: &str = "unix:";

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port; 0 takes any that is free.
    Tcp(SocketAddr),
    /// The path of a Unix socket for applications.
    Unix(String),
}

/// Why a text is no place to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenFault {
    /// Neither form.
    #[error(
        "is neither an address with its port, such as \"127.0.0.1:8420\" or \"[::1]:8420\", nor \"unix:PATH\""
    )]
    Shape,
    /// A host name.
    #[error("names a host; names are not looked up, write its address")]
    HostName,
    /// An address alone.
    #[error("has no port")]
    NoPort,
    /// A URL.
    #[error("is a URL; leave out what stands before the address and after the port")]
    Url,
    /// See [`judge_socket_path`].
    #[error(transparent)]
    Path(#[from] SocketPathFault),
}

/// Why a text cannot be the path of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketPathFault {
    /// Nothing there.
    #[error("names no socket")]
    Empty,
    /// An abstract socket.
    #[error("is an abstract socket, which no file permission protects; write a path")]
    Abstract,
    /// More than [`SOCKET_PATH_BYTES_MAX`].
    #[error("is longer than {SOCKET_PATH_BYTES_MAX} bytes, the most a socket's path can have")]
    Long,
    /// A zero byte or a line break.
    #[error("has a control character")]
    Control,
}

/// Judges the path of a Unix socket.
pub fn judge_socket_path(path: &str) -> Result<(), SocketPathFault> {
    match path {
        "" => Err(SocketPathFault::Empty),
        path if path.starts_with('@') => Err(SocketPathFault::Abstract),
        path if path.len() > SOCKET_PATH_BYTES_MAX => Err(SocketPathFault::Long),
        path if path.chars().any(char::is_control) => Err(SocketPathFault::Control),
        _ => Ok(()),
    }
}

impl Listen {
    /// Reads one place.
    ///
    /// ```
    /// use bearerd::settings::Listen;
    ///
    /// assert_eq!(Listen::parse("[::1]:8420").unwrap().to_string(), "[::1]:8420");
    /// assert_eq!(Listen::parse("unix:/run/bearerd/api.sock").unwrap().to_string(), "unix:/run/bearerd/api.sock");
    /// assert!(Listen::parse("localhost:8420").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ListenFault> {
        if let Some(path) = text.strip_prefix(UNIX_MARK) {
            judge_socket_path(path)?;
            return Ok(Self::Unix(path.to_owned()));
        }
        text.parse().map(Self::Tcp).map_err(|_| refusal(text))
    }

    /// Whether other machines can reach it: a TCP address that is not loopback.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

/// What is wrong with a text that is no socket address.
fn refusal(text: &str) -> ListenFault {
    if text.contains("://") {
        return ListenFault::Url;
    }
    if text.trim_matches(['[', ']']).parse::<core::net::IpAddr>().is_ok() {
        return ListenFault::NoPort;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && is_host_name(host) => ListenFault::HostName,
        _ => ListenFault::Shape,
    }
}

fn is_host_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(DEFAULT_ADDRESS)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_MARK}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), ListenFault>) {
        let parsed = Listen::parse(text);
        assert_eq!(parsed.as_ref().map(|_| ()).map_err(|fault| *fault), expected, "{text}");
        if let Ok(listen) = parsed {
            assert_eq!(listen.to_string(), text, "one spelling");
        }
    }

    #[test]
    fn addresses_and_socket_paths_are_read_and_nothing_else() {
        check("127.0.0.1:8420", Ok(()));
        check("127.0.0.1:0", Ok(()));
        check("[::1]:65535", Ok(()));
        check("unix:/run/bearerd/api.sock", Ok(()));
        check("unix:api.sock", Ok(()));
        check("127.0.0.1:65536", Err(ListenFault::Shape));
        check("127.0.0.1", Err(ListenFault::NoPort));
        check("::1", Err(ListenFault::NoPort));
        check("[::1]", Err(ListenFault::NoPort));
        check("localhost:8420", Err(ListenFault::HostName));
        check(":8420", Err(ListenFault::Shape));
        check("8420", Err(ListenFault::Shape));
        check("", Err(ListenFault::Shape));
        check("http://127.0.0.1:8420", Err(ListenFault::Url));
        check("unix:", Err(ListenFault::Path(SocketPathFault::Empty)));
        check("unix:@bearerd", Err(ListenFault::Path(SocketPathFault::Abstract)));
        check("unix:/a\0b", Err(ListenFault::Path(SocketPathFault::Control)));
    }

    #[test]
    fn a_socket_path_ends_where_the_kernels_address_does() {
        let path = |bytes: usize| format!("/{}", "s".repeat(bytes - 1));
        assert_eq!(judge_socket_path(&path(SOCKET_PATH_BYTES_MAX)), Ok(()));
        assert_eq!(judge_socket_path(&path(SOCKET_PATH_BYTES_MAX + 1)), Err(SocketPathFault::Long));
    }

    #[test]
    fn only_loopback_and_sockets_are_out_of_reach_of_others() {
        for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/s"] {
            assert!(!Listen::parse(local).unwrap().is_remote(), "{local}");
        }
        for remote in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(Listen::parse(remote).unwrap().is_remote(), "{remote}");
        }
    }
}
