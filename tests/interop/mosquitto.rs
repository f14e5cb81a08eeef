//! `mosquitto_sub` and `mosquitto_pub`, in both versions.
use std::process::{Command, Stdio};

use keygate_tests::admin;
use keygate_tests::clock::PATIENCE;
use keygate_tests::device::Device;
use keygate_tests::peers::installed;
use keygate_tests::process::{Printed, lines, printed};

use crate::{Ends, Stage};

fn tool(name: &str, stage: &Stage, version: &str, who: &Device, password: &str) -> Command {
    let mut command = installed(name, "mosquitto-clients");
    command
        .args(["-h", &stage.host(), "-p", &stage.port(), "-V", version])
        .args(["-i", &who.id, "-u", &who.id, "-P", password, "-q", "1"]);
    command
}

/// Publishes and retains, so that it does not matter who comes first.
fn publish(stage: &Stage, version: &str, who: &Device, payload: &str) -> Printed {
    let password = who.assertion(&stage.broker.broker_id);
    let mut command = tool("mosquitto_pub", stage, version, who, &password);
    command.args(["-r", "-t", "devices/dev-1/desired", "-m", payload]);
    printed(command)
}

#[track_caller]
fn comes_back(version: &str) {
    let mut stage = Stage::new();
    let operator = Device::new("op-1").with_role("operator");
    admin::enrol(&stage.broker.data, &operator);
    let mut child = tool(
        "mosquitto_sub",
        &stage,
        version,
        &stage.device,
        &stage.assertion(),
    )
    .args(["-v", "-t", "devices/dev-1/#"])
    .stdout(Stdio::piped())
    .spawn()
    .map(Ends)
    .expect("mosquitto_sub starts");
    let heard = lines(child.0.stdout.take().unwrap());
    for payload in ["before", "after"] {
        publish(&stage, version, &operator, payload).done();
        assert_eq!(
            heard.recv_timeout(PATIENCE).expect("the message arrives"),
            format!("devices/dev-1/desired {payload}")
        );
        if payload == "before" {
            stage.broker.kill_and_restart();
        }
    }
}

#[test]
fn version_3_1_1_logs_in_with_an_assertion_and_comes_back_by_itself() {
    comes_back("mqttv311");
}

#[test]
fn version_5_logs_in_with_an_assertion_and_comes_back_by_itself() {
    comes_back("mqttv5");
}

#[test]
fn a_stranger_is_refused() {
    let stage = Stage::new();
    let stranger = Device::new("op-9").with_role("operator");
    for version in ["mqttv311", "mqttv5"] {
        let refused = publish(&stage, version, &stranger, "x");
        assert!(!refused.status.success(), "{refused:?}");
        assert!(
            refused.stderr.to_lowercase().contains("not authori"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_device_may_not_write_its_own_desired() {
    let stage = Stage::new();
    let refused = publish(&stage, "mqttv5", &stage.device, "x");
    assert!(
        refused.stderr.to_lowercase().contains("not authori"),
        "{refused:?}"
    );
}
