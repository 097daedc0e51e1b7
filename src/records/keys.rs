//! The keys that belong to the store itself, apart from the operator's root keys.
//!
//! A store draws one 256-bit key when it is created and keeps it sealed under the keyring. From it come the
//! key of the record MACs and the key of the audit chain, one job each, so that rotating root keys touches
//! neither. HKDF-SHA256 (RFC 5869), no salt, the info strings below.

use crate::token::{Key, MacKey};

/// What is derived from the store's own key.
#[derive(Debug)]
pub struct StoreKeys {
    /// MACs of records.
    pub records: MacKey,
    /// The audit chain.
    pub audit: MacKey,
}

impl StoreKeys {
    /// Derives both from the store's own key.
    pub fn derive(store_key: &Key) -> Self {
        let of = |info| store_key.derive(info).for_macs();
        Self { records: of("bearerd/1/records"), audit: of("bearerd/1/audit") }
    }
}
