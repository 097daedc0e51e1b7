//! What an operator has done to the store as a whole: backups, the log read out and checked, compacting.
//!
//! All of it reads one view or asks the writer once, and runs off the async threads; a stream holds its
//! view no longer than its reader goes on reading.

use std::io::Read;

use hyper::body::Bytes;

use super::{App, Failure};
use crate::{
    records::{Action, By, Params, audit::Entry, meta::AuditHead},
    rules::{access::Authorized, audit},
    store::{Backup, BackupReader, Compacted},
};

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 64 * 1024;

/// Entries of one portion of an export.
const EXPORT_ROWS: usize = 1_000;

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
    pub async fn backup(&self, who: &Authorized) -> Result<(Backup, BackupReader), Failure> {
        let store = self.store().clone();
        let made =
            tokio::task::spawn_blocking(move || store.backup()).await.map_err(|_| Failure::Internal)?;
        let reader = made.map_err(|error| {
            tracing::error!(%error, "a backup could not be made");
            Failure::Store(error.refusal())
        })?;
        let backup = reader.backup().clone();
        let params = Params::none().with("bytes", backup.bytes).with("rows", backup.rows);
        self.change(who, move |txn, _, who| {
            Ok(txn.entry(&who.by(), Action::StoreBackup, "store", params)?)
        })
        .await?;
        Ok((backup, reader))
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
