//! Subscriptions of the client: asked for upstream as far as they are granted here, given up when the right is gone.
use super::asked::Verdict;
use super::client::Handled;
use super::fault::Fault;
use super::relay::Talk;
use crate::authn::Principal;
use crate::hub::wire::put;
use crate::hub::{Cause, Rights as _};
use keygate_protocol::mqtt::{
    PacketId, ReasonCode, Suback, Subscribe, Subscription, Subscriptions, Unsuback, Unsubscribe,
    UserProperties,
};
use keygate_protocol::topic::TopicFilter;
use std::sync::Arc;

impl Talk<'_, '_> {
    /// A client's SUBSCRIBE: every filter is judged for itself, and only what is granted goes up.
    pub(super) fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<Handled, Cause> {
        let id = packet.packet_id;
        if let Some(handled) = self.must_wait(id)? {
            return Ok(handled);
        }
        let mut verdicts = Vec::new();
        let mut granted: Vec<Subscription<'_>> = Vec::new();
        for wanted in packet.subscriptions {
            let verdict = self.grant(wanted.filter);
            if matches!(verdict, Verdict::Asked(_)) {
                granted.push(wanted);
            }
            verdicts.push(verdict);
        }
        if granted.is_empty() {
            let codes: Vec<_> = verdicts.iter().map(Verdict::code).collect();
            self.suback_down(&Suback::new(id, &codes));
            return Ok(Handled::Done);
        }
        let all = granted.len() == verdicts.len();
        self.open.asked.subscribe(id, verdicts);
        if all {
            return Ok(Handled::Pass);
        }
        let rest = Subscribe {
            subscriptions: Subscriptions::new(&granted),
            ..*packet
        };
        let version = self.who.version;
        put(&mut self.turn.out.upstream, |wire| {
            rest.encode(version, wire)
        });
        self.open.spoke = self.turn.times.now;
        Ok(Handled::Done)
    }

    /// A client's UNSUBSCRIBE goes up as it is.
    pub(super) fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) -> Result<Handled, Cause> {
        if let Some(handled) = self.must_wait(packet.packet_id)? {
            return Ok(handled);
        }
        for filter in packet.filters {
            self.open.filters.remove(filter.as_str());
        }
        self.open.asked.unsubscribe(packet.packet_id);
        Ok(Handled::Pass)
    }

    /// Whether the client's question comes too early: its identifier is the gate's just now, or too many wait already.
    fn must_wait(&self, id: PacketId) -> Result<Option<Handled>, Cause> {
        let open = &self.open;
        if open.filters.own == Some(id) {
            return Ok(Some(Handled::Wait));
        }
        if open.asked.has(id) {
            // In use (MQTT 5 §2.2.1): its answers could not be told apart.
            return Err(Cause::Protocol(ReasonCode::ProtocolError));
        }
        if open.asked.len() < self.turn.gate.limits.relay_subscribes {
            return Ok(None);
        }
        self.turn.gate.reached.relay_subscribes.add();
        Ok(Some(Handled::Wait))
    }

    fn grant(&mut self, filter: TopicFilter<'_>) -> Verdict {
        let gate = self.turn.gate;
        let (principal, version) = (&self.who.principal, self.who.version);
        if let Err(refused) = gate.permit_subscribe(principal, version, filter) {
            self.record_denial(refused.denial.as_ref());
            return Verdict::Refused(refused.code);
        }
        let filters = &mut self.open.filters;
        match filters.grant(filter.as_str(), &gate.limits, &gate.reached) {
            Some(filter) => Verdict::Asked(filter),
            None => Verdict::Refused(ReasonCode::QuotaExceeded),
        }
    }

    /// SUBACK of the upstream: the client hears of all its filters, in its order.
    pub(super) fn suback(&mut self, suback: &Suback<'_>) -> Result<Handled, Fault> {
        let Some(verdicts) = self.open.asked.subscribed(suback.packet_id) else {
            return Ok(Handled::Done);
        };
        self.open.waiting = false;
        let mut answers = suback.codes.iter();
        let mut codes = Vec::with_capacity(verdicts.len());
        let mut merged = false;
        for verdict in &verdicts {
            let code = match verdict {
                Verdict::Refused(code) => {
                    merged = true;
                    *code
                }
                Verdict::Asked(filter) => {
                    let code = answers.next().ok_or(MISCOUNTED)?;
                    if code.is_error() {
                        self.open.filters.remove(filter);
                    }
                    code
                }
            };
            codes.push(code);
        }
        if answers.next().is_some() {
            return Err(MISCOUNTED);
        }
        if !merged {
            return Ok(Handled::Pass);
        }
        let mut whole = Suback {
            codes: codes.as_slice().into(),
            ..*suback
        };
        let len = whole.encoded_len(self.who.version);
        if u32::try_from(len).map_or(true, |len| len > self.who.packet_max) {
            // The words go first (MQTT 5 §3.9.2.1.2); the codes have no other place.
            whole.reason_string = None;
            whole.user_properties = UserProperties::default();
        }
        self.suback_down(&whole);
        Ok(Handled::Done)
    }

    /// UNSUBACK of the upstream: to whoever asked.
    pub(super) fn unsuback(&mut self, unsuback: &Unsuback<'_>) -> Handled {
        self.open.waiting = false;
        if self.open.filters.own == Some(unsuback.packet_id) {
            self.open.filters.own = None;
            self.give_up();
            return Handled::Done;
        }
        match self.open.asked.unsubscribed(unsuback.packet_id) {
            true => Handled::Pass,
            false => Handled::Done,
        }
    }

    /// The rights are new: subscriptions without one are given up.
    pub(super) fn renew(&mut self, principal: Principal) {
        self.who.principal = principal;
        let (gate, principal) = (self.turn.gate, &self.who.principal);
        self.open
            .filters
            .keep(|filter| gate.subscribe(principal, filter).is_some());
        self.give_up();
    }

    /// The next UNSUBSCRIBE of the gate, if one is due.
    fn give_up(&mut self) {
        if !self.open.filters.is_due() {
            return;
        }
        let Some(id) = self.free_id() else {
            return;
        };
        let unwanted: Vec<Arc<str>> = self.open.filters.next(self.open.agreed.packet_max);
        let filters: Vec<TopicFilter<'_>> = unwanted
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok())
            .collect();
        let packet = Unsubscribe::new(id, &filters);
        let version = self.who.version;
        put(&mut self.turn.out.upstream, |wire| {
            packet.encode(version, wire)
        });
        self.open.spoke = self.turn.times.now;
        self.open.filters.own = Some(id);
    }

    fn suback_down(&mut self, suback: &Suback<'_>) {
        let version = self.who.version;
        put(&mut self.turn.out.client, |wire| {
            suback.encode(version, wire)
        });
    }
}

const MISCOUNTED: Fault = Fault::Rule(
    "SUBACK has not one code for each filter",
    ReasonCode::ProtocolError,
);

impl Verdict {
    fn code(&self) -> ReasonCode {
        match self {
            Self::Refused(code) => *code,
            Self::Asked(_) => ReasonCode::Success,
        }
    }
}
