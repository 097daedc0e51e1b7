use std::fs;

use super::{
    faults::new_on,
    files::made,
    media::{Dice, Disk, after_power_loss},
    *,
};
use crate::{
    records::meta::raw,
    store::migrate::{Schema, Step},
};

/// A store whose schema says that it is of `version`.
fn of_version(version: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, dir) = made();
    let store = open(&dir).unwrap();
    let written = store.write_blocking(move |txn| {
        txn.hint(TableId::Meta, raw::SCHEMA.to_vec(), version.to_be_bytes().to_vec());
        Ok::<(), ()>(())
    });
    assert_eq!(written, Ok(Ok(())));
    store.close().unwrap();
    (folder, dir)
}

fn open_with(dir: &Path, version: u32, steps: &'static [Step]) -> Result<Store, OpenError> {
    let place = Place::take(dir, false)?;
    let site = Site::existing_in(place, &Options::default())?;
    Store::open_with(site, &keyring("k1"), &Options::default(), &migrate::Schema { version, steps })
}

fn append(txn: &mut Txn<'_>, letter: u8) -> Result<(), Fault> {
    let mut taken = txn.bytes(TableId::Projects, b"taken")?.unwrap_or_default();
    taken.push(letter);
    txn.hint(TableId::Projects, b"taken".to_vec(), taken);
    Ok(())
}

const A: Step = |txn| append(txn, b'a');
const B: Step = |txn| append(txn, b'b');
const BROKEN: Step = |txn| append(txn, b'x').and(Err(Fault::Damaged(TableId::Users)));

fn version_of(store: &Store) -> Option<Vec<u8>> {
    store.view().bytes(TableId::Meta, raw::SCHEMA).unwrap()
}

#[test]
fn an_older_store_is_brought_up_to_date_step_by_step_and_kept_as_it_was() {
    let (_folder, dir) = of_version(0);
    let before = fs::read(dir.join(STORE_FILE)).unwrap();
    let store = open_with(&dir, 2, &[A, B]).unwrap();
    expect(&store, "taken", Some("ab"));
    assert_eq!(version_of(&store), Some(vec![0, 0, 0, 2]));
    store.close().unwrap();
    assert!(fs::read(dir.join("bearerd.redb.schema-0")).unwrap() == before);
    // The steps are those that lead to the last version; from there, none is taken again.
    expect(&open_with(&dir, 2, &[A, B]).unwrap(), "taken", Some("ab"));
}

#[test]
fn a_store_that_is_half_way_goes_on_from_there() {
    let (_folder, dir) = of_version(0);
    assert!(matches!(open_with(&dir, 2, &[A, BROKEN]), Err(OpenError::Damaged { .. })));
    let store = open_with(&dir, 2, &[A, B]).unwrap();
    expect(&store, "taken", Some("ab"));
}

#[test]
fn a_newer_store_and_one_from_before_the_first_step_are_refused_and_keep_every_byte() {
    for (version, steps) in [(2, &[] as &[Step]), (0, &[])] {
        let (_folder, dir) = of_version(version);
        let before = fs::read(dir.join(STORE_FILE)).unwrap();
        match (version, open_with(&dir, 1, steps)) {
            (2, Err(OpenError::Newer { what, .. })) => assert_eq!(what, "schema 2"),
            (0, Err(OpenError::Damaged { .. })) => {}
            other => panic!("{other:?}"),
        }
        assert!(fs::read(dir.join(STORE_FILE)).unwrap() == before);
    }
}

/// Changes the tables of the store in `dir` behind its back.
fn behind_its_back(dir: &Path, change: impl FnOnce(&redb::Engine) -> Result<(), redb::EngineError>) {
    let file = fs::File::options().read(true).write(true).open(dir.join(STORE_FILE)).unwrap();
    let opening = redb::Opening { cache_bytes: 1 << 20, dry: false, verify: false };
    let engine = redb::Engine::open(&redb::Medium::file(file).unwrap(), opening).unwrap();
    change(&engine).unwrap();
    engine.close().unwrap();
}

#[test]
fn a_table_that_is_missing_is_damage_in_a_store_of_this_version_and_to_be_made_in_an_older_one() {
    let (_folder, dir) = of_version(2);
    behind_its_back(&dir, |engine| engine.lose_table(TableId::Hosts));
    let before = fs::read(dir.join(STORE_FILE)).unwrap();
    match open_with(&dir, 2, &[A, B]) {
        Err(OpenError::Damaged { what, .. }) => assert_eq!(what, "it has no table `hosts`"),
        other => panic!("{other:?}"),
    }
    assert!(fs::read(dir.join(STORE_FILE)).unwrap() == before);

    let (_folder, dir) = of_version(0);
    behind_its_back(&dir, |engine| engine.lose_table(TableId::Hosts));
    expect(&open_with(&dir, 2, &[A, B]).unwrap(), "taken", Some("ab"));
}

#[test]
fn a_table_that_this_version_does_not_know_is_a_newer_store() {
    let (_folder, dir) = made();
    behind_its_back(&dir, |engine| engine.make_strange_table("more"));
    let before = fs::read(dir.join(STORE_FILE)).unwrap();
    match open(&dir) {
        Err(OpenError::Newer { what, .. }) => assert_eq!(what, "table `more`"),
        other => panic!("{other:?}"),
    }
    assert!(fs::read(dir.join(STORE_FILE)).unwrap() == before);
}

#[test]
fn a_file_of_a_newer_engine_is_a_newer_store() {
    let (_folder, dir) = made();
    let mut bytes = fs::read(dir.join(STORE_FILE)).unwrap();
    // The format's version begins each of the two commit slots.
    (bytes[64], bytes[192]) = (9, 9);
    fs::write(dir.join(STORE_FILE), &bytes).unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Newer { .. })));
    assert!(fs::read(dir.join(STORE_FILE)).unwrap() == bytes);
    (bytes[64], bytes[192]) = (2, 2);
    fs::write(dir.join(STORE_FILE), &bytes).unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Damaged { .. })));
}

#[test]
fn the_way_from_a_version_is_the_steps_after_it() {
    let schema = Schema { version: 3, steps: &[A, B] };
    for (version, reaches) in [(0, false), (1, true), (2, true), (3, true), (4, false)] {
        assert_eq!(schema.reaches_from(version), reaches, "{version}");
    }
}

#[test]
fn a_power_cut_at_any_moment_of_the_way_and_of_its_recovery_leaves_a_store_that_goes_on() {
    const WAY: Schema = Schema { version: 2, steps: &[A, B] };
    let open = |disk: &Disk| {
        let site = Site::on(disk.medium(), Path::new("test"), &Options::default());
        Store::open_with(site, &keyring("k1"), &Options::default(), &WAY).unwrap()
    };
    let disk = Disk::default();
    let store = new_on(&disk);
    store
        .write_blocking(|txn| {
            txn.hint(TableId::Meta, raw::SCHEMA.to_vec(), vec![0; 4]);
            txn.hint(TableId::Projects, b"kept".to_vec(), b"kept".to_vec());
            Ok::<(), ()>(())
        })
        .unwrap()
        .unwrap();
    store.close().unwrap();
    let start = disk.bytes();
    disk.record();
    open(&disk).close().unwrap();
    let events = disk.events();
    assert!(events.len() > 10, "nothing was done");
    for cut in 0..=events.len() {
        let mut dice = Dice::new(cut as u64 + 1);
        let image = after_power_loss(&start, &events[..cut], &mut dice);
        let again = Disk::holding(image.clone());
        again.record();
        open(&again).close().unwrap();
        // And once more while it goes on.
        let recovering = again.events();
        let second = dice.below(recovering.len() + 1);
        let store = open(&Disk::holding(after_power_loss(&image, &recovering[..second], &mut dice)));
        expect(&store, "taken", Some("ab"));
        expect(&store, "kept", Some("kept"));
        assert_eq!(version_of(&store), Some(vec![0, 0, 0, 2]), "cut {cut}");
    }
}
