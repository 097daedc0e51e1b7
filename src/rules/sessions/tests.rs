//! Stories of sessions.

use super::*;
use crate::records::{Fault, TableId, Time, token::State};
use crate::rules::{
    Conflict,
    access::Right,
    inventory, revocation,
    town::{NOW, Town, reason},
    users::Change,
    verify::Presented,
};

#[track_caller]
fn check_ends(used_at: &[u64], at: u64, ended: Option<Reason>) {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let session = town.session(anna.id).unwrap();
    for used in used_at {
        town.now = NOW + used;
        town.use_up(session.secret.expose()).unwrap();
    }
    town.now = NOW + at;
    match ended {
        None => assert!(town.verify(session.secret.expose(), None).is_ok()),
        Some(expected) => assert_eq!(reason(town.verify(session.secret.expose(), None)), expected),
    }
}

#[test]
fn a_session_ends_after_an_hour_without_use_to_the_second() {
    check_ends(&[], 3_599, None);
    check_ends(&[], 3_600, Some(Reason::Idle));
    check_ends(&[3_000], 6_599, None);
    check_ends(&[3_000], 6_600, Some(Reason::Idle));
}

#[test]
fn the_store_is_asked_when_a_session_was_last_used_only_where_nothing_else_shows_that_it_is_in_use() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let session = town.session(anna.id).unwrap();
    town.shelf.tamper(TableId::LastUsed, session.token.id.as_bytes(), Some(vec![0; 40]));
    let text = session.secret.expose();
    let damaged = Some(Refusal::from(Fault::Damaged(TableId::LastUsed)));
    town.now = NOW + 3_600;
    assert_eq!(town.verify(text, None).err(), damaged);
    town.now = NOW + 3_599;
    town.use_up(text).unwrap();
    town.now += 3_599;
    assert!(town.verify(text, None).is_ok());
    town.now += 1;
    assert_eq!(town.verify(text, None).err(), damaged);
}

#[test]
fn use_does_not_prolong_a_session_beyond_its_end() {
    let uses: Vec<u64> = (1..=14).map(|use_| use_ * 3_000).collect();
    check_ends(&uses, 43_199, None);
    check_ends(&uses, 43_200, Some(Reason::Expired));
}

#[test]
fn a_span_of_ones_own_is_within_its_bounds() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let mut open = |ttl: u64| {
        let fresh = town.fresh();
        let root = Town::root(Right::MintForOthers);
        town.change(|txn, terms| open_for(txn, terms, &root, anna.id, Some(ttl), &fresh))
            .map(|(_, minted)| minted.token.expires_at.unwrap().unix())
    };
    assert_eq!(open(1), Ok(NOW + 1));
    assert_eq!(open(TTL_SECONDS_MAX), Ok(NOW + TTL_SECONDS_MAX));
    for bad in [0, TTL_SECONDS_MAX + 1, u64::MAX] {
        let refusal = open(bad).unwrap_err();
        assert!(matches!(&refusal, Refusal::Invalid { field: "ttl_seconds", .. }), "{refusal}");
    }
}

#[test]
fn nobody_logs_in_with_a_password_that_was_changed_meanwhile_or_when_deactivated_meanwhile() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    town.update(anna.id, Change { password: Some("$new".into()), ..Change::default() }).unwrap();
    let log_in_with = |town: &mut Town, password: &str| {
        let login = Login { user: anna.id, password: password.into(), ip: None, fresh: town.fresh() };
        town.change(|txn, terms| log_in(txn, terms, &login))
    };
    assert_eq!(reason(log_in_with(&mut town, "$old")), Reason::Hash);
    let (user, session) = log_in_with(&mut town, "$new").unwrap();
    assert_eq!(user.id, anna.id);
    assert!(town.verify(session.secret.expose(), None).is_ok());
    town.update(anna.id, Change { active: Some(false), ..Change::default() }).unwrap();
    assert_eq!(reason(log_in_with(&mut town, "$new")), Reason::OwnerInactive);
    assert_eq!(town.session(anna.id).unwrap_err(), Refusal::Conflict(Conflict::UserInactive));
}

#[test]
fn sessions_stay_dead_when_their_user_comes_back() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let session = town.session(anna.id).unwrap();
    for active in [false, true] {
        town.update(anna.id, Change { active: Some(active), ..Change::default() }).unwrap();
    }
    assert_eq!(reason(town.verify(session.secret.expose(), None)), Reason::SessionEnded);
    let new = town.session(anna.id).unwrap();
    assert!(town.verify(new.secret.expose(), None).is_ok());
}

#[test]
fn one_ends_ones_own_and_an_admin_anybodys() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let bert = town.user("bert@example.org", &["operator"]);
    let admin = town.user("admin@example.org", &["admin"]);
    let [of_anna, of_bert, of_admin] = [anna.id, bert.id, admin.id].map(|id| town.session(id).unwrap());
    let end_as = |town: &mut Town, by: &Minted, session: &Minted| {
        let who = town.who(Right::OwnTokens, by).unwrap();
        town.change(|txn, _| end(txn, &who, session.token.id))
    };
    assert_eq!(end_as(&mut town, &of_bert, &of_anna), Err(Refusal::NotFound));
    assert!(town.verify(of_anna.secret.expose(), None).is_ok());
    end_as(&mut town, &of_admin, &of_anna).unwrap();
    assert_eq!(reason(town.verify(of_anna.secret.expose(), None)), Reason::Revoked);
    // Once more changes nothing and is no entry.
    let entries = town.actions().len();
    town.pass(5);
    end_as(&mut town, &of_admin, &of_anna).unwrap();
    assert_eq!(town.actions().len(), entries);
    assert_eq!(town.row(of_anna.token.id).unwrap().token.revoked_at, Some(Time::from_unix(NOW)));
    end_as(&mut town, &of_bert, &of_bert).unwrap();
    let pat = town.pat(admin.id, crate::rules::pats::Wish::default()).unwrap();
    assert_eq!(end_as(&mut town, &of_admin, &pat), Err(Refusal::NotFound));
}

/// Fails unless a session that ended with what `change` did stays as it ended then, whoever ends it again.
#[track_caller]
fn stays_as_it_ended(change: Change) {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let session = town.session(anna).unwrap();
    let id = session.token.id;
    town.pass(5);
    town.update(anna, change).unwrap();
    let (ended, entries) = (town.time(), town.actions().len());
    town.pass(2);
    town.change(|txn, _| end(txn, &Town::root(Right::OwnTokens), id)).unwrap();
    town.change(|txn, _| inventory::revoke_any(txn, &Town::root(Right::Administrate), id)).unwrap();
    let presented = Presented::bearer(session.secret.expose(), &town.keyring, &town.services).unwrap();
    assert!(!revocation::would_change(&town.shelf, &presented).unwrap());
    town.change(|txn, _| revocation::by_presenting(txn, &presented, By::unknown(None))).unwrap();
    let row = town.row(id).unwrap();
    assert_eq!((row.state, row.revoked_at), (State::Revoked, Some(ended)));
    assert_eq!(town.actions().len(), entries, "what changes nothing is no entry");
}

#[test]
fn a_session_that_ended_with_a_password_or_a_deactivation_stays_as_it_ended_whoever_ends_it_again() {
    stays_as_it_ended(Change { password: Some("$new".into()), ..Change::default() });
    stays_as_it_ended(Change { active: Some(false), ..Change::default() });
}

#[test]
fn a_session_whose_user_is_damaged_can_be_ended() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let ways: [fn(&mut Town, &Minted); 3] = [
        |town, session| {
            town.change(|txn, _| end(txn, &Town::root(Right::OwnTokens), session.token.id)).unwrap();
        },
        |town, session| {
            let root = Town::root(Right::Administrate);
            town.change(|txn, _| inventory::revoke_any(txn, &root, session.token.id)).unwrap();
        },
        |town, session| {
            let presented = Presented::bearer(session.secret.expose(), &town.keyring, &town.services);
            let by = By::unknown(None);
            town.change(|txn, _| revocation::by_presenting(txn, &presented.unwrap(), by)).unwrap();
        },
    ];
    let sessions = ways.map(|way| (way, town.session(anna).unwrap()));
    town.shelf.tamper(TableId::Users, anna.as_bytes(), Some(vec![1, 2, 3]));
    for (way, session) in sessions {
        way(&mut town, &session);
        let row = Token::by_id(&town.shelf, session.token.id).unwrap().unwrap();
        assert_eq!(row.revoked_at, Some(town.time()));
    }
}

#[test]
fn the_current_session_is_a_session() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let (session, other) = (town.session(anna.id).unwrap(), town.session(anna.id).unwrap());
    let pat = town.pat(anna.id, crate::rules::pats::Wish::default()).unwrap();
    let who = town.who(Right::OwnTokens, &pat).unwrap();
    assert_eq!(town.change(|txn, _| end_current(txn, &who)), Err(Refusal::Forbidden(Forbidden::Kind)));
    let who = town.who(Right::OwnTokens, &session).unwrap();
    town.change(|txn, _| end_current(txn, &who)).unwrap();
    assert_eq!(reason(town.verify(session.secret.expose(), None)), Reason::Revoked);
    assert!(town.verify(other.secret.expose(), None).is_ok(), "ending a session ends nothing else");
    assert!(town.verify(pat.secret.expose(), None).is_ok(), "ending a session ends nothing else");
}
