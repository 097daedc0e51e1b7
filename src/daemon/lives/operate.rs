//! What happens to the daemon itself: time, reloads, keys, revocation of many, purges, restarts.

use serde_json::json;

use super::{
    Body, Caller, Step, World,
    plain::{DAY, GROUPS, Owner, Sealed},
    write_configuration,
};
use crate::token::{KeyId, Keyring, Kind};

impl World {
    pub(super) fn take_of_operators(&mut self, step: Step) {
        use Step::*;
        match step {
            Bulk { filter, which, dry } => self.revoke_many(filter, which, dry),
            Configure { configured, groups, secrets } => self.configure(configured, groups, secrets),
            RotateKeys => self.rotate_keys(),
            DropKey { which } => self.drop_key(which),
            Reseal => self.reseal(),
            Pass { seconds } => self.pass(seconds),
            PassToEnd { token, after } => {
                let now = self.model.now;
                let at = self.pick_token(token, |token| token.end.is_some_and(|end| end > now + 1));
                if let Some(end) = at.and_then(|at| self.model.tokens[at].end) {
                    self.pass(end - now - u64::from(!after));
                }
            }
            Sleep { half_days } => {
                for _ in 0..half_days {
                    self.pass(DAY / 2);
                    self.purge();
                }
            }
            Purge => self.purge(),
            Restart { clean } => self.restart(clean),
            _ => {}
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.model.now += seconds;
        self.house.set_clock(self.model.now);
    }

    fn purge(&mut self) {
        assert_eq!(self.house.purge(), self.model.purge());
    }

    fn restart(&mut self, clean: bool) {
        if clean {
            self.house.stop();
            self.model.flush();
        } else {
            self.house.kill();
            self.model.crash();
        }
        // An install token that is on file stays, whatever became of it.
        assert_eq!(self.house.start(), None);
    }

    fn revoke_many(&mut self, filter: usize, which: usize, dry: bool) {
        const KINDS: [Kind; 6] =
            [Kind::Session, Kind::Pat, Kind::Enrollment, Kind::Agent, Kind::Link, Kind::Install];
        let mut body = json!({ "dry_run": dry });
        let (mut owner, mut kind, mut before) = (None, None, None);
        match filter {
            0 | 1 => owner = Some(Owner::User(which % self.model.users.len())),
            2 if !self.model.hosts.is_empty() => owner = Some(Owner::Host(which % self.model.hosts.len())),
            3 if !self.model.clients.is_empty() => {
                owner = Some(Owner::Client(which % self.model.clients.len()));
            }
            4 => before = Some(self.model.now),
            5 => {
                before = Some(self.model.now.saturating_sub(100));
                kind = Some(Kind::Pat);
            }
            _ => kind = Some(KINDS[which % KINDS.len()]),
        }
        if let Some(owner) = owner {
            let field = match owner {
                Owner::User(_) | Owner::Nobody => "user",
                Owner::Host(_) => "host",
                Owner::Client(_) => "client",
            };
            body[field] = json!(self.subject(owner));
        }
        if let Some(kind) = kind {
            body["kind"] = json!(kind.name());
        }
        if let Some(before) = before {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(before);
            body["created_before"] = json!(humantime::format_rfc3339_seconds(time).to_string());
        }
        let meant: Vec<usize> = (0..self.model.tokens.len())
            .filter(|at| {
                let token = &self.model.tokens[*at];
                owner.is_none_or(|owner| token.owner == owner)
                    && kind.is_none_or(|kind| token.kind == kind)
                    && before.is_none_or(|before| token.created < before)
                    && self.model.revoked_at(token).is_none()
                    && !token.gone
            })
            .collect();
        let told = self.expect(200, &Caller::Socket, "POST", "/v1/admin/tokens/revoke", Body::Json(body));
        let revoked = if dry { 0 } else { meant.len() };
        assert_eq!(told.json, json!({"matches": meant.len(), "revoked": revoked}));
        if !dry && !meant.is_empty() {
            for at in meant {
                self.model.revoke(at);
            }
            self.model.log.push("token.admin_revoke");
        }
    }

    fn configure(&mut self, configured: bool, groups: usize, secrets: u8) {
        let service = &mut self.model.service;
        service.configured = configured;
        service.groups = groups;
        service.secrets = (0..super::SECRETS).filter(|number| secrets & 1 << number != 0).collect();
        write_configuration(&self.house, service);
        assert!(self.reload(&self.house.keyring()));
    }

    /// Reloads with that keyring in place; whether it was taken. One that is not is taken away again.
    fn reload(&mut self, next: &Keyring) -> bool {
        let before = self.house.keyring();
        let ids: Vec<String> = next.ids().map(ToString::to_string).collect();
        let lost = self.model.keys.iter().filter(|key| !ids.contains(key)).any(|key| self.model.needs(key));
        self.house.write("data/keyring", next.to_text().expose());
        let status = if lost { 422 } else { 200 };
        self.expect(status, &Caller::Socket, "POST", "/v1/admin/reload", Body::None);
        if lost {
            self.house.write("data/keyring", before.to_text().expose());
        } else {
            let current = next.current().id().to_string();
            if current != self.model.key() {
                self.model.log.push("keys.rewrap");
            }
            self.model.keys = ids.into_iter().filter(|id| *id != current).chain([current.clone()]).collect();
            self.service_user();
        }
        self.model.log.push("config.reload");
        !lost
    }

    /// What a reload makes of the user of the service.
    fn service_user(&mut self) {
        let service = &self.model.service;
        let groups: Vec<String> = GROUPS[service.groups].iter().map(ToString::to_string).collect();
        let user = &mut self.model.users[service.user];
        match (service.configured, user.active) {
            (true, active) if !active || user.groups != groups => {
                user.active = true;
                user.groups = groups;
                self.model.log.push("service.update");
            }
            (false, true) => {
                user.active = false;
                self.model.log.push("service.deactivate");
            }
            _ => {}
        }
    }

    fn rotate_keys(&mut self) {
        self.keys_made += 1;
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&self.keys_made.to_be_bytes());
        let id = KeyId::new(&format!("made-{}", self.keys_made)).unwrap();
        let next = self.house.keyring().rotated(id, &bytes).unwrap();
        assert!(self.reload(&next));
    }

    fn drop_key(&mut self, which: usize) {
        let old = self.model.keys.len() - 1;
        if old > 0 {
            let id = KeyId::new(&self.model.keys[which % old]).unwrap();
            let next = self.house.keyring().without(&id).unwrap();
            self.reload(&next);
        }
    }

    fn reseal(&mut self) {
        let told = self.expect(200, &Caller::Socket, "POST", "/v1/admin/keys/reseal", Body::None);
        let current = self.model.key();
        let mut rows = 0;
        let hosts = self.model.hosts.iter_mut().map(|host| &mut host.sealed);
        let tokens = self.model.tokens.iter_mut().map(|token| &mut token.sealed);
        for sealed in hosts.chain(tokens) {
            let Sealed::Some((key, _)) = sealed else { continue };
            if *key != current {
                key.clone_from(&current);
                rows += 1;
            }
        }
        assert_eq!((&told.json["resealed"], &told.json["damaged"]), (&json!(rows), &json!(0)));
        if rows > 0 {
            self.model.log.push("keys.reseal");
        }
    }
}
