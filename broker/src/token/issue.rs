//! Issuing (SPEC.md §8.7, §9).
use crate::authz::{Policy, ScopeEntry};
use crate::identity::Device;
use crate::keys::TokenKeys;
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::ace::ErrorCode;
use keygate_protocol::cose::SignError;
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::cwt::{self, CTI_LEN, Claims, TOKEN_LEN_MAX};
use keygate_protocol::ident::{Id, IdError};
use keygate_protocol::scope::{Action, Permissions, Rule, Scope};
use keygate_protocol::sink::{CapacityError, SliceSink};
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::TopicFilter;
use std::iter;
use std::sync::Arc;

/// How long a token lives, unless configured otherwise.
pub const TOKEN_LIFE_S: u64 = 3_600;

/// Token and, where it has to be told, its scope: together at most this long, so that the answer fits the 1024 bytes
/// of one CoAP payload (RFC 7252 §4.6) even when it is signed. The rest is the answer's map (at most 24 bytes) and the
/// COSE_Sign1 around it (at most 90).
pub const ANSWER_LEN_MAX: usize = 1024 - 24 - 90;

/// The longest scope that can be encoded at all: no longer one fits a token.
const SCOPE_LEN_MAX: usize = TOKEN_LEN_MAX;

/// Issues tokens in the name of one broker.
#[derive(Clone, Debug)]
pub struct Issuer {
    broker_id: Box<str>,
    keys: Arc<TokenKeys>,
    policy: Arc<Policy>,
    life_s: u64,
}

/// A token that somebody wants who has just proved a key.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who asks; active.
    pub device: &'a Device,
    /// The key that was proved, and that the token will be bound to.
    pub cnf: PublicKey,
    /// Who the token is for.
    pub audience: &'a str,
    /// What is asked for; everything that the roles give, if not said.
    pub scope: Option<Scope<'a>>,
    /// The token's id: the first 8 bytes of the request's hash, so that one proof yields one token.
    pub cti: [u8; CTI_LEN],
    /// When it counts as issued: the time inside the request's Echo. With the same `cti` and time the token is the same,
    /// byte for byte, for as long as rights stay the same.
    pub iat: UnixTime,
}

/// A token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The CWT.
    pub token: Vec<u8>,
    /// Its end.
    pub expires_at: UnixTime,
    /// Its scope as AIF-MQTT.
    pub scope: Vec<u8>,
    /// Whether that is another scope than the one asked for: then the answer has to tell it.
    pub scope_differs: bool,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssueError {
    /// We issue tokens for ourselves only.
    #[error("the audience is not this broker")]
    AudienceUnknown,
    /// Our own fault, or that of the device's record.
    #[error("the token could not be made: {0}")]
    Fault(#[from] cwt::IssueError),
    /// The key is not the device's, or ends before the token would begin.
    #[error("the key is not a valid key of the device")]
    KeyNotActive,
    /// Nothing of what was asked for is allowed, or the roles give nothing.
    #[error("nothing of the scope is allowed")]
    ScopeRefused,
    /// A device in many groups has more rules than one datagram holds. It must ask for the part that it needs; what it
    /// gets is never cut silently.
    #[error("the scope of {rules} rules does not fit a token; ask for a narrower scope")]
    TooLarge {
        /// How many rules there would be.
        rules: usize,
    },
}

impl IssueError {
    /// What the peer is told (SPEC.md §8.8); `None` if it is our fault and no business of the peer.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::AudienceUnknown => Some(ErrorCode::InvalidRequest),
            Self::Fault(_) => None,
            Self::KeyNotActive => Some(ErrorCode::InvalidClient),
            Self::ScopeRefused | Self::TooLarge { .. } => Some(ErrorCode::InvalidScope),
        }
    }

    /// What the audit trail is told.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::AudienceUnknown => RefusalReason::AudienceUnknown,
            Self::Fault(_) => RefusalReason::BrokerFault,
            Self::KeyNotActive => RefusalReason::KeyExpired,
            Self::ScopeRefused | Self::TooLarge { .. } => RefusalReason::ScopeRefused,
        }
    }
}

impl Issuer {
    /// An issuer whose tokens live for `life_s` seconds and give at most what `policy` gives.
    pub fn new(
        broker_id: &str,
        keys: Arc<TokenKeys>,
        policy: Arc<Policy>,
        life_s: u64,
    ) -> Result<Self, IdError> {
        Ok(Self {
            broker_id: Id::new(broker_id)?.as_str().into(),
            keys,
            policy,
            life_s: life_s.max(1),
        })
    }

    /// The keys that verify tokens now: the signing one first, then from the newest to the oldest.
    #[must_use]
    pub fn public_keys(&self, wall: UnixTime) -> Vec<PublicKey> {
        let signing = self.keys.signing().public_key();
        let live = self.keys.verifying().iter().rev();
        let others = live.filter(|key| key.is_live_at(wall) && key.public_key != signing);
        iter::once(signing)
            .chain(others.map(|key| key.public_key))
            .collect()
    }

    /// Makes a token.
    pub fn issue(&self, wanted: &Wanted<'_>) -> Result<Issued, IssueError> {
        if wanted.audience != &*self.broker_id {
            return Err(IssueError::AudienceUnknown);
        }
        let expires_at = self.end(wanted)?;
        let (scope, rules) = self.scope(wanted)?;
        let scope_differs = wanted.scope.is_some_and(|asked| asked.as_bytes() != scope);
        let claims = Claims {
            iss: id(&self.broker_id)?,
            sub: id(&wanted.device.id)?,
            aud: wanted.audience,
            exp: expires_at,
            iat: wanted.iat,
            cti: wanted.cti,
            cnf: wanted.cnf,
            scope: &scope,
        };
        let mut token = vec![0; TOKEN_LEN_MAX];
        let mut sink = SliceSink::new(&mut token);
        match cwt::issue(&claims, &mut self.keys.signing(), &mut sink) {
            Ok(()) => {}
            Err(cwt::IssueError::Sign(SignError::Capacity)) => {
                return Err(IssueError::TooLarge { rules });
            }
            Err(error) => return Err(error.into()),
        }
        let len = sink.len();
        token.truncate(len);
        let told = if scope_differs { scope.len() } else { 0 };
        if token.len() + told > ANSWER_LEN_MAX {
            return Err(IssueError::TooLarge { rules });
        }
        Ok(Issued {
            token,
            expires_at,
            scope,
            scope_differs,
        })
    }

    /// A token ends with its key.
    fn end(&self, wanted: &Wanted<'_>) -> Result<UnixTime, IssueError> {
        let mut keys = wanted.device.keys.iter();
        let key = keys.find(|key| key.public == wanted.cnf);
        let key = key.ok_or(IssueError::KeyNotActive)?;
        let end = wanted.iat.plus(self.life_s);
        let end = key.not_after.map_or(end, |key_end| key_end.min(end));
        match end > wanted.iat {
            true => Ok(end),
            false => Err(IssueError::KeyNotActive),
        }
    }

    /// What the token will allow, encoded, and how many rules that is.
    fn scope(&self, wanted: &Wanted<'_>) -> Result<(Vec<u8>, usize), IssueError> {
        let entries = match wanted.scope {
            None => self.policy.scope(wanted.device),
            Some(asked) => {
                let asked: Vec<ScopeEntry> = asked.rules().map(|rule| entry(&rule)).collect();
                self.policy.narrow(wanted.device, &asked)
            }
        };
        if entries.is_empty() {
            return Err(IssueError::ScopeRefused);
        }
        let count = entries.len();
        let too_large = IssueError::TooLarge { rules: count };
        let rules: Vec<Rule<'_>> = entries
            .iter()
            .filter_map(|entry| {
                let filter = TopicFilter::new(&entry.filter).ok()?;
                Rule::new(filter, permissions(entry)).ok()
            })
            .collect();
        if rules.len() < count {
            return Err(too_large);
        }
        let mut bytes = vec![0; SCOPE_LEN_MAX];
        let mut sink = SliceSink::new(&mut bytes);
        Scope::encode(&rules, &mut sink).map_err(|CapacityError| too_large)?;
        let len = sink.len();
        bytes.truncate(len);
        Ok((bytes, count))
    }
}

fn id(text: &str) -> Result<Id<'_>, cwt::IssueError> {
    Id::new(text).map_err(|error| cwt::ClaimsError::Name(error).into())
}

pub(super) fn entry(rule: &Rule<'_>) -> ScopeEntry {
    ScopeEntry {
        filter: rule.filter().as_str().into(),
        publish: rule.permissions().contain(Action::Publish),
        subscribe: rule.permissions().contain(Action::Subscribe),
    }
}

fn permissions(entry: &ScopeEntry) -> Permissions {
    match (entry.publish, entry.subscribe) {
        (true, true) => Permissions::Both,
        (true, false) => Permissions::Publish,
        (false, _) => Permissions::Subscribe,
    }
}
