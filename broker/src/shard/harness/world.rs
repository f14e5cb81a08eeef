use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Client, TestLog};
use crate::gate::Gate;
use crate::hub::{HubParts, HubShared, Own, Times};
use crate::limits::Limits;
use crate::log::Recovered;
use crate::rng::SeededRandom;
use crate::shard::{
    Close, ConnKey, Input, Inputs, ListenerId, Mail, Outbox, Parcel, Postage, Shard, ShardId,
    ShardSetup,
};
use crate::telemetry::{Event, Tally};
use keygate_protocol::mqtt::ReasonCode;
use keygate_protocol::time::{Millis, UnixTime};
use slotmap::SecondaryMap;

/// What varies from schedule to schedule, besides the order of things.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) shards: u16,
    pub(super) limits: Limits,
    /// Bytes that fit between broker and client before the client reads.
    pub(super) pipe_bytes: usize,
    pub(super) receive_max: u16,
}

/// One connection's way: bytes on their way in both directions, and where its broker end is.
#[derive(Debug, Default)]
struct Pipe {
    client: usize,
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// The shard and key of the broker's end; none while it moves or when it is closed.
    end: Option<(usize, ConnKey)>,
    client_gone: bool,
    /// Its peer does not end its half because the broker has ended the other.
    stays: bool,
    broker_finishing: bool,
    broker_gone: bool,
}

struct Unit {
    shard: Shard,
    out: Outbox,
    inbox: VecDeque<Parcel<usize>>,
    postage: Postage<usize>,
    pipes: SecondaryMap<ConnKey, usize>,
}

/// What a broker starts from, again and again.
struct Broker {
    seed: u64,
    hash_seed: [u8; 16],
    gate: Arc<Gate>,
}

impl Broker {
    fn start(
        &self,
        setting: &Setting,
        log: &Arc<TestLog>,
        recovered: Recovered,
        times: Times,
    ) -> (Arc<HubShared>, Vec<Unit>) {
        let hub = Arc::new(HubShared::new(HubParts {
            limits: Arc::clone(&self.gate.limits),
            reached: Arc::clone(&self.gate.reached),
            log: Arc::clone(log) as _,
            rights: Arc::clone(&self.gate) as _,
            seed: self.hash_seed,
            recovered,
        }));
        let unit = |id: u16| Unit {
            shard: Shard::new(ShardSetup {
                id: ShardId(id),
                shards: setting.shards,
                gate: Arc::clone(&self.gate),
                hub: Arc::clone(&hub),
                upstream: None,
                random: Box::new(SeededRandom::new(self.seed ^ u64::from(id) << 32)),
                now: times.now,
            }),
            out: Outbox::default(),
            inbox: VecDeque::new(),
            postage: Postage::new(usize::from(setting.shards), Arc::clone(&self.gate.reached)),
            pipes: SecondaryMap::new(),
        };
        let units = (0..setting.shards).map(unit).collect();
        (hub, units)
    }
}

/// A client as the network sees it.
pub(super) trait Endpoint {
    /// Takes bytes from the broker; answers go into `out`.
    fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>);

    /// Whether it has closed its connection.
    fn is_closed(&self) -> bool;

    /// Whether it does not even read.
    fn is_stuck(&self) -> bool;

    /// Says one thing that it still has to say, while the world comes to rest. Says whether there was one.
    fn go_on(&mut self, out: &mut Vec<u8>) -> bool;

    /// Its connection is gone.
    fn restart(&mut self);
}

/// Shards, clients, and the network between them.
pub(super) struct World<C = Client> {
    pub(super) random: SeededRandom,
    pub(super) clients: Vec<C>,
    pub(super) log: Arc<TestLog>,
    pub(super) hub: Arc<HubShared>,
    pub(super) events: Vec<Event>,
    setting: Setting,
    broker: Broker,
    units: Vec<Unit>,
    pipes: Vec<Pipe>,
    /// The pipe that each client uses now.
    current: Vec<Option<usize>>,
    times: Times,
    /// The disk is not to catch up.
    log_held: bool,
}

impl World {
    /// A client opens a connection and begins its login.
    pub(super) fn connect(&mut self, client: usize) {
        let receive_max = self.setting.receive_max;
        self.open(client, |client, random, out| {
            client.connect(receive_max, random, out);
        });
    }

    /// The client subscribes and hears what it got.
    pub(super) fn subscribe(&mut self, client: usize, filters: &[&str]) -> Vec<ReasonCode> {
        self.act(client, |client, out| client.subscribe(filters, out));
        self.settle();
        std::mem::take(&mut self.clients[client].granted)
    }
}

impl<C: Endpoint> World<C> {
    pub(super) fn new(seed: u64, setting: Setting, gate: &Arc<Gate>, clients: Vec<C>) -> Self {
        let mut random = SeededRandom::new(seed);
        let log = Arc::new(TestLog::default());
        let mut hash_seed = [0; 16];
        crate::rng::Random::fill(&mut random, &mut hash_seed);
        let times = Times {
            now: Millis(1_000),
            wall: UnixTime(1_900_000_000),
        };
        let broker = Broker {
            seed,
            hash_seed,
            gate: Arc::clone(gate),
        };
        let (hub, units) = broker.start(&setting, &log, Recovered::default(), times);
        let current = vec![None; clients.len()];
        Self {
            random,
            clients,
            log,
            hub,
            events: Vec::new(),
            setting,
            broker,
            units,
            pipes: Vec::new(),
            current,
            times,
            log_held: false,
        }
    }

    /// The broker is killed and starts again with what its log has; every connection is gone.
    pub(super) fn crash(&mut self) {
        let recovered = self.log.recovered(self.times);
        (self.hub, self.units) = self
            .broker
            .start(&self.setting, &self.log, recovered, self.times);
        self.pipes.clear();
        for client in 0..self.clients.len() {
            self.current[client] = None;
            self.clients[client].restart();
        }
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// A client opens a connection, to whichever shard the machine picks, and says this.
    pub(super) fn open(
        &mut self,
        client: usize,
        hello: impl FnOnce(&mut C, &mut SeededRandom, &mut Vec<u8>),
    ) {
        let unit = self.random.below(self.units.len() as u64) as usize;
        let Unit {
            shard, out, pipes, ..
        } = &mut self.units[unit];
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000 + client as u16));
        let key = shard
            .accept(peer, ListenerId::default(), self.times.now, out)
            .unwrap();
        let pipe = self.pipes.len();
        pipes.insert(key, pipe);
        self.pipes.push(Pipe {
            client,
            end: Some((unit, key)),
            ..Pipe::default()
        });
        self.current[client] = Some(pipe);
        let mut bytes = Vec::new();
        hello(&mut self.clients[client], &mut self.random, &mut bytes);
        self.pipes[pipe].to_broker.extend(bytes);
    }

    /// Somebody opens a connection and says nothing.
    pub(super) fn open_silent(&mut self, unit: usize) -> usize {
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let Unit { shard, out, .. } = &mut self.units[unit];
        let key = shard
            .accept(peer, ListenerId::default(), self.times.now, out)
            .unwrap();
        // What made room goes first: the new connection may take its slot.
        self.ship(unit, self.setting.limits.inbox);
        let pipe = self.pipes.len();
        self.units[unit].pipes.insert(key, pipe);
        self.pipes.push(Pipe {
            client: self.clients.len() - 1,
            end: Some((unit, key)),
            stays: true,
            ..Pipe::default()
        });
        pipe
    }

    /// Whether the first shard takes another connection.
    pub(super) fn can_accept(&mut self) -> bool {
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let Unit { shard, out, .. } = &mut self.units[0];
        shard
            .accept(peer, ListenerId::default(), self.times.now, out)
            .is_some()
    }

    /// Bytes of nobody in particular.
    pub(super) fn send_raw(&mut self, pipe: usize, bytes: &[u8]) {
        self.pipes[pipe].to_broker.extend(bytes);
    }

    /// Whether the broker has closed this connection.
    pub(super) fn is_closed(&self, pipe: usize) -> bool {
        self.pipes[pipe].broker_gone
    }

    /// From now on the disk stands still.
    pub(super) fn hold_log(&mut self) {
        self.log_held = true;
    }

    /// A client's connection breaks without a goodbye.
    pub(super) fn cut(&mut self, client: usize) {
        if let Some(pipe) = self.current[client].take() {
            self.pipes[pipe].client_gone = true;
            self.pipes[pipe].to_client.clear();
        }
        self.clients[client].restart();
    }

    /// The client does something with its connection.
    pub(super) fn act(&mut self, client: usize, act: impl FnOnce(&mut C, &mut Vec<u8>)) {
        let Some(pipe) = self.current[client] else {
            return;
        };
        let mut bytes = Vec::new();
        act(&mut self.clients[client], &mut bytes);
        self.pipes[pipe].to_broker.extend(bytes);
    }

    /// One random step: a turn of some shard, or bytes arriving somewhere, or time passing.
    pub(super) fn step(&mut self) {
        match self.random.below(8) {
            0..=3 => {
                let unit = self.random.below(self.units.len() as u64) as usize;
                self.turn(unit, false);
            }
            4 | 5 if !self.pipes.is_empty() => {
                let pipe = self.random.below(self.pipes.len() as u64) as usize;
                self.receive(pipe, false);
            }
            6 => {
                let count = self.random.below(4) as usize;
                self.log.sync(count);
            }
            _ => self.times.now = self.times.now.plus(self.random.below(20)),
        }
    }

    /// Everything in order until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.log_held {
                self.log.sync_all();
            }
            let mut busy = false;
            for unit in 0..self.units.len() {
                busy |= self.turn(unit, true);
            }
            for pipe in 0..self.pipes.len() {
                busy |= self.receive(pipe, true);
            }
            for client in 0..self.clients.len() {
                while self.current[client].is_some() {
                    let mut went_on = false;
                    self.act(client, |client, out| went_on = client.go_on(out));
                    busy |= went_on;
                    if !went_on {
                        break;
                    }
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Time passes with nothing else going on.
    pub(super) fn wait(&mut self, ms: u64) {
        self.times.now = self.times.now.plus(ms);
        self.times.wall = self.times.wall.plus(ms / 1_000);
        self.settle();
    }

    /// What all shards have counted.
    pub(super) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for unit in &self.units {
            sum += unit.shard.figures().tally();
        }
        sum
    }

    /// Connections and sessions of all shards.
    pub(super) fn counts(&self) -> (usize, usize) {
        let connections = self.units.iter().map(|unit| unit.shard.connections()).sum();
        (
            connections,
            self.units.iter().map(|unit| unit.shard.sessions()).sum(),
        )
    }

    /// Whether a connection is on its way from shard to shard.
    pub(super) fn is_moving(&self) -> bool {
        self.units
            .iter()
            .flat_map(|unit| &unit.inbox)
            .any(|parcel| matches!(parcel, Parcel::Connection { .. }))
    }

    /// Mail for every shard, as the admin thread sends it.
    pub(super) fn mail(&mut self, mail: &Mail) {
        for unit in &mut self.units {
            unit.inbox.push_back(Parcel::Mail(mail.clone()));
        }
    }

    /// The first shard hears what the broker says of itself.
    pub(super) fn say(&mut self, own: &[Own]) {
        let mail = Parcel::Mail(Mail::Own(own.into()));
        self.units[0].inbox.push_back(mail);
        self.settle();
    }

    /// The client takes what has come. Says whether something had.
    fn receive(&mut self, pipe: usize, all: bool) -> bool {
        let waiting = self.pipes[pipe].to_client.len();
        let client = self.pipes[pipe].client;
        if waiting == 0 || self.current[client] != Some(pipe) || self.clients[client].is_stuck() {
            return false;
        }
        let count = if all {
            waiting
        } else {
            1 + self.random.below(waiting as u64) as usize
        };
        let bytes: Vec<u8> = self.pipes[pipe].to_client.drain(..count).collect();
        let mut answer = Vec::new();
        self.clients[client].bytes(&bytes, &mut answer);
        self.pipes[pipe].to_broker.extend(answer);
        if self.clients[client].is_closed() {
            self.pipes[pipe].client_gone = true;
            self.current[client] = None;
        }
        true
    }

    /// A turn of one shard. Says whether there was anything for it to do.
    fn turn(&mut self, unit: usize, all: bool) -> bool {
        let limit = self.setting.limits.inbox;
        let mut busy = self.post(unit, limit);
        let Unit {
            shard,
            out,
            inbox,
            postage,
            ..
        } = &mut self.units[unit];
        let mut mail = Vec::new();
        let mut arrived = Vec::new();
        while let Some(parcel) = inbox.pop_front() {
            match parcel {
                Parcel::Mail(parcel) => mail.push(parcel),
                Parcel::Connection { moving, socket } => arrived.push((moving, socket)),
            }
        }
        busy |= !mail.is_empty() || !arrived.is_empty() || shard.has_work(out);
        busy |= shard
            .next_deadline()
            .is_some_and(|deadline| deadline <= self.times.now);
        let blocked = postage.is_blocked();
        let mut chunks = VecDeque::new();
        for pipe in &mut self.pipes {
            let Some((_, key)) = pipe.end.filter(|(at, _)| *at == unit) else {
                continue;
            };
            let waiting = pipe.to_broker.len();
            if waiting > 0 && !blocked && (all || self.random.below(2) == 0) {
                let count = if all {
                    waiting
                } else {
                    1 + self.random.below(waiting.min(300) as u64) as usize
                };
                chunks.push_back((
                    key,
                    Some(pipe.to_broker.drain(..count).collect::<Vec<u8>>()),
                ));
            } else if waiting == 0 && (pipe.client_gone || (pipe.broker_finishing && !pipe.stays)) {
                chunks.push_back((key, None));
            }
        }
        busy |= !chunks.is_empty();
        let mut script = Script {
            mail: mail.into(),
            chunks,
            current: Vec::new(),
        };
        shard.turn(self.times, &mut script, out);
        // What the turn had no room for stays where it was.
        for mail in script.mail.into_iter().rev() {
            inbox.push_front(Parcel::Mail(mail));
        }
        for (key, chunk) in script.chunks {
            let Some(&pipe) = self.units[unit].pipes.get(key) else {
                continue;
            };
            for byte in chunk.into_iter().flatten().rev() {
                self.pipes[pipe].to_broker.push_front(byte);
            }
        }
        // In the order of the shell on sockets: an arrival may take the slot of a connection that has just moved away.
        busy |= self.ship(unit, limit);
        for (moving, pipe) in arrived {
            let Unit {
                shard, out, pipes, ..
            } = &mut self.units[unit];
            let key = shard.adopt(moving, self.times, out);
            pipes.insert(key, pipe);
            self.pipes[pipe].end = Some((unit, key));
        }
        busy |= self.ship(unit, limit);
        let Unit { shard, out, .. } = &mut self.units[unit];
        shard.show_figures(out);
        busy
    }

    fn post(&mut self, unit: usize, limit: usize) -> bool {
        let mut postage = std::mem::replace(
            &mut self.units[unit].postage,
            Postage::new(0, Arc::default()),
        );
        let was_blocked = postage.is_blocked();
        postage.retry(|to, parcel| deliver(&mut self.units, limit, to, parcel));
        self.units[unit].postage = postage;
        was_blocked
    }

    /// Takes everything out of the outbox, as the shell on sockets does.
    fn ship(&mut self, unit: usize, limit: usize) -> bool {
        let Unit { out, pipes, .. } = &mut self.units[unit];
        let mut busy = false;
        for (key, &mut pipe) in pipes {
            let room = self
                .setting
                .pipe_bytes
                .saturating_sub(self.pipes[pipe].to_client.len());
            let count = out.bytes(key).len().min(room);
            if count > 0 {
                busy = true;
                if !self.pipes[pipe].client_gone {
                    self.pipes[pipe].to_client.extend(&out.bytes(key)[..count]);
                }
                out.wrote(key, count);
            }
        }
        while out.pop_dirty().is_some() {}
        let closing = std::mem::take(&mut out.closing);
        let moves = std::mem::take(&mut out.moves);
        let mail = std::mem::take(&mut out.mail);
        self.events.append(&mut out.events);
        busy |= !(closing.is_empty() && moves.is_empty() && mail.is_empty());
        for (key, close) in closing {
            let Some(&pipe) = self.units[unit].pipes.get(key) else {
                continue;
            };
            match close {
                Close::Linger => self.pipes[pipe].broker_finishing = true,
                Close::Now => {
                    self.pipes[pipe].broker_gone = true;
                    self.pipes[pipe].end = None;
                    self.units[unit].pipes.remove(key);
                }
            }
        }
        let mut postage = std::mem::replace(
            &mut self.units[unit].postage,
            Postage::new(0, Arc::default()),
        );
        for (to, key, moving) in moves {
            let pipe = self.units[unit].pipes.remove(key).unwrap();
            self.pipes[pipe].end = None;
            let parcel = Parcel::Connection {
                moving,
                socket: pipe,
            };
            postage.post(to, parcel, |to, parcel| {
                deliver(&mut self.units, limit, to, parcel)
            });
        }
        for (to, mail) in mail {
            postage.post(to, Parcel::Mail(mail), |to, parcel| {
                deliver(&mut self.units, limit, to, parcel)
            });
        }
        self.units[unit].postage = postage;
        busy
    }
}

fn deliver(
    units: &mut [Unit],
    limit: usize,
    to: ShardId,
    parcel: Parcel<usize>,
) -> Result<(), Parcel<usize>> {
    let inbox = &mut units[usize::from(to.0)].inbox;
    if inbox.len() >= limit {
        return Err(parcel);
    }
    inbox.push_back(parcel);
    Ok(())
}

/// The inputs of one turn, decided beforehand.
struct Script {
    mail: VecDeque<Mail>,
    chunks: VecDeque<(ConnKey, Option<Vec<u8>>)>,
    current: Vec<u8>,
}

impl Inputs for Script {
    fn next(&mut self) -> Option<Input<'_>> {
        if let Some(mail) = self.mail.pop_front() {
            return Some(Input::Mail(mail));
        }
        match self.chunks.pop_front()? {
            (key, Some(bytes)) => {
                self.current = bytes;
                Some(Input::Bytes(key, &self.current))
            }
            (key, None) => Some(Input::Closed(key)),
        }
    }
}
