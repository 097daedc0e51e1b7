//! What the oracles that ask whole operations stand on: somebody who may, a root key, no services, and random bytes
//! that are counted and not drawn.

use bearerd::records::By;
use bearerd::rules::access::{Authorized, Caller, Right, decide};
use bearerd::rules::tokens::Fresh;
use bearerd::token::{Key, KeyId, Keyring, ServiceSecrets};

/// An operator of the machine, who may do whatever asks for `right`.
pub fn root(right: Right) -> Authorized {
    decide(right, Caller::local(0)).unwrap()
}

/// The same, as the audit log names who did something.
pub fn operator() -> By {
    root(Right::Operate).by()
}

/// A keyring of one key, `k1`.
pub fn keyring() -> Keyring {
    Keyring::generate(KeyId::new("k1").unwrap(), &std::array::from_fn(|at| at as u8)).unwrap()
}

/// No service has a secret.
pub fn no_services() -> ServiceSecrets {
    ServiceSecrets::new(&[], Key::new([3; 32])).unwrap()
}

/// Bytes for new tokens, never the same twice.
#[derive(Default)]
pub struct Draws(u64);

impl Draws {
    pub fn fresh(&mut self) -> Fresh {
        self.0 += 1;
        let mut fresh = Fresh { id: [0; 10], secret: [7; 32].into() };
        fresh.id[2..].copy_from_slice(&self.0.to_be_bytes());
        fresh.secret[24..].copy_from_slice(&self.0.to_be_bytes());
        fresh
    }

    /// How often it was drawn.
    pub fn count(&self) -> u64 {
        self.0
    }
}
