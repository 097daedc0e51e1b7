//! `clock reset`: for the day the clock ran ahead.

use super::{App, Failure};
use crate::{
    records::Time,
    rules::{
        access::{self, Authorized},
        clock::{self, Counted},
        verify,
    },
};

/// What a reset came to.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The highest time before.
    pub from: Time,
    /// The highest time now.
    pub to: Time,
    /// What the wrong time had done.
    pub counted: Counted,
}

impl App {
    /// Sets the highest time to what the system's clock says. What was noted of last uses in the time that
    /// never was is kept as it is.
    pub async fn reset_clock(&self, who: &Authorized) -> Result<Reset, Failure> {
        let store = self.store.clone();
        let (from, counted) = tokio::task::spawn_blocking(move || {
            let from = store.now();
            let behind = store.stats().clock_behind_ms.div_ceil(1_000);
            let clock = Time::from_unix(from.unix().saturating_sub(behind));
            let mut counted = Counted::default();
            let mut after: Option<Vec<u8>> = None;
            loop {
                // A view of its own for each portion: one that is held for long keeps pages from being reused.
                (after, counted) = store.look(|view| {
                    let mut counted = counted;
                    let next = clock::count(view, after.as_deref(), clock, from, &mut counted)?;
                    Ok::<_, Failure>((next, counted))
                })?;
                if after.is_none() {
                    return Ok::<_, Failure>((from, counted));
                }
            }
        })
        .await
        .map_err(|_| Failure::Internal)??;
        let who = who.clone();
        let to = self
            .store
            .write_turning_clock_back(move |txn| {
                let caller = verify::again(txn, who.caller(), txn.now())?;
                let who = access::decide(who.right(), caller)?;
                clock::reset(txn, &who.by(), from, counted)?;
                Ok::<_, crate::rules::Refusal>(txn.now())
            })
            .await??;
        Ok(Reset { from, to, counted })
    }
}

#[cfg(test)]
mod tests;
