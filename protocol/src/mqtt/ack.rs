//! PUBACK, PUBREC, PUBREL, PUBCOMP: the acknowledgements of messages (MQTT 5 §3.4 to §3.7). They differ in their type
//! and in the reason codes that they may carry.
use super::message::{put_user_properties, user_properties};
use super::property::{EXPLANATIONS, Property, Section, put};
use super::read::Reader;
use super::write::{self, Body, Properties};
use super::{DecodeError, PacketId, PacketType, ReasonCode, Sender, UserProperties, Version};
use crate::sink::{CapacityError, Sink};

/// Which acknowledgement an [`Ack`] is to be sent as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AckKind {
    /// Answers a PUBLISH with QoS 1.
    Puback,
    /// Answers a PUBLISH with QoS 2.
    Pubrec,
    /// Answers PUBREC.
    Pubrel,
    /// Answers PUBREL.
    Pubcomp,
}

impl AckKind {
    /// The packet type.
    #[must_use]
    pub fn packet_type(self) -> PacketType {
        match self {
            Self::Puback => PacketType::Puback,
            Self::Pubrec => PacketType::Pubrec,
            Self::Pubrel => PacketType::Pubrel,
            Self::Pubcomp => PacketType::Pubcomp,
        }
    }
}

/// What all four acknowledgements say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack<'a> {
    /// The message that is acknowledged.
    pub packet_id: PacketId,
    /// Success, or why not; always success in 3.1.1.
    pub code: ReasonCode,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, code: ReasonCode) -> Self {
        Self {
            packet_id,
            code,
            reason_string: None,
            user_properties: UserProperties::default(),
        }
    }

    pub(super) fn decode(
        packet_type: PacketType,
        mut reader: Reader<'a>,
        sender: Sender,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(reader.packet_id()?, ReasonCode::Success);
        if version == Version::V5 && !reader.is_empty() {
            ack.code = ReasonCode::decode(reader.u8()?, packet_type, sender)?;
            if !reader.is_empty() {
                ack.decode_properties(reader.properties()?)?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    fn decode_properties(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut section = Section::new(bytes, EXPLANATIONS);
        while let Some(property) = section.next()? {
            if let Property::ReasonString(text) = property {
                self.reason_string = Some(text);
            }
        }
        self.user_properties = user_properties(&section);
        Ok(())
    }

    /// Writes the whole packet, in the shortest form that MQTT has for it. An error means that the sink is full or
    /// that a field is longer than MQTT can express; throw away what was put.
    pub fn encode(
        &self,
        kind: AckKind,
        version: Version,
        sink: &mut impl Sink,
    ) -> Result<(), CapacityError> {
        write::packet(&Typed(kind, self), version, sink)
    }

    /// Exactly how many bytes [`encode`](Self::encode) writes (the same for every kind); `usize::MAX` if no packet can
    /// hold this.
    #[must_use]
    pub fn encoded_len(&self, version: Version) -> usize {
        write::packet_len(&Typed(AckKind::Puback, self), version)
    }
}

struct Typed<'p, 'a>(AckKind, &'p Ack<'a>);

impl Body for Typed<'_, '_> {
    fn first_byte(&self) -> u8 {
        self.0.packet_type().first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        let ack = self.1;
        write::packet_id(sink, ack.packet_id)?;
        let bare = ack.reason_string.is_none() && ack.user_properties.is_empty();
        match (version, bare) {
            (Version::V311, _) => Ok(()),
            (Version::V5, true) if ack.code == ReasonCode::Success => Ok(()),
            (Version::V5, true) => write::u8(sink, ack.code.value()),
            (Version::V5, false) => {
                write::u8(sink, ack.code.value())?;
                write::properties(sink, version, ack)
            }
        }
    }
}

impl Properties for Ack<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.reason_string.map(Property::ReasonString))?;
        put_user_properties(sink, self.user_properties)
    }
}
