//! The text of a configuration file, judged: [`Settings`], or everything that is wrong with it, each with its line and key.
//!
//! A function of the text and its folder's name: it opens nothing, so that a fuzzer can call it. A setting
//! that is not named keeps its default; one that is not known is an error, since a typing error in
//! `allow_remote` must not go unnoticed.

mod named;
mod reader;
mod suggest;
mod syntax;

use ::toml::de::DeTable;

use self::reader::{Faults, Field, Section};
use super::Fault;
use crate::settings::{
    self, Audit, KeyFile, Keys, Limits, Listen, Portal, PublicUrl, Retention, Server, Sessions, Settings,
    Store, Tokens, TrustedProxies, limits, listen, proxies, words,
};
use crate::token::Prefix;

/// What a `keys.file` begins with that names a systemd credential.
const CREDENTIAL_MARK: &str = "credential:";
/// The longest path, in bytes, as the kernel has it.
const PATH_BYTES_MAX: usize = 4095;
/// The most faults of syntax that are told: one missing quote makes many.
const SYNTAX_FAULTS_MAX: usize = 10;
/// The permission bits that an admin socket can have: its owner's and its group's.
const SOCKET_MODE_BITS: u32 = 0o660;
/// The permission bits that an admin socket must have.
const SOCKET_OWNER_BITS: u32 = 0o600;

/// Judges a configuration. A relative path in it counts from `folder`.
///
/// ```
/// use bearerd::config::toml::parse;
///
/// let settings = parse("[store]\ndir = \"data\"", "/etc/bearerd").unwrap();
/// assert_eq!(settings.store.dir.as_deref(), Some("/etc/bearerd/data"));
/// let faults = parse("[server]\nlisten_on = []", "/etc/bearerd").unwrap_err();
/// assert_eq!((faults[0].line, faults[0].key.as_str()), (2, "server.listen_on"));
/// ```
pub fn parse(text: &str, folder: &str) -> Result<Settings, Vec<Fault>> {
    let mut faults = Faults::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors.iter().take(SYNTAX_FAULTS_MAX) {
            let at = error.span().unwrap_or_default();
            let (key, what) = syntax::told(text, &at, error.message());
            faults.add(&at, key, what);
        }
        return faults.settle(Settings::default());
    }
    let mut file = Section::whole(&table);
    let settings = Reading { folder, faults: &mut faults }.settings(&mut file);
    file.close(&mut faults);
    faults.settle(settings)
}

/// Where the reading stands: a method for each table of the file.
struct Reading<'r, 't> {
    folder: &'r str,
    faults: &'r mut Faults<'t>,
}

impl Reading<'_, '_> {
    fn settings(&mut self, file: &mut Section<'_>) -> Settings {
        let mut settings = Settings::default();
        self.each(file, "server", |this, section| this.server(section, &mut settings.server));
        self.each(file, "store", |this, section| this.store(section, &mut settings.store));
        self.each(file, "tokens", |this, section| this.tokens(section, &mut settings.tokens));
        self.each(file, "keys", |this, section| this.keys(section, &mut settings.keys));
        self.each(file, "sessions", |this, section| this.sessions(section, &mut settings.sessions));
        self.each(file, "audit", |this, section| this.audit(section, &mut settings.audit));
        self.each(file, "portal", |this, section| this.portal(section, &mut settings.portal));
        self.each(file, "limits", |this, section| this.limits(section, &mut settings.limits));
        for (name, section) in file.named("scopes", self.faults) {
            self.scope(name, section, &mut settings.scopes);
        }
        for (name, section) in file.named("services", self.faults) {
            self.service(name, section, &mut settings.services);
        }
        for (name, section) in file.named("authorize", self.faults) {
            self.policy(name, section, &mut settings.authorize);
        }
        settings
    }

    /// Reads the table of this name, if it is there, and notes what is unknown in it.
    fn each<'t>(
        &mut self,
        file: &mut Section<'t>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &mut Section<'t>),
    ) {
        if let Some(mut section) = file.section(name, self.faults) {
            read(self, &mut section);
            section.close(self.faults);
        }
    }

    fn server(&mut self, section: &mut Section<'_>, server: &mut Server) {
        if let Some(allowed) = section.field("allow_remote").and_then(|field| field.flag(self.faults)) {
            server.allow_remote = allowed;
        }
        if let Some(field) = section.field("admin_socket") {
            server.admin_socket = self.socket_path(&field);
        }
        if let Some(field) = section.field("admin_socket_mode") {
            server.admin_socket_mode = self.socket_mode(&field);
        }
        if let Some(field) = section.field("listen") {
            server.listen = self.listeners(&field, server);
        }
        if let Some(field) = section.field("public_url") {
            server.public_url = self.judged(&field, PublicUrl::parse).unwrap_or_default();
        }
        if let Some(field) = section.field("trusted_proxies") {
            server.trusted_proxies = TrustedProxies::new(self.each_judged(&field, proxies::range));
        }
        if let Some(seconds) = section
            .field("drain_seconds")
            .and_then(|field| field.number(settings::DRAIN_SECONDS, self.faults))
        {
            server.drain_seconds = seconds;
        }
    }

    fn listeners(&mut self, field: &Field<'_>, server: &Server) -> Vec<Listen> {
        let mut listeners = Vec::new();
        for element in field.list(self.faults).unwrap_or_default() {
            let Some(text) = element.text(self.faults) else { continue };
            let Some(listen) = self.listener(&element, text) else { continue };
            if listen.is_remote() && !server.allow_remote {
                let what = "is open to other machines; set `server.allow_remote = true` if that is meant";
                element.refuse_text(text, what, self.faults);
            }
            if matches!(&listen, Listen::Unix(path) if Some(path) == server.admin_socket.as_ref()) {
                element.refuse_text(text, "is the admin socket, where everybody is an admin", self.faults);
            }
            let any_port = matches!(listen, Listen::Tcp(address) if address.port() == 0);
            if listeners.contains(&listen) && !any_port {
                element.refuse_text(text, "is there twice", self.faults);
            }
            listeners.push(listen);
        }
        listeners
    }

    fn listener(&mut self, element: &Field<'_>, text: &str) -> Option<Listen> {
        match Listen::parse(text) {
            Ok(Listen::Unix(path)) => self.resolved_socket(element, &path).map(Listen::Unix),
            Ok(Listen::Tcp(address)) => Some(Listen::Tcp(address)),
            Err(fault) => {
                element.refuse_text(text, fault, self.faults);
                None
            }
        }
    }

    fn socket_path(&mut self, field: &Field<'_>) -> Option<String> {
        let path = field.text(self.faults)?;
        if let Err(fault) = listen::judge_socket_path(path) {
            field.refuse_text(path, fault, self.faults);
            return None;
        }
        self.resolved_socket(field, path)
    }

    /// The path from the root, which must be short enough in turn.
    fn resolved_socket(&mut self, field: &Field<'_>, path: &str) -> Option<String> {
        let resolved = resolve(self.folder, path);
        match listen::judge_socket_path(&resolved) {
            Ok(()) => Some(resolved),
            Err(fault) => {
                field.refuse_text(&resolved, fault, self.faults);
                None
            }
        }
    }

    fn socket_mode(&mut self, field: &Field<'_>) -> Option<u32> {
        let text = field.text(self.faults)?;
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal);
        let mode = mode
            .filter(|mode| mode & !SOCKET_MODE_BITS == 0 && mode & SOCKET_OWNER_BITS == SOCKET_OWNER_BITS);
        if mode.is_none() {
            let what =
                "must be \"0600\", or \"0660\" to let its group in; there is no way to let everybody in";
            field.refuse(what, self.faults);
        }
        mode
    }

    fn store(&mut self, section: &mut Section<'_>, store: &mut Store) {
        if let Some(field) = section.field("dir") {
            store.dir = self.path(&field);
        }
    }

    fn tokens(&mut self, section: &mut Section<'_>, tokens: &mut Tokens) {
        if let Some(prefix) = section.field("prefix").and_then(|field| self.judged(&field, Prefix::new)) {
            tokens.prefix = prefix;
        }
        self.span(section, "purge_after", settings::PURGE_SECONDS, &mut tokens.purge_after);
    }

    fn keys(&mut self, section: &mut Section<'_>, keys: &mut Keys) {
        let Some(field) = section.field("file") else { return };
        let Some(text) = field.text(self.faults) else { return };
        keys.file = match text.strip_prefix(CREDENTIAL_MARK) {
            Some(name) if words::is_credential_name(name) => Some(KeyFile::Credential(name.to_owned())),
            Some(_) => {
                field.refuse_text(
                    text,
                    "names no credential: letters, digits, `-`, `_` and `.` are allowed",
                    self.faults,
                );
                None
            }
            None => self.path(&field).map(KeyFile::Path),
        };
    }

    fn sessions(&mut self, section: &mut Section<'_>, sessions: &mut Sessions) {
        self.span(section, "ttl", settings::SESSION_SECONDS, &mut sessions.ttl);
        self.span(section, "idle", settings::SESSION_SECONDS, &mut sessions.idle);
    }

    fn audit(&mut self, section: &mut Section<'_>, audit: &mut Audit) {
        let Some(field) = section.field("retention") else { return };
        match field.text(self.faults) {
            Some("forever") => audit.retention = Retention::Forever,
            Some(_) => {
                let seconds = field.span(settings::RETENTION_SECONDS, self.faults);
                audit.retention = seconds.map_or(Retention::Forever, Retention::Seconds);
            }
            None => {}
        }
    }

    fn portal(&mut self, section: &mut Section<'_>, portal: &mut Portal) {
        portal.secure = section.field("secure").and_then(|field| field.flag(self.faults));
    }

    fn limits(&mut self, section: &mut Section<'_>, to: &mut Limits) {
        self.number(section, "header_bytes", limits::HEADER_BYTES, &mut to.header_bytes);
        self.number(section, "body_bytes", limits::BODY_BYTES, &mut to.body_bytes);
        self.number(section, "batch_body_bytes", limits::BATCH_BODY_BYTES, &mut to.batch_body_bytes);
        self.number(section, "header_seconds", limits::HEADER_SECONDS, &mut to.header_seconds);
        self.number(section, "request_seconds", limits::REQUEST_SECONDS, &mut to.request_seconds);
        self.number(section, "stall_seconds", limits::STALL_SECONDS, &mut to.stall_seconds);
        self.number(section, "connections", limits::CONNECTIONS, &mut to.connections);
        let logins = &mut to.failed_logins_per_minute;
        self.number(section, "failed_logins_per_minute", limits::FAILED_LOGINS_PER_MINUTE, logins);
        self.number(section, "writer_queue", limits::WRITER_QUEUE, &mut to.writer_queue);
        self.number(section, "password_hashes", limits::PASSWORD_HASHES, &mut to.password_hashes);
        self.number(section, "password_queue", limits::PASSWORD_QUEUE, &mut to.password_queue);
    }

    /// A list of words, each once.
    fn words(&mut self, field: &Field<'_>, what: &str, judge: fn(&str) -> bool) -> Vec<String> {
        let mut words = Vec::new();
        for element in field.list(self.faults).unwrap_or_default() {
            let Some(word) = element.text(self.faults) else { continue };
            if !judge(word) {
                element.refuse_text(word, what, self.faults);
            } else if words.iter().any(|known| known == word) {
                element.refuse_text(word, "is there twice", self.faults);
            } else {
                words.push(word.to_owned());
            }
        }
        words
    }

    /// A file or folder, from the root.
    fn path(&mut self, field: &Field<'_>) -> Option<String> {
        let path = field.text(self.faults)?;
        let what = match path {
            "" => "names no file",
            path if path.chars().any(char::is_control) => "has a control character",
            path if path.len() > PATH_BYTES_MAX => "is longer than a path can be",
            _ => return Some(resolve(self.folder, path)),
        };
        field.refuse_text(path, what, self.faults);
        None
    }

    fn judged<T, E: std::fmt::Display>(
        &mut self,
        field: &Field<'_>,
        judge: fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = field.text(self.faults)?;
        match judge(text) {
            Ok(value) => Some(value),
            Err(fault) => {
                field.refuse_text(text, fault, self.faults);
                None
            }
        }
    }

    fn each_judged<T, E: std::fmt::Display>(
        &mut self,
        field: &Field<'_>,
        judge: fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let elements = field.list(self.faults).unwrap_or_default();
        elements.iter().filter_map(|element| self.judged(element, judge)).collect()
    }

    fn number<T: TryFrom<u64>>(
        &mut self,
        section: &mut Section<'_>,
        name: &'static str,
        bounds: settings::Bounds,
        to: &mut T,
    ) {
        if let Some(number) = section.field(name).and_then(|field| field.number(bounds, self.faults)) {
            *to = number;
        }
    }

    fn span(
        &mut self,
        section: &mut Section<'_>,
        name: &'static str,
        bounds: settings::Bounds,
        to: &mut u64,
    ) {
        if let Some(seconds) = section.field(name).and_then(|field| field.span(bounds, self.faults)) {
            *to = seconds;
        }
    }
}

/// A path as seen from the root, if the folder is.
fn resolve(folder: &str, path: &str) -> String {
    if path.starts_with('/') || folder.is_empty() {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{path}", folder.strip_suffix('/').unwrap_or(folder))
}

#[cfg(test)]
mod tests;
