//! SPEC.md §4.6 — the opening: what a CONNECT asks for, as a digest that the proof covers.

use sha2::{Digest, Sha256};

use crate::cbor::Writer;
use crate::mqtt::{Connect, Qos};
use crate::sink::{CapacityError, Sink};

const OF_CONNECT: u64 = 0;
const OF_REAUTHENTICATION: u64 = 1;

/// The will of a CONNECT, as far as a proof covers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WillPart<'a> {
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: Qos,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval; 0 when absent.
    pub delay_s: u32,
}

/// SHA-256 over what a CONNECT asks for, or over the fact that this is a re-authentication. Both ends make it from what
/// they sent or received, so a will, clean start or session expiry that changes on the way voids the proof.
///
/// ```
/// use keygate_protocol::login::Opening;
///
/// assert_ne!(Opening::connect(true, 0, None), Opening::connect(false, 0, None));
/// assert_ne!(Opening::connect(true, 0, None), Opening::reauthentication());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opening([u8; 32]);

impl Opening {
    /// The opening of a CONNECT. `session_expiry_s` is 0 when the property is absent.
    #[must_use]
    pub fn connect(clean_start: bool, session_expiry_s: u32, will: Option<&WillPart<'_>>) -> Self {
        Self::hash(|sink| write_connect(sink, clean_start, session_expiry_s, will))
    }

    /// The opening of a CONNECT as the codec read it.
    #[must_use]
    pub fn of_connect(connect: &Connect<'_>) -> Self {
        let will = connect.will.as_ref().map(|will| WillPart {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            delay_s: will.delay_s,
        });
        Self::connect(
            connect.clean_start,
            connect.properties.session_expiry_s,
            will.as_ref(),
        )
    }

    /// The opening of a re-authentication: it changes nothing but rights.
    #[must_use]
    pub fn reauthentication() -> Self {
        Self::hash(|sink| {
            let mut writer = Writer::new(sink);
            writer.array(1)?;
            writer.uint(OF_REAUTHENTICATION)
        })
    }

    /// The 32 bytes that the transcript carries.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    fn hash(encode: impl FnOnce(&mut Hashing) -> Result<(), CapacityError>) -> Self {
        let mut sink = Hashing(Sha256::new());
        encode(&mut sink).expect("a hash takes any number of bytes");
        Self(sink.0.finalize().into())
    }
}

/// Hashes what is put, so that a will payload of any size needs no second buffer.
struct Hashing(Sha256);

impl Sink for Hashing {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.update(bytes);
        Ok(())
    }
}

pub(super) fn write_connect<S: Sink>(
    sink: &mut S,
    clean_start: bool,
    session_expiry_s: u32,
    will: Option<&WillPart<'_>>,
) -> Result<(), CapacityError> {
    let mut writer = Writer::new(sink);
    writer.array(4)?;
    writer.uint(OF_CONNECT)?;
    writer.bool(clean_start)?;
    writer.uint(session_expiry_s.into())?;
    let Some(will) = will else {
        return writer.null();
    };
    writer.array(5)?;
    writer.text(will.topic)?;
    writer.bytes(will.payload)?;
    writer.uint(will.qos.level().into())?;
    writer.bool(will.retain)?;
    writer.uint(will.delay_s.into())
}
