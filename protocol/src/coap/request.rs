//! SPEC.md §8.5 — signed requests: the device signs, the broker verifies.

use core::fmt;

use super::path::{PATH_LEN_MAX, PATH_SEGMENTS_MAX};
use super::{Code, ECHO_LEN_MAX, Echo, Path};
use crate::cbor::Writer;
use crate::cose::{Algorithm, CoseError, Sign1, SignError, sign1};
use crate::crypto::{PublicKey, Signer};
use crate::cwt::CTI_LEN;
use crate::ident::{ID_LEN_MAX, Id, KeyId};
use crate::sink::{CapacityError, Sink};

/// Longest body of a request or an answer: a payload that fits one datagram (RFC 7252 §4.6).
pub const BODY_LEN_MAX: usize = 1024;

/// Longest payload that such a body can carry when it is signed.
pub const SIGNED_PAYLOAD_LEN_MAX: usize = BODY_LEN_MAX - sign1::OVERHEAD_LEN_MAX;

/// Says what is signed, so that nothing else passes for it.
const CONTEXT: &str = "keygate coap request v1";

/// Longest external_aad of a request: array head, context, broker id, Echo, code, segments.
const AAD_LEN_MAX: usize = 1
    + (1 + CONTEXT.len())
    + (2 + ID_LEN_MAX)
    + (2 + ECHO_LEN_MAX)
    + 2
    + 1
    + (2 * PATH_SEGMENTS_MAX + PATH_LEN_MAX);

const _: () = assert!(AAD_LEN_MAX <= sign1::EXTERNAL_AAD_LEN_MAX);
const _: () = assert!(SIGNED_PAYLOAD_LEN_MAX <= sign1::PAYLOAD_LEN_MAX);

/// What a request is signed for: one broker, one Echo, one method, one path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestContext<'a> {
    /// The broker that the device means, by its own configuration; at the broker, its own id.
    pub broker_id: Id<'a>,
    /// The Echo option of the request. The broker checks it before it looks at a signature.
    pub echo: Echo<'a>,
    /// The method code of the request.
    pub code: Code,
    /// The Uri-Path options of the request.
    pub path: &'a Path<'a>,
}

impl RequestContext<'_> {
    fn external_aad(&self) -> Result<heapless::Vec<u8, AAD_LEN_MAX>, CapacityError> {
        let mut bytes = heapless::Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.array(5)?;
        writer.text(CONTEXT)?;
        writer.text(self.broker_id.as_str())?;
        writer.bytes(self.echo.as_bytes())?;
        writer.uint(self.code.0.into())?;
        writer.array(self.path.segments().len())?;
        for segment in self.path.segments() {
            writer.text(segment)?;
        }
        Ok(bytes)
    }
}

/// SHA-256 of a request's `Sig_structure`: names one request of one device. An answer is bound to it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// The hash of a request that was remembered.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the one token that this request can yield.
    #[must_use]
    pub fn cti(&self) -> [u8; CTI_LEN] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestHash(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Signs a request and writes its body (Content-Format 18). After an error, what stands in `out` is no body.
pub fn sign_request(
    context: &RequestContext<'_>,
    payload: &[u8],
    signer: &mut (impl Signer + ?Sized),
    out: &mut (impl Sink + ?Sized),
) -> Result<RequestHash, SignError> {
    if payload.len() > SIGNED_PAYLOAD_LEN_MAX {
        return Err(SignError::Capacity);
    }
    let hash = sign1::sign(payload, &context.external_aad()?, signer, out)?;
    Ok(RequestHash(hash))
}

/// A signed request that was taken apart. Nothing in it counts before [`verify`](Self::verify).
#[derive(Clone, Copy, Debug)]
pub struct UntrustedRequest<'a> {
    message: Sign1<'a>,
}

impl<'a> UntrustedRequest<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, CoseError> {
        Ok(Self {
            message: decode_body(body)?,
        })
    }

    /// Which device key is said to have signed. If it belongs to nobody, verify with [`PublicKey::nobody`] all the
    /// same, so that the refusal takes as long.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.message.header().key_id
    }

    /// The payload, before anybody vouches for it: for telling the story of a refusal.
    #[must_use]
    pub fn unverified_payload(&self) -> &'a [u8] {
        self.message.unverified_payload()
    }

    /// Verifies the signature for the request that the body came in.
    pub fn verify(
        &self,
        key: &PublicKey,
        context: &RequestContext<'_>,
    ) -> Result<VerifiedRequest<'a>, CoseError> {
        let aad = context.external_aad().map_err(|_| CoseError::TooLong)?;
        let (payload, hash) = self.message.verify_hashed(key, &aad)?;
        Ok(VerifiedRequest {
            payload,
            hash: RequestHash(hash),
            key_id: self.key_id(),
        })
    }
}

/// What a device key vouches for, here and now. Only [`UntrustedRequest::verify`] makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifiedRequest<'a> {
    payload: &'a [u8],
    hash: RequestHash,
    key_id: KeyId,
}

impl<'a> VerifiedRequest<'a> {
    /// What is asked for.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The name of this request.
    #[must_use]
    pub fn hash(&self) -> RequestHash {
        self.hash
    }

    /// The key that signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// Reads the body of a request or an answer: one that fits a datagram, in the one algorithm of new messages.
pub(super) fn decode_body(body: &[u8]) -> Result<Sign1<'_>, CoseError> {
    if body.len() > BODY_LEN_MAX {
        return Err(CoseError::TooLong);
    }
    let message = Sign1::decode_untagged(body)?;
    if message.header().algorithm != Algorithm::Ed25519 {
        return Err(CoseError::UnsupportedAlgorithm);
    }
    Ok(message)
}

#[cfg(test)]
pub(super) fn external_aad_of(context: &RequestContext<'_>) -> heapless::Vec<u8, AAD_LEN_MAX> {
    context.external_aad().expect("the longest context fits")
}
