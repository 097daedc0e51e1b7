//! Which settings a reload cannot exchange: those that something was built with when the daemon started.
//!
//! Sockets are bound once, the store is opened once, and queues and connection limits belong to tasks that
//! run from start to stop. Everything else is read from the current [`Settings`] each time it is needed.

use super::Settings;

/// A setting that only a restart changes: its name, and where its value is.
struct RestartOnly {
    name: &'static str,
    differs: fn(&Settings, &Settings) -> bool,
    keep: fn(&Settings, &mut Settings),
}

macro_rules! restart_only {
    ($($section:ident . $field:ident),+ $(,)?) => {
        &[$(RestartOnly {
            name: concat!(stringify!($section), ".", stringify!($field)),
            differs: |running, next| running.$section.$field != next.$section.$field,
            keep: |running, next| next.$section.$field.clone_from(&running.$section.$field),
        }),+]
    };
}

const RESTART_ONLY: &[RestartOnly] = restart_only![
    server.listen,
    server.admin_socket,
    server.admin_socket_mode,
    server.drain_seconds,
    store.dir,
    limits.header_bytes,
    limits.header_seconds,
    limits.request_seconds,
    limits.stall_seconds,
    limits.connections,
    limits.writer_queue,
    limits.password_hashes,
    limits.password_queue,
];

impl Settings {
    /// The names of the settings that differ in `next` and take a restart.
    pub fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        RESTART_ONLY.iter().filter(|row| (row.differs)(self, next)).map(|row| row.name).collect()
    }

    /// What holds after a reload: `next`, but for the settings that take a restart, which stay as they run.
    #[must_use]
    pub fn reloaded(&self, mut next: Self) -> Self {
        for row in RESTART_ONLY {
            (row.keep)(self, &mut next);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Listen, Settings};
    use super::RESTART_ONLY;

    #[test]
    fn the_manual_and_the_example_mark_just_these() {
        let page = include_str!("../../docs/man/bearerd.toml.5");
        let example = include_str!("../../systemd/bearerd.toml");
        let expected: BTreeSet<String> = RESTART_ONLY.iter().map(|row| row.name.to_owned()).collect();

        let mut section = "";
        let mut of_page = BTreeSet::new();
        for line in page.lines() {
            if let Some(name) = line.strip_prefix(".SH [") {
                section = name.trim_end_matches(']');
            } else if let Some((name, said)) = line.strip_prefix(".BR ").and_then(|rest| rest.split_once(' '))
                && said.ends_with("restart)\"")
            {
                of_page.insert(format!("{section}.{name}"));
            }
        }
        assert_eq!(of_page, expected);

        // A paragraph of the example is what it says, then the settings that it says it of.
        let mut section = "";
        let mut of_example = BTreeSet::new();
        for paragraph in example.split("\n\n").skip_while(|paragraph| !paragraph.starts_with('[')) {
            if let Some(name) = paragraph.lines().find_map(|line| line.strip_prefix('[')) {
                section = name.trim_end_matches(']');
            } else if paragraph.contains("Restart.") {
                let set = paragraph.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = "));
                of_example.extend(set.map(|(name, _)| format!("{section}.{name}")));
            }
        }
        assert_eq!(of_example, expected);
    }

    #[test]
    fn a_reload_names_what_it_cannot_change_and_keeps_it() {
        let running = Settings::default();
        let mut next = Settings::default();
        next.server.listen.push(Listen::Unix("/run/api.sock".to_owned()));
        next.store.dir = Some("/srv/bearerd".to_owned());
        next.limits.connections = 7;
        next.sessions.idle = 60;
        next.audit.retention = crate::settings::Retention::Seconds(86_400);
        assert_eq!(running.needs_restart(&next), ["server.listen", "store.dir", "limits.connections"]);
        let next_retention = next.audit.retention;
        let after = running.reloaded(next);
        assert_eq!(running.needs_restart(&after), [""; 0]);
        assert_eq!((after.sessions.idle, after.audit.retention), (60, next_retention));
        assert_eq!(after.server.listen, running.server.listen);
    }

    #[test]
    fn nothing_needs_a_restart_where_nothing_differs() {
        assert_eq!(Settings::default().needs_restart(&Settings::default()), [""; 0]);
    }
}
