//! CONNECT: a client introduces itself (MQTT 5 §3.1).
use super::message::{put_user_properties, user_properties};
use super::property::{IdSet, Property, Section, id, put};
use super::read::Reader;
use super::redact::Redacted;
use super::will::WillFlags;
use super::write::{self, Body, Properties};
use super::{DecodeError, Frame, PacketType, UserProperties, Version, Will};
use crate::sink::{CapacityError, Sink};
use core::fmt;

/// The first packet of every client.
///
/// Whether the client identifier, the credentials and the will are acceptable is the broker's business; here they only
/// have the right form. [`Debug`](fmt::Debug) prints the lengths of credentials, never the credentials.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Connect<'a> {
    /// The protocol that this connection will speak.
    pub version: Version,
    /// Start without any former session (3.1.1: and leave none).
    pub clean_start: bool,
    /// Longest silence in seconds; 0 means any.
    pub keep_alive_s: u16,
    /// May be empty.
    pub client_id: &'a str,
    /// User name.
    pub username: Option<&'a str>,
    /// Password: any bytes.
    pub password: Option<&'a [u8]>,
    /// What to publish when the connection is lost.
    pub will: Option<Will<'a>>,
    /// Properties; defaults in 3.1.1.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT (MQTT 5 §3.1.2.11). The defaults are what an absent property means.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Seconds that the session outlives the connection; `u32::MAX` is for ever. Default 0.
    pub session_expiry_s: u32,
    /// How many QoS 1 and 2 messages the client takes before it acknowledges one; not 0. Default 65,535.
    pub receive_max: u16,
    /// Largest packet that the client takes; not 0. Default: any.
    pub packet_size_max: Option<u32>,
    /// Highest topic alias that the client takes. Default 0: none.
    pub topic_alias_max: u16,
    /// The client would like response information in CONNACK. Default false.
    pub request_response_information: bool,
    /// The client wants reason strings and user properties on any packet. Default true.
    pub request_problem_information: bool,
    /// The method of enhanced authentication.
    pub auth_method: Option<&'a str>,
    /// Its first data; only with a method.
    pub auth_data: Option<&'a [u8]>,
    /// Pairs of name and value.
    pub user_properties: UserProperties<'a>,
}

const PROTOCOL_NAME: &[u8] = b"MQTT";

/// Flags (§3.1.2.3); those of the will are in `will.rs`.
const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

const RECEIVE_MAX_DEFAULT: u16 = 65_535;

const ALLOWED: IdSet = IdSet::of(&[
    id::SESSION_EXPIRY,
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::REQUEST_PROBLEM_INFORMATION,
    id::REQUEST_RESPONSE_INFORMATION,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::USER_PROPERTY,
    id::MAXIMUM_PACKET_SIZE,
]);

impl<'a> Connect<'a> {
    /// A CONNECT with a clean start, without keep-alive, credentials, will and properties.
    #[must_use]
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_s: 0,
            client_id,
            username: None,
            password: None,
            will: None,
            properties: ConnectProperties::default(),
        }
    }

    /// The version that a CONNECT claims, even if the rest of it is refused: in what form to answer. `None` if the
    /// protocol name or level is unknown, or if the frame is no CONNECT.
    #[must_use]
    pub fn claimed_version(frame: &Frame<'_>) -> Option<Version> {
        if frame.packet_type() != PacketType::Connect {
            return None;
        }
        read_version(&mut Reader::new(frame.body())).ok()
    }

    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let version = read_version(&mut reader)?;
        let flags = reader.u8()?;
        if flags & RESERVED != 0 {
            return Err(DecodeError::ConnectFlagReserved);
        }
        let will_flags = WillFlags::of_connect(flags)?;
        if version == Version::V311 && flags & (USER_NAME | PASSWORD) == PASSWORD {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        let keep_alive_s = reader.u16()?;
        let properties = match version {
            Version::V311 => ConnectProperties::default(),
            Version::V5 => ConnectProperties::decode(reader.properties()?)?,
        };
        let connect = Self {
            version,
            clean_start: flags & CLEAN_START != 0,
            keep_alive_s,
            properties,
            client_id: reader.string()?,
            will: will_flags
                .map(|flags| Will::decode(&mut reader, flags, version))
                .transpose()?,
            username: (flags & USER_NAME != 0)
                .then(|| reader.string())
                .transpose()?,
            password: (flags & PASSWORD != 0)
                .then(|| reader.binary())
                .transpose()?,
        };
        reader.finish()?;
        Ok(connect)
    }

    /// Writes the whole packet, in the version that it names. An error means that the sink is full or that a field is
    /// longer than MQTT can express; throw away what was put.
    pub fn encode(&self, sink: &mut impl Sink) -> Result<(), CapacityError> {
        write::packet(self, self.version, sink)
    }

    /// Exactly how many bytes [`encode`](Self::encode) writes; `usize::MAX` if no packet can hold this.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        write::packet_len(self, self.version)
    }

    fn flags(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.clean_start, CLEAN_START)
            | bit(self.username.is_some(), USER_NAME)
            | bit(self.password.is_some(), PASSWORD)
            | self.will.map_or(0, |will| will.connect_flags())
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    // Not read as a string: what is no MQTT need not be UTF-8 to be called so.
    if reader.binary()? != PROTOCOL_NAME {
        return Err(DecodeError::ProtocolName);
    }
    match reader.u8()? {
        4 => Ok(Version::V311),
        5 => Ok(Version::V5),
        _ => Err(DecodeError::ProtocolLevel),
    }
}

impl Body for Connect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Connect.first_byte()
    }

    fn write_body<S: Sink>(&self, _: Version, sink: &mut S) -> Result<(), CapacityError> {
        write::binary(sink, PROTOCOL_NAME)?;
        write::u8(sink, self.version.level())?;
        write::u8(sink, self.flags())?;
        write::u16(sink, self.keep_alive_s)?;
        write::properties(sink, self.version, &self.properties)?;
        write::string(sink, self.client_id)?;
        if let Some(will) = &self.will {
            will.write(self.version, sink)?;
        }
        if let Some(username) = self.username {
            write::string(sink, username)?;
        }
        if let Some(password) = self.password {
            write::binary(sink, password)?;
        }
        Ok(())
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut section = Section::new(bytes, ALLOWED);
        let mut found = Self::default();
        while let Some(property) = section.next()? {
            match property {
                Property::SessionExpiry(value) => found.session_expiry_s = value,
                Property::ReceiveMaximum(value) => found.receive_max = value,
                Property::MaximumPacketSize(value) => found.packet_size_max = Some(value),
                Property::TopicAliasMaximum(value) => found.topic_alias_max = value,
                Property::RequestResponseInformation(value) => {
                    found.request_response_information = value;
                }
                Property::RequestProblemInformation(value) => {
                    found.request_problem_information = value;
                }
                Property::AuthMethod(method) => found.auth_method = Some(method),
                Property::AuthData(data) => found.auth_data = Some(data),
                _ => {}
            }
        }
        if found.auth_data.is_some() && found.auth_method.is_none() {
            return Err(DecodeError::AuthDataWithoutMethod);
        }
        found.user_properties = user_properties(&section);
        Ok(found)
    }
}

impl Properties for ConnectProperties<'_> {
    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), CapacityError> {
        let absent = Self::default();
        let expiry = (self.session_expiry_s != absent.session_expiry_s)
            .then_some(Property::SessionExpiry(self.session_expiry_s));
        let problem = (!self.request_problem_information)
            .then_some(Property::RequestProblemInformation(false));
        let response = self
            .request_response_information
            .then_some(Property::RequestResponseInformation(true));
        let receive = (self.receive_max != absent.receive_max)
            .then_some(Property::ReceiveMaximum(self.receive_max));
        let alias = (self.topic_alias_max != absent.topic_alias_max)
            .then_some(Property::TopicAliasMaximum(self.topic_alias_max));
        put(sink, expiry)?;
        put(sink, self.auth_method.map(Property::AuthMethod))?;
        put(sink, self.auth_data.map(Property::AuthData))?;
        put(sink, problem)?;
        put(sink, response)?;
        put(sink, receive)?;
        put(sink, alias)?;
        put_user_properties(sink, self.user_properties)?;
        put(sink, self.packet_size_max.map(Property::MaximumPacketSize))
    }
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: 0,
            receive_max: RECEIVE_MAX_DEFAULT,
            packet_size_max: None,
            topic_alias_max: 0,
            request_response_information: false,
            request_problem_information: true,
            auth_method: None,
            auth_data: None,
            user_properties: UserProperties::default(),
        }
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A user name may be a token.
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("client_id", &self.client_id)
            .field("username", &Redacted(self.username.map(str::as_bytes)))
            .field("password", &Redacted(self.password))
            .field("will", &self.will)
            .field("properties", &self.properties)
            .finish()
    }
}

impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_max", &self.receive_max)
            .field("packet_size_max", &self.packet_size_max)
            .field("topic_alias_max", &self.topic_alias_max)
            .field(
                "request_response_information",
                &self.request_response_information,
            )
            .field(
                "request_problem_information",
                &self.request_problem_information,
            )
            .field("auth_method", &self.auth_method)
            .field("auth_data", &Redacted(self.auth_data))
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
