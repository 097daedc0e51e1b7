use std::sync::{Barrier, mpsc};

use super::{media::Watched, *};
use crate::records::meta::{AuditHead, Setup};

#[test]
fn a_new_store_has_every_table_and_the_singletons() {
    let store = in_memory();
    let view = store.view();
    assert!(Setup::of(&*view).unwrap().pending());
    assert_eq!(AuditHead::of(&*view).unwrap(), AuditHead::EMPTY);
    assert_eq!(HighestTime::of(&*view).unwrap(), HighestTime { millis: 1_000 });
    for table in TableId::ALL {
        assert_eq!(view.bytes(table, b"nothing"), Ok(None), "{}", table.name());
    }
    assert_eq!(store.id(), &[3; 16]);
}

#[test]
fn what_was_answered_is_in_the_next_view_and_the_old_view_stays_as_it_was() {
    let store = in_memory();
    let before = store.view();
    put(&store, "a", "1").unwrap();
    assert_eq!(get(&*before, "a"), Ok(None));
    expect(&store, "a", Some("1"));
    assert!(store.view().generation() > before.generation());
}

#[test]
fn a_refused_operation_leaves_nothing_and_commits_nothing() {
    let store = in_memory();
    let before = store.stats();
    let refused = store.write_blocking(|txn| {
        txn.hint(TableId::Projects, b"a".to_vec(), b"1".to_vec());
        Err::<(), _>("no")
    });
    assert_eq!(refused, Ok(Err("no")));
    expect(&store, "a", None);
    assert_eq!((store.stats().commits, store.stats().generation), (before.commits, before.generation));
}

#[test]
fn a_panicking_operation_leaves_nothing_and_the_next_ones_go_on() {
    let store = in_memory();
    let broken = store.write_blocking(|txn| -> Result<(), ()> {
        txn.hint(TableId::Projects, b"a".to_vec(), b"1".to_vec());
        panic!("on purpose");
    });
    assert_eq!(broken, Err(WriteError::Internal));
    let broken = store.write_blocking(|txn| -> Result<(), ()> {
        // Inside of a walk over the engine's own rows.
        txn.scan(TableId::Meta, (Bound::Unbounded, Bound::Unbounded), Direction::Forwards, &mut |_, _| {
            panic!("on purpose")
        })
        .map_err(|_| ())
    });
    assert_eq!(broken, Err(WriteError::Internal));
    put(&store, "b", "2").unwrap();
    expect(&store, "a", None);
    expect(&store, "b", Some("2"));
    assert_eq!((store.health(), store.stats().reopened), (Health::Well, 0));
}

pub(in crate::store) type Operation<T> = Box<dyn FnOnce(&mut Txn<'_>) -> Result<T, &'static str> + Send>;

/// Holds the writer inside of an operation until `hand_over` is done: what that hands over waits behind it, and is
/// taken together.
pub(super) fn while_held<T>(store: &Store, hand_over: impl FnOnce() -> T) -> T {
    let entered = Arc::new(Barrier::new(2));
    let go_on = Arc::new(Barrier::new(2));
    let (enter, go) = (Arc::clone(&entered), Arc::clone(&go_on));
    let blocker = store.write(move |_| {
        enter.wait();
        go.wait();
        Err::<(), ()>(())
    });
    entered.wait();
    let waiting = hand_over();
    go_on.wait();
    assert_eq!(blocking(blocker), Ok(Err(())));
    waiting
}

pub(super) fn blocking<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Has all of `operations` wait for the writer, so that they are one batch.
pub(in crate::store) fn as_one_batch<T: Send + 'static>(
    store: &Store,
    operations: Vec<Operation<T>>,
) -> Vec<Result<Result<T, &'static str>, WriteError>> {
    let waiting: Vec<_> =
        while_held(store, || operations.into_iter().map(|operation| store.write(operation)).collect());
    waiting.into_iter().map(blocking).collect()
}

#[test]
fn a_batch_is_one_commit_in_which_each_sees_what_came_before() {
    let store = in_memory();
    let before = store.stats().commits;
    let operations = (0..64)
        .map(|number: u32| {
            let operation = move |txn: &mut Txn<'_>| {
                let seen = txn.bytes(TableId::Projects, b"count").map_err(|_| "fault")?;
                let seen = seen.map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
                if number % 8 == 7 {
                    txn.hint(TableId::Projects, b"count".to_vec(), 999u32.to_be_bytes().to_vec());
                    return Err("no");
                }
                txn.hint(TableId::Projects, b"count".to_vec(), (seen + 1).to_be_bytes().to_vec());
                Ok(seen)
            };
            Box::new(operation) as Box<_>
        })
        .collect();
    let answers = as_one_batch::<u32>(&store, operations);
    let accepted: Vec<u32> = answers.iter().filter_map(|answer| answer.unwrap().ok()).collect();
    assert_eq!(accepted, (0..56).collect::<Vec<_>>());
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Err("no"))).count(), 8);
    assert_eq!(store.stats().commits, before + 1);
}

#[test]
fn one_operation_too_many_is_refused_at_once_and_the_others_run() {
    let options = Options { queue_operations_max: 2, ..Options::default() };
    let store = Store::in_memory(&founding(), &options).unwrap();
    let operations =
        (0..3).map(|number: u32| Box::new(move |_: &mut Txn<'_>| Ok(number)) as Box<_>).collect();
    let answers = as_one_batch::<u32>(&store, operations);
    assert_eq!(answers, [Ok(Ok(0)), Ok(Ok(1)), Err(WriteError::Busy)]);
    assert_eq!(store.stats().refused_busy, 1);
}

#[test]
fn a_reader_after_an_answer_always_sees_it() {
    let store = in_memory();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut generation = 0;
                for round in 0..100 {
                    let key = format!("{thread}/{round}");
                    put(&store, &key, "x").unwrap();
                    let view = store.view();
                    assert_eq!(get(&*view, &key).unwrap().as_deref(), Some("x"));
                    assert!(view.generation() > generation);
                    generation = view.generation();
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!(stats.batch_operations.sum, 400);
    assert_eq!(stats.batch_operations.count, stats.commits);
}

#[test]
fn a_scan_walks_both_ways_and_stops_when_told() {
    let store = in_memory();
    for key in ["a", "b", "c", "d"] {
        put(&store, key, "").unwrap();
    }
    let walk = |range, direction, most: usize| {
        let mut keys = String::new();
        let view = store.view();
        view.scan(TableId::Projects, range, direction, &mut |key, _| {
            keys.push(char::from(key[0]));
            Ok(if keys.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        keys
    };
    let all = (Bound::Unbounded, Bound::Unbounded);
    let middle = (Bound::Included(b"b".as_slice()), Bound::Excluded(b"d".as_slice()));
    let none = (Bound::Included(b"d".as_slice()), Bound::Excluded(b"b".as_slice()));
    assert_eq!(walk(all, Direction::Forwards, 9), "abcd");
    assert_eq!(walk(all, Direction::Backwards, 2), "dc");
    assert_eq!(walk(middle, Direction::Backwards, 9), "cb");
    assert_eq!(walk(none, Direction::Forwards, 9), "");
}

#[test]
fn time_is_kept_by_commits_and_turned_back_only_by_the_operation_that_may() {
    let (time, clock) = fixed(5_000);
    let options = Options { time, ..Options::default() };
    let store = Store::in_memory(&founding(), &options).unwrap();
    let turn = |store: &Store| store.write_blocking(|txn| Ok::<_, ()>(txn.now_ms())).unwrap().unwrap();
    assert_eq!(turn(&store), 5_000);
    put(&store, "a", "1").unwrap();
    advance(&clock, 2_000);
    assert_eq!((turn(&store), store.now_ms(), store.stats().clock_behind_ms), (5_000, 5_000, 3_000));
    assert_eq!(HighestTime::of(&*store.view()).unwrap().millis, 5_000);

    let refused = blocking(store.write_turning_clock_back(|_| Err::<(), _>("no")));
    assert_eq!((refused, store.now_ms()), (Ok(Err("no")), 5_000));
    let turned = blocking(store.write_turning_clock_back(|txn| Ok::<_, ()>(txn.now_ms())));
    assert_eq!((turned, store.now_ms()), (Ok(Ok(2_000)), 2_000));
    assert_eq!(HighestTime::of(&*store.view()).unwrap().millis, 2_000);
}

/// In one batch with others it would either have their time turned back or be kept from turning it back itself.
#[test]
fn an_operation_that_turns_the_clock_back_is_a_commit_of_its_own_between_what_came_before_and_after() {
    let (time, clock) = fixed(5_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    put(&store, "highest", "time").unwrap();
    advance(&clock, 2_000);
    let before = store.stats().commits;
    let write = |key: &str| {
        let key = key.as_bytes().to_vec();
        move |txn: &mut Txn<'_>| {
            txn.hint(TableId::Projects, key, Vec::new());
            Ok::<_, ()>(txn.now_ms())
        }
    };
    let (first, turning, last) = while_held(&store, || {
        (store.write(write("a")), store.write_turning_clock_back(write("b")), store.write(write("c")))
    });
    let times = (blocking(first), blocking(turning), blocking(last));
    assert_eq!(times, (Ok(Ok(5_000)), Ok(Ok(2_000)), Ok(Ok(2_000))));
    assert_eq!(store.stats().commits, before + 3);
    assert_eq!((HighestTime::of(&*store.view()).unwrap().millis, store.now_ms()), (2_000, 2_000));
}

#[test]
fn an_operation_can_raise_the_highest_time_and_not_lower_it() {
    let (time, _clock) = fixed(5_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    for (written, kept) in [(90_000, 90_000), (7_000, 90_000)] {
        let done = store.write_blocking(move |txn| txn.note(&HighestTime { millis: written }));
        assert_eq!(done, Ok(Ok(())));
        assert_eq!((HighestTime::of(&*store.view()).unwrap().millis, store.now_ms()), (kept, kept));
    }
}

#[test]
fn the_time_at_which_something_was_refused_as_expired_reaches_the_store() {
    let (time, clock) = fixed(5_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    advance(&clock, 90_500);
    let kept = || HighestTime::of(&*store.view()).unwrap().millis;
    store.keep_time(Time::from_unix(1));
    assert_eq!(store.write_blocking(|_| Ok::<(), ()>(())), Ok(Ok(())));
    assert_eq!(kept(), 1_000, "the store holds that time already");
    store.keep_time(Time::from_unix(90));
    assert_eq!(store.write_blocking(|_| Ok::<(), ()>(())), Ok(Ok(())));
    assert_eq!(kept(), 90_500);
}

/// Many are refused as expired at once; the writer has nothing to do for those whose time it holds or will.
#[test]
fn a_time_that_the_store_holds_or_was_asked_to_keep_is_not_asked_for_again() {
    let (time, _clock) = fixed(90_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    put(&store, "highest", "time").unwrap();
    let depths = while_held(&store, || {
        [90, 30, 91, 91, 91, 90, 92].map(|seconds| {
            store.keep_time(Time::from_unix(seconds));
            store.stats().queue_depth
        })
    });
    assert_eq!(depths, [0, 0, 1, 1, 1, 1, 2]);
}

#[test]
fn after_the_clock_was_turned_back_the_times_that_follow_are_kept_again() {
    let (time, clock) = fixed(90_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    store.keep_time(Time::from_unix(90));
    advance(&clock, 5_000);
    assert_eq!(blocking(store.write_turning_clock_back(|_| Ok::<(), ()>(()))), Ok(Ok(())));
    advance(&clock, 20_000);
    store.keep_time(Time::from_unix(20));
    assert_eq!(store.write_blocking(|_| Ok::<(), ()>(())), Ok(Ok(())));
    assert_eq!(HighestTime::of(&*store.view()).unwrap().millis, 20_000);
}

#[test]
fn a_closed_store_refuses_changes() {
    let store = in_memory();
    put(&store, "a", "1").unwrap();
    store.close().unwrap();
    assert_eq!(put(&store, "b", "2"), Err(WriteError::Unavailable));
    assert_eq!(store.health(), Health::Closed);
    store.close().unwrap();
}

#[test]
fn operations_within_a_millisecond_are_told_apart_by_their_turns() {
    let (time, clock) = fixed(5_000);
    let store = Store::in_memory(&founding(), &Options { time, ..Options::default() }).unwrap();
    let turn = || store.write_blocking(|txn| Ok::<_, ()>(txn.in_turn([9; 10]))).unwrap().unwrap();
    let turns = [turn(), turn(), turn()].map(|random| u16::from_be_bytes([random[0], random[1]]));
    assert_eq!((turns[1], turns[2]), (turns[0] + 1, turns[0] + 2));
    assert_eq!(turn()[2..], [9; 8], "the rest is as it was drawn");
    advance(&clock, 5_001);
    assert!(turn()[0] < 8, "another millisecond begins in the lower half again");
}

#[test]
fn a_refused_operation_writes_nothing_to_the_disk() {
    let writes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&writes);
    let medium = Medium::custom(Watched::new(move || {
        counted.fetch_add(1, Ordering::AcqRel);
    }));
    let options = Options::default();
    let site = Site::new_on(medium, &options, &founding()).unwrap();
    let store = Store::start(site, &options, founding().id, founding().keys()).unwrap();
    put(&store, "a", "1").unwrap();
    let before = writes.load(Ordering::Acquire);
    assert_eq!(store.write_blocking(|_| Err::<(), _>("no")), Ok(Err("no")));
    assert_eq!(writes.load(Ordering::Acquire), before);
    put(&store, "a", "2").unwrap();
    assert!(writes.load(Ordering::Acquire) > before);
}

/// For the watchdog: an operation that hangs is the writer's fault, a disk that does is not.
#[test]
fn the_writer_is_at_the_disk_while_it_begins_and_commits_and_not_in_an_operation() {
    let armed = Arc::new(AtomicBool::new(false));
    let (arrive, arrived) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (arm, may_go_on) = (Arc::clone(&armed), Mutex::new(may_go_on));
    let medium = Medium::custom(Watched::new(move || {
        let writes = std::thread::current().name() == Some("store-writer");
        if writes && armed.swap(false, Ordering::AcqRel) {
            arrive.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
    }));
    let options = Options::default();
    let site = Site::new_on(medium, &options, &founding()).unwrap();
    let halted = |store: &Store, at: &str| {
        arrived.recv().unwrap();
        assert!(store.waits_for_disk(), "{at}");
        go_on.send(()).unwrap();
    };

    arm.store(true, Ordering::Release);
    let store = Store::start(site, &options, founding().id, founding().keys()).unwrap();
    halted(&store, "while what was found is made durable");
    put(&store, "a", "1").unwrap();

    arm.store(true, Ordering::Release);
    let writing = store.clone();
    let written = std::thread::spawn(move || {
        let asked = writing.clone();
        writing.write_blocking(move |txn| {
            txn.hint(TableId::Projects, b"b".to_vec(), b"2".to_vec());
            Ok::<_, ()>(asked.waits_for_disk())
        })
    });
    halted(&store, "while the commit is written");
    assert_eq!(written.join().unwrap(), Ok(Ok(false)), "in the operation itself");
    let begun = std::time::Instant::now();
    while store.waits_for_disk() {
        assert!(begun.elapsed().as_secs() < 30, "it never comes back from there");
        std::thread::yield_now();
    }
}
