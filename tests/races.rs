//! Sixty-four who want the same single use over sockets of their own: all but the last byte of each request is
//! sent first, then the last bytes together. And many requests down few connections, one after another without
//! waiting. `BEARERD_ROUNDS` raises the number of rounds, `BEARERD_CONSUMERS` sets how many want it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use support::http::Target;
use support::people::enrolling;
use support::race::{Crowd, won};
use support::*;

const ROUNDS: usize = 20;

/// Without a line in the log for each of a million who lose.
fn quiet() -> Setup {
    Setup::new().with_long_silences().variable("BEARERD_LOG", "error")
}

#[test]
fn of_64_hosts_whose_last_bytes_arrive_together_one_is_enrolled() {
    let daemon = quiet().start();
    let crowd = Crowd::of_64(ROUNDS);
    let nobody = daemon.nobody();
    let requests = |round| {
        let token = text_of(&daemon.enrollment(json!({})), "token");
        let enrol = |number| {
            let body = enrolling(&token, &format!("h{round}-{number}"));
            nobody.request("POST", "/v1/enroll").json(body).bytes()
        };
        (0..crowd.consumers).map(enrol).collect()
    };
    crowd.run(&daemon.target(), requests, |round, answers| won(&answers, 1, 201, round));
    assert_eq!(daemon.root().all("/v1/hosts").len(), crowd.rounds);
    assert_eq!(daemon.root().all("/v1/audit?action=host.enroll").len(), crowd.rounds);
}

#[test]
fn of_64_browsers_whose_last_bytes_arrive_together_one_is_admitted() {
    let daemon = quiet().start();
    let crowd = Crowd::of_64(ROUNDS);
    let (client, nobody) = (daemon.client("acme"), daemon.nobody());
    let requests = |_| {
        let token = text_of(&daemon.link(&client, json!({"single_use": true})), "token");
        vec![nobody.request("POST", "/portal/enter").form(&[("token", &token)]).bytes(); crowd.consumers]
    };
    let admitted = |round, answers: Vec<Answer>| {
        won(&answers, 1, 303, round);
        let cookies = answers.iter().filter(|answer| answer.header("set-cookie").is_some()).count();
        assert_eq!(cookies, 1, "round {round}");
    };
    crowd.run(&daemon.target(), requests, admitted);
    assert_eq!(daemon.root().all("/v1/audit?action=link.consume").len(), crowd.rounds);
}

/// Every way of using a token is one use: as a bearer, by a proxy's question, introspected, alone or in a batch.
#[test]
fn of_64_uses_that_arrive_together_as_many_count_as_the_token_has() {
    let daemon = quiet().service("gateway", &[]).start();
    let crowd = Crowd::of_64(ROUNDS);
    let (anna, gateway) = (daemon.user("anna@example.org", &[]), daemon.service("gateway"));
    let uses = |round: usize| [1, 2, 5][round % 3].min(crowd.consumers);
    let minted = Mutex::new(String::new());
    let requests = |round| {
        let pat = anna.mint_pat(json!({"name": "n", "max_uses": uses(round)}));
        *minted.lock().unwrap() = text_of(&pat, "id");
        let token = text_of(&pat, "token");
        let bearer = daemon.bearer(&token);
        let ways = [
            bearer.request("GET", "/v1/me").bytes(),
            bearer.request("GET", "/v1/authorize").bytes(),
            gateway.request("POST", "/v1/introspect").form(&[("token", &token)]).bytes(),
            gateway.request("POST", "/v1/introspect/batch").json(json!({"tokens": [token]})).bytes(),
        ];
        ways.into_iter().cycle().take(crowd.consumers).collect()
    };
    let counted = |round, answers: Vec<Answer>| {
        let good = |answer: &&Answer| answer.status == 200 && !answer.text().contains("\"active\":false");
        assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)), "round {round}");
        assert_eq!(answers.iter().filter(good).count(), uses(round), "round {round}");
        let row = anna.get(&format!("/v1/tokens/{}", minted.lock().unwrap())).expect(200);
        assert_eq!(
            (&row["uses"], &row["state"]),
            (&json!(uses(round)), &json!("exhausted")),
            "round {round}"
        );
    };
    crowd.run(&daemon.target(), requests, counted);
}

#[test]
fn of_64_requests_sent_without_waiting_one_is_enrolled() {
    const REQUESTS: usize = 64;
    let daemon = quiet().start();
    let nobody = daemon.nobody();
    let mut connections: Vec<_> = (0..4).map(|_| nobody.connect()).collect();
    let rounds = Crowd::of_64(ROUNDS).rounds.min(200);
    for round in 0..rounds {
        let token = text_of(&daemon.enrollment(json!({})), "token");
        let each = REQUESTS / connections.len();
        for (number, connection) in connections.iter_mut().enumerate() {
            let enrol = |request| {
                let body = enrolling(&token, &format!("p{round}-{number}-{request}"));
                nobody.request("POST", "/v1/enroll").json(body).bytes()
            };
            connection.send((0..each).flat_map(enrol).collect::<Vec<u8>>());
        }
        let answers: Vec<_> = connections
            .iter_mut()
            .flat_map(|connection| (0..each).map(|_| connection.answer()).collect::<Vec<_>>())
            .collect();
        won(&answers, 1, 201, round);
    }
    assert_eq!(daemon.root().all("/v1/hosts").len(), rounds);
}

/// A server whose check and act are two steps: whoever reads the number of a round before another has written
/// it wins as well.
fn checks_then_acts(spent: &AtomicUsize, stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut round) = (String::new(), 0);
    while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if let Some(said) = line.strip_prefix("GET /") {
            round = said.split(' ').next().unwrap().parse().unwrap();
        }
        if line == "\r\n" {
            let status = if spent.load(Ordering::SeqCst) < round {
                thread::yield_now();
                spent.fetch_max(round, Ordering::SeqCst);
                "201 Created"
            } else {
                "401 Unauthorized"
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        line.clear();
    }
}

/// If it never caught a planted fault, this harness's green would mean nothing.
#[test]
fn a_server_that_checks_first_and_acts_later_is_caught_within_50_rounds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = Target::Tcp(Arc::new(Mutex::new(address)));
    let spent: &'static AtomicUsize = Box::leak(Box::default());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || checks_then_acts(spent, stream.unwrap()));
        }
    });
    let mut caught = 0;
    let requests = |round| vec![format!("GET /{} HTTP/1.1\r\n\r\n", round + 1).into_bytes(); 64];
    Crowd { consumers: 64, rounds: 50 }.run(&target, requests, |_, answers| {
        caught += usize::from(answers.iter().filter(|answer| answer.status == 201).count() > 1);
    });
    assert!(caught > 0, "50 rounds and never two winners");
}
