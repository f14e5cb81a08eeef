//! Bounds that a session meets, by clients that say exactly what a test wants.
use super::schedules::{gate_with, registry, world_with};
use super::{Client, Endpoint, Setting, World};
use crate::authn::{ClientIdRule, ListenerRules, ROLE_ANONYMOUS};
use crate::authz::{Policy, Role};
use crate::hub::wire::Wire;
use crate::limits::{Limits, Reached};
use crate::telemetry::EventKind;
use crate::telemetry::ration::BURST_S;
use keygate_protocol::mqtt::{
    self, Connect, Packet, PacketId, Publish, Qos, ReasonCode, Sender, Subscribe, Subscription,
    Version,
};
use keygate_protocol::topic::TopicFilter;

type Change = fn(&mut Limits);
type Read = fn(&Reached) -> u64;

/// A client that answers nothing, and remembers what it was told.
#[derive(Default)]
pub(super) struct Raw {
    input: Vec<u8>,
    codes: Vec<ReasonCode>,
    /// Topics as they came: empty where only an alias was sent.
    pub(super) topics: Vec<String>,
    pub(super) payloads: Vec<String>,
    session_expiry_s: Option<u32>,
    keep_alive_s: Option<u16>,
    is_closed: bool,
}

impl Endpoint for Raw {
    fn bytes(&mut self, bytes: &[u8], _out: &mut Vec<u8>) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut taken = 0;
        while let Some(frame) = mqtt::frame(&input[taken..], u32::MAX).expect("a frame") {
            taken += frame.len();
            match mqtt::decode(&frame, Sender::Server, Version::V5).expect("a packet") {
                Packet::Connack(connack) => {
                    self.session_expiry_s = connack.properties.session_expiry_s;
                    self.keep_alive_s = connack.properties.keep_alive_s;
                    self.codes.push(connack.code);
                }
                Packet::Suback(suback) => self.codes.extend(suback.codes),
                Packet::Puback(ack) => self.codes.push(ack.code),
                Packet::Publish(publish) => {
                    self.topics.push(publish.topic.into());
                    let payload = String::from_utf8_lossy(publish.payload);
                    self.payloads.push(payload.into_owned());
                }
                Packet::Disconnect(goodbye) => {
                    self.codes.push(goodbye.code);
                    self.is_closed = true;
                }
                other => panic!("{other:?}"),
            }
        }
        self.input.extend_from_slice(&input[taken..]);
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn is_stuck(&self) -> bool {
        false
    }

    fn go_on(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

/// A broker that lets everybody do everything outside of `secret`, and two clients.
pub(super) fn open_world(change: impl FnOnce(&mut Limits)) -> World<Raw> {
    let mut limits = Limits::default();
    change(&mut limits);
    let role = Role::open(ROLE_ANONYMOUS, &["#", "$SYS/#"], &["secret/#"]).unwrap();
    let rules = ListenerRules {
        client_id: ClientIdRule::Free,
        ..ListenerRules::loopback().and_anonymous()
    };
    let policy = Policy::builtin().with(role);
    let gate = gate_with(&registry().directory(), &limits, policy, rules);
    World::new(
        5,
        setting(limits),
        &gate,
        vec![Raw::default(), Raw::default()],
    )
}

fn setting(limits: Limits) -> Setting {
    Setting {
        shards: 2,
        limits,
        pipe_bytes: 4_096,
        receive_max: u16::MAX,
    }
}

pub(super) fn connect(
    world: &mut World<Raw>,
    client: usize,
    change: impl FnOnce(&mut Connect<'_>),
) {
    world.open(client, |_, _, out| {
        let mut connect = Connect::new(Version::V5, ["raw-0", "raw-1"][client]);
        connect.keep_alive_s = 0;
        change(&mut connect);
        connect.encode(&mut Wire(out)).unwrap();
    });
    world.settle();
    assert_eq!(world.clients[client].codes, [ReasonCode::Success]);
}

pub(super) fn subscribe(world: &mut World<Raw>, client: usize, filter: &str) {
    let wanted = Subscription::new(TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce);
    world.act(client, |_, out| {
        Subscribe::new(PacketId::MIN, &[wanted])
            .encode(Version::V5, &mut Wire(out))
            .unwrap();
    });
    world.settle();
    let granted = world.clients[client].codes.last();
    assert_eq!(granted, Some(&ReasonCode::GrantedQos1));
}

/// Publishes at QoS 1.
fn publish(world: &mut World<Raw>, client: usize, id: u16, change: impl FnOnce(&mut Publish<'_>)) {
    world.act(client, |_, out| {
        let mut publish = Publish::new("open/a", &[b'x'; 100]);
        publish.qos = Qos::AtLeastOnce;
        publish.packet_id = PacketId::new(id);
        change(&mut publish);
        publish.encode(Version::V5, &mut Wire(out)).unwrap();
    });
    world.settle();
}

fn reached<C: Endpoint>(world: &World<C>) -> &Reached {
    &world.hub.reached
}

#[test]
fn session_expiry_max_s_caps_what_a_client_asks_for_and_tells_it() {
    let mut world = open_world(|limits| limits.session_expiry_max_s = 100);
    connect(&mut world, 0, |connect| {
        connect.properties.session_expiry_s = 100;
    });
    assert_eq!(world.clients[0].session_expiry_s, None);
    assert_eq!(reached(&world).session_expiry_max_s.get(), 0);
    connect(&mut world, 1, |connect| {
        connect.properties.session_expiry_s = 101;
    });
    assert_eq!(world.clients[1].session_expiry_s, Some(100));
    assert_eq!(reached(&world).session_expiry_max_s.get(), 1);
    world.cut(1);
    world.settle();
    let sessions = |world: &World<Raw>| world.tally().sessions_absent;
    world.wait(1_000);
    assert_eq!(sessions(&world), 1);
    world.wait(110_000);
    assert_eq!(sessions(&world), 0);
}

#[test]
fn keep_alive_max_s_caps_what_a_client_asks_for_and_tells_it() {
    let mut world = open_world(|limits| limits.keep_alive_max_s = 60);
    connect(&mut world, 0, |connect| connect.keep_alive_s = 60);
    assert_eq!(world.clients[0].keep_alive_s, None);
    assert_eq!(reached(&world).keep_alive_max_s.get(), 0);
    connect(&mut world, 1, |connect| connect.keep_alive_s = 61);
    assert_eq!(world.clients[1].keep_alive_s, Some(60));
    assert_eq!(reached(&world).keep_alive_max_s.get(), 1);
}

#[test]
fn topic_aliases_are_as_many_as_were_declared() {
    let mut world = open_world(|limits| limits.topic_aliases = 2);
    connect(&mut world, 0, |_| {});
    let alias = |number| core::num::NonZeroU16::new(number);
    publish(&mut world, 0, 1, |publish| publish.topic_alias = alias(2));
    assert_eq!(reached(&world).topic_aliases.get(), 0);
    publish(&mut world, 0, 2, |publish| publish.topic_alias = alias(3));
    let codes = &world.clients[0].codes;
    assert_eq!(codes.last(), Some(&ReasonCode::TopicAliasInvalid));
    assert_eq!(reached(&world).topic_aliases.get(), 1);
}

#[test]
fn topic_aliases_out_go_to_the_first_topics_only() {
    let mut world = open_world(|limits| limits.topic_aliases_out = 1);
    connect(&mut world, 0, |connect| {
        connect.properties.topic_alias_max = 9;
    });
    subscribe(&mut world, 0, "open/#");
    connect(&mut world, 1, |_| {});
    publish(&mut world, 1, 1, |_| {});
    publish(&mut world, 1, 2, |_| {});
    assert_eq!(reached(&world).topic_aliases_out.get(), 0);
    for id in 3..5 {
        publish(&mut world, 1, id, |publish| publish.topic = "open/b");
    }
    assert_eq!(world.clients[0].topics, ["open/a", "", "open/b", "open/b"]);
    assert_eq!(
        reached(&world).topic_aliases_out.get(),
        1,
        "once a connection"
    );
}

#[test]
fn share_credit_leaves_messages_for_other_members() {
    let mut world = open_world(|limits| limits.share_credit = 1);
    connect(&mut world, 0, |_| {});
    subscribe(&mut world, 0, "$share/g/open/#");
    connect(&mut world, 1, |_| {});
    publish(&mut world, 1, 1, |_| {});
    assert_eq!(reached(&world).share_credit.get(), 0);
    publish(&mut world, 1, 2, |_| {});
    assert_eq!(world.clients[0].topics.len(), 1, "the second one waits");
    assert_eq!(reached(&world).share_credit.get(), 1);
}

#[test]
fn share_messages_and_share_bytes_bound_what_waits_for_a_group() {
    let bounds: [(Change, Read); 2] = [
        (
            |limits| limits.share_messages = 1,
            |reached| reached.share_messages.get(),
        ),
        (
            |limits| limits.share_bytes = 1_024,
            |reached| reached.share_bytes.get(),
        ),
    ];
    for (change, count) in bounds {
        let mut world = open_world(|limits| {
            limits.share_credit = 1;
            change(limits);
        });
        connect(&mut world, 0, |_| {});
        subscribe(&mut world, 0, "$share/g/open/#");
        connect(&mut world, 1, |_| {});
        publish(&mut world, 1, 1, |_| {});
        publish(&mut world, 1, 2, |publish| publish.payload = &[b'x'; 600]);
        assert_eq!(count(reached(&world)), 0);
        publish(&mut world, 1, 3, |publish| publish.payload = &[b'x'; 600]);
        assert_eq!(count(reached(&world)), 1);
        assert_eq!(world.tally().lost_by_groups, 1);
        publish(&mut world, 1, 4, |publish| publish.payload = &[b'x'; 600]);
        assert_eq!(world.clients[1].codes, [ReasonCode::Success; 5]);
        // Once, however many follow.
        let [EventKind::Undelivered { share, bound, .. }] = &undelivered(&world)[..] else {
            panic!("{:?}", undelivered(&world));
        };
        assert_eq!(share.as_deref(), Some("$share/g/open/#"));
        assert!(matches!(
            bound.as_deref(),
            Some("share_messages" | "share_bytes")
        ));
    }
}

/// What the trail says of messages that a full queue could not take.
fn undelivered(world: &World<Raw>) -> Vec<EventKind> {
    let kinds = world.events.iter().map(|event| event.kind.clone());
    kinds
        .filter(|kind| matches!(kind, EventKind::Undelivered { .. }))
        .collect()
}

#[test]
fn what_an_absent_client_loses_stands_in_the_trail_with_its_count() {
    let mut world = open_world(|limits| limits.queue_messages = 2);
    connect(&mut world, 0, |connect| {
        connect.properties.session_expiry_s = 60;
    });
    subscribe(&mut world, 0, "open/#");
    connect(&mut world, 1, |_| {});
    world.cut(0);
    world.settle();
    for id in 1..=2 {
        publish(&mut world, 1, id, |_| {});
    }
    assert_eq!(undelivered(&world), []);
    for id in 3..=5 {
        publish(&mut world, 1, id, |_| {});
    }
    let event = |bound: Option<&str>, count| EventKind::Undelivered {
        bound: bound.map(Box::from),
        count,
        identity: Some("raw-0".into()),
        client_id: Some("raw-0".into()),
        share: None,
    };
    let began = event(Some("queue_messages"), None);
    assert_eq!(undelivered(&world), std::slice::from_ref(&began));
    assert_eq!(world.tally().lost_by_sessions, 3);
    connect(&mut world, 0, |connect| connect.clean_start = false);
    assert_eq!(undelivered(&world), [began, event(None, Some(3))]);
}

#[test]
fn sessions_per_identity_bound_one_identity_and_not_the_next() {
    let limits = Limits {
        sessions_per_identity: 1,
        ..Limits::default()
    };
    let rules = ListenerRules {
        client_id: ClientIdRule::IdOrSuffix,
        ..ListenerRules::loopback()
    };
    let registry = registry();
    let gate = gate_with(&registry.directory(), &limits, Policy::builtin(), rules);
    let clients = [("steady-0/a", 1), ("steady-0/b", 1), ("steady-1/a", 2)];
    let clients = clients.map(|(id, seed)| Client::new(id, [seed; 32]));
    let mut world = World::new(5, setting(limits), &gate, clients.into());
    for client in 0..3 {
        world.clients[client].expects_refusal = client == 1;
        // Only whether they get in counts here: what they then subscribe to is another device's.
        world.connect(client);
        world.settle();
        assert_eq!(
            reached(&world).sessions_per_identity.get(),
            u64::from(client > 0)
        );
    }
    assert_eq!(world.clients[1].refused, [ReasonCode::QuotaExceeded]);
    assert_eq!(world.counts().1, 2);
}

#[test]
fn session_s_ends_every_session() {
    let registry = registry();
    let limits = Limits {
        session_s: 30,
        ..Limits::default()
    };
    let mut world = world_with(3, limits, &registry);
    world.connect(0);
    world.settle();
    world.wait(29_000);
    assert_eq!((world.counts().1, reached(&world).session_s.get()), (1, 0));
    world.wait(3_000);
    assert_eq!((world.counts().1, reached(&world).session_s.get()), (0, 1));
    let code = world.clients[0].disconnected;
    assert_eq!(code, Some(ReasonCode::NotAuthorized));
}

#[test]
fn denied_events_s_keeps_one_session_from_filling_the_trail() {
    let mut world = open_world(|limits| limits.denied_events_s = 1);
    connect(&mut world, 0, |_| {});
    let burst = BURST_S as u16;
    for id in 1..=burst {
        publish(&mut world, 0, id, |publish| publish.topic = "secret/a");
    }
    assert_eq!(reached(&world).denied_events_s.get(), 0);
    for id in burst + 1..=burst + 3 {
        publish(&mut world, 0, id, |publish| publish.topic = "secret/a");
    }
    assert_eq!(reached(&world).denied_events_s.get(), 3);
    let is_right = |kind: &EventKind| matches!(kind, EventKind::Right { .. });
    let recorded = world.events.iter().filter(|event| is_right(&event.kind));
    assert_eq!(recorded.count(), usize::from(burst));
}

#[test]
fn unproven_events_s_keeps_strangers_from_filling_the_trail() {
    let registry = registry();
    let limits = Limits {
        unproven_events_s: 1,
        ..Limits::default()
    };
    let mut world: World = world_with(3, limits, &registry);
    let refused = |world: &mut World| {
        let pipe = world.open_silent(0);
        world.send_raw(pipe, b"\xc0\x00");
        world.settle();
    };
    for _ in 0..BURST_S {
        refused(&mut world);
    }
    assert_eq!(reached(&world).unproven_events_s.get(), 0);
    let recorded = world.events.len();
    for _ in 0..3 {
        refused(&mut world);
    }
    assert_eq!(reached(&world).unproven_events_s.get(), 3);
    assert_eq!(world.events.len(), recorded);
}
