//! The door: one CONNECT in, a principal, a challenge or a refusal out.
use super::assertion::{AssertionLogin, Spent};
use super::challenge::ChallengeKeys;
use super::kg_ed25519::{OpenMessage, PendingProof};
use super::principal::{Principal, check_state, check_validity, earlier};
use super::refusal::Refusal;
use super::replay::ReplayBounds;
use super::rules::{ListenerRules, Suffix};
use super::{Method, jws};
use crate::identity::{Device, DeviceKey, Directory, Revision};
use crate::rng::Random;
use crate::telemetry::reason::RefusalReason as Reason;
use keygate_protocol::crypto::{Signature, Signer, SoftwareSigner};
use keygate_protocol::ident::{Id, IdError, KeyId};
use keygate_protocol::login::{AuthData, METHOD, Opening};
use keygate_protocol::mqtt::{Connect, Version};
use keygate_protocol::time::{Millis, UnixTime};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Decides who a peer is. One for all shards; it never waits for anything but a lock that is held for microseconds.
///
/// For a CONNECT: [`begin`](Self::begin). If it returns a challenge, send that in AUTH 18, keep the [`PendingProof`] with
/// the connection, and hand the next AUTH to [`prove`](Self::prove). For AUTH 19 on a live session:
/// [`reauthenticate`](Self::reauthenticate), then `prove`. When the identity store changes: [`recheck`](Self::recheck).
#[derive(Debug)]
pub struct Authn {
    pub(super) broker_id: Box<str>,
    aliases: Box<[Box<str>]>,
    pub(super) identity: Box<[SoftwareSigner]>,
    pub(super) identity_key_ids: Box<[KeyId]>,
    pub(super) directory: Arc<Directory>,
    pub(super) challenges: Arc<ChallengeKeys>,
    pub(super) started: UnixTime,
    session_max_s: Option<u64>,
    pub(super) spent: Mutex<Spent>,
}

/// What [`Authn`] works with.
#[derive(Debug)]
pub struct AuthnConfig {
    /// Our name.
    pub broker_id: Box<str>,
    /// Former names, still accepted as the audience of an assertion.
    pub broker_id_aliases: Box<[Box<str>]>,
    /// The identity keys that devices may have pinned: the current and the next one.
    pub identity: Box<[SoftwareSigner]>,
    /// Who exists.
    pub directory: Arc<Directory>,
    /// The key behind `/challenge`, shared with whoever serves that.
    pub challenges: Arc<ChallengeKeys>,
    /// When this process started, by the wall clock: its memory of used assertions begins then.
    pub started: UnixTime,
    /// The longest session, if there is a limit.
    pub session_max_s: Option<u64>,
    /// How many used assertions are remembered.
    pub replay: ReplayBounds,
}

/// A CONNECT, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// The packet.
    pub connect: &'a Connect<'a>,
    /// The rules of the listener.
    pub listener: &'a ListenerRules,
    /// The other end.
    pub peer: SocketAddr,
    /// Monotonic time.
    pub now: Millis,
    /// Wall clock.
    pub wall: UnixTime,
}

/// How a login begins.
#[derive(Debug)]
pub enum Begin {
    /// Send `data` in AUTH 18 and keep `pending` with the connection.
    Challenge {
        /// Authentication Data.
        data: AuthData,
        /// What the next AUTH is checked against.
        pending: Box<PendingProof>,
    },
    /// It is over already.
    Decided(Result<Accepted, Refusal>),
}

/// Somebody has proved who they are.
#[derive(Debug)]
pub struct Accepted {
    /// Who.
    pub principal: Principal,
    /// The broker's own proof, for the Authentication Data of CONNACK (or AUTH 00).
    pub auth_data: Option<Signature>,
    /// The client id of the session.
    pub client_id: Box<str>,
    /// Whether the client sent none and we chose this one: CONNACK says it (Assigned Client Identifier).
    pub assigned: bool,
}

/// The answer of one method. Only [`NotTried`](Self::NotTried) lets the next one be asked; nobody left is a no.
pub(super) enum Attempt {
    Accepted(Box<Accepted>),
    Challenged(AuthData, Box<PendingProof>),
    NotTried,
    Rejected(Refusal),
}

/// What a CONNECT brings as proof: one kind, or it is refused before any method sees it.
#[derive(Clone, Copy)]
pub(super) enum Credentials<'a> {
    Enhanced {
        method: &'a str,
        data: Option<&'a [u8]>,
    },
    /// No method, no password, no user name.
    None,
    Password(&'a [u8]),
}

impl Authn {
    /// Puts the parts together.
    pub fn new(config: AuthnConfig) -> Result<Self, IdError> {
        Id::new(&config.broker_id)?;
        config
            .broker_id_aliases
            .iter()
            .try_for_each(|alias| Id::new(alias).map(drop))?;
        Ok(Self {
            identity_key_ids: config.identity.iter().map(Signer::key_id).collect(),
            broker_id: config.broker_id,
            aliases: config.broker_id_aliases,
            identity: config.identity,
            directory: config.directory,
            challenges: config.challenges,
            started: config.started,
            session_max_s: config.session_max_s,
            spent: Mutex::new(Spent::new(config.replay)),
        })
    }

    /// Our name.
    #[must_use]
    pub fn broker_id(&self) -> &str {
        &self.broker_id
    }

    /// Judges a CONNECT.
    pub fn begin(&self, attempted: &Attempted<'_>, random: &mut dyn Random) -> Begin {
        let credentials = match check_shape(attempted.connect, attempted.listener) {
            Ok(credentials) => credentials,
            Err(reason) => {
                let refusal = Refusal::new(reason, attempted.connect.client_id);
                return Begin::Decided(Err(refusal));
            }
        };
        for method in &attempted.listener.methods {
            let attempt = match method {
                Method::KgEd25519 => self.try_kg_ed25519(attempted, credentials, random),
                Method::Assertion => self.try_assertion(attempted, credentials, random),
                Method::Anonymous => self.try_anonymous(attempted, credentials, random),
                // Belongs to another door.
                Method::SignedRequest => Attempt::NotTried,
            };
            match attempt {
                Attempt::Accepted(accepted) => return Begin::Decided(Ok(*accepted)),
                Attempt::Challenged(data, pending) => return Begin::Challenge { data, pending },
                Attempt::Rejected(refusal) => return Begin::Decided(Err(refusal)),
                Attempt::NotTried => {}
            }
        }
        let reason = match credentials {
            Credentials::Enhanced { .. } => Reason::MethodUnknown,
            Credentials::Password(_) => Reason::AssertionMalformed,
            Credentials::None => Reason::NoCredentials,
        };
        Begin::Decided(Err(Refusal::new(reason, attempted.connect.client_id)))
    }

    /// Whether a principal still holds after the identity store changed: the same session with its rights read anew, or
    /// why it has to end.
    pub fn recheck(&self, principal: &Principal, wall: UnixTime) -> Result<Principal, Refusal> {
        let refuse = |reason| Refusal::new(reason, principal.id());
        let revision = self.directory.revision();
        if principal.method == Method::Anonymous {
            // In no store, so no change there is about it, not even about a device of the same name.
            return Ok(Principal {
                revision,
                ..principal.clone()
            });
        }
        let device = self.directory.device(principal.id());
        let device = device.ok_or_else(|| refuse(Reason::UnknownDevice))?;
        check_state(&device).map_err(refuse)?;
        let mut expires_at = principal.expires_at;
        if let Some(key_id) = principal.key_id {
            let key = device
                .key(key_id)
                .ok_or_else(|| refuse(Reason::KeyUnknown))?;
            check_validity(key, wall).map_err(refuse)?;
            expires_at = earlier(expires_at, key.not_after);
        }
        Ok(Principal {
            device,
            expires_at,
            revision,
            ..principal.clone()
        })
    }

    fn try_kg_ed25519(
        &self,
        attempted: &Attempted<'_>,
        credentials: Credentials<'_>,
        random: &mut dyn Random,
    ) -> Attempt {
        let Credentials::Enhanced {
            method: METHOD,
            data,
        } = credentials
        else {
            return Attempt::NotTried;
        };
        let connect = attempted.connect;
        let open = OpenMessage {
            data,
            client_id: connect.client_id,
            username: connect.username,
            opening: Opening::of_connect(connect),
            listener: attempted.listener,
            now: attempted.now,
            holder: None,
        };
        match self.challenge(open, random) {
            Ok((data, pending)) => Attempt::Challenged(data, pending),
            Err(refusal) => Attempt::Rejected(refusal),
        }
    }

    fn try_assertion(
        &self,
        attempted: &Attempted<'_>,
        credentials: Credentials<'_>,
        random: &mut dyn Random,
    ) -> Attempt {
        let Credentials::Password(password) = credentials else {
            return Attempt::NotTried;
        };
        if !jws::looks_like_one(password) {
            return Attempt::NotTried;
        }
        let login = AssertionLogin {
            client_id: attempted.connect.client_id,
            username: attempted.connect.username,
            password,
            listener: attempted.listener,
            now: attempted.now,
            wall: attempted.wall,
        };
        let suffix = login.client_id.is_empty().then(|| Suffix::new(random));
        match self.named_assertion(&login, suffix.as_ref()) {
            Ok(accepted) => Attempt::Accepted(Box::new(accepted)),
            Err(refusal) => Attempt::Rejected(refusal),
        }
    }

    pub(super) fn is_our_name(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| {
            name == &*self.broker_id || self.aliases.iter().any(|alias| **alias == *name)
        })
    }

    pub(super) fn principal(
        &self,
        device: &Arc<Device>,
        key: &DeviceKey,
        method: Method,
        wall: UnixTime,
        revision: Revision,
    ) -> Principal {
        let session_end = self.session_max_s.map(|seconds| wall.plus(seconds));
        Principal {
            device: Arc::clone(device),
            key_id: Some(key.key_id),
            method,
            expires_at: earlier(key.not_after, session_end),
            revision,
        }
    }
}

/// One kind of credentials at most, and a client id to hold it against.
fn check_shape<'a>(
    connect: &Connect<'a>,
    listener: &ListenerRules,
) -> Result<Credentials<'a>, Reason> {
    let has_client_id = !connect.client_id.is_empty();
    if !has_client_id && connect.version == Version::V311 && !connect.clean_start {
        // Whoever wants its session back must be able to name it (MQTT 3.1.1 §3.1.3.1).
        return Err(Reason::ClientIdNotOwn);
    }
    let properties = &connect.properties;
    let credentials = match (properties.auth_method, connect.password, connect.username) {
        (Some(_), Some(_), _) => return Err(Reason::TwoCredentials),
        // A name is a claim, and nothing proves it.
        (None, None, Some(_)) => return Err(Reason::NoCredentials),
        (None, None, None) => return Ok(Credentials::None),
        (Some(method), None, _) => Credentials::Enhanced {
            method,
            data: properties.auth_data,
        },
        (None, Some(password), _) => Credentials::Password(password),
    };
    match has_client_id || listener.client_id.assigns() {
        true => Ok(credentials),
        false => Err(Reason::ClientIdNotOwn),
    }
}
