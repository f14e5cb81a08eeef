//! One end of a conversation that keeps every rule of MQTT: it sends its messages, answers those of the other end, and
//! insists that it is answered in order.
use super::*;
use crate::rng::SeededRandom;
use keygate_protocol::mqtt::{Frame, Sender, Suback, Subscribe, Subscription, decode, frame};
use keygate_protocol::topic::TopicFilter;
use std::collections::{BTreeSet, VecDeque};

/// What an end wants to send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A message with this number as its payload.
    Message(&'static str, Qos, u32),
    Ping,
    /// For one filter that is granted and one that is not.
    Subscribe,
}

/// What a SUBSCRIBE of the client asks for.
const WANTED: [&str; 2] = ["closed/#", "open/#"];
/// The gate's packets must not hide behind a wide window.
const WINDOW: usize = 6;

pub(super) struct Peer {
    side: Sender,
    version: Version,
    script: VecDeque<Item>,
    /// An upstream says nothing before CONNACK.
    greeted: bool,
    /// What has arrived and is no whole packet yet.
    unread: Vec<u8>,
    last_id: u16,
    /// Its messages without a first answer, in the order in which they went out.
    unanswered: VecDeque<(PacketId, Qos, u32)>,
    /// Its QoS 2 messages between PUBREC and PUBCOMP.
    releasing: BTreeSet<PacketId>,
    /// The other end's QoS 2 messages that are not released.
    holding: BTreeSet<PacketId>,
    /// Answers that it owes, in order.
    owes: VecDeque<Vec<u8>>,
    /// The numbers of the messages that it got.
    pub(super) received: Vec<u32>,
    /// The numbers of its messages that were taken, and that were refused.
    pub(super) accepted: Vec<u32>,
    pub(super) refused: Vec<u32>,
    pub(super) pings: usize,
    pub(super) pongs: usize,
    pub(super) subacks: Vec<Vec<ReasonCode>>,
}

impl Peer {
    pub(super) fn new(side: Sender, version: Version, script: Vec<Item>) -> Self {
        Self {
            side,
            version,
            script: script.into(),
            greeted: side == Sender::Client,
            unread: Vec::new(),
            last_id: 0,
            unanswered: VecDeque::new(),
            releasing: BTreeSet::new(),
            holding: BTreeSet::new(),
            owes: VecDeque::new(),
            received: Vec::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            pings: 0,
            pongs: 0,
            subacks: Vec::new(),
        }
    }

    /// Whether it has said all that it had to say, and heard all that it waited for.
    pub(super) fn is_done(&self) -> bool {
        self.script.is_empty()
            && self.unread.is_empty()
            && self.unanswered.is_empty()
            && self.releasing.is_empty()
            && self.holding.is_empty()
            && self.owes.is_empty()
    }

    /// The next packet that it sends: an answer or a message, as it likes.
    pub(super) fn speak(&mut self, random: &mut SeededRandom) -> Vec<u8> {
        let window_full = self.unanswered.len() + self.releasing.len() >= WINDOW;
        let mute = window_full || self.script.is_empty() || !self.greeted;
        if mute || random.below(2) == 0 {
            let answer = self.owes.pop_front();
            self.greeted |= answer.is_some();
            return answer.unwrap_or_default();
        }
        match self.script.pop_front() {
            Some(Item::Message(topic, qos, number)) => self.send(topic, qos, number),
            Some(Item::Ping) => {
                self.pings += 1;
                wire(self.version, [Packet::Pingreq])
            }
            Some(Item::Subscribe) => {
                let wanted = WANTED.map(|filter| {
                    Subscription::new(TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce)
                });
                let subscribe = Subscribe::new(self.fresh_id(), &wanted);
                wire(self.version, [Packet::Subscribe(subscribe)])
            }
            None => Vec::new(),
        }
    }

    fn fresh_id(&mut self) -> PacketId {
        self.last_id += 1;
        id(self.last_id)
    }

    fn send(&mut self, topic: &str, qos: Qos, number: u32) -> Vec<u8> {
        let payload = number.to_be_bytes();
        let mut publish = Publish::new(topic, &payload);
        publish.qos = qos;
        if qos != Qos::AtMostOnce {
            let id = self.fresh_id();
            publish.packet_id = Some(id);
            self.unanswered.push_back((id, qos, number));
        }
        wire(self.version, [Packet::Publish(publish)])
    }

    /// Takes what has arrived.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some(whole) = frame(rest, u32::MAX).unwrap() {
            self.packet(&whole);
            rest = &rest[whole.len()..];
        }
        self.unread = rest.to_vec();
    }

    fn packet(&mut self, whole: &Frame<'_>) {
        let other = match self.side {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        match decode(whole, other, self.version).unwrap() {
            Packet::Connect(connect) => {
                assert_eq!(connect.version, self.version);
                self.owe(Packet::Connack(Connack::new(false, ReasonCode::Success)));
            }
            Packet::Connack(connack) => assert_eq!(connack.code, ReasonCode::Success),
            Packet::Publish(publish) => self.publish(&publish),
            Packet::Puback(ack) => self.answered(&ack, Qos::AtLeastOnce),
            Packet::Pubrec(ack) => {
                self.answered(&ack, Qos::ExactlyOnce);
                if !ack.code.is_error() {
                    self.releasing.insert(ack.packet_id);
                    self.owe(Packet::Pubrel(Ack::new(ack.packet_id, ReasonCode::Success)));
                }
            }
            Packet::Pubrel(ack) => {
                assert!(self.holding.remove(&ack.packet_id), "{ack:?}");
                self.owe(Packet::Pubcomp(Ack::new(
                    ack.packet_id,
                    ReasonCode::Success,
                )));
            }
            Packet::Pubcomp(ack) => assert!(self.releasing.remove(&ack.packet_id), "{ack:?}"),
            Packet::Pingreq => self.owe(Packet::Pingresp),
            Packet::Pingresp => self.pongs += 1,
            Packet::Subscribe(subscribe) => {
                let filters: Vec<_> = subscribe.subscriptions.iter().collect();
                assert_eq!(filters.len(), 1);
                assert_eq!(filters[0].filter.as_str(), WANTED[1]);
                let codes = [ReasonCode::GrantedQos1];
                self.owe(Packet::Suback(Suback::new(subscribe.packet_id, &codes)));
            }
            Packet::Suback(suback) => self.subacks.push(suback.codes.iter().collect()),
            other => panic!("nobody sends this: {other:?}"),
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
        match (publish.qos, publish.packet_id) {
            (Qos::ExactlyOnce, Some(id)) => {
                assert!(self.holding.insert(id), "{id} came twice");
                self.owe(Packet::Pubrec(Ack::new(id, ReasonCode::Success)));
            }
            (_, Some(id)) => self.owe(Packet::Puback(Ack::new(id, ReasonCode::Success))),
            (_, None) => {}
        }
        self.received.push(number);
    }

    /// The first answer to one of its messages: it must be the oldest's.
    fn answered(&mut self, ack: &Ack<'_>, qos: Qos) {
        let (id, asked, number) = self.unanswered.pop_front().unwrap();
        assert_eq!((ack.packet_id, qos), (id, asked), "out of order");
        match ack.code.is_error() {
            true => self.refused.push(number),
            false => self.accepted.push(number),
        }
    }

    fn owe(&mut self, packet: Packet<'_>) {
        self.owes.push_back(wire(self.version, [packet]));
    }
}
