//! What a scrape of the metrics finds: the counters, and what is so at this moment.

use super::{App, walk::Walked};
use crate::{
    config::services::ServiceStatus,
    metrics::{
        exposition::{Family, Labels, Spread},
        float,
    },
    rules::tokens,
    store::{COMMIT_TIME_UNIT_MICROS, Distribution, Health, Stats},
};

const MICROS_IN_A_SECOND: f64 = 1e6;

impl App {
    /// Every family of the metrics.
    pub fn scrape(&self) -> Vec<Family> {
        let mut families = self.metrics().families();
        families.extend(store_families(&self.store().stats()));
        families.extend(self.stored_tokens());
        families.push(findings(self.last_walk()));
        families.extend(self.service_families());
        let snapshot = self.snapshot();
        families.push(one(
            "bearerd_config_generation",
            "Which configuration is in force: 1 at start, one more for each reload that was taken",
            float(snapshot.generation),
        ));
        families.extend(self.reload_families());
        families.push(one(
            "bearerd_last_use_backlog",
            "Last uses that are noted in memory and have not reached the disk",
            float(self.last_used.backlog().try_into().unwrap_or(u64::MAX)),
        ));
        families.push(one(
            "bearerd_ready",
            "Whether new requests are welcome (1), or the daemon is on its way out (0)",
            truth(self.is_ready()),
        ));
        families.push(Family::gauge(
            "bearerd_build_info",
            "The version that is running; always 1",
            vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
        ));
        families
    }

    /// None where they cannot be read: a sample that is missing says so better than a zero.
    fn stored_tokens(&self) -> Option<Family> {
        let counts = self.store().look(tokens::counts).ok()?;
        let samples = counts
            .into_iter()
            .map(|(kind, stored)| (vec![("kind", kind.name().to_owned())], float(stored)))
            .collect();
        Some(Family::gauge(
            "bearerd_stored_tokens",
            "Tokens in the store, dead ones included, by kind",
            samples,
        ))
    }

    fn reload_families(&self) -> [Family; 3] {
        let last = self.last_reload();
        [
            one(
                "bearerd_config_last_reload_successful",
                "Whether the last reload was taken; 1 before the first",
                truth(last.faults.is_empty()),
            ),
            one(
                "bearerd_config_last_reload_timestamp_seconds",
                "When the last reload ended, taken or not; before the first, the start",
                float(last.at.unix()),
            ),
            one(
                "bearerd_config_needs_restart",
                "How many changed settings wait for a restart",
                float(last.needs_restart.len().try_into().unwrap_or(u64::MAX)),
            ),
        ]
    }

    fn service_families(&self) -> [Family; 3] {
        let snapshot = self.snapshot();
        let mut enabled = Vec::new();
        let mut uses = Vec::new();
        let mut last = Vec::new();
        for (service, status) in &snapshot.services.status {
            let named: Labels = vec![("service", service.to_string())];
            enabled.push((named.clone(), truth(status.is_enabled())));
            let ServiceStatus::Enabled { slots } = status else { continue };
            for slot in slots {
                let mut labels = named.clone();
                labels.push(("slot", slot.clone()));
                let slot_use = self.slots().of(service, slot);
                last.push((labels.clone(), slot_use.last.map_or(0.0, |at| float(at.unix()))));
                uses.push((labels, slot_use.uses));
            }
        }
        [
            Family::gauge("bearerd_service_enabled", "Whether a service's secrets are accepted", enabled),
            Family::counter(
                "bearerd_service_secret_uses",
                "Uses of a service's secret since the start",
                uses,
            ),
            Family::gauge(
                "bearerd_service_secret_last_use_timestamp_seconds",
                "When a service's secret was last used; 0 if not since the start",
                last,
            ),
        ]
    }
}

fn store_families(stats: &Stats) -> Vec<Family> {
    let (well, full) = match stats.health {
        Health::Well => (true, false),
        Health::Full(_) => (false, true),
        Health::Unavailable(_) | Health::Closed => (false, false),
    };
    vec![
        Family::counter(
            "bearerd_store_commits",
            "Commits since the start",
            vec![(Vec::new(), stats.commits)],
        ),
        Family::histogram(
            "bearerd_store_commit_duration_seconds",
            "Time that a commit takes, its sync to the disk included",
            vec![(Vec::new(), commit_times(stats))],
        ),
        Family::histogram(
            "bearerd_store_commit_operations",
            "Operations that share a commit",
            vec![(Vec::new(), spread(&stats.batch_operations, float, float(stats.batch_operations.sum)))],
        ),
        one(
            "bearerd_store_queue_operations",
            "Operations that wait for the writer",
            float(stats.queue_depth.try_into().unwrap_or(u64::MAX)),
        ),
        Family::counter(
            "bearerd_store_refused_operations",
            "Operations that were refused because too many waited",
            vec![(Vec::new(), stats.refused_busy)],
        ),
        one("bearerd_store_size_bytes", "The size of the store's file", float(stats.file_bytes)),
        Family::counter(
            "bearerd_store_reopened",
            "How often the engine was opened again after a fault",
            vec![(Vec::new(), stats.reopened)],
        ),
        one("bearerd_store_degraded", "Whether changes are refused because of a fault", truth(!well)),
        one("bearerd_store_full", "Whether changes are refused because the disk is full", truth(full)),
        one(
            "bearerd_clock_behind_seconds",
            "By how much the system's clock is behind the highest time seen",
            float(stats.clock_behind_ms) / 1e3,
        ),
    ]
}

fn findings(last_walk: Option<Walked>) -> Family {
    one(
        "bearerd_store_findings",
        "What the last walk through a large store found that is not as it must be; 0 before its end",
        float(last_walk.map_or(0, |walked| walked.findings)),
    )
}

/// The store counts in units, rounded down: a bucket holds what is less than one unit above its bound.
fn commit_times(stats: &Stats) -> Spread {
    let seconds =
        |bound: u64| float(bound.saturating_add(1)) * float(COMMIT_TIME_UNIT_MICROS) / MICROS_IN_A_SECOND;
    spread(&stats.commit_time, seconds, stats.commit_time_sum.as_secs_f64())
}

/// Buckets whose bounds double; the last one has none.
fn spread(distribution: &Distribution, bound: impl Fn(u64) -> f64, sum: f64) -> Spread {
    let last = distribution.buckets.len().saturating_sub(1);
    let bounds = (0..).map(|place| if place == last { f64::INFINITY } else { bound(1 << place) });
    Spread { sum, buckets: bounds.zip(distribution.buckets).collect() }
}

fn one(name: &'static str, help: &'static str, value: f64) -> Family {
    Family::gauge(name, help, vec![(Vec::new(), value)])
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::exposition::Samples, records::Time};

    #[test]
    fn what_a_walk_has_found_is_told_until_the_next_one_ends() {
        let told = |last_walk| match findings(last_walk).samples {
            Samples::Gauge(samples) => samples,
            other => panic!("{other:?}"),
        };
        let walked = Walked { at: Time::from_unix(1), rows: 9, findings: 3 };
        assert_eq!(told(Some(walked)), [(Vec::new(), 3.0)]);
        assert_eq!(told(None), [(Vec::new(), 0.0)]);
    }
}
