//! What is wrong with a TLS channel, as far as somebody can do something about it.

use rustls::{CertificateError, Error};

/// Why a TLS channel did not come about, or broke.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate is by somebody else.
    #[error("the broker's certificate is not by a CA of --ca")]
    UnknownIssuer,
    /// The certificate is for other names.
    #[error("the broker's certificate is for another name: {0}")]
    WrongName(String),
    /// Anything else, in the words of rustls.
    #[error("{0}")]
    Other(String),
}

impl From<&Error> for TlsFault {
    fn from(error: &Error) -> Self {
        let Error::InvalidCertificate(certificate) = error else {
            return Self::Other(error.to_string());
        };
        match certificate {
            // A CA of the same name with another key is another CA.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(certificate.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl TlsFault {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "pass the CA that signed it with --ca: Keygate's own is DATA/tls/ca.pem"
            }
            Self::WrongName(_) => "call the broker by one of its names: --mqtt mqtts://NAME:PORT",
            Self::Other(_) => "is this the port of its TLS listener, and does that speak TLS 1.3?",
        }
    }
}
