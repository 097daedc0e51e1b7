//! What a new store begins with: every table, its id, its own key, and the singletons whose absence is damage
//! ever after.

use super::{
    SCHEMA_VERSION,
    own_key::seal_own_key,
    redb::{Engine, EngineError, Medium},
    view::EmptyView,
};
use crate::{
    records::{
        Fault, StoreKeys, TableId, Txn,
        meta::{AuditHead, HighestTime, Setup, raw},
        txn::Rows,
    },
    token::{Key, keyring::RootKey, seal::NONCE_BYTES},
};

/// Random bytes for a new store.
#[derive(Debug)]
pub struct FreshStore {
    /// Its id.
    pub id: [u8; 16],
    /// Its own key.
    pub key: Key,
    /// The nonce that its own key is sealed with.
    pub nonce: [u8; NONCE_BYTES],
}

/// A new store that is still to be made.
#[derive(Debug)]
pub struct Founding {
    pub(crate) id: [u8; 16],
    pub(crate) key: Key,
    rows: Rows,
}

impl Founding {
    /// A store whose own key is sealed under `root`, and which has seen `now_ms` milliseconds since the epoch.
    pub fn new(root: &RootKey, fresh: FreshStore, now_ms: u64) -> Result<Self, Fault> {
        let FreshStore { id, key, nonce } = fresh;
        let view = EmptyView::new(StoreKeys::derive(&key));
        let mut txn = Txn::new(&view, now_ms);
        txn.hint(TableId::Meta, raw::SCHEMA.to_vec(), SCHEMA_VERSION.to_be_bytes().to_vec());
        txn.hint(TableId::Meta, raw::STORE_ID.to_vec(), id.to_vec());
        txn.hint(TableId::Meta, raw::STORE_KEY.to_vec(), seal_own_key(root, nonce, &id, &key));
        txn.note(&Setup::default())?;
        txn.note(&HighestTime { millis: now_ms })?;
        txn.note(&AuditHead::EMPTY)?;
        let rows = txn.finish()?.rows;
        Ok(Self { id, key, rows })
    }

    /// The keys of the store's records.
    pub(crate) fn keys(&self) -> StoreKeys {
        StoreKeys::derive(&self.key)
    }

    /// Makes the store on an empty medium, in one commit, and closes it.
    pub(crate) fn make(&self, medium: &Medium, cache_bytes: usize) -> Result<(), EngineError> {
        let engine = Engine::create(medium, cache_bytes)?;
        engine.transact(&self.keys(), |batch| {
            batch.make_tables();
            batch.apply(self.rows.clone());
            true
        })?;
        engine.close()
    }
}
