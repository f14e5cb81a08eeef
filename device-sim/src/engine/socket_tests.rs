//! A run over real sockets, rumqttc included, against the scripted broker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::login::Binding;
use keygate_protocol::mqtt::ReasonCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::LocalSet;

use super::{Plan, Quiet, RunError, Snapshot, run};
use crate::peer::{BROKER_ID, Faults, Peer};
use crate::report::Report;
use crate::scenario::{Login, Scenario, builtin};
use crate::target::Target;

/// By client, what writes to it.
pub(super) type Writers = Rc<Mutex<BTreeMap<u32, Box<dyn AsyncWrite + Unpin>>>>;

/// Puts the scripted broker on a socket.
async fn serve(listener: TcpListener, peer: Rc<RefCell<Peer>>) {
    let writers = Writers::default();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        let client = peer.borrow_mut().accept();
        tokio::task::spawn_local(carry(stream, client, Rc::clone(&peer), Rc::clone(&writers)));
    }
}

/// One client of the scripted broker, from its first byte to its last.
pub(super) async fn carry(
    stream: impl AsyncRead + AsyncWrite + 'static,
    client: u32,
    peer: Rc<RefCell<Peer>>,
    writers: Writers,
) {
    let (mut reader, writer) = tokio::io::split(stream);
    writers.lock().await.insert(client, Box::new(writer));
    let mut bytes = vec![0; 4_096];
    while let Ok(count @ 1..) = reader.read(&mut bytes).await {
        let sent = peer.borrow_mut().receive(client, &bytes[..count]);
        let mut writers = writers.lock().await;
        for (to, bytes) in sent {
            match (bytes, writers.get_mut(&to)) {
                // Whoever is gone hears nothing; that is its own business.
                (Some(bytes), Some(writer)) => {
                    drop(writer.write_all(&bytes).await);
                    drop(writer.flush().await);
                }
                (None, Some(writer)) => {
                    drop(writer.shutdown().await);
                    writers.remove(&to);
                }
                (_, None) => {}
            }
        }
    }
    peer.borrow_mut().gone(client);
    writers.lock().await.remove(&client);
}

pub(super) fn small() -> Scenario {
    let mut scenario = builtin("smoke").expect("built in");
    scenario.fleet.devices = 20;
    scenario.arrivals.rate_per_s = 200.0;
    scenario.run.duration_s = 0.3;
    scenario.run.grace_s = 5;
    for messages in [&mut scenario.reports, &mut scenario.desired] {
        messages.delay_ms = 50;
        messages.interval_ms = 100;
    }
    scenario.gateways.count = 0;
    scenario.impostors.count = 2;
    scenario
}

fn go(scenario: &Scenario, faults: Faults) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mqtt = listener.local_addr().expect("bound");
        let mut peer = Peer::new(scenario);
        peer.faults = faults;
        let identity_key = Some(peer.identity_key());
        tokio::task::spawn_local(serve(listener, Rc::new(RefCell::new(peer))));
        let target = Target {
            mqtt,
            tls: None,
            coap: None,
            broker_id: BROKER_ID.to_owned(),
            identity_key,
        };
        run(Plan::new(scenario.clone(), target)?, &mut Quiet).await
    })
}

#[test]
fn a_good_broker_passes() {
    let report = go(&small(), Faults::default()).expect("runs");
    assert!(report.passed, "{report}");
    assert_eq!(
        (report.reports.delivered, report.desired.delivered),
        (60, 60)
    );
    assert_eq!(
        (report.impostors.refused, report.logins.broker_proofs),
        (2, 20)
    );
    assert_eq!(report.latency.login.count, 20);
    assert!(report.to_string().contains("All as it should be."));
    assert!(
        report
            .command
            .starts_with("device-sim run --builtin smoke --devices 20 --seed smoke")
    );
}

/// Both phases at once: partners, and everybody to the watcher.
fn streams() -> Scenario {
    let mut scenario = builtin("load").expect("built in");
    scenario.fleet.devices = 20;
    scenario.reports.interval_ms = 20;
    for (start_ms, stream) in (100..).step_by(100).zip(&mut scenario.streams) {
        stream.senders = 9;
        stream.interval_ms = 50;
        stream.start_ms = start_ms;
    }
    scenario
}

#[test]
fn streams_reach_their_readers_whatever_the_login() {
    for login in [Login::KgEd25519, Login::Password] {
        let mut scenario = streams();
        scenario.fleet.login = login;
        scenario.impostors.count = 2;
        let report = go(&scenario, Faults::default()).expect("runs");
        assert!(report.passed, "{report}");
        let delivered: Vec<u64> = report
            .streams
            .iter()
            .map(|stream| stream.messages.delivered)
            .collect();
        assert_eq!(delivered, [9 * 16, 9 * 64, 9 * 32]);
        assert_eq!(report.impostors.refused, 2);
        let proofs = match login {
            Login::KgEd25519 => 20,
            Login::Password => 0,
        };
        assert_eq!(report.logins.broker_proofs, proofs);
        let row = report.to_string();
        assert!(row.contains("bursts of 16"), "{row}");
    }
}

#[test]
fn a_stream_that_loses_is_found_out() {
    let faults = Faults {
        lose_every: Some(50),
        ..Faults::default()
    };
    let mut scenario = streams();
    scenario.run.grace_s = 1;
    let report = go(&scenario, faults).expect("runs");
    assert!(!report.passed);
    let lost: u64 = report
        .streams
        .iter()
        .map(|stream| stream.messages.lost)
        .sum();
    let sent = 20 + 9 * (16 + 64 + 32);
    assert_eq!(lost + report.reports.lost, sent / 50);
}

#[test]
fn a_lossy_broker_misses_and_the_run_still_ends() {
    let mut scenario = small();
    scenario.run.grace_s = 1;
    let report = go(
        &scenario,
        Faults {
            lose_every: Some(12),
            ..Faults::default()
        },
    )
    .expect("runs");
    assert!(!report.passed);
    assert_eq!(report.reports.lost + report.desired.lost, 10);
    let missed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name)
        .collect();
    assert!(
        missed
            .iter()
            .any(|name| name.ends_with("acknowledged and lost")),
        "{missed:?}"
    );
}

#[test]
fn an_impostor_who_gets_in_fails_the_run() {
    let report = go(
        &small(),
        Faults {
            admit_all: true,
            ..Faults::default()
        },
    )
    .expect("runs");
    // The scripted broker admits without a proof of its own, which the impostor, who pins the key, does not take for one.
    assert_eq!(report.impostors.refused, 0);
    assert!(!report.passed);
}

#[test]
fn where_nothing_listens_the_error_says_what_to_start() {
    let scenario = small();
    let nobody: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let identity_key = Some(SoftwareSigner::from_seed(&[1; 32]).public_key());
    let target = Target {
        mqtt: nobody,
        tls: None,
        coap: None,
        broker_id: BROKER_ID.to_owned(),
        identity_key,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let plan = Plan::new(scenario, target).expect("goes together");
    let mut told = 0;
    let outcome = runtime.block_on(run(plan, &mut |_: &Snapshot| told += 1));
    let Err(error) = outcome else { panic!("ran") };
    assert_eq!(error, RunError::NothingListens(nobody));
    assert!(error.to_string().contains("start `keygate serve`"));
    assert_eq!(told, 1);
}

#[test]
fn who_is_not_enrolled_is_told_how() {
    let refuse = Some(ReasonCode::NotAuthorized);
    let Err(RunError::NotEnrolled { id, enrol, .. }) = go(
        &small(),
        Faults {
            refuse,
            ..Faults::default()
        },
    ) else {
        panic!("ran")
    };
    assert_eq!(id, "sim-watcher");
    assert_eq!(
        enrol,
        "device-sim enrol --builtin smoke --devices 20 --seed smoke --prefix dev --gateways 0"
    );
}

#[test]
fn gateways_need_coap_and_a_key_to_trust() {
    let mut scenario = small();
    scenario.gateways.count = 1;
    let mqtt: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let target = Target {
        mqtt,
        tls: None,
        coap: None,
        broker_id: BROKER_ID.to_owned(),
        identity_key: None,
    };
    let plan = Plan::new(scenario.clone(), target.clone());
    assert_eq!(plan.map(|_| ()), Err(RunError::NoCoap));
    let plan = Plan::new(
        scenario,
        Target {
            coap: Some(mqtt),
            ..target
        },
    );
    assert_eq!(plan.map(|_| ()), Err(RunError::NoIdentityKey));
}

/// The demo may put a run on any runtime.
#[test]
fn a_run_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let scenario = small();
    let mqtt: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let target = Target {
        mqtt,
        tls: None,
        coap: None,
        broker_id: BROKER_ID.to_owned(),
        identity_key: None,
    };
    let plan = Plan::new(scenario, target).expect("goes together");
    let mut quiet = Quiet;
    is_send(&run(plan, &mut quiet));
}

/// Design §11: at most 3 kB a device. A task holds its future; tokio adds about 0.4 kB for the task, the socket and a
/// timer, and buffers belong to the thread.
#[test]
fn a_device_is_small() {
    use std::sync::Arc;

    use tokio::sync::{mpsc, watch};

    use super::channel::Door;
    use super::crew::Crew;
    use super::fleet::{self, Field};
    use super::recorder::Shared;
    use crate::clock::{Clock, Micros};
    use crate::payload::RunTag;
    use crate::session::Profile;

    let scenario = small();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let profile = Profile {
        broker_id: BROKER_ID.to_owned(),
        identity_key: None,
        keep_alive_s: 0,
        session_expiry_s: 0,
        binding: Binding::None,
    };
    let crew = Crew::new(&scenario, Arc::new(profile), RunTag::new([0; 4]), Micros(0));
    let mqtt: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let shared = Shared::new(Clock::start(), &scenario);
    let (news, _heard) = mpsc::channel(1);
    let (_stop, stop) = watch::channel(false);
    let field = Field {
        crew: Arc::new(crew),
        shared,
        mqtt: Door {
            address: mqtt,
            tls: None,
        },
        news,
        stop,
    };
    let size = size_of_val(&fleet::device(Arc::new(field), 0, None));
    println!("{size} bytes");
    assert!(size <= 1_800, "{size} bytes");
}

/// The load that the demo may ask for, both ends in one thread: `cargo test -p device-sim -- --ignored --nocapture`.
#[test]
#[ignore = "takes ten seconds and ten thousand files"]
fn five_thousand_devices_in_one_process() {
    let mut scenario = builtin("smoke").expect("built in");
    scenario.fleet.devices = 5_000;
    scenario.arrivals.rate_per_s = 1_000.0;
    scenario.gateways.count = 0;
    super::system::allow_files(10_000).expect("files");
    let report = go(&scenario, Faults::default()).expect("runs");
    println!("{report}");
    assert!(report.passed);
}
