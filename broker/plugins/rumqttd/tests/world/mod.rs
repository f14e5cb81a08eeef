//! A stock rumqttd behind the check, a device, and what the audit trail says, on loopback.
use keygate_broker::authn::{ChallengeKeys, ListenerRules, RefusalReason};
use keygate_broker::clock::{Clock, ManualClock};
use keygate_broker::coap;
use keygate_broker::identity::{NewDevice, Registry, SqliteStore};
use keygate_broker::keys::{DataDir, Layout};
use keygate_broker::rng::{SeededRandom, SystemRandom};
use keygate_broker::telemetry::audit::Recorded;
use keygate_broker::telemetry::event::Outcome;
use keygate_broker::telemetry::{Audit, EventKind};
use keygate_protocol::assertion::{Assertion, Freshness};
use keygate_protocol::coap::ChallengeAnswer;
use keygate_protocol::crypto::{Signable, Signature, Signer, SignerFault, SoftwareSigner};
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::time::{Millis, UnixTime};
use keygate_rumqttd::{LoginCheck, Setup};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) const BROKER_ID: &str = "kg-test";
pub(crate) const DEVICE: &str = "dev-1";
pub(crate) const WALL: UnixTime = UnixTime(1_900_000_000);

/// For everything that has to happen; nothing takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything on our side. rumqttd has no way to stop: its threads end with the test process.
pub(crate) struct World {
    pub(crate) mqtt_3: SocketAddr,
    pub(crate) mqtt_5: SocketAddr,
    pub(crate) coap: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) check: LoginCheck,
    /// What `keygate` would be: the writer of the store that the check follows.
    pub(crate) registry: Registry,
    pub(crate) identity_db: PathBuf,
    recorded: Recorded,
    _challenges: coap::Server,
    _place: TempDir,
}

impl World {
    /// A data directory with the device, the check that reads it, rumqttd on free ports with the check in front.
    pub(crate) async fn start(rules: ListenerRules) -> Self {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let id = Id::new(BROKER_ID).unwrap();
        // As if Keygate ran on it: held by somebody else all the time.
        let held = DataDir::init(&data, Some(id), WALL, &mut SystemRandom).unwrap();
        let store = SqliteStore::open(&held.layout().identity_db()).unwrap();
        let registry = Registry::new(store, &mut SystemRandom).unwrap();
        registry
            .add(&NewDevice::new(DEVICE, key().public_key()))
            .unwrap();

        let clock = Arc::new(ManualClock::at(Millis(1_000_000), WALL));
        let (audit, recorded) = Audit::in_memory(64);
        let challenges = ChallengeKeys::new(BROKER_ID, &mut SeededRandom::new(1));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let mut setup = Setup::open(&data)
            .unwrap()
            .sharing(Arc::new(challenges), shared);
        setup.rules = rules;
        setup.audit = Some(audit);
        let check = LoginCheck::new(setup).unwrap();
        let server = check
            .serve_challenges((Ipv4Addr::LOCALHOST, 0).into())
            .unwrap();
        let (mqtt_3, mqtt_5) = start_rumqttd(&check).await;
        drop(held);
        Self {
            mqtt_3,
            mqtt_5,
            coap: server.addresses()[0],
            clock,
            check,
            registry,
            identity_db: Layout::new(data).identity_db(),
            recorded,
            _challenges: server,
            _place: place,
        }
    }

    /// Lets time pass, and the check read its store again.
    pub(crate) async fn pass(&self, ms: u64) {
        self.clock.advance(ms);
        let current = async {
            let mut again = tokio::time::interval(Duration::from_millis(20));
            while !self.check.is_current() {
                again.tick().await;
            }
        };
        timeout(PATIENCE, current).await.expect("the store is read");
    }

    /// A challenge, as a device gets it.
    pub(crate) fn challenge(&self) -> String {
        let answer = get(self.coap, "challenge");
        assert_eq!(answer.header.get_code(), "2.05");
        let challenge = ChallengeAnswer::decode(&answer.payload).unwrap();
        assert_eq!(challenge.broker_id.as_str(), BROKER_ID);
        assert_eq!(challenge.time, self.clock.wall());
        challenge.cnonce.to_owned()
    }

    /// The password of the device over a fresh challenge.
    pub(crate) fn password(&self) -> String {
        over_challenge(&self.challenge(), &mut key())
    }

    /// What the trail says since the last time: one verdict each, none for an accepted one.
    pub(crate) fn verdicts(&self) -> Vec<Option<RefusalReason>> {
        let verdict = |kind| match kind {
            EventKind::Login {
                outcome, reason, ..
            } => {
                assert_eq!(outcome == Outcome::Accepted, reason.is_none());
                reason
            }
            other => panic!("not a login: {other:?}"),
        };
        let events = self.recorded.take();
        events
            .into_iter()
            .map(|event| verdict(event.kind))
            .collect()
    }
}

/// The device's key.
pub(crate) fn key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&[1; 32])
}

/// What a device says of itself.
pub(crate) fn claims(freshness: Freshness<'_>) -> Assertion<'_> {
    Assertion {
        id: Id::new(DEVICE).unwrap(),
        broker_id: Id::new(BROKER_ID).unwrap(),
        client_id: None,
        freshness,
    }
}

pub(crate) fn over_challenge(cnonce: &str, signer: &mut impl Signer) -> String {
    let assertion = claims(Freshness::Challenge(cnonce));
    assertion.sign(signer).unwrap().as_str().to_owned()
}

/// Signs with its own key and says that it is another one.
pub(crate) struct Impostor {
    pub(crate) claimed: KeyId,
    pub(crate) own: SoftwareSigner,
}

impl Signer for Impostor {
    fn key_id(&self) -> KeyId {
        self.claimed
    }

    fn sign(&mut self, message: &Signable<'_>) -> Result<Signature, SignerFault> {
        self.own.sign(message)
    }
}

/// A confirmable GET, sent again until it is answered.
pub(crate) fn get(server: SocketAddr, path: &str) -> coap_lite::Packet {
    use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType};
    let mut request = Packet::new();
    request.header.set_type(MessageType::Confirmable);
    request.header.code = MessageClass::Request(RequestType::Get);
    request.header.message_id = 7;
    request.set_token(vec![1, 2, 3, 4]);
    for segment in path.split('/') {
        request.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    for _ in 0..10 {
        socket.send(&request.to_bytes().unwrap()).unwrap();
        let mut buffer = [0; 1500];
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let answer = Packet::from_bytes(&buffer[..length]).unwrap();
        assert_eq!(answer.get_token(), request.get_token());
        return answer;
    }
    panic!("no answer from {server}");
}

/// Where the data of a world that is not started lies.
pub(crate) fn layout(place: &TempDir) -> Layout {
    Layout::new(place.path().join("data"))
}

async fn start_rumqttd(check: &LoginCheck) -> (SocketAddr, SocketAddr) {
    let host = own_address();
    let mut v4 = listener("v4", host);
    let mut v5 = listener("v5", host);
    check.guard(&mut v4);
    check.guard(&mut v5);
    let (mqtt_3, mqtt_5) = (v4.listen, v5.listen);
    let config = Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("v4".to_owned(), v4)])),
        v5: Some(HashMap::from([("v5".to_owned(), v5)])),
        ..Config::default()
    };
    std::thread::spawn(move || drop(Broker::new(config).start()));
    for address in [mqtt_3, mqtt_5] {
        timeout(PATIENCE, listening(address))
            .await
            .expect("rumqttd listens");
    }
    (mqtt_3, mqtt_5)
}

/// An address of loopback that no other test uses, so that a port which is free stays so.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

fn listener(name: &str, host: Ipv4Addr) -> ServerSettings {
    // rumqttd does not tell which port it got for 0, so a free one is chosen for it.
    let free = TcpListener::bind((host, 0)).unwrap();
    ServerSettings {
        name: name.to_owned(),
        listen: free.local_addr().unwrap(),
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 30_000,
            max_payload_size: 64 * 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

/// rumqttd does not say when it listens either.
async fn listening(address: SocketAddr) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        again.tick().await;
    }
}
