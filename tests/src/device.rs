//! A device: an id, a key, and what it takes to log in, honestly or not.
use std::sync::atomic::{AtomicU64, Ordering};

use base64ct::{Base64UrlUnpadded, Encoding};
use keygate_broker::clock::{Clock, SystemClock};
use keygate_broker::identity::NewDevice;
use keygate_broker::rng::{Random, SystemRandom};
use keygate_protocol::assertion::{Assertion, Freshness};
use keygate_protocol::crypto::{PublicKey, Signable, Signature, Signer, SoftwareSigner};
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::login::{
    AuthData, Binding, Challenge, ClientId, METHOD, Open, Opening, Role, Transcript,
};
use keygate_protocol::mqtt::{
    Auth, Connect, MessageProperties, Packet, Qos, ReasonCode, Version, Will,
};
use keygate_protocol::time::UnixTime;

use crate::bytes::{encoded, hex};

/// How long the assertions of these tests live.
pub const ASSERTION_LIFE_S: u64 = 240;

/// A device and its private key.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its groups, for enrolment.
    pub groups: Vec<String>,
    /// Its roles, for enrolment.
    pub roles: Vec<String>,
    seed: [u8; 32],
}

impl Device {
    /// A device with a fresh key.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let mut seed = [0; 32];
        SystemRandom.fill(&mut seed);
        Self {
            id: id.into(),
            groups: Vec::new(),
            roles: vec!["device".into()],
            seed,
        }
    }

    /// The same device in a group.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        self.groups.push(group.into());
        self
    }

    /// The same device with this role and no other.
    #[must_use]
    pub fn with_role(mut self, role: &str) -> Self {
        self.roles = vec![role.into()];
        self
    }

    /// Somebody who claims the same id and holds another key.
    #[must_use]
    pub fn impostor(&self) -> Self {
        Self {
            id: self.id.clone(),
            ..Self::new(&self.id)
        }
    }

    /// The private key.
    #[must_use]
    pub fn signer(&self) -> SoftwareSigner {
        SoftwareSigner::from_seed(&self.seed)
    }

    /// The seed of the private key, as the Python peers take it.
    #[must_use]
    pub fn seed_hex(&self) -> String {
        hex(&self.seed)
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.signer().public_key()
    }

    /// Its key id.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.public_key().key_id()
    }

    /// What an operator enrols.
    #[must_use]
    pub fn enrolment(&self) -> NewDevice {
        NewDevice {
            roles: self.roles.clone(),
            groups: self.groups.clone(),
            ..NewDevice::new(&self.id, self.public_key())
        }
    }

    /// Its own topic with this rest.
    #[must_use]
    pub fn topic(&self, rest: &str) -> String {
        format!("devices/{}/{rest}", self.id)
    }

    /// An honest assertion with times.
    ///
    /// # Panics
    /// When the ids are none.
    #[must_use]
    pub fn assertion(&self, broker_id: &str) -> String {
        let now = wall();
        self.asserting(
            broker_id,
            Freshness::Times {
                issued_at: UnixTime(now),
                expires_at: UnixTime(now + ASSERTION_LIFE_S),
                jti: &fresh_jti(),
            },
        )
    }

    /// An assertion that is fresh for this reason.
    ///
    /// # Panics
    /// When the ids are none, or the reason is not well-formed.
    #[must_use]
    pub fn asserting(&self, broker_id: &str, freshness: Freshness<'_>) -> String {
        let assertion = Assertion {
            id: Id::new(&self.id).expect("an id"),
            broker_id: Id::new(broker_id).expect("an id"),
            client_id: None,
            freshness,
        };
        let text = assertion.sign(&mut self.signer()).expect("it signs");
        text.as_str().to_owned()
    }

    /// A JWS with any header and any claims, signed by the device's key.
    ///
    /// # Panics
    /// When it is too short to be signed.
    #[must_use]
    pub fn jws(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        let part = |value: &serde_json::Value| {
            Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
        };
        let input = format!("{}.{}", part(header), part(claims));
        let message = Signable::jws_input(input.as_bytes()).expect("long enough");
        let signature = self.signer().sign(&message).expect("it signs");
        let signature = Base64UrlUnpadded::encode_string(signature.as_bytes());
        format!("{input}.{signature}")
    }

    /// The header of an honest assertion.
    #[must_use]
    pub fn assertion_header(&self) -> serde_json::Value {
        serde_json::json!({"alg": "Ed25519", "typ": "keygate-login+jwt", "kid": self.key_id().to_string()})
    }

    /// The claims of an honest assertion with times.
    #[must_use]
    pub fn assertion_claims(&self, broker_id: &str) -> serde_json::Value {
        let now = wall();
        serde_json::json!({
            "iss": self.id, "sub": self.id, "aud": broker_id,
            "iat": now, "exp": now + ASSERTION_LIFE_S, "jti": fresh_jti(),
        })
    }
}

/// The time of day, in seconds.
#[must_use]
pub fn wall() -> u64 {
    SystemClock::start().wall().0
}

/// A `jti` that was not used before.
#[must_use]
pub fn fresh_jti() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t-{}-{number}", std::process::id())
}

/// A will, as a test asks for it.
#[derive(Clone, Debug)]
pub struct WillWanted {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether it is retained.
    pub retain: bool,
}

impl WillWanted {
    /// A will at QoS 1, not retained.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            retain: false,
        }
    }

    fn will(&self) -> Will<'_> {
        Will {
            topic: &self.topic,
            payload: &self.payload,
            qos: Qos::AtLeastOnce,
            retain: self.retain,
            delay_s: 0,
            properties: MessageProperties::default(),
        }
    }
}

/// What a CONNECT asks for. The same value makes the packet and the digest that the proof covers; a test that wants
/// them to differ takes two.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Client Identifier.
    pub client_id: String,
    /// Clean Start.
    pub clean_start: bool,
    /// Keep-alive.
    pub keep_alive_s: u16,
    /// Will.
    pub will: Option<WillWanted>,
}

impl Asked {
    /// A clean start without keep-alive and will.
    #[must_use]
    pub fn by(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            clean_start: true,
            keep_alive_s: 0,
            will: None,
        }
    }

    /// The CONNECT without credentials.
    #[must_use]
    pub fn connect(&self, version: Version) -> Connect<'_> {
        Connect {
            clean_start: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            will: self.will.as_ref().map(WillWanted::will),
            ..Connect::new(version, &self.client_id)
        }
    }

    /// The CONNECT that begins `kg-ed25519`.
    #[must_use]
    pub fn with_open(&self, open: &AuthData) -> Vec<u8> {
        let mut connect = self.connect(Version::V5);
        connect.properties.auth_method = Some(METHOD);
        connect.properties.auth_data = Some(open);
        encoded(|sink| connect.encode(sink))
    }

    /// The CONNECT with an assertion as password.
    #[must_use]
    pub fn with_assertion(&self, version: Version, user: &str, assertion: &str) -> Vec<u8> {
        let mut connect = self.connect(version);
        connect.username = Some(user);
        connect.password = Some(assertion.as_bytes());
        encoded(|sink| connect.encode(sink))
    }

    /// What a proof for it covers.
    #[must_use]
    pub fn opening(&self) -> Opening {
        Opening::of_connect(&self.connect(Version::V5))
    }
}

/// The first message of a login that asks for no proof of the broker.
#[must_use]
pub fn open_of(key_id: KeyId, broker_key: Option<&PublicKey>) -> Open {
    let mut client_nonce = [0; 16];
    SystemRandom.fill(&mut client_nonce);
    Open {
        client_nonce,
        key_id,
        broker_key_id: broker_key.map(PublicKey::key_id),
        binding: Binding::None,
    }
}

/// Everything that a proof is over; a test changes what it wants to lie about.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The broker.
    pub broker_id: String,
    /// The client id.
    pub client_id: String,
    /// What was opened with.
    pub open: Open,
    /// The broker's nonce.
    pub broker_nonce: [u8; 32],
    /// What the CONNECT asks for.
    pub opening: Opening,
}

impl Claim {
    /// The honest claim for this challenge.
    ///
    /// # Panics
    /// When it is no challenge.
    #[must_use]
    pub fn honest(challenge: &[u8], asked: &Asked, open: &Open) -> Self {
        let challenge = Challenge::decode(challenge).expect("a challenge");
        Self {
            broker_id: challenge.broker_id.as_str().into(),
            client_id: asked.client_id.clone(),
            open: *open,
            broker_nonce: challenge.broker_nonce,
            opening: asked.opening(),
        }
    }

    /// The proof, by this key.
    ///
    /// # Panics
    /// When the ids are none.
    #[must_use]
    pub fn prove(&self, device: &Device) -> Signature {
        let message = self.to_be_signed(Role::Device);
        device
            .signer()
            .sign(&message.signable())
            .expect("a software key signs")
    }

    /// The bytes that a side signs.
    ///
    /// # Panics
    /// When the ids are none.
    #[must_use]
    pub fn to_be_signed(&self, role: Role) -> keygate_protocol::login::ToBeSigned {
        Transcript {
            broker_id: Id::new(&self.broker_id).expect("an id"),
            client_id: ClientId::new(&self.client_id).expect("a client id"),
            open: &self.open,
            broker_nonce: &self.broker_nonce,
            binding_value: None,
            opening: &self.opening,
        }
        .to_be_signed(role)
    }
}

/// The AUTH that carries a proof.
#[must_use]
pub fn proof_packet(proof: &[u8]) -> Vec<u8> {
    let mut auth = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
    auth.data = Some(proof);
    encoded(|sink| Packet::Auth(auth).encode(Version::V5, sink))
}
