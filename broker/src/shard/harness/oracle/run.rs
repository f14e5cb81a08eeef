use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::history::History;
use super::judge::judge;
use super::peer::{Hello, Peer};
use super::program::{CLIENTS, Op, program};
use crate::authn::{ClientIdRule, ListenerRules, ROLE_ANONYMOUS};
use crate::authz::{Policy, Role};
use crate::gate::Gate;
use crate::limits::Limits;
use crate::rng::SeededRandom;
use crate::shard::harness::schedules::{gate_with, registry};
use crate::shard::harness::{Endpoint, Setting, World};

/// How many programs `cargo test` runs; `KEYGATE_PROGRAMS` asks for more.
const PROGRAMS: u64 = 3_000;

/// After so many seeds that fail, the test has seen enough.
const FAILURES: usize = 8;

/// Clients, the broker, and what has happened.
struct Run {
    world: World<Peer>,
    history: History,
    is_traced: bool,
}

fn setting(random: &mut SeededRandom) -> Setting {
    let limits = Limits {
        inbox: 2 + random.below(4) as usize,
        inflight_max: 1 + random.below(5) as u16,
        turn_events: 1 + random.below(6) as usize,
        turn_proofs: 1 + random.below(2) as usize,
        retained_scan: 1 + random.below(3) as usize,
        share_credit: 1 + random.below(3) as u16,
        ..Limits::default()
    };
    Setting {
        shards: 1 + random.below(3) as u16,
        limits,
        pipe_bytes: 64 + random.below(400) as usize,
        receive_max: u16::MAX,
    }
}

fn open_gate(limits: &Limits) -> Arc<Gate> {
    let everything = Role::open(ROLE_ANONYMOUS, &["#"], &[]).unwrap();
    let policy = Policy::builtin().with(everything);
    let rules = ListenerRules {
        client_id: ClientIdRule::Free,
        ..ListenerRules::loopback().and_anonymous()
    };
    gate_with(&registry().directory(), limits, policy, rules)
}

impl Run {
    fn new(seed: u64) -> Self {
        let setting = setting(&mut SeededRandom::new(seed));
        let gate = open_gate(&setting.limits);
        let peers = CLIENTS.iter().map(|(id, version)| Peer::new(id, *version));
        let versions = CLIENTS.map(|(_, version)| version);
        Self {
            world: World::new(seed, setting, &gate, peers.collect()),
            history: History::new(&versions),
            is_traced: std::env::var_os("KEYGATE_TRACE").is_some(),
        }
    }

    fn op(&mut self, op: &Op) {
        self.look();
        if self.is_traced {
            println!("{:>6} {op:?}", self.history.now);
        }
        match op {
            Op::Connect(client, hello) => self.connect(*client, hello),
            Op::Cut(client) if self.world.clients[*client].is_open() => {
                self.history.connection_ends(*client, true, None);
                self.world.cut(*client);
            }
            Op::Disconnect {
                client,
                with_will,
                expiry_s,
            } if self.world.clients[*client].is_open() => {
                let (with_will, expiry_s) = (*with_will, *expiry_s);
                self.history.connection_ends(*client, with_will, expiry_s);
                self.world.act(*client, |peer, out| {
                    peer.disconnect(with_will, expiry_s, out);
                });
                self.world.cut(*client);
                // On another connection a CONNECT could overtake it.
                self.rest();
            }
            Op::Subscribe {
                client,
                filters,
                id,
            } if self.world.clients[*client].is_open() => {
                let request = self.history.subscribes(*client, filters, *id);
                self.world.act(*client, |peer, out| {
                    peer.subscribe(request, filters, *id, out);
                });
            }
            Op::Unsubscribe(client, filter) if self.world.clients[*client].is_open() => {
                let request = self.history.unsubscribes(*client, filter);
                self.world.act(*client, |peer, out| {
                    peer.unsubscribe(request, filter, out);
                });
            }
            Op::Publish {
                client,
                draft,
                alias,
            } if self.world.clients[*client].may_publish() => {
                let draft = self.history.publishes(*client, draft.clone(), false);
                self.world.act(*client, |peer, out| {
                    peer.publish(&draft, *alias, out);
                });
            }
            Op::Slow(client, slow) => self.world.clients[*client].is_slow = *slow,
            Op::Steps(count) => {
                for _ in 0..*count {
                    self.world.step();
                    self.look();
                }
            }
            Op::Rest => self.rest(),
            Op::Wait(s) => self.wait(*s),
            Op::Crash => {
                self.history.crashes();
                self.world.crash();
            }
            _ => {}
        }
    }

    fn connect(&mut self, client: usize, hello: &Hello) {
        if self.history.is_connecting(client) {
            return;
        }
        self.history.connects(client, hello);
        self.world.clients[client].restart();
        self.world
            .open(client, |peer, _, out| peer.connect(hello, out));
    }

    /// Takes down what the clients have seen.
    fn look(&mut self) {
        self.history.tick(self.world.times().now.0);
        for client in 0..CLIENTS.len() {
            for seen in std::mem::take(&mut self.world.clients[client].seen) {
                if self.is_traced {
                    println!("{:>6} {client}: {seen:?}", self.history.now);
                }
                self.history.sees(client, seen);
            }
        }
        self.history.tick(self.world.times().now.0);
    }

    fn rest(&mut self) {
        self.world.settle();
        self.look();
        self.history.rests();
        let peers = &self.world.clients;
        judge(&self.history, |client| {
            peers[client].is_open() && !peers[client].is_slow
        });
        self.look();
    }

    fn wait(&mut self, s: u64) {
        self.rest();
        self.history
            .waits_until(self.world.times().now.0 + s * 1_000);
        self.world.wait(s * 1_000);
        self.rest();
    }

    /// Everybody comes back, reads what there is, and leaves for good: nothing is left.
    fn end(&mut self) {
        for client in 0..CLIENTS.len() {
            self.world.clients[client].is_slow = false;
        }
        self.rest();
        for client in 0..CLIENTS.len() {
            if !self.world.clients[client].is_open() {
                let hello = Hello {
                    clean: false,
                    expiry_s: 30,
                    receive_max: 10,
                    will: None,
                };
                self.connect(client, &hello);
            }
        }
        self.rest();
        for client in 0..CLIENTS.len() {
            let hello = Hello {
                clean: true,
                expiry_s: 0,
                receive_max: 10,
                will: None,
            };
            self.connect(client, &hello);
        }
        self.rest();
        for client in 0..CLIENTS.len() {
            self.op(&Op::Disconnect {
                client,
                with_will: false,
                expiry_s: None,
            });
        }
        self.wait(3_000);
        assert_eq!(self.world.counts(), (0, 0), "connections and sessions");
        assert_eq!(self.world.hub.subscriptions(), 0, "subscriptions");
        let left = self.world.log.recovered(self.world.times());
        assert!(left.sessions.is_empty(), "{:?}", left.sessions);
        assert!(left.queue.is_empty(), "{:?}", left.queue);
        assert!(left.groups.is_empty(), "{:?}", left.groups);
    }
}

fn run(seed: u64, ops: &[Op]) {
    let mut run = Run::new(seed);
    for op in ops {
        run.op(op);
    }
    run.end();
}

/// The smallest part of the program that still fails.
fn shrink(seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let mut size = ops.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + size).min(ops.len()));
            if catch_unwind(AssertUnwindSafe(|| run(seed, &fewer))).is_err() {
                ops = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    ops
}

#[test]
fn the_hub_does_what_mqtt_says_in_random_programs() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("KEYGATE_PROGRAMS").unwrap_or(PROGRAMS);
    let first: u64 = number("KEYGATE_SEED").unwrap_or(0);
    println!("programs with seeds {first}..{}", first + count);
    let mut failed = Vec::new();
    for seed in first..first + count {
        let ops = program(&mut SeededRandom::new(seed));
        if catch_unwind(AssertUnwindSafe(|| run(seed, &ops))).is_ok() {
            continue;
        }
        let ops = shrink(seed, ops);
        println!("KEYGATE_SEED={seed} KEYGATE_PROGRAMS=1 fails, and so does as little as this:");
        for op in &ops {
            println!("    {op:?}");
        }
        let _ = catch_unwind(AssertUnwindSafe(|| run(seed, &ops)));
        failed.push(seed);
        if failed.len() >= FAILURES {
            break;
        }
    }
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
}
