//! Root keys: what is sealed and signed under each, and sealing it again under the current one.
//!
//! A key may go when nothing needs it any more. Portal cookies do not count: they die with their key, and
//! whoever drops it means that.

use core::ops::{Bound, ControlFlow};
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Refusal, Terms,
    credentials::{self, Nonce, Place},
};
use crate::{
    records::{
        Action, By, Fault, Page, Params, Record, TableId, Time, Txn, View,
        host::Sealed,
        meta::raw,
        tables,
        token::{Format, Token},
        view::{Direction, believed},
    },
    token::{KeyId, Keyring, seal},
};

/// Rows that are sealed again in one operation of the writer: at 16 KiB each, 4 MiB.
pub const RESEAL_ROWS_MAX: usize = 250;

/// What needs a root key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Credentials that are sealed under it.
    pub sealed: u64,
    /// JWTs that it signed and that may still be accepted.
    pub tokens: u64,
}

impl Need {
    /// Whether anything needs it.
    pub const fn is_some(self) -> bool {
        self.sealed > 0 || self.tokens > 0
    }
}

/// What needs some keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What is known to need each of them.
    pub of: BTreeMap<KeyId, Need>,
    /// Sealed rows that cannot be believed, and may need any of them: what such a row names as its key is as good
    /// as the rest of it.
    pub damaged: u64,
}

/// What needs each of `keys`. Looks at every sealed row: not for the async threads, and for the writer only
/// where nothing else will do.
pub fn needs(view: &dyn View, keys: &[KeyId], now: Time) -> Result<Needs, Fault> {
    let of = keys.iter().map(|key| (key.clone(), Need::default())).collect();
    let mut needs = Needs { of, damaged: 0 };
    if needs.of.is_empty() {
        return Ok(needs);
    }
    tables::each(view, TableId::Sealed, &[], &mut |key, stored| {
        let under = believed(Sealed::believe(view, key, stored).map(Some))?.and_then(|row| sealer(&row));
        match under {
            None => needs.damaged = needs.damaged.saturating_add(1),
            Some(id) => {
                if let Some(need) = needs.of.get_mut(&id) {
                    need.sealed = need.sealed.saturating_add(1);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for (key, need) in &mut needs.of {
        need.tokens = live_tokens(view, key, now, u64::MAX)?;
    }
    Ok(needs)
}

/// What needs keys that `keyring` does not hold, and cannot be had without them. Looks at every sealed row, as
/// [`needs`] does.
pub fn lacking(view: &dyn View, keyring: &Keyring, now: Time) -> Result<Needs, Fault> {
    let mut used = signers(view)?;
    let damaged = sealers(view, &mut used)?;
    let unknown: Vec<KeyId> = used.into_iter().filter(|id| keyring.find(id.as_str()).is_none()).collect();
    let mut of = needs(view, &unknown, now)?.of;
    of.retain(|_, need| need.is_some());
    Ok(Needs { of, damaged })
}

/// The keys that something needs, whatever a keyring holds. Looks at every sealed row, and at the tokens of each key
/// up to the first that lives.
pub fn needed(view: &dyn View, now: Time) -> Result<BTreeSet<KeyId>, Fault> {
    let mut needed = BTreeSet::new();
    for key in signers(view)? {
        if live_tokens(view, &key, now, 1)? > 0 {
            needed.insert(key);
        }
    }
    sealers(view, &mut needed)?;
    Ok(needed)
}

/// Adds to `keys` those that rows are sealed under. How many rows are damaged, so that nobody can tell.
fn sealers(view: &dyn View, keys: &mut BTreeSet<KeyId>) -> Result<u64, Fault> {
    let mut damaged = 0u64;
    tables::each(view, TableId::Sealed, &[], &mut |key, stored| {
        match believed(Sealed::believe(view, key, stored).map(Some))? {
            Some(row) => keys.extend(sealer(&row)),
            None => damaged = damaged.saturating_add(1),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(damaged)
}

/// The key that a row is sealed under, where it names one.
fn sealer(row: &Sealed) -> Option<KeyId> {
    seal::key_id(&row.envelope).ok().flatten().and_then(|id| KeyId::new(id).ok())
}

/// The keys that ever signed a JWT which is still stored. Each costs one look, however many it signed.
fn signers(view: &dyn View) -> Result<BTreeSet<KeyId>, Fault> {
    let mut signers = BTreeSet::new();
    let mut from = Vec::new();
    loop {
        let mut name = None;
        let rest = (Bound::Included(from.as_slice()), Bound::Unbounded);
        view.scan(TableId::TokensByRootKey, rest, Direction::Forwards, &mut |hint, _| {
            name = hint.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
            Ok(ControlFlow::Break(()))
        })?;
        let Some(mut name) = name else { return Ok(signers) };
        signers.extend(core::str::from_utf8(&name).ok().and_then(|id| KeyId::new(id).ok()));
        // Behind all that begins with this name and the zero after it.
        name.push(1);
        from = name;
    }
}

/// JWTs that `key` signed, and that are neither revoked nor past their end, counted up to `enough`. One that is
/// damaged counts: nobody can tell that it is over.
fn live_tokens(view: &dyn View, key: &KeyId, now: Time, enough: u64) -> Result<u64, Fault> {
    let prefix = [key.as_str().as_bytes(), &[0]].concat();
    let mut live = 0u64;
    tables::each(view, TableId::TokensByRootKey, &prefix, &mut |hint, _| {
        let id = hint.get(prefix.len()..).unwrap_or_default();
        let counts = match believed(Token::at(view, id).map(Some))? {
            None => true,
            Some(None) => false,
            Some(Some(token)) => {
                token.format == Format::Jwt(key.clone())
                    && !token.is_revoked()
                    && token.expires_at.is_none_or(|at| at > now)
            }
        };
        live = live.saturating_add(u64::from(counts));
        Ok(if live < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(live)
}

/// Writes the store's own key as it is sealed under another root key, with an entry.
pub fn rewrap(txn: &mut Txn<'_>, by: &By, from: &str, to: &KeyId, envelope: Vec<u8>) -> Result<(), Fault> {
    txn.entry(by, Action::KeysRewrap, to, Params::none().with("from", from).with("to", to.as_str()))?;
    txn.hint(TableId::Meta, raw::STORE_KEY.to_vec(), envelope);
    Ok(())
}

/// What one step of sealing again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that are under the current key now.
    pub rows: u64,
    /// Rows that could not be opened and stay as they are.
    pub damaged: u64,
    /// Where the next step goes on; none at the end.
    pub next: Option<Vec<u8>>,
}

/// Seals again under the current key what older keys sealed, at most as many rows as there are nonces and
/// at most [`RESEAL_ROWS_MAX`], under one entry.
pub fn reseal(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    by: &By,
    after: Option<Vec<u8>>,
    nonces: &[Nonce],
) -> Result<Resealed, Refusal> {
    let current = terms.keyring.current().id();
    let page = Page { after, limit: nonces.len().min(RESEAL_ROWS_MAX) };
    let mut damaged = 0u64;
    let listed = tables::page(txn, TableId::Sealed, &[], &page, &mut |key, stored| {
        let Some(row) = believed(Sealed::believe(txn, key, stored).map(Some))? else {
            damaged = damaged.saturating_add(1);
            return Ok(None);
        };
        let under = seal::key_id(&row.envelope).ok().flatten();
        Ok((under != Some(current.as_str())).then_some(row))
    })?;
    let mut resealed = Resealed { rows: 0, damaged, next: listed.next };
    let mut opened = Vec::with_capacity(listed.items.len());
    for row in listed.items {
        let place = Place::of_row(txn, &row);
        match place
            .map_err(Refusal::from)
            .and_then(|place| Ok((credentials::open(txn, terms, &place)?, place)))
        {
            Ok((Some(plain), place)) => opened.push((place, plain)),
            Ok((None, _)) | Err(Refusal::Fault(Fault::Damaged(_))) => {
                resealed.damaged = resealed.damaged.saturating_add(1);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    if opened.is_empty() {
        return Ok(resealed);
    }
    let rows = u64::try_from(opened.len()).unwrap_or(u64::MAX);
    txn.entry(by, Action::KeysReseal, current, Params::none().with("rows", rows))?;
    for ((place, plain), nonce) in opened.iter().zip(nonces) {
        credentials::put(txn, terms, place, plain, *nonce)?;
    }
    resealed.rows = rows;
    Ok(resealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        records::{host::SealedFor, shelf::Shelf},
        settings::Settings,
        token::{HostId, TokenId},
    };

    fn id(name: &str) -> KeyId {
        KeyId::new(name).unwrap()
    }

    fn one() -> Keyring {
        Keyring::generate(id("one"), b"0123456789abcdef0123456789abcdef").unwrap()
    }

    fn both() -> Keyring {
        one().rotated(id("two"), b"fedcba9876543210fedcba9876543210").unwrap()
    }

    fn host(number: u8) -> HostId {
        HostId::from_parts(1_000, [number; 10])
    }

    /// A store in which `hosts` have credentials sealed under the current key of `keyring`.
    fn sealed(keyring: &Keyring, hosts: u8) -> Shelf {
        let mut shelf = Shelf::new();
        let settings = Settings::default();
        let terms = Terms { settings: &settings, keyring };
        for number in 0..hosts {
            let place = Place::of_host(host(number));
            shelf
                .change(1_000, |txn| {
                    txn.entry(&By::system(), Action::HostCredentialsPut, host(number), Params::none())?;
                    credentials::put(txn, terms, &place, b"{}", [number; 24])
                })
                .unwrap();
        }
        shelf
    }

    fn step(shelf: &mut Shelf, after: Option<Vec<u8>>, nonces: usize) -> Resealed {
        let (settings, keyring) = (Settings::default(), both());
        let terms = Terms { settings: &settings, keyring: &keyring };
        shelf.change(2_000, |txn| reseal(txn, terms, &By::system(), after, &vec![[9; 24]; nonces])).unwrap()
    }

    fn need_of(shelf: &Shelf, key: &str) -> Need {
        needs(shelf, &[id(key)], Time::from_unix(2)).unwrap().of[&id(key)]
    }

    #[test]
    fn sealing_again_moves_every_row_to_the_current_key_in_bounded_steps() {
        let mut shelf = sealed(&one(), 5);
        assert_eq!(need_of(&shelf, "one"), Need { sealed: 5, tokens: 0 });
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let done = step(&mut shelf, after, 2);
            rows.push(done.rows);
            after = done.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(rows, [2, 2, 1]);
        assert_eq!((need_of(&shelf, "one").sealed, need_of(&shelf, "two").sealed), (0, 5));
        let (settings, keyring) = (Settings::default(), both().without(&id("one")).unwrap());
        let terms = Terms { settings: &settings, keyring: &keyring };
        let place = Place::of_host(host(3));
        assert_eq!(credentials::open(&shelf, terms, &place).unwrap().unwrap().as_slice(), b"{}");
        assert_eq!(step(&mut shelf, None, 9), Resealed::default(), "again changes nothing");
    }

    #[test]
    fn a_row_that_does_not_open_is_counted_and_left_alone() {
        let mut shelf = sealed(&one(), 2);
        let mut row = Sealed::at(&shelf, &SealedFor::Host(host(0)).key()).unwrap().unwrap();
        *row.envelope.last_mut().unwrap() ^= 1;
        shelf.place(&row);
        let done = step(&mut shelf, None, 9);
        assert_eq!((done.rows, done.damaged), (1, 1));
        assert_eq!(need_of(&shelf, "one").sealed, 1);
    }

    /// Flips a bit of what is stored for the credentials of a host.
    fn flip(shelf: &mut Shelf, number: u8) -> Vec<u8> {
        let key = SealedFor::Host(host(number)).key();
        let mut stored = shelf.rows()[&(TableId::Sealed, key.clone())].clone();
        stored[20] ^= 1;
        shelf.tamper(TableId::Sealed, &key, Some(stored.clone()));
        stored
    }

    #[test]
    fn a_row_with_a_flipped_bit_is_counted_as_damaged_and_the_others_are_sealed_again() {
        let mut shelf = sealed(&one(), 3);
        let flipped = flip(&mut shelf, 1);
        let done = step(&mut shelf, None, 9);
        assert_eq!((done.rows, done.damaged, done.next), (2, 1, None));
        let key = SealedFor::Host(host(1)).key();
        assert_eq!(shelf.rows()[&(TableId::Sealed, key)], flipped, "it is left as it is");
        let done = step(&mut shelf, None, 9);
        assert_eq!((done.rows, done.damaged), (0, 1), "nothing else is left to do");
    }

    #[test]
    fn rows_of_which_nobody_can_tell_the_key_are_counted_apart() {
        let mut shelf = sealed(&one(), 3);
        flip(&mut shelf, 1);
        let mut row = Sealed::at(&shelf, &SealedFor::Host(host(2)).key()).unwrap().unwrap();
        row.envelope = vec![1];
        shelf.place(&row);
        let found = needs(&shelf, &[id("one"), id("two")], Time::from_unix(2)).unwrap();
        let need = |sealed| Need { sealed, tokens: 0 };
        assert_eq!(found.of, BTreeMap::from([(id("one"), need(1)), (id("two"), need(0))]));
        assert_eq!(found.damaged, 2);
        assert_eq!(needs(&shelf, &[], Time::from_unix(2)), Ok(Needs::default()), "no key is to go");
    }

    #[test]
    fn needed_is_each_key_that_sealed_something_or_signed_what_lives_and_no_other() {
        use crate::rules::{
            pats::{Spelled, Wish},
            town::Town,
        };
        let mut shelf = sealed(&one(), 1);
        assert_eq!(needed(&shelf, Time::from_unix(2)), Ok(BTreeSet::from([id("one")])));
        step(&mut shelf, None, 9);
        assert_eq!(needed(&shelf, Time::from_unix(2)), Ok(BTreeSet::from([id("two")])));
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        town.pat(anna, Wish::default()).unwrap();
        assert_eq!(needed(&town.shelf, town.time()), Ok(BTreeSet::new()), "an opaque token needs none");
        let jwt = |ttl| Wish { spelled: Spelled::Jwt, ttl_seconds: Some(ttl), ..Wish::default() };
        town.pat(anna, jwt(60)).unwrap();
        town.pat(anna, jwt(90)).unwrap();
        town.pass(60);
        assert_eq!(needed(&town.shelf, town.time()), Ok(BTreeSet::from([id("k1")])), "the second one lives");
        town.pass(30);
        assert_eq!(needed(&town.shelf, town.time()), Ok(BTreeSet::new()));
    }

    #[test]
    fn a_damaged_jwt_counts_as_alive() {
        use crate::rules::{
            pats::{Spelled, Wish},
            town::Town,
        };
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let wish = Wish { spelled: Spelled::Jwt, ttl_seconds: Some(60), ..Wish::default() };
        let jwt = town.pat(anna, wish).unwrap().token.id;
        town.shelf.tamper(TableId::Tokens, jwt.as_bytes(), Some(vec![1, 2, 3]));
        town.pass(60);
        let found = needs(&town.shelf, &[id("k1"), id("k2")], town.time()).unwrap();
        assert_eq!((found.of[&id("k1")].tokens, found.of[&id("k2")].tokens), (1, 0));
    }

    #[test]
    fn a_jwt_needs_its_key_until_its_end_or_until_it_is_revoked() {
        use crate::rules::{
            pats::{Spelled, Wish},
            town::Town,
        };
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let jwt = |ttl| Wish { spelled: Spelled::Jwt, ttl_seconds: Some(ttl), ..Wish::default() };
        let needed = |town: &Town| live_tokens(&town.shelf, &id("k1"), town.time(), u64::MAX).unwrap();
        town.pat(anna, Wish::default()).unwrap();
        assert_eq!(needed(&town), 0, "an opaque token needs none");
        town.pat(anna, jwt(60)).unwrap();
        let second = town.pat(anna, jwt(90)).unwrap();
        town.pat(anna, jwt(100)).unwrap();
        assert_eq!(needed(&town), 3);
        assert_eq!(live_tokens(&town.shelf, &id("k"), town.time(), u64::MAX), Ok(0));
        assert_eq!(live_tokens(&town.shelf, &id("k2"), town.time(), u64::MAX), Ok(0));
        town.pass(59);
        assert_eq!(needed(&town), 3);
        town.pass(1);
        assert_eq!(needed(&town), 2, "expired this second");
        town.revoke(second.token.id).unwrap();
        assert_eq!(needed(&town), 1, "revoked this second");
        town.now -= 10;
        assert_eq!(
            needed(&town),
            2,
            "by a clock that was set back the expired one lives, the revoked one does not"
        );
    }

    #[test]
    fn what_the_keyring_lacks_is_told_key_by_key() {
        let mut shelf = sealed(&one(), 2);
        for (signer, number) in [("one", 1), ("one", 2), ("one-more", 3), ("three", 4), ("two", 5)] {
            let signed = TokenId::from_parts(1_000, [number; 10]);
            let token = Token { id: signed, format: Format::Jwt(id(signer)), ..Token::supposed("general") };
            for (table, key, value) in token.hints() {
                shelf.tamper(table, &key, Some(value));
            }
            shelf.place(&token);
        }
        flip(&mut shelf, 1);
        let told = |keyring: &Keyring| {
            let found = lacking(&shelf, keyring, Time::from_unix(2)).unwrap();
            assert_eq!(found.damaged, 1);
            found.of
        };
        let need = |sealed, tokens| Need { sealed, tokens };
        let others = [(id("one-more"), need(0, 1)), (id("three"), need(0, 1))];
        assert_eq!(told(&both()), BTreeMap::from(others.clone()));
        let mut all = BTreeMap::from(others);
        all.insert(id("one"), need(1, 2));
        assert_eq!(told(&both().without(&id("one")).unwrap()), all);
    }

    #[test]
    fn a_key_is_needed_by_what_is_sealed_and_by_what_is_signed() {
        let need = |sealed, tokens| Need { sealed, tokens }.is_some();
        assert_eq!([need(0, 0), need(1, 0), need(0, 1), need(2, 3)], [false, true, true, true]);
    }

    #[test]
    fn the_store_s_own_key_is_sealed_again_with_an_entry() {
        let mut shelf = Shelf::new();
        shelf.change(1, |txn| rewrap(txn, &By::system(), "one", &id("two"), vec![7; 9])).unwrap();
        assert_eq!(shelf.rows().get(&(TableId::Meta, raw::STORE_KEY.to_vec())), Some(&vec![7; 9]));
        let entry = shelf.audit().pop().unwrap();
        assert_eq!(
            (entry.action.as_str(), entry.params.as_str()),
            ("keys.rewrap", r#"{"from":"one","to":"two"}"#)
        );
    }
}
