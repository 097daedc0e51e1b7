//! What a request carries: its body under a byte cap, read strictly.
//!
//! [`Shape`] reads JSON objects by a table of fields, [`Form`] reads forms, [`Query`] what stands after
//! the question mark. Each takes one spelling and refuses the rest by name. How long a body may take is
//! the server's to say: it drops the whole handler, and with it the reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::problem::Problem;
use crate::token::{self, service_secrets::SECRET_BYTES_MIN};

mod json;
mod params;
mod shape;
mod taken;

pub use json::object as json_object;
pub use params::{Form, Query, decode as decode_form, lone_secret};
pub use shape::{Field, Kind, Shape};
pub use taken::{Body, Given, Taken};

/// The media type of forms (WHATWG URL, as RFC 6749 and RFC 7662 use it).
const FORM: &str = "application/x-www-form-urlencoded";
/// The media type of everything else.
const JSON: &str = "application/json";

/// The body of a request, not read yet.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    /// Set once nothing of this body is left in the connection.
    ended: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Source {
    Connection(Incoming),
    Memory(Bytes),
}

impl RequestBody {
    /// A body that is still under way. `ended` is the connection's own flag: whether its next byte
    /// belongs to another request.
    pub(super) fn under_way(incoming: Incoming, ended: Arc<AtomicBool>) -> Self {
        ended.store(incoming.is_end_stream(), Ordering::Release);
        Self { source: Source::Connection(incoming), ended }
    }

    /// A body that is all there.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Memory(bytes.into()), ended: Arc::new(AtomicBool::new(true)) }
    }

    /// Whether there is certainly none. False for a chunked body that turns out to be empty.
    pub fn is_absent(&self) -> bool {
        match &self.source {
            Source::Connection(incoming) => incoming.is_end_stream(),
            Source::Memory(bytes) => bytes.is_empty(),
        }
    }

    /// All of it, at most `bytes_max` bytes.
    ///
    /// [`Problem::TooLarge`] beyond that, before anything was read where the length was announced;
    /// [`Problem::BadRequest`] if it ends early or its chunks are malformed.
    pub async fn read(self, bytes_max: usize) -> Result<Bytes, Problem> {
        let mut incoming = match self.source {
            Source::Connection(incoming) => incoming,
            Source::Memory(bytes) if bytes.len() > bytes_max => return Err(Problem::TooLarge),
            Source::Memory(bytes) => return Ok(bytes),
        };
        let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(Problem::TooLarge);
        }
        let mut whole = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                return Err(Problem::BadRequest("The body ended early, or its chunks are malformed.".into()));
            };
            // Trailers are not let in; other frames carry nothing.
            if let Ok(part) = frame.into_data() {
                if part.len() > bytes_max.saturating_sub(whole.len()) {
                    return Err(Problem::TooLarge);
                }
                // Most bodies come in one part, which is then all of it and need not be copied.
                if whole.is_empty() && announced > 0 && part.len() == announced {
                    self.ended.store(true, Ordering::Release);
                    return Ok(part);
                }
                whole.reserve(announced.saturating_sub(whole.len()).max(part.len()));
                whole.extend_from_slice(&part);
            }
        }
        self.ended.store(true, Ordering::Release);
        Ok(whole.into())
    }
}

/// Reads a body that is one JSON object of the caller's own making, which is given back as it was sent.
pub async fn read_object(
    headers: &HeaderMap,
    body: RequestBody,
    bytes_max: usize,
) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    judge_media_type(headers, JSON)?;
    let members = json::object(&body.read(bytes_max).await?)?;
    if members.values().all(shape::is_exact) {
        Ok(members)
    } else {
        let detail = "must be a JSON object with no number that cannot be kept exactly";
        Err(Problem::InvalidField { field: None, detail: detail.into() })
    }
}

/// Whether the body says it is of this media type, in UTF-8 and in no coding. Asked before it is read.
fn judge_media_type(headers: &HeaderMap, media_type: &str) -> Result<(), Problem> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return Err(Problem::UnsupportedMediaType);
    };
    let said = only.to_str().map_err(|_| Problem::UnsupportedMediaType)?;
    if headers.contains_key(CONTENT_ENCODING) || !is_media_type(said, media_type) {
        return Err(Problem::UnsupportedMediaType);
    }
    Ok(())
}

/// `TYPE`, or `TYPE; charset=utf-8`, in any case and with optional white space (RFC 9110 section 8.3.1).
fn is_media_type(said: &str, media_type: &str) -> bool {
    let (essence, parameters) = said.split_once(';').map_or((said, None), |(e, p)| (e, Some(p)));
    if !essence.trim_matches([' ', '\t']).eq_ignore_ascii_case(media_type) {
        return false;
    }
    let Some(parameter) = parameters else { return true };
    let Some((name, value)) = parameter.trim_matches([' ', '\t']).split_once('=') else { return false };
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
}

/// The longest plain word that is repeated. A token of ours is longer.
const NAME_CHARS_MAX: usize = 64;
/// The longest of the other names. A service's secret, which may hold any character, is longer.
const ODD_NAME_BYTES_MAX: usize = SECRET_BYTES_MIN - 1;

/// Whether a name that a client sent may be repeated to it: no control characters, nor what a secret could be that
/// slipped into the place of a name.
fn is_fit(name: &str) -> bool {
    let is_short = name.len() <= if is_plain(name) { NAME_CHARS_MAX } else { ODD_NAME_BYTES_MAX };
    is_short && !name.chars().any(char::is_control) && !is_like_token(name)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Whether it could be a part of a token of ours, with its tag and the beginning of its id, or of a JWT.
fn is_like_token(name: &str) -> bool {
    let has_id = |kind: token::Kind| {
        let tag = format!("_{}_", kind.tag());
        name.split_once(&tag).is_some_and(|(_, id)| id.starts_with(|first: char| first.is_ascii_digit()))
    };
    name.starts_with("eyJ") || token::Kind::ALL.into_iter().any(has_id)
}

/// A name as a list shows it: as it is where it is a plain word, in quotes otherwise.
fn shown(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("\"{name}\"") }
}

/// How many unknown names of one request are repeated.
const UNKNOWN_NAMES_MAX: usize = 8;

/// The refusal of names that are not known, as they follow each other in the request. Only what is fit for it is
/// repeated, and not too much; the others are counted.
fn unknown(names: &[&str], what: &'static str) -> Problem {
    let mut fit = names.iter().copied().filter(|name| is_fit(name));
    let Some(first) = fit.next() else {
        return Problem::InvalidField {
            field: None,
            detail: format!("There is an unknown {what} in this request.").into(),
        };
    };
    let mut others: Vec<String> = fit.take(UNKNOWN_NAMES_MAX - 1).map(shown).collect();
    let unnamed = names.len().saturating_sub(others.len()).saturating_sub(1);
    if unnamed > 0 {
        others.push(format!("{unnamed} more"));
    }
    let mut detail = format!("is not a {what} of this request");
    if !others.is_empty() {
        detail = format!("{detail}; neither are: {}", others.join(", "));
    }
    Problem::field(first.to_owned(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[track_caller]
    fn check_type(said: &[&'static str], fits: bool) {
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(line));
        }
        let expected = if fits { Ok(()) } else { Err(Problem::UnsupportedMediaType) };
        assert_eq!(judge_media_type(&headers, JSON), expected, "{said:?}");
    }

    #[test]
    fn json_is_taken_in_utf_8_and_nothing_else() {
        check_type(&["application/json"], true);
        check_type(&["Application/JSON"], true);
        check_type(&["application/json; charset=utf-8"], true);
        check_type(&["application/json;charset=\"UTF-8\""], true);
        check_type(&[], false);
        check_type(&[""], false);
        check_type(&["text/plain"], false);
        check_type(&["application/jsonx"], false);
        check_type(&["application/json, text/plain"], false);
        check_type(&["application/json", "application/json"], false);
        check_type(&["application/json; charset=utf-7"], false);
        check_type(&["application/json; charset=utf-8; charset=utf-7"], false);
        check_type(&["application/json;"], false);
        check_type(&["application/json; version=1"], false);
        check_type(&["application/problem+json"], false);
    }

    #[test]
    fn an_encoded_body_is_refused_whatever_the_coding() {
        for coding in ["gzip", "br", "identity", "", "aes128gcm"] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(judge_media_type(&headers, JSON), Err(Problem::UnsupportedMediaType), "{coding}");
        }
    }

    #[test]
    fn a_name_is_repeated_unless_it_could_be_a_secret() {
        let pat = "bdr_pat_01jd8w3m5ze8vr3pa0n2q9k6ms0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345";
        for (name, fit) in [
            ("name", true),
            ("", true),
            ("$schema", true),
            ("@type", true),
            ("a b", true),
            ("name ", true),
            ("a/b:c", true),
            ("my_pat_id", true),
            ("keyJ", true),
            ("<script>", true),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
            (&format!("+{}", "a".repeat(30)), true),
            (&format!("+{}", "a".repeat(31)), false),
            ("a\n", false),
            ("a\u{7f}", false),
            ("a\u{85}", false),
            (pat, false),
            (&pat[..40], false),
            (&format!("x{}", &pat[3..50]), false),
            ("eyJhbGciOiJIUzI1NiJ9", false),
        ] {
            assert_eq!(is_fit(name), fit, "{name:?}");
        }
    }

    #[test]
    fn unknown_names_are_told_in_their_order_and_not_more_than_8() {
        #[track_caller]
        fn check(names: &[&str], field: &'static str, detail: &'static str) {
            assert_eq!(unknown(names, "field"), Problem::field(field, detail), "{names:?}");
        }
        check(&["a"], "a", "is not a field of this request");
        check(&["z", "x-1", "a.b"], "z", "is not a field of this request; neither are: x-1, a.b");
        check(&["a\n", "z", "\0"], "z", "is not a field of this request; neither are: 2 more");
        check(
            &["$a", "", "é", "b c"],
            "$a",
            "is not a field of this request; neither are: \"\", \"é\", \"b c\"",
        );
        let all: Vec<String> = (1..=UNKNOWN_NAMES_MAX + 1).map(|number| format!("n{number}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let eight = "is not a field of this request; neither are: n2, n3, n4, n5, n6, n7, n8";
        check(&all[..UNKNOWN_NAMES_MAX], "n1", eight);
        check(&all, "n1", "is not a field of this request; neither are: n2, n3, n4, n5, n6, n7, n8, 1 more");
    }

    #[tokio::test]
    async fn a_body_in_memory_is_capped_too() {
        assert_eq!(RequestBody::of("four").read(4).await, Ok(Bytes::from_static(b"four")));
        assert_eq!(RequestBody::of("four").read(3).await, Err(Problem::TooLarge));
    }
}
