//! Where things are: the configuration, the data directory, the keyring, the admin socket.
//!
//! Functions of what was asked for on the command line, the settings and a part of the environment, so that
//! the daemon and the commands that look for it follow one set of rules. They open nothing.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::settings::{KeyFile, Settings};

/// The configuration that is used when none is named and it is there.
pub const SYSTEM_CONFIG: &str = "/etc/bearerd/bearerd.toml";
/// The admin socket of a daemon that systemd runs.
pub const SYSTEM_ADMIN_SOCKET: &str = "/run/bearerd/admin.sock";
/// The data directory where nothing names another.
pub const LOCAL_DATA: &str = "./bearerd-data";
/// The keyring's name in the data directory.
pub const KEYRING_FILE: &str = "keyring";
/// The admin socket's name in its directory.
pub const ADMIN_SOCKET_FILE: &str = "admin.sock";
const CONFIG_FILE: &str = "bearerd.toml";

/// The part of the environment that says where things are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `$CONFIGURATION_DIRECTORY`, set by systemd.
    pub configuration_directory: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, set by systemd.
    pub state_directory: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY`, set by systemd.
    pub runtime_directory: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`, set by systemd.
    pub credentials_directory: Option<PathBuf>,
    /// `$BEARERD_SOCKET`, the admin socket that commands talk to.
    pub socket: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self::from(|name| env::var_os(name))
    }

    /// What these variables say. One that is empty counts as unset; of several directories, separated by
    /// colons as systemd has them, the first counts.
    pub fn from(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let directory = |name| set(name).and_then(|value| env::split_paths(&value).next());
        Self {
            configuration_directory: directory("CONFIGURATION_DIRECTORY"),
            state_directory: directory("STATE_DIRECTORY"),
            runtime_directory: directory("RUNTIME_DIRECTORY"),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
            socket: set("BEARERD_SOCKET").map(PathBuf::from),
        }
    }
}

/// The configuration file, if there is to be one: the one that was named, whether it is there or not; else
/// the one of systemd's directory, or without such a directory the system's, if `is_there`.
pub fn config_file(
    named: Option<&Path>,
    environment: &Environment,
    is_there: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    // A directory of its own without a file in it is not an invitation to read another instance's.
    let usual = match &environment.configuration_directory {
        Some(directory) => directory.join(CONFIG_FILE),
        None => PathBuf::from(SYSTEM_CONFIG),
    };
    Some(usual).filter(|path| is_there(path))
}

/// The data directory: as named on the command line, else `store.dir`, else systemd's, else
/// [`LOCAL_DATA`].
pub fn data_directory(named: Option<&Path>, settings: &Settings, environment: &Environment) -> PathBuf {
    named_data(named, settings, environment).unwrap_or_else(|| PathBuf::from(LOCAL_DATA))
}

fn named_data(named: Option<&Path>, settings: &Settings, environment: &Environment) -> Option<PathBuf> {
    let configured = || settings.store.dir.as_ref().map(PathBuf::from);
    named.map(Path::to_owned).or_else(configured).or_else(|| environment.state_directory.clone())
}

/// What names the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataNamedBy {
    /// `--data`.
    Option,
    /// `store.dir`.
    Setting,
    /// `$STATE_DIRECTORY`.
    StateDirectory,
    /// Nothing: it is [`LOCAL_DATA`].
    Nothing,
}

impl DataNamedBy {
    /// What goes before what, as [`data_directory`] has it.
    pub fn of(named: Option<&Path>, settings: &Settings, environment: &Environment) -> Self {
        match (named, &settings.store.dir, &environment.state_directory) {
            (Some(_), _, _) => Self::Option,
            (None, Some(_), _) => Self::Setting,
            (None, None, Some(_)) => Self::StateDirectory,
            (None, None, None) => Self::Nothing,
        }
    }
}

/// Where the daemon puts its admin socket: `server.admin_socket`, else systemd's runtime directory, else the
/// data directory.
pub fn admin_socket(settings: &Settings, environment: &Environment, data: &Path) -> PathBuf {
    match (&settings.server.admin_socket, &environment.runtime_directory) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(directory)) => directory.join(ADMIN_SOCKET_FILE),
        (None, None) => data.join(ADMIN_SOCKET_FILE),
    }
}

/// What a command was told about the daemon that it is to talk to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `--socket`.
    pub socket: Option<&'a Path>,
    /// `--config`.
    pub config: Option<&'a Path>,
    /// `--data`.
    pub data: Option<&'a Path>,
}

/// The admin sockets at which a command looks for the daemon, in this order; never empty. `settings` are
/// those of the named configuration, or of the system's if it can be read, or the defaults.
///
/// Whoever names a daemon, by `--socket`, by `--data` or by a configuration that says where its data is,
/// never reaches another one by accident: there are no further places then.
pub fn admin_sockets(asked: Asked<'_>, settings: &Settings, environment: &Environment) -> Vec<PathBuf> {
    if let Some(socket) = asked.socket.or(environment.socket.as_deref()) {
        return vec![socket.to_owned()];
    }
    let named = named_data(asked.data, settings, environment);
    let of_data = named.as_deref().map(|data| admin_socket(settings, environment, data));
    let own_config = asked.config.is_some_and(|config| config != Path::new(SYSTEM_CONFIG));
    let certain = settings.server.admin_socket.is_some()
        || environment.runtime_directory.is_some()
        || asked.data.is_some()
        || (own_config && settings.store.dir.is_some());
    if certain {
        let data = named.as_deref().unwrap_or(Path::new(LOCAL_DATA));
        return vec![admin_socket(settings, environment, data)];
    }
    let usual = [PathBuf::from(SYSTEM_ADMIN_SOCKET), Path::new(LOCAL_DATA).join(ADMIN_SOCKET_FILE)];
    of_data.into_iter().chain(usual).collect()
}

/// Where the keyring is, and what its absence means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringPlace {
    /// The configured file, which must be there.
    Configured(PathBuf),
    /// A systemd credential, which must be there; systemd sees to its permissions.
    Credential(PathBuf),
    /// The data directory's, which is made at the first start.
    Default(PathBuf),
}

impl KeyringPlace {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Configured(path) | Self::Credential(path) | Self::Default(path) => path,
        }
    }
}

/// A credential is configured, and systemd passed none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys.file names the credential {0:?}, but $CREDENTIALS_DIRECTORY is not set; it is set where systemd \
     starts the daemon with LoadCredential= or SetCredential="
)]
pub struct NoCredentials(pub String);

/// Where the keyring is.
pub fn keyring(
    settings: &Settings,
    environment: &Environment,
    data: &Path,
) -> Result<KeyringPlace, NoCredentials> {
    match &settings.keys.file {
        None => Ok(KeyringPlace::Default(data.join(KEYRING_FILE))),
        Some(KeyFile::Path(path)) => Ok(KeyringPlace::Configured(PathBuf::from(path))),
        Some(KeyFile::Credential(name)) => match &environment.credentials_directory {
            Some(directory) => Ok(KeyringPlace::Credential(directory.join(name))),
            None => Err(NoCredentials(name.clone())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from(|asked| {
            variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| OsString::from(value))
        })
    }

    fn settings(text: &str) -> Settings {
        crate::config::toml::parse(text, "/etc/own").unwrap()
    }

    #[test]
    fn systemds_directories_are_the_first_of_their_lists() {
        let read = environment(&[
            ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"),
            ("RUNTIME_DIRECTORY", ""),
            ("BEARERD_SOCKET", "/a:b"),
        ]);
        let expected = Environment {
            state_directory: Some("/var/lib/a".into()),
            socket: Some("/a:b".into()),
            ..Environment::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_configuration_is_the_named_one_or_one_that_is_there() {
        #[track_caller]
        fn check(named: Option<&str>, directory: &[(&str, &str)], there: &[&str], expected: Option<&str>) {
            let is_there = |path: &Path| there.iter().any(|there| Path::new(there) == path);
            let found = config_file(named.map(Path::new), &environment(directory), is_there);
            assert_eq!(found.as_deref(), expected.map(Path::new));
        }
        let own = [("CONFIGURATION_DIRECTORY", "/etc/own")];
        check(Some("/named"), &own, &[SYSTEM_CONFIG], Some("/named"));
        check(None, &own, &["/etc/own/bearerd.toml", SYSTEM_CONFIG], Some("/etc/own/bearerd.toml"));
        check(None, &own, &[SYSTEM_CONFIG], None);
        check(None, &[], &[SYSTEM_CONFIG], Some(SYSTEM_CONFIG));
        check(None, &[], &[], None);
    }

    #[test]
    fn the_data_directory_is_the_first_that_is_named() {
        #[track_caller]
        fn check(
            named: Option<&str>,
            settings: &Settings,
            environment: &Environment,
            expected: (&str, DataNamedBy),
        ) {
            let named = named.map(Path::new);
            let found = data_directory(named, settings, environment);
            let by = DataNamedBy::of(named, settings, environment);
            assert_eq!((found.as_path(), by), (Path::new(expected.0), expected.1));
        }
        let state = environment(&[("STATE_DIRECTORY", "/var/lib/bearerd")]);
        let configured = settings("[store]\ndir = \"/srv\"");
        let (none, nowhere) = (settings(""), environment(&[]));
        check(Some("/named"), &configured, &state, ("/named", DataNamedBy::Option));
        check(None, &configured, &state, ("/srv", DataNamedBy::Setting));
        check(None, &none, &state, ("/var/lib/bearerd", DataNamedBy::StateDirectory));
        check(None, &none, &nowhere, ("./bearerd-data", DataNamedBy::Nothing));
    }

    #[test]
    fn the_daemon_puts_its_admin_socket_where_it_was_told() {
        let runtime = environment(&[("RUNTIME_DIRECTORY", "/run/bearerd")]);
        let told = settings("[server]\nadmin_socket = \"/a.sock\"");
        let data = Path::new("/data");
        assert_eq!(admin_socket(&told, &runtime, data), Path::new("/a.sock"));
        assert_eq!(admin_socket(&settings(""), &runtime, data), Path::new("/run/bearerd/admin.sock"));
        assert_eq!(admin_socket(&settings(""), &environment(&[]), data), Path::new("/data/admin.sock"));
    }

    #[test]
    fn a_command_finds_the_daemon_that_was_named_and_no_other() {
        #[track_caller]
        fn check(asked: [Option<&str>; 3], text: &str, variables: &[(&str, &str)], expected: &[&str]) {
            let [socket, config, data] = asked.map(|path| path.map(Path::new));
            let found =
                admin_sockets(Asked { socket, config, data }, &settings(text), &environment(variables));
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
        let usual = [SYSTEM_ADMIN_SOCKET, "./bearerd-data/admin.sock"];
        let own = Some("/etc/own/bearerd.toml");
        let system = Some(SYSTEM_CONFIG);
        let placed = "[store]\ndir = \"/srv\"";
        let told = "[server]\nadmin_socket = \"/told.sock\"";
        check([None, None, None], "", &[], &usual);
        check([Some("/s"), own, Some("/d")], told, &[("BEARERD_SOCKET", "/e")], &["/s"]);
        check([None, own, Some("/d")], told, &[("BEARERD_SOCKET", "/e")], &["/e"]);
        check([None, own, Some("/d")], told, &[], &["/told.sock"]);
        check([None, None, None], told, &[], &["/told.sock"]);
        check([None, None, Some("/d")], "", &[], &["/d/admin.sock"]);
        check([None, None, Some("/d")], placed, &[], &["/d/admin.sock"]);
        check([None, own, None], placed, &[], &["/srv/admin.sock"]);
        check([None, system, None], placed, &[], &["/srv/admin.sock", usual[0], usual[1]]);
        check([None, None, None], placed, &[], &["/srv/admin.sock", usual[0], usual[1]]);
        check([None, own, None], "", &[], &usual);
        check([None, None, None], "", &[("RUNTIME_DIRECTORY", "/run/b")], &["/run/b/admin.sock"]);
        check([None, None, None], "", &[("STATE_DIRECTORY", "/v")], &["/v/admin.sock", usual[0], usual[1]]);
    }

    #[test]
    fn the_keyring_is_the_configured_one_or_the_data_directorys() {
        let credentials = environment(&[("CREDENTIALS_DIRECTORY", "/run/credentials/bearerd.service")]);
        let data = Path::new("/data");
        let place = |text: &str, environment: &Environment| keyring(&settings(text), environment, data);
        assert_eq!(place("", &credentials), Ok(KeyringPlace::Default("/data/keyring".into())));
        assert_eq!(
            place("[keys]\nfile = \"k\"", &credentials),
            Ok(KeyringPlace::Configured("/etc/own/k".into()))
        );
        let credential = "[keys]\nfile = \"credential:keys\"";
        let expected = KeyringPlace::Credential("/run/credentials/bearerd.service/keys".into());
        assert_eq!(place(credential, &credentials), Ok(expected));
        assert_eq!(place(credential, &environment(&[])), Err(NoCredentials("keys".to_owned())));
    }
}
