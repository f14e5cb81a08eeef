use super::{Gate, Source, reply};
use crate::authn::{Accepted, Attempted, Begin, PendingProof, ProofMessage, Refusal};
use crate::hub::Times;
use crate::rng::Random;
use crate::telemetry::Event;
use keygate_protocol::mqtt::{
    self, Connect, DecodeError, Frame, Packet, PacketType, ReasonCode, Sender, Version,
};
use keygate_protocol::time::Millis;

/// A connection that has not proved who it is: until when it may take, and how far it has come.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) deadline: Millis,
    /// Whether the shard has it in its line of logins.
    pub(crate) queued: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    AwaitConnect,
    /// The challenge is out. The CONNECT is kept as it came: its will and its session count once the proof holds.
    AwaitProof {
        connect: Box<[u8]>,
        pending: Box<PendingProof>,
    },
}

/// What one packet did to a handshake. What the peer must hear has been written.
#[derive(Debug)]
pub(crate) enum Step {
    /// The challenge went out.
    Wait,
    /// The peer is known.
    Admit(Box<Admission>),
    /// It is over; this goes to the audit log.
    Refuse(Box<Event>),
}

/// A proved identity and the CONNECT that it came with.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) connect: Box<[u8]>,
    pub(crate) accepted: Accepted,
}

impl Handshake {
    pub(crate) fn new(deadline: Millis) -> Self {
        Self {
            deadline,
            queued: false,
            stage: Stage::AwaitConnect,
        }
    }

    /// Takes the next packet.
    pub(crate) fn packet(
        &mut self,
        frame: &Frame<'_>,
        source: &Source,
        gate: &Gate,
        times: Times,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Step {
        match std::mem::replace(&mut self.stage, Stage::AwaitConnect) {
            Stage::AwaitConnect => self.connect(frame, source, gate, times, random, out),
            Stage::AwaitProof { connect, pending } => {
                proof(frame, &connect, pending, source, gate, times, out)
            }
        }
    }

    /// The challenge that is out.
    pub(crate) fn pending(&mut self) -> Option<&mut PendingProof> {
        match &mut self.stage {
            Stage::AwaitProof { pending, .. } => Some(pending),
            Stage::AwaitConnect => None,
        }
    }

    /// What a peer that ran out of time was doing.
    pub(crate) fn timed_out(&self, source: &Source, times: Times) -> Event {
        let connect = match &self.stage {
            Stage::AwaitConnect => None,
            Stage::AwaitProof { connect, .. } => decode_connect(connect),
        };
        source.timed_out(connect.as_ref(), times)
    }

    /// Whether a CONNECT came, so that a CONNACK may answer.
    pub(crate) fn version(&self) -> Option<Version> {
        matches!(self.stage, Stage::AwaitProof { .. }).then_some(Version::V5)
    }

    fn connect(
        &mut self,
        frame: &Frame<'_>,
        source: &Source,
        gate: &Gate,
        times: Times,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Step {
        let connect = match mqtt::decode(frame, Sender::Client, Version::V5) {
            Ok(Packet::Connect(connect)) => connect,
            // MQTT 5 §3.1: anything else first is closed without an answer.
            Ok(_) => return Step::Refuse(Box::new(source.not_connect(times))),
            Err(error) => {
                refuse_malformed(frame, error, out);
                return Step::Refuse(Box::new(source.malformed(error, times)));
            }
        };
        if !reply::takes(&connect, reply::REFUSAL_LEN) {
            // Nothing that could be said would be short enough.
            let error = DecodeError::PacketTooLarge;
            return Step::Refuse(Box::new(source.malformed(error, times)));
        }
        if let Some(code) = super::will::unacceptable(&connect, &gate.limits) {
            reply::refuse(connect.version, code, out);
            return Step::Refuse(Box::new(source.will_refused(&connect, code, times)));
        }
        let attempted = Attempted {
            connect: &connect,
            listener: gate.rules(source.listener),
            peer: source.peer,
            now: times.now,
            wall: times.wall,
        };
        match gate.authn.begin(&attempted, random) {
            Begin::Challenge { data, pending } => {
                let method = connect.properties.auth_method.unwrap_or_default();
                let before = out.len();
                reply::auth(ReasonCode::ContinueAuthentication, method, Some(&data), out);
                if !reply::takes(&connect, out.len().saturating_sub(before)) {
                    out.truncate(before);
                    let error = DecodeError::PacketTooLarge;
                    reply::refuse(connect.version, error.reason_code(), out);
                    return Step::Refuse(Box::new(source.malformed(error, times)));
                }
                self.stage = Stage::AwaitProof {
                    connect: frame.raw().into(),
                    pending,
                };
                Step::Wait
            }
            Begin::Decided(decided) => {
                decide(frame.raw().into(), decided, &connect, source, times, out)
            }
        }
    }
}

/// Exactly one AUTH follows the challenge.
fn proof(
    frame: &Frame<'_>,
    raw: &[u8],
    pending: Box<PendingProof>,
    source: &Source,
    gate: &Gate,
    times: Times,
    out: &mut Vec<u8>,
) -> Step {
    let Some(connect) = decode_connect(raw) else {
        return Step::Refuse(Box::new(source.not_connect(times)));
    };
    let auth = match mqtt::decode(frame, Sender::Client, Version::V5) {
        Ok(Packet::Auth(auth)) if auth.code == ReasonCode::ContinueAuthentication => auth,
        Ok(Packet::Disconnect(_)) => {
            return Step::Refuse(Box::new(source.gave_up(&connect, times)));
        }
        // MQTT 5 §3.1.2.11.9: until CONNACK a client sends nothing but AUTH and DISCONNECT.
        Ok(_) => {
            reply::refuse(Version::V5, ReasonCode::ProtocolError, out);
            return Step::Refuse(Box::new(source.not_proof(&connect, times)));
        }
        Err(error) => {
            reply::refuse(Version::V5, error.reason_code(), out);
            return Step::Refuse(Box::new(source.malformed(error, times)));
        }
    };
    let message = ProofMessage {
        method: auth.method,
        data: auth.data,
        now: times.now,
        wall: times.wall,
    };
    let decided = gate.authn.prove(pending, &message);
    decide(raw.into(), decided, &connect, source, times, out)
}

fn decide(
    raw: Box<[u8]>,
    decided: Result<Accepted, Refusal>,
    connect: &Connect<'_>,
    source: &Source,
    times: Times,
    out: &mut Vec<u8>,
) -> Step {
    match decided {
        Ok(accepted) => Step::Admit(Box::new(Admission {
            connect: raw,
            accepted,
        })),
        Err(refusal) => {
            reply::refuse_login(connect.version, &refusal, out);
            Step::Refuse(Box::new(source.login_refused(connect, &refusal, times)))
        }
    }
}

/// The CONNECT that was accepted before, once more.
pub(crate) fn decode_connect(raw: &[u8]) -> Option<Connect<'_>> {
    let frame = mqtt::frame(raw, u32::MAX).ok()??;
    match mqtt::decode(&frame, Sender::Client, Version::V5) {
        Ok(Packet::Connect(connect)) => Some(connect),
        _ => None,
    }
}

/// A CONNECT that cannot be read still tells which protocol its sender speaks: 3.1.1 has its own CONNACK, and none for
/// what is malformed.
fn refuse_malformed(frame: &Frame<'_>, error: DecodeError, out: &mut Vec<u8>) {
    let code = error.reason_code();
    match (Connect::claimed_version(frame), frame.body()) {
        (Some(Version::V5), _) => reply::refuse(Version::V5, code, out),
        (Some(Version::V311), _) => {}
        (None, _) if frame.packet_type() != PacketType::Connect => {}
        // Whatever comes after version 5 will know the form of its CONNACK.
        (None, [0, 4, b'M', b'Q', b'T', b'T', 6..=u8::MAX, ..]) => {
            reply::refuse(Version::V5, ReasonCode::UnsupportedProtocolVersion, out);
        }
        // Older clients understand return code 1.
        (None, _) if code == ReasonCode::UnsupportedProtocolVersion => {
            reply::refuse(Version::V311, code, out);
        }
        (None, _) => {}
    }
}
