//! `bearerd status`: how the daemon is, on one screen for people.

use serde_json::{Value, json};

use super::{
    Common, Stop,
    output::{self, Column},
};

const SLOTS: &[Column] =
    &[("service", "/service"), ("secret", "/slot"), ("uses", "/uses"), ("last used", "/last_used_at")];

/// Asks the daemon, and shows what it says.
pub(super) fn run(common: &Common) -> Result<(), Stop> {
    let status = common.get("/v1/admin/status")?;
    if common.json {
        return output::json(&status);
    }
    output::named(&told(&status))?;
    let slots = slots(&status);
    if slots.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(SLOTS, &slots)
}

/// The lines of the screen: what each is about, and what there is to say. A name of nothing goes on with the
/// line before.
fn told(status: &Value) -> Vec<(&'static str, String)> {
    let at = |path: &str| output::cell(status.pointer(path));
    let mut lines = vec![
        ("state", state(status)),
        ("version", format!("{}, process {}", at("/version"), at("/pid"))),
        ("started", at("/started_at")),
        ("setup", at("/setup")),
        (
            "reload",
            format!(
                "{} {}, configuration {}",
                at("/reload/outcome"),
                at("/reload/at"),
                at("/reload/generation")
            ),
        ),
    ];
    let faults = status.pointer("/reload/error").and_then(Value::as_str).unwrap_or_default();
    lines.extend(faults.lines().map(|fault| ("", output::shown(fault))));
    for setting in list(status, "/reload/needs_restart") {
        lines.push(("", format!("{} was changed, and takes a restart", output::cell(Some(setting)))));
    }
    lines.push(("store", store(status)));
    if let Some(walk) = status.pointer("/store/walk") {
        let at = |name| output::cell(walk.get(name));
        lines.push((
            "",
            format!("walked through {}: {} rows, {} findings", at("at"), at("rows"), at("findings")),
        ));
    }
    lines.push(("tokens", tokens(status)));
    let behind = status.pointer("/clock_behind_seconds").and_then(Value::as_u64).unwrap_or_default();
    if behind > 0 {
        let said =
            format!("{behind} s behind the highest time seen; if that was wrong, `bearerd clock reset`");
        lines.push(("clock", said));
    }
    lines.extend(continued(
        "keys",
        list(status, "/keys").enumerate().map(|(place, key)| {
            let key = output::cell(Some(key));
            if place == 0 { format!("{key} (current)") } else { key }
        }),
    ));
    lines.extend(continued(
        "listens",
        list(status, "/listeners").map(|listener| {
            let address = output::cell(listener.get("address"));
            match listener.get("door").and_then(Value::as_str) {
                Some("admin") => format!("{address} (admins)"),
                _ => address,
            }
        }),
    ));
    lines
}

fn state(status: &Value) -> String {
    if status.get("degraded").and_then(Value::as_bool) != Some(true) {
        return "well".to_owned();
    }
    let why = output::cell(status.pointer("/store/error"));
    match status.pointer("/store/health").and_then(Value::as_str) {
        Some("full") => {
            format!("DEGRADED: the disk is full, and changes are refused until there is room ({why})")
        }
        _ => format!("DEGRADED: the store cannot be written, and changes are refused ({why})"),
    }
}

fn store(status: &Value) -> String {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let more = [
        (number("/store/queue_operations"), "changes wait"),
        (number("/store/reopened"), "times opened again after a fault"),
    ];
    let more =
        more.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    output::size(number("/store/file_bytes")) + &more.collect::<String>()
}

fn tokens(status: &Value) -> String {
    let Some(counts) = status.pointer("/tokens").and_then(Value::as_object) else {
        return "cannot be counted".to_owned();
    };
    let counts = counts.iter().filter(|(_, count)| count.as_u64() != Some(0));
    let counts: Vec<String> = counts.map(|(kind, count)| format!("{count} {kind}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") + " (dead ones included)" }
}

fn slots(status: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for service in list(status, "/services") {
        let name = service.get("name");
        if let Some(why) = service.get("why").and_then(Value::as_str) {
            rows.push(json!({"service": name, "slot": format!("off: {why}")}));
        }
        for slot in list(service, "/slots") {
            let mut row = slot.clone();
            if let Some(row) = row.as_object_mut() {
                row.insert("service".to_owned(), json!(name));
            }
            rows.push(row);
        }
    }
    rows
}

fn list<'v>(value: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// A name at the first line, and nothing at those that go on with it.
fn continued(
    name: &'static str,
    lines: impl Iterator<Item = String>,
) -> impl Iterator<Item = (&'static str, String)> {
    lines.enumerate().map(move |(place, line)| (if place == 0 { name } else { "" }, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "version": "1.2.3", "pid": 7, "started_at": "2026-01-31T12:00:00Z", "uptime_seconds": 5,
            "degraded": false, "setup": "pending",
            "listeners": [
                {"door": "public", "address": "http://127.0.0.1:8420"},
                {"door": "admin", "address": "unix:/a.sock"},
            ],
            "reload": {"generation": 2, "at": "2026-01-31T12:00:00Z", "outcome": "ok", "needs_restart": []},
            "services": [], "keys": ["new", "old"],
            "store": {"health": "well", "file_bytes": 1_572_864, "queue_operations": 0, "reopened": 0},
            "tokens": {"install": 1, "session": 0, "pat": 12, "enrollment": 0, "agent": 0, "link": 0},
            "clock_behind_seconds": 0,
        })
    }

    fn with(path: &str, value: Value) -> Value {
        let mut status = status();
        *status.pointer_mut(path).unwrap() = value;
        status
    }

    #[track_caller]
    fn says(status: &Value, name: &str, words: &str) {
        let lines = told(status);
        let said = lines.iter().any(|(line, said)| *line == name && said.contains(words));
        assert!(said, "no line {name:?} with {words:?}: {lines:?}");
    }

    #[test]
    fn what_is_well_is_told_in_a_line_each() {
        let well = status();
        says(&well, "state", "well");
        says(&well, "version", "1.2.3, process 7");
        says(&well, "started", "2026-01-31T12:00:00Z (");
        says(&well, "reload", "configuration 2");
        says(&well, "store", "1.5 MiB");
        says(&well, "tokens", "1 install, 12 pat (dead ones included)");
        says(&well, "keys", "new (current)");
        says(&well, "", "old");
        says(&well, "listens", "http://127.0.0.1:8420");
        says(&well, "", "unix:/a.sock (admins)");
        assert!(!told(&well).iter().any(|(name, _)| *name == "clock"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_reason() {
        let mut full = with("/degraded", json!(true));
        full["store"]["health"] = json!("full");
        full["store"]["error"] = json!("no space");
        says(&full, "state", "DEGRADED: the disk is full");
        says(&full, "state", "no space");
        full["store"]["health"] = json!("unavailable");
        says(&full, "state", "DEGRADED: the store cannot be written");
        let mut refused = with("/reload/outcome", json!("refused"));
        refused["reload"]["error"] = json!("one\ntwo");
        says(&refused, "reload", "refused");
        says(&refused, "", "two");
        says(&with("/reload/needs_restart", json!(["server.listen"])), "", "server.listen was changed");
        says(&with("/tokens", Value::Null), "tokens", "cannot be counted");
        says(&with("/clock_behind_seconds", json!(90)), "clock", "90 s behind");
    }

    #[test]
    fn a_service_that_is_off_says_why_and_one_that_is_on_has_a_line_for_each_secret() {
        let slot = |name: &str| json!({"slot": name, "uses": 1, "last_used_at": null});
        let on = json!({"name": "robot", "enabled": true, "slots": [slot("a"), slot("b")]});
        let off = json!({"name": "idle", "enabled": false, "why": "no secret", "slots": []});
        let rows = slots(&with("/services", json!([on, off])));
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1], json!({"service": "robot", "slot": "b", "uses": 1, "last_used_at": null}));
        assert_eq!(rows[2], json!({"service": "idle", "slot": "off: no secret"}));
    }
}
