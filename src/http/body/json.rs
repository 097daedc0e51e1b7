//! JSON as two readers cannot read it differently: no member twice, no depth without end.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::http::problem::Problem;

/// How deep objects and lists may stand in each other, the outermost object counted.
const DEPTH_MAX: usize = 32;

/// One JSON object and nothing after it (RFC 8259), each member of each object once.
///
/// Anything else is [`Problem::InvalidJson`], which does not say where: the text may hold secrets.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut reader);
    match (value, reader.end()) {
        (Ok(Value::Object(members)), Ok(())) => Ok(members),
        _ => Err(Problem::InvalidJson),
    }
}

/// The names of an object's members as they follow each other, which the object itself no longer tells.
pub(super) fn names(text: &[u8]) -> Result<Vec<String>, Problem> {
    serde_json::Deserializer::from_slice(text).deserialize_map(Names).map_err(|_| Problem::InvalidJson)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = entries.next_entry()? {
            names.push(name);
        }
        Ok(names)
    }
}

/// A value that may have so many levels below it.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn below<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(below)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, accepted: bool) {
        let text = text.as_ref();
        let shown = String::from_utf8_lossy(text);
        match object(text) {
            Ok(_) => assert!(accepted, "accepted {shown}"),
            Err(problem) => {
                assert_eq!(problem, Problem::InvalidJson);
                assert!(!accepted, "refused {shown}");
            }
        }
    }

    #[test]
    fn one_object_and_nothing_else() {
        check("{}", true);
        check(" \r\n\t{ \"a\" : [ 1 , -2.5e3 , null , true , \"\\u00e9\\ud83d\\ude00\" ] } \n", true);
        for text in ["", " ", "[]", "null", "1", "\"{}\"", "{}{}", "{} x", "{}\0", "{", "}", "{\"a\":1,}"] {
            check(text, false);
        }
        for text in
            ["{a:1}", "{'a':1}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":NaN}"]
        {
            check(text, false);
        }
        check("{\"a\":1e999}", false);
        check("{\"a\":/**/1}", false);
    }

    #[test]
    fn text_is_utf_8_without_a_mark_and_without_half_a_character() {
        check(b"{\"a\":\"\xff\"}", false);
        check(b"{\"\xc3\x28\":1}", false);
        check(b"{\"a\":\"\xc0\x80\"}", false);
        check(b"\xef\xbb\xbf{}", false);
        check("{\"a\":\"\\ud800\"}", false);
        check("{\"a\":\"\\udc00\\ud800\"}", false);
        check("{\"a\":\"\n\"}", false);
        check(b"\xff\xfe{\0}\0", false);
    }

    #[test]
    fn no_member_stands_twice_at_any_depth() {
        check("{\"a\":1,\"b\":1}", true);
        check("{\"a\":1,\"a\":1}", false);
        check("{\"a\":1,\"\\u0061\":1}", false);
        check("{\"x\":{\"a\":1,\"a\":1}}", false);
        check("{\"x\":[{\"a\":1,\"a\":1}]}", false);
        check("{\"x\":{\"a\":1},\"y\":{\"a\":1}}", true);
    }

    #[test]
    fn nesting_ends_at_32() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        check(nested(DEPTH_MAX), true);
        check(nested(DEPTH_MAX + 1), false);
        let listed = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        check(listed(DEPTH_MAX - 1), true);
        check(listed(DEPTH_MAX), false);
        check("{\"a\":".repeat(30_000), false);
        check("[".repeat(30_000), false);
    }

    #[test]
    fn a_number_comes_back_as_it_was_sent() {
        let text = "{\"a\":0.30000000000000004,\"b\":18446744073709551615,\"c\":-9223372036854775808}";
        assert_eq!(serde_json::to_string(&object(text.as_bytes()).unwrap()).unwrap(), text);
    }
}
