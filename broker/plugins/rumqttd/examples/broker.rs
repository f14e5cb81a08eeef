//! A stock rumqttd whose devices log in with their Keygate keys.
//!
//! ```sh
//! keygate init && keygate device add dev-1 --generate dev-1.pem
//! cargo run -p keygate-rumqttd --example broker -- keygate-data
//! ```
use anyhow::{Context, bail};
use keygate_broker::telemetry::Audit;
use keygate_broker::telemetry::trail::Keep;
use keygate_rumqttd::{LoginCheck, Setup};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const MQTT_3: u16 = 1883;
const MQTT_5: u16 = 1884;
const COAP: u16 = 5683;

/// Events that wait to be written at most.
const AUDIT_RING: usize = 1024;

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let Some(data) = arguments.next() else {
        bail!("use: broker DATA-DIRECTORY [IP-ADDRESS [DIRECTORY-FOR-THE-AUDIT-TRAIL]]");
    };
    let host = match arguments.next() {
        Some(host) => host.parse().context("the second argument is no address")?,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let trail = arguments.next().map(PathBuf::from);
    let at = |port| SocketAddr::new(host, port);

    let mut setup = Setup::open(data.as_ref())?;
    let broker_id = setup.broker_id.clone();
    // Not the data directory's own trail: that one is the `keygate` command's.
    let mut _writer = None;
    if let Some(trail) = &trail {
        let (audit, writer) = Audit::start(trail, Keep::default(), AUDIT_RING)
            .with_context(|| format!("no audit trail in {}", trail.display()))?;
        setup.audit = Some(audit);
        _writer = Some(writer);
    }
    let check = LoginCheck::new(setup)?;

    let mut v4 = listener("mqtt-3.1.1", at(MQTT_3));
    let mut v5 = listener("mqtt-5", at(MQTT_5));
    check.guard(&mut v4);
    check.guard(&mut v5);
    let _challenges = check
        .serve_challenges(at(COAP))
        .with_context(|| format!("cannot answer at {}", at(COAP)))?;
    say(&format!(
        "broker {broker_id}: MQTT 3.1.1 at {}, MQTT 5 at {}, challenges at coap://{}/challenge",
        at(MQTT_3),
        at(MQTT_5),
        at(COAP)
    ));

    // Returns only when every listener has ended.
    Broker::new(config(v4, v5)).start()?;
    bail!("rumqttd has ended; is one of its addresses taken?")
}

fn config(v4: ServerSettings, v5: ServerSettings) -> Config {
    Config {
        router: RouterConfig {
            max_connections: 1024,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([(v4.name.clone(), v4)])),
        v5: Some(HashMap::from([(v5.name.clone(), v5)])),
        ..Config::default()
    }
}

fn listener(name: &str, listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: name.to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 64 * 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

#[expect(clippy::print_stdout, reason = "what a user of the example reads")]
fn say(line: &str) {
    println!("{line}");
}
