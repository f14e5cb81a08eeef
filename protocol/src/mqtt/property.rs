//! Properties (MQTT 5 §2.2.2): one table of identifiers, types and value rules for all packets.
use super::read::Reader;
use super::{DecodeError, PayloadFormat, SubscriptionId, write};
use crate::sink::{CapacityError, Sink};
use crate::topic::TopicName;
use core::num::NonZeroU16;

/// Identifiers, by the name the standard gives them. All fit one byte, and all are below 64.
pub(super) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;
}

/// One property with a valid value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Property<'a> {
    PayloadFormat(PayloadFormat),
    MessageExpiry(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionId(SubscriptionId),
    SessionExpiry(u32),
    AssignedClientId(&'a str),
    ServerKeepAlive(u16),
    AuthMethod(&'a str),
    AuthData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelay(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    /// True for 1, false for 0; QoS 2 is said by leaving the property out.
    MaximumQos(bool),
    RetainAvailable(bool),
    User(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardAvailable(bool),
    SubscriptionIdsAvailable(bool),
    SharedAvailable(bool),
}

impl<'a> Property<'a> {
    /// Reads the value of the property `id`.
    fn read(id: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match id {
            id::PAYLOAD_FORMAT => Self::PayloadFormat(match reader.u8()? {
                0 => PayloadFormat::Bytes,
                1 => PayloadFormat::Utf8,
                _ => return Err(DecodeError::PayloadFormatUnknown),
            }),
            id::MESSAGE_EXPIRY => Self::MessageExpiry(reader.u32()?),
            id::CONTENT_TYPE => Self::ContentType(reader.string()?),
            id::RESPONSE_TOPIC => {
                let topic = reader.string()?;
                TopicName::new(topic).map_err(DecodeError::ResponseTopic)?;
                Self::ResponseTopic(topic)
            }
            id::CORRELATION_DATA => Self::CorrelationData(reader.binary()?),
            id::SUBSCRIPTION_ID => SubscriptionId::new(reader.varint()?)
                .map(Self::SubscriptionId)
                .ok_or(DecodeError::SubscriptionIdZero)?,
            id::SESSION_EXPIRY => Self::SessionExpiry(reader.u32()?),
            id::ASSIGNED_CLIENT_ID => Self::AssignedClientId(reader.string()?),
            id::SERVER_KEEP_ALIVE => Self::ServerKeepAlive(reader.u16()?),
            id::AUTH_METHOD => Self::AuthMethod(reader.string()?),
            id::AUTH_DATA => Self::AuthData(reader.binary()?),
            id::WILL_DELAY => Self::WillDelay(reader.u32()?),
            id::RESPONSE_INFORMATION => Self::ResponseInformation(reader.string()?),
            id::SERVER_REFERENCE => Self::ServerReference(reader.string()?),
            id::REASON_STRING => Self::ReasonString(reader.string()?),
            id::USER_PROPERTY => Self::User(reader.string()?, reader.string()?),
            _ => return Self::read_limit(id, reader),
        })
    }

    /// Continues [`read`](Self::read): what an end can do, and how much of it.
    fn read_limit(id: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match id {
            id::RECEIVE_MAXIMUM => match reader.u16()? {
                0 => return Err(DecodeError::ReceiveMaximumZero),
                max => Self::ReceiveMaximum(max),
            },
            id::TOPIC_ALIAS_MAXIMUM => Self::TopicAliasMaximum(reader.u16()?),
            id::TOPIC_ALIAS => NonZeroU16::new(reader.u16()?)
                .map(Self::TopicAlias)
                .ok_or(DecodeError::TopicAliasZero)?,
            id::MAXIMUM_QOS => {
                Self::MaximumQos(boolean(reader.u8()?).ok_or(DecodeError::MaximumQosInvalid)?)
            }
            id::MAXIMUM_PACKET_SIZE => match reader.u32()? {
                0 => return Err(DecodeError::MaximumPacketSizeZero),
                max => Self::MaximumPacketSize(max),
            },
            id::REQUEST_PROBLEM_INFORMATION => Self::RequestProblemInformation(flag(reader)?),
            id::REQUEST_RESPONSE_INFORMATION => Self::RequestResponseInformation(flag(reader)?),
            id::RETAIN_AVAILABLE => Self::RetainAvailable(flag(reader)?),
            id::WILDCARD_AVAILABLE => Self::WildcardAvailable(flag(reader)?),
            id::SUBSCRIPTION_IDS_AVAILABLE => Self::SubscriptionIdsAvailable(flag(reader)?),
            id::SHARED_AVAILABLE => Self::SharedAvailable(flag(reader)?),
            _ => return Err(DecodeError::PropertyUnknown),
        })
    }

    /// Writes the identifier and the value.
    pub(super) fn write(self, sink: &mut impl Sink) -> Result<(), CapacityError> {
        write::u8(sink, self.id())?;
        match self {
            Self::PayloadFormat(value) => write::u8(sink, value as u8),
            Self::MessageExpiry(value)
            | Self::SessionExpiry(value)
            | Self::WillDelay(value)
            | Self::MaximumPacketSize(value) => write::u32(sink, value),
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientId(text)
            | Self::AuthMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => write::string(sink, text),
            Self::CorrelationData(bytes) | Self::AuthData(bytes) => write::binary(sink, bytes),
            Self::SubscriptionId(id) => write::varint(sink, id.value()),
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value) => write::u16(sink, value),
            Self::TopicAlias(alias) => write::u16(sink, alias.get()),
            Self::RequestProblemInformation(value)
            | Self::RequestResponseInformation(value)
            | Self::MaximumQos(value)
            | Self::RetainAvailable(value)
            | Self::WildcardAvailable(value)
            | Self::SubscriptionIdsAvailable(value)
            | Self::SharedAvailable(value) => write::u8(sink, u8::from(value)),
            Self::User(name, value) => {
                write::string(sink, name)?;
                write::string(sink, value)
            }
        }
    }

    fn id(self) -> u8 {
        match self {
            Self::PayloadFormat(_) => id::PAYLOAD_FORMAT,
            Self::MessageExpiry(_) => id::MESSAGE_EXPIRY,
            Self::ContentType(_) => id::CONTENT_TYPE,
            Self::ResponseTopic(_) => id::RESPONSE_TOPIC,
            Self::CorrelationData(_) => id::CORRELATION_DATA,
            Self::SubscriptionId(_) => id::SUBSCRIPTION_ID,
            Self::SessionExpiry(_) => id::SESSION_EXPIRY,
            Self::AssignedClientId(_) => id::ASSIGNED_CLIENT_ID,
            Self::ServerKeepAlive(_) => id::SERVER_KEEP_ALIVE,
            Self::AuthMethod(_) => id::AUTH_METHOD,
            Self::AuthData(_) => id::AUTH_DATA,
            Self::RequestProblemInformation(_) => id::REQUEST_PROBLEM_INFORMATION,
            Self::WillDelay(_) => id::WILL_DELAY,
            Self::RequestResponseInformation(_) => id::REQUEST_RESPONSE_INFORMATION,
            Self::ResponseInformation(_) => id::RESPONSE_INFORMATION,
            Self::ServerReference(_) => id::SERVER_REFERENCE,
            Self::ReasonString(_) => id::REASON_STRING,
            Self::ReceiveMaximum(_) => id::RECEIVE_MAXIMUM,
            Self::TopicAliasMaximum(_) => id::TOPIC_ALIAS_MAXIMUM,
            Self::TopicAlias(_) => id::TOPIC_ALIAS,
            Self::MaximumQos(_) => id::MAXIMUM_QOS,
            Self::RetainAvailable(_) => id::RETAIN_AVAILABLE,
            Self::User(..) => id::USER_PROPERTY,
            Self::MaximumPacketSize(_) => id::MAXIMUM_PACKET_SIZE,
            Self::WildcardAvailable(_) => id::WILDCARD_AVAILABLE,
            Self::SubscriptionIdsAvailable(_) => id::SUBSCRIPTION_IDS_AVAILABLE,
            Self::SharedAvailable(_) => id::SHARED_AVAILABLE,
        }
    }
}

fn boolean(value: u8) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    boolean(reader.u8()?).ok_or(DecodeError::PropertyNotBoolean)
}

/// Writes a property that is there.
pub(super) fn put(
    sink: &mut impl Sink,
    property: Option<Property<'_>>,
) -> Result<(), CapacityError> {
    property.map_or(Ok(()), |property| property.write(sink))
}

/// A set of property identifiers, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdSet(u64);

impl IdSet {
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "evaluated at compile time, where both would be compile errors"
    )]
    pub(super) const fn of(ids: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < ids.len() {
            bits |= 1 << ids[at];
            at += 1;
        }
        Self(bits)
    }

    fn contains(self, id: u8) -> bool {
        self.0 & Self::bit(id) != 0
    }

    fn bit(id: u8) -> u64 {
        1_u64.checked_shl(u32::from(id)).unwrap_or(0)
    }
}

/// Every identifier that MQTT 5 knows.
const KNOWN: IdSet = IdSet::of(&[
    0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1C,
    0x1F, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
]);

/// What a packet that carries nothing but explanations allows.
pub(super) const EXPLANATIONS: IdSet = IdSet::of(&[id::REASON_STRING, id::USER_PROPERTY]);

/// Reads a property section in order and holds it to the rules of its packet.
#[derive(Debug)]
pub(super) struct Section<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    allowed: IdSet,
    repeatable: IdSet,
    seen: u64,
}

impl<'a> Section<'a> {
    pub(super) fn new(bytes: &'a [u8], allowed: IdSet) -> Self {
        Self {
            bytes,
            reader: Reader::of_properties(bytes),
            allowed,
            repeatable: IdSet::of(&[id::USER_PROPERTY]),
            seen: 0,
        }
    }

    /// Lets one more property appear any number of times.
    pub(super) fn repeating(self, id: u8) -> Self {
        Self {
            repeatable: IdSet(self.repeatable.0 | IdSet::bit(id)),
            ..self
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let id = self.reader.u8()?;
        if !KNOWN.contains(id) {
            return Err(DecodeError::PropertyUnknown);
        }
        if !self.allowed.contains(id) {
            return Err(DecodeError::PropertyNotAllowed);
        }
        if IdSet(self.seen).contains(id) && !self.repeatable.contains(id) {
            return Err(DecodeError::PropertyRepeated);
        }
        self.seen |= IdSet::bit(id);
        Property::read(id, &mut self.reader).map(Some)
    }

    /// The bytes of the whole section if `id` was among what has been read, else none: for lists that are read again
    /// when they are wanted.
    pub(super) fn bytes_if_seen(&self, id: u8) -> &'a [u8] {
        if IdSet(self.seen).contains(id) {
            self.bytes
        } else {
            &[]
        }
    }
}

/// The next property of a section that has been read once without error.
pub(super) fn next_checked<'a>(rest: &mut &'a [u8]) -> Option<Property<'a>> {
    let mut reader = Reader::of_properties(rest);
    let id = reader.u8().ok()?;
    let property = Property::read(id, &mut reader).ok()?;
    *rest = reader.rest();
    Some(property)
}
