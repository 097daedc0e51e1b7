//! Whether a comparison with a secret tells anything by its time: how much of a guess is right, or, of service
//! secrets, which service and which of its secrets matched. Every comparison that somebody from outside can reach:
//! the hash of a token, a service's secret, the MAC of a JWT, of a cookie and of a stored record, the tag of a sealed
//! reply (which takes the place of a comparison of attempts), and a login.
//!
//! The method of dudect (Reparaz, Balasch, Verbauwhede, 2017): two classes of inputs, interleaved at random,
//! each input made beforehand in memory of its own; Welch's t over all samples and over those below
//! percentiles of the time, since noise only ever adds. A small t proves nothing by itself, so a run counts
//! only together with a comparison that does leak and is found out (beyond 50), and with one class against
//! itself (below 4.5). Each figure is the middle one of three runs.
//!
//! Prints `ok`, `FAIL` or `skip` lines; fails if something leaks or the method has no power here. To be run
//! with the optimisations that are shipped: `cargo run --release --example constant_time`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a measurement"
)]

use std::{hint::black_box, process::ExitCode, str, time::Instant};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bearerd::{
    app::passwords::Passwords,
    records::{codec, view::TableId},
    settings::Limits,
    token::{
        Key, KeyId, Keyring, Secret, ServiceName, ServiceSecrets, TokenHash, TokenId, UserId, cookie, jwt,
        seal,
        service_secrets::{Service, Slot},
    },
};

const SERVICES: usize = 8;
const SLOTS: usize = 2;
const SECRET_BYTES: usize = 64;
const SAMPLES_IN_A_BATCH: usize = 5_000;
const BATCHES: usize = 1_000;
const QUICK_BATCHES: usize = 20;
/// Samples of the comparison that has to be found out, in batches.
const CONTROL_BATCHES: usize = 20;
/// Logins in a run: each takes an argon2id hash.
const LOGINS: usize = 600;
const QUICK_LOGINS: usize = 60;
const RUNS: usize = 3;
/// Beyond this |t| something is told.
const ALARM: f64 = 4.5;
/// What the leaking comparison has to reach.
const POWER: f64 = 50.0;
/// Shares of the samples, fastest first, over which t is taken as well.
const CROPS: [f64; 5] = [1.0, 0.99, 0.95, 0.9, 0.5];
const MAC_BYTES: usize = 32;
const RECORD_MAC_BYTES: usize = 16;

/// xorshift64*: what is drawn here is no secret.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn secret(&mut self) -> Vec<u8> {
        (0..SECRET_BYTES).map(|_| b'a' + u8::try_from(self.next() % 26).unwrap()).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// One class of inputs.
type Class<'a> = &'a dyn Fn(&mut Dice) -> Vec<u8>;

/// A comparison, how often it is called for a sample (a short one more often, so that the clock can tell), and how
/// many batches of samples it gets.
struct Compared<'a> {
    call: &'a dyn Fn(&[u8]) -> bool,
    calls: usize,
    batches: usize,
}

impl Compared<'_> {
    /// The largest |t| over the crops.
    fn leak(&self, classes: [Class<'_>; 2]) -> f64 {
        let mut figures: Vec<f64> = (0..RUNS).map(|run| largest(&self.times(classes, run))).collect();
        figures.sort_by(f64::total_cmp);
        figures[RUNS / 2]
    }

    fn times(&self, classes: [Class<'_>; 2], run: usize) -> [Vec<u64>; 2] {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ run as u64);
        let mut times: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
        // The first batch warms up.
        for batch in 0..=self.batches {
            let inputs: Vec<(usize, Vec<u8>)> = (0..SAMPLES_IN_A_BATCH)
                .map(|_| {
                    let class = usize::from(dice.next() >> 63 == 1);
                    (class, classes[class](&mut dice))
                })
                .collect();
            for (class, input) in &inputs {
                let begun = Instant::now();
                for _ in 0..self.calls {
                    black_box((self.call)(black_box(input)));
                }
                let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                if batch > 0 {
                    times[*class].push(nanos);
                }
            }
        }
        times
    }
}

/// The largest |t| over the crops of these times.
fn largest(times: &[Vec<u64>; 2]) -> f64 {
    let mut all: Vec<u64> = times.iter().flatten().copied().collect();
    all.sort_unstable();
    let figure = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
        let place = ((all.len() - 1) as f64 * share) as usize;
        welch(&times[0], &times[1], all[place]).abs()
    };
    CROPS.into_iter().map(figure).fold(0.0, f64::max)
}

/// Welch's t of the samples that are at most `most`.
fn welch(one: &[u64], other: &[u64], most: u64) -> f64 {
    let moments = |samples: &[u64]| {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for sample in samples.iter().filter(|sample| **sample <= most) {
            count += 1.0;
            let off = *sample as f64 - mean;
            mean += off / count;
            squares += off * (*sample as f64 - mean);
        }
        (count, mean, squares / (count - 1.0))
    };
    let ((n, mean_n, var_n), (m, mean_m, var_m)) = (moments(one), moments(other));
    let spread = (var_n / n + var_m / m).sqrt();
    if spread > 0.0 { (mean_n - mean_m) / spread } else { 0.0 }
}

/// What nobody should do: stops at the first difference.
fn careless(ours: &[u8], theirs: &[u8]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(our, their)| black_box(our) == their)
}

/// These bytes with another last one.
fn nearly(right: &[u8]) -> Vec<u8> {
    let mut near = right.to_vec();
    *near.last_mut().unwrap() ^= 1;
    near
}

/// Measures and tells.
struct Judge {
    batches: usize,
    failed: bool,
}

impl Judge {
    fn tell(&mut self, name: &str, figure: f64, samples: usize) {
        let word = if figure < ALARM { "ok" } else { "FAIL" };
        self.failed |= figure >= ALARM;
        println!("{word} constant time: {name} (|t| = {figure:.1}, three runs of {samples})");
    }

    fn compare(&mut self, name: &str, calls: usize, call: &dyn Fn(&[u8]) -> bool, classes: [Class<'_>; 2]) {
        let figure = Compared { call, calls, batches: self.batches }.leak(classes);
        self.tell(name, figure, self.batches * SAMPLES_IN_A_BATCH);
    }

    /// A guess that is right but for the last byte of `right`, against random ones; `spelled` puts either where it
    /// is looked for.
    fn guesses(
        &mut self,
        name: &str,
        call: &dyn Fn(&[u8]) -> bool,
        right: &[u8],
        spelled: &dyn Fn(&[u8]) -> Vec<u8>,
    ) {
        assert!(call(&spelled(right)) && !call(&spelled(&nearly(right))), "{name}: what is right is right");
        let near = |dice: &mut Dice| {
            dice.bytes(right.len());
            spelled(&nearly(right))
        };
        let random = |dice: &mut Dice| spelled(&dice.bytes(right.len()));
        self.compare(&format!("{name}: right but for the last byte, or random"), 1, call, [&near, &random]);
    }
}

/// Whether the method tells a leak from none, on this machine and now; without it nothing else counts.
fn has_power(judge: &Judge) -> bool {
    let right = Dice(1).secret();
    let call = |input: &[u8]| careless(&right, input);
    let (near, random) = (
        |dice: &mut Dice| {
            dice.secret();
            nearly(&right)
        },
        |dice: &mut Dice| dice.secret(),
    );
    let control = Compared { call: &call, calls: 4, batches: CONTROL_BATCHES }.leak([&near, &random]);
    let hash = TokenHash::from_bytes([7; MAC_BYTES]);
    let call = |input: &[u8]| hash.matches(&TokenHash::from_bytes(*input.first_chunk().unwrap()));
    let itself = Compared { call: &call, calls: 4, batches: judge.batches }.leak([&random, &random]);
    if control < POWER || itself >= ALARM {
        println!("skip constant time: no power on this machine now (control {control:.1}, A/A {itself:.1})");
        return false;
    }
    println!("ok constant time: a careless comparison is found out (|t| = {control:.0})");
    println!("ok constant time: one class against itself (|t| = {itself:.1})");
    true
}

fn tokens(judge: &mut Judge) {
    let right = Dice(2).bytes(MAC_BYTES);
    let row = TokenHash::from_bytes(*right.first_chunk().unwrap());
    let call = |input: &[u8]| row.matches(&TokenHash::from_bytes(*input.first_chunk().unwrap()));
    judge.guesses("the hash of a token", &call, &right, &<[u8]>::to_vec);
}

fn service_secrets(judge: &mut Judge) {
    let mut dice = Dice(42);
    let secrets: Vec<Vec<Vec<u8>>> =
        (0..SERVICES).map(|_| (0..SLOTS).map(|_| dice.secret()).collect()).collect();
    let slot = |(line, secret): (usize, &Vec<u8>)| Slot {
        name: format!("line {line}"),
        secret: Secret::new(String::from_utf8(secret.clone()).unwrap()),
    };
    let service = |(number, secrets): (usize, &Vec<Vec<u8>>)| Service {
        name: ServiceName::new(&format!("service-{number}")).unwrap(),
        slots: secrets.iter().enumerate().map(slot).collect(),
    };
    let services: Vec<Service> = secrets.iter().enumerate().map(service).collect();
    let table = ServiceSecrets::new(&services, Key::new([7; 32])).unwrap();
    let find = |presented: &[u8]| table.find(str::from_utf8(presented).unwrap()).is_some();
    let (first, last) = (&secrets[0][0], &secrets[SERVICES - 1][SLOTS - 1]);
    assert!(find(first) && find(last) && !find(&nearly(first)));

    let random = |dice: &mut Dice| dice.secret();
    let fixed = |input: Vec<u8>| {
        move |dice: &mut Dice| {
            dice.secret();
            input.clone()
        }
    };
    let (near_first, near_last) = (fixed(nearly(first)), fixed(nearly(last)));
    let (right_first, right_last) = (fixed(first.clone()), fixed(last.clone()));
    let name = |what: &str| format!("a service's secret: {what}");
    judge.compare(&name("right but for the last byte, or random"), 1, &find, [&near_first, &random]);
    judge.compare(&name("close to the first, or to the last"), 1, &find, [&near_first, &near_last]);
    judge.compare(
        &name("the first of the first service, or the last of the last"),
        1,
        &find,
        [&right_first, &right_last],
    );
}

/// Puts a MAC behind the last dot of a text, in base64url.
fn signed(text: &str, mac: &[u8]) -> Vec<u8> {
    [text.as_bytes(), b".", Base64UrlUnpadded::encode_string(mac).as_bytes()].concat()
}

fn macs(judge: &mut Judge) {
    let keyring = Keyring::generate(KeyId::new("k").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
    let link = TokenId::from_parts(1_763_790_114_000, [7; 10]);
    let claims = jwt::Claims {
        iss: "https://example.com".to_owned(),
        sub: UserId::from_parts(1_763_790_114_000, [8; 10]),
        email: None,
        jti: link,
        scope: "general".to_owned(),
        iat: 1_763_790_114,
        exp: None,
    };
    let token = jwt::mint(keyring.current(), &claims).unwrap();
    let (text, mac) = token.expose().rsplit_once('.').unwrap();
    let mac = Base64UrlUnpadded::decode_vec(mac).unwrap();
    let call = |input: &[u8]| jwt::verify(&keyring, str::from_utf8(input).unwrap()).is_ok();
    judge.guesses("the MAC of a JWT", &call, &mac, &|mac| signed(text, mac));

    let store = [1; 16];
    let token = cookie::mint(keyring.current(), &store, link, 1_763_790_114);
    let (text, mac) = token.expose().rsplit_once('.').unwrap();
    let mac = Base64UrlUnpadded::decode_vec(mac).unwrap();
    let call = |input: &[u8]| cookie::verify(&keyring, &store, str::from_utf8(input).unwrap()).is_ok();
    judge.guesses("the MAC of a cookie", &call, &mac, &|mac| signed(text, mac));

    let (key, macs) = (Key::new([9; 32]), Key::new([9; 32]).for_macs());
    let row = codec::encode(&macs, TableId::Tokens, b"key", 1, &"x".repeat(200)).unwrap();
    let (body, mac) = row.split_at(row.len() - RECORD_MAC_BYTES);
    let call = |input: &[u8]| codec::decode::<String>(&macs, TableId::Tokens, b"key", 1, input).is_ok();
    judge.guesses("the MAC of a record", &call, mac, &|mac| [body, mac].concat());

    let envelope = seal::seal_unnamed(&key, [3; 24], "web-1", &[5; 80]).unwrap();
    let (body, tag) = envelope.split_at(envelope.len() - RECORD_MAC_BYTES);
    let call = |input: &[u8]| seal::open_unnamed(&key, "web-1", input).is_ok();
    judge.guesses("the tag of a sealed reply", &call, tag, &|tag| [body, tag].concat());
}

/// Somebody with a wrong password, against nobody at all.
fn logins(judge: &mut Judge, logins: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let passwords = Passwords::new(&Limits::default());
    let hash = runtime.block_on(passwords.hash(Secret::new("correct horse battery".to_owned()))).unwrap();
    let mut figures: Vec<f64> = (0..RUNS)
        .map(|run| {
            let mut dice = Dice(0xD1CE ^ run as u64);
            let mut times: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..logins {
                let class = usize::from(dice.next() >> 63 == 1);
                let known = (class == 0).then(|| hash.clone());
                let wrong = Secret::new(String::from_utf8(dice.secret()).unwrap());
                let begun = Instant::now();
                let outcome = runtime.block_on(passwords.verify(wrong, known)).unwrap();
                times[class].push(u64::try_from(begun.elapsed().as_nanos()).unwrap());
                assert!(!outcome);
            }
            largest(&times)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    judge.tell("a login: a wrong password, or an e-mail that nobody has", figures[RUNS / 2], logins);
}

fn main() -> ExitCode {
    let quick = std::env::var_os("THOROUGH_QUICK").is_some();
    let mut judge = Judge { batches: if quick { QUICK_BATCHES } else { BATCHES }, failed: false };
    if !has_power(&judge) {
        return ExitCode::SUCCESS;
    }
    tokens(&mut judge);
    service_secrets(&mut judge);
    macs(&mut judge);
    logins(&mut judge, if quick { QUICK_LOGINS } else { LOGINS });
    if judge.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
