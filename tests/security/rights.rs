//! Topic rights of the role `device` (SPEC.md §7): what is not one's own stays out of reach, by whatever door.
use keygate_broker::telemetry::event::{DisconnectCause, RightAction, RightReason};
use keygate_protocol::mqtt::{MessageProperties, Packet, Publish, Qos, Version};
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Device, WillWanted, open_of};
use keygate_tests::doors::challenge;
use keygate_tests::session::Client;
use keygate_tests::witness::Witness;

const NOT_AUTHORIZED: u8 = 0x87;

/// Topics that dev-1 of group-1 must not write.
const FOREIGN: [&str; 12] = [
    "devices/dev-1/desired",
    "devices/dev-1/presence",
    "devices/dev-2/reported",
    "devices/dev-10/reported",
    "devices",
    "groups/group-1/state/dev-2",
    "groups/group-1/state",
    "groups/group-1/state/dev-1/more",
    "groups/group-2/state/dev-1",
    "elsewhere",
    "$SYS/broker/uptime",
    "$share/all/devices/dev-1/x",
];

/// Filters that dev-1 of group-1 must not read.
const FOREIGN_FILTERS: [&str; 16] = [
    "#",
    "+/#",
    "+/dev-1/#",
    "devices/#",
    "devices/+/reported",
    "devices/dev-2/#",
    "devices/dev-2/reported",
    "devices/dev-10/#",
    "groups/#",
    "groups/group-1/#",
    "groups/group-1/+/dev-1",
    "groups/+/state/dev-1",
    "groups/group-2/state/+",
    "$SYS/#",
    "+/+/+",
    "/devices/dev-1/#",
];

struct Stage {
    broker: Broker,
    device: Device,
    neighbour: Device,
}

impl Stage {
    fn new() -> Self {
        let broker = Broker::start();
        let device = Device::new("dev-1").in_group("group-1");
        let neighbour = Device::new("dev-2").in_group("group-1");
        broker.enrol([&device, &neighbour]);
        Self {
            broker,
            device,
            neighbour,
        }
    }

    /// The right was refused, and the trail says which.
    #[track_caller]
    fn recorded(&self, client: &Client, topic: &str, action: RightAction) -> RightReason {
        self.recorded_with(client, topic, action, Some(NOT_AUTHORIZED))
    }

    /// The same, for a client that was told something else, or nothing.
    #[track_caller]
    fn recorded_with(
        &self,
        client: &Client,
        topic: &str,
        action: RightAction,
        told: Option<u8>,
    ) -> RightReason {
        let (tried, reason, code) = self
            .broker
            .trail()
            .refused_right(client.wire.local(), topic);
        assert_eq!((tried, code), (action, told), "{topic}");
        reason
    }
}

#[test]
fn publishing_at_qos_1_elsewhere_is_refused_and_the_session_goes_on() {
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let mut client = stage.broker.log_in(&stage.device);
    for topic in FOREIGN {
        assert_eq!(client.publish(topic, b"x"), NOT_AUTHORIZED, "{topic}");
        stage.recorded(&client, topic, RightAction::Publish);
    }
    witness.nothing_happened();
    client.must_publish("devices/dev-1/reported", b"mine");
    witness
        .client()
        .must_receive("devices/dev-1/reported", b"mine");
}

#[test]
fn only_the_broker_writes_presence_and_only_operators_write_desired() {
    let stage = Stage::new();
    let mut client = stage.broker.log_in(&stage.device);
    client.publish("devices/dev-1/desired", b"x");
    let reason = stage.recorded(&client, "devices/dev-1/desired", RightAction::Publish);
    assert_eq!(reason, RightReason::Denied);
    client.publish("devices/dev-1/presence", b"x");
    let reason = stage.recorded(&client, "devices/dev-1/presence", RightAction::Publish);
    assert_eq!(reason, RightReason::Reserved);

    let operator = Device::new("op-1").with_role("operator");
    stage.broker.enrol([&operator]);
    let mut operator = stage.broker.log_in(&operator);
    client.must_subscribe("devices/dev-1/#");
    operator.must_publish("devices/dev-1/desired", b"{}");
    client.must_receive("devices/dev-1/desired", b"{}");
    assert_eq!(
        operator.publish("devices/dev-1/presence", b"x"),
        NOT_AUTHORIZED
    );
    client.must_have_received_nothing();
}

#[test]
fn publishing_at_qos_0_elsewhere_ends_the_session() {
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    for topic in [
        "devices/dev-1/desired",
        "devices/dev-2/reported",
        "elsewhere",
    ] {
        let mut client = stage.broker.log_in(&stage.device);
        client.publish_unacknowledged(topic, b"x");
        assert_eq!(client.end(), Some(NOT_AUTHORIZED), "{topic}");
        stage.recorded(&client, topic, RightAction::Publish);
        assert_eq!(
            stage.broker.trail().ended(client.wire.local()),
            DisconnectCause::RightLost
        );
    }
    witness.nothing_happened();
}

#[test]
fn in_3_1_1_publishing_elsewhere_ends_the_session() {
    // 3.1.1 has no code for it in PUBACK: an acknowledgement would be a lie.
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let mut client = stage
        .broker
        .log_in_by_assertion(&stage.device, Version::V311);
    let packet_id = client.packet_id();
    client.wire.send(&Packet::Publish(Publish {
        qos: Qos::AtLeastOnce,
        packet_id: Some(packet_id),
        ..Publish::new("devices/dev-2/reported", b"x")
    }));
    assert_eq!(client.end(), None);
    stage.recorded_with(
        &client,
        "devices/dev-2/reported",
        RightAction::Publish,
        None,
    );
    witness.nothing_happened();
}

#[test]
fn subscribing_elsewhere_is_refused() {
    let stage = Stage::new();
    let mut client = stage.broker.log_in(&stage.device);
    let mut neighbour = stage.broker.log_in(&stage.neighbour);
    for filter in FOREIGN_FILTERS {
        let code = client.subscribe(filter, Qos::AtLeastOnce);
        assert_eq!(code, NOT_AUTHORIZED, "{filter}");
        stage.recorded(&client, filter, RightAction::Subscribe);
    }
    neighbour.must_publish("devices/dev-2/reported", b"private");
    client.must_have_received_nothing();
    client.must_subscribe("groups/group-1/state/+");
    neighbour.must_publish("groups/group-1/state/dev-2", b"shared");
    client.must_receive("groups/group-1/state/dev-2", b"shared");
}

#[test]
fn in_3_1_1_subscribing_elsewhere_is_refused_with_0x80() {
    let stage = Stage::new();
    let mut client = stage
        .broker
        .log_in_by_assertion(&stage.device, Version::V311);
    for filter in ["#", "devices/dev-2/#", "$share/g/devices/dev-2/#"] {
        assert_eq!(client.subscribe(filter, Qos::AtMostOnce), 0x80, "{filter}");
        let action = match filter.starts_with("$share") {
            true => RightAction::Share,
            false => RightAction::Subscribe,
        };
        stage.recorded_with(&client, filter, action, Some(0x80));
    }
    client.must_stand();
}

#[test]
fn a_share_group_is_no_way_around() {
    let stage = Stage::new();
    let mut client = stage.broker.log_in(&stage.device);
    for filter in FOREIGN_FILTERS.into_iter().filter(|f| !f.starts_with('$')) {
        let shared = format!("$share/anybody/{filter}");
        let code = client.subscribe(&shared, Qos::AtLeastOnce);
        assert_eq!(code, NOT_AUTHORIZED, "{shared}");
        stage.recorded(&client, &shared, RightAction::Share);
    }
    // Not even for what one may read: to share is a right of its own, which the role does not have.
    let own = "$share/anybody/devices/dev-1/#";
    assert_eq!(client.subscribe(own, Qos::AtLeastOnce), NOT_AUTHORIZED);
    stage.recorded(&client, own, RightAction::Share);
    let mut neighbour = stage.broker.log_in(&stage.neighbour);
    neighbour.must_publish("devices/dev-2/reported", b"private");
    client.must_have_received_nothing();
}

#[test]
fn a_will_elsewhere_is_refused_with_the_login() {
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    for (topic, reason) in [
        ("devices/dev-1/desired", RightReason::Denied),
        ("devices/dev-1/presence", RightReason::Reserved),
        ("devices/dev-2/reported", RightReason::NotGranted),
        ("groups/group-1/state/dev-2", RightReason::NotGranted),
        ("$SYS/broker/uptime", RightReason::Reserved),
    ] {
        let asked = Asked {
            will: Some(WillWanted::new(topic, b"planted")),
            ..Asked::by("dev-1")
        };
        let wire = stage.broker.wire();
        let local = wire.local();
        let refused = stage.broker.log_in_over(wire, &stage.device, &asked);
        assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)), "{topic}");
        assert_eq!(
            stage.broker.trail().refused_right(local, topic),
            (RightAction::Will, reason, Some(NOT_AUTHORIZED))
        );
    }
    witness.nothing_happened();
}

#[test]
fn a_refused_will_takes_over_nothing() {
    let stage = Stage::new();
    let mut standing = stage.broker.log_in(&stage.device);
    let asked = Asked {
        will: Some(WillWanted::new("devices/dev-2/reported", b"planted")),
        ..Asked::by("dev-1")
    };
    let refused = stage.broker.try_log_in(&stage.device, &asked);
    assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)));
    standing.must_stand();
}

#[test]
fn retaining_elsewhere_is_refused_and_nothing_is_kept() {
    let stage = Stage::new();
    let mut client = stage.broker.log_in(&stage.device);
    for topic in FOREIGN {
        let code = client.publish_packet(Publish {
            retain: true,
            ..Publish::new(topic, b"planted")
        });
        assert_eq!(code, NOT_AUTHORIZED, "{topic}");
        stage.recorded(&client, topic, RightAction::Retain);
    }
    // Whoever comes later finds nothing.
    let mut late = Witness::of(&stage.broker);
    late.nothing_happened();
    let mut neighbour = stage.broker.log_in(&stage.neighbour);
    neighbour.must_subscribe("devices/dev-2/#");
    neighbour.must_have_received_nothing();
}

#[test]
fn a_response_topic_that_one_may_not_read_is_refused() {
    // Otherwise a device could make an operator's service write to topics that are closed to the device itself.
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let mut client = stage.broker.log_in(&stage.device);
    for answer in [
        "devices/dev-2/desired",
        "groups/group-2/state/dev-1",
        "x",
        "$SYS/x",
    ] {
        let properties = MessageProperties {
            response_topic: Some(answer),
            ..MessageProperties::default()
        };
        let code = client.publish_packet(Publish {
            properties,
            ..Publish::new("devices/dev-1/question", b"?")
        });
        assert_eq!(code, NOT_AUTHORIZED, "{answer}");
        stage.recorded(&client, answer, RightAction::ResponseTopic);
    }
    witness.nothing_happened();
    let properties = MessageProperties {
        response_topic: Some("devices/dev-1/answers"),
        ..MessageProperties::default()
    };
    let own = client.publish_packet(Publish {
        properties,
        ..Publish::new("devices/dev-1/question", b"?")
    });
    assert_eq!(own, 0);
}

#[test]
fn a_topic_alias_is_no_way_around() {
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let aliased = |topic, number| Publish {
        topic_alias: std::num::NonZeroU16::new(number),
        ..Publish::new(topic, b"x")
    };
    // What the alias stands for is judged each time, by its name.
    let mut client = stage.broker.log_in(&stage.device);
    for topic in ["devices/dev-2/reported", ""] {
        let code = client.publish_packet(aliased(topic, 1));
        assert_eq!(code, NOT_AUTHORIZED, "{topic:?}");
    }
    stage.recorded(&client, "devices/dev-2/reported", RightAction::Publish);
    witness.nothing_happened();
    // A number that was never given, and one that is higher than declared, end the session.
    for (number, code) in [(2, 0x82), (u16::MAX, 0x94)] {
        let mut client = stage.broker.log_in(&stage.device);
        client.wire.send(&Packet::Publish(aliased("", number)));
        assert_eq!(client.end(), Some(code), "{number}");
        assert_eq!(
            stage.broker.trail().ended(client.wire.local()),
            DisconnectCause::Malformed
        );
    }
    witness.nothing_happened();
}

#[test]
fn a_will_without_a_proof_goes_nowhere() {
    // The will is in the CONNECT, before anybody is known: it must not outlive a login that never happens.
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let asked = Asked {
        will: Some(WillWanted::new("devices/dev-1/gone", b"never logged in")),
        ..Asked::by("dev-1")
    };
    let mut wire = stage.broker.wire();
    let open = open_of(stage.device.key_id(), None);
    wire.send_bytes(&asked.with_open(&open.encode()));
    challenge(&mut wire).unwrap();
    drop(wire);
    witness.nothing_happened();
}
