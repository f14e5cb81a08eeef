//! Devices and one broker in one thread, under virtual time, with an adversary on the wire who drops, repeats, alters,
//! cuts, lengthens, replays, reflects, redirects and delays messages, and edits what a CONNECT asks for.
//!
//! `KEYGATE_SEED=n cargo test -p keygate-protocol login::tests::pair` runs one seed; a failure names its seed.

mod invariants;
mod world;

use std::collections::BTreeMap;
use std::string::String;
use std::{env, eprintln, format, thread};

use super::*;
use crate::crypto::PublicKey;
use crate::login::broker::Refusal;
use crate::login::device::{AwaitConfirmation, DeviceError};
use crate::login::{CHALLENGE_LIFE_MS, Open, Role, Transcript};
use invariants::INVARIANTS;

const SEEDS: u64 = 1_500;

/// Messages of a world: each connection sends at most four, each fault adds at most one.
const STEPS_MAX: usize = 200;

#[test]
fn whatever_happens_on_the_wire_the_invariants_hold() {
    let one = env::var("KEYGATE_SEED")
        .ok()
        .map(|text| text.parse().expect("KEYGATE_SEED is a number"));
    let seeds = one.map_or(0..SEEDS, |seed| seed..seed + 1);
    let mut seen = Totals::default();
    for seed in seeds {
        let _named = Named(seed);
        let mut world = World::new(seed);
        world.run();
        for invariant in INVARIANTS {
            if let Err(violation) = invariant(&world) {
                panic!("seed {seed}: {violation}");
            }
        }
        seen.count(&world);
    }
    if one.is_none() {
        seen.assert_that_everything_happened();
    }
}

/// Names the seed of a panic that no invariant raised.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("KEYGATE_SEED={}", self.0);
        }
    }
}

struct Rng(u64);

impl Rng {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next() as u8)
    }
}

/// Remembers what it signed.
struct Recorder {
    claimed: KeyId,
    key: SoftwareSigner,
    signed: Vec<Vec<u8>>,
}

impl Recorder {
    fn new(seed: [u8; 32]) -> Self {
        let key = SoftwareSigner::from_seed(&seed);
        Self {
            claimed: key.key_id(),
            key,
            signed: Vec::new(),
        }
    }
}

impl Signer for Recorder {
    fn key_id(&self) -> KeyId {
        self.claimed
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        self.signed.push(message.as_bytes().to_vec());
        self.key.sign(message)
    }
}

struct Person {
    client_id: &'static str,
    key: Recorder,
    /// Holds the key that it claims.
    honest: bool,
    known: bool,
}

impl Person {
    fn enrolled(&self) -> bool {
        self.honest && self.known
    }
}

/// One end's view of a login, to say what that end must have signed or believed.
#[derive(Clone, Eq, PartialEq)]
struct View {
    client_id: String,
    open: Open,
    broker_nonce: [u8; 32],
    binding_value: Option<[u8; 32]>,
    opening: Opening,
}

impl View {
    fn message(&self, role: Role) -> Vec<u8> {
        let transcript = Transcript {
            broker_id: id(BROKER_ID),
            client_id: ClientId::new(&self.client_id).expect("it was one"),
            open: &self.open,
            broker_nonce: &self.broker_nonce,
            binding_value: self.binding_value.as_ref(),
            opening: &self.opening,
        };
        transcript.to_be_signed(role).signable().as_bytes().to_vec()
    }
}

struct Link {
    person: usize,
    pinned: bool,
    /// What the TLS exporter gives on this connection; the same at both ends.
    exporter: Option<[u8; 32]>,
    client: Client,
    server: Server,
    /// The adversary touched it.
    disturbed: bool,
    /// What the device thinks it said and heard.
    believed: Option<View>,
    /// What the broker thinks it heard and said.
    heard: Option<View>,
}

#[derive(Debug)]
enum Client {
    AwaitChallenge(AwaitChallenge<'static>),
    AwaitConfirmation(AwaitConfirmation<'static>),
    Confirmed { broker_proved: bool },
    Left(Option<DeviceError>),
}

#[derive(Debug)]
enum Server {
    Fresh,
    AwaitProof(std::boxed::Box<AwaitProof>, Millis),
    Accepted,
    Closed(Option<Refusal>),
}

struct Accepted {
    connection: usize,
    proof: Vec<u8>,
    /// The broker's view of this login.
    view: View,
    challenged_at: Millis,
    at: Millis,
}

#[derive(Clone)]
enum Message {
    /// CONNECT: the parts that a proof covers, and the Authentication Data.
    Connect {
        client_id: String,
        opening: Opening,
        data: Vec<u8>,
    },
    /// AUTH 18 to the broker.
    Proof(Vec<u8>),
    /// AUTH 18 to the device.
    Challenge(Vec<u8>),
    /// CONNACK 00.
    Connack(Option<Vec<u8>>),
}

impl Message {
    fn data_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Connect { data, .. } | Self::Proof(data) | Self::Challenge(data) => Some(data),
            Self::Connack(data) => data.as_mut(),
        }
    }
}

struct World {
    rng: Rng,
    hostile: bool,
    people: Vec<Person>,
    registered: BTreeMap<KeyId, PublicKey>,
    identity: Recorder,
    links: Vec<Link>,
    /// On the wire: when it arrives, a number that keeps the order, where.
    wire: BTreeMap<(Millis, u64), (usize, Message)>,
    sent: u64,
    /// All data that ever was on the wire: what a replaying adversary holds.
    overheard: Vec<Vec<u8>>,
    accepted: Vec<Accepted>,
    faults: [u32; FAULTS],
}

const FAULTS: usize = 10;

/// What all seeds together have shown: a simulation in which nothing happens proves nothing.
#[derive(Default)]
struct Totals {
    faults: [u32; FAULTS],
    accepted: usize,
    refusals: BTreeMap<String, u32>,
}

impl Totals {
    fn count(&mut self, world: &World) {
        self.accepted += world.accepted.len();
        for (total, count) in self.faults.iter_mut().zip(world.faults) {
            *total += count;
        }
        for link in &world.links {
            let name = match (&link.server, &link.client) {
                (Server::Closed(Some(refusal)), _) => format!("{refusal:?}"),
                (_, Client::Left(Some(error))) => format!("{error:?}"),
                _ => continue,
            };
            *self.refusals.entry(name).or_default() += 1;
        }
    }

    fn assert_that_everything_happened(&self) {
        assert!(self.accepted > 500, "{}", self.accepted);
        assert!(
            self.faults.iter().all(|count| *count > 30),
            "{:?}",
            self.faults
        );
        for name in [
            "BadSignature",
            "ChallengeExpired",
            "KeyUnknown",
            "ProofLength",
            "OtherBroker",
            "BrokerProofBad",
            "BrokerProofMissing",
            "BrokerProofUnasked",
        ] {
            assert!(
                self.refusals.contains_key(name),
                "{name} never happened: {:?}",
                self.refusals
            );
        }
    }
}
