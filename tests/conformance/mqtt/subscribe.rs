//! SUBSCRIBE and SUBACK: what is granted, and what that gives.
use keygate_protocol::mqtt::{Packet, Qos, Subscribe, Subscription, SubscriptionOptions};
use keygate_protocol::topic::TopicFilter;

use super::bytes::{body, field, packet};
use super::case::{Case, Ground, both, v5};
use super::peer::Peer;
use super::stage::DENIED;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(every_filter_is_answered_in_its_place),
    both!(a_subscribe_without_filters_ends_the_connection),
    both!(reserved_bits_end_the_connection),
    both!(qos_3_ends_the_connection),
    v5!(retain_handling_3_ends_the_connection),
    both!(the_granted_qos_is_the_one_that_was_asked_for),
    both!(the_lower_qos_counts),
    both!(the_same_filter_replaces),
    both!(replacing_loses_nothing),
    both!(several_filters_are_as_good_as_several_packets),
    both!(suback_may_come_before_or_after_messages_but_comes),
    v5!(no_local_keeps_ones_own_messages_away),
    both!(the_highest_qos_of_overlapping_subscriptions_counts),
    v5!(identifiers_of_subscriptions_come_along),
    v5!(every_matching_identifier_comes_along),
    v5!(a_new_identifier_replaces_the_old),
    v5!(identifier_0_ends_the_connection),
    v5!(properties_of_subscribe_are_checked),
    both!(what_is_denied_is_answered_and_gives_nothing).on(Ground::Tight),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;
const ALL: [Qos; 3] = [Q0, Q1, Q2];

fn wanted(filter: &str, qos: Qos) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(filter).unwrap(), qos)
}

/// 5: MQTT-3.8.4-1, MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1, MQTT-3.9.3-2, MQTT-3.8.4-5. 3.1.1: MQTT-3.8.4-1, MQTT-3.8.4-5, MQTT-3.9.3-1,
/// MQTT-3.9.3-2, MQTT-3.8.4-4. One SUBACK with one code for each filter, in their order.
fn every_filter_is_answered_in_its_place(target: &Target) {
    let filters = ["a", "b/#", "c", "+/d", "a"].map(|rest| target.topic(rest));
    let qos = [Q2, Q0, Q1, Q1, Q0];
    let asked: Vec<_> = filters
        .iter()
        .zip(qos)
        .map(|(filter, qos)| wanted(filter, qos))
        .collect();
    let mut peer = target.join("a");
    assert_eq!(peer.subscribe_all(&asked, None), [2, 0, 1, 1, 0]);
    peer.must_have_nothing();
}

/// 5: MQTT-3.8.3-2. 3.1.1: MQTT-3.8.3-3. A SUBSCRIBE asks for something.
fn a_subscribe_without_filters_ends_the_connection(target: &Target) {
    let bytes = packet(0x82, &body(target, &[0, 9], &[]));
    target.join("a").must_end_after(&bytes, 0x82);
}

fn with_options(target: &Target, options: u8) -> Vec<u8> {
    let mut rest = field(target.topic("x").as_bytes());
    rest.push(options);
    packet(0x82, &body(target, &[0, 9], &rest))
}

/// 5: MQTT-3.8.3-5. 3.1.1: MQTT-3.8.3-4. Bits of the options that mean nothing must not be set.
fn reserved_bits_end_the_connection(target: &Target) {
    let bits: &[u8] = match target.is_v5() {
        true => &[0x40, 0x80],
        false => &[0x04, 0x08, 0x10, 0x20, 0x40, 0x80],
    };
    for bit in bits {
        target
            .join("a")
            .must_end_after(&with_options(target, *bit), 0x81);
    }
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-3.8.3-4. Nobody subscribes at QoS 3.
fn qos_3_ends_the_connection(target: &Target) {
    target
        .join("a")
        .must_end_after(&with_options(target, 3), 0x82);
}

/// 5: MQTT-4.13.1-1. There is no fourth way to handle retained messages.
fn retain_handling_3_ends_the_connection(target: &Target) {
    target
        .join("a")
        .must_end_after(&with_options(target, 0x30), 0x82);
}

/// 5: MQTT-3.8.4-7, MQTT-3.2.2-10. 3.1.1: MQTT-3.8.4-5. Every QoS is granted as it is asked for.
fn the_granted_qos_is_the_one_that_was_asked_for(target: &Target) {
    let mut peer = target.join("a");
    for qos in ALL {
        assert_eq!(peer.subscribe(&target.topic("x"), qos), qos.level());
    }
}

/// 5: MQTT-3.8.4-8. 3.1.1: MQTT-3.8.4-6. A message is delivered at the lower of its own QoS and the one granted.
fn the_lower_qos_counts(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    for granted in ALL {
        let mut reader = target.join("r");
        reader.must_subscribe(&topic, granted);
        for published in ALL {
            writer.must_publish(&topic, b"x", published);
            let message = reader.must_take(&topic, b"x");
            assert_eq!(message.qos, granted.min(published));
        }
        reader.leave();
    }
}

/// 5: MQTT-3.8.4-3. 3.1.1: MQTT-3.8.4-3. The same filter again is the same subscription: one copy, at the new QoS; and one
/// UNSUBSCRIBE ends it.
fn the_same_filter_replaces(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    for qos in [Q0, Q2, Q1] {
        reader.must_subscribe(&topic, qos);
        writer.must_publish(&topic, b"x", Q2);
        assert_eq!(reader.must_take(&topic, b"x").qos, qos);
        assert_eq!(reader.drain(&mut writer, Q2), []);
    }
    reader.unsubscribe(&[&topic]);
    writer.must_publish(&topic, b"x", Q2);
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

/// 5: MQTT-3.8.4-4. 3.1.1: MQTT-3.8.4-3. While a subscription is replaced again and again, no message is lost; the retained
/// one comes each time.
fn replacing_loses_nothing(target: &Target) {
    let kept = target.topic("kept");
    let topic = target.topic("x");
    let filter = target.topic("+");
    let mut writer = target.join("w");
    writer.retain(&kept, b"kept", Q1);
    let mut reader = target.join("r");
    reader.must_subscribe(&filter, Q1);
    for number in 0..20 {
        writer.start_publish(&topic, &[number], Q1);
        reader.must_subscribe(&filter, Q1);
    }
    let mut numbers = Vec::new();
    let mut copies = 0;
    while numbers.len() < 20 || copies < 21 {
        let message = reader.take();
        if message.topic == kept {
            copies += 1;
        } else {
            numbers.extend(message.payload);
        }
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    reader.must_have_nothing();
    writer = target.join("v");
    writer.retain(&kept, b"", Q1);
}

/// 5: MQTT-3.8.4-5. 3.1.1: MQTT-3.8.4-4. Filters in one packet are subscriptions like any other, one by one.
fn several_filters_are_as_good_as_several_packets(target: &Target) {
    let filters = ["a", "b", "a"].map(|rest| target.topic(rest));
    let asked: Vec<_> = filters
        .iter()
        .zip([Q2, Q1, Q0])
        .map(|(filter, qos)| wanted(filter, qos))
        .collect();
    let mut reader = target.join("r");
    reader.subscribe_all(&asked, None);
    let mut writer = target.join("w");
    // The third replaced the first.
    writer.must_publish(&filters[0], b"x", Q2);
    assert_eq!(reader.must_take(&filters[0], b"x").qos, Q0);
    writer.must_publish(&filters[1], b"x", Q2);
    assert_eq!(reader.must_take(&filters[1], b"x").qos, Q1);
    reader.must_have_nothing();
}

/// 5: MQTT-3.8.4-1, MQTT-3.8.4-2. 3.1.1: MQTT-3.8.4-1, MQTT-3.8.4-2. Many SUBSCRIBEs at once get their SUBACKs, one each.
fn suback_may_come_before_or_after_messages_but_comes(target: &Target) {
    let mut peer = target.join("a");
    let mut waiting = Vec::new();
    for number in 0..20 {
        let id = peer.packet_id();
        let filter = target.topic(&format!("{number}"));
        let asked = [wanted(&filter, Q0)];
        peer.send(&Packet::Subscribe(Subscribe::new(id, &asked)));
        waiting.push(id);
    }
    while !waiting.is_empty() {
        let got = peer.wire.packet();
        let Packet::Suback(ack) = got.packet() else {
            panic!("expected SUBACK, heard {:?}", got.packet());
        };
        let at = waiting.iter().position(|id| *id == ack.packet_id);
        waiting.remove(at.expect("one that was asked"));
    }
    peer.must_have_nothing();
}

/// 5: MQTT-3.8.3-3. With No Local a client does not hear itself, on any connection with its id; others it hears.
fn no_local_keeps_ones_own_messages_away(target: &Target) {
    let topic = target.topic("x");
    let no_local = SubscriptionOptions {
        qos: Q1,
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let mut peer = target.resume("a");
    assert_eq!(peer.subscribe_as(&topic, no_local, None), 1);
    peer.must_publish(&topic, b"mine", Q1);
    peer.must_have_nothing();
    peer.leave();
    let mut peer = target.resume("a");
    peer.must_publish(&topic, b"mine", Q1);
    let mut other = target.join("b");
    other.must_publish(&topic, b"theirs", Q1);
    peer.must_take(&topic, b"theirs");
    assert_eq!(peer.drain(&mut other, Q1), []);
}

/// 5: MQTT-3.3.4-2. 3.1.1: MQTT-3.3.5-1. Of several subscriptions that match, the one with the highest QoS is served;
/// copies for the others are allowed.
fn the_highest_qos_of_overlapping_subscriptions_counts(target: &Target) {
    let topic = target.topic("a/b");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    for (rest, qos) in [("#", Q0), ("a/+", Q2), ("a/b", Q1)] {
        reader.must_subscribe(&target.topic(rest), qos);
    }
    writer.must_publish(&topic, b"x", Q2);
    let end = target.topic("a/end");
    writer.must_publish(&end, b"x", Q2);
    let mut found = Vec::new();
    // Copies at a lower QoS may overtake, so all are collected up to the fence of each QoS.
    found.extend(reader.drain(&mut writer, Q0));
    found.extend(reader.drain(&mut writer, Q2));
    found.retain(|message| message.topic == topic);
    assert!((1..=3).contains(&found.len()), "{found:?}");
    let highest = found.iter().map(|message| message.qos).max();
    assert_eq!(highest, Some(Q2));
}

fn subscribe_with(peer: &mut Peer, filter: &str, id: u32) {
    let options = SubscriptionOptions {
        qos: Q1,
        ..SubscriptionOptions::default()
    };
    assert_eq!(peer.subscribe_as(filter, options, Some(id)), 1);
}

/// 5: MQTT-3.3.4-3. A message names the subscription that it answers to, up to the largest number there is; not that of
/// another client, and none if none was given.
fn identifiers_of_subscriptions_come_along(target: &Target) {
    let mut reader = target.join("r");
    let mut other = target.join("o");
    let mut writer = target.join("w");
    for id in [1, 127, 128, 16_384, 268_435_455] {
        let topic = target.topic(&format!("{id}"));
        subscribe_with(&mut reader, &topic, id);
        subscribe_with(&mut other, &topic, 5);
        writer.must_publish(&topic, b"x", Q1);
        assert_eq!(reader.must_take(&topic, b"x").subscription_ids, [id]);
        assert_eq!(other.must_take(&topic, b"x").subscription_ids, [5]);
    }
    let plain = target.topic("plain");
    reader.must_subscribe(&plain, Q1);
    writer.must_publish(&plain, b"x", Q1);
    assert_eq!(reader.must_take(&plain, b"x").subscription_ids, [0; 0]);
}

/// 5: MQTT-3.3.4-3, MQTT-3.3.4-4, MQTT-3.3.4-5. If one copy answers to several subscriptions, it names them all; if each
/// has its own, each names its own.
fn every_matching_identifier_comes_along(target: &Target) {
    let topic = target.topic("a/b");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    for (rest, id) in [("#", 1), ("a/+", 2), ("a/b", 3), ("a/c", 4)] {
        subscribe_with(&mut reader, &target.topic(rest), id);
    }
    reader.must_subscribe(&target.topic("+/b"), Q1);
    writer.must_publish(&topic, b"x", Q1);
    let found = reader.drain(&mut writer, Q1);
    let mut ids: Vec<u32> = found
        .iter()
        .filter(|message| message.topic == topic)
        .flat_map(|message| message.subscription_ids.clone())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3], "{found:?}");
}

/// 5: MQTT-3.8.4-3, MQTT-3.3.4-3. The identifier is a part of the subscription that is replaced, and stays with the session.
fn a_new_identifier_replaces_the_old(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    let mut writer = target.join("w");
    subscribe_with(&mut reader, &topic, 1);
    subscribe_with(&mut reader, &topic, 2);
    writer.must_publish(&topic, b"x", Q1);
    assert_eq!(reader.must_take(&topic, b"x").subscription_ids, [2]);
    reader.leave();
    writer.must_publish(&topic, b"y", Q1);
    let mut reader = target.resume("r");
    assert_eq!(reader.must_take(&topic, b"y").subscription_ids, [2]);
    reader.must_subscribe(&topic, Q1);
    writer.must_publish(&topic, b"z", Q1);
    assert_eq!(reader.must_take(&topic, b"z").subscription_ids, [0; 0]);
}

/// SUBSCRIBE with these properties.
fn with_properties(target: &Target, properties: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 9, properties.len() as u8];
    body.extend(properties);
    body.extend(field(target.topic("x").as_bytes()));
    body.push(0);
    packet(0x82, &body)
}

/// 5: MQTT-4.13.1-1. A subscription identifier is not 0.
fn identifier_0_ends_the_connection(target: &Target) {
    target
        .join("a")
        .must_end_after(&with_properties(target, &[0x0b, 0]), 0x82);
}

/// 5: MQTT-4.13.1-1. Two identifiers are a protocol error; what SUBSCRIBE does not carry is malformed.
fn properties_of_subscribe_are_checked(target: &Target) {
    let wrong: [(&[u8], u8); 3] = [
        (&[0x0b, 1, 0x0b, 2], 0x82),
        (&[0x1f, 0, 0], 0x81),
        (&[0x0b, 0x80, 0x80, 0x80, 0x80, 1], 0x81),
    ];
    for (properties, code) in wrong {
        target
            .join("a")
            .must_end_after(&with_properties(target, properties), code);
    }
}

/// 5: MQTT-3.8.4-7, MQTT-3.9.3-2. 3.1.1: MQTT-3.8.4-5, MQTT-3.9.3-2. A filter that may not be used is answered so (0x87; 0x80 in 3.1.1) beside
/// others that are granted, and gives nothing.
fn what_is_denied_is_answered_and_gives_nothing(target: &Target) {
    let denied = format!("{DENIED}/{}", target.place);
    let granted = target.topic("x");
    let mut peer = target.join("a");
    let asked = [wanted(&denied, Q1), wanted(&granted, Q1)];
    let refused = if target.is_v5() { 0x87 } else { 0x80 };
    assert_eq!(peer.subscribe_all(&asked, None), [refused, 1]);
    peer.must_publish(&granted, b"yes", Q1);
    peer.must_take(&granted, b"yes");
}
