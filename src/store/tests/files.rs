use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use super::*;

const OTHER_KEY: [u8; 32] = *b"another key, 32 bytes of it here";

pub(super) fn made() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let store = create(&dir);
    put(&store, "a", "1").unwrap();
    store.close().unwrap();
    (folder, dir)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_store_is_made_for_its_owner_alone_and_opens_again_with_what_it_held() {
    let (_folder, dir) = made();
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [STORE_FILE, MARKER_FILE]);
    assert_eq!(
        (mode(&dir), mode(&dir.join(STORE_FILE)), mode(&dir.join(MARKER_FILE))),
        (0o700, 0o600, 0o600)
    );
    let store = open(&dir).unwrap();
    expect(&store, "a", Some("1"));
    assert_eq!(store.id(), &[3; 16]);
}

#[test]
fn nothing_is_made_where_there_is_a_store_or_was_one() {
    let (_folder, dir) = made();
    assert_eq!(presence(&dir).unwrap(), Presence::Present);
    let made = |dir: &Path| Store::create(dir, &founding(), &Options::default());
    assert!(matches!(made(&dir), Err(OpenError::Exists(_))));
    fs::write(dir.join(STORE_FILE), b"").unwrap();
    assert_eq!(presence(&dir).unwrap(), Presence::GoneMissing);
    assert!(matches!(made(&dir), Err(OpenError::GoneMissing { .. })));
    assert!(matches!(open(&dir), Err(OpenError::GoneMissing { .. })));
    fs::remove_file(dir.join(STORE_FILE)).unwrap();
    assert_eq!(presence(&dir).unwrap(), Presence::GoneMissing);
    assert!(matches!(made(&dir), Err(OpenError::GoneMissing { .. })));
    assert!(matches!(open(&dir), Err(OpenError::GoneMissing { .. })));
    assert!(!dir.join(STORE_FILE).exists());
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_a_first_start() {
    let (_folder, dir) = made();
    assert!(presence(&dir.join(STORE_FILE)).is_err());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(presence(&folder.path().join("nowhere")).unwrap(), Presence::Absent);
}

#[test]
fn a_store_that_cannot_be_kept_is_not_taken_for_none() {
    let (_folder, dir) = made();
    let place = Place::take(&dir, false).unwrap();
    fs::remove_file(dir.join(STORE_FILE)).unwrap();
    assert_eq!(place.keep_replaced().unwrap(), None);
    fs::create_dir(dir.join(STORE_FILE)).unwrap();
    assert!(place.keep_replaced().is_err());
}

#[test]
fn the_probe_tells_a_store_that_was_exchanged_and_leaves_nothing() {
    let (_folder, dir) = made();
    let place = Place::take(&dir, false).unwrap();
    let store = File::open(dir.join(STORE_FILE)).unwrap();
    place.probe(&store).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    fs::copy(dir.join(STORE_FILE), dir.join("copy")).unwrap();
    fs::rename(dir.join("copy"), dir.join(STORE_FILE)).unwrap();
    assert!(place.probe(&store).is_err());
}

#[test]
fn opening_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    assert!(matches!(open(&dir), Err(OpenError::Absent(_))));
    assert!(!dir.exists());
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Absent(_))));
    fs::write(dir.join(STORE_FILE), b"").unwrap();
    assert_eq!(presence(&dir).unwrap(), Presence::Empty);
    assert!(
        matches!(open(&dir), Err(OpenError::Damaged { .. })),
        "empty, and no marker says that it was more"
    );
    assert_eq!(fs::metadata(dir.join(STORE_FILE)).unwrap().len(), 0);
}

#[test]
fn a_store_that_was_named_but_not_marked_is_marked_when_it_is_opened() {
    let (_folder, dir) = made();
    fs::remove_file(dir.join(MARKER_FILE)).unwrap();
    expect(&open(&dir).unwrap(), "a", Some("1"));
    assert!(dir.join(MARKER_FILE).exists());
}

#[test]
fn what_is_left_of_an_unfinished_making_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
    let left = dir.join("bearerd.redb.new");
    fs::write(&left, b"half a store").unwrap();
    let store = create(dir);
    put(&store, "a", "1").unwrap();
    store.close().unwrap();
    assert!(!left.exists());
    fs::write(&left, b"half a store").unwrap();
    expect(&open(dir).unwrap(), "a", Some("1"));
    assert!(!left.exists());
}

#[test]
fn a_store_is_opened_once() {
    let (_folder, dir) = made();
    let store = open(&dir).unwrap();
    assert!(matches!(open(&dir), Err(OpenError::InUse(_))));
    // Whoever takes no lock on the directory meets the one on the file.
    let medium =
        Medium::file(File::options().read(true).write(true).open(dir.join(STORE_FILE)).unwrap()).unwrap();
    let opening = redb::Opening { cache_bytes: 1 << 20, dry: true, verify: false };
    assert_eq!(redb::Engine::open(&medium, opening).unwrap_err(), EngineError::InUse);
    put(&store, "b", "2").unwrap();
    drop(store);
    expect(&open(&dir).unwrap(), "b", Some("2"));
}

#[test]
fn what_others_can_write_is_refused() {
    let (_folder, dir) = made();
    let file = dir.join(STORE_FILE);
    for (path, mode) in [(&file, 0o620), (&file, 0o602), (&dir, 0o702)] {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        match open(&dir) {
            Err(OpenError::Exposed { path: told, mode: told_mode, .. }) => {
                assert_eq!((&told, told_mode), (path, mode));
            }
            other => panic!("{other:?}"),
        }
        fs::set_permissions(path, before).unwrap();
    }
    open(&dir).unwrap();
}

#[test]
fn another_keyring_is_refused_and_the_needed_key_is_named() {
    let (_folder, dir) = made();
    let before = fs::read(dir.join(STORE_FILE)).unwrap();
    let refused = |keyring: &Keyring| Store::open(&dir, keyring, &Options::default()).unwrap_err();
    match refused(&keyring("k2")) {
        OpenError::Keys { needs, has, .. } => {
            assert_eq!((needs.as_str(), has.as_str()), ("k1", "k2"));
        }
        other => panic!("{other:?}"),
    }
    let impostor = Keyring::generate(KeyId::new("k1").unwrap(), &OTHER_KEY).unwrap();
    assert!(matches!(refused(&impostor), OpenError::WrongKey { .. }));
    assert_eq!(fs::read(dir.join(STORE_FILE)).unwrap(), before);
}

#[test]
fn a_rotated_keyring_opens_it_and_the_key_can_be_wrapped_anew() {
    let (_folder, dir) = made();
    let rotated = keyring("k1").rotated(KeyId::new("k2").unwrap(), &OTHER_KEY).unwrap();
    let store = Store::open(&dir, &rotated, &Options::default()).unwrap();
    let envelope = seal_own_key(rotated.current(), [1; 24], store.id(), &Key::new([5; 32]));
    assert_eq!(own_key_sealed_under(&envelope), Some("k2"));
    let put = store.write_blocking(move |txn| {
        txn.hint(TableId::Meta, OWN_KEY_ROW.to_vec(), envelope);
        Ok::<(), ()>(())
    });
    assert_eq!(put, Ok(Ok(())));
    drop(store);
    let without = rotated.without(&KeyId::new("k1").unwrap()).unwrap();
    expect(&Store::open(&dir, &without, &Options::default()).unwrap(), "a", Some("1"));
}

#[test]
fn the_key_that_a_store_needs_is_told_without_a_keyring() {
    let (folder, dir) = made();
    assert_eq!(Store::needed_key(&dir).as_deref(), Some("k1"));
    assert_eq!(Store::needed_key(&folder.path().join("nothing")), None);
}
