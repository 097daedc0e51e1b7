//! An error of the medium at each deed of each kind of change, once and for good.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    changes::{CHANGES, Change},
    ground::{Ground, Signature, World},
    wanted,
};
use crate::{
    http::problem::Problem,
    store::tests::media::{Deed, Disk, Fault},
};

/// Longer than anything here takes; whoever waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Rows of the table that are looked at side by side: most of them wait for a store to open again.
const WORKERS: usize = 12;

/// Runs `change` with one deed failing. Whether the fault has struck.
fn struck(
    ground: &Arc<Ground>,
    change: &Change,
    fault: Fault,
    (before, after): &(Signature, Signature),
) -> bool {
    let what = format!("{} with {fault:?}", change.name);
    let world = World::over(ground, change.image);
    world.disk.break_with(fault);
    let outcome = world.run(change);
    let struck = world.disk.struck();
    world.disk.mend();
    assert!(world.app.store().wait_until_well(PATIENCE), "{what}: the store does not come back");
    let found = world.signature();
    assert!(found == *before || found == *after, "{what}: neither as before nor as after: {found:?}");
    match &outcome {
        Ok(()) => assert_eq!(found, *after, "{what}: acknowledged and not there"),
        Err(failure) => {
            assert!(struck, "{what}: {failure:?}");
            let shown = format!("{failure:?}");
            let status = Problem::from(outcome.unwrap_err()).status();
            assert_eq!(status, 503, "{what}: {shown}");
        }
    }
    world.close();
    let again = World::on(ground, &Disk::holding(world.disk.bytes())).unwrap();
    assert_eq!(again.signature(), found, "{what}: another state after a restart");
    again.is_in_order(&what);
    struck
}

/// One row of the table with one deed failing, once or for good: at first the one after `first` others, then
/// every `stride`th. How often the fault struck.
fn swept(ground: &Arc<Ground>, change: &Change, fault: Fault, stride: usize) -> usize {
    let world = World::over(ground, change.image);
    let before = world.signature();
    world.run(change).unwrap();
    let states = (before, world.signature());
    let mut points = 0;
    while struck(ground, change, Fault { after: fault.after + points * stride, ..fault }, &states) {
        points += 1;
    }
    points
}

/// Every one of a deed fails in the thorough run, where `BEARERD_SWEEP_STRIDE` is 1; else some of each, others
/// in each row of the table.
#[test]
fn whichever_deed_of_whichever_change_fails_all_of_it_has_happened_or_nothing() {
    let deeds = [(Deed::Write, 9), (Deed::Sync, 2), (Deed::SetLen, 1), (Deed::Read, 60)];
    let ground = Ground::new();
    let mut rows = Vec::new();
    for (number, change) in CHANGES.iter().enumerate() {
        for sticky in [false, true] {
            for (deed, stride) in deeds {
                let stride = wanted("BEARERD_SWEEP_STRIDE", stride);
                let after = (number + usize::from(sticky)) % stride;
                rows.push((
                    change,
                    Fault { deed: Some(deed), after, sticky, kind: ErrorKind::Other },
                    stride,
                ));
            }
        }
    }
    let (next, points) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((change, fault, stride)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let struck = swept(&ground, change, *fault, *stride);
                    assert!(
                        struck > 0 || matches!(fault.deed, Some(Deed::SetLen | Deed::Sync)) || *stride > 1,
                        "{}: {fault:?} never struck",
                        change.name
                    );
                    points.fetch_add(struck, Ordering::Relaxed);
                }
            });
        }
    });
    let points = points.into_inner();
    assert!(points > CHANGES.len(), "{points}");
    println!("{points} faults struck {} kinds of change", CHANGES.len());
}
