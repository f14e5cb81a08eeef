//! Flow control: how many messages may be on their way.
use keygate_protocol::mqtt::{Ack, Packet, Qos, ReasonCode};

use super::case::{Case, Ground, v5};
use super::peer::{Message, Peer};
use super::stage::TIGHT_RECEIVE_MAX;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(no_more_than_the_client_takes),
    v5!(the_window_counts_both_qualities),
    v5!(qos_2_stays_in_the_window_until_pubcomp),
    v5!(a_negative_pubrec_opens_the_window),
    v5!(a_full_window_holds_up_nothing_else),
    v5!(qos_0_passes_a_full_window),
    v5!(a_resumed_session_has_the_new_window),
    v5!(retained_messages_keep_to_the_window),
    v5!(more_than_the_broker_takes_ends_the_connection).on(Ground::Tight),
    v5!(as_many_as_the_broker_takes_are_taken).on(Ground::Tight),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// A client that takes so many messages at a time, subscribed to the topic.
fn reader(target: &Target, topic: &str, receive_max: u16) -> Peer {
    let id = target.id(&format!("r{receive_max}"));
    let mut connect = target.lasting(&id);
    connect.properties.receive_max = receive_max;
    let mut reader = target.open(&connect);
    reader.must_subscribe(topic, Q2);
    reader
}

/// Takes so many messages and acknowledges none; there are no more.
#[track_caller]
fn must_take_only(reader: &mut Peer, count: usize) -> Vec<Message> {
    let messages = (0..count).map(|_| reader.message()).collect();
    reader.must_have_nothing();
    messages
}

/// 5: MQTT-3.3.4-9, MQTT-4.9.0-1, MQTT-4.9.0-2. No more messages are unacknowledged than the client's Receive Maximum; each PUBACK lets
/// one more through.
fn no_more_than_the_client_takes(target: &Target) {
    for receive_max in [1, 2, 5] {
        let topic = target.topic(&format!("{receive_max}"));
        let mut reader = reader(target, &topic, receive_max);
        let mut writer = target.join("w");
        for number in 0..10 {
            writer.must_publish(&topic, &[number], Q1);
        }
        let mut open = must_take_only(&mut reader, usize::from(receive_max));
        for number in open.len()..10 {
            let oldest = open.remove(0);
            reader.acknowledge(&oldest);
            let next = reader.message();
            assert_eq!(next.payload, [number as u8]);
            open.push(next);
            reader.must_have_nothing();
        }
        reader.leave();
    }
}

/// 5: MQTT-3.3.4-9, MQTT-4.9.0-2. Messages of QoS 1 and 2 share the window.
fn the_window_counts_both_qualities(target: &Target) {
    let topic = target.topic("x");
    let mut reader = reader(target, &topic, 3);
    let mut writer = target.join("w");
    for qos in [Q1, Q2, Q1, Q2, Q1, Q2] {
        writer.must_publish(&topic, b"x", qos);
    }
    for message in must_take_only(&mut reader, 3) {
        reader.acknowledge(&message);
    }
    assert_eq!(must_take_only(&mut reader, 3).len(), 3);
}

/// 5: MQTT-3.3.4-9, MQTT-4.9.0-2. PUBREC does not open the window; PUBCOMP does.
fn qos_2_stays_in_the_window_until_pubcomp(target: &Target) {
    let topic = target.topic("x");
    let mut reader = reader(target, &topic, 1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q2);
    writer.must_publish(&topic, b"2", Q2);
    let ack = Ack::new(must_take_only(&mut reader, 1)[0].id(), ReasonCode::Success);
    reader.send(&Packet::Pubrec(ack));
    reader.pubrel(ack.packet_id);
    reader.must_have_nothing();
    reader.send(&Packet::Pubcomp(ack));
    reader.must_take(&topic, b"2");
}

/// 5: MQTT-3.3.4-9, MQTT-4.4.0-2. A PUBREC that says why not opens the window.
fn a_negative_pubrec_opens_the_window(target: &Target) {
    let topic = target.topic("x");
    let mut reader = reader(target, &topic, 1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q2);
    writer.must_publish(&topic, b"2", Q2);
    let id = must_take_only(&mut reader, 1)[0].id();
    reader.send(&Packet::Pubrec(Ack::new(id, ReasonCode::QuotaExceeded)));
    reader.must_take(&topic, b"2");
}

/// 5: MQTT-3.3.4-10, MQTT-4.9.0-3. A full window holds up no other packet: pings, subscriptions, the client's own messages.
fn a_full_window_holds_up_nothing_else(target: &Target) {
    let topic = target.topic("x");
    let mut reader = reader(target, &topic, 1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    writer.must_publish(&topic, b"2", Q1);
    let first = must_take_only(&mut reader, 1).remove(0);
    reader.ping();
    let other = target.topic("y");
    reader.must_subscribe(&other, Q1);
    reader.unsubscribe(&[&other]);
    for qos in [Q1, Q2] {
        reader.must_publish(&target.topic("z"), b"x", qos);
    }
    reader.must_have_nothing();
    reader.acknowledge(&first);
    reader.must_take(&topic, b"2");
}

/// 5: MQTT-4.9.0-2, MQTT-3.3.4-9. Messages of QoS 0 do not count.
fn qos_0_passes_a_full_window(target: &Target) {
    let topic = target.topic("x");
    let mut reader = reader(target, &topic, 1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    must_take_only(&mut reader, 1);
    writer.must_publish(&topic, b"0", Q0);
    let message = reader.message();
    assert_eq!((message.qos, message.payload.as_slice()), (Q0, &b"0"[..]));
}

/// 5: MQTT-4.9.0-1, MQTT-3.3.4-9. The window belongs to the connection: the next one has its own, also for what comes again.
fn a_resumed_session_has_the_new_window(target: &Target) {
    let topic = target.topic("x");
    let mut wide = reader(target, &topic, 10);
    let mut writer = target.join("w");
    for number in 0..5 {
        writer.must_publish(&topic, &[number], Q1);
    }
    must_take_only(&mut wide, 5);
    wide.cut();
    let id = target.id("r10");
    let mut connect = target.lasting(&id);
    connect.properties.receive_max = 2;
    let mut narrow = target.open(&connect);
    assert!(narrow.session_present());
    let mut open = must_take_only(&mut narrow, 2);
    for number in 2..5 {
        let oldest = open.remove(0);
        narrow.acknowledge(&oldest);
        let next = narrow.message();
        assert_eq!(next.payload, [number]);
        open.push(next);
        narrow.must_have_nothing();
    }
}

/// 5: MQTT-3.3.4-9. Retained messages keep to the window like all others.
fn retained_messages_keep_to_the_window(target: &Target) {
    let mut writer = target.join("w");
    for number in 0..6 {
        writer.retain(&target.topic(&format!("{number}")), b"x", Q1);
    }
    let mut reader = reader(target, &target.topic("+"), 2);
    let mut count = 0;
    while count < 6 {
        for message in must_take_only(&mut reader, 2) {
            reader.acknowledge(&message);
            count += 1;
        }
    }
    reader.must_have_nothing();
    for number in 0..6 {
        writer.retain(&target.topic(&format!("{number}")), b"", Q1);
    }
}

/// 5: MQTT-4.13.1-1. Whoever has more messages under way than the broker declared is disconnected with 0x93.
fn more_than_the_broker_takes_ends_the_connection(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    assert_eq!(peer.connack().properties.receive_max, TIGHT_RECEIVE_MAX);
    // Exchanges that are not finished: no PUBREL follows.
    for _ in 0..TIGHT_RECEIVE_MAX {
        let id = peer.start_publish(&topic, b"x", Q2);
        assert!(peer.pubrec(id) < 0x80);
    }
    peer.start_publish(&topic, b"x", Q2);
    peer.must_end(0x93);
}

/// 5: MQTT-4.9.0-3, MQTT-4.3.3-12. As many as were declared are taken, again and again.
fn as_many_as_the_broker_takes_are_taken(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    for _ in 0..3 {
        let ids: Vec<_> = (0..TIGHT_RECEIVE_MAX)
            .map(|_| peer.start_publish(&topic, b"x", Q2))
            .collect();
        for id in &ids {
            assert!(peer.pubrec(*id) < 0x80);
        }
        peer.ping();
        for id in ids {
            peer.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
            assert_eq!(peer.pubcomp(id), 0);
        }
    }
}
