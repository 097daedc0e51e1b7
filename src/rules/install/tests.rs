//! Install tokens: one at a time, for one use, and never again but by force.

use super::*;
use crate::{
    rules::{
        pats::Wish,
        town::{Town, reason},
    },
    token::{Prefix, text},
};

fn minted(town: &mut Town, force: bool) -> Result<Minted, Refusal> {
    let fresh = town.fresh();
    town.change(|txn, terms| mint(txn, terms, &By::system(), force, &fresh))
}

fn text_of(token: &Minted) -> TokenText {
    text::parse(token.secret.expose()).unwrap()
}

fn redeemed(
    town: &mut Town,
    presented: TokenText,
    email: &str,
    name: Option<&str>,
) -> Result<(User, Minted), Refusal> {
    let admin = FirstAdmin {
        presented,
        email: email.to_owned(),
        name: name.map(ToOwned::to_owned),
        password: PasswordHash::new(format!("hash of {email}'s")),
        fresh_user: town.fresh().id,
        fresh_session: town.fresh(),
    };
    town.change(|txn, terms| complete(txn, terms, None, admin))
}

#[test]
fn one_install_token_makes_the_first_admin_once() {
    let mut town = Town::new();
    assert_eq!(wants_token(&town.shelf), Ok(true));
    let token = minted(&mut town, false).unwrap();
    assert_eq!(wants_token(&town.shelf), Ok(false), "one is on file");
    assert_eq!(accepts(&town.shelf, Some(&text_of(&token))), Ok(()));
    let (user, session) = redeemed(&mut town, text_of(&token), "ada@example.org", Some("Ada")).unwrap();
    assert_eq!((user.groups.as_slice(), user.name.as_deref()), (&["admin".to_owned()][..], Some("Ada")));
    assert!(town.verify(session.secret.expose(), None).is_ok());
    assert_eq!(Token::by_id(&town.shelf, token.token.id).unwrap().unwrap().consumed_at, Some(town.time()));
    let over = Refusal::Conflict(Conflict::SetupComplete);
    assert_eq!(accepts(&town.shelf, Some(&text_of(&token))), Err(over.clone()));
    assert_eq!(redeemed(&mut town, text_of(&token), "eve@example.org", None).unwrap_err(), over);
    assert_eq!(minted(&mut town, false).unwrap_err(), over);
    assert_eq!(wants_token(&town.shelf), Ok(false), "setup is over");
    assert_eq!(town.actions(), ["install.mint", "setup.complete"]);
}

#[test]
fn only_the_install_token_on_file_is_accepted_in_its_one_spelling() {
    let mut town = Town::new();
    let nothing = text::mint(
        &Prefix::new("bdr").unwrap(),
        Kind::Install,
        crate::token::TokenId::from_parts(1, [1; 10]),
        &[1; 32],
    );
    let unknown = text::parse(nothing.expose()).unwrap();
    assert_eq!(reason(accepts(&town.shelf, Some(&unknown))), Reason::Unknown, "none is on file");
    let before = minted(&mut town, false).unwrap();
    let token = minted(&mut town, false).unwrap();
    assert_eq!(reason(accepts(&town.shelf, None)), Reason::Malformed);
    assert_eq!(reason(accepts(&town.shelf, Some(&unknown))), Reason::Unknown);
    assert_eq!(reason(accepts(&town.shelf, Some(&text_of(&before)))), Reason::Unknown, "a newer one is");
    assert!(Token::by_id(&town.shelf, before.token.id).unwrap().unwrap().revoked_at.is_some());
    let prefix = Prefix::new("bdr").unwrap();
    let of = |kind, secret: [u8; 32]| {
        text::parse(text::mint(&prefix, kind, token.token.id, &secret).expose()).unwrap()
    };
    assert_eq!(reason(accepts(&town.shelf, Some(&of(Kind::Install, [9; 32])))), Reason::Hash);
    let other_kind = TokenText { kind: Kind::Enrollment, ..text_of(&token) };
    assert_eq!(reason(accepts(&town.shelf, Some(&other_kind))), Reason::Kind);
    assert_eq!(accepts(&town.shelf, Some(&text_of(&token))), Ok(()));
}

#[test]
fn a_row_of_another_kind_on_file_admits_nobody() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let pat = town.pat(anna, Wish::default()).unwrap();
    let setup = Setup::of(&town.shelf).unwrap();
    town.shelf.place(&Setup { install_token: Some(pat.token.id), ..setup });
    let presented = TokenText { kind: Kind::Install, ..text_of(&pat) };
    assert_eq!(reason(accepts(&town.shelf, Some(&presented))), Reason::Kind);
}

#[test]
fn a_token_that_is_over_is_not_on_file() {
    let mut town = Town::new();
    let token = minted(&mut town, false).unwrap();
    let row = Token::by_id(&town.shelf, token.token.id).unwrap().unwrap();
    let now = Some(town.time());
    for over in [
        Token { revoked_at: now, ..row.clone() },
        Token { consumed_at: now, ..row.clone() },
        Token { revoked_at: now, consumed_at: now, ..row },
    ] {
        town.shelf.place(&over);
        assert_eq!(reason(accepts(&town.shelf, Some(&text_of(&token)))), Reason::Unknown);
    }
}

#[test]
fn setup_that_was_opened_once_more_brings_a_locked_out_admin_back() {
    let mut town = Town::new();
    let token = minted(&mut town, false).unwrap();
    let (ada, session) = redeemed(&mut town, text_of(&token), "ada@example.org", Some("Ada")).unwrap();
    let other = town.user("root@example.org", &["admin"]);
    let change = users::Change { active: Some(false), groups: Some(vec!["x".into()]), ..Default::default() };
    town.update(ada.id, change).unwrap();
    town.pass(10);
    let token = minted(&mut town, true).unwrap();
    assert!(Setup::of(&town.shelf).unwrap().reopened);
    let again = minted(&mut town, false).unwrap();
    assert!(Setup::of(&town.shelf).unwrap().reopened, "still open");
    assert_eq!(reason(accepts(&town.shelf, Some(&text_of(&token)))), Reason::Unknown);
    let (back, new) = redeemed(&mut town, text_of(&again), "ada@example.org", None).unwrap();
    assert_eq!((back.id, back.active, back.name.as_deref()), (ada.id, true, Some("Ada")));
    assert_eq!(back.groups, ["admin", "x"]);
    assert_eq!(back.password.as_ref().map(PasswordHash::expose), Some("hash of ada@example.org's"));
    assert_eq!(back.updated_at, town.time());
    assert_eq!(reason(town.verify(session.secret.expose(), None)), Reason::SessionEnded);
    assert!(town.verify(new.secret.expose(), None).is_ok());
    assert!(!Setup::of(&town.shelf).unwrap().pending());
    assert!(town.update(other.id, users::Change { active: Some(false), ..Default::default() }).is_ok());
}

/// An import may have made that user, or a service.
#[test]
fn before_the_first_admin_only_force_lets_an_email_that_exists_name_its_user() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &["reader"]);
    let email_exists = Refusal::Conflict(Conflict::EmailExists);
    let token = minted(&mut town, false).unwrap();
    assert_eq!(redeemed(&mut town, text_of(&token), "anna@example.org", None).unwrap_err(), email_exists);
    minted(&mut town, true).unwrap();
    let token = minted(&mut town, false).unwrap();
    let (admin, _) = redeemed(&mut town, text_of(&token), "Anna@example.org", None).unwrap();
    assert_eq!((admin.id, admin.groups), (anna.id, vec!["admin".to_owned(), "reader".to_owned()]));
    assert!(!Setup::of(&town.shelf).unwrap().pending());
    assert_eq!(minted(&mut town, false).unwrap_err(), Refusal::Conflict(Conflict::SetupComplete));
    let mints: Vec<String> = town.shelf.audit().into_iter().rev().map(|entry| entry.params).collect();
    assert_eq!(mints.len(), 5);
    assert_eq!(&mints[1..4], ["{}", "{\"force\":true}", "{}"]);
}

/// Nobody deactivated them meanwhile: the new password alone ends the sessions of before.
#[test]
fn an_admin_who_comes_back_has_the_new_password_and_name_and_no_session_of_before() {
    let mut town = Town::new();
    let token = minted(&mut town, false).unwrap();
    let (ada, session) = redeemed(&mut town, text_of(&token), "ada@example.org", Some("Ada")).unwrap();
    let password = Some("forgotten".into());
    town.update(ada.id, users::Change { password, ..Default::default() }).unwrap();
    let before = town.session(ada.id).unwrap();
    assert!(town.verify(before.secret.expose(), None).is_ok());
    let token = minted(&mut town, true).unwrap();
    let (back, _) = redeemed(&mut town, text_of(&token), "ada@example.org", Some("Countess")).unwrap();
    assert_eq!((back.id, back.name.as_deref()), (ada.id, Some("Countess")));
    assert_eq!(back.password.as_ref().map(PasswordHash::expose), Some("hash of ada@example.org's"));
    for old in [before, session] {
        assert_eq!(reason(town.verify(old.secret.expose(), None)), Reason::SessionEnded);
    }
}
