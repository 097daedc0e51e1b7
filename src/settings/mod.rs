//! The settings as plain values: what they are, what they are when nobody says otherwise, and which of
//! them a running daemon can exchange.
//!
//! Every value here has been judged already: an address is an address, a span is in seconds and within its
//! bounds. Reading them out of a file is `config`'s business; this module opens nothing, and knows neither
//! files nor the environment.

pub mod cidr;
pub mod limits;
pub mod listen;
pub mod policy;
pub mod proxies;
pub mod public_url;
mod restart;
pub mod service;
pub mod words;

use std::collections::BTreeMap;

use crate::token::{Prefix, ServiceName};

pub use limits::{Bounds, Limits};
pub use listen::{Listen, ListenFault};
pub use policy::{CredentialKind, DEFAULT_POLICY, Policy};
pub use proxies::{ProxyFault, TrustedProxies};
pub use public_url::{PublicUrl, PublicUrlFault, Scheme};
pub use service::{SecretSource, Service};

/// The scope that is clamped to an hour without being configured.
pub const BOOTSTRAP_SCOPE: &str = "bootstrap-analyst";

/// How long a token that carries [`BOOTSTRAP_SCOPE`] lives at most, unless configured otherwise.
const BOOTSTRAP_SECONDS: u64 = HOUR_SECONDS;

const MINUTE_SECONDS: u64 = 60;
const HOUR_SECONDS: u64 = 60 * MINUTE_SECONDS;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// The longest span any setting can have: ten years, as for tokens.
const SPAN_SECONDS_MAX: u64 = 3650 * DAY_SECONDS;

/// `server.drain_seconds`: how long a stop waits for requests in flight.
pub const DRAIN_SECONDS: Bounds = Bounds::new(0, 10 * MINUTE_SECONDS);
/// `tokens.purge_after`: how long a dead token's row is kept.
pub const PURGE_SECONDS: Bounds = Bounds::new(HOUR_SECONDS, SPAN_SECONDS_MAX);
/// `scopes.NAME.max_ttl`: the span that a scope allows.
pub const SCOPE_SECONDS: Bounds = Bounds::new(1, SPAN_SECONDS_MAX);
/// `sessions.ttl` and `sessions.idle`.
pub const SESSION_SECONDS: Bounds = Bounds::new(1, SPAN_SECONDS_MAX);
/// `audit.retention`, where it is not for ever.
pub const RETENTION_SECONDS: Bounds = Bounds::new(1, 10 * SPAN_SECONDS_MAX);

/// Everything an operator can set. [`Default`] is what holds without a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Listeners, addresses and who is believed about them.
    pub server: Server,
    /// Where the data is.
    pub store: Store,
    /// How tokens are spelled and how long dead ones are kept.
    pub tokens: Tokens,
    /// What a scope clamps, by scope word.
    pub scopes: BTreeMap<String, Scope>,
    /// The services with a secret by configuration, by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Where the root keys are.
    pub keys: Keys,
    /// The policies of `/v1/authorize`, by name; [`DEFAULT_POLICY`] is always among them.
    pub authorize: BTreeMap<String, Policy>,
    /// How long sessions last.
    pub sessions: Sessions,
    /// How long the audit log is kept.
    pub audit: Audit,
    /// The portal's cookie.
    pub portal: Portal,
    /// How much is let in.
    pub limits: Limits,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where applications connect; empty for the admin socket alone.
    pub listen: Vec<Listen>,
    /// The issuer, and what portal links begin with.
    pub public_url: PublicUrl,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: TrustedProxies,
    /// Whether a TCP listener may be something else than loopback.
    pub allow_remote: bool,
    /// How long a stop waits for requests in flight, in seconds.
    pub drain_seconds: u64,
    /// The path of the admin socket, if it is not to be found by the usual rules.
    pub admin_socket: Option<String>,
    /// The permission bits of the admin socket; 0600 without.
    pub admin_socket_mode: Option<u32>,
}

/// `[store]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The data directory, if it is not to be found by the usual rules.
    pub dir: Option<String>,
}

/// `[tokens]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What new tokens begin with.
    pub prefix: Prefix,
    /// How long the row of a dead token is kept, in seconds.
    pub purge_after: u64,
}

/// `[scopes.NAME]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The longest life of a token that carries this scope, in seconds.
    pub max_ttl: u64,
}

/// `[keys]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Where the keyring is; without, it is the file `keyring` in the data directory.
    pub file: Option<KeyFile>,
}

/// Where a configured keyring is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file.
    Path(String),
    /// The systemd credential of this name.
    Credential(String),
}

/// `[sessions]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// A session ends this long after it was opened, in seconds.
    pub ttl: u64,
    /// A session ends when it was not used for this long, in seconds.
    pub idle: u64,
}

/// `[audit]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// How long entries are kept.
    pub retention: Retention,
}

/// How long audit entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing is ever cut.
    Forever,
    /// Entries older than this many seconds are replaced by a checkpoint.
    Seconds(u64),
}

/// `[portal]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portal {
    /// Whether the cookie is `Secure`, if the public URL is not to decide.
    pub secure: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: Server::default(),
            store: Store::default(),
            tokens: Tokens { prefix: Prefix::default(), purge_after: 30 * DAY_SECONDS },
            scopes: BTreeMap::from([(BOOTSTRAP_SCOPE.to_owned(), Scope { max_ttl: BOOTSTRAP_SECONDS })]),
            services: BTreeMap::new(),
            keys: Keys::default(),
            authorize: BTreeMap::from([(DEFAULT_POLICY.to_owned(), Policy::default())]),
            sessions: Sessions { ttl: 12 * HOUR_SECONDS, idle: HOUR_SECONDS },
            audit: Audit { retention: Retention::Forever },
            portal: Portal::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![Listen::default()],
            public_url: PublicUrl::default(),
            trusted_proxies: TrustedProxies::default(),
            allow_remote: false,
            drain_seconds: 10,
            admin_socket: None,
            admin_socket_mode: None,
        }
    }
}

impl Server {
    /// The first listener that other machines can reach although nobody allowed it.
    pub fn forbidden_listener(&self) -> Option<&Listen> {
        self.listen.iter().find(|listen| !self.allow_remote && listen.is_remote())
    }
}

impl Settings {
    /// The longest life, in seconds, that these scope words allow a token: the shortest of their clamps,
    /// or nothing where none of them has one.
    pub fn max_ttl<'a>(&self, scope_words: impl IntoIterator<Item = &'a str>) -> Option<u64> {
        scope_words.into_iter().filter_map(|word| self.scopes.get(word)).map(|scope| scope.max_ttl).min()
    }

    /// The policy of this name; [`DEFAULT_POLICY`] is there without being set.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.authorize.get(name)
    }

    /// Whether the portal's cookie is `Secure` and has the `__Host-` name: as set, else unless the public
    /// URL is plain http on loopback.
    pub fn portal_secure(&self) -> bool {
        self.portal.secure.unwrap_or(!self.server.public_url.is_loopback_http())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_configuration_everything_is_closed_and_local() {
        let settings = Settings::default();
        assert_eq!(settings.server.listen, vec![Listen::parse("127.0.0.1:8420").unwrap()]);
        assert_eq!(settings.server.public_url.as_str(), "http://127.0.0.1:8420");
        assert_eq!(settings.server.trusted_proxies, TrustedProxies::default());
        assert_eq!(settings.server.drain_seconds, 10);
        assert!(!settings.server.allow_remote);
        assert_eq!(settings.server.forbidden_listener(), None);
        assert_eq!(settings.tokens.prefix.as_str(), "bdr");
        assert_eq!(settings.sessions, Sessions { ttl: 43_200, idle: 3_600 });
        assert_eq!(settings.audit.retention, Retention::Forever);
        assert_eq!(settings.policy("default"), Some(&Policy::default()));
        assert!(settings.services.is_empty());
    }

    #[test]
    fn the_shortest_clamp_of_a_tokens_scopes_counts() {
        let mut settings = Settings::default();
        settings.scopes.insert("deploy".to_owned(), Scope { max_ttl: 600 });
        assert_eq!(settings.max_ttl(["general"]), None);
        assert_eq!(settings.max_ttl(["general", "bootstrap-analyst"]), Some(3_600));
        assert_eq!(settings.max_ttl(["bootstrap-analyst", "deploy"]), Some(600));
        assert_eq!(settings.max_ttl([]), None);
    }

    #[test]
    fn the_portals_cookie_is_secure_unless_all_is_on_loopback_or_somebody_says_so() {
        let mut settings = Settings::default();
        assert!(!settings.portal_secure());
        settings.server.public_url = PublicUrl::parse("http://auth.example.com").unwrap();
        assert!(settings.portal_secure());
        settings.portal.secure = Some(false);
        assert!(!settings.portal_secure());
        settings.server.public_url = PublicUrl::default();
        settings.portal.secure = Some(true);
        assert!(settings.portal_secure());
    }

    #[test]
    fn a_listener_for_other_machines_needs_to_be_allowed() {
        let mut server = Server { listen: vec![Listen::parse("0.0.0.0:80").unwrap()], ..Server::default() };
        assert_eq!(server.forbidden_listener(), Some(&server.listen[0]));
        server.allow_remote = true;
        assert_eq!(server.forbidden_listener(), None);
    }
}
