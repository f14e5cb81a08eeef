use keygate_protocol::mqtt::{DecodeError, ReasonCode};

/// Why a session or a connection ends: decides the DISCONNECT code, whether the will goes out, and what the audit log
/// says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The client said goodbye; `with_will` if it asked for its will nevertheless (0x04).
    Disconnected {
        /// Whether the client wants its will published.
        with_will: bool,
        /// How long the session lives on, if the client has changed its mind (MQTT 5 §3.14.2.2.2).
        expiry_s: Option<u32>,
    },
    /// The connection broke.
    ConnectionLost,
    /// Nothing came for one and a half keep-alive periods (0x8D).
    KeepAlive,
    /// A newer connection proved the same identity (0x8E).
    TakenOver,
    /// The device was revoked, or its key removed (0x98).
    Revoked,
    /// The device was suspended (0x98).
    Suspended,
    /// The key or the session reached its end (0x87); the will goes out.
    Expired,
    /// The client did something that it has no right to, and MQTT has no milder answer (0x87).
    NotAuthorized,
    /// The client failed to prove itself again (0x87).
    Reauthentication,
    /// The bytes broke a rule of MQTT.
    Malformed(DecodeError),
    /// The packets broke a rule of MQTT, with this code.
    Protocol(ReasonCode),
    /// A bound was reached (0x97).
    Quota,
    /// Nobody came back to the session in time.
    SessionExpired,
    /// The client began a new session in its place (Clean Start).
    Replaced,
    /// The broker stops (0x8B).
    ShuttingDown,
    /// The broker made a mistake (0x83): this connection ends, no other.
    Fault,
    /// The broker to which the session was relayed ended it, or is lost: with the code that tells the client.
    Upstream(ReasonCode),
}

impl Cause {
    /// The code of the DISCONNECT that tells an MQTT 5 client; `None` where the client ended it itself.
    #[must_use]
    pub fn code(&self) -> Option<ReasonCode> {
        Some(match self {
            Self::Disconnected { .. }
            | Self::ConnectionLost
            | Self::SessionExpired
            | Self::Replaced => return None,
            Self::KeepAlive => ReasonCode::KeepAliveTimeout,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::Revoked | Self::Suspended => ReasonCode::AdministrativeAction,
            Self::Expired | Self::NotAuthorized | Self::Reauthentication => {
                ReasonCode::NotAuthorized
            }
            Self::Malformed(error) => error.reason_code(),
            Self::Protocol(code) | Self::Upstream(code) => *code,
            Self::Quota => ReasonCode::QuotaExceeded,
            Self::ShuttingDown => ReasonCode::ServerShuttingDown,
            Self::Fault => ReasonCode::ImplementationSpecificError,
        })
    }

    /// What becomes of the session's will. It was authorised at CONNECT, so expiry lets it go; whoever lost the right to
    /// be here (revoked, not authorised) says nothing more.
    #[must_use]
    pub fn will_fate(&self) -> WillFate {
        match self {
            Self::Disconnected {
                with_will: false, ..
            }
            | Self::Revoked
            | Self::Suspended
            | Self::NotAuthorized
            | Self::Reauthentication => WillFate::Discarded,
            Self::ShuttingDown => WillFate::Kept,
            Self::Disconnected {
                with_will: true, ..
            }
            | Self::ConnectionLost
            | Self::KeepAlive
            | Self::TakenOver
            | Self::Expired
            | Self::Malformed(_)
            | Self::Protocol(_)
            | Self::Quota
            | Self::SessionExpired
            | Self::Replaced
            | Self::Fault
            | Self::Upstream(_) => WillFate::Published,
        }
    }

    /// Whether the session ends with its connection, however long it was to live.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::Revoked | Self::SessionExpired | Self::Replaced)
    }

    /// The session expiry that a goodbye brought.
    #[must_use]
    pub fn new_expiry_s(&self) -> Option<u32> {
        match self {
            Self::Disconnected { expiry_s, .. } => *expiry_s,
            _ => None,
        }
    }
}

/// What becomes of a will when its connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WillFate {
    /// It goes out, after its delay.
    Published,
    /// It never goes out.
    Discarded,
    /// Nobody is left to hear it: it goes out after a restart, if its session lives so long.
    Kept,
}
