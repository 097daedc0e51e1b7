//! A deadline that costs a look at the clock and no timer for as long as nothing waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// A point in time that a poll function waits for beside something else.
///
/// Its timer is made at the first wait, kept from one deadline to the next, and moved only when it
/// fires: of many deadlines that are set and met, most never touch it.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Nothing is waited for any more.
    pub(super) fn clear(&mut self) {
        self.due = None;
    }

    /// Whether something is waited for.
    pub(super) fn is_set(&self) -> bool {
        self.due.is_some()
    }

    /// Ready once `span` has gone by since the first poll after it was made or cleared.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, span: Duration) -> Poll<()> {
        let due = *self.due.get_or_insert_with(|| Instant::now() + span);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            // It was set for an earlier deadline, which was met.
            timer.as_mut().reset(due);
        }
    }
}
