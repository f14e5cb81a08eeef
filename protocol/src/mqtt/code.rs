//! Reason codes of MQTT 5 and return codes of 3.1.1, and which packet may carry which.
use super::{DecodeError, PacketType, Sender};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)+) => {
        /// Why, in one byte (MQTT 5 §2.4). `0x80` and above are failures.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)+
        }

        impl ReasonCode {
            /// Every reason code, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason code with this number, if MQTT 5 defines it.
            #[must_use]
            pub fn new(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// Success; in DISCONNECT a normal end (the will is dropped), in SUBACK granted QoS 0.
    Success = 0x00,
    /// SUBACK: granted QoS 1.
    GrantedQos1 = 0x01,
    /// SUBACK: granted QoS 2.
    GrantedQos2 = 0x02,
    /// DISCONNECT from a client: publish the will nevertheless.
    DisconnectWithWill = 0x04,
    /// PUBACK, PUBREC from a server: accepted, nobody subscribes.
    NoMatchingSubscribers = 0x10,
    /// UNSUBACK: there was no such subscription.
    NoSubscriptionExisted = 0x11,
    /// AUTH: one more step.
    ContinueAuthentication = 0x18,
    /// AUTH from a client: prove yourself anew.
    ReAuthenticate = 0x19,
    /// No statement.
    UnspecifiedError = 0x80,
    /// The bytes are no MQTT packet.
    MalformedPacket = 0x81,
    /// A rule was broken by a well-formed packet.
    ProtocolError = 0x82,
    /// Valid, but not accepted here.
    ImplementationSpecificError = 0x83,
    /// CONNACK: the protocol name or level is not spoken here.
    UnsupportedProtocolVersion = 0x84,
    /// CONNACK: this client identifier is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// CONNACK: user name or password refused.
    BadUserNameOrPassword = 0x86,
    /// Not authorized.
    NotAuthorized = 0x87,
    /// CONNACK: the server is not available.
    ServerUnavailable = 0x88,
    /// The server is busy; try later.
    ServerBusy = 0x89,
    /// CONNACK: banned by an operator.
    Banned = 0x8A,
    /// DISCONNECT: the server goes down.
    ServerShuttingDown = 0x8B,
    /// The authentication method is not supported or not the one of CONNECT.
    BadAuthenticationMethod = 0x8C,
    /// DISCONNECT: silent for one and a half keep-alives.
    KeepAliveTimeout = 0x8D,
    /// DISCONNECT: another connection took this session.
    SessionTakenOver = 0x8E,
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90,
    /// The packet identifier is in use already.
    PacketIdentifierInUse = 0x91,
    /// PUBREL, PUBCOMP: unknown packet identifier.
    PacketIdentifierNotFound = 0x92,
    /// DISCONNECT: more unacknowledged messages than allowed.
    ReceiveMaximumExceeded = 0x93,
    /// DISCONNECT: a topic alias of zero, or above the maximum.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than allowed.
    PacketTooLarge = 0x95,
    /// DISCONNECT: too many messages a second.
    MessageRateTooHigh = 0x96,
    /// A limit of the implementation or of an operator is reached.
    QuotaExceeded = 0x97,
    /// DISCONNECT: closed by an operator.
    AdministrativeAction = 0x98,
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99,
    /// The server keeps no retained messages.
    RetainNotSupported = 0x9A,
    /// The QoS is above the server's maximum.
    QosNotSupported = 0x9B,
    /// Use another server for now.
    UseAnotherServer = 0x9C,
    /// Use another server from now on.
    ServerMoved = 0x9D,
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Too many connections a second.
    ConnectionRateExceeded = 0x9F,
    /// DISCONNECT: the longest allowed connection time is over.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// The byte on the wire.
    #[must_use]
    pub fn value(self) -> u8 {
        self as u8
    }

    /// Whether this code reports a failure (`0x80` and above).
    #[must_use]
    pub fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// Whether a packet of type `packet` from `sender` may carry this code (tables of MQTT 5 §3.2 to §3.15).
    #[must_use]
    pub fn is_allowed(self, packet: PacketType, sender: Sender) -> bool {
        self.is_listed(packet) && !self.belongs_to_other(packet, sender)
    }

    /// Whether the table of this packet lists the code at all.
    fn is_listed(self, packet: PacketType) -> bool {
        let code = self.value();
        match packet {
            PacketType::Connack => matches!(
                code,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            PacketType::Puback | PacketType::Pubrec => {
                matches!(
                    code,
                    0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
                )
            }
            PacketType::Pubrel | PacketType::Pubcomp => matches!(code, 0x00 | 0x92),
            PacketType::Suback => matches!(
                code,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            PacketType::Unsuback => {
                matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            // 0x8C stands in the summary of §2.4 though not in the table of §3.14: failed re-authentication uses it.
            PacketType::Disconnect => matches!(
                code,
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
            ),
            PacketType::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            _ => false,
        }
    }

    /// Whether the code, in this packet, is the other end's alone.
    fn belongs_to_other(self, packet: PacketType, sender: Sender) -> bool {
        let code = self.value();
        match (packet, sender) {
            (PacketType::Puback | PacketType::Pubrec, Sender::Client) => code == 0x10,
            (PacketType::Disconnect, Sender::Server) => code == 0x04,
            (PacketType::Disconnect, Sender::Client) => {
                matches!(code, 0x87..=0x8F | 0x9A..=0xA2)
            }
            (PacketType::Auth, Sender::Client) => code == 0x00,
            (PacketType::Auth, Sender::Server) => code == 0x19,
            _ => false,
        }
    }

    /// Reads the code of a packet and says which rule a refused one breaks.
    pub(super) fn decode(
        value: u8,
        packet: PacketType,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        let code = Self::new(value).ok_or(DecodeError::ReasonCodeUnknown)?;
        if !code.is_listed(packet) {
            return Err(DecodeError::ReasonCodeNotAllowed);
        }
        if code.belongs_to_other(packet, sender) {
            return Err(match sender {
                Sender::Client => DecodeError::ReasonCodeNotFromClient,
                Sender::Server => DecodeError::ReasonCodeNotFromServer,
            });
        }
        Ok(code)
    }

    /// What a 3.1.1 CONNACK says instead: five codes for everything.
    #[must_use]
    pub fn return_code(self) -> ConnectReturnCode {
        match self {
            Self::UnsupportedProtocolVersion => ConnectReturnCode::UnacceptableProtocolVersion,
            Self::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
            Self::BadUserNameOrPassword => ConnectReturnCode::BadUserNameOrPassword,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => {
                ConnectReturnCode::NotAuthorized
            }
            code if code.is_error() => ConnectReturnCode::ServerUnavailable,
            _ => ConnectReturnCode::Accepted,
        }
    }
}

/// The answer to a 3.1.1 CONNECT (MQTT 3.1.1 §3.2.2.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// Connected.
    Accepted = 0,
    /// The protocol level is not spoken here.
    UnacceptableProtocolVersion = 1,
    /// The client identifier is not allowed.
    IdentifierRejected = 2,
    /// The server is not available.
    ServerUnavailable = 3,
    /// User name or password refused.
    BadUserNameOrPassword = 4,
    /// Not authorized.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The return code with this number, if MQTT 3.1.1 defines it.
    #[must_use]
    pub fn new(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Accepted),
            1 => Some(Self::UnacceptableProtocolVersion),
            2 => Some(Self::IdentifierRejected),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub fn value(self) -> u8 {
        self as u8
    }

    /// The reason code that means the same in MQTT 5.
    #[must_use]
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Accepted => ReasonCode::Success,
            Self::UnacceptableProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
            Self::ServerUnavailable => ReasonCode::ServerUnavailable,
            Self::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            Self::NotAuthorized => ReasonCode::NotAuthorized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn allowed(packet: PacketType, sender: Sender) -> Vec<u8> {
        let codes = ReasonCode::ALL.iter();
        codes
            .filter(|code| code.is_allowed(packet, sender))
            .map(|code| code.value())
            .collect()
    }

    #[test]
    fn every_code_is_found_by_its_number_and_no_other_is() {
        let known = (0..=u8::MAX).filter_map(ReasonCode::new);
        assert!(known.eq(ReasonCode::ALL.iter().copied()));
        assert!(
            ReasonCode::ALL
                .iter()
                .all(|code| ReasonCode::new(code.value()) == Some(*code))
        );
    }

    #[test]
    fn connack_takes_the_codes_of_its_table() {
        let table = [
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ];
        assert_eq!(allowed(PacketType::Connack, Sender::Server), table);
    }

    #[test]
    fn acknowledgements_take_the_codes_of_their_tables() {
        let from_server = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        let from_client = [0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        for packet in [PacketType::Puback, PacketType::Pubrec] {
            assert_eq!(allowed(packet, Sender::Server), from_server);
            assert_eq!(allowed(packet, Sender::Client), from_client);
        }
        for packet in [PacketType::Pubrel, PacketType::Pubcomp] {
            assert_eq!(allowed(packet, Sender::Server), [0x00, 0x92]);
            assert_eq!(allowed(packet, Sender::Client), [0x00, 0x92]);
        }
        assert_eq!(
            allowed(PacketType::Suback, Sender::Server),
            [
                0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2
            ]
        );
        assert_eq!(
            allowed(PacketType::Unsuback, Sender::Server),
            [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]
        );
    }

    #[test]
    fn disconnect_takes_the_codes_of_its_sender() {
        assert_eq!(
            allowed(PacketType::Disconnect, Sender::Client),
            [
                0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99
            ]
        );
        assert_eq!(
            allowed(PacketType::Disconnect, Sender::Server),
            [
                0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
                0xA2
            ]
        );
    }

    #[test]
    fn auth_takes_the_codes_of_its_sender() {
        assert_eq!(allowed(PacketType::Auth, Sender::Client), [0x18, 0x19]);
        assert_eq!(allowed(PacketType::Auth, Sender::Server), [0x00, 0x18]);
    }

    #[test]
    fn packets_without_a_code_take_none() {
        assert!(allowed(PacketType::Publish, Sender::Server).is_empty());
        assert!(allowed(PacketType::Pingresp, Sender::Server).is_empty());
    }

    #[test]
    fn return_codes_survive_the_way_through_reason_codes() {
        for value in 0..=5 {
            let code = ConnectReturnCode::new(value).unwrap();
            assert_eq!(code.value(), value);
            assert_eq!(code.reason_code().return_code(), code);
        }
        assert_eq!(ConnectReturnCode::new(6), None);
        assert_eq!(
            ReasonCode::QuotaExceeded.return_code(),
            ConnectReturnCode::ServerUnavailable
        );
    }
}
