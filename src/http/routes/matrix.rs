//! Who may do what, enumerated: every route × kind of credential × groups × scope, and for what belongs to
//! somebody × whose it is, against a table that was written down from the contract and not from the code.
//!
//! A route without an entry here fails the test, and so does an entry without a route.

use std::{collections::BTreeMap, sync::Arc};

use super::ALL;
use crate::{
    records::{client::Client, host::Host, user::User},
    rules::{
        Forbidden, Refusal,
        access::{Authorized, Caller, Identity, Right, Subject, Who, decide},
        pats::{self, Wish},
        sessions,
        tokens::Minted,
        town::Town,
    },
    settings::CredentialKind,
    token::TokenId,
};

/// The rows of the contract's table, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Whoever comes: the request carries its own proof, or there is nothing to prove.
    Anybody,
    /// See itself.
    Itself,
    /// List and revoke own tokens.
    OwnTokens,
    /// Mint, change or rotate own PATs; one's own password.
    OwnPats,
    /// Mint PATs and sessions for another user.
    ForAnother,
    /// Users, all tokens, audit, reload, backup.
    Everything,
    /// Enrolments, hosts, clients, links.
    Operating,
    /// A host's record: who operates, and its agent.
    HostRecord,
    /// Own credentials of a host.
    HostCredentials,
    /// Introspect tokens.
    Introspecting,
    /// The admin socket alone.
    Machine,
}

use Line::{
    Anybody, Everything, ForAnother, HostCredentials, HostRecord, Introspecting, Itself, Machine, Operating,
    OwnPats, OwnTokens,
};

/// Every route, and the line of the contract that governs it.
const ROUTES: &[(&str, Line)] = &[
    ("GET /healthz", Anybody),
    ("GET /readyz", Anybody),
    ("GET /metrics", Anybody),
    ("GET /openapi.json", Anybody),
    ("GET /.well-known/oauth-authorization-server", Anybody),
    ("GET /v1/me", Itself),
    ("PATCH /v1/me", OwnPats),
    ("GET /v1/setup", Anybody),
    ("POST /v1/setup", Anybody),
    ("POST /v1/users", Everything),
    ("GET /v1/users", Everything),
    ("GET /v1/users/{id}", Everything),
    ("PATCH /v1/users/{id}", Everything),
    ("POST /v1/users/{id}/sessions", ForAnother),
    ("POST /v1/users/{id}/tokens", ForAnother),
    ("POST /v1/sessions", Anybody),
    ("GET /v1/sessions", OwnTokens),
    ("DELETE /v1/sessions/current", OwnTokens),
    ("DELETE /v1/sessions/{id}", OwnTokens),
    ("POST /v1/tokens", OwnPats),
    ("GET /v1/tokens", OwnTokens),
    ("GET /v1/tokens/{id}", OwnTokens),
    ("PATCH /v1/tokens/{id}", OwnPats),
    ("DELETE /v1/tokens/{id}", OwnTokens),
    ("POST /v1/tokens/{id}/rotate", OwnPats),
    ("GET /v1/admin/tokens", Everything),
    ("POST /v1/admin/tokens/revoke", Everything),
    ("POST /v1/admin/tokens/lookup", Everything),
    ("GET /v1/admin/tokens/{id}", Everything),
    ("DELETE /v1/admin/tokens/{id}", Everything),
    ("GET /v1/audit", Everything),
    ("POST /v1/introspect", Introspecting),
    ("POST /v1/introspect/batch", Introspecting),
    ("POST /v1/revoke", Anybody),
    ("* /v1/authorize", Anybody),
    ("* /v1/authorize/{policy...}", Anybody),
    ("POST /v1/admin/explain", Machine),
    ("POST /v1/admin/install-token", Machine),
    ("GET /v1/admin/status", Everything),
    ("POST /v1/admin/reload", Everything),
    ("GET /v1/admin/keys", Everything),
    ("POST /v1/admin/keys/reseal", Everything),
    ("POST /v1/admin/clock/reset", Everything),
    ("GET /v1/admin/backup", Everything),
    ("GET /v1/admin/audit/export", Everything),
    ("GET /v1/admin/audit/verify", Everything),
    ("POST /v1/admin/compact", Everything),
    ("POST /v1/admin/import", Everything),
    ("POST /v1/enrollments", Operating),
    ("GET /v1/enrollments", Operating),
    ("DELETE /v1/enrollments/{id}", Operating),
    ("POST /v1/enroll", Anybody),
    ("GET /v1/hosts", Operating),
    ("GET /v1/hosts/{id}", HostRecord),
    ("PATCH /v1/hosts/{id}", Operating),
    ("DELETE /v1/hosts/{id}", Operating),
    ("POST /v1/hosts/{id}/rotate", Operating),
    ("PUT /v1/hosts/{id}/credentials", Operating),
    ("GET /v1/hosts/{id}/credentials", HostCredentials),
    ("POST /v1/clients", Operating),
    ("GET /v1/clients", Operating),
    ("GET /v1/clients/{id}", Operating),
    ("PATCH /v1/clients/{id}", Operating),
    ("POST /v1/clients/{id}/links", Operating),
    ("GET /v1/clients/{id}/links", Operating),
    ("DELETE /v1/links/{id}", Operating),
    ("PUT /v1/projects/{project}/client", Operating),
    ("POST /v1/projects/{project}/preview", Operating),
    ("GET /portal/enter", Anybody),
    ("POST /portal/enter", Anybody),
    ("GET /portal/session", Anybody),
    ("POST /portal/logout", Anybody),
];

/// What a cell of the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    Unauthenticated,
    Forbidden,
    NotFound,
}

/// Somebody who asks, in the contract's own words.
#[derive(Clone, Debug)]
struct Asker {
    what: What,
    groups: &'static [&'static str],
    scope: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Nobody,
    Socket,
    Session,
    Pat,
    Service,
    Agent,
    Cookie,
}

const GROUPS: [&[&str]; 5] = [&[], &["reports"], &["operator"], &["admin"], &["admin", "operator"]];
const SCOPES: [&str; 8] = [
    "general",
    "introspect",
    "operator",
    "admin",
    "general admin",
    "operator introspect",
    "Admin administrator",
    "bootstrap-analyst",
];

fn askers() -> Vec<Asker> {
    let mut all = Vec::new();
    for what in [What::Nobody, What::Socket, What::Agent, What::Cookie] {
        all.push(Asker { what, groups: &[], scope: "" });
    }
    for groups in GROUPS {
        for what in [What::Session, What::Service] {
            all.push(Asker { what, groups, scope: "" });
        }
        for scope in SCOPES {
            all.push(Asker { what: What::Pat, groups, scope });
        }
    }
    all
}

impl Asker {
    fn is_in(&self, group: &str) -> bool {
        self.groups.contains(&group)
    }

    fn says(&self, word: &str) -> bool {
        self.scope.split(' ').any(|own| own == word)
    }

    /// The contract's table.
    fn may(&self, line: Line) -> bool {
        let (admin, operator) = (self.is_in("admin"), self.is_in("operator") || self.is_in("admin"));
        let by_group = |pat: bool, member: bool| match self.what {
            What::Session | What::Service => member,
            What::Pat => member && pat,
            What::Socket => true,
            What::Nobody | What::Agent | What::Cookie => false,
        };
        match line {
            Anybody => true,
            Itself => self.what != What::Cookie,
            OwnTokens => !matches!(self.what, What::Cookie | What::Agent),
            OwnPats => matches!(self.what, What::Session | What::Socket),
            ForAnother => self.what != What::Pat && by_group(false, admin),
            Everything => by_group(self.says("admin"), admin),
            Operating => by_group(self.says("admin") || self.says("operator"), operator),
            HostRecord => self.what == What::Agent || self.may(Operating),
            HostCredentials => self.what == What::Agent,
            Introspecting => {
                let words = ["admin", "operator", "introspect"];
                self.what == What::Service || by_group(words.iter().any(|word| self.says(word)), operator)
            }
            Machine => self.what == What::Socket,
        }
    }

    fn expected(&self, line: Line) -> Says {
        match self.what {
            _ if line == Anybody => Says::Yes,
            What::Nobody => Says::Unauthenticated,
            _ if self.may(line) => Says::Yes,
            _ => Says::Forbidden,
        }
    }

    fn caller(&self) -> Caller {
        let user = Subject::User(Arc::new(User::supposed("anna@example.org")));
        let host = Subject::Host(Arc::new(Host::supposed("web-1")));
        let client = Subject::Client(Arc::new(Client::supposed("acme")));
        let (subject, kind) = match self.what {
            What::Nobody => return Caller::nobody(None),
            What::Socket => return Caller::local(0),
            What::Session => (user, CredentialKind::Session),
            What::Pat => (user, CredentialKind::Pat),
            What::Service => (user, CredentialKind::Service),
            What::Agent => (host, CredentialKind::Agent),
            What::Cookie => (client, CredentialKind::Portal),
        };
        let identity = Identity::supposed(subject, kind, self.groups, self.scope);
        Caller { who: Who::Known(Box::new(identity)), ip: None }
    }
}

fn said<T>(outcome: &Result<T, Refusal>) -> Says {
    match outcome {
        Ok(_) => Says::Yes,
        Err(Refusal::Denied(_)) => Says::Unauthenticated,
        Err(Refusal::Forbidden(_)) => Says::Forbidden,
        Err(Refusal::NotFound) => Says::NotFound,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_route_has_its_line_and_every_cell_is_as_the_contract_has_it() {
    let lines: BTreeMap<&str, Line> = ROUTES.iter().copied().collect();
    assert_eq!(lines.len(), ROUTES.len(), "a route is written down twice");
    let mut left = lines.clone();
    let mut cells = 0;
    for route in ALL.iter().copied().flatten() {
        let name = format!("{} {}", route.verb.name(), route.path);
        let line = *lines.get(name.as_str()).unwrap_or_else(|| panic!("{name} is in no line of the matrix"));
        left.remove(name.as_str());
        for asker in askers() {
            let outcome = said(&decide(route.right, asker.caller()));
            assert_eq!(outcome, asker.expected(line), "{name} ({line:?}) asked by {asker:?}");
            cells += 1;
        }
    }
    assert!(left.is_empty(), "no such routes: {left:?}");
    assert_eq!(cells, ROUTES.len() * (4 + GROUPS.len() * (2 + SCOPES.len())));
    println!("{cells} cells of routes");
}

/// What can be done to a token, and the right that its route needs.
const DEEDS: [(&str, Right); 5] = [
    ("show", Right::OwnTokens),
    ("change", Right::ChangeOwn),
    ("rotate", Right::ChangeOwn),
    ("revoke", Right::OwnTokens),
    ("end session", Right::OwnTokens),
];

struct World {
    town: Town,
    people: Vec<User>,
    /// Who asks: what they are called, their user if they are one, and whether they are admins as they ask.
    askers: Vec<(String, Option<usize>, bool, Caller)>,
}

fn world() -> World {
    let mut town = Town::new();
    let people: Vec<User> = [("anna", &[][..]), ("olga", &["operator"]), ("adam", &["admin"])]
        .map(|(name, groups)| town.user(&format!("{name}@example.org"), groups))
        .into();
    let mut askers = vec![
        ("nobody".to_owned(), None, false, Caller::nobody(None)),
        ("the admin socket".to_owned(), None, true, Caller::local(0)),
    ];
    for asker in askers_of_services() {
        let admin = asker.is_in("admin");
        askers.push((format!("a service in {:?}", asker.groups), None, admin, asker.caller()));
    }
    let agent = Asker { what: What::Agent, groups: &[], scope: "" };
    askers.push(("an agent".to_owned(), None, false, agent.caller()));
    for (number, user) in people.iter().enumerate() {
        let session = town.session(user.id).unwrap();
        askers.push((
            format!("{} by session", user.email),
            Some(number),
            number == 2,
            caller(&town, &session),
        ));
        let scopes: &[&str] = if number == 2 { &["general", "admin"] } else { &["general"] };
        for scope in scopes {
            let pat = town.pat(user.id, Wish { scope: Some((*scope).into()), ..Wish::default() }).unwrap();
            let what = format!("{} by PAT with {scope}", user.email);
            askers.push((what, Some(number), *scope == "admin", caller(&town, &pat)));
        }
    }
    World { town, people, askers }
}

fn askers_of_services() -> Vec<Asker> {
    [&[][..], &["admin"]].map(|groups| Asker { what: What::Service, groups, scope: "" }).into()
}

fn caller(town: &Town, token: &Minted) -> Caller {
    town.who(Right::SeeSelf, token).unwrap().caller().clone()
}

fn run(town: &mut Town, deed: &str, who: &Authorized, id: TokenId) -> Result<(), Refusal> {
    let now = town.time();
    let fresh = town.fresh();
    match deed {
        "show" => pats::show(&town.shelf, who, id, now, &|_| None).map(drop),
        "change" => town.change(|txn, _| pats::update(txn, who, id, pats::Change::default())).map(drop),
        "rotate" => town.change(|txn, terms| pats::rotate(txn, terms, who, id, None, &fresh)).map(drop),
        "revoke" => town.change(|txn, _| pats::revoke(txn, who, id)),
        "end session" => town.change(|txn, _| sessions::end(txn, who, id)),
        other => panic!("{other}"),
    }
}

/// What the contract says of a deed on something that belongs to `owner`; none where there is no such thing.
fn expected(deed: &str, who: &Caller, user: Option<usize>, admin: bool, owner: Option<usize>) -> Says {
    let kind = who.identity().map(|identity| identity.kind);
    let sessions_only = deed == "change" || deed == "rotate";
    match kind {
        None if *who == Caller::nobody(None) => Says::Unauthenticated,
        Some(CredentialKind::Agent | CredentialKind::Portal) => Says::Forbidden,
        Some(CredentialKind::Pat | CredentialKind::Service) if sessions_only => Says::Forbidden,
        _ if owner.is_none() => Says::NotFound,
        _ if admin || (user.is_some() && user == owner) => Says::Yes,
        _ => Says::NotFound,
    }
}

#[test]
fn another_users_token_is_found_by_nobody_but_an_admin() {
    let mut cells = 0;
    let askers = world().askers.len();
    for (deed, right) in DEEDS {
        for asker in 0..askers {
            for owner in [Some(0), Some(1), Some(2), None] {
                let mut world = world();
                let id = match owner.map(|owner| world.people[owner].id) {
                    None => TokenId::from_parts(1, [0xff; 10]),
                    Some(user) if deed == "end session" => world.town.session(user).unwrap().token.id,
                    Some(user) => world.town.pat(user, Wish::default()).unwrap().token.id,
                };
                let (what, user, admin, caller) = world.askers.swap_remove(asker);
                let outcome =
                    decide(right, caller.clone()).and_then(|who| run(&mut world.town, deed, &who, id));
                let expected = expected(deed, &caller, user, admin, owner);
                assert_eq!(said(&outcome), expected, "{what}: {deed} of {owner:?}: {outcome:?}");
                cells += 1;
            }
        }
    }
    println!("{cells} cells of owners");
}

#[test]
fn a_token_is_no_session_and_a_session_is_no_token() {
    let mut world = world();
    let anna = world.people[0].id;
    let (session, pat) = (world.town.session(anna).unwrap(), world.town.pat(anna, Wish::default()).unwrap());
    let who = world.town.who(Right::OwnTokens, &session).unwrap();
    for (deed, id) in
        [("show", session.token.id), ("revoke", session.token.id), ("end session", pat.token.id)]
    {
        assert_eq!(run(&mut world.town, deed, &who, id), Err(Refusal::NotFound), "{deed}");
    }
}

#[test]
fn a_caller_without_an_account_mints_nothing_of_its_own() {
    let mut world = world();
    let plan = pats::plan(Wish { name: "n".into(), ..Wish::default() }).unwrap();
    let fresh = world.town.fresh();
    let root = Town::root(Right::ChangeOwn);
    let minted = world.town.change(|txn, terms| pats::mint_own(txn, terms, &root, plan, &fresh));
    assert_eq!(minted.unwrap_err(), Refusal::Forbidden(Forbidden::Kind));
}

/// Where others than the product's own code write the query, or none is of any use: proxies, mail programs, probes.
/// Everywhere else a parameter that is not known is an error, or a misspelt `dry_run` would be done.
#[test]
fn only_routes_that_others_ask_ignore_parameters_that_they_do_not_know() {
    let ignoring: std::collections::BTreeSet<&str> = ALL
        .iter()
        .flat_map(|routes| routes.iter())
        .filter(|route| route.query.is_none())
        .map(|route| route.path)
        .collect();
    let expected = [
        "/.well-known/oauth-authorization-server",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/portal/enter",
        "/portal/logout",
        "/portal/session",
        "/readyz",
        "/v1/authorize",
        "/v1/authorize/{policy...}",
        "/v1/introspect",
        "/v1/revoke",
    ];
    assert_eq!(ignoring, expected.into());
}
