//! Retained messages.
use keygate_protocol::mqtt::{Publish, Qos, RetainHandling, SubscriptionOptions};

use super::case::{Case, both, v5, v311};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(the_last_one_is_kept),
    both!(one_of_qos_0_replaces_one_of_qos_1),
    both!(an_empty_one_removes),
    both!(an_empty_one_is_not_kept),
    both!(others_neither_store_nor_remove),
    both!(a_new_subscription_gets_every_match),
    both!(its_qos_is_kept),
    v311!(only_new_subscriptions_see_the_flag),
    v5!(the_flag_is_cleared_unless_asked_for),
    v5!(retain_as_published_keeps_the_flag),
    v5!(handling_0_sends_every_time),
    v5!(handling_1_sends_once),
    v5!(handling_2_sends_nothing),
    both!(they_outlive_their_publisher),
    both!(what_was_sent_before_is_not_sent_as_retained_later),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// What a new client gets that subscribes to this.
fn kept(target: &Target, filter: &str) -> Vec<(String, Vec<u8>)> {
    let mut reader = target.join("k");
    reader.must_subscribe(filter, Q2);
    let mut writer = target.join("f");
    let mut found: Vec<_> = reader
        .drain(&mut writer, Q2)
        .into_iter()
        .map(|message| {
            assert!(message.retain, "{message:?}");
            (message.topic, message.payload)
        })
        .collect();
    found.sort();
    reader.leave();
    found
}

fn one(topic: &str, payload: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(topic.to_owned(), payload.to_vec())]
}

/// 5: MQTT-3.3.1-5. 3.1.1: MQTT-3.3.1-5, MQTT-3.3.1-6. The newest retained message of a topic takes the place of the one
/// before, at any QoS.
fn the_last_one_is_kept(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    for (payload, qos) in [(b"1", Q1), (b"2", Q2), (b"3", Q0), (b"4", Q1)] {
        writer.retain(&topic, payload, qos);
        writer.ping();
        assert_eq!(kept(target, &topic), one(&topic, payload));
    }
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-5. 3.1.1: MQTT-3.3.1-7. One with QoS 0 discards the old one.
fn one_of_qos_0_replaces_one_of_qos_1(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    writer.retain(&topic, b"old", Q1);
    writer.retain(&topic, b"new", Q0);
    writer.ping();
    let found = kept(target, &topic);
    // A broker may forget the new one, but it may not go on with the old one.
    assert!(found == one(&topic, b"new") || !target.exact && found.is_empty());
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-6. 3.1.1: MQTT-3.3.1-10. An empty one removes what was kept, and is delivered like any other.
fn an_empty_one_removes(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    for qos in [Q0, Q1, Q2] {
        writer.retain(&topic, b"x", Q1);
        reader.must_subscribe(&topic, Q2);
        reader.must_take(&topic, b"x");
        writer.retain(&topic, b"", qos);
        reader.must_take(&topic, b"");
        assert_eq!(kept(target, &topic), []);
        reader.unsubscribe(&[&topic]);
    }
}

/// 5: MQTT-3.3.1-7. 3.1.1: MQTT-3.3.1-11. An empty one is not kept where there was none.
fn an_empty_one_is_not_kept(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    for qos in [Q0, Q1, Q2] {
        writer.retain(&topic, b"", qos);
        writer.ping();
        assert_eq!(kept(target, &topic), []);
    }
}

/// 5: MQTT-3.3.1-8. 3.1.1: MQTT-3.3.1-12. A message without the flag is not kept, and does not touch what is.
fn others_neither_store_nor_remove(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    for payload in [b"x".as_slice(), b""] {
        for qos in [Q0, Q1, Q2] {
            writer.must_publish(&topic, payload, qos);
        }
    }
    assert_eq!(kept(target, &topic), []);
    writer.retain(&topic, b"kept", Q1);
    for payload in [b"x".as_slice(), b""] {
        for qos in [Q0, Q1, Q2] {
            writer.must_publish(&topic, payload, qos);
        }
    }
    assert_eq!(kept(target, &topic), one(&topic, b"kept"));
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-9. 3.1.1: MQTT-3.3.1-6, MQTT-3.3.1-8. A new subscription gets the retained message of every topic that
/// it matches, and of no other.
fn a_new_subscription_gets_every_match(target: &Target) {
    let mut writer = target.join("w");
    let topics: Vec<String> = ["a", "a/b", "a/b/c", "a/c", "b", "b/b", "a/"]
        .map(|rest| target.topic(rest))
        .to_vec();
    for topic in &topics {
        writer.retain(topic, topic.as_bytes(), Q1);
    }
    for (rest, expected) in [
        ("#", &[0, 1, 2, 3, 4, 5, 6][..]),
        ("a/#", &[0, 1, 2, 3, 6]),
        ("a/+", &[1, 3, 6]),
        ("+/b", &[1, 5]),
        ("+", &[0, 4]),
        ("a", &[0]),
        ("c/#", &[]),
        ("+/+/+", &[2]),
    ] {
        let mut expected: Vec<_> = expected
            .iter()
            .map(|at| (topics[*at].clone(), topics[*at].clone().into_bytes()))
            .collect();
        expected.sort();
        assert_eq!(kept(target, &target.topic(rest)), expected, "{rest}");
    }
    for topic in &topics {
        writer.retain(topic, b"", Q1);
    }
}

/// 5: MQTT-3.8.4-8. 3.1.1: MQTT-3.3.1-5, MQTT-3.8.4-6. The QoS is kept with the message: the lower of it and of the
/// subscription's counts.
fn its_qos_is_kept(target: &Target) {
    let mut writer = target.join("w");
    for published in [Q0, Q1, Q2] {
        let topic = target.topic(&format!("q{}", published.level()));
        writer.retain(&topic, b"x", published);
        writer.ping();
        for granted in [Q0, Q1, Q2] {
            let mut reader = target.join("r");
            reader.must_subscribe(&topic, granted);
            let message = reader.must_take(&topic, b"x");
            assert_eq!((message.qos, message.dup), (published.min(granted), false));
            reader.leave();
        }
        writer.retain(&topic, b"", Q1);
    }
}

/// 3.1.1: MQTT-3.3.1-8, MQTT-3.3.1-9. A new subscription gets the message with the flag, one that was there without.
fn only_new_subscriptions_see_the_flag(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    writer.retain(&topic, b"1", Q1);
    assert!(!reader.must_take(&topic, b"1").retain);
    let mut second = target.join("s");
    second.must_subscribe(&topic, Q1);
    assert!(second.must_take(&topic, b"1").retain);
    writer.retain(&topic, b"", Q1);
}

fn options(retain_handling: RetainHandling, retain_as_published: bool) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: Q1,
        retain_handling,
        retain_as_published,
        ..SubscriptionOptions::default()
    }
}

/// 5: MQTT-3.3.1-12. To a subscription that was there, it is a message like any other.
fn the_flag_is_cleared_unless_asked_for(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    writer.retain(&topic, b"1", Q1);
    assert!(!reader.must_take(&topic, b"1").retain);
    writer.retain(&topic, b"", Q1);
    assert!(!reader.must_take(&topic, b"").retain);
}

/// 5: MQTT-3.3.1-13. With Retain As Published the flag arrives as it was sent: set and not set.
fn retain_as_published_keeps_the_flag(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    assert_eq!(
        reader.subscribe_as(&topic, options(RetainHandling::Send, true), None),
        1
    );
    for retain in [true, false, true] {
        writer.publish_as(&Publish {
            retain,
            qos: Q1,
            ..Publish::new(&topic, b"x")
        });
        assert_eq!(reader.must_take(&topic, b"x").retain, retain);
    }
    writer.retain(&topic, b"", Q1);
}

fn subscribe(reader: &mut Peer, topic: &str, handling: RetainHandling) {
    assert_eq!(
        reader.subscribe_as(topic, options(handling, false), None),
        1
    );
}

/// 5: MQTT-3.3.1-9, MQTT-3.8.4-4. Handling 0: they come with every SUBSCRIBE.
fn handling_0_sends_every_time(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    writer.retain(&topic, b"x", Q1);
    for _ in 0..3 {
        subscribe(&mut reader, &topic, RetainHandling::Send);
        assert!(reader.must_take(&topic, b"x").retain);
    }
    assert_eq!(reader.drain(&mut writer, Q1), []);
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-10. Handling 1: they come with a SUBSCRIBE that is new, and not with one that replaces; after
/// UNSUBSCRIBE it is new again.
fn handling_1_sends_once(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    writer.retain(&topic, b"x", Q1);
    for _ in 0..2 {
        subscribe(&mut reader, &topic, RetainHandling::SendIfNew);
        assert!(reader.must_take(&topic, b"x").retain);
        subscribe(&mut reader, &topic, RetainHandling::SendIfNew);
        assert_eq!(reader.drain(&mut writer, Q1), []);
        reader.unsubscribe(&[&topic]);
    }
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-11. Handling 2: none comes; what is published afterwards does.
fn handling_2_sends_nothing(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    writer.retain(&topic, b"old", Q1);
    subscribe(&mut reader, &topic, RetainHandling::DoNotSend);
    assert_eq!(reader.drain(&mut writer, Q1), []);
    writer.retain(&topic, b"new", Q1);
    reader.must_take(&topic, b"new");
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-5, MQTT-4.1.0-2. 3.1.1: MQTT-3.1.2-7. They are no part of the session of whoever published them.
fn they_outlive_their_publisher(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    writer.retain(&topic, b"x", Q1);
    writer.leave();
    // The session is gone; a new one under the same id is thrown away as well.
    target.join("w").leave();
    assert_eq!(kept(target, &topic), one(&topic, b"x"));
    target.join("w").retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.1-12, MQTT-4.5.0-1. 3.1.1: MQTT-3.3.1-9. A retained publish that waits for a session that is away comes as
/// an ordinary message, for the subscription was there.
fn what_was_sent_before_is_not_sent_as_retained_later(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    reader.leave();
    let mut writer = target.join("w");
    writer.retain(&topic, b"x", Q1);
    let mut reader = target.resume("r");
    assert!(!reader.must_take(&topic, b"x").retain);
    assert_eq!(reader.drain(&mut writer, Q1), []);
    writer.retain(&topic, b"", Q1);
}
