//! `bearerd restore`: a backup takes the place of the store of a stopped daemon.
//!
//! All of it happens beside the store, on a copy of the backup; the store's name changes hands at the very end, and
//! what was replaced is kept. Whatever is wrong before that leaves everything as it was.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde_json::{Value, json};

use super::{Common, Exit, Stop, offline, output};
use crate::{
    records::{Fault, TableId, View},
    rules::{
        keys,
        restore::{self, Carried, Progress, Revived},
    },
    store::{OpenError, Options, Replacement, Stopped, presence},
    token::{KeyId, Keyring},
};

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    /// Go on though the store being replaced cannot be read, so that what was ended since the backup may come
    /// back to life; voids all sessions and all tokens that are for one use
    #[arg(long)]
    accept_revived: bool,
}

/// The store whose place is taken.
enum Replaced {
    Readable(Arc<Stopped>),
    /// Why what it holds cannot be known.
    Unreadable(String),
}

impl Restore {
    pub(super) fn run(&self, common: &Common) -> Result<(), Stop> {
        refuse_what_is_no_file(&self.file)?;
        let located = offline::located(common)?;
        // Before the keyring, so that files of somebody else are told as such.
        presence(&located.data).map_err(offline::cannot_open)?;
        let keyring = offline::loaded(&located)?.keyring;
        let options = Options::default();
        // Looked at where it lies first: what is no backup does not even make a data directory.
        let backup = Stopped::in_file(&self.file, &keyring, &options).map_err(no_backup)?;
        refuse_missing_keys(&backup, &keyring)?;
        drop(backup);
        if io::stdin().is_terminal() {
            common.confirm(&format!(
                "this puts {} in the place of the store in {}; what was made since the backup is lost",
                self.file.display(),
                located.data.display()
            ))?;
        }
        let replacement = Replacement::begin(&located.data, &self.file, &keyring, &options)
            .map_err(offline::cannot_open)?;
        let carried = match self.carry_over(&replacement, &keyring, &options) {
            Ok(carried) => carried,
            Err(stop) => {
                // What is left over is swept at the next start; why it came to this is what there is to tell.
                let _ = replacement.abandon();
                return Err(stop);
            }
        };
        let kept = replacement.finish().map_err(offline::cannot_open)?;
        self.tell(common, &carried, kept.as_deref())
    }

    /// Brings the copy of the backup up to what ended since.
    fn carry_over(
        &self,
        replacement: &Replacement,
        keyring: &Keyring,
        options: &Options,
    ) -> Result<(Option<String>, Carried), Stop> {
        let (replaced, why) = match replaced(replacement, keyring, options)? {
            Replaced::Readable(stopped) => (Some(stopped), None),
            Replaced::Unreadable(why) if self.accept_revived => (None, Some(why)),
            Replaced::Unreadable(why) => {
                return Err(Stop::failed(format!(
                    "what was revoked, used or deleted since the backup cannot be known: {why}. Nothing was \
                     changed. With --accept-revived, the backup is restored, all sessions and tokens for one use \
                     are voided, and what else may have come back to life is listed"
                )));
            }
        };
        let store = replacement.store();
        let by = offline::by();
        let (theirs, author) = (replaced.clone(), by.clone());
        run(store, move |txn| restore::begin(txn, &author, readable(theirs.as_deref())))?;
        let mut carried = Carried::default();
        let mut progress = Some(Progress::START);
        while let Some(at) = progress {
            let (theirs, author) = (replaced.clone(), by.clone());
            let (next, more) =
                run(store, move |txn| restore::step(txn, &author, readable(theirs.as_deref()), &at))?;
            carried.add(more);
            progress = next;
        }
        Ok((why, carried))
    }

    fn tell(
        &self,
        common: &Common,
        (why, carried): &(Option<String>, Carried),
        kept: Option<&Path>,
    ) -> Result<(), Stop> {
        let revived: Vec<Value> = carried.revived.iter().map(shown).collect();
        if !common.json {
            if let Some(why) = why {
                output::tell(&format!("{why}: all sessions and tokens for one use are void"));
                if !revived.is_empty() {
                    output::tell("what follows may have been ended since the backup, and lives again:");
                }
                for one in &carried.revived {
                    output::tell(&told(one));
                }
            }
            if carried.setup_closed {
                output::tell("setup counts as complete; `bearerd install-token --force` opens it");
            }
            if carried.damaged > 0 {
                let count = carried.damaged;
                output::tell(&format!("{count} damaged records of the replaced store count as deleted"));
            }
        }
        let shown = json!({
            "file": self.file,
            "replaced": kept,
            "replaced_readable": why.is_none(),
            "reason": why,
            "carried_over": {
                "users": carried.users,
                "clients": carried.clients,
                "hosts": carried.hosts,
                "tokens": carried.tokens,
                "tombstones": carried.tombstones,
            },
            "damaged": carried.damaged,
            "setup_closed": carried.setup_closed,
            "may_have_come_back": revived,
        });
        let place =
            kept.map_or_else(String::new, |kept| format!("; the one before is kept as {}", kept.display()));
        common.done(
            &shown,
            &format!(
                "{} is the store now{place}; ended or restricted again, as they had been since the backup: {}, {}, \
                 {}, {}",
                self.file.display(),
                output::counted(carried.tokens, "token"),
                output::counted(carried.users, "user"),
                output::counted(carried.hosts, "host"),
                output::counted(carried.clients, "client"),
            ),
        )
    }
}

fn shown(revived: &Revived) -> Value {
    json!({"what": revived.what, "id": revived.id, "name": revived.name, "owner": revived.owner})
}

fn told(revived: &Revived) -> String {
    let owner = revived.owner.as_ref().map_or_else(String::new, |owner| format!(" of {owner}"));
    let line = format!("  {} {} {}{owner}", revived.what, revived.id, revived.name);
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn readable(stopped: Option<&Stopped>) -> Option<&dyn View> {
    stopped.map(|stopped| -> &dyn View { stopped.view() })
}

/// Runs one operation on the store that is in the making.
fn run<T: Send + 'static>(
    store: &crate::store::Store,
    operation: impl FnOnce(&mut crate::records::Txn<'_>) -> Result<T, crate::rules::Refusal> + Send + 'static,
) -> Result<T, Stop> {
    match store.write_blocking(operation) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refusal)) => Err(Stop::failed(format!("the backup: {refusal}; nothing was changed"))),
        Err(error) => Err(Stop::failed(format!("the restored store: {error}; nothing was changed"))),
    }
}

/// What can be known of the store whose place is taken. What may be mended by hand is an error.
fn replaced(replacement: &Replacement, keyring: &Keyring, options: &Options) -> Result<Replaced, Stop> {
    let stopped = match replacement.replaced(keyring, options) {
        Ok(stopped) => stopped,
        Err(OpenError::Absent(dir)) => {
            return Ok(Replaced::Unreadable(format!("there is no store in {}", dir.display())));
        }
        Err(OpenError::System { what, path, error }) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(offline::cannot_open(OpenError::System { what, path, error }));
        }
        Err(error @ (OpenError::InUse(_) | OpenError::Exposed { .. } | OpenError::WrongType { .. })) => {
            return Err(offline::cannot_open(error));
        }
        Err(error) => return Ok(Replaced::Unreadable(error.to_string())),
    };
    if stopped.id() != replacement.store().id() {
        let why = "the store being replaced has another id: the backup is of another store";
        return Ok(Replaced::Unreadable(why.to_owned()));
    }
    Ok(match restore::judge(stopped.view()) {
        Ok(()) => Replaced::Readable(Arc::new(stopped)),
        Err(fault) => Replaced::Unreadable(format!("the store being replaced: {fault}")),
    })
}

/// Why a file cannot be restored from.
fn no_backup(error: OpenError) -> Stop {
    match error {
        OpenError::Damaged { path, what } => Stop::failed(format!(
            "{} is no backup of bearerd, or is damaged: {what}. Nothing was changed; name another one",
            path.display()
        )),
        error => offline::cannot_open(error),
    }
}

fn refuse_what_is_no_file(path: &Path) -> Result<(), Stop> {
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_symlink() => {
            Err(Stop::failed(format!("{shown} is a symbolic link; name the backup itself")))
        }
        Ok(_) => Err(Stop::failed(format!("{shown} is not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Stop { exit: Exit::NotFound, says: format!("there is no file {shown}") })
        }
        Err(error) => Err(Stop::of_file(path, &error)),
    }
}

/// Refuses a backup in which something is sealed or alive under keys that the keyring does not have.
fn refuse_missing_keys(backup: &Stopped, keyring: &Keyring) -> Result<(), Stop> {
    let missing = missing_keys(backup.view(), keyring)
        .map_err(|fault| Stop::failed(format!("the backup: {fault}; nothing was changed")))?;
    if missing.is_empty() {
        return Ok(());
    }
    let has: Vec<&str> = keyring.ids().map(KeyId::as_str).collect();
    Err(Stop::failed(format!(
        "the backup needs keys that the keyring does not have: {}; it has {}. Put them there as `old` and try again",
        missing.join(", "),
        has.join(", ")
    )))
}

fn missing_keys(view: &dyn View, keyring: &Keyring) -> Result<Vec<String>, Fault> {
    let highest = crate::records::meta::HighestTime::of(view)?.millis;
    let lacking = keys::lacking(view, keyring, crate::records::Time::from_unix_millis(highest))?;
    if lacking.damaged > 0 {
        return Err(Fault::Damaged(TableId::Sealed));
    }
    Ok(lacking.of.keys().map(ToString::to_string).collect())
}
