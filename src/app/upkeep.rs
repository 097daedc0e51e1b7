//! What an operator has done to the store as a whole: backups, the log read out and checked, compacting.
//!
//! All of it reads one view or asks the writer once, and runs off the async threads; a stream holds its
//! view no longer than its reader goes on reading.

use std::io::Read;

use hyper::body::Bytes;

use super::{App, Failure};
use crate::{
    records::{Action, By, Params, audit::Entry, meta::AuditHead},
    rules::{access::Authorized, audit, keys},
    store::{Backup, BackupReader, Compacted},
    token::KeyId,
};

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 64 * 1024;

/// Entries of one portion of an export.
const EXPORT_ROWS: usize = 1_000;

/// A backup that was made.
#[derive(Debug)]
pub struct BackedUp {
    /// Reads it.
    pub reader: BackupReader,
    /// The root keys that it needs: first the one without which it does not open, then those without which some of
    /// its tokens or credentials cannot be used.
    pub needs_keys: Vec<KeyId>,
}

/// What checking the audit chain came to.
#[derive(Clone, Debug)]
pub struct Chain {
    /// How many entries hold, or where it breaks.
    pub outcome: Result<u64, audit::Broken>,
    /// The number of the newest entry.
    pub head: u64,
}

impl App {
    /// Makes a backup of the store as of now, to be read from what is answered.
    pub async fn backup(&self, who: &Authorized) -> Result<BackedUp, Failure> {
        let (store, now) = (self.store().clone(), self.now());
        let made = tokio::task::spawn_blocking(move || {
            let view = store.view();
            let needed = keys::needed(&*view, now)?;
            let reader = store.backup(&view).map_err(|error| {
                tracing::error!(%error, "a backup could not be made");
                Failure::Store(error.refusal())
            })?;
            let own = reader.backup().sealed_under.as_deref().and_then(|id| KeyId::new(id).ok());
            let others = needed.into_iter().filter(|id| own.as_ref() != Some(id));
            Ok::<_, Failure>(BackedUp { needs_keys: own.iter().cloned().chain(others).collect(), reader })
        });
        let made = made.await.map_err(|_| Failure::Internal)??;
        let &Backup { bytes, rows, .. } = made.reader.backup();
        let params = Params::none().with("bytes", bytes).with("rows", rows);
        self.change(who, move |txn, _, who| {
            Ok(txn.entry(&who.by(), Action::StoreBackup, "store", params)?)
        })
        .await?;
        Ok(made)
    }

    /// The oldest entries of the audit log after number `seq`: one portion of an export, each over the newest
    /// view, so that no reader of a long log keeps old pages alive.
    pub fn audit_after(&self, seq: u64) -> Result<Vec<Entry>, Failure> {
        self.look(|view, _| Ok(audit::after(view, seq, EXPORT_ROWS)?))
    }

    /// Walks the audit chain.
    pub async fn check_audit(&self) -> Result<Chain, Failure> {
        let store = self.store().clone();
        let walk = tokio::task::spawn_blocking(move || {
            store.look(|view| {
                let head = AuditHead::of(view)?.seq;
                let outcome = audit::verify(view, &mut |_| Ok(()))?;
                Ok::<_, Failure>(Chain { outcome, head })
            })
        });
        walk.await.map_err(|_| Failure::Internal)?
    }

    /// Gives unused space of the file back to the file system.
    pub async fn compact(&self, by: By) -> Result<Compacted, Failure> {
        let compacted = self.store().compact().await?;
        tracing::info!(?compacted, actor = %by.actor, "compacted");
        Ok(compacted)
    }
}

/// Reads a backup piece by piece.
pub fn pieces(mut reader: BackupReader, take: &mut dyn FnMut(Bytes) -> bool) -> bool {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => {
                let piece = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
                if !take(piece) {
                    return false;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a backup could not be read");
                return false;
            }
        }
    }
}
