//! The order of messages.
use keygate_protocol::mqtt::{Ack, Packet, Qos, ReasonCode};

use super::case::{Case, both};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(messages_arrive_in_the_order_of_their_publisher),
    both!(what_waited_arrives_in_order),
    both!(what_comes_again_comes_in_the_same_order),
    both!(topics_do_not_change_the_order),
];

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const COUNT: u8 = 50;

/// 5: MQTT-4.6.0-5, MQTT-4.6.0-6. 3.1.1: MQTT-4.6.0-5, MQTT-4.6.0-6. What one client publishes to one topic with one QoS
/// arrives in that order, although nobody waits for acknowledgements.
fn messages_arrive_in_the_order_of_their_publisher(target: &Target) {
    for qos in ALL {
        let topic = target.topic(&format!("q{}", qos.level()));
        let mut reader = target.join("r");
        reader.must_subscribe(&topic, qos);
        let mut writer = target.join("w");
        // Ten at a time: every broker lets that many wait for their acknowledgements.
        for first in (0..COUNT).step_by(10) {
            let batch = first..first + 10;
            let mut ids = Vec::new();
            for number in batch.clone() {
                match qos {
                    Qos::AtMostOnce => writer.must_publish(&topic, &[number], qos),
                    _ => ids.push(writer.start_publish(&topic, &[number], qos)),
                }
            }
            for id in &ids {
                // The answers come in the order of the messages, too.
                let got = writer.wire.packet();
                assert_eq!(got.raw()[2..4], id.get().to_be_bytes());
            }
            if qos == Qos::ExactlyOnce {
                for id in ids {
                    writer.send(&Packet::Pubrel(Ack::new(id, ReasonCode::Success)));
                    assert_eq!(writer.pubcomp(id), 0);
                }
            }
            for number in batch {
                reader.must_take(&topic, &[number]);
            }
        }
    }
}

/// 5: MQTT-4.6.0-5. 3.1.1: MQTT-4.6.0-6. So does what waited for a session that was away.
fn what_waited_arrives_in_order(target: &Target) {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let topic = target.topic(&format!("q{}", qos.level()));
        let mut reader = target.resume("r");
        reader.must_subscribe(&topic, qos);
        reader.leave();
        let mut writer = target.join("w");
        for number in 0..COUNT {
            writer.must_publish(&topic, &[number], qos);
        }
        let mut reader = target.resume("r");
        for number in 0..COUNT {
            // What is new goes behind what waited.
            if number == COUNT / 2 {
                writer.must_publish(&topic, &[COUNT], qos);
            }
            reader.must_take(&topic, &[number]);
        }
        reader.must_take(&topic, &[COUNT]);
        reader.leave();
    }
}

/// 5: MQTT-4.6.0-1. 3.1.1: MQTT-4.6.0-1. What comes again after a reconnect comes in the order in which it came first, and
/// what is new comes behind it.
fn what_comes_again_comes_in_the_same_order(target: &Target) {
    let topic = target.topic("x");
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut reader = target.resume("r");
        reader.must_subscribe(&topic, qos);
        let mut writer = target.join("w");
        for number in 0..10 {
            writer.must_publish(&topic, &[number], qos);
        }
        let first: Vec<_> = (0..10).map(|_| reader.message()).collect();
        reader.cut();
        writer.must_publish(&topic, &[10], qos);
        let mut reader = target.resume("r");
        for before in &first {
            let again = reader.take();
            assert_eq!(
                (again.packet_id, again.payload),
                (before.packet_id, before.payload.clone())
            );
        }
        reader.must_take(&topic, &[10]);
        reader.leave();
    }
}

/// 5: MQTT-4.6.0-5. 3.1.1: MQTT-4.6.0-6. Through a wildcard, too, each topic keeps its order.
fn topics_do_not_change_the_order(target: &Target) {
    let mut reader = target.join("r");
    reader.must_subscribe(&target.topic("#"), Qos::AtLeastOnce);
    let mut writer = target.join("w");
    let topics = ["a", "b", "c"].map(|rest| target.topic(rest));
    for number in 0..COUNT {
        writer.start_publish(
            &topics[usize::from(number % 3)],
            &[number],
            Qos::AtLeastOnce,
        );
    }
    let mut last = [None; 3];
    for _ in 0..COUNT {
        let message = reader.take();
        let at = topics.iter().position(|topic| *topic == message.topic);
        let at = at.expect("one of the three");
        assert!(last[at] < Some(message.payload[0]), "{message:?}");
        last[at] = Some(message.payload[0]);
    }
}
