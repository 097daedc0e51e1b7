//! What becomes of the records of a backup over the store that it replaces.

mod damage;
mod passwords;
mod setup;

use super::*;
use crate::{
    records::{
        client::Project,
        host::{Sealed, SealedFor},
        shelf::Shelf,
        token::{Enrollment, Link},
        user::PasswordHash,
    },
    rules::{
        check, install,
        pats::Wish,
        tokens,
        town::{NOW, Town},
    },
    token::{ClientId, HostId, KeyId, Keyring, TokenId},
};

fn copy(shelf: &Shelf) -> Shelf {
    let mut copy = Shelf::new();
    for ((table, key), value) in shelf.rows() {
        copy.tamper(*table, key, Some(value.clone()));
    }
    copy
}

/// Restores `backup` over `replaced`.
fn restore(backup: &Shelf, replaced: Option<&Shelf>, now: u64) -> (Shelf, Carried) {
    let mut restored = copy(backup);
    let over = replaced.map(|shelf| -> &dyn View { shelf });
    restored.change(now * 1000, |txn| begin(txn, &By::local(0), over)).unwrap();
    let mut carried = Carried::default();
    let mut progress = Some(Progress::START);
    while let Some(at) = progress {
        let (next, more) = restored.change(now * 1000, |txn| step(txn, &By::local(0), over, &at)).unwrap();
        carried.add(more);
        progress = next;
    }
    whole(&restored);
    (restored, carried)
}

/// Fails unless the store is as it must be.
#[track_caller]
fn whole(shelf: &Shelf) {
    let keyring = Keyring::generate(KeyId::new("k1").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
    let mut walk = check::Walk::new(true);
    let report = loop {
        if let Some(report) = walk.step(shelf, &keyring).unwrap() {
            break report;
        }
    };
    assert_eq!(report.findings, []);
}

/// Puts a token there as the daemon would.
fn token(town: &mut Town, kind: Kind, owner: Owner, change: impl FnOnce(&mut Token)) -> Token {
    let fresh = town.fresh();
    town.change(|txn, terms| {
        let mut token = tokens::blank(txn, &terms.settings.tokens.prefix, kind, owner, None, &fresh).token;
        change(&mut token);
        txn.entry(&By::local(0), Action::TokenCreate, token.id, Params::none())?;
        tokens::insert(txn, token.clone())?;
        Ok(token)
    })
    .unwrap()
}

/// Changes a token's row as the daemon would.
fn amend(town: &mut Town, id: TokenId, change: impl FnOnce(&mut Token)) {
    let mut token = row(&town.shelf, id);
    change(&mut token);
    put(town, token);
}

fn put<R: Deciding>(town: &mut Town, record: R) {
    town.change(|txn, _| {
        txn.entry(&By::local(0), Action::TokenUpdate, "test", Params::none())?;
        Ok(txn.put(record)?)
    })
    .unwrap();
}

fn row(shelf: &Shelf, id: TokenId) -> Token {
    Token::by_id(shelf, id).unwrap().unwrap()
}

fn state(shelf: &Shelf, id: TokenId, now: u64) -> State {
    verify::state_of(shelf, &row(shelf, id), Time::from_unix(now), None).unwrap()
}

fn single_use(token: &mut Token) {
    token.detail = Detail::Link(Box::new(Link { label: None, redirect: "/".to_owned(), single_use: true }));
}

fn many_uses(token: &mut Token) {
    token.detail = Detail::Link(Box::new(Link { label: None, redirect: "/".to_owned(), single_use: false }));
}

fn enrolment(token: &mut Token) {
    token.detail = Detail::Enrollment(Box::new(Enrollment {
        hostname: None,
        pin_hostname: false,
        tags: Vec::new(),
        facts: None,
        host: None,
    }));
}

fn a_client(town: &mut Town) -> Client {
    let id = ClientId::from_parts(NOW * 1000, [1; 10]);
    let client = Client {
        id,
        slug: "acme".to_owned(),
        name: "Acme".to_owned(),
        active: true,
        created_at: town.time(),
        entry: 0,
    };
    let row = client.clone();
    town.change(|txn, _| {
        txn.entry(&By::local(0), Action::ClientCreate, id, Params::none())?;
        txn.hint(TableId::ClientsBySlug, b"acme".to_vec(), id.as_bytes().to_vec());
        Ok(txn.put(row)?)
    })
    .unwrap();
    client
}

fn a_host(town: &mut Town) -> Host {
    let host = Host {
        id: HostId::from_parts(NOW * 1000, [2; 10]),
        hostname: "Web-1".to_owned(),
        os: "linux".to_owned(),
        arch: "x".to_owned(),
        agent_version: None,
        tags: Vec::new(),
        facts: None,
        enrollment: None,
        created_at: town.time(),
        updated_at: town.time(),
        entry: 0,
    };
    let row = host.clone();
    town.change(|txn, _| {
        txn.entry(&By::local(0), Action::HostEnroll, row.id, Params::none())?;
        txn.hint(TableId::HostsByName, b"web-1".to_vec(), row.id.as_bytes().to_vec());
        Ok(txn.put(row)?)
    })
    .unwrap();
    host
}

/// What `change` does to a PAT after the backup; the state that it has after the restore.
#[track_caller]
fn stays(expected: State, wish: Wish, change: impl FnOnce(&mut Town, TokenId)) {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let pat = town.pat(user.id, wish).unwrap();
    let other = town.pat(user.id, Wish::default()).unwrap();
    let backup = copy(&town.shelf);
    town.pass(10);
    change(&mut town, pat.token.id);
    town.pass(10);
    let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(state(&restored, pat.token.id, town.now), expected);
    assert_eq!(state(&restored, other.token.id, town.now), State::Active, "what nobody touched lives on");
}

#[test]
fn a_token_that_ended_since_stays_ended() {
    stays(State::Active, Wish::default(), |_, _| {});
    stays(State::Revoked, Wish::default(), |town, id| town.revoke(id).unwrap());
    stays(State::Revoked, Wish::default(), |town, id| drop(town.rotate(id, 0).unwrap()));
    stays(State::Expired, Wish::default(), |town, id| drop(town.rotate(id, 5).unwrap()));
    stays(State::Disabled, Wish::default(), |town, id| {
        amend(town, id, |token| token.enabled = false);
    });
    stays(State::Consumed, Wish::default(), |town, id| {
        amend(town, id, |token| token.consumed_at = Some(Time::from_unix(NOW)));
    });
    stays(State::Exhausted, Wish { max_uses: Some(2), ..Wish::default() }, |town, id| {
        town.shelf.place(&Uses { token: id, count: 2 });
    });
    stays(State::Revoked, Wish::default(), |town, id| {
        let gone = row(&town.shelf, id);
        town.change(|txn, _| {
            txn.entry(&By::system(), Action::TokenPurge, "tokens", Params::none())?;
            Ok(tokens::erase(txn, &gone)?)
        })
        .unwrap();
    });
    // What cannot be believed counts as gone.
    stays(State::Revoked, Wish::default(), |town, id| {
        let mut bytes = town.shelf.rows()[&(TableId::Tokens, id.as_bytes().to_vec())].clone();
        *bytes.last_mut().unwrap() ^= 1;
        town.shelf.tamper(TableId::Tokens, id.as_bytes(), Some(bytes));
    });
}

#[test]
fn what_was_dead_in_the_backup_stays_dead_too() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let pat = town.pat(user.id, Wish::default()).unwrap().token;
    amend(&mut town, pat.id, |token| token.enabled = false);
    let backup = copy(&town.shelf);
    amend(&mut town, pat.id, |token| token.enabled = true);
    let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(state(&restored, pat.id, town.now), State::Disabled);
}

#[test]
fn a_user_is_as_restricted_as_the_stricter_of_both_stores_says() {
    let mut town = Town::new();
    let [off, demoted, changed, promoted] = ["off", "demoted", "changed", "promoted"]
        .map(|name| town.user(&format!("{name}@example.org"), &["x"]));
    town.user("stays@example.org", &["admin"]);
    let change = |town: &mut Town, id, change| drop(town.update(id, change).unwrap());
    change(&mut town, demoted.id, groups(&["admin", "x"]));
    let session = town.session(changed.id).unwrap().token;
    let backup = copy(&town.shelf);
    town.pass(10);
    change(&mut town, off.id, users::Change { active: Some(false), ..users::Change::default() });
    change(&mut town, demoted.id, groups(&["x"]));
    change(&mut town, promoted.id, groups(&["admin", "x"]));
    let password = Some("new".into());
    change(&mut town, changed.id, users::Change { password, ..users::Change::default() });
    let made_since = town.user("since@example.org", &["admin"]);
    let (restored, carried) = restore(&backup, Some(&town.shelf), town.now);
    let user = |id| User::by_id(&restored, id).unwrap().unwrap();
    assert!(!user(off.id).active);
    assert_eq!(user(demoted.id).groups, ["x"]);
    assert_eq!(user(promoted.id).groups, ["x"]);
    assert_eq!(user(changed.id).password.as_ref().map(PasswordHash::expose), Some("new"));
    assert_eq!(state(&restored, session.id, town.now), State::Revoked, "the password changed");
    assert_eq!(User::by_id(&restored, made_since.id).unwrap(), None);
    assert_eq!(carried.users, 3);
    // The other way round, the backup being newer than what it replaces: its password is the newer one, and who
    // is not in the replaced store does not come to life.
    let (restored, _) = restore(&town.shelf, Some(&backup), town.now);
    let user = |id| User::by_id(&restored, id).unwrap().unwrap();
    assert_eq!(user(changed.id).password.as_ref().map(PasswordHash::expose), Some("new"));
    assert!(!user(made_since.id).active && !user(off.id).active);
}

fn groups(groups: &[&str]) -> users::Change {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    users::Change { groups: Some(groups), ..users::Change::default() }
}

#[test]
fn a_deleted_host_is_deleted_and_a_deactivated_client_inactive() {
    let mut town = Town::new();
    let (client, host) = (a_client(&mut town), a_host(&mut town));
    put(&mut town, Sealed { holder: SealedFor::Host(host.id), envelope: vec![1], entry: 0 });
    let agent = token(&mut town, Kind::Agent, Owner::Host(host.id), |_| {});
    let backup = copy(&town.shelf);
    town.pass(10);
    put(&mut town, Client { active: false, ..client.clone() });
    town.change(|txn, _| super::super::hosts::delete(txn, &By::local(0), host.id)).unwrap();
    let (restored, carried) = restore(&backup, Some(&town.shelf), town.now);
    assert!(!Client::by_id(&restored, client.id).unwrap().unwrap().active);
    assert_eq!(Host::by_id(&restored, host.id).unwrap(), None);
    assert_eq!(Host::by_name(&restored, "web-1").unwrap(), None);
    assert_eq!(Sealed::at(&restored, &SealedFor::Host(host.id).key()).unwrap(), None);
    assert_eq!(state(&restored, agent.id, town.now), State::Revoked);
    assert_eq!((carried.hosts, carried.clients, carried.tokens), (1, 1, 1));
}

#[test]
fn the_higher_time_and_both_heads_are_on_file() {
    let mut town = Town::new();
    town.user("a@example.org", &[]);
    let backup = copy(&town.shelf);
    town.user("b@example.org", &[]);
    let far = (NOW + 1_000_000) * 1000;
    town.shelf.place(&HighestTime { millis: far });
    let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(HighestTime::of(&restored).unwrap().millis, far);
    let entry = restored.audit().into_iter().find(|entry| entry.action == "store.restore").unwrap();
    let params: serde_json::Value = serde_json::from_str(&entry.params).unwrap();
    for (name, shelf) in [("backup_head", &backup), ("replaced_head", &town.shelf)] {
        let head = AuditHead::of(shelf).unwrap();
        assert_eq!(params[name], serde_json::json!({"seq": head.seq, "hash": hex(&head.hash)}));
    }
}

#[test]
fn over_an_unreadable_store_what_is_for_one_use_is_void_and_the_rest_is_named() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let (client, host) = (a_client(&mut town), a_host(&mut town));
    let session = town.session(user.id).unwrap().token;
    let enrolment = token(&mut town, Kind::Enrollment, Owner::Nobody, enrolment);
    let once = token(&mut town, Kind::Link, Owner::Client(client.id), single_use);
    put(&mut town, Sealed { holder: SealedFor::Enrollment(enrolment.id), envelope: vec![1], entry: 0 });
    put(
        &mut town,
        Replay {
            enrollment: enrolment.id,
            host: host.id,
            agent_token: enrolment.id,
            envelope: vec![1],
            expires_at: Time::from_unix(NOW + 600),
            ip: None,
            entry: 0,
        },
    );
    let spent = town.pat(user.id, Wish { max_uses: Some(1), ..Wish::default() }).unwrap().token;
    let counted = town.pat(user.id, Wish { max_uses: Some(2), ..Wish::default() }).unwrap().token;
    let pat = town.pat(user.id, Wish::default()).unwrap().token;
    let agent = token(&mut town, Kind::Agent, Owner::Host(host.id), |_| {});
    let link = token(&mut town, Kind::Link, Owner::Client(client.id), many_uses);
    let dead = town.pat(user.id, Wish::default()).unwrap().token;
    town.revoke(dead.id).unwrap();
    let project = Project {
        name: "p".to_owned(),
        client: client.id,
        preview_client: None,
        preview_link: None,
        entry: 0,
    };
    put(&mut town, project);
    let (restored, carried) = restore(&town.shelf, None, town.now);
    for id in [session.id, enrolment.id, once.id, spent.id, dead.id] {
        assert_eq!(state(&restored, id, town.now), State::Revoked);
    }
    for id in [counted.id, pat.id, agent.id, link.id] {
        assert_eq!(state(&restored, id, town.now), State::Active);
    }
    assert_eq!(Sealed::at(&restored, &SealedFor::Enrollment(enrolment.id).key()).unwrap(), None);
    assert_eq!(Replay::at(&restored, enrolment.id.as_bytes()).unwrap(), None);
    let mut named: Vec<_> = carried.revived.iter().map(|one| one.what).collect();
    named.sort_unstable();
    assert_eq!(named, ["agent", "client", "host", "link", "pat", "pat", "user"]);
}

#[test]
fn a_consumed_enrolment_has_nothing_sealed_left() {
    let mut town = Town::new();
    let enrolment = token(&mut town, Kind::Enrollment, Owner::Nobody, enrolment);
    put(&mut town, Sealed { holder: SealedFor::Enrollment(enrolment.id), envelope: vec![1], entry: 0 });
    let backup = copy(&town.shelf);
    amend(&mut town, enrolment.id, |token| token.consumed_at = Some(Time::from_unix(NOW)));
    let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(state(&restored, enrolment.id, town.now), State::Consumed);
    assert_eq!(Sealed::at(&restored, &SealedFor::Enrollment(enrolment.id).key()).unwrap(), None);
}

#[test]
fn more_rows_than_one_operation_takes_go_in_several() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let ids: Vec<TokenId> =
        (0..=STEP_ROWS_MAX).map(|_| token(&mut town, Kind::Pat, Owner::User(user.id), |_| {}).id).collect();
    let gone = Shelf::new();
    let (restored, carried) = restore(&town.shelf, Some(&gone), town.now);
    assert_eq!(carried.tokens, ids.len() as u64);
    assert!(ids.iter().all(|id| state(&restored, *id, town.now) == State::Revoked));
    let entries = restored.audit();
    let most =
        entries.iter().filter(|entry| entry.action == "store.carry_over").map(|entry| entry.touched.len());
    assert_eq!(most.max(), Some(STEP_ROWS_MAX));
}

#[test]
fn a_store_that_lacks_what_every_store_has_is_no_store_to_go_by() {
    let shelf = Shelf::new();
    assert_eq!(judge(&shelf), Ok(()));
    for key in [&b"setup"[..], b"highest_time", b"audit_head"] {
        let mut lacking = copy(&shelf);
        lacking.tamper(TableId::Meta, key, None);
        assert!(judge(&lacking).is_err());
    }
}

#[test]
fn what_is_the_same_in_both_stores_stays_and_is_not_counted() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let client = a_client(&mut town);
    let counted = town.pat(user.id, Wish { max_uses: Some(3), ..Wish::default() }).unwrap().token;
    town.shelf.place(&Uses { token: counted.id, count: 1 });
    let unspent = token(&mut town, Kind::Enrollment, Owner::Nobody, enrolment);
    town.change(|txn, terms| {
        txn.entry(&By::local(0), Action::TokenUpdate, "test", Params::none())?;
        credentials::put(txn, terms, &Place::of_enrollment(&unspent), b"{}", [1; 24])
    })
    .unwrap();
    let (restored, carried) = restore(&town.shelf, Some(&town.shelf), town.now);
    assert!(Client::by_id(&restored, client.id).unwrap().unwrap().active);
    assert!(Sealed::at(&restored, &SealedFor::Enrollment(unspent.id).key()).unwrap().is_some());
    assert_eq!((carried.users, carried.clients, carried.tokens, carried.setup_closed), (0, 0, 0, false));
}

#[test]
fn a_user_who_was_made_since_is_off_and_has_no_session_left() {
    let mut town = Town::new();
    town.user("a@example.org", &["admin"]);
    let older = copy(&town.shelf);
    town.pass(10);
    let since = town.user("since@example.org", &[]);
    town.pass(10);
    let (restored, _) = restore(&town.shelf, Some(&older), town.now);
    let user = User::by_id(&restored, since.id).unwrap().unwrap();
    assert_eq!((user.active, user.sessions_ended_at(), user.updated_at), (false, town.time(), town.time()));
}

#[test]
fn the_later_use_is_kept_and_of_two_in_a_second_that_of_the_backup() {
    let kept = |ours: (u64, Option<&str>), theirs: (u64, Option<&str>)| {
        let mut town = Town::new();
        let user = town.user("a@example.org", &[]);
        let token = town.pat(user.id, Wish::default()).unwrap().token.id;
        let note = |(at, ip): (u64, Option<&str>)| LastUsed {
            token,
            at: Time::from_unix(at),
            ip: ip.map(|ip| ip.parse().unwrap()),
        };
        town.shelf.place(&note(ours));
        let backup = copy(&town.shelf);
        town.shelf.place(&note(theirs));
        let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
        let last = LastUsed::of(&restored, token).unwrap().unwrap();
        (last.at.unix(), last.ip.map(|ip| ip.to_string()))
    };
    assert_eq!(kept((100, None), (200, None)), (200, None));
    assert_eq!(kept((200, None), (100, None)), (200, None));
    assert_eq!(kept((100, None), (100, Some("192.0.2.1"))), (100, None));
}

#[test]
fn of_a_token_the_fewer_uses_count_and_its_story_is_told_by_the_store_that_consumed_it() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let pat = town.pat(user.id, Wish { max_uses: Some(5), ..Wish::default() }).unwrap().token;
    let spent = token(&mut town, Kind::Enrollment, Owner::Nobody, enrolment);
    let unspent = token(&mut town, Kind::Enrollment, Owner::Nobody, enrolment);
    let backup = copy(&town.shelf);
    amend(&mut town, pat.id, |token| token.max_uses = Some(2));
    let host = HostId::from_parts(NOW * 1000, [2; 10]);
    let told = |token: &mut Token| {
        if let Detail::Enrollment(detail) = &mut token.detail {
            detail.host = Some(host);
        }
    };
    amend(&mut town, spent.id, |token| {
        token.consumed_at = Some(Time::from_unix(NOW));
        told(token);
    });
    amend(&mut town, unspent.id, told);
    let (restored, _) = restore(&backup, Some(&town.shelf), town.now);
    assert_eq!(row(&restored, pat.id).max_uses, Some(2));
    assert_eq!(row(&restored, spent.id).detail, row(&town.shelf, spent.id).detail);
    assert_eq!(row(&restored, unspent.id).detail, row(&backup, unspent.id).detail);
}

/// One who was off in the backup already, and whom the other store does not know, stays as they were.
#[test]
fn a_user_who_was_off_already_is_not_touched() {
    let mut town = Town::new();
    town.user("a@example.org", &["admin"]);
    let older = copy(&town.shelf);
    let off = town.user("off@example.org", &[]);
    town.update(off.id, users::Change { active: Some(false), ..users::Change::default() }).unwrap();
    let before = User::by_id(&town.shelf, off.id).unwrap().unwrap();
    town.pass(10);
    let (restored, carried) = restore(&town.shelf, Some(&older), town.now);
    assert_eq!((User::by_id(&restored, off.id).unwrap(), carried.users), (Some(before), 0));
}
