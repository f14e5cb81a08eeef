//! SPEC.md §8.6 — signed answers: the broker signs with its identity key, the device verifies under the one it pins.

use super::request::{SIGNED_PAYLOAD_LEN_MAX, decode_body};
use super::{Code, RequestHash};
use crate::cbor::Writer;
use crate::cose::{CoseError, Sign1, SignError, sign1};
use crate::crypto::{PublicKey, Signer};
use crate::ident::{ID_LEN_MAX, Id, KeyId};
use crate::sink::{CapacityError, Sink};

/// Says what is signed, so that nothing else passes for it.
const CONTEXT: &str = "keygate coap answer v1";

/// Longest external_aad of an answer: array head, context, broker id, code, request hash.
const AAD_LEN_MAX: usize = 1 + (1 + CONTEXT.len()) + (2 + ID_LEN_MAX) + 2 + (2 + 32);

const _: () = assert!(AAD_LEN_MAX <= sign1::EXTERNAL_AAD_LEN_MAX);

/// What an answer is signed for: one broker, one code, one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnswerContext<'a> {
    /// The broker that answers.
    pub broker_id: Id<'a>,
    /// The code of the answer.
    pub code: Code,
    /// The request that it answers.
    pub request: RequestHash,
}

impl AnswerContext<'_> {
    fn external_aad(&self) -> Result<heapless::Vec<u8, AAD_LEN_MAX>, CapacityError> {
        let mut bytes = heapless::Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.array(4)?;
        writer.text(CONTEXT)?;
        writer.text(self.broker_id.as_str())?;
        writer.uint(self.code.0.into())?;
        writer.bytes(self.request.as_bytes())?;
        Ok(bytes)
    }
}

/// Signs an answer and writes its body (Content-Format 18). After an error, what stands in `out` is no body.
pub fn sign_answer(
    context: &AnswerContext<'_>,
    payload: &[u8],
    signer: &mut (impl Signer + ?Sized),
    out: &mut (impl Sink + ?Sized),
) -> Result<(), SignError> {
    if payload.len() > SIGNED_PAYLOAD_LEN_MAX {
        return Err(SignError::Capacity);
    }
    sign1::sign(payload, &context.external_aad()?, signer, out)?;
    Ok(())
}

/// A signed answer that was taken apart. The payload cannot be had before [`verify`](Self::verify).
#[derive(Clone, Copy, Debug)]
pub struct UntrustedAnswer<'a> {
    message: Sign1<'a>,
}

impl<'a> UntrustedAnswer<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, CoseError> {
        Ok(Self {
            message: decode_body(body)?,
        })
    }

    /// Which identity key is said to have signed: it must be one that the device pins.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.message.header().key_id
    }

    /// Verifies the signature for the request that was sent; returns the payload.
    pub fn verify(
        &self,
        key: &PublicKey,
        context: &AnswerContext<'_>,
    ) -> Result<&'a [u8], CoseError> {
        let aad = context.external_aad().map_err(|_| CoseError::TooLong)?;
        self.message.verify(key, &aad)
    }
}

#[cfg(test)]
pub(super) fn external_aad_of(context: &AnswerContext<'_>) -> heapless::Vec<u8, AAD_LEN_MAX> {
    context.external_aad().expect("the longest context fits")
}
