//! SIGKILL at any time loses no device, no key, and no token.
use keygate_broker::admin::{Answer, Command};
use keygate_broker::telemetry::event::{BrokerChange, EventKind};
use keygate_protocol::coap::Code;
use keygate_protocol::cwt::{Expectation, Untrusted};
use keygate_protocol::ident::Id;
use keygate_protocol::mqtt::Version;
use keygate_protocol::time::UnixTime;
use keygate_tests::admin;
use keygate_tests::coap::Coap;
use keygate_tests::device::{Device, wall};
use keygate_tests::net::own_address;
use keygate_tests::process::{Process, Program, public_key};
use tempfile::TempDir;

fn start(directory: &TempDir) -> Process {
    Program::new(env!("CARGO_BIN_EXE_keygate-under-test"))
        .serve(&directory.path().join("data"), own_address())
}

fn devices(process: &Process) -> String {
    process
        .program()
        .run(&process.data, &["device", "list", "--json"])
        .done()
}

#[test]
fn sigkill_loses_no_device_and_no_key() {
    let directory = TempDir::new().unwrap();
    let mut broker = start(&directory);
    let fleet: Vec<Device> = (0..20)
        .map(|number| Device::new(&format!("dev-{number:02}")).in_group("g"))
        .collect();
    for device in &fleet {
        admin::enrol(&broker.data, device);
    }
    let mut sessions: Vec<_> = fleet.iter().map(|device| broker.log_in(device)).collect();
    let token = Coap::to(&broker).ask_for_token(&fleet[0]).token();
    let before = (
        devices(&broker),
        admin::ask(&broker.data, &Command::Keys),
        broker.identity_key,
        broker.broker_id.clone(),
    );
    let keys = Coap::to(&broker).get(&["keys"]);

    broker.kill_and_restart();

    let after = (
        devices(&broker),
        admin::ask(&broker.data, &Command::Keys),
        broker.identity_key,
        broker.broker_id.clone(),
    );
    assert_eq!(before, after);
    assert_eq!(before.0.lines().count(), fleet.len(), "{}", before.0);
    for session in &mut sessions {
        assert_eq!(session.end(), None, "the old connections are gone");
    }
    for device in &fleet {
        // They still pin the same key.
        broker.log_in(device).must_stand();
        broker.log_in_by_assertion(device, Version::V5).must_stand();
    }

    // The token from before still verifies with the keys of now.
    assert_eq!(keys.code, Code::CONTENT.0);
    assert_eq!(Coap::to(&broker).get(&["keys"]).payload, keys.payload);
    verify(&broker, &token, "dev-00");
    let again = Coap::to(&broker).ask_for_token(&fleet[0]).token();
    verify(&broker, &again, "dev-00");
    let starts = broker
        .trail()
        .events()
        .into_iter()
        .filter(|event| {
            matches!(
                event,
                EventKind::Broker {
                    change: BrokerChange::Started,
                    ..
                }
            )
        })
        .count();
    assert_eq!(starts, 2);
}

#[track_caller]
fn verify(broker: &Process, token: &[u8], sub: &str) {
    let untrusted = Untrusted::decode(token).expect("a token");
    let Answer::Keys(keys) = admin::ask(&broker.data, &Command::Keys) else {
        panic!("expected the keys");
    };
    let key = keys
        .token
        .iter()
        .map(|key| public_key(key))
        .find(|key| key.key_id() == untrusted.key_id())
        .expect("the key that signed is live");
    let claims = untrusted.verify(&key).expect("it verifies").into_inner();
    assert_eq!(claims.sub.as_str(), sub);
    claims
        .check(&Expectation {
            iss: Id::new(&broker.broker_id).unwrap(),
            aud: &broker.broker_id,
            now: UnixTime(wall()),
            tolerance_s: 60,
        })
        .expect("its claims are in order");
}

#[test]
fn a_device_that_was_just_acknowledged_survives() {
    // The kill comes right behind the answer, again and again: what was answered is on the disk.
    let directory = TempDir::new().unwrap();
    let mut broker = start(&directory);
    for round in 0..5 {
        let device = Device::new(&format!("dev-{round}"));
        admin::enrol(&broker.data, &device);
        broker.kill_and_restart();
        broker.log_in(&device).must_stand();
    }
    assert_eq!(admin::state(&broker.data).0, 5);
}

#[test]
fn a_revocation_that_was_just_acknowledged_survives() {
    use keygate_broker::identity::Transition;
    use keygate_tests::device::Asked;
    let directory = TempDir::new().unwrap();
    let mut broker = start(&directory);
    let device = Device::new("dev-1");
    admin::enrol(&broker.data, &device);
    broker.log_in(&device).must_stand();
    admin::transition(&broker.data, "dev-1", Transition::Revoke);
    broker.kill_and_restart();
    let refused = broker.try_log_in(&device, &Asked::by("dev-1"));
    assert_eq!(refused.err(), Some(Some(0x87)));
}

#[test]
fn what_was_enrolled_while_it_was_down_is_there() {
    let directory = TempDir::new().unwrap();
    let mut broker = start(&directory);
    broker.kill();
    let device = Device::new("dev-1");
    let key = keygate_tests::bytes::hex(device.public_key().as_bytes());
    let add = ["device", "add", "dev-1", "--public-key", &key];
    broker.program().run(&broker.data, &add).done();
    let broker = start(&directory);
    broker.log_in(&device).must_stand();
}

#[test]
fn two_brokers_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let broker = start(&directory);
    let second = broker.program().run(
        &broker.data,
        &["serve", "--mqtt", "127.0.0.1:0", "--coap", "127.0.0.1:0"],
    );
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("in use"), "{second:?}");
    let device = Device::new("dev-1");
    admin::enrol(&broker.data, &device);
    broker.log_in(&device).must_stand();
}

#[test]
fn two_brokers_do_not_share_a_port() {
    // Shards share the listening address among each other; another broker must not be let in between them.
    let directory = TempDir::new().unwrap();
    let broker = start(&directory);
    let second = broker.program().run(
        &directory.path().join("another"),
        &["serve", "--mqtt", &broker.mqtt.to_string()],
    );
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("cannot listen"), "{second:?}");
}
