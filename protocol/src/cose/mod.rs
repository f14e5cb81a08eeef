//! COSE (RFC 9052) as far as Ed25519 needs it: COSE_Key and its thumbprint.

pub mod key;

/// The names of Ed25519 among COSE algorithms. Neither chooses a key: a key is chosen first, and it is Ed25519.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// -19 (RFC 9864): what we write.
    Ed25519,
    /// -8, "EdDSA" with the curve left to the key (RFC 9053 §2.2, deprecated): read, with an Ed25519 key only.
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
