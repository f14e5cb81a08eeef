//! A gate in front of a broker that stalls, dies and comes back.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use keygate_protocol::mqtt::{
    self, Ack, AckKind, Connack, Packet, Publish, Qos, ReasonCode, Sender, Version,
};
use keygate_tests::admin;
use keygate_tests::broker::Broker;
use keygate_tests::bytes::encoded;
use keygate_tests::clock::{Deadline, PATIENCE};
use keygate_tests::device::{Asked, Device};
use keygate_tests::net::own_address;
use keygate_tests::process::Program;
use keygate_tests::session::Client;
use tempfile::TempDir;

const SERVER_UNAVAILABLE: u8 = 0x88;
const SERVER_SHUTTING_DOWN: u8 = 0x8b;
/// Long enough for a wrong answer to come, short enough to wait for each time.
const A_WHILE: Duration = Duration::from_millis(200);

/// A broker that does only what the test says.
struct Behind {
    listener: TcpListener,
    address: SocketAddr,
}

/// One session of it.
struct Relayed {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Behind {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    fn settings(&self) -> String {
        format!("[upstream]\nurls = [\"mqtt://{}\"]\n", self.address)
    }

    /// A gate in front of it, and a device.
    fn gate(&self, limits: &str) -> (Broker, Device) {
        let settings = format!("engine = \"upstream\"\n{}{limits}", self.settings());
        let broker = Broker::with(&settings);
        let device = Device::new("dev-1");
        broker.enrol([&device]);
        (broker, device)
    }

    /// The next session that the gate opens, up to its CONNECT.
    fn accept(&self) -> Relayed {
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut relayed = Relayed {
            socket,
            bytes: Vec::new(),
        };
        relayed.hear(|packet| assert!(matches!(packet, Packet::Connect(_)), "{packet:?}"));
        relayed
    }

    /// A device logs in, and this broker takes it.
    fn take(&self, gate: &Broker, device: &Device) -> (Client, Relayed) {
        std::thread::scope(|scope| {
            let login = scope.spawn(|| gate.log_in(device));
            let mut relayed = self.accept();
            relayed.welcome();
            (login.join().expect("it logs in"), relayed)
        })
    }
}

impl Relayed {
    /// The next packet that came up.
    fn hear<T>(&mut self, read: impl FnOnce(&Packet<'_>) -> T) -> T {
        loop {
            if let Some(frame) = mqtt::frame(&self.bytes, u32::MAX).unwrap() {
                let len = frame.len();
                let heard = read(&mqtt::decode(&frame, Sender::Client, Version::V5).unwrap());
                self.bytes.drain(..len);
                return heard;
            }
            let mut chunk = [0; 65_536];
            let count = self
                .socket
                .read(&mut chunk)
                .expect("the gate says something");
            assert_ne!(count, 0, "the gate closed");
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    fn say(&mut self, packet: &Packet<'_>) {
        let bytes = encoded(|sink| packet.encode(Version::V5, sink));
        self.socket.write_all(&bytes).unwrap();
    }

    fn welcome(&mut self) {
        self.say(&Packet::Connack(Connack::new(false, ReasonCode::Success)));
    }
}

fn message(topic: &str, payload: &'static [u8], id: u16) -> Packet<'static> {
    let mut publish = Publish::new(String::leak(topic.to_owned()), payload);
    publish.qos = Qos::AtLeastOnce;
    publish.packet_id = mqtt::PacketId::new(id);
    Packet::Publish(publish)
}

#[test]
fn nothing_is_acknowledged_before_the_upstream_has() {
    let behind = Behind::new();
    let (gate, device) = behind.gate("");
    let (mut client, mut relayed) = behind.take(&gate, &device);
    client
        .wire
        .send(&message("devices/dev-1/reported", b"kept", 7));
    let id = relayed.hear(|packet| match packet {
        Packet::Publish(publish) => publish.packet_id.unwrap(),
        other => panic!("{other:?}"),
    });
    let early = client.wire.hear_until(Deadline::after(A_WHILE));
    assert_eq!(early, None, "nobody has the message yet");
    let ack = encoded(|sink| {
        Ack::new(id, ReasonCode::Success).encode(AckKind::Puback, Version::V5, sink)
    });
    relayed.socket.write_all(&ack).unwrap();
    let got = client.wire.packet();
    assert!(
        matches!(got.packet(), Packet::Puback(ack) if ack.packet_id.get() == 7),
        "{got:?}"
    );
}

#[test]
fn an_upstream_that_does_not_answer_is_given_up() {
    let behind = Behind::new();
    let (gate, device) = behind.gate("[limits]\nrelay_open_ms = 300\n");
    let refused = std::thread::scope(|scope| {
        let login = scope.spawn(|| gate.try_log_in(&device, &Asked::by("dev-1")).err());
        let _silent = behind.accept();
        login.join().unwrap()
    });
    assert_eq!(refused, Some(Some(SERVER_UNAVAILABLE)));
}

#[test]
fn an_upstream_that_is_not_there_refuses_logins_and_one_that_comes_back_takes_them() {
    let behind = Behind::new();
    let (gate, device) = behind.gate("");
    let (mut client, relayed) = behind.take(&gate, &device);
    let address = behind.address;
    drop((behind, relayed));
    assert_eq!(client.end(), Some(SERVER_SHUTTING_DOWN));
    let refused = gate.try_log_in(&device, &Asked::by("dev-1")).err();
    assert_eq!(refused, Some(Some(SERVER_UNAVAILABLE)));
    let listener = keygate_tests::net::listen_again(address);
    let behind = Behind { listener, address };
    let (client, mut relayed) = behind.take(&gate, &device);
    client.say_goodbye();
    relayed.hear(|packet| assert!(matches!(packet, Packet::Disconnect(_)), "{packet:?}"));
}

/// What an upstream does not take stays with the publisher: the gate keeps no more than its buffers, and serves others.
#[test]
fn a_stalled_upstream_stops_its_publisher_and_nobody_else() {
    let behind = Behind::new();
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    std::fs::write(&config, behind.settings()).unwrap();
    let free = SocketAddr::new(own_address(), 0);
    let flags = ["--engine", "upstream", "--config", config.to_str().unwrap()];
    let gate = Program::new(env!("CARGO_BIN_EXE_keygate-under-test")).serve_on(
        &directory.path().join("data"),
        free,
        free,
        &flags,
    );
    let devices = ["dev-1", "dev-2"].map(Device::new);
    devices
        .iter()
        .for_each(|device| admin::enrol(&gate.data, device));
    let mut sessions = devices.iter().map(|device| {
        std::thread::scope(|scope| {
            let login = scope.spawn(|| gate.log_in(device));
            let mut relayed = behind.accept();
            relayed.welcome();
            (login.join().expect("it logs in"), relayed)
        })
    });
    let (mut stalled, _silent) = sessions.next().unwrap();
    let (mut other, mut relayed) = sessions.next().unwrap();
    let before = gate.resident_bytes();
    let mut publish = Publish::new("devices/dev-1/reported", &[b'x'; 100_000]);
    publish.qos = Qos::AtMostOnce;
    let packet = encoded(|sink| publish.encode(Version::V5, sink));
    let taken = (0..500)
        .take_while(|_| stalled.wire.offer(&packet, A_WHILE))
        .count();
    assert!(taken < 200, "{taken} messages of 100 kB went somewhere");
    let grown = gate.resident_bytes().saturating_sub(before);
    assert!(
        grown < 4 * 1_024 * 1_024,
        "the gate has grown by {grown} bytes"
    );
    other
        .wire
        .send(&message("devices/dev-2/reported", b"through", 1));
    relayed.hear(|packet| assert!(matches!(packet, Packet::Publish(_)), "{packet:?}"));
}
