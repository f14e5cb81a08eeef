//! The same work over TLS, over WebSocket and over both.
use std::process::Command;

use keygate_tests::peers::installed;
use keygate_tests::process::{Printed, printed};

use crate::driven::{Library, Peer};
use crate::work::{a_will_is_sent_for_who_is_lost, every_qos_both_ways};
use crate::{Over, Stage};

/// Longer than a record of TLS and than a frame with a short length.
fn a_large_message_comes_back(library: Library, stage: &mut Stage) {
    let mut device = Peer::of(library, stage, &stage.device);
    device.subscribe("devices/dev-1/echo", 1);
    let payload = "0123456789".repeat(20_000);
    device.publish("devices/dev-1/echo", &payload, 1);
    assert!(device.message().payload == payload);
    device.leave();
}

macro_rules! over {
    ($module:ident, $library:ident, $over:ident) => {
        mod $module {
            use crate::driven::Library;
            use crate::{Over, Stage};

            #[test]
            fn every_qos_both_ways() {
                for version in [4, 5] {
                    super::every_qos_both_ways(
                        Library::$library { version },
                        &mut Stage::over(Over::$over),
                    );
                }
            }

            #[test]
            fn a_will_is_sent_for_who_is_lost() {
                for version in [4, 5] {
                    let stage = &mut Stage::over(Over::$over);
                    super::a_will_is_sent_for_who_is_lost(Library::$library { version }, stage);
                }
            }

            #[test]
            fn a_large_message_comes_back() {
                for version in [4, 5] {
                    let stage = &mut Stage::over(Over::$over);
                    super::a_large_message_comes_back(Library::$library { version }, stage);
                }
            }
        }
    };
}

over!(paho_tls, Paho, Tls);
over!(paho_ws, Paho, Ws);
over!(paho_wss, Paho, Wss);
over!(mqttjs_tls, MqttJs, Tls);
over!(mqttjs_ws, MqttJs, Ws);
over!(mqttjs_wss, MqttJs, Wss);

/// A request and its answer through `mosquitto_rr`, which is both ends.
fn mosquitto_rr(stage: &Stage, tls: &str, version: &str, ca: &str) -> Printed {
    let mut command: Command = installed("mosquitto_rr", "mosquitto-clients");
    command
        .args(["-h", &stage.host(), "-p", &stage.port(), "-V", version])
        .args(["--cafile", ca, "--tls-version", tls])
        .args(["-i", "dev-1", "-u", "dev-1", "-P", &stage.assertion()])
        .args(["-e", "devices/dev-1/echo", "-t", "devices/dev-1/echo"])
        .args(["-m", "hello", "-q", "1", "-W", "20"]);
    printed(command)
}

#[test]
fn mosquittos_clients_speak_either_version_of_tls() {
    let stage = Stage::over(Over::Tls);
    let ca = stage.broker.ca().display().to_string();
    for tls in ["tlsv1.2", "tlsv1.3"] {
        for version in ["mqttv311", "mqttv5"] {
            let heard = mosquitto_rr(&stage, tls, version, &ca).done();
            assert_eq!(heard, "hello\n", "{tls} {version}");
        }
    }
}

#[test]
fn mosquittos_clients_refuse_a_broker_of_another_ca() {
    let (stage, other) = (Stage::over(Over::Tls), Stage::over(Over::Tls));
    let ca = other.broker.ca().display().to_string();
    let refused = mosquitto_rr(&stage, "tlsv1.3", "mqttv5", &ca);
    assert!(!refused.status.success());
    assert!(
        refused.stderr.contains("TLS") || refused.stderr.contains("certificate"),
        "{refused:?}"
    );
}
