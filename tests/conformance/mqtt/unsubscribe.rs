//! UNSUBSCRIBE and UNSUBACK.
use keygate_protocol::mqtt::{Qos, SubscriptionOptions};

use super::bytes::{body, field, packet};
use super::case::{Case, both, v5};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(unsuback_always_comes),
    both!(filters_are_compared_letter_by_letter),
    both!(nothing_new_comes_after_unsuback),
    both!(what_was_sent_is_finished),
    both!(several_filters_get_one_answer),
    v5!(every_filter_is_answered_in_its_place),
    both!(an_unsubscribe_without_filters_ends_the_connection),
    v5!(properties_of_unsubscribe_are_checked),
    both!(an_unsubscribe_lasts),
];

const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// 5: MQTT-3.10.4-4, MQTT-3.10.4-5. 3.1.1: MQTT-3.10.4-4, MQTT-3.10.4-5. UNSUBACK comes, whether there was a subscription
/// or not.
fn unsuback_always_comes(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.unsubscribe(&[&topic]);
    peer.must_subscribe(&topic, Q1);
    peer.unsubscribe(&[&topic]);
    peer.unsubscribe(&[&topic]);
    peer.must_have_nothing();
}

/// 5: MQTT-3.10.4-1. 3.1.1: MQTT-3.10.4-1. Only the very filter ends its subscription, not one that matches the same
/// topics.
fn filters_are_compared_letter_by_letter(target: &Target) {
    let topic = target.topic("a/b");
    let filter = target.topic("a/+");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&filter, Q1);
    for other in ["a/b", "a/#", "#", "+/+", "A/+", "a/+/", "a"] {
        reader.unsubscribe(&[&target.topic(other)]);
        writer.must_publish(&topic, b"x", Q1);
        reader.must_take(&topic, b"x");
    }
    reader.unsubscribe(&[&filter]);
    writer.must_publish(&topic, b"x", Q1);
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.10.4-2. 3.1.1: MQTT-3.10.4-2. What is published after UNSUBACK does not come; other subscriptions stay.
fn nothing_new_comes_after_unsuback(target: &Target) {
    let topic = target.topic("x");
    let other = target.topic("y");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    reader.must_subscribe(&other, Q2);
    reader.unsubscribe(&[&topic]);
    for qos in [Qos::AtMostOnce, Q1, Q2] {
        writer.must_publish(&topic, b"no", qos);
        writer.must_publish(&other, b"yes", qos);
        reader.must_take(&other, b"yes");
    }
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

/// 5: MQTT-3.10.4-3. 3.1.1: MQTT-3.10.4-3. Messages that were on their way come to their end: the exchange of QoS 2 goes
/// on, and after a reconnect they come again.
fn what_was_sent_is_finished(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    writer.must_publish(&topic, b"1", Q1);
    writer.must_publish(&topic, b"2", Q2);
    writer.must_publish(&topic, b"3", Q2);
    let mut messages = [reader.message(), reader.message(), reader.message()];
    messages.sort_by(|a, b| a.payload.cmp(&b.payload));
    reader.unsubscribe(&[&topic]);
    reader.acknowledge(&messages[1]);
    reader.ping();
    reader.cut();
    let mut reader = target.resume("r");
    let mut again = [reader.take(), reader.take()];
    again.sort_by(|a, b| a.payload.cmp(&b.payload));
    assert_eq!(again[0].packet_id, messages[0].packet_id);
    assert_eq!(again[1].packet_id, messages[2].packet_id);
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

/// 5: MQTT-3.10.4-6. 3.1.1: MQTT-3.10.4-6. Several filters are as good as several packets, with one UNSUBACK.
fn several_filters_get_one_answer(target: &Target) {
    let topics = ["a", "b", "c"].map(|rest| target.topic(rest));
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    for topic in &topics {
        reader.must_subscribe(topic, Q1);
    }
    reader.unsubscribe(&[&topics[0], &topics[2], &topics[0]]);
    reader.must_have_nothing();
    for topic in &topics {
        writer.must_publish(topic, b"x", Q1);
    }
    reader.must_take(&topics[1], b"x");
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.11.3-1, MQTT-3.11.3-2. One code for each filter, in their order: success, or that there was none.
fn every_filter_is_answered_in_its_place(target: &Target) {
    let topics = ["a", "b", "c"].map(|rest| target.topic(rest));
    let mut peer = target.join("a");
    peer.must_subscribe(&topics[1], Q1);
    let options = SubscriptionOptions::default();
    assert_eq!(peer.subscribe_as(&topics[2], options, Some(7)), 0);
    let codes = peer.unsubscribe(&[&topics[0], &topics[1], &topics[2], &topics[1]]);
    assert_eq!(codes, [0x11, 0, 0, 0x11]);
}

/// 5: MQTT-3.10.3-2. 3.1.1: MQTT-3.10.3-2. An UNSUBSCRIBE names something.
fn an_unsubscribe_without_filters_ends_the_connection(target: &Target) {
    let bytes = packet(0xa2, &body(target, &[0, 9], &[]));
    target.join("a").must_end_after(&bytes, 0x82);
}

/// 5: MQTT-4.13.1-1. UNSUBSCRIBE carries user properties and nothing else.
fn properties_of_unsubscribe_are_checked(target: &Target) {
    let mut bytes = vec![0, 9, 2, 0x0b, 1];
    bytes.extend(field(target.topic("x").as_bytes()));
    target.join("a").must_end_after(&packet(0xa2, &bytes), 0x81);
}

/// 5: MQTT-3.10.4-1, MQTT-3.1.2-23. 3.1.1: MQTT-3.10.4-1, MQTT-3.1.2-4. A subscription that was given up stays given up
/// when the session is resumed.
fn an_unsubscribe_lasts(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    reader.unsubscribe(&[&topic]);
    reader.leave();
    writer.must_publish(&topic, b"no", Q1);
    let mut reader = target.resume("r");
    assert!(reader.session_present());
    writer.must_publish(&topic, b"no", Q1);
    assert_eq!(reader.drain(&mut writer, Q1), []);
}
