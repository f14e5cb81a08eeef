//! PUBLISH: its header, its topic, what is forwarded, who gets how many copies.
use keygate_protocol::mqtt::{
    Ack, MessageProperties, Packet, PayloadFormat, Publish, Qos, ReasonCode, UserProperties,
};

use super::bytes::{body, field, packet, publish};
use super::case::{Case, Ground, both, v5};
use super::stage::DENIED;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(dup_belongs_to_the_hop),
    both!(qos_0_is_never_a_repetition),
    both!(qos_3_ends_the_connection),
    both!(wildcards_in_a_topic_end_the_connection),
    both!(an_empty_topic_ends_the_connection),
    both!(the_topic_arrives_as_it_was_sent),
    both!(the_answer_depends_on_the_qos),
    v5!(everything_a_message_carries_is_forwarded),
    v5!(nothing_is_added_to_a_message),
    v5!(the_order_of_user_properties_is_kept),
    v5!(a_response_topic_is_a_topic_name),
    v5!(a_content_type_is_text),
    v5!(a_client_sends_no_subscription_identifier),
    v5!(properties_of_publish_are_checked),
    v5!(codes_of_acknowledgements_are_listed_ones),
    both!(what_nobody_may_publish_reaches_nobody).on(Ground::Tight),
    v5!(a_refused_identifier_is_free).on(Ground::Tight),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// 5: MQTT-3.3.1-3. 3.1.1: MQTT-3.3.1-3. A message that came marked as sent again goes out unmarked, for it goes out for
/// the first time.
fn dup_belongs_to_the_hop(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    for qos in [Q1, Q2] {
        writer.publish_as(&Publish {
            dup: true,
            qos,
            ..Publish::new(&topic, b"x")
        });
        let message = reader.must_take(&topic, b"x");
        assert_eq!((message.dup, message.qos), (false, qos));
    }
}

/// 5: MQTT-3.3.1-2, MQTT-4.3.1-1. 3.1.1: MQTT-3.3.1-2, MQTT-4.3.1-1. A message with QoS 0 is never marked as sent again:
/// such a packet is malformed, and the broker sends none.
fn qos_0_is_never_a_repetition(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q0);
    for qos in [Q0, Q1, Q2] {
        writer.must_publish(&topic, b"x", qos);
        let message = reader.must_take(&topic, b"x");
        assert_eq!((message.qos, message.dup), (Q0, false));
    }
    let mut wrong = publish(target, topic.as_bytes());
    wrong[0] = 0x38;
    if target.exact {
        writer.must_end_after(&wrong, 0x81);
    }
}

/// 5: MQTT-3.3.1-4. 3.1.1: MQTT-3.3.1-4. QoS 3 does not exist.
fn qos_3_ends_the_connection(target: &Target) {
    let topic = field(target.topic("x").as_bytes());
    let body = body(target, &[topic, vec![0, 1]].concat(), b"x");
    target.join("a").must_end_after(&packet(0x36, &body), 0x81);
}

/// 5: MQTT-3.3.2-2, MQTT-4.7.0-1. 3.1.1: MQTT-3.3.2-2, MQTT-4.7.1-1. Nobody publishes to a pattern.
fn wildcards_in_a_topic_end_the_connection(target: &Target) {
    for rest in ["#", "+", "a/+/b", "a#"] {
        let topic = target.topic(rest);
        target
            .join("a")
            .must_end_after(&publish(target, topic.as_bytes()), 0x90);
    }
}

/// 5: MQTT-4.7.3-1. 3.1.1: MQTT-4.7.3-1. A topic has at least one character. (In MQTT 5 none may be there beside an alias.)
fn an_empty_topic_ends_the_connection(target: &Target) {
    target.join("a").must_end_after(&publish(target, b""), 0x82);
}

/// 5: MQTT-3.3.2-3. 3.1.1: MQTT-3.3.2-3. Who subscribes to a pattern is told the topic itself, byte by byte.
fn the_topic_arrives_as_it_was_sent(target: &Target) {
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&target.topic("#"), Q1);
    for rest in [
        "a",
        "a/",
        "/",
        "//b",
        "A b",
        "ä/日本/😀",
        "%41",
        "a.b",
        "$x",
    ] {
        let topic = target.topic(rest);
        writer.must_publish(&topic, rest.as_bytes(), Q1);
        reader.must_take(&topic, rest.as_bytes());
    }
}

/// 5: MQTT-3.3.4-1, MQTT-4.3.2-4, MQTT-4.3.3-8. 3.1.1: MQTT-3.3.4-1, MQTT-4.3.2-2, MQTT-4.3.3-2. QoS 0 is not answered,
/// QoS 1 by PUBACK, QoS 2 by PUBREC.
fn the_answer_depends_on_the_qos(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_publish(&topic, b"x", Q0);
    // A PINGRESP and nothing before it.
    peer.ping();
    let id = peer.start_publish(&topic, b"x", Q1);
    let got = peer.wire.packet();
    assert!(matches!(got.packet(), Packet::Puback(ack) if ack.packet_id == id));
    let id = peer.start_publish(&topic, b"x", Q2);
    let got = peer.wire.packet();
    assert!(matches!(got.packet(), Packet::Pubrec(ack) if ack.packet_id == id));
    peer.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
    let got = peer.wire.packet();
    assert!(matches!(got.packet(), Packet::Pubcomp(ack) if ack.packet_id == id));
}

/// 5: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-20. Payload format, content type, response
/// topic, correlation data and user properties reach every subscriber unchanged, now and out of the store.
fn everything_a_message_carries_is_forwarded(target: &Target) {
    let topic = target.topic("x");
    let mut now = target.join("n");
    now.must_subscribe(&topic, Q1);
    let mut away = target.resume("l");
    away.must_subscribe(&topic, Q1);
    away.leave();
    let answers = target.topic("answers");
    let pairs = [("name", "value"), ("", "")];
    let properties = MessageProperties {
        payload_format: Some(PayloadFormat::Utf8),
        expiry_s: None,
        content_type: Some("text/plain; charset=utf-8"),
        response_topic: Some(&answers),
        correlation_data: Some(&[0, 255, 0, 1]),
        user_properties: UserProperties::new(&pairs),
    };
    let mut writer = target.join("w");
    writer.publish_as(&Publish {
        qos: Q1,
        retain: true,
        properties,
        ..Publish::new(&topic, "größe".as_bytes())
    });
    let mut later = target.join("t");
    later.must_subscribe(&topic, Q1);
    let away = target.resume("l");
    for mut reader in [now, later, away] {
        let message = reader.must_take(&topic, "größe".as_bytes());
        assert_eq!(message.utf8, Some(true));
        assert_eq!(
            message.content_type.as_deref(),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(message.response_topic.as_deref(), Some(answers.as_str()));
        assert_eq!(message.correlation.as_deref(), Some(&[0, 255, 0, 1][..]));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(message.user_properties, pairs);
        assert_eq!(message.expiry_s, None);
    }
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-20. What the publisher did not say is not said for it; a
/// payload format of 0 is said.
fn nothing_is_added_to_a_message(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q0);
    writer.must_publish(&topic, b"x", Q0);
    let got = reader.wire.packet();
    assert_eq!(got.raw(), publish(target, topic.as_bytes()));
    writer.publish_as(&Publish {
        properties: MessageProperties {
            payload_format: Some(PayloadFormat::Bytes),
            ..MessageProperties::default()
        },
        ..Publish::new(&topic, b"x")
    });
    assert_ne!(reader.must_take(&topic, b"x").utf8, Some(true));
}

/// 5: MQTT-3.3.2-18. User properties keep their order, the same name again included.
fn the_order_of_user_properties_is_kept(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("c", "3"), ("a", "0")];
    writer.publish_as(&Publish {
        qos: Q1,
        properties: MessageProperties {
            user_properties: UserProperties::new(&pairs),
            ..MessageProperties::default()
        },
        ..Publish::new(&topic, b"x")
    });
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(reader.must_take(&topic, b"x").user_properties, pairs);
}

/// A PUBLISH at QoS 0 with these properties.
pub(super) fn with_properties(topic: &str, properties: &[u8]) -> Vec<u8> {
    let mut body = field(topic.as_bytes());
    body.push(properties.len() as u8);
    body.extend(properties);
    packet(0x30, &body)
}

/// 5: MQTT-3.3.2-13, MQTT-3.3.2-14. A response topic is UTF-8 and has no wildcards.
fn a_response_topic_is_a_topic_name(target: &Target) {
    let topic = target.topic("x");
    for (bytes, code) in [
        (b"a/+".as_slice(), 0x90),
        (b"#", 0x90),
        (b"a\xc0\xaf", 0x81),
        (b"a\0", 0x81),
    ] {
        let mut property = vec![0x08];
        property.extend(field(bytes));
        target
            .join("a")
            .must_end_after(&with_properties(&topic, &property), code);
    }
}

/// 5: MQTT-3.3.2-19. A content type is UTF-8.
fn a_content_type_is_text(target: &Target) {
    let mut property = vec![0x03];
    property.extend(field(b"text/\xff"));
    let bytes = with_properties(&target.topic("x"), &property);
    target.join("a").must_end_after(&bytes, 0x81);
}

/// 5: MQTT-3.3.4-6. A subscription identifier in a client's PUBLISH is an error.
fn a_client_sends_no_subscription_identifier(target: &Target) {
    let bytes = with_properties(&target.topic("x"), &[0x0b, 1]);
    target.join("a").must_end_after(&bytes, 0x82);
}

/// 5: MQTT-4.13.1-1. A property that PUBLISH does not carry is malformed; one that comes twice, or a format that does not
/// exist, is a protocol error.
fn properties_of_publish_are_checked(target: &Target) {
    let topic = target.topic("x");
    let wrong: [(&[u8], u8); 8] = [
        (&[0x11, 0, 0, 0, 1], 0x81),
        (&[0x21, 0, 1], 0x81),
        (&[0x7f, 0], 0x81),
        (&[0x02, 0, 0], 0x81),
        (&[0x01, 2], 0x82),
        (&[0x01, 0, 0x01, 0], 0x82),
        (&[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1], 0x82),
        (&[0x03, 0, 0, 0x03, 0, 0], 0x82),
    ];
    for (properties, code) in wrong {
        target
            .join("a")
            .must_end_after(&with_properties(&topic, properties), code);
    }
}

/// 5: MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.7.2-1. PUBACK, PUBREC and PUBCOMP carry codes that the standard lists for them
/// (reading a packet checks it), with and without subscribers.
fn codes_of_acknowledgements_are_listed_ones(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    for subscribed in [false, true] {
        if subscribed {
            peer.must_subscribe(&topic, Q0);
        }
        for qos in [Q1, Q2] {
            let code = peer.publish(&topic, b"x", qos);
            assert!(code == 0 || code == 0x10 && !subscribed, "{code:02x}");
        }
    }
}

/// 5: MQTT-3.4.2-1, MQTT-3.5.2-1. 3.1.1: MQTT-3.3.5-2. A message to a topic that nobody may use is refused with 0x87;
/// where there is no place for a code, it is taken for granted or the connection is closed. It reaches nobody.
fn what_nobody_may_publish_reaches_nobody(target: &Target) {
    let denied = format!("{DENIED}/{}", target.place);
    let open = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&open, Q2);
    // The filter overlaps what is denied.
    reader.subscribe("kc/#", Q2);
    for qos in [Q0, Q1, Q2] {
        let mut writer = target.join("w");
        if target.is_v5() && qos != Q0 {
            assert_eq!(writer.publish(&denied, b"no", qos), 0x87);
            writer.ping();
        } else {
            // There is no place for a code: acknowledging and closing are both allowed.
            writer.send(&Packet::Publish(Publish {
                qos,
                packet_id: (qos != Q0).then(|| 7.try_into().unwrap()),
                ..Publish::new(&denied, b"no")
            }));
            writer.answered_or_closed();
        }
        target.join("v").must_publish(&open, b"yes", qos);
        reader.take_until(&open).iter().for_each(|message| {
            assert_ne!(message.topic, denied);
        });
    }
}

/// 5: MQTT-4.3.3-9. After a PUBREC that refuses, the same identifier is another message.
fn a_refused_identifier_is_free(target: &Target) {
    let denied = format!("{DENIED}/{}", target.place);
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Q2);
    let id = 7.try_into().unwrap();
    let message = |topic| {
        Packet::Publish(Publish {
            qos: Q2,
            packet_id: Some(id),
            ..Publish::new(topic, b"x")
        })
    };
    for _ in 0..2 {
        peer.send(&message(&denied));
        assert_eq!(peer.pubrec(id), 0x87);
    }
    peer.send(&message(&topic));
    assert!(peer.pubrec(id) < 0x80);
    peer.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
    assert_eq!(peer.pubcomp(id), 0);
    peer.must_take(&topic, b"x");
}
