//! What operators, hosts and clients do: enrolments, hosts and their credentials, links, cookies, previews.

use hyper::header::SET_COOKIE;
use serde_json::{Value, json};

use super::{
    Body, Caller, Step, Told, Who, World,
    plain::{Client, Cookie, DAY, Host, Line, Owner, Project, Redeemed, Sealed, Standing, Token},
    text_of,
};
use crate::token::Kind;

impl World {
    pub(super) fn take_of_fleet(&mut self, step: Step) {
        use Step::*;
        match step {
            MintEnrollment { who, span, pinned, credentials } => {
                self.mint_enrollment(who, span, pinned, credentials);
            }
            Enroll { token, hostname, attempt } => {
                // Now and then it is another token.
                let at = self.pick_token(token, |token| matches!(token.kind, Kind::Enrollment | Kind::Agent));
                if let Some(at) = at {
                    self.enroll(at, hostname, attempt);
                }
            }
            EnrollAgain { token } => {
                let at = self.pick_token(token, |token| token.redeemed.is_some());
                if let Some((at, redeemed)) = at.and_then(|at| Some((at, self.model.tokens[at].redeemed?))) {
                    self.enroll(at, redeemed.hostname, redeemed.attempt);
                }
            }
            RevokeEnrollment { who, token } => self.revoke_enrollment(who, token),
            RotateHost { who, host, overlap } => self.rotate_host(who, host, overlap),
            DeleteHost { who, host } => self.delete_host(who, host),
            PutCredentials { who, host, credentials } => self.put_credentials(who, host, credentials),
            GetCredentials { who, host } => {
                let Some(host) = self.pick_host(host) else { return };
                let caller = self.caller(who);
                self.credentials(&caller, host);
            }
            GetOwnCredentials { host } => {
                let Some(host) = self.pick_host(host) else { return };
                let own = Owner::Host(host);
                if let Some(at) = self.pick_token(0, |token| token.owner == own) {
                    let caller = Caller::Token(at, self.model.tokens[at].text.clone());
                    self.credentials(&caller, host);
                }
            }
            AddClient { who, slug } => self.add_client(who, slug),
            ActivateClient { who, client, active } => self.activate_client(who, client, active),
            MintLink { who, client, days, single } => self.mint_link(who, client, days, single),
            Enter { link, press } => self.enter(link, press),
            RevokeLink { who, link } => self.revoke_link(who, link),
            Visit { cookie } => self.visit(cookie),
            Assign { who, project, client } => self.assign(who, project, client),
            Preview { who, project } => self.preview(who, project),
            _ => {}
        }
    }

    pub(super) fn hostname(number: u8) -> String {
        format!("host-{number}.example.org")
    }

    pub(super) fn attempt(number: u8) -> String {
        format!("attempt-{number}-with-randomness-of-its-own")
    }

    fn pick_host(&self, host: usize) -> Option<usize> {
        (!self.model.hosts.is_empty()).then(|| self.model.hosts.len() - 1 - host % self.model.hosts.len())
    }

    fn pick_client(&self, client: usize) -> Option<usize> {
        (!self.model.clients.is_empty()).then(|| client % self.model.clients.len())
    }

    fn mint_enrollment(&mut self, who: Who, span: u64, pinned: Option<u8>, credentials: Option<u64>) {
        let caller = self.caller(who);
        let mut body = json!({"ttl_seconds": span});
        if let Some(only) = pinned {
            body["hostname"] = json!(Self::hostname(only).to_uppercase());
            body["pin_hostname"] = json!(true);
        }
        if let Some(number) = credentials {
            body["credentials"] = json!({ "number": number });
        }
        if let Some(status) = self.turned_away(&caller, Line::Operating) {
            self.expect(status, &caller, "POST", "/v1/enrollments", Body::Json(body));
            return;
        }
        let told = self.expect(201, &caller, "POST", "/v1/enrollments", Body::Json(body));
        self.model.log.push("enrollment.create");
        let sealed = credentials.map(|number| (self.model.key(), number));
        let text = text_of(&told.json, "token");
        let blank = self.model.blank(Kind::Enrollment, &text, Owner::Nobody, Some(span));
        self.model.keep(Token { pinned, sealed, ..blank });
    }

    fn enroll(&mut self, at: usize, hostname: u8, attempt: Option<u8>) {
        let mut body = json!({"token": self.model.tokens[at].text, "hostname": Self::hostname(hostname),
            "os": "linux", "arch": "x86_64"});
        if let Some(attempt) = attempt {
            body["attempt"] = json!(Self::attempt(attempt));
        }
        let told = self.house.ask(super::Shows::Nothing, "POST", "/v1/enroll", Body::Json(body));
        let expected = match self.model.standing(&self.model.tokens[at], hostname, attempt) {
            Standing::Refused(reason) => {
                let replayed = reason == crate::rules::Reason::Replayed;
                let action = if replayed { "enrollment.replayed" } else { "enrollment.refused" };
                self.model.refusals.insert((action, reason.name(), replayed.then_some(at)));
                401
            }
            Standing::Again => {
                let redeemed = self.model.tokens[at].redeemed.unwrap();
                let agent = &self.model.tokens[redeemed.agent];
                assert_eq!(told.json["agent_token"], json!(agent.text));
                assert_eq!(told.json["host_id"], json!(self.subject(agent.owner)));
                201
            }
            Standing::Live if self.model.hosts.iter().any(|host| host.there && host.name == hostname) => {
                self.model.refusals.insert(("enrollment.refused", "host_exists", None));
                409
            }
            Standing::Live => {
                self.keep_host(&told, at, hostname, attempt);
                201
            }
        };
        assert_eq!(told.status, expected, "{} {:?}", told.json, self.model.tokens[at]);
    }

    fn keep_host(&mut self, told: &Told, at: usize, hostname: u8, attempt: Option<u8>) {
        let (key, now) = (self.model.key(), self.model.now);
        let token = &mut self.model.tokens[at];
        token.consumed = Some(now);
        let sealed: Sealed = token.sealed.take().map(|(_, number)| (key, number));
        self.model.hosts.push(Host {
            id: text_of(&told.json, "host_id"),
            name: hostname,
            there: true,
            sealed,
        });
        let owner = Owner::Host(self.model.hosts.len() - 1);
        let agent = self.model.blank(Kind::Agent, &text_of(&told.json, "agent_token"), owner, None);
        let agent = self.model.keep(agent);
        self.model.tokens[at].redeemed = Some(Redeemed { hostname, attempt, agent, kept: attempt.is_some() });
        self.model.log.push("host.enroll");
    }

    fn revoke_enrollment(&mut self, who: Who, token: usize) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(token, |token| token.kind == Kind::Enrollment) else { return };
        let path = format!("/v1/enrollments/{}", self.model.tokens[at].id);
        if let Some(status) = self.turned_away(&caller, Line::Operating) {
            self.expect(status, &caller, "DELETE", &path, Body::None);
        } else if self.model.tokens[at].gone {
            self.expect(404, &caller, "DELETE", &path, Body::None);
        } else {
            self.expect(204, &caller, "DELETE", &path, Body::None);
            if self.model.end_enrollment(at) {
                self.model.log.push("enrollment.revoke");
            }
        }
    }

    /// A host that a caller may look after, or what it is turned away with.
    fn host_for(&mut self, who: Who, host: usize) -> Option<(Caller, usize, Option<u16>)> {
        let (caller, host) = (self.caller(who), self.pick_host(host)?);
        let status = self.turned_away(&caller, Line::Operating);
        let status = status.or((!self.model.hosts[host].there).then_some(404));
        Some((caller, host, status))
    }

    fn rotate_host(&mut self, who: Who, host: usize, overlap: u64) {
        let Some((caller, host, away)) = self.host_for(who, host) else { return };
        let path = format!("/v1/hosts/{}/rotate", self.model.hosts[host].id);
        let body = Body::Json(json!({ "overlap_seconds": overlap }));
        let told = self.expect(away.unwrap_or(201), &caller, "POST", &path, body);
        if away.is_none() {
            for agent in self.model.agents(host) {
                // What is past its end is ended for good.
                self.model.retire(agent, if self.model.is_over(agent) { 0 } else { overlap });
            }
            let text = text_of(&told.json, "agent_token");
            let agent = self.model.blank(Kind::Agent, &text, Owner::Host(host), None);
            self.model.keep(agent);
            self.model.log.push("host.rotate");
        }
    }

    fn delete_host(&mut self, who: Who, host: usize) {
        let Some((caller, host, away)) = self.host_for(who, host) else { return };
        let path = format!("/v1/hosts/{}", self.model.hosts[host].id);
        self.expect(away.unwrap_or(204), &caller, "DELETE", &path, Body::None);
        if away.is_none() {
            for agent in self.model.agents(host) {
                self.model.revoke(agent);
            }
            self.model.hosts[host].there = false;
            self.model.hosts[host].sealed = None;
            self.model.log.push("host.delete");
        }
    }

    fn put_credentials(&mut self, who: Who, host: usize, number: u64) {
        let Some((caller, host, away)) = self.host_for(who, host) else { return };
        let path = format!("/v1/hosts/{}/credentials", self.model.hosts[host].id);
        let body = Body::Json(json!({ "number": number }));
        self.expect(away.unwrap_or(204), &caller, "PUT", &path, body);
        if away.is_none() {
            self.model.hosts[host].sealed = Some((self.model.key(), number));
            self.model.log.push("host.credentials_put");
        }
    }

    /// Reads a host's credentials, which its own agent alone may.
    fn credentials(&mut self, caller: &Caller, host: usize) {
        let path = format!("/v1/hosts/{}/credentials", self.model.hosts[host].id);
        if let Some(status) = self.turned_away(caller, Line::HostCredentials) {
            self.expect(status, caller, "GET", &path, Body::None);
            return;
        }
        let Caller::Token(at, _) = caller else { unreachable!("an agent was let through") };
        let own = self.model.tokens[*at].owner == Owner::Host(host);
        match self.model.hosts[host].sealed.as_ref().filter(|_| own).map(|(_, number)| *number) {
            None => drop(self.expect(404, caller, "GET", &path, Body::None)),
            Some(number) => {
                let told = self.expect(200, caller, "GET", &path, Body::None);
                assert_eq!(told.json, json!({ "number": number }));
                self.model.log.push("host.credentials_read");
            }
        }
    }

    fn add_client(&mut self, who: Who, slug: u8) {
        let caller = self.caller(who);
        let slug = format!("client-{slug}");
        let body = Body::Json(json!({"slug": slug, "name": "n"}));
        if let Some(status) = self.turned_away(&caller, Line::Operating) {
            self.expect(status, &caller, "POST", "/v1/clients", body);
        } else if self.model.clients.iter().any(|client| client.slug == slug) {
            self.expect(409, &caller, "POST", "/v1/clients", body);
        } else {
            let told = self.expect(201, &caller, "POST", "/v1/clients", body);
            self.keep_client(&told.json);
        }
    }

    fn keep_client(&mut self, shown: &Value) -> usize {
        let (id, slug) = (text_of(shown, "id"), text_of(shown, "slug"));
        self.model.clients.push(Client { id, slug, active: true });
        self.model.log.push("client.create");
        self.model.clients.len() - 1
    }

    fn activate_client(&mut self, who: Who, client: usize, active: bool) {
        let (caller, Some(client)) = (self.caller(who), self.pick_client(client)) else { return };
        let path = format!("/v1/clients/{}", self.model.clients[client].id);
        let body = Body::Json(json!({ "active": active }));
        let away = self.turned_away(&caller, Line::Operating);
        self.expect(away.unwrap_or(200), &caller, "PATCH", &path, body);
        let client = &mut self.model.clients[client];
        if away.is_none() && client.active != active {
            client.active = active;
            self.model.log.push(if active { "client.reactivate" } else { "client.deactivate" });
        }
    }

    fn mint_link(&mut self, who: Who, client: usize, days: Option<u64>, single: bool) {
        let (caller, Some(client)) = (self.caller(who), self.pick_client(client)) else { return };
        let path = format!("/v1/clients/{}/links", self.model.clients[client].id);
        let body = Body::Json(json!({"expires_in_days": days, "single_use": single, "redirect": "/in?a#b"}));
        if let Some(status) = self.turned_away(&caller, Line::Operating) {
            self.expect(status, &caller, "POST", &path, body);
        } else if !self.model.clients[client].active {
            self.expect(409, &caller, "POST", &path, body);
        } else {
            let told = self.expect(201, &caller, "POST", &path, body);
            let span = days.map(|days| days * DAY);
            let text = text_of(&told.json, "token");
            let link = self.model.blank(Kind::Link, &text, Owner::Client(client), span);
            self.model.keep(Token { single, ..link });
            self.model.log.push("link.create");
        }
    }

    /// Follows a link, by looking or by pressing the button.
    fn enter(&mut self, link: usize, press: bool) {
        // Now and then it is another token.
        let Some(at) = self.pick_token(link, |token| matches!(token.kind, Kind::Link | Kind::Enrollment))
        else {
            return;
        };
        let (text, single) = (self.model.tokens[at].text.clone(), self.model.tokens[at].single);
        let good = self.model.door(&self.model.tokens[at]).is_ok();
        let admits = good && (press || !single);
        let told = if press {
            let body = Body::Form(vec![("token", text)]);
            self.house.ask(super::Shows::Nothing, "POST", "/portal/enter", body)
        } else {
            let path = format!("/portal/enter?token={text}");
            self.house.ask(super::Shows::Nothing, "GET", &path, Body::None)
        };
        let status = if admits { 303 } else { [401, 200][usize::from(good)] };
        assert_eq!(told.status, status, "{:?}", self.model.tokens[at]);
        assert_eq!(told.headers.contains_key(SET_COOKIE), admits);
        if admits {
            assert_eq!(told.headers["location"], "/in?a#b");
            let now = self.model.now;
            self.model.tokens[at].noted = Some(now);
            if single {
                self.model.tokens[at].consumed = Some(now);
                self.model.log.push("link.consume");
            }
            let set = told.headers[SET_COOKIE].to_str().unwrap();
            let value = set.split([';', '=']).nth(1).unwrap().to_owned();
            self.keep_cookie(value, at);
        }
    }

    fn keep_cookie(&mut self, text: String, link: usize) {
        let (issued, key) = (self.model.now, self.model.key());
        self.model.cookies.push(Cookie { text, link, issued, key });
    }

    fn revoke_link(&mut self, who: Who, link: usize) {
        let caller = self.caller(who);
        let Some(at) = self.pick_token(link, |token| token.kind == Kind::Link) else { return };
        let path = format!("/v1/links/{}", self.model.tokens[at].id);
        let away = self.turned_away(&caller, Line::Operating);
        let away = away.or(self.model.tokens[at].gone.then_some(404));
        self.expect(away.unwrap_or(204), &caller, "DELETE", &path, Body::None);
        if away.is_none() && self.model.revoke(at) {
            self.model.log.push("link.revoke");
        }
    }

    fn visit(&mut self, cookie: usize) {
        if self.model.cookies.is_empty() {
            return;
        }
        let at = cookie % self.model.cookies.len();
        let cookie = self.model.cookies[self.model.cookies.len() - 1 - at].clone();
        let header = format!("portal_session={}", cookie.text);
        let told = self.house.ask(super::Shows::Cookie(&header), "GET", "/portal/session", Body::None);
        let good = self.model.cookie(&cookie).is_ok();
        assert_eq!(told.status, if good { 200 } else { 401 }, "{cookie:?}");
        if good {
            let link = &self.model.tokens[cookie.link];
            assert_eq!(told.json["link_id"], json!(link.id));
            assert_eq!(told.json["client"]["id"], json!(self.subject(link.owner)));
            self.model.tokens[cookie.link].noted = Some(self.model.now);
        }
    }

    fn assign(&mut self, who: Who, project: usize, client: usize) {
        let (caller, Some(client)) = (self.caller(who), self.pick_client(client)) else { return };
        let path = format!("/v1/projects/project-{project}/client");
        let body = Body::Json(json!({"client_id": self.model.clients[client].id}));
        let away = self.turned_away(&caller, Line::Operating);
        self.expect(away.unwrap_or(200), &caller, "PUT", &path, body);
        let before = self.model.projects[project];
        if away.is_none() && before.is_none_or(|before| before.client != client) {
            let blank = Project { client, preview_client: None, preview_link: None };
            self.model.projects[project] = Some(Project { client, ..before.unwrap_or(blank) });
            self.model.log.push("project.assign");
        }
    }

    /// An operator sees a portal as its client does: with the client and the link of before where they count.
    fn preview(&mut self, who: Who, project: usize) {
        let caller = self.caller(who);
        let path = format!("/v1/projects/project-{project}/preview");
        if let Some(status) = self.turned_away(&caller, Line::Operating) {
            self.expect(status, &caller, "POST", &path, Body::Json(json!({})));
            return;
        }
        let told = self.expect(200, &caller, "POST", &path, Body::Json(json!({"name": "A project"})));
        let before = self.model.projects[project];
        let candidates = before.map_or([None, None], |before| [Some(before.client), before.preview_client]);
        let known = candidates.into_iter().flatten().find(|client| self.model.clients[*client].active);
        assert_eq!(told.json["created"], json!(known.is_none()));
        let client = known.unwrap_or_else(|| self.keep_client(&told.json["client"]));
        assert_eq!(told.json["client"]["id"], json!(self.model.clients[client].id));
        let link = before.and_then(|before| before.preview_link).filter(|link| {
            let token = &self.model.tokens[*link];
            token.owner == Owner::Client(client) && self.model.door(token).is_ok()
        });
        let link = link.unwrap_or_else(|| {
            // Its text is never told.
            let blank = self.model.blank(Kind::Link, "", Owner::Client(client), None);
            self.model.log.push("link.create");
            self.model.keep(Token { id: text_of(&told.json, "link_id"), ..blank })
        });
        assert_eq!(told.json["link_id"], json!(self.model.tokens[link].id));
        self.model.log.push("project.preview");
        let preview_client =
            if known.is_none() { Some(client) } else { before.and_then(|b| b.preview_client) };
        self.model.projects[project] = Some(Project {
            client: before.map_or(client, |before| before.client),
            preview_client,
            preview_link: Some(link),
        });
        let cookie = text_of(&told.json, "cookie");
        self.keep_cookie(cookie, link);
    }
}
