//! The endpoint as peers see it: bytes in, bytes out, under a manual clock and seeded randomness.
//!
//! | file | what it holds |
//! |---|---|
//! | `amplification.rs` | what an unproven address can make us send |
//! | `forms.rs` | options, methods and paths; discovery, challenge and keys |
//! | `hostile.rs` | random and mutated datagrams |
//! | `refusals.rs` | everybody who gets no token: code, audit event, nothing changed |
//! | `server.rs` | the shell on real sockets |
//! | `tokens.rs` | who gets one, and that repetitions get the same |

mod amplification;
mod forms;
mod hostile;
mod refusals;
mod server;
mod tokens;

use super::endpoint::Bytes;
use super::{Deps, Endpoint, Outcome};
use crate::authn::ChallengeKeys;
use crate::authz::Policy;
use crate::clock::{Clock, ManualClock};
use crate::identity::{MemoryStore, NewDevice, Registry, Transition};
use crate::keys::{DataDir, IdentityKeys, TokenKeys};
use crate::rng::{Random, SeededRandom};
use crate::telemetry::EventKind;
use crate::telemetry::reason::RefusalReason;
use crate::token::TokenIssuer;
use coap_lite::{CoapOption, Packet};
use keygate_protocol::ace::{GrantType, TokenRequest};
use keygate_protocol::coap::{Code, Echo, Path, RequestContext, sign_request};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::ident::Id;
use keygate_protocol::time::{Millis, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;

const BROKER: &str = "kg-7f3a9c";
const GATEWAY: &str = "gw-1";
const WALL: UnixTime = UnixTime(1_900_000_000);
const TOKEN_LIFE_S: u64 = 3_600;
const CONFIRMABLE: u8 = 0x40;
const NON_CONFIRMABLE: u8 = 0x50;

/// A broker's CoAP endpoint with one device, `gw-1`, in the group `g1`.
struct World {
    endpoint: Endpoint,
    clock: Arc<ManualClock>,
    registry: Registry,
    challenges: Arc<ChallengeKeys>,
    token_keys: Arc<TokenKeys>,
    identity_keys: IdentityKeys,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::seeded(1)
    }

    /// Another seed is another start of a broker.
    fn seeded(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let id = Id::new(BROKER).unwrap();
        let path = directory.path().join("data");
        let data = DataDir::init(&path, Some(id), WALL, &mut random).unwrap();
        let registry = Registry::new(MemoryStore::new(), &mut random).unwrap();
        let token_keys = Arc::new(data.token_keys().unwrap());
        let identity_keys = data.identity_keys().unwrap();
        let challenges = Arc::new(ChallengeKeys::new(BROKER, &mut random));
        let clock = Arc::new(ManualClock::at(Millis(5_000), WALL));
        let deps = Deps {
            broker_id: BROKER.into(),
            directory: registry.directory(),
            challenges: Arc::clone(&challenges),
            policy: Arc::new(Policy::builtin()),
            issuer: TokenIssuer::new(BROKER, [], TOKEN_LIFE_S).unwrap(),
            token_keys: Arc::clone(&token_keys),
            identity_keys: identity_keys.clone(),
            random: Box::new(random),
        };
        let endpoint = Endpoint::new(deps, clock.now(), clock.wall());
        let mut gateway = NewDevice::new(GATEWAY, key(1).public_key());
        gateway.groups = vec!["g1".into()];
        registry.add(&gateway).unwrap();
        Self {
            endpoint,
            clock,
            registry,
            challenges,
            token_keys,
            identity_keys,
            _directory: directory,
        }
    }

    fn enrol(&self, id: &str, key: &SoftwareSigner) {
        let device = NewDevice::new(id, key.public_key());
        self.registry.add(&device).unwrap();
    }

    fn transition(&self, id: &str, transition: Transition) {
        self.registry.transition(id, transition).unwrap();
    }

    fn send_from(&mut self, peer: SocketAddr, datagram: &[u8]) -> Outcome {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.endpoint.handle(datagram, peer, now, wall)
    }

    fn send(&mut self, datagram: &[u8]) -> Outcome {
        self.send_from(peer(), datagram)
    }

    /// Sends and reads the reply.
    fn ask(&mut self, datagram: &[u8]) -> Seen {
        Seen::of(&self.send(datagram))
    }

    /// A fresh Echo for the usual peer.
    fn echo(&mut self) -> Vec<u8> {
        self.echo_for(peer())
    }

    fn echo_for(&mut self, peer: SocketAddr) -> Vec<u8> {
        let seen = Seen::of(&self.send_from(peer, &Ask::post("token").bytes()));
        assert_eq!((seen.code, &seen.event), ("4.01".into(), &None));
        seen.echo.expect("a challenge")
    }

    /// A request for a token, signed over a fresh Echo.
    fn token_request(&mut self) -> Ask {
        let echo = self.echo();
        Ask::token(&echo, &key(1), &wanted(GATEWAY))
    }
}

fn peer() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn key(seed: u64) -> SoftwareSigner {
    // Far from the seeds of worlds, whose first keys would otherwise be these.
    let random: &mut dyn Random = &mut SeededRandom::new(1_000_000 + seed);
    SoftwareSigner::from_seed(&random.array())
}

/// The plainest ACE map.
fn wanted(id: &str) -> Vec<u8> {
    encoded(&TokenRequest {
        req_cnf: None,
        audience: None,
        scope: None,
        client_id: Id::new(id).unwrap(),
        grant_type: Some(GrantType::ClientCredentials),
    })
}

fn encoded(request: &TokenRequest<'_>) -> Vec<u8> {
    let mut bytes = Bytes::default();
    request.encode(&mut bytes).unwrap();
    bytes.0
}

/// What a signature is for.
#[derive(Clone, Copy)]
struct For<'a> {
    broker_id: &'a str,
    echo: &'a [u8],
    code: Code,
    path: &'a [&'a str],
}

fn signed(context: For<'_>, signer: &SoftwareSigner, payload: &[u8]) -> Vec<u8> {
    let path = Path::new(context.path.iter().copied()).unwrap();
    let context = RequestContext {
        broker_id: Id::new(context.broker_id).unwrap(),
        echo: Echo::new(context.echo).unwrap(),
        code: context.code,
        path: &path,
    };
    let mut body = Bytes::default();
    sign_request(&context, payload, &mut signer.clone(), &mut body).unwrap();
    body.0
}

/// A request in the making; options in the order of their numbers.
#[derive(Clone, Debug)]
struct Ask {
    kind: u8,
    code: u8,
    message_id: u16,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

impl Ask {
    fn new(code: u8, path: &[&str]) -> Self {
        let segments = path.iter().map(|segment| (11, segment.as_bytes().to_vec()));
        Self {
            kind: CONFIRMABLE,
            code,
            message_id: 0x1234,
            token: vec![1, 2, 3, 4],
            options: segments.collect(),
            payload: Vec::new(),
        }
    }

    fn get(path: &str) -> Self {
        Self::new(1, &[path])
    }

    fn post(path: &str) -> Self {
        Self::new(2, &[path])
    }

    /// POST /token, signed as it should be.
    fn token(echo: &[u8], signer: &SoftwareSigner, payload: &[u8]) -> Self {
        let context = For {
            broker_id: BROKER,
            echo,
            code: Code::POST,
            path: &["token"],
        };
        Self::post("token")
            .with(12, &[18])
            .with(252, echo)
            .payload(&signed(context, signer, payload))
    }

    fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.options.push((number, value.to_vec()));
        self.options.sort_by_key(|(number, _)| *number);
        self
    }

    fn without(mut self, number: u16) -> Self {
        self.options.retain(|(other, _)| *other != number);
        self
    }

    fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    fn message_id(mut self, id: u16) -> Self {
        self.message_id = id;
        self
    }

    fn non_confirmable(mut self) -> Self {
        self.kind = NON_CONFIRMABLE;
        self
    }

    fn token_bytes(mut self, token: &[u8]) -> Self {
        self.token = token.to_vec();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind | self.token.len() as u8, self.code];
        bytes.extend(self.message_id.to_be_bytes());
        bytes.extend(&self.token);
        let mut last = 0;
        for (number, value) in &self.options {
            let (delta, delta_more) = nibble(number - last);
            let (length, length_more) = nibble(value.len() as u16);
            bytes.push(delta << 4 | length);
            bytes.extend(delta_more);
            bytes.extend(length_more);
            bytes.extend(value);
            last = *number;
        }
        if !self.payload.is_empty() {
            bytes.push(0xff);
            bytes.extend(&self.payload);
        }
        bytes
    }
}

fn nibble(value: u16) -> (u8, Vec<u8>) {
    match value {
        0..=12 => (value as u8, vec![]),
        13..=268 => (13, vec![(value - 13) as u8]),
        _ => (14, (value - 269).to_be_bytes().to_vec()),
    }
}

/// A reply, read by coap-lite.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    first: u8,
    code: String,
    message_id: u16,
    token: Vec<u8>,
    content_format: Option<u16>,
    max_age: Option<u32>,
    size1: Option<u32>,
    echo: Option<Vec<u8>>,
    payload: Vec<u8>,
    event: Option<EventKind>,
}

impl Seen {
    fn of(outcome: &Outcome) -> Self {
        let bytes = outcome.reply.as_ref().expect("a reply");
        let event = outcome.event.clone().map(|event| event.kind);
        Self::read(bytes, event)
    }

    fn read(bytes: &[u8], event: Option<EventKind>) -> Self {
        let packet = Packet::from_bytes(bytes).unwrap();
        let raw = |number| packet.get_first_option(CoapOption::from(number)).cloned();
        let uint = |number| raw(number).map(|v| v.iter().fold(0, |n, b| n << 8 | u32::from(*b)));
        Self {
            first: bytes[0] & 0xf0,
            code: packet.header.get_code(),
            message_id: packet.header.message_id,
            token: packet.get_token().to_vec(),
            content_format: uint(12).map(|format| format as u16),
            max_age: uint(14),
            size1: uint(60),
            echo: raw(252),
            payload: packet.payload.clone(),
            event,
        }
    }

    fn reason(&self) -> Option<RefusalReason> {
        match &self.event {
            Some(EventKind::Token { reason, .. }) => *reason,
            _ => None,
        }
    }

    fn identity(&self) -> Option<&str> {
        self.event.as_ref().and_then(EventKind::identity)
    }
}
