//! A stored message on its way to one of many subscribers: a PUBLISH written from parts that are encoded already.
use super::property::{Property, put};
use super::publish::{first_byte, write_packet_id};
use super::write::{self, Body, Properties, encoding};
use super::{PacketId, Qos, SubscriptionId, Version};
use crate::sink::{CapacityError, Sink};
use crate::topic::TopicName;
use core::num::NonZeroU16;

/// A PUBLISH for the broker's hot path: header, topic, packet identifier, properties and payload go straight into the
/// subscriber's buffer, nothing is parsed and nothing but the parts is copied.
///
/// ```
/// use keygate_protocol::mqtt::{Delivery, MessageProperties, Qos, Version};
/// use keygate_protocol::topic::TopicName;
///
/// // Once for each message:
/// let mut stored = heapless::Vec::<u8, 64>::new();
/// let properties = MessageProperties { content_type: Some("text/plain"), ..Default::default() };
/// properties.encode_stored(&mut stored)?;
///
/// // Once for each subscriber:
/// let delivery = Delivery {
///     packet_id: core::num::NonZeroU16::new(7),
///     qos: Qos::AtLeastOnce,
///     expiry_s: Some(60),
///     stored_properties: &stored,
///     ..Delivery::new(TopicName::new("a/b")?, b"hello")
/// };
/// let mut out = heapless::Vec::<u8, 128>::new();
/// delivery.encode(Version::V5, &mut out)?;
/// assert_eq!(out.len(), delivery.encoded_len(Version::V5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery<'a> {
    /// Sent to this subscriber before; ignored with QoS 0.
    pub dup: bool,
    /// The smaller of the publisher's and the subscription's QoS.
    pub qos: Qos,
    /// This is a retained message, or the subscriber wants to see the publisher's flag.
    pub retain: bool,
    /// Where it was published.
    pub topic: TopicName<'a>,
    /// How the topic is written on this connection.
    pub alias: Alias,
    /// There exactly if the QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// Seconds that are left of the message's life.
    pub expiry_s: Option<u32>,
    /// Which subscriptions this answers to.
    pub subscription_ids: &'a [SubscriptionId],
    /// What [`MessageProperties::encode_stored`](super::MessageProperties::encode_stored) wrote; goes out unchanged,
    /// and not at all in 3.1.1.
    pub stored_properties: &'a [u8],
    /// The message.
    pub payload: &'a [u8],
}

/// How a delivery names its topic (MQTT 5 §3.3.2.3.4); a 3.1.1 client gets the name whatever this says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Alias {
    /// By its name.
    #[default]
    None,
    /// By its name, which this number stands for from now on.
    New(NonZeroU16),
    /// By this number alone.
    Known(NonZeroU16),
}

impl<'a> Delivery<'a> {
    /// A delivery with QoS 0, without properties.
    #[must_use]
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic,
            alias: Alias::None,
            packet_id: None,
            expiry_s: None,
            subscription_ids: &[],
            stored_properties: &[],
            payload,
        }
    }
}

encoding!(Delivery<'_>);

impl Body for Delivery<'_> {
    fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        let topic = match (version, self.alias) {
            (Version::V5, Alias::Known(_)) => "",
            _ => self.topic.as_str(),
        };
        write::string(sink, topic)?;
        write_packet_id(self.qos, self.packet_id, sink)?;
        write::properties(sink, version, self)?;
        sink.put(self.payload)
    }
}

impl Properties for Delivery<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.expiry_s.map(Property::MessageExpiry))?;
        if let Alias::New(alias) | Alias::Known(alias) = self.alias {
            Property::TopicAlias(alias).write(sink)?;
        }
        for id in self.subscription_ids {
            Property::SubscriptionId(*id).write(sink)?;
        }
        sink.put(self.stored_properties)
    }
}
