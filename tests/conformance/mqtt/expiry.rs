//! Message expiry.
use std::time::Duration;

use keygate_protocol::mqtt::{MessageProperties, Publish, Qos};

use super::case::{Case, v5};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(what_is_delivered_at_once_has_its_whole_time),
    v5!(the_time_that_it_waited_is_taken_off).waiting(),
    v5!(what_has_expired_is_not_delivered).waiting(),
    v5!(what_has_expired_is_no_longer_retained).waiting(),
    v5!(without_an_expiry_nothing_expires).waiting(),
    v5!(what_expires_behind_the_window_is_not_delivered).waiting(),
];

const Q1: Qos = Qos::AtLeastOnce;

fn publish(writer: &mut Peer, topic: &str, payload: &[u8], expiry_s: u32, retain: bool) {
    let code = writer.publish_as(&Publish {
        qos: Q1,
        retain,
        properties: MessageProperties {
            expiry_s: Some(expiry_s),
            ..MessageProperties::default()
        },
        ..Publish::new(topic, payload)
    });
    assert!(code < 0x80, "{code:02x}");
}

/// 5: MQTT-3.3.2-6. A message that did not wait arrives with what its publisher gave it.
fn what_is_delivered_at_once_has_its_whole_time(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    for expiry_s in [600, u32::MAX] {
        publish(&mut writer, &topic, b"x", expiry_s, false);
        let left = reader.must_take(&topic, b"x").expiry_s;
        // A busy machine may let a second or two pass.
        assert!(left.is_some_and(|left| (expiry_s - 5..=expiry_s).contains(&left)));
    }
}

/// 5: MQTT-3.3.2-6. What waited, for a session or as a retained message, arrives with what is left.
fn the_time_that_it_waited_is_taken_off(target: &Target) {
    let topic = target.topic("x");
    let mut away = target.resume("a");
    away.must_subscribe(&topic, Q1);
    away.leave();
    let mut writer = target.join("w");
    publish(&mut writer, &topic, b"x", 600, true);
    writer.hear_nothing_for(Duration::from_millis(3000));
    let mut later = target.join("l");
    later.must_subscribe(&topic, Q1);
    let mut away = target.resume("a");
    for reader in [&mut away, &mut later] {
        let left = reader.must_take(&topic, b"x").expiry_s;
        assert!(
            left.is_some_and(|left| (580..=598).contains(&left)),
            "{left:?}"
        );
    }
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.2-5. A message whose time is over is deleted for whoever has not had it yet.
fn what_has_expired_is_not_delivered(target: &Target) {
    let topic = target.topic("x");
    let mut away = target.resume("a");
    away.must_subscribe(&topic, Qos::ExactlyOnce);
    away.leave();
    let mut writer = target.join("w");
    publish(&mut writer, &topic, b"short", 1, false);
    publish(&mut writer, &topic, b"long", 600, false);
    writer.hear_nothing_for(Duration::from_millis(3000));
    let mut away = target.resume("a");
    away.must_take(&topic, b"long");
    assert_eq!(away.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.3.2-5. Nor does a retained message outlive its time.
fn what_has_expired_is_no_longer_retained(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    publish(&mut writer, &topic, b"x", 1, true);
    writer.hear_nothing_for(Duration::from_millis(3000));
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q1);
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.3.2-6. A message without an expiry waits, and says nothing of one.
fn without_an_expiry_nothing_expires(target: &Target) {
    let topic = target.topic("x");
    let mut away = target.resume("a");
    away.must_subscribe(&topic, Q1);
    away.leave();
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q1);
    writer.hear_nothing_for(Duration::from_millis(2500));
    let message = target.resume("a").must_take(&topic, b"x");
    assert_eq!(message.expiry_s, None);
}

/// 5: MQTT-3.3.2-5. A message that waits for a slow client expires as well.
fn what_expires_behind_the_window_is_not_delivered(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("r");
    let mut connect = target.connect(&id);
    connect.properties.receive_max = 1;
    let mut reader = target.open(&connect);
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    publish(&mut writer, &topic, b"first", 600, false);
    publish(&mut writer, &topic, b"short", 1, false);
    publish(&mut writer, &topic, b"last", 600, false);
    let first = reader.message();
    writer.hear_nothing_for(Duration::from_millis(3000));
    reader.acknowledge(&first);
    reader.must_take(&topic, b"last");
    assert_eq!(reader.drain(&mut writer, Q1), []);
}
