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

use super::problem::{Problem, Words};

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
/// What an answer to a method that is never allowed offers instead.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

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

/// Why a request is refused before any route sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A line ends in a line feed alone.
    BareLineFeed,
    /// A carriage return without its line feed.
    BareCarriageReturn,
    /// A control character, NUL among them.
    ControlByte,
    /// Not `METHOD TARGET VERSION` with one space each.
    RequestLine,
    /// A method that no target ever answers: CONNECT, TRACE, `OPTIONS *`, one in small letters.
    Method,
    /// Not HTTP/1.1 or HTTP/1.0.
    Version,
    /// A target that is no path and no URL, or has a byte that belongs encoded.
    Target,
    /// A target over its limit.
    TargetTooLong,
    /// A header line that is not a name, a colon and a value, or that goes on in the next line.
    HeaderLine,
    /// A header value that is not UTF-8.
    HeaderValue,
    /// A header that some proxy would take for one that decides, such as `X_Forwarded_For`.
    TwinHeader,
    /// No `Host`, two, or one that is not a host with an optional port.
    Host,
    /// A URL as target whose authority is not the `Host`.
    Authority,
    /// Two `Authorization`.
    Authorization,
    /// A `Content-Length` that is not one plain number.
    ContentLength,
    /// A transfer coding other than `chunked`, once, in HTTP/1.1.
    TransferCoding,
    /// Both a length and a transfer coding.
    LengthAndCoding,
    /// A chunk that is not its size in hexadecimal, its data and its line end; an extension; a trailer.
    Chunk,
    /// An expectation other than `100-continue`.
    Expectation,
    /// Over the limit of the head.
    TooLarge,
    /// More than [`HEADERS_MAX`].
    TooManyHeaders,
    /// Begun, and not ended in time.
    TooSlow,
}

impl Refusal {
    /// A stable word for logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::BareCarriageReturn => "bare_carriage_return",
            Self::ControlByte => "control_byte",
            Self::RequestLine => "request_line",
            Self::Method => "method",
            Self::Version => "version",
            Self::Target => "target",
            Self::TargetTooLong => "target_too_long",
            Self::HeaderLine => "header_line",
            Self::HeaderValue => "header_value",
            Self::TwinHeader => "twin_header",
            Self::Host => "host",
            Self::Authority => "authority",
            Self::Authorization => "authorization",
            Self::ContentLength => "content_length",
            Self::TransferCoding => "transfer_coding",
            Self::LengthAndCoding => "length_and_coding",
            Self::Chunk => "chunk",
            Self::Expectation => "expectation",
            Self::TooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::TooSlow => "head_too_slow",
        }
    }

    /// What the client is told.
    pub const fn problem(self) -> Problem {
        let detail = match self {
            Self::Method => return Problem::MethodNotAllowed { allow: Words::Borrowed(METHODS) },
            Self::TargetTooLong => return Problem::TargetTooLong,
            Self::Expectation => return Problem::ExpectationFailed,
            Self::TooLarge | Self::TooManyHeaders => return Problem::HeadTooLarge,
            Self::TooSlow => return Problem::RequestTimeout,
            Self::BareLineFeed => "A line of the head ends in a line feed alone.",
            Self::BareCarriageReturn => "The head has a carriage return without its line feed.",
            Self::ControlByte => "The head has a control character.",
            Self::RequestLine => "The request line is not a method, a target and a version.",
            Self::Version => "The version is not HTTP/1.1.",
            Self::Target => "The target is not a path, or has a character that belongs percent-encoded.",
            Self::HeaderLine => "A header line is not a name, a colon and a value.",
            Self::HeaderValue => "The value of a header that decides is not UTF-8.",
            Self::TwinHeader => "A header has an underscore or a dot where its well-known twin has a hyphen.",
            Self::Host => "There has to be one Host, a name or address with an optional port.",
            Self::Authority => "The target's authority is not the Host.",
            Self::Authorization => "There is more than one Authorization.",
            Self::ContentLength => "The Content-Length is not one plain number.",
            Self::TransferCoding => "The only transfer coding is chunked, said once.",
            Self::LengthAndCoding => "There are both a Content-Length and a Transfer-Encoding.",
            Self::Chunk => "A chunk of the body is malformed, or has an extension or a trailer.",
        };
        Problem::BadRequest(Words::Borrowed(detail))
    }
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
mod tests {
    use super::*;

    const BYTES_MAX: usize = 16 * 1024;

    #[track_caller]
    fn check(head: impl AsRef<[u8]>, expected: Result<Framing, Refusal>) {
        let head = head.as_ref();
        let shown = String::from_utf8_lossy(&head[..head.len().min(300)]);
        let whole = read(head, 0, BYTES_MAX);
        let judged = whole.map(|head| match head {
            Head::Whole { framing, .. } => framing,
            Head::Partial { .. } => panic!("not whole: {shown}"),
        });
        assert_eq!(judged, expected, "{shown}");
        // Arriving byte by byte changes nothing.
        let mut scanned = 0;
        for arrived in 1..=head.len() {
            match read(&head[..arrived], scanned, BYTES_MAX) {
                Ok(Head::Partial { scanned: so_far }) => scanned = so_far,
                last => return assert_eq!(last, whole, "byte by byte: {shown}"),
            }
        }
        panic!("never whole: {shown}");
    }

    /// A head with everything it needs and these lines beside it.
    fn with(lines: &str) -> String {
        format!("POST /v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    /// A head with this request line.
    fn line(line: &str) -> String {
        format!("{line}\r\nHost: a\r\n\r\n")
    }

    const NO_BODY: Result<Framing, Refusal> = Ok(Framing::Length(0));

    #[test]
    fn a_plain_request_is_let_through_with_its_framing() {
        check("GET / HTTP/1.1\r\nHost: 127.0.0.1:8420\r\n\r\n", NO_BODY);
        check("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", NO_BODY);
        check(with("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        check(with("content-length:\t007 \r\n"), Ok(Framing::Length(7)));
        check(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        check(with("Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(Framing::Length(1)));
        check(with("Upgrade: h2c, websocket\r\nConnection: upgrade, X-Real-IP\r\n"), NO_BODY);
        check(with("User-Agent: Grüße\r\nX-Empty:\r\nx_harmless: 1\r\n"), NO_BODY);
    }

    #[test]
    fn lines_end_in_cr_lf_and_hold_no_control_character() {
        check("GET / HTTP/1.1\nHost: a\n\n", Err(Refusal::BareLineFeed));
        check("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Refusal::BareLineFeed));
        check("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(Refusal::BareLineFeed));
        check("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Err(Refusal::BareCarriageReturn));
        check("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Err(Refusal::BareCarriageReturn));
        for control in (0..b' ').chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')) {
            check(with(&format!("A: b{}c\r\n", char::from(control))), Err(Refusal::ControlByte));
        }
        check(with("A: b\tc\r\n"), NO_BODY);
        check(b"\x16\x03\x01\x02\x00\x01", Err(Refusal::ControlByte));
    }

    #[test]
    fn the_request_line_is_three_words() {
        for wrong in
            ["GET /", "GET", "", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET\t/ HTTP/1.1"]
        {
            check(line(wrong), Err(Refusal::RequestLine));
        }
        check(line("G@T / HTTP/1.1"), Err(Refusal::RequestLine));
        check(line("GÉT / HTTP/1.1"), Err(Refusal::RequestLine));
        check(line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2"), Err(Refusal::RequestLine));
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "http/1.1", "HTTP/1", "HTTPS/1.1"] {
            check(line(&format!("GET / {version}")), Err(Refusal::Version));
        }
        check("PRI * HTTP/2.0\r\n\r\n", Err(Refusal::Version));
    }

    #[test]
    fn methods_that_nobody_answers_are_refused_and_others_left_to_the_routes() {
        for method in
            ["GET", "HEAD", "OPTIONS", "PROPFIND", "BASELINE-CONTROL", &"A".repeat(METHOD_CHARS_MAX)]
        {
            check(line(&format!("{method} /v1/authorize HTTP/1.1")), NO_BODY);
        }
        for method in ["CONNECT", "TRACE", "get", "Get", "!", "G1", "-A", &"A".repeat(METHOD_CHARS_MAX + 1)] {
            check(line(&format!("{method} / HTTP/1.1")), Err(Refusal::Method));
        }
        check(line("CONNECT a:443 HTTP/1.1"), Err(Refusal::Method));
        check(line("OPTIONS * HTTP/1.1"), Err(Refusal::Method));
        check(line("GET * HTTP/1.1"), Err(Refusal::Target));
    }

    #[test]
    fn a_target_is_a_path_or_a_url_for_the_same_host() {
        for target in
            ["/", "/a//b/../%2e", "/?a=b&c[]=|^`{}", "/v1/authorize/@x/a:b@c;d={}|\\~\"", "/a?b?c", "*a"]
        {
            let expected = if target == "*a" { Err(Refusal::Target) } else { NO_BODY };
            check(line(&format!("GET {target} HTTP/1.1")), expected);
        }
        for target in ["http://a/", "HTTP://A", "https://a?x", "http://a"] {
            check(line(&format!("GET {target} HTTP/1.1")), NO_BODY);
        }
        for target in ["http://b/", "http://a:80/", "http://u@a/", "http:///", "http://a\\b/", "http://"] {
            check(line(&format!("GET {target} HTTP/1.1")), Err(Refusal::Authority));
        }
        for target in
            ["a", "ftp://a/", "://a/", "//a", "/#a", "/?#", "/<", "/é", "/a\u{a0}", "?a", "a:80", "/^"]
        {
            let expected = if target == "//a" { NO_BODY } else { Err(Refusal::Target) };
            check(line(&format!("GET {target} HTTP/1.1")), expected);
        }
        check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", Err(Refusal::Target));
    }

    #[test]
    fn whatever_target_is_let_through_the_http_library_reads_too() {
        for byte in 0..=u8::MAX {
            for target in [[b"/a", &[byte][..]].concat(), [b"/?a", &[byte][..]].concat()] {
                let head = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
                if let Ok(Head::Whole { .. }) = read(&head, 0, BYTES_MAX) {
                    let uri = hyper::Uri::try_from(&target[..]).unwrap();
                    assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), target);
                }
            }
        }
    }

    #[test]
    fn there_is_one_host_and_it_is_one() {
        let host = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
        for good in
            ["a", "A.b-c_d.example", "127.0.0.1", "a:0", "a:65535", "[::1]", "[::1]:8420", &"a".repeat(255)]
        {
            check(host(&format!("Host: {good}\r\n")), NO_BODY);
        }
        let bad = [
            "",
            "a b",
            "a@b",
            "a:",
            "a:65536",
            "a:1:2",
            "a:+1",
            "[::1",
            "::1",
            "[::1]x",
            "[a]",
            "[::1%eth0]",
        ];
        for bad in bad.into_iter().chain(["a,b", "a/b", "é", "a%41", "http://a", &"a".repeat(256)]) {
            check(host(&format!("Host: {bad}\r\n")), Err(Refusal::Host));
        }
        check(host("A: b\r\n"), Err(Refusal::Host));
        check(host("Host: a\r\nHost: a\r\n"), Err(Refusal::Host));
        check(host("Host: a\r\nhOST: b\r\n"), Err(Refusal::Host));
        check("GET / HTTP/1.0\r\n\r\n", Err(Refusal::Host));
    }

    #[test]
    fn a_header_is_a_name_a_colon_and_a_value() {
        for wrong in ["A", "A : b", ": b", " A: b", "\tA: b", "A b: c", "Ä: b", "A(: b"] {
            check(with(&format!("{wrong}\r\n")), Err(Refusal::HeaderLine));
        }
        check(with("A: b\r\n c\r\n"), Err(Refusal::HeaderLine));
    }

    #[test]
    fn a_value_that_is_no_text_is_refused_where_it_decides() {
        for name in ["Host", "Authorization", "Content-Length", "Transfer-Encoding", "expect"] {
            let head = [b"GET / HTTP/1.1\r\n", name.as_bytes(), b": \xff\r\n\r\n"].concat();
            check(head, Err(Refusal::HeaderValue));
        }
        check(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=\xfc\r\nUser-Agent: \xe9\r\n\r\n", NO_BODY);
        check(b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: \xff\r\n\r\n", Err(Refusal::TwinHeader));
    }

    #[test]
    fn a_body_is_delimited_in_one_way_only() {
        for length in
            ["", "+3", "-1", "0x3", "3 3", "3,3", "3.0", "9223372036854775808", "18446744073709551615"]
        {
            check(with(&format!("Content-Length: {length}\r\n")), Err(Refusal::ContentLength));
        }
        check(with("Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(CONTENT_LENGTH_MAX)));
        check(with("Content-Length: 3\r\nContent-Length: 3\r\n"), Err(Refusal::ContentLength));
        for coding in
            ["", "gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunked;a=b", "chunked,"]
        {
            check(with(&format!("Transfer-Encoding: {coding}\r\n")), Err(Refusal::TransferCoding));
        }
        for tabbed in ["\tchunked", "chunked\t", " \t chunked", "chunked \t "] {
            check(with(&format!("Transfer-Encoding:{tabbed}\r\n")), Err(Refusal::TransferCoding));
        }
        check(with("Transfer-Encoding:  chunked  \r\n"), Ok(Framing::Chunked));
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        check(with(twice), Err(Refusal::TransferCoding));
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        check(with(both), Err(Refusal::LengthAndCoding));
        let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(old, Err(Refusal::TransferCoding));
    }

    #[test]
    fn credentials_and_expectations_stand_once() {
        check(with("Authorization: Bearer x\r\n"), NO_BODY);
        check(with("Authorization: Bearer x\r\nauthorization: Bearer x\r\n"), Err(Refusal::Authorization));
        for expectation in ["", "200-ok", "100-continue, x"] {
            check(with(&format!("Expect: {expectation}\r\n")), Err(Refusal::Expectation));
        }
    }

    #[test]
    fn twins_of_headers_that_decide_are_refused() {
        for name in
            ["X_Forwarded_For", "x.forwarded.for", "X-Forwarded_Proto", "X_Auth_User", "X-Remote.User"]
        {
            check(with(&format!("{name}: x\r\n")), Err(Refusal::TwinHeader));
        }
        for name in ["Content_Length", "Transfer_Encoding", "content.type", "X_Real-IP", "X_Original_URL"] {
            check(with(&format!("{name}: 1\r\n")), Err(Refusal::TwinHeader));
        }
        for name in ["X-Forwarded-For", "X-Auth-User", "my_header", "a.b", "hos_t"] {
            check(with(&format!("{name}: x\r\n")), NO_BODY);
        }
    }

    #[test]
    fn a_head_ends_at_its_limit() {
        let head = |bytes: usize| {
            let frame = with("A: \r\n").len();
            with(&format!("A: {}\r\n", "a".repeat(bytes - frame)))
        };
        check(head(BYTES_MAX), NO_BODY);
        check(head(BYTES_MAX + 1), Err(Refusal::TooLarge));
        check(line(&format!("GET /{} HTTP/1.1", "a".repeat(BYTES_MAX))), Err(Refusal::TargetTooLong));
        let headers = |count: usize| with(&"A: b\r\n".repeat(count - 1));
        check(headers(HEADERS_MAX), NO_BODY);
        check(headers(HEADERS_MAX + 1), Err(Refusal::TooManyHeaders));
    }

    #[test]
    fn a_target_ends_at_the_limit_of_the_library() {
        for (bytes, expected) in
            [(TARGET_BYTES_MAX, NO_BODY), (TARGET_BYTES_MAX + 1, Err(Refusal::TargetTooLong))]
        {
            let target = format!("/{}", "a".repeat(bytes - 1));
            let head = line(&format!("GET {target} HTTP/1.1"));
            let judged = read(head.as_bytes(), 0, 1 << 20).map(|_| Framing::Length(0));
            assert_eq!(judged, expected);
            assert_eq!(hyper::Uri::try_from(target).is_ok(), expected.is_ok());
        }
    }

    #[test]
    fn an_unfinished_head_is_neither_good_nor_bad() {
        assert_eq!(read(b"", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
        assert_eq!(read(b"GET / HT", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
        assert_eq!(read(b"GET / HTTP/1.1\r\nHo", 0, BYTES_MAX), Ok(Head::Partial { scanned: 16 }));
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r", 16, BYTES_MAX), Ok(Head::Partial { scanned: 16 }));
        assert_eq!(read(b"\r", 0, BYTES_MAX), Ok(Head::Partial { scanned: 0 }));
    }

    #[test]
    fn refusals_are_4xx() {
        for refusal in
            [Refusal::Method, Refusal::Host, Refusal::TooLarge, Refusal::TooSlow, Refusal::Expectation]
        {
            assert!(refusal.problem().status().is_client_error(), "{}", refusal.name());
        }
    }
}
