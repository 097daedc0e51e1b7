//! Every record as its bytes lie in the stores that there are, and the keys of the indexes that lead to it.
//!
//! A field more, another order of fields or of an enum's variants, another name of a table or another derived key, and
//! no store that was ever written could be read; or worse, it would be read and say something else. So a line of
//! `frozen.txt` never changes. A record that has to look different gets a new `VERSION`, a step in `store/migrate.rs`
//! that reads the old one, and a line of its own; what is new is added.

use core::fmt::Debug;

use super::{
    Hint, Record, StoreKeys, TableId, Time,
    audit::{Actor, Entry, Touched},
    client::{Client, Project},
    codec,
    host::{Host, Replay, Sealed, SealedFor},
    meta::{AuditHead, Count, HighestTime, PurgeHold, Setup},
    token::{Detail, Enrollment, Format, LastUsed, Link, Owner, Token, Tombstone, Uses},
    user::{PasswordHash, User},
};
use crate::token::{ClientId, HostId, Key, KeyId, Kind, TokenId, UserId};

const FROZEN: &str = include_str!("frozen.txt");

const TOKEN: TokenId = TokenId::from_bytes([0x11; 16]);
const USER: UserId = UserId::from_bytes([0x22; 16]);
const HOST: HostId = HostId::from_bytes([0x33; 16]);
const CLIENT: ClientId = ClientId::from_bytes([0x44; 16]);
const THEN: Time = Time::from_unix(1_800_000_000);
const LATER: Time = Time::from_unix(1_800_000_300);

/// The lines as they are now, one for each thing that a store holds.
struct Lines {
    keys: StoreKeys,
    text: String,
}

impl Lines {
    fn record<R: Record + PartialEq + Debug>(&mut self, what: &str, record: &R) {
        let (table, key) = (R::TABLE, record.key());
        let stored = codec::encode(&self.keys.records, table, &key, R::VERSION, record).unwrap();
        let read = codec::decode::<R>(&self.keys.records, table, &key, R::VERSION, &stored);
        assert_eq!(read.as_ref(), Ok(record), "{what}");
        self.line(&format!("{what} {} {} {}", table.name(), hex(&key), hex(&stored)));
    }

    fn hints(&mut self, what: &str, hints: Vec<Hint>) {
        for (table, key, value) in hints {
            self.line(&format!("{what}-hint {} {} {}", table.name(), hex(&key), hex(&value)));
        }
    }

    fn token(&mut self, what: &str, token: &Token) {
        self.record(what, token);
        self.hints(what, token.hints());
    }

    fn user(&mut self, what: &str, user: &User) {
        self.record(what, user);
        self.hints(what, user.hints());
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn lines() -> String {
    let mut lines = Lines { keys: StoreKeys::derive(&Key::new([0x5e; 32])), text: String::new() };
    for table in TableId::ALL {
        lines.line(&format!("table {} {}", table.number(), table.name()));
    }
    tokens(&mut lines);
    people(&mut lines);
    fleet(&mut lines);
    singletons(&mut lines);
    log(&mut lines);
    lines.text
}

fn tokens(lines: &mut Lines) {
    let plain = |kind, owner| Token::plain(TOKEN, kind, [0xaa; 32], owner, THEN);
    lines.token("install", &Token { consumed_at: Some(LATER), ..plain(Kind::Install, Owner::Nobody) });
    let detail = Detail::Session { epoch: 3, idle_seconds: 3_600 };
    lines.token("session", &Token { detail, ..plain(Kind::Session, Owner::User(USER)) });
    let pat = Token {
        name: "laptop".to_owned(),
        scope: "reports:read general".to_owned(),
        format: Format::Jwt(KeyId::new("2026-11-22").unwrap()),
        span_seconds: Some(300),
        expires_at: Some(LATER),
        revoked_at: Some(LATER),
        enabled: false,
        allowed_ips: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        max_uses: Some(1_000),
        metadata: Some("{\"team\":\"a\"}".to_owned()),
        entry: 70_000,
        ..plain(Kind::Pat, Owner::User(USER))
    };
    lines.token("pat", &pat);
    let imported = Token { format: Format::Imported, ..plain(Kind::Pat, Owner::User(USER)) };
    lines.token("imported", &imported);
    let enrollment = |full: bool| {
        Detail::Enrollment(Box::new(Enrollment {
            hostname: full.then(|| "web-1".to_owned()),
            pin_hostname: full,
            tags: if full { vec!["eu".to_owned(), "web".to_owned()] } else { Vec::new() },
            facts: full.then(|| "{}".to_owned()),
            host: full.then_some(HOST),
        }))
    };
    for (what, full) in [("enrollment", true), ("enrollment-bare", false)] {
        lines.token(what, &Token { detail: enrollment(full), ..plain(Kind::Enrollment, Owner::Nobody) });
    }
    lines.token("agent", &plain(Kind::Agent, Owner::Host(HOST)));
    let link = Link { label: Some("Jo".to_owned()), redirect: "/board".to_owned(), single_use: true };
    let detail = Detail::Link(Box::new(link));
    lines.token("link", &Token { detail, ..plain(Kind::Link, Owner::Client(CLIENT)) });
    let used = |ip: Option<&str>| LastUsed { token: TOKEN, at: THEN, ip: ip.map(|ip| ip.parse().unwrap()) };
    lines.record("last-used-v4", &used(Some("192.0.2.7")));
    lines.record("last-used-v6", &used(Some("2001:db8::7")));
    lines.record("last-used", &used(None));
    lines.record("uses", &Uses { token: TOKEN, count: 5 });
    lines.record("tombstone", &Tombstone { hash: [0xaa; 32], entry: 6 });
    for kind in Kind::ALL {
        lines.record("count", &Count { kind, stored: 9 });
    }
}

fn people(lines: &mut Lines) {
    let ada = User {
        id: USER,
        email: "Ada@example.org".to_owned(),
        name: Some("Ada".to_owned()),
        groups: vec!["admin".to_owned(), "staff".to_owned()],
        active: true,
        password: Some(PasswordHash::new("$argon2id$".to_owned())),
        session_epoch: 3,
        service: None,
        created_at: THEN,
        updated_at: LATER,
        entry: 7,
    };
    lines.user("user", &ada);
    let service = User {
        email: "scheduler@system.local".to_owned(),
        name: None,
        groups: Vec::new(),
        active: false,
        password: None,
        service: Some("scheduler".to_owned()),
        ..ada
    };
    lines.user("service", &service);
}

fn fleet(lines: &mut Lines) {
    let host = Host {
        agent_version: Some("1.2".to_owned()),
        tags: vec!["eu".to_owned()],
        facts: Some("{}".to_owned()),
        enrollment: Some(TOKEN),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        updated_at: LATER,
        id: HOST,
        entry: 8,
        ..Host::supposed("Web-1")
    };
    lines.record("host", &host);
    lines.hints("host", host.hints());
    lines.record("host-bare", &Host { id: HOST, ..Host::supposed("web-1") });
    for holder in [SealedFor::Enrollment(TOKEN), SealedFor::Host(HOST)] {
        lines.record("sealed", &Sealed { holder, envelope: vec![1, 2, 3], entry: 9 });
    }
    let replay = Replay {
        enrollment: TOKEN,
        host: HOST,
        agent_token: TOKEN,
        envelope: vec![4, 5],
        expires_at: LATER,
        ip: Some("192.0.2.7".parse().unwrap()),
        entry: 10,
    };
    lines.record("replay", &replay);
    let client = Client { id: CLIENT, entry: 11, ..Client::supposed("acme") };
    lines.record("client", &client);
    lines.hints("client", client.hints());
    for preview in [false, true] {
        let project = Project {
            name: "p1".to_owned(),
            client: CLIENT,
            preview_client: preview.then_some(CLIENT),
            preview_link: preview.then_some(TOKEN),
            entry: 12,
        };
        lines.record("project", &project);
    }
}

fn singletons(lines: &mut Lines) {
    lines.record("setup-pending", &Setup::default());
    let complete = Setup { completed_at: Some(THEN), reopened: true, install_token: Some(TOKEN), entry: 1 };
    lines.record("setup", &complete);
    lines.record("highest-time", &HighestTime { millis: 1_800_000_000_123 });
    lines.record("head", &AuditHead { seq: 20, hash: [0xbb; 32], cut_seq: 2, cut_hash: [0xcc; 32] });
    lines.record("purge-hold", &PurgeHold { until: LATER, seen: THEN });
}

/// Entries by everybody who can act, each chained to the one before.
fn log(lines: &mut Lines) {
    let actors =
        [Actor::System, Actor::Local(1_000), Actor::User(USER), Actor::Host(HOST), Actor::Client(CLIENT)];
    let mut before = [0; 32];
    for (seq, actor) in (1..).zip(actors) {
        let mut entry = Entry {
            seq,
            at: THEN,
            actor,
            actor_label: "somebody".to_owned(),
            action: "token.create".to_owned(),
            resource: TOKEN.to_string(),
            params: "{\"name\":\"n\"}".to_owned(),
            ip: (seq > 1).then(|| "192.0.2.7".parse().unwrap()),
            touched: vec![Touched { table: TableId::Tokens.number(), key: TOKEN.as_bytes().to_vec() }],
            hash: [0; 32],
        };
        entry.hash = entry.chained(&lines.keys.audit, &before).unwrap();
        before = entry.hash;
        lines.record("entry", &entry);
    }
}

#[test]
fn what_lies_in_a_store_is_read_as_it_was_written() {
    let now = lines();
    for (number, (frozen, now)) in (1..).zip(FROZEN.lines().zip(now.lines())) {
        assert_eq!(now, frozen, "line {number} of frozen.txt, which never changes");
    }
    let count = |text: &str| text.lines().count();
    assert_eq!(count(&now), count(FROZEN), "what is new is added to frozen.txt:\n{now}");
}
