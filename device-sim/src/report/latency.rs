//! Latencies, counted from the instant at which a thing was due.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_MAX_US: u64 = 600_000_000;

/// One kind of latency in numbers, microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half are at most this.
    pub p50_us: u64,
    /// Nine in ten are at most this.
    pub p90_us: u64,
    /// 99 in 100 are at most this.
    pub p99_us: u64,
    /// 999 in 1000 are at most this.
    pub p999_us: u64,
    /// The worst.
    pub max_us: u64,
}

/// All kinds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Latencies {
    /// Scheduled arrival to granted login (and proven broker): TCP connect, CONNECT, challenge, proof, CONNACK.
    pub login: Latency,
    /// Scheduled arrival to granted subscription.
    pub ready: Latency,
    /// Scheduled report to its PUBACK.
    pub publish_ack: Latency,
    /// Scheduled report to the watcher.
    pub publish_delivery: Latency,
    /// Scheduled order to its device.
    pub desired_delivery: Latency,
    /// Scheduled order to its PUBACK.
    pub desired_ack: Latency,
    /// Scheduled fetch to the verified token.
    pub token: Latency,
    /// How late the simulator itself started things; it is part of all of the above.
    pub schedule_lag: Latency,
}

/// The histograms behind [`Latencies`].
#[derive(Debug)]
pub struct Timings {
    pub(crate) login: Histogram<u64>,
    pub(crate) ready: Histogram<u64>,
    pub(crate) publish_ack: Histogram<u64>,
    pub(crate) publish_delivery: Histogram<u64>,
    pub(crate) desired_delivery: Histogram<u64>,
    pub(crate) desired_ack: Histogram<u64>,
    pub(crate) token: Histogram<u64>,
    pub(crate) schedule_lag: Histogram<u64>,
}

impl Default for Timings {
    fn default() -> Self {
        let new = histogram;
        Self {
            login: new(),
            ready: new(),
            publish_ack: new(),
            publish_delivery: new(),
            desired_delivery: new(),
            desired_ack: new(),
            token: new(),
            schedule_lag: new(),
        }
    }
}

impl Timings {
    /// All kinds in numbers.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        Latencies {
            login: numbers(&self.login),
            ready: numbers(&self.ready),
            publish_ack: numbers(&self.publish_ack),
            publish_delivery: numbers(&self.publish_delivery),
            desired_delivery: numbers(&self.desired_delivery),
            desired_ack: numbers(&self.desired_ack),
            token: numbers(&self.token),
            schedule_lag: numbers(&self.schedule_lag),
        }
    }
}

/// For latencies up to the longest that is told apart.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
        .expect("bounds are in order, 3 digits are allowed")
}

/// A histogram in numbers.
pub(crate) fn numbers(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let at = |quantile| histogram.value_at_quantile(quantile);
    Latency {
        count: histogram.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_that_was_measured() {
        let mut timings = Timings::default();
        for us in 1..=1_000 {
            timings.login.saturating_record(us);
        }
        timings.token.saturating_record(u64::MAX);
        let latencies = timings.latencies();
        let Latency {
            count,
            p50_us,
            p90_us,
            p99_us,
            p999_us,
            max_us,
        } = latencies.login;
        assert_eq!(
            (count, p50_us, p90_us, p99_us, p999_us, max_us),
            (1_000, 500, 900, 990, 999, 1_000)
        );
        assert!(latencies.token.max_us >= LATENCY_MAX_US);
        assert_eq!(latencies.ready, Latency::default());
    }
}
