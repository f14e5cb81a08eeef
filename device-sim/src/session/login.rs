//! What a session logs in with, and the two states of a `kg-ed25519` login (SPEC.md §4).

use keygate_protocol::crypto::{Signable, Signature, Signer, SignerFault, SoftwareSigner};
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::login::device::{self, Login};
use keygate_protocol::login::{Binding, ClientId, ExporterValue, METHOD, Opening};
use keygate_protocol::mqtt::{Auth, ConnackProperties, Connect, Packet, ReasonCode, Version};

use super::exporter::AwaitExporter;
use super::online::Online;
use super::state::{Event, Profile, State};
use super::{Failure, PACKET_MAX, Stage, Wanted, Wire};
use crate::clock::Micros;

/// Messages that the broker may have under way towards a session.
const RECEIVE_MAX: u16 = 64;

/// Largest number of own messages under way, whatever the broker allows: it bounds what a session holds.
const WINDOW_MAX: u16 = 1_024;

/// The key that a session logs in with.
#[derive(Debug)]
pub struct Key {
    signer: SoftwareSigner,
    /// Names another key than the one that signs: what an impostor does.
    claimed: Option<KeyId>,
}

impl Key {
    /// An honest key.
    #[must_use]
    pub fn new(signer: SoftwareSigner) -> Self {
        Self {
            signer,
            claimed: None,
        }
    }

    /// A key that pretends to be another.
    #[must_use]
    pub fn claiming(signer: SoftwareSigner, claimed: KeyId) -> Self {
        Self {
            signer,
            claimed: Some(claimed),
        }
    }
}

impl Signer for Key {
    fn key_id(&self) -> KeyId {
        self.claimed.unwrap_or_else(|| self.signer.key_id())
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        self.signer.sign(message)
    }
}

/// What a session logs in with.
#[derive(Debug)]
pub enum Credential {
    /// `kg-ed25519`.
    Key(Box<Key>),
    /// User name (the id) and password.
    Password(String),
}

impl From<Key> for Credential {
    fn from(key: Key) -> Self {
        Self::Key(Box::new(key))
    }
}

/// What goes on after the login.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) keep_alive_s: u16,
    pub(super) wanted: Option<Wanted>,
}

impl Plan {
    /// The login is granted: what the broker said about the session counts from here on.
    pub(super) fn go_on<'a>(
        self,
        granted: &ConnackProperties<'_>,
        now: Micros,
        out: &mut Vec<u8>,
    ) -> Result<State<'a>, Failure> {
        let keep_alive_s = granted.keep_alive_s.unwrap_or(self.keep_alive_s);
        let online = Online::new(keep_alive_s, granted.receive_max.min(WINDOW_MAX), now);
        Ok(match self.wanted {
            Some(wanted) => State::AwaitGrant(online.subscribe(&wanted, now, out)?),
            None => State::Online(online),
        })
    }
}

/// What every CONNECT of a run says.
pub(super) fn connect<'a>(profile: &Profile, id: &'a str) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, id);
    connect.keep_alive_s = profile.keep_alive_s;
    connect.properties.session_expiry_s = profile.session_expiry_s;
    connect.properties.receive_max = RECEIVE_MAX;
    connect.properties.packet_size_max = Some(PACKET_MAX);
    connect
}

/// CONNECT went out.
#[derive(Debug)]
pub(super) struct AwaitChallenge<'a> {
    login: device::AwaitChallenge<'a>,
    key: Key,
    plan: Plan,
}

/// The proof went out.
#[derive(Debug)]
pub(super) struct AwaitConfirmation<'a> {
    login: device::AwaitConfirmation<'a>,
    plan: Plan,
}

impl<'a> AwaitChallenge<'a> {
    pub(super) fn open(
        profile: &'a Profile,
        id: &'a str,
        key: Key,
        nonce: [u8; 16],
        wanted: Option<Wanted>,
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let client_id = ClientId::new(id).map_err(|_| Failure::TooLarge)?;
        let broker_id = Id::new(&profile.broker_id).map_err(|_| Failure::TooLarge)?;
        let mut login = Login::new(client_id, broker_id, key.key_id());
        if profile.binding == Binding::Exporter {
            login = login.bind_to_tls();
        }
        if let Some(identity_key) = profile.identity_key {
            login = login.pin(identity_key);
        }

        let mut connect = connect(profile, id);
        let (login, open) = login.open(nonce, Opening::of_connect(&connect));
        connect.properties.auth_method = Some(METHOD);
        connect.properties.auth_data = Some(open.as_ref());
        connect
            .encode(&mut Wire(out))
            .map_err(|_| Failure::TooLarge)?;
        let plan = Plan {
            keep_alive_s: profile.keep_alive_s,
            wanted,
        };
        Ok(Self { login, key, plan })
    }

    pub(super) fn handle(
        self,
        packet: Packet<'_>,
        out: &mut Vec<u8>,
    ) -> Result<State<'a>, Failure> {
        let Self { login, key, plan } = self;
        let auth = match packet {
            Packet::Auth(auth)
                if auth.code == ReasonCode::ContinueAuthentication
                    && auth.method == Some(METHOD) =>
            {
                auth
            }
            other => return Err(State::out_of_order(Stage::Challenge, &other)),
        };
        let challenged = login
            .read(auth.data.unwrap_or_default())
            .map_err(Failure::Broker)?;
        if challenged.exporter_context().is_some() {
            return Ok(State::AwaitExporter(AwaitExporter {
                challenged,
                key,
                plan,
            }));
        }
        answer(challenged, None, key, plan, out)
    }
}

/// Signs, and sends the proof.
pub(super) fn answer<'a>(
    challenged: device::Challenged<'a>,
    value: Option<&ExporterValue>,
    mut key: Key,
    plan: Plan,
    out: &mut Vec<u8>,
) -> Result<State<'a>, Failure> {
    let (login, proof) = challenged
        .answer(value, &mut key)
        .map_err(Failure::Broker)?;
    let mut answer = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
    answer.data = Some(proof.as_bytes());
    answer
        .encode(&mut Wire(out))
        .map_err(|_| Failure::TooLarge)?;
    // The key is dropped here: from now on nothing is signed.
    Ok(State::AwaitConfirmation(AwaitConfirmation { login, plan }))
}

impl<'a> AwaitConfirmation<'a> {
    pub(super) fn handle(
        self,
        packet: Packet<'_>,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<State<'a>, Failure> {
        let Self { login, plan } = self;
        let connack = match packet {
            Packet::Connack(connack) if connack.code == ReasonCode::Success => connack,
            other => return Err(State::out_of_order(Stage::Confirmation, &other)),
        };
        let granted = &connack.properties;
        // Nothing in the CONNACK counts before this.
        let confirmed = login.confirm(granted.auth_data).map_err(Failure::Broker)?;
        heard(Event::LoggedIn {
            proven: confirmed.broker_proved(),
        });

        plan.go_on(granted, now, out)
    }
}
