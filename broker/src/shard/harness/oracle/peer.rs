use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::hub::wire::Wire;
use crate::shard::harness::Endpoint;
use keygate_protocol::mqtt::{
    self, Ack, AckKind, Connect, Disconnect, Packet, PacketId, Publish, Qos, ReasonCode, Sender,
    Subscribe, Subscription, SubscriptionId, SubscriptionOptions, Unsubscribe, Version, Will,
};
use keygate_protocol::topic::TopicFilter;

/// A message as its publisher made it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Names it in the history.
    pub(super) message: usize,
    pub(super) topic: &'static str,
    pub(super) payload: String,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) expiry_s: Option<u32>,
}

/// What a CONNECT asks for.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) clean: bool,
    pub(super) expiry_s: u32,
    pub(super) receive_max: u16,
    /// The will and its delay.
    pub(super) will: Option<(Draft, u32)>,
}

/// What a client has seen, in order.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Connack {
        present: bool,
    },
    /// The broker has taken a message.
    Acknowledged(usize),
    /// The session is gone, and with it the duty to send this again.
    GivenUp(usize),
    /// It was sent once more.
    SentAgain(usize),
    Suback(usize, Vec<ReasonCode>),
    Unsuback(usize),
    Came(Copy),
    /// The broker ended the connection.
    Ended(Option<ReasonCode>),
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) ids: BTreeSet<u32>,
    pub(super) expiry_s: Option<u32>,
}

/// A client of either version that keeps its own session: it sends again what was not acknowledged, and takes a QoS 2
/// message once. Whatever the broker may not do makes it panic.
pub(super) struct Peer {
    pub(super) id: &'static str,
    pub(super) version: Version,
    /// Reads, and answers nothing.
    pub(super) is_slow: bool,
    pub(super) seen: Vec<Seen>,
    is_open: bool,
    is_closed: bool,
    is_resumed: bool,
    /// Whether its session outlives the connection.
    keeps_session: bool,
    will_keep_session: bool,
    input: Vec<u8>,
    last_packet_id: u16,
    receive_max: u16,
    /// What the broker declared: messages it takes at a time, aliases.
    broker_receive_max: u16,
    broker_alias_max: u16,
    /// Publishes that are not complete, in order; whether the broker has them.
    outgoing: VecDeque<(PacketId, Draft, bool)>,
    /// QoS 2 messages that the broker has not released.
    incoming: BTreeSet<PacketId>,
    /// SUBSCRIBE and UNSUBSCRIBE that are not answered.
    requests: BTreeMap<PacketId, usize>,
    /// Messages of this connection that this client has not acknowledged to the end.
    at_client: BTreeSet<PacketId>,
    owed: VecDeque<(AckKind, PacketId)>,
    aliases_in: BTreeMap<u16, String>,
    aliases_out: Vec<&'static str>,
}

impl Peer {
    pub(super) fn new(id: &'static str, version: Version) -> Self {
        Self {
            id,
            version,
            is_slow: false,
            seen: Vec::new(),
            is_open: false,
            is_closed: true,
            is_resumed: false,
            keeps_session: false,
            will_keep_session: false,
            input: Vec::new(),
            last_packet_id: 0,
            receive_max: u16::MAX,
            broker_receive_max: u16::MAX,
            broker_alias_max: 0,
            outgoing: VecDeque::new(),
            incoming: BTreeSet::new(),
            requests: BTreeMap::new(),
            at_client: BTreeSet::new(),
            owed: VecDeque::new(),
            aliases_in: BTreeMap::new(),
            aliases_out: Vec::new(),
        }
    }

    /// Whether its CONNACK has come and its connection stands.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn connect(&mut self, hello: &Hello, out: &mut Vec<u8>) {
        self.is_closed = false;
        self.receive_max = hello.receive_max;
        if hello.clean {
            self.forget();
        }
        self.will_keep_session = match self.version {
            Version::V5 => hello.expiry_s > 0,
            Version::V311 => !hello.clean,
        };
        let mut connect = Connect::new(self.version, self.id);
        connect.keep_alive_s = 0;
        connect.clean_start = hello.clean;
        if self.version == Version::V5 {
            connect.properties.session_expiry_s = hello.expiry_s;
            connect.properties.receive_max = hello.receive_max;
            connect.properties.topic_alias_max = 2;
        }
        if let Some((draft, delay_s)) = &hello.will {
            connect.will = Some(Will {
                topic: draft.topic,
                payload: draft.payload.as_bytes(),
                qos: draft.qos,
                retain: draft.retain,
                delay_s: *delay_s,
                properties: mqtt::MessageProperties::default(),
            });
        }
        connect.encode(&mut Wire(out)).unwrap();
    }

    pub(super) fn disconnect(&mut self, with_will: bool, expiry: Option<u32>, out: &mut Vec<u8>) {
        let mut goodbye = Disconnect::new(match with_will {
            true => ReasonCode::DisconnectWithWill,
            false => ReasonCode::Success,
        });
        goodbye.session_expiry_s = expiry;
        goodbye.encode(self.version, &mut Wire(out)).unwrap();
    }

    /// Whether another publish is within what the broker declared.
    pub(super) fn may_publish(&self) -> bool {
        self.is_open && self.outgoing.len() < usize::from(self.broker_receive_max.min(100))
    }

    pub(super) fn publish(&mut self, draft: &Draft, alias: bool, out: &mut Vec<u8>) {
        let packet_id = (draft.qos != Qos::AtMostOnce).then(|| self.packet_id());
        if let Some(packet_id) = packet_id {
            self.outgoing.push_back((packet_id, draft.clone(), false));
        }
        let mut publish = publish_of(draft, packet_id);
        if alias && self.version == Version::V5 && self.broker_alias_max > 0 {
            let known = self.aliases_out.iter().position(|t| *t == draft.topic);
            if known.is_some() {
                publish.topic = "";
            } else if self.aliases_out.len() < usize::from(self.broker_alias_max) {
                self.aliases_out.push(draft.topic);
            }
            let at = self.aliases_out.iter().position(|t| *t == draft.topic);
            publish.topic_alias = at.and_then(|at| PacketId::new(at as u16 + 1));
        }
        publish.encode(self.version, &mut Wire(out)).unwrap();
    }

    pub(super) fn subscribe(
        &mut self,
        request: usize,
        filters: &[(&str, SubscriptionOptions)],
        id: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let wanted: Vec<_> = filters
            .iter()
            .map(|(filter, options)| Subscription {
                filter: TopicFilter::new(filter).unwrap(),
                options: *options,
            })
            .collect();
        let packet_id = self.packet_id();
        self.requests.insert(packet_id, request);
        let mut subscribe = Subscribe::new(packet_id, &wanted);
        subscribe.subscription_id = id.and_then(SubscriptionId::new);
        subscribe.encode(self.version, &mut Wire(out)).unwrap();
    }

    pub(super) fn unsubscribe(&mut self, request: usize, filter: &str, out: &mut Vec<u8>) {
        let packet_id = self.packet_id();
        self.requests.insert(packet_id, request);
        Unsubscribe::new(packet_id, &[TopicFilter::new(filter).unwrap()])
            .encode(self.version, &mut Wire(out))
            .unwrap();
    }

    /// Its session is over: what it had on its way is given up.
    fn forget(&mut self) {
        for (_, draft, taken) in self.outgoing.drain(..) {
            if !taken {
                self.seen.push(Seen::GivenUp(draft.message));
            }
        }
        self.incoming.clear();
    }

    fn packet_id(&mut self) -> PacketId {
        loop {
            self.last_packet_id = self.last_packet_id % u16::MAX + 1;
            let id = PacketId::new(self.last_packet_id).unwrap();
            let used = self.outgoing.iter().any(|(other, ..)| *other == id);
            if !used && !self.requests.contains_key(&id) {
                return id;
            }
        }
    }

    fn ack(&self, kind: AckKind, packet_id: PacketId, out: &mut Vec<u8>) {
        Ack::new(packet_id, ReasonCode::Success)
            .encode(kind, self.version, &mut Wire(out))
            .unwrap();
    }

    fn packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        if let Packet::Connack(connack) = packet {
            assert!(!self.is_open, "{}: two CONNACKs", self.id);
            assert_eq!(connack.code, ReasonCode::Success, "{}", self.id);
            self.is_open = true;
            self.keeps_session = self.will_keep_session;
            self.is_resumed = connack.session_present;
            self.broker_receive_max = connack.properties.receive_max;
            self.broker_alias_max = connack.properties.topic_alias_max;
            self.seen.push(Seen::Connack {
                present: connack.session_present,
            });
            self.resume(connack.session_present, out);
            return;
        }
        if let Packet::Disconnect(goodbye) = packet {
            self.is_closed = true;
            return self.seen.push(Seen::Ended(Some(goodbye.code)));
        }
        assert!(self.is_open, "{}: {packet:?} before CONNACK", self.id);
        match packet {
            Packet::Publish(publish) => self.message(publish),
            Packet::Pubrel(ack) => {
                self.incoming.remove(&ack.packet_id);
                self.owed.push_back((AckKind::Pubcomp, ack.packet_id));
            }
            Packet::Puback(ack) => self.taken(ack, Qos::AtLeastOnce),
            Packet::Pubrec(ack) => {
                self.taken(ack, Qos::ExactlyOnce);
                self.ack(AckKind::Pubrel, ack.packet_id, out);
            }
            Packet::Pubcomp(ack) => {
                // The broker may have forgotten it, if its answer was lost with the last connection (§3.7.2.1).
                let again = self.is_resumed && ack.code == ReasonCode::PacketIdentifierNotFound;
                assert!(again || !ack.code.is_error(), "{}: {ack:?}", self.id);
                let at = self
                    .outgoing
                    .iter()
                    .position(|(id, _, taken)| *id == ack.packet_id && *taken);
                self.outgoing.remove(at.expect("PUBCOMP answers a PUBREL"));
            }
            Packet::Suback(suback) => {
                let request = self.requests.remove(&suback.packet_id);
                let codes = suback.codes.into_iter().collect();
                self.seen.push(Seen::Suback(request.unwrap(), codes));
            }
            Packet::Unsuback(unsuback) => {
                let request = self.requests.remove(&unsuback.packet_id);
                self.seen.push(Seen::Unsuback(request.unwrap()));
            }
            other => panic!("{}: {other:?}", self.id),
        }
    }

    /// Sends again, in order, what the last connection left open.
    fn resume(&mut self, present: bool, out: &mut Vec<u8>) {
        if !present {
            return self.forget();
        }
        for (packet_id, draft, taken) in &self.outgoing {
            if *taken {
                self.ack(AckKind::Pubrel, *packet_id, out);
            } else {
                let mut publish = publish_of(draft, Some(*packet_id));
                publish.dup = true;
                publish.encode(self.version, &mut Wire(out)).unwrap();
                self.seen.push(Seen::SentAgain(draft.message));
            }
        }
    }

    /// The broker has taken the oldest publish of this QoS that it had not taken (§4.6).
    fn taken(&mut self, ack: &Ack<'_>, qos: Qos) {
        assert!(!ack.code.is_error(), "{}: {:?}", self.id, ack.code);
        let oldest = self
            .outgoing
            .iter()
            .position(|(_, draft, taken)| draft.qos == qos && !*taken)
            .expect("an acknowledgement answers a PUBLISH");
        let (packet_id, draft, taken) = &mut self.outgoing[oldest];
        assert_eq!(*packet_id, ack.packet_id, "{}: out of order", self.id);
        *taken = true;
        self.seen.push(Seen::Acknowledged(draft.message));
        if qos == Qos::AtLeastOnce {
            self.outgoing.remove(oldest);
        }
    }

    fn message(&mut self, publish: &Publish<'_>) {
        let alias = publish.topic_alias.map(std::num::NonZeroU16::get);
        let topic = match alias {
            Some(alias) if publish.topic.is_empty() => self.aliases_in[&alias].clone(),
            _ => publish.topic.to_owned(),
        };
        if let Some(alias) = alias {
            assert!(alias <= 2, "{}: more aliases than allowed", self.id);
            self.aliases_in.insert(alias, topic.clone());
        }
        if let Some(packet_id) = publish.packet_id {
            self.at_client.insert(packet_id);
            let limit = usize::from(self.receive_max);
            assert!(self.at_client.len() <= limit, "{}: window", self.id);
            let kind = match publish.qos {
                Qos::ExactlyOnce => AckKind::Pubrec,
                _ => AckKind::Puback,
            };
            self.owed.push_back((kind, packet_id));
            if publish.qos == Qos::ExactlyOnce && !self.incoming.insert(packet_id) {
                assert!(publish.dup, "{}: {packet_id} is taken", self.id);
                return;
            }
        }
        self.seen.push(Seen::Came(Copy {
            topic,
            payload: std::str::from_utf8(publish.payload).unwrap().into(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            ids: publish
                .subscription_ids
                .iter()
                .map(|id| id.value())
                .collect(),
            expiry_s: publish.properties.expiry_s,
        }));
    }
}

fn publish_of(draft: &Draft, packet_id: Option<PacketId>) -> Publish<'_> {
    let mut publish = Publish::new(draft.topic, draft.payload.as_bytes());
    publish.qos = draft.qos;
    publish.retain = draft.retain;
    publish.packet_id = packet_id;
    publish.properties.expiry_s = draft.expiry_s;
    publish
}

impl Endpoint for Peer {
    fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut taken = 0;
        while let Some(frame) = mqtt::frame(&input[taken..], u32::MAX).unwrap() {
            taken += frame.len();
            let packet = mqtt::decode(&frame, Sender::Server, self.version)
                .unwrap_or_else(|error| panic!("{}: {error} in {frame:?}", self.id));
            self.packet(&packet, out);
        }
        self.input = input[taken..].to_vec();
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn is_stuck(&self) -> bool {
        false
    }

    fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        if self.is_slow {
            return false;
        }
        let Some((kind, packet_id)) = self.owed.pop_front() else {
            return false;
        };
        if kind != AckKind::Pubrec {
            self.at_client.remove(&packet_id);
        }
        self.ack(kind, packet_id, out);
        true
    }

    fn restart(&mut self) {
        if !self.keeps_session {
            self.forget();
        }
        self.is_open = false;
        self.is_closed = true;
        self.input.clear();
        self.requests.clear();
        self.at_client.clear();
        self.owed.clear();
        self.aliases_in.clear();
        self.aliases_out.clear();
    }
}
