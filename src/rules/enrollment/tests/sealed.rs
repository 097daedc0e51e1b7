//! Credentials on their way from the operator to the host.

use serde_json::json;

use super::super::*;
use super::house::{House, key_id, map};
use crate::{
    records::host::{Sealed, SealedFor},
    token::{Keyring, seal},
};

#[test]
fn credentials_go_from_the_token_to_the_host_in_one_step() {
    let mut house = House::new();
    let secret = map(&json!({"password": "canary-of-the-credentials"}));
    let plain = serde_json::to_vec(&secret).unwrap();
    let minted = house.mint(&Wish { credentials: Some(secret), ..Wish::default() });
    let waiting = Place::of_enrollment(&minted.token).row(&house.shelf).unwrap().unwrap();
    let hash = TokenHash::from_bytes(minted.token.hash).to_hex();
    let opened = seal::open(&house.keyring, &format!("bearerd/1/token/{hash}"), &waiting.envelope).unwrap();
    assert_eq!(*opened, plain);

    let enrolled = house.enroll(minted.secret.expose(), None, "web-1").unwrap();
    assert!(Place::of_enrollment(&minted.token).row(&house.shelf).unwrap().is_none());
    let kept = Place::of_host(enrolled.host).row(&house.shelf).unwrap().unwrap();
    let associated = format!("bearerd/1/host/{}", enrolled.host);
    assert_eq!(*seal::open(&house.keyring, &associated, &kept.envelope).unwrap(), plain);
    assert_ne!(kept.envelope, waiting.envelope);
    for stored in house.shelf.rows().values() {
        assert!(!stored.windows(6).any(|window| window == b"canary"));
    }
}

#[test]
fn an_envelope_moved_to_another_row_is_damage_and_spends_nothing() {
    let mut house = House::new();
    let wish = |n: u64| Wish { credentials: Some(map(&json!({"n": n}))), ..Wish::default() };
    let minted: Vec<Minted> = (0..4).map(|n| house.mint(&wish(n))).collect();
    for to in 0..minted.len() {
        for from in (0..minted.len()).filter(|from| *from != to) {
            let own = Place::of_enrollment(&minted[to].token).row(&house.shelf).unwrap().unwrap();
            let other = Place::of_enrollment(&minted[from].token).row(&house.shelf).unwrap().unwrap();
            // Somebody with the store's own key wrote it: the MAC holds, the envelope still does not open.
            house.shelf.place(&Sealed { envelope: other.envelope, ..own.clone() });
            let refusal = house.enroll(minted[to].secret.expose(), None, "web").unwrap_err();
            assert_eq!(refusal, Refusal::Fault(Fault::Damaged(TableId::Sealed)));
            house.shelf.place(&own);
        }
    }
    for (n, minted) in minted.iter().enumerate() {
        house.enroll(minted.secret.expose(), None, &format!("web-{n}")).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_a_stored_envelope_is_damage() {
    let mut house = House::new();
    let minted = house.mint(&Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() });
    let key = SealedFor::Enrollment(minted.token.id).key();
    let genuine = house.shelf.rows()[&(TableId::Sealed, key.clone())].clone();
    let row = Sealed::at(&house.shelf, &key).unwrap().unwrap();
    for bit in 0..genuine.len() * 8 {
        let mut flipped = genuine.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        house.shelf.tamper(TableId::Sealed, &key, Some(flipped));
        let refusal = house.enroll(minted.secret.expose(), None, "web").unwrap_err();
        assert_eq!(refusal, Refusal::Fault(Fault::Damaged(TableId::Sealed)), "bit {bit}");
    }
    for bit in 0..row.envelope.len() * 8 {
        let mut envelope = row.envelope.clone();
        envelope[bit / 8] ^= 1 << (bit % 8);
        house.shelf.place(&Sealed { envelope, ..row.clone() });
        let refusal = house.enroll(minted.secret.expose(), None, "web").unwrap_err();
        assert_eq!(refusal, Refusal::Fault(Fault::Damaged(TableId::Sealed)), "bit {bit} of the envelope");
    }
    house.shelf.tamper(TableId::Sealed, &key, Some(genuine));
    house.enroll(minted.secret.expose(), None, "web").unwrap();
}

#[test]
fn credentials_under_a_key_that_is_gone_are_a_fault_and_under_an_old_one_are_sealed_anew() {
    let mut house = House::new();
    let wish = || Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() };
    let minted = house.mint(&wish());
    let original = core::mem::replace(
        &mut house.keyring,
        Keyring::generate(key_id("k2"), b"0123456789abcdef0123456789abcdef").unwrap(),
    );
    let refusal = house.enroll(minted.secret.expose(), None, "web").unwrap_err();
    assert_eq!(refusal, Refusal::Fault(Fault::Damaged(TableId::Sealed)));
    house.keyring = original.rotated(key_id("k2"), b"0123456789abcdef0123456789abcdef").unwrap();
    let enrolled = house.enroll(minted.secret.expose(), None, "web").unwrap();
    let kept = Place::of_host(enrolled.host).row(&house.shelf).unwrap().unwrap();
    assert_eq!(seal::key_id(&kept.envelope).unwrap(), Some("k2"));
}

#[test]
fn a_revoked_enrolment_takes_its_credentials_along_and_a_consumed_one_stays_consumed() {
    let mut house = House::new();
    let minted = house.mint(&Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() });
    house.revoke(minted.token.id).unwrap();
    assert!(Place::of_enrollment(&minted.token).row(&house.shelf).unwrap().is_none());
    let ended = house.row(&minted).revoked_at;
    house.seconds += 5;
    house.revoke(minted.token.id).unwrap();
    assert_eq!(house.row(&minted).revoked_at, ended, "the first time stands");

    let spent = house.mint(&Wish::default());
    let enrolled = house.enroll(spent.secret.expose(), None, "web-1").unwrap();
    house.revoke(spent.token.id).unwrap();
    assert_eq!(house.row(&spent).state(Time::from_unix(house.seconds), 0), State::Consumed);
    let agent = house.agent_of(&enrolled);
    assert_eq!(house.revoke(agent.id), Err(Refusal::NotFound));
    assert_eq!(house.revoke(TokenId::from_parts(1, [1; 10])), Err(Refusal::NotFound));
    assert_eq!(
        house.actions(),
        ["enrollment.create", "enrollment.revoke", "enrollment.create", "host.enroll"]
    );
}

#[test]
fn whoever_revokes_an_enrolment_its_credentials_go_with_it() {
    let mut house = House::new();
    let minted = house.mint(&Wish { credentials: Some(map(&json!({"k": "v"}))), ..Wish::default() });
    let row = house.row(&minted);
    house
        .change(|txn, _| {
            txn.entry(&By::system(), Action::TokenAdminRevoke, row.id, Params::none())?;
            Ok(tokens::revoke(txn, row)?)
        })
        .unwrap();
    assert!(Place::of_enrollment(&minted.token).row(&house.shelf).unwrap().is_none());
}
