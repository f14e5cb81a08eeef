//! SPEC.md §9.2 — the claims of a token: all of them, in this order, no others.

use super::{ClaimsError, IssueError};
use crate::cbor::{Label, Reader, Writer};
use crate::cose::key;
use crate::crypto::PublicKey;
use crate::ident::Id;
use crate::scope::Scope;
use crate::sink::{CapacityError, Sink};
use crate::time::UnixTime;

/// Length of a token id.
pub const CTI_LEN: usize = 8;

/// Longest audience: an id and a path of the same length below it, as in `kg-7f3a9c/admin`.
pub const AUDIENCE_LEN_MAX: usize = 128;

const ISS: i64 = 1;
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const IAT: i64 = 6;
const CTI: i64 = 7;
const CNF: i64 = 8;
const SCOPE: i64 = 9;

/// The only member of `cnf` that we use: a COSE_Key (RFC 8747 §3.2).
const CNF_COSE_KEY: i64 = 1;

/// What a token says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claims<'a> {
    /// Who issued it: a broker id.
    pub iss: Id<'a>,
    /// Who it was issued to: a device or service.
    pub sub: Id<'a>,
    /// Who it is for: a broker id, or a name below one.
    pub aud: &'a str,
    /// From this second on it is worth nothing.
    pub exp: UnixTime,
    /// When it was issued.
    pub iat: UnixTime,
    /// Its own id.
    pub cti: [u8; CTI_LEN],
    /// The key that its holder must prove.
    pub cnf: PublicKey,
    /// What its holder may do, as encoded AIF-MQTT: see [`rights`](Self::rights). An empty list grants nothing.
    pub scope: &'a [u8],
}

impl<'a> Claims<'a> {
    /// Reads the deterministic map of claims. Well made is not yet true: only
    /// [`Untrusted::verify`](super::Untrusted::verify) says whose claims they are.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ClaimsError> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut iss, mut sub, mut aud, mut exp) = (None, None, None, None);
        let (mut iat, mut cti, mut cnf, mut scope) = (None, None, None, None);
        while let Some(label) = map.next_label(&mut reader)? {
            match label {
                Label::Int(ISS) => iss = Some(Id::new(reader.text()?).map_err(ClaimsError::Name)?),
                Label::Int(SUB) => sub = Some(Id::new(reader.text()?).map_err(ClaimsError::Name)?),
                Label::Int(AUD) => aud = Some(reader.text()?),
                Label::Int(EXP) => exp = Some(UnixTime(reader.uint()?)),
                Label::Int(IAT) => iat = Some(UnixTime(reader.uint()?)),
                Label::Int(CTI) => {
                    cti = Some(
                        reader
                            .bytes()?
                            .try_into()
                            .map_err(|_| ClaimsError::CtiLength)?,
                    );
                }
                Label::Int(CNF) => cnf = Some(read_confirmation(&mut reader)?),
                Label::Int(SCOPE) => scope = Some(reader.bytes()?),
                Label::Int(_) | Label::Text(_) => return Err(ClaimsError::UnknownClaim),
            }
        }
        reader.finish()?;
        let missing = ClaimsError::Missing;
        let claims = Self {
            iss: iss.ok_or(missing)?,
            sub: sub.ok_or(missing)?,
            aud: aud.ok_or(missing)?,
            exp: exp.ok_or(missing)?,
            iat: iat.ok_or(missing)?,
            cti: cti.ok_or(missing)?,
            cnf: cnf.ok_or(missing)?,
            scope: scope.ok_or(missing)?,
        };
        claims.check_form()?;
        Ok(claims)
    }

    /// Writes the deterministic map, if a reader would take it.
    pub fn encode(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), IssueError> {
        self.check_form()?;
        Ok(self.write(out)?)
    }

    /// The rights that `scope` lists.
    pub fn rights(&self) -> Result<Scope<'a>, ClaimsError> {
        Scope::decode(self.scope).map_err(ClaimsError::Scope)
    }

    /// Whether the claims are meant for here and now, in the order of RFC 9200 §5.10.1.1. The scope is judged per
    /// action, and the proof of `cnf` is the login's part.
    pub fn check(&self, expected: &Expectation<'_>) -> Result<(), ClaimsError> {
        if self.iss != expected.iss {
            return Err(ClaimsError::WrongIssuer);
        }
        if expected.now >= self.exp.plus(expected.tolerance_s) {
            return Err(ClaimsError::Expired);
        }
        if self.iat > expected.now.plus(expected.tolerance_s) {
            return Err(ClaimsError::NotYetValid);
        }
        if self.aud != expected.aud {
            return Err(ClaimsError::WrongAudience);
        }
        Ok(())
    }

    /// The rules that types do not hold.
    fn check_form(&self) -> Result<(), ClaimsError> {
        if self.aud.is_empty() || self.aud.len() > AUDIENCE_LEN_MAX {
            return Err(ClaimsError::AudienceLength);
        }
        if self.exp <= self.iat {
            return Err(ClaimsError::ExpiresBeforeIssue);
        }
        self.rights().map(|_| ())
    }

    fn write(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let mut writer = Writer::new(out);
        writer.map(8)?;
        writer.int(ISS)?;
        writer.text(self.iss.as_str())?;
        writer.int(SUB)?;
        writer.text(self.sub.as_str())?;
        writer.int(AUD)?;
        writer.text(self.aud)?;
        writer.int(EXP)?;
        writer.uint(self.exp.0)?;
        writer.int(IAT)?;
        writer.uint(self.iat.0)?;
        writer.int(CTI)?;
        writer.bytes(&self.cti)?;
        writer.int(CNF)?;
        writer.map(1)?;
        writer.int(CNF_COSE_KEY)?;
        key::encode(&self.cnf, writer.sink())?;
        writer.int(SCOPE)?;
        writer.bytes(self.scope)
    }
}

/// `{1: COSE_Key}`. Two confirmation methods would be two holders.
fn read_confirmation(reader: &mut Reader<'_>) -> Result<PublicKey, ClaimsError> {
    let mut map = reader.map()?;
    if map.left() != 1 || map.next_label(reader)? != Some(Label::Int(CNF_COSE_KEY)) {
        return Err(ClaimsError::ConfirmationMethod);
    }
    key::read(reader).map_err(ClaimsError::Confirmation)
}

/// What a verifier expects of claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expectation<'a> {
    /// The issuer that the verifying key belongs to.
    pub iss: Id<'a>,
    /// The verifier's own name.
    pub aud: &'a str,
    /// The time.
    pub now: UnixTime,
    /// How far the issuer's clock may be from this one: 0 where they are the same.
    pub tolerance_s: u64,
}
