//! How often, and when last, each secret of a service was used: what an operator looks at before the old
//! one is taken away. Kept in memory, since the daemon started.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{config::services::Kept, records::Time, token::ServiceName};

/// The uses of every secret that was used.
#[derive(Debug, Default)]
pub struct SlotUses(RwLock<BTreeMap<ServiceName, BTreeMap<String, Counted>>>);

#[derive(Debug, Default)]
struct Counted {
    uses: AtomicU64,
    last: AtomicU64,
}

/// The uses of one secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotUse {
    /// How often.
    pub uses: u64,
    /// When last; none where it was not used.
    pub last: Option<Time>,
}

impl SlotUses {
    /// Notes a use.
    pub fn note(&self, service: &ServiceName, slot: &str, at: Time) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = known.get(service).and_then(|slots| slots.get(slot)) {
            counted.add(at);
            return;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(service.clone()).or_default().entry(slot.to_owned()).or_default().add(at);
    }

    /// After a reload: what was counted goes with its secret, whatever that is called now, and of secrets
    /// that are gone nothing is left.
    pub fn follow(&self, kept: &[Kept]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        for Kept { service, was, is } in kept {
            if let Some(counted) = before.get_mut(service).and_then(|slots| slots.remove(was)) {
                known.entry(service.clone()).or_default().insert(is.clone(), counted);
            }
        }
    }

    /// The uses of one secret.
    pub fn of(&self, service: &ServiceName, slot: &str) -> SlotUse {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(service).and_then(|slots| slots.get(slot)).map(Counted::read).unwrap_or_default()
    }
}

impl Counted {
    fn add(&self, at: Time) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.last.fetch_max(at.unix(), Ordering::Relaxed);
    }

    fn read(&self) -> SlotUse {
        let uses = self.uses.load(Ordering::Relaxed);
        let last = (uses > 0).then(|| Time::from_unix(self.last.load(Ordering::Relaxed)));
        SlotUse { uses, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_for_each_secret_and_the_last_one_never_moves_back() {
        let uses = SlotUses::default();
        let name = ServiceName::new("scheduler").unwrap();
        assert_eq!(uses.of(&name, "line 1"), SlotUse::default());
        uses.note(&name, "line 1", Time::from_unix(9));
        uses.note(&name, "line 1", Time::from_unix(7));
        uses.note(&name, "line 2", Time::from_unix(8));
        assert_eq!(uses.of(&name, "line 1"), SlotUse { uses: 2, last: Some(Time::from_unix(9)) });
        assert_eq!(uses.of(&name, "line 2"), SlotUse { uses: 1, last: Some(Time::from_unix(8)) });
    }

    #[test]
    fn after_a_reload_uses_go_with_the_secret_and_not_with_its_place() {
        let uses = SlotUses::default();
        let name = ServiceName::new("scheduler").unwrap();
        uses.note(&name, "line 1", Time::from_unix(7));
        uses.note(&name, "line 2", Time::from_unix(8));
        uses.note(&name, "line 2", Time::from_unix(9));
        uses.follow(&[Kept { service: name.clone(), was: "line 2".to_owned(), is: "line 1".to_owned() }]);
        assert_eq!(uses.of(&name, "line 1"), SlotUse { uses: 2, last: Some(Time::from_unix(9)) });
        assert_eq!(uses.of(&name, "line 2"), SlotUse::default());
    }
}
