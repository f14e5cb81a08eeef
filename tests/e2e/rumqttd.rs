//! A gate with rumqttd in its own process: rights stay at the gate.
use keygate_protocol::mqtt::Qos;
use keygate_tests::broker::Broker;
use keygate_tests::device::Device;

const NOT_AUTHORIZED: u8 = 0x87;

fn gate(device: &Device) -> Broker {
    let broker = Broker::with("engine = \"rumqttd\"\n");
    broker.enrol([device]);
    broker
}

#[test]
fn what_a_device_may_not_subscribe_to_never_reaches_rumqttd() {
    let device = Device::new("dev-1");
    let gate = gate(&device);
    let mut client = gate.log_in(&device);
    let refused = client.subscribe("devices/dev-2/#", Qos::AtLeastOnce);
    assert_eq!(refused, NOT_AUTHORIZED);
    assert_eq!(
        client.subscribe("devices/dev-1/desired", Qos::AtLeastOnce),
        1
    );
    client.say_goodbye();
}

/// It cannot be stopped, so a broker that is started again in the same process gets one of its own.
#[test]
fn a_gate_that_is_started_again_has_a_rumqttd_of_its_own() {
    let device = Device::new("dev-1");
    for _ in 0..2 {
        let gate = gate(&device);
        gate.log_in(&device).say_goodbye();
        gate.stop();
    }
}
