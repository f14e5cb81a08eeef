//! Malformed input of every kind ends that connection, with the right code, and touches no other.
use keygate_protocol::mqtt::{Packet, Version};
use keygate_tests::broker::Broker;
use keygate_tests::bytes::unhex;
use keygate_tests::device::{Asked, Device, open_of};
use keygate_tests::session::Client;
use keygate_tests::wire::Heard;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    version: String,
    valid: bool,
    hex: String,
}

impl Case {
    fn version(&self) -> Version {
        match self.version.as_str() {
            "5" => Version::V5,
            "3.1.1" => Version::V311,
            other => panic!("version {other}"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        unhex(&self.hex)
    }

    /// Whether it is a CONNECT as far as the first byte and the length tell: only then a CONNACK may answer.
    fn is_connect(&self) -> bool {
        self.hex.starts_with("10") && self.name != "CONNECT non-minimal length"
    }
}

/// The 43 invalid cases and the code that MQTT 5 has for each: written here by hand, not asked of the codec.
const CODES: [(&str, u8); 43] = [
    ("v5 CONNECT auth data w/o method", 0x82),
    ("v5 CONNECT reserved flag", 0x81),
    ("v4 CONNECT reserved flag", 0x81),
    ("v4 CONNECT password, no username", 0x82),
    ("v5 CONNECT dup property", 0x82),
    ("v5 CONNECT receive max 0", 0x82),
    ("v5 CONNECT max packet 0", 0x82),
    ("v5 CONNECT req-problem-info 2", 0x82),
    ("v5 CONNECT property of other packet", 0x81),
    ("v5 CONNECT trailing garbage", 0x81),
    ("v4 CONNECT trailing garbage", 0x81),
    ("v5 CONNECT will qos3", 0x81),
    ("v5 CONNECT will qos w/o will", 0x81),
    ("v5 CONNECT client id bad utf8", 0x81),
    ("v5 CONNECT client id surrogate", 0x81),
    ("v5 CONNECT client id U+0000", 0x81),
    ("CONNECT non-minimal length", 0x81),
    ("CONNECT fixed flags != 0", 0x81),
    ("5-byte remaining length", 0x81),
    ("v5 AUTH fixed flags != 0", 0x81),
    ("v5 AUTH bad reason 0x01", 0x82),
    ("v5 AUTH dup method", 0x82),
    ("v5 PUBLISH qos3", 0x81),
    ("v5 PUBLISH qos0 dup", 0x81),
    ("v5 PUBLISH wildcard topic", 0x90),
    ("v5 PUBLISH topic U+0000", 0x81),
    ("v5 PUBLISH empty topic no alias", 0x82),
    ("v5 PUBLISH alias 0", 0x94),
    ("v5 PUBLISH pkid 0", 0x82),
    ("v5 PUBLISH prop len past end", 0x81),
    ("v5 SUBSCRIBE flags 0", 0x81),
    ("v5 SUBSCRIBE empty list", 0x82),
    ("v5 SUBSCRIBE bad filter a/#/b", 0x8f),
    ("v5 SUBSCRIBE filter a+", 0x8f),
    ("v5 SUBSCRIBE reserved opts", 0x81),
    ("v5 SUBSCRIBE retain handling 3", 0x82),
    ("v5 SUBSCRIBE pkid 0", 0x82),
    ("v5 SUBSCRIBE sub id 0", 0x82),
    ("v4 SUBSCRIBE qos 3", 0x82),
    ("v5 PINGREQ with body", 0x81),
    ("v5 CONNACK from client", 0x82),
    ("v5 UNSUBACK from client", 0x82),
    ("v5 packet type 0", 0x81),
];

fn invalid_cases() -> Vec<(Case, u8)> {
    let text = include_str!("../../protocol/vectors/mqtt-wire-cases.json");
    let cases: Vec<Case> = serde_json::from_str(text).expect("the vectors");
    let invalid: Vec<_> = cases.into_iter().filter(|case| !case.valid).collect();
    assert_eq!(invalid.len(), CODES.len());
    let code_of = |case: &Case| {
        let found = CODES.iter().find(|(name, _)| *name == case.name);
        found
            .unwrap_or_else(|| panic!("no code for {}", case.name))
            .1
    };
    invalid
        .into_iter()
        .map(|case| {
            let code = code_of(&case);
            (case, code)
        })
        .collect()
}

/// Two sessions of other devices, which must notice nothing.
struct Neighbours {
    reader: Client,
    writer: Client,
}

impl Neighbours {
    fn at(broker: &Broker) -> Self {
        let reader = Device::new("reader").in_group("g");
        let writer = Device::new("writer").in_group("g");
        broker.enrol([&reader, &writer]);
        let mut reader = broker.log_in(&reader);
        reader.must_subscribe("groups/g/state/+");
        let writer = broker.log_in(&writer);
        Self { reader, writer }
    }

    #[track_caller]
    fn notice_nothing(&mut self) {
        self.reader.must_have_received_nothing();
        self.writer.must_publish("groups/g/state/writer", b"fine");
        self.reader.must_receive("groups/g/state/writer", b"fine");
    }
}

#[test]
fn before_the_login() {
    let broker = Broker::start();
    let mut neighbours = Neighbours::at(&broker);
    for (case, code) in invalid_cases() {
        let mut wire = broker.wire().speaking(case.version());
        let local = wire.local();
        wire.send_bytes(&case.bytes());
        // MQTT 5 has a CONNACK that says why; 3.1.1 has none for malformed packets, and what is no CONNECT gets no answer.
        let answer = (case.is_connect() && case.version() == Version::V5).then_some(code);
        assert_eq!(wire.end(), answer, "{}", case.name);
        let recorded = broker.trail().malformed(local);
        if case.is_connect() {
            assert_eq!(recorded, code, "{}", case.name);
        } else {
            assert!(recorded >= 0x81, "{}: {recorded:02x}", case.name);
        }
        neighbours.notice_nothing();
    }
}

#[test]
fn between_challenge_and_proof() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut neighbours = Neighbours::at(&broker);
    for (case, code) in invalid_cases() {
        if case.version() == Version::V311 {
            continue;
        }
        let open = open_of(device.key_id(), None);
        let mut wire = broker.wire();
        wire.send_bytes(&Asked::by("dev-1").with_open(&open.encode()));
        keygate_tests::doors::challenge(&mut wire).unwrap();
        wire.send_bytes(&case.bytes());
        let Heard::Packet(answer) = wire.hear() else {
            panic!("{}: no CONNACK", case.name);
        };
        assert!(
            matches!(answer.packet(), Packet::Connack(_)),
            "{}",
            case.name
        );
        // These two do not exist in CONNACK.
        let code = if [0x8f, 0x94].contains(&code) {
            0x82
        } else {
            code
        };
        assert_eq!(answer.raw()[3], code, "{}", case.name);
        assert_eq!(wire.hear(), Heard::Closed, "{}", case.name);
    }
    neighbours.notice_nothing();
}

#[test]
fn in_a_session() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut neighbours = Neighbours::at(&broker);
    for (case, code) in invalid_cases() {
        let mut client = match case.version() {
            Version::V5 => broker.log_in(&device),
            Version::V311 => broker.log_in_by_assertion(&device, Version::V311),
        };
        let local = client.wire.local();
        client.wire.send_bytes(&case.bytes());
        let answer = (case.version() == Version::V5).then_some(code);
        assert_eq!(client.end(), answer, "{}", case.name);
        assert_eq!(broker.trail().malformed(local), code, "{}", case.name);
    }
    neighbours.notice_nothing();
}

#[test]
fn a_connect_with_any_byte_altered_logs_nobody_in() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut neighbours = Neighbours::at(&broker);
    let open = open_of(device.key_id(), None);
    let good = Asked::by("dev-1").with_open(&open.encode());
    for at in 0..good.len() {
        for altered_by in [0x01, 0x80, 0xff] {
            let mut connect = good.clone();
            connect[at] ^= altered_by;
            let mut wire = broker.wire();
            wire.send_bytes(&connect);
            wire.finish();
            // A challenge, a refusal, a close: whatever it is, it is no login and it comes to an end.
            while let Heard::Packet(got) = wire.hear() {
                let accepted = got.raw()[0] == 0x20 && got.raw()[3] == 0;
                assert!(!accepted, "byte {at} altered by {altered_by:02x}");
            }
        }
    }
    neighbours.notice_nothing();
    broker.log_in(&device).must_stand();
}

#[test]
fn noise_ends_its_connection_and_no_other() {
    use keygate_broker::rng::{Random, SeededRandom};
    const SEED: u64 = 20_261_123;
    println!("seed {SEED}");
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut neighbours = Neighbours::at(&broker);
    let mut random = SeededRandom::new(SEED);
    let noise = |random: &mut SeededRandom| {
        let mut len = [0; 2];
        random.fill(&mut len);
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(len) % 600)];
        random.fill(&mut bytes);
        bytes
    };
    for _ in 0..300 {
        let mut wire = broker.wire();
        wire.send_bytes(&noise(&mut random));
        wire.finish();
        while let Heard::Packet(_) = wire.hear() {}
    }
    for _ in 0..100 {
        let mut client = broker.log_in(&device);
        client.wire.send_bytes(&noise(&mut random));
        client.wire.finish();
        while let Heard::Packet(_) = client.wire.hear() {}
    }
    neighbours.notice_nothing();
}
