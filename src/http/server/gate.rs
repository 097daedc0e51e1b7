//! Where one request of a connection ends and the next begins. Pure.
//!
//! It lets bytes through to the HTTP library only once the head that they belong to was judged, on
//! every request of a kept connection, also one that was sent ahead. For that it has to know where each
//! body ends, which a judged head leaves no doubt about.

use std::fmt;

use zeroize::Zeroizing;

use crate::http::front::{self, Framing, Head, Refusal};

/// The longest line before a chunk: 16 hexadecimal digits and the line end.
const CHUNK_LINE_BYTES_MAX: usize = 18;
const LINE_END: &[u8] = b"\r\n";
/// The longest head that is kept until the next one.
const LAST_BYTES_MAX: usize = 512;

/// The place in a connection's requests.
#[derive(Debug)]
pub(super) struct Gate {
    place: Place,
    head_bytes_max: usize,
    /// Whether an empty line came before this head; RFC 9112 section 2.2 lets one pass.
    blank: bool,
    /// Whether a whole head has passed.
    opened: bool,
    last: Last,
}

/// The last head that passed, if it was short, and what follows it. It may hold a credential: it is wiped with the
/// connection, and does not show.
struct Last {
    head: Zeroizing<Vec<u8>>,
    framing: Framing,
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last(..)")
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before or in a head, of which so many bytes were found good.
    Head { scanned: usize },
    /// In a body with so many bytes to come.
    Body { left: u64 },
    /// Before the size of a chunk.
    ChunkSize,
    /// In a chunk with so many bytes to come.
    Chunk { left: u64 },
    /// Before the line end that follows a chunk's bytes.
    ChunkEnd,
    /// Before the empty line that follows the last chunk.
    LastEnd,
}

impl Gate {
    pub(super) fn new(head_bytes_max: usize) -> Self {
        Self {
            place: Place::Head { scanned: 0 },
            head_bytes_max,
            blank: false,
            opened: false,
            last: Last { head: Zeroizing::default(), framing: Framing::Length(0) },
        }
    }

    /// Whether the next byte belongs to a head, so that a refusal can still be answered by one.
    pub(super) const fn is_at_head(&self) -> bool {
        matches!(self.place, Place::Head { .. })
    }

    /// Whether a request has been let through since the connection was made.
    pub(super) const fn has_opened(&self) -> bool {
        self.opened
    }

    /// How many of the bytes received and not yet handed on may be handed on now.
    ///
    /// 0 if more have to come first. What is refused is refused only once nothing good stands before it.
    pub(super) fn admit(&mut self, received: &[u8]) -> Result<usize, Refusal> {
        let mut admitted = 0;
        loop {
            let rest = received.get(admitted..).unwrap_or_default();
            match self.step(rest) {
                Ok(0) => return Ok(admitted),
                Ok(bytes) => admitted += bytes,
                Err(refusal) if admitted == 0 => return Err(refusal),
                Err(_) => return Ok(admitted),
            }
        }
    }

    /// Goes on by one part: a head, what there is of a body, a chunk's line.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        match self.place {
            Place::Head { scanned } => self.head(rest, scanned),
            Place::Body { left } => {
                let (bytes, left) = part(rest, left);
                self.place = if left == 0 { Place::Head { scanned: 0 } } else { Place::Body { left } };
                Ok(bytes)
            }
            Place::ChunkSize => self.chunk_size(rest),
            Place::Chunk { left } => {
                let (bytes, left) = part(rest, left);
                self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk { left } };
                Ok(bytes)
            }
            Place::ChunkEnd => self.line_end(rest, Place::ChunkSize),
            Place::LastEnd => self.line_end(rest, Place::Head { scanned: 0 }),
        }
    }

    fn head(&mut self, rest: &[u8], scanned: usize) -> Result<usize, Refusal> {
        if rest.starts_with(LINE_END) {
            return if core::mem::replace(&mut self.blank, true) {
                Err(Refusal::RequestLine)
            } else {
                self.place = Place::Head { scanned: 0 };
                Ok(LINE_END.len())
            };
        }
        match self.read(rest, scanned)? {
            Head::Partial { scanned } => {
                self.place = Place::Head { scanned };
                Ok(0)
            }
            Head::Whole { bytes, framing } => {
                self.blank = false;
                self.opened = true;
                self.place = match framing {
                    Framing::Length(0) => Place::Head { scanned: 0 },
                    Framing::Length(left) => Place::Body { left },
                    Framing::Chunked => Place::ChunkSize,
                };
                Ok(bytes)
            }
        }
    }

    /// Reads a head. A program that asks again and again over one connection mostly sends the same one, which was
    /// judged.
    fn read(&mut self, rest: &[u8], scanned: usize) -> Result<Head, Refusal> {
        let last = &mut self.last;
        if !last.head.is_empty() && rest.starts_with(&last.head) {
            return Ok(Head::Whole { bytes: last.head.len(), framing: last.framing });
        }
        let head = front::read(rest, scanned, self.head_bytes_max)?;
        if let Head::Whole { bytes, framing } = head
            && bytes <= LAST_BYTES_MAX
        {
            // Nothing moves it: that would leave a copy behind.
            last.head.clear();
            last.head.reserve_exact(LAST_BYTES_MAX);
            last.head.extend_from_slice(rest.get(..bytes).unwrap_or_default());
            last.framing = framing;
        }
        Ok(head)
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        let Some(end) = rest.iter().take(CHUNK_LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
            let may_go_on = rest.len() < CHUNK_LINE_BYTES_MAX
                && rest.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'\r');
            return if may_go_on { Ok(0) } else { Err(Refusal::Chunk) };
        };
        let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Refusal::Chunk)?;
        let left = hexadecimal(line).ok_or(Refusal::Chunk)?;
        self.place = if left == 0 { Place::LastEnd } else { Place::Chunk { left } };
        Ok(end.saturating_add(1))
    }

    fn line_end(&mut self, rest: &[u8], next: Place) -> Result<usize, Refusal> {
        if rest.starts_with(LINE_END) {
            self.place = next;
            Ok(LINE_END.len())
        } else if LINE_END.starts_with(rest) {
            Ok(0)
        } else {
            Err(Refusal::Chunk)
        }
    }
}

/// How much of `left` is there, and what then is left.
fn part(rest: &[u8], left: u64) -> (usize, u64) {
    let there = u64::try_from(rest.len()).unwrap_or(u64::MAX);
    match left.checked_sub(there) {
        Some(left) => (rest.len(), left),
        // What is left is less than what is there, which is a length in memory.
        None => (usize::try_from(left).unwrap_or(rest.len()), 0),
    }
}

/// Digits alone; at most 63 bits, so that no reader takes it for less than nothing.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let text = str::from_utf8(digits).ok()?;
    i64::from_str_radix(text, 16).ok().map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const FIVE: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";

    /// What gets through of a whole connection's bytes, and the refusal that ended it, if one did.
    fn passed(bytes: &[u8], step: usize) -> (usize, Option<Refusal>) {
        let mut gate = Gate::new(1024);
        let (mut admitted, mut arrived) = (0, 0);
        loop {
            match gate.admit(&bytes[admitted..arrived]) {
                Ok(0) if arrived == bytes.len() => return (admitted, None),
                Ok(0) => arrived = bytes.len().min(arrived + step),
                Ok(more) => admitted += more,
                Err(refusal) => return (admitted, Some(refusal)),
            }
        }
    }

    /// The good part passes and the rest does not, however the bytes arrive.
    #[track_caller]
    fn check(good: &str, rest: &str, refusal: Option<Refusal>) {
        let bytes = format!("{good}{rest}");
        for step in [1, 2, 3, 7, 64, bytes.len()] {
            assert_eq!(passed(bytes.as_bytes(), step), (good.len(), refusal), "{bytes:?} by {step}");
        }
    }

    #[test]
    fn requests_pass_one_after_the_other() {
        check(&GET.repeat(3), "", None);
        check(&format!("{FIVE}12345{GET}"), "", None);
        check(&format!("{CHUNKED}5\r\n12345\r\n00a\r\n0123456789\r\n0\r\n\r\n{GET}"), "", None);
        check(&format!("{CHUNKED}0\r\n\r\n{CHUNKED}1\r\nx\r\n0\r\n\r\n"), "", None);
        check(GET, "GET / HTTP/1.1\r\nHost:", None);
        check(&format!("{FIVE}1234"), "", None);
    }

    #[test]
    fn a_bad_request_behind_a_good_one_is_refused_all_the_same() {
        check(GET, "GET / HTTP/1.1\nHost: a\n\n", Some(Refusal::BareLineFeed));
        check(&format!("{FIVE}12345"), "GET / HTTP/1.1\r\n\r\n", Some(Refusal::Host));
        check(&format!("{CHUNKED}0\r\n\r\n"), "smuggled\r\n\r\n", Some(Refusal::RequestLine));
        check(&format!("{FIVE}12345"), "6\r\n\r\n", Some(Refusal::RequestLine));
    }

    #[test]
    fn a_head_that_is_not_quite_the_one_before_is_judged_anew() {
        let longer = "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
        check(GET, longer, Some(Refusal::Host));
        check(GET, "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Some(Refusal::HeaderLine));
        check(&format!("{FIVE}12345{FIVE}GET /{GET}{CHUNKED}0\r\n\r\n{FIVE}12345{GET}\r\n{GET}"), "", None);
        check(&format!("{GET}\r\n{GET}\r\n"), "\r\n", Some(Refusal::RequestLine));
    }

    #[test]
    fn the_last_head_is_kept_while_it_is_short_in_a_place_that_does_not_move() {
        let mut gate = Gate::new(4096);
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LAST_BYTES_MAX));
        assert_eq!(gate.admit(GET.as_bytes()), Ok(GET.len()));
        let place = gate.last.head.as_ptr();
        assert_eq!(gate.admit(long.as_bytes()), Ok(long.len()));
        assert_eq!(*gate.last.head, GET.as_bytes());
        assert_eq!(gate.admit(&CHUNKED.as_bytes()[..9]), Ok(0));
        assert_eq!(gate.admit(CHUNKED.as_bytes()), Ok(CHUNKED.len()));
        assert_eq!((&gate.last.head[..], gate.last.framing), (CHUNKED.as_bytes(), Framing::Chunked));
        assert!(format!("{gate:?}").contains("Last(..)"), "it may hold a credential");
        assert_eq!(gate.last.head.as_ptr(), place, "a buffer that grew would have left what it held behind");
    }

    #[test]
    fn a_body_may_look_like_anything() {
        check(&format!("{FIVE}\r\n\n\0\r{GET}"), "", None);
        check(&format!("{CHUNKED}6\r\n0\r\n\r\n\n\r\n0\r\n\r\n{GET}"), "", None);
    }

    #[test]
    fn a_chunk_has_one_spelling() {
        for line in
            ["", " 5", "5 ", "5;a=b", "0x5", "+5", "-5", "5\n", "g", "8000000000000000", "00000000000000005"]
        {
            check(CHUNKED, &format!("{line}\r\n12345\r\n0\r\n\r\n"), Some(Refusal::Chunk));
        }
        check(&format!("{CHUNKED}5\r\n12345"), "\n0\r\n\r\n", Some(Refusal::Chunk));
        check(&format!("{CHUNKED}5\r\n12345"), "6\r\n", Some(Refusal::Chunk));
        check(&format!("{CHUNKED}5\r\n12345"), "\rx", Some(Refusal::Chunk));
        check(&format!("{CHUNKED}0\r\n"), "Trailer: x\r\n\r\n", Some(Refusal::Chunk));
        check(&format!("{CHUNKED}0000000000000005\r\n12345\r\n0\r\n\r\n"), "", None);
        check(&format!("{CHUNKED}7fffffffffffffff\r\nx"), "", None);
    }

    #[test]
    fn one_empty_line_may_stand_before_a_request() {
        check(&format!("\r\n{GET}\r\n{GET}"), "", None);
        check("\r\n", "\r\n", Some(Refusal::RequestLine));
        check("", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Refusal::BareLineFeed));
    }

    #[test]
    fn nothing_has_opened_before_a_whole_head() {
        let mut gate = Gate::new(1024);
        assert_eq!(gate.admit(b"\r\nGET / HT"), Ok(2));
        assert!(gate.is_at_head() && !gate.has_opened());
        assert_eq!(gate.admit(FIVE.as_bytes()), Ok(FIVE.len()));
        assert!(!gate.is_at_head() && gate.has_opened());
    }
}
