//! Clients that prove nothing: let in where `[anonymous]` says so, and no further.
use keygate_broker::telemetry::event::{DisconnectCause, EventKind, RightAction, RightReason};
use keygate_broker::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::mqtt::{Connect, Packet, Publish, Qos, Version};
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Device};
use keygate_tests::doors::accepted;
use keygate_tests::session::Client;
use std::net::SocketAddr;

const LAB: &str =
    "[anonymous]\nallow = [\"#\", \"$SYS/#\"]\ndeny = [\"secret/#\", \"test/nosubscribe\"]\n";

/// Sends this CONNECT; an error is our address and the code of the refusal.
fn knock(
    broker: &Broker,
    version: Version,
    connect: Connect<'_>,
) -> Result<Client, (SocketAddr, Option<u8>)> {
    let mut wire = broker.wire().speaking(version);
    let local = wire.local();
    wire.send(&Packet::Connect(connect));
    match accepted(&mut wire) {
        Ok(_) => Ok(Client::new(wire)),
        Err(code) => Err((local, code)),
    }
}

fn enter(broker: &Broker, version: Version, client_id: &str) -> Client {
    knock(broker, version, Asked::by(client_id).connect(version)).expect("it is let in")
}

fn method_of(broker: &Broker, peer: SocketAddr) -> Option<Method> {
    broker.trail().wait_for("login", |event| match event {
        EventKind::Login { method, origin, .. } if origin.peer == peer => Some(*method),
        _ => None,
    })
}

#[test]
fn without_the_table_nobody_gets_in() {
    let broker = Broker::start();
    for (version, code) in [(Version::V311, 5), (Version::V5, 0x87)] {
        let asked = Asked::by("probe");
        let (local, got) = knock(&broker, version, asked.connect(version)).expect_err("refused");
        assert_eq!(got, Some(code));
        assert_eq!(
            broker.trail().refused_login(local),
            RefusalReason::NoCredentials
        );
    }
}

#[test]
fn with_it_they_do_and_the_trail_says_how() {
    let broker = Broker::with(LAB);
    for version in [Version::V311, Version::V5] {
        let mut client = enter(&broker, version, "probe");
        client.must_subscribe("plain/#");
        client.must_publish("plain/x", b"hello");
        client.must_receive("plain/x", b"hello");
        let local = client.wire.local();
        assert_eq!(method_of(&broker, local), Some(Method::Anonymous));
        client.say_goodbye();
        assert_eq!(broker.trail().ended(local), DisconnectCause::ByClient);
    }
}

/// A password that is wrong, a method that fails, a name alone: none of it becomes a client without credentials.
#[test]
fn failed_credentials_never_become_none() {
    let broker = Broker::with(LAB);
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let asked = Asked::by("probe");
    let bare = |version| asked.connect(version);
    let mut wrong = bare(Version::V311);
    wrong.username = Some("probe");
    wrong.password = Some(b"hunter2");
    let mut name = bare(Version::V5);
    name.username = Some("probe");
    let mut method = bare(Version::V5);
    method.properties.auth_method = Some("SCRAM-SHA-1");
    let mut both = method;
    both.password = Some(b"hunter2");
    for (connect, code, reason) in [
        (wrong, 5, RefusalReason::AssertionMalformed),
        (name, 0x87, RefusalReason::NoCredentials),
        (method, 0x8c, RefusalReason::MethodUnknown),
        (both, 0x87, RefusalReason::TwoCredentials),
    ] {
        let (local, got) = knock(&broker, connect.version, connect).expect_err("refused");
        assert_eq!(got, Some(code));
        assert_eq!(broker.trail().refused_login(local), reason);
    }
    // An impostor's signature neither.
    let forged = device.impostor().assertion(&broker.broker_id);
    let tried = broker.try_assertion(&device, &Asked::by("dev-1"), Version::V5, &forged);
    assert_eq!(tried.expect_err("refused").1, Some(0x87));
}

#[test]
fn the_session_of_a_device_is_out_of_reach() {
    let broker = Broker::with(LAB);
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut session = broker.log_in(&device);
    for name in ["dev-1", "dev-1/panel"] {
        for clean_start in [true, false] {
            let asked = Asked {
                clean_start,
                ..Asked::by(name)
            };
            let connect = asked.connect(Version::V5);
            let (local, got) = knock(&broker, Version::V5, connect).expect_err("refused");
            assert_eq!(got, Some(0x87));
            assert_eq!(
                broker.trail().refused_login(local),
                RefusalReason::NoCredentials
            );
        }
    }
    session.must_stand();
}

#[test]
fn what_is_denied_is_refused_and_a_wide_subscription_goes_without_it() {
    let broker = Broker::with(LAB);
    let mut client = enter(&broker, Version::V5, "probe");
    let local = client.wire.local();
    for filter in [
        "secret/x",
        "secret/#",
        "test/nosubscribe",
        "$share/g/secret/x",
        "$other/x",
    ] {
        assert_eq!(client.subscribe(filter, Qos::AtLeastOnce), 0x87, "{filter}");
    }
    let denied = broker.trail().refused_right(local, "secret/x");
    assert_eq!(
        denied,
        (RightAction::Subscribe, RightReason::Denied, Some(0x87))
    );
    let denied = broker.trail().refused_right(local, "$share/g/secret/x");
    assert_eq!(
        denied,
        (RightAction::Share, RightReason::Denied, Some(0x87))
    );

    for (topic, reason) in [
        ("secret/y", RightReason::Denied),
        ("devices/dev-1/presence", RightReason::Reserved),
        ("$SYS/broker/x", RightReason::Reserved),
    ] {
        assert_eq!(client.publish(topic, b"x"), 0x87, "{topic}");
        let denied = broker.trail().refused_right(local, topic);
        assert_eq!(
            denied,
            (RightAction::Publish, reason, Some(0x87)),
            "{topic}"
        );
    }
    let answer = Publish::new("plain/x", b"x");
    let mut asks = answer;
    asks.properties.response_topic = Some("secret/answer");
    assert_eq!(client.publish_packet(asks), 0x87);

    client.must_subscribe("#");
    client.must_subscribe("+/+");
    client.must_publish("test/other", b"y");
    client.must_receive("test/other", b"y");
}

#[test]
fn a_refused_publish_of_3_1_1_may_be_acknowledged_and_goes_nowhere() {
    let settings = format!("{LAB}[login]\npublish_refusal = \"acknowledge\"\n");
    let broker = Broker::with(&settings);
    let mut watcher = enter(&broker, Version::V5, "watcher");
    watcher.must_subscribe("#");
    let mut client = enter(&broker, Version::V311, "probe");
    client.must_publish("test/nosubscribe", b"nowhere");
    let local = client.wire.local();
    let (action, reason, _) = broker.trail().refused_right(local, "test/nosubscribe");
    assert_eq!(
        (action, reason),
        (RightAction::Publish, RightReason::Denied)
    );
    // The session goes on, and the first thing that anybody hears is what was allowed.
    client.must_publish("plain/x", b"heard");
    watcher.must_receive("plain/x", b"heard");
    // MQTT 5 has a code for it, whatever the setting says.
    let mut client = enter(&broker, Version::V5, "modern");
    assert_eq!(client.publish("test/nosubscribe", b"x"), 0x87);
}

#[test]
fn a_subscription_may_be_refused_without_saying_why() {
    let settings = format!("{LAB}[login]\nsubscribe_refusal = \"unspecified\"\n");
    let broker = Broker::with(&settings);
    for version in [Version::V311, Version::V5] {
        let mut client = enter(&broker, version, "probe");
        assert_eq!(client.subscribe("test/nosubscribe", Qos::ExactlyOnce), 0x80);
        client.must_subscribe("plain/#");
        // The operator learns it all the same.
        let local = client.wire.local();
        let (action, reason, _) = broker.trail().refused_right(local, "test/nosubscribe");
        assert_eq!(
            (action, reason),
            (RightAction::Subscribe, RightReason::Denied)
        );
    }
}
/// What others write where these clients may not read does not reach them through a wider filter.
#[test]
fn a_denied_topic_is_held_back_at_delivery() {
    let broker = Broker::with("[anonymous]\nallow = [\"#\"]\ndeny = [\"devices/+/private/#\"]\n");
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut client = enter(&broker, Version::V5, "probe");
    client.must_subscribe("devices/#");
    let mut session = broker.log_in(&device);
    session.must_publish("devices/dev-1/private/key", b"secret");
    session.must_publish("devices/dev-1/reported", b"fine");
    client.must_receive("devices/dev-1/reported", b"fine");
    client.must_have_received_nothing();
}
