//! Rights change while the session goes on.
use super::*;
use crate::identity::{Device, Transition};
use keygate_protocol::mqtt::{Suback, Subscribe, Subscription, Unsuback, Unsubscribe};
use keygate_protocol::topic::TopicFilter;

fn filters<'a>(texts: &[&'a str]) -> Vec<TopicFilter<'a>> {
    texts
        .iter()
        .map(|text| TopicFilter::new(text).unwrap())
        .collect()
}

fn subscribe(stage: &mut Stage, packet_id: u16, texts: &[&str]) -> Next {
    let wanted: Vec<_> = filters(texts)
        .into_iter()
        .map(|filter| Subscription::new(filter, Qos::AtLeastOnce))
        .collect();
    stage.client([Packet::Subscribe(Subscribe::new(id(packet_id), &wanted))])
}

/// A session with these subscriptions, all of them in force.
fn subscribed(version: Version, limits: Limits, texts: &[&str]) -> Stage {
    let mut stage = Stage::open_within(version, limits);
    subscribe(&mut stage, 1, texts);
    let codes = vec![ReasonCode::GrantedQos1; texts.len()];
    stage.upstream([Packet::Suback(Suback::new(id(1), &codes))]);
    stage.out = Output::default();
    stage
}

/// The device has this role from now on.
fn renew(stage: &mut Stage, role: &str) {
    let mut principal = principal(&stage.gate);
    principal.device = Arc::new(Device {
        roles: [role.into()].into(),
        ..(*principal.device).clone()
    });
    stage.act(|relay, turn| relay.renew(principal, turn));
}

#[track_caller]
fn given_up(stage: &mut Stage, packet_id: u16, texts: &[&str]) {
    let filters = filters(texts);
    stage.goes_up([Packet::Unsubscribe(Unsubscribe::new(
        id(packet_id),
        &filters,
    ))]);
}

fn unsuback(stage: &mut Stage, packet_id: u16, count: usize) {
    let codes = vec![ReasonCode::Success; count];
    let codes = match stage.version {
        Version::V5 => &codes[..],
        Version::V311 => &[],
    };
    stage.upstream([Packet::Unsuback(Unsuback::new(id(packet_id), codes))]);
}

#[test]
fn subscriptions_without_a_right_are_given_up_and_nobody_hears_of_it() {
    for version in BOTH {
        let all = ["open/a", "devices/dev-1/x", "open/#"];
        let mut stage = Stage::open(version);
        // Half of them come with another role; the session has both by and by.
        renew(&mut stage, "device");
        subscribe(&mut stage, 1, &all[1..2]);
        stage.out = Output::default();
        renew(&mut stage, "mixed");
        given_up(&mut stage, 65_535, &["devices/dev-1/x"]);
        unsuback(&mut stage, 65_535, 1);
        stage.nothing_goes_down();
        stage.nothing_goes_up();
        renew(&mut stage, "device");
        stage.nothing_goes_up();
    }
}

#[test]
fn one_unsubscribe_at_a_time_names_all_that_fits() {
    let limits = Limits {
        packet_bytes: 1_024,
        ..Limits::default()
    };
    let long: Vec<String> = (0..3)
        .map(|n| format!("open/{n}{}", "x".repeat(328)))
        .collect();
    let texts: Vec<&str> = long.iter().map(String::as_str).collect();
    let mut stage = subscribed(Version::V5, limits, &texts[..2]);
    subscribe(&mut stage, 2, &texts[2..]);
    stage.upstream([Packet::Suback(Suback::new(
        id(2),
        &[ReasonCode::GrantedQos1],
    ))]);
    subscribe(&mut stage, 3, &["open/last"]);
    stage.out = Output::default();
    renew(&mut stage, "device");
    given_up(&mut stage, 65_535, &texts);
    // Rights come and go; the answer is not there yet.
    renew(&mut stage, "mixed");
    renew(&mut stage, "device");
    stage.nothing_goes_up();
    unsuback(&mut stage, 65_535, 3);
    given_up(&mut stage, 65_535, &["open/last"]);
    stage.nothing_goes_down();
}

#[test]
fn the_gates_identifier_is_one_that_nothing_uses() {
    let mut stage = subscribed(Version::V5, Limits::default(), &["open/a"]);
    subscribe(&mut stage, 65_535, &["open/b"]);
    stage.client([
        publish("open/a", Qos::AtLeastOnce, 65_534),
        publish("open/a", Qos::ExactlyOnce, 65_533),
    ]);
    stage.upstream([Packet::Pubrec(ack(65_533, ReasonCode::Success))]);
    stage.out = Output::default();
    renew(&mut stage, "device");
    given_up(&mut stage, 65_532, &["open/a", "open/b"]);
    // The client's next packet under it waits until it is free.
    let topic = "devices/dev-1/x";
    let next = stage.client([publish(topic, Qos::AtLeastOnce, 65_532)]);
    assert_eq!(next, Next::Wait);
    assert_eq!(
        subscribe(&mut stage, 65_532, &["devices/dev-1/#"]),
        Next::Wait
    );
    assert!(!stage.relay.may_read_client(0, &stage.gate));
    stage.nothing_goes_up();
    unsuback(&mut stage, 65_532, 2);
    assert!(stage.relay.may_read_client(0, &stage.gate));
    stage.client([publish(topic, Qos::AtLeastOnce, 65_532)]);
    stage.goes_up([publish(topic, Qos::AtLeastOnce, 65_532)]);
}

#[test]
fn deliveries_and_publishes_are_judged_by_the_new_rights() {
    for version in BOTH {
        let mut stage = subscribed(version, Limits::default(), &["open/a"]);
        renew(&mut stage, "device");
        stage.out = Output::default();
        stage.upstream([publish("open/a", Qos::AtLeastOnce, 1)]);
        stage.nothing_goes_down();
        stage.goes_up([Packet::Puback(ack(1, ReasonCode::Success))]);
        let allowed = publish("devices/dev-1/x", Qos::AtLeastOnce, 1);
        stage.client([allowed]);
        stage.goes_up([allowed]);
    }
}

#[test]
fn a_message_that_went_up_before_the_right_was_lost_is_answered_from_there() {
    let mut stage = Stage::open(Version::V5);
    let sent = publish("open/a", Qos::AtLeastOnce, 1);
    stage.client([sent]);
    renew(&mut stage, "device");
    stage.out = Output::default();
    stage.client([sent]);
    stage.nothing_goes_up();
    stage.nothing_goes_down();
    let puback = Packet::Puback(ack(1, ReasonCode::Success));
    stage.upstream([puback]);
    stage.goes_down([puback]);
}

#[test]
fn a_device_without_standing_neither_sends_nor_gets_anything() {
    for (transition, cause) in [
        (Transition::Suspend, Cause::Suspended),
        (Transition::Revoke, Cause::Revoked),
    ] {
        let delivery = publish("open/a", Qos::AtMostOnce, 0);
        let lose = || {
            let stage = Stage::open(Version::V5);
            stage.registry.transition(DEVICE, transition).unwrap();
            stage
        };
        let mut stage = lose();
        assert_eq!(stage.client([delivery]), Next::Ended(cause));
        stage.goes_up([disconnect(ReasonCode::Success)]);
        stage.goes_down([disconnect(ReasonCode::AdministrativeAction)]);
        let mut stage = lose();
        assert_eq!(stage.upstream([delivery]), Next::Ended(cause));
        stage.goes_down([disconnect(ReasonCode::AdministrativeAction)]);
        let mut stage = lose();
        assert_eq!(stage.act(Relay::tick), Some(cause));
        stage.goes_down([disconnect(ReasonCode::AdministrativeAction)]);
    }
}

#[test]
fn an_expired_proof_ends_the_session_and_its_will_goes_out() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let mut principal = principal(&stage.gate);
        principal.expires_at = Some(UnixTime(NOW.wall.0 + 1));
        stage.act(|relay, turn| relay.renew(principal, turn));
        assert_eq!(stage.act(Relay::tick), None);
        stage.times.wall.0 += 1;
        let next = stage.upstream([publish("open/a", Qos::AtMostOnce, 0)]);
        assert_eq!(next, Next::Ended(Cause::Expired));
        match version {
            Version::V5 => {
                stage.goes_up([disconnect(ReasonCode::DisconnectWithWill)]);
                stage.goes_down([disconnect(ReasonCode::NotAuthorized)]);
            }
            Version::V311 => {
                stage.nothing_goes_up();
                stage.nothing_goes_down();
            }
        }
    }
}
