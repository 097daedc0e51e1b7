//! Tokens that another system issued: taken in by their SHA-256, so that they go on working.
//!
//! What they look like is nobody's business: an imported token is known by its hash alone. A token that was
//! imported before, alive, dead or purged, is a duplicate and revives nothing. Owners that are missing are
//! made: a user without password or groups, a host, a client. A portion is taken in whole or not at all.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Refusal,
    clients::{self, Slug},
    limits, tokens,
    users::{self, NewUser},
};
use crate::{
    records::{
        Action, By, Fault, Params, Record, Time, Txn, View,
        client::Client,
        host::Host,
        token::{Detail, Format, LastUsed, Link, Owner, Token, Tombstone},
        user::User,
    },
    token::{ClientId, HostId, Kind, TokenHash, TokenId, UserId},
};

/// Lines of one portion at the most.
pub const IMPORT_LINES_MAX: usize = 1_000;

/// One line, read and within its bounds.
#[derive(Clone, Debug)]
pub struct Line {
    hash: TokenHash,
    kind: Kind,
    owner: OwnerName,
    name: String,
    scope: String,
    created_at: Option<Time>,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
}

/// Whose a token is, by the name that people call them.
#[derive(Clone, Debug)]
enum OwnerName {
    User(String),
    Host(String),
    Client(Slug),
}

impl OwnerName {
    fn told(&self) -> String {
        match self {
            Self::User(email) => format!("user {email}"),
            Self::Host(hostname) => format!("host {hostname}"),
            Self::Client(slug) => format!("client {}", slug.as_str()),
        }
    }
}

/// Random bytes for one line: for the token's id, and for an owner's that has to be made.
#[derive(Clone, Copy, Debug)]
pub struct FreshIds {
    /// For the token.
    pub token: [u8; 10],
    /// For its owner.
    pub owner: [u8; 10],
}

/// What a portion came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tokens taken in.
    pub tokens: u64,
    /// Owners made.
    pub owners: u64,
    /// Those owners, each by what it is and what people call it, such as `host web1`.
    pub new_owners: Vec<String>,
    /// Which lines, counted from 0, are known already, or stand twice.
    pub duplicates: Vec<usize>,
}

impl Line {
    /// SHA-256 of the token.
    pub const fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// Reads one line's object. `time` reads a time as the API has it.
    pub fn read(members: Map<String, Value>, time: impl Fn(&str) -> Option<Time>) -> Result<Self, Refusal> {
        let mut members = Members(members);
        let hash = members.need("sha256")?;
        let hash = TokenHash::from_hex(&hash)
            .map_err(|_| Refusal::invalid("sha256", "must be 64 hexadecimal digits"))?;
        let kind = match members.need("kind")?.as_str() {
            "pat" => Kind::Pat,
            "agent" => Kind::Agent,
            "link" => Kind::Link,
            _ => return Err(Refusal::invalid("kind", "must be pat, agent or link")),
        };
        let owner = members.need("owner")?;
        let owner = match kind {
            Kind::Agent => OwnerName::Host(limits::hostname("owner", &owner)?),
            Kind::Link => OwnerName::Client(Slug::parse("owner", &owner)?),
            Kind::Pat | Kind::Install | Kind::Session | Kind::Enrollment => {
                users::refuse_reserved("owner", &owner)?;
                OwnerName::User(limits::email("owner", &owner)?)
            }
        };
        let name = limits::name("name", &members.need("name")?)?;
        let scope = match (kind, members.text("scope")?) {
            (Kind::Pat, Some(scope)) => limits::scope("scope", &scope)?,
            (Kind::Pat, None) => super::pats::SCOPE_DEFAULT.to_owned(),
            (_, None) => String::new(),
            (_, Some(_)) => return Err(Refusal::invalid("scope", "is for PATs only")),
        };
        let mut moment = |field: &'static str| match members.text(field)? {
            None => Ok(None),
            Some(text) => time(&text)
                .map(Some)
                .ok_or_else(|| Refusal::invalid(field, "must be a time such as 2026-01-31T12:00:00Z")),
        };
        let created_at = moment("created_at")?;
        let expires_at = moment("expires_at")?;
        let last_used_at = moment("last_used_at")?;
        let revoked_at = moment("revoked_at")?;
        members.close()?;
        Ok(Self { hash, kind, owner, name, scope, created_at, expires_at, last_used_at, revoked_at })
    }
}

/// The members of a line that were not read yet.
struct Members(Map<String, Value>);

impl Members {
    fn text(&mut self, field: &'static str) -> Result<Option<String>, Refusal> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::invalid(field, "must be a string")),
        }
    }

    fn need(&mut self, field: &'static str) -> Result<String, Refusal> {
        self.text(field)?.ok_or(Refusal::Missing(field))
    }

    fn close(self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Refusal::invalid(
            "line",
            "has a member that is none of sha256, kind, owner, name, scope, created_at, expires_at, \
             last_used_at, revoked_at",
        ))
    }
}

/// Takes in a portion: owners that are missing each under an entry of their own, then all tokens under one. What is
/// known already leaves no entry. Each line has its random bytes at its place in `fresh`.
pub fn take_in(txn: &mut Txn<'_>, by: &By, lines: &[Line], fresh: &[FreshIds]) -> Result<Imported, Refusal> {
    let mut imported = Imported::default();
    let mut hashes = BTreeSet::new();
    let mut new = Vec::new();
    for (at, (line, fresh)) in lines.iter().zip(fresh).enumerate() {
        if !hashes.insert(line.hash.as_bytes()) || is_known(txn, &line.hash)? {
            imported.duplicates.push(at);
            continue;
        }
        let (owner, made) = owner(txn, by, &line.owner, fresh.owner)?;
        if made {
            imported.owners = imported.owners.saturating_add(1);
            imported.new_owners.push(line.owner.told());
        }
        imported.tokens = imported.tokens.saturating_add(1);
        new.push((line, owner, fresh.token));
    }
    if new.is_empty() {
        return Ok(imported);
    }
    let params = Params::none()
        .with("tokens", imported.tokens)
        .with("owners", imported.owners)
        .with("duplicates", imported.duplicates.len());
    txn.entry(by, Action::TokenImport, "import", params)?;
    for (line, owner, random) in new {
        let token = token(txn, line, owner, random);
        // One ahead of the clock would keep every real use until then from being written.
        if let Some(at) = line.last_used_at.map(|at| at.min(txn.now())) {
            txn.note(&LastUsed { token: token.id, at, ip: None })?;
        }
        tokens::insert(txn, token)?;
    }
    Ok(imported)
}

/// Whether a token of that hash is or was here.
fn is_known(view: &dyn View, hash: &TokenHash) -> Result<bool, Fault> {
    Ok(Token::by_hash(view, hash)?.is_some() || Tombstone::at(view, hash.as_bytes())?.is_some())
}

fn token(txn: &Txn<'_>, line: &Line, owner: Owner, random: [u8; 10]) -> Token {
    let created_at = line.created_at.unwrap_or(txn.now()).min(txn.now());
    let detail = match line.kind {
        Kind::Link => Detail::Link(Box::new(Link {
            label: Some(line.name.clone()),
            redirect: "/".to_owned(),
            single_use: false,
        })),
        Kind::Install | Kind::Session | Kind::Pat | Kind::Enrollment | Kind::Agent => Detail::Plain,
    };
    // Made from when it was issued, so that lists have it where it belongs.
    let id = TokenId::from_parts(created_at.unix().saturating_mul(1_000), random);
    Token {
        name: line.name.clone(),
        scope: line.scope.clone(),
        format: Format::Imported,
        span_seconds: line.expires_at.map(|end| end.since(created_at)),
        expires_at: line.expires_at,
        revoked_at: line.revoked_at.map(|at| at.min(txn.now())),
        detail,
        ..Token::plain(id, line.kind, *line.hash.as_bytes(), owner, created_at)
    }
}

/// The owner of that name, and whether it had to be made, which has an entry of its own.
fn owner(txn: &mut Txn<'_>, by: &By, name: &OwnerName, random: [u8; 10]) -> Result<(Owner, bool), Refusal> {
    match name {
        OwnerName::User(email) => {
            if let Some(user) = User::by_email(txn, email)? {
                return Ok((Owner::User(user.id), false));
            }
            let new = NewUser {
                email: email.clone(),
                name: None,
                groups: Vec::new(),
                password: None,
                service: None,
            };
            let id = UserId::from_parts(txn.now_ms(), txn.in_turn(random));
            let params = Params::none().with("email", new.email.clone()).with("groups", new.groups.clone());
            txn.entry(by, Action::UserCreate, id, params)?;
            users::insert(txn, id, new)?;
            Ok((Owner::User(id), true))
        }
        OwnerName::Host(hostname) => {
            if let Some(host) = Host::by_name(txn, hostname)? {
                return Ok((Owner::Host(host.id), false));
            }
            let id = HostId::from_parts(txn.now_ms(), txn.in_turn(random));
            txn.entry(by, Action::HostCreate, id, Params::none().with("hostname", hostname.as_str()))?;
            put_host(txn, id, hostname)?;
            Ok((Owner::Host(id), true))
        }
        OwnerName::Client(slug) => {
            if let Some(client) = Client::by_slug(txn, slug.as_str())? {
                return Ok((Owner::Client(client.id), false));
            }
            let id = ClientId::from_parts(txn.now_ms(), txn.in_turn(random));
            txn.entry(by, Action::ClientCreate, id, Params::none().with("slug", slug.as_str()))?;
            let name = slug.as_str().to_owned();
            clients::insert(txn, id, slug.clone(), name)?;
            Ok((Owner::Client(id), true))
        }
    }
}

/// A host of which nothing but its name is known.
fn put_host(txn: &mut Txn<'_>, id: HostId, hostname: &str) -> Result<(), Fault> {
    let host = Host {
        id,
        hostname: hostname.to_owned(),
        os: "unknown".to_owned(),
        arch: "unknown".to_owned(),
        agent_version: None,
        tags: Vec::new(),
        facts: None,
        enrollment: None,
        created_at: txn.now(),
        updated_at: txn.now(),
        entry: 0,
    };
    txn.index(host.hints());
    txn.put(host)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows read better")]
    fn check(line: Value, refused: Option<&str>) {
        let read = Line::read(line.as_object().cloned().unwrap(), |text| {
            (text == "then").then_some(Time::from_unix(5))
        });
        match (read, refused) {
            (Ok(_), None) => {}
            (Err(Refusal::Invalid { field, .. } | Refusal::Missing(field)), Some(expected)) => {
                assert_eq!(field, expected, "{line}");
            }
            (read, _) => panic!("{line}: {read:?}"),
        }
    }

    #[test]
    fn a_line_is_read_strictly() {
        let hash = "ab".repeat(32);
        let with = |name: &str, value: Value| {
            let mut line = json!({"sha256": hash, "kind": "pat", "owner": "a@b.c", "name": "ci"});
            line[name] = value;
            line
        };
        check(with("scope", json!("general")), None);
        check(with("expires_at", json!("then")), None);
        check(with("revoked_at", Value::Null), None);
        check(with("sha256", json!("ab")), Some("sha256"));
        check(with("sha256", json!(5)), Some("sha256"));
        check(with("kind", json!("session")), Some("kind"));
        check(with("owner", json!("nobody")), Some("owner"));
        check(with("owner", json!("x@system.local")), Some("owner"));
        check(with("name", json!("")), Some("name"));
        check(with("name", Value::Null), Some("name"));
        check(with("created_at", json!("yesterday")), Some("created_at"));
        check(with("extra", json!(1)), Some("line"));
        check(
            json!({"sha256": hash, "kind": "agent", "owner": "web1", "name": "a", "scope": "x"}),
            Some("scope"),
        );
        check(json!({"sha256": hash, "kind": "agent", "owner": "web1", "name": "a"}), None);
        check(json!({"sha256": hash, "kind": "link", "owner": "Bad Slug", "name": "a"}), Some("owner"));
        check(json!({"sha256": hash, "kind": "link", "owner": "acme", "name": "a"}), None);
    }

    #[test]
    fn a_portion_makes_owners_once_and_revives_nothing() {
        use crate::{records::TableId, rules::town::Town};
        let mut town = Town::new();
        let line = |hash: &str, kind: &str, owner: &str| {
            let line = json!({"sha256": hash.repeat(32), "kind": kind, "owner": owner, "name": "n"});
            Line::read(line.as_object().cloned().unwrap(), |_| None).unwrap()
        };
        let lines = [
            line("01", "pat", "a@b.c"),
            line("02", "pat", "A@B.C"),
            line("01", "pat", "z@b.c"),
            line("03", "agent", "web1"),
            line("04", "link", "acme"),
        ];
        let fresh: Vec<FreshIds> = (0..5).map(|at| FreshIds { token: [at; 10], owner: [at; 10] }).collect();
        let import =
            |town: &mut Town| town.change(|txn, _| take_in(txn, &By::system(), &lines, &fresh)).unwrap();
        let new_owners = ["user a@b.c", "host web1", "client acme"].map(str::to_owned).into();
        let imported = Imported { tokens: 4, owners: 3, new_owners, duplicates: vec![2] };
        assert_eq!(import(&mut town), imported);
        let of =
            |town: &Town, byte: u8| Token::by_hash(&town.shelf, &TokenHash::from_bytes([byte; 32])).unwrap();
        let (first, second) = (of(&town, 1).unwrap(), of(&town, 2).unwrap());
        assert_eq!(first.owner, second.owner);
        let host = Host::by_name(&town.shelf, "web1").unwrap().unwrap();
        assert_eq!(of(&town, 3).unwrap().owner, Owner::Host(host.id));
        assert_eq!(of(&town, 5), None);
        // One that was purged has left a stone.
        town.shelf.tamper(TableId::TokensByHash, &[1; 32], None);
        town.shelf.place(&Tombstone { hash: [1; 32], entry: 1 });
        assert_eq!(import(&mut town).duplicates, [0, 1, 2, 3, 4]);
        assert_eq!(of(&town, 1), None);
    }

    /// Each owner has the entry that such a making has elsewhere, each token that of the import; and rows name the
    /// entry that wrote them.
    #[test]
    fn an_import_is_an_entry_for_each_owner_that_it_made_and_one_for_what_it_took_in() {
        use crate::rules::town::Town;
        let mut town = Town::new();
        let anna = town.user("anna@b.c", &[]);
        let line = |number: u8, kind: &str, owner: &str| {
            let line = json!({"sha256": format!("{number:02x}").repeat(32), "kind": kind, "owner": owner,
                "name": "n"});
            Line::read(line.as_object().cloned().unwrap(), |_| None).unwrap()
        };
        let import = |town: &mut Town, lines: &[Line]| {
            let fresh: Vec<FreshIds> =
                (1..9).map(|at| FreshIds { token: [at; 10], owner: [at; 10] }).collect();
            town.change(|txn, _| take_in(txn, &By::local(7), lines, &fresh)).unwrap()
        };
        let lines = [
            line(1, "pat", "bert@b.c"),
            line(2, "agent", "web1"),
            line(3, "link", "acme"),
            line(4, "pat", "Bert@b.c"),
            line(5, "pat", "anna@b.c"),
            line(1, "pat", "carl@b.c"),
        ];
        import(&mut town, &lines);
        let bert = User::by_email(&town.shelf, "bert@b.c").unwrap().unwrap();
        let host = Host::by_name(&town.shelf, "web1").unwrap().unwrap();
        let client = Client::by_slug(&town.shelf, "acme").unwrap().unwrap();
        let told = |entry: &crate::records::audit::Entry| {
            assert_eq!(entry.actor, crate::records::Actor::Local(7));
            let params: Value = serde_json::from_str(&entry.params).unwrap();
            (entry.action.clone(), entry.resource.clone(), params, entry.touched.len())
        };
        let entry = |action: &str, resource: String, params: Value, touched: usize| {
            (action.to_owned(), resource, params, touched)
        };
        let entries = town.shelf.audit();
        assert_eq!(
            entries[1..].iter().map(told).collect::<Vec<_>>(),
            [
                entry("user.create", bert.id.to_string(), json!({"email": "bert@b.c", "groups": []}), 1),
                entry("host.create", host.id.to_string(), json!({"hostname": "web1"}), 1),
                entry("client.create", client.id.to_string(), json!({"slug": "acme"}), 1),
                entry("token.import", "import".into(), json!({"tokens": 5, "owners": 3, "duplicates": 1}), 5),
            ]
        );
        assert_eq!([bert.entry, host.entry, client.entry], [2, 3, 4]);
        assert_eq!(User::by_id(&town.shelf, anna.id).unwrap().unwrap().entry, 1, "nothing about her changed");
        for number in 1..=5 {
            let hash = TokenHash::from_bytes([number; 32]);
            assert_eq!(Token::by_hash(&town.shelf, &hash).unwrap().unwrap().entry, 5);
        }
        // Of what is known already, nothing is left in the log, as of every change that changes nothing.
        assert_eq!(import(&mut town, &lines).duplicates.len(), lines.len());
        assert_eq!(import(&mut town, &[]).tokens, 0);
        assert_eq!(town.shelf.audit().len(), entries.len());
        town.pass(1);
        import(&mut town, &[lines[0].clone(), line(6, "pat", "bert@b.c")]);
        let entries = town.shelf.audit();
        assert_eq!(entries.len(), 6);
        assert_eq!(told(&entries[5]).2, json!({"tokens": 1, "owners": 0, "duplicates": 1}));
    }

    #[test]
    fn a_last_use_from_the_future_counts_as_now_and_real_ones_follow() {
        use crate::rules::{
            last_use,
            town::{NOW, Town},
        };
        let mut town = Town::new();
        for (n, claimed, stored) in [(1, NOW - 5, NOW - 5), (2, NOW, NOW), (3, NOW + 1_000_000, NOW)] {
            let line = json!({"sha256": format!("{n:02x}").repeat(32), "kind": "pat", "owner": "a@b.c",
                "name": "n", "last_used_at": "then"});
            let at = |_: &str| Some(Time::from_unix(claimed));
            let line = Line::read(line.as_object().cloned().unwrap(), at).unwrap();
            let hash = *line.hash();
            let fresh = [FreshIds { token: [n; 10], owner: [1; 10] }];
            town.change(|txn, _| take_in(txn, &By::local(0), &[line], &fresh)).unwrap();
            let token = Token::by_hash(&town.shelf, &hash).unwrap().unwrap().id;
            let last = |town: &Town| LastUsed::of(&town.shelf, token).unwrap().unwrap().at.unix();
            assert_eq!(last(&town), stored);
            let real = LastUsed { token, at: Time::from_unix(NOW + 1), ip: None };
            town.change(|txn, _| last_use::write(txn, &[real])).unwrap();
            assert_eq!(last(&town), NOW + 1);
        }
    }

    #[test]
    fn a_row_says_what_its_line_said() {
        use crate::rules::town::{NOW, Town};
        let mut town = Town::new();
        let at = |text: &str| text.parse().ok().map(Time::from_unix);
        let (made, end, revoked) = (NOW - 100, NOW + 50, NOW - 5);
        let line = json!({"sha256": "07".repeat(32), "kind": "pat", "owner": "a@b.c", "name": "nightly",
            "scope": "reports:read", "created_at": made.to_string(), "expires_at": end.to_string(),
            "revoked_at": revoked.to_string()});
        let board = json!({"sha256": "08".repeat(32), "kind": "link", "owner": "acme", "name": "Board",
            "revoked_at": (NOW + 9).to_string()});
        let lines = [line, board].map(|json| Line::read(json.as_object().cloned().unwrap(), at).unwrap());
        let fresh = [1, 2].map(|n| FreshIds { token: [n; 10], owner: [n; 10] });
        town.change(|txn, _| take_in(txn, &By::local(0), &lines, &fresh)).unwrap();
        let row = |n: u8| Token::by_hash(&town.shelf, &TokenHash::from_bytes([n; 32])).unwrap().unwrap();
        let pat = row(7);
        assert_eq!((pat.name.as_str(), pat.scope.as_str()), ("nightly", "reports:read"));
        assert_eq!((pat.created_at, pat.expires_at), (Time::from_unix(made), Some(Time::from_unix(end))));
        assert_eq!((pat.span_seconds, pat.revoked_at), (Some(150), Some(Time::from_unix(revoked))));
        assert_eq!(row(8).revoked_at, Some(Time::from_unix(NOW)), "not in the future");
        let board = row(8).link().unwrap().clone();
        assert_eq!(
            (board.label.as_deref(), board.redirect.as_str(), board.single_use),
            (Some("Board"), "/", false)
        );
    }
}
