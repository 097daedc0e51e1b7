//! Power cuts at each deed of each kind of change, and once more while the store recovers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    changes::{CHANGES, Change},
    ground::{Ground, Signature, World},
    wanted,
};
use crate::store::tests::media::{Dice, Disk, Event, after_power_loss};

const WORKERS: usize = 4;

/// What may be found after a change of which `done` had happened.
struct Allowed<'a> {
    before: &'a Signature,
    after: &'a Signature,
    acknowledged: bool,
    what: String,
}

/// Opens an image, with all that opening does recorded.
fn opened(ground: &Arc<Ground>, image: Vec<u8>, allowed: &Allowed<'_>) -> Disk {
    let disk = Disk::holding(image);
    disk.record();
    let world = World::on(ground, &disk).unwrap_or_else(|error| panic!("{}: {error}", allowed.what));
    let found = world.signature();
    let fits = found == *allowed.after || (found == *allowed.before && !allowed.acknowledged);
    assert!(fits, "{}: {found:?}", allowed.what);
    world.is_in_order(&allowed.what);
    world.close();
    disk
}

/// Power cuts during one run of a change, after every deed or after `some` of them. How many images were
/// looked at.
fn cut(ground: &Arc<Ground>, change: &Change, some: Option<usize>, dice: &mut Dice) -> usize {
    let world = World::over(ground, change.image);
    let before = world.signature();
    let start = world.disk.record();
    world.run(change).unwrap();
    world.disk.acknowledge(change.name);
    let after = world.signature();
    world.close();
    let events = world.disk.events();
    let mut images = 0;
    let cuts = match some {
        None => (0..=events.len()).collect(),
        // The whole of it always: whoever was answered must find what was done.
        Some(some) => {
            let drawn = (1..some).map(|_| dice.below(events.len() + 1));
            core::iter::once(events.len()).chain(drawn).collect::<Vec<_>>()
        }
    };
    for cut in cuts {
        let done = &events[..cut];
        let allowed = Allowed {
            before: &before,
            after: &after,
            acknowledged: done.iter().any(|event| matches!(event, Event::Acknowledged(_))),
            what: format!("{}, cut after {cut} of {}: {:?}", change.name, events.len(), shape(&events)),
        };
        let image = after_power_loss(&start, done, dice);
        let recovering = opened(ground, image.clone(), &allowed).events();
        // And once more while it recovers, and while it closes.
        let second_cut = dice.below(recovering.len() + 1);
        let second = after_power_loss(&image, &recovering[..second_cut], dice);
        let allowed = Allowed {
            what: format!(
                "{}, and after {second_cut} of {} of the recovery {:?}",
                allowed.what,
                recovering.len(),
                shape(&recovering[..second_cut])
            ),
            ..allowed
        };
        opened(ground, second, &allowed);
        images += 2;
    }
    images
}

/// In the thorough run, where `BEARERD_IMAGES` says that there are to be at least 20,000, after every deed, again
/// and again; else after a few.
#[test]
fn an_acknowledged_change_of_any_kind_survives_a_power_cut_at_any_moment_and_no_change_is_halved() {
    let least = wanted("BEARERD_IMAGES", 0);
    let some = if least == 0 { Some(4) } else { None };
    let ground = Ground::new();
    let (next, images) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let all = number >= CHANGES.len();
                    if all && images.load(Ordering::Relaxed) >= least {
                        return;
                    }
                    let mut dice = Dice::new(number as u64);
                    let looked = cut(&ground, &CHANGES[number % CHANGES.len()], some, &mut dice);
                    images.fetch_add(looked, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} images of {} kinds of change", images.into_inner(), CHANGES.len());
}

fn shape(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            Event::Write(at, data) => format!("W{at}+{}", data.len()),
            Event::SetLen(len) => format!("L{len}"),
            Event::Sync => "S".to_owned(),
            Event::Acknowledged(_) => "A".to_owned(),
        })
        .collect()
}
