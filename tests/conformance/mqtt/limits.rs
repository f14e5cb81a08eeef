//! Sizes that one end tells the other, and what is left out to keep to them.
use keygate_protocol::mqtt::{
    MessageProperties, Packet, Publish, Qos, Subscribe, Subscription, UserProperties,
};
use keygate_protocol::topic::TopicFilter;

use super::case::{Case, Ground, v5};
use super::peer::Peer;
use super::stage::{DENIED, TIGHT_PACKET_BYTES};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(nothing_larger_than_the_client_takes),
    v5!(what_is_too_large_counts_as_delivered),
    v5!(what_is_too_large_for_one_reaches_the_others),
    v5!(a_resumed_session_has_the_new_limit),
    v5!(answers_fit_what_the_client_takes).on(Ground::Tight),
    v5!(no_explanations_for_whoever_wants_none).on(Ground::Tight),
    v5!(properties_of_messages_come_without_explanations_too),
    v5!(larger_than_the_broker_takes_ends_the_connection).on(Ground::Tight),
    v5!(exactly_as_large_as_the_client_takes_is_delivered),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// A client that takes packets up to this size.
fn small(target: &Target, name: &str, size: u32) -> Peer {
    let id = target.id(name);
    let mut connect = target.lasting(&id);
    connect.properties.packet_size_max = Some(size);
    target.open(&connect)
}

/// 5: MQTT-3.1.2-24, MQTT-3.1.2-25. Messages that are too large do not come; the others do.
fn nothing_larger_than_the_client_takes(target: &Target) {
    let topic = target.topic("x");
    let mut reader = small(target, "r", 200);
    let mut writer = target.join("w");
    for qos in [Q0, Q1, Q2] {
        reader.must_subscribe(&topic, qos);
        writer.must_publish(&topic, &[b'l'; 300], qos);
        writer.must_publish(&topic, b"small", qos);
        reader.must_take(&topic, b"small");
    }
    writer.retain(&topic, &[b'l'; 300], Q1);
    reader.must_subscribe(&topic, Q1);
    assert_eq!(reader.drain(&mut writer, Q1), []);
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.1.2-25. A message that was too large is as good as acknowledged: it does not use up the client's window and
/// does not wait for the next connection.
fn what_is_too_large_counts_as_delivered(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("r");
    let mut connect = target.lasting(&id);
    connect.properties.packet_size_max = Some(200);
    connect.properties.receive_max = 2;
    let mut reader = target.open(&connect);
    reader.must_subscribe(&topic, Q2);
    let mut writer = target.join("w");
    for qos in [Q1, Q2, Q1, Q2] {
        writer.must_publish(&topic, &[b'l'; 300], qos);
    }
    writer.must_publish(&topic, b"small", Q2);
    reader.must_take(&topic, b"small");
    reader.leave();
    let mut reader = target.resume("r");
    assert!(reader.session_present());
    assert_eq!(reader.drain(&mut writer, Q2), []);
}

/// 5: MQTT-3.1.2-25. The limit of one client is not that of another.
fn what_is_too_large_for_one_reaches_the_others(target: &Target) {
    let topic = target.topic("x");
    let mut tight = small(target, "s", 200);
    let mut wide = target.join("l");
    let mut writer = target.join("w");
    tight.must_subscribe(&topic, Q1);
    wide.must_subscribe(&topic, Q1);
    writer.must_publish(&topic, &[b'l'; 300], Q1);
    wide.must_take(&topic, &[b'l'; 300]);
    assert_eq!(tight.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.1.2-24, MQTT-3.1.2-25. The limit that counts is that of the connection, also for what waited.
fn a_resumed_session_has_the_new_limit(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.resume("r");
    reader.must_subscribe(&topic, Q1);
    reader.leave();
    let mut writer = target.join("w");
    writer.must_publish(&topic, &[b'l'; 300], Q1);
    writer.must_publish(&topic, b"small", Q1);
    let mut reader = small(target, "r", 200);
    reader.must_take(&topic, b"small");
    assert_eq!(reader.drain(&mut writer, Q1), []);
}

/// 5: MQTT-3.1.2-24, MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.6.2-2, MQTT-3.6.2-3, MQTT-3.7.2-2,
/// MQTT-3.7.2-3, MQTT-3.9.2-1, MQTT-3.9.2-2, MQTT-3.11.2-1, MQTT-3.11.2-2, MQTT-3.14.2-3, MQTT-3.14.2-4. Answers keep to the limit, refusals
/// included: explanations are left out.
fn answers_fit_what_the_client_takes(target: &Target) {
    const SIZE: u32 = 40;
    let mut peer = small(target, "a", SIZE);
    let denied = format!("{DENIED}/{}", target.place);
    let topic = target.topic("x");
    assert!(peer.connack().properties.reason_string.is_none());
    for qos in [Q1, Q2] {
        assert_eq!(peer.publish(&denied, b"no", qos), 0x87);
        peer.must_publish(&topic, b"yes", qos);
    }
    for filter in [&denied, &topic] {
        let id = peer.packet_id();
        let asked = [Subscription::new(TopicFilter::new(filter).unwrap(), Q0)];
        peer.send(&Packet::Subscribe(Subscribe::new(id, &asked)));
        let got = peer.wire.packet();
        assert!(got.raw().len() <= SIZE as usize, "{got:02x?}");
    }
    peer.unsubscribe(&[&denied]);
    peer.wire.send_bytes(&[0x62, 2, 0x12, 0x34]);
    let got = peer.wire.packet();
    assert!(got.raw().len() <= SIZE as usize, "{got:02x?}");
    peer.wire.send_bytes(&[0x00, 0]);
    while let keygate_tests::wire::Heard::Packet(got) = peer.wire.hear() {
        assert!(got.raw().len() <= SIZE as usize, "{got:02x?}");
    }
}

/// 5: MQTT-3.1.2-29. Whoever wants no explanations gets none but in CONNACK and DISCONNECT.
fn no_explanations_for_whoever_wants_none(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.properties.request_problem_information = false;
    let mut peer = target.open(&connect);
    let denied = format!("{DENIED}/{}", target.place);
    let filters = [&denied];
    let plain = |reason: Option<&str>, properties: UserProperties<'_>| {
        assert_eq!(reason, None);
        assert!(properties.is_empty());
    };
    let id = peer.start_publish(&denied, b"no", Q1);
    peer.until(|packet| match packet {
        Packet::Puback(ack) if ack.packet_id == id => {
            plain(ack.reason_string, ack.user_properties);
            Some(())
        }
        _ => None,
    });
    let id = peer.start_publish(&denied, b"no", Q2);
    peer.until(|packet| match packet {
        Packet::Pubrec(ack) if ack.packet_id == id => {
            plain(ack.reason_string, ack.user_properties);
            Some(())
        }
        _ => None,
    });
    let id = peer.packet_id();
    let asked = filters.map(|filter| Subscription::new(TopicFilter::new(filter).unwrap(), Q0));
    peer.send(&Packet::Subscribe(Subscribe::new(id, &asked)));
    peer.until(|packet| match packet {
        Packet::Suback(ack) => {
            plain(ack.reason_string, ack.user_properties);
            Some(())
        }
        _ => None,
    });
    peer.wire.send_bytes(&[0x62, 2, 0x12, 0x34]);
    peer.until(|packet| match packet {
        Packet::Pubcomp(ack) => {
            plain(ack.reason_string, ack.user_properties);
            Some(())
        }
        _ => None,
    });
}

/// 5: MQTT-3.1.2-29, MQTT-3.3.2-17. The user properties of a message are no explanation: they come.
fn properties_of_messages_come_without_explanations_too(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.properties.request_problem_information = false;
    let mut reader = target.open(&connect);
    reader.must_subscribe(&topic, Q1);
    let pairs = [("name", "value")];
    target.join("w").publish_as(&Publish {
        qos: Q1,
        properties: MessageProperties {
            user_properties: UserProperties::new(&pairs),
            ..MessageProperties::default()
        },
        ..Publish::new(&topic, b"x")
    });
    assert_eq!(reader.must_take(&topic, b"x").user_properties.len(), 1);
}

/// 5: MQTT-4.13.1-1. The broker declares how large a packet may be; one byte more ends the connection with 0x95, one of
/// just this size is taken.
fn larger_than_the_broker_takes_ends_the_connection(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    let declared = peer.connack().properties.packet_size_max;
    assert_eq!(declared, Some(TIGHT_PACKET_BYTES));
    // Type, two bytes of length, the topic and its length, the identifier, no properties.
    let overhead = 3 + 2 + topic.len() + 2 + 1;
    let payload = vec![b'x'; TIGHT_PACKET_BYTES as usize - overhead];
    peer.must_publish(&topic, &payload, Q1);
    let longer = vec![b'x'; payload.len() + 1];
    peer.start_publish(&topic, &longer, Q1);
    peer.must_end(0x95);
}

/// 5: MQTT-3.1.2-24. A packet of exactly the size that the client takes is delivered.
fn exactly_as_large_as_the_client_takes_is_delivered(target: &Target) {
    let topic = target.topic("x");
    let mut reader = small(target, "r", 200);
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    let overhead = 3 + 2 + topic.len() + 2 + 1;
    let fits = vec![b'x'; 200 - overhead];
    let longer = vec![b'x'; 200 - overhead + 1];
    writer.must_publish(&topic, &longer, Q1);
    writer.must_publish(&topic, &fits, Q1);
    reader.must_take(&topic, &fits);
    assert_eq!(reader.drain(&mut writer, Q1), []);
}
