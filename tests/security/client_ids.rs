//! Client ids: one's own, with a suffix, free, none.
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::{Packet, Version};
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Device};
use keygate_tests::doors::accepted;
use keygate_tests::session::Client;
use std::collections::BTreeSet;

const SUFFIXES: &str = "[login]\nclient_id = \"id-or-suffix\"\n";

fn stage(settings: &str) -> (Broker, Device) {
    let broker = Broker::with(settings);
    let device = Device::new("dev-1");
    broker.enrol([&device, &Device::new("dev-2")]);
    (broker, device)
}

/// Logs in by assertion with this client id; the answer has the Assigned Client Identifier.
fn log_in(
    broker: &Broker,
    device: &Device,
    asked: &Asked,
    version: Version,
) -> Result<(Client, Option<String>), (RefusalReason, Option<u8>)> {
    let assertion = device.assertion(&broker.broker_id);
    let mut wire = broker.wire().speaking(version);
    let local = wire.local();
    wire.send_bytes(&asked.with_assertion(version, &device.id, &assertion));
    let got = accepted(&mut wire).map_err(|code| (broker.trail().refused_login(local), code))?;
    let Packet::Connack(connack) = got.packet() else {
        unreachable!("accepted() gives a CONNACK");
    };
    let assigned = connack.properties.assigned_client_id.map(str::to_owned);
    Ok((Client::new(wire), assigned))
}

#[test]
fn a_device_has_one_session_for_each_suffix() {
    let (broker, device) = stage(SUFFIXES);
    let mut own = broker.log_in(&device);
    let mut panel = broker.log_in_as(&device, &Asked::by("dev-1/panel"));
    let (mut tool, assigned) =
        log_in(&broker, &device, &Asked::by("dev-1/tool"), Version::V311).expect("its own");
    assert_eq!(assigned, None);
    for client in [&mut own, &mut panel, &mut tool] {
        client.must_subscribe("devices/dev-1/#");
    }
    own.must_publish("devices/dev-1/x", b"to all");
    for client in [&mut own, &mut panel, &mut tool] {
        client.must_receive("devices/dev-1/x", b"to all");
    }
    // The same one again takes over that session and no other.
    let mut again = broker.log_in_as(&device, &Asked::by("dev-1/panel"));
    assert_eq!(panel.end(), Some(0x8e));
    for client in [&mut own, &mut tool, &mut again] {
        client.must_stand();
    }
}

#[test]
fn the_names_of_others_stay_theirs() {
    let (broker, device) = stage(SUFFIXES);
    for name in ["dev-2", "dev-2/panel", "dev-10/x", "dev-1/", "dev-1/a/b"] {
        for (version, code) in [(Version::V311, 2), (Version::V5, 0x85)] {
            let refused = log_in(&broker, &device, &Asked::by(name), version);
            assert_eq!(
                refused.map(drop).expect_err("not its own"),
                (RefusalReason::ClientIdNotOwn, Some(code)),
                "{name}"
            );
        }
        let tried = broker.try_log_in(&device, &Asked::by(name));
        assert_eq!(tried.map(drop).expect_err("not its own"), Some(0x85));
    }
}

/// MQTT 5 §3.1.3.1, §3.2.2.3.7.
#[test]
fn an_empty_client_id_gets_one_of_its_own() {
    let (broker, device) = stage(SUFFIXES);
    let mut seen = BTreeSet::new();
    let mut sessions = Vec::new();
    for clean_start in [true, false] {
        let asked = Asked {
            clean_start,
            ..Asked::by("")
        };
        let (client, assigned) =
            log_in(&broker, &device, &asked, Version::V5).expect("it is assigned one");
        let assigned = assigned.expect("and told");
        assert!(assigned.starts_with("dev-1/"), "{assigned}");
        assert!(seen.insert(assigned));
        sessions.push(client);
    }
    // Nothing tells a 3.1.1 client, but it has a session all the same.
    let (client, _) =
        log_in(&broker, &device, &Asked::by(""), Version::V311).expect("it is assigned one");
    sessions.push(client);
    // A proof covers that none was sent, and holds.
    sessions.push(broker.log_in_as(&device, &Asked::by("")));
    for client in &mut sessions {
        client.must_stand();
    }
    // It can come back under the name that it was given, and ends its old connection by that.
    let name = seen.pop_first().expect("two");
    let (_again, assigned) =
        log_in(&broker, &device, &Asked::by(&name), Version::V5).expect("its own");
    assert_eq!(assigned, None);
    let ended = sessions
        .iter_mut()
        .take(2)
        .filter_map(|client| {
            client.wire.send(&Packet::Pingreq);
            match client.wire.hear() {
                keygate_tests::wire::Heard::Packet(got) => match got.packet() {
                    Packet::Disconnect(end) => Some(end.code.value()),
                    _ => None,
                },
                keygate_tests::wire::Heard::Closed => None,
            }
        })
        .collect::<Vec<_>>();
    assert_eq!(ended, [0x8e]);
}

/// MQTT 3.1.1 §3.1.3.1: whoever wants its session back must name it, whatever the listener allows.
#[test]
fn an_empty_client_id_with_clean_session_0_is_refused() {
    for settings in ["", SUFFIXES, "[login]\nclient_id = \"free\"\n"] {
        let (broker, device) = stage(settings);
        let asked = Asked {
            clean_start: false,
            ..Asked::by("")
        };
        let refused = log_in(&broker, &device, &asked, Version::V311);
        assert_eq!(
            refused.map(drop).expect_err("no name"),
            (RefusalReason::ClientIdNotOwn, Some(2))
        );
    }
}

#[test]
fn a_free_client_id_gives_no_rights() {
    let (broker, device) = stage("[login]\nclient_id = \"free\"\n");
    let (mut client, assigned) =
        log_in(&broker, &device, &Asked::by("dev-2"), Version::V5).expect("free");
    assert_eq!(assigned, None);
    assert_eq!(client.publish("devices/dev-2/x", b"not mine"), 0x87);
    client.must_publish("devices/dev-1/x", b"mine");
}

/// A session belongs to the identity that opened it: whoever else knows its name gets nothing, and changes nothing.
#[test]
fn somebody_elses_session_is_neither_resumed_nor_taken_over() {
    let free = "[login]\nclient_id = \"free\"\n[anonymous]\nallow = [\"plain/#\"]\n";
    let (broker, device) = stage(free);
    let other = Device::new("dev-3");
    broker.enrol([&other]);
    let mut own = broker.log_in_as(&device, &Asked::by("workshop"));
    own.must_subscribe("devices/dev-1/#");
    for version in [Version::V311, Version::V5] {
        let code = if version == Version::V5 { 0x85 } else { 2 };
        let refused = log_in(&broker, &other, &Asked::by("workshop"), version);
        assert_eq!(
            refused.map(drop).expect_err("not its session"),
            (RefusalReason::SessionNotOwn, Some(code))
        );
        // Nor does a client that proves nothing.
        let mut wire = broker.wire().speaking(version);
        wire.send(&Packet::Connect(Asked::by("workshop").connect(version)));
        assert_eq!(accepted(&mut wire).map(drop), Err(Some(code)));
    }
    own.must_publish("devices/dev-1/x", b"still here");
    own.must_receive("devices/dev-1/x", b"still here");
}
