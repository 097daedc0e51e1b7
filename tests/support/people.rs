//! The people, services, hosts and clients of a test, made over the admin socket, which needs no
//! password and so no slow hash.

use super::daemon::{Daemon, Setup};
use super::http::Caller;
use super::{Value, json, text_of};
use std::ops::Deref;

/// The password of everybody who needs one.
pub const PASSWORD: &str = "correct horse battery staple";

/// A user with a session; as a caller, that session.
pub struct Person {
    pub id: String,
    pub email: String,
    pub session_id: String,
    session: Caller,
}

impl Deref for Person {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.session
    }
}

/// A configured service; as a caller, its secret.
pub struct Service {
    pub name: String,
    pub secret: String,
    caller: Caller,
}

impl Deref for Service {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// An enrolled host; as a caller, its agent.
pub struct Host {
    pub id: String,
    pub name: String,
    pub enrollment_token: String,
    pub agent_token: String,
    agent: Caller,
}

impl Deref for Host {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.agent
    }
}

/// A secret of a service that is long enough, and recognisable.
pub fn service_secret(name: &str) -> String {
    format!("{name}-secret-of-more-than-32-bytes-{}", super::sha256_hex(name))
}

impl Setup {
    /// Adds a service with a secret of its own in a file of its own.
    #[must_use]
    pub fn service(self, name: &str, groups: &[&str]) -> Self {
        let old = std::fs::read_to_string(self.path().join("bearerd.toml")).unwrap();
        let groups = json!(groups);
        let table = format!("{old}\n[services.{name}]\nsecret_file = \"{name}.secret\"\ngroups = {groups}\n");
        self.config(&table).file(&format!("{name}.secret"), service_secret(name) + "\n")
    }
}

impl Daemon {
    /// Goes through setup with the printed token; gives the first admin.
    #[track_caller]
    pub fn first_admin(&self) -> Person {
        let body = json!({"install_token": self.install_token(), "email": "first@example.org",
            "password": PASSWORD, "name": "First Admin"});
        let made = self.nobody().post("/v1/setup", body).expect(201);
        self.person(&made["user"], &made["session"])
    }

    /// A user in these groups, with a session.
    #[track_caller]
    pub fn user(&self, email: &str, groups: &[&str]) -> Person {
        let user = self.root().post("/v1/users", json!({"email": email, "groups": groups})).expect(201);
        self.session_of(&user)
    }

    /// A session for a user who exists.
    #[track_caller]
    pub fn session_of(&self, user: &Value) -> Person {
        let path = format!("/v1/users/{}/sessions", text_of(user, "id"));
        let session = self.root().post(&path, json!({})).expect(201);
        self.person(user, &session)
    }

    fn person(&self, user: &Value, session: &Value) -> Person {
        Person {
            id: text_of(user, "id"),
            email: text_of(user, "email"),
            session_id: text_of(session, "id"),
            session: self.bearer(&text_of(session, "token")),
        }
    }

    /// The caller that presents the secret which [`Setup::service`] wrote.
    pub fn service(&self, name: &str) -> Service {
        let secret = service_secret(name);
        Service { name: name.to_owned(), caller: self.bearer(&secret), secret }
    }

    /// A new enrolment; gives the whole 201.
    #[track_caller]
    pub fn enrollment(&self, body: Value) -> Value {
        self.root().post("/v1/enrollments", body).expect(201)
    }

    /// A host of this name, enrolled with a fresh token.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        self.host_with(name, json!({}))
    }

    /// A host of this name, enrolled with a token of these wishes.
    #[track_caller]
    pub fn host_with(&self, name: &str, wishes: Value) -> Host {
        let token = text_of(&self.enrollment(wishes), "token");
        let made = self.nobody().post("/v1/enroll", enrolling(&token, name)).expect(201);
        let agent_token = text_of(&made, "agent_token");
        Host {
            id: text_of(&made, "host_id"),
            name: name.to_owned(),
            enrollment_token: token,
            agent: self.bearer(&agent_token),
            agent_token,
        }
    }

    /// A client with this slug; gives its id.
    #[track_caller]
    pub fn client(&self, slug: &str) -> String {
        text_of(&self.root().post("/v1/clients", json!({"slug": slug, "name": slug})).expect(201), "id")
    }

    /// A link of a client; gives the whole 201.
    #[track_caller]
    pub fn link(&self, client: &str, body: Value) -> Value {
        self.root().post(&format!("/v1/clients/{client}/links"), body).expect(201)
    }

    /// Goes through a link as a browser does; gives `NAME=VALUE` of the session cookie.
    #[track_caller]
    pub fn portal_cookie(&self, link_token: &str) -> String {
        let answer = self.nobody().get(&format!("/portal/enter?token={link_token}"));
        answer.expect(303);
        let set = answer.header("set-cookie").expect("a session cookie");
        set.split(';').next().unwrap().to_owned()
    }

    /// Whoever sends this cookie.
    pub fn browser(&self, cookie: &str) -> Caller {
        self.nobody().with("cookie", cookie)
    }
}

/// The smallest body that enrols a host.
pub fn enrolling(token: &str, hostname: &str) -> Value {
    json!({"token": token, "hostname": hostname, "os": "linux", "arch": "x86_64"})
}
