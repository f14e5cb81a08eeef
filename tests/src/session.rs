//! A client that has logged in: subscribe, publish, receive, and wait for what must come.
use std::collections::VecDeque;

use keygate_protocol::mqtt::{
    Ack, Packet, PacketId, Publish, Qos, ReasonCode, Subscribe, Subscription, Unsubscribe, Version,
};
use keygate_protocol::topic::TopicFilter;

use crate::wire::{Heard, Wire};

/// A message as it was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The QoS of the delivery.
    pub qos: Qos,
    /// Whether it was delivered as a retained message.
    pub retain: bool,
    /// Whether it may have been delivered before.
    pub dup: bool,
}

/// An open session. Acknowledges what it receives; reads only while a call of the test waits for something.
#[derive(Debug)]
pub struct Client {
    /// The connection, for what a well-behaved client would not send.
    pub wire: Wire,
    next_id: u16,
    waiting: VecDeque<Delivered>,
}

impl Client {
    /// A session on a connection that has had its CONNACK.
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Self {
            wire,
            next_id: 1,
            waiting: VecDeque::new(),
        }
    }

    /// A packet identifier that is free.
    ///
    /// # Panics
    /// After 65,535 of them.
    #[track_caller]
    pub fn packet_id(&mut self) -> PacketId {
        let id = PacketId::new(self.next_id).expect("few packets are sent");
        self.next_id += 1;
        id
    }

    /// Subscribes, and gives the code of the answer.
    ///
    /// # Panics
    /// When the filter is none, or no SUBACK comes.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: Qos) -> u8 {
        let filter = TopicFilter::new(filter).expect("a filter");
        self.subscribe_to(Subscription::new(filter, qos))
    }

    /// Subscribes with options, and gives the code of the answer.
    ///
    /// # Panics
    /// When no SUBACK comes.
    #[track_caller]
    pub fn subscribe_to(&mut self, wanted: Subscription<'_>) -> u8 {
        let packet_id = self.packet_id();
        let wanted = [wanted];
        self.wire
            .send(&Packet::Subscribe(Subscribe::new(packet_id, &wanted)));
        self.until(|packet| match packet {
            Packet::Suback(ack) if ack.packet_id == packet_id => {
                ack.codes.iter().next().map(ReasonCode::value)
            }
            _ => None,
        })
    }

    /// Subscribes, and demands that it is granted.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn must_subscribe(&mut self, filter: &str) {
        let code = self.subscribe(filter, Qos::AtLeastOnce);
        assert_eq!(code, 1, "the subscription to {filter} is refused");
    }

    /// Unsubscribes.
    ///
    /// # Panics
    /// When the filter is none, or no UNSUBACK comes.
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: &str) {
        let packet_id = self.packet_id();
        let filters = [TopicFilter::new(filter).expect("a filter")];
        self.wire
            .send(&Packet::Unsubscribe(Unsubscribe::new(packet_id, &filters)));
        self.until(|packet| match packet {
            Packet::Unsuback(ack) if ack.packet_id == packet_id => Some(()),
            _ => None,
        });
    }

    /// Publishes at QoS 1, and gives the code of the answer.
    ///
    /// # Panics
    /// When no PUBACK comes.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.publish_packet(Publish::new(topic, payload))
    }

    /// Publishes this at QoS 1, and gives the code of the answer.
    ///
    /// # Panics
    /// When no PUBACK comes.
    #[track_caller]
    pub fn publish_packet(&mut self, publish: Publish<'_>) -> u8 {
        let packet_id = self.packet_id();
        self.wire.send(&Packet::Publish(Publish {
            qos: Qos::AtLeastOnce,
            packet_id: Some(packet_id),
            ..publish
        }));
        self.until(|packet| match packet {
            Packet::Puback(ack) if ack.packet_id == packet_id => Some(ack.code.value()),
            _ => None,
        })
    }

    /// Publishes at QoS 1, and demands that it is taken.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn must_publish(&mut self, topic: &str, payload: &[u8]) {
        assert_eq!(self.publish(topic, payload), 0, "a publish is refused");
    }

    /// Publishes at QoS 0; nothing answers that.
    #[track_caller]
    pub fn publish_unacknowledged(&mut self, topic: &str, payload: &[u8]) {
        self.wire
            .send(&Packet::Publish(Publish::new(topic, payload)));
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn receive(&mut self) -> Delivered {
        loop {
            if let Some(delivered) = self.waiting.pop_front() {
                return delivered;
            }
            let got = self.wire.packet();
            match got.packet() {
                Packet::Publish(publish) => self.keep(&publish),
                other => panic!("expected a message, heard {other:?}"),
            }
        }
    }

    /// The next message is this one.
    ///
    /// # Panics
    /// When it is another, or none comes.
    #[track_caller]
    pub fn must_receive(&mut self, topic: &str, payload: &[u8]) -> Delivered {
        let delivered = self.receive();
        assert_eq!(
            (delivered.topic.as_str(), delivered.payload.as_slice()),
            (topic, payload)
        );
        delivered
    }

    /// The session stands: the broker answers a ping. What came meanwhile waits for [`receive`](Self::receive).
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn must_stand(&mut self) {
        self.wire.send(&Packet::Pingreq);
        self.until(|packet| matches!(packet, Packet::Pingresp).then_some(()));
    }

    /// The session stands, and nothing was delivered that the test has not taken.
    ///
    /// # Panics
    /// When something was.
    #[track_caller]
    pub fn must_have_received_nothing(&mut self) {
        self.must_stand();
        assert_eq!(self.waiting, [], "something was delivered");
    }

    /// Waits for the end of the session: the code of the DISCONNECT, `None` if there was none.
    ///
    /// # Panics
    /// When the session stays.
    #[track_caller]
    pub fn end(&mut self) -> Option<u8> {
        loop {
            let got = match self.wire.hear() {
                Heard::Packet(got) => got,
                Heard::Closed => return None,
            };
            match got.packet() {
                Packet::Publish(publish) => self.keep(&publish),
                Packet::Disconnect(disconnect) => {
                    let code = disconnect.code.value();
                    assert_eq!(
                        self.wire.hear(),
                        Heard::Closed,
                        "DISCONNECT is the last word"
                    );
                    return Some(code);
                }
                other => panic!("expected the end, heard {other:?}"),
            }
        }
    }

    /// Says goodbye: no will.
    ///
    /// # Panics
    /// When the broker does not close.
    #[track_caller]
    pub fn say_goodbye(mut self) {
        use keygate_protocol::mqtt::Disconnect;
        self.wire
            .send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        self.wire.finish();
        assert_eq!(self.end(), None);
    }

    /// Cuts the connection without a word.
    pub fn cut(self) {
        drop(self);
    }

    /// Reads until the packet that is waited for; keeps messages that come before it.
    #[track_caller]
    pub fn until<T>(&mut self, wanted: impl Fn(&Packet<'_>) -> Option<T>) -> T {
        loop {
            let got = self.wire.packet();
            let packet = got.packet();
            if let Some(found) = wanted(&packet) {
                return found;
            }
            match packet {
                Packet::Publish(publish) => self.keep(&publish),
                other => panic!("did not expect {other:?}"),
            }
        }
    }

    fn keep(&mut self, publish: &Publish<'_>) {
        if let Some(packet_id) = publish.packet_id {
            self.wire
                .send(&Packet::Puback(Ack::new(packet_id, ReasonCode::Success)));
        }
        self.waiting.push_back(Delivered {
            topic: publish.topic.into(),
            payload: publish.payload.into(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
        });
    }

    /// The version that the session speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.wire.version()
    }
}
