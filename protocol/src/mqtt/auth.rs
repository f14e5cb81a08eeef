//! AUTH: one step of an enhanced authentication (MQTT 5 §3.15, §4.12).
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::redact::Redacted;
use super::write::{self, Body, Properties};
use super::{DecodeError, PacketType, ReasonCode, Sender, UserProperties, Version};
use crate::sink::{CapacityError, Sink};
use core::fmt;

/// Carries a challenge, a proof, or the end of a re-authentication.
///
/// The method is missing only in the short form of two bytes, which says success and nothing else (§3.15.2.1). It is a
/// packet, but no answer to anything: a login that gets it refuses it. [`Debug`](fmt::Debug) prints the length of the
/// data, never the data.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub code: ReasonCode,
    /// The method of CONNECT.
    pub method: Option<&'a str>,
    /// What the method says.
    pub data: Option<&'a [u8]>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

const ALLOWED: IdSet = IdSet::of(&[
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::REASON_STRING,
    id::USER_PROPERTY,
]);

impl<'a> Auth<'a> {
    /// An AUTH with a method and without data.
    #[must_use]
    pub fn new(code: ReasonCode, method: &'a str) -> Self {
        Self {
            method: Some(method),
            ..Self::short()
        }
        .with_code(code)
    }

    fn short() -> Self {
        Self {
            code: ReasonCode::Success,
            method: None,
            data: None,
            reason_string: None,
            user_properties: UserProperties::default(),
        }
    }

    fn with_code(self, code: ReasonCode) -> Self {
        Self { code, ..self }
    }

    pub(super) fn decode(mut reader: Reader<'a>, sender: Sender) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::short());
        }
        let code = ReasonCode::decode(reader.u8()?, PacketType::Auth, sender)?;
        let mut auth = Self::short().with_code(code);
        if reader.is_empty() {
            return Err(DecodeError::AuthMethodMissing);
        }
        auth.decode_properties(reader.properties()?)?;
        reader.finish()?;
        Ok(auth)
    }

    fn decode_properties(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut section = Section::new(bytes, ALLOWED);
        while let Some(property) = section.next()? {
            match property {
                Property::AuthMethod(method) => self.method = Some(method),
                Property::AuthData(data) => self.data = Some(data),
                Property::ReasonString(text) => self.reason_string = Some(text),
                _ => {}
            }
        }
        self.user_properties = user_properties(&section);
        if self.method.is_none() {
            return Err(DecodeError::AuthMethodMissing);
        }
        Ok(())
    }

    /// Writes the whole packet (always as MQTT 5: 3.1.1 has no AUTH). An error means that the sink is full or that a
    /// field is longer than MQTT can express; throw away what was put.
    pub fn encode(&self, sink: &mut impl Sink) -> Result<(), CapacityError> {
        write::packet(self, Version::V5, sink)
    }

    /// Exactly how many bytes [`encode`](Self::encode) writes; `usize::MAX` if no packet can hold this.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        write::packet_len(self, Version::V5)
    }
}

impl Body for Auth<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Auth.first_byte()
    }

    fn write_body<S: Sink>(&self, _: Version, sink: &mut S) -> Result<(), CapacityError> {
        if *self == Self::short() {
            return Ok(());
        }
        write::u8(sink, self.code.value())?;
        write::properties(sink, Version::V5, self)
    }
}

impl Properties for Auth<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.method.map(Property::AuthMethod))?;
        put(sink, self.data.map(Property::AuthData))?;
        put(sink, self.reason_string.map(Property::ReasonString))?;
        put_user_properties(sink, self.user_properties)
    }
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("code", &self.code)
            .field("method", &self.method)
            .field("data", &Redacted(self.data))
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
