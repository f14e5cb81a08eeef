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
    /// Messages between two members of the fleet, or from many to the watcher, phase by phase.
    #[serde(default)]
    pub streams: Vec<Stream>,
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
    /// How everybody logs in.
    #[serde(default)]
    pub login: Login,
    /// How long sessions outlive their connections, s: above 0 the broker must keep what they have not acknowledged.
    #[serde(default)]
    pub session_expiry_s: u32,
}

/// How the fleet, the watcher and the controller log in.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Login {
    /// With their keys: the methods of Keygate.
    #[default]
    #[serde(rename = "kg-ed25519")]
    KgEd25519,
    /// With user name (the id) and a password that derives from the seed: what any broker takes.
    #[serde(rename = "password")]
    Password,
}

/// How devices come: open loop.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// Logins a second.
    pub rate_per_s: f64,
    /// Spread of each arrival, as a share of the gap between two.
    pub jitter: f64,
    /// Logins under way at a time; 0 for any number. With a bound the fleet comes as fast as the broker takes it, and
    /// latencies still count from the instant at which each was due.
    #[serde(default)]
    pub at_once_max: u32,
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

/// A phase of messages at QoS 1. Senders are the devices with even numbers; each has a partner, the next odd one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What the report calls it.
    pub name: String,
    /// Who reads it.
    pub to: Reader,
    /// How many devices send.
    pub senders: u32,
    /// Messages of each.
    pub count: u32,
    /// How many of them at a time.
    pub burst: u32,
    /// From one burst of a sender to its next; senders are spread over it.
    pub interval_ms: u64,
    /// From the first device's arrival to the phase's start.
    pub start_ms: u64,
    /// Payloads are padded to this.
    pub payload_bytes: u16,
}

/// Who reads a stream.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// Each sender's partner, which subscribes to that and nothing else: one publisher, one subscriber.
    Partner,
    /// The watcher: many publishers, one subscriber.
    Watcher,
}

impl Stream {
    /// From its start to its last message, ms.
    #[must_use]
    pub fn span_ms(&self) -> u64 {
        let bursts = u64::from(self.count.div_ceil(self.burst.max(1)));
        bursts.saturating_mul(self.interval_ms)
    }
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

    /// Whether odd devices listen to even ones.
    #[must_use]
    pub fn has_partners(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.to == Reader::Partner)
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
