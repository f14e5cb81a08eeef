//! Why somebody was refused: the exact story, for the operator's eyes only. What the peer is told is far less.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a peer tried to prove who it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A signed login assertion in the password field.
    Assertion,
    /// Challenge and response with the enrolled key, in MQTT 5 AUTH packets.
    KgEd25519,
    /// A signed request over CoAP.
    SignedRequest,
}

/// Every reason for which a login, a token request or a challenge is refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The assertion is signed by an algorithm other than Ed25519, or by none.
    AssertionAlgorithm,
    /// The assertion was made before this broker started, and its memory of used ones began then.
    AssertionBeforeStart,
    /// The assertion's time is over.
    AssertionExpired,
    /// The assertion claims to be made in the future.
    AssertionFromFuture,
    /// The assertion lives longer than this listener allows.
    AssertionLifetime,
    /// What came in the password field is no well-formed assertion.
    AssertionMalformed,
    /// The assertion was used before and this listener takes each one once.
    AssertionReused,
    /// The assertion is made for another client id.
    AssertionWrongClient,
    /// The signed text is of another type than a login assertion.
    AssertionWrongType,
    /// The token request names an audience that is not served here.
    AudienceUnknown,
    /// The signature does not verify with the enrolled key.
    BadSignature,
    /// The channel binding is not the one that this listener takes.
    BindingRefused,
    /// The broker could not do its part: a key that does not sign, or a mistake of ours.
    BrokerFault,
    /// The challenge was answered too late.
    ChallengeExpired,
    /// The challenge is not one of ours, or of an earlier start.
    ChallengeForged,
    /// The client id is not the device's own.
    ClientIdNotOwn,
    /// The device waits for approval.
    DevicePending,
    /// The device is locked out for good.
    DeviceRevoked,
    /// The device is locked out until it is resumed.
    DeviceSuspended,
    /// The proof came with data that does not follow the method.
    DataMalformed,
    /// A signed request came without the Echo value that it must be signed over.
    EchoMissing,
    /// The Echo value is stale, or was given to another address.
    EchoStale,
    /// The peer left before it proved itself.
    GaveUp,
    /// The token request asks for another grant than client credentials.
    GrantUnsupported,
    /// The key's time is over.
    KeyExpired,
    /// The key's time has not begun.
    KeyNotYetValid,
    /// The device is known, this key is not one of its keys.
    KeyUnknown,
    /// The proof came under another method than the login began with.
    MethodChanged,
    /// The authentication method is not one that this listener takes.
    MethodUnknown,
    /// Neither an authentication method nor a password came.
    NoCredentials,
    /// The token request asks to bind the token to another key than the one that signs it.
    PopKeyRefused,
    /// No room to remember one more used assertion of this device.
    ReplayMemoryFull,
    /// The token request asks for more than the device may do.
    ScopeRefused,
    /// Too many failures from this address.
    Throttled,
    /// The peer did not prove itself in time.
    TimedOut,
    /// Two kinds of credentials came in one CONNECT.
    TwoCredentials,
    /// No device has this id or this key.
    UnknownDevice,
    /// The user name is not the device's id.
    UserNameNotOwn,
    /// The proof or assertion was made for another broker.
    WrongBroker,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AssertionAlgorithm => "the assertion is not signed by Ed25519",
            Self::AssertionBeforeStart => "the assertion is older than this start of the broker",
            Self::AssertionExpired => "the assertion has expired",
            Self::AssertionFromFuture => "the assertion is made in the future",
            Self::AssertionLifetime => "the assertion lives longer than this listener allows",
            Self::AssertionMalformed => "the password is not a well-formed assertion",
            Self::AssertionReused => "the assertion was used before",
            Self::AssertionWrongClient => "the assertion is made for another client id",
            Self::AssertionWrongType => "the password is signed, but is no login assertion",
            Self::AudienceUnknown => "the audience is not served here",
            Self::BadSignature => "the signature does not match the enrolled key",
            Self::BindingRefused => "the channel binding is not the one this listener takes",
            Self::BrokerFault => "the broker could not do its part",
            Self::ChallengeExpired => "the challenge was answered too late",
            Self::ChallengeForged => "the challenge is not ours or from an earlier start",
            Self::ClientIdNotOwn => "the client id is not the device's own",
            Self::DevicePending => "the device waits for approval",
            Self::DeviceRevoked => "the device is revoked",
            Self::DeviceSuspended => "the device is suspended",
            Self::DataMalformed => "the authentication data does not follow the method",
            Self::EchoMissing => "the signed request has no Echo value",
            Self::EchoStale => "the Echo value is stale or was given to another address",
            Self::GaveUp => "the peer left before it proved itself",
            Self::GrantUnsupported => "the grant type is not client credentials",
            Self::KeyExpired => "the key has expired",
            Self::KeyNotYetValid => "the key is not valid yet",
            Self::KeyUnknown => "the key is not one of the device's keys",
            Self::MethodChanged => "the method is not the one that the login began with",
            Self::MethodUnknown => "the authentication method is not taken here",
            Self::NoCredentials => "no credentials came",
            Self::PopKeyRefused => "the key to bind is not the key that signs",
            Self::ReplayMemoryFull => "too many live assertions of this device",
            Self::ScopeRefused => "the scope asks for more than the device may do",
            Self::Throttled => "too many failures from this address",
            Self::TimedOut => "no proof came in time",
            Self::TwoCredentials => "two kinds of credentials came at once",
            Self::UnknownDevice => "no device has this id or key",
            Self::UserNameNotOwn => "the user name is not the device's id",
            Self::WrongBroker => "it was made for another broker",
        })
    }
}
