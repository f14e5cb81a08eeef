use super::rights::{Standing, renew, standing};
use super::{Gate, Source, publish, reauth, reply, subscribe};
use crate::hub::{Cause, Hub, SessionKey, Times};
use crate::rng::Random;
use crate::shard::{ConnKey, Outbox};
use keygate_protocol::mqtt::{Ack, Disconnect, Packet, ReasonCode};

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
        Packet::Puback(ack) => {
            // An id that is not with the client is ignored: it may be older than what we remember.
            session.hub.acknowledge(session.key, ack.packet_id);
            Ok(())
        }
        Packet::Pubrel(ack) => unknown_release(session, ack, out),
        // QoS 2 is declared as not there (Maximum QoS 1), and we send none.
        Packet::Pubrec(_) | Packet::Pubcomp(_) => Err(Cause::Protocol(ReasonCode::ProtocolError)),
        Packet::Subscribe(wanted) => subscribe::subscribe(session, wanted, out),
        Packet::Unsubscribe(unwanted) => subscribe::unsubscribe(session, unwanted, out),
        Packet::Pingreq => {
            reply::pingresp(out.to(session.conn));
            Ok(())
        }
        Packet::Disconnect(goodbye) => Err(disconnect(goodbye)),
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
        match standing(&session.principal, self.gate, self.times.wall) {
            Standing::Unchanged => Ok(()),
            Standing::Over(cause) => Err(cause),
            Standing::Changed(principal) => {
                renew(self.gate, self.hub, self.key, &principal);
                Ok(())
            }
        }
    }
}

fn unknown_release(
    session: &mut Established<'_>,
    ack: &Ack<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let Some(version) = session.hub.session(session.key).map(|s| s.version) else {
        return Ok(());
    };
    reply::pubcomp(
        version,
        ack.packet_id,
        ReasonCode::PacketIdentifierNotFound,
        out.to(session.conn),
    );
    Ok(())
}

fn disconnect(goodbye: &Disconnect<'_>) -> Cause {
    // MQTT 5 §3.14.2.2.2: a session that was to end with its connection cannot be made to stay.
    if goodbye.session_expiry_s.is_some_and(|seconds| seconds != 0) {
        return Cause::Protocol(ReasonCode::ProtocolError);
    }
    Cause::Disconnected {
        with_will: goodbye.code != ReasonCode::Success,
    }
}
