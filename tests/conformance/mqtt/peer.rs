//! A client that does what a case says and nothing else: it acknowledges when it is told to.
use std::collections::VecDeque;
use std::time::Duration;

use keygate_protocol::mqtt::{
    Ack, Connack, Disconnect, Packet, PacketId, PayloadFormat, Publish, Qos, ReasonCode, Subscribe,
    Subscription, SubscriptionId, SubscriptionOptions, Unsubscribe, Version,
};
use keygate_protocol::topic::TopicFilter;
use keygate_tests::clock::Deadline;
use keygate_tests::wire::{Got, Heard, Wire};

use super::target::Target;

/// A message as it was delivered, with everything that it carried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
    pub(super) alias: Option<u16>,
    pub(super) subscription_ids: Vec<u32>,
    pub(super) utf8: Option<bool>,
    pub(super) expiry_s: Option<u32>,
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) user_properties: Vec<(String, String)>,
}

impl Message {
    fn of(publish: &Publish<'_>) -> Self {
        let properties = &publish.properties;
        let mut subscription_ids: Vec<u32> = publish
            .subscription_ids
            .iter()
            .map(SubscriptionId::value)
            .collect();
        subscription_ids.sort_unstable();
        Self {
            topic: publish.topic.into(),
            payload: publish.payload.into(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            alias: publish.topic_alias.map(std::num::NonZeroU16::get),
            subscription_ids,
            utf8: properties
                .payload_format
                .map(|format| format == PayloadFormat::Utf8),
            expiry_s: properties.expiry_s,
            content_type: properties.content_type.map(Into::into),
            response_topic: properties.response_topic.map(Into::into),
            correlation: properties.correlation_data.map(Into::into),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The identifier of a message that must have one.
    #[track_caller]
    pub(super) fn id(&self) -> PacketId {
        self.packet_id.expect("a message with QoS 1 or 2")
    }
}

/// A connection that has had its CONNACK.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) wire: Wire,
    connack: Got,
    exact: bool,
    fence: String,
    next_id: u16,
    inbox: VecDeque<Message>,
}

impl Peer {
    pub(super) fn new(wire: Wire, connack: Got, target: &Target) -> Self {
        let port = wire.local().port();
        Self {
            wire,
            connack,
            exact: target.exact,
            fence: target.topic(&format!("fence/{port}")),
            next_id: 1,
            inbox: VecDeque::new(),
        }
    }

    pub(super) fn is_v5(&self) -> bool {
        self.wire.version() == Version::V5
    }

    /// The CONNACK.
    #[track_caller]
    pub(super) fn connack(&self) -> Connack<'_> {
        match self.connack.packet() {
            Packet::Connack(connack) => connack,
            other => panic!("expected CONNACK, heard {other:?}"),
        }
    }

    /// Whether the broker had the session.
    #[track_caller]
    pub(super) fn session_present(&self) -> bool {
        self.connack().session_present
    }

    pub(super) fn send(&mut self, packet: &Packet<'_>) {
        self.wire.send(packet);
    }

    /// A packet identifier that is free.
    #[track_caller]
    pub(super) fn packet_id(&mut self) -> PacketId {
        let id = PacketId::new(self.next_id).expect("few packets are sent");
        self.next_id += 1;
        id
    }

    /// Reads until the packet that is waited for; messages that come before it are kept, unacknowledged.
    #[track_caller]
    pub(super) fn until<T>(&mut self, wanted: impl Fn(&Packet<'_>) -> Option<T>) -> T {
        loop {
            let got = self.wire.packet();
            let packet = got.packet();
            if let Some(found) = wanted(&packet) {
                return found;
            }
            match packet {
                Packet::Publish(publish) => self.inbox.push_back(Message::of(&publish)),
                other => panic!("did not expect {other:?}"),
            }
        }
    }

    /// Subscribes, and gives the code of the answer.
    #[track_caller]
    pub(super) fn subscribe(&mut self, filter: &str, qos: Qos) -> u8 {
        self.subscribe_as(
            filter,
            SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            },
            None,
        )
    }

    /// Subscribes with options and an identifier.
    #[track_caller]
    pub(super) fn subscribe_as(
        &mut self,
        filter: &str,
        options: SubscriptionOptions,
        id: Option<u32>,
    ) -> u8 {
        let filter = TopicFilter::new(filter).expect("a filter");
        self.subscribe_all(&[Subscription { filter, options }], id)[0]
    }

    /// Subscribes to several filters in one packet.
    #[track_caller]
    pub(super) fn subscribe_all(
        &mut self,
        wanted: &[Subscription<'_>],
        id: Option<u32>,
    ) -> Vec<u8> {
        let packet_id = self.packet_id();
        self.send(&Packet::Subscribe(Subscribe {
            subscription_id: id.and_then(SubscriptionId::new),
            ..Subscribe::new(packet_id, wanted)
        }));
        self.until(|packet| match packet {
            Packet::Suback(ack) if ack.packet_id == packet_id => {
                Some(ack.codes.iter().map(ReasonCode::value).collect())
            }
            _ => None,
        })
    }

    /// Subscribes, and demands that exactly this QoS is granted.
    #[track_caller]
    pub(super) fn must_subscribe(&mut self, filter: &str, qos: Qos) {
        assert_eq!(self.subscribe(filter, qos), qos.level(), "{filter}");
    }

    /// Unsubscribes, and gives the codes of the answer (none in 3.1.1).
    #[track_caller]
    pub(super) fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let packet_id = self.packet_id();
        let filters: Vec<_> = filters
            .iter()
            .map(|filter| TopicFilter::new(filter).expect("a filter"))
            .collect();
        self.send(&Packet::Unsubscribe(Unsubscribe::new(packet_id, &filters)));
        self.until(|packet| match packet {
            Packet::Unsuback(ack) if ack.packet_id == packet_id => {
                Some(ack.codes.iter().map(ReasonCode::value).collect())
            }
            _ => None,
        })
    }

    /// Publishes and finishes the exchange that the QoS asks for; gives the first code of the answer.
    #[track_caller]
    pub(super) fn publish(&mut self, topic: &str, payload: &[u8], qos: Qos) -> u8 {
        self.publish_as(&Publish {
            qos,
            ..Publish::new(topic, payload)
        })
    }

    /// Publishes and demands that it is taken.
    #[track_caller]
    pub(super) fn must_publish(&mut self, topic: &str, payload: &[u8], qos: Qos) {
        let code = self.publish(topic, payload, qos);
        assert!(code < 0x80, "a publish is refused: {code:02x}");
    }

    /// Publishes this and finishes the exchange; gives the first code of the answer.
    #[track_caller]
    pub(super) fn publish_as(&mut self, publish: &Publish<'_>) -> u8 {
        let (packet_id, qos) = match publish.qos {
            Qos::AtMostOnce => (None, Qos::AtMostOnce),
            qos => (Some(self.packet_id()), qos),
        };
        self.send(&Packet::Publish(Publish {
            packet_id,
            ..*publish
        }));
        let Some(id) = packet_id else { return 0 };
        if qos == Qos::AtLeastOnce {
            return self.puback(id);
        }
        let code = self.pubrec(id);
        if code < 0x80 {
            self.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
            assert_eq!(self.pubcomp(id), 0, "PUBCOMP");
        }
        code
    }

    /// Publishes with QoS 1 or 2 and does not wait for the answer; gives the identifier.
    #[track_caller]
    pub(super) fn start_publish(&mut self, topic: &str, payload: &[u8], qos: Qos) -> PacketId {
        let id = self.packet_id();
        self.send(&Packet::Publish(Publish {
            qos,
            packet_id: Some(id),
            ..Publish::new(topic, payload)
        }));
        id
    }

    /// Keeps a message as the retained one of its topic; an empty payload removes it.
    #[track_caller]
    pub(super) fn retain(&mut self, topic: &str, payload: &[u8], qos: Qos) {
        let code = self.publish_as(&Publish {
            retain: true,
            qos,
            ..Publish::new(topic, payload)
        });
        assert!(code < 0x80, "a retained publish is refused: {code:02x}");
    }

    /// Waits for the PUBACK of this message.
    #[track_caller]
    pub(super) fn puback(&mut self, id: PacketId) -> u8 {
        self.until(|packet| match packet {
            Packet::Puback(ack) if ack.packet_id == id => Some(ack.code.value()),
            _ => None,
        })
    }

    /// Waits for the PUBREC of this message.
    #[track_caller]
    pub(super) fn pubrec(&mut self, id: PacketId) -> u8 {
        self.until(|packet| match packet {
            Packet::Pubrec(ack) if ack.packet_id == id => Some(ack.code.value()),
            _ => None,
        })
    }

    /// Waits for the PUBREL of this message.
    #[track_caller]
    pub(super) fn pubrel(&mut self, id: PacketId) -> u8 {
        self.until(|packet| match packet {
            Packet::Pubrel(ack) if ack.packet_id == id => Some(ack.code.value()),
            _ => None,
        })
    }

    /// Waits for the PUBCOMP of this message.
    #[track_caller]
    pub(super) fn pubcomp(&mut self, id: PacketId) -> u8 {
        self.until(|packet| match packet {
            Packet::Pubcomp(ack) if ack.packet_id == id => Some(ack.code.value()),
            _ => None,
        })
    }

    /// The next message, not acknowledged.
    #[track_caller]
    pub(super) fn message(&mut self) -> Message {
        if let Some(message) = self.inbox.pop_front() {
            return message;
        }
        let got = self.wire.packet();
        match got.packet() {
            Packet::Publish(publish) => Message::of(&publish),
            other => panic!("expected a message, heard {other:?}"),
        }
    }

    /// Acknowledges a message, to the end.
    #[track_caller]
    pub(super) fn acknowledge(&mut self, message: &Message) {
        let Some(id) = message.packet_id else { return };
        let ack = Ack::new(id, ReasonCode::Success);
        if message.qos == Qos::AtLeastOnce {
            self.send(&Packet::Puback(ack));
            return;
        }
        self.send(&Packet::Pubrec(ack));
        self.pubrel(id);
        self.send(&Packet::Pubcomp(ack));
    }

    /// The next message, acknowledged.
    #[track_caller]
    pub(super) fn take(&mut self) -> Message {
        let message = self.message();
        self.acknowledge(&message);
        message
    }

    /// The next message has this topic and this payload; it is acknowledged.
    #[track_caller]
    pub(super) fn must_take(&mut self, topic: &str, payload: &[u8]) -> Message {
        let message = self.take();
        assert_eq!(
            (message.topic.as_str(), message.payload.as_slice()),
            (topic, payload)
        );
        message
    }

    /// The broker answers a ping: everything sent before it was taken. Messages that come meanwhile are kept.
    #[track_caller]
    pub(super) fn ping(&mut self) {
        self.send(&Packet::Pingreq);
        self.until(|packet| matches!(packet, Packet::Pingresp).then_some(()));
    }

    /// All messages that came until the broker answers a ping; acknowledged.
    #[track_caller]
    pub(super) fn collect(&mut self) -> Vec<Message> {
        self.ping();
        let mut found = Vec::new();
        while let Some(message) = self.inbox.pop_front() {
            self.acknowledge(&message);
            found.push(message);
        }
        found
    }

    /// Waits until the broker has taken what was sent, or has closed instead. Whatever it says is let through.
    #[track_caller]
    pub(super) fn answered_or_closed(&mut self) {
        self.send(&Packet::Pingreq);
        loop {
            match self.wire.hear() {
                Heard::Closed => return,
                Heard::Packet(got) if got.packet() == Packet::Pingresp => return,
                Heard::Packet(_) => {}
            }
        }
    }

    /// The broker answers a ping, and no message came that the case has not taken.
    #[track_caller]
    pub(super) fn must_have_nothing(&mut self) {
        self.ping();
        assert_eq!(self.inbox, [], "something was delivered");
    }

    /// All messages that `writer`'s broker sends before a message that `writer` publishes now; acknowledged.
    ///
    /// The fence: it travels the same way as what `writer` published before, with the same QoS, so what did not come
    /// before it does not come.
    #[track_caller]
    pub(super) fn drain(&mut self, writer: &mut Self, qos: Qos) -> Vec<Message> {
        let fence = self.fence.clone();
        self.must_subscribe(&fence, qos);
        writer.must_publish(&fence, b"fence", qos);
        let found = self.take_until(&fence);
        self.unsubscribe(&[&fence]);
        found
    }

    /// All messages up to the one on this topic, which is not among them; acknowledged.
    #[track_caller]
    pub(super) fn take_until(&mut self, topic: &str) -> Vec<Message> {
        let mut found = Vec::new();
        loop {
            let message = self.take();
            if message.topic == topic {
                return found;
            }
            found.push(message);
        }
    }

    /// Lets time pass on this connection, which hears nothing meanwhile.
    #[track_caller]
    pub(super) fn hear_nothing_for(&mut self, time: Duration) {
        let heard = self.wire.hear_until(Deadline::after(time));
        assert_eq!(heard, None, "nothing was expected in this time");
    }

    /// Says goodbye and waits until the broker has closed.
    #[track_caller]
    pub(super) fn leave(mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        self.wire.finish();
        let heard = self.rest();
        assert_eq!(heard, None, "nothing answers DISCONNECT");
    }

    /// Ends the connection without a word, in a way that the broker notices at once.
    pub(super) fn cut(self) {
        drop(self);
    }

    /// Reads to the end of the connection: the code of a DISCONNECT, if one came.
    #[track_caller]
    pub(super) fn rest(&mut self) -> Option<u8> {
        let mut code = None;
        loop {
            let got = match self.wire.hear() {
                Heard::Packet(got) => got,
                Heard::Closed => return code,
            };
            assert_eq!(code, None, "DISCONNECT is the last word");
            match got.packet() {
                Packet::Disconnect(disconnect) => code = Some(disconnect.code.value()),
                Packet::Publish(publish) => self.inbox.push_back(Message::of(&publish)),
                _ => {}
            }
        }
    }

    /// The broker ends the connection: in MQTT 5 with this code (or another error, or none, if it is no Keygate), in
    /// 3.1.1 without a word.
    #[track_caller]
    pub(super) fn must_end(mut self, code: u8) {
        let said = self.rest();
        match (self.is_v5(), self.exact) {
            (false, _) => assert_eq!(said, None),
            (true, true) => assert_eq!(said, Some(code), "expected {code:02x}, got {said:02x?}"),
            (true, false) => assert!(said.is_none_or(|code| code >= 0x80), "{said:02x?}"),
        }
    }

    /// Sends bytes that no client may send; the broker ends the connection with this code.
    #[track_caller]
    pub(super) fn must_end_after(mut self, bytes: &[u8], code: u8) {
        self.wire.send_bytes(bytes);
        self.must_end(code);
    }
}
