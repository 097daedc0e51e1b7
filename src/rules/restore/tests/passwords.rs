//! Which of two passwords is the newer one.

use super::*;
use crate::token::UserId;

fn rename(town: &mut Town, user: UserId) {
    let name = Some(Some("Anna".to_owned()));
    town.update(user, users::Change { name, ..users::Change::default() }).unwrap();
}

fn set_password(town: &mut Town, user: UserId, hash: &str) {
    let password = Some(hash.into());
    town.update(user, users::Change { password, ..users::Change::default() }).unwrap();
}

/// A user who was given a password, the older one of two, and a session since.
fn with_an_old_password() -> (Town, UserId, TokenId) {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    set_password(&mut town, anna, "old");
    let session = town.session(anna).unwrap().token.id;
    (town, anna, session)
}

/// Fails unless that is the user's password after `backup` took the place of `replaced`, and no session of before it
/// was set is left.
#[track_caller]
fn password_is(expected: &str, user: UserId, old: TokenId, backup: &Shelf, replaced: &Shelf, now: u64) {
    let (restored, _) = restore(backup, Some(replaced), now);
    let found = User::by_id(&restored, user).unwrap().unwrap().password;
    assert_eq!(found.as_ref().map(PasswordHash::expose), Some(expected));
    assert_eq!(state(&restored, old, now), State::Revoked);
}

#[test]
fn a_change_by_a_clock_that_ran_ahead_makes_no_password_the_newer_one() {
    let (mut town, anna, session) = with_an_old_password();
    town.now = NOW + 365 * 86_400;
    rename(&mut town, anna);
    let backup = copy(&town.shelf);
    town.now = NOW + 60;
    set_password(&mut town, anna, "new");
    password_is("new", anna, session, &backup, &town.shelf, town.now);
    password_is("new", anna, session, &town.shelf, &backup, town.now);
}

#[test]
fn a_password_set_by_a_clock_that_ran_ahead_is_older_than_one_set_after_it() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    town.now = NOW + 365 * 86_400;
    set_password(&mut town, anna, "old");
    let session = town.session(anna).unwrap().token.id;
    let backup = copy(&town.shelf);
    town.now = NOW + 60;
    set_password(&mut town, anna, "new");
    password_is("new", anna, session, &backup, &town.shelf, town.now);
    password_is("new", anna, session, &town.shelf, &backup, town.now);
}

#[test]
fn another_change_in_a_store_that_has_an_older_password_makes_it_no_newer() {
    let (mut town, anna, session) = with_an_old_password();
    let older = copy(&town.shelf);
    town.pass(10);
    set_password(&mut town, anna, "new");
    let newer = copy(&town.shelf);
    town.shelf = older;
    town.pass(10);
    rename(&mut town, anna);
    password_is("new", anna, session, &newer, &town.shelf, town.now);
    password_is("new", anna, session, &town.shelf, &newer, town.now);
}

#[test]
fn a_deactivation_takes_no_newer_password_back() {
    let (mut town, anna, session) = with_an_old_password();
    let backup = copy(&town.shelf);
    set_password(&mut town, anna, "new");
    for active in [false, true] {
        let active = Some(active);
        town.update(anna, users::Change { active, ..users::Change::default() }).unwrap();
    }
    password_is("new", anna, session, &backup, &town.shelf, town.now);
    password_is("new", anna, session, &town.shelf, &backup, town.now);
}
