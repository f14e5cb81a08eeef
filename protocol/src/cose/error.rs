//! What can be wrong with a `COSE_Sign1`: with one that we read (theirs), with one that we make (ours).

use core::fmt;

use crate::cbor::CborError;
use crate::crypto::{SignableError, SignerFault};
use crate::sink::CapacityError;

/// Why bytes are no `COSE_Sign1` of our profile, or not one by this key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CoseError {
    /// The signature does not verify under the key, for this content and this context.
    BadSignature,
    /// Not CBOR as we read it.
    Cbor(CborError),
    /// A `crit` parameter: it asks for understanding of something that we do not know (RFC 9052 §3.1).
    Critical,
    /// The payload is not in the message.
    DetachedPayload,
    /// The key id is not 8 bytes long.
    KeyIdLength,
    /// The signature is good, yet the header names another key than the one that made it.
    KeyIdMismatch,
    /// No algorithm in the protected header.
    MissingAlgorithm,
    /// No key id in the protected header.
    MissingKeyId,
    /// Content and context together exceed [`TO_BE_SIGNED_LEN_MAX`](super::TO_BE_SIGNED_LEN_MAX).
    TooLong,
    /// A header parameter that our profile does not have.
    UnknownParameter,
    /// Something in the unprotected header, where anybody could have put it.
    Unprotected,
    /// Another algorithm than Ed25519.
    UnsupportedAlgorithm,
    /// The COSE tag is missing where it must stand.
    Untagged,
}

impl From<CborError> for CoseError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for CoseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "the signature does not verify",
            Self::Cbor(error) => return error.fmt(f),
            Self::Critical => "COSE header has a critical parameter that is not understood",
            Self::DetachedPayload => "COSE_Sign1 has no payload",
            Self::KeyIdLength => "COSE key id is not 8 bytes long",
            Self::KeyIdMismatch => "COSE header names another key than the one that signed",
            Self::MissingAlgorithm => "COSE header has no algorithm",
            Self::MissingKeyId => "COSE header has no key id",
            Self::TooLong => "COSE_Sign1 is too long to verify",
            Self::UnknownParameter => "COSE header has an unknown parameter",
            Self::Unprotected => "COSE unprotected header is not empty",
            Self::UnsupportedAlgorithm => "COSE algorithm is not Ed25519",
            Self::Untagged => "COSE tag is missing",
        })
    }
}

impl core::error::Error for CoseError {}

/// Why nothing was signed. Ours or our caller's, never a peer's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignError {
    /// The message does not fit the buffer it goes to, or is longer than we sign.
    Capacity,
    /// The signer failed.
    Signer,
    /// Header, context and payload together are no longer than 32 bytes: a key signs nothing that short.
    TooShort,
}

impl From<CapacityError> for SignError {
    fn from(_: CapacityError) -> Self {
        Self::Capacity
    }
}

impl From<SignerFault> for SignError {
    fn from(_: SignerFault) -> Self {
        Self::Signer
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity => CapacityError.fmt(f),
            Self::Signer => SignerFault.fmt(f),
            Self::TooShort => SignableError::TooShort.fmt(f),
        }
    }
}

impl core::error::Error for SignError {}
