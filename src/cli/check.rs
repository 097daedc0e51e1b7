//! `bearerd check`: the configuration, and what a stopped daemon's store holds. Changes nothing.
//!
//! While the daemon runs, the file is its own; then the log is what can be asked about, and the rest is left out.

use serde_json::{Value, json};

use super::{Common, Exit, Stop, offline, output};
use crate::{
    app::random_secret,
    config::{
        ConfigError, Located,
        keyring::{self, KeyringFileFault},
        services::{self, ServiceStatus},
    },
    rules::check::{Finding, Report, Walk},
    store::{OpenError, Options, Presence, Stopped, presence},
    token::Keyring,
};

/// What the command found so far.
#[derive(Default)]
struct Checked {
    /// Where, what is wrong, what to do.
    wrong: Vec<[String; 3]>,
    /// What works and is probably not meant.
    remarks: Vec<String>,
    /// What could not be looked at, and why.
    left_out: Vec<String>,
    running: bool,
    rows: u64,
    entries: u64,
    /// How many findings there were in the store, those that are not listed included.
    found: u64,
}

/// Checks whatever is there.
pub(super) fn run(common: &Common) -> Result<Exit, Stop> {
    let mut checked = Checked::default();
    if let Some(located) = checked.configuration(common) {
        let keyring = checked.keyring(&located);
        checked.services(&located)?;
        checked.store(common, &located, keyring.as_ref())?;
    }
    checked.tell(common)
}

impl Checked {
    fn wrong(&mut self, place: impl Into<String>, what: &impl ToString, advice: &str) {
        self.wrong.push([place.into(), what.to_string(), advice.to_owned()]);
    }

    fn configuration(&mut self, common: &Common) -> Option<Located> {
        let error = match offline::sources(common).locate() {
            Ok(located) => {
                self.remarks.extend(located.warnings.iter().map(ToString::to_string));
                return Some(located);
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
            error => self.wrong("configuration", &error, ""),
        }
        None
    }

    fn keyring(&mut self, located: &Located) -> Option<Keyring> {
        let place = match located.keyring() {
            Ok(place) => place,
            Err(error) => {
                self.wrong("keyring", &error, "");
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
            Err(error) => {
                let what = offline::with_needed_key(located, &error.into());
                self.wrong("keyring", &what, "");
                None
            }
        }
    }

    fn services(&mut self, located: &Located) -> Result<(), Stop> {
        let blinding = random_secret().map_err(|error| Stop::failed(error.to_string()))?;
        let readings = services::read(&located.settings.services);
        self.remarks.extend(readings.warnings.iter().map(ToString::to_string));
        for (name, status) in &readings.for_start(&blinding).status {
            match status {
                ServiceStatus::Enabled { .. } => {}
                ServiceStatus::Off(off) => self.remarks.push(format!("services.{name} is off: {off}")),
                ServiceStatus::Mistake(mistake) => {
                    self.wrong(format!("services.{name}"), mistake, "until then this service is off");
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, common: &Common, located: &Located, keyring: Option<&Keyring>) -> Result<(), Stop> {
        match presence(&located.data) {
            Ok(Presence::Absent) => {
                self.left_out.push(format!("there is no store in {} yet", located.data.display()));
                return Ok(());
            }
            Ok(Presence::Present | Presence::GoneMissing) => {}
            Ok(Presence::Empty) => {
                self.wrong("store", &OpenError::empty(&located.data), "");
                return Ok(());
            }
            Err(error) => {
                self.wrong("store", &error, "");
                return Ok(());
            }
        }
        let Some(keyring) = keyring else {
            self.left_out.push("the store, which cannot be read without its keyring".to_owned());
            return Ok(());
        };
        match Stopped::in_directory(&located.data, keyring, &Options::default()) {
            Ok(stopped) => self.walk(&stopped, keyring),
            Err(OpenError::InUse(_)) => {
                self.running = true;
                self.left_out.push("the store's file, which the running daemon has for itself".to_owned());
                self.chain(common);
                Ok(())
            }
            Err(error) => {
                self.wrong("store", &error, "");
                Ok(())
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
        for finding in &report.findings {
            let Finding { table, key, wrong } = finding;
            let place =
                if key.is_empty() { table.name().to_owned() } else { format!("{} {key}", table.name()) };
            self.wrong(place, wrong, finding.advice());
        }
        Ok(())
    }

    /// Has the running daemon check its log.
    fn chain(&mut self, common: &Common) {
        let chain = match common.get("/v1/admin/audit/verify") {
            Ok(chain) => chain,
            Err(stop) => {
                return self
                    .left_out
                    .push(format!("the audit log, about which nobody could be asked: {}", stop.says));
            }
        };
        if chain.get("holds").and_then(Value::as_bool) == Some(true) {
            self.entries = chain.get("entries").and_then(Value::as_u64).unwrap_or_default();
        } else {
            let what =
                chain.get("error").and_then(Value::as_str).unwrap_or("the chain does not hold").to_owned();
            self.wrong("audit", &what, "find out who could write to the store's file");
        }
    }

    fn tell(&self, common: &Common) -> Result<Exit, Stop> {
        let good = self.wrong.is_empty();
        if common.json {
            let wrong: Vec<Value> = self
                .wrong
                .iter()
                .map(|[place, what, advice]| json!({"where": place, "what": what, "do": advice}))
                .collect();
            output::json(&json!({
                "ok": good,
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
        Ok(if good { Exit::Done } else { Exit::Failed })
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
            let (rows, entries) = (self.rows, self.entries);
            let rows = if self.running { String::new() } else { format!("{rows} rows and ") };
            output::tell(&format!("nothing is wrong: {rows}{entries} entries of the audit log"));
        }
    }
}
