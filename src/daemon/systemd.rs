//! What the daemon says to its service manager: datagrams to `$NOTIFY_SOCKET`, each complete in itself
//! (`sd_notify(3)`). Where nobody listens, nothing is said and nothing fails.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    app::{App, reload::Announcement},
    store::WriteError,
};

/// How much more time an opening that takes long asks for, and how often it does.
const EXTENSION_MICROS: u32 = 60_000_000;
const EXTENSION_INTERVAL: Duration = Duration::from_secs(15);
/// How often more time is asked for at the most: a disk that hangs is no large store.
const EXTENSIONS_MAX: u32 = 240;
/// How long the stop may take beyond the drain: connections are cut, notes brought to the disk, the store closed.
const STOP_BEYOND_DRAIN: Duration = Duration::from_secs(30);
/// Characters of a status line.
const STATUS_CHARS_MAX: usize = 500;

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// One line, not too long, without control characters: a line break would begin another assignment.
fn one_line(status: &str) -> String {
    status.chars().take(STATUS_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// It serves.
pub(super) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// It is on its way out, and waits so long for requests in flight: the unit's own limit may be shorter.
pub(super) fn stopping(drain: Duration) {
    let micros = u32::try_from(drain.saturating_add(STOP_BEYOND_DRAIN).as_micros()).unwrap_or(u32::MAX);
    let status = NotifyState::Status("stopping");
    say(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), status]);
}

/// A reload begins, or has ended. The time is what `Type=notify-reload` tells one reload from another by; it
/// has to be in the same datagram.
pub(super) fn announce(announcement: Announcement) {
    match announcement {
        Announcement::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => say(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
            Err(error) => tracing::warn!(%error, "no monotonic time"),
        },
        Announcement::Done(status) => ready(&status),
    }
}

/// Asks the service manager for more time until it is dropped: a large store takes long to open.
pub(super) struct Patience {
    /// Nothing is ever sent: the thread ends when this goes.
    _end: Option<SyncSender<()>>,
}

impl Patience {
    pub(super) fn ask() -> Self {
        let (end, ended) = sync_channel::<()>(0);
        let asking = thread::Builder::new().name("patience".to_owned()).spawn(move || {
            for _ in 0..EXTENSIONS_MAX {
                if ended.recv_timeout(EXTENSION_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let status = NotifyState::Status("opening the store");
                say(&[NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS), status]);
            }
        });
        Self { _end: asking.is_ok().then_some(end) }
    }
}

/// Tells the service manager again and again that the daemon is alive, each time after a question went
/// through the runtime and through the writer's thread. A store that is degraded answers; one whose disk is
/// slow is seen to wait for it; both live. What hangs anywhere else does not, and is started again.
pub(super) async fn watchdog(app: Arc<App>) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let half = period / 2;
    if half.is_zero() {
        return;
    }
    let mut tick = interval(half);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if is_alive(&app, half / 2).await {
            say(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the writer does not answer; the watchdog is not told that all is well");
        }
    }
}

async fn is_alive(app: &App, patience: Duration) -> bool {
    match timeout(patience, app.store().write(|_| Ok::<_, ()>(()))).await {
        Ok(Ok(_) | Err(WriteError::Full | WriteError::Unavailable)) => true,
        // Behind a full queue, or not yet: alive if what it waits for is the disk.
        Ok(Err(WriteError::Busy)) | Err(_) => app.store().waits_for_disk(),
        Ok(Err(WriteError::Internal)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nREADY=1\tb"), "a READY=1 b");
        assert_eq!(one_line(&"ä".repeat(501)).chars().count(), STATUS_CHARS_MAX);
    }
}
