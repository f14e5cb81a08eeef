//! SPEC.md §6 — assertions: a login for clients without AUTH, as a signed text in the Password.
//!
//! A device [signs](Assertion::sign) one with its own key, made fresh either by a challenge from `/challenge`, which needs
//! no clock, or by times. A broker takes the text apart with [`Compact`]; what the claims say, it judges elsewhere.
//!
//! ```
//! use keygate_protocol::assertion::{Assertion, Compact, Freshness};
//! use keygate_protocol::crypto::SoftwareSigner;
//! use keygate_protocol::ident::Id;
//!
//! let mut key = SoftwareSigner::from_seed(&[1; 32]);
//! let assertion = Assertion {
//!     id: Id::new("dev1")?,
//!     broker_id: Id::new("kg-7f3a9c")?,
//!     client_id: None,
//!     freshness: Freshness::Challenge("cUAAAAARIjNEqrvM3QABAgM"),
//! };
//! let password = assertion.sign(&mut key)?;
//!
//! let compact = Compact::parse(password.as_bytes())?;
//! assert!(compact.verify(&key.public_key()).is_ok());
//! let mut buffer = [0; keygate_protocol::assertion::JSON_LEN_MAX];
//! assert!(compact.claims(&mut buffer)?.starts_with(br#"{"iss":"dev1","sub":"dev1","aud":"kg-7f3a9c""#));
//!
//! // Another key's owner is somebody else.
//! let other = SoftwareSigner::from_seed(&[2; 32]);
//! assert!(compact.verify(&other.public_key()).is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::fmt::{self, Write};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::crypto::{
    BadSignature, PublicKey, SIGNATURE_LEN, Signable, Signature, Signer, SignerFault,
};
use crate::ident::{ID_LEN_MAX, Id, KEY_ID_LEN, KeyId};
use crate::login::{ClientId, ClientIdError};
use crate::time::UnixTime;

/// The `typ` of the header: what keeps an assertion apart from every other JWT that the same key may sign.
pub const TYPE: &str = "keygate-login+jwt";

/// The `alg` that we write (RFC 9864).
pub const ALGORITHM: &str = "Ed25519";

/// The `alg` that older libraries write for the same thing (RFC 8037); read, not written.
pub const ALGORITHM_OLD: &str = "EdDSA";

/// Longest assertion. It bounds what a broker decodes for a stranger; the longest that [`Assertion::sign`] makes is shorter.
pub const ASSERTION_LEN_MAX: usize = 1024;

/// Longest header or claims, as JSON: what three quarters of an assertion can hold.
pub const JSON_LEN_MAX: usize = ASSERTION_LEN_MAX / 4 * 3;

/// Longest life of an assertion with times, unless a listener is configured for more.
pub const LIFE_S_MAX: u64 = 300;

/// Longest life that a listener can be configured for.
pub const CONFIGURED_LIFE_S_MAX: u64 = 24 * 60 * 60;

/// How far clocks may be apart, each way.
pub const CLOCK_SKEW_S: u64 = 60;

/// How long a challenge from `/challenge` lives.
pub const CNONCE_LIFE_S: u64 = 60;

/// Longest challenge from `/challenge` that a device must take.
pub const CNONCE_LEN_MAX: usize = 64;

/// Longest `jti`: 48 random bytes in base64url, far more than uniqueness needs.
pub const JTI_LEN_MAX: usize = 64;

const TIME_LEN_MAX: usize = 20;

const HEADER_LEN: usize =
    r#"{"alg":"","typ":"","kid":""}"#.len() + ALGORITHM.len() + TYPE.len() + 2 * KEY_ID_LEN;

const CLAIMS_LEN_MAX: usize =
    r#"{"iss":"","sub":"","aud":"","client_id":"","iat":,"exp":,"jti":""}"#.len()
        + 3 * ID_LEN_MAX
        + crate::login::CLIENT_ID_LEN_MAX
        + 2 * TIME_LEN_MAX
        + JTI_LEN_MAX;

const _: () = assert!(
    base64url_len(HEADER_LEN)
        + 1
        + base64url_len(CLAIMS_LEN_MAX)
        + 1
        + base64url_len(SIGNATURE_LEN)
        <= ASSERTION_LEN_MAX
);

const fn base64url_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The signed text; it is the Password.
pub type AssertionText = heapless::String<ASSERTION_LEN_MAX>;

/// What a device asserts: that it is `id`, to the broker `broker_id`, now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assertion<'a> {
    /// `iss` and `sub`: the device. Also the User Name.
    pub id: Id<'a>,
    /// `aud`: the broker.
    pub broker_id: Id<'a>,
    /// `client_id`: the only Client Identifier that may use it, if given. Printable ASCII without `"` and `\`.
    pub client_id: Option<&'a str>,
    /// Why it is not an old one.
    pub freshness: Freshness<'a>,
}

/// What makes an assertion fresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness<'a> {
    /// `cnonce`: a challenge from `/challenge`, copied as it is. Needs no clock.
    Challenge(&'a str),
    /// `iat`, `exp`, `jti`. Needs a clock that is right to [`CLOCK_SKEW_S`].
    Times {
        /// `iat`: now.
        issued_at: UnixTime,
        /// `exp`: at most [`LIFE_S_MAX`] later, more only where the broker allows it.
        expires_at: UnixTime,
        /// `jti`: fresh for each assertion, see [`is_jti`].
        jti: &'a str,
    },
}

impl Assertion<'_> {
    /// Writes and signs it.
    pub fn sign(&self, signer: &mut impl Signer) -> Result<AssertionText, AssertionError> {
        self.check()?;
        let mut text = AssertionText::new();
        let mut json = heapless::String::<JSON_LEN_MAX>::new();
        write_header(&mut json, signer.key_id()).map_err(|_| AssertionError::TooLong)?;
        push_base64url(&mut text, json.as_bytes())?;
        text.push('.').map_err(|_| AssertionError::TooLong)?;
        json.clear();
        self.write_claims(&mut json)
            .map_err(|_| AssertionError::TooLong)?;
        push_base64url(&mut text, json.as_bytes())?;
        let message = Signable::jws_input(text.as_bytes()).map_err(|_| AssertionError::TooLong)?;
        let signature = signer.sign(&message).map_err(AssertionError::Signer)?;
        text.push('.').map_err(|_| AssertionError::TooLong)?;
        push_base64url(&mut text, signature.as_bytes())?;
        Ok(text)
    }

    fn check(&self) -> Result<(), AssertionError> {
        if let Some(client_id) = self.client_id {
            if client_id.is_empty() {
                return Err(AssertionError::ClientIdEmpty);
            }
            ClientId::new(client_id).map_err(AssertionError::ClientId)?;
            let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
            if !client_id.bytes().all(plain) {
                return Err(AssertionError::ClientIdCharacter);
            }
        }
        match self.freshness {
            Freshness::Challenge(cnonce) if !is_cnonce(cnonce) => Err(AssertionError::BadChallenge),
            Freshness::Times { jti, .. } if !is_jti(jti) => Err(AssertionError::BadJti),
            Freshness::Times {
                issued_at,
                expires_at,
                ..
            } if expires_at <= issued_at => Err(AssertionError::NoLife),
            Freshness::Times {
                issued_at,
                expires_at,
                ..
            } if expires_at.0 - issued_at.0 > CONFIGURED_LIFE_S_MAX => {
                Err(AssertionError::LifeTooLong)
            }
            _ => Ok(()),
        }
    }

    /// Nothing here needs escaping: ids, client id, challenge and `jti` hold plain characters only.
    fn write_claims(&self, json: &mut impl Write) -> fmt::Result {
        let Self { id, broker_id, .. } = self;
        write!(json, r#"{{"iss":"{id}","sub":"{id}","aud":"{broker_id}""#)?;
        if let Some(client_id) = self.client_id {
            write!(json, r#","client_id":"{client_id}""#)?;
        }
        match self.freshness {
            Freshness::Challenge(cnonce) => write!(json, r#","cnonce":"{cnonce}"}}"#),
            Freshness::Times {
                issued_at,
                expires_at,
                jti,
            } => {
                write!(
                    json,
                    r#","iat":{},"exp":{},"jti":"{jti}"}}"#,
                    issued_at.0, expires_at.0
                )
            }
        }
    }
}

fn write_header(json: &mut impl Write, key_id: KeyId) -> fmt::Result {
    write!(
        json,
        r#"{{"alg":"{ALGORITHM}","typ":"{TYPE}","kid":"{key_id}"}}"#
    )
}

fn push_base64url(text: &mut AssertionText, bytes: &[u8]) -> Result<(), AssertionError> {
    let mut buffer = [0; base64url_len(JSON_LEN_MAX)];
    let encoded =
        Base64UrlUnpadded::encode(bytes, &mut buffer).map_err(|_| AssertionError::TooLong)?;
    text.push_str(encoded).map_err(|_| AssertionError::TooLong)
}

/// Whether a text may be a `jti`: 1 to [`JTI_LEN_MAX`] of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn is_jti(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    matches!(text.len(), 1..=JTI_LEN_MAX) && text.bytes().all(allowed)
}

/// Whether a text may be a `cnonce`: 1 to [`CNONCE_LEN_MAX`] base64url characters.
#[must_use]
pub fn is_cnonce(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    matches!(text.len(), 1..=CNONCE_LEN_MAX) && text.bytes().all(allowed)
}

/// Why a device cannot make an assertion: its configuration, what it was handed, or its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AssertionError {
    /// What should be a challenge is none; see [`is_cnonce`].
    BadChallenge,
    /// The `jti` is none; see [`is_jti`].
    BadJti,
    /// The client id is too long.
    ClientId(ClientIdError),
    /// The client id holds a character that JSON would have to escape, or one beyond ASCII.
    ClientIdCharacter,
    /// The client id is empty: leave the claim out instead.
    ClientIdEmpty,
    /// It would live longer than any broker can be configured for.
    LifeTooLong,
    /// It would end before it begins.
    NoLife,
    /// The key could not sign.
    Signer(SignerFault),
    /// It does not fit; cannot happen for parts that passed the checks above.
    TooLong,
}

impl fmt::Display for AssertionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadChallenge => "a challenge is 1 to 64 base64url characters",
            Self::BadJti => "a jti is 1 to 64 of A-Z a-z 0-9 . _ -",
            Self::ClientId(error) => return error.fmt(f),
            Self::ClientIdCharacter => {
                "the client id of an assertion is printable ASCII without quotes and backslashes"
            }
            Self::ClientIdEmpty => {
                "the client id of an assertion is not empty; leave it out instead"
            }
            Self::LifeTooLong => "an assertion lives at most 24 hours",
            Self::NoLife => "an assertion ends after it begins",
            Self::Signer(fault) => return fault.fmt(f),
            Self::TooLong => "the assertion is too long",
        })
    }
}

impl core::error::Error for AssertionError {}

/// A JWS in compact form, taken apart: three parts of strict base64url, the last one 64 bytes. Nothing in it is
/// believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    header: &'a [u8],
    claims: &'a [u8],
    input: &'a [u8],
    signature: Signature,
}

impl<'a> Compact<'a> {
    /// Takes a text apart. The parts have one possible spelling each: no padding, no white space, no left-over bits.
    pub fn parse(text: &'a [u8]) -> Result<Self, CompactError> {
        if text.len() > ASSERTION_LEN_MAX {
            return Err(CompactError::TooLong);
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CompactError::NotThreeParts);
        };
        let input_len = header.len() + 1 + claims.len();
        let mut buffer = [0; JSON_LEN_MAX];
        for part in [header, claims] {
            if decode(part, &mut buffer)?.is_empty() {
                return Err(CompactError::EmptyPart);
            }
        }
        let signature = Signature::from_slice(decode(signature, &mut buffer)?)
            .map_err(|BadSignature| CompactError::SignatureLength)?;
        let input = text.get(..input_len).ok_or(CompactError::NotThreeParts)?;
        Ok(Self {
            header,
            claims,
            input,
            signature,
        })
    }

    /// The header, as JSON, in a buffer of [`JSON_LEN_MAX`].
    pub fn header<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], CompactError> {
        decode(self.header, buffer)
    }

    /// The claims, as JSON, in a buffer of [`JSON_LEN_MAX`]. Nobody has said them before [`verify`](Self::verify).
    pub fn claims<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], CompactError> {
        decode(self.claims, buffer)
    }

    /// Whether this key signed it. The caller has checked `alg` and `typ`.
    pub fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        let message = Signable::jws_input(self.input).map_err(|_| BadSignature)?;
        key.verify(&message, &self.signature)
    }
}

fn decode<'b>(part: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], CompactError> {
    Base64UrlUnpadded::decode(part, buffer).map_err(|_| CompactError::NotBase64url)
}

/// Why bytes are no JWS in compact form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompactError {
    /// A header or claims of no bytes.
    EmptyPart,
    /// A part is not base64url in its one spelling.
    NotBase64url,
    /// Not two dots.
    NotThreeParts,
    /// The third part does not decode to 64 bytes.
    SignatureLength,
    /// More than [`ASSERTION_LEN_MAX`] bytes.
    TooLong,
}

impl fmt::Display for CompactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyPart => "a JWS with an empty part",
            Self::NotBase64url => "a JWS part is not strict base64url",
            Self::NotThreeParts => "a JWS has three parts",
            Self::SignatureLength => "an Ed25519 signature has 64 bytes",
            Self::TooLong => "the assertion is too long",
        })
    }
}

impl core::error::Error for CompactError {}

#[cfg(test)]
mod tests;
