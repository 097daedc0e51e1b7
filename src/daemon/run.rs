//! The daemon from its first line to its last: signals, log, store, sockets; then what comes from outside,
//! until it is told to stop; then everything finished and flushed.

use std::{
    io,
    num::NonZero,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Asked, StartError, banner, harden,
    logging::Logging,
    memory,
    signals::{self, Origin, Signal},
    sockets::{self, Passed},
    start,
    systemd::{self, Patience},
    timers,
};
use crate::{
    app::{App, Failure, status::Listener},
    config::Located,
    http::{
        dispatch::Surface,
        server::{self, Address, Door, Limits, Request},
    },
    records::{Actor, By},
};

/// How long a stop waits for a reload that is under way.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);
/// Threads for what blocks, beside those that serve: with fewer, not even one password could be hashed.
const BLOCKING_THREADS_LEAST: usize = 1;

/// Runs the daemon until it is told to stop.
pub fn serve(asked: &Asked) -> Result<(), StartError> {
    let failed = || StartError::system("taking over the signals");
    let signals = signals::take_over().map_err(failed())?;
    let passed = Passed::take()?;
    let signals = signals.listen().map_err(failed())?;
    harden::process();
    let filter = std::env::var("BEARERD_LOG").ok();
    let _logging = Logging::start(filter.as_deref()).map_err(StartError::Logging)?;
    start::refuse_lost_clock(SystemTime::now())?;
    let sources = start::sources(asked)?;
    let located = sources.locate()?;
    let patience = Patience::ask();
    let app = Arc::new(start::open(sources, located.clone())?);
    drop(patience);
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    threads_for(workers.saturating_add(BLOCKING_THREADS_LEAST))
        .map_err(StartError::system("starting threads"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(StartError::system("starting the runtime"))?;
    let outcome = runtime.block_on(run(&app, &located, passed, signals));
    runtime.shutdown_timeout(Duration::from_secs(1));
    // Whatever was acknowledged is on the disk already; with a full one, that is no reason to end otherwise than asked.
    if let Err(error) = app.store().close() {
        tracing::warn!(%error, "the store was left as it stood; the next start goes on from there");
    }
    outcome
}

/// Whether the system lets this process have so many more threads, tried out: the runtime panics where it does not.
fn threads_for(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let closed = gate.lock();
    thread::scope(|scope| {
        // Goes at the end of this block, and with it all the threads.
        let _closed = closed;
        for _ in 0..count {
            thread::Builder::new().spawn_scoped(scope, || drop(gate.lock()))?;
        }
        Ok(())
    })
}

async fn run(
    app: &Arc<App>,
    located: &Located,
    passed: Passed,
    signals: mpsc::Receiver<Signal>,
) -> Result<(), StartError> {
    let listeners = sockets::open(passed, located).await?;
    app.listens_at(
        listeners
            .addresses()
            .map(|(door, address)| Listener {
                admin: door == Door::Admin,
                address: absolute(address).to_string(),
            })
            .collect(),
    );
    app.announce_reloads(systemd::announce);
    let settled = is_settled(app).await?;
    // The admin socket last: whoever waits for where applications ask takes the first lines.
    let (public, admin): (Vec<_>, Vec<_>) =
        listeners.addresses().partition(|(door, _)| *door == Door::Public);
    let addresses = || public.iter().chain(&admin).map(|(_, address)| *address);
    let admin_socket = admin.first().map(|(_, address)| absolute(address));
    offer_install_token(app, addresses().next(), admin_socket.as_ref()).await?;
    for address in addresses() {
        banner::listening(address);
    }
    let (stop, stopped) = watch::channel(false);
    let surface = Arc::new(Surface::new(Arc::clone(app)));
    // A promise is handed from hand to hand before it is kept: as a pointer, since it is large.
    let handler = Arc::new(move |request: Request| {
        let surface = Arc::clone(&surface);
        Box::pin(async move { surface.answer(request).await })
    });
    let limits = Limits { memory_bytes: memory::limit(), ..Limits::of(&located.settings) };
    let counts = Arc::clone(app.metrics().connections());
    let serving = tokio::spawn(server::serve(listeners, limits, counts, handler, stopped));
    systemd::ready(&app.status_line());
    let mut timers = timers::start(app, settled);
    let reloading = attend(app, signals).await;
    systemd::stopping(limits.drain);
    app.drain();
    tracing::info!("stopping");
    stop.send_replace(true);
    if let Some(reloading) = reloading {
        // One that hangs on a file is left to end with the process.
        let _ = timeout(RELOAD_PAUSE, reloading).await;
    }
    // The server's task ends with the drain; if it panicked there is nothing left to wait for.
    let _ = serving.await;
    timers.shutdown().await;
    if let Err(failure) = app.flush().await {
        tracing::warn!(%failure, "last uses and refusals of the last seconds are lost: they could not be brought to the disk");
    }
    tracing::info!("stopped");
    Ok(())
}

/// An address as it is for somebody in another directory, too.
fn absolute(address: &Address) -> Address {
    match address {
        Address::Tcp(address) => Address::Tcp(*address),
        Address::Unix(path) => Address::Unix(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
    }
}

/// Waits for what comes from outside until the daemon is told to stop. One reload at a time; of those that
/// are asked for meanwhile, one follows. Returns the one that is under way.
async fn attend(app: &Arc<App>, mut signals: mpsc::Receiver<Signal>) -> Option<JoinHandle<()>> {
    let mut running: Option<JoinHandle<()>> = None;
    let mut asked: Option<Origin> = None;
    loop {
        tokio::select! {
            signal = signals.recv() => match signal {
                Some(Signal::Reload(origin)) => asked = Some(origin),
                Some(Signal::Stop) | None => return running,
            },
            () = ended(running.as_mut()) => running = None,
        }
        if running.is_none()
            && let Some(origin) = asked.take()
        {
            let app = Arc::clone(app);
            running = Some(tokio::spawn(async move {
                tracing::info!(pid = origin.pid, uid = origin.uid, "asked to reload by SIGHUP");
                // The outcome is in the log, the metrics and the status.
                let _ = app.reload(sender(origin), "signal").await;
            }));
        }
    }
}

/// Resolves when what runs has ended; never where nothing runs.
async fn ended(running: Option<&mut JoinHandle<()>>) {
    match running {
        Some(running) => drop(running.await),
        None => std::future::pending().await,
    }
}

/// The sender of a signal, as the audit log names it.
fn sender(origin: Origin) -> By {
    let actor = origin.uid.map_or(Actor::System, Actor::Local);
    let label = origin.pid.map(|pid| format!("SIGHUP from process {pid}")).unwrap_or_default();
    By { actor, label, ip: None }
}

/// Brings the store up to date with the configuration. A store that takes no writes now is no reason not to
/// serve readers: it is asked again later.
async fn is_settled(app: &App) -> Result<bool, StartError> {
    match app.settle_in().await {
        Ok(()) => Ok(true),
        Err(Failure::Store(error)) => {
            tracing::error!(%error, "the users of services could not be brought up to date yet");
            Ok(false)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Where there was never an admin, mints the token that makes one, unless what is said would be kept.
/// It is shown with the command that uses it at `address`, and the one that mints another over the socket `admin`.
async fn offer_install_token(
    app: &App,
    address: Option<&Address>,
    admin: Option<&Address>,
) -> Result<(), StartError> {
    if !app.setup_pending()? {
        return Ok(());
    }
    if let Some(address) = address
        && app.wants_install_token()?
        && !banner::is_kept()
    {
        match app.mint_install_token(By::system(), false).await {
            Ok(minted) => {
                banner::install_token(&minted, address, admin);
                return Ok(());
            }
            Err(Failure::Store(error)) => tracing::error!(%error, "no install token could be minted"),
            Err(failure) => return Err(failure.into()),
        }
    }
    banner::setup_pending(admin);
    Ok(())
}
