//! Forms and queries: pairs of name and value, strictly decoded.
//!
//! A name that stands twice is refused, and so is what does not decode to UTF-8: two readers would
//! take different values from it.

use hyper::HeaderMap;
use memchr::memchr2;

use super::{FORM, RequestBody, judge_media_type, unknown};
use crate::http::problem::Problem;
use crate::http::time::{parse_rfc3339, parse_rfc3339_end};
use crate::records::Time;
use crate::token::Secret;

/// How many parameters there may be.
const PARAMETERS_MAX: usize = 64;

/// Names under which clients of other daemons send credentials in a query. They are never read as such
/// here, and never a reason to refuse: what is asked is answered as if they were not there.
const IGNORED: [&str; 3] = ["access_token", "token", "api_key"];

/// A form body. Parameters that nobody asks for are ignored (RFC 6749 section 3.1).
#[derive(Debug)]
pub struct Form(Pairs);

/// What stands after the question mark, of which a route takes only the names that it lists.
#[derive(Debug)]
pub struct Query(Pairs);

/// Decoded pairs, each name once. The values may be secrets, and do not show.
struct Pairs(Vec<(String, Secret)>);

/// Why a text is not read.
enum Fault {
    /// It does not decode.
    Malformed,
    /// A name stands twice.
    Repeated(String),
    /// There are more than [`PARAMETERS_MAX`].
    TooMany,
}

impl Form {
    /// A form with nothing in it.
    pub const fn empty() -> Self {
        Self(Pairs(Vec::new()))
    }

    /// Reads the body of a request. Its media type is judged first, then its size, then its text.
    pub async fn read(headers: &HeaderMap, body: RequestBody, bytes_max: usize) -> Result<Self, Problem> {
        judge_media_type(headers, FORM)?;
        let text = body.read(bytes_max).await?;
        Self::parse(&text)
    }

    /// Reads the text of a form.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        match Pairs::parse(text, &[]) {
            Ok(pairs) => Ok(Self(pairs)),
            Err(Fault::Malformed) => Err(Problem::BadRequest("The form is not well-formed UTF-8.".into())),
            Err(Fault::Repeated(_)) => {
                Err(Problem::BadRequest("A parameter of the form stands twice.".into()))
            }
            Err(Fault::TooMany) => Err(Problem::BadRequest("The form has too many parameters.".into())),
        }
    }

    /// The value of a parameter. An empty one counts as not sent (RFC 6749 section 3.1).
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.find(name).map(Secret::expose).filter(|text| !text.is_empty())
    }

    /// The same, taken out, for what opens something.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.0.take(name).filter(|secret| !secret.expose().is_empty())
    }
}

/// The value of the one parameter `name` of a query that is otherwise not ours to judge: whoever passes an
/// address on may have added anything to it, also what no reader can decode. A `name` that stands twice, in
/// whatever spelling, is nobody's: two readers would take different values.
pub fn lone_secret(query: &str, name: &str) -> Option<Secret> {
    let mut values = query.split('&').filter_map(|pair| {
        let (said, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(said.as_bytes()).as_deref() == Some(name)).then_some(value)
    });
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    decode(only.as_bytes()).map(Secret::new).filter(|secret| !secret.expose().is_empty())
}

impl Query {
    /// A query with nothing in it.
    pub const fn empty() -> Self {
        Self(Pairs(Vec::new()))
    }

    /// Reads a query of which a route takes these names. Any other, and one that stands twice, is an
    /// [`Problem::InvalidField`] that names it, but for credentials, which are ignored.
    pub fn parse(query: Option<&str>, names: &[&str]) -> Result<Self, Problem> {
        let ignored: Vec<&str> = IGNORED.into_iter().filter(|name| !names.contains(name)).collect();
        let pairs = match Pairs::parse(query.unwrap_or_default().as_bytes(), &ignored) {
            Ok(pairs) => pairs,
            Err(Fault::Malformed) => {
                return Err(Problem::BadRequest("The query is not well-formed UTF-8.".into()));
            }
            Err(Fault::TooMany) => {
                return Err(Problem::BadRequest("The query has too many parameters.".into()));
            }
            Err(Fault::Repeated(name)) if names.contains(&name.as_str()) => {
                return Err(Problem::field(name, "must stand only once"));
            }
            Err(Fault::Repeated(name)) => return Err(unknown(&[&name], "parameter")),
        };
        let sent = pairs.0.iter().map(|(name, _)| name.as_str());
        let strangers: Vec<&str> = sent.filter(|name| !names.contains(name)).collect();
        if strangers.is_empty() { Ok(Self(pairs)) } else { Err(unknown(&strangers, "parameter")) }
    }

    /// The value of a parameter; an empty one is a value.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.find(name).map(Secret::expose)
    }

    /// The value of a parameter that opens something, taken out.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        self.0.take(name)
    }

    /// A whole number within bounds, written in digits alone.
    pub fn integer(&self, name: &'static str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| (min..=max).contains(number))
            .map(Some)
            .ok_or_else(|| Problem::field(name, format!("must be a whole number from {min} to {max}")))
    }

    /// A time, RFC 3339 in UTC with `Z`: the second that it lies in.
    pub fn time(&self, name: &'static str) -> Result<Option<Time>, Problem> {
        self.time_by(name, parse_rfc3339)
    }

    /// The end of a span, in the same spelling.
    pub fn end(&self, name: &'static str) -> Result<Option<Time>, Problem> {
        self.time_by(name, parse_rfc3339_end)
    }

    fn time_by(
        &self,
        name: &'static str,
        read: impl Fn(&str) -> Option<Time>,
    ) -> Result<Option<Time>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        read(text)
            .map(Some)
            .ok_or_else(|| Problem::field(name, "must be a time such as 2026-01-31T12:00:00Z"))
    }
}

impl Pairs {
    /// All pairs but those of names that are to be ignored, also where such a name stands twice.
    fn parse(text: &[u8], ignored: &[&str]) -> Result<Self, Fault> {
        let mut pairs: Vec<(String, Secret)> = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default()).ok_or(Fault::Malformed)?;
            let value = decode(halves.next().unwrap_or_default()).ok_or(Fault::Malformed)?;
            if ignored.contains(&name.as_str()) {
                continue;
            }
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Fault::Repeated(name));
            }
            if pairs.len() == PARAMETERS_MAX {
                return Err(Fault::TooMany);
            }
            pairs.push((name, Secret::new(value)));
        }
        Ok(Self(pairs))
    }

    fn find(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn take(&mut self, name: &str) -> Option<Secret> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} parameters", self.0.len())
    }
}

/// `+` is a space, `%` and two hexadecimal digits a byte; the whole has to be UTF-8.
pub fn decode(text: &[u8]) -> Option<String> {
    // Tokens and most names stand there as they are.
    if memchr2(b'%', b'+', text).is_none() {
        return String::from_utf8(text.to_vec()).ok();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let byte = match (first, after.split_first_chunk::<2>()) {
            (b'%', Some(([high, low], behind))) => {
                rest = behind;
                (digit(*high)? << 4) | digit(*low)?
            }
            (b'%', None) => return None,
            (plain, _) => {
                rest = after;
                if *plain == b'+' { b' ' } else { *plain }
            }
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_form(text: &[u8], expected: Option<&[(&str, &str)]>) {
        let form = Form::parse(text).ok();
        assert_eq!(form.is_some(), expected.is_some(), "{}", String::from_utf8_lossy(text));
        for (name, value) in expected.into_iter().flatten() {
            assert_eq!(form.as_ref().unwrap().text(name), Some(*value), "{name}");
        }
    }

    #[test]
    fn a_form_is_decoded_strictly() {
        check_form(b"", Some(&[]));
        check_form(
            b"token=a&token_type_hint=access_token",
            Some(&[("token", "a"), ("token_type_hint", "access_token")]),
        );
        check_form(b"a=b=c&d", Some(&[("a", "b=c")]));
        check_form(b"&a=1&&b=2&", Some(&[("a", "1"), ("b", "2")]));
        check_form(b"a=%C3%a9+x%2B", Some(&[("a", "é x+")]));
        check_form("a=é".as_bytes(), Some(&[("a", "é")]));
        check_form(b"%74oken=a", Some(&[("token", "a")]));
        for malformed in [&b"a=%"[..], b"a=%1", b"a=%zz", b"a=%+1", b"a=%ff", b"a=\xff", b"%ff=a", b"a=%C3"] {
            check_form(malformed, None);
        }
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused_however_it_is_spelled() {
        for text in ["token=a&token=a", "token=a&x=1&%74oken=b", "token=&token=", "x&x"] {
            check_form(text.as_bytes(), None);
        }
    }

    #[test]
    fn there_are_at_most_64_parameters() {
        let form = |n: usize| (0..n).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        check_form(form(PARAMETERS_MAX).as_bytes(), Some(&[]));
        check_form(form(PARAMETERS_MAX + 1).as_bytes(), None);
    }

    #[test]
    fn an_empty_parameter_of_a_form_counts_as_not_sent() {
        let mut form = Form::parse(b"token=&x").unwrap();
        assert_eq!(form.text("token"), None);
        assert!(form.secret("token").is_none());
        assert_eq!(form.text("x"), None);
    }

    #[test]
    fn a_secret_is_taken_out_and_never_shown() {
        let mut form = Form::parse(b"token=canary").unwrap();
        assert!(!format!("{form:?}").contains("canary"));
        assert_eq!(form.secret("token").unwrap().expose(), "canary");
        assert!(form.secret("token").is_none());
    }

    #[track_caller]
    fn check_query(query: &str, expected: impl Into<Option<Problem>>) {
        assert_eq!(Query::parse(Some(query), &["limit", "cursor"]).err(), expected.into(), "{query}");
    }

    #[test]
    fn a_query_has_only_the_names_that_its_route_lists() {
        assert!(Query::parse(None, &[]).is_ok());
        check_query("limit=1&cursor=x", None);
        check_query("", None);
        check_query("limits=1", Some(Problem::field("limits", "is not a parameter of this request")));
        let three = "is not a parameter of this request; neither are: a-b, c.d";
        check_query("limits=1&limit=1&a-b=&c.d", Some(Problem::field("limits", three)));
        check_query("limit=1&limit=1", Some(Problem::field("limit", "must stand only once")));
        check_query("limit=%", Some(Problem::BadRequest("The query is not well-formed UTF-8.".into())));
        let nameless = Problem::InvalidField {
            field: None,
            detail: "There is an unknown parameter in this request.".into(),
        };
        check_query("a%0a=1", Some(nameless));
        check_query("%3Cb%3E=1", Some(Problem::field("<b>", "is not a parameter of this request")));
    }

    #[test]
    fn a_credential_in_a_query_is_ignored() {
        check_query("access_token=x&limit=1&token=y&token=z", None);
        let query = Query::parse(Some("access_token=x&token=y"), &["token"]).unwrap();
        assert_eq!(query.text("access_token"), None);
        assert_eq!(query.text("token"), Some("y"));
    }

    #[test]
    fn one_parameter_is_read_whatever_stands_beside_it() {
        #[track_caller]
        fn check(query: &str, expected: Option<&str>) {
            let read = lone_secret(query, "token");
            assert_eq!(read.as_ref().map(Secret::expose), expected, "{query}");
        }
        let many = (0..=PARAMETERS_MAX).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        for strangers in ["", "utm=1&utm=2", "a=%", "a=%zz", "a=%ff", "%=1", "%ff=token", "&&x&=", &many] {
            check(&format!("token=good&{strangers}"), Some("good"));
            check(&format!("{strangers}&token=good"), Some("good"));
            check(strangers, None);
        }
        check("%74oken=a%2Bb+c", Some("a+b c"));
        for nobodys in ["token=a&token=a", "token=a&%74oken=b", "token=&token=a", "token&token=a"] {
            check(nobodys, None);
        }
        for bad in ["token", "token=", "token=%", "token=%ff", "Token=a", "x=token=a"] {
            check(bad, None);
        }
    }

    #[track_caller]
    fn check_integer(text: &str, expected: Option<u64>) {
        let query = format!("limit={text}");
        let query = Query::parse(Some(&query), &["limit"]).unwrap();
        match expected {
            Some(_) => assert_eq!(query.integer("limit", 1, 500), Ok(expected), "{text}"),
            None => assert_eq!(
                query.integer("limit", 1, 500),
                Err(Problem::field("limit", "must be a whole number from 1 to 500")),
                "{text}"
            ),
        }
    }

    #[test]
    fn a_number_in_a_query_is_digits_within_its_bounds() {
        check_integer("1", Some(1));
        check_integer("500", Some(500));
        for wrong in ["0", "501", "", "%2B1", "-1", "1.0", "1e2", "0x1", "1_0", "18446744073709551617", "١"]
        {
            check_integer(wrong, None);
        }
        assert_eq!(Query::parse(None, &[]).unwrap().integer("limit", 1, 500), Ok(None));
    }

    #[test]
    fn a_time_in_a_query_is_rfc_3339_in_utc() {
        let time = |text: &str| Query::parse(Some(text), &["since"]).unwrap().time("since");
        assert_eq!(time("since=1970-01-01T00:01:00Z"), Ok(Some(Time::from_unix(60))));
        assert_eq!(time(""), Ok(None));
        assert!(time("since=yesterday").is_err());
    }
}
