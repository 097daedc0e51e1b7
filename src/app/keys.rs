//! Keys in use: which of them something needs, sealing again under the current one, and the store's own key.

use std::path::PathBuf;

use super::{App, Failure, random, reload::NotReloaded};
use crate::{
    config::locate::KeyringPlace,
    records::{By, Fault, TableId, Time, Txn, View, meta::raw},
    rules::{
        access::Authorized,
        keys::{self, Need, Needs, RESEAL_ROWS_MAX},
    },
    store::{open_own_key, own_key_sealed_under, seal_own_key},
    token::{KeyId, Keyring, seal::NONCE_BYTES},
};

/// Steps of sealing again that one request takes; the next one goes on from there. Rows that need nothing are read in
/// them as well.
const RESEAL_STEPS_MAX: usize = 40;

/// A key and what needs it.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// Its name.
    pub id: KeyId,
    /// Whether it signs and seals.
    pub current: bool,
    /// What needs it.
    pub need: Need,
    /// Whether the store's own key is sealed under it.
    pub store_key: bool,
}

/// The keys, and where they are.
#[derive(Clone, Debug)]
pub struct Keys {
    /// All of them, the current one first.
    pub keys: Vec<KeyUse>,
    /// Keys that something needs, and that the keyring does not hold.
    pub lacking: Vec<(KeyId, Need)>,
    /// Sealed rows that are damaged, so that nobody can tell which key they need.
    pub damaged: u64,
    /// Their file.
    pub file: PathBuf,
    /// Whether that is a credential that systemd passes, which nobody writes.
    pub is_credential: bool,
}

/// What sealing again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that are under the current key now.
    pub rows: u64,
    /// Rows that could not be opened and stay as they are.
    pub damaged: u64,
    /// Behind which row there may be more to do; none at the end.
    pub next: Option<Vec<u8>>,
}

impl App {
    /// Every key, and what needs it. Looks at every sealed row, off the async threads.
    pub async fn keys(&self) -> Result<Keys, Failure> {
        let place = self.reloads.keyring_place().await?;
        let (snapshot, store, now) = (self.snapshot(), self.store().clone(), self.now());
        let look = tokio::task::spawn_blocking(move || {
            let keyring = &snapshot.keyring;
            let ids: Vec<KeyId> = keyring.ids().cloned().collect();
            let (Needs { of: needs, damaged }, lacking, own) = store.look(|view| {
                let lacking = keys::lacking(view, keyring, now)?.of.into_iter().collect();
                let own = view.bytes(TableId::Meta, raw::STORE_KEY)?.unwrap_or_default();
                Ok::<_, Fault>((keys::needs(view, &ids, now)?, lacking, own))
            })?;
            let own = own_key_sealed_under(&own);
            let keys = ids.into_iter().map(|id| KeyUse {
                current: id == *keyring.current().id(),
                need: needs.get(&id).copied().unwrap_or_default(),
                store_key: own == Some(id.as_str()),
                id,
            });
            Ok::<_, Failure>((keys.collect(), lacking, damaged))
        });
        let (keys, lacking, damaged) = look.await.map_err(|_| Failure::Internal)??;
        let is_credential = matches!(place, KeyringPlace::Credential(_));
        // For somebody in another directory, too.
        let file = std::path::absolute(place.path()).map_err(|_| Failure::Internal)?;
        Ok(Keys { keys, lacking, damaged, file, is_credential })
    }

    /// Says so in the log where something needs a key that the keyring does not hold. A start is not refused for it:
    /// all that needs no such key goes on.
    pub async fn tell_lacking_keys(&self) -> Result<(), Failure> {
        let snapshot = self.snapshot();
        let look = self.look_long(move |view, now| Ok(keys::lacking(view, &snapshot.keyring, now)?));
        for (key, need) in look.await?.of {
            tracing::error!("{}; it belongs there as `old`", lacks(&key, need));
        }
        Ok(())
    }

    /// Seals again under the current key what older ones sealed, from behind the row `after` on, step by step, each an
    /// operation of its own.
    pub async fn reseal(&self, who: &Authorized, after: Option<Vec<u8>>) -> Result<Resealed, Failure> {
        self.reseal_in(who, after, RESEAL_STEPS_MAX).await
    }

    /// The same, in at most `steps` steps.
    pub(super) async fn reseal_in(
        &self,
        who: &Authorized,
        after: Option<Vec<u8>>,
        steps: usize,
    ) -> Result<Resealed, Failure> {
        let mut done = Resealed { next: after, ..Resealed::default() };
        for _ in 0..steps {
            let nonces = (0..RESEAL_ROWS_MAX).map(|_| random()).collect::<Result<Vec<_>, _>>()?;
            let after = done.next.take();
            let step = self
                .change(who, move |txn, terms, who| keys::reseal(txn, terms, &who.by(), after, &nonces))
                .await?;
            done.rows = done.rows.saturating_add(step.rows);
            done.damaged = done.damaged.saturating_add(step.damaged);
            done.next = step.next;
            if done.next.is_none() {
                break;
            }
        }
        Ok(done)
    }
}

fn lacks(key: &KeyId, need: Need) -> String {
    format!(
        "the keyring lacks the key {key} (credentials sealed under it: {}, live tokens signed with it: {})",
        need.sealed, need.tokens
    )
}

/// Refuses where something needs one of `keys`, or may need it, naming them and the counts. A daemon that is started
/// anew does not ask: that is left to whoever must drop a key over damaged rows all the same.
pub(super) fn refuse_needed(view: &dyn View, keys: &[KeyId], now: Time) -> Result<(), NotReloaded> {
    let Needs { of, damaged } = keys::needs(view, keys, now)?;
    let mut faults: Vec<String> = of
        .into_iter()
        .filter(|(_, need)| need.is_some())
        .map(|(key, need)| {
            format!(
                "{}; put it back, `bearerd keys reseal`, and revoke or wait for those tokens",
                lacks(&key, need)
            )
        })
        .collect();
    if damaged > 0 {
        let lacking: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
        faults.push(format!(
            "the keyring lacks {}, and nobody can tell which key the damaged rows of sealed credentials need ({damaged}); \
             put it back, and have `bearerd check` name them: new credentials take the place of a host's damaged ones",
            lacking.join(", ")
        ));
    }
    if faults.is_empty() { Ok(()) } else { Err(NotReloaded::Faults(faults)) }
}

/// Seals the store's own key under the current key of `next`, if it is not. `running` opens it, or `next` does:
/// a commit whose outcome was unknown may have gone through, and have sealed it for a reload that never was.
pub(super) fn rewrap(
    txn: &mut Txn<'_>,
    by: &By,
    store_id: &[u8; 16],
    running: &Keyring,
    next: &Keyring,
    nonce: [u8; NONCE_BYTES],
) -> Result<(), Fault> {
    const DAMAGED: Fault = Fault::Damaged(TableId::Meta);
    let envelope = txn.bytes(TableId::Meta, raw::STORE_KEY)?.ok_or(DAMAGED)?;
    let under = own_key_sealed_under(&envelope).ok_or(DAMAGED)?;
    let current = next.current();
    let opened_by = |keyring: &Keyring| open_own_key(keyring, store_id, &envelope, "".as_ref());
    if current.id().as_str() == under && opened_by(next).is_ok() {
        return Ok(());
    }
    let own = opened_by(running).or_else(|_| opened_by(next)).map_err(|_| DAMAGED)?;
    let sealed = seal_own_key(current, nonce, store_id, &own);
    keys::rewrap(txn, by, under, current.id(), sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        records::{
            host::{Sealed, SealedFor},
            shelf::Shelf,
        },
        store::tests::keyring,
        token::{HostId, Key},
    };

    const STORE: [u8; 16] = [3; 16];

    /// What a reload from `running` to `next` makes of a store whose own key is sealed under the current key of
    /// `sealing`: under which it is then, and how many entries there are.
    fn rewrapped(sealing: &Keyring, running: &Keyring, next: &Keyring) -> (String, usize) {
        let mut shelf = Shelf::new();
        let envelope = seal_own_key(sealing.current(), [9; NONCE_BYTES], &STORE, &Key::new([5; 32]));
        shelf.tamper(TableId::Meta, raw::STORE_KEY, Some(envelope));
        shelf.change(1, |txn| rewrap(txn, &By::system(), &STORE, running, next, [8; NONCE_BYTES])).unwrap();
        let envelope = shelf.bytes(TableId::Meta, raw::STORE_KEY).unwrap().unwrap();
        (own_key_sealed_under(&envelope).unwrap().to_owned(), shelf.audit().len())
    }

    fn rotated(keyring: &Keyring, id: &str) -> Keyring {
        let mut key = [6; 32];
        key[..id.len()].copy_from_slice(id.as_bytes());
        keyring.rotated(KeyId::new(id).unwrap(), &key).unwrap()
    }

    #[test]
    fn the_store_s_key_goes_under_the_current_key_also_after_a_reload_that_nobody_knows_the_outcome_of() {
        let first = keyring("k1");
        let second = rotated(&first, "k2");
        let third = rotated(&second, "k3");
        let under = |id: &str, entries| (id.to_owned(), entries);
        assert_eq!(rewrapped(&first, &first, &first), under("k1", 0), "as it was");
        assert_eq!(rewrapped(&first, &first, &second), under("k2", 1));
        assert_eq!(rewrapped(&second, &first, &second), under("k2", 0), "it went through");
        assert_eq!(
            rewrapped(&second, &first, &third),
            under("k3", 1),
            "it went through, and there is another"
        );
    }

    /// Why `keys` must stay.
    fn faults(shelf: &Shelf, keys: &[KeyId]) -> Vec<String> {
        match refuse_needed(shelf, keys, Time::from_unix(1)) {
            Ok(()) => Vec::new(),
            Err(NotReloaded::Faults(faults)) => faults,
            Err(NotReloaded::Failure(failure)) => panic!("{failure}"),
        }
    }

    #[test]
    fn no_key_is_dropped_unseen_where_a_damaged_row_may_need_it() {
        let keys = ["one", "two"].map(|name| KeyId::new(name).unwrap());
        let mut shelf = Shelf::new();
        assert_eq!(faults(&shelf, &keys), [""; 0]);
        let holder = SealedFor::Host(HostId::from_parts(1, [1; 10]));
        shelf.tamper(TableId::Sealed, &holder.key(), Some(vec![1, 2, 3]));
        let told = faults(&shelf, &keys);
        assert!(
            matches!(told.as_slice(), [one] if one.contains("lacks one, two, ") && one.contains("(1)")),
            "{told:?}"
        );
        assert_eq!(faults(&shelf, &[]), [""; 0], "where none is dropped, the damage holds nothing up");
        shelf.place(&Sealed { holder, envelope: vec![0], entry: 0 });
        assert_eq!(faults(&shelf, &keys).len(), 1, "an envelope that names no key");
        shelf.tamper(TableId::Sealed, &holder.key(), None);
        assert_eq!(faults(&shelf, &keys), [""; 0]);
    }
}
