//! SPEC.md §4.2, §4.3 — what stands in Authentication Data: the open and the challenge.

use core::fmt;
use core::ops::Deref;

use super::{BROKER_NONCE_LEN, CLIENT_NONCE_LEN};
use crate::cbor::{CborError, Reader, Writer};
use crate::ident::{ID_LEN_MAX, Id, IdError, KEY_ID_LEN, KeyId};
use crate::sink::CapacityError;

/// The version of this login: the first item of the open.
const VERSION: u64 = 1;

/// Longest open: five heads of one byte, a nonce, two key ids.
pub(super) const OPEN_LEN_MAX: usize = 6 + CLIENT_NONCE_LEN + 2 * KEY_ID_LEN;

/// Longest challenge: a head of one byte and two of two, a nonce, a broker id.
pub(super) const CHALLENGE_LEN_MAX: usize = 5 + BROKER_NONCE_LEN + ID_LEN_MAX;

const _: () = assert!(OPEN_LEN_MAX <= CHALLENGE_LEN_MAX);

/// What goes into the Authentication Data of a packet. Reads as the bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthData(heapless::Vec<u8, CHALLENGE_LEN_MAX>);

impl AuthData {
    fn write(
        encode: impl FnOnce(
            &mut Writer<'_, heapless::Vec<u8, CHALLENGE_LEN_MAX>>,
        ) -> Result<(), CapacityError>,
    ) -> Self {
        let mut bytes = heapless::Vec::new();
        encode(&mut Writer::new(&mut bytes)).expect("sized for the longest open and challenge");
        Self(bytes)
    }
}

impl Deref for AuthData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for AuthData {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Whether the proof covers a value of the TLS channel that it travels in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Binding {
    /// No binding: 0 on the wire.
    None,
    /// The TLS exporter: 1 on the wire (SPEC.md §4.8).
    Exporter,
}

/// The first message: who wants to prove which key, and what it expects of the broker.
///
/// ```
/// use keygate_protocol::login::{Binding, Open, OpenError};
/// use keygate_protocol::ident::KeyId;
///
/// let open = Open {
///     client_nonce: [0; 16],
///     key_id: KeyId::from_bytes([1; 8]),
///     broker_key_id: None,
///     binding: Binding::None,
/// };
/// let bytes = open.encode();
/// assert_eq!(Open::decode(&bytes), Ok(open));
/// assert_eq!(Open::decode(b"\x81\x02"), Err(OpenError::VersionUnknown(2)));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Open {
    /// Fresh random bytes of the device.
    pub client_nonce: [u8; CLIENT_NONCE_LEN],
    /// The key that will sign.
    pub key_id: KeyId,
    /// The broker identity key whose proof the device asks for.
    pub broker_key_id: Option<KeyId>,
    /// Whether the proof will cover the TLS exporter.
    pub binding: Binding,
}

impl Open {
    /// Reads Authentication Data of CONNECT or of AUTH 19.
    pub fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(bytes);
        let count = reader.array()?;
        // The version comes before the count is judged: another version may have another count.
        let version = reader.uint()?;
        if version != VERSION {
            return Err(OpenError::VersionUnknown(version));
        }
        if count != 5 {
            return Err(CborError::WrongCount.into());
        }
        let open = Self {
            client_nonce: *reader.bytes_of()?,
            key_id: KeyId::from_bytes(*reader.bytes_of()?),
            broker_key_id: if reader.null()? {
                None
            } else {
                Some(KeyId::from_bytes(*reader.bytes_of()?))
            },
            binding: match reader.uint()? {
                0 => Binding::None,
                1 => Binding::Exporter,
                other => return Err(OpenError::BindingUnknown(other)),
            },
        };
        reader.finish()?;
        Ok(open)
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> AuthData {
        AuthData::write(|writer| {
            writer.array(5)?;
            writer.uint(VERSION)?;
            writer.bytes(&self.client_nonce)?;
            writer.bytes(self.key_id.as_bytes())?;
            write_optional(writer, self.broker_key_id)?;
            writer.uint(match self.binding {
                Binding::None => 0,
                Binding::Exporter => 1,
            })
        })
    }
}

/// A key id or null, as it stands in the open and in the transcript.
pub(super) fn write_optional<S: crate::sink::Sink>(
    writer: &mut Writer<'_, S>,
    key_id: Option<KeyId>,
) -> Result<(), CapacityError> {
    match key_id {
        Some(key_id) => writer.bytes(key_id.as_bytes()),
        None => writer.null(),
    }
}

/// The second message: the broker's nonce and name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Challenge<'a> {
    /// Fresh random bytes of the broker.
    pub broker_nonce: [u8; BROKER_NONCE_LEN],
    /// Who the broker says it is. A device compares it with its configuration.
    pub broker_id: Id<'a>,
}

impl<'a> Challenge<'a> {
    /// Reads Authentication Data of AUTH 18 from the broker.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ChallengeError> {
        let mut reader = Reader::new(bytes);
        reader.array_of(2)?;
        let broker_nonce = *reader.bytes_of()?;
        let broker_id = Id::new(reader.text()?).map_err(ChallengeError::BrokerId)?;
        reader.finish()?;
        Ok(Self {
            broker_nonce,
            broker_id,
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> AuthData {
        AuthData::write(|writer| {
            writer.array(2)?;
            writer.bytes(&self.broker_nonce)?;
            writer.text(self.broker_id.as_str())
        })
    }
}

/// Why bytes are no open: the device's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// A binding other than 0 and 1.
    BindingUnknown(u64),
    /// Not deterministic CBOR of the right shape.
    Malformed(CborError),
    /// A version that this code does not speak.
    VersionUnknown(u64),
}

impl From<CborError> for OpenError {
    fn from(error: CborError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindingUnknown(binding) => write!(f, "the open names binding {binding}"),
            Self::Malformed(error) => write!(f, "the open is malformed: {error}"),
            Self::VersionUnknown(version) => write!(f, "the open has version {version}"),
        }
    }
}

impl core::error::Error for OpenError {}

/// Why bytes are no challenge: the broker's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChallengeError {
    /// The broker's name is no id.
    BrokerId(IdError),
    /// Not deterministic CBOR of the right shape.
    Malformed(CborError),
}

impl From<CborError> for ChallengeError {
    fn from(error: CborError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokerId(error) => write!(f, "the challenge names no broker: {error}"),
            Self::Malformed(error) => write!(f, "the challenge is malformed: {error}"),
        }
    }
}

impl core::error::Error for ChallengeError {}
