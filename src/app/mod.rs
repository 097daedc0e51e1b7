//! One method an operation, one file a system: draws randomness, hashes passwords, runs the rule, hands over.
//!
//! The shell between the HTTP surface and the rules. It holds what lives as long as the daemon: the store,
//! the published snapshot of settings, keys and secrets, the notes of last use. It decides nothing: what
//! may happen stands in `rules`, and every change is a rule that the writer runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    metrics::Metrics,
    records::{self, Fault, Time, Txn, View},
    rules::{
        Refusal, Terms,
        access::{self, Authorized, Caller, Right},
        tokens::Fresh,
        verify,
    },
    store::{LastUsed, ReadView, Store, WriteError},
    token::TokenId,
};

pub mod audit;
pub mod callers;
pub mod clients;
pub mod clock;
pub mod enrollment;
pub mod hosts;
pub mod housekeeping;
pub mod import;
pub mod keys;
pub mod logins;
pub mod passwords;
pub mod pats;
pub mod portal;
pub mod refusals;
pub mod reload;
pub mod remembered;
pub mod scrape;
pub mod sessions;
pub mod setup;
pub mod slots;
pub mod snapshot;
pub mod status;
pub mod upkeep;
pub mod users;
pub mod verification;
pub mod walk;

use snapshot::InForce;
pub use snapshot::Snapshot;

/// Why an operation has no answer of its own.
#[derive(Debug, Error)]
pub enum Failure {
    /// The rules refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written, or waits behind too much.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// More passwords wait to be hashed than may.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The operating system gave no randomness: nothing can be made up, and nothing was.
    #[error("no randomness")]
    NoRandomness,
    /// A thread died.
    #[error("internal")]
    Internal,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Refused(Refusal::Fault(fault))
    }
}

impl From<crate::rules::Denied> for Failure {
    fn from(denied: crate::rules::Denied) -> Self {
        Self::Refused(Refusal::Denied(denied))
    }
}

/// The running daemon, apart from sockets and signals.
#[derive(Debug)]
pub struct App {
    store: Store,
    in_force: Arc<InForce>,
    reloads: reload::Reloads,
    passwords: passwords::Passwords,
    last_used: Arc<LastUsed>,
    logins: logins::Logins,
    refusals: refusals::Refusals,
    purge: housekeeping::Purge,
    walking: walk::Walking,
    slots: Arc<slots::SlotUses>,
    metrics: Metrics,
    serving: status::Serving,
    draining: AtomicBool,
}

impl App {
    /// A daemon over an open store.
    pub fn new(store: Store, snapshot: Snapshot, origin: reload::Origin) -> Self {
        let passwords = passwords::Passwords::new(&snapshot.settings.limits);
        let store_now = store.now();
        Self {
            store,
            reloads: reload::Reloads::new(origin, store_now),
            in_force: Arc::new(InForce::new(snapshot)),
            passwords,
            last_used: Arc::default(),
            logins: logins::Logins::default(),
            refusals: refusals::Refusals::default(),
            purge: housekeeping::Purge::default(),
            walking: walk::Walking::default(),
            slots: Arc::default(),
            metrics: Metrics::default(),
            serving: status::Serving::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// How often each secret of a service was used.
    pub fn slots(&self) -> &slots::SlotUses {
        &self.slots
    }

    /// What is counted.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether new requests are welcome: not while the daemon is on its way out.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Acquire)
    }

    /// Says that the daemon is on its way out; whoever asks whether it is ready learns so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Settings, keys and secrets as of now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.in_force.current()
    }

    /// The store as of the last commit.
    pub fn view(&self) -> Arc<ReadView> {
        self.store.view()
    }

    /// The time, never behind the highest that this store has seen.
    pub fn now(&self) -> Time {
        Time::from_unix_millis(self.store.now_ms())
    }

    /// Whether `caller` has `right`.
    pub fn authorize(&self, right: Right, caller: Caller) -> Result<Authorized, Failure> {
        Ok(access::decide(right, caller)?)
    }

    /// Reads: runs a rule over the store as of the last commit; once more where the store is opened again
    /// meanwhile.
    pub fn look<T>(&self, rule: impl Fn(&dyn View, Time) -> Result<T, Refusal>) -> Result<T, Failure> {
        Ok(self.store.look(|view| rule(view, self.now()))?)
    }

    /// The same for a rule that reads thousands of rows with their MACs: not for the threads that answer.
    pub async fn look_long<T: Send + 'static>(
        &self,
        rule: impl Fn(&dyn View, Time) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Failure> {
        let (store, now) = (self.store.clone(), self.now());
        let look = tokio::task::spawn_blocking(move || store.look(|view| rule(view, now)));
        Ok(look.await.map_err(|_| Failure::Internal)??)
    }

    /// The last use of `token` that is noted in memory and may not have reached the store.
    pub(crate) fn noted(&self, token: TokenId) -> Option<records::token::LastUsed> {
        noted(&self.last_used, token)
    }

    /// Changes: runs a rule at its turn in the writer and answers once it is on disk. Whoever was revoked,
    /// demoted or deactivated between the request's arrival and that turn is refused there.
    pub async fn change<T: Send + 'static>(
        &self,
        authorized: &Authorized,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>, &Authorized) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Failure> {
        let in_force = Arc::clone(&self.in_force);
        let authorized = authorized.clone();
        let outcome = self
            .store
            .write(move |txn| {
                let caller = verify::again(txn, authorized.caller(), txn.now())?;
                let authorized = access::decide(authorized.right(), caller)?;
                rule(txn, in_force.at_this_turn().terms(), &authorized)
            })
            .await?;
        Ok(outcome?)
    }

    /// Changes that the daemon makes by itself, under no caller's rights.
    pub async fn change_own<T: Send + 'static>(
        &self,
        rule: impl FnOnce(&mut Txn<'_>, Terms<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Failure> {
        let in_force = Arc::clone(&self.in_force);
        let outcome = self.store.write(move |txn| rule(txn, in_force.at_this_turn().terms())).await?;
        Ok(outcome?)
    }
}

/// Fresh random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    draw(&mut bytes)?;
    Ok(bytes)
}

/// The same for what is to be a key or a secret.
pub fn random_secret<const N: usize>() -> Result<Zeroizing<[u8; N]>, Failure> {
    let mut bytes = Zeroizing::new([0; N]);
    draw(&mut *bytes)?;
    Ok(bytes)
}

/// The one place where the daemon draws randomness.
fn draw(bytes: &mut [u8]) -> Result<(), Failure> {
    use rand::TryRng;
    rand::rngs::SysRng.try_fill_bytes(bytes).map_err(|_| Failure::NoRandomness)
}

/// Fresh random bytes for one token.
pub fn fresh() -> Result<Fresh, Failure> {
    Ok(Fresh { id: random()?, secret: random_secret()? })
}

/// The last use of `token` that is noted in memory and may not have reached the store.
pub(crate) fn noted(notes: &LastUsed, token: TokenId) -> Option<records::token::LastUsed> {
    notes.of(token).map(|noted| records::token::LastUsed { token, at: noted.at, ip: noted.ip })
}

#[cfg(test)]
mod tests;
