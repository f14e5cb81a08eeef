//! `vectors/mqtt-wire-cases.json`: 53 packets as a client sends them.
use super::*;
use crate::topic::{FilterError, NameError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::string::String;

#[derive(Deserialize)]
struct Case {
    name: String,
    version: String,
    valid: bool,
    hex: String,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let digits = self.hex.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn version(&self) -> Version {
        match self.version.as_str() {
            "5" => Version::V5,
            "3.1.1" => Version::V311,
            other => panic!("{other}"),
        }
    }

    fn outcome(&self) -> Result<(), DecodeError> {
        let bytes = self.bytes();
        match frame(&bytes, 1_000)? {
            Some(frame) => decode(&frame, Sender::Client, self.version()).map(drop),
            None => panic!("{}: the packet is not whole", self.name),
        }
    }
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../vectors/mqtt-wire-cases.json")).unwrap();
    assert_eq!(cases.len(), 53);
    cases
}

/// What each invalid case breaks.
const BROKEN: [(&str, DecodeError); 43] = [
    (
        "v5 CONNECT auth data w/o method",
        DecodeError::AuthDataWithoutMethod,
    ),
    ("v5 CONNECT reserved flag", DecodeError::ConnectFlagReserved),
    ("v4 CONNECT reserved flag", DecodeError::ConnectFlagReserved),
    (
        "v4 CONNECT password, no username",
        DecodeError::PasswordWithoutUserName,
    ),
    ("v5 CONNECT dup property", DecodeError::PropertyRepeated),
    ("v5 CONNECT receive max 0", DecodeError::ReceiveMaximumZero),
    (
        "v5 CONNECT max packet 0",
        DecodeError::MaximumPacketSizeZero,
    ),
    (
        "v5 CONNECT req-problem-info 2",
        DecodeError::PropertyNotBoolean,
    ),
    (
        "v5 CONNECT property of other packet",
        DecodeError::PropertyNotAllowed,
    ),
    ("v5 CONNECT trailing garbage", DecodeError::TrailingBytes),
    ("v4 CONNECT trailing garbage", DecodeError::TrailingBytes),
    ("v5 CONNECT will qos3", DecodeError::WillQos3),
    (
        "v5 CONNECT will qos w/o will",
        DecodeError::WillQosWithoutWill,
    ),
    (
        "v5 CONNECT client id bad utf8",
        DecodeError::StringIllFormed,
    ),
    (
        "v5 CONNECT client id surrogate",
        DecodeError::StringIllFormed,
    ),
    ("v5 CONNECT client id U+0000", DecodeError::StringHasNul),
    ("CONNECT non-minimal length", DecodeError::VarintNotMinimal),
    ("CONNECT fixed flags != 0", DecodeError::HeaderFlags),
    ("5-byte remaining length", DecodeError::VarintTooLong),
    ("v5 AUTH fixed flags != 0", DecodeError::HeaderFlags),
    ("v5 AUTH bad reason 0x01", DecodeError::ReasonCodeNotAllowed),
    ("v5 AUTH dup method", DecodeError::PropertyRepeated),
    ("v5 PUBLISH qos3", DecodeError::PublishQos3),
    ("v5 PUBLISH qos0 dup", DecodeError::PublishDupQos0),
    (
        "v5 PUBLISH wildcard topic",
        DecodeError::PublishTopic(NameError::Wildcard),
    ),
    ("v5 PUBLISH topic U+0000", DecodeError::StringHasNul),
    (
        "v5 PUBLISH empty topic no alias",
        DecodeError::PublishTopicMissing,
    ),
    ("v5 PUBLISH alias 0", DecodeError::TopicAliasZero),
    ("v5 PUBLISH pkid 0", DecodeError::PacketIdZero),
    (
        "v5 PUBLISH prop len past end",
        DecodeError::PropertiesPastEnd,
    ),
    ("v5 SUBSCRIBE flags 0", DecodeError::HeaderFlags),
    ("v5 SUBSCRIBE empty list", DecodeError::SubscribeEmpty),
    (
        "v5 SUBSCRIBE bad filter a/#/b",
        DecodeError::Filter(FilterError::HashNotLast),
    ),
    (
        "v5 SUBSCRIBE filter a+",
        DecodeError::Filter(FilterError::PlusNotWholeLevel),
    ),
    (
        "v5 SUBSCRIBE reserved opts",
        DecodeError::SubscribeReservedBits,
    ),
    (
        "v5 SUBSCRIBE retain handling 3",
        DecodeError::RetainHandling3,
    ),
    ("v5 SUBSCRIBE pkid 0", DecodeError::PacketIdZero),
    ("v5 SUBSCRIBE sub id 0", DecodeError::SubscriptionIdZero),
    ("v4 SUBSCRIBE qos 3", DecodeError::SubscribeQos3),
    ("v5 PINGREQ with body", DecodeError::TrailingBytes),
    ("v5 CONNACK from client", DecodeError::PacketNotFromClient),
    ("v5 UNSUBACK from client", DecodeError::PacketNotFromClient),
    ("v5 packet type 0", DecodeError::PacketTypeReserved),
];

#[test]
fn valid_cases_decode() {
    for case in cases().iter().filter(|case| case.valid) {
        assert_eq!(case.outcome(), Ok(()), "{}", case.name);
    }
}

#[test]
fn invalid_cases_are_refused_for_the_right_reason() {
    let expected: BTreeMap<&str, DecodeError> = BROKEN.into_iter().collect();
    let cases = cases();
    let invalid: Vec<&Case> = cases.iter().filter(|case| !case.valid).collect();
    assert_eq!(invalid.len(), expected.len());
    for case in invalid {
        assert_eq!(
            case.outcome(),
            Err(expected[case.name.as_str()]),
            "{}",
            case.name
        );
    }
}
