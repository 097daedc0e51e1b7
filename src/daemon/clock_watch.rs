//! Tells the log that the system's clock is behind the time of the store, and that it has caught up: while it is
//! behind, time stands still and nothing ends. Never sets anything right by itself.

use std::time::Duration;

/// A clock that is behind by more than this is told of: what keeps time in step makes smaller steps all the time.
const BEHIND: Duration = Duration::from_secs(5);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    is_behind: bool,
}

/// What is to be told now.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Behind,
    CaughtUp,
}

impl ClockWatch {
    /// Tells the log what has changed since this was last asked.
    pub(super) fn look(&mut self, behind: Duration) {
        match self.news(behind) {
            None => {}
            Some(News::Behind) => tracing::warn!(
                seconds = behind.as_secs(),
                "the system's clock is behind the highest time seen, and time stands still until it has caught up; if \
                 it had run ahead before: `bearerd clock reset`"
            ),
            Some(News::CaughtUp) => {
                tracing::info!("the system's clock has caught up with the highest time seen");
            }
        }
    }

    fn news(&mut self, behind: Duration) -> Option<News> {
        let is_behind = behind > BEHIND;
        let has_changed = core::mem::replace(&mut self.is_behind, is_behind) != is_behind;
        has_changed.then_some(if is_behind { News::Behind } else { News::CaughtUp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_told_of_once_and_so_is_its_catching_up() {
        let mut watch = ClockWatch::default();
        let mut told = |seconds| watch.news(Duration::from_secs(seconds));
        assert_eq!(told(0), None);
        assert_eq!(told(5), None, "a small step");
        assert_eq!(told(6), Some(News::Behind));
        assert_eq!(told(90_000), None);
        assert_eq!(told(5), Some(News::CaughtUp));
        assert_eq!(told(0), None);
        assert_eq!(told(6), Some(News::Behind), "again");
    }
}
