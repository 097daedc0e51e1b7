//! Why a request is refused before any route sees it, and what its client is told.
//!
//! Nothing that a client sent is repeated.

use crate::http::problem::{Problem, Words};

/// What an answer to a method that is never allowed offers instead.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// Seconds after which there may be room for another connection.
const CROWDED_RETRY_SECONDS: u64 = 1;

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
    /// More than [`HEADERS_MAX`](super::HEADERS_MAX).
    TooManyHeaders,
    /// Begun, and not ended in time.
    TooSlow,
    /// Not looked at: there are too many connections.
    Crowded,
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
            Self::Crowded => "too_many_connections",
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
            Self::Crowded => {
                return Problem::RateLimited { retry_after_seconds: CROWDED_RETRY_SECONDS };
            }
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
