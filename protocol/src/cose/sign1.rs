//! `COSE_Sign1` (RFC 9052 §4.2): read, verify, sign.

use super::{CoseError, Header, PROTECTED_LEN, SignError};
use crate::cbor::{CborError, Kind, Reader, Writer};
use crate::crypto::{PublicKey, SIGNATURE_LEN, Signable, SignableError, Signature, Signer, sha256};
use crate::sink::{CapacityError, Sink};

/// The CBOR tag of a `COSE_Sign1`.
pub const TAG: u64 = 18;

/// Longest external_aad: that of a signed CoAP request with the longest broker id, Echo and path (SPEC.md §8.5).
pub const EXTERNAL_AAD_LEN_MAX: usize = 512;

/// Longest payload: a CoAP body that fits one datagram (RFC 7252 §4.6).
pub const PAYLOAD_LEN_MAX: usize = 1024;

/// Longest `Sig_structure` that we make: array head, context text, three byte strings with their heads.
pub const TO_BE_SIGNED_LEN_MAX: usize =
    12 + (1 + PROTECTED_LEN) + (3 + EXTERNAL_AAD_LEN_MAX) + (3 + PAYLOAD_LEN_MAX);

/// What a `COSE_Sign1` adds to its payload, at most: array head, protected, unprotected, payload head, signature.
pub const OVERHEAD_LEN_MAX: usize = 1 + (1 + PROTECTED_LEN) + 1 + 3 + (2 + SIGNATURE_LEN);

/// The `Sig_structure` of a `COSE_Sign1` (RFC 9052 §4.4): the bytes that the signature is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToBeSigned(heapless::Vec<u8, TO_BE_SIGNED_LEN_MAX>);

impl ToBeSigned {
    /// Builds `["Signature1", protected, external_aad, payload]`; `protected` stands as it was received or is sent.
    pub fn new(
        protected: &[u8],
        external_aad: &[u8],
        payload: &[u8],
    ) -> Result<Self, CapacityError> {
        let mut bytes = heapless::Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.array(4)?;
        writer.text("Signature1")?;
        writer.bytes(protected)?;
        writer.bytes(external_aad)?;
        writer.bytes(payload)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the bytes. Names one signed message: who signed, what, and in which context.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.0])
    }

    /// For a signer or a verifier. Refused if header, context and payload together make at most 32 bytes.
    pub fn signable(&self) -> Result<Signable<'_>, SignableError> {
        Signable::sig_structure(&self.0)
    }
}

/// A `COSE_Sign1` that was taken apart. Nothing in it is trustworthy before [`verify`](Self::verify).
#[derive(Clone, Copy, Debug)]
pub struct Sign1<'a> {
    header: Header,
    protected: &'a [u8],
    payload: &'a [u8],
    signature: Signature,
}

impl<'a> Sign1<'a> {
    /// Reads one without tag: the form that requests and answers have.
    pub fn decode_untagged(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(bytes);
        let message = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }

    /// Reads one with tag 18 in front.
    pub fn decode_tagged(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(bytes);
        let message = Self::read_tagged(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }

    pub(crate) fn read_tagged(reader: &mut Reader<'a>) -> Result<Self, CoseError> {
        if !reader.tag(TAG)? {
            return Err(CoseError::Untagged);
        }
        Self::read(reader)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, CoseError> {
        reader.array_of(4)?;
        let protected = reader.bytes()?;
        let header = Header::decode(protected)?;
        match reader.kind()? {
            Kind::Map if reader.map()?.left() == 0 => (),
            Kind::Map => return Err(CoseError::Unprotected),
            _ => return Err(CborError::UnexpectedType.into()),
        }
        if reader.null()? {
            return Err(CoseError::DetachedPayload);
        }
        let payload = reader.bytes()?;
        let signature =
            Signature::from_slice(reader.bytes()?).map_err(|_| CoseError::BadSignature)?;
        Ok(Self {
            header,
            protected,
            payload,
            signature,
        })
    }

    /// Which key is said to have signed. Says whom to look up, nothing else.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The payload, before anybody vouches for it: for printing.
    #[must_use]
    pub fn unverified_payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The bytes that the signature must be over, for a context that the verifier builds itself.
    pub fn to_be_signed(&self, external_aad: &[u8]) -> Result<ToBeSigned, CoseError> {
        ToBeSigned::new(self.protected, external_aad, self.payload).map_err(|_| CoseError::TooLong)
    }

    /// Verifies the signature and, after it, that the header names this key; returns the payload.
    ///
    /// The key id is compared last so that a lookup that found nobody costs the same as one that found somebody:
    /// pass [`PublicKey::nobody`] then.
    pub fn verify(&self, key: &PublicKey, external_aad: &[u8]) -> Result<&'a [u8], CoseError> {
        self.verify_hashed(key, external_aad)
            .map(|(payload, _)| payload)
    }

    /// As [`verify`](Self::verify), and the hash of what was signed.
    pub(crate) fn verify_hashed(
        &self,
        key: &PublicKey,
        external_aad: &[u8],
    ) -> Result<(&'a [u8], [u8; 32]), CoseError> {
        let to_be_signed = self.to_be_signed(external_aad)?;
        let message = to_be_signed
            .signable()
            .map_err(|_| CoseError::BadSignature)?;
        key.verify(&message, &self.signature)
            .map_err(|_| CoseError::BadSignature)?;
        if key.key_id() != self.header.key_id {
            return Err(CoseError::KeyIdMismatch);
        }
        Ok((self.payload, to_be_signed.hash()))
    }
}

/// Signs `payload` in the context `external_aad` and writes the untagged `COSE_Sign1`; returns the hash of what was
/// signed. After an error, what stands in `out` is no message.
///
/// ```
/// use keygate_protocol::cose::{CoseError, Sign1, sign1};
/// use keygate_protocol::crypto::SoftwareSigner;
///
/// let mut signer = SoftwareSigner::from_seed(&[7; 32]);
/// let key = signer.public_key();
/// let mut message = heapless::Vec::<u8, 128>::new();
/// sign1::sign(b"on", b"switch 3", &mut signer, &mut message)?;
///
/// let received = Sign1::decode_untagged(&message)?;
/// assert_eq!(received.verify(&key, b"switch 3"), Ok(&b"on"[..]));
/// // The same message in another context is worth nothing.
/// assert_eq!(received.verify(&key, b"switch 4"), Err(CoseError::BadSignature));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn sign(
    payload: &[u8],
    external_aad: &[u8],
    signer: &mut (impl Signer + ?Sized),
    out: &mut (impl Sink + ?Sized),
) -> Result<[u8; 32], SignError> {
    let protected = Header::protected(signer.key_id());
    let to_be_signed = ToBeSigned::new(&protected, external_aad, payload)?;
    let message = to_be_signed.signable().map_err(|_| SignError::TooShort)?;
    let signature = signer.sign(&message)?;
    let mut writer = Writer::new(out);
    writer.array(4)?;
    writer.bytes(&protected)?;
    writer.map(0)?;
    writer.bytes(payload)?;
    writer.bytes(signature.as_bytes())?;
    Ok(to_be_signed.hash())
}
