//! Addresses of this machine.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::PATIENCE;

static NEXT: AtomicU16 = AtomicU16::new(1);

/// A loopback address that nothing else on this machine uses: a broker that restarts finds its port free, whatever
/// ports other tests are given meanwhile.
#[must_use]
pub fn own_address() -> IpAddr {
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = (std::process::id() % 190) as u8;
    IpAddr::V4(Ipv4Addr::new(127, 64 + process, high, low.max(1)))
}

/// A connection from this address.
///
/// # Panics
/// When that is not possible.
#[must_use]
#[track_caller]
pub fn bound_stream(source: IpAddr, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))
        .expect("the machine has a socket");
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .expect("the address is this machine's");
    socket
        .connect_timeout(&to.into(), PATIENCE)
        .expect("the broker accepts");
    socket
}

/// Lets this process, and those it starts, open as many files as the machine allows. Gives that number.
pub fn raise_file_limit() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    // Refused where somebody above us forbids it: the number that holds is what counts.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Listens where somebody listened before.
///
/// # Panics
/// When the address is taken.
#[must_use]
#[track_caller]
pub fn listen_again(address: SocketAddr) -> std::net::TcpListener {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .expect("the machine has a socket");
    socket.set_reuse_address(true).expect("a socket option");
    socket
        .bind(&address.into())
        .expect("the address is free again");
    socket.listen(16).expect("it listens");
    socket.into()
}
