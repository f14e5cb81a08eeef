//! The broker's side of the login.
//!
//! [`challenge`] answers an open without any lookup. The [`AwaitProof`] that it returns belongs to that connection:
//! hand the next AUTH of the device to [`AwaitProof::verify`] with the key found under [`AwaitProof::key_id`], or to
//! [`AwaitProof::verify_unknown`] if there is none. Either way the challenge is gone. Whether the key is still valid, its
//! owner active and the client id its own, the caller decides after [`Proven`], so that all of that costs alike.

use core::fmt;

use super::{
    AuthData, BROKER_NONCE_LEN, Binding, BindingPolicy, CHALLENGE_LIFE_MS, CLIENT_ID_LEN_MAX,
    Challenge, ClientId, ClientIdError, ExporterValue, Open, OpenError, Opening, Role, Transcript,
};
use crate::crypto::{PublicKey, Signature, Signer, SignerFault};
use crate::ident::{ID_LEN_MAX, Id, KeyId};
use crate::mqtt::ReasonCode;
use crate::time::Millis;

/// What the broker knows when an open arrives.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeContext<'a> {
    /// The MQTT Client Identifier, as the device sent it (in re-authentication: that of the connection).
    pub client_id: &'a str,
    /// Our name.
    pub broker_id: Id<'a>,
    /// The identity keys that we can prove: the current and the next one.
    pub broker_key_ids: &'a [KeyId],
    /// What the CONNECT asked for.
    pub opening: Opening,
    /// What this listener wants of the TLS channel.
    pub binding: BindingPolicy,
    /// Fresh bytes of a cryptographic random source, never used before.
    pub broker_nonce: [u8; BROKER_NONCE_LEN],
    /// Monotonic time.
    pub now: Millis,
}

/// Answers an open: the state to keep with the connection, and the Authentication Data of AUTH 18.
///
/// Known and unknown devices get a challenge alike; nothing is looked up.
pub fn challenge(
    open: &[u8],
    context: &ChallengeContext<'_>,
) -> Result<(AwaitProof, AuthData), Refusal> {
    let open = Open::decode(open).map_err(Refusal::Open)?;
    let client_id = ClientId::new(context.client_id).map_err(Refusal::ClientId)?;
    match (context.binding, open.binding) {
        (BindingPolicy::Exporter, Binding::None) => return Err(Refusal::BindingRequired),
        (BindingPolicy::None, Binding::Exporter) => return Err(Refusal::BindingUnavailable),
        _ => {}
    }
    if let Some(key_id) = open.broker_key_id
        && !context.broker_key_ids.contains(&key_id)
    {
        return Err(Refusal::BrokerKeyUnknown);
    }
    let sent = Challenge {
        broker_nonce: context.broker_nonce,
        broker_id: context.broker_id,
    };
    let state = AwaitProof(Exchange {
        client_id: owned(client_id.as_str()),
        broker_id: owned(context.broker_id.as_str()),
        open,
        opening: context.opening,
        broker_nonce: context.broker_nonce,
        deadline: context.now.plus(CHALLENGE_LIFE_MS),
    });
    Ok((state, sent.encode()))
}

/// One login, as far as both ends have fixed it. Owned, since it outlives the packets that it came from.
struct Exchange {
    client_id: heapless::String<CLIENT_ID_LEN_MAX>,
    broker_id: heapless::String<ID_LEN_MAX>,
    open: Open,
    opening: Opening,
    broker_nonce: [u8; BROKER_NONCE_LEN],
    deadline: Millis,
}

impl Exchange {
    fn transcript<'a>(&'a self, binding_value: Option<&'a ExporterValue>) -> Transcript<'a> {
        Transcript {
            broker_id: Id::new(&self.broker_id).expect("it was an id when it came in"),
            client_id: ClientId::new(&self.client_id).expect("it was checked when it came in"),
            open: &self.open,
            broker_nonce: &self.broker_nonce,
            binding_value,
            opening: &self.opening,
        }
    }
}

fn owned<const N: usize>(text: &str) -> heapless::String<N> {
    text.try_into().expect("sized for the longest id")
}

/// A challenge is out; exactly one proof may follow, before [`deadline`](Self::deadline). It cannot be cloned, and
/// verifying consumes it: a second proof finds nothing to be checked against.
pub struct AwaitProof(Exchange);

impl AwaitProof {
    /// The key that the device says it will prove; look it up when the proof is there, not earlier.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.0.open.key_id
    }

    /// The client id that the proof covers.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// When the challenge dies. Close the connection then.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.0.deadline
    }

    /// The identity key whose proof the device wants.
    #[must_use]
    pub fn wants_broker_proof(&self) -> Option<KeyId> {
        self.0.open.broker_key_id
    }

    /// The context for the TLS exporter (label [`EXPORTER_LABEL`](super::EXPORTER_LABEL)), if the device bound its proof.
    #[must_use]
    pub fn exporter_context(&self) -> Option<&[u8; BROKER_NONCE_LEN]> {
        match self.0.open.binding {
            Binding::Exporter => Some(&self.0.broker_nonce),
            Binding::None => None,
        }
    }

    /// Checks the one proof: the Authentication Data of the device's AUTH 18. `binding_value` is the exporter value if
    /// [`exporter_context`](Self::exporter_context) asked for one.
    pub fn verify(
        self,
        proof: &[u8],
        key: &PublicKey,
        binding_value: Option<&ExporterValue>,
        now: Millis,
    ) -> Result<Proven, Refusal> {
        if now >= self.0.deadline {
            return Err(Refusal::ChallengeExpired);
        }
        let proof = Signature::from_slice(proof).map_err(|_| Refusal::ProofLength)?;
        if binding_value.is_some() != (self.0.open.binding == Binding::Exporter) {
            return Err(Refusal::BindingValue);
        }
        // Computed and compared for a dummy key as well: both paths do the same work.
        let right_key = key.key_id() == self.0.open.key_id;
        let message = self.0.transcript(binding_value).to_be_signed(Role::Device);
        let verified = key.verify(&message.signable(), &proof);
        if !right_key {
            return Err(Refusal::KeyUnknown);
        }
        verified.map_err(|_| Refusal::BadSignature)?;
        Ok(Proven {
            exchange: self.0,
            binding_value: binding_value.copied(),
        })
    }

    /// For a key that nobody has: does all that [`verify`](Self::verify) does, against a key that nobody holds, and
    /// refuses.
    pub fn verify_unknown(
        self,
        proof: &[u8],
        binding_value: Option<&ExporterValue>,
        now: Millis,
    ) -> Refusal {
        match self.verify(proof, &PublicKey::nobody(), binding_value, now) {
            Ok(_) | Err(Refusal::BadSignature) => Refusal::KeyUnknown,
            Err(refusal) => refusal,
        }
    }
}

impl fmt::Debug for AwaitProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitProof")
            .field("client_id", &self.0.client_id)
            .field("key_id", &self.0.open.key_id)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}

/// The device proved its key on this connection. Only [`AwaitProof::verify`] makes it, and the broker's own proof
/// comes from nowhere else.
pub struct Proven {
    exchange: Exchange,
    binding_value: Option<ExporterValue>,
}

impl Proven {
    /// The key that was proved.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.exchange.open.key_id
    }

    /// The client id that the proof covers.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.exchange.client_id
    }

    /// Whether the proof is bound to the TLS channel.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.exchange.open.binding
    }

    /// The identity key whose proof the device wants; with `None` the CONNACK carries no Authentication Data.
    #[must_use]
    pub fn wants_broker_proof(&self) -> Option<KeyId> {
        self.exchange.open.broker_key_id
    }

    /// Our proof: the Authentication Data of CONNACK (or of AUTH 00), as raw bytes. `signer` holds the identity key
    /// that [`wants_broker_proof`](Self::wants_broker_proof) names.
    pub fn sign_confirmation(
        &self,
        signer: &mut impl Signer,
    ) -> Result<Signature, ConfirmationError> {
        let wanted = self
            .wants_broker_proof()
            .ok_or(ConfirmationError::NotAsked)?;
        if signer.key_id() != wanted {
            return Err(ConfirmationError::WrongSigner);
        }
        let message = self
            .exchange
            .transcript(self.binding_value.as_ref())
            .to_be_signed(Role::Broker);
        signer
            .sign(&message.signable())
            .map_err(ConfirmationError::Signer)
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven")
            .field("client_id", &self.exchange.client_id)
            .field("key_id", &self.exchange.open.key_id)
            .finish_non_exhaustive()
    }
}

/// Why a login is refused. Goes to the log in full; the device learns [`reason_code`](Self::reason_code) only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The proof is not this key's signature over this login.
    BadSignature,
    /// The listener demands binding, and the device does not offer it.
    BindingRequired,
    /// The device binds to TLS, and there is no TLS here that we end.
    BindingUnavailable,
    /// Ours: an exporter value without binding, or binding without one.
    BindingValue,
    /// The device pinned an identity key that we do not hold.
    BrokerKeyUnknown,
    /// The proof came after the challenge had died.
    ChallengeExpired,
    /// No client id that a proof can cover.
    ClientId(ClientIdError),
    /// Nobody has the key, or the key at hand is not the one that the open named.
    KeyUnknown,
    /// The first message is no open.
    Open(OpenError),
    /// The proof does not have 64 bytes.
    ProofLength,
}

impl Refusal {
    /// What the device is told (SPEC.md §5.1): little, and the same for an unknown key and a bad signature.
    #[must_use]
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::BadSignature
            | Self::BindingRequired
            | Self::BindingUnavailable
            | Self::BindingValue
            | Self::BrokerKeyUnknown
            | Self::ChallengeExpired
            | Self::KeyUnknown => ReasonCode::NotAuthorized,
            Self::ClientId(_) => ReasonCode::ClientIdentifierNotValid,
            Self::Open(OpenError::VersionUnknown(_)) => ReasonCode::BadAuthenticationMethod,
            Self::Open(_) | Self::ProofLength => ReasonCode::ProtocolError,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "the proof does not verify",
            Self::BindingRequired => "the listener demands binding to TLS",
            Self::BindingUnavailable => "the listener has no TLS to bind to",
            Self::BindingValue => "binding and exporter value do not go together",
            Self::BrokerKeyUnknown => "the device pinned a broker key that is not ours",
            Self::ChallengeExpired => "the proof came too late",
            Self::ClientId(error) => return error.fmt(f),
            Self::KeyUnknown => "nobody has this key",
            Self::Open(error) => return error.fmt(f),
            Self::ProofLength => "the proof has the wrong length",
        })
    }
}

impl core::error::Error for Refusal {}

/// Why the broker could not prove itself: always its own fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConfirmationError {
    /// The device did not ask for a proof.
    NotAsked,
    /// The key could not sign.
    Signer(SignerFault),
    /// The signer holds another key than the device asked for.
    WrongSigner,
}

impl fmt::Display for ConfirmationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "the device did not ask for the broker's proof",
            Self::Signer(fault) => return fault.fmt(f),
            Self::WrongSigner => "the signer holds another identity key",
        })
    }
}

impl core::error::Error for ConfirmationError {}
