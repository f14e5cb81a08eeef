//! Random valid packets of every type, version and sender.
use super::*;
use crate::topic::{TopicFilter, TopicName};
use core::cell::Cell;
use core::num::NonZeroU16;
use proptest::prelude::*;
use std::string::String;

/// What random packets are made of. Packets borrow, so the parts are drawn first and outlive them.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) version: Version,
    pub(super) sender: Sender,
    packet_type: usize,
    dice: Vec<u32>,
    texts: Vec<String>,
    topics: Vec<String>,
    filters: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

pub(super) fn parts() -> impl Strategy<Value = Parts> {
    let version = prop::sample::select(&[Version::V311, Version::V5][..]);
    let sender = prop::sample::select(&[Sender::Client, Sender::Server][..]);
    let topic = "[^\\x00+#]{1,12}|[a-c/]{1,8}|\\$[a-z/]{0,5}";
    let filter =
        "[a-c]{0,2}(/[a-c]{0,2}|/\\+){0,4}(/#)?|\\+|#|\\$share/[a-c]{1,3}/(\\+|[a-c]{1,2})(/#)?";
    (
        (version, sender, 0_usize..15),
        prop::collection::vec(any::<u32>(), 64),
        prop::collection::vec("[^\\x00]{0,12}", 4..8),
        prop::collection::vec(topic, 2..4),
        prop::collection::vec(filter, 2..6),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 2..4),
    )
        .prop_map(
            |((version, sender, packet_type), dice, texts, topics, filters, blobs)| Parts {
                version,
                sender,
                packet_type,
                dice,
                texts,
                topics: keep(topics, "t", |text| TopicName::new(text).is_ok()),
                filters: keep(filters, "f", |text| TopicFilter::new(text).is_ok()),
                blobs,
            },
        )
}

/// The valid ones, and never none.
fn keep(texts: Vec<String>, default: &str, valid: impl Fn(&str) -> bool) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().filter(|text| valid(text)).collect();
    texts.push(String::from(default));
    texts
}

impl Parts {
    /// Builds the packet and hands it to `use_packet`.
    pub(super) fn with_packet<R>(&self, use_packet: impl FnOnce(Packet<'_>) -> R) -> R {
        let draw = Draw {
            parts: self,
            at: Cell::new(0),
        };
        let pairs = draw.pairs();
        let ids = draw.some(|draw| SubscriptionId::new(draw.number() % VARINT_MAX + 1));
        let subscriptions = draw.subscriptions();
        let filters: Vec<TopicFilter<'_>> = subscriptions.iter().map(|s| s.filter).collect();
        let user_properties = UserProperties::new(if self.is_5() { &pairs } else { &[] });
        let packet_type = self.packet_type();
        let codes = draw.codes(packet_type);
        let ack = |packet_type| Ack {
            packet_id: draw.packet_id(),
            code: draw.code(packet_type),
            reason_string: draw.maybe_text(),
            user_properties,
        };
        use_packet(match packet_type {
            1 => Packet::Connect(draw.connect(user_properties)),
            2 => Packet::Connack(draw.connack(user_properties)),
            3 => Packet::Publish(draw.publish(user_properties, &ids)),
            4 => Packet::Puback(ack(PacketType::Puback)),
            5 => Packet::Pubrec(ack(PacketType::Pubrec)),
            6 => Packet::Pubrel(ack(PacketType::Pubrel)),
            7 => Packet::Pubcomp(ack(PacketType::Pubcomp)),
            8 => Packet::Subscribe(Subscribe {
                packet_id: draw.packet_id(),
                subscription_id: if self.is_5() {
                    ids.first().copied()
                } else {
                    None
                },
                user_properties,
                subscriptions: Subscriptions::new(&subscriptions),
            }),
            9 => Packet::Suback(Suback {
                packet_id: draw.packet_id(),
                reason_string: draw.maybe_text(),
                user_properties,
                codes: ReasonCodes::new(&codes),
            }),
            10 => Packet::Unsubscribe(Unsubscribe {
                packet_id: draw.packet_id(),
                user_properties,
                filters: Filters::new(&filters),
            }),
            11 => Packet::Unsuback(Unsuback {
                packet_id: draw.packet_id(),
                reason_string: draw.maybe_text(),
                user_properties,
                codes: ReasonCodes::new(if self.is_5() { &codes } else { &[] }),
            }),
            12 => Packet::Pingreq,
            13 => Packet::Pingresp,
            14 => Packet::Disconnect(draw.disconnect(user_properties)),
            _ => Packet::Auth(Auth {
                data: draw.maybe(|draw| draw.blob()),
                reason_string: draw.maybe_text(),
                user_properties,
                ..Auth::new(draw.code(PacketType::Auth), draw.text())
            }),
        })
    }

    /// The drawn type, or the other direction's counterpart of one that this sender must not send.
    fn packet_type(&self) -> usize {
        match (self.packet_type, self.sender) {
            (1, Sender::Server) => 2,
            (2, Sender::Client) => 1,
            (8, Sender::Server) => 9,
            (9, Sender::Client) => 8,
            (10, Sender::Server) => 11,
            (11, Sender::Client) => 10,
            (12, Sender::Server) => 13,
            (13, Sender::Client) => 12,
            (14, Sender::Server) if !self.is_5() => 3,
            (0, _) if !self.is_5() => 3,
            (other, _) => other,
        }
    }

    fn is_5(&self) -> bool {
        self.version == Version::V5
    }
}

/// Takes one part after the other.
struct Draw<'a> {
    parts: &'a Parts,
    at: Cell<usize>,
}

impl<'a> Draw<'a> {
    fn number(&self) -> u32 {
        let at = self.at.get();
        self.at.set(at + 1);
        self.parts.dice[at % self.parts.dice.len()]
    }

    fn flag(&self) -> bool {
        self.number().is_multiple_of(2)
    }

    fn small(&self) -> u16 {
        u16::try_from(self.number() % 65_536).unwrap()
    }

    fn pick<T>(&self, items: &'a [T]) -> &'a T {
        &items[self.number() as usize % items.len()]
    }

    fn text(&self) -> &'a str {
        self.pick::<String>(&self.parts.texts)
    }

    fn topic(&self) -> &'a str {
        self.pick::<String>(&self.parts.topics)
    }

    fn blob(&self) -> &'a [u8] {
        self.pick::<Vec<u8>>(&self.parts.blobs)
    }

    /// Only in MQTT 5, and not always.
    fn maybe<T>(&self, draw: impl FnOnce(&Self) -> T) -> Option<T> {
        (self.parts.is_5() && self.flag()).then(|| draw(self))
    }

    fn maybe_text(&self) -> Option<&'a str> {
        self.maybe(Self::text)
    }

    fn some<T>(&self, draw: impl Fn(&Self) -> Option<T>) -> Vec<T> {
        (0..self.number() % 4).filter_map(|_| draw(self)).collect()
    }

    fn pairs(&self) -> Vec<(&'a str, &'a str)> {
        self.some(|draw| Some((draw.text(), draw.text())))
    }

    fn packet_id(&self) -> PacketId {
        PacketId::new(self.small()).unwrap_or(PacketId::MAX)
    }

    fn qos(&self) -> Qos {
        Qos::new(u8::try_from(self.number() % 3).unwrap()).unwrap()
    }

    fn code(&self, packet_type: PacketType) -> ReasonCode {
        if !self.parts.is_5() {
            return ReasonCode::Success;
        }
        let allowed: Vec<ReasonCode> = ReasonCode::ALL
            .iter()
            .copied()
            .filter(|code| code.is_allowed(packet_type, self.parts.sender))
            .collect();
        allowed[self.number() as usize % allowed.len()]
    }

    /// At least one answer to a SUBSCRIBE or UNSUBSCRIBE.
    fn codes(&self, packet_type: usize) -> Vec<ReasonCode> {
        let draw = || match (packet_type, self.parts.is_5()) {
            (9, false) => ReasonCode::new([0, 1, 2, 0x80][self.number() as usize % 4]).unwrap(),
            (9, true) => self.code(PacketType::Suback),
            (11, true) => self.code(PacketType::Unsuback),
            _ => ReasonCode::Success,
        };
        (0..=self.number() % 4).map(|_| draw()).collect()
    }

    fn subscriptions(&self) -> Vec<Subscription<'a>> {
        let filters = self.parts.filters.iter();
        filters
            .map(|text| {
                let filter = TopicFilter::new(text).unwrap();
                let mut subscription = Subscription::new(filter, self.qos());
                if self.parts.is_5() {
                    let options = &mut subscription.options;
                    options.no_local = self.flag() && filter.share().is_none();
                    options.retain_as_published = self.flag();
                    options.retain_handling = match self.number() % 3 {
                        0 => RetainHandling::Send,
                        1 => RetainHandling::SendIfNew,
                        _ => RetainHandling::DoNotSend,
                    };
                }
                subscription
            })
            .collect()
    }

    fn message(&self, user_properties: UserProperties<'a>) -> MessageProperties<'a> {
        MessageProperties {
            payload_format: self.maybe(|draw| match draw.flag() {
                true => PayloadFormat::Utf8,
                false => PayloadFormat::Bytes,
            }),
            expiry_s: self.maybe(Self::number),
            content_type: self.maybe_text(),
            response_topic: self.maybe(Self::topic),
            correlation_data: self.maybe(Self::blob),
            user_properties,
        }
    }

    fn connect(&self, user_properties: UserProperties<'a>) -> Connect<'a> {
        let auth_method = self.maybe_text();
        let username = self.flag().then(|| self.text());
        let may_have_password = self.parts.is_5() || username.is_some();
        Connect {
            version: self.parts.version,
            clean_start: self.flag(),
            keep_alive_s: self.small(),
            client_id: self.text(),
            username,
            password: (may_have_password && self.flag()).then(|| self.blob()),
            will: self.flag().then(|| Will {
                topic: self.topic(),
                payload: self.blob(),
                qos: self.qos(),
                retain: self.flag(),
                delay_s: self.maybe(Self::number).unwrap_or(0),
                properties: self.message(user_properties),
            }),
            properties: ConnectProperties {
                session_expiry_s: self.maybe(Self::number).unwrap_or(0),
                receive_max: self.maybe(|draw| draw.small().max(1)).unwrap_or(65_535),
                packet_size_max: self.maybe(|draw| draw.number().max(1)),
                topic_alias_max: self.maybe(Self::small).unwrap_or(0),
                request_response_information: self.maybe(Self::flag).unwrap_or(false),
                request_problem_information: self.maybe(Self::flag).unwrap_or(true),
                auth_method,
                auth_data: auth_method.and_then(|_| self.maybe(Self::blob)),
                user_properties,
            },
        }
    }

    fn connack(&self, user_properties: UserProperties<'a>) -> Connack<'a> {
        let code = match self.parts.version {
            Version::V5 => self.code(PacketType::Connack),
            Version::V311 => ConnectReturnCode::new(u8::try_from(self.number() % 6).unwrap())
                .unwrap()
                .reason_code(),
        };
        Connack {
            session_present: !code.is_error() && self.flag(),
            code,
            properties: ConnackProperties {
                session_expiry_s: self.maybe(Self::number),
                receive_max: self.maybe(|draw| draw.small().max(1)).unwrap_or(65_535),
                qos_max: self.maybe(Self::qos).unwrap_or(Qos::ExactlyOnce),
                retain_available: self.maybe(Self::flag).unwrap_or(true),
                packet_size_max: self.maybe(|draw| draw.number().max(1)),
                assigned_client_id: self.maybe_text(),
                topic_alias_max: self.maybe(Self::small).unwrap_or(0),
                reason_string: self.maybe_text(),
                wildcard_subscriptions_available: self.maybe(Self::flag).unwrap_or(true),
                subscription_ids_available: self.maybe(Self::flag).unwrap_or(true),
                shared_subscriptions_available: self.maybe(Self::flag).unwrap_or(true),
                keep_alive_s: self.maybe(Self::small),
                response_information: self.maybe_text(),
                server_reference: self.maybe_text(),
                auth_method: self.maybe_text(),
                auth_data: self.maybe(Self::blob),
                user_properties,
            },
        }
    }

    fn publish(
        &self,
        user_properties: UserProperties<'a>,
        ids: &'a [SubscriptionId],
    ) -> Publish<'a> {
        let qos = self.qos();
        let topic_alias = self.maybe(|draw| NonZeroU16::new(draw.small())).flatten();
        let from_server = self.parts.is_5() && self.parts.sender == Sender::Server;
        Publish {
            dup: qos != Qos::AtMostOnce && self.flag(),
            qos,
            retain: self.flag(),
            topic: if topic_alias.is_some() && self.flag() {
                ""
            } else {
                self.topic()
            },
            packet_id: (qos != Qos::AtMostOnce).then(|| self.packet_id()),
            topic_alias,
            subscription_ids: SubscriptionIds::new(if from_server { ids } else { &[] }),
            properties: self.message(user_properties),
            payload: self.blob(),
        }
    }

    fn disconnect(&self, user_properties: UserProperties<'a>) -> Disconnect<'a> {
        let from_client = self.parts.sender == Sender::Client;
        Disconnect {
            code: self.code(PacketType::Disconnect),
            session_expiry_s: self.maybe(Self::number).filter(|_| from_client),
            reason_string: self.maybe_text(),
            server_reference: self.maybe_text().filter(|_| !from_client),
            user_properties,
        }
    }
}
