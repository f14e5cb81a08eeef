//! How a relayed session ends, and what each end hears of it.
use super::fault::Fault;
use super::relay::{Open, Phase, Relay, Who};
use super::turn::Turn;
use crate::gate;
use crate::hub::wire::put;
use crate::hub::{Cause, WillFate};
use keygate_protocol::mqtt::{Disconnect, PacketType, ReasonCode, Sender, Version};

impl Relay {
    /// Ends the session for this cause; does nothing if it is over.
    ///
    /// The upstream keeps the will, so it is told what becomes of it: a DISCONNECT that discards it for whoever lost the
    /// right to be here, 0x04 (3.1.1: a connection that just closes) where it is to go out. At the gate's own end it
    /// goes out as well, after its delay, if the client is not back through another gate by then. A revoked session ends
    /// upstream, too, as far as MQTT 5 can say so.
    pub fn end(&mut self, cause: &Cause, turn: &mut Turn<'_>) {
        let ended = Phase::Ended(*cause);
        let who = &self.who;
        match std::mem::replace(&mut self.phase, ended) {
            Phase::Ended(first) => self.phase = Phase::Ended(first),
            Phase::Opening(_) => {
                if let Some(code) = cause.code() {
                    gate::refuse(who.version, connack_code(code), &mut turn.out.client);
                }
                // Nobody was let in, so nobody leaves a will.
                who.disconnect_up(&Disconnect::new(ReasonCode::Success), turn);
            }
            Phase::Open(open) => {
                if let Some(goodbye) = goodbye(cause, who, &open) {
                    who.disconnect_up(&goodbye, turn);
                }
                who.record_rule(cause, turn);
                who.close(cause, turn);
            }
        }
    }

    /// The upstream has failed. Says why the session is over.
    pub(super) fn fail(&mut self, fault: Fault, turn: &mut Turn<'_>) -> Cause {
        let cause = Cause::Upstream(fault.disconnect_code());
        let who = &self.who;
        turn.out.events.push(who.failed(fault, turn.times));
        if let Some(code) = fault.goodbye()
            && (who.version == Version::V5 || code == ReasonCode::Success)
        {
            who.disconnect_up(&Disconnect::new(code), turn);
        }
        match std::mem::replace(&mut self.phase, Phase::Ended(cause)) {
            Phase::Opening(_) => {
                gate::refuse(who.version, fault.refusal_code(), &mut turn.out.client);
            }
            Phase::Open(_) => who.close(&cause, turn),
            Phase::Ended(_) => {}
        }
        cause
    }
}

impl Who {
    fn disconnect_up(&self, packet: &Disconnect<'_>, turn: &mut Turn<'_>) {
        put(&mut turn.out.upstream, |wire| {
            packet.encode(self.version, wire)
        });
    }

    /// The last of an open session: DISCONNECT for a client that can read it, and the event.
    fn close(&self, cause: &Cause, turn: &mut Turn<'_>) {
        if let Some(code) = cause.code()
            && self.version == Version::V5
        {
            gate::disconnect(code, &mut turn.out.client);
        }
        turn.out.events.push(self.ended(cause, turn.times));
    }
}

/// What the upstream is told when the gate or the client ends the session.
fn goodbye(cause: &Cause, who: &Who, open: &Open) -> Option<Disconnect<'static>> {
    if matches!(cause, Cause::Disconnected { .. } | Cause::Upstream(_)) {
        // The client's own DISCONNECT has passed; the upstream needs none.
        return None;
    }
    let code = match cause.will_fate() {
        WillFate::Discarded => ReasonCode::Success,
        WillFate::Published | WillFate::Kept if who.version == Version::V5 => {
            ReasonCode::DisconnectWithWill
        }
        WillFate::Published | WillFate::Kept => return None,
    };
    let mut goodbye = Disconnect::new(code);
    // One that ends with its connection may not be given another end (MQTT 5 §3.14.2.2.2).
    if cause.ends_session() && open.agreed.terms.session_expiry_s > 0 {
        goodbye.session_expiry_s = Some(0);
    }
    Some(goodbye)
}

/// The code of a DISCONNECT where only a CONNACK can be sent.
fn connack_code(code: ReasonCode) -> ReasonCode {
    match code {
        ReasonCode::AdministrativeAction => ReasonCode::NotAuthorized,
        code if code.is_allowed(PacketType::Connack, Sender::Server) => code,
        _ => ReasonCode::ServerUnavailable,
    }
}
