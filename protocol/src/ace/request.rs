//! SPEC.md §8.7 — the token request.

use super::{AUDIENCE, AceError, CLIENT_ID, GRANT_TYPE, REQ_CNF, SCOPE};
use crate::cbor::{Kind, Label, Reader, Writer};
use crate::cose::key;
use crate::crypto::PublicKey;
use crate::cwt::AUDIENCE_LEN_MAX;
use crate::ident::{Id, KeyId};
use crate::scope::Scope;
use crate::sink::{CapacityError, Sink};

const CNF_COSE_KEY: i64 = 1;
const CNF_KID: i64 = 3;
const CLIENT_CREDENTIALS: u64 = 2;

/// What somebody asks a token for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenRequest<'a> {
    /// The key to bind the token to; left out, it is the key that signs the request. It may not be another one:
    /// see [`RequestedKey::is`].
    pub req_cnf: Option<RequestedKey>,
    /// Who the token is for; left out, the broker itself.
    pub audience: Option<&'a str>,
    /// What the token shall allow; left out, all that the client's roles give.
    pub scope: Option<Scope<'a>>,
    /// Who asks.
    pub client_id: Id<'a>,
    /// Left out, it is client_credentials.
    pub grant_type: Option<GrantType>,
}

/// How the asking is justified.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GrantType {
    /// By who asks: 2.
    ClientCredentials,
}

/// A key that is asked for by value or by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestedKey {
    /// `{1: COSE_Key}`
    Key(PublicKey),
    /// `{3: kid}`
    Kid(KeyId),
}

impl RequestedKey {
    /// Whether this is `key`, the one that the sender has proved to hold.
    #[must_use]
    pub fn is(&self, key: &PublicKey) -> bool {
        match self {
            Self::Key(requested) => requested == key,
            Self::Kid(requested) => *requested == key.key_id(),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, AceError> {
        let mut map = reader.map()?;
        let method = if map.left() == 1 {
            map.next_label(reader)?
        } else {
            None
        };
        match method {
            Some(Label::Int(CNF_COSE_KEY)) => key::read(reader)
                .map(Self::Key)
                .map_err(AceError::RequestedKey),
            Some(Label::Int(CNF_KID)) => {
                let kid = KeyId::from_slice(reader.bytes()?);
                kid.map(Self::Kid).map_err(|_| AceError::RequestedKeyMethod)
            }
            _ => Err(AceError::RequestedKeyMethod),
        }
    }

    fn write(&self, writer: &mut Writer<'_, impl Sink + ?Sized>) -> Result<(), CapacityError> {
        writer.map(1)?;
        match self {
            Self::Key(public_key) => {
                writer.int(CNF_COSE_KEY)?;
                key::encode(public_key, writer.sink())
            }
            Self::Kid(kid) => {
                writer.int(CNF_KID)?;
                writer.bytes(kid.as_bytes())
            }
        }
    }
}

impl<'a> TokenRequest<'a> {
    /// Reads the map.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, AceError> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut req_cnf, mut audience, mut scope) = (None, None, None);
        let (mut client_id, mut grant_type) = (None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(REQ_CNF) => req_cnf = Some(RequestedKey::read(&mut reader)?),
                Label::Int(AUDIENCE) => audience = Some(read_audience(&mut reader)?),
                Label::Int(SCOPE) => scope = Some(read_scope(&mut reader)?),
                Label::Int(CLIENT_ID) => {
                    client_id = Some(Id::new(reader.text()?).map_err(AceError::ClientId)?);
                }
                Label::Int(GRANT_TYPE) => grant_type = Some(read_grant(&mut reader)?),
                Label::Int(_) | Label::Text(_) => return Err(AceError::UnknownParameter),
            }
        }
        reader.finish()?;
        let client_id = client_id.ok_or(AceError::Missing)?;
        Ok(Self {
            req_cnf,
            audience,
            scope,
            client_id,
            grant_type,
        })
    }

    /// Writes the deterministic map.
    pub fn encode(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let optional = [
            self.req_cnf.is_some(),
            self.audience.is_some(),
            self.scope.is_some(),
            self.grant_type.is_some(),
        ];
        let mut writer = Writer::new(out);
        writer.map(1 + optional.into_iter().filter(|present| *present).count())?;
        if let Some(requested) = &self.req_cnf {
            writer.int(REQ_CNF)?;
            requested.write(&mut writer)?;
        }
        if let Some(audience) = self.audience {
            writer.int(AUDIENCE)?;
            writer.text(audience)?;
        }
        if let Some(scope) = &self.scope {
            writer.int(SCOPE)?;
            writer.bytes(scope.as_bytes())?;
        }
        writer.int(CLIENT_ID)?;
        writer.text(self.client_id.as_str())?;
        if let Some(GrantType::ClientCredentials) = self.grant_type {
            writer.int(GRANT_TYPE)?;
            writer.uint(CLIENT_CREDENTIALS)?;
        }
        Ok(())
    }
}

fn read_audience<'a>(reader: &mut Reader<'a>) -> Result<&'a str, AceError> {
    let audience = reader.text()?;
    if audience.is_empty() || audience.len() > AUDIENCE_LEN_MAX {
        return Err(AceError::AudienceLength);
    }
    Ok(audience)
}

pub(super) fn read_scope<'a>(reader: &mut Reader<'a>) -> Result<Scope<'a>, AceError> {
    if reader.kind()? == Kind::Text {
        reader.text()?;
        return Err(AceError::ScopeIsText);
    }
    Scope::decode(reader.bytes()?).map_err(AceError::Scope)
}

fn read_grant(reader: &mut Reader<'_>) -> Result<GrantType, AceError> {
    match reader.uint()? {
        CLIENT_CREDENTIALS => Ok(GrantType::ClientCredentials),
        _ => Err(AceError::UnsupportedGrant),
    }
}
