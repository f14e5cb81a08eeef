//! The report's fields. `report.json` is this, field by field.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::{Latencies, Latency};
use crate::ledger::Summary;
use crate::scenario::Login;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the simulator.
    pub version: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub summary: String,
    /// What keys and schedule derive from.
    pub seed: String,
    /// How many devices.
    pub devices: u32,
    /// Logins a second that were asked for.
    pub rate_per_s: f64,
    /// Where the broker's MQTT is; an `mqtts://` URL if it was spoken over TLS (1.3, always).
    pub mqtt: String,
    /// Whether the logins were bound to their TLS channels: then none passes on another.
    pub bound: bool,
    /// The broker's CoAP address.
    pub coap: Option<String>,
    /// The broker's name.
    pub broker_id: String,
    /// How to run the same again.
    pub command: String,
    /// How long it took, from the first connection to the last answer.
    pub elapsed_ms: u64,
    /// Whether every check passed.
    pub passed: bool,
    /// How everybody logged in.
    pub login: Login,
    /// Logins.
    pub logins: Logins,
    /// Device to watcher.
    pub reports: Summary,
    /// Controller to device.
    pub desired: Summary,
    /// Streams, in their order.
    pub streams: Vec<StreamReport>,
    /// Tokens over CoAP.
    pub tokens: Tokens,
    /// Those who must not get in.
    pub impostors: Impostors,
    /// Latencies from the scheduled instant.
    pub latency: Latencies,
    /// Refusals of those who should not have been refused, by stage and reason code: `"login 0x87"`.
    pub refusals: BTreeMap<String, u64>,
    /// What went wrong, by kind, with the first few examples.
    pub errors: Vec<ErrorCount>,
    /// What was required and what was found.
    pub checks: Vec<Check>,
    /// What the simulator's process used.
    pub process: Process,
}

/// Logins of the devices.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Logins {
    /// Tried.
    pub attempted: u64,
    /// Granted.
    pub granted: u64,
    /// Of these, how many brokers proved themselves with the pinned key.
    pub broker_proofs: u64,
    /// Subscribed to their own topics.
    pub subscribed: u64,
    /// Failed, at whatever stage.
    pub failed: u64,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// As the scenario calls it.
    pub name: String,
    /// Its ledger.
    pub messages: Summary,
    /// From the scheduled instant to the PUBACK.
    pub ack: Latency,
    /// From the scheduled instant to the reader.
    pub delivery: Latency,
}

/// Tokens over CoAP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tokens {
    /// Tried.
    pub attempted: u64,
    /// Granted in an answer signed by the broker's identity key, and checked: issuer, subject, audience, key, token id.
    pub granted: u64,
    /// The largest token, bytes.
    pub bytes_max: u64,
    /// Requests sent again because no answer came in time.
    pub retransmitted: u64,
}

/// Those who must not get in.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Impostors {
    /// Tried.
    pub attempted: u64,
    /// Refused as they should be: 0x87, "not authorized".
    pub refused: u64,
    /// Let in.
    pub admitted: u64,
    /// Refused in another way.
    pub other: u64,
}

/// One kind of error.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ErrorCount {
    /// What happened.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The first few, with who it happened to.
    pub examples: Vec<String>,
    /// What to do about it, where there is one thing to do.
    pub advice: Option<&'static str>,
}

/// Something that a run must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What was wanted.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub passed: bool,
}

/// What the simulator's process used (the broker too, where both share one).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Process {
    /// Resident memory before the first device, KiB.
    pub resident_before_kib: u64,
    /// Resident memory with all devices connected, KiB.
    pub resident_full_kib: u64,
    /// Processor time, ms.
    pub cpu_ms: u64,
}
