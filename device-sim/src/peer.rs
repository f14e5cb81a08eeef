//! A scripted broker for tests: the protocol's own machines, one table of clients, and faults on demand. Sans-I/O, so
//! that tests can hold time and order in their hands; `serve` puts it on a socket.

use std::collections::{BTreeMap, HashMap};

use keygate_protocol::crypto::{PublicKey, SoftwareSigner};
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::login::broker::{AwaitProof, ChallengeContext, challenge};
use keygate_protocol::login::{BROKER_NONCE_LEN, BindingPolicy, ExporterValue, METHOD, Opening};
use keygate_protocol::mqtt::{
    self, Ack, AckKind, Auth, Connack, Connect, PINGRESP, Packet, PacketId, Publish, Qos,
    ReasonCode, Sender, Suback, Version,
};
use keygate_protocol::time::Millis;
use keygate_protocol::topic::{TopicFilter, TopicName, matches};

use crate::identity::{Cast, Member};
use crate::scenario::Scenario;
use crate::session::Wire;

pub(crate) const BROKER_ID: &str = "kg-test";

/// What goes wrong on purpose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Every so many deliveries, one is acknowledged to its sender and dropped.
    pub(crate) lose_every: Option<u32>,
    /// Every so many deliveries, one comes twice, the second time with this DUP flag.
    pub(crate) repeat_every: Option<(u32, bool)>,
    /// The broker proves itself with another key.
    pub(crate) wrong_identity: bool,
    /// Refuses everybody with this code.
    pub(crate) refuse: Option<ReasonCode>,
    /// Sends a device's own messages back in spite of no-local.
    pub(crate) ignore_no_local: bool,
    /// Lets everybody in.
    pub(crate) admit_all: bool,
}

pub(crate) struct Peer {
    identity: SoftwareSigner,
    keys: HashMap<KeyId, PublicKey>,
    passwords: HashMap<String, String>,
    clients: BTreeMap<u32, Client>,
    /// Who may want a topic, by its second level; the rest is judged by the filter.
    listeners: BTreeMap<String, Vec<u32>>,
    next_client: u32,
    /// What the exporter of a client's TLS channel gives for its nonce.
    exports: HashMap<u32, ExporterValue>,
    /// Logins that were bound to their channel and granted.
    pub(crate) bound: u32,
    deliveries: u32,
    pub(crate) faults: Faults,
    pub(crate) receive_max: u16,
}

#[derive(Default)]
struct Client {
    inbox: Vec<u8>,
    login: Option<AwaitProof>,
    id: String,
    filters: Vec<(String, bool)>,
    last_id: u16,
}

/// Bytes for a client; `None` closes it.
pub(crate) type Sent = Vec<(u32, Option<Vec<u8>>)>;

impl Peer {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let cast = Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix);
        let devices = (0..scenario.fleet.devices).map(Member::Device);
        let members = devices.chain([Member::Watcher, Member::Controller]);
        let passwords = members
            .clone()
            .map(|member| (cast.id(member), cast.password(member)))
            .collect();
        let keys = members
            .map(|member| cast.signer(member).public_key())
            .map(|key| (key.key_id(), key))
            .collect();
        Self {
            identity: SoftwareSigner::from_seed(&[0xb0; 32]),
            keys,
            passwords,
            clients: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_client: 0,
            exports: HashMap::new(),
            bound: 0,
            deliveries: 0,
            faults: Faults::default(),
            receive_max: 16,
        }
    }

    pub(crate) fn identity_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    pub(crate) fn accept(&mut self) -> u32 {
        self.next_client += 1;
        self.clients.insert(self.next_client, Client::default());
        self.next_client
    }

    /// What the broker will challenge a client with.
    pub(crate) fn nonce(client: u32) -> [u8; BROKER_NONCE_LEN] {
        [u8::try_from(client % 251).expect("small"); BROKER_NONCE_LEN]
    }

    /// The client came over TLS, and this is its exporter's value for its nonce.
    pub(crate) fn exports(&mut self, client: u32, value: ExporterValue) {
        self.exports.insert(client, value);
    }

    pub(crate) fn gone(&mut self, client: u32) {
        self.clients.remove(&client);
    }

    /// Bytes from a client; what they cause goes to any number of clients.
    pub(crate) fn receive(&mut self, client: u32, bytes: &[u8]) -> Sent {
        let mut sent = Sent::new();
        let Some(mut inbox) = self
            .clients
            .get_mut(&client)
            .map(|client| std::mem::take(&mut client.inbox))
        else {
            return sent;
        };
        inbox.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(frame) =
            mqtt::frame(&inbox[taken..], 65_536).expect("a client keeps to MQTT")
        {
            taken += frame.len();
            let packet =
                mqtt::decode(&frame, Sender::Client, Version::V5).expect("a client keeps to MQTT");
            self.handle(client, packet, &mut sent);
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.inbox = inbox[taken..].to_vec();
        }
        sent
    }

    fn handle(&mut self, client: u32, packet: Packet<'_>, sent: &mut Sent) {
        match packet {
            Packet::Connect(connect) => self.connect(client, &connect, sent),
            Packet::Auth(auth) => self.prove(client, auth.data.expect("a proof"), sent),
            Packet::Subscribe(subscribe) => {
                let state = self.clients.get_mut(&client).expect("known");
                for one in subscribe.subscriptions {
                    let level = one.filter.levels().nth(1).expect("two levels").to_owned();
                    let listeners = self.listeners.entry(level).or_default();
                    if !listeners.contains(&client) {
                        listeners.push(client);
                    }
                    state
                        .filters
                        .push((one.filter.as_str().to_owned(), one.options.no_local));
                }
                let codes = [ReasonCode::GrantedQos1];
                put(sent, client, |out| {
                    Suback::new(subscribe.packet_id, &codes).encode(Version::V5, out)
                });
            }
            Packet::Publish(publish) => {
                if let Some(packet_id) = publish.packet_id {
                    let ack = Ack::new(packet_id, ReasonCode::Success);
                    put(sent, client, |out| {
                        ack.encode(AckKind::Puback, Version::V5, out)
                    });
                }
                self.route(client, &publish, sent);
            }
            Packet::Pingreq => sent.push((client, Some(PINGRESP.to_vec()))),
            Packet::Disconnect(_) => {
                self.gone(client);
                sent.push((client, None));
            }
            Packet::Puback(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self, client: u32, connect: &Connect<'_>, sent: &mut Sent) {
        self.clients.get_mut(&client).expect("known").id = connect.client_id.to_owned();
        if let Some(code) = self.faults.refuse {
            return refuse(client, code, sent);
        }
        let Some(open) = connect.properties.auth_data else {
            let given = connect.password.expect("nobody comes without");
            let known = self.passwords.get(connect.client_id);
            // The assertion is checked where the broker is; here it need only be one.
            let good =
                known.is_some_and(|known| known.as_bytes() == given) || given.starts_with(b"ey");
            if !good && !self.faults.admit_all {
                return refuse(client, ReasonCode::NotAuthorized, sent);
            }
            return put(sent, client, |out| {
                Connack::new(false, ReasonCode::Success).encode(Version::V5, out)
            });
        };
        let context = ChallengeContext {
            client_id: connect.client_id,
            broker_id: Id::new(BROKER_ID).expect("an id"),
            broker_key_ids: &[self.identity_key().key_id()],
            opening: Opening::of_connect(connect),
            binding: if self.exports.contains_key(&client) {
                BindingPolicy::Optional
            } else {
                BindingPolicy::None
            },
            broker_nonce: Self::nonce(client),
            now: Millis(0),
        };
        let (login, data) = challenge(open, &context).expect("a good open");
        self.clients.get_mut(&client).expect("known").login = Some(login);
        let mut auth = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
        auth.data = Some(&data);
        put(sent, client, |out| auth.encode(out));
    }

    fn prove(&mut self, client: u32, proof: &[u8], sent: &mut Sent) {
        let login = self
            .clients
            .get_mut(&client)
            .and_then(|client| client.login.take())
            .expect("challenged");
        let key = self
            .keys
            .get(&login.key_id())
            .copied()
            .unwrap_or_else(PublicKey::nobody);
        let context = login.exporter_context().copied();
        let value = context.map(|context| {
            assert_eq!(context, Self::nonce(client), "the exporter's context");
            self.exports[&client]
        });
        let Ok(proven) = login.verify(proof, &key, value.as_ref(), Millis(1)) else {
            if !self.faults.admit_all {
                return refuse(client, ReasonCode::NotAuthorized, sent);
            }
            return put(sent, client, |out| {
                Connack::new(false, ReasonCode::Success).encode(Version::V5, out)
            });
        };
        self.bound += u32::from(value.is_some());
        let mut confirmation = proven
            .sign_confirmation(&mut self.identity)
            .expect("asked for")
            .as_bytes()
            .to_owned();
        confirmation[0] ^= u8::from(self.faults.wrong_identity);
        let mut connack = Connack::new(false, ReasonCode::Success);
        connack.properties.receive_max = self.receive_max;
        connack.properties.auth_method = Some(METHOD);
        connack.properties.auth_data = Some(&confirmation);
        put(sent, client, |out| connack.encode(Version::V5, out));
    }

    fn route(&mut self, from: u32, publish: &Publish<'_>, sent: &mut Sent) {
        let name = TopicName::new(publish.topic).expect("a name");
        let level = name.levels().nth(1).expect("two levels");
        let listeners = [level, "+"].map(|level| self.listeners.get(level).cloned());
        let Self {
            clients,
            deliveries,
            faults,
            ..
        } = self;
        for to in listeners.into_iter().flatten().flatten() {
            let Some(client) = clients.get_mut(&to) else {
                continue;
            };
            let wants = client.filters.iter().any(|(filter, no_local)| {
                let own = *no_local && to == from && !faults.ignore_no_local;
                !own && matches(TopicFilter::new(filter).expect("a filter"), name)
            });
            if !wants {
                continue;
            }
            *deliveries += 1;
            if faults
                .lose_every
                .is_some_and(|every| *deliveries % every == 0)
            {
                continue;
            }
            client.last_id = client.last_id.checked_add(1).unwrap_or(1);
            let mut delivery = Publish::new(publish.topic, publish.payload);
            delivery.qos = Qos::AtLeastOnce;
            delivery.packet_id = PacketId::new(client.last_id);
            put(sent, to, |out| delivery.encode(Version::V5, out));
            if let Some((_, dup)) = faults
                .repeat_every
                .filter(|(every, _)| *deliveries % every == 0)
            {
                delivery.dup = dup;
                put(sent, to, |out| delivery.encode(Version::V5, out));
            }
        }
    }
}

fn refuse(client: u32, code: ReasonCode, sent: &mut Sent) {
    put(sent, client, |out| {
        Connack::new(false, code).encode(Version::V5, out)
    });
    sent.push((client, None));
}

fn put<E: std::fmt::Debug>(
    sent: &mut Sent,
    client: u32,
    encode: impl FnOnce(&mut Wire<'_>) -> Result<(), E>,
) {
    let mut bytes = Vec::new();
    encode(&mut Wire(&mut bytes)).expect("fits");
    sent.push((client, Some(bytes)));
}
