//! The services' secrets, read from where the configuration says, and judged.
//!
//! Each service ends up enabled, off or in a mistake. Off is what an operator can mean: a secret that was
//! taken away. A mistake is what nobody means, and here start and reload part: at the start such a service
//! is off, loudly, and the daemon serves the others; a reload is refused, so that what works goes on working.
//!
//! No message has a secret in it. Secrets leave here only as the MACs of [`ServiceSecrets`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::secret_file::{self, ReadFault, SecretFile};
use super::warning::Warning;
use crate::settings::{SecretSource, Service};
use crate::token::service_secrets::{self, SecretFault, parse_env_file, parse_secret_file};
use crate::token::{Key, ServiceName, ServiceSecrets};

/// The secrets of the services that are on, and how it stands with each.
#[derive(Debug)]
pub struct Services {
    /// What presented secrets are compared with.
    pub secrets: ServiceSecrets,
    /// Every configured service.
    pub status: BTreeMap<ServiceName, ServiceStatus>,
    /// The secrets that were accepted before, at a reload.
    pub kept: Vec<Kept>,
}

/// A secret of a service that was accepted before and still is, and what it was called and is called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The service.
    pub service: ServiceName,
    /// The slot that it was in.
    pub was: String,
    /// The slot that it is in.
    pub is: String,
}

/// How it stands with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceStatus {
    /// Its secrets are accepted.
    Enabled {
        /// What the secrets are called, in the order of their source.
        slots: Vec<String>,
    },
    /// It has none.
    Off(Off),
    /// What should have been its secrets cannot be used.
    Mistake(Mistake),
}

impl ServiceStatus {
    /// Whether its secrets are accepted.
    pub fn is_enabled(&self) -> bool {
        matches!(self, Self::Enabled { .. })
    }
}

/// Why a service is off without anybody's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Off {
    /// Its file is not there.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// Its file has no secret in it.
    #[error("{} has no secret in it", .0.display())]
    Empty(PathBuf),
}

/// Why a service's secrets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The file cannot be read.
    #[error("{} {fault}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reading met.
        fault: ReadFault,
    },
    /// Others could make themselves this service.
    #[error("{} can be written by others than its owner; take that away with `chmod go-w`", .0.display())]
    OthersCanWrite(PathBuf),
    /// What is in the file cannot be used.
    #[error("{}: {fault}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: SecretFault,
    },
    /// Another service has the same secret.
    #[error("it has a secret in common with another service: {}", listed(.0))]
    Shared(Vec<ServiceName>),
}

fn listed(names: &[ServiceName]) -> String {
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

/// Every mistake among the services; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ServiceMistakes(pub Vec<(ServiceName, Mistake)>);

impl fmt::Display for ServiceMistakes {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, mistake)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "services.{name}: {mistake}")?;
        }
        Ok(())
    }
}

/// What was read for each service, and not yet compared with the others.
#[derive(Debug)]
pub struct Readings {
    services: Vec<service_secrets::Service>,
    status: BTreeMap<ServiceName, ServiceStatus>,
    /// What is allowed, and should be told.
    pub warnings: Vec<Warning>,
}

/// Reads the secrets of all services; a file that several of them name is read once.
pub fn read(configured: &BTreeMap<ServiceName, Service>) -> Readings {
    let mut files: BTreeMap<&str, Result<SecretFile, ReadFault>> = BTreeMap::new();
    let mut readings = Readings { services: Vec::new(), status: BTreeMap::new(), warnings: Vec::new() };
    for (name, service) in configured {
        let path = service.source.path();
        let file = files.entry(path).or_insert_with(|| {
            let file = secret_file::read(Path::new(path));
            readings.warnings.extend(file.iter().flat_map(|file| warnings(Path::new(path), file)));
            file
        });
        readings.add(name, &service.source, file.as_ref());
    }
    readings
}

fn warnings(path: &Path, file: &SecretFile) -> impl Iterator<Item = Warning> + use<> {
    let readable = file.access.everybody_can_read().then(|| Warning::Readable(path.to_owned()));
    let stranger = file.access.stranger().map(|user| Warning::Strangers { path: path.to_owned(), user });
    readable.into_iter().chain(stranger)
}

impl Readings {
    fn add(&mut self, name: &ServiceName, source: &SecretSource, file: Result<&SecretFile, &ReadFault>) {
        let status = match judge(source, file) {
            Ok(slots) => {
                let slot_names = slots.iter().map(|slot| slot.name.clone()).collect();
                self.services.push(service_secrets::Service { name: name.clone(), slots });
                ServiceStatus::Enabled { slots: slot_names }
            }
            Err(status) => status,
        };
        self.status.insert(name.clone(), status);
    }

    /// What a start makes of it: every mistake turns its service off. `blinding` are random bytes, used for
    /// nothing else.
    pub fn for_start(mut self, blinding: &[u8; 32]) -> Services {
        loop {
            match ServiceSecrets::new(&self.services, Key::new(*blinding)) {
                Ok(secrets) => return Services { secrets, status: self.status, kept: Vec::new() },
                Err(shared) => self.part(&shared.services.into_iter().collect::<Vec<_>>()),
            }
        }
    }

    /// What a reload makes of it: one mistake refuses the whole.
    pub fn for_reload(
        self,
        blinding: &[u8; 32],
        running: &ServiceSecrets,
    ) -> Result<Services, ServiceMistakes> {
        let kept = self.kept(running);
        let services = Services { kept, ..self.for_start(blinding) };
        let mistakes: Vec<_> =
            services.mistakes().map(|(name, mistake)| (name.clone(), mistake.clone())).collect();
        if mistakes.is_empty() { Ok(services) } else { Err(ServiceMistakes(mistakes)) }
    }

    /// The secrets that `running` accepts for the same service.
    fn kept(&self, running: &ServiceSecrets) -> Vec<Kept> {
        let all = self.services.iter().flat_map(|one| one.slots.iter().map(move |slot| (&one.name, slot)));
        all.filter_map(|(service, slot)| {
            let found = running.find(slot.secret.expose()).filter(|found| found.service == service)?;
            Some(Kept { service: service.clone(), was: found.slot.to_owned(), is: slot.name.clone() })
        })
        .collect()
    }

    /// Turns off the services that share a secret.
    fn part(&mut self, shared: &[ServiceName]) {
        self.services.retain(|service| !shared.contains(&service.name));
        for name in shared {
            let others = shared.iter().filter(|other| *other != name).cloned().collect();
            self.status.insert(name.clone(), ServiceStatus::Mistake(Mistake::Shared(others)));
        }
    }
}

impl Services {
    /// The services that are off by mistake.
    pub fn mistakes(&self) -> impl Iterator<Item = (&ServiceName, &Mistake)> {
        self.status.iter().filter_map(|(name, status)| match status {
            ServiceStatus::Mistake(mistake) => Some((name, mistake)),
            ServiceStatus::Enabled { .. } | ServiceStatus::Off(_) => None,
        })
    }
}

/// The secrets that a file holds for a service; at least one.
fn judge(
    source: &SecretSource,
    file: Result<&SecretFile, &ReadFault>,
) -> Result<Vec<service_secrets::Slot>, ServiceStatus> {
    let path = || PathBuf::from(source.path());
    let mistake = |mistake| Err(ServiceStatus::Mistake(mistake));
    let file = match file {
        Ok(file) => file,
        Err(ReadFault::Missing) => return Err(ServiceStatus::Off(Off::Missing(path()))),
        Err(fault) => return mistake(Mistake::Unreadable { path: path(), fault: *fault }),
    };
    if file.access.others_can_write() {
        return mistake(Mistake::OthersCanWrite(path()));
    }
    let slots = match source {
        SecretSource::SecretFile(_) => parse_secret_file(file.bytes()),
        SecretSource::EnvFile { keys, .. } => parse_env_file(file.bytes(), keys),
    };
    match slots {
        Ok(slots) if slots.is_empty() => Err(ServiceStatus::Off(Off::Empty(path()))),
        Ok(slots) => Ok(slots),
        Err(fault) => mistake(Mistake::Secret { path: path(), fault }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const A: &str = "a-secret-of-exactly-33-characters";
    const B: &str = "b-secret-of-exactly-33-characters";
    const C: &str = "c-secret-of-exactly-33-characters";
    const BLINDING: [u8; 32] = [7; 32];

    fn nothing() -> ServiceSecrets {
        ServiceSecrets::new(&[], Key::new([8; 32])).unwrap()
    }

    fn named(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    /// A folder of secret files, and the services that read them.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            for (name, text) in files {
                folder.write(name, text);
            }
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
            self.chmod(name, 0o600);
        }

        fn chmod(&self, name: &str, mode: u32) {
            fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        }

        /// Services with a secret file of the same name.
        fn read(&self, services: &[&str]) -> Readings {
            let service = |name: &&str| {
                let source = SecretSource::SecretFile(self.path(name).to_str().unwrap().to_owned());
                (named(name), Service { source, groups: Vec::new() })
            };
            read(&services.iter().map(service).collect())
        }
    }

    fn found<'a>(services: &'a Services, secret: &str) -> Option<(&'a str, &'a str)> {
        services.secrets.find(secret).map(|found| (found.service.as_str(), found.slot))
    }

    #[test]
    fn every_secret_of_a_service_is_accepted_under_its_slot() {
        let folder = Folder::new(&[("one", &format!("{A}\n{B}\n")), ("two", C)]);
        let services = folder.read(&["one", "two"]).for_reload(&BLINDING, &nothing()).unwrap();
        assert_eq!(found(&services, A), Some(("one", "line 1")));
        assert_eq!(found(&services, B), Some(("one", "line 2")));
        assert_eq!(found(&services, C), Some(("two", "line 1")));
        assert_eq!(found(&services, "x"), None);
        let slots = vec!["line 1".to_owned(), "line 2".to_owned()];
        assert_eq!(services.status[&named("one")], ServiceStatus::Enabled { slots });
    }

    #[test]
    fn a_secret_that_moves_to_another_line_is_known_again_and_one_of_another_service_is_not() {
        let folder = Folder::new(&[("one", &format!("{A}\n{B}\n")), ("two", C)]);
        let running = folder.read(&["one", "two"]).for_start(&BLINDING);
        folder.write("one", &format!("\n{B}\n{C}\n"));
        folder.write("two", A);
        let next = folder.read(&["one", "two"]).for_reload(&[9; 32], &running.secrets).unwrap();
        let kept = Kept { service: named("one"), was: "line 2".to_owned(), is: "line 2".to_owned() };
        assert_eq!(next.kept, [kept]);
        folder.write("one", &format!("{C}\n{B}\n"));
        let last = folder.read(&["one"]).for_reload(&[7; 32], &next.secrets).unwrap();
        let moved: Vec<_> = last.kept.iter().map(|kept| (kept.was.as_str(), kept.is.as_str())).collect();
        assert_eq!(moved, [("line 3", "line 1"), ("line 2", "line 2")]);
    }

    #[test]
    fn services_share_an_env_file_and_each_takes_its_own_keys() {
        let folder =
            Folder::new(&[(".env", &format!("A={A}\nexport NEW=\"{B}\"\nOLD='{C}'\nOTHER=short\n"))]);
        let env = |keys: &[&str]| Service {
            source: SecretSource::EnvFile {
                path: folder.path(".env").to_str().unwrap().to_owned(),
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            },
            groups: Vec::new(),
        };
        let configured = BTreeMap::from([
            (named("one"), env(&["A"])),
            (named("two"), env(&["NEW", "OLD"])),
            (named("three"), env(&["NONE"])),
        ]);
        let services = read(&configured).for_reload(&BLINDING, &nothing()).unwrap();
        assert_eq!(found(&services, A), Some(("one", "A")));
        assert_eq!(found(&services, C), Some(("two", "OLD")));
        assert_eq!(services.status[&named("three")], ServiceStatus::Off(Off::Empty(folder.path(".env"))));
    }

    #[test]
    fn a_secret_that_was_taken_away_turns_its_service_off_and_nothing_else() {
        let folder = Folder::new(&[("empty", " \n\n"), ("one", A)]);
        let services = folder.read(&["empty", "missing", "one"]).for_reload(&BLINDING, &nothing()).unwrap();
        assert_eq!(services.status[&named("empty")], ServiceStatus::Off(Off::Empty(folder.path("empty"))));
        assert_eq!(
            services.status[&named("missing")],
            ServiceStatus::Off(Off::Missing(folder.path("missing")))
        );
        assert!(services.status[&named("one")].is_enabled());
        assert_eq!(found(&services, ""), None);
    }

    #[test]
    fn a_mistake_is_off_at_the_start_and_refuses_a_reload() {
        let folder = Folder::new(&[("short", &A[1..32]), ("open", B), ("one", A)]);
        folder.chmod("open", 0o620);
        fs::create_dir(folder.path("folder")).unwrap();
        let all = ["short", "open", "folder", "one"];
        let started = folder.read(&all).for_start(&BLINDING);
        let off: Vec<&str> = started.mistakes().map(|(name, _)| name.as_str()).collect();
        assert_eq!(off, ["folder", "open", "short"]);
        assert_eq!(found(&started, A), Some(("one", "line 1")), "the others serve");
        assert_eq!((found(&started, B), found(&started, &A[1..32])), (None, None));
        let refused = folder.read(&all).for_reload(&BLINDING, &nothing()).unwrap_err();
        assert_eq!(refused.0.len(), 3);
        let told = refused.to_string();
        assert!(told.contains("services.short: ") && told.contains("shorter than 32 bytes"), "{told}");
        assert!(told.contains("services.folder: ") && told.contains("is not a regular file"), "{told}");
        assert!(told.contains("services.open: ") && told.contains("chmod go-w"), "{told}");
        assert!(!told.contains(&A[1..20]) && !told.contains(B), "{told}");
    }

    #[test]
    fn services_with_one_secret_are_both_off() {
        let folder =
            Folder::new(&[("one", &format!("{A}\n{B}")), ("two", &format!("{C}\n{A}")), ("three", "")]);
        folder.write("three", &A.to_uppercase());
        let all = ["one", "two", "three"];
        let started = folder.read(&all).for_start(&BLINDING);
        assert_eq!(
            started.status[&named("one")],
            ServiceStatus::Mistake(Mistake::Shared(vec![named("two")]))
        );
        assert_eq!(
            started.status[&named("two")],
            ServiceStatus::Mistake(Mistake::Shared(vec![named("one")]))
        );
        assert_eq!([A, B, C].map(|secret| found(&started, secret)), [None; 3]);
        assert_eq!(found(&started, &A.to_uppercase()), Some(("three", "line 1")));
        let told = folder.read(&all).for_reload(&BLINDING, &nothing()).unwrap_err().to_string();
        assert_eq!(told.lines().count(), 2, "{told}");
    }

    #[test]
    fn a_file_that_everybody_can_read_is_told_once_and_works() {
        let folder = Folder::new(&[("one", A), ("two", B)]);
        folder.chmod("one", 0o644);
        folder.chmod("two", 0o640);
        let readings = folder.read(&["one", "two"]);
        assert_eq!(readings.warnings, [Warning::Readable(folder.path("one"))]);
        assert!(readings.for_reload(&BLINDING, &nothing()).is_ok());
    }
}
