//! Wills.
use std::time::Duration;

use keygate_protocol::mqtt::{
    Connect, Disconnect, MessageProperties, Packet, PayloadFormat, Qos, ReasonCode, UserProperties,
    Will,
};
use keygate_tests::clock::Stopwatch;

use super::case::{Case, both, v5};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(a_lost_connection_publishes_the_will),
    both!(an_error_publishes_the_will),
    both!(silence_publishes_the_will).waiting(),
    both!(a_takeover_publishes_the_will),
    both!(a_goodbye_discards_the_will),
    v5!(a_goodbye_can_ask_for_the_will),
    both!(a_will_is_published_once),
    both!(no_will_no_message),
    both!(a_will_has_its_qos),
    both!(a_will_is_retained_only_if_it_says_so),
    both!(the_next_connection_has_its_own_will),
    v5!(a_will_carries_its_properties),
    v5!(a_will_waits_for_its_delay).waiting(),
    v5!(whoever_comes_back_in_time_has_no_will).waiting(),
    v5!(the_end_of_the_session_ends_the_delay).waiting(),
    v5!(a_clean_start_ends_the_delay),
    v5!(a_goodbye_discards_a_delayed_will),
    v5!(properties_of_a_will_are_checked),
    both!(a_will_of_a_session_that_stays_is_published),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

fn will(topic: &str) -> Will<'_> {
    Will {
        topic,
        payload: b"gone",
        qos: Q1,
        retain: false,
        delay_s: 0,
        properties: MessageProperties::default(),
    }
}

/// A watcher of the topic, and a CONNECT with this will.
fn watch(target: &Target, topic: &str) -> Peer {
    let mut watcher = target.join("w");
    watcher.must_subscribe(topic, Q2);
    watcher
}

fn with_will<'a>(target: &'a Target, id: &'a str, will: Will<'a>) -> Connect<'a> {
    Connect {
        will: Some(will),
        ..target.connect(id)
    }
}

/// 5: MQTT-3.1.2-7, MQTT-3.1.2-8. 3.1.1: MQTT-3.1.2-8. A connection that ends without DISCONNECT publishes its will.
fn a_lost_connection_publishes_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let mut peer = target.open(&with_will(target, &id, will(&topic)));
    peer.ping();
    assert_eq!(watcher.drain(&mut peer, Q1), []);
    peer.cut();
    watcher.must_take(&topic, b"gone");
}

/// 5: MQTT-3.1.2-8. 3.1.1: MQTT-3.1.2-8. So does a connection that the broker closes because of what came.
fn an_error_publishes_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let peer = target.open(&with_will(target, &id, will(&topic)));
    peer.must_end_after(&[0x00, 0], 0x81);
    watcher.must_take(&topic, b"gone");
}

/// 5: MQTT-3.1.2-8, MQTT-3.1.2-22. 3.1.1: MQTT-3.1.2-8, MQTT-3.1.2-24. And one that says nothing for too long.
fn silence_publishes_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let mut connect = with_will(target, &id, will(&topic));
    connect.keep_alive_s = 1;
    target.open(&connect).must_end(0x8d);
    watcher.must_take(&topic, b"gone");
}

/// 5: MQTT-3.1.2-8, MQTT-3.1.4-3. 3.1.1: MQTT-3.1.2-8, MQTT-3.1.4-2. And one whose place another takes.
fn a_takeover_publishes_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let old = target.open(&with_will(target, &id, will(&topic)));
    let mut new = target.join("a");
    old.must_end(0x8e);
    watcher.must_take(&topic, b"gone");
    assert_eq!(watcher.drain(&mut new, Q1), []);
}

/// 5: MQTT-3.14.4-3, MQTT-3.1.2-10. 3.1.1: MQTT-3.14.4-3, MQTT-3.1.2-10. DISCONNECT is the end without a will.
fn a_goodbye_discards_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    target.open(&with_will(target, &id, will(&topic))).leave();
    assert_eq!(watcher.drain(&mut target.join("v"), Q1), []);
}

/// 5: MQTT-3.1.2-8, MQTT-3.14.4-3. DISCONNECT with 0x04 asks for the will all the same; so does one that reports an error.
fn a_goodbye_can_ask_for_the_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    for code in [
        ReasonCode::DisconnectWithWill,
        ReasonCode::UnspecifiedError,
        ReasonCode::PacketTooLarge,
    ] {
        let mut peer = target.open(&with_will(target, &id, will(&topic)));
        peer.send(&Packet::Disconnect(Disconnect::new(code)));
        assert_eq!(peer.rest(), None);
        watcher.must_take(&topic, b"gone");
    }
}

/// 5: MQTT-3.1.2-10. 3.1.1: MQTT-3.1.2-10. A will that was published is gone: the next connection of the session has none.
fn a_will_is_published_once(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let lasting = target.lasting(&id);
    let connect = Connect {
        will: Some(will(&topic)),
        ..lasting
    };
    target.open(&connect).cut();
    watcher.must_take(&topic, b"gone");
    let mut peer = target.open(&lasting);
    assert!(peer.session_present());
    peer.ping();
    peer.wire.send_bytes(&[0x00, 0]);
    peer.rest();
    assert_eq!(watcher.drain(&mut target.join("v"), Q1), []);
}

/// 5: MQTT-3.1.2-7. 3.1.1: MQTT-3.1.2-12. Who left no will has none published.
fn no_will_no_message(target: &Target) {
    let filter = target.topic("#");
    let mut watcher = watch(target, &filter);
    let mut peer = target.join("a");
    peer.wire.send_bytes(&[0x00, 0]);
    peer.rest();
    assert_eq!(watcher.drain(&mut target.join("v"), Q1), []);
}

/// 5: MQTT-3.1.2-12. 3.1.1: MQTT-3.1.2-14, MQTT-3.1.2-9. A will is published at the QoS that it asks for: 0, 1 or 2.
fn a_will_has_its_qos(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    for qos in [Q0, Q1, Q2] {
        let will = Will {
            qos,
            ..will(&topic)
        };
        target.open(&with_will(target, &id, will)).cut();
        let message = watcher.must_take(&topic, b"gone");
        assert_eq!((message.qos, message.dup), (qos, false));
    }
}

/// 5: MQTT-3.1.2-14, MQTT-3.1.2-15. 3.1.1: MQTT-3.1.2-16, MQTT-3.1.2-17. With Will Retain the will is kept, without it is
/// not.
fn a_will_is_retained_only_if_it_says_so(target: &Target) {
    let id = target.id("a");
    for retain in [false, true] {
        let topic = target.topic(if retain { "kept" } else { "not" });
        let mut watcher = watch(target, &topic);
        let will = Will {
            retain,
            ..will(&topic)
        };
        target.open(&with_will(target, &id, will)).cut();
        watcher.must_take(&topic, b"gone");
        let mut later = target.join("l");
        later.must_subscribe(&topic, Q1);
        let mut writer = target.join("v");
        let found = later.drain(&mut writer, Q1);
        assert_eq!(found.len(), usize::from(retain), "{found:?}");
        assert!(found.iter().all(|message| message.retain));
        writer.retain(&topic, b"", Q1);
    }
}

/// 5: MQTT-3.1.2-7, MQTT-3.1.2-8. 3.1.1: MQTT-3.1.2-8. Each CONNECT brings its own will, or none.
fn the_next_connection_has_its_own_will(target: &Target) {
    let topics = [target.topic("1"), target.topic("2")];
    let id = target.id("a");
    let mut watcher = watch(target, &target.topic("+"));
    for topic in &topics {
        let connect = Connect {
            will: Some(will(topic)),
            ..target.lasting(&id)
        };
        target.open(&connect).cut();
        watcher.must_take(topic, b"gone");
    }
}

/// 5: MQTT-3.1.3-10, MQTT-3.3.2-4, MQTT-3.3.2-17. What a will carries arrives, in its order.
fn a_will_carries_its_properties(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let answers = target.topic("answers");
    let mut watcher = watch(target, &topic);
    let pairs = [("b", "1"), ("a", "2"), ("b", "0")];
    let will = Will {
        properties: MessageProperties {
            payload_format: Some(PayloadFormat::Utf8),
            expiry_s: Some(600),
            content_type: Some("text/plain"),
            response_topic: Some(&answers),
            correlation_data: Some(b"\x00\x01"),
            user_properties: UserProperties::new(&pairs),
        },
        ..will(&topic)
    };
    target.open(&with_will(target, &id, will)).cut();
    let message = watcher.must_take(&topic, b"gone");
    assert_eq!(message.utf8, Some(true));
    assert!(
        message
            .expiry_s
            .is_some_and(|left| (590..=600).contains(&left))
    );
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    assert_eq!(message.response_topic.as_deref(), Some(answers.as_str()));
    assert_eq!(message.correlation.as_deref(), Some(&[0, 1][..]));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(message.user_properties, pairs);
}

fn delayed<'a>(target: &'a Target, id: &'a str, topic: &'a str, delay_s: u32) -> Connect<'a> {
    Connect {
        will: Some(Will {
            delay_s,
            ..will(topic)
        }),
        ..target.lasting(id)
    }
}

/// 5: MQTT-3.1.2-8. A will with a delay comes when that is over, and not before.
fn a_will_waits_for_its_delay(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let peer = target.open(&delayed(target, &id, &topic, 2));
    let clock = Stopwatch::start();
    peer.cut();
    watcher.must_take(&topic, b"gone");
    assert!(clock.elapsed() >= Duration::from_millis(1500), "too early");
}

/// 5: MQTT-3.1.3-9, MQTT-3.1.2-8. Whoever is back before the delay is over has no will published.
fn whoever_comes_back_in_time_has_no_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    target.open(&delayed(target, &id, &topic, 2)).cut();
    let mut peer = target.open(&target.lasting(&id));
    assert!(peer.session_present());
    peer.hear_nothing_for(Duration::from_millis(4500));
    assert_eq!(watcher.drain(&mut peer, Q1), []);
}

/// 5: MQTT-3.1.2-8. A session that ends before the delay is over publishes the will when it ends.
fn the_end_of_the_session_ends_the_delay(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    for expiry_s in [0, 1] {
        let mut connect = delayed(target, &id, &topic, 600);
        connect.properties.session_expiry_s = expiry_s;
        target.open(&connect).cut();
        watcher.must_take(&topic, b"gone");
    }
}

/// 5: MQTT-3.1.2-8, MQTT-3.1.2-4. A clean start ends the session, and with it the delay.
fn a_clean_start_ends_the_delay(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    target.open(&delayed(target, &id, &topic, 600)).cut();
    let peer = target.open(&target.connect(&id));
    assert!(!peer.session_present());
    watcher.must_take(&topic, b"gone");
}

/// 5: MQTT-3.14.4-3. DISCONNECT discards a will with a delay, too.
fn a_goodbye_discards_a_delayed_will(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    target.open(&delayed(target, &id, &topic, 600)).leave();
    // The clean start would publish what is there.
    let mut peer = target.open(&target.connect(&id));
    assert_eq!(watcher.drain(&mut peer, Q1), []);
}

/// 5: MQTT-4.13.1-1. A will carries properties of a message and its delay, each once.
fn properties_of_a_will_are_checked(target: &Target) {
    use super::bytes::{field, packet};
    let with = |properties: &[u8]| {
        let mut body = field(b"MQTT");
        body.extend([5, 6, 0, 60, 0]);
        body.extend(field(target.id("a").as_bytes()));
        body.push(properties.len() as u8);
        body.extend(properties);
        body.extend(field(target.topic("x").as_bytes()));
        body.extend(field(b"gone"));
        packet(0x10, &body)
    };
    target.must_refuse(&with(&[0x11, 0, 0, 0, 1]), 0x81, None);
    target.must_refuse(&with(&[0x23, 0, 1]), 0x81, None);
    target.must_refuse(&with(&[0x01, 2]), 0x82, None);
    let delay = [0x18, 0, 0, 0, 1];
    target.must_refuse(&with(&[delay, delay].concat()), 0x82, None);
}

/// 5: MQTT-3.1.2-7, MQTT-3.1.2-10. 3.1.1: MQTT-3.1.2-8. That a session outlives its connection does not keep the will back, and does not
/// publish it again.
fn a_will_of_a_session_that_stays_is_published(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut watcher = watch(target, &topic);
    let connect = Connect {
        will: Some(will(&topic)),
        ..target.lasting(&id)
    };
    target.open(&connect).cut();
    watcher.must_take(&topic, b"gone");
    target.resume("a").leave();
    assert_eq!(watcher.drain(&mut target.join("v"), Q1), []);
}
