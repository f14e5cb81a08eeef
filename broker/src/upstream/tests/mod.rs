//! A relay between a client and an upstream that the test plays, packet by packet.
mod connack;
mod conversation;
mod deliver;
mod ending;
mod hostile;
mod model;
mod opening;
mod publish;
mod rights;
mod silence;
mod subscribe;

use super::*;
use crate::authn::{
    Accepted, Authn, AuthnConfig, ChallengeKeys, ListenerRules, Method, Principal, ReplayBounds,
};
use crate::authz::{Action, Policy, Role};
use crate::gate::Gate;
use crate::hub::{Cause, Times};
use crate::identity::{Directory, MemoryStore, NewDevice, Registry};
use crate::limits::Limits;
use crate::rng::SeededRandom;
use crate::telemetry::EventKind;
use crate::telemetry::event::{Listener, Origin};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::mqtt::{
    Ack, Connack, Connect, Disconnect, Packet, PacketId, Publish, Qos, ReasonCode, Version,
};
use keygate_protocol::sink::{CapacityError, Sink};
use keygate_protocol::time::{Millis, UnixTime};
use std::sync::Arc;

/// The device that is relayed. Its role lets it do anything below `open/`, but neither write nor read `open/secret/`.
const DEVICE: &str = "dev-1";
const BOTH: [Version; 2] = [Version::V311, Version::V5];
const NOW: Times = Times {
    now: Millis(5_000_000),
    wall: UnixTime(1_900_000_000),
};
const ORIGIN: Origin = Origin {
    listener: Listener::Mqtt,
    peer: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000),
    connection: Some(7),
};

struct Wire(Vec<u8>);

impl Sink for Wire {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The packets as bytes.
fn wire<'a>(version: Version, packets: impl IntoIterator<Item = Packet<'a>>) -> Vec<u8> {
    let mut wire = Wire(Vec::new());
    for packet in packets {
        packet.encode(version, &mut wire).unwrap();
    }
    wire.0
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn ack(value: u16, code: ReasonCode) -> Ack<'static> {
    Ack::new(id(value), code)
}

/// A PUBLISH; the identifier does not matter for QoS 0.
fn publish(topic: &str, qos: Qos, packet_id: u16) -> Packet<'_> {
    Packet::Publish(message(topic, qos, packet_id))
}

fn message(topic: &str, qos: Qos, packet_id: u16) -> Publish<'_> {
    let mut publish = Publish::new(topic, b"payload");
    publish.qos = qos;
    publish.packet_id = (qos != Qos::AtMostOnce).then(|| id(packet_id));
    publish
}

fn policy() -> Policy {
    let role = Role::new("mixed")
        .allow(&Action::ALL, &["open/#"])
        .and_then(|role| {
            let kept = [Action::Publish, Action::Retain, Action::Receive];
            role.deny(&kept, &["open/secret/#"])
        });
    Policy::builtin().with(role.unwrap())
}

fn registry() -> Registry {
    let registry = Registry::new(MemoryStore::new(), &mut SeededRandom::new(2)).unwrap();
    let key = SoftwareSigner::from_seed(&[1; 32]).public_key();
    let mut device = NewDevice::new(DEVICE, key);
    device.roles = vec!["mixed".into()];
    registry.add(&device).unwrap();
    registry
}

fn gate(directory: Arc<Directory>, limits: Limits) -> Gate {
    let config = AuthnConfig {
        broker_id: "kg-test".into(),
        broker_id_aliases: Box::default(),
        identity: [SoftwareSigner::from_seed(&[99; 32])].into(),
        directory: Arc::clone(&directory),
        challenges: Arc::new(ChallengeKeys::new("kg-test", &mut SeededRandom::new(1))),
        started: UnixTime(NOW.wall.0 - 3_600),
        session_max_s: None,
        replay: ReplayBounds::default(),
    };
    Gate {
        authn: Arc::new(Authn::new(config).unwrap()),
        policy: Arc::new(policy()),
        directory,
        limits: Arc::new(limits),
        reached: Arc::default(),
        listeners: vec![ListenerRules::loopback()],
        acknowledge_refused: false,
        subscribe_refusal: ReasonCode::NotAuthorized,
    }
}

/// The stage: a relay, and what each end has got and not looked at.
struct Stage {
    registry: Registry,
    gate: Gate,
    relay: Relay,
    out: Output,
    times: Times,
    version: Version,
}

impl Stage {
    /// A session that has just been let in; its CONNECT waits in `out.upstream`.
    fn opening(connect: &Connect<'_>, limits: Limits, rules: &UpstreamRules) -> Self {
        let registry = registry();
        let gate = gate(registry.directory(), limits);
        let principal = principal(&gate);
        let accepted = Accepted {
            principal,
            auth_data: None,
            client_id: match connect.client_id {
                "" => "dev-1/x7".into(),
                id => id.into(),
            },
            assigned: connect.client_id.is_empty(),
        };
        let admitted = Admitted {
            connect,
            accepted,
            origin: ORIGIN,
        };
        let (relay, upstream) = Relay::open(admitted, rules, &gate, NOW).unwrap();
        let out = Output {
            upstream,
            ..Output::default()
        };
        Self {
            registry,
            gate,
            relay,
            out,
            times: NOW,
            version: connect.version,
        }
    }

    /// A session that the upstream has let in, with nothing left to look at.
    fn open(version: Version) -> Self {
        Self::open_within(version, Limits::default())
    }

    fn open_within(version: Version, limits: Limits) -> Self {
        Self::open_with(&connect(version), limits)
    }

    fn open_with(connect: &Connect<'_>, limits: Limits) -> Self {
        let mut stage = Self::opening(connect, limits, &UpstreamRules::default());
        let connack = Connack::new(false, ReasonCode::Success);
        assert_eq!(stage.upstream([Packet::Connack(connack)]), Next::More);
        stage.out = Output::default();
        stage
    }

    /// The client sends these; all of them are taken unless it says otherwise.
    fn client<'a>(&mut self, packets: impl IntoIterator<Item = Packet<'a>>) -> Next {
        let bytes = wire(self.version, packets);
        let taken = self.client_bytes(&bytes);
        if taken.next == Next::More {
            assert_eq!(taken.bytes, bytes.len());
        }
        taken.next
    }

    fn client_bytes(&mut self, bytes: &[u8]) -> Taken {
        let mut turn = Turn {
            gate: &self.gate,
            times: self.times,
            out: &mut self.out,
        };
        self.relay.from_client(bytes, &mut turn)
    }

    /// The upstream sends these.
    fn upstream<'a>(&mut self, packets: impl IntoIterator<Item = Packet<'a>>) -> Next {
        let bytes = wire(self.version, packets);
        let taken = self.upstream_bytes(&bytes);
        assert_eq!(taken.bytes, bytes.len());
        taken.next
    }

    fn upstream_bytes(&mut self, bytes: &[u8]) -> Taken {
        let mut turn = Turn {
            gate: &self.gate,
            times: self.times,
            out: &mut self.out,
        };
        self.relay.from_upstream(bytes, &mut turn)
    }

    /// Anything else that happens to the relay.
    fn act<R>(&mut self, act: impl FnOnce(&mut Relay, &mut Turn<'_>) -> R) -> R {
        let mut turn = Turn {
            gate: &self.gate,
            times: self.times,
            out: &mut self.out,
        };
        act(&mut self.relay, &mut turn)
    }

    fn end(&mut self, cause: Cause) {
        self.act(|relay, turn| relay.end(&cause, turn));
    }

    /// What the upstream has got since the last look is exactly this.
    #[track_caller]
    fn goes_up<'a>(&mut self, packets: impl IntoIterator<Item = Packet<'a>>) {
        let got = std::mem::take(&mut self.out.upstream);
        assert_eq!(got, wire(self.version, packets), "to the upstream");
    }

    /// What the client has got since the last look is exactly this.
    #[track_caller]
    fn goes_down<'a>(&mut self, packets: impl IntoIterator<Item = Packet<'a>>) {
        let got = std::mem::take(&mut self.out.client);
        assert_eq!(got, wire(self.version, packets), "to the client");
    }

    #[track_caller]
    fn nothing_goes_up(&mut self) {
        assert_eq!(self.out.upstream, [0; 0], "to the upstream");
    }

    #[track_caller]
    fn nothing_goes_down(&mut self) {
        assert_eq!(self.out.client, [0; 0], "to the client");
    }

    fn events(&mut self) -> Vec<EventKind> {
        let events = std::mem::take(&mut self.out.events);
        events.into_iter().map(|event| event.kind).collect()
    }
}

fn principal(gate: &Gate) -> Principal {
    Principal {
        device: gate.directory.device(DEVICE).unwrap(),
        key_id: None,
        method: Method::KgEd25519,
        expires_at: None,
        revision: gate.directory.revision(),
    }
}

fn connect(version: Version) -> Connect<'static> {
    let mut connect = Connect::new(version, DEVICE);
    connect.keep_alive_s = 60;
    connect
}

fn disconnect(code: ReasonCode) -> Packet<'static> {
    Packet::Disconnect(Disconnect::new(code))
}
