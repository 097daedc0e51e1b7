//! `bearerd check`: the configuration, and what a stopped daemon's store holds. Changes nothing.
//!
//! While the daemon runs, the file is its own; then the log is what can be asked about, and the rest is left out. What
//! was not looked at is told, and where that is everything, the command does not end as if all were well.

use std::{io::ErrorKind, path::PathBuf};

use serde_json::{Value, json};

use super::{Common, Exit, Stop, ask::good, client::Client, offline, output};
use crate::{
    app::random_secret,
    config::{
        ConfigError, Located,
        keyring::{self, KeyringFileFault},
        locate::{DataNamedBy, KeyringPlace},
        secret_file::ReadFault,
        services::{self, Mistake, ServiceStatus},
    },
    rules::check::{Finding, Report, Walk},
    store::{OpenError, Options, Presence, Stopped, presence},
    token::Keyring,
};

/// The system does not let this user read a file.
const DENIED: ReadFault = ReadFault::Unreadable(ErrorKind::PermissionDenied);

/// What the command found so far.
#[derive(Default)]
struct Checked {
    /// Where, what is wrong, what to do.
    wrong: Vec<[String; 3]>,
    /// What works and is probably not meant.
    remarks: Vec<String>,
    /// What could not be looked at, and why.
    left_out: Vec<String>,
    /// The configuration that was read, if there is one.
    config_file: Option<PathBuf>,
    running: bool,
    rows: u64,
    entries: u64,
    /// Whether the audit log was gone through.
    log_seen: bool,
    /// How many findings there were in the store, those that are not listed included.
    found: u64,
    /// How it ends where nothing was found and too little was looked at for all to be well.
    unseen: Option<Exit>,
}

/// Whether nothing says where the data directory is, and there is no store at the usual place.
fn is_unknown(common: &Common, located: &Located, found: Presence) -> bool {
    let is_named =
        located.data_named_by != DataNamedBy::Nothing || located.settings.server.admin_socket.is_some();
    offline::means_a_socket(common) || (!is_named && matches!(found, Presence::Absent))
}

/// Checks whatever is there.
pub(super) fn run(common: &Common) -> Result<Exit, Stop> {
    let mut checked = Checked::default();
    if let Some(located) = checked.configuration(common)? {
        // Whoever is kept out of the data directory, or does not know where it is, is not the daemon's user: that more
        // is kept from them is no mistake.
        let stranger = match presence(&located.data) {
            Ok(found) => is_unknown(common, &located, found),
            Err(error) => offline::is_denied(&error),
        };
        let keyring = checked.keyring(common, &located, stranger);
        checked.services(&located, stranger)?;
        checked.store(common, &located, keyring.as_ref())?;
    }
    checked.tell(common)
}

impl Checked {
    fn wrong(&mut self, place: impl Into<String>, what: &impl ToString, advice: &str) {
        self.wrong.push([place.into(), what.to_string(), advice.to_owned()]);
    }

    fn configuration(&mut self, common: &Common) -> Result<Option<Located>, Stop> {
        let error = match offline::sources(common).locate() {
            Ok(located) => {
                self.remarks.extend(located.warnings.iter().map(ToString::to_string));
                self.config_file.clone_from(&located.config_file);
                return Ok(Some(located));
            }
            Err(error) => error,
        };
        match error {
            ConfigError::Faults(faults) => {
                for fault in &faults.faults {
                    let place = format!("{}:{}", faults.file, fault.line);
                    self.wrong(
                        place,
                        fault,
                        "correct the line; a running daemon keeps what it has until then",
                    );
                }
            }
            // The system's own, which the daemon's user reads. Its socket may be open to more.
            error if error.is_kept_from_us() && common.config.is_none() => {
                self.left_out.push(format!("the configuration: {error}"));
                self.instead(common, "the store", Exit::Denied);
            }
            error if error.is_missing_file() || error.is_kept_from_us() => {
                return Err(Stop::of_config(&error, error.to_string()));
            }
            error => self.wrong("configuration", &error, ""),
        }
        Ok(None)
    }

    fn keyring(&mut self, common: &Common, located: &Located, stranger: bool) -> Option<Keyring> {
        let place = match located.keyring() {
            // That of the daemon behind the socket is elsewhere.
            Ok(KeyringPlace::Default(_)) if offline::means_a_socket(common) => return None,
            Ok(place) => place,
            Err(error) => {
                let what = offline::with_advice(located, &error.into());
                self.left_out.push(format!("the keyring: {what}"));
                return None;
            }
        };
        match keyring::read(&place) {
            Ok(read) => {
                self.remarks.extend(read.warnings.iter().map(ToString::to_string));
                Some(read.keyring)
            }
            // The first start makes it.
            Err(KeyringFileFault::Missing(_)) if matches!(presence(&located.data), Ok(Presence::Absent)) => {
                None
            }
            Err(fault @ KeyringFileFault::Unreadable { fault: DENIED, .. }) if stranger => {
                self.left_out.push(fault.to_string());
                None
            }
            Err(fault) => {
                let what = offline::with_advice(located, &fault.into());
                self.wrong("keyring", &what, "");
                None
            }
        }
    }

    fn services(&mut self, located: &Located, stranger: bool) -> Result<(), Stop> {
        let blinding = random_secret().map_err(|error| Stop::failed(error.to_string()))?;
        let readings = services::read(&located.settings.services);
        self.remarks.extend(readings.warnings.iter().map(ToString::to_string));
        for (name, status) in &readings.for_start(&blinding).status {
            match status {
                ServiceStatus::Enabled { .. } => {}
                ServiceStatus::Off(off) => self.remarks.push(format!("services.{name} is off: {off}")),
                ServiceStatus::Mistake(mistake @ Mistake::Unreadable { fault: DENIED, .. }) if stranger => {
                    self.left_out.push(format!("services.{name}: {mistake}"));
                }
                ServiceStatus::Mistake(mistake) => {
                    self.wrong(format!("services.{name}"), mistake, "until then this service is off");
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, common: &Common, located: &Located, keyring: Option<&Keyring>) -> Result<(), Stop> {
        if offline::means_a_socket(common) {
            let why = "the store, whose place `--data` or `--config` would name";
            self.instead(common, why, Exit::Unreachable);
            return Ok(());
        }
        let fault = match (presence(&located.data), keyring) {
            (Ok(found @ Presence::Absent), _) => {
                let dir = located.data.display();
                let why = format!("the store: there is none in {dir}. {}", offline::why_there(located));
                let names_config = common.config.is_some() && !offline::names_socket(common);
                if names_config && is_unknown(common, located, found) {
                    // It is that configuration which is meant, and not whatever daemon runs here.
                    self.left_out.push(why);
                    return Ok(());
                }
                let exit = if self.config_file.is_some() { Exit::Done } else { Exit::NotFound };
                self.instead(common, &why, exit);
                return Ok(());
            }
            (Ok(Presence::Present), None) => {
                self.instead(common, "the store, which cannot be read without its keyring", Exit::Done);
                return Ok(());
            }
            (Ok(Presence::Present | Presence::GoneMissing), Some(keyring)) => {
                match Stopped::in_directory(&located.data, keyring, &Options::default()) {
                    Ok(stopped) => return self.walk(&stopped, keyring),
                    Err(fault) => fault,
                }
            }
            (Ok(Presence::GoneMissing), None) => OpenError::gone_missing(&located.data),
            (Ok(Presence::Empty), _) => OpenError::empty(&located.data),
            (Err(fault), _) => fault,
        };
        match fault {
            OpenError::InUse(_) => {
                self.running = true;
                self.left_out.push("the store's file, which the running daemon has for itself".to_owned());
                match common.client() {
                    Ok(client) => self.log(&client),
                    Err(stop) => self.nobody_tells(&stop),
                }
                // A daemon that has the store runs, which is no fault, also while it begins or ends and answers nobody.
                self.unseen = None;
            }
            fault if offline::is_denied(&fault) => {
                let why = format!("the store: {}", offline::cannot_open(fault).says);
                self.instead(common, &why, Exit::Denied);
            }
            fault => self.wrong("store", &fault, ""),
        }
        Ok(())
    }

    /// Where the store cannot be looked at, and why: asks the daemon that has it, if one runs. `otherwise` is how it
    /// ends where none does.
    fn instead(&mut self, common: &Common, why: &str, otherwise: Exit) {
        match common.client() {
            Ok(client) => {
                self.running = true;
                let socket = client.socket().display();
                self.left_out.push(format!("the store's file, which the daemon at {socket} has for itself"));
                self.log(&client);
            }
            Err(stop) => {
                self.left_out.push(format!("{why}; {}", stop.says));
                self.unseen = match (otherwise, stop.exit) {
                    (Exit::Done, _) => None,
                    (otherwise, Exit::Unreachable) => Some(otherwise),
                    (_, exit) => Some(exit),
                };
            }
        }
    }

    fn walk(&mut self, stopped: &Stopped, keyring: &Keyring) -> Result<(), Stop> {
        let mut walk = Walk::new(true);
        let report: Report = loop {
            let step = walk.step(stopped.view(), keyring);
            if let Some(report) = step.map_err(|fault| Stop::failed(format!("the store: {fault}")))? {
                break report;
            }
        };
        (self.rows, self.entries, self.found) = (report.rows, report.entries, report.found);
        self.log_seen = true;
        for finding in &report.findings {
            let Finding { table, key, wrong } = finding;
            let place =
                if key.is_empty() { table.name().to_owned() } else { format!("{} {key}", table.name()) };
            self.wrong(place, wrong, finding.advice());
        }
        Ok(())
    }

    /// Has the running daemon check its log.
    fn log(&mut self, client: &Client) {
        let chain = match client.get("/v1/admin/audit/verify").map_err(Stop::from).and_then(good) {
            Ok(chain) => chain,
            Err(stop) => return self.nobody_tells(&stop),
        };
        self.log_seen = true;
        if chain.get("holds").and_then(Value::as_bool) == Some(true) {
            self.entries = chain.get("entries").and_then(Value::as_u64).unwrap_or_default();
        } else {
            let what =
                chain.get("error").and_then(Value::as_str).unwrap_or("the chain does not hold").to_owned();
            self.wrong("audit", &what, "find out who could write to the store's file");
        }
    }

    fn nobody_tells(&mut self, stop: &Stop) {
        self.left_out.push(format!("the audit log, about which nobody could be asked: {}", stop.says));
        // Without a configuration, nothing at all was looked at.
        self.unseen = self.config_file.is_none().then_some(stop.exit);
    }

    fn exit(&self) -> Exit {
        if self.wrong.is_empty() { self.unseen.unwrap_or(Exit::Done) } else { Exit::Failed }
    }

    fn tell(&self, common: &Common) -> Result<Exit, Stop> {
        let exit = self.exit();
        if common.json {
            let wrong: Vec<Value> = self
                .wrong
                .iter()
                .map(|[place, what, advice]| json!({"where": place, "what": what, "do": advice}))
                .collect();
            output::json(&json!({
                "ok": exit == Exit::Done,
                "running": self.running,
                "rows": self.rows,
                "entries": self.entries,
                "findings": wrong,
                "store_findings": self.found,
                "remarks": self.remarks,
                "left_out": self.left_out,
            }))?;
        } else {
            self.tell_people();
        }
        Ok(exit)
    }

    fn tell_people(&self) {
        for [place, what, advice] in &self.wrong {
            output::tell(&format!("{place}: {what}"));
            if !advice.is_empty() {
                output::tell(&format!("    {advice}"));
            }
        }
        let listed = u64::try_from(self.wrong.len()).unwrap_or(u64::MAX);
        if self.found > listed {
            output::tell(&format!("{} more findings like these", self.found.saturating_sub(listed)));
        }
        for remark in &self.remarks {
            output::tell(&format!("remark: {remark}"));
        }
        for what in &self.left_out {
            output::tell(&format!("left out: {what}"));
        }
        if self.wrong.is_empty() {
            output::tell(&self.conclusion());
        }
    }

    /// What can be said where nothing wrong was found: no more than what was looked at.
    fn conclusion(&self) -> String {
        let (rows, entries) = (self.rows, self.entries);
        match (self.log_seen, self.running, &self.config_file) {
            (true, false, _) => {
                format!("nothing is wrong: {rows} rows and {entries} entries of the audit log")
            }
            (true, true, _) => format!("nothing is wrong: {entries} entries of the audit log"),
            (false, _, Some(file)) => {
                format!("nothing is wrong with {}; the store was not looked at", file.display())
            }
            (false, true, None) => "the daemon runs, and nothing was looked at".to_owned(),
            (false, false, None) => "nothing was looked at".to_owned(),
        }
    }
}
