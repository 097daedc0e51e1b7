//! The store of a daemon that does not run, for the commands that have to work without one.
//!
//! They open the same file and run the same rules as the daemon would. None of them makes a store.

use std::{io, path::PathBuf};

use super::{Common, Exit, Stop};
use crate::{
    app::random_secret,
    config::{
        ConfigError, Located, Sources,
        keyring::KeyringFileFault,
        load::Loaded,
        locate::{DataNamedBy, Environment, NoCredentials},
    },
    records::By,
    store::{OpenError, Options, Presence, Store, presence},
};

/// A store that was opened in the daemon's absence.
pub(super) struct Offline {
    /// The store.
    pub store: Store,
    /// Settings, keys and secrets as the daemon would have them.
    pub loaded: Loaded,
}

/// Where to look, by what the command was told.
pub(super) fn sources(common: &Common) -> Sources {
    Sources {
        config: common.config.clone(),
        data: common.data.clone(),
        listen: Vec::new(),
        environment: Environment::of_process(),
    }
}

/// Where the files of the daemon are, by what the command was told.
pub(super) fn located(common: &Common) -> Result<Located, Stop> {
    sources(common).locate().map_err(|error| Stop::of_config(&error, error.to_string()))
}

/// Settings, keys and secrets, read and judged.
pub(super) fn loaded(located: &Located) -> Result<Loaded, Stop> {
    let blinding = random_secret().map_err(|error| Stop::failed(error.to_string()))?;
    located.load(None, &blinding).map_err(|error| Stop::failed(with_advice(located, &error)))
}

/// What is wrong; of a keyring that is not there, also why it was looked for there and which key the store needs, and
/// of one that only the daemon is given, how a command comes by it.
pub(super) fn with_advice(located: &Located, error: &ConfigError) -> String {
    if let ConfigError::NoCredentials(NoCredentials(name)) = error {
        return format!("{error}. {}", credential_advice(name));
    }
    if !error.is_missing_keyring() {
        return error.to_string();
    }
    let dir = located.data.display();
    if let Some(needs) = Store::needed_key(&located.data) {
        return format!("{error}; the store in {dir} needs key {needs}");
    }
    match error {
        ConfigError::Keyring(KeyringFileFault::Missing(_)) => {
            format!("{error}, or name the data directory that has it. {}", why_there(located))
        }
        error => error.to_string(),
    }
}

/// Why the data directory is where it is, for who expected it elsewhere.
pub(super) fn why_there(located: &Located) -> String {
    let dir = located.data.display();
    let by = match located.data_named_by {
        DataNamedBy::Option => "`--data`",
        DataNamedBy::Setting => "`store.dir`",
        DataNamedBy::StateDirectory => "$STATE_DIRECTORY",
        DataNamedBy::Nothing => {
            return format!(
                "{dir} is the data directory where neither `--data` nor `store.dir` nor $STATE_DIRECTORY names one; \
                 that of the packaged daemon is /var/lib/bearerd"
            );
        }
    };
    format!("{dir} is the data directory because {by} names it")
}

/// How a command comes by what systemd gives to the daemon alone.
fn credential_advice(name: &str) -> String {
    format!(
        "A command is given it by CREDENTIALS_DIRECTORY=DIR, a folder with a file of that name, or by `systemd-run \
         --pipe --wait --same-dir -p LoadCredential={name}:FILE bearerd ...`, with the LoadCredential= or \
         LoadCredentialEncrypted= of the daemon's unit"
    )
}

/// Opens the store that nobody runs.
pub(super) fn open(common: &Common) -> Result<Offline, Stop> {
    let located = located(common)?;
    if presence(&located.data).map_err(cannot_open)? == Presence::Absent {
        let dir = located.data.display();
        return Err(Stop::not_found(format!(
            "no daemon answers, and there is no store in {dir}. `bearerd serve --data {dir}` makes one. {}",
            why_there(&located)
        )));
    }
    let loaded = loaded(&located)?;
    let store = Store::open(&located.data, &loaded.keyring, &Options::default()).map_err(cannot_open)?;
    Ok(Offline { store, loaded })
}

/// Why a store does not open, as an exit code: one that is not there is not found, one that somebody runs is a
/// conflict, and one of somebody else is denied.
#[expect(clippy::needless_pass_by_value, reason = "stands where an error is turned into another")]
pub(super) fn cannot_open(error: OpenError) -> Stop {
    match &error {
        OpenError::Absent(_) => Stop::not_found(error.to_string()),
        OpenError::InUse(_) => Stop { exit: Exit::Conflict, says: error.to_string() },
        error if is_denied(error) => {
            let says = format!("{error}: run this as the daemon's user or as root");
            Stop { exit: Exit::Denied, says }
        }
        _ => Stop::failed(error.to_string()),
    }
}

/// Whether it is the system that does not let this user in.
pub(super) fn is_denied(error: &OpenError) -> bool {
    matches!(error, OpenError::System { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
}

/// Who runs this command, as the audit log names them.
pub(super) fn by() -> By {
    By::local(rustix::process::geteuid().as_raw())
}

/// Whether nothing but a socket was named: that means the daemon behind it, and not whatever store lies in this folder.
pub(super) fn means_a_socket(common: &Common) -> bool {
    names_socket(common) && common.data.is_none() && common.config.is_none()
}

/// Whether a socket was named.
pub(super) fn names_socket(common: &Common) -> bool {
    common.socket.is_some() || Environment::of_process().socket.is_some()
}

/// Lets a command go on to the store itself, if the reason why it got no answer is that no daemon runs.
pub(super) fn in_its_absence(common: &Common, stop: Stop) -> Result<(), Stop> {
    if stop.exit != Exit::Unreachable {
        return Err(stop);
    }
    if means_a_socket(common) {
        let says =
            format!("{}; for the store of a stopped daemon, name that by `--data` or `--config`", stop.says);
        return Err(Stop { says, ..stop });
    }
    Ok(())
}

/// The folder that a file lies in.
pub(super) fn folder(path: &std::path::Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}
