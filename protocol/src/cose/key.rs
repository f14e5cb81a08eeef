//! COSE_Key for Ed25519 public keys (RFC 9053 §7.2) and its thumbprint (RFC 9679).

use core::fmt;

use crate::cbor::{CborError, Kind, Label, Reader, Writer};
use crate::crypto::{KeyError, PUBLIC_KEY_LEN, PublicKey, sha256};
use crate::sink::{CapacityError, Sink};

/// What every Ed25519 COSE_Key starts with: `{1: 1 (OKP), -1: 6 (Ed25519), -2: h'…'` up to the 32 bytes of the key.
const START: [u8; 8] = [0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20];

/// Length of the COSE_Key that we write.
pub const COSE_KEY_LEN: usize = START.len() + PUBLIC_KEY_LEN;

const KTY: i64 = 1;
const KID: i64 = 2;
const ALG: i64 = 3;
const KEY_OPS: i64 = 4;
const CRV: i64 = -1;
const X: i64 = -2;
const D: i64 = -4;

const KTY_OKP: i64 = 1;
const CRV_ED25519: i64 = 6;
const OP_VERIFY: i64 = 2;

/// Writes `{1: 1, -1: 6, -2: key}`.
pub fn encode(key: &PublicKey, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
    out.put(&START)?;
    out.put(key.as_bytes())
}

/// Writes the key with its id and its algorithm, as a key set lists it.
pub(super) fn write_named(
    key: &PublicKey,
    algorithm: super::Algorithm,
    writer: &mut Writer<'_, impl Sink + ?Sized>,
) -> Result<(), CapacityError> {
    writer.map(5)?;
    writer.int(KTY)?;
    writer.int(KTY_OKP)?;
    writer.int(KID)?;
    writer.bytes(key.key_id().as_bytes())?;
    writer.int(ALG)?;
    writer.int(algorithm.id())?;
    writer.int(CRV)?;
    writer.int(CRV_ED25519)?;
    writer.int(X)?;
    writer.bytes(key.as_bytes())
}

/// SHA-256 of the COSE_Key with only its required members (RFC 9679 §3), which is what [`encode`] writes.
#[must_use]
pub fn thumbprint(key: &PublicKey) -> [u8; 32] {
    sha256(&[&START, key.as_bytes()])
}

/// Reads a COSE_Key that stands alone.
///
/// ```
/// use keygate_protocol::cose::key::{self, CoseKeyError};
///
/// // {1: 2 (EC2)}: not a key that Keygate knows.
/// assert_eq!(key::decode(b"\xa1\x01\x02"), Err(CoseKeyError::UnsupportedType));
/// ```
pub fn decode(bytes: &[u8]) -> Result<PublicKey, CoseKeyError> {
    let mut reader = Reader::new(bytes);
    let key = read(&mut reader)?;
    reader.finish()?;
    Ok(key)
}

/// Reads a COSE_Key inside another structure.
///
/// Beside the required members a key may name its id (any; it is a hint), its algorithm (-19 or -8) and its operations
/// (which must allow verifying). A private part is refused, and so is a member that we do not know.
pub fn read(reader: &mut Reader<'_>) -> Result<PublicKey, CoseKeyError> {
    let mut map = reader.map()?;
    let (mut kty, mut crv, mut x) = (None, None, None);
    while let Some(label) = map.next_label(reader)? {
        match label {
            Label::Int(KTY) => kty = Some(type_or_name(reader)?),
            Label::Int(CRV) => crv = Some(type_or_name(reader)?),
            Label::Int(X) => x = Some(reader.bytes()?),
            Label::Int(KID) => {
                reader.bytes()?;
            }
            Label::Int(ALG) => match type_or_name(reader)? {
                Some(alg) if super::Algorithm::from_id(alg).is_some() => (),
                _ => return Err(CoseKeyError::WrongAlgorithm),
            },
            Label::Int(KEY_OPS) => key_ops(reader)?,
            Label::Int(D) => return Err(CoseKeyError::PrivateKey),
            Label::Int(_) | Label::Text(_) => return Err(CoseKeyError::UnknownMember),
        }
    }
    // The type decides what the other members mean, so it is judged first.
    match kty {
        None => return Err(CoseKeyError::Missing),
        Some(Some(KTY_OKP)) => (),
        Some(_) => return Err(CoseKeyError::UnsupportedType),
    }
    match crv {
        None => return Err(CoseKeyError::Missing),
        Some(Some(CRV_ED25519)) => (),
        Some(_) => return Err(CoseKeyError::UnsupportedCurve),
    }
    let x = x.ok_or(CoseKeyError::Missing)?;
    PublicKey::from_slice(x).map_err(CoseKeyError::Key)
}

/// COSE allows registered integers and private text names in the same places; we know integers only.
fn type_or_name(reader: &mut Reader<'_>) -> Result<Option<i64>, CborError> {
    if reader.kind()? == Kind::Text {
        reader.text()?;
        return Ok(None);
    }
    reader.int().map(Some)
}

fn key_ops(reader: &mut Reader<'_>) -> Result<(), CoseKeyError> {
    let mut may_verify = false;
    for _ in 0..reader.array()? {
        may_verify |= type_or_name(reader)? == Some(OP_VERIFY);
    }
    if may_verify {
        Ok(())
    } else {
        Err(CoseKeyError::OperationNotAllowed)
    }
}

/// Why bytes are no COSE_Key with an Ed25519 public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CoseKeyError {
    /// Not CBOR as we read it.
    Cbor(CborError),
    /// The 32 bytes are no good key.
    Key(KeyError),
    /// `kty`, `crv` or `x` is not there.
    Missing,
    /// `key_ops` does not allow verifying.
    OperationNotAllowed,
    /// The private half: nobody should send it, so whoever made this made a mistake.
    PrivateKey,
    /// A member that we do not know.
    UnknownMember,
    /// `crv` is not Ed25519.
    UnsupportedCurve,
    /// `kty` is not OKP.
    UnsupportedType,
    /// `alg` names another algorithm than Ed25519.
    WrongAlgorithm,
}

impl From<CborError> for CoseKeyError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for CoseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbor(error) => return error.fmt(f),
            Self::Key(error) => return error.fmt(f),
            Self::Missing => "COSE_Key lacks kty, crv or x",
            Self::OperationNotAllowed => "COSE_Key does not allow verifying",
            Self::PrivateKey => "COSE_Key holds a private key",
            Self::UnknownMember => "COSE_Key holds an unknown member",
            Self::UnsupportedCurve => "COSE_Key is on another curve than Ed25519",
            Self::UnsupportedType => "COSE_Key is of another type than OKP",
            Self::WrongAlgorithm => "COSE_Key is for another algorithm than Ed25519",
        })
    }
}

impl core::error::Error for CoseKeyError {}
