//! The rules of enrolment, over a store on a shelf.

use serde_json::json;

use self::house::{ATTEMPT, House, NOW, map, same, statement};
use super::*;
use crate::token::Prefix;

pub(crate) mod house;
mod replies;
mod sealed;

#[test]
fn a_token_is_swapped_for_a_host_and_an_agent_token_once() {
    let mut house = House::new();
    let wish = Wish {
        hostname: Some("hint".to_owned()),
        tags: vec!["web".to_owned()],
        facts: Some(map(&json!({"rack": 7, "cpu": 1}))),
        ..Wish::default()
    };
    let minted = house.mint(&wish);
    let mut said = statement(" Web-1 ");
    said.facts = Some(map(&json!({"cpu": 4, "ram": 8})));
    let enrolled = house.enroll_as(minted.secret.expose(), None, said).unwrap();

    let host = Host::by_name(&house.shelf, "WEB-1").unwrap().unwrap();
    assert_eq!((host.id, host.hostname.as_str()), (enrolled.host, "Web-1"));
    assert_eq!((host.tags, host.enrollment), (vec!["web".to_owned()], Some(minted.token.id)));
    // The operator's word about the host goes before the host's own.
    assert_eq!(host.facts.as_deref(), Some(r#"{"cpu":1,"rack":7,"ram":8}"#));
    let agent = house.agent_of(&enrolled);
    assert_eq!((agent.kind, agent.owner, agent.expires_at), (Kind::Agent, Owner::Host(host.id), None));
    let token = house.row(&minted);
    assert_eq!(token.consumed_at, Some(Time::from_unix(NOW)));
    assert_eq!(detail(&token).unwrap().host, Some(host.id));
    assert_eq!(redeemed_from(&house.shelf, token.id).unwrap(), Some([192, 0, 2, 1].into()));

    assert_eq!(house.actions(), ["enrollment.create", "host.enroll"]);
    let entry = house.shelf.audit().pop().unwrap();
    assert_eq!((entry.actor, entry.actor_label.as_str()), (Actor::Host(host.id), "Web-1"));
    house.refuses(minted.secret.expose(), None, "web-2", Reason::Replayed);
}

#[test]
fn whatever_is_wrong_with_the_token_nothing_happens() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let good = minted.secret.expose();
    let prefix = Prefix::default();
    let made_up = |kind, id, fill: u8| text::mint(&prefix, kind, id, &[fill; 32]);
    let stranger = TokenId::from_parts(NOW * 1000, [99; 10]);
    let typo = good.replace("_enr_", "_agt_");
    let padded = format!(" {good}");
    for (text, reason) in [
        ("", Reason::Malformed),
        ("x", Reason::Malformed),
        (padded.as_str(), Reason::Malformed),
        (typo.as_str(), Reason::Checksum),
        (made_up(Kind::Enrollment, stranger, 1).expose(), Reason::Unknown),
        (made_up(Kind::Enrollment, minted.token.id, 99).expose(), Reason::Hash),
        (made_up(Kind::Agent, minted.token.id, 99).expose(), Reason::Hash),
    ] {
        house.refuses(text, None, "web-1", reason);
        house.refuses(text, Some(ATTEMPT), "web-1", reason);
    }
    let enrolled = house.enroll(good, None, "web-1").unwrap();
    house.refuses(enrolled.agent_token.expose(), None, "web-2", Reason::Kind);
    let revoked = house.mint(&Wish::default());
    house.revoke(revoked.token.id).unwrap();
    house.refuses(revoked.secret.expose(), None, "web-2", Reason::Revoked);
}

#[test]
fn every_refusal_of_a_token_reads_as_much_as_any_other() {
    let mut house = House::new();
    let minted = house.mint(&Wish { hostname: Some("a".to_owned()), pin_hostname: true, ..Wish::default() });
    let revoked = house.mint(&Wish::default());
    house.revoke(revoked.token.id).unwrap();
    let spent = house.mint(&Wish::default());
    house.enroll(spent.secret.expose(), Some(ATTEMPT), "spent").unwrap();
    let unknown = text::mint(&Prefix::default(), Kind::Enrollment, TokenId::from_parts(1, [1; 10]), &[1; 32]);
    for text in ["", unknown.expose(), minted.secret.expose(), revoked.secret.expose(), spent.secret.expose()]
    {
        let proof = Proof::new(Secret::new(text.to_owned()), None, "b");
        house.shelf.fail_after(Some(100));
        judge(&house.shelf, &proof, Time::from_unix(NOW), &|_| None).unwrap_err();
        assert_eq!(house.shelf.reads_left(), Some(98), "{text}");
    }
}

#[test]
fn a_name_that_is_taken_in_any_case_leaves_the_token_unspent() {
    let mut house = House::new();
    let first = house.mint(&Wish::default());
    house.enroll(first.secret.expose(), None, "taken").unwrap();
    let second = house.mint(&Wish::default());
    let before = house.shelf.rows().clone();
    for name in ["taken", "TAKEN", " Taken "] {
        let refusal = house.enroll(second.secret.expose(), Some(ATTEMPT), name).unwrap_err();
        assert_eq!(refusal, Refusal::Conflict(Conflict::HostExists));
    }
    assert_eq!(*house.shelf.rows(), before);
    house.refuses("bdr_enr_x", None, "taken", Reason::Malformed);
    house.enroll(second.secret.expose(), None, "free").unwrap();
}

#[test]
fn fields_are_judged_for_holders_of_good_tokens_alone_and_spend_nothing() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let long = |n: usize| "x".repeat(n);
    let object = |n: usize| Some(map(&json!({"k": "v".repeat(n - 8)})));
    let base = || statement("web-1");
    let cases = [
        ("hostname", Statement { hostname: long(254), ..base() }),
        ("hostname", Statement { hostname: String::new(), ..base() }),
        ("hostname", Statement { hostname: "a\nb".to_owned(), ..base() }),
        ("os", Statement { os: String::new(), ..base() }),
        ("os", Statement { os: long(65), ..base() }),
        ("os", Statement { os: "a\nb".to_owned(), ..base() }),
        ("arch", Statement { arch: long(65), ..base() }),
        ("arch", Statement { arch: " ".to_owned(), ..base() }),
        ("agent_version", Statement { agent_version: Some(long(65)), ..base() }),
        ("facts", Statement { facts: object(16 * 1024 + 1), ..base() }),
    ];
    for (field, said) in cases {
        match house.enroll_as(minted.secret.expose(), None, said) {
            Err(Refusal::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    for attempt in [long(21), long(87), format!("{} x", long(22)), format!("{}ä", long(22))] {
        match house.enroll(minted.secret.expose(), Some(&attempt), "web-1") {
            Err(Refusal::Invalid { field, .. }) => assert_eq!(field, "attempt"),
            other => panic!("{attempt}: {other:?}"),
        }
    }
    house.refuses("x", Some("short"), "a\nb", Reason::Malformed);
    let said = Statement {
        hostname: long(253),
        os: long(64),
        arch: long(64),
        agent_version: Some(long(64)),
        facts: object(16 * 1024),
    };
    house.enroll_as(minted.secret.expose(), Some(&long(86)), said).unwrap();
}

#[test]
fn facts_of_both_sides_together_stay_within_the_bound() {
    let mut house = House::new();
    let half = |key: &str| Some(map(&json!({key: "v".repeat(9 * 1024)})));
    let minted = house.mint(&Wish { facts: half("a"), ..Wish::default() });
    let said = Statement { facts: half("b"), ..statement("web-1") };
    let refusal = house.enroll_as(minted.secret.expose(), None, said).unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid { field: "facts", .. }), "{refusal:?}");
    let said = Statement { facts: half("a"), ..statement("web-1") };
    house.enroll_as(minted.secret.expose(), None, said).unwrap();
}

#[test]
fn what_is_wished_for_is_within_its_bounds() {
    let object = |n: usize| Some(map(&json!({"k": "v".repeat(n - 8)})));
    let good = [
        Wish { ttl_seconds: Some(1), ..Wish::default() },
        Wish {
            ttl_seconds: Some(86_400),
            credentials: object(16 * 1024),
            facts: object(16 * 1024),
            ..Wish::default()
        },
        Wish {
            tags: vec!["t".repeat(64); 32],
            hostname: Some("h".repeat(253)),
            pin_hostname: true,
            ..Wish::default()
        },
    ];
    for wish in good {
        Wanted::new(&wish).unwrap();
    }
    let bad = [
        ("ttl_seconds", Wish { ttl_seconds: Some(0), ..Wish::default() }),
        ("ttl_seconds", Wish { ttl_seconds: Some(86_401), ..Wish::default() }),
        ("credentials", Wish { credentials: object(16 * 1024 + 1), ..Wish::default() }),
        ("facts", Wish { facts: object(16 * 1024 + 1), ..Wish::default() }),
        ("tags", Wish { tags: vec!["t".to_owned(); 33], ..Wish::default() }),
        ("tags", Wish { tags: vec!["t".repeat(65)], ..Wish::default() }),
        ("hostname", Wish { hostname: Some("h".repeat(254)), ..Wish::default() }),
    ];
    for (named, wish) in bad {
        match Wanted::new(&wish) {
            Err(Refusal::Invalid { field, .. }) => assert_eq!(field, named),
            other => panic!("{named}: {other:?}"),
        }
    }
    let unpinnable = Wish { pin_hostname: true, ..Wish::default() };
    assert_eq!(Wanted::new(&unpinnable).unwrap_err(), Refusal::Missing("hostname"));
}

#[test]
fn an_enrolment_lives_an_hour_and_dies_at_its_second() {
    let mut house = House::new();
    let (one, two) = (house.mint(&Wish::default()), house.mint(&Wish::default()));
    assert_eq!(one.token.expires_at, Some(Time::from_unix(NOW + 3600)));
    house.seconds = NOW + 3599;
    house.enroll(one.secret.expose(), None, "one").unwrap();
    house.seconds = NOW + 3600;
    house.refuses(two.secret.expose(), None, "two", Reason::Expired);
}

#[test]
fn the_writers_own_turn_decides_about_expiry() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let proof = Proof::new(minted.secret.duplicate(), None, "late");
    house.seconds = NOW + 3599;
    judge(&house.shelf, &proof, Time::from_unix(house.seconds), &|_| None).unwrap();
    house.seconds = NOW + 3600;
    let joining = Joining::new(statement("late"), &proof).unwrap();
    let fresh = house.fresh_host();
    let refusal =
        house.change(|txn, terms| redeem(txn, terms, None, &proof, joining, &|_| None, &fresh)).unwrap_err();
    assert!(matches!(refusal, Refusal::Denied(Denied { reason: Reason::Expired, .. })), "{refusal:?}");
}

#[test]
fn a_pinned_token_enrols_its_own_name_in_any_case_and_a_hint_binds_nobody() {
    let mut house = House::new();
    let pinned = Wish { hostname: Some("Only-Me".to_owned()), pin_hostname: true, ..Wish::default() };
    let minted = house.mint(&pinned);
    house.refuses(minted.secret.expose(), None, "other", Reason::Hostname);
    house.enroll(minted.secret.expose(), None, "only-me").unwrap();
    let hinted = house.mint(&Wish { hostname: Some("hint".to_owned()), ..Wish::default() });
    house.enroll(hinted.secret.expose(), None, "other").unwrap();
}

#[test]
fn a_store_that_fails_at_any_read_spends_nothing() {
    let mut house = House::new();
    let minted = house.mint(&Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() });
    let before = house.shelf.rows().clone();
    let mut failures = 0;
    let enrolled = loop {
        house.shelf.fail_after(Some(failures));
        let outcome = house.enroll(minted.secret.expose(), Some(ATTEMPT), "web-1");
        house.shelf.fail_after(None);
        match outcome {
            Ok(enrolled) => break enrolled,
            Err(refusal) => assert_eq!(refusal, Refusal::Fault(Fault::Unreadable), "read {failures}"),
        }
        assert_eq!(*house.shelf.rows(), before, "read {failures}");
        failures += 1;
        assert!(failures < 1000);
    };
    assert!(failures > 10, "{failures}");
    same(&enrolled, &house.enroll(minted.secret.expose(), Some(ATTEMPT), "web-1").unwrap());
}

#[test]
fn what_is_kept_beside_a_token_is_removed_with_it() {
    let mut house = House::new();
    let minted = house.mint(&Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() });
    let spent = house.mint(&Wish::default());
    house.enroll(spent.secret.expose(), Some(ATTEMPT), "web-1").unwrap();
    let rows = [house.row(&minted), house.row(&spent)];
    house
        .change(|txn, _| {
            txn.entry(&By::system(), Action::TokenPurge, "2", Params::none())?;
            rows.iter().try_for_each(|token| Ok(tokens::erase(txn, token)?))
        })
        .unwrap();
    let left = |table| house.shelf.rows().keys().filter(|(of, _)| *of == table).count();
    assert_eq!((left(TableId::Sealed), left(TableId::Replays)), (0, 0));
}

#[test]
fn enrolments_are_listed_newest_first_and_nothing_else_is() {
    let mut house = House::new();
    let mut minted = Vec::new();
    for n in 0..5 {
        house.seconds += 1;
        minted.push(house.mint(&Wish::default()).token.id);
        let other = house.mint(&Wish::default());
        house.enroll(other.secret.expose(), None, &format!("h{n}")).unwrap();
    }
    let now = Time::from_unix(house.seconds);
    let page = |after, limit| list(&house.shelf, now, &Page { after, limit }).unwrap();
    let first = page(None, 3);
    let second = page(first.next.clone(), 500);
    assert!(second.next.is_none());
    let ids: Vec<TokenId> = first.items.iter().chain(&second.items).map(|row| row.token.id).collect();
    assert_eq!(ids.len(), 10);
    assert!(ids.is_sorted_by(|one, other| one > other), "{ids:?}");
    assert!(minted.iter().all(|id| ids.contains(id)));
}

#[test]
fn nothing_of_a_secret_shows_in_debug() {
    let wish = Wish { credentials: Some(map(&json!({"k": "canary"}))), ..Wish::default() };
    let wanted = Wanted::new(&wish).unwrap();
    let secret = || Secret::new("canary".to_owned());
    let proof = Proof::new(secret(), Some(secret()), "web");
    let enrolled = Enrolled { host: HostId::from_bytes([0; 16]), agent_token: secret() };
    let shown = format!("{wanted:?} {proof:?} {enrolled:?} {:?}", House::new().fresh_host());
    assert!(!shown.contains("canary"), "{shown}");
}
