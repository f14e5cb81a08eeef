use std::sync::Arc;

use super::Times;
use super::wire::Wire;
use keygate_protocol::mqtt::{Delivery, MessageProperties, Publish, Qos, Will};
use keygate_protocol::time::{Millis, UnixTime};
use keygate_protocol::topic::TopicName;

/// A message in the broker, shared by everybody who gets it: one allocation for topic, properties and payload.
#[derive(Debug, Eq, PartialEq)]
pub struct Message {
    /// Topic ‖ properties as they go out (without expiry) ‖ payload.
    bytes: Box<[u8]>,
    topic_len: usize,
    properties_len: usize,
    qos: Qos,
    retain: bool,
    published: Millis,
    published_wall: UnixTime,
    expiry_s: Option<u32>,
    /// The identity that published it; kept with what is retained, so that it goes when its publisher does.
    publisher: Option<Arc<str>>,
}

/// A message in parts, for the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageParts<'a> {
    /// Where it was published.
    pub topic: &'a str,
    /// Its properties as they go out, without expiry.
    pub properties: &'a [u8],
    /// What it says.
    pub payload: &'a [u8],
    /// How hard it was published.
    pub qos: Qos,
    /// Whether its publisher wanted it retained.
    pub retain: bool,
    /// When it is worth nothing any more.
    pub expires_at: Option<UnixTime>,
    /// The identity that published it.
    pub publisher: Option<&'a str>,
}

impl Message {
    /// The message of a PUBLISH that came now.
    #[must_use]
    pub fn of_publish(
        publish: &Publish<'_>,
        publisher: Option<Arc<str>>,
        times: Times,
    ) -> Arc<Self> {
        Self::new(
            publish.topic,
            &publish.properties,
            publish.payload,
            (publish.qos, publish.retain),
            publisher,
            times,
        )
    }

    /// The message that a will is. Its expiry counts from the moment when it is published.
    #[must_use]
    pub fn of_will(will: &Will<'_>, publisher: Option<Arc<str>>, times: Times) -> Arc<Self> {
        Self::new(
            will.topic,
            &will.properties,
            will.payload,
            (will.qos, will.retain),
            publisher,
            times,
        )
    }

    fn new(
        topic: &str,
        properties: &MessageProperties<'_>,
        payload: &[u8],
        (qos, retain): (Qos, bool),
        publisher: Option<Arc<str>>,
        times: Times,
    ) -> Arc<Self> {
        let mut bytes = Vec::with_capacity(topic.len() + payload.len());
        bytes.extend_from_slice(topic.as_bytes());
        properties
            .encode_stored(&mut Wire(&mut bytes))
            .unwrap_or_else(|_| bytes.truncate(topic.len()));
        let properties_len = bytes.len() - topic.len();
        bytes.extend_from_slice(payload);
        Arc::new(Self {
            bytes: bytes.into(),
            topic_len: topic.len(),
            properties_len,
            qos,
            retain,
            published: times.now,
            published_wall: times.wall,
            expiry_s: properties.expiry_s,
            publisher,
        })
    }

    /// The message that the store held; `times` is now.
    #[must_use]
    pub fn restore(parts: &MessageParts<'_>, times: Times) -> Arc<Self> {
        let mut bytes =
            Vec::with_capacity(parts.topic.len() + parts.properties.len() + parts.payload.len());
        bytes.extend_from_slice(parts.topic.as_bytes());
        bytes.extend_from_slice(parts.properties);
        bytes.extend_from_slice(parts.payload);
        let left_s = |end: UnixTime| end.0.saturating_sub(times.wall.0);
        Arc::new(Self {
            bytes: bytes.into(),
            topic_len: parts.topic.len(),
            properties_len: parts.properties.len(),
            qos: parts.qos,
            retain: parts.retain,
            published: times.now,
            published_wall: times.wall,
            expiry_s: parts
                .expires_at
                .map(|end| u32::try_from(left_s(end)).unwrap_or(u32::MAX)),
            publisher: parts.publisher.map(Arc::from),
        })
    }

    /// The message in parts: [`restore`](Self::restore) puts them together again.
    #[must_use]
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos,
            retain: self.retain,
            expires_at: self
                .expiry_s
                .map(|expiry_s| self.published_wall.plus(u64::from(expiry_s))),
            publisher: self.publisher.as_deref(),
        }
    }

    /// The same message as if it had been published now: a will, when its time has come.
    #[must_use]
    pub fn published_at(&self, times: Times) -> Arc<Self> {
        Arc::new(Self {
            bytes: self.bytes.clone(),
            published: times.now,
            published_wall: times.wall,
            publisher: self.publisher.clone(),
            ..*self
        })
    }

    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &str {
        // Made from a text in `new`.
        std::str::from_utf8(&self.bytes[..self.topic_len]).unwrap_or_default()
    }

    fn properties(&self) -> &[u8] {
        &self.bytes[self.topic_len..self.topic_len + self.properties_len]
    }

    /// What it says.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.topic_len + self.properties_len..]
    }

    /// How hard it was published.
    #[must_use]
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// Whether its publisher wanted it retained.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The identity that published it, if it had one.
    #[must_use]
    pub fn publisher(&self) -> Option<&Arc<str>> {
        self.publisher.as_ref()
    }

    /// Seconds from its publication until it is worth nothing any more.
    #[must_use]
    pub fn expiry_s(&self) -> Option<u32> {
        self.expiry_s
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// Whether it is worth something for a time only.
    #[must_use]
    pub fn expires(&self) -> bool {
        self.expiry_s.is_some()
    }

    /// Whether its time is over (MQTT 5 §3.3.2.3.3).
    #[must_use]
    pub fn has_expired(&self, now: Millis) -> bool {
        self.expiry_s
            .is_some_and(|expiry_s| now.since(self.published) >= u64::from(expiry_s) * 1_000)
    }

    /// The PUBLISH that delivers it. `None` if it is none that could be sent, which cannot be.
    pub(crate) fn delivery<'a>(&'a self, now: Millis) -> Option<Delivery<'a>> {
        let topic = TopicName::new(self.topic()).ok()?;
        let waited_s = u32::try_from(now.since(self.published) / 1_000).unwrap_or(u32::MAX);
        Some(Delivery {
            expiry_s: self
                .expiry_s
                .map(|expiry_s| expiry_s.saturating_sub(waited_s)),
            stored_properties: self.properties(),
            ..Delivery::new(topic, self.payload())
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use keygate_protocol::mqtt::Version;

    pub(crate) fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        Message::of_publish(&Publish::new(topic, payload), None, Times::default())
    }

    fn wire(message: &Message, version: Version, now: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let delivery = message.delivery(Millis(now)).unwrap();
        delivery.encode(version, &mut Wire(&mut out)).unwrap();
        out
    }

    fn at(now: u64) -> Times {
        Times {
            now: Millis(now),
            wall: UnixTime(1_000),
        }
    }

    #[test]
    fn a_message_keeps_what_was_published() {
        let mut publish = Publish::new("a/b", b"payload");
        publish.qos = Qos::AtLeastOnce;
        publish.retain = true;
        publish.properties.content_type = Some("text/plain");
        let message = Message::of_publish(&publish, None, at(5));
        assert_eq!(
            (message.topic(), message.payload()),
            ("a/b", &b"payload"[..])
        );
        assert_eq!((message.qos(), message.retain()), (Qos::AtLeastOnce, true));
        let out = wire(&message, Version::V5, 5);
        assert_eq!(out, b"\x30\x1a\x00\x03a/b\x0d\x03\x00\x0atext/plainpayload");
        let out = wire(&message, Version::V311, 5);
        assert_eq!(out, b"\x30\x0c\x00\x03a/bpayload");
    }

    #[test]
    fn expiry_counts_down_and_ends() {
        let mut publish = Publish::new("a", b"");
        publish.properties.expiry_s = Some(10);
        let message = Message::of_publish(&publish, None, at(1_000));
        assert!(!message.has_expired(Millis(10_999)));
        assert!(message.has_expired(Millis(11_000)));
        let out = wire(&message, Version::V5, 5_000);
        assert_eq!(out, b"\x30\x09\x00\x01a\x05\x02\x00\x00\x00\x06");
    }

    #[test]
    fn a_message_survives_the_store_and_its_expiry_goes_on() {
        let mut publish = Publish::new("a/b", b"payload");
        publish.qos = Qos::ExactlyOnce;
        publish.properties.expiry_s = Some(60);
        publish.properties.content_type = Some("text/plain");
        let message = Message::of_publish(&publish, Some("dev-1".into()), at(0));
        let later = Times {
            now: Millis(7),
            wall: UnixTime(1_020),
        };
        let restored = Message::restore(&message.parts(), later);
        assert_eq!(restored.parts(), message.parts());
        assert!(!restored.has_expired(Millis(40_006)));
        assert!(restored.has_expired(Millis(40_007)));
    }
}
