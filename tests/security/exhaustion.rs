//! Peers that are silent, slow or huge: they cost a bounded time and memory, and delay nobody.
use std::time::Duration;

use keygate_broker::telemetry::event::DisconnectCause;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_tests::admin;
use keygate_tests::broker::Broker;
use keygate_tests::clock::{Deadline, PATIENCE, Stopwatch};
use keygate_tests::device::{Asked, Device, WillWanted, open_of, proof_packet};
use keygate_tests::doors::{Doors, challenge};
use keygate_tests::net::{own_address, raise_file_limit};
use keygate_tests::process::{Process, Program};
use keygate_tests::wire::{Heard, Wire};
use tempfile::TempDir;

/// Handshakes end after half a second.
const HURRIED: &str = "[limits]\nhandshake_ms = 500\n";

#[test]
fn a_peer_that_says_nothing_is_cut_off() {
    let broker = Broker::with(HURRIED);
    let mut wire = broker.wire();
    let local = wire.local();
    let watch = Stopwatch::start();
    assert_eq!(wire.hear(), Heard::Closed);
    assert!(watch.elapsed() >= Duration::from_millis(400));
    assert_eq!(broker.trail().refused_login(local), RefusalReason::TimedOut);
}

#[test]
fn half_a_connect_is_cut_off() {
    let broker = Broker::with(HURRIED);
    let device = Device::new("dev-1");
    let connect = Asked::by("dev-1").with_open(&open_of(device.key_id(), None).encode());
    for half in [1, 2, 10, connect.len() - 1] {
        let mut wire = broker.wire();
        let local = wire.local();
        wire.send_bytes(&connect[..half]);
        assert_eq!(wire.hear(), Heard::Closed);
        assert_eq!(broker.trail().refused_login(local), RefusalReason::TimedOut);
    }
}

#[test]
fn dripping_bytes_does_not_buy_time() {
    let broker = Broker::with(HURRIED);
    let device = Device::new("dev-1");
    let asked = Asked {
        will: Some(WillWanted::new("devices/dev-1/gone", &[0; 4000])),
        ..Asked::by("dev-1")
    };
    let connect = asked.with_open(&open_of(device.key_id(), None).encode());
    let mut wire = broker.wire();
    let local = wire.local();
    let watch = Stopwatch::start();
    let mut sent = 0;
    for byte in connect.chunks(1) {
        wire.send_bytes(byte);
        sent += 1;
        // Listening is also what paces the drip.
        match wire.hear_until(Deadline::after(Duration::from_millis(20))) {
            None => assert!(watch.elapsed() < PATIENCE, "the drip goes on for ever"),
            Some(Heard::Closed) => break,
            Some(Heard::Packet(got)) => panic!("heard {got:?}"),
        }
    }
    assert!(
        sent < connect.len(),
        "it was cut off before the CONNECT was whole"
    );
    assert_eq!(broker.trail().refused_login(local), RefusalReason::TimedOut);
}

#[test]
fn a_challenge_without_an_answer_is_cut_off() {
    let broker = Broker::with(HURRIED);
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut wire = broker.wire();
    let local = wire.local();
    wire.send_bytes(&Asked::by("dev-1").with_open(&open_of(device.key_id(), None).encode()));
    challenge(&mut wire).unwrap();
    assert_eq!(wire.end(), Some(0x87));
    assert_eq!(broker.trail().refused_login(local), RefusalReason::TimedOut);
    broker.log_in(&device).must_stand();
}

#[test]
fn a_login_that_is_too_large_is_refused_unread() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let asked = Asked {
        will: Some(WillWanted::new("devices/dev-1/gone", &[0; 60_000])),
        ..Asked::by("dev-1")
    };
    let connect = asked.with_open(&open_of(device.key_id(), None).encode());
    // Its length alone is enough: 4 bytes came, 60,000 were announced.
    let mut wire = broker.wire();
    let local = wire.local();
    wire.send_bytes(&connect[..4]);
    assert_eq!(wire.end(), None);
    assert_eq!(broker.trail().malformed(local), 0x95);

    let mut wire = broker.wire();
    let local = wire.local();
    wire.send_bytes(&connect);
    while let Heard::Packet(got) = wire.hear() {
        assert_eq!(got.raw().get(3), Some(&0x95));
    }
    assert_eq!(broker.trail().malformed(local), 0x95);

    // After the challenge the peer is known to speak MQTT 5 and is told.
    let mut wire = broker.wire();
    wire.send_bytes(&Asked::by("dev-1").with_open(&open_of(device.key_id(), None).encode()));
    challenge(&mut wire).unwrap();
    wire.send_bytes(&proof_packet(&[0; 20_000]));
    assert_eq!(wire.end(), Some(0x95));
}

#[test]
fn a_packet_over_the_declared_maximum_ends_the_session() {
    let broker = Broker::with("[limits]\npacket_bytes = 4096\n");
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    let mut client = broker.log_in(&device);
    client.must_publish("devices/dev-1/x", &[7; 4000]);
    client.publish_unacknowledged("devices/dev-1/x", &[7; 4096]);
    assert_eq!(client.end(), Some(0x95));
    assert_eq!(broker.trail().malformed(client.wire.local()), 0x95);
}

#[test]
fn a_flood_of_silent_peers_pushes_out_itself_and_no_session() {
    let broker = Broker::with("shards = 1\n[limits]\nhandshakes = 32\nhandshake_ms = 60000\n");
    let device = Device::new("dev-1");
    let late = Device::new("dev-2");
    broker.enrol([&device, &late]);
    let mut session = broker.log_in(&device);
    let mut silent: Vec<Wire> = (0..200).map(|_| broker.wire()).collect();
    session.must_stand();
    broker.log_in(&late).must_stand();
    // The oldest made room.
    for wire in &mut silent[..100] {
        assert_eq!(wire.hear(), Heard::Closed);
    }
}

#[test]
fn a_subscriber_that_does_not_read_ends_and_slows_nobody() {
    let broker = Broker::with("[limits]\nqueue_messages = 50\nqueue_bytes = 1000000\n");
    let slow = Device::new("slow").in_group("g");
    let quick = Device::new("quick").in_group("g");
    let writer = Device::new("writer").in_group("g");
    broker.enrol([&slow, &quick, &writer]);
    let mut slow = broker.log_in(&slow);
    slow.must_subscribe("groups/g/state/+");
    let mut quick = broker.log_in(&quick);
    quick.must_subscribe("groups/g/state/+");
    let mut writer = broker.log_in(&writer);
    let payload = vec![7; 100_000];
    let mut written = 0;
    // As much as the kernel holds for the two sockets, then as much as the broker does.
    while written < 400 {
        writer.must_publish("groups/g/state/writer", &payload);
        quick.must_receive("groups/g/state/writer", &payload);
        written += 1;
    }
    assert_eq!(
        broker.trail().ended(slow.wire.local()),
        DisconnectCause::SlowConsumer
    );
    quick.must_stand();
    writer.must_stand();
}

/// A broker in a process of its own, so that its memory and its descriptors are its own.
fn roomy_broker(directory: &TempDir) -> Process {
    let config = directory.path().join("keygate.toml");
    std::fs::write(&config, "[limits]\nhandshake_ms = 120000\n").unwrap();
    let address = own_address();
    let free = std::net::SocketAddr::new(address, 0);
    Program::new(env!("CARGO_BIN_EXE_keygate-under-test")).serve_on(
        &directory.path().join("data"),
        free,
        free,
        &["--config", config.to_str().unwrap()],
    )
}

/// The median of a few logins.
#[track_caller]
fn login_time(doors: &Doors, device: &Device) -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let watch = Stopwatch::start();
            doors.log_in(device).must_stand();
            watch.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn two_thousand_silent_peers_delay_nobody_and_cost_little() {
    const PEERS: usize = 2_000;
    /// A connection's place in the tables, with its handshake.
    const SILENT_BYTES_MAX: u64 = 4_096;
    /// What it sent of its CONNECT, besides.
    const HALF_BYTES: usize = 4_000;

    let limit = raise_file_limit();
    assert!(
        limit as usize > PEERS + 500,
        "this process may open {limit} files only; raise `ulimit -n`"
    );
    let directory = TempDir::new().unwrap();
    let broker = roomy_broker(&directory);
    let device = Device::new("dev-1");
    admin::enrol(&broker.data, &device);
    let unloaded = login_time(&broker, &device);
    let resident = broker.resident_bytes();

    let mut silent: Vec<Wire> = (0..PEERS).map(|_| broker.wire()).collect();
    let loaded = login_time(&broker, &device);
    assert_within(loaded, unloaded, "with silent peers");
    let grown = broker.resident_bytes().saturating_sub(resident) / PEERS as u64;
    println!("login {unloaded:?}, with {PEERS} silent peers {loaded:?}; {grown} bytes each");
    assert!(grown <= SILENT_BYTES_MAX, "{grown} bytes each");

    // Each of them begins a CONNECT and never ends it.
    let asked = Asked {
        will: Some(WillWanted::new("devices/dev-1/gone", &[0; 6_000])),
        ..Asked::by("dev-1")
    };
    let connect = asked.with_open(&open_of(device.key_id(), None).encode());
    for wire in &mut silent {
        wire.send_bytes(&connect[..HALF_BYTES]);
    }
    let loaded = login_time(&broker, &device);
    assert_within(loaded, unloaded, "with half CONNECTs");
    let grown = broker.resident_bytes().saturating_sub(resident) / PEERS as u64;
    println!("with half CONNECTs {loaded:?}; {grown} bytes each");
    assert!(
        grown <= SILENT_BYTES_MAX + 2 * HALF_BYTES as u64,
        "{grown} bytes each"
    );
}

/// No slower than ten times, plus what a busy machine's scheduler adds.
#[track_caller]
fn assert_within(loaded: Duration, unloaded: Duration, when: &str) {
    let most = unloaded * 10 + Duration::from_millis(250);
    assert!(loaded <= most, "{when}: {loaded:?}, without {unloaded:?}");
}

#[test]
fn unread_answers_do_not_pile_up() {
    // Pings are answered; a peer that reads none of the answers must not fill the memory with them: its session ends
    // where a full queue would end it (8 MB, and a buffer that grows by doubling).
    const PINGS: usize = 32 * 1024;
    const GROWTH_MAX: u64 = 24 * 1024 * 1024;
    let directory = TempDir::new().unwrap();
    let broker = roomy_broker(&directory);
    let device = Device::new("dev-1");
    let other = Device::new("dev-2");
    admin::enrol(&broker.data, &device);
    admin::enrol(&broker.data, &other);
    let mut client = broker.log_in(&device);
    let mut other = broker.log_in(&other);
    let resident = broker.resident_bytes();
    let pings = [0xc0, 0x00].repeat(PINGS);
    let taken = (0..2_000)
        .take_while(|_| client.wire.offer(&pings, Duration::from_secs(2)))
        .count();
    other.must_stand();
    let grown = broker.resident_bytes().saturating_sub(resident);
    println!("{} pings were taken; {grown} bytes", taken * PINGS);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_eq!(
        broker.trail().ended(client.wire.local()),
        DisconnectCause::SlowConsumer
    );
}
