//! Stories of what the purge removes, and when it stands still.

use super::*;
use crate::{
    records::token::{Detail, Link, Owner, State},
    rules::{
        access::Right,
        pats::{self, Wish},
        town::Town,
    },
    token::ClientId,
};

const DAY: u64 = 86_400;

fn run(town: &mut Town) -> u64 {
    let found = candidates(&town.shelf, &town.settings, town.time(), None).unwrap().items;
    town.change(|txn, terms| remove(txn, terms, &found)).unwrap()
}

/// Lets days pass as a running daemon does, which asks every hour.
fn pass_days(town: &mut Town, days: u64) {
    for _ in 0..days * 24 {
        town.pass(3_600);
        town.change(|txn, _| may_run(txn)).unwrap();
    }
}

#[test]
fn a_row_goes_thirty_days_after_the_token_died_with_all_that_belongs_to_it() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish { max_uses: Some(1), ..Wish::default() }).unwrap();
    let kept = town.pat(anna.id, Wish::default()).unwrap();
    town.revoke(pat.token.id).unwrap();
    pass_days(&mut town, 29);
    assert_eq!(run(&mut town), 0);
    town.pass(DAY - 1);
    assert_eq!(run(&mut town), 0);
    town.pass(1);
    assert_eq!(run(&mut town), 1);
    let id = pat.token.id.as_bytes();
    let left = town
        .shelf
        .rows()
        .keys()
        .filter(|(table, key)| *table != TableId::Audit && key.windows(id.len()).any(|part| part == id));
    assert_eq!(left.count(), 0, "nothing of it is left");
    assert_eq!(town.row(kept.token.id).unwrap().state, State::Active);
    assert_eq!(tokens::counts(&town.shelf).unwrap().iter().map(|(_, stored)| stored).sum::<u64>(), 1);
}

#[test]
fn what_is_switched_off_may_be_switched_on_again_and_stays() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish { life: pats::Life::Unlimited, ..Wish::default() }).unwrap();
    let off = pats::Change { enabled: Some(false), ..pats::Change::default() };
    town.change(|txn, _| pats::update(txn, &Town::root(Right::ChangeOwn), pat.token.id, off)).unwrap();
    pass_days(&mut town, 400);
    assert_eq!(run(&mut town), 0);
}

#[test]
fn the_hash_of_an_imported_token_outlives_its_row() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish::default()).unwrap();
    let imported = Token { format: Format::Imported, ..pat.token.clone() };
    town.shelf.place(&imported);
    town.revoke(pat.token.id).unwrap();
    pass_days(&mut town, 31);
    assert_eq!(run(&mut town), 1);
    assert!(Tombstone::at(&town.shelf, &pat.token.hash).unwrap().is_some());
}

#[test]
fn a_consumed_link_stays_while_cookies_may_live_on_it() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish { life: pats::Life::Unlimited, ..Wish::default() }).unwrap();
    let link = Link { label: None, redirect: "/".into(), single_use: true };
    town.shelf.place(&Token {
        kind: Kind::Link,
        owner: Owner::Client(ClientId::from_parts(1, [1; 10])),
        detail: Detail::Link(Box::new(link)),
        consumed_at: Some(town.time()),
        ..pat.token
    });
    pass_days(&mut town, 59);
    assert_eq!(run(&mut town), 0);
    pass_days(&mut town, 1);
    assert_eq!(run(&mut town), 1);
}

#[test]
fn the_install_token_on_file_is_never_purged() {
    let mut town = Town::new();
    let fresh = town.fresh();
    let minted = town
        .change(|txn, terms| crate::rules::install::mint(txn, terms, &By::system(), false, &fresh))
        .unwrap();
    let expired = Token { expires_at: Some(town.time()), ..minted.token };
    town.shelf.place(&expired);
    pass_days(&mut town, 40);
    assert_eq!(run(&mut town), 0);
}

#[test]
fn a_clock_that_jumps_by_more_than_a_day_holds_the_purge_for_a_day() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish::default()).unwrap();
    town.revoke(pat.token.id).unwrap();
    pass_days(&mut town, 1);
    town.pass(365 * DAY);
    assert_eq!(run(&mut town), 0, "the clock has jumped");
    town.pass(DAY - 1);
    assert_eq!(run(&mut town), 0, "not for a whole day");
    town.pass(1);
    assert_eq!(run(&mut town), 1);

    // Back, as after `clock reset`: again it stands still, and for no longer than a day.
    let pat = town.pat(anna.id, Wish { ttl_seconds: Some(1), ..Wish::default() }).unwrap();
    pass_days(&mut town, 31);
    town.now -= 20 * DAY;
    let may = |town: &mut Town| town.change(|txn, _| may_run(txn)).unwrap();
    assert!(!may(&mut town));
    town.pass(DAY);
    assert!(may(&mut town));
    assert!(town.row(pat.token.id).is_ok());
}

#[test]
fn a_damaged_record_stays_and_keeps_no_other_from_going() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let [first, broken, last] = [(), (), ()].map(|()| town.pat(anna.id, Wish::default()).unwrap().token.id);
    for id in [first, broken, last] {
        town.revoke(id).unwrap();
    }
    town.shelf.tamper(TableId::Tokens, broken.as_bytes(), Some(vec![1, 2, 3]));
    pass_days(&mut town, 31);
    assert_eq!(run(&mut town), 2);
    assert!(town.shelf.rows().contains_key(&(TableId::Tokens, broken.as_bytes().to_vec())));
}

/// What goes with a token is read when it goes: damage there, found before the writer's turn or at it, keeps that token
/// and no other.
/// An enrolment of this second that never ends by itself.
fn enrolment(town: &Town) -> Token {
    let detail = Detail::Enrollment(Box::new(crate::records::token::Enrollment {
        hostname: None,
        pin_hostname: false,
        tags: Vec::new(),
        facts: None,
        host: None,
    }));
    let id = TokenId::from_parts(town.now * 1000, [5; 10]);
    Token { detail, ..Token::plain(id, Kind::Enrollment, [5; 32], Owner::Nobody, town.time()) }
}

#[test]
fn damage_beside_a_dead_enrolment_keeps_that_and_no_other_token() {
    use crate::{
        records::{
            host::{Sealed, SealedFor},
            meta::Count,
        },
        token::HostId,
    };

    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pats = [(); 6].map(|()| town.pat(anna.id, Wish::default()).unwrap().token.id);
    let enrolment = Token { expires_at: Some(town.time()), ..enrolment(&town) };
    let id = enrolment.id;
    let (sealed, replay, count) = (
        Sealed { holder: SealedFor::Enrollment(id), envelope: vec![1], entry: 0 },
        Replay {
            enrollment: id,
            host: HostId::from_parts(1, [1; 10]),
            agent_token: id,
            envelope: vec![1],
            expires_at: town.time(),
            ip: None,
            entry: 0,
        },
        Count { kind: Kind::Enrollment, stored: 1 },
    );
    town.shelf.place(&enrolment);
    town.shelf.place(&sealed);
    town.shelf.place(&replay);
    town.shelf.place(&count);
    pass_days(&mut town, 31);
    let rows =
        [(TableId::Sealed, sealed.key()), (TableId::Replays, replay.key()), (TableId::Counts, count.key())];
    for (at, (table, key)) in rows.iter().enumerate() {
        let good = town.shelf.rows()[&(*table, key.clone())].clone();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        town.shelf.tamper(*table, key, Some(flipped.clone()));
        town.shelf.place(&Token { revoked_at: Some(Time::from_unix(1)), ..row(&town, pats[2 * at]) });
        assert_eq!(run(&mut town), 1, "{table:?}");
        // The damage comes after the look.
        town.shelf.tamper(*table, key, Some(good.clone()));
        town.shelf.place(&Token { revoked_at: Some(Time::from_unix(1)), ..row(&town, pats[2 * at + 1]) });
        let found = candidates(&town.shelf, &town.settings, town.time(), None).unwrap().items;
        assert_eq!(found.len(), 2, "{table:?}");
        town.shelf.tamper(*table, key, Some(flipped.clone()));
        assert_eq!(town.change(|txn, terms| remove(txn, terms, &found)).unwrap(), 1, "{table:?}");
        assert_eq!(town.shelf.rows()[&(*table, key.clone())], flipped, "it is left for others to find");
        assert!(town.shelf.rows().contains_key(&(TableId::Tokens, id.as_bytes().to_vec())));
        town.shelf.tamper(*table, key, Some(good));
    }
    assert_eq!(run(&mut town), 1, "nothing is damaged any more");
}

fn row(town: &Town, id: TokenId) -> Token {
    Token::by_id(&town.shelf, id).unwrap().unwrap()
}

#[test]
fn a_step_looks_at_a_bounded_number_of_rows_and_goes_on() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    for _ in 0..STEP_ROWS_MAX + 10 {
        town.pat(anna.id, Wish::default()).unwrap();
    }
    let first = candidates(&town.shelf, &town.settings, town.time(), None).unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    let second = candidates(&town.shelf, &town.settings, town.time(), first.next).unwrap();
    assert!(second.items.is_empty() && second.next.is_none());
}

/// Set back by less than what counts as a jump: what the purge waits for comes nearer with it, at once and for good.
#[test]
fn a_clock_that_goes_back_a_little_does_not_lengthen_the_hold() {
    let mut town = Town::new();
    let run = |town: &mut Town| town.change(|txn, _| may_run(txn)).unwrap();
    assert!(run(&mut town));
    town.pass(40 * DAY);
    assert!(!run(&mut town), "it has jumped");
    let jumped = town.now;
    town.now = jumped - DAY / 2;
    assert!(!run(&mut town));
    town.now = jumped + DAY / 2;
    assert!(run(&mut town), "a day after the clock said so, not a day and a half");
}

#[test]
fn how_far_the_time_has_come_is_written_down_once_an_hour() {
    let mut town = Town::new();
    let mut seen = |pass| {
        town.pass(pass);
        town.change(|txn, _| may_run(txn)).unwrap();
        town.now - PurgeHold::of(&town.shelf).unwrap().unwrap().seen.unix()
    };
    assert_eq!([seen(0), seen(3_599), seen(1), seen(3_599), seen(1)], [0, 3_599, 0, 3_599, 0]);
}

#[test]
fn an_enrolment_goes_with_the_reply_that_is_kept_for_it_and_not_before() {
    use crate::token::HostId;

    let mut town = Town::new();
    let spent = Token { consumed_at: Some(town.time()), ..enrolment(&town) };
    let id = spent.id;
    town.shelf.place(&spent);
    town.shelf.place(&crate::records::meta::Count { kind: Kind::Enrollment, stored: 1 });
    let reply = |until: u64| Replay {
        enrollment: id,
        host: HostId::from_parts(1, [1; 10]),
        agent_token: id,
        envelope: vec![1],
        expires_at: Time::from_unix(until),
        ip: None,
        entry: 0,
    };
    pass_days(&mut town, 31);
    town.shelf.place(&reply(town.now + 1));
    assert_eq!(run(&mut town), 0, "the reply may still be asked for");
    town.shelf.place(&reply(town.now));
    assert_eq!(run(&mut town), 1);
}
