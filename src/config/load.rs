//! Everything together: what the command line and the environment name is read, judged and complete, or
//! there is an error that says why not. A reload asks the same [`Sources`] again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::keyring::{self, KeyringFileFault};
use super::locate::{self, DataNamedBy, Environment, KeyringPlace, NoCredentials};
use super::secret_file::{self, ReadFault};
use super::services::{self, ServiceMistakes, Services};
use super::warning::{self, Warning};
use super::{ConfigFaults, toml};
use crate::settings::{Listen, Settings};
use crate::store::STORE_FILE;
use crate::token::{Keyring, ServiceSecrets};

/// Where a daemon was told to look, at its start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`; where there is one, they take the place of `server.listen`.
    pub listen: Vec<Listen>,
    /// What the environment says about directories.
    pub environment: Environment,
}

/// The settings, and where things are by them. Nothing but the configuration file was read.
#[derive(Clone, Debug)]
pub struct Located {
    /// The settings.
    pub settings: Settings,
    /// The file that they are from; none where the defaults hold.
    pub config_file: Option<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// What names it.
    pub data_named_by: DataNamedBy,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// What is allowed, and should be told.
    pub warnings: Vec<Warning>,
    environment: Environment,
}

/// Settings, keys and secrets, ready to be put into force.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The root keys.
    pub keyring: Keyring,
    /// The services' secrets, and how it stands with each.
    pub services: Services,
    /// What is allowed, and should be told.
    pub warnings: Vec<Warning>,
    /// At a reload, the settings that were changed and wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration is wrong.
    #[error(transparent)]
    Faults(#[from] ConfigFaults),
    /// The configuration cannot be read.
    #[error("{} {fault}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reading met.
        fault: ReadFault,
    },
    /// Anybody could make anybody an admin: by the file, or by another in its place in an open folder.
    #[error("{} can be written by everybody; take that away with `chmod o-w`", .0.display())]
    EverybodyCanWrite(PathBuf),
    /// The folder's name is not UTF-8, so that no path can be counted from it.
    #[error("the name of the folder of {} is not UTF-8", .0.display())]
    FolderName(PathBuf),
    /// The configuration was there before.
    #[error("{} is not there any more", .0.display())]
    Gone(PathBuf),
    /// `--listen` asks for what the settings forbid.
    #[error("{0} is open to other machines; set `server.allow_remote = true` if that is meant")]
    Remote(Listen),
    /// Applications and admins would meet.
    #[error("{} is the admin socket, where everybody is an admin; applications need another", .0.display())]
    AdminSocketShared(PathBuf),
    /// A credential is configured, and there are none.
    #[error(transparent)]
    NoCredentials(#[from] NoCredentials),
    /// There is no usable keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringFileFault),
    /// A service's secret is wrong, and this is a reload.
    #[error(transparent)]
    Services(#[from] ServiceMistakes),
}

impl ConfigError {
    /// Whether the configuration is not there, rather than something being wrong with it.
    pub const fn is_missing_file(&self) -> bool {
        matches!(self, Self::Unreadable { fault: ReadFault::Missing, .. })
    }

    /// Whether the system does not let this process read the configuration.
    pub const fn is_kept_from_us(&self) -> bool {
        matches!(self, Self::Unreadable { fault: ReadFault::Unreadable(ErrorKind::PermissionDenied), .. })
    }

    /// Whether the keyring is not there, rather than something being wrong with what is there.
    pub fn is_missing_keyring(&self) -> bool {
        use KeyringFileFault as F;
        matches!(self, Self::Keyring(F::Missing(_) | F::ConfiguredMissing(_)))
    }
}

impl Sources {
    /// Reads the configuration, and says where things are by it.
    pub fn locate(&self) -> Result<Located, ConfigError> {
        let config_file = locate::config_file(self.config.as_deref(), &self.environment, is_there);
        let mut settings = config_file.as_deref().map(read_settings).transpose()?.unwrap_or_default();
        if !self.listen.is_empty() {
            settings.server.listen.clone_from(&self.listen);
        }
        if let Some(listen) = settings.server.forbidden_listener() {
            return Err(ConfigError::Remote(listen.clone()));
        }
        let data = locate::data_directory(self.data.as_deref(), &settings, &self.environment);
        let data_named_by = DataNamedBy::of(self.data.as_deref(), &settings, &self.environment);
        let admin_socket = locate::admin_socket(&settings, &self.environment, &data);
        let shared =
            |listen: &Listen| matches!(listen, Listen::Unix(path) if Path::new(path) == admin_socket);
        if settings.server.listen.iter().any(shared) {
            return Err(ConfigError::AdminSocketShared(admin_socket));
        }
        let warnings = warning::of_settings(&settings);
        let environment = self.environment.clone();
        Ok(Located { settings, config_file, data, data_named_by, admin_socket, warnings, environment })
    }

    /// Reads all of it once more, while `running` is in force: the settings that take a restart, and with
    /// them the data directory, stay as they are. `secrets` are those in force. One mistake, and there is an error and no change.
    pub fn reload(
        &self,
        running: &Located,
        secrets: &ServiceSecrets,
        blinding: &[u8; 32],
    ) -> Result<(Located, Loaded), ConfigError> {
        let mut next = self.locate()?;
        if let (Some(before), None) = (&running.config_file, &next.config_file) {
            return Err(ConfigError::Gone(before.clone()));
        }
        let needs_restart = running.settings.needs_restart(&next.settings);
        next.settings = running.settings.reloaded(next.settings);
        next.data.clone_from(&running.data);
        next.admin_socket.clone_from(&running.admin_socket);
        let read = keyring::read(&next.keyring()?)?;
        let readings = services::read(&next.settings.services);
        let warnings = [next.warnings.clone(), read.warnings, readings.warnings.clone()].concat();
        let services = readings.for_reload(blinding, secrets)?;
        let loaded = Loaded {
            settings: next.settings.clone(),
            keyring: read.keyring,
            services,
            warnings,
            needs_restart,
        };
        Ok((next, loaded))
    }
}

impl Located {
    /// The store.
    pub fn store(&self) -> PathBuf {
        self.data.join(STORE_FILE)
    }

    /// Where the keyring is.
    pub fn keyring(&self) -> Result<KeyringPlace, NoCredentials> {
        locate::keyring(&self.settings, &self.environment, &self.data)
    }

    /// Reads keys and secrets for a start. `first` is put in place as the keyring where there is none and
    /// none is configured; it is to be given only where there is no store yet. A service with a mistake is
    /// off. `blinding` are random bytes, used for nothing else.
    pub fn load(&self, first: Option<&Keyring>, blinding: &[u8; 32]) -> Result<Loaded, ConfigError> {
        let place = self.keyring()?;
        let read = match first {
            Some(first) => keyring::read_or_make(&place, first)?,
            None => keyring::read(&place)?,
        };
        let readings = services::read(&self.settings.services);
        let warnings = [self.warnings.clone(), read.warnings, readings.warnings.clone()].concat();
        Ok(Loaded {
            settings: self.settings.clone(),
            keyring: read.keyring,
            services: readings.for_start(blinding),
            warnings,
            needs_restart: Vec::new(),
        })
    }
}

/// Reads and judges one configuration file.
pub fn read_settings(path: &Path) -> Result<Settings, ConfigError> {
    let unreadable = |fault| ConfigError::Unreadable { path: path.to_owned(), fault };
    let file = secret_file::read(path).map_err(unreadable)?;
    if file.access.everybody_can_write() {
        let open = secret_file::open_folder(path).unwrap_or_else(|| path.to_owned());
        return Err(ConfigError::EverybodyCanWrite(open));
    }
    let text = file.text().map_err(unreadable)?;
    let absolute =
        std::path::absolute(path).map_err(|error| unreadable(ReadFault::Unreadable(error.kind())))?;
    let folder = absolute.parent().and_then(Path::to_str);
    let folder = folder.ok_or_else(|| ConfigError::FolderName(path.to_owned()))?;
    toml::parse(text, folder)
        .map_err(|faults| ConfigError::Faults(ConfigFaults { file: path.display().to_string(), faults }))
}

/// What a configuration says about where things are, whatever else is wrong with it; nothing where that cannot
/// be told. For finding a daemon that runs, never for running one.
pub fn read_places(path: &Path) -> Option<Settings> {
    let file = secret_file::read(path).ok()?;
    let table: ::toml::Table = file.text().ok()?.parse().ok()?;
    let folder = std::path::absolute(path).ok()?.parent()?.to_owned();
    let place = |section: &str, key: &str| match table.get(section).and_then(|section| section.get(key)) {
        None => Some(None),
        Some(named) => folder.join(named.as_str()?).to_str().map(|place| Some(place.to_owned())),
    };
    let mut settings = Settings::default();
    settings.server.admin_socket = place("server", "admin_socket")?;
    settings.store.dir = place("store", "dir")?;
    Some(settings)
}

/// Whether there is something to read, or at least something that says so when it is not readable.
fn is_there(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::token::KeyId;

    const BLINDING: [u8; 32] = [7; 32];
    const SECRET: &str = "a-secret-of-exactly-33-characters";

    /// A folder with a configuration, and what is told to a daemon that runs in it.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new(config: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.write("bearerd.toml", config);
            fs::create_dir(place.path("data")).unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
            fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
        }

        fn sources(&self) -> Sources {
            let environment = Environment {
                configuration_directory: Some(self.0.path().to_owned()),
                state_directory: Some(self.path("data")),
                ..Environment::default()
            };
            Sources { environment, ..Sources::default() }
        }

        fn started(&self) -> (Located, Loaded) {
            let located = self.sources().locate().unwrap();
            let loaded = located.load(Some(&keyring("one")), &BLINDING).unwrap();
            (located, loaded)
        }
    }

    fn nothing() -> ServiceSecrets {
        ServiceSecrets::new(&[], crate::token::Key::new([8; 32])).unwrap()
    }

    fn keyring(id: &str) -> Keyring {
        Keyring::generate(KeyId::new(id).unwrap(), b"0123456789abcdef0123456789abcdef").unwrap()
    }

    const SERVICE: &str = "[services.one]\nsecret_file = \"one.secret\"\n";

    #[test]
    fn without_a_configuration_the_defaults_hold() {
        let place = Place::new("");
        fs::remove_file(place.path("bearerd.toml")).unwrap();
        let (located, loaded) = place.started();
        assert_eq!((located.config_file, loaded.settings), (None, Settings::default()));
        assert_eq!(located.data, place.path("data"));
        assert_eq!(located.admin_socket, place.path("data/admin.sock"));
        assert!(place.path("data/keyring").exists());
    }

    #[test]
    fn a_start_has_settings_keys_and_secrets() {
        let place = Place::new(SERVICE);
        place.write("one.secret", SECRET);
        let (located, loaded) = place.started();
        assert_eq!(located.config_file, Some(place.path("bearerd.toml")));
        assert_eq!(loaded.services.secrets.find(SECRET).unwrap().service.as_str(), "one");
        assert_eq!(loaded.keyring.current().id().as_str(), "one");
        assert_eq!(loaded.warnings, []);
        assert_eq!(
            located.load(None, &BLINDING).unwrap().keyring.ids().count(),
            1,
            "the next start finds it"
        );
    }

    #[test]
    fn without_a_keyring_a_store_is_not_opened() {
        let place = Place::new("");
        let located = place.sources().locate().unwrap();
        let error = located.load(None, &BLINDING).unwrap_err();
        assert!(matches!(error, ConfigError::Keyring(KeyringFileFault::Missing(_))), "{error}");
        place.write("bearerd.toml", "[keys]\nfile = \"own\"");
        let located = place.sources().locate().unwrap();
        let error = located.load(Some(&keyring("one")), &BLINDING).unwrap_err();
        assert!(matches!(error, ConfigError::Keyring(KeyringFileFault::ConfiguredMissing(_))), "{error}");
        place.write("bearerd.toml", "[keys]\nfile = \"credential:own\"");
        let located = place.sources().locate().unwrap();
        let error = located.load(Some(&keyring("one")), &BLINDING).unwrap_err();
        assert!(matches!(error, ConfigError::NoCredentials(_)), "{error}");
    }

    #[test]
    fn a_wrong_configuration_names_file_line_and_key() {
        let place = Place::new("[server]\nlisten = [\"0.0.0.0:80\"]\ncolour = 1\n");
        let told = place.sources().locate().unwrap_err().to_string();
        let file = place.path("bearerd.toml").display().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with(&format!("{file}:2: server.listen: \"0.0.0.0:80\" is open")), "{told}");
        assert_eq!(lines[1], format!("{file}:3: server.colour: is not a setting"));
    }

    #[test]
    fn a_configuration_that_is_named_must_be_there_and_safe() {
        let place = Place::new("");
        let mut sources = place.sources();
        sources.config = Some(place.path("other.toml"));
        let error = sources.locate().unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { fault: ReadFault::Missing, .. }), "{error}");
        sources.config = Some(place.path("bearerd.toml"));
        fs::set_permissions(place.path("bearerd.toml"), Permissions::from_mode(0o602)).unwrap();
        let error = sources.locate().unwrap_err();
        assert!(matches!(error, ConfigError::EverybodyCanWrite(_)), "{error}");
    }

    #[test]
    fn what_the_command_line_says_goes_before_the_file() {
        let place = Place::new("[server]\nlisten = [\"127.0.0.1:1\"]\n[store]\ndir = \"/srv\"");
        let mut sources = place.sources();
        sources.data = Some(place.path("own"));
        sources.listen = vec![Listen::parse("127.0.0.1:2").unwrap()];
        let located = sources.locate().unwrap();
        assert_eq!(
            (&located.settings.server.listen, located.store()),
            (&sources.listen, place.path("own/bearerd.redb"))
        );
        sources.listen = vec![Listen::parse("0.0.0.0:2").unwrap()];
        assert!(matches!(sources.locate(), Err(ConfigError::Remote(_))));
        sources.listen = vec![Listen::Unix(place.path("own/admin.sock").to_str().unwrap().to_owned())];
        assert!(matches!(sources.locate(), Err(ConfigError::AdminSocketShared(_))));
    }

    #[test]
    fn a_reload_exchanges_what_it_can_and_names_the_rest() {
        let place = Place::new(SERVICE);
        place.write("one.secret", SECRET);
        let (running, _) = place.started();
        place.write(
            "bearerd.toml",
            "[sessions]\nidle = \"5m\"\n[store]\ndir = \"elsewhere\"\n[server]\nadmin_socket = \"/x\"",
        );
        let (located, loaded) = place.sources().reload(&running, &nothing(), &BLINDING).unwrap();
        assert_eq!(loaded.settings.sessions.idle, 300);
        assert_eq!(loaded.needs_restart, ["server.admin_socket", "store.dir"]);
        assert_eq!((&located.data, &located.admin_socket), (&running.data, &running.admin_socket));
        assert!(loaded.services.status.is_empty(), "the service left the configuration");
        assert_eq!(loaded.services.secrets.find(SECRET), None);
        let (_, again) = place.sources().reload(&located, &nothing(), &BLINDING).unwrap();
        assert_eq!(again.needs_restart, loaded.needs_restart, "told until the restart");
    }

    #[test]
    fn one_mistake_refuses_a_reload() {
        let place = Place::new(SERVICE);
        place.write("one.secret", SECRET);
        let (running, _) = place.started();
        let refused = || place.sources().reload(&running, &nothing(), &BLINDING).unwrap_err();
        place.write("one.secret", "short");
        assert!(matches!(refused(), ConfigError::Services(_)));
        place.write("one.secret", "");
        assert!(
            place.sources().reload(&running, &nothing(), &BLINDING).is_ok(),
            "whoever removes a secret means it"
        );
        place.write("bearerd.toml", "[server");
        assert!(matches!(refused(), ConfigError::Faults(_)));
        fs::remove_file(place.path("bearerd.toml")).unwrap();
        assert!(matches!(refused(), ConfigError::Gone(_)));
        place.write("bearerd.toml", "");
        fs::remove_file(place.path("data/keyring")).unwrap();
        assert!(matches!(refused(), ConfigError::Keyring(KeyringFileFault::Missing(_))));
    }

    #[test]
    fn a_broken_configuration_still_says_where_the_daemon_is() {
        let place = Place::new("[server]\nadmin_socket = \"run/a.sock\"\nunknown = 1\n[store]\ndir = \"d\"");
        let file = place.path("bearerd.toml");
        assert!(read_settings(&file).is_err());
        let places = read_places(&file).unwrap();
        assert_eq!(places.server.admin_socket.as_deref(), place.path("run/a.sock").to_str());
        assert_eq!(places.store.dir.as_deref(), place.path("d").to_str());
        place.write("bearerd.toml", "unknown = 1");
        assert_eq!(read_places(&file), Some(Settings::default()), "it leaves them where they usually are");
        place.write("bearerd.toml", "server = 1");
        assert_eq!(read_places(&file), Some(Settings::default()));
        for lost in ["[server", "[server]\nadmin_socket = 7", "[store]\ndir = [\"d\"]"] {
            place.write("bearerd.toml", lost);
            assert_eq!(read_places(&file), None, "{lost}");
        }
        assert_eq!(read_places(&place.path("nowhere")), None);
    }
}
