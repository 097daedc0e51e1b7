//! That a restore neither opens setup again nor brings its token back.

use super::*;

/// Setup with its install token, not done yet, and a backup of it.
fn pending() -> (Town, Token, Shelf) {
    let mut town = Town::new();
    let fresh = town.fresh();
    let minted =
        town.change(|txn, terms| install::mint(txn, terms, &By::system(), false, &fresh)).unwrap().token;
    let backup = copy(&town.shelf);
    (town, minted, backup)
}

#[test]
fn setup_stays_complete_and_a_used_install_token_used() {
    let (mut town, minted, backup) = pending();
    let (pending, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(Setup::of(&pending).unwrap().install_token, Some(minted.id), "pending in both");
    amend(&mut town, minted.id, |token| token.consumed_at = Some(Time::from_unix(NOW)));
    let completed_at = Some(town.time());
    put(&mut town, Setup { completed_at, ..Setup::default() });
    for over in [Some(&town.shelf), None] {
        let (restored, carried) = restore(&backup, over, town.now);
        let setup = Setup::of(&restored).unwrap();
        assert!(!setup.pending() && setup.install_token.is_none() && carried.setup_closed);
        assert_ne!(row(&restored, minted.id).state(town.time(), 0), State::Active);
    }
}

#[test]
fn setup_stays_open_only_where_both_stores_have_it_open_for_one_token() {
    let mut town = Town::new();
    let mint = |town: &mut Town, force| {
        let fresh = town.fresh();
        town.change(|txn, terms| install::mint(txn, terms, &By::system(), force, &fresh)).unwrap().token
    };
    put(&mut town, Setup { completed_at: Some(Time::from_unix(NOW)), ..Setup::default() });
    let closed = copy(&town.shelf);
    mint(&mut town, true);
    let opened = copy(&town.shelf);
    let first = Setup::of(&opened).unwrap().install_token;
    mint(&mut town, false);
    let opened_anew = copy(&town.shelf);
    let setup = Setup::of(&town.shelf).unwrap();
    put(&mut town, Setup { install_token: None, ..setup });
    let without_token = copy(&town.shelf);
    let after = |backup: &Shelf, replaced: &Shelf| {
        let (restored, carried) = restore(backup, Some(replaced), town.now);
        let setup = Setup::of(&restored).unwrap();
        (setup.pending(), setup.install_token, carried.setup_closed)
    };
    assert_eq!(after(&opened, &opened), (true, first, false));
    assert_eq!(after(&opened, &closed), (false, None, true));
    assert_eq!(after(&opened, &opened_anew), (false, None, true), "another token was minted since");
    assert_eq!(after(&closed, &opened), (false, None, false), "it was closed in the backup");
    assert_eq!(after(&without_token, &closed), (false, None, true), "neither has a token, and one is closed");
    assert_eq!(after(&closed, &without_token), (false, None, false), "the other way round");
}

#[test]
fn setup_that_loses_its_dead_token_is_still_open() {
    let (mut town, minted, backup) = pending();
    amend(&mut town, minted.id, |token| token.revoked_at = Some(Time::from_unix(NOW)));
    let (restored, carried) = restore(&backup, Some(&town.shelf), town.now);
    let setup = Setup::of(&restored).unwrap();
    assert_eq!((setup.pending(), setup.install_token, carried.setup_closed), (true, None, false));
}
