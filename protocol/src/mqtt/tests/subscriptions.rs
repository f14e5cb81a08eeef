//! SUBSCRIBE, UNSUBSCRIBE and their answers.
use super::*;
use crate::topic::{FilterError, TopicFilter};

/// A version 5 SUBSCRIBE for one filter.
fn subscribe(filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\x00\x01", b"\x00", &text(filter), &[options]])
}

fn old_subscribe(filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\x00\x01", &text(filter), &[options]])
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

#[test]
fn subscribe_reads_every_field() {
    let properties = section(&[b"\x0B\xFF\xFF\xFF\x7F", b"\x26\x00\x01k\x00\x01v"]);
    let bytes = packet(
        0x82,
        &[
            b"\x00\x0A",
            &properties,
            &text("a/#"),
            &[0b0010_1101],
            &text("$share/g/b"),
            &[0x02],
        ],
    );
    let pairs = [("k", "v")];
    let wanted = [
        Subscription {
            filter: filter("a/#"),
            options: SubscriptionOptions {
                qos: Qos::AtLeastOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            },
        },
        Subscription::new(filter("$share/g/b"), Qos::ExactlyOnce),
    ];
    let expected = Packet::Subscribe(Subscribe {
        subscription_id: SubscriptionId::new(VARINT_MAX),
        user_properties: UserProperties::new(&pairs),
        ..Subscribe::new(id(10), &wanted)
    });
    assert_eq!(from_client(&bytes), Ok(expected));
    assert_eq!(encoded(&expected, Version::V5), bytes);
}

#[test]
fn subscribe_in_311_has_only_a_qos() {
    let wanted = [Subscription::new(filter("a"), Qos::AtLeastOnce)];
    let expected = Packet::Subscribe(Subscribe::new(id(1), &wanted));
    assert_eq!(old_client(&old_subscribe("a", 1)), Ok(expected));
    for options in [0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
        assert_eq!(
            old_client(&old_subscribe("a", options)),
            Err(DecodeError::SubscribeReservedBits)
        );
    }
    assert_eq!(
        old_client(&old_subscribe("a", 3)),
        Err(DecodeError::SubscribeQos3)
    );
}

#[test]
fn subscription_options_have_valid_values() {
    assert_eq!(
        from_client(&subscribe("a", 0x40)),
        Err(DecodeError::SubscribeReservedBits)
    );
    assert_eq!(
        from_client(&subscribe("a", 0x80)),
        Err(DecodeError::SubscribeReservedBits)
    );
    assert_eq!(
        from_client(&subscribe("a", 0x03)),
        Err(DecodeError::SubscribeQos3)
    );
    assert_eq!(
        from_client(&subscribe("a", 0x30)),
        Err(DecodeError::RetainHandling3)
    );
    assert!(from_client(&subscribe("a", 0x2E)).is_ok());
}

#[test]
fn no_local_and_shared_exclude_each_other() {
    assert_eq!(
        from_client(&subscribe("$share/g/a", 0x04)),
        Err(DecodeError::NoLocalOnShared)
    );
    assert!(from_client(&subscribe("$share/g/a", 0x08)).is_ok());
    assert!(from_client(&subscribe("a", 0x04)).is_ok());
}

#[test]
fn subscribe_has_valid_filters() {
    for (text, error) in [
        ("", FilterError::Empty),
        ("a/#/b", FilterError::HashNotLast),
        ("a#", FilterError::HashNotWholeLevel),
        ("+a", FilterError::PlusNotWholeLevel),
        ("$share/g", FilterError::ShareIncomplete),
        ("$share//a", FilterError::ShareNameEmpty),
        ("$share/+/a", FilterError::ShareNameHasWildcard),
    ] {
        assert_eq!(
            from_client(&subscribe(text, 0)),
            Err(DecodeError::Filter(error)),
            "{text}"
        );
        assert_eq!(
            old_client(&old_subscribe(text, 0)),
            Err(DecodeError::Filter(error))
        );
    }
    assert_eq!(
        from_client(&subscribe("a\0", 0)),
        Err(DecodeError::StringHasNul)
    );
    assert_eq!(
        DecodeError::Filter(FilterError::HashNotLast).reason_code(),
        ReasonCode::TopicFilterInvalid
    );
}

#[test]
fn the_second_subscription_is_judged_like_the_first() {
    let first = [text("a"), std::vec![0]].concat();
    let with = |second: &[u8]| packet(0x82, &[b"\x00\x01\x00", &first, second]);
    assert_eq!(
        from_client(&with(b"\x00\x01b")),
        Err(DecodeError::Truncated)
    );
    assert_eq!(from_client(&with(b"\x00")), Err(DecodeError::Truncated));
    assert_eq!(
        from_client(&with(b"\x00\x01b\x03")),
        Err(DecodeError::SubscribeQos3)
    );
    assert!(from_client(&with(b"\x00\x01b\x02")).is_ok());
}

#[test]
fn lists_are_not_empty() {
    assert_eq!(
        from_client(b"\x82\x03\x00\x01\x00"),
        Err(DecodeError::SubscribeEmpty)
    );
    assert_eq!(
        old_client(b"\x82\x02\x00\x01"),
        Err(DecodeError::SubscribeEmpty)
    );
    assert_eq!(
        from_client(b"\xA2\x03\x00\x01\x00"),
        Err(DecodeError::UnsubscribeEmpty)
    );
    assert_eq!(
        old_client(b"\xA2\x02\x00\x01"),
        Err(DecodeError::UnsubscribeEmpty)
    );
    assert_eq!(
        from_server(b"\x90\x03\x00\x01\x00"),
        Err(DecodeError::SubackEmpty)
    );
    assert_eq!(
        old_server(b"\x90\x02\x00\x01"),
        Err(DecodeError::SubackEmpty)
    );
    assert_eq!(
        from_server(b"\xB0\x03\x00\x01\x00"),
        Err(DecodeError::SubackEmpty)
    );
}

#[test]
fn packet_identifiers_are_not_zero() {
    for first in [0x82, 0xA2] {
        assert_eq!(
            from_client(&packet(first, &[b"\x00\x00\x00\x00\x01a\x00"])),
            Err(DecodeError::PacketIdZero)
        );
    }
    for first in [0x90, 0xB0] {
        assert_eq!(
            from_server(&packet(first, &[b"\x00\x00\x00\x00"])),
            Err(DecodeError::PacketIdZero)
        );
    }
}

#[test]
fn unsubscribe_reads_its_filters() {
    let filters = [filter("a/+"), filter("$share/g/b")];
    let expected = Packet::Unsubscribe(Unsubscribe::new(id(3), &filters));
    let listed = [text("a/+"), text("$share/g/b")].concat();
    let bytes = packet(0xA2, &[b"\x00\x03\x00", &listed]);
    assert_eq!(from_client(&bytes), Ok(expected));
    assert_eq!(encoded(&expected, Version::V5), bytes);
    assert_eq!(
        encoded(&expected, Version::V311),
        packet(0xA2, &[b"\x00\x03", &listed])
    );
    assert_eq!(
        from_client(&packet(0xA2, &[b"\x00\x03\x00", &text("a#")])),
        Err(DecodeError::Filter(FilterError::HashNotWholeLevel))
    );
    assert_eq!(
        from_client(&packet(0xA2, &[b"\x00\x03\x00\x00\x02a"])),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn suback_answers_in_both_versions() {
    let codes = [ReasonCode::GrantedQos1, ReasonCode::NotAuthorized];
    let suback = Packet::Suback(Suback::new(id(3), &codes));
    assert_eq!(
        encoded(&suback, Version::V5),
        b"\x90\x05\x00\x03\x00\x01\x87"
    );
    assert_eq!(encoded(&suback, Version::V311), b"\x90\x04\x00\x03\x01\x80");
    assert_eq!(from_server(b"\x90\x05\x00\x03\x00\x01\x87"), Ok(suback));
    let old_codes = [ReasonCode::GrantedQos1, ReasonCode::UnspecifiedError];
    let old = Packet::Suback(Suback::new(id(3), &old_codes));
    assert_eq!(old_server(b"\x90\x04\x00\x03\x01\x80"), Ok(old));
}

#[test]
fn answers_take_only_their_codes() {
    assert_eq!(
        old_server(b"\x90\x03\x00\x01\x87"),
        Err(DecodeError::ReturnCodeUnknown)
    );
    assert_eq!(
        old_server(b"\x90\x03\x00\x01\x03"),
        Err(DecodeError::ReturnCodeUnknown)
    );
    assert_eq!(
        from_server(b"\x90\x04\x00\x01\x00\x03"),
        Err(DecodeError::ReasonCodeUnknown)
    );
    assert_eq!(
        from_server(b"\x90\x04\x00\x01\x00\x11"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert_eq!(
        from_server(b"\xB0\x04\x00\x01\x00\x01"),
        Err(DecodeError::ReasonCodeNotAllowed)
    );
    assert!(from_server(b"\xB0\x04\x00\x01\x00\x11").is_ok());
}

#[test]
fn unsuback_has_no_codes_in_311() {
    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let unsuback = Packet::Unsuback(Unsuback::new(id(3), &codes));
    assert_eq!(
        encoded(&unsuback, Version::V5),
        b"\xB0\x05\x00\x03\x00\x00\x11"
    );
    assert_eq!(encoded(&unsuback, Version::V311), b"\xB0\x02\x00\x03");
    let old = Packet::Unsuback(Unsuback::new(id(3), &[]));
    assert_eq!(old_server(b"\xB0\x02\x00\x03"), Ok(old));
    assert_eq!(
        old_server(b"\xB0\x03\x00\x03\x00"),
        Err(DecodeError::TrailingBytes)
    );
}

#[test]
fn subscribing_has_a_direction() {
    assert_eq!(
        from_server(&subscribe("a", 0)),
        Err(DecodeError::PacketNotFromServer)
    );
    assert_eq!(
        from_server(&packet(0xA2, &[b"\x00\x01\x00\x00\x01a"])),
        Err(DecodeError::PacketNotFromServer)
    );
    assert_eq!(
        from_client(b"\x90\x04\x00\x01\x00\x00"),
        Err(DecodeError::PacketNotFromClient)
    );
    assert_eq!(
        from_client(b"\xB0\x04\x00\x01\x00\x00"),
        Err(DecodeError::PacketNotFromClient)
    );
}

#[test]
fn a_decoded_list_can_be_sent_on() {
    let bytes = subscribe("a/b", 1);
    let Ok(Packet::Subscribe(received)) = from_client(&bytes) else {
        panic!("refused");
    };
    let sent = Subscribe {
        packet_id: id(77),
        ..received
    };
    let expected = packet(0x82, &[b"\x00\x4D", b"\x00", &text("a/b"), &[1]]);
    assert_eq!(encoded(&Packet::Subscribe(sent), Version::V5), expected);
}
