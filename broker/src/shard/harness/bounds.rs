//! Every bound of a shard, reached.
use std::sync::Arc;

use super::client::Client;
use super::schedules::{connect_steady, registry, world_with};
use super::world::World;
use crate::identity::Registry;
use crate::limits::{Limits, Reached};
use crate::telemetry::EventKind;
use crate::telemetry::event::DisconnectCause;
use keygate_protocol::mqtt::{DecodeError, ReasonCode};

type Change = fn(&mut Limits);
type Read = fn(&Reached) -> u64;

fn limited(change: impl FnOnce(&mut Limits)) -> (World, Registry) {
    let registry = registry();
    let mut limits = Limits::default();
    change(&mut limits);
    (world_with(3, limits, &registry), registry)
}

/// Everybody is connected and subscribed.
fn ready(change: impl FnOnce(&mut Limits)) -> (World, Registry) {
    let (mut world, registry) = limited(change);
    connect_steady(&mut world);
    (world, registry)
}

fn rules_broken(world: &World) -> Vec<String> {
    let rule = |kind: &EventKind| match kind {
        EventKind::Malformed { rule, .. } => Some(rule.to_string()),
        _ => None,
    };
    world
        .events
        .iter()
        .filter_map(|event| rule(&event.kind))
        .collect()
}

#[test]
fn handshakes_beyond_the_bound_push_out_the_oldest() {
    let (mut world, _registry) = limited(|limits| limits.handshakes = 2);
    let silent: Vec<usize> = (0..5).map(|_| world.open_silent(0)).collect();
    assert_eq!(world.counts(), (2, 0));
    assert!(silent[..3].iter().all(|&pipe| world.is_closed(pipe)));
    assert!(silent[3..].iter().all(|&pipe| !world.is_closed(pipe)));
    assert_eq!(world.hub.reached.handshakes.get(), 3);
    connect_steady(&mut world);
    assert_eq!(world.counts().1, 3);
}

#[test]
fn handshake_ms_ends_a_silent_peer_without_a_word() {
    let (mut world, _registry) = limited(|limits| limits.handshake_ms = 1_000);
    let pipe = world.open_silent(0);
    world.wait(900);
    assert!(!world.is_closed(pipe));
    world.wait(300);
    assert!(world.is_closed(pipe));
    assert_eq!(world.counts(), (0, 0));
    assert_eq!(world.hub.reached.handshake_ms.get(), 1);
}

#[test]
fn pre_auth_bytes_are_all_that_an_unknown_peer_may_send() {
    let (mut world, _registry) = limited(|limits| limits.pre_auth_bytes = 512);
    let pipe = world.open_silent(0);
    // A CONNECT that announces more than a login takes is refused by its header.
    world.send_raw(pipe, b"\x10\xff\x7f\x00\x04MQTT\x05");
    world.settle();
    world.wait(2_000);
    assert!(world.is_closed(pipe));
    assert_eq!(
        rules_broken(&world),
        [DecodeError::PacketTooLarge.to_string()]
    );
    assert_eq!(world.hub.reached.pre_auth_bytes.get(), 1);
}

#[test]
fn connections_beyond_the_bound_are_not_accepted() {
    let (mut world, _registry) = limited(|limits| limits.connections = 2);
    world.open_silent(0);
    world.open_silent(0);
    assert!(!world.can_accept());
    assert_eq!(world.hub.reached.connections.get(), 1);
}

#[test]
fn packet_bytes_bound_what_a_session_may_send() {
    let (mut world, _registry) = ready(|limits| limits.packet_bytes = 2_048);
    let large = "x".repeat(3_000);
    world.act(0, |client, out| {
        client.publish("groups/g/state/steady-0", &large, false, out);
    });
    world.settle();
    assert_eq!(
        world.clients[0].disconnected,
        Some(ReasonCode::PacketTooLarge)
    );
    assert!(world.clients[1].is_ready() && world.clients[1].received.is_empty());
    assert_eq!(world.hub.reached.packet_bytes.get(), 1);
}

#[test]
fn reassembly_bytes_bound_what_slow_senders_hold() {
    let (mut world, _registry) = ready(|limits| limits.reassembly_bytes = 65_536);
    // The beginning of a PUBLISH of 100,000 bytes, most of which come and the end never does.
    let mut begun = b"\x32\xa0\x8d\x06\x00\x17groups/g/state/steady-0\x00\x01\x00".to_vec();
    begun.resize(80_000, b'x');
    world.act(0, |_, out| out.extend_from_slice(&begun));
    world.settle();
    assert_eq!(
        world.clients[0].disconnected,
        Some(ReasonCode::QuotaExceeded)
    );
    assert!(world.clients[1].is_ready());
    assert_eq!(world.hub.reached.reassembly_bytes.get(), 1);
}

#[test]
fn receive_max_bounds_what_waits_for_the_log() {
    let (mut world, _registry) = ready(|limits| limits.receive_max = 2);
    world.hold_log();
    for number in 0..3 {
        let payload = format!("{number}");
        world.act(0, |client, out| {
            client.publish("devices/steady-0/reported", &payload, true, out);
        });
    }
    world.settle();
    assert_eq!(
        world.clients[0].disconnected,
        Some(ReasonCode::ReceiveMaximumExceeded)
    );
    assert!(
        world.clients[0].acknowledged.is_empty(),
        "nothing was durable, so nothing was acknowledged"
    );
    assert_eq!(world.hub.reached.receive_max.get(), 1);
}

#[test]
fn a_full_queue_ends_the_session_of_the_slow_reader_only() {
    let (mut world, _registry) = ready(|limits| {
        limits.queue_messages = 4;
        limits.inflight_max = 2;
    });
    world.clients[1].is_slow = true;
    for number in 0..8 {
        let payload = format!("{number}");
        world.act(0, |client, out| {
            client.publish("groups/g/state/steady-0", &payload, false, out);
        });
        world.settle();
    }
    world.settle();
    assert_eq!(
        world.clients[1].disconnected,
        Some(ReasonCode::QuotaExceeded)
    );
    assert_eq!(world.clients[2].received.len(), 8);
    assert_eq!(world.clients[0].acknowledged.len(), 8);
    assert_eq!(world.hub.reached.queue_messages.get(), 1);
    assert_eq!(world.hub.reached.inflight_max.get(), 1);
}

#[test]
fn queue_bytes_bound_the_same_queue() {
    let (mut world, _registry) = ready(|limits| {
        limits.queue_bytes = 1_024;
        limits.inflight_max = 1;
    });
    world.clients[1].is_slow = true;
    for _ in 0..4 {
        let payload = "x".repeat(600);
        world.act(0, |client, out| {
            client.publish("groups/g/state/steady-0", &payload, false, out);
        });
        world.settle();
    }
    world.settle();
    assert_eq!(
        world.clients[1].disconnected,
        Some(ReasonCode::QuotaExceeded)
    );
    assert_eq!(world.clients[2].received.len(), 4);
    assert_eq!(world.hub.reached.queue_bytes.get(), 1);
    assert_eq!(world.hub.reached.queue_messages.get(), 0);
}

#[test]
fn subscriptions_beyond_the_bound_are_refused_one_by_one() {
    let (mut world, _registry) = ready(|limits| limits.subscriptions = 3);
    let codes = world.subscribe(0, &["devices/steady-0/a", "devices/steady-0/b"]);
    assert_eq!(codes, [ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded]);
    assert_eq!(world.hub.reached.subscriptions.get(), 1);
}

#[test]
fn wildcard_subscriptions_have_a_bound_of_their_own() {
    let (mut world, _registry) = ready(|limits| limits.wildcard_subscriptions = 2);
    let codes = world.subscribe(0, &["devices/steady-0/+", "devices/steady-0/b"]);
    assert_eq!(codes, [ReasonCode::QuotaExceeded, ReasonCode::GrantedQos1]);
    assert_eq!(world.hub.reached.wildcard_subscriptions.get(), 1);
}

#[test]
fn topic_levels_bound_names_and_filters() {
    let (mut world, _registry) = ready(|limits| limits.topic_levels = 4);
    let codes = world.subscribe(0, &["devices/steady-0/a/b/c", "devices/steady-0/a/b"]);
    assert_eq!(
        codes,
        [ReasonCode::TopicFilterInvalid, ReasonCode::GrantedQos1]
    );
    world.clients[0].expects_refusal = true;
    world.act(0, |client, out| {
        client.publish("devices/steady-0/a/b/c", "x", false, out);
    });
    world.settle();
    assert_eq!(world.clients[0].refused, [ReasonCode::TopicNameInvalid]);
    assert_eq!(world.hub.reached.topic_levels.get(), 2);
}

#[test]
fn retained_messages_and_bytes_have_bounds() {
    let bounds: [(Change, Read); 2] = [
        (
            |limits| limits.retained_messages = 1,
            |reached| reached.retained_messages.get(),
        ),
        (
            |limits| limits.retained_bytes = 300,
            |reached| reached.retained_bytes.get(),
        ),
    ];
    for (change, count) in bounds {
        let (mut world, _registry) = ready(change);
        world.clients[0].expects_refusal = true;
        for topic in ["devices/steady-0/a", "devices/steady-0/b"] {
            let payload = "x".repeat(100);
            world.act(0, |client, out| client.publish(topic, &payload, true, out));
        }
        world.settle();
        assert_eq!(world.clients[0].refused, [ReasonCode::QuotaExceeded]);
        assert_eq!(world.hub.retained_messages(), 1);
        assert_eq!(count(&world.hub.reached), 1);
    }
}

#[test]
fn answers_that_a_client_does_not_read_end_its_session() {
    let (mut world, _registry) = ready(|limits| {
        limits.write_bytes = 1_024;
        limits.queue_bytes = 1_024;
        limits.packet_bytes = 1_024;
    });
    world.clients[1].is_stuck = true;
    let pings = b"\xc0\x00".repeat(512);
    for _ in 0..15 {
        world.act(1, |_, out| out.extend_from_slice(&pings));
        world.settle();
    }
    assert_eq!(world.counts().1, 3);
    for _ in 0..15 {
        world.act(1, |_, out| out.extend_from_slice(&pings));
        world.settle();
    }
    assert_eq!(world.counts().1, 2);
    assert!(world.events.iter().any(|event| matches!(
        event.kind,
        EventKind::Disconnect {
            cause: DisconnectCause::SlowConsumer,
            ..
        }
    )));
    assert_eq!(world.hub.reached.queue_bytes.get(), 1);
}

#[test]
fn qos_0_is_dropped_for_a_reader_whose_write_buffer_is_full_and_for_nobody_else() {
    let (mut world, _registry) = ready(|limits| limits.write_bytes = 1_024);
    world.clients[1].is_stuck = true;
    for _ in 0..50 {
        let payload = "x".repeat(500);
        world.act(0, |client, out| {
            client.publish_once("groups/g/state/steady-0", &payload, out);
        });
        world.settle();
    }
    world.settle();
    assert_eq!(world.clients[2].received.len(), 50);
    world.clients[1].is_stuck = false;
    world.settle();
    assert!(world.clients[1].is_ready());
    assert!(
        world.clients[1].received.len() < 50,
        "what did not fit was dropped"
    );
    let lost = 50 - world.clients[1].received.len() as u64;
    assert_eq!(world.hub.reached.write_bytes.get(), lost);
}

#[test]
fn a_retained_snapshot_larger_than_every_buffer_arrives_whole() {
    let (mut world, _registry) = ready(|limits| {
        limits.write_bytes = 1_024;
        limits.retained_scan = 3;
        limits.inflight_max = 2;
    });
    for number in 0..40 {
        let topic = format!("devices/steady-0/r/{number:02}");
        world.act(0, |client, out| client.publish(&topic, "kept", true, out));
    }
    world.settle();
    world.clients[0].received.clear();
    assert_eq!(
        world.subscribe(0, &["devices/steady-0/r/+"]),
        [ReasonCode::GrantedQos1]
    );
    world.settle();
    let mut topics: Vec<_> = world.clients[0]
        .received
        .iter()
        .map(|(topic, _)| topic.clone())
        .collect();
    topics.sort();
    topics.dedup();
    assert_eq!((topics.len(), world.clients[0].received.len()), (40, 40));
    assert!(world.hub.reached.retained_scan.get() >= 13);
}

#[test]
fn turns_with_the_smallest_bounds_still_do_everything() {
    let (mut world, registry) = ready(|limits| {
        limits.turn_events = 1;
        limits.turn_proofs = 1;
        limits.inbox = 2;
    });
    world.act(0, |client: &mut Client, out| {
        client.publish("groups/g/state/steady-0", "x", false, out);
    });
    world.settle();
    assert!(
        world.clients[..3]
            .iter()
            .all(|client| client.received.len() == 1)
    );
    drop(Arc::new(registry));
    assert!(world.hub.reached.turn_events.get() > 0);
    assert!(world.hub.reached.inbox.get() <= world.hub.reached.turn_events.get());
}

#[test]
fn linger_ms_ends_a_refused_connection_whose_peer_stays() {
    let (mut world, _registry) = limited(|limits| limits.linger_ms = 1_000);
    let pipe = world.open_silent(0);
    world.send_raw(pipe, b"\xc0\x00");
    world.settle();
    assert!(!world.is_closed(pipe), "it may read why");
    assert_eq!(world.hub.reached.linger_ms.get(), 0);
    world.wait(1_200);
    assert!(world.is_closed(pipe));
    assert_eq!(world.hub.reached.linger_ms.get(), 1);
}

#[test]
fn turn_bytes_and_turn_proofs_make_others_wait_and_lose_nothing() {
    let (mut world, _registry) = limited(|limits| {
        limits.turn_bytes = 1_024;
        limits.turn_proofs = 1;
    });
    connect_steady(&mut world);
    assert!(world.hub.reached.turn_proofs.get() > 0);
    assert_eq!(world.hub.reached.turn_bytes.get(), 0);
    let large = "x".repeat(2_000);
    world.act(0, |client, out| {
        client.publish("groups/g/state/steady-0", &large, false, out);
    });
    world.settle();
    assert!(world.hub.reached.turn_bytes.get() > 0);
    assert!(
        world.clients[..3]
            .iter()
            .all(|client| client.received.len() == 1)
    );
}

#[test]
fn retained_branch_bounds_one_device_and_not_the_next() {
    let (mut world, _registry) = ready(|limits| limits.retained_branch = 1);
    world.clients[0].expects_refusal = true;
    for topic in ["devices/steady-0/a", "devices/steady-0/b"] {
        world.act(0, |client, out| client.publish(topic, "x", true, out));
    }
    world.act(1, |client, out| {
        client.publish("devices/steady-1/a", "x", true, out);
    });
    world.settle();
    assert_eq!(world.clients[0].refused, [ReasonCode::QuotaExceeded]);
    assert_eq!(world.clients[1].acknowledged.len(), 1);
    assert_eq!(world.hub.reached.retained_branch.get(), 1);
    assert_eq!(world.hub.retained_messages(), 2);
}

#[test]
fn queued_bytes_bound_all_queues_of_a_shard_together() {
    let (mut world, _registry) = ready(|limits| {
        limits.queued_bytes = 65_536;
        limits.inflight_max = 1;
    });
    world.clients[1].is_slow = true;
    let large = "x".repeat(30_000);
    for _ in 0..4 {
        world.act(0, |client, out| {
            client.publish("groups/g/state/steady-0", &large, false, out);
        });
        world.settle();
    }
    assert_eq!(
        world.clients[1].disconnected,
        Some(ReasonCode::QuotaExceeded)
    );
    assert_eq!(world.clients[2].received.len(), 4);
    assert_eq!(world.hub.reached.queued_bytes.get(), 1);
    assert_eq!(world.hub.reached.queue_bytes.get(), 0);
}

#[test]
fn sessions_beyond_the_bound_are_refused_after_the_proof() {
    let (mut world, _registry) = limited(|limits| limits.sessions = 1);
    for client in 0..3 {
        world.clients[client].expects_refusal = true;
        world.connect(client);
        world.settle();
    }
    // At least two of three share one of the two shards.
    let refused = world.hub.reached.sessions.get();
    assert!((1..=2).contains(&refused), "{refused}");
    assert_eq!(world.counts().1 as u64 + refused, 3);
}
