//! What all members of a run share and never change.

use std::sync::Arc;

use crate::clock::Micros;
use crate::identity::Cast;
use crate::payload::RunTag;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::session::Profile;

/// Shared by every actor of a run.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) cast: Cast,
    pub(super) schedule: Schedule,
    pub(super) profile: Arc<Profile>,
    pub(super) tag: RunTag,
    pub(super) reports_each: u32,
    pub(super) report_bytes: u16,
    pub(super) desired_each: u32,
    pub(super) desired_bytes: u16,
    pub(super) devices: u32,
    pub(super) login_timeout_us: u64,
}

impl Crew {
    pub(super) fn new(
        scenario: &Scenario,
        profile: Arc<Profile>,
        tag: RunTag,
        origin: Micros,
    ) -> Self {
        Self {
            cast: Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix),
            schedule: Schedule::new(scenario, origin),
            profile,
            tag,
            reports_each: scenario.reports_each(),
            report_bytes: scenario.reports.payload_bytes,
            desired_each: scenario.desired_each(),
            desired_bytes: scenario.desired.payload_bytes,
            devices: scenario.fleet.devices,
            login_timeout_us: Micros::from_secs(scenario.fleet.login_timeout_s).0,
        }
    }

    /// The device that a topic `devices/{id}/{leaf}` belongs to, and the leaf.
    pub(super) fn device_topic<'t>(&self, topic: &'t str) -> Option<(u32, &'t str)> {
        let (id, leaf) = topic.strip_prefix("devices/")?.split_once('/')?;
        Some((self.cast.device_index(id)?, leaf))
    }
}
