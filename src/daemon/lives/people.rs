//! What people do: setup, users, sessions, PATs.

use serde_json::json;

use super::{
    Body, Caller, PASSWORDS, SPANS, Step, Who, Wish, World,
    plain::{DAY, GROUPS, Line, Owner, SCOPES, Token, User},
    text_of,
};
use crate::token::Kind;

impl World {
    pub(super) fn take_of_people(&mut self, step: Step) {
        use Step::*;
        match step {
            InstallToken { force } => self.install_token(force),
            SetUp { token, email, password } => self.set_up(token, email, password),
            ComeBack { email, password } => {
                self.install_token(true);
                self.set_up(0, email, password);
            }
            AddUser { who, email, groups } => self.add_user(who, email, groups),
            Regroup { who, user, groups } => self.change_user(who, user, Some(groups), None),
            Activate { who, user, active } => self.change_user(who, user, None, Some(active)),
            Password { user, password } => self.set_password(user, password),
            LogIn { user, password } => self.log_in(user, password),
            OpenSession { who, user, span } => self.open_session(who, user, span),
            EndSession { who, session } => self.end_session(who, session),
            EndCurrent { who } => self.end_current(who),
            Mint { who, user, wish } => self.mint(who, user, wish),
            Rotate { who, token, overlap } => self.rotate(who, token, overlap),
            Revoke { who, token } => self.revoke(who, token),
            RevokeAny { who, token } => self.revoke_any(who, token),
            RevokePresented { token } => self.revoke_presented(token),
            Switch { who, token, on } => self.switch(who, token, on),
            Use { who, inside } => self.use_bearer(who, inside),
            Introspect { token, inside } => self.introspect(token, inside),
            _ => {}
        }
    }

    fn email(number: usize) -> String {
        // The fifth belongs to the daemon itself, the sixth to nobody but by setup.
        ["a", "b", "c", "d"].get(number).map_or_else(
            || ["cron@system.local", "e@example.org"][number - 4].to_owned(),
            |name| format!("{name}@example.org"),
        )
    }

    fn install_token(&mut self, force: bool) {
        let body = Body::Json(json!({ "force": force }));
        let path = "/v1/admin/install-token";
        let pending = self.model.setup.pending();
        if !pending && !force {
            self.expect(409, &Caller::Socket, "POST", path, body);
            return;
        }
        let told = self.expect(201, &Caller::Socket, "POST", path, body);
        if let Some(before) = self.model.setup.token {
            self.model.revoke(before);
        }
        let text = text_of(&told.json, "token");
        let token = self.model.blank(Kind::Install, &text, Owner::Nobody, None);
        self.model.setup.token = Some(self.model.keep(token));
        self.model.setup.reopened |= force;
        self.model.log.push(if pending { "install.mint" } else { "setup.reopen" });
    }

    fn set_up(&mut self, token: usize, email: usize, password: u8) {
        let Some(at) = self.pick_token(token, |token| token.kind == Kind::Install) else { return };
        let email = Self::email(email);
        let body = json!({"install_token": self.model.tokens[at].text, "email": email,
            "password": PASSWORDS[usize::from(password)]});
        let refused = if !self.model.setup.pending() {
            Some((409, "setup_complete"))
        } else if self.model.setup.token != Some(at) || self.model.tokens[at].revoked.is_some() {
            Some((401, "unknown"))
        } else {
            None
        };
        if let Some((status, reason)) = refused {
            self.model.refusals.insert(("setup.refused", reason, None));
            self.expect(status, &Caller::Nobody, "POST", "/v1/setup", Body::Json(body));
            return;
        }
        let known = self.model.users.iter().position(|user| user.email == email);
        if email.ends_with("system.local") {
            self.expect(400, &Caller::Nobody, "POST", "/v1/setup", Body::Json(body));
            return;
        }
        if known.is_some() && !self.model.setup.reopened {
            self.expect(409, &Caller::Nobody, "POST", "/v1/setup", Body::Json(body));
            return;
        }
        let told = self.expect(201, &Caller::Nobody, "POST", "/v1/setup", Body::Json(body));
        let shown = &told.json["user"];
        let user =
            known.unwrap_or_else(|| self.keep_user(text_of(shown, "id"), email, vec!["admin".to_owned()]));
        let back = &mut self.model.users[user];
        back.groups.push("admin".to_owned());
        back.groups.sort();
        back.groups.dedup();
        back.active = true;
        back.password = Some(password);
        if known.is_some() {
            back.end_sessions(self.model.now);
        }
        assert_eq!((shown["id"].as_str(), &shown["groups"]), (Some(back.id.as_str()), &json!(back.groups)));
        let now = self.model.now;
        self.model.tokens[at].consumed = Some(now);
        self.model.setup = super::Setup { completed: true, reopened: false, token: None };
        self.model.log.push("setup.complete");
        self.keep_session(user, &text_of(&told.json["session"], "token"), 12 * 3_600);
    }

    fn keep_user(&mut self, id: String, email: String, groups: Vec<String>) -> usize {
        let user = User { id, email, groups, active: true, password: None, epoch: 0, service: false };
        self.model.users.push(user);
        self.model.users.len() - 1
    }

    fn keep_session(&mut self, user: usize, text: &str, span: u64) {
        let blank = self.model.blank(Kind::Session, text, Owner::User(user), Some(span));
        let epoch = self.model.users[user].epoch;
        self.model.keep(Token { epoch, ..blank });
    }

    fn add_user(&mut self, who: Who, email: usize, groups: usize) {
        let caller = self.caller(who);
        let (email, groups) = (Self::email(email), GROUPS[groups]);
        let body = Body::Json(json!({"email": email, "groups": groups}));
        if let Some(status) = self.turned_away(&caller, Line::Everything) {
            self.expect(status, &caller, "POST", "/v1/users", body);
        } else if email.ends_with("system.local") {
            self.expect(400, &caller, "POST", "/v1/users", body);
        } else if self.model.users.iter().any(|user| user.email == email) {
            self.expect(409, &caller, "POST", "/v1/users", body);
        } else {
            let told = self.expect(201, &caller, "POST", "/v1/users", body);
            let groups = groups.iter().map(ToString::to_string).collect();
            self.keep_user(text_of(&told.json, "id"), email, groups);
            self.model.log.push("user.create");
        }
    }

    fn change_user(&mut self, who: Who, user: usize, groups: Option<usize>, active: Option<bool>) {
        let caller = self.caller(who);
        let user = user % self.model.users.len();
        let before = self.model.users[user].clone();
        let mut after = before.clone();
        let mut body = json!({});
        if let Some(groups) = groups {
            body["groups"] = json!(GROUPS[groups]);
            after.groups = GROUPS[groups].iter().map(ToString::to_string).collect();
        }
        if let Some(active) = active {
            body["active"] = json!(active);
            after.active = active;
        }
        if before.active && !after.active {
            after.end_sessions(self.model.now);
        }
        let path = format!("/v1/users/{}", before.id);
        if let Some(status) = self.turned_away(&caller, Line::Everything) {
            self.expect(status, &caller, "PATCH", &path, Body::Json(body));
            return;
        }
        let others = self.model.users.iter().enumerate();
        let last = !others.into_iter().any(|(at, other)| at != user && other.administrates());
        if before.service || (before.administrates() && !after.administrates() && last) {
            self.expect(409, &caller, "PATCH", &path, Body::Json(body));
            return;
        }
        let told = self.expect(200, &caller, "PATCH", &path, Body::Json(body));
        assert_eq!(
            (&told.json["groups"], &told.json["active"]),
            (&json!(after.groups), &json!(after.active))
        );
        self.model.log.extend(match (before.active, after.active) {
            (true, false) => Some("user.deactivate"),
            (false, true) => Some("user.reactivate"),
            _ => (before.groups != after.groups).then_some("user.update"),
        });
        self.model.users[user] = after;
    }

    fn set_password(&mut self, user: usize, password: u8) {
        let user = user % self.model.users.len();
        let path = format!("/v1/users/{}", self.model.users[user].id);
        let body = Body::Json(json!({"password": PASSWORDS[usize::from(password)]}));
        if self.model.users[user].service {
            self.expect(409, &Caller::Socket, "PATCH", &path, body);
            return;
        }
        self.expect(200, &Caller::Socket, "PATCH", &path, body);
        let user = &mut self.model.users[user];
        user.password = Some(password);
        user.end_sessions(self.model.now);
        self.model.log.push("user.password");
    }

    fn log_in(&mut self, user: usize, password: u8) {
        let user = user % self.model.users.len();
        let who = self.model.users[user].clone();
        let body = Body::Json(json!({"email": who.email, "password": PASSWORDS[usize::from(password)]}));
        let refused = match who.password {
            _ if !who.active => Some("inactive"),
            None => Some("no_password"),
            Some(own) => (own != password).then_some("wrong_password"),
        };
        if let Some(reason) = refused {
            self.model.refusals.insert(("login.refused", reason, None));
            self.expect(401, &Caller::Nobody, "POST", "/v1/sessions", body);
            return;
        }
        let told = self.expect(201, &Caller::Nobody, "POST", "/v1/sessions", body);
        self.model.log.push("session.create");
        self.keep_session(user, &text_of(&told.json, "token"), 12 * 3_600);
    }

    fn open_session(&mut self, who: Who, user: usize, span: usize) {
        let caller = self.caller(who);
        let user = user % self.model.users.len();
        let path = format!("/v1/users/{}/sessions", self.model.users[user].id);
        let body = Body::Json(json!({"ttl_seconds": SPANS[span]}));
        if let Some(status) = self.turned_away(&caller, Line::ForAnother) {
            self.expect(status, &caller, "POST", &path, body);
        } else if self.model.users[user].service || !self.model.users[user].active {
            self.expect(409, &caller, "POST", &path, body);
        } else {
            let told = self.expect(201, &caller, "POST", &path, body);
            self.model.log.push("session.create");
            self.keep_session(user, &text_of(&told.json, "token"), SPANS[span].unwrap_or(12 * 3_600));
        }
    }

    /// Whether a token of that kind can be seen by a caller who was let through.
    fn sees(&self, caller: &Caller, at: usize, kind: Kind) -> bool {
        let token = &self.model.tokens[at];
        let own = self.user_of(caller).is_some_and(|user| token.owner == Owner::User(user));
        token.kind == kind && !token.gone && (own || self.sees_all(caller))
    }

    fn end_session(&mut self, who: Who, session: usize) {
        let caller = self.caller(who);
        // Now and then it is another token's id.
        let Some(at) = self.pick_token(session, |token| token.kind != Kind::Pat) else { return };
        let path = format!("/v1/sessions/{}", self.model.tokens[at].id);
        if let Some(status) = self.turned_away(&caller, Line::OwnTokens) {
            self.expect(status, &caller, "DELETE", &path, Body::None);
        } else if !self.sees(&caller, at, Kind::Session) {
            self.expect(404, &caller, "DELETE", &path, Body::None);
        } else {
            self.expect(204, &caller, "DELETE", &path, Body::None);
            if self.model.revoke(at) {
                self.model.log.push("session.revoke");
            }
        }
    }

    fn end_current(&mut self, who: Who) {
        let caller = self.caller(who);
        let path = "/v1/sessions/current";
        if let Some(status) = self.turned_away(&caller, Line::OwnTokens) {
            self.expect(status, &caller, "DELETE", path, Body::None);
            return;
        }
        match caller {
            Caller::Token(at, _) if self.model.tokens[at].kind == Kind::Session => {
                self.expect(204, &caller, "DELETE", path, Body::None);
                self.model.revoke(at);
                self.model.log.push("session.revoke");
            }
            _ => drop(self.expect(403, &caller, "DELETE", path, Body::None)),
        }
    }

    fn mint(&mut self, who: Who, user: usize, wish: Wish) {
        let caller = self.caller(who);
        let mut body = json!({"name": "n", "scope": SCOPES[wish.scope].0, "max_uses": wish.uses,
            "format": if wish.jwt { "jwt" } else { "opaque" }});
        match SPANS[wish.span] {
            Some(seconds) if seconds % DAY == 0 => body["expires_in_days"] = json!(seconds / DAY),
            Some(seconds) => body["ttl_seconds"] = json!(seconds),
            None => body["expires_in_days"] = json!(null),
        }
        if wish.inside {
            body["allowed_ips"] = json!(["192.0.2.0/24", "2001:db8::/32"]);
        }
        // For oneself, but for those who can only mint for others.
        let own = matches!(who, Who::Session(_) | Who::Token(_)) && user.is_multiple_of(2);
        let user = user % self.model.users.len();
        let (line, path) = if own {
            (Line::OwnPats, "/v1/tokens".to_owned())
        } else {
            (Line::ForAnother, format!("/v1/users/{}/tokens", self.model.users[user].id))
        };
        if let Some(status) = self.turned_away(&caller, line) {
            self.expect(status, &caller, "POST", &path, Body::Json(body));
            return;
        }
        let user = if own { self.user_of(&caller).unwrap() } else { user };
        let owner = &self.model.users[user];
        if owner.service || !owner.active {
            self.expect(409, &caller, "POST", &path, Body::Json(body));
        } else if SCOPES[wish.scope].1 > owner.power() {
            self.expect(403, &caller, "POST", &path, Body::Json(body));
        } else {
            let told = self.expect(201, &caller, "POST", &path, Body::Json(body));
            self.model.log.push("token.create");
            let pattern = Token {
                scope: wish.scope,
                uses_max: wish.uses,
                inside_only: wish.inside,
                jwt: wish.jwt.then(|| self.model.key()),
                ..self.model.blank(Kind::Pat, "", Owner::User(user), SPANS[wish.span])
            };
            self.keep_pat(&told.json, &pattern);
        }
    }

    /// Keeps a PAT that was just minted, alike to `pattern`, clamped by its scope.
    fn keep_pat(&mut self, shown: &serde_json::Value, pattern: &Token) {
        let clamp = (pattern.scope == 1).then_some(3_600);
        let span = [pattern.span, clamp].into_iter().flatten().min();
        let fresh = self.model.blank(Kind::Pat, &text_of(shown, "token"), pattern.owner, span);
        self.model.keep(Token {
            id: text_of(shown, "id"),
            scope: pattern.scope,
            uses_max: pattern.uses_max,
            inside_only: pattern.inside_only,
            jwt: pattern.jwt.as_ref().map(|_| self.model.key()),
            ..fresh
        });
    }

    fn rotate(&mut self, who: Who, token: usize, overlap: u64) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(token, |token| token.kind == Kind::Pat) else { return };
        let path = format!("/v1/tokens/{}/rotate", self.model.tokens[at].id);
        let body = Body::Json(json!({ "overlap_seconds": overlap }));
        if let Some(status) = self.turned_away(&caller, Line::OwnPats) {
            self.expect(status, &caller, "POST", &path, body);
            return;
        }
        let old = self.model.tokens[at].clone();
        let Owner::User(owner) = old.owner else { unreachable!("a PAT's owner is a user") };
        if !self.sees(&caller, at, Kind::Pat) {
            self.expect(404, &caller, "POST", &path, body);
        } else if self.model.state(&old) != crate::records::token::State::Active {
            self.expect(409, &caller, "POST", &path, body);
        } else if SCOPES[old.scope].1 > self.model.users[owner].power() {
            self.expect(403, &caller, "POST", &path, body);
        } else {
            let told = self.expect(201, &caller, "POST", &path, body);
            self.model.log.push("token.rotate");
            self.model.retire(at, overlap);
            self.keep_pat(&told.json, &old);
        }
    }

    fn revoke(&mut self, who: Who, token: usize) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(token, |token| token.kind != Kind::Session) else { return };
        let path = format!("/v1/tokens/{}", self.model.tokens[at].id);
        if let Some(status) = self.turned_away(&caller, Line::OwnTokens) {
            self.expect(status, &caller, "DELETE", &path, Body::None);
        } else if !self.sees(&caller, at, Kind::Pat) {
            self.expect(404, &caller, "DELETE", &path, Body::None);
        } else {
            self.expect(204, &caller, "DELETE", &path, Body::None);
            let own =
                self.user_of(&caller).is_some_and(|user| self.model.tokens[at].owner == Owner::User(user));
            if self.model.revoke(at) {
                self.model.log.push(if own { "token.revoke" } else { "token.admin_revoke" });
            }
        }
    }

    fn revoke_any(&mut self, who: Who, token: usize) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(token, |_| true) else { return };
        let path = format!("/v1/admin/tokens/{}", self.model.tokens[at].id);
        if let Some(status) = self.turned_away(&caller, Line::Everything) {
            self.expect(status, &caller, "DELETE", &path, Body::None);
        } else if self.model.tokens[at].gone {
            self.expect(404, &caller, "DELETE", &path, Body::None);
        } else {
            self.expect(204, &caller, "DELETE", &path, Body::None);
            if self.model.revoke(at) {
                self.model.log.push("token.admin_revoke");
            }
        }
    }

    fn revoke_presented(&mut self, token: usize) {
        let Some(at) = self.pick_token(token, |_| true) else { return };
        let body = Body::Form(vec![("token", self.model.tokens[at].text.clone())]);
        self.expect(200, &Caller::Nobody, "POST", "/v1/revoke", body);
        let known = self.model.tokens[at].jwt.as_ref().is_none_or(|key| self.model.keys.contains(key));
        if known && self.model.revoke(at) {
            self.model.log.push("token.revoke");
        }
    }

    fn switch(&mut self, who: Who, token: usize, on: bool) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(token, |token| token.kind == Kind::Pat) else { return };
        let path = format!("/v1/tokens/{}", self.model.tokens[at].id);
        let body = Body::Json(json!({ "enabled": on }));
        if let Some(status) = self.turned_away(&caller, Line::OwnPats) {
            self.expect(status, &caller, "PATCH", &path, body);
        } else if !self.sees(&caller, at, Kind::Pat) {
            self.expect(404, &caller, "PATCH", &path, body);
        } else {
            self.expect(200, &caller, "PATCH", &path, body);
            let token = &mut self.model.tokens[at];
            if token.on != on {
                self.model.log.push("token.update");
            }
            token.on = on;
        }
    }

    /// A bearer of whatever kind: who it is, and how far it reaches.
    fn use_bearer(&mut self, who: Who, inside: bool) {
        let caller = self.caller(who);
        if let (Caller::Token(at, text), true) = (&caller, inside) {
            let status = if self.present(*at, true, true) { 200 } else { 401 };
            let told = self.house.ask_from(true, super::Shows::Bearer(text), "GET", "/v1/me", Body::None);
            assert_eq!(told.status, status, "{}", told.json);
            return;
        }
        for (line, path) in [
            (Line::Itself, "/v1/me"),
            (Line::Operating, "/v1/hosts?limit=1"),
            (Line::Everything, "/v1/users?limit=1"),
        ] {
            let status = self.turned_away(&caller, line).unwrap_or(200);
            let told = self.expect(status, &caller, "GET", path, Body::None);
            if let (200, Line::Itself, Caller::Token(at, _)) = (status, line, &caller) {
                let token = &self.model.tokens[*at];
                assert_eq!(told.json["credential"]["token_id"], json!(token.id));
                assert_eq!(told.json["subject"]["id"], json!(self.subject(token.owner)));
            }
        }
    }

    /// The id of whom a token speaks for.
    pub(super) fn subject(&self, owner: Owner) -> &str {
        match owner {
            Owner::User(user) => &self.model.users[user].id,
            Owner::Host(host) => &self.model.hosts[host].id,
            Owner::Client(client) => &self.model.clients[client].id,
            Owner::Nobody => "",
        }
    }

    fn introspect(&mut self, token: usize, inside: bool) {
        let Some(at) = self.pick_token(token, |_| true) else { return };
        let mut fields = vec![("token", self.model.tokens[at].text.clone())];
        if inside {
            fields.push(("client_ip", "192.0.2.9".to_owned()));
        }
        let told = self.expect(200, &Caller::Socket, "POST", "/v1/introspect", Body::Form(fields));
        let active = self.present(at, inside, true);
        assert_eq!(told.json["active"], json!(active), "{:?}", self.model.tokens[at]);
    }
}
