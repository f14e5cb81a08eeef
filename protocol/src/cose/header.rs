//! The protected header of our profile: `{1: alg, 4: kid}`.

use super::CoseError;
use crate::cbor::{Kind, Label, Reader};
use crate::ident::{KEY_ID_LEN, KeyId};

const ALG: i64 = 1;
const CRIT: i64 = 2;
const KID: i64 = 4;

/// What the protected header that we write starts with: `{1: -19, 4: h'…'` up to the 8 bytes of the key id.
const START: [u8; 5] = [0xa2, 0x01, 0x32, 0x04, 0x48];

/// Length of the protected header.
pub const PROTECTED_LEN: usize = START.len() + KEY_ID_LEN;

/// The names of Ed25519 among COSE algorithms. Neither chooses a key: a key is chosen first, and it is Ed25519.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// -19 (RFC 9864): what we write.
    Ed25519,
    /// -8, "EdDSA" with the curve left to the key (RFC 9053 §2.2, deprecated): read in tokens, with an Ed25519 key.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of a COSE number; `None` for all that is not Ed25519.
    #[must_use]
    pub fn from_id(id: i64) -> Option<Self> {
        match id {
            -19 => Some(Self::Ed25519),
            -8 => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// The COSE number.
    #[must_use]
    pub fn id(self) -> i64 {
        match self {
            Self::Ed25519 => -19,
            Self::EdDsa => -8,
        }
    }
}

/// A protected header: which algorithm, and which key is said to have signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Ed25519, by one of its two names.
    pub algorithm: Algorithm,
    /// Chooses within the set of keys that issuer and purpose allow.
    pub key_id: KeyId,
}

impl Header {
    /// Reads the content of the protected byte string. A zero-length one is an empty map (RFC 9052 §3), and an empty
    /// map names no algorithm.
    pub(super) fn decode(protected: &[u8]) -> Result<Self, CoseError> {
        if protected.is_empty() {
            return Err(CoseError::MissingAlgorithm);
        }
        let mut reader = Reader::new(protected);
        let mut map = reader.map()?;
        let (mut algorithm, mut key_id) = (None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(ALG) => algorithm = Some(read_algorithm(&mut reader)?),
                Label::Int(CRIT) => return Err(CoseError::Critical),
                Label::Int(KID) => {
                    key_id = Some(
                        KeyId::from_slice(reader.bytes()?).map_err(|_| CoseError::KeyIdLength)?,
                    );
                }
                Label::Int(_) | Label::Text(_) => return Err(CoseError::UnknownParameter),
            }
        }
        reader.finish()?;
        Ok(Self {
            algorithm: algorithm.ok_or(CoseError::MissingAlgorithm)?,
            key_id: key_id.ok_or(CoseError::MissingKeyId)?,
        })
    }

    /// The header that we write: always algorithm -19.
    pub(super) fn protected(key_id: KeyId) -> [u8; PROTECTED_LEN] {
        let mut bytes = [0; PROTECTED_LEN];
        for (to, from) in bytes.iter_mut().zip(START.iter().chain(key_id.as_bytes())) {
            *to = *from;
        }
        bytes
    }
}

/// COSE allows private algorithms with text names; they are as unsupported as all other numbers.
fn read_algorithm(reader: &mut Reader<'_>) -> Result<Algorithm, CoseError> {
    if reader.kind()? == Kind::Text {
        reader.text()?;
        return Err(CoseError::UnsupportedAlgorithm);
    }
    Algorithm::from_id(reader.int()?).ok_or(CoseError::UnsupportedAlgorithm)
}
