use super::terms::session_expiry;
use super::{Gate, Source, publish, reauth, reply, subscribe};
use crate::hub::{Cause, Hub, Rights, SessionKey, Standing, Times};
use crate::limits::Limits;
use crate::rng::Random;
use crate::shard::{ConnKey, Outbox};
use keygate_protocol::mqtt::{Disconnect, Packet, ReasonCode};

/// A session and everything that its packets may touch.
pub(crate) struct Established<'s> {
    pub(crate) gate: &'s Gate,
    pub(crate) hub: &'s mut Hub,
    pub(crate) key: SessionKey,
    pub(crate) conn: ConnKey,
    pub(crate) source: &'s Source,
    pub(crate) times: Times,
    pub(crate) random: &'s mut dyn Random,
}

/// Takes one packet of an open session. An error ends the session.
pub(crate) fn handle(
    session: &mut Established<'_>,
    packet: &Packet<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    session.check_standing()?;
    match packet {
        Packet::Publish(publish) => publish::publish(session, publish, out),
        Packet::Puback(ack) => session.hub.puback(session.key, ack.packet_id),
        Packet::Pubrec(ack) => {
            let refused = ack.code.is_error();
            session.hub.pubrec(session.key, ack.packet_id, refused, out)
        }
        Packet::Pubcomp(ack) => session.hub.pubcomp(session.key, ack.packet_id),
        Packet::Pubrel(ack) => {
            session.hub.pubrel(session.key, ack.packet_id, out);
            Ok(())
        }
        Packet::Subscribe(wanted) => subscribe::subscribe(session, wanted, out),
        Packet::Unsubscribe(unwanted) => subscribe::unsubscribe(session, unwanted, out),
        Packet::Pingreq => {
            reply::pingresp(out.to(session.conn));
            Ok(())
        }
        Packet::Disconnect(packet) => Err(disconnect(session, packet)),
        Packet::Auth(auth) => reauth::auth(session, auth, out),
        // A second CONNECT (MQTT 5 §3.1), or what only a server sends.
        Packet::Connect(_)
        | Packet::Connack(_)
        | Packet::Suback(_)
        | Packet::Unsuback(_)
        | Packet::Pingresp => Err(Cause::Protocol(ReasonCode::ProtocolError)),
    }
}

impl Established<'_> {
    /// A principal that lost its standing does nothing more, even before the mail about it has come.
    fn check_standing(&mut self) -> Result<(), Cause> {
        let Some(session) = self.hub.session(self.key) else {
            return Err(Cause::ConnectionLost);
        };
        match self.gate.standing(&session.principal, self.times.wall) {
            Standing::Unchanged => Ok(()),
            Standing::Over(cause) => Err(cause),
            Standing::Changed(principal) => {
                self.hub.renew(self.key, *principal);
                Ok(())
            }
        }
    }
}

fn disconnect(session: &Established<'_>, packet: &Disconnect<'_>) -> Cause {
    let open = session.hub.session(session.key);
    let expiry_s = open.map_or(0, |open| open.expiry_s);
    goodbye(packet, expiry_s, &session.gate.limits)
}

/// What a client's DISCONNECT means for a session that was to outlive its connection by `expiry_s`.
pub(crate) fn goodbye(packet: &Disconnect<'_>, expiry_s: u32, limits: &Limits) -> Cause {
    // MQTT 5 §3.14.2.2.2: a session that was to end with its connection cannot be made to stay.
    if packet.session_expiry_s.is_some_and(|asked_s| asked_s != 0) && expiry_s == 0 {
        return Cause::Protocol(ReasonCode::ProtocolError);
    }
    Cause::Disconnected {
        with_will: packet.code != ReasonCode::Success,
        expiry_s: packet
            .session_expiry_s
            .map(|asked_s| session_expiry(asked_s, limits)),
    }
}
