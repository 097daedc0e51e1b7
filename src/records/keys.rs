//! The keys that belong to the store itself, apart from the operator's root keys.
//!
//! A store draws one 256-bit key when it is created and keeps it sealed under the keyring. From it come the
//! key of the record MACs and the key of the audit chain, one job each, so that rotating root keys touches
//! neither. HKDF-SHA256 (RFC 5869), no salt, the info strings below.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::token::Key;

/// What is derived from the store's own key.
#[derive(Debug)]
pub struct StoreKeys {
    /// MACs of records.
    pub records: Key,
    /// The audit chain.
    pub audit: Key,
}

impl StoreKeys {
    /// Derives both from the store's own key.
    pub fn derive(store_key: &Key) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, store_key.expose());
        Self { records: expand(&hkdf, b"bearerd/1/records"), audit: expand(&hkdf, b"bearerd/1/audit") }
    }
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[u8]) -> Key {
    let mut bytes = [0u8; 32];
    // 32 bytes are one block of output; HKDF refuses only more than 255 of them.
    match hkdf.expand(info, &mut bytes) {
        Ok(()) => Key::new(bytes),
        Err(_) => unreachable!("32 bytes are within HKDF's limit"),
    }
}
