//! What a relayed session tells the audit log.
use super::fault::Fault;
use super::relay::{Talk, Who};
use super::turn::Turn;
use crate::gate::{self, Denial};
use crate::hub::{Cause, Times};
use crate::telemetry::event::{Event, EventKind, Outcome, peer_text};
use crate::telemetry::ration::Rationed;
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::ReasonCode;

impl Who {
    /// A login, the first or one more, and why it was refused if it was.
    pub(super) fn login(&self, again: bool, reason: Option<RefusalReason>, times: Times) -> Event {
        let kind = EventKind::Login {
            outcome: match reason {
                None => Outcome::Accepted,
                Some(_) => Outcome::Refused,
            },
            reason,
            identity: Some(peer_text(self.principal.id())),
            client_id: peer_text(&self.client_id),
            method: Some(self.principal.method),
            key_id: self.principal.key_id,
            again,
            origin: self.origin,
        };
        at(times, kind)
    }

    pub(super) fn ended(&self, cause: &Cause, times: Times) -> Event {
        let kind = EventKind::Disconnect {
            cause: gate::disconnect_cause(cause),
            identity: peer_text(self.principal.id()),
            client_id: peer_text(&self.client_id),
            origin: self.origin,
        };
        at(times, kind)
    }

    pub(super) fn failed(&self, fault: Fault, times: Times) -> Event {
        let (fault, code, rule) = fault.in_trail();
        let kind = EventKind::Upstream {
            fault,
            code,
            rule,
            identity: peer_text(self.principal.id()),
            client_id: peer_text(&self.client_id),
            origin: self.origin,
        };
        at(times, kind)
    }

    /// The rule that the client broke, if that is why its session ends.
    pub(super) fn record_rule(&self, cause: &Cause, turn: &mut Turn<'_>) {
        let (rule, code): (Box<str>, ReasonCode) = match cause {
            Cause::Malformed(error) => (error.to_string().into(), error.reason_code()),
            Cause::Protocol(code) => (gate::rule_of(*code).into(), *code),
            _ => return,
        };
        let kind = EventKind::Malformed {
            identity: Some(peer_text(self.principal.id())),
            client_id: Some(peer_text(&self.client_id)),
            rule,
            code: Some(code.value()),
            origin: self.origin,
        };
        turn.out.events.push(at(turn.times, kind));
    }
}

impl Talk<'_, '_> {
    /// Records that a right was refused, as far as this session may fill the trail with it.
    pub(super) fn record_denial(&mut self, denial: Option<&Denial<'_>>) {
        let Some(denial) = denial else {
            return;
        };
        let (gate, times) = (self.turn.gate, self.turn.times);
        let per_s = gate.limits.denied_events_s;
        let Rationed::Record { held_back } = self.who.denials.take(per_s, times.now) else {
            gate.reached.denied_events_s.add();
            return;
        };
        let events = &mut self.turn.out.events;
        if held_back > 0 {
            let count = u64::from(held_back);
            events.push(at(times, EventKind::Lost { count }));
        }
        let identity = self.who.principal.id();
        let kind = denial.event(identity, &self.who.client_id, self.who.origin);
        events.push(at(times, kind));
    }
}

fn at(times: Times, kind: EventKind) -> Event {
    let wall = times.wall;
    Event { wall, kind }
}
