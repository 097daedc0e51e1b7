//! The fields of a JSON request as a table: what is read by it is also what `OpenAPI` is made from.
//!
//! A shape knows names, types and bounds. What a value means, and whether it is allowed, is the rules'.

use hyper::HeaderMap;
use serde_json::{Map, Value};

use super::taken::{Body, Datum};
use super::{JSON, RequestBody, json, judge_media_type, unknown};
use crate::http::problem::Problem;
use crate::http::time::parse_rfc3339_end;
use crate::token::Secret;

/// The fields of one request.
///
/// ```
/// use bearerd::http::body::{Field, Kind, Shape};
/// use bearerd::token::Secret;
///
/// const LOGIN: Shape = Shape(&[
///     Field::required("email", Kind::Text { bytes_max: 254 }, "whose session it will be"),
///     Field::required("password", Kind::Secret { bytes_max: 1024 }, "that user's password"),
/// ]);
///
/// let mut body = LOGIN.parse(br#"{"email":"a@example.com","password":"correct horse"}"#).unwrap();
/// assert_eq!(body.need::<String>("email").unwrap(), "a@example.com");
/// assert_eq!(body.need::<Secret>("password").unwrap().expose(), "correct horse");
/// assert_eq!(LOGIN.parse(br#"{"e_mail":"a"}"#).unwrap_err().code(), "invalid_field");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Shape(pub &'static [Field]);

/// One field of a request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name, `[a-z_]+`.
    pub name: &'static str,
    /// What it can hold.
    pub kind: Kind,
    /// Whether it has to be there.
    pub required: bool,
    /// Whether it can be `null`, which then means something other than leaving it out.
    pub nullable: bool,
    /// What it is for, for people.
    pub doc: &'static str,
}

/// What a field can hold.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A text: `String`.
    Text {
        /// Its length in UTF-8.
        bytes_max: usize,
    },
    /// A text that opens something: [`Secret`].
    Secret {
        /// Its length in UTF-8.
        bytes_max: usize,
    },
    /// One of these words: `&'static str`.
    Word(&'static [&'static str]),
    /// A whole number: `i64`, `u64`, `u32`.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// True or false: `bool`.
    Flag,
    /// The end of a span, RFC 3339 in UTC with `Z`: [`Time`](crate::records::Time).
    End,
    /// Any JSON object: `Map<String, Value>`.
    Object {
        /// Its length when written without white space.
        bytes_max: usize,
    },
    /// A list of texts: `Vec<String>`.
    Texts {
        /// How many there may be.
        items_max: usize,
        /// The length of each in UTF-8.
        bytes_max: usize,
    },
    /// A list of texts that open something: `Vec<Secret>`.
    Secrets {
        /// How many there may be.
        items_max: usize,
        /// The length of each in UTF-8.
        bytes_max: usize,
    },
}

impl Field {
    /// A field that has to be there.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: true, nullable: false, doc }
    }

    /// A field that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: false, nullable: false, doc }
    }

    /// A field that may be left out or be `null`.
    pub const fn nullable(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: false, nullable: true, doc }
    }
}

impl Shape {
    /// Reads the body of a request. Its media type is judged first, then its size, then its text.
    ///
    /// A request without a body is an empty object, where no field is required.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: RequestBody,
        bytes_max: usize,
    ) -> Result<Body, Problem> {
        if body.is_absent() && !self.requires_anything() {
            return self.filled(Map::new());
        }
        judge_media_type(headers, JSON)?;
        let text = body.read(bytes_max).await?;
        self.parse(&text)
    }

    /// Reads the text of a body.
    ///
    /// [`Problem::InvalidJson`], then [`Problem::InvalidField`] for the members that are not in the table,
    /// then, in the table's order, [`Problem::InvalidField`] or [`Problem::MissingField`].
    pub fn parse(&self, text: &[u8]) -> Result<Body, Problem> {
        if text.is_empty() && !self.requires_anything() {
            return self.filled(Map::new());
        }
        let members = json::object(text)?;
        if members.keys().any(|name| !self.has(name)) {
            let names = json::names(text)?;
            let strangers: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| !self.has(name)).collect();
            return Err(unknown(&strangers, "field"));
        }
        self.filled(members)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.name == name)
    }

    fn requires_anything(&self) -> bool {
        self.0.iter().any(|field| field.required)
    }

    fn filled(&self, mut members: Map<String, Value>) -> Result<Body, Problem> {
        let mut data = Vec::with_capacity(members.len());
        for field in self.0 {
            match members.remove(field.name) {
                Some(value) => data.push((field.name, field.judge(value)?)),
                None if field.required => return Err(Problem::missing(field.name)),
                None => {}
            }
        }
        Ok(Body(data))
    }
}

impl Field {
    fn judge(&self, value: Value) -> Result<Datum, Problem> {
        if value.is_null() && self.nullable {
            return Ok(Datum::Null);
        }
        self.kind.judge(value).ok_or_else(|| Problem::field(self.name, self.kind.expectation()))
    }
}

impl Kind {
    /// The value if it is of this kind and within its bounds.
    fn judge(self, value: Value) -> Option<Datum> {
        match self {
            Self::Text { bytes_max } => text(value, bytes_max).map(Datum::Text),
            Self::Secret { bytes_max } => text(value, bytes_max).map(Secret::new).map(Datum::Secret),
            Self::Word(words) => {
                let said = value.as_str()?;
                words.iter().find(|word| **word == said).map(|word| Datum::Word(word))
            }
            Self::Integer { min, max } => {
                value.as_i64().filter(|number| (min..=max).contains(number)).map(Datum::Integer)
            }
            Self::Flag => value.as_bool().map(Datum::Flag),
            Self::End => value.as_str().and_then(parse_rfc3339_end).map(Datum::Time),
            Self::Object { bytes_max } => object(value, bytes_max).map(Datum::Object),
            Self::Texts { items_max, bytes_max } => {
                list(value, items_max, |item| text(item, bytes_max)).map(Datum::Texts)
            }
            Self::Secrets { items_max, bytes_max } => {
                list(value, items_max, |item| text(item, bytes_max).map(Secret::new)).map(Datum::Secrets)
            }
        }
    }

    /// What would have been right, with the bound, to stand behind the field's name.
    pub fn expectation(self) -> String {
        match self {
            Self::Text { bytes_max } | Self::Secret { bytes_max } => {
                format!("must be a text of at most {bytes_max} bytes")
            }
            Self::Word(words) => format!("must be one of {}", words.join(", ")),
            Self::Integer { min, max } => format!("must be a whole number from {min} to {max}"),
            Self::Flag => "must be true or false".to_owned(),
            Self::End => "must be a time such as 2026-01-31T12:00:00Z".to_owned(),
            Self::Object { bytes_max } => format!(
                "must be a JSON object of at most {bytes_max} bytes, with no number that cannot be kept exactly"
            ),
            Self::Texts { items_max, bytes_max } | Self::Secrets { items_max, bytes_max } => {
                format!("must be a list of at most {items_max} texts of at most {bytes_max} bytes each")
            }
        }
    }
}

fn text(value: Value, bytes_max: usize) -> Option<String> {
    match value {
        Value::String(text) if text.len() <= bytes_max => Some(text),
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

fn list<T>(value: Value, items_max: usize, judge: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(items) = value else { return None };
    if items.len() > items_max {
        return None;
    }
    items.into_iter().map(judge).collect()
}

fn object(value: Value, bytes_max: usize) -> Option<Map<String, Value>> {
    let Value::Object(members) = value else { return None };
    let bytes = serde_json::to_vec(&members).ok()?.len();
    (bytes <= bytes_max && members.values().all(is_exact)).then_some(members)
}

/// Whether every number in it can be given back as it was sent. A whole number beyond 64 bits cannot:
/// it was rounded to a float when it was read.
pub(super) fn is_exact(value: &Value) -> bool {
    /// 2^63, where whole numbers stop to have a type of their own on one side or the other.
    const FLOAT_MAX: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().is_some_and(|n| n.abs() < FLOAT_MAX),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::body::Given, records::Time};

    const EVERYTHING: Shape = Shape(&[
        Field::required("text", Kind::Text { bytes_max: 4 }, ""),
        Field::optional("secret", Kind::Secret { bytes_max: 4 }, ""),
        Field::optional("word", Kind::Word(&["opaque", "jwt"]), ""),
        Field::nullable("integer", Kind::Integer { min: 1, max: 3650 }, ""),
        Field::optional("flag", Kind::Flag, ""),
        Field::optional("time", Kind::End, ""),
        Field::optional("object", Kind::Object { bytes_max: 11 }, ""),
        Field::optional("texts", Kind::Texts { items_max: 2, bytes_max: 2 }, ""),
        Field::optional("secrets", Kind::Secrets { items_max: 2, bytes_max: 2 }, ""),
    ]);

    const NOTHING_REQUIRED: Shape = Shape(&[Field::optional("flag", Kind::Flag, "")]);

    /// What is wrong with a request that has everything required and this member beside it.
    fn fault(member: &str) -> Option<(String, Option<String>)> {
        let text = format!("{{\"text\":\"a\",{member}}}");
        match EVERYTHING.parse(text.as_bytes()) {
            Ok(_) => None,
            Err(Problem::InvalidField { field, detail }) => Some((detail.into(), field.map(Into::into))),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn fits(member: &str) {
        assert_eq!(fault(member), None, "{member}");
    }

    #[track_caller]
    fn fails(member: &str, name: &str, hint: &str) {
        let (detail, field) = fault(member).unwrap();
        assert_eq!(field.as_deref(), Some(name), "{member}");
        assert!(detail.contains(hint), "{member}: {detail}");
    }

    #[test]
    fn each_kind_takes_what_it_is_and_names_its_bound() {
        fits(r#""secret":"1234""#);
        fails(r#""secret":"12345""#, "secret", "at most 4 bytes");
        fails(r#""secret":1234"#, "secret", "a text");
        fails(r#""secret":null"#, "secret", "a text");
        fails(r#""secret":"éé!""#, "secret", "at most 4 bytes");
        fits(r#""word":"jwt""#);
        fails(r#""word":"JWT""#, "word", "one of opaque, jwt");
        fits(r#""flag":false"#);
        fails(r#""flag":"false""#, "flag", "true or false");
        fails(r#""flag":0"#, "flag", "true or false");
        fits(r#""time":"2026-11-22T05:41:54Z""#);
        fails(r#""time":"2026-11-22T05:41:54+01:00""#, "time", "such as");
        fails(r#""time":"2026-02-30T05:41:54Z""#, "time", "such as");
        fails(r#""time":"1969-12-31T23:59:59Z""#, "time", "such as");
        fails(r#""time":0"#, "time", "such as");
    }

    #[test]
    fn whole_numbers_end_at_their_bounds_and_have_no_other_spelling() {
        fits(r#""integer":1"#);
        fits(r#""integer":3650"#);
        for wrong in ["0", "3651", "-1", "1.0", "1.5", "1e2", "\"7\"", "true", "[1]"] {
            fails(&format!("\"integer\":{wrong}"), "integer", "from 1 to 3650");
        }
        for huge in ["18446744073709551616", "9223372036854775808", "-9223372036854775809", "1e300"] {
            fails(&format!("\"integer\":{huge}"), "integer", "from 1 to 3650");
        }
    }

    #[test]
    fn objects_and_lists_end_at_their_bounds() {
        fits(r#""object":{ "a" : "123" }"#);
        fails(r#""object":{"a":"1234"}"#, "object", "at most 11 bytes");
        fails(r#""object":[]"#, "object", "a JSON object");
        fits(r#""texts":["ab","cd"]"#);
        fits(r#""texts":[]"#);
        fails(r#""texts":["a","b","c"]"#, "texts", "at most 2 texts");
        fails(r#""texts":["abc"]"#, "texts", "at most 2 bytes");
        fails(r#""texts":["a",1]"#, "texts", "a list");
        fails(r#""texts":"a""#, "texts", "a list");
        fails(r#""secrets":["a","b","c"]"#, "secrets", "at most 2 texts");
    }

    #[test]
    fn an_object_keeps_no_number_that_it_cannot_give_back() {
        const ANY: Shape = Shape(&[Field::required("o", Kind::Object { bytes_max: 100 }, "")]);
        for (number, kept) in [
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("-9223372036854775809", false),
            ("1e300", false),
            ("-0.5", true),
        ] {
            for text in
                [format!("{{\"o\":{{\"n\":{number}}}}}"), format!("{{\"o\":{{\"n\":[{{\"m\":{number}}}]}}}}")]
            {
                assert_eq!(ANY.parse(text.as_bytes()).is_ok(), kept, "{text}");
            }
        }
    }

    #[test]
    fn an_unknown_member_is_named_unless_it_is_long_or_could_be_a_secret() {
        fails(r#""owner_id":1"#, "owner_id", "not a field");
        fails(r#""z":1,"text-color":2,"a.b":3"#, "z", "neither are: text-color, a.b");
        for odd in ["$schema", "@type", "a b", "é", "a/b", "a:b", "", "text "] {
            fails(&format!("\"{odd}\":1"), odd, "not a field");
        }
        for odd in [&"a".repeat(65), "bdr_pat_01jd8w3m5ze8vr3pa0n2q9k6ms"] {
            let (detail, field) = fault(&format!("\"{odd}\":1")).unwrap();
            assert_eq!(field, None);
            assert!(detail.contains("unknown field") && !detail.contains(odd), "{detail}");
        }
    }

    #[test]
    fn a_required_field_is_asked_for_by_name() {
        assert_eq!(EVERYTHING.parse(b"{}").unwrap_err(), Problem::missing("text"));
        let null = EVERYTHING.parse(b"{\"text\":null}").unwrap_err();
        assert_eq!(null, Problem::field("text", "must be a text of at most 4 bytes"));
    }

    #[test]
    fn absent_null_and_a_value_are_three_things() {
        let given = |text: &str| EVERYTHING.parse(text.as_bytes()).unwrap().given::<u64>("integer");
        assert_eq!(given(r#"{"text":"a"}"#), Given::Absent);
        assert_eq!(given(r#"{"text":"a","integer":null}"#), Given::Null);
        assert_eq!(given(r#"{"text":"a","integer":7}"#), Given::Value(7));
    }

    #[test]
    fn values_come_out_as_their_types_once() {
        let text = r#"{"text":"a","secret":"s","word":"opaque","integer":7,"flag":true,
            "time":"1970-01-01T00:00:08.9Z","object":{"k":1},"texts":["x"],"secrets":["y"]}"#;
        let mut body = EVERYTHING.parse(text.as_bytes()).unwrap();
        assert_eq!(body.need::<String>("text"), Ok("a".to_owned()));
        assert_eq!(body.need::<String>("text"), Err(Problem::missing("text")));
        assert_eq!(body.take::<Secret>("secret").unwrap().expose(), "s");
        assert_eq!(body.take::<&'static str>("word"), Some("opaque"));
        assert_eq!(body.take::<u32>("integer"), Some(7));
        assert_eq!(body.take::<bool>("flag"), Some(true));
        assert_eq!(body.take::<Time>("time"), Some(Time::from_unix(9)));
        assert_eq!(body.take::<Map<String, Value>>("object").unwrap().len(), 1);
        assert_eq!(body.take::<Vec<String>>("texts"), Some(vec!["x".to_owned()]));
        assert_eq!(body.take::<Vec<Secret>>("secrets").unwrap().len(), 1);
        assert!(body.is_empty());
    }

    #[test]
    fn debug_of_a_body_shows_no_secret() {
        let body = EVERYTHING.parse(br#"{"text":"a","secret":"key!","secrets":["ky"]}"#).unwrap();
        let shown = format!("{body:?}");
        assert!(!shown.contains("key!") && !shown.contains("ky"), "{shown}");
    }

    #[tokio::test]
    async fn a_request_without_a_body_is_empty_only_where_nothing_is_required() {
        let headers = HeaderMap::new();
        let none = || RequestBody::of("");
        assert!(NOTHING_REQUIRED.read(&headers, none(), 10).await.unwrap().is_empty());
        let refused = EVERYTHING.read(&headers, none(), 10).await.unwrap_err();
        assert_eq!(refused, Problem::UnsupportedMediaType);
        assert_eq!(EVERYTHING.parse(b"").unwrap_err(), Problem::InvalidJson);
        assert!(NOTHING_REQUIRED.parse(b"").unwrap().is_empty());
    }
}
