//! Sessions that are relayed to another broker: two connections each, the client's and ours to the upstream.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Conn, ConnKey, Outbox, Shard, State};
use crate::authn::{Accepted, PendingProof};
use crate::gate::{self, Reauthenticated};
use crate::hub::{Cause, Rights, Standing, Times};
use crate::telemetry::reason::RefusalReason;
use crate::upstream::{Admitted, Next, Output, Relay, Turn, UpstreamRules};
use keygate_protocol::mqtt::{self, Connect, Packet, ReasonCode, Sender, Version};
use slotmap::SlotMap;

/// A proof's end by the wall clock, and a revocation whose mail is late, are looked for this often.
const LOOK_MS: u64 = 30_000;

slotmap::new_key_type! {
    /// A relayed session on its shard.
    pub(crate) struct RelayKey;
}

/// The other broker, which may be several nodes of a cluster.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its nodes: sessions take turns.
    pub nodes: Vec<Node>,
    /// How the gate introduces itself.
    pub rules: UpstreamRules,
}

/// Where a node listens, for each version of MQTT: most brokers take both at one address.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// For MQTT 3.1.1.
    pub v311: SocketAddr,
    /// For MQTT 5.
    pub v5: SocketAddr,
}

impl From<SocketAddr> for Node {
    fn from(address: SocketAddr) -> Self {
        Self {
            v311: address,
            v5: address,
        }
    }
}

/// The relayed sessions of one shard.
pub(super) struct Relays {
    upstream: Arc<Upstream>,
    next: usize,
    sessions: SlotMap<RelayKey, Relayed>,
    by_client: BTreeMap<Box<str>, RelayKey>,
    /// Sessions of which an end is not read because the other end's buffer is full.
    full: Vec<RelayKey>,
}

struct Relayed {
    relay: Relay,
    version: Version,
    client: End,
    upstream: End,
    /// A re-authentication that waits for its proof.
    pending: Option<Box<PendingProof>>,
}

/// One of the two connections.
struct End {
    conn: ConnKey,
    /// What has come and was not taken.
    input: Vec<u8>,
    is_read: bool,
}

/// Which end.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    Client,
    Upstream,
}

impl End {
    fn new(conn: ConnKey) -> Self {
        Self {
            conn,
            input: Vec::new(),
            is_read: true,
        }
    }

    /// Says whether it may be read, if that has changed.
    fn may_be_read(&mut self, may: bool, out: &mut Outbox) {
        if std::mem::replace(&mut self.is_read, may) != may {
            out.reading.push((self.conn, may));
        }
    }
}

impl Relays {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            next: 0,
            sessions: SlotMap::with_key(),
            by_client: BTreeMap::new(),
            full: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The challenge that is out to a client that proves itself again.
    pub(super) fn pending(&mut self, key: RelayKey) -> Option<&mut PendingProof> {
        self.sessions.get_mut(key)?.pending.as_deref_mut()
    }

    /// Whether a buffer that was full is so no more.
    pub(super) fn has_work(&self, out: &Outbox, relay_bytes: usize) -> bool {
        let drained = |key: &RelayKey| {
            self.sessions.get(*key).is_some_and(|relayed| {
                out.pending(relayed.client.conn) <= relay_bytes
                    && out.pending(relayed.upstream.conn) <= relay_bytes
            })
        };
        self.full.iter().any(drained)
    }

    fn address(&mut self, version: Version) -> Option<SocketAddr> {
        let nodes = &self.upstream.nodes;
        let node = nodes.get(self.next % nodes.len().max(1));
        self.next = self.next.wrapping_add(1);
        node.map(|node| match version {
            Version::V311 => node.v311,
            Version::V5 => node.v5,
        })
    }
}

impl Shard {
    /// Begins to relay a session: it is open when the upstream says so.
    pub(super) fn open_relay(
        &mut self,
        key: ConnKey,
        connect: &Connect<'_>,
        accepted: Accepted,
        rest: &[u8],
        times: Times,
        out: &mut Outbox,
    ) {
        let Some(source) = self.conns.get(key).map(Conn::source) else {
            return;
        };
        let id = Arc::clone(&accepted.principal.device.id);
        let client_id = accepted.client_id.clone();
        if let Err(reason) = self.take_over_relay(&client_id, &accepted, times, out) {
            let (event, code) = source.session_refused(connect, &id, reason, times);
            out.events.push(event);
            gate::refuse(connect.version, code, out.to(key));
            return self.refuse(key, times, out);
        }
        let Some(relays) = &mut self.relays else {
            return;
        };
        let admitted = Admitted {
            connect,
            accepted,
            origin: source.origin(),
        };
        let opened = Relay::open(admitted, &relays.upstream.rules, &self.gate, times);
        let (relay, greeting) = match opened {
            Ok(opened) => opened,
            Err(denied) => {
                if let Some((topic, denied)) = denied {
                    out.events
                        .push(source.will_denied(connect, &id, topic, &denied, times));
                }
                gate::refuse(connect.version, ReasonCode::NotAuthorized, out.to(key));
                return self.refuse(key, times, out);
            }
        };
        let Some(address) = relays.address(connect.version) else {
            return;
        };
        let deadline = relay.deadline();
        let mut client = End::new(key);
        client.input = rest.to_vec();
        let upstream = self.conns.insert(Conn {
            number: source.number,
            peer: address,
            listener: source.listener,
            keep_alive_s: 0,
            heard_s: 0,
            state: State::Leaving { until: times.now },
            partial: Vec::new(),
        });
        let session = relays.sessions.insert(Relayed {
            relay,
            version: connect.version,
            client,
            upstream: End::new(upstream),
            pending: None,
        });
        relays.by_client.insert(client_id, session);
        if let Some(conn) = self.conns.get_mut(upstream) {
            conn.state = State::Upstream(session);
        }
        out.connects.push((upstream, address));
        out.to(upstream).extend_from_slice(&greeting);
        self.prove(key, State::Relayed(session));
        if let Some(deadline) = deadline {
            self.fine.insert(upstream, deadline);
        }
        self.check_reading(session, out);
    }

    /// Ends the connection that this client id has, and says why there is no place for another.
    fn take_over_relay(
        &mut self,
        client_id: &str,
        accepted: &Accepted,
        times: Times,
        out: &mut Outbox,
    ) -> Result<(), RefusalReason> {
        let Some(relays) = &self.relays else {
            return Ok(());
        };
        if let Some(existing) = relays.by_client.get(client_id).copied() {
            let theirs = relays.sessions.get(existing);
            let theirs = theirs.map(|relayed| relayed.relay.principal().owner());
            if theirs.is_some_and(|theirs| theirs != accepted.principal.owner()) {
                return Err(RefusalReason::SessionNotOwn);
            }
            self.end_relay(existing, Cause::TakenOver, times, out);
            return Ok(());
        }
        if relays.len() >= self.gate.limits.sessions {
            self.gate.reached.sessions.add();
            return Err(RefusalReason::SessionsFull);
        }
        Ok(())
    }

    /// Bytes of the client.
    pub(super) fn relay_client(
        &mut self,
        session: RelayKey,
        bytes: &[u8],
        times: Times,
        out: &mut Outbox,
    ) {
        if let Some(relayed) = self.relayed(session) {
            relayed.client.input.extend_from_slice(bytes);
        }
        self.run_client(session, times, out);
        self.check_reading(session, out);
    }

    /// Bytes of the upstream.
    pub(super) fn relay_upstream(
        &mut self,
        session: RelayKey,
        bytes: &[u8],
        times: Times,
        out: &mut Outbox,
    ) {
        if let Some(relayed) = self.relayed(session) {
            relayed.upstream.input.extend_from_slice(bytes);
        }
        let taken = self.with_relay(session, times, out, |relayed, turn| {
            let taken = relayed.relay.from_upstream(&relayed.upstream.input, turn);
            relayed.upstream.input.drain(..taken.bytes);
            taken.next
        });
        match taken {
            Some(Next::Ended(cause)) => return self.close_relay(session, cause, times, out),
            Some(Next::More | Next::Wait | Next::Auth) => {}
            None => return,
        }
        self.keep_alive_of_relay(session, times);
        // It may be what the client's next packet waited for.
        self.run_client(session, times, out);
        self.check_reading(session, out);
    }

    /// Takes what the client has sent, as far as it may be taken now.
    fn run_client(&mut self, session: RelayKey, times: Times, out: &mut Outbox) {
        loop {
            let Some(relayed) = self.relayed(session) else {
                return;
            };
            if relayed.client.input.is_empty() {
                return;
            }
            let conn = relayed.client.conn;
            let taken = self.with_relay(session, times, out, |relayed, turn| {
                let taken = relayed.relay.from_client(&relayed.client.input, turn);
                relayed.client.input.drain(..taken.bytes);
                taken
            });
            let Some(taken) = taken else { return };
            if taken.bytes > 0
                && let Some(conn) = self.conns.get_mut(conn)
            {
                conn.heard(times.now);
            }
            match taken.next {
                Next::More | Next::Wait => return,
                Next::Ended(cause) => return self.close_relay(session, cause, times, out),
                Next::Auth => {
                    if let Err(cause) = self.reauthenticate_relay(session, times, out) {
                        return self.end_relay(session, cause, times, out);
                    }
                }
            }
        }
    }

    /// AUTH is the gate's: the same identity proves itself again.
    fn reauthenticate_relay(
        &mut self,
        session: RelayKey,
        times: Times,
        out: &mut Outbox,
    ) -> Result<(), Cause> {
        let Some(relays) = &mut self.relays else {
            return Ok(());
        };
        let Some(relayed) = relays.sessions.get_mut(session) else {
            return Ok(());
        };
        let conn = relayed.client.conn;
        let Some(source) = self.conns.get(conn).map(Conn::source) else {
            return Ok(());
        };
        let frame = mqtt::frame(&relayed.client.input, self.gate.limits.packet_bytes);
        let Some(frame) = frame.map_err(Cause::Malformed)? else {
            return Ok(());
        };
        let packet = mqtt::decode(&frame, Sender::Client, relayed.version);
        let Packet::Auth(auth) = packet.map_err(Cause::Malformed)? else {
            return Err(Cause::Protocol(ReasonCode::ProtocolError));
        };
        let holder = gate::Holder {
            principal: relayed.relay.principal(),
            client_id: relayed.relay.client_id(),
            version: relayed.version,
            listener: source.listener,
        };
        let pending = relayed.pending.take();
        let random = &mut *self.random;
        let done = gate::reauthenticate(&self.gate, &holder, pending, &auth, times, random);
        let len = frame.len();
        match done {
            Ok(Reauthenticated::Challenged { pending, packet }) => {
                if let Some(context) = pending.exporter_context() {
                    out.exports.push((conn, *context));
                }
                relayed.pending = Some(pending);
                out.to(conn).extend_from_slice(&packet);
            }
            Ok(Reauthenticated::Renewed { principal, packet }) => {
                relayed.client.input.drain(..len);
                let times_of = times;
                self.with_relay(session, times, out, |relayed, turn| {
                    relayed.relay.renew(*principal, turn);
                    turn.out
                        .events
                        .push(relayed.relay.login_again(None, times_of));
                });
                out.to(conn).extend_from_slice(&packet);
                return Ok(());
            }
            Err(gate::NotRenewed::Rule) => return Err(Cause::Protocol(ReasonCode::ProtocolError)),
            Err(gate::NotRenewed::Refused(reason)) => {
                out.events
                    .push(relayed.relay.login_again(Some(reason), times));
                return Err(Cause::Reauthentication);
            }
        }
        relayed.client.input.drain(..len);
        Ok(())
    }

    /// Ends a relayed session for a reason of ours.
    pub(super) fn end_relay(
        &mut self,
        session: RelayKey,
        cause: Cause,
        times: Times,
        out: &mut Outbox,
    ) {
        self.with_relay(session, times, out, |relayed, turn| {
            relayed.relay.end(&cause, turn);
        });
        self.close_relay(session, cause, times, out);
    }

    /// One of the connections has closed.
    pub(super) fn relay_closed(
        &mut self,
        session: RelayKey,
        key: ConnKey,
        times: Times,
        out: &mut Outbox,
    ) {
        let is_client = self.relayed(session).is_some_and(|r| r.client.conn == key);
        if is_client {
            return self.end_relay(session, Cause::ConnectionLost, times, out);
        }
        let cause = self.with_relay(session, times, out, |relayed, turn| {
            relayed.relay.upstream_lost(turn)
        });
        if let Some(cause) = cause {
            self.close_relay(session, cause, times, out);
        }
    }

    /// What no packet brings about. The upstream's connection has the deadline of its CONNACK.
    pub(super) fn check_relay(
        &mut self,
        session: RelayKey,
        key: ConnKey,
        times: Times,
        out: &mut Outbox,
    ) {
        let is_read = self.relayed(session).is_none_or(|r| r.client.is_read);
        if let Some(conn) = self.conns.get_mut(key)
            && conn.keep_alive_deadline().is_some_and(|at| at <= times.now)
        {
            if is_read {
                return self.end_relay(session, Cause::KeepAlive, times, out);
            }
            // What it says may lie unread: it gets another period.
            conn.heard(times.now);
        }
        let over = self.with_relay(session, times, out, |relayed, turn| {
            relayed.relay.tick(turn)
        });
        match over {
            Some(Some(cause)) => self.close_relay(session, cause, times, out),
            Some(None) => self.watch_relay(session, key, times),
            None => {}
        }
    }

    fn watch_relay(&mut self, session: RelayKey, key: ConnKey, times: Times) {
        let is_client = self.relayed(session).is_some_and(|r| r.client.conn == key);
        let Some(conn) = self.conns.get(key).filter(|_| is_client) else {
            return;
        };
        let look = times.now.plus(LOOK_MS);
        let deadline = conn.keep_alive_deadline().map_or(look, |at| at.min(look));
        self.coarse.insert(key, deadline);
    }

    /// The upstream's CONNACK says how often the client must be heard.
    fn keep_alive_of_relay(&mut self, session: RelayKey, times: Times) {
        let Some(relayed) = self.relayed(session) else {
            return;
        };
        let (key, keep_alive_s) = (relayed.client.conn, relayed.relay.keep_alive_s());
        let is_open = relayed.relay.deadline().is_none();
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        // Once, when it opens: it has been heard just now.
        if is_open && conn.heard_s == 0 {
            conn.keep_alive_s = keep_alive_s;
            conn.heard(times.now);
            self.hub.tally.logins_accepted += 1;
            self.watch_relay(session, key, times);
        }
    }

    /// These identities changed: whoever lost its standing is cut, whoever kept it is measured anew.
    pub(super) fn recheck_relays(&mut self, ids: &[Arc<str>], times: Times, out: &mut Outbox) {
        let Some(relays) = &self.relays else { return };
        let ids: BTreeSet<&str> = ids.iter().map(|id| &**id).collect();
        let affected = |(key, relayed): (RelayKey, &Relayed)| {
            let id = &*relayed.relay.principal().device.id;
            ids.contains(id).then_some(key)
        };
        let affected: Vec<RelayKey> = relays.sessions.iter().filter_map(affected).collect();
        for key in affected {
            let Some(relayed) = self.relays.as_ref().and_then(|r| r.sessions.get(key)) else {
                continue;
            };
            match self.gate.standing(relayed.relay.principal(), times.wall) {
                Standing::Unchanged => {}
                Standing::Over(cause) => self.end_relay(key, cause, times, out),
                Standing::Changed(principal) => {
                    self.with_relay(key, times, out, |relayed, turn| {
                        relayed.relay.renew(*principal, turn);
                    });
                }
            }
        }
    }

    /// Ends them all: the broker stops.
    pub(super) fn end_relays(&mut self, times: Times, out: &mut Outbox) {
        let keys = self.relays.iter().flat_map(|r| r.sessions.keys());
        for key in keys.collect::<Vec<_>>() {
            self.end_relay(key, Cause::ShuttingDown, times, out);
        }
    }

    /// Looks again at the sessions whose buffers were full.
    pub(super) fn relays_go_on(&mut self, times: Times, out: &mut Outbox) {
        let Some(relays) = &mut self.relays else {
            return;
        };
        for key in std::mem::take(&mut relays.full) {
            self.run_client(key, times, out);
            self.check_reading(key, out);
        }
    }

    /// Says which end may be read: not while the other end's buffer is full.
    fn check_reading(&mut self, session: RelayKey, out: &mut Outbox) {
        let Some(relays) = &mut self.relays else {
            return;
        };
        let Some(relayed) = relays.sessions.get_mut(session) else {
            return;
        };
        let pending = |side: Side| match side {
            Side::Client => out.pending(relayed.client.conn),
            Side::Upstream => out.pending(relayed.upstream.conn),
        };
        let (to_client, to_upstream) = (pending(Side::Client), pending(Side::Upstream));
        let gate = &self.gate;
        let may_client = relayed.relay.may_read_client(to_upstream, gate);
        let may_upstream = relayed.relay.may_read_upstream(to_client, gate);
        relayed.client.may_be_read(may_client, out);
        relayed.upstream.may_be_read(may_upstream, out);
        let most = gate.limits.relay_bytes;
        if (to_client > most || to_upstream > most) && !relays.full.contains(&session) {
            relays.full.push(session);
        }
    }

    /// Both connections have been told why: what is written goes out, then they end.
    fn close_relay(&mut self, session: RelayKey, _cause: Cause, times: Times, out: &mut Outbox) {
        let Some(relays) = &mut self.relays else {
            return;
        };
        let Some(relayed) = relays.sessions.remove(session) else {
            return;
        };
        let client_id = relayed.relay.client_id();
        if relays.by_client.get(client_id) == Some(&session) {
            relays.by_client.remove(client_id);
        }
        for mut end in [relayed.client, relayed.upstream] {
            // What it still sends is read and thrown away.
            end.may_be_read(true, out);
            self.leave(end.conn, times, out);
        }
    }

    fn relayed(&mut self, session: RelayKey) -> Option<&mut Relayed> {
        self.relays.as_mut()?.sessions.get_mut(session)
    }

    /// Does something with a relayed session, and hands on what comes of it.
    fn with_relay<T>(
        &mut self,
        session: RelayKey,
        times: Times,
        out: &mut Outbox,
        act: impl FnOnce(&mut Relayed, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let relayed = self.relays.as_mut()?.sessions.get_mut(session)?;
        let mut output = Output::default();
        let mut turn = Turn {
            gate: &self.gate,
            times,
            out: &mut output,
        };
        let done = act(relayed, &mut turn);
        for (end, bytes) in [
            (&relayed.client, &output.client),
            (&relayed.upstream, &output.upstream),
        ] {
            if !bytes.is_empty() {
                out.to(end.conn).extend_from_slice(bytes);
            }
        }
        out.events.append(&mut output.events);
        Some(done)
    }
}
