//! The daemon from its first line to its last: signals, log, store, sockets; then what comes from outside,
//! until it is told to stop; then everything finished and flushed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    Asked, StartError, banner,
    logging::Logging,
    signals::{self, Signal},
    start,
};
use crate::{
    app::App,
    config::{Located, Sources},
    http::{
        dispatch::Surface,
        server::{self, Counts, Door, Limits, Listeners, Request},
    },
    records::By,
    settings::Listen,
};

/// How often notes are brought to the disk: well within the minute that is promised.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// How often refusals are brought to the audit log: well within the ten seconds that are promised. The
/// purge goes on as often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(4);
/// The permissions of a socket for applications: whoever may reach its folder may ask.
const PUBLIC_SOCKET_MODE: u32 = 0o666;
/// The permissions of the admin socket where nothing else is configured: its owner alone.
const ADMIN_SOCKET_MODE: u32 = 0o600;
/// Files are made for their owner alone.
const UMASK: u32 = 0o077;

/// Runs the daemon until it is told to stop.
pub fn serve(asked: &Asked) -> Result<(), StartError> {
    let signals = signals::take_over().map_err(StartError::system("taking over the signals"))?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(UMASK));
    let filter = std::env::var("BEARERD_LOG").ok();
    let _logging = Logging::start(filter.as_deref()).map_err(StartError::Logging)?;
    let sources = start::sources(asked)?;
    let located = sources.locate()?;
    let app = Arc::new(start::open(&located)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("starting the runtime"))?;
    let outcome = runtime.block_on(run(&app, &sources, &located, signals));
    runtime.shutdown_timeout(Duration::from_secs(1));
    app.store().close()?;
    outcome
}

async fn run(
    app: &Arc<App>,
    _sources: &Sources,
    located: &Located,
    signals: mpsc::Receiver<Signal>,
) -> Result<(), StartError> {
    let listeners = listen(located).await?;
    offer_install_token(app, located).await?;
    for (door, address) in listeners.addresses() {
        match door {
            Door::Public => banner::listening(&address.to_string()),
            Door::Admin => tracing::info!(%address, "admin socket"),
        }
    }
    let (stop, stopped) = watch::channel(false);
    let surface = Arc::new(Surface::new(Arc::clone(app)));
    let handler = Arc::new(move |request: Request| {
        let surface = Arc::clone(&surface);
        async move { surface.answer(request).await }
    });
    let limits = Limits::of(&located.settings);
    let serving =
        tokio::spawn(server::serve(listeners, limits, Arc::new(Counts::default()), handler, stopped));
    attend(app, signals).await;
    app.drain();
    tracing::info!("stopping");
    stop.send_replace(true);
    // The server's task ends with the drain; if it panicked there is nothing left to wait for.
    let _ = serving.await;
    if let Err(failure) = app.flush().await {
        tracing::error!(%failure, "what was noted could not be brought to the disk");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits for what comes from outside, and does what is due, until the daemon is told to stop.
async fn attend(app: &Arc<App>, mut signals: mpsc::Receiver<Signal>) {
    let mut flush = interval(FLUSH_INTERVAL);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut upkeep = interval(UPKEEP_INTERVAL);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = signals.recv() => match signal {
                Some(Signal::Reload(origin)) => tracing::info!(?origin, "asked to reload"),
                Some(Signal::Stop) | None => return,
            },
            _ = upkeep.tick() => {
                if let Err(failure) = app.flush_refusals().await {
                    tracing::warn!(%failure, "refusals could not be written to the audit log; they are kept");
                }
                if let Err(failure) = app.purge_step().await {
                    tracing::warn!(%failure, "the purge could not go on; it will");
                }
            }
            _ = flush.tick() => {
                if let Err(failure) = app.flush().await {
                    tracing::warn!(%failure, "what was noted could not be brought to the disk; it is kept");
                }
            }
        }
    }
}

async fn listen(located: &Located) -> Result<Listeners, StartError> {
    let mut listeners = Listeners::new();
    for listen in &located.settings.server.listen {
        match listen {
            Listen::Tcp(address) => listeners.tcp(*address)?,
            Listen::Unix(path) => listeners.unix(path.as_ref(), PUBLIC_SOCKET_MODE, Door::Public).await?,
        }
    }
    let mode = located.settings.server.admin_socket_mode.unwrap_or(ADMIN_SOCKET_MODE);
    listeners.unix(&located.admin_socket, mode, Door::Admin).await?;
    Ok(listeners)
}

/// Where there was never an admin, mints the token that makes one, unless what is said would be kept.
async fn offer_install_token(app: &App, located: &Located) -> Result<(), StartError> {
    if !app.setup_pending()? {
        return Ok(());
    }
    if app.wants_install_token()? && !banner::is_kept() {
        let minted = app.mint_install_token(By::system(), false).await?;
        banner::install_token(&minted, located.settings.server.public_url.as_str());
    } else {
        banner::setup_pending();
    }
    Ok(())
}
