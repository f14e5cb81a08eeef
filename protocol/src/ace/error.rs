//! What can be wrong with an ACE map, and the error numbers of RFC 9200 §5.8.3.

use core::fmt;

use crate::cbor::CborError;
use crate::cose::key::CoseKeyError;
use crate::ident::IdError;
use crate::scope::ScopeError;

/// Why bytes are not the ACE map that they should be. The sender's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AceError {
    /// `audience` is empty or longer than [`AUDIENCE_LEN_MAX`](crate::cwt::AUDIENCE_LEN_MAX).
    AudienceLength,
    /// Not CBOR as we read it.
    Cbor(CborError),
    /// `client_id` is not an id.
    ClientId(IdError),
    /// `error_description` is longer than [`DESCRIPTION_LEN_MAX`](super::DESCRIPTION_LEN_MAX).
    DescriptionLength,
    /// A parameter that the message must have is not there.
    Missing,
    /// `ace_profile` is not mqtt_tls.
    Profile,
    /// `req_cnf` holds a key that is no good Ed25519 key.
    RequestedKey(CoseKeyError),
    /// `req_cnf` is neither one COSE_Key nor one key id of 8 bytes.
    RequestedKeyMethod,
    /// `scope` is not AIF-MQTT.
    Scope(ScopeError),
    /// `scope` is text; ours is AIF-MQTT in a byte string.
    ScopeIsText,
    /// `token_type` is not PoP.
    TokenType,
    /// `error` is a number that RFC 9200 does not define.
    UnknownErrorCode,
    /// A parameter that this message does not have in our profile.
    UnknownParameter,
    /// `grant_type` is not client_credentials.
    UnsupportedGrant,
}

impl AceError {
    /// What the answer says to a request with this error.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::RequestedKey(_) | Self::RequestedKeyMethod => ErrorCode::UnsupportedPopKey,
            Self::Scope(_) | Self::ScopeIsText => ErrorCode::InvalidScope,
            Self::UnsupportedGrant => ErrorCode::UnsupportedGrantType,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

impl From<CborError> for AceError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for AceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AudienceLength => "audience is empty or too long",
            Self::Cbor(error) => return error.fmt(f),
            Self::ClientId(error) => return error.fmt(f),
            Self::DescriptionLength => "error description is too long",
            Self::Missing => "a parameter is missing",
            Self::Profile => "the profile is not mqtt_tls",
            Self::RequestedKey(error) => return error.fmt(f),
            Self::RequestedKeyMethod => "req_cnf is neither one COSE_Key nor one key id",
            Self::Scope(error) => return error.fmt(f),
            Self::ScopeIsText => "scope is text where AIF-MQTT in a byte string is due",
            Self::TokenType => "the token is not bound to a key",
            Self::UnknownErrorCode => "the error number is unknown",
            Self::UnknownParameter => "a parameter is unknown",
            Self::UnsupportedGrant => "the grant is not client_credentials",
        })
    }
}

impl core::error::Error for AceError {}

/// What an answer says went wrong (RFC 9200 §8.4, RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorCode {
    /// 1: the request is malformed.
    InvalidRequest,
    /// 2: whoever asks is not known, not active, or did not prove it; all alike.
    InvalidClient,
    /// 3: the grant is not valid.
    InvalidGrant,
    /// 4: this client may not use this grant.
    UnauthorizedClient,
    /// 5: no grant that the broker knows.
    UnsupportedGrantType,
    /// 6: the scope is malformed, or exceeds what the client has.
    InvalidScope,
    /// 7: no key that the broker can bind a token to.
    UnsupportedPopKey,
    /// 8: client and broker share no profile.
    IncompatibleProfiles,
}

impl ErrorCode {
    const ALL: [Self; 8] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::UnsupportedPopKey,
        Self::IncompatibleProfiles,
    ];

    /// The error of a number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::InvalidRequest => 1,
            Self::InvalidClient => 2,
            Self::InvalidGrant => 3,
            Self::UnauthorizedClient => 4,
            Self::UnsupportedGrantType => 5,
            Self::InvalidScope => 6,
            Self::UnsupportedPopKey => 7,
            Self::IncompatibleProfiles => 8,
        }
    }

    /// The name that OAuth gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedPopKey => "unsupported_pop_key",
            Self::IncompatibleProfiles => "incompatible_ace_profiles",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
