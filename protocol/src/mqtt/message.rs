//! The properties that belong to an application message: the same for a PUBLISH and for a will.
use super::property::{IdSet, Property, Section, id, put};
use super::write::Properties;
use super::{DecodeError, PayloadFormat, UserProperties};
use crate::sink::{CapacityError, Sink};

/// What travels with a message from publisher to subscriber (MQTT 5 §3.3.2.3).
///
/// All of it is forwarded unaltered, except that the expiry shrinks while the message waits. A broker keeps a message
/// as the bytes of [`encode_stored`](Self::encode_stored), next to its deadline, and sends it with
/// [`Delivery`](super::Delivery).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageProperties<'a> {
    /// What the payload is said to be.
    pub payload_format: Option<PayloadFormat>,
    /// Seconds until the message is worthless.
    pub expiry_s: Option<u32>,
    /// MIME type or anything else; opaque here.
    pub content_type: Option<&'a str>,
    /// Where an answer is expected; a valid topic name.
    pub response_topic: Option<&'a str>,
    /// What an answer must repeat.
    pub correlation_data: Option<&'a [u8]>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

/// What is stored: everything but the expiry.
const STORED: IdSet = IdSet::of(&[
    id::PAYLOAD_FORMAT,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);

impl<'a> MessageProperties<'a> {
    /// Writes everything but the expiry, in the form in which it goes into a PUBLISH again and again.
    pub fn encode_stored(&self, sink: &mut impl Sink) -> Result<(), CapacityError> {
        Self {
            expiry_s: None,
            ..*self
        }
        .write(sink)
    }

    /// Reads what [`encode_stored`](Self::encode_stored) wrote.
    pub fn decode_stored(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut section = Section::new(bytes, STORED);
        let mut message = Self::default();
        while let Some(property) = section.next()? {
            message.set(property);
        }
        message.user_properties = user_properties(&section);
        Ok(message)
    }

    /// Takes over a property that is one of a message.
    pub(super) fn set(&mut self, property: Property<'a>) {
        match property {
            Property::PayloadFormat(format) => self.payload_format = Some(format),
            Property::MessageExpiry(expiry_s) => self.expiry_s = Some(expiry_s),
            Property::ContentType(text) => self.content_type = Some(text),
            Property::ResponseTopic(topic) => self.response_topic = Some(topic),
            Property::CorrelationData(data) => self.correlation_data = Some(data),
            _ => {}
        }
    }
}

impl Properties for MessageProperties<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.payload_format.map(Property::PayloadFormat))?;
        put(sink, self.expiry_s.map(Property::MessageExpiry))?;
        put(sink, self.content_type.map(Property::ContentType))?;
        put(sink, self.response_topic.map(Property::ResponseTopic))?;
        put(sink, self.correlation_data.map(Property::CorrelationData))?;
        put_user_properties(sink, self.user_properties)
    }
}

/// The user properties of a section that has been read to its end.
pub(super) fn user_properties<'a>(section: &Section<'a>) -> UserProperties<'a> {
    UserProperties::checked(section.bytes_if_seen(id::USER_PROPERTY))
}

pub(super) fn put_user_properties(
    sink: &mut impl Sink,
    properties: UserProperties<'_>,
) -> Result<(), CapacityError> {
    for (name, value) in properties {
        Property::User(name, value).write(sink)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_properties_read_back_without_the_expiry() {
        let pairs = [("a", "1"), ("a", "2")];
        let message = MessageProperties {
            payload_format: Some(PayloadFormat::Utf8),
            expiry_s: Some(7),
            content_type: Some("text/plain"),
            response_topic: Some("answers/here"),
            correlation_data: Some(b"\x00\xFF"),
            user_properties: UserProperties::new(&pairs),
        };
        let mut stored = heapless::Vec::<u8, 100>::new();
        message.encode_stored(&mut stored).unwrap();
        let expected = MessageProperties {
            expiry_s: None,
            ..message
        };
        assert_eq!(MessageProperties::decode_stored(&stored), Ok(expected));
    }

    #[test]
    fn a_stored_expiry_is_refused() {
        assert_eq!(
            MessageProperties::decode_stored(b"\x02\x00\x00\x00\x07"),
            Err(DecodeError::PropertyNotAllowed)
        );
    }
}
