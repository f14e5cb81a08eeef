//! What `mosquitto_pub` and `mosquitto_sub` do for a living: queues, shares, properties, wills.
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use keygate_tests::clock::PATIENCE;
use keygate_tests::device::Device;
use keygate_tests::peers::installed;
use keygate_tests::process::{lines, printed};

use crate::{Ends, Stage};

fn tool(name: &str, stage: &Stage, version: &str, who: &Device) -> Command {
    let mut command = installed(name, "mosquitto-clients");
    let password = who.assertion(&stage.broker.broker_id);
    command
        .args(["-h", &stage.host(), "-p", &stage.port(), "-V", version])
        .args(["-i", &who.id, "-u", &who.id, "-P", &password, "-q", "2"]);
    command
}

/// Publishes at QoS 2, and waits until that is complete.
#[track_caller]
fn publish(stage: &Stage, version: &str, who: &Device, topic: &str, payload: &str, more: &[&str]) {
    let mut command = tool("mosquitto_pub", stage, version, who);
    command.args(["-t", topic, "-m", payload]).args(more);
    printed(command).done();
}

/// A subscriber that prints its messages; the first line says that it has subscribed, by a retained message.
#[track_caller]
fn listen(stage: &Stage, version: &str, who: &Device, more: &[&str]) -> (Ends, Receiver<String>) {
    let mut command = tool("mosquitto_sub", stage, version, who);
    let mut child = command
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .map(Ends)
        .expect("mosquitto_sub starts");
    let heard = lines(child.0.stdout.take().unwrap());
    (child, heard)
}

#[track_caller]
fn next(heard: &Receiver<String>) -> String {
    heard.recv_timeout(PATIENCE).expect("a message arrives")
}

fn a_queue_waits_across_a_crash(version: &str, persistent: &[&str]) {
    let mut stage = Stage::new();
    let operator = stage.operator("op-1");
    let filter = ["-t", "devices/dev-1/desired"];
    // Subscribes, and goes.
    let mut command = tool("mosquitto_sub", &stage, version, &stage.device);
    printed({
        command.args(persistent).args(filter).arg("-E");
        command
    })
    .done();
    let wanted: Vec<String> = (0..6).map(|number| format!("m{number}")).collect();
    for (number, payload) in wanted.iter().enumerate() {
        if number == 3 {
            stage.broker.kill_and_restart();
        }
        publish(&stage, version, &operator, filter[1], payload, &[]);
    }
    let mut command = tool("mosquitto_sub", &stage, version, &stage.device);
    command.args(persistent).args(filter).args(["-C", "6"]);
    let got = printed(command).done();
    assert_eq!(got.lines().collect::<Vec<_>>(), wanted);
    // Each came once: the next one is a new one.
    publish(&stage, version, &operator, filter[1], "the end", &[]);
    let mut command = tool("mosquitto_sub", &stage, version, &stage.device);
    command.args(persistent).args(filter).args(["-C", "1"]);
    assert_eq!(printed(command).done(), "the end\n");
}

#[test]
fn version_3_1_1_keeps_a_queue_while_away() {
    a_queue_waits_across_a_crash("mqttv311", &["-c"]);
}

#[test]
fn version_5_keeps_a_queue_while_away() {
    a_queue_waits_across_a_crash("mqttv5", &["-c", "-x", "3600"]);
}

#[test]
fn properties_arrive_as_they_were_sent() {
    let stage = Stage::new();
    let operator = stage.operator("op-1");
    let more = [
        "-r",
        "-D",
        "publish",
        "content-type",
        "text/plain",
        "-D",
        "publish",
        "correlation-data",
        "c1",
        "-D",
        "publish",
        "user-property",
        "who",
        "op-1",
    ];
    publish(
        &stage,
        "mqttv5",
        &operator,
        "devices/dev-1/desired",
        "hello",
        &more,
    );
    let (_child, heard) = listen(
        &stage,
        "mqttv5",
        &stage.device,
        &["-t", "devices/dev-1/desired", "-F", "%p|%q|%r|%C|%D|%P"],
    );
    assert_eq!(next(&heard), "hello|2|1|text/plain|c1|who:op-1");
}

#[test]
fn a_lost_subscriber_leaves_its_will() {
    for version in ["mqttv311", "mqttv5"] {
        let stage = Stage::new();
        let operator = stage.operator("op-1");
        let publisher = stage.operator("op-2");
        publish(
            &stage,
            version,
            &publisher,
            "devices/dev-1/desired",
            "ready",
            &["-r"],
        );
        let (_watcher, watched) = listen(&stage, version, &operator, &["-t", "devices/dev-1/#"]);
        assert_eq!(next(&watched), "ready");
        let will = [
            "-t",
            "devices/dev-1/desired",
            "--will-topic",
            "devices/dev-1/gone",
            "--will-payload",
            "lost",
            "--will-qos",
            "2",
        ];
        let (device, heard) = listen(&stage, version, &stage.device, &will);
        assert_eq!(next(&heard), "ready");
        drop(device);
        assert_eq!(next(&watched), "lost");
    }
}
