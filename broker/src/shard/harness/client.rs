use std::collections::VecDeque;

use super::Endpoint;
use crate::hub::wire::Wire;
use crate::rng::{Random, SeededRandom};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::ident::Id;
use keygate_protocol::login::device::{AwaitChallenge, Login};
use keygate_protocol::login::{ClientId, Opening};
use keygate_protocol::mqtt::{
    self, Ack, AckKind, Auth, Connect, Packet, PacketId, Publish, Qos, ReasonCode, Sender,
    Subscribe, Subscription, Version,
};
use keygate_protocol::topic::TopicFilter;

pub(super) const BROKER: &str = "kg-test";
pub(super) const METHOD: &str = "kg-ed25519";

/// How far a client has come.
#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    AwaitChallenge(Box<AwaitChallenge<'static>>),
    AwaitConnack,
    AwaitSuback,
    Ready,
    Closed,
}

/// A device that follows the protocol to the letter.
pub(super) struct Client {
    pub(super) id: &'static str,
    signer: SoftwareSigner,
    pub(super) phase: Phase,
    input: Vec<u8>,
    next_packet_id: u16,
    /// Publishes that are not acknowledged yet, by packet id.
    pub(super) waiting: Vec<(PacketId, String, String)>,
    /// What the broker acknowledged: topic, payload.
    pub(super) acknowledged: Vec<(String, String)>,
    /// What came: topic, payload.
    pub(super) received: Vec<(String, String)>,
    /// Acknowledgements that this client owes.
    pub(super) owed: VecDeque<PacketId>,
    /// The code with which the broker ended the connection.
    pub(super) disconnected: Option<ReasonCode>,
    /// Reads, and acknowledges nothing.
    pub(super) is_slow: bool,
    /// Does not even read.
    pub(super) is_stuck: bool,
    /// Publishes may be refused; by default a refusal is a mistake.
    pub(super) expects_refusal: bool,
    /// Codes of refused publishes.
    pub(super) refused: Vec<ReasonCode>,
    /// Codes of the last SUBACK.
    pub(super) granted: Vec<ReasonCode>,
}

impl Client {
    pub(super) fn new(id: &'static str, seed: [u8; 32]) -> Self {
        Self {
            id,
            signer: SoftwareSigner::from_seed(&seed),
            phase: Phase::Idle,
            input: Vec::new(),
            next_packet_id: 0,
            waiting: Vec::new(),
            acknowledged: Vec::new(),
            received: Vec::new(),
            owed: VecDeque::new(),
            disconnected: None,
            is_slow: false,
            is_stuck: false,
            expects_refusal: false,
            refused: Vec::new(),
            granted: Vec::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    pub(super) fn connect(
        &mut self,
        receive_max: u16,
        random: &mut SeededRandom,
        out: &mut Vec<u8>,
    ) {
        let login = Login::new(
            ClientId::new(self.id).unwrap(),
            Id::new(BROKER).unwrap(),
            self.signer.public_key().key_id(),
        );
        let mut nonce = [0; 16];
        random.fill(&mut nonce);
        let mut connect = Connect::new(Version::V5, self.id);
        connect.keep_alive_s = 60;
        connect.properties.receive_max = receive_max;
        let (state, data) = login.open(nonce, Opening::of_connect(&connect));
        connect.properties.auth_method = Some(METHOD);
        connect.properties.auth_data = Some(&data);
        connect.encode(&mut Wire(out)).unwrap();
        self.phase = Phase::AwaitChallenge(Box::new(state));
    }

    pub(super) fn publish(&mut self, topic: &str, payload: &str, retain: bool, out: &mut Vec<u8>) {
        let id = self.packet_id();
        let mut publish = Publish::new(topic, payload.as_bytes());
        publish.qos = Qos::AtLeastOnce;
        publish.retain = retain;
        publish.packet_id = Some(id);
        publish.encode(Version::V5, &mut Wire(out)).unwrap();
        self.waiting.push((id, topic.into(), payload.into()));
    }

    /// Publishes at QoS 0.
    pub(super) fn publish_once(&mut self, topic: &str, payload: &str, out: &mut Vec<u8>) {
        Publish::new(topic, payload.as_bytes())
            .encode(Version::V5, &mut Wire(out))
            .unwrap();
    }

    pub(super) fn subscribe(&mut self, filters: &[&str], out: &mut Vec<u8>) {
        let wanted: Vec<_> = filters
            .iter()
            .map(|filter| Subscription::new(TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce))
            .collect();
        let id = self.packet_id();
        Subscribe::new(id, &wanted)
            .encode(Version::V5, &mut Wire(out))
            .unwrap();
    }

    /// Pays one acknowledgement that this client owes.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        if let Some(id) = self.owed.pop_front() {
            Ack::new(id, ReasonCode::Success)
                .encode(AckKind::Puback, Version::V5, &mut Wire(out))
                .unwrap();
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        match (packet, std::mem::replace(&mut self.phase, Phase::Closed)) {
            (Packet::Auth(auth), Phase::AwaitChallenge(state)) => {
                let challenged = state.read(auth.data.unwrap()).unwrap();
                let (_, proof) = challenged.answer(None, &mut self.signer).unwrap();
                let mut answer = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
                answer.data = Some(proof.as_bytes());
                answer.encode(&mut Wire(out)).unwrap();
                self.phase = Phase::AwaitConnack;
            }
            (Packet::Connack(connack), Phase::AwaitConnack)
                if self.expects_refusal && connack.code.is_error() =>
            {
                self.refused.push(connack.code);
            }
            (Packet::Connack(connack), Phase::AwaitConnack) => {
                assert_eq!(connack.code, ReasonCode::Success, "{}", self.id);
                let own = format!("devices/{}/#", self.id);
                let wanted = [
                    Subscription::new(
                        TopicFilter::new("groups/g/state/+").unwrap(),
                        Qos::AtLeastOnce,
                    ),
                    Subscription::new(TopicFilter::new(&own).unwrap(), Qos::AtLeastOnce),
                ];
                let id = self.packet_id();
                Subscribe::new(id, &wanted)
                    .encode(Version::V5, &mut Wire(out))
                    .unwrap();
                self.phase = Phase::AwaitSuback;
            }
            (Packet::Suback(suback), Phase::AwaitSuback) => {
                assert!(
                    suback
                        .codes
                        .into_iter()
                        .all(|code| code == ReasonCode::GrantedQos1)
                );
                self.phase = Phase::Ready;
            }
            (Packet::Suback(suback), Phase::Ready) => {
                self.granted = suback.codes.into_iter().collect();
                self.phase = Phase::Ready;
            }
            (Packet::Puback(ack), Phase::Ready) if self.expects_refusal && ack.code.is_error() => {
                self.waiting.remove(0);
                self.refused.push(ack.code);
                self.phase = Phase::Ready;
            }
            (Packet::Puback(ack), Phase::Ready) => {
                assert!(!ack.code.is_error(), "{}: {:?}", self.id, ack.code);
                let (id, topic, payload) = self.waiting.remove(0);
                assert_eq!(
                    id, ack.packet_id,
                    "acknowledgements come in the order of the publishes"
                );
                self.acknowledged.push((topic, payload));
                self.phase = Phase::Ready;
            }
            (Packet::Publish(publish), phase @ (Phase::Ready | Phase::AwaitSuback)) => {
                let payload = std::str::from_utf8(publish.payload).unwrap();
                self.received.push((publish.topic.into(), payload.into()));
                self.owed.extend(publish.packet_id);
                self.phase = phase;
            }
            (Packet::Disconnect(goodbye), _) => self.disconnected = Some(goodbye.code),
            (packet, phase) => panic!("{}: {packet:?} in {phase:?}", self.id),
        }
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_packet_id += 1;
        PacketId::new(self.next_packet_id).unwrap()
    }
}

impl Endpoint for Client {
    fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut taken = 0;
        while let Some(frame) =
            mqtt::frame(&input[taken..], u32::MAX).expect("the broker sends well-formed packets")
        {
            taken += frame.len();
            let packet = mqtt::decode(&frame, Sender::Server, Version::V5)
                .expect("the broker sends well-formed packets");
            self.packet(&packet, out);
        }
        self.input = input[taken..].to_vec();
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let owes = !self.is_slow && !self.owed.is_empty();
        if owes {
            self.acknowledge(out);
        }
        owes
    }

    /// The same device on a new connection.
    fn restart(&mut self) {
        self.phase = Phase::Idle;
        self.input.clear();
        self.waiting.clear();
        self.owed.clear();
        self.disconnected = None;
    }
}
