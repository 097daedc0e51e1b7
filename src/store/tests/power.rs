//! Power cuts while a store is made: what is left is a first start, or a whole store.

use std::fs;

use super::{
    media::{Dice, Disk, Event, after_power_loss},
    *,
};
use crate::store::{place::NEW_FILE, site::Site};

/// Everything that making a store does to its file, up to the moment before it is given its name.
fn making() -> Vec<Event> {
    let disk = Disk::default();
    disk.record();
    Site::new_on(disk.medium(), &Options::default(), &founding()).unwrap();
    disk.events()
}

/// The names that a cut can leave, beside what the file then holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The temporary name.
    Unnamed,
    /// The store's name: given, and durable, before the marker was.
    Named,
}

/// A directory as a cut leaves it, and a start in it.
#[track_caller]
fn started_after(image: &[u8], left: Left, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let file = dir.join(if left == Left::Named { STORE_FILE } else { NEW_FILE });
    fs::write(&file, image).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let found = presence(dir).unwrap();
    let store = match left {
        Left::Unnamed => {
            assert_eq!(found, Presence::Absent, "{what}: taken for a store");
            create(dir)
        }
        Left::Named => {
            assert_eq!(found, Presence::Present, "{what}");
            open(dir).unwrap_or_else(|error| panic!("{what}: {error}"))
        }
    };
    put(&store, "a", "1").unwrap();
    store.close().unwrap();
    assert!(!dir.join(NEW_FILE).exists() && dir.join(MARKER_FILE).exists(), "{what}");
    expect(&open(dir).unwrap(), "a", Some("1"));
}

/// `BEARERD_FIRST_STARTS` images, 1,000 in the thorough run.
#[test]
fn a_power_cut_while_a_store_is_made_leaves_a_first_start_or_a_whole_store() {
    let images = super::wanted("BEARERD_FIRST_STARTS", 60);
    let events = making();
    let mut dice = Dice::new(11);
    for number in 0..images {
        let cut = dice.below(events.len() + 1);
        let image = after_power_loss(&[], &events[..cut], &mut dice);
        started_after(&image, Left::Unnamed, &format!("image {number}, cut after {cut}"));
    }
    // The file is synced before it is given its name: from then on a cut can lose nothing of it.
    let whole = after_power_loss(&[], &[events.as_slice(), &[Event::Sync]].concat(), &mut dice);
    started_after(&whole, Left::Named, "named");
    println!("{images} images of a store in the making");
}
