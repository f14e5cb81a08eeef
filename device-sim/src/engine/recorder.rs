//! Everything that a run saw, and whether more is to come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::controller::OrderNote;
use super::crew::Crew;
use super::device::Note;
use super::progress::Snapshot;
use super::streams::{self, Part, Streams};
use crate::clock::{Clock, Micros};
use crate::ledger::{Arrival, End, Ledger};
use crate::payload::Mark;
use crate::report::{ErrorCount, Impostors, Logins, Timings, Tokens};
use crate::scenario::{Reader, Scenario};
use crate::session::Failure;

/// Examples kept of each kind of error.
const EXAMPLES_MAX: usize = 3;

/// The recorder, shared by all tasks. The lock is held for a few additions and never across an await.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    recorder: Mutex<Recorder>,
    complete: Notify,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) timings: Timings,
    pub(super) reports: Ledger,
    pub(super) desired: Ledger,
    pub(super) streams: Streams,
    pub(super) logins: Logins,
    pub(super) tokens: Tokens,
    pub(super) impostors: Impostors,
    pub(super) refusals: BTreeMap<String, u64>,
    errors: BTreeMap<String, ErrorCount>,
    /// Devices that are neither subscribed nor failed.
    devices_open: u64,
    tokens_open: u64,
    impostors_open: u64,
    /// Without watcher or controller nothing more can be proven.
    broken: bool,
}

impl Shared {
    pub(super) fn new(clock: Clock, scenario: &Scenario) -> Arc<Self> {
        Arc::new(Self {
            clock,
            recorder: Mutex::new(Recorder::new(scenario)),
            complete: Notify::new(),
        })
    }

    /// Records something; wakes the run when it was the last thing missing.
    pub(super) fn record<T>(&self, entry: impl FnOnce(&mut Recorder) -> T) -> T {
        let mut recorder = self.lock();
        let result = entry(&mut recorder);
        if recorder.is_complete() {
            self.complete.notify_one();
        }
        result
    }

    /// Waits until nothing more is to come.
    pub(super) async fn completed(&self) {
        while !self.lock().is_complete() {
            self.complete.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        // A panic elsewhere leaves numbers behind, no broken invariant.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let devices = scenario.fleet.devices;
        let gateways = &scenario.gateways;
        Self {
            timings: Timings::default(),
            reports: Ledger::new(devices, scenario.reports_each()),
            desired: Ledger::new(devices, scenario.desired_each()),
            streams: Streams::new(scenario),
            logins: Logins::default(),
            tokens: Tokens::default(),
            impostors: Impostors::default(),
            refusals: BTreeMap::new(),
            errors: BTreeMap::new(),
            devices_open: u64::from(devices),
            tokens_open: u64::from(gateways.count) * u64::from(gateways.tokens),
            impostors_open: u64::from(scenario.impostors.count),
            broken: false,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let members = self.devices_open + self.tokens_open + self.impostors_open;
        let messages = self.reports.open() + self.desired.open() + self.streams.open();
        members + messages == 0 || self.broken
    }

    /// A device was started.
    pub(super) fn started(&mut self, due: Micros, now: Micros) {
        self.logins.attempted += 1;
        self.timings.schedule_lag.saturating_record(now.since(due));
    }

    /// A device noted something.
    pub(super) fn device(&mut self, crew: &Crew, index: u32, note: Note, now: Micros) {
        let schedule = &crew.schedule;
        match note {
            Note::LoggedIn { proven } => {
                self.logins.granted += 1;
                self.logins.broker_proofs += u64::from(proven);
                self.timings
                    .login
                    .saturating_record(now.since(schedule.arrival(index)));
            }
            Note::Subscribed => {
                self.logins.subscribed += 1;
                self.devices_open = self.devices_open.saturating_sub(1);
                self.timings
                    .ready
                    .saturating_record(now.since(schedule.arrival(index)));
            }
            Note::Sent { sequence } => {
                self.reports.sent(index, sequence);
                self.timings
                    .schedule_lag
                    .saturating_record(now.since(schedule.report(index, sequence)));
            }
            Note::Acknowledged { sequence } => {
                self.reports.acknowledged(index, sequence);
                self.timings
                    .publish_ack
                    .saturating_record(now.since(schedule.report(index, sequence)));
            }
            Note::Refused { sequence, code } => {
                self.reports.refused(index, sequence);
                self.refused(&format!("report {:#04x}", code.value()));
            }
            Note::Told { sequence, dup } => {
                if self.desired.delivered(index, sequence, dup) == Arrival::First {
                    self.timings
                        .desired_delivery
                        .saturating_record(now.since(schedule.desired(index, sequence)));
                }
            }
            Note::Strange => self.desired.strange(),
            Note::Echo => self.reports.echoed(),
            Note::StreamSent(part) => {
                self.streams.sent(index, part);
                let sender = streams::sender(index).unwrap_or_default();
                let due = schedule.stream(part.stream, sender, part.sequence);
                self.timings.schedule_lag.saturating_record(now.since(due));
            }
            Note::StreamAcknowledged(part) => self.streams.acknowledged(crew, index, part, now),
            Note::StreamRefused(part, code) => {
                self.streams.refused(index, part);
                self.refused(&format!("stream {:#04x}", code.value()));
            }
            Note::StreamArrived { from, part, dup } => {
                self.streams.arrived(crew, from, part, dup, now);
            }
        }
    }

    /// A device's session failed: nothing more comes of it.
    pub(super) fn device_failed(
        &mut self,
        who: &str,
        index: u32,
        subscribed: bool,
        failure: &Failure,
    ) {
        self.logins.failed += 1;
        if !subscribed {
            self.devices_open = self.devices_open.saturating_sub(1);
        }
        self.reports.give_up(index, End::Sender);
        self.desired.give_up(index, End::Receiver);
        self.streams.give_up(index);
        self.failed(who, failure);
    }

    /// The controller noted something.
    pub(super) fn order(&mut self, crew: &Crew, note: OrderNote, now: Micros) {
        match note {
            OrderNote::LoggedIn => {}
            OrderNote::Sent(Mark { device, sequence }) => self.desired.sent(device, sequence),
            OrderNote::Acknowledged(Mark { device, sequence }) => {
                self.desired.acknowledged(device, sequence);
                let due = crew.schedule.desired(device, sequence);
                self.timings.desired_ack.saturating_record(now.since(due));
            }
            OrderNote::Refused(Mark { device, sequence }, code) => {
                self.desired.refused(device, sequence);
                self.refused(&format!("order {:#04x}", code.value()));
            }
        }
    }

    /// The watcher received a message of this run.
    pub(super) fn watched(&mut self, crew: &Crew, topic: &str, mark: Mark, dup: bool, now: Micros) {
        if Part::of_number(mark.sequence).is_some() {
            match streams::found(crew, topic, mark, Reader::Watcher) {
                Some(part) => self.streams.arrived(crew, mark.device, part, dup, now),
                None => self.streams.strange(),
            }
            return;
        }
        if crew.device_topic(topic) != Some((mark.device, "reported")) {
            self.reports.strange();
            return;
        }
        if self.reports.delivered(mark.device, mark.sequence, dup) == Arrival::First {
            let due = crew.schedule.report(mark.device, mark.sequence);
            self.timings
                .publish_delivery
                .saturating_record(now.since(due));
        }
    }

    /// A gateway's attempt ended.
    pub(super) fn token_settled(&mut self) {
        self.tokens_open = self.tokens_open.saturating_sub(1);
    }

    /// An impostor's attempt ended.
    pub(super) fn impostor_settled(&mut self) {
        self.impostors_open = self.impostors_open.saturating_sub(1);
    }

    /// The watcher or the controller is gone.
    pub(super) fn broken(&mut self, who: &str, kind: String) {
        self.broken = true;
        self.error(
            kind,
            who,
            Some("nothing can be proven without it: see the broker's log and `keygate why`"),
        );
    }

    /// A session failed.
    pub(super) fn failed(&mut self, who: &str, failure: &Failure) {
        if let Some((stage, code)) = failure.code() {
            self.refused(&format!("{stage} {:#04x}", code.value()));
        }
        self.error(failure.to_string(), who, failure.advice());
    }

    /// Something went wrong.
    pub(super) fn error(&mut self, kind: String, who: &str, advice: Option<&'static str>) {
        let entry = self
            .errors
            .entry(kind)
            .or_insert_with_key(|kind| ErrorCount {
                kind: kind.clone(),
                count: 0,
                examples: Vec::new(),
                advice,
            });
        entry.count += 1;
        if entry.examples.len() < EXAMPLES_MAX {
            entry.examples.push(who.to_owned());
        }
    }

    /// The errors, the most frequent first.
    pub(super) fn errors(&self) -> Vec<ErrorCount> {
        let mut errors: Vec<ErrorCount> = self.errors.values().cloned().collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    /// Where the run stands.
    pub(super) fn snapshot(&self, devices: u32) -> Snapshot {
        Snapshot {
            devices,
            logins: self.logins,
            reports_acknowledged: self.timings.publish_ack.len(),
            reports_delivered: self.timings.publish_delivery.len(),
            orders_delivered: self.timings.desired_delivery.len(),
            streams_delivered: self.streams.delivered(),
            messages_open: self.reports.open() + self.desired.open() + self.streams.open(),
            tokens: self.tokens.granted,
            impostors_refused: self.impostors.refused,
            errors: self.errors.values().map(|error| error.count).sum(),
            ..Snapshot::default()
        }
    }

    fn refused(&mut self, what: &str) {
        *self.refusals.entry(what.to_owned()).or_default() += 1;
    }
}
