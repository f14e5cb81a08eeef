//! rumqttd in this process: on loopback, for holders of a ticket only.
use std::collections::HashMap;
use std::future::ready;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use keygate_protocol::mqtt::{
    self, Connect, ConnectProperties, Packet, ReasonCode, Sender, Version,
};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use super::StartError;
use crate::clock::Clock;
use crate::hub::wire::put;
use crate::limits::{Limits, Reached};
use crate::rng::SystemRandom;
use crate::shard::{Node, Upstream};
use crate::upstream::{Tickets, UpstreamRules};

/// What the gate calls itself there: the ticket is what counts, but rumqttd reads a password only behind a name.
const GATE: &str = "gate";
/// The client id of the gate's first session, which proves that it talks to its own rumqttd. It leaves nothing there.
const PROBE: &str = "probe.keygate";
/// A free port can be taken by somebody else before rumqttd has it.
const TRIES: usize = 5;
/// rumqttd listens within milliseconds, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it listens: it does not say.
const LOOK: Duration = Duration::from_millis(2);
/// Room for the gate's own credentials in a CONNECT that was as large as it may be.
const CREDENTIALS_BYTES: usize = 1_024;
/// What rumqttd keeps in memory for each filter: ten segments of 1 MiB, the oldest goes first.
const SEGMENT_BYTES: usize = 1_048_576;
const SEGMENTS: usize = 10;
/// Packets that rumqttd hands to one connection before it looks at the next, and that it reads at once.
const BATCH: usize = 100;
/// More sessions than the files of one process allow: each takes three.
const CONNECTIONS_MAX: usize = 65_536;

/// Starts rumqttd. It cannot be stopped: it ends with the process. Once the gate is gone nobody has tickets for it.
pub(super) fn start(
    limits: &Limits,
    clock: &Arc<dyn Clock>,
    reached: &Arc<Reached>,
) -> Result<Upstream, StartError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let tickets = Tickets::new(limits, Arc::clone(reached), Box::new(SystemRandom));
        let tickets = Arc::new(tickets);
        match try_start(limits, clock, &tickets) {
            Ok(node) => {
                let rules = UpstreamRules {
                    username: Some(GATE.into()),
                    tickets: Some(tickets),
                    ..UpstreamRules::default()
                };
                return Ok(Upstream {
                    nodes: vec![node],
                    rules,
                });
            }
            Err(error) => last = error,
        }
    }
    Err(StartError::Upstream {
        node: "rumqttd in this process".to_owned(),
        error: last,
    })
}

fn try_start(limits: &Limits, clock: &Arc<dyn Clock>, tickets: &Arc<Tickets>) -> io::Result<Node> {
    let node = free_ports()?;
    let settings = |name: &str, address| server(name, address, limits, clock, tickets);
    let config = Config {
        router: RouterConfig {
            max_connections: limits.sessions.min(CONNECTIONS_MAX),
            max_outgoing_packet_count: BATCH as u64,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([(
            "v4".to_owned(),
            settings("rumqttd-3", node.v311),
        )])),
        v5: Some(HashMap::from([(
            "v5".to_owned(),
            settings("rumqttd-5", node.v5),
        )])),
        ..Config::default()
    };
    let (running, has_ended) = sync_channel::<()>(0);
    let run = move || {
        // Whoever waits for the listeners hears of the end.
        let _running = running;
        // It returns when its listeners have ended.
        match Broker::new(config).start() {
            Ok(()) => tracing::error!(
                "rumqttd has ended: nobody can log in until keygate is started again"
            ),
            Err(error) => tracing::error!(%error, "rumqttd has ended"),
        }
    };
    thread::Builder::new()
        .name("rumqttd".to_owned())
        .spawn(run)?;
    for (version, address) in [(Version::V311, node.v311), (Version::V5, node.v5)] {
        probe(version, address, tickets, clock.as_ref(), &has_ended)?;
    }
    Ok(node)
}

/// Two ports of loopback that nobody has: rumqttd opens its listeners by itself, and does not say where.
fn free_ports() -> io::Result<Node> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (free()?, free()?);
    Ok(Node {
        v311: one.local_addr()?,
        v5: other.local_addr()?,
    })
}

fn server(
    name: &str,
    listen: SocketAddr,
    limits: &Limits,
    clock: &Arc<dyn Clock>,
    tickets: &Arc<Tickets>,
) -> ServerSettings {
    let mut connections = ConnectionSettings {
        connection_timeout_ms: u16::try_from(limits.relay_open_ms).unwrap_or(u16::MAX),
        max_payload_size: limits.packet_bytes as usize + CREDENTIALS_BYTES,
        max_inflight_count: BATCH,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let (clock, tickets) = (Arc::clone(clock), Arc::clone(tickets));
    connections.set_auth_handler(move |client_id: String, username: String, ticket: String| {
        ready(username == GATE && tickets.redeem(&client_id, &ticket, clock.now()))
    });
    ServerSettings {
        name: name.to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections,
    }
}

/// Logs in once: who listens there is our rumqttd only if the ticket was redeemed here.
fn probe(
    version: Version,
    address: SocketAddr,
    tickets: &Tickets,
    clock: &dyn Clock,
    has_ended: &Receiver<()>,
) -> io::Result<()> {
    let mut socket = connected(address, clock, has_ended)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let ticket = tickets.issue(PROBE, clock.now()).unwrap_or_default();
    socket.write_all(&connect(version, PROBE, &ticket))?;
    let code = connack(&mut socket, version)?;
    if code != Some(ReasonCode::Success) || tickets.is_out(PROBE) {
        let somebody_else = "somebody else took its port";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, somebody_else));
    }
    Ok(())
}

/// A connection, once rumqttd listens; an error when it has ended or takes too long.
fn connected(
    address: SocketAddr,
    clock: &dyn Clock,
    has_ended: &Receiver<()>,
) -> io::Result<TcpStream> {
    let until = clock.now().plus(PATIENCE.as_millis() as u64);
    loop {
        let refused = match TcpStream::connect(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        let has_ended = has_ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected);
        if has_ended || clock.now() >= until {
            return Err(refused);
        }
    }
}

fn connect(version: Version, client_id: &str, ticket: &str) -> Vec<u8> {
    let connect = Connect {
        version,
        clean_start: true,
        keep_alive_s: 60,
        client_id,
        username: Some(GATE),
        password: Some(ticket.as_bytes()),
        will: None,
        properties: ConnectProperties::default(),
    };
    let mut bytes = Vec::new();
    put(&mut bytes, |wire| connect.encode(wire));
    bytes
}

/// The code of the CONNACK that comes; none where the connection ends instead.
fn connack(socket: &mut TcpStream, version: Version) -> io::Result<Option<ReasonCode>> {
    let invalid =
        |error: mqtt::DecodeError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 256];
        let count = socket.read(&mut chunk)?;
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(frame) = mqtt::frame(&bytes, 1_024).map_err(invalid)? {
            return match mqtt::decode(&frame, Sender::Server, version).map_err(invalid)? {
                Packet::Connack(connack) => Ok(Some(connack.code)),
                _ => Ok(None),
            };
        }
        if count == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// What comes of a session with this client id and ticket.
    fn answer(version: Version, node: Node, client_id: &str, ticket: &str) -> Option<ReasonCode> {
        let address = match version {
            Version::V311 => node.v311,
            Version::V5 => node.v5,
        };
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
            .write_all(&connect(version, client_id, ticket))
            .unwrap();
        connack(&mut socket, version).unwrap()
    }

    #[test]
    fn only_a_ticket_of_the_gate_opens_a_session_and_only_once() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let started = start(&Limits::default(), &clock, &Arc::default()).unwrap();
        let node = started.nodes[0];
        let tickets = started.rules.tickets.unwrap();
        for version in [Version::V311, Version::V5] {
            let ticket = tickets.issue("dev-1", clock.now()).unwrap();
            assert_eq!(answer(version, node, "dev-1", ""), None, "no ticket");
            assert_eq!(answer(version, node, "dev-1", "a guess"), None);
            assert_eq!(
                answer(version, node, "dev-2", &ticket),
                None,
                "another client id"
            );
            let good = Some(ReasonCode::Success);
            assert_eq!(answer(version, node, "dev-1", &ticket), good, "{version:?}");
            assert_eq!(answer(version, node, "dev-1", &ticket), None, "again");
        }
    }
}
