//! PINGREQ, PINGRESP, and what silence means.
use std::time::Duration;

use keygate_protocol::mqtt::{Packet, Qos};
use keygate_tests::clock::Stopwatch;

use super::case::{Case, Ground, both, v5};
use super::stage::TIGHT_KEEP_ALIVE_S;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(every_ping_is_answered),
    both!(silence_ends_the_connection).waiting(),
    both!(what_is_delivered_does_not_count).waiting(),
    both!(any_packet_counts).waiting(),
    both!(no_keep_alive_no_end).waiting(),
    both!(half_a_packet_is_silence).waiting(),
    v5!(a_changed_keep_alive_is_told_and_kept)
        .on(Ground::Tight)
        .waiting(),
];

/// 5: MQTT-3.12.4-1. 3.1.1: MQTT-3.12.4-1. Each PINGREQ has its PINGRESP, and nothing else has one.
fn every_ping_is_answered(target: &Target) {
    let mut peer = target.join("a");
    for _ in 0..3 {
        peer.send(&Packet::Pingreq);
    }
    for _ in 0..3 {
        assert_eq!(peer.wire.packet().raw(), [0xd0, 0]);
    }
    peer.must_publish(&target.topic("x"), b"x", Qos::AtLeastOnce);
    peer.must_have_nothing();
}

/// 5: MQTT-3.1.2-22, MQTT-3.2.2-22, MQTT-3.14.2-1. 3.1.1: MQTT-3.1.2-24. After one and a half keep-alives without a packet the connection is
/// closed, with 0x8D in MQTT 5; not before the keep-alive is over.
fn silence_ends_the_connection(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.keep_alive_s = 1;
    let peer = target.open(&connect);
    let clock = Stopwatch::start();
    peer.must_end(0x8d);
    let took = clock.elapsed();
    assert!(took >= Duration::from_millis(1400), "too early: {took:?}");
    // A busy machine may be late, a broken timer is later.
    assert!(took < Duration::from_secs(10), "too late: {took:?}");
}

/// 5: MQTT-3.1.2-22. 3.1.1: MQTT-3.1.2-24. What the broker sends is no sign of life of the client.
fn what_is_delivered_does_not_count(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.keep_alive_s = 1;
    let mut peer = target.open(&connect);
    peer.must_subscribe(&topic, Qos::AtMostOnce);
    let mut writer = target.join("w");
    for _ in 0..12 {
        writer.must_publish(&topic, b"x", Qos::AtMostOnce);
        writer.hear_nothing_for(Duration::from_millis(400));
    }
    peer.must_end(0x8d);
}

/// 5: MQTT-3.1.2-22. 3.1.1: MQTT-3.1.2-24. Any packet is a sign of life, not only PINGREQ.
fn any_packet_counts(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.keep_alive_s = 2;
    let mut peer = target.open(&connect);
    for number in 0..5 {
        peer.hear_nothing_for(Duration::from_millis(1000));
        match number % 3 {
            0 => peer.must_publish(&topic, b"x", Qos::AtMostOnce),
            1 => peer.must_publish(&topic, b"x", Qos::AtLeastOnce),
            _ => drop(peer.unsubscribe(&[&topic])),
        }
    }
    peer.ping();
}

/// 5: MQTT-3.1.2-22. 3.1.1: MQTT-3.1.2-24. A keep-alive of 0 is none.
fn no_keep_alive_no_end(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.keep_alive_s = 0;
    let mut peer = target.open(&connect);
    if peer.connack().properties.keep_alive_s.is_some() {
        // The broker wants one; it said so.
        return;
    }
    peer.hear_nothing_for(Duration::from_millis(5000));
    peer.ping();
}

/// 5: MQTT-3.1.2-22. 3.1.1: MQTT-3.1.2-24. Bytes that are no packet yet are no sign of life.
fn half_a_packet_is_silence(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.keep_alive_s = 1;
    let mut peer = target.open(&connect);
    let mut slow = vec![0x30, 100, 0, 3];
    slow.extend([b'x'; 98]);
    let clock = Stopwatch::start();
    for byte in slow.iter().take(40) {
        peer.wire.send_bytes(&[*byte]);
        let deadline = keygate_tests::clock::Deadline::after(Duration::from_millis(250));
        if peer.wire.hear_until(deadline).is_some() {
            break;
        }
    }
    assert!(
        clock.elapsed() < Duration::from_secs(9),
        "a byte now and then kept the connection open"
    );
}

/// 5: MQTT-3.1.2-22, MQTT-3.2.2-22. A broker that wants a shorter keep-alive says so and keeps to it; a shorter one of the client stands.
fn a_changed_keep_alive_is_told_and_kept(target: &Target) {
    for (asked, told) in [
        (60, Some(TIGHT_KEEP_ALIVE_S)),
        (0, Some(TIGHT_KEEP_ALIVE_S)),
        (1, None),
    ] {
        let id = target.id("a");
        let mut connect = target.connect(&id);
        connect.keep_alive_s = asked;
        let peer = target.open(&connect);
        assert_eq!(peer.connack().properties.keep_alive_s, told);
        let clock = Stopwatch::start();
        peer.must_end(0x8d);
        assert!(clock.elapsed() < Duration::from_secs(10));
    }
}
