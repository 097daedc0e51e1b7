//! `bearerd keys`: the keyring, which the operator owns and the daemon only reads.

use std::path::PathBuf;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Common, Exit, Stop, offline, operate,
    output::{self, Column},
};
use crate::{
    app::random,
    config::keyring,
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
            Self::New => print(common, &Keyring::generate(name("")?, &fresh()?).map_err(told)?),
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
/// what to put there.
fn rotate(common: &Common) -> Result<(), Stop> {
    let path = match common.get("/v1/admin/keys") {
        Ok(keys) => PathBuf::from(keys.get("file").and_then(Value::as_str).unwrap_or_default()),
        Err(stop) => {
            offline::in_its_absence(common, stop)?;
            let place = offline::located(common)?.keyring().map_err(told)?;
            place.path().to_owned()
        }
    };
    // Held from before the old keys are read: two rotations at once come one after the other.
    let exchange = keyring::Exchange::begin(&path);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => "no daemon answers, and the first start makes the keyring",
            _ => "run this as the keyring's owner or as root",
        };
        let Stop { exit, says } = Stop::of_file(&path, &error);
        Stop { exit, says: format!("{says}; {advice}") }
    })?;
    let old = Keyring::parse(&text).map_err(told)?;
    drop(zeroize::Zeroizing::new(text));
    let mut id = name("")?;
    let mut count: u64 = 2;
    while old.find(id.as_str()).is_some() {
        id = name(&format!("-{count}"))?;
        count += 1;
    }
    let new = old.rotated(id.clone(), &fresh()?).map_err(told)?;
    if let Err(fault) = exchange.and_then(|exchange| exchange.put(&new)) {
        output::tell(&format!("{fault}\nPut this in its place, then run `bearerd reload`:"));
        return print(common, &new);
    }
    match operate::read_again(common) {
        Ok(_) => {}
        Err(stop) if stop.exit == Exit::Unreachable => {
            output::tell("no daemon runs; it will read the new key when it starts");
        }
        Err(stop) => return Err(stop),
    }
    common.done(&json!({"current": id.as_str()}), &format!("{} is the current key", id.as_str()))
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
    let mut resealed = 0;
    loop {
        let answer = common.ask(Method::POST, "/v1/admin/keys/reseal", None)?;
        let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        resealed += number("resealed");
        if number("damaged") > 0 {
            let rows = output::counted(number("damaged"), "row");
            output::tell(&format!("not opened, and left as they are: {rows}"));
        }
        if answer.get("unfinished").and_then(Value::as_bool) != Some(true) {
            let rows = output::counted(resealed, "row");
            return common.done(&json!({"resealed": resealed}), &format!("{rows} sealed again"));
        }
    }
}

/// A name for a new key: the moment it is made, so that keyrings read in order; `tail` tells apart those of one
/// second.
fn name(tail: &str) -> Result<KeyId, Stop> {
    let now = rfc3339(Time::from_unix(output::now()));
    KeyId::new(&(now.replace([':', 'Z'], "") + tail)).map_err(told)
}

fn fresh() -> Result<[u8; 32], Stop> {
    random().map_err(told)
}

fn told(error: impl std::fmt::Display) -> Stop {
    Stop::failed(error.to_string())
}
