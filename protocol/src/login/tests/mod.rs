//! `vectors`: byte for byte · `refusals`: one test for each thing that must not work · `states`: every state and event,
//! as a golden file · `pair`: both ends under virtual time with faults · `properties`: decoders and encoders.

mod pair;
mod properties;
mod refusals;
mod states;
mod vectors;

use std::vec::Vec;

use super::broker::{self, AwaitProof, ChallengeContext};
use super::{
    AuthData, Binding, BindingPolicy, ClientId, Opening,
    device::{self, AwaitChallenge},
};
use crate::crypto::{Signable, Signature, Signer, SignerFault, SoftwareSigner};
use crate::ident::{Id, KeyId};
use crate::time::Millis;
use crate::vectors::{BROKER_SEED, DEVICE_SEED};

const BROKER_ID: &str = "kg-7f3a9c";
const CLIENT_NONCE: [u8; 16] = [0x11; 16];
const BROKER_NONCE: [u8; 32] = [0x22; 32];
const EXPORTER: [u8; 32] = [0x33; 32];
const START: Millis = Millis(1_000);

fn device_key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&DEVICE_SEED)
}

fn broker_key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&BROKER_SEED)
}

fn other_key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&[0x55; 32])
}

fn id(text: &str) -> Id<'_> {
    Id::new(text).expect("a test names good ids")
}

fn opening() -> Opening {
    Opening::connect(true, 0, None)
}

/// A pinned login of `dev1`, unbound.
fn login() -> device::Login<'static> {
    let client_id = ClientId::new("dev1").expect("a good client id");
    device::Login::new(client_id, id(BROKER_ID), device_key().key_id())
        .pin(broker_key().public_key())
}

/// Where that login arrives: a listener that takes what devices want, on a broker with one identity key.
fn context(broker_key_ids: &[KeyId]) -> ChallengeContext<'_> {
    ChallengeContext {
        client_id: "dev1",
        broker_id: id(BROKER_ID),
        broker_key_ids,
        opening: opening(),
        binding: BindingPolicy::Optional,
        broker_nonce: BROKER_NONCE,
        now: START,
    }
}

/// Both ends after the challenge went out.
fn challenged(
    login: device::Login<'static>,
    change: impl FnOnce(&mut ChallengeContext<'_>),
) -> (AwaitChallenge<'static>, AwaitProof, AuthData) {
    let (device, open) = login.open(CLIENT_NONCE, opening());
    let key_ids = [broker_key().key_id()];
    let mut context = context(&key_ids);
    change(&mut context);
    let (broker, challenge) = broker::challenge(&open, &context).expect("a good open");
    (device, broker, challenge)
}

/// Both ends after the proof was made.
fn answered(
    login: device::Login<'static>,
    change: impl FnOnce(&mut ChallengeContext<'_>),
) -> (device::AwaitConfirmation<'static>, AwaitProof, Signature) {
    let (device, broker, challenge) = challenged(login, change);
    let device = device.read(&challenge).expect("a good challenge");
    let exporter = device.exporter_context().map(|_| EXPORTER);
    let (device, proof) = device
        .answer(exporter.as_ref(), &mut device_key())
        .expect("a good signer");
    (device, broker, proof)
}

/// A signer that claims a key it does not hold.
struct Impostor {
    claimed: KeyId,
    key: SoftwareSigner,
}

impl Signer for Impostor {
    fn key_id(&self) -> KeyId {
        self.claimed
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        self.key.sign(message)
    }
}

/// A secure element that does not answer.
struct Broken(KeyId);

impl Signer for Broken {
    fn key_id(&self) -> KeyId {
        self.0
    }

    fn sign(&mut self, _: &Signable<'_>) -> Result<Signature, SignerFault> {
        Err(SignerFault)
    }
}

/// Every way to spoil bytes by cutting, by adding, and by flipping one bit.
fn spoiled(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let cut = (0..good.len()).map(|len| good[..len].to_vec());
    let longer = [0x00, 0xff, 0xf6].map(|byte| [good, &[byte]].concat());
    let flipped = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    cut.chain(longer).chain(flipped)
}

fn binding_of(number: u64) -> Binding {
    match number {
        0 => Binding::None,
        _ => Binding::Exporter,
    }
}
