//! Signals: what the process is told from outside, as values in a channel.
//!
//! Taken over before anything else is done, so that a reload or a stop that comes early waits for its turn
//! instead of killing the process. Storms are coalesced: of reloads that come while one runs, one follows.

use std::{io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
};
use tokio::sync::mpsc;

/// Signals that may wait to be looked at. Reloads beyond it are those that coalesce.
const WAITING_MAX: usize = 16;

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Read configuration and secrets again.
    Reload(Origin),
    /// Stop.
    Stop,
}

/// Who sent a signal, as far as the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The process.
    pub(super) pid: Option<i32>,
    /// Its user.
    pub(super) uid: Option<u32>,
}

/// The signals, taken over: from here on none of them ends the process by itself; nor does a write beyond a
/// file size limit, which becomes an error of that write.
pub(super) struct TakenOver(SignalsInfo<WithOrigin>);

/// Takes the signals over. Those that come from here on wait to be listened to.
pub(super) fn take_over() -> io::Result<TakenOver> {
    let signals = SignalsInfo::<WithOrigin>::new([SIGHUP, SIGINT, SIGTERM])?;
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default())?;
    Ok(TakenOver(signals))
}

impl TakenOver {
    /// Listens, in a thread of its own.
    pub(super) fn listen(self) -> io::Result<mpsc::Receiver<Signal>> {
        let Self(mut signals) = self;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for origin in &mut signals {
                let sent = if origin.signal == SIGHUP {
                    let process = origin.process.map(|process| (process.pid, process.uid));
                    let from = Origin { pid: process.map(|p| p.0), uid: process.map(|p| p.1) };
                    // A full channel holds a reload that is still to come, which will see everything.
                    matches!(
                        sender.try_send(Signal::Reload(from)),
                        Ok(()) | Err(mpsc::error::TrySendError::Full(_))
                    )
                } else {
                    sender.blocking_send(Signal::Stop).is_ok()
                };
                if !sent {
                    break;
                }
            }
        })?;
        Ok(receiver)
    }
}
