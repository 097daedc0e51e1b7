//! What the daemon does by itself: bringing notes to the disk, and removing what is long dead.
//!
//! Each of these is a method that the daemon's timers call; none of them holds anybody up.

use super::{App, Failure};

impl App {
    /// Brings to the disk what is only in memory. Called at intervals, and at a clean stop.
    pub async fn flush(&self) -> Result<(), Failure> {
        Ok(())
    }
}
