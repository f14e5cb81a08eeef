//! SPEC.md §8.7, §8.8 — what `/token` answers: a token or an error. A device passes over integer keys that it does
//! not know (SPEC.md §12), so that a later broker may say more; RFC 9200 has no text keys.

use super::request::read_scope;
use super::{
    ACCESS_TOKEN, ACE_PROFILE, AceError, ERROR, ERROR_DESCRIPTION, EXPIRES_IN, ErrorCode, SCOPE,
    TOKEN_TYPE,
};
use crate::cbor::{Label, Reader, Writer};
use crate::scope::Scope;
use crate::sink::{CapacityError, Sink};

/// Longest error description: an answer to a stranger stays below 136 bytes (SPEC.md §10).
pub const DESCRIPTION_LEN_MAX: usize = 96;

/// `token_type` PoP (RFC 9200 §8.7)
const POP: i64 = 2;
/// `ace_profile` mqtt_tls (RFC 9431 §8)
const MQTT_TLS: i64 = 3;

/// A token and what its holder must know of it. Always bound to a key, always for the profile mqtt_tls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenAnswer<'a> {
    /// The token: to be passed on as it stands.
    pub access_token: &'a [u8],
    /// How long it is good for, from now.
    pub expires_in_s: u64,
    /// What it allows, if that is not what was asked for.
    pub scope: Option<Scope<'a>>,
}

impl<'a> TokenAnswer<'a> {
    /// Reads the map.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, AceError> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut access_token, mut expires_in_s, mut scope) = (None, None, None);
        let (mut token_type, mut profile) = (None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(ACCESS_TOKEN) => access_token = Some(reader.bytes()?),
                Label::Int(EXPIRES_IN) => expires_in_s = Some(reader.uint()?),
                Label::Int(SCOPE) => scope = Some(read_scope(&mut reader)?),
                Label::Int(TOKEN_TYPE) => token_type = Some(reader.int()?),
                Label::Int(ACE_PROFILE) => profile = Some(reader.int()?),
                Label::Int(_) => reader.skip()?,
                Label::Text(_) => return Err(AceError::UnknownParameter),
            }
        }
        reader.finish()?;
        if token_type.ok_or(AceError::Missing)? != POP {
            return Err(AceError::TokenType);
        }
        if profile.ok_or(AceError::Missing)? != MQTT_TLS {
            return Err(AceError::Profile);
        }
        Ok(Self {
            access_token: access_token.ok_or(AceError::Missing)?,
            expires_in_s: expires_in_s.ok_or(AceError::Missing)?,
            scope,
        })
    }

    /// Writes the deterministic map.
    pub fn encode(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let mut writer = Writer::new(out);
        writer.map(if self.scope.is_some() { 5 } else { 4 })?;
        writer.int(ACCESS_TOKEN)?;
        writer.bytes(self.access_token)?;
        writer.int(EXPIRES_IN)?;
        writer.uint(self.expires_in_s)?;
        if let Some(scope) = &self.scope {
            writer.int(SCOPE)?;
            writer.bytes(scope.as_bytes())?;
        }
        writer.int(TOKEN_TYPE)?;
        writer.int(POP)?;
        writer.int(ACE_PROFILE)?;
        writer.int(MQTT_TLS)
    }
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorAnswer<'a> {
    /// The number.
    pub error: ErrorCode,
    /// A word for whoever reads a trace.
    pub description: Option<&'a str>,
}

impl<'a> ErrorAnswer<'a> {
    /// Reads the map.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, AceError> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut error, mut description) = (None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(ERROR) => {
                    error = Some(
                        ErrorCode::from_number(reader.int()?).ok_or(AceError::UnknownErrorCode)?,
                    );
                }
                Label::Int(ERROR_DESCRIPTION) => description = Some(reader.text()?),
                Label::Int(_) => reader.skip()?,
                Label::Text(_) => return Err(AceError::UnknownParameter),
            }
        }
        reader.finish()?;
        if description.is_some_and(|text| text.len() > DESCRIPTION_LEN_MAX) {
            return Err(AceError::DescriptionLength);
        }
        Ok(Self {
            error: error.ok_or(AceError::Missing)?,
            description,
        })
    }

    /// Writes the deterministic map.
    pub fn encode(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let mut writer = Writer::new(out);
        writer.map(if self.description.is_some() { 2 } else { 1 })?;
        writer.int(ERROR)?;
        writer.int(self.error.number())?;
        if let Some(description) = self.description {
            if description.len() > DESCRIPTION_LEN_MAX {
                return Err(CapacityError);
            }
            writer.int(ERROR_DESCRIPTION)?;
            writer.text(description)?;
        }
        Ok(())
    }
}
