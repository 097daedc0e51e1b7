//! A daemon in this process: started as it is started, on files of its own, asked through its router, and at a
//! time that stands where the test puts it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{HeaderMap, Method, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::super::start;
use crate::{
    app::App,
    config::Sources,
    http::{
        body::RequestBody,
        dispatch::Surface,
        server::{Door, Facts, Late, Peer, Request},
    },
    records::By,
    store::TimeSource,
    token::Keyring,
};

/// Addresses that PATs may be bound to begin with this one's network.
const INSIDE: &str = "192.0.2.7:4711";
const OUTSIDE: &str = "198.51.100.9:4711";

/// What whoever asks shows.
#[derive(Clone, Copy)]
pub(super) enum Shows<'a> {
    /// The admin socket.
    Socket,
    Nothing,
    Bearer(&'a str),
    Cookie(&'a str),
}

/// A body, and how it is spelled.
pub(super) enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
}

pub(super) struct House {
    files: TempDir,
    clock: Arc<AtomicU64>,
    /// No start is within the millisecond of another.
    starts: u64,
    runtime: Runtime,
    surface: Option<(Arc<App>, Surface)>,
}

impl House {
    /// The files of a daemon that was never started; none so far.
    pub(super) fn new(now: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(now * 1000));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { files: empty(), clock, starts: 0, runtime, surface: None }
    }

    /// Writes a file that its owner alone reads.
    pub(super) fn write(&self, name: &str, text: &str) {
        use std::io::Write as _;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.files.path().join(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Opens or makes the store and does what belongs to a start; an install token, where one was minted.
    pub(super) fn start(&mut self) -> Option<String> {
        self.starts += 1;
        self.clock.fetch_add(1, Ordering::AcqRel);
        let sources = Sources {
            config: Some(self.files.path().join("bearerd.toml")),
            data: Some(self.files.path().join("data")),
            ..Sources::default()
        };
        let located = sources.locate().unwrap();
        let time = TimeSource::Fixed(Arc::clone(&self.clock));
        let app = Arc::new(start::open_at(sources, located, time).unwrap());
        let minted = self.runtime.block_on(async {
            app.settle_in().await.unwrap();
            if app.wants_install_token().unwrap() {
                Some(app.mint_install_token(By::system(), false).await.unwrap())
            } else {
                None
            }
        });
        self.surface = Some((Arc::clone(&app), Surface::new(app)));
        minted.map(|minted| minted.secret.expose().to_owned())
    }

    /// A clean stop: what waits in memory is written.
    pub(super) fn stop(&mut self) {
        self.runtime.block_on(self.app().flush()).unwrap();
        self.leave();
    }

    fn leave(&mut self) {
        let (app, surface) = self.surface.take().unwrap();
        app.store().close().unwrap();
        drop((app, surface));
    }

    /// kill -9: what lies on the disk while everything is still running is all that there is for the next start. What
    /// was asked of the writer before is done; whatever waits in memory is lost, the time as well.
    pub(super) fn kill(&mut self) {
        self.runtime.block_on(self.app().change_own(|_, _| Ok(()))).unwrap();
        let left = empty();
        copy(self.files.path(), left.path());
        self.leave();
        self.files = left;
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.surface.as_ref().unwrap().0
    }

    /// Runs what only goes on while the daemon does.
    pub(super) fn run<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    pub(super) fn keyring(&self) -> Keyring {
        Keyring::parse(&fs::read_to_string(self.files.path().join("data/keyring")).unwrap()).unwrap()
    }

    pub(super) fn set_clock(&self, now: u64) {
        self.clock.store(now * 1000 + self.starts, Ordering::Release);
    }

    /// What the daemon's timers do when the purge is due.
    pub(super) fn purge(&self) -> u64 {
        self.app().wake_purge();
        self.runtime.block_on(self.app().purge_step()).unwrap()
    }

    /// Asks from outside every range that a token is bound to.
    pub(super) fn ask(&self, shows: Shows<'_>, method: &str, path: &str, body: Body) -> Told {
        self.ask_from(false, shows, method, path, body)
    }

    pub(super) fn ask_from(
        &self,
        inside: bool,
        shows: Shows<'_>,
        method: &str,
        path: &str,
        body: Body,
    ) -> Told {
        let address: SocketAddr = if inside { INSIDE } else { OUTSIDE }.parse().unwrap();
        let mut from = Facts { peer: Peer::Tcp(address), door: Door::Public };
        let mut request = hyper::Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::HOST, "localhost");
        match shows {
            Shows::Socket => from = Facts { peer: Peer::Unix { uid: 0, pid: None }, door: Door::Admin },
            Shows::Nothing => {}
            Shows::Bearer(token) => {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            Shows::Cookie(cookie) => request = request.header(header::COOKIE, cookie),
        }
        let bytes = match body {
            Body::None => Vec::new(),
            Body::Json(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                value.to_string().into_bytes()
            }
            Body::Form(fields) => {
                request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
            }
        };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (_, surface) = self.surface.as_ref().unwrap();
        let request = Request { parts, body: RequestBody::of(bytes), from, late: Late::default() };
        let reply = self.runtime.block_on(surface.answer(request));
        let body = reply.bytes().cloned().unwrap_or_default();
        Told {
            status: reply.status().as_u16(),
            headers: reply.headers().clone(),
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }
}

/// A folder in memory, where there is one.
fn empty() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

/// All files below `from`, with their modes.
fn copy(from: &Path, to: &Path) {
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
