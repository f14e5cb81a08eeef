//! Topic aliases.
use std::num::NonZeroU16;

use keygate_protocol::mqtt::{Packet, Publish, Qos};

use super::bytes::{field, packet};
use super::case::{Case, v5};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(an_alias_stands_for_its_topic),
    v5!(every_alias_up_to_the_maximum_is_taken),
    v5!(an_alias_may_be_given_again),
    v5!(alias_0_ends_the_connection),
    v5!(an_alias_above_the_maximum_ends_the_connection),
    v5!(an_unknown_alias_ends_the_connection),
    v5!(aliases_end_with_their_connection),
    v5!(aliases_of_clients_are_apart),
    v5!(no_alias_is_sent_to_whoever_takes_none),
    v5!(aliases_that_are_sent_keep_to_the_maximum),
    v5!(an_alias_works_in_every_quality),
];

const Q1: Qos = Qos::AtLeastOnce;

fn aliased(peer: &mut Peer, topic: &str, alias: u16, payload: &[u8], qos: Qos) {
    let code = peer.publish_as(&Publish {
        qos,
        topic_alias: NonZeroU16::new(alias),
        ..Publish::new(topic, payload)
    });
    assert!(code < 0x80, "{code:02x}");
}

fn maximum(peer: &Peer) -> u16 {
    let maximum = peer.connack().properties.topic_alias_max;
    assert!(maximum >= 2, "the broker takes aliases");
    maximum
}

/// 5: MQTT-3.3.2-12. Once given, the alias is enough; subscribers see the topic.
fn an_alias_stands_for_its_topic(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    aliased(&mut writer, &topic, 1, b"1", Q1);
    aliased(&mut writer, "", 1, b"2", Q1);
    aliased(&mut writer, "", 1, b"3", Q1);
    for payload in [b"1", b"2", b"3"] {
        let message = reader.must_take(&topic, payload);
        assert_eq!(message.alias, None, "the publisher's alias is its own");
    }
}

/// 5: MQTT-3.3.2-12. The smallest and the largest are taken, and those between.
fn every_alias_up_to_the_maximum_is_taken(target: &Target) {
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&target.topic("+"), Q1);
    let aliases = 1..=maximum(&writer).min(64);
    for alias in aliases.clone().chain([maximum(&writer)]) {
        aliased(
            &mut writer,
            &target.topic(&format!("{alias}")),
            alias,
            b"",
            Q1,
        );
        reader.must_take(&target.topic(&format!("{alias}")), b"");
    }
    for alias in aliases {
        aliased(&mut writer, "", alias, b"x", Q1);
        reader.must_take(&target.topic(&format!("{alias}")), b"x");
    }
}

/// 5: MQTT-3.3.2-12. An alias stands for the topic that was given last.
fn an_alias_may_be_given_again(target: &Target) {
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&target.topic("+"), Q1);
    for rest in ["a", "b", "a"] {
        let topic = target.topic(rest);
        aliased(&mut writer, &topic, 2, b"1", Q1);
        aliased(&mut writer, "", 2, b"2", Q1);
        reader.must_take(&topic, b"1");
        reader.must_take(&topic, b"2");
    }
}

/// 5: MQTT-3.3.2-8. 0 is no alias.
fn alias_0_ends_the_connection(target: &Target) {
    let mut body = field(target.topic("x").as_bytes());
    body.extend([3, 0x23, 0, 0]);
    target.join("a").must_end_after(&packet(0x30, &body), 0x94);
}

/// 5: MQTT-3.3.2-9, MQTT-3.2.2-17. An alias above the maximum that was declared ends the connection.
fn an_alias_above_the_maximum_ends_the_connection(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    let Some(above) = maximum(&peer).checked_add(1) else {
        // There is none above.
        return;
    };
    peer.send(&Packet::Publish(Publish {
        topic_alias: NonZeroU16::new(above),
        ..Publish::new(&topic, b"x")
    }));
    peer.must_end(0x94);
}

/// 5: MQTT-4.13.1-1. An alias that stands for nothing is a protocol error.
fn an_unknown_alias_ends_the_connection(target: &Target) {
    let mut peer = target.join("a");
    peer.send(&Packet::Publish(Publish {
        topic_alias: NonZeroU16::new(1),
        ..Publish::new("", b"x")
    }));
    peer.must_end(0x82);
}

/// 5: MQTT-3.3.2-7. The next connection of the same session knows none of them.
fn aliases_end_with_their_connection(target: &Target) {
    let mut peer = target.resume("a");
    aliased(&mut peer, &target.topic("x"), 1, b"", Q1);
    peer.leave();
    let mut peer = target.resume("a");
    assert!(peer.session_present());
    peer.send(&Packet::Publish(Publish {
        topic_alias: NonZeroU16::new(1),
        ..Publish::new("", b"x")
    }));
    peer.must_end(0x82);
}

/// 5: MQTT-3.3.2-12. The same number is another topic for another client.
fn aliases_of_clients_are_apart(target: &Target) {
    let mut reader = target.join("r");
    reader.must_subscribe(&target.topic("+"), Q1);
    let mut writers = ["a", "b"].map(|name| (target.join(name), target.topic(name)));
    for (writer, topic) in &mut writers {
        aliased(writer, topic, 1, b"1", Q1);
        reader.must_take(topic, b"1");
    }
    for (writer, topic) in &mut writers {
        aliased(writer, "", 1, b"2", Q1);
        reader.must_take(topic, b"2");
    }
}

/// 5: MQTT-3.1.2-26, MQTT-3.1.2-27. A client that said nothing of aliases is sent none.
fn no_alias_is_sent_to_whoever_takes_none(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    for _ in 0..5 {
        writer.must_publish(&topic, b"x", Q1);
        assert_eq!(reader.must_take(&topic, b"x").alias, None);
    }
}

/// 5: MQTT-3.3.2-11, MQTT-3.1.2-26. Aliases that the broker sends, if it sends any, are within the client's maximum and stand
/// for the right topic.
fn aliases_that_are_sent_keep_to_the_maximum(target: &Target) {
    let id = target.id("r");
    let mut connect = target.connect(&id);
    connect.properties.topic_alias_max = 2;
    let mut reader = target.open(&connect);
    let mut writer = target.join("w");
    reader.must_subscribe(&target.topic("+"), Q1);
    let mut known = std::collections::BTreeMap::new();
    for number in 0..12 {
        let topic = target.topic(&format!("{}", number % 4));
        writer.must_publish(&topic, topic.as_bytes(), Q1);
        let message = reader.take();
        if let Some(alias) = message.alias {
            assert!((1..=2).contains(&alias));
            if !message.topic.is_empty() {
                known.insert(alias, message.topic.clone());
            }
            assert_eq!(
                known.get(&alias).map(String::as_bytes),
                Some(message.payload.as_slice())
            );
        } else {
            assert_eq!(message.topic.as_bytes(), message.payload);
        }
    }
}

/// 5: MQTT-3.3.2-12. Aliases work for QoS 0, 1 and 2, for retained messages, and for those that wait for a session.
fn an_alias_works_in_every_quality(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Qos::ExactlyOnce);
    let mut writer = target.join("w");
    aliased(&mut writer, &topic, 1, b"first", Q1);
    reader.must_take(&topic, b"first");
    for qos in [Qos::AtMostOnce, Q1, Qos::ExactlyOnce] {
        aliased(&mut writer, "", 1, b"x", qos);
        reader.must_take(&topic, b"x");
    }
    reader.leave();
    aliased(&mut writer, "", 1, b"waits", Q1);
    writer.publish_as(&Publish {
        qos: Q1,
        retain: true,
        topic_alias: NonZeroU16::new(1),
        ..Publish::new("", b"kept")
    });
    let mut reader = target.resume("r");
    reader.must_take(&topic, b"waits");
    reader.must_take(&topic, b"kept");
    let mut later = target.join("l");
    later.must_subscribe(&topic, Q1);
    later.must_take(&topic, b"kept");
    writer.retain(&topic, b"", Q1);
}
