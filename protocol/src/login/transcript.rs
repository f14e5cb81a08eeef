//! SPEC.md §4.4 — what both signatures are made over.

use core::fmt;

use super::message::write_optional;
use super::{
    BROKER_NONCE_LEN, CLIENT_ID_LEN_MAX, CLIENT_NONCE_LEN, EXPORTER_LEN, ExporterValue, Open,
    Opening,
};
use crate::cbor::Writer;
use crate::crypto::Signable;
use crate::ident::{ID_LEN_MAX, Id, KEY_ID_LEN};
use crate::sink::{CapacityError, Counter, Sink};

/// Keeps these signatures apart from all others.
const CONTEXT: &str = "keygate mqtt auth v1";

/// `{1: -19}`: the protected header of both signatures.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x32];

/// Longest transcript: the items in their order, each with its longest head.
const PAYLOAD_LEN_MAX: usize = 1
    + (1 + CONTEXT.len())
    + (1 + Role::Device.name().len())
    + (2 + ID_LEN_MAX)
    + (2 + CLIENT_ID_LEN_MAX)
    + 2 * (1 + KEY_ID_LEN)
    + (1 + CLIENT_NONCE_LEN)
    + (2 + BROKER_NONCE_LEN)
    + (2 + EXPORTER_LEN)
    + (2 + 32);

/// Longest message to be signed: `["Signature1", protected, h'', payload]` around the longest transcript.
const TO_BE_SIGNED_LEN_MAX: usize = 1 + 11 + (1 + PROTECTED.len()) + 1 + 3 + PAYLOAD_LEN_MAX;

/// The MQTT Client Identifier of a login, as CONNECT carries it: at most [`CLIENT_ID_LEN_MAX`] bytes (SPEC.md §2.3).
///
/// It may be empty, which asks the broker to choose one; the proof then covers that wish (SPEC.md §4.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientId<'a>(&'a str);

impl<'a> ClientId<'a> {
    /// Checks the length; which client ids a listener takes from whom is not decided here.
    pub fn new(text: &'a str) -> Result<Self, ClientIdError> {
        match text.len() {
            0..=CLIENT_ID_LEN_MAX => Ok(Self(text)),
            _ => Err(ClientIdError::TooLong),
        }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Why a text is not the client id of a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientIdError {
    /// More than [`CLIENT_ID_LEN_MAX`] bytes.
    TooLong,
}

impl fmt::Display for ClientIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the client id of a login has at most 128 bytes",
        })
    }
}

impl core::error::Error for ClientIdError {}

/// Who signs. It stands in the transcript, so neither signature passes for the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The broker confirms.
    Broker,
    /// The device proves.
    Device,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Device => "device",
        }
    }
}

/// Everything that the two ends must agree on before either believes the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transcript<'a> {
    /// The broker's name.
    pub broker_id: Id<'a>,
    /// The MQTT Client Identifier.
    pub client_id: ClientId<'a>,
    /// The device's first message.
    pub open: &'a Open,
    /// The broker's nonce.
    pub broker_nonce: &'a [u8; BROKER_NONCE_LEN],
    /// The TLS exporter value, if the open promised one.
    pub binding_value: Option<&'a ExporterValue>,
    /// What the CONNECT asked for.
    pub opening: &'a Opening,
}

impl Transcript<'_> {
    /// Writes the transcript as one end signs it.
    pub fn encode(&self, role: Role, sink: &mut impl Sink) -> Result<(), CapacityError> {
        let mut writer = Writer::new(sink);
        writer.array(10)?;
        writer.text(CONTEXT)?;
        writer.text(role.name())?;
        writer.text(self.broker_id.as_str())?;
        writer.text(self.client_id.as_str())?;
        writer.bytes(self.open.key_id.as_bytes())?;
        write_optional(&mut writer, self.open.broker_key_id)?;
        writer.bytes(&self.open.client_nonce)?;
        writer.bytes(self.broker_nonce)?;
        writer.bytes(self.binding_value.map_or(&[], |value| value))?;
        writer.bytes(self.opening.digest())
    }

    /// The message that one end signs and the other verifies.
    #[must_use]
    pub fn to_be_signed(&self, role: Role) -> ToBeSigned {
        let mut bytes = heapless::Vec::new();
        self.write_sig_structure(role, &mut bytes)
            .expect("sized for the longest transcript");
        ToBeSigned(bytes)
    }

    fn write_sig_structure(&self, role: Role, sink: &mut impl Sink) -> Result<(), CapacityError> {
        let mut len = Counter::new();
        self.encode(role, &mut len)?;
        let mut writer = Writer::new(sink);
        writer.array(4)?;
        writer.text("Signature1")?;
        writer.bytes(&PROTECTED)?;
        writer.bytes(&[])?;
        writer.bytes_head(len.total())?;
        self.encode(role, sink)
    }
}

/// A `Sig_structure` over a transcript.
#[derive(Clone, Debug)]
pub struct ToBeSigned(heapless::Vec<u8, TO_BE_SIGNED_LEN_MAX>);

impl ToBeSigned {
    /// As what a key signs.
    #[must_use]
    pub fn signable(&self) -> Signable<'_> {
        Signable::sig_structure(&self.0).expect("it was written as one")
    }
}
