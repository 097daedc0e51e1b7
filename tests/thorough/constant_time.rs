//! Whether the comparison of service secrets tells anything by its time: how much of a guess is right, or
//! which service and which of its secrets matched.
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

use std::{hint::black_box, process::ExitCode, time::Instant};

use bearerd::token::{
    Key, Secret, ServiceName, ServiceSecrets,
    service_secrets::{Service, Slot},
};

const SERVICES: usize = 8;
const SLOTS: usize = 2;
const SECRET_BYTES: usize = 64;
const SAMPLES_IN_A_BATCH: usize = 5_000;
const BATCHES: usize = 60;
const QUICK_BATCHES: usize = 20;
const CALLS_IN_A_SAMPLE: usize = 4;
const RUNS: usize = 3;
/// Beyond this |t| something is told.
const ALARM: f64 = 4.5;
/// What the leaking comparison has to reach.
const POWER: f64 = 50.0;
/// Shares of the samples, fastest first, over which t is taken as well.
const CROPS: [f64; 5] = [1.0, 0.99, 0.95, 0.9, 0.5];

/// xorshift64*: what is drawn here is no secret.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn secret(&mut self) -> String {
        let letter = |dice: &mut Self| char::from(b'a' + u8::try_from(dice.next() % 26).unwrap());
        (0..SECRET_BYTES).map(|_| letter(self)).collect()
    }
}

/// The largest |t| over the crops.
fn leak(classes: [&dyn Fn(&mut Dice) -> String; 2], compare: &dyn Fn(&str) -> bool, batches: usize) -> f64 {
    let mut figures: Vec<f64> = (0..RUNS).map(|run| one_run(classes, compare, batches, run)).collect();
    figures.sort_by(f64::total_cmp);
    figures[RUNS / 2]
}

fn one_run(
    classes: [&dyn Fn(&mut Dice) -> String; 2],
    compare: &dyn Fn(&str) -> bool,
    batches: usize,
    run: usize,
) -> f64 {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ run as u64);
    let mut times: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    for batch in 0..batches {
        let inputs: Vec<(usize, String)> = (0..SAMPLES_IN_A_BATCH)
            .map(|_| {
                let class = usize::from(dice.next() >> 63 == 1);
                (class, classes[class](&mut dice))
            })
            .collect();
        for (class, input) in &inputs {
            let begun = Instant::now();
            for _ in 0..CALLS_IN_A_SAMPLE {
                black_box(compare(black_box(input)));
            }
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap();
            // The first batch warms up.
            if batch > 0 {
                times[*class].push(nanos);
            }
        }
    }
    let mut all: Vec<u64> = times.iter().flatten().copied().collect();
    all.sort_unstable();
    let figure = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
        let place = ((all.len() - 1) as f64 * share) as usize;
        let most = all[place];
        welch(&times[0], &times[1], most).abs()
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
fn careless(ours: &str, theirs: &str) -> bool {
    ours.len() == theirs.len() && ours.bytes().zip(theirs.bytes()).all(|(our, their)| black_box(our) == their)
}

fn main() -> ExitCode {
    let batches = if std::env::var_os("THOROUGH_QUICK").is_some() { QUICK_BATCHES } else { BATCHES };
    let mut dice = Dice(42);
    let secrets: Vec<Vec<String>> =
        (0..SERVICES).map(|_| (0..SLOTS).map(|_| dice.secret()).collect()).collect();
    let services: Vec<Service> = (0..)
        .zip(&secrets)
        .map(|(number, secrets)| Service {
            name: ServiceName::new(&format!("service-{number}")).unwrap(),
            slots: (0..)
                .zip(secrets)
                .map(|(line, secret)| Slot {
                    name: format!("line {line}"),
                    secret: Secret::new(secret.clone()),
                })
                .collect(),
        })
        .collect();
    let table = ServiceSecrets::new(&services, Key::new([7; 32])).unwrap();
    let find = |presented: &str| table.find(presented).is_some();

    let (first, last) = (&secrets[0][0], &secrets[SERVICES - 1][SLOTS - 1]);
    let nearly = |secret: &str| format!("{}#", &secret[..SECRET_BYTES - 1]);
    let random = |dice: &mut Dice| dice.secret();
    let nearly_first = |dice: &mut Dice| {
        dice.secret();
        nearly(first)
    };
    let nearly_last = |dice: &mut Dice| {
        dice.secret();
        nearly(last)
    };
    let right_first = |dice: &mut Dice| {
        dice.secret();
        first.clone()
    };
    let right_last = |dice: &mut Dice| {
        dice.secret();
        last.clone()
    };

    let control = leak([&nearly_first, &random], &|presented| careless(first, presented), batches);
    let itself = leak([&random, &random], &find, batches);
    if control < POWER || itself >= ALARM {
        println!("skip constant time: no power on this machine now (control {control:.1}, A/A {itself:.1})");
        return ExitCode::SUCCESS;
    }
    println!("ok constant time: a careless comparison is found out (|t| = {control:.0})");
    println!("ok constant time: one class against itself (|t| = {itself:.1})");
    let mut failed = false;
    let mut judge = |name: &str, classes: [&dyn Fn(&mut Dice) -> String; 2]| {
        let figure = leak(classes, &find, batches);
        let word = if figure < ALARM { "ok" } else { "FAIL" };
        failed |= figure >= ALARM;
        println!("{word} constant time: {name} (|t| = {figure:.1})");
    };
    judge("a guess that is right but for its last byte, and a random one", [&nearly_first, &random]);
    judge("a guess close to the first secret, and one close to the last", [&nearly_first, &nearly_last]);
    judge("the first secret of the first service, and the last one of the last", [&right_first, &right_last]);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
