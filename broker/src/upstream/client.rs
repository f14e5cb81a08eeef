//! What an open session's client sends.
use super::relay::Talk;
use super::turn::{Next, Step};
use super::window::Answered;
use crate::gate;
use crate::hub::wire::put;
use crate::hub::{Cause, Rights as _, Standing};
use keygate_protocol::mqtt::{
    self, Ack, AckKind, DecodeError, Disconnect, PINGREQ, Packet, PacketId, PacketType, ReasonCode,
    Sender, Version,
};

/// After so long a silent session says PINGREQ to the upstream, by itself.
pub(super) const SILENT_MS: u64 = 3_600_000;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    /// It goes on to the other end as it came.
    Pass,
    /// It goes no further: whatever it needed has been done.
    Done,
    /// It must wait for an answer of the other end.
    Wait,
}

impl Talk<'_, '_> {
    /// The packet at the front of the client's bytes. An error ends the session.
    pub(super) fn client_packet(&mut self, bytes: &[u8]) -> Result<Step, Cause> {
        let max = self.open.agreed.packet_max;
        let frame = match mqtt::frame(bytes, max) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Step::Stop(Next::More)),
            Err(error) => {
                if error == DecodeError::PacketTooLarge {
                    self.turn.gate.reached.packet_bytes.add();
                }
                return Err(Cause::Malformed(error));
            }
        };
        if frame.packet_type() == PacketType::Auth && self.who.version == Version::V5 {
            return Ok(Step::Stop(Next::Auth));
        }
        let packet =
            mqtt::decode(&frame, Sender::Client, self.who.version).map_err(Cause::Malformed)?;
        self.check_standing()?;
        match self.client_handled(&packet, frame.raw())? {
            Handled::Pass => self.up(frame.raw()),
            Handled::Done => self.keep_awake(),
            Handled::Wait => {
                self.open.waiting = true;
                return Ok(Step::Stop(Next::Wait));
            }
        }
        self.answer_due();
        Ok(Step::of(&frame))
    }

    fn client_handled(&mut self, packet: &Packet<'_>, raw: &[u8]) -> Result<Handled, Cause> {
        match packet {
            Packet::Publish(publish) => self.publish(publish),
            Packet::Puback(ack) => self.acknowledged(ack.packet_id, AckKind::Puback),
            Packet::Pubrec(ack) => self.acknowledged(ack.packet_id, AckKind::Pubrec),
            Packet::Pubcomp(ack) => Ok(match self.open.held.has(ack.packet_id) {
                // The client never saw that message.
                true => Handled::Done,
                false => Handled::Pass,
            }),
            Packet::Pubrel(ack) => Ok(self.release(ack.packet_id)),
            Packet::Subscribe(wanted) => self.subscribe(wanted),
            Packet::Unsubscribe(unwanted) => self.unsubscribe(unwanted),
            Packet::Pingreq => {
                self.open.pings = self.open.pings.saturating_add(1);
                Ok(Handled::Pass)
            }
            Packet::Disconnect(packet) => Err(self.goodbye(packet, raw)),
            // A second CONNECT (MQTT 5 §3.1), or what only a server sends. AUTH does not come so far.
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp
            | Packet::Auth(_) => Err(Cause::Protocol(ReasonCode::ProtocolError)),
        }
    }

    /// A principal that lost its standing does nothing more, even before word of it has come.
    pub(super) fn check_standing(&mut self) -> Result<(), Cause> {
        let (gate, wall) = (self.turn.gate, self.turn.times.wall);
        match gate.standing(&self.who.principal, wall) {
            Standing::Unchanged => Ok(()),
            Standing::Over(cause) => Err(cause),
            Standing::Changed(principal) => {
                self.renew(*principal);
                Ok(())
            }
        }
    }

    /// PUBACK or PUBREC of the client for a delivery. What answers nothing does not go up: some brokers close over it.
    fn acknowledged(&mut self, id: PacketId, kind: AckKind) -> Result<Handled, Cause> {
        match self.open.delivered.answered(id, kind) {
            Answered::Done => Ok(Handled::Pass),
            Answered::Wrong => Err(Cause::Protocol(ReasonCode::ProtocolError)),
            Answered::Unknown => Ok(Handled::Done),
        }
    }

    /// DISCONNECT goes up as it came, unless it asks for a longer session than there is.
    fn goodbye(&mut self, packet: &Disconnect<'_>, raw: &[u8]) -> Cause {
        let limits = &self.turn.gate.limits;
        let cause = gate::goodbye(packet, self.open.agreed.terms.session_expiry_s, limits);
        let Cause::Disconnected { expiry_s, .. } = cause else {
            return cause;
        };
        if expiry_s == packet.session_expiry_s {
            self.up(raw);
            return cause;
        }
        let capped = Disconnect {
            session_expiry_s: expiry_s,
            ..*packet
        };
        put(&mut self.turn.out.upstream, |wire| {
            capped.encode(self.who.version, wire)
        });
        cause
    }

    /// Bytes for the upstream.
    pub(super) fn up(&mut self, bytes: &[u8]) {
        self.turn.out.upstream.extend_from_slice(bytes);
        self.open.spoke = self.turn.times.now;
    }

    /// The client is alive, but what it sent did not go up: the upstream hears from us, well within one and a half
    /// keep-alive periods.
    fn keep_awake(&mut self) {
        let keep_alive_ms = u64::from(self.open.agreed.terms.keep_alive_s) * 1_000;
        let silent_ms = self.turn.times.now.since(self.open.spoke);
        if keep_alive_ms > 0 && silent_ms >= keep_alive_ms / 4 {
            self.up(&PINGREQ);
        }
    }

    /// A client without keep-alive may say nothing for days. The upstream hears from us, so that neither it nor what lies
    /// between takes the connection for dead.
    pub(super) fn keep_silent_awake(&mut self) {
        let silent_ms = self.turn.times.now.since(self.open.spoke);
        if self.open.agreed.terms.keep_alive_s == 0 && silent_ms >= SILENT_MS {
            self.up(&PINGREQ);
        }
    }

    /// The gate's own acknowledgements whose turn has come, behind what has just passed.
    pub(super) fn answer_due(&mut self) {
        while let Some((kind, id, code)) = self.open.delivered.due() {
            self.ack_up(kind, id, code);
        }
        while let Some((kind, id, code)) = self.open.published.due() {
            self.ack_down(kind, id, code);
        }
    }

    /// An acknowledgement of the gate for the upstream.
    pub(super) fn ack_up(&mut self, kind: AckKind, id: PacketId, code: ReasonCode) {
        let version = self.who.version;
        put(&mut self.turn.out.upstream, |wire| {
            Ack::new(id, code).encode(kind, version, wire)
        });
        self.open.spoke = self.turn.times.now;
    }

    /// An acknowledgement of the gate for the client.
    pub(super) fn ack_down(&mut self, kind: AckKind, id: PacketId, code: ReasonCode) {
        let version = self.who.version;
        put(&mut self.turn.out.client, |wire| {
            Ack::new(id, code).encode(kind, version, wire)
        });
    }
}
