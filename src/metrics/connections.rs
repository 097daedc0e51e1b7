//! What became of connections, counted by the server that has them.

use std::sync::atomic::AtomicU64;

use super::{
    exposition::{Family, Labels},
    float, read,
};

/// What happened to connections. All but the first only grow.
#[derive(Debug, Default)]
pub struct Connections {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections answered 429, or closed at once, because there were too many.
    pub turned_away: AtomicU64,
    /// Failures to accept a connection.
    pub accept_failures: AtomicU64,
    /// Requests refused before any route saw them.
    pub refused: AtomicU64,
    /// Requests whose body or whose answer took too long.
    pub timed_out: AtomicU64,
    /// Connections still busy when the drain ended.
    pub cut: AtomicU64,
}

impl Connections {
    pub(super) fn families(&self) -> [Family; 3] {
        let troubles = [
            ("turned_away", &self.turned_away),
            ("not_accepted", &self.accept_failures),
            ("refused_unread", &self.refused),
            ("timed_out", &self.timed_out),
            ("cut", &self.cut),
        ];
        let labels = |trouble: &str| -> Labels { vec![("trouble", trouble.to_owned())] };
        [
            Family::gauge(
                "bearerd_http_open_connections",
                "Connections that are open",
                vec![(Vec::new(), float(read(&self.open)))],
            ),
            Family::counter(
                "bearerd_http_connections",
                "Connections accepted since the start",
                vec![(Vec::new(), read(&self.accepted))],
            ),
            Family::counter(
                "bearerd_http_connection_troubles",
                "Connections and requests that came to a bad end below the routes, by what it was",
                troubles.map(|(trouble, count)| (labels(trouble), read(count))).to_vec(),
            ),
        ]
    }
}
