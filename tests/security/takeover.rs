//! Sessions belong to identities: what others try changes nothing about them.
use keygate_broker::telemetry::event::DisconnectCause;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::Version;
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Claim, Device, WillWanted, open_of, proof_packet};
use keygate_tests::doors::challenge;

#[test]
fn failed_logins_under_a_devices_name_leave_its_session_and_will_alone() {
    let broker = Broker::start();
    let victim = Device::new("dev-1").in_group("g");
    let other = Device::new("dev-2").in_group("g");
    let reader = Device::new("dev-3").in_group("g");
    broker.enrol([&victim, &other, &reader]);
    let mut watcher = broker.log_in(&reader);
    watcher.must_subscribe("groups/g/state/+");
    let asked = Asked {
        will: Some(WillWanted::new("groups/g/state/dev-1", b"gone")),
        ..Asked::by("dev-1")
    };
    let mut session = broker.log_in_as(&victim, &asked);
    session.must_subscribe("devices/dev-1/#");

    // A CONNECT and nothing more; it ends when the peer leaves.
    let open = open_of(victim.key_id(), None);
    let mut silent = broker.wire();
    silent.send_bytes(&Asked::by("dev-1").with_open(&open.encode()));
    challenge(&mut silent).unwrap();
    drop(silent);

    // An impostor's proof, another device's proof, an impostor's assertion, in every clean-start.
    for clean_start in [true, false] {
        for (signer, code) in [(victim.impostor(), 0x87), (other.clone(), 0x85)] {
            let asked = Asked {
                clean_start,
                ..Asked::by("dev-1")
            };
            let open = open_of(signer.key_id(), None);
            let mut wire = broker.wire();
            wire.send_bytes(&asked.with_open(&open.encode()));
            let nonce = challenge(&mut wire).unwrap();
            let proof = Claim::honest(&nonce, &asked, &open).prove(&signer);
            wire.send_bytes(&proof_packet(proof.as_bytes()));
            wire.finish();
            assert_eq!(wire.end(), Some(code));
        }
        let asked = Asked {
            clean_start,
            ..Asked::by("dev-1")
        };
        let forged = victim.impostor().assertion(&broker.broker_id);
        let tried = broker.try_assertion(&victim, &asked, Version::V5, &forged);
        let (local, code) = tried.expect_err("it is refused");
        assert_eq!(code, Some(0x87));
        assert_eq!(
            broker.trail().refused_login(local),
            RefusalReason::KeyUnknown
        );
    }

    session.must_have_received_nothing();
    session.must_publish("devices/dev-1/x", b"still here");
    session.must_receive("devices/dev-1/x", b"still here");
    watcher.must_have_received_nothing();

    // The owner of the key takes it over, from the same place.
    let mut again = broker.log_in(&victim);
    assert_eq!(session.end(), Some(0x8e));
    assert_eq!(
        broker.trail().ended(session.wire.local()),
        DisconnectCause::TakenOver
    );
    watcher.must_receive("groups/g/state/dev-1", b"gone");
    again.must_stand();
}
