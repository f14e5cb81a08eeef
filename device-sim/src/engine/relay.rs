//! TLS for the watcher: rumqttc speaks plain MQTT to a port of this process, and every byte goes on over TLS.
//!
//! rumqttc has TLS of its own, but that brings a second webpki with known flaws and a PEM reader that nobody keeps. The
//! watcher's messages are still read and acknowledged by a client that we did not write.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::channel::{self, Door};
use crate::clock::{Clock, Micros};
use crate::identity::Member;
use crate::session::{Failure, Stage};

/// The way to the broker. Dropping it cuts it.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where the watcher connects.
    pub(super) address: SocketAddr,
    _task: JoinSet<()>,
}

impl Relay {
    /// Makes the handshake with the broker and waits for the watcher, and for nobody else after it. Without TLS the watcher
    /// connects to the broker itself.
    pub(super) async fn open(door: &Door, clock: Clock, deadline: Micros) -> Result<Self, Failure> {
        let mut task = JoinSet::new();
        let Some(tls) = &door.tls else {
            return Ok(Self {
                address: door.address,
                _task: task,
            });
        };
        let stream = door.reach(Member::Watcher, clock, deadline).await?;
        let broker = channel::secure(tls, stream, clock, deadline).await?;
        let io = |error| Failure::io(Stage::Connect, &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        task.spawn(carry(listener, broker));
        Ok(Self {
            address,
            _task: task,
        })
    }
}

async fn carry(listener: TcpListener, mut broker: TlsStream<TcpStream>) {
    let Ok((mut watcher, _)) = listener.accept().await else {
        return;
    };
    drop(listener);
    // Delays only: acknowledgements would wait for each other.
    let _ = watcher.set_nodelay(true);
    // However it ends, both ends see it as the end of their connection.
    let _ = copy_bidirectional(&mut watcher, &mut broker).await;
}
