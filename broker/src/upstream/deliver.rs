//! What the upstream of an open session sends.
use super::client::Handled;
use super::fault::Fault;
use super::publish::answered_by;
use super::relay::Talk;
use super::turn::{Failure, Next, Step};
use super::window::Answered;
use crate::hub::Cause;
use keygate_protocol::mqtt::{
    self, AckKind, Packet, PacketId, Publish, Qos, ReasonCode, Sender, Version,
};
use keygate_protocol::topic::TopicName;

impl Talk<'_, '_> {
    /// The packet at the front of the upstream's bytes. A failure ends the session.
    pub(super) fn upstream_packet(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let Some(frame) = mqtt::frame(bytes, self.turn.gate.limits.packet_bytes)? else {
            return Ok(Step::Stop(Next::More));
        };
        let packet = mqtt::decode(&frame, Sender::Server, self.who.version)?;
        let fits = u32::try_from(frame.len()).is_ok_and(|len| len <= self.who.packet_max);
        let handled = match packet {
            Packet::Publish(publish) => self.deliver(&publish, fits)?,
            packet => self.upstream_handled(&packet)?,
        };
        if handled == Handled::Pass {
            if !fits {
                let rule = "a packet larger than the client takes";
                return Err(Fault::Rule(rule, ReasonCode::PacketTooLarge).into());
            }
            self.turn.out.client.extend_from_slice(frame.raw());
        }
        self.answer_due();
        Ok(Step::of(&frame))
    }

    fn upstream_handled(&mut self, packet: &Packet<'_>) -> Result<Handled, Fault> {
        match packet {
            Packet::Puback(ack) => self.published(ack.packet_id, AckKind::Puback),
            Packet::Pubrec(ack) => {
                let handled = self.published(ack.packet_id, AckKind::Pubrec)?;
                if handled == Handled::Pass && !ack.code.is_error() {
                    self.open.released.insert(ack.packet_id);
                }
                Ok(handled)
            }
            Packet::Pubcomp(ack) => {
                self.open.released.remove(ack.packet_id);
                Ok(Handled::Pass)
            }
            Packet::Pubrel(ack) => Ok(match self.open.held.remove(ack.packet_id) {
                true => {
                    self.ack_up(AckKind::Pubcomp, ack.packet_id, ReasonCode::Success);
                    Handled::Done
                }
                false => Handled::Pass,
            }),
            Packet::Suback(suback) => self.suback(suback),
            Packet::Unsuback(unsuback) => Ok(self.unsuback(unsuback)),
            Packet::Pingresp => Ok(match self.open.pings.checked_sub(1) {
                Some(left) => {
                    self.open.pings = left;
                    Handled::Pass
                }
                // For a PINGREQ of the gate.
                None => Handled::Done,
            }),
            Packet::Disconnect(packet) => Err(Fault::Ended(packet.code)),
            // A second CONNACK, AUTH without a method, or what only a client sends. PUBLISH does not come so far.
            Packet::Connack(_)
            | Packet::Auth(_)
            | Packet::Connect(_)
            | Packet::Publish(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => Err(Fault::Rule(
                "a packet that does not fit the state of the session",
                ReasonCode::ProtocolError,
            )),
        }
    }

    /// PUBACK or PUBREC of the upstream. What answers nothing does not go down: the client would not know what to make
    /// of it.
    fn published(&mut self, id: PacketId, kind: AckKind) -> Result<Handled, Fault> {
        match self.open.published.answered(id, kind) {
            Answered::Done => Ok(Handled::Pass),
            Answered::Wrong => Err(Fault::Rule(
                "an acknowledgement of the wrong kind",
                ReasonCode::ProtocolError,
            )),
            Answered::Unknown => Ok(Handled::Done),
        }
    }

    /// A message for the client: it passes as it is, or is acknowledged in the client's place and never shown to it.
    fn deliver(&mut self, publish: &Publish<'_>, fits: bool) -> Result<Handled, Failure> {
        if publish.topic_alias.is_some() {
            let rule = "a topic alias, and none may be used";
            return Err(Fault::Rule(rule, ReasonCode::TopicAliasInvalid).into());
        }
        self.check_standing()?;
        let may = fits && self.may_receive(publish.topic);
        let Some(id) = publish.packet_id else {
            return Ok(if may { Handled::Pass } else { Handled::Done });
        };
        let kind = answered_by(publish.qos);
        if self.open.delivered.has(id) {
            // It came again, and the first is not answered yet.
            let passed = self.open.delivered.is_passed(id);
            return Ok(if may && passed {
                Handled::Pass
            } else {
                Handled::Done
            });
        }
        if self.open.held.has(id) {
            // It came again, and the answer has gone already.
            self.open.delivered.keep_back(id, kind, ReasonCode::Success);
            return Ok(Handled::Done);
        }
        self.check_inflight()?;
        if may {
            self.open.delivered.pass(id, kind);
            return Ok(Handled::Pass);
        }
        if publish.qos == Qos::ExactlyOnce {
            self.open.held.insert(id);
        }
        self.open.delivered.keep_back(id, kind, ReasonCode::Success);
        Ok(Handled::Done)
    }

    /// The right to one message. Always asked: subscriptions may be older than this connection and its rights.
    fn may_receive(&self, topic: &str) -> bool {
        let policy = &self.turn.gate.policy;
        TopicName::new(topic).is_ok_and(|topic| policy.receive(&self.who.principal, topic).is_ok())
    }

    /// What the upstream has sent and not been answered. MQTT 5 has been told how much that may be; 3.1.1 has not, there
    /// it is a client that is too slow.
    fn check_inflight(&self) -> Result<(), Failure> {
        let owed = self.open.delivered.len() + self.open.held.len();
        if owed < usize::from(self.who.inflight_max) {
            return Ok(());
        }
        self.turn.gate.reached.inflight_max.add();
        Err(match self.who.version {
            Version::V5 => {
                let rule = "more unacknowledged publishes than declared";
                Fault::Rule(rule, ReasonCode::ReceiveMaximumExceeded).into()
            }
            Version::V311 => Cause::Quota.into(),
        })
    }
}
