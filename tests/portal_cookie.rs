//! The portal cookie against an independent implementation of its documented format, both ways: what we
//! mint, Python makes byte for byte and reads; what Python mints, we read; what Python forges, both refuse.
//!
//! Part of the thorough run, since it needs `python3`: `cargo test --test portal_cookie -- --ignored`.
//! `BEARERD_TEST_ROUNDS` says how many cases there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use bearerd::token::{KeyId, Keyring, TokenId, cookie};
use rand::TryRng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

struct Case {
    keyring: Keyring,
    root: [u8; 32],
    kid: String,
    store: [u8; 16],
    link: [u8; 16],
    issued: u64,
}

/// Bytes that look random and come again for the same seed.
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::digest([self.seed.to_be_bytes(), self.drawn.to_be_bytes()].concat()).into()
    }

    fn half(&mut self) -> [u8; 16] {
        *self.bytes().first_chunk().unwrap()
    }

    fn number(&mut self) -> u64 {
        u64::from_be_bytes(*self.bytes().first_chunk().unwrap())
    }
}

impl Case {
    fn draw(draws: &mut Draws) -> Self {
        let letters = draws.bytes();
        let length = 1 + usize::from(draws.half()[0] % 32);
        let kid: String = letters[..length]
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
            .collect();
        let root = draws.bytes();
        let keyring = Keyring::generate(KeyId::new(&kid).unwrap(), &root).unwrap();
        Self { keyring, root, kid, store: draws.half(), link: draws.half(), issued: draws.number() }
    }

    fn to_line(&self) -> String {
        let ours =
            cookie::mint(self.keyring.current(), &self.store, TokenId::from_bytes(self.link), self.issued);
        json!({
            "root": hex(&self.root), "kid": self.kid, "store": hex(&self.store), "link": hex(&self.link),
            "issued": self.issued, "cookie": ours.expose(),
        })
        .to_string()
    }

    /// What we take a text for: the link and when it was issued, or nothing.
    fn read(&self, text: &str) -> Value {
        cookie::verify(&self.keyring, &self.store, text)
            .map_or(Value::Null, |read| json!([hex(read.link.as_bytes()), read.issued]))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
#[ignore = "thorough: needs python3"]
fn our_cookie_and_pythons_agree_both_ways() {
    let rounds = std::env::var("BEARERD_TEST_ROUNDS").map_or(2_000, |rounds| rounds.parse().unwrap());
    let seed = rand::rngs::SysRng.try_next_u64().unwrap();
    eprintln!("seed {seed}");
    let mut draws = Draws { seed, drawn: 0 };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/thorough/portal_cookie.py");
    let mut python = Command::new("python3")
        .args([script, &seed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut asked = python.stdin.take().unwrap();
    let cases: Vec<Case> = (0..rounds).map(|_| Case::draw(&mut draws)).collect();
    let (mut genuine, mut forged) = (0, 0);
    std::thread::scope(|scope| {
        let cases = &cases;
        scope.spawn(move || {
            for case in cases {
                writeln!(asked, "{}", case.to_line()).unwrap();
            }
        });
        let mut answers = BufReader::new(python.stdout.take().unwrap()).lines();
        for case in cases {
            let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
            let line = case.to_line();
            assert_eq!(answer["same"], true, "{line}");
            assert_eq!(answer["read"], json!([hex(&case.link), case.issued]), "{line}");
            for candidate in answer["candidates"].as_array().unwrap() {
                let text = candidate[0].as_str().unwrap();
                assert_eq!(case.read(text), candidate[1], "{text:?} for {line}");
                *(if candidate[1].is_null() { &mut forged } else { &mut genuine }) += 1;
            }
        }
    });
    assert!(python.wait().unwrap().success());
    assert!(genuine >= rounds && forged > rounds, "{genuine} genuine, {forged} forged");
    eprintln!("{rounds} of ours, {genuine} genuine and {forged} forged ones of Python's: agreed on all");
}
