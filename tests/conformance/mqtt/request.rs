//! Request and response.
use keygate_protocol::mqtt::{MessageProperties, Publish, Qos};

use super::case::{Case, v5};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    v5!(a_request_is_answered),
    v5!(correlation_data_are_any_bytes),
    v5!(asking_for_response_information_is_allowed),
];

const Q1: Qos = Qos::AtLeastOnce;

/// 5: MQTT-3.3.2-15, MQTT-3.3.2-16. Whoever gets a request finds in it where to answer and what to repeat.
fn a_request_is_answered(target: &Target) {
    let requests = target.topic("requests");
    let answers = target.topic("answers/1");
    let mut asking = target.join("a");
    let mut answering = target.join("b");
    asking.must_subscribe(&answers, Q1);
    answering.must_subscribe(&requests, Q1);
    asking.publish_as(&Publish {
        qos: Q1,
        properties: MessageProperties {
            response_topic: Some(&answers),
            correlation_data: Some(b"17"),
            ..MessageProperties::default()
        },
        ..Publish::new(&requests, b"what time is it?")
    });
    let request = answering.must_take(&requests, b"what time is it?");
    answering.publish_as(&Publish {
        qos: Q1,
        properties: MessageProperties {
            correlation_data: request.correlation.as_deref(),
            ..MessageProperties::default()
        },
        ..Publish::new(request.response_topic.as_deref().unwrap(), b"noon")
    });
    let answer = asking.must_take(&answers, b"noon");
    assert_eq!(answer.correlation.as_deref(), Some(&b"17"[..]));
    assert_eq!(answer.response_topic, None);
}

/// 5: MQTT-3.3.2-16. Correlation data are bytes: none, all of them, many.
fn correlation_data_are_any_bytes(target: &Target) {
    let topic = target.topic("x");
    let mut reader = target.join("r");
    let mut writer = target.join("w");
    reader.must_subscribe(&topic, Q1);
    let all: Vec<u8> = (0..=255).collect();
    for data in [Vec::new(), all.clone(), all.repeat(16)] {
        writer.publish_as(&Publish {
            qos: Q1,
            properties: MessageProperties {
                correlation_data: Some(&data),
                ..MessageProperties::default()
            },
            ..Publish::new(&topic, b"x")
        });
        assert_eq!(reader.must_take(&topic, b"x").correlation, Some(data));
    }
}

/// 5: MQTT-3.1.2-28. A client may ask for Response Information; a broker that has none just connects it.
fn asking_for_response_information_is_allowed(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.properties.request_response_information = true;
    target.open(&connect).ping();
    connect.properties.request_response_information = false;
    let peer = target.open(&connect);
    assert_eq!(peer.connack().properties.response_information, None);
}
