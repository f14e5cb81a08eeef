//! Every state and every event of both machines, compared with `states.golden`.
//!
//! To accept a change: `KEYGATE_ACCEPT=1 cargo test -p keygate-protocol login::tests::states`, then read the diff.

use std::format;
use std::path::PathBuf;
use std::string::String;
use std::{env, fs};

use super::*;
use crate::login::CHALLENGE_LIFE_MS;
use crate::login::broker::{Proven, Refusal};
use crate::login::device::{AwaitConfirmation, Challenged, DeviceError};

/// What a machine made of an event: the next state, or why not. `None`: the state has no such transition, so the event
/// cannot even be handed to it.
type Outcome = Option<Result<&'static str, String>>;

/// A name, and how to get there.
type State<S> = (&'static str, fn() -> S);

fn refused<T, E: core::fmt::Debug>(next: &'static str, result: Result<T, E>) -> Outcome {
    Some(result.map(|_| next).map_err(|error| format!("{error:?}")))
}

// --- device ---

enum Device {
    Configured(device::Login<'static>),
    AwaitChallenge(AwaitChallenge<'static>),
    Challenged(Challenged<'static>),
    AwaitConfirmation(AwaitConfirmation<'static>),
}

#[derive(Clone, Copy)]
enum DeviceEvent {
    Open,
    Read(fn() -> Vec<u8>),
    Answer(Option<[u8; 32]>, Tool),
    Confirm(fn() -> Option<Vec<u8>>),
}

#[derive(Clone, Copy)]
enum Tool {
    Right,
    OtherKey,
    Broken,
}

fn unpinned() -> device::Login<'static> {
    let client_id = ClientId::new("dev1").unwrap();
    device::Login::new(client_id, id(BROKER_ID), device_key().key_id())
}

const DEVICE_STATES: &[State<Device>] = &[
    ("Login", || Device::Configured(login())),
    ("AwaitChallenge", || {
        Device::AwaitChallenge(challenged(login(), |_| ()).0)
    }),
    ("Challenged", || Device::Challenged(challenge_read(login()))),
    ("Challenged, bound to TLS", || {
        Device::Challenged(challenge_read(login().bind_to_tls()))
    }),
    ("AwaitConfirmation, key pinned", || {
        Device::AwaitConfirmation(answered(login(), |_| ()).0)
    }),
    ("AwaitConfirmation, no key pinned", || {
        Device::AwaitConfirmation(answered(unpinned(), |_| ()).0)
    }),
];

fn challenge_read(login: device::Login<'static>) -> Challenged<'static> {
    let (device, _, challenge) = challenged(login, |_| ());
    device.read(&challenge).unwrap()
}

fn good_challenge() -> Vec<u8> {
    challenged(login(), |_| ()).2.to_vec()
}

fn good_confirmation() -> Vec<u8> {
    let (_, broker, proof) = answered(login(), |_| ());
    let key = device_key().public_key();
    let proven = broker.verify(proof.as_bytes(), &key, None, START).unwrap();
    proven
        .sign_confirmation(&mut broker_key())
        .unwrap()
        .as_bytes()
        .to_vec()
}

const DEVICE_EVENTS: &[(&str, DeviceEvent)] = &[
    ("open", DeviceEvent::Open),
    ("challenge", DeviceEvent::Read(good_challenge)),
    (
        "challenge of another broker",
        DeviceEvent::Read(|| {
            challenged(login(), |context| context.broker_id = id("kg-000000"))
                .2
                .to_vec()
        }),
    ),
    ("challenge, empty", DeviceEvent::Read(Vec::new)),
    (
        "challenge, cut",
        DeviceEvent::Read(|| good_challenge()[..44].to_vec()),
    ),
    (
        "challenge and a byte",
        DeviceEvent::Read(|| [&good_challenge()[..], &[0]].concat()),
    ),
    (
        "challenge, short nonce",
        DeviceEvent::Read(|| [&[0x82, 0x58, 0x1f], &good_challenge()[4..]].concat()),
    ),
    (
        "challenge, long head",
        DeviceEvent::Read(|| [&[0x82, 0x59, 0, 0x20], &good_challenge()[3..]].concat()),
    ),
    (
        "challenge, third item",
        DeviceEvent::Read(|| [&[0x83], &good_challenge()[1..], &[0]].concat()),
    ),
    (
        "challenge without a name",
        DeviceEvent::Read(|| [&good_challenge()[..35], &[0x60]].concat()),
    ),
    ("answer", DeviceEvent::Answer(None, Tool::Right)),
    (
        "answer with exporter value",
        DeviceEvent::Answer(Some(EXPORTER), Tool::Right),
    ),
    (
        "answer with another key",
        DeviceEvent::Answer(None, Tool::OtherKey),
    ),
    (
        "answer with exporter value and another key",
        DeviceEvent::Answer(Some(EXPORTER), Tool::OtherKey),
    ),
    (
        "answer with a broken signer",
        DeviceEvent::Answer(None, Tool::Broken),
    ),
    (
        "answer with exporter value and a broken signer",
        DeviceEvent::Answer(Some(EXPORTER), Tool::Broken),
    ),
    (
        "confirmation",
        DeviceEvent::Confirm(|| Some(good_confirmation())),
    ),
    ("confirmation without proof", DeviceEvent::Confirm(|| None)),
    (
        "confirmation, empty proof",
        DeviceEvent::Confirm(|| Some(Vec::new())),
    ),
    (
        "confirmation, cut proof",
        DeviceEvent::Confirm(|| Some(good_confirmation()[..63].to_vec())),
    ),
    (
        "confirmation, long proof",
        DeviceEvent::Confirm(|| Some([&good_confirmation()[..], &[0]].concat())),
    ),
    (
        "confirmation, altered proof",
        DeviceEvent::Confirm(|| {
            let mut bytes = good_confirmation();
            bytes[0] ^= 1;
            Some(bytes)
        }),
    ),
    (
        "confirmation, own proof reflected",
        DeviceEvent::Confirm(|| Some(answered(login(), |_| ()).2.as_bytes().to_vec())),
    ),
];

fn device_outcome(state: Device, event: DeviceEvent) -> Outcome {
    match (state, event) {
        (Device::Configured(login), DeviceEvent::Open) => {
            let _ = login.open(CLIENT_NONCE, opening());
            Some(Ok("AwaitChallenge"))
        }
        (Device::AwaitChallenge(state), DeviceEvent::Read(bytes)) => {
            refused("Challenged", state.read(&bytes()))
        }
        (Device::Challenged(state), DeviceEvent::Answer(value, tool)) => {
            refused("AwaitConfirmation", answer(state, value.as_ref(), tool))
        }
        (Device::AwaitConfirmation(state), DeviceEvent::Confirm(bytes)) => {
            match state.confirm(bytes().as_deref()) {
                Ok(done) if done.broker_proved() => Some(Ok("Confirmed, broker proved")),
                result => refused("Confirmed", result),
            }
        }
        _ => None,
    }
}

fn answer(state: Challenged<'_>, value: Option<&[u8; 32]>, tool: Tool) -> Result<(), DeviceError> {
    match tool {
        Tool::Right => state.answer(value, &mut device_key()).map(|_| ()),
        Tool::OtherKey => state.answer(value, &mut other_key()).map(|_| ()),
        Tool::Broken => state
            .answer(value, &mut Broken(device_key().key_id()))
            .map(|_| ()),
    }
}

// --- broker ---

enum Broker {
    Listening(BindingPolicy),
    AwaitProof(AwaitProof),
    Proven(Proven),
}

#[derive(Clone, Copy)]
enum BrokerEvent {
    /// Authentication Data, client id.
    Open(fn() -> Vec<u8>, &'static str),
    /// Authentication Data, whose key was found, exporter value, milliseconds after the challenge.
    Proof(fn() -> Vec<u8>, Found, Option<[u8; 32]>, u64),
    Confirm(Tool),
}

#[derive(Clone, Copy)]
enum Found {
    Key,
    OtherKey,
    Nobody,
}

fn proven(login: device::Login<'static>) -> Proven {
    let (_, broker, proof) = answered(login, |_| ());
    broker
        .verify(proof.as_bytes(), &device_key().public_key(), None, START)
        .unwrap()
}

const BROKER_STATES: &[State<Broker>] = &[
    ("Listening, binding optional", || {
        Broker::Listening(BindingPolicy::Optional)
    }),
    ("Listening, binding required", || {
        Broker::Listening(BindingPolicy::Exporter)
    }),
    ("Listening, binding unavailable", || {
        Broker::Listening(BindingPolicy::None)
    }),
    ("AwaitProof", || {
        Broker::AwaitProof(challenged(login(), |_| ()).1)
    }),
    ("AwaitProof, bound to TLS", || {
        Broker::AwaitProof(challenged(login().bind_to_tls(), |_| ()).1)
    }),
    ("Proven, broker proof wanted", || {
        Broker::Proven(proven(login()))
    }),
    ("Proven, no broker proof wanted", || {
        Broker::Proven(proven(unpinned()))
    }),
];

fn open_of(login: device::Login<'static>) -> Vec<u8> {
    login.open(CLIENT_NONCE, opening()).1.to_vec()
}

fn good_open() -> Vec<u8> {
    open_of(login())
}

fn good_proof() -> Vec<u8> {
    answered(login(), |_| ()).2.as_bytes().to_vec()
}

fn bound_proof() -> Vec<u8> {
    answered(login().bind_to_tls(), |_| ())
        .2
        .as_bytes()
        .to_vec()
}

const BROKER_EVENTS: &[(&str, BrokerEvent)] = &[
    ("open", BrokerEvent::Open(good_open, "dev1")),
    (
        "open, bound to TLS",
        BrokerEvent::Open(|| open_of(login().bind_to_tls()), "dev1"),
    ),
    (
        "open, no broker proof wanted",
        BrokerEvent::Open(|| open_of(unpinned()), "dev1"),
    ),
    (
        "open, unknown broker key",
        BrokerEvent::Open(|| open_of(login().pin(other_key().public_key())), "dev1"),
    ),
    ("open, empty", BrokerEvent::Open(Vec::new, "dev1")),
    (
        "open, cut",
        BrokerEvent::Open(|| good_open()[..37].to_vec(), "dev1"),
    ),
    (
        "open and a byte",
        BrokerEvent::Open(|| [&good_open()[..], &[0]].concat(), "dev1"),
    ),
    (
        "open, version 2",
        BrokerEvent::Open(|| [&[0x85, 2], &good_open()[2..]].concat(), "dev1"),
    ),
    (
        "open, binding 2",
        BrokerEvent::Open(|| [&good_open()[..37], &[2]].concat(), "dev1"),
    ),
    (
        "open, short nonce",
        BrokerEvent::Open(|| [&[0x85, 1, 0x4f], &good_open()[4..]].concat(), "dev1"),
    ),
    ("open without client id", BrokerEvent::Open(good_open, "")),
    ("proof", BrokerEvent::Proof(good_proof, Found::Key, None, 0)),
    (
        "proof with exporter value",
        BrokerEvent::Proof(bound_proof, Found::Key, Some(EXPORTER), 0),
    ),
    (
        "proof, other exporter value",
        BrokerEvent::Proof(bound_proof, Found::Key, Some([0x34; 32]), 0),
    ),
    (
        "proof at the last millisecond",
        BrokerEvent::Proof(good_proof, Found::Key, None, CHALLENGE_LIFE_MS - 1),
    ),
    (
        "proof at the deadline",
        BrokerEvent::Proof(good_proof, Found::Key, None, CHALLENGE_LIFE_MS),
    ),
    (
        "proof, key unknown",
        BrokerEvent::Proof(good_proof, Found::Nobody, None, 0),
    ),
    (
        "proof, key unknown, with exporter value",
        BrokerEvent::Proof(bound_proof, Found::Nobody, Some(EXPORTER), 0),
    ),
    (
        "proof, another key found",
        BrokerEvent::Proof(good_proof, Found::OtherKey, None, 0),
    ),
    (
        "proof, empty",
        BrokerEvent::Proof(Vec::new, Found::Key, None, 0),
    ),
    (
        "proof, cut",
        BrokerEvent::Proof(|| good_proof()[..63].to_vec(), Found::Key, None, 0),
    ),
    (
        "proof and a byte",
        BrokerEvent::Proof(|| [&good_proof()[..], &[0]].concat(), Found::Key, None, 0),
    ),
    (
        "proof, altered",
        BrokerEvent::Proof(
            || {
                let mut bytes = good_proof();
                bytes[0] ^= 1;
                bytes
            },
            Found::Key,
            None,
            0,
        ),
    ),
    (
        "proof of another connection",
        BrokerEvent::Proof(
            || {
                answered(login(), |context| context.broker_nonce = [0x23; 32])
                    .2
                    .as_bytes()
                    .to_vec()
            },
            Found::Key,
            None,
            0,
        ),
    ),
    (
        "proof, broker's own reflected",
        BrokerEvent::Proof(good_confirmation, Found::Key, None, 0),
    ),
    ("confirm", BrokerEvent::Confirm(Tool::Right)),
    (
        "confirm with another key",
        BrokerEvent::Confirm(Tool::OtherKey),
    ),
    (
        "confirm with a broken signer",
        BrokerEvent::Confirm(Tool::Broken),
    ),
];

fn broker_outcome(state: Broker, event: BrokerEvent) -> Outcome {
    match (state, event) {
        (Broker::Listening(binding), BrokerEvent::Open(bytes, client_id)) => {
            let key_ids = [broker_key().key_id()];
            let arrived = ChallengeContext {
                binding,
                client_id,
                ..context(&key_ids)
            };
            refused("AwaitProof", broker::challenge(&bytes(), &arrived))
        }
        (Broker::AwaitProof(state), BrokerEvent::Proof(bytes, found, value, after_ms)) => refused(
            "Proven",
            prove(state, &bytes(), found, value.as_ref(), START.plus(after_ms)),
        ),
        (Broker::Proven(state), BrokerEvent::Confirm(tool)) => {
            let result = match tool {
                Tool::Right => state.sign_confirmation(&mut broker_key()),
                Tool::OtherKey => state.sign_confirmation(&mut other_key()),
                Tool::Broken => state.sign_confirmation(&mut Broken(broker_key().key_id())),
            };
            refused("Proven (64 bytes for CONNACK)", result)
        }
        _ => None,
    }
}

fn prove(
    state: AwaitProof,
    bytes: &[u8],
    found: Found,
    value: Option<&[u8; 32]>,
    now: Millis,
) -> Result<(), Refusal> {
    match found {
        Found::Key => state
            .verify(bytes, &device_key().public_key(), value, now)
            .map(|_| ()),
        Found::OtherKey => state
            .verify(bytes, &other_key().public_key(), value, now)
            .map(|_| ()),
        Found::Nobody => Err(state.verify_unknown(bytes, value, now)),
    }
}

// --- printing ---

fn print_machine<S, E: Copy>(
    name: &str,
    states: &[State<S>],
    events: &[(&str, E)],
    outcome: fn(S, E) -> Outcome,
) -> String {
    let mut text = format!("{name}\n");
    for (state, make) in states {
        text += &format!("\n  {state}\n");
        let mut impossible = Vec::new();
        for (label, event) in events {
            match outcome(make(), *event) {
                Some(Ok(next)) => text += &format!("    {label:<48} -> {next}\n"),
                Some(Err(error)) => text += &format!("    {label:<48} !! {error}\n"),
                None => impossible.push(label.split([' ', ',']).next().unwrap_or(label)),
            }
        }
        impossible.dedup();
        text += &format!("    no transition for any: {}\n", impossible.join(", "));
    }
    text
}

#[test]
fn every_state_meets_every_event_as_the_golden_file_says() {
    let printed = format!(
        "kg-ed25519: what each state makes of each event. `->` the next state, `!!` the end, by this error.\n\n{}\n{}",
        print_machine("device", DEVICE_STATES, DEVICE_EVENTS, device_outcome),
        print_machine("broker", BROKER_STATES, BROKER_EVENTS, broker_outcome),
    );
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/login/tests/states.golden");
    if env::var_os("KEYGATE_ACCEPT").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (ours, theirs) in printed.lines().zip(golden.lines()) {
        assert_eq!(ours, theirs, "KEYGATE_ACCEPT=1 accepts the change");
    }
    assert_eq!(printed.lines().count(), golden.lines().count());
}
