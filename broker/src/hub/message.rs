use std::sync::Arc;

use super::wire::Wire;
use keygate_protocol::mqtt::{Delivery, MessageProperties, PacketId, Publish, Qos, Version, Will};
use keygate_protocol::time::Millis;
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
    expiry_s: Option<u32>,
}

impl Message {
    /// The message of a PUBLISH that came now.
    #[must_use]
    pub fn of_publish(publish: &Publish<'_>, now: Millis) -> Arc<Self> {
        Self::new(
            publish.topic,
            &publish.properties,
            publish.payload,
            publish.qos,
            publish.retain,
            now,
        )
    }

    /// The message that a will is. Its expiry counts from the moment when it is published.
    #[must_use]
    pub fn of_will(will: &Will<'_>, now: Millis) -> Arc<Self> {
        Self::new(
            will.topic,
            &will.properties,
            will.payload,
            will.qos,
            will.retain,
            now,
        )
    }

    fn new(
        topic: &str,
        properties: &MessageProperties<'_>,
        payload: &[u8],
        qos: Qos,
        retain: bool,
        published: Millis,
    ) -> Arc<Self> {
        let mut bytes = Vec::with_capacity(topic.len() + payload.len());
        bytes.extend_from_slice(topic.as_bytes());
        properties
            .encode_stored(&mut Wire(&mut bytes))
            .unwrap_or_else(|_| bytes.truncate(topic.len()));
        let properties_len = bytes.len() - topic.len();
        bytes.extend_from_slice(payload);
        let topic_len = topic.len();
        let expiry_s = properties.expiry_s;
        Arc::new(Self {
            bytes: bytes.into(),
            topic_len,
            properties_len,
            qos,
            retain,
            published,
            expiry_s,
        })
    }

    /// The same message as if it had been published now: a will, when its time has come.
    #[must_use]
    pub fn published_at(&self, now: Millis) -> Arc<Self> {
        Arc::new(Self {
            bytes: self.bytes.clone(),
            published: now,
            ..*self
        })
    }

    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &str {
        // Made from a text in `new`.
        std::str::from_utf8(&self.bytes[..self.topic_len]).unwrap_or_default()
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

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// The largest packet that carries it.
    #[must_use]
    pub(crate) fn packet_len_max(&self) -> usize {
        // Header 5, topic length 2, packet id 2, property length 4, expiry 5.
        self.bytes.len() + 18
    }

    /// Whether its time is over (MQTT 5 §3.3.2.3.3).
    #[must_use]
    pub fn has_expired(&self, now: Millis) -> bool {
        self.expiry_s
            .is_some_and(|expiry_s| now.since(self.published) >= u64::from(expiry_s) * 1_000)
    }

    /// Writes the PUBLISH that delivers it.
    pub(crate) fn write(
        &self,
        version: Version,
        qos: Qos,
        retain: bool,
        packet_id: Option<PacketId>,
        now: Millis,
        out: &mut Vec<u8>,
    ) {
        let Ok(topic) = TopicName::new(self.topic()) else {
            return;
        };
        let waited_s = u32::try_from(now.since(self.published) / 1_000).unwrap_or(u32::MAX);
        let delivery = Delivery {
            dup: false,
            qos,
            retain,
            topic,
            packet_id,
            expiry_s: self
                .expiry_s
                .map(|expiry_s| expiry_s.saturating_sub(waited_s)),
            subscription_ids: &[],
            stored_properties: &self.bytes[self.topic_len..self.topic_len + self.properties_len],
            payload: self.payload(),
        };
        super::wire::put(out, |wire| delivery.encode(version, wire));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        Message::of_publish(&Publish::new(topic, payload), Millis(0))
    }

    #[test]
    fn a_message_keeps_what_was_published() {
        let mut publish = Publish::new("a/b", b"payload");
        publish.qos = Qos::AtLeastOnce;
        publish.retain = true;
        publish.properties.content_type = Some("text/plain");
        let message = Message::of_publish(&publish, Millis(5));
        assert_eq!(
            (message.topic(), message.payload()),
            ("a/b", &b"payload"[..])
        );
        assert_eq!((message.qos(), message.retain()), (Qos::AtLeastOnce, true));
        let mut out = Vec::new();
        message.write(
            Version::V5,
            Qos::AtMostOnce,
            false,
            None,
            Millis(5),
            &mut out,
        );
        assert_eq!(out, b"\x30\x1a\x00\x03a/b\x0d\x03\x00\x0atext/plainpayload");
        out.clear();
        message.write(
            Version::V311,
            Qos::AtMostOnce,
            false,
            None,
            Millis(5),
            &mut out,
        );
        assert_eq!(out, b"\x30\x0c\x00\x03a/bpayload");
        assert!(out.len() <= message.packet_len_max());
    }

    #[test]
    fn expiry_counts_down_and_ends() {
        let mut publish = Publish::new("a", b"");
        publish.properties.expiry_s = Some(10);
        let message = Message::of_publish(&publish, Millis(1_000));
        assert!(!message.has_expired(Millis(10_999)));
        assert!(message.has_expired(Millis(11_000)));
        let mut out = Vec::new();
        message.write(
            Version::V5,
            Qos::AtMostOnce,
            false,
            None,
            Millis(5_000),
            &mut out,
        );
        assert_eq!(out, b"\x30\x09\x00\x01a\x05\x02\x00\x00\x00\x06");
    }
}
