//! Stories of the audit log: pages, the chain, and what retention cuts.

use super::*;
use crate::rules::town::Town;

fn holds(town: &Town) -> Result<u64, Broken> {
    verify(&town.shelf, &mut |_| Ok(())).unwrap()
}

fn cut_now(town: &mut Town) -> u64 {
    town.change(cut).unwrap()
}

fn with_entries(count: usize) -> Town {
    let mut town = Town::new();
    for number in 0..count {
        town.pass(10);
        town.user(&format!("{number}@example.org"), &[]);
    }
    town
}

#[test]
fn retention_cuts_what_is_too_old_and_the_chain_holds() {
    let mut town = with_entries(20);
    assert_eq!(cut_now(&mut town), 0, "kept for ever by default");
    town.settings.audit.retention = Retention::Seconds(95);
    assert!(is_cut_due(&town.shelf, &town.settings, town.time()).unwrap());
    assert_eq!(cut_now(&mut town), 10);
    assert!(!is_cut_due(&town.shelf, &town.settings, town.time()).unwrap());
    assert_eq!(holds(&town), Ok(11), "ten are left, and the entry of the cut");
    let head = AuditHead::of(&town.shelf).unwrap();
    assert_eq!((head.cut_seq, head.seq), (10, 21));
    assert_eq!(town.actions().last().map(String::as_str), Some("audit.cut"));
    assert_eq!(cut_now(&mut town), 0);
}

#[test]
fn an_entry_that_was_removed_after_a_cut_is_found() {
    let mut town = with_entries(20);
    town.settings.audit.retention = Retention::Seconds(95);
    cut_now(&mut town);
    town.shelf.tamper(TableId::Audit, &11u64.to_be_bytes(), None);
    assert_eq!(holds(&town), Err(Broken::At(11)));
}

#[test]
fn a_cut_takes_a_bounded_number_and_stands_still_after_the_clock_jumped() {
    let mut town = with_entries(CUT_ROWS_MAX + 5);
    town.settings.audit.retention = Retention::Seconds(1);
    town.change(|txn, _| purge::may_run(txn)).unwrap();
    assert_eq!(cut_now(&mut town), CUT_ROWS_MAX as u64);
    assert_eq!(cut_now(&mut town), 4);
    town.pass(3 * 86_400);
    assert_eq!(cut_now(&mut town), 0);
    town.pass(86_400);
    assert_eq!(cut_now(&mut town), 3);
    assert_eq!(holds(&town), Ok(1));
}

/// Adds entries of a clock that runs ahead and is set right, and two more ten seconds after each other.
fn run_ahead(town: &mut Town, entries: usize) {
    let right = town.now;
    town.pass(50 * 365 * 86_400);
    for number in 0..entries {
        town.user(&format!("ahead-{number}-{right}@example.org"), &[]);
    }
    town.now = right;
    for _ in 0..2 {
        town.pass(10);
        town.user(&format!("{}@example.org", town.now), &[]);
    }
}

#[test]
fn entries_of_a_clock_that_ran_ahead_are_cut_with_the_first_one_after_them() {
    let mut town = with_entries(2);
    run_ahead(&mut town, 7);
    town.change(|txn, _| purge::may_run(txn)).unwrap();
    // Made at 10, 20, seven times ahead, 30, 40; and 40 it is.
    town.settings.audit.retention = Retention::Seconds(15);
    assert_eq!(cut_now(&mut town), 2, "those ahead may be as young as the one at 30");
    town.pass(5);
    assert_eq!(cut_now(&mut town), 0);
    town.pass(1);
    assert!(is_cut_due(&town.shelf, &town.settings, town.time()).unwrap());
    assert_eq!(cut_now(&mut town), 8);
    assert_eq!(holds(&town), Ok(3), "the one at 40, and the entries of both cuts");
}

#[test]
fn a_clock_that_ran_ahead_again_and_again_keeps_no_entry_for_ever() {
    let mut town = with_entries(2);
    for entries in [1, 3, 6] {
        run_ahead(&mut town, entries);
    }
    town.change(|txn, _| purge::may_run(txn)).unwrap();
    town.settings.audit.retention = Retention::Seconds(25);
    let entries = town.shelf.audit().len() as u64;
    assert!(cut_now(&mut town) < entries - 3, "what was made in the last 25 seconds stays");
    town.pass(26);
    cut_now(&mut town);
    assert_eq!(holds(&town), Ok(1), "the entry of the cut");
}

#[test]
fn entries_ahead_of_the_clock_that_nothing_follows_stay() {
    let mut town = Town::new();
    let right = town.now;
    town.pass(50 * 365 * 86_400);
    town.user("ahead@example.org", &[]);
    town.now = right;
    town.settings.audit.retention = Retention::Seconds(1);
    assert!(!is_cut_due(&town.shelf, &town.settings, town.time()).unwrap());
}

#[test]
fn filters_hold_all_at_once_and_pages_go_on() {
    let mut town = with_entries(9);
    let second = town.shelf.audit()[1].clone();
    let page = Page { after: None, limit: 4 };
    let seqs = |filter: &Filter, page: &Page| {
        let listed = list(&town.shelf, filter, page).unwrap();
        (listed.items.iter().map(|entry| entry.seq).collect::<Vec<_>>(), listed.next)
    };
    let (first, next) = seqs(&Filter::default(), &page);
    assert_eq!(first, [9, 8, 7, 6]);
    assert_eq!(seqs(&Filter::default(), &Page { after: next, limit: 50 }).0, [5, 4, 3, 2, 1]);
    let since = Filter { since: Some(second.at), until: Some(second.at.plus(20)), ..Filter::default() };
    assert_eq!(seqs(&since, &page).0, [3, 2], "from its second on, before the other");
    let resource = Filter { resource: Some(second.resource), ..Filter::default() };
    assert_eq!(seqs(&resource, &page).0, [2]);
    let actor =
        Filter { actor: Some("local:0".into()), action: Some("user.create".into()), ..Filter::default() };
    assert_eq!(seqs(&actor, &page).0.len(), 4);
    let nothing = Filter { action: Some("user.update".into()), ..Filter::default() };
    assert_eq!(seqs(&nothing, &page), (vec![], None));
    town.pass(1);
}

#[test]
fn entries_after_a_number_come_oldest_first_and_no_more_than_asked_for() {
    let town = with_entries(5);
    let numbers = |seq, most| -> Vec<u64> {
        after(&town.shelf, seq, most).unwrap().iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(numbers(0, 2), [1, 2]);
    assert_eq!(numbers(2, 3), [3, 4, 5]);
    assert_eq!(numbers(4, 9), [5]);
    assert_eq!(numbers(5, 1), [0; 0]);
}

#[test]
fn a_log_that_ends_elsewhere_or_otherwise_than_its_head_says_is_found() {
    let mut town = with_entries(3);
    let head = AuditHead::of(&town.shelf).unwrap();
    town.shelf.place(&AuditHead { hash: [7; 32], ..head });
    assert_eq!(holds(&town), Err(Broken::End { found: 3, expected: 3 }), "another hash");
    town.shelf.place(&AuditHead { seq: 4, ..head });
    assert_eq!(holds(&town), Err(Broken::End { found: 3, expected: 4 }), "another number");
    town.shelf.place(&head);
    assert_eq!(holds(&town), Ok(3));
    // Genuine entries in another order: each believed at its place, and none chained to the one before.
    let entry = Entry::at(&town.shelf, &3u64.to_be_bytes()).unwrap().unwrap();
    town.shelf.place(&Entry { hash: [7; 32], ..entry });
    assert_eq!(holds(&town), Err(Broken::At(3)));
}
