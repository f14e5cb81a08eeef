//! CONNECT, CONNACK, DISCONNECT, AUTH, PINGREQ and PINGRESP.
use super::*;
use crate::sink::{CapacityError, Counter};
use crate::topic::NameError;

const NAME: &[u8] = b"\x00\x04MQTT";
const KEEP_ALIVE: &[u8] = b"\x00\x3C";
const NO_PROPERTIES: &[u8] = b"\x00";

/// A CONNECT with these flags and this payload.
fn connect(version: Version, flags: u8, payload: &[&[u8]]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 {
        NO_PROPERTIES
    } else {
        b""
    };
    let head = [NAME, &[version.level()], &[flags], KEEP_ALIVE, properties].concat();
    packet(0x10, &[&head, &payload.concat()])
}

fn connect_properties(properties: &[&[u8]]) -> Vec<u8> {
    packet(
        0x10,
        &[
            NAME,
            b"\x05\x02",
            KEEP_ALIVE,
            &section(properties),
            &text("d1"),
        ],
    )
}

fn refused_connect(bytes: &[u8]) -> DecodeError {
    from_client(bytes).unwrap_err()
}

#[test]
fn connect_reads_every_field() {
    let will_properties = section(&[
        b"\x18\x00\x00\x00\x05",
        b"\x01\x01",
        b"\x26\x00\x01k\x00\x01v",
    ]);
    let properties = section(&[
        b"\x11\xFF\xFF\xFF\xFF",
        b"\x21\x00\x0A",
        b"\x27\x00\x00\x10\x00",
        b"\x22\x00\x03",
        b"\x19\x01",
        b"\x17\x00",
        b"\x15\x00\x0Akg-ed25519",
        b"\x16\x00\x02\x01\xFF",
    ]);
    let bytes = packet(
        0x10,
        &[
            NAME,
            &[5, 0b1110_1100],
            KEEP_ALIVE,
            &properties,
            &text("d1"),
            &will_properties,
            &text("gone"),
            &text(b"\x00\xFF"),
            &text("user"),
            &text(b"\xFE"),
        ],
    );
    let Ok(Packet::Connect(read)) = from_client(&bytes) else {
        panic!("{:?}", from_client(&bytes));
    };
    let pairs = [("k", "v")];
    assert_eq!(
        read,
        Connect {
            clean_start: false,
            keep_alive_s: 60,
            username: Some("user"),
            password: Some(b"\xFE"),
            will: Some(Will {
                topic: "gone",
                payload: b"\x00\xFF",
                qos: Qos::AtLeastOnce,
                retain: true,
                delay_s: 5,
                properties: MessageProperties {
                    payload_format: Some(PayloadFormat::Utf8),
                    user_properties: UserProperties::new(&pairs),
                    ..MessageProperties::default()
                },
            }),
            properties: ConnectProperties {
                session_expiry_s: u32::MAX,
                receive_max: 10,
                packet_size_max: Some(4096),
                topic_alias_max: 3,
                request_response_information: true,
                request_problem_information: false,
                auth_method: Some("kg-ed25519"),
                auth_data: Some(b"\x01\xFF"),
                ..ConnectProperties::default()
            },
            ..Connect::new(Version::V5, "d1")
        }
    );
}

#[test]
fn connect_says_its_version_itself() {
    let bytes = connect(Version::V311, 0x02, &[&text("d1")]);
    let expected = Connect {
        keep_alive_s: 60,
        ..Connect::new(Version::V311, "d1")
    };
    assert_eq!(from_client(&bytes), Ok(Packet::Connect(expected)));
    assert_eq!(old_client(&bytes), Ok(Packet::Connect(expected)));
    assert_eq!(expected.properties.receive_max, 65_535);
    assert!(expected.properties.request_problem_information);
}

#[test]
fn an_empty_client_id_is_left_to_the_broker() {
    for version in [Version::V311, Version::V5] {
        assert!(from_client(&connect(version, 0x00, &[&text("")])).is_ok());
    }
}

#[test]
fn connect_of_another_protocol_is_refused_by_name_and_level() {
    let named = |name: &[u8], level: u8| packet(0x10, &[&text(name), &[level, 2, 0, 60, 0, 0]]);
    assert_eq!(
        refused_connect(&named(b"MQIsdp", 3)),
        DecodeError::ProtocolName
    );
    assert_eq!(
        refused_connect(&named(b"mqtt", 4)),
        DecodeError::ProtocolName
    );
    assert_eq!(
        refused_connect(&named(b"\xFF\xFF", 4)),
        DecodeError::ProtocolName
    );
    assert_eq!(
        refused_connect(&named(b"MQTT", 3)),
        DecodeError::ProtocolLevel
    );
    assert_eq!(
        refused_connect(&named(b"MQTT", 6)),
        DecodeError::ProtocolLevel
    );
    // A bridge's level has the highest bit set.
    assert_eq!(
        refused_connect(&named(b"MQTT", 0x84)),
        DecodeError::ProtocolLevel
    );
    for error in [DecodeError::ProtocolName, DecodeError::ProtocolLevel] {
        assert_eq!(error.reason_code(), ReasonCode::UnsupportedProtocolVersion);
        let old = error.reason_code().return_code();
        assert_eq!(old, ConnectReturnCode::UnacceptableProtocolVersion);
    }
}

#[test]
fn the_claimed_version_tells_how_to_refuse() {
    let claimed = |bytes: &[u8]| Connect::claimed_version(&frame(bytes, 100).unwrap().unwrap());
    assert_eq!(
        claimed(&connect(Version::V311, 0x01, &[])),
        Some(Version::V311)
    );
    assert_eq!(claimed(&connect(Version::V5, 0x01, &[])), Some(Version::V5));
    assert_eq!(claimed(&packet(0x10, &[NAME, b"\x03"])), None);
    assert_eq!(claimed(&packet(0x10, &[b"\x00\x04MQ"])), None);
    assert_eq!(claimed(&packet(0xE0, &[NAME, b"\x05"])), None);
}

#[test]
fn connect_flags_are_consistent() {
    for version in [Version::V311, Version::V5] {
        let refused = |flags| refused_connect(&connect(version, flags, &[&text("d1")]));
        assert_eq!(refused(0b0000_0001), DecodeError::ConnectFlagReserved);
        assert_eq!(refused(0b0001_1100), DecodeError::WillQos3);
        assert_eq!(refused(0b0001_1000), DecodeError::WillQos3);
        assert_eq!(refused(0b0000_1000), DecodeError::WillQosWithoutWill);
        assert_eq!(refused(0b0001_0000), DecodeError::WillQosWithoutWill);
        assert_eq!(refused(0b0010_0000), DecodeError::WillRetainWithoutWill);
    }
}

#[test]
fn a_password_needs_a_user_name_in_311_only() {
    let payload: [&[u8]; 2] = [&text("d1"), &text("secret")];
    assert_eq!(
        refused_connect(&connect(Version::V311, 0b0100_0000, &payload)),
        DecodeError::PasswordWithoutUserName
    );
    let bytes = connect(Version::V5, 0b0100_0000, &payload);
    let Ok(Packet::Connect(read)) = from_client(&bytes) else {
        panic!("refused");
    };
    assert_eq!((read.username, read.password), (None, Some(&b"secret"[..])));
}

#[test]
fn a_will_has_a_topic_name() {
    let with_topic = |topic: &[u8]| {
        refused_connect(&connect(
            Version::V311,
            0x04,
            &[&text("d1"), &text(topic), &text("gone")],
        ))
    };
    assert_eq!(with_topic(b""), DecodeError::WillTopic(NameError::Empty));
    assert_eq!(
        with_topic(b"a/+"),
        DecodeError::WillTopic(NameError::Wildcard)
    );
    assert_eq!(with_topic(b"a\x00"), DecodeError::StringHasNul);
    assert_eq!(with_topic(b"\xC0\x80"), DecodeError::StringIllFormed);
    assert_eq!(
        DecodeError::WillTopic(NameError::Wildcard).reason_code(),
        ReasonCode::TopicNameInvalid
    );
}

#[test]
fn connect_ends_with_its_last_field() {
    let flags = 0b1100_0100;
    let payload = [text("d1"), text("t"), text("w"), text("u"), text("p")].concat();
    assert!(from_client(&connect(Version::V311, flags, &[&payload])).is_ok());
    for missing in 1..=payload.len() {
        let short = &payload[..payload.len() - missing];
        let bytes = connect(Version::V311, flags, &[short]);
        assert_eq!(refused_connect(&bytes), DecodeError::Truncated, "{missing}");
    }
    let longer = connect(Version::V311, flags, &[&payload, b"\x00"]);
    assert_eq!(refused_connect(&longer), DecodeError::TrailingBytes);
}

#[test]
fn user_names_are_text() {
    let with_name =
        |name: &[u8]| refused_connect(&connect(Version::V5, 0x80, &[&text("d1"), &text(name)]));
    assert_eq!(with_name(b"\xFF"), DecodeError::StringIllFormed);
    assert_eq!(with_name(b"\x00"), DecodeError::StringHasNul);
}

#[test]
fn auth_data_needs_a_method() {
    let data: &[u8] = b"\x16\x00\x01x";
    let method: &[u8] = b"\x15\x00\x01m";
    assert_eq!(
        refused_connect(&connect_properties(&[data])),
        DecodeError::AuthDataWithoutMethod
    );
    assert!(from_client(&connect_properties(&[data, method])).is_ok());
    assert!(from_client(&connect_properties(&[method])).is_ok());
    assert_eq!(
        refused_connect(&connect_properties(&[method, method])),
        DecodeError::PropertyRepeated
    );
}

#[test]
fn debug_output_hides_credentials() {
    let connect = Connect {
        username: Some("hidden-token"),
        password: Some(b"hidden-secret"),
        properties: ConnectProperties {
            auth_method: Some("m"),
            auth_data: Some(b"hidden-data"),
            ..ConnectProperties::default()
        },
        ..Connect::new(Version::V5, "d1")
    };
    let shown = std::format!("{:?}", Packet::Connect(connect));
    assert!(shown.contains("d1") && shown.contains("<13 bytes>"));
    assert!(!shown.contains("hidden") && !shown.contains("104, 105"));
    let auth = Auth {
        data: Some(b"hidden-data"),
        ..Auth::new(ReasonCode::ContinueAuthentication, "m")
    };
    assert!(std::format!("{auth:?}").contains("<11 bytes>"));
}

#[test]
fn a_longer_field_than_mqtt_can_express_is_an_error() {
    let long = "x".repeat(65_536);
    let connect = Connect::new(Version::V5, &long);
    assert_eq!(connect.encode(&mut Counter::new()), Err(CapacityError));
    assert_eq!(connect.encoded_len(), usize::MAX);
    assert_eq!(
        Connect::new(Version::V5, &long[1..]).encoded_len(),
        65_535 + 13 + 1 + 3
    );
}

#[test]
fn the_standard_connect_of_ace_is_reproduced() {
    // Without a token, method `ace`, clean start, keep-alive 60.
    let connect = Connect {
        keep_alive_s: 60,
        properties: ConnectProperties {
            auth_method: Some("ace"),
            ..ConnectProperties::default()
        },
        ..Connect::new(Version::V5, "dev1")
    };
    assert_eq!(
        encoded(&Packet::Connect(connect), Version::V5),
        b"\x10\x17\x00\x04MQTT\x05\x02\x00\x3C\x06\x15\x00\x03ace\x00\x04dev1"
    );
}

#[test]
fn connack_reads_and_writes_both_versions() {
    let refused = Packet::Connack(Connack::new(false, ReasonCode::NotAuthorized));
    assert_eq!(encoded(&refused, Version::V5), b"\x20\x03\x00\x87\x00");
    assert_eq!(encoded(&refused, Version::V311), b"\x20\x02\x00\x05");
    assert_eq!(from_server(b"\x20\x03\x00\x87\x00"), Ok(refused));
    assert_eq!(old_server(b"\x20\x02\x00\x05"), Ok(refused));
    let resumed = Packet::Connack(Connack::new(true, ReasonCode::Success));
    assert_eq!(from_server(b"\x20\x03\x01\x00\x00"), Ok(resumed));
    assert_eq!(old_server(b"\x20\x02\x01\x00"), Ok(resumed));
    // The success and the refusal of an `ace` login.
    let mut ace = Connack::new(false, ReasonCode::Success);
    ace.properties.auth_method = Some("ace");
    assert_eq!(
        encoded(&Packet::Connack(ace), Version::V5),
        b"\x20\x09\x00\x00\x06\x15\x00\x03ace"
    );
    let hint = [("ace_as_hint", "{\"AS\":\"https://as1/token\"}")];
    let mut hinted = Connack::new(false, ReasonCode::NotAuthorized);
    hinted.properties.user_properties = UserProperties::new(&hint);
    assert_eq!(
        encoded(&Packet::Connack(hinted), Version::V5),
        b"\x20\x2D\x00\x87\x2A\x26\x00\x0Bace_as_hint\x00\x1A{\"AS\":\"https://as1/token\"}"
    );
}

#[test]
fn connack_keeps_its_rules() {
    assert_eq!(
        from_server(b"\x20\x03\x02\x00\x00"),
        Err(DecodeError::ConnackFlagReserved)
    );
    assert_eq!(
        old_server(b"\x20\x02\x80\x00"),
        Err(DecodeError::ConnackFlagReserved)
    );
    assert_eq!(
        from_server(b"\x20\x03\x01\x87\x00"),
        Err(DecodeError::SessionPresentOnError)
    );
    assert_eq!(
        old_server(b"\x20\x02\x01\x05"),
        Err(DecodeError::SessionPresentOnError)
    );
    assert_eq!(
        old_server(b"\x20\x02\x00\x06"),
        Err(DecodeError::ReturnCodeUnknown)
    );
    assert_eq!(
        from_server(b"\x20\x03\x00\x05\x00"),
        Err(DecodeError::ReasonCodeUnknown)
    );
    assert_eq!(
        from_server(b"\x20\x03\x00\x8E\x00"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert_eq!(
        from_server(b"\x20\x02\x00\x00"),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        from_server(b"\x20\x04\x00\x00\x00\x00"),
        Err(DecodeError::TrailingBytes)
    );
    assert_eq!(
        old_server(b"\x20\x03\x00\x00\x00"),
        Err(DecodeError::TrailingBytes)
    );
    assert_eq!(
        from_client(b"\x20\x03\x00\x00\x00"),
        Err(DecodeError::PacketNotFromClient)
    );
}

#[test]
fn disconnect_has_three_lengths() {
    let normal = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    for bytes in [&b"\xE0\x00"[..], b"\xE0\x01\x00", b"\xE0\x02\x00\x00"] {
        assert_eq!(from_client(bytes), Ok(normal));
    }
    assert_eq!(encoded(&normal, Version::V5), b"\xE0\x00");
    let taken = Packet::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver));
    assert_eq!(encoded(&taken, Version::V5), b"\xE0\x01\x8E");
    assert_eq!(from_server(b"\xE0\x01\x8E"), Ok(taken));
    let explained = Packet::Disconnect(Disconnect {
        reason_string: Some("hi"),
        ..Disconnect::new(ReasonCode::Success)
    });
    assert_eq!(
        encoded(&explained, Version::V5),
        b"\xE0\x07\x00\x05\x1F\x00\x02hi"
    );
    assert_eq!(
        from_server(b"\xE0\x07\x00\x05\x1F\x00\x02hi"),
        Ok(explained)
    );
}

#[test]
fn disconnect_keeps_its_rules() {
    let expiry = b"\xE0\x07\x00\x05\x11\x00\x00\x00\x01";
    let reference = b"\xE0\x06\x00\x04\x1C\x00\x01b";
    assert!(from_client(expiry).is_ok());
    assert_eq!(
        from_server(expiry),
        Err(DecodeError::SessionExpiryFromServer)
    );
    assert!(from_server(reference).is_ok());
    assert_eq!(
        from_client(reference),
        Err(DecodeError::ServerReferenceFromClient)
    );
    assert!(from_client(b"\xE0\x01\x04").is_ok());
    assert_eq!(
        from_server(b"\xE0\x01\x04"),
        Err(DecodeError::ReasonCodeNotFromServer)
    );
    assert_eq!(
        from_client(b"\xE0\x01\x8E"),
        Err(DecodeError::ReasonCodeNotFromClient)
    );
    assert_eq!(
        from_client(b"\xE0\x01\x86"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert_eq!(
        from_client(b"\xE0\x01\x7F"),
        Err(DecodeError::ReasonCodeUnknown)
    );
    assert_eq!(
        from_client(b"\xE0\x03\x00\x00\x00"),
        Err(DecodeError::TrailingBytes)
    );
    assert_eq!(
        from_client(b"\xE0\x02\x00\x01"),
        Err(DecodeError::PropertiesPastEnd)
    );
}

#[test]
fn disconnect_in_311_is_empty_and_the_clients() {
    let normal = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    assert_eq!(old_client(b"\xE0\x00"), Ok(normal));
    assert_eq!(old_client(b"\xE0\x01\x00"), Err(DecodeError::TrailingBytes));
    assert_eq!(
        old_server(b"\xE0\x00"),
        Err(DecodeError::DisconnectFromServer)
    );
    let taken = Packet::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver));
    assert_eq!(encoded(&taken, Version::V311), b"\xE0\x00");
}

#[test]
fn auth_carries_a_method_and_data() {
    let bytes = b"\xF0\x13\x18\x11\x15\x00\x03ace\x16\x00\x08\xA0\xA1\xA2\xA3\xA4\xA5\xA6\xA7";
    let auth = Packet::Auth(Auth {
        data: Some(b"\xA0\xA1\xA2\xA3\xA4\xA5\xA6\xA7"),
        ..Auth::new(ReasonCode::ContinueAuthentication, "ace")
    });
    assert_eq!(from_client(bytes), Ok(auth));
    assert_eq!(from_server(bytes), Ok(auth));
    assert_eq!(encoded(&auth, Version::V5), bytes);
    let done = Packet::Auth(Auth::new(ReasonCode::Success, "ace"));
    assert_eq!(
        encoded(&done, Version::V5),
        b"\xF0\x08\x00\x06\x15\x00\x03ace"
    );
}

#[test]
fn a_bare_auth_decodes_without_a_method() {
    let Ok(Packet::Auth(bare)) = from_client(b"\xF0\x00") else {
        panic!("refused");
    };
    assert_eq!((bare.code, bare.method), (ReasonCode::Success, None));
    assert_eq!(encoded(&Packet::Auth(bare), Version::V5), b"\xF0\x00");
}

#[test]
fn auth_keeps_its_rules() {
    let with_code = |code: u8| packet(0xF0, &[&[code], &section(&[b"\x15\x00\x01m"])]);
    assert_eq!(
        from_client(&with_code(0x00)),
        Err(DecodeError::ReasonCodeNotFromClient)
    );
    assert_eq!(
        from_server(&with_code(0x19)),
        Err(DecodeError::ReasonCodeNotFromServer)
    );
    assert_eq!(
        from_client(&with_code(0x01)),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert_eq!(
        from_client(&with_code(0x1A)),
        Err(DecodeError::ReasonCodeUnknown)
    );
    assert_eq!(
        from_client(b"\xF0\x01\x18"),
        Err(DecodeError::AuthMethodMissing)
    );
    assert_eq!(
        from_client(b"\xF0\x02\x18\x00"),
        Err(DecodeError::AuthMethodMissing)
    );
    assert_eq!(
        from_client(&packet(0xF0, &[b"\x18", &section(&[b"\x16\x00\x01x"])])),
        Err(DecodeError::AuthMethodMissing)
    );
    let trailing = [&with_code(0x18)[2..], b"\x00"].concat();
    assert_eq!(
        from_client(&packet(0xF0, &[&trailing])),
        Err(DecodeError::TrailingBytes)
    );
    assert_eq!(old_client(&with_code(0x18)), Err(DecodeError::AuthInV311));
    assert_eq!(old_server(b"\xF0\x00"), Err(DecodeError::AuthInV311));
}

#[test]
fn pings_are_empty_and_have_a_direction() {
    assert_eq!(from_client(&PINGREQ), Ok(Packet::Pingreq));
    assert_eq!(from_server(&PINGRESP), Ok(Packet::Pingresp));
    assert_eq!(from_server(&PINGREQ), Err(DecodeError::PacketNotFromServer));
    assert_eq!(
        from_client(&PINGRESP),
        Err(DecodeError::PacketNotFromClient)
    );
    assert_eq!(encoded(&Packet::Pingreq, Version::V311), PINGREQ);
    assert_eq!(encoded(&Packet::Pingresp, Version::V5), PINGRESP);
    assert_eq!((PINGREQ, PINGRESP), ([0xC0, 0], [0xD0, 0]));
}

#[test]
fn connect_is_the_clients() {
    let bytes = connect(Version::V5, 0x02, &[&text("d1")]);
    assert_eq!(from_server(&bytes), Err(DecodeError::PacketNotFromServer));
}
