//! The sockets that are listened on: those that the service manager passes, then those of the settings.
//!
//! A socket that is passed under the name `admin` (`FileDescriptorName=admin`) is the admin socket, every
//! other is for applications. What is passed is not opened twice: a configured listener at the same address
//! is passed over, and with any socket for applications so is the default one. A TCP socket that other
//! machines can reach needs `server.allow_remote`, whoever opened it.

use std::{io, net::TcpListener, os::unix::net::UnixListener, path::PathBuf};

use listenfd::ListenFd;

use super::StartError;
use crate::{
    config::Located,
    http::server::{Door, Listeners},
    settings::Listen,
};

/// The name under which the admin socket is passed.
const ADMIN_NAME: &str = "admin";
/// The permissions of a socket for applications: whoever may reach its folder may ask.
const PUBLIC_SOCKET_MODE: u32 = 0o666;
/// The permissions of the admin socket where nothing else is configured: its owner alone.
const ADMIN_SOCKET_MODE: u32 = 0o600;

/// Sockets that the service manager opened.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<PassedSocket>);

#[derive(Debug)]
struct PassedSocket {
    name: String,
    socket: Opened,
}

#[derive(Debug)]
enum Opened {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Passed {
    /// Takes what `$LISTEN_FDS` announces, and the variables away. To be called before there is a second
    /// thread. Anything that is not a listening stream socket is an error.
    pub(super) fn take() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut passed = Vec::new();
        for place in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let refused = StartError::system(format!("the socket {place} ({name:?}) that was passed"));
            let socket = take_one(&mut descriptors, place).map_err(refused)?;
            passed.push(PassedSocket { name, socket });
        }
        Ok(Self(passed))
    }
}

fn take_one(descriptors: &mut ListenFd, place: usize) -> io::Result<Opened> {
    let not_listening = || io::Error::other("is no listening stream socket; a unit needs Accept=no");
    if let Ok(Some(socket)) = descriptors.take_tcp_listener(place) {
        return match rustix::net::sockopt::socket_acceptconn(&socket) {
            Ok(true) => Ok(Opened::Tcp(socket)),
            Ok(false) | Err(_) => Err(not_listening()),
        };
    }
    match descriptors.take_unix_listener(place) {
        Ok(Some(socket)) if rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false) => {
            Ok(Opened::Unix(socket))
        }
        Ok(_) | Err(_) => Err(not_listening()),
    }
}

impl Opened {
    /// Where it listens, as the settings would have it.
    fn listen(&self) -> io::Result<Listen> {
        Ok(match self {
            Self::Tcp(socket) => Listen::Tcp(socket.local_addr()?),
            Self::Unix(socket) => {
                let path = socket.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default();
                Listen::Unix(path.to_string_lossy().into_owned())
            }
        })
    }
}

/// Listens everywhere. To be called within the runtime.
pub(super) async fn open(passed: Passed, located: &Located) -> Result<Listeners, StartError> {
    let mut listeners = Listeners::new();
    let mut there = Vec::new();
    let mut admin_passed = false;
    for PassedSocket { name, socket } in passed.0 {
        let failed = || StartError::system(format!("the socket {name:?} that was passed"));
        let listen = socket.listen().map_err(failed())?;
        if listen.is_remote() && !located.settings.server.allow_remote {
            return Err(crate::config::ConfigError::Remote(listen).into());
        }
        match socket {
            Opened::Tcp(_) if name == ADMIN_NAME => {
                let error = io::Error::other("is a TCP socket; the admin socket is a file");
                return Err(failed()(error));
            }
            Opened::Tcp(socket) => listeners.inherit_tcp(socket).map_err(failed())?,
            Opened::Unix(socket) => {
                let door = if name == ADMIN_NAME { Door::Admin } else { Door::Public };
                admin_passed |= door == Door::Admin;
                listeners.inherit_unix(socket, door).map_err(failed())?;
            }
        }
        if name != ADMIN_NAME {
            there.push(listen);
        }
    }
    for listen in configured(located, &there) {
        match listen {
            Listen::Tcp(address) => listeners.tcp(*address)?,
            Listen::Unix(path) => listeners.unix(path.as_ref(), PUBLIC_SOCKET_MODE, Door::Public).await?,
        }
    }
    if !admin_passed {
        let mode = located.settings.server.admin_socket_mode.unwrap_or(ADMIN_SOCKET_MODE);
        listeners.unix(&located.admin_socket, mode, Door::Admin).await?;
    }
    Ok(listeners)
}

/// The configured listeners that are not there already.
fn configured<'a>(located: &'a Located, there: &'a [Listen]) -> impl Iterator<Item = &'a Listen> {
    let all = &located.settings.server.listen;
    let default_alone = all.as_slice() == [Listen::default()];
    let wanted = if default_alone && !there.is_empty() { &[][..] } else { all.as_slice() };
    wanted.iter().filter(|listen| !there.contains(listen))
}
