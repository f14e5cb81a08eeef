//! UNSUBSCRIBE (MQTT 5 §3.10).
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Section, id};
use super::read::Reader;
use super::write::{self, Body, Properties, encoding};
use super::{DecodeError, Filters, PacketId, PacketType, UserProperties, Version};
use crate::sink::{CapacityError, Sink};
use crate::topic::TopicFilter;

/// A client gives up subscriptions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK must repeat.
    pub packet_id: PacketId,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
    /// Which; at least one.
    pub filters: Filters<'a>,
}

const ALLOWED: IdSet = IdSet::of(&[id::USER_PROPERTY]);

impl<'a> Unsubscribe<'a> {
    /// An UNSUBSCRIBE without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, filters: &'a [TopicFilter<'a>]) -> Self {
        Self {
            packet_id,
            user_properties: UserProperties::default(),
            filters: Filters::new(filters),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut unsubscribe = Self::new(reader.packet_id()?, &[]);
        if version == Version::V5 {
            let mut section = Section::new(reader.properties()?, ALLOWED);
            while section.next()?.is_some() {}
            unsubscribe.user_properties = user_properties(&section);
        }
        if reader.is_empty() {
            return Err(DecodeError::UnsubscribeEmpty);
        }
        unsubscribe.filters = Filters::checked(reader.rest());
        while !reader.is_empty() {
            TopicFilter::new(reader.string()?).map_err(DecodeError::Filter)?;
        }
        Ok(unsubscribe)
    }
}

encoding!(Unsubscribe<'_>);

impl Body for Unsubscribe<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Unsubscribe.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::packet_id(sink, self.packet_id)?;
        write::properties(sink, version, self)?;
        for filter in self.filters {
            write::string(sink, filter.as_str())?;
        }
        Ok(())
    }
}

impl Properties for Unsubscribe<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        put_user_properties(sink, self.user_properties)
    }
}
