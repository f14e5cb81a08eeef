//! How sessions end, and what becomes of the will that the upstream keeps.
use super::*;
use crate::telemetry::event::{DisconnectCause, UpstreamFault};

#[test]
fn the_gates_reasons_decide_over_the_will() {
    let with_will = ReasonCode::DisconnectWithWill;
    let discarded = ReasonCode::Success;
    for (cause, up, down) in [
        (Cause::Suspended, discarded, Some(0x98)),
        (Cause::NotAuthorized, discarded, Some(0x87)),
        (Cause::Reauthentication, discarded, Some(0x87)),
        (Cause::Expired, with_will, Some(0x87)),
        (Cause::KeepAlive, with_will, Some(0x8D)),
        (Cause::ConnectionLost, with_will, None),
        (Cause::TakenOver, with_will, Some(0x8E)),
        (Cause::Quota, with_will, Some(0x97)),
        (Cause::ShuttingDown, with_will, Some(0x8B)),
        (Cause::Fault, with_will, Some(0x83)),
    ] {
        let mut stage = Stage::open(Version::V5);
        stage.end(cause);
        stage.goes_up([disconnect(up)]);
        match down {
            Some(code) => assert_eq!(stage.out.client, [0xE0, 1, code], "{cause:?}"),
            None => stage.nothing_goes_down(),
        }
        // It ends once.
        stage.out = Output::default();
        stage.end(Cause::Fault);
        assert_eq!(stage.client([Packet::Pingreq]), Next::Ended(cause));
        stage.nothing_goes_up();
        stage.nothing_goes_down();
        // A 3.1.1 upstream knows a goodbye and a connection that closes.
        let mut stage = Stage::open(Version::V311);
        stage.end(cause);
        stage.nothing_goes_down();
        match up {
            ReasonCode::Success => stage.goes_up([disconnect(discarded)]),
            _ => stage.nothing_goes_up(),
        }
    }
}

#[test]
fn a_revoked_session_ends_upstream_too() {
    for (expiry_s, ends) in [(100, Some(0)), (0, None)] {
        let mut asked = connect(Version::V5);
        asked.properties.session_expiry_s = expiry_s;
        let mut stage = Stage::open_with(&asked, Limits::default());
        stage.end(Cause::Revoked);
        let mut goodbye = Disconnect::new(ReasonCode::Success);
        goodbye.session_expiry_s = ends;
        stage.goes_up([Packet::Disconnect(goodbye)]);
        assert!(matches!(
            stage.events()[..],
            [EventKind::Disconnect {
                cause: DisconnectCause::Revoked,
                ..
            }]
        ));
    }
}

#[test]
fn the_clients_goodbye_passes_as_it_is() {
    for (version, code) in [
        (Version::V311, ReasonCode::Success),
        (Version::V5, ReasonCode::Success),
        (Version::V5, ReasonCode::DisconnectWithWill),
        (Version::V5, ReasonCode::UnspecifiedError),
    ] {
        let mut stage = Stage::open(version);
        let cause = Cause::Disconnected {
            with_will: code != ReasonCode::Success,
            expiry_s: None,
        };
        assert_eq!(stage.client([disconnect(code)]), Next::Ended(cause));
        stage.goes_up([disconnect(code)]);
        stage.nothing_goes_down();
    }
}

#[test]
fn a_goodbye_cannot_ask_for_more_time_than_there_is() {
    let limits = Limits {
        session_expiry_max_s: 50,
        ..Limits::default()
    };
    let mut asked = connect(Version::V5);
    asked.properties.session_expiry_s = 10;
    let goodbye = |expiry_s| Disconnect {
        session_expiry_s: Some(expiry_s),
        reason_string: Some("bye"),
        ..Disconnect::new(ReasonCode::Success)
    };
    for (wish, gets) in [(0, 0), (50, 50), (51, 50)] {
        let mut stage = Stage::open_with(&asked, limits.clone());
        let next = stage.client([Packet::Disconnect(goodbye(wish))]);
        assert!(matches!(
            next,
            Next::Ended(Cause::Disconnected { expiry_s: Some(s), .. }) if s == gets
        ));
        stage.goes_up([Packet::Disconnect(goodbye(gets))]);
    }
    // A session that was to end with its connection cannot be made to stay.
    let mut stage = Stage::open(Version::V5);
    let next = stage.client([Packet::Disconnect(goodbye(1))]);
    let cause = Cause::Protocol(ReasonCode::ProtocolError);
    assert_eq!(next, Next::Ended(cause));
    stage.goes_up([disconnect(ReasonCode::DisconnectWithWill)]);
}

#[test]
fn the_upstreams_goodbye_is_told_as_far_as_it_is_the_clients_business() {
    for code in ReasonCode::ALL {
        let packet = keygate_protocol::mqtt::PacketType::Disconnect;
        if !code.is_allowed(packet, keygate_protocol::mqtt::Sender::Server) {
            continue;
        }
        let told = match code.value() {
            0x00 | 0x9C | 0x9D => 0x8B,
            0x80..=0x87 | 0x8C | 0x94 => 0x83,
            same => same,
        };
        let mut stage = Stage::open(Version::V5);
        let next = stage.upstream([disconnect(*code)]);
        let cause = Cause::Upstream(ReasonCode::new(told).unwrap());
        assert_eq!(next, Next::Ended(cause), "{code:?}");
        assert_eq!(stage.out.client, [0xE0, 1, told], "{code:?}");
        stage.nothing_goes_up();
        let events = stage.events();
        assert!(
            matches!(
                &events[..],
                [
                    EventKind::Upstream { fault: UpstreamFault::Ended, code: Some(said), .. },
                    EventKind::Disconnect { cause: DisconnectCause::Upstream, .. },
                ] if *said == code.value()
            ),
            "{events:?}"
        );
    }
}

#[test]
fn a_lost_upstream_is_a_server_that_goes_away() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let cause = Cause::Upstream(ReasonCode::ServerShuttingDown);
        assert_eq!(stage.act(Relay::upstream_lost), cause);
        stage.nothing_goes_up();
        match version {
            Version::V5 => stage.goes_down([disconnect(ReasonCode::ServerShuttingDown)]),
            Version::V311 => stage.nothing_goes_down(),
        }
        assert_eq!(stage.events().len(), 2);
        // Once is enough.
        assert_eq!(stage.act(Relay::upstream_lost), cause);
        assert_eq!(stage.events(), []);
        let mut stage = Stage::opening(
            &connect(version),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.act(Relay::upstream_lost);
        stage.goes_down([Packet::Connack(Connack::new(
            false,
            ReasonCode::ServerUnavailable,
        ))]);
    }
}

#[test]
fn bytes_that_are_not_mqtt_are_blamed_on_the_end_they_came_from() {
    let mut stage = Stage::open(Version::V5);
    let next = stage.upstream_bytes(&[0x36, 0]).next;
    let fault = Cause::Upstream(ReasonCode::ImplementationSpecificError);
    assert_eq!(next, Next::Ended(fault));
    stage.goes_up([disconnect(ReasonCode::MalformedPacket)]);
    assert!(matches!(
        &stage.events()[..],
        [
            EventKind::Upstream { fault: UpstreamFault::Malformed, rule: Some(rule), code: Some(0x81), .. },
            EventKind::Disconnect { cause: DisconnectCause::Upstream, .. },
        ] if rule.contains("QoS 3")
    ));
    let mut stage = Stage::open(Version::V311);
    // In 3.1.1 only a client says goodbye.
    let next = stage.upstream_bytes(&[0xE0, 0]).next;
    assert_eq!(next, Next::Ended(fault));
    stage.nothing_goes_up();
    let mut stage = Stage::open(Version::V5);
    let next = stage.client_bytes(&[0x36, 0]).next;
    assert!(matches!(next, Next::Ended(Cause::Malformed(_))));
    stage.goes_up([disconnect(ReasonCode::DisconnectWithWill)]);
    assert!(matches!(
        stage.events()[..],
        [
            EventKind::Malformed {
                code: Some(0x81),
                ..
            },
            EventKind::Disconnect {
                cause: DisconnectCause::Malformed,
                ..
            },
        ]
    ));
}

#[test]
fn auth_and_a_second_connack_from_the_upstream_end_the_session() {
    for bytes in [&[0xF0, 0][..], &[0x20, 3, 0, 0, 0]] {
        let mut stage = Stage::open(Version::V5);
        let next = stage.upstream_bytes(bytes).next;
        let fault = Cause::Upstream(ReasonCode::ImplementationSpecificError);
        assert_eq!(next, Next::Ended(fault));
        stage.goes_up([disconnect(ReasonCode::ProtocolError)]);
    }
}
