//! All packets in one type, and the one entry to decoding.
use super::read::Reader;
use super::{
    Ack, AckKind, Auth, Connack, Connect, DecodeError, Disconnect, Frame, PacketType, Publish,
    Sender, Suback, Subscribe, Unsuback, Unsubscribe, Version,
};
use crate::sink::{CapacityError, Sink};

/// PINGREQ, whole.
pub const PINGREQ: [u8; 2] = [PacketType::Pingreq as u8 * 16, 0];
/// PINGRESP, whole.
pub const PINGRESP: [u8; 2] = [PacketType::Pingresp as u8 * 16, 0];

/// A packet that obeys every rule of its type, version and sender; borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names of the packets, MQTT 5 §2.1.2")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    Puback(Ack<'a>),
    Pubrec(Ack<'a>),
    Pubrel(Ack<'a>),
    Pubcomp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Reads a frame that `sender` sent on a connection that speaks `version`.
///
/// CONNECT names its version itself; for it `version` does not matter.
pub fn decode<'a>(
    frame: &Frame<'a>,
    sender: Sender,
    version: Version,
) -> Result<Packet<'a>, DecodeError> {
    let packet_type = frame.packet_type();
    packet_type.check_sender(sender)?;
    let reader = Reader::new(frame.body());
    let ack = || Ack::decode(packet_type, reader, sender, version);
    Ok(match packet_type {
        PacketType::Connect => Packet::Connect(Connect::decode(reader)?),
        PacketType::Connack => Packet::Connack(Connack::decode(reader, version)?),
        PacketType::Publish => {
            Packet::Publish(Publish::decode(frame.header(), reader, sender, version)?)
        }
        PacketType::Puback => Packet::Puback(ack()?),
        PacketType::Pubrec => Packet::Pubrec(ack()?),
        PacketType::Pubrel => Packet::Pubrel(ack()?),
        PacketType::Pubcomp => Packet::Pubcomp(ack()?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(reader, version)?),
        PacketType::Suback => Packet::Suback(Suback::decode(reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, version)?),
        PacketType::Unsuback => Packet::Unsuback(Unsuback::decode(reader, version)?),
        PacketType::Pingreq => reader.finish().map(|()| Packet::Pingreq)?,
        PacketType::Pingresp => reader.finish().map(|()| Packet::Pingresp)?,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(reader, sender, version)?),
        PacketType::Auth if version == Version::V311 => return Err(DecodeError::AuthInV311),
        PacketType::Auth => Packet::Auth(Auth::decode(reader, sender)?),
    })
}

impl Packet<'_> {
    /// The type of the packet.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Writes the whole packet; see the packets' own `encode`. CONNECT and AUTH ignore `version`.
    pub fn encode(&self, version: Version, sink: &mut impl Sink) -> Result<(), CapacityError> {
        match self {
            Self::Connect(packet) => packet.encode(sink),
            Self::Connack(packet) => packet.encode(version, sink),
            Self::Publish(packet) => packet.encode(version, sink),
            Self::Puback(ack) => ack.encode(AckKind::Puback, version, sink),
            Self::Pubrec(ack) => ack.encode(AckKind::Pubrec, version, sink),
            Self::Pubrel(ack) => ack.encode(AckKind::Pubrel, version, sink),
            Self::Pubcomp(ack) => ack.encode(AckKind::Pubcomp, version, sink),
            Self::Subscribe(packet) => packet.encode(version, sink),
            Self::Suback(packet) => packet.encode(version, sink),
            Self::Unsubscribe(packet) => packet.encode(version, sink),
            Self::Unsuback(packet) => packet.encode(version, sink),
            Self::Pingreq => sink.put(&PINGREQ),
            Self::Pingresp => sink.put(&PINGRESP),
            Self::Disconnect(packet) => packet.encode(version, sink),
            Self::Auth(packet) => packet.encode(sink),
        }
    }

    /// Exactly how many bytes [`encode`](Self::encode) writes; `usize::MAX` if no packet can hold this.
    #[must_use]
    pub fn encoded_len(&self, version: Version) -> usize {
        match self {
            Self::Connect(packet) => packet.encoded_len(),
            Self::Connack(packet) => packet.encoded_len(version),
            Self::Publish(packet) => packet.encoded_len(version),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.encoded_len(version)
            }
            Self::Subscribe(packet) => packet.encoded_len(version),
            Self::Suback(packet) => packet.encoded_len(version),
            Self::Unsubscribe(packet) => packet.encoded_len(version),
            Self::Unsuback(packet) => packet.encoded_len(version),
            Self::Pingreq => PINGREQ.len(),
            Self::Pingresp => PINGRESP.len(),
            Self::Disconnect(packet) => packet.encoded_len(version),
            Self::Auth(packet) => packet.encoded_len(),
        }
    }
}
