//! `/token`: a signed request for a token, and the token (SPEC.md §8.7, RFC 9200).
//!
//! Whoever gets no token for what it is (unknown, another key, suspended, a signature that does not hold) gets one and
//! the same answer after one and the same amount of work; what it really was stands in the audit trail.
use super::endpoint::{Answer, Arrival, Bytes, Deps};
use super::limits::ECHO_WINDOW_S;
use super::message::{AnswerCode, Reply, Request, format};
use super::throttle::{Proof, Throttle, Throttled};
use crate::authn::check_standing;
use crate::authz::Policy;
use crate::identity::{Device, DeviceKey, Directory};
use crate::telemetry::EventKind;
use crate::telemetry::event::Outcome;
use crate::telemetry::reason::RefusalReason;
use crate::token::{self, Issued, TokenError, TokenIssuer};
use keygate_protocol::ace::{AceError, ErrorAnswer, ErrorCode, TokenAnswer, TokenRequest};
use keygate_protocol::coap::{
    AnswerContext, Code, Echo, Path, RequestContext, RequestHash, UntrustedRequest,
    VerifiedRequest, sign_answer,
};
use keygate_protocol::cose::Sign1;
use keygate_protocol::crypto::{PublicKey, SoftwareSigner};
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::scope::Scope;
use keygate_protocol::sink::CapacityError;
use keygate_protocol::time::UnixTime;
use std::sync::Arc;

/// Hands out tokens.
pub(super) struct TokenDesk {
    broker_id: Arc<str>,
    directory: Arc<Directory>,
    policy: Arc<Policy>,
    issuer: TokenIssuer,
    signer: SoftwareSigner,
    identity: SoftwareSigner,
    throttle: Throttle,
}

/// Why there is no token, and what the peer is told of it.
struct Refusal {
    reason: RefusalReason,
    /// None if it is our own fault.
    error: Option<ErrorCode>,
    identity: Option<Box<str>>,
}

impl TokenDesk {
    pub(super) fn new(deps: &Deps, throttle: Throttle) -> Self {
        Self {
            broker_id: Arc::clone(&deps.broker_id),
            directory: Arc::clone(&deps.directory),
            policy: Arc::clone(&deps.policy),
            issuer: deps.issuer.clone(),
            signer: deps.token_keys.signing(),
            identity: deps.identity_keys.current.signer(),
            throttle,
        }
    }

    /// Answers a request whose Echo was made at `made` for this peer.
    pub(super) fn answer(
        &mut self,
        request: &Request,
        made: UnixTime,
        arrival: &Arrival,
    ) -> Answer {
        let source = arrival.peer.ip();
        if let Err(throttled) = self.throttle.admit(source, arrival.now) {
            return turn_away(throttled, arrival);
        }
        if request.content_format != Some(format::COSE_SIGN1) {
            self.throttle.charge(source, Proof::Bad, arrival.now);
            return Answer {
                reply: Reply::code(AnswerCode::UnsupportedFormat),
                event: Some(refused(RefusalReason::DataMalformed, None, None, arrival)),
            };
        }
        let untrusted = UntrustedRequest::decode(&request.payload);
        let key_id = untrusted.as_ref().ok().map(UntrustedRequest::key_id);
        let proved = untrusted
            .map_err(|_| Refusal::malformed())
            .and_then(|untrusted| self.prove(&untrusted, request, arrival));
        let failed = proved.as_ref().is_err_and(Refusal::is_failed_proof);
        let proof = if failed { Proof::Bad } else { Proof::Good };
        self.throttle.charge(source, proof, arrival.now);
        let granted = proved.and_then(|proved| {
            let token = self.grant(&proved, made)?;
            Ok((proved, token))
        });
        match granted {
            Ok((proved, token)) => Answer {
                reply: self.reply(request, &token, made, proved.request.hash()),
                event: Some(self.issued(&proved, &token, arrival)),
            },
            Err(refusal) => Answer {
                reply: refusal.reply(),
                event: Some(refused(refusal.reason, refusal.identity, key_id, arrival)),
            },
        }
    }

    /// Whose request this is: one look-up and one verification, whoever it is.
    fn prove<'r>(
        &self,
        untrusted: &UntrustedRequest<'r>,
        request: &'r Request,
        arrival: &Arrival,
    ) -> Result<Proved<'r>, Refusal> {
        let device = self.directory.by_key(untrusted.key_id());
        let key = device
            .as_ref()
            .and_then(|device| device.key(untrusted.key_id()));
        let public = key.map_or_else(PublicKey::nobody, |key| key.public);
        let verified = self.verify(untrusted, &public, request);
        let (Some(device), Some(key), Some(verified)) = (&device, key, verified) else {
            return Err(self.disproved(request, device.as_deref()));
        };
        check_standing(device, key, arrival.wall)
            .map_err(|reason| Refusal::client(reason, &device.id))?;
        Ok(Proved {
            device: Arc::clone(device),
            key: key.clone(),
            request: verified,
        })
    }

    fn verify<'r>(
        &self,
        untrusted: &UntrustedRequest<'r>,
        key: &PublicKey,
        request: &Request,
    ) -> Option<VerifiedRequest<'r>> {
        let context = RequestContext {
            broker_id: Id::new(&self.broker_id).ok()?,
            echo: Echo::new(request.echo.as_deref()?).ok()?,
            code: Code(request.header.code),
            path: &Path::new(["token"]).ok()?,
        };
        untrusted.verify(key, &context).ok()
    }

    /// The story behind a proof that does not hold. Who the peer claims to be is read from what nobody vouches for, for
    /// the audit trail only.
    fn disproved(&self, request: &Request, of_key: Option<&Device>) -> Refusal {
        let claimed = Sign1::decode_untagged(&request.payload)
            .ok()
            .and_then(|message| TokenRequest::decode(message.unverified_payload()).ok())
            .map(|wanted| wanted.client_id.as_str());
        let known = claimed.is_some_and(|id| self.directory.device(id).is_some());
        match (of_key, claimed) {
            (Some(device), _) => Refusal::client(RefusalReason::BadSignature, &device.id),
            (None, Some(id)) if known => Refusal::client(RefusalReason::KeyUnknown, id),
            (None, Some(id)) => Refusal::client(RefusalReason::UnknownDevice, id),
            (None, None) => Refusal {
                reason: RefusalReason::UnknownDevice,
                error: Some(ErrorCode::InvalidClient),
                identity: None,
            },
        }
    }

    /// What a device that has proved itself gets.
    fn grant(&mut self, proved: &Proved<'_>, made: UnixTime) -> Result<Issued, Refusal> {
        let id = &*proved.device.id;
        let wanted = TokenRequest::decode(proved.request.payload())
            .map_err(|error| Refusal::device(reason_of(error), error.code(), id))?;
        if wanted.client_id.as_str() != id {
            return Err(Refusal::client(RefusalReason::ClientIdNotOwn, id));
        }
        if wanted
            .req_cnf
            .is_some_and(|key| !key.is(&proved.key.public))
        {
            let (reason, error) = (RefusalReason::PopKeyRefused, ErrorCode::UnsupportedPopKey);
            return Err(Refusal::device(reason, error, id));
        }
        let request = token::TokenRequest {
            device: &proved.device,
            key: &proved.key,
            audience: wanted.audience,
            scope: wanted.scope.as_ref().map(Scope::as_bytes),
            cti: proved.request.hash().cti(),
            issued_at: made,
        };
        self.issuer
            .issue(&self.policy, &request, &mut self.signer)
            .map_err(|error| Refusal::token(&error, id))
    }

    fn issued(&self, proved: &Proved<'_>, token: &Issued, arrival: &Arrival) -> EventKind {
        let cti = proved.request.hash().cti();
        let token_id: String = cti.iter().map(|byte| format!("{byte:02x}")).collect();
        EventKind::Token {
            outcome: Outcome::Accepted,
            reason: None,
            identity: Some((&*proved.device.id).into()),
            key_id: Some(proved.request.key_id()),
            audience: Some((&*self.broker_id).into()),
            token_id: Some(token_id.into()),
            expires_at: Some(token.expires_at.0),
            origin: arrival.origin(),
        }
    }

    /// The answer that carries a token: signed, if the device asked for that.
    fn reply(
        &mut self,
        request: &Request,
        token: &Issued,
        made: UnixTime,
        hash: RequestHash,
    ) -> Reply {
        let failed = || Reply::code(AnswerCode::InternalError);
        let scope = token.scope.as_deref().map(Scope::decode).transpose();
        let Ok(scope) = scope else { return failed() };
        let answer = TokenAnswer {
            access_token: &token.token,
            expires_in_s: expires_in_s(token, made),
            scope,
        };
        let mut body = Bytes::default();
        if answer.encode(&mut body).is_err() {
            return failed();
        }
        if request.accept != Some(format::COSE_SIGN1) {
            return Reply::body(AnswerCode::Created, format::ACE_CBOR, body.0);
        }
        let Ok(broker_id) = Id::new(&self.broker_id) else {
            return failed();
        };
        let context = AnswerContext {
            broker_id,
            code: Code::CREATED,
            request: hash,
        };
        let mut signed = Bytes::default();
        match sign_answer(&context, &body.0, &mut self.identity, &mut signed) {
            Ok(()) => Reply::body(AnswerCode::Created, format::COSE_SIGN1, signed.0),
            Err(_) => failed(),
        }
    }
}

/// Somebody who has proved to hold a key of an active device.
struct Proved<'r> {
    device: Arc<Device>,
    key: DeviceKey,
    request: VerifiedRequest<'r>,
}

impl Refusal {
    fn malformed() -> Self {
        Self {
            reason: RefusalReason::DataMalformed,
            error: Some(ErrorCode::InvalidRequest),
            identity: None,
        }
    }

    /// The answer that says nothing about who is known here.
    fn client(reason: RefusalReason, id: &str) -> Self {
        Self::device(reason, ErrorCode::InvalidClient, id)
    }

    fn device(reason: RefusalReason, error: ErrorCode, id: &str) -> Self {
        Self {
            reason,
            error: Some(error),
            identity: Some(id.into()),
        }
    }

    fn fault(id: &str) -> Self {
        Self {
            reason: RefusalReason::BrokerFault,
            error: None,
            identity: Some(id.into()),
        }
    }

    fn token(error: &TokenError, id: &str) -> Self {
        use TokenError as T;
        let (reason, error) = match error {
            T::AudienceUnknown => (RefusalReason::AudienceUnknown, ErrorCode::InvalidRequest),
            T::KeyExpired => (RefusalReason::KeyExpired, ErrorCode::InvalidClient),
            T::ScopeMalformed(_) | T::ScopeRefused | T::TooLarge { .. } => {
                (RefusalReason::ScopeRefused, ErrorCode::InvalidScope)
            }
            T::Make(_) => return Self::fault(id),
        };
        Self::device(reason, error, id)
    }

    /// Whether the proof itself does not hold. A suspended device that proves itself is no attacker.
    fn is_failed_proof(&self) -> bool {
        use RefusalReason as R;
        matches!(
            self.reason,
            R::BadSignature | R::DataMalformed | R::KeyUnknown | R::UnknownDevice
        )
    }

    fn reply(&self) -> Reply {
        let Some(error) = self.error else {
            return Reply::code(AnswerCode::InternalError);
        };
        let code = match error {
            ErrorCode::InvalidClient => AnswerCode::Unauthorized,
            _ => AnswerCode::BadRequest,
        };
        let answer = ErrorAnswer {
            error,
            description: None,
        };
        let mut body = Bytes::default();
        match answer.encode(&mut body) {
            // Max-Age 0: the next request is another one, whatever a cache thinks.
            Ok(()) => Reply::body(code, format::ACE_CBOR, body.0).max_age(0),
            Err(CapacityError) => Reply::code(AnswerCode::InternalError),
        }
    }
}

/// Counted from the last moment at which this answer can be given: so repetitions are equal, and a device without a
/// clock never takes a token for longer lived than it is.
fn expires_in_s(token: &Issued, made: UnixTime) -> u64 {
    let last = made.plus(u64::from(ECHO_WINDOW_S));
    token.expires_at.0.saturating_sub(last.0)
}

fn reason_of(error: AceError) -> RefusalReason {
    match error.code() {
        ErrorCode::InvalidScope => RefusalReason::ScopeRefused,
        ErrorCode::UnsupportedGrantType => RefusalReason::GrantUnsupported,
        ErrorCode::UnsupportedPopKey => RefusalReason::PopKeyRefused,
        _ => RefusalReason::DataMalformed,
    }
}

/// Too many: one line a second for each source is enough for the trail.
fn turn_away(throttled: Throttled, arrival: &Arrival) -> Answer {
    let (code, retry_s, report) = match throttled {
        Throttled::Source { retry_s, report } => (AnswerCode::TooManyRequests, retry_s, report),
        Throttled::Everybody { retry_s, report } => (AnswerCode::Unavailable, retry_s, report),
    };
    Answer {
        reply: Reply::code(code).max_age(retry_s),
        event: report.then(|| refused(RefusalReason::Throttled, None, None, arrival)),
    }
}

pub(super) fn refused(
    reason: RefusalReason,
    identity: Option<Box<str>>,
    key_id: Option<KeyId>,
    arrival: &Arrival,
) -> EventKind {
    EventKind::Token {
        outcome: Outcome::Refused,
        reason: Some(reason),
        identity,
        key_id,
        audience: None,
        token_id: None,
        expires_at: None,
        origin: arrival.origin(),
    }
}
