//! Passwords: hashed with argon2id (RFC 9106), off the async threads, at most a fixed number at once.
//!
//! Hashing is expensive on purpose, so it is what an attacker would flood; whoever finds the queue full is
//! told to come back. What a caller presented otherwise is seen to be good before anything is hashed.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use tokio::sync::Semaphore;

use super::{Failure, random};
use crate::{records::user::PasswordHash, settings::Limits, token::Secret};

/// Bytes of salt; RFC 9106 section 3.1 recommends 16.
const SALT_BYTES: usize = 16;

/// The bounds on hashing: how many passwords at once, and how many more may wait.
#[derive(Debug)]
pub struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// Bounds as the settings have them.
    pub fn new(limits: &Limits) -> Self {
        let admitted = limits.password_hashes.saturating_add(limits.password_queue);
        Self {
            at_once: Arc::new(Semaphore::new(limits.password_hashes)),
            waiting: Arc::new(Semaphore::new(admitted)),
        }
    }

    /// The argon2id hash of `password` under a fresh salt.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHash, Failure> {
        let salt = random::<SALT_BYTES>()?;
        self.run(move || {
            let hash: phc::PasswordHash = Argon2::default()
                .hash_password_with_salt(password.expose().as_bytes(), &salt)
                .map_err(|_| Failure::Internal)?;
            Ok(PasswordHash::new(hash.to_string()))
        })
        .await
    }

    /// Whether `password` is the one behind `hash`. Without a hash the answer is no, after the same work:
    /// whoever asks must not learn from the time whether there is anybody to log in.
    pub async fn verify(&self, password: Secret, hash: Option<PasswordHash>) -> Result<bool, Failure> {
        self.run(move || {
            let password = password.expose().as_bytes();
            if let Some(Ok(hash)) = hash.as_ref().map(|hash| phc::PasswordHash::new(hash.expose())) {
                return Ok(Argon2::default().verify_password(password, &hash).is_ok());
            }
            let spent: Result<phc::PasswordHash, _> =
                Argon2::default().hash_password_with_salt(password, &[0; SALT_BYTES]);
            std::hint::black_box(spent.is_ok());
            Ok(false)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Failure::Busy)?;
        let at_once = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| Failure::Internal)?;
        tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who goes away does not free a place that is still taken.
            let _held = (waiting, at_once);
            work()
        })
        .await
        .map_err(|_| Failure::Internal)?
    }
}
