//! A session after its login: waiting for its subscription, then online.

use std::collections::VecDeque;

use keygate_protocol::mqtt::{
    Ack, AckKind, Packet, PacketId, Publish, Qos, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, Version,
};
use keygate_protocol::topic::TopicFilter;

use super::state::{Event, State};
use super::{Failure, Stage, Wanted, Wire};
use crate::clock::Micros;

/// A broker that leaves a ping unanswered this long is gone.
const PONG_WAIT_US: u64 = 15_000_000;

/// The one SUBSCRIBE of a session.
const SUBSCRIBE_ID: PacketId = PacketId::MIN;

/// SUBSCRIBE went out; messages may come already.
#[derive(Debug)]
pub(super) struct AwaitGrant {
    pub(super) online: Online,
}

/// Logged in; publishes, receives, and stays alive.
#[derive(Debug)]
pub(super) struct Online {
    link: Link,
    /// Under way: the broker acknowledges in order (MQTT 5 §4.6), so the first is nearly always the one.
    in_flight: VecDeque<(PacketId, u32)>,
    /// How many may be under way: the broker's receive maximum.
    window: u16,
    last_id: PacketId,
}

/// Keep-alive.
#[derive(Debug)]
struct Link {
    interval_us: u64,
    last_sent: Micros,
    ping_sent: Option<Micros>,
}

impl Online {
    /// After CONNACK.
    pub(super) fn new(keep_alive_s: u16, window: u16, now: Micros) -> Self {
        Self {
            // A ping at three quarters leaves a quarter for a busy machine; 0 turns keep-alive off.
            link: Link {
                interval_us: u64::from(keep_alive_s) * 750_000,
                last_sent: now,
                ping_sent: None,
            },
            in_flight: VecDeque::new(),
            window,
            last_id: SUBSCRIBE_ID,
        }
    }

    /// Asks for the wanted topics.
    pub(super) fn subscribe(
        mut self,
        wanted: &Wanted,
        now: Micros,
        out: &mut Vec<u8>,
    ) -> Result<AwaitGrant, Failure> {
        let filter = TopicFilter::new(&wanted.filter).map_err(|_| Failure::TooLarge)?;
        let options = SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            no_local: wanted.no_local,
            ..SubscriptionOptions::default()
        };
        let subscriptions = [Subscription { filter, options }];
        let subscribe = Subscribe::new(SUBSCRIBE_ID, &subscriptions);
        subscribe
            .encode(Version::V5, &mut Wire(out))
            .map_err(|_| Failure::TooLarge)?;
        self.link.last_sent = now;
        Ok(AwaitGrant { online: self })
    }

    /// Whether another message may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < usize::from(self.window)
    }

    /// Publishes at QoS 1; `tag` comes back with the acknowledgement.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        tag: u32,
        now: Micros,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        // Never the id of SUBSCRIBE, and never one that is under way: the window is smaller than the ids.
        let next = self
            .last_id
            .checked_add(1)
            .unwrap_or(SUBSCRIBE_ID.saturating_add(1));
        let mut publish = Publish::new(topic, payload);
        publish.qos = Qos::AtLeastOnce;
        publish.packet_id = Some(next);
        publish
            .encode(Version::V5, &mut Wire(out))
            .map_err(|_| Failure::TooLarge)?;
        self.last_id = next;
        self.in_flight.push_back((next, tag));
        self.link.last_sent = now;
        Ok(())
    }

    pub(super) fn handle(
        mut self,
        packet: Packet<'_>,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<State<'static>, Failure> {
        self.hear(packet, Stage::Online, now, out, heard)?;
        Ok(State::Online(self))
    }

    fn hear(
        &mut self,
        packet: Packet<'_>,
        stage: Stage,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        match packet {
            Packet::Publish(publish) => self.take(&publish, now, out, heard)?,
            Packet::Puback(ack) => {
                let position = self
                    .in_flight
                    .iter()
                    .position(|&(id, _)| id == ack.packet_id);
                let (_, tag) = position
                    .and_then(|at| self.in_flight.remove(at))
                    .ok_or(Failure::Unasked)?;
                heard(Event::Acknowledged {
                    tag,
                    code: ack.code,
                });
            }
            Packet::Pingresp => self.link.ping_sent = None,
            Packet::Disconnect(disconnect) => {
                return Err(Failure::Refused {
                    stage,
                    code: disconnect.code,
                });
            }
            other => {
                return Err(Failure::OutOfOrder {
                    stage,
                    packet: other.packet_type(),
                });
            }
        }
        Ok(())
    }

    /// Takes a message and acknowledges it. Nothing here asks for QoS 2 or offers aliases: neither may come.
    fn take(
        &mut self,
        publish: &Publish<'_>,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        if publish.qos == Qos::ExactlyOnce || publish.topic.is_empty() {
            return Err(Failure::OutOfOrder {
                stage: Stage::Online,
                packet: Packet::Publish(*publish).packet_type(),
            });
        }
        heard(Event::Message {
            topic: publish.topic,
            payload: publish.payload,
            dup: publish.dup,
        });
        if let Some(packet_id) = publish.packet_id {
            let ack = Ack::new(packet_id, ReasonCode::Success);
            ack.encode(AckKind::Puback, Version::V5, &mut Wire(out))
                .map_err(|_| Failure::TooLarge)?;
            self.link.last_sent = now;
        }
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        self.link.deadline()
    }

    pub(super) fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.link.tick(now, out)
    }
}

impl AwaitGrant {
    pub(super) fn handle(
        mut self,
        packet: Packet<'_>,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<State<'static>, Failure> {
        let Packet::Suback(suback) = packet else {
            self.online
                .hear(packet, Stage::Subscribe, now, out, heard)?;
            return Ok(State::AwaitGrant(self));
        };
        let mut codes = suback.codes.iter();
        match (suback.packet_id == SUBSCRIBE_ID, codes.next(), codes.next()) {
            (true, Some(ReasonCode::GrantedQos1), None) => {
                heard(Event::Subscribed);
                Ok(State::Online(self.online))
            }
            // Less than what was asked for would make the ledger's promise hollow.
            (true, Some(code), None) => Err(Failure::Refused {
                stage: Stage::Subscribe,
                code,
            }),
            _ => Err(Failure::Unasked),
        }
    }
}

impl Link {
    fn deadline(&self) -> Option<Micros> {
        match self.ping_sent {
            Some(sent) => Some(sent.plus(PONG_WAIT_US)),
            None if self.interval_us == 0 => None,
            None => Some(self.last_sent.plus(self.interval_us)),
        }
    }

    fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if self.ping_sent.is_some() {
            return Err(Failure::Late(Stage::Online));
        }
        out.extend_from_slice(&keygate_protocol::mqtt::PINGREQ);
        self.last_sent = now;
        self.ping_sent = Some(now);
        Ok(())
    }
}
