//! PUBLISH and its acknowledgements, and deliveries.
use super::*;
use crate::sink::{CapacityError, Counter};
use crate::topic::{NameError, TopicName};
use core::num::NonZeroU16;

fn publish(first: u8, topic: &str, behind: &[&[u8]]) -> Vec<u8> {
    packet(first, &[&text(topic), &behind.concat()])
}

#[test]
fn publish_reads_every_field() {
    let properties = section(&[
        b"\x01\x01",
        b"\x02\x00\x00\x00\x3C",
        b"\x23\x00\x09",
        b"\x08\x00\x03r/t",
        b"\x09\x00\x01\xFF",
        b"\x26\x00\x01k\x00\x01v",
        b"\x0B\x05",
        b"\x03\x00\x02ct",
        b"\x26\x00\x01k\x00\x01w",
        b"\x0B\x80\x01",
    ]);
    let bytes = publish(0x3D, "a/b", &[b"\x00\x07", &properties, b"hello"]);
    let pairs = [("k", "v"), ("k", "w")];
    let ids = [
        SubscriptionId::new(5).unwrap(),
        SubscriptionId::new(128).unwrap(),
    ];
    let expected = Publish {
        dup: true,
        qos: Qos::ExactlyOnce,
        retain: true,
        packet_id: Some(id(7)),
        topic_alias: NonZeroU16::new(9),
        subscription_ids: SubscriptionIds::new(&ids),
        properties: MessageProperties {
            payload_format: Some(PayloadFormat::Utf8),
            expiry_s: Some(60),
            content_type: Some("ct"),
            response_topic: Some("r/t"),
            correlation_data: Some(b"\xFF"),
            user_properties: UserProperties::new(&pairs),
        },
        ..Publish::new("a/b", b"hello")
    };
    assert_eq!(from_server(&bytes), Ok(Packet::Publish(expected)));
}

#[test]
fn publish_without_properties_is_short_in_both_versions() {
    let message = Packet::Publish(Publish::new("t", b"hi"));
    assert_eq!(encoded(&message, Version::V5), b"\x30\x06\x00\x01t\x00hi");
    assert_eq!(encoded(&message, Version::V311), b"\x30\x05\x00\x01thi");
    assert_eq!(from_client(b"\x30\x06\x00\x01t\x00hi"), Ok(message));
    assert_eq!(old_client(b"\x30\x05\x00\x01thi"), Ok(message));
    let empty = Packet::Publish(Publish::new("t", b""));
    assert_eq!(old_client(b"\x30\x03\x00\x01t"), Ok(empty));
}

#[test]
fn publish_has_a_topic_name() {
    let named = |topic| publish(0x30, topic, &[b"\x00"]);
    let error = |bytes: &[u8]| from_client(bytes).unwrap_err();
    assert_eq!(
        error(&named("a/+")),
        DecodeError::PublishTopic(NameError::Wildcard)
    );
    assert_eq!(
        error(&named("#")),
        DecodeError::PublishTopic(NameError::Wildcard)
    );
    assert_eq!(error(&named("a\0")), DecodeError::StringHasNul);
    assert_eq!(
        error(&packet(0x30, &[b"\x00\x01\xFF\x00"])),
        DecodeError::StringIllFormed
    );
    assert_eq!(
        DecodeError::PublishTopic(NameError::Wildcard).reason_code(),
        ReasonCode::TopicNameInvalid
    );
    // Names that begin with `$` are valid; who may use them is the broker's business.
    assert!(from_client(&named("$SYS/x")).is_ok());
}

#[test]
fn an_alias_may_stand_for_the_topic() {
    let alias = section(&[b"\x23\x00\x01"]);
    let Ok(Packet::Publish(read)) = read_leaked(publish(0x30, "", &[&alias, b"x"])) else {
        panic!("refused");
    };
    assert_eq!((read.topic, read.topic_alias), ("", NonZeroU16::new(1)));
    let error = |bytes: &[u8]| from_client(bytes).unwrap_err();
    assert_eq!(
        error(&publish(0x30, "", &[b"\x00"])),
        DecodeError::PublishTopicMissing
    );
    let zero = section(&[b"\x23\x00\x00"]);
    assert_eq!(
        error(&publish(0x30, "t", &[&zero])),
        DecodeError::TopicAliasZero
    );
    assert_eq!(
        DecodeError::TopicAliasZero.reason_code(),
        ReasonCode::TopicAliasInvalid
    );
    assert_eq!(
        old_client(&publish(0x30, "", &[b"x"])),
        Err(DecodeError::PublishTopic(NameError::Empty))
    );
}

fn read_leaked(bytes: Vec<u8>) -> Result<Packet<'static>, DecodeError> {
    from_client(bytes.leak())
}

#[test]
fn qos_1_and_2_have_a_packet_identifier() {
    for first in [0x32, 0x34] {
        assert_eq!(
            from_client(&publish(first, "t", &[b"\x00\x00\x00"])),
            Err(DecodeError::PacketIdZero)
        );
        assert_eq!(
            from_client(&publish(first, "t", &[b"\x00"])),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            from_client(&publish(first, "t", &[b"\x00\x01"])),
            Err(DecodeError::Truncated)
        );
        assert!(old_client(&publish(first, "t", &[b"\x00\x01"])).is_ok());
    }
    let without = Publish {
        qos: Qos::AtLeastOnce,
        ..Publish::new("t", b"")
    };
    assert_eq!(
        without.encode(Version::V5, &mut Counter::new()),
        Err(CapacityError)
    );
}

#[test]
fn qos_0_is_never_written_as_sent_again_or_with_an_identifier() {
    let message = Publish {
        dup: true,
        packet_id: Some(id(1)),
        ..Publish::new("t", b"")
    };
    assert_eq!(
        encoded(&Packet::Publish(message), Version::V311),
        b"\x30\x03\x00\x01t"
    );
}

#[test]
fn subscription_identifiers_come_from_servers() {
    let bytes = publish(0x30, "t", &[&section(&[b"\x0B\x05", b"\x0B\x06"])]);
    assert!(from_server(&bytes).is_ok());
    assert_eq!(
        from_client(&bytes),
        Err(DecodeError::SubscriptionIdFromClient)
    );
}

#[test]
fn response_topics_are_topic_names() {
    let with = |topic: &str| publish(0x30, "t", &[&section(&[b"\x08", &text(topic)])]);
    assert!(from_client(&with("a/b")).is_ok());
    assert_eq!(
        from_client(&with("a/#")),
        Err(DecodeError::ResponseTopic(NameError::Wildcard))
    );
    assert_eq!(
        from_client(&with("")),
        Err(DecodeError::ResponseTopic(NameError::Empty))
    );
}

#[test]
fn acknowledgements_have_three_lengths() {
    for (first, kind) in [
        (0x40, AckKind::Puback),
        (0x50, AckKind::Pubrec),
        (0x62, AckKind::Pubrel),
        (0x70, AckKind::Pubcomp),
    ] {
        let ack = Ack::new(id(0x0102), ReasonCode::Success);
        for rest in [&b""[..], b"\x00", b"\x00\x00"] {
            let bytes = packet(first, &[b"\x01\x02", rest]);
            let read = from_client(&bytes).unwrap();
            assert_eq!(read.packet_type(), kind.packet_type());
            assert_eq!(encoded(&read, Version::V5), packet(first, &[b"\x01\x02"]));
            assert_eq!(ack.encoded_len(Version::V5), 4);
        }
        let long = packet(first, &[b"\x01\x02\x00\x00\x00"]);
        assert_eq!(from_client(&long), Err(DecodeError::TrailingBytes));
        let old = packet(first, &[b"\x01\x02"]);
        assert!(old_client(&old).is_ok() && old_server(&old).is_ok());
        let coded = packet(first, &[b"\x01\x02\x00"]);
        assert_eq!(old_client(&coded), Err(DecodeError::TrailingBytes));
        assert_eq!(
            from_client(&packet(first, &[b"\x00\x00"])),
            Err(DecodeError::PacketIdZero)
        );
        assert_eq!(
            from_client(&packet(first, &[b"\x01"])),
            Err(DecodeError::Truncated)
        );
    }
}

#[test]
fn acknowledgements_say_why_in_5_only() {
    let ack = Ack {
        reason_string: Some("no"),
        ..Ack::new(id(1), ReasonCode::NotAuthorized)
    };
    let puback = Packet::Puback(ack);
    assert_eq!(
        encoded(&puback, Version::V5),
        b"\x40\x09\x00\x01\x87\x05\x1F\x00\x02no"
    );
    assert_eq!(encoded(&puback, Version::V311), b"\x40\x02\x00\x01");
    let bare = Packet::Pubrec(Ack::new(id(1), ReasonCode::NotAuthorized));
    assert_eq!(encoded(&bare, Version::V5), b"\x50\x03\x00\x01\x87");
    assert_eq!(from_server(b"\x50\x03\x00\x01\x87"), Ok(bare));
}

#[test]
fn acknowledgements_take_only_their_codes() {
    assert!(from_server(b"\x40\x03\x00\x01\x10").is_ok());
    assert_eq!(
        from_client(b"\x40\x03\x00\x01\x10"),
        Err(DecodeError::ReasonCodeNotFromClient)
    );
    assert_eq!(
        from_client(b"\x40\x03\x00\x01\x92"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert_eq!(
        from_client(b"\x62\x03\x00\x01\x87"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert!(from_client(b"\x62\x03\x00\x01\x92").is_ok());
    assert_eq!(
        from_client(b"\x70\x03\x00\x01\x20"),
        Err(DecodeError::ReasonCodeUnknown)
    );
}

#[test]
fn a_delivery_is_read_as_the_publish_it_stands_for() {
    let pairs = [("k", "v")];
    let properties = MessageProperties {
        payload_format: Some(PayloadFormat::Bytes),
        expiry_s: Some(100),
        content_type: Some("ct"),
        response_topic: Some("r"),
        correlation_data: Some(b"c"),
        user_properties: UserProperties::new(&pairs),
    };
    let mut stored = heapless::Vec::<u8, 64>::new();
    properties.encode_stored(&mut stored).unwrap();
    let ids = [
        SubscriptionId::new(1).unwrap(),
        SubscriptionId::new(300).unwrap(),
    ];
    let delivery = Delivery {
        dup: true,
        qos: Qos::AtLeastOnce,
        retain: true,
        packet_id: Some(id(9)),
        expiry_s: Some(40),
        subscription_ids: &ids,
        stored_properties: &stored,
        ..Delivery::new(TopicName::new("a/b").unwrap(), b"payload")
    };
    let expected = Publish {
        dup: true,
        qos: Qos::AtLeastOnce,
        retain: true,
        packet_id: Some(id(9)),
        subscription_ids: SubscriptionIds::new(&ids),
        properties: MessageProperties {
            expiry_s: Some(40),
            ..properties
        },
        ..Publish::new("a/b", b"payload")
    };
    let mut out = heapless::Vec::<u8, 128>::new();
    delivery.encode(Version::V5, &mut out).unwrap();
    assert_eq!(delivery.encoded_len(Version::V5), out.len());
    assert_eq!(from_server(&out), Ok(Packet::Publish(expected)));

    out.clear();
    delivery.encode(Version::V311, &mut out).unwrap();
    assert_eq!(delivery.encoded_len(Version::V311), out.len());
    assert_eq!(out, b"\x3B\x0E\x00\x03a/b\x00\x09payload");
}
