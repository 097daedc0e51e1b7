//! A store that fails, or loses its power, at each deed of an enrolment: afterwards the token is unspent and
//! usable, or spent with a host whose reply can be had again. Never anything between.

use std::{io::ErrorKind, time::Duration};

use super::*;
use crate::store::{
    WriteError,
    tests::{
        faults::{new_on, open_on},
        media::{Deed, Dice, Disk, Event, Fault, after_power_loss},
    },
};

/// Longer than anything here takes; whoever waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks (again) for the same host; there is one host then, its bearer and its credentials are good, and
/// asking once more gives the same.
async fn enrolled_in_the_end(app: &App, token: &Secret) -> Enrolled {
    let enrolled = app.enroll(None, request(token, 0)).await.unwrap();
    let again = app.enroll(None, request(token, 0)).await.unwrap();
    assert_eq!(enrolled.agent_token.expose(), again.agent_token.expose());
    let view = app.view();
    assert_eq!(hosts_of(&*view), [enrolled.host]);
    let id = text::parse(token.expose()).unwrap().id;
    let row = Token::at(&*view, id.as_bytes()).unwrap().unwrap();
    assert!(row.consumed_at.is_some());
    let agent = host_behind(&*view, app.now(), &enrolled.agent_token);
    let host = enrolled.host;
    let credentials =
        app.change_own(move |txn, terms| hosts::read_credentials(txn, terms, &agent, host)).await.unwrap();
    assert!(credentials.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    enrolled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_deed_spends_nothing_without_a_host() {
    let mut points = 0;
    for deed in [Deed::Write, Deed::Sync, Deed::SetLen] {
        for sticky in [false, true] {
            for after in 0.. {
                let disk = Disk::default();
                let app = app(new_on(&disk));
                let token = minted(&app).await.unwrap().secret;
                disk.break_with(Fault { deed: Some(deed), after, sticky, kind: ErrorKind::Other });
                let outcome = app.enroll(None, request(&token, 0)).await;
                let struck = disk.struck();
                disk.mend();
                assert!(app.store().wait_until_well(PATIENCE));
                match &outcome {
                    Ok(_) => {}
                    Err(Failure::Store(WriteError::Unavailable)) => assert!(struck),
                    Err(other) => panic!("{deed:?} {after}: {other:?}"),
                }
                let enrolled = enrolled_in_the_end(&app, &token).await;
                if let Ok(told) = outcome {
                    assert_eq!(told.agent_token.expose(), enrolled.agent_token.expose());
                }
                if !struck {
                    break;
                }
                points += 1;
            }
        }
    }
    assert!(points > 10, "{points}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_or_a_power_cut_at_any_deed_spends_nothing_without_a_host() {
    let disk = Disk::default();
    let first = app(new_on(&disk));
    let token = minted(&first).await.unwrap().secret;
    let start = disk.record();
    let told = first.enroll(None, request(&token, 0)).await.unwrap();
    disk.acknowledge("enrolled");
    let events = disk.events();
    drop(first);

    let mut dice = Dice::new(7);
    let mut outcomes = [0, 0];
    for cut in 0..=events.len() {
        let done = &events[..cut];
        let acknowledged = done.iter().any(|event| matches!(event, Event::Acknowledged(_)));
        let killed = all_of(&start, done);
        let images = core::iter::once(killed)
            .chain((0..8).map(|_| after_power_loss(&start, done, &mut dice)).collect::<Vec<_>>());
        for image in images {
            let app = app(open_on(Disk::holding(image).medium()).unwrap());
            let spent = !hosts_of(&*app.view()).is_empty();
            assert!(spent || !acknowledged, "cut {cut}: an acknowledged host is gone");
            outcomes[usize::from(spent)] += 1;
            let enrolled = enrolled_in_the_end(&app, &token).await;
            // Whoever was enrolled before the cut is told what the first reply told.
            assert_eq!(spent, told.agent_token.expose() == enrolled.agent_token.expose(), "cut {cut}");
        }
    }
    assert!(outcomes.iter().all(|seen| *seen > 0), "{outcomes:?}");
}

/// What lies on a medium after a kill: everything that was done, for the system goes on writing.
fn all_of(start: &[u8], done: &[Event]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    for event in done {
        match event {
            Event::SetLen(len) => bytes.resize(*len, 0),
            Event::Write(offset, data) => bytes[*offset..offset + data.len()].copy_from_slice(data),
            Event::Sync | Event::Acknowledged(_) => {}
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_on_the_medium_holds_a_byte_of_the_credentials_or_of_a_token() {
    let disk = Disk::default();
    let app = app(new_on(&disk));
    disk.record();
    let token = minted(&app).await.unwrap().secret;
    let agent = app.enroll(None, request(&token, 0)).await.unwrap().agent_token;
    let written: Vec<u8> = disk
        .events()
        .into_iter()
        .flat_map(|event| if let Event::Write(_, data) = event { data } else { Vec::new() })
        .chain(disk.bytes())
        .collect();
    let tail = |secret: &Secret| secret.expose().as_bytes()[34..].to_vec();
    for secret in [CANARY.as_bytes().to_vec(), tail(&token), tail(&agent), b"attempt-of-host".to_vec()] {
        for part in secret.windows(8) {
            assert!(!written.windows(part.len()).any(|window| window == part));
        }
    }
}
