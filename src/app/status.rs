//! How the daemon is, for its operator.

use super::{App, Failure, reload::Last, slots::SlotUse, walk::Walked};
use crate::{config::services::ServiceStatus, records::Time, store::Stats};

/// A secret of a service.
#[derive(Clone, Debug)]
pub struct SlotState {
    /// What it is called.
    pub slot: String,
    /// Its uses since the daemon started.
    pub uses: SlotUse,
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// Whether its secrets are accepted.
    pub enabled: bool,
    /// Why they are not.
    pub why: Option<String>,
    /// Its secrets.
    pub slots: Vec<SlotState>,
}

/// How the daemon is.
#[derive(Clone, Debug)]
pub struct Status {
    /// When it started.
    pub started_at: Time,
    /// Whether the first admin is still to be made.
    pub setup_pending: bool,
    /// Which configuration is in force.
    pub generation: u64,
    /// How the last reload ended.
    pub reload: Last,
    /// The configured services.
    pub services: Vec<ServiceState>,
    /// The names of the root keys, the current one first.
    pub keys: Vec<String>,
    /// The store.
    pub store: Stats,
    /// How the last walk through a large store ended.
    pub walk: Option<Walked>,
}

impl App {
    /// How the daemon is.
    pub fn status(&self) -> Result<Status, Failure> {
        let snapshot = self.snapshot();
        let services = snapshot.services.status.iter().map(|(name, status)| {
            let (slots, why) = match status {
                ServiceStatus::Enabled { slots } => (slots.as_slice(), None),
                ServiceStatus::Off(why) => (&[][..], Some(why.to_string())),
                ServiceStatus::Mistake(why) => (&[][..], Some(why.to_string())),
            };
            let slots = slots
                .iter()
                .map(|slot| SlotState { slot: slot.clone(), uses: self.slots().of(name, slot) })
                .collect();
            ServiceState { name: name.to_string(), enabled: status.is_enabled(), why, slots }
        });
        Ok(Status {
            started_at: self.started_at(),
            setup_pending: self.setup_pending()?,
            generation: snapshot.generation,
            reload: self.last_reload(),
            services: services.collect(),
            keys: snapshot.keyring.ids().map(ToString::to_string).collect(),
            store: self.store().stats(),
            walk: self.last_walk(),
        })
    }
}
