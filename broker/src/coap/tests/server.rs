//! The shell on real sockets of the loopback interface.
use super::*;
use crate::clock::SystemClock;
use crate::coap::Server;
use crate::telemetry::Audit;
use std::net::UdpSocket;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn bind() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A client; on loss it would fail, and loopback loses nothing at this rate.
fn client(server: SocketAddr) -> UdpSocket {
    let socket = bind();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket
}

fn ask(socket: &UdpSocket, request: &Ask) -> Seen {
    socket.send(&request.bytes()).unwrap();
    let mut bytes = [0; 2048];
    let len = socket.recv(&mut bytes).unwrap();
    Seen::read(&bytes[..len], None)
}

fn start(world: World, sockets: Vec<UdpSocket>) -> (Server, crate::telemetry::audit::Recorded) {
    let (audit, recorded) = Audit::in_memory(64);
    let clock = Arc::new(SystemClock::start());
    let server = Server::start(sockets, world.endpoint, clock, audit).unwrap();
    (server, recorded)
}

fn fetch_token(socket: &UdpSocket) -> Seen {
    let challenge = ask(socket, &Ask::post("token"));
    let echo = challenge.echo.expect("a challenge");
    ask(socket, &Ask::token(&echo, &key(1), &wanted(GATEWAY)))
}

#[test]
fn serves_every_socket_and_stops_when_told() {
    let (mut server, recorded) = start(World::new(), vec![bind(), bind()]);
    let addresses = server.addresses().to_vec();
    for address in &addresses {
        let seen = fetch_token(&client(*address));
        assert_eq!(seen.code, "2.01");
    }
    server.stop();
    let events = recorded.take();
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| event.kind.identity() == Some(GATEWAY))
    );
    // The ports are free again.
    for address in addresses {
        UdpSocket::bind(address).unwrap();
    }
}

#[test]
fn peers_that_are_gone_do_not_end_the_loop() {
    let (server, _recorded) = start(World::new(), vec![bind()]);
    let address = server.addresses()[0];
    for _ in 0..50 {
        // Closed before the answer comes: the system answers our answer with ICMP "port unreachable".
        let gone = bind();
        gone.send_to(&Ask::get("keys").bytes(), address).unwrap();
        drop(gone);
    }
    assert_eq!(fetch_token(&client(address)).code, "2.01");
}

#[test]
fn oversized_datagram_is_told_the_size() {
    let (server, _recorded) = start(World::new(), vec![bind()]);
    let socket = client(server.addresses()[0]);
    let seen = ask(&socket, &Ask::post("token").payload(&[0; 1800]));
    assert_eq!((seen.code.as_str(), seen.size1), ("4.13", Some(1024)));
}

#[test]
fn dropping_the_server_stops_it() {
    let (server, _recorded) = start(World::new(), vec![bind()]);
    let address = server.addresses()[0];
    drop(server);
    UdpSocket::bind(address).unwrap();
}
