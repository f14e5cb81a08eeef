//! A gateway: fetches its tokens over CoAP, one after the other, when they are due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use keygate_protocol::coap::Failure;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use super::fleet::Field;
use crate::address;
use crate::coap::fetch::{Fetch, FetchError, Granted, Order};
use crate::coap::message::DATAGRAM_MAX;
use crate::identity::Member;
use crate::random::fresh;

/// All tokens of one gateway.
pub(super) async fn gateway(field: Arc<Field>, coap: SocketAddr, index: u32, tokens: u32) {
    let id = field.crew.cast.id(Member::Gateway(index));
    for sequence in 0..tokens {
        let due = field.crew.schedule.token(index, sequence);
        if !field.reach(due).await {
            return;
        }
        field
            .shared
            .record(|recorder| recorder.tokens.attempted += 1);
        let outcome = fetch(&field, coap, index, &id).await;
        let now = field.shared.clock.now();
        field.shared.record(|recorder| {
            match outcome {
                Ok((granted, retransmitted)) => {
                    let tokens = &mut recorder.tokens;
                    tokens.granted += 1;
                    tokens.bytes_max = tokens.bytes_max.max(granted.token_len);
                    tokens.retransmitted += retransmitted;
                    recorder.timings.token.saturating_record(now.since(due));
                }
                Err(error) => recorder.error(format!("token: {error}"), &id, error.advice()),
            }
            recorder.token_settled();
        });
    }
}

/// One token, over a socket of its own: a new port is a new address to the server's Echo.
async fn fetch(
    field: &Field,
    coap: SocketAddr,
    index: u32,
    id: &str,
) -> Result<(Granted, u64), FetchError> {
    let clock = field.shared.clock;
    let member = Member::Gateway(index);
    let profile = &field.crew.profile;
    // Checked before the run began: without a pinned key no answer proves anything.
    let identity_key = profile
        .identity_key
        .ok_or(FetchError::Exchange(Failure::KeyNotPinned))?;
    let signer = field.crew.cast.signer(member);
    let order = Order::new(id, &profile.broker_id, identity_key, signer.public_key())?;
    let entropy = fresh().map_err(|_| FetchError::Entropy)?;

    let socket = open(member, coap).await?;
    let mut fetch = Fetch::start(&order, signer, entropy, clock.now())?;
    socket.send(fetch.datagram()).await?;
    // One byte more than allowed shows that a datagram is too long.
    let mut datagram = [0; DATAGRAM_MAX + 1];
    loop {
        let step = match timeout_at(clock.instant(fetch.deadline()), socket.recv(&mut datagram))
            .await
        {
            Ok(count) => fetch.receive(datagram.get(..count?).unwrap_or_default(), clock.now())?,
            Err(_) => fetch.tick(clock.now())?,
        };
        if let Some(acknowledge) = step.acknowledge {
            socket.send(&acknowledge).await?;
        }
        if let Some(granted) = step.granted {
            return Ok((granted, fetch.retransmitted()));
        }
        if step.send {
            socket.send(fetch.datagram()).await?;
        }
    }
}

async fn open(member: Member, coap: SocketAddr) -> io::Result<UdpSocket> {
    let any = if coap.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = match address::source(member, coap) {
        Some(source) => UdpSocket::bind(source).await?,
        None => UdpSocket::bind(any).await?,
    };
    socket.connect(coap).await?;
    Ok(socket)
}
