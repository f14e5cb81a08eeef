//! rumqttc-v5-next drives AUTH: it proves a key with `kg-ed25519`, verifies the broker, and proves the key again on
//! the live session without losing a message.
use std::sync::{Arc, Mutex};

use keygate_protocol::crypto::{PublicKey, Signature};
use keygate_protocol::login::{METHOD, Open, Opening, Role};
use keygate_tests::clock::{Deadline, PATIENCE};
use keygate_tests::device::{Asked, Claim, Device, open_of};
use rumqttc_next::{
    AuthAction, AuthContext, AuthError, AuthEvent, AuthExchangeKind, AuthProperties, Authenticator,
    Client, Connection, Event, Incoming, MqttOptions, PublishOptions, QoS, SubscribeReasonCode,
};

use crate::Stage;

/// The device's half, as the library asks for it.
#[derive(Debug)]
struct Prover {
    device: Device,
    broker_id: String,
    broker_key: PublicKey,
    open: Open,
    claim: Option<Claim>,
    /// How many proofs of the broker it accepted.
    accepted: usize,
}

fn carrying(data: &[u8]) -> AuthProperties {
    AuthProperties {
        method: Some(METHOD.into()),
        data: Some(data.to_vec().into()),
        ..AuthProperties::default()
    }
}

impl Prover {
    /// A new opening message, with a fresh nonce.
    fn begin(&mut self) -> AuthProperties {
        self.open = open_of(self.device.key_id(), Some(&self.broker_key));
        self.claim = None;
        carrying(&self.open.encode())
    }

    fn confirm(&mut self, proof: Option<&[u8]>) -> Result<(), AuthError> {
        let claim = self.claim.take().ok_or("a proof without a challenge")?;
        let proof = proof.and_then(|proof| Signature::from_slice(proof).ok());
        let proof = proof.ok_or("the broker did not prove itself")?;
        let message = claim.to_be_signed(Role::Broker);
        self.broker_key
            .verify(&message.signable(), &proof)
            .map_err(|_| "the broker's proof is not by the pinned key")?;
        self.accepted += 1;
        Ok(())
    }
}

impl Authenticator for Prover {
    fn start(&mut self, _: AuthContext<'_>) -> Result<Option<AuthProperties>, AuthError> {
        Ok(Some(self.begin()))
    }

    fn continue_auth(
        &mut self,
        context: AuthContext<'_>,
        incoming: Option<AuthProperties>,
    ) -> Result<AuthAction, AuthError> {
        let data = incoming
            .and_then(|incoming| incoming.data)
            .ok_or("no challenge")?;
        let mut claim = Claim::honest(&data, &Asked::by(&self.device.id), &self.open);
        if claim.broker_id != self.broker_id {
            return Err("a challenge by another broker".into());
        }
        if context.kind == AuthExchangeKind::Reauthentication {
            claim.opening = Opening::reauthentication();
        }
        let proof = claim.prove(&self.device);
        self.claim = Some(claim);
        Ok(AuthAction::Send(carrying(proof.as_bytes())))
    }

    fn success(
        &mut self,
        _: AuthContext<'_>,
        incoming: Option<AuthProperties>,
    ) -> Result<(), AuthError> {
        self.confirm(incoming.and_then(|incoming| incoming.data).as_deref())
    }

    fn failure(&mut self, _: AuthContext<'_>, _: AuthError) {
        self.claim = None;
    }
}

fn client(stage: &Stage, device: &Device) -> (Arc<Mutex<Prover>>, Client, Connection) {
    let broker_key = stage.broker.identity_key;
    let prover = Arc::new(Mutex::new(Prover {
        device: device.clone(),
        broker_id: stage.broker.broker_id.clone(),
        open: open_of(device.key_id(), Some(&broker_key)),
        broker_key,
        claim: None,
        accepted: 0,
    }));
    let mut options =
        MqttOptions::new(device.id.as_str(), (stage.host(), stage.broker.mqtt.port()));
    options.set_clean_start(true);
    options.set_authentication_method(Some(METHOD.into()));
    options.set_authenticator(prover.clone());
    let (client, connection) = Client::builder(options).capacity(64).build();
    (prover, client, connection)
}

#[track_caller]
fn next(connection: &mut Connection) -> Event {
    connection
        .recv_timeout(PATIENCE)
        .expect("something happens")
        .expect("the connection stays")
}

#[test]
fn it_proves_its_key_and_proves_it_again_without_losing_a_message() {
    let stage = Stage::new();
    let (prover, client, mut connection) = client(&stage, &stage.device);
    let proof = loop {
        if let Event::Incoming(Incoming::ConnAck(connack)) = next(&mut connection) {
            break connack.properties.and_then(|p| p.authentication_data);
        }
    };
    // The library hands the proof in CONNACK to nobody: who uses it verifies it there.
    prover.lock().unwrap().confirm(proof.as_deref()).unwrap();

    // A publish may overtake a subscribe inside the library: they wait in channels of their own.
    client
        .subscribe("devices/dev-1/#", QoS::ExactlyOnce)
        .unwrap();
    let granted = loop {
        if let Event::Incoming(Incoming::SubAck(suback)) = next(&mut connection) {
            break suback.return_codes;
        }
    };
    assert_eq!(granted, [SubscribeReasonCode::Success(QoS::ExactlyOnce)]);
    let wanted: Vec<String> = (0..12).map(|number| format!("m{number}")).collect();
    for (number, payload) in wanted.iter().enumerate() {
        if number % 4 == 2 {
            // It calls `start` for this exchange as it did for the first.
            client.reauth(None).unwrap();
        }
        client
            .publish(
                "devices/dev-1/reported",
                payload.clone(),
                PublishOptions::new(QoS::ExactlyOnce),
            )
            .unwrap();
        // An exchange at a time, as §4.12 of MQTT 5 wants it; the message is under way meanwhile.
        let deadline = Deadline::new();
        let (mut proved, mut arrived) = (number % 4 != 2, false);
        while !(proved && arrived) {
            deadline.check(payload);
            match next(&mut connection) {
                Event::Incoming(Incoming::Publish(publish)) => {
                    assert_eq!(publish.payload, payload.as_bytes());
                    assert!(!arrived, "{payload} came twice");
                    arrived = true;
                }
                Event::Auth(AuthEvent::Succeeded {
                    kind: AuthExchangeKind::Reauthentication,
                    ..
                }) => {
                    proved = true;
                }
                Event::Auth(AuthEvent::Failed { reason, .. }) => panic!("{reason:?}"),
                _ => {}
            }
        }
    }
    assert_eq!(prover.lock().unwrap().accepted, 1 + 3);
}

#[test]
fn with_a_wrong_key_it_is_refused() {
    let stage = Stage::new();
    let (prover, _client, mut connection) = client(&stage, &stage.device.impostor());
    let error = loop {
        match connection.recv_timeout(PATIENCE).expect("an answer") {
            Ok(Event::Incoming(Incoming::ConnAck(connack))) => panic!("let in: {connack:?}"),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("NotAuthorized"), "{error}");
    assert_eq!(prover.lock().unwrap().accepted, 0);
}
