//! Many who want the same thing at the same moment: each sends all but the last byte of its request, then the
//! last bytes go out together.
//!
//! `BEARERD_ROUNDS` says how often, `BEARERD_CONSUMERS` how many.

use super::http::{Answer, Connection, Target};
use std::io;
use std::sync::{Arc, Barrier, mpsc};

/// Threads that hold the consumers' connections.
const HANDS: usize = 4;

/// How many consumers, and how many rounds.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub consumers: usize,
    pub rounds: usize,
}

impl Crowd {
    /// Sixty-four consumers and `rounds` rounds, unless the environment says otherwise.
    pub fn of_64(rounds: usize) -> Self {
        let said = |name: &str, otherwise| {
            std::env::var(name).ok().map_or(otherwise, |said| said.parse().expect("a number"))
        };
        Self { consumers: said("BEARERD_CONSUMERS", 64), rounds: said("BEARERD_ROUNDS", rounds) }
    }

    /// Lets them run: `requests` makes what the consumers of a round send, `judge` sees what they were told.
    pub fn run(
        self,
        target: &Target,
        mut requests: impl FnMut(usize) -> Vec<Vec<u8>>,
        mut judge: impl FnMut(usize, Vec<Answer>),
    ) {
        let each = self.consumers.div_ceil(HANDS);
        let hands = self.consumers.div_ceil(each);
        let gate = Arc::new(Barrier::new(hands));
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let hands: Vec<mpsc::Sender<Vec<Vec<u8>>>> = (0..hands)
                .map(|hand| {
                    let (give, given) = mpsc::channel();
                    let (gate, tell) = (Arc::clone(&gate), tell.clone());
                    let count = each.min(self.consumers - hand * each);
                    scope.spawn(move || hold(count, target, &gate, &given, &tell));
                    give
                })
                .collect();
            drop(tell);
            for round in 0..self.rounds {
                let all = requests(round);
                assert_eq!(all.len(), self.consumers);
                for (hand, portion) in hands.iter().zip(all.chunks(each)) {
                    hand.send(portion.to_vec()).unwrap();
                }
                let answers: Vec<Answer> = (0..self.consumers)
                    .map(|_| told.recv().expect("a hand").expect("an answer for each consumer"))
                    .collect();
                judge(round, answers);
            }
        });
    }
}

/// Holds the connections of some consumers, until there are no more rounds.
fn hold(
    count: usize,
    target: &Target,
    gate: &Barrier,
    given: &mpsc::Receiver<Vec<Vec<u8>>>,
    tell: &mpsc::Sender<io::Result<Answer>>,
) {
    let mut connections: Vec<Connection> =
        (0..count).map(|_| Connection::open(target).expect("a connection")).collect();
    while let Ok(requests) = given.recv() {
        for (connection, request) in connections.iter_mut().zip(&requests) {
            connection.send(&request[..request.len() - 1]);
        }
        gate.wait();
        for (connection, request) in connections.iter_mut().zip(&requests) {
            connection.send(&request[request.len() - 1..]);
        }
        for connection in &mut connections {
            let answer = connection.try_answer(false);
            let answer = answer.and_then(|answer| answer.ok_or_else(|| io::Error::other("closed")));
            // Nobody listens any more where the test has failed.
            let _ = tell.send(answer);
        }
    }
}

/// That many answers have the status of winners; all others are the same refusal.
#[track_caller]
pub fn won(answers: &[Answer], winners: usize, status: u16, round: usize) {
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == status);
    let told: Vec<_> = answers.iter().map(|answer| (answer.status, answer.text())).collect();
    assert_eq!(won.len(), winners, "round {round}: {told:?}");
    assert!(
        lost.iter().all(|answer| answer.status == 401 && answer.body == lost[0].body),
        "round {round}: {told:?}"
    );
}
