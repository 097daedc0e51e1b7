//! That no hot row outlives its truth: orders of events that are forced, and threads that are let loose.

use std::{sync::atomic::AtomicBool, thread};

use super::*;
use crate::{
    records::{
        Action, By, Params, Time, Txn,
        held::HELD_BYTES_MAX,
        token::Owner,
        txn::{Rows, TableRows},
    },
    rules::{
        Denied, Reason, Refusal,
        access::{Caller, Who},
        tokens::{self, Fresh, Minted},
        users::{self, NewUser},
        verify::{self, Asking, Good, Presented},
    },
    settings::CredentialKind,
    store::{
        Store,
        redb::{Batch, Engine, Medium},
        tests::{
            self,
            basics::{Operation, as_one_batch},
        },
    },
    token::{ClientId, HostId, Key, Kind, Prefix, TokenId, UserId},
};

/// A store with one user, whose tokens come and go.
struct Town {
    store: Store,
    anna: UserId,
    drawn: u8,
}

impl Town {
    fn new() -> Self {
        let store = tests::in_memory();
        let anna = store
            .write_blocking(|txn| {
                let id = UserId::from_parts(txn.now_ms(), [1; 10]);
                txn.entry(&By::system(), Action::UserCreate, id, Params::none())?;
                let new = NewUser {
                    email: "anna@example.org".to_owned(),
                    name: None,
                    groups: vec!["operator".to_owned()],
                    password: None,
                    service: None,
                };
                users::insert(txn, id, new).map(|user| user.id)
            })
            .unwrap()
            .unwrap();
        Self { store, anna, drawn: 0 }
    }

    /// A new PAT of hers.
    fn pat(&mut self, name: &str) -> Minted {
        self.drawn += 1;
        let (owner, name) = (Owner::User(self.anna), name.to_owned());
        let fresh = Fresh { id: [self.drawn; 10], secret: [self.drawn; 32].into() };
        self.change(move |txn| {
            let mut minted = tokens::blank(txn, &Prefix::default(), Kind::Pat, owner, None, &fresh);
            minted.token.name = name;
            txn.entry(&By::system(), Action::TokenCreate, minted.token.id, Params::none())?;
            tokens::insert(txn, minted.token.clone())?;
            Ok(minted)
        })
    }

    fn change<T: Send + 'static>(
        &self,
        rule: impl FnOnce(&mut Txn<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> T {
        self.store.write_blocking(rule).unwrap().unwrap()
    }

    fn revoke(&self, id: TokenId) {
        self.change(move |txn| revoke(txn, id));
    }

    fn user(&self, change: fn(User) -> User) {
        let anna = self.anna;
        self.change(move |txn| {
            txn.entry(&By::system(), Action::UserUpdate, anna, Params::none())?;
            let before = User::by_id(txn, anna)?.unwrap();
            users::put(txn, Some(&before), change(before.clone()))?;
            Ok(())
        });
    }

    fn verify(&self, token: &Minted) -> Result<Good, Refusal> {
        let presented = presented(token);
        self.store.ask(|view| verify::verify(view, &presented, &asking()))
    }

    fn hot(&self) -> &HotRows {
        &self.store.0.shared.hot
    }

    fn is_hot(&self, id: TokenId) -> bool {
        self.hot().find(TableId::Tokens, id.as_bytes()).is_some()
    }
}

fn revoke(txn: &mut Txn<'_>, id: TokenId) -> Result<(), Refusal> {
    txn.entry(&By::system(), Action::TokenRevoke, id, Params::none())?;
    let token = Token::by_id(txn, id)?.unwrap();
    Ok(txn.put(Token { revoked_at: Some(txn.now()), ..token })?)
}

fn presented(token: &Minted) -> Presented {
    Presented::Token(crate::token::text::parse(token.secret.expose()).unwrap())
}

fn asking() -> Asking<'static> {
    Asking { now: Time::from_unix(2_000_000_000), from: None, kinds: &[CredentialKind::Pat], noted: None }
}

fn reason(outcome: Result<Good, Refusal>) -> Option<Reason> {
    match outcome {
        Ok(_) => None,
        Err(Refusal::Denied(Denied { reason, .. })) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_good_token_becomes_hot_with_its_owner_and_one_that_is_refused_does_not() {
    let mut town = Town::new();
    let (good, dead) = (town.pat("a"), town.pat("b"));
    town.revoke(dead.token.id);
    assert_eq!(reason(town.verify(&dead)), Some(Reason::Revoked));
    assert!(!town.is_hot(dead.token.id));
    assert_eq!(reason(town.verify(&good)), None);
    assert!(town.is_hot(good.token.id));
    assert!(town.hot().find(TableId::Users, town.anna.as_bytes()).is_some());
    // Somebody who knows the id alone is refused by the row that is hot.
    let mut wrong = presented(&good);
    if let (Presented::Token(wrong), Presented::Token(other)) = (&mut wrong, presented(&dead)) {
        wrong.hash = other.hash;
    }
    assert_eq!(reason(town.store.ask(|view| verify::verify(view, &wrong, &asking()))), Some(Reason::Hash));
}

#[test]
fn a_row_of_many_bytes_is_read_each_time() {
    let mut town = Town::new();
    let long = town.pat(&"x".repeat(HELD_BYTES_MAX));
    assert_eq!(reason(town.verify(&long)), None);
    assert!(!town.is_hot(long.token.id));
}

#[test]
fn whatever_is_changed_is_seen_by_the_next_question() {
    let mut town = Town::new();
    for _ in 0..20 {
        let pat = town.pat("a");
        assert_eq!(town.verify(&pat).unwrap().identity.groups(), ["operator"]);
        town.user(|user| User { groups: Vec::new(), ..user });
        assert_eq!(town.verify(&pat).unwrap().identity.groups(), [""; 0]);
        town.user(|user| User { active: false, ..user });
        assert_eq!(reason(town.verify(&pat)), Some(Reason::OwnerInactive));
        town.user(|user| User { active: true, groups: vec!["operator".to_owned()], ..user });
        assert_eq!(reason(town.verify(&pat)), None);
        town.revoke(pat.token.id);
        assert_eq!(reason(town.verify(&pat)), Some(Reason::Revoked));
    }
}

#[test]
fn an_operation_goes_by_a_row_that_is_held_until_it_was_written_in_its_batch() {
    let engine = Engine::create(&Medium::memory(), 1 << 20).unwrap();
    let keys = StoreKeys::derive(&Key::new([5; 32]));
    for row in one_of_each(1) {
        let (hot, (table, key)) = (Arc::new(HotRows::default()), row.place());
        hot.insert(1, row.clone());
        let put = |batch: &mut Batch<'_>| {
            let mut txn = Txn::new(&*batch, 0);
            match &row {
                Held::Token(row) => txn.note(&**row),
                Held::User(row) => txn.note(&**row),
                Held::Host(row) => txn.note(&**row),
                Held::Client(row) => txn.note(&**row),
            }
            .unwrap();
            let written = txn.finish().unwrap().rows;
            batch.apply(written);
            true
        };
        engine.transact(&keys, put).unwrap();
        let each = |batch: &mut Batch<'_>| {
            batch.go_by(Arc::clone(&hot));
            let mut txn = Txn::new(&*batch, 0);
            assert!(txn.held(table, key).is_some() && txn.holds(table, key).unwrap());
            txn.forget(table, key);
            assert!(txn.held(table, key).is_none() && !txn.holds(table, key).unwrap());
            let written = txn.finish().unwrap().rows;
            assert!(Txn::new(&*batch, 0).held(table, key).is_some(), "it may come to nothing");
            batch.apply(written);
            assert!(Txn::new(&*batch, 0).held(table, key).is_none());
            false
        };
        engine.transact(&keys, each).unwrap();
    }
}

#[test]
fn who_was_revoked_earlier_in_a_batch_has_no_turn_in_it_though_its_row_was_held() {
    let mut town = Town::new();
    let pat = town.pat("a");
    let good = town.verify(&pat).unwrap();
    assert!(town.is_hot(pat.token.id));
    let caller = Caller { who: Who::Known(Box::new(good.identity)), ip: None };
    let id = pat.token.id;
    let is_held = move |txn: &Txn<'_>| txn.held(TableId::Tokens, id.as_bytes()).is_some();
    let asked = || -> Operation<(bool, bool)> {
        let caller = caller.clone();
        Box::new(move |txn| Ok((is_held(txn), verify::again(txn, &caller, txn.now()).is_ok())))
    };
    let revoked: Operation<(bool, bool)> = Box::new(move |txn| {
        revoke(txn, id).map_err(|_| "it cannot be revoked")?;
        Ok((is_held(txn), false))
    });
    let answers = as_one_batch(&town.store, vec![asked(), revoked, asked()]);
    assert_eq!(answers, [Ok(Ok((true, true))), Ok(Ok((false, false))), Ok(Ok((false, false)))]);
}

/// How a reader puts the row that it read into the table.
type Insert = fn(&HotRows, u64, &Arc<Token>);

fn rightly(hot: &HotRows, generation: u64, row: &Arc<Token>) {
    hot.insert(generation, Held::Token(Arc::clone(row)));
}

/// The mistake: whatever was read comes in.
fn wrongly(hot: &HotRows, _: u64, row: &Arc<Token>) {
    let id = row.id;
    hot.tokens.insert_whenever(spread(id.as_bytes()), Arc::clone(row), |own| own.id == id);
}

/// A reader takes a view and reads a row of it; the row is revoked, which is answered; only then does the
/// reader put into the table what it read. Whether the next question is answered by the old row.
fn survives_its_revocation(insert: Insert) -> bool {
    let mut town = Town::new();
    let pat = town.pat("a");
    let view = town.store.view();
    let row = Arc::new(Token::by_id(&*view, pat.token.id).unwrap().unwrap());
    town.revoke(pat.token.id);
    insert(town.hot(), view.generation(), &row);
    town.verify(&pat).is_ok()
}

#[test]
fn a_row_that_was_read_before_its_revocation_is_not_put_back_after_it() {
    assert!(survives_its_revocation(wrongly), "this test sees nothing");
    assert!(!survives_its_revocation(rightly));
}

/// What happens while one row is changed, in an order that [`orders`] chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A reader takes the newest view and reads the row of it.
    Read(usize),
    /// The same reader puts what it read into the table.
    Insert(usize),
    /// The writer drops the row from the table.
    Forget,
    /// The writer lets readers see the new row.
    Publish,
}

/// Every order of the events of `tracks` in which each track keeps its own.
fn orders(tracks: &[&[Event]]) -> Vec<Vec<Event>> {
    if tracks.iter().all(|track| track.is_empty()) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (number, track) in tracks.iter().enumerate() {
        let Some((first, rest)) = track.split_first() else { continue };
        let mut left = tracks.to_vec();
        left[number] = rest;
        all.extend(orders(&left).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

/// Whether the table holds the old row after all events of `order`: from the answer on it must not.
fn ends_stale(order: &[Event], insert: Insert) -> bool {
    let hot = HotRows::default();
    let old = Arc::new(Token::supposed("old"));
    let new = Arc::new(Token::supposed("new"));
    rightly(&hot, 1, &old);
    let mut newest = (1, Arc::clone(&old));
    let mut read = [newest.clone(), newest.clone()];
    for event in order {
        match *event {
            Event::Read(reader) => read[reader] = newest.clone(),
            Event::Insert(reader) => insert(&hot, read[reader].0, &read[reader].1),
            Event::Forget => hot.forget(2, TableId::Tokens, old.id.as_bytes()),
            Event::Publish => newest = (2, Arc::clone(&new)),
        }
    }
    match hot.find(TableId::Tokens, old.id.as_bytes()) {
        Some(Held::Token(row)) => row.scope == "old",
        _ => false,
    }
}

#[test]
fn in_no_order_of_two_readers_and_the_writer_does_an_old_row_stay() {
    let reader = |number| [Event::Read(number), Event::Insert(number)];
    let all = orders(&[&reader(0), &reader(1), &[Event::Forget, Event::Publish]]);
    assert_eq!(all.len(), 90);
    let stale = |insert: Insert| all.iter().filter(|order| ends_stale(order, insert)).count();
    assert!(stale(wrongly) > 0, "this test sees nothing");
    assert_eq!(stale(rightly), 0);
}

#[test]
fn a_question_during_which_a_commit_is_published_is_answered_of_one_moment() {
    let mut town = Town::new();
    let pat = town.pat("a");
    assert_eq!(reason(town.verify(&pat)), None);
    let asked = std::cell::Cell::new(0);
    let (scope, groups) = town
        .store
        .ask(|view| {
            let token = Token::shared(view, pat.token.id)?.unwrap();
            if asked.replace(asked.get() + 1) == 0 {
                let (id, anna) = (pat.token.id, town.anna);
                town.change(move |txn| {
                    txn.entry(&By::system(), Action::UserUpdate, anna, Params::none())?;
                    let token = Token::by_id(txn, id)?.unwrap();
                    txn.put(Token { scope: "new".to_owned(), ..token })?;
                    let before = User::by_id(txn, anna)?.unwrap();
                    users::put(
                        txn,
                        Some(&before),
                        User { groups: vec!["new".to_owned()], ..before.clone() },
                    )?;
                    Ok(())
                });
            }
            let user = User::shared(view, town.anna)?.unwrap();
            Ok::<_, Refusal>((token.scope.clone(), user.groups.clone()))
        })
        .unwrap();
    assert_eq!((scope.as_str(), groups), ("new", vec!["new".to_owned()]));
    assert_eq!(asked.get(), 2);
}

#[test]
fn readers_let_loose_never_bring_a_revoked_token_back() {
    const ROUNDS: u8 = 200;
    let mut town = Town::new();
    let stop = AtomicBool::new(false);
    let current: std::sync::Mutex<Option<Presented>> = std::sync::Mutex::default();
    let store = town.store.clone();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let presented = current.lock().unwrap().clone();
                    if let Some(presented) = presented {
                        let _ = store.ask(|view| verify::verify(view, &presented, &asking()));
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            let pat = town.pat("a");
            *current.lock().unwrap() = Some(presented(&pat));
            assert_eq!(reason(town.verify(&pat)), None);
            town.revoke(pat.token.id);
            for _ in 0..20 {
                let outcome = reason(town.verify(&pat));
                if outcome != Some(Reason::Revoked) {
                    stop.store(true, Ordering::Relaxed);
                }
                assert_eq!(outcome, Some(Reason::Revoked));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// A row of each table that rows are held of. Ids end in the same way whatever `millis` they begin with, so that such
/// rows meet in one set.
fn one_of_each(millis: u64) -> [Held; 4] {
    const END: [u8; 10] = [1; 10];
    [
        Held::Token(Arc::new(Token { id: TokenId::from_parts(millis, END), ..Token::supposed("") })),
        Held::User(Arc::new(User { id: UserId::from_parts(millis, END), ..User::supposed("anna") })),
        Held::Host(Arc::new(Host { id: HostId::from_parts(millis, END), ..Host::supposed("web") })),
        Held::Client(Arc::new(Client { id: ClientId::from_parts(millis, END), ..Client::supposed("acme") })),
    ]
}

/// Whether the row is found at its place, and no other instead.
#[track_caller]
fn is_held(hot: &HotRows, row: &Held) -> bool {
    let (table, key) = row.place();
    let Some(found) = hot.find(table, key) else { return false };
    assert_eq!(found.place(), row.place(), "another row answers");
    true
}

/// What a commit wrote that put one row.
fn put_at(table: TableId, key: &[u8]) -> Rows {
    Rows::from([(table, TableRows::from([(key.to_vec(), Some(Vec::new()))]))])
}

#[test]
fn a_commit_drops_the_row_that_it_changed_in_any_table_and_no_other() {
    for number in 0..4 {
        let hot = HotRows::default();
        let (changed, others) = (one_of_each(1), one_of_each(2));
        for row in changed.iter().chain(&others) {
            hot.insert(1, row.clone());
        }
        assert!(changed.iter().chain(&others).all(|row| is_held(&hot, row)));
        assert!(!one_of_each(3).iter().any(|row| is_held(&hot, row)), "never inserted");
        let (table, key) = changed[number].place();
        hot.turn(2, Written::Rows(&put_at(table, key)), || ());
        for (at, row) in changed.iter().enumerate() {
            assert_eq!(is_held(&hot, row), at != number, "{row:?} after a change in {}", table.name());
        }
        assert!(others.iter().all(|row| is_held(&hot, row)), "after a change in {}", table.name());
    }
}

#[test]
fn rows_of_different_ids_do_not_crowd_each_other_out() {
    let hot = HotRows::default();
    let rows: Vec<Held> = (0..64)
        .map(|last| {
            let id = TokenId::from_parts(1, [1, 1, 1, 1, 1, 1, 1, 1, 1, last]);
            Held::Token(Arc::new(Token { id, ..Token::supposed("") }))
        })
        .collect();
    for row in &rows {
        hot.insert(1, row.clone());
    }
    assert!(rows.iter().all(|row| is_held(&hot, row)));
}

/// Three hints that are alike in their table or in their key, in a table where they share one set.
fn with_hints() -> HotRows {
    let hot = HotRows { hints: Sets::new(1), ..HotRows::default() };
    for (table, key, leads_to) in HINTS {
        hot.insert_hint(1, hint(table, key, leads_to));
    }
    hot
}

const HINTS: [(TableId, &str, &str); 3] = [
    (TableId::TokensByHash, "a", "hash a"),
    (TableId::TokensByHash, "b", "hash b"),
    (TableId::ServiceUsers, "a", "service a"),
];

fn hint(table: TableId, key: &str, leads_to: &str) -> Hint {
    Hint { table, key: key.as_bytes().into(), leads_to: leads_to.as_bytes().into() }
}

/// Where a hint leads that is held.
fn leads_to(hot: &HotRows, table: TableId, key: &str) -> Option<String> {
    let hint = hot.find_hint(table, key.as_bytes())?;
    Some(String::from_utf8(hint.leads_to.to_vec()).unwrap())
}

#[test]
fn a_hint_answers_for_its_own_table_and_key_alone() {
    let hot = with_hints();
    for (table, key, there) in HINTS {
        assert_eq!(leads_to(&hot, table, key).as_deref(), Some(there));
    }
    assert_eq!(leads_to(&hot, TableId::ServiceUsers, "b"), None);
    assert_eq!(leads_to(&hot, TableId::ServiceUsers, "hash a"), None);
    hot.insert_hint(1, hint(TableId::ServiceUsers, "a", "another"));
    let found = HINTS.map(|(table, key, _)| leads_to(&hot, table, key));
    assert_eq!(found.each_ref().map(Option::as_deref), [Some("hash a"), Some("hash b"), Some("another")]);
}

#[test]
fn hints_of_different_keys_do_not_crowd_each_other_out() {
    let hot = HotRows::default();
    let keys: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    for key in &keys {
        hot.insert_hint(1, hint(TableId::TokensByHash, key, key));
    }
    let there = keys.iter().filter(|key| leads_to(&hot, TableId::TokensByHash, key).is_some()).count();
    assert!(there > 32, "{there} of 64");
}

#[test]
fn a_question_walks_through_the_rows_of_the_newest_view() {
    let mut town = Town::new();
    town.pat("one");
    let walked = town.store.ask(|view| Ok::<_, Fault>(tests::dump(view))).unwrap();
    assert!(!walked.is_empty());
    assert_eq!(walked, tests::dump(&*town.store.view()));
}

#[test]
fn a_commit_drops_the_hint_that_it_changed_and_no_other() {
    for (number, (table, key, _)) in HINTS.into_iter().enumerate() {
        let hot = with_hints();
        hot.turn(2, Written::Rows(&put_at(table, key.as_bytes())), || ());
        for (at, (table, key, there)) in HINTS.into_iter().enumerate() {
            let kept = (at != number).then_some(there);
            assert_eq!(leads_to(&hot, table, key).as_deref(), kept, "{at} after {number} was changed");
        }
    }
}

#[test]
fn a_hint_is_held_once_it_was_asked_for_and_what_is_put_in_its_place_is_seen() {
    let town = Town::new();
    for table in [TableId::TokensByHash, TableId::ServiceUsers] {
        let ask = || town.store.ask(|view| view.bytes(table, b"key")).unwrap();
        for id in ["one", "other"] {
            town.change(move |txn| {
                txn.hint(table, b"key".to_vec(), id.as_bytes().to_vec());
                Ok(())
            });
            assert_eq!(leads_to(town.hot(), table, "key"), None, "{}", table.name());
            // Of the store, and then of what is held.
            assert_eq!(ask().as_deref(), Some(id.as_bytes()));
            assert_eq!(leads_to(town.hot(), table, "key").as_deref(), Some(id), "{}", table.name());
            assert_eq!(ask().as_deref(), Some(id.as_bytes()));
        }
    }
    let other = TableId::UsersByEmail;
    town.store.ask(|view| view.bytes(other, b"anna@example.org")).unwrap().unwrap();
    assert_eq!(leads_to(town.hot(), other, "anna@example.org"), None, "not one that verification goes by");
}

#[test]
fn where_anything_may_have_changed_nothing_stays() {
    let hot = with_hints();
    let rows = one_of_each(1);
    for row in &rows {
        hot.insert(1, row.clone());
    }
    hot.turn(2, Written::Everything, || ());
    assert!(!rows.iter().any(|row| is_held(&hot, row)));
    assert!(HINTS.iter().all(|(table, key, _)| leads_to(&hot, *table, key).is_none()));
}

#[test]
fn a_store_that_was_opened_again_begins_with_nothing_held() {
    let disk = tests::media::Disk::default();
    let store = tests::faults::new_on(&disk);
    let (table, hot) = (TableId::ServiceUsers, &store.0.shared.hot);
    let put = |key: &'static [u8]| {
        store.write_blocking(move |txn| {
            txn.hint(table, key.to_vec(), b"id".to_vec());
            Ok::<(), ()>(())
        })
    };
    assert_eq!(put(b"key"), Ok(Ok(())));
    store.ask(|view| view.bytes(table, b"key")).unwrap().unwrap();
    assert!(leads_to(hot, table, "key").is_some());
    disk.break_with(tests::media::Fault {
        deed: None,
        after: 0,
        sticky: false,
        kind: std::io::ErrorKind::StorageFull,
    });
    assert!(put(b"other").is_err());
    assert!(store.wait_until_well(std::time::Duration::from_mins(1)));
    assert_eq!(leads_to(hot, table, "key"), None);
}
