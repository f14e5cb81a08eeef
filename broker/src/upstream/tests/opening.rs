//! CONNECT goes up anew.
use super::*;
use keygate_protocol::mqtt::{MessageProperties, Sender, UserProperties, Will, decode, frame};

fn will(topic: &str) -> Will<'_> {
    Will {
        topic,
        payload: b"gone",
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 0,
        properties: MessageProperties::default(),
    }
}

fn sent_up(stage: &Stage) -> Connect<'_> {
    let whole = frame(&stage.out.upstream, u32::MAX).unwrap().unwrap();
    assert_eq!(whole.len(), stage.out.upstream.len());
    match decode(&whole, Sender::Client, Version::V5).unwrap() {
        Packet::Connect(connect) => connect,
        other => panic!("{other:?}"),
    }
}

fn rules() -> UpstreamRules {
    UpstreamRules {
        username: Some("gate".into()),
        password: Some(b"of the gate".as_slice().into()),
        client_id_prefix: "kg1-".into(),
        ..UpstreamRules::default()
    }
}

#[test]
fn connect_is_written_anew_without_what_proves_the_client() {
    let pairs = [("site", "north")];
    let mut asked = connect(Version::V5);
    asked.clean_start = false;
    asked.username = Some(DEVICE);
    asked.password = Some(b"secret of the device");
    asked.will = Some(Will {
        delay_s: 9,
        ..will("open/will")
    });
    let properties = &mut asked.properties;
    properties.session_expiry_s = 100;
    properties.receive_max = 7;
    properties.packet_size_max = Some(5_000);
    properties.topic_alias_max = 4;
    properties.request_response_information = true;
    properties.request_problem_information = false;
    properties.auth_method = Some("kg-ed25519");
    properties.auth_data = Some(b"nonce");
    properties.user_properties = UserProperties::new(&pairs);
    let stage = Stage::opening(&asked, Limits::default(), &rules());
    let mut expected = asked;
    expected.client_id = "kg1-dev-1";
    expected.username = Some("gate");
    expected.password = Some(b"of the gate");
    expected.properties.topic_alias_max = 0;
    expected.properties.request_response_information = false;
    expected.properties.auth_method = None;
    expected.properties.auth_data = None;
    assert_eq!(sent_up(&stage), expected);
}

#[test]
fn times_and_sizes_go_up_within_our_bounds() {
    let limits = Limits {
        session_expiry_max_s: 50,
        keep_alive_max_s: 30,
        inflight_max: 3,
        packet_bytes: 4_096,
        ..Limits::default()
    };
    let mut asked = connect(Version::V5);
    asked.properties.session_expiry_s = 100;
    asked.properties.packet_size_max = Some(5_000);
    let stage = Stage::opening(&asked, limits, &UpstreamRules::default());
    let up = sent_up(&stage);
    assert_eq!(up.keep_alive_s, 30);
    assert_eq!(up.properties.session_expiry_s, 50);
    assert_eq!(up.properties.receive_max, 3);
    assert_eq!(up.properties.packet_size_max, Some(4_096));
    assert_eq!((up.username, up.password), (None, None));
}

#[test]
fn in_3_1_1_connect_has_the_version_and_the_flags_of_the_client() {
    let mut asked = connect(Version::V311);
    asked.clean_start = false;
    asked.username = Some(DEVICE);
    asked.password = Some(b"assertion");
    asked.will = Some(will("open/will"));
    let mut rules = rules();
    let stage = Stage::opening(&asked, Limits::default(), &rules);
    let expected = Connect {
        client_id: "kg1-dev-1",
        username: Some("gate"),
        password: Some(b"of the gate"),
        ..asked
    };
    assert_eq!(
        stage.out.upstream,
        wire(Version::V311, [Packet::Connect(expected)])
    );
    // A password alone is nothing that 3.1.1 could say.
    rules.username = None;
    let stage = Stage::opening(&asked, Limits::default(), &rules);
    assert_eq!(sent_up(&stage).username, Some(""));
}

#[test]
fn a_client_id_that_is_not_the_identitys_own_stands_behind_it() {
    for (asked, up) in [
        ("dev-1", "kg1-dev-1"),
        ("dev-1/panel", "kg1-dev-1/panel"),
        ("", "kg1-dev-1/x7"),
        ("dev-2", "kg1-dev-1/dev-2"),
        ("dev-10", "kg1-dev-1/dev-10"),
        ("a/dev-1", "kg1-dev-1/a/dev-1"),
    ] {
        let mut connect = connect(Version::V5);
        connect.client_id = asked;
        let stage = Stage::opening(&connect, Limits::default(), &rules());
        assert_eq!(sent_up(&stage).client_id, up);
    }
}

#[test]
fn a_will_needs_its_permit() {
    for (topic, answer, refused) in [
        ("open/will", None, None),
        ("closed/will", None, Some("closed/will")),
        ("open/secret/will", None, Some("open/secret/will")),
        (
            "open/will",
            Some("open/secret/answer"),
            Some("open/secret/answer"),
        ),
    ] {
        let mut will = will(topic);
        will.properties.response_topic = answer;
        let mut asked = connect(Version::V5);
        asked.will = Some(will);
        let gate = gate(registry().directory(), Limits::default());
        let admitted = Admitted {
            connect: &asked,
            accepted: Accepted {
                principal: principal(&gate),
                auth_data: None,
                client_id: DEVICE.into(),
                assigned: false,
            },
            origin: ORIGIN,
        };
        let opened = Relay::open(admitted, &UpstreamRules::default(), &gate, NOW);
        let denied = opened.err().map(|denied| denied.unwrap().0);
        assert_eq!(denied, refused, "{topic}");
    }
}

#[test]
fn nobody_prints_the_gates_password() {
    assert!(!format!("{:?}", rules()).contains("of the gate"));
}
