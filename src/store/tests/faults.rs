use std::{collections::BTreeSet, io::ErrorKind, sync::Barrier, time::Duration};

use super::{
    basics::{blocking, while_held},
    media::{Deed, Dice, Disk, Event, Fault, Watched, after_power_loss, asks},
    *,
};
use crate::store::{judge::judge, migrate::CURRENT, redb::Medium, site::Site};

/// Longer than anything here takes; whoever waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Every read goes to the medium: nothing is kept.
fn options() -> Options {
    Options { cache_bytes: 0, ..Options::default() }
}

/// A new store on a medium.
pub(crate) fn new_on(disk: &Disk) -> Store {
    let site = Site::new_on(disk.medium(), &options(), &founding()).unwrap();
    Store::start(site, &options(), founding().id, founding().keys()).unwrap()
}

/// Opens what lies on a medium as a start does: judged first, without a change.
pub(crate) fn open_on(medium: Medium) -> Result<Store, OpenError> {
    Store::open_on(Site::on(medium, Path::new("test"), &options()), &keyring("k1"), &options())
}

/// A new store on a medium, and an old one, as `options` say.
pub(crate) fn made_with(disk: &Disk, options: &Options) -> Store {
    let site = Site::new_on(disk.medium(), options, &founding()).unwrap();
    Store::start(site, options, founding().id, founding().keys()).unwrap()
}

/// See [`made_with`].
pub(crate) fn opened_with(disk: &Disk, keyring: &Keyring, options: &Options) -> Result<Store, OpenError> {
    Store::open_on(Site::on(disk.medium(), Path::new("test"), options), keyring, options)
}

/// Two rows that are only ever written together.
fn put_pair(store: &Store, key: &str) -> Result<(), WriteError> {
    let key = key.to_owned();
    let done = store.write_blocking(move |txn| {
        txn.hint(TableId::Projects, format!("{key}/left").into_bytes(), vec![b'l'; 700]);
        txn.hint(TableId::Sealed, format!("{key}/right").into_bytes(), vec![b'r'; 300]);
        Ok::<(), ()>(())
    })?;
    assert_eq!(done, Ok(()));
    Ok(())
}

/// Whether the pair is there: wholly or not at all.
#[track_caller]
fn has_pair(view: &dyn View, key: &str) -> bool {
    let left = view.bytes(TableId::Projects, format!("{key}/left").as_bytes()).unwrap();
    let right = view.bytes(TableId::Sealed, format!("{key}/right").as_bytes()).unwrap();
    assert_eq!(left.is_some(), right.is_some(), "half of {key}");
    assert!(
        left.is_none_or(|left| left == vec![b'l'; 700]) && right.is_none_or(|right| right == vec![b'r'; 300])
    );
    right_number_of_tables(view)
        && view.bytes(TableId::Projects, format!("{key}/left").as_bytes()).unwrap().is_some()
}

fn right_number_of_tables(view: &dyn View) -> bool {
    TableId::ALL.iter().all(|table| view.bytes(*table, b"nothing").is_ok())
}

fn full_disk() -> Fault {
    Fault { deed: None, after: 0, sticky: true, kind: ErrorKind::StorageFull }
}

#[test]
fn a_full_disk_refuses_changes_reading_goes_on_and_service_comes_back_by_itself() {
    let disk = Disk::default();
    let store = new_on(&disk);
    for number in 0..50 {
        put_pair(&store, &format!("before{number}")).unwrap();
    }
    disk.break_with(full_disk());
    assert_eq!(put_pair(&store, "during"), Err(WriteError::Full));
    assert!(matches!(store.health(), Health::Full(_)));
    assert_eq!(put_pair(&store, "during2"), Err(WriteError::Full));
    for number in 0..50 {
        assert!(has_pair(&*store.view(), &format!("before{number}")));
    }
    disk.mend();
    assert!(store.wait_until_well(PATIENCE));
    assert!(!has_pair(&*store.view(), "during"), "its first write failed: nothing can have come of it");
    put_pair(&store, "after").unwrap();
    assert!(store.stats().reopened > 0);
    store.close().unwrap();
    let store = open_on(Disk::holding(disk.bytes()).medium()).unwrap();
    assert!(has_pair(&*store.view(), "before0") && has_pair(&*store.view(), "after"));
}

#[test]
fn other_failures_are_told_apart_from_a_full_disk() {
    for (kind, expected) in [
        (ErrorKind::StorageFull, WriteError::Full),
        (ErrorKind::QuotaExceeded, WriteError::Full),
        (ErrorKind::FileTooLarge, WriteError::Full),
        (ErrorKind::Other, WriteError::Unavailable),
        (ErrorKind::ReadOnlyFilesystem, WriteError::Unavailable),
    ] {
        let disk = Disk::default();
        let store = new_on(&disk);
        disk.break_with(Fault { kind, ..full_disk() });
        assert_eq!(put_pair(&store, "a"), Err(expected), "{kind}");
    }
}

#[test]
fn a_store_opens_for_reading_on_a_full_disk_and_writes_when_there_is_space() {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pair(&store, "a").unwrap();
    store.close().unwrap();
    disk.break_with(full_disk());
    let store = open_on(disk.medium()).unwrap();
    assert!(has_pair(&*store.view(), "a"));
    assert_eq!(put_pair(&store, "b"), Err(WriteError::Full));
    disk.mend();
    assert!(store.wait_until_well(PATIENCE));
    put_pair(&store, "b").unwrap();
}

/// How often the engine syncs `bytes` while it opens them, by itself.
fn syncs_of_opening(bytes: Vec<u8>) -> usize {
    let disk = Disk::holding(bytes);
    disk.record();
    let site = Site::on(disk.medium(), Path::new("test"), &options());
    let engine = site.open_engine().unwrap();
    let syncs = disk.events().iter().filter(|event| matches!(event, Event::Sync)).count();
    engine.abandon().unwrap();
    engine.discard();
    syncs
}

/// After a crash of the process, what lies there may be in the system's memory alone. Readers are served by it;
/// nothing is built on it before the disk has said that it has it.
#[test]
fn what_was_found_is_confirmed_to_be_on_the_disk_before_anybody_asks_for_a_change() {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pair(&store, "a").unwrap();
    let crashed = disk.bytes();
    store.close().unwrap();
    for bytes in [crashed, disk.bytes()] {
        let disk = Disk::holding(bytes.clone());
        let after = syncs_of_opening(bytes);
        disk.break_with(Fault { deed: Some(Deed::Sync), after, sticky: true, kind: ErrorKind::Other });
        let store = open_on(disk.medium()).unwrap();
        assert_eq!(store.write_blocking(|_| Ok::<(), ()>(())), Err(WriteError::Unavailable));
        assert!(disk.struck());
        assert!(has_pair(&*store.view(), "a"));
        disk.mend();
        assert!(store.wait_until_well(PATIENCE));
        put_pair(&store, "b").unwrap();
    }
}

#[test]
fn the_size_of_the_file_is_told_from_the_start_and_after_each_change() {
    let disk = Disk::default();
    let store = new_on(&disk);
    let told = || (store.stats().file_bytes, disk.bytes().len() as u64);
    assert_eq!(store.write_blocking(|_| Ok::<(), ()>(())), Ok(Ok(())), "the writer has begun");
    let (first, size) = told();
    assert_eq!(first, size);
    store
        .write_blocking(move |txn| {
            txn.hint(TableId::Projects, b"long".to_vec(), vec![1; 4 << 20]);
            Ok::<(), ()>(())
        })
        .unwrap()
        .unwrap();
    let (grown, size) = told();
    assert_eq!(grown, size);
    assert!(grown > first);
}

/// More than the one page that an open table keeps at hand.
fn put_pages(store: &Store) {
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        put_pair(store, key).unwrap();
    }
}

#[test]
fn a_read_that_fails_is_no_answer_and_the_next_one_is() {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pages(&store);
    let stale = store.view();
    disk.break_with(Fault { deed: Some(Deed::Read), after: 0, sticky: false, kind: ErrorKind::Other });
    assert_eq!(get(&*stale, "a/left"), Err(crate::records::Fault::Unreadable));
    assert!(disk.struck());
    while store.stats().reopened == 0 {
        std::thread::yield_now();
    }
    assert!(store.wait_until_well(PATIENCE));
    forget_unread(&store);
    assert!(has_pair(&*store.view(), "a"));
    put_pair(&store, "k").unwrap();
    // What was taken before the reopening tells nothing wrong, and takes nobody down again.
    let _ = stale.bytes(TableId::Projects, b"a/left");
    assert_eq!((store.health(), store.stats().reopened), (Health::Well, 1));
}

#[test]
fn once_a_read_has_failed_no_further_operation_of_the_batch_is_run() {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pages(&store);
    let ran = Arc::new(AtomicU64::new(0));
    let (breaking, counted) = (disk.clone(), Arc::clone(&ran));
    let (reading, further) = while_held(&store, || {
        let reading = store.write(move |txn| {
            let kind = ErrorKind::Other;
            breaking.break_with(Fault { deed: Some(Deed::Read), after: 0, sticky: false, kind });
            txn.bytes(TableId::Projects, b"a/left")
        });
        let further = store.write(move |_| Ok::<_, ()>(counted.fetch_add(1, Ordering::AcqRel)));
        (reading, further)
    });
    assert_eq!(blocking(reading), Err(WriteError::Unavailable));
    assert_eq!(blocking(further), Err(WriteError::Unavailable));
    assert!(disk.struck());
    assert_eq!(ran.load(Ordering::Acquire), 0);
    assert!(store.wait_until_well(PATIENCE));
    forget_unread(&store);
    assert!(has_pair(&*store.view(), "a"));
}

const UNREADABLE: Result<Option<String>, crate::records::Fault> = Err(crate::records::Fault::Unreadable);

/// A store, and a page of it that cannot be read for good: `a/left` lies on it, `j/left` does not.
fn with_a_bad_page() -> (Disk, Store) {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pages(&store);
    assert!(get(&*store.view(), "a/left").unwrap().is_some());
    disk.lose_what_was_read_last();
    (disk, store)
}

#[test]
fn whoever_keeps_asking_for_a_row_that_cannot_be_read_holds_up_nobody_else() {
    let (disk, store) = with_a_bad_page();
    let left = Some("l".repeat(700));
    for number in 0..20 {
        assert_eq!(get(&*store.view(), "a/left"), UNREADABLE);
        if number == 0 {
            settle(&store);
            remember_unread(&store, "a/left");
        }
        expect(&store, "j/left", left.as_deref());
        put_pair(&store, &format!("k{number}")).unwrap();
        assert_eq!(store.health(), Health::Well);
    }
    assert_eq!(store.stats().reopened, 1);
    disk.mend();
    assert_eq!(get(&*store.view(), "a/left"), UNREADABLE, "it is remembered");
    forget_unread(&store);
    expect(&store, "a/left", left.as_deref());
    put_pair(&store, "a").unwrap();
    assert_eq!((store.health(), store.stats().reopened), (Health::Well, 1));
}

#[test]
fn what_is_not_remembered_any_more_is_asked_for_again_and_costs_one_opening() {
    let (_disk, store) = with_a_bad_page();
    for reopened in 1..=3 {
        assert_eq!(get(&*store.view(), "a/left"), UNREADABLE);
        settle(&store);
        assert_eq!(store.stats().reopened, reopened);
        forget_unread(&store);
    }
}

/// The engine gives up with the first read that fails, and refuses what others ask it for until it is opened again.
#[test]
fn only_the_row_that_could_not_be_read_is_remembered_and_not_what_failed_with_it() {
    let (_disk, store) = with_a_bad_page();
    let (entered, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (enter, go) = (Arc::clone(&entered), Arc::clone(&go_on));
    // So that the writer does not open it meanwhile.
    let held = store.write(move |_| {
        enter.wait();
        go.wait();
        Ok::<(), ()>(())
    });
    entered.wait();
    assert_eq!(get(&*store.view(), "a/left"), UNREADABLE);
    assert_eq!(get(&*store.view(), "j/left"), UNREADABLE);
    go_on.wait();
    assert_eq!(blocking(held), Err(WriteError::Unavailable));
    settle(&store);
    expect(&store, "j/left", Some(&"l".repeat(700)));
}

#[test]
fn an_operation_that_needs_a_row_that_could_not_be_read_fails_alone_and_leaves_nothing() {
    let (_disk, store) = with_a_bad_page();
    let reads = |txn: &mut Txn<'_>| asks(|| txn.bytes(TableId::Projects, b"a/left")).map(drop);
    let begun = Instant::now();
    assert_eq!(store.write_blocking(reads), Err(WriteError::Unavailable), "the batch has failed");
    let unread = store.0.shared.condition.unread();
    assert!(unread.holds_at(TableId::Projects, b"a/left", begun), "and the row is remembered");
    settle(&store);
    assert_eq!(store.stats().reopened, 1);
    remember_unread(&store, "a/left");
    let answers = while_held(&store, || {
        let reading = store.write(reads);
        // It takes what it cannot have for nothing, as no operation should.
        let mistaken = store.write(|txn| {
            let found = asks(|| txn.bytes(TableId::Projects, b"a/left")).ok().flatten();
            txn.hint(TableId::Projects, b"mistaken".to_vec(), vec![u8::from(found.is_some())]);
            Ok::<(), crate::records::Fault>(())
        });
        let other = store.write(|txn| {
            txn.hint(TableId::Projects, b"other".to_vec(), b"there".to_vec());
            Ok::<(), crate::records::Fault>(())
        });
        (reading, mistaken, other)
    });
    assert_eq!(blocking(answers.0), Err(WriteError::Unavailable));
    assert_eq!(blocking(answers.1), Err(WriteError::Unavailable));
    assert_eq!(blocking(answers.2), Ok(Ok(())));
    expect(&store, "mistaken", None);
    expect(&store, "other", Some("there"));
    assert_eq!((store.health(), store.stats().reopened), (Health::Well, 1));
}

/// Pages that only an old view needs are free to the new engine: it must not go on reading.
#[test]
fn a_backup_during_which_the_store_was_opened_again_fails_and_the_next_one_is_whole() {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pages(&store);
    let (source, struck) = (store.clone(), AtomicBool::new(false));
    let medium = Medium::custom(Watched::new(move || {
        if !struck.swap(true, Ordering::AcqRel) {
            disk.break_with(Fault { sticky: false, ..full_disk() });
            assert_eq!(put_pair(&source, "k"), Err(WriteError::Full));
            assert!(source.wait_until_well(PATIENCE));
        }
    }));
    assert!(Backup::copied(&store.view(), &medium).is_err());
    assert_eq!(store.stats().reopened, 1);
    let rows = Backup::copied(&store.view(), &Disk::default().medium()).unwrap().rows;
    assert_eq!(rows, u64::try_from(dump(&*store.view()).len()).unwrap());
}

/// Runs the same few changes with one deed failing; true if it struck.
#[track_caller]
fn sweep(fault: Fault) -> bool {
    let disk = Disk::default();
    let store = new_on(&disk);
    put_pair(&store, "first").unwrap();
    disk.break_with(fault);
    let mut acknowledged = vec!["first"];
    for key in ["a", "b", "c"] {
        match put_pair(&store, key) {
            Ok(()) => acknowledged.push(key),
            Err(error) => {
                assert_eq!(error, WriteError::Unavailable);
                if !fault.sticky {
                    assert!(store.wait_until_well(PATIENCE));
                }
            }
        }
        for key in &acknowledged {
            assert!(has_pair(&*store.view(), key), "{key} with {fault:?}");
        }
    }
    let struck = disk.struck();
    disk.mend();
    let _ = store.close();
    let store = open_on(Disk::holding(disk.bytes()).medium()).unwrap();
    for key in acknowledged {
        assert!(has_pair(&*store.view(), key), "{key} after a restart, with {fault:?}");
    }
    for key in ["a", "b", "c"] {
        has_pair(&*store.view(), key);
    }
    put_pair(&store, "last").unwrap();
    struck
}

#[test]
fn whichever_deed_fails_once_or_for_good_nothing_acknowledged_is_lost_and_nothing_is_half_done() {
    for deed in [Deed::Write, Deed::Sync, Deed::SetLen] {
        for sticky in [false, true] {
            let struck = (0..64)
                .take_while(|after| {
                    sweep(Fault { deed: Some(deed), after: *after, sticky, kind: ErrorKind::Other })
                })
                .count();
            let least = if deed == Deed::SetLen { 0 } else { 6 };
            assert!(struck >= least, "{deed:?} was reached {struck} times");
        }
    }
}

/// A store that was made on `disk`, and then written to with everything recorded.
pub(crate) fn recorded(disk: &Disk, changes: usize) -> Vec<u8> {
    new_on(disk).close().unwrap();
    let start = disk.bytes();
    disk.record();
    let store = open_on(disk.medium()).unwrap();
    for number in 0..changes {
        put_pair(&store, &number.to_string()).unwrap();
        disk.acknowledge(&number.to_string());
    }
    store.close().unwrap();
    start
}

#[track_caller]
pub(crate) fn check_image(image: Vec<u8>, events: &[Event], changes: usize) -> Disk {
    let disk = Disk::holding(image);
    disk.record();
    let store = open_on(disk.medium()).unwrap();
    let acknowledged: BTreeSet<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Acknowledged(key) => Some(key.as_str()),
            Event::Write(..) | Event::SetLen(_) | Event::Sync => None,
        })
        .collect();
    let view = store.view();
    for number in 0..changes {
        let there = has_pair(&*view, &number.to_string());
        assert!(there || !acknowledged.contains(number.to_string().as_str()), "{number} is lost");
        assert!(!there || number <= acknowledged.len(), "{number} was never asked for");
    }
    put_pair(&store, "next").unwrap();
    disk
}

#[test]
fn an_acknowledged_change_survives_a_power_cut_at_any_moment() {
    let (disk, changes) = (Disk::default(), 12);
    let start = recorded(&disk, changes);
    let events = disk.events();
    for cut in 0..=events.len() {
        let mut dice = Dice::new(cut as u64 + 1);
        let image = after_power_loss(&start, &events[..cut], &mut dice);
        let again = check_image(image.clone(), &events[..cut], changes);
        // And once more while it recovers.
        let recovering = again.events();
        let second = dice.below(recovering.len() + 1);
        let image = after_power_loss(&image, &recovering[..second], &mut dice);
        check_image(image, &events[..cut], changes);
    }
}

/// A closed store, and what it holds.
pub(crate) fn closed() -> (Vec<u8>, Dump) {
    let disk = Disk::default();
    let store = new_on(&disk);
    for number in 0..40 {
        put_pair(&store, &number.to_string()).unwrap();
    }
    let rows = dump(&*store.view());
    store.close().unwrap();
    (disk.bytes(), rows)
}

/// Opens a file that was changed: either it is refused, and not written to, or nothing is different.
pub(crate) fn check_changed(bytes: &[u8], rows: &Dump, what: &str) -> bool {
    let disk = Disk::holding(bytes.to_vec());
    let site = Site::on(disk.medium(), Path::new("test"), &options());
    let whole = judge(&site, &options(), &keyring("k1"), &CURRENT).is_ok();
    assert_eq!(disk.bytes(), bytes, "{what}: written to");
    if whole {
        let store = open_on(disk.medium()).unwrap();
        assert!(dump(&*store.view()) == *rows, "{what}: another answer");
    }
    whole
}

/// `BEARERD_DAMAGED` is 10,000 in the thorough run: flipped bits, and with them a fifth as many of the next test.
#[test]
fn a_bit_that_was_flipped_anywhere_is_refused_or_changes_nothing() {
    let (bytes, rows) = closed();
    assert!(check_changed(&bytes, &rows, "unchanged"));
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut dice = Dice::new(7);
    let mut refused = 0;
    let images = wanted("BEARERD_DAMAGED", 300);
    for _ in 0..images {
        let (at, bit) = (used[dice.below(used.len())], dice.below(8));
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        refused += usize::from(!check_changed(&changed, &rows, &format!("bit {bit} of byte {at}")));
    }
    assert!(refused > images / 6, "{refused}");
    println!("{images} images with a flipped bit: {refused} refused, the others no different");
}

#[test]
fn a_file_cut_short_blanked_or_shuffled_is_refused_or_changes_nothing() {
    let (bytes, rows) = closed();
    let pages = bytes.len() / 4096;
    let mut dice = Dice::new(8);
    let images = wanted("BEARERD_DAMAGED", 300) / 5;
    let mut refused = 0;
    for number in 0..images {
        let mut changed = bytes.clone();
        let (one, other) = (dice.below(pages) * 4096, dice.below(pages) * 4096);
        let what = match number % 3 {
            0 => {
                changed.truncate(one + dice.below(4096));
                "cut short"
            }
            1 => {
                changed[one..one + 4096].fill(0);
                "blanked"
            }
            _ => {
                let page = bytes[one..one + 4096].to_vec();
                changed[other..other + 4096].copy_from_slice(&page);
                "shuffled"
            }
        };
        refused += usize::from(!check_changed(&changed, &rows, &format!("{what} at {one}, {other}")));
    }
    println!("{images} images cut short, blanked and shuffled: {refused} refused, the others no different");
    assert!(!check_changed(&b"this is no store at all".repeat(999), &rows, "garbage"));
}
