//! Metrics as text: families of samples in, the Prometheus text format out.
//!
//! The text format of old (version 0.0.4) is what every scraper and checker reads, so it is what is
//! written unless the scraper asks for `OpenMetrics`. Knows nothing of what the numbers mean.

use std::fmt::{self, Write};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

/// The labels of one sample: never a token, an id or a user.
pub type Labels = Vec<(&'static str, String)>;

/// A metric with all of its samples.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, with the unit last and without `_total`.
    pub name: &'static str,
    /// What it counts, for people; no full stop.
    pub help: &'static str,
    /// The numbers.
    pub samples: Samples,
}

/// The numbers of a family, by its type.
#[derive(Clone, Debug)]
pub enum Samples {
    /// Only ever grows, until the daemon starts again.
    Counter(Vec<(Labels, u64)>),
    /// What is so at this moment.
    Gauge(Vec<(Labels, f64)>),
    /// How often a value was how large.
    Histogram(Vec<(Labels, Spread)>),
}

/// How often a value was how large.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The sum of all values.
    pub sum: f64,
    /// Upper bounds, rising, the last one infinite, each with how many values lie in its bucket alone.
    pub buckets: Vec<(f64, u64)>,
}

impl Spread {
    fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |all, (_, own)| all.saturating_add(*own))
    }
}

impl Family {
    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str, samples: Vec<(Labels, u64)>) -> Self {
        Self { name, help, samples: Samples::Counter(samples) }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) -> Self {
        Self { name, help, samples: Samples::Gauge(samples) }
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, help: &'static str, samples: Vec<(Labels, Spread)>) -> Self {
        Self { name, help, samples: Samples::Histogram(samples) }
    }

    fn metric_type(&self) -> MetricType {
        match self.samples {
            Samples::Counter(_) => MetricType::Counter,
            Samples::Gauge(_) => MetricType::Gauge,
            Samples::Histogram(_) => MetricType::Histogram,
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.metric_type())?;
        match &self.samples {
            Samples::Counter(samples) => {
                for (labels, value) in samples {
                    let none: Option<&Exemplar<Labels, f64>> = None;
                    labelled(&mut metric, labels, |metric| metric.encode_counter(value, none))?;
                }
            }
            Samples::Gauge(samples) => {
                for (labels, value) in samples {
                    labelled(&mut metric, labels, |metric| metric.encode_gauge(value))?;
                }
            }
            Samples::Histogram(samples) => {
                for (labels, spread) in samples {
                    let (sum, count, buckets) = (spread.sum, spread.count(), &spread.buckets);
                    labelled(&mut metric, labels, |metric| {
                        metric.encode_histogram::<Labels>(sum, count, buckets, None)
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Encodes one sample; the encoder would write braces around no labels at all, which some readers refuse.
fn labelled(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

/// The families of one scrape.
#[derive(Debug)]
struct Scrape(Vec<Family>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// The media type of [`open_metrics`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of [`prometheus`].
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The families in the `OpenMetrics` text format, version 1.0.0.
pub fn open_metrics(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

/// The families in the Prometheus text format, version 0.0.4: a counter's description has the name that
/// its samples have, and nothing is said about the end.
pub fn prometheus(families: Vec<Family>) -> Result<String, fmt::Error> {
    let counters: Vec<&'static str> = families
        .iter()
        .filter(|family| matches!(family.samples, Samples::Counter(_)))
        .map(|family| family.name)
        .collect();
    let open = open_metrics(families)?;
    let mut written = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF") {
        let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let name = described.and_then(|rest| rest.split_once(' ')).map(|(name, _)| name);
        match name {
            Some(name) if counters.contains(&name) => {
                let (before, after) = line.split_once(name).unwrap_or((line, ""));
                writeln!(written, "{before}{name}_total{after}")?;
            }
            _ => writeln!(written, "{line}")?,
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        vec![
            Family::counter("x_requests", "Requests", vec![(vec![("route", "/v1/\"a\"".to_owned())], 7)]),
            Family::gauge("x_size_bytes", "Size", vec![(vec![], 1.5)]),
            Family::histogram(
                "x_duration_seconds",
                "Time",
                vec![(vec![], Spread { sum: 3.5, buckets: vec![(0.1, 1), (1.0, 0), (f64::INFINITY, 2)] })],
            ),
        ]
    }

    #[test]
    fn the_prometheus_text_names_counters_as_their_samples_are_named() {
        let text = prometheus(families()).unwrap();
        let expected = "# HELP x_requests_total Requests\n# TYPE x_requests_total counter\n\
            x_requests_total{route=\"/v1/\\\"a\\\"\"} 7\n\
            # HELP x_size_bytes Size\n# TYPE x_size_bytes gauge\nx_size_bytes 1.5\n\
            # HELP x_duration_seconds Time\n# TYPE x_duration_seconds histogram\n\
            x_duration_seconds_sum 3.5\nx_duration_seconds_count 3\n\
            x_duration_seconds_bucket{le=\"0.1\"} 1\nx_duration_seconds_bucket{le=\"1.0\"} 1\n\
            x_duration_seconds_bucket{le=\"+Inf\"} 3\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn open_metrics_says_its_end() {
        let text = open_metrics(families()).unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("# TYPE x_requests counter\n"));
    }
}
