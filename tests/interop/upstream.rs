//! The same work through a gate in front of Mosquitto.
use keygate_tests::admin;
use serde_json::json;

use crate::Stage;
use crate::driven::{Library, Peer};

macro_rules! behind {
    ($module:ident, $library:ident, $version:literal, $($name:ident),+) => {
        mod $module {
            use crate::{Stage, work};
            use crate::driven::Library;
            $(#[test] fn $name() {
                let stage = &mut Stage::before_mosquitto();
                work::$name(Library::$library { version: $version }, stage);
            })+
        }
    };
}

behind!(
    paho_3_1_1,
    Paho,
    4,
    every_qos_both_ways,
    what_was_queued_while_away_comes_once,
    retained_messages_meet_who_comes_later,
    a_will_is_sent_for_who_is_lost
);
behind!(
    mqttjs_5,
    MqttJs,
    5,
    every_qos_both_ways,
    what_was_queued_while_away_comes_once,
    retained_messages_meet_who_comes_later,
    a_will_is_sent_for_who_is_lost
);
behind!(mqttjs_5_requests, MqttJs, 5, a_request_is_answered);
behind!(paho_5, Paho, 5, every_qos_both_ways);

/// The upstream dies: the session ends, and a login meanwhile is refused; neither ends the gate.
#[test]
fn without_the_upstream_nobody_gets_in_and_the_gate_lives() {
    let library = Library::Paho { version: 5 };
    let mut stage = Stage::before_mosquitto();
    let mut device = Peer::of(library, &stage, &stage.device);
    device.subscribe("devices/dev-1/desired", 1);
    stage.behind = None;
    device.event("disconnected");
    let operator = stage.operator("op-1");
    let mut late = Peer::start(library);
    let password = json!({"password": operator.assertion(&stage.broker.broker_id)});
    let visit = late.visit(&stage, &operator, password, json!({}));
    late.send("connect", &visit);
    assert_eq!(late.event("connected")["code"], 0x88);
    assert_eq!(
        admin::state(&stage.broker.data).0,
        2,
        "two devices, and it answers"
    );
}
