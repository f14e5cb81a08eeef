//! How a session can end, by whose doing.

use std::fmt::{self, Display, Formatter};
use std::io;

use keygate_protocol::mqtt::{DecodeError, PacketType, ReasonCode};

use super::TlsFault;

/// How far a session had come.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The TCP connection is being made.
    Connect,
    /// The TCP connection is there, the TLS handshake is under way.
    Tls,
    /// CONNECT went out, the challenge has not come.
    Challenge,
    /// The proof went out, CONNACK has not come.
    Confirmation,
    /// SUBSCRIBE went out, SUBACK has not come.
    Subscribe,
    /// Logged in and subscribed.
    Online,
    /// A message went out, its acknowledgement refused it.
    Publish,
}

/// Why a session ended, or could not do what it was to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The broker said no.
    #[error("{stage} refused: {code:?} ({value:#04x})", value = code.value())]
    Refused {
        /// At what.
        stage: Stage,
        /// Its reason.
        code: ReasonCode,
    },
    /// The broker closed the connection without a word.
    #[error("closed by the broker at {0}")]
    Closed(Stage),
    /// No answer in time.
    #[error("no answer in time at {0}")]
    Late(Stage),
    /// The system could not connect, send or receive.
    #[error("{kind} at {stage}")]
    Io {
        /// At what.
        stage: Stage,
        /// What kind.
        kind: io::ErrorKind,
    },
    /// No TLS, or no more.
    #[error("{stage}: {fault}")]
    Tls {
        /// At what.
        stage: Stage,
        /// What is wrong.
        fault: TlsFault,
    },
    /// The broker broke a rule of MQTT.
    #[error("the broker broke a rule of MQTT: {0}")]
    Malformed(DecodeError),
    /// The broker sent a packet that may not come now.
    #[error("{packet:?} came at {stage}")]
    OutOfOrder {
        /// When.
        stage: Stage,
        /// What came.
        packet: PacketType,
    },
    /// The broker acknowledged what was not sent.
    #[error("an acknowledgement for nothing that is under way")]
    Unasked,
    /// The broker did not prove itself, or is another one.
    #[error("login: {0}")]
    Broker(keygate_protocol::login::device::DeviceError),
    /// The system had no randomness for a nonce.
    #[error("the system's random source failed")]
    Entropy,
    /// A packet of ours exceeds what MQTT or the profile can hold.
    #[error("a packet of ours does not fit")]
    TooLarge,
}

impl Failure {
    /// A system error at a stage.
    #[must_use]
    pub fn io(stage: Stage, error: &io::Error) -> Self {
        // TLS hands its errors over in those of the system.
        let inside = error.get_ref();
        if let Some(error) = inside.and_then(|inside| inside.downcast_ref()) {
            return Self::tls(stage, error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed(stage),
            kind => Self::Io { stage, kind },
        }
    }

    /// An error of TLS at a stage.
    #[must_use]
    pub fn tls(stage: Stage, error: &rustls::Error) -> Self {
        let fault = error.into();
        Self::Tls { stage, fault }
    }

    /// The broker's reason, if it gave one.
    #[must_use]
    pub const fn code(&self) -> Option<(Stage, ReasonCode)> {
        match self {
            Self::Refused { stage, code } => Some((*stage, *code)),
            _ => None,
        }
    }

    /// What the operator of the run can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused {
                stage: Stage::Challenge | Stage::Confirmation,
                code: ReasonCode::NotAuthorized,
            } => Some(
                "devices not enrolled, or with another seed? `device-sim enrol …` with the same options, piped into \
                 `keygate device import -`; `keygate why ID` tells the broker's side",
            ),
            Self::Refused {
                code: ReasonCode::ConnectionRateExceeded | ReasonCode::ServerBusy,
                ..
            } => Some("the broker sheds load: a lower --rate, or higher limits"),
            Self::Io {
                stage: Stage::Connect,
                kind: io::ErrorKind::ConnectionRefused,
            } => {
                Some("nothing listens there: start `keygate serve`, or say where it is with --mqtt")
            }
            Self::Io {
                stage: Stage::Connect,
                ..
            } => Some("out of files or ports? `ulimit -n`, or fewer --devices"),
            Self::Tls { fault, .. } => Some(fault.advice()),
            Self::Late(Stage::Challenge | Stage::Connect | Stage::Tls) => {
                Some("the broker does not keep up with --rate")
            }
            Self::Broker(_) => {
                Some("another broker than expected: check --broker-id and --identity-key")
            }
            _ => None,
        }
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::Challenge => "login",
            Self::Confirmation => "login (proof)",
            Self::Subscribe => "subscribe",
            Self::Online => "online",
            Self::Publish => "publish",
        })
    }
}
