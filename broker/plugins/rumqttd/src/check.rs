//! The verdict on a login.
use crate::following::Following;
use crate::setup::{Setup, SetupError};
use keygate_broker::authn::{
    Accepted, AssertionLogin, Authn, AuthnConfig, ChallengeKeys, ListenerRules, Method, Refusal,
    RefusalReason,
};
use keygate_broker::clock::Clock;
use keygate_broker::coap;
use keygate_broker::identity::Directory;
use keygate_broker::rng::SystemRandom;
use keygate_broker::telemetry::event::{Listener, Origin, Outcome, peer_text};
use keygate_broker::telemetry::{Audit, Event, EventKind};
use keygate_protocol::time::{Millis, UnixTime};
use rumqttd::{AuthHandler, ServerSettings};
use std::fmt;
use std::future::ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// rumqttd does not tell its handler where a client comes from.
const PEER_UNKNOWN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Says who may log in to a rumqttd. Cheap to clone; all clones are one check, with one memory of used assertions.
///
/// [`guard`](Self::guard) each listener, then start the broker; [`serve_challenges`](Self::serve_challenges) for devices
/// without a clock. It fails closed: whatever goes wrong inside, a panic included, is a refusal.
#[derive(Clone)]
pub struct LoginCheck {
    inner: Arc<Inner>,
}

struct Inner {
    authn: Authn,
    broker_id: Arc<str>,
    directory: Arc<Directory>,
    challenges: Arc<ChallengeKeys>,
    rules: ListenerRules,
    clock: Arc<dyn Clock>,
    audit: Option<Audit>,
    following: Option<Following>,
}

impl LoginCheck {
    /// Puts the parts together and, with a data directory, starts the thread that follows it.
    ///
    /// # Errors
    /// [`SetupError::BrokerId`], [`SetupError::Thread`].
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        let Setup {
            broker_id,
            directory,
            challenges,
            clock,
            ..
        } = setup;
        let authn = Authn::new(AuthnConfig {
            broker_id: broker_id.clone(),
            broker_id_aliases: setup.broker_id_aliases,
            // They prove the broker to devices, in a login that rumqttd does not have.
            identity: Box::default(),
            directory: Arc::clone(&directory),
            challenges: Arc::clone(&challenges),
            started: clock.wall(),
            session_max_s: None,
            replay: setup.replay,
        })?;
        let following = setup
            .follower
            .map(|follower| Following::start(follower, Arc::clone(&clock)))
            .transpose()
            .map_err(SetupError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                authn,
                broker_id: broker_id.into(),
                directory,
                challenges,
                rules: setup.rules,
                clock,
                audit: setup.audit,
                following,
            }),
        })
    }

    /// Puts the check in front of a listener of rumqttd, in place of whatever passwords it was configured with.
    pub fn guard(&self, listener: &mut ServerSettings) {
        listener.connections.auth = None;
        listener.connections.external_auth = Some(self.handler());
    }

    /// The check as rumqttd wants it, for
    /// [`ConnectionSettings::external_auth`](rumqttd::ConnectionSettings::external_auth). The future is ready at once:
    /// the work, at most one signature check, is done by the call.
    #[must_use]
    pub fn handler(&self) -> AuthHandler {
        let check = self.clone();
        Arc::new(move |client_id, username, password| {
            Box::pin(ready(check.admits(&client_id, &username, &password)))
        })
    }

    /// The verdict on one login, recorded if there is an audit trail. Never panics, and waits for nothing but a lock
    /// that is held for microseconds.
    #[must_use]
    pub fn admits(&self, client_id: &str, username: &str, password: &str) -> bool {
        let inner = &*self.inner;
        let (now, wall) = (inner.clock.now(), inner.clock.wall());
        let judged = AssertUnwindSafe(|| inner.judge(client_id, username, password, now, wall));
        let verdict = catch_unwind(judged)
            .unwrap_or_else(|_| Err(Refusal::new(RefusalReason::BrokerFault, client_id)));
        if let Err(refusal) = &verdict {
            tracing::info!(client_id = &*peer_text(client_id), reason = %refusal.reason, "login refused");
        }
        if let Some(audit) = &inner.audit {
            audit.record(event(client_id, &verdict, wall));
        }
        verdict.is_ok()
    }

    /// Answers `/challenge` over CoAP (SPEC.md §8.2) at this address, on a thread of its own, until the server is
    /// dropped. Nothing else is there but `/.well-known/core`: no tokens.
    ///
    /// Bind the address that devices use; the answers of a wildcard address may leave from another one.
    ///
    /// # Errors
    /// The address is taken or not ours, or the system gives no thread.
    pub fn serve_challenges(&self, address: SocketAddr) -> io::Result<coap::Server> {
        let inner = &*self.inner;
        let endpoint = coap::Endpoint::for_challenges(
            Arc::clone(&inner.broker_id),
            Arc::clone(&inner.challenges),
            Box::new(SystemRandom),
            inner.clock.now(),
            inner.clock.wall(),
        );
        // A challenge that is given out is no event, so that nothing is lost without a trail.
        let audit = inner.audit.clone();
        let audit = audit.unwrap_or_else(|| Audit::in_memory(1).0);
        let socket = UdpSocket::bind(address)?;
        coap::Server::start(vec![socket], endpoint, Arc::clone(&inner.clock), audit)
    }

    /// Whether the check knows what its data directory holds: false when that has not been readable for ten seconds, and
    /// nobody is let in. For a health check.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.inner.is_current(self.inner.clock.now())
    }

    /// Who exists, as the check sees it.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.inner.directory
    }
}

impl Inner {
    fn is_current(&self, now: Millis) -> bool {
        let following = self.following.as_ref();
        following.is_none_or(|following| following.is_current(now))
    }

    fn judge(
        &self,
        client_id: &str,
        username: &str,
        password: &str,
        now: Millis,
        wall: UnixTime,
    ) -> Result<Accepted, Refusal> {
        if !self.is_current(now) {
            return Err(Refusal::new(RefusalReason::BrokerFault, client_id));
        }
        // To rumqttd a field that is empty and one that is not there are the same.
        if password.is_empty() {
            return Err(Refusal::new(RefusalReason::NoCredentials, client_id));
        }
        self.authn.assertion(&AssertionLogin {
            client_id,
            username: Some(username).filter(|name| !name.is_empty()),
            password: password.as_bytes(),
            listener: &self.rules,
            now,
            wall,
        })
    }
}

fn event(client_id: &str, verdict: &Result<Accepted, Refusal>, wall: UnixTime) -> Event {
    let accepted = verdict.as_ref().ok().map(|accepted| &accepted.principal);
    let refusal = verdict.as_ref().err();
    let identity = match (accepted, refusal) {
        (Some(principal), _) => Some(principal.id()),
        (None, refusal) => refusal.and_then(|refusal| refusal.identity.as_deref()),
    };
    Event {
        wall,
        kind: EventKind::Login {
            outcome: match verdict {
                Ok(_) => Outcome::Accepted,
                Err(_) => Outcome::Refused,
            },
            reason: refusal.map(|refusal| refusal.reason),
            identity: identity.map(peer_text),
            client_id: peer_text(client_id),
            method: Some(Method::Assertion),
            key_id: accepted.and_then(|principal| principal.key_id),
            again: false,
            origin: Origin {
                listener: Listener::Mqtt,
                peer: PEER_UNKNOWN,
                connection: None,
            },
        },
    }
}

impl fmt::Debug for LoginCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginCheck")
            .field("broker_id", &self.inner.broker_id)
            .field("rules", &self.inner.rules)
            .field("devices", &self.inner.directory.len())
            .finish_non_exhaustive()
    }
}
