//! PUBLISH: a message (MQTT 5 §3.3).
use super::message::user_properties;
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::write::{self, Body, Properties, encoding};
use super::{
    DecodeError, MessageProperties, PacketId, PacketType, Qos, Sender, SubscriptionIds, Version,
};
use crate::sink::{CapacityError, Sink};
use crate::topic::{NameError, TopicName};
use core::num::NonZeroU16;

/// A message on its way, as it was received or as a client sends it. A broker that delivers one stored message to many
/// subscribers uses [`Delivery`](super::Delivery) instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publish<'a> {
    /// This may have been sent before; never set with QoS 0.
    pub dup: bool,
    /// The quality that is asked for.
    pub qos: Qos,
    /// Keep this as the last message of its topic (to a server), or: this is the last message (from a server).
    pub retain: bool,
    /// A valid topic name; or empty, then there is a [`topic_alias`](Self::topic_alias).
    pub topic: &'a str,
    /// There exactly if the QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// A number that stands for the topic on this connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Which subscriptions this answers to; only from a server.
    pub subscription_ids: SubscriptionIds<'a>,
    /// What goes with the message; empty in 3.1.1.
    pub properties: MessageProperties<'a>,
    /// The message.
    pub payload: &'a [u8],
}

const DUP: u8 = 0b1000;
const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 0b0001;

const ALLOWED: IdSet = IdSet::of(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
    id::SUBSCRIPTION_ID,
    id::CONTENT_TYPE,
]);

impl<'a> Publish<'a> {
    /// A message with QoS 0, not retained, without properties.
    #[must_use]
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            topic_alias: None,
            subscription_ids: SubscriptionIds::default(),
            properties: MessageProperties::default(),
            payload,
        }
    }

    pub(super) fn decode(
        first_byte: u8,
        mut reader: Reader<'a>,
        sender: Sender,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let qos = Qos::new((first_byte >> QOS_SHIFT) & 0b11).ok_or(DecodeError::PublishQos3)?;
        let mut publish = Self::new(reader.string()?, &[]);
        publish.dup = first_byte & DUP != 0;
        publish.qos = qos;
        publish.retain = first_byte & RETAIN != 0;
        if qos != Qos::AtMostOnce {
            publish.packet_id = Some(reader.packet_id()?);
        }
        if version == Version::V5 {
            publish.decode_properties(reader.properties()?, sender)?;
        }
        publish.check_topic(version)?;
        publish.payload = reader.rest();
        Ok(publish)
    }

    fn decode_properties(&mut self, bytes: &'a [u8], sender: Sender) -> Result<(), DecodeError> {
        let mut section = Section::new(bytes, ALLOWED).repeating(id::SUBSCRIPTION_ID);
        while let Some(property) = section.next()? {
            match property {
                Property::TopicAlias(alias) => self.topic_alias = Some(alias),
                Property::SubscriptionId(_) if sender == Sender::Client => {
                    return Err(DecodeError::SubscriptionIdFromClient);
                }
                other => self.properties.set(other),
            }
        }
        self.subscription_ids =
            SubscriptionIds::checked(section.bytes_if_seen(id::SUBSCRIPTION_ID));
        self.properties.user_properties = user_properties(&section);
        Ok(())
    }

    fn check_topic(&self, version: Version) -> Result<(), DecodeError> {
        match (TopicName::new(self.topic), version) {
            (Ok(_), _) => Ok(()),
            (Err(NameError::Empty), Version::V5) if self.topic_alias.is_some() => Ok(()),
            (Err(NameError::Empty), Version::V5) => Err(DecodeError::PublishTopicMissing),
            (Err(error), _) => Err(DecodeError::PublishTopic(error)),
        }
    }
}

encoding!(Publish<'_>);

impl Body for Publish<'_> {
    fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::string(sink, self.topic)?;
        write_packet_id(self.qos, self.packet_id, sink)?;
        write::properties(sink, version, self)?;
        sink.put(self.payload)
    }
}

impl Properties for Publish<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        for id in self.subscription_ids {
            Property::SubscriptionId(id).write(sink)?;
        }
        put(sink, self.topic_alias.map(Property::TopicAlias))?;
        self.properties.write(sink)
    }
}

/// The first byte of a PUBLISH; QoS 0 is never marked as sent again.
pub(super) fn first_byte(dup: bool, qos: Qos, retain: bool) -> u8 {
    let dup = if dup && qos != Qos::AtMostOnce {
        DUP
    } else {
        0
    };
    let retain = if retain { RETAIN } else { 0 };
    PacketType::Publish.first_byte() | dup | qos.level() << QOS_SHIFT | retain
}

/// QoS 1 and 2 cannot be expressed without a packet identifier; QoS 0 has none.
pub(super) fn write_packet_id(
    qos: Qos,
    id: Option<PacketId>,
    sink: &mut impl Sink,
) -> Result<(), CapacityError> {
    match (qos, id) {
        (Qos::AtMostOnce, _) => Ok(()),
        (_, Some(id)) => write::packet_id(sink, id),
        (_, None) => Err(CapacityError),
    }
}
