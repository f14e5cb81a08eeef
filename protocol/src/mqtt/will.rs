//! The will inside CONNECT (MQTT 5 §3.1.2.5, §3.1.3.2).
use super::message::user_properties;
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::write::{self, Properties};
use super::{DecodeError, MessageProperties, Qos, Version};
use crate::sink::{CapacityError, Sink};
use crate::topic::TopicName;

/// The message that the broker publishes when the connection ends without a DISCONNECT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Will<'a> {
    /// A valid topic name.
    pub topic: &'a str,
    /// At most 65,535 bytes.
    pub payload: &'a [u8],
    /// The QoS of the message.
    pub qos: Qos,
    /// Whether the message is retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the message; 0 in 3.1.1.
    pub delay_s: u32,
    /// What goes with the message; empty in 3.1.1.
    pub properties: MessageProperties<'a>,
}

/// Flags of CONNECT (§3.1.2.3).
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;

const ALLOWED: IdSet = IdSet::of(&[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);

/// What the flags of CONNECT say about the will: consistent, or an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct WillFlags {
    qos: Qos,
    retain: bool,
}

impl WillFlags {
    pub(super) fn of_connect(flags: u8) -> Result<Option<Self>, DecodeError> {
        let qos = Qos::new((flags >> WILL_QOS_SHIFT) & 0b11).ok_or(DecodeError::WillQos3)?;
        let retain = flags & WILL_RETAIN != 0;
        if flags & WILL != 0 {
            return Ok(Some(Self { qos, retain }));
        }
        if qos != Qos::AtMostOnce {
            return Err(DecodeError::WillQosWithoutWill);
        }
        if retain {
            return Err(DecodeError::WillRetainWithoutWill);
        }
        Ok(None)
    }
}

impl<'a> Will<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        flags: WillFlags,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut delay_s = 0;
        let mut properties = MessageProperties::default();
        if version == Version::V5 {
            let mut section = Section::new(reader.properties()?, ALLOWED);
            while let Some(property) = section.next()? {
                match property {
                    Property::WillDelay(value) => delay_s = value,
                    other => properties.set(other),
                }
            }
            properties.user_properties = user_properties(&section);
        }
        let topic = reader.string()?;
        TopicName::new(topic).map_err(DecodeError::WillTopic)?;
        Ok(Self {
            topic,
            payload: reader.binary()?,
            qos: flags.qos,
            retain: flags.retain,
            delay_s,
            properties,
        })
    }

    pub(super) fn connect_flags(&self) -> u8 {
        let retain = if self.retain { WILL_RETAIN } else { 0 };
        WILL | self.qos.level() << WILL_QOS_SHIFT | retain
    }

    pub(super) fn write(
        &self,
        version: Version,
        sink: &mut impl Sink,
    ) -> Result<(), CapacityError> {
        write::properties(sink, version, self)?;
        write::string(sink, self.topic)?;
        write::binary(sink, self.payload)
    }
}

impl Properties for Will<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        let delay_s = (self.delay_s != 0).then_some(self.delay_s);
        put(sink, delay_s.map(Property::WillDelay))?;
        self.properties.write(sink)
    }
}
