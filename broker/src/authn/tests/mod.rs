//! Every refusal is held to its reason, its two codes, and to leaving no trace.
mod anonymous;
mod assertion;
mod client_ids;
mod kg_ed25519;
mod later;
mod shape;

use super::*;
use crate::identity::{DeviceKey, DeviceState, MemoryStore, NewDevice, Registry, Transition};
use crate::rng::SeededRandom;
use base64ct::{Base64UrlUnpadded, Encoding};
use keygate_protocol::crypto::{PublicKey, Signable, Signer, SoftwareSigner};
use keygate_protocol::mqtt::{Connect, Version};
use keygate_protocol::time::{Millis, UnixTime};
use std::sync::Arc;

pub(super) const NOW: Millis = Millis(5_000_000);
pub(super) const WALL: UnixTime = UnixTime(1_900_000_000);
/// The broker has run for an hour.
pub(super) const STARTED: UnixTime = UnixTime(WALL.0 - 3_600);
pub(super) const BROKER: &str = "kg-7f3a9c";

/// A signer for key number `n`.
pub(super) fn key(n: u8) -> SoftwareSigner {
    SoftwareSigner::from_seed(&[n; 32])
}

pub(super) fn public(n: u8) -> PublicKey {
    key(n).public_key()
}

/// The broker's identity keys.
pub(super) const CURRENT: u8 = 201;
pub(super) const NEXT: u8 = 202;

/// A broker and everybody who is enrolled there:
///
/// | id | key | |
/// |---|---|---|
/// | dev-1 | 1 | active |
/// | dev-2 | 2, 3 | active, two keys |
/// | dev-pending, -suspended, -revoked | 4, 5, 6 | |
/// | dev-expired, dev-early | 7, 8 | active, the key is not valid now |
/// | dev-ends | 9 | active, the key ends in 100 s |
pub(super) struct House {
    pub(super) registry: Registry,
    pub(super) authn: Authn,
    pub(super) challenges: Arc<ChallengeKeys>,
    pub(super) random: SeededRandom,
}

pub(super) fn house() -> House {
    house_with(|_| {})
}

pub(super) fn house_with(change: impl FnOnce(&mut AuthnConfig)) -> House {
    let mut random = SeededRandom::new(1);
    let registry = Registry::new(MemoryStore::new(), &mut random).unwrap();
    enrol(&registry);
    let challenges = Arc::new(ChallengeKeys::new(BROKER, &mut random));
    let mut config = AuthnConfig {
        broker_id: BROKER.into(),
        broker_id_aliases: ["kg-old".into()].into(),
        identity: [key(CURRENT), key(NEXT)].into(),
        directory: registry.directory(),
        challenges: Arc::clone(&challenges),
        started: STARTED,
        session_max_s: None,
        replay: ReplayBounds::default(),
    };
    change(&mut config);
    House {
        authn: Authn::new(config).unwrap(),
        registry,
        challenges,
        random,
    }
}

fn enrol(registry: &Registry) {
    let add = |id: &str, keys: &[DeviceKey], state: DeviceState| {
        let mut new = NewDevice::new(id, keys[0].public);
        new.keys = keys.to_vec();
        new.state = state;
        registry.add(&new).unwrap();
    };
    let plain = |n| DeviceKey::new(public(n));
    let between = |n, not_before, not_after| DeviceKey {
        not_before,
        not_after,
        ..plain(n)
    };
    add("dev-1", &[plain(1)], DeviceState::Active);
    add("dev-2", &[plain(2), plain(3)], DeviceState::Active);
    add("dev-pending", &[plain(4)], DeviceState::Pending);
    add("dev-suspended", &[plain(5)], DeviceState::Active);
    add("dev-revoked", &[plain(6)], DeviceState::Active);
    add(
        "dev-expired",
        &[between(7, None, Some(WALL))],
        DeviceState::Active,
    );
    add(
        "dev-early",
        &[between(8, Some(WALL.plus(1)), None)],
        DeviceState::Active,
    );
    add(
        "dev-ends",
        &[between(9, None, Some(WALL.plus(100)))],
        DeviceState::Active,
    );
    registry
        .transition("dev-suspended", Transition::Suspend)
        .unwrap();
    registry
        .transition("dev-revoked", Transition::Revoke)
        .unwrap();
}

impl House {
    pub(super) fn begin(&mut self, connect: &Connect<'_>, listener: &ListenerRules) -> Begin {
        self.begin_at(connect, listener, NOW, WALL)
    }

    pub(super) fn begin_at(
        &mut self,
        connect: &Connect<'_>,
        listener: &ListenerRules,
        now: Millis,
        wall: UnixTime,
    ) -> Begin {
        let attempted = Attempted {
            connect,
            listener,
            peer: "192.0.2.1:50000".parse().unwrap(),
            now,
            wall,
        };
        self.authn.begin(&attempted, &mut self.random)
    }

    pub(super) fn decide(
        &mut self,
        connect: &Connect<'_>,
        listener: &ListenerRules,
    ) -> Result<Accepted, Refusal> {
        decided(self.begin(connect, listener))
    }

    pub(super) fn challenge_text(&mut self) -> String {
        self.challenges.issue(NOW, &mut self.random)
    }
}

pub(super) fn decided(begin: Begin) -> Result<Accepted, Refusal> {
    match begin {
        Begin::Decided(result) => result,
        Begin::Challenge { .. } => panic!("a challenge instead of a decision"),
    }
}

/// What the two versions of MQTT say of a reason: written out here a second time, because this is the contract.
pub(super) fn codes(reason: RefusalReason) -> (u8, u8) {
    use RefusalReason as R;
    match reason {
        R::ClientIdNotOwn | R::SessionNotOwn => (0x85, 2),
        R::DataMalformed => (0x82, 3),
        R::MethodChanged | R::MethodUnknown => (0x8c, 5),
        R::ReplayMemoryFull | R::SessionsFull | R::StoreFull => (0x97, 3),
        R::BrokerFault => (0x88, 3),
        _ => (0x87, 5),
    }
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Refusal>,
    reason: RefusalReason,
    identity: Option<&str>,
    what: &str,
) {
    let refusal = answer.expect_err(what);
    assert_eq!(refusal.reason, reason, "{what}");
    let on_wire = (refusal.code.value(), refusal.return_code.value());
    assert_eq!(on_wire, codes(reason), "{what}");
    assert_eq!(refusal.identity.as_deref(), identity, "{what}");
}

/// A JWS of any header and claims, signed all the same.
pub(super) fn jws(header: &str, claims: &str, signer: &mut SoftwareSigner) -> String {
    let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    let input = format!("{}.{}", encode(header), encode(claims));
    let message = Signable::jws_input(input.as_bytes()).unwrap();
    let signature = signer.sign(&message).unwrap();
    format!(
        "{input}.{}",
        Base64UrlUnpadded::encode_string(signature.as_bytes())
    )
}

/// A 3.1.1 CONNECT with a password, as most clients send it.
pub(super) fn with_password<'a>(id: &'a str, password: &'a str) -> Connect<'a> {
    Connect {
        username: Some(id),
        password: Some(password.as_bytes()),
        ..Connect::new(Version::V311, id)
    }
}
