//! How sessions begin and end.
use std::time::Duration;

use keygate_broker::telemetry::event::{DisconnectCause, EventKind, Outcome};
use keygate_protocol::ident::Id;
use keygate_protocol::login::{ClientId, METHOD, Opening, device::Login};
use keygate_protocol::mqtt::{Auth, Disconnect, Packet, ReasonCode, Version};
use keygate_tests::broker::Broker;
use keygate_tests::clock::Stopwatch;
use keygate_tests::device::{Asked, Device, WillWanted, open_of};
use keygate_tests::session::Client;
use keygate_tests::wire::Heard;

/// A reader of the group, and a device that leaves a will in it.
fn stage(broker: &Broker) -> (Client, Device, Asked) {
    let reader = Device::new("reader").in_group("g");
    let device = Device::new("dev-1").in_group("g");
    broker.enrol([&reader, &device]);
    let mut reader = broker.log_in(&reader);
    reader.must_subscribe("groups/g/state/+");
    let asked = Asked {
        will: Some(WillWanted::new("groups/g/state/dev-1", b"gone")),
        ..Asked::by("dev-1")
    };
    (reader, device, asked)
}

#[test]
fn a_lost_connection_leaves_its_will() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let session = broker.log_in_as(&device, &asked);
    let local = session.wire.local();
    session.cut();
    reader.must_receive("groups/g/state/dev-1", b"gone");
    assert_eq!(broker.trail().ended(local), DisconnectCause::Lost);
}

#[test]
fn an_end_right_behind_the_last_bytes_is_noticed() {
    // Bytes and the end of the stream often come with one event of the poll: no other follows.
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    for number in 0..50_u8 {
        let mut session = broker.log_in_as(&device, &asked);
        session.publish_unacknowledged("groups/g/state/dev-1", &[number]);
        session.wire.finish();
        reader.must_receive("groups/g/state/dev-1", &[number]);
        reader.must_receive("groups/g/state/dev-1", b"gone");
        assert_eq!(session.end(), None);
    }
}

#[test]
fn a_goodbye_takes_the_will_back() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let session = broker.log_in_as(&device, &asked);
    let local = session.wire.local();
    session.say_goodbye();
    assert_eq!(broker.trail().ended(local), DisconnectCause::ByClient);
    // The next thing that the reader hears is something else.
    let mut again = broker.log_in(&device);
    again.must_publish("groups/g/state/dev-1", b"back");
    reader.must_receive("groups/g/state/dev-1", b"back");
}

#[test]
fn a_goodbye_with_will_leaves_it() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut session = broker.log_in_as(&device, &asked);
    let local = session.wire.local();
    let goodbye = Disconnect::new(ReasonCode::DisconnectWithWill);
    session.wire.send(&Packet::Disconnect(goodbye));
    session.wire.finish();
    assert_eq!(session.end(), None);
    reader.must_receive("groups/g/state/dev-1", b"gone");
    assert_eq!(
        broker.trail().ended(local),
        DisconnectCause::ByClientWithWill
    );
}

#[test]
fn silence_beyond_the_keep_alive_ends_the_session_with_its_will() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut session = broker.log_in_as(
        &device,
        &Asked {
            keep_alive_s: 1,
            ..asked
        },
    );
    let watch = Stopwatch::start();
    assert_eq!(session.end(), Some(0x8d));
    // One and a half intervals (MQTT 5 §3.1.2.10).
    assert!(watch.elapsed() >= Duration::from_millis(1_400));
    reader.must_receive("groups/g/state/dev-1", b"gone");
    assert_eq!(
        broker.trail().ended(session.wire.local()),
        DisconnectCause::KeepAlive
    );
}

#[test]
fn pings_keep_a_session_alive() {
    let broker = Broker::start();
    let (_, device, asked) = stage(&broker);
    let mut session = broker.log_in_as(
        &device,
        &Asked {
            keep_alive_s: 1,
            will: None,
            ..asked
        },
    );
    let watch = Stopwatch::start();
    while watch.elapsed() < Duration::from_secs(4) {
        session.must_stand();
        // Listening for half an interval is what paces the pings.
        let half = keygate_tests::clock::Deadline::after(Duration::from_millis(500));
        assert_eq!(session.wire.hear_until(half), None);
    }
    session.must_stand();
}

#[test]
fn the_same_device_takes_its_session_over() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut first = broker.log_in_as(&device, &asked);
    let mut second = broker.log_in(&device);
    assert_eq!(first.end(), Some(0x8e));
    reader.must_receive("groups/g/state/dev-1", b"gone");
    assert_eq!(
        broker.trail().ended(first.wire.local()),
        DisconnectCause::TakenOver
    );
    second.must_stand();

    // And once more by the other method and version; the one that leaves is told in its own version.
    let mut third = broker.log_in_by_assertion(&device, Version::V311);
    assert_eq!(second.end(), Some(0x8e));
    let mut fourth = broker.log_in(&device);
    assert_eq!(third.end(), None, "3.1.1 has no DISCONNECT from a server");
    fourth.must_stand();
}

#[test]
fn of_many_logins_at_once_one_stands() {
    let broker = Broker::with("shards = 3\n");
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    for _ in 0..5 {
        let mut sessions: Vec<Client> = std::thread::scope(|scope| {
            let logins: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| broker.log_in(&device)))
                .collect();
            logins
                .into_iter()
                .map(|login| login.join().unwrap())
                .collect()
        });
        // A ping shows who is left: it comes back, or the takeover does.
        let mut standing = 0;
        for session in &mut sessions {
            session.wire.send(&Packet::Pingreq);
            let Heard::Packet(got) = session.wire.hear() else {
                panic!("closed without a reason");
            };
            match got.packet() {
                Packet::Pingresp => standing += 1,
                Packet::Disconnect(disconnect) => {
                    assert_eq!(disconnect.code, ReasonCode::SessionTakenOver);
                }
                other => panic!("did not expect {other:?}"),
            }
        }
        assert_eq!(standing, 1);
    }
}

#[test]
fn a_session_ends_with_its_connection() {
    // Session expiry is 0 so far, and CONNACK says so: what was subscribed is gone.
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut session = broker.log_in(&device);
    session.must_subscribe("groups/g/state/+");
    session.cut();
    let mut again = broker.log_in_as(
        &device,
        &Asked {
            clean_start: false,
            will: None,
            ..asked
        },
    );
    reader.must_publish("groups/g/state/reader", b"x");
    again.must_have_received_nothing();
}

#[test]
fn a_session_proves_itself_again() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut client = broker.log_in(&device);
    let client_id = ClientId::new("dev-1").unwrap();
    let login = Login::new(
        client_id,
        Id::new(&broker.broker_id).unwrap(),
        device.key_id(),
    )
    .pin(broker.identity_key);
    let nonce = open_of(device.key_id(), None).client_nonce;
    let (waiting, open) = login.open(nonce, Opening::reauthentication());
    send_auth(&mut client, ReasonCode::ReAuthenticate, &open);
    let got = client.wire.packet();
    let Packet::Auth(challenge) = got.packet() else {
        panic!("expected a challenge, heard {got:?}");
    };
    let challenged = waiting.read(challenge.data.unwrap()).unwrap();
    let (waiting, proof) = challenged.answer(None, &mut device.signer()).unwrap();
    // The old rights go on meanwhile.
    client.must_publish("devices/dev-1/x", b"x");
    send_auth(
        &mut client,
        ReasonCode::ContinueAuthentication,
        proof.as_bytes(),
    );
    let got = client.wire.packet();
    let Packet::Auth(end) = got.packet() else {
        panic!("expected the end, heard {got:?}");
    };
    assert_eq!(end.code, ReasonCode::Success);
    assert!(waiting.confirm(end.data).unwrap().broker_proved());
    client.must_stand();
    broker
        .trail()
        .wait_for("second login", |event| match event {
            EventKind::Login {
                outcome: Outcome::Accepted,
                again: true,
                ..
            } => Some(()),
            _ => None,
        });
}

#[test]
fn a_session_that_fails_to_prove_itself_again_ends() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut client = broker.log_in_as(&device, &asked);
    let open = open_of(device.key_id(), None).encode();
    send_auth(&mut client, ReasonCode::ReAuthenticate, &open);
    let got = client.wire.packet();
    assert!(matches!(got.packet(), Packet::Auth(_)));
    send_auth(&mut client, ReasonCode::ContinueAuthentication, &[7; 64]);
    assert_eq!(client.end(), Some(0x87));
    assert_eq!(
        broker.trail().ended(client.wire.local()),
        DisconnectCause::ReauthenticationRefused
    );
    reader.must_have_received_nothing();
}

#[test]
fn an_orderly_stop_tells_every_session() {
    let broker = Broker::start();
    let (mut reader, device, asked) = stage(&broker);
    let mut session = broker.log_in_as(&device, &asked);
    let stopping = std::thread::spawn(move || broker.stop());
    assert_eq!(session.end(), Some(0x8b));
    assert_eq!(reader.end(), Some(0x8b));
    drop((session, reader));
    stopping.join().unwrap();
}

#[track_caller]
fn send_auth(client: &mut Client, code: ReasonCode, data: &[u8]) {
    let mut auth = Auth::new(code, METHOD);
    auth.data = Some(data);
    client.wire.send(&Packet::Auth(auth));
}
