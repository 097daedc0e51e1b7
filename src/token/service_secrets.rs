//! Service secrets: configured, shared by hand, and accepted from a caller that nobody logged in.
//!
//! Two readers of file text (one secret a line; keys of a `.env` file), and the table that tells which
//! service a presented secret is. Several secrets of one service are accepted side by side, so that a
//! rotation has an overlap. Files, their modes and when they are read are not known here; nor does
//! the table keep the secrets: it keeps their MACs under a key that the process made for itself.
//!
//! What holds of every secret: white space around it is not part of it, nothing left means that it is
//! not there, and it has 32 to 4096 visible ASCII characters, as nothing else can be sent as a bearer. Nor
//! is it spelled like a token of ours: that is looked up as one.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

pub use super::dotenv::EnvFault;
use super::dotenv::assignments;
use super::secret::{Key, Secret, same};
use super::text::{PRESENTED_BYTES_MAX, Spelling, spelling};

/// The shortest secret: what is shorter was made up by somebody.
pub const SECRET_BYTES_MIN: usize = 32;
/// The longest secret: as long as anything that can be presented.
pub const SECRET_BYTES_MAX: usize = PRESENTED_BYTES_MAX;
/// Secrets of one service at the same time.
pub const SLOTS_MAX: usize = 16;
/// Characters in the name of a service.
pub const SERVICE_NAME_CHARS_MAX: usize = 63;

/// The name of a configured service: `[a-z][a-z0-9-]{0,62}`. Its user is `NAME@system.local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// The text cannot be the name of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 characters of a-z, 0-9 and -, the first a letter")]
pub struct NotAServiceName;

impl ServiceName {
    /// Takes a name.
    pub fn new(name: &str) -> Result<Self, NotAServiceName> {
        let is_name = (1..=SERVICE_NAME_CHARS_MAX).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_name { Ok(Self(name.to_owned())) } else { Err(NotAServiceName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NotAServiceName;

    fn try_from(name: String) -> Result<Self, NotAServiceName> {
        Self::new(&name)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

/// One secret of a service, and where it stands: `line 2` of its file, or its key in a `.env` file.
#[derive(Debug)]
pub struct Slot {
    /// What operators and metrics call it.
    pub name: String,
    /// The secret itself.
    pub secret: Secret,
}

/// Why a file's secrets cannot be used. No message quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// The file is not UTF-8.
    #[error("not text in UTF-8")]
    NotText,
    /// Fewer than [`SECRET_BYTES_MIN`].
    #[error("{slot}: the secret is shorter than 32 bytes")]
    TooShort {
        /// Which one.
        slot: String,
    },
    /// More than [`SECRET_BYTES_MAX`].
    #[error("{slot}: the secret is longer than 4096 bytes")]
    TooLong {
        /// Which one.
        slot: String,
    },
    /// White space inside, a control character, or anything beyond ASCII: it could never be presented.
    #[error("{slot}: the secret has characters that no caller can send (visible ASCII only)")]
    Unpresentable {
        /// Which one.
        slot: String,
    },
    /// A token of ours, of this daemon or of another: as a bearer it would be taken for that, and be nobody's.
    #[error(
        "{slot}: the secret is spelled like a token of bearerd, and would be taken for one; make another"
    )]
    LikeAToken {
        /// Which one.
        slot: String,
    },
    /// More than [`SLOTS_MAX`].
    #[error("more than 16 secrets")]
    TooMany,
    /// The `.env` file, or a value in it, cannot be read as Compose reads it.
    #[error(transparent)]
    Env(#[from] EnvFault),
}

/// Reads a file that has one secret a line. No secret at all is no mistake: the service is off.
///
/// Every line counts, one that begins with `#` too. A secret that stands there twice is one.
pub fn parse_secret_file(file: &[u8]) -> Result<Vec<Slot>, SecretFault> {
    let text = str::from_utf8(file).map_err(|_| SecretFault::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut slots = Vec::new();
    for (number, line) in (1..=usize::MAX).zip(text.lines()) {
        add(&mut slots, || format!("line {number}"), line)?;
    }
    Ok(slots)
}

/// Reads the asked keys of a `.env` file, quoted as Docker Compose has it, in the order they are asked
/// for. A key that is absent or empty is no mistake. Where Compose would put in the value of another
/// variable is one.
pub fn parse_env_file(file: &[u8], keys: &[String]) -> Result<Vec<Slot>, SecretFault> {
    let text = str::from_utf8(file).map_err(|_| SecretFault::NotText)?;
    let assignments: Vec<_> = assignments(text).collect::<Result<_, _>>()?;
    let mut slots = Vec::new();
    for key in keys {
        if let Some(assignment) = assignments.iter().rfind(|assignment| assignment.key == key) {
            add(&mut slots, || key.clone(), &assignment.value()?)?;
        }
    }
    Ok(slots)
}

/// Adds a secret to those before it, unless nothing is left of it or it is there.
fn add(slots: &mut Vec<Slot>, name: impl Fn() -> String, text: &str) -> Result<(), SecretFault> {
    let text = text.trim();
    let is_there = |slot: &Slot| same(slot.secret.expose().as_bytes(), text.as_bytes());
    if text.is_empty() || slots.iter().any(is_there) {
        return Ok(());
    }
    if text.len() < SECRET_BYTES_MIN {
        return Err(SecretFault::TooShort { slot: name() });
    }
    if text.len() > SECRET_BYTES_MAX {
        return Err(SecretFault::TooLong { slot: name() });
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretFault::Unpresentable { slot: name() });
    }
    if matches!(spelling(text), Spelling::Ours(_)) {
        return Err(SecretFault::LikeAToken { slot: name() });
    }
    if slots.len() == SLOTS_MAX {
        return Err(SecretFault::TooMany);
    }
    slots.push(Slot { name: name(), secret: Secret::new(text.to_owned()) });
    Ok(())
}

/// A configured service and the secrets that were read for it; without any it is off.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its secrets, in the order of their source.
    pub slots: Vec<Slot>,
}

/// Services that have a secret in common, so that a caller presenting it could be either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these services share a secret: {}", names(.services))]
pub struct SharedSecret {
    /// All that share one with any other.
    pub services: BTreeSet<ServiceName>,
}

fn names(services: &BTreeSet<ServiceName>) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

/// The secrets of all services, ready to be compared with.
pub struct ServiceSecrets {
    blinding: Key,
    entries: Vec<Entry>,
    some_like_a_broken_token: bool,
}

/// One slot: whose it is, and the MAC of its secret.
struct Entry {
    service: ServiceName,
    slot: String,
    blinded: [u8; 32],
}

/// The slot whose secret was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundSlot<'a> {
    /// The service that the caller is.
    pub service: &'a ServiceName,
    /// The name of the slot, for its last use.
    pub slot: &'a str,
}

impl fmt::Debug for ServiceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots()).finish()
    }
}

impl ServiceSecrets {
    /// Takes the MACs of all secrets under `blinding`, random bytes that this process keeps to itself.
    /// The secrets may be dropped then.
    pub fn new(services: &[Service], blinding: Key) -> Result<Self, SharedSecret> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut shared = BTreeSet::new();
        let mut some_like_a_broken_token = false;
        for Service { name, slots } in services {
            for Slot { name: slot, secret } in slots {
                some_like_a_broken_token |= matches!(spelling(secret.expose()), Spelling::OursBroken(_));
                let blinded = blinding.mac(&[secret.expose().as_bytes()]);
                for other in entries.iter().filter(|other| other.service != *name) {
                    if same(&other.blinded, &blinded) {
                        shared.extend([name.clone(), other.service.clone()]);
                    }
                }
                entries.push(Entry { service: name.clone(), slot: slot.clone(), blinded });
            }
        }
        if shared.is_empty() {
            Ok(Self { blinding, entries, some_like_a_broken_token })
        } else {
            Err(SharedSecret { services: shared })
        }
    }

    /// Every slot, in the order of configuration.
    pub fn slots(&self) -> impl Iterator<Item = FoundSlot<'_>> {
        self.entries.iter().map(|entry| FoundSlot { service: &entry.service, slot: &entry.slot })
    }

    /// Whether any of them has the outline of a token of ours that was never minted. Where none has, a token
    /// with a typo in it is nobody's secret, and need not be compared with any.
    pub fn has_one_like_a_broken_token(&self) -> bool {
        self.some_like_a_broken_token
    }

    /// Whose secret this is, if anybody's.
    ///
    /// It compares the MAC of what was presented with that of every slot and stops at none, and it
    /// selects without a branch: its time depends on the length of what was presented, which the caller
    /// knows, and on nothing else.
    pub fn find(&self, presented: &str) -> Option<FoundSlot<'_>> {
        const NOBODY: u32 = u32::MAX;
        if presented.len() > SECRET_BYTES_MAX {
            return None;
        }
        let presented = self.blinding.mac(&[presented.as_bytes()]);
        let mut found = NOBODY;
        for (place, entry) in (0..NOBODY).zip(&self.entries) {
            found.conditional_assign(&place, entry.blinded.ct_eq(&presented));
        }
        let entry = self.entries.get(usize::try_from(found).ok()?)?;
        Some(FoundSlot { service: &entry.service, slot: &entry.slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "an-Old-Secret-of-40-characters-or-so-000";
    const B: &str = "another-Secret-of-40-characters-or-so-00";
    const C: &str = "a-third-Secret-of-40-characters-or-so-00";

    fn name(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    fn seen(slots: &[Slot]) -> Vec<(&str, &str)> {
        slots.iter().map(|slot| (slot.name.as_str(), slot.secret.expose())).collect()
    }

    #[track_caller]
    fn lines(text: &str, expected: &[(&str, &str)]) {
        assert_eq!(seen(&parse_secret_file(text.as_bytes()).unwrap()), expected, "{text:?}");
    }

    #[test]
    fn only_a_secret_with_the_outline_of_a_token_is_like_a_broken_one() {
        let (minted, broken) = like_a_token();
        for (secret, is_like) in [(A, false), (minted.expose(), false), (broken.as_str(), true)] {
            let slot = Slot { name: "line 1".to_owned(), secret: Secret::new(secret.to_owned()) };
            let services = [Service { name: name("a"), slots: vec![slot] }];
            let secrets = ServiceSecrets::new(&services, Key::new([1; 32])).unwrap();
            assert_eq!(secrets.has_one_like_a_broken_token(), is_like, "{secret}");
            assert!(secrets.find(secret).is_some(), "{secret}");
        }
    }

    #[test]
    fn a_secret_file_has_one_secret_a_line() {
        lines("", &[]);
        lines(" \n\t\r\n\u{a0}\n", &[]);
        lines(A, &[("line 1", A)]);
        lines(&format!("\u{feff}{A}\r\n"), &[("line 1", A)]);
        lines(&format!("\n  {A}\t\n\n{B}\n"), &[("line 2", A), ("line 4", B)]);
        lines(&format!("{A}\n{B}\n{A}\n"), &[("line 1", A), ("line 2", B)]);
        lines(&format!("#{A}"), &[("line 1", &format!("#{A}"))]);
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows of a table read better")]
    fn fault(file: impl AsRef<[u8]>, expected: SecretFault) {
        let fault = parse_secret_file(file.as_ref()).unwrap_err();
        assert_eq!(fault, expected);
        assert!(!fault.to_string().contains("ecret-of"), "a message never quotes a secret");
    }

    #[test]
    fn a_secret_has_32_to_4096_visible_characters() {
        let slot = || "line 1".to_owned();
        lines(&"x".repeat(32), &[("line 1", &"x".repeat(32))]);
        fault("x".repeat(31), SecretFault::TooShort { slot: slot() });
        fault(format!(" {} ", "x".repeat(31)), SecretFault::TooShort { slot: slot() });
        fault(format!("{A}\nx"), SecretFault::TooShort { slot: "line 2".to_owned() });
        lines(&"x".repeat(4096), &[("line 1", &"x".repeat(4096))]);
        fault("x".repeat(4097), SecretFault::TooLong { slot: slot() });
        for inside in [" ", "\t", "\0", "\x7f", "é", "\u{feff}", "\r"] {
            fault(format!("{A}{inside}{A}"), SecretFault::Unpresentable { slot: slot() });
        }
        fault([A.as_bytes(), b"\xff"].concat(), SecretFault::NotText);
    }

    /// A text that is spelled like a token of ours, and the same with a typo in it.
    fn like_a_token() -> (Secret, String) {
        let minted = crate::token::text::mint(
            &crate::token::Prefix::default(),
            crate::token::Kind::Pat,
            crate::token::TokenId::from_parts(1, [1; 10]),
            &[7; 32],
        );
        let mut broken = minted.expose().to_owned();
        let last = broken.pop();
        broken.push(if last == Some('0') { '1' } else { '0' });
        (minted, broken)
    }

    #[test]
    fn a_secret_that_is_spelled_like_a_token_of_ours_is_a_mistake() {
        let (minted, broken) = like_a_token();
        let (minted, slot) = (minted.expose(), |name: &str| name.to_owned());
        fault(minted, SecretFault::LikeAToken { slot: slot("line 1") });
        fault(format!("{A}\n {minted}\r\n"), SecretFault::LikeAToken { slot: slot("line 2") });
        env(&format!("NEW={minted}"), &["NEW"], Err(SecretFault::LikeAToken { slot: slot("NEW") }));
        lines(&broken, &[("line 1", &broken)]);
        lines(&format!("{minted}0"), &[("line 1", &format!("{minted}0"))]);
        let shown = SecretFault::LikeAToken { slot: slot("line 1") };
        assert!(!format!("{shown} {shown:?}").contains("bdr_"));
    }

    #[test]
    fn a_service_has_at_most_16_secrets() {
        let file = |count: usize| {
            vec![A; count]
                .iter()
                .zip(0..)
                .map(|(a, number)| format!("{a}{number}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(parse_secret_file(file(16).as_bytes()).unwrap().len(), SLOTS_MAX);
        fault(file(17), SecretFault::TooMany);
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows of a table read better")]
    fn env(text: &str, keys: &[&str], expected: Result<&[(&str, &str)], SecretFault>) {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let slots = parse_env_file(text.as_bytes(), &keys);
        assert_eq!(slots.as_deref().map(seen), expected.as_ref().map(|slots| slots.to_vec()), "{text:?}");
    }

    #[test]
    fn an_env_file_has_a_secret_for_each_key_that_is_asked_for() {
        env("", &["NEW", "OLD"], Ok(&[]));
        env("NEW=\nOLD=''\n", &["NEW", "OLD"], Ok(&[]));
        env(&format!("OLD={A}\nOTHER=x\nNEW=\"{B}\"\n"), &["NEW", "OLD"], Ok(&[("NEW", B), ("OLD", A)]));
        env(&format!("OLD={A}\nNEW=\n"), &["NEW", "OLD"], Ok(&[("OLD", A)]));
        env(&format!("NEW={A}\nOLD={A}\n"), &["NEW", "OLD"], Ok(&[("NEW", A)]));
        env(
            &format!("NEW={A}\nNEW= # {B}\n"),
            &["NEW"],
            Err(SecretFault::Unpresentable { slot: "NEW".into() }),
        );
        env(&format!("NEW=\"\\t {A}\\n\"\n"), &["NEW"], Ok(&[("NEW", A)]));
        env(&format!("export NEW='{A}' # today's\n"), &["NEW"], Ok(&[("NEW", A)]));
    }

    #[test]
    fn a_mistake_in_an_env_file_is_no_empty_secret() {
        env("NEW=short", &["NEW"], Err(SecretFault::TooShort { slot: "NEW".into() }));
        env(&format!("NEW={A}$x"), &["NEW"], Err(SecretFault::Env(EnvFault::Interpolated { line: 1 })));
        env(&format!("NEW={A}\nX='"), &["NEW"], Err(SecretFault::Env(EnvFault::Unclosed { line: 2 })));
        env(&format!("NEW=\"{A}\\n{A}\""), &["NEW"], Err(SecretFault::Unpresentable { slot: "NEW".into() }));
        assert_eq!(parse_env_file(b"NEW=\xff", &[]).unwrap_err(), SecretFault::NotText);
    }

    #[test]
    fn a_service_s_name_has_1_to_63_characters() {
        for good in ["a", "scheduler", "a-1-", &"a".repeat(63)] {
            assert_eq!(name(good).to_string(), good);
        }
        for bad in ["", "1a", "-a", "A", "a_b", "a.b", "a b", "é", &"a".repeat(64)] {
            assert_eq!(ServiceName::new(bad), Err(NotAServiceName), "{bad:?}");
        }
        assert!(serde_json::from_str::<ServiceName>("\"A\"").is_err());
        assert_eq!(serde_json::to_string(&name("a-1")).unwrap(), "\"a-1\"");
    }

    fn service(called: &str, secrets: &[&str]) -> Service {
        let slot = |(number, secret): (usize, &&str)| Slot {
            name: format!("line {number}"),
            secret: Secret::new((*secret).to_owned()),
        };
        Service { name: name(called), slots: (1..).zip(secrets).map(slot).collect() }
    }

    fn table(services: &[Service]) -> Result<ServiceSecrets, SharedSecret> {
        ServiceSecrets::new(services, Key::new([7; 32]))
    }

    #[test]
    fn a_presented_secret_is_its_service_s_and_nothing_like_it_is() {
        let secrets = table(&[service("one", &[A, B]), service("off", &[]), service("two", &[C])]).unwrap();
        let found = |presented: &str| {
            secrets.find(presented).map(|FoundSlot { service, slot }| (service.as_str(), slot))
        };
        assert_eq!(found(A), Some(("one", "line 1")));
        assert_eq!(found(B), Some(("one", "line 2")));
        assert_eq!(found(C), Some(("two", "line 1")));
        for wrong in
            ["", &A[1..], &A[..39], &format!("{A} "), &A.to_lowercase(), &format!("{A}{A}"), "line 1"]
        {
            assert_eq!(found(wrong), None, "{wrong:?}");
        }
        assert_eq!(table(&[]).unwrap().find(A), None);
        assert_eq!(table(&[]).unwrap().find(""), None);
        assert_eq!(secrets.slots().count(), 3);
    }

    #[test]
    fn the_longest_secret_is_found_and_one_byte_more_is_not() {
        let longest = "x".repeat(SECRET_BYTES_MAX);
        let over = "x".repeat(SECRET_BYTES_MAX + 1);
        let secrets = table(&[service("one", &[&longest, &over])]).unwrap();
        assert!(secrets.find(&longest).is_some());
        assert_eq!(secrets.find(&over), None);
    }

    #[test]
    fn services_that_share_a_secret_are_all_named() {
        let all =
            [service("one", &[A, B]), service("two", &[C]), service("three", &[B]), service("four", &[B, A])];
        let shared = table(&all).unwrap_err();
        assert_eq!(shared.services, [name("four"), name("one"), name("three")].into());
        assert_eq!(shared.to_string(), "these services share a secret: four, one, three");
        assert!(table(&all[1..3]).is_ok());
        assert!(table(&[service("one", &[A, A])]).is_ok());
    }

    #[test]
    fn no_debug_output_shows_a_secret() {
        let services = [service("one", &[A])];
        let shown = format!("{services:?} {:?}", table(&services).unwrap());
        assert!(shown.contains("one") && shown.contains("Secret(..)"));
        assert!(!shown.contains("ecret-of") && !shown.contains("blinded"));
    }

    proptest! {
        #[test]
        fn every_configured_secret_is_found(secrets in prop::collection::btree_set("[!-~]{32,64}", 1..20)) {
            let file: String = secrets.iter().flat_map(|secret| [secret, "\n"]).collect();
            if secrets.len() > SLOTS_MAX {
                prop_assert_eq!(parse_secret_file(file.as_bytes()).unwrap_err(), SecretFault::TooMany);
            } else {
                let slots = parse_secret_file(file.as_bytes()).unwrap();
                let table = table(&[Service { name: name("one"), slots }]).unwrap();
                for (line, secret) in (1..).zip(&secrets) {
                    prop_assert_eq!(table.find(secret).unwrap().slot, format!("line {line}"));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(file: Vec<u8>, text in "\\PC*") {
            let keys = ["A".to_owned()];
            let _ = (parse_secret_file(&file), parse_env_file(&file, &keys), parse_env_file(text.as_bytes(), &keys));
        }
    }
}
