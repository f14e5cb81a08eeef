//! What a scenario says.

use serde::{Deserialize, Serialize};

/// A scenario, checked: see [`parse`](super::parse).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it shows, in one line.
    #[serde(default)]
    pub summary: String,
    /// Who.
    pub fleet: Fleet,
    /// How they come.
    pub arrivals: Arrivals,
    /// How long.
    pub run: Run,
    /// What devices say.
    pub reports: Messages,
    /// What devices are told.
    pub desired: Messages,
    /// Who fetches tokens over CoAP.
    #[serde(default)]
    pub gateways: Gateways,
    /// Who must not get in.
    #[serde(default)]
    pub impostors: Impostors,
    /// Limits on top of what every run must hold.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// The devices.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// How many.
    pub devices: u32,
    /// What their keys and the schedule derive from.
    pub seed: String,
    /// How their ids begin.
    pub prefix: String,
    /// MQTT keep-alive.
    pub keep_alive_s: u16,
    /// A device that is not subscribed this long after it was due has failed.
    pub login_timeout_s: u64,
}

/// How devices come: open loop.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// Logins a second.
    pub rate_per_s: f64,
    /// Spread of each arrival, as a share of the gap between two.
    pub jitter: f64,
}

/// How long a run takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// How long each device keeps reporting and being told.
    pub duration_s: f64,
    /// How long after the schedule's last instant what is under way may take.
    pub grace_s: u64,
}

/// Messages to or from each device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// From a device's arrival to the first.
    pub delay_ms: u64,
    /// From one to the next; 0 sends none.
    pub interval_ms: u64,
    /// Spread of each, as a share of the interval.
    pub jitter: f64,
    /// Payloads are padded to this.
    pub payload_bytes: u16,
}

/// Gateways.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gateways {
    /// How many.
    pub count: u32,
    /// Tokens that each fetches.
    pub tokens: u32,
    /// From one token to the next.
    pub interval_ms: u64,
}

/// Impostors.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Impostors {
    /// How many; each tries once.
    pub count: u32,
}

/// Limits: the 99th percentiles, from the scheduled instant.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Scheduled arrival to granted login.
    pub login_p99_ms: Option<u64>,
    /// Scheduled report to its PUBACK.
    pub publish_ack_p99_ms: Option<u64>,
    /// Scheduled report to the watcher.
    pub publish_delivery_p99_ms: Option<u64>,
    /// Scheduled order to its device.
    pub desired_delivery_p99_ms: Option<u64>,
    /// Scheduled fetch to the verified token.
    pub token_p99_ms: Option<u64>,
}

impl Scenario {
    /// Reports of each device.
    #[must_use]
    pub fn reports_each(&self) -> u32 {
        self.each(&self.reports)
    }

    /// Orders for each device.
    #[must_use]
    pub fn desired_each(&self) -> u32 {
        self.each(&self.desired)
    }

    /// As many as start within the duration, and one at least.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "checked: both are positive and far below 2^52"
    )]
    fn each(&self, messages: &Messages) -> u32 {
        if messages.interval_ms == 0 {
            return 0;
        }
        let whole = (self.run.duration_s * 1_000.0 / messages.interval_ms as f64).ceil();
        (whole as u32).max(1)
    }
}
