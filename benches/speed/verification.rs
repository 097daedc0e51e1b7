//! Verification in all its forms, each in turn with the bare server.

use std::time::Duration;

use serde::Serialize;

use super::{
    known::{Known, Sort},
    load::{self, Figures, Load, Until},
    server::Server,
    stock::SECRET,
};

/// Connections at once.
const CONNECTIONS: usize = 32;
/// Tokens of one question: about as many as it is asked in all rounds where the store is large.
const ASKED: u64 = 200_000;
/// Tokens of one batch.
const BATCH: usize = 1_000;
const BATCH_CONNECTIONS: usize = 4;
/// What is asked unmeasured before a question's first round.
const WARM_UP: Duration = Duration::from_millis(150);

/// What one question came to.
#[derive(Serialize)]
pub struct Answered {
    pub name: &'static str,
    pub access: &'static str,
    pub ours: Figures,
    pub bare: Figures,
    /// Of the throughput, the median over rounds.
    pub ratio: f64,
    /// Of the processor time for each request, likewise.
    pub cpu_ratio: f64,
}

/// Which tokens are asked about.
#[derive(Clone, Copy)]
pub enum Access {
    /// Any, each as often as another.
    Uniform,
    /// The `n`th most asked about with a frequency of 1/n (Zipf's law).
    Skewed,
}

impl Access {
    const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Skewed => "skewed",
        }
    }

    /// Numbers of tokens of one sort, in the order in which they are asked about.
    pub fn tokens(self, known: &Known, sort: Sort, count: u64) -> impl Iterator<Item = u64> {
        let all = known.tokens;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..count).map(move |_| {
            let share = step(&mut state);
            let n = match self {
                Self::Uniform => (share * all as f64) as u64,
                // The rank's logarithm is uniform; ranks are spread over the whole store.
                Self::Skewed => spread((all as f64).powf(share) as u64, all),
            };
            sort.near(n.min(all - 1))
        })
    }
}

/// A number from 0 up to but not including 1 (Vigna's splitmix).
fn step(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Where the token of that rank lies.
fn spread(rank: u64, all: u64) -> u64 {
    const PRIME: u128 = 2_654_435_761;
    (u128::from(rank) * PRIME % u128::from(all)) as u64
}

struct Question {
    name: &'static str,
    access: Access,
    requests: Vec<Vec<u8>>,
    status: u16,
    begins: &'static [u8],
}

const ACTIVE: &[u8] = b"{\"active\":true";
const INACTIVE: &[u8] = b"{\"active\":false";

/// The request that asks by introspection about a token.
pub fn introspect(token: &str) -> Vec<u8> {
    load::form("/v1/introspect", SECRET, &format!("token={token}"))
}

/// Requests about opaque PATs.
pub fn about_pats(known: &Known, access: Access, count: u64) -> Vec<Vec<u8>> {
    access.tokens(known, Sort::Opaque, count).map(|n| introspect(known.text(n).expose())).collect()
}

type Ask = fn(&Known, u64) -> Vec<u8>;

/// Every question: its name, what it asks about, how, and what the answer is.
const QUESTIONS: [(&str, Sort, Ask, u16, &[u8]); 6] = [
    ("introspect, opaque PAT", Sort::Opaque, |known, n| introspect(known.text(n).expose()), 200, ACTIVE),
    (
        "authorize, opaque PAT",
        Sort::Opaque,
        |known, n| load::get("/v1/authorize", &load::bearer(known.text(n).expose())),
        200,
        b"",
    ),
    (
        "authorize, portal cookie",
        Sort::Link,
        |known, n| {
            load::get("/v1/authorize", &format!("Cookie: portal_session={}", known.cookie(n).expose()))
        },
        200,
        b"",
    ),
    ("introspect, JWT PAT", Sort::Jwt, |known, n| introspect(known.text(n).expose()), 200, ACTIVE),
    ("introspect, a miss", Sort::Opaque, |known, n| introspect(known.unknown(n).expose()), 200, INACTIVE),
    (
        "introspect, bad checksum",
        Sort::Opaque,
        |known, n| {
            let text = known.text(n);
            let (rest, last) = text.expose().split_at(text.expose().len() - 1);
            introspect(&format!("{rest}{}", if last == "0" { "1" } else { "0" }))
        },
        200,
        INACTIVE,
    ),
];

/// Asks every question, uniform and skewed, `rounds` times for `span` each.
pub fn all(daemon: &Server, known: &Known, rounds: usize, span: Duration) -> Vec<Answered> {
    let mut answered = Vec::new();
    for (name, sort, ask, status, begins) in QUESTIONS {
        for access in [Access::Uniform, Access::Skewed] {
            let is_same_for_all = begins == INACTIVE && matches!(access, Access::Skewed);
            if is_same_for_all {
                continue;
            }
            let requests = access.tokens(known, sort, ASKED).map(|n| ask(known, n)).collect();
            let question = Question { name, access, requests, status, begins };
            answered.push(question.asked(daemon, rounds, span));
            super::say(answered.last().unwrap());
        }
    }
    answered
}

impl Question {
    fn asked(&self, daemon: &Server, rounds: usize, span: Duration) -> Answered {
        let load = |server, begins| Load::of(server, CONNECTIONS, &self.requests, self.status, begins);
        let limit = Server::limit(answer_bytes(daemon, &self.requests[0]), self.status);
        let (to_us, to_bare) = (load(daemon, self.begins), load(&limit, b""));
        load::run(&to_us, Until::Elapsed(WARM_UP));
        load::run(&to_bare, Until::Elapsed(WARM_UP));
        let mut ours = Vec::new();
        let mut bare = Vec::new();
        for _ in 0..rounds {
            bare.push(load::run(&to_bare, Until::Elapsed(span)));
            ours.push(load::run(&to_us, Until::Elapsed(span)));
        }
        let ratio = |figure: fn(&Figures) -> f64| {
            load::median(ours.iter().zip(&bare).map(|(ours, bare)| figure(ours) / figure(bare)).collect())
        };
        Answered {
            name: self.name,
            access: self.access.name(),
            ratio: ratio(|figures| figures.per_second),
            cpu_ratio: ratio(|figures| figures.cpu_micros),
            ours: Figures::medians(&ours),
            bare: Figures::medians(&bare),
        }
    }
}

/// How many bytes the daemon's answer to `request` has, beyond what the bare server's would have without a body:
/// what is in its head counts, too.
fn answer_bytes(daemon: &Server, request: &[u8]) -> usize {
    /// What hyper's own head has: status line, length and date.
    const HEAD_BYTES: usize = 75;
    daemon.answer_length(request).saturating_sub(HEAD_BYTES)
}

/// Tokens a second by batch introspection.
#[derive(Serialize)]
pub struct Batches {
    pub access: &'static str,
    pub tokens_per_second: f64,
    pub cpu_micros_a_token: f64,
}

/// Batches of a thousand opaque PATs each: uniform, of more different tokens than rows are held in memory.
pub fn batches(daemon: &Server, known: &Known, access: Access, rounds: usize, span: Duration) -> Batches {
    let all: Vec<u64> = access.tokens(known, Sort::Opaque, ASKED).collect();
    let requests: Vec<Vec<u8>> = all
        .chunks(BATCH)
        .map(|chunk| {
            let texts: Vec<String> =
                chunk.iter().map(|n| format!("\"{}\"", known.text(*n).expose())).collect();
            load::json("/v1/introspect/batch", SECRET, &format!("{{\"tokens\":[{}]}}", texts.join(",")))
        })
        .collect();
    let load = Load::of(daemon, BATCH_CONNECTIONS, &requests, 200, b"{");
    load::run(&load, Until::Elapsed(WARM_UP));
    let ran: Vec<Figures> = (0..rounds).map(|_| load::run(&load, Until::Elapsed(span))).collect();
    let figures = Figures::medians(&ran);
    Batches {
        access: access.name(),
        tokens_per_second: figures.per_second * BATCH as f64,
        cpu_micros_a_token: figures.cpu_micros / BATCH as f64,
    }
}
