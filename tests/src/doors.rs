//! The doors of a running broker, and the honest ways through them.
use std::net::SocketAddr;
use std::path::PathBuf;

use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::Id;
use keygate_protocol::login::{ClientId, ExporterValue, device};
use keygate_protocol::mqtt::{Packet, ReasonCode, Version};

use crate::audit::Trail;
use crate::device::{Asked, Device, open_of, proof_packet};
use crate::session::Client;
use crate::wire::{Got, Heard, Wire};

/// Where a broker listens and who it is: all that a peer knows of it.
#[derive(Clone, Debug)]
pub struct Doors {
    /// MQTT over TCP.
    pub mqtt: SocketAddr,
    /// MQTT over TLS, MQTT over WebSocket, and over both.
    pub secure: Secure,
    /// CoAP over UDP.
    pub coap: SocketAddr,
    /// Its name.
    pub broker_id: String,
    /// The identity key that devices pin.
    pub identity_key: PublicKey,
    /// Its data directory.
    pub data: PathBuf,
}

/// The doors that not every test opens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secure {
    /// MQTT over TLS.
    pub mqtts: Option<SocketAddr>,
    /// MQTT over WebSocket.
    pub ws: Option<SocketAddr>,
    /// MQTT over WebSocket in TLS.
    pub wss: Option<SocketAddr>,
}

impl Doors {
    /// The certificate of the CA that clients must trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.data.join("tls/ca.pem")
    }

    /// A connection on which nothing was said yet.
    #[must_use]
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::open(self.mqtt)
    }

    /// The audit trail.
    #[must_use]
    pub fn trail(&self) -> Trail {
        Trail::of(&self.data)
    }

    /// Logs in with `kg-ed25519` and verifies the broker's proof.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    #[track_caller]
    pub fn log_in(&self, device: &Device) -> Client {
        self.log_in_as(device, &Asked::by(&device.id))
    }

    /// Logs in with `kg-ed25519` and this CONNECT.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    #[track_caller]
    pub fn log_in_as(&self, device: &Device, asked: &Asked) -> Client {
        self.try_log_in(device, asked)
            .unwrap_or_else(|code| panic!("the login of {} is refused: {code:02x?}", device.id))
    }

    /// Tries to log in with `kg-ed25519`; an error is the code of the refusal.
    #[track_caller]
    pub fn try_log_in(&self, device: &Device, asked: &Asked) -> Result<Client, Option<u8>> {
        self.log_in_over(self.wire(), device, asked)
    }

    /// Tries to log in over a connection that is there already.
    ///
    /// # Panics
    /// When the broker breaks the protocol, or does not prove its identity.
    #[track_caller]
    pub fn log_in_over(
        &self,
        mut wire: Wire,
        device: &Device,
        asked: &Asked,
    ) -> Result<Client, Option<u8>> {
        let login = device::Login::new(
            ClientId::new(&asked.client_id).expect("a client id"),
            Id::new(&self.broker_id).expect("an id"),
            device.key_id(),
        )
        .pin(self.identity_key);
        let nonce = open_of(device.key_id(), None).client_nonce;
        let (waiting, open) = login.open(nonce, asked.opening());
        wire.send_bytes(&asked.with_open(&open));
        let challenge = challenge(&mut wire)?;
        let challenged = waiting.read(&challenge).expect("the broker that we mean");
        let (waiting, proof) = challenged
            .answer(None, &mut device.signer())
            .expect("it signs");
        wire.send_bytes(&proof_packet(proof.as_bytes()));
        let connack = accepted(&mut wire)?;
        let Packet::Connack(connack) = connack.packet() else {
            unreachable!("accepted() gives a CONNACK");
        };
        let confirmed = waiting
            .confirm(connack.properties.auth_data)
            .expect("the broker proves its identity");
        assert!(confirmed.broker_proved());
        Ok(Client::new(wire))
    }

    /// Tries to log in over TLS with a proof that covers what the exporter of `bound` says: an honest device has one
    /// connection. An error is the code of the refusal.
    ///
    /// # Panics
    /// When the broker breaks the protocol, or does not prove its identity.
    #[track_caller]
    pub fn log_in_bound(
        &self,
        mut wire: Wire,
        device: &Device,
        bound: impl FnOnce(&Wire, &[u8; 32]) -> ExporterValue,
    ) -> Result<Client, Option<u8>> {
        let asked = Asked::by(&device.id);
        let login = device::Login::new(
            ClientId::new(&asked.client_id).expect("a client id"),
            Id::new(&self.broker_id).expect("an id"),
            device.key_id(),
        )
        .bind_to_tls()
        .pin(self.identity_key);
        let nonce = open_of(device.key_id(), None).client_nonce;
        let (waiting, open) = login.open(nonce, asked.opening());
        wire.send_bytes(&asked.with_open(&open));
        let challenge = challenge(&mut wire)?;
        let challenged = waiting.read(&challenge).expect("the broker that we mean");
        let context = *challenged.exporter_context().expect("the login is bound");
        let value = bound(&wire, &context);
        let (waiting, proof) = challenged
            .answer(Some(&value), &mut device.signer())
            .expect("it signs");
        wire.send_bytes(&proof_packet(proof.as_bytes()));
        let connack = accepted(&mut wire)?;
        let Packet::Connack(connack) = connack.packet() else {
            unreachable!("accepted() gives a CONNACK");
        };
        let confirmed = waiting.confirm(connack.properties.auth_data);
        assert!(confirmed.expect("the broker proves itself").broker_proved());
        Ok(Client::new(wire))
    }

    /// Logs in with an assertion, in either version.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    #[track_caller]
    pub fn log_in_by_assertion(&self, device: &Device, version: Version) -> Client {
        let assertion = device.assertion(&self.broker_id);
        self.try_assertion(device, &Asked::by(&device.id), version, &assertion)
            .unwrap_or_else(|(_, code)| panic!("the assertion is refused: {code:02x?}"))
    }

    /// Tries to log in with this password; an error is our address and the code of the refusal.
    #[track_caller]
    pub fn try_assertion(
        &self,
        device: &Device,
        asked: &Asked,
        version: Version,
        assertion: &str,
    ) -> Result<Client, (SocketAddr, Option<u8>)> {
        let mut wire = self.wire().speaking(version);
        let local = wire.local();
        wire.send_bytes(&asked.with_assertion(version, &device.id, assertion));
        match accepted(&mut wire) {
            Ok(_) => Ok(Client::new(wire)),
            Err(code) => Err((local, code)),
        }
    }
}

/// Waits for the broker's challenge; an error is the code of the refusal that came instead.
///
/// # Panics
/// When something else comes.
#[track_caller]
pub fn challenge(wire: &mut Wire) -> Result<Vec<u8>, Option<u8>> {
    let got = match wire.hear() {
        Heard::Packet(got) => got,
        Heard::Closed => return Err(None),
    };
    match got.packet() {
        Packet::Auth(auth) => {
            assert_eq!(auth.code, ReasonCode::ContinueAuthentication);
            Ok(auth.data.expect("a challenge").to_vec())
        }
        Packet::Connack(_) => Err(refusal(wire, &got)),
        other => panic!("expected a challenge, heard {other:?}"),
    }
}

/// Waits for the CONNACK that accepts; an error is the code of the refusal.
///
/// # Panics
/// When something else comes.
#[track_caller]
pub fn accepted(wire: &mut Wire) -> Result<Got, Option<u8>> {
    let got = match wire.hear() {
        Heard::Packet(got) => got,
        Heard::Closed => return Err(None),
    };
    match got.packet() {
        Packet::Connack(_) if got.raw().get(3) == Some(&0) => Ok(got),
        Packet::Connack(_) => Err(refusal(wire, &got)),
        other => panic!("expected CONNACK, heard {other:?}"),
    }
}

/// The code as it stands on the wire; whoever is refused is also disconnected.
#[track_caller]
fn refusal(wire: &mut Wire, connack: &Got) -> Option<u8> {
    wire.finish();
    assert_eq!(wire.hear(), Heard::Closed, "nothing follows a refusal");
    connack.raw().get(3).copied()
}
