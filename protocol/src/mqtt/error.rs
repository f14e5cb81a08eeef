//! Why bytes are no packet: one variant for each rule.
use super::ReasonCode;
use crate::topic::{FilterError, NameError};
use core::fmt;

macro_rules! decode_errors {
    ($($(#[$doc:meta])* $name:ident => $code:ident, $rule:literal;)+) => {
        /// The rule that a peer broke. Always the peer's fault; the connection cannot go on.
        ///
        /// [`reason_code`](Self::reason_code) is what to tell the peer (in CONNACK before the connection is accepted,
        /// in DISCONNECT afterwards; a 3.1.1 peer is just closed, or gets [`ReasonCode::return_code`] for CONNECT).
        /// [`Display`](fmt::Display) names the rule, for the log.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum DecodeError {
            $(#[doc = $rule] $(#[$doc])* $name,)+
            /// The topic of a PUBLISH is no topic name.
            PublishTopic(NameError),
            /// The topic of a will is no topic name.
            WillTopic(NameError),
            /// The Response Topic is no topic name.
            ResponseTopic(NameError),
            /// A topic filter is invalid.
            Filter(FilterError),
        }

        impl DecodeError {
            /// The MQTT 5 reason code that reports this error.
            #[must_use]
            pub fn reason_code(self) -> ReasonCode {
                match self {
                    $(Self::$name => ReasonCode::$code,)+
                    Self::PublishTopic(_) | Self::WillTopic(_) | Self::ResponseTopic(_) => {
                        ReasonCode::TopicNameInvalid
                    }
                    Self::Filter(_) => ReasonCode::TopicFilterInvalid,
                }
            }
        }

        impl fmt::Display for DecodeError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($rule),)+
                    Self::PublishTopic(error) => write!(f, "the topic of a PUBLISH: {error}"),
                    Self::WillTopic(error) => write!(f, "the topic of a will: {error}"),
                    Self::ResponseTopic(error) => write!(f, "the response topic: {error}"),
                    Self::Filter(error) => write!(f, "a topic filter: {error}"),
                }
            }
        }
    };
}

decode_errors! {
    // The fixed header, MQTT 5 §2.1.
    PacketTypeReserved => MalformedPacket, "packet type 0 is reserved";
    HeaderFlags => MalformedPacket, "the flags of the first byte are not those of the packet type";
    PublishQos3 => MalformedPacket, "a PUBLISH has QoS 3";
    PublishDupQos0 => MalformedPacket, "a PUBLISH with QoS 0 is marked as sent again";
    VarintTooLong => MalformedPacket, "a variable byte integer has more than four bytes";
    VarintNotMinimal => MalformedPacket, "a variable byte integer has more bytes than it needs";
    PacketTooLarge => PacketTooLarge, "the packet is larger than allowed";

    // Any packet.
    PacketNotFromClient => ProtocolError, "only a server sends this packet";
    PacketNotFromServer => ProtocolError, "only a client sends this packet";
    /// MQTT 3.1.1 §3.14.
    DisconnectFromServer => ProtocolError, "in 3.1.1 only a client sends DISCONNECT";
    /// MQTT 3.1.1 §2.2.1: type 15 is reserved.
    AuthInV311 => ProtocolError, "3.1.1 has no AUTH";
    Truncated => MalformedPacket, "the packet ends inside a field";
    TrailingBytes => MalformedPacket, "bytes follow the last field";
    StringIllFormed => MalformedPacket, "a string is not well-formed UTF-8";
    StringHasNul => MalformedPacket, "a string contains U+0000";
    PacketIdZero => ProtocolError, "the packet identifier is zero";
    ReasonCodeUnknown => MalformedPacket, "no such reason code";
    ReasonCodeNotAllowed => ProtocolError, "this packet does not carry this reason code";
    ReasonCodeNotFromClient => ProtocolError, "only a server uses this reason code here";
    ReasonCodeNotFromServer => ProtocolError, "only a client uses this reason code here";

    // Properties, MQTT 5 §2.2.2.
    PropertiesPastEnd => MalformedPacket, "the properties are longer than the packet";
    PropertyUnknown => MalformedPacket, "no such property";
    PropertyNotAllowed => MalformedPacket, "this packet does not carry this property";
    PropertyTruncated => MalformedPacket, "the properties end inside a property";
    PropertyRepeated => ProtocolError, "a property that may appear once appears again";
    PropertyNotBoolean => ProtocolError, "a property that is a yes or no has another value than 0 or 1";
    PayloadFormatUnknown => ProtocolError, "the payload format indicator is neither 0 nor 1";
    MaximumQosInvalid => ProtocolError, "the maximum QoS is neither 0 nor 1";
    ReceiveMaximumZero => ProtocolError, "the receive maximum is zero";
    MaximumPacketSizeZero => ProtocolError, "the maximum packet size is zero";
    TopicAliasZero => TopicAliasInvalid, "the topic alias is zero";
    SubscriptionIdZero => ProtocolError, "the subscription identifier is zero";
    SubscriptionIdFromClient => ProtocolError, "a client's PUBLISH has a subscription identifier";
    SessionExpiryFromServer => ProtocolError, "a server's DISCONNECT has a session expiry interval";
    ServerReferenceFromClient => ProtocolError, "a client's DISCONNECT has a server reference";
    AuthDataWithoutMethod => ProtocolError, "authentication data without an authentication method";
    AuthMethodMissing => ProtocolError, "AUTH without an authentication method";

    // CONNECT, §3.1.
    ProtocolName => UnsupportedProtocolVersion, "the protocol name is not MQTT";
    ProtocolLevel => UnsupportedProtocolVersion, "the protocol level is neither 4 nor 5";
    ConnectFlagReserved => MalformedPacket, "the reserved flag of CONNECT is set";
    WillQos3 => MalformedPacket, "the will has QoS 3";
    WillQosWithoutWill => MalformedPacket, "a will QoS without a will";
    WillRetainWithoutWill => MalformedPacket, "will retain without a will";
    /// Allowed in MQTT 5.
    PasswordWithoutUserName => ProtocolError, "in 3.1.1 a password needs a user name";

    // CONNACK, §3.2.
    ConnackFlagReserved => MalformedPacket, "a reserved flag of CONNACK is set";
    SessionPresentOnError => ProtocolError, "session present in a CONNACK that refuses";
    ReturnCodeUnknown => ProtocolError, "no such return code";

    // PUBLISH, §3.3.
    PublishTopicMissing => ProtocolError, "a PUBLISH without a topic needs a topic alias";

    // SUBSCRIBE, UNSUBSCRIBE and their answers, §3.8 to §3.11.
    SubscribeEmpty => ProtocolError, "a SUBSCRIBE without a topic filter";
    UnsubscribeEmpty => ProtocolError, "an UNSUBSCRIBE without a topic filter";
    SubackEmpty => ProtocolError, "an answer without a reason code";
    SubscribeReservedBits => MalformedPacket, "a reserved bit of the subscription options is set";
    SubscribeQos3 => ProtocolError, "a subscription asks for QoS 3";
    RetainHandling3 => ProtocolError, "a subscription has retain handling 3";
    NoLocalOnShared => ProtocolError, "a shared subscription has No Local";
}

impl core::error::Error for DecodeError {}
