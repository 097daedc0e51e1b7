//! The shape of JSON: the names of members and the types of values, held against what is checked in.

use super::Value;
use serde_json::{Map, json};
use std::path::PathBuf;

/// With this variable set, shapes are written instead of compared.
const WRITE: &str = "BEARERD_WRITE_SHAPES";

/// Names and types of a value. A list has the shapes that occur in it, once each.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => {
            let mut shapes: Vec<Value> = Vec::new();
            for item in items.iter().map(shape) {
                if !shapes.contains(&item) {
                    shapes.push(item);
                }
            }
            Value::Array(shapes)
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), shape(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// Whether a shape is the expected one; of an empty list nothing is known, so it fits any.
fn fits(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            found.iter().all(|item| expected.iter().any(|other| fits(item, other)))
        }
        (Value::Object(found), Value::Object(expected)) => {
            let same = |(name, shape)| expected.get(name).is_some_and(|other| fits(shape, other));
            found.len() == expected.len() && found.iter().all(same)
        }
        (found, expected) => found == expected,
    }
}

/// Fails unless a value has the shape that `tests/shapes/NAME.json` holds.
#[track_caller]
pub fn same_shape(name: &str, value: &Value) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/shapes").join(format!("{name}.json"));
    let found = shape(value);
    let kept = std::fs::read_to_string(&file);
    let expected: Option<Value> =
        kept.ok().map(|text| serde_json::from_str(&text).expect("a checked-in shape is JSON"));
    if expected.as_ref().is_some_and(|expected| fits(&found, expected)) {
        return;
    }
    if std::env::var_os(WRITE).is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
        std::fs::write(&file, text).expect("writing a shape");
        return;
    }
    panic!(
        "{name} is not of its shape; if that is meant, {WRITE}=1 writes the new one: {found} {expected:?}"
    );
}
