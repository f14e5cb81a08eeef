//! Ed25519: keys, the closed list of what a key may sign, and the one function that verifies.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::cose;
use crate::ident::KeyId;

/// Length of a public key, in bytes.
pub const PUBLIC_KEY_LEN: usize = 32;

/// Length of a signature (`R || S`, RFC 8032 §5.1.6), in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Everything that a key signs is longer than this. RFC 9431 signs raw strings of 16 or 32 bytes, so length keeps our
/// messages and those apart (design: domain separation; a prefix alone does not do it).
pub const RAW_MESSAGE_LEN_MAX: usize = 32;

/// How every COSE `Sig_structure` of a `COSE_Sign1` starts: an array of four, then the text `Signature1`
/// (RFC 9052 §4.4).
const SIG_STRUCTURE_START: &[u8] = b"\x84\x6aSignature1";

/// An Ed25519 public key that is a point on the curve, in canonical form and not weak.
///
/// The three checks happen once, here; a key that exists has passed them.
///
/// ```
/// use keygate_protocol::crypto::{KeyError, PublicKey};
///
/// // The identity point: with it a constant signature fits every message, so it is refused.
/// let mut identity = [0; 32];
/// identity[0] = 1;
/// assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; PUBLIC_KEY_LEN]);

impl PublicKey {
    /// Checks and takes a public key.
    pub fn from_bytes(bytes: &[u8; PUBLIC_KEY_LEN]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(*bytes))
    }

    /// Checks and takes a public key of unknown length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(bytes.try_into().map_err(|_| KeyError::WrongLength)?)
    }

    /// Takes back a key that passed [`from_bytes`](Self::from_bytes) before it was stored beside its id.
    ///
    /// The three checks of a point take as long as a third of a verification, too long for a whole fleet at each start.
    /// Here the id is checked instead, a hash: bytes that changed since do not fit it. Were a store to lie about both,
    /// [`verify`](Self::verify) still refuses what is no point or weak.
    pub fn from_stored(bytes: &[u8; PUBLIC_KEY_LEN], key_id: KeyId) -> Result<Self, KeyError> {
        let key = Self(*bytes);
        if key.key_id() != key_id {
            return Err(KeyError::NotItsId);
        }
        Ok(key)
    }

    /// A valid key whose private half nobody knows: verifying with it costs what any verification costs and never
    /// succeeds. For unknown identities, so that they cannot be told from known ones by time.
    #[must_use]
    pub fn nobody() -> Self {
        Self(NOBODY)
    }

    /// The 32 bytes of RFC 8032 §5.1.5.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }

    /// The COSE key thumbprint: SHA-256 of the deterministic COSE_Key (RFC 9679).
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        cose::key::thumbprint(self)
    }

    /// The first 8 bytes of the thumbprint.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of_thumbprint(&self.thumbprint())
    }

    /// Verifies a signature. This is the only Ed25519 verification in the workspace: strict, so a small-order `R` or a
    /// non-canonical `S` is refused as well.
    pub fn verify(
        &self,
        message: &Signable<'_>,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message.0, &signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Why bytes are not a public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyError {
    /// The bytes decode to no point of the curve.
    NotAPoint,
    /// A point, written in another way than the one canonical one: one key would have two names.
    NotCanonical,
    /// Not the key that has this id.
    NotItsId,
    /// A point of small order: signatures under it mean nothing.
    Weak,
    /// Not 32 bytes.
    WrongLength,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPoint => "no Ed25519 public key: the bytes are no point of the curve",
            Self::NotCanonical => "no Ed25519 public key: the point is not in canonical form",
            Self::NotItsId => "another public key than the one with this key id",
            Self::Weak => "weak Ed25519 public key: a point of small order",
            Self::WrongLength => "an Ed25519 public key has 32 bytes",
        })
    }
}

impl core::error::Error for KeyError {}

/// 64 bytes that may or may not be a signature of something.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Signature([u8; SIGNATURE_LEN]);

impl Signature {
    /// Takes 64 bytes; what they are worth, [`PublicKey::verify`] decides.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SIGNATURE_LEN]) -> Self {
        Self(bytes)
    }

    /// Takes bytes of unknown length: anything but 64 is no signature.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadSignature> {
        bytes.try_into().map(Self).map_err(|_| BadSignature)
    }

    /// `R || S`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SIGNATURE_LEN] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The signature does not verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not verify")
    }
}

impl core::error::Error for BadSignature {}

/// A message of one of the kinds that a key may sign. The list is closed: whoever holds bytes of another kind cannot
/// have them signed, so no peer can turn a device into a signing oracle.
///
/// ```
/// use keygate_protocol::crypto::{Signable, SignableError};
///
/// // 32 raw bytes could be a TLS exporter value or a hash; no key signs them.
/// assert_eq!(Signable::sig_structure(&[0x84; 32]).err(), Some(SignableError::TooShort));
/// assert_eq!(Signable::sig_structure(&[0; 64]).err(), Some(SignableError::NotASigStructure));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a>(&'a [u8]);

impl<'a> Signable<'a> {
    /// A COSE `Sig_structure` of a `COSE_Sign1` (RFC 9052 §4.4): starts with 0x84 and the context `Signature1`.
    pub fn sig_structure(bytes: &'a [u8]) -> Result<Self, SignableError> {
        if bytes.len() <= RAW_MESSAGE_LEN_MAX {
            return Err(SignableError::TooShort);
        }
        if !bytes.starts_with(SIG_STRUCTURE_START) {
            return Err(SignableError::NotASigStructure);
        }
        Ok(Self(bytes))
    }

    /// A JWS signing input (RFC 7515 §5.1): `base64url(header) "." base64url(payload)`.
    pub fn jws_input(bytes: &'a [u8]) -> Result<Self, SignableError> {
        if bytes.len() <= RAW_MESSAGE_LEN_MAX {
            return Err(SignableError::TooShort);
        }
        let base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let mut parts = bytes.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SignableError::NotAJwsInput);
        };
        if header.is_empty() || payload.is_empty() || !header.iter().chain(payload).all(base64url) {
            return Err(SignableError::NotAJwsInput);
        }
        Ok(Self(bytes))
    }

    /// The bytes to sign, for a [`Signer`] outside this crate.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Why bytes are nothing that a key signs: a mistake of the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignableError {
    /// Not two base64url parts with one dot between them.
    NotAJwsInput,
    /// Does not start as the `Sig_structure` of a `COSE_Sign1` does.
    NotASigStructure,
    /// At most [`RAW_MESSAGE_LEN_MAX`] bytes.
    TooShort,
}

impl fmt::Display for SignableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAJwsInput => "not a JWS signing input",
            Self::NotASigStructure => "not a COSE Sig_structure",
            Self::TooShort => "a key signs no message of 32 bytes or less",
        })
    }
}

impl core::error::Error for SignableError {}

/// Holds a private key and signs with it. The key may sit in a secure element, hence `&mut self` and a fault.
///
/// An implementation signs what [`Signable::as_bytes`] returns, as pure Ed25519 (RFC 8032 §5.1.6), and nothing else
/// with the same key: a key that also signs strings chosen by a peer voids every proof made with it.
pub trait Signer {
    /// The id of the public half.
    fn key_id(&self) -> KeyId;

    /// Signs.
    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault>;
}

impl<S: Signer + ?Sized> Signer for &mut S {
    fn key_id(&self) -> KeyId {
        (**self).key_id()
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        (**self).sign(message)
    }
}

/// The signer could not sign (a secure element that does not answer). Trying again may help.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignerFault;

impl fmt::Display for SignerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signer could not sign")
    }
}

impl core::error::Error for SignerFault {}

/// A private key in memory. It is wiped when dropped, and no way leads from it back to the bytes.
#[derive(Clone)]
pub struct SoftwareSigner {
    key: SigningKey,
    key_id: KeyId,
}

impl SoftwareSigner {
    /// Takes the 32-byte seed of RFC 8032 §5.1.5. The caller wipes its own copy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = PublicKey(key.verifying_key().to_bytes()).key_id();
        Self { key, key_id }
    }

    /// The public half. Never weak: the private scalar is clamped, so the point has the large order.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }
}

impl Signer for SoftwareSigner {
    fn key_id(&self) -> KeyId {
        self.key_id
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        Ok(Signature(self.key.sign(message.0).to_bytes()))
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareSigner({}, private)", self.key_id)
    }
}

/// SHA-256 of the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// SHA-256 of "keygate: a key of nobody, try 0": the first try passes every check of [`PublicKey::from_bytes`].
const NOBODY: [u8; PUBLIC_KEY_LEN] = [
    0x7e, 0x6f, 0x62, 0x57, 0x82, 0xbd, 0x16, 0x3b, 0xb5, 0x6a, 0x50, 0x54, 0x37, 0x86, 0x54, 0xad,
    0x6e, 0xf4, 0xd0, 0x94, 0x1b, 0x50, 0xfd, 0xdd, 0xb9, 0x98, 0x47, 0xf2, 0xa5, 0xc9, 0xc8, 0xad,
];

#[cfg(test)]
mod tests;
