//! SUBSCRIBE (MQTT 5 §3.8).
use super::list::{ListItem, sealed};
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::write::{self, Body, Properties, encoding};
use super::{
    DecodeError, List, PacketId, PacketType, Qos, RetainHandling, SubscriptionId, UserProperties,
    Version,
};
use crate::sink::{CapacityError, Sink};
use crate::topic::TopicFilter;

/// The subscriptions of a SUBSCRIBE, in order, at least one.
pub type Subscriptions<'a> = List<'a, Subscription<'a>>;

/// A client asks for messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subscribe<'a> {
    /// What SUBACK must repeat.
    pub packet_id: PacketId,
    /// A number that the server repeats in messages for these subscriptions.
    pub subscription_id: Option<SubscriptionId>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
    /// What is asked for.
    pub subscriptions: Subscriptions<'a>,
}

/// One topic filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subscription<'a> {
    /// Which messages.
    pub filter: TopicFilter<'a>,
    /// How.
    pub options: SubscriptionOptions,
}

/// How a client wants its messages (MQTT 5 §3.8.3.1); 3.1.1 has only the QoS.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SubscriptionOptions {
    /// Highest QoS.
    pub qos: Qos,
    /// Not what this client itself publishes; never with a shared subscription.
    pub no_local: bool,
    /// Keep the publisher's retain flag.
    pub retain_as_published: bool,
    /// Which retained messages to send now.
    pub retain_handling: RetainHandling,
}

const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED_V311: u8 = 0b1111_1100;
const RESERVED_V5: u8 = 0b1100_0000;

const ALLOWED: IdSet = IdSet::of(&[id::SUBSCRIPTION_ID, id::USER_PROPERTY]);

impl<'a> Subscribe<'a> {
    /// A SUBSCRIBE without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, subscriptions: &'a [Subscription<'a>]) -> Self {
        Self {
            packet_id,
            subscription_id: None,
            user_properties: UserProperties::default(),
            subscriptions: Subscriptions::new(subscriptions),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut subscribe = Self::new(reader.packet_id()?, &[]);
        if version == Version::V5 {
            subscribe.decode_properties(reader.properties()?)?;
        }
        if reader.is_empty() {
            return Err(DecodeError::SubscribeEmpty);
        }
        subscribe.subscriptions = Subscriptions::checked(reader.rest());
        while !reader.is_empty() {
            Subscription::decode(&mut reader, version)?;
        }
        Ok(subscribe)
    }

    fn decode_properties(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut section = Section::new(bytes, ALLOWED);
        while let Some(property) = section.next()? {
            if let Property::SubscriptionId(id) = property {
                self.subscription_id = Some(id);
            }
        }
        self.user_properties = user_properties(&section);
        Ok(())
    }
}

encoding!(Subscribe<'_>);

impl Body for Subscribe<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Subscribe.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::packet_id(sink, self.packet_id)?;
        write::properties(sink, version, self)?;
        for subscription in self.subscriptions {
            write::string(sink, subscription.filter.as_str())?;
            write::u8(sink, subscription.options.encode(version))?;
        }
        Ok(())
    }
}

impl Properties for Subscribe<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.subscription_id.map(Property::SubscriptionId))?;
        put_user_properties(sink, self.user_properties)
    }
}

impl<'a> Subscription<'a> {
    /// A subscription with the default options and this QoS.
    #[must_use]
    pub fn new(filter: TopicFilter<'a>, qos: Qos) -> Self {
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        Self { filter, options }
    }

    fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let filter = TopicFilter::new(reader.string()?).map_err(DecodeError::Filter)?;
        let options = SubscriptionOptions::decode(reader.u8()?, version)?;
        if options.no_local && filter.share().is_some() {
            return Err(DecodeError::NoLocalOnShared);
        }
        Ok(Self { filter, options })
    }
}

impl SubscriptionOptions {
    fn decode(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let reserved = match version {
            Version::V311 => RESERVED_V311,
            Version::V5 => RESERVED_V5,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::SubscribeReservedBits);
        }
        Ok(Self {
            qos: Qos::new(byte & QOS).ok_or(DecodeError::SubscribeQos3)?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling: match byte >> RETAIN_HANDLING_SHIFT {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::RetainHandling3),
            },
        })
    }

    fn encode(self, version: Version) -> u8 {
        let qos = self.qos.level();
        if version == Version::V311 {
            return qos;
        }
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let as_published = if self.retain_as_published {
            RETAIN_AS_PUBLISHED
        } else {
            0
        };
        qos | no_local | as_published | (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT
    }
}

impl sealed::Sealed for Subscription<'_> {}

impl<'a> ListItem<'a> for Subscription<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(rest);
        // What 3.1.1 allows is a part of what 5 allows, and means the same.
        let subscription = Self::decode(&mut reader, Version::V5).ok()?;
        *rest = reader.rest();
        Some(subscription)
    }
}
