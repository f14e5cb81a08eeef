//! Shared subscriptions.
use std::collections::BTreeSet;

use keygate_protocol::mqtt::{Ack, Packet, Qos, ReasonCode, RetainHandling, SubscriptionOptions};

use keygate_tests::clock::Deadline;

use super::bytes::{field, packet, subscribe};
use super::case::{Case, v5};
use super::peer::Peer;
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(each_message_goes_to_one_member),
    v5!(groups_get_a_copy_each),
    v5!(a_share_is_beside_other_subscriptions),
    v5!(the_members_own_qos_counts),
    v5!(filters_of_shares_are_checked),
    v5!(no_local_is_not_for_shares),
    v5!(a_message_under_way_is_finished_with_its_member),
    v5!(a_message_whose_session_ended_is_not_given_away),
    v5!(a_negative_answer_discards_the_message),
    v5!(whoever_leaves_gets_no_more),
    v5!(members_come_and_go),
    v5!(shares_get_no_retained_messages),
    v5!(the_identifier_of_a_share_comes_along),
    v5!(wildcards_work_in_shares),
];

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// The filter of a share of this case.
fn share(target: &Target, group: &str, rest: &str) -> String {
    format!("$share/{group}{}/{}", target.place, target.topic(rest))
}

/// What each member got, after `writer` has published numbers to the topic: `copies` of each in all.
///
/// There is no fence: a message that takes the way through a group may be overtaken by one that does not. So the members
/// are asked until everything is there, and once more for what must not come.
#[track_caller]
fn distributed(
    members: &mut [Peer],
    writer: &mut Peer,
    topic: &str,
    (count, copies): (u8, usize),
    qos: Qos,
) -> Vec<Vec<u8>> {
    for number in 0..count {
        writer.must_publish(topic, &[number], qos);
    }
    let mut found = vec![Vec::new(); members.len()];
    let deadline = Deadline::new();
    let mut is_last = false;
    loop {
        for (member, found) in members.iter_mut().zip(&mut found) {
            found.extend(member.collect().iter().map(|message| message.payload[0]));
        }
        if is_last {
            return found;
        }
        let len: usize = found.iter().map(Vec::len).sum();
        is_last = len >= usize::from(count) * copies;
        deadline.check("all messages of the group");
    }
}

fn sorted(found: &[Vec<u8>]) -> Vec<u8> {
    let mut all = found.concat();
    all.sort_unstable();
    all
}

/// 5: MQTT-4.8.2-1, MQTT-4.8.2-2. Every message goes to exactly one member, whatever its QoS, and no member is left out for
/// good.
fn each_message_goes_to_one_member(target: &Target) {
    for qos in [Q0, Q1, Q2] {
        let topic = target.topic(&format!("q{}", qos.level()));
        let filter = share(target, "g", &format!("q{}", qos.level()));
        let mut members = ["a", "b", "c"].map(|name| target.join(name));
        for member in &mut members {
            member.must_subscribe(&filter, qos);
        }
        let found = distributed(&mut members, &mut target.join("w"), &topic, (30, 1), qos);
        assert_eq!(sorted(&found), (0..30).collect::<Vec<u8>>());
        assert!(found.iter().all(|part| !part.is_empty()), "{found:?}");
        for member in members {
            member.leave();
        }
    }
}

/// 5: MQTT-4.8.2-1. Two groups with the same filter are two subscribers.
fn groups_get_a_copy_each(target: &Target) {
    let topic = target.topic("x");
    let mut members = ["a", "b", "c", "d"].map(|name| target.join(name));
    for (number, member) in members.iter_mut().enumerate() {
        let group = if number % 2 == 0 { "g" } else { "h" };
        member.must_subscribe(&share(target, group, "x"), Q1);
    }
    let found = distributed(&mut members, &mut target.join("w"), &topic, (10, 2), Q1);
    let all: Vec<u8> = (0..10).collect();
    assert_eq!(sorted(&[found[0].clone(), found[2].clone()]), all);
    assert_eq!(sorted(&[found[1].clone(), found[3].clone()]), all);
}

/// 5: MQTT-4.8.2-1. A share takes nothing away from who subscribes alone, and a client may do both.
fn a_share_is_beside_other_subscriptions(target: &Target) {
    let topic = target.topic("x");
    let mut members = [target.join("a"), target.join("b")];
    members[0].must_subscribe(&share(target, "g", "x"), Q1);
    members[1].must_subscribe(&topic, Q1);
    members[1].must_subscribe(&share(target, "h", "x"), Q1);
    let found = distributed(&mut members, &mut target.join("w"), &topic, (5, 3), Q1);
    assert_eq!(found[0], [0, 1, 2, 3, 4]);
    assert_eq!(sorted(&found[1..]), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

/// 5: MQTT-4.8.2-3. A member gets messages at the lower of their QoS and the one that it was granted.
fn the_members_own_qos_counts(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut writer = target.join("w");
    for granted in [Q0, Q1, Q2] {
        let mut member = target.join("a");
        member.must_subscribe(&filter, granted);
        for published in [Q0, Q1, Q2] {
            writer.must_publish(&topic, b"x", published);
            assert_eq!(member.must_take(&topic, b"x").qos, granted.min(published));
        }
        member.leave();
    }
}

/// 5: MQTT-4.8.2-1, MQTT-4.8.2-2. A share has a name without wildcards, and a filter behind it.
fn filters_of_shares_are_checked(target: &Target) {
    for filter in [
        "$share/",
        "$share//x",
        "$share/g",
        "$share/g/",
        "$share/g+/x",
        "$share/#/x",
        "$share/+/x",
        "$share/g/a#",
    ] {
        let bytes = subscribe(target, filter.as_bytes());
        target.join("a").must_end_after(&bytes, 0x8f);
    }
}

/// 5: MQTT-3.8.3-4. No Local cannot be asked for in a share.
fn no_local_is_not_for_shares(target: &Target) {
    let mut body = vec![0, 9, 0];
    body.extend(field(share(target, "g", "x").as_bytes()));
    body.push(0x05);
    target.join("a").must_end_after(&packet(0x82, &body), 0x82);
}

fn ok(message: &super::peer::Message) -> Ack<'static> {
    Ack::new(message.id(), ReasonCode::Success)
}

/// 5: MQTT-4.8.2-4. A message of QoS 2 that a member has begun to receive is finished with this member when it is back,
/// and no other gets it.
fn a_message_under_way_is_finished_with_its_member(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut first = target.resume("a");
    first.must_subscribe(&filter, Q2);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q2);
    let message = first.message();
    first.send(&Packet::Pubrec(ok(&message)));
    first.pubrel(message.id());
    let mut second = target.join("b");
    second.must_subscribe(&filter, Q2);
    first.cut();
    assert_eq!(second.drain(&mut writer, Q2), []);
    let mut first = target.resume("a");
    assert!(first.session_present());
    first.pubrel(message.id());
    first.send(&Packet::Pubcomp(ok(&message)));
    first.must_have_nothing();
}

/// 5: MQTT-4.8.2-5. If that member's session ends instead, nobody else gets the message.
fn a_message_whose_session_ended_is_not_given_away(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut first = target.resume("a");
    first.must_subscribe(&filter, Q2);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q2);
    let message = first.message();
    first.send(&Packet::Pubrec(ok(&message)));
    first.pubrel(message.id());
    let mut second = target.join("b");
    second.must_subscribe(&filter, Q2);
    first.cut();
    let first = target.join("a");
    assert!(!first.session_present());
    // The next message of the group is the first that the other gets.
    writer.must_publish(&topic, b"2", Q2);
    second.must_take(&topic, b"2");
    second.must_have_nothing();
}

/// 5: MQTT-4.8.2-6. A member that answers with an error has had the message: it is discarded, not given to another.
fn a_negative_answer_discards_the_message(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut first = target.join("a");
    first.must_subscribe(&filter, Q2);
    let mut writer = target.join("w");
    writer.must_publish(&topic, b"1", Q1);
    writer.must_publish(&topic, b"2", Q2);
    let messages = [first.message(), first.message()];
    let mut second = target.join("b");
    second.must_subscribe(&filter, Q2);
    for message in messages {
        let no = Ack::new(message.id(), ReasonCode::UnspecifiedError);
        first.send(&match message.qos {
            Q1 => Packet::Puback(no),
            _ => Packet::Pubrec(no),
        });
    }
    first.must_have_nothing();
    first.unsubscribe(&[&filter]);
    // The next message of the group is the first that the other gets.
    writer.must_publish(&topic, b"3", Q2);
    second.must_take(&topic, b"3");
    second.must_have_nothing();
}

/// 5: MQTT-3.10.4-1, MQTT-3.10.4-2. Who unsubscribes from the share, or goes, is no member any more; the others get everything.
fn whoever_leaves_gets_no_more(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut members = ["a", "b", "c"].map(|name| target.join(name));
    for member in &mut members {
        member.must_subscribe(&filter, Q1);
    }
    assert_eq!(members[0].unsubscribe(&[&topic]), [0x11]);
    assert_eq!(members[0].unsubscribe(&[&filter]), [0]);
    let [mut first, second, third] = members;
    second.leave();
    let mut writer = target.join("w");
    let mut rest = [third];
    let found = distributed(&mut rest, &mut writer, &topic, (10, 1), Q1);
    assert_eq!(found[0], (0..10).collect::<Vec<u8>>());
    assert_eq!(first.drain(&mut writer, Q1), []);
}

/// 5: MQTT-4.5.0-1. While members come and go, every message reaches somebody.
fn members_come_and_go(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut writer = target.join("w");
    let mut steady = target.join("s");
    steady.must_subscribe(&filter, Q1);
    let mut seen = BTreeSet::new();
    for number in 0..10 {
        let mut guest = target.join("a");
        guest.must_subscribe(&filter, Q1);
        writer.must_publish(&topic, &[number], Q1);
        writer.must_publish(&topic, &[number + 100], Q1);
        guest.unsubscribe(&[&filter]);
        for message in guest.drain(&mut writer, Q1) {
            seen.insert(message.payload[0]);
        }
        guest.leave();
    }
    let deadline = Deadline::new();
    while seen.len() < 20 {
        let found = steady.collect();
        seen.extend(found.iter().map(|message| message.payload[0]));
        deadline.check("all messages of the group");
    }
}

/// 5: MQTT-3.3.1-9, MQTT-3.3.1-10. A share does not get what is retained, however it asks.
fn shares_get_no_retained_messages(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut writer = target.join("w");
    writer.retain(&topic, b"kept", Q1);
    for retain_handling in [RetainHandling::Send, RetainHandling::SendIfNew] {
        let mut member = target.join("a");
        let options = SubscriptionOptions {
            qos: Q1,
            retain_handling,
            ..SubscriptionOptions::default()
        };
        assert_eq!(member.subscribe_as(&filter, options, None), 1);
        assert_eq!(member.drain(&mut writer, Q1), []);
        member.leave();
    }
    writer.retain(&topic, b"", Q1);
}

/// 5: MQTT-3.3.4-3. A share may have an identifier, each member its own.
fn the_identifier_of_a_share_comes_along(target: &Target) {
    let topic = target.topic("x");
    let filter = share(target, "g", "x");
    let mut writer = target.join("w");
    let mut members = [target.join("a"), target.join("b")];
    for (member, id) in members.iter_mut().zip([7, 8]) {
        let options = SubscriptionOptions {
            qos: Q1,
            ..SubscriptionOptions::default()
        };
        assert_eq!(member.subscribe_as(&filter, options, Some(id)), 1);
    }
    for _ in 0..4 {
        writer.must_publish(&topic, b"x", Q1);
    }
    let mut count = 0;
    for (member, id) in members.iter_mut().zip([7, 8]) {
        for message in member.drain(&mut writer, Q1) {
            assert_eq!(message.subscription_ids, [id]);
            count += 1;
        }
    }
    assert_eq!(count, 4);
}

/// 5: MQTT-4.8.2-2, MQTT-3.3.2-3. The filter behind the name is one like any other.
fn wildcards_work_in_shares(target: &Target) {
    let mut writer = target.join("w");
    for (rest, topic, other) in [("a/#", "a", "b"), ("+/x", "y/x", "x"), ("#", "p/q", "r")] {
        let filter = share(target, "g", rest);
        let mut member = target.join("a");
        member.must_subscribe(&filter, Q1);
        writer.must_publish(&target.topic(topic), b"yes", Q1);
        member.must_take(&target.topic(topic), b"yes");
        if rest != "#" {
            writer.must_publish(&target.topic(other), b"no", Q1);
            assert_eq!(member.drain(&mut writer, Q1), []);
        }
        member.leave();
    }
}
