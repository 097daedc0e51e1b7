//! Sixty-four hosts, one token, again and again: exactly one may win. The same harness is shown a variant
//! that decides by what it read before its turn, and must not let it pass.

use std::future::Future;

use tokio::sync::Barrier;

use super::*;
use crate::{
    records::Params,
    rules::{Denied, audit},
    store::tests::in_memory,
};

const HOSTS: usize = 64;
/// Rounds where `BEARERD_ROUNDS` does not say otherwise.
const ROUNDS: usize = 150;

fn rounds() -> usize {
    std::env::var("BEARERD_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// Lets all hosts go at once with one token. How many were enrolled; whoever was not was refused for the token.
async fn round<F, R>(app: &Arc<App>, round: usize, enroll: F) -> usize
where
    F: Fn(Arc<App>, EnrollRequest) -> R,
    R: Future<Output = Result<Enrolled, Failure>> + Send + 'static,
{
    let token = minted(app).await.unwrap().secret;
    let start = Arc::new(Barrier::new(HOSTS));
    let hosts: Vec<_> = (0..HOSTS)
        .map(|number| {
            let (start, host) =
                (Arc::clone(&start), enroll(Arc::clone(app), request(&token, round * HOSTS + number)));
            tokio::spawn(async move {
                start.wait().await;
                host.await
            })
        })
        .collect();
    let mut winners = 0;
    for host in hosts {
        match host.await.unwrap() {
            Ok(_) => winners += 1,
            Err(Failure::Refused(Refusal::Denied(Denied { reason: Reason::Replayed, .. }))) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    winners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_hosts_with_one_token_exactly_one_is_enrolled_each_time() {
    let app = app(in_memory());
    let rounds = rounds();
    for number in 0..rounds {
        let winners =
            round(&app, number, |app, request| async move { app.enroll(None, request).await }).await;
        assert_eq!(winners, 1, "round {number}");
    }
    let view = app.view();
    assert_eq!(hosts_of(&*view).len(), rounds);
    let mut enrolled = 0;
    let chain = audit::verify(&*view, &mut |entry| {
        enrolled += usize::from(entry.action == Action::HostEnroll.name());
        Ok(())
    });
    assert!(chain.unwrap().is_ok());
    assert_eq!(enrolled, rounds);
}

/// The planted fault: acts at its turn on the token's row as it was read before.
async fn check_then_act(app: Arc<App>, request: EnrollRequest) -> Result<Enrolled, Failure> {
    let proof = Proof::new(request.token, request.attempt, &request.statement.hostname);
    let judged = app.look(|view, now| enrollment::judge(view, &proof, now, &|_| None))?;
    let Standing::Live(read_before) = judged else { panic!("every host has its own attempt") };
    let joining = Joining::new(request.statement, &proof)?;
    let fresh = FreshHost { host: random()?, agent: fresh()?, credentials: random()?, reply: random()? };
    app.change_own(move |txn, terms| {
        txn.entry(&crate::records::By::system(), Action::EnrollmentCreate, "planted", Params::none())?;
        txn.put(*read_before)?;
        enrollment::redeem(txn, terms, None, &proof, joining, &|_| None, &fresh)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_harness_catches_a_variant_that_checks_first_and_acts_later() {
    let app = app(in_memory());
    for number in 0..1_000 {
        if round(&app, number, check_then_act).await != 1 {
            return;
        }
    }
    panic!("1,000 rounds and never two winners: this harness catches nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_is_redeemed_while_it_is_revoked_is_one_or_the_other() {
    let app = app(in_memory());
    let operator = app.authorize(Right::Operate, Caller::local(0)).unwrap();
    let mut seen = [0, 0];
    for number in 0..200 {
        let Minted { token, secret } = minted(&app).await.unwrap();
        let (enrolling, revoking, who) = (Arc::clone(&app), Arc::clone(&app), operator.clone());
        let asked = request(&secret, number);
        let redeemed = tokio::spawn(async move { enrolling.enroll(None, asked).await });
        let revoked = tokio::spawn(async move { revoking.revoke_enrollment(&who, token.id).await });
        revoked.await.unwrap().unwrap();
        // The revocation is answered: whatever comes now, no host is made any more.
        let hosts = hosts_of(&*app.view()).len();
        let enrolled = redeemed.await.unwrap().is_ok();
        let row = Token::at(&*app.view(), token.id.as_bytes()).unwrap().unwrap();
        assert_eq!(hosts_of(&*app.view()).len(), hosts);
        assert_eq!((row.consumed_at.is_some(), row.revoked_at.is_some()), (enrolled, !enrolled));
        seen[usize::from(enrolled)] += 1;
    }
    assert_eq!(hosts_of(&*app.view()).len(), seen[1]);
}
