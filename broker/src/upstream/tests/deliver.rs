//! The upstream's messages: down as they came, or acknowledged in the client's place.
use super::*;
use keygate_protocol::mqtt::{SubscriptionId, SubscriptionIds};
use std::num::NonZeroU16;

#[test]
fn what_the_client_may_have_comes_down_byte_for_byte() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let ids = [SubscriptionId::new(5).unwrap()];
        let mut third = message("open/c", Qos::ExactlyOnce, 2);
        third.subscription_ids = SubscriptionIds::new(&ids);
        third.retain = true;
        let sent = [
            publish("open/a", Qos::AtMostOnce, 0),
            publish("open/b", Qos::AtLeastOnce, 1),
            Packet::Publish(third),
        ];
        assert_eq!(stage.upstream(sent), Next::More);
        stage.goes_down(sent);
        stage.nothing_goes_up();
        let success = |value| ack(value, ReasonCode::Success);
        let answers = [Packet::Puback(success(1)), Packet::Pubrec(success(2))];
        stage.client(answers);
        stage.goes_up(answers);
        stage.upstream([Packet::Pubrel(success(2))]);
        stage.goes_down([Packet::Pubrel(success(2))]);
        stage.client([Packet::Pubcomp(success(2))]);
        stage.goes_up([Packet::Pubcomp(success(2))]);
    }
}

#[test]
fn what_it_may_not_have_is_acknowledged_in_its_place() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let success = |value| ack(value, ReasonCode::Success);
        stage.upstream([
            publish("open/secret/a", Qos::AtMostOnce, 0),
            publish("open/secret/b", Qos::AtLeastOnce, 1),
            publish("closed/c", Qos::ExactlyOnce, 2),
        ]);
        stage.goes_up([Packet::Puback(success(1)), Packet::Pubrec(success(2))]);
        // It comes again when our PUBREC was late.
        stage.upstream([publish("closed/c", Qos::ExactlyOnce, 2)]);
        stage.goes_up([Packet::Pubrec(success(2))]);
        // The client has no part in it.
        stage.client([Packet::Pubrec(success(2)), Packet::Pubcomp(success(2))]);
        stage.nothing_goes_up();
        stage.upstream([Packet::Pubrel(success(2))]);
        stage.goes_up([Packet::Pubcomp(success(2))]);
        stage.nothing_goes_down();
        // Of the next PUBREL the gate knows nothing.
        stage.upstream([Packet::Pubrel(success(2))]);
        stage.goes_down([Packet::Pubrel(success(2))]);
    }
}

#[test]
fn the_gates_acknowledgement_keeps_its_place() {
    let mut stage = Stage::open(Version::V311);
    let success = |value| ack(value, ReasonCode::Success);
    stage.upstream([
        publish("open/a", Qos::AtLeastOnce, 1),
        publish("closed/b", Qos::AtLeastOnce, 2),
        publish("open/c", Qos::ExactlyOnce, 3),
        publish("closed/d", Qos::ExactlyOnce, 4),
    ]);
    stage.nothing_goes_up();
    // Nobody answers for the gate.
    stage.client([Packet::Puback(success(2))]);
    stage.nothing_goes_up();
    stage.client([Packet::Puback(success(1))]);
    stage.goes_up([Packet::Puback(success(1)), Packet::Puback(success(2))]);
    stage.client([Packet::Pubrec(success(3))]);
    stage.goes_up([Packet::Pubrec(success(3)), Packet::Pubrec(success(4))]);
}

#[test]
fn a_message_that_comes_again_is_answered_once() {
    let mut stage = Stage::open(Version::V311);
    let success = |value| ack(value, ReasonCode::Success);
    let again = [
        publish("open/a", Qos::AtLeastOnce, 1),
        publish("open/a", Qos::AtLeastOnce, 1),
    ];
    stage.upstream(again);
    stage.goes_down(again);
    stage.upstream([
        publish("closed/a", Qos::AtLeastOnce, 2),
        publish("closed/a", Qos::AtLeastOnce, 2),
    ]);
    stage.client([Packet::Puback(success(1)), Packet::Puback(success(1))]);
    stage.goes_up([Packet::Puback(success(1)), Packet::Puback(success(2))]);
}

#[test]
fn a_message_larger_than_the_client_takes_is_dropped_as_if_it_had_it() {
    let mut asked = connect(Version::V5);
    asked.properties.packet_size_max = Some(100);
    let mut stage = Stage::open_with(&asked, Limits::default());
    let payload = [b'x'; 100];
    let mut large = message("open/a", Qos::AtLeastOnce, 1);
    large.payload = &payload;
    stage.upstream([Packet::Publish(large)]);
    stage.nothing_goes_down();
    stage.goes_up([Packet::Puback(ack(1, ReasonCode::Success))]);
    // Any other packet of that size is the upstream's fault: it was told.
    let text = "r".repeat(100);
    stage.client([publish("open/a", Qos::AtLeastOnce, 1)]);
    stage.out.upstream.clear();
    let mut puback = ack(1, ReasonCode::Success);
    puback.reason_string = Some(&text);
    let next = stage.upstream([Packet::Puback(puback)]);
    assert!(matches!(next, Next::Ended(Cause::Upstream(_))));
    stage.goes_up([disconnect(ReasonCode::PacketTooLarge)]);
}

#[test]
fn more_than_the_client_was_said_to_take_is_the_upstreams_fault_in_mqtt_5() {
    for (version, cause) in [
        (
            Version::V5,
            Cause::Upstream(ReasonCode::ImplementationSpecificError),
        ),
        (Version::V311, Cause::Quota),
    ] {
        let limits = Limits {
            inflight_max: 2,
            ..Limits::default()
        };
        let mut stage = Stage::open_within(version, limits);
        let next = stage.upstream([
            publish("open/a", Qos::AtLeastOnce, 1),
            publish("open/secret/a", Qos::ExactlyOnce, 2),
        ]);
        // One that the gate holds counts, and waits behind the client's.
        assert_eq!(next, Next::More);
        let next = stage.upstream([publish("open/a", Qos::AtLeastOnce, 3)]);
        assert_eq!(next, Next::Ended(cause));
        assert_eq!(stage.gate.reached.inflight_max.get(), 1);
        match version {
            Version::V5 => stage.goes_up([disconnect(ReasonCode::ReceiveMaximumExceeded)]),
            Version::V311 => stage.nothing_goes_up(),
        }
    }
}

#[test]
fn a_topic_alias_is_the_upstreams_fault() {
    let mut stage = Stage::open(Version::V5);
    let mut aliased = message("open/a", Qos::AtMostOnce, 0);
    aliased.topic_alias = NonZeroU16::new(1);
    let next = stage.upstream([Packet::Publish(aliased)]);
    let fault = Cause::Upstream(ReasonCode::ImplementationSpecificError);
    assert_eq!(next, Next::Ended(fault));
    stage.goes_up([disconnect(ReasonCode::TopicAliasInvalid)]);
    stage.goes_down([disconnect(ReasonCode::ImplementationSpecificError)]);
}

#[test]
fn the_wrong_acknowledgement_of_the_client_ends_the_session() {
    let mut stage = Stage::open(Version::V5);
    stage.upstream([publish("open/a", Qos::AtLeastOnce, 1)]);
    let next = stage.client([Packet::Pubrec(ack(1, ReasonCode::Success))]);
    let cause = Cause::Protocol(ReasonCode::ProtocolError);
    assert_eq!(next, Next::Ended(cause));
}

#[test]
fn a_client_that_does_not_read_holds_up_its_upstream_and_the_other_way_round() {
    let limits = Limits {
        relay_bytes: 1_024,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    let gate = &stage.gate;
    for _ in 0..2 {
        assert!(stage.relay.may_read_client(1_024, gate));
        assert!(stage.relay.may_read_upstream(1_024, gate));
    }
    assert_eq!(gate.reached.relay_bytes.get(), 0);
    for _ in 0..2 {
        assert!(!stage.relay.may_read_client(1_025, gate));
    }
    assert_eq!(gate.reached.relay_bytes.get(), 1);
    for _ in 0..2 {
        assert!(!stage.relay.may_read_upstream(1_025, gate));
    }
    assert_eq!(gate.reached.relay_bytes.get(), 2);
    assert!(stage.relay.may_read_client(0, gate));
    assert!(stage.relay.may_read_upstream(0, gate));
    stage.end(Cause::KeepAlive);
    assert!(!stage.relay.may_read_client(0, &stage.gate));
    assert!(!stage.relay.may_read_upstream(0, &stage.gate));
}
