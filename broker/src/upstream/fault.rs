//! What the upstream does wrong, and what each end is told of it.
use crate::telemetry::event::UpstreamFault;
use keygate_protocol::mqtt::{DecodeError, PacketType, ReasonCode, Sender};

/// Why a relayed session ends that is not its client's doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It refused the session in CONNACK.
    Refused(ReasonCode),
    /// It ended the session with DISCONNECT.
    Ended(ReasonCode),
    /// It did not answer CONNECT in time.
    Late,
    /// The connection to it broke, or could not be made.
    Lost,
    /// Its bytes broke a rule of MQTT.
    Malformed(DecodeError),
    /// Its packets broke a rule of MQTT, with this code.
    Rule(&'static str, ReasonCode),
}

impl Fault {
    /// For the client's CONNACK: what is its own business passes, anything else is ours.
    pub(super) fn refusal_code(self) -> ReasonCode {
        match self {
            Self::Refused(
                code @ (ReasonCode::ClientIdentifierNotValid
                | ReasonCode::ServerBusy
                | ReasonCode::QuotaExceeded
                | ReasonCode::ConnectionRateExceeded),
            ) => code,
            _ => ReasonCode::ServerUnavailable,
        }
    }

    /// For the client's DISCONNECT.
    ///
    /// 0x88 does not exist there (MQTT 5 §3.14.2.1). An upstream that goes away is a server that shuts down: the client
    /// did nothing wrong and may come back. What the upstream has against the gate (its rights there, its packets) is a
    /// fault of the server; 0x87 would tell a device that its own rights are gone.
    pub(super) fn disconnect_code(self) -> ReasonCode {
        match self {
            Self::Lost | Self::Late | Self::Refused(_) => ReasonCode::ServerShuttingDown,
            Self::Malformed(_) | Self::Rule(..) => ReasonCode::ImplementationSpecificError,
            Self::Ended(code) => passed_on(code),
        }
    }

    /// For a DISCONNECT to the upstream; `None` where it needs none. A failure lets the will go out (§3.14.4), which is
    /// as if the connection was lost.
    pub(super) fn goodbye(self) -> Option<ReasonCode> {
        let code = match self {
            Self::Malformed(error) => error.reason_code(),
            Self::Rule(_, code) => code,
            Self::Late => return Some(ReasonCode::Success),
            Self::Refused(_) | Self::Ended(_) | Self::Lost => return None,
        };
        match code.is_allowed(PacketType::Disconnect, Sender::Client) {
            true => Some(code),
            false => Some(ReasonCode::ProtocolError),
        }
    }

    /// For the audit log: how it failed, with which code, against which rule.
    pub(super) fn in_trail(self) -> (UpstreamFault, Option<u8>, Option<Box<str>>) {
        match self {
            Self::Refused(code) => (UpstreamFault::Refused, Some(code.value()), None),
            Self::Ended(code) => (UpstreamFault::Ended, Some(code.value()), None),
            Self::Late => (UpstreamFault::Late, None, None),
            Self::Lost => (UpstreamFault::Lost, None, None),
            Self::Malformed(error) => (
                UpstreamFault::Malformed,
                Some(error.reason_code().value()),
                Some(error.to_string().into()),
            ),
            Self::Rule(rule, code) => (
                UpstreamFault::Malformed,
                Some(code.value()),
                Some(rule.into()),
            ),
        }
    }
}

/// The upstream's DISCONNECT code as the client hears it: what is about its session or its packets passes.
fn passed_on(code: ReasonCode) -> ReasonCode {
    match code {
        ReasonCode::ServerBusy
        | ReasonCode::ServerShuttingDown
        | ReasonCode::KeepAliveTimeout
        | ReasonCode::SessionTakenOver
        | ReasonCode::TopicFilterInvalid
        | ReasonCode::TopicNameInvalid
        | ReasonCode::ReceiveMaximumExceeded
        | ReasonCode::PacketTooLarge
        | ReasonCode::MessageRateTooHigh
        | ReasonCode::QuotaExceeded
        | ReasonCode::AdministrativeAction
        | ReasonCode::PayloadFormatInvalid
        | ReasonCode::RetainNotSupported
        | ReasonCode::QosNotSupported
        | ReasonCode::SharedSubscriptionsNotSupported
        | ReasonCode::ConnectionRateExceeded
        | ReasonCode::MaximumConnectTime
        | ReasonCode::SubscriptionIdentifiersNotSupported
        | ReasonCode::WildcardSubscriptionsNotSupported => code,
        // A normal end, or "use another server", which would lead the client around the gate: this one goes away.
        ReasonCode::Success | ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => {
            ReasonCode::ServerShuttingDown
        }
        _ => ReasonCode::ImplementationSpecificError,
    }
}
