//! Why a run could not be made, and what to do next.

use std::net::SocketAddr;

use crate::random::NoRandomness;
use crate::scenario::ScenarioError;
use crate::session::{Failure, TlsFault};

/// A run that could not be made: nothing was measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// Nothing accepts connections.
    #[error(
        "nothing listens on {0}: start `keygate serve`, or say where the broker is with --mqtt HOST:PORT \
         (or pipe it in: `keygate serve | device-sim run --builtin smoke --target -`)"
    )]
    NothingListens(SocketAddr),
    /// The watcher or the controller was refused.
    #[error(
        "the broker refused {id} ({reason}): enrol everybody of this run first, with the same seed, prefix and numbers: \
         `{enrol} | keygate device import -`"
    )]
    NotEnrolled {
        /// Who.
        id: String,
        /// What the broker said.
        reason: String,
        /// The command that prints what is to be enrolled.
        enrol: String,
    },
    /// The watcher or the controller could not get ready for another reason.
    #[error("{id} could not get ready: {reason}{}", advice.map(|text| format!("; {text}")).unwrap_or_default())]
    NotReady {
        /// Who.
        id: String,
        /// What happened.
        reason: String,
        /// What to do.
        advice: Option<&'static str>,
    },
    /// The broker's certificate is not trusted, or TLS is not what it speaks.
    #[error("no TLS with {address}: {fault}; {advice}", advice = fault.advice())]
    NoTls {
        /// Where.
        address: SocketAddr,
        /// Why.
        fault: TlsFault,
    },
    /// Gateways need CoAP.
    #[error(
        "the scenario has gateways, but where CoAP is, is not known: pass --coap HOST:PORT, or --gateways 0"
    )]
    NoCoap,
    /// Gateways need a key to verify answers with.
    #[error(
        "the scenario has gateways, but without the broker's key no answer over UDP proves anything: pass \
         --identity-key HEX (it is in the ready line of `keygate serve`), or --gateways 0"
    )]
    NoIdentityKey,
    /// More devices than files.
    #[error(
        "{needed} open files are needed and {allowed} allowed: `ulimit -n`, fewer --devices, or several processes"
    )]
    TooFewFiles {
        /// What the run needs.
        needed: u64,
        /// What the system allows.
        allowed: u64,
    },
    /// The scenario makes no sense.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The system has no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl RunError {
    /// What a failed session of the watcher or the controller means for the run.
    pub(super) fn of_helper(id: &str, target: SocketAddr, enrol: &str, failure: &Failure) -> Self {
        use crate::session::Stage;
        match failure {
            Failure::Io {
                stage: Stage::Connect,
                kind: std::io::ErrorKind::ConnectionRefused,
            } => Self::NothingListens(target),
            Failure::Tls {
                stage: Stage::Tls,
                fault,
            } => Self::NoTls {
                address: target,
                fault: fault.clone(),
            },
            Failure::Refused {
                stage: Stage::Challenge | Stage::Confirmation,
                ..
            } => Self::NotEnrolled {
                id: id.to_owned(),
                reason: failure.to_string(),
                enrol: enrol.to_owned(),
            },
            _ => Self::NotReady {
                id: id.to_owned(),
                reason: failure.to_string(),
                advice: failure.advice(),
            },
        }
    }
}
