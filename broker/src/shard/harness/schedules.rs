use std::sync::Arc;

use super::client::BROKER;
use super::{Client, Endpoint, Setting, World};
use crate::authn::{Authn, AuthnConfig, ChallengeKeys, ListenerRules, ReplayBounds};
use crate::authz::Policy;
use crate::gate::Gate;
use crate::identity::{DeviceState, Directory, MemoryStore, NewDevice, Registry, Transition};
use crate::limits::Limits;
use crate::log::Op;
use crate::rng::SeededRandom;
use crate::shard::Mail;
use crate::telemetry::EventKind;
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::mqtt::ReasonCode;
use keygate_protocol::time::UnixTime;

/// How many schedules `cargo test` runs; `KEYGATE_SCHEDULES` asks for more.
const SCHEDULES: u64 = 10_000;
/// Members that stay connected, and one that comes and goes.
const STEADY: usize = 3;
const IDS: [&str; STEADY + 1] = ["steady-0", "steady-1", "steady-2", "restless"];

pub(super) fn registry() -> Registry {
    let registry = Registry::new(MemoryStore::new(), &mut SeededRandom::new(2)).unwrap();
    for (index, id) in IDS.iter().enumerate() {
        let key = SoftwareSigner::from_seed(&seed_of(index)).public_key();
        let mut device = NewDevice::new(*id, key);
        device.groups = vec!["g".into()];
        registry.add(&device).unwrap();
    }
    registry
}

fn seed_of(index: usize) -> [u8; 32] {
    [index as u8 + 1; 32]
}

fn gate(directory: &Arc<Directory>, limits: &Limits) -> Arc<Gate> {
    let rules = ListenerRules::loopback();
    gate_with(directory, limits, Policy::builtin(), rules)
}

pub(super) fn gate_with(
    directory: &Arc<Directory>,
    limits: &Limits,
    policy: Policy,
    rules: ListenerRules,
) -> Arc<Gate> {
    let challenges = Arc::new(ChallengeKeys::new(BROKER, &mut SeededRandom::new(1)));
    let config = AuthnConfig {
        broker_id: BROKER.into(),
        broker_id_aliases: Box::default(),
        identity: [SoftwareSigner::from_seed(&[99; 32])].into(),
        directory: Arc::clone(directory),
        challenges,
        started: UnixTime(1_899_999_000),
        session_max_s: Some(limits.session_s).filter(|&seconds| seconds != 0),
        replay: ReplayBounds::default(),
    };
    Arc::new(Gate {
        reached: Arc::default(),
        authn: Arc::new(Authn::new(config).unwrap()),
        policy: Arc::new(policy),
        limits: Arc::new(limits.clone()),
        listeners: vec![rules],
        acknowledge_refused: false,
        subscribe_refusal: ReasonCode::NotAuthorized,
        directory: Arc::clone(directory),
    })
}

fn setting(random: &mut SeededRandom) -> Setting {
    let limits = Limits {
        inbox: 2 + random.below(4) as usize,
        write_bytes: if random.below(2) == 0 { 1_024 } else { 262_144 },
        inflight_max: 1 + random.below(5) as u16,
        turn_events: 1 + random.below(6) as usize,
        turn_proofs: 1 + random.below(2) as usize,
        retained_scan: 1 + random.below(3) as usize,
        ..Limits::default()
    };
    Setting {
        shards: 1 + random.below(3) as u16,
        limits,
        pipe_bytes: 64 + random.below(400) as usize,
        receive_max: 1 + random.below(8) as u16,
    }
}

fn world(seed: u64, registry: &Registry) -> World {
    world_of(seed, setting(&mut SeededRandom::new(seed)), registry)
}

/// A world of two shards with these limits and a network in no hurry.
pub(super) fn world_with(seed: u64, limits: Limits, registry: &Registry) -> World {
    let setting = Setting {
        shards: 2,
        limits,
        pipe_bytes: 4_096,
        receive_max: u16::MAX,
    };
    world_of(seed, setting, registry)
}

fn world_of(seed: u64, setting: Setting, registry: &Registry) -> World {
    let gate = gate(&registry.directory(), &setting.limits);
    let clients = IDS
        .iter()
        .enumerate()
        .map(|(index, id)| Client::new(id, seed_of(index)))
        .collect();
    World::new(seed, setting, &gate, clients)
}

/// Connects the steady members and lets them subscribe.
pub(super) fn connect_steady(world: &mut World) {
    for client in 0..STEADY {
        world.connect(client);
    }
    for _ in 0..40 {
        world.step();
    }
    world.settle();
    assert!(world.clients[..STEADY].iter().all(Client::is_ready));
}

/// What the members do, in an order that the seed decides.
fn live(world: &mut World) {
    let mut published = 0;
    for _ in 0..160 {
        let client = world.random.below(IDS.len() as u64) as usize;
        match world.random.below(6) {
            0 | 1 if published < 24 && world.clients[client].is_ready() => {
                published += 1;
                let id = world.clients[client].id;
                let payload = format!("{id} {published}");
                let (topic, retain) = match world.random.below(4) {
                    0 => (format!("devices/{id}/reported"), true),
                    _ => (format!("groups/g/state/{id}"), false),
                };
                world.act(client, |client, out| {
                    client.publish(&topic, &payload, retain, out);
                });
            }
            2 => world.act(client, Client::acknowledge),
            3 if client == STEADY && world.random.below(4) == 0 => {
                // Without a cut first, the new connection takes the session over.
                if world.random.below(2) == 0 {
                    world.cut(client);
                } else {
                    world.clients[client].restart();
                }
                world.connect(client);
            }
            _ => world.step(),
        }
    }
    world.settle();
}

/// Every message to the group that was acknowledged reached every member that stayed connected, once and in the order
/// in which its publisher sent it.
fn invariant_acknowledged_is_delivered(world: &World, seed: u64) {
    for publisher in &world.clients {
        let topic = format!("groups/g/state/{}", publisher.id);
        let sent: Vec<_> = publisher
            .acknowledged
            .iter()
            .filter(|(at, _)| *at == topic)
            .collect();
        for member in &world.clients[..STEADY] {
            let came: Vec<_> = member
                .received
                .iter()
                .filter(|(at, _)| *at == topic)
                .collect();
            let mut expected = sent.iter();
            // A message may have been delivered whose acknowledgement was lost with the connection.
            let mut wanted = expected.next();
            for message in &came {
                if wanted.is_some_and(|wanted| wanted == message) {
                    wanted = expected.next();
                }
            }
            assert_eq!(
                wanted, None,
                "seed {seed}: {} lacks a message of {}",
                member.id, publisher.id
            );
            let mut once = came.clone();
            once.sort();
            once.dedup();
            assert_eq!(
                once.len(),
                came.len(),
                "seed {seed}: {} got a message twice",
                member.id
            );
        }
    }
}

/// What was acknowledged and retained is what a broker finds after a crash.
fn invariant_acknowledged_is_durable(world: &World, seed: u64) {
    let survived = world.log.after_crash();
    for publisher in &world.clients {
        for (topic, payload) in publisher
            .acknowledged
            .iter()
            .filter(|(topic, _)| topic.starts_with("devices/"))
        {
            let found = survived.iter().any(|op| match op {
                Op::Retain { message, .. } => {
                    message.topic() == topic && message.payload() == payload.as_bytes()
                }
                _ => false,
            });
            assert!(found, "seed {seed}: {payload} was acknowledged and is lost");
        }
    }
}

/// When nobody says anything any more, nothing is left: no connection, no session, no subscription.
fn invariant_nothing_is_left_over(world: &World, seed: u64) {
    assert_eq!(world.counts(), (0, 0), "seed {seed}");
    assert_eq!(world.hub.subscriptions(), 0, "seed {seed}");
}

fn schedule(seed: u64, registry: &Registry) {
    let mut world = world(seed, registry);
    connect_steady(&mut world);
    world.connect(STEADY);
    live(&mut world);
    invariant_acknowledged_is_durable(&world, seed);
    world.settle();
    invariant_acknowledged_is_delivered(&world, seed);
    // One and a half keep-alive periods, then the time in which a refused connection lingers.
    world.wait(95_000);
    world.wait(5_000);
    invariant_nothing_is_left_over(&world, seed);
}

#[test]
fn every_acknowledged_message_is_delivered_in_ten_thousand_schedules() {
    let registry = registry();
    let count = std::env::var("KEYGATE_SCHEDULES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SCHEDULES);
    let first: u64 = std::env::var("KEYGATE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    println!("schedules with seeds {first}..{}", first + count);
    for seed in first..first + count {
        schedule(seed, &registry);
    }
}

#[test]
fn a_revoked_device_is_told_and_cut_and_the_others_stay() {
    let registry = registry();
    let mut world = world(7, &registry);
    connect_steady(&mut world);
    registry.transition(IDS[1], Transition::Revoke).unwrap();
    assert_eq!(
        registry.directory().device(IDS[1]).unwrap().state,
        DeviceState::Revoked
    );
    world.mail(&Mail::Recheck(Arc::from([Arc::from(IDS[1])])));
    world.settle();
    assert_eq!(
        world.clients[1].disconnected,
        Some(ReasonCode::AdministrativeAction)
    );
    assert!(world.clients[0].is_ready() && world.clients[2].is_ready());
    assert_eq!(world.counts().1, STEADY - 1);
}

#[test]
fn a_revoked_device_can_do_nothing_even_before_the_shard_hears_of_it() {
    let registry = registry();
    let mut world = world(8, &registry);
    connect_steady(&mut world);
    registry.transition(IDS[1], Transition::Revoke).unwrap();
    world.act(1, |client, out| {
        client.publish("groups/g/state/steady-1", "too late", false, out);
    });
    world.settle();
    assert_eq!(
        world.clients[1].disconnected,
        Some(ReasonCode::AdministrativeAction)
    );
    assert!(world.clients[0].received.is_empty());
}

#[test]
fn a_device_that_is_revoked_while_its_connection_moves_does_not_arrive() {
    let mut moved = 0;
    for seed in 0..20 {
        let registry = registry();
        let mut world = world(seed, &registry);
        world.connect(1);
        for _ in 0..1_000 {
            if world.is_moving() || world.counts().1 > 0 {
                break;
            }
            world.step();
        }
        if !world.is_moving() {
            continue;
        }
        moved += 1;
        registry.transition(IDS[1], Transition::Revoke).unwrap();
        // Word of it was heard before the connection came, so nobody says it again.
        world.clients[1].is_stuck = true;
        world.settle();
        assert_eq!(world.counts().1, 0);
        let refused = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::Login {
                    reason: Some(RefusalReason::DeviceRevoked),
                    ..
                }
            )
        };
        assert!(world.events.iter().any(|event| refused(&event.kind)));
    }
    assert!(moved > 0);
}

#[test]
fn a_silent_client_is_disconnected_after_one_and_a_half_keep_alives() {
    let registry = registry();
    let mut world = world(9, &registry);
    connect_steady(&mut world);
    world.wait(80_000);
    assert!(world.clients[0].disconnected.is_none());
    world.wait(15_000);
    assert_eq!(
        world.clients[0].disconnected,
        Some(ReasonCode::KeepAliveTimeout)
    );
    world.wait(5_000);
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn a_byte_now_and_then_is_no_sign_of_life() {
    let registry = registry();
    let mut world = world(9, &registry);
    connect_steady(&mut world);
    for byte in [0x30, 100, 0, 3, b'x', b'x', b'x', b'x', b'x'] {
        world.act(0, |_, out| out.push(byte));
        world.wait(10_000);
    }
    world.wait(15_000);
    assert_eq!(
        world.clients[0].disconnected,
        Some(ReasonCode::KeepAliveTimeout)
    );
}

#[test]
fn the_end_of_the_broker_is_told_to_everybody() {
    let registry = registry();
    let mut world = world(10, &registry);
    connect_steady(&mut world);
    world.mail(&Mail::Stop);
    world.settle();
    assert!(
        world.clients[..STEADY]
            .iter()
            .all(|c| c.disconnected == Some(ReasonCode::ServerShuttingDown))
    );
}
