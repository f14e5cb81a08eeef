//! The shell: one thread, its sockets, and a loop around [`Endpoint::handle`].
use super::endpoint::Endpoint;
use super::limits::{BATCH_MAX, DATAGRAM_MAX};
use crate::clock::Clock;
use crate::telemetry::Audit;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// A running CoAP server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread `coap` with these sockets, which are bound. Bind each to the address that peers use: the
    /// answers of a wildcard socket leave from whatever address the system's routes choose.
    ///
    /// The clock is the one that the shards use: a challenge's age is told by it.
    ///
    /// # Errors
    /// The system gives no thread, or takes a socket back.
    pub fn start(
        sockets: Vec<std::net::UdpSocket>,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> io::Result<Self> {
        let mut addresses = Vec::new();
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            addresses.push(socket.local_addr()?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let sockets = {
            let _context = runtime.enter();
            sockets
                .into_iter()
                .map(UdpSocket::from_std)
                .collect::<io::Result<Vec<_>>>()?
        };
        let mut shell = Shell {
            sockets,
            endpoint,
            clock,
            audit,
        };
        let thread = std::thread::Builder::new()
            .name("coap".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        biased;
                        _ = stopped => {}
                        () = shell.run() => {}
                    }
                });
            })?;
        Ok(Self {
            addresses,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens, in the order of the sockets.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends the loop and waits for the thread. What has arrived and is not read yet stays unanswered; peers repeat.
    pub fn stop(&mut self) {
        // Without a receiver the thread has ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the CoAP thread had panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shell {
    sockets: Vec<UdpSocket>,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    audit: Audit,
}

impl Shell {
    async fn run(&mut self) {
        loop {
            poll_fn(|context| self.turn(context)).await;
            // Lets the runtime look at the stop signal and at the sockets' readiness.
            tokio::task::yield_now().await;
        }
    }

    /// A bounded piece of work: at most [`BATCH_MAX`] datagrams of each socket.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut worked = false;
        for index in 0..self.sockets.len() {
            for _ in 0..BATCH_MAX {
                if !self.receive(index, context) {
                    break;
                }
                worked = true;
            }
        }
        if worked {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes one datagram, if there is one.
    fn receive(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        // One byte more than allowed, to see what is too long.
        let mut bytes = [0; DATAGRAM_MAX + 1];
        let mut buffer = ReadBuf::new(&mut bytes);
        let socket = &self.sockets[index];
        match socket.poll_recv_from(context, &mut buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(peer)) => {
                let answer = self.answer(buffer.filled(), peer);
                if let Some(answer) = answer {
                    send(&self.sockets[index], &answer, peer);
                }
                true
            }
            Poll::Ready(Err(error)) => {
                // An ICMP answer to something that we sent, as a rule. The system has cleared it; the socket lives.
                tracing::debug!(%error, "receiving over CoAP failed");
                true
            }
        }
    }

    /// A fault of ours that a datagram triggers costs that datagram its answer and nobody else anything.
    fn answer(&mut self, datagram: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let endpoint = &mut self.endpoint;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            endpoint.handle(datagram, peer, now, wall)
        }));
        let Ok(outcome) = outcome else {
            tracing::error!(%peer, "a datagram made the CoAP endpoint panic");
            return None;
        };
        if let Some(event) = outcome.event {
            self.audit.record(event);
        }
        outcome.reply
    }
}

/// An answer that can not be sent is lost like one that the network drops; the peer asks again.
fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, peer) {
        tracing::debug!(%peer, %error, "sending over CoAP failed");
    }
}
