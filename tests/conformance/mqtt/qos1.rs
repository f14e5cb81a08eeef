//! QoS 1, as receiver and as sender.
use keygate_protocol::mqtt::{Ack, Packet, PacketId, Publish, Qos, ReasonCode};

use super::case::{Case, both, v5};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(a_message_is_acknowledged_and_delivered),
    both!(an_identifier_is_free_after_puback),
    both!(a_first_delivery_is_not_marked),
    both!(a_message_waits_for_its_puback),
    both!(nothing_is_sent_again_on_a_living_connection),
    both!(unacknowledged_messages_come_again),
    v5!(a_negative_puback_is_an_acknowledgement),
    both!(an_unknown_puback_does_no_harm),
];

const Q1: Qos = Qos::AtLeastOnce;

/// 5: MQTT-4.3.2-4, MQTT-4.5.0-1. 3.1.1: MQTT-4.3.2-2, MQTT-4.5.0-1. PUBACK comes, and every subscriber gets the message.
fn a_message_is_acknowledged_and_delivered(target: &Target) {
    let topic = target.topic("x");
    let mut readers = ["r", "s", "t"].map(|name| target.join(name));
    for reader in &mut readers {
        reader.must_subscribe(&topic, Q1);
    }
    target.join("w").must_publish(&topic, b"x", Q1);
    for reader in &mut readers {
        assert_eq!(reader.must_take(&topic, b"x").qos, Q1);
        reader.must_have_nothing();
    }
}

/// 5: MQTT-4.3.2-5. 3.1.1: MQTT-4.3.2-2. After PUBACK the same identifier is another message, marked or not.
fn an_identifier_is_free_after_puback(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    let id = PacketId::new(7).unwrap();
    for (number, dup) in [false, true, true, false].into_iter().enumerate() {
        let payload = [number as u8];
        writer.send(&Packet::Publish(Publish {
            qos: Q1,
            dup,
            packet_id: Some(id),
            ..Publish::new(&topic, &payload)
        }));
        assert!(writer.puback(id) < 0x80);
        reader.must_take(&topic, &payload);
    }
}

/// 5: MQTT-4.3.2-2. 3.1.1: MQTT-4.3.2-1. A message goes out with QoS 1 and unmarked.
fn a_first_delivery_is_not_marked(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q1);
    target.join("w").must_publish(&topic, b"x", Q1);
    let message = reader.message();
    assert_eq!((message.qos, message.dup), (Q1, false));
    message.id();
}

/// 5: MQTT-4.3.2-3. 3.1.1: MQTT-4.3.2-1. A message that was not acknowledged is still there when the client comes back,
/// and one that was is not.
fn a_message_waits_for_its_puback(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    writer.must_publish(&topic, b"2", Q1);
    writer.must_publish(&topic, b"3", Q1);
    let messages = [reader.message(), reader.message(), reader.message()];
    reader.acknowledge(&messages[1]);
    reader.ping();
    reader.cut();
    let mut reader = target.resume("r");
    assert!(reader.session_present());
    reader.must_take(&topic, b"1");
    reader.must_take(&topic, b"3");
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-4.4.0-1. 3.1.1: MQTT-4.3.2-1. Nothing is sent twice on one connection, however long the acknowledgement takes.
fn nothing_is_sent_again_on_a_living_connection(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q1);
    let message = reader.message();
    for _ in 0..3 {
        assert_eq!(reader.drain(&mut writer, Q1), []);
    }
    reader.acknowledge(&message);
    reader.must_have_nothing();
}

/// 5: MQTT-3.3.1-1, MQTT-4.4.0-1, MQTT-3.1.2-5. 3.1.1: MQTT-3.3.1-1, MQTT-4.4.0-1, MQTT-2.3.1-4, MQTT-3.1.2-4. What was not acknowledged comes again with
/// its identifier, marked.
fn unacknowledged_messages_come_again(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    writer.must_publish(&topic, b"2", Q1);
    let first = [reader.message(), reader.message()];
    reader.cut();
    let mut reader = target.resume("r");
    for before in &first {
        let again = reader.take();
        assert_eq!(again.payload, before.payload);
        assert_eq!((again.dup, again.packet_id), (true, before.packet_id));
    }
}

/// 5: MQTT-4.4.0-2. A PUBACK that says why not ends the matter all the same.
fn a_negative_puback_is_an_acknowledgement(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    for code in [
        ReasonCode::UnspecifiedError,
        ReasonCode::ImplementationSpecificError,
        ReasonCode::QuotaExceeded,
        ReasonCode::PayloadFormatInvalid,
    ] {
        writer.must_publish(&topic, b"x", Q1);
        let message = reader.message();
        reader.send(&Packet::Puback(Ack::new(message.id(), code)));
    }
    reader.ping();
    reader.cut();
    let mut reader = target.resume("r");
    assert!(reader.session_present());
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.3.2-1. A PUBACK for what was never sent acknowledges nothing else. (Whether it ends
/// the connection is the broker's choice.)
fn an_unknown_puback_does_no_harm(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    target.join("w").must_publish(&topic, b"x", Q1);
    let message = reader.message();
    let other = PacketId::new(message.id().get() ^ 0x4000).unwrap();
    reader.send(&Packet::Puback(Ack::new(other, ReasonCode::Success)));
    reader.answered_or_closed();
    reader.cut();
    target.resume("r").must_take(&topic, b"x");
}
