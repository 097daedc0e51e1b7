//! Requests: each has one reading, and what is not understood is refused without being repeated.

use std::collections::BTreeSet;

use bearerd::http::body::{Field, Form, Given, Kind, Query, Shape, decode_form, json_object};
use bearerd::http::front::{Framing, HEADERS_MAX, Head, read};
use bearerd::http::router::{Found, Reads, Route, Router, Verb};
use bearerd::http::{routes, time};
use bearerd::records::Time;
use bearerd::token::Secret;
use serde_json::{Map, Value};

use super::marked;

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a head says, by the plainest reading there is.
pub struct Plain<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub headers: Vec<(String, &'a [u8])>,
    bytes: usize,
}

/// Lines end in CR LF, words are one space apart, a name ends at its colon.
pub fn plainly(head: &[u8]) -> Option<Plain<'_>> {
    let bytes = head.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = &head[..bytes - 4];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)) {
        return None;
    }
    let first: Vec<&str> = core::str::from_utf8(lines[0]).ok()?.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = first[..] else { return None };
    let mut headers = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = core::str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
        if name.is_empty() || name.contains([' ', '\t']) {
            return None;
        }
        headers.push((name, line[colon + 1..].trim_ascii()));
    }
    Some(Plain { method, target, headers, bytes })
}

impl Plain<'_> {
    fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect()
    }
}

/// A head that is accepted has one reading, the plainest one and the HTTP library's; what stands before its end
/// is partial however it arrives, and what follows it changes nothing.
pub fn request_head(input: &[u8]) {
    let Ok(Head::Whole { bytes, framing }) = read(input, 0, HEAD_BYTES_MAX) else { return };
    let plain = plainly(input).expect("a head that can be read plainly");
    assert_eq!(plain.bytes, bytes);
    assert!(plain.headers.len() <= HEADERS_MAX);
    assert_eq!(plain.all("host").len(), 1);
    assert!(plain.all("authorization").len() <= 1);
    match (&plain.all("content-length")[..], &plain.all("transfer-encoding")[..]) {
        ([], []) => assert_eq!(framing, Framing::Length(0)),
        ([length], []) => {
            let length: u64 = core::str::from_utf8(length).unwrap().parse().unwrap();
            assert_eq!(framing, Framing::Length(length));
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            assert_eq!(framing, Framing::Chunked);
        }
        other => panic!("two lengths: {other:?}"),
    }
    judge_by_library(input, &plain);
    for end in (0..bytes).step_by(1 + bytes / 256) {
        let Ok(Head::Partial { scanned }) = read(&input[..end], 0, HEAD_BYTES_MAX) else {
            panic!("{end} of {bytes} bytes are not partial")
        };
        let resumed = read(input, scanned, HEAD_BYTES_MAX);
        assert_eq!(resumed, Ok(Head::Whole { bytes, framing }), "after {end}");
    }
    assert_eq!(read(&input[..bytes], 0, HEAD_BYTES_MAX), Ok(Head::Whole { bytes, framing }));
}

fn judge_by_library(input: &[u8], plain: &Plain<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(input), Ok(httparse::Status::Complete(plain.bytes)));
    assert_eq!((request.method, request.path), (Some(plain.method), Some(plain.target)));
    let seen: Vec<_> =
        request.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value)).collect();
    assert_eq!(seen, plain.headers);
}

/// A request goes to the route that its raw path names and to no other, whatever the library made of the target;
/// and its body is read by that route's own table.
pub fn whole_request(input: &[u8]) {
    let Ok(Head::Whole { bytes, .. }) = read(input, 0, HEAD_BYTES_MAX) else { return };
    let plain = plainly(input).expect("a head that can be read plainly");
    let raw = match plain.target.split_once("://").filter(|_| !plain.target.starts_with('/')) {
        Some((_, rest)) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        None => plain.target,
    };
    let raw_path = raw.split('?').next().unwrap_or_default();
    let raw_path = if raw_path.is_empty() { "/" } else { raw_path };
    let Ok(uri) = plain.target.parse::<hyper::Uri>() else { return };
    assert_eq!(uri.path(), raw_path, "the library reads another path");
    assert_eq!(uri.query(), raw.split_once('?').map(|(_, query)| query));

    let router = Router::new(routes::ALL);
    match (router.find(plain.method, uri.path()), named_by(plain.method, raw_path)) {
        (Found::Route { place, captured }, Some(named)) => {
            let route = router.at(place).expect("a route at the place that was found");
            assert_eq!((route.verb, route.path), (named.verb, named.path));
            let captured: Vec<&str> = captured.iter().map(String::as_str).collect();
            assert_eq!(refilled(route.path, &captured), raw_path);
            let many = route.path.ends_with("...}");
            assert!(captured.iter().all(|part| many || (!part.is_empty() && !part.contains('/'))));
            if let Some(parameters) = route.query {
                let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
                if let Err(problem) = Query::parse(uri.query(), &names) {
                    assert!(problem.status().is_client_error());
                }
            }
            match route.reads {
                Reads::Json(shape) | Reads::Batch(shape) | Reads::Late(shape) => {
                    judge_shape(shape, &input[bytes..]);
                }
                Reads::Nothing | Reads::Object | Reads::Form | Reads::ClientForm | Reads::Stream => {}
            }
        }
        (Found::OtherMethods, None) => assert!(!router.allowed(uri.path()).is_empty()),
        (Found::Nothing, None) => assert_eq!(router.allowed(uri.path()), ""),
        (_, named) => panic!("{} should be {:?}", plain.target, named.map(|route| route.path)),
    }
}

/// The route of a path, looked for segment by segment in the table.
fn named_by(method: &str, path: &str) -> Option<&'static Route> {
    let fits = |pattern: &str| {
        let (wanted, given): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let many = pattern.ends_with("...}");
        let fixed = wanted.len() - usize::from(many);
        (if many { given.len() > fixed } else { given.len() == fixed })
            && wanted[..fixed].iter().zip(&given).all(|(want, segment)| {
                if want.starts_with('{') { !segment.is_empty() } else { want == segment }
            })
    };
    let all = || routes::ALL.iter().copied().flatten();
    let literal = all().any(|route| route.path == path);
    let mut routes = all().filter(|route| if literal { route.path == path } else { fits(route.path) });
    routes.find(|route| match route.verb {
        Verb::Any => true,
        Verb::Get => ["GET", "HEAD"].contains(&method),
        Verb::Post => method == "POST",
        Verb::Put => method == "PUT",
        Verb::Patch => method == "PATCH",
        Verb::Delete => method == "DELETE",
    })
}

fn refilled(pattern: &str, captured: &[&str]) -> String {
    let mut captured = captured.iter();
    let segments = pattern.split('/').map(|segment| match segment.strip_prefix('{') {
        Some(_) => captured.next().copied().unwrap_or_default(),
        None => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

fn shapes() -> impl Iterator<Item = &'static Shape> {
    routes::ALL.iter().copied().flatten().filter_map(|route| match route.reads {
        Reads::Json(shape) | Reads::Batch(shape) | Reads::Late(shape) => Some(shape),
        Reads::Nothing | Reads::Object | Reads::Form | Reads::ClientForm | Reads::Stream => None,
    })
}

/// JSON that is accepted has one reading, and written down again it is the same. A shape accepts what its table
/// says, member for member, and refuses every other without repeating a value.
pub fn json_body(input: &[u8]) {
    let members = json_object(input);
    if let Ok(members) = &members {
        let library: Map<String, Value> = serde_json::from_slice(input).expect("the library reads it too");
        assert_eq!(members, &library);
        let written = serde_json::to_vec(members).unwrap();
        assert_eq!(json_object(&written).as_ref(), Ok(members), "written and read again");
    }
    for shape in shapes() {
        judge_shape(shape, input);
    }
}

fn judge_shape(shape: &Shape, input: &[u8]) {
    let Ok(members) = json_object(input) else {
        assert!(shape.parse(input).is_err() || input.is_empty());
        return;
    };
    let known = |name: &String| shape.0.iter().any(|field| field.name == name);
    match shape.parse(input) {
        Ok(mut body) => {
            assert!(members.keys().all(known), "an unknown member is passed over");
            for field in shape.0 {
                judge_field(field, &mut body, members.get(field.name));
            }
            assert!(body.is_empty());
            let mut stranger = members;
            stranger.insert("zz_stranger".to_owned(), Value::Null);
            let refusal = shape.parse(&serde_json::to_vec(&stranger).unwrap()).unwrap_err();
            assert!(format!("{refusal:?}").contains("zz_stranger"), "an unknown member is named");
        }
        Err(_) => {
            // The same with every text marked: whatever is said then, no text is in it.
            let marked = serde_json::to_vec(&marked(Value::Object(members))).unwrap();
            let named = input.windows(6).any(|part| part == b"CANARY");
            if let Err(problem) = shape.parse(&marked)
                && !named
            {
                assert!(!format!("{problem:?}").contains("CANARY"), "a problem quotes a value");
            }
        }
    }
}

/// What was taken in is what was sent.
fn judge_field(field: &Field, body: &mut bearerd::http::body::Body, sent: Option<&Value>) {
    let name = field.name;
    let Some(sent) = sent else {
        assert!(!field.required);
        assert_eq!(body.given::<bool>(name), Given::Absent);
        return;
    };
    if sent.is_null() {
        assert!(field.nullable);
        assert_eq!(body.given::<bool>(name), Given::Null);
        return;
    }
    let exposed = |secret: Secret| Value::from(secret.expose());
    let (taken, fits) = match field.kind {
        Kind::Text { bytes_max } => (
            body.take::<String>(name).map(Value::from),
            sent.as_str().is_some_and(|text| text.len() <= bytes_max),
        ),
        Kind::Secret { bytes_max } => (
            body.take::<Secret>(name).map(exposed),
            sent.as_str().is_some_and(|text| text.len() <= bytes_max),
        ),
        Kind::Word(words) => (
            body.take::<&'static str>(name).map(Value::from),
            sent.as_str().is_some_and(|word| words.contains(&word)),
        ),
        Kind::Integer { min, max } => (
            body.take::<i64>(name).map(Value::from),
            sent.as_i64().is_some_and(|number| (min..=max).contains(&number)),
        ),
        Kind::Flag => (body.take::<bool>(name).map(Value::from), sent.is_boolean()),
        Kind::End => {
            let read = sent.as_str().and_then(time::parse_rfc3339_end);
            assert_eq!(body.take::<Time>(name), read);
            (Some(sent.clone()), read.is_some())
        }
        Kind::Object { bytes_max } => (
            body.take::<Map<String, Value>>(name).map(Value::from),
            serde_json::to_vec(sent).unwrap().len() <= bytes_max,
        ),
        Kind::Texts { items_max, .. } => (
            body.take::<Vec<String>>(name).map(Value::from),
            sent.as_array().is_some_and(|items| items.len() <= items_max),
        ),
        Kind::Secrets { items_max, .. } => (
            body.take::<Vec<Secret>>(name).map(|list| list.into_iter().map(exposed).collect()),
            sent.as_array().is_some_and(|items| items.len() <= items_max),
        ),
    };
    assert_eq!(taken.as_ref(), Some(sent), "{name}");
    assert!(fits, "{name} is beyond its bounds");
}

/// A form has each name once, and its values are those that another decoder finds. A query has only the names
/// that its route lists.
pub fn form_and_query(input: &[u8]) {
    let mut pairs: Vec<(String, String)> = Vec::new();
    if let Ok(form) = Form::parse(input) {
        for pair in input.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let cut = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(cut + 1..).unwrap_or_default();
            pairs.push((percent_decoded(&pair[..cut]), percent_decoded(value)));
        }
        let names: BTreeSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), pairs.len(), "a name twice");
        assert!(pairs.len() <= 64);
        for (name, value) in &pairs {
            assert_eq!(form.text(name), Some(value.as_str()).filter(|text| !text.is_empty()));
        }
        assert_eq!(
            form.text("zz_not_there"),
            pairs
                .iter()
                .find(|(name, _)| name == "zz_not_there")
                .map(|(_, v)| v.as_str())
                .filter(|v| !v.is_empty())
        );
        assert_eq!(format!("{form:?}"), format!("Form({} parameters)", pairs.len()), "a value shows");
        let written: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
            .collect();
        let again = Form::parse(written.join("&").as_bytes()).expect("what was written");
        assert!(pairs.iter().all(|(name, _)| again.text(name) == form.text(name)));
    }
    let Ok(text) = core::str::from_utf8(input) else { return };
    match Query::parse(Some(text), &["limit", "cursor", "kind"]) {
        Ok(query) => {
            for (name, value) in &pairs {
                let listed = ["limit", "cursor", "kind"].contains(&name.as_str());
                assert!(listed || ["access_token", "token", "api_key"].contains(&name.as_str()));
                assert_eq!(query.text(name), listed.then_some(value.as_str()));
            }
        }
        Err(problem) => assert!(problem.status().is_client_error()),
    }
    if let Some(decoded) = decode_form(input) {
        assert_eq!(decode_form(percent_encoded(&decoded).as_bytes()).as_ref(), Some(&decoded));
    }
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' {
            let digits = core::str::from_utf8(&text[at + 1..at + 3]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            at += 3;
        } else {
            bytes.push(if text[at] == b'+' { b' ' } else { text[at] });
            at += 1;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
