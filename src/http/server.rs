//! Listeners, limits, timeouts and the end: everything of HTTP below the routes.
//!
//! It knows no route and no credential. It hands each request whose head has one reading only to one
//! handler, with what is known of the connection, and writes the reply. Whatever a client does or does
//! not do, its connection ends in bounded time, and nobody can lock the operator out: the admin socket
//! has connections of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use hyper::StatusCode;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::body::RequestBody;
use super::reply::Reply;
use crate::metrics::Connections;
use crate::settings::Settings;

mod connection;
mod crowd;
mod deadline;
mod gate;
mod listeners;
mod wire;

use crowd::{Crowd, Place, Room};
use listeners::Listening;
pub use listeners::{Address, BindFault, Listeners};
use wire::Socket;

/// Connections that the admin socket may have, beside those of everybody else.
const ADMIN_CONNECTIONS_KEPT: usize = 32;
/// Connections that may be told at once that there are too many; one beyond that is closed without a word.
const TURNED_AWAY_KEPT: usize = 32;
/// How long a connection on which nothing has come yet is kept when the server stops: its first request
/// may be on its way.
const GRACE: Duration = Duration::from_millis(250);
/// How long and how much a peer may go on sending after our last word, so that it gets to read that.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long accepting pauses after it failed; most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often at most a failure to accept is logged.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);
/// How long the end waits beyond the drain for connections that are being cut.
const CUT_PAUSE: Duration = Duration::from_secs(1);

/// Which of the daemon's doors a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A TCP port or a Unix socket for applications: a caller is who its credential says.
    Public,
    /// The admin socket: whoever the file system lets open it is an admin.
    Admin,
}

/// Who is at the other end of a connection, as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address; never an IPv4 address in IPv6 form.
    Tcp(SocketAddr),
    /// A local process.
    Unix {
        /// Its user.
        uid: u32,
        /// Its id, where the kernel tells it.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid, .. } => write!(f, "uid {uid}"),
        }
    }
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Who is at its other end.
    pub peer: Peer,
    /// Which door it came through.
    pub door: Door,
}

/// A request as its handler gets it: the head judged, the body not read.
#[derive(Debug)]
pub struct Request {
    /// Method, target, version and headers.
    pub parts: Parts,
    /// The body.
    pub body: RequestBody,
    /// The connection.
    pub from: Facts,
    /// What it is answered if its handler takes too long.
    pub late: Late,
}

/// The status of the answer to a request whose handler was not waited for. Whoever counts answers finds it here
/// when it is dropped; it is empty for one that is dropped unanswered.
pub type Late = Arc<OnceLock<StatusCode>>;

/// How much and how long clients may. Body sizes are each route's own.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The head of a request, the empty line included; at most 1 MiB.
    pub head_bytes_max: usize,
    /// From the end of one request, or from the connection's beginning, to the end of the next head.
    pub head: Duration,
    /// From the end of the head to the reply, but for what comes whole through the admin socket; and for a reply
    /// that its client does not take.
    pub request: Duration,
    /// For a streamed reply whose client takes nothing.
    pub stall: Duration,
    /// For what is in flight when the server stops.
    pub drain: Duration,
    /// Connections at once, but for the admin socket's.
    pub connections_max: usize,
    /// The memory that this process may have, connections and everything else; none where nothing limits it.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// As the settings have them.
    pub fn of(settings: &Settings) -> Self {
        let limits = &settings.limits;
        Self {
            head_bytes_max: limits.header_bytes,
            head: Duration::from_secs(limits.header_seconds),
            request: Duration::from_secs(limits.request_seconds),
            stall: Duration::from_secs(limits.stall_seconds),
            drain: Duration::from_secs(settings.server.drain_seconds),
            connections_max: limits.connections,
            memory_bytes: None,
        }
    }
}

/// What all connections share.
struct Context<H> {
    handler: Arc<H>,
    limits: Limits,
    counts: Arc<Connections>,
    protocol: http1::Builder,
    stop: watch::Receiver<bool>,
    public: Arc<Crowd>,
    admin: Arc<Crowd>,
    turned_away: Arc<Crowd>,
}

/// Serves until `stop` becomes true, or its sender is gone, and everything in flight has ended or had
/// its time to.
///
/// The handler is called once for each request, on the connection's own task: one that panics loses its
/// connection and nothing else; one that takes too long is dropped.
pub async fn serve<H, F>(
    listeners: Listeners,
    limits: Limits,
    counts: Arc<Connections>,
    handler: Arc<H>,
    stop: watch::Receiver<bool>,
) where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let context = Arc::new(Context {
        handler,
        limits,
        counts,
        protocol: connection::protocol(limits.head_bytes_max),
        stop,
        public: Arc::new(Crowd::within_means(limits.connections_max, limits.memory_bytes)),
        admin: Arc::new(Crowd::of(ADMIN_CONNECTIONS_KEPT)),
        turned_away: Arc::new(Crowd::of(TURNED_AWAY_KEPT)),
    });
    if context.public.is_tight {
        let places = context.public.places_max();
        tracing::warn!(
            places,
            wanted = limits.connections_max,
            "too few file descriptors, or too little memory, for all connections"
        );
    }
    let doors: Vec<_> =
        listeners.0.into_iter().map(|door| tokio::spawn(attend_door(door, Arc::clone(&context)))).collect();
    for door in doors {
        // A door's task does not panic; if one did, the others go on.
        let _ = door.await;
    }
    context.drained().await;
}

/// Resolves once the server is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say so: the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Accepts what comes through one door until the server stops.
async fn attend_door<H, F>(door: Listening, context: Arc<Context<H>>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let mut stop = context.stop.clone();
    let mut complained: Option<Instant> = None;
    let crowd = context.crowd(door.door);
    loop {
        let (accepted, kept) = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            next = next(&door, crowd) => next,
        };
        match accepted {
            Ok((socket, peer)) => context.admit(socket, Facts { peer, door: door.door }, kept).await,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                context.counts.accept_failures.fetch_add(1, Ordering::Relaxed);
                if complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
                    complained = Some(Instant::now());
                    tracing::warn!(listener = %door.address(), %error, "a connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let through = door.door;
    for (socket, peer) in door.close() {
        context.admit(socket, Facts { peer, door: through }, None).await;
    }
}

/// The next connection, and the room that was kept for it, if any was.
///
/// Where file descriptors are the limit, there has to be room first: who waits with the kernel costs
/// none, and is served once there is some.
async fn next(door: &Listening, crowd: &Crowd) -> (io::Result<(Socket, Peer)>, Option<Room>) {
    let kept = if crowd.is_tight { crowd.room().await } else { None };
    (door.accept().await, kept)
}

/// Whether a failure to accept is about the connection that came, and says nothing about the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

impl<H> Context<H> {
    fn crowd(&self, door: Door) -> &Arc<Crowd> {
        match door {
            Door::Public => &self.public,
            Door::Admin => &self.admin,
        }
    }

    /// Starts to serve a connection in the room kept for it, or in what somebody idle leaves. If everybody is
    /// being served, it is told so, whatever it asks.
    async fn admit<F>(self: &Arc<Self>, socket: Socket, from: Facts, kept: Option<Room>)
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let place = match kept {
            Some(room) => Some(self.crowd(from.door).seat(room)),
            None => self.place(from.door).await,
        };
        let is_welcome = place.is_some();
        let Some(place) = place.or_else(|| self.turn_away()) else { return };
        let open = Open::count(place, Arc::clone(&self.counts));
        let context = Arc::clone(self);
        tokio::spawn(async move {
            connection::attend(socket, from, context, &open.place.member, is_welcome).await;
            drop(open);
        });
    }

    /// A place for one that came through this door. Beyond what is kept for it the admin socket takes
    /// places like everybody else, and nobody is asked to leave while there is a free one.
    async fn place(&self, door: Door) -> Option<Place> {
        let crowds: &[&Arc<Crowd>] = match door {
            Door::Public => &[&self.public],
            Door::Admin => &[&self.admin, &self.public],
        };
        for crowd in crowds {
            if let Some(room) = crowd.free() {
                return Some(crowd.seat(room));
            }
        }
        for crowd in crowds {
            if let Some(room) = crowd.squeeze_in().await {
                return Some(crowd.seat(room));
            }
        }
        None
    }

    /// A place for one that finds none, until it has read why; none where too many are being told.
    fn turn_away(&self) -> Option<Place> {
        self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        self.turned_away.free().map(|room| self.turned_away.seat(room))
    }

    /// Waits until no connection is left. Each ends itself when the drain does.
    async fn drained(&self) {
        let everybody = async {
            self.public.empty().await;
            self.admin.empty().await;
            self.turned_away.empty().await;
        };
        if timeout(self.limits.drain + CUT_PAUSE, everybody).await.is_err() {
            tracing::warn!("connections were left open at the end");
        }
    }
}

/// A connection that is counted as open until this is dropped, also by a panic.
struct Open {
    counts: Arc<Connections>,
    place: Place,
}

impl Open {
    fn count(place: Place, counts: Arc<Connections>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self { counts, place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}
