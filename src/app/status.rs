//! How the daemon is, for its operator.

use std::{sync::OnceLock, time::Instant};

use super::{App, reload::Last, slots::SlotUse, walk::Walked};
use crate::{
    config::services::ServiceStatus,
    records::Time,
    rules::tokens,
    store::{Health, Stats},
    token::Kind,
};

/// A place at which the daemon listens.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Whether it is the admin socket.
    pub admin: bool,
    /// `http://ADDRESS:PORT` or `unix:PATH`.
    pub address: String,
}

/// What the daemon knows of its own run.
#[derive(Debug)]
pub(super) struct Serving {
    since: Instant,
    listeners: OnceLock<Vec<Listener>>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { since: Instant::now(), listeners: OnceLock::new() }
    }
}

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
    /// For how long it has run, in seconds.
    pub uptime_seconds: u64,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Whether the first admin is still to be made; none where the store could not say.
    pub setup_pending: Option<bool>,
    /// Whether changes are refused for a fault of the store.
    pub degraded: bool,
    /// How many tokens of each kind are stored, dead ones included; none where the store could not say.
    pub tokens: Option<Vec<(Kind, u64)>>,
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
    /// Says where the daemon listens. To be called once, at the start.
    pub fn listens_at(&self, listeners: Vec<Listener>) {
        let _ = self.serving.listeners.set(listeners);
    }

    /// How the daemon is. It has an answer whatever is wrong: it is asked when something is.
    pub fn status(&self) -> Status {
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
        let store = self.store().stats();
        Status {
            started_at: self.started_at(),
            uptime_seconds: self.serving.since.elapsed().as_secs(),
            listeners: self.serving.listeners.get().cloned().unwrap_or_default(),
            setup_pending: self.setup_pending().ok(),
            degraded: store.health != Health::Well,
            tokens: self.store().look(tokens::counts).ok(),
            generation: snapshot.generation,
            reload: self.last_reload(),
            services: services.collect(),
            keys: snapshot.keyring.ids().map(ToString::to_string).collect(),
            store,
            walk: self.last_walk(),
        }
    }
}
