//! The client's messages: up as they came, or answered by the gate.
use super::*;
use crate::telemetry::event::{RightAction, RightReason};
use keygate_protocol::mqtt::{MessageProperties, PINGREQ, PINGRESP};
use std::num::NonZeroU16;

#[test]
fn what_is_allowed_goes_up_byte_for_byte() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let mut sent = wire(
            version,
            [
                publish("open/a", Qos::AtMostOnce, 0),
                publish("open/b", Qos::AtLeastOnce, 1),
                publish("open/c", Qos::ExactlyOnce, 2),
                Packet::Pubrel(ack(2, ReasonCode::Success)),
                Packet::Pingreq,
            ],
        );
        if version == Version::V5 {
            // An acknowledgement in its long form stays in it.
            sent.extend_from_slice(&[0x62, 4, 0, 9, 0, 0]);
        }
        let taken = stage.client_bytes(&sent);
        assert_eq!((taken.bytes, taken.next), (sent.len(), Next::More));
        assert_eq!(stage.out.upstream, sent);
        stage.nothing_goes_down();
    }
}

#[test]
fn acknowledgements_of_the_upstream_come_down_byte_for_byte() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        stage.client([
            publish("open/b", Qos::AtLeastOnce, 1),
            publish("open/c", Qos::ExactlyOnce, 2),
        ]);
        let answers = [
            Packet::Puback(ack(1, ReasonCode::Success)),
            Packet::Pubrec(ack(2, ReasonCode::Success)),
            Packet::Pubcomp(ack(2, ReasonCode::Success)),
        ];
        assert_eq!(stage.upstream(answers), Next::More);
        stage.goes_down(answers);
    }
}

#[test]
fn a_topic_alias_ends_the_session() {
    let mut stage = Stage::open(Version::V5);
    let mut aliased = message("open/a", Qos::AtMostOnce, 0);
    aliased.topic_alias = NonZeroU16::new(1);
    let next = stage.client([Packet::Publish(aliased)]);
    let cause = Cause::Protocol(ReasonCode::TopicAliasInvalid);
    assert_eq!(next, Next::Ended(cause));
    stage.goes_down([disconnect(ReasonCode::TopicAliasInvalid)]);
    stage.goes_up([disconnect(ReasonCode::DisconnectWithWill)]);
    assert_eq!(stage.gate.reached.topic_aliases.get(), 1);
}

#[test]
fn in_mqtt_5_the_gate_answers_what_is_refused() {
    let mut stage = Stage::open(Version::V5);
    let next = stage.client([
        publish("closed/a", Qos::AtLeastOnce, 1),
        publish("open/secret/a", Qos::ExactlyOnce, 2),
    ]);
    assert_eq!(next, Next::More);
    stage.nothing_goes_up();
    stage.goes_down([
        Packet::Puback(ack(1, ReasonCode::NotAuthorized)),
        Packet::Pubrec(ack(2, ReasonCode::NotAuthorized)),
    ]);
    let reasons: Vec<_> = stage
        .events()
        .into_iter()
        .map(|kind| match kind {
            EventKind::Right {
                action,
                topic,
                reason,
                code: Some(0x87),
                ..
            } => (action, topic.into_string(), reason),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (
                RightAction::Publish,
                "closed/a".into(),
                RightReason::NotGranted
            ),
            (
                RightAction::Publish,
                "open/secret/a".into(),
                RightReason::Denied
            ),
        ]
    );
    // The identifiers are free again, here and upstream.
    stage.client([publish("open/a", Qos::ExactlyOnce, 2)]);
    stage.goes_up([publish("open/a", Qos::ExactlyOnce, 2)]);
}

#[test]
fn a_response_topic_needs_the_right_to_read_it() {
    let mut stage = Stage::open(Version::V5);
    let mut asking = message("open/a", Qos::AtLeastOnce, 1);
    asking.properties = MessageProperties {
        response_topic: Some("open/secret/answers"),
        ..MessageProperties::default()
    };
    stage.client([Packet::Publish(asking)]);
    stage.goes_down([Packet::Puback(ack(1, ReasonCode::NotAuthorized))]);
    stage.nothing_goes_up();
    asking.properties.response_topic = Some("open/answers");
    stage.client([Packet::Publish(asking)]);
    stage.goes_up([Packet::Publish(asking)]);
}

#[test]
fn a_refused_qos_0_or_3_1_1_publish_ends_the_session_without_its_will() {
    for (version, qos) in [
        (Version::V5, Qos::AtMostOnce),
        (Version::V311, Qos::AtMostOnce),
        (Version::V311, Qos::AtLeastOnce),
        (Version::V311, Qos::ExactlyOnce),
    ] {
        let mut stage = Stage::open(version);
        let next = stage.client([publish("closed/a", qos, 1)]);
        assert_eq!(next, Next::Ended(Cause::NotAuthorized));
        stage.goes_up([disconnect(ReasonCode::Success)]);
        match version {
            Version::V5 => stage.goes_down([disconnect(ReasonCode::NotAuthorized)]),
            Version::V311 => stage.nothing_goes_down(),
        }
    }
}

#[test]
fn where_3_1_1_publishes_are_acknowledged_and_dropped_the_gate_sees_qos_2_through() {
    let mut stage = Stage::open(Version::V311);
    stage.gate.acknowledge_refused = true;
    stage.client([
        publish("closed/a", Qos::AtMostOnce, 0),
        publish("closed/a", Qos::AtLeastOnce, 1),
        publish("closed/a", Qos::ExactlyOnce, 2),
        publish("closed/a", Qos::ExactlyOnce, 2),
        Packet::Pubrel(ack(2, ReasonCode::Success)),
    ]);
    stage.nothing_goes_up();
    let success = |value| ack(value, ReasonCode::Success);
    stage.goes_down([
        Packet::Puback(success(1)),
        Packet::Pubrec(success(2)),
        Packet::Pubrec(success(2)),
        Packet::Pubcomp(success(2)),
    ]);
    // The next PUBREL under this identifier is not the gate's any more.
    stage.client([Packet::Pubrel(success(2))]);
    stage.goes_up([Packet::Pubrel(success(2))]);
}

#[test]
fn the_gates_answer_keeps_its_place() {
    let mut stage = Stage::open(Version::V5);
    stage.client([
        publish("open/a", Qos::AtLeastOnce, 1),
        publish("closed/a", Qos::AtLeastOnce, 2),
        publish("open/a", Qos::ExactlyOnce, 3),
        publish("closed/a", Qos::ExactlyOnce, 4),
    ]);
    stage.nothing_goes_down();
    let first = Packet::Puback(ack(1, ReasonCode::Success));
    stage.upstream([first]);
    stage.goes_down([first, Packet::Puback(ack(2, ReasonCode::NotAuthorized))]);
    let third = Packet::Pubrec(ack(3, ReasonCode::Success));
    stage.upstream([third]);
    stage.goes_down([third, Packet::Pubrec(ack(4, ReasonCode::NotAuthorized))]);
}

#[test]
fn receive_maximum_counts_what_has_no_answer() {
    let limits = Limits {
        receive_max: 3,
        ..Limits::default()
    };
    for version in BOTH {
        let mut stage = Stage::open_within(version, limits.clone());
        stage.client([
            publish("open/a", Qos::AtLeastOnce, 1),
            publish("open/a", Qos::ExactlyOnce, 2),
            publish("open/a", Qos::ExactlyOnce, 3),
        ]);
        stage.upstream([
            Packet::Puback(ack(1, ReasonCode::Success)),
            // One that is only half done counts.
            Packet::Pubrec(ack(2, ReasonCode::Success)),
        ]);
        assert_eq!(
            stage.client([publish("open/a", Qos::AtLeastOnce, 4)]),
            Next::More
        );
        // What comes again under its identifier counts once.
        assert_eq!(
            stage.client([publish("open/a", Qos::AtLeastOnce, 4)]),
            Next::More
        );
        let next = stage.client([publish("open/a", Qos::AtLeastOnce, 5)]);
        let cause = Cause::Protocol(ReasonCode::ReceiveMaximumExceeded);
        assert_eq!(next, Next::Ended(cause));
        assert_eq!(stage.gate.reached.receive_max.get(), 1);
    }
}

#[test]
fn a_refused_pubrec_ends_the_handshake() {
    let limits = Limits {
        receive_max: 1,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    stage.client([publish("open/a", Qos::ExactlyOnce, 1)]);
    stage.upstream([Packet::Pubrec(ack(1, ReasonCode::QuotaExceeded))]);
    stage.goes_down([Packet::Pubrec(ack(1, ReasonCode::QuotaExceeded))]);
    assert_eq!(
        stage.client([publish("open/a", Qos::ExactlyOnce, 2)]),
        Next::More
    );
}

#[test]
fn acknowledgements_that_answer_nothing_stay_here() {
    let mut stage = Stage::open(Version::V5);
    stage.upstream([
        Packet::Puback(ack(1, ReasonCode::Success)),
        Packet::Pubrec(ack(1, ReasonCode::Success)),
    ]);
    stage.nothing_goes_down();
    stage.client([publish("open/a", Qos::AtLeastOnce, 1)]);
    let next = stage.upstream([Packet::Pubrec(ack(1, ReasonCode::Success))]);
    let fault = Cause::Upstream(ReasonCode::ImplementationSpecificError);
    assert_eq!(next, Next::Ended(fault));
}

#[test]
fn a_packet_larger_than_told_ends_the_session() {
    let limits = Limits {
        packet_bytes: 1_024,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    let taken = stage.client_bytes(&[0x30, 0xFF, 0x07]);
    assert!(matches!(taken.next, Next::Ended(Cause::Malformed(_))));
    stage.goes_down([disconnect(ReasonCode::PacketTooLarge)]);
    assert_eq!(stage.gate.reached.packet_bytes.get(), 1);
}

#[test]
fn refused_rights_are_recorded_within_the_ration() {
    let mut stage = Stage::open(Version::V5);
    for _ in 0..105 {
        stage.client([publish("closed/a", Qos::AtLeastOnce, 1)]);
    }
    assert_eq!(stage.events().len(), 100);
    assert_eq!(stage.gate.reached.denied_events_s.get(), 5);
    stage.times.now = stage.times.now.plus(1_000);
    stage.client([publish("closed/a", Qos::AtLeastOnce, 1)]);
    let events = stage.events();
    assert!(matches!(
        events[..],
        [EventKind::Lost { count: 5 }, EventKind::Right { .. }]
    ));
}

#[test]
fn auth_is_for_the_gate() {
    let mut stage = Stage::open(Version::V5);
    let mut bytes = wire(Version::V5, [Packet::Pingreq]);
    bytes.extend_from_slice(&[0xF0, 2, 0x19, 0, 0xC0, 0]);
    let taken = stage.client_bytes(&bytes);
    assert_eq!((taken.bytes, taken.next), (2, Next::Auth));
    assert_eq!(stage.out.upstream, [0xC0, 0]);
    // The gate has taken it; the rest is offered again.
    assert_eq!(stage.client_bytes(&bytes[6..]).bytes, 2);
    let mut stage = Stage::open(Version::V311);
    let next = stage.client_bytes(&[0xF0, 0]).next;
    assert!(matches!(next, Next::Ended(Cause::Malformed(_))));
}

#[test]
fn what_only_a_server_sends_and_a_second_connect_end_the_session() {
    for packet in [Packet::Connect(connect(Version::V5)), Packet::Pingresp] {
        let mut stage = Stage::open(Version::V5);
        let next = stage.client([packet]);
        assert!(matches!(
            next,
            Next::Ended(Cause::Protocol(_) | Cause::Malformed(_))
        ));
        stage.goes_down([disconnect(ReasonCode::ProtocolError)]);
        assert!(matches!(
            stage.events()[..],
            [
                EventKind::Malformed {
                    code: Some(0x82),
                    ..
                },
                EventKind::Disconnect { .. }
            ]
        ));
    }
}

#[test]
fn the_upstream_hears_of_a_client_whose_packets_the_gate_answers() {
    let mut stage = Stage::open(Version::V5);
    let refused = || publish("closed/a", Qos::AtLeastOnce, 1);
    stage.times.now = NOW.now.plus(14_999);
    stage.client([refused()]);
    stage.nothing_goes_up();
    stage.times.now = NOW.now.plus(15_000);
    stage.client([refused(), refused()]);
    assert_eq!(std::mem::take(&mut stage.out.upstream), PINGREQ);
    stage.out.client.clear();
    // Its answer is nobody's; that to the client's own passes.
    stage.upstream_bytes(&PINGRESP);
    stage.nothing_goes_down();
    stage.client([Packet::Pingreq]);
    stage.upstream_bytes(&PINGRESP);
    stage.upstream_bytes(&PINGRESP);
    assert_eq!(stage.out.client, PINGRESP);
}
