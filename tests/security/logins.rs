//! `kg-ed25519` (SPEC.md §4): whoever cannot prove the enrolled key for this very connection stays outside.
use keygate_broker::identity::Transition;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::crypto::Signer;
use keygate_protocol::login::{Open, Role};
use keygate_protocol::mqtt::Version;
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Claim, Device, WillWanted, open_of, proof_packet};
use keygate_tests::doors::challenge;
use keygate_tests::wire::Wire;
use keygate_tests::witness::Witness;

const NOT_AUTHORIZED: Option<u8> = Some(0x87);

/// A login up to its challenge.
struct Challenged {
    wire: Wire,
    open: Open,
    challenge: Vec<u8>,
}

impl Challenged {
    #[track_caller]
    fn begin(broker: &Broker, device: &Device, asked: &Asked) -> Self {
        let open = open_of(device.key_id(), None);
        let mut wire = broker.wire();
        wire.send_bytes(&asked.with_open(&open.encode()));
        let challenge = challenge(&mut wire).expect("everybody gets a challenge");
        Self {
            wire,
            open,
            challenge,
        }
    }

    fn claim(&self, asked: &Asked) -> Claim {
        Claim::honest(&self.challenge, asked, &self.open)
    }

    /// Sends this proof, and waits for its refusal.
    #[track_caller]
    fn must_be_refused(mut self, broker: &Broker, proof: &[u8], reason: RefusalReason) {
        let local = self.wire.local();
        self.wire.send_bytes(&proof_packet(proof));
        self.wire.finish();
        assert_eq!(self.wire.end(), NOT_AUTHORIZED);
        assert_eq!(broker.trail().refused_login(local), reason);
    }
}

/// Tries a proof over a claim that was changed, and demands that it is refused as a bad signature.
#[track_caller]
fn lie_must_be_refused(lie: impl FnOnce(&mut Claim)) {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut witness = Witness::of(&broker);
    let asked = Asked::by("dev-1");
    let login = Challenged::begin(&broker, &device, &asked);
    let mut claim = login.claim(&asked);
    lie(&mut claim);
    let proof = claim.prove(&device);
    login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::BadSignature);
    witness.nothing_happened();
    // The key itself is good: the honest proof is taken.
    broker.log_in(&device).must_stand();
}

#[test]
fn an_unknown_device_must_be_refused() {
    let broker = Broker::start();
    let mut witness = Witness::of(&broker);
    let stranger = Device::new("dev-1");
    let asked = Asked::by("dev-1");
    let login = Challenged::begin(&broker, &stranger, &asked);
    let proof = login.claim(&asked).prove(&stranger);
    login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::UnknownDevice);
    witness.nothing_happened();
}

#[test]
fn a_wrong_key_must_be_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut witness = Witness::of(&broker);
    let asked = Asked::by("dev-1");

    // Under the enrolled key's name, signed by another.
    let impostor = device.impostor();
    let login = Challenged::begin(&broker, &device, &asked);
    let proof = login.claim(&asked).prove(&impostor);
    login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::BadSignature);

    // Under the other key's own name.
    let login = Challenged::begin(&broker, &impostor, &asked);
    let proof = login.claim(&asked).prove(&impostor);
    login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::KeyUnknown);
    witness.nothing_happened();
}

#[test]
fn a_replayed_proof_must_be_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let asked = Asked::by("dev-1");

    // A whole login, as somebody on the wire records it: CONNECT and AUTH.
    let open = open_of(device.key_id(), None);
    let connect = asked.with_open(&open.encode());
    let mut wire = broker.wire();
    wire.send_bytes(&connect);
    let nonce = challenge(&mut wire).unwrap();
    let proof = Claim::honest(&nonce, &asked, &open).prove(&device);
    let auth = proof_packet(proof.as_bytes());
    wire.send_bytes(&auth);
    keygate_tests::doors::accepted(&mut wire).expect("the first time it is good");
    drop(wire);
    let mut witness = Witness::of(&broker);

    let mut replay = broker.wire();
    let local = replay.local();
    replay.send_bytes(&connect);
    challenge(&mut replay).expect("a new challenge");
    replay.send_bytes(&auth);
    replay.finish();
    assert_eq!(replay.end(), NOT_AUTHORIZED);
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::BadSignature
    );

    // Without waiting for the challenge it is no better.
    let mut replay = broker.wire();
    let local = replay.local();
    replay.send_bytes(&[connect, auth].concat());
    challenge(&mut replay).expect("a new challenge");
    replay.finish();
    assert_eq!(replay.end(), NOT_AUTHORIZED);
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::BadSignature
    );
    witness.nothing_happened();
}

#[test]
fn a_proof_for_another_broker_must_be_refused() {
    lie_must_be_refused(|claim| claim.broker_id = "kg-elsewhere".into());
}

#[test]
fn a_proof_for_another_client_id_must_be_refused() {
    lie_must_be_refused(|claim| claim.client_id = "dev-2".into());
}

#[test]
fn a_proof_for_another_challenge_must_be_refused() {
    lie_must_be_refused(|claim| claim.broker_nonce[0] ^= 1);
}

#[test]
fn a_proof_for_another_connections_challenge_must_be_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut witness = Witness::of(&broker);
    let asked = Asked::by("dev-1");
    let one = Challenged::begin(&broker, &device, &asked);
    let mut two = Challenged::begin(&broker, &device, &asked);
    // Even with the same client nonce: only the challenge tells the two apart.
    two.open = one.open;
    let proof = one.claim(&asked).prove(&device);
    two.must_be_refused(&broker, proof.as_bytes(), RefusalReason::BadSignature);
    witness.nothing_happened();
}

#[test]
fn a_proof_for_another_opening_must_be_refused() {
    let without_will = Asked::by("dev-1").opening();
    // The device asked for nothing; somebody on the way adds a will, takes one out, or keeps the old session.
    for (sent, signed) in [
        (
            Asked {
                will: Some(WillWanted::new("devices/dev-1/gone", b"planted")),
                ..Asked::by("dev-1")
            },
            without_will,
        ),
        (
            Asked {
                will: Some(WillWanted::new("devices/dev-1/gone", b"changed")),
                ..Asked::by("dev-1")
            },
            Asked {
                will: Some(WillWanted::new("devices/dev-1/gone", b"meant")),
                ..Asked::by("dev-1")
            }
            .opening(),
        ),
        (
            Asked {
                clean_start: false,
                ..Asked::by("dev-1")
            },
            without_will,
        ),
    ] {
        let broker = Broker::start();
        let device = Device::new("dev-1");
        broker.enrol([&device]);
        let mut witness = Witness::of(&broker);
        let login = Challenged::begin(&broker, &device, &sent);
        let claim = Claim {
            opening: signed,
            ..login.claim(&sent)
        };
        let proof = claim.prove(&device);
        login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::BadSignature);
        witness.nothing_happened();
    }
}

#[test]
fn a_proof_for_another_open_must_be_refused() {
    lie_must_be_refused(|claim| claim.open.client_nonce[0] ^= 1);
}

#[test]
fn a_proof_in_the_brokers_role_must_be_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let asked = Asked::by("dev-1");
    let login = Challenged::begin(&broker, &device, &asked);
    let message = login.claim(&asked).to_be_signed(Role::Broker);
    let proof = device.signer().sign(&message.signable()).unwrap();
    login.must_be_refused(&broker, proof.as_bytes(), RefusalReason::BadSignature);
}

#[test]
fn another_devices_client_id_must_be_refused() {
    let broker = Broker::start();
    let (one, two) = (Device::new("dev-1"), Device::new("dev-2"));
    broker.enrol([&one, &two]);
    let mut witness = Witness::of(&broker);
    for client_id in ["dev-2", "dev-1/suffix", "somebody"] {
        // A perfect proof by the first device, for a client id that is not its own.
        let asked = Asked::by(client_id);
        let mut login = Challenged::begin(&broker, &one, &asked);
        let local = login.wire.local();
        let proof = login.claim(&asked).prove(&one);
        login.wire.send_bytes(&proof_packet(proof.as_bytes()));
        login.wire.finish();
        assert_eq!(login.wire.end(), Some(0x85), "{client_id}");
        assert_eq!(
            broker.trail().refused_login(local),
            RefusalReason::ClientIdNotOwn
        );
    }
    witness.nothing_happened();
}

#[test]
fn a_pinned_key_that_is_not_the_brokers_is_refused_before_anything_is_signed() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let elsewhere = Device::new("another-broker").public_key();
    let open = open_of(device.key_id(), Some(&elsewhere));
    let mut wire = broker.wire();
    let local = wire.local();
    wire.send_bytes(&Asked::by("dev-1").with_open(&open.encode()));
    wire.finish();
    assert_eq!(wire.end(), NOT_AUTHORIZED);
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::WrongBroker
    );
}

#[test]
fn suspended_unknown_and_unproved_look_alike() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    broker.transition(&device, Transition::Suspend);
    let asked = Asked::by("dev-1");
    let stranger = Device::new("dev-9");

    let answer_to = |device: &Device, signer: &Device, asked: &Asked| {
        let mut login = Challenged::begin(&broker, device, asked);
        let local = login.wire.local();
        let proof = login.claim(asked).prove(signer);
        login.wire.send_bytes(&proof_packet(proof.as_bytes()));
        let answer = login.wire.packet().raw().to_vec();
        (answer, broker.trail().refused_login(local))
    };
    let (suspended, reason) = answer_to(&device, &device, &asked);
    assert_eq!(reason, RefusalReason::DeviceSuspended);
    let (unproved, reason) = answer_to(&device, &stranger, &asked);
    assert_eq!(reason, RefusalReason::BadSignature);
    let (unknown, reason) = answer_to(&stranger, &stranger, &Asked::by("dev-9"));
    assert_eq!(reason, RefusalReason::UnknownDevice);
    assert_eq!(suspended, unknown);
    assert_eq!(suspended, unproved);
}

#[test]
fn no_credentials_and_two_kinds_are_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let asked = Asked::by("dev-1");

    let mut bare = broker.wire();
    let local = bare.local();
    let connect = asked.connect(Version::V5);
    bare.send(&keygate_protocol::mqtt::Packet::Connect(connect));
    bare.finish();
    assert_eq!(bare.end(), NOT_AUTHORIZED);
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::NoCredentials
    );

    let assertion = device.assertion(&broker.broker_id);
    let open = open_of(device.key_id(), None).encode();
    let mut connect = asked.connect(Version::V5);
    connect.username = Some("dev-1");
    connect.password = Some(assertion.as_bytes());
    connect.properties.auth_method = Some(keygate_protocol::login::METHOD);
    connect.properties.auth_data = Some(&open);
    let mut both = broker.wire();
    let local = both.local();
    both.send(&keygate_protocol::mqtt::Packet::Connect(connect));
    both.finish();
    assert_eq!(both.end(), NOT_AUTHORIZED);
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::TwoCredentials
    );
}

#[test]
fn another_method_must_be_refused() {
    let broker = Broker::start();
    let asked = Asked::by("dev-1");
    let mut connect = asked.connect(Version::V5);
    connect.properties.auth_method = Some("SCRAM-SHA-256");
    let mut wire = broker.wire();
    let local = wire.local();
    wire.send(&keygate_protocol::mqtt::Packet::Connect(connect));
    wire.finish();
    assert_eq!(wire.end(), Some(0x8c));
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::MethodUnknown
    );
}
