//! The load: so many connections that each ask, wait for the answer, and ask again.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::server::Server;

/// What one round measured.
pub struct Figures {
    pub per_second: f64,
    pub cpu_micros: f64,
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
            median_micros: of(|f| f.median_micros),
            p99_micros: of(|f| f.p99_micros),
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Asks `count` times over `connections`, each going through `requests` from a place of its own.
pub fn run(server: &Server, requests: &[Vec<u8>], connections: usize, count: usize) -> Figures {
    let cpu = server.cpu_seconds();
    let began = Instant::now();
    let each = count / connections;
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|worker| scope.spawn(move || ask(server, requests, worker * 7919, each)))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let took = began.elapsed().as_secs_f64();
    let asked = times.len() as f64;
    times.sort_unstable();
    let micros = |share: f64| times[((asked - 1.0) * share) as usize].as_secs_f64() * 1e6;
    Figures {
        per_second: asked / took,
        cpu_micros: (server.cpu_seconds() - cpu) * 1e6 / asked,
        median_micros: micros(0.5),
        p99_micros: micros(0.99),
    }
}

fn ask(server: &Server, requests: &[Vec<u8>], offset: usize, count: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    (0..count)
        .map(|turn| {
            let request = &requests[(offset + turn) % requests.len()];
            let began = Instant::now();
            stream.write_all(request).unwrap();
            read_answer(&mut stream, &mut buffer);
            began.elapsed()
        })
        .collect()
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let text = &buffer[..filled];
        let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&text[..end]).unwrap().to_ascii_lowercase();
        let status: u16 = head[9..12].parse().unwrap();
        assert!(status < 300 || status == 401, "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if filled >= end + 4 + length {
            return;
        }
    }
}

/// A GET as bytes.
pub fn get(path: &str, bearer: Option<&str>) -> Vec<u8> {
    let authorization =
        bearer.map(|bearer| format!("Authorization: Bearer {bearer}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n").into_bytes()
}

/// A POST as bytes.
pub fn post(path: &str, bearer: &str, media_type: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
