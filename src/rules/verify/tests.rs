//! What verification says of services, cookies and callers who were let in before.

use super::*;
use crate::{
    records::{Action, By, Params},
    rules::{
        access::{Right, decide},
        clients::{self, NewClient},
        links::{self, NewLink},
        pats::Wish,
        portal::{self, Followed},
        services::{Configured, bring_up_to_date},
        town::{Town, reason},
        users,
    },
    token::{
        Key, Secret,
        service_secrets::{Service, Slot},
    },
};

fn known(good: Good) -> Caller {
    Caller { who: Who::Known(Box::new(good.identity)), ip: None }
}

#[test]
fn only_a_token_with_a_number_of_uses_is_counted() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    for max_uses in [None, Some(1)] {
        let token = town.pat(anna, Wish { max_uses, ..Wish::default() }).unwrap();
        let good = town.verify(token.secret.expose(), None).unwrap();
        assert_eq!(good.is_counted(), max_uses.is_some());
    }
}

#[test]
fn a_service_is_known_by_its_secret_also_where_that_is_like_a_token_with_a_typo() {
    const PLAIN: &str = "a-service-secret-of-40-characters-or-so";
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let minted = town.pat(anna, Wish::default()).unwrap();
    let mut broken = minted.secret.expose().to_owned();
    let last = broken.pop();
    broken.push(if last == Some('0') { '1' } else { '0' });
    assert!(matches!(text::spelling(&broken), Spelling::OursBroken(_)));
    let slot = |secret: &str| Slot { name: "current".to_owned(), secret: Secret::new(secret.to_owned()) };
    for secret in [PLAIN, &broken] {
        let service = Service { name: ServiceName::new("billing").unwrap(), slots: vec![slot(secret)] };
        let services = ServiceSecrets::new(&[service], Key::new([4; 32])).unwrap();
        for asked in [PLAIN, &broken] {
            let is_service = matches!(
                Presented::bearer(asked, &town.keyring, &services),
                Ok(Presented::Service { name, .. }) if name.as_str() == "billing"
            );
            assert_eq!(is_service, asked == secret, "{asked} where {secret} is configured");
        }
    }
}

/// Setting the clock right brings back what only the wrong time had expired, and nothing that somebody ended.
#[test]
fn what_was_revoked_while_the_clock_ran_ahead_stays_so_when_it_is_put_right() {
    const AHEAD: u64 = 10 * 86_400;
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let [revoked, rotated, kept] = [(); 3].map(|()| town.pat(anna, Wish::default()).unwrap());
    town.pass(AHEAD);
    town.revoke(revoked.token.id).unwrap();
    town.rotate(rotated.token.id, 0).unwrap();
    town.now -= AHEAD;
    for token in [revoked, rotated] {
        assert_eq!(reason(town.verify(token.secret.expose(), None)), Reason::Revoked);
        assert_eq!(town.row(token.token.id).unwrap().state, State::Revoked);
    }
    assert!(town.verify(kept.secret.expose(), None).is_ok());
}

#[test]
fn a_use_is_judged_at_the_time_of_its_turn() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let wish = Wish { max_uses: Some(2), ttl_seconds: Some(60), ..Wish::default() };
    let token = town.pat(anna, wish).unwrap();
    let presented = Presented::bearer(token.secret.expose(), &town.keyring, &town.services).unwrap();
    let asked = Asking { now: town.time(), from: None, kinds: &CredentialKind::ALL, noted: None };
    town.pass(60);
    let used = town.change(|txn, _| count_use(txn, &presented, &asked, &|_| Ok(())));
    assert_eq!(reason(used), Reason::Expired);
}

#[test]
fn who_was_let_in_is_not_asked_again_where_from_and_how_often() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let wish = Wish { max_uses: Some(1), allowed_ips: vec!["192.0.2.0/24".to_owned()], ..Wish::default() };
    let token = town.pat(anna, wish).unwrap();
    let from = "192.0.2.1".parse().ok();
    let caller = known(town.verify(token.secret.expose(), from).unwrap());
    assert!(again(&town.shelf, &caller, town.time()).is_ok());
    let presented = Presented::bearer(token.secret.expose(), &town.keyring, &town.services).unwrap();
    let asked = Asking { now: town.time(), from, kinds: &CredentialKind::ALL, noted: None };
    town.change(|txn, _| count_use(txn, &presented, &asked, &|_| Ok(()))).unwrap();
    assert_eq!(reason(town.verify(token.secret.expose(), from)), Reason::Exhausted);
    assert!(again(&town.shelf, &caller, town.time()).is_ok());
    town.revoke(token.token.id).unwrap();
    assert_eq!(reason(again(&town.shelf, &caller, town.time())), Reason::Revoked);
}

#[test]
fn who_was_let_in_by_a_cookie_is_judged_by_the_link_again() {
    let mut town = Town::new();
    let by = Town::root(Right::Operate).by();
    let new = NewClient::judge("acme", "Acme").unwrap();
    let random = town.fresh().id;
    let client = town.change(|txn, _| clients::create(txn, &by, random, new)).unwrap();
    let fresh = town.fresh();
    let new = NewLink::judge(None, None, None, true).unwrap();
    let link = town.change(|txn, terms| links::mint(txn, terms, &by, client.id, new, &fresh)).unwrap();
    let id = [3; 16];
    town.shelf.tamper(crate::records::TableId::Meta, crate::records::meta::raw::STORE_ID, Some(id.to_vec()));
    let followed = Followed::parse(link.secret.expose()).unwrap();
    let (_, cookie) = town.change(|txn, terms| portal::redeem(txn, terms, &followed, None)).unwrap();
    let presented = Presented::cookie(cookie.expose(), &town.keyring, &id).unwrap();
    let asking = Asking { now: town.time(), from: None, kinds: &CredentialKind::ALL, noted: None };
    let caller = known(verify(&town.shelf, &presented, &asking).unwrap());
    assert_eq!(caller.identity().map(|identity| identity.kind), Some(CredentialKind::Portal));
    // The link was for one use, and that is over; the cookie it gave is not.
    assert!(again(&town.shelf, &caller, town.time()).is_ok());
    town.change(|txn, _| links::revoke(txn, &by, link.token.id)).unwrap();
    assert_eq!(reason(again(&town.shelf, &caller, town.time())), Reason::Revoked);
    town.now -= 1;
    assert_eq!(
        reason(again(&town.shelf, &caller, town.time())),
        Reason::Revoked,
        "by a clock that was put right"
    );
}

/// Whoever asks, and whatever for, finds the same row or none: by the id that a text names, and only where no row has
/// that id by the hash under which another system's token was taken in.
#[test]
fn the_row_of_a_text_is_the_same_to_everybody_who_looks_for_it() {
    use crate::rules::{explain, import, inventory, revocation};
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let own = town.pat(anna, Wish::default()).unwrap();
    let like_ours = |id, secret| text::mint(&crate::token::Prefix::default(), Kind::Pat, id, &[secret; 32]);
    let stranger = like_ours(TokenId::from_parts(1, [1; 10]), 1);
    let second = like_ours(own.token.id, 2);
    let other = Secret::new("a token of another spelling".replace(' ', "-"));
    let taken_in = [&stranger, &second, &other].map(|text| {
        let line = serde_json::json!({"sha256": TokenHash::of(text.expose()).to_hex(), "kind": "pat",
            "owner": "bert@example.org", "name": "old"});
        import::Line::read(line.as_object().cloned().unwrap(), |_| None).unwrap()
    });
    let fresh = [1, 2, 3].map(|at| import::FreshIds { token: [at; 10], owner: [at; 10] });
    let imported = town.change(|txn, _| import::take_in(txn, &By::system(), &taken_in, &fresh)).unwrap();
    assert_eq!(imported.tokens, 3);
    let by_hash =
        |text: &Secret| Token::by_hash(&town.shelf, &TokenHash::of(text.expose())).unwrap().unwrap();
    let unknown = like_ours(TokenId::from_parts(2, [2; 10]), 4);
    for (text, row) in [
        (&own.secret, Ok(own.token.id)),
        (&stranger, Ok(by_hash(&stranger).id)),
        (&other, Ok(by_hash(&other).id)),
        (&second, Err(Reason::Hash)),
        (&unknown, Err(Reason::Unknown)),
    ] {
        let presented = Presented::bearer(text.expose(), &town.keyring, &town.services).unwrap();
        let asking = Asking { now: town.time(), from: None, kinds: &CredentialKind::ALL, noted: None };
        let told = |denied: Refusal| match denied {
            Refusal::Denied(denied) => denied.reason,
            other => panic!("{other:?}"),
        };
        let verified = verify(&town.shelf, &presented, &asking).map(|good| good.token.unwrap().id);
        assert_eq!(verified.map_err(told), row);
        let revoked = revocation::find(&town.shelf, &presented).unwrap();
        assert_eq!(revoked.map(|token| token.id), row.ok());
        let found = inventory::Found { id: presented.token(), hash: TokenHash::of(text.expose()) };
        let found = inventory::lookup(&town.shelf, &found, town.time(), &|_| None);
        assert_eq!(found.map(|owned| owned.row.token.id), row.map_err(|_| Refusal::NotFound));
        // None of them is a link: which row was found shows in why it is refused.
        let followed = portal::find(&town.shelf, &Followed::parse(text.expose()).unwrap(), town.time());
        let denied =
            Denied { reason: row.err().unwrap_or(Reason::Kind), token: row.ok().or(presented.token()) };
        assert_eq!(followed.unwrap_err(), denied.into());
        let circumstances = explain::Circumstances {
            keyring: &town.keyring,
            services: &town.services,
            store_id: &[0; 16],
            asking,
            policy: None,
        };
        let explained = explain::explain(&town.shelf, text.expose(), &circumstances).unwrap();
        let failed = explained.checks.iter().find(|check| check.outcome == explain::Outcome::Failed);
        let at = row.err().map(|reason| if reason == Reason::Hash { "hash" } else { "row" });
        assert_eq!(failed.map(|check| check.name), at);
    }
}

#[test]
fn a_refusal_for_its_owner_s_sake_names_the_token() {
    let mut town = Town::new();
    let anna = town.user("anna@example.org", &[]).id;
    let token = town.pat(anna, Wish::default()).unwrap();
    town.update(anna, users::Change { active: Some(false), ..users::Change::default() }).unwrap();
    let refused = town.verify(token.secret.expose(), None).unwrap_err();
    let denied = Denied { reason: Reason::OwnerInactive, token: Some(token.token.id) };
    assert_eq!(refused, denied.into());
}

#[test]
fn a_service_counts_while_it_is_configured_and_its_user_is_its_own() {
    let mut town = Town::new();
    let worker = ServiceName::new("worker").unwrap();
    let presented = Presented::Service { name: worker.clone(), slot: "line 1".to_owned() };
    let said = |town: &Town, kinds: &[CredentialKind]| {
        verify(&town.shelf, &presented, &Asking { now: town.time(), from: None, kinds, noted: None })
    };
    assert_eq!(reason(said(&town, &CredentialKind::ALL)), Reason::OwnerGone);
    let configured = [Configured { name: worker, groups: vec!["admin".to_owned()], fresh: [1; 10] }];
    town.change(|txn, _| bring_up_to_date(txn, &By::system(), &configured)).unwrap();
    let good = said(&town, &CredentialKind::ALL).unwrap();
    assert_eq!(good.identity.kind, CredentialKind::Service);
    assert_eq!(reason(said(&town, &[CredentialKind::Session, CredentialKind::Pat])), Reason::Kind);
    let caller = known(good);
    assert!(decide(Right::Administrate, caller.clone()).is_ok());

    let user = User::by_email(&town.shelf, "worker@system.local").unwrap().unwrap();
    let put = |town: &mut Town, user: User| {
        town.change(|txn, _| {
            txn.entry(&By::system(), Action::UserUpdate, user.id, Params::none())?;
            Ok(users::put(txn, None, user)?)
        })
        .unwrap()
    };
    put(&mut town, User { service: Some("other".to_owned()), ..user.clone() });
    assert_eq!(reason(said(&town, &CredentialKind::ALL)), Reason::OwnerGone);
    put(&mut town, user);
    assert!(said(&town, &CredentialKind::ALL).is_ok());

    town.change(|txn, _| bring_up_to_date(txn, &By::system(), &[])).unwrap();
    assert_eq!(reason(said(&town, &CredentialKind::ALL)), Reason::OwnerInactive);
    assert_eq!(reason(again(&town.shelf, &caller, town.time())), Reason::OwnerInactive);
}

#[test]
fn only_a_cookie_ends_by_its_own_age_and_only_a_session_by_idleness() {
    let keyring =
        Keyring::generate(crate::token::KeyId::new("k1").unwrap(), b"0123456789abcdef0123456789abcdef")
            .unwrap();
    let id = TokenId::from_parts(1, [1; 10]);
    let prefix = crate::token::Prefix::default();
    let of_kind =
        |kind| Presented::Token(text::parse(text::mint(&prefix, kind, id, &[1; 32]).expose()).unwrap());
    let cookie = cookie::mint(keyring.current(), &[7; 16], id, 1_000);
    let cookie = Presented::cookie(cookie.expose(), &keyring, &[7; 16]).unwrap();
    assert_eq!(cookie.own_end(), Some(Time::from_unix(1_000 + COOKIE_SECONDS_MAX)));
    assert!(!cookie.can_idle() && !Presented::Imported(TokenHash::of("x")).can_idle());
    for kind in Kind::ALL {
        assert_eq!((of_kind(kind).own_end(), of_kind(kind).can_idle()), (None, kind == Kind::Session));
    }
}
