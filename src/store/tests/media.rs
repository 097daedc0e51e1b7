//! A medium that remembers what was durable, and fails on demand.

use std::{
    cell::Cell,
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use super::super::redb::{Backend, Medium};

/// The four things an engine does to a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Read,
    Write,
    SetLen,
    Sync,
}

/// Which deed fails, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Any but reading, where none is named.
    pub(crate) deed: Option<Deed>,
    /// How many of those succeed first.
    pub(crate) after: usize,
    /// Whether all that follow fail too.
    pub(crate) sticky: bool,
    pub(crate) kind: io::ErrorKind,
}

/// What was done since the last sync, and where syncs were.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Sync,
    /// A change was acknowledged.
    Acknowledged(String),
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    recording: bool,
    events: Vec<Event>,
    fault: Option<Fault>,
    struck: bool,
    read_last: Range<usize>,
    /// What cannot be read.
    lost: Range<usize>,
}

/// A handle on the medium; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.lock().bytes = bytes;
        disk
    }

    pub(crate) fn medium(&self) -> Medium {
        Medium::custom(self.clone())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// From here on everything is written down; what lies there at this moment.
    pub(crate) fn record(&self) -> Vec<u8> {
        let mut inner = self.lock();
        inner.recording = true;
        inner.events.clear();
        inner.bytes.clone()
    }

    pub(crate) fn acknowledge(&self, what: &str) {
        self.lock().note(|| Event::Acknowledged(what.to_owned()));
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    pub(crate) fn break_with(&self, fault: Fault) {
        let mut inner = self.lock();
        inner.fault = Some(fault);
        inner.struck = false;
    }

    /// What was read last cannot be read from here on, by anybody; in the writer's thread by
    /// an operation that [`asks`].
    pub(crate) fn lose_what_was_read_last(&self) {
        let mut inner = self.lock();
        inner.lost = inner.read_last.clone();
    }

    pub(crate) fn mend(&self) {
        let mut inner = self.lock();
        inner.fault = None;
        inner.lost = 0..0;
    }

    /// Whether the fault has struck.
    pub(crate) fn struck(&self) -> bool {
        self.lock().struck
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn note(&mut self, event: impl FnOnce() -> Event) {
        if self.recording {
            self.events.push(event());
        }
    }

    fn strike(&mut self, deed: Deed) -> io::Result<()> {
        let Some(fault) = &mut self.fault else { return Ok(()) };
        if fault.deed.is_none_or(|meant| meant == deed) && (fault.deed.is_some() || deed != Deed::Read) {
            if fault.after > 0 {
                fault.after -= 1;
            } else {
                let error = fault.kind.into();
                if !fault.sticky {
                    self.fault = None;
                }
                self.struck = true;
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Backend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.strike(Deed::Read)?;
        let offset = usize::try_from(offset).unwrap();
        let asked = offset..offset + out.len();
        if asked.start < inner.lost.end && inner.lost.start < asked.end && !is_opening() {
            return Err(io::ErrorKind::Other.into());
        }
        let bytes = inner.bytes.get(asked.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        inner.read_last = asked;
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.lock();
        inner.strike(Deed::SetLen)?;
        let len = usize::try_from(len).unwrap();
        inner.bytes.resize(len, 0);
        inner.note(|| Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.strike(Deed::Sync)?;
        inner.note(|| Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.strike(Deed::Write)?;
        let offset = usize::try_from(offset).unwrap();
        inner.bytes[offset..offset + data.len()].copy_from_slice(data);
        inner.note(|| Event::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// A medium that calls somebody before each write.
pub(crate) struct Watched {
    disk: Disk,
    before_write: Box<dyn Fn() + Send + Sync>,
}

impl Watched {
    pub(crate) fn new(before_write: impl Fn() + Send + Sync + 'static) -> Self {
        Self { disk: Disk::default(), before_write: Box::new(before_write) }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Backend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        (self.before_write)();
        self.disk.write(offset, data)
    }
}

thread_local! {
    static ASKS: Cell<bool> = const { Cell::new(false) };
}

/// Asks for what may be lost, in an operation.
pub(crate) fn asks<T>(ask: impl FnOnce() -> T) -> T {
    ASKS.set(true);
    let answer = ask();
    ASKS.set(false);
    answer
}

/// Whether this may be the engine looking at every page, which it does when it is opened in builds with its own
/// checks on, and in no others.
fn is_opening() -> bool {
    std::thread::current().name() == Some("store-writer") && !ASKS.get()
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }
}

/// What may lie on a medium that held `start`, saw `events` and lost its power: all up to the last sync, and
/// of what came after, anything in sectors of 512 bytes.
pub(crate) fn after_power_loss(start: &[u8], events: &[Event], dice: &mut Dice) -> Vec<u8> {
    let synced = events.iter().rposition(|event| matches!(event, Event::Sync)).unwrap_or(0);
    let mut bytes = start.to_vec();
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::SetLen(len) if number < synced || dice.below(2) == 0 => bytes.resize(*len, 0),
            Event::Write(offset, data) => {
                for (sector, part) in data.chunks(512).enumerate() {
                    let at = offset + sector * 512;
                    if (number < synced || dice.below(2) == 0) && at + part.len() <= bytes.len() {
                        bytes[at..at + part.len()].copy_from_slice(part);
                    }
                }
            }
            Event::SetLen(_) | Event::Sync | Event::Acknowledged(_) => {}
        }
    }
    bytes
}
