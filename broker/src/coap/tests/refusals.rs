//! Everybody who gets no token: the code, the audit event, and nothing changed.
use super::*;
use crate::coap::limits::UNPROVEN_REPORTS_BURST;
use crate::identity::{DeviceKey, DeviceState};
use keygate_protocol::ace::RequestedKey;
use keygate_protocol::scope::{Permissions, Rule, Scope};
use keygate_protocol::topic::TopicFilter;

/// `{30: 2}`: one answer for everybody whose proof does not count.
const INVALID_CLIENT: [u8; 4] = [0xa1, 0x18, 0x1e, 0x02];

/// Sends a request that must be refused, and sees that the registry and everybody's next token are as before.
fn refuse(world: &mut World, request: &Ask, code: &str, reason: RefusalReason) -> Seen {
    let good = world.token_request().bytes();
    let (before, revision) = (
        world.ask(&good).payload,
        world.registry.directory().revision(),
    );
    let seen = world.ask(&request.bytes());
    assert_eq!(
        (seen.code.as_str(), seen.reason()),
        (code, Some(reason)),
        "{request:?}"
    );
    assert_eq!(world.registry.directory().revision(), revision);
    assert_eq!(world.ask(&good).payload, before);
    seen
}

fn refuse_as_client(world: &mut World, request: &Ask, reason: RefusalReason) -> Seen {
    let seen = refuse(world, request, "4.01", reason);
    assert_eq!(seen.payload, INVALID_CLIENT);
    assert_eq!(
        (seen.content_format, seen.max_age, &seen.echo),
        (Some(19), Some(0), &None)
    );
    seen
}

fn refuse_with_error(world: &mut World, request: &Ask, error: u8, reason: RefusalReason) {
    let seen = refuse(world, request, "4.00", reason);
    assert_eq!(seen.payload, [0xa1, 0x18, 0x1e, error]);
    assert_eq!(seen.content_format, Some(19));
}

#[test]
fn first_request_is_challenged_and_is_no_event() {
    let mut world = World::new();
    let request = Ask::post("token").with(12, &[19]).payload(&wanted(GATEWAY));
    let seen = world.ask(&request.bytes());
    assert_eq!((seen.code.as_str(), seen.max_age), ("4.01", Some(0)));
    assert_eq!(seen.echo.as_ref().map(Vec::len), Some(12));
    assert_eq!((seen.payload.len(), seen.event), (0, None));
}

#[test]
fn signed_request_without_its_echo_is_refused() {
    let mut world = World::new();
    let request = world.token_request().without(252);
    let seen = refuse(&mut world, &request, "4.01", RefusalReason::EchoMissing);
    assert!(seen.echo.is_some());
}

#[test]
fn stale_echo_gets_a_fresh_one() {
    let mut world = World::new();
    let request = world.token_request();
    world.clock.advance(31_000);
    let seen = refuse(&mut world, &request, "4.01", RefusalReason::EchoStale);
    let fresh = seen.echo.unwrap();
    let again = Ask::token(&fresh, &key(1), &wanted(GATEWAY));
    assert_eq!(world.ask(&again.bytes()).code, "2.01");
}

#[test]
fn another_source_address_is_refused_and_gets_an_echo_of_its_own() {
    let mut world = World::new();
    let request = world.token_request().bytes();
    for other in ["192.0.2.2:40000", "192.0.2.1:40001", "[2001:db8::1]:40000"] {
        let other: SocketAddr = other.parse().unwrap();
        let seen = Seen::of(&world.send_from(other, &request));
        assert_eq!(seen.code, "4.01");
        assert_eq!(seen.reason(), Some(RefusalReason::EchoStale));
        let echo = seen.echo.unwrap();
        let own = Ask::token(&echo, &key(1), &wanted(GATEWAY)).bytes();
        assert_eq!(Seen::of(&world.send_from(other, &own)).code, "2.01");
    }
    assert_eq!(world.ask(&request).code, "2.01");
}

#[test]
fn echo_of_another_start_is_refused() {
    let request = World::seeded(2).token_request();
    let mut world = World::new();
    refuse(&mut world, &request, "4.01", RefusalReason::EchoStale);
}

#[test]
fn unknown_device_wrong_key_and_bad_signature_answer_alike() {
    let mut world = World::new();
    world.enrol("dev-2", &key(2));
    let echo = world.echo();

    let stranger = Ask::token(&echo, &key(9), &wanted("dev-9"));
    let seen = refuse_as_client(&mut world, &stranger, RefusalReason::UnknownDevice);
    assert_eq!(seen.identity(), Some("dev-9"));

    let wrong_key = Ask::token(&echo, &key(9), &wanted(GATEWAY));
    let alike = refuse_as_client(&mut world, &wrong_key, RefusalReason::KeyUnknown);
    assert_eq!(alike.identity(), Some(GATEWAY));
    assert_eq!(
        Seen {
            event: None,
            ..alike
        },
        Seen {
            event: None,
            ..seen.clone()
        }
    );

    let mut bent = Ask::token(&echo, &key(1), &wanted(GATEWAY));
    *bent.payload.last_mut().unwrap() ^= 1;
    let alike = refuse_as_client(&mut world, &bent, RefusalReason::BadSignature);
    assert_eq!(alike.identity(), Some(GATEWAY));
    assert_eq!(
        Seen {
            event: None,
            ..alike
        },
        Seen {
            event: None,
            ..seen
        }
    );
}

#[test]
fn state_of_the_device_refuses_without_saying_so() {
    for (state, reason) in [
        (DeviceState::Pending, RefusalReason::DevicePending),
        (DeviceState::Suspended, RefusalReason::DeviceSuspended),
        (DeviceState::Revoked, RefusalReason::DeviceRevoked),
    ] {
        let mut world = World::new();
        let mut device = NewDevice::new("dev-2", key(2).public_key());
        device.state = state;
        world.registry.add(&device).unwrap();
        let echo = world.echo();
        let request = Ask::token(&echo, &key(2), &wanted("dev-2"));
        let seen = refuse_as_client(&mut world, &request, reason);
        assert_eq!(seen.identity(), Some("dev-2"));
    }
}

#[test]
fn key_outside_its_time_refuses_without_saying_so() {
    for (not_before, not_after, reason) in [
        (Some(WALL.plus(1)), None, RefusalReason::KeyNotYetValid),
        (None, Some(WALL), RefusalReason::KeyExpired),
    ] {
        let mut world = World::new();
        let mut device = NewDevice::new("dev-2", key(2).public_key());
        device.keys = vec![DeviceKey {
            not_before,
            not_after,
            ..DeviceKey::new(key(2).public_key())
        }];
        world.registry.add(&device).unwrap();
        let echo = world.echo();
        let request = Ask::token(&echo, &key(2), &wanted("dev-2"));
        refuse_as_client(&mut world, &request, reason);
    }
}

#[test]
fn proof_for_anything_else_is_a_bad_signature() {
    let mut world = World::new();
    let echo = world.echo();
    world.clock.advance(1_000);
    let other_echo = world.echo();
    let right = For {
        broker_id: BROKER,
        echo: &echo,
        code: Code::POST,
        path: &["token"],
    };
    for (what, context) in [
        (
            "broker",
            For {
                broker_id: "kg-000000",
                ..right
            },
        ),
        (
            "echo",
            For {
                echo: &other_echo,
                ..right
            },
        ),
        (
            "method",
            For {
                code: Code::GET,
                ..right
            },
        ),
        (
            "path",
            For {
                path: &["enrol"],
                ..right
            },
        ),
        (
            "longer path",
            For {
                path: &["token", "x"],
                ..right
            },
        ),
    ] {
        let body = signed(context, &key(1), &wanted(GATEWAY));
        let request = Ask::token(&echo, &key(1), b"\xa0").payload(&body);
        let seen = refuse_as_client(&mut world, &request, RefusalReason::BadSignature);
        assert_eq!(seen.identity(), Some(GATEWAY), "{what}");
    }
}

#[test]
fn token_for_another_device_is_refused() {
    let mut world = World::new();
    world.enrol("dev-2", &key(2));
    let echo = world.echo();
    let request = Ask::token(&echo, &key(2), &wanted(GATEWAY));
    let seen = refuse_as_client(&mut world, &request, RefusalReason::ClientIdNotOwn);
    assert_eq!(seen.identity(), Some("dev-2"));
}

#[test]
fn unsigned_request_with_an_echo_is_refused_by_its_format() {
    let mut world = World::new();
    let echo = world.echo();
    let unsigned = Ask::post("token")
        .with(252, &echo)
        .payload(&wanted(GATEWAY));
    for request in [
        unsigned.clone().with(12, &[19]),
        unsigned.clone(),
        Ask::token(&echo, &key(1), &wanted(GATEWAY)).without(12),
        Ask::token(&echo, &key(1), &wanted(GATEWAY))
            .without(12)
            .with(12, &[61]),
    ] {
        refuse(&mut world, &request, "4.15", RefusalReason::DataMalformed);
    }
}

#[test]
fn body_that_is_no_signed_request_is_malformed() {
    let mut world = World::new();
    let echo = world.echo();
    let good = Ask::token(&echo, &key(1), &wanted(GATEWAY));
    let tagged = [&[0xd2], good.payload.as_slice()].concat();
    let trailing = [good.payload.as_slice(), &[0]].concat();
    for body in [
        &[][..],
        b"x",
        &[0x84],
        &tagged,
        &trailing,
        &good.payload[1..],
    ] {
        let request = good.clone().payload(body);
        refuse_with_error(&mut world, &request, 1, RefusalReason::DataMalformed);
    }
}

#[test]
fn map_that_is_not_ours_is_malformed() {
    let mut world = World::new();
    let echo = world.echo();
    for payload in [
        &b""[..],
        b"\xa0",
        b"\xa1\x18\x18\x00",                  // client_id is no text
        b"\xa1\x18\x18\x61~",                 // nor an id
        b"\xa1\x18\x18\x64gw-1\x00",          // trailing
        b"\xbf\x18\x18\x64gw-1\xff",          // indefinite
        b"\xa2\x18\x18\x64gw-1\x18\x19\x41s", // client_secret
        b"\xa2\x18\x21\x02\x18\x18\x64gw-1",  // descending keys
        b"\xa2\x05\x60\x18\x18\x64gw-1",      // empty audience
    ] {
        let request = Ask::token(&echo, &key(1), payload);
        refuse_with_error(&mut world, &request, 1, RefusalReason::DataMalformed);
    }
}

#[test]
fn what_is_asked_for_is_refused_with_its_ace_error() {
    let mut world = World::new();
    let echo = world.echo();
    let filter = TopicFilter::new("devices/gw-2/#").unwrap();
    let mut scope = Bytes::default();
    Scope::encode(&[Rule::new(filter, Permissions::Both).unwrap()], &mut scope).unwrap();
    let plain = TokenRequest {
        req_cnf: None,
        audience: None,
        scope: None,
        client_id: Id::new(GATEWAY).unwrap(),
        grant_type: None,
    };
    let foreign_key = RequestedKey::Key(key(2).public_key());
    let foreign_kid = RequestedKey::Kid(key(2).public_key().key_id());
    let foreign_scope = Some(Scope::decode(&scope.0).unwrap());
    for (payload, error, reason) in [
        (
            encoded(&TokenRequest {
                audience: Some("another"),
                ..plain
            }),
            1,
            RefusalReason::AudienceUnknown,
        ),
        (
            b"\xa2\x18\x18\x64gw-1\x18\x21\x00".to_vec(),
            5,
            RefusalReason::GrantUnsupported,
        ),
        (
            b"\xa2\x09\x61a\x18\x18\x64gw-1".to_vec(),
            6,
            RefusalReason::ScopeRefused,
        ),
        (
            b"\xa2\x09\x41\x00\x18\x18\x64gw-1".to_vec(),
            6,
            RefusalReason::ScopeRefused,
        ),
        (
            encoded(&TokenRequest {
                scope: foreign_scope,
                ..plain
            }),
            6,
            RefusalReason::ScopeRefused,
        ),
        (
            encoded(&TokenRequest {
                req_cnf: Some(foreign_key),
                ..plain
            }),
            7,
            RefusalReason::PopKeyRefused,
        ),
        (
            encoded(&TokenRequest {
                req_cnf: Some(foreign_kid),
                ..plain
            }),
            7,
            RefusalReason::PopKeyRefused,
        ),
    ] {
        let request = Ask::token(&echo, &key(1), &payload);
        refuse_with_error(&mut world, &request, error, reason);
    }
    let own = TokenRequest {
        req_cnf: Some(RequestedKey::Key(key(1).public_key())),
        ..plain
    };
    let request = Ask::token(&echo, &key(1), &encoded(&own));
    assert_eq!(world.ask(&request.bytes()).code, "2.01");
}

#[test]
fn flood_of_bad_signatures_is_turned_away_and_starves_nobody() {
    let mut world = World::new();
    let culprit: SocketAddr = "198.51.100.9:1000".parse().unwrap();
    let echo = world.echo_for(culprit);
    let mut bad = Ask::token(&echo, &key(1), &wanted(GATEWAY));
    *bad.payload.last_mut().unwrap() ^= 1;
    let bad = bad.bytes();
    let (mut verified, mut turned_away, mut events) = (0, 0, 0);
    for _ in 0..1_000 {
        let seen = Seen::of(&world.send_from(culprit, &bad));
        match seen.code.as_str() {
            "4.01" => verified += 1,
            "4.29" => {
                turned_away += 1;
                assert_eq!(seen.max_age, Some(1));
                events += u32::from(seen.reason() == Some(RefusalReason::Throttled));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((verified, turned_away, events), (40, 960, 1));
    // Another port of that host is the same source; another host is not.
    let other_port = SocketAddr::from((culprit.ip(), 1001));
    let echo = world.echo_for(other_port);
    let request = Ask::token(&echo, &key(1), &wanted(GATEWAY)).bytes();
    assert_eq!(
        Seen::of(&world.send_from(other_port, &request)).code,
        "4.29"
    );
    let good = world.token_request().bytes();
    assert_eq!(world.ask(&good).code, "2.01");
    world.clock.advance(3_000);
    assert_eq!(Seen::of(&world.send_from(culprit, &bad)).code, "4.01");
}

#[test]
fn suspended_device_that_proves_itself_uses_up_no_credit() {
    let mut world = World::new();
    world.transition(GATEWAY, Transition::Suspend);
    let request = world.token_request().bytes();
    for _ in 0..200 {
        assert_eq!(
            world.ask(&request).reason(),
            Some(RefusalReason::DeviceSuspended)
        );
    }
}

#[test]
fn unproven_addresses_can_not_flood_the_audit_trail() {
    let mut world = World::new();
    let request = world.token_request().without(252).bytes();
    let mut events = 0;
    for i in 0..10_000_u32 {
        let from = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + i), 5));
        events += u32::from(world.send_from(from, &request).event.is_some());
    }
    assert_eq!(events, UNPROVEN_REPORTS_BURST);
    world.clock.advance(1_000);
    assert!(world.send(&request).event.is_some());
    assert!(world.send(&request).event.is_none());
}
