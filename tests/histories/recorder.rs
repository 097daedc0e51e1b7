//! Sixteen clients of a daemon that does not live long, and what each of them was told.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::Instant;

use super::checker::{Ask, Operation, Token, Told};
use super::support::http::Target;
use super::support::{Answer, Caller, Connection, Daemon, PATIENCE, Setup, Value, json, text_of};

const CLIENTS: usize = 16;
/// Tokens that a history begins with.
const FIRST_TOKENS: usize = 16;
/// Clients work on the newest tokens, and the more the newer they are, so that they meet.
const TOKENS_IN_REACH: u64 = 12;
/// Tokens of one batch.
const BATCH: usize = 4;

/// How long a history is to be, and how often its daemon ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub operations: usize,
    pub interruptions: usize,
}

/// A token and what was seen of it.
pub(crate) struct Held {
    pub id: String,
    secret: String,
    pub uses_max: Option<u64>,
    pub operations: Vec<Operation>,
}

/// All that was seen.
pub(crate) struct History {
    pub tokens: Vec<Held>,
    interruptions: usize,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    histories: u64,
    tokens: usize,
    operations: usize,
    pub good: usize,
    pub bad: usize,
    unknown: usize,
    pub interruptions: usize,
    longest: usize,
}

impl Figures {
    pub(crate) fn add(&mut self, history: &History) {
        self.histories += 1;
        self.tokens += history.tokens.len();
        self.interruptions += history.interruptions;
        for held in &history.tokens {
            let told = |told| held.operations.iter().filter(|operation| operation.told == told).count();
            self.operations += held.operations.len();
            self.good += told(Told::Yes);
            self.bad += told(Told::No);
            self.unknown += told(Told::Unknown);
            self.longest = self.longest.max(held.operations.len());
        }
    }
}

/// A daemon with a person who owns the tokens, and a service that asks about them.
pub(crate) struct Town {
    daemon: Daemon,
    owner: Caller,
    gateway: Caller,
}

/// When each life of the daemon was over, and how many there were that served.
#[derive(Default)]
struct Lives {
    ended: Vec<u64>,
    served: usize,
}

/// What the clients of one history share.
struct Shared<'a> {
    owner: &'a Caller,
    gateway: &'a Caller,
    target: Target,
    began: Instant,
    tokens: Mutex<Vec<Held>>,
    claimed: AtomicUsize,
    lives: Mutex<Lives>,
    reborn: Condvar,
}

impl Town {
    pub(crate) fn new() -> Self {
        let daemon = Setup::new().variable("BEARERD_LOG", "error").service("gateway", &["admin"]).start();
        let owner = (*daemon.user("anna@example.org", &[])).clone();
        let gateway = (*daemon.service("gateway")).clone();
        Self { daemon, owner, gateway }
    }

    /// Lets the clients loose until all operations are done, ending the daemon under them now and then.
    pub(crate) fn record(&mut self, seed: u64, wanted: Wanted) -> History {
        let shared = Shared {
            owner: &self.owner,
            gateway: &self.gateway,
            target: self.daemon.target(),
            began: Instant::now(),
            tokens: Mutex::default(),
            claimed: AtomicUsize::new(0),
            lives: Mutex::default(),
            reborn: Condvar::new(),
        };
        let mut luck = Luck::new(seed);
        let span = wanted.operations as u64;
        let ends: BTreeSet<usize> =
            (0..wanted.interruptions).map(|_| usize::try_from(luck.below(span)).unwrap()).collect();
        let (tell, told) = mpsc::channel();
        let mut interruptions = 0;
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (shared, ends, tell) = (&shared, &ends, tell.clone());
                let luck = Luck::new(seed * 1_000 + number as u64);
                scope.spawn(move || Client { shared, luck, open: None }.work(wanted, ends, &tell));
            }
            drop(tell);
            while told.recv().is_ok() {
                if luck.below(3) == 0 {
                    assert_eq!(self.daemon.stop().code(), Some(0), "{}", self.daemon.stderr());
                } else {
                    self.daemon.kill();
                }
                shared.lives.lock().unwrap().ended.push(shared.now());
                self.daemon.start_again();
                shared.lives.lock().unwrap().served += 1;
                shared.reborn.notify_all();
                interruptions += 1;
            }
        });
        History { tokens: shared.tokens.into_inner().unwrap(), interruptions }
    }
}

impl Shared<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    fn note(&self, at: usize, operation: Operation) {
        // What was asked on a connection whose daemon was gone by then was never asked of anybody.
        if operation.called <= operation.returned {
            self.tokens.lock().unwrap()[at].operations.push(operation);
        }
    }

    fn keep(&self, minted: &Value, uses_max: Option<u64>) {
        let (id, secret) = (text_of(minted, "id"), text_of(minted, "token"));
        self.tokens.lock().unwrap().push(Held { id, secret, uses_max, operations: Vec::new() });
    }

    /// Waits until another life of the daemon serves than number `life`, and says when that one was over.
    fn over(&self, life: usize) -> u64 {
        let lives = self.lives.lock().unwrap();
        let (lives, late) =
            self.reborn.wait_timeout_while(lives, PATIENCE, |lives| lives.served <= life).unwrap();
        assert!(!late.timed_out(), "a connection broke though nobody ended the daemon");
        lives.ended[life]
    }
}

/// A connection and the life of the daemon that it belongs to.
struct Open {
    connection: Connection,
    life: usize,
}

struct Client<'a> {
    shared: &'a Shared<'a>,
    luck: Luck,
    open: Option<Open>,
}

impl Client<'_> {
    fn work(&mut self, wanted: Wanted, ends: &BTreeSet<usize>, tell: &mpsc::Sender<()>) {
        loop {
            let number = self.shared.claimed.fetch_add(1, Ordering::AcqRel);
            if number >= wanted.operations {
                return;
            }
            if ends.contains(&number) {
                tell.send(()).unwrap();
            }
            if number < FIRST_TOKENS { self.mint() } else { self.act() }
        }
    }

    fn act(&mut self) {
        match self.luck.below(100) {
            0..3 => self.mint(),
            3..25 => self.introspect(),
            25..40 => self.present(),
            40..45 => self.batch(),
            45..65 => self.read(),
            65..69 => self.revoke(),
            69..71 => self.revoke_presented(),
            71..96 => self.switch(),
            _ => self.rotate(),
        }
    }

    /// One of the newest tokens: its place, id and text.
    fn pick(&mut self) -> Option<(usize, String, String)> {
        let tokens = self.shared.tokens.lock().unwrap();
        let reach = 1 + self.luck.below(TOKENS_IN_REACH.min(tokens.len() as u64).max(1));
        let back = self.luck.below(reach);
        let at = tokens.len().checked_sub(1 + usize::try_from(back).unwrap())?;
        Some((at, tokens[at].id.clone(), tokens[at].secret.clone()))
    }

    /// Sends a request and gives what came, with when it was sent and when it was over; no answer where the
    /// connection broke, and then it was over with the daemon.
    fn send(&mut self, bytes: &[u8]) -> (u64, u64, Option<Answer>) {
        let mut open = self.open.take().unwrap_or_else(|| self.connect());
        let called = self.shared.now();
        open.connection.send(bytes);
        match open.connection.try_answer(false) {
            Ok(Some(answer)) => {
                let returned = self.shared.now();
                if answer.header("connection") != Some("close") {
                    self.open = Some(open);
                }
                (called, returned, Some(answer))
            }
            Ok(None) | Err(_) => (called, self.shared.over(open.life), None),
        }
    }

    fn connect(&self) -> Open {
        loop {
            let life = self.shared.lives.lock().unwrap().served;
            let connection: io::Result<Connection> = Connection::open(&self.shared.target);
            // A connection that was made while one life ended may belong to that or to the next: then again.
            let over = self.shared.lives.lock().unwrap().ended.len() > life;
            match connection {
                Ok(connection) if !over => return Open { connection, life },
                Ok(_) | Err(_) => drop(self.shared.over(life)),
            }
        }
    }

    /// Asks about one token and writes down what `read` makes of the answer.
    fn ask(
        &mut self,
        at: usize,
        ask: Ask,
        bytes: &[u8],
        read: impl FnOnce(&Answer) -> Told,
    ) -> Option<Answer> {
        let (called, returned, answer) = self.send(bytes);
        let told = answer.as_ref().map_or(Told::Unknown, read);
        self.shared.note(at, Operation { called, returned, ask, told });
        answer
    }

    fn mint(&mut self) {
        let uses_max = (self.luck.below(2) == 0).then(|| 1 + self.luck.below(12));
        let body = json!({"name": "n", "max_uses": uses_max});
        let bytes = self.shared.owner.request("POST", "/v1/tokens").json(body).bytes();
        if let (_, _, Some(answer)) = self.send(&bytes) {
            self.shared.keep(&answer.expect(201), uses_max);
        }
    }

    fn introspect(&mut self) {
        let Some((at, _, secret)) = self.pick() else { return };
        let bytes = self.shared.gateway.request("POST", "/v1/introspect").form(&[("token", &secret)]).bytes();
        self.ask(at, Ask::Use, &bytes, |answer| is_good(&answer.expect(200)));
    }

    fn present(&mut self) {
        let Some((at, _, secret)) = self.pick() else { return };
        let path = if self.luck.below(2) == 0 { "/v1/me" } else { "/v1/authorize" };
        let bytes = self.shared.owner.bearer(&secret).request("GET", path).bytes();
        self.ask(at, Ask::Use, &bytes, |answer| match answer.status {
            200 => Told::Yes,
            401 => Told::No,
            other => panic!("{path}: {other}: {}", answer.text()),
        });
    }

    /// One request about several tokens is an operation on each of them.
    fn batch(&mut self) {
        let mut picked: Vec<(usize, String)> = Vec::new();
        for _ in 0..BATCH {
            if let Some((at, _, secret)) = self.pick()
                && picked.iter().all(|(other, _)| *other != at)
            {
                picked.push((at, secret));
            }
        }
        let tokens: Vec<&String> = picked.iter().map(|(_, secret)| secret).collect();
        let request = self.shared.gateway.request("POST", "/v1/introspect/batch");
        let bytes = request.json(json!({"tokens": tokens})).bytes();
        let (called, returned, answer) = self.send(&bytes);
        let results = answer.map(|answer| answer.expect(200)["results"].as_array().unwrap().clone());
        for (place, (at, _)) in picked.iter().enumerate() {
            let told = results.as_ref().map_or(Told::Unknown, |results| is_good(&results[place]));
            self.shared.note(*at, Operation { called, returned, ask: Ask::Use, told });
        }
    }

    fn read(&mut self) {
        let Some((at, id, _)) = self.pick() else { return };
        let bytes = self.shared.owner.request("GET", &format!("/v1/tokens/{id}")).bytes();
        self.ask(at, Ask::Read, &bytes, |answer| Told::Row(row(&answer.expect(200))));
    }

    fn revoke(&mut self) {
        let Some((at, id, _)) = self.pick() else { return };
        let bytes = self.shared.owner.request("DELETE", &format!("/v1/tokens/{id}")).bytes();
        self.ask(at, Ask::Revoke, &bytes, |answer| {
            answer.expect(204);
            Told::Yes
        });
    }

    fn revoke_presented(&mut self) {
        let Some((at, _, secret)) = self.pick() else { return };
        let bytes = self.shared.gateway.request("POST", "/v1/revoke").form(&[("token", &secret)]).bytes();
        self.ask(at, Ask::Revoke, &bytes, |answer| {
            answer.expect(200);
            Told::Yes
        });
    }

    fn switch(&mut self) {
        let Some((at, id, _)) = self.pick() else { return };
        let on = self.luck.below(2) == 0;
        let path = format!("/v1/tokens/{id}");
        let bytes = self.shared.owner.request("PATCH", &path).json(json!({"enabled": on})).bytes();
        self.ask(at, Ask::Switch(on), &bytes, |answer| {
            assert_eq!(answer.expect(200)["enabled"], on);
            Told::Yes
        });
    }

    fn rotate(&mut self) {
        let Some((at, id, _)) = self.pick() else { return };
        let path = format!("/v1/tokens/{id}/rotate");
        let bytes = self.shared.owner.request("POST", &path).json(json!({})).bytes();
        let answer = self.ask(at, Ask::Rotate, &bytes, |answer| match answer.status {
            201 => Told::Yes,
            409 => Told::No,
            other => panic!("rotate: {other}: {}", answer.text()),
        });
        if let Some(answer) = answer.filter(|answer| answer.status == 201) {
            let minted = answer.json();
            self.shared.keep(&minted, minted["max_uses"].as_u64());
        }
    }
}

fn is_good(answer: &Value) -> Told {
    if answer["active"].as_bool().expect("active or not") { Told::Yes } else { Told::No }
}

/// What a row says, whose word for the state has to agree with the rest of it.
fn row(shown: &Value) -> Token {
    let uses = shown["uses"].as_u64().unwrap_or(0);
    let token = Token { uses, revoked: !shown["revoked_at"].is_null(), on: shown["enabled"] == true };
    let state = match token {
        Token { revoked: true, .. } => "revoked",
        Token { uses, .. } if shown["max_uses"] == uses => "exhausted",
        Token { on: false, .. } => "disabled",
        Token { on: true, .. } => "active",
    };
    assert_eq!(shown["state"], state, "{shown}");
    token
}

/// A small generator of numbers (xorshift64*), so that a history can be asked for again by its seed.
struct Luck(u64);

impl Luck {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % end
    }
}
