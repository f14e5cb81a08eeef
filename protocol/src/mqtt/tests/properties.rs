//! Which packet carries which property, and with which values: the whole table of MQTT 5 §2.2.2.2, tried cell by cell.
use super::*;

/// A packet that can carry properties, around a section; and who sends it.
struct Carrier {
    name: &'static str,
    sender: Sender,
    /// What AUTH cannot do without.
    always: &'static [u8],
    around: fn(&[u8]) -> Vec<u8>,
}

const CARRIERS: [Carrier; 14] = [
    carrier("CONNECT", Sender::Client, |s| {
        packet(0x10, &[b"\x00\x04MQTT\x05\x02\x00\x00", s, b"\x00\x00"])
    }),
    carrier("will", Sender::Client, |s| {
        let head = b"\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x00";
        packet(0x10, &[head, s, b"\x00\x01t\x00\x00"])
    }),
    carrier("CONNACK", Sender::Server, |s| {
        packet(0x20, &[b"\x00\x00", s])
    }),
    carrier("PUBLISH", Sender::Server, |s| {
        packet(0x30, &[b"\x00\x01t", s])
    }),
    carrier("PUBACK", Sender::Client, |s| {
        packet(0x40, &[b"\x00\x01\x00", s])
    }),
    carrier("PUBREC", Sender::Client, |s| {
        packet(0x50, &[b"\x00\x01\x00", s])
    }),
    carrier("PUBREL", Sender::Client, |s| {
        packet(0x62, &[b"\x00\x01\x00", s])
    }),
    carrier("PUBCOMP", Sender::Client, |s| {
        packet(0x70, &[b"\x00\x01\x00", s])
    }),
    carrier("SUBSCRIBE", Sender::Client, |s| {
        packet(0x82, &[b"\x00\x01", s, b"\x00\x01a\x00"])
    }),
    carrier("SUBACK", Sender::Server, |s| {
        packet(0x90, &[b"\x00\x01", s, b"\x00"])
    }),
    carrier("UNSUBSCRIBE", Sender::Client, |s| {
        packet(0xA2, &[b"\x00\x01", s, b"\x00\x01a"])
    }),
    carrier("UNSUBACK", Sender::Server, |s| {
        packet(0xB0, &[b"\x00\x01", s, b"\x00"])
    }),
    carrier("DISCONNECT", Sender::Client, |s| {
        packet(0xE0, &[b"\x00", s])
    }),
    Carrier {
        name: "AUTH",
        sender: Sender::Client,
        always: b"\x15\x00\x01m",
        around: |s| packet(0xF0, &[b"\x18", s]),
    },
];

const fn carrier(name: &'static str, sender: Sender, around: fn(&[u8]) -> Vec<u8>) -> Carrier {
    Carrier {
        name,
        sender,
        always: b"",
        around,
    }
}

impl Carrier {
    fn outcome(&self, properties: &[&[u8]]) -> Result<(), DecodeError> {
        let bytes = (self.around)(&section(&[self.always, &properties.concat()]));
        read(&bytes, self.sender, Version::V5).map(drop)
    }
}

/// Every property with a valid value, and the packets that carry it.
const TABLE: [(&[u8], &[&str]); 27] = [
    (b"\x01\x01", &["PUBLISH", "will"]),
    (b"\x02\x00\x00\x00\x01", &["PUBLISH", "will"]),
    (b"\x03\x00\x01c", &["PUBLISH", "will"]),
    (b"\x08\x00\x01r", &["PUBLISH", "will"]),
    (b"\x09\x00\x01d", &["PUBLISH", "will"]),
    (b"\x0B\x01", &["PUBLISH", "SUBSCRIBE"]),
    (
        b"\x11\x00\x00\x00\x01",
        &["CONNECT", "CONNACK", "DISCONNECT"],
    ),
    (b"\x12\x00\x01i", &["CONNACK"]),
    (b"\x13\x00\x01", &["CONNACK"]),
    (b"\x15\x00\x01m", &["CONNECT", "CONNACK", "AUTH"]),
    // In CONNECT only beside a method: see `connection.rs`.
    (b"\x16\x00\x01d", &["CONNECT", "CONNACK", "AUTH"]),
    (b"\x17\x00", &["CONNECT"]),
    (b"\x18\x00\x00\x00\x01", &["will"]),
    (b"\x19\x01", &["CONNECT"]),
    (b"\x1A\x00\x01i", &["CONNACK"]),
    // In DISCONNECT only from a server: see `connection.rs`.
    (b"\x1C\x00\x01s", &["CONNACK", "DISCONNECT"]),
    (
        b"\x1F\x00\x01r",
        &[
            "CONNACK",
            "PUBACK",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "SUBACK",
            "UNSUBACK",
            "DISCONNECT",
            "AUTH",
        ],
    ),
    (b"\x21\x00\x01", &["CONNECT", "CONNACK"]),
    (b"\x22\x00\x01", &["CONNECT", "CONNACK"]),
    (b"\x23\x00\x01", &["PUBLISH"]),
    (b"\x24\x01", &["CONNACK"]),
    (b"\x25\x01", &["CONNACK"]),
    (
        b"\x26\x00\x01k\x00\x01v",
        &[
            "CONNECT",
            "will",
            "CONNACK",
            "PUBLISH",
            "PUBACK",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "SUBSCRIBE",
            "SUBACK",
            "UNSUBSCRIBE",
            "UNSUBACK",
            "DISCONNECT",
            "AUTH",
        ],
    ),
    (b"\x27\x00\x00\x00\x01", &["CONNECT", "CONNACK"]),
    (b"\x28\x01", &["CONNACK"]),
    (b"\x29\x01", &["CONNACK"]),
    (b"\x2A\x01", &["CONNACK"]),
];

#[test]
fn each_packet_carries_the_properties_of_the_table_once() {
    for carrier in &CARRIERS {
        for (property, carriers) in TABLE {
            let found = carrier.outcome(&[property]);
            let shown = std::format!("{} {:02X}", carrier.name, property[0]);
            match (carrier.name, property[0]) {
                ("AUTH", 0x15) => assert_eq!(found, Err(DecodeError::PropertyRepeated)),
                ("CONNECT", 0x16) => assert_eq!(found, Err(DecodeError::AuthDataWithoutMethod)),
                ("DISCONNECT", 0x1C) => {
                    assert_eq!(found, Err(DecodeError::ServerReferenceFromClient));
                }
                (name, _) if carriers.contains(&name) => {
                    assert_eq!(found, Ok(()), "{shown}");
                    let repeatable = matches!((name, property[0]), (_, 0x26) | ("PUBLISH", 0x0B));
                    let expected = if repeatable {
                        Ok(())
                    } else {
                        Err(DecodeError::PropertyRepeated)
                    };
                    assert_eq!(
                        carrier.outcome(&[property, property]),
                        expected,
                        "{shown} twice"
                    );
                }
                _ => assert_eq!(found, Err(DecodeError::PropertyNotAllowed), "{shown}"),
            }
        }
    }
}

#[test]
fn unknown_properties_are_malformed_everywhere() {
    for carrier in &CARRIERS {
        for id in 0..=u8::MAX {
            if TABLE.iter().all(|(property, _)| property[0] != id) {
                assert_eq!(
                    carrier.outcome(&[&[id, 0]]),
                    Err(DecodeError::PropertyUnknown)
                );
            }
        }
    }
}

#[test]
fn properties_do_not_end_early() {
    for carrier in &CARRIERS {
        for (property, carriers) in TABLE {
            if !carriers.contains(&carrier.name) || (carrier.name, property[0]) == ("AUTH", 0x15) {
                continue;
            }
            for len in 1..property.len() {
                assert_eq!(
                    carrier.outcome(&[&property[..len]]),
                    Err(DecodeError::PropertyTruncated),
                    "{} {property:02X?}",
                    carrier.name
                );
            }
        }
    }
}

#[test]
fn property_sections_have_a_minimal_length_inside_the_packet() {
    let outcome = |len: &[u8]| from_client(&packet(0x82, &[b"\x00\x01", len])).unwrap_err();
    assert_eq!(outcome(b""), DecodeError::Truncated);
    assert_eq!(outcome(b"\x80"), DecodeError::Truncated);
    assert_eq!(outcome(b"\x80\x00"), DecodeError::VarintNotMinimal);
    assert_eq!(outcome(b"\x80\x80\x80\x80\x01"), DecodeError::VarintTooLong);
    assert_eq!(outcome(b"\x01"), DecodeError::PropertiesPastEnd);
    assert_eq!(outcome(b"\xFF\xFF\xFF\x7F"), DecodeError::PropertiesPastEnd);
}

#[test]
fn values_are_in_range() {
    let named = |name: &str| {
        CARRIERS
            .iter()
            .find(|carrier| carrier.name == name)
            .unwrap()
    };
    for (carrier, property, error) in [
        (
            "PUBLISH",
            &b"\x01\x02"[..],
            DecodeError::PayloadFormatUnknown,
        ),
        ("will", b"\x01\x02", DecodeError::PayloadFormatUnknown),
        ("CONNECT", b"\x17\x02", DecodeError::PropertyNotBoolean),
        ("CONNECT", b"\x19\xFF", DecodeError::PropertyNotBoolean),
        ("CONNACK", b"\x25\x02", DecodeError::PropertyNotBoolean),
        ("CONNACK", b"\x28\x02", DecodeError::PropertyNotBoolean),
        ("CONNACK", b"\x29\x02", DecodeError::PropertyNotBoolean),
        ("CONNACK", b"\x2A\x02", DecodeError::PropertyNotBoolean),
        ("CONNACK", b"\x24\x02", DecodeError::MaximumQosInvalid),
        ("CONNECT", b"\x21\x00\x00", DecodeError::ReceiveMaximumZero),
        ("CONNACK", b"\x21\x00\x00", DecodeError::ReceiveMaximumZero),
        (
            "CONNECT",
            b"\x27\x00\x00\x00\x00",
            DecodeError::MaximumPacketSizeZero,
        ),
        (
            "CONNACK",
            b"\x27\x00\x00\x00\x00",
            DecodeError::MaximumPacketSizeZero,
        ),
        ("PUBLISH", b"\x23\x00\x00", DecodeError::TopicAliasZero),
        ("PUBLISH", b"\x0B\x00", DecodeError::SubscriptionIdZero),
        ("SUBSCRIBE", b"\x0B\x00", DecodeError::SubscriptionIdZero),
        (
            "SUBSCRIBE",
            b"\x0B\xFF\xFF\xFF\xFF\x01",
            DecodeError::VarintTooLong,
        ),
        ("SUBSCRIBE", b"\x0B\x81\x00", DecodeError::VarintNotMinimal),
        ("PUBLISH", b"\x03\x00\x01\xFF", DecodeError::StringIllFormed),
        ("PUBACK", b"\x1F\x00\x01\x00", DecodeError::StringHasNul),
        (
            "SUBACK",
            b"\x26\x00\x01k\x00\x01\x00",
            DecodeError::StringHasNul,
        ),
        (
            "UNSUBSCRIBE",
            b"\x26\x00\x01\xC3\x00\x00",
            DecodeError::StringIllFormed,
        ),
    ] {
        assert_eq!(
            named(carrier).outcome(&[property]),
            Err(error),
            "{carrier} {property:02X?}"
        );
    }
}

#[test]
fn connack_reads_every_property() {
    let bytes = packet(
        0x20,
        &[
            b"\x00\x00",
            &section(&[
                b"\x11\x00\x00\x00\x07",
                b"\x21\x00\x08",
                b"\x24\x00",
                b"\x25\x00",
                b"\x27\x00\x00\x01\x00",
                b"\x12\x00\x02id",
                b"\x22\x00\x09",
                b"\x1F\x00\x02rs",
                b"\x28\x00",
                b"\x29\x00",
                b"\x2A\x00",
                b"\x13\x00\x0A",
                b"\x1A\x00\x02ri",
                b"\x1C\x00\x02sr",
                b"\x15\x00\x01m",
                b"\x16\x00\x01\xFF",
                b"\x26\x00\x01k\x00\x01v",
            ]),
        ],
    );
    let pairs = [("k", "v")];
    let properties = ConnackProperties {
        session_expiry_s: Some(7),
        receive_max: 8,
        qos_max: Qos::AtMostOnce,
        retain_available: false,
        packet_size_max: Some(256),
        assigned_client_id: Some("id"),
        topic_alias_max: 9,
        reason_string: Some("rs"),
        wildcard_subscriptions_available: false,
        subscription_ids_available: false,
        shared_subscriptions_available: false,
        keep_alive_s: Some(10),
        response_information: Some("ri"),
        server_reference: Some("sr"),
        auth_method: Some("m"),
        auth_data: Some(b"\xFF"),
        user_properties: UserProperties::new(&pairs),
    };
    let expected = Connack {
        properties,
        ..Connack::new(false, ReasonCode::Success)
    };
    assert_eq!(from_server(&bytes), Ok(Packet::Connack(expected)));
}
