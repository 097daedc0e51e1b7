//! `bearerd reload`, `install-token`, `explain`, `audit`: what an operator has a daemon do, and what happened.

use std::{io::Write, path::PathBuf, thread, time::Duration};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Exit, Stop,
    ask::{self, Common, rows},
    offline::{self, Offline},
    output::{self, Column},
    token::filtered,
    user,
};
use crate::{
    app::fresh,
    http::time::{parse_rfc3339, parse_rfc3339_end},
    records::meta::AuditHead,
    rules::{Refusal, Terms, audit, install},
};

/// Has the daemon read everything again; it answers once that is in force.
pub(super) const RELOAD: &str = "/v1/admin/reload";

/// The audit log, newest first.
const LOG: &str = "/v1/audit";

/// How often `audit tail` looks for more.
const TAIL_PAUSE: Duration = Duration::from_millis(500);

const ENTRIES: &[Column] = &[
    ("seq", "/seq"),
    ("at", "/at"),
    ("actor", "/actor"),
    ("", "/actor_label"),
    ("action", "/action"),
    ("resource", "/resource"),
    ("ip", "/ip"),
];

/// `bearerd reload`: done only if what was read is in force.
pub(super) fn reload(common: &Common) -> Result<(), Stop> {
    let answer = common.ask(Method::POST, RELOAD, Some(&json!({})))?;
    common.done(&answer, "reloaded")?;
    if !common.json {
        for setting in texts(&answer, "needs_restart") {
            output::tell(&format!("{setting} was changed, and takes a restart"));
        }
        for warning in texts(&answer, "warnings") {
            output::tell(&format!("warning: {warning}"));
        }
    }
    Ok(())
}

fn texts<'a>(answer: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    answer.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `bearerd explain`: every check of a token's verification, and how it came out.
pub(super) fn explain(common: &Common, asked: &Explain) -> Result<(), Stop> {
    let token = ask::token(asked.from.as_deref())?;
    let mut body = json!({"token": token.as_str()});
    if let Some(members) = body.as_object_mut() {
        members.extend(asked.from_ip.as_ref().map(|ip| ("client_ip".to_owned(), ip.as_str().into())));
        members.extend(asked.policy.as_ref().map(|name| ("policy".to_owned(), name.as_str().into())));
    }
    let answer = common.ask(Method::POST, "/v1/admin/explain", Some(&body))?;
    if common.json {
        return output::json(&answer);
    }
    let checks = answer.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
    output::table(&[("check", "/check"), ("outcome", "/outcome"), ("seen", "/seen")], &checks)
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A file with the token; without, or with `-`, it is read from standard input
    from: Option<PathBuf>,
    /// The address that it is used from
    #[arg(long, value_name = "ADDRESS")]
    from_ip: Option<String>,
    /// A policy of /v1/authorize to hold it against
    #[arg(long)]
    policy: Option<String>,
}

/// `bearerd install-token`: the running daemon mints it, or the same rule on the file of a stopped one.
pub(super) fn install_token(common: &Common, force: bool) -> Result<(), Stop> {
    match common.ask(Method::POST, "/v1/admin/install-token", Some(&json!({"force": force}))) {
        Ok(minted) => common.minted(&minted, "token"),
        Err(stop) if stop.exit == Exit::Conflict => Err(complete(&stop.says)),
        Err(stop) => {
            offline::in_its_absence(common, stop)?;
            install_token_offline(common, force)
        }
    }
}

/// Setup is complete: what opens it again.
fn complete(says: &str) -> Stop {
    Stop { exit: Exit::Conflict, says: format!("{says} (`--force` opens it once more)") }
}

fn install_token_offline(common: &Common, force: bool) -> Result<(), Stop> {
    let failed = |error: &dyn std::fmt::Display| Stop::failed(error.to_string());
    let Offline { store, loaded } = offline::open(common)?;
    let fresh = fresh().map_err(|error| failed(&error))?;
    let outcome = store.write_blocking(move |txn| {
        let terms = Terms { settings: &loaded.settings, keyring: &loaded.keyring };
        install::mint(txn, terms, &offline::by(), force, &fresh)
    });
    let minted = match outcome.map_err(|error| failed(&error))? {
        Ok(minted) => minted,
        Err(refusal @ Refusal::Conflict(_)) => return Err(complete(&refusal.to_string())),
        Err(refusal) => return Err(failed(&refusal)),
    };
    store.close().map_err(offline::cannot_open)?;
    let shown = json!({"id": minted.token.id.to_string(), "token": minted.secret.expose()});
    common.minted(&shown, "token")
}

/// `bearerd clock reset`.
pub(super) fn reset_clock(common: &Common) -> Result<(), Stop> {
    common.confirm(
        "The highest time seen will be set to now: what only a wrong clock had expired lives again",
    )?;
    let reset = common.ask(Method::POST, "/v1/admin/clock/reset", None)?;
    let revived = reset.get("revived").and_then(Value::as_u64).unwrap_or_default();
    let tokens = output::counted(revived, "token");
    common.done(&reset, &format!("the highest time is now; come back to life: {tokens}"))
}

/// `bearerd compact`: while the daemon runs.
pub(super) fn compact(common: &Common) -> Result<(), Stop> {
    let compacted = match common.ask(Method::POST, "/v1/admin/compact", None) {
        Ok(compacted) => compacted,
        Err(stop) => {
            offline::in_its_absence(common, stop)?;
            compact_offline(common)?
        }
    };
    let bytes = |name: &str| compacted.get(name).and_then(Value::as_u64).unwrap_or_default();
    common
        .done(&compacted, &format!("{} bytes before, {} after", bytes("bytes_before"), bytes("bytes_after")))
}

fn compact_offline(common: &Common) -> Result<Value, Stop> {
    let Offline { store, .. } = offline::open(common)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Stop::failed(error.to_string()))?;
    let compacted = runtime.block_on(store.compact()).map_err(|error| Stop::failed(error.to_string()))?;
    store.close().map_err(offline::cannot_open)?;
    Ok(json!({"bytes_before": compacted.bytes_before, "bytes_after": compacted.bytes_after}))
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List entries, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only so many
        #[arg(long, default_value_t = 50, value_parser = rows)]
        limit: usize,
    },
    /// Show the newest entries, oldest first
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// How many
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: usize,
        /// Go on as more come
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Print the whole log as JSON lines, oldest first
    Export,
    /// Check that no entry was changed, removed or put in
    Verify,
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only what this actor did: a user by id or e-mail, another by id, `system`, or `local:UID`
    #[arg(long)]
    actor: Option<String>,
    /// Only this action
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this, as the list names it
    #[arg(long)]
    resource: Option<String>,
    /// Only from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    /// The log knows users by id alone.
    fn with_ids(&mut self, common: &Common) -> Result<(), Stop> {
        if let Some(actor) = self.actor.as_mut().filter(|actor| actor.contains('@')) {
            *actor = user::id(common, actor)?;
        }
        Ok(())
    }

    fn target(&self) -> String {
        let filters = [
            ("actor", self.actor.clone()),
            ("action", self.action.clone()),
            ("resource", self.resource.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ];
        filtered(LOG, &filters)
    }

    /// Whether it lets an entry through, as the daemon would find. It has judged the times.
    fn takes(&self, entry: &Value) -> bool {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let is = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
        let at = parse_rfc3339(text("at"));
        is(&self.actor, text("actor"))
            && is(&self.action, text("action"))
            && is(&self.resource, text("resource"))
            && self.since.as_deref().is_none_or(|since| at >= parse_rfc3339(since))
            && self.until.as_deref().is_none_or(|until| at < parse_rfc3339_end(until))
    }
}

impl Audit {
    pub(super) fn run(mut self, common: &Common) -> Result<(), Stop> {
        if let Self::List { filter, .. } | Self::Tail { filter, .. } = &mut self {
            filter.with_ids(common)?;
        }
        match self {
            Self::List { filter, limit } => common.list(&filter.target(), ENTRIES, Some(limit)),
            Self::Export => export(common),
            Self::Verify => verify(common),
            Self::Tail { filter, lines, follow } => tail(common, &filter, lines, follow),
        }
    }
}

fn export(common: &Common) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    match common.client()?.stream("/v1/admin/audit/export", &mut |_, piece| out.write_all(piece))? {
        Ok(_) => out.flush().map_err(|error| Stop::failed(format!("standard output: {error}"))),
        Err(problem) => Err(Stop::failed(problem.detail())),
    }
}

fn verify(common: &Common) -> Result<(), Stop> {
    let chain = match common.get("/v1/admin/audit/verify") {
        Ok(chain) => chain,
        Err(stop) => {
            offline::in_its_absence(common, stop)?;
            verify_offline(common)?
        }
    };
    let text = |name: &str| chain.get(name).map(ToString::to_string).unwrap_or_default();
    if chain.get("holds").and_then(Value::as_bool) == Some(true) {
        return common.done(
            &chain,
            &format!("the chain of {} entries holds, up to number {}", text("entries"), text("head")),
        );
    }
    if common.json {
        output::json(&chain)?;
    }
    Err(Stop::failed(chain.get("error").and_then(Value::as_str).unwrap_or("the chain does not hold")))
}

fn verify_offline(common: &Common) -> Result<Value, Stop> {
    let Offline { store, .. } = offline::open(common)?;
    let told = |error: &dyn std::fmt::Display| Stop::failed(error.to_string());
    let view = store.view();
    let head = AuditHead::of(&*view).map_err(|fault| told(&fault))?.seq;
    let outcome = audit::verify(&*view, &mut |_| Ok(())).map_err(|fault| told(&fault))?;
    drop(view);
    store.close().map_err(offline::cannot_open)?;
    Ok(match outcome {
        Ok(entries) => json!({"holds": true, "entries": entries, "head": head}),
        Err(broken) => json!({"holds": false, "entries": 0, "head": head, "error": broken.to_string()}),
    })
}

fn tail(common: &Common, filter: &Filter, lines: usize, follow: bool) -> Result<(), Stop> {
    let newest = |count| common.items(LOG, Some(count));
    let show = |entries: &[Value]| {
        entries
            .iter()
            .rev()
            .try_for_each(|entry| output::line(&if common.json { entry.to_string() } else { told(entry) }))
    };
    // What comes while the first lines are being found is not among them, and follows.
    let mut last = newest(1)?.first().map_or(0, seq);
    // Of none, too, one is asked for: so the daemon judges what the filter says.
    let mut first = common.items(&filter.target(), Some(lines.max(1)))?;
    first.truncate(lines);
    if follow {
        first.retain(|entry| seq(entry) <= last);
    }
    show(&first)?;
    if !follow {
        return Ok(());
    }
    loop {
        thread::sleep(TAIL_PAUSE);
        // Whatever is wanted of them: the daemon would look for it through the whole log, each time.
        let mut news = news(last, newest)?;
        last = news.first().map_or(last, seq);
        news.retain(|entry| filter.takes(entry));
        show(&news)?;
    }
}

/// An entry's number.
fn seq(entry: &Value) -> u64 {
    entry.get("seq").and_then(Value::as_u64).unwrap_or_default()
}

/// The entries after number `last`, newest first. `newest` answers so many of the newest ones.
fn news(last: u64, newest: impl Fn(usize) -> Result<Vec<Value>, Stop>) -> Result<Vec<Value>, Stop> {
    /// Room for what comes while they are asked for.
    const SPARE: usize = 500;
    let mut wanted = 1;
    loop {
        let mut entries = newest(wanted)?;
        let count = entries.first().map_or(0, seq).saturating_sub(last);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // Fewer than wanted are all that there are: retention has cut the others.
        if count <= entries.len() || entries.len() < wanted {
            entries.retain(|entry| seq(entry) > last);
            return Ok(entries);
        }
        wanted = count.saturating_add(SPARE);
    }
}

/// An entry on one line.
fn told(entry: &Value) -> String {
    let text = |name: &str| {
        entry.get(name).map_or_else(String::new, |value| match value {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        })
    };
    let names = ["seq", "at", "actor", "actor_label", "action", "resource", "params"];
    let words: Vec<String> = names.into_iter().map(text).filter(|word| !word.is_empty()).collect();
    output::shown(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What `news` finds and asks for where the log grows to the next of `heads` with each question.
    fn found(last: u64, heads: &[u64]) -> (Vec<u64>, Vec<usize>) {
        let (asked, mut heads) = (RefCell::new(Vec::new()), heads.iter());
        let heads = RefCell::new(core::iter::from_fn(move || heads.next().copied()));
        let found = news(last, |count| {
            asked.borrow_mut().push(count);
            let head = heads.borrow_mut().next().unwrap();
            Ok((1..=head).rev().take(count).map(|seq| json!({"seq": seq})).collect())
        });
        (found.unwrap().iter().map(seq).collect(), asked.into_inner())
    }

    #[test]
    fn a_look_for_more_costs_one_entry_where_there_is_nothing_new() {
        assert_eq!(found(0, &[0]), (vec![], vec![1]));
        assert_eq!(found(7, &[7]), (vec![], vec![1]));
        assert_eq!(found(7, &[8]), (vec![8], vec![1]));
    }

    #[test]
    fn what_comes_while_it_is_looked_for_is_not_missed() {
        assert_eq!(found(7, &[10, 10]), ((8..=10).rev().collect(), vec![1, 503]));
        assert_eq!(found(7, &[10, 500]), ((8..=500).rev().collect(), vec![1, 503]));
        assert_eq!(found(7, &[10, 511, 512]), ((8..=512).rev().collect(), vec![1, 503, 1004]));
    }

    #[test]
    fn entries_that_retention_has_cut_are_not_waited_for() {
        let left =
            news(7, |count| Ok([12, 11].into_iter().take(count).map(|seq| json!({"seq": seq})).collect()));
        assert_eq!(left.unwrap().iter().map(seq).collect::<Vec<_>>(), [12, 11]);
    }

    #[test]
    fn a_filter_takes_of_what_follows_what_the_daemon_would_list() {
        let entry = json!({
            "at": "2026-01-31T12:00:00Z", "actor": "user_1", "action": "client.create", "resource": "client_1",
        });
        let takes = |name: &str, value: &str| {
            let some = |own: &str| (own == name).then(|| value.to_owned());
            let filter = Filter {
                actor: some("actor"),
                action: some("action"),
                resource: some("resource"),
                since: some("since"),
                until: some("until"),
            };
            filter.takes(&entry)
        };
        assert!(takes("", ""));
        for (name, value) in [("actor", "user_1"), ("action", "client.create"), ("resource", "client_1")] {
            assert!(takes(name, value) && !takes(name, "other"), "{name}");
        }
        assert!(takes("since", "2026-01-31T12:00:00Z") && !takes("since", "2026-01-31T12:00:01Z"));
        assert!(takes("until", "2026-01-31T12:00:00.5Z") && !takes("until", "2026-01-31T12:00:00Z"));
    }
}
