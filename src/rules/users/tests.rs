//! Stories of users, and of the guard that somebody is left to administrate.

use super::*;
use crate::{
    records::By,
    rules::{Terms, access::Right, town::Town},
};

fn regroup(groups: &[&str]) -> Change {
    Change { groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()), ..Change::default() }
}

fn deactivate() -> Change {
    Change { active: Some(false), ..Change::default() }
}

const LAST_ADMIN: Refusal = Refusal::Conflict(Conflict::LastAdmin);

#[test]
fn an_email_is_taken_whatever_its_case_and_white_space() {
    let mut town = Town::new();
    let anna = town.user("Anna@Example.org", &[]);
    for twin in ["anna@example.org", "ANNA@EXAMPLE.ORG", " anna@example.org"] {
        let new = NewUser { email: twin.into(), name: None, groups: vec![], password: None, service: None };
        assert_eq!(refuse_taken(&town.shelf, &new), Err(Refusal::Conflict(Conflict::EmailExists)), "{twin}");
        assert_eq!(User::by_email(&town.shelf, twin).unwrap().unwrap().id, anna.id);
    }
    assert_eq!(User::by_email(&town.shelf, "ann@example.org"), Ok(None));
}

#[test]
fn the_daemons_own_domain_is_for_its_own_users() {
    for (email, reserved) in [
        ("x@system.local", true),
        ("x@SYSTEM.local", true),
        ("x@a.system.local", true),
        ("x@system.local.", true),
        ("x@notsystem.local", false),
        ("system.local@example.org", false),
        ("x@system.local.example", false),
    ] {
        assert_eq!(refuse_reserved("email", email).is_err(), reserved, "{email}");
    }
}

#[test]
fn the_last_admin_who_is_a_person_stays_one() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["admin"]);
    let bert = town.user("bert@example.org", &["operator"]);
    assert_eq!(town.update(anna.id, regroup(&[])), Err(LAST_ADMIN));
    assert_eq!(town.update(anna.id, deactivate()), Err(LAST_ADMIN));
    town.update(bert.id, regroup(&["admin", "x"])).unwrap();
    town.update(anna.id, deactivate()).unwrap();
    assert_eq!(town.update(bert.id, regroup(&["x"])), Err(LAST_ADMIN));
    // One who is deactivated does not count, and can be demoted.
    town.update(anna.id, regroup(&[])).unwrap();
    town.update(anna.id, Change { active: Some(true), ..Change::default() }).unwrap();
    assert_eq!(town.update(bert.id, deactivate()), Err(LAST_ADMIN));
}

#[test]
fn a_service_among_the_admins_is_nobody_who_is_left() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["admin"]);
    let id = UserId::from_parts(1, [9; 10]);
    let service = NewUser {
        email: "s@system.local".into(),
        name: None,
        groups: vec!["admin".into()],
        password: None,
        service: Some("s".into()),
    };
    town.change(|txn, _: Terms<'_>| {
        txn.entry(&By::system(), Action::ServiceUpdate, id, Params::none())?;
        insert(txn, id, service)
    })
    .unwrap();
    assert_eq!(town.update(anna.id, deactivate()), Err(LAST_ADMIN));
    assert_eq!(town.update(id, deactivate()), Err(Refusal::Conflict(Conflict::ServiceUser)));
    assert_eq!(town.session(id).unwrap_err(), Refusal::Conflict(Conflict::ServiceUser));
    assert_eq!(
        town.pat(id, crate::rules::pats::Wish::default()).unwrap_err(),
        Refusal::Conflict(Conflict::ServiceUser)
    );
}

#[test]
fn a_hint_that_was_put_in_makes_nobody_an_admin() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["admin"]);
    let bert = town.user("bert@example.org", &[]);
    town.shelf.tamper(TableId::Admins, bert.id.as_bytes(), Some(Vec::new()));
    town.shelf.tamper(TableId::Admins, &[1; 16], Some(Vec::new()));
    assert_eq!(town.update(anna.id, deactivate()), Err(LAST_ADMIN));
}

#[test]
fn what_is_absent_stays_and_what_changes_nothing_is_no_entry() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["x"]);
    let named =
        town.update(anna.id, Change { name: Some(Some("Anna".into())), ..Change::default() }).unwrap();
    assert_eq!((named.name.as_deref(), named.groups.as_slice()), (Some("Anna"), &["x".to_owned()][..]));
    let entries = town.actions().len();
    town.update(anna.id, Change { name: Some(Some("Anna".into())), ..Change::default() }).unwrap();
    town.update(anna.id, Change::default()).unwrap();
    assert_eq!(town.actions().len(), entries);
    let unnamed = town.update(anna.id, Change { name: Some(None), ..Change::default() }).unwrap();
    assert_eq!((unnamed.name, unnamed.session_epoch), (None, 0));
}

#[test]
fn a_new_password_and_deactivation_end_sessions_and_reactivation_does_not() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let password = Change { password: Some("$hash".into()), ..Change::default() };
    let changed = town.update(anna.id, password).unwrap();
    assert_eq!(changed.sessions_ended_at(), town.time());
    let off = town.update(anna.id, deactivate()).unwrap();
    assert_eq!(off.session_epoch, changed.session_epoch + 1, "in the same second, and yet another epoch");
    let again = Change { active: Some(true), ..Change::default() };
    assert_eq!(town.update(anna.id, again).unwrap().session_epoch, off.session_epoch);
    assert_eq!(town.actions(), ["user.create", "user.password", "user.deactivate", "user.reactivate"]);
}

#[test]
fn no_entry_about_a_user_holds_its_password() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let password = Change { password: Some("$argon2id$canary".into()), ..Change::default() };
    town.update(anna.id, password).unwrap();
    assert!(town.shelf.audit().iter().all(|entry| !entry.params.contains("canary")));
}

#[test]
fn an_entry_tells_the_groups_only_where_they_changed() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["x"]);
    town.update(anna.id, Change { name: Some(Some("Anna".into())), ..Change::default() }).unwrap();
    town.update(anna.id, regroup(&["x", "y"])).unwrap();
    let told = |entry: &crate::records::audit::Entry| entry.params.contains("\"groups\"");
    let entries = town.shelf.audit();
    let [.., named, regrouped] = entries.as_slice() else { panic!("two entries and more") };
    assert_eq!((told(named), told(regrouped)), (false, true));
}

#[test]
fn a_list_is_newest_first_and_stable_while_users_are_added() {
    let mut town = Town::new();
    let ids: Vec<UserId> = (0..7)
        .map(|number| {
            town.pass(1);
            town.user(&format!("{number}@example.org"), &[]).id
        })
        .collect();
    let mut page = Page { after: None, limit: 3 };
    let mut seen = Vec::new();
    loop {
        let listed = list(&town.shelf, None, &page).unwrap();
        seen.extend(listed.items.iter().map(|user| user.id));
        town.pass(1);
        town.user(&format!("late{}@example.org", seen.len()), &[]);
        let Some(next) = listed.next else { break };
        page.after = Some(next);
    }
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(list(&town.shelf, Some("3@EXAMPLE.org"), &page).unwrap().items.len(), 1);
    assert!(list(&town.shelf, Some("nobody@example.org"), &page).unwrap().items.is_empty());
}

#[test]
fn one_who_is_demoted_is_not_allowed_any_more() {
    let mut town = Town::new();
    town.user("stays@example.org", &["admin"]);
    let anna = town.user("anna@example.org", &["admin"]);
    let session = town.session(anna.id).unwrap();
    assert!(town.who(Right::Administrate, &session).is_ok());
    town.update(anna.id, regroup(&["operator"])).unwrap();
    assert_eq!(
        town.who(Right::Administrate, &session),
        Err(Refusal::Forbidden(crate::rules::Forbidden::Group))
    );
    assert!(town.who(Right::Operate, &session).is_ok());
}
