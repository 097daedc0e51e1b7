//! What is due at intervals: notes brought to the disk, refusals to the audit log, the purge, and what the
//! start could not write. Each runs in a task of its own, so that none holds up another, or a signal.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{clock_watch::ClockWatch, systemd};
use crate::{
    app::{App, Failure},
    store::WriteError,
};

/// How often notes are brought to the disk, and with them the highest time: well within the minute that is
/// promised.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// How often refusals are brought to the audit log: well within the ten seconds that are promised. The
/// purge goes on as often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(4);
/// How often the store is asked to take what it could not at the start.
const SETTLE_INTERVAL: Duration = Duration::from_secs(5);

/// Starts all of them; they end with the set. `settled`: whether the start could write all it had to.
pub(super) fn start(app: &Arc<App>, settled: bool) -> JoinSet<()> {
    let mut timers = JoinSet::new();
    timers.spawn(flush(Arc::clone(app)));
    timers.spawn(upkeep(Arc::clone(app)));
    timers.spawn(walk(Arc::clone(app)));
    timers.spawn(clock(Arc::clone(app)));
    timers.spawn(systemd::watchdog(Arc::clone(app)));
    timers.spawn(tell_lacking_keys(Arc::clone(app)));
    if !settled {
        timers.spawn(settle(Arc::clone(app)));
    }
    timers
}

/// Tells the log of what could not be done and will be tried again. That the store takes no changes it has told already,
/// and it tells when it does.
fn tell(failure: &Failure, what: &'static str) {
    if matches!(failure, Failure::Store(WriteError::Full | WriteError::Unavailable)) {
        tracing::debug!(%failure, "{what}");
    } else {
        tracing::warn!(%failure, "{what}");
    }
}

fn every(period: Duration) -> Interval {
    let mut every = interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

async fn flush(app: Arc<App>) {
    let mut every = every(FLUSH_INTERVAL);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = app.last_use_crowded() => {}
        }
        while let Err(failure) = app.flush().await {
            tell(&failure, "what was noted could not be brought to the disk; it is kept");
            // However many wait: a store that takes no writes now takes none for being asked at once.
            every.tick().await;
        }
    }
}

async fn upkeep(app: Arc<App>) {
    let mut every = every(UPKEEP_INTERVAL);
    loop {
        every.tick().await;
        if let Err(failure) = app.flush_refusals().await {
            tell(&failure, "refusals could not be written to the audit log; they are kept");
        }
        if let Err(failure) = app.purge_step().await {
            // It tells by itself when it gives up for a while.
            tracing::debug!(%failure, "a step of the purge failed");
        }
    }
}

async fn walk(app: Arc<App>) {
    let mut every = every(UPKEEP_INTERVAL);
    loop {
        every.tick().await;
        if let Err(failure) = app.walk_step().await {
            tracing::warn!(%failure, "the walk through the store could not go on; it will");
        }
    }
}

async fn clock(app: Arc<App>) {
    let mut every = every(UPKEEP_INTERVAL);
    let mut watch = ClockWatch::default();
    loop {
        every.tick().await;
        watch.look(Duration::from_millis(app.store().stats().clock_behind_ms));
    }
}

/// Once: what the keyring lacks at a reload, the reload says.
async fn tell_lacking_keys(app: Arc<App>) {
    if let Err(failure) = app.tell_lacking_keys().await {
        tracing::warn!(%failure, "whether the keyring holds every key that is needed could not be seen");
    }
}

async fn settle(app: Arc<App>) {
    let mut every = every(SETTLE_INTERVAL);
    loop {
        every.tick().await;
        match app.settle_in().await {
            Ok(()) => return tracing::info!("what the start could not write is written"),
            Err(failure) => tracing::debug!(%failure, "what the start could not write still waits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::sleep;
    use tracing_subscriber::{Layer, layer::Context, prelude::*};

    use super::*;
    use crate::{
        app::{Snapshot, reload::Origin, users::UserRequest},
        config::services::Services,
        records::{token::LastUsed, view::View},
        rules::{
            access::{Authorized, Caller, Right},
            pats::Wish,
        },
        settings::Settings,
        store::{
            Options, Store, TimeSource,
            tests::{faults::made_with, in_memory, keyring, media::Disk},
        },
        token::{Key, ServiceSecrets},
    };

    /// From a second after the start to a second before the end of the minute that is promised.
    const WITHIN: Duration = Duration::from_secs(58);

    fn app() -> Arc<App> {
        over(in_memory())
    }

    fn over(store: Store) -> Arc<App> {
        let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
        let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
        let snapshot = Snapshot::new(1, Settings::default(), keyring("k1"), services);
        Arc::new(App::new(store, snapshot, Origin::of_defaults()))
    }

    fn root(app: &App, right: Right) -> Authorized {
        app.authorize(right, Caller::local(0)).unwrap()
    }

    /// The runtime's time goes by as soon as everybody waits for it; the writer's thread takes what comes in its turn.
    #[tokio::test(start_paused = true)]
    async fn a_last_use_reaches_the_disk_within_a_minute_again_and_again() {
        let app = app();
        let request = UserRequest {
            email: "anna@example.org".to_owned(),
            name: None,
            password: None,
            groups: Vec::new(),
        };
        let anna = app.create_user(&root(&app, Right::Administrate), request).await.unwrap().id;
        let mut pats = Vec::new();
        for name in ["a", "b", "c"] {
            let wish = Wish { name: name.to_owned(), ..Wish::default() };
            pats.push(app.mint_pat_for(&root(&app, Right::MintForOthers), anna, wish).await.unwrap());
        }
        let _timers = start(&app, true);
        // The first round comes with the start, and finds nothing.
        sleep(Duration::from_secs(1)).await;
        for pat in pats {
            let on_disk = |view: &dyn View| LastUsed::of(view, pat.token.id).unwrap().is_some();
            app.identify(&app.snapshot(), pat.secret.expose(), Right::Open, None).await.unwrap();
            assert!(!on_disk(&*app.view()), "verification does not wait for the disk");
            sleep(WITHIN).await;
            // Whatever was handed to the writer by now has its turn before this.
            app.store().write(|_| Ok::<(), ()>(())).await.unwrap().unwrap();
            assert!(on_disk(&*app.view()));
        }
    }

    /// Counts what the watch over the clock tells the log.
    struct Told(Arc<AtomicU64>);

    impl<S: tracing::Subscriber> Layer<S> for Told {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let is_of_clock = event.metadata().target().ends_with("clock_watch");
            self.0.fetch_add(u64::from(is_of_clock), Ordering::AcqRel);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_falls_behind_and_catches_up_is_told_each_time() {
        let told = Arc::new(AtomicU64::new(0));
        let _log = tracing_subscriber::registry().with(Told(Arc::clone(&told))).set_default();
        let millis = Arc::new(AtomicU64::new(1_800_000_000_000));
        let options = Options { time: TimeSource::Fixed(Arc::clone(&millis)), ..Options::default() };
        let app = over(made_with(&Disk::default(), &options));
        let _timers = start(&app, true);
        let mut so_far = Vec::new();
        for moment in [1_800_000_000_000, 1_700_000_000_000, 1_700_000_000_000, 1_800_000_000_000] {
            app.store().now();
            millis.store(moment, Ordering::Release);
            sleep(UPKEEP_INTERVAL * 2).await;
            so_far.push(told.load(Ordering::Acquire));
        }
        assert_eq!(so_far, [0, 1, 1, 2]);
    }
}
