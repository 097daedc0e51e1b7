//! What is in force: settings, keys and secrets as one value, and how another takes its place.
//!
//! Whoever decides takes one snapshot and looks at it from beginning to end: a request one for its caller, and one for
//! what it asks once its body is there. A change of the store looks at the one that is in force at its own turn in the
//! writer: behind a reload that was accepted it sees what the reload brought, even before that is on the disk, since
//! they share its fate.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::remembered::Remembered;
use crate::{config::services::Services, rules::Terms, settings::Settings, token::Keyring};

/// Settings, keys and secrets as one value. A reload makes a new one and swaps it in.
#[derive(Debug)]
pub struct Snapshot {
    /// 1 at start, one more for each reload that was taken.
    pub generation: u64,
    /// The settings.
    pub settings: Settings,
    /// The root keys.
    pub keyring: Keyring,
    /// The configured services: their secrets, and how it stands with each.
    pub services: Services,
    /// Credentials that these keys and secrets were seen to vouch for.
    pub remembered: Remembered,
}

impl Snapshot {
    /// Nothing is remembered under it yet.
    pub fn new(generation: u64, settings: Settings, keyring: Keyring, services: Services) -> Self {
        Self { generation, settings, keyring, services, remembered: Remembered::default() }
    }

    /// What the rules may look at.
    pub const fn terms(&self) -> Terms<'_> {
        Terms { settings: &self.settings, keyring: &self.keyring }
    }
}

/// The snapshot that is in force, and one that waits for its commit.
#[derive(Debug)]
pub(super) struct InForce {
    current: RwLock<Arc<Snapshot>>,
    next: Mutex<Option<Arc<Snapshot>>>,
}

impl InForce {
    pub(super) fn new(first: Snapshot) -> Self {
        Self { current: RwLock::new(Arc::new(first)), next: Mutex::new(None) }
    }

    /// As of now.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As of this turn. For operations in the writer's thread alone.
    pub(super) fn at_this_turn(&self) -> Arc<Snapshot> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).clone();
        next.unwrap_or_else(|| self.current())
    }

    /// Lets operations behind this one see `next`. For the writer's thread alone.
    pub(super) fn offer(&self, next: Arc<Snapshot>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// Puts what was offered into force, or forgets it.
    fn settle(&self, taken: bool) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (true, Some(next)) = (taken, next) {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        }
    }
}

/// Settles what was offered, whatever happens: dropped unsettled, the offer is forgotten.
pub(super) struct Settling(Option<Arc<InForce>>);

impl Settling {
    pub(super) fn of(in_force: &Arc<InForce>) -> Self {
        Self(Some(Arc::clone(in_force)))
    }

    pub(super) fn settle(mut self, taken: bool) {
        if let Some(in_force) = self.0.take() {
            in_force.settle(taken);
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Some(in_force) = self.0.take() {
            in_force.settle(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Key, KeyId, ServiceSecrets};

    fn snapshot(generation: u64) -> Snapshot {
        let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
        let keyring =
            Keyring::generate(KeyId::new("k").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
        let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
        Snapshot::new(generation, Settings::default(), keyring, services)
    }

    #[test]
    fn what_is_offered_is_seen_by_later_turns_and_by_nobody_else_until_it_is_settled() {
        let in_force = Arc::new(InForce::new(snapshot(1)));
        let settling = Settling::of(&in_force);
        in_force.offer(Arc::new(snapshot(2)));
        assert_eq!((in_force.current().generation, in_force.at_this_turn().generation), (1, 2));
        settling.settle(true);
        assert_eq!((in_force.current().generation, in_force.at_this_turn().generation), (2, 2));
    }

    #[test]
    fn what_is_not_settled_is_forgotten() {
        let in_force = Arc::new(InForce::new(snapshot(1)));
        let settling = Settling::of(&in_force);
        in_force.offer(Arc::new(snapshot(2)));
        drop(settling);
        assert_eq!((in_force.current().generation, in_force.at_this_turn().generation), (1, 1));
    }
}
