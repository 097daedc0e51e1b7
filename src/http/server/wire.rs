//! The bytes of one connection: what comes in passes the gate first, what goes out must not stand still.
//!
//! The HTTP library reads and writes through this. A head is withheld until it was judged; one that is
//! refused is replaced by a request of our own that names no target, so that the refusal is answered in
//! its turn, behind the answers to requests before it, and by the same code as any other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::crowd::Member;
use super::deadline::Deadline;
use super::gate::Gate;
use super::{LINGER, LINGER_BYTES_MAX, Limits};
use crate::http::front::Refusal;

/// The method of the request that stands in for one that was refused. No client can send it: the front
/// lets through nothing but capital letters.
pub(super) const REFUSED: &str = "!";
const STAND_IN: &[u8] = b"! / HTTP/1.1\r\nConnection: close\r\n\r\n";

/// An answer of so many bytes, its head counted, goes out in one piece.
const SMALL_BYTES: usize = 1024;
/// Bytes thrown away at once from a connection that is closing.
const DISCARD_BYTES: usize = 4096;

/// What the two sides of a connection, its bytes and its requests, have to know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Why the connection's last request is refused.
    pub(super) refusal: OnceLock<Refusal>,
    /// Whether the answer that is being written is a stream.
    pub(super) streaming: AtomicBool,
    /// Whether a request has come through.
    opened: AtomicBool,
    /// Whether a head has begun and is not all there.
    underway: AtomicBool,
}

impl Shared {
    /// Whether the connection was accepted and nothing has come since. It may be a request that is on
    /// its way, which must not be lost when the server stops.
    pub(super) fn is_silent(&self) -> bool {
        !self.opened.load(Ordering::Relaxed) && !self.is_underway()
    }

    /// Whether a head has begun and is not all there.
    pub(super) fn is_underway(&self) -> bool {
        self.underway.load(Ordering::Relaxed)
    }
}

/// A stream socket of either family.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    gate: Gate,
    /// Received, and not handed on yet.
    held: Vec<u8>,
    /// How many of the held bytes may be handed on.
    admitted: usize,
    shared: Arc<Shared>,
    member: Arc<Member>,
    limits: Limits,
    head: Deadline,
    write: Deadline,
    closing: Closing,
}

/// How far the connection's end has come.
#[derive(Debug)]
enum Closing {
    /// Open.
    No,
    /// We said our last byte, and wait for the peer's, so that it gets to read ours first.
    Lingering { bytes_left: usize, deadline: Deadline },
}

impl Wire {
    pub(super) fn new(socket: Socket, limits: Limits, shared: Arc<Shared>, member: Arc<Member>) -> Self {
        Self {
            socket,
            gate: Gate::new(limits.head_bytes_max),
            held: Vec::new(),
            admitted: 0,
            shared,
            member,
            limits,
            head: Deadline::default(),
            write: Deadline::default(),
            closing: Closing::No,
        }
    }

    fn is_refused(&self) -> bool {
        self.shared.refusal.get().is_some()
    }

    /// Hands on as much as was admitted and fits.
    fn hand_on(&mut self, into: &mut ReadBuf<'_>) {
        let bytes = self.admitted.min(into.remaining());
        into.put_slice(self.held.get(..bytes).unwrap_or_default());
        self.admitted = self.admitted.saturating_sub(bytes);
        if bytes == self.held.len() {
            // Memory is for those who talk: an idle connection keeps none.
            self.held = Vec::new();
        } else {
            self.held.drain(..bytes);
        }
    }

    /// Judges what is held. A refused head is replaced; a broken body ends the reading.
    fn judge_held(&mut self) -> io::Result<()> {
        match self.gate.admit(&self.held) {
            Ok(bytes) => self.admitted = bytes,
            Err(refusal) if self.gate.is_at_head() => {
                self.refuse(refusal);
                return Ok(());
            }
            Err(refusal) => return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.name())),
        }
        self.note_place();
        Ok(())
    }

    /// Puts a request of our own, which is answered with this refusal, in the place of what is held.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        // The first refusal stands; there is never a second, since nothing is read after it.
        let _ = self.shared.refusal.set(refusal);
        self.held = STAND_IN.to_vec();
        self.admitted = STAND_IN.len();
        self.note_place();
    }

    /// Says how far the reading has come, for the drain; and starts a new wait for each new head.
    fn note_place(&mut self) {
        let underway = self.gate.is_at_head() && self.admitted < self.held.len();
        self.shared.underway.store(underway, Ordering::Relaxed);
        self.shared.opened.store(self.gate.has_opened() || self.is_refused(), Ordering::Relaxed);
        if self.admitted > 0 {
            self.head_came();
        }
    }

    fn head_came(&mut self) {
        self.head.clear();
        self.member.works();
    }

    /// Judges what was just read into `into` beyond `before`, leaving there only what may be handed on.
    fn judge_fresh(&mut self, into: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let fresh = into.filled().get(before..).unwrap_or_default();
        if self.held.is_empty()
            && let Ok(bytes) = self.gate.admit(fresh)
            && bytes > 0
        {
            self.held.extend_from_slice(fresh.get(bytes..).unwrap_or_default());
            into.set_filled(before.saturating_add(bytes));
            self.head_came();
            self.note_place();
            return Ok(());
        }
        self.held.extend_from_slice(fresh);
        into.set_filled(before);
        self.judge_held()
    }

    /// Nothing has come. Ready once a head, or the first byte of one, has been waited for long enough.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // While an answer is still on its way out, it is the writing that is waited for.
        if !self.gate.is_at_head() || self.write.is_set() {
            return Poll::Pending;
        }
        if !self.head.is_set() {
            self.member.idles();
        }
        self.head.poll(context, self.limits.head)
    }

    /// Ready once an answer has stood still for too long: a stream since its last byte went out,
    /// any other since its first one did not.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let streaming = self.shared.streaming.load(Ordering::Relaxed);
        let span = if streaming { self.limits.stall } else { self.limits.request };
        self.write.poll(context, span).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// Writing no longer stands still. If it did, reading did not wait meanwhile, and has to be asked
    /// again to begin to.
    fn moved(&mut self, context: &mut Context<'_>) {
        if self.write.is_set() {
            self.write.clear();
            context.waker().wake_by_ref();
        }
    }

    /// After an attempt to write: either bytes have gone out, or the peer has time to take some.
    fn written<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(result) => {
                if self.shared.streaming.load(Ordering::Relaxed) {
                    self.moved(context);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(context).map(Err),
        }
    }

    /// Throws away what the peer still sends, until it ends or has had its time.
    ///
    /// Closing with bytes unread would make the kernel reset the connection, and the peer could lose
    /// the answer that tells it why.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering { bytes_left, deadline } = &mut self.closing else { return Poll::Ready(()) };
        let mut scrap = [0; DISCARD_BYTES];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.socket).poll_read(context, &mut scrap) {
                Poll::Ready(Ok(())) if !scrap.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return deadline.poll(context, LINGER),
            }
            match bytes_left.checked_sub(scrap.filled().len()) {
                Some(left) => *bytes_left = left,
                None => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        loop {
            if this.admitted == 0 && !this.held.is_empty() && !this.is_refused() {
                // Behind what was handed on, something may wait that was not looked at to its end.
                this.judge_held()?;
            }
            if this.admitted > 0 {
                this.hand_on(into);
                return Poll::Ready(Ok(()));
            }
            if this.is_refused() {
                // The refusal was handed on. The connection ends with its answer, not with a read.
                return Poll::Pending;
            }
            match Pin::new(&mut this.socket).poll_read(context, into) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    ready!(this.poll_patience(context));
                    if this.held.is_empty() {
                        // Nobody is asking anything: the same as if the peer had closed.
                        return Poll::Ready(Ok(()));
                    }
                    this.refuse(Refusal::TooSlow);
                    continue;
                }
            }
            if into.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            this.judge_fresh(into, before)?;
            if into.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(context, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut small = [0; SMALL_BYTES];
        let done = match joined(parts, &mut small) {
            Some(bytes) => Pin::new(&mut this.socket).poll_write(context, bytes),
            None => Pin::new(&mut this.socket).poll_write_vectored(context, parts),
        };
        this.written(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The HTTP library flushes once everything it had to say was written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.moved(context);
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::No) {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            let all_read = this.gate.is_at_head() && this.held.is_empty() && !this.is_refused();
            if all_read || this.member.is_leaving() {
                return Poll::Ready(Ok(()));
            }
            let deadline = Deadline::default();
            this.closing = Closing::Lingering { bytes_left: LINGER_BYTES_MAX, deadline };
        }
        this.poll_linger(context).map(Ok)
    }
}

/// The parts as one, where they fit: a system call for one costs less than one for several.
fn joined<'a>(parts: &[io::IoSlice<'_>], into: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut filled = 0usize;
    for part in parts {
        let end = filled.checked_add(part.len())?;
        into.get_mut(filled..end)?.copy_from_slice(part);
        filled = end;
    }
    into.get(..filled)
}

/// The same call to whichever of the two it is.
macro_rules! either {
    ($self:expr, $method:ident ( $($argument:expr),* )) => {
        match $self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Socket::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read(context, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored(context, parts))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use io::IoSlice;

    use super::*;

    #[track_caller]
    fn check(parts: &[&[u8]], expected: Option<&[u8]>) {
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        assert_eq!(joined(&slices, &mut [0; 4]), expected);
    }

    #[test]
    fn parts_that_fit_become_one_and_others_are_left_as_they_are() {
        check(&[], Some(b""));
        check(&[b"a", b"", b"bcd"], Some(b"abcd"));
        check(&[b"ab", b"cd", b"e"], None);
        check(&[b"abcde"], None);
    }
}
