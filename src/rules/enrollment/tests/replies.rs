//! The kept reply: who is told it once more, and until when.

use super::super::*;
use super::house::{ATTEMPT, House, NOW, nobody, same};
use crate::{
    rules::hosts,
    token::{Key, seal},
};

#[test]
fn a_lost_reply_is_told_again_to_who_has_token_attempt_and_name() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let token = minted.secret.expose();
    let first = house.enroll(token, Some(ATTEMPT), "web-1").unwrap();
    let before = house.shelf.rows().clone();
    house.seconds = NOW + REPLY_SECONDS_MAX - 1;
    same(&first, &house.enroll(token, Some(ATTEMPT), "web-1").unwrap());
    same(&first, &house.enroll(token, Some(ATTEMPT), " WEB-1").unwrap());
    assert_eq!(*house.shelf.rows(), before, "telling again changes nothing");
    house.refuses(token, Some("another0123456789abcdef"), "web-1", Reason::Replayed);
    house.refuses(token, Some(ATTEMPT), "web-2", Reason::Replayed);
    house.refuses(token, None, "web-1", Reason::Replayed);
    house.seconds = NOW + REPLY_SECONDS_MAX;
    house.refuses(token, Some(ATTEMPT), "web-1", Reason::Consumed);
}

#[test]
fn without_an_attempt_nothing_is_kept() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    house.enroll(minted.secret.expose(), None, "web-1").unwrap();
    assert!(Replay::at(&house.shelf, minted.token.id.as_bytes()).unwrap().is_none());
    for attempt in [None, Some(""), Some(ATTEMPT)] {
        house.refuses(minted.secret.expose(), attempt, "web-1", Reason::Replayed);
    }
}

#[test]
fn a_reply_is_told_until_the_agent_token_is_first_used() {
    for noted_in_memory in [true, false] {
        let mut house = House::new();
        let minted = house.mint(&Wish::default());
        let token = minted.secret.expose();
        let first = house.enroll(token, Some(ATTEMPT), "web-1").unwrap();
        let agent = house.agent_of(&first).id;
        if noted_in_memory {
            house.used.insert(agent);
        } else {
            house.shelf.place(&LastUsed { token: agent, at: Time::from_unix(NOW), ip: None });
        }
        house.refuses(token, Some(ATTEMPT), "web-1", Reason::Consumed);
    }
}

#[test]
fn a_reply_is_told_only_while_host_and_agent_token_live() {
    for end in ["delete", "rotate", "revoke"] {
        let mut house = House::new();
        let minted = house.mint(&Wish::default());
        let token = minted.secret.expose();
        let first = house.enroll(token, Some(ATTEMPT), "web-1").unwrap();
        let (fresh, agent) = (house.fresh(), house.agent_of(&first));
        house
            .change(|txn, terms| match end {
                "delete" => hosts::delete(txn, &nobody(), first.host),
                "rotate" => hosts::rotate(txn, terms, &nobody(), first.host, 0, &fresh).map(drop),
                _ => {
                    txn.entry(&nobody(), Action::TokenAdminRevoke, agent.id, Params::none())?;
                    Ok(tokens::revoke(txn, agent).map(drop)?)
                }
            })
            .unwrap();
        house.refuses(token, Some(ATTEMPT), "web-1", Reason::Consumed);
    }
}

#[test]
fn revoking_a_consumed_enrolment_ends_its_reply_and_nothing_of_the_host() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let token = minted.secret.expose();
    let first = house.enroll(token, Some(ATTEMPT), "web-1").unwrap();
    house.revoke(minted.token.id).unwrap();
    assert_eq!(house.actions().last().map(String::as_str), Some("enrollment.revoke"));
    house.refuses(token, Some(ATTEMPT), "web-1", Reason::Replayed);
    let now = Time::from_unix(house.seconds);
    assert_eq!(house.row(&minted).state(now, 0), State::Consumed);
    assert_eq!(house.agent_of(&first).state(now, 0), State::Active);
    let entries = house.actions().len();
    house.revoke(minted.token.id).unwrap();
    assert_eq!(house.actions().len(), entries, "nothing is left to end");
}

#[test]
fn the_kept_reply_opens_for_nobody_who_lacks_token_or_attempt() {
    let mut house = House::new();
    let minted = house.mint(&Wish::default());
    let first = house.enroll(minted.secret.expose(), Some(ATTEMPT), "web-1").unwrap();
    let kept = Replay::at(&house.shelf, minted.token.id.as_bytes()).unwrap().unwrap();
    let text = first.agent_token.expose();
    for ((_, key), stored) in house.shelf.rows() {
        for bytes in [key, stored] {
            assert!(!bytes.windows(43).any(|window| text.as_bytes().ends_with(window)));
        }
    }
    // The root keys are no help: the envelope names none.
    assert_eq!(seal::key_id(&kept.envelope).unwrap(), None);
    seal::open(&house.keyring, "web-1", &kept.envelope).unwrap_err();
    // Shifting a character from the token to the attempt is another key.
    let (token, attempt) = (minted.secret.expose(), ATTEMPT);
    let moved = (format!("{token}0"), attempt.get(1..).unwrap());
    for (token, attempt, opens) in [
        (token, attempt, true),
        (token, &attempt[1..], false),
        (&token[1..], attempt, false),
        (&moved.0, moved.1, false),
    ] {
        let secret = |text: &str| Secret::new(text.to_owned());
        let proof = Proof::new(secret(token), Some(secret(attempt)), "web-1");
        assert_eq!(reply::open(&proof, Some(&kept)).is_some(), opens);
    }
}

#[test]
fn the_reply_key_is_hkdf_as_it_is_documented() {
    use hkdf::Hkdf;
    let (token, attempt) = ("bdr_enr_token", ATTEMPT);
    let material = [&13_u16.to_be_bytes(), token.as_bytes(), attempt.as_bytes()].concat();
    let mut key = [0; 32];
    Hkdf::<sha2::Sha256>::new(None, &material).expand(b"bearerd/1/reply", &mut key).unwrap();
    let envelope = seal::seal_unnamed(&Key::new(key), [7; 24], "web-1", b"the agent token").unwrap();
    let secret = |text: &str| Secret::new(text.to_owned());
    let proof = Proof::new(secret(token), Some(secret(attempt)), "WEB-1");
    let ours = reply::seal(&proof, [7; 24], &secret("the agent token")).unwrap();
    assert_eq!(ours, envelope);
}
