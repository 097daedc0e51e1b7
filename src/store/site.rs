//! What a store is opened on: a directory, or memory. The engine can be opened on it more than once, one
//! handle after the other.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Options,
    error::OpenError,
    founding::Founding,
    place::Place,
    redb::{Engine, EngineError, Medium, Opening},
};

/// Where the store's bytes are, and how they are opened.
#[derive(Debug)]
pub(crate) struct Site {
    seat: Mutex<Seat>,
    path: PathBuf,
    cache_bytes: usize,
}

#[derive(Debug)]
struct Seat {
    medium: Medium,
    disk: Option<Disk>,
}

/// The directory that is locked for us, and the store's file.
#[derive(Debug)]
struct Disk {
    place: Place,
    file: File,
}

/// An empty medium beside the store's own.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) medium: Medium,
    file: Option<File>,
}

impl Site {
    /// The store that lies in a directory.
    pub(crate) fn existing_in(place: Place, options: &Options) -> Result<Self, OpenError> {
        let file = place.open()?;
        Self::on_disk(place, file, options)
    }

    /// A new store in a directory. What can be seen under its name is whole at any moment.
    pub(crate) fn new_in(place: &Place, options: &Options, founding: &Founding) -> Result<Self, OpenError> {
        let file = place.begin()?;
        let synced = file.try_clone().map_err(|error| OpenError::system("open", place.store(), error))?;
        let site = Self::on_disk(place.clone(), file, options)?;
        site.found(founding)?;
        place.name_new(&synced)?;
        place.sync()?;
        place.mark()?;
        Ok(site)
    }

    /// A new store on any other medium.
    pub(crate) fn new_on(medium: Medium, options: &Options, founding: &Founding) -> Result<Self, OpenError> {
        let site = Self::on(medium, Path::new("(memory)"), options);
        site.found(founding)?;
        Ok(site)
    }

    /// What lies on any other medium; `path` is for messages.
    pub(crate) fn on(medium: Medium, path: &Path, options: &Options) -> Self {
        let seat = Mutex::new(Seat { medium, disk: None });
        Self { seat, path: path.to_owned(), cache_bytes: options.cache_bytes }
    }

    /// What lies, or will lie, in `file` of a directory.
    pub(crate) fn on_disk(place: Place, file: File, options: &Options) -> Result<Self, OpenError> {
        let path = place.store();
        let ours = file.try_clone().map_err(|error| OpenError::system("open", &path, error))?;
        let medium = Medium::file(file).map_err(|error| OpenError::engine(&path, error))?;
        let seat = Mutex::new(Seat { medium, disk: Some(Disk { place, file: ours }) });
        Ok(Self { seat, path, cache_bytes: options.cache_bytes })
    }

    fn found(&self, founding: &Founding) -> Result<(), OpenError> {
        let made = founding.make(&self.medium(), self.cache_bytes);
        made.map_err(|error| OpenError::engine(&self.path, error))
    }

    /// A name for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the engine makes of it, for the operator.
    pub(crate) fn fault(&self, error: EngineError) -> OpenError {
        OpenError::engine(&self.path, error)
    }

    /// The store is not whole.
    pub(crate) fn damaged(&self, what: &str) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }

    /// Finishes what a crash may have left between the naming of a new store and its marking.
    pub(crate) fn settle(&self) -> Result<(), OpenError> {
        self.seat().disk.as_ref().map_or(Ok(()), |disk| disk.place.settle())
    }

    /// Keeps a copy of the file as it is.
    pub(crate) fn keep_copy(&self, suffix: &str) -> Result<(), OpenError> {
        self.seat().disk.as_ref().map_or(Ok(()), |disk| disk.place.keep_copy(suffix))
    }

    /// Whether writes would reach the medium.
    pub(crate) fn probe(&self) -> io::Result<()> {
        self.seat().disk.as_ref().map_or(Ok(()), |disk| disk.place.probe(&disk.file))
    }

    /// Opens the engine for use. What the pages hold was verified when the store was opened, or is found by
    /// the records' MACs.
    pub(crate) fn open_engine(&self) -> Result<Engine, EngineError> {
        self.open_on(&self.medium())
    }

    /// The same on another medium than the store's own.
    pub(crate) fn open_on(&self, medium: &Medium) -> Result<Engine, EngineError> {
        Engine::open(medium, Opening { cache_bytes: self.cache_bytes, dry: false, verify: false })
    }

    /// Opens the engine without writing a byte, verifying every page where the file is small enough.
    pub(crate) fn open_dry(&self, verify_bytes_max: u64) -> Result<Engine, EngineError> {
        let medium = self.medium();
        let verify = medium.len()? <= verify_bytes_max;
        Engine::open(&medium, Opening { cache_bytes: self.cache_bytes, dry: true, verify })
    }

    /// An empty file beside the store, which may take its place.
    pub(crate) fn beside(&self) -> Result<Beside, OpenError> {
        let seat = self.seat();
        let Some(Disk { place, .. }) = &seat.disk else {
            return Ok(Beside { medium: Medium::memory(), file: None });
        };
        let file = place.begin_new()?;
        let copy = file.try_clone().map_err(|error| OpenError::system("open", &self.path, error))?;
        let medium = Medium::file(copy).map_err(|error| self.fault(error))?;
        Ok(Beside { medium, file: Some(file) })
    }

    /// Gives `beside` the store's name and place; then it is what later engines are opened on. The name is
    /// durable only after a [`Site::sync`].
    pub(crate) fn move_to(&self, beside: Beside) -> Result<(), OpenError> {
        let mut seat = self.seat();
        if let (Some(disk), Some(file)) = (&mut seat.disk, beside.file) {
            disk.place.name_new(&file)?;
            disk.file = file;
        }
        let old = core::mem::replace(&mut seat.medium, beside.medium);
        old.release();
        Ok(())
    }

    /// Makes the names of files durable.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        self.seat().disk.as_ref().map_or(Ok(()), |disk| disk.place.sync())
    }

    /// Removes what was begun beside the store and not finished.
    pub(crate) fn sweep(&self) {
        if let Some(disk) = &self.seat().disk {
            // What stays is swept at the next start.
            let _ = disk.place.sweep();
        }
    }

    /// An empty medium without a name, gone with its last handle.
    pub(crate) fn scratch(&self) -> Result<Medium, OpenError> {
        match &self.seat().disk {
            Some(disk) => Medium::file(disk.place.scratch()?).map_err(|error| self.fault(error)),
            None => Ok(Medium::memory()),
        }
    }

    /// The size of the store in bytes.
    pub(crate) fn bytes(&self) -> Result<u64, EngineError> {
        self.medium().len()
    }

    /// Gives the locks back.
    pub(crate) fn release(&self) {
        let mut seat = self.seat();
        seat.medium.release();
        seat.disk = None;
    }

    fn medium(&self) -> Medium {
        self.seat().medium.clone()
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
