//! What all members of a run share and never change.

use std::sync::Arc;

use crate::clock::Micros;
use crate::identity::{Cast, Member};
use crate::payload::RunTag;
use crate::scenario::{Login, Scenario, Stream};
use crate::schedule::Schedule;
use crate::session::{Credential, Key, Profile};

/// What an honest member logs in with.
pub(super) fn credential(cast: &Cast, login: Login, member: Member) -> Credential {
    match login {
        Login::KgEd25519 => Key::new(cast.signer(member)).into(),
        Login::Password => Credential::Password(cast.password(member)),
    }
}

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
    pub(super) login: Login,
    pub(super) at_once_max: u32,
    pub(super) streams: Vec<Stream>,
    /// Odd devices listen to even ones.
    pub(super) has_partners: bool,
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
            login: scenario.fleet.login,
            at_once_max: scenario.arrivals.at_once_max,
            streams: scenario.streams.clone(),
            has_partners: scenario.has_partners(),
        }
    }

    /// The device that a topic `devices/{id}/{leaf}` belongs to, and the leaf.
    pub(super) fn device_topic<'t>(&self, topic: &'t str) -> Option<(u32, &'t str)> {
        let (id, leaf) = topic.strip_prefix("devices/")?.split_once('/')?;
        Some((self.cast.device_index(id)?, leaf))
    }
}
