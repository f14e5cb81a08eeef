//! rumqttc, in both versions.
use std::time::Duration;

use keygate_tests::clock::{Deadline, PATIENCE};

use crate::Stage;

/// The same visit for both of its modules: their types have the same names and nothing else in common.
macro_rules! visit {
    ($name:ident, $($module:tt)+) => {
        mod $name {
            use super::*;
            use $($module)+::{Client, Connection, Event, Incoming, MqttOptions, QoS};

            /// Polls until the event comes; lost connections are what rumqttc itself repairs.
            #[track_caller]
            fn until<T>(
                connection: &mut Connection,
                what: &str,
                wanted: impl Fn(&Incoming) -> Option<T>,
            ) -> T {
                let deadline = Deadline::new();
                loop {
                    deadline.check(what);
                    match connection.recv_timeout(PATIENCE) {
                        Ok(Ok(Event::Incoming(incoming))) => {
                            if let Some(found) = wanted(&incoming) {
                                return found;
                            }
                        }
                        // What it sends, and a connection that it lost: it connects again with the next poll.
                        Ok(Ok(_) | Err(_)) => {}
                        Err(error) => panic!("waited in vain for {what}: {error:?}"),
                    }
                }
            }

            #[track_caller]
            fn round_trip(client: &Client, connection: &mut Connection, payload: &str) {
                until(connection, "CONNACK", |incoming| {
                    matches!(incoming, Incoming::ConnAck(_)).then_some(())
                });
                client.subscribe("devices/dev-1/#", QoS::AtLeastOnce).unwrap();
                until(connection, "SUBACK", |incoming| {
                    matches!(incoming, Incoming::SubAck(_)).then_some(())
                });
                client
                    .publish("devices/dev-1/reported", QoS::AtLeastOnce, false, payload.to_owned())
                    .unwrap();
                let received = until(connection, "the message", |incoming| match incoming {
                    Incoming::Publish(publish) => Some(publish.payload.to_vec()),
                    _ => None,
                });
                assert_eq!(received, payload.as_bytes());
            }

            #[test]
            fn logs_in_with_an_assertion_and_comes_back_by_itself() {
                let mut stage = Stage::new();
                let mut options =
                    MqttOptions::new("dev-1", stage.host(), stage.broker.mqtt.port());
                options.set_credentials("dev-1", stage.assertion());
                options.set_keep_alive(Duration::from_secs(10));
                let (client, mut connection) = Client::new(options, 16);
                round_trip(&client, &mut connection, "before");
                stage.broker.kill_and_restart();
                round_trip(&client, &mut connection, "after");
            }

            #[test]
            fn is_refused_with_a_forged_one() {
                let stage = Stage::new();
                let forged = stage.device.impostor().assertion(&stage.broker.broker_id);
                let mut options =
                    MqttOptions::new("dev-1", stage.host(), stage.broker.mqtt.port());
                options.set_credentials("dev-1", forged);
                let (_client, mut connection) = Client::new(options, 16);
                let error = loop {
                    match connection.recv_timeout(PATIENCE).expect("an answer") {
                        Ok(Event::Incoming(incoming)) => panic!("heard {incoming:?}"),
                        Ok(_) => {}
                        Err(error) => break error.to_string(),
                    }
                };
                assert!(error.contains("NotAuthorized"), "{error}");
            }
        }
    };
}

visit!(version_3_1_1, rumqttc);
visit!(version_5, super::five);

/// Module `v5` of rumqttc keeps its names in several places.
mod five {
    pub(super) use rumqttc::v5::mqttbytes::QoS;
    pub(super) use rumqttc::v5::{Client, Connection, Event, Incoming, MqttOptions};
}
