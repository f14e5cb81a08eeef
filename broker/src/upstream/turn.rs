//! What one call of a relay works with, and what it says.
use super::fault::Fault;
use crate::gate::Gate;
use crate::hub::{Cause, Times};
use crate::telemetry::Event;
use keygate_protocol::mqtt::{DecodeError, Frame};

/// What one call works with.
pub struct Turn<'t> {
    /// Rights and bounds.
    pub gate: &'t Gate,
    /// Now.
    pub times: Times,
    /// Where the outcome goes.
    pub out: &'t mut Output,
}

/// What each end gets, in order, and what the audit log is told.
#[derive(Debug, Default)]
pub struct Output {
    /// For the client.
    pub client: Vec<u8>,
    /// For the upstream.
    pub upstream: Vec<u8>,
    /// For the audit log.
    pub events: Vec<Event>,
}

/// How far bytes were taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// So many are done with; the others come again.
    pub bytes: usize,
    /// Why no further.
    pub next: Next,
}

/// Why no more bytes were taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The rest is no whole packet yet.
    More,
    /// The client's next packet must wait for the upstream: offer it again when
    /// [`may_read_client`](super::Relay::may_read_client) says so.
    Wait,
    /// The client's next packet is AUTH, which never goes up: the gate takes it, then the rest is offered again.
    Auth,
    /// The session is over, for this cause.
    Ended(Cause),
}

/// What became of the front of a stream.
pub(super) enum Step {
    /// A packet of this length is done with.
    Packet(usize),
    /// No packet was taken.
    Stop(Next),
}

impl Step {
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        Self::Packet(frame.len())
    }
}

impl Taken {
    pub(super) fn over(bytes: &[u8], cause: Cause) -> Self {
        Self {
            bytes: bytes.len(),
            next: Next::Ended(cause),
        }
    }
}

/// Who is to blame when bytes of the upstream end a session.
pub(super) enum Failure {
    /// The session itself, for this cause.
    Session(Cause),
    /// The upstream.
    Upstream(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Upstream(fault)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Upstream(Fault::Malformed(error))
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Session(cause)
    }
}
