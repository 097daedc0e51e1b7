//! Who may do what (contract 3): every kind of credential against every kind of deed.
//!
//! The table below is the contract's, cell by cell. `Yes` is any answer that is not a refusal of the
//! caller: the deeds are asked in ways that change nothing, mostly on things that do not exist, so
//! that one daemon serves them all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::*;

#[derive(Clone, Copy, PartialEq, Debug)]
enum May {
    /// Known and allowed: anything but 401 and 403.
    Yes,
    /// Known and not allowed: 403.
    No,
    /// Not a credential here: 401.
    Unknown,
    /// Known and not allowed, or not told that it exists.
    Hidden,
}
use May::{Hidden, No, Unknown, Yes};

const NOBODY: &str = "01jd8w3m5ze8vr3pa0n2q9k6ms";

struct World {
    daemon: Daemon,
    anna: Person,
    host: people::Host,
    callers: Vec<(&'static str, Caller)>,
}

fn world() -> World {
    let daemon = Setup::new()
        .service("s-admin", &["admin"])
        .service("s-operator", &["operator"])
        .service("s-plain", &["reports"])
        .start();
    let admin = daemon.user("admin@example.org", &["admin"]);
    let operator = daemon.user("operator@example.org", &["operator"]);
    let plain = daemon.user("plain@example.org", &["reports"]);
    let anna = daemon.user("anna@example.org", &[]);
    let host = daemon.host("own");
    let pat = |who: &Person, scope: &str| {
        daemon.bearer(&text_of(&who.mint_pat(json!({"name": "n", "scope": scope})), "token"))
    };
    let link = text_of(&daemon.link(&daemon.client("acme"), json!({})), "token");
    let cookie = daemon.portal_cookie(&link);
    let enrollment = text_of(&daemon.enrollment(json!({})), "token");
    let callers = vec![
        ("session, plain", (*plain).clone()),
        ("session, operator", (*operator).clone()),
        ("session, admin", (*admin).clone()),
        ("PAT of a plain user", pat(&plain, "general")),
        ("PAT of an operator, general", pat(&operator, "general")),
        ("PAT of an operator, introspect", pat(&operator, "introspect")),
        ("PAT of an operator, operator", pat(&operator, "operator")),
        ("PAT of an admin, general", pat(&admin, "general")),
        ("PAT of an admin, introspect", pat(&admin, "introspect")),
        ("PAT of an admin, operator", pat(&admin, "operator")),
        ("PAT of an admin, admin", pat(&admin, "admin")),
        ("service, plain", (*daemon.service("s-plain")).clone()),
        ("service, operator", (*daemon.service("s-operator")).clone()),
        ("service, admin", (*daemon.service("s-admin")).clone()),
        ("agent", (*host).clone()),
        ("portal cookie", daemon.browser(&cookie)),
        ("link as bearer", daemon.bearer(&link)),
        ("enrolment as bearer", daemon.bearer(&enrollment)),
        ("install token as bearer", daemon.bearer(&daemon.install_token())),
        ("nobody", daemon.nobody()),
        ("admin socket", daemon.root()),
    ];
    World { daemon, anna, host, callers }
}

/// What each caller may, in the order of `world().callers`.
type Row = [May; 21];

const SELF: Row = [
    Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Unknown, Unknown, Unknown,
    Unknown, Unknown, Yes,
];
/// Lists of one's own tokens: an agent has only itself.
const OWN_TOKENS: Row = [
    Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Yes, Hidden, Unknown, Unknown, Unknown,
    Unknown, Unknown, Yes,
];
const MINT_OWN: Row = [
    Yes, Yes, Yes, No, No, No, No, No, No, No, No, No, No, No, No, Unknown, Unknown, Unknown, Unknown,
    Unknown, Yes,
];
const MINT_FOR_ANOTHER: Row = [
    No, No, Yes, No, No, No, No, No, No, No, No, No, No, Yes, No, Unknown, Unknown, Unknown, Unknown,
    Unknown, Yes,
];
const ADMINISTER: Row = [
    No, No, Yes, No, No, No, No, No, No, No, Yes, No, No, Yes, No, Unknown, Unknown, Unknown, Unknown,
    Unknown, Yes,
];
const OPERATE: Row = [
    No, Yes, Yes, No, No, No, Yes, No, No, Yes, Yes, No, Yes, Yes, No, Unknown, Unknown, Unknown, Unknown,
    Unknown, Yes,
];
const INTROSPECT: Row = [
    No, Yes, Yes, No, No, Yes, Yes, No, Yes, Yes, Yes, Yes, Yes, Yes, No, Unknown, Unknown, Unknown, Unknown,
    Unknown, Yes,
];

#[track_caller]
fn holds(what: &str, may: May, answer: &Answer) {
    let status = answer.status;
    let fits = match may {
        Yes => status != 401 && status != 403,
        No => status == 403,
        Unknown => status == 401,
        Hidden => status == 403 || status == 404,
    };
    assert!(fits, "{what}: {may:?} by the contract, got {status}: {}", answer.text());
}

fn check(world: &World, row: &Row, method: &str, path: &str, body: Option<&Value>) {
    for ((name, caller), may) in world.callers.iter().zip(row) {
        // The admin socket is nobody in particular and owns no tokens.
        if *name == "admin socket" && (row == &MINT_OWN || row == &OWN_TOKENS || row == &SELF) {
            continue;
        }
        let mut request = caller.request(method, path);
        if let Some(body) = body {
            request = request.json(body.clone());
        }
        holds(&format!("{name}: {method} {path}"), *may, &request.send());
    }
}

#[test]
fn everybody_known_sees_themselves() {
    let world = world();
    check(&world, &SELF, "GET", "/v1/me", None);
    check(&world, &OWN_TOKENS, "GET", "/v1/tokens", None);
}

#[test]
fn only_a_session_mints_for_itself() {
    let world = world();
    check(&world, &MINT_OWN, "POST", "/v1/tokens", Some(&json!({"name": "n"})));
    let minting = world.daemon.root().all("/v1/admin/tokens?kind=pat").len();
    assert_eq!(minting, 8 + 3, "eight were there, three sessions minted");
}

#[test]
fn who_mints_for_another() {
    let world = world();
    check(
        &world,
        &MINT_FOR_ANOTHER,
        "POST",
        &format!("/v1/users/{}/tokens", world.anna.id),
        Some(&json!({"name": "n"})),
    );
    check(
        &world,
        &MINT_FOR_ANOTHER,
        "POST",
        &format!("/v1/users/{}/sessions", world.anna.id),
        Some(&json!({})),
    );
    // Whether the other exists is told to nobody who may not ask.
    check(
        &world,
        &MINT_FOR_ANOTHER,
        "POST",
        &format!("/v1/users/user_{NOBODY}/tokens"),
        Some(&json!({"name": "n"})),
    );
    check(&world, &MINT_FOR_ANOTHER, "POST", &format!("/v1/users/user_{NOBODY}/sessions"), Some(&json!({})));
}

#[test]
fn who_administers() {
    let world = world();
    let deeds: [(&str, String, Option<Value>); 12] = [
        ("GET", "/v1/users".into(), None),
        ("POST", "/v1/users".into(), Some(json!({"email": "not an address"}))),
        ("GET", format!("/v1/users/{}", world.anna.id), None),
        ("GET", format!("/v1/users/user_{NOBODY}"), None),
        ("PATCH", format!("/v1/users/{}", world.anna.id), Some(json!({"name": "Anna"}))),
        ("GET", "/v1/admin/tokens".into(), None),
        ("GET", format!("/v1/admin/tokens/token_{NOBODY}"), None),
        ("DELETE", format!("/v1/admin/tokens/token_{NOBODY}"), None),
        (
            "POST",
            "/v1/admin/tokens/revoke".into(),
            Some(json!({"host": format!("host_{NOBODY}"), "dry_run": true})),
        ),
        ("POST", "/v1/admin/tokens/lookup".into(), Some(json!({"token": "x"}))),
        ("GET", "/v1/audit".into(), None),
        ("GET", "/v1/audit?actor=system".into(), None),
    ];
    for (method, path, body) in deeds {
        check(&world, &ADMINISTER, method, &path, body.as_ref());
    }
}

#[test]
fn who_operates() {
    let world = world();
    let client = format!("client_{NOBODY}");
    let host = format!("host_{NOBODY}");
    let deeds: [(&str, String, Option<Value>); 19] = [
        ("GET", "/v1/enrollments".into(), None),
        ("POST", "/v1/enrollments".into(), Some(json!({"ttl_seconds": 5}))),
        ("DELETE", format!("/v1/enrollments/token_{NOBODY}"), None),
        ("GET", "/v1/hosts".into(), None),
        ("GET", format!("/v1/hosts/{host}"), None),
        ("PATCH", format!("/v1/hosts/{host}"), Some(json!({"tags": []}))),
        ("DELETE", format!("/v1/hosts/{host}"), None),
        ("POST", format!("/v1/hosts/{host}/rotate"), Some(json!({}))),
        ("PUT", format!("/v1/hosts/{host}/credentials"), Some(json!({}))),
        ("GET", "/v1/clients".into(), None),
        ("POST", "/v1/clients".into(), Some(json!({"slug": "-", "name": "n"}))),
        ("GET", format!("/v1/clients/{client}"), None),
        ("PATCH", format!("/v1/clients/{client}"), Some(json!({"name": "n"}))),
        ("GET", format!("/v1/clients/{client}/links"), None),
        ("POST", format!("/v1/clients/{client}/links"), Some(json!({}))),
        ("DELETE", format!("/v1/links/token_{NOBODY}"), None),
        ("PUT", "/v1/projects/p/client".into(), Some(json!({"client_id": client}))),
        ("POST", "/v1/projects/p/preview".into(), Some(json!({}))),
        ("POST", "/v1/projects/p/preview".into(), Some(json!({"name": "n"}))),
    ];
    for (method, path, body) in deeds {
        for ((name, caller), may) in world.callers.iter().zip(&OPERATE) {
            // An agent may be told 404 for a host that is not itself.
            let may = if *name == "agent" && path.starts_with("/v1/hosts/") { Hidden } else { *may };
            let mut request = caller.request(method, &path);
            if let Some(body) = &body {
                request = request.json(body.clone());
            }
            holds(&format!("{name}: {method} {path}"), may, &request.send());
        }
    }
}

#[test]
fn an_agent_has_its_own_host_and_no_more() {
    let world = world();
    let (daemon, agent) = (&world.daemon, &world.host);
    let place = format!("/v1/hosts/{}", agent.id);
    agent.get(&place).expect(200);
    daemon.root().put(&format!("{place}/credentials"), json!({"k": "v"}));
    agent.get(&format!("{place}/credentials")).expect(200);
    let other = daemon.host("other");
    let others = format!("/v1/hosts/{}", other.id);
    holds("the record of another", Hidden, &agent.get(&others));
    holds("the credentials of another", Hidden, &agent.get(&format!("{others}/credentials")));
    holds("its own deletion", Hidden, &agent.delete(&place));
    holds("its own rotation", Hidden, &agent.post(&format!("{place}/rotate"), json!({})));
    for (name, caller) in &world.callers {
        let may = match *name {
            "agent" => Yes,
            "portal cookie"
            | "link as bearer"
            | "enrolment as bearer"
            | "install token as bearer"
            | "nobody" => Unknown,
            _ => No,
        };
        holds(&format!("{name}: credentials"), may, &caller.get(&format!("{place}/credentials")));
    }
}

#[test]
fn who_introspects() {
    let world = world();
    for ((name, caller), may) in world.callers.iter().zip(&INTROSPECT) {
        holds(&format!("{name}: introspect"), *may, &caller.form("/v1/introspect", &[("token", "x")]));
        holds(&format!("{name}: batch"), *may, &caller.post("/v1/introspect/batch", json!({"tokens": []})));
    }
}

#[test]
fn a_head_is_checked_like_a_get_and_no_header_overrides_a_method() {
    let world = world();
    let plain = &world.callers[0].1;
    assert_eq!(plain.head("/v1/users").status, 403);
    assert_eq!(world.daemon.nobody().head("/v1/users").status, 401);
    let sneaky = plain
        .clone()
        .with("x-http-method-override", "GET")
        .with("x-auth-user", "admin")
        .with("x-original-url", "/v1/me");
    sneaky.get("/v1/users").refused(403, "forbidden");
}

#[test]
fn a_pat_never_has_more_than_its_owner_has_now() {
    let daemon = Daemon::start();
    daemon.user("stays@example.org", &["admin"]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    let pat =
        |scope: &str| daemon.bearer(&text_of(&admin.mint_pat(json!({"name": "n", "scope": scope})), "token"));
    let (full, operator, reader) = (pat("admin"), pat("operator"), pat("introspect"));
    let ask = |caller: &Caller| {
        let form = caller.form("/v1/introspect", &[("token", "x")]).status;
        (caller.get("/v1/users").status, caller.get("/v1/hosts").status, form)
    };
    assert_eq!(ask(&full), (200, 200, 200), "admin takes in operator, operator takes in introspect");
    assert_eq!(ask(&operator), (403, 200, 200));
    assert_eq!(ask(&reader), (403, 403, 200));
    let place = format!("/v1/users/{}", admin.id);
    daemon.root().patch(&place, json!({"groups": ["operator"]})).expect(200);
    assert_eq!(ask(&full), (403, 200, 200));
    assert_eq!(ask(&operator), (403, 200, 200));
    daemon.root().patch(&place, json!({"groups": []})).expect(200);
    for caller in [&full, &operator, &reader] {
        assert_eq!(ask(caller), (403, 403, 403));
    }
}

/// Whoever goes by the scope alone must not be told of a right that its owner has lost.
#[test]
fn the_scope_that_is_told_of_a_pat_is_what_is_left_of_it_wherever_it_is_told() {
    let daemon = Daemon::start();
    daemon.user("stays@example.org", &["admin"]);
    let admin = daemon.user("admin@example.org", &["admin"]);
    let pat = text_of(&admin.mint_pat(json!({"name": "n", "scope": "general admin"})), "token");
    let caller = daemon.bearer(&pat);
    let told = || {
        let me = caller.get("/v1/me").expect(200);
        let introspected = daemon.root().form("/v1/introspect", &[("token", &pat)]).expect(200);
        let batch = daemon.root().post("/v1/introspect/batch", json!({"tokens": [pat]})).expect(200);
        let proxy = caller.get("/v1/authorize");
        let scopes = [&me["credential"]["scope"], &introspected["scope"], &batch["results"][0]["scope"]];
        let mut told: Vec<String> = scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect();
        told.push(proxy.header("x-auth-scope").unwrap().to_owned());
        told
    };
    assert_eq!(told(), ["general admin"; 4]);
    for (groups, left) in [(json!(["operator"]), "general operator"), (json!([]), "general")] {
        daemon.root().patch(&format!("/v1/users/{}", admin.id), json!({"groups": groups})).expect(200);
        assert_eq!(told(), [left; 4]);
    }
}

/// The methods that a path can have, as `OpenAPI` spells them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Routes that answer without a credential, or whose credential is in the body.
const OPEN: [&str; 14] = [
    "get /healthz",
    "get /readyz",
    "get /metrics",
    "get /openapi.json",
    "get /.well-known/oauth-authorization-server",
    "get /v1/setup",
    "post /v1/setup",
    "post /v1/sessions",
    "post /v1/enroll",
    "post /v1/revoke",
    "get /portal/enter",
    "post /portal/enter",
    "get /portal/session",
    "post /portal/logout",
];

#[test]
fn every_route_that_there_is_refuses_strangers_and_wrong_kinds() {
    let world = world();
    let open_api = world.daemon.nobody().get("/openapi.json").expect(200);
    let strangers =
        ["nobody", "link as bearer", "enrolment as bearer", "install token as bearer", "portal cookie"];
    let mut asked = 0;
    for (path, item) in open_api["paths"].as_object().unwrap() {
        for method in METHODS.into_iter().filter(|method| item.get(method).is_some()) {
            // The admin socket's own routes do not exist for the others.
            if OPEN.contains(&format!("{method} {path}").as_str()) {
                continue;
            }
            let place = filled(path);
            for (name, caller) in world.callers.iter().filter(|(name, _)| strangers.contains(name)) {
                let answer = caller.request(&method.to_uppercase(), &place).json(json!({})).send();
                let fine = if place.starts_with("/v1/authorize") {
                    [401, 403, 404].contains(&answer.status)
                } else {
                    [401, 404].contains(&answer.status)
                };
                assert!(fine, "{name}: {method} {place}: {} {}", answer.status, answer.text());
                asked += 1;
            }
            let agent = &world.host;
            let answer = agent.request(&method.to_uppercase(), &place).json(json!({})).send();
            let own = ["/v1/me", "/v1/authorize"].iter().any(|open| place.starts_with(open));
            assert!(own || answer.status >= 400, "agent: {method} {place}: {}", answer.status);
        }
    }
    assert!(asked > 150, "{asked}");
}

/// A path of `OpenAPI` with something unlikely in each of its places.
fn filled(path: &str) -> String {
    let places = path.split('/').map(|segment| if segment.contains('{') { "nothing" } else { segment });
    places.collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_that_there_is_answers_the_methods_it_tells_and_no_other() {
    let daemon = Daemon::start();
    let root = daemon.root();
    let open_api = root.get("/openapi.json").expect(200);
    for (path, item) in open_api["paths"].as_object().unwrap() {
        if path.starts_with("/v1/authorize") {
            continue;
        }
        for method in METHODS.into_iter().filter(|method| item.get(method).is_none()) {
            let answer = root.request(&method.to_uppercase(), &filled(path)).send();
            answer.refused(405, "method_not_allowed");
            let allow = answer.header("allow").unwrap().to_ascii_lowercase();
            let allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
            for told in METHODS.into_iter().filter(|told| item.get(told).is_some()) {
                assert!(allowed.contains(&told), "{path}: {told} is not in {allow}");
            }
            assert!(!allowed.contains(&method), "{path}: {method} is in {allow}");
        }
    }
}

/// Every kind of secret that there is, by name.
fn secrets(daemon: &Daemon) -> Vec<(&'static str, String)> {
    let anna = daemon.user("anna@example.org", &["admin"]);
    let link = text_of(&daemon.link(&daemon.client("acme"), json!({})), "token");
    let once = text_of(&daemon.link(&daemon.client("once"), json!({"single_use": true})), "token");
    let cookie = daemon.portal_cookie(&link);
    let jwt = text_of(&anna.mint_pat(json!({"name": "n", "format": "jwt", "scope": "admin"})), "token");
    vec![
        ("install", daemon.install_token()),
        ("session", anna.token().to_owned()),
        ("pat", text_of(&anna.mint_pat(json!({"name": "n", "scope": "admin"})), "token")),
        ("jwt", jwt),
        ("enrollment", text_of(&daemon.enrollment(json!({})), "token")),
        ("agent", daemon.host("web-1").agent_token),
        ("link", link),
        ("single-use link", once),
        ("cookie", cookie.split_once('=').unwrap().1.to_owned()),
        ("service", daemon.service("scheduler").secret.clone()),
    ]
}

/// A place where a secret is redeemed or presented.
type Redeem = fn(&Daemon, &str) -> Answer;

/// Where secrets are redeemed, what is answered where one is good, and which kinds are.
const REDEEMED: [(&str, Redeem, u16, &[&str]); 7] = [
    (
        "bearer",
        |daemon, secret| daemon.bearer(secret).get("/v1/me"),
        200,
        &["session", "pat", "jwt", "agent", "service"],
    ),
    (
        "what a proxy asks about",
        |daemon, secret| daemon.bearer(secret).get("/v1/authorize"),
        200,
        &["session", "pat", "jwt", "service"],
    ),
    (
        "introspected",
        |daemon, secret| {
            let mut answer = daemon.root().form("/v1/introspect", &[("token", secret)]);
            // Not active is this endpoint's way of refusing.
            answer.status = if answer.json()["active"] == true { 200 } else { 401 };
            answer
        },
        200,
        &["session", "pat", "jwt", "agent", "service"],
    ),
    (
        "cookie",
        |daemon, secret| daemon.browser(&format!("portal_session={secret}")).get("/portal/session"),
        200,
        &["cookie"],
    ),
    (
        "pressed button",
        |daemon, secret| {
            // Looking at it does no harm.
            daemon.nobody().get(&format!("/portal/enter?token={secret}"));
            daemon.nobody().form("/portal/enter", &[("token", secret)])
        },
        303,
        &["link", "single-use link"],
    ),
    (
        "enrolment",
        |daemon, secret| daemon.nobody().post("/v1/enroll", people::enrolling(secret, "web-2")),
        201,
        &["enrollment"],
    ),
    (
        "setup",
        |daemon, secret| {
            let body =
                json!({"install_token": secret, "email": "x@example.org", "password": people::PASSWORD});
            daemon.nobody().post("/v1/setup", body)
        },
        201,
        &["install"],
    ),
];

/// No secret counts where one of another kind is asked for, and being shown in the wrong places spends none.
#[test]
fn a_secret_is_good_only_where_its_kind_is_asked_for() {
    let daemon = Setup::new().service("scheduler", &["admin"]).start();
    let secrets = secrets(&daemon);
    for (place, redeem, _, kinds) in REDEEMED {
        for (kind, secret) in secrets.iter().filter(|(kind, _)| !kinds.contains(kind)) {
            let answer = redeem(&daemon, secret);
            // An agent is known to a proxy, and not allowed by the policy.
            let refused = answer.status == 401 || (answer.status == 403 && *kind == "agent");
            assert!(refused, "{kind} as {place}: {} {}", answer.status, answer.text());
        }
    }
    for (place, redeem, good, kinds) in REDEEMED {
        for (kind, secret) in secrets.iter().filter(|(kind, _)| kinds.contains(kind)) {
            assert_eq!(redeem(&daemon, secret).status, good, "{kind} as {place}");
        }
    }
}

/// Everything that makes a credential or gives rights: method, path, body. `{own}` is the caller's user.
fn makers(own: &str, admin: &str) -> Vec<(&'static str, String, Value)> {
    let users = |user: &str, what: &str| format!("/v1/users/{user}/{what}");
    vec![
        ("POST", "/v1/tokens".into(), json!({"name": "n", "scope": "admin"})),
        ("POST", "/v1/tokens".into(), json!({"name": "n", "scope": "operator introspect"})),
        ("POST", users(own, "tokens"), json!({"name": "n", "scope": "admin"})),
        ("POST", users(own, "sessions"), json!({})),
        ("POST", users(admin, "tokens"), json!({"name": "n", "scope": "admin"})),
        ("POST", users(admin, "sessions"), json!({})),
        ("POST", "/v1/users".into(), json!({"email": "new@example.org", "groups": ["admin"]})),
        ("PATCH", format!("/v1/users/{own}"), json!({"groups": ["admin"]})),
        ("PATCH", "/v1/me".into(), json!({"groups": ["admin"]})),
        ("POST", "/v1/enrollments".into(), json!({})),
        ("POST", "/v1/clients".into(), json!({"slug": "made", "name": "n"})),
        ("POST", "/v1/projects/p/preview".into(), json!({})),
        ("POST", "/v1/admin/install-token".into(), json!({"force": true})),
        ("POST", "/v1/admin/import".into(), json!({})),
    ]
}

/// Whatever a caller can have made, by whatever way, nothing of it can do what the caller cannot.
#[test]
fn no_way_leads_from_a_credential_to_one_that_may_more() {
    let world = world();
    let daemon = &world.daemon;
    let admin = daemon.root().get("/v1/users?email=admin%40example.org").expect(200);
    let admin = text_of(&items(&admin)[0], "id");
    let may = |caller: &Caller| {
        let administers = caller.get("/v1/users").status == 200;
        let operates = caller.get("/v1/hosts").status == 200;
        (administers, operates, caller.form("/v1/introspect", &[("token", "x")]).status == 200)
    };
    let mut made = 0;
    for (name, caller) in world.callers.iter().filter(|(name, _)| *name != "admin socket") {
        let before = may(caller);
        if before.0 {
            continue;
        }
        let me = caller.get("/v1/me").json();
        let own = me["subject"]["id"].as_str().unwrap_or("user_01jd8w3m5ze8vr3pa0n2q9k6ms").to_owned();
        for (method, path, body) in makers(&own, &admin) {
            let answer = caller.request(method, &path).json(body).send();
            for token in tokens_in(&answer.text()) {
                let after = may(&daemon.bearer(&token));
                let more = (after.0 && !before.0) || (after.1 && !before.1) || (after.2 && !before.2);
                assert!(!more, "{name}: {method} {path} gave {after:?} to one who has {before:?}");
                made += 1;
            }
        }
        assert_eq!(may(caller), before, "{name} may more than before");
    }
    assert!(made > 0, "nobody made anything: this test looks for the wrong thing");
    assert_eq!(daemon.root().get("/v1/users?email=new%40example.org").expect(200)["items"], json!([]));
}
