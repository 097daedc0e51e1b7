//! The load: so many connections that each ask, wait for the answer, and ask again. One thread waits for all
//! of them, so that asking costs less than answering and the server is what is measured. Unless it is told to sleep, it
//! looks for answers without a pause: to wake somebody up is work of the server's processor, and is asked of it the more
//! often the slower the server is, so that a server of half the speed would be charged for more than its own time.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};
use serde::Serialize;

use super::server::Server;

const BUFFER_BYTES: usize = 512 * 1024;
/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests, to whom, from how many at once, and what the answers must begin with.
pub struct Load<'a> {
    server: &'a Server,
    connections: usize,
    requests: &'a [Vec<u8>],
    status: u16,
    begins: &'a [u8],
    sleeps: bool,
    /// Which request is next.
    next: Cell<usize>,
}

impl<'a> Load<'a> {
    pub fn of(
        server: &'a Server,
        connections: usize,
        requests: &'a [Vec<u8>],
        status: u16,
        begins: &'a [u8],
    ) -> Self {
        Self { server, connections, requests, status, begins, sleeps: false, next: Cell::new(0) }
    }

    /// The same, but asleep until there is an answer, as the callers of the database are that it is compared with.
    pub fn sleeping(self) -> Self {
        Self { sleeps: true, ..self }
    }

    /// The requests are gone through over and over, each run of a load beginning where the last one ended.
    fn next(&self) -> &'a [u8] {
        let next = self.next.get();
        self.next.set((next + 1) % self.requests.len());
        &self.requests[next]
    }
}

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After a while.
    Elapsed(Duration),
    /// When each request was answered once.
    Answered,
}

/// What one round measured.
#[derive(Clone, Default, Serialize)]
pub struct Figures {
    pub per_second: f64,
    /// Processor time of the server for each request.
    pub cpu_micros: f64,
    /// The share of one processor that the server used.
    pub busy: f64,
    pub median_micros: f64,
    pub p99_micros: f64,
}

impl Figures {
    /// The median of each figure over rounds.
    pub fn medians(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            per_second: of(|f| f.per_second),
            cpu_micros: of(|f| f.cpu_micros),
            busy: of(|f| f.busy),
            median_micros: of(|f| f.median_micros),
            p99_micros: of(|f| f.p99_micros),
        }
    }

    fn of(mut nanos: Vec<u32>, took: Duration, cpu_seconds: f64) -> Self {
        nanos.sort_unstable();
        let asked = nanos.len() as f64;
        let micros = |share: f64| f64::from(nanos[((asked - 1.0) * share) as usize]) / 1e3;
        Self {
            per_second: asked / took.as_secs_f64(),
            cpu_micros: cpu_seconds * 1e6 / asked,
            busy: cpu_seconds / took.as_secs_f64(),
            median_micros: micros(0.5),
            p99_micros: micros(0.99),
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs one load.
pub fn run(load: &Load<'_>, until: Until) -> Figures {
    run_all(&[load], until, &mut |_, _| {}).remove(0)
}

/// Runs one load, and hands over the body of each answer.
pub fn run_and_keep(load: &Load<'_>, until: Until) -> (Figures, Vec<Vec<u8>>) {
    let mut bodies = Vec::new();
    let figures = run_all(&[load], until, &mut |_, body| bodies.push(body.to_vec())).remove(0);
    (figures, bodies)
}

/// Runs loads beside each other.
pub fn run_all(loads: &[&Load<'_>], until: Until, each: &mut dyn FnMut(usize, &[u8])) -> Vec<Figures> {
    let wait = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut callers: Vec<Caller> = Vec::new();
    for (load, of) in loads.iter().enumerate() {
        for _ in 0..of.connections {
            let caller = Caller::new(load, of.server);
            let data = epoll::EventData::new_u64(callers.len() as u64);
            epoll::add(&wait, &caller.stream, data, epoll::EventFlags::IN).unwrap();
            callers.push(caller);
        }
    }
    let mut queues: Vec<Queue<'_>> = loads.iter().map(|load| Queue::new(load, until)).collect();
    let cpu: Vec<f64> = loads.iter().map(|load| load.server.cpu_seconds()).collect();
    let began = Instant::now();
    let mut asking = 0usize;
    for caller in &mut callers {
        asking += usize::from(caller.ask(&mut queues[caller.load], began));
    }
    let mut ready = Vec::with_capacity(callers.len());
    let pause = if loads.iter().any(|load| load.sleeps) { PATIENCE } else { Duration::ZERO };
    let pause = Timespec::try_from(pause).unwrap();
    let mut heard = began;
    while asking > 0 {
        epoll::wait(&wait, spare_capacity(&mut ready), Some(&pause)).unwrap();
        if ready.is_empty() {
            assert!(heard.elapsed() < PATIENCE, "no answer within a minute");
        } else {
            heard = Instant::now();
        }
        for event in ready.drain(..) {
            let caller = &mut callers[event.data.u64() as usize];
            let load = loads[caller.load];
            if let Some(body) = caller.read(load) {
                let now = Instant::now();
                let queue = &mut queues[caller.load];
                queue.nanos.push(u32::try_from((now - caller.asked).as_nanos()).unwrap_or(u32::MAX));
                each(caller.load, &caller.buffer[body.0..body.1]);
                asking -= usize::from(!caller.ask(queue, now));
            }
        }
    }
    let took = began.elapsed();
    let figures = queues.into_iter().zip(loads).zip(cpu);
    figures
        .map(|((queue, load), cpu)| Figures::of(queue.nanos, took, load.server.cpu_seconds() - cpu))
        .collect()
}

/// What is still to be asked.
struct Queue<'a> {
    load: &'a Load<'a>,
    ends: End,
    nanos: Vec<u32>,
}

enum End {
    At(Instant),
    AfterRequests(usize),
}

impl<'a> Queue<'a> {
    fn new(load: &'a Load<'a>, until: Until) -> Self {
        let ends = match until {
            Until::Elapsed(span) => End::At(Instant::now() + span),
            Until::Answered => End::AfterRequests(load.requests.len()),
        };
        Self { load, ends, nanos: Vec::new() }
    }

    fn take(&mut self, now: Instant) -> Option<&'a [u8]> {
        match &mut self.ends {
            End::At(ends) => (now < *ends).then(|| self.load.next()),
            End::AfterRequests(left) => {
                *left = left.checked_sub(1)?;
                Some(self.load.next())
            }
        }
    }
}

/// One connection.
struct Caller {
    load: usize,
    stream: TcpStream,
    asked: Instant,
    buffer: Vec<u8>,
    filled: usize,
}

impl Caller {
    fn new(load: usize, server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { load, stream, asked: Instant::now(), buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    /// Sends the next request; false where there is none.
    fn ask(&mut self, queue: &mut Queue<'_>, now: Instant) -> bool {
        let Some(request) = queue.take(now) else { return false };
        self.asked = now;
        self.filled = 0;
        self.stream.write_all(request).unwrap();
        true
    }

    /// Reads what is there; where the answer is whole, from where to where its body lies.
    fn read(&mut self, load: &Load<'_>) -> Option<(usize, usize)> {
        let read = self.stream.read(&mut self.buffer[self.filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        self.filled += read;
        let (begin, end) = body(&self.buffer[..self.filled])?;
        if self.filled < end {
            return None;
        }
        let answer = &self.buffer[..end];
        let good =
            answer[9..12] == *load.status.to_string().as_bytes() && answer[begin..].starts_with(load.begins);
        assert!(good, "{}", String::from_utf8_lossy(answer));
        Some((begin, end))
    }
}

/// From where to where the body of an answer lies, once its head is there.
fn body(answer: &[u8]) -> Option<(usize, usize)> {
    const NAME: &[u8] = b"content-length:";
    let mut at = 0;
    let mut length = 0;
    loop {
        let line = &answer[at..];
        let end = line.iter().position(|byte| *byte == b'\n')?;
        let line = &line[..end];
        at += end + 1;
        if line == b"\r" {
            return Some((at, at + length));
        }
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            length = std::str::from_utf8(&line[NAME.len()..]).unwrap().trim().parse().unwrap();
        }
    }
}

/// A GET as bytes, with that line of its head.
pub fn get(path: &str, line: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n").into_bytes()
}

/// A bearer as a line of the head.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A POST of a form as bytes.
pub fn form(path: &str, by: &str, body: &str) -> Vec<u8> {
    form_by(path, &as_bearer(by), body)
}

/// The same, with that value of the head's `Authorization`.
pub fn form_by(path: &str, authorization: &str, body: &str) -> Vec<u8> {
    post(path, authorization, "application/x-www-form-urlencoded", body)
}

/// A POST of JSON as bytes.
pub fn json(path: &str, by: &str, body: &str) -> Vec<u8> {
    post(path, &as_bearer(by), "application/json", body)
}

fn as_bearer(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Bearer {token}") }
}

fn post(path: &str, authorization: &str, media_type: &str, body: &str) -> Vec<u8> {
    let by = match authorization {
        "" => String::new(),
        value => format!("Authorization: {value}\r\n"),
    };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{by}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
