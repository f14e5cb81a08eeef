//! Data on the wire: strings, lengths, flags, packet identifiers, properties.
use keygate_protocol::mqtt::{Packet, Publish, Qos};

use super::case::{Case, both, v5};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(ill_formed_strings_end_the_connection),
    both!(strings_with_nul_end_the_connection),
    both!(a_byte_order_mark_is_a_character),
    v5!(lengths_are_as_short_as_they_can_be),
    both!(too_long_a_length_ends_the_connection),
    v5!(ill_formed_pairs_end_the_connection),
    both!(wrong_flags_end_the_connection),
    both!(qos_0_has_no_identifier),
    both!(identifier_zero_ends_the_connection),
    both!(the_brokers_identifiers_are_its_own),
    both!(acknowledgements_repeat_the_identifier),
    both!(answers_repeat_the_identifier),
    v5!(no_properties_are_a_length_of_zero),
];

const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// A packet with this first byte and this body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A string or binary field.
pub(super) fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = (bytes.len() as u16).to_be_bytes().to_vec();
    field.extend(bytes);
    field
}

/// The body of a packet: in MQTT 5 with an empty list of properties between the two parts.
pub(super) fn body(target: &Target, before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut body = before.to_vec();
    if target.is_v5() {
        body.push(0);
    }
    body.extend(after);
    body
}

/// SUBSCRIBE to these bytes at QoS 0.
pub(super) fn subscribe(target: &Target, filter: &[u8]) -> Vec<u8> {
    let mut rest = field(filter);
    rest.push(0);
    packet(0x82, &body(target, &[0, 9], &rest))
}

/// UNSUBSCRIBE from these bytes.
pub(super) fn unsubscribe(target: &Target, filter: &[u8]) -> Vec<u8> {
    packet(0xa2, &body(target, &[0, 9], &field(filter)))
}

/// PUBLISH at QoS 0 to these bytes.
pub(super) fn publish(target: &Target, topic: &[u8]) -> Vec<u8> {
    packet(0x30, &body(target, &field(topic), b"x"))
}

/// Not well-formed: a lone continuation byte, an overlong slash, a surrogate, beyond the last code point, cut short.
const ILL_FORMED: [&[u8]; 5] = [
    b"a\x80",
    b"a\xc0\xaf",
    b"a\xed\xa0\x80",
    b"a\xf4\x90\x80\x80",
    b"a\xe2\x82",
];

/// 5: MQTT-1.5.4-1, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1. 3.1.1: MQTT-1.4.0-1, MQTT-3.3.2-1, MQTT-3.8.3-1,
/// MQTT-3.10.3-1. A topic or a filter that is not well-formed UTF-8 ends the connection.
fn ill_formed_strings_end_the_connection(target: &Target) {
    for bytes in ILL_FORMED {
        for packet in [subscribe, unsubscribe, publish] {
            target
                .join("a")
                .must_end_after(&packet(target, bytes), 0x81);
        }
    }
}

/// 5: MQTT-1.5.4-2, MQTT-4.7.3-2. 3.1.1: MQTT-1.4.0-2, MQTT-4.7.3-2. U+0000 in a topic or a filter ends the connection.
fn strings_with_nul_end_the_connection(target: &Target) {
    for packet in [subscribe, unsubscribe, publish] {
        target
            .join("a")
            .must_end_after(&packet(target, b"a\0b"), 0x81);
    }
}

/// 5: MQTT-1.5.4-3, MQTT-4.7.3-4. 3.1.1: MQTT-1.4.0-3, MQTT-4.7.3-4. U+FEFF stays where it stands, and makes another
/// topic of the same letters.
fn a_byte_order_mark_is_a_character(target: &Target) {
    let with = target.topic("\u{feff}x");
    let without = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&with, Q1);
    writer.must_publish(&without, b"no", Q1);
    writer.must_publish(&with, b"yes", Q1);
    reader.must_take(&with, b"yes");
    reader.must_have_nothing();
}

/// 5: MQTT-1.5.5-1. The broker writes Remaining Length in as few bytes as it takes, on both sides of
/// every border (reading a packet checks it).
fn lengths_are_as_short_as_they_can_be(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    let overhead = 2 + topic.len() + 2 + usize::from(target.is_v5());
    for border in [128, 16_384] {
        for len in [border - 1, border, border + 1] {
            let payload = vec![b'x'; len - overhead];
            writer.must_publish(&topic, &payload, Q1);
            reader.must_take(&topic, &payload);
        }
    }
}

/// 5: MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1. A length of five bytes is none.
fn too_long_a_length_ends_the_connection(target: &Target) {
    target
        .join("a")
        .must_end_after(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 0x81);
}

/// 5: MQTT-1.5.7-1. The name and the value of a user property are strings like any other.
fn ill_formed_pairs_end_the_connection(target: &Target) {
    let topic = field(target.topic("x").as_bytes());
    for bytes in [b"\xc0\xaf".as_slice(), b"\0"] {
        for (name, value) in [(bytes, b"v".as_slice()), (b"n", bytes)] {
            let mut property = vec![0x26];
            property.extend(field(name));
            property.extend(field(value));
            let mut rest = topic.clone();
            rest.push(property.len() as u8);
            rest.extend(property);
            target.join("a").must_end_after(&packet(0x30, &rest), 0x81);
        }
    }
}

/// 5: MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1. 3.1.1: MQTT-2.2.2-1, MQTT-2.2.2-2,
/// MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1. A flag that must not be set, or is not set and must be,
/// ends the connection, whatever the packet.
fn wrong_flags_end_the_connection(target: &Target) {
    let topic = target.topic("x");
    let mut wanted = subscribe(target, topic.as_bytes());
    let mut unwanted = unsubscribe(target, topic.as_bytes());
    for flags in [0, 1, 3, 6, 10, 15] {
        wanted[0] = 0x80 | flags;
        target.join("a").must_end_after(&wanted, 0x81);
        unwanted[0] = 0xa0 | flags;
        target.join("a").must_end_after(&unwanted, 0x81);
        target
            .join("a")
            .must_end_after(&[0x60 | flags, 2, 0, 1], 0x81);
    }
    for flags in [1, 2, 4, 8, 15] {
        for first in [0x40, 0x50, 0x70] {
            target
                .join("a")
                .must_end_after(&[first | flags, 2, 0, 1], 0x81);
        }
        for first in [0xc0, 0xe0] {
            target.join("a").must_end_after(&[first | flags, 0], 0x81);
        }
    }
    target.join("a").must_end_after(&[0x00, 0], 0x81);
}

/// 5: MQTT-2.2.1-2. 3.1.1: MQTT-2.3.1-5. A message with QoS 0 has no packet identifier, neither when it is published nor
/// when it is delivered: what looks like one is its payload.
fn qos_0_has_no_identifier(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Qos::AtMostOnce);
    peer.must_publish(&topic, &[0, 7, 0, 8], Qos::AtMostOnce);
    let message = peer.must_take(&topic, &[0, 7, 0, 8]);
    assert_eq!((message.qos, message.packet_id), (Qos::AtMostOnce, None));
}

/// 5: MQTT-2.2.1-3. 3.1.1: MQTT-2.3.1-1. A packet that needs an identifier and has zero ends the connection.
fn identifier_zero_ends_the_connection(target: &Target) {
    let topic = field(target.topic("x").as_bytes());
    let mut filter = topic.clone();
    filter.push(0);
    let wrong = [
        packet(0x82, &body(target, &[0, 0], &filter)),
        packet(0xa2, &body(target, &[0, 0], &topic)),
        packet(
            0x32,
            &body(target, &[topic.clone(), vec![0, 0]].concat(), b"x"),
        ),
        packet(
            0x34,
            &body(target, &[topic.clone(), vec![0, 0]].concat(), b"x"),
        ),
    ];
    for packet in wrong {
        target.join("a").must_end_after(&packet, 0x82);
    }
}

/// 5: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1. 3.1.1: MQTT-2.3.1-4. Messages on their way to a client have identifiers
/// that are not zero and differ, and have nothing to do with those of their publisher.
fn the_brokers_identifiers_are_its_own(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q2);
    for number in 0..10 {
        let qos = if number % 2 == 0 { Q1 } else { Q2 };
        writer.must_publish(&topic, &[number], qos);
    }
    let mut messages: Vec<_> = (0..10).map(|_| reader.message()).collect();
    let mut ids: Vec<_> = messages.iter().map(|message| message.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "an identifier is used twice at once");
    messages.sort_by_key(|message| message.payload[0]);
    for message in &messages {
        reader.acknowledge(message);
    }
    reader.must_have_nothing();
}

/// 5: MQTT-2.2.1-5. 3.1.1: MQTT-2.3.1-6. PUBACK, PUBREC and PUBCOMP repeat the identifier of the message; so does the
/// PUBREL of a message that is delivered.
fn acknowledgements_repeat_the_identifier(target: &Target) {
    use keygate_protocol::mqtt::{Ack, PacketId, ReasonCode};
    let topic = target.topic("x");
    let mut reader = target.join("r");
    reader.must_subscribe(&topic, Q2);
    let mut writer = target.join("w");
    for id in [1, 0x100, 0xabcd, 0xffff] {
        let id = PacketId::new(id).unwrap();
        let publish = |qos| Publish {
            qos,
            packet_id: Some(id),
            ..Publish::new(&topic, b"x")
        };
        writer.send(&Packet::Publish(publish(Q1)));
        assert!(writer.puback(id) < 0x80);
        reader.must_take(&topic, b"x");
        writer.send(&Packet::Publish(publish(Q2)));
        assert!(writer.pubrec(id) < 0x80);
        writer.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
        assert_eq!(writer.pubcomp(id), 0);
        let message = reader.message();
        reader.send(&Packet::Pubrec(Ack::new(message.id(), ReasonCode::Success)));
        assert_eq!(reader.pubrel(message.id()), 0);
        reader.send(&Packet::Pubcomp(Ack::new(
            message.id(),
            ReasonCode::Success,
        )));
    }
}

/// 5: MQTT-2.2.1-6, MQTT-3.8.4-2, MQTT-3.10.4-5. 3.1.1: MQTT-2.3.1-7, MQTT-3.8.4-2, MQTT-3.10.4-4. SUBACK and UNSUBACK
/// repeat the identifier of what they answer.
fn answers_repeat_the_identifier(target: &Target) {
    let filter = target.topic("x");
    let mut peer = target.join("a");
    for id in [[0, 1], [1, 0], [0xab, 0xcd], [0xff, 0xff]] {
        let mut wanted = subscribe(target, filter.as_bytes());
        let mut unwanted = unsubscribe(target, filter.as_bytes());
        wanted[2..4].copy_from_slice(&id);
        unwanted[2..4].copy_from_slice(&id);
        peer.wire.send_bytes(&wanted);
        let got = peer.wire.packet();
        assert_eq!((got.raw()[0], &got.raw()[2..4]), (0x90, id.as_slice()));
        peer.wire.send_bytes(&unwanted);
        let got = peer.wire.packet();
        assert_eq!((got.raw()[0], &got.raw()[2..4]), (0xb0, id.as_slice()));
    }
}

/// 5: MQTT-2.2.2-1. Packets without properties say so by a length of zero, in both directions; one that leaves the
/// length out is malformed.
fn no_properties_are_a_length_of_zero(target: &Target) {
    let topic = target.topic("x");
    let mut peer = target.join("a");
    peer.must_subscribe(&topic, Qos::AtMostOnce);
    peer.must_publish(&topic, b"x", Qos::AtMostOnce);
    let got = peer.wire.packet();
    assert_eq!(got.raw(), publish(target, topic.as_bytes()));
    let mut short = field(topic.as_bytes());
    short.push(0);
    // The first byte of the filter's length is read as the length of the properties.
    let packet = packet(0x82, &[&[0, 9], short.as_slice()].concat());
    peer.must_end_after(&packet, 0x81);
}
