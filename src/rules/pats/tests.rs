//! The bounds of what may be asked for, and stories of PATs.

use serde_json::json;

use super::*;
use crate::records::{Fault, Page, TableId, token::Token};
use crate::{
    rules::{
        Reason,
        access::Right,
        town::{NOW, Town, reason},
    },
    settings,
};

fn named() -> Wish {
    Wish { name: "n".to_owned(), ..Wish::default() }
}

#[track_caller]
fn check(wish: Wish, field: Option<&str>) {
    match (plan(wish), field) {
        (Ok(_), None) => {}
        (Err(Refusal::Invalid { field, .. }), Some(expected)) => assert_eq!(field, expected),
        (other, expected) => panic!("{other:?}, {expected:?} expected"),
    }
}

#[test]
fn spans_and_uses_are_within_their_bounds() {
    for (days, bad) in [(0, true), (1, false), (3_650, false), (3_651, true), (u64::MAX, true)] {
        check(Wish { life: Life::Days(days), ..named() }, bad.then_some("expires_in_days"));
    }
    for (ttl, bad) in [(0, true), (1, false), (315_360_000, false), (315_360_001, true), (u64::MAX, true)] {
        check(Wish { ttl_seconds: Some(ttl), ..named() }, bad.then_some("ttl_seconds"));
    }
    for (uses, bad) in [(0, true), (1, false), (USES_MAX, false), (USES_MAX + 1, true)] {
        check(Wish { max_uses: Some(uses), ..named() }, bad.then_some("max_uses"));
    }
}

#[test]
fn names_scopes_and_metadata_are_within_their_bounds() {
    for (name, bad) in [("", true), (" ", true), ("a\u{7}", true), ("x", false)] {
        check(Wish { name: name.into(), ..Wish::default() }, bad.then_some("name"));
    }
    for (scope, bad) in [("", true), ("a  b", true), ("a\"", true), ("a a", true), ("a b", false)] {
        check(Wish { scope: Some(scope.into()), ..named() }, bad.then_some("scope"));
    }
    for (chars, bad) in [(4_096 - 8, false), (4_096 - 7, true)] {
        let metadata = json!({"k": "v".repeat(chars)}).as_object().cloned();
        check(Wish { metadata, ..named() }, bad.then_some("metadata"));
    }
}

#[track_caller]
fn check_ranges(given: &[&str], expected: Option<&[&str]>) {
    let texts: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
    let judged = ranges(&texts).ok();
    let shown = judged.map(|ranges| ranges.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(
        shown,
        expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect()),
        "{given:?}"
    );
}

#[test]
fn a_range_has_one_spelling() {
    check_ranges(&[], Some(&[]));
    check_ranges(&["10.0.0.0/8", "2001:db8::/32"], Some(&["10.0.0.0/8", "2001:db8::/32"]));
    check_ranges(&["10.1.2.3/8", "10.0.0.0/8"], Some(&["10.0.0.0/8"]));
    check_ranges(&["192.0.2.1", "::1"], Some(&["192.0.2.1/32", "::1/128"]));
    check_ranges(&["::ffff:192.0.2.0/120", "::ffff:192.0.2.9"], Some(&["192.0.2.0/24", "192.0.2.9/32"]));
    check_ranges(&["0.0.0.0/0", "::/0"], Some(&["0.0.0.0/0", "::/0"]));
    for bad in [
        "",
        "x",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "10.0.0.0/-1",
        " 10.0.0.0/8",
        "10.0.0.0/8 ",
        "010.0.0.0/8",
    ] {
        check_ranges(&[bad], None);
    }
    check_ranges(&["10.0.0.0/8"; 64], Some(&["10.0.0.0/8"]));
    check_ranges(&["10.0.0.0/8"; 65], None);
}

#[track_caller]
fn check_span(wish: Wish, span: Option<u64>) {
    let mut town = Town::new();
    town.settings.scopes.insert("short".into(), settings::Scope { max_ttl: 120 });
    let anna = town.user("anna@example.org", &[]);
    let minted = town.pat(anna.id, wish).unwrap();
    assert_eq!(minted.token.expires_at.map(|end| end.unix() - NOW), span);
    assert_eq!(minted.token.span_seconds, span);
}

#[test]
fn a_clamp_holds_whatever_was_asked() {
    let scoped = |scope: &str, wish: Wish| Wish { scope: Some(scope.into()), ..wish };
    let never = Wish { life: Life::Unlimited, ..named() };
    check_span(named(), Some(90 * 86_400));
    check_span(never.clone(), None);
    check_span(Wish { ttl_seconds: Some(60), ..never.clone() }, Some(60));
    check_span(Wish { ttl_seconds: Some(60), life: Life::Days(5), ..named() }, Some(60));
    check_span(scoped("bootstrap-analyst", never.clone()), Some(3_600));
    check_span(scoped("bootstrap-analyst", Wish { ttl_seconds: Some(3_601), ..named() }), Some(3_600));
    check_span(scoped("bootstrap-analyst", Wish { ttl_seconds: Some(3_599), ..named() }), Some(3_599));
    check_span(scoped("x short bootstrap-analyst", never), Some(120));
    check_span(scoped("shorter", named()), Some(90 * 86_400));
}

#[test]
fn a_token_gets_no_reserved_scope_that_its_owner_does_not_have() {
    let mut town = Town::new();
    for (groups, scope, allowed) in [
        (&[][..], "general", true),
        (&[], "introspect", false),
        (&[], "operator", false),
        (&[], "x admin", false),
        (&["operator"], "introspect operator", true),
        (&["operator"], "admin", false),
        (&["admin"], "admin operator introspect", true),
        (&["Admin"], "admin", false),
    ] {
        let user = town.user(&format!("{}@example.org", town.actions().len()), groups);
        let minted = town.pat(user.id, Wish { scope: Some(scope.into()), ..named() });
        assert_eq!(minted.is_ok(), allowed, "{groups:?} {scope}");
        if !allowed {
            assert_eq!(minted.unwrap_err(), Refusal::Forbidden(Forbidden::Escalation));
        }
    }
}

#[test]
fn a_rotated_token_carries_everything_over_and_is_clamped_again() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let wish = Wish {
        ttl_seconds: Some(7_200),
        scope: Some("a b".into()),
        spelled: Spelled::Jwt,
        allowed_ips: vec!["192.0.2.0/24".into()],
        max_uses: Some(5),
        metadata: json!({"k": 1}).as_object().cloned(),
        ..named()
    };
    let old = town.pat(anna.id, wish).unwrap();
    town.pass(100);
    town.settings.scopes.insert("b".into(), settings::Scope { max_ttl: 600 });
    let new = town.rotate(old.token.id, 0).unwrap();
    let like = Token {
        id: new.token.id,
        hash: new.token.hash,
        created_at: town.time(),
        span_seconds: Some(600),
        expires_at: Some(town.time().plus(600)),
        ..old.token.clone()
    };
    assert_eq!(new.token, like);
    assert_eq!(new.secret.expose().split('.').count(), 3);
    let row = town.row(new.token.id).unwrap();
    assert_eq!(row.uses, Some(0));
    assert_eq!(reason(town.verify(old.secret.expose(), None)), Reason::Revoked);
}

#[test]
fn a_token_has_the_name_and_the_metadata_it_was_given_last() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let object = |value: u8| json!({ "k": value }).as_object().cloned();
    let plan = plan(Wish { name: "first".into(), metadata: object(1), ..Wish::default() }).unwrap();
    let (fresh, root) = (town.fresh(), Town::root(Right::MintForOthers));
    let token = town.change(|txn, terms| mint_for(txn, terms, &root, anna.id, plan, &fresh)).unwrap().token;
    let shown = |town: &Town| {
        let token = town.row(token.id).unwrap().token;
        (token.name, token.metadata)
    };
    assert_eq!(shown(&town), ("first".to_owned(), Some("{\"k\":1}".to_owned())));
    let change = |town: &mut Town, change: Change| {
        let owner = Town::root(Right::ChangeOwn);
        town.change(|txn, _| update(txn, &owner, token.id, change)).unwrap();
        shown(town)
    };
    let second = change(&mut town, Change { name: Some("second".into()), ..Change::default() });
    assert_eq!(second, ("second".to_owned(), Some("{\"k\":1}".to_owned())));
    let third = change(&mut town, Change { metadata: Some(object(3)), ..Change::default() });
    assert_eq!(third, ("second".to_owned(), Some("{\"k\":3}".to_owned())));
    assert_eq!(change(&mut town, Change { metadata: Some(None), ..Change::default() }).1, None);
}

#[test]
fn an_overlap_ends_to_the_second_and_never_later_than_the_token_itself() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let old = town.pat(anna.id, named()).unwrap();
    town.rotate(old.token.id, 30).unwrap();
    town.pass(29);
    assert!(town.verify(old.secret.expose(), None).is_ok());
    town.pass(1);
    assert_eq!(reason(town.verify(old.secret.expose(), None)), Reason::Expired);

    let short = town.pat(anna.id, Wish { ttl_seconds: Some(10), ..named() }).unwrap();
    town.rotate(short.token.id, limits::OVERLAP_SECONDS_MAX).unwrap();
    assert_eq!(town.row(short.token.id).unwrap().token.expires_at, short.token.expires_at);
    let refusal = town.rotate(old.token.id, limits::OVERLAP_SECONDS_MAX + 1).unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid { field: "overlap_seconds", .. }));
}

#[test]
fn only_an_active_token_of_an_active_owner_rotates() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let not_active = Refusal::Conflict(Conflict::NotActive);
    let [revoked, expired, disabled, used, orphan] =
        [(None, None), (Some(5), None), (None, None), (None, Some(1)), (None, None)].map(
            |(ttl_seconds, max_uses)| town.pat(anna.id, Wish { ttl_seconds, max_uses, ..named() }).unwrap(),
        );
    town.revoke(revoked.token.id).unwrap();
    let off = Change { enabled: Some(false), ..Change::default() };
    town.change(|txn, _| update(txn, &Town::root(Right::ChangeOwn), disabled.token.id, off)).unwrap();
    town.use_up(used.secret.expose()).unwrap();
    town.pass(5);
    for dead in [&revoked, &expired, &disabled, &used] {
        assert_eq!(town.rotate(dead.token.id, 0).unwrap_err(), not_active);
    }
    town.update(anna.id, users::Change { active: Some(false), ..users::Change::default() }).unwrap();
    assert_eq!(town.rotate(orphan.token.id, 0).unwrap_err(), not_active);
}

#[test]
fn another_users_token_is_unknown_to_everyone_but_an_admin() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let admin = town.user("admin@example.org", &["admin"]);
    let pat = town.pat(anna.id, named()).unwrap();
    let general = town.pat(admin.id, named()).unwrap();
    let full = town.pat(admin.id, Wish { scope: Some("admin".into()), ..named() }).unwrap();
    let operator = town.user("operator@example.org", &["operator"]);
    let of_operator = town.session(operator.id).unwrap();
    let of_admin = town.session(admin.id).unwrap();
    for (by, known) in
        [(&pat, true), (&general, false), (&full, true), (&of_operator, false), (&of_admin, true)]
    {
        let who = town.who(Right::OwnTokens, by).unwrap();
        let shown = show(&town.shelf, &who, pat.token.id, town.time(), &|_| None);
        assert_eq!(shown.is_ok(), known, "{:?}", by.token.name);
        assert_eq!(
            tokens::own(&town.shelf, &who, Kind::Pat, town.time(), &|_| None, &page())
                .unwrap()
                .items
                .is_empty(),
            { who.caller().user() == Some(operator.id) }
        );
    }
}

fn page() -> Page {
    Page { after: None, limit: 50 }
}

#[test]
fn a_counted_token_is_used_exactly_as_often_as_it_may() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish { max_uses: Some(3), ..named() }).unwrap();
    for _ in 0..3 {
        town.use_up(pat.secret.expose()).unwrap();
    }
    assert_eq!(reason(town.use_up(pat.secret.expose())), Reason::Exhausted);
    assert_eq!(town.row(pat.token.id).unwrap().state, State::Exhausted);
}

/// A deactivation keeps PATs off for as long as it lasts; a revocation meanwhile is for good.
#[test]
fn a_token_that_is_revoked_while_its_owner_is_off_stays_so_when_the_owner_comes_back() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let [revoked, kept] = [(); 2].map(|()| town.pat(anna, named()).unwrap());
    let switch = |town: &mut Town, active| {
        let change = users::Change { active: Some(active), ..users::Change::default() };
        town.update(anna, change).unwrap();
    };
    switch(&mut town, false);
    town.pass(2);
    town.revoke(revoked.token.id).unwrap();
    let at = town.time();
    town.pass(2);
    switch(&mut town, true);
    assert_eq!(reason(town.verify(revoked.secret.expose(), None)), Reason::Revoked);
    assert_eq!(town.row(revoked.token.id).unwrap().revoked_at, Some(at));
    assert!(town.verify(kept.secret.expose(), None).is_ok());
}

#[test]
fn a_bound_token_is_refused_from_elsewhere_and_from_nowhere() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let bound = Wish { allowed_ips: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()], ..named() };
    let pat = town.pat(anna.id, bound).unwrap();
    for (from, good) in [
        (Some("192.0.2.7"), true),
        (Some("::ffff:192.0.2.7"), true),
        (Some("2001:db8::7"), true),
        (Some("192.0.3.7"), false),
        (Some("::1"), false),
        (None, false),
    ] {
        let from = from.map(|ip| ip.parse().unwrap());
        assert_eq!(town.verify(pat.secret.expose(), from).is_ok(), good, "{from:?}");
    }
}

/// A source that gives the same bytes twice within a millisecond writes nothing over.
#[test]
fn the_same_random_bytes_twice_overwrite_nothing() {
    let mut town = Town::new();
    let (anna, bert) = (town.user("anna@example.org", &[]).id, town.user("bert@example.org", &[]).id);
    let fresh = town.fresh();
    let root = Town::root(Right::MintForOthers);
    let mut mint = |owner| {
        let plan = plan(named()).unwrap();
        town.change(|txn, terms| mint_for(txn, terms, &root, owner, plan, &fresh))
    };
    let first = mint(anna).unwrap();
    let again = mint(bert).unwrap_err();
    assert!(matches!(again, Refusal::Fault(_)), "{again:?}");
    let row = Token::by_id(&town.shelf, first.token.id).unwrap().unwrap();
    assert_eq!(row.owner, Owner::User(anna));
    assert_eq!(town.actions().iter().filter(|action| *action == "token.create").count(), 1);
    // A millisecond later, or with another turn, the same bytes make another token.
    town.pass(1);
    let later =
        town.change(|txn, terms| mint_for(txn, terms, &root, bert, plan(named()).unwrap(), &fresh)).unwrap();
    assert_ne!((later.token.id, later.secret.expose()), (first.token.id, first.secret.expose()));
}

#[test]
fn a_wrong_checksum_is_told_without_the_store() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let good = town.pat(anna, Wish::default()).unwrap().secret;
    town.shelf.fail_after(Some(0));
    for at in 8..good.expose().len() {
        let mut typo = good.expose().as_bytes().to_vec();
        typo[at] = if typo[at] == b'1' { b'2' } else { b'1' };
        let typo = String::from_utf8(typo).unwrap();
        assert_eq!(reason(town.verify(&typo, None)), Reason::Checksum, "{at}");
    }
    assert_eq!(town.shelf.reads_left(), Some(0));
    assert!(
        matches!(town.verify(good.expose(), None), Err(Refusal::Fault(_))),
        "the good one asks the store"
    );
}

/// A row that is cut, longer, of another version or with a flipped bit is a fault, and neither a yes nor a no.
#[test]
fn a_damaged_row_is_no_answer() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let pat = town.pat(anna, Wish::default()).unwrap();
    let key = pat.token.id.as_bytes().to_vec();
    let genuine = town.shelf.rows()[&(TableId::Tokens, key.clone())].clone();
    let mut damaged: Vec<Vec<u8>> = (0..genuine.len()).map(|length| genuine[..length].to_vec()).collect();
    damaged.push([genuine.as_slice(), &[0]].concat());
    for at in 0..genuine.len() {
        for bit in 0..8 {
            let mut flipped = genuine.clone();
            flipped[at] ^= 1 << bit;
            damaged.push(flipped);
        }
    }
    for row in damaged {
        town.shelf.tamper(TableId::Tokens, &key, Some(row));
        let outcome = town.verify(pat.secret.expose(), None);
        assert!(matches!(outcome, Err(Refusal::Fault(Fault::Damaged(TableId::Tokens)))), "{outcome:?}");
    }
    town.shelf.tamper(TableId::Tokens, &key, Some(genuine));
    assert!(town.verify(pat.secret.expose(), None).is_ok());
}
