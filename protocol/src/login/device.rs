//! The device's side of the login.
//!
//! Make a [`Login`] from the device's configuration, [`open`](Login::open) it with fresh randomness, send what comes
//! out in CONNECT (or in AUTH 19), then follow the states: each takes what the broker sent and gives what to send
//! next. On an error close the connection; never go on, and never try another method (SPEC.md §5.4).

use core::fmt;

use super::{
    AuthData, BROKER_NONCE_LEN, Binding, CLIENT_NONCE_LEN, Challenge, ChallengeError, ClientId,
    ExporterValue, Open, Opening, Role, Transcript,
};
use crate::crypto::{PublicKey, Signature, Signer, SignerFault};
use crate::ident::{Id, KeyId};

/// What a device is configured with; nothing of it comes from the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Login<'a> {
    client_id: ClientId<'a>,
    broker_id: Id<'a>,
    key_id: KeyId,
    broker_key: Option<PublicKey>,
    binding: Binding,
}

impl<'a> Login<'a> {
    /// A login at one broker with one key, without the broker's proof and without binding.
    #[must_use]
    pub fn new(client_id: ClientId<'a>, broker_id: Id<'a>, key_id: KeyId) -> Self {
        Self {
            client_id,
            broker_id,
            key_id,
            broker_key: None,
            binding: Binding::None,
        }
    }

    /// Demands the broker's proof, by this identity key.
    #[must_use]
    pub fn pin(self, broker_key: PublicKey) -> Self {
        Self {
            broker_key: Some(broker_key),
            ..self
        }
    }

    /// Binds the proof to the TLS channel; [`Challenged::answer`] then needs the exporter value.
    #[must_use]
    pub fn bind_to_tls(self) -> Self {
        Self {
            binding: Binding::Exporter,
            ..self
        }
    }

    /// Starts. `client_nonce` must come from a cryptographic random source; `opening` says what the CONNECT asks for.
    #[must_use]
    pub fn open(
        self,
        client_nonce: [u8; CLIENT_NONCE_LEN],
        opening: Opening,
    ) -> (AwaitChallenge<'a>, AuthData) {
        let open = Open {
            client_nonce,
            key_id: self.key_id,
            broker_key_id: self.broker_key.map(|key| key.key_id()),
            binding: self.binding,
        };
        let data = open.encode();
        let state = AwaitChallenge {
            login: self,
            open,
            opening,
        };
        (state, data)
    }
}

/// The open was sent; the broker's AUTH 18 comes next.
#[derive(Debug)]
pub struct AwaitChallenge<'a> {
    login: Login<'a>,
    open: Open,
    opening: Opening,
}

impl<'a> AwaitChallenge<'a> {
    /// Takes the Authentication Data of that AUTH. A broker of another name is refused before anything is signed.
    pub fn read(self, auth_data: &[u8]) -> Result<Challenged<'a>, DeviceError> {
        let challenge = Challenge::decode(auth_data).map_err(DeviceError::Challenge)?;
        if challenge.broker_id != self.login.broker_id {
            return Err(DeviceError::OtherBroker);
        }
        Ok(Challenged {
            login: self.login,
            open: self.open,
            opening: self.opening,
            broker_nonce: challenge.broker_nonce,
        })
    }
}

/// The challenge is good; the answer needs the signer and, with binding, the exporter value.
#[derive(Debug)]
pub struct Challenged<'a> {
    login: Login<'a>,
    open: Open,
    opening: Opening,
    broker_nonce: [u8; BROKER_NONCE_LEN],
}

impl<'a> Challenged<'a> {
    /// The context for the TLS exporter (label [`EXPORTER_LABEL`](super::EXPORTER_LABEL)), if this login is bound.
    #[must_use]
    pub fn exporter_context(&self) -> Option<&[u8; BROKER_NONCE_LEN]> {
        match self.login.binding {
            Binding::Exporter => Some(&self.broker_nonce),
            Binding::None => None,
        }
    }

    /// Signs. The signature is the Authentication Data of the device's AUTH 18, as raw bytes. `binding_value` is the
    /// exporter value if, and only if, the login is bound.
    pub fn answer(
        self,
        binding_value: Option<&ExporterValue>,
        signer: &mut impl Signer,
    ) -> Result<(AwaitConfirmation<'a>, Signature), DeviceError> {
        if binding_value.is_some() != (self.login.binding == Binding::Exporter) {
            return Err(DeviceError::BindingValue);
        }
        if signer.key_id() != self.login.key_id {
            return Err(DeviceError::WrongSigner);
        }
        let next = AwaitConfirmation {
            binding_value: binding_value.copied(),
            challenged: self,
        };
        let message = next.transcript().to_be_signed(Role::Device);
        let proof = signer
            .sign(&message.signable())
            .map_err(DeviceError::Signer)?;
        Ok((next, proof))
    }
}

/// The proof was sent; CONNACK 00 (or AUTH 00) comes next. Until [`confirm`](Self::confirm) returned, the login has
/// not succeeded, and nothing more may be sent.
#[derive(Debug)]
pub struct AwaitConfirmation<'a> {
    challenged: Challenged<'a>,
    binding_value: Option<ExporterValue>,
}

impl AwaitConfirmation<'_> {
    /// Takes the Authentication Data of that packet. With a pinned key the broker's proof must be there and verify;
    /// without one nothing may be there.
    pub fn confirm(self, auth_data: Option<&[u8]>) -> Result<Confirmed, DeviceError> {
        let Some(broker_key) = self.challenged.login.broker_key else {
            return match auth_data {
                None => Ok(Confirmed {
                    broker_proved: false,
                }),
                Some(_) => Err(DeviceError::BrokerProofUnasked),
            };
        };
        let bytes = auth_data.ok_or(DeviceError::BrokerProofMissing)?;
        let proof = Signature::from_slice(bytes).map_err(|_| DeviceError::BrokerProofLength)?;
        let message = self.transcript().to_be_signed(Role::Broker);
        broker_key
            .verify(&message.signable(), &proof)
            .map_err(|_| DeviceError::BrokerProofBad)?;
        Ok(Confirmed {
            broker_proved: true,
        })
    }

    fn transcript(&self) -> Transcript<'_> {
        let challenged = &self.challenged;
        Transcript {
            broker_id: challenged.login.broker_id,
            client_id: challenged.login.client_id,
            open: &challenged.open,
            broker_nonce: &challenged.broker_nonce,
            binding_value: self.binding_value.as_ref(),
            opening: &challenged.opening,
        }
    }
}

/// The login succeeded. Only [`AwaitConfirmation::confirm`] makes it.
#[derive(Debug, Eq, PartialEq)]
pub struct Confirmed {
    broker_proved: bool,
}

impl Confirmed {
    /// Whether the broker proved the pinned identity key. Without a pinned key nothing is known about the broker.
    #[must_use]
    pub fn broker_proved(&self) -> bool {
        self.broker_proved
    }
}

/// Why a device ends a login. What the broker refuses comes as a reason code and not from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceError {
    /// Ours: an exporter value without binding, or binding without one.
    BindingValue,
    /// Broker: its proof does not verify under the pinned key.
    BrokerProofBad,
    /// Broker: its proof does not have 64 bytes.
    BrokerProofLength,
    /// Broker: it did not prove itself although it was asked to.
    BrokerProofMissing,
    /// Broker: a proof that nobody asked for.
    BrokerProofUnasked,
    /// Broker: what came is no challenge.
    Challenge(ChallengeError),
    /// Broker: it is not the one that this device is configured for.
    OtherBroker,
    /// Ours: the key could not sign.
    Signer(SignerFault),
    /// Ours: the signer holds another key than the login named.
    WrongSigner,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BindingValue => "binding and exporter value do not go together",
            Self::BrokerProofBad => "the broker's proof is not by the pinned key",
            Self::BrokerProofLength => "the broker's proof has the wrong length",
            Self::BrokerProofMissing => "the broker did not prove itself",
            Self::BrokerProofUnasked => "the broker sent a proof that nobody asked for",
            Self::Challenge(error) => return error.fmt(f),
            Self::OtherBroker => "the challenge names another broker",
            Self::Signer(fault) => return fault.fmt(f),
            Self::WrongSigner => "the signer holds another key",
        })
    }
}

impl core::error::Error for DeviceError {}
