//! One connection of a client that outlives it.
use std::time::Duration;

use keygate_protocol::mqtt::{
    Ack, Connect, Packet, PacketId, Publish, Qos, ReasonCode, Subscribe, Subscription, Unsubscribe,
    Version,
};
use keygate_protocol::topic::TopicFilter;
use keygate_tests::clock::Deadline;
use keygate_tests::measure::pause;
use keygate_tests::wire::{Heard, Wire};

use crate::stage::{Phase, Stage};

/// How long sessions last without a connection.
const EXPIRY_S: u32 = 3_600;
/// How long a broker that accepts may take for CONNACK, and a client that waits for it may wait.
const CONNACK_WAIT: Duration = Duration::from_secs(10);

/// Who a client is.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// Its client id.
    pub(crate) id: String,
    /// What it speaks.
    pub(crate) version: Version,
    /// What it may have unacknowledged; MQTT 3.1.1 cannot say.
    pub(crate) window: u16,
}

/// A connection that had its CONNACK.
#[derive(Debug)]
pub(crate) struct Line {
    wire: Wire,
}

/// What came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Message(Message),
    /// PUBACK, with its code.
    Puback(u16, u8),
    /// PUBREC, with its code.
    Pubrec(u16, u8),
    Pubrel(u16),
    Pubcomp(u16),
    /// SUBACK, with its only code.
    Suback(u16, u8),
    Unsuback(u16),
    Pingresp,
    /// Nothing, so far.
    Nothing,
    /// The connection is gone.
    Closed,
}

/// A message as it was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) packet_id: u16,
    pub(crate) qos: Qos,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("identifiers begin with 1")
}

impl Line {
    /// Tries once to resume the session, or to begin it. Says whether it was there.
    pub(crate) fn connect(stage: &Stage, name: &Name, clean: bool) -> Option<(Self, bool)> {
        let mut wire = Wire::try_open(stage.broker).ok()?.speaking(name.version);
        let mut connect = Connect::new(name.version, &name.id);
        connect.clean_start = clean;
        connect.keep_alive_s = 0;
        if name.version == Version::V5 && !clean {
            connect.properties.session_expiry_s = EXPIRY_S;
            connect.properties.receive_max = name.window;
        }
        wire.send(&Packet::Connect(connect));
        let Some(Heard::Packet(got)) = wire.hear_until(Deadline::after(CONNACK_WAIT)) else {
            return None;
        };
        match got.packet() {
            Packet::Connack(connack) if connack.code == ReasonCode::Success => {
                Some((Self { wire }, connack.session_present))
            }
            other => {
                // A broker that is stopping may say so instead.
                if !matches!(&other, Packet::Connack(c) if c.code == ReasonCode::ServerShuttingDown)
                {
                    stage.wrong(&name.id, &format!("the login is answered with {other:?}"));
                }
                None
            }
        }
    }

    /// Comes back until the broker is up. None when the round is over.
    pub(crate) fn resume(stage: &Stage, name: &Name) -> Option<Self> {
        while !stage.is_at(Phase::Over) {
            if let Some((line, present)) = Self::connect(stage, name, false) {
                if !present {
                    stage.wrong(&name.id, "its session is lost: session present is 0");
                }
                return Some(line);
            }
            let _ = pause();
        }
        None
    }

    /// Begins the session, before any crash.
    pub(crate) fn begin(stage: &Stage, name: &Name) -> Option<Self> {
        let (line, present) = Self::connect(stage, name, false)?;
        if present {
            stage.wrong(&name.id, "a new session is said to be there already");
        }
        Some(line)
    }

    /// Waits so long for what comes next.
    pub(crate) fn hear(&mut self, stage: &Stage, who: &str, wait: Duration) -> Event {
        let got = match self.wire.hear_until(Deadline::after(wait)) {
            None => return Event::Nothing,
            Some(Heard::Closed) => return Event::Closed,
            Some(Heard::Packet(got)) => got,
        };
        let code = |ack: &Ack<'_>| ack.code.value();
        match got.packet() {
            Packet::Publish(publish) => Event::Message(Message {
                topic: publish.topic.into(),
                payload: publish.payload.into(),
                packet_id: publish.packet_id.map_or(0, PacketId::get),
                qos: publish.qos,
                dup: publish.dup,
                retain: publish.retain,
            }),
            Packet::Puback(ack) => Event::Puback(ack.packet_id.get(), code(&ack)),
            Packet::Pubrec(ack) => Event::Pubrec(ack.packet_id.get(), code(&ack)),
            Packet::Pubrel(ack) => Event::Pubrel(ack.packet_id.get()),
            Packet::Pubcomp(ack) => Event::Pubcomp(ack.packet_id.get()),
            Packet::Suback(ack) => {
                let code = ack.codes.iter().next().map_or(0x80, ReasonCode::value);
                Event::Suback(ack.packet_id.get(), code)
            }
            Packet::Unsuback(ack) => Event::Unsuback(ack.packet_id.get()),
            Packet::Pingresp => Event::Pingresp,
            Packet::Disconnect(goodbye) => {
                if goodbye.code != ReasonCode::ServerShuttingDown {
                    stage.wrong(who, &format!("is cut off with {:?}", goodbye.code));
                }
                Event::Closed
            }
            other => {
                stage.wrong(who, &format!("did not expect {other:?}"));
                Event::Closed
            }
        }
    }

    pub(crate) fn publish(&mut self, message: &Message) {
        self.wire.send(&Packet::Publish(Publish {
            qos: message.qos,
            packet_id: PacketId::new(message.packet_id),
            dup: message.dup,
            retain: message.retain,
            ..Publish::new(&message.topic, &message.payload)
        }));
    }

    pub(crate) fn puback(&mut self, number: u16) {
        let ack = Ack::new(id(number), ReasonCode::Success);
        self.wire.send(&Packet::Puback(ack));
    }

    pub(crate) fn pubrec(&mut self, number: u16) {
        let ack = Ack::new(id(number), ReasonCode::Success);
        self.wire.send(&Packet::Pubrec(ack));
    }

    pub(crate) fn pubrel(&mut self, number: u16) {
        let ack = Ack::new(id(number), ReasonCode::Success);
        self.wire.send(&Packet::Pubrel(ack));
    }

    pub(crate) fn pubcomp(&mut self, number: u16) {
        let ack = Ack::new(id(number), ReasonCode::Success);
        self.wire.send(&Packet::Pubcomp(ack));
    }

    pub(crate) fn subscribe(&mut self, number: u16, filter: &str, qos: Qos) {
        let filter = TopicFilter::new(filter).expect("a filter");
        let wanted = [Subscription::new(filter, qos)];
        let packet = Subscribe::new(id(number), &wanted);
        self.wire.send(&Packet::Subscribe(packet));
    }

    pub(crate) fn unsubscribe(&mut self, number: u16, filter: &str) {
        let filters = [TopicFilter::new(filter).expect("a filter")];
        let packet = Unsubscribe::new(id(number), &filters);
        self.wire.send(&Packet::Unsubscribe(packet));
    }

    pub(crate) fn ping(&mut self) {
        self.wire.send(&Packet::Pingreq);
    }
}
