//! The walk through a store that is too large to be verified whenever it is opened: portion by portion, each
//! over the newest view, so that no old pages are kept alive. What it finds goes to the log, the status and the metrics.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{App, Failure};
use crate::{
    records::Time,
    rules::{Refusal, check::Walk},
};

/// How long the walk rests after it went through the whole store.
const WALK_REST: Duration = Duration::from_hours(24);
/// Portions of one step.
const STEP_PORTIONS: usize = 8;

/// How the last walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// When.
    pub at: Time,
    /// How many rows it looked at.
    pub rows: u64,
    /// How many findings it had.
    pub findings: u64,
}

/// Where the walk is.
#[derive(Debug, Default)]
pub struct Walking(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    walk: Option<Walk>,
    rests_until: Option<Instant>,
    last: Option<Walked>,
}

impl Walking {
    fn with<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the walk along; none while it rests.
    fn take(&self) -> Option<Walk> {
        self.with(|progress| {
            if progress.rests_until.is_some_and(|until| Instant::now() < until) {
                return None;
            }
            Some(progress.walk.take().unwrap_or_else(|| Walk::new(false)))
        })
    }
}

impl App {
    /// One step of the walk, in stores that are not verified when they are opened. To be called every few seconds.
    pub async fn walk_step(&self) -> Result<(), Failure> {
        if self.store().is_verified_when_opened() {
            return Ok(());
        }
        self.walk_on().await
    }

    /// Goes on with the walk, unless it rests.
    pub(super) async fn walk_on(&self) -> Result<(), Failure> {
        let Some(mut walk) = self.walking.take() else { return Ok(()) };
        let (store, snapshot) = (self.store().clone(), self.snapshot());
        let step = tokio::task::spawn_blocking(move || {
            for _ in 0..STEP_PORTIONS {
                match walk.step(&*store.view(), &snapshot.keyring) {
                    Ok(None) => {}
                    Ok(Some(report)) => return (walk, Ok(Some(report))),
                    Err(fault) => return (walk, Err(fault)),
                }
            }
            (walk, Ok(None))
        });
        let (walk, outcome) = step.await.map_err(|_| Failure::Internal)?;
        let report = match outcome {
            Ok(Some(report)) => report,
            going_on => {
                self.walking.with(|progress| progress.walk = Some(walk));
                return going_on.map(drop).map_err(|fault| Refusal::from(fault).into());
            }
        };
        let last = Walked { at: self.now(), rows: report.rows, findings: report.found };
        self.walking.with(|progress| {
            progress.last = Some(last);
            progress.rests_until = Instant::now().checked_add(WALK_REST);
        });
        for finding in &report.findings {
            let (table, key, wrong) = (finding.table.name(), &finding.key, &finding.wrong);
            tracing::error!(table, key, %wrong, advice = finding.advice(), "the store is not as it must be");
        }
        tracing::info!(rows = last.rows, findings = last.findings, "the whole store was walked through");
        Ok(())
    }

    /// How the last walk ended; none before its end, and in stores that are verified when they are opened.
    pub fn last_walk(&self) -> Option<Walked> {
        self.walking.with(|progress| progress.last)
    }
}
