//! DISCONNECT.
use keygate_protocol::mqtt::{Disconnect, Packet, Qos, ReasonCode};
use keygate_tests::wire::Heard;

use super::bytes::publish;
use super::case::{Case, both, v5};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(after_disconnect_the_connection_is_closed),
    both!(after_disconnect_nothing_is_looked_at),
    v5!(codes_of_disconnect_are_checked),
    v5!(properties_of_disconnect_are_checked),
    v5!(after_the_brokers_disconnect_nothing_comes),
    v5!(the_brokers_disconnect_has_no_expiry),
    both!(packets_of_a_server_end_the_connection),
];

/// 5: MQTT-3.14.4-3. 3.1.1: MQTT-3.14.4-3. A goodbye is answered by nothing but the end of the connection, in every form that
/// it has.
fn after_disconnect_the_connection_is_closed(target: &Target) {
    let forms: &[&[u8]] = match target.is_v5() {
        true => &[&[0xe0, 0], &[0xe0, 1, 0], &[0xe0, 2, 0, 0]],
        false => &[&[0xe0, 0]],
    };
    for form in forms {
        let mut peer = target.join("a");
        peer.wire.send_bytes(form);
        assert_eq!(peer.wire.hear(), Heard::Closed);
    }
}

/// 5: MQTT-3.14.4-3. 3.1.1: MQTT-3.14.4-3. What follows a goodbye is not looked at.
fn after_disconnect_nothing_is_looked_at(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Qos::AtMostOnce);
    let mut peer = target.join("a");
    let mut bytes = vec![0xe0, 0];
    bytes.extend(publish(target, topic.as_bytes()));
    peer.wire.send_bytes(&bytes);
    assert_eq!(peer.wire.hear(), Heard::Closed);
    assert_eq!(reader.drain(&mut target.join("w"), Qos::AtMostOnce), []);
}

/// 5: MQTT-4.13.1-1. A code that does not exist is malformed; one that DISCONNECT does not carry, or that only a server
/// may say, is a protocol error.
fn codes_of_disconnect_are_checked(target: &Target) {
    target.join("a").must_end_after(&[0xe0, 1, 0x03], 0x81);
    target.join("a").must_end_after(&[0xe0, 1, 0xff], 0x81);
    target.join("a").must_end_after(&[0xe0, 1, 0x10], 0x82);
    target.join("a").must_end_after(&[0xe0, 1, 0x8e], 0x82);
}

/// 5: MQTT-4.13.1-1. What DISCONNECT does not carry is malformed; what only a server says, or comes twice, is a
/// protocol error.
fn properties_of_disconnect_are_checked(target: &Target) {
    let wrong: [(&[u8], u8); 4] = [
        (&[0xe0, 4, 0, 2, 0x01, 0], 0x81),
        (&[0xe0, 3, 0, 9, 0], 0x81),
        (&[0xe0, 6, 0, 4, 0x1c, 0, 1, b'x'], 0x82),
        (&[0xe0, 10, 0, 8, 0x1f, 0, 1, b'x', 0x1f, 0, 1, b'x'], 0x82),
    ];
    for (bytes, code) in wrong {
        target.join("a").must_end_after(bytes, code);
    }
}

/// 5: MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-4.13.2-1, MQTT-3.14.2-1. After its DISCONNECT the broker sends nothing more and closes, although
/// there is something to be sent.
fn after_the_brokers_disconnect_nothing_comes(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Qos::AtMostOnce);
    let mut bytes = vec![0x00, 0];
    for _ in 0..10 {
        bytes.extend(publish(target, topic.as_bytes()));
        bytes.extend([0xc0, 0]);
    }
    // `must_end` fails when anything follows the DISCONNECT.
    peer.must_end_after(&bytes, 0x81);
}

/// 5: MQTT-3.14.2-2. The broker's DISCONNECT says nothing about the session's expiry.
fn the_brokers_disconnect_has_no_expiry(target: &Target) {
    let mut old = target.resume("a");
    let _new = target.resume("a");
    match old.wire.hear() {
        Heard::Packet(got) => {
            let Packet::Disconnect(disconnect) = got.packet() else {
                panic!("expected DISCONNECT, heard {:?}", got.packet());
            };
            assert_eq!(disconnect.session_expiry_s, None);
            assert_eq!(disconnect.code, ReasonCode::SessionTakenOver);
            assert_ne!(disconnect, Disconnect::new(ReasonCode::Success));
        }
        Heard::Closed => assert!(!target.exact, "Keygate says why"),
    }
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. What only a server sends ends the connection.
fn packets_of_a_server_end_the_connection(target: &Target) {
    let connack: &[u8] = match target.is_v5() {
        true => &[0x20, 3, 0, 0, 0],
        false => &[0x20, 2, 0, 0],
    };
    let suback: &[u8] = match target.is_v5() {
        true => &[0x90, 4, 0, 1, 0, 0],
        false => &[0x90, 3, 0, 1, 0],
    };
    let unsuback: &[u8] = match target.is_v5() {
        true => &[0xb0, 4, 0, 1, 0, 0],
        false => &[0xb0, 2, 0, 1],
    };
    for bytes in [connack, suback, unsuback, &[0xd0, 0]] {
        target.join("a").must_end_after(bytes, 0x82);
    }
}
