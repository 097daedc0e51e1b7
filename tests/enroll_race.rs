//! Sixty-four hosts with one token over sockets of their own: all but the last byte of each request is sent
//! first, then the last bytes together. And many requests down few connections, one after another without
//! waiting. `BEARERD_ROUNDS` raises the number of rounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;

use support::people::enrolling;
use support::*;

const HOSTS: usize = 64;
const ROUNDS: usize = 20;

fn rounds() -> usize {
    std::env::var("BEARERD_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn connect(daemon: &Daemon) -> BufReader<TcpStream> {
    let address = daemon.address();
    let stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn request(token: &str, hostname: &str) -> Vec<u8> {
    let body = enrolling(token, hostname).to_string();
    format!(
        "POST /v1/enroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The status and the body of the next answer.
fn answer(connection: &mut BufReader<TcpStream>) -> (u16, String) {
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(said) = line.strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// One answer was a 201; all others were the same 401.
#[track_caller]
fn one_won(answers: &[(u16, String)], round: usize) {
    let losers: Vec<_> = answers.iter().filter(|(status, _)| *status != 201).collect();
    assert_eq!(losers.len(), answers.len() - 1, "round {round}: {answers:?}");
    assert!(losers.iter().all(|loser| loser.0 == 401 && loser.1 == losers[0].1), "round {round}: {losers:?}");
}

#[test]
fn of_64_hosts_whose_last_bytes_arrive_together_one_is_enrolled() {
    let daemon = Daemon::start();
    let rounds = rounds();
    let gates: Vec<Barrier> = (0..2).map(|_| Barrier::new(HOSTS + 1)).collect();
    let token = std::sync::RwLock::new(String::new());
    let answers = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..HOSTS {
            let (daemon, token, answers, gates) = (&daemon, &token, &answers, &gates);
            scope.spawn(move || {
                let mut connection = connect(daemon);
                for round in 0..rounds {
                    gates[0].wait();
                    let request = request(&token.read().unwrap(), &format!("h{round}-{number}"));
                    let (last, rest) = request.split_last().unwrap();
                    connection.get_mut().write_all(rest).unwrap();
                    gates[1].wait();
                    connection.get_mut().write_all(&[*last]).unwrap();
                    let told = answer(&mut connection);
                    answers.lock().unwrap().push(told);
                    gates[0].wait();
                }
            });
        }
        for round in 0..rounds {
            *token.write().unwrap() = text_of(&daemon.enrollment(json!({})), "token");
            gates[0].wait();
            gates[1].wait();
            gates[0].wait();
            one_won(&std::mem::take(&mut *answers.lock().unwrap()), round);
        }
    });
    assert_eq!(daemon.root().all("/v1/hosts").len(), rounds);
    assert_eq!(daemon.root().all("/v1/audit?action=host.enroll").len(), rounds);
}

#[test]
fn of_64_requests_sent_without_waiting_one_is_enrolled() {
    let daemon = Daemon::start();
    let mut connections: Vec<_> = (0..4).map(|_| connect(&daemon)).collect();
    let rounds = rounds().min(200);
    for round in 0..rounds {
        let token = text_of(&daemon.enrollment(json!({})), "token");
        let each = HOSTS / connections.len();
        for (number, connection) in connections.iter_mut().enumerate() {
            let all: Vec<u8> = (0..each)
                .flat_map(|request_number| request(&token, &format!("p{round}-{number}-{request_number}")))
                .collect();
            connection.get_mut().write_all(&all).unwrap();
        }
        let answers: Vec<_> = connections
            .iter_mut()
            .flat_map(|connection| (0..each).map(|_| answer(connection)).collect::<Vec<_>>())
            .collect();
        one_won(&answers, round);
    }
    assert_eq!(daemon.root().all("/v1/hosts").len(), rounds);
}
