//! SUBACK and UNSUBACK: one reason code for each topic filter that was asked for (MQTT 5 §3.9, §3.11).
use super::message::{put_user_properties, user_properties};
use super::property::{EXPLANATIONS, Property, Section, put};
use super::read::Reader;
use super::write::{self, Body, Properties, encoding};
use super::{
    DecodeError, PacketId, PacketType, ReasonCode, ReasonCodes, Sender, UserProperties, Version,
};
use crate::sink::{CapacityError, Sink};

/// The answer to SUBSCRIBE. In 3.1.1 every failure goes out as 0x80.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suback<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
    /// Granted QoS or failure, in the order of the filters.
    pub codes: ReasonCodes<'a>,
}

/// The answer to UNSUBSCRIBE. In 3.1.1 it has no codes: it always succeeds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsuback<'a> {
    /// Of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
    /// In the order of the filters; empty in 3.1.1.
    pub codes: ReasonCodes<'a>,
}

impl<'a> Suback<'a> {
    /// A SUBACK without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, codes: &'a [ReasonCode]) -> Self {
        Self {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::default(),
            codes: ReasonCodes::new(codes),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut suback = Self::new(reader.packet_id()?, &[]);
        if version == Version::V5 {
            let explained = Explained::decode(reader.properties()?)?;
            suback.reason_string = explained.reason_string;
            suback.user_properties = explained.user_properties;
        }
        let codes = reader.rest();
        for code in codes {
            if version == Version::V311 && !matches!(code, 0x00..=0x02 | 0x80) {
                return Err(DecodeError::ReturnCodeUnknown);
            }
            ReasonCode::decode(*code, PacketType::Suback, Sender::Server)?;
        }
        suback.codes = at_least_one(codes)?;
        Ok(suback)
    }
}

impl<'a> Unsuback<'a> {
    /// An UNSUBACK without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, codes: &'a [ReasonCode]) -> Self {
        Self {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::default(),
            codes: ReasonCodes::new(codes),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut unsuback = Self::new(reader.packet_id()?, &[]);
        if version == Version::V311 {
            reader.finish()?;
            return Ok(unsuback);
        }
        let explained = Explained::decode(reader.properties()?)?;
        unsuback.reason_string = explained.reason_string;
        unsuback.user_properties = explained.user_properties;
        let codes = reader.rest();
        for code in codes {
            ReasonCode::decode(*code, PacketType::Unsuback, Sender::Server)?;
        }
        unsuback.codes = at_least_one(codes)?;
        Ok(unsuback)
    }
}

fn at_least_one(codes: &[u8]) -> Result<ReasonCodes<'_>, DecodeError> {
    if codes.is_empty() {
        return Err(DecodeError::SubackEmpty);
    }
    Ok(ReasonCodes::checked(codes))
}

encoding!(Suback<'_>);
encoding!(Unsuback<'_>);

impl Body for Suback<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Suback.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::packet_id(sink, self.packet_id)?;
        let explained = Explained {
            reason_string: self.reason_string,
            user_properties: self.user_properties,
        };
        write::properties(sink, version, &explained)?;
        for code in self.codes {
            let code = match version {
                Version::V311 if code.is_error() => ReasonCode::UnspecifiedError,
                _ => code,
            };
            write::u8(sink, code.value())?;
        }
        Ok(())
    }
}

impl Body for Unsuback<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Unsuback.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::packet_id(sink, self.packet_id)?;
        if version == Version::V311 {
            return Ok(());
        }
        let explained = Explained {
            reason_string: self.reason_string,
            user_properties: self.user_properties,
        };
        write::properties(sink, version, &explained)?;
        for code in self.codes {
            write::u8(sink, code.value())?;
        }
        Ok(())
    }
}

/// The properties that both answers have.
#[derive(Default)]
struct Explained<'a> {
    reason_string: Option<&'a str>,
    user_properties: UserProperties<'a>,
}

impl<'a> Explained<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut section = Section::new(bytes, EXPLANATIONS);
        let mut explained = Self::default();
        while let Some(property) = section.next()? {
            if let Property::ReasonString(text) = property {
                explained.reason_string = Some(text);
            }
        }
        explained.user_properties = user_properties(&section);
        Ok(explained)
    }
}

impl Properties for Explained<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put(sink, self.reason_string.map(Property::ReasonString))?;
        put_user_properties(sink, self.user_properties)
    }
}
