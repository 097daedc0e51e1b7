//! `/openapi.json`: the API described in `OpenAPI` 3.1, made from the table of routes and the tables that
//! requests are read by, so that it says what is done. Forms are described in [`forms`], answers in [`schemas`].

pub mod forms;
pub mod schemas;

use std::sync::OnceLock;

use hyper::{StatusCode, body::Bytes};
use serde_json::{Map, Value, json};

use self::schemas::{Is, Member, Of, SCHEMAS, Schema};
use super::{
    body::{Kind, Shape},
    reply::Reply,
    router::{Answer, Errors, Reads, Route, Verb},
    routes,
};
use crate::rules::access::Right;

/// The methods that a route for every method is described with.
const EVERY_METHOD: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// The document, which is the same for as long as the daemon runs.
pub fn document() -> Reply {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| describe(routes::ALL.iter().copied().flatten()).to_string().into());
    Reply::json_text(StatusCode::OK, text.clone())
}

/// Describes routes.
pub fn describe<'r>(routes: impl Iterator<Item = &'r Route>) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let item = paths.entry(path(route.path)).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            if route.verb == Verb::Any {
                item.insert("x-any-method".to_owned(), true.into());
            }
            for (method, operation) in operations(route) {
                item.insert(method.to_owned(), operation);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bearerd",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Mints, verifies, revokes and accounts for every token of a self-hosted product.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": components(), "securitySchemes": security_schemes() },
    })
}

/// A path as the document has it. What may follow a policy's name has no spelling there.
fn path(pattern: &str) -> String {
    pattern.replace("{policy...}", "@{policy}")
}

fn operations(route: &Route) -> Vec<(&'static str, Value)> {
    let methods: &[&str] = match route.verb {
        Verb::Get => &["get"],
        Verb::Post => &["post"],
        Verb::Put => &["put"],
        Verb::Patch => &["patch"],
        Verb::Delete => &["delete"],
        Verb::Any => &EVERY_METHOD,
    };
    methods.iter().copied().map(|method| (method, operation(route, method))).collect()
}

fn operation(route: &Route, method: &str) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), format!("{method} {}", path(route.path)).into());
    operation.insert("summary".to_owned(), route.summary.into());
    operation.insert("parameters".to_owned(), parameters(route).into());
    if let Some(body) = request_body(route) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation.insert("responses".to_owned(), responses(route));
    operation.insert("security".to_owned(), security(route));
    Value::Object(operation)
}

fn parameters(route: &Route) -> Vec<Value> {
    let placeholders = route.path.split('/').filter_map(|segment| segment.strip_prefix('{'));
    let in_path = placeholders.map(|name| {
        let name = name.trim_end_matches('}').trim_end_matches("...");
        json!({
            "name": name, "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1 },
        })
    });
    let in_query = route.query.unwrap_or_default().iter().map(|parameter| {
        let schema = match parameter.name {
            "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 500 }),
            "since" | "until" => json!({ "type": "string", "format": "date-time" }),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": parameter.name, "in": "query", "description": parameter.doc, "schema": schema })
    });
    let beside = match (route.verb, route.query) {
        (Verb::Get, None) => forms::query(route.path),
        _ => &[],
    };
    let beside = beside.iter().map(|field| {
        json!({
            "name": field.name, "in": "query", "description": field.doc, "required": field.required,
            "schema": { "type": "string" },
        })
    });
    in_path.chain(in_query).chain(beside).collect()
}

fn request_body(route: &Route) -> Option<Value> {
    let (media_type, schema, required) = match route.reads {
        Reads::Nothing => return None,
        Reads::Json(shape) | Reads::Batch(shape) | Reads::Late(shape) => {
            let required = shape.0.iter().any(|field| field.required);
            ("application/json", shape_schema(shape), required)
        }
        Reads::Object => ("application/json", json!({ "type": "object" }), true),
        Reads::Form | Reads::ClientForm => {
            ("application/x-www-form-urlencoded", form_schema(route.path), true)
        }
        Reads::Stream => ("application/octet-stream", json!({}), true),
    };
    Some(json!({ "required": required, "content": { media_type: { "schema": schema } } }))
}

fn shape_schema(shape: &Shape) -> Value {
    let properties: Map<String, Value> = shape
        .0
        .iter()
        .map(|field| {
            let mut schema = kind_schema(field.kind);
            if field.nullable {
                if let Some(own) = schema.get_mut("type") {
                    *own = json!([own.clone(), "null"]);
                }
                if let Some(Value::Array(words)) = schema.get_mut("enum") {
                    words.push(Value::Null);
                }
            }
            if let Value::Object(schema) = &mut schema {
                schema.insert("description".to_owned(), field.doc.into());
            }
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = shape.0.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

/// Lengths are limited in bytes of UTF-8, which is at least as strict as in characters.
fn kind_schema(kind: Kind) -> Value {
    match kind {
        Kind::Text { bytes_max } => json!({ "type": "string", "maxLength": bytes_max }),
        Kind::Secret { bytes_max } => {
            json!({ "type": "string", "maxLength": bytes_max, "format": "password" })
        }
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::End => json!({ "type": "string", "format": "date-time" }),
        Kind::Object { .. } => json!({ "type": "object" }),
        Kind::Texts { items_max, bytes_max } | Kind::Secrets { items_max, bytes_max } => json!({
            "type": "array", "maxItems": items_max,
            "items": { "type": "string", "maxLength": bytes_max },
        }),
    }
}

fn form_schema(path: &str) -> Value {
    let fields = forms::form(path);
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), json!({ "type": "string", "description": field.doc })))
        .collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The good answers as the route lists them, and the refusals that its kind of route can give.
fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    for answer in route.answers {
        responses.insert(answer.status.to_string(), good(route, answer));
    }
    for status in refusals(route) {
        responses.insert(status.to_string(), refusal(route, status));
    }
    Value::Object(responses)
}

fn good(route: &Route, answer: &Answer) -> Value {
    let mut response = Map::new();
    response.insert("description".to_owned(), answer.means.into());
    let content = match answer.schema {
        "" if route.path.starts_with("/portal/") && answer.status == 200 => {
            json!({ "text/html": { "schema": { "type": "string" } } })
        }
        "" => Value::Null,
        "Metrics" => json!({
            "text/plain": { "schema": { "type": "string" } },
            "application/openmetrics-text": { "schema": { "type": "string" } },
        }),
        "Octets" => json!({ "application/octet-stream": {} }),
        "Lines" => json!({ "application/jsonl": { "schema": { "type": "string" } } }),
        name => json!({ "application/json": { "schema": reference(name) } }),
    };
    if !content.is_null() {
        response.insert("content".to_owned(), content);
    }
    if route.verb == Verb::Any {
        let names = ["Subject", "Subject-Type", "Kind", "Token-Id", "Email", "Groups", "Scope"];
        let headers: Map<String, Value> = names
            .iter()
            .map(|name| {
                (format!("X-Auth-{name}"), json!({ "required": true, "schema": { "type": "string" } }))
            })
            .collect();
        response.insert("headers".to_owned(), headers.into());
    }
    Value::Object(response)
}

/// The statuses of refusals: those of every request, those of a body, those of callers, those of changes.
fn refusals(route: &Route) -> Vec<u16> {
    let mut statuses = vec![400, 408, 414, 417, 431, 500, 503];
    match route.reads {
        Reads::Nothing => {}
        Reads::Json(_)
        | Reads::Batch(_)
        | Reads::Late(_)
        | Reads::Object
        | Reads::Form
        | Reads::ClientForm
        | Reads::Stream => {
            statuses.extend([413, 415]);
        }
    }
    let proves = route.verb != Verb::Get || route.path.starts_with("/portal/");
    if route.right != Right::Open || proves {
        statuses.extend([401, 403]);
    }
    if route.path.contains('{') || !matches!(route.verb, Verb::Get | Verb::Any) {
        statuses.push(404);
    }
    match route.verb {
        Verb::Get if route.right != Right::Open => statuses.extend([429, 507]),
        Verb::Get | Verb::Any => {}
        Verb::Post | Verb::Put | Verb::Patch | Verb::Delete => statuses.extend([409, 429, 507]),
    }
    if route.path == "/v1/admin/reload" {
        statuses.push(422);
    }
    statuses.sort_unstable();
    statuses
}

fn refusal(route: &Route, status: u16) -> Value {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut content = Map::new();
    content.insert("application/problem+json".to_owned(), json!({ "schema": reference("Problem") }));
    if route.errors == Errors::OAuth {
        // What is refused before a route is known is a problem all the same.
        content.insert("application/json".to_owned(), json!({ "schema": reference("OAuthError") }));
    }
    if route.path.starts_with("/portal/") {
        content.insert("text/html".to_owned(), json!({ "schema": { "type": "string" } }));
    }
    json!({ "description": reason.unwrap_or("Refused"), "content": content })
}

fn security(route: &Route) -> Value {
    match (route.right, route.reads) {
        (Right::Open, Reads::ClientForm) => json!([{}, { "client": [] }]),
        (Right::Open, _) if route.verb == Verb::Any => json!([{ "bearer": [] }, { "portal": [] }]),
        (Right::Open, _) => json!([]),
        (_, Reads::ClientForm | Reads::Batch(_)) => json!([{ "bearer": [] }, { "client": [] }]),
        (
            _,
            Reads::Nothing | Reads::Json(_) | Reads::Late(_) | Reads::Object | Reads::Form | Reads::Stream,
        ) => json!([{ "bearer": [] }]),
    }
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "A session, a personal access token, a service's secret or an agent token. \
                Over the admin socket none is needed.",
        },
        "client": {
            "type": "http", "scheme": "basic",
            "description": "A service's name and secret (RFC 6749 section 2.3.1).",
        },
        "portal": { "type": "apiKey", "in": "cookie", "name": "__Host-portal_session" },
    })
}

fn components() -> Value {
    let mut components: Map<String, Value> =
        SCHEMAS.iter().map(|schema| (schema.name.to_owned(), object(schema))).collect();
    components
        .insert("Introspection".to_owned(), json!({ "oneOf": [reference("Active"), reference("Inactive")] }));
    components.insert("OpenApi".to_owned(), json!({ "type": "object", "required": ["openapi", "paths"] }));
    components.insert("Credentials".to_owned(), json!({ "type": "object" }));
    Value::Object(components)
}

fn object(schema: &Schema) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let inherited = SCHEMAS.iter().filter(|other| other.name == schema.with);
    for member in inherited.chain([schema]).flat_map(|part| part.members) {
        properties.insert(member.name.to_owned(), member_schema(member));
        if member.is != Is::Optional {
            required.push(member.name);
        }
    }
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

fn member_schema(member: &Member) -> Value {
    let own = match &member.of {
        Of::Text => json!({ "type": "string" }),
        Of::Time => json!({ "type": "string", "format": "date-time" }),
        Of::Number => json!({ "type": "integer", "minimum": 0 }),
        Of::Flag => json!({ "type": "boolean" }),
        Of::Only(value) => json!({ "type": "boolean", "const": value }),
        Of::Word(words) => json!({ "type": "string", "enum": words }),
        Of::Object => json!({ "type": "object" }),
        Of::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Of::Numbers => json!({ "type": "array", "items": { "type": "integer", "minimum": 0 } }),
        Of::One(name) => reference(name),
        Of::Many(name) => json!({ "type": "array", "items": reference(name) }),
    };
    if member.is == Is::Nullable { json!({ "oneOf": [own, { "type": "null" }] }) } else { own }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static Route> {
        routes::ALL.iter().copied().flatten()
    }

    #[test]
    fn every_schema_that_is_referred_to_is_there() {
        let text = describe(all()).to_string();
        let known = components();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(known.get(name).is_some(), "{name} is not described");
        }
    }

    #[test]
    fn every_route_is_described_with_its_good_answers() {
        let document = describe(all());
        for route in all() {
            for (method, _) in operations(route) {
                let operation = &document["paths"][path(route.path)][method];
                for answer in route.answers {
                    assert!(
                        operation["responses"].get(answer.status.to_string()).is_some(),
                        "{method} {} {}",
                        route.path,
                        answer.status
                    );
                }
            }
        }
    }

    #[test]
    fn no_two_schemas_have_one_name() {
        for schema in SCHEMAS {
            assert_eq!(
                SCHEMAS.iter().filter(|other| other.name == schema.name).count(),
                1,
                "{}",
                schema.name
            );
        }
    }
}
