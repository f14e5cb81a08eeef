//! CONNACK comes down with the words of both brokers, or a refusal with the code that is the client's business.
use super::*;
use crate::identity::Transition;
use crate::telemetry::event::{Outcome, UpstreamFault};
use keygate_protocol::crypto::Signature;
use keygate_protocol::mqtt::{ConnackProperties, Sender, decode, frame};

/// What the client gets for the upstream's CONNACK.
fn let_in(asked: &Connect<'_>, limits: Limits, upstream: Connack<'_>) -> (Stage, Vec<u8>) {
    let mut stage = Stage::opening(asked, limits, &UpstreamRules::default());
    stage.out.upstream.clear();
    assert_eq!(stage.upstream([Packet::Connack(upstream)]), Next::More);
    let client = std::mem::take(&mut stage.out.client);
    (stage, client)
}

#[test]
fn connack_has_the_narrower_limits_of_both_and_the_gates_own_words() {
    let theirs = ConnackProperties {
        session_expiry_s: Some(20),
        receive_max: 10,
        qos_max: Qos::AtLeastOnce,
        retain_available: false,
        packet_size_max: Some(2_000),
        assigned_client_id: Some("somebody"),
        topic_alias_max: 8,
        reason_string: Some("welcome to the cluster"),
        wildcard_subscriptions_available: false,
        subscription_ids_available: false,
        shared_subscriptions_available: false,
        keep_alive_s: Some(15),
        response_information: Some("answers/"),
        server_reference: Some("elsewhere:1883"),
        ..ConnackProperties::default()
    };
    let mut asked = connect(Version::V5);
    asked.client_id = "";
    asked.properties.session_expiry_s = 100;
    let upstream = Connack {
        session_present: true,
        code: ReasonCode::Success,
        properties: theirs,
    };
    let (stage, client) = let_in(&asked, Limits::default(), upstream);
    let expected = Connack {
        properties: ConnackProperties {
            assigned_client_id: Some("dev-1/x7"),
            topic_alias_max: 0,
            reason_string: None,
            response_information: None,
            server_reference: None,
            ..theirs
        },
        ..upstream
    };
    assert_eq!(client, wire(Version::V5, [Packet::Connack(expected)]));
    assert_eq!(stage.relay.keep_alive_s(), 15);
    assert_eq!(stage.relay.client_id(), "dev-1/x7");
    assert_eq!(stage.gate.reached.session_expiry_max_s.get(), 1);
    assert_eq!(stage.gate.reached.keep_alive_max_s.get(), 1);
}

#[test]
fn an_upstream_without_limits_leaves_ours() {
    let limits = Limits {
        receive_max: 9,
        packet_bytes: 4_000,
        ..Limits::default()
    };
    let upstream = Connack::new(false, ReasonCode::Success);
    let (_, client) = let_in(&connect(Version::V5), limits, upstream);
    let mut expected = upstream;
    expected.properties.receive_max = 9;
    expected.properties.packet_size_max = Some(4_000);
    assert_eq!(client, wire(Version::V5, [Packet::Connack(expected)]));
}

#[test]
fn the_proof_of_the_broker_is_in_connack() {
    let mut asked = connect(Version::V5);
    asked.properties.auth_method = Some("kg-ed25519");
    let gate = gate(registry().directory(), Limits::default());
    let admitted = Admitted {
        connect: &asked,
        accepted: Accepted {
            principal: principal(&gate),
            auth_data: Some(Signature::from_bytes([7; 64])),
            client_id: DEVICE.into(),
            assigned: false,
        },
        origin: ORIGIN,
    };
    let opened = Relay::open(admitted, &UpstreamRules::default(), &gate, NOW);
    let (mut relay, _) = opened.unwrap();
    let mut out = Output::default();
    let mut turn = Turn {
        gate: &gate,
        times: NOW,
        out: &mut out,
    };
    relay.from_upstream(&[0x20, 3, 0, 0, 0], &mut turn);
    let whole = frame(&out.client, u32::MAX).unwrap().unwrap();
    let Ok(Packet::Connack(connack)) = decode(&whole, Sender::Server, Version::V5) else {
        panic!("{:?}", out.client);
    };
    assert_eq!(connack.properties.auth_method, Some("kg-ed25519"));
    assert_eq!(connack.properties.auth_data, Some(&[7; 64][..]));
}

#[test]
fn in_3_1_1_connack_says_whether_the_session_is_there() {
    for present in [false, true] {
        let upstream = Connack::new(present, ReasonCode::Success);
        let (mut stage, client) = let_in(&connect(Version::V311), Limits::default(), upstream);
        assert_eq!(client, [0x20, 2, u8::from(present), 0]);
        assert!(matches!(
            stage.events()[..],
            [EventKind::Login {
                outcome: Outcome::Accepted,
                ..
            }]
        ));
    }
}

#[test]
fn a_connack_that_the_client_does_not_take_ends_the_session() {
    let mut asked = connect(Version::V5);
    asked.properties.packet_size_max = Some(8);
    let mut stage = Stage::opening(&asked, Limits::default(), &UpstreamRules::default());
    stage.out.upstream.clear();
    let next = stage.upstream([Packet::Connack(Connack::new(false, ReasonCode::Success))]);
    assert!(matches!(next, Next::Ended(Cause::Malformed(_))));
    stage.goes_down([Packet::Connack(Connack::new(
        false,
        ReasonCode::PacketTooLarge,
    ))]);
    stage.goes_up([disconnect(ReasonCode::Success)]);
}

#[test]
fn what_is_the_clients_business_passes_and_the_rest_is_server_unavailable() {
    for (code, client, return_code) in [
        (ReasonCode::ClientIdentifierNotValid, 0x85, 2),
        (ReasonCode::ServerBusy, 0x89, 3),
        (ReasonCode::QuotaExceeded, 0x97, 3),
        (ReasonCode::ConnectionRateExceeded, 0x9F, 3),
        (ReasonCode::ServerUnavailable, 0x88, 3),
        (ReasonCode::NotAuthorized, 0x88, 3),
        (ReasonCode::BadUserNameOrPassword, 0x88, 3),
        (ReasonCode::Banned, 0x88, 3),
        (ReasonCode::UseAnotherServer, 0x88, 3),
        (ReasonCode::UnspecifiedError, 0x88, 3),
    ] {
        let mut stage = Stage::opening(
            &connect(Version::V5),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.out.upstream.clear();
        let next = stage.upstream([Packet::Connack(Connack::new(false, code))]);
        assert!(matches!(next, Next::Ended(Cause::Upstream(_))), "{code:?}");
        assert_eq!(stage.out.client, [0x20, 3, 0, client, 0], "{code:?}");
        stage.nothing_goes_up();
        assert!(matches!(
            &stage.events()[..],
            [EventKind::Upstream { fault: UpstreamFault::Refused, code: Some(said), identity, .. }]
                if *said == code.value() && **identity == *DEVICE
        ));
        assert_eq!(code.return_code().value() == 2, return_code == 2);
    }
    for (theirs, ours) in [(1, 3), (2, 2), (3, 3), (4, 3), (5, 3)] {
        let mut stage = Stage::opening(
            &connect(Version::V311),
            Limits::default(),
            &UpstreamRules::default(),
        );
        let taken = stage.upstream_bytes(&[0x20, 2, 0, theirs]);
        assert!(matches!(taken.next, Next::Ended(Cause::Upstream(_))));
        assert_eq!(stage.out.client, [0x20, 2, 0, ours]);
    }
}

#[test]
fn anything_else_than_connack_is_blamed_on_the_upstream() {
    for (bytes, goodbye) in [
        (&[0xD0, 0][..], 0x82),
        (&[0x30, 4, 0, 1, b't', 0], 0x82),
        (&[0x00], 0x81),
        (&[0x20, 3, 9, 0, 0], 0x81),
        (&[0x10, 0], 0x82),
    ] {
        let mut stage = Stage::opening(
            &connect(Version::V5),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.out.upstream.clear();
        let taken = stage.upstream_bytes(bytes);
        let server_fault = Cause::Upstream(ReasonCode::ImplementationSpecificError);
        assert_eq!(taken.next, Next::Ended(server_fault), "{bytes:?}");
        assert_eq!(stage.out.client, [0x20, 3, 0, 0x88, 0]);
        assert_eq!(stage.out.upstream, [0xE0, 1, goodbye], "{bytes:?}");
        assert!(matches!(
            stage.events()[..],
            [EventKind::Upstream {
                fault: UpstreamFault::Malformed,
                rule: Some(_),
                ..
            }]
        ));
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_given_up() {
    for version in BOTH {
        let limits = Limits {
            relay_open_ms: 2_000,
            ..Limits::default()
        };
        let mut stage = Stage::opening(&connect(version), limits, &UpstreamRules::default());
        stage.out.upstream.clear();
        let deadline = stage.relay.deadline().unwrap();
        assert_eq!(deadline, NOW.now.plus(2_000));
        stage.times.now = Millis(deadline.0 - 1);
        assert_eq!(stage.act(Relay::tick), None);
        stage.times.now = deadline;
        assert!(matches!(stage.act(Relay::tick), Some(Cause::Upstream(_))));
        stage.goes_down([Packet::Connack(Connack::new(
            false,
            ReasonCode::ServerUnavailable,
        ))]);
        stage.goes_up([disconnect(ReasonCode::Success)]);
        assert_eq!(stage.gate.reached.relay_open_ms.get(), 1);
        assert_eq!(stage.relay.deadline(), None);
    }
}

#[test]
fn the_clients_first_packets_wait_for_connack() {
    let mut stage = Stage::opening(
        &connect(Version::V5),
        Limits::default(),
        &UpstreamRules::default(),
    );
    stage.out.upstream.clear();
    let first = wire(Version::V5, [publish("open/a", Qos::AtMostOnce, 0)]);
    let taken = stage.client_bytes(&first);
    assert_eq!((taken.bytes, taken.next), (0, Next::Wait));
    assert!(!stage.relay.may_read_client(0, &stage.gate));
    assert_eq!(stage.client_bytes(&[]).next, Next::More);
    let connack = Connack::new(false, ReasonCode::Success);
    assert_eq!(stage.upstream([Packet::Connack(connack)]), Next::More);
    assert!(stage.relay.may_read_client(0, &stage.gate));
    assert_eq!(stage.client_bytes(&first).bytes, first.len());
    assert_eq!(stage.out.upstream, first);
}

#[test]
fn a_client_that_leaves_before_connack_leaves_no_will() {
    for version in BOTH {
        let mut stage = Stage::opening(
            &connect(version),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.out.upstream.clear();
        stage.end(Cause::ConnectionLost);
        stage.goes_up([disconnect(ReasonCode::Success)]);
        stage.nothing_goes_down();
    }
}

#[test]
fn a_session_that_ends_before_connack_is_refused() {
    for (cause, code) in [
        (Cause::Revoked, 0x87),
        (Cause::ShuttingDown, 0x88),
        (Cause::TakenOver, 0x88),
        (Cause::Fault, 0x83),
    ] {
        let mut stage = Stage::opening(
            &connect(Version::V5),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.end(cause);
        assert_eq!(stage.out.client, [0x20, 3, 0, code, 0], "{cause:?}");
    }
}

#[test]
fn who_is_revoked_before_connack_is_not_let_in() {
    for version in BOTH {
        let mut stage = Stage::opening(
            &connect(version),
            Limits::default(),
            &UpstreamRules::default(),
        );
        stage.out.upstream.clear();
        stage
            .registry
            .transition(DEVICE, Transition::Revoke)
            .unwrap();
        let connack = Connack::new(false, ReasonCode::Success);
        let next = stage.upstream([Packet::Connack(connack)]);
        assert_eq!(next, Next::Ended(Cause::Revoked));
        let refusal = Connack::new(false, ReasonCode::NotAuthorized);
        stage.goes_down([Packet::Connack(refusal)]);
        stage.goes_up([disconnect(ReasonCode::Success)]);
        assert_eq!(stage.events(), []);
    }
}
