//! Messages reach who may read them, once, in order, in both versions.
use keygate_protocol::mqtt::{Publish, Qos, Version};
use keygate_tests::broker::Broker;
use keygate_tests::device::Device;
use keygate_tests::session::Client;

/// Two members of one group, logged in.
fn pair(broker: &Broker) -> (Client, Client) {
    let one = Device::new("dev-1").in_group("g");
    let two = Device::new("dev-2").in_group("g");
    broker.enrol([&one, &two]);
    (broker.log_in(&one), broker.log_in(&two))
}

#[test]
fn a_group_hears_its_members_at_qos_1() {
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    one.must_subscribe("groups/g/state/+");
    two.must_publish("groups/g/state/dev-2", b"21 degrees");
    let delivered = one.must_receive("groups/g/state/dev-2", b"21 degrees");
    assert_eq!(
        (delivered.qos, delivered.retain, delivered.dup),
        (Qos::AtLeastOnce, false, false)
    );
}

#[test]
fn a_group_hears_its_members_at_qos_0() {
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    assert_eq!(one.subscribe("groups/g/state/+", Qos::AtLeastOnce), 1);
    two.publish_unacknowledged("groups/g/state/dev-2", b"quick");
    let delivered = one.must_receive("groups/g/state/dev-2", b"quick");
    assert_eq!(delivered.qos, Qos::AtMostOnce);

    // The subscription's QoS caps the message's.
    one.unsubscribe("groups/g/state/+");
    assert_eq!(one.subscribe("groups/g/state/+", Qos::AtMostOnce), 0);
    two.must_publish("groups/g/state/dev-2", b"sure");
    let delivered = one.must_receive("groups/g/state/dev-2", b"sure");
    assert_eq!(delivered.qos, Qos::AtMostOnce);
}

#[test]
fn a_thousand_messages_come_once_and_in_order() {
    const COUNT: u32 = 1_000;
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    one.must_subscribe("groups/g/state/+");
    let writer = std::thread::spawn(move || {
        for number in 0..COUNT {
            two.must_publish("groups/g/state/dev-2", &number.to_be_bytes());
        }
        two
    });
    for number in 0..COUNT {
        one.must_receive("groups/g/state/dev-2", &number.to_be_bytes());
    }
    writer.join().unwrap().must_stand();
    one.must_have_received_nothing();
}

#[test]
fn the_versions_understand_each_other() {
    let broker = Broker::start();
    let old = Device::new("old").in_group("g");
    let new = Device::new("new").in_group("g");
    broker.enrol([&old, &new]);
    let mut old = broker.log_in_by_assertion(&old, Version::V311);
    let mut new = broker.log_in(&new);
    old.must_subscribe("groups/g/state/+");
    new.must_subscribe("groups/g/state/+");
    old.must_publish("groups/g/state/old", b"from 3.1.1");
    new.must_receive("groups/g/state/old", b"from 3.1.1");
    old.must_receive("groups/g/state/old", b"from 3.1.1");
    new.must_publish("groups/g/state/new", b"from 5");
    old.must_receive("groups/g/state/new", b"from 5");
}

#[test]
fn a_retained_message_waits_for_who_comes_later() {
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    let retain = |client: &mut Client, payload: &[u8]| {
        let code = client.publish_packet(Publish {
            retain: true,
            ..Publish::new("groups/g/state/dev-2", payload)
        });
        assert_eq!(code, 0);
    };
    retain(&mut two, b"first");
    retain(&mut two, b"newest");
    one.must_subscribe("groups/g/state/+");
    let delivered = one.must_receive("groups/g/state/dev-2", b"newest");
    assert!(delivered.retain);

    // An empty one clears it.
    retain(&mut two, b"");
    one.must_receive("groups/g/state/dev-2", b"");
    one.unsubscribe("groups/g/state/+");
    one.must_subscribe("groups/g/state/+");
    one.must_have_received_nothing();
}

#[test]
fn who_left_a_group_topic_hears_no_more() {
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    one.must_subscribe("groups/g/state/+");
    two.must_publish("groups/g/state/dev-2", b"1");
    one.must_receive("groups/g/state/dev-2", b"1");
    one.unsubscribe("groups/g/state/+");
    two.must_publish("groups/g/state/dev-2", b"2");
    one.must_have_received_nothing();
}

#[test]
fn what_a_message_carries_arrives_with_it() {
    use keygate_protocol::mqtt::{MessageProperties, Packet, PayloadFormat, UserProperties};
    let broker = Broker::start();
    let (mut one, mut two) = pair(&broker);
    one.must_subscribe("groups/g/state/+");
    let pairs = [("site", "north"), ("site", "roof")];
    let properties = MessageProperties {
        payload_format: Some(PayloadFormat::Utf8),
        expiry_s: Some(3600),
        content_type: Some("application/json"),
        response_topic: Some("devices/dev-2/answers"),
        correlation_data: Some(&[0, 255]),
        user_properties: UserProperties::new(&pairs),
    };
    let code = two.publish_packet(Publish {
        properties,
        ..Publish::new("groups/g/state/dev-2", b"{}")
    });
    assert_eq!(code, 0);
    let got = one.wire.packet();
    let Packet::Publish(publish) = got.packet() else {
        panic!("expected the message, heard {got:?}");
    };
    assert!(publish.properties.expiry_s.is_some_and(|s| s <= 3600));
    assert_eq!(
        MessageProperties {
            expiry_s: Some(3600),
            ..publish.properties
        },
        properties
    );
}
