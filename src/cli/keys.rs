//! `bearerd keys`: the keyring, which the operator owns and the daemon only reads.

use std::{io, path::PathBuf};

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Common, Exit, Stop,
    ask::{encoded, good},
    offline, operate,
    output::{self, Column},
};
use crate::{
    app::random_secret,
    config::{
        keyring::{self, Exchanged, KeyringFileFault},
        locate::{KeyringPlace, NoCredentials},
        secret_file::ReadFault,
    },
    http::time::rfc3339,
    records::Time,
    token::{KeyId, Keyring},
};

const KEYS: &[Column] = &[
    ("id", "/id"),
    ("current", "/current"),
    ("sealed", "/sealed"),
    ("jwts", "/tokens"),
    ("store's own key", "/store_key"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Print a new keyring to standard output, for a file or a systemd credential; with --json, as a text in an object
    New,
    /// List the root keys and what needs them
    #[command(visible_alias = "ls")]
    List,
    /// Add a new current key; what the old ones signed and sealed goes on to hold
    Rotate,
    /// Seal again under the current key what older ones sealed
    Reseal,
}

impl Keys {
    pub(super) fn run(self, common: &Common) -> Result<(), Stop> {
        match self {
            Self::New => print(common, &Keyring::generate(name("")?, &*fresh()?).map_err(told)?),
            Self::List => {
                let keys = common.get("/v1/admin/keys")?;
                if common.json {
                    return output::json(&keys);
                }
                let rows = keys.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
                output::table(KEYS, &rows)?;
                for key in keys.get("lacking").and_then(Value::as_array).into_iter().flatten() {
                    let id = key.get("id").and_then(Value::as_str).unwrap_or_default();
                    let number = |name: &str| key.get(name).and_then(Value::as_u64).unwrap_or_default();
                    output::tell(&format!(
                        "the keyring lacks {id}, and it is needed (credentials sealed under it: {}, live tokens \
                         signed with it: {}); put it back as `old`",
                        number("sealed"),
                        number("tokens")
                    ));
                }
                let damaged = keys.get("damaged").and_then(Value::as_u64).unwrap_or_default();
                if damaged > 0 {
                    let rows = output::counted(damaged, "row");
                    output::tell(&format!("damaged, so that nobody can tell which key they need: {rows}"));
                }
                Ok(())
            }
            Self::Rotate => rotate(common),
            Self::Reseal => reseal(common),
        }
    }
}

/// Writes a keyring with a new current key, and has the daemon read it. Where the file cannot be written, says
/// what to put there. A credential is only a copy, which systemd makes anew at each start: nobody writes that.
fn rotate(common: &Common) -> Result<(), Stop> {
    let place = place(common)?;
    if matches!(place, KeyringPlace::Credential(_)) {
        let (_, new) = read_and_rotated(&place)?;
        output::tell(&format!(
            "the keyring is a credential, and {} a copy of it.\nPut this where the unit takes it from, then restart \
             the daemon:",
            place.path().display()
        ));
        return print(common, &new);
    }
    // Held from before the old keys are read: two rotations at once come one after the other.
    let exchange = keyring::Exchange::begin(place.path());
    let (id, new) = read_and_rotated(&place)?;
    let exchanged = match exchange.and_then(|exchange| exchange.put(&new)) {
        Ok(exchanged) => exchanged,
        Err(fault) => {
            output::tell(&format!("{fault}\nPut this in its place, then run `bearerd reload`:"));
            return print(common, &new);
        }
    };
    match reread(common) {
        Reread::Taken => {}
        Reread::Nobody => output::tell("no daemon runs; it will read the new key when it starts"),
        Reread::Refused(stop) => return Err(undone(exchanged, &place, &id, stop)),
        Reread::Unknown(Stop { exit, says }) => {
            let path = place.path().display();
            let says = format!(
                "{says}\nwhether the daemon has taken the new key is not known. {path} has {id} as the current key, \
                 and all others as old ones: run `bearerd reload` until it is taken"
            );
            return Err(Stop { exit, says });
        }
    }
    common.done(&json!({"current": id.as_str()}), &format!("{id} is the current key"))
}

/// Where the keyring is: the running daemon says so, or else the configuration.
pub(super) fn place(common: &Common) -> Result<KeyringPlace, Stop> {
    let keys = match common.get("/v1/admin/keys") {
        Ok(keys) => keys,
        Err(stop) => {
            offline::in_its_absence(common, stop)?;
            let located = offline::located(common)?;
            let unknown = |error: NoCredentials| Stop::failed(offline::with_advice(&located, &error.into()));
            return located.keyring().map_err(unknown);
        }
    };
    let file = PathBuf::from(keys.get("file").and_then(Value::as_str).unwrap_or_default());
    let is_credential = keys.get("credential").and_then(Value::as_bool).unwrap_or_default();
    // A daemon that runs has had its keyring: where that is gone, it is to be put back and not made anew.
    Ok(if is_credential { KeyringPlace::Credential(file) } else { KeyringPlace::Default(file) })
}

/// The keyring that is there, judged as at a start, with a new current key, and that key's name.
fn read_and_rotated(place: &KeyringPlace) -> Result<(KeyId, Keyring), Stop> {
    let old = keyring::read(place).map_err(|fault| cannot_read(&fault))?.keyring;
    let mut id = name("")?;
    let mut count: u64 = 2;
    while old.find(id.as_str()).is_some() {
        id = name(&format!("-{count}"))?;
        count += 1;
    }
    let new = old.rotated(id.clone(), &*fresh()?).map_err(told)?;
    Ok((id, new))
}

fn cannot_read(fault: &KeyringFileFault) -> Stop {
    use io::ErrorKind::PermissionDenied;
    let (exit, advice) = match fault {
        KeyringFileFault::Missing(_) => {
            (Exit::NotFound, "; where there was none yet, the first start makes it")
        }
        KeyringFileFault::ConfiguredMissing(_) => (Exit::NotFound, ""),
        KeyringFileFault::Unreadable { fault: ReadFault::Unreadable(PermissionDenied), .. } => {
            (Exit::Denied, "; run this as the keyring's owner or as root")
        }
        _ => (Exit::Failed, ""),
    };
    Stop { exit, says: format!("{fault}{advice}") }
}

/// What came of having the daemon read a new keyring.
enum Reread {
    Taken,
    /// No daemon runs.
    Nobody,
    /// Certainly not: what was in force goes on.
    Refused(Stop),
    /// Nobody can tell.
    Unknown(Stop),
}

fn reread(common: &Common) -> Reread {
    let asked =
        common.client().and_then(|client| Ok(client.ask(Method::POST, operate::RELOAD, Some(&json!({})))?));
    let answer = match asked {
        Ok(answer) => answer,
        Err(stop) if stop.exit == Exit::Unreachable => return Reread::Nobody,
        Err(stop) => return Reread::Unknown(stop),
    };
    // A store that failed may have failed after the write.
    let is_certain = answer.status.is_client_error();
    match good(answer) {
        Ok(_) => Reread::Taken,
        Err(stop) if is_certain => Reread::Refused(stop),
        Err(stop) => Reread::Unknown(stop),
    }
}

/// Puts the old keyring back after the refusal of the new one: else the next reload would take it, whenever that
/// comes, and each attempt would add another key.
fn undone(exchanged: Exchanged, place: &KeyringPlace, id: &KeyId, Stop { exit, says }: Stop) -> Stop {
    let left = match exchanged.undo() {
        Ok(true) => {
            return Stop { exit, says: format!("{says}\nnothing was rotated: the keyring is as it was") };
        }
        Ok(false) => "somebody has changed it since".to_owned(),
        Err(fault) => fault.to_string(),
    };
    let path = place.path().display();
    let says = format!(
        "{says}\nthe old keyring was not put back: {left}. {path} has the key {id}, which the next reload or start takes"
    );
    Stop { exit, says }
}

/// A keyring on standard output, as its file has it. For programs, it is a text in an object.
fn print(common: &Common, keyring: &Keyring) -> Result<(), Stop> {
    let text = keyring.to_text();
    let lines = text.expose().trim_end();
    if common.json {
        return output::json(&json!({"current": keyring.current().id().as_str(), "keyring": lines}));
    }
    output::line(lines)
}

fn reseal(common: &Common) -> Result<(), Stop> {
    const PATH: &str = "/v1/admin/keys/reseal";
    let (mut resealed, mut damaged) = (0, 0);
    let mut target = PATH.to_owned();
    loop {
        let answer = common.ask(Method::POST, &target, None)?;
        let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        resealed += number("resealed");
        damaged += number("damaged");
        match answer.get("next_cursor").and_then(Value::as_str) {
            Some(next) => target = format!("{PATH}?cursor={}", encoded(next)),
            None => break,
        }
    }
    if damaged > 0 {
        output::tell(&format!("not opened, and left as they are: {}", output::counted(damaged, "row")));
    }
    let said = format!("{} sealed again", output::counted(resealed, "row"));
    common.done(&json!({"resealed": resealed}), &said)
}

/// A name for a new key: the moment it is made, so that keyrings read in order; `tail` tells apart those of one
/// second.
fn name(tail: &str) -> Result<KeyId, Stop> {
    let now = rfc3339(Time::from_unix(output::now()));
    KeyId::new(&(now.replace([':', 'Z'], "") + tail)).map_err(told)
}

fn fresh() -> Result<Zeroizing<[u8; 32]>, Stop> {
    random_secret().map_err(told)
}

fn told(error: impl std::fmt::Display) -> Stop {
    Stop::failed(error.to_string())
}
