//! What follows CONNACK.
use std::num::NonZeroU16;

use keygate_protocol::mqtt::{
    Ack, Auth, MessageProperties, Packet, Publish, Qos, ReasonCode, RetainHandling, Subscribe,
    Subscription, SubscriptionOptions, Version,
};
use keygate_protocol::topic::TopicFilter;
use keygate_tests::broker::Broker;
use keygate_tests::device::Device;
use keygate_tests::session::Client;

fn stage() -> (Broker, Client) {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let client = broker.log_in(&device);
    (broker, client)
}

fn own(rest: &str) -> String {
    format!("devices/dev-1/{rest}")
}

/// MQTT 5 §3.9.3: each filter has its own answer, in order.
#[test]
fn suback_answers_each_filter() {
    let (_broker, mut client) = stage();
    let filters = [own("#"), "devices/dev-2/#".into(), own("x"), "#".into()];
    let wanted: Vec<_> = filters
        .iter()
        .zip([
            Qos::AtLeastOnce,
            Qos::AtLeastOnce,
            Qos::AtMostOnce,
            Qos::AtMostOnce,
        ])
        .map(|(filter, qos)| Subscription::new(TopicFilter::new(filter).unwrap(), qos))
        .collect();
    let packet_id = client.packet_id();
    client
        .wire
        .send(&Packet::Subscribe(Subscribe::new(packet_id, &wanted)));
    let codes = client.until(|packet| match packet {
        Packet::Suback(ack) => Some(ack.codes.iter().map(ReasonCode::value).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(codes, [1, 0x87, 0, 0x87]);
}

/// MQTT 5 §3.3.4: overlapping subscriptions of one client: here one copy of each message.
#[test]
fn overlapping_subscriptions_deliver_at_their_highest_qos() {
    let (_broker, mut client) = stage();
    assert_eq!(client.subscribe(&own("#"), Qos::AtMostOnce), 0);
    assert_eq!(client.subscribe(&own("x"), Qos::AtLeastOnce), 1);
    client.must_publish(&own("x"), b"1");
    let first = client.must_receive(&own("x"), b"1");
    // One copy a client, or one a subscription: both are allowed; the highest QoS must be among them.
    client.must_publish(&own("end"), b"2");
    let mut qos = first.qos;
    loop {
        let next = client.receive();
        if next.topic == own("end") {
            break;
        }
        assert_eq!(next.topic, own("x"));
        qos = qos.max(next.qos);
    }
    assert_eq!(qos, Qos::AtLeastOnce);
}

/// MQTT 5 §3.8.3.1: No Local.
#[test]
fn no_local_keeps_ones_own_messages_away() {
    let (_broker, mut client) = stage();
    let filter = own("#");
    let code = client.subscribe_to(Subscription {
        filter: TopicFilter::new(&filter).unwrap(),
        options: SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            no_local: true,
            ..SubscriptionOptions::default()
        },
    });
    assert_eq!(code, 1);
    client.must_publish(&own("x"), b"mine");
    client.must_have_received_nothing();
}

/// MQTT 5 §3.8.3.1: Retain Handling and Retain As Published.
#[test]
fn retain_handling_is_obeyed() {
    let (_broker, mut client) = stage();
    let retained = |payload| Publish {
        retain: true,
        ..Publish::new("devices/dev-1/kept", payload)
    };
    assert_eq!(client.publish_packet(retained(b"old")), 0);
    let subscribe = |client: &mut Client, retain_handling, retain_as_published| {
        client.subscribe_to(Subscription {
            filter: TopicFilter::new("devices/dev-1/kept").unwrap(),
            options: SubscriptionOptions {
                qos: Qos::AtLeastOnce,
                no_local: false,
                retain_as_published,
                retain_handling,
            },
        })
    };
    assert_eq!(subscribe(&mut client, RetainHandling::DoNotSend, false), 1);
    client.must_have_received_nothing();
    assert_eq!(subscribe(&mut client, RetainHandling::SendIfNew, false), 1);
    client.must_have_received_nothing();
    assert_eq!(subscribe(&mut client, RetainHandling::Send, true), 1);
    assert!(client.must_receive("devices/dev-1/kept", b"old").retain);

    // To an established subscription it is an ordinary message, unless the flag is to be kept.
    assert_eq!(client.publish_packet(retained(b"new")), 0);
    assert!(client.must_receive("devices/dev-1/kept", b"new").retain);
    assert_eq!(subscribe(&mut client, RetainHandling::DoNotSend, false), 1);
    assert_eq!(client.publish_packet(retained(b"newer")), 0);
    assert!(!client.must_receive("devices/dev-1/kept", b"newer").retain);
}

/// MQTT 5 §4.7.2: a wildcard at the front does not reach `$` topics, and `#` covers its parent.
#[test]
fn hash_covers_its_parent() {
    let (_broker, mut client) = stage();
    client.must_subscribe("devices/dev-1/#");
    client.must_publish("devices/dev-1", b"parent");
    client.must_receive("devices/dev-1", b"parent");
}

/// SPEC.md §10: at most 32 levels.
#[test]
fn too_many_levels_are_refused() {
    let (_broker, mut client) = stage();
    let deep = |levels: usize| own(&vec!["x"; levels - 2].join("/"));
    assert_eq!(client.publish(&deep(32), b"x"), 0);
    assert_eq!(client.publish(&deep(33), b"x"), 0x90);
    assert_eq!(client.subscribe(&deep(33), Qos::AtMostOnce), 0x8f);
    client.must_stand();
}

/// MQTT 5 §3.3.2.3.3: the message expiry goes on shrinking, and what has expired is not delivered.
#[test]
fn an_expired_retained_message_is_not_delivered() {
    let (_broker, mut client) = stage();
    let properties = MessageProperties {
        expiry_s: Some(0),
        ..MessageProperties::default()
    };
    let code = client.publish_packet(Publish {
        retain: true,
        properties,
        ..Publish::new("devices/dev-1/kept", b"old")
    });
    assert_eq!(code, 0);
    client.must_subscribe("devices/dev-1/#");
    client.must_have_received_nothing();
}

/// MQTT 5 §4.12.1: a session that began without a method, or an answer that nobody asked for, is a protocol error.
#[test]
fn unasked_auth_ends_the_session() {
    let (broker, mut client) = stage();
    let auth = Auth::new(ReasonCode::ContinueAuthentication, "kg-ed25519");
    client.wire.send(&Packet::Auth(auth));
    assert_eq!(client.end(), Some(0x82));

    let device = Device::new("dev-2");
    broker.enrol([&device]);
    let mut client = broker.log_in_by_assertion(&device, Version::V5);
    let auth = Auth::new(ReasonCode::ReAuthenticate, "kg-ed25519");
    client.wire.send(&Packet::Auth(auth));
    assert_eq!(client.end(), Some(0x82));
}

/// MQTT 5 §3.6.2.1: PUBREL for an id that is not there is answered with 0x92.
#[test]
fn pubrel_for_an_unknown_id_is_answered() {
    let (_broker, mut client) = stage();
    let packet_id = client.packet_id();
    client
        .wire
        .send(&Packet::Pubrel(Ack::new(packet_id, ReasonCode::Success)));
    let code = client.until(|packet| match packet {
        Packet::Pubcomp(ack) if ack.packet_id == packet_id => Some(ack.code.value()),
        _ => None,
    });
    assert_eq!(code, 0x92);
}

/// MQTT 5 §3.11.3: UNSUBACK says whether there was a subscription.
#[test]
fn unsuback_says_whether_there_was_one() {
    use keygate_protocol::mqtt::Unsubscribe;
    let (_broker, mut client) = stage();
    client.must_subscribe(&own("#"));
    let filters = [own("#"), own("x")];
    let filters = filters
        .each_ref()
        .map(|text| TopicFilter::new(text).unwrap());
    let packet_id = client.packet_id();
    client
        .wire
        .send(&Packet::Unsubscribe(Unsubscribe::new(packet_id, &filters)));
    let codes = client.until(|packet| match packet {
        Packet::Unsuback(ack) => Some(ack.codes.iter().map(ReasonCode::value).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(codes, [0, 0x11]);
}

/// MQTT 5 §3.14.2.2.2: a session that was to end with its connection cannot be made to stay.
#[test]
fn a_goodbye_cannot_make_the_session_stay() {
    use keygate_protocol::mqtt::Disconnect;
    let (_broker, mut client) = stage();
    client.wire.send(&Packet::Disconnect(Disconnect {
        session_expiry_s: Some(60),
        ..Disconnect::new(ReasonCode::Success)
    }));
    assert_eq!(client.end(), Some(0x82));
}

/// MQTT 5 §3.1.2.11.4: nothing larger than the client's Maximum Packet Size is sent to it.
#[test]
fn a_client_gets_nothing_larger_than_it_takes() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let assertion = device.assertion(&broker.broker_id);
    let asked = keygate_tests::device::Asked::by("dev-1");
    let mut connect = asked.connect(Version::V5);
    connect.username = Some("dev-1");
    connect.password = Some(assertion.as_bytes());
    connect.properties.packet_size_max = Some(200);
    let mut wire = broker.wire();
    wire.send(&Packet::Connect(connect));
    keygate_tests::doors::accepted(&mut wire).unwrap();
    let mut client = Client::new(wire);
    client.must_subscribe(&own("#"));
    client.must_publish(&own("large"), &[7; 300]);
    client.must_publish(&own("small"), &[7; 30]);
    client.must_receive(&own("small"), &[7; 30]);
}

/// MQTT 5 §4.9: no more unacknowledged messages than the client's Receive Maximum.
#[test]
fn a_clients_receive_maximum_is_obeyed() {
    let broker = Broker::start();
    let device = Device::new("dev-1").in_group("g");
    let writer = Device::new("writer").in_group("g");
    broker.enrol([&device, &writer]);
    let mut writer = broker.log_in(&writer);
    let assertion = device.assertion(&broker.broker_id);
    let asked = keygate_tests::device::Asked::by("dev-1");
    let mut connect = asked.connect(Version::V5);
    connect.username = Some("dev-1");
    connect.password = Some(assertion.as_bytes());
    connect.properties.receive_max = 2;
    let mut wire = broker.wire();
    wire.send(&Packet::Connect(connect));
    keygate_tests::doors::accepted(&mut wire).unwrap();
    let filter = TopicFilter::new("groups/g/state/+").unwrap();
    let wanted = [Subscription::new(filter, Qos::AtLeastOnce)];
    let packet_id = NonZeroU16::new(1).unwrap();
    wire.send(&Packet::Subscribe(Subscribe::new(packet_id, &wanted)));
    assert!(matches!(wire.packet().packet(), Packet::Suback(_)));
    for number in 0..5_u8 {
        writer.must_publish("groups/g/state/writer", &[number]);
    }
    // Two come; the third waits for an acknowledgement.
    let mut unacknowledged = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let got = wire.packet();
        match got.packet() {
            Packet::Publish(publish) => {
                seen.push(publish.payload[0]);
                unacknowledged.extend(publish.packet_id);
                assert!(unacknowledged.len() <= 2);
            }
            other => panic!("did not expect {other:?}"),
        }
        if unacknowledged.len() == 2 {
            wire.send(&Packet::Pingreq);
            assert_eq!(
                wire.packet().packet(),
                Packet::Pingresp,
                "nothing beyond two"
            );
            let id = unacknowledged.remove(0);
            wire.send(&Packet::Puback(Ack::new(id, ReasonCode::Success)));
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

/// MQTT 5 §3.9.3: 0x97 for more subscriptions than a session may have; those that it has go on.
#[test]
fn subscriptions_are_bounded() {
    let broker = Broker::with("[limits]\nsubscriptions = 4\nwildcard_subscriptions = 2\n");
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut client = broker.log_in(&device);
    let mut codes = Vec::new();
    for rest in ["a/#", "b/#", "c/#", "a", "b", "c"] {
        codes.push(client.subscribe(&own(rest), Qos::AtMostOnce));
    }
    assert_eq!(codes, [0, 0, 0x97, 0, 0, 0x97]);
    // The same filter again is no further one, and what was given up makes room.
    assert_eq!(client.subscribe(&own("a"), Qos::AtMostOnce), 0);
    client.unsubscribe(&own("b"));
    assert_eq!(client.subscribe(&own("c"), Qos::AtLeastOnce), 1);
    client.must_publish(&own("c"), b"x");
    client.must_receive(&own("c"), b"x");
}
