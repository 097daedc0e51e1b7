//! What is sealed, for another implementation to open, and what another implementation sealed.
//!
//! Both tests belong to `tests/thorough/parts/envelopes.py`, which runs them with the files they work on. The
//! rows are those that enrolments really leave in a store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::{env, fs};

use bearerd::records::host::{Replay, Sealed, SealedFor};
use bearerd::records::{By, Record as _};
use bearerd::rules::enrollment::{self, FreshHost, Joining, Proof, Statement, Wanted, Wish};
use bearerd::rules::tokens::Fresh;
use bearerd::rules::{Refusal, Terms};
use bearerd::settings::Settings;
use bearerd::store::{Founding, FreshStore, Options, Store};
use bearerd::token::{Key, KeyId, Keyring, Secret, seal};
use serde_json::{Map, Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Bytes that are different in each call.
struct Dice(u64);

impl Dice {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_be_bytes()[3]
        })
    }

    fn fresh(&mut self) -> Fresh {
        Fresh { id: self.bytes(), secret: self.bytes().into() }
    }
}

fn keyring() -> Keyring {
    let fresh = std::array::from_fn(|place| u8::try_from(place).unwrap());
    Keyring::generate(KeyId::new("2026-11").unwrap(), &fresh).unwrap()
}

fn terms_of<'a>(settings: &'a Settings, keyring: &'a Keyring) -> Terms<'a> {
    Terms { settings, keyring }
}

/// Mints an enrolment with credentials and redeems it. What another program needs to know to open the
/// three envelopes, and what it must find in them.
fn enrolment(store: &Store, keyring: &Keyring, dice: &mut Dice, number: usize) -> Value {
    let credentials: Map<String, Value> =
        json!({ "number": number, "fill": "é".repeat(number % 700) }).as_object().unwrap().clone();
    let wanted = Wanted::new(&Wish { credentials: Some(credentials.clone()), ..Wish::default() }).unwrap();
    let settings = Settings::default();
    let root = |keyring: &Keyring| Keyring::parse(keyring.to_text().expose()).unwrap();
    let (fresh, nonce, own) = (dice.fresh(), dice.bytes(), root(keyring));
    let minted = store
        .write_blocking(move |txn| {
            enrollment::mint(txn, terms_of(&settings, &own), &By::system(), wanted, &fresh, nonce)
        })
        .unwrap()
        .unwrap();
    let row = |holder: SealedFor| Sealed::at(&*store.view(), &holder.key()).unwrap().unwrap().envelope;
    let for_token = row(SealedFor::Enrollment(minted.token.id));
    let (hostname, attempt) = (format!("Host-{number}"), hex(&dice.bytes::<16>()));
    let proof = Proof::new(minted.secret.duplicate(), Some(Secret::new(attempt.clone())), &hostname);
    let statement = Statement {
        hostname: hostname.clone(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        ..Statement::default()
    };
    let joining = Joining::new(statement, &proof).unwrap();
    let fresh =
        FreshHost { host: dice.bytes(), agent: dice.fresh(), credentials: dice.bytes(), reply: dice.bytes() };
    let (settings, own) = (Settings::default(), root(keyring));
    let enrolled = store
        .write_blocking(move |txn| {
            let terms = terms_of(&settings, &own);
            enrollment::redeem(txn, terms, None, &proof, joining, &|_| None, &fresh)
        })
        .unwrap()
        .map_err(|refusal: Refusal| refusal)
        .unwrap();
    let kept = Replay::at(&*store.view(), minted.token.id.as_bytes()).unwrap().unwrap();
    json!({
        "keyring": keyring.to_text().expose(),
        "token": minted.secret.expose(),
        "attempt": attempt,
        "hostname": hostname,
        "host_id": enrolled.host.to_string(),
        "for_token": hex(&for_token),
        "for_host": hex(&row(SealedFor::Host(enrolled.host))),
        "reply": hex(&kept.envelope),
        "credentials": serde_json::to_string(&credentials).unwrap(),
        "agent_token": enrolled.agent_token.expose(),
    })
}

#[test]
#[ignore = "tests/thorough/parts/envelopes.py runs it, with the file to write in BEARERD_ENVELOPES"]
fn write_rows() {
    let count: usize = env::var("BEARERD_ROUNDS").map_or(10_000, |count| count.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let keyring = keyring();
    let fresh = FreshStore { id: dice.bytes(), key: Key::new(dice.bytes()), nonce: dice.bytes() };
    let founding = Founding::new(keyring.current(), fresh, 1_800_000_000_000).unwrap();
    let store = Store::in_memory(&founding, &Options::default()).unwrap();
    let mut out = BufWriter::new(fs::File::create(env::var("BEARERD_ENVELOPES").unwrap()).unwrap());
    for number in 0..count {
        writeln!(out, "{}", enrolment(&store, &keyring, &mut dice, number)).unwrap();
    }
    out.flush().unwrap();
}

#[test]
#[ignore = "tests/thorough/parts/envelopes.py runs it, with the file to read in BEARERD_ENVELOPES"]
fn open_theirs() {
    let text = fs::read_to_string(env::var("BEARERD_ENVELOPES").unwrap()).unwrap();
    let mut opened = 0;
    for line in text.lines() {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let said = |name: &str| theirs[name].as_str().unwrap();
        let keyring = Keyring::parse(said("keyring")).unwrap();
        let plain = seal::open(&keyring, said("associated"), &unhex(said("envelope"))).unwrap();
        assert_eq!(hex(&plain), said("plain"));
        opened += 1;
    }
    assert!(opened > 0);
}

#[test]
fn the_example_in_the_documentation_is_what_is_sealed() {
    let nonce = std::array::from_fn(|place| 0x40 + u8::try_from(place).unwrap());
    let associated = "bearerd/1/host/host_01h455vb4pex5vsknk084sn02q";
    let envelope = seal::seal(keyring().current(), nonce, associated, b"{\"a\":1}").unwrap();
    let page = include_str!("../docs/enrolment.md");
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(unhex(&shown.replace([' ', '\n'], "")), envelope);
    assert!(page.contains("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"));
}
