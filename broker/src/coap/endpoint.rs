//! A datagram in, at most one datagram out.
use super::echo::{EchoFault, EchoKey};
use super::exchange::{self, Step};
use super::limits::{
    PAYLOAD_MAX, UNPROVEN_ANSWER_ALLOWANCE, UNPROVEN_ANSWER_MAX, UNPROVEN_REPORTS_BURST,
    UNPROVEN_REPORTS_PER_S,
};
use super::message::{AnswerCode, Reply, Request, format};
use super::resources::Resource;
use super::throttle::{Bucket, Throttle};
use super::token::{TokenDesk, refused};
use super::{keys, links};
use crate::authn::ChallengeKeys;
use crate::authz::Policy;
use crate::identity::Directory;
use crate::keys::{IdentityKeys, TokenKeys};
use crate::rng::Random;
use crate::telemetry::event::{Listener, Origin};
use crate::telemetry::reason::RefusalReason;
use crate::telemetry::{Event, EventKind};
use crate::token::TokenIssuer;
use keygate_protocol::coap::ChallengeAnswer;
use keygate_protocol::ident::Id;
use keygate_protocol::sink::{CapacityError, Sink};
use keygate_protocol::time::{Millis, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;

/// What the endpoint works with.
pub struct Deps {
    /// The name under which requests are signed for us.
    pub broker_id: Arc<str>,
    /// Who there is.
    pub directory: Arc<Directory>,
    /// Makes what `/challenge` gives out; the same that checks assertions.
    pub challenges: Arc<ChallengeKeys>,
    /// What they may do.
    pub policy: Arc<Policy>,
    /// Makes tokens.
    pub issuer: TokenIssuer,
    /// What signs tokens, and what `/keys` shows.
    pub token_keys: Arc<TokenKeys>,
    /// What signs answers: the current one.
    pub identity_keys: IdentityKeys,
    /// For keys of its own and for challenges.
    pub random: Box<dyn Random>,
}

/// What became of one datagram.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The datagram to send back to the same peer from the same socket.
    pub reply: Option<Vec<u8>>,
    /// For the audit trail.
    pub event: Option<Event>,
}

/// How often what happened, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Rejected or ignored before they were a request.
    pub rejected: u64,
    /// Answered with a fresh Echo.
    pub challenged: u64,
    /// Tokens issued, repetitions included.
    pub tokens: u64,
    /// Token requests refused after a valid Echo.
    pub refused: u64,
    /// Token requests turned away unread because of too many.
    pub throttled: u64,
}

/// The CoAP server without its sockets: pure but for the randomness that it was given, and quick: at most one signature
/// is verified and two are made for a datagram.
///
/// Call [`handle`](Self::handle) for each datagram, send [`Outcome::reply`] and record [`Outcome::event`]; there is no
/// timer. Between datagrams it keeps the throttle's counts and nothing about exchanges (see [`exchange`]).
pub struct Endpoint {
    broker_id: Arc<str>,
    challenges: Arc<ChallengeKeys>,
    random: Box<dyn Random>,
    echo: EchoKey,
    /// None where challenges are all that is given out.
    tokens: Option<Tokens>,
    unproven_reports: Bucket,
    counters: Counters,
}

/// What is behind `/token` and `/keys`.
struct Tokens {
    desk: TokenDesk,
    keys: Arc<TokenKeys>,
}

/// An answer and what the audit trail shall know.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) event: Option<EventKind>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, event: None }
    }
}

/// Where and when a request came in.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    pub(super) now: Millis,
    pub(super) wall: UnixTime,
}

impl Arrival {
    pub(super) fn event(&self, kind: EventKind) -> Event {
        Event {
            wall: self.wall,
            kind,
        }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin {
            listener: Listener::Coap,
            peer: self.peer,
            connection: None,
        }
    }
}

impl Endpoint {
    /// An endpoint whose Echo values begin to count now.
    #[must_use]
    pub fn new(mut deps: Deps, now: Millis, wall: UnixTime) -> Self {
        let throttle = Throttle::new(deps.random.array());
        let desk = TokenDesk::new(&deps, throttle);
        let keys = deps.token_keys;
        let challenges = deps.challenges;
        Self {
            tokens: Some(Tokens { desk, keys }),
            ..Self::for_challenges(deps.broker_id, challenges, deps.random, now, wall)
        }
    }

    /// An endpoint that gives out challenges and knows no key and no device: `/token` and `/keys` are not there. For
    /// brokers that are not ours and check assertions with [`Authn`](crate::authn::Authn) all the same.
    #[must_use]
    pub fn for_challenges(
        broker_id: Arc<str>,
        challenges: Arc<ChallengeKeys>,
        mut random: Box<dyn Random>,
        now: Millis,
        wall: UnixTime,
    ) -> Self {
        Self {
            broker_id,
            challenges,
            echo: EchoKey::new(random.array(), now, wall),
            random,
            tokens: None,
            unproven_reports: Bucket::default(),
            counters: Counters::default(),
        }
    }

    /// Takes one datagram. `datagram` may be cut at one byte more than [`DATAGRAM_MAX`](super::limits::DATAGRAM_MAX).
    pub fn handle(
        &mut self,
        datagram: &[u8],
        peer: SocketAddr,
        now: Millis,
        wall: UnixTime,
    ) -> Outcome {
        self.counters.datagrams += 1;
        let arrival = Arrival { peer, now, wall };
        let (header, answer) = match exchange::receive(datagram) {
            Step::Ignore(_) => {
                self.counters.rejected += 1;
                return Outcome::default();
            }
            Step::Reset(bytes, _) => {
                self.counters.rejected += 1;
                return Outcome {
                    reply: Some(bytes),
                    event: None,
                };
            }
            Step::Oversized(header) => (header, Reply::code(AnswerCode::TooLarge).into()),
            Step::Answer(request) => {
                let answer = self.answer(&request, &arrival);
                let answer = self.guard(answer, &request, datagram.len(), &arrival);
                (request.header, answer)
            }
        };
        Outcome {
            reply: Some(answer.reply.encode(&header)),
            event: answer.event.map(|kind| arrival.event(kind)),
        }
    }

    /// How often what happened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is wrong for every resource first, then the resource.
    fn answer(&mut self, request: &Request, arrival: &Arrival) -> Answer {
        if request.bad_option.is_some() {
            return Reply::code(AnswerCode::BadOption).into();
        }
        if request.wants_proxy {
            return Reply::code(AnswerCode::ProxyingNotSupported).into();
        }
        let Some(resource) = Resource::at(&request.path).filter(|at| self.offers(*at)) else {
            return Reply::code(AnswerCode::NotFound).into();
        };
        if !resource.takes(request.header.code) {
            return Reply::code(AnswerCode::MethodNotAllowed).into();
        }
        if let Some(code) = refuse_form(resource, request) {
            return Reply::code(code).into();
        }
        let reply = match resource {
            Resource::Links => Reply::body(
                AnswerCode::Content,
                format::LINK_FORMAT,
                links::select(&request.query, |resource| self.offers(resource)).into_bytes(),
            ),
            Resource::Challenge => self.challenge(arrival),
            Resource::Keys => match &self.tokens {
                Some(tokens) => keys::answer(&tokens.keys, arrival.wall),
                None => Reply::code(AnswerCode::NotFound),
            },
            Resource::Token => return self.token(request, arrival),
        };
        match request.block2 {
            // No answer here is so long that a peer with room for a datagram needs it in blocks.
            Some(block) if reply.payload.len() > block.size() => {
                Reply::code(AnswerCode::BadOption).into()
            }
            _ => reply.into(),
        }
    }

    fn offers(&self, resource: Resource) -> bool {
        match resource {
            Resource::Links | Resource::Challenge => true,
            Resource::Keys | Resource::Token => self.tokens.is_some(),
        }
    }

    fn challenge(&mut self, arrival: &Arrival) -> Reply {
        let cnonce = self.challenges.issue(arrival.now, &mut *self.random);
        let mut body = Bytes::default();
        let encoded = Id::new(&self.broker_id).ok().and_then(|broker_id| {
            let answer = ChallengeAnswer {
                broker_id,
                time: arrival.wall,
                cnonce: &cnonce,
            };
            answer.encode(&mut body).ok()
        });
        match encoded {
            Some(()) => Reply::body(AnswerCode::Content, format::CBOR, body.0).max_age(0),
            None => Reply::code(AnswerCode::InternalError),
        }
    }

    /// Freshness first, before anybody spends a signature check.
    fn token(&mut self, request: &Request, arrival: &Arrival) -> Answer {
        let Some(tokens) = &mut self.tokens else {
            return Reply::code(AnswerCode::NotFound).into();
        };
        let echo = request.echo.as_deref();
        match self
            .echo
            .check(echo, arrival.peer, arrival.now, arrival.wall)
        {
            Ok(made) => {
                let answer = tokens.desk.answer(request, made, arrival);
                match answer.reply.code {
                    AnswerCode::Created => self.counters.tokens += 1,
                    AnswerCode::TooManyRequests | AnswerCode::Unavailable => {
                        self.counters.throttled += 1;
                    }
                    _ => self.counters.refused += 1,
                }
                answer
            }
            Err(fault) => Answer {
                event: self.report(fault, request, arrival),
                reply: self.fresh_echo(arrival),
            },
        }
    }

    /// A first request asks for an Echo and is no event; one that is signed already, or brings an Echo that does not
    /// count, may be a replay.
    fn report(
        &mut self,
        fault: EchoFault,
        request: &Request,
        arrival: &Arrival,
    ) -> Option<EventKind> {
        let reason = match fault {
            EchoFault::Missing if request.content_format != Some(format::COSE_SIGN1) => {
                return None;
            }
            EchoFault::Missing => RefusalReason::EchoMissing,
            EchoFault::Foreign | EchoFault::Stale => RefusalReason::EchoStale,
        };
        let used = self
            .unproven_reports
            .used(UNPROVEN_REPORTS_PER_S, arrival.now);
        if used >= UNPROVEN_REPORTS_BURST {
            return None;
        }
        self.unproven_reports
            .charge(1, UNPROVEN_REPORTS_PER_S, arrival.now);
        Some(refused(reason, None, None, arrival))
    }

    fn fresh_echo(&mut self, arrival: &Arrival) -> Reply {
        self.counters.challenged += 1;
        let mut reply = Reply::code(AnswerCode::Unauthorized).max_age(0);
        reply.echo = Some(self.echo.issue(arrival.peer, arrival.now, arrival.wall));
        reply
    }

    /// No stranger gets us to send a third party much more than it sent us (RFC 7252 §11.3, RFC 9175 §2.6): an answer
    /// that is too large for an unproven address is a challenge instead.
    fn guard(
        &mut self,
        answer: Answer,
        request: &Request,
        asked: usize,
        arrival: &Arrival,
    ) -> Answer {
        let allowed = (3 * asked + UNPROVEN_ANSWER_ALLOWANCE).min(UNPROVEN_ANSWER_MAX);
        if answer.reply.encode(&request.header).len() <= allowed {
            return answer;
        }
        let echo = request.echo.as_deref();
        match self
            .echo
            .check(echo, arrival.peer, arrival.now, arrival.wall)
        {
            Ok(_) => answer,
            Err(_) => Answer {
                reply: self.fresh_echo(arrival),
                event: answer.event,
            },
        }
    }
}

/// Options that ask for what is not done here, whatever the resource.
fn refuse_form(resource: Resource, request: &Request) -> Option<AnswerCode> {
    let blocks = [request.block1, request.block2];
    if blocks
        .iter()
        .flatten()
        .any(|block| block.size_exponent == 7)
    {
        return Some(AnswerCode::BadRequest);
    }
    if request
        .block1
        .is_some_and(|block| block.more || block.number > 0)
        || request.payload.len() > PAYLOAD_MAX
    {
        return Some(AnswerCode::TooLarge);
    }
    if request.block2.is_some_and(|block| block.number > 0)
        || !(request.query.is_empty() || resource.takes_query())
    {
        return Some(AnswerCode::BadOption);
    }
    (!resource.satisfies(request)).then_some(AnswerCode::NotAcceptable)
}

/// A growing buffer as the encoders' sink. What is written into it here is bounded by what it is written from.
#[derive(Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
