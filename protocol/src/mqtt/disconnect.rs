//! DISCONNECT: the last packet of a connection (MQTT 5 §3.14).
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::write::{self, Body, Properties, encoding};
use super::{DecodeError, PacketType, ReasonCode, Sender, UserProperties, Version};
use crate::sink::{CapacityError, Sink};

/// Ends a connection and says why. In 3.1.1 only a client sends it, and it says nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Disconnect<'a> {
    /// Why.
    pub code: ReasonCode,
    /// A new session expiry; only from a client.
    pub session_expiry_s: Option<u32>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Another server to use; only from a server.
    pub server_reference: Option<&'a str>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

const ALLOWED: IdSet = IdSet::of(&[
    id::SESSION_EXPIRY,
    id::SERVER_REFERENCE,
    id::REASON_STRING,
    id::USER_PROPERTY,
]);

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(code: ReasonCode) -> Self {
        Self {
            code,
            session_expiry_s: None,
            reason_string: None,
            server_reference: None,
            user_properties: UserProperties::default(),
        }
    }

    pub(super) fn decode(
        mut reader: Reader<'a>,
        sender: Sender,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::new(ReasonCode::Success);
        if version == Version::V5 && !reader.is_empty() {
            disconnect.code = ReasonCode::decode(reader.u8()?, PacketType::Disconnect, sender)?;
            if !reader.is_empty() {
                disconnect.decode_properties(reader.properties()?, sender)?;
            }
        }
        if version == Version::V311 && sender == Sender::Server {
            return Err(DecodeError::DisconnectFromServer);
        }
        reader.finish()?;
        Ok(disconnect)
    }

    fn decode_properties(&mut self, bytes: &'a [u8], sender: Sender) -> Result<(), DecodeError> {
        let mut section = Section::new(bytes, ALLOWED);
        while let Some(property) = section.next()? {
            match (property, sender) {
                (Property::SessionExpiry(_), Sender::Server) => {
                    return Err(DecodeError::SessionExpiryFromServer);
                }
                (Property::ServerReference(_), Sender::Client) => {
                    return Err(DecodeError::ServerReferenceFromClient);
                }
                (Property::SessionExpiry(value), _) => self.session_expiry_s = Some(value),
                (Property::ServerReference(text), _) => self.server_reference = Some(text),
                (Property::ReasonString(text), _) => self.reason_string = Some(text),
                _ => {}
            }
        }
        self.user_properties = user_properties(&section);
        Ok(())
    }

    fn has_properties(&self) -> bool {
        self.session_expiry_s.is_some()
            || self.server_reference.is_some()
            || self.reason_string.is_some()
            || !self.user_properties.is_empty()
    }
}

encoding!(Disconnect<'_>);

impl Body for Disconnect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Disconnect.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        match (version, self.has_properties()) {
            (Version::V311, _) => Ok(()),
            (Version::V5, false) if self.code == ReasonCode::Success => Ok(()),
            (Version::V5, false) => write::u8(sink, self.code.value()),
            (Version::V5, true) => {
                write::u8(sink, self.code.value())?;
                write::properties(sink, version, self)
            }
        }
    }
}

impl Properties for Disconnect<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.session_expiry_s.map(Property::SessionExpiry))?;
        put(sink, self.server_reference.map(Property::ServerReference))?;
        put(sink, self.reason_string.map(Property::ReasonString))?;
        put_user_properties(sink, self.user_properties)
    }
}
