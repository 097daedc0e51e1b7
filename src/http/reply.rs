//! An answer as a value: what handlers make and the server writes.
//!
//! A reply is complete before its first byte leaves, with its exact length, or it is a stream whose
//! end is said aloud: a stream that was cut short never looks like a whole one. Nothing here knows
//! what is answered or why; statuses of refusals are chosen in [`problem`](super::problem).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PRAGMA, SET_COOKIE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::problem::Problem;

/// Parts of a stream that may wait for a reader before the producer has to wait.
const STREAM_PARTS_MAX: usize = 4;

/// An answer: status, headers and body.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    payload: Payload,
}

/// What a reply carries.
enum Payload {
    /// All of it; taken once it was handed to the connection.
    Whole(Bytes),
    /// Part by part, from a producer that runs beside the connection.
    Stream(Inflow),
}

/// The reading end of a streamed reply.
struct Inflow {
    parts: mpsc::Receiver<Bytes>,
    complete: Arc<AtomicBool>,
}

/// The producing end of a streamed reply. Dropped without [`Outflow::finish`], it cuts the connection,
/// so that the reader knows that something is missing.
#[derive(Debug)]
pub struct Outflow {
    parts: mpsc::Sender<Bytes>,
    complete: Arc<AtomicBool>,
}

/// The reader of a stream went away, or stood still for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the stream is gone")]
pub struct ReaderGone;

/// A stream's producer stopped before its end. The connection is cut; nobody reads this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream stopped before its end")]
pub struct CutShort;

impl Reply {
    fn with(status: StatusCode, content_type: Option<&'static str>, payload: Payload) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(kind) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Self { status, headers, payload }
    }

    /// A JSON answer. A value that cannot be said in JSON is a fault of ours: 500.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        Self::json_as("application/json", status, value)
    }

    /// JSON under a media type of its own.
    pub fn json_as<T: Serialize + ?Sized>(media_type: &'static str, status: StatusCode, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => Self::with(status, Some(media_type), Payload::Whole(text.into())),
            Err(_) => Self::internal(),
        }
    }

    /// JSON that was made beforehand, such as a document that never changes.
    pub fn json_text(status: StatusCode, text: Bytes) -> Self {
        Self::with(status, Some("application/json"), Payload::Whole(text))
    }

    /// No body at all.
    pub fn empty(status: StatusCode) -> Self {
        Self::with(status, None, Payload::Whole(Bytes::new()))
    }

    /// A page for a browser. What makes it safe to show (CSP and the rest) is its maker's to add.
    pub fn html(status: StatusCode, page: String) -> Self {
        Self::with(status, Some("text/html; charset=utf-8"), Payload::Whole(page.into()))
    }

    /// Plain text under the media type given, which names its character set.
    pub fn text(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Self {
        Self::with(status, Some(media_type), Payload::Whole(text.into()))
    }

    /// 303 See Other to a path or URL of ours. Bytes that a header cannot carry are percent-encoded.
    pub fn redirect_303(location: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).said(LOCATION, &ascii_location(location))
    }

    /// 200 with a body whose length nobody knows yet, and the end to push its parts into.
    pub fn stream(media_type: &'static str) -> (Self, Outflow) {
        let (sender, receiver) = mpsc::channel(STREAM_PARTS_MAX);
        let complete = Arc::new(AtomicBool::new(false));
        let inflow = Inflow { parts: receiver, complete: Arc::clone(&complete) };
        let reply = Self::with(StatusCode::OK, Some(media_type), Payload::Stream(inflow));
        (reply, Outflow { parts: sender, complete })
    }

    fn internal() -> Self {
        Problem::Internal.into_reply()
    }

    /// Sets a header, in place of one of that name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a header to a text. A text that no header can carry (a control character) makes the whole
    /// answer a 500: half an answer about who somebody is must not be sent.
    #[must_use]
    pub fn said(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) => self.header(name, value),
            Err(_) => Self::internal(),
        }
    }

    /// The same for a text that is given away.
    #[must_use]
    pub fn saying(self, name: HeaderName, value: String) -> Self {
        match HeaderValue::try_from(value) {
            Ok(value) => self.header(name, value),
            Err(_) => Self::internal(),
        }
    }

    /// Makes room for so many headers at once.
    #[must_use]
    pub fn with_room(mut self, headers: usize) -> Self {
        self.headers.reserve(headers);
        self
    }

    /// Adds a header beside those of the same name.
    #[must_use]
    pub fn also(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Adds a header, unless this reply says something of that name already.
    #[must_use]
    pub fn also_unless_there(self, name: &HeaderName, value: &HeaderValue) -> Self {
        if self.headers.contains_key(name) { self } else { self.header(name.clone(), value.clone()) }
    }

    /// Adds a `Set-Cookie`, which no log may show, and forbids keeping the answer.
    #[must_use]
    pub fn cookie(self, line: &str) -> Self {
        match HeaderValue::from_bytes(line.as_bytes()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.also(SET_COOKIE, value).no_store()
            }
            Err(_) => Self::internal(),
        }
    }

    /// Nobody may keep this answer: it carries a secret, or is about one.
    #[must_use]
    pub fn no_store(self) -> Self {
        self.header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// The same for OAuth clients of old, which know `Pragma` only (RFC 6749 section 5.1).
    #[must_use]
    pub fn no_store_oauth(self) -> Self {
        self.no_store().header(PRAGMA, HeaderValue::from_static("no-cache"))
    }

    /// The connection ends with this answer.
    #[must_use]
    pub fn close(self) -> Self {
        self.header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers set so far; the length is not among them.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The whole body, unless it is a stream.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.payload {
            Payload::Whole(bytes) => Some(bytes),
            Payload::Stream(_) => None,
        }
    }

    /// Whether the body comes part by part.
    pub fn is_stream(&self) -> bool {
        match &self.payload {
            Payload::Whole(_) => false,
            Payload::Stream(_) => true,
        }
    }

    /// What hyper writes, with the exact length where it is known.
    pub(super) fn into_response(mut self) -> Response<ReplyBody> {
        if let Payload::Whole(bytes) = &self.payload
            && self.status != StatusCode::NO_CONTENT
        {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let mut response = Response::new(ReplyBody(self.payload));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A location in visible ASCII: everything else is percent-encoded byte by byte.
fn ascii_location(location: &str) -> String {
    use std::fmt::Write;
    let mut ascii = String::with_capacity(location.len());
    for byte in location.bytes() {
        if byte.is_ascii_graphic() {
            ascii.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(ascii, "%{byte:02X}");
        }
    }
    ascii
}

impl Outflow {
    /// Hands on a part, waiting while the reader is behind.
    pub async fn send(&self, part: Bytes) -> Result<(), ReaderGone> {
        self.parts.send(part).await.map_err(|_| ReaderGone)
    }

    /// The same for a producer on a thread of its own. Not for use on an async worker.
    pub fn send_blocking(&self, part: Bytes) -> Result<(), ReaderGone> {
        self.parts.blocking_send(part).map_err(|_| ReaderGone)
    }

    /// Says that nothing is missing.
    pub fn finish(self) {
        self.complete.store(true, Ordering::Release);
    }
}

/// A reply's body as hyper sends it.
pub(super) struct ReplyBody(Payload);

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut self.get_mut().0 {
            Payload::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Payload::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Payload::Stream(inflow) => inflow.parts.poll_recv(context).map(|part| match part {
                Some(part) => Some(Ok(Frame::data(part))),
                None if inflow.complete.load(Ordering::Acquire) => None,
                None => Some(Err(CutShort)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Payload::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Payload::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they may carry a fresh token.
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn a_whole_reply_says_its_exact_length() {
        let response = Reply::json(StatusCode::CREATED, &["é"]).into_response();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["content-length"], "6");
        assert_eq!(response.headers()["content-type"], "application/json");
    }

    #[test]
    fn no_content_has_no_length_and_no_type() {
        let response = Reply::empty(StatusCode::NO_CONTENT).into_response();
        assert!(response.headers().is_empty());
    }

    #[test]
    fn an_empty_body_of_another_status_has_length_zero() {
        assert_eq!(Reply::empty(StatusCode::OK).into_response().headers()["content-length"], "0");
    }

    #[test]
    fn a_cookie_is_sensitive_and_not_stored() {
        let reply = Reply::empty(StatusCode::NO_CONTENT).cookie("a=b");
        assert!(reply.headers()["set-cookie"].is_sensitive());
        assert_eq!(reply.headers()["cache-control"], "no-store");
    }

    #[test]
    fn debug_shows_no_byte_of_the_body() {
        let shown = format!("{:?}", Reply::json(StatusCode::OK, "canary").cookie("s=canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_value_that_no_header_can_carry_is_a_500() {
        for value in ["a\r\nb: c", "a\0", "a\u{7f}"] {
            assert_eq!(Reply::empty(StatusCode::OK).said(LOCATION, value).status(), 500, "{value:?}");
            let given = value.to_owned();
            assert_eq!(Reply::empty(StatusCode::OK).saying(LOCATION, given).status(), 500, "{value:?}");
            assert_eq!(Reply::empty(StatusCode::OK).cookie(value).status(), 500, "{value:?}");
        }
    }

    #[test]
    fn a_redirect_is_visible_ascii() {
        let reply = Reply::redirect_303("/über uns?a=b#c");
        assert_eq!(reply.status(), 303);
        assert_eq!(reply.headers()["location"], "/%C3%BCber%20uns?a=b#c");
    }

    #[tokio::test]
    async fn a_finished_stream_ends_and_an_unfinished_one_is_an_error() {
        for finish in [true, false] {
            let (reply, outflow) = Reply::stream("application/octet-stream");
            assert!(reply.is_stream());
            outflow.send(Bytes::from_static(b"part")).await.unwrap();
            if finish {
                outflow.finish();
            } else {
                drop(outflow);
            }
            let body = reply.into_response().into_body().collect().await;
            assert_eq!(body.map(http_body_util::Collected::to_bytes).ok(), finish.then(|| "part".into()));
        }
    }

    #[tokio::test]
    async fn a_producer_learns_that_its_reader_is_gone() {
        let (reply, outflow) = Reply::stream("application/octet-stream");
        drop(reply);
        assert_eq!(outflow.send(Bytes::new()).await, Err(ReaderGone));
    }
}
