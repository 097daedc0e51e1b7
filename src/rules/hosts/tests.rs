//! The rules of hosts, over a store on a shelf.

use serde_json::json;

use super::*;
use crate::{
    records::host::SealedFor,
    rules::{
        Denied, Reason,
        access::Who,
        enrollment::{
            Enrolled, Wish,
            tests::house::{House, NOW, map, nobody},
        },
        verify::{self, Asking, Presented},
    },
    settings::CredentialKind,
    token::{Secret, TokenId, text},
};

const UNUSED: Noted<'static> = &|_| None;

fn enrolled(house: &mut House, name: &str) -> Enrolled {
    let minted = house.mint(&Wish::default());
    house.enroll(minted.secret.expose(), None, name).unwrap()
}

/// Who presents `token`, as the verification sees it.
fn caller(house: &House, token: &Secret) -> Result<Caller, Refusal> {
    let presented = Presented::Token(text::parse(token.expose()).unwrap());
    let kinds = &[CredentialKind::Agent];
    let asking = Asking { now: Time::from_unix(house.seconds), from: None, kinds, noted: None };
    let good = verify::verify(&house.shelf, &presented, &asking)?;
    Ok(Caller { who: Who::Known(Box::new(good.identity)), ip: None })
}

#[track_caller]
fn dead(house: &House, token: &Secret, reason: Reason) {
    match caller(house, token) {
        Err(Refusal::Denied(Denied { reason: found, .. })) => assert_eq!(found, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_are_listed_newest_first_page_by_page() {
    let mut house = House::new();
    let mut made = Vec::new();
    for n in 0..5 {
        house.seconds += 1;
        made.push(enrolled(&mut house, &format!("h{n}")).host);
    }
    made.reverse();
    let page = |after, limit| list(&house.shelf, &Page { after, limit }, UNUSED).unwrap();
    let first = page(None, 2);
    let rest = page(first.next.clone(), 500);
    let ids: Vec<HostId> = first.items.iter().chain(&rest.items).map(|seen| seen.host.id).collect();
    assert_eq!(ids, made);
    assert!(rest.next.is_none());
}

#[test]
fn an_agent_sees_its_own_host_and_no_sign_of_others() {
    let mut house = House::new();
    let (one, two) = (enrolled(&mut house, "one"), enrolled(&mut house, "two"));
    let agent = caller(&house, &one.agent_token).unwrap();
    assert_eq!(super::one(&house.shelf, &agent, one.host, UNUSED).unwrap().host.hostname, "one");
    let absent = HostId::from_parts(1, [1; 10]);
    for id in [two.host, absent] {
        assert_eq!(super::one(&house.shelf, &agent, id, UNUSED).unwrap_err(), Refusal::NotFound);
        let read = house.change(|txn, terms| read_credentials(txn, terms, &agent, id));
        assert_eq!(read.unwrap_err(), Refusal::NotFound);
    }
    let operator = Caller::local(0);
    assert_eq!(super::one(&house.shelf, &operator, two.host, UNUSED).unwrap().host.hostname, "two");
    assert_eq!(super::one(&house.shelf, &operator, absent, UNUSED).unwrap_err(), Refusal::NotFound);
}

#[test]
fn a_host_says_when_its_agent_was_last_seen() {
    let mut house = House::new();
    let host = enrolled(&mut house, "one");
    let agent = text::parse(host.agent_token.expose()).unwrap().id;
    let seen = |house: &House, noted: Noted<'_>| {
        super::one(&house.shelf, &Caller::local(0), host.host, noted).unwrap().last_used_at
    };
    assert_eq!(seen(&house, UNUSED), None);
    house.shelf.place(&LastUsed { token: agent, at: Time::from_unix(NOW), ip: None });
    assert_eq!(seen(&house, UNUSED), Some(Time::from_unix(NOW)));
    let later = LastUsed { token: agent, at: Time::from_unix(NOW + 9), ip: None };
    assert_eq!(seen(&house, &|id| (id == agent).then_some(later)), Some(later.at));
}

#[test]
fn of_a_host_that_was_rotated_often_the_newest_tokens_are_looked_at_and_no_more() {
    let mut house = House::new();
    let host = enrolled(&mut house, "one").host;
    let mut newest = Vec::new();
    for _ in 0..3 * AGENTS_SEEN_MAX {
        house.seconds += 1;
        let fresh = house.fresh();
        let minted = house.change(|txn, terms| rotate(txn, terms, &nobody(), host, 0, &fresh)).unwrap();
        newest.insert(0, minted.token.id);
    }
    let seen =
        |house: &House| super::one(&house.shelf, &Caller::local(0), host, UNUSED).unwrap().last_used_at;
    let at = |number: usize| Time::from_unix(NOW + u64::try_from(number).unwrap());
    house.shelf.place(&LastUsed { token: newest[AGENTS_SEEN_MAX], at: at(9), ip: None });
    assert_eq!(seen(&house), None, "one past the last that is looked at");
    house.shelf.place(&LastUsed { token: newest[AGENTS_SEEN_MAX - 1], at: at(5), ip: None });
    assert_eq!(seen(&house), Some(at(5)), "the last that is looked at");
    house.shelf.place(&LastUsed { token: newest[0], at: at(7), ip: None });
    house.shelf.fail_after(Some(1_000));
    assert_eq!(seen(&house), Some(at(7)));
    // The host, its credentials, the index; and of each token its row and its last use.
    assert_eq!(house.shelf.reads_left(), Some(1_000 - 3 - 2 * u64::try_from(AGENTS_SEEN_MAX).unwrap()));
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let mut house = House::new();
    let host = enrolled(&mut house, "one").host;
    let entries = |house: &House| house.shelf.audit().len();
    let before = entries(&house);
    let change =
        |house: &mut House, change: Change| house.change(|txn, _| update(txn, &nobody(), host, &change));
    change(&mut house, Change::default()).unwrap();
    change(&mut house, Change { tags: Some(Vec::new()), facts: Some(None) }).unwrap();
    assert_eq!(entries(&house), before);
    house.seconds += 7;
    let both = Change { tags: Some(vec!["a".to_owned()]), facts: Some(Some(map(&json!({"cpu": 2})))) };
    let host = change(&mut house, both).unwrap();
    assert_eq!(host.updated_at, Time::from_unix(NOW + 7));
    assert_eq!((host.tags, host.facts.as_deref()), (vec!["a".to_owned()], Some(r#"{"cpu":2}"#)));
    let host = change(&mut house, Change { facts: Some(None), ..Change::default() }).unwrap();
    assert_eq!((host.tags.len(), host.facts), (1, None));
    assert_eq!(entries(&house), before + 2);
    let bad = Change { tags: Some(vec![String::new()]), ..Change::default() };
    assert!(matches!(change(&mut house, bad).unwrap_err(), Refusal::Invalid { field: "tags", .. }));
}

#[test]
fn deleting_a_host_ends_all_its_tokens_and_frees_its_name() {
    let mut house = House::new();
    let first = enrolled(&mut house, "web");
    let fresh = house.fresh();
    let second = house.change(|txn, terms| rotate(txn, terms, &nobody(), first.host, 60, &fresh)).unwrap();
    let nonce = house.bytes();
    house.change(|txn, terms| put_credentials(txn, terms, &nobody(), first.host, b"{}", nonce)).unwrap();
    house.change(|txn, _| delete(txn, &nobody(), first.host)).unwrap();
    dead(&house, &first.agent_token, Reason::Revoked);
    dead(&house, &second.secret, Reason::Revoked);
    assert!(Place::of_host(first.host).row(&house.shelf).unwrap().is_none());
    assert_eq!(house.change(|txn, _| delete(txn, &nobody(), first.host)), Err(Refusal::NotFound));
    let again = enrolled(&mut house, "WEB");
    assert_ne!(again.host, first.host);
    dead(&house, &first.agent_token, Reason::Revoked);
    caller(&house, &again.agent_token).unwrap();
}

#[test]
fn a_rotation_lets_every_living_token_of_the_host_end_within_the_overlap() {
    let mut house = House::new();
    let host = enrolled(&mut house, "web");
    let rotated = |house: &mut House, overlap| {
        let fresh = house.fresh();
        house.change(|txn, terms| rotate(txn, terms, &nobody(), host.host, overlap, &fresh)).unwrap().secret
    };
    let second = rotated(&mut house, 100);
    let third = rotated(&mut house, 60);
    let alive =
        |house: &House| [&host.agent_token, &second, &third].map(|token| caller(house, token).is_ok());
    assert_eq!(alive(&house), [true, true, true]);
    house.seconds = NOW + 59;
    assert_eq!(alive(&house), [true, true, true]);
    house.seconds = NOW + 60;
    assert_eq!(alive(&house), [false, false, true], "the first by the second rotation, not its own end");
    let fourth = rotated(&mut house, 0);
    assert_eq!(alive(&house), [false, false, false]);
    caller(&house, &fourth).unwrap();
    let absent = HostId::from_parts(1, [1; 10]);
    let fresh = house.fresh();
    let refused = house.change(|txn, terms| rotate(txn, terms, &nobody(), absent, 0, &fresh));
    assert_eq!(refused.unwrap_err(), Refusal::NotFound);
}

#[test]
fn a_damaged_token_of_a_host_keeps_neither_its_rotation_nor_its_deletion_up() {
    let mut house = House::new();
    let host = enrolled(&mut house, "web");
    let nonce = house.bytes();
    house.change(|txn, terms| put_credentials(txn, terms, &nobody(), host.host, b"{}", nonce)).unwrap();
    let rotated = |house: &mut House, overlap| {
        let fresh = house.fresh();
        house.change(|txn, terms| rotate(txn, terms, &nobody(), host.host, overlap, &fresh)).unwrap()
    };
    let second = rotated(&mut house, 60);
    let first = text::parse(host.agent_token.expose()).unwrap().id;
    house.shelf.tamper(TableId::Tokens, first.as_bytes(), Some(vec![1, 2, 3]));
    house.shelf.tamper(TableId::Sealed, &SealedFor::Host(host.host).key(), Some(vec![1, 2, 3]));
    let third = rotated(&mut house, 0);
    dead(&house, &second.secret, Reason::Revoked);
    caller(&house, &third.secret).unwrap();
    house.change(|txn, _| delete(txn, &nobody(), host.host)).unwrap();
    dead(&house, &third.secret, Reason::Revoked);
    assert_eq!(Host::by_id(&house.shelf, host.host), Ok(None));
    assert_eq!(Place::of_host(host.host).row(&house.shelf), Ok(None));
    let params: Vec<Value> = house
        .shelf
        .audit()
        .iter()
        .rev()
        .take(2)
        .map(|entry| serde_json::from_str(&entry.params).unwrap())
        .collect();
    assert!(params.iter().all(|params| params["damaged"] == 1), "{params:?}");
    assert_eq!(params[1]["retired"], json!([second.token.id.to_string()]));
}

#[test]
fn a_damaged_token_and_damaged_credentials_hide_neither_their_host_nor_another() {
    let mut house = House::new();
    let hosts = ["one", "two"].map(|name| enrolled(&mut house, name));
    let agent = text::parse(hosts[0].agent_token.expose()).unwrap().id;
    house.shelf.tamper(TableId::Tokens, agent.as_bytes(), Some(vec![1, 2, 3]));
    let sealed = SealedFor::Host(hosts[1].host).key();
    house.shelf.tamper(TableId::Sealed, &sealed, Some(vec![1, 2, 3]));
    let listed = list(&house.shelf, &Page { after: None, limit: 50 }, UNUSED).unwrap();
    let seen = listed.items.iter().map(|seen| (seen.host.id, seen.has_credentials));
    assert!(seen.eq([(hosts[1].host, true), (hosts[0].host, false)]));
    for reads in 0..8 {
        house.shelf.fail_after(Some(reads));
        let unreadable = list(&house.shelf, &Page { after: None, limit: 50 }, UNUSED).map(drop);
        assert_eq!(unreadable, Err(Refusal::Fault(Fault::Unreadable)), "after {reads} reads");
    }
}

const YEAR: u64 = 365 * 86_400;
const MONTH: u64 = 30 * 86_400;

/// A host whose first agent token was to live on for a month beside the second, until a clock that ran ahead by a year
/// made it past its end.
fn with_a_token_that_a_wrong_clock_expired(house: &mut House) -> (Enrolled, Secret) {
    let host = enrolled(house, "web");
    let fresh = house.fresh();
    let second =
        house.change(|txn, terms| rotate(txn, terms, &nobody(), host.host, MONTH, &fresh)).unwrap().secret;
    house.seconds = NOW + YEAR;
    dead(house, &host.agent_token, Reason::Expired);
    (host, second)
}

#[test]
fn a_rotation_under_a_clock_that_ran_ahead_ends_also_what_only_that_clock_had_expired() {
    for overlap in [0, 3_600] {
        let mut house = House::new();
        let (host, second) = with_a_token_that_a_wrong_clock_expired(&mut house);
        let fresh = house.fresh();
        let third =
            house.change(|txn, terms| rotate(txn, terms, &nobody(), host.host, overlap, &fresh)).unwrap();
        assert_eq!(caller(&house, &second).is_ok(), overlap > 0);
        house.seconds = NOW + 60;
        dead(&house, &host.agent_token, Reason::Revoked);
        caller(&house, &third.secret).unwrap();
    }
}

#[test]
fn a_host_that_is_deleted_under_a_clock_that_ran_ahead_takes_along_what_only_that_clock_had_expired() {
    let mut house = House::new();
    let (host, second) = with_a_token_that_a_wrong_clock_expired(&mut house);
    house.change(|txn, _| delete(txn, &nobody(), host.host)).unwrap();
    house.seconds = NOW + 60;
    for token in [&host.agent_token, &second] {
        dead(&house, token, Reason::Revoked);
    }
}

#[test]
fn of_more_tokens_past_their_end_than_one_operation_takes_those_with_the_latest_ends_go_first() {
    let mut house = House::new();
    let host = enrolled(&mut house, "web").host;
    let ids: Vec<TokenId> = (0..=AGENTS_OVER_MAX)
        .map(|number| {
            let fresh = house.fresh();
            let end = Some(Time::from_unix(NOW - u64::try_from(number).unwrap()));
            let owner = Owner::Host(host);
            house
                .change(|txn, terms| {
                    let blank =
                        tokens::blank(txn, &terms.settings.tokens.prefix, Kind::Agent, owner, None, &fresh);
                    txn.entry(&nobody(), Action::HostRotate, host, Params::none())?;
                    let token = Token { expires_at: end, ..blank.token };
                    tokens::insert(txn, token.clone())?;
                    Ok(token.id)
                })
                .unwrap()
        })
        .collect();
    let left = |house: &House| -> Vec<usize> {
        let row = |id| Token::by_id(&house.shelf, id).unwrap().unwrap();
        (0..ids.len()).filter(|number| !row(ids[*number]).is_revoked()).collect()
    };
    for expected in [vec![AGENTS_OVER_MAX], vec![]] {
        let fresh = house.fresh();
        house.change(|txn, terms| rotate(txn, terms, &nobody(), host, 60, &fresh)).unwrap();
        assert_eq!(left(&house), expected);
    }
}

#[test]
fn credentials_are_replaced_by_operators_and_every_reading_is_on_file() {
    let mut house = House::new();
    let host = enrolled(&mut house, "web");
    let agent = caller(&house, &host.agent_token).unwrap();
    let read = |house: &mut House, caller: &Caller| {
        house.change(|txn, terms| read_credentials(txn, terms, caller, host.host))
    };
    assert_eq!(read(&mut house, &agent).unwrap_err(), Refusal::NotFound, "none yet");
    for plain in [br#"{"k":1}"#.as_slice(), b"{}"] {
        let nonce = house.bytes();
        house.change(|txn, terms| put_credentials(txn, terms, &nobody(), host.host, plain, nonce)).unwrap();
        let before = house.shelf.audit().len();
        assert_eq!(*read(&mut house, &agent).unwrap(), plain);
        assert_eq!(read(&mut house, &Caller::local(0)).unwrap_err(), Refusal::NotFound);
        let log = house.shelf.audit();
        assert_eq!(log.len(), before + 1);
        assert_eq!(log.last().unwrap().action, "host.credentials_read");
    }
}

#[test]
fn sealing_draws_on_its_own_nonce_each_time() {
    let mut house = House::new();
    let host = enrolled(&mut house, "web");
    let mut envelopes = Vec::new();
    for _ in 0..20 {
        let nonce = house.bytes();
        house.change(|txn, terms| put_credentials(txn, terms, &nobody(), host.host, b"{}", nonce)).unwrap();
        envelopes.push(Place::of_host(host.host).row(&house.shelf).unwrap().unwrap().envelope);
    }
    envelopes.sort();
    envelopes.dedup();
    assert_eq!(envelopes.len(), 20);
}

#[test]
fn a_stale_hint_gives_no_host_a_token_of_another() {
    let mut house = House::new();
    let (one, two) = (enrolled(&mut house, "one"), enrolled(&mut house, "two"));
    let theirs = text::parse(two.agent_token.expose()).unwrap().id;
    let key = [&Owner::Host(one.host).prefix(), b"agt".as_slice(), theirs.as_bytes()].concat();
    house.shelf.tamper(TableId::TokensByOwner, &key, Some(Vec::new()));
    house.change(|txn, _| delete(txn, &nobody(), one.host)).unwrap();
    caller(&house, &two.agent_token).unwrap();
}
