//! Errors: the connection ends, and nothing else.
use keygate_protocol::mqtt::{Packet, Qos};

use super::bytes::{body, field, packet};
use super::case::{Case, both, v5, v311};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(what_is_cut_short_ends_the_connection),
    both!(what_is_too_long_ends_the_connection),
    v5!(codes_of_acknowledgements_are_checked),
    v311!(auth_does_not_exist),
    both!(an_error_concerns_nobody_else),
    both!(what_came_before_the_error_counts),
    both!(what_comes_after_the_error_does_not_count),
    both!(packets_in_pieces_are_packets),
    both!(many_packets_at_once_are_packets),
];

const Q1: Qos = Qos::AtLeastOnce;

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. A packet whose fields are longer than itself ends the connection.
fn what_is_cut_short_ends_the_connection(target: &Target) {
    let topic = field(target.topic("x").as_bytes());
    let cut = &topic[..topic.len() - 1];
    let wrong = [
        packet(0x30, &topic[..1]),
        packet(0x30, cut),
        packet(0x32, &topic),
        packet(0x32, &[topic.as_slice(), &[0]].concat()),
        packet(0x40, &[0]),
        packet(0x40, &[]),
        packet(0x50, &[1]),
        packet(0x62, &[1]),
        packet(0x70, &[1]),
        packet(0x82, &[0]),
        packet(0x82, &body(target, &[0, 9], cut)),
        packet(0x82, &body(target, &[0, 9], &topic)),
        packet(0xa2, &[0]),
        packet(0xa2, &body(target, &[0, 9], cut)),
    ];
    for bytes in wrong {
        target.join("a").must_end_after(&bytes, 0x81);
    }
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. A packet that goes on behind its last field ends the connection.
fn what_is_too_long_ends_the_connection(target: &Target) {
    let long_ack: &[u8] = match target.is_v5() {
        true => &[0, 1, 0, 0, 9],
        false => &[0, 1, 9],
    };
    for first in [0x40, 0x50, 0x62, 0x70] {
        target
            .join("a")
            .must_end_after(&packet(first, long_ack), 0x81);
    }
    target.join("a").must_end_after(&[0xc0, 1, 0], 0x81);
    let goodbye: &[u8] = match target.is_v5() {
        true => &[0xe0, 3, 0, 0, 9],
        false => &[0xe0, 1, 0],
    };
    target.join("a").must_end_after(goodbye, 0x81);
}

/// 5: MQTT-4.13.1-1. A code that does not exist is malformed, one that the packet does not carry is a protocol error.
fn codes_of_acknowledgements_are_checked(target: &Target) {
    for first in [0x40, 0x50, 0x62, 0x70] {
        target
            .join("a")
            .must_end_after(&[first, 3, 0, 1, 0x03], 0x81);
        target
            .join("a")
            .must_end_after(&[first, 3, 0, 1, 0x8e], 0x82);
    }
}

/// 3.1.1: MQTT-4.8.0-1. The packet type that 5 gives to AUTH is none in 3.1.1.
fn auth_does_not_exist(target: &Target) {
    target.join("a").must_end_after(&[0xf0, 0], 0x82);
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. An error of one client ends no other connection, and its own session stays.
fn an_error_concerns_nobody_else(target: &Target) {
    let topic = target.topic("x");
    let mut other = target.join("o");
    other.must_subscribe(&topic, Q1);
    let mut peer = target.resume("a");
    peer.must_subscribe(&topic, Q1);
    peer.must_end_after(&[0x00, 0], 0x81);
    target.join("w").must_publish(&topic, b"x", Q1);
    other.must_take(&topic, b"x");
    let mut peer = target.resume("a");
    assert!(peer.session_present());
    peer.must_take(&topic, b"x");
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. What came in front of the error in the same bytes is taken.
fn what_came_before_the_error_counts(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Qos::AtMostOnce);
    let mut bytes = super::bytes::publish(target, topic.as_bytes());
    bytes.extend([0x00, 0]);
    target.join("a").must_end_after(&bytes, 0x81);
    reader.must_take(&topic, b"x");
}

/// 5: MQTT-4.13.1-1, MQTT-3.14.4-1. 3.1.1: MQTT-4.8.0-1. What came behind the error is not looked at.
fn what_comes_after_the_error_does_not_count(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Qos::AtMostOnce);
    let mut bytes = vec![0x00, 0];
    bytes.extend(super::bytes::publish(target, topic.as_bytes()));
    target.join("a").must_end_after(&bytes, 0x81);
    assert_eq!(reader.drain(&mut target.join("w"), Qos::AtMostOnce), []);
}

/// 5: MQTT-4.2-1. 3.1.1: MQTT-4.2.0-1, MQTT-7.1.1-1. The transport is a stream: a packet may come in as many pieces as it has bytes.
fn packets_in_pieces_are_packets(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    let mut bytes = super::bytes::subscribe(target, topic.as_bytes());
    bytes.extend(super::bytes::publish(target, topic.as_bytes()));
    for byte in bytes {
        peer.wire.send_bytes(&[byte]);
    }
    peer.until(|packet| matches!(packet, Packet::Suback(_)).then_some(()));
    peer.must_take(&topic, b"x");
}

/// 5: MQTT-4.2-1, MQTT-3.1.4-5. 3.1.1: MQTT-4.2.0-1, MQTT-3.1.4-4. Many packets may come in one piece, CONNECT among them: nobody has to wait for
/// CONNACK.
fn many_packets_at_once_are_packets(target: &Target) {
    use keygate_tests::bytes::encoded;
    let topic = target.topic("x");
    let id = target.id("a");
    let mut bytes = encoded(|sink| target.connect(&id).encode(sink));
    bytes.extend(super::bytes::subscribe(target, topic.as_bytes()));
    for _ in 0..10 {
        bytes.extend(super::bytes::publish(target, topic.as_bytes()));
    }
    bytes.extend([0xc0, 0]);
    let mut wire = target.wire();
    wire.send_bytes(&bytes);
    assert_eq!(wire.packet().raw()[0], 0x20);
    let mut messages = 0;
    loop {
        let got = wire.packet();
        match got.packet() {
            Packet::Publish(_) => messages += 1,
            Packet::Suback(_) => {}
            Packet::Pingresp => break,
            other => panic!("did not expect {other:?}"),
        }
    }
    if messages < 10 {
        // The answer to a ping may overtake messages; the rest is on its way.
        for _ in messages..10 {
            assert!(matches!(wire.packet().packet(), Packet::Publish(_)));
        }
    }
}
