//! What an operator does takes effect at once, and the command line tells what happened.
use keygate_broker::identity::Transition;
use keygate_broker::telemetry::event::DisconnectCause;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::{Qos, Version};
use keygate_tests::broker::Broker;
use keygate_tests::coap::Coap;
use keygate_tests::device::{Asked, Device, WillWanted};
use keygate_tests::net::own_address;
use keygate_tests::process::Program;
use tempfile::TempDir;

#[test]
fn revocation_disconnects_at_once_and_there_is_no_way_back() {
    let broker = Broker::start();
    let device = Device::new("dev-1").in_group("g");
    let reader = Device::new("reader").in_group("g");
    broker.enrol([&device, &reader]);
    let mut reader = broker.log_in(&reader);
    reader.must_subscribe("groups/g/state/+");
    let asked = Asked {
        will: Some(WillWanted::new("groups/g/state/dev-1", b"gone")),
        ..Asked::by("dev-1")
    };
    let mut session = broker.log_in_as(&device, &asked);
    session.must_subscribe("devices/dev-1/#");
    let token = Coap::to(&broker).ask_for_token(&device);
    assert!(!token.token().is_empty());

    broker.transition(&device, Transition::Revoke);
    assert_eq!(session.end(), Some(0x98));
    assert_eq!(
        broker.trail().ended(session.wire.local()),
        DisconnectCause::Revoked
    );
    // Whoever is revoked says nothing more.
    reader.must_have_received_nothing();

    let wire = broker.wire();
    let local = wire.local();
    let refused = broker.log_in_over(wire, &device, &Asked::by("dev-1"));
    assert_eq!(refused.err(), Some(Some(0x87)));
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::DeviceRevoked
    );
    let assertion = device.assertion(&broker.broker_id);
    let tried = broker.try_assertion(&device, &Asked::by("dev-1"), Version::V311, &assertion);
    let (local, code) = tried.expect_err("it is refused");
    assert_eq!(code, Some(5));
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::DeviceRevoked
    );
    let mut gateway = Coap::to(&broker);
    assert_eq!(gateway.ask_for_token(&device).code, 0x81);
    assert_eq!(
        broker.trail().token(gateway.local()),
        Some(RefusalReason::DeviceRevoked)
    );
}

#[test]
fn a_3_1_1_session_of_a_revoked_device_is_closed() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut session = broker.log_in_by_assertion(&device, Version::V311);
    broker.transition(&device, Transition::Revoke);
    assert_eq!(session.end(), None);
}

#[test]
fn suspension_locks_out_until_resumed() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    let other = Device::new("dev-2");
    broker.enrol([&device, &other]);
    let mut session = broker.log_in(&device);
    let mut bystander = broker.log_in(&other);

    broker.transition(&device, Transition::Suspend);
    assert_eq!(session.end(), Some(0x98));
    assert_eq!(
        broker.trail().ended(session.wire.local()),
        DisconnectCause::Suspended
    );
    let refused = broker.try_log_in(&device, &Asked::by("dev-1"));
    assert_eq!(refused.err(), Some(Some(0x87)));
    bystander.must_stand();

    broker.transition(&device, Transition::Resume);
    broker.log_in(&device).must_stand();
}

#[test]
fn a_login_that_races_with_its_revocation_does_not_stay() {
    let broker = Broker::with("shards = 3\n");
    for number in 0..40 {
        let device = Device::new(&format!("dev-{number}"));
        broker.enrol([&device]);
        let tried = std::thread::scope(|scope| {
            let asked = Asked::by(&device.id);
            let (broker, device) = (&broker, &device);
            let login = scope.spawn(move || broker.try_log_in(device, &asked));
            broker.transition(device, Transition::Revoke);
            login.join().unwrap()
        });
        match tried {
            Ok(mut session) => assert_eq!(session.end(), Some(0x98)),
            Err(code) => assert!([Some(0x87), Some(0x98)].contains(&code), "{code:02x?}"),
        }
    }
}

#[test]
fn a_fleet_is_disconnected_within_the_second() {
    const DEVICES: usize = 100;
    let broker = Broker::start();
    let fleet: Vec<Device> = (0..DEVICES)
        .map(|number| Device::new(&format!("dev-{number}")))
        .collect();
    broker.enrol(&fleet);
    let mut sessions: Vec<_> = fleet.iter().map(|device| broker.log_in(device)).collect();
    let watch = keygate_tests::clock::Stopwatch::start();
    for device in &fleet {
        broker.transition(device, Transition::Revoke);
    }
    for session in &mut sessions {
        assert_eq!(session.end(), Some(0x98));
    }
    println!(
        "{DEVICES} revoked one by one, the last gone after {:?}",
        watch.elapsed()
    );
}

#[test]
fn the_command_line_enrols_asserts_revokes_and_explains() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let program = Program::new(env!("CARGO_BIN_EXE_keygate-under-test"));
    let broker = program.serve(&data, own_address());
    let key = directory.path().join("dev-1.pem");
    let key = key.to_str().unwrap();
    let device = Device::new("dev-1");

    // The key is made here, the password by the command, and an ordinary CONNECT uses it.
    let added = ["device", "add", "dev-1", "--generate", key];
    program.run(&data, &added).done();
    let assert = [
        "assert",
        "--id",
        "dev-1",
        "--key",
        key,
        "--aud",
        &broker.broker_id,
    ];
    let assertion = program.run(&data, &assert).done();
    let assertion = assertion.trim();
    let asked = Asked::by("dev-1");
    let mut session = broker
        .try_assertion(&device, &asked, Version::V311, assertion)
        .expect("the assertion is good");
    session.must_subscribe("devices/dev-1/#");

    // A token, over CoAP, and what is in it.
    let coap = format!("coap://{}", broker.coap);
    let fetch = [
        "fetch-token",
        "--coap",
        &coap,
        "--id",
        "dev-1",
        "--key",
        key,
    ];
    let token = program.run(&data, &fetch).done();
    let inspected = program
        .run(&data, &["token", "inspect", token.trim()])
        .done();
    assert!(inspected.contains("dev-1"), "{inspected}");

    program.run(&data, &["device", "revoke", "dev-1"]).done();
    assert_eq!(session.end(), None);
    let tried = broker.try_assertion(&device, &asked, Version::V5, assertion);
    let (local, code) = tried.expect_err("it is refused");
    assert_eq!(code, Some(0x87));
    assert_eq!(
        broker.trail().refused_login(local),
        RefusalReason::DeviceRevoked
    );
    let why = program.run(&data, &["why", "dev-1"]).done();
    assert!(why.contains("revoked"), "{why}");
    let refused = program
        .run(&data, &["audit", "--refused", "--json", "--id", "dev-1"])
        .done();
    assert!(refused.contains("device_revoked"), "{refused}");
}

#[test]
fn an_operator_hears_how_the_broker_is_and_a_device_does_not() {
    let broker = Broker::with("sys_interval_s = 1");
    let operator = Device::new("panel").with_role("operator");
    let device = Device::new("dev-1");
    broker.enrol([&operator, &device]);
    let mut device = broker.log_in(&device);
    assert_eq!(device.subscribe("$SYS/#", Qos::AtLeastOnce), 0x87);

    let mut panel = broker.log_in(&operator);
    panel.must_subscribe("$SYS/broker/uptime");
    let said = [panel.receive(), panel.receive()];
    let seconds = said.map(|message| {
        assert_eq!(message.topic, "$SYS/broker/uptime");
        let text = String::from_utf8(message.payload).unwrap();
        let number = text.strip_suffix(" seconds").unwrap();
        number.parse::<u64>().unwrap()
    });
    assert!(seconds[0] < seconds[1], "{seconds:?}");
    device.must_have_received_nothing();
}
