//! What can be wrong with a token.

use core::fmt;

use crate::cbor::CborError;
use crate::cose::key::CoseKeyError;
use crate::cose::{CoseError, SignError};
use crate::ident::IdError;
use crate::scope::ScopeError;
use crate::sink::CapacityError;

/// Why bytes are no token by this key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CwtError {
    /// The claims are not those of our profile.
    Claims(ClaimsError),
    /// The `COSE_Sign1` around them is not in order, or not by this key.
    Cose(CoseError),
    /// The CWT tag is missing.
    Untagged,
    /// More than [`TOKEN_LEN_MAX`](super::TOKEN_LEN_MAX) bytes.
    TooLong,
}

impl From<ClaimsError> for CwtError {
    fn from(error: ClaimsError) -> Self {
        Self::Claims(error)
    }
}

impl From<CoseError> for CwtError {
    fn from(error: CoseError) -> Self {
        Self::Cose(error)
    }
}

impl From<CborError> for CwtError {
    fn from(error: CborError) -> Self {
        Self::Cose(CoseError::Cbor(error))
    }
}

impl fmt::Display for CwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claims(error) => error.fmt(f),
            Self::Cose(error) => error.fmt(f),
            Self::Untagged => f.write_str("token does not begin with the CWT tag"),
            Self::TooLong => f.write_str("token is too long"),
        }
    }
}

impl core::error::Error for CwtError {}

/// Why claims are not acceptable: not well made, or not for here and now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimsError {
    /// `aud` is empty or longer than [`AUDIENCE_LEN_MAX`](super::AUDIENCE_LEN_MAX).
    AudienceLength,
    /// Not CBOR as we read it.
    Cbor(CborError),
    /// `cnf` does not hold one good COSE_Key.
    Confirmation(CoseKeyError),
    /// `cnf` holds something else than a COSE_Key, or something beside it.
    ConfirmationMethod,
    /// `cti` is not 8 bytes long.
    CtiLength,
    /// The end has come.
    Expired,
    /// `exp` is not after `iat`.
    ExpiresBeforeIssue,
    /// A claim of the profile is not there.
    Missing,
    /// Issued in the future.
    NotYetValid,
    /// `iss` or `sub` is not an id.
    Name(IdError),
    /// `scope` is not AIF-MQTT.
    Scope(ScopeError),
    /// A claim that our profile does not have.
    UnknownClaim,
    /// For somebody else.
    WrongAudience,
    /// From somebody else than the issuer that this key belongs to.
    WrongIssuer,
}

impl From<CborError> for ClaimsError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AudienceLength => "token audience is empty or too long",
            Self::Cbor(error) => return error.fmt(f),
            Self::Confirmation(error) => return error.fmt(f),
            Self::ConfirmationMethod => "token is bound to something else than one COSE_Key",
            Self::CtiLength => "token id is not 8 bytes long",
            Self::Expired => "token has expired",
            Self::ExpiresBeforeIssue => "token expires before it was issued",
            Self::Missing => "token lacks a claim",
            Self::NotYetValid => "token was issued in the future",
            Self::Name(error) => return error.fmt(f),
            Self::Scope(error) => return error.fmt(f),
            Self::UnknownClaim => "token has an unknown claim",
            Self::WrongAudience => "token is for another audience",
            Self::WrongIssuer => "token is from another issuer",
        })
    }
}

impl core::error::Error for ClaimsError {}

/// Why no token was issued. Ours or our caller's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssueError {
    /// The claims would be refused by every reader.
    Claims(ClaimsError),
    /// Nothing was signed.
    Sign(SignError),
}

impl From<ClaimsError> for IssueError {
    fn from(error: ClaimsError) -> Self {
        Self::Claims(error)
    }
}

impl From<SignError> for IssueError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl From<CapacityError> for IssueError {
    fn from(error: CapacityError) -> Self {
        Self::Sign(error.into())
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claims(error) => error.fmt(f),
            Self::Sign(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for IssueError {}
