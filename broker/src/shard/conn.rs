use std::net::SocketAddr;

use super::login::Handshake;
use super::relay::RelayKey;
use crate::gate::Source;
use crate::hub::SessionKey;
use crate::telemetry::event::Listener;
use keygate_protocol::time::Millis;

/// Which of the broker's listeners a connection came in by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenerId {
    /// Its place among the gate's listeners.
    pub index: u8,
    /// What it speaks, for the audit log.
    pub door: Listener,
}

impl Default for ListenerId {
    /// The first one, over plain TCP.
    fn default() -> Self {
        Self {
            index: 0,
            door: Listener::Mqtt,
        }
    }
}

/// One connection. An idle one is this and its session: it owns no buffer.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Unique in this broker's life, for the audit log.
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: ListenerId,
    /// Seconds; 0 is "no keep-alive".
    pub(crate) keep_alive_s: u16,
    /// When the last packet came, in seconds.
    pub(crate) heard_s: u32,
    pub(crate) state: State,
    /// The beginning of a packet whose rest has not come.
    pub(crate) partial: Vec<u8>,
}

/// Where a connection is on its way.
#[derive(Debug)]
pub(crate) enum State {
    /// It has not proved who it is.
    Handshake(Box<Handshake>),
    /// It has a session.
    Open(SessionKey),
    /// Its session is relayed to another broker.
    Relayed(RelayKey),
    /// It is ours to that broker, for one session.
    Upstream(RelayKey),
    /// It was told why it ends; what it still sends is thrown away until `until`.
    Leaving { until: Millis },
}

impl Conn {
    /// When nothing heard means that the client is gone: one and a half keep-alive periods (MQTT 5 §3.1.2.10).
    pub(crate) fn keep_alive_deadline(&self) -> Option<Millis> {
        (self.keep_alive_s != 0)
            .then(|| Millis(u64::from(self.heard_s) * 1_000 + u64::from(self.keep_alive_s) * 1_500))
    }

    /// Where it comes from, for the audit log.
    pub(crate) fn source(&self) -> Source {
        Source {
            number: self.number,
            peer: self.peer,
            listener: self.listener,
        }
    }

    pub(crate) fn heard(&mut self, now: Millis) {
        self.heard_s = u32::try_from(now.0.div_ceil(1_000)).unwrap_or(u32::MAX);
    }
}
