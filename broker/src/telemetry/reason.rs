//! Why somebody was refused: the exact story, for the operator's eyes only. What the peer is told is far less.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a peer tried to prove who it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Nothing was proved, on a listener that lets such clients in.
    Anonymous,
    /// A signed login assertion in the password field.
    Assertion,
    /// Challenge and response with the enrolled key, in MQTT 5 AUTH packets.
    KgEd25519,
    /// A signed request over CoAP.
    SignedRequest,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident: $text:literal,)+) => {
        /// Every reason for which a login, a token request or a challenge is refused.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RefusalReason { $($(#[doc = $doc])+ $reason,)+ }

        impl RefusalReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$reason,)+];
        }

        impl fmt::Display for RefusalReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$reason => $text,)+ })
            }
        }
    };
}

reasons! {
    /// The assertion is signed by an algorithm other than Ed25519, or by none.
    AssertionAlgorithm: "the assertion is not signed by Ed25519",
    /// The assertion was made before this broker started, and its memory of used ones began then.
    AssertionBeforeStart: "the assertion is older than this start of the broker",
    /// The assertion's time is over.
    AssertionExpired: "the assertion has expired",
    /// The assertion claims to be made in the future.
    AssertionFromFuture: "the assertion is made in the future",
    /// The assertion lives longer than this listener allows.
    AssertionLifetime: "the assertion lives longer than this listener allows",
    /// What came in the password field is no well-formed assertion.
    AssertionMalformed: "the password is not a well-formed assertion",
    /// The assertion was used before and this listener takes each one once.
    AssertionReused: "the assertion was used before",
    /// The assertion is made for another client id.
    AssertionWrongClient: "the assertion is made for another client id",
    /// The signed text is of another type than a login assertion.
    AssertionWrongType: "the password is signed, but is no login assertion",
    /// The token request names an audience that is not served here.
    AudienceUnknown: "the audience is not served here",
    /// The signature does not verify with the enrolled key.
    BadSignature: "the signature does not match the enrolled key",
    /// The channel binding is not the one that this listener takes.
    BindingRefused: "the channel binding is not the one this listener takes",
    /// The broker could not do its part: a key that does not sign, or a mistake of ours.
    BrokerFault: "the broker could not do its part",
    /// The challenge was answered too late.
    ChallengeExpired: "the challenge was answered too late",
    /// The challenge is not one of ours, or of an earlier start.
    ChallengeForged: "the challenge is not ours or from an earlier start",
    /// The client id is not the device's own.
    ClientIdNotOwn: "the client id is not the device's own",
    /// The device waits for approval.
    DevicePending: "the device waits for approval",
    /// The device is locked out for good.
    DeviceRevoked: "the device is revoked",
    /// The device is locked out until it is resumed.
    DeviceSuspended: "the device is suspended",
    /// The proof came with data that does not follow the method.
    DataMalformed: "the authentication data does not follow the method",
    /// A signed request came without the Echo value that it must be signed over.
    EchoMissing: "the signed request has no Echo value",
    /// The Echo value is stale, or was given to another address.
    EchoStale: "the Echo value is stale or was given to another address",
    /// The peer left before it proved itself.
    GaveUp: "the peer left before it proved itself",
    /// The token request asks for another grant than client credentials.
    GrantUnsupported: "the grant type is not client credentials",
    /// The key's time is over.
    KeyExpired: "the key has expired",
    /// The key's time has not begun.
    KeyNotYetValid: "the key is not valid yet",
    /// The device is known, this key is not one of its keys.
    KeyUnknown: "the key is not one of the device's keys",
    /// The proof came under another method than the login began with.
    MethodChanged: "the method is not the one that the login began with",
    /// The authentication method is not one that this listener takes.
    MethodUnknown: "the authentication method is not taken here",
    /// Neither an authentication method nor a password came.
    NoCredentials: "no credentials came",
    /// The token request asks to bind the token to another key than the one that signs it.
    PopKeyRefused: "the key to bind is not the key that signs",
    /// No room to remember one more used assertion of this device.
    ReplayMemoryFull: "too many live assertions of this device",
    /// The token request asks for more than the device may do.
    ScopeRefused: "the scope asks for more than the device may do",
    /// The client id's session belongs to another identity.
    SessionNotOwn: "the client id's session belongs to another identity",
    /// The identity holds as many sessions as one may.
    SessionsFull: "the identity holds as many sessions as one may",
    /// The session is to outlive its connection, and the disk has no room to keep it.
    StoreFull: "the disk has no room to keep the session",
    /// Too many failures from this address.
    Throttled: "too many failures from this address",
    /// The peer did not prove itself in time.
    TimedOut: "no proof came in time",
    /// Two kinds of credentials came in one CONNECT.
    TwoCredentials: "two kinds of credentials came at once",
    /// No device has this id or this key.
    UnknownDevice: "no device has this id or key",
    /// The user name is not the device's id.
    UserNameNotOwn: "the user name is not the device's id",
    /// The proof or assertion was made for another broker.
    WrongBroker: "it was made for another broker",
}
