//! From arguments to an open store: everything that can be wrong at start is found here, and said in one
//! clear sentence before anything is served.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use super::{Asked, memory};
use crate::{
    app::{
        App, Failure, Snapshot, random, random_secret,
        reload::{Origin, tell_service},
    },
    config::{
        ConfigError, Loaded, Located, Sources,
        data_directory::{self, DataDirectoryFault},
        locate::Environment,
    },
    http::{server::BindFault, time::rfc3339},
    records::{Fault, Time},
    settings::{Listen, ListenFault},
    store::{Founding, FreshStore, OpenError, Options, Presence, Store, TimeSource, presence},
    token::{Key, KeyId, Keyring},
};

/// The store's cache may take one in so many bytes of a limited memory.
const CACHE_SHARE: u64 = 8;

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// `BEARERD_LOG` is no filter.
    #[error("{0}")]
    Logging(String),
    /// `--listen` is no address.
    #[error("--listen {given}: {fault}")]
    Listen {
        /// What was given.
        given: String,
        /// What is wrong with it.
        fault: ListenFault,
    },
    /// The configuration, a secret or the keyring.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is a store, and no keyring to open it with.
    #[error("{fault}; the store in {} needs key {needs}", dir.display())]
    KeyringMissing {
        /// Where the store is.
        dir: PathBuf,
        /// What is wrong with the keyring.
        fault: ConfigError,
        /// The id of the key that opens the store.
        needs: String,
    },
    /// The data directory.
    #[error("the data directory {}: {fault}", dir.display())]
    DataDirectory {
        /// Which.
        dir: PathBuf,
        /// What is wrong with it.
        fault: DataDirectoryFault,
    },
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What the store holds.
    #[error("the store: {0}")]
    Fault(#[from] Fault),
    /// An operation that belongs to the start.
    #[error("start: {0}")]
    Failure(#[from] Failure),
    /// The clock, at a time that neither tokens nor HTTP have words for.
    #[error("the system's clock stands before the year 1970; set it, then start again")]
    Clock,
    /// The operating system.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What it said.
        error: std::io::Error,
    },
}

impl StartError {
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System { what: what.into(), error }
    }
}

/// Where to look, by what was asked and by the environment.
pub(super) fn sources(asked: &Asked) -> Result<Sources, StartError> {
    let listen = asked.listen.iter().map(|given| {
        Listen::parse(given).map_err(|fault| StartError::Listen { given: given.clone(), fault })
    });
    Ok(Sources {
        config: asked.config.clone(),
        data: asked.data.clone(),
        listen: listen.collect::<Result<_, _>>()?,
        environment: Environment::of_process(),
    })
}

/// Refuses to start while the clock stands before the epoch. No kernel of today lets it be set so, but the HTTP library
/// would panic with each connection.
pub(super) fn refuse_lost_clock(now: SystemTime) -> Result<(), StartError> {
    if now < UNIX_EPOCH { Err(StartError::Clock) } else { Ok(()) }
}

/// Opens the store, or makes it where there is none and never was one, and puts the daemon together.
pub(super) fn open(sources: Sources, located: Located) -> Result<App, StartError> {
    open_at(sources, located, TimeSource::System)
}

/// The same by another clock than the system's.
pub(super) fn open_at(sources: Sources, located: Located, time: TimeSource) -> Result<App, StartError> {
    let (dir, now_ms) = (located.data.as_path(), time.millis());
    let first_start = match presence(dir)? {
        Presence::Absent => true,
        Presence::Present | Presence::GoneMissing => false,
        // Before its keyring is asked for, which it may never have had.
        Presence::Empty => return Err(OpenError::empty(dir).into()),
    };
    let first_keyring = if first_start {
        data_directory::make(dir)
            .map_err(|fault| StartError::DataDirectory { dir: dir.to_owned(), fault })?;
        Some(new_keyring(now_ms)?)
    } else {
        None
    };
    let loaded = located.load(first_keyring.as_ref(), &*random_secret()?).map_err(|fault| {
        let needs = if fault.is_missing_keyring() { Store::needed_key(dir) } else { None };
        match needs {
            Some(needs) => StartError::KeyringMissing { dir: dir.to_owned(), fault, needs },
            None => StartError::Config(fault),
        }
    })?;
    tell(&loaded);
    let queue_operations_max = loaded.settings.limits.writer_queue;
    let options = Options { time, ..options(queue_operations_max, memory::limit()) };
    let store = if first_start {
        let fresh = FreshStore { id: random()?, key: Key::new(*random_secret()?), nonce: random()? };
        let founding = Founding::new(loaded.keyring.current(), fresh, now_ms)?;
        Store::create(dir, &founding, &options)?
    } else {
        Store::open(dir, &loaded.keyring, &options)?
    };
    let Loaded { settings, keyring, services, .. } = loaded;
    let snapshot = Snapshot::new(1, settings, keyring, services);
    Ok(App::new(store, snapshot, Origin { sources, located }))
}

/// How the store is run, in as much memory as there is.
fn options(queue_operations_max: usize, memory_bytes: Option<u64>) -> Options {
    let usual = Options::default();
    let share = memory_bytes.and_then(|bytes| usize::try_from(bytes / CACHE_SHARE).ok());
    let cache_bytes = share.map_or(usual.cache_bytes, |share| usual.cache_bytes.min(share));
    Options { cache_bytes, queue_operations_max, ..usual }
}

/// Says what is allowed and should still be known, and which services are off.
fn tell(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for (service, status) in &loaded.services.status {
        tell_service(service, status);
    }
}

/// A keyring with one key of its own, named by the day.
fn new_keyring(now_ms: u64) -> Result<Keyring, StartError> {
    let day: String = rfc3339(Time::from_unix_millis(now_ms)).chars().take(10).collect();
    let id = KeyId::new(&day).map_err(|_| Failure::Internal)?;
    Keyring::generate(id, &*random_secret()?).map_err(|_| Failure::Internal.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_before_the_epoch_is_refused_and_one_at_the_epoch_is_not() {
        assert!(refuse_lost_clock(UNIX_EPOCH).is_ok());
        assert!(refuse_lost_clock(UNIX_EPOCH - Duration::from_nanos(1)).is_err());
    }

    #[test]
    fn the_cache_takes_its_share_of_a_limited_memory_and_never_more_than_usual() {
        let usual = Options::default().cache_bytes;
        assert_eq!(options(7, None).cache_bytes, usual);
        assert_eq!(options(7, Some(u64::MAX)).cache_bytes, usual);
        assert_eq!(options(7, Some(64 << 20)).cache_bytes, 8 << 20);
        assert_eq!(options(7, None).queue_operations_max, 7);
    }
}
