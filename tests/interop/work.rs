//! The same work by two libraries in two versions: paho-mqtt (Python) and MQTT.js (Node), MQTT 3.1.1 and 5.
use std::collections::BTreeMap;
use std::time::Duration;

use keygate_tests::clock::{Deadline, Stopwatch};
use serde_json::json;

use crate::Stage;
use crate::driven::{Library, Message, Peer};

/// `wanted` came, each once, those of one QoS in order. Between QoS there is no order: a QoS 2 message goes out when it
/// is on disk, others at once.
#[track_caller]
fn assert_each_once_in_order(got: &[Message], wanted: &[(String, u64)]) {
    let sorted = |list: Vec<(String, u64)>| {
        let mut by_qos: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (payload, qos) in list {
            by_qos.entry(qos).or_default().push(payload);
        }
        by_qos
    };
    let got = got.iter().map(|m| (m.payload.clone(), m.qos)).collect();
    assert_eq!(sorted(got), sorted(wanted.to_vec()));
}

/// Nothing is left over: what comes next is what is sent next.
#[track_caller]
fn nothing_more(receiver: &mut Peer, sender: &mut Peer, topic: &str) {
    sender.publish(topic, "the end", 2);
    assert_eq!(receiver.message().payload, "the end");
}

pub(crate) fn every_qos_both_ways(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let mut device = Peer::of(library, stage, &stage.device);
    let mut operator = Peer::of(library, stage, &operator);
    device.subscribe("devices/dev-1/desired", 2);
    operator.subscribe("devices/+/reported", 2);

    let numbered = |count: u64| (0..count).map(|n| (format!("m{n}"), n % 3)).collect();
    let wanted: Vec<(String, u64)> = numbered(30);
    for (payload, qos) in &wanted {
        operator.publish("devices/dev-1/desired", payload, *qos as u8);
        device.publish("devices/dev-1/reported", payload, *qos as u8);
    }
    let down: Vec<Message> = wanted.iter().map(|_| device.message()).collect();
    assert_each_once_in_order(&down, &wanted);
    let up: Vec<Message> = wanted.iter().map(|_| operator.message()).collect();
    assert_each_once_in_order(&up, &wanted);
    assert!(
        up.iter()
            .all(|m| m.topic == "devices/dev-1/reported" && !m.retain)
    );
    nothing_more(&mut device, &mut operator, "devices/dev-1/desired");
    nothing_more(&mut operator, &mut device, "devices/dev-1/reported");
    device.leave();
    operator.leave();
}

pub(crate) fn what_was_queued_while_away_comes_once(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let stays = json!({"clean": false, "expiry": 3600});
    let mut device = Peer::start(library);
    assert!(!device.connect(stage, &stage.device, stays.clone()));
    device.subscribe("devices/dev-1/desired", 2);
    device.leave();

    let mut operator = Peer::of(library, stage, &operator);
    let wanted: Vec<(String, u64)> = (0..24).map(|n| (format!("m{n}"), 1 + n % 2)).collect();
    for (number, (payload, qos)) in wanted.iter().enumerate() {
        if number == 16 {
            stage.broker.kill_and_restart();
            assert!(!operator.comes_back());
        }
        operator.publish("devices/dev-1/desired", payload, *qos as u8);
    }

    let mut device = Peer::start(library);
    assert!(
        device.connect(stage, &stage.device, stays.clone()),
        "session present"
    );
    let got: Vec<Message> = wanted.iter().map(|_| device.message()).collect();
    assert_each_once_in_order(&got, &wanted);
    nothing_more(&mut device, &mut operator, "devices/dev-1/desired");
    device.leave();

    // What was taken stays taken, across another crash, too.
    stage.broker.kill_and_restart();
    operator.comes_back();
    let mut device = Peer::start(library);
    assert!(
        device.connect(stage, &stage.device, stays),
        "session present"
    );
    nothing_more(&mut device, &mut operator, "devices/dev-1/desired");
    device.leave();

    // A clean start ends it.
    let mut device = Peer::of(library, stage, &stage.device);
    device.subscribe("devices/dev-1/desired", 2);
    nothing_more(&mut device, &mut operator, "devices/dev-1/desired");
}

pub(crate) fn retained_messages_meet_who_comes_later(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let mut operator = Peer::of(library, stage, &operator);
    let mut device = Peer::of(library, stage, &stage.device);
    operator.subscribe("devices/dev-1/#", 2);
    for (topic, payload, qos) in [
        ("a", "old", 1),
        ("a", "new", 2),
        ("b", "gone", 1),
        ("b", "", 1),
    ] {
        let topic = format!("devices/dev-1/{topic}");
        device.publish_with(&topic, payload, qos, true, &json!({}));
        let live = operator.message();
        assert_eq!((live.payload.as_str(), live.retain), (payload, false));
    }
    stage.broker.kill_and_restart();
    device.comes_back();
    operator.comes_back();
    operator.subscribe("devices/+/#", 1);
    let late = operator.message();
    assert_eq!(
        (late.topic.as_str(), late.payload.as_str()),
        ("devices/dev-1/a", "new")
    );
    assert_eq!((late.qos, late.retain), (1, true));
    nothing_more(&mut operator, &mut device, "devices/dev-1/c");
}

pub(crate) fn a_will_is_sent_for_who_is_lost(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let mut operator = Peer::of(library, stage, &operator);
    operator.subscribe("devices/+/gone", 2);
    let will = |payload: &str| json!({"will": {"topic": "devices/dev-1/gone", "payload": payload, "qos": 2, "retain": false}});
    // Who says goodbye leaves no will.
    let mut device = Peer::start(library);
    device.connect(stage, &stage.device, will("goodbye"));
    device.leave();
    let mut device = Peer::start(library);
    device.connect(stage, &stage.device, will("lost"));
    drop(device);
    let sent = operator.message();
    assert_eq!((sent.payload.as_str(), sent.qos), ("lost", 2));
}

pub(crate) fn members_of_a_group_share_the_work(library: Library, stage: &mut Stage) {
    let members = ["op-1", "op-2"].map(|id| stage.operator(id));
    let mut members = members.map(|member| {
        let mut peer = Peer::of(library, stage, &member);
        peer.subscribe("$share/workers/devices/+/reported", 2);
        peer
    });
    let mut device = Peer::of(library, stage, &stage.device);
    let mut wanted: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for payload in &wanted {
        device.publish("devices/dev-1/reported", payload, 2);
    }
    let mut got: [Vec<String>; 2] = Default::default();
    let deadline = Deadline::new();
    while got.iter().map(Vec::len).sum::<usize>() < wanted.len() {
        deadline.check("all messages of the group");
        for (peer, got) in members.iter_mut().zip(&mut got) {
            got.extend(
                peer.message_within(Duration::from_millis(20))
                    .map(|m| m.payload),
            );
        }
    }
    assert!(got.iter().all(|got| !got.is_empty()), "{got:?}");
    let mut all = got.concat();
    all.sort();
    wanted.sort();
    assert_eq!(all, wanted);

    // One leaves: the other gets everything.
    let [mut stays, leaves] = members;
    leaves.leave();
    for payload in ["x", "y", "z"] {
        device.publish("devices/dev-1/reported", payload, 1);
        assert_eq!(stays.message().payload, payload);
    }
}

/// MQTT 5: a request with everything around it, and its answer.
pub(crate) fn a_request_is_answered(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let mut operator = Peer::of(library, stage, &operator);
    let mut device = Peer::of(library, stage, &stage.device);
    operator.subscribe("devices/dev-1/answers", 1);
    device.subscribe_with("devices/dev-1/#", 1, json!({"identifier": 7}));
    device.subscribe_with("devices/dev-1/desired", 1, json!({"identifier": 300_000}));

    let asked = json!({
        "content_type": "text/plain", "response_topic": "devices/dev-1/answers", "correlation": "no. 1",
        "expiry": 600, "user": [["who", "op-1"], ["who", "again"], ["why", "test"]],
    });
    operator.publish_with("devices/dev-1/desired", "how warm?", 1, false, &asked);
    // One copy for both subscriptions, or one for each: the ids tell.
    let mut identifiers = Vec::new();
    while identifiers.len() < 2 {
        let request = device.message();
        assert_eq!(request.payload, "how warm?");
        let mut properties = request.properties;
        let ids = properties.as_object_mut().unwrap().remove("identifiers");
        identifiers.extend(
            ids.unwrap()
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap()),
        );
        let expiry = properties["expiry"].as_u64().unwrap();
        assert!((500..=600).contains(&expiry), "{expiry}");
        properties["expiry"] = 600.into();
        assert_eq!(properties, asked);
    }
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 300_000]);

    let answer = json!({"correlation": "no. 1"});
    device.publish_with("devices/dev-1/answers", "21", 1, false, &answer);
    let answered = operator.message();
    assert_eq!(
        (answered.payload.as_str(), answered.properties),
        ("21", answer)
    );

    // It may not write what others desire of it, and is told so; its connection stays.
    assert_eq!(device.message().payload, "21", "its own answer, by #");
    assert_eq!(
        device.try_publish("devices/dev-1/desired", "x", 1, false, &json!({})),
        0x87
    );
    // paho-mqtt 2.2 does not read the code of a PUBREC: it releases what was refused, and hears that it is not known.
    let heard = match library {
        Library::Paho { .. } => 0x92,
        Library::MqttJs { .. } => 0x87,
    };
    assert_eq!(
        device.try_publish("devices/dev-1/desired", "x", 2, false, &json!({})),
        heard
    );
    device.leave();
}

/// MQTT 5: the name of a topic goes over the wire once.
pub(crate) fn a_topic_alias_stands_for_its_topic(library: Library, stage: &mut Stage) {
    let operator = stage.operator("op-1");
    let mut operator = Peer::of(library, stage, &operator);
    operator.subscribe("devices/#", 2);
    let mut device = Peer::of(library, stage, &stage.device);
    let alias = json!({"alias": 3});
    device.publish_with("devices/dev-1/reported", "named", 0, false, &alias);
    for qos in 0..3 {
        device.publish_with("", "unnamed", qos, false, &alias);
    }
    device.publish_with("devices/dev-1/other", "renamed", 1, false, &alias);
    device.publish_with("", "unnamed", 1, false, &alias);
    let mut got = (0..6)
        .map(|_| operator.message())
        .map(|m| {
            (
                m.topic,
                m.payload,
                m.qos,
                m.properties.get("alias").is_some(),
            )
        })
        .collect::<Vec<_>>();
    got.sort();
    let entry = |topic: &str, payload: &str, qos| {
        (
            format!("devices/dev-1/{topic}"),
            payload.to_owned(),
            qos,
            false,
        )
    };
    let wanted = [
        entry("other", "renamed", 1),
        entry("other", "unnamed", 1),
        entry("reported", "named", 0),
        entry("reported", "unnamed", 0),
        entry("reported", "unnamed", 1),
        entry("reported", "unnamed", 2),
    ];
    assert_eq!(got, wanted);
}

/// MQTT 5: a delayed will is late, and by then a message that lives shorter has died in its queue.
pub(crate) fn delays_and_expiries_run(library: Library, stage: &mut Stage) {
    let [watcher, away] = ["op-1", "op-2"].map(|id| stage.operator(id));
    let mut watcher = Peer::of(library, stage, &watcher);
    watcher.subscribe("devices/+/gone", 1);
    let stays = json!({"clean": false, "expiry": 3600});
    let mut absent = Peer::start(library);
    absent.connect(stage, &away, stays.clone());
    absent.subscribe("devices/dev-1/reported", 1);
    absent.leave();

    let mut device = Peer::start(library);
    let will = json!({
        "topic": "devices/dev-1/gone", "payload": "lost", "qos": 1, "retain": false, "delay": 2,
        "content_type": "text/plain", "user": [["cause", "silence"]],
    });
    device.connect(stage, &stage.device, json!({"expiry": 3600, "will": will}));
    for (payload, expiry) in [("mayfly", 1), ("tortoise", 600)] {
        device.publish_with(
            "devices/dev-1/reported",
            payload,
            1,
            false,
            &json!({"expiry": expiry}),
        );
    }
    let clock = Stopwatch::start();
    drop(device);
    let sent = watcher.message();
    // Timers are exact to a tick of the broker's wheel.
    assert!(
        clock.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        clock.elapsed()
    );
    assert_eq!(sent.payload, "lost");
    assert_eq!(
        sent.properties,
        json!({"content_type": "text/plain", "user": [["cause", "silence"]]})
    );

    let mut absent = Peer::start(library);
    assert!(absent.connect(stage, &away, stays), "session present");
    let left = absent.message();
    assert_eq!(left.payload, "tortoise");
    let expiry = left.properties["expiry"].as_u64().unwrap();
    assert!((500..600).contains(&expiry), "{expiry} s are left");
    absent.leave();
}

macro_rules! works {
    ($module:ident, $library:expr, $($name:ident),+) => {
        mod $module {
            use crate::driven::Library;
            $(#[test] fn $name() { super::$name($library, &mut crate::Stage::new()); })+
        }
    };
}

macro_rules! both_versions {
    ($three:ident, $five:ident, $library:ident) => {
        works!(
            $three,
            Library::$library { version: 4 },
            every_qos_both_ways,
            what_was_queued_while_away_comes_once,
            retained_messages_meet_who_comes_later,
            a_will_is_sent_for_who_is_lost,
            members_of_a_group_share_the_work
        );
        works!(
            $five,
            Library::$library { version: 5 },
            every_qos_both_ways,
            what_was_queued_while_away_comes_once,
            retained_messages_meet_who_comes_later,
            a_will_is_sent_for_who_is_lost,
            members_of_a_group_share_the_work,
            a_request_is_answered,
            a_topic_alias_stands_for_its_topic,
            delays_and_expiries_run
        );
    };
}

both_versions!(paho_3_1_1, paho_5, Paho);
both_versions!(mqttjs_3_1_1, mqttjs_5, MqttJs);
