//! Where connections come from: TCP ports, Unix sockets, and sockets that systemd opened.
//!
//! A Unix socket of ours never exists with other permissions than it is meant to have, is never put in
//! the place of one on which somebody answers, and is removed at a clean stop if it still is ours.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::wire::Socket;
use super::{Door, Peer};

/// Connections that the kernel may hold ready while we are busy.
const BACKLOG: u32 = 1024;

/// All places to listen on, open, and not served yet.
#[derive(Debug, Default)]
pub struct Listeners(pub(super) Vec<Listening>);

/// One place to listen on.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Listener,
    pub(super) door: Door,
    address: Address,
    /// The socket file to remove at the end; none where it is not ours.
    file: Option<SocketFile>,
    /// Whether somebody else keeps the socket open, and hands it to whoever comes after us.
    inherited: bool,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Where clients find a listener, as the line that says so has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://ADDRESS:PORT`, with the port that it really is.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// A socket file that we made, and how to know it again.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why a place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// Another process has it.
    #[error("{0}: somebody answers there already; is another bearerd running?")]
    Taken(Address),
    /// There is a file, and it is no socket.
    #[error("{0}: is in the way, and not a socket; it was left alone")]
    NotASocket(Address),
    /// The operating system refuses.
    #[error("{0}: {1}")]
    Refused(Address, #[source] io::Error),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listeners {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on a TCP port; port 0 takes one that is free. To be called within the runtime.
    pub fn tcp(&mut self, address: SocketAddr) -> Result<(), BindFault> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindFault::Taken(Address::Tcp(address)),
            _ => BindFault::Refused(Address::Tcp(address), error),
        };
        let listener = bind_tcp(address).map_err(refused)?;
        let real = listener.local_addr().map_err(refused)?;
        self.add(Listener::Tcp(listener), Door::Public, Address::Tcp(real), None, false);
        Ok(())
    }

    /// Makes and listens on a Unix socket, in the place of one that nobody answers on any more.
    ///
    /// `mode` is its permissions, such as `0o600`.
    pub async fn unix(&mut self, path: &Path, mode: u32, door: Door) -> Result<(), BindFault> {
        let address = Address::Unix(path.to_owned());
        make_room(path, &address).await?;
        let refused = |error| BindFault::Refused(address.clone(), error);
        let listener = bind_unix(path, mode).map_err(refused)?;
        let file = SocketFile::at(path).map_err(refused)?;
        self.add(Listener::Unix(listener), door, address, Some(file), false);
        Ok(())
    }

    /// Takes over a TCP socket that was opened for us.
    pub fn inherit_tcp(&mut self, listener: StdTcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let address = Address::Tcp(listener.local_addr()?);
        self.add(Listener::Tcp(TcpListener::from_std(listener)?), Door::Public, address, None, true);
        Ok(())
    }

    /// Takes over a Unix socket that was opened for us.
    pub fn inherit_unix(&mut self, listener: StdUnixListener, door: Door) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        let listener = UnixListener::from_std(listener)?;
        self.add(Listener::Unix(listener), door, Address::Unix(path), None, true);
        Ok(())
    }

    fn add(
        &mut self,
        listener: Listener,
        door: Door,
        address: Address,
        file: Option<SocketFile>,
        inherited: bool,
    ) {
        self.0.push(Listening { listener, door, address, file, inherited });
    }

    /// Where clients find each of them.
    pub fn addresses(&self) -> impl Iterator<Item = (Door, &Address)> {
        self.0.iter().map(|listening| (listening.door, &listening.address))
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait for the last connections of the run before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The kernel takes a new socket file's permissions from the socket, less the umask, so that they are
/// narrow enough from the first moment; what the umask took is given back afterwards.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    socket.bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)
}

/// Removes a socket that nobody answers on; leaves alone everything else.
async fn make_room(path: &Path, address: &Address) -> Result<(), BindFault> {
    let refused = |error| BindFault::Refused(address.clone(), error);
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => return Err(BindFault::NotASocket(address.clone())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    }
    match UnixStream::connect(path).await.map_err(|error| (error.kind(), error)) {
        Err((io::ErrorKind::ConnectionRefused, _)) => fs::remove_file(path).map_err(refused),
        Err((io::ErrorKind::NotFound, _)) => Ok(()),
        // Somebody answers, or does not get around to it.
        Ok(_) | Err((io::ErrorKind::WouldBlock, _)) => Err(BindFault::Taken(address.clone())),
        Err((_, error)) => Err(refused(error)),
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let there = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: there.dev(), inode: there.ino() })
    }

    /// Removes the file, unless another has taken its place.
    fn remove(&self) {
        let ours =
            Self::at(&self.path).is_ok_and(|there| there.device == self.device && there.inode == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket file could not be removed");
        }
    }
}

impl Listening {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection, and who is at its other end.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok(tcp(stream, from))
            }
            Listener::Unix(listener) => unix(listener.accept().await?.0),
        }
    }

    /// Stops listening. Returns what had been accepted by the kernel and not by us, whose clients
    /// already believe that they are being served; a socket that is somebody else's keeps those for
    /// whoever comes after us.
    pub(super) fn close(self) -> Vec<(Socket, Peer)> {
        if let Some(file) = &self.file {
            file.remove();
        }
        if self.inherited {
            return Vec::new();
        }
        match self.listener {
            Listener::Tcp(listener) => last_tcp(listener),
            Listener::Unix(listener) => last_unix(listener),
        }
        .unwrap_or_default()
    }
}

fn last_tcp(listener: TcpListener) -> io::Result<Vec<(Socket, Peer)>> {
    let listener = listener.into_std()?;
    let mut last = Vec::new();
    while let Ok((stream, from)) = listener.accept() {
        stream.set_nonblocking(true)?;
        last.push(tcp(TcpStream::from_std(stream)?, from));
    }
    Ok(last)
}

fn last_unix(listener: UnixListener) -> io::Result<Vec<(Socket, Peer)>> {
    let listener = listener.into_std()?;
    let mut last = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        last.push(unix(UnixStream::from_std(stream)?)?);
    }
    Ok(last)
}

fn tcp(stream: TcpStream, from: SocketAddr) -> (Socket, Peer) {
    // Answers are small and complete; waiting to fill a segment only delays them. Without it they come.
    let _ = stream.set_nodelay(true);
    (Socket::Tcp(stream), Peer::Tcp(SocketAddr::new(from.ip().to_canonical(), from.port())))
}

fn unix(stream: UnixStream) -> io::Result<(Socket, Peer)> {
    let who = stream.peer_cred()?;
    Ok((Socket::Unix(stream), Peer::Unix { uid: who.uid(), pid: who.pid() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    async fn bind(path: &Path, mode: u32) -> Result<Listeners, BindFault> {
        let mut listeners = Listeners::new();
        listeners.unix(path, mode, Door::Admin).await.map(|()| listeners)
    }

    #[tokio::test]
    async fn a_socket_has_the_mode_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for wanted in [0o600, 0o660, 0o666] {
            let path = folder.path().join(format!("{wanted:o}.sock"));
            let _listeners = bind(&path, wanted).await.unwrap();
            assert_eq!(mode(&path), wanted);
        }
    }

    #[tokio::test]
    async fn a_socket_is_narrow_before_anybody_can_connect() {
        // What the file's permissions are between its making and the first change of them.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = UnixSocket::new_stream().unwrap();
        fchmod(&socket, Mode::from_raw_mode(0o600)).unwrap();
        socket.bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let live = bind(&path, 0o600).await.unwrap();
        assert!(matches!(bind(&path, 0o600).await, Err(BindFault::Taken(_))));
        drop(live);
        assert!(path.exists(), "dropping is not closing");
        let again = bind(&path, 0o600).await.unwrap();
        for listening in again.0 {
            listening.close();
        }
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, 0o600).await, Err(BindFault::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(bind(&link, 0o600).await, Err(BindFault::NotASocket(_))));
    }

    #[tokio::test]
    async fn a_socket_that_took_the_place_of_ours_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let ours = bind(&path, 0o600).await.unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        let _theirs = bind(&path, 0o600).await.unwrap();
        for listening in ours.0 {
            listening.close();
        }
        assert!(path.exists());
    }

    #[tokio::test]
    async fn port_0_becomes_a_real_one_and_a_taken_one_is_said_to_be() {
        let mut listeners = Listeners::new();
        listeners.tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let (_, address) = listeners.addresses().next().unwrap();
        let Address::Tcp(real) = address.clone() else { panic!("{address}") };
        assert_ne!(real.port(), 0);
        assert_eq!(address.to_string(), format!("http://{real}"));
        assert!(matches!(listeners.tcp(real), Err(BindFault::Taken(_))));
    }
}
