//! When everything happens: an open-loop schedule.
//!
//! Every instant follows from the seed and a position alone. A slow broker does not slow the schedule down, and each
//! latency counts from the instant at which the thing was due, so a stall shows up in everything that it delayed
//! instead of hiding it (coordinated omission).

use crate::clock::Micros;
use crate::random::Spread;
use crate::scenario::{Messages, Scenario, Stream};

/// Streams of the seeded spread, one a purpose.
mod stream {
    pub(super) const ARRIVAL: u64 = 1;
    pub(super) const REPORT: u64 = 2;
    pub(super) const DESIRED: u64 = 3;
    pub(super) const TOKEN: u64 = 4;
    /// And one for each stream from here on.
    pub(super) const STREAMS: u64 = 16;
}

/// The instants of one run, each computed when asked for.
#[derive(Clone, Debug)]
pub struct Schedule {
    spread: Spread,
    /// When the first device may come: whoever watches is ready by then.
    origin: Micros,
    devices: u32,
    gap_us: u64,
    gap_jitter_us: u64,
    reports: Series,
    desired: Series,
    gateways: u32,
    tokens: Series,
    impostors: u32,
    streams: Vec<Phase>,
}

/// A stream's times.
#[derive(Clone, Copy, Debug)]
struct Phase {
    start_us: u64,
    interval_us: u64,
    burst: u32,
    span_us: u64,
}

/// A repeated thing: so many, so far apart, spread by so much.
#[derive(Clone, Copy, Debug)]
struct Series {
    count: u32,
    delay_us: u64,
    interval_us: u64,
    jitter_us: u64,
}

impl Series {
    fn new(count: u32, part: &Messages) -> Self {
        let interval_us = part.interval_ms.saturating_mul(1_000);
        let jitter_us = share(interval_us, part.jitter);
        Self {
            count,
            delay_us: part.delay_ms.saturating_mul(1_000),
            interval_us,
            jitter_us,
        }
    }

    /// Nothing of this series is due after this long.
    fn span_us(&self) -> u64 {
        let gaps = u64::from(self.count.saturating_sub(1)).saturating_mul(self.interval_us);
        self.delay_us
            .saturating_add(gaps)
            .saturating_add(self.jitter_us)
    }
}

impl Phase {
    fn new(stream: &Stream) -> Self {
        Self {
            start_us: stream.start_ms.saturating_mul(1_000),
            interval_us: stream.interval_ms.saturating_mul(1_000),
            burst: stream.burst,
            span_us: stream.span_ms().saturating_mul(1_000),
        }
    }
}

/// A share of a time; the checked scenario keeps it within 0 and 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a jitter needs no precision beyond 52 bits, and `as` saturates"
)]
fn share(us: u64, part: f64) -> u64 {
    (us as f64 * part) as u64
}

impl Schedule {
    /// Lays out a scenario from `origin` on.
    #[must_use]
    pub fn new(scenario: &Scenario, origin: Micros) -> Self {
        let gap_us = share(1_000_000, 1.0 / scenario.arrivals.rate_per_s);
        Self {
            spread: Spread::new(&scenario.fleet.seed),
            origin,
            devices: scenario.fleet.devices,
            gap_us,
            gap_jitter_us: share(gap_us, scenario.arrivals.jitter),
            reports: Series::new(scenario.reports_each(), &scenario.reports),
            desired: Series::new(scenario.desired_each(), &scenario.desired),
            gateways: scenario.gateways.count,
            tokens: Series {
                count: scenario.gateways.tokens,
                delay_us: 0,
                interval_us: scenario.gateways.interval_ms.saturating_mul(1_000),
                jitter_us: 0,
            },
            impostors: scenario.impostors.count,
            streams: scenario.streams.iter().map(Phase::new).collect(),
        }
    }

    /// When a device connects. Devices arrive in the order of their numbers.
    #[must_use]
    pub fn arrival(&self, device: u32) -> Micros {
        let slot = u64::from(device).saturating_mul(self.gap_us);
        let jitter = self
            .spread
            .below(stream::ARRIVAL, u64::from(device), 0, self.gap_jitter_us);
        self.origin.plus(slot).plus(jitter)
    }

    /// When a device's report is due, counted from its arrival.
    #[must_use]
    pub fn report(&self, device: u32, sequence: u32) -> Micros {
        self.instant(
            self.arrival(device),
            stream::REPORT,
            &self.reports,
            device,
            sequence,
        )
    }

    /// When the controller is due to tell a device something.
    #[must_use]
    pub fn desired(&self, device: u32, sequence: u32) -> Micros {
        self.instant(
            self.arrival(device),
            stream::DESIRED,
            &self.desired,
            device,
            sequence,
        )
    }

    /// When a sender's message of a stream is due. Senders are spread over the interval.
    #[must_use]
    pub fn stream(&self, stream: u8, sender: u32, sequence: u32) -> Micros {
        let Some(phase) = self.streams.get(usize::from(stream)) else {
            return self.end();
        };
        let spread = self.spread.below(
            stream::STREAMS + u64::from(stream),
            u64::from(sender),
            0,
            phase.interval_us,
        );
        let slot = u64::from(sequence / phase.burst.max(1)).saturating_mul(phase.interval_us);
        self.origin.plus(phase.start_us).plus(spread).plus(slot)
    }

    /// When a gateway asks for a token; gateways are spread over the arrivals.
    #[must_use]
    pub fn token(&self, gateway: u32, sequence: u32) -> Micros {
        let begin = self
            .origin
            .plus(self.part_of_arrivals(gateway, self.gateways));
        self.instant(begin, stream::TOKEN, &self.tokens, gateway, sequence)
    }

    /// When an impostor tries: after its victim's login was due, in the order of their numbers.
    #[must_use]
    pub fn impostor(&self, impostor: u32) -> Micros {
        let victim = self.arrival(impostor % self.devices.max(1));
        victim.plus(self.part_of_arrivals(impostor + 1, self.impostors + 1))
    }

    /// Nothing is due later than this.
    #[must_use]
    pub fn end(&self) -> Micros {
        let arrivals = u64::from(self.devices).saturating_mul(self.gap_us);
        let longest = self
            .reports
            .span_us()
            .max(self.desired.span_us())
            .max(self.tokens.span_us());
        let streams = self
            .streams
            .iter()
            .map(|phase| phase.start_us.saturating_add(phase.span_us));
        let streamed = streams.max().unwrap_or(0);
        self.origin
            .plus(arrivals.saturating_add(longest).max(streamed))
    }

    /// When the last device is due to connect.
    #[must_use]
    pub fn arrivals_end(&self) -> Micros {
        self.arrival(self.devices.saturating_sub(1))
    }

    fn part_of_arrivals(&self, index: u32, of: u32) -> u64 {
        let span = u64::from(self.devices).saturating_mul(self.gap_us);
        span.saturating_mul(u64::from(index)) / u64::from(of.max(1))
    }

    fn instant(
        &self,
        begin: Micros,
        stream: u64,
        series: &Series,
        index: u32,
        sequence: u32,
    ) -> Micros {
        let slot = series.interval_us.saturating_mul(u64::from(sequence));
        let jitter = self.spread.below(
            stream,
            u64::from(index),
            u64::from(sequence),
            series.jitter_us,
        );
        begin.plus(series.delay_us).plus(slot).plus(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::builtin;

    fn smoke(seed: &str) -> Scenario {
        let mut scenario = builtin("smoke").expect("built in");
        scenario.fleet.devices = 300;
        scenario.fleet.seed = seed.to_owned();
        scenario
    }

    fn all(schedule: &Schedule, scenario: &Scenario) -> Vec<Micros> {
        let mut instants = Vec::new();
        for device in 0..scenario.fleet.devices {
            instants.push(schedule.arrival(device));
            instants.extend(
                (0..scenario.reports_each()).map(|sequence| schedule.report(device, sequence)),
            );
            instants.extend(
                (0..scenario.desired_each()).map(|sequence| schedule.desired(device, sequence)),
            );
        }
        for gateway in 0..scenario.gateways.count {
            instants.extend(
                (0..scenario.gateways.tokens).map(|sequence| schedule.token(gateway, sequence)),
            );
        }
        instants.extend((0..scenario.impostors.count).map(|impostor| schedule.impostor(impostor)));
        instants
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let scenario = smoke("a");
        let one = all(&Schedule::new(&scenario, Micros(5)), &scenario);
        assert_eq!(one, all(&Schedule::new(&scenario, Micros(5)), &scenario));
        let other = smoke("b");
        assert_ne!(one, all(&Schedule::new(&other, Micros(5)), &other));
    }

    #[test]
    fn devices_arrive_in_order_and_at_the_rate_asked_for() {
        let scenario = smoke("order");
        let schedule = Schedule::new(&scenario, Micros(0));
        let arrivals: Vec<Micros> = (0..300).map(|device| schedule.arrival(device)).collect();
        assert!(arrivals.is_sorted());
        let expected_us = 299.0 / scenario.arrivals.rate_per_s * 1e6;
        let last = arrivals.last().expect("some").0 as f64;
        assert!(
            (expected_us..expected_us * 1.01).contains(&last),
            "{last} against {expected_us}"
        );
    }

    #[test]
    fn nothing_is_due_after_the_end_or_before_its_device() {
        let scenario = smoke("end");
        let schedule = Schedule::new(&scenario, Micros(1_000));
        assert!(
            all(&schedule, &scenario)
                .iter()
                .all(|&at| at >= Micros(1_000) && at <= schedule.end())
        );
        for device in 0..300 {
            assert!(schedule.report(device, 0) > schedule.arrival(device));
            assert!(schedule.desired(device, 0) > schedule.arrival(device));
        }
    }

    #[test]
    fn an_impostor_comes_after_its_victim() {
        let scenario = smoke("victim");
        let schedule = Schedule::new(&scenario, Micros(0));
        assert!(schedule.impostor(0) > schedule.arrival(0));
    }
}
