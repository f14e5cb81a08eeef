//! CONNECT and CONNACK.
use keygate_protocol::mqtt::{
    Connect, Disconnect, Packet, PacketType, Qos, ReasonCode, Version, Will,
};
use keygate_tests::bytes::encoded;
use keygate_tests::wire::Heard;

use super::bytes::{field, packet, publish, subscribe};
use super::case::{Case, Ground, both, v5, v311};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(connect_comes_first),
    both!(a_second_connect_ends_the_connection),
    both!(another_protocol_is_refused),
    both!(another_version_is_refused),
    both!(the_reserved_flag_is_checked),
    both!(fields_and_flags_agree),
    v311!(a_password_needs_a_user_name),
    both!(what_does_not_fit_its_form_is_refused),
    v5!(properties_of_connect_are_checked),
    both!(strings_of_connect_are_checked),
    both!(every_field_is_read_in_its_place),
    both!(short_plain_client_ids_are_taken),
    both!(the_client_id_names_the_session),
    v5!(a_missing_client_id_is_assigned),
    v311!(an_empty_client_id_gets_a_session_of_its_own),
    v311!(an_empty_client_id_cannot_last),
    both!(the_old_connection_is_closed),
    both!(connack_comes_first_and_once),
    v5!(connack_says_what_is_true),
    both!(success_is_acknowledged),
    both!(what_follows_a_refused_connect_is_not_looked_at),
    both!(a_refusal_closes).on(Ground::Tight),
    v5!(no_response_information_unless_asked),
    v5!(connack_fits_the_clients_packet_size),
];

/// CONNECT of this version with these flags, no properties, and this payload.
fn connect(version: Version, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = field(b"MQTT");
    body.extend([version.level(), flags, 0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x10, &body)
}

/// MQTT 5 has empty properties in front of the will's topic.
fn will(target: &Target, topic: &[u8]) -> Vec<u8> {
    let mut will = if target.is_v5() { vec![0] } else { Vec::new() };
    will.extend(field(topic));
    will.extend(field(b"gone"));
    will
}

/// 5: MQTT-3.1.0-1. 3.1.1: MQTT-3.1.0-1. Whatever comes before CONNECT closes the connection, and nothing is answered.
fn connect_comes_first(target: &Target) {
    let topic = target.topic("x");
    let first = [
        publish(target, topic.as_bytes()),
        subscribe(target, topic.as_bytes()),
        vec![0xc0, 0],
        vec![0xe0, 0],
        vec![0x40, 2, 0, 1],
        vec![0x62, 2, 0, 1],
    ];
    for bytes in first {
        let mut wire = target.wire();
        wire.send_bytes(&bytes);
        assert_eq!(wire.hear(), Heard::Closed, "{bytes:02x?}");
    }
}

/// 5: MQTT-3.1.0-2. 3.1.1: MQTT-3.1.0-2. A second CONNECT is an error, whoever it names.
fn a_second_connect_ends_the_connection(target: &Target) {
    for again in ["a", "b"] {
        let peer = target.join("a");
        let id = target.id(again);
        let bytes = encoded(|sink| target.connect(&id).encode(sink));
        peer.must_end_after(&bytes, 0x82);
    }
}

/// 5: MQTT-3.1.2-1. 3.1.1: MQTT-3.1.2-1. A CONNECT that names another protocol is not taken for one of MQTT.
fn another_protocol_is_refused(target: &Target) {
    let id = field(target.id("a").as_bytes());
    for name in ["MQTS", "mqtt", "MQTTX", "MQT", ""] {
        let mut body = field(name.as_bytes());
        body.extend([target.version.level(), 2, 0, 60]);
        if target.is_v5() {
            body.push(0);
        }
        body.extend(&id);
        let mut wire = target.wire();
        wire.send_bytes(&packet(0x10, &body));
        match wire.hear() {
            Heard::Closed => {}
            Heard::Packet(got) => {
                assert_eq!(got.raw()[0], 0x20, "{name}");
                assert_ne!(got.raw()[3], 0, "{name} is taken for MQTT");
                assert_eq!(wire.hear(), Heard::Closed);
            }
        }
    }
}

/// 5: MQTT-3.1.2-2. 3.1.1: MQTT-3.1.2-2. A version that the broker does not speak is refused: 0x84, and return code 1 in
/// the form of 3.1.1.
fn another_version_is_refused(target: &Target) {
    let levels: &[u8] = match target.version {
        Version::V311 => &[0, 1, 2, 3],
        Version::V5 => &[6, 7, 0x7f, 0xff],
    };
    for level in levels {
        let mut body = field(b"MQTT");
        body.extend([*level, 2, 0, 60]);
        if target.is_v5() {
            body.push(0);
        }
        body.extend(field(target.id("a").as_bytes()));
        target.must_refuse(&packet(0x10, &body), 0x84, Some(1));
    }
}

/// 5: MQTT-3.1.2-3. 3.1.1: MQTT-3.1.2-3. Bit 0 of the flags of CONNECT must not be set.
fn the_reserved_flag_is_checked(target: &Target) {
    let id = field(target.id("a").as_bytes());
    target.must_refuse(&connect(target.version, 3, &id), 0x81, None);
}

/// 5: MQTT-3.1.2-9, MQTT-3.1.2-11, MQTT-3.1.2-12, MQTT-3.1.2-13, MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18,
/// MQTT-3.1.2-19. 3.1.1: MQTT-3.1.2-9, MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-14, MQTT-3.1.2-15, MQTT-3.1.2-18,
/// MQTT-3.1.2-19, MQTT-3.1.2-20, MQTT-3.1.2-21. A field is there exactly if its flag says so, and a will's quality and
/// retain flag only beside a will.
fn fields_and_flags_agree(target: &Target) {
    let id = field(target.id("a").as_bytes());
    let with = |rest: &[u8]| [id.as_slice(), rest].concat();
    let topic = target.topic("w");
    let will = will(target, topic.as_bytes());
    let text = field(b"text");
    let wrong: [(u8, Vec<u8>); 12] = [
        // A will that is not there, in whole or in part, and one that is there without its flag.
        (0x06, with(&[])),
        (0x06, with(&will[..will.len() - 6])),
        (0x02, with(&will)),
        // Quality without a will, quality 3, retain without a will.
        (0x0a, with(&[])),
        (0x12, with(&[])),
        (0x1e, with(&will)),
        (0x22, with(&[])),
        // User name and password.
        (0x02, with(&text)),
        (0x82, with(&[])),
        (0x82, with(&[text.clone(), text.clone()].concat())),
        (0xc2, with(&text)),
        (0xc2, with(&[])),
    ];
    for (flags, payload) in wrong {
        target.must_refuse(&connect(target.version, flags, &payload), 0x81, None);
    }
}

/// 3.1.1: MQTT-3.1.2-22. A password without a user name breaks the form of 3.1.1.
fn a_password_needs_a_user_name(target: &Target) {
    let id = field(target.id("a").as_bytes());
    let payload = [id, field(b"password")].concat();
    target.must_refuse(&connect(target.version, 0x42, &payload), 0x82, None);
}

/// 5: MQTT-3.1.3-3, MQTT-3.1.4-1, MQTT-3.14.0-1. 3.1.1: MQTT-3.1.3-3, MQTT-3.1.4-1. A CONNECT that does not have the form of one
/// closes the connection: in 3.1.1 without CONNACK, in MQTT 5 never with DISCONNECT.
fn what_does_not_fit_its_form_is_refused(target: &Target) {
    let id = field(target.id("a").as_bytes());
    let version = target.version;
    // No client id; a client id that is cut short; a byte too many.
    target.must_refuse(&connect(version, 2, &[]), 0x81, None);
    target.must_refuse(&connect(version, 2, &id[..id.len() - 1]), 0x81, None);
    let long = [id.as_slice(), b"x"].concat();
    target.must_refuse(&connect(version, 2, &long), 0x81, None);
    // Wrong flags in the first byte: nobody knows what version it is, so nothing is answered.
    let mut wrong = connect(version, 2, &id);
    wrong[0] = 0x11;
    let mut wire = target.wire();
    wire.send_bytes(&wrong);
    let end = wire.end();
    assert!(end.is_none_or(|code| code >= 0x80), "{end:02x?}");
}

/// 5: MQTT-4.13.1-1. A property that CONNECT does not carry is malformed; one that comes twice, or has a value that does
/// not exist, is a protocol error.
fn properties_of_connect_are_checked(target: &Target) {
    let id = field(target.id("a").as_bytes());
    let with = |properties: &[u8]| {
        let mut body = field(b"MQTT");
        body.extend([5, 2, 0, 60, properties.len() as u8]);
        body.extend(properties);
        body.extend(&id);
        packet(0x10, &body)
    };
    let malformed: [&[u8]; 5] = [
        // Topic Alias; an identifier that does not exist; a Session Expiry that is cut short; Server Keep Alive;
        // a list that claims more than the packet has.
        &[0x23, 0, 1],
        &[0x7f, 0],
        &[0x11, 0, 0, 1],
        &[0x13, 0, 9],
        &[0x26, 0, 1, b'n', 0xff, 0xff],
    ];
    for properties in malformed {
        target.must_refuse(&with(properties), 0x81, None);
    }
    let wrong: [&[u8]; 8] = [
        // Receive Maximum 0; Maximum Packet Size 0; booleans of 2; twice; data without a method.
        &[0x21, 0, 0],
        &[0x27, 0, 0, 0, 0],
        &[0x17, 2],
        &[0x19, 2],
        &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1],
        &[0x21, 0, 9, 0x21, 0, 9],
        &[0x22, 0, 9, 0x22, 0, 9],
        &[0x16, 0, 1, b'x'],
    ];
    for properties in wrong {
        target.must_refuse(&with(properties), 0x82, None);
    }
}

/// 5: MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12. 3.1.1: MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11. Client id, will topic
/// and user name are UTF-8.
fn strings_of_connect_are_checked(target: &Target) {
    let id = field(target.id("a").as_bytes());
    for bytes in [b"a\xc0\xaf".as_slice(), b"a\0"] {
        target.must_refuse(&connect(target.version, 2, &field(bytes)), 0x81, None);
        let will = [id.clone(), will(target, bytes)].concat();
        target.must_refuse(&connect(target.version, 6, &will), 0x81, None);
        let user = [id.clone(), field(bytes)].concat();
        target.must_refuse(&connect(target.version, 0x82, &user), 0x81, None);
    }
}

/// 5: MQTT-3.1.3-1. 3.1.1: MQTT-3.1.3-1. The fields of the payload are read in the order that the standard gives them.
fn every_field_is_read_in_its_place(target: &Target) {
    let topic = target.topic("w");
    let mut watcher = target.join("w");
    watcher.must_subscribe(&topic, Qos::AtMostOnce);
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.will = Some(Will {
        topic: &topic,
        payload: b"the payload",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        properties: Default::default(),
    });
    target.open(&connect).cut();
    watcher.must_take(&topic, b"the payload");
}

/// 5: MQTT-3.1.3-5. 3.1.1: MQTT-3.1.3-5. Every client id of 1 to 23 letters and digits is taken.
fn short_plain_client_ids_are_taken(target: &Target) {
    let of_version = |five: &'static str, three: &'static str| match target.version {
        Version::V5 => five,
        Version::V311 => three,
    };
    for id in [
        of_version("5", "3"),
        of_version("Z5", "Z3"),
        of_version("0123456789abcdefghijkl5", "0123456789abcdefghijkl3"),
        of_version("mnopqrstuvwxyzABCDEFGH5", "mnopqrstuvwxyzABCDEFGH3"),
        of_version("IJKLMNOPQRSTUVWXYZ00005", "IJKLMNOPQRSTUVWXYZ00003"),
    ] {
        let peer = target.open(&target.connect(id));
        if peer.is_v5() {
            assert_eq!(peer.connack().properties.assigned_client_id, None);
        }
        peer.leave();
    }
}

/// 5: MQTT-3.1.3-2. 3.1.1: MQTT-3.1.3-2. The client id tells sessions apart, letter by letter.
fn the_client_id_names_the_session(target: &Target) {
    let topic = target.topic("x");
    let mut first = target.resume("a");
    first.must_subscribe(&topic, Qos::AtLeastOnce);
    first.leave();
    for other in ["A", "b", "aa"] {
        let mut peer = target.resume(other);
        assert!(!peer.session_present(), "{other} is another session");
        peer.must_have_nothing();
    }
    assert!(target.resume("a").session_present());
}

/// 5: MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16. A client without an id is told which one it has: its own, with which the
/// session can be resumed.
fn a_missing_client_id_is_assigned(target: &Target) {
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let mut connect = target.lasting("");
            connect.clean_start = true;
            let peer = target.open(&connect);
            let assigned = peer.connack().properties.assigned_client_id;
            let assigned = assigned.expect("an assigned client id").to_owned();
            peer.leave();
            assigned
        })
        .collect();
    for (at, id) in ids.iter().enumerate() {
        assert!(!id.is_empty() && !ids[..at].contains(id), "{ids:?}");
        let peer = target.open(&target.lasting(id));
        assert!(peer.session_present(), "{id} is not the session's id");
        assert_eq!(peer.connack().properties.assigned_client_id, None);
    }
}

/// 3.1.1: MQTT-3.1.3-6. Two clients without an id are two clients.
fn an_empty_client_id_gets_a_session_of_its_own(target: &Target) {
    let topic = target.topic("x");
    let mut first = target.open(&target.connect(""));
    let mut second = target.open(&target.connect(""));
    first.must_subscribe(&topic, Qos::AtLeastOnce);
    second.must_publish(&topic, b"x", Qos::AtLeastOnce);
    first.must_take(&topic, b"x");
    second.must_have_nothing();
    first.ping();
}

/// 3.1.1: MQTT-3.1.3-8, MQTT-3.1.3-9, MQTT-3.2.2-4, MQTT-3.2.2-5. A session that nobody can name cannot be kept.
fn an_empty_client_id_cannot_last(target: &Target) {
    let connect = Connect {
        clean_start: false,
        ..target.connect("")
    };
    let bytes = encoded(|sink| connect.encode(sink));
    target.must_refuse(&bytes, 0x85, Some(2));
}

/// 5: MQTT-3.1.4-3. 3.1.1: MQTT-3.1.4-2. Whoever connects with a client id that is connected takes its place; the old
/// connection is told so in MQTT 5.
fn the_old_connection_is_closed(target: &Target) {
    let old = target.join("a");
    let mut new = target.join("a");
    old.must_end(0x8e);
    let old = target.resume("b");
    let mut newer = target.resume("b");
    assert!(newer.session_present());
    old.must_end(0x8e);
    new.ping();
    newer.ping();
}

/// 5: MQTT-3.2.0-1, MQTT-3.2.0-2. 3.1.1: MQTT-3.2.0-1. CONNACK comes before what waits for the session, and does not come
/// again.
fn connack_comes_first_and_once(target: &Target) {
    let topic = target.topic("x");
    let id = target.id("a");
    let mut reader = target.open(&target.lasting(&id));
    reader.must_subscribe(&topic, Qos::AtLeastOnce);
    reader.leave();
    let mut writer = target.join("w");
    for number in 0..20 {
        writer.must_publish(&topic, &[number], Qos::AtLeastOnce);
    }
    let mut wire = target.wire();
    wire.send(&Packet::Connect(target.lasting(&id)));
    wire.send(&Packet::Pingreq);
    let mut seen = Vec::new();
    while seen.len() < 22 {
        seen.push(wire.packet().packet().packet_type());
    }
    assert_eq!(seen[0], PacketType::Connack);
    assert!(!seen[1..].contains(&PacketType::Connack), "{seen:?}");
}

/// 5: MQTT-3.2.2-9, MQTT-3.2.2-1. What CONNACK declares holds: here, all that there is in MQTT.
fn connack_says_what_is_true(target: &Target) {
    let peer = target.join("a");
    let declared = peer.connack().properties;
    assert_eq!(declared.qos_max, Qos::ExactlyOnce);
    assert!(declared.retain_available);
    assert!(declared.wildcard_subscriptions_available);
    assert!(declared.subscription_ids_available);
    assert!(declared.shared_subscriptions_available);
    assert!(declared.topic_alias_max > 0);
    // Nothing was changed, so nothing is said.
    assert_eq!(declared.keep_alive_s, None);
    assert_eq!(declared.session_expiry_s, None);
    assert_eq!(declared.assigned_client_id, None);
    assert_eq!(declared.auth_method, None);
}

/// 5: MQTT-3.1.4-5, MQTT-3.2.2-8. 3.1.1: MQTT-3.1.4-4, MQTT-3.2.2-6. A good CONNECT is answered by CONNACK with 0, in the form of its
/// version.
fn success_is_acknowledged(target: &Target) {
    let id = target.id("a");
    let mut wire = target.wire();
    wire.send(&Packet::Connect(target.connect(&id)));
    let got = wire.packet();
    assert_eq!((got.raw()[0], got.raw()[2], got.raw()[3]), (0x20, 0, 0));
    assert_eq!(got.raw().len() == 4, !target.is_v5());
}

/// 5: MQTT-3.1.4-6. 3.1.1: MQTT-3.1.4-5. Packets behind a CONNECT that is refused do nothing.
fn what_follows_a_refused_connect_is_not_looked_at(target: &Target) {
    let topic = target.topic("x");
    let mut watcher = target.join("w");
    let mut writer = target.join("p");
    watcher.must_subscribe(&topic, Qos::AtMostOnce);
    let id = field(target.id("a").as_bytes());
    let mut bytes = connect(target.version, 3, &id);
    bytes.extend(publish(target, topic.as_bytes()));
    let mut wire = target.wire();
    wire.send_bytes(&bytes);
    let end = wire.end();
    assert!(end.is_none_or(|code| code >= 0x80));
    assert_eq!(watcher.drain(&mut writer, Qos::AtMostOnce), []);
}

/// 5: MQTT-3.1.4-2, MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-4.13.2-1. 3.1.1: MQTT-3.2.2-4, MQTT-3.2.2-5. Whoever may not do what its CONNECT asks for is told so,
/// without a session, and disconnected: here a will on a topic that nobody may use.
fn a_refusal_closes(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.will = Some(Will {
        topic: "kc/denied/will",
        payload: b"",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        properties: Default::default(),
    });
    let bytes = encoded(|sink| connect.encode(sink));
    target.must_refuse(&bytes, 0x87, Some(5));
}

/// 5: MQTT-3.1.2-28. Response Information comes only to whoever asks for it.
fn no_response_information_unless_asked(target: &Target) {
    let peer = target.join("a");
    assert_eq!(peer.connack().properties.response_information, None);
}

/// 5: MQTT-3.2.2-19, MQTT-3.2.2-20, MQTT-3.1.2-24. A CONNACK leaves out what would not fit the client's Maximum Packet
/// Size; if it does not fit at all, it is not sent.
fn connack_fits_the_clients_packet_size(target: &Target) {
    let id = target.id("a");
    for method in [None, Some("no-such-method")] {
        for size in [2, 4, 5, 8, 12, 20, 40] {
            let mut connect = target.connect(&id);
            connect.properties.packet_size_max = Some(size);
            connect.properties.auth_method = method;
            let mut wire = target.wire();
            wire.send(&Packet::Connect(connect));
            wire.send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
            while let Heard::Packet(got) = wire.hear() {
                assert!(got.raw().len() <= size as usize, "{size}: {got:02x?}");
            }
        }
    }
}
