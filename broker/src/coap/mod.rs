//! The CoAP door over plain UDP: discovery, challenges, public keys, and tokens for signed requests (SPEC.md §8).
//!
//! A datagram's way: [`exchange`] says whether it is a request, [`message`] reads it, [`Endpoint`] routes it, the
//! resource answers. Nothing about an exchange is kept (see [`exchange`] for why); nothing is signed or verified for an
//! address that has not shown, by returning an Echo, that it can be reached.
//!
//! | item | what it is |
//! |---|---|
//! | [`Endpoint`] | the whole protocol without sockets: a datagram in, at most one datagram and one event out |
//! | [`Server`] | the shell: one thread, its sockets |
//! | [`echo`] | the stateless challenge of RFC 9175 |
//! | [`throttle`] | how many signatures are verified for whom |
//! | [`resources`], [`links`], `keys.rs`, `token.rs` | what is served |
//! | [`limits`] | every bound, and why that number |
//!
//! ```
//! use keygate_broker::authn::ChallengeKeys;
//! use keygate_broker::authz::Policy;
//! use keygate_broker::clock::{Clock, SystemClock};
//! use keygate_broker::coap::{Deps, Endpoint, Server};
//! use keygate_broker::identity::{MemoryStore, Registry};
//! use keygate_broker::keys::DataDir;
//! use keygate_broker::rng::SystemRandom;
//! use keygate_broker::telemetry::Audit;
//! use keygate_broker::token::{TOKEN_LIFE_S, TokenIssuer};
//! use std::net::UdpSocket;
//! use std::sync::Arc;
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! let clock = Arc::new(SystemClock::start());
//! let data = DataDir::open_or_init(&path, clock.wall(), &mut SystemRandom)?;
//! let registry = Registry::new(MemoryStore::new(), &mut SystemRandom)?;
//! let broker_id = data.broker_id().as_str();
//! let deps = Deps {
//!     broker_id: broker_id.into(),
//!     directory: registry.directory(),
//!     challenges: Arc::new(ChallengeKeys::new(broker_id, &mut SystemRandom)),
//!     policy: Arc::new(Policy::builtin()),
//!     issuer: TokenIssuer::new(broker_id, [], TOKEN_LIFE_S)?,
//!     token_keys: Arc::new(data.token_keys()?),
//!     identity_keys: data.identity_keys()?,
//!     random: Box::new(SystemRandom),
//! };
//! let endpoint = Endpoint::new(deps, clock.now(), clock.wall());
//! let (audit, _recorded) = Audit::in_memory(16);
//! let mut server = Server::start(vec![UdpSocket::bind("127.0.0.1:0")?], endpoint, clock, audit)?;
//!
//! // A CoAP ping is answered with a Reset.
//! let peer = UdpSocket::bind("127.0.0.1:0")?;
//! peer.send_to(&[0x40, 0x00, 0x12, 0x34], server.addresses()[0])?;
//! let mut answer = [0; 16];
//! assert_eq!(peer.recv(&mut answer)?, 4);
//! assert_eq!(answer[..4], [0x70, 0x00, 0x12, 0x34]);
//! server.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod echo;
mod endpoint;
pub mod exchange;
mod keys;
pub mod limits;
pub mod links;
pub mod message;
pub mod resources;
mod server;
pub mod throttle;
mod token;

pub use endpoint::{Counters, Deps, Endpoint, Outcome};
pub use server::Server;

#[cfg(test)]
mod tests;
