//! A no, and what the peer may know of it.
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::ident::Id;
use keygate_protocol::login::broker;
use keygate_protocol::mqtt::{ConnectReturnCode, ReasonCode};

/// A refused login. The codes go to the peer, the rest to the audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The exact story.
    pub reason: RefusalReason,
    /// For CONNACK of MQTT 5.
    pub code: ReasonCode,
    /// For CONNACK of MQTT 3.1.1.
    pub return_code: ConnectReturnCode,
    /// Who the peer claimed to be, if that was a possible id.
    pub identity: Option<Box<str>>,
}

impl Refusal {
    /// The refusal for this reason, with the codes that go with it.
    #[must_use]
    pub fn new(reason: RefusalReason, claimed: &str) -> Self {
        let code = code(reason);
        Self {
            reason,
            code,
            return_code: code.return_code(),
            identity: Id::new(claimed).ok().map(|id| id.as_str().into()),
        }
    }

    /// Whether a throttle may count this against the peer's address: only a failed proof. What was well signed and came
    /// too late or twice is a clock or a network, and a device must not lock itself out with it.
    #[must_use]
    pub fn is_failed_proof(&self) -> bool {
        use RefusalReason as R;
        matches!(
            self.reason,
            R::AssertionAlgorithm
                | R::AssertionMalformed
                | R::AssertionWrongType
                | R::BadSignature
                | R::ClientIdNotOwn
                | R::DataMalformed
                | R::KeyUnknown
                | R::MethodUnknown
                | R::NoCredentials
                | R::TwoCredentials
                | R::UnknownDevice
                | R::UserNameNotOwn
                | R::WrongBroker
        )
    }
}

/// What a reason says on the wire (SPEC.md §5.1). Who is known, suspended, or holds which key is not to be learned by
/// asking: all of that is one code.
fn code(reason: RefusalReason) -> ReasonCode {
    use RefusalReason as R;
    match reason {
        R::BrokerFault => ReasonCode::ServerUnavailable,
        R::ClientIdNotOwn | R::SessionNotOwn => ReasonCode::ClientIdentifierNotValid,
        R::DataMalformed => ReasonCode::ProtocolError,
        R::MethodChanged | R::MethodUnknown => ReasonCode::BadAuthenticationMethod,
        R::ReplayMemoryFull | R::SessionsFull | R::StoreFull => ReasonCode::QuotaExceeded,
        R::Throttled => ReasonCode::ConnectionRateExceeded,
        R::AssertionAlgorithm
        | R::AssertionBeforeStart
        | R::AssertionExpired
        | R::AssertionFromFuture
        | R::AssertionLifetime
        | R::AssertionMalformed
        | R::AssertionReused
        | R::AssertionWrongClient
        | R::AssertionWrongType
        | R::AudienceUnknown
        | R::BadSignature
        | R::BindingRefused
        | R::ChallengeExpired
        | R::ChallengeForged
        | R::DevicePending
        | R::DeviceRevoked
        | R::DeviceSuspended
        | R::EchoMissing
        | R::EchoStale
        | R::GrantUnsupported
        | R::GaveUp
        | R::KeyExpired
        | R::KeyNotYetValid
        | R::KeyUnknown
        | R::NoCredentials
        | R::PopKeyRefused
        | R::ScopeRefused
        | R::TimedOut
        | R::TwoCredentials
        | R::UnknownDevice
        | R::UserNameNotOwn
        | R::WrongBroker => ReasonCode::NotAuthorized,
    }
}

/// The reason for what the login machine of the protocol refuses.
pub(super) fn login_reason(refusal: broker::Refusal) -> RefusalReason {
    use broker::Refusal as P;
    use keygate_protocol::login::OpenError;
    match refusal {
        P::BadSignature => RefusalReason::BadSignature,
        P::BindingRequired | P::BindingUnavailable => RefusalReason::BindingRefused,
        // An exporter value that the shell did or did not hand in, against what was agreed: not the peer's doing.
        P::BindingValue => RefusalReason::BrokerFault,
        // The device pinned another broker's key.
        P::BrokerKeyUnknown => RefusalReason::WrongBroker,
        P::ChallengeExpired => RefusalReason::ChallengeExpired,
        P::ClientId(_) => RefusalReason::ClientIdNotOwn,
        P::KeyUnknown => RefusalReason::KeyUnknown,
        P::Open(OpenError::VersionUnknown(_)) => RefusalReason::MethodUnknown,
        P::Open(_) | P::ProofLength => RefusalReason::DataMalformed,
    }
}
