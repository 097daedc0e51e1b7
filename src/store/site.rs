//! What a store is opened on: a directory, or memory. The engine can be opened on it more than once, one
//! handle after the other.

use std::{fs::File, io, path::PathBuf};

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
    medium: Medium,
    cache_bytes: usize,
    disk: Option<Disk>,
}

/// The directory that is locked for us, and the store's file.
#[derive(Debug)]
struct Disk {
    place: Place,
    file: File,
}

impl Site {
    /// The store that lies in a directory.
    pub(crate) fn existing_in(place: Place, options: &Options) -> Result<Self, OpenError> {
        let file = place.open()?;
        Self::on_disk(place, file, options)
    }

    /// A new store in a directory. What can be seen under its name is whole at any moment.
    pub(crate) fn new_in(place: Place, options: &Options, founding: &Founding) -> Result<Self, OpenError> {
        let file = place.begin()?;
        let site = Self::on_disk(place, file, options)?;
        founding
            .make(&site.medium, options.cache_bytes)
            .map_err(|error| OpenError::engine(site.path(), error))?;
        if let Some(Disk { place, file }) = &site.disk {
            place.finish(file)?;
        }
        Ok(site)
    }

    /// A new store on any other medium.
    pub(crate) fn new_on(medium: Medium, options: &Options, founding: &Founding) -> Result<Self, OpenError> {
        let site = Self::on(medium, options);
        founding
            .make(&site.medium, options.cache_bytes)
            .map_err(|error| OpenError::engine(site.path(), error))?;
        Ok(site)
    }

    /// What lies on any other medium.
    pub(crate) const fn on(medium: Medium, options: &Options) -> Self {
        Self { medium, cache_bytes: options.cache_bytes, disk: None }
    }

    fn on_disk(place: Place, file: File, options: &Options) -> Result<Self, OpenError> {
        let ours = file.try_clone().map_err(|error| OpenError::system("open", place.store(), error))?;
        let medium = Medium::file(file).map_err(|error| OpenError::engine(place.store(), error))?;
        Ok(Self { medium, cache_bytes: options.cache_bytes, disk: Some(Disk { place, file: ours }) })
    }

    /// A name for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| PathBuf::from("(memory)"), |disk| disk.place.store())
    }

    /// The store is not whole.
    pub(crate) fn damaged(&self, what: &str) -> OpenError {
        OpenError::Damaged { path: self.path(), what: what.to_owned() }
    }

    /// Finishes what a crash may have left between the naming of a new store and its marking.
    pub(crate) fn settle(&self) -> Result<(), OpenError> {
        match &self.disk {
            Some(disk) => disk.place.mark().and_then(|()| disk.place.sweep()),
            None => Ok(()),
        }
    }

    /// Whether writes would reach the medium.
    pub(crate) fn probe(&self) -> io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.place.probe(&disk.file))
    }

    /// Opens the engine for use. What the pages hold was verified when the store was opened, or is found by
    /// the records' MACs.
    pub(crate) fn open_engine(&self) -> Result<Engine, EngineError> {
        Engine::open(&self.medium, Opening { cache_bytes: self.cache_bytes, dry: false, verify: false })
    }

    /// Opens the engine without writing a byte, verifying every page where the file is small enough.
    pub(crate) fn open_dry(&self, verify_bytes_max: u64) -> Result<Engine, EngineError> {
        let verify = self.medium.len()? <= verify_bytes_max;
        Engine::open(&self.medium, Opening { cache_bytes: self.cache_bytes, dry: true, verify })
    }

    /// Gives the locks back.
    pub(crate) fn release(&self) {
        self.medium.release();
        if let Some(disk) = &self.disk {
            disk.place.release();
        }
    }
}
