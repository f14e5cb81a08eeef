//! The same work through a gate with rumqttd in its own process. What it does in its own way: docs/engines.md.
use crate::Stage;
use crate::driven::{Library, Peer};
use crate::work;

macro_rules! on_rumqttd {
    ($module:ident, $library:ident, $version:literal, $($name:ident in $place:ident),+) => {
        mod $module {
            use super::*;
            $(#[test] fn $name() {
                let stage = &mut Stage::on_rumqttd();
                $place::$name(Library::$library { version: $version }, stage);
            })+
        }
    };
}

mod own {
    use super::{Library, Peer, Stage};

    /// rumqttd delivers at the QoS of the subscription, also what was published with a lower one.
    pub(super) fn every_message_comes_once_in_order_at_the_subscriptions_qos(
        library: Library,
        stage: &mut Stage,
    ) {
        let operator = stage.operator("op-1");
        let mut device = Peer::of(library, stage, &stage.device);
        let mut operator = Peer::of(library, stage, &operator);
        for granted in 0..=2 {
            let topic = format!("devices/dev-1/reported/{granted}");
            operator.subscribe(&topic, granted);
            let wanted: Vec<String> = (0..30).map(|n| format!("m{n}")).collect();
            for (n, payload) in wanted.iter().enumerate() {
                device.publish(&topic, payload, (n % 3) as u8);
            }
            let got: Vec<_> = wanted.iter().map(|_| operator.message()).collect();
            assert!(got.iter().all(|m| m.topic == topic && !m.retain));
            assert!(got.iter().all(|m| m.qos == u64::from(granted)), "{got:?}");
            let got: Vec<&String> = got.iter().map(|m| &m.payload).collect();
            assert_eq!(got, wanted.iter().collect::<Vec<_>>());
        }
        device.leave();
        operator.leave();
    }
}

on_rumqttd!(
    paho_3_1_1,
    Paho,
    4,
    every_message_comes_once_in_order_at_the_subscriptions_qos in own,
    a_will_is_sent_for_who_is_lost in work
);
on_rumqttd!(
    mqttjs_3_1_1,
    MqttJs,
    4,
    every_message_comes_once_in_order_at_the_subscriptions_qos in own,
    a_will_is_sent_for_who_is_lost in work
);
on_rumqttd!(
    paho_5,
    Paho,
    5,
    every_message_comes_once_in_order_at_the_subscriptions_qos in own,
    a_will_is_sent_for_who_is_lost in work
);
on_rumqttd!(
    mqttjs_5,
    MqttJs,
    5,
    every_message_comes_once_in_order_at_the_subscriptions_qos in own,
    a_will_is_sent_for_who_is_lost in work,
    a_request_is_answered in work
);
