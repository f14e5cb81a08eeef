//! QoS 2, as receiver and as sender.
use keygate_protocol::mqtt::{Ack, MessageProperties, Packet, PacketId, Publish, Qos, ReasonCode};
use std::time::Duration;

use super::case::{Case, both, v5};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(a_message_arrives_once),
    both!(a_repeated_publish_is_acknowledged_and_not_delivered_again),
    both!(a_repeated_publish_after_a_reconnect_is_not_delivered_again),
    both!(pubrel_is_answered_as_often_as_it_comes),
    v5!(an_unknown_pubrel_is_answered),
    both!(an_identifier_is_free_after_pubcomp),
    both!(a_first_delivery_is_not_marked),
    both!(pubrec_is_answered_by_pubrel),
    v5!(an_unknown_pubrec_is_answered),
    both!(an_unreceived_message_comes_again),
    both!(a_received_message_is_released_again),
    v5!(a_negative_pubrec_ends_the_exchange),
    v5!(a_message_that_was_sent_does_not_expire).waiting(),
    v5!(an_expired_message_is_still_acknowledged).waiting(),
    both!(identifiers_of_both_directions_are_apart),
    both!(a_message_waits_for_its_reader),
];

const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

fn send_publish(peer: &mut Peer, topic: &str, payload: &[u8], id: PacketId, dup: bool) {
    peer.send(&Packet::Publish(Publish {
        qos: Q2,
        dup,
        packet_id: Some(id),
        ..Publish::new(topic, payload)
    }));
}

fn ok(id: PacketId) -> Ack<'static> {
    Ack::new(id, ReasonCode::Success)
}

/// 5: MQTT-4.3.3-8, MQTT-4.3.3-11, MQTT-4.5.0-1. 3.1.1: MQTT-4.3.3-2, MQTT-4.5.0-1. PUBREC, PUBCOMP, and one copy for
/// every subscriber.
fn a_message_arrives_once(target: &Target) {
    let topic = target.topic("x");
    let mut readers = ["r", "s"].map(|name| target.join(name));
    for reader in &mut readers {
        reader.must_subscribe(&topic, Q2);
    }
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q2);
    for reader in &mut readers {
        assert_eq!(reader.must_take(&topic, b"x").qos, Q2);
        assert_eq!(reader.drain(&mut writer, Q2), []);
    }
}

/// 5: MQTT-4.3.3-10. 3.1.1: MQTT-4.3.3-2. Until PUBREL the same identifier is the same message: PUBREC again, and
/// nobody gets it twice.
fn a_repeated_publish_is_acknowledged_and_not_delivered_again(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    let id = PacketId::new(7).unwrap();
    for dup in [false, true, true] {
        send_publish(&mut writer, &topic, b"x", id, dup);
        assert!(writer.pubrec(id) < 0x80);
    }
    writer.send(&Packet::Pubrel(ok(id)));
    assert_eq!(writer.pubcomp(id), 0);
    reader.must_take(&topic, b"x");
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

/// 5: MQTT-4.3.3-10, MQTT-3.1.2-23. 3.1.1: MQTT-4.3.3-2, MQTT-3.1.2-4. The same across two connections of one session.
fn a_repeated_publish_after_a_reconnect_is_not_delivered_again(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q2);
    let id = PacketId::new(7).unwrap();
    let mut writer = target.resume("w");
    send_publish(&mut writer, &topic, b"x", id, false);
    assert!(writer.pubrec(id) < 0x80);
    writer.cut();
    let mut writer = target.resume("w");
    assert!(writer.session_present());
    send_publish(&mut writer, &topic, b"x", id, true);
    assert!(writer.pubrec(id) < 0x80);
    writer.send(&Packet::Pubrel(ok(id)));
    assert_eq!(writer.pubcomp(id), 0);
    reader.must_take(&topic, b"x");
    assert_eq!(reader.drain(&mut target.join("v"), Q2), []);
}

/// 5: MQTT-4.3.3-11. 3.1.1: MQTT-4.3.3-2. PUBREL gets its PUBCOMP, also when it comes again because the first PUBCOMP was
/// lost.
fn pubrel_is_answered_as_often_as_it_comes(target: &Target) {
    let topic = target.topic("x");
    let id = PacketId::new(7).unwrap();
    let mut writer = target.resume("w");
    send_publish(&mut writer, &topic, b"x", id, false);
    assert!(writer.pubrec(id) < 0x80);
    writer.send(&Packet::Pubrel(ok(id)));
    assert_eq!(writer.pubcomp(id), 0);
    writer.cut();
    let mut writer = target.resume("w");
    writer.send(&Packet::Pubrel(ok(id)));
    let code = writer.pubcomp(id);
    assert!(code == 0 || target.is_v5() && code == 0x92, "{code:02x}");
}

/// 5: MQTT-4.3.3-11, MQTT-3.7.2-1. PUBREL for an identifier that is not in use is answered with 0x92.
fn an_unknown_pubrel_is_answered(target: &Target) {
    let mut peer = target.join("a");
    let id = PacketId::new(0x1234).unwrap();
    peer.send(&Packet::Pubrel(ok(id)));
    let code = peer.pubcomp(id);
    assert!(code == 0x92 || !target.exact && code == 0, "{code:02x}");
    peer.ping();
}

/// 5: MQTT-4.3.3-12. 3.1.1: MQTT-4.3.3-2. After PUBCOMP the same identifier is another message.
fn an_identifier_is_free_after_pubcomp(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    let id = PacketId::new(7).unwrap();
    for payload in [b"1", b"2", b"3"] {
        send_publish(&mut writer, &topic, payload, id, false);
        assert!(writer.pubrec(id) < 0x80);
        writer.send(&Packet::Pubrel(ok(id)));
        assert_eq!(writer.pubcomp(id), 0);
        reader.must_take(&topic, payload);
    }
}

/// 5: MQTT-4.3.3-2. 3.1.1: MQTT-4.3.3-1. A message goes out with QoS 2 and unmarked.
fn a_first_delivery_is_not_marked(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q2);
    target.join("w").must_publish(&topic, b"x", Q2);
    let message = reader.message();
    assert_eq!((message.qos, message.dup), (Q2, false));
    message.id();
}

/// 5: MQTT-4.3.3-4, MQTT-3.6.2-1, MQTT-2.2.1-5. 3.1.1: MQTT-4.3.3-1, MQTT-3.3.4-1. PUBREC is answered by PUBREL with its identifier, and again when it
/// comes again.
fn pubrec_is_answered_by_pubrel(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q2);
    target.join("w").must_publish(&topic, b"x", Q2);
    let message = reader.message();
    for _ in 0..2 {
        reader.send(&Packet::Pubrec(ok(message.id())));
        let got = reader.wire.packet();
        assert_eq!(got.raw()[0], 0x62, "PUBREL has its flags");
        assert!(matches!(got.packet(), Packet::Pubrel(ack) if ack.packet_id == message.id()));
    }
    reader.send(&Packet::Pubcomp(ok(message.id())));
    reader.must_have_nothing();
}

/// 5: MQTT-4.3.3-4, MQTT-3.6.2-1. PUBREC for what was never sent is answered by PUBREL with 0x92.
fn an_unknown_pubrec_is_answered(target: &Target) {
    let mut peer = target.join("a");
    let id = PacketId::new(0x1234).unwrap();
    peer.send(&Packet::Pubrec(ok(id)));
    if target.exact {
        assert_eq!(peer.pubrel(id), 0x92);
        peer.ping();
    } else {
        peer.answered_or_closed();
    }
}

/// 5: MQTT-4.3.3-3, MQTT-4.4.0-1, MQTT-3.3.1-1. 3.1.1: MQTT-4.3.3-1, MQTT-4.4.0-1, MQTT-3.3.1-1. Without PUBREC the message comes
/// again: same identifier, marked.
fn an_unreceived_message_comes_again(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q2);
    target.join("w").must_publish(&topic, b"x", Q2);
    let before = reader.message();
    reader.cut();
    let mut reader = target.resume("r");
    let again = reader.must_take(&topic, b"x");
    assert_eq!((again.dup, again.packet_id), (true, before.packet_id));
    reader.cut();
    target.resume("r").must_have_nothing();
}

/// 5: MQTT-4.3.3-5, MQTT-4.3.3-6, MQTT-4.4.0-1. 3.1.1: MQTT-4.3.3-1, MQTT-4.4.0-1. After PUBREC it is PUBREL that comes again, until
/// PUBCOMP, and never the message.
fn a_received_message_is_released_again(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q2);
    target.join("w").must_publish(&topic, b"x", Q2);
    let id = reader.message().id();
    reader.send(&Packet::Pubrec(ok(id)));
    reader.pubrel(id);
    for _ in 0..2 {
        reader.cut();
        reader = target.resume("r");
        assert!(reader.session_present());
        reader.pubrel(id);
        // Nothing was kept on the way, so no message came.
        reader.must_have_nothing();
    }
    reader.send(&Packet::Pubcomp(ok(id)));
    reader.ping();
    reader.cut();
    let mut reader = target.resume("r");
    assert_eq!(reader.drain(&mut target.join("v"), Q2), []);
}

/// 5: MQTT-4.4.0-2, MQTT-4.3.3-4. A PUBREC that says why not ends the exchange: no PUBREL, and no message again.
fn a_negative_pubrec_ends_the_exchange(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q2);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q2);
    let id = reader.message().id();
    reader.send(&Packet::Pubrec(Ack::new(id, ReasonCode::UnspecifiedError)));
    reader.must_have_nothing();
    reader.cut();
    let mut reader = target.resume("r");
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

fn expiring(topic: &str) -> Publish<'_> {
    Publish {
        qos: Q2,
        properties: MessageProperties {
            expiry_s: Some(1),
            ..MessageProperties::default()
        },
        ..Publish::new(topic, b"x")
    }
}

/// 5: MQTT-4.3.3-7. Once a message was sent, its expiry no longer counts: it comes again although its time is over.
fn a_message_that_was_sent_does_not_expire(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q2);
    let mut writer = target.join("w");
    writer.publish_as(&expiring(&topic));
    let id = reader.message().id();
    reader.cut();
    writer.hear_nothing_for(Duration::from_millis(2500));
    let mut reader = target.resume("r");
    assert_eq!(reader.must_take(&topic, b"x").id(), id);
}

/// 5: MQTT-4.3.3-13. The exchange with the publisher goes on although the message has expired meanwhile.
fn an_expired_message_is_still_acknowledged(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    let id = PacketId::new(7).unwrap();
    writer.send(&Packet::Publish(Publish {
        packet_id: Some(id),
        ..expiring(&topic)
    }));
    assert!(writer.pubrec(id) < 0x80);
    writer.hear_nothing_for(Duration::from_millis(2500));
    writer.send(&Packet::Pubrel(ok(id)));
    assert_eq!(writer.pubcomp(id), 0);
}

/// 5: MQTT-2.2.1-4. 3.1.1: MQTT-2.3.1-4. A client's identifiers and the broker's do not get into each other's way: the same number in
/// both directions is two messages.
fn identifiers_of_both_directions_are_apart(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Q2);
    target.join("w").must_publish(&topic, b"theirs", Q2);
    let theirs = peer.message();
    send_publish(&mut peer, &topic, b"ours", theirs.id(), false);
    assert!(peer.pubrec(theirs.id()) < 0x80);
    peer.send(&Packet::Pubrec(ok(theirs.id())));
    peer.pubrel(theirs.id());
    peer.send(&Packet::Pubrel(ok(theirs.id())));
    assert_eq!(peer.pubcomp(theirs.id()), 0);
    peer.send(&Packet::Pubcomp(ok(theirs.id())));
    peer.must_take(&topic, b"ours");
    peer.must_have_nothing();
}

/// 5: MQTT-4.5.0-1, MQTT-3.1.2-23. 3.1.1: MQTT-3.1.2-5, MQTT-4.5.0-1. A session that is away gets what was published meanwhile, each once, at
/// its QoS.
fn a_message_waits_for_its_reader(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q2);
    reader.leave();
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q2);
    writer.must_publish(&topic, b"2", Q1);
    let mut reader = target.resume("r");
    assert!(reader.session_present());
    let mut messages = [reader.take(), reader.take()];
    messages.sort_by(|a, b| a.payload.cmp(&b.payload));
    assert_eq!((messages[0].qos, messages[0].dup), (Q2, false));
    assert_eq!((messages[1].qos, messages[1].dup), (Q1, false));
    assert_eq!(reader.drain(&mut writer, Q2), []);
}
