//! The counters: what happened since the daemon started, as atomic numbers.
//!
//! Counting never waits and never allocates, so that verification may count. What a number is counted by
//! is a closed list known at start (a route, a status, a kind, a reason); never a token, an id or a user.
//! What is so at a moment (the store's size, say) is not kept here: whoever answers a scrape adds it.

mod connections;
pub mod exposition;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::connections::Connections;
use self::exposition::{Family, Labels, Spread};
use crate::{rules::Reason, token::Kind};

/// The methods that requests are told apart by; every other one is `other`.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// The statuses that requests are told apart by; every other one, which the daemon never answers, is 0.
const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 303, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 417, 421, 422, 429,
    431, 500, 501, 503, 507,
];
/// Upper bounds of the buckets for the time that a request takes, in microseconds. Verification takes tens
/// of them, a commit thousands, a password hash tens of thousands.
const LATENCY_MICROS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];
const MICROS_IN_A_SECOND: f64 = 1e6;

const METHOD_SLOTS: usize = METHODS.len() + 1;
const STATUS_SLOTS: usize = STATUSES.len() + 1;
const LATENCY_SLOTS: usize = LATENCY_MICROS.len() + 1;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: OnceLock<Requests>,
    verifications: [[AtomicU64; OUTCOMES]; PresentedKind::ALL.len()],
    failed: [AtomicU64; Means::ALL.len()],
    reloads: [AtomicU64; 2],
    connections: Arc<Connections>,
}

/// A route as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteName {
    /// Its path with placeholders.
    pub path: &'static str,
    /// Its method, `*` for all of them.
    pub verb: &'static str,
}

#[derive(Debug)]
struct Requests {
    /// One for each route, and the last for requests that no route took.
    rows: Vec<(RouteName, RequestRow)>,
}

#[derive(Debug, Default)]
struct RequestRow {
    counts: [[AtomicU64; STATUS_SLOTS]; METHOD_SLOTS],
    buckets: [AtomicU64; LATENCY_SLOTS],
    sum_micros: AtomicU64,
}

/// What requests without a route are counted under.
const NO_ROUTE: RouteName = RouteName { path: "none", verb: "*" };

/// One outcome that is no reason, and all the reasons.
const OUTCOMES: usize = 1 + Reason::ALL.len();
const GOOD: &str = "ok";

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($variant:ident $word:literal $meaning:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $(#[doc = $meaning] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// What kind of credential a presented one said it was.
    PresentedKind {
        Install "install" "An install token.",
        Session "session" "A session.",
        Pat "pat" "A personal access token.",
        Enrollment "enrollment" "An enrolment token.",
        Agent "agent" "An agent token.",
        Link "link" "A magic link.",
        Service "service" "A service's secret.",
        Portal "portal" "A portal cookie.",
        Other "other" "Something of another spelling.",
    }
}

impl PresentedKind {
    /// What a token of that kind says it is.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Install => Self::Install,
            Kind::Session => Self::Session,
            Kind::Pat => Self::Pat,
            Kind::Enrollment => Self::Enrollment,
            Kind::Agent => Self::Agent,
            Kind::Link => Self::Link,
        }
    }
}

words! {
    /// What somebody tried to prove who they are with, and failed.
    Means {
        Bearer "bearer" "A bearer that a route of the API was asked with.",
        Client "client" "An OAuth client's name and secret.",
        Cookie "cookie" "A portal cookie.",
        Password "password" "An e-mail and a password.",
        InstallToken "install_token" "An install token at setup.",
        Enrollment "enrollment" "An enrolment token.",
        Link "link" "A magic link.",
    }
}

impl Metrics {
    /// Names the routes that requests are counted by; the first call counts.
    pub fn name_routes(&self, routes: impl Iterator<Item = RouteName>) {
        self.requests.get_or_init(|| Requests {
            rows: routes.chain([NO_ROUTE]).map(|name| (name, RequestRow::default())).collect(),
        });
    }

    /// Counts an answered request: the route's place in the list that was named, none where no route took it.
    pub fn answered(&self, route: Option<usize>, method: &str, status: u16, took: Duration) {
        let Some(requests) = self.requests.get() else { return };
        let row = route.and_then(|place| requests.rows.get(place)).or(requests.rows.last());
        if let Some((_, row)) = row {
            row.count(method, status, took);
        }
    }

    /// Counts a verification and what came of it; none where the credential was good.
    pub fn verified(&self, kind: PresentedKind, refused: Option<Reason>) {
        let outcome = refused.map_or(0, |reason| reason.number().saturating_add(1));
        if let Some(count) = self.verifications.get(kind as usize).and_then(|row| row.get(outcome)) {
            add(count, 1);
        }
    }

    /// Counts a failed attempt to prove who one is.
    pub fn failed(&self, means: Means) {
        if let Some(count) = self.failed.get(means as usize) {
            add(count, 1);
        }
    }

    /// Counts a reload that was taken, or refused.
    pub fn reloaded(&self, taken: bool) {
        if let Some(count) = self.reloads.get(usize::from(taken)) {
            add(count, 1);
        }
    }

    /// What the server counts of its connections.
    pub const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The families of all that is counted here.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.requests.get().map(Requests::families).unwrap_or_default();
        families.extend(self.connections.families());
        families.push(Family::counter(
            "bearerd_verifications",
            "Presented credentials by what they said they were and what came of it",
            self.verification_samples(),
        ));
        families.push(Family::counter(
            "bearerd_failed_authentications",
            "Attempts to prove who one is that failed, by means",
            Means::ALL
                .iter()
                .zip(&self.failed)
                .map(|(means, count)| (vec![("means", means.name().to_owned())], read(count)))
                .collect(),
        ));
        families.push(Family::counter(
            "bearerd_reloads",
            "Reloads of configuration, keys and secrets by outcome",
            ["refused", "taken"]
                .iter()
                .zip(&self.reloads)
                .map(|(outcome, count)| (vec![("outcome", (*outcome).to_owned())], read(count)))
                .collect(),
        ));
        families
    }

    fn verification_samples(&self) -> Vec<(Labels, u64)> {
        let words = || core::iter::once(GOOD).chain(Reason::ALL.iter().map(|reason| reason.name()));
        let mut samples = Vec::new();
        for (kind, row) in PresentedKind::ALL.iter().zip(&self.verifications) {
            for (result, count) in words().zip(row) {
                // What never happened is left out, but for the good ones, so that rates have a zero.
                let count = read(count);
                if count > 0 || result == GOOD {
                    let labels = vec![("kind", kind.name().to_owned()), ("result", result.to_owned())];
                    samples.push((labels, count));
                }
            }
        }
        samples
    }
}

impl Requests {
    fn families(&self) -> Vec<Family> {
        let mut counts = Vec::new();
        let mut times = Vec::new();
        for (name, row) in &self.rows {
            row.samples(*name, &mut counts);
            if let Some(spread) = row.spread() {
                let labels = vec![("route", name.path.to_owned()), ("method", name.verb.to_owned())];
                times.push((labels, spread));
            }
        }
        vec![
            Family::counter("bearerd_http_requests", "Requests by route, method and status", counts),
            Family::histogram(
                "bearerd_http_request_duration_seconds",
                "Time from a request's head to its answer, by route",
                times,
            ),
        ]
    }
}

impl RequestRow {
    fn count(&self, method: &str, status: u16, took: Duration) {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len());
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        if let Some(count) = self.counts.get(method).and_then(|row| row.get(status)) {
            add(count, 1);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_MICROS.iter().position(|most| micros <= *most).unwrap_or(LATENCY_MICROS.len());
        if let Some(count) = self.buckets.get(bucket) {
            add(count, 1);
        }
        add(&self.sum_micros, micros);
    }

    fn samples(&self, name: RouteName, samples: &mut Vec<(Labels, u64)>) {
        for (method, row) in METHODS.iter().chain(&["other"]).zip(&self.counts) {
            for (status, count) in STATUSES.iter().chain(&[0]).zip(row) {
                let count = read(count);
                if count > 0 {
                    let labels = vec![
                        ("route", name.path.to_owned()),
                        ("method", (*method).to_owned()),
                        ("status", status.to_string()),
                    ];
                    samples.push((labels, count));
                }
            }
        }
    }

    /// None for a route that was never asked.
    fn spread(&self) -> Option<Spread> {
        let bounds = LATENCY_MICROS.iter().map(|micros| float(*micros) / MICROS_IN_A_SECOND);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(self.buckets.iter().map(read)).collect();
        let asked = buckets.iter().any(|(_, count)| *count > 0);
        asked.then(|| Spread { sum: float(read(&self.sum_micros)) / MICROS_IN_A_SECOND, buckets })
    }
}

fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// A count as a sample has it. Beyond 2^53 it is rounded, which no count reaches.
#[expect(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        exposition::prometheus(metrics.families()).unwrap()
    }

    #[track_caller]
    fn says(metrics: &Metrics, line: &str) {
        let text = text(metrics);
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }

    #[test]
    fn a_request_is_counted_under_its_route_and_an_unknown_one_under_none() {
        let metrics = Metrics::default();
        metrics.name_routes([RouteName { path: "/v1/tokens/{id}", verb: "GET" }].into_iter());
        let took = Duration::from_micros(100);
        metrics.answered(Some(0), "GET", 200, took);
        metrics.answered(Some(0), "GET", 200, Duration::from_secs(100));
        metrics.answered(None, "BREW", 418, took);
        metrics.answered(Some(9), "GET", 404, took);
        metrics.answered(None, "POST", 422, took);
        let ok = r#"{route="/v1/tokens/{id}",method="GET",status="200"} 2"#;
        says(&metrics, &format!("bearerd_http_requests_total{ok}"));
        says(&metrics, r#"bearerd_http_requests_total{route="none",method="other",status="0"} 1"#);
        says(&metrics, r#"bearerd_http_requests_total{route="none",method="GET",status="404"} 1"#);
        says(&metrics, r#"bearerd_http_requests_total{route="none",method="POST",status="422"} 1"#);
        let bucket = r#"bearerd_http_request_duration_seconds_bucket{le="0.0001",route="/v1/tokens/{id}",method="GET"} 1"#;
        says(&metrics, bucket);
        let all = r#"bearerd_http_request_duration_seconds_count{route="/v1/tokens/{id}",method="GET"} 2"#;
        says(&metrics, all);
    }

    #[test]
    fn a_verification_is_counted_by_kind_and_reason() {
        let metrics = Metrics::default();
        metrics.verified(PresentedKind::Pat, None);
        metrics.verified(PresentedKind::Pat, Some(Reason::Exhausted));
        metrics.verified(PresentedKind::Other, Some(Reason::Absent));
        says(&metrics, r#"bearerd_verifications_total{kind="pat",result="ok"} 1"#);
        says(&metrics, r#"bearerd_verifications_total{kind="pat",result="exhausted"} 1"#);
        says(&metrics, r#"bearerd_verifications_total{kind="other",result="absent"} 1"#);
        says(&metrics, r#"bearerd_verifications_total{kind="link",result="ok"} 0"#);
        assert!(!text(&metrics).contains(r#"kind="link",result="unknown""#));
    }

    #[test]
    fn every_means_and_outcome_is_there_from_the_start() {
        let metrics = Metrics::default();
        metrics.failed(Means::Password);
        metrics.reloaded(false);
        says(&metrics, r#"bearerd_failed_authentications_total{means="password"} 1"#);
        says(&metrics, r#"bearerd_failed_authentications_total{means="link"} 0"#);
        says(&metrics, r#"bearerd_reloads_total{outcome="refused"} 1"#);
        says(&metrics, r#"bearerd_reloads_total{outcome="taken"} 0"#);
    }
}
