//! Issuing (SPEC.md §8.7, §9).
use crate::authz::{Policy, ScopeEntry};
use crate::identity::{Device, DeviceKey};
use keygate_protocol::cose::SignError;
use keygate_protocol::crypto::Signer;
use keygate_protocol::cwt::{self, CTI_LEN, Claims, TOKEN_LEN_MAX};
use keygate_protocol::ident::{Id, IdError};
use keygate_protocol::scope::{Action, Permissions, Rule, Scope, ScopeError};
use keygate_protocol::sink::SliceSink;
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::TopicFilter;

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
pub struct TokenIssuer {
    broker_id: Box<str>,
    aliases: Box<[Box<str>]>,
    life_s: u64,
}

/// A token request whose sender has proved a key.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// Who asks; active.
    pub device: &'a Device,
    /// The key that was proved, and that the token will be bound to.
    pub key: &'a DeviceKey,
    /// Who the token is for; us, if not said.
    pub audience: Option<&'a str>,
    /// What is asked for, as AIF-MQTT; everything that the roles give, if not said.
    pub scope: Option<&'a [u8]>,
    /// The token's id: the first 8 bytes of the request's hash, so that one proof yields one token.
    pub cti: [u8; CTI_LEN],
    /// When it counts as issued: the time inside the request's Echo. With the same `cti` and time the token is the same,
    /// byte for byte, for as long as rights stay the same.
    pub issued_at: UnixTime,
}

/// A token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The CWT.
    pub token: Vec<u8>,
    /// Its end.
    pub expires_at: UnixTime,
    /// Its scope as AIF-MQTT, if it is another than what was asked for.
    pub scope: Option<Vec<u8>>,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// We issue tokens for ourselves only: `invalid_request`.
    #[error("the audience is not this broker")]
    AudienceUnknown,
    /// The key ends before the token would begin.
    #[error("the key is not valid any more")]
    KeyExpired,
    /// Our own fault, or that of the device's record.
    #[error("the token could not be made: {0}")]
    Make(#[from] cwt::IssueError),
    /// The scope is no AIF-MQTT: `invalid_scope`.
    #[error("the scope is malformed: {0}")]
    ScopeMalformed(ScopeError),
    /// Nothing of what was asked for is allowed, or the roles give nothing: `invalid_scope`.
    #[error("nothing of the scope is allowed")]
    ScopeRefused,
    /// A device in many groups has more rules than one datagram holds: `invalid_scope`. It must ask for the part that it
    /// needs; what it gets is never cut silently.
    #[error("the token's scope of {rules} rules does not fit; ask for a narrower scope")]
    TooLarge {
        /// How many rules there would be.
        rules: usize,
    },
}

impl TokenIssuer {
    /// An issuer whose tokens live for `life_s` seconds. `aliases` are former names that may be asked for as audience;
    /// tokens are always for, and from, `broker_id`.
    pub fn new(
        broker_id: &str,
        aliases: impl IntoIterator<Item = Box<str>>,
        life_s: u64,
    ) -> Result<Self, IdError> {
        Ok(Self {
            broker_id: Id::new(broker_id)?.as_str().into(),
            aliases: aliases.into_iter().collect(),
            life_s: life_s.max(1),
        })
    }

    /// Makes a token.
    pub fn issue(
        &self,
        policy: &Policy,
        request: &TokenRequest<'_>,
        signer: &mut impl Signer,
    ) -> Result<Issued, TokenError> {
        if let Some(audience) = request.audience
            && audience != &*self.broker_id
            && !self.aliases.iter().any(|alias| **alias == *audience)
        {
            return Err(TokenError::AudienceUnknown);
        }
        let (scope, rules) = granted_scope(policy, request)?;
        let differs = request.scope.is_some_and(|asked| asked != scope);
        let expires_at = self.end(request)?;
        let id = |text| Id::new(text).map_err(|e| cwt::IssueError::from(cwt::ClaimsError::Name(e)));
        let claims = Claims {
            iss: id(&self.broker_id)?,
            sub: id(&request.device.id)?,
            aud: &self.broker_id,
            exp: expires_at,
            iat: request.issued_at,
            cti: request.cti,
            cnf: request.key.public,
            scope: &scope,
        };
        let mut token = vec![0; TOKEN_LEN_MAX];
        let mut sink = SliceSink::new(&mut token);
        let too_large = TokenError::TooLarge { rules };
        match cwt::issue(&claims, signer, &mut sink) {
            Ok(()) => {}
            Err(cwt::IssueError::Sign(SignError::Capacity)) => return Err(too_large),
            Err(error) => return Err(error.into()),
        }
        let len = sink.written().len();
        token.truncate(len);
        let told = if differs { scope.len() } else { 0 };
        if token.len() + told > ANSWER_LEN_MAX {
            return Err(too_large);
        }
        Ok(Issued {
            token,
            expires_at,
            scope: differs.then_some(scope),
        })
    }

    /// A token ends with its key.
    fn end(&self, request: &TokenRequest<'_>) -> Result<UnixTime, TokenError> {
        let end = request.issued_at.plus(self.life_s);
        let end = request
            .key
            .not_after
            .map_or(end, |key_end| key_end.min(end));
        match end > request.issued_at {
            true => Ok(end),
            false => Err(TokenError::KeyExpired),
        }
    }
}

/// What the token will allow, encoded, and how many rules that is.
fn granted_scope(
    policy: &Policy,
    request: &TokenRequest<'_>,
) -> Result<(Vec<u8>, usize), TokenError> {
    let entries = match request.scope {
        None => policy.scope(request.device),
        Some(asked) => {
            let asked = Scope::decode(asked).map_err(TokenError::ScopeMalformed)?;
            let asked: Vec<ScopeEntry> = asked.rules().map(|rule| entry(&rule)).collect();
            policy.narrow(request.device, &asked)
        }
    };
    if entries.is_empty() {
        return Err(TokenError::ScopeRefused);
    }
    let too_large = TokenError::TooLarge {
        rules: entries.len(),
    };
    let rules: Vec<Rule<'_>> = entries
        .iter()
        .map(|entry| {
            let filter = TopicFilter::new(&entry.filter).map_err(ScopeError::Filter)?;
            Rule::new(filter, permissions(entry))
        })
        .collect::<Result<_, _>>()
        .map_err(|_| too_large)?;
    let mut bytes = vec![0; SCOPE_LEN_MAX];
    let mut sink = SliceSink::new(&mut bytes);
    Scope::encode(&rules, &mut sink).map_err(|_| too_large)?;
    let len = sink.written().len();
    bytes.truncate(len);
    Ok((bytes, rules.len()))
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
