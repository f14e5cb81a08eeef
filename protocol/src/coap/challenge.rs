//! SPEC.md §8.2 — what `/challenge` answers: a nonce for an assertion, and the broker's time.

use core::fmt;

use crate::cbor::{CborError, Label, Reader, Writer};
use crate::ident::{Id, IdError};
use crate::sink::{CapacityError, Sink};
use crate::time::UnixTime;

/// Longest `cnonce` that a device takes.
pub const CNONCE_LEN_MAX: usize = 64;

/// The keys are those of the claims that the values go to: aud is the broker that issues, hence 3.
const BROKER_ID: i64 = 3;
const TIME: i64 = 6;
const CNONCE: i64 = 39;

/// The answer of `/challenge`. Not authenticated: a wrong one makes a login fail and does nothing else.
///
/// ```
/// use keygate_protocol::coap::ChallengeAnswer;
/// use keygate_protocol::ident::Id;
/// use keygate_protocol::sink::SliceSink;
/// use keygate_protocol::time::UnixTime;
///
/// let answer = ChallengeAnswer {
///     broker_id: Id::new("kg-7f3a9c")?,
///     time: UnixTime(1_900_019_712),
///     cnonce: "cUAAAAARIjNEqrvM3QABAgM",
/// };
/// let mut buffer = [0; 64];
/// let mut sink = SliceSink::new(&mut buffer);
/// answer.encode(&mut sink)?;
/// assert_eq!(ChallengeAnswer::decode(sink.written()), Ok(answer));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChallengeAnswer<'a> {
    /// Who answers; a device that means another broker stops here.
    pub broker_id: Id<'a>,
    /// The broker's clock: a hint for devices without one.
    pub time: UnixTime,
    /// What goes into the assertion, as it stands: 1 to 64 base64url characters.
    pub cnonce: &'a str,
}

impl<'a> ChallengeAnswer<'a> {
    /// Reads the map.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ChallengeError> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut broker_id, mut time, mut cnonce) = (None, None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(BROKER_ID) => {
                    broker_id = Some(Id::new(reader.text()?).map_err(ChallengeError::BrokerId)?);
                }
                Label::Int(TIME) => time = Some(UnixTime(reader.uint()?)),
                Label::Int(CNONCE) => cnonce = Some(reader.text()?),
                // A later broker may say more (SPEC.md §12).
                Label::Int(_) => reader.skip()?,
                Label::Text(_) => return Err(ChallengeError::UnknownMember),
            }
        }
        reader.finish()?;
        let cnonce = cnonce.ok_or(ChallengeError::Missing)?;
        if !is_cnonce(cnonce) {
            return Err(ChallengeError::Cnonce);
        }
        Ok(Self {
            broker_id: broker_id.ok_or(ChallengeError::Missing)?,
            time: time.ok_or(ChallengeError::Missing)?,
            cnonce,
        })
    }

    /// Writes the deterministic map.
    pub fn encode(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let mut writer = Writer::new(out);
        writer.map(3)?;
        writer.int(BROKER_ID)?;
        writer.text(self.broker_id.as_str())?;
        writer.int(TIME)?;
        writer.uint(self.time.0)?;
        writer.int(CNONCE)?;
        writer.text(self.cnonce)
    }
}

fn is_cnonce(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=CNONCE_LEN_MAX).contains(&text.len()) && text.bytes().all(base64url)
}

/// Why bytes are no answer of `/challenge`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChallengeError {
    /// The broker's id is no id.
    BrokerId(IdError),
    /// Not CBOR as we read it.
    Cbor(CborError),
    /// The nonce is not 1 to 64 base64url characters.
    Cnonce,
    /// A member is not there.
    Missing,
    /// A member with a text key.
    UnknownMember,
}

impl From<CborError> for ChallengeError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrokerId(error) => return error.fmt(f),
            Self::Cbor(error) => return error.fmt(f),
            Self::Cnonce => "cnonce is not 1 to 64 base64url characters",
            Self::Missing => "the challenge lacks a member",
            Self::UnknownMember => "the challenge has a text key",
        })
    }
}

impl core::error::Error for ChallengeError {}
