//! What answers look like, as tables. A test holds every answer of a session against them, so that they
//! cannot say other than what is sent.

/// An object of an answer.
#[derive(Debug)]
pub struct Schema {
    /// The name that routes and other schemas refer to it by.
    pub name: &'static str,
    /// The name of another whose members it has as well; "" for none.
    pub with: &'static str,
    /// Its members; it has no others.
    pub members: &'static [Member],
}

/// A member of an object.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub of: Of,
    /// When it is there.
    pub is: Is,
}

/// What a member holds.
#[derive(Debug)]
pub enum Of {
    /// A text.
    Text,
    /// A time, RFC 3339 in UTC.
    Time,
    /// A whole number, not negative.
    Number,
    /// True or false.
    Flag,
    /// This one value.
    Only(bool),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any JSON object.
    Object,
    /// A list of texts.
    Texts,
    /// A list of whole numbers, not negative.
    Numbers,
    /// The schema of that name.
    One(&'static str),
    /// A list of the schema of that name.
    Many(&'static str),
}

/// When a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// Always.
    There,
    /// Always, and `null` where there is nothing to say.
    Nullable,
    /// Only where there is something to say.
    Optional,
}

use Is::{Nullable, Optional, There};
use Of::{Flag, Many, Number, Numbers, Object, One, Only, Text, Texts, Time, Word};

const fn member(name: &'static str, of: Of, is: Is) -> Member {
    Member { name, of, is }
}

const fn schema(name: &'static str, members: &'static [Member]) -> Schema {
    Schema { name, with: "", members }
}

const STATES: &[&str] = &["active", "disabled", "expired", "revoked", "consumed", "exhausted"];
const KINDS: &[&str] = &["install", "session", "pat", "enrollment", "agent", "link"];
const BEARERS: &[&str] = &["session", "pat", "service", "agent", "portal"];
const SUBJECTS: &[&str] = &["user", "host", "client"];

/// Every object that an answer is made of.
pub const SCHEMAS: &[Schema] = &[
    schema(
        "Problem",
        &[
            member("type", Text, There),
            member("title", Text, There),
            member("status", Number, There),
            member("detail", Text, There),
            member("code", Text, There),
            member("field", Text, Optional),
            member("faults", Texts, Optional),
        ],
    ),
    schema("OAuthError", &[member("error", Text, There), member("error_description", Text, There)]),
    schema("Health", &[member("status", Word(&["ok", "ready"]), There)]),
    schema("SetupState", &[member("state", Word(&["pending", "complete"]), There)]),
    schema("FirstAdmin", &[member("user", One("User"), There), member("session", One("Session"), There)]),
    schema(
        "User",
        &[
            member("id", Text, There),
            member("email", Text, There),
            member("name", Text, Nullable),
            member("groups", Texts, There),
            member("active", Flag, There),
            member("service", Text, Optional),
            member("created_at", Time, There),
            member("updated_at", Time, There),
        ],
    ),
    schema(
        "Session",
        &[
            member("id", Text, There),
            member("token", Text, There),
            member("expires_at", Time, Nullable),
            member("user", One("User"), Optional),
        ],
    ),
    schema(
        "Token",
        &[
            member("id", Text, There),
            member("name", Text, There),
            member("prefix", Text, There),
            member("kind", Word(KINDS), There),
            member("scope", Text, There),
            member("format", Word(&["opaque", "jwt", "imported"]), There),
            member("state", Word(STATES), There),
            member("enabled", Flag, There),
            member("allowed_ips", Texts, There),
            member("max_uses", Number, Nullable),
            member("uses", Number, Optional),
            member("metadata", Object, Nullable),
            member("created_at", Time, There),
            member("expires_at", Time, Nullable),
            member("last_used_at", Time, Nullable),
            member("revoked_at", Time, Nullable),
        ],
    ),
    Schema { name: "MintedToken", with: "Token", members: &[member("token", Text, There)] },
    Schema { name: "OwnSession", with: "Token", members: &[member("current", Flag, There)] },
    Schema {
        name: "AnyToken",
        with: "Token",
        members: &[
            member("user_id", Text, Nullable),
            member("user_email", Text, Nullable),
            member("host_id", Text, Nullable),
            member("client_id", Text, Nullable),
            member("last_used_ip", Text, Nullable),
        ],
    },
    schema(
        "Revoked",
        &[
            member("matches", Number, There),
            member("revoked", Number, There),
            member("damaged", Number, Optional),
        ],
    ),
    schema(
        "Me",
        &[
            member("subject", One("Subject"), There),
            member("groups", Texts, There),
            member("credential", One("Credential"), There),
        ],
    ),
    schema(
        "Subject",
        &[
            member("type", Text, There),
            member("id", Text, There),
            member("email", Text, Optional),
            member("name", Text, Optional),
        ],
    ),
    schema(
        "Credential",
        &[
            member("kind", Text, There),
            member("token_id", Text, Optional),
            member("scope", Text, There),
            member("expires_at", Time, Nullable),
        ],
    ),
    schema(
        "AuditEntry",
        &[
            member("seq", Number, There),
            member("at", Time, There),
            member("actor", Text, There),
            member("actor_label", Text, There),
            member("action", Text, There),
            member("resource", Text, There),
            member("params", Object, There),
            member("ip", Text, Nullable),
            member("hash", Text, There),
        ],
    ),
    schema(
        "EnrollmentMinted",
        &[member("id", Text, There), member("token", Text, There), member("expires_at", Time, Nullable)],
    ),
    schema(
        "Enrollment",
        &[
            member("id", Text, There),
            member("prefix", Text, There),
            member("state", Word(STATES), There),
            member("hostname", Text, Nullable),
            member("pin_hostname", Flag, There),
            member("tags", Texts, There),
            member("facts", Object, Nullable),
            member("created_at", Time, There),
            member("expires_at", Time, Nullable),
            member("revoked_at", Time, Nullable),
            member("consumed_at", Time, Nullable),
            member("host_id", Text, Nullable),
        ],
    ),
    schema("Enrolled", &[member("host_id", Text, There), member("agent_token", Text, There)]),
    schema("AgentToken", &[member("agent_token", Text, There)]),
    schema(
        "Host",
        &[
            member("id", Text, There),
            member("hostname", Text, There),
            member("os", Text, There),
            member("arch", Text, There),
            member("agent_version", Text, Nullable),
            member("tags", Texts, There),
            member("facts", Object, Nullable),
            member("enrollment_id", Text, Nullable),
            member("has_credentials", Flag, There),
            member("created_at", Time, There),
            member("updated_at", Time, There),
            member("last_used_at", Time, Nullable),
        ],
    ),
    schema(
        "Client",
        &[
            member("id", Text, There),
            member("slug", Text, There),
            member("name", Text, There),
            member("active", Flag, There),
            member("created_at", Time, There),
        ],
    ),
    schema(
        "NewLink",
        &[
            member("id", Text, There),
            member("token", Text, There),
            member("url", Text, There),
            member("expires_at", Time, Nullable),
        ],
    ),
    schema(
        "Link",
        &[
            member("id", Text, There),
            member("label", Text, Nullable),
            member("prefix", Text, There),
            member("redirect", Text, There),
            member("single_use", Flag, There),
            member("state", Word(STATES), There),
            member("created_at", Time, There),
            member("expires_at", Time, Nullable),
            member("last_used_at", Time, Nullable),
            member("revoked_at", Time, Nullable),
        ],
    ),
    schema(
        "PortalSession",
        &[
            member("client", One("PortalClient"), There),
            member("link_id", Text, There),
            member("expires_at", Time, Nullable),
        ],
    ),
    schema(
        "PortalClient",
        &[member("id", Text, There), member("slug", Text, There), member("name", Text, There)],
    ),
    schema("ProjectClient", &[member("project", Text, There), member("client", One("Client"), There)]),
    schema(
        "Preview",
        &[
            member("client", One("Client"), There),
            member("link_id", Text, There),
            member("cookie", Text, There),
            member("url", Text, There),
            member("created", Flag, There),
        ],
    ),
    schema(
        "Active",
        &[
            member("active", Only(true), There),
            member("sub", Text, There),
            member("sub_type", Word(SUBJECTS), There),
            member("token_type", Word(&["Bearer"]), There),
            member("kind", Word(BEARERS), There),
            member("scope", Text, There),
            member("jti", Text, Optional),
            member("iat", Number, Optional),
            member("exp", Number, Optional),
            member("username", Text, Optional),
            member("email", Text, Optional),
            member("groups", Texts, Optional),
            member("client_id", Text, Optional),
            member("iss", Text, There),
            member("metadata", Object, Optional),
        ],
    ),
    schema("Inactive", &[member("active", Only(false), There)]),
    schema("Introspections", &[member("results", Many("Introspection"), There)]),
    schema(
        "AuthorizationServer",
        &[
            member("issuer", Text, There),
            member("introspection_endpoint", Text, There),
            member("introspection_endpoint_auth_methods_supported", Texts, There),
            member("revocation_endpoint", Text, There),
            member("revocation_endpoint_auth_methods_supported", Texts, There),
            member("response_types_supported", Texts, There),
            member("scopes_supported", Texts, There),
        ],
    ),
    schema(
        "Explanation",
        &[
            member("active", Flag, There),
            member("reason", Text, Nullable),
            member("token_id", Text, Nullable),
            member("kind", Text, Nullable),
            member("subject", Text, Nullable),
            member("checks", Many("Check"), There),
        ],
    ),
    schema(
        "Check",
        &[
            member("check", Text, There),
            member("outcome", Word(&["passed", "failed", "skipped"]), There),
            member("seen", Text, There),
        ],
    ),
    schema(
        "Reloaded",
        &[
            member("generation", Number, There),
            member("needs_restart", Texts, There),
            member("warnings", Texts, There),
        ],
    ),
    schema(
        "Status",
        &[
            member("version", Text, There),
            member("pid", Number, There),
            member("started_at", Time, There),
            member("uptime_seconds", Number, There),
            member("degraded", Flag, There),
            member("setup", Word(&["pending", "complete", "unknown"]), There),
            member("listeners", Many("Listener"), There),
            member("reload", One("LastReload"), There),
            member("services", Many("ServiceState"), There),
            member("keys", Texts, There),
            member("store", One("StoreState"), There),
            member("tokens", One("TokenCounts"), Nullable),
            member("clock_behind_seconds", Number, There),
        ],
    ),
    schema("Listener", &[member("door", Word(&["public", "admin"]), There), member("address", Text, There)]),
    schema(
        "TokenCounts",
        &[
            member("install", Number, There),
            member("session", Number, There),
            member("pat", Number, There),
            member("enrollment", Number, There),
            member("agent", Number, There),
            member("link", Number, There),
        ],
    ),
    schema(
        "LastReload",
        &[
            member("generation", Number, There),
            member("at", Time, There),
            member("outcome", Word(&["ok", "refused"]), There),
            member("error", Text, Optional),
            member("needs_restart", Texts, There),
        ],
    ),
    schema(
        "ServiceState",
        &[
            member("name", Text, There),
            member("enabled", Flag, There),
            member("why", Text, Optional),
            member("slots", Many("SlotState"), There),
        ],
    ),
    schema(
        "SlotState",
        &[member("slot", Text, There), member("last_used_at", Time, Nullable), member("uses", Number, There)],
    ),
    schema(
        "StoreState",
        &[
            member("health", Word(&["well", "full", "unavailable", "closed"]), There),
            member("error", Text, Optional),
            member("file_bytes", Number, There),
            member("queue_operations", Number, There),
            member("reopened", Number, There),
            member("walk", One("StoreWalk"), Optional),
        ],
    ),
    schema(
        "StoreWalk",
        &[member("at", Time, There), member("rows", Number, There), member("findings", Number, There)],
    ),
    schema(
        "Keys",
        &[
            member("file", Text, There),
            member("credential", Flag, There),
            member("keys", Many("Key"), There),
            member("lacking", Many("LackingKey"), There),
            member("damaged", Number, There),
        ],
    ),
    schema(
        "LackingKey",
        &[member("id", Text, There), member("sealed", Number, There), member("tokens", Number, There)],
    ),
    schema(
        "Key",
        &[
            member("id", Text, There),
            member("current", Flag, There),
            member("sealed", Number, There),
            member("tokens", Number, There),
            member("store_key", Flag, There),
        ],
    ),
    schema(
        "Resealed",
        &[
            member("resealed", Number, There),
            member("damaged", Number, There),
            member("unfinished", Flag, There),
            member("next_cursor", Text, Optional),
        ],
    ),
    schema(
        "ClockReset",
        &[
            member("from", Time, There),
            member("to", Time, There),
            member("revived", Number, There),
            member("minted_ahead", Number, There),
        ],
    ),
    schema("InstallToken", &[member("id", Text, There), member("token", Text, There)]),
    schema("TokenList", &[member("items", Many("Token"), There), CURSOR]),
    schema("OwnSessionList", &[member("items", Many("OwnSession"), There), CURSOR]),
    schema("AnyTokenList", &[member("items", Many("AnyToken"), There), CURSOR]),
    schema("UserList", &[member("items", Many("User"), There), CURSOR]),
    schema("AuditList", &[member("items", Many("AuditEntry"), There), CURSOR]),
    schema("EnrollmentList", &[member("items", Many("Enrollment"), There), CURSOR]),
    schema(
        "AuditChain",
        &[
            member("holds", Flag, There),
            member("entries", Number, There),
            member("head", Number, There),
            member("error", Text, Optional),
        ],
    ),
    schema(
        "Imported",
        &[
            member("tokens", Number, There),
            member("owners", Number, There),
            member("duplicates", Numbers, There),
            member("new_owners", Texts, Optional),
        ],
    ),
    schema("Compacted", &[member("bytes_before", Number, There), member("bytes_after", Number, There)]),
    schema("HostList", &[member("items", Many("Host"), There), CURSOR]),
    schema("Clients", &[member("items", Many("Client"), There), CURSOR]),
    schema("Links", &[member("items", Many("Link"), There), CURSOR]),
];

const CURSOR: Member = member("next_cursor", Text, Nullable);
