use std::{
    cell::Cell,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::atomic::AtomicBool,
};

use super::{files::made, *};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A backup, streamed into a file.
fn back_up(store: &Store, path: &Path) -> Backup {
    let mut reader = store.backup(&store.view()).unwrap();
    let copied = io::copy(&mut reader, &mut File::create(path).unwrap()).unwrap();
    assert_eq!(copied, reader.backup().bytes);
    reader.backup().clone()
}

fn look_at(path: &Path) -> Result<Stopped, OpenError> {
    Stopped::in_file(path, &keyring("k1"), &Options::default())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_backup_made_while_changes_are_written_is_the_state_after_one_of_them() {
    let (folder, dir) = made();
    let store = open(&dir).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0u32.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                put(&store, &format!("row{number:09}"), "").unwrap();
                put(&store, "count", &(number + 1).to_string()).unwrap();
            }
        });
        for number in 0..8 {
            let path = folder.path().join(format!("backup{number}"));
            let backup = back_up(&store, &path);
            let copy = look_at(&path).unwrap();
            assert_eq!((backup.rows, backup.bytes), (copy.rows().unwrap(), copy.bytes().unwrap()));
            let rows = dump(copy.view()).iter().filter(|(_, key, _)| key.starts_with(b"row")).count();
            let count = get(copy.view(), "count").unwrap().map_or(0, |count| count.parse().unwrap());
            assert!(rows == count || rows == count + 1, "{rows} rows, {count} counted");
        }
        stop.store(true, Ordering::Release);
    });
}

#[test]
fn a_backup_holds_every_row_and_names_the_key_that_it_needs() {
    let (folder, dir) = made();
    let store = open(&dir).unwrap();
    let path = folder.path().join("backup");
    fs::write(&path, "an older backup").unwrap();
    let backup = back_up(&store, &path);
    assert_eq!(backup.sealed_under.as_deref(), Some("k1"));
    let copy = look_at(&path).unwrap();
    assert_eq!(dump(copy.view()), dump(&*store.view()));
    assert_eq!((copy.id(), copy.sealed_under().as_deref()), (store.id(), Some("k1")));
    drop(copy);
    assert_eq!(names(&dir), [STORE_FILE, MARKER_FILE]);
    assert!(matches!(
        Stopped::in_file(&path, &keyring("k2"), &Options::default()),
        Err(OpenError::Keys { .. })
    ));
}

#[test]
fn a_stopped_store_is_looked_at_without_a_change_and_one_that_runs_is_not_touched() {
    let (_folder, dir) = made();
    let file = dir.join(STORE_FILE);
    let before = fs::read(&file).unwrap();
    let stopped = Stopped::in_directory(&dir, &keyring("k1"), &Options::default()).unwrap();
    assert_eq!(get(stopped.view(), "a").unwrap().as_deref(), Some("1"));
    assert!(matches!(open(&dir), Err(OpenError::InUse(_))));
    drop(stopped);
    assert!(fs::read(&file).unwrap() == before);
    let store = open(&dir).unwrap();
    let refused = Stopped::in_directory(&dir, &keyring("k1"), &Options::default());
    assert!(matches!(refused, Err(OpenError::InUse(_))));
    assert!(matches!(look_at(&file), Err(OpenError::InUse(_))));
    put(&store, "b", "2").unwrap();
}

fn fill(store: &Store, rows: u32) {
    let filled = store.write_blocking(move |txn| {
        for number in 0..rows {
            txn.hint(TableId::Projects, format!("row{number}").into_bytes(), vec![b'x'; 10_000]);
        }
        Ok::<(), ()>(())
    });
    assert_eq!(filled, Ok(Ok(())));
}

/// Takes the first of them away again.
fn empty(store: &Store, rows: u32) {
    let removed = store.write_blocking(move |txn| {
        (0..rows).for_each(|number| txn.forget(TableId::Projects, format!("row{number}").as_bytes()));
        Ok::<(), ()>(())
    });
    assert_eq!(removed, Ok(Ok(())));
}

#[test]
fn compacting_gives_space_back_while_reading_and_writing_go_on() {
    let (_folder, dir) = made();
    let store = open(&dir).unwrap();
    fill(&store, 400);
    empty(&store, 390);
    let (before, rows) = (store.view(), dump(&*store.view()));
    let compacted = block_on(store.compact()).unwrap();
    assert!(compacted.bytes_after < compacted.bytes_before / 2, "{compacted:?}");
    assert!(dump(&*store.view()) == rows && store.view().generation() > before.generation());
    drop(before);
    put(&store, "after", "1").unwrap();
    assert_eq!((store.health(), store.stats().reopened), (Health::Well, 0));
    assert_eq!(names(&dir), [STORE_FILE, MARKER_FILE]);
    for _ in 0..3 {
        let again = block_on(store.compact()).unwrap();
        assert!(again.bytes_after <= again.bytes_before, "{again:?}");
    }
    store.close().unwrap();
    let store = open(&dir).unwrap();
    expect(&store, "after", Some("1"));
    expect(&store, "row399", Some(&"x".repeat(10_000)));

    let store = in_memory();
    fill(&store, 10);
    block_on(store.compact()).unwrap();
    expect(&store, "row9", Some(&"x".repeat(10_000)));
}

#[test]
fn a_compaction_that_cannot_take_the_name_leaves_nothing_beside_the_store() {
    let (_folder, dir) = made();
    let store = open(&dir).unwrap();
    fill(&store, 400);
    empty(&store, 390);
    let file = dir.join(STORE_FILE);
    fs::rename(&file, dir.join("away")).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(block_on(store.compact()), Err(WriteError::Unavailable));
    assert_eq!(names(&dir), ["away", STORE_FILE, MARKER_FILE]);
    fs::remove_dir(&file).unwrap();
    fs::rename(dir.join("away"), &file).unwrap();
    put(&store, "after", "1").unwrap();
    block_on(store.compact()).unwrap();
}

#[test]
fn what_walks_through_the_store_while_it_is_compacted_is_asked_again_and_notices_nothing() {
    let store = in_memory();
    fill(&store, 400);
    empty(&store, 200);
    let asked = Cell::new(0);
    let walk = |view: &dyn View| {
        asked.set(asked.get() + 1);
        let mut rows = 0;
        let all = (Bound::Unbounded, Bound::Unbounded);
        view.scan(TableId::Projects, all, Direction::Forwards, &mut |_, _| {
            rows += 1;
            if (rows, asked.get()) == (100, 1) {
                let compacted = block_on(store.compact()).unwrap();
                assert!(compacted.bytes_after < compacted.bytes_before, "{compacted:?}");
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok::<_, Fault>(rows)
    };
    let held = store.view();
    assert_eq!((store.look(walk), asked.get()), (Ok(200), 2));
    assert_eq!(walk(&*held), Err(Fault::Unreadable), "a view that is held ends with its engine");
    asked.set(0);
    let refuse = |_: &dyn View| Err::<(), _>(asked.replace(asked.get() + 1));
    assert_eq!((store.look(refuse), asked.get()), (Err(0), 1), "what is refused is asked once");
    assert_eq!(store.health(), Health::Well);
}

/// A store with a backup of it, and a change since.
fn backed_up() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (folder, dir) = made();
    let backup = folder.path().join("backup");
    let store = open(&dir).unwrap();
    back_up(&store, &backup);
    put(&store, "since", "1").unwrap();
    store.close().unwrap();
    (folder, dir, backup)
}

fn replace(dir: &Path, backup: &Path) -> Result<Replacement, OpenError> {
    Replacement::begin(dir, backup, &keyring("k1"), &Options::default())
}

#[test]
fn a_replacement_takes_the_place_only_when_it_is_finished_and_the_old_store_is_kept() {
    let (_folder, dir, backup) = backed_up();
    let before = fs::read(dir.join(STORE_FILE)).unwrap();

    let replacement = replace(&dir, &backup).unwrap();
    assert!(matches!(open(&dir), Err(OpenError::InUse(_))));
    put(replacement.store(), "restored", "1").unwrap();
    replacement.abandon().unwrap();
    assert_eq!(names(&dir), [STORE_FILE, MARKER_FILE]);
    assert!(fs::read(dir.join(STORE_FILE)).unwrap() == before);

    let replacement = replace(&dir, &backup).unwrap();
    let replaced = replacement.replaced(&keyring("k1"), &Options::default()).unwrap();
    assert_eq!(get(replaced.view(), "since").unwrap().as_deref(), Some("1"));
    drop(replaced);
    expect(replacement.store(), "since", None);
    put(replacement.store(), "restored", "1").unwrap();
    let kept = replacement.finish().unwrap().unwrap();
    assert!(fs::read(&kept).unwrap() == before);
    let store = open(&dir).unwrap();
    expect(&store, "restored", Some("1"));
    expect(&store, "since", None);
    store.close().unwrap();
    assert_ne!(replace(&dir, &backup).unwrap().finish().unwrap(), Some(kept), "each is kept");
}

#[test]
fn a_replacement_that_cannot_take_the_name_leaves_everything_as_it_was() {
    let (_folder, dir, backup) = backed_up();
    let before = fs::read(dir.join(STORE_FILE)).unwrap();
    let replacement = replace(&dir, &backup).unwrap();
    fs::remove_file(dir.join("bearerd.redb.new")).unwrap();
    match replacement.finish() {
        Err(OpenError::System { what: "rename", .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&dir), [STORE_FILE, MARKER_FILE]);
    assert!(fs::read(dir.join(STORE_FILE)).unwrap() == before);
}

#[test]
fn a_store_that_is_gone_or_damaged_can_be_replaced() {
    let (_folder, dir, backup) = backed_up();
    fs::write(dir.join(STORE_FILE), "not a store").unwrap();
    let replacement = replace(&dir, &backup).unwrap();
    let replaced = replacement.replaced(&keyring("k1"), &Options::default());
    assert!(matches!(replaced, Err(OpenError::Damaged { .. })));
    let kept = replacement.finish().unwrap().unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), "not a store");
    expect(&open(&dir).unwrap(), "a", Some("1"));

    fs::remove_file(dir.join(STORE_FILE)).unwrap();
    assert_eq!(replace(&dir, &backup).unwrap().finish().unwrap(), None);
    expect(&open(&dir).unwrap(), "a", Some("1"));

    let elsewhere = dir.with_file_name("elsewhere");
    assert_eq!(replace(&elsewhere, &backup).unwrap().finish().unwrap(), None);
    expect(&open(&elsewhere).unwrap(), "a", Some("1"));
    assert_eq!(presence(&elsewhere).unwrap(), Presence::Present);
}

#[test]
fn what_is_no_whole_backup_replaces_nothing() {
    let (folder, dir, backup) = backed_up();
    let cut = folder.path().join("cut");
    let whole = fs::read(&backup).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    match replace(&dir, &cut) {
        Err(OpenError::Damaged { path, .. }) => assert_eq!(path, cut),
        other => panic!("{other:?}"),
    }
    let keys = Replacement::begin(&dir, &backup, &keyring("k2"), &Options::default());
    assert!(matches!(keys, Err(OpenError::Keys { .. })));
    assert!(matches!(replace(&dir, &folder.path().join("none")), Err(OpenError::System { .. })));
    assert_eq!(names(&dir), [STORE_FILE, MARKER_FILE]);
    let running = open(&dir).unwrap();
    assert!(matches!(replace(&dir, &backup), Err(OpenError::InUse(_))));
    expect(&running, "since", Some("1"));
    drop(running);
    let held = File::open(&backup).unwrap();
    held.lock().unwrap();
    assert!(matches!(replace(&dir, &backup), Err(OpenError::InUse(path)) if path == backup));
}
