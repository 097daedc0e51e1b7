//! The strict reading of a request's head, before anything else of the daemon sees it.
//!
//! What two readers could read differently is refused here, on the bytes as they came, so that neither
//! the HTTP library nor a route has to be trusted to read it the same way as the proxy in front. It
//! follows RFC 9112 and is stricter wherever that leaves a choice. Pure: bytes in, a judgement out. The
//! server asks it about every request of every connection; nothing above the server has to.
//!
//! Paths stay as they were sent: routes match the raw path, so that `%2e`, `//` and `/../` lead nowhere
//! instead of somewhere else.

use core::net::Ipv6Addr;
use core::str;

use memchr::memchr;

mod refusal;

pub use refusal::Refusal;

/// Headers that one request may have.
pub const HEADERS_MAX: usize = 100;
/// The longest method that is passed on; `BASELINE-CONTROL` has 16 characters.
const METHOD_CHARS_MAX: usize = 32;
/// The longest target that the HTTP library can hold.
const TARGET_BYTES_MAX: usize = 65_534;
/// The longest host without its port: a domain name's own limit is 253.
const HOST_BYTES_MAX: usize = 255;
/// The largest `Content-Length` that a reader with signed numbers understands.
const CONTENT_LENGTH_MAX: u64 = i64::MAX.unsigned_abs();

/// How the body that follows a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length; 0 where there is none.
    Length(u64),
    /// By chunks (RFC 9112 section 7.1).
    Chunked,
}

/// What the bytes received so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Good so far, and not all there.
    Partial {
        /// How many bytes need not be looked at again.
        scanned: usize,
    },
    /// All there, and one that has only one reading.
    Whole {
        /// Its length, the empty line included.
        bytes: usize,
        /// What follows it.
        framing: Framing,
    },
}

/// Reads the head that `received` begins with, of which `scanned` bytes were found good before.
///
/// At most `bytes_max` bytes, the empty line included.
pub fn read(received: &[u8], scanned: usize, bytes_max: usize) -> Result<Head, Refusal> {
    match end(received, scanned, bytes_max)? {
        End::At(bytes) => {
            let framing = judge(received.get(..bytes).unwrap_or_default())?;
            Ok(Head::Whole { bytes, framing })
        }
        End::After(scanned) => Ok(Head::Partial { scanned }),
    }
}

/// Where a head ends.
enum End {
    /// After so many bytes.
    At(usize),
    /// Not before so many bytes, which need not be looked at again.
    After(usize),
}

/// Finds the empty line. Every line up to it ends in CR LF and holds no control character but tabs.
fn end(received: &[u8], scanned: usize, bytes_max: usize) -> Result<End, Refusal> {
    let head = received.get(..bytes_max).unwrap_or(received);
    let mut rest = head.get(scanned..).unwrap_or_default();
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end.saturating_add(1));
        let text = line.strip_suffix(b"\r\n").filter(|text| !has_control(text)).ok_or_else(|| fault(line))?;
        rest = after;
        if text.is_empty() {
            return Ok(End::At(head.len().saturating_sub(rest.len())));
        }
    }
    // What a carriage return at the end stands before is not there yet.
    if has_control(rest.strip_suffix(b"\r").unwrap_or(rest)) {
        return Err(fault(rest));
    }
    if received.len() < bytes_max {
        Ok(End::After(head.len().saturating_sub(rest.len())))
    } else if head.contains(&b'\n') {
        Err(Refusal::TooLarge)
    } else {
        Err(Refusal::TargetTooLong)
    }
}

/// Whether there is a control character other than a tab.
fn has_control(text: &[u8]) -> bool {
    text.iter().fold(false, |any, byte| any | (byte.is_ascii_control() && *byte != b'\t'))
}

/// What is wrong first with the characters of a line.
fn fault(line: &[u8]) -> Refusal {
    let mut rest = line;
    loop {
        rest = match rest {
            [b'\r', b'\n', after @ ..] | [b'\t' | b' '..=b'~' | 0x80.., after @ ..] => after,
            [b'\r', ..] => return Refusal::BareCarriageReturn,
            [b'\n', ..] => return Refusal::BareLineFeed,
            [_, ..] | [] => return Refusal::ControlByte,
        };
    }
}

/// The lines of a head whose lines end in CR LF, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    core::iter::from_fn(move || {
        let (line, after) = rest.split_at(memchr(b'\n', rest)?.saturating_add(1));
        rest = after;
        line.strip_suffix(b"\r\n")
    })
}

/// What the headers said that decides how the request is read.
#[derive(Default)]
struct Deciding<'a> {
    host: Option<&'a str>,
    authorization: bool,
    length: Option<u64>,
    chunked: bool,
}

/// Judges a head whose lines end in CR LF.
fn judge(head: &[u8]) -> Result<Framing, Refusal> {
    let mut lines = lines(head);
    let first = RequestLine::read(lines.next().unwrap_or_default())?;
    let mut deciding = Deciding::default();
    for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count == HEADERS_MAX {
            return Err(Refusal::TooManyHeaders);
        }
        deciding.take_in(line)?;
    }
    let host = deciding.host.ok_or(Refusal::Host)?;
    if first.authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
        return Err(Refusal::Authority);
    }
    match (deciding.chunked, deciding.length) {
        (true, Some(_)) => Err(Refusal::LengthAndCoding),
        (true, None) if first.is_http_1_0 => Err(Refusal::TransferCoding),
        (true, None) => Ok(Framing::Chunked),
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

struct RequestLine<'a> {
    /// What a target in the form of a URL names as its host.
    authority: Option<&'a str>,
    is_http_1_0: bool,
}

impl<'a> RequestLine<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::RequestLine);
        };
        if method.is_empty() || !are_of(method, TOKEN) {
            return Err(Refusal::RequestLine);
        }
        let is_http_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refusal::Version),
        };
        if !is_method(method) || (method == b"OPTIONS" && target == b"*") {
            return Err(Refusal::Method);
        }
        Ok(Self { authority: judge_target(target)?, is_http_1_0 })
    }
}

/// Any method in capital letters goes on, since `/v1/authorize` is asked about requests to others; but
/// not those that would open a tunnel or send the headers back.
fn is_method(method: &[u8]) -> bool {
    method.len() <= METHOD_CHARS_MAX
        && method.first().is_some_and(u8::is_ascii_uppercase)
        && method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
        && !matches!(method, b"CONNECT" | b"TRACE")
}

/// A path with its query, or a URL, whose authority is returned (RFC 9112 section 3.2).
fn judge_target(target: &[u8]) -> Result<Option<&str>, Refusal> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if target.starts_with(b"/") {
        return judge_path(target).map(|()| None);
    }
    let target = str::from_utf8(target).map_err(|_| Refusal::Target)?;
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::Target);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_host(authority) {
        return Err(Refusal::Authority);
    }
    judge_path(path.as_bytes()).map(|()| Some(authority))
}

fn judge_path(path: &[u8]) -> Result<(), Refusal> {
    let (path, query) = path.split_at(memchr(b'?', path).unwrap_or(path.len()));
    if are_of(path, PATH) && are_of(query, QUERY) { Ok(()) } else { Err(Refusal::Target) }
}

impl<'a> Deciding<'a> {
    fn take_in(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let (name, rest) = line.split_at(memchr(b':', line).unwrap_or(line.len()));
        let value = rest.get(1..).ok_or(Refusal::HeaderLine)?;
        // This also refuses a line that goes on from the one before, and a space before the colon.
        if name.is_empty() || !are_of(name, TOKEN) {
            return Err(Refusal::HeaderLine);
        }
        let Some(judged) = Judged::of(name) else {
            // Browsers send cookies as whoever set them spelled them, and proxies pass those on: a value
            // that nothing here goes by may hold any byte that a header can (RFC 9110 section 5.5).
            return if is_twin(name) { Err(Refusal::TwinHeader) } else { Ok(()) };
        };
        // Some readers leave a tab where it is, and then know no such coding.
        if matches!(judged, Judged::TransferEncoding) && value.contains(&b'\t') {
            return Err(Refusal::TransferCoding);
        }
        // Spaces and tabs: there is no other white space in a head.
        self.judge(judged, str::from_utf8(value.trim_ascii()).map_err(|_| Refusal::HeaderValue)?)
    }

    fn judge(&mut self, name: Judged, value: &'a str) -> Result<(), Refusal> {
        match name {
            Judged::Host => match self.host.replace(value) {
                None if is_host(value) => Ok(()),
                _ => Err(Refusal::Host),
            },
            Judged::Authorization => {
                let repeated = core::mem::replace(&mut self.authorization, true);
                if repeated { Err(Refusal::Authorization) } else { Ok(()) }
            }
            Judged::ContentLength => {
                let length = content_length(value).ok_or(Refusal::ContentLength)?;
                if self.length.replace(length).is_none() { Ok(()) } else { Err(Refusal::ContentLength) }
            }
            Judged::TransferEncoding => {
                let repeated = core::mem::replace(&mut self.chunked, true);
                let is_chunked = !repeated && value.eq_ignore_ascii_case("chunked");
                if is_chunked { Ok(()) } else { Err(Refusal::TransferCoding) }
            }
            Judged::Expect => {
                let is_known = value.eq_ignore_ascii_case("100-continue");
                if is_known { Ok(()) } else { Err(Refusal::Expectation) }
            }
        }
    }
}

/// The headers whose values are judged here.
#[derive(Clone, Copy)]
enum Judged {
    Host,
    Authorization,
    ContentLength,
    TransferEncoding,
    Expect,
}

impl Judged {
    fn of(name: &[u8]) -> Option<Self> {
        let (known, judged): (&[u8], _) = match name.len() {
            4 => (b"host", Self::Host),
            6 => (b"expect", Self::Expect),
            13 => (b"authorization", Self::Authorization),
            14 => (b"content-length", Self::ContentLength),
            17 => (b"transfer-encoding", Self::TransferEncoding),
            _ => return None,
        };
        name.eq_ignore_ascii_case(known).then_some(judged)
    }
}

fn content_length(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().filter(|length| *length <= CONTENT_LENGTH_MAX)
}

/// What methods and header names are made of (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// What a path is made of: visible ASCII, without what a browser would have encoded or kept to itself.
const PATH: u8 = 2;
/// What a query is made of, likewise.
const QUERY: u8 = 4;
/// What names of hosts are made of. Underscores stand in those of containers.
const HOST: u8 = 8;

/// Of what each byte may be a part.
static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "runs while compiling the table above, where a fault is a build error"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let is_word = byte.is_ascii_alphanumeric();
        let mut of = 0;
        if is_word
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            of |= TOKEN;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'^' | b'`') {
            of |= PATH;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'"') {
            of |= QUERY;
        }
        if is_word || matches!(byte, b'.' | b'-' | b'_') {
            of |= HOST;
        }
        table[byte as usize] = of;
        byte += 1;
    }
    table
}

/// Whether all bytes are of that class.
fn are_of(bytes: &[u8], class: u8) -> bool {
    let of = |byte: &u8| CLASSES.get(usize::from(*byte)).copied().unwrap_or(0);
    bytes.iter().fold(class, |all, byte| all & of(byte)) == class
}

/// A name, an IPv4 address or an IPv6 address in brackets, and at most one port (RFC 3986 section
/// 3.2.2). Names may have underscores, as those of containers do; nobody is behind the others.
fn is_host(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    (1..=HOST_BYTES_MAX).contains(&name.len())
        && are_of(name.as_bytes(), HOST)
        && (port.is_empty() || is_port(port))
}

/// `:` and a number of digits alone, up to 65535.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return false };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

/// Headers that decide who asks, from where, or how the request is read; and families of them.
const DECIDING: [&str; 20] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "proxy-authorization",
    "remote-user",
    "sec-fetch-site",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "x-client-ip",
    "x-real-ip",
];
const DECIDING_FAMILIES: [&str; 6] =
    ["x-auth-", "x-forwarded-", "x-http-method", "x-original-", "x-remote-", "x-rewrite-"];

/// Whether some gateway would turn this name into one that decides: CGI and its heirs see no difference
/// between a hyphen, an underscore and, some, a dot.
fn is_twin(name: &[u8]) -> bool {
    if !name.iter().any(|byte| matches!(byte, b'_' | b'.')) {
        return false;
    }
    let plain: String = name
        .iter()
        .map(|byte| match byte {
            b'_' | b'.' => '-',
            other => char::from(other.to_ascii_lowercase()),
        })
        .collect();
    DECIDING.contains(&plain.as_str()) || DECIDING_FAMILIES.iter().any(|family| plain.starts_with(family))
}

#[cfg(test)]
mod tests;
