//! What the forms of routes can hold, and the queries that may hold anything else, too, as tables.

/// A parameter of a form or of such a query.
#[derive(Debug)]
pub struct FormField {
    /// Its name.
    pub name: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

const fn field(name: &'static str, required: bool, doc: &'static str) -> FormField {
    FormField { name, required, doc }
}

const TOKEN: FormField = field("token", true, "the token");
const HINT: FormField = field("token_type_hint", false, "accepted and not trusted");
const CLIENT: FormField = field("client_id", false, "the name of a service");
const SECRET: FormField = field("client_secret", false, "its secret");
const CLIENT_IP: FormField =
    field("client_ip", false, "where the end client is; from services and the admin socket only");

/// What the query of a route can hold that passes over whatever else stands there.
pub fn query(path: &str) -> &'static [FormField] {
    const ENTER: &[FormField] = &[field("token", true, "the token of the link")];
    match path {
        "/portal/enter" => ENTER,
        _ => &[],
    }
}

/// What the form of a route can hold; others are ignored.
pub fn form(path: &str) -> &'static [FormField] {
    const INTROSPECT: &[FormField] = &[TOKEN, HINT, CLIENT, SECRET, CLIENT_IP];
    const REVOKE: &[FormField] = &[TOKEN, HINT, CLIENT, SECRET];
    const ENTER: &[FormField] = &[field("token", false, "the token of the link")];
    match path {
        "/v1/introspect" => INTROSPECT,
        "/v1/revoke" => REVOKE,
        _ => ENTER,
    }
}
