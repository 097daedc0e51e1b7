//! Stories of all tokens.

use super::*;
use crate::records::host::SealedFor;
use crate::rules::{
    enrollment,
    pats::Wish,
    tokens::Minted,
    town::{NOW, Town},
};

fn ids(listed: &Listed<Owned>) -> Vec<TokenId> {
    listed.items.iter().map(|owned| owned.row.token.id).collect()
}

/// All pages of a filter, of `limit` rows each, while tokens go on being minted.
fn walk(town: &mut Town, filter: &Filter, limit: usize, minting: UserId) -> Vec<TokenId> {
    let mut page = Page { after: None, limit };
    let mut seen = Vec::new();
    loop {
        let listed = list_all(&town.shelf, filter, town.time(), &|_| None, &page).unwrap();
        assert!(listed.items.len() <= limit);
        seen.extend(ids(&listed));
        town.pass(1);
        town.pat(minting, Wish::default()).unwrap();
        let Some(next) = listed.next else { return seen };
        page.after = Some(next);
    }
}

fn mixed(town: &mut Town, users: &[UserId]) -> Vec<Minted> {
    let mut all = Vec::new();
    for round in 0..5 {
        for user in users {
            town.pass(1);
            all.push(
                if round % 2 == 0 { town.pat(*user, Wish::default()) } else { town.session(*user) }.unwrap(),
            );
        }
    }
    all
}

#[test]
fn every_filter_gives_its_rows_newest_first_whatever_the_page() {
    for limit in [1, 2, 3, 7, 50] {
        let mut town = Town::new();
        let users = ["anna@example.org", "bert@example.org"].map(|email| town.user(email, &[]).id);
        let all = mixed(&mut town, &users);
        let [anna, bert] = users;
        for (user, kind) in
            [(None, None), (Some(anna), None), (None, Some(Kind::Session)), (Some(anna), Some(Kind::Pat))]
        {
            let before = town.time();
            let filter = Filter { user, kind, state: None };
            let expected: Vec<TokenId> = all
                .iter()
                .rev()
                .filter(|minted| user.is_none_or(|user| minted.token.owner == Owner::User(user)))
                .filter(|minted| kind.is_none_or(|kind| minted.token.kind == kind))
                .map(|minted| minted.token.id)
                .collect();
            let mut seen = walk(&mut town, &filter, limit, bert);
            seen.retain(|id| all.iter().any(|minted| minted.token.id == *id));
            assert_eq!(seen, expected, "{filter:?} by {limit}, from {before:?}");
        }
    }
}

#[test]
fn a_state_is_filtered_and_an_owner_told() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let all = mixed(&mut town, &[anna.id]);
    town.revoke(all[0].token.id).unwrap();
    let page = Page { after: None, limit: 50 };
    let list = |town: &Town, state| {
        let filter = Filter { state: Some(state), ..Filter::default() };
        list_all(&town.shelf, &filter, town.time(), &|_| None, &page).unwrap()
    };
    assert_eq!(ids(&list(&town, State::Revoked)), [all[0].token.id]);
    assert_eq!(list(&town, State::Active).items.len(), 4);
    assert_eq!(list(&town, State::Active).items[0].email.as_deref(), Some("anna@example.org"));
    town.pass(3_600);
    assert_eq!(list(&town, State::Expired).items.len(), 2, "sessions that nobody used");
}

#[test]
fn a_found_token_is_known_by_its_whole_text() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let pat = town.pat(anna.id, Wish { max_uses: Some(1), ..Wish::default() }).unwrap();
    let other = town.pat(anna.id, Wish::default()).unwrap();
    let hash = TokenHash::of(pat.secret.expose());
    let find = |id, hash| lookup(&town.shelf, &Found { id, hash }, town.time(), &|_| None);
    let owned = find(Some(pat.token.id), hash).unwrap();
    assert_eq!((owned.row.uses, owned.row.state), (Some(0), State::Active));
    assert_eq!(find(Some(other.token.id), hash).unwrap_err(), Refusal::NotFound);
    assert_eq!(find(None, hash).unwrap_err(), Refusal::NotFound);
}

fn revoke_all(town: &mut Town, condition: Condition) -> u64 {
    let found = matching(&town.shelf, &condition, None).unwrap().ids;
    let ended = end(town, &condition, &found);
    assert_eq!(ended.damaged, 0);
    ended.revoked
}

fn end(town: &mut Town, condition: &Condition, ids: &[TokenId]) -> Ended {
    town.change(|txn, _| revoke_many(txn, &By::system(), condition, ids)).unwrap()
}

#[test]
fn a_condition_takes_in_what_it_names_and_no_more() {
    let mut town = Town::new();
    let users = ["anna@example.org", "bert@example.org"].map(|email| town.user(email, &[]).id);
    mixed(&mut town, &users);
    let anna = Some(Owner::User(users[0]));
    let early = Some(Time::from_unix(NOW + 4));
    let count =
        |town: &Town, condition: &Condition| matching(&town.shelf, condition, None).unwrap().ids.len();
    for (condition, expected) in [
        (Condition { owner: anna, ..Condition::default() }, 5),
        (Condition { owner: anna, kind: Some(Kind::Pat), ..Condition::default() }, 3),
        (Condition { kind: Some(Kind::Session), ..Condition::default() }, 4),
        (Condition { created_before: early, ..Condition::default() }, 3),
        (Condition { owner: anna, created_before: early, kind: Some(Kind::Session) }, 1),
        (Condition { kind: Some(Kind::Link), ..Condition::default() }, 0),
    ] {
        assert_eq!(count(&town, &condition), expected, "{condition:?}");
    }
    let entries = town.actions().len();
    let condition = Condition { owner: anna, kind: Some(Kind::Pat), ..Condition::default() };
    assert_eq!(revoke_all(&mut town, condition), 3);
    assert_eq!(town.actions().len(), entries + 1, "one entry for all of them");
    assert_eq!(town.shelf.audit().pop().unwrap().touched.len(), 3);
    assert_eq!(revoke_all(&mut town, condition), 0);
    assert_eq!(town.actions().len(), entries + 1);
}

#[test]
fn more_than_one_operation_takes_are_found_in_portions() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    for _ in 0..BULK_ROWS_MAX + 3 {
        town.pat(anna.id, Wish::default()).unwrap();
    }
    let condition = Condition { kind: Some(Kind::Pat), ..Condition::default() };
    let first = matching(&town.shelf, &condition, None).unwrap();
    assert_eq!(first.ids.len(), BULK_ROWS_MAX);
    let second = matching(&town.shelf, &condition, first.next).unwrap();
    assert_eq!((second.ids.len(), second.next), (3, None));
}

fn revoked(town: &Town, id: TokenId) -> bool {
    Token::by_id(&town.shelf, id).unwrap().unwrap().is_revoked()
}

#[test]
fn a_damaged_token_is_passed_over_and_counted_whichever_index_leads_to_it() {
    for (owned, kind, early) in
        [(true, true, false), (true, false, false), (false, true, false), (false, false, true)]
    {
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let [older, damaged, newer] = [(); 3].map(|()| town.pat(anna, Wish::default()).unwrap().token.id);
        town.shelf.tamper(TableId::Tokens, damaged.as_bytes(), Some(vec![1, 2, 3]));
        let condition = Condition {
            owner: owned.then_some(Owner::User(anna)),
            kind: kind.then_some(Kind::Pat),
            created_before: early.then_some(Time::from_unix(NOW + 1)),
        };
        let found = matching(&town.shelf, &condition, None).unwrap();
        assert_eq!((found.ids.as_slice(), found.damaged), (&[newer, older][..], 1), "{condition:?}");
        assert_eq!(end(&mut town, &condition, &found.ids), Ended { revoked: 2, damaged: 0 });
        assert!(revoked(&town, older) && revoked(&town, newer));
    }
}

#[test]
fn a_token_that_is_damaged_only_when_its_turn_comes_is_passed_over_there() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let [older, damaged] = [(); 2].map(|()| town.pat(anna, Wish::default()).unwrap().token.id);
    let condition = Condition { kind: Some(Kind::Pat), ..Condition::default() };
    let found = matching(&town.shelf, &condition, None).unwrap().ids;
    town.shelf.tamper(TableId::Tokens, damaged.as_bytes(), Some(vec![1, 2, 3]));
    assert_eq!(end(&mut town, &condition, &found), Ended { revoked: 1, damaged: 1 });
    assert!(revoked(&town, older));
}

#[test]
fn damage_beside_a_token_does_not_keep_it_alive() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let session = town.session(anna).unwrap().token.id;
    let (fresh, wanted) = (town.fresh(), enrollment::Wanted::new(&enrollment::Wish::default()).unwrap());
    let enrolment = town
        .change(|txn, terms| enrollment::mint(txn, terms, &By::system(), wanted, &fresh, [1; 24]))
        .unwrap()
        .token
        .id;
    let credentials = SealedFor::Enrollment(enrolment).key();
    town.shelf.tamper(TableId::Sealed, &credentials, Some(vec![1, 2, 3]));
    town.shelf.tamper(TableId::Users, anna.as_bytes(), Some(vec![1, 2, 3]));
    let condition = Condition { created_before: Some(Time::from_unix(NOW + 1)), ..Condition::default() };
    assert_eq!(revoke_all(&mut town, condition), 2);
    assert!(revoked(&town, session) && revoked(&town, enrolment));
    assert!(!town.shelf.rows().contains_key(&(TableId::Sealed, credentials)), "nobody asks what it said");
}

#[test]
fn a_store_that_cannot_be_read_is_no_damage() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    town.pat(anna, Wish::default()).unwrap();
    let condition = Condition { kind: Some(Kind::Pat), ..Condition::default() };
    let found = matching(&town.shelf, &condition, None).unwrap().ids;
    let unreadable = Refusal::Fault(Fault::Unreadable);
    // The index is read, and then the row; a transaction reads the row at once.
    town.shelf.fail_after(Some(1));
    assert_eq!(matching(&town.shelf, &condition, None).map(drop), Err(unreadable.clone()));
    town.shelf.fail_after(Some(0));
    let ended = town.change(|txn, _| revoke_many(txn, &By::system(), &condition, &found));
    assert_eq!(ended, Err(unreadable));
}

#[test]
fn a_condition_that_names_nothing_is_empty_and_one_says_in_its_entry_what_it_took() {
    assert!(Condition::default().is_empty());
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    town.pat(anna, Wish::default()).unwrap();
    town.pass(10);
    for (condition, resource, params) in [
        (
            Condition { kind: Some(Kind::Pat), created_before: Some(town.time()), owner: None },
            "tokens".to_owned(),
            format!(r#"{{"created_before_unix":{},"kind":"pat","revoked":1}}"#, town.now),
        ),
        (
            Condition { owner: Some(Owner::User(anna)), ..Condition::default() },
            anna.to_string(),
            r#"{"revoked":1}"#.to_owned(),
        ),
    ] {
        assert!(!condition.is_empty(), "{condition:?}");
        assert_eq!(revoke_all(&mut town, condition), 1);
        let entry = town.shelf.audit().pop().unwrap();
        assert_eq!((entry.resource, entry.params), (resource, params));
        town.pat(anna, Wish::default()).unwrap();
    }
}

#[test]
fn an_admin_ends_any_token_and_hears_of_one_that_is_not_there() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let token = town.pat(anna, Wish::default()).unwrap().token.id;
    let root = Town::root(crate::rules::access::Right::Administrate);
    town.change(|txn, _| revoke_any(txn, &root, token)).unwrap();
    assert!(Token::by_id(&town.shelf, token).unwrap().unwrap().revoked_at.is_some());
    assert_eq!(town.actions().pop().as_deref(), Some("token.admin_revoke"));
    let gone = TokenId::from_parts(1, [9; 10]);
    assert_eq!(town.change(|txn, _| revoke_any(txn, &root, gone)), Err(Refusal::NotFound));
}

#[test]
fn a_page_that_holds_everything_is_the_last() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]);
    let all = mixed(&mut town, &[anna.id]);
    let filter = Filter { user: Some(anna.id), ..Filter::default() };
    let page = Page { after: None, limit: all.len() };
    let listed = list_all(&town.shelf, &filter, town.time(), &|_| None, &page).unwrap();
    assert_eq!((listed.items.len(), listed.next), (all.len(), None));
}

/// An index is a hint: rows that it leads to by mistake, or because somebody tampered with it, are not shown as
/// anybody's, and not ended as anybody's.
#[test]
fn an_index_that_leads_to_a_row_of_another_shows_and_ends_nothing() {
    let mut town = Town::new();
    let [anna, bert] = ["anna@example.org", "bert@example.org"].map(|email| town.user(email, &[]).id);
    let theirs = town.pat(bert, Wish::default()).unwrap().token;
    let owner = Owner::User(anna);
    for kind in [Kind::Pat, Kind::Session] {
        let lies = [&owner.prefix(), kind.tag().as_bytes(), theirs.id.as_bytes()].concat();
        town.shelf.tamper(TableId::TokensByOwner, &lies, Some(Vec::new()));
    }
    let of_bert = [&Owner::User(bert).prefix(), Kind::Session.tag().as_bytes(), theirs.id.as_bytes()];
    town.shelf.tamper(TableId::TokensByOwner, &of_bert.concat(), Some(Vec::new()));
    let by_kind = [Kind::Session.tag().as_bytes(), theirs.id.as_bytes()].concat();
    town.shelf.tamper(TableId::TokensByKind, &by_kind, Some(Vec::new()));
    let page = Page { after: None, limit: 50 };
    for (user, kind) in
        [(Some(anna), Some(Kind::Pat)), (Some(bert), Some(Kind::Session)), (None, Some(Kind::Session))]
    {
        let filter = Filter { user, kind, state: None };
        let listed = list_all(&town.shelf, &filter, town.time(), &|_| None, &page).unwrap();
        assert_eq!(ids(&listed), [], "{filter:?}");
        let condition = Condition { owner: user.map(Owner::User), kind, created_before: None };
        assert_eq!(matching(&town.shelf, &condition, None).unwrap().ids, [], "{condition:?}");
    }
    for (owner, kind) in [(Owner::User(anna), Kind::Pat), (Owner::User(bert), Kind::Session)] {
        let own = tokens::of_owner(&town.shelf, owner, kind, town.time(), &|_| None, &page).unwrap();
        assert!(own.items.is_empty(), "{owner:?} {kind:?}");
    }
}
