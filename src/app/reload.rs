//! The reload: configuration, keys and secrets read again, judged whole, written down, and swapped in.
//!
//! One at a time. Files are read off the async threads. What the reload changes in the store (the users of
//! services, the store's own key under the current root key, the entry) is one operation of the writer, and
//! the new snapshot is in force as soon as that is on the disk, before anything later has its turn. If
//! anything is wrong, what was in force goes on, and everybody who could care is told.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{App, Failure, Snapshot, keys, random, random_secret, snapshot::Settling};
use crate::{
    config::{Loaded, Located, Sources, locate::KeyringPlace, services::ServiceStatus},
    records::{Action, By, Params, Time, Txn},
    rules::{
        Refusal,
        services::{self, Configured},
    },
    store::WriteError,
    token::KeyId,
};

/// Where everything was read from, and is read from again.
#[derive(Debug)]
pub struct Origin {
    /// What the command line and the environment say.
    pub sources: Sources,
    /// What that led to.
    pub located: Located,
}

#[cfg(test)]
impl Origin {
    /// Nothing was said.
    pub(crate) fn of_defaults() -> Self {
        let sources = Sources::default();
        let located = sources.locate().unwrap();
        Self { sources, located }
    }
}

/// What the daemon says to its service manager while it reloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// A reload begins.
    Reloading,
    /// It has ended; a line about how things stand.
    Done(String),
}

type Announce = Box<dyn Fn(Announcement) + Send + Sync>;

/// How the last reload ended; before the first, how the start did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// When.
    pub at: Time,
    /// What was wrong, a line each; empty where it was taken.
    pub faults: Vec<String>,
    /// Settings that differ from those in force and wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// A reload that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is in force now.
    pub generation: u64,
    /// Settings that differ from those in force and wait for a restart.
    pub needs_restart: Vec<&'static str>,
    /// What is allowed and should still be known, a line each.
    pub warnings: Vec<String>,
}

/// Why a reload was not taken. What was in force goes on.
#[derive(Debug)]
pub enum NotReloaded {
    /// What was read is wrong, or would lose something: a line for each fault.
    Faults(Vec<String>),
    /// It could not be written, or something else failed that is not about what was read.
    Failure(Failure),
}

impl From<Failure> for NotReloaded {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<WriteError> for NotReloaded {
    fn from(error: WriteError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<Refusal> for NotReloaded {
    fn from(refusal: Refusal) -> Self {
        Self::Failure(refusal.into())
    }
}

impl From<crate::records::Fault> for NotReloaded {
    fn from(fault: crate::records::Fault) -> Self {
        Self::Failure(fault.into())
    }
}

impl NotReloaded {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Faults(faults) => faults.clone(),
            Self::Failure(failure) => vec![failure.to_string()],
        }
    }
}

/// What reloads need to know of each other.
pub struct Reloads {
    sources: Sources,
    /// Held through a reload: one at a time.
    located: tokio::sync::Mutex<Located>,
    last: Mutex<Last>,
    started_at: Time,
    announce: OnceLock<Announce>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Reloads {
    pub(super) fn new(origin: Origin, now: Time) -> Self {
        Self {
            sources: origin.sources,
            located: tokio::sync::Mutex::new(origin.located),
            last: Mutex::new(Last { at: now, faults: Vec::new(), needs_restart: Vec::new() }),
            started_at: now,
            announce: OnceLock::new(),
        }
    }

    /// Where the keyring is by the configuration in force.
    pub(super) async fn keyring_place(&self) -> Result<KeyringPlace, Failure> {
        self.located.lock().await.keyring().map_err(|_| Failure::Internal)
    }

    fn announce(&self, announcement: Announcement) {
        if let Some(announce) = self.announce.get() {
            announce(announcement);
        }
    }
}

impl App {
    /// Has `announce` called when a reload begins and when it has ended. To be set once, at the start.
    pub fn announce_reloads(&self, announce: impl Fn(Announcement) + Send + Sync + 'static) {
        let _ = self.reloads.announce.set(Box::new(announce));
    }

    /// How the last reload ended.
    pub fn last_reload(&self) -> Last {
        self.reloads.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the daemon started.
    pub fn started_at(&self) -> Time {
        self.reloads.started_at
    }

    /// Brings the store up to date with what was loaded at the start: the users of services, and the
    /// store's own key under the current root key. Waits for a reload that is under way, and goes by what it
    /// brought.
    pub async fn settle_in(&self) -> Result<(), Failure> {
        let _one_at_a_time = self.reloads.located.lock().await;
        let by = By::system();
        let configured = configured(&self.snapshot())?;
        let nonce = random()?;
        let (store_id, in_force) = (*self.store.id(), Arc::clone(&self.in_force));
        let outcome = self
            .store
            .write(move |txn| {
                let snapshot = in_force.at_this_turn();
                keys::rewrap(txn, &by, &store_id, &snapshot.keyring, &snapshot.keyring, nonce)?;
                services::bring_up_to_date(txn, &by, &configured)
            })
            .await??;
        tell_services(&outcome);
        Ok(())
    }

    /// Reads everything again and puts it into force, or says what is wrong and changes nothing. `by` asks,
    /// through `via`. It runs to its end also if whoever asked goes away.
    pub async fn reload(self: &Arc<Self>, by: By, via: &'static str) -> Result<Reloaded, NotReloaded> {
        let app = Arc::clone(self);
        let running = tokio::spawn(async move { app.reload_to_its_end(by, via).await });
        running.await.map_err(|_| NotReloaded::Failure(Failure::Internal))?
    }

    async fn reload_to_its_end(&self, by: By, via: &'static str) -> Result<Reloaded, NotReloaded> {
        let mut located = self.reloads.located.lock().await;
        self.reloads.announce(Announcement::Reloading);
        let outcome = self.reload_once(&mut located, &by, via).await;
        self.metrics().reloaded(outcome.is_ok());
        let mut last = self.last_reload();
        last.at = self.now();
        match &outcome {
            Ok(reloaded) => {
                last.faults = Vec::new();
                last.needs_restart.clone_from(&reloaded.needs_restart);
                tracing::info!(generation = reloaded.generation, by = %by.actor, via, "configuration reloaded");
                for setting in &reloaded.needs_restart {
                    tracing::warn!(setting, "changed in the configuration and waits for a restart");
                }
            }
            Err(not_reloaded) => {
                last.faults = not_reloaded.lines();
                for fault in &last.faults {
                    tracing::error!(by = %by.actor, via, "reload refused: {fault}");
                }
                tracing::error!("what was in force goes on");
            }
        }
        *self.reloads.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        self.reloads.announce(Announcement::Done(self.status_line()));
        outcome
    }

    async fn reload_once(
        &self,
        located: &mut Located,
        by: &By,
        via: &'static str,
    ) -> Result<Reloaded, NotReloaded> {
        let running = self.snapshot();
        let (next, loaded) = match self.read_again(located, &running).await {
            Ok(read) => read,
            Err(not_reloaded) => {
                self.note_refused(by, via, &not_reloaded).await;
                return Err(not_reloaded);
            }
        };
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let needs_restart = loaded.needs_restart.clone();
        let generation = running.generation.saturating_add(1);
        let outcome = self.put_into_force(by, via, generation, loaded).await;
        if let Err(not_reloaded) = outcome {
            self.note_refused(by, via, &not_reloaded).await;
            return Err(not_reloaded);
        }
        *located = next;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reloaded { generation, needs_restart, warnings })
    }

    /// What is there now, judged; also whether a key would be lost that something needs.
    async fn read_again(
        &self,
        located: &Located,
        running: &Arc<Snapshot>,
    ) -> Result<(Located, Loaded), NotReloaded> {
        let blinding = random_secret()?;
        let (sources, located, running) =
            (self.reloads.sources.clone(), located.clone(), Arc::clone(running));
        let (store, now) = (self.store.clone(), self.now());
        let read = tokio::task::spawn_blocking(move || {
            let read = sources.reload(&located, &running.services.secrets, &blinding);
            let (next, loaded) = read.map_err(|error| NotReloaded::Faults(lines(&error.to_string())))?;
            let dropped: Vec<KeyId> =
                running.keyring.dropped_by(&loaded.keyring).map(|key| key.id().clone()).collect();
            store.look(|view| keys::refuse_needed(view, &dropped, now))?;
            Ok((next, loaded))
        });
        read.await.map_err(|_| NotReloaded::Failure(Failure::Internal))?
    }

    /// One operation of the writer, and the swap.
    async fn put_into_force(
        &self,
        by: &By,
        via: &'static str,
        generation: u64,
        loaded: Loaded,
    ) -> Result<(), NotReloaded> {
        let Loaded { settings, keyring, services, needs_restart, .. } = loaded;
        let told = services.status.clone();
        let kept = services.kept.clone();
        let next = Arc::new(Snapshot::new(generation, settings, keyring, services));
        let configured = configured(&next)?;
        let params = Params::none()
            .with("outcome", "taken")
            .with("via", via)
            .with("generation", generation)
            .with("needs_restart", needs_restart)
            .with("services", told.len())
            .with("key", next.keyring.current().id().as_str());
        let nonce = random()?;
        let store_id = *self.store.id();
        let (in_force, by) = (Arc::clone(&self.in_force), by.clone());
        let settling = Settling::of(&self.in_force);
        let slots = Arc::clone(&self.slots);
        let operation = move |txn: &mut Txn<'_>| {
            let running = in_force.at_this_turn();
            // Nothing was sealed or signed since under keys that were old already: only the one that was
            // current up to this turn has to be looked at once more.
            let current = running.keyring.current();
            if !next.keyring.holds(current) {
                keys::refuse_needed(txn, std::slice::from_ref(current.id()), txn.now())?;
            }
            keys::rewrap(txn, &by, &store_id, &running.keyring, &next.keyring, nonce)?;
            let outcome = services::bring_up_to_date(txn, &by, &configured)?;
            txn.entry(&by, Action::ConfigReload, "configuration", params)?;
            in_force.offer(next);
            Ok::<_, NotReloaded>(outcome)
        };
        let settle = move |taken| {
            settling.settle(taken);
            if taken {
                slots.follow(&kept);
            }
        };
        let outcome = self.store.write_and_settle(operation, settle).await??;
        tell_services(&outcome);
        for (service, status) in &told {
            tell_service(service, status);
        }
        Ok(())
    }

    /// A reload that was refused is an entry, too. What was wrong is told to who asked and to the log.
    async fn note_refused(&self, by: &By, via: &'static str, why: &NotReloaded) {
        let params =
            Params::none().with("outcome", "refused").with("via", via).with("faults", why.lines().len());
        let by = by.clone();
        let noted = self
            .change_own(move |txn, _| Ok(txn.entry(&by, Action::ConfigReload, "configuration", params)?))
            .await;
        if let Err(failure) = noted {
            tracing::warn!(%failure, "the refused reload could not be written to the audit log");
        }
    }

    /// How things stand, in one line for the service manager.
    pub fn status_line(&self) -> String {
        let (last, snapshot) = (self.last_reload(), self.snapshot());
        let status = &snapshot.services.status;
        let on = status.values().filter(|status| status.is_enabled()).count();
        let mut line =
            format!("serving; configuration {}; services {on} of {} on", snapshot.generation, status.len());
        if let Some(first) = last.faults.first() {
            line.push_str("; LAST RELOAD REFUSED: ");
            line.push_str(first);
        } else if !last.needs_restart.is_empty() {
            line.push_str("; waits for a restart: ");
            line.push_str(&last.needs_restart.join(", "));
        }
        line
    }
}

/// What the users of services should be.
fn configured(snapshot: &Snapshot) -> Result<Vec<Configured>, Failure> {
    let services = snapshot.settings.services.iter();
    services
        .map(|(name, service)| {
            Ok(Configured { name: name.clone(), groups: service.groups.clone(), fresh: random()? })
        })
        .collect()
}

fn tell_services(outcome: &services::Outcome) {
    for service in &outcome.deactivated {
        tracing::info!(service, "service left the configuration; its user is deactivated");
    }
    for service in &outcome.taken {
        tracing::error!(%service, "service OFF: somebody else has the address of its user");
    }
}

/// Says how it stands with a service.
pub fn tell_service(service: &crate::token::ServiceName, status: &ServiceStatus) {
    match status {
        ServiceStatus::Enabled { slots } => {
            tracing::info!(%service, secrets = slots.len(), "service enabled");
        }
        ServiceStatus::Off(why) => tracing::warn!(%service, "service off: {why}"),
        ServiceStatus::Mistake(why) => tracing::error!(%service, "service OFF, by mistake: {why}"),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
