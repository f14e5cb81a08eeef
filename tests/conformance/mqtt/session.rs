//! What outlives a connection, and how long.
use std::time::Duration;

use keygate_protocol::mqtt::{Disconnect, Packet, Qos, ReasonCode};

use super::case::{Case, Ground, both, v5, v311};
use super::stage::TIGHT_EXPIRY_S;
use super::target::{LASTING_S, Target};

pub(super) const CASES: &[Case] = &[
    both!(a_clean_start_discards_the_session),
    both!(a_session_is_resumed),
    both!(without_a_session_a_new_one_begins),
    both!(session_present_tells_the_truth),
    v311!(a_clean_session_ends_with_its_connection),
    v5!(without_an_expiry_the_session_ends_with_its_connection),
    v5!(a_session_ends_when_its_time_is_over).waiting(),
    v5!(a_session_does_not_end_before_its_time).waiting(),
    v5!(an_open_connection_keeps_its_session).waiting(),
    v5!(disconnect_may_change_the_expiry).waiting(),
    v5!(disconnect_may_end_the_session),
    v5!(disconnect_cannot_make_a_session_stay),
    v5!(the_expiry_is_that_of_the_last_connect).waiting(),
    v5!(the_largest_expiry_is_for_ever),
    v5!(a_capped_expiry_is_told_and_kept)
        .on(Ground::Tight)
        .waiting(),
    both!(a_takeover_keeps_the_session),
    both!(a_clean_takeover_discards_the_session),
    both!(subscriptions_and_messages_survive_a_lost_connection),
    both!(the_session_is_the_same_in_the_next_connection_whatever_its_version),
    both!(messages_of_qos_0_do_not_have_to_wait),
    both!(reconnecting_many_times_loses_nothing),
];

const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// 5: MQTT-3.1.2-4, MQTT-3.1.4-4. 3.1.1: MQTT-3.1.2-6, MQTT-3.1.4-3. A clean start throws the old session away:
/// subscriptions, what waited, what was on its way in either direction.
fn a_clean_start_discards_the_session(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    let mut peer = target.resume("a");
    peer.must_subscribe(&topic, Q2);
    writer.must_publish(&topic, b"1", Q2);
    peer.message();
    let id = peer.start_publish(&target.topic("y"), b"half", Q2);
    peer.pubrec(id);
    peer.cut();
    writer.must_publish(&topic, b"2", Q1);
    let peer = target.join("a");
    assert!(!peer.session_present());
    peer.leave();
    let mut peer = target.resume("a");
    writer.must_publish(&topic, b"3", Q2);
    assert_eq!(peer.drain(&mut writer, Q2), []);
    // The half of the exchange is forgotten: the identifier is another message.
    let mut reader = target.join("r");
    reader.must_subscribe(&target.topic("y"), Q2);
    let mut sender = target.resume("a");
    while sender.packet_id() < id {}
    sender.send(&Packet::Publish(keygate_protocol::mqtt::Publish {
        qos: Q2,
        packet_id: Some(id),
        ..keygate_protocol::mqtt::Publish::new(&target.topic("y"), b"new")
    }));
    assert!(sender.pubrec(id) < 0x80);
    sender.send(&Packet::Pubrel(keygate_protocol::mqtt::Ack::new(
        id,
        ReasonCode::Success,
    )));
    assert_eq!(sender.pubcomp(id), 0);
    reader.must_take(&target.topic("y"), b"new");
}

/// 5: MQTT-3.1.2-5, MQTT-3.1.2-23. 3.1.1: MQTT-3.1.2-4, MQTT-4.1.0-1. Subscriptions go on without being made again.
fn a_session_is_resumed(target: &Target) {
    let topic = target.topic("x");
    let mut writer = target.join("w");
    let mut peer = target.resume("a");
    peer.must_subscribe(&topic, Q1);
    for _ in 0..2 {
        peer.leave();
        peer = target.resume("a");
        assert!(peer.session_present());
        writer.must_publish(&topic, b"x", Q1);
        peer.must_take(&topic, b"x");
    }
}

/// 5: MQTT-3.1.2-6. 3.1.1: MQTT-3.1.2-4. Without a session there is nothing to resume, and that is no error.
fn without_a_session_a_new_one_begins(target: &Target) {
    let mut peer = target.resume("a");
    assert!(!peer.session_present());
    peer.must_have_nothing();
}

/// 5: MQTT-3.2.2-2, MQTT-3.2.2-3. 3.1.1: MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3. Session Present says whether there was one, and not
/// after a clean start.
fn session_present_tells_the_truth(target: &Target) {
    let id = target.id("a");
    let clean = |clean_start| {
        let mut connect = target.lasting(&id);
        connect.clean_start = clean_start;
        target.open(&connect)
    };
    for (clean_start, present) in [(false, false), (false, true), (true, false)] {
        let peer = clean(clean_start);
        assert_eq!(peer.session_present(), present);
        peer.leave();
    }
    // A 3.1.1 session that began clean is gone; one of MQTT 5 has its expiry.
    let peer = clean(false);
    assert_eq!(peer.session_present(), target.is_v5());
    peer.leave();
}

/// 3.1.1: MQTT-3.1.2-6, MQTT-4.1.0-2. With CleanSession the session lasts as long as the connection, and nothing of it is left
/// afterwards.
fn a_clean_session_ends_with_its_connection(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q1);
    peer.must_take(&topic, b"x");
    peer.leave();
    writer.must_publish(&topic, b"x", Q1);
    let mut peer = target.resume("a");
    assert!(!peer.session_present());
    assert_eq!(peer.drain(&mut writer, Q1), []);
}

/// 5: MQTT-4.1.0-2. An expiry of 0, or none, is the end of the session with the connection.
fn without_an_expiry_the_session_ends_with_its_connection(target: &Target) {
    let id = target.id("a");
    let topic = target.topic("x");
    for _ in 0..2 {
        let mut connect = target.lasting(&id);
        connect.properties.session_expiry_s = 0;
        let mut peer = target.open(&connect);
        assert!(!peer.session_present());
        peer.must_subscribe(&topic, Q1);
        peer.leave();
    }
    assert!(!target.resume("a").session_present());
}

/// 5: MQTT-4.1.0-2. When its time is over, the session is gone with all that it held.
fn a_session_ends_when_its_time_is_over(target: &Target) {
    let id = target.id("a");
    let topic = target.topic("x");
    let mut connect = target.lasting(&id);
    connect.properties.session_expiry_s = 1;
    let mut peer = target.open(&connect);
    peer.must_subscribe(&topic, Q1);
    peer.cut();
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q1);
    writer.hear_nothing_for(Duration::from_millis(4000));
    let mut peer = target.open(&connect);
    assert!(!peer.session_present());
    assert_eq!(peer.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.1.2-23. Before its time is over, the session is there.
fn a_session_does_not_end_before_its_time(target: &Target) {
    let id = target.id("a");
    let mut connect = target.lasting(&id);
    connect.properties.session_expiry_s = 30;
    target.open(&connect).leave();
    target
        .join("w")
        .hear_nothing_for(Duration::from_millis(3000));
    assert!(target.open(&connect).session_present());
}

/// 5: MQTT-4.1.0-1. The time runs only while nobody is connected.
fn an_open_connection_keeps_its_session(target: &Target) {
    let id = target.id("a");
    let topic = target.topic("x");
    let mut connect = target.lasting(&id);
    connect.properties.session_expiry_s = 1;
    let mut peer = target.open(&connect);
    peer.must_subscribe(&topic, Q1);
    peer.hear_nothing_for(Duration::from_millis(4000));
    target.join("w").must_publish(&topic, b"x", Q1);
    peer.must_take(&topic, b"x");
    peer.leave();
    assert!(target.open(&connect).session_present());
}

fn goodbye(expiry_s: Option<u32>) -> Disconnect<'static> {
    Disconnect {
        session_expiry_s: expiry_s,
        ..Disconnect::new(ReasonCode::Success)
    }
}

/// 5: MQTT-3.1.2-23, MQTT-4.1.0-2. DISCONNECT may shorten the session's life, and lengthen it.
fn disconnect_may_change_the_expiry(target: &Target) {
    for (name, first, then, present) in [("a", 120, 1, false), ("b", 1, 120, true)] {
        let id = target.id(name);
        let mut connect = target.lasting(&id);
        connect.properties.session_expiry_s = first;
        let mut peer = target.open(&connect);
        peer.send(&Packet::Disconnect(goodbye(Some(then))));
        assert_eq!(peer.rest(), None);
        target
            .join("w")
            .hear_nothing_for(Duration::from_millis(4000));
        assert_eq!(target.open(&connect).session_present(), present, "{name}");
    }
}

/// 5: MQTT-4.1.0-2. DISCONNECT with an expiry of 0 ends the session at once.
fn disconnect_may_end_the_session(target: &Target) {
    let mut peer = target.resume("a");
    peer.send(&Packet::Disconnect(goodbye(Some(0))));
    assert_eq!(peer.rest(), None);
    assert!(!target.resume("a").session_present());
}

/// 5: MQTT-4.13.1-1. A session that was to end with its connection cannot be given a life by DISCONNECT.
fn disconnect_cannot_make_a_session_stay(target: &Target) {
    let mut peer = target.join("a");
    peer.send(&Packet::Disconnect(goodbye(Some(60))));
    peer.must_end(0x82);
    assert!(!target.resume("a").session_present());
}

/// 5: MQTT-3.1.2-23, MQTT-4.1.0-2. The expiry counts that the last CONNECT gave.
fn the_expiry_is_that_of_the_last_connect(target: &Target) {
    let id = target.id("a");
    let mut connect = target.lasting(&id);
    target.open(&connect).cut();
    connect.properties.session_expiry_s = 1;
    let peer = target.open(&connect);
    assert!(peer.session_present());
    peer.cut();
    target
        .join("w")
        .hear_nothing_for(Duration::from_millis(4000));
    assert!(!target.open(&connect).session_present());
}

/// 5: MQTT-3.1.2-23. 0xFFFFFFFF does not overflow into the past. (A broker may cap it, and says so.)
fn the_largest_expiry_is_for_ever(target: &Target) {
    let id = target.id("a");
    let mut connect = target.lasting(&id);
    connect.properties.session_expiry_s = u32::MAX;
    let peer = target.open(&connect);
    let told = peer.connack().properties.session_expiry_s;
    assert!(told.is_none_or(|told| told > LASTING_S || told == u32::MAX));
    peer.leave();
    let mut peer = target.open(&connect);
    assert!(peer.session_present());
    peer.send(&Packet::Disconnect(goodbye(Some(0))));
    assert_eq!(peer.rest(), None);
}

/// 5: MQTT-4.1.0-2. A broker that gives less time than was asked for says how much, and keeps to that.
fn a_capped_expiry_is_told_and_kept(target: &Target) {
    let peer = target.resume("a");
    let told = peer.connack().properties.session_expiry_s;
    assert_eq!(told, Some(TIGHT_EXPIRY_S));
    peer.cut();
    let peer = target.resume("a");
    assert!(peer.session_present());
    peer.cut();
    // The watcher's keep-alive is short on this ground; it pings.
    let mut watcher = target.join("w");
    for _ in 0..6 {
        watcher.hear_nothing_for(Duration::from_millis(1000));
        watcher.ping();
    }
    assert!(!target.resume("a").session_present());
}

/// 5: MQTT-3.1.4-3, MQTT-3.1.2-5. 3.1.1: MQTT-3.1.4-2, MQTT-3.1.2-4. Whoever takes over a session that lasts goes on with it: what was
/// unacknowledged comes again.
fn a_takeover_keeps_the_session(target: &Target) {
    let topic = target.topic("x");
    let mut old = target.resume("a");
    old.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    let before = old.message();
    let mut new = target.resume("a");
    assert!(new.session_present());
    old.must_end(0x8e);
    let again = new.must_take(&topic, b"1");
    assert_eq!((again.packet_id, again.dup), (before.packet_id, true));
    writer.must_publish(&topic, b"2", Q1);
    new.must_take(&topic, b"2");
}

/// 5: MQTT-3.1.2-4, MQTT-3.1.4-4. 3.1.1: MQTT-3.1.2-6, MQTT-3.1.4-3. A clean start under a living connection throws its session away.
fn a_clean_takeover_discards_the_session(target: &Target) {
    let topic = target.topic("x");
    let mut old = target.resume("a");
    old.must_subscribe(&topic, Q1);
    let mut new = target.join("a");
    assert!(!new.session_present());
    old.must_end(0x8e);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"x", Q1);
    assert_eq!(new.drain(&mut writer, Q1), []);
}

/// 5: MQTT-4.5.0-1, MQTT-3.1.2-23. 3.1.1: MQTT-3.1.2-5, MQTT-4.5.0-1. Also a connection that breaks leaves its session, and what is published
/// meanwhile is there.
fn subscriptions_and_messages_survive_a_lost_connection(target: &Target) {
    let exact = target.topic("x");
    let wild = target.topic("y/+");
    let mut peer = target.resume("a");
    peer.must_subscribe(&exact, Q1);
    peer.must_subscribe(&wild, Q2);
    peer.cut();
    let mut writer = target.join("w");
    writer.must_publish(&exact, b"1", Q1);
    writer.must_publish(&target.topic("y/1"), b"2", Q1);
    writer.must_publish(&target.topic("z"), b"no", Q1);
    let mut peer = target.resume("a");
    peer.must_take(&exact, b"1");
    peer.must_take(&target.topic("y/1"), b"2");
    assert_eq!(peer.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.1.3-2, MQTT-3.1.2-5. 3.1.1: MQTT-3.1.3-2, MQTT-3.1.2-4. A session belongs to the client id, so it is found again by a client that was
/// upgraded.
fn the_session_is_the_same_in_the_next_connection_whatever_its_version(target: &Target) {
    use keygate_protocol::mqtt::Version;
    let topic = target.topic("x");
    let id = target.id("a");
    let mut peer = target.resume("a");
    peer.must_subscribe(&topic, Q1);
    peer.leave();
    target.join("w").must_publish(&topic, b"x", Q1);
    let other = Target {
        version: match target.version {
            Version::V5 => Version::V311,
            Version::V311 => Version::V5,
        },
        ..target.clone()
    };
    let mut peer = other.open(&other.lasting(&id));
    assert!(peer.session_present());
    peer.must_take(&topic, b"x");
}

/// 5: MQTT-4.3.1-1. 3.1.1: MQTT-4.3.1-1. Messages of QoS 0 may wait or not; if they come later, they come once, with QoS 0.
fn messages_of_qos_0_do_not_have_to_wait(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.resume("a");
    peer.must_subscribe(&topic, Q1);
    peer.leave();
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"0", Qos::AtMostOnce);
    writer.must_publish(&topic, b"1", Q1);
    let mut peer = target.resume("a");
    let found = peer.drain(&mut writer, Q1);
    let payloads: Vec<_> = found.iter().map(|message| message.payload[0]).collect();
    assert!(payloads == *b"1" || payloads == *b"01", "{found:?}");
}

/// 5: MQTT-4.4.0-1, MQTT-4.5.0-1. 3.1.1: MQTT-4.4.0-1, MQTT-4.5.0-1. A reader that is cut off again and again still gets every message.
fn reconnecting_many_times_loses_nothing(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    let mut writer = target.join("w");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..30 {
        writer.must_publish(&topic, &[number], Q1);
        if number % 3 == 0 {
            // Read and not acknowledged; or not even read.
            if number % 2 == 0 {
                seen.insert(reader.message().payload[0]);
            }
            reader.cut();
            reader = target.resume("r");
            assert!(reader.session_present());
        }
    }
    for message in reader.drain(&mut writer, Q1) {
        seen.insert(message.payload[0]);
    }
    assert_eq!(seen.len(), 30);
}
