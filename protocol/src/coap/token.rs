//! What a device wants of `/token`, and whether the answer is that.

use core::fmt;

use super::{Code, Exchange, Path, PathError, Reply, RequestHash, Trust};
use crate::ace::{AceError, GrantType, TokenAnswer, TokenRequest};
use crate::crypto::PublicKey;
use crate::cwt::{Claims, CwtError, Untrusted};
use crate::ident::Id;
use crate::scope::Scope;
use crate::sink::{CapacityError, Sink};

/// The token that a device asks for.
#[derive(Clone, Copy, Debug)]
pub struct TokenWanted<'a> {
    /// The broker that is asked, and that must have issued the token.
    pub broker_id: Id<'a>,
    /// Who the token is for; the broker itself by default.
    pub audience: Option<&'a str>,
    /// The device.
    pub device: Id<'a>,
    /// The key that the device signs with and that the token must be bound to.
    pub holder: PublicKey,
    /// What it shall allow; all that the device has by default.
    pub scope: Option<Scope<'a>>,
}

/// Why a token may be believed.
#[derive(Clone, Copy, Debug)]
pub enum TokenTrust<'a> {
    /// The answer around it is signed ([`Trust::Signed`]): who signed vouches for the token.
    SignedAnswer,
    /// It is signed by one of these token keys.
    TokenKeys(&'a [PublicKey]),
}

impl<'a> TokenWanted<'a> {
    /// The payload of the request.
    pub fn encode_request(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        let request = TokenRequest {
            req_cnf: None,
            audience: Some(self.audience()),
            scope: self.scope,
            client_id: self.device,
            grant_type: Some(GrantType::ClientCredentials),
        };
        request.encode(out)
    }

    /// The exchange that carries a payload made by [`encode_request`](Self::encode_request).
    pub fn exchange(&self, payload: &'a [u8], trust: Trust<'a>) -> Result<Exchange<'a>, PathError> {
        let path = Path::new(["token"])?;
        Ok(Exchange {
            broker_id: self.broker_id,
            code: Code::POST,
            path,
            payload,
            trust,
        })
    }

    /// Judges a reply: the token must be from the broker, for the audience, the device and the key, within the scope
    /// that was asked for, and made for this very request. The device needs no clock for it.
    pub fn accept<'e>(
        &self,
        reply: &Reply<'e>,
        trust: TokenTrust<'_>,
    ) -> Result<Granted<'e>, TokenRefused> {
        if reply.code != Code::CREATED {
            return Err(TokenRefused::WrongCode(reply.code));
        }
        let answer = TokenAnswer::decode(reply.payload).map_err(TokenRefused::Answer)?;
        let untrusted = Untrusted::decode(answer.access_token).map_err(TokenRefused::Token)?;
        let claims = match trust {
            TokenTrust::SignedAnswer if !reply.signed => return Err(TokenRefused::NotSigned),
            TokenTrust::SignedAnswer => untrusted.unverified_claims(),
            TokenTrust::TokenKeys(keys) => {
                let key = keys.iter().find(|key| key.key_id() == untrusted.key_id());
                let key = key.ok_or(TokenRefused::UnknownTokenKey)?;
                untrusted.verify(key).map(|verified| verified.into_inner())
            }
        };
        let claims = claims.map_err(TokenRefused::Token)?;
        self.check(&claims, reply.request)?;
        Ok(Granted {
            token: answer.access_token,
            claims,
            expires_in_s: answer.expires_in_s,
        })
    }

    fn audience(&self) -> &'a str {
        self.audience.unwrap_or(self.broker_id.as_str())
    }

    fn check(&self, claims: &Claims<'_>, request: RequestHash) -> Result<(), TokenRefused> {
        if claims.iss != self.broker_id {
            return Err(TokenRefused::WrongIssuer);
        }
        if claims.aud != self.audience() {
            return Err(TokenRefused::WrongAudience);
        }
        if claims.cti != request.cti() {
            return Err(TokenRefused::WrongRequest);
        }
        if claims.sub != self.device {
            return Err(TokenRefused::WrongSubject);
        }
        if claims.cnf != self.holder {
            return Err(TokenRefused::WrongHolder);
        }
        let granted = claims
            .rights()
            .map_err(|error| TokenRefused::Token(error.into()))?;
        match self.scope {
            Some(wanted) if !granted.is_within(&wanted) => Err(TokenRefused::ScopeExceeded),
            _ => Ok(()),
        }
    }
}

/// A token that is what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted<'e> {
    /// The token, to be presented as it stands.
    pub token: &'e [u8],
    /// What it says.
    pub claims: Claims<'e>,
    /// How long it is good for, from now.
    pub expires_in_s: u64,
}

/// Why a reply is not the token that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenRefused {
    /// The ACE map is malformed.
    Answer(AceError),
    /// Nobody vouches for the token: the answer had to be signed and is not.
    NotSigned,
    /// The token allows more than was asked for.
    ScopeExceeded,
    /// The token is malformed or does not verify.
    Token(CwtError),
    /// The token is signed by a key that the device does not know.
    UnknownTokenKey,
    /// The token is for somebody else.
    WrongAudience,
    /// Not a 2.01.
    WrongCode(Code),
    /// The token is bound to another key.
    WrongHolder,
    /// The token is from another broker.
    WrongIssuer,
    /// The token was made for another request.
    WrongRequest,
    /// The token was issued to another device.
    WrongSubject,
}

impl fmt::Display for TokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer(error) => return error.fmt(f),
            Self::NotSigned => "nobody vouches for the token",
            Self::ScopeExceeded => "the token allows more than was asked for",
            Self::Token(error) => return error.fmt(f),
            Self::UnknownTokenKey => "the token is signed by an unknown key",
            Self::WrongAudience => "the token is for another audience",
            Self::WrongCode(code) => return write!(f, "answered {code} instead of 2.01"),
            Self::WrongHolder => "the token is bound to another key",
            Self::WrongIssuer => "the token is from another broker",
            Self::WrongRequest => "the token was made for another request",
            Self::WrongSubject => "the token was issued to another device",
        })
    }
}

impl core::error::Error for TokenRefused {}
