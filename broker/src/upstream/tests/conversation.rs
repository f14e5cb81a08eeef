//! Whole conversations through a relay, cut into pieces at random: every message that is allowed arrives once and in
//! order, none that is denied, and every handshake comes to its end.
use super::model::{Item, Peer};
use super::*;
use crate::rng::SeededRandom;
use crate::upstream::relay::Phase;
use keygate_protocol::mqtt::Sender;

const CONVERSATIONS: u64 = 300;
const MESSAGES: u32 = 40;
const ALLOWED: &str = "open/a";
const TOPICS: [&str; 4] = [ALLOWED, ALLOWED, "open/secret/b", "closed/c"];

/// Bytes on their way: some of them have arrived.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    arrived: usize,
}

impl Pipe {
    /// A few more bytes arrive, or all of them.
    fn arrive(&mut self, random: &mut SeededRandom) -> &[u8] {
        let more = match random.below(4) {
            0 => self.bytes.len(),
            _ => random.below(12) as usize,
        };
        self.arrived = (self.arrived + more).min(self.bytes.len());
        &self.bytes[..self.arrived]
    }

    fn taken(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.arrived -= count;
    }
}

struct Conversation {
    random: SeededRandom,
    stage: Stage,
    client: Peer,
    upstream: Peer,
    /// To the relay.
    from_client: Pipe,
    from_upstream: Pipe,
    sent: [Vec<(&'static str, Qos, u32)>; 2],
}

impl Conversation {
    fn new(version: Version, seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let limits = Limits {
            relay_bytes: 1_024,
            relay_subscribes: 3,
            ..Limits::default()
        };
        let mut stage = Stage::opening(&connect(version), limits, &UpstreamRules::default());
        stage.gate.acknowledge_refused = true;
        let mut script = |side| script(side, version, &mut random);
        let (client, up) = script(Sender::Client);
        let (upstream, down) = script(Sender::Server);
        Self {
            random,
            stage,
            client: Peer::new(Sender::Client, version, client),
            upstream: Peer::new(Sender::Server, version, upstream),
            from_client: Pipe::default(),
            from_upstream: Pipe::default(),
            sent: [up, down],
        }
    }

    fn step(&mut self) {
        let random = &mut self.random;
        let (gate, out) = (&self.stage.gate, &self.stage.out);
        let (up, down) = (out.upstream.len(), out.client.len());
        match random.below(6) {
            0 => self.from_client.bytes.extend(self.client.speak(random)),
            1 => self.from_upstream.bytes.extend(self.upstream.speak(random)),
            2 if self.stage.relay.may_read_client(up, gate) => {
                let bytes = self.from_client.arrive(random);
                let taken = self.stage.client_bytes(bytes);
                assert!(matches!(taken.next, Next::More | Next::Wait), "{taken:?}");
                self.from_client.taken(taken.bytes);
            }
            3 if self.stage.relay.may_read_upstream(down, gate) => {
                let bytes = self.from_upstream.arrive(random);
                let taken = self.stage.upstream_bytes(bytes);
                assert_eq!(taken.next, Next::More);
                self.from_upstream.taken(taken.bytes);
            }
            4 => {
                let count = random.below(up as u64 + 1) as usize;
                let bytes: Vec<u8> = self.stage.out.upstream.drain(..count).collect();
                self.upstream.read(&bytes);
            }
            5 => {
                let count = random.below(down as u64 + 1) as usize;
                let bytes: Vec<u8> = self.stage.out.client.drain(..count).collect();
                self.client.read(&bytes);
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        let (out, ends) = (&self.stage.out, [&self.client, &self.upstream]);
        let quiet = out.client.is_empty() && out.upstream.is_empty();
        let read = self.from_client.bytes.is_empty() && self.from_upstream.bytes.is_empty();
        quiet && read && ends.iter().all(|end| end.is_done())
    }

    fn judge(&self) {
        let [up, down] = &self.sent;
        let numbers = |sent: &[(&str, Qos, u32)], which: &dyn Fn(bool, bool) -> bool| {
            let wanted = |(topic, qos, _): &&(&str, Qos, u32)| {
                which(*topic == ALLOWED, *qos != Qos::AtMostOnce)
            };
            let found: Vec<u32> = sent.iter().filter(wanted).map(|sent| sent.2).collect();
            found
        };
        let v5 = self.stage.version == Version::V5;
        assert_eq!(self.upstream.received, numbers(up, &|allowed, _| allowed));
        assert_eq!(self.client.received, numbers(down, &|allowed, _| allowed));
        let taken = numbers(up, &|allowed, acked| acked && (allowed || !v5));
        assert_eq!(self.client.accepted, taken);
        let refused = numbers(up, &|allowed, acked| acked && !allowed && v5);
        assert_eq!(self.client.refused, refused);
        assert_eq!(self.upstream.accepted, numbers(down, &|_, acked| acked));
        assert_eq!(self.upstream.refused, [0; 0]);
        assert_eq!(self.client.pongs, self.client.pings);
        let refusal = match v5 {
            true => ReasonCode::NotAuthorized,
            false => ReasonCode::UnspecifiedError,
        };
        for codes in &self.client.subacks {
            assert_eq!(codes, &[refusal, ReasonCode::GrantedQos1]);
        }
        let Phase::Open(open) = &self.stage.relay.phase else {
            panic!("it is open");
        };
        let left = [
            open.published.len(),
            open.released.len(),
            open.dropped.len(),
            open.delivered.len(),
            open.held.len(),
            open.asked.len(),
        ];
        assert_eq!(left, [0; 6]);
    }
}

type Script = (Vec<Item>, Vec<(&'static str, Qos, u32)>);

/// What one end sends, and the messages of it.
fn script(side: Sender, version: Version, random: &mut SeededRandom) -> Script {
    let (mut items, mut sent) = (Vec::new(), Vec::new());
    for number in 0..MESSAGES {
        let topic = TOPICS[random.below(4) as usize];
        let mut qos = Qos::new(random.below(3) as u8).unwrap();
        let closes = side == Sender::Client && version == Version::V5 && topic != ALLOWED;
        if closes && qos == Qos::AtMostOnce {
            // There is no milder answer than the end, which has its own tests.
            qos = Qos::AtLeastOnce;
        }
        sent.push((topic, qos, number));
        items.push(Item::Message(topic, qos, number));
        if side == Sender::Client && random.below(5) == 0 {
            items.push(match random.below(2) {
                0 => Item::Ping,
                _ => Item::Subscribe,
            });
        }
    }
    (items, sent)
}

#[test]
fn what_is_allowed_arrives_once_and_in_order_and_nothing_else() {
    let mut waited = 0;
    for version in BOTH {
        for seed in 0..CONVERSATIONS {
            println!("{version:?}, seed {seed}");
            let mut conversation = Conversation::new(version, seed);
            let mut steps = 0;
            while !conversation.is_over() {
                conversation.step();
                steps += 1;
                assert!(steps < 100_000, "it comes to no end");
            }
            conversation.judge();
            waited += conversation.stage.gate.reached.relay_bytes.get();
            waited += conversation.stage.gate.reached.relay_subscribes.get();
        }
    }
    assert!(waited > 0, "the bounds played no part");
}
