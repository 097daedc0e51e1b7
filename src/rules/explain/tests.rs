//! Explanation and verification say the same, whatever happened to a token; and so does revocation.

use super::*;
use crate::{
    records::{Action, By, Params, Txn, shelf::Shelf},
    rules::{
        revocation,
        tokens::{self, Fresh},
    },
    settings::CredentialKind,
    token::{Key, KeyId, Prefix, Secret, UserId, text},
};

const NOW: u64 = 1_800_000_000;
const ME: [u8; 10] = [7; 10];

/// A store with one user and one token of theirs, which a test changes before it is minted.
struct World {
    shelf: Shelf,
    keyring: Keyring,
    services: ServiceSecrets,
    text: Secret,
}

impl World {
    fn new(kind: Kind, change: impl FnOnce(&mut Token, &mut User)) -> Self {
        let mut shelf = Shelf::new();
        let id = UserId::from_parts(0, ME);
        let mut user = User {
            id,
            email: "ada@example.com".to_owned(),
            name: None,
            password: None,
            groups: Vec::new(),
            active: true,
            service: None,
            session_epoch: 0,
            created_at: Time::from_unix(1),
            updated_at: Time::from_unix(1),
            entry: 0,
        };
        let fresh = Fresh { id: [1; 10], secret: [2; 32].into() };
        let text = shelf
            .change(NOW.saturating_mul(1000), |txn: &mut Txn<'_>| {
                let owner = Owner::User(id);
                let mut minted = tokens::blank(txn, &Prefix::default(), kind, owner, Some(60), &fresh);
                change(&mut minted.token, &mut user);
                txn.entry(&By::system(), Action::TokenCreate, minted.token.id, Params::none())?;
                txn.put(user)?;
                tokens::insert(txn, minted.token)?;
                Ok::<_, Refusal>(minted.secret)
            })
            .unwrap();
        let keyring =
            Keyring::generate(KeyId::new("k").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
        let services = ServiceSecrets::new(&[], Key::new([3; 32])).unwrap();
        Self { shelf, keyring, services, text }
    }

    fn explain(&self, text: &str, policy: Option<(&str, Option<&Policy>)>) -> Explanation {
        let asking =
            Asking { now: Time::from_unix(NOW), from: None, kinds: &CredentialKind::ALL, noted: None };
        let circumstances = Circumstances {
            keyring: &self.keyring,
            services: &self.services,
            store_id: &[0; 16],
            asking,
            policy,
        };
        explain(&self.shelf, text, &circumstances).unwrap()
    }
}

/// That exactly these checks fail, and that the verdict is the reason of the first.
#[track_caller]
fn check(explanation: &Explanation, reason: Option<&str>, failed: &[&str]) {
    let own = explanation.checks.iter().filter(|check| check.outcome == Outcome::Failed);
    assert_eq!(own.map(|check| check.name).collect::<Vec<_>>(), failed, "{:?}", explanation.checks);
    assert_eq!(explanation.reason(), reason);
    assert_eq!(explanation.verdict.is_ok(), failed.is_empty());
}

#[track_caller]
fn of_a_pat(change: impl FnOnce(&mut Token, &mut User), reason: Option<&str>, failed: &[&str]) {
    let world = World::new(Kind::Pat, change);
    check(&world.explain(world.text.expose(), None), reason, failed);
}

#[test]
fn every_check_that_fails_is_told_and_the_verdict_is_the_first() {
    let past = Some(Time::from_unix(NOW));
    of_a_pat(|_, _| {}, None, &[]);
    of_a_pat(|token, _| token.revoked_at = past, Some("revoked"), &["not revoked"]);
    of_a_pat(|token, _| token.consumed_at = past, Some("consumed"), &["not consumed"]);
    of_a_pat(|token, _| token.expires_at = past, Some("expired"), &["not expired"]);
    of_a_pat(|token, _| token.enabled = false, Some("disabled"), &["enabled"]);
    of_a_pat(|_, user| user.active = false, Some("owner_inactive"), &["owner"]);
    let range = |token: &mut Token| token.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()];
    of_a_pat(|token, _| range(token), Some("address"), &["address"]);
    of_a_pat(|token, _| token.max_uses = Some(0), Some("exhausted"), &["uses"]);
    of_a_pat(
        |token, user| {
            token.expires_at = past;
            token.enabled = false;
            user.active = false;
            range(token);
        },
        Some("expired"),
        &["not expired", "enabled", "owner", "address"],
    );
}

#[test]
fn what_is_no_bearer_fails_by_its_kind() {
    for kind in [Kind::Install, Kind::Enrollment, Kind::Link] {
        let world = World::new(kind, |_, _| {});
        check(&world.explain(world.text.expose(), None), Some("kind"), &["kind"]);
    }
}

#[test]
fn a_text_that_is_no_token_of_ours_ends_at_its_spelling_or_its_row() {
    let world = World::new(Kind::Pat, |_, _| {});
    let text = world.text.expose();
    let (rest, last) = text.split_at(text.len() - 1);
    let typo = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    check(&world.explain(&typo, None), Some("checksum"), &["spelling"]);
    check(&world.explain("somebody else's", None), Some("malformed"), &["spelling"]);
    check(&world.explain(&"a".repeat(40), None), Some("unknown"), &["row"]);
    check(&world.explain("v1.k.AAAA.BBBB", None), Some("signature"), &["spelling"]);
    let token = world.explain(world.text.expose(), None).token.unwrap();
    let forged = text::mint(&Prefix::default(), Kind::Pat, token.id, &[9; 32]);
    check(&world.explain(forged.expose(), None), Some("hash"), &["hash"]);
}

#[test]
fn a_policy_is_one_more_check() {
    let world = World::new(Kind::Pat, |token, _| token.scope = "reports:read".to_owned());
    let text = world.text.expose();
    let scoped = |word: &str| Policy { scopes: vec![word.to_owned()], ..Policy::default() };
    check(&world.explain(text, Some(("p", Some(&scoped("reports:read"))))), None, &[]);
    check(&world.explain(text, Some(("p", Some(&scoped("other"))))), Some("policy"), &["policy"]);
    check(&world.explain(text, Some(("nope", None))), Some("policy"), &["policy"]);
}

#[test]
fn presenting_a_token_ends_it_once_and_its_entry_names_its_holder() {
    for kind in Kind::ALL {
        let mut world = World::new(kind, |_, _| {});
        let presented = Presented::bearer(world.text.expose(), &world.keyring, &world.services).unwrap();
        assert!(revocation::would_change(&world.shelf, &presented).unwrap());
        let by = || By::unknown(None);
        let mut revoke = || {
            world
                .shelf
                .change(NOW.saturating_mul(1000), |txn| revocation::by_presenting(txn, &presented, by()))
        };
        assert_eq!(revoke(), Ok(true));
        assert_eq!(revoke(), Ok(false));
        assert!(!revocation::would_change(&world.shelf, &presented).unwrap());
        let entries = world.shelf.audit();
        let last = entries.last().unwrap();
        assert_eq!((entries.len(), last.action.as_str()), (2, "token.revoke"));
        assert_eq!(last.actor_label, "ada@example.com");
    }
}

#[test]
fn a_text_that_is_not_the_tokens_own_revokes_nothing() {
    let world = World::new(Kind::Pat, |_, _| {});
    let token = world.explain(world.text.expose(), None).token.unwrap();
    let forged = text::mint(&Prefix::default(), Kind::Pat, token.id, &[9; 32]);
    for text in [forged.expose(), &"a".repeat(40)] {
        let presented = Presented::bearer(text, &world.keyring, &world.services).unwrap();
        assert_eq!(revocation::find(&world.shelf, &presented).unwrap(), None);
    }
}

/// What was seen, but for which time.
fn words(check: &Check) -> &str {
    match &check.seen {
        Seen::Words(words) => words,
        Seen::Moment(None) => "never",
        Seen::Moment(Some(_)) => "a time",
    }
}

/// Every check of an explanation: its name, how it came out, what was seen.
fn told(explanation: &Explanation) -> Vec<(&'static str, char, &str)> {
    let sign = |outcome: &Outcome| match outcome {
        Outcome::Passed => '+',
        Outcome::Failed => '-',
        Outcome::Skipped => ' ',
    };
    explanation.checks.iter().map(|check| (check.name, sign(&check.outcome), words(check))).collect()
}

#[test]
fn every_check_is_told_with_what_was_seen() {
    let mut id = None;
    let world = World::new(Kind::Pat, |token, _| {
        token.revoked_at = Some(Time::from_unix(NOW));
        id = Some(token.id.to_string());
    });
    let explanation = world.explain(world.text.expose(), None);
    let checks = told(&explanation);
    assert_eq!(checks[0], ("spelling", '+', "a token of kind pat; its checksum is right"));
    assert!(checks.contains(&("kind", '+', "pat")));
    assert!(checks.contains(&("not revoked", '-', "a time")));
    assert!(checks.contains(&("not consumed", '+', "never")));
    assert!(checks.contains(&("not expired", '+', "a time")));
    for (name, time) in [("not revoked", NOW), ("not expired", NOW + 60)] {
        let check = explanation.checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.seen, Seen::Moment(Some(Time::from_unix(time))));
        assert_eq!(check.seen.in_words(|time| format!("<{}>", time.unix())), format!("at <{time}>"));
    }
    assert!(checks.contains(&("owner", '+', "ada@example.com")));
    assert!(checks.contains(&("address", ' ', "it may be used from everywhere")));
    assert!(checks.contains(&("policy", ' ', "none was asked for")));
    assert!(checks.contains(&("uses", ' ', "they are not counted")));
}

#[test]
fn a_session_is_told_whether_it_was_ended_and_how_long_it_was_not_used() {
    let of = |epoch: u64, used_before: u64| {
        let world = World::new(Kind::Session, |token, user| {
            token.detail = Detail::Session { epoch: 3, idle_seconds: 60 };
            token.created_at = Time::from_unix(NOW - used_before);
            user.session_epoch = epoch;
        });
        let explanation = world.explain(world.text.expose(), None);
        let checks = told(&explanation).into_iter();
        checks
            .filter(|(name, ..)| ["session", "idle"].contains(name))
            .map(|(_, sign, seen)| (sign, seen.to_owned()))
            .collect::<Vec<_>>()
    };
    let seen = |ended: (char, &str), idle: (char, &str)| {
        vec![(ended.0, ended.1.to_owned()), (idle.0, idle.1.to_owned())]
    };
    assert_eq!(of(3, 59), seen(('+', "not ended"), ('+', "not used for 59 s of 60 s")));
    assert_eq!(of(3, 60), seen(('+', "not ended"), ('-', "not used for 60 s of 60 s")));
    assert_eq!(
        of(4, 0),
        seen(('-', "all sessions of its user were ended"), ('+', "not used for 0 s of 60 s"))
    );
}

#[test]
fn a_revocation_is_one_whenever_it_was_and_uses_that_are_left_count() {
    let ahead = Some(Time::from_unix(NOW + 1));
    of_a_pat(|token, _| token.revoked_at = ahead, Some("revoked"), &["not revoked"]);
    of_a_pat(|token, _| token.max_uses = Some(3), None, &[]);
    let words = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| outcome.name());
    assert_eq!(words, ["passed", "failed", "skipped"]);
}

#[test]
fn only_four_segments_that_begin_with_a_version_are_a_cookie() {
    let world = World::new(Kind::Pat, |_, _| {});
    check(&world.explain("v1.aaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb", None), Some("unknown"), &["row"]);
    check(&world.explain("aaaaaaaa.bbbbbbbb.cccccccc.dddddddd", None), Some("unknown"), &["row"]);
    check(&world.explain("v1.k.AAAA.BBBB", None), Some("signature"), &["spelling"]);
}

#[test]
fn a_cookie_is_looked_at_by_its_age_and_by_the_link_that_gave_it() {
    let client = crate::token::ClientId::from_parts(0, ME);
    let of_cookie = |age: i64, change: &dyn Fn(&mut Token), reason, failed: &[&str]| {
        let mut world = World::new(Kind::Link, |token, _| {
            token.owner = Owner::Client(client);
            token.expires_at = None;
            change(token);
        });
        world.shelf.place(&Client {
            id: client,
            slug: "acme".to_owned(),
            name: "Acme".to_owned(),
            active: true,
            created_at: Time::from_unix(1),
            entry: 0,
        });
        let link = text::parse(world.text.expose()).unwrap().id;
        let issued = NOW.checked_add_signed(-age).unwrap();
        let cookie = crate::token::cookie::mint(world.keyring.current(), &[0; 16], link, issued);
        let explanation = world.explain(cookie.expose(), None);
        check(&explanation, reason, failed);
        let seen = if age < 0 { format!("issued {} s ahead", -age) } else { format!("issued {age} s ago") };
        assert!(told(&explanation).iter().any(|(name, _, of)| *name == "age" && *of == seen));
    };
    let most = i64::try_from(verify::COOKIE_SECONDS_MAX).unwrap();
    of_cookie(0, &|_| {}, None, &[]);
    of_cookie(most - 1, &|_| {}, None, &[]);
    of_cookie(most, &|_| {}, Some("expired"), &["age"]);
    of_cookie(most + 1, &|_| {}, Some("expired"), &["age"]);
    of_cookie(-5, &|_| {}, None, &[]);
    of_cookie(-6, &|_| {}, Some("expired"), &["age"]);
    of_cookie(-most, &|_| {}, Some("expired"), &["age"]);
    of_cookie(0, &|link| link.consumed_at = Some(Time::from_unix(NOW)), None, &[]);
    of_cookie(0, &|link| link.revoked_at = Some(Time::from_unix(NOW)), Some("revoked"), &["not revoked"]);
}
