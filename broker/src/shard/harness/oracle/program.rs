use super::peer::{Draft, Hello};
use crate::rng::SeededRandom;
use keygate_protocol::mqtt::{Qos, RetainHandling, SubscriptionOptions, Version};

/// Topics, the last two for share groups only: whose copy a message is must be plain.
pub(super) const TOPICS: [&str; 6] = ["t/a", "t/x", "t/a/x", "t", "s/a", "s/b"];
/// Filters that overlap, and share groups.
pub(super) const FILTERS: [&str; 9] = [
    "t/a", "t/+", "t/#", "+/x", "t/a/#", "+", SHARED[0], SHARED[1], SHARED[2],
];
const SHARED: [&str; 3] = ["$share/g/s/+", "$share/g/s/a", "$share/h/s/#"];
pub(super) const CLIENTS: [(&str, Version); 5] = [
    ("five-0", Version::V5),
    ("five-1", Version::V5),
    ("old-2", Version::V311),
    ("five-3", Version::V5),
    ("old-4", Version::V311),
];

/// The identifier that a shared subscription has; others have those of their SUBSCRIBE.
pub(super) fn id_of(filter: &str) -> u32 {
    let at = FILTERS.iter().position(|known| *known == filter);
    100 + at.expect("a filter of the program") as u32
}

/// One thing that a client, the network or the machine does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// On a new connection; one that stands is taken over.
    Connect(usize, Hello),
    /// The connection breaks.
    Cut(usize),
    Disconnect {
        client: usize,
        with_will: bool,
        expiry_s: Option<u32>,
    },
    Subscribe {
        client: usize,
        filters: Vec<(&'static str, SubscriptionOptions)>,
        id: Option<u32>,
    },
    Unsubscribe(usize, &'static str),
    Publish {
        client: usize,
        draft: Draft,
        alias: bool,
    },
    /// From now on it answers nothing, or it does again.
    Slow(usize, bool),
    /// Random steps of the world.
    Steps(usize),
    /// Everything comes to rest.
    Rest,
    /// Seconds pass after a rest.
    Wait(u64),
    /// `kill -9`, and a start with what the log has.
    Crash,
}

/// What a seed makes the clients do.
pub(super) fn program(random: &mut SeededRandom) -> Vec<Op> {
    let clients = 3 + random.below(3) as usize;
    let crashes = random.below(3) == 0;
    let mut maker = Maker {
        random,
        clients,
        payloads: 0,
    };
    let mut ops = Vec::new();
    for client in 0..clients {
        ops.push(maker.connect(client));
    }
    ops.push(Op::Rest);
    let count = 20 + maker.below(60);
    for _ in 0..count {
        ops.push(maker.op(crashes));
    }
    ops
}

struct Maker<'r> {
    random: &'r mut SeededRandom,
    clients: usize,
    payloads: usize,
}

impl Maker<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn qos(&mut self) -> Qos {
        self.pick(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
    }

    fn op(&mut self, crashes: bool) -> Op {
        let client = self.below(self.clients);
        let v5 = CLIENTS[client].1 == Version::V5;
        match self.below(40) {
            0..=3 => self.connect(client),
            4 | 5 => Op::Cut(client),
            6 => Op::Disconnect {
                client,
                with_will: v5 && self.one_in(3),
                expiry_s: None,
            },
            7..=13 => self.subscribe(client, v5),
            14 => Op::Unsubscribe(client, self.pick(&FILTERS)),
            15..=27 => self.publish(client, v5),
            28 => Op::Slow(client, self.one_in(2)),
            29..=34 => Op::Steps(1 + self.below(30)),
            35 | 36 => Op::Rest,
            37 => Op::Wait(self.pick(&[3, 13, 57, 301])),
            _ if crashes => Op::Crash,
            _ => Op::Steps(1 + self.below(10)),
        }
    }

    fn connect(&mut self, client: usize) -> Op {
        let v5 = CLIENTS[client].1 == Version::V5;
        let will = self.one_in(4).then(|| {
            let draft = self.draft(v5, false);
            (draft, if v5 { self.pick(&[0, 0, 9, 40]) } else { 0 })
        });
        let hello = Hello {
            clean: self.one_in(4),
            expiry_s: if v5 {
                self.pick(&[0, 30, 200, 2_000])
            } else {
                0
            },
            receive_max: if v5 {
                self.pick(&[1, 2, 5, 100])
            } else {
                u16::MAX
            },
            will,
        };
        Op::Connect(client, hello)
    }

    fn subscribe(&mut self, client: usize, v5: bool) -> Op {
        if self.one_in(3) {
            // A copy of a 3.1.1 client does not say which group it is from, so it is in one only.
            let filter = if v5 { self.pick(&SHARED) } else { SHARED[0] };
            let options = SubscriptionOptions {
                qos: self.qos(),
                retain_as_published: v5 && self.one_in(3),
                ..SubscriptionOptions::default()
            };
            return Op::Subscribe {
                client,
                filters: vec![(filter, options)],
                id: v5.then(|| id_of(filter)),
            };
        }
        let plain = FILTERS.len() - SHARED.len();
        let mut filters: Vec<(&'static str, SubscriptionOptions)> = Vec::new();
        for _ in 0..1 + self.below(2) {
            let filter = FILTERS[self.below(plain)];
            if filters.iter().any(|(other, _)| *other == filter) {
                continue;
            }
            let mut options = SubscriptionOptions {
                qos: self.qos(),
                ..SubscriptionOptions::default()
            };
            if v5 {
                options.no_local = self.one_in(4);
                options.retain_as_published = self.one_in(3);
                options.retain_handling = self.pick(&[
                    RetainHandling::Send,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ]);
            }
            filters.push((filter, options));
        }
        Op::Subscribe {
            client,
            filters,
            id: (v5 && self.one_in(2)).then(|| 1 + self.below(3) as u32),
        }
    }

    fn publish(&mut self, client: usize, v5: bool) -> Op {
        Op::Publish {
            client,
            draft: self.draft(v5, true),
            alias: v5 && self.one_in(3),
        }
    }

    fn draft(&mut self, v5: bool, may_delete: bool) -> Draft {
        self.payloads += 1;
        let retain = self.one_in(3);
        let delete = retain && may_delete && self.one_in(4);
        Draft {
            message: 0,
            topic: self.pick(&TOPICS),
            payload: match delete {
                true => String::new(),
                false => format!("m{}", self.payloads),
            },
            qos: self.qos(),
            retain,
            expiry_s: (v5 && may_delete && self.one_in(6)).then_some(25),
        }
    }
}
