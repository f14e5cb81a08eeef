//! Judging a token that somebody shows.
use crate::identity::{Device, Directory};
use crate::keys::TokenKeys;
use keygate_protocol::cwt::{CTI_LEN, Claims, ClaimsError, CwtError, Expectation, Untrusted};
use keygate_protocol::ident::{Id, IdError, KeyId};
use keygate_protocol::time::UnixTime;
use std::sync::Arc;

/// Judges tokens that this broker has issued for itself.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    broker_id: Box<str>,
    keys: Arc<TokenKeys>,
    directory: Arc<Directory>,
}

/// A token that is good: who may use it, if he proves the key that it is bound to.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// Its subject, active.
    pub device: Arc<Device>,
    /// The key that its holder must prove.
    pub key_id: KeyId,
    /// Its end: the token's or the key's, whichever is sooner.
    pub expires_at: UnixTime,
    /// Its own id.
    pub cti: [u8; CTI_LEN],
    /// What it narrows the subject's rights to, as AIF-MQTT.
    pub scope: Box<[u8]>,
}

/// Why a token is worth nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenRefusal {
    /// Meant for somebody else, some other time, or not well made.
    #[error(transparent)]
    Claims(ClaimsError),
    /// No token, or not signed by the key that it names.
    #[error(transparent)]
    Cwt(CwtError),
    /// Its key is no longer an active key of its subject.
    #[error("the token's key is not an active key of its subject")]
    KeyNotActive,
    /// Its subject may not use anything at the moment.
    #[error("the token's subject is not active")]
    NotActive,
    /// Its subject is not known.
    #[error("the token's subject is not known")]
    SubjectUnknown,
    /// Signed by a key that is not one of our token keys, or that has retired.
    #[error("no token key has this id")]
    UnknownSigner,
}

impl TokenVerifier {
    /// A verifier for the tokens of `broker_id`.
    pub fn new(
        broker_id: &str,
        keys: Arc<TokenKeys>,
        directory: Arc<Directory>,
    ) -> Result<Self, IdError> {
        Ok(Self {
            broker_id: Id::new(broker_id)?.as_str().into(),
            keys,
            directory,
        })
    }

    /// Judges. Nothing is said of who shows the token; that is the proof of [`VerifiedToken::key_id`].
    pub fn verify(&self, token: &[u8], wall: UnixTime) -> Result<VerifiedToken, TokenRefusal> {
        let untrusted = Untrusted::decode(token).map_err(TokenRefusal::Cwt)?;
        // We are the issuer: our keys are the set, the token's key id only chooses within it.
        let key = self.keys.find(untrusted.key_id(), wall);
        let key = key.ok_or(TokenRefusal::UnknownSigner)?.public_key;
        let claims = untrusted
            .verify(&key)
            .map_err(TokenRefusal::Cwt)?
            .into_inner();
        let expected = Expectation {
            iss: Id::new(&self.broker_id)
                .map_err(|error| TokenRefusal::Claims(ClaimsError::Name(error)))?,
            aud: &self.broker_id,
            now: wall,
            // Issuer and verifier are one process, or gates with one clock discipline: no tolerance is owed.
            tolerance_s: 0,
        };
        claims.check(&expected).map_err(TokenRefusal::Claims)?;
        self.subject(&claims, wall)
    }

    fn subject(&self, claims: &Claims<'_>, wall: UnixTime) -> Result<VerifiedToken, TokenRefusal> {
        let device = self.directory.device(claims.sub.as_str());
        let device = device.ok_or(TokenRefusal::SubjectUnknown)?;
        if !device.is_active() {
            return Err(TokenRefusal::NotActive);
        }
        let key = device.keys.iter().find(|key| key.public == claims.cnf);
        let key = key.filter(|key| key.is_valid_at(wall));
        let key = key.ok_or(TokenRefusal::KeyNotActive)?;
        Ok(VerifiedToken {
            key_id: key.key_id,
            expires_at: key.not_after.map_or(claims.exp, |end| end.min(claims.exp)),
            cti: claims.cti,
            scope: claims.scope.into(),
            device: Arc::clone(&device),
        })
    }
}
