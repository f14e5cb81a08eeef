//! The `kg-ed25519` login and re-authentication (SPEC.md §4), around the machine of `protocol::login::broker`.
use super::Method;
use super::broker::{Accepted, Authn};
use super::principal::{Principal, check_standing};
use super::refusal::{Refusal, login_reason};
use super::rules::{ClientIdRule, ListenerRules, Suffix};
use crate::rng::Random;
use crate::telemetry::reason::RefusalReason as Reason;
use keygate_protocol::crypto::{Signature, Signer};
use keygate_protocol::ident::Id;
use keygate_protocol::login::broker::{self, AwaitProof, ChallengeContext, Proven};
use keygate_protocol::login::{AuthData, BROKER_NONCE_LEN, ExporterValue, METHOD, Opening};
use keygate_protocol::time::{Millis, UnixTime};
use std::sync::Arc;

/// A challenge is out. It belongs to its connection; [`Authn::prove`] takes it with the one AUTH that answers it.
/// Dropping it ends the login without a trace.
#[derive(Debug)]
pub struct PendingProof {
    state: AwaitProof,
    client_id_rule: ClientIdRule,
    /// What an empty client id is completed with.
    suffix: Option<Suffix>,
    /// The User Name, to be compared with whoever proves itself.
    username: Option<Box<str>>,
    /// In re-authentication: whose session it is.
    holder: Option<Arc<str>>,
    /// What the TLS exporter said, if the proof covers it.
    exported: Option<ExporterValue>,
}

impl PendingProof {
    /// When the challenge dies.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.state.deadline()
    }

    /// The context for the TLS exporter, if the proof will cover its value.
    #[must_use]
    pub fn exporter_context(&self) -> Option<&[u8; BROKER_NONCE_LEN]> {
        self.state.exporter_context()
    }

    /// Takes the TLS exporter's value for [`exporter_context`](Self::exporter_context), before the proof comes. `None`:
    /// this connection has none, and a proof that covers one is refused.
    pub fn exported(&mut self, value: Option<ExporterValue>) {
        self.exported = value;
    }

    /// Whether this is a re-authentication: then a refusal ends in DISCONNECT instead of CONNACK.
    #[must_use]
    pub fn is_reauthentication(&self) -> bool {
        self.holder.is_some()
    }
}

/// The AUTH packet that answers a challenge.
#[derive(Clone, Copy, Debug)]
pub struct ProofMessage<'a> {
    /// Authentication Method: the one of CONNECT.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Monotonic time.
    pub now: Millis,
    /// Wall clock.
    pub wall: UnixTime,
}

/// The open of a login: in CONNECT, or in AUTH 19.
pub(super) struct OpenMessage<'a> {
    pub(super) data: Option<&'a [u8]>,
    pub(super) client_id: &'a str,
    pub(super) username: Option<&'a str>,
    pub(super) opening: Opening,
    pub(super) listener: &'a ListenerRules,
    pub(super) now: Millis,
    pub(super) holder: Option<Arc<str>>,
}

impl Authn {
    /// Answers an open. Nothing is looked up: known and unknown devices get a challenge alike.
    pub(super) fn challenge(
        &self,
        open: OpenMessage<'_>,
        random: &mut dyn Random,
    ) -> Result<(AuthData, Box<PendingProof>), Refusal> {
        let refuse = |reason| Refusal::new(reason, open.client_id);
        let rule = open.listener.client_id;
        // SPEC.md §4.1: there should be none. One that agrees does no harm; one that does not is a second claim. Where
        // the client id need not be the identity, only the proof tells.
        if rule == ClientIdRule::Id && open.username.is_some_and(|name| name != open.client_id) {
            return Err(refuse(Reason::UserNameNotOwn));
        }
        let data = open.data.ok_or_else(|| refuse(Reason::DataMalformed))?;
        let context = ChallengeContext {
            client_id: open.client_id,
            broker_id: Id::new(&self.broker_id).map_err(|_| refuse(Reason::BrokerFault))?,
            broker_key_ids: &self.identity_key_ids,
            opening: open.opening,
            binding: open.listener.binding,
            broker_nonce: random.array(),
            now: open.now,
        };
        let (state, challenge) =
            broker::challenge(data, &context).map_err(|refusal| refuse(login_reason(refusal)))?;
        let pending = PendingProof {
            state,
            client_id_rule: rule,
            suffix: open.client_id.is_empty().then(|| Suffix::new(random)),
            username: open.username.map(Box::from),
            holder: open.holder,
            exported: None,
        };
        Ok((challenge, Box::new(pending)))
    }

    /// Checks the one AUTH that answers a challenge. Whatever comes of it, the challenge is gone.
    pub fn prove(
        &self,
        pending: Box<PendingProof>,
        message: &ProofMessage<'_>,
    ) -> Result<Accepted, Refusal> {
        let PendingProof {
            state,
            client_id_rule,
            suffix,
            username,
            holder,
            exported,
        } = *pending;
        let exported = exported.as_ref();
        let client_id: Box<str> = state.client_id().into();
        let refuse = |reason| Refusal::new(reason, &client_id);
        if message.method != Some(METHOD) {
            return Err(refuse(Reason::MethodChanged));
        }
        let data = message.data.ok_or_else(|| refuse(Reason::DataMalformed))?;

        // Read before the look-up: a change in between makes the principal look older than it is, never newer.
        let revision = self.directory.revision();
        let device = self.directory.by_key(state.key_id());
        let key = device
            .as_deref()
            .and_then(|device| device.key(state.key_id()));
        let (Some(device), Some(key)) = (&device, key) else {
            let refusal = state.verify_unknown(data, exported, message.now);
            return Err(refuse(
                self.unknown_reason(login_reason(refusal), &client_id),
            ));
        };
        let proven = state
            .verify(data, &key.public, exported, message.now)
            .map_err(|refusal| refuse(login_reason(refusal)))?;

        // From here on the peer holds the key: the log may name its owner.
        let refuse = |reason| Refusal::new(reason, &device.id);
        check_standing(device, key, message.wall).map_err(refuse)?;
        if username.is_some_and(|name| *name != *device.id) {
            return Err(refuse(Reason::UserNameNotOwn));
        }
        let naming = client_id_rule
            .name(&client_id, &device.id, suffix.as_ref())
            .filter(|_| holder.is_none_or(|holder| holder == device.id))
            .ok_or_else(|| refuse(Reason::ClientIdNotOwn))?;
        let auth_data = self.confirmation(&proven).map_err(refuse)?;
        Ok(Accepted {
            principal: self.principal(device, key, Method::KgEd25519, message.wall, revision),
            auth_data,
            client_id: naming.client_id,
            assigned: naming.assigned,
        })
    }

    /// Begins a re-authentication: AUTH with reason 19, on a connection that logged in with this method. Rights stay as
    /// they are until [`prove`](Self::prove) gives the new principal.
    pub fn reauthenticate(
        &self,
        again: &Reattempted<'_>,
        random: &mut dyn Random,
    ) -> Result<(AuthData, Box<PendingProof>), Refusal> {
        let refuse = |reason| Refusal::new(reason, again.principal.id());
        if again.principal.method != Method::KgEd25519 || again.method != Some(METHOD) {
            return Err(refuse(Reason::MethodChanged));
        }
        let open = OpenMessage {
            data: again.data,
            client_id: again.client_id,
            username: None,
            opening: Opening::reauthentication(),
            listener: again.listener,
            now: again.now,
            holder: Some(Arc::clone(&again.principal.device.id)),
        };
        self.challenge(open, random)
    }

    /// For the log: whether at least the claimed id is known.
    fn unknown_reason(&self, reason: Reason, client_id: &str) -> Reason {
        match reason {
            Reason::KeyUnknown if self.directory.device(client_id).is_none() => {
                Reason::UnknownDevice
            }
            reason => reason,
        }
    }

    /// The broker's own proof, if the device asked for one.
    fn confirmation(&self, proven: &Proven) -> Result<Option<Signature>, Reason> {
        let Some(wanted) = proven.wants_broker_proof() else {
            return Ok(None);
        };
        let signer = self
            .identity
            .iter()
            .find(|signer| signer.key_id() == wanted);
        // A clone, because a signer signs through `&mut`: its key is wiped again when it goes.
        let mut signer = signer.cloned().ok_or(Reason::BrokerFault)?;
        let signature = proven.sign_confirmation(&mut signer);
        signature.map(Some).map_err(|_| Reason::BrokerFault)
    }
}

/// An AUTH with reason 19.
#[derive(Clone, Copy, Debug)]
pub struct Reattempted<'a> {
    /// Whose session it is.
    pub principal: &'a Principal,
    /// Its client id.
    pub client_id: &'a str,
    /// Authentication Method.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// The rules of the listener.
    pub listener: &'a ListenerRules,
    /// Monotonic time.
    pub now: Millis,
}
