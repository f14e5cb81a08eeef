//! TLS, WebSocket and proxies: what lies below MQTT lets nobody in that MQTT would not.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use keygate_broker::telemetry::event::Listener;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::Version;
use keygate_tests::broker::Broker;
use keygate_tests::clock::PATIENCE;
use keygate_tests::device::{Asked, Device};
use keygate_tests::net::raise_file_limit;
use keygate_tests::stream::tls_config;
use keygate_tests::wire::{Heard, Wire};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

const NOT_AUTHORIZED: u8 = 0x87;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

struct Stage {
    broker: Broker,
    device: Device,
}

impl Stage {
    #[track_caller]
    fn with(settings: &str) -> Self {
        let broker = Broker::with(settings);
        let device = Device::new("dev-1");
        broker.enrol([&device]);
        Self { broker, device }
    }

    #[track_caller]
    fn tls(&self, version: &'static SupportedProtocolVersion) -> Wire {
        let config = tls_config(&self.broker.ca(), version);
        Wire::open_tls(self.mqtts(), &config)
    }

    fn mqtts(&self) -> SocketAddr {
        self.broker.secure.mqtts.expect("a TLS listener")
    }

    fn ws(&self) -> SocketAddr {
        self.broker.secure.ws.expect("a WebSocket listener")
    }
}

#[test]
fn a_proof_that_covers_the_channel_logs_in_over_either_version_of_tls() {
    let stage = Stage::with("");
    for version in VERSIONS {
        let wire = stage.tls(version);
        let local = wire.local();
        let mut client = stage
            .broker
            .log_in_bound(wire, &stage.device, Wire::export)
            .expect("it is bound to this channel");
        client.must_subscribe("devices/dev-1/#");
        client.must_publish("devices/dev-1/reported", &[b'x'; 100_000]);
        client.must_receive("devices/dev-1/reported", &[b'x'; 100_000]);
        client.say_goodbye();
        assert_eq!(stage.broker.trail().door(local), Listener::Mqtts);
    }
}

/// Somebody in the middle ends the device's TLS and begins one of its own: the proof is for the wrong channel.
#[test]
fn a_proof_that_is_relayed_to_another_channel_is_refused() {
    let stage = Stage::with("");
    for version in VERSIONS {
        let device_side = stage.tls(version);
        let wire = stage.tls(version);
        let local = wire.local();
        let refused = stage
            .broker
            .log_in_bound(wire, &stage.device, |_, context| {
                device_side.export(context)
            });
        assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)));
        assert_eq!(
            stage.broker.trail().refused_login(local),
            RefusalReason::BadSignature
        );
    }
}

#[test]
fn where_the_channel_must_be_covered_nothing_less_is_taken() {
    let stage = Stage::with("[login]\nbinding = \"exporter\"\n");
    let wire = stage.tls(&TLS13);
    let local = wire.local();
    let asked = Asked::by("dev-1");
    let refused = stage.broker.log_in_over(wire, &stage.device, &asked);
    assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)));
    assert_eq!(
        stage.broker.trail().refused_login(local),
        RefusalReason::BindingRefused
    );
    let wire = stage.tls(&TLS13);
    let bound = stage.broker.log_in_bound(wire, &stage.device, Wire::export);
    bound.expect("it is bound");
}

#[test]
fn where_there_is_no_channel_nothing_can_cover_it() {
    let stage = Stage::with("");
    let wire = stage.broker.wire();
    let local = wire.local();
    let refused = stage
        .broker
        .log_in_bound(wire, &stage.device, |_, context| *context);
    assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)));
    assert_eq!(
        stage.broker.trail().refused_login(local),
        RefusalReason::BindingRefused
    );
}

#[test]
fn without_binding_a_device_logs_in_over_tls_as_over_tcp() {
    let stage = Stage::with("[login]\nbinding = \"none\"\n");
    for version in VERSIONS {
        let wire = stage.tls(version);
        let asked = Asked::by("dev-1");
        let logged_in = stage.broker.log_in_over(wire, &stage.device, &asked);
        logged_in.expect("it needs no binding").say_goodbye();
        let wire = stage.tls(version);
        let refused = stage.broker.log_in_bound(wire, &stage.device, Wire::export);
        assert_eq!(refused.err(), Some(Some(NOT_AUTHORIZED)));
    }
}

/// Sends this, and gives what comes until the end.
#[track_caller]
fn exchange(to: SocketAddr, bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let mut socket = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    (socket.local_addr().unwrap(), answer)
}

#[test]
fn another_protocol_on_the_port_is_named_in_the_trail() {
    let stage = Stage::with("");
    let connect = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02ab";
    for bytes in [&connect[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let (local, answer) = exchange(stage.mqtts(), bytes);
        // An alert (RFC 8446 §6), and no byte of MQTT.
        assert_eq!(answer.first(), Some(&21), "{answer:02x?}");
        let (door, rule) = stage.broker.trail().broken(local);
        assert_eq!(door, Listener::Mqtts);
        assert!(rule.starts_with("TLS: "), "{rule}");
    }
}

const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn what_is_no_upgrade_is_told_what_to_do() {
    let stage = Stage::with("[websocket]\norigins = [\"https://panel.example\"]\n");
    let mqtt = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n";
    for (rest, status, rule) in [
        ("Sec-WebSocket-Version: 13\r\n", "400", "subprotocol"),
        (
            "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Protocol: mqtt\r\n",
            "426",
            "version",
        ),
        (
            &format!("{mqtt}Origin: https://elsewhere.example\r\n"),
            "403",
            "another site",
        ),
        (&format!("{mqtt}Origin: null\r\n"), "403", "another site"),
    ] {
        let (local, answer) = exchange(stage.ws(), format!("{UPGRADE}{rest}\r\n").as_bytes());
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (door, fault) = stage.broker.trail().broken(local);
        assert_eq!(door, Listener::Ws);
        assert!(fault.contains(rule), "{fault}");
    }
    let (local, answer) = exchange(stage.ws(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
    let (_, fault) = stage.broker.trail().broken(local);
    assert!(fault.contains("not a request to upgrade"), "{fault}");
    for origin in ["", "Origin: https://panel.example\r\n"] {
        let (_, answer) = exchange(
            stage.ws(),
            format!("{UPGRADE}{mqtt}{origin}\r\n").as_bytes(),
        );
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(
            answer
                .to_lowercase()
                .contains("sec-websocket-protocol: mqtt\r\n")
        );
    }
}

/// Version 2, over IPv4, from this address.
fn proxied(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(source);
    header.extend([127, 0, 0, 1]);
    header.extend(port.to_be_bytes());
    header.extend(1883_u16.to_be_bytes());
    header
}

#[test]
fn behind_a_proxy_the_trail_names_the_client() {
    let stage = Stage::with("[listeners]\nproxies = [\"127.0.0.1\"]\n");
    for (number, header_alone) in [(1, true), (2, false)] {
        let mut wire = stage.broker.wire();
        let mut first = proxied([192, 0, 2, number], 4_321);
        if header_alone {
            wire.send_bytes(&std::mem::take(&mut first));
        }
        let assertion = stage.device.assertion(&stage.broker.broker_id);
        let asked = Asked::by("dev-1");
        first.extend(asked.with_assertion(Version::V5, "dev-1", &assertion));
        wire.send_bytes(&first);
        keygate_tests::doors::accepted(&mut wire).expect("it is who it says");
        let source = SocketAddr::from(([192, 0, 2, number], 4_321));
        assert_eq!(stage.broker.trail().door(source), Listener::Mqtt);
    }
}

#[test]
fn a_proxy_that_does_not_say_for_whom_is_refused() {
    let stage = Stage::with("[listeners]\nproxies = [\"127.0.0.1\"]\n");
    let connect = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02ab";
    for bytes in [&connect[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n"] {
        let mut wire = stage.broker.wire();
        let local = wire.local();
        wire.send_bytes(bytes);
        assert_eq!(wire.hear(), Heard::Closed);
        let (_, rule) = stage.broker.trail().broken(local);
        assert!(rule.starts_with("PROXY protocol: no header"), "{rule}");
    }
}

#[test]
fn who_is_not_a_proxy_is_not_believed() {
    let stage = Stage::with("[listeners]\nproxies = [\"192.0.2.1\"]\n");
    let mut wire = stage.broker.wire();
    let local = wire.local();
    wire.send_bytes(&proxied([192, 0, 2, 7], 4_321));
    assert_eq!(wire.hear(), Heard::Closed);
    assert_eq!(stage.broker.trail().malformed(local), 0x81);
}

/// A thousand peers that stop in the middle of TLS or of the upgrade: a login beside them finds its way, and they are
/// cut off when their time is up.
#[test]
fn half_open_transports_delay_nobody_and_end() {
    raise_file_limit();
    let stage = Stage::with("[limits]\nhandshake_ms = 3000\n");
    let hello = {
        // The first bytes of any ClientHello: a record that is longer than what follows.
        [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 40]].concat()
    };
    let mut silent = Vec::new();
    for number in 0..1_000 {
        let (to, bytes) = match number % 2 {
            0 => (stage.mqtts(), &hello[..]),
            _ => (stage.ws(), UPGRADE.as_bytes()),
        };
        let mut socket = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        socket.write_all(bytes).unwrap();
        silent.push(socket);
    }
    for version in VERSIONS {
        let wire = stage.tls(version);
        let client = stage.broker.log_in_bound(wire, &stage.device, Wire::export);
        client.expect("nobody is in its way").must_stand();
    }
    for mut socket in silent {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        socket
            .read_to_end(&mut rest)
            .expect("it is closed, not forgotten");
    }
}

#[test]
fn more_than_the_transport_takes_is_cut_off() {
    let stage = Stage::with("[limits]\ntransport_bytes = 2048\n");
    let long = format!("{UPGRADE}X-Filler: {}\r\n", "x".repeat(4_096));
    let (local, answer) = exchange(stage.ws(), long.as_bytes());
    assert_eq!(answer, b"");
    let (_, rule) = stage.broker.trail().broken(local);
    assert!(rule.contains("more bytes than it takes"), "{rule}");
}
