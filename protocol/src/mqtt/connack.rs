//! CONNACK: the server's answer to CONNECT (MQTT 5 §3.2).
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::redact::Redacted;
use super::write::{self, Body, Properties, encoding};
use super::{
    ConnectReturnCode, DecodeError, PacketType, Qos, ReasonCode, Sender, UserProperties, Version,
};
use crate::sink::{CapacityError, Sink};
use core::fmt;

/// Accepts or refuses a connection.
///
/// In 3.1.1 the code goes out as its [`ReasonCode::return_code`] and comes in as the
/// [`ConnectReturnCode::reason_code`] of what was received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connack<'a> {
    /// The server has the session that the client left; false in every refusal.
    pub session_present: bool,
    /// Success, or why not.
    pub code: ReasonCode,
    /// Properties; defaults in 3.1.1.
    pub properties: ConnackProperties<'a>,
}

/// Properties of CONNACK (MQTT 5 §3.2.2.3). The defaults are what an absent property means.
#[derive(Clone, Copy, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what a server can do, one property each"
)]
pub struct ConnackProperties<'a> {
    /// Session expiry, if not the one that was asked for.
    pub session_expiry_s: Option<u32>,
    /// How many QoS 1 and 2 messages the server takes before it acknowledges one; not 0. Default 65,535.
    pub receive_max: u16,
    /// Highest QoS that the server takes. Default: 2.
    pub qos_max: Qos,
    /// Whether retained messages work. Default true.
    pub retain_available: bool,
    /// Largest packet that the server takes; not 0. Default: any.
    pub packet_size_max: Option<u32>,
    /// The client identifier that the server chose.
    pub assigned_client_id: Option<&'a str>,
    /// Highest topic alias that the server takes. Default 0: none.
    pub topic_alias_max: u16,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Whether wildcard subscriptions work. Default true.
    pub wildcard_subscriptions_available: bool,
    /// Whether subscription identifiers work. Default true.
    pub subscription_ids_available: bool,
    /// Whether shared subscriptions work. Default true.
    pub shared_subscriptions_available: bool,
    /// The keep-alive that the client must use, if not its own.
    pub keep_alive_s: Option<u16>,
    /// Basis for response topics.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// The method of enhanced authentication.
    pub auth_method: Option<&'a str>,
    /// Its last data.
    pub auth_data: Option<&'a [u8]>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

const SESSION_PRESENT: u8 = 0b0000_0001;

const RECEIVE_MAX_DEFAULT: u16 = 65_535;

const ALLOWED: IdSet = IdSet::of(&[
    id::SESSION_EXPIRY,
    id::ASSIGNED_CLIENT_ID,
    id::SERVER_KEEP_ALIVE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::REASON_STRING,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::USER_PROPERTY,
    id::MAXIMUM_PACKET_SIZE,
    id::WILDCARD_AVAILABLE,
    id::SUBSCRIPTION_IDS_AVAILABLE,
    id::SHARED_AVAILABLE,
]);

impl<'a> Connack<'a> {
    /// An answer without properties.
    #[must_use]
    pub fn new(session_present: bool, code: ReasonCode) -> Self {
        Self {
            session_present,
            code,
            properties: ConnackProperties::default(),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !SESSION_PRESENT != 0 {
            return Err(DecodeError::ConnackFlagReserved);
        }
        let session_present = flags & SESSION_PRESENT != 0;
        let code = match version {
            Version::V311 => ConnectReturnCode::new(reader.u8()?)
                .ok_or(DecodeError::ReturnCodeUnknown)?
                .reason_code(),
            Version::V5 => ReasonCode::decode(reader.u8()?, PacketType::Connack, Sender::Server)?,
        };
        if session_present && code.is_error() {
            return Err(DecodeError::SessionPresentOnError);
        }
        let properties = match version {
            Version::V311 => ConnackProperties::default(),
            Version::V5 => ConnackProperties::decode(reader.properties()?)?,
        };
        reader.finish()?;
        Ok(Self {
            session_present,
            code,
            properties,
        })
    }
}

encoding!(Connack<'_>);

impl Body for Connack<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Connack.first_byte()
    }

    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::u8(sink, u8::from(self.session_present))?;
        match version {
            Version::V311 => write::u8(sink, self.code.return_code().value()),
            Version::V5 => write::u8(sink, self.code.value()),
        }?;
        write::properties(sink, version, &self.properties)
    }
}

impl<'a> ConnackProperties<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut section = Section::new(bytes, ALLOWED);
        let mut found = Self::default();
        while let Some(property) = section.next()? {
            found.set(property);
        }
        found.user_properties = user_properties(&section);
        Ok(found)
    }

    fn set(&mut self, property: Property<'a>) {
        match property {
            Property::SessionExpiry(value) => self.session_expiry_s = Some(value),
            Property::ReceiveMaximum(value) => self.receive_max = value,
            Property::MaximumQos(one) => {
                self.qos_max = if one {
                    Qos::AtLeastOnce
                } else {
                    Qos::AtMostOnce
                };
            }
            Property::RetainAvailable(value) => self.retain_available = value,
            Property::MaximumPacketSize(value) => self.packet_size_max = Some(value),
            Property::AssignedClientId(id) => self.assigned_client_id = Some(id),
            Property::TopicAliasMaximum(value) => self.topic_alias_max = value,
            Property::ReasonString(text) => self.reason_string = Some(text),
            Property::WildcardAvailable(value) => self.wildcard_subscriptions_available = value,
            Property::SubscriptionIdsAvailable(value) => self.subscription_ids_available = value,
            Property::SharedAvailable(value) => self.shared_subscriptions_available = value,
            Property::ServerKeepAlive(value) => self.keep_alive_s = Some(value),
            Property::ResponseInformation(text) => self.response_information = Some(text),
            Property::ServerReference(text) => self.server_reference = Some(text),
            Property::AuthMethod(method) => self.auth_method = Some(method),
            Property::AuthData(data) => self.auth_data = Some(data),
            _ => {}
        }
    }
}

impl Properties for ConnackProperties<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        let receive = (self.receive_max != RECEIVE_MAX_DEFAULT)
            .then_some(Property::ReceiveMaximum(self.receive_max));
        let alias = (self.topic_alias_max != 0)
            .then_some(Property::TopicAliasMaximum(self.topic_alias_max));
        let qos = (self.qos_max != Qos::ExactlyOnce)
            .then_some(Property::MaximumQos(self.qos_max == Qos::AtLeastOnce));
        let lacking = |available: bool, property| (!available).then_some(property);
        put(sink, self.session_expiry_s.map(Property::SessionExpiry))?;
        put(
            sink,
            self.assigned_client_id.map(Property::AssignedClientId),
        )?;
        put(sink, self.keep_alive_s.map(Property::ServerKeepAlive))?;
        put(sink, self.auth_method.map(Property::AuthMethod))?;
        put(sink, self.auth_data.map(Property::AuthData))?;
        put(
            sink,
            self.response_information.map(Property::ResponseInformation),
        )?;
        put(sink, self.server_reference.map(Property::ServerReference))?;
        put(sink, self.reason_string.map(Property::ReasonString))?;
        put(sink, receive)?;
        put(sink, alias)?;
        put(sink, qos)?;
        put(
            sink,
            lacking(self.retain_available, Property::RetainAvailable(false)),
        )?;
        put_user_properties(sink, self.user_properties)?;
        put(sink, self.packet_size_max.map(Property::MaximumPacketSize))?;
        put(
            sink,
            lacking(
                self.wildcard_subscriptions_available,
                Property::WildcardAvailable(false),
            ),
        )?;
        put(
            sink,
            lacking(
                self.subscription_ids_available,
                Property::SubscriptionIdsAvailable(false),
            ),
        )?;
        put(
            sink,
            lacking(
                self.shared_subscriptions_available,
                Property::SharedAvailable(false),
            ),
        )
    }
}

impl Default for ConnackProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_max: RECEIVE_MAX_DEFAULT,
            qos_max: Qos::ExactlyOnce,
            retain_available: true,
            packet_size_max: None,
            assigned_client_id: None,
            topic_alias_max: 0,
            reason_string: None,
            wildcard_subscriptions_available: true,
            subscription_ids_available: true,
            shared_subscriptions_available: true,
            keep_alive_s: None,
            response_information: None,
            server_reference: None,
            auth_method: None,
            auth_data: None,
            user_properties: UserProperties::default(),
        }
    }
}

impl fmt::Debug for ConnackProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnackProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_max", &self.receive_max)
            .field("qos_max", &self.qos_max)
            .field("retain_available", &self.retain_available)
            .field("packet_size_max", &self.packet_size_max)
            .field("assigned_client_id", &self.assigned_client_id)
            .field("topic_alias_max", &self.topic_alias_max)
            .field("reason_string", &self.reason_string)
            .field(
                "wildcard_subscriptions_available",
                &self.wildcard_subscriptions_available,
            )
            .field(
                "subscription_ids_available",
                &self.subscription_ids_available,
            )
            .field(
                "shared_subscriptions_available",
                &self.shared_subscriptions_available,
            )
            .field("keep_alive_s", &self.keep_alive_s)
            .field("response_information", &self.response_information)
            .field("server_reference", &self.server_reference)
            .field("auth_method", &self.auth_method)
            .field("auth_data", &Redacted(self.auth_data))
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
