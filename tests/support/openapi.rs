//! Holds answers, and requests that were granted, against the daemon's own description of its API: a small
//! validator for the part of JSON Schema that the description uses. A keyword that it does not know is a failure, not a pass.

use std::sync::OnceLock;

use serde_json::Value;

use super::http::{Answer, Target};

/// The description, asked for once by each test program.
pub fn document(ask: impl FnOnce() -> Value) -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(ask)
}

/// Fails unless the description has this answer to this request.
#[track_caller]
pub fn describes(document: &Value, method: &str, target: &str, answer: &Answer) {
    if let Err(why) = judge(document, method, target, answer) {
        panic!("{method} {target} -> {}: {why}\n{}", answer.status, answer.text());
    }
}

/// Fails unless the description has a request with that JSON, which was granted.
#[track_caller]
pub fn describes_granted(document: &Value, method: &str, target: &str, json: &[u8]) {
    let Some(item) = described(document, target.split('?').next().unwrap_or_default()) else { return };
    let content = &item[method.to_ascii_lowercase()]["requestBody"]["content"]["application/json"];
    if let (Some(schema), Ok(body)) = (content.get("schema"), serde_json::from_slice(json))
        && let Err(why) = fits(document, schema, &body, "request")
    {
        panic!("{method} {target} was granted: {why}");
    }
}

fn judge(document: &Value, method: &str, target: &str, answer: &Answer) -> Result<(), String> {
    let path = target.split('?').next().unwrap_or_default();
    let Some(item) = described(document, path) else { return Ok(()) };
    // A HEAD is answered like the GET, without its body; what proxies ask, like any method that it names.
    let any_method = item.get("x-any-method") == Some(&Value::Bool(true));
    let own = item.get(method.to_ascii_lowercase());
    let described = own.or_else(|| item.get("get").filter(|_| any_method || method == "HEAD"));
    let Some(operation) = described else {
        let refused = matches!(answer.status, 400..=499);
        return if refused { Ok(()) } else { Err("the method is not described".to_owned()) };
    };
    if answer.status == 405 {
        return Ok(()); // refused before any route saw it, CONNECT say
    }
    let response = operation["responses"]
        .get(answer.status.to_string())
        .ok_or_else(|| "the status is not described".to_owned())?;
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        if answer.header(&name.to_ascii_lowercase()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    if answer.body.is_empty() {
        let may_be_empty = method == "HEAD" || response.get("content").is_none();
        return if may_be_empty { Ok(()) } else { Err("a body is described, and none came".to_owned()) };
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let described = response["content"]
        .get(media_type)
        .ok_or_else(|| format!("a body of type {media_type:?} is not described"))?;
    if media_type.ends_with("json") {
        let body = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        return fits(document, &described["schema"], &body, "body");
    }
    Ok(())
}

/// The description of a path: one without placeholders goes before one with.
fn described<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    let paths = document["paths"].as_object()?;
    paths.get(path).or_else(|| paths.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, item)| item))
}

fn matches(pattern: &str, path: &str) -> bool {
    let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len()
        && wanted.iter().zip(given).all(|(want, segment)| match want.split_once('{') {
            Some((before, _)) => segment.strip_prefix(before).is_some_and(|rest| !rest.is_empty()),
            None => *want == segment,
        })
}

/// Whether `value` is as `schema` says.
pub fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (keyword, bound) in schema.as_object().ok_or_else(|| format!("{at}: no schema"))? {
        let holds = match keyword.as_str() {
            "$ref" => {
                let name = bound.as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                fits(document, &document["components"]["schemas"][name], value, &format!("{at}:{name}"))?;
                true
            }
            "oneOf" => {
                let options = bound.as_array().into_iter().flatten();
                let outcomes: Vec<_> = options.map(|option| fits(document, option, value, at)).collect();
                if outcomes.iter().filter(|outcome| outcome.is_ok()).count() != 1 {
                    return Err(format!("{at}: not exactly one of {outcomes:?}"));
                }
                true
            }
            "type" => match bound {
                Value::Array(names) => {
                    names.iter().any(|name| is_type(name.as_str().unwrap_or_default(), value))
                }
                name => is_type(name.as_str().unwrap_or_default(), value),
            },
            "description" => true,
            "const" => value == bound,
            "enum" => bound.as_array().is_some_and(|words| words.contains(value)),
            "minimum" | "maximum" if !value.is_number() => true,
            "minimum" => value.as_i64() >= bound.as_i64() || value.as_u64() >= bound.as_u64(),
            "maximum" => {
                value.as_i64().is_some_and(|value| Some(value) <= bound.as_i64())
                    || value.as_u64().is_some_and(|value| Some(value) <= bound.as_u64())
            }
            "maxLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 <= bound.as_u64().unwrap())
            }
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= bound.as_u64().unwrap()),
            "format" if bound == "password" => true,
            "format" => value.is_null() || is_time(value.as_str().unwrap_or_default()),
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(document, bound, item, &format!("{at}[{place}]"))?;
                }
                true
            }
            "properties" => {
                for (name, schema) in bound.as_object().into_iter().flatten() {
                    if let Some(member) = value.get(name) {
                        fits(document, schema, member, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "required" => {
                bound.as_array().into_iter().flatten().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                value.as_object().is_none_or(|members| {
                    members.keys().all(|name| known.is_some_and(|known| known.contains_key(name)))
                })
            }
            other => return Err(format!("{at}: the keyword {other} is not understood here")),
        };
        if !holds {
            return Err(format!("{at}: {keyword} {bound} does not hold of {value}"));
        }
    }
    Ok(())
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn is_time(text: &str) -> bool {
    super::text::parse_time(text).is_some()
        && text.ends_with('Z')
        && text.len() == "2026-01-31T12:00:00Z".len()
}

/// The description as the daemon at `target` has it.
pub fn ask(target: &Target) -> Value {
    let mut connection = super::http::Connection::open(target).expect("connecting");
    connection.send("GET /openapi.json HTTP/1.1\r\nhost: bearerd.test\r\nconnection: close\r\n\r\n");
    connection.answer().expect(200)
}
