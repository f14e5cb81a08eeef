//! The sockets of the doors, and what each door takes.
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use super::StartError;
use crate::authn::ListenerRules;
use crate::config::{AssertionReuse, Config, PlainTls};
use crate::gate::transport::{Certificates, Layers, Origins, WebSocketRules};
use crate::shard::ListenerId;
use crate::shard::poll::Listening;
use crate::telemetry::event::Listener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for us while the shards are busy: a fleet that comes back all at once.
const BACKLOG: i32 = 4_096;

/// Where each listener of MQTT is, and for each shard its socket of every one.
type Opened = (Vec<(Listener, SocketAddr)>, Vec<Vec<Listening>>);

/// Opens every listener of MQTT.
pub(super) fn mqtt(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
) -> Result<Opened, StartError> {
    let mut addresses = Vec::new();
    let mut shards: Vec<Vec<Listening>> = Vec::new();
    shards.resize_with(config.shards(), Vec::new);
    for (index, (door, address)) in (0..).zip(config.mqtt_listeners().each()) {
        let id = ListenerId { index, door };
        let layers = layers(door, config, certificates);
        let sockets = tcp(door, address, config.shards())?;
        let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
        addresses.extend(bound.map(|bound| (door, bound)));
        for (shard, socket) in shards.iter_mut().zip(sockets) {
            shard.push(Listening {
                socket,
                id,
                layers: layers.clone(),
                proxies: config.proxies().clone(),
            });
        }
    }
    Ok((addresses, shards))
}

/// What lies between the sockets of this listener and MQTT.
fn layers(door: Listener, config: &Config, certificates: Option<&Arc<Certificates>>) -> Layers {
    let is_websocket = matches!(door, Listener::Ws | Listener::Wss);
    let websocket = is_websocket.then(|| {
        let origins = Origins(config.origins().to_vec());
        Arc::new(WebSocketRules {
            origins,
            lets_everybody_in: config.anonymous().is_some(),
        })
    });
    let is_tls = matches!(door, Listener::Mqtts | Listener::Wss);
    Layers {
        tls: certificates.filter(|_| is_tls).cloned(),
        websocket,
        setup_bytes: config.limits().transport_bytes,
    }
}

/// Which logins each listener takes, in the order of [`mqtt`].
pub(super) fn rules(config: &Config) -> Vec<ListenerRules> {
    let each = config.mqtt_listeners().each();
    each.map(|(door, address)| rules_of(door, address, config))
        .collect()
}

/// An assertion may be used again only where nobody else can have read it.
fn rules_of(door: Listener, address: SocketAddr, config: &Config) -> ListenerRules {
    // Behind a proxy anybody may be, and what is plain there was plain on its way.
    let is_loopback = address.ip().is_loopback() && config.proxies().is_empty();
    let is_tls = matches!(door, Listener::Mqtts | Listener::Wss);
    let is_encrypted = is_tls || config.plain_tls() == PlainTls::Terminated;
    let reusable = match config.assertion_reuse() {
        AssertionReuse::Auto => is_loopback || is_encrypted,
        AssertionReuse::Once => false,
        AssertionReuse::UntilExpiry => true,
    };
    let mut rules = if reusable {
        ListenerRules::loopback()
    } else {
        ListenerRules::plain()
    };
    if is_tls {
        rules.binding = config.binding().into();
    }
    rules.assertion_ttl_max_s = config.assertion_ttl_max_s();
    rules.client_id = config.client_id();
    // The configuration says it for loopback listeners only; this is where it would hurt if it did not.
    if config.anonymous().is_some() && is_loopback {
        rules = rules.and_anonymous();
    }
    rules
}

/// A socket for each shard on the same address: the kernel spreads connections over them and wakes one shard for each.
fn tcp(door: Listener, address: SocketAddr, shards: usize) -> Result<Vec<TcpListener>, StartError> {
    let listen = || {
        // Sockets that share a port let any process of this user in. So first a bind that shares with nobody: it fails
        // if the port is in use, and picks one for port 0.
        let address = bound(address, false)?.local_addr()?;
        let mut listeners = Vec::new();
        for _ in 0..shards {
            let socket = bound(
                address.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?,
                true,
            )?;
            socket.listen(BACKLOG)?;
            listeners.push(socket.into());
        }
        Ok(listeners)
    };
    listen().map_err(|error| StartError::Listen {
        protocol: door.name(),
        address,
        error,
    })
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted connections inherit it: a turn writes whole packets, so there is nothing to wait for.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The socket of CoAP.
pub(super) fn udp(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address).map_err(|error| StartError::Listen {
        protocol: Listener::Coap.name(),
        address,
        error,
    })
}
