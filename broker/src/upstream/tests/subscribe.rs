//! Subscriptions: what is granted goes up, and the client hears of all its filters in its order.
use super::*;
use keygate_protocol::mqtt::{
    Filters, ReasonCodes, Suback, Subscribe, Subscription, SubscriptionId, Subscriptions, Unsuback,
    Unsubscribe, UserProperties,
};
use keygate_protocol::topic::TopicFilter;

fn wanted(filter: &str) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(filter).unwrap(), Qos::ExactlyOnce)
}

/// One SUBSCRIBE for these filters.
fn subscribe(stage: &mut Stage, packet_id: u16, filters: &[&str]) -> Next {
    let wanted: Vec<_> = filters.iter().map(|filter| wanted(filter)).collect();
    stage.client([Packet::Subscribe(Subscribe::new(id(packet_id), &wanted))])
}

#[track_caller]
fn asked_for(stage: &mut Stage, packet_id: u16, filters: &[&str]) {
    let wanted: Vec<_> = filters.iter().map(|filter| wanted(filter)).collect();
    stage.goes_up([Packet::Subscribe(Subscribe::new(id(packet_id), &wanted))]);
}

fn suback(stage: &mut Stage, packet_id: u16, codes: &[ReasonCode]) -> Next {
    stage.upstream([Packet::Suback(Suback::new(id(packet_id), codes))])
}

#[track_caller]
fn answered(stage: &mut Stage, packet_id: u16, codes: &[ReasonCode]) {
    stage.goes_down([Packet::Suback(Suback::new(id(packet_id), codes))]);
}

const GRANTED: ReasonCode = ReasonCode::GrantedQos1;
const REFUSED: ReasonCode = ReasonCode::NotAuthorized;

#[test]
fn what_is_granted_as_a_whole_passes_as_it_is() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let filters = ["open/#", "$share/g/open/a"];
        assert_eq!(subscribe(&mut stage, 1, &filters), Next::More);
        asked_for(&mut stage, 1, &filters);
        let codes = [GRANTED, ReasonCode::UnspecifiedError];
        suback(&mut stage, 1, &codes);
        answered(&mut stage, 1, &codes);
    }
}

#[test]
fn what_is_refused_as_a_whole_is_answered_here() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        // A share that is not granted for all that it matches is not granted.
        subscribe(&mut stage, 1, &["closed/#", "$share/g/open/#"]);
        stage.nothing_goes_up();
        answered(&mut stage, 1, &[REFUSED, REFUSED]);
        assert_eq!(stage.events().len(), 2);
        // Its identifier is free.
        assert_eq!(subscribe(&mut stage, 1, &["open/#"]), Next::More);
    }
}

#[test]
fn of_a_mixed_subscribe_the_granted_part_goes_up_and_all_is_answered_in_order() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let filters = ["closed/a", "open/a", "closed/b", "open/b", "open/c"];
        subscribe(&mut stage, 7, &filters);
        asked_for(&mut stage, 7, &["open/a", "open/b", "open/c"]);
        stage.nothing_goes_down();
        let failed = ReasonCode::UnspecifiedError;
        suback(&mut stage, 7, &[GRANTED, failed, ReasonCode::Success]);
        let expected = [REFUSED, GRANTED, REFUSED, failed, ReasonCode::Success];
        answered(&mut stage, 7, &expected);
        // Nobody asked twice.
        suback(&mut stage, 7, &[GRANTED]);
        stage.nothing_goes_down();
    }
}

#[test]
fn a_mixed_subscribe_keeps_its_options_and_identifier() {
    let mut stage = Stage::open(Version::V5);
    let pairs = [("k", "v")];
    let mut kept = wanted("open/a");
    kept.options.no_local = true;
    kept.options.retain_as_published = true;
    let both = [wanted("closed/a"), kept];
    let whole = Subscribe {
        subscription_id: SubscriptionId::new(9),
        user_properties: UserProperties::new(&pairs),
        ..Subscribe::new(id(1), &both)
    };
    stage.client([Packet::Subscribe(whole)]);
    let rest = Subscribe {
        subscriptions: Subscriptions::new(&both[1..]),
        ..whole
    };
    stage.goes_up([Packet::Subscribe(rest)]);
    let codes = [GRANTED];
    let explained = Suback {
        reason_string: Some("fine"),
        user_properties: UserProperties::new(&pairs),
        ..Suback::new(id(1), &codes)
    };
    stage.upstream([Packet::Suback(explained)]);
    let codes = [REFUSED, GRANTED];
    let merged = Suback {
        codes: ReasonCodes::new(&codes),
        ..explained
    };
    stage.goes_down([Packet::Suback(merged)]);
}

#[test]
fn a_merged_suback_drops_its_words_before_it_becomes_too_large() {
    let mut asked = connect(Version::V5);
    asked.properties.packet_size_max = Some(30);
    let mut stage = Stage::open_with(&asked, Limits::default());
    subscribe(&mut stage, 1, &["closed/a", "open/a"]);
    let codes = [GRANTED];
    let explained = Suback {
        reason_string: Some("twenty-one characters"),
        ..Suback::new(id(1), &codes)
    };
    assert_eq!(explained.encoded_len(Version::V5), 30);
    stage.upstream([Packet::Suback(explained)]);
    answered(&mut stage, 1, &[REFUSED, GRANTED]);
}

#[test]
fn a_suback_must_have_a_code_for_each_filter() {
    for codes in [&[GRANTED][..], &[GRANTED; 3]] {
        for filters in [&["open/a", "open/b"][..], &["open/a", "closed/x", "open/b"]] {
            let mut stage = Stage::open(Version::V5);
            subscribe(&mut stage, 1, filters);
            let next = suback(&mut stage, 1, codes);
            assert!(matches!(next, Next::Ended(Cause::Upstream(_))));
        }
    }
}

#[test]
fn unsubscribe_passes_both_ways() {
    for version in BOTH {
        let mut stage = Stage::open(version);
        let filters = [TopicFilter::new("open/a").unwrap()];
        let unsubscribe = Packet::Unsubscribe(Unsubscribe {
            filters: Filters::new(&filters),
            ..Unsubscribe::new(id(3), &[])
        });
        stage.client([unsubscribe]);
        stage.goes_up([unsubscribe]);
        let codes = [ReasonCode::NoSubscriptionExisted];
        let unsuback = Packet::Unsuback(Unsuback::new(id(3), &codes));
        stage.upstream([unsuback, unsuback]);
        stage.goes_down([unsuback]);
    }
}

#[test]
fn an_identifier_that_is_in_use_ends_the_session() {
    let mut stage = Stage::open(Version::V5);
    subscribe(&mut stage, 1, &["open/a"]);
    let cause = Cause::Protocol(ReasonCode::ProtocolError);
    assert_eq!(subscribe(&mut stage, 1, &["open/b"]), Next::Ended(cause));
}

#[test]
fn subscriptions_are_bounded_as_without_a_relay() {
    let limits = Limits {
        subscriptions: 3,
        wildcard_subscriptions: 1,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    let full = ReasonCode::QuotaExceeded;
    subscribe(
        &mut stage,
        1,
        &["open/#", "open/+", "open/a", "open/b", "open/c", "open/a"],
    );
    asked_for(&mut stage, 1, &["open/#", "open/a", "open/b", "open/a"]);
    suback(&mut stage, 1, &[GRANTED; 4]);
    let expected = [GRANTED, full, GRANTED, GRANTED, full, GRANTED];
    answered(&mut stage, 1, &expected);
    assert_eq!(stage.gate.reached.wildcard_subscriptions.get(), 1);
    assert_eq!(stage.gate.reached.subscriptions.get(), 1);
    // One that is given up makes room, and so does one that the upstream refuses.
    let filters = [TopicFilter::new("open/#").unwrap()];
    stage.client([Packet::Unsubscribe(Unsubscribe::new(id(2), &filters))]);
    stage.out.upstream.clear();
    for packet_id in [3, 4] {
        subscribe(&mut stage, packet_id, &["open/+"]);
        asked_for(&mut stage, packet_id, &["open/+"]);
        suback(&mut stage, packet_id, &[REFUSED]);
        answered(&mut stage, packet_id, &[REFUSED]);
    }
}

#[test]
fn questions_that_wait_are_bounded_and_the_next_one_waits_unread() {
    let limits = Limits {
        relay_subscribes: 2,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    subscribe(&mut stage, 1, &["open/a", "open/b"]);
    assert_eq!(subscribe(&mut stage, 2, &["open/c"]), Next::Wait);
    assert_eq!(stage.gate.reached.relay_subscribes.get(), 1);
    assert!(!stage.relay.may_read_client(0, &stage.gate));
    asked_for(&mut stage, 1, &["open/a", "open/b"]);
    suback(&mut stage, 1, &[GRANTED; 2]);
    assert!(stage.relay.may_read_client(0, &stage.gate));
    assert_eq!(subscribe(&mut stage, 2, &["open/c"]), Next::More);
    asked_for(&mut stage, 2, &["open/c"]);
}

#[test]
fn too_many_levels_are_refused() {
    let limits = Limits {
        topic_levels: 2,
        ..Limits::default()
    };
    let mut stage = Stage::open_within(Version::V5, limits);
    subscribe(&mut stage, 1, &["open/a/b"]);
    answered(&mut stage, 1, &[ReasonCode::TopicFilterInvalid]);
    assert_eq!(stage.gate.reached.topic_levels.get(), 1);
}
