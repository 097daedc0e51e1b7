//! The tables that an operator names: scopes, services and policies.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::{Field, Section};
use super::{CREDENTIAL_MARK, Reading};
use crate::settings::{self, CredentialKind, Policy, Scope, SecretSource, Service, words};
use crate::token::ServiceName;

impl Reading<'_, '_> {
    pub(super) fn scope(
        &mut self,
        name: &str,
        mut section: Section<'_>,
        scopes: &mut BTreeMap<String, Scope>,
    ) {
        if !words::is_scope_word(name) {
            section.refuse("is not a scope: visible ASCII without `\"` and `\\` is allowed", self.faults);
        }
        match section.field("max_ttl") {
            Some(field) => {
                if let Some(max_ttl) = field.span(settings::SCOPE_SECONDS, self.faults) {
                    scopes.insert(name.to_owned(), Scope { max_ttl });
                }
            }
            None => section.refuse("has no `max_ttl`", self.faults),
        }
        section.close(self.faults);
    }

    pub(super) fn service(
        &mut self,
        name: &str,
        mut section: Section<'_>,
        services: &mut BTreeMap<ServiceName, Service>,
    ) {
        let known = ServiceName::new(name);
        if let Err(fault) = &known {
            section.refuse(format_args!("the name {fault}"), self.faults);
        }
        let groups =
            section.field("groups").map(|field| self.words(&field, "is not a group", words::is_group));
        let source = self.secret_source(&mut section);
        if let (Ok(known), Some(source)) = (known, source) {
            services.insert(known, Service { source, groups: groups.unwrap_or_default() });
        }
        let what = "does not belong here; put it into a file and name that in `secret_file`";
        section.misplaced("secret", what, self.faults);
        section.close(self.faults);
    }

    fn secret_source(&mut self, section: &mut Section<'_>) -> Option<SecretSource> {
        let secret_file = section.field("secret_file");
        let env_file = section.field("env_file");
        let env_key = section.field("env_key");
        match (secret_file, env_file, env_key) {
            (Some(file), None, None) => self.service_path(&file).map(SecretSource::SecretFile),
            (None, Some(file), Some(key)) => {
                let path = self.service_path(&file);
                let keys = self.env_keys(&key);
                Some(SecretSource::EnvFile { path: path?, keys: keys? })
            }
            (None, None, None) => {
                self.no_source(section, "names no `secret_file`, and no `env_file` with an `env_key`")
            }
            (None, Some(_), None) => self.no_source(section, "has an `env_file` and no `env_key`"),
            (None, None, Some(_)) => self.no_source(section, "has an `env_key` and no `env_file`"),
            (Some(_), _, _) => {
                self.no_source(section, "has both a `secret_file` and an `env_file` or `env_key`")
            }
        }
    }

    fn no_source(&mut self, section: &Section<'_>, what: &str) -> Option<SecretSource> {
        section.refuse(what, self.faults);
        None
    }

    fn service_path(&mut self, field: &Field<'_>) -> Option<String> {
        let path = field.text(self.faults)?;
        if path.starts_with(CREDENTIAL_MARK) {
            let what = "cannot be a credential, which a reload would not read again; name the file itself";
            field.refuse(what, self.faults);
            return None;
        }
        self.path(field)
    }

    fn env_keys(&mut self, field: &Field<'_>) -> Option<Vec<String>> {
        let what = "is not the name of a variable";
        if field.is_list() {
            let keys = self.words(field, what, words::is_env_key);
            if keys.is_empty() {
                field.refuse("names no variable", self.faults);
            }
            return Some(keys);
        }
        let key = field.text(self.faults)?;
        if !words::is_env_key(key) {
            field.refuse_text(key, what, self.faults);
        }
        Some(vec![key.to_owned()])
    }

    pub(super) fn policy(
        &mut self,
        name: &str,
        mut section: Section<'_>,
        policies: &mut BTreeMap<String, Policy>,
    ) {
        if !words::is_policy_name(name) {
            let what = "is no name of a policy: letters, digits, `-`, `_` and `.` are allowed, the first a letter or digit";
            section.refuse(what, self.faults);
        }
        let mut policy = Policy::default();
        if let Some(field) = section.field("kinds") {
            policy.kinds = self.kinds(&field);
        }
        if let Some(field) = section.field("scopes") {
            policy.scopes = self.words(&field, "is not a scope", words::is_scope_word);
        }
        if let Some(field) = section.field("groups") {
            policy.groups = self.words(&field, "is not a group", words::is_group);
        }
        policies.insert(name.to_owned(), policy);
        section.close(self.faults);
    }

    fn kinds(&mut self, field: &Field<'_>) -> BTreeSet<CredentialKind> {
        let elements = field.list(self.faults);
        if elements.as_ref().is_some_and(Vec::is_empty) {
            field.refuse("names no kind, so that nobody could pass", self.faults);
        }
        let mut kinds = BTreeSet::new();
        for element in elements.unwrap_or_default() {
            let Some(word) = element.text(self.faults) else { continue };
            if let Some(kind) = CredentialKind::from_name(word) {
                kinds.insert(kind);
            } else {
                let known = CredentialKind::ALL.map(CredentialKind::name).join(", ");
                element.refuse_text(word, format_args!("is none of {known}"), self.faults);
            }
        }
        kinds
    }
}
