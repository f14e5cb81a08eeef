//! One relayed session: how it begins, and how the bytes of both ends are taken.
use super::asked::Asked;
use super::connack::{self, Agreed};
use super::connect::{self, Admitted, Greeting, UpstreamRules};
use super::fault::Fault;
use super::filters::Filters;
use super::turn::{Failure, Next, Step, Taken, Turn};
use super::window::{Ids, Window};
use crate::authn::Principal;
use crate::authz::Denied;
use crate::gate::{Gate, Terms};
use crate::hub::wire::put;
use crate::hub::{Cause, Rights as _, Standing, Times};
use crate::telemetry::Event;
use crate::telemetry::event::Origin;
use crate::telemetry::ration::Ration;
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::{self, Connack, DecodeError, Packet, ReasonCode, Sender, Version};
use keygate_protocol::time::Millis;

/// One session that is relayed to another broker: what the client and the upstream send goes in, what each of them gets
/// comes out. No socket and no clock.
///
/// [`open`](Self::open) after a login; then [`from_client`](Self::from_client) and [`from_upstream`](Self::from_upstream)
/// as bytes come, [`tick`](Self::tick) now and then, [`renew`](Self::renew) when rights change. It ends by itself
/// ([`Next::Ended`]) or by [`end`](Self::end) and [`upstream_lost`](Self::upstream_lost): write what is in [`Output`](super::Output),
/// then close both connections.
///
/// Neither end's bytes are kept here: what is not taken comes again, with what has followed it.
#[derive(Debug)]
pub struct Relay {
    pub(super) who: Who,
    pub(super) phase: Phase,
    /// An end whose write buffer is full, so that the other is not read.
    upstream_full: bool,
    client_full: bool,
}

/// Whose session it is.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) principal: Principal,
    pub(super) client_id: Box<str>,
    pub(super) version: Version,
    pub(super) origin: Origin,
    /// Largest packet that goes to the client.
    pub(super) packet_max: u32,
    /// QoS 1 and 2 messages that the upstream may send without an acknowledgement.
    pub(super) inflight_max: u16,
    /// How many refused rights of it are recorded.
    pub(super) denials: Ration,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// CONNECT is on its way up.
    Opening(Box<Greeting>),
    /// The upstream has taken the session.
    Open(Box<Open>),
    /// It is over, for this cause.
    Ended(Cause),
}

/// What is on its way in an open session.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) agreed: Agreed,
    /// The client's messages that wait for PUBACK or PUBREC.
    pub(super) published: Window,
    /// The client's QoS 2 messages that wait for PUBREL or PUBCOMP: their identifiers are in use.
    pub(super) released: Ids,
    /// QoS 2 messages of a 3.1.1 client that went nowhere: the gate sees their handshake through.
    pub(super) dropped: Ids,
    /// The upstream's messages that wait for PUBACK or PUBREC.
    pub(super) delivered: Window,
    /// The upstream's QoS 2 messages that the client never sees: the gate sees their handshake through.
    pub(super) held: Ids,
    pub(super) asked: Asked,
    pub(super) filters: Filters,
    /// PINGREQs of the client that have no PINGRESP. Those of the gate are not counted: what comes for them is swallowed.
    pub(super) pings: u32,
    /// When something last went up.
    pub(super) spoke: Millis,
    /// The client's next packet waits for an answer of the upstream.
    pub(super) waiting: bool,
}

/// Why a will is refused: the topic that it may not have, and the rule; none where a topic is not well-formed.
pub type WillDenied<'a> = Option<(&'a str, Denied)>;

impl Relay {
    /// Begins to relay a session, with the bytes that go up first. The will is authorised here, and nowhere
    /// else.
    pub fn open<'a>(
        admitted: Admitted<'a>,
        rules: &UpstreamRules,
        gate: &Gate,
        times: Times,
    ) -> Result<(Self, Vec<u8>), WillDenied<'a>> {
        let (asked, limits) = (admitted.connect, &*gate.limits);
        let accepted = admitted.accepted;
        if let Some(will) = &asked.will {
            let _permit = gate.permit_will(&accepted.principal, will)?;
        }
        let properties = &asked.properties;
        let who = Who {
            principal: accepted.principal,
            client_id: accepted.client_id,
            version: asked.version,
            origin: admitted.origin,
            packet_max: properties
                .packet_size_max
                .map_or(limits.packet_bytes, |max| max.min(limits.packet_bytes)),
            inflight_max: properties.receive_max.min(limits.inflight_max),
            denials: Ration::default(),
        };
        let terms = Terms::of(asked, limits);
        let bytes = connect::connect(asked, &who, &terms, rules, limits, times.now);
        let greeting = Greeting {
            auth_method: properties.auth_method.map(Into::into),
            proof: accepted.auth_data,
            assigned: accepted.assigned,
            terms,
            deadline: times.now.plus(limits.relay_open_ms),
        };
        let relay = Self {
            who,
            phase: Phase::Opening(Box::new(greeting)),
            upstream_full: false,
            client_full: false,
        };
        Ok((relay, bytes))
    }

    /// Takes the client's whole packets at the front of `bytes`.
    pub fn from_client(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Taken {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let step = match &mut self.phase {
                Phase::Ended(cause) => return Taken::over(bytes, *cause),
                Phase::Opening(_) if rest.is_empty() => Ok(Step::Stop(Next::More)),
                Phase::Opening(_) => Ok(Step::Stop(Next::Wait)),
                Phase::Open(open) => {
                    open.waiting = false;
                    let who = &mut self.who;
                    Talk { who, open, turn }.client_packet(rest)
                }
            };
            match step {
                Ok(Step::Packet(len)) => taken += len,
                Ok(Step::Stop(next)) => return Taken { bytes: taken, next },
                Err(cause) => {
                    self.end(&cause, turn);
                    return Taken::over(bytes, cause);
                }
            }
        }
    }

    /// Takes the upstream's whole packets at the front of `bytes`.
    pub fn from_upstream(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Taken {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let step = match &mut self.phase {
                Phase::Ended(cause) => return Taken::over(bytes, *cause),
                Phase::Opening(_) => self.connack(rest, turn),
                Phase::Open(open) => {
                    let who = &mut self.who;
                    Talk { who, open, turn }.upstream_packet(rest)
                }
            };
            match step {
                Ok(Step::Packet(len)) => taken += len,
                Ok(Step::Stop(next)) => return Taken { bytes: taken, next },
                Err(failure) => {
                    let cause = match failure {
                        Failure::Session(cause) => {
                            self.end(&cause, turn);
                            cause
                        }
                        Failure::Upstream(fault) => self.fail(fault, turn),
                    };
                    return Taken::over(bytes, cause);
                }
            }
        }
    }

    /// The upstream's first packet.
    fn connack(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<Step, Failure> {
        let limits = &turn.gate.limits;
        let Some(frame) = mqtt::frame(bytes, limits.packet_bytes)? else {
            return Ok(Step::Stop(Next::More));
        };
        match mqtt::decode(&frame, Sender::Server, self.who.version)? {
            Packet::Connack(connack) if connack.code == ReasonCode::Success => {
                self.accept(&connack, turn)?;
                Ok(Step::of(&frame))
            }
            Packet::Connack(connack) => Err(Fault::Refused(connack.code).into()),
            _ => {
                let rule = "the first packet is not CONNACK";
                Err(Fault::Rule(rule, ReasonCode::ProtocolError).into())
            }
        }
    }

    /// The upstream takes the session: so do we.
    fn accept(&mut self, connack: &Connack<'_>, turn: &mut Turn<'_>) -> Result<(), Cause> {
        let Phase::Opening(greeting) = &self.phase else {
            return Ok(());
        };
        let gate = turn.gate;
        // Rights may have changed while the upstream thought about it.
        match gate.standing(&self.who.principal, turn.times.wall) {
            Standing::Unchanged => {}
            Standing::Over(cause) => return Err(cause),
            Standing::Changed(principal) => self.who.principal = *principal,
        }
        let who = &self.who;
        let agreed = Agreed::of(greeting, &connack.properties, &gate.limits);
        let opening = connack::opening(who, greeting, &agreed, connack);
        let len = opening.encoded_len(who.version);
        if u32::try_from(len).map_or(true, |len| len > who.packet_max) {
            return Err(Cause::Malformed(DecodeError::PacketTooLarge));
        }
        if opening.properties.session_expiry_s.is_some() {
            gate.reached.session_expiry_max_s.add();
        }
        if opening.properties.keep_alive_s.is_some() {
            gate.reached.keep_alive_max_s.add();
        }
        put(&mut turn.out.client, |wire| {
            opening.encode(who.version, wire)
        });
        turn.out.events.push(who.login(false, None, turn.times));
        self.phase = Phase::Open(Box::new(Open::new(agreed, turn.times)));
        Ok(())
    }

    /// What no packet brings about: the upstream's CONNACK is late, or the client's proof has expired. Call it when
    /// [`deadline`](Self::deadline) has come, and as often as sessions are looked at. Says why the session is over.
    pub fn tick(&mut self, turn: &mut Turn<'_>) -> Option<Cause> {
        match &mut self.phase {
            Phase::Opening(greeting) if greeting.deadline <= turn.times.now => {
                turn.gate.reached.relay_open_ms.add();
                Some(self.fail(Fault::Late, turn))
            }
            Phase::Opening(_) => None,
            Phase::Open(open) => {
                let who = &mut self.who;
                let mut talk = Talk { who, open, turn };
                let Err(over) = talk.check_standing() else {
                    talk.keep_silent_awake();
                    return None;
                };
                self.end(&over, turn);
                Some(over)
            }
            Phase::Ended(cause) => Some(*cause),
        }
    }

    /// When the upstream must have answered CONNECT, if it has not.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Opening(greeting) => Some(greeting.deadline),
            Phase::Open(_) | Phase::Ended(_) => None,
        }
    }

    /// The connection to the upstream broke, or could not be made.
    pub fn upstream_lost(&mut self, turn: &mut Turn<'_>) -> Cause {
        match &self.phase {
            Phase::Ended(cause) => *cause,
            Phase::Opening(_) | Phase::Open(_) => self.fail(Fault::Lost, turn),
        }
    }

    /// The client's rights are new: what it may not have any more is given up upstream.
    pub fn renew(&mut self, principal: Principal, turn: &mut Turn<'_>) {
        match &mut self.phase {
            Phase::Open(open) => {
                let who = &mut self.who;
                Talk { who, open, turn }.renew(principal);
            }
            Phase::Opening(_) | Phase::Ended(_) => self.who.principal = principal,
        }
    }

    /// Whether the client may be read, with so many bytes waiting to be written to the upstream.
    pub fn may_read_client(&mut self, upstream_pending: usize, gate: &Gate) -> bool {
        let full = is_full(&mut self.upstream_full, upstream_pending, gate);
        matches!(&self.phase, Phase::Open(open) if !open.waiting) && !full
    }

    /// Whether the upstream may be read, with so many bytes waiting to be written to the client.
    pub fn may_read_upstream(&mut self, client_pending: usize, gate: &Gate) -> bool {
        let full = is_full(&mut self.client_full, client_pending, gate);
        !matches!(&self.phase, Phase::Ended(_)) && !full
    }

    /// The event of a re-authentication, which the gate has judged.
    #[must_use]
    pub fn login_again(&self, reason: Option<RefusalReason>, times: Times) -> Event {
        self.who.login(true, reason, times)
    }

    /// Who is relayed.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.who.principal
    }

    /// The client id of the session, as the client knows it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.who.client_id
    }

    /// Seconds between packets of the client, as CONNACK said; 0 is no limit, and holds until CONNACK.
    #[must_use]
    pub fn keep_alive_s(&self) -> u16 {
        match &self.phase {
            Phase::Open(open) => open.agreed.terms.keep_alive_s,
            Phase::Opening(_) | Phase::Ended(_) => 0,
        }
    }
}

/// Counts when a buffer becomes full, not how often somebody asks.
fn is_full(was: &mut bool, pending: usize, gate: &Gate) -> bool {
    let full = pending > gate.limits.relay_bytes;
    if full && !*was {
        gate.reached.relay_bytes.add();
    }
    *was = full;
    full
}

impl Open {
    fn new(agreed: Agreed, times: Times) -> Self {
        Self {
            agreed,
            published: Window::default(),
            released: Ids::default(),
            dropped: Ids::default(),
            delivered: Window::default(),
            held: Ids::default(),
            asked: Asked::default(),
            filters: Filters::default(),
            pings: 0,
            spoke: times.now,
            waiting: false,
        }
    }
}

/// An open session and everything that a packet of it may touch.
pub(super) struct Talk<'r, 't> {
    pub(super) who: &'r mut Who,
    pub(super) open: &'r mut Open,
    pub(super) turn: &'r mut Turn<'t>,
}
