//! Whole requests, answered by the whole application over a store in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, atomic::AtomicU64};

use bearerd::app::{App, Snapshot, reload::Origin};
use bearerd::config::{Sources, services::Services};
use bearerd::http::body::RequestBody;
use bearerd::http::dispatch::Surface;
use bearerd::http::front::{Head, read};
use bearerd::http::reply::Reply;
use bearerd::http::router::{Errors, Found, Reads, Route, Router};
use bearerd::http::routes;
use bearerd::http::server::{Door, Facts, Late, Peer, Request};
use bearerd::records::Txn;
use bearerd::records::meta::AuditHead;
use bearerd::rules::access::Right;
use bearerd::rules::clients::{self, NewClient};
use bearerd::rules::enrollment::{self, FreshHost, Joining, Proof, Statement, Wanted, Wish as Enrol};
use bearerd::rules::links::{self, NewLink};
use bearerd::rules::pats::{self, Wish};
use bearerd::rules::portal::{self, Followed};
use bearerd::rules::services::{Configured, bring_up_to_date};
use bearerd::rules::tokens::{Fresh, Minted};
use bearerd::rules::users::{self, NewUser};
use bearerd::rules::{Refusal, Terms, sessions};
use bearerd::settings::Settings;
use bearerd::store::{Founding, FreshStore, Options, Store, TimeSource};
use bearerd::token::service_secrets::{Service, Slot};
use bearerd::token::{Key, Secret, ServiceName, ServiceSecrets, UserId};

use super::ground::{keyring, operator, root};
use super::requests::{Plain, plainly};

const NOW: u64 = 1_800_000_000;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a credential may, by the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Nobody,
    Socket,
    Session,
    Pat,
    Service,
    Agent,
}

/// Somebody who asks.
struct Asker {
    what: What,
    admin: bool,
    operator: bool,
    introspect: bool,
    bearer: Option<String>,
}

struct House {
    runtime: tokio::runtime::Runtime,
    surface: Surface,
    app: Arc<App>,
    askers: Vec<Asker>,
    /// What no answer may hold, whoever asks.
    secrets: Vec<String>,
    /// What stands for `$0` to `$9` in a request.
    names: Vec<String>,
}

thread_local! {
    /// Furnished again after each request that changed something.
    static HOUSE: RefCell<Option<House>> = const { RefCell::new(None) };
}

/// The first byte says who asks; the rest is a request, in which `$0` to `$9` stand for ids and tokens that there
/// are. Only who may is let in; nobody else is told more than that; what is refused changes nothing and is not
/// repeated; and nothing is ever our fault.
pub fn served_request(input: &[u8]) {
    let Some((who, text)) = input.split_first() else { return };
    HOUSE.with_borrow_mut(|kept| {
        let house = kept.get_or_insert_with(House::new);
        if house.judge(usize::from(*who), text) {
            *kept = None;
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn fresh(number: u8) -> Fresh {
    Fresh { id: [number; 10], secret: [number; 32].into() }
}

const SERVICES: [(&str, &str, &str); 2] = [
    ("scheduler", "admin", "0123456789abcdef0123456789abcdef"),
    ("reporter", "reports", "fedcba9876543210fedcba9876543210"),
];

fn services() -> Services {
    let named = SERVICES.map(|(name, _, secret)| Service {
        name: ServiceName::new(name).unwrap(),
        slots: vec![Slot { name: "line 1".to_owned(), secret: Secret::new(secret.to_owned()) }],
    });
    let secrets = ServiceSecrets::new(&named, Key::new([3; 32])).unwrap();
    Services { secrets, status: BTreeMap::new(), kept: Vec::new() }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    // A queue in which everything is turned away at once would hide what comes behind it.
    settings.limits.failed_logins_per_minute = 0;
    settings
}

fn store() -> Store {
    let fresh = FreshStore { id: [3; 16], key: Key::new([5; 32]), nonce: [9; 24] };
    let founding = Founding::new(keyring().current(), fresh, NOW * 1000).unwrap();
    let time = TimeSource::Fixed(Arc::new(AtomicU64::new(NOW * 1000)));
    Store::in_memory(&founding, &Options { time, ..Options::default() }).unwrap()
}

/// Everything in one operation, so that a house is made quickly.
fn furnish(txn: &mut Txn<'_>, terms: Terms<'_>) -> Result<(Vec<Asker>, Vec<String>), Refusal> {
    let (mut askers, mut names) = (Vec::new(), Vec::new());
    let admin = root(Right::Administrate);
    let others = root(Right::MintForOthers);
    let mut drawn = 0;
    let mut next = || {
        drawn += 1;
        fresh(drawn)
    };
    let mut add = |what, groups: &[&str], scope: &str, bearer: Option<&str>| {
        let says = |words: &[&str]| scope.split(' ').any(|own| words.contains(&own));
        let whole = what != What::Pat;
        let admin = groups.contains(&"admin");
        let operator = admin || groups.contains(&"operator");
        askers.push(Asker {
            what,
            admin: admin && (whole || says(&["admin"])),
            operator: operator && (whole || says(&["admin", "operator"])),
            introspect: what == What::Service
                || operator && (whole || says(&["admin", "operator", "introspect"])),
            bearer: bearer.map(ToOwned::to_owned),
        });
    };
    add(What::Nobody, &[], "", None);
    add(What::Socket, &["admin"], "", None);
    let configured = SERVICES.map(|(name, group, _)| Configured {
        name: ServiceName::new(name).unwrap(),
        groups: vec![group.to_owned()],
        fresh: next().id,
    });
    bring_up_to_date(txn, &operator(), &configured)?;
    for (_, group, secret) in SERVICES {
        add(What::Service, &[group], "", Some(secret));
    }
    for (name, groups) in [("root", &["admin"][..]), ("olga", &["operator"]), ("paul", &["reports"])] {
        let email = format!("{name}@example.org");
        let own = groups.iter().map(|group| (*group).to_owned()).collect();
        let new = NewUser { email, name: None, groups: own, password: None, service: None };
        let id = UserId::from_parts(NOW * 1000, next().id);
        users::create(txn, &admin, id, new)?;
        let (_, session) = sessions::open_for(txn, terms, &others, id, None, &next())?;
        add(What::Session, groups, "", Some(session.secret.expose()));
        for scope in ["general", "introspect", "operator", "admin"] {
            let allowed = match scope {
                "general" => true,
                "admin" => groups.contains(&"admin"),
                _ => !groups.contains(&"reports"),
            };
            if !allowed {
                continue;
            }
            let wish = Wish { name: "n".to_owned(), scope: Some(scope.to_owned()), ..Wish::default() };
            let pat = pats::mint_for(txn, terms, &others, id, pats::plan(wish)?, &next())?;
            add(What::Pat, groups, scope, Some(pat.secret.expose()));
            if scope == "general" {
                names.push(pat.token.id.to_string());
            }
        }
        names.push(id.to_string());
    }
    let Minted { token, secret } =
        enrollment::mint(txn, terms, &operator(), Wanted::new(&Enrol::default())?, &next(), [1; 24])?;
    names.push(token.id.to_string());
    let enrolment = secret.expose().to_owned();
    add(What::Nobody, &[], "", Some(&enrolment));
    let spent = enrollment::mint(txn, terms, &operator(), Wanted::new(&Enrol::default())?, &next(), [2; 24])?;
    let proof = Proof::new(spent.secret, None, "web1");
    let word = |text: &str| text.to_owned();
    let statement =
        Statement { hostname: word("web1"), os: word("linux"), arch: word("x86_64"), ..Statement::default() };
    let joining = Joining::new(statement, &proof)?;
    let for_host = FreshHost { host: next().id, agent: next(), credentials: [3; 24], reply: [4; 24] };
    let host = enrollment::redeem(txn, terms, None, &proof, joining, &|_| None, &for_host)?;
    names.push(host.host.to_string());
    add(What::Agent, &[], "", Some(host.agent_token.expose()));
    let client = clients::create(txn, &operator(), next().id, NewClient::judge("acme", "Acme")?)?;
    names.push(client.id.to_string());
    let link =
        links::mint(txn, terms, &operator(), client.id, NewLink::judge(None, None, None, false)?, &next())?;
    add(What::Nobody, &[], "", Some(link.secret.expose()));
    let (_, cookie) = portal::redeem(txn, terms, &Followed::parse(link.secret.expose())?, None)?;
    add(What::Nobody, &[], "", Some(cookie.expose()));
    names.extend([enrolment, link.secret.expose().to_owned()]);
    assert_eq!(names.len(), NAMES);
    Ok((askers, names))
}

const NAMES: usize = 11;

impl House {
    fn new() -> Self {
        let store = store();
        let (askers, names) = store
            .write_blocking(|txn| furnish(txn, Terms { settings: &settings(), keyring: &keyring() }))
            .unwrap()
            .unwrap();
        let sources = Sources::default();
        let located = sources.locate().unwrap();
        let snapshot = Snapshot::new(1, settings(), keyring(), services());
        let app = Arc::new(App::new(store, snapshot, Origin { sources, located }));
        let secrets = askers.iter().filter_map(|asker| asker.bearer.clone()).collect();
        let surface = Surface::new(Arc::clone(&app));
        Self { runtime: runtime(), surface, app, askers, secrets, names }
    }

    /// Asks and judges the answer; says whether anything changed.
    fn judge(&self, who: usize, text: &[u8]) -> bool {
        let asker = &self.askers[who % self.askers.len()];
        let text = self.filled(text);
        let Ok(Head::Whole { bytes, .. }) = read(&text, 0, HEAD_BYTES_MAX) else { return false };
        let plain = plainly(&text).expect("a head that can be read plainly");
        let Some(request) = self.request(asker, &plain, &text[bytes..]) else { return false };
        let router = Router::new(routes::ALL);
        let path = request.parts.uri.path().to_owned();
        let route = match router.find(plain.method, &path) {
            Found::Route { place, .. } => router.at(place),
            Found::OtherMethods | Found::Nothing => None,
        };
        // Reading files, and hashing for tens of milliseconds, are not what is looked at here.
        let slow = text[bytes..].windows(8).any(|part| part == b"password") && !who.is_multiple_of(7);
        if slow || route.is_some_and(|route| route.path == "/v1/admin/reload") {
            return false;
        }
        let before = self.head();
        let reply = self.runtime.block_on(self.surface.answer(request));
        let changed = self.head() != before;
        self.judge_status(asker, route, &reply);
        self.judge_words(&text, &reply);
        assert!(!changed || reply.status().as_u16() < 400, "refused, and something changed");
        changed || reply.is_stream() || !plain.method.starts_with(['G', 'H'])
    }

    fn head(&self) -> u64 {
        AuditHead::of(&*self.app.view()).unwrap().seq
    }

    /// The text with names in place of `$0` to `$9`, and `$a` for the last.
    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        let mut rest = text.iter();
        while let Some(byte) = rest.next() {
            let name = rest.as_slice().first().and_then(|digit| char::from(*digit).to_digit(16));
            match name.and_then(|at| self.names.get(at as usize)).filter(|_| *byte == b'$') {
                Some(name) => {
                    filled.extend_from_slice(name.as_bytes());
                    rest.next();
                }
                None => filled.push(*byte),
            }
        }
        filled
    }

    fn request(&self, asker: &Asker, plain: &Plain<'_>, body: &[u8]) -> Option<Request> {
        let mut request = hyper::Request::builder().method(plain.method).uri(plain.target);
        for (name, value) in &plain.headers {
            // Who asks is said by the first byte alone.
            if !["authorization", "cookie"].contains(&name.as_str()) {
                request = request.header(name.as_str(), *value);
            }
        }
        if let Some(bearer) = &asker.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let (parts, ()) = request.body(()).ok()?.into_parts();
        let from = match asker.what {
            What::Socket => Facts { peer: Peer::Unix { uid: 0, pid: None }, door: Door::Admin },
            _ => Facts { peer: Peer::Tcp(SocketAddr::from(([192, 0, 2, 1], 9))), door: Door::Public },
        };
        Some(Request { parts, body: RequestBody::of(body.to_vec()), from, late: Late::default() })
    }

    /// Only who may by the contract is answered; who may not hears 401 or 403, and a fault is never ours.
    fn judge_status(&self, asker: &Asker, route: Option<&Route>, reply: &Reply) {
        let status = reply.status().as_u16();
        assert!(status < 500, "{status}");
        let Some(route) = route else {
            assert!(status == 404 || status == 405);
            return;
        };
        let may = asker.may(route);
        if !may {
            let known = asker.what != What::Nobody;
            // A form in which the client may stand is read before it is known who asks.
            let early = matches!(route.reads, Reads::ClientForm) && [400, 413, 415].contains(&status);
            assert!(early || status == if known { 403 } else { 401 }, "{} {status}", route.path);
        }
        if status == 401 && route.errors == Errors::Problem && !route.path.starts_with("/portal") {
            assert!(reply.headers().contains_key("www-authenticate"));
            let said = reply.bytes().map(|bytes| bytes.as_ref()).unwrap_or_default();
            assert_eq!(said, self.denial(), "every 401 is the same 401");
        }
    }

    /// The one body of a 401.
    fn denial(&self) -> Vec<u8> {
        let (parts, ()) = hyper::Request::builder().uri("/v1/me").body(()).unwrap().into_parts();
        let from = Facts { peer: Peer::Tcp(SocketAddr::from(([192, 0, 2, 1], 9))), door: Door::Public };
        let reply = self.runtime.block_on(self.surface.answer(Request {
            parts,
            body: RequestBody::of(""),
            from,
            late: Late::default(),
        }));
        reply.bytes().map(|bytes| bytes.to_vec()).unwrap_or_default()
    }

    /// No credential is repeated, and no word of the body that looks like a secret is in a refusal, but for the names
    /// of what is unknown there, which are told as they were sent.
    fn judge_words(&self, text: &[u8], reply: &Reply) {
        let mut said = format!("{:?}", reply.headers());
        said.push_str(&reply.bytes().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default());
        for secret in &self.secrets {
            assert!(!said.contains(secret), "a credential is repeated");
        }
        if reply.status().as_u16() >= 400 && !said.contains("of this request") {
            super::assert_quotes_no_secret(&said, text);
        }
        if said.contains("bdr_") {
            let stored = reply.headers().get("cache-control").is_some_and(|value| value == "no-store");
            assert!(stored, "a token in a cache");
        }
    }
}

impl Asker {
    /// The contract's table, line by line.
    fn may(&self, route: &Route) -> bool {
        use What::{Agent, Nobody, Pat, Session, Socket};
        let (path, verb) = (route.path, route.verb.name());
        let known = self.what != Nobody;
        let below = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
        match (verb, path) {
            ("GET", "/healthz" | "/readyz" | "/metrics" | "/openapi.json" | "/v1/setup") => true,
            ("POST", "/v1/setup" | "/v1/sessions" | "/v1/enroll" | "/v1/revoke") => true,
            ("GET", "/.well-known/oauth-authorization-server") => true,
            ("*", "/v1/authorize" | "/v1/authorize/{policy...}") => true,
            _ if below("/portal") => true,
            ("GET", "/v1/me") => known,
            ("PATCH", "/v1/me")
            | ("POST", "/v1/tokens" | "/v1/tokens/{id}/rotate")
            | ("PATCH", "/v1/tokens/{id}") => {
                matches!(self.what, Session | Socket)
            }
            _ if below("/v1/tokens") || below("/v1/sessions") => known && self.what != Agent,
            ("POST", "/v1/users/{id}/sessions" | "/v1/users/{id}/tokens") => self.admin && self.what != Pat,
            ("POST", "/v1/admin/explain" | "/v1/admin/install-token") => self.what == Socket,
            _ if below("/v1/users") || below("/v1/audit") || below("/v1/admin") => self.admin,
            ("POST", "/v1/introspect" | "/v1/introspect/batch") => self.introspect,
            ("GET", "/v1/hosts/{id}/credentials") => self.what == Agent,
            ("GET", "/v1/hosts/{id}") => self.operator || self.what == Agent,
            _ => {
                let operated = ["/v1/enrollments", "/v1/hosts", "/v1/clients", "/v1/links", "/v1/projects"];
                assert!(operated.iter().any(|prefix| below(prefix)), "{verb} {path} has no line");
                self.operator
            }
        }
    }
}
