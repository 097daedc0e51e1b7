//! Every kind of change that there is, over a store that fails or loses its power at each deed: afterwards all
//! of it has happened or nothing, whoever was told that it has finds it so, and the whole store is in order.

mod changes;
mod faults;
mod ground;
mod power;
mod reload;

use std::collections::{BTreeSet, HashSet};

use self::{
    changes::CHANGES,
    ground::{Ground, Image, World},
};
use crate::{
    app::{keys::Resealed, random},
    records::{
        Action, TableId, Txn,
        host::{Sealed, SealedFor},
        tables::ROWS_READ_MAX,
    },
    rules::{Terms, access::Right, hosts, inventory::Condition, pats},
    token::{HostId, Kind, seal, text},
};

/// How many points a test looks at: what the variable says, or `usual`.
fn wanted(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// A kind of change is either in the table or here, with the reason.
const ELSEWHERE: &[(Action, &str)] = &[
    (
        Action::StoreRestore,
        "written into a copy that has no name yet: `store::tests::copies`, `tests/restore.rs`",
    ),
    (Action::StoreCarryOver, "the same"),
];

#[test]
fn every_action_of_the_audit_log_is_a_change_of_the_table_or_named_with_its_reason() {
    let ground = Ground::new();
    let mut left: BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    for (action, _) in ELSEWHERE {
        assert!(left.remove(action.name()));
    }
    let mut covered = BTreeSet::new();
    for change in CHANGES {
        let world = World::over(&ground, change.image);
        let before = world.signature();
        assert!(world.run(change).is_ok(), "{}", change.name);
        let after = world.signature();
        assert_ne!(before, after, "{}: nothing has changed", change.name);
        covered.extend(after.actions_since(&before));
        world.is_in_order(change.name);
    }
    for action in &covered {
        left.remove(action.as_str());
    }
    assert!(left.is_empty(), "in no change of the table: {left:?}");
}

/// What ids, secrets, keys and nonces are made of: a million draws, and of each piece not one comes twice.
#[test]
fn a_million_draws_repeat_nothing() {
    let draws = 1_000_000;
    let mut secrets = HashSet::with_capacity(draws);
    let mut nonces = HashSet::with_capacity(draws);
    for _ in 0..draws {
        let secret: [u8; 32] = random().unwrap();
        let nonce: [u8; 24] = random().unwrap();
        // Halves, so that two that are alike in part only are found as well.
        secrets.insert(<[u8; 16]>::try_from(&secret[..16]).unwrap());
        nonces.insert(<[u8; 12]>::try_from(&nonce[12..]).unwrap());
    }
    assert_eq!((secrets.len(), nonces.len()), (draws, draws));
}

/// Rows that need nothing are read as well, and a step reads only so many. Here more of them lie in front of two that do.
#[test]
fn sealing_again_comes_to_its_end_however_many_rows_in_front_need_nothing() {
    let world = World::over(&Ground::new(), Image::Complete);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = &world.app;
    let who = world.root(Right::Administrate).unwrap();
    let snapshot = app.snapshot();
    let envelope = seal::seal(snapshot.keyring.current(), [1; 24], "", b"{}").unwrap();
    let many = u16::try_from(ROWS_READ_MAX).unwrap();
    let holder = |number: u16| {
        let mut id = [255; 16];
        id[14..].copy_from_slice(&number.to_be_bytes());
        SealedFor::Host(HostId::from_bytes(id))
    };
    let plant = move |txn: &mut Txn<'_>, _: Terms<'_>| {
        for number in 0..many {
            txn.note(&Sealed { holder: holder(number), envelope: envelope.clone(), entry: 0 })?;
        }
        // Nobody can tell which key this one needs.
        txn.hint(TableId::Sealed, holder(many).key(), vec![1, 2, 3]);
        Ok(())
    };
    let mut done = Vec::new();
    runtime.block_on(async {
        app.change_own(plant).await.unwrap();
        let mut after = None;
        for _ in 0..3 {
            let Resealed { rows, damaged, next } = app.reseal_in(&who, after, 1).await.unwrap();
            done.push((rows, damaged));
            after = next;
            if after.is_none() {
                break;
            }
        }
    });
    assert_eq!(done, [(0, 1), (2, 0)], "each request goes on where the one before ended");
}

/// While all threads for such work are busy, it waits, and the one thread that answers goes on.
#[test]
fn what_reads_thousands_of_rows_keeps_off_the_threads_that_answer() {
    let world = World::over(&Ground::new(), Image::Complete);
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || left.recv());
        let who = world.root(Right::Administrate).unwrap();
        let condition = Condition { kind: Some(Kind::Pat), ..Condition::default() };
        let revoking = tokio::spawn({
            let (app, who) = (world.app.clone(), who.clone());
            async move { app.revoke_many(&who, condition, true).await }
        });
        let importing = tokio::spawn({
            let app = world.app.clone();
            async move { app.import(&who, Vec::new(), true).await }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!revoking.is_finished() && !importing.is_finished(), "done on the thread that answers");
        drop(leave);
        assert!(busy.await.unwrap().is_err());
        assert!(revoking.await.unwrap().unwrap().matches > 0);
        importing.await.unwrap().unwrap();
    });
}

/// Whoever asked would hear that it failed, although it came about.
#[test]
fn what_cannot_be_shown_when_it_is_changed_is_not_changed() {
    let world = World::over(&Ground::new(), Image::Complete);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (app, ground) = (&world.app, &world.ground);
    let (pat, host) = (ground.pat.token.id, ground.host);
    let agent = text::parse(ground.agent.expose()).unwrap().id;
    let damage = move |txn: &mut Txn<'_>, _: Terms<'_>| {
        for token in [pat, agent] {
            txn.hint(TableId::LastUsed, token.as_bytes().to_vec(), vec![0; 40]);
        }
        Ok(())
    };
    runtime.block_on(async {
        app.change_own(damage).await.unwrap();
        let before = world.signature();
        let off = pats::Change { enabled: Some(false), ..pats::Change::default() };
        assert!(app.update_pat(&world.root(Right::ChangeOwn).unwrap(), pat, off).await.is_err());
        let tagged = hosts::Change { tags: Some(vec!["a".into()]), facts: None };
        assert!(app.update_host(&world.root(Right::Operate).unwrap(), host, tagged).await.is_err());
        assert_eq!(world.signature(), before);
    });
}
